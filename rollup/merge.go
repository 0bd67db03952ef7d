package rollup

import "fmt"

// Merge appends to dst the sums of two packs, series by series, and returns the extended slice; dst must not overlap a or
// b. Either may hold deltas. What falls to 0 points vanishes.
//
// The result is a pack at rest, or an error that wraps ErrMismatch: an entry with fewer than 0 points, or an amount left
// without any point, means that something was taken away that had never been added. The appended entries are then
// meaningless.
func Merge(dst, a, b Pack) (Pack, error) {
	for len(a) > 0 || len(b) > 0 {
		var e Entry
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Series < b[0].Series:
			e, a = a[0], a[1:]
		case len(a) == 0 || b[0].Series < a[0].Series:
			e, b = b[0], b[1:]
		default:
			e = a[0]
			e.Add(&b[0].Sums)
			a, b = a[1:], b[1:]
		}
		switch {
		case e.Points > 0:
			dst = append(dst, e)
		case !e.isZero():
			return dst, fmt.Errorf("%w: series %d would have %d points, qty %s, price %s",
				ErrMismatch, e.Series, e.Points, e.Qty, e.Price)
		}
	}
	return dst, nil
}

// Updater adds deltas to stored packs. It keeps memory between calls, so use one for many packs; it is not for
// concurrent use.
type Updater struct{ stored, merged Pack }

// Update appends to dst what the stored pack becomes with the deltas added; a nil stored is a pack that does not exist
// yet. left is the number of series that it holds; if it is 0 the row may as well be deleted. dst must not overlap
// stored. Errors wrap ErrDamaged, ErrMismatch or ErrInvalid, and return dst unchanged.
func (u *Updater) Update(dst, stored []byte, deltas Pack) (updated []byte, left int, err error) {
	u.stored = u.stored[:0]
	if stored != nil {
		if u.stored, err = Decode(u.stored, stored); err != nil {
			return dst, 0, err
		}
	}
	if u.merged, err = Merge(u.merged[:0], u.stored, deltas); err != nil {
		return dst, 0, err
	}
	updated, err = u.merged.Encode(dst)
	return updated, len(u.merged), err
}
