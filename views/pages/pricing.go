package pages

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/views/components"
	"ratebook/views/format"
)

// PriceWords says rules in words: in the billing zone, the currency, and the units of the metrics.
type PriceWords struct {
	Zone     *time.Location
	Currency string
	Period   time.Duration     // of a window
	Units    map[string]string // by metric; missing where unknown
	Scopes   map[string]string // names by the scope's id; missing where it has none
	Now      time.Time
}

// RuleRow is a rule in a list.
type RuleRow struct {
	rating.Rule
	Replaced bool // valid now, but a later one of its kin counts
}

// Unit returns the unit of a metric's quantity, or "unit".
func (w *PriceWords) Unit(metric string) string {
	if unit := w.Units[metric]; unit != "" {
		return unit
	}
	return "unit"
}

// Applies says which points of its metric a rule applies to.
func (w *PriceWords) Applies(r *rating.Rule) string {
	switch {
	case r.Kind == rating.Threshold && r.Field != "":
		return r.Field + " ≥ " + format.Exact(r.Level)
	case r.Kind == rating.Threshold:
		return "quantity ≥ " + format.Exact(r.Level) + " " + w.Unit(r.Service)
	case r.Field != "":
		return r.Field + " = " + visible(r.Value)
	}
	return "every point"
}

// condition is Applies for a list that has the attribute in a heading.
func (w *PriceWords) condition(r *rating.Rule) string {
	return strings.TrimPrefix(w.Applies(r), r.Field+" ")
}

// visible quotes a text whose ends could not be seen.
func visible(s string) string {
	if strings.TrimSpace(s) != s {
		return "“" + s + "”"
	}
	return s
}

// Usage names what a rule applies to: the metric and which of its points.
func (w *PriceWords) Usage(r *rating.Rule) string { return r.Service + ", " + w.Applies(r) }

// Cost says a rule's cost with what it is per, such as "0.035 EUR per vcpu" or "× 1.15".
func (w *PriceWords) Cost(r *rating.Rule) string {
	if r.Type == rating.Rate {
		return "× " + format.Exact(r.Cost)
	}
	return format.Exact(r.Cost) + " " + w.Per(r)
}

// Per says what the cost of a flat rule is per, such as "EUR per vcpu". A flat threshold of the metric itself is an
// amount per data point, whatever the quantity.
func (w *PriceWords) Per(r *rating.Rule) string { return w.Currency + " per " + w.per(r) }

func (w *PriceWords) per(r *rating.Rule) string {
	if r.Kind == rating.Threshold && r.Field == "" {
		return "data point"
	}
	return w.Unit(r.Service)
}

// Scope names who a rule is for.
func (w *PriceWords) Scope(id string) string {
	switch name := w.Scopes[id]; {
	case id == "":
		return "every scope"
	case name != "":
		return name
	}
	return id
}

// PriceGroup names a rule's group.
func PriceGroup(name string) string {
	if name == "" {
		return "default"
	}
	return name
}

// At says an instant in the billing zone, the first of a day as the day.
func (w *PriceWords) At(t time.Time) string {
	if period.Day.Start(t, w.Zone).Equal(t) {
		return format.Day(t, w.Zone)
	}
	return format.Time(t, w.Zone)
}

// Exactly says an instant with its time and the zone.
func (w *PriceWords) Exactly(t time.Time) string {
	return format.Time(t, w.Zone) + " " + w.Zone.String()
}

// Validity says when a rule applies, such as "since 1 Jan 2026" or "from 22 Nov 2026 until 1 Dec 2026".
func (w *PriceWords) Validity(r *rating.Rule) string {
	var parts []string
	switch {
	case r.Start.IsZero() && r.End.IsZero():
		return "always"
	case r.Start.IsZero():
	case r.Start.After(w.Now) || !r.End.IsZero():
		parts = append(parts, "from "+w.At(r.Start))
	default:
		parts = append(parts, "since "+w.At(r.Start))
	}
	if !r.End.IsZero() {
		parts = append(parts, "until "+w.At(r.End))
	}
	return strings.Join(parts, " ")
}

// Sentence says a rule in one sentence.
func (w *PriceWords) Sentence(r *rating.Rule) string {
	return w.Usage(r) + ": " + w.Cost(r) + ", group " + PriceGroup(r.Group) + ", for " + w.Scope(r.Scope) + ", " + w.Validity(r)
}

// Begun reports whether a rule has begun to apply.
func (w *PriceWords) Begun(r *rating.Rule) bool { return !r.Start.After(w.Now) }

// Ended reports whether a rule does not apply any more.
func (w *PriceWords) Ended(r *rating.Rule) bool { return !r.End.IsZero() && !r.End.After(w.Now) }

// State says how a rule is now.
func (w *PriceWords) State(r *RuleRow) (components.State, string) {
	switch {
	case !w.Begun(&r.Rule):
		return components.Neutral, "from " + w.At(r.Start)
	case w.Ended(&r.Rule):
		return components.Neutral, "ended " + w.At(r.End)
	case r.Replaced:
		return components.Neutral, "replaced by a later one"
	}
	return components.OK, "valid"
}

// Valid says for a list when a rule applies, and how it is now if it does not count.
func (w *PriceWords) Valid(r *RuleRow) (components.State, string) {
	state, text := w.State(r)
	switch {
	case w.Begun(&r.Rule) && w.Ended(&r.Rule):
		text = w.Validity(&r.Rule) + ": ended"
	case state == components.OK || !w.Begun(&r.Rule):
		text = w.Validity(&r.Rule)
	default:
		text = w.Validity(&r.Rule) + ": " + text
	}
	return state, text
}

// rowClass greys a row whose rule does not count now.
func (w *PriceWords) rowClass(r *RuleRow) string {
	if state, _ := w.State(r); state != components.OK {
		return "gone"
	}
	return ""
}

// Example says what a quantity of one costs in one window by a flat rule alone, such as "1 vcpu in a window of 1 h".
func (w *PriceWords) Example(r *rating.Rule) string {
	if r.Kind == rating.Threshold && r.Field == "" {
		return "a data point in a window of " + format.Duration(w.Period)
	}
	return "1 " + w.Unit(r.Service) + " in a window of " + format.Duration(w.Period)
}

// Aside is what stands beside the heading of a page with prices.
func (w *PriceWords) Aside() string {
	return "costs in " + w.Currency + " for each window of " + format.Duration(w.Period) + ", times in " + w.Zone.String()
}

// Effect is what saving a form will do.
type Effect struct {
	What          string // the example that Before and After are about; empty: none
	Before, After string // what it costs without and with the change; no Before: a new rule, no After: not known yet
	Change        string // in per cent; may be empty
	Lines         []string
}

// Begins says what a rule that begins at start touches; zero: all windows.
func (w *PriceWords) Begins(start time.Time) []string {
	const stay = "Charges already made stay as they are."
	switch {
	case start.IsZero():
		return []string{"Applies to every window that is not rated yet, however old. " + stay}
	case start.After(w.Now):
		return []string{"Applies to windows from " + w.Exactly(start) + " on. " + stay}
	}
	return []string{
		"Applies to windows from " + w.Exactly(start) + " on, which is in the past. " + stay +
			" Of the windows since then only those that are not rated yet take this price.",
	}
}

// NewEffect says what adding a rule will do, or putting it in the place of another.
func (w *PriceWords) NewEffect(r *rating.Rule) Effect {
	e := Effect{Lines: w.Begins(r.Start)}
	if r.Type == rating.Flat {
		e.What, e.After = w.Example(r), format.Exact(r.Cost)+" "+w.Currency
	} else {
		e.What, e.After = "the price of the group "+PriceGroup(r.Group), "× "+format.Exact(r.Cost)
	}
	if !r.End.IsZero() {
		e.Lines = append(e.Lines, "Ends at "+w.Exactly(r.End)+": the window that begins then is not priced by it any more.")
	}
	if r.Scope != "" {
		e.Lines = append(e.Lines, "Only for "+w.Scope(r.Scope)+", in place of a rule for every scope that is otherwise the same.")
	}
	return e.warned(r)
}

// warned adds what the rules' semantics, which are CloudKitty's, make of a cost or level below 0.
func (e Effect) warned(r *rating.Rule) Effect {
	if r.Kind == rating.Mapping && r.Type == rating.Flat && r.Cost.Sign() < 0 {
		e.Lines = append(e.Lines, "A flat cost below 0 counts as 0.")
	}
	if r.Kind == rating.Threshold && r.Level.Cmp(money.New(-1, 0)) <= 0 {
		e.Lines = append(e.Lines, "A threshold with a level of −1 or below never applies.")
	}
	return e
}

// ChangeEffect says what changing a rule's price from an instant on will do; scopes have rules in its place that stay.
func (w *PriceWords) ChangeEffect(r *rating.Rule, at time.Time, t rating.Type, cost money.Decimal, scopes int) Effect {
	next := *r
	next.Type, next.Cost = t, cost
	e := Effect{What: w.Example(r), Before: w.Cost(r), After: w.Cost(&next)}
	if r.Type == next.Type {
		e.Change = format.Change(r.Cost, cost)
	}
	if r.Type == rating.Flat && t == rating.Flat {
		e.Before, e.After = format.Exact(r.Cost), format.Exact(cost)+" "+w.Currency
	} else {
		e.What = w.Usage(r)
	}
	e.Lines = w.Begins(at)
	if !at.IsZero() {
		e.Lines = append(e.Lines, "Windows before that keep the present price: "+w.Cost(r)+".")
	}
	if !r.End.IsZero() {
		e.Lines = append(e.Lines, "The new price ends when the present one would have: at "+w.Exactly(r.End)+".")
	}
	if scopes > 0 {
		scope := "scopes have rules of their own"
		if scopes == 1 {
			scope = "scope has a rule of its own"
		}
		e.Lines = append(e.Lines, format.Count(int64(scopes))+" "+scope+" in place of this one and keep their price.")
	}
	return e.warned(&next)
}

// RuleGroup is the rules of a metric, or of one of its attributes.
type RuleGroup struct {
	Service, Field string
	Rules          []RuleRow
}

// RuleFilter is what a list of rules is narrowed to, as typed.
type RuleFilter struct {
	Metric, Scope, Text string
	On                  string // a day
	Error               string // what is wrong with the day
}

// Empty reports whether nothing is left out.
func (f RuleFilter) Empty() bool { return f == RuleFilter{} }

// Query returns the filter as a query.
func (f RuleFilter) Query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"metric": f.Metric, "scope": f.Scope, "text": f.Text, "on": f.On} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// RuleList is the page of all rules.
type RuleList struct {
	Words     PriceWords
	Filter    RuleFilter
	Metrics   []components.Option
	Scopes    []components.Option
	Unpriced  []metering.UnpricedUsage // of the last days
	Days      int
	NoRules   []string // metrics that no rule prices
	Groups    []RuleGroup
	Any       bool // whether there are rules at all
	Pages     components.Pages
	MayChange bool
	Off       bool // the module that reads these rules is disabled
}

// RuleView is the page of one rule.
type RuleView struct {
	Words     PriceWords
	Rule      RuleRow
	Twins     []RuleRow // with the rule itself
	Others    []RuleRow // of other scopes
	Changes   []ChangeRow
	MayChange bool
}

// SavePlace is what every form about rules carries besides its fields.
type SavePlace struct {
	Version int64             // of the rules that it was made from
	Message string            // why it was not saved
	Changed []string          // what somebody else changed meanwhile
	Errors  components.Errors // by field
	Clash   *rating.Rule      // that is in the way
}

// RuleForm is the form of a new rule, or of one that has not begun.
type RuleForm struct {
	SavePlace
	Words   PriceWords
	Path    string // where it goes
	Back    string // where leaving it goes
	Save    string // the words on the button
	Form    rating.Form
	Other   string // the name of a metric that is not offered
	Metrics []components.Option
	Scopes  []components.Option
	Fields  []string // suggestions
	Values  []string
	Groups  []string
	Effect  *Effect // nil: not known yet
}

// PriceChange is the form for another price from a date on.
type PriceChange struct {
	SavePlace
	Words  PriceWords
	Rule   rating.Rule
	Form   rating.Form // of which type, cost, start, name and description count
	Effect *Effect
}

// RuleEnd is the form for the end of a rule.
type RuleEnd struct {
	SavePlace
	Words PriceWords
	Rule  rating.Rule
	End   string // as typed
}

// RuleDelete asks whether a rule shall go.
type RuleDelete struct {
	SavePlace
	Words PriceWords
	Rule  rating.Rule
}

// RuleEffect is the name of the fragment that says what saving a form will do, and the id of its element.
const RuleEffect = "rule-effect"

func rulePath(id string) string { return "/pricing/rules/" + url.PathEscape(id) }

// timeType returns the type of a field that takes the text: a date and time field takes only what it writes itself.
func timeType(text string) string {
	if _, err := time.Parse("2006-01-02T15:04", text); text == "" || err == nil {
		return "datetime-local"
	}
	return "text"
}

// timeHelp adds the zone to the help of a time field and, where clocks are changed, what becomes of the hours in question.
func timeHelp(w *PriceWords, help string) string {
	help += " Times are " + w.Zone.String()
	year := period.Date(w.Now, w.Zone).Year()
	_, winter := time.Date(year, 1, 1, 0, 0, 0, 0, w.Zone).Zone()
	_, summer := time.Date(year, 7, 1, 0, 0, 0, 0, w.Zone).Zone()
	if winter == summer {
		return help + "."
	}
	return help + "; of an hour that clocks show twice the first is meant, and of one that they skip the moment they do."
}

// costUnit is what stands behind a cost.
func (f *RuleForm) costUnit() string {
	if f.Form.Type == string(rating.Rate) {
		return "as a factor"
	}
	r := rating.Rule{Kind: rating.Kind(f.Form.Kind), Service: f.Form.Service, Field: f.Form.Field}
	return f.Words.Per(&r)
}

// more reports whether a field that is folded away is filled in or wrong.
func (f *RuleForm) more() bool {
	for _, name := range []string{"kind", "level", "type", "group", "scope", "end", "other", "name", "description"} {
		if f.Errors[name] != "" {
			return true
		}
	}
	form := &f.Form
	return form.Kind != string(rating.Mapping) || form.Type != string(rating.Flat) ||
		form.Level+form.Group+form.Scope+form.End+f.Other+form.Name+form.Description != ""
}

func (p *PriceChange) costUnit() string {
	if p.Form.Type == string(rating.Rate) {
		return "as a factor"
	}
	return p.Words.Per(&p.Rule)
}

// typeOptions offers the types of a rule.
func typeOptions() []components.Option {
	return []components.Option{{Value: string(rating.Flat), Label: "flat: an amount per unit"}, {Value: string(rating.Rate), Label: "rate: a factor"}}
}

// kindOptions offers the kinds of a rule.
func kindOptions() []components.Option {
	return []components.Option{
		{Value: string(rating.Mapping), Label: "mapping: by value, or every data point"},
		{Value: string(rating.Threshold), Label: "threshold: from a level on"},
	}
}

// WithOption returns the options with one for the value, if it is not among them.
func WithOption(options []components.Option, value string) []components.Option {
	if slices.ContainsFunc(options, func(o components.Option) bool { return o.Value == value }) {
		return options
	}
	return append(slices.Clip(options), components.Option{Value: value, Label: value})
}
