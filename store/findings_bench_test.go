package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
)

// BenchmarkFindings sums up a month in which each of 300 scopes has 100 findings a day: 900,000 rows.
// In the month before, one kind and metric has 100 values a day, all days others: an identifier that no rule knows.
func BenchmarkFindings(b *testing.B) {
	const scopes, days = 300, 30
	for _, database := range []string{"sqlite", "postgres"} {
		b.Run(database, func(b *testing.B) {
			ctx := context.Background()
			url := benchDatabase(b, database)
			s, err := store.Open(ctx, url, true, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			if _, err := s.Migrate(ctx); err != nil {
				b.Fatal(err)
			}
			end := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
			begin := end.AddDate(0, 0, -days)
			fillFindings(b, database, url, scopes, days, begin)
			for _, c := range []struct {
				name string
				days int
				kind metering.FindingKind
			}{{"2 days", 2, ""}, {"2 days, unpriced", 2, metering.Unpriced}, {"7 days", 7, ""}, {"7 days, unpriced", 7, metering.Unpriced}, {"30 days", days, ""}} {
				r := period.Range{Begin: end.AddDate(0, 0, -c.days), End: end}
				b.Run(c.name, func(b *testing.B) {
					for b.Loop() {
						if all, err := s.Findings(ctx, r, c.kind); err != nil || len(all) < 20 {
							b.Fatal(len(all), err)
						}
					}
				})
			}
			b.Run("30 days, others each day", func(b *testing.B) {
				for b.Loop() {
					all, err := s.Findings(ctx, period.Range{Begin: begin.AddDate(0, 0, -days), End: begin}, "")
					if err != nil || len(all) != days*100 {
						b.Fatal(len(all), err)
					}
				}
			})
			b.Run("scopes of one", func(b *testing.B) {
				for b.Loop() {
					parts, err := s.FindingScopes(ctx, period.Range{Begin: begin, End: end}, metering.Unpriced, "metric3", "flavor = m3.huge")
					if err != nil || len(parts) != scopes {
						b.Fatal(len(parts), err)
					}
				}
			})
		})
	}
}

// fillFindings writes what commits would have summed up.
func fillFindings(b *testing.B, database, url string, scopes, days int, begin time.Time) {
	driver, dsn := "postgres", url
	if database == "sqlite" {
		driver, dsn = "sqlite", "file:"+strings.TrimPrefix(url, "sqlite://")
	}
	db, err := sqlx.Open(driver, dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	bind := func(t time.Time) any {
		if database == "sqlite" {
			return t.Unix()
		}
		return t
	}
	kinds := []metering.FindingKind{metering.Unpriced, metering.NotNumeric, metering.RoundedToNil, metering.Skipped, metering.SourceNote}
	t := db.MustBegin()
	for d := range days {
		day := begin.AddDate(0, 0, d)
		for scope := range scopes {
			var args []any
			for _, kind := range kinds {
				for i := range 20 {
					args = append(args, bind(day), scope+1, string(kind), fmt.Sprint("metric", i%5), fmt.Sprintf("flavor = m%d.huge", i), 24, 30, bind(day), bind(day.Add(23*time.Hour)))
				}
			}
			query := "INSERT INTO finding_days (day, scope, kind, metric, detail, windows, points, first_at, last_at) VALUES " +
				strings.Repeat(", (?, ?, ?, ?, ?, ?, ?, ?, ?)", len(args)/9)[2:]
			t.MustExec(db.Rebind(query), args...)
		}
	}
	t.MustExec("INSERT INTO finding_sums SELECT day, kind, metric, detail, SUM(windows), SUM(points), COUNT(*) FROM finding_days GROUP BY day, kind, metric, detail")
	for i := range days * 100 {
		t.MustExec(db.Rebind("INSERT INTO finding_sums VALUES (?, 'unpriced', 'metric1', ?, 24, 30, 1)"), bind(begin.AddDate(0, 0, i/100-days)), fmt.Sprintf("id = %032d", i))
	}
	if err := t.Commit(); err != nil {
		b.Fatal(err)
	}
	if database == "postgres" { // as autovacuum does in time
		db.MustExec("VACUUM ANALYZE finding_days, finding_sums")
	}
}
