// Package format writes amounts, quantities and times for people. It rounds for the eye only: the exact value is always
// beside, in a title, a detail or an export.
package format

import (
	"strconv"
	"strings"
	"time"

	"ratebook/money"
	"ratebook/period"
)

// None stands where there is no value.
const None = "–"

// minus is the sign people read; the hyphen of plain digits is narrower than a plus.
const minus = "−"

// Amount returns an amount with its thousands separated: two decimals from 1 up; below, four significant digits, but
// at least two decimals. Zero is "0".
func Amount(d money.Decimal) string {
	if d.IsZero() {
		return "0"
	}
	return text(significant(d).String(), 2)
}

// Exact returns a decimal with all its digits, thousands separated.
func Exact(d money.Decimal) string { return text(d.String(), 0) }

// Quantity returns a quantity as Amount does, with at most four decimals and no trailing zeros. What is not zero but
// rounds to it is "≈0".
func Quantity(d money.Decimal) string {
	r := significant(d).Round(4)
	if r.IsZero() && !d.IsZero() {
		return "≈0"
	}
	return Exact(r)
}

// Count returns a whole number with its thousands separated.
func Count(n int64) string { return text(strconv.FormatInt(n, 10), 0) }

// Percent returns part as a percentage of whole with one decimal, such as "41.7 %"; "–" if whole is zero, and "<0.1 %"
// for a share that is there but would be 0.0.
func Percent(part, whole money.Decimal) string {
	p, ok := percentage(part, whole)
	switch {
	case !ok:
		return None
	case p.IsZero() && part.Sign()*whole.Sign() > 0:
		return "<0.1 %"
	}
	return text(p.String(), 1) + " %"
}

// Change returns how much now differs from before, such as "+8.1 %" or "−3.0 %"; "±0.0 %" if by less than is shown, and
// "–" if before is zero.
func Change(before, now money.Decimal) string {
	size := before
	if size.Sign() < 0 {
		size = size.Neg()
	}
	p, ok := percentage(now.Sub(before), size)
	switch {
	case !ok:
		return None
	case p.IsZero():
		return "±0.0 %"
	case p.Sign() > 0:
		return "+" + text(p.String(), 1) + " %"
	}
	return text(p.String(), 1) + " %"
}

// percentage returns 100 × part / whole, rounded to one decimal; there is none of zero.
func percentage(part, whole money.Decimal) (money.Decimal, bool) {
	if whole.IsZero() {
		return money.Decimal{}, false
	}
	share, err := money.ParseRatio(part.String() + "/" + whole.String())
	if err != nil { // more digits than any amount has
		return money.Decimal{}, false
	}
	return money.Linear(money.New(100, 0), share, money.Ratio{}, 1), true
}

// significant rounds to two decimals from 1 up, and to four significant digits below.
func significant(d money.Decimal) money.Decimal {
	whole, decimals, _ := strings.Cut(strings.TrimPrefix(d.String(), "-"), ".")
	if whole != "0" {
		return d.Round(2)
	}
	zeros := len(decimals) - len(strings.TrimLeft(decimals, "0"))
	return d.Round(int32(zeros) + 4) //nolint:gosec // a decimal has far fewer digits than an int32 counts
}

// text writes plain digits for people: thousands separated by commas, a true minus sign, at least some decimals.
func text(digits string, decimals int) string {
	var b strings.Builder
	if rest, negative := strings.CutPrefix(digits, "-"); negative {
		b.WriteString(minus)
		digits = rest
	}
	whole, rest, _ := strings.Cut(digits, ".")
	for i, digit := range whole {
		if left := len(whole) - i; i > 0 && left%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	if missing := decimals - len(rest); missing > 0 {
		rest += strings.Repeat("0", missing)
	}
	if rest != "" {
		b.WriteByte('.')
		b.WriteString(rest)
	}
	return b.String()
}

// How times are written. Zone names are the caller's.
const (
	dayLayout   = "2 Jan 2006"
	clockLayout = "15:04"
)

// Time returns a time in the zone, to the minute, such as "21 Nov 2026, 14:02". Zone names are the caller's.
func Time(t time.Time, zone *time.Location) string {
	return t.In(zone).Format(dayLayout + ", " + clockLayout)
}

// UTC returns the exact time, such as "2026-11-21T13:02:11Z".
func UTC(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Day returns a day in the zone, such as "21 Nov 2026".
func Day(t time.Time, zone *time.Location) string { return t.In(zone).Format(dayLayout) }

// Range returns a half-open range as people say it: "1–21 Nov 2026", "28 Oct – 3 Nov 2026", "21 Nov 2026" for a day,
// "November 2026" for a whole month and "2026" for a year. Where it does not begin and end at midnight in the zone, it
// has times: "21 Nov 2026, 14:00–15:00". An empty range is the time it would begin.
func Range(begin, end time.Time, zone *time.Location) string {
	if !begin.Before(end) {
		return Time(begin, zone)
	}
	begin, end = begin.In(zone), end.In(zone)
	first, last := period.Date(begin, zone), period.Date(end.Add(-1), zone) // the civil days it touches
	if !startsDay(begin, zone) || !startsDay(end, zone) {
		return clockRange(begin, end, first, last)
	}
	next := last.AddDate(0, 0, 1)
	switch {
	case first.Day() == 1 && first.AddDate(0, 1, 0).Equal(next):
		return first.Format("January 2006")
	case first.YearDay() == 1 && first.AddDate(1, 0, 0).Equal(next):
		return first.Format("2006")
	case first.Equal(last):
		return first.Format(dayLayout)
	case first.Year() != last.Year():
		return first.Format(dayLayout) + " – " + last.Format(dayLayout)
	case first.Month() != last.Month():
		return first.Format("2 Jan") + " – " + last.Format(dayLayout)
	}
	return first.Format("2") + "–" + last.Format(dayLayout)
}

func startsDay(t time.Time, zone *time.Location) bool {
	return period.StartOf(period.Date(t, zone), zone).Equal(t)
}

// clockRange is a range with times. The first instant of a day ends the day before, at 24:00. Where clocks change between
// the two times of a day, their offsets tell them apart.
func clockRange(begin, end, first, last time.Time) string {
	from, to := begin.Format(clockLayout), end.Format(clockLayout)
	if startsDay(end, end.Location()) {
		to = "24:00"
	}
	switch {
	case first.Equal(last) && begin.Format("-07:00") != end.Format("-07:00"):
		return first.Format(dayLayout) + ", " + from + begin.Format(" (-07:00)") + " – " + to + end.Format(" (-07:00)")
	case first.Equal(last):
		return first.Format(dayLayout) + ", " + from + "–" + to
	case first.Year() != last.Year():
		return first.Format(dayLayout) + ", " + from + " – " + last.Format(dayLayout) + ", " + to
	}
	return first.Format("2 Jan") + ", " + from + " – " + last.Format(dayLayout) + ", " + to
}

// Duration returns a duration in its two largest units, such as "6 h", "2 d 4 h" or "under a minute", rounded down. Its
// direction is the caller's to say.
func Duration(d time.Duration) string {
	d = d.Abs()
	days, hours, minutes := int64(d/(24*time.Hour)), int64(d/time.Hour%24), int64(d/time.Minute%60)
	switch {
	case days > 0:
		return units(days, "d", hours, "h")
	case hours > 0:
		return units(hours, "h", minutes, "min")
	case minutes > 0:
		return units(minutes, "min", 0, "")
	}
	return "under a minute"
}

// units writes a count of a unit and, unless it is 0, of the next smaller one.
func units(large int64, unit string, small int64, smallUnit string) string {
	s := Count(large) + " " + unit
	if small > 0 {
		s += " " + Count(small) + " " + smallUnit
	}
	return s
}
