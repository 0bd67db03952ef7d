package handlers

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/views/components"
	"ratebook/views/format"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// askedScopes is how many scopes are listed before windows are waived.
const askedScopes = 100

// selected reads which windows a form is about.
func (h *Coverage) selected(c echo.Context) (sel metering.WindowSelection, f pages.WindowFields, err error) {
	wrong := func(what string) error {
		return fault.New(fault.Invalid, "The form does not say %s. Start again from the map of windows.", what)
	}
	f = pages.WindowFields{Scope: c.FormValue("scope"), Begin: c.FormValue("begin"), End: c.FormValue("end"), Back: web.Local(c.FormValue("back"))}
	if f.Back == "/" {
		f.Back = "/processing/coverage"
	}
	begin, errBegin := period.ParseTime(f.Begin, h.cal.Zone)
	end, errEnd := period.ParseTime(f.End, h.cal.Zone)
	if sel.Range = (period.Range{Begin: begin, End: end}); errBegin != nil || errEnd != nil || sel.Range.Empty() {
		return sel, f, wrong("from when to when windows begin")
	}
	if f.Scope == allScopes {
		return sel, f, nil
	}
	for text := range strings.SplitSeq(f.Scope, ",") {
		ref, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return sel, f, wrong("of which scopes")
		}
		sel.Scopes = append(sel.Scopes, ref)
	}
	return sel, f, nil
}

// Retry has failed windows tried again at once.
func (h *Coverage) Retry(c echo.Context) error {
	sel, f, err := h.selected(c)
	if err != nil {
		return err
	}
	n, err := h.changes.RetryWindows(c.Request().Context(), sel, web.Actor(c))
	return h.done(c, f.Back, n, err, "is tried again now.", "are tried again now.", "No window had failed any more; nothing was changed.")
}

// Unwaive makes waived windows due.
func (h *Coverage) Unwaive(c echo.Context) error {
	sel, f, err := h.selected(c)
	if err != nil {
		return err
	}
	n, err := h.changes.UnwaiveWindows(c.Request().Context(), sel, web.Actor(c))
	return h.done(c, f.Back, n, err, "is due again.", "are due again.", "No window was waived any more; nothing was changed.")
}

// AskWaive asks why windows are waived, and lists which. It takes the address of the map, or a form's fields.
func (h *Coverage) AskWaive(c echo.Context) error {
	asked := h.readCoverageAsked(c)
	if c.QueryParam("scope") == allScopes {
		asked.scopes = nil
	}
	states, err := h.store.ScopeStates(c.Request().Context())
	if err != nil {
		return err
	}
	matching := h.matching(states, &asked)
	_, field := selectionOf(matching, len(states), period.Range{})
	if len(matching) == 0 {
		return fault.New(fault.NotFound, "There is no such scope. The map of windows has all there are.")
	}
	if err := c.Request().ParseForm(); err != nil {
		return fault.Wrap(fault.Invalid, err, "The address can't be read.")
	}
	c.Request().Form.Set("scope", field)
	sel, f, err := h.selected(c)
	if err != nil {
		return err
	}
	return h.ask(c, http.StatusOK, sel, &pages.WindowsAsk{WindowFields: f})
}

// Waive gives up due and failed windows, and leaves those as they are that were done and can't be done again.
func (h *Coverage) Waive(c echo.Context) error {
	sel, v, status, err := h.reasoned(c)
	if err != nil {
		return err
	}
	v.Leave = c.FormValue("leave") != ""
	if status != 0 {
		return h.ask(c, status, sel, v)
	}
	n, err := h.changes.WaiveWindows(c.Request().Context(), sel, v.Reason, web.Actor(c))
	if v.Leave {
		return h.done(c, v.Back, n, err, "is left as it is, with its charges.", "are left as they are, with their charges.", "The window was done again, or is not failing any more; nothing was changed.")
	}
	if c.FormValue("again") != "" {
		return h.done(c, v.Back, n, err, "is waived, or keeps the charges it had.", "are waived, or keep the charges they had.", "No window was due or failed any more; nothing was changed.")
	}
	return h.done(c, v.Back, n, err, "is waived; it can be taken back.", "are waived; that can be taken back.",
		"No window was due or failed any more; nothing was waived.")
}

// Accept says of failed windows that metrics without samples are no failure.
func (h *Coverage) Accept(c echo.Context) error {
	sel, v, status, err := h.reasoned(c)
	if err != nil {
		return err
	}
	v.Accept = true
	if status != 0 {
		return h.ask(c, status, sel, v)
	}
	n, err := h.changes.AcceptAbsence(c.Request().Context(), sel, v.Reason, web.Actor(c))
	return h.done(c, v.Back, n, err, "is tried again, without the metrics that have no samples.", "are tried again, without the metrics that have no samples.",
		"No window had failed any more; nothing was changed.")
}

// reasoned reads a form with a reason. The status is not 0 if the form must be shown again.
func (h *Coverage) reasoned(c echo.Context) (sel metering.WindowSelection, v *pages.WindowsAsk, status int, err error) {
	sel, f, err := h.selected(c)
	if err != nil {
		return sel, nil, 0, err
	}
	v = &pages.WindowsAsk{WindowFields: f, Reason: strings.TrimSpace(c.FormValue("reason"))}
	problem := metering.CheckReason(v.Reason, "the windows")
	if problem == "" {
		return sel, v, 0, nil
	}
	v.Errors = components.Errors{"reason": web.Sentence(problem)}
	v.Message = "Nothing was changed: the reason is missing or too long."
	return sel, v, http.StatusUnprocessableEntity, nil
}

// ask shows the page that asks why.
func (h *Coverage) ask(c echo.Context, status int, sel metering.WindowSelection, v *pages.WindowsAsk) error {
	ctx := c.Request().Context()
	v.Zone, v.Range = h.cal.Zone, format.Range(sel.Range.Begin, sel.Range.End, h.cal.Zone)
	if !v.Leave {
		if err := h.countOpen(ctx, sel, v); err != nil {
			return err
		}
	}
	page := layout.Page{
		Title: "Waive windows", Area: layout.Processing, Aside: "times in " + h.cal.Zone.String(),
		Crumbs: []layout.Crumb{{Label: "Processing", Path: "/processing"}, {Label: "Coverage", Path: "/processing/coverage"}},
	}
	switch {
	case v.Accept:
		page.Title = "Accept that there is no usage"
	case v.Leave:
		page.Title = "Leave the window as it is"
	}
	return web.Page(c, status, page, pages.WindowsAskPage(v))
}

// countOpen fills in how many windows of which scopes are concerned.
func (h *Coverage) countOpen(ctx context.Context, sel metering.WindowSelection, v *pages.WindowsAsk) error {
	states, err := h.store.ScopeStates(ctx)
	if err != nil {
		return err
	}
	open, err := h.store.OpenWindows(ctx, sel)
	if err != nil {
		return err
	}
	for i := range open {
		n := &open[i]
		w := pages.WindowsOf{Failed: n.Counts[metering.Failed], Path: "/processing/coverage"}
		if !v.Accept {
			w.Due, w.Again = n.Counts[metering.Due], n.Again
		}
		if w.Due+w.Failed+w.Again == 0 {
			continue
		}
		v.Due += w.Due
		v.Failed += w.Failed
		v.Again += w.Again
		if len(v.Scopes) == askedScopes {
			v.More++
			continue
		}
		w.Name = strconv.FormatInt(n.Scope, 10)
		if j := slices.IndexFunc(states, func(s metering.ScopeState) bool { return s.Scope.Ref == n.Scope }); j >= 0 {
			w.Name, w.Path = scopeName(states[j].Scope), h.mapPath(zoomMonth, n.First, states[j].Scope)
		}
		v.Scopes = append(v.Scopes, w)
	}
	return nil
}

// done goes back and says how many windows were changed. That there were none any more is no error: somebody else, or a worker,
// was quicker.
func (h *Coverage) done(c echo.Context, back string, n int64, err error, one, more, none string) error {
	h.changed()
	switch {
	case fault.KindOf(err) == fault.NotFound || err == nil && n == 0:
		return web.Redirect(c, back, none)
	case err != nil:
		return err
	case n == 1:
		return web.Redirect(c, back, "1 window "+one)
	}
	return web.Redirect(c, back, format.Count(n)+" windows "+more)
}
