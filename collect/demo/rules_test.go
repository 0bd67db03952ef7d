package demo_test

import (
	"bytes"
	"testing"
	"time"

	"ratebook/collect/demo"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rating" //nolint:depguard // the prices that the package offers are read and applied by rating alone
)

// now is in the middle of a month, so that five weeks up to it see prices change.
var now = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

func engine(t *testing.T, now time.Time) *rating.Engine {
	t.Helper()
	file, err := rating.ParseFile("rules.yml", demo.Rules(now), time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	rules, _ := file.Apply(&rating.Rules{}, false)
	e, err := rating.Compile(rules, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestRulesAreAMonths(t *testing.T) {
	t.Parallel()
	same := demo.Rules(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
	if !bytes.Equal(demo.Rules(now), same) {
		t.Error("two days of a month have different rules")
	}
	if bytes.Equal(demo.Rules(now.AddDate(0, 1, 0)), same) {
		t.Error("two months have the same rules")
	}
	if bytes.Contains(same, []byte("MONTH")) {
		t.Error("a date was not filled in")
	}
}

// TestPrices prices months of each year's seasons.
func TestPrices(t *testing.T) {
	t.Parallel()
	for _, now := range []time.Time{now, now.AddDate(0, 3, 0), now.AddDate(-7, -5, 0), now.AddDate(9, 1, 0)} {
		t.Run(now.Format("2006-01"), func(t *testing.T) {
			t.Parallel()
			run := hours(period.Month.Start(now, time.UTC), 30*24)
			totals, unpriced := price(t, engine(t, now), run)
			var all money.Decimal
			for _, scope := range everyone(t) {
				total := totals[scope.Name]
				t.Logf("%-28s %10s EUR", scope.Name, total.Round(2))
				if total.Cmp(money.New(150, 0)) < 0 || total.Cmp(money.New(15_000, 0)) > 0 {
					t.Errorf("%s: %s EUR", scope.Name, total.Round(2))
				}
				all = all.Add(total)
			}
			t.Logf("all: %s EUR, unpriced: %v", all.Round(2), unpriced)
			if all.Cmp(money.New(30_000, 0)) < 0 || all.Cmp(money.New(60_000, 0)) > 0 {
				t.Errorf("a month costs %s EUR", all.Round(2))
			}
			if n := unpriced["x1.preview"]; len(unpriced) != 1 || n < 50 || n > 1000 {
				t.Errorf("unpriced points: %v; want some of x1.preview and no others", unpriced)
			}
		})
	}
}

// price returns what each scope pays, and how many points no rule priced: by flavor, or metric where there is none.
func price(t *testing.T, e *rating.Engine, run period.Run) (totals map[string]money.Decimal, unpriced map[string]int) {
	t.Helper()
	totals, unpriced = map[string]money.Decimal{}, map[string]int{}
	for _, u := range collect(t, everyone(t), run).Usage {
		fingerprint := u.Fingerprint()
		for _, s := range u.Samples {
			plan := e.Plan(&u.Series, fingerprint, run.Window(s.Window).Begin)
			if len(plan.NotNumeric()) > 0 {
				t.Fatalf("%s: thresholds on %v", u.Metric.Name, plan.NotNumeric())
			}
			price, outcome := plan.Price(s.Qty)
			switch outcome {
			case rating.Priced:
				totals[u.Scope.Name] = totals[u.Scope.Name].Add(price)
			case rating.RoundedToNil:
				t.Fatalf("%s: the price of %s rounds to 0", u.Metric.Name, s.Qty)
			case rating.Unpriced:
				what, ok := u.Groupby.Get("flavor")
				if !ok {
					what = u.Metric.Name
				}
				unpriced[what]++
			}
		}
	}
	return totals, unpriced
}

// TestPricesDiffer checks that the tenant's own price, the change of prices and each threshold have an effect.
func TestPricesDiffer(t *testing.T) {
	t.Parallel()
	e := engine(t, now)
	month := period.Month.Start(now, time.UTC)
	run := hours(month.Add(-14*24*time.Hour), 28*24)
	perUnit := map[string]map[string]bool{} // by what, the prices met
	for _, u := range collect(t, everyone(t), run).Usage {
		what := u.Metric.Name
		for _, name := range []string{"flavor", "model", "class", "network", "partition", "region"} {
			v, _ := u.Groupby.Get(name)
			what += " " + v
		}
		image, _ := u.Metadata.Get("image")
		what += " " + image
		if perUnit[what] == nil {
			perUnit[what] = map[string]bool{}
		}
		fingerprint := u.Fingerprint()
		for _, s := range u.Samples {
			price, _ := e.Plan(&u.Series, fingerprint, run.Window(s.Window).Begin).Price(s.Qty)
			inverse, err := money.ParseRatio("1/" + s.Qty.String())
			if err != nil {
				t.Fatal(err)
			}
			perUnit[what][money.Linear(price, inverse, money.Ratio{}, 7).String()] = true
		}
	}
	for what, want := range map[string][]string{
		"instance c1.4xlarge     eu-central debian-13":  {"0.58", "0.49"},
		"instance r1.4xlarge     eu-central debian-13":  {"0.72", "0.68"},
		"instance m1.large     eu-central windows-2022": {"0.124"},
		"instance m1.large     eu-north debian-13":      {"0.07176"},
		"gpu  h100    eu-central ":                      {"2.6", "2.35"},
		"vcpu     standard eu-central ":                 {"0.0085", "0.00782", "0.007225"},
		"object.storage   standard   eu-central ":       {"0.000028", "0.0000252", "0.0000224"},
		"traffic.out    internet  eu-central ":          {"0.045", "0.036", "0.02925"},
		"traffic.out    research  eu-central ":          {"0"},
		"instance x1.preview     eu-central debian-13":  {"0"},
	} {
		for _, p := range want {
			if !perUnit[what][p] {
				t.Errorf("%q never costs %s, but %v", what, p, perUnit[what])
			}
		}
		if len(perUnit[what]) != len(want) {
			t.Errorf("%q costs %v, want %v", what, perUnit[what], want)
		}
	}
}
