package rollup

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// The bytes of a pack, version 1:
//
//	version             1 byte
//	count               uvarint, at most MaxSeries
//	places of qty       uvarint  \ decimals that all of the pack's quantities, or prices,
//	places of price     uvarint  / are counted in; left out if count is 0
//	count times:
//	  head              uvarint: how many ids lie between the series before (at first: -1) and this one, × 4,
//	                    + 1 if the points, + 2 if the lengths differ from the entry before (at first: 0)
//	  points - 1        uvarint, if they differ
//	  lengths           1 byte, if they differ: how many bytes qty (low half) and price (high half) have
//	  qty, price        integers of any length, see integer.go
//	checksum            CRC-32C of all before, little endian
//
// Places are the fewest in which all values are whole, so the bytes follow from the values alone. Unsorted ids and
// entries without points can't be written down. Most of a pack is the digits of its amounts; the rest is a byte or two a
// series, since the series of one metric tend to be neighbours, to have a point in each window and amounts of one size.
const (
	version   = 1
	frameSize = 1 + 1 + crc32.Size // of the empty pack

	// maxPlaces is far above what money reads or rounds to; it keeps forged bytes from asking for endless zeros.
	maxPlaces = 4096
	// maxSeries leaves room in an entry's head.
	maxSeries = 1<<62 - 1

	pointsDiffer  = 1
	lengthsDiffer = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode appends the pack's bytes to dst. Packs with equal sums have equal bytes. It fails, with an error that wraps
// ErrInvalid and dst unchanged, if p is no pack at rest.
func (p Pack) Encode(dst []byte) ([]byte, error) {
	if err := p.check(); err != nil {
		return dst, err
	}
	b := append(dst, version)
	b = binary.AppendUvarint(b, uint64(len(p)))
	if len(p) > 0 {
		var qty, price column
		qty.fill(p, false)
		price.fill(p, true)
		if !qty.fits() || !price.fits() {
			return dst, fmt.Errorf("%w: a value has too many digits", ErrInvalid)
		}
		b = binary.AppendUvarint(b, uint64(qty.places))
		b = binary.AppendUvarint(b, uint64(price.places))
		series, points, lengths := int64(-1), int64(0), byte(0)
		for i := range p {
			head := uint64(p[i].Series-series-1) << 2
			if p[i].Points != points {
				head |= pointsDiffer
			}
			next := qty.length(i) | price.length(i)<<4
			if next != lengths {
				head |= lengthsDiffer
			}
			series, points, lengths = p[i].Series, p[i].Points, next
			b = binary.AppendUvarint(b, head)
			if head&pointsDiffer != 0 {
				b = binary.AppendUvarint(b, uint64(points-1))
			}
			if head&lengthsDiffer != 0 {
				b = append(b, lengths)
			}
			b = qty.append(b, i)
			b = price.append(b, i)
		}
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[len(dst):], castagnoli)), nil
}

// Decode appends the pack's entries to dst. An error wraps ErrDamaged and returns dst unchanged.
func Decode(dst Pack, b []byte) (Pack, error) {
	var r Reader
	r.Reset(b)
	p := dst
	for r.left > 0 {
		p = append(p, Entry{})
		r.Next(&p[len(p)-1])
	}
	if r.err != nil {
		return dst, r.err
	}
	return p, nil
}

// Reader walks over a pack's entries without allocating. It keeps the bytes, so they must not change meanwhile.
//
//	var r rollup.Reader
//	var e rollup.Entry
//	for r.Reset(b); r.Next(&e); {
//	}
//	err := r.Err()
type Reader struct {
	b              []byte // the whole pack: what is read in one go may reach over its end into the checksum
	pos, end       int    // what is to be read next, and the checksum
	left           int    // entries still to be read
	series, points int64  // of the entry read before
	lengths        byte   // of the entry read before
	qty, price     int32  // places
	err            error
}

// Reset starts on another pack. Damage is reported by Err, after which Next is false.
func (r *Reader) Reset(b []byte) {
	*r = Reader{b: b, pos: 1, end: len(b) - crc32.Size, series: -1}
	if len(b) < frameSize {
		r.damaged("truncated")
		return
	}
	if b[0] != version {
		r.damaged(fmt.Sprintf("version %d is not known", b[0]))
		return
	}
	if binary.LittleEndian.Uint32(b[r.end:]) != crc32.Checksum(b[:r.end], castagnoli) {
		r.damaged("wrong checksum")
		return
	}
	count, ok := r.uvarint()
	if !ok || count > MaxSeries {
		r.damaged("wrong number of series")
		return
	}
	if count == 0 {
		r.finish()
		return
	}
	qty, ok1 := r.uvarint()
	price, ok2 := r.uvarint()
	if !ok1 || !ok2 || qty > maxPlaces || price > maxPlaces {
		r.damaged("wrong number of decimals")
		return
	}
	r.left, r.qty, r.price = int(count), int32(qty), int32(price)
}

// Next fills e with the next entry, in ascending order of series, and reports whether there was one. After a false, e is
// meaningless.
func (r *Reader) Next(e *Entry) bool {
	if r.left == 0 {
		return false
	}
	head, ok := r.uvarint()
	if ok && head&pointsDiffer != 0 {
		var less uint64
		less, ok = r.uvarint()
		ok = ok && less < math.MaxInt64 && int64(less)+1 != r.points
		r.points = int64(less) + 1
	}
	if ok && head&lengthsDiffer != 0 {
		ok = r.pos < r.end && r.b[r.pos] != r.lengths
		r.lengths = r.b[r.pos] // the checksum at worst
		r.pos++
	}
	gap := int64(head >> 2)
	if !ok || r.points == 0 || gap > maxSeries-1-r.series {
		return r.damaged("wrong series or number of points")
	}
	r.series += gap + 1
	e.Series, e.Points = r.series, r.points
	if !r.decimal(&e.Qty, int(r.lengths&0xf), r.qty) || !r.decimal(&e.Price, int(r.lengths>>4), r.price) {
		return r.damaged("wrong sum")
	}
	r.left--
	return r.left > 0 || r.finish()
}

// finish checks that the last entry was the end, so that a caller who has seen all entries has seen a sound pack.
func (r *Reader) finish() bool {
	if r.pos != r.end {
		return r.damaged("trailing bytes")
	}
	return true
}

func (r *Reader) damaged(how string) bool {
	r.left = 0
	r.err = fmt.Errorf("%w: %s", ErrDamaged, how)
	return false
}

// Err returns what stopped Next, or nil at the pack's end. It wraps ErrDamaged.
func (r *Reader) Err() error { return r.err }
