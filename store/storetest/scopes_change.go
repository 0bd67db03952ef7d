package storetest

import (
	"fmt"
	"slices"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/store"
)

// state returns how far a scope is.
func (e *env) scopeState(id string) metering.ScopeState {
	e.Helper()
	states, err := e.s.ScopeStates(e.ctx)
	e.must(err)
	i := slices.IndexFunc(states, func(s metering.ScopeState) bool {
		return s.Scope.ID == id && s.Scope.Source.Kind != metering.PushSource
	})
	if i < 0 {
		e.Fatalf("there is no scope %s", id)
	}
	return states[i]
}

var scopeChangeTests = []test{
	{"scopes/named", func(e *env) {
		e.world(store.Wanted{})
		n := metering.NewScope{ID: "new", Fetcher: "prometheus", Active: true, LastProcessed: begin.Add(90 * time.Minute)}
		s, err := e.s.AddScope(e.ctx, n, "ada")
		e.must(err)
		// what was processed last begins at one hour, so that the next begins at two
		e.equal("scope", fmt.Sprint(s.Scope.ID, s.Scope.Source.Name, s.Scope.Source.ScopeKey, s.Scope.Active, s.Fetcher, s.ProcessedTo.Equal(begin.Add(2*hour))),
			fmt.Sprint("new", "default", "project_id", true, "prometheus", true))
		e.equal("last processed", s.LastProcessed(hour).UTC(), begin.Add(hour))
		_, err = e.s.AddScope(e.ctx, n, "ada")
		e.refused(err, fault.Conflict, "new")
		e.equal("planned", e.plan(begin.Add(4*hour)), 2)
		e.equal("audited", e.count("SELECT count(*) FROM audit_log WHERE actor = 'ada' AND subject LIKE 'scope%'"), 1)
	}},
	{"scopes/active", func(e *env) {
		e.world(store.Wanted{})
		a := e.scopes(begin, "a")[0]
		audited := func() int64 { return e.count("SELECT count(*) FROM audit_log WHERE actor = 'ada'") }
		e.must(e.s.SetScopeActive(e.ctx, a.Ref, true, "ada"))
		e.equal("nothing changes", audited(), 0)
		found := e.scopeState("a").Toggled
		e.must(e.s.SetScopeActive(e.ctx, a.Ref, false, "ada"))
		s := e.scopeState("a")
		if s.Scope.Active || s.Toggled.Before(found) {
			e.Errorf("it is %+v", s)
		}
		e.equal("planned", e.plan(begin.Add(2*hour)), 0)
		e.must(e.s.SetScopeActive(e.ctx, a.Ref, true, "ada"))
		e.equal("planned", e.plan(begin.Add(2*hour)), 2)
		e.equal("audited", audited(), 2)
		e.refused(e.s.SetScopeActive(e.ctx, 9999, true, "ada"), fault.NotFound)
	}},
	{"scopes/reset", func(e *env) {
		scopes := e.done(6, "a", "b")
		a := scopes[0]
		e.exec("UPDATE windows SET state = 4 WHERE scope = ? AND begins_at = ?", a.Ref, e.time(begin.Add(5*hour)))
		e.exec("UPDATE windows SET recheck_at = ?, task = 0, next_attempt = ? WHERE scope = ?", e.time(begin.AddDate(9, 0, 0)), e.time(begin.AddDate(9, 0, 0)), a.Ref)
		charges, before := e.charges(), e.rows("SELECT * FROM windows WHERE begins_at < ? OR scope <> ?", e.time(begin.Add(2*hour)), a.Ref)
		e.refused(second(e.s.ResetScopes(e.ctx, []int64{a.Ref}, begin.AddDate(1, 0, 0), "why", "ada")), fault.Invalid, "planned")
		task, err := e.s.ResetScopes(e.ctx, []int64{a.Ref}, begin.Add(2*hour+time.Minute), "why", "ada")
		e.must(err)
		s := e.scopeState("a")
		e.equal("at once it is where it was reset to", fmt.Sprint(s.Resetting, s.LastProcessed(hour).UTC()), fmt.Sprint(true, begin.Add(2*hour)))
		e.equal("until then charges stay", e.charges(), charges)
		e.refused(second(e.s.ResetScopes(e.ctx, []int64{a.Ref}, begin, "why", "ada")), fault.Conflict)
		e.must(e.s.AdvanceTasks(e.ctx))
		for {
			l := e.lease(metering.LeaseRequest{Again: true, Rerates: true})
			if len(l) == 0 {
				break
			}
			e.equal("kind", l[0].Task.Kind, metering.Reset)
			b := e.batch(l)
			b.ConfigVersion, b.RulesVersion = 0, 0
			e.commit(b)
			e.free(b)
		}
		e.must(e.s.AdvanceTasks(e.ctx))
		got, err := e.s.Task(e.ctx, task)
		e.must(err)
		e.equal("the task", got.State, metering.Finished)
		e.equal("windows", e.rows(`SELECT state, points, attempts, attempt, CAST(amount AS text), config_version, rules_version, redone_by, task FROM windows
			WHERE scope = ? AND begins_at >= ? AND state <> 4 ORDER BY begins_at`, a.Ref, e.time(begin.Add(2*hour))), each(3, fmt.Sprintf("0|0|0|0|0|<nil>|<nil>|%d|<nil>", task)))
		e.equal("the waived one stays", e.count("SELECT count(*) FROM windows WHERE state = 4"), 1)
		e.equal("nothing else changes", e.rows("SELECT * FROM windows WHERE begins_at < ? OR scope <> ?", e.time(begin.Add(2*hour)), a.Ref), before)
		e.equal("superseded", e.count("SELECT count(*) FROM superseded_charges WHERE task = ?", task), 6)
		s = e.scopeState("a")
		e.equal("last processed", fmt.Sprint(s.Resetting, s.LastProcessed(hour).UTC()), fmt.Sprint(false, begin.Add(2*hour)))
		e.sound()

		// the first window is done again: now it is the last that is processed
		b := e.batch(e.lease(metering.LeaseRequest{Only: []string{"a"}}))
		for i := 1; i < b.Run.Count; i++ {
			b.Failed = append(b.Failed, metering.Outcome{Scope: b.Scopes[0], Window: i, Error: "no answer", Retry: time.Now()})
		}
		e.fill(b, b.Scopes[0], "cpu", attrs("id", "1"), "3@4")
		e.commit(b)
		e.free(b)
		s = e.scopeState("a")
		e.equal("last processed", s.LastProcessed(hour).UTC(), begin.Add(2*hour))
		e.equal("processed to", s.ProcessedTo.UTC(), begin.Add(3*hour))
		e.sound()
	}},
}

// second returns the error of two results.
func second[T any](_ T, err error) error { return err }
