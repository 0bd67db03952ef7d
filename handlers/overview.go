package handlers

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/costs"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/views/components"
	"ratebook/views/format"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// scopeStates tells how far the scopes are processed.
type scopeStates interface {
	ScopeStates(ctx context.Context) ([]metering.ScopeState, error)
}

// catalogue is what is configured: version 0 is the latest.
type catalogue interface {
	Configuration(ctx context.Context, version int64) (*metering.Configuration, error)
	Rules(ctx context.Context, version int64) (*rating.Rules, error)
}

// OverviewStore is what the overview needs of the store.
type OverviewStore interface {
	costSums
	scopeStates
	catalogue
	Unpriced(ctx context.Context, r period.Range) ([]metering.UnpricedUsage, error)
}

// Overview is the first page.
type Overview struct {
	store  OverviewStore
	sums   sums
	cal    calendar
	log    *slog.Logger
	notice struct {
		sync.Mutex
		line *layout.Notice
		asof time.Time
	}
}

// NewOverview returns the area. waitPeriods is how many periods after a window's begin it is due.
func NewOverview(store OverviewStore, settings *metering.Settings, waitPeriods int, now func() time.Time, log *slog.Logger) *Overview {
	return &Overview{store: store, sums: sums{store: store}, cal: calendar{settings, waitPeriods, now}, log: log}
}

// Routes says what the area answers.
func (h *Overview) Routes(r *web.Router) {
	r.Tenant.GET("/", h.Show)
}

// How much the overview shows.
const (
	topScopes     = 10
	topUnpriced   = 5
	chartedSeries = 8 // as there are colours
	unpricedSince = 7 // days
)

// Show is the page. Each of its parts is read, and can fail, on its own.
func (h *Overview) Show(c echo.Context) error {
	ctx, user := c.Request().Context(), web.User(c)
	m := h.cal.month()
	v := &pages.Overview{
		Month: format.Range(m.Begin, m.End, h.cal.Zone), Currency: h.cal.Currency, Zone: h.cal.Zone, Own: !user.ReadsAll(),
	}
	states, err := h.store.ScopeStates(ctx)
	if err != nil {
		v.LedgerFailure = failed(ctx, h.log, "The state of processing can't be read", err, "/")
	} else {
		states = h.cal.seen(user, states)
		v.Ledger = h.ledger(states)
	}
	h.costs(ctx, v, user, m, states)
	if user.ReadsAll() {
		h.steps(ctx, v, user, states)
		h.unpriced(ctx, v)
	}
	if err := ctx.Err(); err != nil { // nobody waits for a page of failures
		return err
	}
	if v.CostsFailure == nil && v.LedgerFailure == nil && v.StepsFailure == nil && v.UnpricedFailure == nil {
		version, err := digest(v)
		if err != nil {
			return err
		}
		if web.NotModified(c, version) {
			return nil
		}
	}
	return web.Page(c, http.StatusOK, layout.Page{
		Title: "Overview", Area: layout.Overview, Aside: "amounts in " + h.cal.Currency + ", times in " + h.cal.Zone.String(),
	}, pages.OverviewPage(v))
}

// costs fills in the month's costs. states may be nil if they could not be read.
func (h *Overview) costs(ctx context.Context, v *pages.Overview, user *access.User, m period.Range, states []metering.ScopeState) {
	filters, some := ownCosts(user)
	if !some {
		v.Nothing = &pages.Nothing{Title: "No scope is yours yet", Text: "An administrator says which scopes you may see; their costs are shown here then."}
		return
	}
	until := earlier(h.cal.horizon(), m.End)
	if states != nil {
		until = reached(states, m)
	}
	same := h.cal.samePoint(m, until)
	questions := []*costs.Query{
		// by metric and by scope apart, since scope, metric and day together make a row for each
		{Range: m, Bucket: period.Day, Groups: []string{costs.Metric}, Filters: filters},
		{Range: m, Groups: []string{costs.Scope}, Filters: filters},
	}
	if !same.Empty() {
		questions = append(questions, &costs.Query{Range: same, Filters: filters})
	}
	answers, err := h.sums.reports(ctx, questions...)
	if err != nil {
		v.CostsFailure = failed(ctx, h.log, "The costs can't be read", err, "/")
		return
	}
	byMetric, byScope, before := answers[0], answers[1], &sumsAnswer{}
	if !same.Empty() {
		before = answers[2]
	}
	if byMetric.total.Points == 0 {
		v.Nothing = h.nothing(m, user)
		return
	}
	v.Complete = until.Equal(m.End)
	total := byMetric.total.Cost
	o := &pages.OverviewCosts{Total: total, Path: h.cal.costsPath(m, "", costs.Metric), Same: before.total.Cost}
	if states != nil {
		o.Until = until
	}
	if !same.Empty() {
		o.Range, o.Before = format.Range(m.Begin, until, h.cal.Zone), format.Range(same.Begin, same.End, h.cal.Zone)
		o.Days = format.Range(same.Begin, period.Day.Next(same.End.Add(-time.Second), h.cal.Zone), h.cal.Zone)
		o.Change = changeOf(before.total.Cost, total)
	}
	o.Chart, o.ByDay = h.cal.byDay(byMetric, m, "Costs by day and metric")
	amounts := byMetric.by(0)
	for _, name := range dearest(amounts) {
		o.Metrics = append(o.Metrics, pages.Line{Name: name, Path: h.cal.costsPath(m, "metric="+name, costs.Scope), Cost: amounts[name]})
	}
	amounts = byScope.by(0)
	named := shared(scopesOf(states))
	o.All, o.AllPath = len(amounts), h.cal.costsPath(m, "", costs.Scope)
	for _, id := range first(dearest(amounts), topScopes) {
		o.Scopes = append(o.Scopes, h.cal.scopeLine(id, amounts[id], m, states, named))
	}
	v.Costs = o
}

// scopeLine leads to a scope's page, if it is known. Named are the names that several scopes have.
func (c *calendar) scopeLine(id string, cost money.Decimal, m period.Range, states []metering.ScopeState, named map[string]bool) pages.Line {
	l := pages.Line{Name: id, Path: c.costsPath(m, "scope="+id, costs.Metric), Cost: cost}
	for i := range states {
		if s := states[i].Scope; s.ID == id {
			l.Path = scopePath(s)
			if s.Name != "" {
				l.Name, l.Detail, l.Twin = s.Name, s.ID, named[s.Name]
			}
			break
		}
	}
	return l
}

// nothing says that nothing is charged yet.
func (h *Overview) nothing(m period.Range, user *access.User) *pages.Nothing {
	before := h.cal.monthBefore(m)
	n := &pages.Nothing{
		Title: "Nothing is charged in " + format.Range(m.Begin, m.End, h.cal.Zone) + " yet",
		Text:  "Costs appear as soon as the first windows are processed.",
		Next: []components.Link{
			{Label: "Costs of " + format.Range(before.Begin, before.End, h.cal.Zone), Path: h.cal.costsPath(before, "", costs.Metric)},
		},
	}
	if user.ReadsAll() {
		n.Next = append(n.Next, components.Link{Label: "Scopes and their processing", Path: "/scopes"})
	}
	return n
}

// ledger sums up how far the scopes are processed.
func (h *Overview) ledger(states []metering.ScopeState) *pages.Ledger {
	l := &pages.Ledger{}
	var longest time.Duration
	for i := range states {
		s := &states[i]
		if !s.Scope.Active {
			continue
		}
		l.Scopes++
		if h.cal.stands(s, upToDate) {
			l.UpToDate++
		}
		if h.cal.stands(s, lagging) {
			l.Lagging++
			longest = max(longest, h.cal.lag(s))
		}
		if h.cal.late(s) {
			l.Late++
		}
		if s.Failed > 0 {
			l.Failed += s.Failed
			if l.Error == "" {
				l.Error, l.Where, l.WherePath = s.Error, scopeName(s.Scope), scopePath(s.Scope)
			}
		}
	}
	if longest > 0 {
		l.Lag = format.Duration(longest)
	}
	return l
}

// steps fills in what there is to do before there are costs; once there are, that is nothing.
func (h *Overview) steps(ctx context.Context, v *pages.Overview, user *access.User, states []metering.ScopeState) {
	if v.CostsFailure != nil || v.LedgerFailure != nil || v.Costs != nil && !v.Costs.Total.IsZero() {
		return
	}
	config, err := h.store.Configuration(ctx, 0)
	if err != nil {
		v.StepsFailure = failed(ctx, h.log, "What is configured can't be read", err, "/")
		return
	}
	rules, err := h.store.Rules(ctx, 0)
	if err != nil {
		v.StepsFailure = failed(ctx, h.log, "The rules can't be read", err, "/")
		return
	}
	all := []pages.Step{
		{
			Title: "Say what is measured", Done: len(config.Metrics) > 0,
			State: "No metric is configured.", Command: "ratebook import metrics FILE",
		},
		{
			Title: "Connect a source of usage", Done: len(states) > 0,
			State: "No scope is known: no source has been asked yet, or it names none.", Command: "ratebook serve --prometheus-url URL",
		},
		{Title: "Set a price", Done: len(rules.Hashmap) > 0, State: "No rule prices anything, so all usage costs 0.", Command: "ratebook import rules FILE"},
		{
			Title: "Wait for the first windows", Done: v.Costs != nil,
			State: "A window of " + format.Duration(h.cal.Period) + " is due once " +
				pages.Many(max(1, h.cal.wait), "such period has", "such periods have") + " passed since its begin; then it is collected and rated by itself.",
		},
	}
	if all[0].Done {
		all[0].State, all[0].Command = pages.Many(len(config.Metrics), "configuration", "configurations")+" of metrics.", ""
		all[0].Link = &components.Link{Label: "See the metrics", Path: "/metrics"}
	}
	if all[1].Done {
		all[1].State, all[1].Command = pages.Many(len(states), "scope is known.", "scopes are known."), ""
		all[1].Link = &components.Link{Label: "See the scopes", Path: "/scopes"}
	}
	switch {
	case all[2].Done:
		all[2].State, all[2].Command = pages.Many(len(rules.Hashmap), "rule.", "rules."), ""
		all[2].Link = &components.Link{Label: "See the prices", Path: "/pricing"}
	case user.May(access.Operator):
		all[2].Link = &components.Link{Label: "Set a price here", Path: "/pricing/rules/new"}
	}
	if all[3].Done {
		all[3].State = "There is usage."
	}
	if slices.ContainsFunc(all, func(s pages.Step) bool { return !s.Done }) {
		v.Steps = all
	}
}

// unpriced fills in the latest usage that no rule priced.
func (h *Overview) unpriced(ctx context.Context, v *pages.Overview) {
	if v.Costs == nil {
		return
	}
	today := period.Date(h.cal.now(), h.cal.Zone)
	since := period.Range{Begin: period.StartOf(today.AddDate(0, 0, 1-unpricedSince), h.cal.Zone), End: period.StartOf(today.AddDate(0, 0, 1), h.cal.Zone)}
	found, err := h.store.Unpriced(ctx, since)
	if err != nil {
		v.UnpricedFailure = failed(ctx, h.log, "Usage without a price can't be read", err, "/")
		return
	}
	v.Unpriced = &pages.Unpriced{Since: "the last 7 days"}
	for i, u := range found {
		v.Unpriced.Points += u.Points
		if i < topUnpriced {
			v.Unpriced.Lines = append(v.Unpriced.Lines, pages.UnpricedLine{
				Metric: u.Metric, Path: metricPath(u.Metric), Points: u.Points, Scopes: u.Scopes, Last: u.Last,
			})
		}
	}
}

// changeOf says how an amount differs from the one before.
func changeOf(before, now money.Decimal) pages.Change {
	switch d := now.Sub(before); {
	case before.IsZero():
		return pages.Change{}
	case d.IsZero():
		return pages.Change{Sign: "=", Word: "unchanged", Share: format.Percent(d, before)}
	case d.Sign() > 0:
		return pages.Change{Sign: "▲", Word: "up", Share: format.Percent(d, before)}
	default:
		return pages.Change{Sign: "▼", Word: "down", Share: format.Percent(d.Neg(), before)}
	}
}

// earlier returns the earlier of two times.
func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// first returns the first n of all, or all.
func first(all []string, n int) []string { return all[:min(n, len(all))] }
