package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// start serves the checks and returns the URL, the log, and what stops the server and returns its error.
func start(t *testing.T, metrics http.Handler, checks ...Check) (url string, log *record, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	log = new(record)
	open, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- Serve(ctx, Config{
			Listen: "127.0.0.1:0", MetricsToken: "token", Metrics: metrics, Checks: checks, Log: slog.New(slog.NewTextHandler(log, nil)),
			Listening: func(a net.Addr) { open <- a },
		})
	}()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + (<-open).String(), log, stop
}

// record is a log that can be read while it is written.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(b)
}

func (r *record) has(s string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(r.b.String(), s)
}

func do(t *testing.T, method, url string, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer token")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func ok(context.Context) error { return nil }

// TestReadyz: what is wrong with which component is for the log; strangers learn only which.
func TestReadyz(t *testing.T) {
	url, log, _ := start(t, nil, Check{"one", ok}, Check{"two", func(context.Context) error { return errors.New("password of two") }}, Check{"three", ok})
	code, body := do(t, http.MethodGet, url+"/readyz", http.NoBody)
	if code != 503 || body != `{"one":"ok","three":"ok","two":"not ready"}`+"\n" {
		t.Errorf("%d %s", code, body)
	}
	if !log.has("password of two") {
		t.Error("the log doesn't say why")
	}
}

func TestPanics(t *testing.T) {
	url, log, _ := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("metrics are gone") }),
		Check{"one", func(context.Context) error { panic("one is gone") }})
	for _, path := range []string{"/readyz", "/metrics"} {
		if code, body := do(t, http.MethodGet, url+path, http.NoBody); code != 500 || body != "Internal Server Error\n" {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if !log.has("one is gone") || !log.has("metrics are gone") || !log.has("server_test.go") {
		t.Error("the log doesn't say what panicked, and where")
	}
	if code, _ := do(t, http.MethodGet, url+"/healthz", http.NoBody); code != 200 {
		t.Errorf("after a panic /healthz is %d", code)
	}
}

func TestBodyLimit(t *testing.T) {
	url, _, _ := start(t, nil)
	if code, body := do(t, http.MethodGet, url+"/healthz", bytes.NewReader(make([]byte, 2<<20))); code != 413 || body != "Request Entity Too Large\n" {
		t.Errorf("%d %s", code, body)
	}
}

// TestStop: requests under way are answered to their end.
func TestStop(t *testing.T) {
	begun, release := make(chan bool), make(chan bool)
	url, _, stop := start(t, nil, Check{"slow", func(context.Context) error { begun <- true; <-release; return nil }})
	answer := make(chan string, 1)
	go func() {
		code, body := do(t, http.MethodGet, url+"/readyz", http.NoBody)
		answer <- http.StatusText(code) + " " + body
	}()
	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	deadline := time.After(30 * time.Second)
	for { // until nobody is let in any more
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			break
		}
		c.Close()
		select {
		case <-deadline:
			t.Fatal("it goes on listening")
		case <-time.After(10 * time.Millisecond):
		}
	}
	release <- true
	if got := <-answer; got != `OK {"slow":"ok"}`+"\n" {
		t.Errorf("got %q", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
