package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/script"
)

// scriptedPrices price cpu at 2, and run scripts from the third hour on.
func scriptedPrices(t *testing.T, scripts ...rating.Script) (*prices, *metering.Batch) {
	t.Helper()
	begin := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	for i := range scripts {
		if scripts[i].Start.IsZero() {
			scripts[i].Start = begin.Add(2 * time.Hour)
		}
	}
	cpu, fee := &metering.Metric{Ref: 1, Source: "default", Name: "cpu", Unit: "vcpu"}, &metering.Metric{Ref: 2, Source: "default", Name: "fee", Unit: "month"}
	engine, err := rating.Compile(&rating.Rules{
		Modules: []rating.Module{{Name: "hashmap", Enabled: true, Priority: 2}, {Name: "pyscripts", Enabled: true, Priority: 1}},
		Hashmap: []rating.Rule{{Kind: rating.Mapping, Service: "cpu", Field: "flavor", Value: "m1", Type: rating.Flat, Cost: money.New(2, 0)}},
		Scripts: scripts,
	}, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	skip, err := metering.CompileSkip(`datapoint["rating"]["price"] == 13`)
	if err != nil {
		t.Fatal(err)
	}
	p := &prices{ruled: &ruled{engine: engine}, configured: &configured{
		configuration: &metering.Configuration{Metrics: []*metering.Metric{cpu, fee}}, skips: map[*metering.Metric]*metering.Skip{cpu: skip, fee: nil},
	}}
	b := &metering.Batch{Run: period.Run{Begin: begin, Length: time.Hour, Count: 4}}
	for i := range 2 {
		scope := &metering.Scope{Ref: int64(i + 1), ID: fmt.Sprint("p", i+1), Source: metering.Source{Name: "default", ScopeKey: "project_id"}}
		b.Scopes = append(b.Scopes, scope)
		for _, flavor := range []string{"m1", "m9"} {
			u := metering.Usage{Series: metering.Series{Scope: scope, Metric: cpu, Groupby: metering.Attributes{{Name: "flavor", Value: flavor}}}}
			for w := range b.Run.Count {
				u.Samples = append(u.Samples, metering.Sample{Window: w, Qty: money.New(int64(w+1), 0)})
			}
			b.Usage = append(b.Usage, u)
		}
	}
	return p, b
}

// usageText lists samples by scope, series and window.
func usageText(b *metering.Batch) (all []string) {
	for _, u := range b.Usage {
		flavor, _ := u.Groupby.Get("flavor")
		line := strings.TrimSpace(u.Scope.ID+" "+u.Metric.Name+" "+flavor) + ":"
		for _, s := range u.Samples {
			line += fmt.Sprintf(" %d: %s = %s;", s.Window, s.Qty, s.Price)
		}
		all = append(all, line)
	}
	return all
}

func findingsText(b *metering.Batch) (all []string) {
	for _, f := range b.Findings {
		all = append(all, fmt.Sprintf("%s %d %s %s (%d)", f.Scope.ID, f.Window, f.Kind, f.Detail, f.Points))
	}
	return all
}

// TestRateWithScripts: windows in which scripts run are priced as a whole, others as ever; a window that fails leaves nothing,
// and harms no other.
func TestRateWithScripts(t *testing.T) {
	p, b := scriptedPrices(t, rating.Script{Name: "s", Data: `
scope = data["usage"]["cpu"][0]["groupby"]["project_id"]
hour = data["period"]["begin"].hour
if scope == "p2" and hour == 3:
    fail("not at three")
for point in data["usage"]["cpu"]:
    point["rating"]["price"] *= 0.5
    if point["groupby"]["flavor"] == "m9" and hour == 3:
        point["rating"]["price"] = 13  # which is skipped
data["usage"]["fee"] = [{"vol": {"unit": "month", "qty": 1}, "rating": {"price": 5}, "groupby": {}, "metadata": {}}] * 2
`})
	if err := p.rate(t.Context(), scripting{runner: newScripts(t, 1, 10*time.Second, 64<<20), metrics: p.metrics("default")}, b); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"p1 cpu m1: 0: 1 = 2; 1: 2 = 4; 2: 3 = 3; 3: 4 = 4;",
		"p1 cpu m9: 0: 1 = 0; 1: 2 = 0; 2: 3 = 0;",
		"p2 cpu m1: 0: 1 = 2; 1: 2 = 4; 2: 3 = 3;",
		"p2 cpu m9: 0: 1 = 0; 1: 2 = 0; 2: 3 = 0;",
		"p1 fee: 2: 1 = 5; 3: 1 = 5;", // equal points of a window are in usages of their own
		"p1 fee: 2: 1 = 5; 3: 1 = 5;",
		"p2 fee: 2: 1 = 5;",
		"p2 fee: 2: 1 = 5;",
	}
	if diff := gocmp.Diff(want, usageText(b)); diff != "" {
		t.Error(diff)
	}
	if len(b.Failed) != 1 || b.Failed[0].Scope.ID != "p2" || b.Failed[0].Window != 3 || b.Failed[0].Error != "script s, line 5: fail: not at three" {
		t.Errorf("failed: %+v", b.Failed)
	}
	var found []string
	for w := range 3 {
		for _, scope := range []string{"p1", "p2"} {
			found = append(found, fmt.Sprintf("%s %d unpriced flavor = m9 (1)", scope, w))
		}
	}
	got := map[string]bool{}
	for _, f := range findingsText(b) {
		got[f] = true
	}
	for _, f := range found {
		if !got[f] {
			t.Errorf("%s was not noticed, only %v", f, findingsText(b))
		}
	}
	if len(got) != len(found) {
		t.Errorf("noticed: %v", findingsText(b))
	}
}

// TestRateScriptsAgain: stored usage can be priced again as often as one likes, and comes to the same; where a script would
// change the usage itself, it is refused.
func TestRateScriptsAgain(t *testing.T) {
	runner := new(script.Interpreter)
	p, b := scriptedPrices(t, rating.Script{Name: "s", Data: "for p in data['usage']['cpu']:\n  p['rating']['price'] += p['vol']['qty'] * 0.25"})
	if err := p.rate(t.Context(), scripting{runner: runner}, b); err != nil {
		t.Fatal(err)
	}
	first := usageText(b)
	for range 3 {
		b.Findings = nil
		if err := p.rate(t.Context(), scripting{runner: runner, stored: true}, b); err != nil || len(b.Failed) > 0 {
			t.Fatal(err, b.Failed)
		}
		if diff := gocmp.Diff(first, usageText(b)); diff != "" {
			t.Fatal(diff)
		}
	}
	p, b = scriptedPrices(t, rating.Script{Name: "s", Data: "for p in data['usage']['cpu']:\n  p['vol']['qty'] += 1"})
	if err := p.rate(t.Context(), scripting{runner: runner, stored: true}, b); err != nil {
		t.Fatal(err)
	}
	if len(b.Failed) != 4 || !strings.Contains(b.Failed[0].Error, "it changes more than prices") {
		t.Errorf("failed: %+v", b.Failed)
	}
}

// runnerFunc is a runner that does what a test wants.
type runnerFunc func(f *script.Frame) (*script.Frame, error)

func (r runnerFunc) Run(_ context.Context, _ []script.Source, f *script.Frame) (*script.Frame, error) {
	return r(f)
}

// TestStoppedScripts: windows are not all tried when scripts are stopped again and again, but others that fail are.
func TestStoppedScripts(t *testing.T) {
	for _, stopped := range []bool{true, false} {
		p, b := scriptedPrices(t, rating.Script{Name: "s", Data: "", Start: time.Unix(0, 0)})
		tried := 0
		runner := runnerFunc(func(*script.Frame) (*script.Frame, error) {
			tried++
			return nil, &script.Error{Script: "s", Message: "no", Stopped: stopped}
		})
		if err := p.rate(t.Context(), scripting{runner: runner}, b); err != nil {
			t.Fatal(err)
		}
		want := map[bool]int{true: mostStopped, false: 8}[stopped]
		if tried != want || len(b.Failed) != 8 || b.Points() != 0 {
			t.Errorf("%d windows were tried, want %d; %d failed, %d points", tried, want, len(b.Failed), b.Points())
		}
		for _, f := range b.Failed {
			if f.Error != "script s: no" && f.Error != "not tried, since a script was stopped in 3 other windows in a row: script s: no" {
				t.Errorf("error %s", f.Error)
			}
		}
	}
}

func TestRateScriptsIsInterrupted(t *testing.T) {
	p, b := scriptedPrices(t, rating.Script{Name: "s", Data: ""})
	ctx, cancel := context.WithCancel(t.Context())
	runner := runnerFunc(func(*script.Frame) (*script.Frame, error) {
		cancel()
		return nil, ctx.Err()
	})
	if err := p.rate(ctx, scripting{runner: runner}, b); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if len(b.Failed) > 0 {
		t.Errorf("failed: %+v", b.Failed)
	}
}
