package metering

import (
	"strconv"
	"time"
)

// IsComputed reports whether name is an attribute that [Computed] knows.
func IsComputed(name string) bool {
	switch name {
	case "week_of_the_year", "day_of_the_year", "month", "year":
		return true
	}
	return false
}

// Computed returns the value of an attribute that every point has without carrying it: week_of_the_year (00 to 53, weeks
// begin on Sunday, the days before the first one are week 00), day_of_the_year (1 to 366), month (1 to 12) and year, all of
// a window's begin in the billing zone. It is false for any other name. Attributes that a point carries take precedence,
// which is up to the caller.
//
// The texts are those of CloudKitty's strftime formats %U, %-j, %-m and %Y, so that rules and filters keep working.
func Computed(name string, begin time.Time, zone *time.Location) (string, bool) {
	if !IsComputed(name) {
		return "", false
	}
	t := begin.In(zone)
	switch name {
	case "week_of_the_year":
		week := (t.YearDay() + 6 - int(t.Weekday())) / 7
		return string([]byte{'0' + byte(week/10), '0' + byte(week%10)}), true
	case "day_of_the_year":
		return strconv.Itoa(t.YearDay()), true
	case "month":
		return strconv.Itoa(int(t.Month())), true
	default:
		return strconv.Itoa(t.Year()), true
	}
}
