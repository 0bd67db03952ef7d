package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/store"
)

// TestReprocessings follows a task of two scopes from its making to its end.
func TestReprocessings(t *testing.T) {
	for name, url := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			check := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			s, err := store.Open(ctx, url(t), true, slog.New(slog.DiscardHandler))
			check(err)
			defer s.Close()
			_, err = s.Migrate(ctx)
			check(err)
			_, err = s.UseSettings(ctx, store.Wanted{})
			check(err)
			src, err := s.UseSource(ctx, metering.Source{Name: "default", Kind: "prometheus", ScopeKey: "project_id"})
			check(err)
			config, err := s.Configure(ctx, &metering.Configuration{Metrics: []*metering.Metric{
				{Source: "default", Name: "cpu", Measured: "cpu", Unit: "h", Factor: money.One},
			}}, "test", "")
			check(err)
			begin := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
			_, err = s.AddScopes(ctx, src, "prometheus", []metering.Found{{ID: "a"}, {ID: "b"}}, begin)
			check(err)
			_, err = s.Plan(ctx, time.Hour, begin.Add(4*time.Hour))
			check(err)
			process := func(r metering.LeaseRequest) {
				r.Holder, r.For = "test", time.Hour
				leases, err := s.Lease(ctx, r)
				check(err)
				for _, l := range leases {
					b := &metering.Batch{Token: l.Token, Scopes: []*metering.Scope{l.Scope}, Run: l.Run, ConfigVersion: config, RulesVersion: 1, Task: l.Task}
					check(s.Commit(ctx, b))
					check(s.Release(ctx, b.Token, b.Scopes))
				}
			}
			process(metering.LeaseRequest{Scopes: 2})
			hours := period.Range{Begin: begin.Add(time.Hour), End: begin.Add(4 * time.Hour)}
			see := func(ids []string, newestFirst bool, want ...string) {
				t.Helper()
				check(s.AdvanceTasks(ctx))
				all, err := s.Reprocessings(ctx, ids, newestFirst, 10, 0)
				check(err)
				var got []string
				for _, r := range all {
					current := "none"
					if !r.Current.IsZero() {
						current = r.Current.Sub(begin).String()
					}
					got = append(got, fmt.Sprintf("%s %s %s", r.Scope, r.Reason, current))
					if r.Range != hours {
						t.Errorf("got %v", r.Range)
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
			make := func(reason string, scopes ...string) {
				_, err := s.CreateTask(ctx, &metering.NewTask{Kind: metering.Reprocess, ScopeIDs: scopes, Range: hours, Reason: reason, Author: "test"})
				check(err)
			}
			see(nil, true)
			make("both", "a", "b")
			see(nil, true, "b both none", "a both none")
			process(metering.LeaseRequest{Scopes: 2, Only: []string{"a"}, Until: begin.Add(3 * time.Hour), Again: true})
			see(nil, false, "a both 2h0m0s", "b both none")
			process(metering.LeaseRequest{Scopes: 2, Again: true})
			see([]string{"b", "x"}, true, "b both 4h0m0s")
			make("again", "a")
			see(nil, true, "a again none", "b both 4h0m0s", "a both 4h0m0s")
		})
	}
}
