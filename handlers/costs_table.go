package handlers

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"ratebook/costs"
	"ratebook/money"
	"ratebook/period"
)

// costsTable is a report's answer with a row for each group and a column for each bucket. Rows of a report are added up in
// it as they come and not kept.
type costsTable struct {
	buckets []time.Time // their begins, the first cut to the range; empty: the report has none
	groups  []costsGroup
	courses []money.Decimal // the cost of all groups in each bucket
	total   costs.Total

	index  map[string]int32 // of groups, by identity
	key    []byte
	at     int   // the bucket of the row before
	before int32 // its group; -1: none
	cells  int   // how many courses of groups may have together; beyond, only chosen groups have one
	sparse bool  // only chosen groups have a course
}

// costsGroup is a row of the table.
type costsGroup struct {
	values []string
	unit   string // empty if mixed
	qty    money.Decimal
	mixed  bool
	cost   money.Decimal
	points int64
	seen   bool            // there are rows of it
	course []money.Decimal // its cost in each bucket; nil if the table has no buckets, or is sparse and it was not chosen
	next   int32           // the group that came after it in the bucket before; -1: none did
}

const (
	mostBuckets = 1000    // that a chart can show
	mostCells   = 250_000 // about 10 MB of amounts
)

// bucketsOf returns the begins of a range's buckets, the first cut to the range; ok is false if there are more than a chart
// can show.
func bucketsOf(r period.Range, b period.Bucket, zone *time.Location) (begins []time.Time, ok bool) {
	if b == period.Whole {
		return nil, true
	}
	for t := r.Begin; t.Before(r.End); t = b.Next(t, zone) {
		if len(begins) == mostBuckets {
			return nil, false
		}
		begins = append(begins, t)
	}
	return begins, true
}

// newCostsTable asks a report and adds it up. Where there are so many groups that the course of each would fill the memory,
// the report is asked a second time, and only the groups that choose returns get one.
func newCostsTable(ctx context.Context, reports Reports, q *costs.Query, buckets []time.Time, cells int, choose func(t *costsTable) []int32) (*costsTable, error) {
	t := &costsTable{buckets: buckets, index: map[string]int32{}, cells: cells}
	if err := t.ask(ctx, reports, q); err != nil || !t.sparse {
		return t, err
	}
	chosen := choose(t)
	for i := range t.groups { // sums too: between the two reports, something may have been charged
		t.groups[i] = costsGroup{values: t.groups[i].values, next: t.groups[i].next}
	}
	clear(t.courses)
	for _, n := range chosen {
		t.groups[n].course = make([]money.Decimal, len(buckets))
	}
	return t, t.ask(ctx, reports, q)
}

func (t *costsTable) ask(ctx context.Context, reports Reports, q *costs.Query) (err error) {
	t.at, t.before = 0, -1
	if t.courses == nil {
		t.courses = make([]money.Decimal, len(t.buckets))
	}
	t.total, err = reports.Report(ctx, q, t.add)
	return err
}

// add adds a row of the report. Rows come by bucket, and in each by groups.
func (t *costsTable) add(r costs.Row) error {
	if err := t.enter(r.Begin); err != nil {
		return err
	}
	n := t.find(r.Groups)
	g := &t.groups[n]
	switch {
	case g.mixed:
	case r.Mixed || g.seen && r.Unit != g.unit:
		g.mixed, g.unit, g.qty = true, "", money.Decimal{}
	default:
		g.unit = r.Unit
		g.qty.Accumulate(&r.Qty)
	}
	g.cost.Accumulate(&r.Cost)
	g.points += r.Points
	g.seen = true
	if len(t.buckets) > 0 {
		t.courses[t.at].Accumulate(&r.Cost)
		if g.course != nil {
			g.course[t.at].Accumulate(&r.Cost)
		}
	}
	return nil
}

// enter goes on to the bucket that begins at a time.
func (t *costsTable) enter(begin time.Time) error {
	if len(t.buckets) == 0 || t.buckets[t.at].Equal(begin) {
		return nil
	}
	n, ok := slices.BinarySearchFunc(t.buckets, begin, time.Time.Compare)
	if !ok || n < t.at {
		return fmt.Errorf("handlers: a report's row begins at %s, which no bucket after the last does", begin)
	}
	t.at, t.before = n, -1
	return nil
}

// find returns the group of some values. Mostly it is the one that came next in the bucket before, too.
func (t *costsTable) find(values []string) int32 {
	n := int32(-1)
	if t.before >= 0 {
		if next := t.groups[t.before].next; next >= 0 && slices.Equal(t.groups[next].values, values) {
			n = next
		}
	}
	if n < 0 {
		n = t.lookUp(values)
		if t.before >= 0 {
			t.groups[t.before].next = n
		}
	}
	t.before = n
	return n
}

func (t *costsTable) lookUp(values []string) int32 {
	t.key = t.key[:0]
	for _, v := range values {
		t.key = append(binary.AppendUvarint(t.key, uint64(len(v))), v...)
	}
	if n, ok := t.index[string(t.key)]; ok {
		return n
	}
	n := int32(len(t.groups)) //nolint:gosec // memory ends long before
	t.index[string(t.key)] = n
	g := costsGroup{values: values, next: -1}
	if !t.sparse && len(t.buckets) > 0 {
		if (len(t.groups)+1)*len(t.buckets) > t.cells {
			t.sparse = true
			for i := range t.groups {
				t.groups[i].course = nil
			}
		} else {
			g.course = make([]money.Decimal, len(t.buckets))
		}
	}
	t.groups = append(t.groups, g)
	return n
}

// sorted returns the groups in the order that the question asks; name is how a group's value is shown. Equal ones are in
// the order of their values.
func (t *costsTable) sorted(order string, name func(group int, value string) string) []int32 {
	by, falling := strings.CutPrefix(order, "-")
	sign := 1
	if falling {
		sign = -1
	}
	var names []string
	if n := slices.Index([]string{"name", "name2"}, by); n >= 0 {
		names = make([]string, len(t.groups))
		for i := range t.groups {
			names[i] = strings.ToLower(name(n, t.groups[i].values[n]))
		}
	}
	all := t.filled()
	slices.SortFunc(all, func(i, j int32) int {
		a, b := &t.groups[i], &t.groups[j]
		c := 0
		switch by {
		case "cost":
			c = sign * a.cost.Cmp(b.cost)
		case "points":
			c = sign * cmp.Compare(a.points, b.points)
		case "qty": // what has no sum comes last either way
			switch {
			case a.mixed != b.mixed && a.mixed:
				c = 1
			case a.mixed != b.mixed:
				c = -1
			default:
				c = sign * a.qty.Cmp(b.qty)
			}
		default:
			c = sign * strings.Compare(names[i], names[j])
		}
		if c == 0 {
			c = slices.Compare(a.values, b.values)
		}
		return c
	})
	return all
}

// filled returns the groups that have rows.
func (t *costsTable) filled() []int32 {
	all := make([]int32, 0, len(t.groups))
	for i := range t.groups {
		if t.groups[i].seen {
			all = append(all, int32(i)) //nolint:gosec // see lookUp
		}
	}
	return all
}

// top returns the groups with the greatest costs, whatever their signs; at most n, the greatest first.
func (t *costsTable) top(n int) []int32 {
	greatest := func(i, j int32) int {
		a, b := &t.groups[i], &t.groups[j]
		if c := costsSize(b.cost).Cmp(costsSize(a.cost)); c != 0 {
			return c
		}
		return slices.Compare(a.values, b.values)
	}
	var best []int32 // of few, in order
	for _, i := range t.filled() {
		at, _ := slices.BinarySearchFunc(best, i, greatest)
		if at < n {
			best = slices.Insert(best, at, i)
			best = best[:min(len(best), n)]
		}
	}
	return best
}

// costsSize returns an amount without its sign.
func costsSize(d money.Decimal) money.Decimal {
	if d.Sign() < 0 {
		return d.Neg()
	}
	return d
}
