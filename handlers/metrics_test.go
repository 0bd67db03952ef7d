package handlers

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/rating"
)

func ratio(s string) money.Ratio {
	r, err := money.ParseRatio(s)
	if err != nil {
		panic(err)
	}
	return r
}

func TestMetrics(t *testing.T) {
	s := newMonthSite(t, sampleMonth(), "UTC", monthNow)
	s.store.config = append(s.store.config, &metering.Metric{
		Ref: 1, Source: "east", Name: "cpu", Measured: "cpu_ticks", Unit: "vcpu", Factor: ratio("1/3600"), Offset: ratio("-0.5"), Mutate: metering.Ceil,
	})
	ended := s.store.rules[0]
	ended.Service, ended.End = "ram", at("2026-11-01 00:00")
	s.store.rules = append(s.store.rules, ended)
	p := s.get("/metrics").ok().says("cpu_seconds", "cpu_ticks", "source east", "× 1/3600 − 0.5, rounded up", "as it is", "flavor", "besides region",
		"1 rule", "not configured any more", "1 Oct 2026")
	if badges := p.Find(".badge-warning"); badges.Length() != 2 || plain(badges.First().Text()) != "no price" { // of gpu, and of ram, whose rule has ended
		t.Errorf("%d without a price", badges.Length())
	}
	var sum money.Decimal
	p.table("Metrics").Find("tbody data").Each(func(_ int, d *goquery.Selection) { sum = sum.Add(money.MustParse(d.AttrOr("value", ""))) })
	if total := p.table("Metrics").Find(".total data").AttrOr("value", ""); total != sum.String() || sum.IsZero() {
		t.Errorf("costs add up to %s, the total is %s", sum, total)
	}
	newMonthSite(t, &ledgerStore{}, "UTC", monthNow).get("/metrics").ok().says("No metric is configured yet", "ratebook import metrics FILE")
	for method, problem := range map[string]string{"Report": "The costs can't be read", "Rules": "The rules can't be read", "FirstSamples": "When usage began can't be read"} {
		s.store.version, s.store.broken = "", map[string]error{method: errors.New("gone")}
		for _, path := range []string{"/metrics", "/metrics/cpu"} {
			if p := s.get(path).ok().says(problem, "cpu_ticks"); p.header.Get("ETag") != "" {
				t.Errorf("%s: a failure is kept", method)
			}
		}
	}
	s.store.broken = map[string]error{"Configuration": errors.New("gone")}
	if p := s.get("/metrics"); p.status != 500 {
		t.Errorf("status %d", p.status)
	}
}

func TestMetric(t *testing.T) {
	s := newMonthSite(t, sampleMonth(), "UTC", monthNow)
	s.store.config = append(s.store.config, &metering.Metric{
		Ref: 1, Source: "east", Name: "cpu", Measured: "cpu_ticks", Unit: "vcpu", Description: "Ticks <of> it", Factor: money.One, Mutate: metering.Map,
		MutateMap: []metering.MutateEntry{{From: money.New(1, 0), To: money.New(25, 1)}}, Skip: "datapoint.qty == 0", MayBeAbsent: true,
		Prometheus: metering.PrometheusArgs{Aggregation: "avg", RangeFunction: "rate", QueryFunction: "ceil", Prefix: "sum(", Suffix: ")"},
	})
	p := s.get("/metrics/cpu").ok().says("cpu_seconds", "cpu_ticks", "Ticks <of> it", "by a table", "1 becomes 2.5", "datapoint.qty == 0", "is normal",
		"avg", "rate", "ceil", "sum( … )", "2 configurations share this name", "flavor = m1.medium: 0.035 EUR per vcpu", "1 rule in Pricing").lacks("<of>")
	if got := href(p.Find(".rules a")); got != "/pricing/rules/1b4e28ba-2fa1-11d2-883f-0016d3cca427" {
		t.Errorf("the rule leads to %s", got)
	}
	total := p.Find("section data.amount").First().AttrOr("value", "")
	if sum := p.column("Costs by day", 1); sum.String() != total || total != "126.000000000063" {
		t.Errorf("days add up to %s, the total is %s", sum, total)
	}
	s.get("/metrics/ram").ok().says("No rule prices it")
	s.get("/metrics/gpu").ok().says("It is not configured any more")
	if p := s.get("/metrics/disk"); p.status != 404 {
		t.Errorf("unknown: %d", p.status)
	}
	s.store.rules = slices.Repeat(s.store.rules, 30)
	if p := s.get("/metrics/cpu").ok().says("30 rules in Pricing"); p.Find(".rules li").Length() != shownRules {
		t.Errorf("%d rules", p.Find(".rules li").Length())
	}
}

// A metric may be called anything that can be printed; the list leads to each.
func TestMetricNames(t *testing.T) {
	names := []string{"a/b", "100%", "%2F", "a b", "a+b", "..", ".", "ü?#&=", "'\"<i>", "a;b", ":name", "*", "a%zz", "//", "name=x"}
	store := &ledgerStore{version: "v"}
	for _, n := range names {
		store.config = append(store.config, &metering.Metric{Name: n, Measured: "m", Unit: "u", Factor: money.One})
		store.rules = append(store.rules, rating.Rule{ID: "x", Kind: rating.Mapping, Type: rating.Flat, Service: n})
	}
	s := newMonthSite(t, store, "UTC", monthNow)
	p := s.get("/metrics").ok().lacks("<i>")
	links := p.table("Metrics").Find(`tbody th a`)
	if links.Length() != len(names) {
		t.Fatalf("%d metrics", links.Length())
	}
	links.Each(func(_ int, a *goquery.Selection) {
		path := href(a)
		if strings.Contains(path, "/..") || strings.HasSuffix(path, "/.") {
			t.Errorf("browsers change %s", path)
		}
		if got := s.get(path).ok().Find("h1").Text(); strings.TrimSpace(got) != a.Text() {
			t.Errorf("%s leads to %q, not to %q", path, got, a.Text())
		}
	})
	for _, path := range []string{"/metrics/a%252Fb", "/metrics/a%2Fc"} {
		if p := s.get(path); p.status != 404 {
			t.Errorf("%s: %d", path, p.status)
		}
	}
}
