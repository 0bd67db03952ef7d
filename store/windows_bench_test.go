package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ratebook/costs"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/store"
)

// The world of CloudKitty's API: 1.8 million points, as in 250 scopes x 720 hours x 10 points.
const (
	apiScopes = 250
	apiHours  = 720
	apiPoints = 10
)

var apiMonth = period.Range{Begin: time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)}

// BenchmarkAPIReport measures the reports that /v2/summary and /v1/report/total ask for. cold is a process's first one.
func BenchmarkAPIReport(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		ctx := context.Background()
		url := benchDatabase(b, database)
		s, err := store.Open(ctx, url, true, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		apiWorld(b, s)
		report := func(b *testing.B, s *store.Store, q *costs.Query) {
			rows := 0
			total, err := s.Report(ctx, q, func(costs.Row) error { rows++; return nil })
			if err != nil || rows == 0 || total.Points != apiScopes*apiHours*apiPoints {
				b.Fatal(rows, total, err)
			}
		}
		for _, q := range []*costs.Query{
			{},
			{Groups: []string{"metric"}},
			{Groups: []string{"scope"}},
			{Windows: true},
			{Windows: true, Groups: []string{"scope"}},
			{Windows: true, Groups: []string{"metric"}},
			{Groups: []string{"metric"}, Extremes: true},
		} {
			q.Range = apiMonth
			name := strings.Join(append([]string{"month"}, q.Groups...), "+")
			if q.Windows {
				name += ", by window"
			}
			if q.Extremes {
				name += ", with extremes"
			}
			b.Run(database+"/"+name, func(b *testing.B) {
				report(b, s, q)
				for b.Loop() {
					report(b, s, q)
				}
			})
		}
		b.Run(database+"/month, by window, cold", func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				cold, err := store.Open(ctx, url, false, slog.New(slog.DiscardHandler))
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				report(b, cold, &costs.Query{Range: apiMonth, Windows: true})
				b.StopTimer()
				cold.Close()
				b.StartTimer()
			}
		})
		s.Close()
	}
}

// apiWorld fills a database.
func apiWorld(b *testing.B, s *store.Store) {
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
	c := &metering.Configuration{}
	for i := range apiPoints {
		c.Metrics = append(c.Metrics, &metering.Metric{
			Source: "default", Name: fmt.Sprintf("metric%d", i), Measured: fmt.Sprintf("m%d", i), Unit: fmt.Sprintf("unit%d", i%3),
			Groupby: []string{"id"}, Factor: money.One,
		})
	}
	config, err := s.Configure(ctx, c, "bench", "")
	check(err)
	c, err = s.Configuration(ctx, 0)
	check(err)
	var found []metering.Found
	for i := range apiScopes {
		found = append(found, metering.Found{ID: fmt.Sprintf("scope-%03d", i)})
	}
	_, err = s.AddScopes(ctx, src, "prometheus", found, apiMonth.Begin)
	check(err)
	_, err = s.Plan(ctx, time.Hour, apiMonth.End)
	check(err)
	for {
		leases, err := s.Lease(ctx, metering.LeaseRequest{Holder: "bench", For: time.Hour, Scopes: apiScopes, Until: apiMonth.End})
		check(err)
		if len(leases) == 0 {
			return
		}
		run := leases[0].Run
		batch := &metering.Batch{Token: leases[0].Token, Run: run, ConfigVersion: config, RulesVersion: 1, SourceVersion: "prometheus 2.42.0"}
		for _, l := range leases {
			if l.Run != run {
				b.Fatal(l.Run, run)
			}
			batch.Scopes = append(batch.Scopes, l.Scope)
			for k, m := range c.Metrics {
				u := metering.Usage{Series: metering.Series{
					Scope: l.Scope, Metric: m, Groupby: metering.Attributes{{Name: "id", Value: fmt.Sprintf("7f3a-%s-%d", l.Scope.ID, k)}}, Metadata: metering.Attributes{},
				}}
				for i := range run.Count {
					u.Samples = append(u.Samples, metering.Sample{Window: i, Qty: money.New(int64(1000+k*i%500), 3), Price: money.New(int64((k+1)*7919*(i+1)%100000), 6)})
				}
				batch.Usage = append(batch.Usage, u)
			}
		}
		check(s.Commit(ctx, batch))
		check(s.Release(ctx, batch.Token, batch.Scopes))
	}
}
