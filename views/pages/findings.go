package pages

import (
	"time"

	"ratebook/metering"
	"ratebook/views/components"
)

// FindingsTable is the name of the fragment that holds the findings, and the id of its element.
const FindingsTable = "findings"

// FindingList is the page of what was noticed about usage.
type FindingList struct {
	Kind     string // as asked; empty: all kinds
	Range    string // as asked; empty: the days of From and To
	Ranges   []components.Option
	From, To string // days, in UTC
	Days     string // in words
	Zone     *time.Location
	Groups   []FindingGroup // those on this page
	Wider    *components.Link
	Pages    components.Pages `json:"-"`

	FromProblem, ToProblem string // with the days as typed
}

// FindingGroup is the findings of one kind.
type FindingGroup struct {
	Kind metering.FindingKind
	Rows []FindingRow
}

// FindingRow is a finding, summed over scopes and days.
type FindingRow struct {
	metering.FindingSum
	ID         string // names it in addresses
	MetricPath string
	Mend       components.Link
	Path       string // opens it, or closes it
	Open       bool
	Parts      []FindingPart // of the first scopes, if it is open
	More       int           // scopes besides
	Configured bool          // it is about the configuration: there is nothing to count
	NoRule     bool          // the metric has none now, so there is no value that rules look at
}

// FindingPart is what a scope has of a finding.
type FindingPart struct {
	metering.FindingScope
	Name, ID, Path string
	Twin           bool // another scope has the same name, so the id is shown
}

// FindingKinds are the kinds of findings in the order of the page, those that cost money first.
var FindingKinds = []metering.FindingKind{
	metering.Unpriced, metering.NotNumeric, metering.RoundedToNil, metering.Skipped, metering.SourceNote, metering.LabelClash, metering.SeriesGrowth,
}

// findingWords says what a kind of finding is, and what follows from it.
func findingWords(kind metering.FindingKind) (title, text string) {
	switch kind {
	case metering.Unpriced:
		return "No rule priced it", "These points cost 0. The value is what rules of the metric look at: none of them matched, or the metric has none."
	case metering.NotNumeric:
		return "The value is no number", "Thresholds on the attribute were passed over."
	case metering.RoundedToNil:
		return "The price rounded to 0", "Rules price these points with less than the smallest amount that is stored."
	case metering.Skipped:
		return "The sample is no quantity", "It was left out: NaN, infinite and histograms can't be charged."
	case metering.SourceNote:
		return "The source remarked something", "It answered the query, and added this."
	case metering.LabelClash:
		return "The label's name means something else", "This is how metrics are configured now, whatever the days asked for."
	case metering.SeriesGrowth:
		return "Many series are new", "They are more than a tenth of a day's points: a label that changes all the time makes the database grow."
	}
	return string(kind), ""
}

func findingKindOptions() []components.Option {
	all := []components.Option{{Label: "all"}}
	for _, kind := range FindingKinds {
		title, _ := findingWords(kind)
		all = append(all, components.Option{Value: string(kind), Label: title})
	}
	return all
}

// nothingNoticed is the title of an empty list.
func nothingNoticed(v *FindingList) string {
	if v.Kind == "" {
		return "Nothing was noticed on " + v.Days
	}
	return "Nothing of this kind was noticed on " + v.Days
}
