package money

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"0", "0"},
		{"-0", "0"},
		{"+0.000", "0"},
		{"1", "1"},
		{"+1", "1"},
		{"-1", "-1"},
		{"007", "7"},
		{"1.50", "1.5"},
		{".5", "0.5"},
		{"5.", "5"},
		{"-.25", "-0.25"},
		{"1e3", "1000"},
		{"1E+3", "1000"},
		{"1.5e-3", "0.0015"},
		{"120e-1", "12"},
		{"0e999999999", "0"},
		{"18446744073709551615", "18446744073709551615"},                                       // 2^64-1
		{"18446744073709551616", "18446744073709551616"},                                       // 2^64
		{"340282366920938463463374607431768211455", "340282366920938463463374607431768211455"}, // 2^128-1
		{"340282366920938463463374607431768211456", "340282366920938463463374607431768211456"}, // 2^128
		{"-0.340282366920938463463374607431768211457", "-0.340282366920938463463374607431768211457"},
		{"1.7976931348623157e+308", "17976931348623157" + strings.Repeat("0", 292)},
		{"5e-324", "0." + strings.Repeat("0", 323) + "5"},
		{"0.1000000000000000000000000000", "0.1"},
		{"1e38", "1" + strings.Repeat("0", 38)},
		{"1e39", "1" + strings.Repeat("0", 39)},
		{"123456789012345678901234567890e20", "123456789012345678901234567890" + strings.Repeat("0", 20)},
	} {
		d, err := Parse(c.in)
		if err != nil {
			t.Errorf("Parse(%q): %v", c.in, err)
		} else if d.String() != c.want {
			t.Errorf("Parse(%q) = %s, want %s", c.in, d, c.want)
		}
		if b, err := ParseBytes([]byte(c.in)); err != nil || !b.Equal(d) {
			t.Errorf("ParseBytes(%q) = %s, %v", c.in, b, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"", "+", "-", ".", "e5", "1e", "1e+", "1e-", "--1", "+-1", "1..2", "1.2.3", " 1", "1 ", "1_000", "1,5", "0x10", "1e5.5",
		"NaN", "nan", "Inf", "-inf", "Infinity", "1/2", "١", "1\x00",
	} {
		if d, err := Parse(in); !errors.Is(err, ErrSyntax) {
			t.Errorf("Parse(%q) = %s, %v; want ErrSyntax", in, d, err)
		}
	}
	for _, in := range []string{"1e999999999", "1e-999999999", "1e99999999999999999999", "1e1101", "1e-1101", strings.Repeat("1", 1101)} {
		if d, err := Parse(in); !errors.Is(err, ErrRange) {
			t.Errorf("Parse(%.20q) = %s, %v; want ErrRange", in, d, err)
		}
	}
	_, err := Parse(strings.Repeat("x", 5000))
	if len(err.Error()) > 100 {
		t.Errorf("the error repeats %d bytes of input", len(err.Error()))
	}
}

func TestRound(t *testing.T) {
	for _, c := range []struct {
		in     string
		places int32
		want   string
	}{
		{"0.5", 0, "0"},
		{"1.5", 0, "2"},
		{"2.5", 0, "2"},
		{"-0.5", 0, "0"},
		{"-1.5", 0, "-2"},
		{"0.51", 0, "1"},
		{"0.49", 0, "0"},
		{"0.0000000000005", 12, "0"},
		{"0.0000000000015", 12, "0.000000000002"},
		{"0.00000000000050000000000000001", 12, "0.000000000001"},
		{"1.23", 5, "1.23"},
		{"0.05", 1, "0"},
		{"0.15", 1, "0.2"},
		{"0.00000000000000000000000000000000000000000005", 12, "0"}, // drops more than 19 decimals
		{"340282366920938463463374607431768211455.5", 0, "340282366920938463463374607431768211456"},
		{"34028236692093846346337460743176821145.5", 0, "34028236692093846346337460743176821146"},
		{"0.99999999999999999999", 18, "1"},
	} {
		if got := MustParse(c.in).Round(c.places); got.String() != c.want {
			t.Errorf("Round(%s, %d) = %s, want %s", c.in, c.places, got, c.want)
		}
	}
}

func TestFloorCeil(t *testing.T) {
	for _, c := range []struct{ in, floor, ceil string }{
		{"0", "0", "0"},
		{"1", "1", "1"},
		{"1.0", "1", "1"},
		{"1.1", "1", "2"},
		{"-1.1", "-2", "-1"},
		{"-0.1", "-1", "0"},
		{"0.1", "0", "1"},
		{"0.000000000000000000000000000000000000000000000000001", "0", "1"},
	} {
		d := MustParse(c.in)
		if d.Floor().String() != c.floor || d.Ceil().String() != c.ceil {
			t.Errorf("%s: floor %s, ceil %s; want %s, %s", d, d.Floor(), d.Ceil(), c.floor, c.ceil)
		}
	}
}

func TestParts(t *testing.T) {
	for _, c := range []struct {
		in     string
		places int32
		want   int64
		ok     bool
	}{
		{"0", 12, 0, true},
		{"1.5", 1, 15, true},
		{"1.50", 1, 15, true},
		{"-1.5", 3, -1500, true},
		{"1.55", 1, 0, false},
		{"9223372036854775807", 0, math.MaxInt64, true},
		{"-9223372036854775807", 0, -math.MaxInt64, true},
		{"9223372036854775808", 0, 0, false},
		{"9223372036854775807", 1, 0, false},
		{"340282366920938463463374607431768211456", 0, 0, false}, // beyond 128 bits
		{"0.000000000001", 12, 1, true},
		{"0.0000000000001", 12, 0, false},
	} {
		if got, ok := MustParse(c.in).Parts(c.places); got != c.want || ok != c.ok {
			t.Errorf("Parts(%s, %d) = %d, %t; want %d, %t", c.in, c.places, got, ok, c.want, c.ok)
		}
	}
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		coef  int64
		scale int32
		want  string
	}{
		{0, 0, "0"}, {0, 5, "0"}, {15, 1, "1.5"}, {-15, 1, "-1.5"}, {math.MinInt64, 0, "-9223372036854775808"}, {1, 30, "0.000000000000000000000000000001"},
	} {
		if got := New(c.coef, c.scale).String(); got != c.want {
			t.Errorf("New(%d, %d) = %s, want %s", c.coef, c.scale, got, c.want)
		}
	}
}

func TestZeroHasOneFace(t *testing.T) {
	for _, z := range []Decimal{{}, New(0, 7), New(0, 0).Neg(), MustParse("-0.00"), MustParse("1.5").Sub(MustParse("1.50")), MustParse("-3").Mul(Decimal{})} {
		if z.String() != "0" || z.Sign() != 0 || !z.IsZero() || !z.Equal(Decimal{}) || z.Cmp(Decimal{}) != 0 {
			t.Errorf("%#v is no proper zero: %s", z, z)
		}
	}
}

// TestText covers what carries decimals to and from JSON and SQL.
func TestText(t *testing.T) {
	d := MustParse("-12.3400")
	if b, err := json.Marshal(map[string]Decimal{"a": d}); err != nil || string(b) != `{"a":"-12.34"}` {
		t.Errorf("JSON: %s, %v", b, err)
	}
	var back Decimal
	if err := json.Unmarshal([]byte(`"1e-2"`), &back); err != nil || back.String() != "0.01" {
		t.Errorf("from JSON: %s, %v", back, err)
	}
	if v, err := d.Value(); err != nil || v != "-12.34" {
		t.Errorf("Value: %v, %v", v, err)
	}
	for _, src := range []any{"7.50", []byte("7.50")} {
		if err := back.Scan(src); err != nil || back.String() != "7.5" {
			t.Errorf("Scan(%v): %s, %v", src, back, err)
		}
	}
	if err := back.Scan(int64(-3)); err != nil || back.String() != "-3" {
		t.Errorf("Scan(int64): %s, %v", back, err)
	}
	for _, src := range []any{1.5, nil, true, "x", []byte("")} {
		if err := back.Scan(src); err == nil {
			t.Errorf("Scan(%T %v) succeeded", src, src)
		}
	}
}

// TestArithmeticDoesNotTouchItsOperands matters because large values share their coefficient.
func TestArithmeticDoesNotTouchItsOperands(t *testing.T) {
	a, b := MustParse("340282366920938463463374607431768211457.5"), MustParse("-999999999999999999999999999999999999999999.25")
	x, y := a.String(), b.String()
	_ = []Decimal{a.Add(b), a.Sub(b), a.Mul(b), a.Neg(), a.Round(0), a.Floor(), b.Ceil(), Linear(a, Ratio{num: b, den: New(3, 0)}, Ratio{num: a, den: b.Neg()}, 18)}
	_ = a.Cmp(b)
	if a.String() != x || b.String() != y {
		t.Errorf("operands changed: %s, %s", a, b)
	}
}

// checkPair holds every operation on a and b against math/big.Rat. d and e are what Parse made of the texts a and b.
func checkPair(t interface {
	Helper()
	Errorf(string, ...any)
}, d, e Decimal, places int32,
) {
	t.Helper()
	x, y := rat(d), rat(e)
	check := func(op string, got Decimal, want *big.Rat) {
		t.Helper()
		if rat(got).Cmp(want) != 0 {
			t.Errorf("%s of %s, %s (places %d) = %s, want %s", op, d, e, places, got, want)
		}
		if got.big != nil && got.big.Coeff.BitLen() <= 128 {
			t.Errorf("%s of %s, %s: %s is kept large", op, d, e, got)
		}
		if got.scale < 0 || got.big != nil && got.big.Exponent > 0 {
			t.Errorf("%s of %s, %s: %#v has a negative scale", op, d, e, got)
		}
	}
	check("add", d.Add(e), new(big.Rat).Add(x, y))
	check("sub", d.Sub(e), new(big.Rat).Sub(x, y))
	check("mul", d.Mul(e), new(big.Rat).Mul(x, y))
	check("neg", d.Neg(), new(big.Rat).Neg(x))
	check("round", d.Round(places), roundRat(x, places))
	check("floor", d.Floor(), floorRat(x))
	check("ceil", d.Ceil(), new(big.Rat).Neg(floorRat(new(big.Rat).Neg(x))))
	if got := d.Cmp(e); got != x.Cmp(y) {
		t.Errorf("cmp(%s, %s) = %d", d, e, got)
	}
	if got := d.Equal(e); got != (x.Cmp(y) == 0) {
		t.Errorf("equal(%s, %s) = %t", d, e, got)
	}
	if d.Sign() != x.Sign() || d.IsZero() != (x.Sign() == 0) {
		t.Errorf("sign of %s: %d, %t", d, d.Sign(), d.IsZero())
	}
	s := d.String()
	if got := string(d.Append([]byte("x"))); got != "x"+s {
		t.Errorf("append %s: %s", s, got)
	}
	if strings.ContainsAny(s, "eE+") || strings.HasPrefix(s, "-0") && !strings.HasPrefix(s, "-0.") ||
		strings.Contains(s, ".") && (strings.HasSuffix(s, "0") || strings.HasSuffix(s, ".")) {
		t.Errorf("%q is not written plainly", s)
	}
	coef, ok := d.Parts(places)
	scaled := new(big.Rat).Mul(x, new(big.Rat).SetInt(tenTo(int64(places))))
	fits := scaled.IsInt() && new(big.Int).Abs(scaled.Num()).Cmp(big.NewInt(math.MaxInt64)) <= 0
	if ok != fits || ok && scaled.Num().Int64() != coef {
		t.Errorf("parts(%s, %d) = %d, %t", d, places, coef, ok)
	}
}

func tenTo(n int64) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(n), nil) }

// rat reads d without using the code under test: from the fields.
func rat(d Decimal) *big.Rat {
	var n *big.Int
	scale, neg := d.scale, d.neg
	if d.big != nil {
		n, scale, neg = new(big.Int).Set(d.big.Coeff.MathBigInt()), -d.big.Exponent, d.big.Negative
	} else {
		n = new(big.Int).SetUint64(d.hi)
		n.Add(n.Lsh(n, 64), new(big.Int).SetUint64(d.lo))
	}
	if neg {
		n.Neg(n)
	}
	return new(big.Rat).SetFrac(n, tenTo(int64(scale)))
}

func floorRat(x *big.Rat) *big.Rat {
	q, m := new(big.Int).DivMod(x.Num(), x.Denom(), new(big.Int)) // Euclidean: m >= 0
	_ = m
	return new(big.Rat).SetInt(q)
}

// roundRat rounds half to even.
func roundRat(x *big.Rat, places int32) *big.Rat {
	unit := new(big.Rat).SetInt(tenTo(int64(places)))
	scaled := new(big.Rat).Mul(x, unit)
	down := floorRat(scaled)
	switch new(big.Rat).Sub(scaled, down).Cmp(big.NewRat(1, 2)) {
	case 1:
		down.Add(down, big.NewRat(1, 1))
	case 0:
		if down.Num().Bit(0) == 1 {
			down.Add(down, big.NewRat(1, 1))
		}
	}
	return down.Quo(down, unit)
}

// text draws decimals around the sizes where the representation changes.
func text(t *rapid.T, label string) string {
	return rapid.OneOf(
		rapid.StringMatching(`-?[0-9]{1,6}(\.[0-9]{1,6})?`),
		rapid.StringMatching(`-?[0-9]{1,45}(\.[0-9]{0,45})?`),
		rapid.StringMatching(`-?[0-9]{17,21}(\.[0-9]{17,20})?`),
		rapid.StringMatching(`-?[1-9]0{0,40}(\.0{0,40}5)?`),
		rapid.StringMatching(`-?[0-9]\.[0-9]{1,17}e[+-]?[0-9]{1,2}`),
		rapid.SampledFrom([]string{
			"18446744073709551615", "18446744073709551616", "340282366920938463463374607431768211455", "-340282366920938463463374607431768211456",
			"3402823669209384634633.74607431768211455", "0.5", "-0.5", "1.5", "0.0000000000000000005", "0.0000000000000000015", "1.7976931348623157e308", "5e-324",
		}),
	).Draw(t, label)
}

func TestArithmeticIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := text(t, "a"), text(t, "b")
		checkPair(t, MustParse(a), MustParse(b), int32(rapid.IntRange(0, 40).Draw(t, "places")))
		if want, ok := new(big.Rat).SetString(a); !ok || rat(MustParse(a)).Cmp(want) != 0 {
			t.Errorf("Parse(%q) = %s", a, MustParse(a))
		}
		if d := MustParse(a); !MustParse(d.String()).Equal(d) {
			t.Errorf("%s does not read back", d)
		}
	})
}

// FuzzDecimal holds Parse and every operation against math/big.Rat.
func FuzzDecimal(f *testing.F) {
	for _, s := range []string{"0", "-1.5", "1e38", "340282366920938463463374607431768211456", "5e-324", ".5", "1_0", "0e9999999999"} {
		f.Add(s, "0.3", uint8(12))
	}
	f.Fuzz(func(t *testing.T, a, b string, places uint8) {
		d, err := Parse(a)
		want, ok := readRat(a)
		if ok != (err == nil) && !errors.Is(err, ErrRange) {
			t.Fatalf("Parse(%q) = %s, %v; big.Rat reads %v, %t", a, d, err, want, ok)
		}
		if err != nil {
			return
		}
		if rat(d).Cmp(want) != 0 {
			t.Fatalf("Parse(%q) = %s", a, d)
		}
		e, err := Parse(b)
		if err != nil {
			e = d
		}
		checkPair(t, d, e, int32(places%64))
	})
}

// readRat reads plain decimals as Parse should, but by way of big.Rat.
func readRat(s string) (*big.Rat, bool) {
	if strings.Trim(s, "0123456789.eE+-") != "" {
		return nil, false // big.Rat also takes fractions, hexadecimal numbers, digit separators
	}
	mantissa, exp, hasExp := strings.Cut(strings.ToLower(s), "e")
	if hasExp && len(strings.TrimLeft(exp, "+-0")) > 4 {
		// Too large for big.Rat; Parse either says so or it is 0.
		m, ok := new(big.Rat).SetString(mantissa)
		if e := strings.TrimLeft(exp, "+-"); !ok || m.Sign() != 0 || len(exp)-len(e) > 1 || strings.Trim(e, "0123456789") != "" {
			return nil, false
		}
		return m, true
	}
	return new(big.Rat).SetString(s)
}

func BenchmarkAdd(b *testing.B) {
	x, y := MustParse("1234567.123456789012"), MustParse("0.000000000001")
	b.ReportAllocs()
	for b.Loop() {
		x = x.Add(y)
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Parse("1234567.123456789012")
	}
}

func TestDigits(t *testing.T) {
	for text, want := range map[string][2]int{
		"0": {0, 0}, "0.00": {0, 0}, "1.5": {38, 1}, "-0.125": {36, 3}, "1e-60": {0, 60}, "1e60": {61, 0},
		"12345678901234567890123456789012345678901234567890.5": {50, 1},
	} {
		whole, places := MustParse(text).Digits()
		if got := [2]int{whole, places}; got != want {
			t.Errorf("%s has at most %v digits, want %v", text, got, want)
		}
	}
}
