package money

import (
	"encoding/json"
	"errors"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestParseRatio(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"1", "1"},
		{"-1.50", "-1.5"},
		{"1/1048576", "1/1048576"},
		{" 3600 / 1e6 ", "3600/1000000"},
		{"1/-3", "-1/3"},
		{"-1/-3", "1/3"},
		{"5/1", "5"},
		{"0/7", "0/7"},
		{"0.5/0.25", "0.5/0.25"},
	} {
		r, err := ParseRatio(c.in)
		if err != nil || r.String() != c.want {
			t.Errorf("ParseRatio(%q) = %s, %v; want %s", c.in, r, err, c.want)
		}
	}
	for _, in := range []string{"", "/", "1/", "/2", "1/2/3", "1/0", "0/0", "1/-0.0", "one", "1 000", "NaN", "1//2"} {
		if r, err := ParseRatio(in); !errors.Is(err, ErrSyntax) {
			t.Errorf("ParseRatio(%q) = %s, %v; want ErrSyntax", in, r, err)
		}
	}
	if _, err := ParseRatio("1/1e5000"); !errors.Is(err, ErrRange) {
		t.Errorf("1/1e5000: %v", err)
	}
	if s := (Ratio{}).String(); s != "0" {
		t.Errorf("the zero ratio is %s", s)
	}
}

func TestRatioEqual(t *testing.T) {
	r := func(s string) Ratio { x, err := ParseRatio(s); must(0, err); return x }
	for _, c := range []struct {
		a, b Ratio
		want bool
	}{
		{r("1/2"), r("2/4"), true},
		{r("0.5"), r("1/2"), true},
		{Ratio{}, r("0"), true},
		{r("0/5"), Ratio{}, true},
		{r("1/3"), r("0.333333"), false},
		{One, r("1.0"), true},
		{r("-1/2"), r("1/2"), false},
		{Ratio{}, One, false},
	} {
		if c.a.Equal(c.b) != c.want || c.b.Equal(c.a) != c.want {
			t.Errorf("%s = %s: want %t", c.a, c.b, c.want)
		}
	}
}

func TestRatioText(t *testing.T) {
	b, err := json.Marshal([]Ratio{{}, One, {num: New(1, 0), den: New(3, 0)}})
	if err != nil || string(b) != `["0","1","1/3"]` {
		t.Errorf("%s, %v", b, err)
	}
	var back []Ratio
	if err := json.Unmarshal(b, &back); err != nil || !back[0].Equal(Ratio{}) || !back[1].Equal(One) || back[2].String() != "1/3" {
		t.Errorf("%v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`["1/0"]`), &back); err == nil {
		t.Error("1/0 was read")
	}
}

func TestLinear(t *testing.T) {
	for _, c := range []struct{ x, factor, offset, want string }{
		{"5", "1", "0", "5"},
		{"5.25", "2", "-0.5", "10"},
		{"1", "1/3", "0", "0.333333333333333333"},
		{"2", "1/3", "0", "0.666666666666666667"},
		{"-2", "1/3", "0", "-0.666666666666666667"},
		{"1", "1/1048576", "0", "0.000000953674316406"}, // ...406.25
		{"3", "1/1048576", "0", "0.000002861022949219"}, // ...218.75
		{"1048576", "1/1048576", "0", "1"},
		{"1", "1/2000000000000000000", "0", "0"},                                          // 0.5 units: a tie, to even
		{"3", "1/2000000000000000000", "0", "0.000000000000000002"},                       // 1.5 units
		{"1", "1/3", "1/7", "0.47619047619047619"},                                        // 10/21, rounded once
		{"1.7976931348623157e308", "1/1048576", "0", MustParse("0").String()},             // replaced below
		{"0.0000000000000000005", "1", "0", "0"},                                          // 18 decimals, a tie
		{"0.00000000000000000050000000000000000000001", "1", "0", "0.000000000000000001"}, // no tie
	} {
		f, err1 := ParseRatio(c.factor)
		o, err2 := ParseRatio(c.offset)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		x := MustParse(c.x)
		if len(x.String()) > 300 { // too long to write down
			c.want = new(big.Rat).Quo(rat(x), big.NewRat(1048576, 1)).FloatString(18)
			c.want = MustParse(c.want).String()
		}
		if got := Linear(x, f, o, QtyPlaces); got.String() != c.want {
			t.Errorf("%s × %s + %s = %s, want %s", c.x, c.factor, c.offset, got, c.want)
		}
	}
}

func drawRatio(t *rapid.T, label string) Ratio {
	num := MustParse(text(t, label+" numerator"))
	if rapid.Bool().Draw(t, label+" whole") {
		return Ratio{num: num, den: New(1, 0)}
	}
	den := MustParse(text(t, label+" denominator"))
	if den.IsZero() {
		return Ratio{}
	}
	if den.Sign() < 0 {
		den = den.Neg()
	}
	return Ratio{num: num, den: den}
}

func ratioRat(r Ratio) *big.Rat {
	if r.den.IsZero() {
		return new(big.Rat)
	}
	return new(big.Rat).Quo(rat(r.num), rat(r.den))
}

func TestLinearIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, f, o := MustParse(text(t, "x")), drawRatio(t, "factor"), drawRatio(t, "offset")
		places := int32(rapid.IntRange(0, 30).Draw(t, "places"))
		want := new(big.Rat).Mul(rat(x), ratioRat(f))
		want = roundRat(want.Add(want, ratioRat(o)), places)
		if got := Linear(x, f, o, places); rat(got).Cmp(want) != 0 {
			t.Errorf("%s × %s + %s to %d = %s, want %s", x, f, o, places, got, want)
		}
		if !f.Equal(f) || f.Equal(o) != (ratioRat(f).Cmp(ratioRat(o)) == 0) {
			t.Errorf("%s = %s: %t", f, o, f.Equal(o))
		}
	})
}

// FuzzQuotient holds the quotient in place against the one with unlimited integers.
func FuzzQuotient(f *testing.F) {
	f.Add(uint64(0), uint64(1), uint64(1048576), int32(0), int32(0), uint8(18), false)
	f.Add(^uint64(0), ^uint64(0), ^uint64(0), int32(3), int32(17), uint8(0), true)
	f.Add(uint64(0), uint64(5), uint64(10), int32(30), int32(0), uint8(18), true)
	f.Fuzz(func(t *testing.T, hi, lo, d uint64, ns, ds int32, places uint8, neg bool) {
		if d == 0 {
			return
		}
		num, den := Decimal{hi: hi, lo: lo, scale: ns & 63, neg: neg}, Decimal{lo: d, scale: ds & 63}
		p := int32(places & 31)
		got, ok := quoRoundShort(num, den, p)
		if want := quoRound(num, den, p); ok && !got.Equal(want) {
			t.Errorf("%s / %s to %d = %s, want %s", num, den, p, got, want)
		}
	})
}

func TestQuotientInPlaceTakesTheCommonCases(t *testing.T) {
	factor := Ratio{num: New(1, 0), den: New(1048576, 0)}
	for _, s := range []string{"0", "1", "123456789012345", "3.141592653589793", "9007199254740993", "1.7976931348623157e20"} {
		x := MustParse(s)
		if n := testing.AllocsPerRun(10, func() { Linear(x, factor, Ratio{}, QtyPlaces) }); n != 0 {
			t.Errorf("%s/1048576 allocates %v times", s, n)
		}
	}
}

func BenchmarkLinear(b *testing.B) {
	x := MustParse("123456789012.25")
	for name, f := range map[string]Ratio{"whole": {num: New(3600, 0), den: New(1, 0)}, "power of two": {num: New(1, 0), den: New(1048576, 0)}, "third": {num: New(1, 0), den: New(3, 0)}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Linear(x, f, Ratio{}, QtyPlaces)
			}
		})
	}
}
