package e2e

import (
	"bufio"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// site is a running program that serves pages.
type site struct {
	url string
	cmd *exec.Cmd

	mu     sync.Mutex
	out    strings.Builder // standard output and the log, as they come
	exited chan struct{}
}

// serve starts the program on a free port, and stops it when the test ends. args begin with the command.
func (db *database) serve(t testing.TB, args ...string) *site {
	t.Helper()
	s := &site{cmd: db.command(t, append(args, "--listen", "127.0.0.1:0")...), exited: make(chan struct{})}
	read, write := io.Pipe()
	s.cmd.Stdout, s.cmd.Stderr = write, write
	must(t, s.cmd.Start())
	go func() {
		lines := bufio.NewScanner(read)
		for lines.Scan() {
			s.mu.Lock()
			s.out.WriteString(lines.Text() + "\n")
			s.mu.Unlock()
		}
	}()
	go func() {
		_ = s.cmd.Wait() // the log says why
		write.Close()
		close(s.exited)
	}()
	t.Cleanup(func() { s.stop(t) })
	s.url = "http://" + s.wait(t, `listening.* address=(\S+)`)
	return s
}

func (s *site) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

// wait waits until the program says what the expression finds, and returns its first group.
func (s *site) wait(t testing.TB, expression string) (group string) {
	t.Helper()
	re := regexp.MustCompile(expression)
	eventually(t, expression, func() bool {
		m := re.FindStringSubmatch(s.said())
		select {
		case <-s.exited:
			if m == nil {
				t.Fatalf("the program has ended:\n%s", s.said())
			}
		default:
		}
		if m != nil {
			group = m[1]
		}
		return m != nil
	})
	return group
}

// stop asks the program to end, and waits for it.
func (s *site) stop(t testing.TB) {
	t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		t.Errorf("the program does not stop:\n%s", s.said())
		_ = s.cmd.Process.Kill()
	}
}

// client returns an HTTP client that has signed in.
func (s *site) client(t testing.TB, login, password string) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	c := &http.Client{Jar: jar}
	res, err := c.PostForm(s.url+"/sign-in", url.Values{"login": {login}, "password": {password}})
	must(t, err)
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Request.URL.Path == "/sign-in" {
		t.Fatalf("signing in as %s: %s at %s", login, res.Status, res.Request.URL)
	}
	return c
}

// get asks for a path.
func (s *site) get(t testing.TB, c *http.Client, path string) *http.Response {
	t.Helper()
	res, err := c.Get(s.url + path)
	must(t, err)
	return res
}
