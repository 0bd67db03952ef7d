package money

import (
	"fmt"
	"math/big"
	"math/bits"
	"strings"

	"github.com/cockroachdb/apd/v3"
)

// Ratio is an exact fraction of two decimals, such as the conversion factor 1/1048576. The zero value is 0.
type Ratio struct {
	num, den Decimal // den is 0 in the zero value only, and positive else
}

// One is the ratio 1.
var One = Ratio{num: New(1, 0), den: New(1, 0)}

// ParseRatio reads a decimal number or a fraction of two ("1/1048576", "3600/1e6").
func ParseRatio(s string) (Ratio, error) {
	n, m, fraction := strings.Cut(s, "/")
	num, err := Parse(strings.TrimSpace(n))
	if err != nil {
		return Ratio{}, err
	}
	den := New(1, 0)
	if fraction {
		if den, err = Parse(strings.TrimSpace(m)); err != nil {
			return Ratio{}, err
		}
	}
	if den.IsZero() {
		return Ratio{}, fmt.Errorf("%w: %q divides by zero", ErrSyntax, clip(s))
	}
	if den.Sign() < 0 {
		num, den = num.Neg(), den.Neg()
	}
	return Ratio{num: num, den: den}, nil
}

// String writes the ratio as ParseRatio reads it.
func (r Ratio) String() string {
	if r.whole() {
		return r.num.String()
	}
	return r.num.String() + "/" + r.den.String()
}

func (r Ratio) whole() bool { return r.den.IsZero() || r.den.Equal(New(1, 0)) }

// Equal reports whether r and s are the same number: 1/2 and 2/4 are.
func (r Ratio) Equal(s Ratio) bool {
	return r.num.Mul(s.denominator()).Equal(s.num.Mul(r.denominator()))
}

func (r Ratio) denominator() Decimal {
	if r.den.IsZero() {
		return New(1, 0)
	}
	return r.den
}

// MarshalText writes r as String does.
func (r Ratio) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads r as ParseRatio does.
func (r *Ratio) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRatio(string(b))
	return err
}

// Linear returns x × factor + offset, computed exactly and rounded once, half to even, to the given decimals.
func Linear(x Decimal, factor, offset Ratio, places int32) Decimal {
	x = x.Mul(factor.num)
	if factor.whole() && offset.whole() {
		return x.Add(offset.num).Round(places)
	}
	fd, od := factor.denominator(), offset.denominator()
	num, den := x.Mul(od).Add(offset.num.Mul(fd)), fd.Mul(od)
	if q, ok := quoRoundShort(num, den, places); ok {
		return q
	}
	return quoRound(num, den, places)
}

// quoRoundShort is quoRound without allocating, for denominators of at most 64 bits and numerators that have at most 256
// once they count units of 10^-places. ok is false for all others.
func quoRoundShort(num, den Decimal, places int32) (q Decimal, ok bool) {
	if num.big != nil || den.big != nil || den.hi != 0 {
		return Decimal{}, false
	}
	n, d := [4]uint64{num.lo, num.hi}, den.lo // n has its least significant word first
	e := int(places) + int(den.scale) - int(num.scale)
	for e < 0 {
		step := min(-e, 19)
		var over uint64
		if over, d = bits.Mul64(d, pow10[step]); over != 0 {
			return Decimal{}, false
		}
		e += step
	}
	for e > 0 {
		step := min(e, 19)
		var carry uint64
		for i := range n {
			hi, lo := bits.Mul64(n[i], pow10[step])
			var c uint64
			n[i], c = bits.Add64(lo, carry, 0)
			carry = hi + c
		}
		if carry != 0 {
			return Decimal{}, false
		}
		e -= step
	}
	var rem, up uint64
	for i := len(n) - 1; i >= 0; i-- {
		n[i], rem = bits.Div64(rem, n[i], d)
	}
	// as in Round: comparing with the rest to d can't overflow
	if rest := d - rem; rem > rest || rem == rest && n[0]&1 == 1 {
		up = 1
	}
	for i := range n {
		n[i], up = bits.Add64(n[i], 0, up)
	}
	if n[2]|n[3] != 0 {
		return Decimal{}, false
	}
	return Decimal{hi: n[1], lo: n[0], scale: places, neg: num.neg}, true
}

// quoRound returns num/den rounded half to even; den is positive.
func quoRound(num, den Decimal, places int32) Decimal {
	// num/den = n/d × 10^(ds-ns) for the whole coefficients n and d; scale so that the quotient counts units of 10^-places.
	n, ns := num.coefficient()
	d, ds := den.coefficient()
	if e := int64(places) + int64(ds) - int64(ns); e >= 0 {
		n.Mul(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(e), nil))
	} else {
		d.Mul(d, new(big.Int).Exp(big.NewInt(10), big.NewInt(-e), nil))
	}
	neg := n.Sign() < 0
	n.Abs(n)
	q, rem := n.QuoRem(n, d, new(big.Int))
	if c := rem.Lsh(rem, 1).Cmp(d); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	x := &apd.Decimal{Exponent: -places, Negative: neg}
	x.Coeff.SetMathBigInt(q)
	return fromAPD(x)
}

// coefficient returns d's signed whole coefficient and its decimals.
func (d Decimal) coefficient() (*big.Int, int32) {
	x := d.apd()
	n := x.Coeff.MathBigInt()
	n = new(big.Int).Set(n)
	if x.Negative {
		n.Neg(n)
	}
	return n, -x.Exponent
}
