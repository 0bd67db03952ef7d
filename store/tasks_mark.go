package store

import (
	"context"
	"time"

	"ratebook/metering"
)

// The most windows that are marked in one transaction, and the most scopes: some 100 ms on SQLite.
var (
	markWindows = 5_000
	markScopes  = 500
)

// AdvanceTasks marks the windows of running tasks, so that workers are given them, takes away what marks cancelled tasks
// have left, and finishes the tasks whose windows are all done. It may run anywhere, any number of times at once; what it
// was interrupted in, the next call goes on with.
func (s *Store) AdvanceTasks(ctx context.Context) error {
	var running []struct {
		ID   int64
		Open bool // whether there are windows to mark
	}
	err := s.view(ctx, func(t *tx) error {
		running = nil
		return t.list(ctx, &running, `SELECT t.id, EXISTS (SELECT 1 FROM task_scopes ts WHERE ts.task = t.id AND ts.marked_to < t.ends_at) AS open
			FROM tasks t WHERE t.`+unfinished+" AND t.state = 'running' ORDER BY t.id")
	})
	if err != nil {
		return err
	}
	// First the marks of cancelled tasks. These tasks were running no more when those above could begin, so that none of them
	// finds windows that are marked for another one.
	if err := s.sweepMarks(ctx); err != nil {
		return err
	}
	var open []int64
	for _, task := range running {
		if task.Open {
			open = append(open, task.ID)
		}
	}
	for len(open) > 0 { // in turns: a short task does not wait for a long one
		var left []int64
		for _, id := range open {
			if more, err := s.markSome(ctx, id); err != nil {
				return err
			} else if more {
				left = append(left, id)
			}
		}
		open = left
	}
	for _, task := range running {
		if err := s.finishTask(ctx, task.ID); err != nil {
			return err
		}
	}
	return nil
}

// sweepMarks takes the marks away of tasks that are not running.
func (s *Store) sweepMarks(ctx context.Context) error {
	for id := int64(0); ; {
		var next *int64
		var state metering.TaskState
		err := s.view(ctx, func(t *tx) error {
			// the index is asked for one task after the other, not for all windows
			if _, err := t.get(ctx, &next, "SELECT MIN(task) FROM windows WHERE task > ?", id); err != nil || next == nil {
				return err
			}
			_, err := t.get(ctx, &state, "SELECT state FROM tasks WHERE id = ?", *next)
			return err
		})
		if err != nil || next == nil {
			return err
		}
		id = *next
		for more := state == metering.Cancelled; more; {
			if more, err = s.unmarkSome(ctx, id); err != nil {
				return err
			}
		}
	}
}

// marking is a part of a task that is marked, or unmarked, at once: the windows of some scopes that begin from one time to
// before another.
type marking struct {
	scopes   []int64
	from, to time.Time
}

// candidate is a scope that a task has windows to mark of, or to unmark.
type candidate struct {
	Scope    int64
	MarkedTo timestamp `db:"marked_to"`
	Windows  int       // of these, one more than markWindows at the most
}

// first returns how many of the candidates can be done at once: those that are marked to the same time and have few enough
// windows together.
func first(candidates []candidate) (scopes []int64) {
	windows := 0
	for _, c := range candidates {
		windows += c.Windows
		if len(scopes) > 0 && (windows > markWindows || !c.MarkedTo.Equal(candidates[0].MarkedTo.Time)) {
			break
		}
		scopes = append(scopes, c.Scope)
	}
	return scopes
}

// candidates lists some of a task's scopes that a condition holds for, and counts the windows w of each that another one
// holds for. The transaction has them to itself then.
func (t *tx) candidates(ctx context.Context, task *metering.Task, scopes, windows string, args ...any) (all []candidate, err error) {
	length, err := t.period(ctx)
	if err != nil {
		return nil, err
	}
	each := int(task.Range.End.Sub(task.Range.Begin)/length) + 1 // about, if the period has not changed
	args = append(args, markWindows+1, task.ID)
	args = append(args, at(task.Range.Begin), at(task.Range.End), max(1, min(markScopes, markWindows/each)))
	err = t.list(ctx, &all, `SELECT ts.scope, ts.marked_to, (SELECT COUNT(*) FROM (
			SELECT w.scope FROM windows w WHERE w.scope = ts.scope AND `+windows+` LIMIT ?) x) AS windows
		FROM task_scopes ts WHERE ts.task = ? AND `+scopes+" ORDER BY ts.scope LIMIT ? "+t.d.forUpdate, args...)
	return all, err
}

// taskIn returns a task that is in a certain state and stays so until the transaction ends.
func (t *tx) taskIn(ctx context.Context, id int64, state metering.TaskState) (*metering.Task, error) {
	var row taskRow
	found, err := t.get(ctx, &row, "SELECT "+taskColumns+" FROM tasks WHERE id = ? AND state = ? "+t.d.forShare, id, state)
	if err != nil || !found {
		return nil, err
	}
	task := row.task()
	return &task, nil
}

// holdScopes lets commits to some scopes come before or after this transaction.
func (t *tx) holdScopes(ctx context.Context, ids []int64) error {
	var held []int64
	query, args := in("SELECT id FROM scopes WHERE id IN (?) ORDER BY id "+t.d.forUpdate, ids)
	return t.list(ctx, &held, query, args...)
}

// markSome marks some more windows of a running task; more says that there may be more.
func (s *Store) markSome(ctx context.Context, id int64) (more bool, err error) {
	err = s.update(ctx, func(t *tx) error {
		more = false
		task, err := t.taskIn(ctx, id, metering.Running)
		if err != nil || task == nil {
			return err
		}
		m, err := t.nextMarking(ctx, task)
		if err != nil || m == nil {
			return err
		}
		more = true
		return t.mark(ctx, id, m)
	})
	return more, err
}

// nextMarking returns what to mark next, nil if nothing is left.
func (t *tx) nextMarking(ctx context.Context, task *metering.Task) (*marking, error) {
	all, err := t.candidates(ctx, task, "ts.marked_to >= ? AND ts.marked_to < ?", "w.begins_at >= ts.marked_to AND w.begins_at < ?", at(task.Range.End))
	if err != nil || len(all) == 0 {
		return nil, err
	}
	m := &marking{first(all), all[0].MarkedTo.Time, task.Range.End}
	if all[0].Windows > markWindows { // of a single scope
		var to timestamp
		_, err := t.get(ctx, &to, "SELECT begins_at FROM windows WHERE scope = ? AND begins_at >= ? ORDER BY begins_at LIMIT 1 OFFSET ?", all[0].Scope, at(m.from), markWindows)
		m.to = to.Time
		return m, err
	}
	return m, nil
}

// mark gives windows to a task and counts them: those that it has done already, too.
func (t *tx) mark(ctx context.Context, id int64, m *marking) error {
	if err := t.holdScopes(ctx, m.scopes); err != nil {
		return err
	}
	// attempt: that the window was tried before does not count
	query, args := in(`UPDATE windows SET task = ?, attempts = 0, attempt = 0, next_attempt = ?, error = NULL
		WHERE scope IN (?) AND begins_at >= ? AND begins_at < ? AND state IN (2, 5) AND (task IS NULL OR task = 0) AND (redone_by IS NULL OR redone_by <> ?)`,
		id, at(time.Now()), m.scopes, at(m.from), at(m.to), id)
	if _, err := t.exec(ctx, query, args...); err != nil {
		return err
	}
	query, args = in(`UPDATE task_scopes SET marked_to = ?, windows = windows + (SELECT COUNT(*) FROM windows w
			WHERE w.scope = task_scopes.scope AND w.begins_at >= ? AND w.begins_at < ? AND (w.task = ? OR w.redone_by = ?))
		WHERE task = ? AND scope IN (?)`, at(m.to), at(m.from), at(m.to), id, id, id, m.scopes)
	_, err := t.exec(ctx, query, args...)
	return err
}

// unmarkSome takes away some marks of a cancelled task, from the end of its range; more says that there may be more.
func (s *Store) unmarkSome(ctx context.Context, id int64) (more bool, err error) {
	err = s.update(ctx, func(t *tx) error {
		more = false
		task, err := t.taskIn(ctx, id, metering.Cancelled)
		if err != nil || task == nil {
			return err
		}
		all, err := t.candidates(ctx, task, "ts.marked_to > ? AND ts.marked_to <= ?",
			"+w.task = ts.task AND w.begins_at >= ? AND w.begins_at < ts.marked_to", at(task.Range.Begin))
		if err != nil || len(all) == 0 {
			return err
		}
		more = true
		m := &marking{first(all), task.Range.Begin, all[0].MarkedTo.Time}
		if all[0].Windows > markWindows { // of a single scope
			var from timestamp
			_, err := t.get(ctx, &from, "SELECT begins_at FROM windows WHERE +task = ? AND scope = ? AND begins_at < ? ORDER BY begins_at DESC LIMIT 1 OFFSET ?",
				id, all[0].Scope, at(m.to), markWindows-1)
			if err != nil {
				return err
			}
			m.from = from.Time
		}
		return t.unmark(ctx, id, m)
	})
	return more, err
}

// unmark takes windows away from a task, which counts only those that it has done then.
func (t *tx) unmark(ctx context.Context, id int64, m *marking) error {
	if err := t.holdScopes(ctx, m.scopes); err != nil {
		return err
	}
	query, args := in(`UPDATE task_scopes SET marked_to = ?, windows = windows - (SELECT COUNT(*) FROM windows w
			WHERE +w.task = task_scopes.task AND w.scope = task_scopes.scope AND w.begins_at >= ? AND w.begins_at < ?)
		WHERE task = ? AND scope IN (?)`, at(m.from), at(m.from), at(m.to), id, m.scopes)
	if _, err := t.exec(ctx, query, args...); err != nil {
		return err
	}
	// with the plus, no index of tasks is used: all of its marks would be gone through each time
	query, args = in("UPDATE windows SET task = NULL, attempts = 0, error = NULL WHERE +task = ? AND scope IN (?) AND begins_at >= ? AND begins_at < ?",
		id, m.scopes, at(m.from), at(m.to))
	_, err := t.exec(ctx, query, args...)
	return err
}

// finishTask finishes a running task if all its windows are marked and none of them waits any more.
func (s *Store) finishTask(ctx context.Context, id int64) error {
	const done = `id = ? AND state = 'running' AND NOT EXISTS (SELECT 1 FROM task_scopes ts WHERE ts.task = ? AND ts.marked_to < ends_at)
		AND NOT EXISTS (SELECT 1 FROM windows w WHERE w.task = ?)`
	is := false
	err := s.view(ctx, func(t *tx) (err error) { // mostly it isn't, and writers need not wait to hear that
		var one int
		is, err = t.get(ctx, &one, "SELECT 1 FROM tasks WHERE "+done, id, id, id)
		return err
	})
	if err != nil || !is {
		return err
	}
	return s.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, "UPDATE tasks SET state = ?, finished_at = ? WHERE "+done, metering.Finished, at(time.Now()), id, id, id)
		return err
	})
}
