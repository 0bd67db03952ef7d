package jobs

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rating"
)

// TestNoticed rates points that no rule prices, that cost next to nothing, and whose values are no numbers.
func TestNoticed(t *testing.T) {
	rule := func(field, value, cost string) rating.Rule {
		return rating.Rule{ID: field + value, Kind: rating.Mapping, Service: "cpu", Field: field, Value: value, Type: rating.Flat, Cost: money.MustParse(cost)}
	}
	above := rule("ram", "", "1")
	above.Kind, above.Level = rating.Threshold, money.MustParse("4")
	march := rule("month", "3", "1")
	march.Service = "gpu"
	engine, err := rating.Compile(&rating.Rules{
		Modules: []rating.Module{{Name: "hashmap", Enabled: true}},
		Hashmap: []rating.Rule{rule("flavor", "m1", "1"), rule("flavor", "m2", "0.0000001"), above, march},
	}, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	cpu, gpu, disk := &metering.Metric{Ref: 1, Name: "cpu"}, &metering.Metric{Ref: 2, Name: "gpu"}, &metering.Metric{Ref: 3, Name: "disk"}
	skip, err := metering.CompileSkip(`datapoint["vol"]["qty"] == 0`)
	if err != nil {
		t.Fatal(err)
	}
	a := &metering.Scope{Ref: 1, ID: "a"}
	b := &metering.Batch{Scopes: []*metering.Scope{a}, Run: period.Run{Begin: time.Date(2026, 3, 31, 22, 0, 0, 0, time.UTC), Length: time.Hour, Count: 4}}
	add := func(m *metering.Metric, attributes metering.Attributes, quantities ...string) {
		u := metering.Usage{Series: metering.Series{Scope: a, Metric: m, Groupby: attributes}}
		for i, q := range quantities {
			u.Samples = append(u.Samples, metering.Sample{Window: i, Qty: money.MustParse(q)})
		}
		b.Usage = append(b.Usage, u)
	}
	flavor := func(value string) metering.Attribute { return metering.Attribute{Name: "flavor", Value: value} }
	ram := func(value string) metering.Attribute { return metering.Attribute{Name: "ram", Value: value} }
	add(cpu, metering.Attributes{flavor("m1")}, "1")
	add(cpu, metering.Attributes{flavor("m2"), {Name: "id", Value: "1"}}, "0.000001", "1")
	add(cpu, metering.Attributes{flavor("m9"), {Name: "id", Value: "2"}}, "1", "0") // what is skipped is not noticed
	add(cpu, metering.Attributes{flavor("m9"), {Name: "id", Value: "3"}}, "1", "1")
	add(cpu, metering.Attributes{ram("much")}, "1")
	add(cpu, metering.Attributes{ram(strings.Repeat("ü", 300))}, "1")
	add(disk, nil, "1")
	add(gpu, nil, "1", "1", "1", "1") // from the third on it is April
	b.Findings = []metering.Finding{
		{Kind: metering.Skipped, Scope: a, Window: 3, Metric: "cpu", Detail: "NaN of {}", Points: 2},
		{Kind: metering.SourceNote, Scope: a, Window: 3, Metric: "cpu", Detail: strings.Repeat("x", 199) + "\x00\xff"},
	}
	p := &prices{configured: &configured{skips: map[*metering.Metric]*metering.Skip{cpu: skip}}, ruled: &ruled{engine: engine}}
	if err := p.rate(t.Context(), scripting{}, b); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range b.Findings {
		got = append(got, fmt.Sprintf("%d %s %s: %s (%d)", f.Window, f.Kind, f.Metric, f.Detail, f.Points))
	}
	long := strings.Repeat("ü", 194) + "…"
	want := []string{
		"0 not_numeric cpu: ram = much (1)",
		"0 not_numeric cpu: ram = " + long + " (1)",
		"0 rounded_to_0 cpu: flavor = m2, ram is missing (1)",
		"0 unpriced cpu: flavor = m9, ram is missing (2)",
		"0 unpriced cpu: flavor is missing, ram = much (1)",
		"0 unpriced cpu: flavor is missing, ram = " + strings.Repeat("ü", 175) + "… (1)",
		"0 unpriced disk:  (1)",
		"1 unpriced cpu: flavor = m9, ram is missing (1)",
		"2 unpriced gpu: month = 4 (1)",
		"3 skipped cpu: NaN of {} (2)",
		"3 source_note cpu: " + strings.Repeat("x", 199) + "\uFFFD… (0)",
		"3 unpriced gpu: month = 4 (1)",
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestNoticedIsBounded: a window has at most so many findings of a kind and metric, the same ones in whatever order points come,
// and no point is lost.
func TestNoticedIsBounded(t *testing.T) {
	a := &metering.Scope{Ref: 1, ID: "a"}
	order := make([]int, 3*mostDetails)
	for i := range order {
		order[i] = i
	}
	var first []metering.Finding
	for range 3 {
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		n := noticed{}
		for _, i := range order {
			n[notice{a, 0, metering.Unpriced, "cpu", fmt.Sprint("id = ", i)}] += 1 + i%7
			n[notice{a, i % 2, metering.Skipped, "cpu", "NaN"}]++
		}
		all := n.findings()
		sums, others := map[metering.FindingKind]int{}, 0
		for _, f := range all {
			sums[f.Kind] += f.Points
			if f.Detail == otherValues {
				others += f.Points
			}
		}
		points := 0
		for i := range order {
			points += 1 + i%7
		}
		if len(all) != mostDetails+1+2 || sums[metering.Unpriced] != points || sums[metering.Skipped] != len(order) || others == 0 || others > points*2/3 {
			t.Errorf("%d findings of %v points, %d of them others; want %d points", len(all), sums, others, points)
		}
		if first == nil {
			first = all
		}
		if !slices.Equal(all, first) {
			t.Error("the order of points matters")
		}
	}
}
