package period

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := ParseZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// TestBuckets has one case for everything that clocks are known to do.
func TestBuckets(t *testing.T) {
	for _, c := range []struct {
		name, zone  string
		bucket      Bucket
		t           string
		start, next string // UTC
	}{
		{"utc hour", "UTC", Hour, "2026-11-21T14:59:59Z", "2026-11-21T14:00:00Z", "2026-11-21T15:00:00Z"},
		{"utc day", "UTC", Day, "2026-11-21T23:59:59Z", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"},
		{"iso week, sunday", "UTC", Week, "2026-11-22T12:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"},
		{"iso week, monday", "UTC", Week, "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"},
		{"iso week over new year", "UTC", Week, "2027-01-01T00:00:00Z", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"},
		{"december", "UTC", Month, "2026-12-31T23:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"leap february", "UTC", Month, "2028-02-29T00:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
		{"before the epoch", "UTC", Day, "1969-12-31T23:59:59Z", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"},

		{"23 hours", "Europe/Berlin", Day, "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		{"25 hours", "Europe/Berlin", Day, "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"the first 02:00", "Europe/Berlin", Hour, "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"},
		{"the second 02:00", "Europe/Berlin", Hour, "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"},
		{"month with a lost hour", "Europe/Berlin", Month, "2026-03-15T00:00:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"},
		{"week with a doubled hour", "Europe/Berlin", Week, "2026-10-25T22:30:00Z", "2026-10-18T22:00:00Z", "2026-10-25T23:00:00Z"},

		{"half-hour zone, hour", "Asia/Kolkata", Hour, "2026-11-21T14:00:00Z", "2026-11-21T13:30:00Z", "2026-11-21T14:30:00Z"},
		{"half-hour zone, day", "Asia/Kolkata", Day, "2026-11-21T18:29:59Z", "2026-11-20T18:30:00Z", "2026-11-21T18:30:00Z"},
		{"quarter-hour zone", "Asia/Kathmandu", Hour, "2026-11-21T14:00:00Z", "2026-11-21T13:15:00Z", "2026-11-21T14:15:00Z"},

		// Clocks jump from 00:00 to 01:00: the day begins at 01:00.
		{"no midnight, the day", "America/Sao_Paulo", Day, "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
		{"no midnight, the day before", "America/Sao_Paulo", Day, "2018-11-03T12:00:00Z", "2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z"},
		{"no midnight, the hour", "America/Sao_Paulo", Hour, "2018-11-04T03:30:00Z", "2018-11-04T03:00:00Z", "2018-11-04T04:00:00Z"},
		{"no midnight, the hour before", "America/Sao_Paulo", Hour, "2018-11-04T02:30:00Z", "2018-11-04T02:00:00Z", "2018-11-04T03:00:00Z"},
		{"no midnight at the begin of a month", "Asia/Beirut", Day, "2026-03-29T12:00:00Z", "2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"},
		// 23:00 to 24:00 comes twice, on the old day.
		{"last hour twice", "America/Sao_Paulo", Day, "2018-02-17T12:00:00Z", "2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z"},

		// Clocks fall back from 01:00 to 00:00: midnight comes twice, the day begins with the first.
		{"midnight twice, first", "America/Havana", Day, "2026-11-01T04:30:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
		{"midnight twice, second", "America/Havana", Day, "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
		{"midnight twice, day before", "America/Havana", Day, "2026-10-31T12:00:00Z", "2026-10-31T04:00:00Z", "2026-11-01T04:00:00Z"},
		{"midnight twice, month", "America/Havana", Month, "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z"},
		{"midnight twice, month before", "America/Havana", Month, "2026-10-31T12:00:00Z", "2026-10-01T04:00:00Z", "2026-11-01T04:00:00Z"},
		{"midnight twice, hours", "America/Havana", Hour, "2026-11-01T05:30:00Z", "2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z"},
		{"no midnight", "America/Havana", Day, "2026-03-08T12:00:00Z", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"},

		// Clocks change by half an hour at 02:00: hours are cut at the change.
		{"half an hour twice, before", "Australia/Lord_Howe", Hour, "2026-04-04T14:10:00Z", "2026-04-04T14:00:00Z", "2026-04-04T15:00:00Z"},
		{"half an hour twice, after", "Australia/Lord_Howe", Hour, "2026-04-04T15:10:00Z", "2026-04-04T15:00:00Z", "2026-04-04T15:30:00Z"},
		{"half an hour twice, next", "Australia/Lord_Howe", Hour, "2026-04-04T15:40:00Z", "2026-04-04T15:30:00Z", "2026-04-04T16:30:00Z"},
		{"half an hour lost, before", "Australia/Lord_Howe", Hour, "2026-10-03T15:10:00Z", "2026-10-03T14:30:00Z", "2026-10-03T15:30:00Z"},
		{"half an hour lost, after", "Australia/Lord_Howe", Hour, "2026-10-03T15:40:00Z", "2026-10-03T15:30:00Z", "2026-10-03T16:00:00Z"},
		{"half an hour lost, day", "Australia/Lord_Howe", Day, "2026-10-03T15:40:00Z", "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z"},

		// 2011-12-30 was left out.
		{"day left out, before", "Pacific/Apia", Day, "2011-12-29T20:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},
		{"day left out, after", "Pacific/Apia", Day, "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
		{"day left out, week", "Pacific/Apia", Week, "2011-12-30T20:00:00Z", "2011-12-26T10:00:00Z", "2012-01-01T10:00:00Z"},
		{"day left out, month", "Pacific/Apia", Month, "2011-12-30T20:00:00Z", "2011-12-01T10:00:00Z", "2011-12-31T10:00:00Z"},
		// 1993-08-21 was left out, and noon of it too.
		{"another day left out", "Pacific/Kwajalein", Day, "1993-08-21T11:00:00Z", "1993-08-20T12:00:00Z", "1993-08-21T12:00:00Z"},
		// The local mean time zones of old have seconds.
		{"seconds in the offset", "Europe/Berlin", Day, "1890-01-01T12:00:00Z", "1889-12-31T23:06:32Z", "1890-01-01T23:06:32Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			z := zone(t, c.zone)
			if got := c.bucket.Start(at(c.t), z); !got.Equal(at(c.start)) || got.Location() != time.UTC {
				t.Errorf("start of %s is %v, want %s", c.t, got, c.start)
			}
			if got := c.bucket.Next(at(c.t), z); !got.Equal(at(c.next)) || got.Location() != time.UTC {
				t.Errorf("next after %s is %v, want %s", c.t, got, c.next)
			}
		})
	}
}

var trickyZones = []string{
	"UTC", "Europe/Berlin", "Europe/Dublin", "America/Sao_Paulo", "America/Havana", "America/St_Johns", "America/Asuncion", "America/Santiago", "America/Scoresbysund",
	"Asia/Kolkata", "Asia/Kathmandu", "Asia/Beirut", "Asia/Gaza", "Asia/Tehran", "Asia/Pyongyang", "Asia/Amman", "Asia/Manila", "Africa/Cairo", "Africa/Casablanca", "Africa/Monrovia",
	"Atlantic/Azores", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kwajalein", "Pacific/Chatham", "Pacific/Kiritimati", "Antarctica/Troll", "Antarctica/Casey", "America/Caracas",
}

// tiles fails unless the bucket of at is a proper one that meets its neighbours.
func tiles(t interface {
	Helper()
	Errorf(string, ...any)
}, b Bucket, at time.Time, z *time.Location,
) {
	t.Helper()
	start, next := b.Start(at, z), b.Next(at, z)
	if at.Before(start) || !at.Before(next) {
		t.Errorf("%s in %s: %s is not in its %s, %s to %s", b, z, at, b, start, next)
		return
	}
	if s := b.Start(start, z); !s.Equal(start) {
		t.Errorf("%s in %s: start of the start of %s is %s, not %s", b, z, at, s, start)
	}
	if s := b.Start(next, z); !s.Equal(next) {
		t.Errorf("%s in %s: the next after %s, %s, starts at %s", b, z, at, next, s)
	}
	last := next.Add(-time.Second)
	if s := b.Start(last, z); !s.Equal(start) {
		t.Errorf("%s in %s: the last second of the bucket of %s, %s, starts at %s, not %s", b, z, at, last, s, start)
	}
	if n := b.Next(start, z); !n.Equal(next) {
		t.Errorf("%s in %s: next after the start %s is %s, not %s", b, z, start, n, next)
	}
	// The edges of the large are edges of the small.
	if s := Hour.Start(start, z); !s.Equal(start) {
		t.Errorf("%s in %s: %s is not the start of an hour", b, z, start)
	}
	if s := Day.Start(start, z); b != Hour && !s.Equal(start) {
		t.Errorf("%s in %s: %s is not the start of a day", b, z, start)
	}
}

func TestBucketsTileTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		z, err := ParseZone(rapid.SampledFrom(trickyZones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		b := Bucket(rapid.IntRange(int(Hour), int(Month)).Draw(t, "bucket"))
		tiles(t, b, time.Unix(rapid.Int64Range(-3e9, 4e9).Draw(t, "t"), 0), z)
	})
}

// TestBucketsTileChanges looks around every change of the clocks in every tricky zone, where random times seldom fall.
func TestBucketsTileChanges(t *testing.T) {
	for _, name := range trickyZones {
		z := zone(t, name)
		for u := time.Unix(-3e9, 0).In(z); u.Year() < 2028; {
			_, end := u.ZoneBounds()
			if end.IsZero() {
				break
			}
			for _, off := range []time.Duration{-time.Hour, -time.Second, 0, 29 * time.Minute, time.Hour, 24 * time.Hour} {
				for b := Hour; b <= Month; b++ {
					tiles(t, b, end.Add(off), z)
				}
			}
			u = end
			if t.Failed() {
				break
			}
		}
	}
}

func TestWhole(t *testing.T) {
	u := at("2026-11-21T14:30:05Z")
	if !Whole.Start(u, time.UTC).Equal(u) || !Whole.Next(u, time.UTC).Equal(u) {
		t.Error("Whole has buckets")
	}
}

func TestParseBucket(t *testing.T) {
	for b := Whole; b <= Month; b++ {
		if got, err := ParseBucket(b.String()); err != nil || got != b {
			t.Errorf("%q: %v, %v", b, got, err)
		}
	}
	for _, s := range []string{"Day", "year", " ", "days"} {
		if _, err := ParseBucket(s); err == nil {
			t.Errorf("%q was read", s)
		}
	}
}

func TestParseTime(t *testing.T) {
	for _, c := range []struct{ in, zone, want string }{
		{"2026-11-21T14:00:00Z", "Europe/Berlin", "2026-11-21T14:00:00Z"},
		{"2026-11-21T14:00:00+05:30", "UTC", "2026-11-21T08:30:00Z"},
		{"2026-11-21", "UTC", "2026-11-21T00:00:00Z"},
		{"2026-11-21", "Europe/Berlin", "2026-11-20T23:00:00Z"},
		{"2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00Z"},
		{"2026-11-01", "America/Havana", "2026-11-01T04:00:00Z"},
		{"2011-12-30", "Pacific/Apia", "2011-12-30T10:00:00Z"},  // a day that never was begins where the next does
		{"2040-12-31", "Europe/Berlin", "2040-12-30T23:00:00Z"}, // where package time is at odds with itself
		{"2041-01-01", "America/Havana", "2041-01-01T05:00:00Z"},
	} {
		got, err := ParseTime(c.in, zone(t, c.zone))
		if err != nil || !got.Equal(at(c.want)) || got.Location() != time.UTC {
			t.Errorf("%s in %s: %v, %v; want %s", c.in, c.zone, got, err, c.want)
		}
	}
	for _, in := range []string{"", "now", "2026-13-01", "2026-02-30", "2026-11-21T14:00:00", "21.11.2026", "2026-11-21T14:00:00.5Z"} {
		if got, err := ParseTime(in, time.UTC); err == nil || !strings.Contains(err.Error(), `"`+in+`"`) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
}

// TestStartOf walks through the days of zones that change their clocks, far beyond what their tables list.
func TestStartOf(t *testing.T) {
	for _, name := range []string{"Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Africa/Casablanca", "America/New_York"} {
		z := zone(t, name)
		for day := at("2036-01-01T00:00:00Z"); day.Year() < 2062; day = day.AddDate(0, 0, 1) {
			start := StartOf(day, z)
			if here, before := start.In(z), start.Add(-time.Second).In(z); here.Day() != day.Day() || before.Day() == day.Day() {
				t.Fatalf("%s in %s begins at %s", day.Format(time.DateOnly), name, here)
			}
		}
	}
}

func TestFormat(t *testing.T) {
	u := at("2026-07-01T12:00:00Z")
	if got := Format(u, time.UTC) + " " + Format(u, zone(t, "Europe/Berlin")); got != "2026-07-01T12:00:00Z 2026-07-01T14:00:00+02:00" {
		t.Error(got)
	}
}

func TestParseZone(t *testing.T) {
	for _, s := range []string{"", "Local", "Mars/Olympus", "../etc/passwd", "europe\x00"} {
		if z, err := ParseZone(s); err == nil {
			t.Errorf("%q is %v", s, z)
		}
	}
}

func TestFloor(t *testing.T) {
	for _, c := range []struct {
		t, want string
		d       time.Duration
	}{
		{"2026-11-21T14:59:59Z", "2026-11-21T14:00:00Z", time.Hour},
		{"2026-11-21T14:00:00Z", "2026-11-21T14:00:00Z", time.Hour},
		{"2026-11-21T16:00:00+02:00", "2026-11-21T14:00:00Z", time.Hour},
		{"2026-11-21T14:59:59Z", "2026-11-21T14:55:00Z", 5 * time.Minute},
		{"2026-11-21T14:59:59Z", "2026-11-21T00:00:00Z", 24 * time.Hour},
		{"1969-12-31T23:59:59Z", "1969-12-31T23:00:00Z", time.Hour},
		{"1969-12-31T23:00:00Z", "1969-12-31T23:00:00Z", time.Hour},
		{"1900-01-01T00:00:01Z", "1900-01-01T00:00:00Z", time.Minute},
		{"1969-12-31T23:59:59.5Z", "1969-12-31T23:59:00Z", time.Minute},
	} {
		if got := Floor(at(c.t), c.d); !got.Equal(at(c.want)) || got.Location() != time.UTC {
			t.Errorf("Floor(%s, %s) = %v, want %s", c.t, c.d, got, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, d := range []time.Duration{time.Minute, 5 * time.Minute, time.Hour, 8 * time.Hour, 24 * time.Hour, 90 * time.Second} {
		if err := Check(d); err != nil {
			t.Error(err)
		}
	}
	for _, d := range []time.Duration{0, -time.Hour, time.Second, 59 * time.Second, 7 * time.Minute, 48 * time.Hour, time.Hour + time.Nanosecond, 62500 * time.Millisecond, 24 * time.Hour / 7} {
		if Check(d) == nil {
			t.Errorf("%s passed", d)
		}
	}
}

func TestRun(t *testing.T) {
	r := Run{Begin: at("2026-11-21T22:00:00Z"), Length: time.Hour, Count: 3}
	if w := r.Window(2); !w.Begin.Equal(at("2026-11-22T00:00:00Z")) || !w.End.Equal(r.Range().End) {
		t.Errorf("window 2 is %v, the run %v", w, r.Range())
	}
	for i := range r.Count {
		w := r.Window(i)
		if !w.Contains(w.Begin) || w.Contains(w.End) || w.Empty() {
			t.Errorf("window %d, %v, is not half-open", i, w)
		}
	}
	if !(Range{r.Begin, r.Begin}).Empty() || (Range{r.Begin, r.Begin}).Contains(r.Begin) {
		t.Error("an empty range contains something")
	}
}

func BenchmarkStart(b *testing.B) {
	z, u := zone(b, "Europe/Berlin"), at("2026-11-21T14:30:00Z")
	for _, bucket := range []Bucket{Hour, Day, Month} {
		b.Run(bucket.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bucket.Start(u, z)
			}
		})
	}
}
