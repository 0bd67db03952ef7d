package jobs

import (
	"context"
	"fmt"
	"time"

	"ratebook/metering"
	"ratebook/period"
)

// Plan is what Discover and Plan need to know of time.
type Plan struct {
	Settings    *metering.Settings
	WaitPeriods int       // how many periods after a window's begin it is due
	Start       time.Time // the first window of new scopes, if its charges are kept; zero: see metering.FirstWindow
}

// discoverOverlap is how far back a discovery looks before the last one: sources may show samples late.
const discoverOverlap = 2 * time.Hour

// Discover asks every source for its scopes and adds the new ones. since is when that was last done; the first time it is
// zero, and sources are asked for all scopes since the first window to plan. A source that fails does not keep the others
// from being asked.
func Discover(ctx context.Context, p Planner, sources []Source, plan Plan, since, now time.Time) (added int, err error) {
	zone := plan.Settings.Zone
	first := metering.FirstWindow(now, plan.Settings.Period, plan.WaitPeriods, zone, plan.Start, plan.Settings.Retention.From(now, zone))
	look := period.Range{Begin: first, End: now}
	if !since.IsZero() {
		look.Begin = since.Add(-discoverOverlap)
	}
	for _, src := range sources {
		found, e := src.Fetcher.Scopes(ctx, look)
		if e == nil {
			var n int
			n, e = p.AddScopes(ctx, src.Source, src.FetcherName, found, first)
			added += n
		}
		if e != nil && err == nil {
			err = fmt.Errorf("scopes of source %s: %w", src.Name, e)
		}
	}
	return added, err
}

// PlanWindows writes the windows that are due into the ledger; until, unless zero, leaves out those that end later.
func PlanWindows(ctx context.Context, p Planner, plan Plan, now, until time.Time) (int64, error) {
	return p.Plan(ctx, plan.Settings.Period, metering.Horizon(now, plan.Settings.Period, plan.WaitPeriods, until))
}
