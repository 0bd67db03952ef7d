package prometheus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ratebook/e2e/testserver"
	"ratebook/metering"
	"ratebook/period"
)

// oddIDs are scope IDs that regular expressions, PromQL and JSON each may misread.
var oddIDs = []string{
	"p1", "p.1", "p|1", `p"1`, `p\1`, "p\n1", "(p", "p)", "[p", "p*", "p+1", "p?", "^p$", "{1}", ".*", `\Q1\E`, `\d`, "p-1", "p/1", " p", "é", "💶", "\uFFFD", "'p'", "`p`", "%70",
}

// usage is what the tests' server holds, over six windows.
func usage() []testserver.Series {
	const windows = 6
	var all []testserver.Series
	add := func(name string, labels map[string]string, samples []testserver.Sample) {
		all = append(all, testserver.Series{Name: name, Labels: labels, Samples: samples})
	}
	at := func(d time.Duration) time.Time { return begin.Add(d) }
	for i, id := range append(slices.Clone(oddIDs), "px1", "stranger") { // px1 would match p.1
		with := func(more ...string) map[string]string {
			labels := map[string]string{"project_id": id}
			for n := 0; n < len(more); n += 2 {
				labels[more[n]] = more[n+1]
			}
			return labels
		}
		// on the hour, so that a sample may count in two windows, and resized in between
		add("cpu", with("id", "vm1", "flavor", "small", "note", `a"b\c`), testserver.Every(10*time.Minute, at(0), 16, fmt.Sprint(i), "0.1", "2.5"))
		add("cpu", with("id", "vm1", "flavor", "large"), testserver.Every(10*time.Minute, at(160*time.Minute), 10, "8", "4.25"))
		add("cpu", with("id", "vm2", "flavor", "small"), testserver.Every(10*time.Minute, at(0), windows*6+1, "1", "0.30000000000000004", "1e-9", "123456789.98765433"))
		add("sparse", with(), testserver.Every(150*time.Minute, at(70*time.Minute), 2, "7"))
		add("traffic_total", with("dir", "in"), testserver.Every(7*time.Minute, at(0), 50, "1", "5", "17", "1000", "3", "12345.678"))
		add("traffic_total", with("dir", "out"), testserver.Every(7*time.Minute, at(0), 50, "0", "1e10", "2e10", "3e10", "1"))
		if i%3 == 0 {
			add("odd", with("id", "a"), testserver.Every(30*time.Minute, at(10*time.Minute), 12, "NaN", "NaN", "1", "2", "+Inf", "3", "-Inf", "4"))
			add("odd", with("id", "b"), testserver.Every(30*time.Minute, at(10*time.Minute), 12, "NaN"))
		}
		if id == "stranger" { // only it has this in window 3
			add("rare", with(), testserver.Every(time.Hour, at(190*time.Minute), 1, "1"))
		} else if i < 3 {
			add("rare", with(), testserver.Every(time.Hour, at(30*time.Minute), 1, "1"))
		}
	}
	add("unowned", map[string]string{"id": "x"}, testserver.Every(10*time.Minute, at(0), 36, "1"))
	// a scope that vanishes
	all = slices.DeleteFunc(all, func(s testserver.Series) bool { return s.Labels["project_id"] == "p+1" && s.Name != "cpu" })
	for i := range all {
		if all[i].Labels["project_id"] == "p+1" {
			all[i].Samples = all[i].Samples[:min(9, len(all[i].Samples))]
		}
	}
	return all
}

func metrics() []*metering.Metric {
	with := func(name, measured string, args metering.PrometheusArgs, groupby ...string) *metering.Metric {
		m := metricOf(name, groupby...)
		m.Measured, m.Prometheus = measured, args
		return m
	}
	vm := with("vm", "cpu", metering.PrometheusArgs{}, "id")
	vm.Metadata = []string{"note", "flavor", "nowhere"}
	return []*metering.Metric{
		vm,
		with("cpu.sum", "cpu", metering.PrometheusArgs{Aggregation: "sum"}, "id", "flavor"),
		with("cpu.avg", "cpu", metering.PrometheusArgs{Aggregation: "avg"}),
		with("cpu.stddev", "cpu", metering.PrometheusArgs{Aggregation: "stddev"}),
		with("cpu.count", "cpu", metering.PrometheusArgs{Aggregation: "count"}, "flavor"),
		with("cpu.ln", "cpu", metering.PrometheusArgs{Aggregation: "min", QueryFunction: "ln"}, "flavor"), // -Inf of 0
		with("sparse", "sparse", metering.PrometheusArgs{}),
		with("rate", "traffic_total", metering.PrometheusArgs{RangeFunction: "rate", Aggregation: "sum"}, "dir"),
		with("delta", "traffic_total", metering.PrometheusArgs{RangeFunction: "delta", QueryFunction: "abs"}, "dir"),
		with("changes", "traffic_total", metering.PrometheusArgs{RangeFunction: "changes"}, "dir"),
		with("odd", "odd", metering.PrometheusArgs{}, "id"),
		with("odd.last", "odd", metering.PrometheusArgs{RangeFunction: "idelta"}, "id"),
		with("rare", "rare", metering.PrometheusArgs{}),
		with("none", "none", metering.PrometheusArgs{}),
		with("unowned", "unowned", metering.PrometheusArgs{}, "id"),
		with("doubled", "cpu", metering.PrometheusArgs{Prefix: "2 *"}, "id"),
		with("above", "cpu", metering.PrometheusArgs{Suffix: "> 1"}, "id", "flavor"),
		with("both", "sparse", metering.PrometheusArgs{Suffix: `or label_replace(sparse offset 1h, "x", "y", "", "")`, Aggregation: "sum"}),
	}
}

// TestBatchesAgainstOneByOne holds batched collection against the questions that CloudKitty would ask.
func TestBatchesAgainstOneByOne(t *testing.T) {
	t.Parallel()
	server := testserver.Prometheus(t, testserver.OpenMetrics(usage()...))
	client := newClient(t, Config{URL: server.URL + "/api/v1"})
	every := metrics()
	// all odd IDs, and all odd metrics, but not all of both: one by one is slow
	all := collectBothWays(t, client, &metering.Request{Scopes: scopesOf(append(slices.Clone(oddIDs), "unheard of")...), Run: runOf(6), Metrics: every[:2]})
	few := collectBothWays(t, client, &metering.Request{Scopes: scopesOf("p+1", "p1", "p.1", "p|1", `p\1`), Run: runOf(6), Metrics: every[1:]})
	got := append(lines(all), lines(few)...)

	// what both must have found
	for _, want := range []string{
		`vm of "p.1" {id="vm1"}{flavor="small", note="a\"b\\c", nowhere=""} at 0: 2.5`,
		`vm of "p.1" {id="vm1"}{flavor="large", note="", nowhere=""} at 2: 8`,
		`vm of "p\n1" {id="vm2"}{flavor="small", note="", nowhere=""} at 0: 123456789.98765433`,
		`sparse of "p\\1" {}{} at 1: 7`,
		`rare of "p1" {}{} at 0: 1`,
		`rare absent at 2`,
		`none absent at 0`,
		`unowned absent at 0`,
		`odd of "p1" at 0: skipped NaN of {id="a"} (1)`,
		`odd of "p1" at 0: skipped NaN of {id="b"} (1)`,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("missing: %s", want)
		}
	}
	seen := map[string]int{}
	for _, u := range all.Usage {
		seen[u.Scope.ID]++
	}
	for _, id := range oddIDs {
		if seen[id] == 0 {
			t.Errorf("no usage of %q", id)
		}
	}
	for _, never := range []string{"rare absent at 0", "rare absent at 3", "vm absent"} {
		if slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, never) }) {
			t.Errorf("found: %s", never)
		}
	}
}

func collectBothWays(t *testing.T, client *Client, req *metering.Request) *metering.Collection {
	t.Helper()
	batched, err := (&Collector{Client: client}).Collect(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	single, err := (&Collector{Client: client, OneByOne: true}).Collect(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, lines(batched), lines(single))
	if batched.SourceVersion != single.SourceVersion || !strings.HasPrefix(batched.SourceVersion, "prometheus ") {
		t.Errorf("versions %q and %q", batched.SourceVersion, single.SourceVersion)
	}
	return batched
}

// TestHalving has a server that takes small questions only, asked as a worker would: until the parts are small enough.
func TestHalving(t *testing.T) {
	t.Parallel()
	const scopes, series, windows = 12, 6, 24
	var all []testserver.Series
	var ids []string
	for s := range scopes {
		ids = append(ids, fmt.Sprint("s", s))
		for n := range series {
			all = append(all, testserver.Series{
				Name: "m", Labels: map[string]string{"project_id": ids[s], "id": fmt.Sprint(n)},
				Samples: testserver.Every(5*time.Minute, begin, windows*12, fmt.Sprint(s), fmt.Sprint(n, ".5"), "0.1"),
			})
		}
	}
	server := testserver.Prometheus(t, testserver.OpenMetrics(all...), "--query.max-samples=1000")
	client := newClient(t, Config{URL: server.URL})
	batches := &Collector{Client: client}
	req := &metering.Request{Scopes: scopesOf(ids...), Run: runOf(windows), Metrics: []*metering.Metric{metricOf("m", "id"), metricOf("n")}}
	if _, err := batches.Collect(t.Context(), req); !errors.Is(err, metering.ErrTooMuch) || !strings.Contains(err.Error(), "too many samples") {
		t.Fatalf("the server took everything at once: %v", err)
	}
	single, err := (&Collector{Client: client, OneByOne: true}).Collect(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	got, want := halved(t, batches, req, 0), lines(single)
	slices.Sort(got)
	slices.Sort(want)
	wantLines(t, slices.Compact(got), want) // each part says what is absent
}

// halved collects req, first half its scopes at a time, then half its windows, when it is too much. It returns lines.
func halved(t *testing.T, c *Collector, req *metering.Request, shift int) []string {
	t.Helper()
	col, err := c.Collect(t.Context(), req)
	if err == nil {
		for i := range col.Usage {
			for j := range col.Usage[i].Samples {
				col.Usage[i].Samples[j].Window += shift
			}
		}
		for i := range col.Absent {
			col.Absent[i].Window += shift
		}
		return lines(col)
	}
	if !errors.Is(err, metering.ErrTooMuch) {
		t.Fatal(err)
	}
	first, second, shiftSecond := *req, *req, shift
	if n := len(req.Scopes) / 2; n > 0 {
		first.Scopes, second.Scopes = req.Scopes[:n], req.Scopes[n:]
	} else if n := req.Run.Count / 2; n > 0 {
		first.Run.Count = n
		second.Run = period.Run{Begin: req.Run.Window(n).Begin, Length: req.Run.Length, Count: req.Run.Count - n}
		shiftSecond += n
	} else {
		t.Fatalf("too much for one scope and window: %v", err)
	}
	return append(halved(t, c, &first, shift), halved(t, c, &second, shiftSecond)...)
}

// TestResolution asks for more windows than Prometheus gives at once.
func TestResolution(t *testing.T) {
	t.Parallel()
	server := testserver.Prometheus(t, testserver.OpenMetrics())
	c := &Collector{Client: newClient(t, Config{URL: server.URL})}
	req := &metering.Request{Scopes: scopesOf("a"), Run: period.Run{Begin: begin, Length: time.Minute, Count: 11002}, Metrics: []*metering.Metric{metricOf("m")}}
	if _, err := c.Collect(t.Context(), req); !errors.Is(err, metering.ErrTooMuch) {
		t.Errorf("got %v", err)
	}
	bad := metricOf("m", "not-a-label")
	req.Run.Count, req.Metrics = 1, []*metering.Metric{bad}
	if _, err := c.Collect(t.Context(), req); err == nil || errors.Is(err, metering.ErrTooMuch) || !strings.Contains(err.Error(), "bad_data") {
		t.Errorf("got %v", err)
	}
}

func TestFetcherOfServer(t *testing.T) {
	t.Parallel()
	server := testserver.Prometheus(t, testserver.OpenMetrics(usage()...))
	f := &Fetcher{
		Client: newClient(t, Config{URL: server.URL}), Metrics: []string{"sparse", "cpu"}, ScopeAttribute: "project_id",
		Filters: map[string]string{"note": `a"b\c`},
	}
	got, err := f.Scopes(t.Context(), runOf(6).Range())
	if err != nil {
		t.Fatal(err)
	}
	var want []metering.Found
	for _, id := range append(slices.Clone(oddIDs), "px1", "stranger") {
		want = append(want, metering.Found{ID: id})
	}
	slices.SortFunc(want, func(a, b metering.Found) int { return strings.Compare(a.ID, b.ID) })
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	later := period.Range{Begin: begin.AddDate(0, 1, 0), End: begin.AddDate(0, 1, 1)}
	if got, err := f.Scopes(t.Context(), later); err != nil || len(got) > 0 {
		t.Errorf("a month later: %v, %v", got, err)
	}
}
