package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ratebook/e2e/testserver"
)

// proxy stands before a source; change may spoil its answers. It ends with the test.
func proxy(t *testing.T, source string, change func(r *http.Response, body []byte) []byte) string {
	t.Helper()
	target, err := url.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Accept-Encoding") // so that change sees plain text
		},
		ModifyResponse: func(r *http.Response) error {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			body = change(r, body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			return nil
		},
		Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	quiet := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { // the proxy panics so when an answer ends before its announced length
			if err := recover(); err != nil {
				panic(http.ErrAbortHandler)
			}
		}()
		p.ServeHTTP(w, r)
	})
	server := httptest.NewServer(quiet)
	t.Cleanup(server.Close)
	return server.URL
}

// shorten announces the whole body and sends a part of it.
func shorten(r *http.Response, body []byte, to int) []byte {
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return body[:to]
}

// faultless is what an undisturbed run makes of a world.
func faultless(t *testing.T, w *world, source string) (template *database, content []string) {
	t.Helper()
	template = kinds["sqlite"](t)
	template.setUp(t, w)
	db := template.clone(t)
	db.run(t, w.process(source)...)
	return template, db.content(t)
}

// begin2024 is the first window of tests that need no special one.
var begin2024 = time.Date(2024, 5, 30, 12, 0, 0, 0, time.UTC)

func TestFaultySource(t *testing.T) {
	t.Parallel()
	w := small(begin2024, 24)
	source := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	template, want := faultless(t, w, source.URL)
	windows := 4 * w.hours

	page := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(rw, "<!DOCTYPE html><title>Log in</title>")
	}))
	t.Cleanup(page.Close)
	nobody := httptest.NewServer(http.NotFoundHandler())
	nobody.Close()

	t.Run("fails", func(t *testing.T) {
		for name, c := range map[string]struct {
			url   string
			error string
		}{
			"down":       {nobody.URL, "connection refused"},
			"wrong URL":  {page.URL, `the answer is no JSON but text/html that begins with "<!DOCTYPE html>`},
			"wrong path": {source.URL + "/nowhere", "does the URL lead to Prometheus?"},
			"access denied": {proxy(t, source.URL, func(r *http.Response, _ []byte) []byte {
				r.StatusCode = http.StatusUnauthorized
				r.Header.Del("Content-Length")
				return []byte("who are you?")
			}), `access denied (401 Unauthorized, "who are you?"); check the user, password, token or headers`},
			"partial answer": {proxy(t, source.URL, func(r *http.Response, body []byte) []byte {
				r.Header.Del("Content-Length")
				return bytes.Replace(body, []byte(`{"status":"success",`), []byte(`{"status":"success","warnings":["store 3 is away"],`), 1)
			}), "the answer may be partial: store 3 is away"},
			"error": {proxy(t, source.URL, func(r *http.Response, _ []byte) []byte {
				r.StatusCode = http.StatusBadRequest
				r.Header.Del("Content-Length")
				return []byte(`{"status":"error","errorType":"bad_data","error":"what?"}`)
			}), "bad_data: what?"},
			"broken off": {proxy(t, source.URL, func(r *http.Response, body []byte) []byte { return shorten(r, body, len(body)*3/10) }), "the answer breaks off"},
			"half sent": {proxy(t, source.URL, func(r *http.Response, body []byte) []byte {
				r.Header.Del("Content-Length")
				return body[:len(body)*3/10]
			}), "the answer breaks off"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				// without any scope there is nothing to fail but the discovery
				db := template.clone(t)
				r := db.try(t, w.process(c.url)...)
				if r.status != 1 || !strings.Contains(r.stderr, c.error) || r.summary(t).PlannedWindows != 0 {
					t.Errorf("at first use: status %d, want 1 and %q\n%s%s", r.status, c.error, r.out, r.stderr)
				}
				db.run(t, "process", "--prometheus-url", source.URL, "--start", w.begin.Format(time.RFC3339), "--until", w.begin.Add(5*time.Hour).Format(time.RFC3339))
				before := ofKind(db.content(t), "charge")

				r = db.try(t, w.process(c.url)...)
				sum := r.summary(t)
				if r.status != 1 || sum.Failed != windows-4*5 || sum.Points != 0 || sum.Done+sum.Empty != 0 {
					t.Errorf("with status %d, want 1 and all windows failed:\n%s%s", r.status, r.out, r.stderr)
				}
				if !slices.Equal(before, ofKind(db.content(t), "charge")) {
					t.Error("something was charged")
				}
				d := db.open(t)
				scan(t, d, "SELECT DISTINCT error FROM windows WHERE state = 3", func(row []string) {
					if !strings.Contains(row[0], c.error) || !strings.HasPrefix(row[0], "Prometheus at http") {
						t.Errorf("the ledger says %q, want %q", row[0], c.error)
					}
				})
				d.Close()
				// the next attempt does not wait for the time that failed windows rest
				db.run(t, w.process(source.URL)...)
				same(t, want, db.content(t))
			})
		}
	})

	t.Run("answers break off now and then", func(t *testing.T) {
		t.Parallel()
		var mu sync.Mutex
		seed := uint64(time.Now().UnixNano())
		random := rand.New(rand.NewPCG(seed, 0))
		cut := 0
		flaky := proxy(t, source.URL, func(r *http.Response, body []byte) []byte {
			mu.Lock()
			defer mu.Unlock()
			if random.Float64() >= 0.3 {
				return body
			}
			cut++
			return shorten(r, body, random.IntN(len(body)))
		})
		runs := 0
		for spoilt := 0; spoilt < 20; {
			db := template.clone(t)
			for status := 1; status != 0; runs++ {
				if runs == 500 {
					t.Fatalf("seed %d: it doesn't get through", seed)
				}
				if status = db.try(t, w.process(flaky)...).status; status > 1 {
					t.Fatalf("seed %d: status %d", seed, status)
				}
			}
			same(t, want, db.content(t))
			mu.Lock()
			spoilt = cut
			mu.Unlock()
		}
		t.Logf("seed %d: 20 answers broke off in %d runs", seed, runs)
	})
}

// TestSourceComesBack stops and starts the server itself.
func TestSourceComesBack(t *testing.T) {
	t.Parallel()
	w := small(begin2024, 8)
	source := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	db, want := faultless(t, w, source.URL)
	half := *w
	half.hours = 3
	db.run(t, half.process(source.URL)...)
	source.Stop()
	for range 3 { // however often
		if r := db.try(t, w.process(source.URL)...); r.status != 1 || r.summary(t).Failed != 4*5 {
			t.Fatalf("status %d\n%s%s", r.status, r.out, r.stderr)
		}
	}
	source.Start()
	db.run(t, w.process(source.URL)...)
	same(t, want, db.content(t))
}

func TestLostMetric(t *testing.T) {
	t.Parallel()
	w := small(begin2024, 24)
	whole := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	from, to := w.begin.Add(10*time.Hour), w.begin.Add(12*time.Hour)
	var holey []testserver.Series
	for _, s := range w.series {
		if s.Name == "server_memory" {
			s.Samples = slices.DeleteFunc(slices.Clone(s.Samples), func(x testserver.Sample) bool { return !x.At.Before(from) && x.At.Before(to) })
		}
		holey = append(holey, s)
	}
	source := testserver.Prometheus(t, testserver.OpenMetrics(holey...))
	template, want := faultless(t, w, whole.URL)

	lost := func(t *testing.T) *database {
		db := template.clone(t)
		r := db.try(t, w.process(source.URL)...)
		sum := r.summary(t)
		if r.status != 1 || sum.Failed != 4*2 || sum.Done != 4*22 || len(sum.Errors) != 2 {
			t.Fatalf("status %d; two hours of 4 scopes should have failed, and no others:\n%s%s", r.status, r.out, r.stderr)
		}
		for at := from; at.Before(to); at = at.Add(time.Hour) {
			message := fmt.Sprintf("source default has no samples of server_memory between %s and %s", at.Format(time.RFC3339), at.Add(time.Hour).Format(time.RFC3339))
			if sum.Errors[message] != 4 {
				t.Errorf("%q is missing from the errors:\n%s", message, r.out)
			}
		}
		return db
	}
	t.Run("samples come back", func(t *testing.T) {
		t.Parallel()
		db := lost(t)
		db.run(t, w.process(whole.URL)...)
		same(t, want, db.content(t))
	})
	t.Run("an operator allows it", func(t *testing.T) {
		t.Parallel()
		db := lost(t)
		allowed := *w
		allowed.meters = slices.Clone(w.meters)
		allowed.meters[1].mayBeAbsent = true
		db.run(t, "import", "metrics", write(t, "metrics.yml", allowed.metricsFile()))
		sum := db.try(t, w.process(source.URL)...).summary(t)
		if sum.Done != 4*2 || sum.Failed != 0 || sum.Points != 4*2*3 {
			t.Errorf("the two hours should be done, without memory: %+v", sum)
		}
		allowed.series = holey
		(&allowed).checkCharges(t, db, allowed.points(t))
	})
}

// TestTooMuch asks a server that refuses all but small questions.
func TestTooMuch(t *testing.T) {
	t.Parallel()
	w := small(begin2024, 24)
	text := testserver.OpenMetrics(w.series...)
	_, want := faultless(t, w, testserver.Prometheus(t, text).URL)
	for _, samples := range []int{100, 20} { // a series has 48, and a question about all of a metric 576
		t.Run(fmt.Sprint(samples), func(t *testing.T) {
			t.Parallel()
			source := testserver.Prometheus(t, text, fmt.Sprintf("--query.max-samples=%d", samples))
			eachKind(t, func(t *testing.T, db *database) {
				db.setUp(t, w)
				db.run(t, w.process(source.URL)...)
				same(t, want, db.content(t))
			})
		})
	}
	t.Run("a single window", func(t *testing.T) {
		t.Parallel()
		db := kinds["sqlite"](t)
		db.setUp(t, w)
		source := testserver.Prometheus(t, text, "--query.max-samples=2")
		r := db.try(t, w.process(source.URL)...)
		sum := r.summary(t)
		if r.status != 1 || sum.Failed != 4*24 || sum.Points != 0 {
			t.Errorf("status %d\n%s%s", r.status, r.out, r.stderr)
		}
		for message := range sum.Errors {
			if !strings.Contains(message, "too many samples") {
				t.Errorf("the error is %q", message)
			}
		}
	})
}
