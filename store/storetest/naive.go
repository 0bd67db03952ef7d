package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ratebook/costs"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/store"
)

// point is a charge with all that reports know of it.
type point struct {
	constants map[string]string
	groupby   map[string]string
	metadata  map[string]string
	begin     time.Time
	length    time.Duration
	qty       money.Decimal
	price     money.Decimal
}

// points reads all charges, in no way that the store does.
func (e *env) points() (all []point) {
	e.Helper()
	rows, err := e.raw.QueryContext(e.ctx, `SELECT s.scope, s.name, m.name, r.unit, CAST(r.groupby AS text), CAST(r.metadata AS text), `+e.unix("c.begins_at")+`, c.period,
		CAST(c.qty AS text), CAST(c.price AS text) FROM charges c, series r, scopes s, metrics m WHERE r.id = c.series AND s.id = c.scope AND s.id = r.scope AND m.id = r.metric`)
	e.must(err)
	defer rows.Close()
	for rows.Next() {
		var scope, name, metric, unit, groupby, metadata, qty, price string
		var seconds, length int64
		e.must(rows.Scan(&scope, &name, &metric, &unit, &groupby, &metadata, &seconds, &length, &qty, &price))
		p := point{
			constants: map[string]string{"scope": scope, "scope_name": name, "metric": metric, "unit": unit},
			begin:     time.Unix(seconds, 0).UTC(), length: time.Duration(length) * time.Second, qty: money.MustParse(qty), price: money.MustParse(price),
		}
		p.groupby, p.metadata = texts(e, groupby), texts(e, metadata)
		all = append(all, p)
	}
	e.must(rows.Err())
	return all
}

func (p *point) value(key string, zone *time.Location) string {
	if v, ok := p.constants[key]; ok {
		return v
	}
	key = strings.TrimPrefix(key, "attr:")
	if v, ok := p.groupby[key]; ok {
		return v
	}
	if v, ok := p.metadata[key]; ok {
		return v
	}
	v, _ := metering.Computed(key, p.begin, zone)
	return v
}

func format(r *costs.Row) string {
	qty := r.Qty.String()
	if r.Mixed {
		qty = "mixed"
	}
	return fmt.Sprintf("%s %s %q %q %s %s %s %d %s %s %s %s", r.Begin.UTC().Format(time.RFC3339), r.End.UTC().Format(time.RFC3339), r.Groups, r.Unit,
		qty, r.AllQty, r.Cost, r.Points, r.MinQty, r.MaxQty, r.MinCost, r.MaxCost)
}

func formatTotal(t *costs.Total) string {
	qty := t.Qty.String()
	if t.Mixed {
		qty = "mixed"
	}
	return fmt.Sprintf("total %q %s %s %d", t.Unit, qty, t.Cost, t.Points)
}

// naive answers a report from points, one by one.
func naive(points []point, q *costs.Query, zone *time.Location) []string {
	rows := map[string]*costs.Row{}
	var total costs.Total
	for i := range points {
		p := &points[i]
		ok := q.Range.Contains(p.begin)
		for _, f := range q.Filters {
			ok = ok && slices.Contains(f.Values, p.value(f.Key, zone))
		}
		if !ok {
			continue
		}
		row := costs.Row{Begin: q.Range.Begin, End: q.Range.End, Groups: []string{}, Unit: p.constants["unit"]}
		if q.Bucket != period.Whole {
			if b := q.Bucket.Start(p.begin, zone); b.After(row.Begin) {
				row.Begin = b
			}
			if b := q.Bucket.Next(p.begin, zone); b.Before(row.End) {
				row.End = b
			}
		}
		if q.Windows {
			row.Begin, row.End, row.Unit, row.Mixed = p.begin, p.begin.Add(p.length), "", true
		}
		for _, g := range q.Groups {
			row.Groups = append(row.Groups, p.value(g, zone))
		}
		id := fmt.Sprintf("%d %q", row.Begin.Unix(), row.Groups)
		have := rows[id]
		if have == nil {
			have = &row
			rows[id] = have
		}
		if have.Unit != row.Unit {
			have.Mixed, have.Unit = true, ""
		}
		if q.Windows && have.End.Before(row.End) {
			have.End = row.End
		}
		if one := costs.ExtremesOf(p.qty, p.price); q.Extremes && have.Points == 0 {
			have.Extremes = one
		} else if q.Extremes {
			have.Widen(&one)
		}
		have.AllQty = have.AllQty.Add(p.qty)
		have.Qty, have.Cost, have.Points = have.Qty.Add(p.qty), have.Cost.Add(p.price), have.Points+1
		if total.Points == 0 {
			total.Unit, total.Mixed = row.Unit, q.Windows
		} else if total.Unit != row.Unit {
			total.Mixed, total.Unit = true, ""
		}
		total.Qty, total.Cost, total.Points = total.Qty.Add(p.qty), total.Cost.Add(p.price), total.Points+1
	}
	sorted := make([]*costs.Row, 0, len(rows))
	for _, r := range rows {
		sorted = append(sorted, r)
	}
	slices.SortFunc(sorted, func(a, b *costs.Row) int {
		if c := a.Begin.Compare(b.Begin); c != 0 {
			return c
		}
		return slices.Compare(a.Groups, b.Groups)
	})
	var lines []string
	for _, r := range sorted {
		lines = append(lines, format(r))
	}
	return append(lines, formatTotal(&total))
}

// report answers a report by the store.
func (e *env) report(q *costs.Query) (lines []string) {
	e.Helper()
	return e.reportFrom(e.s, q)
}

func (e *env) reportFrom(s *store.Store, q *costs.Query) (lines []string) {
	e.Helper()
	total, err := s.Report(e.ctx, q, func(r costs.Row) error {
		if r.Groups == nil {
			r.Groups = []string{}
		}
		lines = append(lines, format(&r))
		return nil
	})
	if err != nil {
		e.Fatalf("report %+v: %v", *q, err)
	}
	return append(lines, formatTotal(&total))
}

// compare fails unless the store's reports are what the charges make, read one by one.
func (e *env) compare(queries ...*costs.Query) {
	e.Helper()
	points, zone := e.points(), e.zone()
	for _, q := range queries {
		got, want := e.report(q), naive(points, q, zone)
		if !slices.Equal(got, want) {
			e.Fatalf("report %+v in %s:\n got %s\nwant %s", *q, zone, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
}

// queries are reports of one range: by every bucket, from sums and from packs.
func queries(begin, end string) (all []*costs.Query) {
	for b := period.Whole; b <= period.Month; b++ {
		for _, groups := range [][]string{nil, {"id"}} {
			all = append(all, &costs.Query{Range: period.Range{Begin: at(begin), End: at(end)}, Bucket: b, Groups: groups})
		}
	}
	return append(all,
		&costs.Query{Range: period.Range{Begin: at(begin), End: at(end)}, Windows: true},
		&costs.Query{Range: period.Range{Begin: at(begin), End: at(end)}, Windows: true, Groups: []string{"scope"}})
}

// standardQueries read every kind of roll-up, over all that tests charge.
func standardQueries(zone *time.Location) (all []*costs.Query) {
	day := func(y int, m time.Month, d int) time.Time {
		return period.Day.Start(time.Date(y, m, d, 12, 0, 0, 0, zone), zone)
	}
	years := period.Range{Begin: day(2025, 1, 1), End: day(2028, 1, 1)}
	odd := period.Range{Begin: at("2026-10-30T13:00:00Z"), End: at("2026-11-03T07:00:00Z")}
	for _, r := range []period.Range{years, odd} {
		for _, groups := range [][]string{nil, {"scope", "metric", "unit"}, {"id"}, {"scope", "id"}} {
			for _, b := range []period.Bucket{period.Whole, period.Hour, period.Day, period.Month} {
				if b != period.Hour || r == odd {
					all = append(all, &costs.Query{Range: r, Bucket: b, Groups: groups})
				}
			}
			all = append(all, &costs.Query{Range: r, Windows: true, Groups: groups})
		}
		all = append(all, &costs.Query{Range: r, Windows: true, Groups: []string{"scope", "scope_name"}})
	}
	all = append(all, &costs.Query{Range: odd, Groups: []string{"metric"}, Extremes: true})
	return all
}
