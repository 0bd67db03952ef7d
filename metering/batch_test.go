package metering

import (
	"fmt"
	"testing"

	"ratebook/period"
)

// TestHalvesBefore splits a batch that does windows again: each half has what its windows are charged before, and what keeps a
// place among a series' charges keeps it.
func TestHalvesBefore(t *testing.T) {
	x, y := &Scope{Ref: 1}, &Scope{Ref: 2}
	usage := func(s *Scope, windows ...int) (u Usage) {
		u.Scope = s
		for _, w := range windows {
			u.Samples = append(u.Samples, Sample{Window: w})
		}
		return u
	}
	text := func(b *Batch) (s string) {
		for _, u := range b.Before {
			s += fmt.Sprint(u.Scope.Ref)
			for _, p := range u.Samples {
				s += fmt.Sprint(" ", p.Window)
			}
			s += ";"
		}
		return s
	}
	b := &Batch{Scopes: []*Scope{x, y}, Run: period.Run{Count: 4}, Before: []Usage{usage(x, 2, 3), usage(x, 0), usage(y, 1)}}
	first, second, _ := b.Halves()
	if text(first) != "1 2 3;1 0;" || text(second) != "2 1;" {
		t.Errorf("by scopes %q and %q", text(first), text(second))
	}
	first, second, _ = first.Halves()
	if text(first) != "1;1 0;" || text(second) != "1 0 1;1;" || first.PointsBefore() != 1 {
		t.Errorf("by windows %q and %q", text(first), text(second))
	}
	none := &Batch{Scopes: []*Scope{x, y}, Run: period.Run{Count: 2}, Before: []Usage{}}
	first, second, _ = none.Halves()
	if first.Before == nil || second.Before == nil {
		t.Error("that nothing was charged before is forgotten")
	}
	first, _, _ = first.Halves()
	if first.Before == nil {
		t.Error("that nothing was charged before is forgotten, by windows")
	}
}
