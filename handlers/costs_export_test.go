package handlers

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"ratebook/costs"
	"ratebook/fault"
	"ratebook/money"
)

func TestCostsFile(t *testing.T) {
	f := newFakeCosts()
	b := costsAs(t, costsSite(t, newTestCosts(f)), "viewer")
	for path, name := range map[string]string{
		"/costs.csv":                                "costs-2026-11-01-to-2026-11-21-by-scope.csv",
		"/costs.json?bucket=day&group=none":         "costs-2026-11-01-to-2026-11-21-per-day.json",
		"/costs.csv?group=metric&group=%22%0Ax/é..": "costs-2026-11-01-to-2026-11-21-by-metric-and---x----.csv",
	} {
		w := b.get(path)
		if got := w.Header().Get("Content-Disposition"); w.Code != http.StatusOK || got != `attachment; filename="`+name+`"` || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s", path, w.Code, got)
		}
	}
	if w := b.get("/costs.csv?group=metric&range=last-month"); !strings.HasPrefix(w.Body.String(), "metric,unit,qty,cost,currency\ncpu,vcpu,") {
		t.Errorf("got %s", w.Body)
	}
}

// TestCostsBrokenFile holds that a file that can't be finished looks broken, and that an error before it is an error.
func TestCostsBrokenFile(t *testing.T) {
	f := newFakeCosts()
	server := httptest.NewServer(costsSite(t, newTestCosts(f)))
	defer server.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	get := func(path string) (status int, file, broken bool) {
		w, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
		_, err = io.Copy(io.Discard, w.Body)
		return w.StatusCode, w.Header.Get("Content-Disposition") != "", err != nil
	}
	get("/as/viewer")
	for _, c := range []struct {
		rows, status int
		broken       bool
	}{{0, 503, false}, {100, 503, false}, {20_000, 200, true}} {
		f.report = func(_ context.Context, q *costs.Query, yield func(costs.Row) error) (costs.Total, error) {
			for i := range c.rows {
				if err := yield(costs.Row{Begin: q.Range.Begin, End: q.Range.End, Groups: []string{strconv.Itoa(i)}}); err != nil {
					return costs.Total{}, err
				}
			}
			return costs.Total{}, fault.New(fault.Unavailable, "the database is gone")
		}
		if status, file, broken := get("/costs.csv"); status != c.status || file != c.broken || broken != c.broken {
			t.Errorf("after %d rows: %d, a file %t, broken %t", c.rows, status, file, broken)
		}
	}
}

// TestCostsFileStreams holds that a file's first rows arrive while the report still goes on, and that its length does not
// matter to the memory.
func TestCostsFileStreams(t *testing.T) {
	const rows = 300_000
	f := newFakeCosts()
	begun := make(chan struct{})
	var before, after runtime.MemStats
	f.report = func(ctx context.Context, q *costs.Query, yield func(costs.Row) error) (total costs.Total, err error) {
		row := costs.Row{Begin: q.Range.Begin, End: q.Range.End, Groups: []string{"0f3c4f0e9d1b4a6c8e2d"}, Unit: "h", Qty: money.New(1, 0), Cost: money.New(1, 12), Points: 1}
		for i := range rows {
			switch i {
			case 10_000:
				select {
				case <-begun:
				case <-time.After(10 * time.Second):
					return total, errors.New("nothing has arrived")
				}
				runtime.GC()
				runtime.ReadMemStats(&before)
			case rows - 1:
				runtime.GC()
				runtime.ReadMemStats(&after)
			}
			if err := yield(row); err != nil {
				return total, err
			}
		}
		return total, nil
	}
	h := newTestCosts(f)
	b := costsAs(t, costsSite(t, h), "viewer")
	server := httptest.NewServer(b.site)
	defer server.Close()
	r, err := http.NewRequest(http.MethodGet, server.URL+"/costs.csv", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range b.jar {
		r.AddCookie(c)
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	lines := bufio.NewScanner(w.Body)
	count := 0
	for lines.Scan() {
		if count++; count == 1 {
			close(begun)
		}
	}
	if lines.Err() != nil || count != rows+1 {
		t.Errorf("%d lines, %v", count, lines.Err())
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("%d bytes more in the memory after %d rows", grown, rows)
	}
}

func TestCostsStreamsAreFew(t *testing.T) {
	f := newFakeCosts()
	h := newTestCosts(f)
	b := costsAs(t, costsSite(t, h), "viewer")
	var ends []func()
	begin := func(login string) {
		end, err := h.streams.begin(login)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	full := func(who, text string) {
		t.Helper()
		if w := b.get("/costs.csv"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), text) {
			t.Errorf("one file too many of %s: %d %s", who, w.Code, w.Body)
		}
	}
	begin("viewer")
	begin("viewer")
	full("one user", "ou are exporting 2 reports already")
	if w := costsAs(t, b.site, "tenant").get("/costs.csv"); w.Code != http.StatusOK {
		t.Errorf("a file of another user: %d", w.Code)
	}
	ends[0]()
	ends = ends[1:]
	for _, login := range []string{"a", "b", "a"} {
		begin(login)
	}
	full("all", "4 reports are being exported already")
	if w := b.get("/costs"); w.Code != http.StatusOK {
		t.Errorf("a page beside: %d", w.Code)
	}
	ends[3]()
	for range 3 {
		if w := b.get("/costs.csv"); w.Code != http.StatusOK {
			t.Errorf("a file when there is room: %d", w.Code)
		}
	}
	for _, end := range ends[:3] {
		end()
	}
	if h.streams.all != 0 || len(h.streams.of) != 0 {
		t.Errorf("%d files are still written, %v", h.streams.all, h.streams.of)
	}
}

// TestCostsStreamEnds holds that a file that takes too long is given up.
func TestCostsStreamEnds(t *testing.T) {
	f := newFakeCosts()
	f.report = func(ctx context.Context, _ *costs.Query, _ func(costs.Row) error) (costs.Total, error) {
		select {
		case <-ctx.Done():
			return costs.Total{}, ctx.Err()
		case <-time.After(10 * time.Second):
			return costs.Total{}, errors.New("it goes on")
		}
	}
	h := newTestCosts(f)
	h.longest = 10 * time.Millisecond
	if w := costsAs(t, costsSite(t, h), "viewer").get("/costs.csv"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestCostsPagesAreFew holds that only so many reports are made for pages at a time, and that others wait for their turn.
func TestCostsPagesAreFew(t *testing.T) {
	f := newFakeCosts()
	h := newTestCosts(f)
	b := costsAs(t, costsSite(t, h), "viewer")
	for range mostReports {
		h.few.slots <- struct{}{}
	}
	for _, path := range []string{"/costs", "/costs/values?fkey=flavor"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, path, http.NoBody)
		for _, c := range b.jar {
			r.AddCookie(c)
		}
		b.site.ServeHTTP(httptest.NewRecorder(), r)
		cancel()
	}
	if len(f.asked) > 0 {
		t.Errorf("the store was asked for %d reports more than %d", len(f.asked), mostReports)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.few.Report(ctx, &costs.Query{}, nil); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a page that had no turn: %v", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { <-h.few.slots })
	if w := b.get("/costs"); w.Code != http.StatusOK || len(f.asked) == 0 {
		t.Errorf("a page that waited: %d", w.Code)
	}
	if len(h.few.slots) != mostReports-1 {
		t.Errorf("%d turns are taken", len(h.few.slots))
	}
}
