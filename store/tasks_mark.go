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

// How long a call of AdvanceTasks takes marks away, and how long it goes on in all: work that is due does not wait for a task
// of millions of windows.
var (
	sweepFor   = time.Second
	advanceFor = 2 * time.Second
)

// AdvanceTasks marks windows of running tasks, so that workers are given them, takes away what marks cancelled tasks have
// left, and finishes the tasks whose windows are all done. It may run anywhere, any number of times at once. After two seconds
// it stops, and the next call goes on: while a running task has windows that are not marked yet, Pending says so.
func (s *Store) AdvanceTasks(ctx context.Context) error {
	began := time.Now()
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
	if err := s.sweepMarks(ctx, began.Add(sweepFor)); err != nil {
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
		if open = left; time.Since(began) >= advanceFor {
			break
		}
	}
	for _, task := range running {
		if err := s.finishTask(ctx, task.ID); err != nil {
			return err
		}
	}
	return nil
}

// sweepMarks takes the marks away of tasks that are not running, until a time.
func (s *Store) sweepMarks(ctx context.Context, until time.Time) error {
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
		for more := state != metering.Running; more; {
			if time.Now().After(until) {
				return nil
			}
			if more, err = s.unmarkSome(ctx, id); err != nil {
				return err
			}
		}
	}
}

// marking is a part of a task that is marked at once: the windows of some scopes that begin from one time to before another.
type marking struct {
	scopes   []int64
	from, to time.Time
}

// candidate is a scope that a task has windows to mark of.
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

// holdScopes lets commits to some scopes come before or after this transaction.
func (t *tx) holdScopes(ctx context.Context, ids []int64) error {
	var held []int64
	query, args := in("SELECT id FROM scopes WHERE id IN (?) ORDER BY id "+t.d.forUpdate, ids)
	return t.list(ctx, &held, query, args...)
}

// markSome marks some more windows of a running task; more says that there may be more.
func (s *Store) markSome(ctx context.Context, id int64) (more bool, err error) {
	other := int64(0) // a task that left its marks
	err = s.update(ctx, func(t *tx) error {
		more, other = false, 0
		var row taskRow
		if found, err := t.get(ctx, &row, "SELECT "+taskColumns+" FROM tasks WHERE id = ? AND state = 'running' "+t.d.forShare, id); err != nil || !found {
			return err
		}
		task := row.task()
		m, err := t.nextMarking(ctx, &task)
		if err != nil || m == nil {
			return err
		}
		more = true
		if err := t.holdScopes(ctx, m.scopes); err != nil {
			return err
		}
		query, args := in(`SELECT w.task FROM windows w WHERE w.scope IN (?) AND w.begins_at >= ? AND w.begins_at < ? AND w.task IS NOT NULL
			AND +w.task NOT IN (0, ?)`+byKey, m.scopes, at(m.from), at(m.to), id)
		if found, err := t.get(ctx, &other, query, args...); err != nil || found {
			return err
		}
		return t.mark(ctx, id, m)
	})
	if err == nil && other != 0 {
		_, err = s.unmarkSome(ctx, other)
	}
	return more, err
}

// nextMarking returns what to mark next, nil if nothing is left.
func (t *tx) nextMarking(ctx context.Context, task *metering.Task) (*marking, error) {
	length, err := t.period(ctx)
	if err != nil {
		return nil, err
	}
	each := int(task.Range.End.Sub(task.Range.Begin)/length) + 1 // windows of a scope, about, if the period has not changed
	var all []candidate
	end := at(task.Range.End)
	err = t.list(ctx, &all, `SELECT ts.scope, ts.marked_to, (SELECT COUNT(*) FROM (
			SELECT w.scope FROM windows w WHERE w.scope = ts.scope AND w.begins_at >= ts.marked_to AND w.begins_at < ? LIMIT ?) x) AS windows
		FROM task_scopes ts WHERE ts.task = ? AND ts.marked_to < ? ORDER BY ts.scope LIMIT ?`,
		end, markWindows+1, task.ID, end, max(1, min(markScopes, markWindows/each)))
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

// mark gives windows to a task and counts them: those that it has done already, too. Where another process was quicker it
// changes nothing. It passes over those that an operator has left as they are. When a window is to be checked for late usage stays noted: see unmarkSome.
func (t *tx) mark(ctx context.Context, id int64, m *marking) error {
	// attempt: that the window was tried before does not count
	query, args := in(`UPDATE windows SET task = ?, attempts = 0, attempt = 0, next_attempt = ?, error = NULL
		WHERE scope IN (?) AND begins_at >= ? AND begins_at < ? AND state IN (2, 5) AND (task IS NULL OR task = 0)
			AND (redone_by IS NULL OR redone_by <> ?) AND (left_by IS NULL OR left_by <> ?)`,
		id, at(time.Now()), m.scopes, at(m.from), at(m.to), id, id)
	if _, err := t.exec(ctx, query, args...); err != nil {
		return err
	}
	const mine = "(SELECT COUNT(*) FROM windows w WHERE w.scope = task_scopes.scope AND w.begins_at >= ? AND w.begins_at < ? AND "
	query, args = in("UPDATE task_scopes SET marked_to = ?, windows = windows + "+mine+"(w.task = ? OR w.redone_by = ?)), done = done + "+mine+`
			w.redone_by = ? AND (w.task IS NULL OR w.task <> ?)) WHERE task = ? AND scope IN (?) AND marked_to = ?`,
		at(m.to), at(m.from), at(m.to), id, id, at(m.from), at(m.to), id, id, id, m.scopes, at(m.from))
	_, err := t.exec(ctx, query, args...)
	return err
}

// givenBack is SQL that takes a window away from a task: then it waits for its late re-check again, if that is still to be.
const givenBack = "task = CASE WHEN recheck_at IS NULL THEN NULL ELSE 0 END, next_attempt = COALESCE(recheck_at, next_attempt), attempts = 0, error = NULL"

// unmarkSome takes some windows away from a task that is not running, which counts only those that it has done then; more
// says that there may be more.
func (s *Store) unmarkSome(ctx context.Context, id int64) (more bool, err error) {
	err = s.update(ctx, func(t *tx) error {
		more = false
		var state metering.TaskState
		_, err := t.get(ctx, &state, "SELECT state FROM tasks WHERE id = ? "+t.d.forShare, id)
		if err != nil || state == metering.Running {
			return err
		}
		// in the order of the index: those that were marked together lie together
		const some = "SELECT scope, begins_at FROM windows WHERE task = ? AND task IS NOT NULL"
		var scopes []int64
		err = t.list(ctx, &scopes, "SELECT DISTINCT x.scope FROM ("+some+" ORDER BY task, next_attempt LIMIT ?) x ORDER BY x.scope LIMIT ?", id, markWindows, markScopes)
		if err != nil || len(scopes) == 0 {
			return err
		}
		more = true
		if err := t.holdScopes(ctx, scopes); err != nil {
			return err
		}
		var changed []int64
		query, args := in("UPDATE windows SET "+givenBack+" WHERE (scope, begins_at) IN ("+some+" AND +scope IN (?) ORDER BY task, next_attempt LIMIT ?) RETURNING scope", id, scopes, markWindows)
		if err := t.list(ctx, &changed, query, args...); err != nil {
			return err
		}
		if err := t.count(ctx, id, "windows = windows - ?", changed); err != nil {
			return err
		}
		query, args = in("UPDATE task_scopes SET marked_to = (SELECT t.begins_at FROM tasks t WHERE t.id = task_scopes.task) WHERE task = ? AND scope IN (?)", id, scopes)
		_, err = t.exec(ctx, query, args...)
		return err
	})
	return more, err
}

// count changes how many windows of each scope a task has counted: set is the change, with a place for how many of those given
// by their scopes are of a scope.
func (t *tx) count(ctx context.Context, id int64, set string, scopes []int64) error {
	windows := map[int64]int{}
	for _, scope := range scopes {
		windows[scope]++
	}
	alike := map[int][]int64{}
	for scope, n := range windows {
		alike[n] = append(alike[n], scope)
	}
	for n, scopes := range alike {
		query, args := in("UPDATE task_scopes SET "+set+" WHERE task = ? AND scope IN (?)", n, id, scopes)
		if _, err := t.exec(ctx, query, args...); err != nil {
			return err
		}
	}
	return nil
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
