package app

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ratebook/e2e/testserver"
	"ratebook/jobs"
)

// output collects what a running program writes.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// server is a running serve.
type server struct {
	t      *testing.T
	url    string
	log    output
	client *http.Client
	cancel context.CancelFunc
	status chan int
}

var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

// serve starts the program on a free port of its own.
func serve(t *testing.T, database string, more ...string) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &server{t: t, client: &http.Client{Transport: &http.Transport{}}, cancel: cancel, status: make(chan int, 1)}
	args := append([]string{"serve", "--listen", "127.0.0.1:0", "--database-url", database}, more...)
	go func() { s.status <- Main(ctx, args, Streams{In: strings.NewReader(""), Out: &s.log, Err: &s.log}) }()
	t.Cleanup(func() { s.stop() })
	s.eventually("listening", func() bool {
		if m := listening.FindStringSubmatch(s.log.String()); m != nil {
			s.url = "http://" + m[1]
		}
		return s.url != ""
	})
	return s
}

// stop asks the program to end, as a signal does, and waits for it.
func (s *server) stop() (status int) {
	s.cancel()
	s.client.CloseIdleConnections()
	select {
	case status = <-s.status:
		s.status <- status
	case <-time.After(30 * time.Second):
		s.t.Errorf("serve does not stop\n%s", s.log.String())
	}
	return status
}

func (s *server) eventually(what string, ok func() bool) {
	s.t.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	late := time.After(time.Minute)
	for !ok() {
		select {
		case <-poll.C:
		case status := <-s.status:
			s.t.Fatalf("serve ended with status %d\n%s", status, s.log.String())
		case <-late:
			s.t.Fatalf("it never happened: %s\n%s", what, s.log.String())
		}
	}
}

// ask sends a request and returns the answer's status and body. The header is a line like "Name: value", if any.
func (s *server) ask(method, url, header string) (status int, body string, head http.Header) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, url, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	if name, value, ok := strings.Cut(header, ": "); ok {
		req.Header.Set(name, value)
	}
	res, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

// answers fails the test unless GET path is answered so.
func (s *server) answers(path string, status int, body string) {
	s.t.Helper()
	if code, got, _ := s.ask(http.MethodGet, s.url+path, ""); code != status || got != body {
		s.t.Errorf("GET %s: %d %q, want %d %q", path, code, got, status, body)
	}
}

func openSQLite(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(url, "sqlite://")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func sqliteURL(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "ratebook.db") }

// ratebook runs a command that must succeed and returns its output.
func ratebook(t *testing.T, args ...string) string {
	t.Helper()
	var out, stderr strings.Builder
	if code := Main(t.Context(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &stderr}); code != exitDone {
		t.Fatalf("ratebook %s: status %d\n%s%s", strings.Join(args, " "), code, out.String(), stderr.String())
	}
	return out.String()
}

const (
	allReady = `{"database":"ok","schema":"ok"}` + "\n"
	unready  = `{"database":"ok","schema":"not ready"}` + "\n"
)

func TestServe(t *testing.T) {
	t.Parallel()
	database := sqliteURL(t)
	s := serve(t, database)
	s.answers("/healthz", 200, "ok\n")
	s.answers("/healthcheck", 200, "ok\n")
	s.answers("/readyz", 200, allReady)
	if _, _, head := s.ask(http.MethodGet, s.url+"/readyz", ""); head.Get("Cache-Control") != "no-store" || !strings.HasPrefix(head.Get("Content-Type"), "application/json") {
		t.Errorf("/readyz has the headers %v", head)
	}
	s.answers("/nope", 404, "Not Found\n")
	s.answers("/healthz/nope", 404, "Not Found\n")
	if code, body, _ := s.ask(http.MethodPost, s.url+"/healthz", ""); code != 405 || body != "Method Not Allowed\n" {
		t.Errorf("POST: %d %q", code, body)
	}
	s.answers("/metrics", 404, "Not Found\n") // neither token nor listener

	// a schema that a newer program has changed meanwhile
	db := openSQLite(t, database)
	for _, step := range []struct {
		change string
		code   int
		body   string
	}{
		{"INSERT INTO goose_db_version (version_id, is_applied) VALUES (4711, 1)", 503, unready},
		{"DELETE FROM goose_db_version WHERE version_id = 4711", 200, allReady},
	} {
		if _, err := db.ExecContext(t.Context(), step.change); err != nil {
			t.Fatal(err)
		}
		s.answers("/readyz", step.code, step.body)
	}
	if !strings.Contains(s.log.String(), "4711") {
		t.Error("the log does not say why it was not ready")
	}
	s.answers("/healthz", 200, "ok\n")

	// the port is taken, with another database
	var stderr output
	address := strings.TrimPrefix(s.url, "http://")
	code := Main(t.Context(), []string{"serve", "--listen", address, "--database-url", sqliteURL(t)}, Streams{Out: io.Discard, Err: &stderr})
	if lines := strings.Split(strings.TrimSpace(stderr.String()), "\n"); code != exitFailed || lines[len(lines)-1] != "ratebook: can't listen on "+address+": address already in use" {
		t.Errorf("status %d\n%s", code, stderr.String())
	}
	if err := isSentence(stderr.String()); err != nil {
		t.Error(err)
	}
	stderr.text.Reset()
	code = Main(t.Context(), []string{"serve", "--listen", "127.0.0.1:0", "--metrics-listen", address, "--database-url", sqliteURL(t)}, Streams{Out: io.Discard, Err: &stderr})
	if code != exitFailed || !strings.Contains(stderr.String(), "ratebook: can't listen on "+address+": address already in use\n") {
		t.Errorf("status %d\n%s", code, stderr.String())
	}
}

func TestServeMetrics(t *testing.T) {
	t.Parallel()
	reserved, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own := reserved.Addr().String()
	if err := reserved.Close(); err != nil {
		t.Fatal(err)
	}
	s := serve(t, sqliteURL(t), "--metrics-token", "s3cret", "--metrics-listen", own)
	for _, c := range []struct {
		url, header string
		code        int
	}{
		{s.url + "/metrics", "", 401},
		{s.url + "/metrics", "Authorization: Bearer wrong", 401},
		{s.url + "/metrics", "Authorization: Basic s3cret", 401},
		{s.url + "/metrics?token=s3cret", "", 401},
		{s.url + "/metrics", "Authorization: Bearer s3cret", 200},
		{"http://" + own + "/metrics", "", 200},
		{"http://" + own + "/healthz", "", 404},
		{"http://" + own + "/readyz", "", 404},
	} {
		code, body, head := s.ask(http.MethodGet, c.url, c.header)
		if code != c.code {
			t.Errorf("%s with %q: %d %q, want %d", c.url, c.header, code, body, c.code)
		}
		if c.code == 401 && (body != "Unauthorized\n" || !strings.HasPrefix(head.Get("WWW-Authenticate"), "Bearer ")) {
			t.Errorf("%s with %q: %q %v", c.url, c.header, body, head)
		}
		if c.code == 200 && !strings.Contains(body, "\nratebook_windows_open{state=\"failed\"} 0\n") {
			t.Errorf("%s: %s", c.url, body)
		}
	}
	if strings.Contains(s.log.String(), "s3cret") {
		t.Error("the token is in the log")
	}
}

// TestServeWithoutDatabase loses the server under a running program.
func TestServeWithoutDatabase(t *testing.T) {
	t.Parallel()
	cluster := testserver.PostgresServer(t)
	database := cluster.Create(t, "ratebook")
	ratebook(t, "migrate", "up", "--database-url", database)
	s := serve(t, database, "--metrics-token", "s3cret")
	s.answers("/readyz", 200, allReady)
	cluster.Stop(t)
	s.answers("/readyz", 503, `{"database":"not ready","schema":"not ready"}`+"\n")
	s.answers("/healthz", 200, "ok\n")
	if code, body, _ := s.ask(http.MethodGet, s.url+"/metrics", "Authorization: Bearer s3cret"); code != 200 || !strings.Contains(body, "ratebook_windows_total") || strings.Contains(body, "127.0.0.1") {
		t.Errorf("/metrics without a database: %d %s", code, body)
	}
	cluster.Start(t)
	s.eventually("ready again", func() bool {
		code, _, _ := s.ask(http.MethodGet, s.url+"/readyz", "")
		return code == 200
	})
	if code := s.stop(); code != exitDone {
		t.Errorf("status %d\n%s", code, s.log.String())
	}
}

// TestServeProcesses has windows become due and show up in reports, while others read.
func TestServeProcesses(t *testing.T) {
	t.Parallel()
	src := newSource(t)
	src.constant.Store(true)
	database := sqliteURL(t)
	ratebook(t, "migrate", "up", "--database-url", database)
	begin := time.Now().UTC().Truncate(time.Hour).Add(-6 * time.Hour)
	metrics, rules := filepath.Join(t.TempDir(), "metrics.yml"), filepath.Join(t.TempDir(), "rules.yml")
	writeFile(t, metrics, sourceMetrics)
	writeFile(t, rules, sourceRules)
	ratebook(t, "import", "rules", "--database-url", database, rules)
	s := serve(t, database, "--prometheus-url", src.URL, "--metrics-file", metrics, "--start", begin.Format(time.RFC3339), "--wait-periods", "1", "--metrics-token", "t0ken")
	report := func() (total struct{ Total struct{ Cost string } }) {
		t.Helper()
		text := ratebook(t, "export", "report", "--database-url", database, "--begin", begin.Format(time.RFC3339), "--end", begin.Add(3*time.Hour).Format(time.RFC3339), "--format", "json")
		if err := json.Unmarshal([]byte(text), &total); err != nil {
			t.Fatal(err)
		}
		return total
	}
	s.eventually("three hours of charges", func() bool { return report().Total.Cost == "0.1245" }) // 3 × (0.0215 + 0.02)
	s.eventually("metrics", func() bool {
		_, body, _ := s.ask(http.MethodGet, s.url+"/metrics", "Authorization: Bearer t0ken")
		if strings.Contains(body, "alpha") || strings.Contains(body, "beta") {
			t.Fatal("/metrics names scopes")
		}
		return regexp.MustCompile(`ratebook_windows_total\{result="processed"\} 1[24]\n`).MatchString(body) && // 6 or, on the hour, 7 hours
			strings.Contains(body, `ratebook_windows_open{state="due"} 0`)
	})
	if out := ratebook(t, "rollups", "verify", "--database-url", database); !strings.HasPrefix(out, "All roll-ups equal") {
		t.Error(out)
	}
	s.answers("/readyz", 200, allReady)
	if code := s.stop(); code != exitDone {
		t.Errorf("status %d\n%s", code, s.log.String())
	}
	if strings.Contains(s.log.String(), "level=ERROR") {
		t.Error(s.log.String())
	}
}

// TestServeStops: whatever it started has ended when serve returns, and soon.
func TestServeStops(t *testing.T) { // not parallel: it counts goroutines
	src := newSource(t)
	metrics := filepath.Join(t.TempDir(), "metrics.yml")
	writeFile(t, metrics, sourceMetrics)
	once := func(database string) {
		s := serve(t, database, "--prometheus-url", src.URL, "--metrics-file", metrics, "--start", time.Now().Add(-24*time.Hour).UTC().Format(time.RFC3339), "--metrics-listen", "127.0.0.1:0")
		s.answers("/readyz", 200, allReady)
		asked := time.Now()
		if code := s.stop(); code != exitDone {
			t.Errorf("status %d\n%s", code, s.log.String())
		}
		if took := time.Since(asked); took > 5*time.Second {
			t.Errorf("it took %s to stop", took)
		}
	}
	database := sqliteURL(t)
	once(database) // what is made once is made now
	before := runtime.NumGoroutine()
	for range 3 {
		once(database) // nobody has its lock any more
	}
	var now int
	for range 100 {
		if now = runtime.NumGoroutine(); now <= before {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines, before it were %d\n%s", now, before, stacks[:runtime.Stack(stacks, true)])
}

// TestJobsWithoutSource lets serve compute dry runs that need no source.
func TestJobsWithoutSource(t *testing.T) {
	var names []string
	for _, job := range (&engine{processor: new(jobs.Processor)}).jobs(new(run)) {
		names = append(names, job.Name)
	}
	if got := strings.Join(names, ", "); got != "compute dry runs, drop old charges" {
		t.Errorf("it does: %s", got)
	}
}
