package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/rating"
)

// TestUnstorable has one window that the ledger can't store, whatever the batch: it fails alone, with the reason, and all
// others are stored.
func TestUnstorable(t *testing.T) {
	t.Parallel()
	l := &ledger{leases: leases(5, 4)}
	poison := l.leases[2].Scope
	window := l.leases[2].Run.Window(3).Begin
	l.commit = func(_ context.Context, b *metering.Batch) error {
		for _, u := range b.Usage {
			for _, s := range u.Samples {
				if u.Scope == poison && b.Run.Window(s.Window).Begin.Equal(window) {
					return errors.New("index row size exceeds maximum")
				}
			}
		}
		return nil
	}
	sum, err := processor(l, one).Process(t.Context(), Work{Once: true})
	if err != nil || sum.Done != 5*4-1 || sum.Failed != 1 {
		t.Fatalf("error %v, %d done, %d failed", err, sum.Done, sum.Failed)
	}
	for key, state := range l.windows(t) {
		if bad := strings.HasPrefix(key, poison.ID+" ") && strings.HasSuffix(key, window.Format("15")); bad != strings.Contains(state, "index row size") {
			t.Errorf("%s is %s", key, state)
		}
	}
}

// TestPanic has our own code panic about one scope: its windows fail with that, and everything else goes on.
func TestPanic(t *testing.T) {
	t.Parallel()
	l := &ledger{leases: leases(5, 2)}
	source := func(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
		if slices.ContainsFunc(r.Scopes, func(s *metering.Scope) bool { return s.ID == "c" }) {
			panic("index out of range")
		}
		return one(ctx, r)
	}
	sum, err := processor(l, source).Process(t.Context(), Work{Once: true})
	if err != nil || sum.Failed != 2 || sum.Done != 8 {
		t.Fatalf("error %v, %d failed, %d done", err, sum.Failed, sum.Done)
	}
	for key, state := range l.windows(t) {
		if strings.HasPrefix(key, "c") && !strings.Contains(state, "a mistake in Ratebook: index out of range") {
			t.Errorf("%s is %s", key, state)
		}
	}
}

// two collects a quantity of 1 of both metrics, but of the second only for some scopes.
func two(has func(s *metering.Scope) bool) collect {
	return func(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
		got, err := one(ctx, r)
		for _, u := range got.Usage[:len(r.Scopes)] {
			if u.Metric, u.Samples = r.Metrics[1], slices.Clone(u.Samples); has(u.Scope) {
				got.Usage = append(got.Usage, u)
			}
		}
		return got, err
	}
}

// TestOneBadThing has an expression or a rule that means nothing: windows fail that have points of its metric, or of its
// scope, with its name; no others.
func TestOneBadThing(t *testing.T) {
	t.Parallel()
	nonsense := rating.Rule{ID: "f00", Kind: "guess", Type: rating.Flat, Service: "ram", Cost: money.New(1, 0)}
	ofB := nonsense
	ofB.Scope = "b"
	for name, c := range map[string]struct {
		spoil func(c *catalog)
		bad   string // scopes
		says  string
	}{
		"expression":      {func(c *catalog) { c.metrics[1].Skip = "((" }, "bc", "metric ram: skip_datapoints_expression: "},
		"evaluation":      {func(c *catalog) { c.metrics[1].Skip = "1 < datapoint['groupby']['missing']" }, "bc", "metric ram: skip_datapoints_expression: "},
		"rule":            {func(c *catalog) { c.rules = map[int64]*rating.Rules{1: costs("cpu", "5", nonsense)} }, "bc", `rules version 1: rule f00 of "ram"`},
		"rule of a scope": {func(c *catalog) { c.rules = map[int64]*rating.Rules{1: costs("cpu", "5", ofB)} }, "b", `rules version 1: rule f00 of "ram"`},
		"module": {func(c *catalog) {
			c.rules = map[int64]*rating.Rules{1: {Modules: []rating.Module{{Name: "oracle", Enabled: true}}}}
		}, "abc", `rules version 1: there is no rating module "oracle"`},
	} {
		l := &ledger{leases: leases(3, 2)}
		p := processor(l, two(func(s *metering.Scope) bool { return s.ID != "a" }))
		c.spoil(p.Catalog.(*catalog))
		if _, err := p.Process(t.Context(), Work{Once: true}); err != nil {
			t.Fatal(err)
		}
		for key, state := range l.windows(t) {
			if bad := strings.Contains(c.bad, key[:1]); bad != strings.HasPrefix(state, c.says) || !bad && state != "done" {
				t.Errorf("%s: %s is %q", name, key, state)
			}
		}
	}
}

// TestCatalogUnreadable has the database away, which is no window's fault.
func TestCatalogUnreadable(t *testing.T) {
	t.Parallel()
	l := &ledger{leases: leases(1, 1)}
	p := processor(l, one)
	p.Catalog = unreadableRules{p.Catalog}
	if _, err := p.Process(t.Context(), Work{Once: true}); fault.KindOf(err) != fault.Unavailable || len(l.committed) != 0 {
		t.Errorf("error %v, %d batches", err, len(l.committed))
	}
}

type unreadableRules struct{ Catalog }

func (unreadableRules) Rules(context.Context, int64) (*rating.Rules, error) {
	return nil, errors.New("connection reset")
}

// TestFindingsOfAll has the source remark something about all scopes or all windows: each has it.
func TestFindingsOfAll(t *testing.T) {
	t.Parallel()
	l := &ledger{leases: leases(2, 3)}
	p := processor(l, func(_ context.Context, r *metering.Request) (*metering.Collection, error) {
		return &metering.Collection{Findings: []metering.Finding{
			{Kind: metering.SourceNote, Window: -1, Metric: "cpu"},
			{Kind: metering.SourceNote, Window: 2, Metric: "ram"},
			{Kind: metering.Skipped, Scope: r.Scopes[0], Window: -1, Metric: "cpu", Points: 1},
			{Kind: metering.Skipped, Scope: r.Scopes[1], Window: 1, Metric: "cpu", Points: 1},
		}}, nil
	})
	if _, err := p.Process(t.Context(), Work{Once: true}); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, f := range l.committed[0].Findings {
		if f.Scope == nil || f.Window < 0 || f.Window > 2 {
			t.Fatalf("%+v", f)
		}
		got[fmt.Sprint(f.Kind, " ", f.Metric)]++
	}
	if got["source_note cpu"] != 6 || got["source_note ram"] != 2 || got["skipped cpu"] != 4 {
		t.Error(got)
	}
}

// TestRecent keeps what was used last.
func TestRecent(t *testing.T) {
	t.Parallel()
	var r recent[string]
	made := ""
	for _, v := range []int64{1, 2, 3, 4, 1, 5, 1, 2, 4} {
		got, err := r.get(v, func() (string, error) {
			made += fmt.Sprint(v)
			return fmt.Sprint("v", v), nil
		})
		if err != nil || got != fmt.Sprint("v", v) {
			t.Errorf("version %d: %q, %v", v, got, err)
		}
	}
	if made != "123452" {
		t.Errorf("made %s", made)
	}
	if _, err := r.get(9, func() (string, error) { return "", errors.New("no") }); err == nil || len(r) != 4 {
		t.Errorf("%v, %d kept", err, len(r))
	}
}
