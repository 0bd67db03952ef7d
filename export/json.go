package export

import (
	"encoding/json"
	"io"
	"time"
	"unicode/utf8"

	"ratebook/costs"
	"ratebook/money"
	"ratebook/period"
)

// JSON writes a report as one object, in constant memory:
//
//	{"begin":"…","end":"…","groups":["…"],"rows":[{…}],"total":{"unit":"…","qty":"…","cost":"…","currency":"…"}}
//
// begin and end are the range. Each row has the columns of the CSV, with the same texts; decimals are strings too, so that no
// reader loses digits. Grouped by unit, the member is there once. Each row is a line of its own.
type JSON struct {
	report
	out    buffer
	names  [][]byte // of the groups' members, with quotes and colon; empty for unit, which is there anyway
	before byte     // what comes before the next row, if anything
}

// NewJSON returns a writer of q's report to w.
func NewJSON(w io.Writer, q *costs.Query, zone *time.Location, currency string) *JSON {
	j := &JSON{report: newReport(q, zone, currency), out: buffer{w: w}}
	b := append(j.out.b, `{"begin":`...)
	b = appendString(b, period.Format(q.Range.Begin, zone))
	b = append(b, `,"end":`...)
	b = appendString(b, period.Format(q.Range.End, zone))
	b = append(b, `,"groups":[`...)
	for i, name := range j.groups {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, name)
		member := append(appendString(nil, name), ':')
		if name == costs.Unit {
			member = nil
		}
		j.names = append(j.names, member)
	}
	j.out.b = append(b, `],"rows":[`...)
	return j
}

// Row writes one row. Errors are those of the writer given.
func (j *JSON) Row(row costs.Row) error {
	b := j.out.b
	if j.before != 0 {
		b = append(b, j.before)
	}
	j.before = ','
	b = append(b, "\n{"...)
	if j.bucketed() {
		begin, end := j.times(&row)
		b = append(b, `"begin":"`...)
		b = append(b, begin...)
		b = append(b, `","end":"`...)
		b = append(b, end...)
		b = append(b, `",`...)
	}
	for i, g := range row.Groups {
		if j.names[i] != nil {
			b = append(appendString(append(b, j.names[i]...), g), ',')
		}
	}
	b = j.appendSums(b, row.Unit, row.Qty, row.Mixed, row.Cost)
	j.out.b = append(b, '}')
	return j.out.flush(flushSize)
}

// Close writes the total and what is left. It does not close the writer given.
func (j *JSON) Close(total costs.Total) error {
	b := j.out.b
	if j.before != 0 {
		b = append(b, '\n')
	}
	b = append(b, `],"total":{`...)
	b = j.appendSums(b, total.Unit, total.Qty, total.Mixed, total.Cost)
	j.out.b = append(b, "}}\n"...)
	return j.out.flush(0)
}

// appendSums appends the members that rows and the total have in common.
func (j *JSON) appendSums(b []byte, unit string, qty money.Decimal, mixed bool, cost money.Decimal) []byte {
	if mixed {
		unit = ""
	}
	b = appendString(append(b, `"unit":`...), unit)
	b = appendQty(append(b, `,"qty":"`...), qty, mixed)
	b = cost.Append(append(b, `","cost":"`...))
	return appendString(append(b, `","currency":`...), j.currency)
}

// appendString appends a JSON string; what is no UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	if !plain(s) {
		quoted, _ := json.Marshal(s) // a string can't fail
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// plain reports whether nothing in s must be escaped.
func plain(s string) bool {
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c == '"' || c == '\\':
			return false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return ascii || utf8.ValidString(s)
}
