package rating

import (
	"testing"
	"time"

	"ratebook/metering"
)

// TestComputed holds the values against date(1)'s %U, %-j, %-m and %Y.
func TestComputed(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		begin                  string
		zone                   *time.Location
		week, day, month, year string
	}{
		{"2026-01-01T00:00:00Z", time.UTC, "00", "1", "1", "2026"},
		{"2026-01-03T23:00:00Z", time.UTC, "00", "3", "1", "2026"}, // Saturday
		{"2026-01-04T00:00:00Z", time.UTC, "01", "4", "1", "2026"}, // Sunday
		{"2026-11-21T12:00:00Z", time.UTC, "46", "325", "11", "2026"},
		{"2023-01-01T00:00:00Z", time.UTC, "01", "1", "1", "2023"}, // a Sunday
		{"2028-12-31T00:00:00Z", time.UTC, "53", "366", "12", "2028"},
		{"2026-12-31T23:00:00Z", berlin, "00", "1", "1", "2027"},
		{"2026-12-31T22:59:59Z", berlin, "52", "365", "12", "2026"},
	} {
		begin, err := time.Parse(time.RFC3339, test.begin)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"week_of_the_year": test.week, "day_of_the_year": test.day, "month": test.month, "year": test.year,
		} {
			if got, ok := metering.Computed(name, begin, test.zone); got != want || !ok {
				t.Errorf("%s of %s: got %q, want %q", name, test.begin, got, want)
			}
			rule := mapping(Flat, "1", on(name, want))
			e, err := Compile(&Rules{Modules: []Module{{"hashmap", true, 1}}, Hashmap: []Rule{rule}}, test.zone)
			if err != nil {
				t.Fatal(err)
			}
			if _, outcome := planned(e, series(), begin).Price(num("1")); outcome != Priced {
				t.Errorf("a rule on %s = %s does not match at %s", name, want, test.begin)
			}
		}
	}
	if _, ok := metering.Computed("hour", now, time.UTC); ok || metering.IsComputed("hour") {
		t.Error("hour is not computed")
	}
}
