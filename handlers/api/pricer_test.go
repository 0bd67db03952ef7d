package api

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/rating"
	"ratebook/script" //nolint:depguard // to run scripts for a test, as a process of jobs does else
)

type fixedRules rating.Rules

func (r *fixedRules) Rules(context.Context, int64) (*rating.Rules, error) {
	return (*rating.Rules)(r), nil
}

// TestPriceKeepsLiterals: pushed points that are rated come back as they came, also where scripts run.
func TestPriceKeepsLiterals(t *testing.T) {
	rules := &fixedRules{
		Version: 3, Modules: []rating.Module{{Name: "pyscripts", Enabled: true, Priority: 1}},
		Scripts: []rating.Script{{Name: "s", Data: "for p in data['usage']['cpu']:\n  p['rating']['price'] = 7"}},
	}
	begin := time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)
	frames := func(price money.Decimal) []metering.PushedFrame {
		point := metering.PushedPoint{
			Scope: "p1", Metric: "cpu", Unit: "h", Qty: money.New(1, 0), Price: price, Groupby: metering.Attributes{{Name: "id", Value: "x"}},
			Metadata: metering.Attributes{{Name: "n", Value: "4"}, {Name: "o", Value: `{"a":null}`}, {Name: "text", Value: "4"}}, Literals: []string{"n", "o"},
		}
		text := point
		text.Literals = nil
		return []metering.PushedFrame{{Begin: begin, End: begin.Add(time.Hour), Points: []metering.PushedPoint{point, text}}}
	}
	got, want := frames(money.Decimal{}), frames(money.New(7, 0))
	p := NewPricer(rules, new(script.Interpreter), &metering.Settings{Zone: time.UTC, ScopeKey: "project_id"})
	if version, err := p.Price(t.Context(), got); err != nil || version != 3 {
		t.Fatal(version, err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(money.Decimal.Equal)); diff != "" {
		t.Error(diff)
	}
}
