package pages

import (
	"strings"
	"time"

	"ratebook/access"
)

// ChangeRow is an entry of the audit log.
type ChangeRow struct {
	access.Change
	Lines []string // what changed, the first lines of it
	More  []string // the other lines, as far as they are shown
	Left  int      // how many lines are not shown
}

// How many lines of a change are shown at once, and at most.
const (
	changeLines    = 8
	changeLinesMax = 500
)

// NewChangeRow cuts what changed into lines.
func NewChangeRow(c access.Change) ChangeRow {
	row := ChangeRow{Change: c}
	text := strings.TrimSpace(c.After)
	if text == "" {
		text = strings.TrimSpace(c.Before)
	}
	if text == "" {
		return row
	}
	lines := strings.Split(text, "\n")
	if len(lines) > changeLinesMax {
		row.Left = len(lines) - changeLinesMax
		lines = lines[:changeLinesMax]
	}
	row.Lines = lines
	if len(lines) > changeLines+1 { // one line more is not worth hiding
		row.Lines, row.More = lines[:changeLines], lines[changeLines:]
	}
	return row
}

// ChangeList is the page of the changes of the rules, the newest first.
type ChangeList struct {
	Zone  *time.Location
	Rows  []ChangeRow
	Older string // the path of the next page; empty: this is the last
	First bool   // this is the first page
}
