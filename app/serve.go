package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ratebook/jobs"
)

// How often serve looks whether there is something to do.
const (
	discoverEvery = 10 * time.Minute
	planEvery     = time.Minute
	processEvery  = 5 * time.Second
	previewEvery  = 5 * time.Second
	retainEvery   = 24 * time.Hour
)

type serveCommand struct {
	processingFlags
	siteFlags
	apiFlags
	Listen           string        `default:"127.0.0.1:8080" help:"Address to listen on."`
	Drain            time.Duration `default:"0s" help:"How long /readyz says no before the listener closes at the end, for load balancers to look elsewhere."`
	MetricsListen    string        `placeholder:"ADDRESS" help:"Address of a listener of its own for /metrics, without authentication."`
	MetricsToken     string        `placeholder:"SECRET" help:"Bearer token with which /metrics answers on the main address."`
	MetricsTokenFile string        `placeholder:"FILE" help:"File that holds the token for /metrics."`
}

// Run serves pages and processes windows as they become due until it is told to stop, which is its orderly end.
func (c *serveCommand) Run(r *run) error {
	err := c.serve(r)
	if r.ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (c *serveCommand) serve(r *run) error {
	token, err := secret("metrics-token", c.MetricsToken, c.MetricsTokenFile)
	if err != nil {
		return err
	}
	config, err := c.config()
	if err != nil {
		return err
	}
	e, err := c.engine(r, "serve")
	if err != nil {
		return err
	}
	defer e.close()
	work, err := e.work(r, "serve")
	if err != nil {
		return err
	}
	monitor := newMonitoring(e.store, e.settings.Currency, e.sourceNames(), work.scheduler.Jobs)
	e.processor.Meter = jobs.Meters{monitor, work.throughput}
	if len(e.sources) == 0 {
		r.log.Warn("no source is configured, so nothing is collected; set --prometheus-url")
	}
	config.Listen, config.Drain = c.Listen, c.Drain
	if err := c.configure(&config, e.store, c.Listen); err != nil {
		return err
	}
	config.MetricsListen, config.MetricsToken, config.Metrics = c.MetricsListen, token, monitor.handler()
	return e.run(r, work, config, func(site, link string) {
		if link != "" {
			fmt.Fprintf(r.Err, "\nThere are no users yet. Whoever opens this link within an hour becomes the first administrator:\n\n  %s%s\n\n", site, link)
		}
	})
}

// work is what a process does by itself, and how it is doing.
type work struct {
	name       string // of the process
	scheduler  *jobs.Scheduler
	throughput *jobs.Throughput
}

// work returns what the command does by itself.
func (e *engine) work(r *run, command string) (*work, error) {
	scheduler, err := jobs.NewScheduler(r.log, e.jobs(r))
	return &work{name: holder(command), scheduler: scheduler, throughput: jobs.NewThroughput(time.Now)}, err
}

func (e *engine) sourceNames() (names []string) {
	for _, s := range e.sources {
		names = append(names, s.Name)
	}
	return names
}

// jobs is what serve does by itself. Without a source it leaves windows, and dry runs that collect, to processes that have one.
func (e *engine) jobs(r *run) []jobs.Job {
	retain := jobs.Job{Name: "drop old charges", Every: retainEvery, Run: func(ctx context.Context) error {
		return jobs.Retain(ctx, e.store, time.Now(), r.log)
	}}
	previews := jobs.Job{Name: "compute dry runs", Every: previewEvery, Run: e.processor.Previews}
	if len(e.sources) == 0 {
		return []jobs.Job{previews, retain}
	}
	var mu sync.Mutex // discovery and planning are jobs of their own, and both end in planned windows
	var discovered time.Time
	plan := func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		n, err := jobs.PlanWindows(ctx, e.store, e.plan, time.Now(), time.Time{})
		if n > 0 {
			r.log.Info("planned windows", "windows", n)
		}
		return err
	}
	return []jobs.Job{
		{Name: "discover scopes", Every: discoverEvery, Run: func(ctx context.Context) error {
			now := time.Now()
			added, err := jobs.Discover(ctx, e.store, e.sources, e.plan, discovered, now)
			if err != nil {
				return err
			}
			discovered = now
			if added > 0 {
				r.log.Info("found scopes", "new", added)
				return plan(ctx)
			}
			return nil
		}},
		{Name: "plan windows", Every: planEvery, Run: plan},
		{Name: "process windows", Every: processEvery, Run: func(ctx context.Context) error {
			sum, err := e.processor.Process(ctx, jobs.Work{})
			if sum.Done+sum.Empty+sum.Failed+sum.Redone > 0 {
				r.log.Info("processed windows", "done", sum.Done, "empty", sum.Empty, "failed", sum.Failed, "redone", sum.Redone, "points", sum.Points, "amount", sum.Amount)
			}
			return err
		}},
		previews,
		retain,
	}
}
