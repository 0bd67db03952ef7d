package testserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// PrometheusServer is a real Prometheus on a loopback port. Its methods are for the test's own goroutine.
type PrometheusServer struct {
	URL string // without /api/v1

	t     testing.TB
	dir   string
	addr  string
	flags []string
	log   *logTail
	cmd   *exec.Cmd
	alive *os.File      // the watchdog ends the server when it is closed without a word
	ended chan struct{} // closed when cmd has ended
}

// Prometheus starts a server that holds the given samples, in the OpenMetrics text format, and scrapes nothing. The flags
// are appended to its command line. It is ready when Prometheus returns, and stopped when the test ends.
//
// Without the programs prometheus and promtool the test is skipped; in CI it fails.
func Prometheus(t testing.TB, openmetrics string, flags ...string) *PrometheusServer {
	t.Helper()
	for _, program := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing; install the Debian package prometheus", program)
		}
		t.Skipf("%s is missing; install the Debian package prometheus", program)
	}
	p := &PrometheusServer{t: t, dir: t.TempDir(), flags: flags}
	p.write("prometheus.yml", "global: {}\n")
	p.write("samples.txt", openmetrics)
	if strings.TrimSpace(openmetrics) != "# EOF" { // promtool refuses to import nothing
		out, err := exec.CommandContext(t.Context(), "promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet",
			p.path("samples.txt"), p.path("data")).CombinedOutput()
		if err != nil {
			t.Fatalf("promtool: %v\n%s", err, out)
		}
	}
	t.Cleanup(p.Stop)
	p.Start()
	return p
}

func (p *PrometheusServer) path(name string) string { return filepath.Join(p.dir, name) }

func (p *PrometheusServer) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(p.path(name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// Start starts the server again after a Stop, with the same URL and data.
func (p *PrometheusServer) Start() {
	p.t.Helper()
	// A port is free only until somebody takes it; the first time another one does as well.
	for attempt := 1; ; attempt++ {
		if p.URL == "" {
			port, err := freePort()
			if err != nil {
				p.t.Fatal(err)
			}
			p.addr = fmt.Sprintf("127.0.0.1:%d", port)
		}
		err := p.start()
		if err == nil {
			p.URL = "http://" + p.addr
			return
		}
		p.Stop()
		if p.URL != "" || attempt == 3 {
			p.t.Fatalf("prometheus does not start: %v\n%s", err, p.log)
		}
	}
}

// runWatched becomes the server, which a background process ends if the test binary dies: descriptor 3 is a pipe whose
// other end only the binary has, and Stop writes to before the server ends.
const runWatched = `{ read -r _ || kill -TERM $$; } <&3 >/dev/null 2>&1 & exec "$@" 3<&-`

// start runs the server and waits until it is ready.
func (p *PrometheusServer) start() error {
	p.log = new(logTail)
	cmd := exec.Command("/bin/sh", append([]string{
		"-c", runWatched, "sh", "prometheus",
		"--config.file=" + p.path("prometheus.yml"),
		"--storage.tsdb.path=" + p.path("data"),
		"--storage.tsdb.retention.time=100y",
		"--web.listen-address=" + p.addr,
	}, p.flags...)...)
	watched, alive, err := os.Pipe()
	if err != nil {
		return err
	}
	defer watched.Close()
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = p.dir, p.log, p.log, []*os.File{watched}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, alive.Close())
	}
	p.cmd, p.alive, p.ended = cmd, alive, make(chan struct{})
	go func(ended chan struct{}) {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}(p.ended)

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case <-p.ended:
			return errors.New("it ended")
		case <-ctx.Done():
			return errors.New("it was not ready in time")
		case <-poll.C:
			if ready(ctx, "http://"+p.addr) {
				return nil
			}
		}
	}
}

func ready(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/-/ready", http.NoBody)
	if err != nil {
		return false
	}
	req.Close = true // leave no idle connection behind
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// Stop ends the server, if it runs.
func (p *PrometheusServer) Stop() {
	if p.cmd == nil {
		return
	}
	_, _ = p.alive.WriteString("stopped\n") // the watchdog and the server may have ended already
	_ = p.alive.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	p.cmd = nil
}

// logTail keeps the end of what is written to it.
type logTail struct {
	mu   sync.Mutex
	text []byte
}

func (l *logTail) Write(b []byte) (int, error) {
	const most = 8 << 10
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	if over := len(l.text) - most; over > 0 {
		l.text = bytes.Clone(l.text[over:])
	}
	return len(b), nil
}

func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
