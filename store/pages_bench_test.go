package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"ratebook/costs"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/store"
)

// The world of pages: one month of 1.8 million charges. 300 scopes x 5 metrics have one or two series at any time, of a
// few days each, 30,000 in all.
const (
	pageScopes  = 300
	pageMetrics = 5
	pageDays    = 30
)

// BenchmarkPages measures what pages ask of the store about a month: caches warm, one question after the other.
func BenchmarkPages(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		b.Run(database, func(b *testing.B) {
			ctx := context.Background()
			s, err := store.Open(ctx, benchDatabase(b, database), true, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			month := fillPages(b, s)
			day := period.Range{Begin: month.Begin.AddDate(0, 0, 14), End: month.Begin.AddDate(0, 0, 15)}
			cut := period.Range{Begin: month.Begin.Add(11 * time.Hour), End: month.End.Add(-12 * time.Hour)}
			for _, c := range []struct {
				name   string
				asked  period.Range
				bucket period.Bucket
				groups []string
			}{
				{"metric by day", month, period.Day, []string{"metric"}},
				{"scope by day", month, period.Day, []string{"scope"}},
				{"scope and metric by day", month, period.Day, []string{"scope", "metric"}},
				{"flavor by day", month, period.Day, []string{"flavor"}},
				{"id by day", month, period.Day, []string{"id"}},
				{"metric", month, period.Whole, []string{"metric"}},
				{"id", month, period.Whole, []string{"id"}},
				{"metric by hour of a day", day, period.Hour, []string{"metric"}},
				{"id by hour of a day", day, period.Hour, []string{"id"}},
				{"metric of a cut month", cut, period.Whole, []string{"metric"}},
			} {
				q := &costs.Query{Range: c.asked, Bucket: c.bucket, Groups: c.groups}
				b.Run(c.name, func(b *testing.B) {
					report := func() (rows int) {
						if _, err := s.Report(ctx, q, func(costs.Row) error { rows++; return nil }); err != nil || rows == 0 {
							b.Fatal(rows, err)
						}
						return rows
					}
					rows := report()
					for b.Loop() {
						report()
					}
					b.ReportMetric(float64(rows), "rows")
				})
			}
			week := period.Range{Begin: month.End.Add(-7*24*time.Hour - 13*time.Hour), End: month.End.Add(-13 * time.Hour)}
			for name, ask := range map[string]func() (int, error){
				"version": func() (int, error) {
					version, _, err := s.ReportVersion(ctx)
					return len(version), err
				},
				"scope states": func() (int, error) {
					states, err := s.ScopeStates(ctx)
					return len(states), err
				},
				"unpriced": func() (int, error) {
					unpriced, err := s.Unpriced(ctx, week)
					return len(unpriced), err
				},
			} {
				b.Run(name, func(b *testing.B) {
					for b.Loop() {
						if n, err := ask(); err != nil || n == 0 {
							b.Fatal(n, err)
						}
					}
				})
			}
		})
	}
}

// fillPages charges a month and returns it. One metric has no price.
func fillPages(b *testing.B, s *store.Store) period.Range {
	ctx := context.Background()
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	_, err := s.Migrate(ctx)
	check(err)
	begin := time.Date(2026, 8, 31, 22, 0, 0, 0, time.UTC)
	_, err = s.UseSettings(ctx, store.Wanted{Timezone: "Europe/Berlin"})
	check(err)
	src, err := s.UseSource(ctx, metering.Source{Name: "default", Kind: "prometheus", ScopeKey: "project_id"})
	check(err)
	c := &metering.Configuration{}
	for i := range pageMetrics {
		c.Metrics = append(c.Metrics, &metering.Metric{Source: "default", Name: fmt.Sprintf("metric%d", i), Measured: fmt.Sprintf("m%d", i), Unit: fmt.Sprintf("unit%d", i), Factor: money.One})
	}
	config, err := s.Configure(ctx, c, "bench", "")
	check(err)
	c, err = s.Configuration(ctx, 0)
	check(err)
	var found []metering.Found
	for i := range pageScopes {
		found = append(found, metering.Found{ID: fmt.Sprintf("scope-%03d", i)})
	}
	_, err = s.AddScopes(ctx, src, "prometheus", found, begin)
	check(err)
	_, err = s.Plan(ctx, time.Hour, begin.AddDate(0, 0, pageDays))
	check(err)
	for day := range pageDays {
		until := begin.AddDate(0, 0, day+1)
		for {
			leases, err := s.Lease(ctx, metering.LeaseRequest{Holder: "bench", For: time.Hour, Scopes: 50, Until: until})
			check(err)
			if len(leases) == 0 {
				break
			}
			batch := &metering.Batch{Token: leases[0].Token, Run: leases[0].Run, ConfigVersion: config, RulesVersion: 1, SourceVersion: "prometheus 2.42.0"}
			for _, l := range leases {
				batch.Scopes = append(batch.Scopes, l.Scope)
				for i := range batch.Run.Count {
					batch.Findings = append(batch.Findings, metering.Finding{Kind: metering.Unpriced, Scope: l.Scope, Window: i, Metric: "metric0", Points: 1})
				}
				for m, metric := range c.Metrics {
					// 20 series a month each, one begins every 36 hours and lives for 61
					for id := range 20 {
						from, to := id*36-24*day, id*36-24*day+61
						u := metering.Usage{Series: metering.Series{Scope: l.Scope, Metric: metric, Groupby: metering.Attributes{
							{Name: "flavor", Value: fmt.Sprintf("m1.flavor%d", id%12)},
							{Name: "id", Value: fmt.Sprintf("7f3a0000-0000-0000-%04d-%06d%06d", m, l.Scope.Ref, id)},
						}, Metadata: metering.Attributes{}}}
						for i := max(0, from); i < min(24, to); i++ {
							n := int64(day*24 + i + id + m)
							u.Samples = append(u.Samples, metering.Sample{Window: i, Qty: money.New(1000+n*7919%9000, 3), Price: money.New(n*7919%100000, 6)})
						}
						if len(u.Samples) > 0 {
							batch.Usage = append(batch.Usage, u)
						}
					}
				}
			}
			check(s.Commit(ctx, batch))
			check(s.Release(ctx, batch.Token, batch.Scopes))
		}
	}
	return period.Range{Begin: begin, End: begin.AddDate(0, 0, pageDays)}
}
