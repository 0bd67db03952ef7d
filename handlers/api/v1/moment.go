package v1

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// The ways to write a time that are understood. Fractions of a second may follow seconds; they are left out.
var (
	clockLayouts = []string{
		"2006-1-2T15:04:05", "2006-1-2 15:04:05", "2006-1-2T15:04", "2006-1-2 15:04", "2006-1-2T15",
		"20060102T150405", "20060102T1504", "20060102 150405", "20060102150405", "2006/1/2 15:04:05", "2006/1/2 15:04",
		"2 Jan 2006 15:04:05", "2 January 2006 15:04:05", "Jan 2 2006 15:04:05", "January 2 2006 15:04:05", "Jan 2, 2006 15:04:05",
		"Mon, 2 Jan 2006 15:04:05", "Mon Jan _2 15:04:05 2006",
	}
	zoneLayouts = []string{"", "Z07:00", "Z0700", "Z07", " Z07:00", " Z0700", " MST"}
	dayLayouts  = []string{
		"2006-1-2", "20060102", "2006/1/2", "2 Jan 2006", "2 January 2006", "Jan 2 2006", "January 2 2006", "Jan 2, 2006", "January 2, 2006",
	}
)

// spacedOffset is an offset whose plus came through a query as a space.
var spacedOffset = regexp.MustCompile(`^(.*\d:\d\d(?:\.\d+)?|.*T\d{4,6}) (\d\d:?\d\d)$`)

// The years that a time may have: those that no offset leads out of what can be written.
const firstYear, lastYear = 1, 9998

// parseMoment reads a time as CloudKitty's clients write it. Without an offset it is UTC.
func parseMoment(s string) (moment, error) {
	const longest = 64
	if s = strings.TrimSpace(s); len(s) > longest {
		return moment{}, errors.New("unknown string format")
	}
	s = spacedOffset.ReplaceAllString(s, "$1+$2")
	for _, layout := range dayLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return within(moment{t, true}, s)
		}
	}
	for _, layout := range clockLayouts {
		for _, zone := range zoneLayouts {
			t, err := time.Parse(layout+zone, s)
			if err == nil && known(t) {
				return within(moment{Time: t.UTC().Truncate(time.Second)}, s)
			}
		}
	}
	return moment{}, fmt.Errorf("unknown string format: %s", s)
}

// known reports whether the offset of t is: a name that is not UTC's says nothing.
func known(t time.Time) bool {
	name, offset := t.Zone()
	return offset != 0 || name == "UTC" || name == "GMT" || name == ""
}

func within(m moment, s string) (moment, error) {
	if m.IsZero() { // which stands for no time
		m.Time = m.Add(time.Second)
	}
	if year := m.Year(); year < firstYear || year > lastYear {
		return moment{}, fmt.Errorf("year is out of range: %s", s)
	}
	return m, nil
}

// naive writes a time as the API does.
func naive(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05") }

// spoken writes a time as messages do.
func spoken(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }
