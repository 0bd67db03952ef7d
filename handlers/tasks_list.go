package handlers

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/labstack/echo/v4"

	"ratebook/metering"
	"ratebook/views/components"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

const tasksPerPage = 50

// tasksAsked is the state of the list, which is its address.
type tasksAsked struct {
	state, kind string // empty: any
	page        int
}

// openTasks are those that have not ended.
const openTasks = "open"

// readTasksAsked reads the address; what it does not understand is as if it were not there.
func readTasksAsked(c echo.Context) tasksAsked {
	a := tasksAsked{state: c.QueryParam("state"), kind: c.QueryParam("kind")}
	states := []metering.TaskState{openTasks, metering.Previewing, metering.Previewed, metering.Running, metering.Cancelled, metering.Finished}
	if !slices.Contains(states, metering.TaskState(a.state)) {
		a.state = ""
	}
	if !slices.Contains([]metering.TaskKind{metering.Reprocess, metering.Rerate, metering.Recheck}, metering.TaskKind(a.kind)) {
		a.kind = ""
	}
	a.page, _ = strconv.Atoi(c.QueryParam("page"))
	a.page = max(1, a.page)
	return a
}

func (a tasksAsked) path() string {
	q := url.Values{}
	if a.state != "" {
		q.Set("state", a.state)
	}
	if a.kind != "" {
		q.Set("kind", a.kind)
	}
	if a.page > 1 {
		q.Set("page", strconv.Itoa(a.page))
	}
	if len(q) == 0 {
		return tasksPath
	}
	return tasksPath + "?" + q.Encode()
}

// filter selects the tasks of the list.
func (a tasksAsked) filter() metering.TaskFilter {
	f := metering.TaskFilter{Kind: metering.TaskKind(a.kind)}
	switch a.state {
	case "":
	case openTasks:
		f.States = []metering.TaskState{metering.Previewing, metering.Previewed, metering.Running}
	default:
		f.States = []metering.TaskState{metering.TaskState(a.state)}
	}
	return f
}

// List is the list of tasks, the newest first.
func (h *Tasks) List(c echo.Context) error {
	asked := readTasksAsked(c)
	v := &pages.TaskList{State: asked.state, Kind: asked.kind, MayAct: mayAct(c), Currency: h.cal.Currency, Zone: h.cal.Zone}
	if err := h.listed(c.Request().Context(), v, &asked); err != nil {
		return err
	}
	v.Pages = components.Pages{
		Page: asked.page, Pages: pageCount(v.Matching, tasksPerPage), PerPage: tasksPerPage, Rows: v.Matching, What: "tasks",
		Target: "#" + pages.TasksTable, Path: func(page int) string { to := asked; to.page = page; return to.path() },
	}
	page := h.page("Tasks")
	if v.MayAct {
		page.Action = &layout.Action{Label: "New task", Path: tasksPath + "/new"}
	}
	return web.Page(c, http.StatusOK, page, pages.TasksPage(v), pages.TasksTable)
}

// listed fills in the tasks of a page. After the last page comes the last.
func (h *Tasks) listed(ctx context.Context, v *pages.TaskList, asked *tasksAsked) (err error) {
	filter := asked.filter()
	v.Rows, v.Matching, err = h.tasks.FilterTasks(ctx, filter, tasksPerPage, (min(asked.page, 1_000_000)-1)*tasksPerPage)
	if last := pageCount(v.Matching, tasksPerPage); err == nil && asked.page > last {
		asked.page = last
		v.Rows, v.Matching, err = h.tasks.FilterTasks(ctx, filter, tasksPerPage, (last-1)*tasksPerPage)
	}
	if v.All = v.Matching; err == nil && (asked.state != "" || asked.kind != "") {
		_, v.All, err = h.tasks.FilterTasks(ctx, metering.TaskFilter{}, 0, 0)
	}
	return err
}
