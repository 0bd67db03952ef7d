package handlers

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/rating"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// TaskReader knows the tasks, what they change, and the rules; version 0 is the latest.
type TaskReader interface {
	Task(ctx context.Context, id int64) (*metering.Task, error)
	FilterTasks(ctx context.Context, f metering.TaskFilter, limit, offset int) ([]metering.Task, int, error)
	TaskDifferences(ctx context.Context, id int64, preview bool) ([]metering.TaskDifference, error)
	TaskLosses(ctx context.Context, id int64, limit int) ([]metering.LostPrice, int, error)
	Rules(ctx context.Context, version int64) (*rating.Rules, error)
}

// TaskKeeper makes tasks, and lets them go on or not.
type TaskKeeper interface {
	CreateTask(ctx context.Context, n *metering.NewTask) (int64, error)
	StartTask(ctx context.Context, id int64, actor string) error
	CancelTask(ctx context.Context, id int64, actor string) error
	ResumeTask(ctx context.Context, id int64, actor string) error
}

// TaskUsage knows what there is to be done again.
type TaskUsage interface {
	costSums
	scopeStates
}

// Tasks is the area of what is done again.
type Tasks struct {
	tasks TaskReader
	keep  TaskKeeper
	usage TaskUsage
	sums  sums
	cal   calendar
	log   *slog.Logger
}

// NewTasks returns the area. waitPeriods is how many periods after a window's begin it is due.
func NewTasks(tasks TaskReader, keep TaskKeeper, usage TaskUsage, settings *metering.Settings, waitPeriods int, now func() time.Time, log *slog.Logger) *Tasks {
	return &Tasks{tasks, keep, usage, sums{store: usage}, calendar{settings, waitPeriods, now}, log}
}

// Routes lists what the area answers.
func (h *Tasks) Routes(r *web.Router) {
	r.Viewer.GET("/processing/tasks", h.List)
	r.Viewer.GET("/processing/tasks/:id", h.Show)
	r.Viewer.GET("/processing/tasks/:id/events", h.Events)
	r.Viewer.GET("/processing/tasks/:id/differences.csv", h.Differences)

	r.Operator.GET("/processing/tasks/new", h.New)
	r.Operator.POST("/processing/tasks/new", h.Look)
	r.Operator.POST("/processing/tasks", h.Create)
	r.Operator.POST("/processing/tasks/:id/start", h.Start)
	r.Operator.POST("/processing/tasks/:id/cancel", h.Cancel)
	r.Operator.POST("/processing/tasks/:id/resume", h.Resume)
}

const tasksPath = "/processing/tasks"

// task returns the task that an address is about.
func (h *Tasks) task(c echo.Context) (*metering.Task, error) {
	id, err := strconv.ParseInt(c.Param("id"), 10, 64)
	if err != nil || id < 1 {
		return nil, fault.New(fault.NotFound, "there is no task %q; the list of tasks has those there are", c.Param("id"))
	}
	return h.tasks.Task(c.Request().Context(), id)
}

// page returns what the layout needs to know of a page of the area.
func (h *Tasks) page(title string, crumbs ...layout.Crumb) layout.Page {
	crumbs = append([]layout.Crumb{{Label: "Processing", Path: "/processing"}}, crumbs...)
	return layout.Page{Title: title, Area: layout.Processing, Crumbs: crumbs, Aside: "amounts in " + h.cal.Currency + ", times in " + h.cal.Zone.String()}
}

// mayAct reports whether who asks may make tasks and decide about them.
func mayAct(c echo.Context) bool { return web.User(c).May(access.Operator) }

// sortTaskRows brings differences into an order of the list. The usual one is that of how much they matter.
func sortTaskRows(rows []metering.TaskDifference, column string, descending bool) {
	byName := func(a, b *metering.TaskDifference) int {
		return cmp.Or(strings.Compare(strings.ToLower(scopeName(a.Scope)), strings.ToLower(scopeName(b.Scope))),
			cmp.Compare(a.Scope.Ref, b.Scope.Ref), strings.Compare(a.Metric, b.Metric))
	}
	slices.SortFunc(rows, func(a, b metering.TaskDifference) int {
		order := 0
		switch column {
		case "metric":
			order = strings.Compare(a.Metric, b.Metric)
		case "points-before":
			order = cmp.Compare(a.PointsBefore, b.PointsBefore)
		case "points-after":
			order = cmp.Compare(a.PointsAfter, b.PointsAfter)
		case "before":
			order = a.Before.Cmp(b.Before)
		case "after":
			order = a.After.Cmp(b.After)
		case "difference":
			order = pages.Difference(&a.Change).Cmp(pages.Difference(&b.Change))
		case "size":
			x, y := pages.Difference(&a.Change), pages.Difference(&b.Change)
			if x.Sign() < 0 {
				x = x.Neg()
			}
			if y.Sign() < 0 {
				y = y.Neg()
			}
			order = x.Cmp(y)
		default:
			order = byName(&a, &b)
		}
		if descending {
			order = -order
		}
		return cmp.Or(order, byName(&a, &b))
	})
}
