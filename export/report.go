// Package export writes reports: as streams of CSV and JSON for machines, and as a table for people at a terminal.
//
// The columns are begin and end where the query has buckets, then its groups in the order asked and named as asked, then
// unit, qty, cost and currency. unit and qty are empty where a row mixes units. Grouped by unit, the column is there
// twice. An attribute that is called like one of the other fixed columns gets the name attr:NAME, so that each name means
// one thing. Times are RFC 3339 in the billing zone, with Z for UTC; decimals are plain digits, exact, without exponent
// and trailing zeros.
//
// Values are written as they are. A value that begins with =, +, - or @ is a formula to some spreadsheets; the files are
// for programs, which must get back what was stored, so nothing is put before it. Import such columns as text.
package export

import (
	"io"
	"slices"
	"time"

	"ratebook/costs"
	"ratebook/money"
	"ratebook/period"
)

// report is what all formats know of a report.
type report struct {
	query    *costs.Query
	zone     *time.Location
	currency string
	groups   []string // the columns' names

	begin, end     time.Time // of the row before
	beginAt, endAt string    // their texts
}

func newReport(q *costs.Query, zone *time.Location, currency string) report {
	r := report{query: q, zone: zone, currency: currency}
	fixed := []string{"qty", "cost", "currency"}
	if r.bucketed() {
		fixed = append(fixed, "begin", "end")
	}
	for _, g := range q.Groups {
		if slices.Contains(fixed, g) {
			g = costs.AttributePrefix + g
		}
		r.groups = append(r.groups, g)
	}
	return r
}

func (r *report) bucketed() bool { return r.query.Bucket != period.Whole }

// columns returns the names of all columns.
func (r *report) columns() []string {
	var names []string
	if r.bucketed() {
		names = append(names, "begin", "end")
	}
	names = append(names, r.groups...)
	return append(names, "unit", "qty", "cost", "currency")
}

// times returns a row's begin and end; they are formatted once a bucket.
func (r *report) times(row *costs.Row) (begin, end string) {
	if !row.Begin.Equal(r.begin) || !row.End.Equal(r.end) {
		r.begin, r.end = row.Begin, row.End
		r.beginAt, r.endAt = period.Format(row.Begin, r.zone), period.Format(row.End, r.zone)
	}
	return r.beginAt, r.endAt
}

// appendQty appends a quantity, or nothing if units are mixed.
func appendQty(b []byte, qty money.Decimal, mixed bool) []byte {
	if mixed {
		return b
	}
	return qty.Append(b)
}

// flushSize is how much is written at once.
const flushSize = 64 << 10

// buffer collects small pieces of output.
type buffer struct {
	w   io.Writer
	b   []byte
	err error // the first one
}

// flush writes what there is if it is at least the given size.
func (o *buffer) flush(size int) error {
	if o.err == nil && len(o.b) >= size {
		_, o.err = o.w.Write(o.b)
		o.b = o.b[:0]
	}
	return o.err
}
