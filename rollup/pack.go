// Package rollup is the codec of packs. A pack is one binary row per (billing day or month, scope, metric, chunk) that
// holds the exact sums (points, qty, price) of at most [MaxSeries] series. It is pure and knows no database.
//
// Packs are read in two ways: [Reader] walks over one without materialising it, for reports; [Decode] returns its
// entries. They change in one way: an [Updater] adds deltas to a stored pack.
package rollup

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"ratebook/money"
)

// MaxSeries is the most series that a pack holds, so that the pack stays in a database's page.
const MaxSeries = 128

var (
	// ErrDamaged is wrapped by the error of whatever reads bytes that are no pack: torn, changed or of a later version.
	ErrDamaged = errors.New("damaged pack")
	// ErrMismatch is wrapped by an error of Merge: the deltas take away what the pack does not hold.
	ErrMismatch = errors.New("deltas do not match the pack")
	// ErrInvalid is wrapped by an error of Encode: the entries are no pack.
	ErrInvalid = errors.New("not a pack")
)

// Sums are exact sums over some charges.
type Sums struct {
	Points     int64 // how many charges
	Qty, Price money.Decimal
}

// Add adds t to s.
func (s *Sums) Add(t *Sums) {
	s.Points += t.Points
	s.Qty.Accumulate(&t.Qty)
	s.Price.Accumulate(&t.Price)
}

// isZero reports whether all sums are 0.
func (s *Sums) isZero() bool { return s.Points == 0 && s.Qty.IsZero() && s.Price.IsZero() }

// Entry is one series' sums.
type Entry struct {
	Series int64 // from 0 to 2^62 - 1
	Sums
}

// Pack is a list of entries with ascending, distinct series. It comes in two kinds: a pack at rest has at least one
// point in each entry; a list of deltas may have any number of points and any amounts in an entry, also negative ones,
// since a replaced charge is taken away.
type Pack []Entry

// Gather makes deltas of entries in any order: it sorts them by series and adds up those of the same series. It works
// in place and returns the part of entries that it used.
func Gather(entries []Entry) Pack {
	if !slices.IsSortedFunc(entries, bySeries) {
		slices.SortFunc(entries, bySeries)
	}
	n := 0
	for i := range entries {
		if n > 0 && entries[n-1].Series == entries[i].Series {
			entries[n-1].Add(&entries[i].Sums)
			continue
		}
		entries[n] = entries[i]
		n++
	}
	return entries[:n]
}

func bySeries(a, b Entry) int { return cmp.Compare(a.Series, b.Series) }

// check says why p is no pack at rest.
func (p Pack) check() error {
	if len(p) > MaxSeries {
		return fmt.Errorf("%w: %d series, at most %d fit", ErrInvalid, len(p), MaxSeries)
	}
	last := int64(-1)
	for i := range p {
		switch e := &p[i]; {
		case e.Series <= last:
			return fmt.Errorf("%w: series %d is negative or not in ascending order", ErrInvalid, e.Series)
		case e.Series > maxSeries:
			return fmt.Errorf("%w: series %d is too large a number", ErrInvalid, e.Series)
		case e.Points <= 0:
			return fmt.Errorf("%w: series %d has %d points", ErrInvalid, e.Series, e.Points)
		}
		last = p[i].Series
	}
	return nil
}
