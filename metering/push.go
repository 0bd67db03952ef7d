package metering

import (
	"time"

	"ratebook/money"
)

// PushSource is the name and kind of the source that scopes of pushed data points have. It has no windows: nothing is
// collected from it, and tasks and resets leave it alone.
const PushSource = "push"

// UndefinedScope is the scope of pushed points that don't name one. Only who reads every scope sees them.
const UndefinedScope = "__UNDEF__"

// Push is a request that brings data points from outside. All of it is stored, or nothing.
type Push struct {
	Author      string
	Idempotency string   // with the author, what makes a repeat harmless; empty: every request counts
	Digest      [32]byte // of the request's content
	Rules       int64    // the version of the rules that priced the points; 0: the prices came with them
	Frames      []PushedFrame
}

// PushedFrame is what was used from Begin to End, whole seconds apart: any period, and no grid.
type PushedFrame struct {
	Begin, End time.Time
	Points     []PushedPoint
}

// PushedPoint is a rated data point. The values of attributes are texts, or, where Literal says so, other JSON values in
// their own spelling: 4, true, null, {"a":1}. They come back as they came.
type PushedPoint struct {
	Scope    string // its scope's id, or UndefinedScope
	Metric   string
	Unit     string
	Qty      money.Decimal // at most [money.QtyPlaces] decimals
	Price    money.Decimal // at most [money.PricePlaces] decimals
	Groupby  Attributes    // without the scope key
	Metadata Attributes
	Literals []string // names of the attributes whose values are not texts; sorted; none is in both Groupby and Metadata
}

// Pushed says what became of a Push.
type Pushed struct {
	ID       int64
	Points   int
	Repeated bool // it had come before, and nothing was stored now
}

// PushRequest is a request that brought data points, as it is remembered.
type PushRequest struct {
	ID          int64
	At          time.Time // when it was stored
	Author      string
	Idempotency string
	Frames      int
	Points      int
	Amount      money.Decimal
	Rules       int64     // the version of the rules that priced the points; 0: the prices came with them
	First, Last time.Time // begins of its first and last points; zero if it has none
}
