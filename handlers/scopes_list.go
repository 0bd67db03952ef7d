package handlers

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/costs"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/views/components"
	"ratebook/views/format"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

const (
	scopesPerPage = 50
	scopesTarget  = "#scopes" // what htmx swaps
)

// scopeSorts are the columns one can sort by.
var scopeSorts = []string{"name", "source", "cost", "before", "processed"}

// scopesAsked is the state of the list, which is its address.
type scopesAsked struct {
	q, state, sort string
	descending     bool
	page           int
}

// readScopesAsked reads the address; what it does not understand is as if it were not there.
func readScopesAsked(c echo.Context) scopesAsked {
	a := scopesAsked{q: strings.TrimSpace(c.QueryParam("q")), state: c.QueryParam("state")}
	if !slices.Contains([]string{upToDate, lagging, failing, inactive}, a.state) {
		a.state = ""
	}
	a.sort, a.descending = strings.CutPrefix(c.QueryParam("sort"), "-")
	if !slices.Contains(scopeSorts, a.sort) {
		a.sort, a.descending = "cost", true
	}
	a.page, _ = strconv.Atoi(c.QueryParam("page"))
	a.page = max(1, a.page)
	return a
}

// path returns the address of the list; page 1 and what is usual are left out.
func (a scopesAsked) path() string {
	q := url.Values{}
	if a.q != "" {
		q.Set("q", a.q)
	}
	if a.state != "" {
		q.Set("state", a.state)
	}
	if s := a.order(); s != "-cost" {
		q.Set("sort", s)
	}
	if a.page > 1 {
		q.Set("page", strconv.Itoa(a.page))
	}
	if len(q) == 0 {
		return "/scopes"
	}
	return "/scopes?" + q.Encode()
}

func (a scopesAsked) order() string {
	if a.descending {
		return "-" + a.sort
	}
	return a.sort
}

// heading returns the heading of a column, whose link sorts by it, or the other way round.
func (a scopesAsked) heading(column, label, unit string, number bool) components.Sorted {
	h := components.Sorted{Label: label, Unit: unit, Number: number, Descending: number, Target: scopesTarget}
	sortedAs(&h, a.sort == column, a.descending)
	a.sort, a.descending, a.page = column, h.Descending, 1
	h.Path = a.path()
	return h
}

// List is the table of scopes.
func (h *Scopes) List(c echo.Context) error {
	ctx, user, asked := c.Request().Context(), web.User(c), readScopesAsked(c)
	states, err := h.store.ScopeStates(ctx)
	if err != nil {
		return err
	}
	m := h.cal.month()
	before := h.cal.monthBefore(m)
	v := &pages.ScopeList{
		Q: asked.q, State: asked.state, Sort: asked.order(), Currency: h.cal.Currency, Zone: h.cal.Zone, Own: !user.ReadsAll(),
		Month: format.Range(m.Begin, m.End, h.cal.Zone),
	}
	states = h.cal.seen(user, states)
	rows := h.rows(states)
	v.All = len(rows)
	if v.All > 0 {
		if err := h.rowCosts(ctx, v, rows, user, m, before, asked); err != nil {
			return err
		}
	}
	rows = slices.DeleteFunc(rows, func(r *scopeRow) bool {
		return !r.matches(asked.q) || asked.state != "" && !h.cal.stands(r.state, asked.state)
	})
	sortScopeRows(rows, asked)
	v.Matching = len(rows)
	last := pageCount(len(rows), scopesPerPage)
	asked.page = min(asked.page, last)
	for _, r := range rows[(asked.page-1)*scopesPerPage : min(len(rows), asked.page*scopesPerPage)] {
		v.Rows = append(v.Rows, r.ScopeRow)
	}
	v.Page = asked.page
	v.Sources = slices.ContainsFunc(states, func(s metering.ScopeState) bool { return s.Scope.Source.Name != states[0].Scope.Source.Name })
	v.Headings = h.scopeHeadings(asked, v.Sources, m, before)
	if v.Failure == nil {
		version, err := digest(v)
		if err != nil {
			return err
		}
		if web.NotModified(c, version) {
			return nil
		}
	}
	v.Pages = components.Pages{
		Page: asked.page, Pages: last, PerPage: scopesPerPage, Rows: len(rows), What: "scopes", Target: scopesTarget,
		Path: func(page int) string { to := asked; to.page = page; return to.path() },
	}
	page := layout.Page{Title: "Scopes", Area: layout.Scopes, Aside: "amounts in " + h.cal.Currency + ", times in " + h.cal.Zone.String()}
	return web.Page(c, http.StatusOK, page, pages.ScopesPage(v), pages.ScopesTable)
}

// scopeHeadings returns the headings of the columns but the last.
func (h *Scopes) scopeHeadings(asked scopesAsked, sources bool, m, before period.Range) []components.Sorted {
	name := func(r period.Range) string { return r.Begin.In(h.cal.Zone).Format("Jan 2006") }
	all := []components.Sorted{asked.heading("name", "Scope", "", false)}
	if sources {
		all = append(all, asked.heading("source", "Source", "", false))
	}
	return append(all, asked.heading("cost", name(m), h.cal.Currency, true), asked.heading("before", name(before), h.cal.Currency, true),
		components.Sorted{Label: "Share", Number: true}, asked.heading("processed", "Processed up to", "", false))
}

// scopeRow is a line of the list with what it is sorted by.
type scopeRow struct {
	pages.ScopeRow
	state *metering.ScopeState
}

func (h *Scopes) rows(states []metering.ScopeState) []*scopeRow {
	rows := make([]*scopeRow, len(states))
	named := shared(scopesOf(states))
	for i := range states {
		s := &states[i]
		rows[i] = &scopeRow{state: s, ScopeRow: pages.ScopeRow{
			Name: scopeName(s.Scope), ID: s.Scope.ID, Source: s.Scope.Source.Name, Path: scopePath(s.Scope), Processing: h.cal.processing(s),
			Twin: named[scopeName(s.Scope)],
		}}
	}
	return rows
}

// rowCosts fills in the costs. A report knows scopes by their id; if sources share one, its costs stand with the first.
func (h *Scopes) rowCosts(ctx context.Context, v *pages.ScopeList, rows []*scopeRow, user *access.User, m, before period.Range, asked scopesAsked) error {
	filters, _ := ownCosts(user)
	answers, err := h.sums.reports(ctx, &costs.Query{Range: m, Groups: []string{costs.Scope}, Filters: filters},
		&costs.Query{Range: before, Groups: []string{costs.Scope}, Filters: filters})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		v.Failure = failed(ctx, h.log, "The costs can't be read", err, asked.path())
		return nil
	}
	now, then := answers[0], answers[1]
	v.Total, v.TotalBefore = now.total.Cost, then.total.Cost
	amounts, amountsBefore, first := now.by(0), then.by(0), map[string]*scopeRow{}
	for _, r := range rows {
		if other := first[r.ID]; other != nil {
			r.Shared = "counted with " + other.Name + " of source " + other.Source + ", which has the same id"
			continue
		}
		first[r.ID] = r
		r.Cost, r.CostBefore = amounts[r.ID], amountsBefore[r.ID]
	}
	return nil
}

// matches reports whether the scope's name or id contains q, whatever its case.
func (r *scopeRow) matches(q string) bool { return contains(r.Name, q) || contains(r.ID, q) }

// contains is strings.Contains whatever the case.
func contains(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

func sortScopeRows(rows []*scopeRow, asked scopesAsked) {
	byName := func(a, b *scopeRow) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.state.Scope.Ref, b.state.Scope.Ref))
	}
	slices.SortFunc(rows, func(a, b *scopeRow) int {
		order := 0
		switch asked.sort {
		case "source":
			order = strings.Compare(a.Source, b.Source)
		case "cost":
			order = a.Cost.Cmp(b.Cost)
		case "before":
			order = a.CostBefore.Cmp(b.CostBefore)
		case "processed":
			order = a.state.ProcessedTo.Compare(b.state.ProcessedTo)
		default:
			order = byName(a, b)
		}
		if asked.descending {
			order = -order
		}
		return cmp.Or(order, byName(a, b))
	})
}
