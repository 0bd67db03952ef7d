package metering

import (
	"math/rand/v2"
	"time"

	"ratebook/period"
)

// Horizon returns the end of the last window that is due: windows of the given length are due once they are over and the
// wait, counted in periods from their begin, is over, too. until, unless zero, leaves out windows that end later.
func Horizon(now time.Time, length time.Duration, wait int, until time.Time) time.Time {
	end := period.Floor(now.Add(-time.Duration(max(1, wait))*length), length).Add(length)
	if u := period.Floor(until, length); !until.IsZero() && u.Before(end) {
		end = u
	}
	return end
}

// FirstWindow returns the begin of the first window of a scope found now: start if it is given, else the begin of the
// billing month of the oldest window that is not due yet; rounded down to the grid. It is not before kept, since when charges are
// kept: what is older would be collected only to be dropped.
func FirstWindow(now time.Time, length time.Duration, wait int, zone *time.Location, start, kept time.Time) time.Time {
	if start.IsZero() {
		start = period.Month.Start(Horizon(now, length, wait, time.Time{}), zone)
	}
	first := period.Floor(start, length)
	if first.Before(kept) {
		if first = period.Floor(kept, length); first.Before(kept) {
			first = first.Add(length)
		}
	}
	return first
}

// LongestRetry is the longest wait before a failed window is tried again. It doubles from firstRetry on.
const (
	firstRetry   = 30 * time.Second
	LongestRetry = time.Hour
)

// Retry returns how long to wait after a window's n-th failed attempt (from 1): exponentially longer, with jitter so that
// the windows that failed together don't come back together.
func Retry(n int) time.Duration {
	d := LongestRetry
	if n < 8 {
		d = min(LongestRetry, firstRetry<<max(0, n-1))
	}
	return d/2 + rand.N(d/2)
}
