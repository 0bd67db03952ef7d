package pages

import (
	"ratebook/money"
	"ratebook/views/components"
)

// CostsReportID is the id of the part of the page that htmx swaps.
const CostsReportID = "report"

type costsFragment string

// The parts of the pages about costs that htmx asks for.
const (
	CostsFragment       costsFragment = CostsReportID
	CostsValuesFragment costsFragment = "values"
)

// Costs is the cost report. Of Problem, Empty and Report one is there, none if the question is wrong.
type Costs struct {
	Question CostsQuestion
	Range    string            // in words; empty if the question is wrong
	Exports  []components.Link // the report as files
	Partial  string            // what is missing in the charges; empty: nothing
	More     *components.Link  // where to see more about that
	Problem  *CostsProblem
	Empty    *CostsEmpty
	Report   *CostsReport
}

// CostsQuestion is the controls that ask the question, and what is wrong with it.
type CostsQuestion struct {
	Range, Group, Second, Bucket components.Choice
	From, To                     components.Input
	Key                          components.Choice // of a filter to be added
	Value                        components.Input
	Chips                        []CostsChip
	Clear                        string   // path without filters; empty: not worth a link
	Wrong                        []string // what is wrong with parameters that have no control

	Kept, KeptByDays, KeptByFilters []CostsParam // what the three forms send on
}

// CostsParam is a parameter that a form sends on as it is.
type CostsParam struct{ Name, Value string }

// CostsChip is a filter; its path leads on without it.
type CostsChip struct{ Key, Value, Title, Path string }

// CostsProblem says why there is no report.
type CostsProblem struct{ Text, Retry string }

// CostsEmpty says why a report has no rows, and what to do next.
type CostsEmpty struct {
	Title, Text string
	Next        []components.Link
}

// CostsReport is the answer.
type CostsReport struct {
	Currency string
	Caption  string
	Chart    *components.Chart // nil: there are no buckets, or NoChart says why
	NoChart  string
	Headings []components.Sorted // of the groups, then cost, quantity, points
	Course   string              // heading of the sparklines; empty: there are none
	Count    int                 // of groups
	Total    CostsRow            // of all groups, not only of those shown
	Rows     []CostsRow
	Pages    components.Pages
}

// groups returns how many columns have names.
func (r *CostsReport) groups() int { return len(r.Headings) - 3 }

// CostsRow is a group.
type CostsRow struct {
	Names  []CostsName
	Cost   money.Decimal
	Qty    money.Decimal // meaningless if Mixed
	Unit   string
	Mixed  bool
	Points int64
	Course []money.Decimal // its cost over time, drawn in the space of a word
}

// title names the row's course.
func (r *CostsRow) title() string {
	text := "Course"
	for _, n := range r.Names {
		text += " of " + n.Text
	}
	return text
}

// CostsName is a group's value; its path leads to the next question about it alone.
type CostsName struct {
	Text, Title string
	None        bool   // the charges have no such attribute
	Path        string // may be empty
}

// costsTwin is the chart as a table: the values of a chart's series by bucket, and their sums.
type costsTwin struct {
	*components.Chart
	rows    []money.Decimal
	columns []money.Decimal
	total   money.Decimal
}

func newCostsTwin(c *components.Chart) costsTwin {
	t := costsTwin{Chart: c, rows: make([]money.Decimal, len(c.Buckets)), columns: make([]money.Decimal, len(c.Series))}
	for s := range c.Series {
		for b := range c.Series[s].Values {
			t.rows[b].Accumulate(&c.Series[s].Values[b])
			t.columns[s].Accumulate(&c.Series[s].Values[b])
		}
		t.total.Accumulate(&t.columns[s])
	}
	return t
}

// CostsValues is the values of an attribute that a filter can keep.
type CostsValues struct {
	Key      string // what they are values of; empty: not chosen yet
	Part     string // that they have in common; may be empty
	Range    string // in words
	Currency string
	Back     string // path of the report
	Values   []CostsValue
	Left     int // how many more there are
}

// CostsValue is one; its path leads to the report with the filter.
type CostsValue struct {
	CostsName
	Cost money.Decimal
}
