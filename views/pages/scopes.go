package pages

import (
	"slices"
	"strconv"
	"time"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/views/components"
)

// ScopesTable is the name of the fragment that holds the table of scopes, and the id of its element.
const ScopesTable = "scopes"

// ScopeList is the page of all scopes that one may see.
type ScopeList struct {
	Q, State, Sort     string // as asked
	Own                bool   // a tenant looks at its own scopes
	Sources            bool   // whether there is more than one source
	Month              string // in words
	Currency           string
	Zone               *time.Location
	Headings           []components.Sorted
	Rows               []ScopeRow
	All, Matching      int
	Page               int
	Total, TotalBefore money.Decimal    // of all scopes, whatever is searched
	Failure            *Failure         // of the costs
	Pages              components.Pages `json:"-"`
}

// ScopeRow is a scope in the list.
type ScopeRow struct {
	Name, ID, Source string
	Twin             bool // another scope has the same name, so the id is shown
	Path             string
	Shared           string // why its costs stand elsewhere; empty: they stand here
	Cost, CostBefore money.Decimal
	Processing       Processing
}

// Scope is the page of one scope.
type Scope struct {
	Scope      metering.Scope
	Processing Processing
	PlannedTo  time.Time
	Due        int
	Same       []components.Link // other scopes of the same id
	Currency   string
	Zone       *time.Location

	Month, CostsPath   string
	Before, BeforePath string
	Charged            bool // whether there are costs at all
	Total              money.Decimal
	Metrics            []ScopeMetric
	CostsFailure       *Failure

	Windows        []ScopeWindow
	WindowsFailure *Failure
}

// ScopeMetric is what a scope's usage of one metric costs.
type ScopeMetric struct {
	Name, Path string
	Cost       money.Decimal
	Course     []money.Decimal // by day
}

// ScopeWindow is a window of the ledger.
type ScopeWindow struct {
	metering.Window
	Range string
	Badge components.State
	Text  string
	Known bool // whether its points and amount are
	Took  string
}

// Errors reports whether any of the windows has one.
func (v *Scope) Errors() bool {
	return slices.ContainsFunc(v.Windows, func(w ScopeWindow) bool { return w.Error != "" })
}

// scopeStates are what the list of scopes can be narrowed to.
func scopeStates() []components.Option {
	return []components.Option{
		{Value: "", Label: "all"},
		{Value: "up-to-date", Label: "up to date"},
		{Value: "lagging", Label: "lagging"},
		{Value: "failed", Label: "failed"},
		{Value: "inactive", Label: "inactive"},
	}
}

// versions says which configuration and rules made a window.
func versions(w *ScopeWindow) string {
	return "metrics version " + strconv.FormatInt(w.Config, 10) + ", rules version " + strconv.FormatInt(w.Rules, 10)
}

// clipped returns the begin of a long id, such as 5e0b7d49… of a UUID.
func clipped(id string) string {
	const most, kept = 16, 8
	if letters := []rune(id); len(letters) > most {
		return string(letters[:kept]) + "…"
	}
	return id
}
