package metering

import (
	"time"

	"ratebook/money"
	"ratebook/period"
)

// ScopeState is how far a scope's usage is charged.
type ScopeState struct {
	Scope       *Scope
	ProcessedTo time.Time // the end of the windows that are all done, empty or waived, without a gap
	PlannedTo   time.Time // the end of the last window that is in the ledger
	Due         int       // windows to be processed, the failed ones not counted
	Failed      int       // windows that failed and will be tried again
	Error       string    // of the first of these
	NextAttempt time.Time // of the first of these
	Fetcher     string    // what found it; empty: nobody said
	Toggled     time.Time // when it was found, or made active or inactive last
	ResetTo     time.Time // from when on its windows were made due again, last; zero: never
	Resetting   bool      // whether windows after that are still to be made due
}

// LastProcessed is what CloudKitty says of how far a scope is: the begin of the last window without a gap before it, windows
// being of the given length. A scope that was reset is at the time it was reset to until the first window is done again.
func (s *ScopeState) LastProcessed(length time.Duration) time.Time {
	if !s.ResetTo.IsZero() && (s.Resetting || !s.ProcessedTo.After(s.ResetTo)) {
		return s.ResetTo
	}
	return s.ProcessedTo.Add(-length)
}

// Window is one row of the ledger.
type Window struct {
	Scope       int64 // Scope.Ref
	Begin, End  time.Time
	State       State
	Attempts    int
	NextAttempt time.Time // while it is due or failed
	Points      int
	Unpriced    int // points that no rule priced
	Amount      money.Decimal
	Config      int64 // versions of the metric configuration and the rules that made it; 0: none did yet
	Rules       int64
	Took        time.Duration
	Finished    time.Time
	Error       string // why the last attempt failed
	Task        *int64 // what a done or empty window waits for: a task, or 0 for its late re-check; nil: nothing
	RedoneBy    int64  // the task that did it last; 0: none
	Accepted    bool   // an operator said that metrics without any sample are no failure here
	WaivedBy    string // who waived it, and why
	WaivedFor   string
}

// WindowSelection selects windows of the ledger by scope and begin.
type WindowSelection struct {
	Scopes []int64 // Scope.Ref; empty: of all scopes
	Range  period.Range
}

// WindowDetail is everything that is known of one window.
type WindowDetail struct {
	Window
	Scope         *Scope
	SourceVersion string    // of the server that answered
	LeasedBy      string    // who works on the scope; empty: nobody
	LeasedUntil   time.Time // unless renewed
	Before, After time.Time // begin of the scope's window before and of the one after it; zero: there is none
	Metrics       []WindowMetric
	Findings      []Finding // Scope and Window are not set
	Superseded    []Superseded
}

// WindowMetric sums a window's charges of one metric.
type WindowMetric struct {
	Metric string
	Unit   string
	Points int
	Qty    money.Decimal
	Amount money.Decimal
}

// Superseded sums charges of a window that were replaced together, and stay readable.
type Superseded struct {
	At            time.Time
	Task          int64 // that replaced them; 0: none, the window was committed again
	Config, Rules int64 // versions that had made them
	Points        int
	Amount        money.Decimal
}

// Coverage counts a scope's windows by state in one stretch of time.
type Coverage struct {
	Scope  int64     // Scope.Ref
	Cell   int       // index into the stretches asked for
	First  time.Time // begin of the first of the windows
	Counts [Empty + 1]int
	Again  int // of the done and empty ones, those that wait for a task or a re-check
	Redone int // those that a task or re-check has replaced
}

// UnpricedUsage is usage of a metric that no rule priced.
type UnpricedUsage struct {
	Metric      string
	Points      int64
	Scopes      int
	First, Last time.Time // begin of the first and last window it was noticed in
}
