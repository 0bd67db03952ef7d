package export

import (
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"ratebook/costs"
	"ratebook/money"
)

// Table writes a report as an aligned table for a terminal: the columns of the CSV, but with the currency in the head of
// the costs, and a last line with the total. Numbers are rounded for the eye, half to even: to 2 decimals from 1 up, to 4
// digits below; the CSV has them exactly. Their points are aligned. It keeps all rows until Close.
type Table struct {
	report
	w    io.Writer
	rows [][]string
}

// NewTable returns a writer of q's report to w.
func NewTable(w io.Writer, q *costs.Query, zone *time.Location, currency string) *Table {
	t := &Table{report: newReport(q, zone, currency), w: w}
	head := t.columns()
	head = head[:len(head)-1]
	head[len(head)-1] += " " + currency
	t.rows = [][]string{head}
	return t
}

// Row adds one row.
func (t *Table) Row(row costs.Row) error {
	var texts []string
	if t.bucketed() {
		begin, end := t.times(&row)
		texts = append(texts, begin, end)
	}
	for _, g := range row.Groups {
		texts = append(texts, printable(g))
	}
	t.add(texts, row.Unit, row.Qty, row.Mixed, row.Cost)
	return nil
}

// Close writes the table. It does not close the writer given.
func (t *Table) Close(total costs.Total) error {
	width := len(t.rows[0])
	texts := make([]string, width-3)
	unit := total.Unit
	if len(texts) > 0 {
		texts[0] = "total"
	} else {
		unit = strings.TrimSpace("total " + unit)
	}
	t.add(texts, unit, total.Qty, total.Mixed, total.Cost)

	numbers := width - 2 // the column of the first
	t.alignPoints(numbers)
	t.alignPoints(numbers + 1)
	widths := make([]int, width)
	for _, row := range t.rows {
		for i, text := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		var line strings.Builder
		for i, text := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			if i >= numbers {
				line.WriteString(pad + text)
			} else {
				line.WriteString(text + pad)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(t.w, b.String())
	return err
}

func (t *Table) add(texts []string, unit string, qty money.Decimal, mixed bool, cost money.Decimal) {
	t.rows = append(t.rows, append(texts, printable(unit), string(appendQty(nil, rounded(qty), mixed)), rounded(cost).String()))
}

// rounded returns a number as people want to read it.
func rounded(d money.Decimal) money.Decimal {
	fraction, small := strings.CutPrefix(strings.TrimPrefix(d.String(), "-"), "0.")
	if !small {
		return d.Round(2)
	}
	zeros := len(fraction) - len(strings.TrimLeft(fraction, "0"))
	return d.Round(int32(zeros) + 4)
}

// alignPoints gives all numbers of a column the same width after their point.
func (t *Table) alignPoints(column int) {
	after := func(s string) int { // the point included
		_, fraction, found := strings.Cut(s, ".")
		if !found {
			return 0
		}
		return 1 + len(fraction)
	}
	most := 0
	numbers := t.rows[1:]
	for _, row := range numbers {
		most = max(most, after(row[column]))
	}
	for _, row := range numbers {
		row[column] += strings.Repeat(" ", most-after(row[column]))
	}
}

// printable replaces control characters, which could do anything to a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return utf8.RuneError
		}
		return r
	}, s)
}
