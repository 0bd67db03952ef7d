package app

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"ratebook/collect/demo"
	"ratebook/costs"
	"ratebook/export"
	"ratebook/fault"
	"ratebook/jobs"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
)

// demoWeeks is how much sample usage the demo rates.
const demoWeeks = 5

type demoCommand struct{}

// Run rates sample usage through the real pipeline, in a database that it throws away, and prints the month's costs.
func (c *demoCommand) Run(r *run) (err error) {
	folder, err := os.MkdirTemp("", "ratebook-demo-")
	if err != nil {
		return fmt.Errorf("there is no room for the demo's database: %w", err)
	}
	defer func() {
		if e := os.RemoveAll(folder); err == nil {
			err = e
		}
	}()
	database := databaseFlags{DatabaseURL: (&url.URL{Scheme: "sqlite", Path: filepath.Join(folder, "ratebook.db")}).String()}
	s, release, err := database.openWorker(r, holder("demo"))
	if err != nil {
		return err
	}
	defer release()

	began := time.Now()
	settings, err := s.UseSettings(r.ctx, store.Wanted{Period: time.Hour})
	if err != nil {
		return err
	}
	sum, err := prepareDemo(r, s, settings, began)
	if err != nil {
		return err
	}
	fmt.Fprintf(r.Out, "Rated %d weeks of sample usage in %.1f s: %d data points of %d scopes.\n", demoWeeks, time.Since(began).Seconds(), sum.Points, sum.Scopes)
	month := period.Range{Begin: period.Month.Start(began, settings.Zone), End: period.Month.Next(began, settings.Zone)}
	fmt.Fprintf(r.Out, "Costs of %s so far:\n", month.Begin.In(settings.Zone).Format("January 2006"))
	for _, group := range []string{costs.ScopeName, costs.Metric} {
		fmt.Fprintln(r.Out)
		q := &costs.Query{Range: month, Groups: []string{group}}
		table := export.NewTable(r.Out, q, settings.Zone, settings.Currency)
		total, err := s.Report(r.ctx, q, table.Row)
		if err != nil {
			return err
		}
		if err := table.Close(total); err != nil {
			return err
		}
	}
	return nil
}

// prepareDemo collects and rates the sample usage up to now.
func prepareDemo(r *run, s *store.Store, settings *metering.Settings, now time.Time) (*jobs.Summary, error) {
	ctx := r.ctx
	source := demo.New()
	src, err := s.UseSource(ctx, metering.Source{Name: defaultSource, Kind: demo.Kind, ScopeKey: settings.ScopeKey})
	if err != nil {
		return nil, err
	}
	if _, err := importMetrics(ctx, s, settings, "metrics.yml", demo.Metrics(), false, false); err != nil {
		return nil, err
	}
	if _, err := importRules(ctx, s, settings, "rules.yml", demo.Rules(now.In(settings.Zone)), false, false); err != nil {
		return nil, err
	}
	sources := []jobs.Source{{Source: src, Collector: source, Fetcher: source, FetcherName: demo.Kind}}
	plan := jobs.Plan{Settings: settings, WaitPeriods: 2, Start: now.AddDate(0, 0, -7*demoWeeks)}
	scopes, err := jobs.Discover(ctx, s, sources, plan, time.Time{}, now)
	if err != nil {
		return nil, err
	}
	if _, err := jobs.PlanWindows(ctx, s, plan, now, time.Time{}); err != nil {
		return nil, err
	}
	processor := &jobs.Processor{
		Ledger: s, Catalog: s, Sources: sources, Zone: settings.Zone, Holder: holder("demo"), Workers: runtime.NumCPU(), Lease: time.Minute, Log: r.log,
	}
	sum, err := processor.Process(ctx, jobs.Work{Once: true}, store.NewToken)
	if err != nil {
		return nil, err
	}
	if sum.Failed > 0 {
		return nil, fault.New(fault.Internal, "%d of the demo's windows failed: %v", sum.Failed, sum.Errors)
	}
	sum.Scopes = scopes
	return sum, nil
}
