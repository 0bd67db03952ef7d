package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ratebook/costs"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/store"
)

var oddTexts = []string{"m1", "m2", "", "ü", "Ünïcode 日本", `a"b`, `back\slash`, "<&>'", "line\nbreak\ttab", "null", `{"a":"b"}`, "\u2028", "m1 "}

// reported fills a database with random usage that reports can stumble over, the same for each seed.
func (e *env) reported(zone string, length time.Duration, seed uint64) {
	e.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	e.world(store.Wanted{Timezone: zone, Period: length})
	metric := func(name, measured, unit string) *metering.Metric {
		return &metering.Metric{Source: "default", Name: name, Measured: measured, Unit: unit, Factor: money.One}
	}
	e.configure(&metering.Configuration{Version: 1, Metrics: []*metering.Metric{
		metric("cpu", "cpu", "instance"), metric("cpu", "cores", "core"), metric("ram", "ram", "MiB"), metric("Netz <ü>", "net", "GB"),
	}})
	e.must(func() error {
		_, err := e.s.AddScopes(e.ctx, e.src, "static", []metering.Found{
			{ID: "alpha", Name: "Ünïcode & Co"}, {ID: "beta", Name: "same"}, {ID: "gamma", Name: "same"}, {ID: "delta"}, {ID: `we"ird\<&>'`, Name: "delta"},
		}, begin)
		return err
	}())
	scopes, err := e.s.Scopes(e.ctx)
	e.must(err)
	pick := func(texts ...string) string { return texts[r.IntN(len(texts))] }
	for _, first := range []string{"2026-10-24T15:00:00Z", "2026-10-31T10:00:00Z", "2026-12-31T16:00:00Z"} {
		run := period.Run{Begin: at(first), Length: length, Count: 24}
		e.exec("UPDATE scopes SET planned_to = ?", e.time(run.Begin))
		_, err := e.s.Plan(e.ctx, length, run.Range().End)
		e.must(err)
		b := e.seize(run, scopes...)
		for _, s := range scopes {
			for range 8 {
				groupby := attrs("id", fmt.Sprint(r.IntN(4)))
				var metadata metering.Attributes
				if r.IntN(3) > 0 {
					groupby = append(groupby, metering.Attribute{Name: "flavor", Value: pick(oddTexts...)})
				}
				if r.IntN(4) == 0 { // called like what every point has
					groupby = append(groupby, metering.Attribute{Name: pick("scope", "metric", "unit"), Value: pick(oddTexts...)})
				}
				if r.IntN(4) == 0 {
					groupby = append(groupby, metering.Attribute{Name: "month", Value: "carried"})
				}
				if r.IntN(2) == 0 {
					metadata = attrs("flavor", "of metadata", pick("os", "ö \"s\""), pick(oddTexts...))
				}
				groupby.Sort()
				samples := make([]string, run.Count)
				for i := range samples {
					if r.IntN(3) > 0 {
						samples[i] = fmt.Sprintf("%d.%06d@%d.%012d", r.IntN(5)-1, r.IntN(1_000_000), r.IntN(9)-2, r.Int64N(1_000_000_000_000))
					}
				}
				e.fill(b, s, pick("cpu", "cores", "ram", "net"), groupby, samples...)
				b.Usage[len(b.Usage)-1].Metadata = metadata
			}
		}
		e.commit(b)
		e.free(b)
	}
}

// randomQueries ask for anything about what reported stores.
func randomQueries(zone *time.Location, seed uint64, n int) (all []*costs.Query) {
	r := rand.New(rand.NewPCG(seed, 8))
	groups := []string{"scope", "scope_name", "metric", "unit", "flavor", "attr:id", "os", "attr:scope", "attr:metric", "month", "year", "day_of_the_year", "week_of_the_year", `ö "s"`, "nothing"}
	values := map[string][]string{
		"scope": {"alpha", "beta", "delta", `we"ird\<&>'`, "nobody"}, "scope_name": {"same", "", "Ünïcode & Co"}, "metric": {"cpu", "Netz <ü>", "none"}, "unit": {"core", "MiB"},
		"flavor": oddTexts, "attr:scope": {"", "m1"}, "os": {"", "ü", `a"b`}, "month": {"10", "carried", "1"}, "week_of_the_year": {"43", "44", "00"}, "nothing": {""},
	}
	var keys []string
	for k := range values {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	from := at("2026-10-22T00:00:00Z")
	moment := func(bucket period.Bucket, seconds int64) time.Time {
		t := from.Add(time.Duration(r.Int64N(75*86400/seconds)*seconds) * time.Second)
		return bucket.Start(t, zone)
	}
	for len(all) < n {
		q := &costs.Query{Bucket: period.Bucket(r.IntN(5)), Extremes: r.IntN(8) == 0}
		q.Windows = q.Bucket == period.Whole && r.IntN(2) == 0
		var align period.Bucket // whole: not at all
		switch r.IntN(4) {
		case 0:
			align = period.Month
		case 1:
			align = period.Day
		}
		q.Range = period.Range{Begin: moment(align, 60), End: moment(align, 1800)}
		if r.IntN(4) == 0 { // around the days with charges
			q.Range = period.Range{Begin: at("2026-10-24T15:00:00Z").Add(time.Duration(r.IntN(40)) * 15 * time.Minute), End: at("2026-11-01T09:00:00Z").Add(-time.Duration(r.IntN(40)) * 15 * time.Minute)}
		}
		if q.Range.Empty() {
			continue
		}
		for _, i := range r.Perm(len(groups))[:r.IntN(4)] {
			q.Groups = append(q.Groups, groups[i])
		}
		for range max(0, r.IntN(4)-1) {
			k := keys[r.IntN(len(keys))]
			q.Filters = append(q.Filters, costs.Filter{Key: k, Values: slices.Clone(values[k][r.IntN(len(values[k])):])})
		}
		all = append(all, q)
	}
	return all
}

// Answers fills an empty database with usage and returns what it answers to many reports; all databases must answer alike.
func Answers(t *testing.T, databaseURL string) string {
	e := newEnv(t, databaseURL, nil)
	e.reported("Europe/Berlin", hour, 1)
	var b strings.Builder
	for _, q := range randomQueries(e.zone(), 1, 60) {
		fmt.Fprintf(&b, "%+v\n\t%s\n", *q, strings.Join(e.report(q), "\n\t"))
	}
	return b.String()
}

var reportTests = []test{
	{"report/all of time by hour", func(e *env) {
		e.reported("Europe/Berlin", time.Hour, 5)
		everything := period.Range{Begin: at("0001-01-02T00:00:00Z"), End: at("9998-12-30T00:00:00Z")}
		short := period.Range{Begin: at("2026-10-01T00:00:00Z"), End: at("2027-02-01T00:00:00Z")}
		for _, groups := range [][]string{nil, {"scope", "id"}} {
			want := e.report(&costs.Query{Range: short, Bucket: period.Hour, Groups: groups})
			// days without charges cost nothing, or this would take minutes
			e.equal("rows", e.report(&costs.Query{Range: everything, Bucket: period.Hour, Groups: groups}), want)
		}
	}},
	{"report/UTC", func(e *env) { e.reportsAgree("UTC", hour, 11) }},
	{"report/Berlin", func(e *env) { e.reportsAgree("Europe/Berlin", hour, 12) }},
	{"report/Kolkata", func(e *env) { e.reportsAgree("Asia/Kolkata", 15*time.Minute, 13) }},
	{"report/sums agree", func(e *env) {
		e.reported("Europe/Berlin", hour, 5)
		var sum money.Decimal
		for _, p := range e.points() {
			sum = sum.Add(p.price)
		}
		direct := "SELECT CAST(SUM(price) AS text) FROM charges"
		if !e.postgres {
			direct = "SELECT decimal_sum(price) FROM charges"
		}
		e.equal("sum by the database", money.MustParse(e.rows(direct)[0]), sum)
		for _, r := range []period.Range{
			{Begin: at("2026-09-30T22:00:00Z"), End: at("2027-01-31T23:00:00Z")}, // whole months
			{Begin: at("2026-10-24T15:00:00Z"), End: at("2027-01-01T16:00:00Z")},
			{Begin: at("2026-10-24T14:59:59Z"), End: at("2027-01-01T15:59:59Z")},
		} {
			for bucket := period.Whole; bucket <= period.Month; bucket++ {
				for _, groups := range [][]string{nil, {"scope"}, {"metric", "unit"}, {"flavor", "scope_name"}, {"month"}, {"day_of_the_year", "os"}} {
					var rows money.Decimal
					total, err := e.s.Report(e.ctx, &costs.Query{Range: r, Bucket: bucket, Groups: groups}, func(row costs.Row) error {
						rows = rows.Add(row.Cost)
						return nil
					})
					e.must(err)
					if !rows.Equal(sum) || !total.Cost.Equal(sum) {
						e.Fatalf("%v by %s %v: rows %s, total %s, charges %s", r, bucket, groups, rows, total.Cost, sum)
					}
				}
			}
		}
	}},
	{"report/wrong questions", func(e *env) {
		e.world(store.Wanted{})
		_, err := e.s.Report(e.ctx, &costs.Query{}, nil)
		e.refused(err, fault.Invalid)
		e.charged(3, "a")
		broken := errors.New("the reader went away")
		_, err = e.s.Report(e.ctx, standardQueries(time.UTC)[0], func(costs.Row) error { return broken })
		if !errors.Is(err, broken) {
			e.Errorf("got %v", err)
		}
		e.compare(standardQueries(time.UTC)...)
	}},
	{"report/of nothing", func(e *env) {
		e.world(store.Wanted{})
		e.compare(standardQueries(time.UTC)...)
		e.compare(randomQueries(time.UTC, 1, 20)...)
	}},
	{"report/odd units", func(e *env) {
		e.world(store.Wanted{}, "cpu")
		c := &metering.Configuration{Version: e.config}
		for i, unit := range []string{"", " ", "GB h", " ü 12 3.4 ", "1", "a\nb", "日本"} {
			c.Metrics = append(c.Metrics, &metering.Metric{Source: "default", Name: fmt.Sprint("m", i), Measured: fmt.Sprint("m", i), Unit: unit, Factor: money.One})
		}
		e.configure(c)
		e.charged(30, "a", "b")
		e.sound()
		e.compare(&costs.Query{Range: period.Range{Begin: at("2026-10-01T00:00:00Z"), End: at("2026-12-01T00:00:00Z")}, Bucket: period.Day, Groups: []string{"unit", "metric"}})
	}},
	{"report/one state", func(e *env) {
		e.world(store.Wanted{}, "cpu")
		a := e.scopes(begin, "a")[0]
		e.plan(begin.Add(24 * hour))
		token := e.seize(period.Run{}, a).Token
		done := make(chan error, 1)
		writer := e.open()
		go func() {
			var errs error
			for i := range 100 {
				// what one window gets the other loses: a report that saw one before and one after would not be 0
				b := &metering.Batch{Token: token, Scopes: []*metering.Scope{a}, Run: period.Run{Begin: begin, Length: hour, Count: 24}}
				e.reopen(b)
				e.fill(b, a, "cpu", attrs("id", "1"), fmt.Sprintf("1@%d", i), "", "", "", "", fmt.Sprintf("1@-%d", i))
				errs = errors.Join(errs, writer.Commit(e.ctx, b))
			}
			done <- errs
		}()
		for stop := false; !stop; {
			select {
			case err := <-done:
				e.must(err)
				stop = true
			default:
			}
			for _, q := range []*costs.Query{
				{Range: period.Range{Begin: begin, End: at("2026-11-02T00:00:00Z")}},                      // charges, then a day
				{Range: period.Range{Begin: at("2026-10-01T00:00:00Z"), End: at("2026-11-01T12:00:00Z")}}, // a month, then charges
				{Range: period.Range{Begin: at("2026-10-01T00:00:00Z"), End: at("2026-11-03T00:00:00Z")}}, // a month, then days
			} {
				for _, q.Groups = range [][]string{nil, {"id"}} {
					total, err := e.s.Report(e.ctx, q, func(costs.Row) error { return nil })
					e.must(err)
					if !total.Cost.IsZero() || total.Points%2 != 0 {
						e.Fatalf("%+v: %+v", *q, total)
					}
				}
			}
		}
		e.sound()
	}},
}

func (e *env) reportsAgree(zone string, length time.Duration, seed uint64) {
	e.Helper()
	e.reported(zone, length, seed)
	e.sound()
	e.compare(randomQueries(e.zone(), seed, 150)...)
	// as a process that has read nothing yet
	e.s = e.open()
	e.compare(randomQueries(e.zone(), seed+1, 20)...)
}
