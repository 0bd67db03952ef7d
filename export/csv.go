package export

import (
	"io"
	"strings"
	"time"

	"ratebook/costs"
)

// CSV writes a report's rows as RFC 4180 CSV with a header, in constant memory. Lines end with a line feed alone.
type CSV struct {
	report
	out buffer
}

// NewCSV returns a writer of q's report to w. The header is written even if there are no rows.
func NewCSV(w io.Writer, q *costs.Query, zone *time.Location, currency string) *CSV {
	c := &CSV{report: newReport(q, zone, currency), out: buffer{w: w}}
	for i, name := range c.columns() {
		if i > 0 {
			c.out.b = append(c.out.b, ',')
		}
		c.out.b = appendField(c.out.b, name)
	}
	c.out.b = append(c.out.b, '\n')
	return c
}

// Row writes one row. Errors are those of the writer given.
func (c *CSV) Row(row costs.Row) error {
	b := c.out.b
	if c.bucketed() {
		begin, end := c.times(&row)
		b = append(append(b, begin...), ',')
		b = append(append(b, end...), ',')
	}
	for _, g := range row.Groups {
		b = append(appendField(b, g), ',')
	}
	if !row.Mixed {
		b = appendField(b, row.Unit)
	}
	b = appendQty(append(b, ','), row.Qty, row.Mixed)
	b = row.Cost.Append(append(b, ','))
	b = appendField(append(b, ','), c.currency)
	c.out.b = append(b, '\n')
	return c.out.flush(flushSize)
}

// Close writes what is left; CSV has no line for the total. It does not close the writer given.
func (c *CSV) Close(costs.Total) error { return c.out.flush(0) }

// appendField appends a value, quoted if it must be. A space at either end is quoted too, since some readers trim.
func appendField(b []byte, s string) []byte {
	if s == "" || !strings.ContainsAny(s, ",\"\r\n") && s[0] != ' ' && s[len(s)-1] != ' ' {
		return append(b, s...)
	}
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' {
			b = append(b, '"')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}
