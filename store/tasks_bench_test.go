package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/store"
)

// BenchmarkCharges reads a month of one scope, 400 series x 720 h, in runs of 24 windows, as a re-rate does.
func BenchmarkCharges(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		b.Run(database, func(b *testing.B) {
			ctx := context.Background()
			s, err := store.Open(ctx, benchDatabase(b, database), true, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			w := newBenchWorld(b, s)
			begin := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
			var scope *metering.Scope
			for day := range 30 {
				scope = w.day(b, "scope-000", begin.AddDate(0, 0, day))
			}
			b.ReportAllocs()
			for b.Loop() {
				points := 0
				for day := range 30 {
					usage, err := s.Charges(ctx, []*metering.Scope{scope}, period.Run{Begin: begin.AddDate(0, 0, day), Length: time.Hour, Count: 24})
					if err != nil {
						b.Fatal(err)
					}
					for i := range usage {
						points += len(usage[i].Samples)
					}
				}
				if points != benchMetrics*benchResources*720 {
					b.Fatal(points)
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/month")
		})
	}
}

// day charges a day of one scope.
func (w *benchWorld) day(b *testing.B, id string, begin time.Time) *metering.Scope {
	ctx := context.Background()
	leases, err := w.s.Lease(ctx, metering.LeaseRequest{Holder: "bench", For: time.Hour, Scopes: 1, Only: []string{id}, Until: begin.AddDate(0, 0, 1)})
	if err != nil || len(leases) != 1 {
		b.Fatal(leases, err)
	}
	l := leases[0]
	batch := &metering.Batch{Token: l.Token, Scopes: []*metering.Scope{l.Scope}, Run: l.Run, ConfigVersion: w.config, RulesVersion: 1}
	for _, m := range w.metrics {
		for r := range benchResources {
			u := metering.Usage{Series: metering.Series{Scope: l.Scope, Metric: m, Groupby: metering.Attributes{
				{Name: "flavor", Value: fmt.Sprintf("m1.flavor%d", r%12)}, {Name: "id", Value: fmt.Sprintf("7f3a0000-0000-0000-0000-%012d", r)},
			}}}
			for i := range l.Run.Count {
				u.Samples = append(u.Samples, metering.Sample{Window: i, Qty: money.New(int64(1000+r*i%500), 3), Price: w.prices[(r*31+i)%1000]})
			}
			batch.Usage = append(batch.Usage, u)
		}
	}
	if err := w.s.Commit(ctx, batch); err != nil {
		b.Fatal(err)
	}
	if err := w.s.Release(ctx, l.Token, batch.Scopes); err != nil {
		b.Fatal(err)
	}
	return l.Scope
}

// BenchmarkTasks measures a task over 2,000 scopes x 120 windows: creating it, marking its windows, and looking at it while
// it runs and some of its windows fail.
func BenchmarkTasks(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		b.Run(database, func(b *testing.B) {
			ctx := context.Background()
			url := benchDatabase(b, database)
			s, err := store.Open(ctx, url, true, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			check := func(err error) {
				b.Helper()
				if err != nil {
					b.Fatal(err)
				}
			}
			_, err = s.Migrate(ctx)
			check(err)
			_, err = s.UseSettings(ctx, store.Wanted{})
			check(err)
			src, err := s.UseSource(ctx, metering.Source{Name: "default", Kind: "prometheus", ScopeKey: "project_id"})
			check(err)
			var found []metering.Found
			for i := range 2000 {
				found = append(found, metering.Found{ID: fmt.Sprintf("scope-%05d", i)})
			}
			begin := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
			_, err = s.AddScopes(ctx, src, "prometheus", found, begin)
			check(err)
			end := begin.Add(120 * time.Hour)
			_, err = s.Plan(ctx, time.Hour, end)
			check(err)
			raw := openRaw(b, url)
			_, err = raw.ExecContext(ctx, "UPDATE windows SET state = 5")
			check(err)
			n := &metering.NewTask{Kind: metering.Reprocess, AllScopes: true, Range: period.Range{Begin: begin, End: end}, Reason: "x", Author: "x"}
			for b.Loop() {
				began := time.Now()
				took := func(what string) {
					b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms-"+what)
					began = time.Now()
				}
				id, err := s.CreateTask(ctx, n)
				check(err)
				took("create")
				check(advanceAll(ctx, s))
				took("mark")
				_, err = raw.ExecContext(ctx, "UPDATE windows SET error = 'x' WHERE scope < 100")
				check(err)
				began = time.Now()
				task, err := s.Task(ctx, id)
				check(err)
				took("look")
				if task.Left != 240_000 || task.Failing == 0 {
					b.Fatalf("%+v", task)
				}
				check(s.AdvanceTasks(ctx))
				took("idle")
				check(s.CancelTask(ctx, id, "x"))
				check(advanceAll(ctx, s))
				took("cancel")
			}
		})
	}
}

// advanceAll marks all windows of running tasks, and takes away what marks others have left.
func advanceAll(ctx context.Context, s *store.Store) error {
	for {
		began := time.Now()
		if err := s.AdvanceTasks(ctx); err != nil || time.Since(began) < time.Second { // a longer call may have left something
			return err
		}
	}
}

// openRaw opens a benchmark's database beside the store.
func openRaw(b *testing.B, url string) *sql.DB {
	driver, dsn := "postgres", url
	if path, ok := strings.CutPrefix(url, "sqlite://"); ok {
		driver, dsn = "sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_txlock=immediate"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}
