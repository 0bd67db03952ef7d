package rollup

import (
	"encoding/binary"
	"math/big"
	"math/bits"
	"slices"

	"ratebook/money"
)

// An integer of any length is written as the bytes of magnitude × 2 + sign, lowest first, without zero bytes at the top;
// 0 has no bytes. The number of bytes stands elsewhere, in a half byte. Each integer has one form: there is no negative
// zero.
const (
	// long stands for any number of bytes from itself on; the number follows.
	long = 15
	// maxInteger is the most bytes of an integer, some 9,800 digits. It bounds the work that forged bytes can ask for.
	maxInteger = 4096
)

// word128 is an integer of up to 16 bytes.
type word128 struct{ hi, lo uint64 }

func narrow(coef int64) word128 {
	if coef < 0 {
		return word128{lo: uint64(-coef)<<1 | 1} // -coef is below 2^63: see money.Decimal.Parts
	}
	return word128{lo: uint64(coef) << 1}
}

// size returns the number of bytes.
func (w word128) size() int {
	if w.hi != 0 {
		return 8 + (bits.Len64(w.hi)+7)/8
	}
	return (bits.Len64(w.lo) + 7) / 8
}

// append appends the bytes, without their number.
func (w word128) append(b []byte) []byte {
	end := len(b) + w.size()
	b = binary.LittleEndian.AppendUint64(b, w.lo)
	if w.hi != 0 {
		b = binary.LittleEndian.AppendUint64(b, w.hi)
	}
	return b[:end]
}

// longBytes returns the bytes of an integer of any length; it changes the magnitude.
func longBytes(magnitude *big.Int, neg bool) []byte {
	magnitude.Lsh(magnitude, 1)
	if neg {
		magnitude.SetBit(magnitude, 0, 1)
	}
	b := magnitude.Bytes()
	slices.Reverse(b)
	return b
}

// decimal reads the integer of n bytes, or more if n is long, and sets d to as many units of 10^-places.
func (r *Reader) decimal(d *money.Decimal, n int, places int32) bool {
	if n > 8 || r.pos+8 > len(r.b) {
		return r.slowDecimal(d, n, places)
	}
	v := binary.LittleEndian.Uint64(r.b[r.pos:])
	v &= 1<<(8*n) - 1
	r.pos += n
	coef := int64(v >> 1)
	if v&1 != 0 {
		coef = -coef
	}
	*d = money.New(coef, places)
	return r.pos <= r.end && v != 1 && bits.Len64(v) > 8*n-8
}

// slowDecimal is decimal without its limits.
func (r *Reader) slowDecimal(d *money.Decimal, n int, places int32) bool {
	if n == long {
		v, ok := r.uvarint()
		if !ok || v < long || v > maxInteger {
			return false
		}
		n = int(v)
	}
	if r.end-r.pos < n {
		return false
	}
	b := r.b[r.pos : r.pos+n]
	r.pos += n
	if n > 0 && b[n-1] == 0 || n == 1 && b[0] == 1 {
		return false
	}
	lowest := word(b[:min(n, 8)])
	v := money.New(int64(lowest>>1), places)
	if n > 8 { // the bytes above those eight are added up from the top, seven at a time
		begin := 8 + (n-9)/7*7
		top := money.New(int64(word(b[begin:])), places)
		for begin > 8 {
			begin -= 7
			top = top.Mul(shift56).Add(money.New(int64(word(b[begin:begin+7])), places))
		}
		v = top.Mul(shift63).Add(v)
	}
	if lowest&1 != 0 {
		v = v.Neg()
	}
	*d = v
	return true
}

var (
	shift56 = money.New(1<<56, 0)
	shift63 = money.New(1<<56, 0).Mul(money.New(1<<7, 0))
)

// word returns the value of at most eight bytes, lowest first.
func word(b []byte) (v uint64) {
	if len(b) == 8 {
		return binary.LittleEndian.Uint64(b)
	}
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	return v
}

// uvarint reads what binary.AppendUvarint writes, and nothing else.
func (r *Reader) uvarint() (v uint64, ok bool) {
	if r.pos < r.end && r.b[r.pos] < 0x80 {
		v = uint64(r.b[r.pos])
		r.pos++
		return v, true
	}
	v, n := binary.Uvarint(r.b[r.pos:r.end])
	if n <= 0 || r.b[r.pos+n-1] == 0 {
		return 0, false
	}
	r.pos += n
	return v, true
}
