package prometheus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
)

func metricOf(name string, groupby ...string) *metering.Metric {
	one, err := money.ParseRatio("1")
	if err != nil {
		panic(err)
	}
	return &metering.Metric{Name: name, Measured: name, Unit: "u", Groupby: groupby, Factor: one}
}

func runOf(windows int) period.Run {
	return period.Run{Begin: begin, Length: time.Hour, Count: windows}
}

// lines writes a collection in its order, one fact a line.
func lines(c *metering.Collection) []string {
	var all []string
	for _, u := range c.Usage {
		for _, s := range u.Samples {
			all = append(all, fmt.Sprintf("%s of %q %s%s at %d: %s", u.Metric.Name, u.Scope.ID, labelText(u.Groupby), labelText(u.Metadata), s.Window, s.Qty))
		}
	}
	for _, a := range c.Absent {
		all = append(all, fmt.Sprintf("%s absent at %d", a.Metric.Name, a.Window))
	}
	for _, f := range c.Findings {
		id := ""
		if f.Scope != nil {
			id = f.Scope.ID
		}
		all = append(all, fmt.Sprintf("%s of %q at %d: %s %s (%d)", f.Metric, id, f.Window, f.Kind, f.Detail, f.Points))
	}
	return all
}

func wantLines(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// fake answers queries with what a function makes of them, and notes them.
type fake struct {
	*Client
	mu      sync.Mutex
	queries []string
}

func newFake(t *testing.T, result func(query string, at time.Time) string) *fake {
	t.Helper()
	f := new(fake)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/buildinfo") {
			reply(200, `{"status":"success","data":{"version":"3.1.0"}}`)(w, r)
			return
		}
		kind, at := vector, r.PostFormValue("time")
		if strings.HasSuffix(r.URL.Path, "/query_range") {
			kind, at = matrix, r.PostFormValue("start")
		}
		sec, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			t.Error(err)
		}
		q := r.PostFormValue("query")
		f.mu.Lock()
		f.queries = append(f.queries, q)
		f.mu.Unlock()
		reply(200, answer(kind, "["+result(q, time.Unix(sec, 0).UTC())+"]"))(w, r)
	}))
	t.Cleanup(server.Close)
	f.Client = newClient(t, Config{URL: server.URL})
	return f
}

func TestCollectQueries(t *testing.T) {
	f := newFake(t, func(string, time.Time) string { return "" })
	odd := metricOf("odd")
	odd.Prometheus.Suffix = "> 0"
	odd.MayBeAbsent = true
	req := &metering.Request{Scopes: scopesOf("a", "b"), Run: runOf(2), Metrics: []*metering.Metric{metricOf("m"), odd}}
	c := &Collector{Client: f.Client}
	got, err := c.Collect(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if got.SourceVersion != "prometheus 3.1.0" {
		t.Errorf("version %q", got.SourceVersion)
	}
	wantLines(t, lines(got), []string{"m absent at 0", "m absent at 1"})
	slices.Sort(f.queries)
	wantLines(t, f.queries, []string{
		`count(count_over_time(m{project_id!=""}[3600s]))`,
		`max(max_over_time(m{project_id=~"a|b"}[3600s])) by (project_id)`,
		`max(max_over_time(odd{project_id="a"}[3600s])) by (project_id) > 0`,
		`max(max_over_time(odd{project_id="a"}[3600s])) by (project_id) > 0`,
		`max(max_over_time(odd{project_id="b"}[3600s])) by (project_id) > 0`,
		`max(max_over_time(odd{project_id="b"}[3600s])) by (project_id) > 0`,
	})
}

func TestCollectNothing(t *testing.T) {
	c := &Collector{Client: newClient(t, Config{URL: "http://127.0.0.1:1"})} // would refuse
	for _, req := range []*metering.Request{
		{Run: runOf(1), Metrics: []*metering.Metric{metricOf("m")}},
		{Scopes: scopesOf("a"), Metrics: []*metering.Metric{metricOf("m")}},
		{Scopes: scopesOf("a"), Run: runOf(1)},
	} {
		if got, err := c.Collect(t.Context(), req); err != nil || len(lines(got)) > 0 {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

// TestCollectManyScopes takes more scopes than one query does, from a server that answers in any order.
func TestCollectManyScopes(t *testing.T) {
	f := newFake(t, func(q string, at time.Time) string {
		var items []string
		_, matcher, _ := strings.Cut(q, `"`)
		matcher, _, _ = strings.Cut(matcher, `"`)
		for _, id := range strings.Split(matcher, "|") {
			items = append(items, fmt.Sprintf(`{"metric":{"project_id":%q},"values":[[%d,"1"]]}`, id, at.Unix()))
		}
		slices.Reverse(items)
		return strings.Join(items, ",")
	})
	var ids, want []string
	for i := range 1201 {
		ids = append(ids, fmt.Sprintf("s%04d", i*7%1201))
		want = append(want, fmt.Sprintf(`m of "s%04d" {}{} at 0: 1`, i*7%1201))
	}
	got, err := (&Collector{Client: f.Client}).Collect(t.Context(), &metering.Request{Scopes: scopesOf(ids...), Run: runOf(1), Metrics: []*metering.Metric{metricOf("m")}})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, lines(got), want)
	if len(f.queries) != 3 {
		t.Errorf("%d queries", len(f.queries))
	}
}

func TestCollectRepeats(t *testing.T) {
	m := metricOf("m", "id")
	m.Metadata = []string{"flavor"}
	f := newFake(t, func(_ string, at time.Time) string {
		n := at.Hour()
		return fmt.Sprintf(`{"metric":{"id":"x","extra":"1"},"value":[%d,"%d9"]},{"metric":{"id":"x"},"value":[%[1]d,"%[2]d1"]}`, at.Unix(), n)
	})
	req := &metering.Request{Scopes: scopesOf("a"), Run: runOf(2), Metrics: []*metering.Metric{m}}
	if _, err := (&Collector{Client: f.Client, OneByOne: true}).Collect(t.Context(), req); err == nil || !strings.Contains(err.Error(), "without the label project_id") {
		t.Errorf("accepted a series without its scope: %v", err)
	}
	m.Prometheus.Prefix = "x or"
	got, err := (&Collector{Client: f.Client}).Collect(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, lines(got), []string{
		`m of "a" {id="x"}{flavor=""} at 0: 11`, `m of "a" {id="x"}{flavor=""} at 1: 21`,
		`m of "a" {id="x"}{flavor=""} at 0: 19`, `m of "a" {id="x"}{flavor=""} at 1: 29`,
	})
	if len(got.Usage) != 2 {
		t.Errorf("%d usages", len(got.Usage))
	}
}

func TestCollectRefuses(t *testing.T) {
	const at = "1772326800" // the end of the first window
	for name, c := range map[string]struct{ result, says string }{
		"unknown scope":     {`{"metric":{"project_id":"c"},"values":[[` + at + `,"1"]]}`, `scope "c"`},
		"no scope":          {`{"metric":{},"values":[[` + at + `,"1"]]}`, "without the label project_id"},
		"two scopes":        {`{"metric":{"project_id":"a","project_id":"b"},"values":[[` + at + `,"1"]]}`, "project_id twice"},
		"label twice":       {`{"metric":{"project_id":"a","id":"a","id":"b"},"values":[[` + at + `,"1"]]}`, "id twice"},
		"series twice":      {`{"metric":{"project_id":"a"},"values":[[` + at + `,"1"]]},{"metric":{"project_id":"a"},"values":[[` + at + `,"2"]]}`, `scope "a" twice`},
		"time twice":        {`{"metric":{"project_id":"a"},"values":[[` + at + `,"1"],[` + at + `,"1"]]}`, "don't ascend"},
		"no number":         {`{"metric":{"project_id":"a"},"values":[[` + at + `,"one"]]}`, `no number: "one"`},
		"other infinity":    {`{"metric":{"project_id":"a"},"values":[[` + at + `,"Inf"]]}`, `no number: "Inf"`},
		"time too early":    {`{"metric":{"project_id":"a"},"values":[[1772323200,"1"]]}`, "1772323200, which was not asked for"},
		"time too late":     {`{"metric":{"project_id":"a"},"values":[[1772334000,"1"]]}`, "1772334000, which was not asked for"},
		"time in between":   {`{"metric":{"project_id":"a"},"values":[[1772326801,"1"]]}`, "1772326801, which was not asked for"},
		"odd time":          {`{"metric":{"project_id":"a"},"values":[[1772326800.5,"1"]]}`, "1772326800.5"},
		"histogram outside": {`{"metric":{"project_id":"a"},"histograms":[[1772323200,{}]]}`, "1772323200"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(string, time.Time) string { return c.result })
			got, err := (&Collector{Client: f.Client}).Collect(t.Context(), &metering.Request{
				Scopes: scopesOf("a", "b"), Run: runOf(2), Metrics: []*metering.Metric{metricOf("m", "id")},
			})
			if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, metering.ErrTooMuch) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestCollectRefusesScopes(t *testing.T) {
	mixed := scopesOf("a", "b")
	mixed[1].Source.ScopeKey = "other"
	for name, c := range map[string]struct {
		scopes []*metering.Scope
		kind   fault.Kind
	}{
		"empty ID":     {scopesOf("a", ""), fault.Invalid},
		"broken ID":    {scopesOf("\xff"), fault.Invalid},
		"twice":        {scopesOf("a", "a"), fault.Internal},
		"mixed keys":   {mixed, fault.Internal},
		"no scope key": {[]*metering.Scope{{ID: "a"}}, fault.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			collector := &Collector{Client: newClient(t, Config{URL: "http://127.0.0.1:1"})}
			_, err := collector.Collect(t.Context(), &metering.Request{Scopes: c.scopes, Run: runOf(1), Metrics: []*metering.Metric{metricOf("m")}})
			if err == nil || fault.KindOf(err) != c.kind {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCollectSkips(t *testing.T) {
	end := runOf(1).Window(0).End.Unix()
	f := newFake(t, func(q string, _ time.Time) string {
		var items []string
		for i, v := range []string{"NaN", "+Inf", "-Inf", "NaN", "NaN", "NaN", "1"} {
			items = append(items, fmt.Sprintf(`{"metric":{"project_id":"a","id":"%d"},"values":[[%d,%q]]}`, i, end, v))
		}
		items = append(items, fmt.Sprintf(`{"metric":{"project_id":"b","id":"h"},"histograms":[[%d,{}]]}`, end))
		return strings.Join(items, ",")
	})
	got, err := (&Collector{Client: f.Client}).Collect(t.Context(), &metering.Request{Scopes: scopesOf("a", "b"), Run: runOf(1), Metrics: []*metering.Metric{metricOf("m", "id")}})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, lines(got), []string{
		`m of "a" {id="6"}{} at 0: 1`,
		`m of "a" at 0: skipped NaN of {id="0"} (1)`,
		`m of "a" at 0: skipped +Inf of {id="1"} (1)`,
		`m of "a" at 0: skipped -Inf of {id="2"} (1)`,
		`m of "a" at 0: skipped NaN of {id="3"} (1)`,
		`m of "a" at 0: skipped NaN of {id="4"} (1)`,
		`m of "a" at 0: skipped NaN of {id="5"} (1)`,
		`m of "b" at 0: skipped a histogram of {id="h"} (1)`,
	})
}

func TestCollectNotes(t *testing.T) {
	server := httptest.NewServer(reply(200, strings.Replace(answer(vector, `[]`), "{", `{"infos":["PromQL info: b"],"warnings":["PromQL warning: a"],`, 1)))
	defer server.Close()
	m := metricOf("m")
	m.MayBeAbsent = true
	got, err := (&Collector{Client: newClient(t, Config{URL: server.URL}), OneByOne: true}).Collect(t.Context(), &metering.Request{
		Scopes: scopesOf("a", "b"), Run: runOf(3), Metrics: []*metering.Metric{m},
	})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, lines(got), []string{
		`m of "" at -1: source_note PromQL info: b (0)`,
		`m of "" at -1: source_note PromQL warning: a (0)`,
	})
}

func TestCollectMaxPoints(t *testing.T) {
	f := newFake(t, func(_ string, at time.Time) string {
		return fmt.Sprintf(`{"metric":{"project_id":"a"},"values":[[%d,"1"],[%d,"1"]]}`, at.Unix(), at.Unix()+3600)
	})
	req := &metering.Request{Scopes: scopesOf("a"), Run: runOf(2), Metrics: []*metering.Metric{metricOf("m"), metricOf("n")}}
	for most, tooMuch := range map[int]bool{0: false, 3: true, 4: false} {
		req.MaxPoints = most
		if _, err := (&Collector{Client: f.Client}).Collect(t.Context(), req); errors.Is(err, metering.ErrTooMuch) != tooMuch || !tooMuch && err != nil {
			t.Errorf("at most %d: %v", most, err)
		}
	}
}

// TestCollectPrecision takes values as they are written, and converts them as the metric says.
func TestCollectPrecision(t *testing.T) {
	values := []string{"123456789012345678901234567890.5", "1e-9", "0.30000000000000004", "1e+21", "-0"}
	want := []string{"123456789012345678901234567890.5", "0.000000001", "0.30000000000000004", "1000000000000000000000", "0"}
	f := newFake(t, func(_ string, at time.Time) string {
		var samples []string
		for i, v := range values {
			samples = append(samples, fmt.Sprintf(`[%d,%q]`, at.Unix()+int64(i)*3600, v))
		}
		return `{"metric":{"project_id":"a"},"values":[` + strings.Join(samples, ",") + `]}`
	})
	got, err := (&Collector{Client: f.Client}).Collect(t.Context(), &metering.Request{Scopes: scopesOf("a"), Run: runOf(len(values)), Metrics: []*metering.Metric{metricOf("m")}})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range got.Usage[0].Samples {
		if s.Qty.String() != want[i] || s.Window != i {
			t.Errorf("%s became %s in window %d", values[i], s.Qty, s.Window)
		}
	}
}

// TestCollectCancelled must not mistake what was never asked for empty.
func TestCollectCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := metricOf("m")
	m.MayBeAbsent = true
	got, err := (&Collector{Client: newClient(t, Config{URL: "http://127.0.0.1:1"})}).Collect(ctx, &metering.Request{Scopes: scopesOf("a"), Run: runOf(1), Metrics: []*metering.Metric{m}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestCollectHalvesPresence has a server that refuses to look at more than one window for the whole source.
func TestCollectHalvesPresence(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet:
			reply(404, "")(w, r)
		case !strings.HasPrefix(r.PostFormValue("query"), "count"):
			reply(200, answer(matrix, `[]`))(w, r)
		case r.PostFormValue("start") != r.PostFormValue("end"):
			reply(422, `{"status":"error","errorType":"execution","error":"too many samples"}`)(w, r)
		case r.PostFormValue("start") == "1772334000": // the end of window 2
			reply(200, answer(matrix, `[{"metric":{},"values":[[1772334000,"7"]]}]`))(w, r)
		default:
			reply(200, answer(matrix, `[]`))(w, r)
		}
	}))
	defer server.Close()
	got, err := (&Collector{Client: newClient(t, Config{URL: server.URL})}).Collect(t.Context(), &metering.Request{
		Scopes: scopesOf("a"), Run: runOf(5), Metrics: []*metering.Metric{metricOf("m")},
	})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, lines(got), []string{"m absent at 0", "m absent at 1", "m absent at 3", "m absent at 4"})
}
