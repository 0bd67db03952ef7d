package jobs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
)

// TestScheduler has jobs that fail, panic and take too long.
func TestScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute+time.Second)
		defer cancel()
		var failing, panicking, slow int
		var slowStopped bool
		var log bytes.Buffer
		s := newScheduler(t, &log, []Job{
			{Name: "failing", Every: time.Minute, Run: func(context.Context) error {
				failing++
				return errors.New("broken")
			}},
			{Name: "panicking", Every: time.Minute, Run: func(context.Context) error {
				panicking++
				panic("oh")
			}},
			{Name: "slow", Every: time.Minute, Run: func(ctx context.Context) error {
				slow++
				select {
				case <-ctx.Done():
					slowStopped = true
				case <-time.After(150 * time.Second):
				}
				return ctx.Err()
			}},
		})
		if err := s.Run(ctx); err != nil || failing != 11 || panicking != 11 {
			t.Errorf("error %v; in ten minutes the failing job ran %d times and the panicking one %d times, want 11 and 11", err, failing, panicking)
		}
		if slow != 4 || !slowStopped { // at 0, 3, 6 and 9 min
			t.Errorf("the slow job ran %d times, stopped %t; want 4 times, one after the other, and stopped", slow, slowStopped)
		}
		if text := log.String(); !strings.Contains(text, "broken") || !strings.Contains(text, "panic=oh") || strings.Contains(text, "job=slow") {
			t.Errorf("log:\n%s", text)
		}
		var errs []string
		for _, j := range s.Jobs() {
			errs = append(errs, j.Error)
		}
		if diff := cmp.Diff([]string{"broken", "it panicked: oh", ""}, errs); diff != "" {
			t.Error(diff)
		}
	})
}

func newScheduler(t *testing.T, log io.Writer, jobs []Job) *Scheduler {
	t.Helper()
	s, err := NewScheduler(slog.New(slog.NewTextHandler(log, nil)), jobs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSchedulerTells: how a job is doing is known at any moment, and it can be run between its times, but never twice at once.
func TestSchedulerTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs, atOnce atomic.Int32
		var broken atomic.Bool
		s := newScheduler(t, io.Discard, []Job{{Name: "job", Every: time.Hour, Run: func(ctx context.Context) error {
			runs.Add(1)
			if atOnce.Add(1) > 1 {
				t.Error("it runs twice at once")
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Minute):
			}
			atOnce.Add(-1)
			if broken.Load() {
				return errors.New("broken")
			}
			return nil
		}}})
		start := time.Now()
		says := func(what string, runsWant int32, want metering.Job) {
			t.Helper()
			synctest.Wait()
			want.Name, want.Every = "job", time.Hour
			if diff := cmp.Diff([]metering.Job{want}, s.Jobs()); diff != "" || runs.Load() != runsWant {
				t.Errorf("%s: %d runs, want %d; %s", what, runs.Load(), runsWant, diff)
			}
		}
		says("before it begins", 0, metering.Job{})
		if got := fault.KindOf(s.RunNow("job")); got != fault.Unavailable {
			t.Errorf("before it begins: %v", got)
		}
		if got := fault.KindOf(s.RunNow("other")); got != fault.NotFound {
			t.Errorf("another: %v", got)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		after := func(d time.Duration) time.Time { return start.Add(d) }
		run := func() {
			t.Helper()
			if err := s.RunNow("job"); err != nil {
				t.Error(err)
			}
		}

		says("it begins", 1, metering.Job{Running: true, Began: start, Next: after(time.Hour)})
		<-time.After(11 * time.Minute)
		says("it has ended", 1, metering.Job{Began: start, Took: 10 * time.Minute, Next: after(time.Hour)})

		broken.Store(true)
		run()
		says("it was asked for", 2, metering.Job{Running: true, Began: after(11 * time.Minute), Took: 10 * time.Minute, Next: after(time.Hour)})
		<-time.After(time.Minute)
		run()
		run() // both together once more
		<-time.After(10 * time.Minute)
		says("it runs again", 3, metering.Job{
			Running: true, Began: after(21 * time.Minute), Took: 10 * time.Minute, Error: "broken", Next: after(time.Hour),
		})
		broken.Store(false)
		<-time.After(10 * time.Minute)
		says("it is fine again", 3, metering.Job{Began: after(21 * time.Minute), Took: 10 * time.Minute, Next: after(time.Hour)})
		<-time.After(29 * time.Minute)
		says("by the clock", 4, metering.Job{Running: true, Began: after(time.Hour), Took: 10 * time.Minute, Next: after(2 * time.Hour)})
		run()
		stop()
		if err := <-ended; err != nil || runs.Load() != 4 {
			t.Errorf("after %d runs: %v", runs.Load(), err)
		}
		if got := fault.KindOf(s.RunNow("job")); got != fault.Unavailable {
			t.Errorf("at the end: %v", got)
		}
	})
}

// TestSchedulerStops: a job that does not stop holds up the end for a while only.
func TestSchedulerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan bool)
		s := newScheduler(t, io.Discard, []Job{{Name: "deaf", Every: time.Hour, Run: func(context.Context) error { <-release; return nil }}})
		ctx, stop := context.WithCancel(t.Context())
		ended, begun := make(chan error), time.Now()
		go func() { ended <- s.Run(ctx) }()
		synctest.Wait()
		stop()
		if err := <-ended; err == nil || time.Since(begun) != stopTimeout {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
		close(release)
	})
}

func TestNewScheduler(t *testing.T) {
	run := func(context.Context) error { return nil }
	for name, jobs := range map[string][]Job{
		"no name": {{Every: time.Hour, Run: run}}, "no interval": {{Name: "a", Run: run}},
		"one name": {{Name: "a", Every: time.Hour, Run: run}, {Name: "a", Every: time.Minute, Run: run}},
	} {
		if _, err := NewScheduler(slog.New(slog.DiscardHandler), jobs); err == nil {
			t.Errorf("%s is no error", name)
		}
	}
}

// planner takes scopes.
type planner struct{ added []string }

func (p *planner) AddScopes(_ context.Context, src metering.Source, fetcher string, found []metering.Found, first time.Time) (int, error) {
	for _, f := range found {
		p.added = append(p.added, src.Name+" "+fetcher+" "+f.ID+" "+first.Format(time.DateOnly))
	}
	return len(found), nil
}

func (p *planner) Plan(context.Context, time.Duration, time.Time) (int64, error) { return 0, nil }

type fetch func(r period.Range) ([]metering.Found, error)

func (f fetch) Scopes(_ context.Context, r period.Range) ([]metering.Found, error) { return f(r) }

func TestDiscover(t *testing.T) {
	now := time.Date(2026, 3, 20, 10, 30, 0, 0, time.UTC)
	var looked []period.Range
	sources := []Source{
		{Source: metering.Source{Name: "broken"}, FetcherName: "f", Fetcher: fetch(func(period.Range) ([]metering.Found, error) { return nil, errors.New("down") })},
		{Source: metering.Source{Name: "fine"}, FetcherName: "f", Fetcher: fetch(func(r period.Range) ([]metering.Found, error) {
			looked = append(looked, r)
			return []metering.Found{{ID: "a"}}, nil
		})},
	}
	p := &planner{}
	plan := Plan{Settings: &metering.Settings{Period: time.Hour, Zone: time.UTC}, WaitPeriods: 2}
	for _, since := range []time.Time{{}, now.Add(-10 * time.Minute)} {
		added, err := Discover(t.Context(), p, sources, plan, since, now)
		if added != 1 || err == nil || err.Error() != "scopes of source broken: down" {
			t.Errorf("added %d, error %v", added, err)
		}
	}
	month := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	if want := (period.Range{Begin: month, End: now}); looked[0] != want {
		t.Errorf("at first it looks at %v, want %v", looked[0], want)
	}
	if want := (period.Range{Begin: now.Add(-10*time.Minute - discoverOverlap), End: now}); looked[1] != want {
		t.Errorf("later it looks at %v, want %v", looked[1], want)
	}
	if len(p.added) != 2 || p.added[0] != "fine f a 2026-03-01" {
		t.Errorf("added %q", p.added)
	}
}
