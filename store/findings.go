package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/metering"
	"ratebook/period"
)

// Findings sums up what was noticed on the UTC days that a range touches, by kind, metric and detail, in the order of
// these, the most points of a metric first. An empty kind is all kinds that are recorded with windows.
func (s *Store) Findings(ctx context.Context, r period.Range, kind metering.FindingKind) ([]metering.FindingSum, error) {
	if r.Empty() {
		return nil, nil
	}
	query, args := "day >= ? AND day < ?", []any{at(period.Floor(r.Begin, findingDay)), at(r.End)}
	if kind != "" {
		query, args = query+" AND kind = ?", append(args, kind)
	}
	var all []metering.FindingSum
	err := s.view(ctx, func(t *tx) error {
		return t.each(ctx, func(rows *sqlx.Rows) error {
			var (
				f           metering.FindingSum
				first, last timestamp
			)
			if err := rows.Scan(&f.Kind, &f.Metric, &f.Detail, &f.Windows, &f.Points, &f.Scopes, &first, &last); err != nil {
				return fmt.Errorf("store: findings: %w", err)
			}
			f.First, f.Last = first.Time, last.Time
			all = append(all, f)
			return nil
		}, `SELECT kind, metric, detail, SUM(windows), SUM(points), MAX(scopes), MIN(day), MAX(day) FROM finding_sums
			WHERE `+query+" GROUP BY kind, metric, detail", args...)
	})
	slices.SortFunc(all, func(a, b metering.FindingSum) int {
		return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Metric, b.Metric), cmp.Compare(b.Points, a.Points),
			strings.Compare(a.Detail, b.Detail))
	})
	return all, err
}

// FindingScopes says which scopes have a part in one of these findings, the most points first. For SeriesGrowth, whose
// detail is empty, it counts the new series of a metric.
func (s *Store) FindingScopes(ctx context.Context, r period.Range, kind metering.FindingKind, metric, detail string) ([]metering.FindingScope, error) {
	what, more := `scope, windows, points, first_at, last_at FROM finding_days WHERE kind = ? AND metric = ? AND detail = ?`, []any{kind, metric, detail}
	if kind == metering.SeriesGrowth {
		what, more = "scope, 0, series, day, day FROM new_series_days WHERE metric = (SELECT id FROM metrics WHERE name = ?)", []any{metric}
	}
	scopes := map[int64]*metering.FindingScope{}
	err := s.view(ctx, func(t *tx) error {
		for part := range slices.Chunk(findingDays(r), mostDays) {
			query, args := in("SELECT "+what+" AND day IN (?)", append(slices.Clip(more), ats(part))...)
			err := t.each(ctx, func(rows *sqlx.Rows) error {
				var (
					f           metering.FindingScope
					first, last timestamp
				)
				if err := rows.Scan(&f.Scope, &f.Windows, &f.Points, &first, &last); err != nil {
					return fmt.Errorf("store: findings: %w", err)
				}
				sum := scopes[f.Scope]
				if sum == nil {
					sum = &metering.FindingScope{Scope: f.Scope, First: first.Time}
					scopes[f.Scope] = sum
				}
				sum.Windows += f.Windows
				sum.Points += f.Points
				sum.First, sum.Last = earliest(sum.First, first.Time), latest(sum.Last, last.Time)
				return nil
			}, query, args...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	all := make([]metering.FindingScope, 0, len(scopes))
	for _, f := range scopes {
		all = append(all, *f)
	}
	slices.SortFunc(all, func(a, b metering.FindingScope) int {
		return cmp.Or(cmp.Compare(b.Points, a.Points), cmp.Compare(a.Scope, b.Scope))
	})
	return all, err
}

// SeriesGrowth returns the days of a range's UTC days on which metrics had remarkably many new series, by metric and day.
// Points are only summed by billing day: those of the one that has most of the UTC day stand for it. The day of a metric's
// first sample is none of them, since everything is new then.
func (s *Store) SeriesGrowth(ctx context.Context, r period.Range) (all []metering.GrowthDay, err error) {
	settings, err := s.currentSettings(ctx)
	if err != nil {
		return nil, err
	}
	type grown struct {
		Metric string
		Ref    int64
		First  timestamp
		Day    timestamp
		Series int64
		Scopes int
	}
	billingDay := func(g *grown) string { return civilDay(g.Day.Add(findingDay/2), settings.Zone).String() }
	err = s.view(ctx, func(t *tx) error {
		for part := range slices.Chunk(findingDays(r), mostDays) {
			var days []grown
			err := t.list(ctx, &days, `SELECT m.name AS metric, n.metric AS ref, m.first_sample AS first, n.day, n.series, n.scopes FROM (
					SELECT day, metric, SUM(series) AS series, COUNT(*) AS scopes FROM new_series_days WHERE day >= ? AND day <= ?
					GROUP BY day, metric HAVING SUM(series) >= ?
				) n JOIN metrics m ON m.id = n.metric`, at(part[0]), at(part[len(part)-1]), metering.MinNewSeries)
			if err != nil {
				return err
			}
			days = slices.DeleteFunc(days, func(g grown) bool { return period.Floor(g.First.Time, findingDay).Equal(g.Day.Time) })
			if len(days) == 0 {
				continue
			}
			dates := map[string]bool{}
			for i := range days {
				dates[billingDay(&days[i])] = true
			}
			points, err := t.dayPoints(ctx, slices.Sorted(maps.Keys(dates)))
			if err != nil {
				return err
			}
			for _, g := range days {
				n := points[dayMetric{billingDay(&g), g.Ref}]
				if 10*g.Series > n {
					all = append(all, metering.GrowthDay{Metric: g.Metric, Day: g.Day.Time, Series: g.Series, Points: n, Scopes: g.Scopes})
				}
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b metering.GrowthDay) int {
		return cmp.Or(strings.Compare(a.Metric, b.Metric), a.Day.Compare(b.Day))
	})
	return all, err
}

type dayMetric struct {
	day    string // of the billing zone
	metric int64
}

// dayPoints returns how many points metrics have on billing days.
func (t *tx) dayPoints(ctx context.Context, days []string) (map[dayMetric]int64, error) {
	var rows []struct {
		Day    civil
		Metric int64
		Points int64
	}
	query, args := in("SELECT day, metric, SUM(points) AS points FROM scope_metric_days WHERE day IN (?) GROUP BY day, metric", days)
	if err := t.list(ctx, &rows, query, args...); err != nil {
		return nil, err
	}
	points := map[dayMetric]int64{}
	for _, r := range rows {
		points[dayMetric{r.Day.String(), r.Metric}] = r.Points
	}
	return points, nil
}

// mostDays is how many days one statement asks for.
const mostDays = 1000

// findingDays returns the begins of the UTC days that a range touches.
func findingDays(r period.Range) (days []time.Time) {
	if r.Empty() {
		return nil
	}
	for day := period.Floor(r.Begin, findingDay); day.Before(r.End); day = day.Add(findingDay) {
		days = append(days, day)
	}
	return days
}

// ats binds times.
func ats(times []time.Time) []any {
	all := make([]any, len(times))
	for i, t := range times {
		all[i] = at(t)
	}
	return all
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
