package jobs

import (
	"fmt"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ratebook/metering"
	"ratebook/money"
)

// usages draws usage of a few series, some of which come several times, over some windows.
func usages(t *rapid.T, name string) []metering.Usage {
	scopes := []*metering.Scope{{Ref: 1}, {Ref: 2}}
	metrics := []*metering.Metric{{Ref: 1}, {Ref: 2}}
	var all []metering.Usage
	for range rapid.IntRange(0, 8).Draw(t, name) {
		u := metering.Usage{Series: metering.Series{Scope: rapid.SampledFrom(scopes).Draw(t, "scope"), Metric: rapid.SampledFrom(metrics).Draw(t, "metric")}}
		for w := range 4 {
			if rapid.Bool().Draw(t, "has") {
				u.Samples = append(u.Samples, metering.Sample{
					Window: w, Qty: money.New(rapid.Int64Range(0, 2).Draw(t, "qty"), 0), Price: money.New(rapid.Int64Range(0, 2).Draw(t, "price"), 0),
				})
			}
		}
		all = append(all, u)
	}
	return all
}

// texts writes every point, by window.
func texts(usage []metering.Usage) map[place][]string {
	all := map[place][]string{}
	for _, u := range usage {
		for _, s := range u.Samples {
			w := place{u.Scope.Ref, s.Window}
			all[w] = append(all[w], fmt.Sprint(u.Metric.Ref, " ", s.Qty, " ", s.Price))
		}
	}
	for _, points := range all {
		slices.Sort(points)
	}
	return all
}

// TestChanged compares windows as sorted lists of their points.
func TestChanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := usages(t, "before"), usages(t, "after")
		if rapid.Bool().Draw(t, "alike") {
			after = stored(before)
			for i, j := range rapid.Permutation(slices.Collect(seq(len(after)))).Draw(t, "order") {
				after[i], after[j] = after[j], after[i]
			}
		}
		old, fresh := texts(before), texts(after)
		want := map[place]bool{}
		for _, scope := range []int64{1, 2} {
			for w := range 4 {
				if at := (place{scope, w}); !slices.Equal(old[at], fresh[at]) {
					want[at] = true
				}
			}
		}
		got := changed(before, after)
		if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(place{})); diff != "" {
			t.Fatalf("want - got +\n%s", diff)
		}
		trimmed := stored(after)
		trim(trimmed, got)
		kept := texts(trimmed)
		for at, points := range fresh {
			if got[at] != (len(kept[at]) > 0) || got[at] && !slices.Equal(kept[at], points) {
				t.Fatalf("%+v: kept %v of %v", at, kept[at], points)
			}
		}
	})
}

func seq(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}
