package handlers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/labstack/echo/v4"

	"ratebook/costs"
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
	offeredScopes = 300             // besides those chosen; more are searched for
	longestTouch  = 3 * time.Second // to add up what a task would look at
)

// New shows the form of a new task, filled in as far as the address says.
func (h *Tasks) New(c echo.Context) error {
	states, err := h.usage.ScopeStates(c.Request().Context())
	if err != nil {
		return err
	}
	form := h.readTask(c.QueryParams(), states)
	return h.form(c, http.StatusOK, form, states, "", nil)
}

// Look shows the form as it was filled in, and what the task would look at. Nothing is stored.
func (h *Tasks) Look(c echo.Context) error {
	form, states, err := h.typedTask(c)
	if err != nil {
		return err
	}
	return h.form(c, http.StatusOK, form, states, "", nil)
}

// Create makes the task.
func (h *Tasks) Create(c echo.Context) error {
	form, states, err := h.typedTask(c)
	if err != nil {
		return err
	}
	task, wrong := form.task(c)
	if len(wrong) > 0 {
		return h.form(c, http.StatusUnprocessableEntity, form, states, "No task was made: something is missing or can't be read.", wrong)
	}
	id, err := h.keep.CreateTask(c.Request().Context(), task)
	if e, ok := errors.AsType[*fault.Error](err); ok {
		switch e.Kind {
		case fault.Invalid:
			return h.form(c, http.StatusUnprocessableEntity, form, states, e.Message, e.Fields)
		case fault.Conflict:
			return h.form(c, http.StatusConflict, form, states, e.Message, e.Fields)
		case fault.Internal, fault.NotFound, fault.Forbidden, fault.Unauthenticated, fault.Unavailable:
		}
	}
	if err != nil {
		return err
	}
	said := "The task is made and begins with a dry run." // which stays above a page that goes on by itself
	if !task.Preview {
		said = "The task is made and was started without a dry run."
	}
	return web.Redirect(c, pages.TaskPath(id), said)
}

// typedTask reads the form that was sent, and the scopes there are.
func (h *Tasks) typedTask(c echo.Context) (*taskForm, []metering.ScopeState, error) {
	typed, err := c.FormParams()
	if err != nil {
		return nil, nil, fault.Wrap(fault.Invalid, err, "the form can't be read")
	}
	states, err := h.usage.ScopeStates(c.Request().Context())
	return h.readTask(typed, states), states, err
}

// taskForm is the form of a task as it was filled in.
type taskForm struct {
	kind        metering.TaskKind
	all         bool
	scopes      []string // chosen
	ids         string   // typed
	q           string
	begin, end  string
	asItWas     bool
	reason      string
	now         bool // without a dry run
	span        period.Range
	wrong       []fault.Field // of the range; what is missing is not among them
	unspecified bool          // what to do was not understood
	presets     []taskPreset
}

// readTask reads a form or an address. A range by name goes before one that was typed; scopes that are named are meant, unless
// all are asked for.
func (h *Tasks) readTask(v url.Values, states []metering.ScopeState) *taskForm {
	some := v.Get("which") == "some" || v.Get("which") == "" && len(v["scope"]) > 0
	f := &taskForm{
		kind: metering.TaskKind(cmp.Or(v.Get("kind"), string(metering.Reprocess))), all: !some, ids: strings.TrimSpace(v.Get("ids")),
		q: strings.TrimSpace(v.Get("q")), begin: strings.TrimSpace(v.Get("begin")), end: strings.TrimSpace(v.Get("end")),
		asItWas: v.Get("as_it_was") == "1", reason: strings.TrimSpace(strings.ReplaceAll(v.Get("reason"), "\r\n", "\n")), now: v.Get("now") == "1",
	}
	f.unspecified = f.kind != metering.Reprocess && f.kind != metering.Rerate
	for _, id := range v["scope"] {
		if id != "" && !slices.Contains(f.scopes, id) {
			f.scopes = append(f.scopes, id)
		}
	}
	f.presets = h.taskPresets(f.meant(states))
	for _, p := range f.presets {
		if p.name == v.Get("range") {
			f.begin, f.end = period.Format(p.span.Begin, h.cal.Zone), period.Format(p.span.End, h.cal.Zone)
		}
	}
	read := func(name string, text *string) (t time.Time) {
		t, err := rating.ParseTime(*text, h.cal.Zone)
		if err != nil {
			message := err.Error()
			if e, ok := errors.AsType[*fault.Error](err); ok {
				message = e.Message
			}
			f.wrong = append(f.wrong, fault.Field{Name: name, Message: message})
		} else {
			*text = rating.FormatTime(t, h.cal.Zone) // as the field takes it
		}
		return t.In(h.cal.Zone) // in which errors are to name times
	}
	f.span = period.Range{Begin: read("begin", &f.begin), End: read("end", &f.end)}
	return f
}

// chosen returns the ids that were chosen or typed, each once.
func (f *taskForm) chosen() []string {
	ids := slices.Clone(f.scopes)
	known := map[string]bool{}
	for _, id := range ids {
		known[id] = true
	}
	for _, id := range strings.FieldsFunc(f.ids, func(r rune) bool { return unicode.IsSpace(r) || r == ',' || r == ';' }) {
		if !known[id] {
			known[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

// meant returns the states of the scopes that the task would be for.
func (f *taskForm) meant(states []metering.ScopeState) (meant []*metering.ScopeState) {
	chosen := map[string]bool{}
	for _, id := range f.chosen() {
		chosen[id] = true
	}
	for i := range states {
		if s := &states[i]; f.all && s.Scope.Active || !f.all && chosen[s.Scope.ID] {
			meant = append(meant, s)
		}
	}
	return meant
}

// task makes the task, or says what is missing for it.
func (f *taskForm) task(c echo.Context) (*metering.NewTask, []fault.Field) {
	n := &metering.NewTask{
		Kind: f.kind, AllScopes: f.all, Range: f.span, AsItWas: f.asItWas && f.kind == metering.Reprocess, Reason: f.reason,
		Author: web.Actor(c), Preview: !f.now,
	}
	wrong := slices.Clone(f.wrong)
	missing := func(name, message string) { wrong = append(wrong, fault.Field{Name: name, Message: message}) }
	if f.unspecified {
		missing("kind", "choose one")
	}
	if !f.all {
		if n.ScopeIDs = f.chosen(); len(n.ScopeIDs) == 0 {
			missing("scopes", "choose some scopes, or all")
		}
	}
	if f.begin == "" {
		missing("begin", "say when the first window begins")
	}
	if f.end == "" {
		missing("end", "say when the last window ends")
	}
	if f.reason == "" {
		missing("reason", "say why, for those who look later")
	}
	return n, wrong
}

// taskPreset is a range that is often meant.
type taskPreset struct {
	name, label string
	span        period.Range
}

// taskPresets returns the ranges that are often meant, of whole windows. Only windows that are processed can be done again, so
// the month so far ends where all of the scopes are; of one that is stuck before the month, where its windows end.
func (h *Tasks) taskPresets(scopes []*metering.ScopeState) []taskPreset {
	month := h.cal.month()
	before := h.cal.monthBefore(month)
	begin := h.firstFrom(month.Begin)
	end, _, _ := h.monthEnd(begin, scopes)
	return []taskPreset{
		{"this-month", "This month so far", period.Range{Begin: begin, End: end}},
		{"last-month", "Last month", period.Range{Begin: h.firstFrom(before.Begin), End: begin}},
	}
}

// monthEnd returns where the month so far ends for all of the scopes, those that it ends there for, if it could reach farther
// without them, and how far.
func (h *Tasks) monthEnd(begin time.Time, scopes []*metering.ScopeState) (end time.Time, holding []*metering.ScopeState, without time.Time) {
	end = h.cal.horizon()
	without = end
	for _, s := range scopes {
		to := s.ProcessedTo
		if !to.After(begin) {
			to = s.PlannedTo
		}
		switch {
		case !to.After(begin):
		case to.Before(end):
			end, without, holding = to, end, []*metering.ScopeState{s}
		case to.Equal(end) && holding != nil:
			holding = append(holding, s)
		default:
			without = earlier(without, to)
		}
	}
	return end, holding, without
}

// held says why the range ends before now, if that is for scopes that are behind the others.
func (h *Tasks) held(f *taskForm, meant []*metering.ScopeState) *pages.TaskHeld {
	end, holding, without := h.monthEnd(h.firstFrom(h.cal.month().Begin), meant)
	if len(holding) == 0 || !f.span.End.Equal(end) || !end.Before(h.cal.expected()) {
		return nil
	}
	s := holding[0]
	held := &pages.TaskHeld{
		End: format.Time(end, h.cal.Zone), Scope: scopeName(s.Scope), Others: len(holding) - 1, Planned: s.ProcessedTo.Before(end),
		Path: coverageAsked{zone: h.cal.Zone}.closer(zoomMonth, end, s.Scope).path(),
	}
	if len(holding) < len(meant) {
		held.Without = format.Time(without, h.cal.Zone)
	}
	return held
}

// firstFrom returns the begin of the first window that does not begin before t: months of some zones begin within one.
func (h *Tasks) firstFrom(t time.Time) time.Time {
	begin := period.Floor(t, h.cal.Period)
	if begin.Before(t) {
		begin = begin.Add(h.cal.Period)
	}
	return begin
}

// form answers with the form, or with the part of it that htmx asks for.
func (h *Tasks) form(c echo.Context, status int, f *taskForm, states []metering.ScopeState, message string, wrong []fault.Field) error {
	v := &pages.TaskForm{
		Kind: f.kind, All: f.all, Q: f.q, IDs: f.ids, Begin: f.begin, End: f.end, AsItWas: f.asItWas, Reason: f.reason,
		Message: sentenceOf(message), Zone: h.cal.Zone, Now: h.cal.now(),
	}
	if f.unspecified && status == http.StatusOK {
		v.Kind = metering.Reprocess
	}
	if status == http.StatusOK {
		wrong = f.wrong
	}
	v.Errors = h.formErrors(v, wrong)
	f.offer(v, states)
	for _, p := range f.presets {
		v.Presets = append(v.Presets, pages.TaskPreset{Label: p.label, Name: p.name, Path: f.with(p.name)})
	}
	ctx := c.Request().Context()
	part := pages.TaskFormBody
	switch target := c.Request().Header.Get("HX-Target"); target {
	case pages.TaskFormScopes, pages.TaskFormTouch:
		part = target
	}
	if part != pages.TaskFormScopes {
		v.Touch = h.touch(ctx, f, states)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return web.Page(c, status, h.page("New task", layout.Crumb{Label: "Tasks", Path: tasksPath}), pages.TaskFormPage(v), part)
}

// formErrors puts what is wrong beside the fields; what the form has no field for goes on top of it.
func (h *Tasks) formErrors(v *pages.TaskForm, wrong []fault.Field) components.Errors {
	all := components.ErrorsOf(wrong)
	for name, text := range all {
		all[name] = web.Sentence(text)
		if !slices.Contains([]string{"kind", "scopes", "begin", "end", "reason"}, name) {
			v.Message = strings.TrimSpace(v.Message + " " + all[name])
		}
	}
	return all
}

func sentenceOf(message string) string {
	if message == "" {
		return ""
	}
	return web.Sentence(message)
}

// with returns the address of the form with a range by name. Of what was typed, it has what fits in an address.
func (f *taskForm) with(preset string) string {
	const mostScopes = 100
	q := url.Values{"kind": {string(f.kind)}, "range": {preset}}
	if ids := f.chosen(); !f.all && len(ids) <= mostScopes {
		q["scope"] = ids
		q.Set("which", "some")
	}
	if f.asItWas {
		q.Set("as_it_was", "1")
	}
	return tasksPath + "/new?" + q.Encode()
}

// offer fills in the scopes to choose from: those chosen, then those that match what was searched for. Ids that are of no
// scope go where ids are typed, so that they are seen.
func (f *taskForm) offer(v *pages.TaskForm, states []metering.ScopeState) {
	chosen := map[string]bool{}
	for _, id := range f.scopes {
		chosen[id] = true
	}
	byID := map[string]*pages.TaskScope{}
	var all []*pages.TaskScope
	for i := range states {
		s := states[i].Scope
		if s.Active {
			v.Active++
		}
		if one := byID[s.ID]; one != nil { // of another source
			one.Inactive = one.Inactive && !s.Active
			one.Name = cmp.Or(one.Name, s.Name)
			continue
		}
		one := &pages.TaskScope{ID: s.ID, Name: s.Name, Chosen: chosen[s.ID], Inactive: !s.Active}
		byID[s.ID] = one
		all = append(all, one)
	}
	v.Known = len(all)
	slices.SortFunc(all, func(a, b *pages.TaskScope) int {
		if a.Chosen != b.Chosen {
			if a.Chosen {
				return -1
			}
			return 1
		}
		name := func(s *pages.TaskScope) string { return strings.ToLower(cmp.Or(s.Name, s.ID)) }
		return cmp.Or(strings.Compare(name(a), name(b)), strings.Compare(a.ID, b.ID))
	})
	names := map[string]int{}
	for _, s := range all {
		names[s.Name]++
	}
	offered := 0
	for _, s := range all {
		switch {
		case s.Chosen:
		case f.q != "" && !contains(s.Name, f.q) && !contains(s.ID, f.q):
			continue
		case offered == offeredScopes:
			v.More++
			continue
		default:
			offered++
		}
		if s.Name != "" && names[s.Name] > 1 {
			s.Name += " (" + s.ID + ")"
		}
		v.Scopes = append(v.Scopes, *s)
	}
	for _, id := range f.scopes {
		if byID[id] == nil {
			v.IDs = strings.TrimSpace(v.IDs + "\n" + id)
		}
	}
}

// touch says what the task would look at.
func (h *Tasks) touch(ctx context.Context, f *taskForm, states []metering.ScopeState) pages.TaskTouch {
	t := pages.TaskTouch{Currency: h.cal.Currency}
	meant := f.meant(states)
	ids := map[string]bool{} // of which several sources may know the same
	for _, s := range meant {
		ids[s.Scope.ID] = true
	}
	if !f.all {
		t.Unknown = len(f.chosen()) - len(ids)
	}
	if f.begin == "" || f.end == "" || len(f.wrong) > 0 || f.span.Empty() || len(meant) == 0 {
		return t
	}
	t.Range, t.Held = format.Range(f.span.Begin, f.span.End, h.cal.Zone), h.held(f, meant)
	for _, s := range meant {
		t.Scopes++
		end := f.span.End
		if s.PlannedTo.Before(end) {
			end = s.PlannedTo
		}
		if length := end.Sub(f.span.Begin); length > 0 && !s.PlannedTo.IsZero() {
			t.Windows += int64(length / h.cal.Period)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, longestTouch)
	defer cancel()
	// of all scopes, so that one answer, which is kept, does for every choice
	a, err := h.sums.report(ctx, &costs.Query{Range: f.span, Groups: []string{costs.Scope}})
	if err != nil {
		t.Missing = "it takes too long to add them up"
		if ctx.Err() == nil {
			t.Missing = failed(ctx, h.log, "The charges that a task would look at can't be read", err, "").Text
		}
		return t
	}
	others := false
	for id, amount := range a.by(0) {
		if ids[id] {
			t.Amount.Accumulate(&amount)
		} else {
			others = true
		}
	}
	if !f.all || !others {
		t.CostsPath = touchedCosts(f, ids)
	}
	return t
}

// touchedCosts returns the address of the cost report of what a task would look at; empty if it would be too long.
func touchedCosts(f *taskForm, ids map[string]bool) string {
	const mostFilters = 20
	q := url.Values{"begin": {period.Format(f.span.Begin, time.UTC)}, "end": {period.Format(f.span.End, time.UTC)}, "group": {costs.Scope, costs.Metric}}
	if !f.all {
		if len(ids) == 0 || len(ids) > mostFilters {
			return ""
		}
		for id := range ids {
			q.Add("filter", costs.Scope+"="+id)
		}
		slices.Sort(q["filter"])
	}
	return "/costs?" + q.Encode()
}
