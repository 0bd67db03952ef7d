package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/store"
)

// hours is the range of some windows from begin on.
func hours(from, to int) period.Range {
	return period.Range{Begin: begin.Add(time.Duration(from) * hour), End: begin.Add(time.Duration(to) * hour)}
}

// ledger adds scopes whose first windows are done, without charges: tasks look at nothing else.
func (e *env) ledger(windows int, ids ...string) []*metering.Scope {
	e.Helper()
	scopes := e.scopes(begin, ids...)
	e.plan(begin.Add(time.Duration(windows) * hour))
	e.exec("UPDATE windows SET state = 2, attempts = 1, attempt = 7, config_version = 1, rules_version = 1")
	return scopes
}

func (e *env) create(n metering.NewTask) int64 {
	e.Helper()
	id, err := e.s.CreateTask(e.ctx, reprocess(n))
	e.must(err)
	return id
}

// reprocess fills in what most tasks of these tests have in common.
func reprocess(n metering.NewTask) *metering.NewTask {
	if n.Kind == "" {
		n.Kind = metering.Reprocess
	}
	if n.Reason == "" {
		n.Reason = "prices were wrong"
	}
	n.Author = "ada"
	return &n
}

// advance lets tasks go on until they are marked, and marks of others are gone; a call does no more than it can in two seconds.
func (e *env) advance() {
	e.Helper()
	const unmarked = `SELECT (SELECT count(*) FROM task_scopes s JOIN tasks t ON t.id = s.task WHERE t.state = 'running' AND s.marked_to < t.ends_at)
		+ (SELECT count(*) FROM windows w JOIN tasks t ON t.id = w.task WHERE t.state <> 'running')`
	for range 60 {
		e.must(e.s.AdvanceTasks(e.ctx))
		if e.count(unmarked) == 0 {
			return
		}
	}
}

func (e *env) taskOf(id int64) *metering.Task {
	e.Helper()
	task, err := e.s.Task(e.ctx, id)
	e.must(err)
	return task
}

// progress is how far a task is, as text.
func (e *env) progress(id int64) string {
	e.Helper()
	task := e.taskOf(id)
	text := fmt.Sprintf("%s: %d windows, %d left", task.State, task.Windows, task.Left)
	if task.Failing > 0 {
		text += fmt.Sprintf(", %d failing: %s", task.Failing, task.Failure)
	}
	if !task.Planned {
		text += ", not planned"
	}
	return text
}

// marked are the windows that wait for a task: scope and hour, for a few.
func (e *env) marked(id int64) []string {
	e.Helper()
	return e.rows("SELECT s.scope, ("+e.unix("w.begins_at")+" - ?) / 3600 FROM windows w JOIN scopes s ON s.id = w.scope WHERE w.task = ?", begin.Unix(), id)
}

// do does some windows of a task: those of a scope that begin in a range.
func (e *env) do(id int64, scope *metering.Scope, r period.Range) {
	e.Helper()
	where := " task = ? AND scope = ? AND begins_at >= ? AND begins_at < ?"
	e.exec("UPDATE task_scopes SET done = done + (SELECT count(*) FROM windows WHERE"+where+") WHERE task = ? AND scope = ?", id, scope.Ref, e.time(r.Begin), e.time(r.End), id, scope.Ref)
	e.exec("UPDATE windows SET task = NULL, redone_by = ?, attempt = 9 WHERE"+where, id, id, scope.Ref, e.time(r.Begin), e.time(r.End))
}

// counted fails unless a task has counted exactly the windows that wait for it or that it has done.
func (e *env) counted(id int64) (windows int64) {
	e.Helper()
	windows = e.count("SELECT SUM(windows) FROM task_scopes WHERE task = ?", id)
	e.equal("windows counted", windows, e.count("SELECT count(*) FROM windows WHERE task = ? OR redone_by = ?", id, id))
	e.equal("done", e.count("SELECT SUM(done) FROM task_scopes WHERE task = ?", id), e.count("SELECT count(*) FROM windows WHERE redone_by = ?", id))
	return windows
}

var taskTests = []test{
	{"tasks/create", func(e *env) {
		e.world(store.Wanted{})
		e.ledger(10, "a", "b", "c")
		e.scopes(begin.Add(20*hour), "late")
		e.exec("UPDATE windows SET state = 4 WHERE begins_at < ?", e.time(begin.Add(2*hour)))
		e.exec("UPDATE windows SET state = 5 WHERE begins_at = ?", e.time(begin.Add(2*hour)))
		e.exec("UPDATE windows SET state = 3, error = 'x' WHERE begins_at = ? AND scope = (SELECT id FROM scopes WHERE scope = 'b')", e.time(begin.Add(8*hour)))
		refused := func(kind fault.Kind, n metering.NewTask, words ...string) {
			e.Helper()
			_, err := e.s.CreateTask(e.ctx, reprocess(n))
			e.refused(err, kind, words...)
			e.equal("tasks and their scopes", e.count("SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM task_scopes)"), 0)
		}
		refused(fault.Invalid, metering.NewTask{ScopeIDs: []string{"nobody"}, Range: hours(0, 4)}, `scopes: there is no scope "nobody"`)
		refused(fault.Invalid, metering.NewTask{ScopeIDs: []string{"a", "b"}, Range: hours(0, 9)}, `the window of "b" at 2026-11-01T06:00:00Z is due or failed`)
		refused(fault.Invalid, metering.NewTask{ScopeIDs: []string{"a", "late"}, Range: hours(8, 21)}, `"a" has windows only until 2026-11-01T08:00:00Z and "late" has windows only until`)
		refused(fault.Invalid, metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(0, 11)}, `"a" has windows only until 2026-11-01T08:00:00Z`)
		refused(fault.Invalid, metering.NewTask{AllScopes: true, Range: hours(3, 9)}, `the window of "b" at`)
		refused(fault.Invalid, metering.NewTask{ScopeIDs: []string{"a"}, Range: period.Range{Begin: begin, End: begin.Add(hour + 1)}}, "end: ")
		refused(fault.Invalid, metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(0, 2)}, "nothing is charged in this range: its windows were waived")
		refused(fault.Invalid, metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(-9, 0)}, "begins at 2026-10-31T22:00:00Z", "retention")
		refused(fault.Invalid, metering.NewTask{ScopeIDs: []string{"late"}, Range: hours(0, 4)}, "no windows yet")

		all := e.create(metering.NewTask{AllScopes: true, Range: hours(1, 3), Kind: metering.Rerate, Reason: " new rules\n"})
		got := e.taskOf(all)
		if got.ID != all || got.Kind != metering.Rerate || got.State != metering.Running || !got.AllScopes || got.Range != hours(1, 3) || got.AsItWas ||
			got.Reason != "new rules" || got.Author != "ada" || time.Since(got.Created) > time.Minute || !got.EndedAt.IsZero() || got.Among != 3 {
			e.Errorf("%+v", got)
		}
		// those that were asked for are the task's, with windows or without
		some := e.create(metering.NewTask{ScopeIDs: []string{"late", "a"}, Range: hours(3, 5), AsItWas: true, Preview: true})
		got = e.taskOf(some)
		if got.State != metering.Previewing || got.AllScopes || !got.AsItWas || got.Among != 2 || got.Scopes[0].ID != "a" || got.Scopes[0].Source != e.src || got.Scopes[1].ID != "late" {
			e.Errorf("%+v", got)
		}
		_, err := e.s.Task(e.ctx, some+1)
		e.refused(err, fault.NotFound, "there is no task 3")
		_, err = e.s.CreateTask(e.ctx, reprocess(metering.NewTask{ScopeIDs: []string{"b"}, Range: hours(9, 10)})) // what failed before is not in the way
		e.must(err)
		changes, err := e.s.Changes(e.ctx, access.ChangeFilter{Subject: "task ", Limit: 9})
		e.must(err)
		var log []string
		for _, c := range changes {
			log = append(log, fmt.Sprint(c.Actor, " ", c.Action, " ", c.Subject, ": ", c.After))
		}
		e.equal("audit log", strings.Join(log, "\n"), "ada create task 3: reprocess scope \"b\" from 2026-11-01T07:00:00Z to 2026-11-01T08:00:00Z: prices were wrong\n"+
			"ada create task 2: as it was, reprocess 2 scopes from 2026-11-01T01:00:00Z to 2026-11-01T03:00:00Z: prices were wrong\n"+
			"ada create task 1: re-rate all 3 scopes from 2026-10-31T23:00:00Z to 2026-11-01T01:00:00Z: new rules")
	}},
	{"tasks/ranges that touch and overlap", func(e *env) {
		e.world(store.Wanted{})
		e.ledger(10, "a", "b")
		first := e.create(metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(2, 4)})
		e.create(metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(0, 2)})
		e.create(metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(4, 6), Preview: true})
		e.create(metering.NewTask{ScopeIDs: []string{"b"}, Range: hours(0, 6)})
		for _, n := range []metering.NewTask{
			{ScopeIDs: []string{"a"}, Range: hours(3, 4)}, {ScopeIDs: []string{"a", "b"}, Range: hours(1, 9)}, {AllScopes: true, Range: hours(5, 6)},
		} {
			_, err := e.s.CreateTask(e.ctx, reprocess(n))
			e.refused(err, fault.Conflict, "has some of the same windows")
		}
		_, err := e.s.CreateTask(e.ctx, reprocess(metering.NewTask{ScopeIDs: []string{"b", "a"}, Range: hours(3, 4)}))
		e.refused(err, fault.Conflict, "task 1 has some of the same windows", `task 1 has "a" from 2026-11-01T00:00:00Z to 2026-11-01T02:00:00Z`)
		e.must(e.s.CancelTask(e.ctx, first, "bo"))
		e.create(metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(3, 4)})
		e.advance()
		e.equal("windows that wait", e.rows("SELECT task, count(*) FROM windows WHERE task IS NOT NULL GROUP BY task"), []string{"2|2", "4|6", "5|1"})
	}},
	{"tasks/concurrent creators", func(e *env) {
		e.world(store.Wanted{})
		e.ledger(24, "a", "b", "c")
		stores := []*store.Store{e.s, e.open()}
		var wg sync.WaitGroup
		errs := make([]error, 12)
		for i := range errs {
			wg.Go(func() {
				ids := []string{"a", "b", "c"}
				_, errs[i] = stores[i%2].CreateTask(e.ctx, reprocess(metering.NewTask{ScopeIDs: []string{ids[i%3], "b"}, Range: hours(i, i+12)}))
			})
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
			} else {
				e.refused(err, fault.Conflict)
			}
		}
		e.equal("tasks", made, 1)
		e.equal("stored", e.count("SELECT count(*) FROM tasks"), 1)
	}},
	{"tasks/wrong states", func(e *env) {
		e.world(store.Wanted{})
		e.ledger(4, "a", "b", "c", "d", "e")
		ids := map[metering.TaskState]int64{}
		for i, state := range []metering.TaskState{metering.Previewing, metering.Previewed, metering.Running, metering.Cancelled, metering.Finished} {
			ids[state] = e.create(metering.NewTask{ScopeIDs: []string{string(rune('a' + i))}, Range: hours(0, 4)})
			e.exec("UPDATE tasks SET state = ? WHERE id = ?", state, ids[state])
		}
		for _, c := range []struct {
			do    func(ctx context.Context, id int64, actor string) error
			state metering.TaskState
			want  string
		}{
			{e.s.StartTask, metering.Previewing, "task 1 is still being previewed; it can't be started"},
			{e.s.StartTask, metering.Running, "task 3 is running; it can't be started"},
			{e.s.StartTask, metering.Cancelled, "task 4 is cancelled; it can't be started"},
			{e.s.StartTask, metering.Finished, "task 5 is finished; it can't be started"},
			{e.s.CancelTask, metering.Cancelled, "task 4 is cancelled already"},
			{e.s.CancelTask, metering.Finished, "task 5 is finished; it can't be cancelled"},
			{e.s.ResumeTask, metering.Previewing, "task 1 is still being previewed; it can't be resumed"},
			{e.s.ResumeTask, metering.Previewed, "task 2 waits to be started; it can't be resumed"},
			{e.s.ResumeTask, metering.Running, "task 3 is running; it can't be resumed"},
			{e.s.ResumeTask, metering.Finished, "task 5 is finished; it can't be resumed"},
		} {
			err := c.do(e.ctx, ids[c.state], "bo")
			e.refused(err, fault.Conflict)
			e.equal("error", err, c.want)
		}
		for _, do := range []func(ctx context.Context, id int64, actor string) error{e.s.StartTask, e.s.CancelTask, e.s.ResumeTask} {
			e.refused(do(e.ctx, 99, "bo"), fault.NotFound, "there is no task 99")
		}
		e.must(e.s.CancelTask(e.ctx, ids[metering.Previewing], "bo"))
		e.must(e.s.CancelTask(e.ctx, ids[metering.Running], "bo"))
		e.must(e.s.StartTask(e.ctx, ids[metering.Previewed], "bo"))
		e.equal("audit log", e.rows("SELECT actor, action, subject, before, after FROM audit_log WHERE actor = 'bo'"), []string{
			"bo|cancel|task 1|previewing|cancelled", "bo|cancel|task 3|running|cancelled", "bo|start|task 2|previewed|running",
		})
	}},
	{"tasks/marking", func(e *env) {
		e.world(store.Wanted{})
		scopes := e.ledger(10, "a", "b", "c")
		a, b := scopes[0], scopes[1]
		e.exec("UPDATE windows SET state = 5, error = 'old', attempts = 3 WHERE begins_at = ?", e.time(begin.Add(2*hour)))
		e.exec("UPDATE windows SET state = 4 WHERE begins_at = ?", e.time(begin.Add(3*hour)))
		e.exec("UPDATE windows SET task = 0, next_attempt = ? WHERE begins_at = ?", e.time(time.Now().Add(9*hour).Truncate(time.Second)), e.time(begin.Add(4*hour)))
		e.exec("UPDATE windows SET redone_by = 77 WHERE begins_at = ?", e.time(begin.Add(5*hour)))
		e.advance() // nothing to do
		id := e.create(metering.NewTask{ScopeIDs: []string{"a", "b"}, Range: hours(1, 7)})
		e.equal("before", e.progress(id), "running: 0 windows, 0 left, not planned")
		e.advance()
		e.advance() // changes nothing
		e.equal("marked", e.marked(id), []string{"a|1", "a|2", "a|4", "a|5", "a|6", "b|1", "b|2", "b|4", "b|5", "b|6"})
		e.equal("windows as if never tried", e.rows("SELECT attempts, attempt, error, count(*) FROM windows WHERE task = ? AND next_attempt <= ? GROUP BY 1, 2, 3",
			id, e.time(time.Now().Add(time.Second).Truncate(time.Second))), []string{"0|0|<nil>|10"})
		e.equal("marked", e.progress(id), "running: 10 windows, 10 left")
		e.do(id, a, hours(1, 5))
		e.exec("UPDATE windows SET error = 'no answer', attempt = 8, attempts = 1 WHERE task = ? AND scope = ? AND begins_at = ?", id, a.Ref, e.time(begin.Add(6*hour)))
		e.exec("UPDATE windows SET error = 'no answer at all' WHERE task = ? AND scope = ? AND begins_at = ?", id, b.Ref, e.time(begin.Add(2*hour)))
		e.equal("in the middle", e.progress(id), "running: 10 windows, 7 left, 2 failing: no answer at all")
		e.advance()
		e.equal("in the middle", e.progress(id), "running: 10 windows, 7 left, 2 failing: no answer at all")
		e.do(id, a, hours(5, 7))
		e.do(id, b, hours(0, 9))
		e.equal("done", e.progress(id), "running: 10 windows, 0 left")
		e.advance()
		e.equal("finished", e.progress(id), "finished: 10 windows, 0 left")
		if ended := e.taskOf(id).EndedAt; time.Since(ended) > time.Minute {
			e.Errorf("ended at %v", ended)
		}
		e.advance()
		// windows that are not the task's are as they were
		e.equal("others", e.count("SELECT count(*) FROM windows WHERE task IS NOT NULL OR redone_by IS NOT NULL AND redone_by NOT IN (?, 77)", id), 1)
	}},
	{"tasks/marking in parts", func(e *env) {
		e.world(store.Wanted{})
		// one scope with more windows than a part, then some with a few each that make several parts
		e.ledger(7500, "a")
		e.scopes(begin.Add(7000*hour), "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m")
		e.plan(begin.Add(7500 * hour))
		e.exec("UPDATE windows SET state = 2")
		id := e.create(metering.NewTask{AllScopes: true, Range: hours(3, 7497)})
		stopped := 0
		interrupted := func(what string, d time.Duration, do func(context.Context) error) bool {
			e.Helper()
			ctx, cancel := context.WithTimeout(e.ctx, d)
			defer cancel()
			err := do(ctx)
			if deadline, _ := ctx.Deadline(); err != nil && time.Now().Before(deadline) { // a dial may notice before ctx does
				e.Fatalf("%s: %v", what, err)
			}
			e.counted(id)
			return err != nil
		}
		for d := time.Millisecond; interrupted("marking", d, e.s.AdvanceTasks); d = d * 5 / 4 {
			stopped++
		}
		e.advance()
		e.equal("marked", e.progress(id), fmt.Sprintf("running: %d windows, %d left", 7494+12*497, 7494+12*497))
		for _, s := range e.scopes(begin, strings.Split("abcdefghijklm", "")...) {
			e.do(id, s, hours(3, 7100))
		}
		done := 7097 + 12*100
		e.equal("some done", e.progress(id), fmt.Sprintf("running: %d windows, %d left", 7494+12*497, 7494+12*497-done))

		e.exec("UPDATE tasks SET state = 'cancelled' WHERE id = ?", id) // and then it crashed
		for d := time.Millisecond; interrupted("unmarking", d, e.s.AdvanceTasks); d = d * 5 / 4 {
			stopped++
		}
		e.advance()
		e.equal("left of a cancelled task", len(e.marked(id)), 0)
		e.equal("cancelled", e.progress(id), fmt.Sprintf("cancelled: %d windows, 0 left, not planned", done))
		e.must(e.s.ResumeTask(e.ctx, id, "bo"))
		e.advance()
		e.counted(id)
		e.equal("resumed", e.progress(id), fmt.Sprintf("running: %d windows, %d left", 7494+12*497, 7494+12*497-done))
		e.equal("windows outside the range", e.count("SELECT count(*) FROM windows WHERE (task IS NOT NULL OR redone_by IS NOT NULL) AND (begins_at < ? OR begins_at >= ?)",
			e.time(begin.Add(3*hour)), e.time(begin.Add(7497*hour))), 0)
		if stopped == 0 {
			e.Error("nothing was interrupted")
		}
	}},
	{"tasks/concurrent marking and cancelling", func(e *env) {
		e.world(store.Wanted{})
		e.ledger(600, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t")
		id := e.create(metering.NewTask{AllScopes: true, Range: hours(0, 600)})
		stores := []*store.Store{e.s, e.open(), e.open(), e.open()}
		all := func(do func(i int, s *store.Store) error) {
			e.Helper()
			errs := make([]error, len(stores))
			var wg sync.WaitGroup
			for i, s := range stores {
				wg.Go(func() { errs[i] = do(i, s) })
			}
			wg.Wait()
			e.must(errors.Join(errs...))
		}
		advance := func(s *store.Store) error { return s.AdvanceTasks(e.ctx) }
		all(func(_ int, s *store.Store) error { return advance(s) })
		e.equal("marked", e.counted(id), 12000)
		e.equal("marked", e.progress(id), "running: 12000 windows, 12000 left")
		all(func(i int, s *store.Store) error {
			if i == 0 {
				return s.CancelTask(e.ctx, id, "bo")
			}
			return advance(s)
		})
		e.advance()
		e.equal("cancelled", e.progress(id), "cancelled: 0 windows, 0 left, not planned")
		e.equal("marked", len(e.marked(id)), 0)
		e.must(e.s.ResumeTask(e.ctx, id, "bo"))
		all(func(i int, s *store.Store) error { // cancelled in the middle of its marking
			if i == 0 {
				for marked := 0; marked == 0; {
					if err := e.raw.GetContext(e.ctx, &marked, "SELECT count(*) FROM windows WHERE task > 0"); err != nil {
						return err
					}
				}
				return s.CancelTask(e.ctx, id, "bo")
			}
			return advance(s)
		})
		e.advance()
		e.equal("cancelled", e.progress(id), "cancelled: 0 windows, 0 left, not planned")
		e.equal("marked", len(e.marked(id)), 0)
	}},
	{"tasks/marks of a cancelled task are not in the way", func(e *env) {
		e.world(store.Wanted{})
		a := e.ledger(10, "a")[0]
		first := e.create(metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(0, 8)})
		e.advance()
		e.do(first, a, hours(0, 2))
		e.exec("UPDATE tasks SET state = 'cancelled' WHERE id = ?", first) // and then it crashed
		second := e.create(metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(1, 4)})
		e.advance()
		e.equal("the first", e.progress(first), "cancelled: 2 windows, 0 left, not planned")
		e.equal("the second", e.progress(second), "running: 3 windows, 3 left")
		e.refused(e.s.ResumeTask(e.ctx, first, "bo"), fault.Conflict, "task 2 has some of the same windows", `task 2 has "a" from 2026-10-31T23:00:00Z to 2026-11-01T02:00:00Z`)
		e.equal("the first", e.progress(first), "cancelled: 2 windows, 0 left, not planned")
		e.do(second, a, hours(1, 4))
		e.advance()
		e.must(e.s.ResumeTask(e.ctx, first, "bo"))
		e.advance()
		e.counted(first)
		e.equal("the first", e.progress(first), "running: 8 windows, 7 left") // what the second did once more is done again
		e.do(first, a, hours(0, 8))
		e.advance()
		e.equal("the first", e.progress(first), "finished: 8 windows, 0 left")
		e.equal("done by", e.rows("SELECT redone_by, count(*) FROM windows GROUP BY 1"), []string{"1|8", "<nil>|2"})
	}},
	{"tasks/cancelled, resumed, cancelled", func(e *env) {
		e.world(store.Wanted{})
		a := e.ledger(10, "a")[0]
		first := e.create(metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(0, 8)})
		e.advance()
		e.do(first, a, hours(0, 2))
		e.exec("UPDATE tasks SET state = 'cancelled' WHERE id = ?", first) // and then it crashed
		e.must(e.s.ResumeTask(e.ctx, first, "bo"))
		e.must(e.s.CancelTask(e.ctx, first, "bo"))
		e.equal("marked", e.marked(first), []string(nil))
		second := e.create(metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(0, 8)})
		e.advance()
		e.equal("the second", e.progress(second), "running: 8 windows, 8 left")
	}},
	{"tasks/cancelled, started or not", func(e *env) {
		e.world(store.Wanted{})
		e.ledger(10, "a", "b")
		started := func(id int64, want bool) {
			e.Helper()
			e.equal("started", e.taskOf(id).Started, want)
		}
		id := e.create(metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(0, 8)})
		started(id, true)
		e.must(e.s.CancelTask(e.ctx, id, "bo"))
		e.advance()
		started(id, true) // also if it had done nothing
		id = e.create(metering.NewTask{ScopeIDs: []string{"b"}, Range: hours(0, 8), Preview: true})
		started(id, false)
		e.must(e.s.CancelTask(e.ctx, id, "bo"))
		started(id, false)
		e.must(e.s.ResumeTask(e.ctx, id, "bo"))
		for {
			p, err := e.s.NextPreview(e.ctx, metering.PreviewRequest{For: hour, Sources: []string{"default"}})
			e.must(err)
			if p == nil {
				break
			}
			e.must(e.s.SavePreview(e.ctx, p, &metering.PreviewResult{}))
		}
		e.equal("state", e.taskOf(id).State, metering.Previewed)
		e.must(e.s.CancelTask(e.ctx, id, "bo"))
		started(id, false)
		e.must(e.s.ResumeTask(e.ctx, id, "bo"))
		e.must(e.s.StartTask(e.ctx, id, "bo"))
		started(id, true)
		e.must(e.s.CancelTask(e.ctx, id, "bo"))
		started(id, true)
	}},
	{"tasks/resumed while its windows are given back", func(e *env) {
		e.world(store.Wanted{})
		e.ledger(22_000, "a")
		id := e.create(metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(0, 22_000)})
		e.advance()
		e.equal("marked", e.progress(id), "running: 22000 windows, 22000 left")
		e.must(e.s.CancelTask(e.ctx, id, "bo"))
		e.exec("UPDATE windows SET task = ?", id)
		e.refused(e.s.ResumeTask(e.ctx, id, "bo"), fault.Conflict, "task 1 can't be resumed yet: its windows are still being given back; try again in a moment")
		e.equal("state", e.taskOf(id).State, metering.Cancelled)
		e.must(e.s.ResumeTask(e.ctx, id, "bo"))
		e.advance()
		e.equal("resumed", e.progress(id), "running: 22000 windows, 22000 left")
	}},
	{"tasks/charges dropped before the start", func(e *env) {
		e.world(store.Wanted{})
		e.ledger(10, "a")
		id := e.create(metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(0, 8), Preview: true})
		e.exec("UPDATE tasks SET state = 'previewed' WHERE id = ?", id)
		e.exec("INSERT INTO settings (name, value) VALUES ('charges_from', ?)", begin.Add(hour).Format(time.RFC3339))
		e.refused(e.s.StartTask(e.ctx, id, "bo"), fault.Conflict, "task 1 begins at 2026-10-31T22:00:00Z, and charges before 2026-10-31T23:00:00Z were dropped while it waited; cancel it")
		e.equal("state", e.taskOf(id).State, metering.Previewed)
		e.must(e.s.CancelTask(e.ctx, id, "bo"))
		_, err := e.s.CreateTask(e.ctx, reprocess(metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(0, 8)}))
		e.refused(err, fault.Invalid, "begin: charges before 2026-10-31T23:00:00Z were dropped by retention")
		id = e.create(metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(1, 8), Preview: true})
		e.exec("UPDATE tasks SET state = 'previewed' WHERE id = ?", id)
		e.must(e.s.StartTask(e.ctx, id, "bo"))
	}},
	{"tasks/marking waits for commits", func(e *env) {
		e.world(store.Wanted{})
		e.charged(3, "a")
		a := e.scopes(begin, "a")[0]
		id := e.create(metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(0, 3)})
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				switch i % 4 {
				case 0:
					errs[i] = e.s.AdvanceTasks(e.ctx)
				case 1:
					_, errs[i] = e.s.Task(e.ctx, id)
				case 2:
					_, _, errs[i] = e.s.Tasks(e.ctx, 10, 0)
				default:
					_, errs[i] = e.s.Charges(e.ctx, []*metering.Scope{a}, period.Run{Begin: begin, Length: hour, Count: 3})
				}
			})
		}
		wg.Wait()
		e.must(errors.Join(errs...))
		e.equal("marked", e.counted(id), 3)
	}},
	{"tasks/list", func(e *env) {
		e.world(store.Wanted{})
		none, total, err := e.s.Tasks(e.ctx, 10, 0)
		e.must(err)
		e.equal("without tasks", fmt.Sprint(none, total), "[] 0")
		var ids []string
		for i := range 25 {
			ids = append(ids, fmt.Sprintf("s%02d", i))
		}
		e.ledger(12, ids...)
		for i := range 6 {
			e.create(metering.NewTask{AllScopes: i%2 == 0, ScopeIDs: ids[:i%2], Range: hours(2*i, 2*i+2), Preview: i == 3, Reason: fmt.Sprint("reason ", i)})
		}
		e.advance()
		list := func(limit, offset int) (lines []string) {
			e.Helper()
			tasks, total, err := e.s.Tasks(e.ctx, limit, offset)
			e.must(err)
			e.equal("total", total, 6)
			for i := range tasks {
				task := &tasks[i]
				if one := e.taskOf(task.ID); fmt.Sprintf("%+v", strip(*one)) != fmt.Sprintf("%+v", strip(*task)) {
					e.Errorf("alone %+v, in the list %+v", one, task)
				}
				lines = append(lines, fmt.Sprintf("%d %s %s: %d of %d scopes from %s, %d windows", task.ID, task.State, task.Reason, len(task.Scopes), task.Among, task.Scopes[0].ID, task.Windows))
			}
			return lines
		}
		e.equal("tasks", list(100, 0), []string{
			"6 running reason 5: 1 of 1 scopes from s00, 2 windows", "5 running reason 4: 20 of 25 scopes from s00, 50 windows", "4 previewing reason 3: 1 of 1 scopes from s00, 0 windows",
			"3 running reason 2: 20 of 25 scopes from s00, 50 windows", "2 running reason 1: 1 of 1 scopes from s00, 2 windows", "1 running reason 0: 20 of 25 scopes from s00, 50 windows",
		})
		e.equal("a page", list(2, 3), []string{"3 running reason 2: 20 of 25 scopes from s00, 50 windows", "2 running reason 1: 1 of 1 scopes from s00, 2 windows"})
		e.equal("behind the end", list(2, 6), []string(nil))

		e.exec("UPDATE tasks SET state = 'finished' WHERE id IN (2, 5)")
		e.exec("UPDATE tasks SET state = 'cancelled', kind = 're-rate' WHERE id = 6")
		numbers := func(tasks []metering.Task) (ids []int64) {
			for i := range tasks {
				if one := e.taskOf(tasks[i].ID); fmt.Sprintf("%+v", strip(*one)) != fmt.Sprintf("%+v", strip(tasks[i])) {
					e.Errorf("alone %+v, in the list %+v", one, tasks[i])
				}
				ids = append(ids, tasks[i].ID)
			}
			return ids
		}
		open, err := e.s.OpenTasks(e.ctx)
		e.must(err)
		e.equal("open", numbers(open), []int64{4, 3, 1})
		for _, c := range []struct {
			filter metering.TaskFilter
			want   string
		}{
			{metering.TaskFilter{}, "[6 5] 6"},
			{metering.TaskFilter{Kind: metering.Reprocess}, "[5 4] 5"},
			{metering.TaskFilter{States: []metering.TaskState{metering.Running}}, "[3 1] 2"},
			{metering.TaskFilter{States: []metering.TaskState{metering.Running, metering.Previewing, metering.Previewed}}, "[4 3] 3"},
			{metering.TaskFilter{States: []metering.TaskState{metering.Finished, metering.Cancelled}}, "[6 5] 3"},
			{metering.TaskFilter{Kind: metering.Rerate, States: []metering.TaskState{metering.Finished, metering.Cancelled}}, "[6] 1"},
			{metering.TaskFilter{Kind: metering.Recheck}, "[] 0"},
		} {
			tasks, total, err := e.s.FilterTasks(e.ctx, c.filter, 2, 0)
			e.must(err)
			e.equal(fmt.Sprintf("%+v", c.filter), fmt.Sprint(numbers(tasks), total), c.want)
		}
	}},
	{"tasks/preview", func(e *env) {
		e.world(store.Wanted{})
		scopes := e.ledger(60, "a", "b", "c", "d")
		e.scopes(begin.Add(60*hour), "z") // without windows
		window := func(scope int, w int, set string) {
			e.exec("UPDATE windows SET "+set+" WHERE scope = ? AND begins_at = ?", scopes[scope].Ref, e.time(begin.Add(time.Duration(w)*hour)))
		}
		window(0, 30, "rules_version = 2")
		window(0, 31, "rules_version = 2")
		window(0, 32, "config_version = 2")
		window(0, 40, "state = 4")
		window(0, 43, "state = 5, absence_accepted = "+map[bool]string{true: "true", false: "1"}[e.postgres])
		window(1, 2, "points = 17")
		window(1, 1, "points = 9")
		e.exec("UPDATE windows SET state = 4 WHERE scope = ?", scopes[2].Ref)
		id := e.create(metering.NewTask{ScopeIDs: []string{"a", "b", "c", "z"}, Range: hours(1, 50), Preview: true})
		other := e.create(metering.NewTask{ScopeIDs: []string{"d"}, Range: hours(0, 3), Preview: true, Kind: metering.Rerate})
		e.advance()
		e.equal("nothing waits for a preview", e.count("SELECT count(*) FROM windows WHERE task IS NOT NULL"), 0)
		p := e.preview()
		if p.Task.ID != id || p.Token == 0 || p.Task.Kind != metering.Reprocess || p.Task.Range != hours(1, 50) {
			e.Errorf("%+v", p)
		}
		var got []string
		for _, l := range p.Leases {
			got = append(got, fmt.Sprintf("%s %s+%d v%d/%d %d points %t", l.Scope.ID, l.Run.Begin.Sub(begin), l.Run.Count, l.Config, l.Rules, l.Points, l.Accepted))
			if l.Task != p.Task || l.Token != p.Token || l.Run.Length != hour || l.Scope.Source != e.src {
				e.Errorf("%+v", l)
			}
		}
		e.equal("leases", strings.Join(got, "\n"), strings.Join([]string{
			"a 1h0m0s+24 v1/1 0 points false", "a 25h0m0s+5 v1/1 0 points false", "a 30h0m0s+2 v1/2 0 points false", "a 32h0m0s+1 v2/1 0 points false",
			"a 33h0m0s+7 v1/1 0 points false", "a 41h0m0s+2 v1/1 0 points false", "a 43h0m0s+1 v1/1 0 points true", "a 44h0m0s+6 v1/1 0 points false",
			"b 1h0m0s+24 v1/1 17 points false", "b 25h0m0s+24 v1/1 0 points false", "b 49h0m0s+1 v1/1 0 points false",
		}, "\n"))
		q := e.preview() // by another worker: the other task
		e.equal("next", fmt.Sprint(q.Task.ID, len(q.Leases)), fmt.Sprint(other, 1))
		if next, err := e.s.NextPreview(e.ctx, metering.PreviewRequest{For: hour, Sources: []string{"default"}}); next != nil || err != nil {
			e.Fatal(next, err)
		}
		dec := money.MustParse
		e.must(e.s.SavePreview(e.ctx, p, &metering.PreviewResult{
			Differences: []metering.TaskDifference{
				{Scope: scopes[1], Metric: "ram", Change: metering.Change{PointsBefore: 1, PointsAfter: 2, Before: dec("0.1"), After: dec("0.2")}},
				{Scope: scopes[0], Metric: "cpu", Change: metering.Change{PointsBefore: 10, PointsAfter: 8, Before: dec("1.000000000001"), After: dec("3"), LostPoints: 2, LostAmount: dec("0.4")}},
				{Scope: scopes[1], Metric: "ram", Change: metering.Change{PointsBefore: 1, Before: dec("0.2")}},
			},
			Losses: []metering.LostPrice{
				{Scope: scopes[0], Metric: "cpu", Reason: metering.LossGone, Detail: "id = 2", Points: 1, Amount: dec("0.1")},
				{Scope: scopes[0], Metric: "cpu", Reason: metering.LossGone, Detail: "id = 1", Points: 1, Amount: dec("0.3")},
			},
		}))
		task := e.taskOf(id)
		e.equal("state", task.State, metering.Previewed)
		e.equal("sums", fmt.Sprint(task.Preview, task.Change), fmt.Sprint(metering.Change{PointsBefore: 12, PointsAfter: 10, Before: dec("1.300000000001"), After: dec("3.2"), LostPoints: 2, LostAmount: dec("0.4")}, metering.Change{}))
		e.equal("differences", e.differences(id), []string{"a cpu 10>8 1.000000000001>3 lost 2 0.4", "b ram 2>2 0.3>0.2 lost 0 0"})
		losses, n, err := e.s.TaskLosses(e.ctx, id, 1)
		e.must(err)
		l := losses[0]
		e.equal("losses", fmt.Sprintf("%d of %d: %s %s %s %s %d %s", len(losses), n, l.Scope.ID, l.Metric, l.Reason, l.Detail, l.Points, l.Amount), "1 of 2: a cpu gone id = 1 1 0.3")
		e.refused(e.s.SavePreview(e.ctx, p, &metering.PreviewResult{}), fault.Conflict, "nothing was stored") // once is enough

		// cancelled while it waits: resumed, it waits again
		e.must(e.s.CancelTask(e.ctx, id, "bo"))
		e.must(e.s.ResumeTask(e.ctx, id, "bo"))
		e.equal("resumed", e.taskOf(id).State, metering.Previewed)
		e.must(e.s.StartTask(e.ctx, id, "bo"))
		e.advance()
		e.equal("started", e.progress(id), "running: 97 windows, 97 left")
		e.must(e.s.CancelTask(e.ctx, id, "bo"))
		e.must(e.s.ResumeTask(e.ctx, id, "bo"))
		e.advance()
		e.equal("resumed", e.progress(id), "running: 97 windows, 97 left")

		// cancelled in the middle of its preview
		e.must(e.s.CancelTask(e.ctx, other, "bo"))
		e.refused(e.s.SavePreview(e.ctx, q, &metering.PreviewResult{}), fault.Conflict, "task 2 was cancelled")
		if next, err := e.s.NextPreview(e.ctx, metering.PreviewRequest{For: hour, Sources: []string{"default"}}); next != nil || err != nil {
			e.Fatal(next, err)
		}
		e.must(e.s.ResumeTask(e.ctx, other, "bo"))
		e.equal("resumed", e.taskOf(other).State, metering.Previewing)
		e.refused(e.s.SavePreview(e.ctx, q, &metering.PreviewResult{}), fault.Conflict, "nothing was stored")
		q = e.preview()
		e.must(e.s.SavePreview(e.ctx, q, &metering.PreviewResult{Waits: "no answer", Differences: []metering.TaskDifference{{Scope: scopes[3], Metric: "cpu"}}}))
		task = e.taskOf(other)
		e.equal("waits", fmt.Sprint(task.State, task.Error, task.EndedAt.IsZero(), e.differences(other)), fmt.Sprint(metering.Previewing, "no answer", true, []string(nil)))

		// a worker that died, and came back
		dead, err := e.s.NextPreview(e.ctx, metering.PreviewRequest{For: -time.Minute, Sources: []string{"default"}})
		e.must(err)
		q = e.preview()
		e.refused(e.s.SavePreview(e.ctx, dead, &metering.PreviewResult{}), fault.Conflict)
		e.must(e.s.SavePreview(e.ctx, q, &metering.PreviewResult{}))
		e.equal("previewed", e.taskOf(other).State, metering.Previewed)
	}},
	{"tasks/preview by whom it can be", func(e *env) {
		e.world(store.Wanted{})
		other, err := e.s.UseSource(e.ctx, metering.Source{Name: "other", Kind: "prometheus", URL: "http://other", ScopeKey: "project_id"})
		e.must(err)
		_, err = e.s.AddScopes(e.ctx, other, "static", []metering.Found{{ID: "o"}}, begin)
		e.must(err)
		e.ledger(5, "a")
		both := e.create(metering.NewTask{ScopeIDs: []string{"a", "o"}, Range: hours(0, 2), Preview: true})
		rerate := e.create(metering.NewTask{ScopeIDs: []string{"o"}, Range: hours(2, 4), Kind: metering.Rerate, Preview: true})
		take := func(r metering.PreviewRequest) (p *metering.Preview, text string) {
			e.Helper()
			r.For = hour
			p, err := e.s.NextPreview(e.ctx, r)
			e.must(err)
			if p == nil {
				return nil, "none"
			}
			var ids []string
			for _, l := range p.Leases {
				ids = append(ids, l.Scope.ID)
			}
			return p, fmt.Sprintf("%d %s", p.Task.ID, strings.Join(ids, " "))
		}
		_, text := take(metering.PreviewRequest{Task: both})
		e.equal("without a source", text, "none")
		p, text := take(metering.PreviewRequest{})
		e.equal("without a source", text, fmt.Sprintf("%d o", rerate))
		e.must(e.s.SavePreview(e.ctx, p, &metering.PreviewResult{Waits: "somebody tripped"}))
		_, text = take(metering.PreviewRequest{Task: 77, Sources: []string{"default", "other"}})
		e.equal("of no task", text, "none")
		p, text = take(metering.PreviewRequest{Task: rerate, Sources: []string{"default"}})
		e.equal("of one task", text, fmt.Sprintf("%d o", rerate))
		e.must(e.s.SavePreview(e.ctx, p, &metering.PreviewResult{}))
		e.equal("the re-rate", fmt.Sprint(e.taskOf(rerate).State, e.taskOf(rerate).Error), "previewed")
		_, text = take(metering.PreviewRequest{Sources: []string{"nobody's"}})
		e.equal("with a source of nobody", text, "none")
		p, text = take(metering.PreviewRequest{Sources: []string{"default"}})
		e.equal("of a source", text, fmt.Sprintf("%d a", both))

		// it lasts as long as it is renewed
		e.exec("UPDATE tasks SET lease_until = " + map[bool]string{true: "to_timestamp(1)", false: "1"}[e.postgres] + " WHERE state = 'previewing'")
		held, err := e.s.RenewPreview(e.ctx, p, hour)
		e.must(err)
		_, text = take(metering.PreviewRequest{Sources: []string{"default"}})
		e.equal("renewed", fmt.Sprintf("%t %s", held, text), "true none")
		e.must(e.s.SavePreview(e.ctx, p, &metering.PreviewResult{Missing: 2, Because: "the first"}))
		held, err = e.s.RenewPreview(e.ctx, p, hour)
		e.must(err)
		e.equal("renewed when it is over", held, false)
		_, text = take(metering.PreviewRequest{Sources: []string{"default"}})
		e.equal("of a source of which all is there", text, "none")

		// what is missing stays known, whatever happens in between
		e.must(e.s.CancelTask(e.ctx, both, "bo"))
		e.must(e.s.ResumeTask(e.ctx, both, "bo"))
		p, text = take(metering.PreviewRequest{Sources: []string{"default", "other"}})
		e.equal("of the other source", text, fmt.Sprintf("%d o", both))
		e.must(e.s.SavePreview(e.ctx, p, &metering.PreviewResult{Waits: "no answer"}))
		p, _ = take(metering.PreviewRequest{Sources: []string{"other"}})
		e.must(e.s.SavePreview(e.ctx, p, &metering.PreviewResult{Missing: 1, Because: "the second"}))
		task := e.taskOf(both)
		e.equal("in the end", fmt.Sprintf("%s %d %s%s", task.State, task.Missing, task.Because, task.Error), "previewed 3 the first")

		// windows that ask no source, and the others
		for _, id := range []int64{both, rerate} {
			e.must(e.s.StartTask(e.ctx, id, "bo"))
		}
		e.advance()
		for text, r := range map[string]metering.LeaseRequest{"[a 0]": {Again: true, Collects: true, Only: []string{"a"}}, "[o 2]": {Again: true, Rerates: true}} {
			leases := e.lease(r)
			var got []string
			for _, l := range leases {
				got = append(got, fmt.Sprint(l.Scope.ID, " ", int(l.Run.Begin.Sub(begin)/hour)))
			}
			e.equal("leases", fmt.Sprint(got), text)
		}
	}},
	{"tasks/preview in parts", func(e *env) {
		e.world(store.Wanted{})
		var ids []string
		for i := range 4 {
			ids = append(ids, fmt.Sprintf("s%d", i))
		}
		scopes := e.ledger(1700, ids...)
		// every window of its own: more leases than was guessed
		e.exec("UPDATE windows SET rules_version = "+e.unix("begins_at")+" / 3600 WHERE scope <> ?", scopes[3].Ref)
		id := e.create(metering.NewTask{AllScopes: true, Range: hours(0, 900), Preview: true})
		var parts []string
		seen := map[string]bool{}
		losses := 0
		for e.taskOf(id).State == metering.Previewing {
			p := e.preview()
			of := map[string]int{}
			r := &metering.PreviewResult{}
			for _, l := range p.Leases {
				of[l.Scope.ID] += l.Run.Count
				r.Losses = append(r.Losses, metering.LostPrice{Scope: l.Scope, Metric: "cpu", Reason: metering.LossUnpriced, Detail: l.Run.Begin.String(), Points: 1, Amount: money.New(int64(losses), 2)})
				losses++
			}
			var names []string
			for name, n := range of {
				if n != 900 || seen[name] {
					e.Errorf("%d windows of %s", n, name)
				}
				seen[name] = true
				names = append(names, name)
			}
			slices.Sort(names)
			parts = append(parts, strings.Join(names, " "))
			e.must(e.s.SavePreview(e.ctx, p, r))
		}
		e.equal("parts", strings.Join(parts, ", "), "s0, s1, s2 s3")
		_, found, err := e.s.TaskLosses(e.ctx, id, 10)
		e.must(err)
		e.equal("losses", fmt.Sprint(losses > 2000, found == losses), "true true")
		dearest := e.losses(id, 2000)
		e.equal("kept", len(dearest), 1000)
		e.equal("the dearest", dearest[0].Amount, money.New(int64(losses-1), 2))
		e.equal("the cheapest of these", dearest[999].Amount, money.New(int64(losses-1000), 2))
		for range 3 {
			if next, err := e.s.NextPreview(e.ctx, metering.PreviewRequest{For: hour, Sources: []string{"default"}}); next != nil || err != nil {
				e.Fatal(next, err)
			}
		}
	}},
	{"tasks/preview without windows", func(e *env) {
		e.world(store.Wanted{})
		e.ledger(5, "a", "b")
		first := e.create(metering.NewTask{ScopeIDs: []string{"a"}, Range: hours(0, 5), Preview: true})
		second := e.create(metering.NewTask{ScopeIDs: []string{"b"}, Range: hours(0, 5), Preview: true})
		e.exec("DELETE FROM windows WHERE scope = (SELECT id FROM scopes WHERE scope = 'a')") // retention
		p := e.preview()
		e.equal("next", p.Task.ID, second)
		e.equal("the first", e.taskOf(first).State, metering.Previewed)
		e.must(e.s.StartTask(e.ctx, first, "bo"))
		e.advance()
		e.equal("the first", e.progress(first), "finished: 0 windows, 0 left")
	}},
	{"tasks/charges", func(e *env) {
		b := e.committable(30, "b", "a")
		x, y := b.Scopes[0], b.Scopes[1]
		b.Run.Count = 24
		later := *b
		later.Run = period.Run{Begin: begin.Add(24 * hour), Length: hour, Count: 6}
		for n, b := range []*metering.Batch{b, &later} {
			count := b.Run.Count
			samples := func(step int) (all []string) {
				for i := range count {
					text := ""
					if i%step == 0 {
						text = fmt.Sprintf("%d.%03d@-%d.%012d", i, n, i%3, 7*i)
					}
					all = append(all, text)
				}
				return all
			}
			e.fill(b, x, "ram", attrs("id", "2", "flavor", "ö\"\\x"), samples(1)...)
			e.fill(b, y, "cpu", attrs("id", "1"), samples(2)...)
			e.fill(b, x, "cpu", attrs("id", "1"), samples(3)...)
			e.fill(b, x, "cpu", attrs("id", "1"), samples(4)...) // the same series from another configuration
			e.fill(b, x, "cpu", attrs(), append([]string{""}, samples(5)[1:]...)...)
			b.Usage[4].Metadata = attrs("vcpus", "4")
			e.commit(b)
		}
		scopes := []*metering.Scope{y, x}
		for _, run := range []period.Run{b.Run, later.Run, {Begin: begin.Add(20 * hour), Length: hour, Count: 10}, {Begin: begin.Add(7 * hour), Length: hour, Count: 1}} {
			usage, err := e.s.Charges(e.ctx, scopes, run)
			e.must(err)
			e.equal("usage", e.filed(usage, run), e.chargesOf(run))
			for i := range usage {
				if u := &usage[i]; u.Scope != x && u.Scope != y || u.Metric.Unit != "unit of "+u.Metric.Name || i > 0 && u.Scope == y && usage[i-1].Scope == x {
					e.Errorf("%+v", u)
				}
				for j := range usage[:i] {
					if same := usage[i].Metric.Name == usage[j].Metric.Name; same != (usage[i].Metric == usage[j].Metric) {
						e.Error("metrics are not shared")
					}
				}
			}
			cold, err := e.open().Charges(e.ctx, scopes, run)
			e.must(err)
			e.equal("usage without caches", e.filed(cold, run), e.chargesOf(run))
		}
		before := e.rows("SELECT scope, begins_at, series, seq, CAST(qty AS text), CAST(price AS text) FROM charges")
		for _, run := range []period.Run{b.Run, {Begin: begin.Add(4 * hour), Length: hour, Count: 1}, {Begin: begin.Add(22 * hour), Length: hour, Count: 5}} {
			c := e.seize(run, scopes...)
			var err error
			c.Usage, err = e.s.Charges(e.ctx, scopes, run)
			e.must(err)
			e.commit(c)
			e.equal("charges after the same were committed", e.rows("SELECT scope, begins_at, series, seq, CAST(qty AS text), CAST(price AS text) FROM charges"), before)
		}
		e.sound()
		none, err := e.s.Charges(e.ctx, scopes, period.Run{Begin: begin.Add(100 * hour), Length: hour, Count: 24})
		e.must(err)
		nobody, err := e.s.Charges(e.ctx, nil, b.Run)
		e.must(err)
		e.equal("usage of nothing", len(none)+len(nobody), 0)
		_, err = e.s.Charges(e.ctx, scopes, period.Run{Begin: begin, Length: 2 * hour, Count: 2})
		e.refused(err, fault.Conflict, "inside a window of 2h0m0s")
	}},
}

// strip leaves only values in a task, which can be compared as text.
func strip(t metering.Task) metering.Task {
	t.Scopes = nil
	return t
}

func (e *env) preview() *metering.Preview {
	e.Helper()
	p, err := e.s.NextPreview(e.ctx, metering.PreviewRequest{For: hour, Sources: []string{"default"}})
	e.must(err)
	if p == nil {
		e.Fatal("there is nothing to preview")
	}
	return p
}

func (e *env) losses(id int64, limit int) []metering.LostPrice {
	e.Helper()
	all, _, err := e.s.TaskLosses(e.ctx, id, limit)
	e.must(err)
	return all
}

func (e *env) differences(id int64) (lines []string) {
	e.Helper()
	all, err := e.s.TaskDifferences(e.ctx, id, true)
	e.must(err)
	for _, d := range all {
		lines = append(lines, fmt.Sprintf("%s %s %d>%d %s>%s lost %d %s", d.Scope.ID, d.Metric, d.PointsBefore, d.PointsAfter, d.Before, d.After, d.LostPoints, d.LostAmount))
	}
	return lines
}

// filed is usage as chargesOf says it.
func (e *env) filed(usage []metering.Usage, run period.Run) (lines []string) {
	e.Helper()
	seq := map[metering.Fingerprint]int{}
	for i := range usage {
		u := &usage[i]
		print := u.Fingerprint()
		last := -1
		for _, s := range u.Samples {
			if s.Window <= last {
				e.Errorf("windows in disorder: %+v", u)
			}
			last = s.Window
			lines = append(lines, fmt.Sprintf("%s|%s|%v|%v|%d|%d|%s|%s", u.Scope.ID, u.Metric.Name, u.Groupby, u.Metadata, run.Window(s.Window).Begin.Unix(), seq[print], s.Qty, s.Price))
		}
		seq[print]++
	}
	slices.Sort(lines)
	return lines
}

// chargesOf are the stored charges of a run of windows.
func (e *env) chargesOf(run period.Run) (lines []string) {
	e.Helper()
	attributes := map[string]metering.Attributes{
		`{"id":"1"}`: attrs("id", "1"), `{"flavor":"ö\"\\x","id":"2"}`: attrs("id", "2", "flavor", "ö\"\\x"), `{}`: attrs(), `{"vcpus":"4"}`: attrs("vcpus", "4"),
	}
	r := run.Range()
	for _, line := range e.rows(`SELECT s.scope, m.name, CAST(r.groupby AS text), CAST(r.metadata AS text), `+e.unix("c.begins_at")+`, c.seq, CAST(c.qty AS text), CAST(c.price AS text)
		FROM charges c JOIN series r ON r.id = c.series JOIN scopes s ON s.id = c.scope JOIN metrics m ON m.id = r.metric WHERE c.begins_at >= ? AND c.begins_at < ?`, e.time(r.Begin), e.time(r.End)) {
		f := strings.Split(line, "|")
		for i := 2; i < 4; i++ {
			as, ok := attributes[f[i]]
			if !ok {
				e.Fatalf("attributes %s", f[i])
			}
			f[i] = fmt.Sprint(as)
		}
		for i := 6; i < 8; i++ {
			f[i] = money.MustParse(f[i]).String()
		}
		lines = append(lines, strings.Join(f, "|"))
	}
	slices.Sort(lines)
	return lines
}
