package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/metering"
	"ratebook/period"
)

// Unpriced sums up the usage that no rule priced in the windows that begin in a range, by metric, the most points first.
// It reads sums of days, and findings themselves only for a day that an edge of the range cuts.
func (s *Store) Unpriced(ctx context.Context, r period.Range) (all []metering.UnpricedUsage, err error) {
	u := unpriced{byMetric: map[string]*metering.UnpricedUsage{}, scopes: map[metricScope]bool{}}
	days := findingDays(r)
	err = s.view(ctx, func(t *tx) error {
		for _, edge := range [...]time.Time{r.Begin, r.End} {
			day := period.Floor(edge, findingDay)
			if day.Equal(edge) || !slices.ContainsFunc(days, day.Equal) {
				continue
			}
			var one int
			found, err := t.get(ctx, &one, "SELECT 1 FROM finding_days WHERE day = ? AND kind = ? AND (first_at < ? OR last_at >= ?) LIMIT 1",
				at(day), metering.Unpriced, at(r.Begin), at(r.End))
			if err != nil {
				return err
			}
			if !found {
				continue
			}
			days = slices.DeleteFunc(days, day.Equal)
			if err := u.addDay(ctx, t, day, r); err != nil {
				return err
			}
		}
		for part := range slices.Chunk(days, mostDays) {
			query, args := in("SELECT metric, scope, SUM(points), MIN(first_at), MAX(last_at) FROM finding_days WHERE kind = ? AND day IN (?) GROUP BY metric, scope",
				metering.Unpriced, ats(part))
			if err := t.each(ctx, u.add, query, args...); err != nil {
				return err
			}
		}
		return nil
	})
	for _, m := range u.byMetric {
		all = append(all, *m)
	}
	slices.SortFunc(all, func(a, b metering.UnpricedUsage) int {
		return cmp.Or(cmp.Compare(b.Points, a.Points), strings.Compare(a.Metric, b.Metric))
	})
	return all, err
}

type metricScope struct {
	metric string
	scope  int64
}

type unpriced struct {
	byMetric map[string]*metering.UnpricedUsage
	scopes   map[metricScope]bool // that are counted
}

// addDay adds what findings say of the part of a UTC day that lies in a range.
func (u *unpriced) addDay(ctx context.Context, t *tx, day time.Time, r period.Range) error {
	var scopes []int64
	if err := t.list(ctx, &scopes, "SELECT DISTINCT scope FROM finding_days WHERE day = ? AND kind = ?", at(day), metering.Unpriced); err != nil {
		return err
	}
	begin, end := latest(day, r.Begin), earliest(day.Add(findingDay), r.End)
	for part := range slices.Chunk(scopes, 1000) {
		query, args := in(`SELECT metric, scope, SUM(points), MIN(begins_at), MAX(begins_at) FROM findings
			WHERE scope IN (?) AND begins_at >= ? AND begins_at < ? AND kind = ? GROUP BY metric, scope`, part, at(begin), at(end), metering.Unpriced)
		if err := t.each(ctx, u.add, query, args...); err != nil {
			return err
		}
	}
	return nil
}

// add adds a row.
func (u *unpriced) add(rows *sqlx.Rows) error {
	var (
		k           metricScope
		points      int64
		first, last timestamp
	)
	if err := rows.Scan(&k.metric, &k.scope, &points, &first, &last); err != nil {
		return fmt.Errorf("store: unpriced: %w", err)
	}
	m := u.byMetric[k.metric]
	if m == nil {
		m = &metering.UnpricedUsage{Metric: k.metric, First: first.Time, Last: last.Time}
		u.byMetric[k.metric] = m
	}
	m.Points += points
	if !u.scopes[k] {
		u.scopes[k] = true
		m.Scopes++
	}
	m.First, m.Last = earliest(m.First, first.Time), latest(m.Last, last.Time)
	return nil
}
