package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"ratebook/costs"
	"ratebook/e2e/testserver"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/store"
)

// The commit benchmark's world: 80,000 series, as in 200 scopes x 4 metrics x 100 resources.
const (
	benchScopes    = 200
	benchMetrics   = 4
	benchResources = 100
)

// BenchmarkCommit measures everything that a commit stores (series, charges, all roll-ups, ledger), on one connection.
// catch-up commits 24 windows of 10 scopes at a time; steady one window of 250 scopes or so, as the batch size comes out.
func BenchmarkCommit(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		for _, mode := range []struct {
			name            string
			scopes, windows int
		}{{"catch-up", 10, 24}, {"steady", benchScopes, 1}} {
			b.Run(database+"/"+mode.name, func(b *testing.B) {
				benchCommit(b, benchDatabase(b, database), mode.scopes, mode.windows)
			})
		}
	}
}

func benchCommit(b *testing.B, url string, scopesPerBatch, windows int) {
	ctx := context.Background()
	s, err := store.Open(ctx, url, true, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	w := newBenchWorld(b, s)
	// a day before, so that series are known and packs exist
	day := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	points, commits := 0, 0
	var took time.Duration
	for round := 0; b.Loop(); round++ {
		b.StopTimer()
		if round == 0 {
			w.round(b, day, 10, 1, nil)
			day = day.Add(time.Hour)
		}
		w.round(b, day, scopesPerBatch, windows, func(batch *metering.Batch) {
			b.StartTimer()
			began := time.Now()
			if err := s.Commit(ctx, batch); err != nil {
				b.Fatal(err)
			}
			took += time.Since(began)
			b.StopTimer()
			points += batch.Points()
			commits++
		})
		day = day.Add(time.Duration(windows) * time.Hour)
		b.StartTimer()
	}
	b.ReportMetric(float64(points)/took.Seconds(), "points/s")
	b.ReportMetric(took.Seconds()*1000/float64(commits), "ms/commit")
}

// BenchmarkReport measures reports over 1.92 million charges of one day: 80,000 series x 24 windows. The labels of series
// are cached; cold is a process's first report, which reads them.
func BenchmarkReport(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		ctx := context.Background()
		url := benchDatabase(b, database)
		s, err := store.Open(ctx, url, true, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		w := newBenchWorld(b, s)
		day := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
		w.round(b, day, 10, 24, nil)
		report := func(b *testing.B, s *store.Store, groups ...string) {
			q := &costs.Query{Range: period.Range{Begin: day, End: day.AddDate(0, 0, 1)}, Groups: groups}
			rows := 0
			if _, err := s.Report(ctx, q, func(costs.Row) error { rows++; return nil }); err != nil || rows == 0 {
				b.Fatal(rows, err)
			}
		}
		for _, groups := range [][]string{{"metric"}, {"scope"}, {"flavor"}, {"region"}, {"id"}, {"scope", "flavor"}} {
			b.Run(database+"/"+strings.Join(groups, "+"), func(b *testing.B) {
				report(b, s, groups...)
				for b.Loop() {
					report(b, s, groups...)
				}
			})
		}
		b.Run(database+"/flavor, cold", func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				cold, err := store.Open(ctx, url, false, slog.New(slog.DiscardHandler))
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				report(b, cold, "flavor")
				b.StopTimer()
				cold.Close()
				b.StartTimer()
			}
		})
		s.Close()
	}
}

// benchDatabase returns the URL of an empty database, PostgreSQL as an operator would set it up: safe, and with room for a
// day's writes between checkpoints.
func benchDatabase(b *testing.B, kind string) string {
	if kind == "sqlite" {
		return "sqlite://" + b.TempDir() + "/bench.db"
	}
	return testserver.PostgresServer(b, "fsync=on", "synchronous_commit=on", "full_page_writes=on",
		"shared_buffers=2GB", "max_wal_size=8GB", "checkpoint_timeout=15min").Create(b, "bench")
}

type benchWorld struct {
	s       *store.Store
	metrics []*metering.Metric
	config  int64
	prices  []money.Decimal
}

func newBenchWorld(b *testing.B, s *store.Store) *benchWorld {
	ctx := context.Background()
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	_, err := s.Migrate(ctx)
	check(err)
	_, err = s.UseSettings(ctx, store.Wanted{})
	check(err)
	src, err := s.UseSource(ctx, metering.Source{Name: "default", Kind: "prometheus", ScopeKey: "project_id"})
	check(err)
	w := &benchWorld{s: s}
	c := &metering.Configuration{}
	for i := range benchMetrics {
		c.Metrics = append(c.Metrics, &metering.Metric{
			Source: "default", Name: fmt.Sprintf("metric%d", i), Measured: fmt.Sprintf("m%d", i), Unit: "unit",
			Groupby: []string{"id", "flavor", "region"}, Factor: money.One,
		})
	}
	w.config, err = s.Configure(ctx, c, "bench", "")
	check(err)
	c, err = s.Configuration(ctx, 0)
	check(err)
	w.metrics = c.Metrics
	var found []metering.Found
	for i := range benchScopes {
		found = append(found, metering.Found{ID: fmt.Sprintf("scope-%03d", i)})
	}
	_, err = s.AddScopes(ctx, src, "prometheus", found, time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC))
	check(err)
	_, err = s.Plan(ctx, time.Hour, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))
	check(err)
	for i := range 1000 {
		w.prices = append(w.prices, money.New(int64(i*7919%100000), 6))
	}
	return w
}

// round leases the run of windows from begin on of every scope, in batches, and gives each to commit.
func (w *benchWorld) round(b *testing.B, begin time.Time, scopesPerBatch, windows int, commit func(*metering.Batch)) {
	ctx := context.Background()
	if commit == nil {
		commit = func(batch *metering.Batch) {
			if err := w.s.Commit(ctx, batch); err != nil {
				b.Fatal(err)
			}
		}
	}
	run := period.Run{Begin: begin, Length: time.Hour, Count: windows}
	for range benchScopes / scopesPerBatch {
		leases, err := w.s.Lease(ctx, metering.LeaseRequest{Holder: "bench", For: time.Hour, Scopes: scopesPerBatch, Until: run.Range().End})
		if err != nil || len(leases) != scopesPerBatch {
			b.Fatal(len(leases), err)
		}
		for _, l := range leases {
			if l.Run != run {
				b.Fatal(l.Run, run)
			}
		}
		batch := w.batch(leases, run)
		commit(batch)
		if err := w.s.Release(ctx, batch.Token, batch.Scopes); err != nil {
			b.Fatal(err)
		}
	}
}

// batch returns the usage of leases that have the same run.
func (w *benchWorld) batch(leases []metering.Lease, run period.Run) *metering.Batch {
	batch := &metering.Batch{Token: leases[0].Token, Run: run, ConfigVersion: w.config, RulesVersion: 1, SourceVersion: "prometheus 2.42.0"}
	for _, l := range leases {
		batch.Scopes = append(batch.Scopes, l.Scope)
		for _, m := range w.metrics {
			for r := range benchResources {
				u := metering.Usage{Series: metering.Series{Scope: l.Scope, Metric: m, Groupby: metering.Attributes{
					{Name: "flavor", Value: fmt.Sprintf("m1.flavor%d", r%12)},
					{Name: "id", Value: fmt.Sprintf("7f3a0000-0000-0000-0000-%012d", r)},
					{Name: "region", Value: "RegionOne"},
				}, Metadata: metering.Attributes{}}}
				for i := range run.Count {
					u.Samples = append(u.Samples, metering.Sample{Window: i, Qty: money.New(int64(1000+r*i%500), 3), Price: w.prices[(r*31+i)%1000]})
				}
				batch.Usage = append(batch.Usage, u)
			}
		}
	}
	return batch
}

// BenchmarkRerate measures pricing a scope's month again, with every price changed: 400 series x 720 hours, each 24 of which are
// read and then committed with other prices. A processor reads while it commits; see TestBenchRerate in e2e.
func BenchmarkRerate(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		b.Run(database, func(b *testing.B) {
			ctx := context.Background()
			check := func(err error) {
				b.Helper()
				if err != nil {
					b.Fatal(err)
				}
			}
			s, err := store.Open(ctx, benchDatabase(b, database), true, slog.New(slog.DiscardHandler))
			check(err)
			defer s.Close()
			w := newBenchWorld(b, s)
			month := period.Range{Begin: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)}
			r := metering.LeaseRequest{Holder: "bench", For: time.Hour, Scopes: 1, Only: []string{"scope-000"}, Until: month.End}
			for {
				leases, err := s.Lease(ctx, r)
				check(err)
				if len(leases) == 0 {
					break
				}
				batch := w.batch(leases, leases[0].Run)
				check(s.Commit(ctx, batch))
				check(s.Release(ctx, batch.Token, batch.Scopes))
			}
			r.Again = true
			points := 0
			var longest time.Duration
			for b.Loop() {
				b.StopTimer()
				_, err := s.CreateTask(ctx, &metering.NewTask{Kind: metering.Rerate, ScopeIDs: r.Only, Range: month, Reason: "bench", Author: "bench"})
				check(err)
				check(s.AdvanceTasks(ctx))
				b.StartTimer()
				for {
					leases, err := s.Lease(ctx, r)
					check(err)
					if len(leases) == 0 {
						break
					}
					l := &leases[0]
					for from := 0; from < l.Run.Count; from += metering.MaxLeaseWindows {
						run := period.Run{Begin: l.Run.Window(from).Begin, Length: l.Run.Length, Count: min(metering.MaxLeaseWindows, l.Run.Count-from)}
						batch := &metering.Batch{Token: l.Token, Scopes: []*metering.Scope{l.Scope}, Run: run, ConfigVersion: l.Config, RulesVersion: l.Rules + 1, Task: l.Task}
						batch.Before, err = s.Charges(ctx, batch.Scopes, batch.Run)
						check(err)
						batch.Usage = slices.Clone(batch.Before)
						for i := range batch.Usage {
							u := &batch.Usage[i]
							u.Scope, batch.Before[i].Scope = l.Scope, l.Scope
							u.Samples = slices.Clone(u.Samples)
							for k := range u.Samples {
								u.Samples[k].Price = u.Samples[k].Price.Add(money.New(1, 6))
							}
						}
						began := time.Now()
						check(s.Commit(ctx, batch))
						longest = max(longest, time.Since(began))
						points += batch.Points()
					}
					check(s.Release(ctx, l.Token, []*metering.Scope{l.Scope}))
				}
				b.StopTimer()
				check(s.AdvanceTasks(ctx)) // it is finished
				b.StartTimer()
			}
			if points != 288_000*b.N {
				b.Fatal(points, "points")
			}
			b.ReportMetric(float64(longest.Microseconds())/1000, "ms/longest-commit")
		})
	}
}
