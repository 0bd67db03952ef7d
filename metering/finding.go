package metering

import "time"

// SeriesGrowth is the kind of finding that is not about points: a metric has many series that are new. It is not recorded
// with windows, but read from how many series there are.
const SeriesGrowth FindingKind = "series_growth"

// OtherValues is the detail of findings that are too many to be told apart.
const OtherValues = "other values"

// FindingSum is what was noticed in the same words, of all scopes and windows together.
type FindingSum struct {
	Kind        FindingKind
	Metric      string
	Detail      string
	Windows     int64 // of all scopes together
	Points      int64
	Scopes      int       // on the day that has most
	First, Last time.Time // begin of the first and last UTC day it was noticed on
}

// FindingScope is the part of a FindingSum that one scope has.
type FindingScope struct {
	Scope       int64 // Scope.Ref
	Windows     int64
	Points      int64     // for SeriesGrowth: series that are new
	First, Last time.Time // begin of the first and last window; for SeriesGrowth of the day
}

// GrowthDay is a UTC day on which a metric had remarkably many new series: at least MinNewSeries, and more than a tenth of
// its points. Identifiers that change all the time, such as that of a process among the labels, are the usual reason.
type GrowthDay struct {
	Metric string
	Day    time.Time // its begin
	Series int64     // that are new
	Points int64     // of the billing day that has most of the UTC day
	Scopes int       // that have new series
}

// MinNewSeries is the fewest new series of a metric and day that are worth a word.
const MinNewSeries = 100
