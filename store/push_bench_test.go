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

// BenchmarkPush measures requests of 100,000 points: hourly frames of 1,000 points of a scope each; the same series hour by hour, and
// such that are all new.
func BenchmarkPush(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		for _, fresh := range []bool{false, true} {
			name := database + "/known series"
			if fresh {
				name = database + "/new series"
			}
			b.Run(name, func(b *testing.B) {
				ctx := context.Background()
				s, err := store.Open(ctx, benchDatabase(b, database), true, slog.New(slog.DiscardHandler))
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				if _, err := s.Migrate(ctx); err != nil {
					b.Fatal(err)
				}
				if _, err := s.UseSettings(ctx, store.Wanted{}); err != nil {
					b.Fatal(err)
				}
				begin := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
				var took time.Duration
				push := func(round int) {
					p := pushOf(begin.Add(time.Duration(round)*10*time.Hour), 10, 10, 1000, round, fresh)
					began := time.Now()
					done, err := s.Push(ctx, p)
					if err != nil || done.Points != 100_000 {
						b.Fatal(done, err)
					}
					took += time.Since(began)
				}
				push(0)
				took = 0
				rounds := 0
				for b.Loop() {
					rounds++
					push(rounds)
				}
				b.ReportMetric(100_000*float64(rounds)/took.Seconds(), "points/s")
			})
		}
	}
}

// pushOf is a push of hourly frames, each with points of some scopes.
func pushOf(begin time.Time, hours, scopes, points, round int, fresh bool) *metering.Push {
	p := &metering.Push{Author: "bench"}
	for h := range hours {
		f := metering.PushedFrame{Begin: begin.Add(time.Duration(h) * time.Hour), End: begin.Add(time.Duration(h+1) * time.Hour)}
		for s := range scopes {
			for i := range points {
				id := fmt.Sprintf("7f3a0000-0000-0000-0000-%012d", i)
				if fresh {
					id = fmt.Sprintf("7f3a0000-0000-%04d-%04d-%012d", round, h, i)
				}
				f.Points = append(f.Points, metering.PushedPoint{
					Scope: fmt.Sprintf("scope-%03d", s), Metric: fmt.Sprintf("metric%d", i%4), Unit: "GiB",
					Qty: money.New(int64(1000+i), 3), Price: money.New(int64(i*7919%100_000), 6),
					Groupby:  metering.Attributes{{Name: "flavor", Value: fmt.Sprintf("m1.flavor%d", i%12)}, {Name: "id", Value: id}},
					Metadata: metering.Attributes{{Name: "vcpus", Value: "4"}},
				})
			}
		}
		p.Frames = append(p.Frames, f)
	}
	return p
}

// BenchmarkFrames measures pages of 1,000 frames of a month of 1.8 million charges, asked for again and again.
func BenchmarkFrames(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		b.Run(database, func(b *testing.B) {
			ctx := context.Background()
			s, err := store.Open(ctx, benchDatabase(b, database), true, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			month := fillPages(b, s)
			cut := period.Range{Begin: month.Begin.Add(11 * time.Hour), End: month.End.Add(-12 * time.Hour)}
			for _, c := range []struct {
				name    string
				asked   period.Range
				offset  int
				filters []costs.Filter
			}{
				{"first", month, 0, nil},
				{"first of a cut month", cut, 0, nil},
				{"deep", month, 200_000, nil},
				{"one scope", month, 300, []costs.Filter{{Key: costs.Scope, Values: []string{"scope-042"}}}},
				{"one metric", month, 0, []costs.Filter{{Key: costs.Metric, Values: []string{"metric3"}}}},
				{"one metric, deep", month, 200_000, []costs.Filter{{Key: costs.Metric, Values: []string{"metric3"}}}},
				{"one flavor", month, 0, []costs.Filter{{Key: "flavor", Values: []string{"m1.flavor3"}}}},
			} {
				b.Run(c.name, func(b *testing.B) {
					page := func() (points int) {
						total, err := s.Frames(ctx, &costs.FrameQuery{Range: c.asked, Filters: c.filters, Offset: c.offset, Limit: 1000}, func(f *costs.Frame) error {
							points += len(f.Points)
							return nil
						})
						if err != nil || total == 0 || points == 0 {
							b.Fatal(total, points, err)
						}
						return points
					}
					points := page()
					for b.Loop() {
						page()
					}
					b.ReportMetric(float64(points), "points")
				})
			}
		})
	}
}
