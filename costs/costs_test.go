package costs

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rollup"
)

func utc(s string) time.Time {
	t, err := period.ParseTime(s, time.UTC)
	if err != nil {
		panic(err)
	}
	return t
}

func span(begin, end string) period.Range { return period.Range{Begin: utc(begin), End: utc(end)} }

func zone(name string) *time.Location {
	z, err := period.ParseZone(name)
	if err != nil {
		panic(err)
	}
	return z
}

func TestValidate(t *testing.T) {
	ok := Query{
		Range:   span("2026-01-01", "2026-02-01"),
		Bucket:  period.Day,
		Groups:  []string{"unit", "attr:unit", "flavor", "month"},
		Filters: []Filter{{"scope", []string{"a", "b"}}, {"scope", []string{"a"}}, {"attr:x", []string{""}}},
	}
	if err := ok.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(q *Query)
		fields []string
	}{
		"no range":          {func(q *Query) { q.Range = period.Range{} }, []string{"begin", "end"}},
		"backwards":         {func(q *Query) { q.Range = span("2026-02-01", "2026-01-01") }, []string{"end"}},
		"empty":             {func(q *Query) { q.Range.End = q.Range.Begin }, []string{"end"}},
		"fractions":         {func(q *Query) { q.Range.End = q.Range.End.Add(1) }, []string{"end"}},
		"far away":          {func(q *Query) { q.Range.End = utc("9999-12-31") }, []string{"end"}},
		"bucket":            {func(q *Query) { q.Bucket = 9 }, []string{"bucket"}},
		"windows in days":   {func(q *Query) { q.Windows = true }, []string{"bucket"}},
		"group twice":       {func(q *Query) { q.Groups = []string{"scope", "scope"} }, []string{"groups"}},
		"attribute twice":   {func(q *Query) { q.Groups = []string{"flavor", "attr:flavor"} }, []string{"groups"}},
		"nameless group":    {func(q *Query) { q.Groups = []string{"", "attr:"} }, []string{"groups", "groups"}},
		"nameless filter":   {func(q *Query) { q.Filters = []Filter{{"", []string{"x"}}} }, []string{"filters"}},
		"filter of nothing": {func(q *Query) { q.Filters = []Filter{{Key: "x"}} }, []string{"filters"}},
	} {
		q := ok
		c.change(&q)
		err, is := errors.AsType[*fault.Error](q.Validate())
		if !is || err.Kind != fault.Invalid {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		var fields []string
		for _, f := range err.Fields {
			fields = append(fields, f.Name)
		}
		if !slices.Equal(fields, c.fields) {
			t.Errorf("%s: got %v, want fields %v", name, err, c.fields)
		}
	}
}

func TestSegments(t *testing.T) {
	for _, c := range []struct {
		name, zone string
		q          Query
		want       string
	}{
		{"one month", "UTC", Query{Range: span("2026-02-01", "2026-03-01")}, "months 02-01/03-01"},
		{"one month in a zone", "Europe/Berlin", Query{Range: span("2026-01-31T23:00:00Z", "2026-02-28T23:00:00Z")}, "months 01-31T23/02-28T23"},
		{
			"all levels", "UTC",
			Query{Range: span("2026-01-30T05:00:00Z", "2026-04-02T07:00:00Z")},
			"charges 01-30T05/01-31 days 01-31/02-01 months 02-01/04-01 days 04-01/04-02 charges 04-02/04-02T07",
		},
		{
			"whole months of another zone", "Asia/Kathmandu",
			Query{Range: span("2026-02-01", "2026-03-01")},
			"charges 02-01/02-01T18:15 days 02-01T18:15/02-28T18:15 charges 02-28T18:15/03-01",
		},
		{"inside a day", "UTC", Query{Range: span("2026-02-01T01:00:00Z", "2026-02-01T03:00:00Z")}, "charges 02-01T01/02-01T03"},
		{"around midnight", "UTC", Query{Range: span("2026-02-01T23:00:00Z", "2026-02-02T01:00:00Z")}, "charges 02-01T23/02-02T01"},
		{"by month", "UTC", Query{Range: span("2026-01-01", "2027-01-01"), Bucket: period.Month}, "months 01-01/01-01"},
		{"by week", "UTC", Query{Range: span("2026-02-01", "2026-03-01"), Bucket: period.Week}, "days 02-01/03-01"},
		{"by hour", "UTC", Query{Range: span("2026-02-01", "2026-03-01"), Bucket: period.Hour}, "charges 02-01/03-01"},
		{"totals are enough", "UTC", Query{
			Range: span("2026-02-01", "2026-03-01"), Groups: []string{"scope", "scope_name", "metric"},
			Filters: []Filter{{"unit", []string{"h"}}},
		}, "months 02-01/03-01"},
		{"group", "UTC", Query{Range: span("2026-02-01", "2026-03-01"), Groups: []string{"flavor"}}, "months/series 02-01/03-01"},
		{"filter", "UTC", Query{Range: span("2026-02-01", "2026-03-01"), Filters: []Filter{{"attr:unit", []string{"h"}}}}, "months/series 02-01/03-01"},
		{"year", "UTC", Query{Range: span("2026-02-01", "2026-03-01"), Groups: []string{"year"}}, "months/series 02-01/03-01"},
		{
			"day of the year", "UTC",
			Query{Range: span("2026-02-01", "2026-03-01"), Filters: []Filter{{"attr:day_of_the_year", []string{"32"}}}},
			"days/series 02-01/03-01",
		},
	} {
		var got []string
		for _, s := range c.q.Segments(zone(c.zone)) {
			series := ""
			if s.PerSeries {
				series = "/series"
			}
			short := func(t time.Time) string {
				return strings.TrimSuffix(strings.TrimSuffix(t.UTC().Format("01-02T15:04"), ":00"), "T00")
			}
			got = append(got, [...]string{"charges", "days", "months"}[s.Level]+series, short(s.Range.Begin)+"/"+short(s.Range.End))
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// charge is what sums are made of.
type charge struct {
	Labels
	begin      time.Time
	period     time.Duration
	qty, price money.Decimal
}

// value is what a group or filter key says of a charge, by the words of the design.
func (c *charge) value(name string, zone *time.Location) string {
	switch name {
	case "scope":
		return c.Scope
	case "scope_name":
		return c.ScopeName
	case "metric":
		return c.Metric
	case "unit":
		return c.Unit
	}
	name = strings.TrimPrefix(name, "attr:")
	for _, as := range [...]metering.Attributes{c.Groupby, c.Metadata} {
		for _, a := range as {
			if a.Name == name {
				return a.Value
			}
		}
	}
	v, _ := metering.Computed(name, c.begin, zone)
	return v
}

// naive answers a query from the charges themselves.
func naive(q *Query, zone *time.Location, charges []charge) []Row {
	rows := map[string]*Row{}
next:
	for i := range charges {
		c := &charges[i]
		if !q.Range.Contains(c.begin) {
			continue
		}
		for _, f := range q.Filters {
			if !slices.Contains(f.Values, c.value(f.Key, zone)) {
				continue next
			}
		}
		row := Row{Begin: q.Range.Begin, End: q.Range.End, Groups: []string{}, Unit: c.Unit}
		if q.Bucket != period.Whole {
			if b := q.Bucket.Start(c.begin, zone); b.After(row.Begin) {
				row.Begin = b
			}
			if e := q.Bucket.Next(c.begin, zone); e.Before(row.End) {
				row.End = e
			}
		}
		if q.Windows {
			row.Begin, row.End, row.Mixed = c.begin, c.begin.Add(c.period), true
		}
		for _, g := range q.Groups {
			row.Groups = append(row.Groups, c.value(g, zone))
		}
		id := fmt.Sprintf("%s %q", row.Begin, row.Groups)
		r := rows[id]
		if r == nil {
			r = &row
			rows[id] = r
		}
		if q.Windows && row.End.After(r.End) {
			r.End = row.End
		}
		if q.Extremes && r.Points == 0 {
			r.Extremes = ExtremesOf(c.qty, c.price)
		} else if q.Extremes {
			one := ExtremesOf(c.qty, c.price)
			r.Widen(&one)
		}
		r.Points++
		r.AllQty = r.AllQty.Add(c.qty)
		r.Qty = r.Qty.Add(c.qty)
		r.Cost = r.Cost.Add(c.price)
		r.Mixed = r.Mixed || r.Unit != c.Unit
	}
	var sorted []Row
	for _, r := range rows {
		if r.Mixed {
			r.Unit, r.Qty = "", money.Decimal{}
		}
		sorted = append(sorted, *r)
	}
	slices.SortFunc(sorted, func(a, b Row) int {
		if c := a.Begin.Compare(b.Begin); c != 0 {
			return c
		}
		return slices.Compare(a.Groups, b.Groups)
	})
	return sorted
}

// stored answers a query as a store does: from sums per segment, one key per series or per scope, metric and unit.
func stored(q *Query, zone *time.Location, charges []charge) (rows []Row, total Total, err error) {
	g := NewGrouper(q, zone, func(r Row) error {
		rows = append(rows, r)
		return nil
	})
	for _, s := range q.Segments(zone) {
		type place struct {
			begin time.Time
			id    string
		}
		sums := map[place]*rollup.Sums{}
		ends := map[place]*Extremes{}
		windows := map[time.Time]time.Time{} // their ends
		labels := map[string]*Labels{}
		for i := range charges {
			c := &charges[i]
			l := c.Labels
			if !s.PerSeries {
				l.Groupby, l.Metadata = nil, nil
			}
			begin := c.begin
			if s.Level != Charges {
				begin = s.Level.bucket().Start(begin, zone)
			}
			if !s.Range.Contains(begin) {
				continue
			}
			p := place{begin, fmt.Sprintf("%q", l)}
			if sums[p] == nil {
				sums[p] = new(rollup.Sums)
				labels[p.id] = &l
			}
			sums[p].Add(&rollup.Sums{Points: 1, Qty: c.qty, Price: c.price})
			one := ExtremesOf(c.qty, c.price)
			if ends[p] == nil {
				ends[p] = &one
			}
			ends[p].Widen(&one)
			if end := c.begin.Add(c.period); end.After(windows[c.begin]) {
				windows[c.begin] = end
			}
		}
		keys := map[string]int32{}
		for id, l := range labels {
			keys[id] = g.Key(l)
		}
		for _, p := range slices.SortedFunc(maps.Keys(sums), func(a, b place) int { return a.begin.Compare(b.begin) }) {
			at := func() error { return g.At(p.begin) }
			if q.Windows {
				at = func() error { return g.AtWindow(period.Range{Begin: p.begin, End: windows[p.begin]}) }
			}
			err := at()
			if err != nil {
				return nil, Total{}, err
			}
			g.Add(keys[p.id], sums[p])
			if q.Extremes {
				g.Widen(keys[p.id], ends[p])
			}
		}
	}
	total, err = g.Close()
	return rows, total, err
}

var zones = []string{
	"UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Africa/Cairo", "America/Havana",
	"Asia/Beirut", "Pacific/Apia", "Australia/Lord_Howe", "America/St_Johns",
}

// drawCharges returns a hundred charges, of a seed: drawn one by one they would mostly be few and alike.
func drawCharges(t *rapid.T, around time.Time) []charge {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	word := func(words ...string) string { return words[r.IntN(len(words))] }
	charges := make([]charge, 100)
	for i := range charges {
		c := &charges[i]
		c.Labels = Labels{Scope: word("a", "b", "b,c"), Metric: word("cpu", "ram"), Unit: word("h", "h", "GiB")}
		if c.Scope != "b" {
			c.ScopeName = "name of " + c.Scope[:1]
		}
		for _, as := range []*metering.Attributes{&c.Groupby, &c.Metadata} {
			for _, name := range []string{"flavor", "month", "unit", "week_of_the_year"} {
				if v := word("", "", "", "1", "x"); v != "" {
					*as = append(*as, metering.Attribute{Name: name, Value: v})
				}
			}
		}
		c.begin = around.Add(time.Duration(r.IntN(200*24*6)-100*24*6) * 10 * time.Minute)
		c.period = time.Duration(1+r.IntN(24)) * time.Hour
		c.qty = money.New(r.Int64N(1e9)-10, r.Int32N(19))
		c.price = money.New(r.Int64N(1e9)-10, money.PricePlaces)
	}
	return charges
}

func drawQuery(t *rapid.T, around time.Time, zone *time.Location) *Query {
	names := []string{
		"scope", "scope_name", "metric", "unit", "flavor", "attr:unit", "month", "year", "attr:week_of_the_year",
		"day_of_the_year", "missing",
	}
	q := &Query{
		Bucket: period.Bucket(rapid.IntRange(0, 4).Draw(t, "bucket")),
		Groups: rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 4, rapid.ID[string]).Draw(t, "groups"),
	}
	q.Extremes = rapid.IntRange(0, 3).Draw(t, "extremes") == 0
	if q.Bucket == period.Whole {
		q.Windows = rapid.Bool().Draw(t, "windows")
	}
	edge := func(label string) time.Time {
		e := around.Add(time.Duration(rapid.IntRange(-100*24, 100*24).Draw(t, label)) * time.Hour)
		switch rapid.IntRange(0, 3).Draw(t, label+" cut") {
		case 1:
			return period.Day.Start(e, zone)
		case 2, 3:
			return period.Month.Start(e, zone)
		}
		return e
	}
	q.Range = period.Range{Begin: edge("range begin"), End: edge("range end")}
	if q.Range.Empty() {
		q.Range.Begin, q.Range.End = q.Range.End, q.Range.Begin.Add(time.Hour)
	}
	for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "filters") {
		q.Filters = append(q.Filters, Filter{
			Key:    rapid.SampledFrom(names).Draw(t, "filter"),
			Values: rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "h", "cpu", "1", "2", "x", "", "01", "2026"}), 1, 6).Draw(t, "values"),
		})
	}
	return q
}

// TestStoredSumsAnswerAlike is the first promise of the design: whatever is asked, stored sums give what the charges
// themselves give, and all groupings add up to the same.
func TestStoredSumsAnswerAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := zone(rapid.SampledFrom(zones).Draw(t, "zone"))
		around := rapid.SampledFrom([]time.Time{utc("2026-03-20"), utc("2011-12-25"), utc("2018-01-01"), utc("2023-04-28")}).Draw(t, "around")
		q := drawQuery(t, around, zone)
		if err := q.Validate(); err != nil {
			t.Fatal(err)
		}
		charges := drawCharges(t, around)

		segments := q.Segments(zone)
		for i, s := range segments {
			if s.Range.Empty() || i == 0 && !s.Range.Begin.Equal(q.Range.Begin) || i > 0 && !s.Range.Begin.Equal(segments[i-1].Range.End) {
				t.Fatalf("segments are not adjacent: %v", segments)
			}
		}
		if !segments[len(segments)-1].Range.End.Equal(q.Range.End) || len(segments) > 5 {
			t.Fatalf("segments end elsewhere: %v", segments)
		}

		want := naive(q, zone, charges)
		got, total, err := stored(q, zone, charges)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(money.Decimal.Equal)); diff != "" {
			t.Fatalf("from %v (-want +got):\n%s", segments, diff)
		}

		ungrouped := *q
		ungrouped.Groups, ungrouped.Bucket, ungrouped.Windows = nil, period.Whole, false
		var all Row
		if rows := naive(&ungrouped, zone, charges); len(rows) > 0 {
			all = rows[0]
		}
		if q.Windows && all.Points > 0 {
			all.Mixed, all.Unit, all.Qty = true, "", money.Decimal{}
		}
		if !total.Cost.Equal(all.Cost) || total.Points != all.Points || total.Mixed != all.Mixed || total.Unit != all.Unit || !total.Qty.Equal(all.Qty) {
			t.Fatalf("total %v, want %v", total, all)
		}
	})
}

// TestComputed groups a month, stored by day, by what depends on the day.
func TestComputed(t *testing.T) {
	q := &Query{
		Range: span("2026-01-03", "2026-02-01"), Groups: []string{"week_of_the_year"},
		Filters: []Filter{{"month", []string{"1"}}},
	}
	var got []string
	g := NewGrouper(q, time.UTC, func(r Row) error {
		got = append(got, fmt.Sprintf("%v %s %s %d", r.Groups, r.Unit, r.Qty, r.Points))
		return nil
	})
	one := &rollup.Sums{Points: 1, Qty: money.New(15, 1)}
	plain := g.Key(&Labels{Unit: "h"})
	carried := g.Key(&Labels{Unit: "h", Metadata: metering.Attributes{{Name: "week_of_the_year", Value: "x"}}})
	excluded := g.Key(&Labels{Unit: "h", Groupby: metering.Attributes{{Name: "month", Value: "01"}}})
	if excluded != -1 {
		t.Error("a carried attribute counts before the computed one")
	}
	for _, day := range []string{"2026-01-03", "2026-01-04", "2026-01-10", "2026-01-11"} { // Saturday, Sunday, ...
		if err := g.At(utc(day)); err != nil {
			t.Fatal(err)
		}
		for _, key := range []int32{plain, carried, excluded} {
			g.Add(key, one)
		}
	}
	total, err := g.Close()
	want := []string{"[00] h 1.5 1", "[01] h 3 2", "[02] h 1.5 1", "[x] h 6 4"}
	if err != nil || !slices.Equal(got, want) || total.Points != 8 {
		t.Errorf("got %q, %v, %v, want %q", got, total, err, want)
	}
}

// TestManyKeys looks at more groups than a grouper makes room for at first.
func TestManyKeys(t *testing.T) {
	t.Parallel()
	q := &Query{Range: span("2026-03-01", "2026-03-02"), Groups: []string{"id", "flavor"}}
	for _, expected := range []int{0, 10, 5000, 50_000} {
		var rows []Row
		g := NewGrouper(q, time.UTC, func(r Row) error { rows = append(rows, r); return nil })
		g.Expect(expected)
		if err := g.At(q.Range.Begin); err != nil {
			t.Fatal(err)
		}
		for i := range 10_000 {
			id := i * 7 % 5000 // each twice
			key := g.Key(&Labels{Groupby: metering.Attributes{{Name: "flavor", Value: fmt.Sprint(id % 3)}, {Name: "id", Value: fmt.Sprintf("%04d", id)}}})
			g.Add(key, &rollup.Sums{Points: 1, Qty: money.New(int64(id), 0), Price: money.New(int64(id), 2)})
		}
		total, err := g.Close()
		if err != nil || total.Points != 10_000 || len(rows) != 5000 {
			t.Fatalf("%d rows, %+v, %v", len(rows), total, err)
		}
		for id, r := range rows {
			want := []string{fmt.Sprintf("%04d", id), fmt.Sprint(id % 3)}
			if !slices.Equal(r.Groups, want) || r.Points != 2 || !r.Cost.Equal(money.New(2*int64(id), 2)) {
				t.Fatalf("row %d is %+v", id, r)
			}
		}
	}
}

func TestGrouperRefuses(t *testing.T) {
	q := &Query{Range: span("2026-01-01", "2026-02-01"), Bucket: period.Day}
	one := &rollup.Sums{Points: 1}
	broken := errors.New("broken pipe")
	for name, feed := range map[string]func(g *Grouper) error{
		"outside": func(g *Grouper) error { return g.At(utc("2026-02-01")) },
		"backwards": func(g *Grouper) error {
			return errors.Join(g.At(utc("2026-01-03T05:00:00Z")), g.At(utc("2026-01-03")), g.At(utc("2026-01-02")))
		},
		"no time": func(g *Grouper) error {
			g.Add(g.Key(&Labels{}), one)
			return nil
		},
		"yield": func(g *Grouper) error {
			g.yield = func(Row) error { return broken }
			err := g.At(utc("2026-01-02"))
			g.Add(g.Key(&Labels{}), one)
			if err2 := g.At(utc("2026-01-03")); err != nil || !errors.Is(err2, broken) {
				t.Errorf("got %v, %v", err, err2)
			}
			return nil
		},
	} {
		g := NewGrouper(q, time.UTC, func(Row) error { return nil })
		err := feed(g)
		if _, closed := g.Close(); closed == nil {
			t.Errorf("%s: got %v, then nil", name, err)
		}
	}
}

// BenchmarkGroup is a month by scope, attribute and day: 200 scopes × 400 series × 30 days, 2.4M sums to 72,000 rows.
func BenchmarkGroup(b *testing.B) {
	const series, days = 80_000, 30
	labels := make([]Labels, series)
	for i := range labels {
		labels[i] = Labels{
			Scope: fmt.Sprintf("scope-%03d", i/400), Metric: fmt.Sprintf("metric-%d", i/100%4), Unit: "h",
			Groupby: metering.Attributes{{Name: "flavor", Value: fmt.Sprintf("flavor-%02d", i%12)}, {Name: "id", Value: fmt.Sprint(i)}},
		}
	}
	q := &Query{Range: span("2026-04-01", "2026-05-01"), Bucket: period.Day, Groups: []string{"scope", "flavor"}}
	sums := make([]rollup.Sums, 1000)
	for i := range sums {
		sums[i] = rollup.Sums{Points: 24, Qty: money.New(int64(1e6+i), 6), Price: money.New(int64(1e10+i), 12)}
	}
	keys := make([]int32, series)
	rows := 0
	b.ReportAllocs()
	for b.Loop() {
		g := NewGrouper(q, time.UTC, func(Row) error { rows++; return nil })
		for i := range labels {
			keys[i] = g.Key(&labels[i])
		}
		for day := range days {
			if err := g.At(q.Range.Begin.AddDate(0, 0, day)); err != nil {
				b.Fatal(err)
			}
			for i, key := range keys {
				g.Add(key, &sums[i%len(sums)])
			}
		}
		if _, err := g.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(series*days), "ns/sum")
	b.ReportMetric(float64(rows)/float64(b.N), "rows")
}
