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
}

const taskColumns = "id, kind, state, all_scopes, begins_at, ends_at, as_it_was, reason, author, created_at, finished_at, COALESCE(error, '') AS error"

func (r *taskRow) task() metering.Task {
	return metering.Task{
		ID: r.ID, Kind: r.Kind, State: r.State, AllScopes: r.AllScopes, Range: period.Range{Begin: r.BeginsAt.Time, End: r.EndsAt.Time},
		AsItWas: r.AsItWas, Reason: r.Reason, Author: r.Author, Created: r.CreatedAt.Time, EndedAt: r.FinishedAt.Time, Error: r.Error,
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
	err = s.view(ctx, func(t *tx) error {
		tasks = nil
		if _, err := t.get(ctx, &total, "SELECT COUNT(*) FROM tasks"); err != nil {
			return err
		}
		var rows []taskRow
		if err := t.list(ctx, &rows, "SELECT "+taskColumns+" FROM tasks ORDER BY id DESC LIMIT ? OFFSET ?", limit, offset); err != nil {
			return err
		}
		for i := range rows {
			tasks = append(tasks, rows[i].task())
		}
		for part := range slices.Chunk(tasks, mostTasks) {
			if err := t.fillTasks(ctx, part); err != nil {
				return err
			}
		}
		return nil
	})
	return tasks, total, err
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
	if len(running) == 0 { // windows wait for no other task
		return nil
	}
	return t.taskProgress(ctx, byID, running)
}

// taskScopes counts the scopes of tasks and their windows, and reads the first few scopes of each.
func (t *tx) taskScopes(ctx context.Context, tasks map[int64]*metering.Task, ids []int64) error {
	query, args := in("SELECT task, COUNT(*), SUM(windows), MIN(marked_to) FROM task_scopes WHERE task IN (?) GROUP BY task", ids)
	err := t.each(ctx, func(rows *sqlx.Rows) error {
		var id int64
		var n, windows int
		var marked timestamp
		if err := rows.Scan(&id, &n, &windows, &marked); err != nil {
			return fmt.Errorf("store: tasks: %w", err)
		}
		task := tasks[id]
		task.Among, task.Windows, task.Planned = n, windows, !marked.Before(task.Range.End)
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

// taskProgress counts the windows that wait for running tasks, and reads why the first of those that failed did.
func (t *tx) taskProgress(ctx context.Context, tasks map[int64]*metering.Task, ids []int64) error {
	const most = 1 << 30 // scopes: a begin and a scope make one number, ordered by begin
	query, args := in(`SELECT task, COUNT(*), SUM(CASE WHEN error IS NULL THEN 0 ELSE 1 END), COALESCE(MIN(CASE WHEN error IS NULL THEN NULL ELSE `+
		t.d.seconds("begins_at")+fmt.Sprintf(" * %d + scope END), 0) FROM windows WHERE task IN (?) GROUP BY task", most), ids)
	var failing []string
	var keys []any
	err := t.each(ctx, func(rows *sqlx.Rows) error {
		var id, first int64
		var left, failed int
		if err := rows.Scan(&id, &left, &failed, &first); err != nil {
			return fmt.Errorf("store: tasks: %w", err)
		}
		tasks[id].Left, tasks[id].Failing = left, failed
		if failed > 0 {
			failing = append(failing, "scope = ? AND begins_at = ?")
			keys = append(keys, first%most, at(time.Unix(first/most, 0)))
		}
		return nil
	}, query, args...)
	if err != nil || len(failing) == 0 {
		return err
	}
	return t.each(ctx, func(rows *sqlx.Rows) error {
		var id int64
		var failure string
		if err := rows.Scan(&id, &failure); err != nil {
			return fmt.Errorf("store: tasks: %w", err)
		}
		tasks[id].Failure = failure
		return nil
	}, "SELECT task, error FROM windows WHERE "+strings.Join(failing, " OR "), keys...)
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
// expensive first, and how many of these were kept: at most maxLosses.
func (s *Store) TaskLosses(ctx context.Context, id int64, limit int) (losses []metering.LostPrice, kept int, err error) {
	err = s.view(ctx, func(t *tx) error {
		losses = nil
		scopes := map[int64]*metering.Scope{}
		err := t.each(ctx, func(rows *sqlx.Rows) error {
			var l metering.LostPrice
			var scope int64
			if err := rows.Scan(&scope, &l.Metric, &l.Reason, &l.Detail, &l.Points, &l.Amount); err != nil {
				return fmt.Errorf("store: task losses: %w", err)
			}
			l.Scope = shared(scopes, scope)
			losses = append(losses, l)
			return nil
		}, "SELECT scope, metric, reason, detail, points, amount FROM task_losses WHERE task = ?", id)
		if err != nil {
			return err
		}
		return t.readScopes(ctx, scopes)
	})
	slices.SortFunc(losses, compareLosses)
	kept = len(losses)
	return losses[:min(kept, limit)], kept, err
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
