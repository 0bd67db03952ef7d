package components

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ratebook/money"
)

var coordinates = regexp.MustCompile(`M(-?\d+) (-?\d+)V(-?\d+)H(-?\d+)V(-?\d+)Z`)

// Whatever is drawn stays within the drawing, and nothing divides by zero.
func TestPlotBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		huge := money.MustParse("1e" + strconv.Itoa(rapid.SampledFrom([]int{0, 0, 6, 30}).Draw(t, "power")))
		value := rapid.Custom(func(t *rapid.T) money.Decimal {
			if rapid.IntRange(0, 4).Draw(t, "kind") == 0 {
				return money.Decimal{}
			}
			return money.New(rapid.Int64().Draw(t, "coefficient"), rapid.Int32Range(0, 24).Draw(t, "decimals")).Mul(huge)
		})
		c := Chart{Buckets: make([]Bucket, rapid.SampledFrom([]int{0, 1, 2, 31, 62, 63, 120, 121, 200}).Draw(t, "buckets"))}
		for i := range c.Buckets {
			c.Buckets[i].Label = strconv.Itoa(i)
		}
		for range rapid.IntRange(0, 4).Draw(t, "series") {
			values := make([]money.Decimal, len(c.Buckets))
			for i := range min(len(values), 5) {
				values[i] = value.Draw(t, "value")
			}
			c.Series = append(c.Series, Series{Values: values})
		}
		p := newPlot(c)
		if p.Empty {
			return
		}
		if n := len(p.Ticks); n < 2 || n > 5 {
			t.Fatalf("the axis has %d ticks: %q", n, p.Ticks)
		}
		check := func(path string) {
			for _, m := range coordinates.FindAllStringSubmatch(path, -1) {
				for i, s := range m[1:] {
					n, err := strconv.Atoi(s)
					limit := chartHeight
					if i == 0 || i == 3 {
						limit = len(c.Buckets) * barPitch
					}
					if err != nil || n < 0 || n > limit {
						t.Fatalf("%s lies outside", m[0])
					}
				}
			}
		}
		for _, col := range p.Columns {
			for i, s := range col.Pieces {
				check(s.Path)
				if !coordinates.MatchString(s.Path) {
					t.Fatalf("piece %d is %q", i, s.Path)
				}
			}
			if col.Focus != (len(c.Buckets) <= maxLinks) {
				t.Fatal("the keyboard stops at too many bars, or at none")
			}
		}
		for _, s := range p.Shapes {
			check(s.Path)
		}
		if dense := len(c.Buckets) > maxBars; dense != p.Dense() && len(c.Series) > 0 || dense && len(p.Columns) > 0 {
			t.Fatalf("%d buckets are drawn as %d columns and %d shapes", len(c.Buckets), len(p.Columns), len(p.Shapes))
		}
		sparkline(c.Series[0].Values) // does not panic
		part(c.Series[0].Values[0], value.Draw(t, "whole"))
	})
}

// Bars are as high as their amounts: against each other, and against the ticks.
func TestPlotHeights(t *testing.T) {
	for _, power := range []string{"1", "1e-20", "1e-9", "1e3", "1e25"} {
		unit := money.MustParse(power)
		at := func(n int64) money.Decimal { return money.New(n, 0).Mul(unit) }
		p := newPlot(Chart{
			Buckets: make([]Bucket, 2),
			Series:  []Series{{Values: []money.Decimal{at(30), at(-10)}}, {Color: 1, Values: []money.Decimal{at(10), at(-10)}}},
		})
		want := [][]shape{
			{{0, "M11 667V167H89V667Z"}, {1, "M11 167V0H89V167Z"}}, // 0 to 30, and on to 40, of −20 to 40
			{{0, "M111 833V667H189V833Z"}, {1, "M111 1000V833H189V1000Z"}},
		}
		// 40 − 30 of 60 is 1/6 of 1000: 166 or 167 as it is rounded
		for b, col := range p.Columns {
			if len(col.Pieces) != 2 {
				t.Fatalf("%s: bucket %d has %d pieces", power, b, len(col.Pieces))
			}
			for i, s := range col.Pieces {
				got, wanted := coordinates.FindStringSubmatch(s.Path)[1:], coordinates.FindStringSubmatch(want[b][i].Path)[1:]
				for k := range got {
					g, _ := strconv.Atoi(got[k])
					w, _ := strconv.Atoi(wanted[k])
					if g-w > 1 || w-g > 1 || s.Color != want[b][i].Color {
						t.Errorf("%s: bucket %d, piece %d is %s in %d, want %s", power, b, i, s.Path, s.Color, want[b][i].Path)
					}
				}
			}
		}
		if len(p.Ticks) != 4 {
			t.Errorf("%s: ticks %q", power, p.Ticks)
		}
	}
}

func TestTicks(t *testing.T) {
	tests := []struct {
		values []string
		want   []string
	}{
		{[]string{"1"}, []string{"1", "0.5", "0"}},
		{[]string{"12480.22"}, []string{"15,000", "10,000", "5,000", "0"}},
		{[]string{"0.000000000017"}, []string{"0.00000000002", "0.000000000015", "0.00000000001", "0.000000000005", "0"}},
		{[]string{"-7"}, []string{"0", "−2", "−4", "−6", "−8"}},
		{[]string{"150", "-20"}, []string{"150", "100", "50", "0", "−50"}},
		{[]string{"123456789012345678"}, []string{"150,000,000,000,000,000", "100,000,000,000,000,000", "50,000,000,000,000,000", "0"}},
	}
	for _, tt := range tests {
		c := Chart{Buckets: make([]Bucket, len(tt.values)), Series: []Series{{}}}
		for _, v := range tt.values {
			c.Series[0].Values = append(c.Series[0].Values, money.MustParse(v))
		}
		if diff := cmp.Diff(tt.want, newPlot(c).Ticks); diff != "" {
			t.Errorf("%v: %s", tt.values, diff)
		}
	}
}

func TestEmptyPlots(t *testing.T) {
	for _, c := range []Chart{
		{},
		{Buckets: make([]Bucket, 3)},
		{Buckets: make([]Bucket, 3), Series: []Series{{}}},
		{Buckets: make([]Bucket, 1), Series: []Series{{Values: []money.Decimal{{}}}}},
		{Series: []Series{{Values: []money.Decimal{money.New(1, 0)}}}},
	} {
		if p := newPlot(c); !p.Empty {
			t.Errorf("%+v is not empty", c)
		}
	}
}

// Labels do not run into each other, neither on a phone nor where all are shown.
func TestAxisLabels(t *testing.T) {
	for _, n := range []int{1, 2, 7, 12, 24, 31, 62, 90, 365, 744} {
		for _, form := range []string{"%d", "%d Nov", "Week %d, 2026"} {
			buckets := make([]Bucket, n)
			for i := range buckets {
				buckets[i].Label = fmt.Sprintf(form, i+1)
			}
			labels := axisLabels(buckets)
			if len(labels) == 0 || labels[0].Minor || labels[0].Text != buckets[0].Label {
				t.Fatalf("%d × %q: the first label is missing", n, form)
			}
			major, letters := 0, 0
			for _, l := range labels {
				letters = max(letters, len(l.Text))
				if !l.Minor {
					major++
				}
			}
			if px := letters * 7; major > 1 && major*px > 290 || len(labels) > 1 && len(labels)*px > 640 {
				t.Errorf("%d × %q: %d labels on a phone, %d in all", n, form, major, len(labels))
			}
		}
	}
	if got := axisLabels(make([]Bucket, 9)); len(got) != 0 {
		t.Errorf("buckets without labels have %v", got)
	}
}

func TestColors(t *testing.T) {
	names := []string{"cpu", "memory", "volume", "network", "image", "gpu", "ip", "object", "more", "still more"}
	colors := Colors(names)
	seen := map[int]bool{}
	for i, c := range colors[:Others] {
		if c < 0 || c >= Others || seen[c] {
			t.Errorf("%s has colour %d, as another has", names[i], c)
		}
		seen[c] = true
	}
	if colors[8] != Others || colors[9] != Others {
		t.Errorf("the ninth and tenth have colours %v", colors[8:])
	}
	if first := Colors(names[2:3])[0]; first != Colors([]string{names[2], "zebra"})[0] {
		t.Error("a name's colour depends on those behind it")
	}
	if diff := cmp.Diff(Colors(names), colors); diff != "" {
		t.Error(diff)
	}
}

func TestPart(t *testing.T) {
	for _, tt := range []struct {
		part, whole string
		want        int
	}{{"1", "4", 250}, {"0", "0", 0}, {"5", "0", 0}, {"0", "5", 0}, {"9", "3", 1000}, {"-1", "4", 250}, {"1e-12", "1e20", 0}, {"1e20", "1e-12", 1000}, {"7", "7", 1000}} {
		if got := part(money.MustParse(tt.part), money.MustParse(tt.whole)); got != tt.want {
			t.Errorf("part(%s, %s) = %d, want %d", tt.part, tt.whole, got, tt.want)
		}
	}
}
