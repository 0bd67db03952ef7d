package v2

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// moment is how ISO 8601 writes times: extended or basic, a date only, with a T or a space; without an offset it is UTC. The
// space before an offset was a + in a query that nobody escaped.
var moment = regexp.MustCompile(`^([0-9]{4})(?:-?([0-9]{2})(?:-?([0-9]{2}))?)?` +
	`(?:[Tt ]([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(?:[.,][0-9]+)?)?)?\s*([Zz]|[-+ ][0-9]{2}(?::?[0-9]{2})?)?)?$`)

// parseTime reads a time; parts of seconds are dropped.
func parseTime(text string) (time.Time, bool) {
	m := moment.FindStringSubmatch(text)
	if m == nil {
		return time.Time{}, false
	}
	part := func(i, least int) int {
		if m[i] == "" {
			return least
		}
		n, _ := strconv.Atoi(m[i])
		return n
	}
	year, month, day, hour, minute, second := part(1, 0), part(2, 1), part(3, 1), part(4, 0), part(5, 0), part(6, 0)
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if year < 1 || t.Year() != year || int(t.Month()) != month || t.Day() != day || t.Hour() != hour || t.Minute() != minute || t.Second() != second {
		return time.Time{}, false
	}
	if zone := m[7]; zone != "" && zone != "Z" && zone != "z" {
		digits := strings.ReplaceAll(zone[1:], ":", "") + "00"
		hours, _ := strconv.Atoi(digits[:2])
		minutes, _ := strconv.Atoi(digits[2:4])
		if hours > 23 || minutes > 59 {
			return time.Time{}, false
		}
		offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
		if zone[0] == '-' {
			offset = -offset
		}
		t = t.Add(-offset)
	}
	return t, true
}

// iso writes a time as most of the API does.
func iso(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05+00:00") }

// naive writes it without an offset.
func naive(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05") }

// spoken writes it as messages do.
func spoken(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05+00:00") }
