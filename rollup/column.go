package rollup

import (
	"bytes"
	"encoding/binary"
	"math/big"
	"math/bits"

	"ratebook/money"
)

// column is the quantities or the prices of a pack as integers, counted in the fewest places in which all are whole.
type column struct {
	places  int32
	words   [MaxSeries]word128
	longs   [][]byte // instead of words, by entry, where an integer is longer; nil if none is
	longest int      // of longs
}

func (p Pack) value(i int, price bool) *money.Decimal {
	if price {
		return &p[i].Price
	}
	return &p[i].Qty
}

// guesses are places to try, the likeliest first: a money.Decimal tells its coefficient only for given places.
var guesses = [...]int32{money.PricePlaces, 6, money.QtyPlaces, 0}

func (c *column) fill(p Pack, price bool) {
	for _, places := range guesses {
		if c.fillNarrow(p, price, places) {
			return
		}
	}
	c.fillWide(p, price)
}

// fillNarrow reports whether all values fit 64 bits at these places; if not, c is unchanged but for its words.
func (c *column) fillNarrow(p Pack, price bool, places int32) bool {
	var coefs [MaxSeries]int64
	unit := pow10[places] // the largest power of ten, so far, that divides all values
	drop := places        // its exponent
	for i := range p {
		coef, ok := p.value(i, price).Parts(places)
		if !ok {
			return false
		}
		for unit > 1 && coef%unit != 0 {
			unit /= 10
			drop--
		}
		coefs[i] = coef
	}
	c.places = places - drop
	for i := range p {
		coef := coefs[i]
		if unit > 1 {
			coef /= unit
		}
		c.words[i] = narrow(coef)
	}
	return true
}

// fillWide takes the digits from the values' texts.
func (c *column) fillWide(p Pack, price bool) {
	text := make([]byte, 0, 32*MaxSeries)
	var ends [MaxSeries]int
	for i := range p {
		begin := len(text)
		text = p.value(i, price).Append(text) // without trailing zeros
		ends[i] = len(text)
		if point := bytes.IndexByte(text[begin:], '.'); point >= 0 {
			c.places = max(c.places, int32(len(text)-begin-point-1))
		}
	}
	if c.places > maxPlaces {
		return // it won't fit anyway
	}
	begin := 0
	for i := range p {
		var long []byte
		if c.words[i], long = integer(text[begin:ends[i]], c.places); long != nil {
			if c.longs == nil {
				c.longs = make([][]byte, len(p))
			}
			c.longs[i] = long
			c.longest = max(c.longest, len(long))
		}
		begin = ends[i]
	}
}

// integer returns how many units of 10^-places a text counts: the bytes, if they are too many for words.
func integer(text []byte, places int32) (word128, []byte) {
	text, neg := bytes.CutPrefix(text, []byte("-"))
	whole, fraction, _ := bytes.Cut(text, []byte("."))
	zeros := int(places) - len(fraction)
	if len(whole)+int(places) > 33 { // 10^33 × 2 just fits the 14 bytes below long
		digits := append(bytes.Join([][]byte{whole, fraction}, nil), bytes.Repeat([]byte("0"), zeros)...)
		magnitude, _ := new(big.Int).SetString(string(digits), 10)
		return word128{}, longBytes(magnitude, neg)
	}
	var top, low uint64 // the magnitude is top × 10^18 + low
	for _, part := range [...][]byte{whole, fraction} {
		for _, c := range part {
			top, low = times10(top, low, uint64(c-'0'))
		}
	}
	for range zeros {
		top, low = times10(top, low, 0)
	}
	hi, lo := bits.Mul64(top, 1_000_000_000_000_000_000)
	lo, carry := bits.Add64(lo, low, 0)
	hi += carry
	w := word128{hi<<1 | lo>>63, lo << 1}
	if neg {
		w.lo |= 1
	}
	return w, nil
}

// times10 returns (top × 10^18 + low) × 10 + digit, in the same two parts.
func times10(top, low, digit uint64) (uint64, uint64) {
	first := low / 100_000_000_000_000_000
	return top*10 + first, (low-first*100_000_000_000_000_000)*10 + digit
}

// fits reports whether the column can be written, and read again.
func (c *column) fits() bool { return c.places <= maxPlaces && c.longest <= maxInteger }

// length returns what stands for the number of bytes of the i-th integer.
func (c *column) length(i int) byte {
	if c.longs != nil && c.longs[i] != nil {
		return byte(min(len(c.longs[i]), long))
	}
	return byte(c.words[i].size())
}

// append appends the i-th integer.
func (c *column) append(b []byte, i int) []byte {
	if c.longs == nil || c.longs[i] == nil {
		return c.words[i].append(b)
	}
	if n := len(c.longs[i]); n >= long {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return append(b, c.longs[i]...)
}

var pow10 = func() (p [19]int64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()
