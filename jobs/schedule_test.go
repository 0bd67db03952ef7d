package jobs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ratebook/metering"
	"ratebook/period"
)

// TestRun has jobs that fail, panic and take too long.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute+time.Second)
		defer cancel()
		var failing, panicking, slow int
		var slowStopped bool
		var log bytes.Buffer
		err := Run(ctx, slog.New(slog.NewTextHandler(&log, nil)), []Job{
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
		// once in a while gocron runs a job again in the same instant, one after the other; jobs must bear that
		few := func(n, want int) bool { return n >= want && n < 2*want }
		if err != nil || !few(failing, 11) || !few(panicking, 11) {
			t.Errorf("error %v; in ten minutes the failing job ran %d times and the panicking one %d times, want 11 and 11", err, failing, panicking)
		}
		if !few(slow, 4) || !slowStopped { // at 0, 3, 6 and 9 min
			t.Errorf("the slow job ran %d times, stopped %t; want 4 times, one after the other, and stopped", slow, slowStopped)
		}
		if text := log.String(); !strings.Contains(text, "broken") || !strings.Contains(text, "panic=oh") || strings.Contains(text, "job=slow") {
			t.Errorf("log:\n%s", text)
		}
	})
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
