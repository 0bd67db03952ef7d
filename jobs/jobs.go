// Package jobs does the work that nobody waits for: it finds scopes, plans their windows, and collects, rates and commits
// them. Each job is safe to run anywhere, any number of times at once: the database decides who does what, and the
// schedule only wakes us up.
package jobs

import (
	"context"
	"time"

	"ratebook/metering"
	"ratebook/period"
	"ratebook/rating"
)

// Ledger hands out windows to process and takes what became of them.
type Ledger interface {
	LeaseToken(ctx context.Context) (int64, error)
	Lease(ctx context.Context, r metering.LeaseRequest) ([]metering.Lease, error)
	Renew(ctx context.Context, token int64, scopes []*metering.Scope, d time.Duration) (held bool, err error)
	Release(ctx context.Context, token int64, scopes []*metering.Scope) error
	Commit(ctx context.Context, b *metering.Batch) error
	Pending(ctx context.Context, r metering.LeaseRequest) (bool, error)
}

// Tasks are what somebody asked to be done again.
type Tasks interface {
	AdvanceTasks(ctx context.Context) error
	NextPreview(ctx context.Context, r metering.PreviewRequest) (*metering.Preview, error)
	RenewPreview(ctx context.Context, p *metering.Preview, d time.Duration) (held bool, err error)
	SavePreview(ctx context.Context, p *metering.Preview, r *metering.PreviewResult) error
}

// Archive returns the charges that windows have: one Usage for each series, more if there are equal points, samples by window.
type Archive interface {
	Charges(ctx context.Context, scopes []*metering.Scope, run period.Run) ([]metering.Usage, error)
}

// Catalog knows what to collect and how to price it. Version 0 is the latest.
type Catalog interface {
	Versions(ctx context.Context) (config, rules int64, err error)
	Configuration(ctx context.Context, version int64) (*metering.Configuration, error)
	Rules(ctx context.Context, version int64) (*rating.Rules, error)
	FirstSamples(ctx context.Context) (map[int64]time.Time, error)
}

// Planner keeps the list of scopes and of the windows that are expected of them.
type Planner interface {
	AddScopes(ctx context.Context, src metering.Source, fetcher string, found []metering.Found, first time.Time) (added int, err error)
	Plan(ctx context.Context, length time.Duration, horizon time.Time) (planned int64, err error)
}

// Collector fetches usage from a source. An error that wraps metering.ErrTooMuch asks for a smaller question, one that wraps
// metering.ErrQuestion a question about something else.
type Collector interface {
	Collect(ctx context.Context, r *metering.Request) (*metering.Collection, error)
}

// Fetcher lists the scopes that a source knew in a range of time.
type Fetcher interface {
	Scopes(ctx context.Context, r period.Range) ([]metering.Found, error)
}

// Source is a configured source with the code that speaks to it.
type Source struct {
	metering.Source
	Collector   Collector
	Fetcher     Fetcher
	FetcherName string // prometheus, static, demo: recorded with the scopes it finds
}
