// Package period knows time as Ratebook cuts it: half-open windows on a fixed UTC grid, and calendar buckets (hours,
// days, ISO weeks, months) in the billing time zone. Every instant is whole seconds UTC unless a zone is named.
package period

import (
	"fmt"
	"time"
	_ "time/tzdata" // billing zones must not depend on the machine
)

// Default is the collect period of a new database.
const Default = time.Hour

// Range is the half-open interval [Begin, End).
type Range struct{ Begin, End time.Time }

// Contains reports whether t lies in the range.
func (r Range) Contains(t time.Time) bool { return !t.Before(r.Begin) && t.Before(r.End) }

// Empty reports whether no instant lies in the range.
func (r Range) Empty() bool { return !r.Begin.Before(r.End) }

// Run is a run of Count adjacent windows of one length, the first beginning at Begin.
type Run struct {
	Begin  time.Time
	Length time.Duration
	Count  int
}

// Window returns the i-th window of the run.
func (r Run) Window(i int) Range {
	b := r.Begin.Add(time.Duration(i) * r.Length)
	return Range{b, b.Add(r.Length)}
}

// Range returns the run as one interval.
func (r Run) Range() Range { return Range{r.Begin, r.Begin.Add(time.Duration(r.Count) * r.Length)} }

// Check says whether d can be a collect period: at least a minute, and a divisor of 24 hours.
func Check(d time.Duration) error {
	if d < time.Minute || d%time.Second != 0 || 24*time.Hour%d != 0 {
		return fmt.Errorf("a period must be at least 1m and divide 24h; %s does not", d)
	}
	return nil
}

// Floor returns the begin of the window of length d that contains t. Windows are multiples of d since the epoch.
func Floor(t time.Time, d time.Duration) time.Time {
	s, n := t.Unix(), int64(d/time.Second)
	m := s % n
	if m < 0 {
		m += n
	}
	return time.Unix(s-m, 0).UTC()
}

// Bucket is a calendar unit of a report. The zero value is the whole range in one.
type Bucket uint8

const (
	Whole Bucket = iota
	Hour
	Day
	Week // ISO: from Monday
	Month
)

var bucketNames = [...]string{"", "hour", "day", "week", "month"}

// String returns the name ParseBucket reads.
func (b Bucket) String() string { return bucketNames[b] }

// ParseBucket reads hour, day, week or month; the empty text is Whole.
func ParseBucket(s string) (Bucket, error) {
	for i, n := range bucketNames {
		if s == n {
			return Bucket(i), nil
		}
	}
	return 0, fmt.Errorf("unknown bucket %q; use hour, day, week or month", s)
}

// Start returns the first instant of the bucket that contains t in the zone. Whole has no buckets and returns t.
//
// Buckets tile time, whatever clocks do. An hour ends where the clock shows a full hour or changes its offset, so that
// changes by half an hour make shorter hours. A day begins at the first instant that belongs to it or to a later day:
// after 00:00 where clocks jump over midnight, at the first midnight where there are two.
func (b Bucket) Start(t time.Time, zone *time.Location) time.Time {
	switch b {
	case Whole:
		return t
	case Hour:
		return startOfHour(t.In(zone)).UTC()
	default:
		return StartOf(b.firstDay(Date(t, zone)), zone)
	}
}

// Next returns the first instant of the bucket after the one that contains t: the end of t's bucket.
func (b Bucket) Next(t time.Time, zone *time.Location) time.Time {
	first := b.firstDay(Date(t, zone))
	switch b {
	case Whole:
		return t
	case Hour:
		return nextHour(t.In(zone)).UTC()
	case Day:
		return StartOf(first.AddDate(0, 0, 1), zone)
	case Week:
		return StartOf(first.AddDate(0, 0, 7), zone)
	case Month:
		return StartOf(first.AddDate(0, 1, 0), zone)
	}
	panic("period: unknown bucket")
}

// firstDay returns the first civil day of a day's bucket; for what is no calendar bucket, the day.
func (b Bucket) firstDay(day time.Time) time.Time {
	switch b {
	case Week:
		return day.AddDate(0, 0, -(int(day.Weekday())+6)%7)
	case Month:
		return day.AddDate(0, 0, 1-day.Day())
	default:
		return day
	}
}

func startOfHour(l time.Time) time.Time {
	start := l.Add(-sinceFullHour(l))
	if change, _ := l.ZoneBounds(); start.Before(change) && offset(start) != offset(l) {
		return change
	}
	return start
}

func nextHour(l time.Time) time.Time {
	next := l.Add(time.Hour - sinceFullHour(l))
	if _, change := l.ZoneBounds(); !change.IsZero() && change.Before(next) && offset(change) != offset(l) {
		return change
	}
	return next
}

func sinceFullHour(l time.Time) time.Duration {
	return time.Duration(l.Minute())*time.Minute + time.Duration(l.Second())*time.Second + time.Duration(l.Nanosecond())
}

// offset returns how far the clock of t's zone is ahead of UTC.
func offset(t time.Time) time.Duration {
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second
}

// Date returns the civil day that t belongs to in the zone. Civil days are written as their midnight in UTC.
func Date(t time.Time, zone *time.Location) time.Time {
	y, m, d := t.In(zone).Date()
	day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	for { // clocks that fall back over midnight show the old day once more
		next := day.AddDate(0, 0, 1)
		if StartOf(next, zone).After(t) {
			return day
		}
		day = next
	}
}

// StartOf returns the first instant of a civil day: the first at which the zone's clock shows the civil day or a later one.
func StartOf(day time.Time, zone *time.Location) time.Time {
	const farthest = 26 * time.Hour // more than any clock ever was from UTC
	for t := day.Add(-farthest).In(zone); ; {
		start := day.Add(-offset(t)) // if the offset of t is still that of then
		since, until := t.ZoneBounds()
		if start.Before(since) { // a jump over midnight
			start = since
		}
		if !until.IsZero() && !until.After(t) { // after 2037 time ends leap years a day early
			until = t.Add(time.Hour)
		}
		if until.IsZero() || start.Before(until) {
			return start.UTC()
		}
		t = until
	}
}

// ParseTime reads an RFC 3339 time in whole seconds, or a date (YYYY-MM-DD) as the first instant of that day in the zone.
func ParseTime(s string, zone *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil && t.Nanosecond() == 0 {
		return t.UTC(), nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no time; write it like 2026-11-21T14:00:00Z, or a day in the billing zone like 2026-11-21", s)
	}
	return StartOf(t, zone), nil
}

// Format writes t in the zone as RFC 3339 in whole seconds, with Z for UTC.
func Format(t time.Time, zone *time.Location) string { return t.In(zone).Format(time.RFC3339) }

// ParseZone returns the IANA time zone of that name. "Local" is refused, for it means something else on every machine.
func ParseZone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" || name == "" {
		return nil, fmt.Errorf("unknown time zone %q; use a name such as UTC or Europe/Berlin", name)
	}
	return zone, nil
}
