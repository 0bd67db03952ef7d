package handlers

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/views/components"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

const (
	rulesPerPage = 200
	pricingDays  = 7 // how far back usage without a price is looked for
)

// List shows all rules, and on top the usage that none of them prices.
func (h *Pricing) List(c echo.Context) error {
	ctx := c.Request().Context()
	p, err := h.load(ctx)
	if err != nil {
		return err
	}
	l := &pages.RuleList{
		Words: p.words, Days: pricingDays, Any: len(p.rules.Hashmap) > 0, MayChange: web.User(c).May(access.Operator),
		Filter: pages.RuleFilter{
			Metric: c.QueryParam("metric"), Scope: c.QueryParam("scope"), Text: strings.TrimSpace(c.QueryParam("text")), On: c.QueryParam("on"),
		},
		Off: !slices.ContainsFunc(p.rules.Modules, func(m rating.Module) bool { return m.Name == "hashmap" && m.Enabled }),
	}
	l.Unpriced, err = h.usage.Unpriced(ctx, period.Range{Begin: p.words.Now.AddDate(0, 0, -pricingDays), End: p.words.Now})
	if err != nil {
		return err
	}
	priced := map[string]bool{}
	for _, r := range p.rules.Hashmap {
		priced[r.Service] = true
	}
	for _, u := range l.Unpriced {
		priced[u.Metric] = true // is on the page already
	}
	l.Metrics = []components.Option{{Label: "all metrics"}}
	for _, name := range p.metricNames() {
		l.Metrics = append(l.Metrics, components.Option{Value: name, Label: name})
		if !priced[name] {
			l.NoRules = append(l.NoRules, name)
		}
	}
	l.Metrics = pages.WithOption(l.Metrics, l.Filter.Metric)
	l.Scopes = pages.WithOption(p.scopeOptions("any scope"), l.Filter.Scope)

	status := http.StatusOK
	var day period.Range
	if l.Filter.On != "" {
		on, err := time.Parse(time.DateOnly, l.Filter.On)
		if err != nil {
			status, l.Filter.Error = http.StatusUnprocessableEntity, "write a day like 2026-11-21"
		} else {
			day = period.Range{Begin: period.StartOf(on, p.words.Zone), End: period.StartOf(on.AddDate(0, 0, 1), p.words.Zone)}
		}
	}
	matching := p.matching(&l.Filter, day)
	l.Pages = components.Pages{
		Page: 1, Pages: pageCount(len(matching), rulesPerPage), PerPage: rulesPerPage, Rows: len(matching), What: "rules",
		Path: func(page int) string {
			q := l.Filter.Query()
			q.Set("page", strconv.Itoa(page))
			return "/pricing?" + q.Encode()
		},
	}
	if page, err := strconv.Atoi(c.QueryParam("page")); err == nil {
		l.Pages.Page = min(max(page, 1), l.Pages.Pages)
	}
	first := (l.Pages.Page - 1) * rulesPerPage
	l.Groups = grouped(p.rows(matching[first:min(first+rulesPerPage, len(matching))], p.rules.Counting(p.words.Now)))

	page := p.layout("Pricing")
	page.Crumbs = nil
	if l.MayChange {
		page.Action = &layout.Action{Label: "New price", Path: "/pricing/rules/new"}
	}
	return web.Page(c, status, page, pages.Pricing(l))
}

// matching returns the rules that the filter leaves, in the order of the list. Those that are valid at some time of the day
// are wanted, unless it is empty.
func (p *pricing) matching(f *pages.RuleFilter, day period.Range) []rating.Rule {
	text := strings.ToLower(f.Text)
	var rules []rating.Rule
	for _, r := range p.rules.Hashmap {
		switch {
		case f.Metric != "" && r.Service != f.Metric:
		case f.Scope != "" && r.Scope != "" && r.Scope != f.Scope:
		case !day.Empty() && (!r.Start.Before(day.End) || !r.End.IsZero() && !r.End.After(day.Begin)):
		case text != "" && !strings.Contains(strings.ToLower(p.words.Sentence(&r)+"\n"+r.Scope+"\n"+r.Name+"\n"+r.Description), text):
		default:
			rules = append(rules, r)
		}
	}
	slices.SortFunc(rules, func(a, b rating.Rule) int {
		return cmp.Or(
			strings.Compare(a.Service, b.Service), strings.Compare(a.Field, b.Field), strings.Compare(string(a.Kind), string(b.Kind)),
			strings.Compare(a.Value, b.Value), a.Level.Cmp(b.Level), strings.Compare(a.Group, b.Group), strings.Compare(a.Scope, b.Scope),
			a.Start.Compare(b.Start), strings.Compare(a.ID, b.ID),
		)
	})
	return rules
}

// grouped cuts sorted rules into metrics and attributes.
func grouped(rows []pages.RuleRow) []pages.RuleGroup {
	var groups []pages.RuleGroup
	for _, r := range rows {
		if n := len(groups); n == 0 || groups[n-1].Service != r.Service || groups[n-1].Field != r.Field {
			groups = append(groups, pages.RuleGroup{Service: r.Service, Field: r.Field})
		}
		last := &groups[len(groups)-1]
		last.Rules = append(last.Rules, r)
	}
	return groups
}
