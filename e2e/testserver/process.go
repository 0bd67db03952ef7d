package testserver

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// process is a server that ends when the test does, or the test binary.
type process struct {
	log   *logTail
	cmd   *exec.Cmd
	alive *os.File      // the watchdog ends the server when it is closed without a word
	ended chan struct{} // closed when cmd has ended
}

// runWatched becomes the server, which a background process ends if the test binary dies: descriptor 3 is a pipe whose
// other end only the binary has, and Stop writes to before the server ends.
const runWatched = `{ read -r _ || kill -TERM $$; } <&3 >/dev/null 2>&1 & exec "$@" 3<&-`

// start runs a server in a folder, with more environment, and waits until ready, an address, answers.
func (p *process) start(dir string, environ []string, ready string, program ...string) error {
	p.log = new(logTail)
	cmd := exec.Command("/bin/sh", append([]string{"-c", runWatched, "sh"}, program...)...)
	cmd.Env = append(os.Environ(), environ...)
	watched, alive, err := os.Pipe()
	if err != nil {
		return err
	}
	defer watched.Close()
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = dir, p.log, p.log, []*os.File{watched}
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
			if answers(ctx, ready) {
				return nil
			}
		}
	}
}

func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
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
func (p *process) Stop() {
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
