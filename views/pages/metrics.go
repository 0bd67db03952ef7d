package pages

import (
	"strings"
	"time"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/views/components"
)

// MetricList is the page of all metrics.
type MetricList struct {
	Month, Currency string
	Column          string // the month as a heading
	Zone            *time.Location
	Rows            []MetricRow
	Total           money.Decimal

	CostsFailure, RulesFailure, SamplesFailure *Failure
}

// MetricRow is a metric in the list, with its configurations.
type MetricRow struct {
	Name, Path string
	Configs    []*metering.Metric // none: it is not configured any more
	Rules      int                // that price it now, or will
	RulesPath  string
	Cost       money.Decimal
	CostsPath  string
	First      time.Time // begin of the first window it was seen in; zero: never
}

// Metric is the page of one metric.
type Metric struct {
	Name            string
	Configs         []*metering.Metric
	Month, Currency string
	Zone            *time.Location
	Charged         bool
	Total           money.Decimal
	CostsPath       string
	Chart           components.Chart
	ByDay           Days
	Rules           []components.Link // the first of them
	RulesCount      int
	RulesPath       string
	First           time.Time

	CostsFailure, RulesFailure, SamplesFailure *Failure
}

// conversion says what becomes of a measured quantity, such as "× 1/3600 + 0.5, rounded up".
func conversion(m *metering.Metric) string {
	text := "× " + m.Factor.String()
	if !m.Offset.Equal(money.Ratio{}) {
		offset := m.Offset.String()
		if positive, negative := strings.CutPrefix(offset, "-"); negative {
			text += " − " + positive
		} else {
			text += " + " + offset
		}
	} else if m.Factor.Equal(money.One) {
		text = "as it is"
	}
	if words := mutationWords[m.Mutate]; words != "" {
		text += ", " + words
	}
	return text
}

var mutationWords = map[metering.Mutation]string{
	metering.NumBool: "1 unless it is 0", metering.NotNumBool: "1 if it is 0, else 0",
	metering.Floor: "rounded down", metering.Ceil: "rounded up", metering.Map: "by a table",
}

// attributes lists names, or says that there are none.
func attributes(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// orDefault says what a setting is if it is not set.
func orDefault(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
