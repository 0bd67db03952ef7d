package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ratebook/money"
	"ratebook/script"
)

// TestMain is also the child process of scripts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "run-scripts" {
		if err := ServeScripts(context.Background(), os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func newScripts(t *testing.T, children int, timeout time.Duration, memory int64) *Scripts {
	t.Helper()
	s := NewScripts(os.Args[0], []string{"run-scripts"}, children, timeout, memory, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		s.Close()
		if children := childProcesses(t); children != nil {
			t.Errorf("processes %v are left", children)
		}
	})
	return s
}

// childProcesses lists our children, those that are dead but not buried too.
func childProcesses(t *testing.T) []string {
	t.Helper()
	if runtime.GOOS != "linux" {
		return nil
	}
	var all []string
	files, _ := filepath.Glob("/proc/self/task/*/children")
	for _, f := range files {
		b, _ := os.ReadFile(f) // the thread may have ended
		all = append(all, strings.Fields(string(b))...)
	}
	return all
}

func scriptFrame(points int) *script.Frame {
	f := &script.Frame{
		Begin: time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC), End: time.Date(2026, 11, 21, 23, 0, 0, 0, time.UTC),
		Zone: "Europe/Berlin", ScopeKey: "project_id", Scope: "p1",
	}
	for i := range points {
		f.Points = append(f.Points, script.Point{
			Metric: "cpu", Unit: "instance", Qty: money.New(1, 0),
			Groupby: []script.Attribute{{Name: "id", Value: fmt.Sprint(i)}}, Metadata: []script.Attribute{{Name: "flavor", Value: "m1.tiny"}},
		})
	}
	return f
}

const flat = "for points in data['usage'].values():\n  for p in points:\n    p['rating']['price'] = p['vol']['qty'] * 0.5\n"

// wellStill checks that a runner works, whatever was before.
func wellStill(t *testing.T, s *Scripts) {
	t.Helper()
	f, err := s.Run(t.Context(), []script.Source{{Name: "flat", Text: flat}}, scriptFrame(2))
	if err != nil || len(f.Points) != 2 || f.Points[1].Price.String() != "0.5" {
		t.Errorf("afterwards a frame is %+v, error %v", f, err)
	}
}

// TestScriptsRunAway: whatever a script does ends in an error of its frame.
func TestScriptsRunAway(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	const memory = 64 << 20
	s := newScripts(t, 2, 2*time.Second, memory)
	for _, c := range []struct {
		name, text, want string // want begins the message: with a busy machine time may run out before memory does
		stopped          bool
	}{
		{"an error", "x = data['nothing']", `script s, line 1: key "nothing" not in dict`, false},
		{"an endless loop", "while True:\n  pass", "script s, line 1: it was stopped after ", true},
		{"deep recursion", "def f(n):\n  return g(n)\ndef g(n):\n  return f(n)\nf(1)", "script s, line 2: function f called recursively", false},
		{"a huge text", `x = "x" * 10000000000`, "script s, line 1: string times ", false},
		{"a text that doubles", "x = 'x'\nwhile True:\n  x = x + x", "script s: it was stopped", true},
		{"a list that doubles", "x = [1]\nwhile True:\n  x = x + x", "script s: it was stopped", true},
		{"an int that squares itself", "x = 12345\nwhile True:\n  x *= x", "script s", true},
		{"very long lists of lists", "x = [0]\nfor i in range(100):\n  x = [x] * 1000000 + [x]\n  y = list(x)", "script s", true},
		{"a builtin that takes long", "x = [sum(range(100000000)) for i in range(100)]", "script s", true},
		{"a replacement that explodes", "x = 'a' * 1000000\nx = x.replace('a', x)", "script s", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			began := time.Now()
			_, err := s.Run(t.Context(), []script.Source{{Name: "s", Text: c.text}}, scriptFrame(1))
			e, ok := errors.AsType[*script.Error](err)
			if !ok || !strings.HasPrefix(err.Error(), c.want) || e.Stopped != c.stopped {
				t.Errorf("error %v (%+v), want %s, stopped %v", err, e, c.want, c.stopped)
			}
			t.Log(time.Since(began).Round(time.Millisecond), err)
			wellStill(t, s)
		})
	}
}

func TestScriptsAreReused(t *testing.T) {
	s := newScripts(t, 2, 10*time.Second, 64<<20)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 20 {
				wellStill(t, s)
			}
		})
	}
	wait.Wait()
	if n := len(childProcesses(t)); runtime.GOOS == "linux" && (n < 1 || n > 2) {
		t.Errorf("%d processes, want 1 or 2", n)
	}
}

// TestScriptsChildDies: a child that dies while it does nothing is replaced.
func TestScriptsChildDies(t *testing.T) {
	s := newScripts(t, 1, 10*time.Second, 64<<20)
	wellStill(t, s)
	s.idle[0].signal()
	wellStill(t, s)
	c := s.idle[0]
	c.kill()
	wellStill(t, s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) != 1 {
		t.Errorf("%d children are known, want 1", len(s.all))
	}
}

func TestScriptsEndWithTheirContext(t *testing.T) {
	s := newScripts(t, 1, time.Minute, 64<<20)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := s.Run(ctx, []script.Source{{Name: "s", Text: "x = [sum(range(100000000)) for i in range(100)]"}}, scriptFrame(1))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	wellStill(t, s)
}

// TestScriptsChildIsConfined: a child has no files but its streams, and no environment.
func TestScriptsChildIsConfined(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	t.Setenv("RATEBOOK_SECRET", "x")
	s := newScripts(t, 1, 10*time.Second, 64<<20)
	wellStill(t, s)
	proc := "/proc/" + strconv.Itoa(s.idle[0].cmd.Process.Pid)
	if env, err := os.ReadFile(proc + "/environ"); err != nil || len(env) > 0 {
		t.Errorf("environment %q, error %v", env, err)
	}
	files, err := os.ReadDir(proc + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		target, _ := os.Readlink(proc + "/fd/" + f.Name())
		if n, _ := strconv.Atoi(f.Name()); n > 2 && !strings.HasPrefix(target, "anon_inode:") {
			t.Errorf("file %s is %s", f.Name(), target)
		}
	}
	limits, err := os.ReadFile(proc + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if strings.HasPrefix(line, "Max address space") {
			t.Log(line)
		}
	}
}

func TestScriptsClosed(t *testing.T) {
	s := newScripts(t, 1, 10*time.Second, 64<<20)
	wellStill(t, s)
	s.Close()
	_, err := s.Run(t.Context(), []script.Source{{Name: "s", Text: ""}}, scriptFrame(1))
	if err == nil || err.Error() != "script s: no process can be started to run it: this process is ending" {
		t.Errorf("error %v", err)
	}
}

func TestScriptsProgramIsMissing(t *testing.T) {
	s := NewScripts(filepath.Join(t.TempDir(), "none"), nil, 1, time.Second, 1<<20, slog.New(slog.DiscardHandler))
	_, err := s.Run(t.Context(), []script.Source{{Name: "s", Text: ""}}, scriptFrame(1))
	if err == nil || !strings.HasPrefix(err.Error(), "script s: no process can be started to run it: ") {
		t.Errorf("error %v", err)
	}
}

func BenchmarkScripts(b *testing.B) {
	for _, points := range []int{10, 1000} {
		b.Run(fmt.Sprint(points, " points"), func(b *testing.B) {
			s := NewScripts(os.Args[0], []string{"run-scripts"}, 1, 10*time.Second, 256<<20, slog.New(slog.DiscardHandler))
			defer s.Close()
			f := scriptFrame(points)
			for b.Loop() {
				if _, err := s.Run(b.Context(), []script.Source{{Name: "flat", Text: flat}}, f); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(points)*float64(b.N)/b.Elapsed().Seconds(), "points/s")
		})
	}
}
