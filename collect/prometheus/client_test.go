package prometheus

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ratebook/fault"
	"ratebook/metering"
)

const secret = "s3cret-token"

// ask sends a range query over one window to a server that answers as handler does.
func ask(t *testing.T, cfg Config, handler http.HandlerFunc, change ...func(*Client)) ([]string, error) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	cfg.URL = server.URL
	c := newClient(t, cfg)
	for _, f := range change {
		f(c)
	}
	return c.query(t.Context(), "metric cpu", "q", grid{first: 3600, step: 3600, count: 1}, true, new(record))
}

func reply(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func TestFailures(t *testing.T) {
	apiError := func(code int, kind, message string) http.HandlerFunc {
		return reply(code, fmt.Sprintf(`{"status":"error","errorType":%q,"error":%q}`, kind, message))
	}
	good := answer(matrix, `[{"metric":{},"values":[[3600,"1"]]}]`)
	ofQuestion := []string{"bad query", "bad query with 200", "internal", "echoed secret in JSON", "time off the grid"}
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		tooMuch bool
		kind    fault.Kind
		says    string
	}{
		{"bad query", apiError(400, "bad_data", "parse error"), false, fault.Invalid, "bad_data: parse error"},
		{"bad query with 200", apiError(200, "bad_data", "parse error"), false, fault.Invalid, "bad_data: parse error"},
		{"resolution", apiError(400, "bad_data", "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"), true, fault.Unavailable, "11,000"},
		{"max samples", apiError(422, "execution", "query processing would load too many samples into memory in query execution"), true, fault.Unavailable, "too many samples"},
		{"max samples with 200", apiError(200, "execution", "query processing would load too many samples into memory in query execution"), true, fault.Unavailable, "too many samples"},
		{"server's timeout", apiError(503, "timeout", "query timed out in expression evaluation"), true, fault.Unavailable, "timeout: query timed out"},
		{"VictoriaMetrics' limit", apiError(422, "422", "cannot select more than -search.maxSamplesPerQuery=1"), true, fault.Unavailable, "maxSamplesPerQuery"},
		{"internal", apiError(500, "internal", "disk"), false, fault.Unavailable, "internal: disk"},
		{"error without words", reply(200, `{"status":"error"}`), false, fault.Unavailable, "metric cpu"},
		{"success with 500", reply(500, good), false, fault.Unavailable, "500 Internal Server Error"},
		{"partial content", reply(206, good), false, fault.Unavailable, "206"},
		{"gateway timeout", reply(504, "<html>"), true, fault.Unavailable, "504 Gateway Timeout"},
		{"unavailable", reply(503, "<html>"), true, fault.Unavailable, "503 Service Unavailable"},
		{"starting", reply(503, "Service Unavailable"), false, fault.Unavailable, "starting or stopping"},
		{"too large a question", reply(413, ""), true, fault.Unavailable, "413 Request Entity Too Large"},
		{"bad gateway", reply(502, "<html>"), false, fault.Unavailable, "502 Bad Gateway"},
		{"too many requests", reply(429, "slow down"), false, fault.Unavailable, `429 Too Many Requests, "slow down"`},
		{"not found", reply(404, "404 page not found"), false, fault.Unavailable, "does the URL lead to Prometheus"},
		{"unauthorized", reply(401, "go away"), false, fault.Unavailable, "access denied (401 Unauthorized"},
		{"forbidden", apiError(403, "execution", "no"), false, fault.Unavailable, "access denied (execution: no"},
		{"echoed secret", reply(400, "you sent Bearer "+secret), false, fault.Unavailable, "[redacted]"},
		{"echoed secret in JSON", apiError(400, "bad_data", secret), false, fault.Invalid, "bad_data: [redacted]"},
		{
			"log-in page",
			func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://user:"+secret+"@login.example/in?back="+secret, http.StatusFound)
			},
			false, fault.Unavailable, "redirected to https://login.example/in (302 Found)",
		},
		{"HTML", reply(200, "<!DOCTYPE html>\n<html>Sign  in"), false, fault.Unavailable, `no JSON but text/html that begins with "<!DOCTYPE html> <html>Sign in"`},
		{"nothing", reply(200, ""), false, fault.Unavailable, "breaks off"},
		{"white space", reply(200, " \n"), false, fault.Unavailable, "breaks off"},
		{"no content", reply(204, ""), false, fault.Unavailable, "204 No Content"},
		{"other JSON", reply(200, `{"kind":"Status"}`), false, fault.Unavailable, "can't be understood"},
		{"vector", reply(200, answer(vector, `[]`)), false, fault.Unavailable, "can't be understood"},
		{"half an answer", reply(200, good[:40]), false, fault.Unavailable, "breaks off"},
		{
			"cut connection",
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "1000")
				_, _ = io.WriteString(w, good)
			},
			false, fault.Unavailable, "breaks off",
		},
		{
			"dropped connection",
			func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			false, fault.Unavailable, "EOF",
		},
		{"time off the grid", reply(200, answer(matrix, `[{"metric":{},"values":[[1435781430.781,"1"]]}]`)), false, fault.Unavailable, "1435781430.781"},
		{"warning", reply(200, strings.Replace(good, "{", `{"warnings":["store 3 did not answer"],`, 1)), false, fault.Unavailable, "store 3 did not answer"},
		{"partial answer", reply(200, strings.Replace(good, "{", `{"isPartial":true,`, 1)), false, fault.Unavailable, "partial"},
		{"endless answer", reply(200, good+strings.Repeat(" ", 5<<10)), true, fault.Unavailable, "larger than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ask(t, Config{Token: secret}, c.handler, func(c *Client) { c.maxBody = 4 << 10 })
			if err == nil {
				t.Fatal("no error")
			}
			if got := errors.Is(err, metering.ErrTooMuch); got != c.tooMuch {
				t.Errorf("too much: %v, want %v", got, c.tooMuch)
			}
			if got := errors.Is(err, metering.ErrQuestion); got != slices.Contains(ofQuestion, c.name) {
				t.Errorf("concerns the question: %v", got)
			}
			if got := fault.KindOf(err); got != c.kind {
				t.Errorf("kind %v, want %v", got, c.kind)
			}
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "metric cpu") {
				t.Errorf("says %q, want %q", err, c.says)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("tells the secret: %s", err)
			}
		})
	}
}

func TestNotes(t *testing.T) {
	body := strings.Replace(answer(matrix, `[]`), "{", `{"warnings":["PromQL info: a","PromQL warning: b"],"infos":["c `+secret+`"],`, 1)
	notes, err := ask(t, Config{Token: secret}, reply(200, body))
	if got := strings.Join(notes, "|"); err != nil || got != "c [redacted]|PromQL info: a|PromQL warning: b" {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestTimeout(t *testing.T) {
	for name, first := range map[string]string{"before the answer": "", "within the answer": `{"status":"succ`} {
		t.Run(name, func(t *testing.T) {
			_, err := ask(t, Config{Timeout: 50 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if first != "" {
					_, _ = io.WriteString(w, first)
					w.(http.Flusher).Flush()
				}
				<-r.Context().Done()
			})
			if !errors.Is(err, metering.ErrTooMuch) || !strings.Contains(err.Error(), "within 50ms") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	c := newClient(t, Config{URL: server.URL})
	_, err := c.query(ctx, "metric cpu", "q", grid{step: 3600, count: 1}, true, new(record))
	if !errors.Is(err, context.Canceled) || errors.Is(err, metering.ErrTooMuch) {
		t.Errorf("got %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, Config{URL: "http://user:" + secret + "@" + addr})
	_, err = c.query(t.Context(), "metric cpu", "q", grid{step: 3600, count: 1}, true, new(record))
	if fault.KindOf(err) != fault.Unavailable || errors.Is(err, metering.ErrTooMuch) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
	if strings.Contains(err.Error(), secret) || strings.Contains(c.URL(), secret) {
		t.Errorf("tells the password: %v, %s", err, c.URL())
	}
}

func TestRequest(t *testing.T) {
	for _, c := range []struct {
		name          string
		cfg           Config
		path          string // appended to the server's URL
		credentials   string // put into it
		authorization string
		wantPath      string
	}{
		{"plain", Config{}, "", "", "", "/api/v1/query_range"},
		{"slash", Config{}, "/", "", "", "/api/v1/query_range"},
		{"api", Config{}, "/api/v1", "", "", "/api/v1/query_range"},
		{"api and slash", Config{}, "/api/v1/", "", "", "/api/v1/query_range"},
		{"path", Config{}, "/a%2Fb/prometheus/", "", "", "/a%2Fb/prometheus/api/v1/query_range"},
		{"basic", Config{User: "u", Password: "p:w"}, "", "", "Basic dTpwOnc=", "/api/v1/query_range"},
		{"basic in the URL", Config{}, "", "u:p%3Aw@", "Basic dTpwOnc=", "/api/v1/query_range"},
		{"bearer", Config{Token: "tok"}, "", "", "Bearer tok", "/api/v1/query_range"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Authorization"); got != c.authorization {
					t.Errorf("Authorization %q, want %q", got, c.authorization)
				}
				if got := r.URL.EscapedPath(); got != c.wantPath || r.Method != http.MethodPost {
					t.Errorf("%s %s, want %s", r.Method, got, c.wantPath)
				}
				if got, want := r.PostFormValue("query")+r.PostFormValue("start")+r.PostFormValue("end")+r.PostFormValue("step"), "a+b{c=\"é\"}36007200"+"3600"; got != want {
					t.Errorf("form %s, want %s", got, want)
				}
				if got := r.Header.Values("Idempotency-Key"); got != nil {
					t.Errorf("Idempotency-Key %q was sent", got)
				}
				if r.Header.Get("X-Scope-Orgid") != "team" || r.Host != "prom.example" {
					t.Errorf("headers %v, host %s", r.Header, r.Host)
				}
				reply(200, answer(matrix, `[]`))(w, r)
			}))
			defer server.Close()
			c.cfg.Headers = map[string]string{"X-Scope-OrgID": "team", "host": "prom.example"}
			c.cfg.URL = strings.Replace(server.URL, "http://", "http://"+c.credentials, 1) + c.path
			client := newClient(t, c.cfg)
			if _, err := client.query(t.Context(), "x", "a+b{c=\"é\"}", grid{first: 3600, step: 3600, count: 2}, true, new(record)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNewClientRefuses(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{
		"no URL":             {},
		"no scheme":          {URL: "prometheus:9090"},
		"no host":            {URL: "http:///x"},
		"other scheme":       {URL: "ftp://" + secret + "@h"},
		"broken":             {URL: "http://u:" + secret + "@h:port"},
		"query":              {URL: "http://h?token=" + secret},
		"user and token":     {URL: "http://h", User: "u", Token: secret},
		"URL user and token": {URL: "http://u:p@h", Token: secret},
		"password alone":     {URL: "http://h", Password: secret},
		"token of two lines": {URL: "http://h", Token: secret + "\n"},
		"header name":        {URL: "http://h", Headers: map[string]string{"a b": secret}},
		"header value":       {URL: "http://h", Headers: map[string]string{"a": secret + "\r\nb: c"}},
		"host":               {URL: "http://h", Headers: map[string]string{"Host": "a\nb"}},
		"no CA file":         {URL: "http://h", CAFile: junk + "x"},
		"junk as a CA file":  {URL: "http://h", CAFile: junk},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewClient(cfg)
			if fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), secret) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(reply(200, answer(matrix, `[]`)))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo) // of refused handshakes
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg  Config
		says string
	}{
		"unknown":  {Config{}, "certificate signed by unknown authority"},
		"CA file":  {Config{CAFile: ca}, ""},
		"insecure": {Config{Insecure: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.URL = server.URL
			_, err := newClient(t, c.cfg).query(t.Context(), "x", "q", grid{step: 3600, count: 1}, true, new(record))
			if c.says == "" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, metering.ErrTooMuch) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	asked := 0
	body := `{"status":"success","data":{"version":"2.42.0","revision":"r"}}`
	code := http.StatusNotFound
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if want := (&url.URL{Path: "/api/v1/status/buildinfo"}).String(); r.URL.String() != want || r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		reply(code, body)(w, r)
	}))
	defer server.Close()
	c := newClient(t, Config{URL: server.URL})
	for _, step := range []struct {
		code, asked int
		want        string
	}{{404, 1, ""}, {200, 2, "prometheus 2.42.0"}, {500, 2, "prometheus 2.42.0"}} {
		code = step.code
		if got := c.Version(t.Context()); got != step.want || asked != step.asked {
			t.Errorf("with %d: %q after %d requests, want %q after %d", step.code, got, asked, step.want, step.asked)
		}
	}
	mimir := `{"status":"success","data":{"application":"Grafana Mimir","version":"2.4.0","features":{"x":"true"}}}`
	server2 := httptest.NewServer(reply(200, mimir))
	defer server2.Close()
	if got := newClient(t, Config{URL: server2.URL}).Version(t.Context()); got != "Grafana Mimir 2.4.0" {
		t.Errorf("got %q", got)
	}
}
