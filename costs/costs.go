// Package costs is the domain of reports: what a report asks (range, filters, groups, buckets), from which stored sums it
// can be answered, and how sums are grouped into rows. It is pure. All sums are exact, so every grouping of one range and
// filter adds up to the same amount, whichever sums it was made from.
package costs

import (
	"time"

	"ratebook/money"
	"ratebook/period"
)

// The groups and filter keys that are not attributes.
const (
	Scope     = "scope"      // the scope's id
	ScopeName = "scope_name" // its name; empty if it has none
	Metric    = "metric"
	Unit      = "unit"
)

// Query is a report's question.
type Query struct {
	Range   period.Range // selects charges by their begin
	Bucket  period.Bucket
	Groups  []string // Scope, ScopeName, Metric, Unit, or an attribute's name
	Filters []Filter // all must hold

	// Windows asks for a bucket for each distinct begin of charges, up to the end of the longest of these; Bucket must be
	// Whole. Its rows say nothing of units: they are Mixed, and have AllQty.
	Windows bool

	// Extremes asks for the least and the largest quantity and cost of the charges of each row.
	Extremes bool
}

// Filter keeps the charges whose Key has one of Values. A missing attribute has the empty value.
type Filter struct {
	Key    string
	Values []string
}

// Row is one line of a report's answer.
type Row struct {
	Begin, End time.Time     // the bucket, cut to the range; the whole range without buckets
	Groups     []string      // values in the order asked; a missing attribute is empty
	Unit       string        // empty if the row mixes units
	Qty        money.Decimal // meaningless if Mixed
	Mixed      bool          // whether the row mixes units
	AllQty     money.Decimal // the sum over all units, as CloudKitty has it
	Cost       money.Decimal
	Points     int64

	Extremes // of single charges; only if the query asks for them
}

// Extremes are the least and the largest quantity and cost of some charges.
type Extremes struct {
	MinQty, MaxQty, MinCost, MaxCost money.Decimal
}

// ExtremesOf returns those of a single charge.
func ExtremesOf(qty, cost money.Decimal) Extremes { return Extremes{qty, qty, cost, cost} }

// Widen makes e those of other charges, too.
func (e *Extremes) Widen(o *Extremes) {
	if o.MinQty.Cmp(e.MinQty) < 0 {
		e.MinQty = o.MinQty
	}
	if o.MaxQty.Cmp(e.MaxQty) > 0 {
		e.MaxQty = o.MaxQty
	}
	if o.MinCost.Cmp(e.MinCost) < 0 {
		e.MinCost = o.MinCost
	}
	if o.MaxCost.Cmp(e.MaxCost) > 0 {
		e.MaxCost = o.MaxCost
	}
}
