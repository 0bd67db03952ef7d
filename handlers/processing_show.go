package handlers

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/metering"
	"ratebook/views/components"
	"ratebook/views/format"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

const mostBehind = 15 // scopes that the page shows

// Show is the page. Each of its parts is read, and can fail, on its own.
func (h *Processing) Show(c echo.Context) error {
	ctx := c.Request().Context()
	v := &pages.ProcessingOverview{
		Now: h.cal.now(), Zone: h.cal.Zone, NoSource: !h.worker.Collects, Process: h.worker.Name, MayRun: web.User(c).May(access.Operator),
		Events: "/processing/events",
	}
	if version, err := h.version(ctx); err == nil { // before anything is read, so that no change is missed
		v.Events += "?" + url.Values{"seen": {version}}.Encode()
	}
	states, err := h.store.ScopeStates(ctx)
	if err != nil {
		v.LedgerFailure = failed(ctx, h.log, "The state of processing can't be read", err, "/processing")
	} else {
		h.status(v, states)
		h.behind(v, states)
	}
	day := h.lastDay()
	counts, err := h.store.StateCounts(ctx, day)
	if err != nil {
		v.RecentFailure = failed(ctx, h.log, "The windows can't be counted", err, "/processing")
	} else {
		v.Day, v.Recent = format.Range(day.Begin, day.End, h.cal.Zone), recentWindows(counts)
	}
	if v.Tasks, err = h.running(ctx); err != nil {
		v.TasksFailure = failed(ctx, h.log, "The tasks can't be read", err, "/processing")
	}
	for i := range v.Tasks {
		v.Waiting += v.Tasks[i].Left
	}
	if err := ctx.Err(); err != nil { // nobody waits for a page of failures
		return err
	}
	v.Pace = pace(h.worker.Throughput(), v.Now)
	for _, j := range h.worker.Jobs.Jobs() {
		row := pages.JobRow{Job: j}
		if j.Took > 0 {
			row.Lasted = tookText(j.Took)
		}
		v.Jobs = append(v.Jobs, row)
	}
	return web.Page(c, http.StatusOK, layout.Page{Title: "Processing", Area: layout.Processing, Aside: "times in " + h.cal.Zone.String()},
		pages.ProcessingPage(v), pages.ProcessingPart)
}

// status says in a sentence how the active scopes are processed.
func (h *Processing) status(v *pages.ProcessingOverview, states []metering.ScopeState) {
	fine, lag, late, untouched := 0, 0, 0, 0
	var longest time.Duration
	for i := range states {
		s := &states[i]
		if !s.Scope.Active {
			continue
		}
		v.Scopes++
		v.Due += s.Due
		v.Failed += s.Failed
		switch {
		case h.cal.stands(s, upToDate):
			fine++
		case s.ProcessedTo.IsZero():
			untouched++
		case h.cal.stands(s, lagging):
			lag++
			longest = max(longest, h.cal.lag(s))
		}
		if h.cal.late(s) {
			late++
		}
	}
	parts := []string{"All " + pages.Many(v.Scopes, "scope", "scopes") + " are up to date"}
	if v.Scopes == 1 {
		parts[0] = "The only scope is up to date"
	}
	if fine < v.Scopes {
		parts[0] = format.Count(int64(fine)) + " of " + pages.Many(v.Scopes, "scope is", "scopes are") + " up to date"
	}
	if lag > 0 {
		verb := "lags "
		if lag > 1 {
			verb = "lag up to "
		}
		parts = append(parts, format.Count(int64(lag))+" "+verb+format.Duration(longest))
	}
	if untouched > 0 {
		parts = append(parts, pages.Many(untouched, "is not processed yet", "are not processed yet"))
	}
	if v.Failed > 0 {
		parts = append(parts, pages.Many(v.Failed, "window failed", "windows failed"))
	}
	v.Status = strings.Join(parts, "; ") + "."
	v.DuePath = "/processing/coverage?zoom=" + zoomDay // they have only just become due
	if lag+untouched > 0 {
		v.DuePath = "/scopes?state=" + lagging
	}
	switch {
	case v.Failed > 0:
		v.State, v.Short = components.Failed, "Windows have failed"
	case late > 0:
		v.State, v.Short = components.Warning, "Scopes lag by more than "+format.Duration(h.cal.mostLag())
	case lag > 0:
		v.State, v.Short = components.Warning, "Scopes lag"
	case fine < v.Scopes:
		v.State, v.Short = components.Neutral, "Scopes are not processed yet"
	default:
		v.State, v.Short = components.OK, "All scopes are up to date"
	}
}

// behind fills in the active scopes that lag or have failed windows, those that lag most first.
func (h *Processing) behind(v *pages.ProcessingOverview, states []metering.ScopeState) {
	var all []*metering.ScopeState
	for i := range states {
		if s := &states[i]; h.cal.stands(s, lagging) || h.cal.stands(s, failing) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *metering.ScopeState) int {
		return cmp.Or(a.ProcessedTo.Compare(b.ProcessedTo), cmp.Compare(b.Failed, a.Failed), strings.Compare(scopeName(a.Scope), scopeName(b.Scope)),
			cmp.Compare(a.Scope.Ref, b.Scope.Ref))
	})
	v.AllBehind = len(all)
	named := shared(scopesOf(states))
	for _, s := range all[:min(len(all), mostBehind)] {
		row := pages.BehindScope{
			Processing: h.cal.processing(s), Name: scopeName(s.Scope), ID: s.Scope.ID, Twin: named[scopeName(s.Scope)], Due: s.Due, Failed: s.Failed,
			Path: "/processing/coverage?scope=" + strconv.FormatInt(s.Scope.Ref, 10),
		}
		v.Behind = append(v.Behind, row)
	}
}

// running returns the tasks that go on by themselves.
func (h *Processing) running(ctx context.Context) ([]metering.Task, error) {
	tasks, err := h.store.OpenTasks(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(tasks), func(t metering.Task) bool { return !pages.TaskLive(&t) }), nil
}

// recentWindows says how many windows are in which state, those first that need something to be done.
func recentWindows(counts [metering.Empty + 1]int) (all []pages.WindowCount) {
	for _, s := range []metering.State{metering.Failed, metering.Due, metering.Leased, metering.Waived, metering.Done, metering.Empty} {
		if n := counts[s]; n > 0 {
			badge, text := windowState(s)
			all = append(all, pages.WindowCount{Badge: badge, Text: format.Count(int64(n)) + " " + text})
		}
	}
	if all == nil {
		all = []pages.WindowCount{{Badge: components.Neutral, Text: "none is planned"}}
	}
	return all
}

// pace says how much a process gets done.
func pace(t metering.Throughput, now time.Time) pages.Pace {
	p := pages.Pace{Since: t.Since, Failed: t.Failed}
	seconds := int64(now.Sub(t.Since) / time.Second)
	if seconds < 60 || t.Windows+t.Failed == 0 { // too little to tell how much it is in an hour
		p.Texts = []string{pages.Many(t.Windows, "window", "windows"), pages.Many(t.Points, "point", "points")}
	} else {
		tenths := int64(t.Points) * 10 / seconds
		p.Texts = []string{
			format.Count(int64(t.Windows)*3600/seconds) + " windows/h",
			format.Count(tenths/10) + "." + strconv.FormatInt(tenths%10, 10) + " points/s",
		}
	}
	switch {
	case t.Busy >= time.Minute:
		p.Texts = append(p.Texts, "busy for "+format.Duration(t.Busy))
	case t.Busy > 0:
		p.Texts = append(p.Texts, "busy for "+tookText(t.Busy))
	}
	return p
}
