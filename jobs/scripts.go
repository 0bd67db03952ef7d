package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"ratebook/script"
)

const (
	stopGrace   = time.Second // after which a script that does not stop when its time is over is killed with its process
	stderrKept  = 16 << 10    // bytes of what a dying process says
	outOfMemory = "out of memory"
)

// Scripts runs rating scripts in child processes, which it starts when they are needed, uses for frame after frame, and
// replaces when one dies. What scripts do to a child is an error about their frame, and nothing else.
type Scripts struct {
	program string
	args    []string
	timeout time.Duration
	memory  int64
	log     *slog.Logger

	turns  chan struct{} // a place for each child that may be there
	mu     sync.Mutex
	idle   []*child
	all    map[*child]bool
	closed bool
}

// NewScripts returns a runner with at most so many children at a time, and the limits of each. A child is the program with
// the arguments, which has to call [ServeScripts]; no file but its standard streams is open in it, and its environment is
// empty. timeout is for all scripts of a frame together, memory is in bytes.
func NewScripts(program string, args []string, children int, timeout time.Duration, memory int64, log *slog.Logger) *Scripts {
	return &Scripts{
		program: program, args: args, timeout: timeout, memory: memory, log: log,
		turns: make(chan struct{}, max(1, children)), all: map[*child]bool{},
	}
}

// Run runs scripts on a frame. The error is the context's or a [script.Error].
func (s *Scripts) Run(ctx context.Context, scripts []script.Source, f *script.Frame) (*script.Frame, error) {
	select {
	case s.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.turns }()
	for fresh := false; ; fresh = true {
		c, used, err := s.take(fresh)
		if err != nil {
			return nil, &script.Error{Script: scriptNames(scripts), Message: fmt.Sprintf("no process can be started to run it: %v", err)}
		}
		left, err := c.run(ctx, scripts, f, s.timeout+stopGrace)
		if c.alive() {
			s.give(c)
			return left, err
		}
		s.forget(c)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case used && !c.late: // perhaps of what others have left behind
			continue
		}
		message := s.cause(c)
		s.log.Warn("a process that runs scripts ended", "scripts", scriptNames(scripts), "error", message, "state", c.state(), "said", c.said.String())
		return nil, &script.Error{Script: scriptNames(scripts), Message: message, Stopped: true}
	}
}

func scriptNames(scripts []script.Source) string {
	var b bytes.Buffer
	for i, s := range scripts {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(s.Name)
	}
	return b.String()
}

// cause says why a child is dead.
func (s *Scripts) cause(c *child) string {
	switch {
	case c.late:
		return fmt.Sprintf("it was stopped after %s", s.timeout)
	case bytes.Contains(c.said.bytes(), []byte(outOfMemory)), bytes.Contains(c.said.bytes(), []byte("cannot allocate memory")):
		return fmt.Sprintf("it was stopped, since it needs more than %d MB of memory", s.memory>>20)
	}
	return "it was stopped, since its process died: " + c.state()
}

// take returns a child that nobody uses, and whether it was used before, which one that is to be fresh was not.
func (s *Scripts) take(fresh bool) (c *child, used bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, errors.New("this process is ending")
	}
	for n := len(s.idle); n > 0; n = len(s.idle) {
		if fresh && len(s.all) < cap(s.turns) {
			break
		}
		c, s.idle = s.idle[n-1], s.idle[:n-1]
		if c.alive() && !fresh {
			return c, true, nil
		}
		c.kill()
		delete(s.all, c)
		c.close()
	}
	if c, err = start(s.program, append(s.args[:len(s.args):len(s.args)], fmt.Sprint(s.timeout), fmt.Sprint(s.memory))); err != nil {
		return nil, false, err
	}
	s.all[c] = true
	return c, false, nil
}

func (s *Scripts) give(c *child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = append(s.idle, c)
}

func (s *Scripts) forget(c *child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
	c.close()
}

// Close ends all children, those at work too, and waits for their end. No script runs afterwards.
func (s *Scripts) Close() {
	s.mu.Lock()
	s.closed = true
	children := make([]*child, 0, len(s.all))
	for c := range s.all {
		children = append(children, c)
	}
	s.mu.Unlock()
	for _, c := range children {
		c.kill()
	}
}

// child is a process that runs scripts.
type child struct {
	cmd  *exec.Cmd
	in   *os.File // what it reads
	out  *os.File // what it says
	said tail
	done chan struct{} // closed when it has ended
	late bool          // it was killed since a script took too long
}

// start starts a process. It ends with us, on Linux even if we are killed: then with the thread that started it, so that
// thread is kept for it. Elsewhere it ends as soon as it reads its next frame.
func start(program string, args []string) (*child, error) {
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		_ = inRead.Close()
		_ = inWrite.Close()
		return nil, err
	}
	c := &child{cmd: exec.Command(program, args...), in: inWrite, out: outRead, done: make(chan struct{})} //nolint:noctx // it outlives the question that it is started for
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = inRead, outWrite, &c.said
	c.cmd.Env, c.cmd.Dir = []string{}, os.TempDir()
	c.cmd.SysProcAttr = endsWithUs()
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			_ = c.cmd.Wait() // how it ended is in its state
		}
		close(c.done)
	}()
	err = <-started
	_ = inRead.Close()
	_ = outWrite.Close()
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// run has the child run scripts. If it dies of it, or is late, or the context ends, it is dead afterwards.
func (c *child) run(ctx context.Context, scripts []script.Source, f *script.Frame, timeout time.Duration) (*script.Frame, error) {
	late := time.AfterFunc(timeout, c.signal)
	stop := context.AfterFunc(ctx, c.signal)
	left, err := script.Ask(c.in, c.out, scripts, f)
	c.late = !late.Stop()
	if _, ok := errors.AsType[*script.Error](err); stop() && !c.late && (err == nil || ok) {
		return left, err
	}
	c.kill()
	return nil, err
}

// signal has the child die.
func (c *child) signal() { _ = c.cmd.Process.Kill() }

// kill ends the child, and waits for its end.
func (c *child) kill() {
	c.signal()
	<-c.done
}

func (c *child) alive() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// state says how the child ended.
func (c *child) state() string {
	if c.cmd.ProcessState == nil {
		return "it did not start"
	}
	return c.cmd.ProcessState.String()
}

func (c *child) close() {
	_ = c.in.Close()
	_ = c.out.Close()
}

// tail keeps the beginning of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

// Write keeps what there is room for.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p[:min(len(p), stderrKept-len(t.b))]...)
	return len(p), nil
}

func (t *tail) bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.b)
}

// String returns the first lines.
func (t *tail) String() string {
	const most = 400
	b := t.bytes()
	return string(b[:min(len(b), most)])
}
