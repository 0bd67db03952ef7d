package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ratebook/e2e/testserver"
)

// running is the program at work.
type running struct {
	cmd    *exec.Cmd
	out    strings.Builder
	stderr log
	ended  chan struct{}
}

// log is text that one writes and others read.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start starts the program.
func (db *database) start(t testing.TB, args ...string) *running {
	t.Helper()
	p := &running{cmd: db.command(t, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // its status tells
		close(p.ended)
	}()
	return p
}

func (p *running) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// wait waits for the end and returns how it was.
func (p *running) wait(t testing.TB) result {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(2 * time.Minute):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it says where it is
		<-p.ended
		t.Fatalf("it does not end:\n%s", &p.stderr)
	}
	return result{p.cmd.ProcessState.ExitCode(), p.out.String(), p.stderr.String()}
}

// TestStalledWorkers has four processes on one PostgreSQL database. One is stopped while it holds leases, and goes on when the
// others have done everything; two are killed, and others started in their place.
func TestStalledWorkers(t *testing.T) {
	t.Parallel()
	w := large(24)
	source := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	_, want := faultless(t, w, source.URL)
	db := kinds["postgres"](t)
	db.setUp(t, w)
	const lease = "1s"

	asked, free := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(free) })
	t.Cleanup(release)
	first := sync.OnceFunc(func() { close(asked) })
	slow := proxy(t, source.URL, func(r *http.Response, body []byte) []byte {
		if strings.HasSuffix(r.Request.URL.Path, "/query_range") {
			first()
			<-free
		}
		return body
	})
	t.Cleanup(release)
	stalled := db.start(t, w.process(slow, "--lease", lease)...)
	select {
	case <-asked:
	case <-stalled.ended:
		t.Fatalf("it ended at once:\n%s", &stalled.stderr)
	}
	stalled.signal(t, syscall.SIGSTOP)
	release() // the answer waits in its socket

	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	others := make([]*running, 3)
	for i := range others {
		others[i] = db.start(t, w.process(source.URL, "--lease", lease)...)
	}
	killed := 0
	for i := range 2 {
		after := time.NewTimer(time.Duration(100+random.IntN(600)) * time.Millisecond)
		select {
		case <-after.C:
			_ = others[i].cmd.Process.Kill()
			others[i].wait(t)
			killed++
			others[i] = db.start(t, w.process(source.URL, "--lease", lease)...)
		case <-others[i].ended:
		}
	}
	for _, p := range others {
		if r := p.wait(t); r.status != 0 {
			t.Fatalf("seed %d: status %d\n%s%s", seed, r.status, r.out, r.stderr)
		}
	}
	same(t, want, db.content(t))

	stalled.signal(t, syscall.SIGCONT)
	r := stalled.wait(t)
	sum := r.summary(t)
	if r.status != 0 || sum.Lost == 0 || sum.Done+sum.Failed != 0 {
		t.Errorf("the stalled worker should have lost its windows: status %d\n%s%s", r.status, r.out, r.stderr)
	}
	same(t, want, db.content(t))
	t.Logf("seed %d: %d killed, %d windows lost by the stalled one", seed, killed, sum.Lost)
}

// TestDatabaseRestart crashes PostgreSQL in the middle of processing, several times. The process must get over it by itself.
func TestDatabaseRestart(t *testing.T) {
	t.Parallel()
	w := large(60)
	source := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	_, want := faultless(t, w, source.URL)
	cluster := testserver.PostgresServer(t, "synchronous_commit=on") // else a crash takes back what was committed
	db := &database{url: cluster.Create(t, "restarted")}
	db.setUp(t, w)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	p := db.start(t, w.process(source.URL, "--lease", "2s")...)
	// without a database to begin with, process says so and ends
	eventually(t, "it is working", func() bool { return db.number(t, "SELECT COUNT(*) FROM scopes") > 0 })
	crashes := 0
	for midway := false; crashes < often(5, 40); {
		pause := time.NewTimer(time.Duration(50+random.IntN(500)) * time.Millisecond)
		select {
		case <-pause.C:
		case <-p.ended:
		}
		select {
		case <-p.ended: // it was quicker: once more with what is left is no crash, but a test that hit nothing is no test
			if !midway {
				t.Fatalf("seed %d: it ended before the first crash\n%s", seed, &p.stderr)
			}
		default:
			cluster.Crash(t)
			crashes++
			midway = true
			cluster.Start(t)
			continue
		}
		break
	}
	if r := p.wait(t); r.status != 0 {
		t.Fatalf("seed %d: after %d crashes: status %d\n%s%s", seed, crashes, r.status, r.out, r.stderr)
	}
	same(t, want, db.content(t))
	if r := db.try(t, "rollups", "verify"); r.status != 0 {
		t.Errorf("rollups verify: %s%s", r.out, r.stderr)
	}
	t.Logf("seed %d: %d crashes", seed, crashes)
}

// smallDisk mounts a file system of so many megabytes; grow makes it large.
func smallDisk(t *testing.T, megabytes int) (folder string, grow func()) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root may mount a small file system")
	}
	folder, err := os.MkdirTemp("/tmp", "ratebook-disk-") // not below the test's own folder, which other users can't enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	mount := func(options string) error {
		return exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", options, "none", folder).Run()
	}
	if err := mount(fmt.Sprintf("size=%dm,mode=777", megabytes)); err != nil {
		t.Skipf("this machine allows no mounts: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) })
	return folder, func() {
		if err := mount("remount,size=512m"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDisk lets the database's disk fill up, and gives it room while the process still tries.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	w := large(30)
	source := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	_, want := faultless(t, w, source.URL)
	fills := func(t *testing.T, db *database, grow func()) {
		db.setUp(t, w)
		p := db.start(t, w.process(source.URL, "--lease", "2s")...)
		eventually(t, "the disk is full", func() bool {
			select {
			case <-p.ended:
				t.Fatalf("it ended before the disk was full:\n%s%s", &p.out, &p.stderr)
			default:
			}
			return strings.Contains(p.stderr.String(), "disk is full")
		})
		grow()
		if r := p.wait(t); r.status != 0 {
			t.Fatalf("status %d\n%s%s", r.status, r.out, r.stderr)
		}
		same(t, want, db.content(t))
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		folder, grow := smallDisk(t, 3)
		fills(t, sqliteAt(filepath.Join(folder, "ratebook.db")), grow)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		folder, grow := smallDisk(t, 11)
		cluster := testserver.PostgresServer(t)
		fills(t, &database{url: cluster.CreateIn(t, "small", filepath.Join(folder, "space"))}, grow)
	})
}

// TestMostlyFaultySource has a source that spoils three answers of ten, in every way it can. No window may ever be charged
// without having been collected, and in the end everything is as if nothing had been.
func TestMostlyFaultySource(t *testing.T) {
	t.Parallel()
	w := small(begin2024, 24)
	w.series = nil
	w.fill(8, 3, 2)
	source := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	_, want := faultless(t, w, source.URL)
	wanted := map[string]bool{}
	for _, line := range ofKind(want, "charge") {
		wanted[line] = true
	}
	var mu sync.Mutex
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	spoilt := map[string]int{}
	replace := func(r *http.Response, status int, kind, body string) []byte {
		r.StatusCode = status
		r.Header.Del("Content-Length")
		r.Header.Set("Content-Type", kind)
		return []byte(body)
	}
	const ways = 8
	flaky := proxy(t, source.URL, func(r *http.Response, body []byte) []byte {
		mu.Lock()
		spoil, way, at := random.Float64() < 0.3, random.IntN(ways), random.IntN(max(1, len(body)))
		mu.Unlock()
		if !spoil {
			return body
		}
		name := [ways]string{"error", "not found", "bad gateway", "page", "partial", "broken off", "half", "late"}[way]
		mu.Lock()
		spoilt[name]++
		mu.Unlock()
		switch name {
		case "error":
			return replace(r, http.StatusServiceUnavailable, "application/json", `{"status":"error","errorType":"unavailable","error":"restarting"}`)
		case "not found":
			return replace(r, http.StatusNotFound, "text/plain", "404 page not found")
		case "bad gateway":
			return replace(r, http.StatusBadGateway, "text/html", "<h1>502</h1>")
		case "page":
			return replace(r, http.StatusOK, "text/html", "<!DOCTYPE html><title>Log in</title>")
		case "partial":
			r.Header.Del("Content-Length")
			return []byte(strings.Replace(string(body), `{"status":"success",`, `{"status":"success","warnings":["a store is away"],`, 1))
		case "broken off":
			return shorten(r, body, at)
		case "half":
			r.Header.Del("Content-Length")
			return body[:at]
		default: // later than the program waits
			select {
			case <-r.Request.Context().Done():
			case <-time.After(5 * time.Second):
			}
			return body
		}
	})
	eachKind(t, func(t *testing.T, db *database) {
		db.setUp(t, w)
		for runs := 1; ; runs++ {
			r := db.try(t, w.process(flaky, "--prometheus-timeout", "1s")...)
			if r.status > 1 {
				t.Fatalf("seed %d: status %d\n%s", seed, r.status, r.stderr)
			}
			for _, line := range ofKind(db.content(t), "charge") { // at no moment anything but what must be
				if !wanted[line] {
					t.Fatalf("seed %d: a charge that should not be: %s", seed, line)
				}
			}
			if n := db.number(t, "SELECT COUNT(*) FROM windows WHERE state = 5"); n != 0 {
				t.Fatalf("seed %d: %d windows are empty", seed, n)
			}
			if r.status == 0 {
				break
			}
			if runs == 300 {
				t.Fatalf("seed %d: it doesn't get through:\n%s", seed, r.out)
			}
		}
		same(t, want, db.content(t))
	})
	t.Cleanup(func() { t.Logf("seed %d: spoilt answers: %v", seed, spoilt) })
}
