package metering

import (
	"time"

	"ratebook/money"
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
	Error       string
}

// UnpricedUsage is usage of a metric that no rule priced.
type UnpricedUsage struct {
	Metric      string
	Points      int64
	Scopes      int
	First, Last time.Time // begin of the first and last window it was noticed in
}
