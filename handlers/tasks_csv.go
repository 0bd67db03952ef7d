package handlers

import (
	"encoding/csv"
	"strconv"

	"github.com/labstack/echo/v4"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/views/pages"
	"ratebook/web"
)

// differenceColumns are those of the file.
var differenceColumns = []string{
	"scope", "scope_name", "source", "metric", "points_before", "points_after", "cost_before", "cost_after", "difference", "currency",
	"points_without_price", "cost_without_price",
}

// Differences is what a task would change, or with of=done what it has changed, by scope and metric as CSV.
func (h *Tasks) Differences(c echo.Context) error {
	of := c.QueryParam("of")
	if of != "" && of != pages.TaskForeseen && of != pages.TaskDone {
		return fault.New(fault.Invalid, "of=%q is neither preview nor done; leave it out for what the task would change", of)
	}
	t, err := h.task(c)
	if err != nil {
		return err
	}
	ctx := web.Stream(c)
	all, err := h.tasks.TaskDifferences(ctx, t.ID, of != pages.TaskDone)
	if err != nil {
		return err
	}
	sortTaskRows(all, "scope", false)
	name := "task-" + strconv.FormatInt(t.ID, 10) + "-differences.csv"
	if of == pages.TaskDone {
		name = "task-" + strconv.FormatInt(t.ID, 10) + "-changes.csv"
	}
	w := csv.NewWriter(&download{response: c.Response(), mediaType: "text/csv; charset=utf-8", name: name})
	_ = w.Write(differenceColumns) // what goes wrong is said at the end
	for i := range all {
		if err := w.Write(h.differenceRecord(&all[i])); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

func (h *Tasks) differenceRecord(d *metering.TaskDifference) []string {
	count := func(n int64) string { return strconv.FormatInt(n, 10) }
	return []string{
		d.Scope.ID, d.Scope.Name, d.Scope.Source.Name, d.Metric, count(d.PointsBefore), count(d.PointsAfter), d.Before.String(), d.After.String(),
		pages.Difference(&d.Change).String(), h.cal.Currency, count(d.LostPoints), d.LostAmount.String(),
	}
}
