package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"ratebook/access"
	"ratebook/collect/demo"
	"ratebook/fault"
	"ratebook/handlers"
	"ratebook/jobs"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
	"ratebook/web"
)

// demoWeeks is how much sample usage the demo rates at least; it begins with a month, so that this month can be compared.
const demoWeeks = 5

// demoLogin may do everything in the demo.
const demoLogin = "demo"

type demoCommand struct {
	Listen string `default:"127.0.0.1:8080" help:"Address to listen on."`
}

// Run rates sample usage through the real pipeline, in a database that it throws away, and shows it on pages until it is
// told to stop. It goes on with each new hour.
func (c *demoCommand) Run(r *run) (err error) {
	defer func() {
		if r.ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil
		}
	}()
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
	e, sum, err := prepareDemo(r, s, began)
	if err != nil {
		return err
	}
	password := strings.ToLower(rand.Text()[:16])
	hash, err := access.HashPassword(password)
	if err != nil {
		return err
	}
	if err := s.AddUser(r.ctx, access.User{Login: demoLogin, Role: access.Admin, PasswordHash: hash}, demoLogin); err != nil {
		return err
	}
	fmt.Fprintf(r.Out, "Rated %d days of sample usage in %.1f s: %d data points of %d scopes.\n",
		int(began.Sub(e.plan.Start).Hours()/24), time.Since(began).Seconds(), sum.Points, sum.Scopes)
	work, err := e.work(r, "demo")
	if err != nil {
		return err
	}
	e.processor.Meter = work.throughput
	scripts, err := (&scriptFlags{ScriptTimeout: scriptTimeout, ScriptMemory: scriptMemory}).scripts(r, runtime.NumCPU())
	if err != nil {
		return err
	}
	defer scripts.Close()
	e.processor.Scripts = scripts
	secret, digest := access.NewSecret()
	if _, err := s.AddToken(r.ctx, access.Token{Name: demoLogin, Role: access.Admin}, digest, demoLogin); err != nil {
		return err
	}
	config := web.Config{Listen: c.Listen, Areas: []web.Area{handlers.NewGallery()}, Tokens: s, Authenticator: web.TokenAuth{Tokens: s, Now: time.Now}}
	return e.run(r, work, config, func(site, _ string) {
		fmt.Fprintf(r.Out, "\n  open      %s/\n  login     %s\n  password  %s\n  API       curl -H 'X-Auth-Token: %s' '%s/v2/summary?groupby=type'\n\nCtrl-C ends the demo and removes its database.\n",
			site, demoLogin, password, secret, site)
	})
}

// prepareDemo collects and rates the sample usage up to now, and returns what goes on with it.
func prepareDemo(r *run, s *store.Store, now time.Time) (*engine, *jobs.Summary, error) {
	ctx := r.ctx
	settings, err := s.UseSettings(ctx, store.Wanted{Period: time.Hour})
	if err != nil {
		return nil, nil, err
	}
	source := demo.New()
	src, err := s.UseSource(ctx, metering.Source{Name: defaultSource, Kind: demo.Kind, ScopeKey: settings.ScopeKey})
	if err != nil {
		return nil, nil, err
	}
	if _, err := importMetrics(ctx, s, settings, "metrics.yml", demo.Metrics(), false, false); err != nil {
		return nil, nil, err
	}
	if _, err := importRules(ctx, s, settings, "rules.yml", demo.Rules(now.In(settings.Zone)), false, false); err != nil {
		return nil, nil, err
	}
	lastMonth := period.Month.Start(period.Month.Start(now, settings.Zone).Add(-time.Hour), settings.Zone)
	e := &engine{store: s, settings: settings, sources: []jobs.Source{{Source: src, Collector: source, Fetcher: source, FetcherName: demo.Kind}}}
	e.plan = jobs.Plan{Settings: settings, WaitPeriods: 2, Start: now.AddDate(0, 0, -7*demoWeeks)}
	if lastMonth.Before(e.plan.Start) {
		e.plan.Start = lastMonth
	}
	e.processor = &jobs.Processor{
		Ledger: s, Catalog: s, Tasks: s, Archive: s, Sources: e.sources, Zone: settings.Zone, Holder: holder("demo"), Workers: runtime.NumCPU(), Lease: time.Minute, Log: r.log,
	}
	scopes, err := jobs.Discover(ctx, s, e.sources, e.plan, time.Time{}, now)
	if err != nil {
		return nil, nil, err
	}
	if _, err := jobs.PlanWindows(ctx, s, e.plan, now, time.Time{}); err != nil {
		return nil, nil, err
	}
	sum, err := e.processor.Process(ctx, jobs.Work{Once: true})
	if err != nil {
		return nil, nil, err
	}
	if sum.Failed > 0 {
		return nil, nil, fault.New(fault.Internal, "%d of the demo's windows failed: %v", sum.Failed, sum.Errors)
	}
	sum.Scopes = scopes
	return e, sum, nil
}
