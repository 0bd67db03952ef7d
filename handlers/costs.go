package handlers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
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

// Reports answers reports.
type Reports interface {
	// Report yields rows sorted by the begin of their bucket, then groups, and returns their total.
	Report(ctx context.Context, q *costs.Query, yield func(costs.Row) error) (costs.Total, error)
	// ReportVersion returns a text that changes with every answer; it is not stable while charges are being written.
	ReportVersion(ctx context.Context) (version string, stable bool, err error)
}

// CostsCatalog knows what reports can be asked by, and how far charges are complete.
type CostsCatalog interface {
	// Configuration returns the metrics as of a version; 0 is the latest.
	Configuration(ctx context.Context, version int64) (*metering.Configuration, error)
	ScopeStates(ctx context.Context) ([]metering.ScopeState, error)
	// Retention returns since when charges and roll-ups are kept.
	Retention(ctx context.Context) (metering.Retention, error)
}

// Costs is the cost report: a page, and the same as files.
type Costs struct {
	reports  Reports
	few      *fewReports // the same for pages
	catalog  CostsCatalog
	settings *metering.Settings
	wait     int // periods from a window's begin until it is due
	now      func() time.Time
	cells    int // mostCells
	streams  costsStreams
	longest  time.Duration // longestStream
}

// mostReports is how many reports are made for pages at a time. Each holds a connection to the database, and files,
// sessions and the processing of windows need some too.
const mostReports = 4

// fewReports makes few reports at a time.
type fewReports struct {
	Reports
	slots chan struct{}
}

// Report waits for its turn, as long as ctx goes on.
func (f *fewReports) Report(ctx context.Context, q *costs.Query, yield func(costs.Row) error) (costs.Total, error) {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
		return f.Reports.Report(ctx, q, yield)
	case <-ctx.Done():
		return costs.Total{}, fault.Wrap(fault.Unavailable, ctx.Err(), "too many reports are asked for at once, and this one had no turn; try again in a moment")
	}
}

// NewCosts returns the cost report; wait is how many periods after its begin a window is due.
func NewCosts(reports Reports, catalog CostsCatalog, settings *metering.Settings, wait int, now func() time.Time) *Costs {
	return &Costs{
		reports: reports, few: &fewReports{reports, make(chan struct{}, mostReports)},
		catalog: catalog, settings: settings, wait: wait, now: now,
		cells: mostCells, streams: costsStreams{of: map[string]int{}}, longest: longestStream,
	}
}

// Routes registers the cost report.
func (h *Costs) Routes(r *web.Router) {
	r.Tenant.GET("/costs", h.show)
	r.Tenant.GET("/costs.csv", h.csv)
	r.Tenant.GET("/costs.json", h.json)
	r.Tenant.GET("/costs/values", h.suggest)
}

// The parameters of the form that adds a filter. They never stay in an address.
const (
	filterKey   = "fkey"
	filterValue = "fvalue"
)

// costsRequest is one request for the page or its suggestions.
type costsRequest struct {
	*costsQuestion
	user      *access.User
	typed     url.Values
	wrong     []fault.Field
	metrics   []*metering.Metric
	states    []metering.ScopeState // of the scopes that the user may see
	names     map[string]string     // of scopes, by id; none of those without one
	version   int64                 // of the metrics
	retention metering.Retention
}

// read reads the request and what is known of what it asks for.
func (h *Costs) read(c echo.Context) (*costsRequest, error) {
	typed, err := url.ParseQuery(c.QueryString())
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the address is damaged: a part of its query can't be read; open the report anew")
	}
	r := &costsRequest{user: web.User(c), typed: typed, names: map[string]string{}}
	r.costsQuestion, r.wrong = parseCosts(typed, h.settings.Zone, h.now(), filterKey, filterValue)
	configuration, err := h.catalog.Configuration(c.Request().Context(), 0)
	if err != nil {
		return nil, err
	}
	r.metrics, r.version = configuration.Metrics, configuration.Version
	if r.retention, err = h.catalog.Retention(c.Request().Context()); err != nil {
		return nil, err
	}
	states, err := h.catalog.ScopeStates(c.Request().Context())
	if err != nil {
		return nil, err
	}
	r.states = ownStates(r.user, states)
	for i := range r.states {
		if s := r.states[i].Scope; s.Name != "" && r.names[s.ID] == "" {
			r.names[s.ID] = s.Name
		}
	}
	return r, nil
}

// ask returns what to ask the store for the question. A tenant is asked for its own scopes alone; ok is false if it has none.
func (q *costsQuestion) ask(u *access.User, change func(*costs.Query)) (query *costs.Query, ok bool) {
	query = &costs.Query{Range: q.span, Bucket: q.bucket, Groups: q.groups}
	own, ok := ownCosts(u)
	query.Filters = append(slices.Clone(q.filters), own...)
	change(query)
	return query, ok
}

// show answers the page. An address that can be said in a shorter way leads there, so that a question has one address.
func (h *Costs) show(c echo.Context) error {
	// the version is read before all that it stands for: what changes between makes the page newer than its version, never older
	version, stable, versionErr := h.reports.ReportVersion(c.Request().Context())
	r, err := h.read(c)
	if err != nil {
		return err
	}
	r.addFilter()
	if canonical := r.values(); len(r.wrong) == 0 && canonical.Encode() != r.typed.Encode() {
		return web.Redirect(c, r.path(), "")
	}
	h.suit(c.Request().Context(), r)
	page := layout.Page{
		Title: "Costs", Area: layout.Costs,
		Aside: fmt.Sprintf("costs in %s, times in %s", h.settings.Currency, h.settings.Zone),
	}
	view := h.face(r)
	if len(r.wrong) > 0 {
		return web.Page(c, http.StatusUnprocessableEntity, page, pages.CostsBody(view), pages.CostsFragment)
	}
	if err = versionErr; err != nil && fault.KindOf(err) != fault.Unavailable {
		return err
	}
	if err == nil && stable && web.NotModified(c, h.version(r, view, version)) {
		return nil
	}
	status := http.StatusOK
	if err == nil {
		err = h.fill(c.Request().Context(), r, view)
	}
	if err != nil {
		problem, ok := errors.AsType[*fault.Error](err)
		if ok && problem.Kind == fault.Invalid { // the question is well-formed: what it needs is not kept any more
			r.refuse(problem)
			header := c.Response().Header()
			header.Set("Cache-Control", "no-store")
			header.Del("ETag")
			return web.Page(c, http.StatusUnprocessableEntity, page, pages.CostsBody(h.face(r)), pages.CostsFragment)
		}
		if !ok || problem.Kind != fault.Unavailable || c.Request().Context().Err() != nil { // time is up for a page, too
			return err
		}
		status = http.StatusServiceUnavailable
		view.Problem = &pages.CostsProblem{Text: problem.Message, Retry: r.path()}
		header := c.Response().Header()
		header.Set("Cache-Control", "no-store")
		header.Del("ETag")
		header.Set("Retry-After", "10")
		header.Set("HX-Retarget", "#"+pages.CostsReportID) // in its own place, not where messages are
		header.Set("HX-Reswap", "outerHTML")
	}
	return web.Page(c, status, page, pages.CostsBody(view), pages.CostsFragment)
}

// refuse says beside a control why a well-formed question can't be answered.
func (r *costsRequest) refuse(problem *fault.Error) {
	name := "range"
	if r.divided && r.bucket == period.Hour {
		name = "bucket"
	}
	r.wrong = append(r.wrong, fault.Field{Name: name, Message: problem.Message})
}

// mostByHour is how many points a report divides into hours without being asked to: hours are summed from single charges.
const mostByHour = 100_000

// suit divides a range of a day or two into days, not hours, if it has so many points that hours would take their time, or
// if there are only days of it left.
func (h *Costs) suit(ctx context.Context, r *costsRequest) {
	if r.divided || r.bucket != period.Hour || len(r.wrong) > 0 {
		return
	}
	byDay := func() {
		q := *r.costsQuestion
		q.bucket = period.Day
		r.costsQuestion = &q
	}
	if r.span.Begin.Before(r.retention.ChargesFrom) {
		byDay()
		return
	}
	query, ok := r.ask(r.user, func(q *costs.Query) {
		q.Groups, q.Bucket = nil, period.Whole
		q.Range.Begin = period.Day.Start(q.Range.Begin, r.zone) // whole days are summed already
		if end := period.Day.Start(q.Range.End, r.zone); end.Before(q.Range.End) {
			q.Range.End = period.Day.Next(end, r.zone)
		}
	})
	if !ok {
		return
	}
	total, err := h.few.Report(ctx, query, func(costs.Row) error { return nil })
	if err == nil && total.Points > mostByHour { // an error comes back with the report itself
		byDay()
	}
}

// version says when the page changes: with the report, with the hour, since ranges move and scopes fall behind, and with
// what can be asked.
func (h *Costs) version(r *costsRequest, view *pages.Costs, report string) string {
	hour := h.now().Truncate(time.Hour).Unix()
	return fmt.Sprintf("%s %d %d %s %q %t", report, hour, r.version, r.span, view.Partial, r.processed())
}

// addFilter takes what the form for filters sent into the question.
func (r *costsRequest) addFilter() {
	key, value := costsKey(r.typed.Get(filterKey)), r.typed.Get(filterValue)
	switch {
	case key == "" && value == "":
	case r.badKey(key):
	case key == "" || key == costs.AttributePrefix:
		r.wrong = append(r.wrong, fault.Field{Name: filterKey, Message: fmt.Sprintf("choose what %q is", clipped(value))})
	case value == "":
		r.wrong = append(r.wrong, fault.Field{Name: filterValue, Message: "type a value, or choose one of those listed"})
	case overlong(value):
		r.wrong = append(r.wrong, fault.Field{Name: filterValue, Message: fmt.Sprintf("has more than %d characters", mostText)})
	default:
		q := *r.costsQuestion
		q.filters, q.page = withFilter(q.filters, key, value), 1
		if message := tooMuch(q.values()["filter"]); message != "" {
			r.wrong = append(r.wrong, fault.Field{Name: filterValue, Message: message})
			return
		}
		r.costsQuestion = &q
	}
}

// badKey reports whether no filter can have the key that the form sent, and says so.
func (r *costsRequest) badKey(key string) bool {
	switch {
	case overlong(key):
		r.wrong = append(r.wrong, fault.Field{Name: filterKey, Message: fmt.Sprintf("has more than %d characters", mostText)})
	case strings.Contains(key, "="):
		r.wrong = append(r.wrong, fault.Field{Name: filterKey, Message: "has a = in its name, which a filter can't say; choose another"})
	default:
		return false
	}
	return true
}

// face makes the page but for the report itself.
func (h *Costs) face(r *costsRequest) *pages.Costs {
	v := &pages.Costs{Question: h.bar(r)}
	if len(r.wrong) > 0 { // no range is shown, so there is nothing to take away
		return v
	}
	v.Range = h.inWords(r.costsQuestion)
	bucket := cmp.Or(r.bucket, period.Day)
	v.Exports = []components.Link{
		{Label: "CSV, one row per group", Path: r.export("/costs.csv", period.Whole)},
		{Label: "CSV, by " + bucket.String(), Path: r.export("/costs.csv", bucket)},
		{Label: "JSON, one row per group", Path: r.export("/costs.json", period.Whole)},
		{Label: "JSON, by " + bucket.String(), Path: r.export("/costs.json", bucket)},
	}
	h.partial(r, v)
	return v
}

// inWords names the range.
func (h *Costs) inWords(q *costsQuestion) string {
	text := format.Range(q.span.Begin, q.span.End, h.settings.Zone)
	for _, p := range costsPresets {
		if p.name == q.preset {
			return p.label + ": " + text
		}
	}
	return text
}

// partial says which scopes are not charged as far as they should be by now.
func (h *Costs) partial(r *costsRequest, v *pages.Costs) {
	due := metering.Horizon(h.now(), h.settings.Period, h.wait, time.Time{}).Add(-h.settings.Period) // one is being processed
	if r.span.End.Before(due) {
		due = r.span.End
	}
	var behind []*metering.ScopeState
	var least time.Time
	for i := range r.states {
		s := &r.states[i]
		if !s.Scope.Active || s.PlannedTo.IsZero() || !s.ProcessedTo.Before(due) || !r.keeps(s.Scope) {
			continue
		}
		if behind = append(behind, s); len(behind) == 1 || s.ProcessedTo.Before(least) {
			least = s.ProcessedTo
		}
	}
	if len(behind) == 0 {
		return
	}
	who, has := fmt.Sprintf("%d scopes", len(behind)), "have"
	if len(behind) == 1 {
		who, has = r.scope(behind[0].Scope.ID), "has"
	}
	v.Partial = fmt.Sprintf("The charges of %s are complete only up to %s.", who, format.Time(least, h.settings.Zone))
	if least.IsZero() || !least.After(r.span.Begin) {
		v.Partial = fmt.Sprintf("%s %s usage in this range that is not charged yet.", who, has)
	}
	if r.user.ReadsAll() {
		v.More = &components.Link{Label: "See the scopes", Path: "/scopes"}
	}
}

// processed reports whether any scope that the user may see has been processed so far.
func (r *costsRequest) processed() bool {
	return slices.ContainsFunc(r.states, func(s metering.ScopeState) bool { return !s.ProcessedTo.IsZero() })
}

// keeps reports whether the filters leave something of a scope.
func (q *costsQuestion) keeps(s *metering.Scope) bool {
	for _, f := range q.filters {
		if f.Key == costs.Scope && !slices.Contains(f.Values, s.ID) || f.Key == costs.ScopeName && !slices.Contains(f.Values, s.Name) {
			return false
		}
	}
	return true
}

// scope returns how a scope is called.
func (r *costsRequest) scope(id string) string {
	if name := r.names[id]; name != "" {
		return name
	}
	return id
}

// attributes returns the names one can group and filter by besides scope, metric and unit: those of the metrics' data
// points, groupby first, of one metric if it is given.
func (r *costsRequest) attributes(metric string) []string {
	var groupby, metadata []string
	for _, m := range r.metrics {
		if metric == "" || m.Name == metric {
			groupby, metadata = append(groupby, m.Groupby...), append(metadata, m.Metadata...)
		}
	}
	slices.Sort(groupby)
	slices.Sort(metadata)
	var all []string
	for _, name := range slices.Concat(slices.Compact(groupby), slices.Compact(metadata)) {
		if !slices.Contains(all, attributeKey(name)) {
			all = append(all, attributeKey(name))
		}
	}
	return all
}

// attributeKey is the key of an attribute, whatever its name.
func attributeKey(name string) string { return costsKey(costs.AttributePrefix + name) }

// costsLabel names a key.
func costsLabel(key string) string {
	switch key {
	case costs.Scope:
		return "Scope"
	case costs.ScopeName:
		return "Scope name"
	case costs.Metric:
		return "Metric"
	case costs.Unit:
		return "Unit"
	}
	return strings.TrimPrefix(key, costs.AttributePrefix)
}
