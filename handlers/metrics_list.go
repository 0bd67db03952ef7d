package handlers

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/costs"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/views/format"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// List is the table of metrics, or, if it is asked for a name, the page of that metric.
func (h *Metrics) List(c echo.Context) error {
	if c.QueryParams().Has("name") {
		return h.show(c, c.QueryParam("name"))
	}
	ctx := c.Request().Context()
	config, err := h.store.Configuration(ctx, 0)
	if err != nil {
		return err
	}
	m := h.cal.month()
	v := &pages.MetricList{
		Month: format.Range(m.Begin, m.End, h.cal.Zone), Column: m.Begin.In(h.cal.Zone).Format("Jan 2006"), Currency: h.cal.Currency, Zone: h.cal.Zone,
	}
	amounts := h.metricCosts(ctx, v, m)
	rules, err := h.ruleCounts(ctx)
	if err != nil && ctx.Err() == nil {
		v.RulesFailure = failed(ctx, h.log, "The rules can't be read", err, "/metrics")
	}
	first, err := h.store.FirstSamples(ctx)
	if err != nil && ctx.Err() == nil {
		v.SamplesFailure = failed(ctx, h.log, "When usage began can't be read", err, "/metrics")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, name := range metricNames(config, amounts) {
		row := pages.MetricRow{
			Name: name, Path: metricPath(name), Configs: configsOf(config, name), Rules: rules[name], RulesPath: rulesPath(name),
			Cost: amounts[name], CostsPath: h.cal.costsPath(m, "metric="+name, costs.Scope),
		}
		row.First = firstSample(row.Configs, first)
		v.Rows = append(v.Rows, row)
	}
	if v.CostsFailure == nil && v.RulesFailure == nil && v.SamplesFailure == nil {
		version, err := digest(v)
		if err != nil {
			return err
		}
		if web.NotModified(c, version) {
			return nil
		}
	}
	return web.Page(c, http.StatusOK, layout.Page{
		Title: "Metrics", Area: layout.Metrics, Aside: "amounts in " + h.cal.Currency + ", times in " + h.cal.Zone.String(),
	}, pages.MetricsPage(v))
}

// metricCosts returns the month's costs by metric.
func (h *Metrics) metricCosts(ctx context.Context, v *pages.MetricList, m period.Range) map[string]money.Decimal {
	a, err := h.sums.report(ctx, &costs.Query{Range: m, Groups: []string{costs.Metric}})
	if err != nil {
		if ctx.Err() == nil {
			v.CostsFailure = failed(ctx, h.log, "The costs can't be read", err, "/metrics")
		}
		return nil
	}
	v.Total = a.total.Cost
	return a.by(0)
}

// ruleCounts returns how many rules that have not ended each metric has.
func (h *Metrics) ruleCounts(ctx context.Context) (map[string]int, error) {
	rules, err := h.store.Rules(ctx, 0)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for i := range rules.Hashmap {
		if r := &rules.Hashmap[i]; goesOn(r, h.cal.now()) {
			counts[r.Service]++
		}
	}
	return counts, nil
}

// metricNames returns the names that are configured, and those that cost something without being it any more.
func metricNames(config *metering.Configuration, amounts map[string]money.Decimal) []string {
	var names []string
	for _, m := range config.Metrics {
		names = append(names, m.Name)
	}
	for name := range amounts {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// configsOf returns the configurations that share a name.
func configsOf(config *metering.Configuration, name string) (all []*metering.Metric) {
	for _, m := range config.Metrics {
		if m.Name == name {
			all = append(all, m)
		}
	}
	return all
}

// firstSample returns when usage of a metric was seen first.
func firstSample(configs []*metering.Metric, first map[int64]time.Time) time.Time {
	for _, m := range configs { // all have one Ref, that of the name
		return first[m.Ref]
	}
	return time.Time{}
}

// goesOn reports whether a rule applies now or will.
func goesOn(r *rating.Rule, now time.Time) bool { return r.End.IsZero() || r.End.After(now) }

// rulesOf returns the rules that price a metric now or will, in the order of what they look at.
func rulesOf(rules *rating.Rules, name string, now time.Time) (all []rating.Rule) {
	for i := range rules.Hashmap {
		if r := &rules.Hashmap[i]; r.Service == name && goesOn(r, now) {
			all = append(all, *r)
		}
	}
	slices.SortStableFunc(all, func(a, b rating.Rule) int {
		return cmp.Or(strings.Compare(a.Field, b.Field), strings.Compare(a.Value, b.Value), a.Level.Cmp(b.Level))
	})
	return all
}

// rulesPath returns the address of the list of the rules that price a metric.
func rulesPath(name string) string {
	return "/pricing?" + pages.RuleFilter{Metric: name}.Query().Encode()
}
