package metering

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ratebook/money"
)

func TestDiff(t *testing.T) {
	metric := func(ref int64, name, measured string, change func(*Metric)) *Metric {
		m := &Metric{Ref: ref, Source: "default", Name: name, Measured: measured, Unit: "core", Factor: money.One}
		if change != nil {
			change(m)
		}
		return m
	}
	current := []*Metric{
		metric(4, "ram", "server_memory", nil),
		metric(1, "cpu", "server_cpu", nil),
		metric(2, "disk", "server_disk", func(m *Metric) { m.Factor = ratio(t, "1/2") }),
		metric(1, "cpu", "bare_cpu", nil),
	}
	next := []*Metric{
		metric(0, "cpu", "server_cpu", func(m *Metric) {
			m.Unit, m.Description, m.Groupby, m.Mutate = "vcpu", "CPUs that \"run\"", []string{"id", "name"}, Map
			m.MutateMap = []MutateEntry{{money.New(1, 0), money.New(5, 1)}, {money.New(2, 0), money.New(1, 0)}}
			m.Factor, m.MayBeAbsent, m.Prometheus.Aggregation = ratio(t, "1/1048576"), true, "sum"
		}),
		metric(0, "disk", "server_disk", func(m *Metric) { m.Factor = ratio(t, "2/4") }),
		metric(0, "cpu", "virtual_cpu", nil),
		metric(0, "gpu", "server_gpu", nil),
	}
	changed := `cpu (server_cpu): unit core -> vcpu; description (none) -> "CPUs that \"run\""; groupby (none) -> id, name; factor 1 -> 1/1048576; ` +
		`mutate NONE -> MAP; mutate_map (none) -> 1: 0.5, 2: 1; may_be_absent false -> true; aggregation_method (none) -> sum`
	for _, c := range []struct {
		replace bool
		want    Difference
		result  []string
		refs    []int64
	}{
		{
			replace: false,
			want: Difference{
				Added:   []string{"gpu (server_gpu)", "cpu (virtual_cpu)"},
				Changed: []string{changed},
				Same:    1,
				Kept:    []string{"cpu (bare_cpu)", "ram (server_memory)"},
			},
			result: []string{"bare_cpu", "server_cpu", "server_disk", "server_gpu", "server_memory", "virtual_cpu"},
			refs:   []int64{1, 1, 2, 0, 4, 1},
		},
		{
			replace: true,
			want: Difference{
				Added:   []string{"gpu (server_gpu)", "cpu (virtual_cpu)"},
				Changed: []string{changed},
				Same:    1,
				Removed: []string{"cpu (bare_cpu)", "ram (server_memory)"},
			},
			result: []string{"server_cpu", "server_disk", "server_gpu", "virtual_cpu"},
			refs:   []int64{1, 2, 0, 1},
		},
	} {
		result, d := Diff(current, next, c.replace)
		if x := cmp.Diff(&c.want, d); x != "" {
			t.Errorf("replace %t: want - got +\n%s", c.replace, x)
		}
		var measured []string
		var refs []int64
		for _, m := range result {
			measured, refs = append(measured, m.Measured), append(refs, m.Ref)
		}
		if x := cmp.Diff(c.result, measured); x != "" {
			t.Errorf("replace %t: want - got +\n%s", c.replace, x)
		}
		if x := cmp.Diff(c.refs, refs); x != "" {
			t.Errorf("replace %t: references: want - got +\n%s", c.replace, x)
		}
		if next[0].Ref != 0 || current[0].Name != "ram" {
			t.Error("the arguments changed")
		}
	}
}

func TestDifference(t *testing.T) {
	d := &Difference{Kept: []string{"z", "a"}}
	if !d.Empty() {
		t.Error("keeping is a change")
	}
	d.Added, d.Changed, d.Removed = []string{"b"}, []string{"c"}, []string{"d"}
	want := "+ b\n~ c\n- d\n  not in the file, stays: a\n  not in the file, stays: z\n1 added, 1 changed, 1 removed; 0 the same, 2 not in the file\n"
	if s := d.String(); s != want || d.Empty() {
		t.Errorf("got %q", s)
	}
	other := &Metric{Source: "site2", Name: "cpu", Measured: "server_cpu"}
	if _, d := Diff(nil, []*Metric{other}, false); d.Added[0] != "cpu (server_cpu) of site2" {
		t.Errorf("got %q", d)
	}
}

func TestDiffIsAnImport(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		current, next, replace := drawMetrics(t), drawMetrics(t), rapid.Bool().Draw(t, "replace")
		result, d := Diff(current, next, replace)
		if len(result) != len(current)+len(d.Added)-len(d.Removed) {
			t.Fatalf("%d metrics and\n%sare %d", len(current), d, len(result))
		}
		if again, d2 := Diff(result, next, replace); !d2.Empty() || cmp.Diff(result, again) != "" {
			t.Fatalf("importing twice changes again:\n%s", d2)
		}
		if replace && len(result) != len(next) {
			t.Fatalf("%d metrics replaced by %d are %d", len(current), len(next), len(result))
		}
	})
}
