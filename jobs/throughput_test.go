package jobs

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ratebook/metering"
	"ratebook/period"
)

func TestThroughput(t *testing.T) {
	start := time.Date(2026, 11, 21, 14, 0, 30, 0, time.UTC)
	now := start
	meter := NewThroughput(func() time.Time { return now })
	batch := &metering.Batch{
		Scopes: make([]*metering.Scope, 3), Run: period.Run{Begin: start, Length: time.Hour, Count: 4},
		Usage:  []metering.Usage{{Samples: make([]metering.Sample, 4)}, {Samples: make([]metering.Sample, 1)}},
		Failed: make([]metering.Outcome, 2),
	}
	says := func(what string, want metering.Throughput) {
		t.Helper()
		if diff := cmp.Diff(want, meter.Last(now)); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	says("at first", metering.Throughput{Since: start})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			meter.Committed(batch, time.Second)
			meter.SourceFailed("default")
			meter.DatabaseFailed()
			meter.Last(now)
		})
	}
	all.Wait()
	says("after eight batches at once", metering.Throughput{Since: start, Windows: 80, Failed: 16, Points: 40, Busy: 8 * time.Second})
	now = start.Add(59 * time.Minute)
	meter.Committed(batch, time.Minute)
	says("an hour later, almost", metering.Throughput{Since: start, Windows: 90, Failed: 18, Points: 45, Busy: 68 * time.Second})
	now = start.Add(time.Hour)
	hour := time.Date(2026, 11, 21, 14, 1, 0, 0, time.UTC)
	says("when the first minute is over", metering.Throughput{Since: hour, Windows: 10, Failed: 2, Points: 5, Busy: time.Minute})
	meter.Committed(batch, time.Second) // where the first minute was
	says("in its place", metering.Throughput{Since: hour, Windows: 20, Failed: 4, Points: 10, Busy: 61 * time.Second})
	now = now.Add(24 * time.Hour)
	says("a day later", metering.Throughput{Since: hour.Add(24 * time.Hour)})
}
