package demo_test

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ratebook/collect/demo"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
)

var start = time.Date(2026, 10, 17, 10, 0, 0, 0, time.UTC)

const fiveWeeks = 5 * 7 * 24

func hours(begin time.Time, count int) period.Run {
	return period.Run{Begin: begin, Length: time.Hour, Count: count}
}

var (
	source  = demo.New()
	metrics = func() []*metering.Metric {
		all, err := metering.ParseMetrics("metrics.yml", demo.Metrics(), "project_id")
		if err != nil {
			panic(err)
		}
		for i, m := range all {
			m.Ref = int64(i + 1)
		}
		return all
	}()
)

// everyone returns all scopes.
func everyone(t testing.TB) []*metering.Scope {
	t.Helper()
	found, err := source.Scopes(t.Context(), hours(start, fiveWeeks).Range())
	if err != nil {
		t.Fatal(err)
	}
	var all []*metering.Scope
	for i, f := range found {
		all = append(all, &metering.Scope{Ref: int64(i + 1), ID: f.ID, Name: f.Name, Source: metering.Source{ScopeKey: "project_id"}})
	}
	return all
}

func collect(t testing.TB, scopes []*metering.Scope, run period.Run) *metering.Collection {
	t.Helper()
	c, err := source.Collect(t.Context(), &metering.Request{Scopes: scopes, Run: run, Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// point is a sample with all that tells it from others.
type point struct {
	Scope, Metric, Groupby, Metadata string
	Hour                             time.Time
}

// points returns a collection's quantities, and fails where attributes are not in order or a point is there twice.
func points(t testing.TB, c *metering.Collection, run period.Run, into map[point]string) {
	t.Helper()
	text := func(as metering.Attributes) string {
		var b strings.Builder
		for i, a := range as {
			if i > 0 && as[i-1].Name >= a.Name {
				t.Fatalf("attributes out of order: %v", as)
			}
			b.WriteString(a.Name + "=" + a.Value + ";")
		}
		return b.String()
	}
	for _, u := range c.Usage {
		if len(u.Samples) == 0 {
			t.Errorf("a series without samples: %v", u.Groupby)
		}
		last := -1
		for _, s := range u.Samples {
			if s.Window <= last || s.Window >= run.Count {
				t.Fatalf("window %d after %d", s.Window, last)
			}
			last = s.Window
			p := point{u.Scope.ID, u.Metric.Name, text(u.Groupby), text(u.Metadata), run.Window(s.Window).Begin}
			if _, ok := into[p]; ok {
				t.Fatalf("%v is there twice", p)
			}
			if s.Qty.Sign() <= 0 {
				t.Errorf("%v: a quantity of %s", p, s.Qty)
			}
			into[p] = s.Qty.String()
		}
	}
}

func TestSameWindowSameUsage(t *testing.T) {
	t.Parallel()
	scopes := everyone(t)
	for _, begin := range []time.Time{start, time.Unix(-100*3600, 0).UTC()} {
		run := hours(begin, 10*24)
		once := collect(t, scopes, run)
		again, err := demo.New().Collect(t.Context(), &metering.Request{Scopes: scopes, Run: run, Metrics: metrics})
		if err != nil || !reflect.DeepEqual(once, again) {
			t.Fatal("two answers to one question differ")
		}
		want := map[point]string{}
		points(t, once, run, want)
		for _, length := range []int{1, 23} {
			got := map[point]string{}
			for from := 0; from < run.Count; from += length {
				part := hours(run.Window(from).Begin, min(length, run.Count-from))
				half := len(scopes) / 2
				points(t, collect(t, scopes[:half], part), part, got)
				points(t, collect(t, scopes[half:], part), part, got)
			}
			if !maps.Equal(want, got) {
				t.Errorf("%s in parts of %d hours differ from all at once", begin, length)
			}
		}
	}
}

// TestRhythms checks that days are busier than nights, working days than Sundays, and that buckets grow.
func TestRhythms(t *testing.T) {
	t.Parallel()
	run := hours(time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), 7*24) // from a Monday
	traffic := make([]money.Decimal, run.Count)
	grown, buckets := 0, 0
	for _, u := range collect(t, everyone(t), run).Usage {
		switch u.Metric.Name {
		case "traffic.out":
			for _, s := range u.Samples {
				traffic[s.Window] = traffic[s.Window].Add(s.Qty)
			}
		case "object.storage":
			buckets++
			if u.Samples[len(u.Samples)-1].Qty.Cmp(u.Samples[0].Qty) > 0 {
				grown++
			}
		}
	}
	day := func(n int) (sum money.Decimal) {
		for _, qty := range traffic[24*n : 24*n+24] {
			sum = sum.Add(qty)
		}
		return sum
	}
	if traffic[10].Cmp(traffic[3].Mul(money.New(2, 0))) < 0 {
		t.Errorf("%s GB at ten in the morning, %s at three", traffic[10], traffic[3])
	}
	if day(1).Cmp(day(6)) < 0 {
		t.Errorf("%s GB on Tuesday, %s on Sunday", day(1), day(6))
	}
	if grown < buckets*9/10 {
		t.Errorf("%d of %d buckets grew", grown, buckets)
	}
}

// TestSeries counts what is there of each scope.
func TestSeries(t *testing.T) {
	t.Parallel()
	run := hours(start, fiveWeeks)
	atOnce := map[string][]int{} // the number of series by scope and window
	total := 0
	metricsIn := make([]map[string]bool, run.Count)
	for i := range metricsIn {
		metricsIn[i] = map[string]bool{}
	}
	for _, u := range collect(t, everyone(t), run).Usage {
		if atOnce[u.Scope.Name] == nil {
			atOnce[u.Scope.Name] = make([]int, run.Count)
		}
		for _, s := range u.Samples {
			atOnce[u.Scope.Name][s.Window]++
			metricsIn[s.Window][u.Metric.Name] = true
			total++
		}
	}
	if len(atOnce) != 12 {
		t.Errorf("%d scopes", len(atOnce))
	}
	seasonal := map[string]bool{"Observatory Campaign": true, "Robotics Course": true}
	for name, counts := range atOnce {
		least, most := slices.Min(counts), slices.Max(counts)
		t.Logf("%-28s %3d to %3d series", name, least, most)
		if most < 25 || most > 60 {
			t.Errorf("%s: at most %d series at once", name, most)
		}
		if seasonal[name] != (least == 0) {
			t.Errorf("%s: at least %d series at once", name, least)
		}
	}
	t.Logf("%d points", total)
	for i, names := range metricsIn {
		if len(names) != len(metrics) {
			t.Fatalf("window %d has only %v", i, names)
		}
	}
}

// TestSeasons checks that in any five weeks each seasonal scope begins once and ends once.
func TestSeasons(t *testing.T) {
	t.Parallel()
	scopes := everyone(t)
	for shift := range 12 {
		run := hours(start.AddDate(0, 0, 3*shift), fiveWeeks+1)
		used := map[string][]bool{}
		for _, s := range scopes {
			used[s.Name] = make([]bool, run.Count)
		}
		for _, u := range collect(t, scopes[10:], run).Usage {
			for _, s := range u.Samples {
				used[u.Scope.Name][s.Window] = true
			}
		}
		for _, s := range scopes[10:] {
			begins, ends := 0, 0
			for i := 1; i < run.Count; i++ {
				if was, is := used[s.Name][i-1], used[s.Name][i]; is && !was {
					begins++
				} else if was && !is {
					ends++
				}
			}
			if begins != 1 || ends != 1 {
				t.Errorf("%s from %s begins %d times and ends %d times", s.Name, run.Begin, begins, ends)
			}
		}
	}
}

func TestScopesAreThoseThatUseSomething(t *testing.T) {
	t.Parallel()
	scopes := everyone(t)
	for i := range 100 {
		run := hours(start.Add(time.Duration(9*i)*time.Hour), 1)
		found, err := source.Scopes(t.Context(), run.Range())
		if err != nil {
			t.Fatal(err)
		}
		used := map[string]bool{}
		for _, u := range collect(t, scopes, run).Usage {
			used[u.Scope.ID] = true
		}
		for _, f := range found {
			if !used[f.ID] || f.Name == "" {
				t.Errorf("%s: found %v, which uses nothing", run.Begin, f)
			}
		}
		if len(found) != len(used) {
			t.Errorf("%s: found %d scopes of %d", run.Begin, len(found), len(used))
		}
	}
	if found, err := source.Scopes(t.Context(), period.Range{Begin: start, End: start}); err != nil || len(found) > 0 {
		t.Errorf("an empty range has %v, %v", found, err)
	}
}

func TestTooMuch(t *testing.T) {
	t.Parallel()
	r := &metering.Request{Scopes: everyone(t), Run: hours(start, 24), Metrics: metrics}
	all, err := source.Collect(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	r.MaxPoints = (&metering.Batch{Usage: all.Usage}).Points()
	if _, err := source.Collect(t.Context(), r); err != nil {
		t.Errorf("just enough: %v", err)
	}
	r.MaxPoints--
	if _, err := source.Collect(t.Context(), r); !errors.Is(err, metering.ErrTooMuch) {
		t.Errorf("one too many: %v", err)
	}
}

// TestOtherMetrics collects what an operator may have made of the metrics.
func TestOtherMetrics(t *testing.T) {
	t.Parallel()
	parse := func(content string) *metering.Metric {
		t.Helper()
		all, err := metering.ParseMetrics("metrics.yml", []byte("metrics: {"+content+"}"), "project_id")
		if err != nil {
			t.Fatal(err)
		}
		return all[0]
	}
	ask := func(m *metering.Metric) (*metering.Collection, error) {
		return source.Collect(t.Context(), &metering.Request{Scopes: everyone(t)[:1], Run: hours(start, 2), Metrics: []*metering.Metric{m}})
	}

	c, err := ask(parse("demo_floating_ip: {unit: ip, groupby: [project_id], extra_args: {aggregation_method: sum}}"))
	if err != nil || len(c.Usage) != 1 || len(c.Usage[0].Samples) != 2 || c.Usage[0].Samples[1].Qty.String() != "6" {
		t.Errorf("the sum of addresses: %+v, %v", c, err)
	}
	c, err = ask(parse("demo_floating_ip: {unit: ip, groupby: [region, owner]}"))
	want := metering.Attributes{{Name: "owner"}, {Name: "region", Value: "eu-central"}}
	if err != nil || len(c.Usage) != 1 || !slices.Equal(c.Usage[0].Groupby, want) || c.Usage[0].Samples[1].Qty.String() != "1" {
		t.Errorf("the most addresses: %+v, %v", c, err)
	}
	c, err = ask(parse("other: {unit: ip}"))
	if err != nil || len(c.Usage) != 0 || len(c.Absent) != 2 {
		t.Errorf("a metric that the source doesn't have: %+v, %v", c, err)
	}
	c, err = ask(parse("other: {unit: ip, may_be_absent: true}"))
	if err != nil || len(c.Usage)+len(c.Absent) != 0 {
		t.Errorf("a metric that may be absent: %+v, %v", c, err)
	}
	for _, args := range []string{"aggregation_method: stddev", "query_function: abs", "range_function: rate", "query_prefix: x, query_suffix: y"} {
		if _, err := ask(parse("demo_floating_ip: {unit: ip, extra_args: {" + args + "}}")); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestOnlyHours(t *testing.T) {
	t.Parallel()
	for _, run := range []period.Run{{Begin: start, Length: time.Minute, Count: 1}, {Begin: start.Add(time.Minute), Length: time.Hour, Count: 1}} {
		if _, err := source.Collect(t.Context(), &metering.Request{Run: run}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v: %v", run, err)
		}
	}
}

func BenchmarkFiveWeeks(b *testing.B) {
	scopes := everyone(b)
	run := hours(start, fiveWeeks)
	for b.Loop() {
		for from := 0; from < run.Count; from += metering.MaxLeaseWindows { // as a processor asks
			part := hours(run.Window(from).Begin, metering.MaxLeaseWindows)
			if _, err := source.Collect(b.Context(), &metering.Request{Scopes: scopes, Run: part, Metrics: metrics}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
