package store

import (
	"bytes"
	"errors"

	"ratebook/money"
	"ratebook/rollup"
)

// sumsText is SQL for the rows of a date's sums as one text: of each row the scope, metric, points, qty, price, how many
// bytes the unit has, and the unit, a space after each.
const sumsText = "string_agg(concat_ws(' ', scope, metric, points, qty, price, octet_length(unit), unit, ''), '')"

// sumText reads such a text.
type sumText struct {
	rest []byte
	err  error
}

var errSumText = errors.New("store: the database's sums can't be read")

// next reads a row, and reports whether there was one. The unit is valid until the text changes.
func (t *sumText) next(scope, metric *int64, unit *[]byte, sums *rollup.Sums) bool {
	if len(t.rest) == 0 || t.err != nil {
		return false
	}
	*scope, *metric, sums.Points = t.integer(), t.integer(), t.integer()
	sums.Qty, sums.Price = t.decimal(), t.decimal()
	size := t.integer()
	if t.err == nil && (size >= int64(len(t.rest)) || t.rest[size] != ' ') {
		t.err = errSumText
	}
	if t.err != nil {
		return false
	}
	*unit, t.rest = t.rest[:size], t.rest[size+1:]
	return true
}

func (t *sumText) word() (word []byte) {
	end := bytes.IndexByte(t.rest, ' ')
	if end < 0 {
		t.err = errSumText
		return nil
	}
	word, t.rest = t.rest[:end], t.rest[end+1:]
	return word
}

// integer reads a number from 0 on.
func (t *sumText) integer() (n int64) {
	word := t.word()
	if len(word) > 18 { // it may not fit
		t.err = errSumText
		return 0
	}
	for _, digit := range word {
		if digit < '0' || digit > '9' {
			t.err = errSumText
			return 0
		}
		n = 10*n + int64(digit-'0')
	}
	return n
}

func (t *sumText) decimal() money.Decimal {
	d, err := money.ParseBytes(t.word())
	if err != nil {
		t.err = err
	}
	return d
}
