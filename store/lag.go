package store

import (
	"context"
	"time"
)

// Lag says how far processing is behind.
type Lag struct {
	Due, Failed int       // windows waiting for their first and for a further attempt
	Again       int       // windows that are done and wait for a task or a late re-check
	ProcessedTo time.Time // up to when all active scopes are processed; zero if there are none
}

// Lag counts the windows that are still to be processed. It reads those and the scopes, not the ledger.
func (s *Store) Lag(ctx context.Context) (l Lag, err error) {
	var row struct {
		Due     int
		Failed  int
		Again   int
		Oldest  timestamp
		Planned timestamp
	}
	err = s.view(ctx, func(t *tx) error {
		_, err := t.get(ctx, &row, `SELECT w.due, w.failed, w.oldest, a.again, p.planned FROM
			(SELECT COALESCE(SUM(CASE state WHEN 0 THEN 1 ELSE 0 END), 0) AS due,
				COALESCE(SUM(CASE state WHEN 3 THEN 1 ELSE 0 END), 0) AS failed, MIN(begins_at) AS oldest FROM windows WHERE state IN (0, 3)) w,
			(SELECT COUNT(*) AS again FROM windows WHERE task IS NOT NULL) a,
			(SELECT MIN(planned_to) AS planned FROM scopes WHERE active) p`)
		return err
	})
	l = Lag{Due: row.Due, Failed: row.Failed, Again: row.Again, ProcessedTo: row.Oldest.Time}
	if l.ProcessedTo.IsZero() || !row.Planned.IsZero() && row.Planned.Before(l.ProcessedTo) {
		l.ProcessedTo = row.Planned.Time
	}
	return l, err
}
