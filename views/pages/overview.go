package pages

import (
	"time"

	"ratebook/money"
	"ratebook/views/components"
	"ratebook/views/format"
)

// Many says how many of something there are, such as "1 scope" or "12,480 points".
func Many(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return format.Count(int64(n)) + " " + more
}

// Failure is what stands in place of a part of a page that could not be made.
type Failure struct{ Title, Text, Retry string }

// Processing is how far a scope's usage is charged.
type Processing struct {
	To    time.Time // zero: nothing is yet
	Zone  *time.Location
	Lag   string // behind what is due; empty: none
	State components.State
	Text  string    // of the state
	Error string    // of the first window that failed
	Next  time.Time // when that is tried again
}

// Overview is the first page: a month's costs, and what keeps them from being complete.
type Overview struct {
	Month    string // such as "November 2026"
	Complete bool   // whether the month is processed to its end
	Currency string
	Zone     *time.Location
	Own      bool // a tenant looks at its own scopes
	Steps    []Step
	Nothing  *Nothing       // instead of costs
	Costs    *OverviewCosts // nil: there are none, or they could not be read
	Ledger   *Ledger
	Unpriced *Unpriced

	CostsFailure, LedgerFailure, UnpricedFailure, StepsFailure *Failure
}

// Nothing is the empty face of a part: why there is nothing, and where to go instead.
type Nothing struct {
	Title, Text string
	Next        []components.Link
}

// Step is one of the things to be done before there are costs to show.
type Step struct {
	Done    bool
	Title   string
	State   string // how it is now
	Command string // that does it; empty: none, or it is done
	Link    *components.Link
}

// OverviewCosts are a month's costs.
type OverviewCosts struct {
	Total   money.Decimal
	Path    string    // of the report with the same total
	Until   time.Time // most scopes are processed up to then; zero: unknown
	Range   string    // the month up to then, in words
	Before  string    // the range it is compared with, in words; empty: it can't be
	Days    string    // the days of that, such as "1–21 Oct 2026"
	Same    money.Decimal
	Change  Change
	Chart   components.Chart
	ByDay   Days
	Metrics []Line
	Scopes  []Line
	All     int    // scopes that have costs
	AllPath string // of the report that lists them all
}

// Change is how an amount differs from another, in words and as a sign.
type Change struct {
	Sign  string // ▲, ▼ or =; empty: it can't be said
	Word  string // up, down or unchanged
	Share string // such as 8.1 %
}

// Line is one line of a list of costs.
type Line struct {
	Name, Detail string // the detail on hover
	Twin         bool   // another has the same name, so the detail is shown
	Path         string
	Cost         money.Decimal
}

// Ledger is how far the scopes are processed.
type Ledger struct {
	Scopes, UpToDate int // active scopes
	Lagging          int
	Late             int    // of these, so far behind that costs are missing
	Lag              string // the longest
	Failed           int    // windows
	Error            string // of the first of them
	Where            string // the scope it is of
	WherePath        string
}

// ledgerPath is where processing is looked at closer; a tenant has only the list of its scopes for that.
func (v *Overview) ledgerPath(query string) string {
	if v.Own {
		return "/scopes" + query
	}
	return "/processing"
}

// Unpriced is usage that no rule priced.
type Unpriced struct {
	Points int64
	Since  string // how far back was looked, such as "the last 7 days"
	Lines  []UnpricedLine
}

// UnpricedLine is the part of one metric.
type UnpricedLine struct {
	Metric, Path string
	Points       int64
	Scopes       int
	Last         time.Time
}

// Days is the table that says the same as a chart by day.
type Days struct {
	Caption  string
	Currency string
	Names    []string // of the columns
	Rows     []Day
}

// Day is one day of it.
type Day struct {
	Label, Path string
	Values      []money.Decimal // by column
	Total       money.Decimal
}

// upTo says how long the longest lag is, if there is one.
func upTo(lag string) string {
	if lag == "" {
		return ""
	}
	return " up to " + lag
}
