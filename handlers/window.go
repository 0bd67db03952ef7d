package handlers

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/costs"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/views/components"
	"ratebook/views/format"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// Window is the page of one window: what was collected and how, and what can be done about it.
func (h *Coverage) Window(c echo.Context) error {
	ctx := c.Request().Context()
	ref, errRef := strconv.ParseInt(c.Param("ref"), 10, 64)
	begin, errBegin := strconv.ParseInt(c.Param("begin"), 10, 64)
	if errRef != nil || errBegin != nil || begin < 0 || begin > latestBegin {
		return noWindow()
	}
	w, err := h.store.Window(ctx, ref, time.Unix(begin, 0).UTC())
	if fault.KindOf(err) == fault.NotFound {
		return noWindow()
	}
	if err != nil {
		return err
	}
	v := h.window(w)
	h.windowCharges(v, w)
	if v.Queries, err = h.queries.Queries(ctx, w.Scope, period.Range{Begin: w.Begin, End: w.End}, w.Config); ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil {
		v.QueriesFail = failed(ctx, h.log, "The queries can't be shown", err, windowPath(ref, w.Begin))
	}
	if web.User(c).May(access.Operator) {
		v.Act = h.windowActions(v, w)
	}
	return web.Page(c, http.StatusOK, layout.Page{
		Title: scopeName(w.Scope) + ", " + v.Range, Area: layout.Processing,
		Crumbs: []layout.Crumb{{Label: "Processing", Path: "/processing"}, {Label: "Coverage", Path: "/processing/coverage"}},
		Aside:  "amounts in " + h.cal.Currency + ", times in " + h.cal.Zone.String(),
	}, pages.WindowPage(v))
}

// latestBegin is the end of the year 9999.
const latestBegin = 253402300799

// window fills in what the ledger has.
func (h *Coverage) window(w *metering.WindowDetail) *pages.Window {
	v := &pages.Window{
		Zone: h.cal.Zone, Currency: h.cal.Currency, Begin: w.Begin, End: w.End, Range: format.Range(w.Begin, w.End, h.cal.Zone), Error: w.Error,
		Scope: components.Link{Label: scopeName(w.Scope), Path: scopePath(w.Scope)}, Map: h.mapPath(zoomDay, w.Begin, w.Scope),
		Known: w.State == metering.Done || w.State == metering.Empty, Points: w.Points, Unpriced: w.Unpriced, Amount: w.Amount,
		Finished: w.Finished, Attempts: w.Attempts, Config: w.Config, Rules: w.Rules,
		Source: w.Scope.Source.Name + " (" + w.Scope.Source.Kind + ")", LeasedBy: w.LeasedBy, LeasedUntil: w.LeasedUntil,
		WaivedBy: w.WaivedBy, WaivedFor: w.WaivedFor, Accepted: w.Accepted,
	}
	if w.SourceVersion != "" {
		v.Source += ", " + w.SourceVersion
	}
	v.Badge, v.State = windowState(w.State)
	v.Story = h.story(w)
	if w.Took > 0 {
		v.Took = tookText(w.Took)
	}
	if !w.Before.IsZero() {
		v.Before = windowPath(w.Window.Scope, w.Before)
	}
	if !w.After.IsZero() {
		v.After = windowPath(w.Window.Scope, w.After)
	}
	if open := w.State == metering.Failed || v.Known && w.Task != nil; open && w.NextAttempt.After(h.cal.now()) {
		v.Next = w.NextAttempt
	}
	if w.Task != nil && *w.Task == 0 {
		v.Waiting = &components.Link{Label: "its re-check for late usage"}
	} else if w.Task != nil {
		v.Waiting = taskLink(*w.Task)
	}
	if w.RedoneBy != 0 {
		v.Redone = taskLink(w.RedoneBy)
	}
	return v
}

func taskLink(id int64) *components.Link {
	return &components.Link{Label: "task " + strconv.FormatInt(id, 10), Path: pages.TaskPath(id)}
}

// story says in a sentence what the state means.
func (h *Coverage) story(w *metering.WindowDetail) string {
	switch w.State {
	case metering.Done:
		if w.Error != "" {
			return "Its charges stay as they are; doing it again failed, and is tried again:"
		}
		return "Its usage is collected, rated and stored."
	case metering.Empty:
		if w.Error != "" {
			return "It had no usage; doing it again failed, and is tried again:"
		}
		return "It was collected, and the scope had no usage."
	case metering.Failed:
		return "It could not be processed, and is tried again:"
	case metering.Waived:
		if w.Error != "" {
			return "It is not collected: " + w.WaivedBy + " waived it after it had failed:"
		}
		return "It is not collected: " + w.WaivedBy + " waived it."
	case metering.Leased:
		return "A worker has it now."
	case metering.Due:
	}
	return "It waits to be processed."
}

// windowCharges fills in the charges, what was noticed about them, and those they replaced.
func (h *Coverage) windowCharges(v *pages.Window, w *metering.WindowDetail) {
	r := period.Range{Begin: w.Begin, End: w.End}
	v.CostsPath, v.UnpricedPath = windowCosts(r, w.Scope, ""), windowFindings(w, metering.Unpriced)
	for _, m := range w.Metrics {
		v.Metrics = append(v.Metrics, pages.WindowMetric{
			Metric: m.Metric, Path: windowCosts(r, w.Scope, m.Metric), Unit: m.Unit, Points: m.Points, Qty: m.Qty, Amount: m.Amount,
		})
	}
	for _, f := range w.Findings {
		v.Findings = append(v.Findings, pages.WindowFinding{
			Kind: f.Kind, Metric: f.Metric, Detail: f.Detail, Points: f.Points, Path: windowFindings(w, f.Kind),
		})
	}
	for _, s := range w.Superseded {
		set := pages.SupersededSet{At: s.At, Points: s.Points, Amount: s.Amount, Config: s.Config, Rules: s.Rules}
		if s.Task != 0 {
			set.By = taskLink(s.Task)
		}
		v.Superseded = append(v.Superseded, set)
	}
}

// windowCosts returns the address of the cost report of one window and scope: by metric, or of one metric.
func windowCosts(r period.Range, s *metering.Scope, metric string) string {
	q := url.Values{
		"begin": {period.Format(r.Begin, time.UTC)}, "end": {period.Format(r.End, time.UTC)},
		"group": {costs.Metric}, "filter": {costs.Scope + "=" + s.ID},
	}
	if metric != "" {
		q.Add("filter", costs.Metric+"="+metric)
	}
	return "/costs?" + q.Encode()
}

// windowFindings returns the address of the findings of a kind on the UTC day of a window.
func windowFindings(w *metering.WindowDetail, kind metering.FindingKind) string {
	day := w.Begin.UTC().Format(time.DateOnly)
	return "/processing/findings?" + url.Values{"kind": {string(kind)}, "from": {day}, "to": {day}}.Encode()
}

// windowActions returns what an operator may do about a window in its state.
func (h *Coverage) windowActions(v *pages.Window, w *metering.WindowDetail) *pages.WindowActions {
	r := period.Range{Begin: w.Begin, End: w.End}
	open := w.State == metering.Due || w.State == metering.Failed || w.State == metering.Leased
	if v.Known && w.Task == nil {
		v.ReprocessTo = "/processing/tasks/new?" + url.Values{
			"kind": {string(metering.Reprocess)}, "scope": {w.Scope.ID}, "begin": {period.Format(r.Begin, time.UTC)}, "end": {period.Format(r.End, time.UTC)},
		}.Encode()
	}
	return &pages.WindowActions{
		WindowFields: windowFields(strconv.FormatInt(w.Window.Scope, 10), r, windowPath(w.Window.Scope, w.Begin)),
		Retry:        w.State == metering.Failed || v.Known && w.Task != nil && w.Error != "", Waive: open, Unwaive: w.State == metering.Waived,
		Leave:  v.Known && w.Task != nil && w.Error != "",
		Accept: w.State == metering.Failed && !w.Accepted && strings.Contains(w.Error, metering.LacksSamples),
	}
}
