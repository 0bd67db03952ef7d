package v2

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ratebook/costs"
	"ratebook/metering"
	"ratebook/period"
)

// list returns n elements, each a format of its number, with something between them.
func list(n int, format, between string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(all, between)
}

// TestTooMany: nobody can keep the server busy with what is refused anyway.
func TestTooMany(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ method, target, body, want string }{
		{"PATCH", "/v2/scope", "{" + members(201) + "}", "more than 200 of them are not taken (path: '[]')"},
		{"PATCH", "/v2/scope", "{" + list(100_000, `"k%d":1`, ",") + "}", "more than 200 of them are not taken (path: '[]')"},
		{"PATCH", "/v2/scope", "{" + strings.Repeat(`"scope_id":"p1",`, 200) + `"active":true}`, "more than 200 of them are not taken (path: '[]')"},
		{"GET", "/v2/summary?" + list(201, "k%d", "&"), "", "more than 200 of them are not taken (path: '[]')"},
		{"GET", "/v2/summary?" + list(100_000, "k%d", "&"), "", "more than 200 of them are not taken (path: '[]')"},
		{"GET", "/v2/summary?filters=" + list(201, "k%d:v", ","), "", "more than 200 of them are not taken (path: '['filters']')"},
		{"GET", "/v2/dataframes?filters=" + list(201, "k%d:v", "&filters="), "", "more than 200 of them are not taken (path: '['filters']')"},
		{"GET", "/v2/summary?groupby=" + list(51, "k%d", ","), "", "Invalid groupby. A summary can be grouped by 50 attributes."},
	} {
		start := time.Now()
		w := ask(t, newFakes(), admin, c.method, c.target, c.body)
		if got := message(t, w); w.Code != 400 || !strings.HasSuffix(got, c.want) {
			t.Errorf("%s %.40s %.40s: %d %s, want %s", c.method, c.target, c.body, w.Code, got, c.want)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s %.40s %.40s took %s", c.method, c.target, c.body, took)
		}
	}
	f := newFakes()
	f.report = func(*costs.Query, func(costs.Row) error) error { return nil }
	for _, target := range []string{
		"groupby=" + list(50, "k%d", ",") + ",time,k1&groupby=k2,k3", "filters=" + list(200, "k%d:v", ","), "filters=" + strings.Repeat("k:v,k:w,", 500) + "a:b",
	} {
		if w := ask(t, f, admin, "GET", "/v2/summary?"+target, ""); w.Code != 200 {
			t.Error(w.Code, w.Body)
		}
	}
	if got := len(f.query.Filters); got != 2 {
		t.Error(got)
	}
}

// TestManyScopes: many scopes can be named, and each is looked for once.
func TestManyScopes(t *testing.T) {
	t.Parallel()
	f := newFakes()
	for i := range 20_000 {
		f.states = append(f.states, metering.ScopeState{Scope: &metering.Scope{Ref: int64(100 + i), ID: fmt.Sprint("s", i), Active: true}})
	}
	ids := list(100_000, `"x%d"`, ",")
	start := time.Now()
	w := ask(t, f, admin, "POST", "/v2/task/reprocesses", `{"scope_ids":[`+ids+`],"start_reprocess_time":"2026-11-01","end_reprocess_time":"2026-11-02","reason":"x"}`)
	if got := message(t, w); w.Code != 400 || !strings.HasPrefix(got, "Scopes ['x0', 'x1', ") {
		t.Errorf("%d %.100s", w.Code, got)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Error(took)
	}
}

// TestFirstDay: year 1 is a time that somebody gave, like any other.
func TestFirstDay(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.report = func(*costs.Query, func(costs.Row) error) error { return nil }
	f.frames = func(*costs.FrameQuery, func(*costs.Frame) error) (int64, error) { return 1, nil }
	want := period.Range{Begin: time.Time{}.Add(time.Second), End: month().End}
	if w := ask(t, f, admin, "GET", "/v2/summary?begin=0001-01-01T00:00:00", ""); w.Code != 200 || f.query.Range != want {
		t.Error(w.Code, f.query)
	}
	if w := ask(t, f, admin, "GET", "/v2/dataframes?begin=0001-01-01T00:00:00", ""); w.Code != 200 || f.asked.Range != want {
		t.Error(w.Code, f.asked)
	}
	f.query, f.asked = nil, nil
	if w := ask(t, f, admin, "GET", "/v2/summary?end=0001-01-01T00:00:00", ""); w.Code != 200 || f.query != nil {
		t.Error(w.Code, f.query)
	}
	if w := ask(t, f, admin, "GET", "/v2/dataframes?end=0001-01-01T00:00:00", ""); w.Code != 404 || f.asked != nil {
		t.Error(w.Code, f.asked)
	}
	f.from = month().Begin
	if w := ask(t, f, admin, "PUT", "/v2/scope", `{"scope_id":"p1","state":"0001-01-01T00:00:00"}`); w.Code != 202 || !f.from.IsZero() {
		t.Error(w.Code, w.Body, f.from)
	}
}
