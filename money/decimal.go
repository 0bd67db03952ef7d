// Package money holds exact decimals: quantities, costs, prices and their sums.
//
// No value here ever passes through a float. A Decimal is a whole coefficient and a number of decimals; coefficients up
// to 128 bits are computed in place without allocating, larger ones by cockroachdb/apd, with the same results (a fuzz
// test holds the two against each other). Addition, subtraction and multiplication are exact; the only roundings are the
// ones asked for by name, and they round half to even:
//
//   - a quantity once to [QtyPlaces] decimals, before it is rated,
//   - a point's price once to [PricePlaces] decimals, when it is stored.
package money

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"math/bits"
	"strconv"

	"github.com/cockroachdb/apd/v3"
)

// Decimals kept at rest.
const (
	QtyPlaces   = 18 // of a quantity
	PricePlaces = 12 // of a data point's price
)

// maxDigits bounds the digits before and after the decimal point that are read from text, so that a short text such as
// 1e999999999 can't ask for gigabytes. It leaves room for every float64 a source may print.
const maxDigits = 1100

// ErrSyntax says that a text is no decimal number; ErrRange that it has more digits than this package takes.
var (
	ErrSyntax = errors.New("not a decimal number")
	ErrRange  = errors.New("number has too many digits")
)

// Decimal is an exact decimal number. The zero value is 0. Values are immutable and safe to copy; compare them with
// [Decimal.Cmp] or [Decimal.Equal], since 1.5 and 1.50 are equal but not identical.
type Decimal struct {
	big    *apd.Decimal // the value, if its coefficient exceeds 128 bits; never changed once set
	hi, lo uint64       // else the coefficient's magnitude
	scale  int32        // and its decimals, never negative
	neg    bool
}

// New returns coef × 10^-scale; scale must not be negative.
func New(coef int64, scale int32) Decimal {
	if coef < 0 {
		return Decimal{lo: uint64(-coef), scale: scale, neg: true}
	}
	return Decimal{lo: uint64(coef), scale: scale}
}

// MustParse is Parse for constants; it panics on anything that is no number.
func MustParse(s string) Decimal {
	d, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return d
}

// Parse reads a decimal number as people and JSON write it: digits with an optional sign, decimal point and exponent.
// NaN, infinities, hexadecimal numbers, digit separators and spaces are refused.
func Parse(s string) (Decimal, error) { return parse(s) }

// ParseBytes is Parse for text in a buffer; it keeps no reference to it.
func ParseBytes(b []byte) (Decimal, error) { return parse(b) }

func parse[T string | []byte](s T) (Decimal, error) {
	var d Decimal
	i, point, digits := 0, -1, 0
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		d.neg = s[0] == '-'
		i++
	}
	var lo uint64 // in a register, until it is full
	for ; i < len(s); i++ {
		c := s[i]
		if c-'0' <= 9 {
			if lo >= (1<<64-10)/10 {
				break
			}
			lo = lo*10 + uint64(c-'0')
			digits++
			continue
		}
		if c == '.' && point < 0 {
			point = digits
			continue
		}
		break
	}
	d.lo = lo
	small := true // whether the coefficient still fits
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
			if d.hi == 0 && d.lo < (1<<64-10)/10 {
				d.lo = d.lo*10 + uint64(c-'0')
			} else if small {
				small = d.mulAdd(10, uint64(c-'0'))
			}
			continue
		case c == '.' && point < 0:
			point = digits
			continue
		}
		break
	}
	if digits == 0 {
		return Decimal{}, fmt.Errorf("%w: %q", ErrSyntax, clip(string(s)))
	}
	exp := 0
	if point >= 0 {
		exp = point - digits
	}
	if i < len(s) {
		e, ok := parseExponent(s[i:])
		if !ok {
			return Decimal{}, fmt.Errorf("%w: %q", ErrSyntax, clip(string(s)))
		}
		exp += e
	}
	if digits > maxDigits || exp < -maxDigits || exp+digits > maxDigits {
		if small && d.hi|d.lo == 0 {
			return Decimal{}, nil
		}
		return Decimal{}, fmt.Errorf("%w: %q", ErrRange, clip(string(s)))
	}
	if !small {
		x, _, err := apd.NewFromString(string(s))
		if err != nil {
			return Decimal{}, fmt.Errorf("%w: %q", ErrSyntax, clip(string(s)))
		}
		return fromAPD(x), nil
	}
	if exp > 0 {
		if !d.shift(exp) {
			return fromAPD(d.apdShifted(exp)), nil
		}
		exp = 0
	}
	d.scale = int32(-exp)
	if d.hi|d.lo == 0 {
		return Decimal{}, nil
	}
	return d, nil
}

func parseExponent[T string | []byte](s T) (exp int, ok bool) {
	if len(s) < 2 || (s[0] != 'e' && s[0] != 'E') {
		return 0, false
	}
	s = s[1:]
	neg := s[0] == '-'
	if neg || s[0] == '+' {
		s = s[1:]
	}
	if len(s) == 0 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		if exp = exp*10 + int(s[i]-'0'); exp > 100*maxDigits {
			exp = 100 * maxDigits // out of range whatever follows
		}
	}
	if neg {
		exp = -exp
	}
	return exp, true
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// mulAdd sets the magnitude to itself × m + a and reports whether that fits 128 bits; if not, d is spoilt.
func (d *Decimal) mulAdd(m, a uint64) bool {
	h1, l1 := bits.Mul64(d.lo, m)
	h2, l2 := bits.Mul64(d.hi, m)
	var c uint64
	l1, c = bits.Add64(l1, a, 0)
	h1, c = bits.Add64(h1, 0, c)
	if h2 != 0 || c != 0 {
		return false
	}
	h1, c = bits.Add64(h1, l2, 0)
	if c != 0 {
		return false
	}
	d.hi, d.lo = h1, l1
	return true
}

// shift multiplies the magnitude by 10^n and reports whether that fits; if not, d is unchanged.
func (d *Decimal) shift(n int) bool {
	if d.hi|d.lo == 0 {
		return true
	}
	t := *d
	for n > 0 {
		step := min(n, 19)
		if !t.mulAdd(pow10[step], 0) {
			return false
		}
		n -= step
	}
	*d = t
	return true
}

// divmod divides a magnitude by m and returns the remainder.
func divmod(hi, lo, m uint64) (qhi, qlo, rem uint64) {
	qhi, rem = hi/m, hi%m
	qlo, rem = bits.Div64(rem, lo, m)
	return qhi, qlo, rem
}

var pow10 = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// exact computes sums and products without a limit of precision.
var exact = apd.BaseContext

// apd returns d as an apd value; it may be shared and must not be changed.
func (d Decimal) apd() *apd.Decimal {
	if d.big != nil {
		return d.big
	}
	return d.apdShifted(0)
}

func (d Decimal) apdShifted(exp int) *apd.Decimal {
	x := &apd.Decimal{Exponent: -d.scale + int32(exp), Negative: d.neg}
	x.Coeff.SetUint64(d.hi)
	if d.hi != 0 {
		x.Coeff.Lsh(&x.Coeff, 64)
		x.Coeff.Or(&x.Coeff, new(apd.BigInt).SetUint64(d.lo))
	} else {
		x.Coeff.SetUint64(d.lo)
	}
	return x
}

// fromAPD takes x over; the caller must not change it afterwards.
func fromAPD(x *apd.Decimal) Decimal {
	if x.Coeff.Sign() == 0 {
		return Decimal{}
	}
	if x.Exponent > 0 {
		p := new(apd.BigInt).Exp(apd.NewBigInt(10), apd.NewBigInt(int64(x.Exponent)), nil)
		x.Coeff.Mul(&x.Coeff, p)
		x.Exponent = 0
	}
	if x.Coeff.BitLen() > 128 {
		x.Reduce(x) // a smaller equal may fit
		if x.Exponent > 0 {
			p := new(apd.BigInt).Exp(apd.NewBigInt(10), apd.NewBigInt(int64(x.Exponent)), nil)
			x.Coeff.Mul(&x.Coeff, p)
			x.Exponent = 0
		}
		if x.Coeff.BitLen() > 128 {
			return Decimal{big: x}
		}
	}
	hi := new(apd.BigInt).Rsh(&x.Coeff, 64)
	lo := new(apd.BigInt).And(&x.Coeff, lowWord)
	return Decimal{hi: hi.Uint64(), lo: lo.Uint64(), scale: -x.Exponent, neg: x.Negative}
}

var lowWord = new(apd.BigInt).SetUint64(1<<64 - 1)

// IsZero reports whether d is 0.
func (d Decimal) IsZero() bool { return d.big == nil && d.hi|d.lo == 0 }

// Sign returns -1, 0 or 1.
func (d Decimal) Sign() int {
	switch {
	case d.big != nil:
		return d.big.Sign()
	case d.hi|d.lo == 0:
		return 0
	case d.neg:
		return -1
	}
	return 1
}

// Neg returns -d.
func (d Decimal) Neg() Decimal {
	if d.big != nil {
		return Decimal{big: new(apd.Decimal).Neg(d.big)}
	}
	d.neg = !d.neg
	return d
}

// Add returns d + e, exactly.
func (d Decimal) Add(e Decimal) Decimal {
	if d.big == nil && e.big == nil {
		if d.scale < e.scale {
			d, e = e, d
		}
		if n := d.scale - e.scale; n == 0 || e.shift(int(n)) {
			e.scale = d.scale
			if d.neg == e.neg {
				lo, c := bits.Add64(d.lo, e.lo, 0)
				hi, c := bits.Add64(d.hi, e.hi, c)
				if c == 0 {
					d.hi, d.lo = hi, lo
					return d
				}
			} else {
				lo, b := bits.Sub64(d.lo, e.lo, 0)
				hi, b := bits.Sub64(d.hi, e.hi, b)
				if b != 0 {
					lo, b = bits.Sub64(e.lo, d.lo, 0)
					hi, _ = bits.Sub64(e.hi, d.hi, b)
					d.neg = e.neg
				}
				d.hi, d.lo = hi, lo
				return d
			}
		}
	}
	var x apd.Decimal
	must(exact.Add(&x, d.apd(), e.apd()))
	return fromAPD(&x)
}

// Accumulate sets d to d + e, exactly: Add for long sums, which it spares most of the copying.
func (d *Decimal) Accumulate(e *Decimal) {
	if d.big == nil && e.big == nil && d.scale == e.scale && d.neg == e.neg {
		lo, c := bits.Add64(d.lo, e.lo, 0)
		hi, c := bits.Add64(d.hi, e.hi, c)
		if c == 0 {
			d.hi, d.lo = hi, lo
			return
		}
	}
	*d = d.Add(*e)
}

// Sub returns d - e, exactly.
func (d Decimal) Sub(e Decimal) Decimal { return d.Add(e.Neg()) }

// Mul returns d × e, exactly.
func (d Decimal) Mul(e Decimal) Decimal {
	if d.big == nil && e.big == nil {
		if d.hi != 0 {
			d, e = e, d
		}
		if d.hi == 0 {
			p := e
			if p.mulAdd(d.lo, 0) {
				p.scale += d.scale
				p.neg = d.neg != e.neg
				return p
			}
		}
	}
	var x apd.Decimal
	must(exact.Mul(&x, d.apd(), e.apd()))
	return fromAPD(&x)
}

// must guards calls that can fail only through a mistake of this package: unlimited contexts neither round nor
// overflow.
func must(_ apd.Condition, err error) {
	if err != nil {
		panic("money: " + err.Error())
	}
}

// Round returns d rounded half to even to at most the given number of decimals.
func (d Decimal) Round(places int32) Decimal {
	if d.big == nil {
		drop := d.scale - places
		if drop <= 0 {
			return d
		}
		if drop <= 19 {
			m := pow10[drop]
			hi, lo, rem := divmod(d.hi, d.lo, m)
			// compare the remainder with the rest to m, which can't overflow, instead of its double with m
			if rest := m - rem; rem > rest || rem == rest && lo&1 == 1 {
				var c uint64
				lo, c = bits.Add64(lo, 1, 0)
				hi += c
			}
			return Decimal{hi: hi, lo: lo, scale: places, neg: d.neg}
		}
	} else if -d.big.Exponent <= places {
		return d
	}
	return d.quantize(places, apd.RoundHalfEven)
}

// Floor returns the greatest whole number not above d.
func (d Decimal) Floor() Decimal {
	whole := d.truncate()
	if d.Sign() < 0 && !whole.Equal(d) {
		return whole.Sub(New(1, 0))
	}
	return whole
}

// Ceil returns the least whole number not below d.
func (d Decimal) Ceil() Decimal { return d.Neg().Floor().Neg() }

// truncate returns d without its decimals.
func (d Decimal) truncate() Decimal {
	if d.big != nil {
		return d.quantize(0, apd.RoundDown)
	}
	for d.scale > 0 {
		drop := min(d.scale, 19)
		d.hi, d.lo, _ = divmod(d.hi, d.lo, pow10[drop])
		d.scale -= drop
	}
	return d
}

// quantize is only for modes that round what is far below 10^-places to 0, since apd does so in every mode.
func (d Decimal) quantize(places int32, mode apd.Rounder) Decimal {
	x := d.apd()
	if x.Exponent >= -places {
		return d
	}
	c := apd.Context{Precision: uint32(x.NumDigits()) + 2, MaxExponent: apd.MaxExponent, MinExponent: apd.MinExponent, Rounding: mode}
	var r apd.Decimal
	must(c.Quantize(&r, x, -places))
	return fromAPD(&r)
}

// Cmp returns -1, 0 or 1 as d is less than, equal to or greater than e.
func (d Decimal) Cmp(e Decimal) int { return d.Sub(e).Sign() }

// Equal reports whether d and e are the same number.
func (d Decimal) Equal(e Decimal) bool {
	if d.big == nil && e.big == nil && d.scale == e.scale {
		return d.hi == e.hi && d.lo == e.lo && (d.neg == e.neg || d.hi|d.lo == 0)
	}
	return d.Cmp(e) == 0
}

// String returns d as plain digits: no exponent, no trailing zeros after the point, no leading plus, 0 for zero.
func (d Decimal) String() string { return string(d.Append(nil)) }

// Append appends d's text to dst, as String writes it.
func (d Decimal) Append(dst []byte) []byte {
	if d.big != nil {
		return append(dst, reduced(d.big).Text('f')...)
	}
	hi, lo, scale := d.hi, d.lo, int(d.scale)
	if hi|lo == 0 {
		return append(dst, '0')
	}
	if hi == 0 && scale < len(pow10) {
		return d.appendShort(dst)
	}
	var buf [40]byte
	i := len(buf)
	for hi != 0 { // nineteen digits at a time
		var rem uint64
		hi, lo, rem = divmod(hi, lo, pow10[19])
		for range 19 {
			i--
			buf[i] = byte('0' + rem%10)
			rem /= 10
		}
	}
	for lo >= 100 { // two digits at a time
		q := lo / 100
		r := (lo - q*100) * 2
		i -= 2
		buf[i], buf[i+1] = pairs[r], pairs[r+1]
		lo = q
	}
	for lo != 0 {
		i--
		buf[i] = byte('0' + lo%10)
		lo /= 10
	}
	for buf[i] == '0' {
		i++
	}
	digits := buf[i:]
	for scale > 0 && digits[len(digits)-1] == '0' {
		digits, scale = digits[:len(digits)-1], scale-1
	}
	if d.neg {
		dst = append(dst, '-')
	}
	whole := len(digits) - scale
	if whole <= 0 {
		dst = append(dst, '0', '.')
		for range -whole {
			dst = append(dst, '0')
		}
		return append(dst, digits...)
	}
	dst = append(dst, digits[:whole]...)
	if scale > 0 {
		dst = append(dst, '.')
		dst = append(dst, digits[whole:]...)
	}
	return dst
}

// appendShort is Append for a coefficient of 64 bits, other than 0, with at most 19 decimals: almost every number.
func (d *Decimal) appendShort(dst []byte) []byte {
	if d.neg {
		dst = append(dst, '-')
	}
	lo, scale := d.lo, int(d.scale)
	for scale > 0 && lo%10 == 0 {
		lo, scale = lo/10, scale-1
	}
	whole := lo / pow10[scale]
	fraction := lo - whole*pow10[scale]
	dst = strconv.AppendUint(dst, whole, 10)
	if scale == 0 {
		return dst
	}
	dst = append(dst, ".0000000000000000000"[:1+scale]...)
	i := len(dst)
	for fraction >= 10 { // two digits at a time
		q := fraction / 100
		r := (fraction - q*100) * 2
		i -= 2
		dst[i], dst[i+1] = pairs[r], pairs[r+1]
		fraction = q
	}
	if fraction > 0 {
		dst[i-1] = byte('0' + fraction)
	}
	return dst
}

// pairs are the numbers from 00 to 99.
const pairs = "00010203040506070809" + "10111213141516171819" + "20212223242526272829" + "30313233343536373839" +
	"40414243444546474849" + "50515253545556575859" + "60616263646566676869" + "70717273747576777879" +
	"80818283848586878889" + "90919293949596979899"

func reduced(x *apd.Decimal) *apd.Decimal {
	r, _ := new(apd.Decimal).Reduce(x)
	return r
}

// MarshalText writes d as String does, so that d is a string in JSON.
func (d Decimal) MarshalText() ([]byte, error) { return d.Append(nil), nil }

// UnmarshalText reads d as Parse does.
func (d *Decimal) UnmarshalText(b []byte) (err error) {
	*d, err = ParseBytes(b)
	return err
}

// Value makes d a query argument: its text, for NUMERIC and decimal TEXT columns alike.
func (d Decimal) Value() (driver.Value, error) { return d.String(), nil }

// Scan reads a NUMERIC or decimal TEXT column. A float is refused: whoever stored it has lost digits already.
func (d *Decimal) Scan(src any) (err error) {
	switch v := src.(type) {
	case []byte:
		*d, err = ParseBytes(v)
	case string:
		*d, err = Parse(v)
	case int64:
		*d = New(v, 0)
	default:
		err = fmt.Errorf("money: can't read a decimal from %T", src)
	}
	return err
}

// Parts returns d as a signed 64-bit coefficient with at most the given number of decimals: d = coef × 10^-places.
// ok is false if d has more decimals than that, or more digits than fit.
func (d Decimal) Parts(places int32) (coef int64, ok bool) {
	if d.big != nil {
		return 0, false
	}
	for d.scale > places {
		hi, lo, rem := divmod(d.hi, d.lo, 10)
		if rem != 0 {
			return 0, false
		}
		d.hi, d.lo = hi, lo
		d.scale--
	}
	if !d.shift(int(places-d.scale)) || d.hi != 0 || d.lo > 1<<63-1 {
		return 0, false
	}
	if d.neg {
		return -int64(d.lo), true
	}
	return int64(d.lo), true
}

// Digits returns how many digits d has at most before and after its point; trailing zeros may be among them.
func (d Decimal) Digits() (whole, places int) {
	switch {
	case d.big != nil:
		places = int(-d.big.Exponent)
		return max(0, int(d.big.NumDigits())-places), places
	case d.hi|d.lo == 0:
		return 0, 0
	}
	return max(0, 39-int(d.scale)), int(d.scale)
}
