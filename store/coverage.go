package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
)

// coverageScopes is how many scopes one statement counts the windows of.
const coverageScopes = 1000

// windowCounts is SQL for how the windows of scope s that begin from since up to until stand, as one text: how many there
// are, and the begin of the first; how many are due or failed, those that a worker has apart; how many wait to be done
// again; how many are waived, empty, or were done again. Each line reads an index alone, and all but the first only the few
// windows that are not simply done. Its parameters are four times the time now.
func (d *dialect) windowCounts(since, until string) string {
	from := " FROM windows w WHERE w.scope = s.id AND w.begins_at >= " + since + " AND w.begins_at < " + until
	const leased = "COALESCE(s.lease_until > ? AND w.next_attempt <= ?, false)"
	return `concat_ws(' ',
		(SELECT concat_ws(' ', COUNT(*), COALESCE(` + d.seconds("MIN(w.begins_at)") + `, 0))` + from + `),
		(SELECT concat_ws(' ', COUNT(*) FILTER (WHERE w.state = 0 AND NOT ` + leased + `), COUNT(*) FILTER (WHERE w.state = 3 AND NOT ` + leased + `), COUNT(*))` + from + ` AND w.state IN (0, 3)),
		(SELECT COUNT(*)` + from + ` AND w.task IS NOT NULL),
		(SELECT concat_ws(' ', COUNT(*) FILTER (WHERE w.state = 4), COUNT(*) FILTER (WHERE w.state = 5), COUNT(w.redone_by), '')` + from + ` AND (w.state IN (4, 5) OR w.redone_by IS NOT NULL)))`
}

// readCounts reads such a text; there may be no window.
func readCounts(text string) (c metering.Coverage, err error) {
	left := sumText{rest: []byte(text)}
	next := func() int { return int(left.integer()) }
	all := next()
	c.First = time.Unix(int64(next()), 0).UTC()
	n := &c.Counts
	n[metering.Due], n[metering.Failed] = next(), next()
	n[metering.Leased] = next() - n[metering.Due] - n[metering.Failed]
	c.Again = next()
	n[metering.Waived], n[metering.Empty] = next(), next()
	c.Redone = next()
	n[metering.Done] = all - n[metering.Due] - n[metering.Failed] - n[metering.Leased] - n[metering.Waived] - n[metering.Empty]
	return c, left.err
}

// Coverage counts the windows of scopes that begin in each of the cells by state, in order of scope and cell; cells without
// a window are left out. Due and failed windows whose turn has come are leased while a worker has their scope.
func (s *Store) Coverage(ctx context.Context, scopes []int64, cells []period.Range) (all []metering.Coverage, err error) {
	if len(scopes) == 0 || len(cells) == 0 {
		return nil, nil
	}
	var none [metering.Empty + 1]int
	now := at(time.Now())
	row := ", (CAST(? AS integer), " + s.d.bindTime + ", " + s.d.bindTime + ")"
	query := "WITH cells(i, since, until) AS (VALUES " + strings.Repeat(row, len(cells))[2:] + `)
		SELECT s.id, c.i, ` + s.d.windowCounts("c.since", "c.until") + `
		FROM scopes s CROSS JOIN cells c WHERE s.id IN (?) ORDER BY s.id, c.i`
	var bounds []any
	for i, c := range cells {
		bounds = append(bounds, i, at(c.Begin), at(c.End))
	}
	bounds = append(bounds, now, now, now, now)
	err = s.view(ctx, func(t *tx) error {
		for part := range slices.Chunk(scopes, coverageScopes) {
			query, args := in(query, append(slices.Clip(bounds), part)...)
			err := t.each(ctx, func(rows *sqlx.Rows) error {
				var (
					scope  int64
					cell   int
					counts string
				)
				if err := rows.Scan(&scope, &cell, &counts); err != nil {
					return fmt.Errorf("store: coverage: %w", err)
				}
				c, err := readCounts(counts)
				if c.Scope, c.Cell = scope, cell; c.Counts != none {
					all = append(all, c)
				}
				return err
			}, query, args...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// StateCounts counts the windows of all scopes that begin in a range by state; which are leased is as in Coverage.
func (s *Store) StateCounts(ctx context.Context, r period.Range) (counts [metering.Empty + 1]int, err error) {
	now := at(time.Now())
	query := "WITH cells(since, until) AS (VALUES (" + s.d.bindTime + ", " + s.d.bindTime + ")) SELECT " + s.d.windowCounts("c.since", "c.until") + " FROM scopes s CROSS JOIN cells c"
	err = s.view(ctx, func(t *tx) error {
		return t.each(ctx, func(rows *sqlx.Rows) error {
			var text string
			if err := rows.Scan(&text); err != nil {
				return fmt.Errorf("store: states of windows: %w", err)
			}
			c, err := readCounts(text)
			for state, n := range c.Counts {
				counts[state] += n
			}
			return err
		}, query, at(r.Begin), at(r.End), now, now, now, now)
	})
	return counts, err
}

// OpenWindows counts the due and failed windows of a selection by scope, in order of scopes, and, as Again, those that are done and
// that a task or a late re-check has failed to do again: all that can be waived or left as it is. Scopes without any are left out.
// Whether a worker has some of them makes no difference. It reads the open windows, not the ledger.
func (s *Store) OpenWindows(ctx context.Context, sel metering.WindowSelection) (all []metering.Coverage, err error) {
	var byScope map[int64]*metering.Coverage
	count := func(t *tx, which string, args ...any) error {
		query, args := in("SELECT scope, COUNT(*) FILTER (WHERE state = 0), COUNT(*) FILTER (WHERE state = 3), COUNT(*) FILTER (WHERE state IN (2, 5)), "+
			"MIN(begins_at) FROM windows WHERE "+which+" AND begins_at >= ? AND begins_at < ? GROUP BY scope", append(args, at(sel.Range.Begin), at(sel.Range.End))...)
		return t.each(ctx, func(rows *sqlx.Rows) error {
			var (
				scope              int64
				due, failed, again int
				first              timestamp
			)
			if err := rows.Scan(&scope, &due, &failed, &again, &first); err != nil {
				return fmt.Errorf("store: open windows: %w", err)
			}
			c := byScope[scope]
			if c == nil {
				c = &metering.Coverage{Scope: scope, First: first.Time}
				byScope[scope] = c
			}
			c.Counts[metering.Due] += due
			c.Counts[metering.Failed] += failed
			c.Again += again
			c.First = earliest(c.First, first.Time)
			return nil
		}, query, args...)
	}
	err = s.view(ctx, func(t *tx) error {
		byScope = map[int64]*metering.Coverage{}
		for _, which := range []string{"state IN (0, 3)", failedAgain} {
			if len(sel.Scopes) == 0 {
				if err := count(t, which); err != nil {
					return err
				}
			}
			for part := range slices.Chunk(sel.Scopes, coverageScopes) {
				if err := count(t, which+" AND scope IN (?)", part); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for _, scope := range slices.Sorted(maps.Keys(byScope)) {
		all = append(all, *byScope[scope])
	}
	return all, err
}

// Window returns everything that is known of the window of a scope that begins then.
func (s *Store) Window(ctx context.Context, scope int64, begin time.Time) (w *metering.WindowDetail, err error) {
	err = s.viewCharges(ctx, func(t *tx) error {
		if w, err = t.window(ctx, scope, begin); err != nil {
			return err
		}
		if w.Metrics, err = t.windowMetrics(ctx, scope, begin); err != nil {
			return err
		}
		if w.Superseded, err = t.windowSuperseded(ctx, scope, begin); err != nil {
			return err
		}
		return t.each(ctx, func(rows *sqlx.Rows) error {
			var f metering.Finding
			if err := rows.Scan(&f.Kind, &f.Metric, &f.Detail, &f.Points); err != nil {
				return fmt.Errorf("store: findings of a window: %w", err)
			}
			w.Findings = append(w.Findings, f)
			return nil
		}, "SELECT kind, metric, detail, points FROM findings WHERE scope = ? AND begins_at = ? ORDER BY points DESC, kind, metric, detail", scope, at(begin))
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// window reads a window's row of the ledger, and what that points to.
func (t *tx) window(ctx context.Context, scope int64, begin time.Time) (*metering.WindowDetail, error) {
	var r struct {
		scopeRow
		windowRow
		LeaseHolder   string    `db:"lease_holder"`
		LeaseUntil    timestamp `db:"lease_until"`
		SourceVersion string    `db:"source_version"`
		Before, After timestamp
	}
	found, err := t.get(ctx, &r, "SELECT "+windowColumns+`, COALESCE(v.version, '') AS source_version,
			(SELECT b.begins_at FROM windows b WHERE b.scope = w.scope AND b.begins_at < w.begins_at ORDER BY b.begins_at DESC LIMIT 1) AS before,
			(SELECT a.begins_at FROM windows a WHERE a.scope = w.scope AND a.begins_at > w.begins_at ORDER BY a.begins_at LIMIT 1) AS after,
			COALESCE(s.lease_holder, '') AS lease_holder, s.lease_until, `+scopeColumns+`
		JOIN windows w ON w.scope = s.id LEFT JOIN source_versions v ON v.id = w.source_version
		WHERE w.scope = ? AND w.begins_at = ?`, scope, at(begin))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fault.New(fault.NotFound, "scope %d has no window that begins at %s", scope, begin.UTC().Format(time.RFC3339))
	}
	d := &metering.WindowDetail{
		Window: r.window(scope),
		Scope:  r.scope(), SourceVersion: r.SourceVersion, Before: r.Before.Time, After: r.After.Time,
	}
	if now := time.Now(); r.LeaseUntil.After(now) {
		d.LeasedBy, d.LeasedUntil = r.LeaseHolder, r.LeaseUntil.Time
		if (d.State == metering.Due || d.State == metering.Failed) && !d.NextAttempt.After(now) {
			d.State = metering.Leased
		}
	}
	return d, nil
}

// windowMetrics sums a window's charges by metric and unit, in order of these. The sums are made here, where they are exact
// on every database.
func (t *tx) windowMetrics(ctx context.Context, scope int64, begin time.Time) (all []metering.WindowMetric, err error) {
	err = t.each(ctx, func(rows *sqlx.Rows) error {
		var m metering.WindowMetric
		if err := rows.Scan(&m.Metric, &m.Unit, &m.Qty, &m.Amount); err != nil {
			return fmt.Errorf("store: charges of a window: %w", err)
		}
		if last := len(all) - 1; last < 0 || all[last].Metric != m.Metric || all[last].Unit != m.Unit {
			all = append(all, metering.WindowMetric{Metric: m.Metric, Unit: m.Unit})
		}
		sum := &all[len(all)-1]
		sum.Points++
		sum.Qty.Accumulate(&m.Qty)
		sum.Amount.Accumulate(&m.Amount)
		return nil
	}, `SELECT m.name, r.unit, c.qty, c.price FROM charges c JOIN series r ON r.id = c.series JOIN metrics m ON m.id = r.metric
		WHERE c.scope = ? AND c.begins_at = ? ORDER BY m.name, r.unit`, scope, at(begin))
	return all, err
}

// windowSuperseded sums a window's charges that were replaced, by what replaced them, the latest first.
func (t *tx) windowSuperseded(ctx context.Context, scope int64, begin time.Time) (all []metering.Superseded, err error) {
	err = t.each(ctx, func(rows *sqlx.Rows) error {
		var (
			when timestamp
			set  metering.Superseded
		)
		if err := rows.Scan(&when, &set.Task, &set.Config, &set.Rules, &set.Amount); err != nil {
			return fmt.Errorf("store: superseded charges of a window: %w", err)
		}
		set.At = when.Time
		last := len(all) - 1
		if last < 0 || !all[last].At.Equal(set.At) || all[last].Task != set.Task || all[last].Config != set.Config || all[last].Rules != set.Rules {
			set.Points = 1
			all = append(all, set)
			return nil
		}
		all[last].Points++
		all[last].Amount.Accumulate(&set.Amount)
		return nil
	}, `SELECT superseded_at, COALESCE(task, 0), COALESCE(config_version, 0), COALESCE(rules_version, 0), price FROM superseded_charges
		WHERE scope = ? AND begins_at = ? ORDER BY 1 DESC, 2 DESC, 3 DESC, 4 DESC`, scope, at(begin))
	return all, err
}
