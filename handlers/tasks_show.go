package handlers

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/views/components"
	"ratebook/views/format"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

const (
	differencesPerPage = 100
	shownLosses        = 100 // of the points that would lose their price
)

// differenceSorts are the columns that differences can be sorted by; size is how far they are from 0.
var differenceSorts = []string{"scope", "metric", "points-before", "points-after", "before", "after", "difference", "size"}

// taskAsked is the state of a task's page, which is its address.
type taskAsked struct {
	id         int64
	of         string // whose differences; empty: the usual
	sort       string
	descending bool
	page       int
}

// readTaskAsked reads the address; what it does not understand is as if it were not there.
func readTaskAsked(c echo.Context, id int64) taskAsked {
	a := taskAsked{id: id, of: c.QueryParam("of")}
	if a.of != pages.TaskForeseen && a.of != pages.TaskDone {
		a.of = ""
	}
	sort := c.QueryParam("sort")
	if sort != "" && sort[0] == '-' {
		sort, a.descending = sort[1:], true
	}
	if a.sort = sort; !slices.Contains(differenceSorts, sort) {
		a.sort, a.descending = "size", true
	}
	a.page, _ = strconv.Atoi(c.QueryParam("page"))
	a.page = max(1, a.page)
	return a
}

func (a taskAsked) path() string {
	q := url.Values{}
	if a.of != "" {
		q.Set("of", a.of)
	}
	switch {
	case a.sort == "size" && a.descending:
	case a.descending:
		q.Set("sort", "-"+a.sort)
	default:
		q.Set("sort", a.sort)
	}
	if a.page > 1 {
		q.Set("page", strconv.Itoa(a.page))
	}
	if len(q) == 0 {
		return pages.TaskPath(a.id)
	}
	return pages.TaskPath(a.id) + "?" + q.Encode()
}

// heading returns the heading of a column, whose link sorts by it, or the other way round.
func (a taskAsked) heading(column, label, unit string, number bool) components.Sorted {
	h := components.Sorted{Label: label, Unit: unit, Number: number, Descending: number, Target: "#" + pages.TaskFragment}
	sortedAs(&h, a.sort == column, a.descending)
	a.sort, a.descending, a.page = column, h.Descending, 1
	h.Path = a.path()
	return h
}

// Show is the page of one task.
func (h *Tasks) Show(c echo.Context) error {
	t, err := h.task(c)
	if err != nil {
		return err
	}
	return h.show(c, http.StatusOK, t, "")
}

// show answers with the page of a task; a message says why what was asked for could not be done.
func (h *Tasks) show(c echo.Context, status int, t *metering.Task, message string) error {
	ctx, asked := c.Request().Context(), readTaskAsked(c, t.ID)
	version, err := digest(t)
	if err != nil {
		return err
	}
	v := &pages.TaskView{
		Task: t, Message: message, MayAct: mayAct(c), Path: asked.path(), Version: version, Currency: h.cal.Currency, Zone: h.cal.Zone,
		Previews: foreseen(t), Coverage: h.coverage(t),
	}
	if v.Of = asked.of; v.Of == "" || v.Of == pages.TaskForeseen && !v.Previews || v.Of == pages.TaskDone && !pages.TaskStarted(t) {
		v.Of = usualDifferences(t)
	}
	if err := h.differences(ctx, v, asked); err != nil {
		return err
	}
	if v.Of == pages.TaskForeseen && t.Preview.LostPoints > 0 {
		if err := h.losses(ctx, v); err != nil {
			return err
		}
	}
	v.Largest = asked.sort == "size" && asked.descending
	page := h.page(pages.TaskTitle(t), layout.Crumb{Label: "Tasks", Path: tasksPath})
	page.Aside = "windows from " + format.Range(t.Range.Begin, t.Range.End, h.cal.Zone) + ", " + page.Aside
	return web.Page(c, status, page, pages.TaskPage(v), pages.TaskFragment)
}

// foreseen reports whether there is what a dry run found, or will be.
func foreseen(t *metering.Task) bool {
	return t.State == metering.Previewing || t.State == metering.Previewed || t.Preview.PointsBefore != 0 || t.Preview.PointsAfter != 0
}

// usualDifferences are what a task has changed once it was started, and before, what it would change.
func usualDifferences(t *metering.Task) string {
	if pages.TaskStarted(t) {
		return pages.TaskDone
	}
	return pages.TaskForeseen
}

// differences fills in a page of what changes by scope and metric, and its sum.
func (h *Tasks) differences(ctx context.Context, v *pages.TaskView, asked taskAsked) error {
	all, err := h.tasks.TaskDifferences(ctx, v.ID, v.Of == pages.TaskForeseen)
	if err != nil {
		return err
	}
	all = slices.Clone(all)
	for i := range all {
		addChange(&v.Sum, &all[i].Change)
	}
	sortTaskRows(all, asked.sort, asked.descending)
	v.All = len(all)
	last := pageCount(len(all), differencesPerPage)
	asked.page = min(asked.page, last)
	first := (asked.page - 1) * differencesPerPage
	for _, d := range all[first:min(len(all), first+differencesPerPage)] {
		v.Rows = append(v.Rows, pages.TaskRow{TaskDifference: d, ScopePath: scopePath(d.Scope), MetricPath: metricPath(d.Metric)})
	}
	v.Headings = []components.Sorted{
		asked.heading("scope", "Scope", "", false), asked.heading("metric", "Metric", "", false),
		asked.heading("difference", "Difference", v.Currency, true),
		asked.heading("before", "Before", v.Currency, true), asked.heading("after", "After", v.Currency, true),
		asked.heading("points-before", "Points before", "", true), asked.heading("points-after", "Points after", "", true),
	}
	v.Pages = components.Pages{
		Page: asked.page, Pages: last, PerPage: differencesPerPage, Rows: len(all), What: "lines", Target: "#" + pages.TaskFragment,
		Path: func(page int) string { to := asked; to.page = page; return to.path() },
	}
	return nil
}

// addChange adds a change to a sum.
func addChange(sum, c *metering.Change) {
	sum.PointsBefore += c.PointsBefore
	sum.PointsAfter += c.PointsAfter
	sum.Before.Accumulate(&c.Before)
	sum.After.Accumulate(&c.After)
	sum.LostPoints += c.LostPoints
	sum.LostAmount.Accumulate(&c.LostAmount)
}

// losses fills in the points that would lose their price.
func (h *Tasks) losses(ctx context.Context, v *pages.TaskView) error {
	losses, all, err := h.tasks.TaskLosses(ctx, v.ID, shownLosses)
	if err != nil {
		return err
	}
	var rules *rating.Rules
	if v.MayAct {
		if rules, err = h.tasks.Rules(ctx, 0); err != nil {
			return err
		}
	}
	v.Lost = all
	for _, l := range losses {
		row := pages.TaskLoss{LostPrice: l, ScopePath: scopePath(l.Scope), MetricPath: metricPath(l.Metric)}
		if l.Reason == metering.LossUnpriced && v.MayAct {
			row.RulePath = newRulePath(l.Metric, rulesLook(rules, l.Metric, rating.ParseLooks(l.Detail)))
		}
		v.Losses = append(v.Losses, row)
	}
	return nil
}

// rulesLook returns those of a point's attributes that rules of the metric look at or have looked at; an only attribute in any case.
func rulesLook(rules *rating.Rules, metric string, looks []rating.Look) []rating.Look {
	if len(looks) == 1 {
		return looks
	}
	return slices.DeleteFunc(looks, func(l rating.Look) bool {
		for _, s := range rules.Services {
			if s.Name == metric {
				return !slices.ContainsFunc(s.Fields, func(f rating.Field) bool { return f.Name == l.Name })
			}
		}
		return true
	})
}

// coverage returns the address of the map of windows where the task's range begins, and of its scope if it has only one.
func (h *Tasks) coverage(t *metering.Task) string {
	q := url.Values{"at": {period.Date(t.Range.Begin, h.cal.Zone).Format(time.DateOnly)}}
	if t.Among == 1 && len(t.Scopes) == 1 {
		q.Set("scope", strconv.FormatInt(t.Scopes[0].Ref, 10))
	}
	return "/processing/coverage?" + q.Encode()
}

// How often a task is looked at for whoever watches it. What there is to add up grows with its scopes.
const (
	taskEvery     = 2 * time.Second
	manyScopes    = 500
	largeTaskSlow = 15 * time.Second
)

// Events tells when the page of a task is not up to date any more.
func (h *Tasks) Events(c echo.Context) error {
	t, err := h.task(c)
	if err != nil {
		return err
	}
	every := taskEvery
	if t.Among > manyScopes {
		every = largeTaskSlow
	}
	return web.Events(c, every, func(ctx context.Context) (string, error) {
		t, err := h.tasks.Task(ctx, t.ID)
		if err != nil {
			return "", err
		}
		return digest(t)
	})
}

// conflicted answers a wish that the task's state does not allow with its page and why.
func (h *Tasks) conflicted(c echo.Context, err error) error {
	if fault.KindOf(err) != fault.Conflict {
		return err
	}
	t, failure := h.task(c)
	if failure != nil {
		return failure
	}
	return h.show(c, http.StatusConflict, t, messageOf(err))
}
