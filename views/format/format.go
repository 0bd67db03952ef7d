// Package format writes amounts, quantities and times for people. It rounds for the eye only: the exact value is always
// beside, in a title, a detail or an export.
package format

import (
	"strings"
	"time"

	"ratebook/money"
)

// Amount returns an amount with its thousands separated: two decimals from 1 up, four significant digits below. Zero is "0".
func Amount(d money.Decimal) string { return d.String() }

// Exact returns a decimal with all its digits, thousands separated.
func Exact(d money.Decimal) string { return d.String() }

// Quantity returns a quantity as Amount does, with at most four decimals and no trailing zeros.
func Quantity(d money.Decimal) string { return d.String() }

// Count returns a whole number with its thousands separated.
func Count(n int64) string { return "" }

// Percent returns part as a percentage of whole with one decimal, such as "41.7 %"; "–" if whole is zero.
func Percent(part, whole money.Decimal) string { return "" }

// Change returns how much now differs from before, such as "+8.1 %" or "−3.0 %"; "–" if before is zero.
func Change(before, now money.Decimal) string { return "" }

// Time returns a time in the zone, to the minute, such as "21 Nov 2026, 14:02". Zone names are the caller's.
func Time(t time.Time, zone *time.Location) string { return t.In(zone).Format("2 Jan 2006, 15:04") }

// UTC returns the exact time, such as "2026-11-21T13:02:11Z".
func UTC(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Day returns a day in the zone, such as "21 Nov 2026".
func Day(t time.Time, zone *time.Location) string { return t.In(zone).Format("2 Jan 2006") }

// Range returns a half-open range as people say it, such as "1–21 Nov 2026", "28 Oct – 3 Nov 2026", "November 2026" for a
// whole month; with times where it does not begin and end at midnight in the zone.
func Range(begin, end time.Time, zone *time.Location) string {
	return Day(begin, zone) + " – " + Day(end, zone)
}

// Duration returns a duration in its two largest units, such as "6 h", "2 d 4 h" or "under a minute".
func Duration(d time.Duration) string { return strings.TrimSpace(d.String()) }
