package app

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"time"

	"ratebook/collect/prometheus"
	"ratebook/fault"
	"ratebook/jobs"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
)

// processingFlags are common to serve and process.
type processingFlags struct {
	databaseFlags
	sourceFlags
	settingsFlags
	scriptFlags
	MetricsFile string        `placeholder:"FILE" help:"CloudKitty's metrics.yml, imported if the database has no metrics yet."`
	WaitPeriods int           `default:"2" help:"How many periods after its begin a window is due."`
	Start       string        `placeholder:"TIME" help:"First window of new scopes. Default: the beginning of the billing month."`
	Workers     int           `help:"How many batches are processed at a time. Default: one for each CPU."`
	Lease       time.Duration `default:"30s" help:"How long windows stay reserved when their worker dies."`
	Recheck     time.Duration `name:"recheck-after" placeholder:"DURATION" help:"How long after its end a window is checked for late usage, and charged again if there is any. Default: never."`
}

// engine is what serve and process share: an open database, the source and the processor.
type engine struct {
	store     *store.Store
	settings  *metering.Settings
	plan      jobs.Plan
	sources   []jobs.Source
	processor *jobs.Processor
	close     func()
}

func (f *processingFlags) engine(r *run, command string) (e *engine, err error) {
	if f.WaitPeriods < 0 {
		return nil, fault.New(fault.Invalid, "--wait-periods is %d; it can't be negative", f.WaitPeriods)
	}
	if f.Lease < time.Second {
		return nil, fault.New(fault.Invalid, "--lease is %s; it must be at least 1s", f.Lease)
	}
	if f.Recheck < 0 {
		return nil, fault.New(fault.Invalid, "--recheck-after is %s; it can't be negative", f.Recheck)
	}
	who := holder(command)
	s, unlock, err := f.openWorker(r, who)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			unlock()
		}
	}()
	settings, err := s.UseSettings(r.ctx, f.wanted())
	if err != nil {
		return nil, err
	}
	e = &engine{store: s, settings: settings, close: unlock}
	e.plan = jobs.Plan{Settings: settings, WaitPeriods: f.WaitPeriods}
	if f.Start != "" {
		if e.plan.Start, err = period.ParseTime(f.Start, settings.Zone); err != nil {
			return nil, fault.New(fault.Invalid, "--start: %v", err)
		}
		if from := settings.Retention.From(time.Now(), settings.Zone); e.plan.Start.Before(from) {
			r.log.Warn("new scopes begin later than --start says: charges from before are not kept", "start", e.plan.Start, "from", from)
		}
	}
	src, ok, err := f.source(r, s, settings)
	if err != nil {
		return nil, err
	}
	if ok {
		e.sources = []jobs.Source{src}
		if c, ok := src.Collector.(*prometheus.Collector); ok {
			e.close = func() { c.Client.Close(); unlock() }
		}
	}
	if err := f.firstMetrics(r.ctx, s, settings); err != nil {
		return nil, err
	}
	workers := f.Workers
	if workers <= 0 {
		workers = runtime.NumCPU()
	}
	scripts, err := f.scripts(r, workers)
	if err != nil {
		return nil, err
	}
	unused := e.close
	e.close = func() { scripts.Close(); unused() }
	e.processor = &jobs.Processor{
		Ledger: s, Catalog: s, Tasks: s, Archive: s, Sources: e.sources, Zone: settings.Zone, Holder: who, Workers: workers,
		Lease: f.Lease, Recheck: f.Recheck, Patience: databasePatience, Scripts: scripts, Log: r.log,
	}
	return e, nil
}

// firstMetrics imports the metrics file into a database without metrics.
func (f *processingFlags) firstMetrics(ctx context.Context, s *store.Store, settings *metering.Settings) error {
	if f.MetricsFile == "" {
		return nil
	}
	have, err := s.Configuration(ctx, 0)
	if err != nil || len(have.Metrics) > 0 {
		return err
	}
	content, err := readInput(f.MetricsFile)
	if err != nil {
		return err
	}
	_, err = importMetrics(ctx, s, settings, f.MetricsFile, content, false, false)
	return err
}

// readInput reads a file that a flag or argument names.
func readInput(file string) ([]byte, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s can't be read", file)
	}
	return content, nil
}

// databasePatience is how long process goes on trying while the database does not answer.
const databasePatience = time.Minute

type processCommand struct {
	processingFlags
	Until string   `placeholder:"TIME" help:"Leave out windows that end after this time."`
	Scope []string `placeholder:"ID" help:"Only this scope. Repeatable."`
}

// Run discovers, plans, computes the dry runs that wait, tries every due window once, drops what is old, and prints the summary.
func (c *processCommand) Run(r *run) error {
	e, err := c.engine(r, "process")
	if err != nil {
		return err
	}
	defer e.close()
	began := time.Now()
	work := jobs.Work{Only: c.Scope, Once: true}
	if c.Until != "" {
		until, err := period.ParseTime(c.Until, e.settings.Zone)
		if err != nil {
			return fault.New(fault.Invalid, "--until: %v", err)
		}
		work.Until = period.Floor(until, e.settings.Period)
	}
	if len(e.sources) == 0 {
		return fault.New(fault.Invalid, "there is no source to collect from; set --prometheus-url")
	}
	added, discovery := jobs.Discover(r.ctx, e.store, e.sources, e.plan, time.Time{}, began)
	if discovery != nil {
		r.log.Error("scopes could not be listed; going on with those that are known", "error", discovery)
	}
	var planned int64
	err = e.processor.Patiently(r.ctx, func() error {
		err := known(r.ctx, e.store, c.Scope)
		if err == nil {
			planned, err = jobs.PlanWindows(r.ctx, e.store, e.plan, began, work.Until)
		}
		return err
	})
	if err != nil {
		return err
	}
	previews := e.processor.Previews(r.ctx)
	if previews != nil {
		r.log.Error("dry runs could not be computed; going on with the windows that are due", "error", previews)
	}
	sum, err := e.processor.Process(r.ctx, work)
	if err != nil {
		return err
	}
	retention := jobs.Retain(r.ctx, e.store, time.Now(), r.log)
	if retention != nil {
		r.log.Error("what is older than it is to be kept could not be dropped", "error", retention)
	}
	sum.Scopes, sum.Planned, sum.Currency, sum.Took = added, planned, e.settings.Currency, time.Since(began).Milliseconds()
	for _, err := range [...]error{discovery, previews, retention} {
		if err != nil {
			sum.Errors[err.Error()]++
		}
	}
	out := json.NewEncoder(r.Out)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	if err := out.Encode(sum); err != nil {
		return err
	}
	if discovery != nil {
		return fault.Wrap(fault.Unavailable, discovery, "discovery failed")
	}
	if previews != nil {
		return fault.Wrap(fault.Unavailable, previews, "dry runs could not be computed")
	}
	if retention != nil {
		return fault.Wrap(fault.Unavailable, retention, "what is older than it is to be kept could not be dropped")
	}
	// asked of the ledger, for others may have tried them
	var failed int
	err = e.processor.Patiently(r.ctx, func() (err error) {
		failed, err = e.store.CountFailed(r.ctx, metering.LeaseRequest{Only: c.Scope, Until: work.Until})
		return err
	})
	if err != nil {
		return err
	}
	if failed > 0 {
		fmt.Fprintf(r.Err, "ratebook: failed, and still due: %s; the summary says why\n", count(failed, "window"))
		return silent{exitFailed}
	}
	return nil
}

// known says which of the scopes the database doesn't have.
func known(ctx context.Context, s *store.Store, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	scopes, err := s.Scopes(ctx)
	if err != nil {
		return err
	}
	have := map[string]bool{}
	for _, scope := range scopes {
		have[scope.ID] = true
	}
	for _, id := range ids {
		if !have[id] {
			return fault.New(fault.Invalid, "there is no scope %q", id)
		}
	}
	return nil
}
