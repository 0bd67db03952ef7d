package handlers

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"ratebook/costs"
	"ratebook/period"
	"ratebook/views/components"
	"ratebook/views/format"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// shownRules is how many rules a metric's page lists; the rest is a link away.
const shownRules = 20

// Show is the page of one metric.
func (h *Metrics) Show(c echo.Context) error {
	name, err := metricName(c)
	if err != nil {
		return err
	}
	return h.show(c, name)
}

func (h *Metrics) show(c echo.Context, name string) error {
	ctx := c.Request().Context()
	config, err := h.store.Configuration(ctx, 0)
	if err != nil {
		return err
	}
	m := h.cal.month()
	v := &pages.Metric{
		Name: name, Configs: configsOf(config, name), Month: format.Range(m.Begin, m.End, h.cal.Zone), Currency: h.cal.Currency, Zone: h.cal.Zone,
		RulesPath: rulesPath(name), CostsPath: h.cal.costsPath(m, "metric="+name, costs.Scope),
	}
	h.course(ctx, v, m)
	if len(v.Configs) == 0 && v.CostsFailure == nil && !v.Charged {
		return noMetric(name)
	}
	h.metricFacts(ctx, v)
	if err := ctx.Err(); err != nil {
		return err
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
		Title: name, Area: layout.Metrics, Crumbs: []layout.Crumb{{Label: "Metrics", Path: "/metrics"}},
		Aside: "amounts in " + h.cal.Currency + ", times in " + h.cal.Zone.String(),
	}, pages.MetricPage(v))
}

// course fills in the month's costs by day.
func (h *Metrics) course(ctx context.Context, v *pages.Metric, m period.Range) {
	a, err := h.sums.report(ctx, &costs.Query{
		Range: m, Bucket: period.Day, Groups: []string{costs.Metric}, Filters: []costs.Filter{{Key: costs.Metric, Values: []string{v.Name}}},
	})
	if err != nil {
		if ctx.Err() == nil {
			v.CostsFailure = failed(ctx, h.log, "The costs can't be read", err, metricPath(v.Name))
		}
		return
	}
	v.Charged, v.Total = a.total.Points > 0, a.total.Cost
	v.Chart, v.ByDay = h.cal.byDay(a, m, "Costs by day")
}

// metricFacts fills in what prices the metric and since when there is usage.
func (h *Metrics) metricFacts(ctx context.Context, v *pages.Metric) {
	words := pages.PriceWords{Zone: h.cal.Zone, Currency: h.cal.Currency, Period: h.cal.Period, Units: map[string]string{}, Now: h.cal.now()}
	for _, m := range v.Configs {
		words.Units[m.Name] = m.Unit
	}
	rules, err := h.store.Rules(ctx, 0)
	if err != nil {
		if ctx.Err() == nil {
			v.RulesFailure = failed(ctx, h.log, "The rules can't be read", err, metricPath(v.Name))
		}
	} else {
		all := rulesOf(rules, v.Name, h.cal.now())
		v.RulesCount = len(all)
		for i := range all[:min(len(all), shownRules)] {
			v.Rules = append(v.Rules, components.Link{Label: words.Sentence(&all[i]), Path: "/pricing/rules/" + all[i].ID})
		}
	}
	first, err := h.store.FirstSamples(ctx)
	if err != nil && ctx.Err() == nil {
		v.SamplesFailure = failed(ctx, h.log, "When usage began can't be read", err, metricPath(v.Name))
	}
	v.First = firstSample(v.Configs, first)
}
