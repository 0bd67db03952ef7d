package store

import (
	"fmt"
	"testing"

	"ratebook/money"
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

func TestChargeText(t *testing.T) {
	t.Parallel()
	read := func(columns ...[]byte) (all string, err error) {
		text := newChargeText(columns[0], columns[1], columns[2], columns[3], columns[4])
		for text.next() {
			if text.id == 9 {
				text.skip()
				continue
			}
			var qty, price money.Decimal
			text.amounts(&qty, &price)
			all += fmt.Sprintf("%d %d: %d %s %s; ", text.begin, text.period, text.id, qty, price)
		}
		return all, text.err
	}
	b := func(s string) []byte { return []byte(s) }
	const want = "3600 60: 7 1.5 -0.25; 3600 60: 8 2 3; "
	if got, err := read(b("3600 3600 3600"), b("60 60 60"), b("7 9 8"), b("1.5 x 2"), b("-0.25 x 3")); got != want || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := read(b("3600"), b("60"), b("7 1.5 -0.25 9 x x 8 2 3"), nil, nil); got != want || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range [][]string{
		{"x", "1", "7", "1", "1"},
		{"1", "1", "x", "1", "1"},
		{"1", "1", "7", "", "1"},
		{"1", "1", "7", "1", "1,5"},
		{"1 1", "1 1", "7 8", "1 1", "1"},
		{"-1", "1", "7", "1", "1"},
		{"1", "x", "7", "1", "1"},
	} {
		if got, err := read(b(bad[0]), b(bad[1]), b(bad[2]), b(bad[3]), b(bad[4])); err == nil {
			t.Errorf("%q: %s", bad, got)
		}
	}
	for _, bad := range []string{"7", "7 1", "7 1 x", "7 1 1 8", " 7 1 1"} {
		if got, err := read(b("3600"), b("60"), b(bad), nil, nil); err == nil {
			t.Errorf("%q: %s", bad, got)
		}
	}
}
