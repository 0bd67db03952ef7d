package pages

import (
	"time"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/views/components"
)

// Window is the page of one window of the ledger.
type Window struct {
	Zone         *time.Location
	Currency     string
	Range        string
	Begin, End   time.Time
	Badge        components.State
	State        string // in a word or two
	Story        string // in a sentence; may be empty
	Error        string
	Next         time.Time // the next attempt; zero: there is none
	Scope        components.Link
	Map          string // path of its place on the map
	Before       string // paths of its neighbours; empty: there is none
	After        string
	Known        bool // whether its points and amount are
	Points       int
	Unpriced     int
	Amount       money.Decimal
	CostsPath    string
	UnpricedPath string
	Took         string // empty: not measured
	Finished     time.Time
	Attempts     int
	Config       int64
	Rules        int64
	Source       string // with the version of its server, as far as that is known
	LeasedBy     string
	LeasedUntil  time.Time
	Waiting      *components.Link // the task it waits for; without a path: its re-check
	Redone       *components.Link // the task that did it last
	WaivedBy     string
	WaivedFor    string
	Accepted     bool
	Queries      []WindowQuery
	QueriesFail  *Failure
	Metrics      []WindowMetric
	Findings     []WindowFinding
	Superseded   []SupersededSet
	Act          *WindowActions // nil: who asks may not act
	ReprocessTo  string         // path of the form that does it again; empty: it is not done
}

// title says what kind of a finding it is.
func (f *WindowFinding) title() string {
	title, _ := findingWords(f.Kind)
	return title
}

// WindowQuery is what a source is asked for one metric of a scope.
type WindowQuery struct{ Metric, Query string }

// WindowMetric is what a window's usage of a metric costs.
type WindowMetric struct {
	Metric, Path, Unit string
	Points             int
	Qty, Amount        money.Decimal
}

// WindowFinding is something noticed about a window.
type WindowFinding struct {
	Kind                 metering.FindingKind
	Metric, Detail, Path string
	Points               int
}

// SupersededSet is charges that were replaced together.
type SupersededSet struct {
	At            time.Time
	By            *components.Link // the task that replaced them; nil: the window was committed again
	Points        int
	Amount        money.Decimal
	Config, Rules int64
}

// WindowActions are what an operator may do about a window.
type WindowActions struct {
	WindowFields
	Retry, Waive, Accept, Unwaive bool
	Leave                         bool // it is done, and failed to be done again
}
