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
func (t *sumText) integer() int64 {
	n, ok := integer(t.word())
	if !ok {
		t.err = errSumText
	}
	return n
}

// integer returns what digits say. An empty word is 0: it comes with an error already.
func integer(word []byte) (n int64, ok bool) {
	if len(word) > 18 { // it may not fit
		return 0, false
	}
	for _, digit := range word {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		n = 10*n + int64(digit-'0')
	}
	return n, true
}

func (t *sumText) decimal() money.Decimal {
	d, err := money.ParseBytes(t.word())
	if err != nil {
		t.err = err
	}
	return d
}

// SQL for many charges a row, as texts: their begins in Unix seconds, periods, series, quantities and prices. Each database
// has the form that it is quickest with: SQLite makes a text of each column, of the charges of a scope; PostgreSQL one of all
// charges that begin together, with that begin and the longest period, each charge being its series, quantity and price.
const (
	chargesTextSQLite   = "string_agg(begins_at, ' '), string_agg(period, ' '), string_agg(series, ' '), string_agg(qty, ' '), string_agg(price, ' ')"
	chargesTextPostgres = "CAST(extract(epoch FROM begins_at) AS bigint), MAX(period), string_agg(concat_ws(' ', series, qty, price), ' '), NULL, NULL"
)

// chargeText reads a row of these. The columns must not change meanwhile.
type chargeText struct {
	begins, periods, series words
	qty, price              words // empty if series has them too
	mixed                   bool  // whether it has

	begin, period, id int64 // of the charge: its begin, its length or more in seconds, and its series
	err               error
}

func newChargeText(begins, periods, series, qty, price []byte) *chargeText {
	return &chargeText{begins: words{begins}, periods: words{periods}, series: words{series}, qty: words{qty}, price: words{price}, mixed: qty == nil}
}

// words is a text of words, with a space between them.
type words struct{ rest []byte }

func (w *words) next() (word []byte) {
	if end := bytes.IndexByte(w.rest, ' '); end >= 0 {
		word, w.rest = w.rest[:end], w.rest[end+1:]
		return word
	}
	word, w.rest = w.rest, nil
	return word
}

// next goes to the next charge, and reports whether there is one. Then either amounts or skip must be called.
func (t *chargeText) next() bool {
	if len(t.series.rest) == 0 || t.err != nil {
		return false
	}
	ok := true
	if len(t.begins.rest) > 0 {
		var isPeriod bool
		t.begin, ok = integer(t.begins.next())
		t.period, isPeriod = integer(t.periods.next())
		ok = ok && isPeriod
	}
	if id, isID := integer(t.series.next()); ok && isID {
		t.id = id
		return true
	}
	t.err = errSumText
	return false
}

// amounts reads the charge's amounts.
func (t *chargeText) amounts(qty, price *money.Decimal) {
	q, p := t.words()
	var errQty, errPrice error
	*qty, errQty = money.ParseBytes(q)
	*price, errPrice = money.ParseBytes(p)
	if errQty != nil || errPrice != nil {
		t.err = errors.Join(errQty, errPrice)
	}
}

// skip passes over the charge's amounts.
func (t *chargeText) skip() { t.words() }

func (t *chargeText) words() (qty, price []byte) {
	if t.mixed {
		return t.series.next(), t.series.next()
	}
	return t.qty.next(), t.price.next()
}
