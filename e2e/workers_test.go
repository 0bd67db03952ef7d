package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ratebook/e2e/testserver"
)

// TestWorkers lets three processes loose on one PostgreSQL database.
func TestWorkers(t *testing.T) {
	t.Parallel()
	w := small(begin2024, 48)
	w.series = nil
	w.fill(40, 3, 1)
	source := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	_, want := faultless(t, w, source.URL)
	db := kinds["postgres"](t)
	db.setUp(t, w)

	const workers = 3
	var started [workers]*running
	for i := range started {
		started[i] = db.start(t, w.process(source.URL)...)
	}
	done, points, planned, busy := 0, 0, 0, 0
	for _, p := range started {
		r := p.wait(t)
		if r.status != 0 {
			t.Fatalf("status %d\n%s%s", r.status, r.out, r.stderr)
		}
		sum := r.summary(t)
		done, points, planned = done+sum.Done, points+sum.Points, planned+sum.PlannedWindows
		if sum.Lost+sum.Failed > 0 {
			t.Errorf("lost or failed: %+v", sum)
		}
		if sum.Done > 0 {
			busy++
		}
	}
	t.Logf("%d processes had something to do", busy)
	if done != 40*48 || planned != 40*48 || points != 40*48*6 {
		t.Errorf("together they did %d windows of %d and %d points; want 1920 of 1920 and 11520", done, planned, points)
	}
	same(t, want, db.content(t))
	if n := db.number(t, "SELECT COUNT(*) FROM windows WHERE attempts <> 1"); n != 0 {
		t.Errorf("%d windows were tried more than once", n)
	}
	if n := db.number(t, "SELECT COUNT(*) FROM scopes WHERE lease_token IS NOT NULL"); n != 0 {
		t.Errorf("%d leases were not given back", n)
	}
}

// held starts a process that is held up by its source until release. It has the database when held returns.
func held(t *testing.T, db *database, w *world, source string) (cmd *exec.Cmd, release func()) {
	t.Helper()
	asked, free := make(chan struct{}, 1), make(chan struct{})
	release = sync.OnceFunc(func() { close(free) })
	t.Cleanup(release)
	slow := proxy(t, source, func(_ *http.Response, body []byte) []byte {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-free
		return body
	})
	t.Cleanup(release) // before the proxy is closed
	cmd = db.command(t, w.process(slow)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-asked:
	case <-time.After(time.Minute):
		t.Fatal("the source was not asked")
	}
	return cmd, release
}

func TestSecondWorkerOnSQLite(t *testing.T) {
	t.Parallel()
	w := small(begin2024, 8)
	source := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	db, want := faultless(t, w, source.URL)
	first, release := held(t, db, w, source.URL)
	for _, command := range [][]string{w.process(source.URL), {"serve", "--listen", "127.0.0.1:0"}} {
		r := db.try(t, command...)
		if r.status != 1 || !strings.Contains(r.stderr, "the database is being processed by ratebook process, process ") || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%s: status %d, want 1 and who has the database, in one line:\n%s%s", command[0], r.status, r.out, r.stderr)
		}
	}
	// others need not wait
	if out := db.run(t, "export", "report", "--begin", "2024-05-01", "--end", "2024-06-01"); out != "unit,qty,cost,currency\n" {
		t.Errorf("a report meanwhile: %s", out)
	}
	release()
	if err := first.Wait(); err != nil {
		t.Fatal(err)
	}
	same(t, want, db.content(t))
}

// TestInterrupted asks processes to end while they wait for their source.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	w := small(begin2024, 8)
	source := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	_, want := faultless(t, w, source.URL)
	eachKind(t, func(t *testing.T, db *database) {
		db.setUp(t, w)
		first, _ := held(t, db, w, source.URL)
		if err := first.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = first.Wait()
		if code := first.ProcessState.ExitCode(); code != 1 {
			t.Errorf("status %d, want 1: not everything is done", code)
		}
		db.run(t, w.process(source.URL)...) // at once: leases were given back
		same(t, want, db.content(t))
	})
}

// TestServe lets a server find and process the same windows as process.
func TestServe(t *testing.T) {
	t.Parallel()
	// What is due depends on the present; there are samples for some hours more, since the clock goes on.
	begin := time.Now().UTC().Truncate(time.Hour).Add(-52 * time.Hour)
	w := small(begin, 56)
	source := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	w.hours = 48
	_, want := faultless(t, w, source.URL)
	points := w.points(t)
	eachKind(t, func(t *testing.T, db *database) {
		db.setUp(t, w)
		cmd := db.command(t, "serve", "--prometheus-url", source.URL, "--start", w.begin.Format(time.RFC3339),
			"--listen", "127.0.0.1:0", "--metrics-token", "secret", "--log-format", "json")
		log := &logReader{address: make(chan string, 1)}
		cmd.Stderr = log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			close(ended)
		}()
		var base string
		select {
		case base = <-log.address:
		case <-ended:
			t.Fatalf("serve ended:\n%s", log)
		case <-time.After(time.Minute):
			t.Fatalf("serve does not listen:\n%s", log)
		}
		for _, path := range []string{"/healthz", "/readyz"} {
			if status, body := get(t, base+path, ""); status != http.StatusOK {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
		if status, body := get(t, base+"/metrics", ""); status == http.StatusOK || strings.Contains(body, "ratebook_") {
			t.Errorf("/metrics without a token: %d %s", status, body)
		}
		eventually(t, "all windows are processed", func() bool {
			status, body := get(t, base+"/metrics", "secret")
			if status != http.StatusOK {
				t.Fatalf("/metrics: %d %s", status, body)
			}
			if strings.Contains(body, "scope-0") {
				t.Error("/metrics names a scope")
			}
			return strings.Contains(body, `ratebook_windows_open{state="due"} 0`) && strings.Contains(body, `ratebook_windows_open{state="failed"} 0`) &&
				!strings.Contains(body, "ratebook_points_total 0\n")
		})
		for _, groups := range [][]string{nil, {"scope", "metric"}, {"flavor"}} {
			w.checkReport(t, db, question{w.begin, w.end(), groups, "day"}, points)
		}

		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatalf("serve does not stop:\n%s", log)
		}
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("status %d after SIGTERM\n%s", code, log)
		}
		// it has done a window or two more, of which process knows nothing
		in := func(content []string) []string { return ofKind(content, "charge") }
		var got []string
		last := w.end().Unix()
		for _, line := range in(db.content(t)) {
			if at := chargeBegin(t, line); at < last {
				got = append(got, line)
			}
		}
		same(t, in(want), got)
	})
}

// get asks an HTTP server.
func get(t *testing.T, url, token string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var b strings.Builder
	if err := res.Write(&b); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, b.String()
}

// logReader reads serve's log, and looks for its address in it.
type logReader struct {
	mu      sync.Mutex
	text    strings.Builder
	found   bool
	address chan string // "http://host:port", once
}

func (l *logReader) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	for line := range strings.Lines(l.text.String()) {
		var entry struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "listening" && !l.found {
			l.found = true
			l.address <- "http://" + entry.Address
		}
	}
	return len(b), nil
}

func (l *logReader) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
