package handlers

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/costs"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/views/components"
	"ratebook/views/format"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// latestWindows is how many windows a scope's page shows.
const latestWindows = 48

// Show is the page of one scope.
func (h *Scopes) Show(c echo.Context) error {
	ctx, user := c.Request().Context(), web.User(c)
	// a scope that is not there and one of somebody else are answered alike
	missing := fault.New(fault.NotFound, "There is no such scope. The list of scopes has those you may see.")
	ref, err := strconv.ParseInt(c.Param("ref"), 10, 64)
	if err != nil {
		return missing
	}
	states, err := h.store.ScopeStates(ctx)
	if err != nil {
		return err
	}
	states = h.cal.seen(user, states)
	i := slices.IndexFunc(states, func(s metering.ScopeState) bool { return s.Scope.Ref == ref })
	if i < 0 {
		return missing
	}
	s := &states[i]
	m := h.cal.month()
	v := &pages.Scope{
		Scope: *s.Scope, Processing: h.cal.processing(s), PlannedTo: s.PlannedTo, Due: s.Due,
		Month: format.Range(m.Begin, m.End, h.cal.Zone), Currency: h.cal.Currency, Zone: h.cal.Zone,
	}
	for j := range states {
		if other := states[j].Scope; j != i && other.ID == s.Scope.ID {
			v.Same = append(v.Same, components.Link{Label: scopeName(other) + " of source " + other.Source.Name, Path: scopePath(other)})
		}
	}
	h.scopeCosts(ctx, v, s.Scope, m)
	h.windows(ctx, v, user, s)
	if err := ctx.Err(); err != nil {
		return err
	}
	if v.CostsFailure == nil && v.WindowsFailure == nil {
		version, err := digest(v)
		if err != nil {
			return err
		}
		if web.NotModified(c, version) {
			return nil
		}
	}
	return web.Page(c, http.StatusOK, layout.Page{
		Title: scopeName(s.Scope), Area: layout.Scopes, Crumbs: []layout.Crumb{{Label: "Scopes", Path: "/scopes"}},
		Aside: "amounts in " + h.cal.Currency + ", times in " + h.cal.Zone.String(),
	}, pages.ScopePage(v))
}

// scopeCosts fills in the month's costs by metric and day.
func (h *Scopes) scopeCosts(ctx context.Context, v *pages.Scope, s *metering.Scope, m period.Range) {
	a, err := h.sums.report(ctx, &costs.Query{
		Range: m, Bucket: period.Day, Groups: []string{costs.Metric}, Filters: []costs.Filter{{Key: costs.Scope, Values: []string{s.ID}}},
	})
	if err != nil {
		v.CostsFailure = failed(ctx, h.log, "The costs can't be read", err, scopePath(s))
		return
	}
	before := h.cal.monthBefore(m)
	filter := costs.Scope + "=" + s.ID
	v.CostsPath, v.BeforePath = h.cal.costsPath(m, filter, costs.Metric), h.cal.costsPath(before, filter, costs.Metric)
	v.Before = format.Range(before.Begin, before.End, h.cal.Zone)
	if a.total.Points == 0 {
		return
	}
	v.Charged, v.Total = true, a.total.Cost
	days := h.cal.days(m)[:h.cal.begun(m, a)]
	at := map[int64]int{}
	for i, d := range days {
		at[d.Begin.Unix()] = i
	}
	courses := map[string][]money.Decimal{}
	for i := range a.rows {
		r := &a.rows[i]
		name := r.Groups[0]
		if courses[name] == nil {
			courses[name] = make([]money.Decimal, len(days))
		}
		if day, ok := at[r.Begin.Unix()]; ok {
			courses[name][day] = courses[name][day].Add(r.Cost)
		}
	}
	amounts := a.by(0)
	for _, name := range dearest(amounts) {
		q := h.cal.asked(m)
		q["filter"] = []string{filter, costs.Metric + "=" + name}
		q.Set("bucket", period.Day.String())
		v.Metrics = append(v.Metrics, pages.ScopeMetric{Name: name, Path: "/costs?" + q.Encode(), Cost: amounts[name], Course: courses[name]})
	}
}

// windows fills in the latest windows, the newest first.
func (h *Scopes) windows(ctx context.Context, v *pages.Scope, user *access.User, s *metering.ScopeState) {
	if s.PlannedTo.IsZero() {
		return
	}
	begin := s.PlannedTo.Add(-latestWindows * h.cal.Period)
	all, err := h.store.Windows(ctx, s.Scope.Ref, period.Range{Begin: begin, End: s.PlannedTo})
	if err != nil {
		v.WindowsFailure = failed(ctx, h.log, "The windows can't be read", err, scopePath(s.Scope))
		return
	}
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b metering.Window) int { return b.Begin.Compare(a.Begin) })
	for _, w := range all[:min(len(all), latestWindows)] {
		if w.Error != "" && !user.ReadsAll() {
			w.Error, w.NextAttempt = h.cal.unprocessed(w.NextAttempt), time.Time{}
		}
		row := pages.ScopeWindow{Window: w, Range: format.Range(w.Begin, w.End, h.cal.Zone)}
		row.Badge, row.Text = windowState(w.State)
		if w.State == metering.Done || w.State == metering.Empty {
			row.Known = true
		}
		if w.Took > 0 {
			row.Took = tookText(w.Took)
		}
		v.Windows = append(v.Windows, row)
	}
}

// windowState returns how a window is, for people.
func windowState(s metering.State) (components.State, string) {
	switch s {
	case metering.Done:
		return components.OK, "done"
	case metering.Empty:
		return components.OK, "no usage"
	case metering.Failed:
		return components.Failed, "failed"
	case metering.Waived:
		return components.Neutral, "waived"
	case metering.Leased:
		return components.Neutral, "in work"
	case metering.Due:
	}
	return components.Neutral, "due"
}

// tookText writes a short duration, such as "212 ms" or "3.4 s".
func tookText(d time.Duration) string {
	if ms := d.Milliseconds(); ms >= 1000 {
		return strconv.FormatInt(ms/1000, 10) + "." + strconv.FormatInt(ms%1000/100, 10) + " s"
	}
	return strconv.FormatInt(max(1, d.Milliseconds()), 10) + " ms"
}
