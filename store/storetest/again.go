package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
)

// mark makes the windows of a scope that are done and begin in [from, to) hours after begin wait for a task.
func (e *env) mark(s *metering.Scope, task int64, from, to int) {
	e.Helper()
	e.exec("UPDATE windows SET task = ?, next_attempt = begins_at WHERE scope = ? AND begins_at >= ? AND begins_at < ? AND state IN (2, 5)",
		task, s.Ref, e.time(begin.Add(time.Duration(from)*hour)), e.time(begin.Add(time.Duration(to)*hour)))
}

// done are scopes whose windows are done: a series of cpu and one of ram, at a price of 1 and 2.
func (e *env) done(windows int, ids ...string) []*metering.Scope {
	e.Helper()
	b := e.committable(windows, ids...)
	for _, s := range b.Scopes {
		e.fill(b, s, "cpu", attrs("id", "1"), each(windows, "1@1")...)
		e.fill(b, s, "ram", attrs("id", "1"), each(windows, "512@2")...)
	}
	e.commit(b)
	e.free(b)
	return b.Scopes
}

// changes are what tasks changed: task, scope, metric, points and amount before and after.
func (e *env) changes() []string {
	e.Helper()
	return e.rows(`SELECT d.task, s.scope, d.metric, d.points_before, d.points_after, CAST(d.amount_before AS text), CAST(d.amount_after AS text)
		FROM task_differences d JOIN scopes s ON s.id = d.scope WHERE NOT d.preview AND d.lost_points = 0`)
}

func (e *env) pending(r metering.LeaseRequest) bool {
	e.Helper()
	pending, err := e.s.Pending(e.ctx, r)
	e.must(err)
	return pending
}

var again = metering.LeaseRequest{Again: true}

var againTests = []test{
	{"again/leases", func(e *env) {
		scopes := e.done(10, "a", "b")
		a, b := scopes[0], scopes[1]
		e.equal("nothing waits", leased(e.lease(again)), []string(nil))
		x, y := e.task(metering.Reprocess), e.task(metering.Rerate)
		e.exec("UPDATE tasks SET as_it_was = ? WHERE id = ?", true, x.ID)
		e.mark(a, x.ID, 0, 5)
		e.mark(a, y.ID, 5, 6)
		e.mark(b, 0, 0, 10)
		e.exec("UPDATE windows SET rules_version = 7 WHERE scope = ? AND begins_at >= ?", a.Ref, e.time(begin.Add(2*hour)))
		e.exec("UPDATE windows SET config_version = 9, absence_accepted = ? WHERE scope = ? AND begins_at = ?", true, a.Ref, e.time(begin.Add(4*hour)))
		e.exec("UPDATE windows SET absence_accepted = ? WHERE scope = ? AND begins_at < ?", true, b.Ref, e.time(begin.Add(hour)))
		e.exec("UPDATE windows SET next_attempt = ? WHERE scope = ? AND begins_at >= ?", e.time(time.Now().Add(hour)), b.Ref, e.time(begin.Add(3*hour)))
		e.exec("UPDATE scopes SET active = ? WHERE id = ?", false, a.Ref) // it is done again all the same
		e.equal("for the first time", leased(e.lease(metering.LeaseRequest{})), []string(nil))
		if e.pending(metering.LeaseRequest{}) || !e.pending(again) || e.pending(metering.LeaseRequest{Again: true, Until: begin}) || !e.pending(metering.LeaseRequest{Again: true, Only: []string{"b"}}) {
			e.Error("pending is wrong")
		}
		var got []string
		for range 7 {
			for _, l := range e.lease(metering.LeaseRequest{Again: true, Only: []string{"a", "b"}}) {
				got = append(got, fmt.Sprintf("%s +%d %+v config %d rules %d %t", l.Scope.ID, l.Run.Count, *l.Task, l.Config, l.Rules, l.Accepted))
				c := e.batch([]metering.Lease{l})
				for i := range c.Run.Count {
					c.Unchanged = append(c.Unchanged, metering.Outcome{Scope: l.Scope, Window: i})
				}
				c.ConfigVersion, c.RulesVersion = l.Config, l.Rules
				e.commit(c)
				e.free(c)
			}
		}
		slices.Sort(got)
		text := func(t *metering.Task, asItWas bool) string {
			return fmt.Sprintf("%+v", metering.Task{ID: t.ID, Kind: t.Kind, AsItWas: asItWas, Author: "ada", Reason: "a test"})
		}
		e.equal("leases", strings.Join(got, "\n"), strings.Join([]string{
			"a +1 " + text(x, true) + " config 9 rules 7 true",
			"a +1 " + text(y, false) + " config 1 rules 7 false",
			"a +2 " + text(x, true) + " config 1 rules 1 false",
			"a +2 " + text(x, true) + " config 1 rules 7 false",
			"b +1 " + fmt.Sprintf("%+v", metering.Task{Kind: metering.Recheck}) + " config 1 rules 1 true",
			"b +2 " + fmt.Sprintf("%+v", metering.Task{Kind: metering.Recheck}) + " config 1 rules 1 false",
		}, "\n"))
		if e.pending(again) || e.pending(metering.LeaseRequest{Again: true, TriedBefore: e.token()}) {
			e.Error("re-checks that are to come are pending")
		}
	}},
	{"again/only running tasks", func(e *env) {
		a := e.done(3, "a")[0]
		task := e.task(metering.Reprocess)
		e.mark(a, task.ID, 0, 3)
		for state, n := range map[metering.TaskState]int{metering.Previewing: 0, metering.Previewed: 0, metering.Running: 1, metering.Cancelled: 0, metering.Finished: 0} {
			e.exec("UPDATE tasks SET state = ? WHERE id = ?", state, task.ID)
			l := e.lease(again)
			e.equal("leases of a task that is "+string(state), len(l), n)
			for _, l := range l {
				e.must(e.s.Release(e.ctx, l.Token, []*metering.Scope{l.Scope}))
			}
		}
	}},
	{"again/backoff", func(e *env) {
		a := e.done(4, "a")[0]
		task := e.task(metering.Reprocess)
		e.mark(a, task.ID, 0, 2)
		e.mark(a, 0, 2, 4)
		l := e.lease(again)
		e.equal("attempts before", l[0].Attempts, 0)
		charges := e.charges()
		b := e.batch(l)
		a = b.Scopes[0]
		e.fill(b, a, "cpu", attrs("id", "1"), "9@9") // what a partial answer had
		for i := range 2 {
			b.Failed = append(b.Failed, metering.Outcome{Scope: a, Window: i, Error: "no answer", Retry: time.Now().Add(hour)})
		}
		b.Findings = []metering.Finding{{Kind: metering.Skipped, Scope: a, Window: 0, Metric: "cpu", Points: 1}}
		before := e.windowsOf(a)[0]
		e.commit(b)
		e.free(b)
		after := e.windowsOf(a)[0]
		if after.State != metering.Done || after.Error != "no answer" || after.Attempts != 1 || after.Task == nil || *after.Task != task.ID ||
			!after.Finished.Equal(before.Finished) || after.Points != 2 || after.Rules != before.Rules {
			e.Errorf("%+v", after)
		}
		e.equal("charges", e.charges(), charges)
		e.equal("findings of what was not stored", e.count("SELECT count(*) FROM findings")+e.count("SELECT count(*) FROM finding_days"), 0)
		e.equal("re-checks only", leased(e.lease(again)), []string{"a 01 00:00+2"})
		e.must(e.s.ReleaseAll(e.ctx))
		once := metering.LeaseRequest{Again: true, TriedBefore: e.token()}
		e.exec("UPDATE windows SET next_attempt = ? WHERE task = 0", e.time(time.Now().Add(hour)))
		l = e.lease(once)
		e.equal("whatever the backoff", fmt.Sprint(leased(l), l[0].Attempts), "[a 31 22:00+2] 1")
		e.fail(l, time.Now().Add(hour), 0, 1)
		if e.pending(once) {
			e.Error("tried, and pending")
		}
		n, err := e.s.RetryWindows(e.ctx, metering.WindowSelection{Range: period.Range{Begin: begin, End: begin.Add(hour)}}, "ada")
		e.must(err)
		e.equal("retried", n, 1)
		l = e.lease(again)
		e.equal("after a retry", fmt.Sprint(leased(l), l[0].Attempts), "[a 31 22:00+1] 2")
		e.sound()
	}},
	{"again/replaces windows that differ", func(e *env) {
		scopes := e.done(30, "a", "b")
		task := e.task(metering.Reprocess)
		for _, s := range scopes {
			e.mark(s, task.ID, 0, 24)
		}
		b := e.batch(e.lease(again))
		a := b.Scopes[0]
		b.ConfigVersion, b.RulesVersion, b.Took = 5, 6, time.Second
		for _, s := range b.Scopes {
			cpu, ram := each(24, "1@1"), each(24, "512@2")
			if s == a {
				cpu[0], cpu[1], ram[2] = "1@1.000000000001", "", "511@2"
			}
			e.fill(b, s, "ram", attrs("id", "1"), ram...)
			e.fill(b, s, "cpu", attrs("id", "1"), cpu...)
		}
		e.fill(b, a, "cpu", attrs("id", "new"), "", "", "", "3@-0.5")
		e.commit(b)
		e.equal("superseded", e.rows("SELECT ("+e.unix("begins_at")+fmt.Sprintf(" - %d) / 3600", begin.Unix())+", CAST(qty AS text), CAST(price AS text), config_version, rules_version, task FROM superseded_charges"),
			supersededHours(task.ID, 4))
		e.equal("differences", e.changes(), []string{
			fmt.Sprintf("%d|a|cpu|4|4|4|2.500000000001", task.ID), fmt.Sprintf("%d|a|ram|4|4|8|8", task.ID),
		})
		all := e.windowsOf(a)
		for i, w := range all {
			redone := i < 24
			if (w.RedoneBy == task.ID) != redone || w.Task != nil || (w.Rules == 6) != redone || (w.Config == 5) != redone || w.Attempts != 1 {
				e.Errorf("window %d: %+v", i, w)
			}
		}
		e.equal("amounts", fmt.Sprint(all[0].Amount, all[1].Amount, all[2].Amount, all[3].Amount, all[4].Amount), "3.000000000001 2 3 2.5 3")
		e.equal("new series", e.rows("SELECT "+e.unix("day")+fmt.Sprintf(" - %d", at("2026-10-31T00:00:00Z").Unix())+", scope, metric, series FROM new_series_days"), []string{
			fmt.Sprintf("0|%d|%d|1", a.Ref, e.metrics["cpu"].Ref), fmt.Sprintf("0|%d|%d|1", a.Ref, e.metrics["ram"].Ref),
			fmt.Sprintf("0|%d|%d|1", scopes[1].Ref, e.metrics["cpu"].Ref), fmt.Sprintf("0|%d|%d|1", scopes[1].Ref, e.metrics["ram"].Ref),
			fmt.Sprintf("86400|%d|%d|1", a.Ref, e.metrics["cpu"].Ref),
		})
		e.sound()
		e.free(b)

		// more of the task adds up, exactly
		for range 2 {
			e.mark(a, task.ID, 0, 1)
			c := e.batch(e.lease(again))
			a = c.Scopes[0]
			e.fill(c, a, "cpu", attrs("id", "1"), "1@0.1")
			e.commit(c)
			e.free(c)
			e.mark(a, task.ID, 0, 1)
			c = e.batch(e.lease(again))
			a = c.Scopes[0]
			e.fill(c, a, "cpu", attrs("id", "1"), "1@0.2")
			e.commit(c)
			e.free(c)
		}
		e.equal("differences", e.changes(), []string{
			fmt.Sprintf("%d|a|cpu|8|8|5.400000000001|3.100000000001", task.ID), fmt.Sprintf("%d|a|ram|5|4|10|8", task.ID),
		})
		e.sound()
	}},
	{"again/equal points keep their places", func(e *env) {
		b := e.committable(2, "a")
		a := b.Scopes[0]
		for i := range 3 {
			e.fill(b, a, "cpu", attrs("id", "1"), fmt.Sprintf("%d@1", i+1), fmt.Sprintf("%d@1", i+1))
		}
		e.commit(b)
		e.exec("DELETE FROM charges WHERE seq = 0 AND begins_at > ?", e.time(begin)) // as if the first had not been there
		e.exec("UPDATE windows SET points = 2, amount = '2' WHERE begins_at > ?", e.time(begin))
		e.free(b)
		e.must(e.s.RebuildRollups(e.ctx, "ada", nil))
		c := e.seize(period.Run{Begin: begin, Length: hour, Count: 2}, a)
		e.fill(c, a, "cpu", attrs("id", "1"), "1@1", "")
		e.fill(c, a, "cpu", attrs("id", "1"), "2@1", "2@1")
		e.fill(c, a, "cpu", attrs("id", "1"), "3@1", "3@1")
		e.commit(c)
		e.equal("superseded", e.count("SELECT count(*) FROM superseded_charges"), 0)
		c = e.again(c)
		e.fill(c, a, "cpu", attrs("id", "1"), "1@2", "2@1")
		e.fill(c, a, "cpu", attrs("id", "1"), "", "5@5")
		e.fill(c, a, "cpu", attrs("id", "1"), "", "6@6")
		e.commit(c)
		e.equal("charges", e.charges(), []string{
			`a|cpu|{"id":"1"}|1793484000|0|1|2`, `a|cpu|{"id":"1"}|1793487600|1|2|1`, `a|cpu|{"id":"1"}|1793487600|2|5|5`, `a|cpu|{"id":"1"}|1793487600|3|6|6`,
		})
		e.equal("superseded", e.count("SELECT count(*) FROM superseded_charges"), 5)
		e.sound()
	}},
	{"again/unchanged", func(e *env) {
		a := e.done(3, "a")[0]
		e.exec("UPDATE windows SET unpriced = 9")
		task := e.task(metering.Rerate)
		e.mark(a, task.ID, 0, 3)
		b := e.batch(e.lease(again))
		a = b.Scopes[0]
		b.ConfigVersion, b.RulesVersion, b.SourceVersion = 8, 4, ""
		b.Unchanged = []metering.Outcome{{Scope: a, Window: 0}, {Scope: a, Window: 2}}
		b.Findings = []metering.Finding{{Kind: metering.Unpriced, Scope: a, Window: 2, Metric: "cpu", Points: 1}}
		e.exec("INSERT INTO findings (scope, begins_at, kind, metric, detail, points) VALUES (?, ?, 'skipped', 'cpu', 'x', 1)", a.Ref, e.time(begin))
		e.exec("INSERT INTO findings (scope, begins_at, kind, metric, detail, points) VALUES (?, ?, 'unpriced', 'cpu', '', 1)", a.Ref, e.time(begin))
		e.fill(b, a, "cpu", attrs("id", "1"), "", "1@5")
		e.fill(b, a, "ram", attrs("id", "1"), "", "512@2")
		before := e.windowsOf(a)
		e.commit(b)
		for i, w := range e.windowsOf(a) {
			if w.Rules != 4 || w.Config != before[i].Config || w.RedoneBy != task.ID || w.Task != nil || w.Points != 2 || w.State != metering.Done || w.Unpriced != []int{0, 0, 1}[i] {
				e.Errorf("window %d: %+v", i, w)
			}
		}
		e.equal("amounts", fmt.Sprint(e.windowsOf(a)[0].Amount, e.windowsOf(a)[1].Amount), "3 7")
		e.equal("source versions stay", e.count("SELECT count(*) FROM windows WHERE source_version IS NULL"), 0)
		e.equal("findings: what was noticed when it was collected stays", e.rows("SELECT kind, "+e.unix("begins_at")+" FROM findings"), []string{"skipped|1793484000", "unpriced|1793491200"})
		e.equal("finding days", e.rows("SELECT kind, windows, points FROM finding_days"), []string{"skipped|1|1", "unpriced|1|1"})
		e.equal("superseded", e.count("SELECT count(*) FROM superseded_charges"), 1)
		e.equal("differences", e.changes(), []string{fmt.Sprintf("%d|a|cpu|1|1|1|5", task.ID), fmt.Sprintf("%d|a|ram|1|1|2|2", task.ID)})
		e.sound()
	}},
	{"again/re-checks", func(e *env) {
		first := time.Now().UTC().Truncate(hour).Add(-4 * hour)
		e.world(store.Wanted{}, "cpu", "ram")
		e.scopes(first, "a")
		e.plan(first.Add(4 * hour))
		b := e.batch(e.lease(metering.LeaseRequest{}))
		a := b.Scopes[0]
		b.Recheck = 2*hour + 30*time.Minute // of which half an hour or more is over for the first
		e.fill(b, a, "cpu", attrs("id", "1"), "1@1", "1@1", "1@1")
		e.commit(b)
		e.free(b)
		for i, w := range e.windowsOf(a) {
			end := w.End.Add(b.Recheck)
			if waits := end.After(time.Now()); (w.Task != nil) != waits || waits && (*w.Task != 0 || !w.NextAttempt.Equal(end)) {
				e.Errorf("window %d: %+v", i, w)
			}
		}
		e.equal("too early", leased(e.lease(again)), []string(nil))
		e.exec("UPDATE windows SET task = 0, next_attempt = ?", e.time(first))
		l := e.lease(again)
		e.equal("task", fmt.Sprintf("%+v", *l[0].Task), fmt.Sprintf("%+v", metering.Task{Kind: metering.Recheck}))
		c := e.batch(l)
		a = c.Scopes[0]
		c.Recheck, c.ConfigVersion, c.RulesVersion = b.Recheck, l[0].Config, l[0].Rules
		c.Unchanged = []metering.Outcome{{Scope: a, Window: 0}}
		e.fill(c, a, "cpu", attrs("id", "1"), "", "1@1", "2@2", "3@3")
		e.commit(c)
		e.free(c)
		e.equal("task", e.rows("SELECT id, kind, state, reason, author, "+e.unix("ends_at")+"-"+e.unix("begins_at")+", finished_at IS NOT NULL FROM tasks"),
			[]string{fmt.Sprintf("1|re-check|finished|late usage: the source's answer has changed|ratebook|7200|%v", map[bool]any{true: true, false: 1}[e.postgres])})
		e.equal("scopes of the task", e.rows("SELECT task, scope, windows FROM task_scopes"), []string{fmt.Sprintf("1|%d|2", a.Ref)})
		e.equal("differences", e.changes(), []string{"1|a|cpu|1|2|1|5"})
		e.equal("superseded", e.rows("SELECT CAST(price AS text), task FROM superseded_charges"), []string{"1|1"})
		for i, w := range e.windowsOf(a) {
			if w.Task != nil || (w.RedoneBy == 1) != (i >= 2) || w.Rules != 1 || w.Config != e.config {
				e.Errorf("window %d: %+v", i, w)
			}
		}
		e.sound()

		// nothing has changed: no task
		e.exec("UPDATE windows SET task = 0, next_attempt = ?", e.time(first))
		d := e.batch(e.lease(again))
		a = d.Scopes[0]
		e.fill(d, a, "cpu", attrs("id", "1"), "1@1", "1@1", "2@2", "3@3")
		e.commit(d)
		e.equal("tasks", e.count("SELECT count(*) FROM tasks"), 1)
		e.equal("done by the earlier one", e.count("SELECT count(*) FROM windows WHERE redone_by = 1 AND task IS NULL"), 2)
	}},
	{"again/charges that the ledger does not know", func(e *env) {
		first := time.Now().UTC().Truncate(hour).Add(-8 * hour)
		e.world(store.Wanted{}, "cpu")
		e.scopes(first, "a")
		e.plan(first.Add(2 * hour))
		b := e.batch(e.lease(metering.LeaseRequest{}))
		e.fill(b, b.Scopes[0], "cpu", attrs("id", "1"), "1@1", "2@2")
		e.commit(b)
		e.free(b)
		e.exec("UPDATE windows SET task = 0")
		c := e.batch(e.lease(metering.LeaseRequest{Again: true}))
		a := c.Scopes[0]
		e.fill(c, a, "cpu", attrs("id", "1"), "1@1", "2@3")
		before, err := e.s.Charges(e.ctx, c.Scopes, c.Run)
		e.must(err)
		before[0].Scope = a
		c.Before = before
		c.Before[0].Samples = c.Before[0].Samples[:1]
		state := e.state()
		e.refused(e.s.Commit(e.ctx, c), fault.Internal, "has 0 charges, and 1 in the ledger")
		e.equal("after a batch that was read badly", e.state(), state)
		if before, err = e.s.Charges(e.ctx, c.Scopes, c.Run); err != nil {
			e.Fatal(err)
		}
		before[0].Scope = a
		c.Before = before
		e.commit(c)
		e.equal("superseded", e.rows("SELECT CAST(qty AS text), CAST(price AS text) FROM superseded_charges"), []string{"2|2"})
		e.sound()
	}},
	{"again/re-checks that tasks are in the way of", func(e *env) {
		first := time.Now().UTC().Truncate(hour).Add(-8 * hour)
		e.world(store.Wanted{}, "cpu")
		e.scopes(first, "a")
		e.plan(first.Add(6 * hour))
		b := e.batch(e.lease(metering.LeaseRequest{}))
		a := b.Scopes[0]
		b.Recheck = 24 * hour
		e.fill(b, a, "cpu", attrs("id", "1"), each(6, "1@1")...)
		e.commit(b)
		e.free(b)
		waiting := func(what string, want ...string) {
			e.Helper()
			var got []string
			for _, w := range e.windowsOf(a) {
				switch {
				case w.Task == nil:
					got = append(got, "nothing")
				case *w.Task == 0:
					got = append(got, w.NextAttempt.Sub(w.End).String())
				default:
					got = append(got, fmt.Sprint("task ", *w.Task))
				}
			}
			e.equal(what, got, want)
		}
		task := func(kind metering.TaskKind, from, to int) int64 {
			e.Helper()
			return e.create(metering.NewTask{Kind: kind, ScopeIDs: []string{"a"}, Range: period.Range{Begin: first.Add(time.Duration(from) * hour), End: first.Add(time.Duration(to) * hour)}})
		}
		redo := func(recheck time.Duration) {
			e.Helper()
			c := e.batch(e.lease(again))
			c.Recheck = recheck
			a = c.Scopes[0]
			for i := range c.Run.Count {
				c.Unchanged = append(c.Unchanged, metering.Outcome{Scope: a, Window: i})
			}
			e.commit(c)
			e.free(c)
			e.advance()
		}
		const late = "24h0m0s"
		waiting("first", late, late, late, late, late, late)
		x := task(metering.Rerate, 0, 6)
		e.advance()
		waiting("of a task", slices.Repeat([]string{fmt.Sprint("task ", x)}, 6)...)
		e.must(e.s.CancelTask(e.ctx, x, "ada"))
		waiting("of a cancelled task", late, late, late, late, late, late)
		x = task(metering.Rerate, 0, 6)
		e.advance()
		redo(30 * hour)
		waiting("priced again", late, late, late, late, late, late)
		e.equal("the task", e.progress(x), "finished: 6 windows, 0 left")
		task(metering.Reprocess, 0, 2)
		e.advance()
		redo(0)
		waiting("collected again", "nothing", "nothing", late, late, late, late)
		task(metering.Reprocess, 2, 4)
		e.advance()
		redo(30 * hour)
		waiting("collected again, and to be checked", "nothing", "nothing", "30h0m0s", "30h0m0s", late, late)
		e.exec("UPDATE windows SET next_attempt = begins_at WHERE task = 0")
		redo(24 * hour)
		waiting("checked", each(6, "nothing")...)
		task(metering.Rerate, 0, 6)
		e.advance()
		redo(24 * hour)
		waiting("priced again", each(6, "nothing")...)
		e.equal("checks to come", e.count("SELECT count(*) FROM windows WHERE recheck_at IS NOT NULL"), 0)
	}},
	{"again/fencing", func(e *env) {
		scopes := e.done(2, "a", "b")
		a := scopes[0]
		task := e.task(metering.Reprocess)
		e.mark(a, task.ID, 0, 2)
		b := e.batch(e.lease(again))
		a = b.Scopes[0]
		e.fill(b, a, "cpu", attrs("id", "1"), "5@5", "5@5")
		refused := func(what string) {
			e.Helper()
			before := e.state()
			e.refused(e.s.Commit(e.ctx, b), fault.Conflict, "nothing was stored")
			e.equal("state after "+what, e.state(), before)
		}
		e.exec("UPDATE windows SET task = NULL WHERE begins_at > ?", e.time(begin))
		refused("the mark of one window is gone")
		e.mark(a, 0, 0, 2)
		refused("they wait for a re-check")
		e.mark(a, task.ID+1, 0, 2)
		refused("they wait for another task")
		e.mark(a, task.ID, 0, 2)
		e.exec("UPDATE tasks SET state = 'cancelled' WHERE id = ?", task.ID)
		refused("a task that is cancelled")
		e.exec("UPDATE tasks SET state = 'running' WHERE id = ?", task.ID)
		b.Task = nil
		refused("windows that are done, for the first time")
		b.Unchanged = []metering.Outcome{{Scope: a, Window: 0}}
		e.refused(e.s.Commit(e.ctx, b), fault.Internal)
		b.Task = task
		b.Unchanged[0].Window = 2
		e.refused(e.s.Commit(e.ctx, b), fault.Internal)
		b.Unchanged = nil
		e.commit(b)
		refused("it is done")
	}},
	{"again/a clock that was ahead", func(e *env) {
		e.world(store.Wanted{})
		e.scopes(begin, "a")
		e.plan(begin.Add(hour))
		e.lease(metering.LeaseRequest{})
		for until, free := range map[time.Duration]bool{9 * time.Minute: false, 11 * time.Minute: true, 24 * hour: true} {
			e.exec("UPDATE scopes SET lease_until = ?", e.time(time.Now().Add(until).Truncate(time.Second)))
			l := e.lease(metering.LeaseRequest{For: 30 * time.Second})
			e.equal(fmt.Sprint("taken over, held for ", until), len(l) == 1, free)
		}
		e.exec("UPDATE scopes SET lease_until = ?", e.time(time.Now().Add(9*hour).Truncate(time.Second)))
		e.equal("long leases", len(e.lease(metering.LeaseRequest{For: hour})), 0)
	}},
	{"windows/retry, waive, accept", func(e *env) {
		e.world(store.Wanted{})
		scopes := e.scopes(begin, "a", "b", "c", "d", "e")
		e.plan(begin.Add(6 * hour))
		a := scopes[0]
		e.fail(e.lease(metering.LeaseRequest{Only: []string{"a"}, Until: begin.Add(4 * hour)}), time.Now().Add(hour), 1, 2, 3)
		sel := func(from, to int, scopes ...int64) metering.WindowSelection {
			return metering.WindowSelection{Scopes: scopes, Range: period.Range{Begin: begin.Add(time.Duration(from) * hour), End: begin.Add(time.Duration(to) * hour)}}
		}
		states := func() (all string) {
			for _, w := range e.windowsOf(a) {
				all += fmt.Sprint(w.State)
			}
			return all
		}
		version := func() string {
			v, _, err := e.s.ReportVersion(e.ctx)
			e.must(err)
			return v
		}
		n := func(n int64, err error) int64 {
			e.Helper()
			e.must(err)
			return n
		}
		e.equal("states", states(), "533300")
		_, err := e.s.RetryWindows(e.ctx, sel(0, 1, a.Ref), "ada")
		e.refused(err, fault.NotFound, "no window", "has failed")
		_, err = e.s.RetryWindows(e.ctx, sel(0, 10, scopes[1].Ref), "ada")
		e.refused(err, fault.NotFound)
		_, err = e.s.WaiveWindows(e.ctx, sel(0, 10, a.Ref), " \n", "ada")
		e.refused(err, fault.Invalid, "reason")
		_, err = e.s.AcceptAbsence(e.ctx, sel(0, 10, a.Ref), "", "ada")
		e.refused(err, fault.Invalid, "reason")
		_, err = e.s.AcceptAbsence(e.ctx, sel(0, 10, a.Ref), strings.Repeat("é", metering.MaxReason+1), "ada")
		e.refused(err, fault.Invalid, "reason")
		_, err = e.s.UnwaiveWindows(e.ctx, sel(0, 10), "ada")
		e.refused(err, fault.NotFound, "is waived")
		e.equal("states", states(), "533300")

		e.equal("retried", n(e.s.RetryWindows(e.ctx, sel(2, 4), "ada")), 2)
		e.equal("after a retry", leased(e.lease(metering.LeaseRequest{Only: []string{"a"}, Until: begin.Add(4 * hour)})), []string{"a 01 00:00+2"})
		e.must(e.s.ReleaseAll(e.ctx))

		before := version()
		e.equal("waived", n(e.s.WaiveWindows(e.ctx, sel(0, 3, a.Ref), " lost by the source ", "ada")), 2)
		e.equal("states", states(), "544300")
		if version() == before {
			e.Error("the version of reports is the same")
		}
		w := e.windowsOf(a)[1]
		e.equal("waived", w.WaivedBy+" "+w.WaivedFor, "ada lost by the source")
		state, err := e.s.ScopeStates(e.ctx)
		e.must(err)
		e.equal("processed to", state[0].ProcessedTo, begin.Add(3*hour))
		e.equal("others", e.count("SELECT count(*) FROM windows WHERE state = 4"), 2)

		_, err = e.s.AcceptAbsence(e.ctx, sel(0, 10), "switched off", "ada")
		e.refused(err, fault.NotFound, "for want of samples") // it failed for another reason
		e.exec("UPDATE windows SET error = ? WHERE state = 3", "source default"+metering.LacksSamples+"vm between A and B")
		e.equal("accepted", n(e.s.AcceptAbsence(e.ctx, sel(0, 10), "switched off", "ada")), 1)
		w = e.windowsOf(a)[3]
		e.equal("accepted", fmt.Sprint(w.State, w.Accepted, w.Attempts, w.Error), fmt.Sprint(metering.Due, true, 0, ""))
		l := e.lease(metering.LeaseRequest{Only: []string{"a"}})
		e.equal("leases", fmt.Sprint(leased(l), l[0].Accepted, l[0].Attempts), "[a 01 01:00+1] true 0")
		e.must(e.s.ReleaseAll(e.ctx))

		// waived while a worker has it
		b := e.batch(e.lease(metering.LeaseRequest{Only: []string{"b"}}))
		e.equal("waived", n(e.s.WaiveWindows(e.ctx, sel(5, 6), "x", "ada")), 5)
		e.refused(e.s.Commit(e.ctx, b), fault.Conflict, "has changed in the ledger")
		e.free(b)

		before = version()
		e.equal("due again", n(e.s.UnwaiveWindows(e.ctx, sel(0, 3), "bob")), 2)
		e.equal("states", states(), "500004")
		if version() == before {
			e.Error("the version of reports is the same")
		}
		w = e.windowsOf(a)[1]
		e.equal("unwaived", fmt.Sprintf("%q%q%q%d", w.WaivedBy, w.WaivedFor, w.Error, w.Attempts), `""""""0`)
		e.equal("leases", leased(e.lease(metering.LeaseRequest{Only: []string{"a"}})), []string{"a 31 23:00+2"})

		log, err := e.s.Changes(e.ctx, access.ChangeFilter{Subject: "windows of", Limit: 10})
		e.must(err)
		var lines []string
		for _, c := range log {
			lines = append(lines, fmt.Sprintf("%s %s %s: %s", c.Actor, c.Action, c.Subject, c.After))
		}
		e.equal("audit", strings.Join(lines, "\n"), strings.Join([]string{
			"bob unwaive windows of scope a: 2 windows from 2026-10-31T22:00:00Z to 2026-11-01T01:00:00Z",
			"ada waive windows of scopes a, b, c and 2 more: 5 windows from 2026-11-01T03:00:00Z to 2026-11-01T04:00:00Z: x",
			"ada accept absence windows of scope a: 1 windows from 2026-10-31T22:00:00Z to 2026-11-01T08:00:00Z: switched off",
			"ada waive windows of scope a: 2 windows from 2026-10-31T22:00:00Z to 2026-11-01T01:00:00Z: lost by the source",
			"ada retry windows of scope a: 2 windows from 2026-11-01T00:00:00Z to 2026-11-01T02:00:00Z",
		}, "\n"))
	}},
	{"windows/left as they are", func(e *env) {
		scopes := e.done(8, "a", "b")
		a := scopes[0]
		id := e.create(metering.NewTask{ScopeIDs: []string{"a", "b"}, Range: hours(0, 6)})
		e.advance()
		e.exec("UPDATE windows SET task = 0, recheck_at = next_attempt, error = 'the source has lost it', attempts = 4 WHERE begins_at = ?", e.time(begin.Add(6*hour)))
		e.exec("UPDATE windows SET recheck_at = next_attempt WHERE begins_at = ?", e.time(begin.Add(hour)))
		e.exec("UPDATE windows SET error = 'no answer', attempts = 3 WHERE task > 0 AND begins_at < ?", e.time(begin.Add(2*hour)))
		e.exec("UPDATE windows SET error = 'no answer' WHERE task > 0 AND scope = ? AND begins_at = ?", a.Ref, e.time(begin.Add(2*hour)))
		e.equal("the task", e.progress(id), "running: 12 windows, 12 left, 5 failing: no answer")
		charges, before := e.charges(), e.windowsOf(a)
		e.equal("what can be left", covered(e.s.OpenWindows(e.ctx, metering.WindowSelection{Range: hours(1, 8)})), fmt.Sprintf("%d/0 from 31 23:00:, 3 again, 0 redone\n%d/0 from 31 23:00:, 2 again, 0 redone", a.Ref, scopes[1].Ref))
		n, err := e.s.WaiveWindows(e.ctx, metering.WindowSelection{Scopes: []int64{a.Ref, scopes[1].Ref}, Range: hours(1, 8)}, "gone for ever", "ada")
		e.must(err)
		e.equal("windows", n, 5)
		e.equal("the task", e.progress(id), "running: 9 windows, 9 left, 2 failing: no answer")
		e.equal("of each scope", e.rows("SELECT scope, windows, done FROM task_scopes"), []string{fmt.Sprintf("%d|4|0", a.Ref), fmt.Sprintf("%d|5|0", scopes[1].Ref)})
		e.equal("charges", e.charges(), charges)
		for i, w := range e.windowsOf(a) {
			if left := i == 1 || i == 2 || i == 6; left {
				was := before[i]
				was.Task, was.Error = nil, ""
				e.equal(fmt.Sprint("window ", i), fmt.Sprintf("%+v", w), fmt.Sprintf("%+v", was))
			}
		}
		e.equal("checks to come", e.count("SELECT count(*) FROM windows WHERE recheck_at IS NOT NULL OR task = 0"), 0)
		_, err = e.s.WaiveWindows(e.ctx, metering.WindowSelection{Range: hours(1, 8)}, "gone for ever", "ada")
		e.refused(err, fault.NotFound)
		log, err := e.s.Changes(e.ctx, access.ChangeFilter{Subject: "windows of", Limit: 10})
		e.must(err)
		e.equal("audit", fmt.Sprint(log[0].Actor, " ", log[0].Action, " ", log[0].Subject, ": ", log[0].After),
			"ada waive windows of scopes a, b: 5 windows, whose charges stay as they are, from 2026-10-31T23:00:00Z to 2026-11-01T06:00:00Z: gone for ever")
		n, err = e.s.WaiveWindows(e.ctx, metering.WindowSelection{Range: hours(0, 1)}, "gone for ever", "ada")
		e.must(err)
		e.equal("windows", n, 2)
		e.must(e.s.CancelTask(e.ctx, id, "ada"))
		e.advance()
		e.must(e.s.ResumeTask(e.ctx, id, "ada"))
		e.advance()
		e.equal("the task, resumed", e.progress(id), "running: 7 windows, 7 left")
		for len(e.marked(id)) > 0 {
			c := e.batch(e.lease(metering.LeaseRequest{Again: true, Scopes: 1}))
			for _, s := range c.Scopes {
				for i := range c.Run.Count {
					c.Unchanged = append(c.Unchanged, metering.Outcome{Scope: s, Window: i})
				}
			}
			e.commit(c)
			e.free(c)
		}
		e.advance()
		e.equal("the task", e.progress(id), "finished: 7 windows, 0 left")
	}},
	{"windows/large selections", func(e *env) {
		e.world(store.Wanted{})
		e.scopes(begin, "a", "b", "c")
		n := e.plan(begin.Add(7000 * hour)) // more than fit in one transaction
		all := metering.WindowSelection{Range: period.Range{Begin: begin, End: begin.Add(7000 * hour)}}
		waived, err := e.s.WaiveWindows(e.ctx, all, "x", "ada")
		e.must(err)
		e.equal("waived", waived, n)
		e.equal("open", e.count("SELECT count(*) FROM windows WHERE state <> 4"), 0)
		e.equal("audit", e.count("SELECT count(*) FROM audit_log WHERE action = 'waive'"), 3)
		due, err := e.s.UnwaiveWindows(e.ctx, all, "ada")
		e.must(err)
		e.equal("due again", due, n)
	}},
}

// supersededHours are the first hours of scope a as they were: both metrics, whichever has changed.
func supersededHours(task int64, hours int) (all []string) {
	for i := range hours {
		all = append(all, fmt.Sprintf("%d|1|1|1|1|%d", i, task), fmt.Sprintf("%d|512|2|1|1|%d", i, task))
	}
	return all
}
