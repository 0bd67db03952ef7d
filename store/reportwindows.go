package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/costs"
	"ratebook/fault"
	"ratebook/period"
	"ratebook/rollup"
)

// wholeWindows reports whether a question is about windows that are not divided further than by scope, which packs of windows answer.
func wholeWindows(q *costs.Query) bool {
	if !q.Windows || q.Extremes {
		return false
	}
	whole := func(key string) bool { return key == costs.Scope || key == costs.ScopeName }
	for _, f := range q.Filters {
		if !whole(f.Key) {
			return false
		}
	}
	return !slices.ContainsFunc(q.Groups, func(g string) bool { return !whole(g) })
}

// windows feeds the grouper with packs of windows, a day at a time.
func (r *report) windows(ctx context.Context, all period.Range) error {
	if r.none {
		return nil
	}
	begin, end := all.Begin.Unix(), all.End.Unix()
	c := &chargeSums{report: r}
	const unknown = -2
	keys := make(map[int64]int32, len(r.refs)) // the grouper's, by scope
	for _, ref := range r.refs {
		keys[ref] = unknown
	}
	c.reset()
	var (
		today  civil
		reader rollup.Reader
		e      rollup.Entry
	)
	args := append([]any{civilDay(all.Begin, r.zone).String(), civilDay(all.End.Add(-time.Second), r.zone).String()}, r.args...)
	err := r.t.each(ctx, func(rows *sqlx.Rows) error {
		var (
			day           civil
			scope, length int64
			pack          sql.RawBytes
		)
		if err := rows.Scan(&day, &scope, &length, &pack); err != nil {
			return fmt.Errorf("store: %s: %w", windowPacks, err)
		}
		if day != today {
			if err := c.flush(); err != nil {
				return err
			}
			c.reset()
			today = day
		}
		key, ok := keys[scope]
		if key == unknown {
			key = r.g.Key(r.labels(scope, 0, ""))
			keys[scope] = key
		}
		if !ok || key < 0 { // a filter excludes it
			return nil
		}
		for reader.Reset(pack); reader.Next(&e); {
			if e.Series >= begin && e.Series < end {
				c.slot(key, c.bucket(e.Series, length)).Add(&e.Sums)
			}
		}
		if err := reader.Err(); err != nil {
			return fault.Wrap(fault.Internal, err, "a row of the roll-up %s is damaged; run `ratebook rollups verify`", windowPacks)
		}
		return nil
	}, "SELECT day, scope, period, pack FROM "+windowPacks+" WHERE day >= ? AND day <= ?"+r.where+" ORDER BY day", args...)
	if err != nil {
		return err
	}
	return c.flush()
}
