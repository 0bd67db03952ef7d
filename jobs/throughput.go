package jobs

import (
	"sync"
	"time"

	"ratebook/metering"
)

// Throughput remembers what was processed in the last hour, for people. It is a Meter that many may use at once.
type Throughput struct {
	now   func() time.Time
	start time.Time

	mu      sync.Mutex
	minutes [60]minute // that of minute m since the epoch is at m % 60
}

// minute is what was committed in one minute.
type minute struct {
	at                      int64 // in minutes since the epoch
	windows, failed, points int
	busy                    time.Duration
}

var _ Meter = (*Throughput)(nil)

// NewThroughput returns a meter that has seen nothing since now.
func NewThroughput(now func() time.Time) *Throughput { return &Throughput{now: now, start: now()} }

// Committed counts a batch, which took so long from its collection on.
func (t *Throughput) Committed(b *metering.Batch, took time.Duration) {
	points := b.Points()
	t.mu.Lock()
	defer t.mu.Unlock()
	at := minuteOf(t.now())
	m := &t.minutes[at%int64(len(t.minutes))]
	if m.at != at {
		*m = minute{at: at}
	}
	m.windows += len(b.Scopes)*b.Run.Count - len(b.Failed)
	m.failed += len(b.Failed)
	m.points += points
	m.busy += took
}

// SourceFailed is of no concern here.
func (t *Throughput) SourceFailed(string) {}

// DatabaseFailed is of no concern here.
func (t *Throughput) DatabaseFailed() {}

// Last sums up the last hour: the minute that has begun, and the 59 before.
func (t *Throughput) Last(now time.Time) metering.Throughput {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := minuteOf(now)
	first := last - int64(len(t.minutes)) + 1
	sum := metering.Throughput{Since: time.Unix(first*60, 0).UTC()}
	if t.start.After(sum.Since) {
		sum.Since = t.start
	}
	for i := range t.minutes {
		if m := &t.minutes[i]; m.at >= first && m.at <= last {
			sum.Windows += m.windows
			sum.Failed += m.failed
			sum.Points += m.points
			sum.Busy += m.busy
		}
	}
	return sum
}

func minuteOf(t time.Time) int64 { return t.Unix() / 60 }
