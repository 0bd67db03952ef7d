package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
)

// unfinished is SQL for tasks that have windows to themselves. Tasks in one of these states are found by an index only if
// the text is there.
const unfinished = "state IN ('previewing', 'previewed', 'running')"

// lockTasks keeps others from making or resuming tasks until the transaction ends, so that what was checked stays true.
func (t *tx) lockTasks(ctx context.Context) error {
	if t.d != &postgresDialect { // there is one writer
		return nil
	}
	_, err := t.exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('ratebook tasks'))")
	return err
}

// CreateTask makes a task, which is running, or is to be previewed first, and returns its number. What it can't be is
// Invalid; if another task has some of its windows, the error is a Conflict: see metering.NewTask.
func (s *Store) CreateTask(ctx context.Context, n *metering.NewTask) (id int64, err error) {
	err = s.update(ctx, func(t *tx) error {
		if err := t.lockTasks(ctx); err != nil {
			return err
		}
		length, err := t.period(ctx)
		if err != nil {
			return err
		}
		states, err := t.scopeWindows(ctx, n.Range)
		if err != nil {
			return err
		}
		kept, err := t.chargesFrom(ctx)
		if err != nil {
			return err
		}
		busy, err := t.busy(ctx, n.Range)
		if err != nil {
			return err
		}
		scopes, err := n.Check(length, kept, states, busy)
		if err != nil {
			return err
		}
		ids, err := t.withWindows(ctx, refs(scopes), n.Range)
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			oldest, err := t.oldestWindow(ctx, refs(scopes))
			if err != nil {
				return err
			}
			return n.NothingDone(oldest)
		}
		if !n.AllScopes { // the others were asked for, too
			ids = refs(scopes)
		}
		id, err = t.addTask(ctx, n, ids)
		return err
	})
	return id, err
}

// addTask stores a task of some scopes.
func (t *tx) addTask(ctx context.Context, n *metering.NewTask, scopes []int64) (id int64, err error) {
	state := metering.Running
	if n.Preview {
		state = metering.Previewing
	}
	reason := strings.TrimSpace(n.Reason)
	_, err = t.get(ctx, &id, `INSERT INTO tasks (kind, state, all_scopes, begins_at, ends_at, as_it_was, reason, author, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
		n.Kind, state, n.AllScopes, at(n.Range.Begin), at(n.Range.End), n.AsItWas, reason, n.Author, at(time.Now()))
	if err != nil {
		return 0, err
	}
	slices.Sort(scopes) // the order that commits lock them in
	values := make([]any, 0, 4*len(scopes))
	for _, scope := range scopes {
		values = append(values, id, scope, at(n.Range.Begin), !n.Preview)
	}
	if err := t.insertRows(ctx, "INSERT INTO task_scopes (task, scope, marked_to, previewed)", "", 4, values); err != nil {
		return 0, err
	}
	which := fmt.Sprintf("%d scopes", len(scopes))
	switch {
	case n.AllScopes:
		which = "all " + which
	case len(n.ScopeIDs) == 1:
		which = fmt.Sprintf("scope %q", n.ScopeIDs[0])
	}
	what := fmt.Sprintf("%s %s from %s to %s: %s", n.Kind, which, n.Range.Begin.UTC().Format(time.RFC3339), n.Range.End.UTC().Format(time.RFC3339), reason)
	if n.AsItWas {
		what = "as it was, " + what
	}
	return id, t.audit(ctx, n.Author, "create", taskSubject(id), "", what)
}

func taskSubject(id int64) string { return fmt.Sprintf("task %d", id) }

// period returns the length of windows, as it is set now.
func (t *tx) period(ctx context.Context) (time.Duration, error) {
	text := DurationText(period.Default)
	if _, err := t.get(ctx, &text, "SELECT value FROM settings WHERE name = ?", settingPeriod); err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fault.Wrap(fault.Internal, err, "the stored setting period can't be read")
	}
	return d, nil
}

// chargesFrom returns since when there are charges; zero: since ever. Until the transaction ends retention drops no others.
func (t *tx) chargesFrom(ctx context.Context) (time.Time, error) {
	var zone string
	if _, err := t.get(ctx, &zone, "SELECT value FROM settings WHERE name = ? "+t.d.forShare, settingTimezone); err != nil {
		return time.Time{}, err
	}
	kept, err := t.retention(ctx)
	return kept.ChargesFrom, err
}

// scopeWindows returns all scopes, with the first windows of a range that are not processed.
func (t *tx) scopeWindows(ctx context.Context, r period.Range) ([]metering.ScopeWindows, error) {
	var rows []struct {
		scopeRow
		PlannedTo timestamp `db:"planned_to"`
		First     timestamp // open window; none if zero
	}
	err := t.list(ctx, &rows, `SELECT (SELECT w.begins_at FROM windows w WHERE w.scope = s.id AND w.begins_at >= ? AND w.begins_at < ? AND w.state IN (0, 3)
		ORDER BY w.begins_at LIMIT 1) AS first, s.planned_to, `+scopeColumns+" ORDER BY s.id", at(r.Begin), at(r.End))
	states := make([]metering.ScopeWindows, len(rows))
	for i := range rows {
		states[i] = metering.ScopeWindows{Scope: rows[i].scope(), FirstOpen: rows[i].First.Time, PlannedTo: rows[i].PlannedTo.Time}
	}
	return states, err
}

// busy returns the unfinished tasks that may have windows in a range, with the numbers and ids of all their scopes.
func (t *tx) busy(ctx context.Context, r period.Range) (tasks []metering.Task, err error) {
	err = t.each(ctx, func(rows *sqlx.Rows) error {
		var (
			task       metering.Task
			begin, end timestamp
			scope      metering.Scope
		)
		if err := rows.Scan(&task.ID, &begin, &end, &scope.Ref, &scope.ID); err != nil {
			return fmt.Errorf("store: tasks: %w", err)
		}
		if last := len(tasks) - 1; last < 0 || tasks[last].ID != task.ID {
			task.Range = period.Range{Begin: begin.Time, End: end.Time}
			tasks = append(tasks, task)
		}
		last := &tasks[len(tasks)-1]
		last.Scopes = append(last.Scopes, &scope)
		return nil
	}, `SELECT t.id, t.begins_at, t.ends_at, s.id, s.scope FROM tasks t JOIN task_scopes ts ON ts.task = t.id JOIN scopes s ON s.id = ts.scope
		WHERE t.`+unfinished+` AND t.begins_at < ? AND t.ends_at > ? ORDER BY t.id`, at(r.End), at(r.Begin))
	return tasks, err
}

// mostIDs is how many numbers are bound in one statement: databases take some 30,000.
const mostIDs = 10_000

// withWindows returns those of the scopes that have a done or empty window in a range.
func (t *tx) withWindows(ctx context.Context, scopes []int64, r period.Range) (with []int64, err error) {
	for part := range slices.Chunk(scopes, mostIDs) {
		var ids []int64
		// a subquery rather than EXISTS: that is looked up for each scope, however many windows the range has
		query, args := in(`SELECT s.id FROM scopes s WHERE s.id IN (?) AND (SELECT w.state FROM windows w
			WHERE w.scope = s.id AND w.begins_at >= ? AND w.begins_at < ? AND w.state IN (2, 5) ORDER BY w.begins_at LIMIT 1) IS NOT NULL`,
			part, at(r.Begin), at(r.End))
		if err := t.list(ctx, &ids, query, args...); err != nil {
			return nil, err
		}
		with = append(with, ids...)
	}
	return with, nil
}

// oldestWindow returns the begin of the oldest window of some scopes, zero if there is none.
func (t *tx) oldestWindow(ctx context.Context, scopes []int64) (oldest time.Time, err error) {
	for part := range slices.Chunk(scopes, mostIDs) {
		var first timestamp
		query, args := in(`SELECT MIN(f.first) FROM (
			SELECT (SELECT w.begins_at FROM windows w WHERE w.scope = s.id ORDER BY w.begins_at LIMIT 1) AS first FROM scopes s WHERE s.id IN (?)) f`, part)
		if _, err := t.get(ctx, &first, query, args...); err != nil {
			return oldest, err
		}
		if oldest.IsZero() || !first.IsZero() && first.Before(oldest) {
			oldest = first.Time
		}
	}
	return oldest, nil
}

// StartTask starts a task that was previewed. It is a Conflict if charges of its range were dropped meanwhile.
func (s *Store) StartTask(ctx context.Context, id int64, actor string) error {
	return s.changeTask(ctx, id, actor, "start", "started", func(t *tx, task *metering.Task) (metering.TaskState, error) {
		if task.State != metering.Previewed {
			return "", nil
		}
		kept, err := t.chargesFrom(ctx)
		if err != nil {
			return "", err
		}
		if task.Range.Begin.Before(kept) {
			return "", fault.New(fault.Conflict, "task %d begins at %s, and charges before %s were dropped while it waited; cancel it and make one that begins later",
				id, task.Range.Begin.UTC().Format(time.RFC3339), kept.UTC().Format(time.RFC3339))
		}
		return metering.Running, nil
	})
}

// CancelTask ends a task that is being previewed, waits to be started or is running. Windows that it has done stay done; a
// worker that is doing some commits them or not, as it comes. AdvanceTasks takes its marks from the others, if there are
// too many to wait for.
func (s *Store) CancelTask(ctx context.Context, id int64, actor string) error {
	err := s.changeTask(ctx, id, actor, "cancel", "cancelled", func(_ *tx, task *metering.Task) (metering.TaskState, error) {
		if task.State == metering.Finished || task.State == metering.Cancelled {
			return "", nil
		}
		return metering.Cancelled, nil
	})
	if err != nil {
		return err
	}
	return s.giveBack(ctx, id)
}

// giveBack takes as many marks away from a task that is not running as somebody may wait for.
func (s *Store) giveBack(ctx context.Context, id int64) (err error) {
	const chunks = 4
	more := true
	for i := 0; i < chunks && more && err == nil; i++ {
		more, err = s.unmarkSome(ctx, id)
	}
	return err
}

// ResumeTask lets a cancelled task go on where it was: with its preview, waiting to be started, or with the windows that it
// not done yet. It is a Conflict if another task has some of its windows now, or while its marks are still being taken away.
func (s *Store) ResumeTask(ctx context.Context, id int64, actor string) error {
	if err := s.giveBack(ctx, id); err != nil {
		return err
	}
	return s.changeTask(ctx, id, actor, "resume", "resumed", func(t *tx, task *metering.Task) (metering.TaskState, error) {
		if task.State != metering.Cancelled {
			return "", nil
		}
		var all []metering.Scope
		if err := t.list(ctx, &all, "SELECT ts.scope AS ref FROM task_scopes ts WHERE ts.task = ?", id); err != nil {
			return "", err
		}
		scopes := make([]*metering.Scope, len(all))
		for i := range all {
			scopes[i] = &all[i]
		}
		busy, err := t.busy(ctx, task.Range)
		if err != nil {
			return "", err
		}
		if err := metering.CheckOverlap(scopes, task.Range, busy); err != nil {
			return "", err
		}
		var one int
		if left, err := t.get(ctx, &one, "SELECT 1 FROM windows w WHERE w.task = ?"+byTurn, id); err != nil {
			return "", err
		} else if left {
			return "", fault.New(fault.Conflict, "task %d can't be resumed yet: its windows are still being given back; try again in a moment", id)
		}
		return t.resumed(ctx, task)
	})
}

// resumed returns the state that a cancelled task had before. Of one that was running, all windows are marked anew.
func (t *tx) resumed(ctx context.Context, task *metering.Task) (metering.TaskState, error) {
	var one int
	if open, err := t.get(ctx, &one, "SELECT 1 FROM task_scopes WHERE task = ? AND NOT previewed LIMIT 1", task.ID); err != nil || open {
		return metering.Previewing, err
	}
	// who computed its preview last is forgotten when it is started
	if waiting, err := t.get(ctx, &one, "SELECT 1 FROM tasks WHERE id = ? AND lease_token IS NOT NULL", task.ID); err != nil || waiting {
		return metering.Previewed, err
	}
	_, err := t.exec(ctx, "UPDATE task_scopes SET windows = 0, done = 0, marked_to = ? WHERE task = ?", at(task.Range.Begin), task.ID)
	return metering.Running, err
}

// changeTask brings a task into the state that next returns; it returns none if the task can't be what is asked for.
func (s *Store) changeTask(ctx context.Context, id int64, actor, action, done string, next func(*tx, *metering.Task) (metering.TaskState, error)) error {
	return s.update(ctx, func(t *tx) error {
		if err := t.lockTasks(ctx); err != nil {
			return err
		}
		// for update: marking, a preview and commits that count what the task changes are in the middle of nothing
		var row taskRow
		if found, err := t.get(ctx, &row, "SELECT "+taskColumns+" FROM tasks WHERE id = ? "+t.d.forUpdate, id); err != nil {
			return err
		} else if !found {
			return noTask(id)
		}
		task := row.task()
		state, err := next(t, &task)
		if err != nil {
			return err
		}
		if state == "" {
			if string(task.State) == done {
				return fault.New(fault.Conflict, "task %d is %s already", id, done)
			}
			return fault.New(fault.Conflict, "task %d %s; it can't be %s", id, taskStateText[task.State], done)
		}
		ended := any(nil)
		if state == metering.Cancelled {
			ended = at(time.Now())
		}
		query := "UPDATE tasks SET state = ?, finished_at = ?, error = NULL, lease_until = NULL WHERE id = ?"
		if state == metering.Running {
			query = "UPDATE tasks SET state = ?, finished_at = ?, error = NULL, lease_until = NULL, lease_token = NULL WHERE id = ?"
		}
		if _, err := t.exec(ctx, query, state, ended, id); err != nil {
			return err
		}
		return t.audit(ctx, actor, action, taskSubject(id), string(task.State), string(state))
	})
}

func noTask(id int64) error { return fault.New(fault.NotFound, "there is no task %d", id) }

var taskStateText = map[metering.TaskState]string{
	metering.Previewing: "is still being previewed",
	metering.Previewed:  "waits to be started",
	metering.Running:    "is running",
	metering.Cancelled:  "is cancelled",
	metering.Finished:   "is finished",
}
