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
	"ratebook/period"
	"ratebook/views/components"
	"ratebook/views/format"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

const (
	mapScopes = 25 // a page
	allScopes = "all"
)

// coverageAsked is the state of the map, which is its address.
type coverageAsked struct {
	zone     *time.Location
	zoom     string
	at       time.Time // what is shown is around it; zero: the last window that is due
	scopes   []int64   // only these; empty: all
	q        string
	troubled bool // only scopes with failed or late windows
	page     int
	wrong    string // with the time asked for
}

// readCoverageAsked reads the address; what it does not understand is as if it were not there, but for the time.
func (h *Coverage) readCoverageAsked(c echo.Context) coverageAsked {
	a := coverageAsked{zone: h.cal.Zone, zoom: c.QueryParam("zoom"), q: strings.TrimSpace(c.QueryParam("q")), troubled: c.QueryParam("state") == failing}
	switch {
	case !slices.ContainsFunc(coverageZooms, func(z struct{ name, label string }) bool { return z.name == a.zoom }):
		a.zoom = zoomMonth
	case a.zoom == zoomHour && h.cal.Period >= shortestInDay:
		a.zoom = zoomDay
	}
	if text := c.QueryParam("at"); text != "" {
		switch t, err := period.ParseTime(text, h.cal.Zone); {
		case err != nil:
			a.wrong = wrongDay
		case t.Year() <= 1970 || t.Year() >= 10_000:
			a.wrong = "Choose a day of the years 1971 to 9999."
		default:
			a.at = t
		}
	}
	for _, text := range c.QueryParams()["scope"] {
		if ref, err := strconv.ParseInt(text, 10, 64); err == nil && !slices.Contains(a.scopes, ref) {
			a.scopes = append(a.scopes, ref)
		}
	}
	a.page, _ = strconv.Atoi(c.QueryParam("page"))
	a.page = max(1, a.page)
	return a
}

// path returns the address of the map; what is usual is left out.
func (a coverageAsked) path() string {
	q := url.Values{}
	if a.zoom != zoomMonth {
		q.Set("zoom", a.zoom)
	}
	switch {
	case a.at.IsZero():
	case a.zoom == zoomHour:
		q.Set("at", period.Format(a.at, time.UTC))
	default:
		q.Set("at", a.day())
	}
	for _, ref := range a.scopes {
		q.Add("scope", strconv.FormatInt(ref, 10))
	}
	if a.q != "" {
		q.Set("q", a.q)
	}
	if a.troubled {
		q.Set("state", failing)
	}
	if a.page > 1 {
		q.Set("page", strconv.Itoa(a.page))
	}
	if len(q) == 0 {
		return "/processing/coverage"
	}
	return "/processing/coverage?" + q.Encode()
}

// day returns the civil day of the time, as addresses and date fields have it.
func (a coverageAsked) day() string { return period.Date(a.at, a.zone).Format(time.DateOnly) }

// closer returns the map zoomed in on a time, and, unless nil, on one scope.
func (a coverageAsked) closer(zoom string, at time.Time, s *metering.Scope) coverageAsked {
	a.zoom, a.at = zoom, at
	if s != nil {
		a.scopes, a.q, a.troubled, a.page = []int64{s.Ref}, "", false, 1
	}
	return a
}

// mapPath returns the address of the map of one scope around a day.
func (h *Coverage) mapPath(zoom string, at time.Time, s *metering.Scope) string {
	return coverageAsked{zone: h.cal.Zone}.closer(zoom, at, s).path()
}

// matching returns the scopes that a map is about, those with failed windows first, then those that lag.
func (h *Coverage) matching(states []metering.ScopeState, a *coverageAsked) []metering.ScopeState {
	trouble := func(s *metering.ScopeState) int {
		switch {
		case h.cal.stands(s, failing):
			return 0
		case h.cal.stands(s, lagging):
			return 1
		}
		return 2
	}
	states = slices.DeleteFunc(slices.Clone(states), func(s metering.ScopeState) bool {
		return len(a.scopes) > 0 && !slices.Contains(a.scopes, s.Scope.Ref) || a.troubled && trouble(&s) == 2 ||
			!contains(s.Scope.Name, a.q) && !contains(s.Scope.ID, a.q)
	})
	slices.SortFunc(states, func(a, b metering.ScopeState) int {
		return cmp.Or(trouble(&a)-trouble(&b), strings.Compare(strings.ToLower(scopeName(a.Scope)), strings.ToLower(scopeName(b.Scope))), cmp.Compare(a.Scope.Ref, b.Scope.Ref))
	})
	return states
}

// Map shows how windows stand: scopes down, time across.
func (h *Coverage) Map(c echo.Context) error {
	ctx, asked := c.Request().Context(), h.readCoverageAsked(c)
	states, err := h.store.ScopeStates(ctx)
	if err != nil {
		return err
	}
	if asked.at.IsZero() {
		asked.at = h.cal.horizon().Add(-time.Second)
	}
	matching := h.matching(states, &asked)
	last := max(1, (len(matching)+mapScopes-1)/mapScopes)
	asked.page = min(asked.page, last)
	shown := matching[(asked.page-1)*mapScopes : min(len(matching), asked.page*mapScopes)]
	r := h.cal.stretch(asked.zoom, asked.at)
	v := &pages.Coverage{
		Zone: h.cal.Zone, Q: asked.q, Troubled: asked.troubled, Zoom: asked.zoom, Day: asked.day(), Around: asked.day(),
		Range: format.Range(r.Begin, r.End, h.cal.Zone), Scopes: len(states), Matching: len(matching),
		Planned: slices.ContainsFunc(states, func(s metering.ScopeState) bool {
			return s.Due+s.Failed > 0 || s.PlannedTo.After(s.ProcessedTo) || !s.ProcessedTo.IsZero()
		}),
	}
	status := http.StatusOK
	if asked.wrong != "" {
		status, v.Around, v.AroundProblem = http.StatusUnprocessableEntity, c.QueryParam("at"), asked.wrong
	}
	h.ways(v, asked, r, states)
	if len(shown) > 0 && v.Planned {
		if err := h.draw(ctx, v, &asked, r, shown); err != nil {
			return err
		}
		if err := h.actions(ctx, v, c, asked, r, matching); err != nil {
			return err
		}
	}
	v.Pages = components.Pages{
		Page: asked.page, Pages: last, PerPage: mapScopes, Rows: len(matching), What: "scopes", Target: "#" + pages.CoverageMap,
		Path: func(page int) string { to := asked; to.page = page; return to.path() },
	}
	page := layout.Page{
		Title: "Coverage", Area: layout.Processing, Crumbs: []layout.Crumb{{Label: "Processing", Path: "/processing"}},
		Aside: "the state of every window, times in " + h.cal.Zone.String(),
	}
	return web.Page(c, status, page, pages.CoveragePage(v), pages.CoverageMap)
}

// ways fills in the links to what is beside, closer and farther.
func (h *Coverage) ways(v *pages.Coverage, asked coverageAsked, r period.Range, states []metering.ScopeState) {
	to := asked
	to.at = r.Begin.Add(-time.Second)
	v.Before = to.path()
	to.at = r.End
	v.After = to.path()
	for _, z := range coverageZooms {
		if z.name == zoomHour && h.cal.Period >= shortestInDay {
			continue
		}
		to := asked
		to.zoom = z.name
		v.Zooms = append(v.Zooms, pages.CoverageZoom{Label: z.label, Path: to.path(), Current: z.name == asked.zoom})
	}
	if len(asked.scopes) == 0 {
		return
	}
	for _, ref := range asked.scopes {
		v.Refs = append(v.Refs, strconv.FormatInt(ref, 10))
	}
	v.Only = "only " + pages.Many(len(asked.scopes), "scope", "scopes")
	if i := slices.IndexFunc(states, func(s metering.ScopeState) bool { return s.Scope.Ref == asked.scopes[0] }); i >= 0 && len(asked.scopes) == 1 {
		v.Only = "only " + scopeName(states[i].Scope)
	}
	to = asked
	to.scopes, to.page = nil, 1
	v.EveryPath = to.path()
}

// draw fills in the map of the scopes that are shown.
func (h *Coverage) draw(ctx context.Context, v *pages.Coverage, asked *coverageAsked, r period.Range, shown []metering.ScopeState) error {
	cells := h.cal.cells(asked.zoom, r)
	refs := make([]int64, len(shown))
	row := map[int64]int{}
	for i := range shown {
		refs[i] = shown[i].Scope.Ref
		row[refs[i]] = i
	}
	counted, err := h.store.Coverage(ctx, refs, cells)
	if err != nil {
		return err
	}
	if asked.zoom == zoomHour { // as many columns as there are windows
		cells, counted = begun(cells, counted)
		for i := range cells {
			cells[i].End = cells[i].Begin.Add(h.cal.Period)
		}
	}
	v.Map.Caption = "Windows of " + pages.Many(len(shown), "scope", "scopes") + ", " + v.Range
	v.Map.Spans, v.Map.Columns = h.columns(asked, cells)
	named := shared(scopesOf(shown))
	for i := range shown {
		s := shown[i].Scope
		line := components.MapRow{Name: scopeName(s), Path: scopePath(s), Hint: s.ID, Cells: make([]components.MapCell, len(cells))}
		if named[line.Name] {
			line.Name += " (" + s.ID + ")"
		}
		v.Map.Rows = append(v.Map.Rows, line)
	}
	var sum metering.Coverage
	open := make([][metering.Empty + 1]int, len(shown))
	for i := range counted {
		n := &counted[i]
		at := row[n.Scope]
		line := &v.Map.Rows[at]
		line.Cells[n.Cell] = h.cell(asked, shown[at].Scope, n, &v.Map.Columns[n.Cell], cells[n.Cell])
		for state, count := range n.Counts {
			sum.Counts[state] += count
			open[at][state] += count
		}
		sum.Again += n.Again
		sum.Redone += n.Redone
	}
	for i := range shown {
		line := &v.Map.Rows[i]
		line.Note = openNote(open[i])
		line.NotePath = asked.closer(asked.zoom, asked.at, shown[i].Scope).path()
	}
	v.Legend = mapLegend(&sum)
	return nil
}

// begun keeps the cells that windows begin in.
func begun(cells []period.Range, counted []metering.Coverage) (kept []period.Range, renumbered []metering.Coverage) {
	used := make([]bool, len(cells))
	for i := range counted {
		used[counted[i].Cell] = true
	}
	place := make([]int, len(cells))
	for i, c := range cells {
		if used[i] {
			place[i] = len(kept)
			kept = append(kept, c)
		}
	}
	renumbered = slices.Clone(counted)
	for i := range renumbered {
		renumbered[i].Cell = place[renumbered[i].Cell]
	}
	return kept, renumbered
}

// openNote says in a few words what is open of a scope; empty: nothing is.
func openNote(n [metering.Empty + 1]int) string {
	var parts []string
	if n[metering.Failed] > 0 {
		parts = append(parts, format.Count(int64(n[metering.Failed]))+" failed")
	}
	if due := n[metering.Due] + n[metering.Leased]; due > 0 {
		parts = append(parts, format.Count(int64(due))+" due")
	}
	return strings.Join(parts, " · ")
}

// cell returns how windows of a scope that begin in a cell are drawn.
func (h *Coverage) cell(asked *coverageAsked, s *metering.Scope, n *metering.Coverage, column *components.MapColumn, r period.Range) components.MapCell {
	windows := 0
	for _, count := range n.Counts {
		windows += count
	}
	cell := components.MapCell{State: worst(&n.Counts), Again: n.Again > 0, Redone: n.Redone > 0, Title: scopeName(s) + ", " + column.Title + ": " + countsText(n)}
	processed := n.Counts[metering.Done] + n.Counts[metering.Empty]
	cell.Part = processed > 0 && processed < windows
	if closer := closerZooms[asked.zoom]; windows > 1 && closer != "" {
		cell.Path = asked.closer(closer, r.Begin, s).path()
	} else {
		cell.Path = windowPath(s.Ref, n.First)
	}
	return cell
}

// worst returns the state that a cell shows: the one that needs attention most. Windows without usage are done, too, so
// only a cell that has no others looks empty.
func worst(n *[metering.Empty + 1]int) metering.State {
	for _, s := range [...]metering.State{metering.Failed, metering.Due, metering.Leased, metering.Waived, metering.Done} {
		if n[s] > 0 {
			return s
		}
	}
	return metering.Empty
}

// countsText says how many windows are in which state, such as "22 done, 2 failed".
func countsText(n *metering.Coverage) string {
	var parts []string
	for _, s := range [...]metering.State{metering.Done, metering.Empty, metering.Failed, metering.Due, metering.Leased, metering.Waived} {
		if count := n.Counts[s]; count > 0 {
			_, text := windowState(s)
			parts = append(parts, format.Count(int64(count))+" "+text)
		}
	}
	text := strings.Join(parts, ", ")
	if n.Again > 0 {
		text += "; " + pages.Many(n.Again, "waits", "wait") + " to be done again"
	}
	if n.Redone > 0 {
		text += "; " + pages.Many(n.Redone, "was", "were") + " done again"
	}
	return text
}

// mapLegend says what cells mean, with how many windows of each are shown.
func mapLegend(sum *metering.Coverage) []components.MapKey {
	var keys []components.MapKey
	for _, s := range [...]metering.State{metering.Done, metering.Empty, metering.Failed, metering.Due, metering.Leased, metering.Waived} {
		_, text := windowState(s)
		keys = append(keys, components.MapKey{Cell: components.MapCell{State: s}, Text: text + " " + format.Count(int64(sum.Counts[s]))})
	}
	return append(keys,
		components.MapKey{Cell: components.MapCell{State: metering.Due, Part: true}, Text: "processed in part"},
		components.MapKey{Cell: components.MapCell{State: metering.Done, Again: true}, Text: "waits to be done again " + format.Count(int64(sum.Again))},
		components.MapKey{Cell: components.MapCell{State: metering.Done, Redone: true}, Text: "was done again " + format.Count(int64(sum.Redone))})
}

// actions fills in what an operator may do about the open windows of all scopes that match, on whichever page.
func (h *Coverage) actions(ctx context.Context, v *pages.Coverage, c echo.Context, asked coverageAsked, r period.Range, matching []metering.ScopeState) error {
	if !web.User(c).May(access.Operator) {
		return nil
	}
	sel, field := selectionOf(matching, v.Scopes, r)
	open, err := h.store.OpenWindows(ctx, sel)
	if err != nil {
		return err
	}
	act := &pages.CoverageActions{WindowFields: windowFields(field, r, asked.path()), Scopes: "of " + pages.Many(len(open), "scope", "scopes")}
	for i := range open {
		act.Due += open[i].Counts[metering.Due]
		act.Failed += open[i].Counts[metering.Failed]
		act.Again += open[i].Again
	}
	if act.Due+act.Failed+act.Again > 0 {
		v.Act = act
	}
	return nil
}

// selectionOf selects the windows of scopes, of all there are or only of some, and returns the form field that says the same.
func selectionOf(scopes []metering.ScopeState, all int, r period.Range) (sel metering.WindowSelection, field string) {
	sel.Range = r
	if len(scopes) == all {
		return sel, allScopes
	}
	names := make([]string, len(scopes))
	for i := range scopes {
		ref := scopes[i].Scope.Ref
		sel.Scopes = append(sel.Scopes, ref)
		names[i] = strconv.FormatInt(ref, 10)
	}
	return sel, strings.Join(names, ",")
}

func windowFields(scope string, r period.Range, back string) pages.WindowFields {
	return pages.WindowFields{Scope: scope, Begin: period.Format(r.Begin, time.UTC), End: period.Format(r.End, time.UTC), Back: back}
}
