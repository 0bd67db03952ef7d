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

const (
	tasksPerPage = 50
	tasksLooked  = 2_000 // the most that are looked through to narrow the list
)

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

// keeps reports whether the list, narrowed, has the task.
func (a tasksAsked) keeps(t *metering.Task) bool {
	switch {
	case a.kind != "" && string(t.Kind) != a.kind:
		return false
	case a.state == openTasks:
		return t.State != metering.Cancelled && t.State != metering.Finished
	}
	return a.state == "" || string(t.State) == a.state
}

// List is the list of tasks, the newest first.
func (h *Tasks) List(c echo.Context) error {
	asked := readTasksAsked(c)
	v := &pages.TaskList{State: asked.state, Kind: asked.kind, MayAct: mayAct(c), Currency: h.cal.Currency, Zone: h.cal.Zone}
	if err := h.listed(c.Request().Context(), v, &asked); err != nil {
		return err
	}
	v.Pages = components.Pages{
		Page: asked.page, Pages: max(1, (v.Matching+tasksPerPage-1)/tasksPerPage), PerPage: tasksPerPage, Rows: v.Matching, What: "tasks",
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
	if asked.state == "" && asked.kind == "" {
		v.Rows, v.All, err = h.tasks.Tasks(ctx, tasksPerPage, (min(asked.page, 1_000_000)-1)*tasksPerPage)
		if last := max(1, (v.All+tasksPerPage-1)/tasksPerPage); err == nil && asked.page > last {
			asked.page = last
			v.Rows, v.All, err = h.tasks.Tasks(ctx, tasksPerPage, (last-1)*tasksPerPage)
		}
		v.Matching = v.All
		return err
	}
	var matching []metering.Task
	for v.Looked < tasksLooked {
		some, all, err := h.tasks.Tasks(ctx, 10*tasksPerPage, v.Looked)
		if err != nil {
			return err
		}
		v.All = all
		for i := range some {
			if asked.keeps(&some[i]) {
				matching = append(matching, some[i])
			}
		}
		if v.Looked += len(some); len(some) == 0 || v.Looked >= all {
			break
		}
	}
	v.Matching = len(matching)
	asked.page = min(asked.page, max(1, (len(matching)+tasksPerPage-1)/tasksPerPage))
	first := (asked.page - 1) * tasksPerPage
	v.Rows = matching[first:min(len(matching), first+tasksPerPage)]
	return nil
}
