package handlers

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/costs"
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
	findingsPerPage    = 50
	findingsTarget     = "#findings" // what htmx swaps
	findingsDays       = 366         // the most that are summed up
	scopesOfFinding    = 100         // the most that an open finding lists
	findingsPreset     = "last-2-days"
	findingsPresetMost = "last-30-days"

	wrongDay = "Write the day like 2026-11-21."
)

// findingsPresets are the ranges that move with time. All are of days in UTC, and end with today.
var findingsPresets = []struct {
	name, label string
	first       func(today time.Time) time.Time
}{
	{findingsPreset, "Yesterday and today", func(t time.Time) time.Time { return t.AddDate(0, 0, -1) }},
	{"last-7-days", "Last 7 days", func(t time.Time) time.Time { return t.AddDate(0, 0, -6) }},
	{"this-month", "This month", firstOfMonth},
	{findingsPresetMost, "Last 30 days", func(t time.Time) time.Time { return t.AddDate(0, 0, -29) }},
}

// findingsAsked is the state of the list, which is its address.
type findingsAsked struct {
	kind   metering.FindingKind
	preset string // empty: the range stays where it is
	span   period.Range
	page   int
	open   string    // the finding whose scopes are listed
	wrong  [2]string // with the days asked for: the first, the last
}

// readFindingsAsked reads the address; what it does not understand is as if it were not there, but for days.
func readFindingsAsked(c echo.Context, now time.Time) findingsAsked {
	a := findingsAsked{kind: metering.FindingKind(c.QueryParam("kind")), preset: c.QueryParam("range"), open: c.QueryParam("finding")}
	if !slices.Contains(pages.FindingKinds, a.kind) {
		a.kind = ""
	}
	a.page, _ = strconv.Atoi(c.QueryParam("page"))
	a.page = max(1, a.page)
	today := period.Date(now, time.UTC)
	if from, to := c.QueryParam("from"), c.QueryParam("to"); a.preset == "" && (from != "" || to != "") {
		first, err := time.Parse(time.DateOnly, cmp.Or(from, to))
		last, err2 := time.Parse(time.DateOnly, cmp.Or(to, from))
		switch {
		case err != nil || err2 != nil:
			if err != nil && from != "" {
				a.wrong[0] = wrongDay
			}
			if err2 != nil && to != "" {
				a.wrong[1] = wrongDay
			}
		case last.Before(first):
			a.wrong[1] = "The last day must not be before the first."
		case last.Sub(first) >= findingsDays*24*time.Hour:
			a.wrong[1] = "The last day must be within " + strconv.Itoa(findingsDays) + " days from the first."
		default:
			a.span = period.Range{Begin: first, End: last.AddDate(0, 0, 1)}
			return a
		}
	}
	preset := findingsPresets[0]
	for _, p := range findingsPresets {
		if p.name == a.preset {
			preset = p
		}
	}
	a.preset, a.span = preset.name, period.Range{Begin: preset.first(today), End: today.AddDate(0, 0, 1)}
	return a
}

// path returns the address of the list; what is usual is left out.
func (a findingsAsked) path() string {
	q := url.Values{}
	if a.kind != "" {
		q.Set("kind", string(a.kind))
	}
	switch a.preset {
	case findingsPreset:
	case "":
		q.Set("from", a.span.Begin.Format(time.DateOnly))
		q.Set("to", a.last().Format(time.DateOnly))
	default:
		q.Set("range", a.preset)
	}
	if a.page > 1 {
		q.Set("page", strconv.Itoa(a.page))
	}
	if a.open != "" {
		q.Set("finding", a.open)
	}
	if len(q) == 0 {
		return "/processing/findings"
	}
	return "/processing/findings?" + q.Encode()
}

// misread reports whether the days asked for make no range.
func (a findingsAsked) misread() bool { return a.wrong != [2]string{} }

// last returns the last day of the range.
func (a findingsAsked) last() time.Time { return a.span.End.AddDate(0, 0, -1) }

// List is the list of what was noticed.
func (h *Findings) List(c echo.Context) error {
	ctx, user, asked := c.Request().Context(), web.User(c), readFindingsAsked(c, h.now())
	rows, scopes, err := h.rows(ctx, asked)
	if err != nil {
		return err
	}
	v := &pages.FindingList{
		Kind: string(asked.kind), Range: asked.preset, Zone: h.settings.Zone, FromProblem: asked.wrong[0], ToProblem: asked.wrong[1],
		Days: format.Range(asked.span.Begin, asked.span.End, time.UTC),
		From: asked.span.Begin.Format(time.DateOnly), To: asked.last().Format(time.DateOnly),
	}
	for _, p := range findingsPresets {
		v.Ranges = append(v.Ranges, components.Option{Value: p.name, Label: p.label})
	}
	v.Ranges = append(v.Ranges, components.Option{Label: "the days beside"})
	if asked.misread() {
		v.From, v.To = c.QueryParam("from"), c.QueryParam("to")
	}
	if asked.preset != findingsPresetMost {
		wider := asked
		wider.preset, wider.page = findingsPresetMost, 1
		v.Wider = &components.Link{Label: "Look at the last 30 days", Path: wider.path()}
	}
	last := pageCount(len(rows), findingsPerPage)
	asked.page = min(asked.page, last)
	for _, r := range rows[(asked.page-1)*findingsPerPage : min(len(rows), asked.page*findingsPerPage)] {
		if n := len(v.Groups); n == 0 || v.Groups[n-1].Kind != r.Kind {
			v.Groups = append(v.Groups, pages.FindingGroup{Kind: r.Kind})
		}
		if err := h.complete(ctx, &r, asked, user, scopes); err != nil {
			return err
		}
		g := &v.Groups[len(v.Groups)-1]
		g.Rows = append(g.Rows, r)
	}
	v.Pages = components.Pages{
		Page: asked.page, Pages: last, PerPage: findingsPerPage, Rows: len(rows), What: "findings", Target: findingsTarget,
		Path: func(page int) string {
			to := asked
			to.page, to.open = page, ""
			return to.path()
		},
	}
	status := http.StatusOK
	if asked.misread() {
		status = http.StatusUnprocessableEntity
	}
	return web.Page(c, status, layout.Page{
		Title: "Findings", Area: layout.Processing, Crumbs: []layout.Crumb{{Label: "Processing", Path: "/processing"}}, Aside: "times in " + h.settings.Zone.String(),
	}, pages.FindingsPage(v), pages.FindingsTable)
}

// rows returns what was noticed, by kind, those of a metric together, and the scopes.
func (h *Findings) rows(ctx context.Context, asked findingsAsked) ([]pages.FindingRow, []*metering.Scope, error) {
	scopes, err := h.store.Scopes(ctx)
	if err != nil {
		return nil, nil, err
	}
	wanted := func(kind metering.FindingKind) bool { return asked.kind == "" || asked.kind == kind }
	var rows []pages.FindingRow
	if !slices.Contains([]metering.FindingKind{metering.LabelClash, metering.SeriesGrowth}, asked.kind) {
		sums, err := h.store.Findings(ctx, asked.span, asked.kind)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range sums {
			rows = append(rows, pages.FindingRow{FindingSum: s})
		}
		if err := h.ruleless(ctx, rows); err != nil {
			return nil, nil, err
		}
	}
	if wanted(metering.LabelClash) {
		config, err := h.store.Configuration(ctx, 0)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range clashes(config, scopes) {
			rows = append(rows, pages.FindingRow{FindingSum: s, Configured: true})
		}
	}
	if wanted(metering.SeriesGrowth) {
		days, err := h.store.SeriesGrowth(ctx, asked.span)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range growth(days) {
			rows = append(rows, pages.FindingRow{FindingSum: s})
		}
	}
	slices.SortStableFunc(rows, func(a, b pages.FindingRow) int {
		return slices.Index(pages.FindingKinds, a.Kind) - slices.Index(pages.FindingKinds, b.Kind)
	})
	return rows, scopes, nil
}

// ruleless notes of usage without a price of which metrics there is no rule at all.
func (h *Findings) ruleless(ctx context.Context, rows []pages.FindingRow) error {
	bare := func(r pages.FindingRow) bool { return r.Kind == metering.Unpriced && r.Detail == "" }
	if !slices.ContainsFunc(rows, bare) {
		return nil
	}
	rules, err := h.store.Rules(ctx, 0)
	if err != nil {
		return err
	}
	for i := range rows {
		rows[i].NoRule = bare(rows[i]) && !slices.ContainsFunc(rules.Hashmap, func(r rating.Rule) bool { return r.Service == rows[i].Metric })
	}
	return nil
}

// complete adds to a row where it leads, and its scopes if it is open.
func (h *Findings) complete(ctx context.Context, r *pages.FindingRow, asked findingsAsked, user *access.User, scopes []*metering.Scope) error {
	r.ID, r.MetricPath, r.Mend = findingID(&r.FindingSum), metricPath(r.Metric), mend(&r.FindingSum, user.May(access.Operator))
	to := asked
	to.open = r.ID
	if r.Open = !r.Configured && asked.open == r.ID; r.Open {
		to.open = ""
	}
	r.Path = to.path()
	if !r.Open {
		return nil
	}
	detail := r.Detail
	if r.Kind == metering.SeriesGrowth {
		detail = ""
	}
	parts, err := h.store.FindingScopes(ctx, asked.span, r.Kind, r.Metric, detail)
	if err != nil {
		return err
	}
	named, known := shared(scopes), map[int64]*metering.Scope{}
	for _, s := range scopes {
		known[s.Ref] = s
	}
	r.More = max(0, len(parts)-scopesOfFinding)
	for _, part := range parts[:len(parts)-r.More] {
		p := pages.FindingPart{FindingScope: part, Path: "/processing/coverage?scope=" + strconv.FormatInt(part.Scope, 10)}
		if s := known[part.Scope]; s != nil {
			p.Name, p.ID, p.Twin = scopeName(s), s.ID, named[scopeName(s)]
		} else { // found after the scopes were read
			p.Name = "scope " + strconv.FormatInt(part.Scope, 10)
		}
		r.Parts = append(r.Parts, p)
	}
	return nil
}

// findingID names a finding in addresses.
func findingID(f *metering.FindingSum) string {
	text := string(f.Kind) + "\x00" + f.Metric
	if f.Kind != metering.SeriesGrowth { // what it says of a metric changes with the days
		text += "\x00" + f.Detail
	}
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// mend leads to where the reason of a finding can be put right.
func mend(f *metering.FindingSum, mayChange bool) components.Link {
	looks := rating.ParseLooks(f.Detail)
	switch f.Kind {
	case metering.Unpriced:
		if !mayChange {
			break
		}
		return components.Link{Label: "Set a price", Path: newRulePath(f.Metric, looks)}
	case metering.NotNumeric:
		filter := pages.RuleFilter{Metric: f.Metric}
		if len(looks) > 0 {
			filter.Text = looks[0].Name + " ≥"
		}
		return components.Link{Label: "See the thresholds", Path: "/pricing?" + filter.Query().Encode()}
	case metering.RoundedToNil:
	default:
		return components.Link{Label: "See the metric", Path: metricPath(f.Metric)}
	}
	return components.Link{Label: "See the rules", Path: rulesPath(f.Metric)}
}

// newRulePath returns the address of the form of a new rule for points of a metric, filled in with the best of what is known of them.
func newRulePath(metric string, looks []rating.Look) string {
	q := url.Values{"metric": {metric}}
	// an attribute that the point has, before one that follows from the time
	slices.SortStableFunc(looks, func(a, b rating.Look) int { return rank(a) - rank(b) })
	if len(looks) > 0 && !looks[0].Missing {
		q.Set("field", looks[0].Name)
		if looks[0].Value != "" {
			q.Set("value", looks[0].Value)
		}
	}
	return "/pricing/rules/new?" + q.Encode()
}

// rank orders what rules look at by how good a new rule's field it is.
func rank(l rating.Look) int {
	switch {
	case l.Missing:
		return 3
	case metering.IsComputed(l.Name):
		return 2
	case l.Value == "":
		return 1
	}
	return 0
}

// growth sums up days by metric; they come by metric and day.
func growth(days []metering.GrowthDay) (all []metering.FindingSum) {
	for len(days) > 0 {
		n := 1
		for n < len(days) && days[n].Metric == days[0].Metric {
			n++
		}
		f := metering.FindingSum{Kind: metering.SeriesGrowth, Metric: days[0].Metric, First: days[0].Day, Last: days[n-1].Day}
		worst := days[0]
		for _, d := range days[:n] {
			f.Points += d.Points
			f.Scopes = max(f.Scopes, d.Scopes)
			if d.Series > worst.Series {
				worst = d
			}
		}
		f.Detail = format.Count(worst.Series) + " new series, " + format.Count(worst.Points) + " points"
		if n > 1 {
			f.Detail = strconv.Itoa(n) + " days, the worst with " + f.Detail
		}
		all, days = append(all, f), days[n:]
	}
	return all
}

// clashes returns the labels of metrics whose names mean something else in rules or reports.
func clashes(config *metering.Configuration, scopes []*metering.Scope) (all []metering.FindingSum) {
	keys := map[[2]string]bool{} // of source and scope key
	for _, s := range scopes {
		keys[[2]string{s.Source.Name, s.Source.ScopeKey}] = true
	}
	for _, m := range config.Metrics {
		for i, label := range slices.Concat(m.Groupby, m.Metadata) {
			reason := ""
			switch {
			case i >= len(m.Groupby) && slices.Contains(m.Groupby, label):
				reason = "is in both groupby and metadata"
			case keys[[2]string{m.Source, label}]:
				reason = "is the scope key, which names the scope already"
			case metering.IsComputed(label):
				reason = "hides what rules and reports compute by this name from the time"
			case slices.Contains([]string{costs.Scope, costs.ScopeName, costs.Metric, costs.Unit}, label):
				reason = "means something else to reports, which know the label as " + costs.AttributePrefix + label
			case slices.Contains([]string{"qty", "cost", "currency", "begin", "end"}, label):
				reason = "heads another column in exports, which call the label " + costs.AttributePrefix + label
			default:
				continue
			}
			all = append(all, metering.FindingSum{Kind: metering.LabelClash, Metric: m.Name, Detail: label + " " + reason})
		}
	}
	slices.SortFunc(all, func(a, b metering.FindingSum) int {
		return cmp.Or(strings.Compare(a.Metric, b.Metric), strings.Compare(a.Detail, b.Detail))
	})
	return slices.Compact(all) // of several configurations of a metric
}
