package store

import (
	"context"
	"time"

	"ratebook/metering"
	"ratebook/period"
)

// Reprocessings lists what tasks that collect windows again do for each of their scopes, in the order of tasks and, in one,
// of scopes, or the other way round. ids, unless empty, says which scopes. Tasks that are only previewed are left out, and so
// are scopes of pushed points, in which there is nothing to collect.
func (s *Store) Reprocessings(ctx context.Context, ids []string, newestFirst bool, limit, offset int) (all []metering.Reprocessing, err error) {
	settings, err := s.currentSettings(ctx)
	if err != nil {
		return nil, err
	}
	order := "t.id, s.scope, s.id"
	if newestFirst {
		order = "t.id DESC, s.scope DESC, s.id DESC"
	}
	query, args := "", []any{metering.PushSource, metering.Reprocess}
	if len(ids) > 0 {
		query, args = in(" AND s.scope IN (?)", ids)
		args = append([]any{metering.PushSource, metering.Reprocess}, args...)
	}
	var rows []struct {
		Task, Ref     int64
		Scope         string
		Reason        string
		State         metering.TaskState
		BeginsAt      timestamp `db:"begins_at"`
		EndsAt        timestamp `db:"ends_at"`
		MarkedTo      timestamp `db:"marked_to"`
		Windows, Done int
		Waiting       timestamp // the first window that is still to be done; none if zero
	}
	err = s.view(ctx, func(t *tx) error {
		return t.list(ctx, &rows, `SELECT t.id AS task, s.id AS ref, s.scope, t.reason, t.state, t.begins_at, t.ends_at, x.marked_to, x.windows, x.done,
				(SELECT MIN(w.begins_at) FROM windows w WHERE w.scope = x.scope AND w.task = t.id) AS waiting
			FROM tasks t JOIN task_scopes x ON x.task = t.id JOIN scopes s ON s.id = x.scope JOIN sources src ON src.id = s.source
			WHERE src.kind <> ? AND t.kind = ? AND t.state NOT IN ('previewing', 'previewed')`+query+" ORDER BY "+order+" LIMIT ? OFFSET ?", append(args, limit, offset)...)
	})
	for i := range rows {
		r := &rows[i]
		one := metering.Reprocessing{Task: r.Task, Scope: r.Scope, Reason: r.Reason, Range: period.Range{Begin: r.BeginsAt.Time, End: r.EndsAt.Time}}
		next := r.MarkedTo.Time // to be done
		if !r.Waiting.IsZero() {
			next = r.Waiting.Time
		}
		switch {
		case r.State == metering.Finished || r.State == metering.Running && r.Waiting.IsZero() && !next.Before(one.Range.End):
			one.Current = one.Range.End
		case r.State == metering.Cancelled:
			next = one.Range.Begin.Add(time.Duration(r.Done) * settings.Period)
		}
		if last := next.Add(-settings.Period); one.Current.IsZero() && !last.Before(one.Range.Begin) {
			one.Current = last
		}
		all = append(all, one)
	}
	return all, err
}
