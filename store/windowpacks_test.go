package store

import (
	"testing"
	"time"

	"ratebook/rollup"
)

// However windows begin, those of a day and period fit the packs of their chunks.
func TestWindowChunks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone, day string
	}{{"UTC", "2026-11-01"}, {"Asia/Kathmandu", "2026-11-01"}, {"Europe/Berlin", "2026-10-25"}, {"Africa/Monrovia", "1971-12-31"}, {"Pacific/Kwajalein", "1993-08-22"}, {"Pacific/Apia", "2011-12-31"}} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		date, err := time.Parse(time.DateOnly, c.day)
		if err != nil {
			t.Fatal(err)
		}
		day := dateOf(date.Date())
		first, end := day.begin(zone).Unix(), (day + 1).begin(zone).Unix()
		entries, quarters := map[int32]int{}, map[int32]bool{}
		for begin := first; begin < end; begin++ {
			if civilDay(time.Unix(begin, 0), zone) != day {
				t.Fatalf("%s has no %s", c.zone, c.day)
			}
			chunk := windowChunk(first, begin)
			if entries[chunk]++; entries[chunk] > rollup.MaxSeries {
				t.Fatalf("more than %d windows of %s in %s are in chunk %d", rollup.MaxSeries, c.day, c.zone, chunk)
			}
			if begin%900 == 0 {
				quarters[chunk] = true
			}
		}
		if len(quarters) != 1 {
			t.Errorf("quarters of an hour of %s in %s are in %d chunks", c.day, c.zone, len(quarters))
		}
	}
}
