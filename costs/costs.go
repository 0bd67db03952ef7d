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
	Cost       money.Decimal
	Points     int64
}
