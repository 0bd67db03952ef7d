package demo

import (
	"bytes"
	_ "embed" // the files
	"slices"
	"time"
)

//go:embed metrics.yml
var metricsFile []byte

//go:embed rules.yml
var rulesFile []byte

// thisMonth stands in rules.yml for the first day of the month.
const thisMonth = "THIS_MONTH"

// Metrics returns the metrics that the source measures, as a file for [metering.ParseMetrics].
func Metrics() []byte { return slices.Clone(metricsFile) }

// Rules returns prices for what the source measures, as a rules file. Some prices changed at the beginning of now's month,
// by the calendar of now's zone; it should be the billing zone. In one month all rules are the same.
func Rules(now time.Time) []byte {
	return bytes.ReplaceAll(rulesFile, []byte(thisMonth), []byte(now.Format("2006-01")+"-01"))
}
