// Package components holds the parts that pages are made of. They are functions of their arguments: everything they show
// is given to them, formatted or with what formatting needs.
package components

import (
	"ratebook/fault"
	"ratebook/money"
)

// State is how something is; each has a colour, a shape and, in words, its own text.
type State string

const (
	OK      State = "ok"
	Warning State = "warning"
	Failed  State = "failed"
	Neutral State = "neutral" // waiting, off, of no concern
)

// Link is a link's text and path below the base.
type Link struct{ Label, Path string }

// Input is a form field of one line.
type Input struct {
	Name         string // of the field, also in fault.Field
	Label        string
	Help         string // below the label; may be empty
	Value        string // as typed
	Error        string // what is wrong with it; empty: nothing
	Type         string // text if empty; password, date, number, search, ...
	Unit         string // behind the field, such as "EUR per unit"
	Example      string // in grey while the field is empty
	Autocomplete string
	Required     bool
	Autofocus    bool
	Suggestions  []string // offered while typing
}

// Choice is a form field that offers options.
type Choice struct {
	Name    string
	Label   string
	Help    string
	Value   string
	Error   string
	Options []Option
}

// Option is one of a choice.
type Option struct{ Value, Label string }

// Text is a form field of several lines.
type Text struct {
	Name, Label, Help, Value, Error string
	Rows                            int
	Required                        bool
}

// Errors maps the fields of an error to their messages.
type Errors map[string]string

// ErrorsOf returns what is wrong with which field; a nil error has none.
func ErrorsOf(fields []fault.Field) Errors {
	all := Errors{}
	for _, f := range fields {
		if _, known := all[f.Name]; !known {
			all[f.Name] = f.Message
		}
	}
	return all
}

// Sorted is a column heading that sorts.
type Sorted struct {
	Label      string
	Path       string // that sorts by this column, or, if it is sorted by it, the other way round
	Order      string // "ascending", "descending", or empty: not sorted by this column
	Number     bool   // right-aligned
	Unit       string // of the numbers below, such as EUR
	Target     string // what htmx swaps: #main's content, or another element as a whole, such as #report; empty: no htmx
	Descending bool   // what the link does next
}

// Pages is where one is in a long list.
type Pages struct {
	Page, Pages int                   // from 1
	PerPage     int                   // rows a page; if zero, the pager counts pages
	Rows        int                   // of all pages
	What        string                // what the rows are, such as "groups"
	Path        func(page int) string // of a page
	Target      string                // as in Sorted
}

// Chart is a stacked bar chart over time, or over whatever its buckets are.
type Chart struct {
	Title    string // what it shows, read aloud instead of the picture
	Currency string
	Buckets  []Bucket
	Series   []Series // from the bottom up
}

// Bucket is a place on a chart's time axis.
type Bucket struct {
	Label string // on the axis; may be empty where labels would not fit
	Title string // in full, such as "Tue 3 Nov 2026"
	Path  string // where a click leads; may be empty
}

// Series is one colour of a chart.
type Series struct {
	Name   string
	Color  int    // 0 to 7, or Others; of Colors
	Path   string // where its name leads; may be empty
	Values []money.Decimal
}

// Others is the colour of what is not worth one of its own.
const Others = 8
