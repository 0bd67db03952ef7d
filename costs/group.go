package costs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rollup"
)

// Labels are what a report can know of a series. For sums per scope, metric and unit the attributes are left out.
type Labels struct {
	Scope, ScopeName string // the scope's id and name
	Metric, Unit     string
	Groupby          metering.Attributes
	Metadata         metering.Attributes
}

// Total is the sum of all rows of a report.
type Total struct {
	Unit   string        // empty if the rows have different units, or there is none
	Qty    money.Decimal // meaningless if Mixed
	Mixed  bool          // whether the rows have different units
	Cost   money.Decimal
	Points int64
}

// Grouper makes a report's rows of stored sums. It is fed bucket by bucket in ascending time, and holds one bucket's
// groups in memory at a time:
//
//	g := costs.NewGrouper(q, zone, yield)
//	key := g.Key(&labels)                 // once per series (or scope, metric and unit), at any time
//	for each segment, for each sum, ordered by bucket {
//		err := g.At(begin)                // when begin differs from the sum before
//		g.Add(key, &sums)
//	}
//	total, err := g.Close()
type Grouper struct {
	query *Query
	zone  *time.Location
	yield func(Row) error

	groups  []key
	filters []filter
	buf     []byte   // for the identity of keys
	values  []string // for their values
	room    []string // for the values of groups to come

	expected int // how many keys may come

	// Sums are added up under the keys that Key has returned. Where the query asks for computed attributes, such a key
	// can have gaps; whenever those attributes change, its sums move on to a key of the dated table, which has none.
	sums   table
	timed  bool
	dated  table
	at     time.Time    // of the sums that are added now
	day    period.Range // of at; computed attributes are constant in it
	bucket period.Range // not cut to the range; empty before the first At
	window time.Time    // the end of at's window, where the query asks for windows

	total Total
	rows  int
	err   error // the first one
}

type filter struct {
	key
	values map[string]bool
}

// NewGrouper returns a grouper that calls yield with each row, sorted by begin, then groups bytewise. The query must be
// valid. The first error of yield ends the report. Rows share their Groups slices; they must not be changed.
func NewGrouper(q *Query, zone *time.Location, yield func(Row) error) *Grouper {
	g := &Grouper{query: q, zone: zone, yield: yield}
	for _, name := range q.Groups {
		g.groups = append(g.groups, parseKey(name))
	}
	for _, f := range q.Filters {
		g.filters = append(g.filters, newFilter(f))
	}
	for _, k := range q.keys() {
		g.timed = g.timed || k.computed()
	}
	return g
}

// Key returns a small number to Add such sums under, or -1 if a filter excludes them whatever their time. It keeps no
// reference to l.
func (g *Grouper) Key(l *Labels) int32 {
	// The identity of a group: its unit, which gaps it has, its values. Each part ends where the next begins.
	b := appendText(g.buf[:0], l.Unit)
	for i := range g.filters {
		f := &g.filters[i]
		v, ok := f.value(l)
		switch gap := !ok && f.computed(); {
		case gap:
			b = append(b, 1)
		case !f.values[v]:
			return -1
		default:
			b = append(b, 0)
		}
	}
	g.values = g.values[:0]
	for _, k := range g.groups {
		v, ok := k.value(l)
		g.values = append(g.values, v)
		if g.timed && !ok && k.computed() {
			b = append(b, 1)
		} else {
			b = appendText(append(b, 0), v)
		}
	}
	g.buf = b
	if n, ok := g.sums.index[string(b)]; ok {
		return n
	}
	if len(g.sums.groups) == manyKeys && g.expected > manyKeys {
		g.sums.grow(g.expected)
	}
	added := group{unit: l.Unit, values: g.keep(g.values)}
	if g.timed {
		for i, k := range g.groups {
			if _, ok := k.value(l); !ok && k.computed() {
				added.gaps = append(added.gaps, i)
			}
		}
		for i := range g.filters {
			if _, ok := g.filters[i].value(l); !ok && g.filters[i].computed() {
				added.filters = append(added.filters, i)
			}
		}
	}
	return g.sums.add(string(b), added)
}

// manyKeys is from how many keys on their number follows that of the labels: below, many labels may share a key.
const manyKeys = 1024

// Expect says that Key is about to be called for n labels, so that it can make room.
func (g *Grouper) Expect(n int) { g.expected = len(g.sums.groups) + n }

// grow makes room for n groups in all.
func (t *table) grow(n int) {
	index := make(map[string]int32, n)
	maps.Copy(index, t.index)
	t.index = index
	t.groups = slices.Grow(t.groups, n-len(t.groups))
	t.cells = slices.Grow(t.cells, n-len(t.cells))
}

// keep returns a copy of values, made in blocks.
func (g *Grouper) keep(values []string) []string {
	if g.room == nil || len(g.room) < len(values) {
		g.room = make([]string, len(values)*min(max(len(g.sums.groups), 8), 256))
	}
	kept := g.room[:len(values):len(values)]
	g.room = g.room[len(values):]
	copy(kept, values)
	return kept
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// At says when the sums that are added next begin: at the begin of their month, their day, or the charge's own. Within
// a bucket any order will do, buckets must ascend. It yields the rows of the bucket that is thereby complete.
func (g *Grouper) At(begin time.Time) error {
	if g.err != nil || begin.Equal(g.at) {
		return g.err
	}
	if !g.query.Range.Contains(begin) {
		return g.fail(fmt.Errorf("costs: sums of %s are outside the range", begin))
	}
	if g.query.Windows || !g.bucket.Contains(begin) { // windows may overlap
		if err := g.enter(begin); err != nil {
			return err
		}
	}
	if g.timed && !g.day.Contains(begin) {
		g.settle()
		g.day = period.Range{Begin: period.Day.Start(begin, g.zone), End: period.Day.Next(begin, g.zone)}
	}
	g.at = begin
	return nil
}

// AtWindow is At for queries that ask for windows: it says in which window the charges are that are added next.
func (g *Grouper) AtWindow(w period.Range) error {
	g.window = w.End
	return g.At(w.Begin)
}

// enter completes the bucket and goes on to the one that contains t.
func (g *Grouper) enter(t time.Time) error {
	next := g.query.Range
	if g.query.Windows {
		next = period.Range{Begin: t, End: g.window}
	} else if b := g.query.Bucket; b != period.Whole {
		next = period.Range{Begin: b.Start(t, g.zone), End: b.Next(t, g.zone)}
	}
	if next.Begin.Before(g.bucket.Begin) {
		return g.fail(fmt.Errorf("costs: sums of %s come after their bucket", t))
	}
	if !next.Begin.Equal(g.bucket.Begin) {
		if err := g.flush(); err != nil {
			return err
		}
	}
	g.bucket = next
	return nil
}

func (g *Grouper) fail(err error) error {
	g.err = err
	return err
}

// Add adds sums under a key; a negative key is ignored.
func (g *Grouper) Add(key int32, s *rollup.Sums) {
	if key >= 0 {
		g.sums.sum(key, s)
	}
}

// Widen adds the extremes of charges whose sums were added under a key; a negative key is ignored.
func (g *Grouper) Widen(key int32, e *Extremes) {
	if key >= 0 {
		g.sums.widen(key, e)
	}
}

// Close yields the last bucket's rows and returns the total of all.
func (g *Grouper) Close() (Total, error) {
	if g.err == nil {
		g.err = g.flush()
	}
	return g.total, g.err
}

// settle moves the sums of a billing day, or month, to keys without gaps.
func (g *Grouper) settle() {
	for _, n := range g.sums.used {
		from := &g.sums.groups[n]
		if to, ok := g.date(from); ok {
			g.dated.sum(to, &g.sums.cells[n].Sums)
			if e := g.sums.cells[n].ends; e != nil {
				g.dated.widen(to, e)
			}
		}
	}
	g.sums.clear()
}

// date returns the key of the dated table that a group with gaps belongs to at present, or false if a filter excludes
// it.
func (g *Grouper) date(from *group) (int32, bool) {
	for _, i := range from.filters {
		f := &g.filters[i]
		if v, _ := metering.Computed(f.attribute, g.at, g.zone); !f.values[v] {
			return 0, false
		}
	}
	values := from.values
	if from.gaps != nil {
		values = append([]string(nil), values...)
		for _, i := range from.gaps {
			values[i], _ = metering.Computed(g.groups[i].attribute, g.at, g.zone)
		}
	}
	g.buf = appendText(g.buf[:0], from.unit)
	for _, v := range values {
		g.buf = appendText(g.buf, v)
	}
	if n, ok := g.dated.index[string(g.buf)]; ok {
		return n, true
	}
	return g.dated.add(string(g.buf), group{unit: from.unit, values: values}), true
}

// flush yields the rows of the bucket.
func (g *Grouper) flush() error {
	from := &g.sums
	if g.timed {
		g.settle()
		from = &g.dated
	}
	if len(from.used) > 0 && g.at.IsZero() {
		return g.fail(errors.New("costs: sums were added before the first At"))
	}
	row := Row{Begin: g.bucket.Begin, End: g.bucket.End}
	if row.Begin.Before(g.query.Range.Begin) {
		row.Begin = g.query.Range.Begin
	}
	if row.End.After(g.query.Range.End) && !g.query.Windows {
		row.End = g.query.Range.End
	}
	for rest := from.sorted(); len(rest) > 0; {
		rest = from.row(&row, rest)
		if g.query.Windows {
			row.Unit, row.Qty, row.Mixed = "", money.Decimal{}, true
		}
		g.count(&row)
		if err := g.yield(row); err != nil {
			return g.fail(err)
		}
	}
	from.clear()
	if g.timed {
		g.dated = table{} // other buckets have other dates
	}
	return nil
}

// count adds a row to the total.
func (g *Grouper) count(row *Row) {
	t := &g.total
	t.Cost = t.Cost.Add(row.Cost)
	t.Points += row.Points
	switch {
	case t.Mixed:
	case row.Mixed || g.rows > 0 && row.Unit != t.Unit:
		t.Mixed, t.Unit, t.Qty = true, "", money.Decimal{}
	default:
		t.Unit, t.Qty = row.Unit, t.Qty.Add(row.Qty)
	}
	g.rows++
}
