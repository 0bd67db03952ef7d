package metering

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ratebook/fault"
	"ratebook/period"
)

func TestKeep(t *testing.T) {
	for text, want := range map[string]string{
		"forever": "forever", "1 month": "1 month", "1 months": "1 month", "13 months": "13 months", " 24  month ": "24 months", "1200 months": "1200 months",
		"": "", "0 months": "", "-1 months": "", "13": "", "months": "", "13months": "", "1.5 months": "", "1 year": "", "1201 months": "", "Forever": "", "99999999999999999999 months": "",
	} {
		k, err := ParseKeep(text)
		if want == "" {
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), `"13 months"`) {
				t.Errorf("%q: %v, %v", text, k, err)
			}
			continue
		}
		if again, e := ParseKeep(k.String()); err != nil || k.String() != want || e != nil || again != k {
			t.Errorf("%q: %v, %v", text, k, err)
		}
	}
}

func TestKeepCut(t *testing.T) {
	for _, c := range []struct {
		keep            Keep
		now, zone, want string
	}{
		{1, "2026-12-10T12:00:00Z", "UTC", "2026-11-01T00:00:00Z"},
		{1, "2026-12-01T00:00:00Z", "UTC", "2026-11-01T00:00:00Z"},
		{1, "2026-11-30T23:59:59Z", "UTC", "2026-10-01T00:00:00Z"},
		{1, "2026-11-30T23:00:00Z", "Europe/Berlin", "2026-10-31T23:00:00Z"},
		{1, "2026-11-30T22:59:59Z", "Europe/Berlin", "2026-09-30T22:00:00Z"},
		{1, "2026-12-01T04:59:59Z", "America/New_York", "2026-10-01T04:00:00Z"},
		{13, "2026-03-31T12:00:00Z", "UTC", "2025-02-01T00:00:00Z"},
		{12, "2026-12-31T12:00:00Z", "UTC", "2025-12-01T00:00:00Z"},
		{1200, "2026-12-31T12:00:00Z", "UTC", "1926-12-01T00:00:00Z"},
	} {
		zone, err := period.ParseZone(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		now, _ := time.Parse(time.RFC3339, c.now)
		if got := c.keep.Cut(now, zone); got.UTC().Format(time.RFC3339) != c.want || !period.Month.Start(got, zone).Equal(got) {
			t.Errorf("%s at %s in %s: %s, want %s", c.keep, c.now, c.zone, got.UTC(), c.want)
		}
	}
	if !Forever.Cut(time.Unix(0, 0), time.UTC).IsZero() {
		t.Error("forever ends")
	}
}

func TestRetentionCheck(t *testing.T) {
	for _, c := range []struct {
		charges, rollups Keep
		ok               bool
	}{
		{Forever, Forever, true}, {1, Forever, true}, {1, 1, true}, {1, 2, true}, {2, 1, false}, {Forever, 1, false},
	} {
		err := (&Retention{Charges: c.charges, Rollups: c.rollups}).Check()
		if (err == nil) != c.ok || !c.ok && (fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), fmt.Sprint(c.rollups))) {
			t.Errorf("%s and %s: %v", c.charges, c.rollups, err)
		}
	}
}
