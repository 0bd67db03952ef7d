package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"

	"ratebook/metering"
	"ratebook/period"
)

// taskRow reads a row of tasks.
type taskRow struct {
	ID         int64
	Kind       metering.TaskKind
	State      metering.TaskState
	AllScopes  bool      `db:"all_scopes"`
	BeginsAt   timestamp `db:"begins_at"`
	EndsAt     timestamp `db:"ends_at"`
	AsItWas    bool      `db:"as_it_was"`
	Reason     string
	Author     string
	CreatedAt  timestamp `db:"created_at"`
	FinishedAt timestamp `db:"finished_at"`
	Error      string
	Missing    int
	Because    string
	Unheld     bool // nobody has computed a preview of it, or that is forgotten since it was started
}

const taskColumns = "id, kind, state, all_scopes, begins_at, ends_at, as_it_was, reason, author, created_at, finished_at, COALESCE(error, '') AS error, " +
	"missing, COALESCE(because, '') AS because, lease_token IS NULL AS unheld"

func (r *taskRow) task() metering.Task {
	return metering.Task{
		ID: r.ID, Kind: r.Kind, State: r.State, AllScopes: r.AllScopes, Range: period.Range{Begin: r.BeginsAt.Time, End: r.EndsAt.Time},
		AsItWas: r.AsItWas, Reason: r.Reason, Author: r.Author, Created: r.CreatedAt.Time, EndedAt: r.FinishedAt.Time, Error: r.Error,
		Missing: r.Missing, Because: r.Because, Started: r.Unheld && r.State != metering.Previewing && r.State != metering.Previewed,
	}
}

// Task returns a task with everything that is known of it.
func (s *Store) Task(ctx context.Context, id int64) (task *metering.Task, err error) {
	err = s.view(ctx, func(t *tx) error {
		var row taskRow
		if found, err := t.get(ctx, &row, "SELECT "+taskColumns+" FROM tasks WHERE id = ?", id); err != nil {
			return err
		} else if !found {
			return noTask(id)
		}
		one := []metering.Task{row.task()}
		task = &one[0]
		return t.fillTasks(ctx, one)
	})
	if err != nil {
		return nil, err
	}
	return task, nil
}

// Tasks lists tasks with everything that is known of them, the newest first, and says how many there are in all.
func (s *Store) Tasks(ctx context.Context, limit, offset int) (tasks []metering.Task, total int, err error) {
	return s.FilterTasks(ctx, metering.TaskFilter{}, limit, offset)
}

// FilterTasks lists tasks of some kind or in some states, as Tasks does, and says how many of these there are.
func (s *Store) FilterTasks(ctx context.Context, f metering.TaskFilter, limit, offset int) (tasks []metering.Task, total int, err error) {
	where, args := "1 = 1", []any(nil)
	if f.Kind != "" {
		where, args = where+" AND kind = ?", append(args, f.Kind)
	}
	if len(f.States) > 0 {
		where, args = in(where+" AND state IN (?)", append(args, f.States)...)
	}
	if len(f.States) > 0 && !slices.Contains(f.States, metering.Cancelled) && !slices.Contains(f.States, metering.Finished) {
		where += " AND " + unfinished
	}
	err = s.view(ctx, func(t *tx) (err error) {
		if _, err := t.get(ctx, &total, "SELECT COUNT(*) FROM tasks WHERE "+where, args...); err != nil {
			return err
		}
		tasks, err = t.tasks(ctx, where+" ORDER BY id DESC LIMIT ? OFFSET ?", append(slices.Clone(args), limit, offset)...)
		return err
	})
	return tasks, total, err
}

// OpenTasks returns the tasks that have not ended, with everything that is known of them, the newest first.
func (s *Store) OpenTasks(ctx context.Context) (tasks []metering.Task, err error) {
	err = s.view(ctx, func(t *tx) (err error) {
		tasks, err = t.tasks(ctx, unfinished+" ORDER BY id DESC")
		return err
	})
	return tasks, err
}

// tasks returns the tasks that a condition holds for, with everything that is known of them.
func (t *tx) tasks(ctx context.Context, where string, args ...any) (tasks []metering.Task, err error) {
	var rows []taskRow
	if err := t.list(ctx, &rows, "SELECT "+taskColumns+" FROM tasks WHERE "+where, args...); err != nil {
		return nil, err
	}
	for i := range rows {
		tasks = append(tasks, rows[i].task())
	}
	for part := range slices.Chunk(tasks, mostTasks) {
		if err := t.fillTasks(ctx, part); err != nil {
			return nil, err
		}
	}
	return tasks, nil
}

// mostTasks is how many tasks are filled by the same queries.
const mostTasks = 100

// shownScopes is how many of a task's scopes it is shown with.
const shownScopes = 20

// fillTasks fills in everything of tasks that is not in their rows.
func (t *tx) fillTasks(ctx context.Context, tasks []metering.Task) error {
	byID := make(map[int64]*metering.Task, len(tasks))
	var running []int64
	for i := range tasks {
		byID[tasks[i].ID] = &tasks[i]
		if tasks[i].State == metering.Running {
			running = append(running, tasks[i].ID)
		}
	}
	ids := keys(byID)
	slices.Sort(ids)
	if err := t.taskScopes(ctx, byID, ids); err != nil {
		return err
	}
	if err := t.taskChanges(ctx, byID, ids); err != nil {
		return err
	}
	for _, id := range running {
		if err := t.taskFailures(ctx, byID[id]); err != nil {
			return err
		}
	}
	return nil
}

// taskScopes counts the scopes of tasks and their windows, and reads the first few scopes of each.
func (t *tx) taskScopes(ctx context.Context, tasks map[int64]*metering.Task, ids []int64) error {
	query, args := in("SELECT task, COUNT(*), SUM(windows), SUM(done), MIN(marked_to), COUNT(CASE WHEN previewed THEN NULL ELSE 1 END) FROM task_scopes WHERE task IN (?) GROUP BY task", ids)
	err := t.each(ctx, func(rows *sqlx.Rows) error {
		var id int64
		var n, windows, done, previewing int
		var marked timestamp
		if err := rows.Scan(&id, &n, &windows, &done, &marked, &previewing); err != nil {
			return fmt.Errorf("store: tasks: %w", err)
		}
		task := tasks[id]
		task.Among, task.Windows, task.Planned = n, windows, !marked.Before(task.Range.End)
		if task.State == metering.Cancelled { // others say so themselves; a re-check has no preview
			task.Started = task.Started && previewing == 0
		}
		if task.State == metering.Running { // windows wait for no other task
			task.Left = windows - done
		}
		return nil
	}, query, args...)
	if err != nil {
		return err
	}
	var b strings.Builder
	args = args[:0]
	for i, id := range ids {
		if i > 0 {
			b.WriteString(" UNION ALL ")
		}
		fmt.Fprintf(&b, "SELECT * FROM (SELECT task, scope FROM task_scopes WHERE task = ? ORDER BY scope LIMIT %d) t%d", shownScopes, i)
		args = append(args, id)
	}
	var rows []struct {
		Task int64
		scopeRow
	}
	if err := t.list(ctx, &rows, "SELECT x.task, "+scopeColumns+" JOIN ("+b.String()+") x ON x.scope = s.id ORDER BY s.id", args...); err != nil {
		return err
	}
	for i := range rows {
		task := tasks[rows[i].Task]
		task.Scopes = append(task.Scopes, rows[i].scope())
	}
	for _, task := range tasks {
		slices.SortStableFunc(task.Scopes, func(a, b *metering.Scope) int { return strings.Compare(a.ID, b.ID) })
	}
	return nil
}

// taskFailures counts the windows of a running task that failed, in an index that has no others, and reads why the first of
// them did.
func (t *tx) taskFailures(ctx context.Context, task *metering.Task) error {
	const failing = " FROM windows WHERE task = ? AND task IS NOT NULL AND error IS NOT NULL"
	if _, err := t.get(ctx, &task.Failing, "SELECT COUNT(*)"+failing, task.ID); err != nil || task.Failing == 0 {
		return err
	}
	_, err := t.get(ctx, &task.Failure, "SELECT error"+failing+" ORDER BY task, begins_at, scope LIMIT 1", task.ID)
	return err
}

// taskChanges sums what tasks change.
func (t *tx) taskChanges(ctx context.Context, tasks map[int64]*metering.Task, ids []int64) error {
	query, args := in(`SELECT task, preview, CAST(SUM(points_before) AS bigint), CAST(SUM(points_after) AS bigint), `+t.d.sum("amount_before")+", "+t.d.sum("amount_after")+`,
		CAST(SUM(lost_points) AS bigint), `+t.d.sum("lost_amount")+" FROM task_differences WHERE task IN (?) GROUP BY task, preview", ids)
	return t.each(ctx, func(rows *sqlx.Rows) error {
		var id int64
		var preview bool
		var c metering.Change
		if err := rows.Scan(&id, &preview, &c.PointsBefore, &c.PointsAfter, &c.Before, &c.After, &c.LostPoints, &c.LostAmount); err != nil {
			return fmt.Errorf("store: task differences: %w", err)
		}
		if preview {
			tasks[id].Preview = c
		} else {
			tasks[id].Change = c
		}
		return nil
	}, query, args...)
}

// TaskDifferences returns what a task has changed, or, of its preview, would change, by scope id and metric.
func (s *Store) TaskDifferences(ctx context.Context, id int64, preview bool) (all []metering.TaskDifference, err error) {
	err = s.view(ctx, func(t *tx) error {
		all = nil
		scopes := map[int64]*metering.Scope{}
		query := `SELECT d.scope, d.metric, d.points_before, d.points_after, d.amount_before, d.amount_after, d.lost_points, d.lost_amount
			FROM task_differences d WHERE d.task = ? AND d.preview = ?`
		err := t.each(ctx, func(rows *sqlx.Rows) error {
			var d metering.TaskDifference
			var scope int64
			if err := rows.Scan(&scope, &d.Metric, &d.PointsBefore, &d.PointsAfter, &d.Before, &d.After, &d.LostPoints, &d.LostAmount); err != nil {
				return fmt.Errorf("store: task differences: %w", err)
			}
			d.Scope = shared(scopes, scope)
			all = append(all, d)
			return nil
		}, query, id, preview)
		if err != nil {
			return err
		}
		return t.readScopes(ctx, scopes)
	})
	slices.SortFunc(all, func(a, b metering.TaskDifference) int {
		return cmp.Or(strings.Compare(a.Scope.ID, b.Scope.ID), cmp.Compare(a.Scope.Ref, b.Scope.Ref), strings.Compare(a.Metric, b.Metric))
	})
	return all, err
}

// TaskLosses returns the first of the points that would lose their price, as a task's preview found them, the most
// expensive first, and how many it found: by scope, metric, reason and attributes. Of these at most maxLosses are kept.
func (s *Store) TaskLosses(ctx context.Context, id int64, limit int) (losses []metering.LostPrice, found int, err error) {
	err = s.view(ctx, func(t *tx) (err error) {
		if _, err := t.get(ctx, &found, "SELECT losses FROM tasks WHERE id = ?", id); err != nil {
			return err
		}
		losses, err = t.losses(ctx, id)
		return err
	})
	return losses[:min(len(losses), limit)], found, err
}

// losses returns the losses that are kept of a task, the most expensive first.
func (t *tx) losses(ctx context.Context, id int64) (losses []metering.LostPrice, err error) {
	scopes := map[int64]*metering.Scope{}
	err = t.each(ctx, func(rows *sqlx.Rows) error {
		var l metering.LostPrice
		var scope int64
		if err := rows.Scan(&scope, &l.Metric, &l.Reason, &l.Detail, &l.Points, &l.Amount); err != nil {
			return fmt.Errorf("store: task losses: %w", err)
		}
		l.Scope = shared(scopes, scope)
		losses = append(losses, l)
		return nil
	}, "SELECT scope, metric, reason, detail, points, amount FROM task_losses WHERE task = ?", id)
	if err == nil {
		err = t.readScopes(ctx, scopes)
	}
	slices.SortFunc(losses, compareLosses)
	return losses, err
}

// compareLosses orders losses, the most expensive first.
func compareLosses(a, b metering.LostPrice) int {
	return cmp.Or(b.Amount.Cmp(a.Amount), strings.Compare(a.Scope.ID, b.Scope.ID), cmp.Compare(a.Scope.Ref, b.Scope.Ref),
		strings.Compare(a.Metric, b.Metric), strings.Compare(string(a.Reason), string(b.Reason)), strings.Compare(a.Detail, b.Detail))
}

// shared returns the scope of a number, which readScopes is to fill.
func shared(scopes map[int64]*metering.Scope, ref int64) *metering.Scope {
	if scopes[ref] == nil {
		scopes[ref] = &metering.Scope{Ref: ref}
	}
	return scopes[ref]
}

// readScopes fills scopes that have only their number.
func (t *tx) readScopes(ctx context.Context, scopes map[int64]*metering.Scope) error {
	for part := range slices.Chunk(keys(scopes), mostIDs) {
		var rows []scopeRow
		query, args := in("SELECT "+scopeColumns+" WHERE s.id IN (?)", part)
		if err := t.list(ctx, &rows, query, args...); err != nil {
			return err
		}
		for i := range rows {
			*scopes[rows[i].ID] = *rows[i].scope()
		}
	}
	return nil
}
