package metering

import (
	"testing"

	"ratebook/money"
)

func TestQuantity(t *testing.T) {
	mapping := []MutateEntry{{money.MustParse("1"), money.MustParse("10")}, {money.MustParse("2.50"), money.MustParse("0.1")}}
	for _, c := range []struct {
		name, raw, factor, offset string
		mutate                    Mutation
		want                      string
	}{
		{"as it is", "1.5", "1", "0", None, "1.5"},
		{"a float64's text", "0.1000000000000000055511151231257827", "1", "0", None, "0.100000000000000006"},
		{"factor and offset", "2", "1.5", "-0.25", None, "2.75"},
		{"fraction", "5368709120", "1/1073741824", "0", None, "5"},
		{"endless fraction", "1", "1/3", "0", None, "0.333333333333333333"},
		{"rounded once, after the offset", "1", "1/3", "1/6", None, "0.5"},
		{"half to even", "0.0000000000000000005", "1", "0", None, "0"},
		{"float64's largest", "1.7976931348623157e+308", "1e-300", "0", None, "179769313.48623157"},
		{"NUMBOOL", "0.3", "1", "0", NumBool, "1"},
		{"NUMBOOL of 0", "0.00", "1", "0", NumBool, "0"},
		{"NUMBOOL of a negative", "-2", "1", "0", NumBool, "1"},
		{"NUMBOOL after conversion", "5", "1", "-5", NumBool, "0"},
		{"NUMBOOL sees what is stored", "1e-30", "1", "0", NumBool, "0"},
		{"NOTNUMBOOL", "0.3", "1", "0", NotNumBool, "0"},
		{"NOTNUMBOOL of 0", "0", "1", "0", NotNumBool, "1"},
		{"FLOOR", "1.9", "1", "0", Floor, "1"},
		{"FLOOR of a negative", "-1.1", "1", "0", Floor, "-2"},
		{"FLOOR of almost 2", "1.99999999999999999999", "1", "0", Floor, "2"},
		{"CEIL", "1.1", "1", "0", Ceil, "2"},
		{"CEIL of a negative", "-1.9", "1", "0", Ceil, "-1"},
		{"CEIL of just over 1", "1.00000000000000000001", "1", "0", Ceil, "1"},
		{"CEIL of a sum of thirds", "3", "1/3", "0", Ceil, "1"},
		{"MAP", "2.5", "1", "0", Map, "0.1"},
		{"MAP after conversion", "4", "1/4", "0", Map, "10"},
		{"MAP of the unknown", "7", "1", "0", Map, "0"},
	} {
		m := &Metric{Factor: ratio(t, c.factor), Offset: ratio(t, c.offset), Mutate: c.mutate, MutateMap: mapping}
		if got := m.Quantity(money.MustParse(c.raw)); got.String() != c.want {
			t.Errorf("%s: %s × %s + %s is %s, want %s", c.name, c.raw, c.factor, c.offset, got, c.want)
		}
	}
}

func TestQuantityDoesNotAllocate(t *testing.T) {
	raw := money.MustParse("1234567.890625")
	for _, factor := range []string{"1", "3600", "0.001", "1/1048576", "1/3"} {
		m := &Metric{Factor: ratio(t, factor)}
		if n := testing.AllocsPerRun(10, func() { m.Quantity(raw) }); n != 0 {
			t.Errorf("a factor of %s allocates %v times", factor, n)
		}
	}
}

func BenchmarkQuantity(b *testing.B) {
	raw := money.MustParse("1234567.890625")
	for _, factor := range []string{"1", "0.001", "1/1048576"} {
		m := &Metric{Factor: ratio(b, factor)}
		b.Run(factor, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Quantity(raw)
			}
		})
	}
}

func TestMutationText(t *testing.T) {
	for m := None; m <= Map; m++ {
		if got, err := ParseMutation(m.String()); err != nil || got != m {
			t.Errorf("%s: %v, %v", m, got, err)
		}
	}
	if _, err := ParseMutation("floor"); err == nil {
		t.Error("floor was read")
	}
}
