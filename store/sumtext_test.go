package store

import (
	"testing"

	"ratebook/rollup"
)

func TestSumText(t *testing.T) {
	t.Parallel()
	read := func(text string) (rows int, err error) {
		var (
			scope, metric int64
			unit          []byte
			sums          rollup.Sums
		)
		s := sumText{rest: []byte(text)}
		for s.next(&scope, &metric, &unit, &sums) {
			rows++
			if scope != 12 || metric != 3 || string(unit) != "a b ü" || sums.Points != 24 || sums.Qty.String() != "1.5" || sums.Price.String() != "-0.25" {
				t.Errorf("got %d %d %q %v", scope, metric, unit, sums)
			}
		}
		return rows, s.err
	}
	good := "12 3 24 1.5 -0.25 6 a b ü "
	if rows, err := read(good + good); rows != 2 || err != nil {
		t.Errorf("%d rows, %v", rows, err)
	}
	for cut := 1; cut < len(good); cut++ {
		if rows, err := read(good + good[:cut]); rows != 1 || err == nil {
			t.Errorf("%q: %d rows, %v", good[:cut], rows, err)
		}
	}
	for _, bad := range []string{
		"12 3 24 1.5 -0.25 5 a b ü ", "-1 3 24 1.5 -0.25 0  ", "12 x 24 1.5 -0.25 0  ", "12 3 24 1,5 -0.25 0  ", "12 3 24 1.5  0  ", "12 3 24 1.5 1 99999999999999999999 a ", "12 3 24 1.5 1 999999999999999999 a ",
	} {
		if rows, err := read(bad); rows != 0 || err == nil {
			t.Errorf("%q: %d rows, %v", bad, rows, err)
		}
	}
}
