package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
)

// leased are leases as text: scope, first window, count, attempts.
func leased(leases []metering.Lease) (all []string) {
	for _, l := range leases {
		all = append(all, fmt.Sprintf("%s %s+%d", l.Scope.ID, l.Run.Begin.Format("02 15:04"), l.Run.Count))
	}
	return all
}

func (e *env) fail(leases []metering.Lease, retry time.Time, windows ...int) {
	e.Helper()
	b := e.batch(leases)
	for _, s := range b.Scopes {
		for _, w := range windows {
			b.Failed = append(b.Failed, metering.Outcome{Scope: s, Window: w, Error: "no answer", Retry: retry})
		}
	}
	e.commit(b)
	e.free(b)
}

var leaseTests = []test{
	{"lease/clocks that were ahead", func(e *env) {
		e.world(store.Wanted{})
		now := time.Now()
		next := period.Floor(now, hour)
		e.scopes(next.Add(-2*hour), "a")
		_, err := e.s.Plan(e.ctx, hour, next.Add(3*hour)) // as if it were three hours later
		e.must(err)
		for _, r := range []metering.LeaseRequest{{}, {TriedBefore: e.token()}} {
			l := e.lease(r)
			e.equal("windows that are over", fmt.Sprint(len(l), l[0].Run.Count), "1 2")
			e.free(&metering.Batch{Token: l[0].Token, Scopes: []*metering.Scope{l[0].Scope}})
		}
		e.fail(e.lease(metering.LeaseRequest{}), now.AddDate(8, 0, 0), 0, 1) // by a clock that is years ahead
		e.equal("until then", len(e.lease(metering.LeaseRequest{})), 0)
		_, err = e.s.Plan(e.ctx, hour, next)
		e.must(err)
		e.equal("awake", e.lease(metering.LeaseRequest{})[0].Run.Count, 2)
	}},
	{"lease/nothing", func(e *env) {
		e.world(store.Wanted{})
		e.equal("leases without scopes", len(e.lease(metering.LeaseRequest{})), 0)
		e.scopes(begin, "a")
		e.equal("leases without windows", len(e.lease(metering.LeaseRequest{})), 0)
		held, err := e.s.Renew(e.ctx, 1, nil, hour)
		e.must(err)
		e.must(e.s.Release(e.ctx, 1, nil))
		if !held {
			e.Error("leases of no scopes are lost")
		}
	}},
	{"lease/runs", func(e *env) {
		e.world(store.Wanted{})
		e.scopes(begin, "a")
		e.scopes(begin.Add(28*hour), "b")
		e.plan(begin.Add(30 * hour))
		first := e.lease(metering.LeaseRequest{})
		e.equal("leases", leased(first), []string{"a 31 22:00+24", "b 02 02:00+2"})
		for _, l := range first {
			if l.Token == 0 || l.Token != first[0].Token || l.Run.Length != hour || l.Attempts != 0 || l.Scope.Source != e.src {
				e.Errorf("%+v", l)
			}
		}
		e.equal("leases of the rest", leased(e.lease(metering.LeaseRequest{})), []string(nil)) // exclusive
		e.must(e.s.ReleaseAll(e.ctx))

		// a hole ends a run: windows 1 and 4 are done, 2 failed for long
		run := period.Run{Begin: begin, Length: hour, Count: 6}
		b := e.seize(run, first[0].Scope)
		for _, w := range []int{0, 2, 3, 5} {
			b.Failed = append(b.Failed, metering.Outcome{Scope: b.Scopes[0], Window: w, Error: "x", Retry: begin.Add(-hour)})
		}
		b.Failed[1].Retry = time.Now().Add(hour)
		e.fill(b, b.Scopes[0], "cpu", attrs(), "", "1@1", "", "", "1@1")
		e.commit(b)
		e.free(b)
		only := metering.LeaseRequest{Only: []string{"a"}}
		var runs []string
		for range 4 {
			l := e.lease(only)
			runs = append(runs, leased(l)...)
			e.must(e.s.Commit(e.ctx, e.batch(l)))
			e.free(e.batch(l))
		}
		e.equal("runs", runs, []string{"a 31 22:00+1", "a 01 01:00+1", "a 01 03:00+24", "a 02 03:00+1"})
		e.equal("lag", fmt.Sprint(e.s.Lag(e.ctx)), fmt.Sprint(store.Lag{Due: 2, Failed: 1, ProcessedTo: begin.Add(2 * hour)}, nil))
	}},
	{"lease/points of the window before", func(e *env) {
		e.world(store.Wanted{})
		e.scopes(begin, "a")
		e.plan(begin.Add(2 * hour))
		b := e.batch(e.lease(metering.LeaseRequest{Until: begin.Add(hour)}))
		e.equal("count", b.Run.Count, 1)
		e.fill(b, b.Scopes[0], "cpu", attrs("id", "1"), "1@1")
		e.fill(b, b.Scopes[0], "cpu", attrs("id", "2"), "1@1")
		e.commit(b)
		e.free(b)
		if l := e.lease(metering.LeaseRequest{}); len(l) != 1 || l[0].Points != 2 {
			e.Errorf("%+v", l)
		}
	}},
	{"lease/one period each", func(e *env) {
		e.world(store.Wanted{})
		e.scopes(begin, "a")
		e.plan(begin.Add(2 * hour))
		e.must(e.s.SetSetting(e.ctx, "period", "30m", "ada"))
		_, err := e.s.Plan(e.ctx, hour/2, begin.Add(4*hour))
		e.must(err)
		l := e.lease(metering.LeaseRequest{})
		e.equal("lease", l[0].Run, period.Run{Begin: begin, Length: hour, Count: 2})
		e.commit(e.batch(l))
		e.free(e.batch(l))
		e.equal("next lease", e.lease(metering.LeaseRequest{})[0].Run, period.Run{Begin: begin.Add(2 * hour), Length: hour / 2, Count: 4})
	}},
	{"lease/turns", func(e *env) {
		e.world(store.Wanted{})
		e.scopes(begin, "a", "b", "c")
		e.plan(begin.Add(100 * hour))
		// what was leased longest ago comes first, however long the others' backlog is
		for i, id := range []string{"b", "c", "a"} {
			e.exec("UPDATE scopes SET leased_at = ? WHERE scope = ?", e.time(begin.Add(time.Duration(i)*hour)), id)
		}
		var turns []string
		for range 3 {
			l := e.lease(metering.LeaseRequest{Scopes: 1})
			turns = append(turns, l[0].Scope.ID)
			e.must(e.s.Release(e.ctx, l[0].Token, []*metering.Scope{l[0].Scope}))
		}
		e.equal("turns", turns, []string{"b", "c", "a"})
		e.equal("at most as many as asked", len(e.lease(metering.LeaseRequest{Scopes: 2})), 2)
	}},
	{"lease/until and only", func(e *env) {
		e.world(store.Wanted{})
		e.scopes(begin, "a", "b", "c")
		e.plan(begin.Add(10 * hour))
		l := e.lease(metering.LeaseRequest{Until: begin.Add(3 * hour), Only: []string{"c", "a", "nobody"}})
		e.equal("leases", leased(l), []string{"a 31 22:00+3", "c 31 22:00+3"})
		e.equal("before the first", len(e.lease(metering.LeaseRequest{Until: begin})), 0)
		e.exec("UPDATE scopes SET active = ? WHERE scope = 'b'", false)
		e.equal("inactive", len(e.lease(metering.LeaseRequest{})), 0)
	}},
	{"lease/backoff", func(e *env) {
		e.world(store.Wanted{})
		e.scopes(begin, "a")
		e.plan(begin.Add(2 * hour))
		e.fail(e.lease(metering.LeaseRequest{}), time.Now().Add(hour), 0, 1)
		e.equal("windows", e.windows(), []string{
			"a 31 22:00 1h0m0s state 3, 1 attempts, 0 points, 0 no answer", "a 31 23:00 1h0m0s state 3, 1 attempts, 0 points, 0 no answer",
		})
		e.equal("during the backoff", len(e.lease(metering.LeaseRequest{})), 0)
		now := e.token()
		l := e.lease(metering.LeaseRequest{TriedBefore: now})
		e.equal("all that were not tried since", fmt.Sprint(leased(l), l[0].Attempts), "[a 31 22:00+2] 1")
		e.fail(l, time.Now().Add(hour), 0)
		e.equal("tried once", leased(e.lease(metering.LeaseRequest{TriedBefore: now})), []string(nil))
		e.equal("state", e.windows(), []string{
			"a 31 22:00 1h0m0s state 3, 2 attempts, 0 points, 0 no answer", "a 31 23:00 1h0m0s state 5, 2 attempts, 0 points, 0 ",
		})
		e.fail(e.lease(metering.LeaseRequest{TriedBefore: e.token()}), time.Now().Add(-time.Minute), 0)
		e.equal("after the backoff", leased(e.lease(metering.LeaseRequest{})), []string{"a 31 22:00+1"})
	}},
	{"lease/expiry and takeover", func(e *env) {
		e.world(store.Wanted{})
		e.scopes(begin, "a", "b")
		e.plan(begin.Add(2 * hour))
		dead := e.lease(metering.LeaseRequest{For: -time.Minute})
		e.equal("leases", leased(dead), []string{"a 31 22:00+2", "b 31 22:00+2"})
		pending := func(r metering.LeaseRequest) bool {
			e.Helper()
			pending, err := e.s.Pending(e.ctx, r)
			e.must(err)
			return pending
		}
		other := e.open()
		taken := e.leaseFrom(other, metering.LeaseRequest{Only: []string{"a"}})
		e.equal("taken over", leased(taken), []string{"a 31 22:00+2"})
		for what, held := range map[string]bool{
			"":        pending(metering.LeaseRequest{}),
			"of a":    pending(metering.LeaseRequest{Only: []string{"a"}}),
			"of b":    pending(metering.LeaseRequest{Only: []string{"b"}}),
			"not yet": !pending(metering.LeaseRequest{Until: begin}),
		} {
			if !held {
				e.Errorf("pending %s: wrong", what)
			}
		}
		scopes := []*metering.Scope{dead[0].Scope, dead[1].Scope}
		held, err := e.s.Renew(e.ctx, dead[0].Token, scopes, hour)
		e.must(err)
		if held {
			e.Error("a lease that was taken over is renewed")
		}
		e.must(e.s.Release(e.ctx, dead[0].Token, scopes)) // gives back b only
		held, err = other.Renew(e.ctx, taken[0].Token, scopes[:1], -time.Minute)
		e.must(err)
		if !held {
			e.Error("the new lease is lost")
		}
		e.equal("after its end", slices.Sorted(slices.Values(leased(e.lease(metering.LeaseRequest{})))), []string{"a 31 22:00+2", "b 31 22:00+2"})
	}},
	{"lease/renew", func(e *env) {
		e.world(store.Wanted{})
		e.scopes(begin, "a")
		e.plan(begin.Add(hour))
		l := e.lease(metering.LeaseRequest{For: -time.Minute})
		held, err := e.s.Renew(e.ctx, l[0].Token, []*metering.Scope{l[0].Scope}, hour) // late, but nobody took it
		e.must(err)
		if !held || len(e.lease(metering.LeaseRequest{})) > 0 {
			e.Error("the lease was not renewed")
		}
		e.commit(e.batch(l))
	}},
	{"lease/many workers", func(e *env) {
		e.world(store.Wanted{})
		var ids []string
		for i := range 40 {
			ids = append(ids, fmt.Sprintf("s%02d", i))
		}
		e.scopes(begin, ids...)
		e.plan(begin.Add(50 * hour))
		stores := []*store.Store{e.s, e.s, e.s, e.open(), e.open(), e.open()}
		var (
			wait sync.WaitGroup
			mu   sync.Mutex
			busy = map[int64]bool{}
		)
		take := func(leases []metering.Lease, on bool) {
			mu.Lock()
			defer mu.Unlock()
			for _, l := range leases {
				if busy[l.Scope.Ref] == on {
					e.Errorf("two workers have scope %s", l.Scope.ID)
				}
				busy[l.Scope.Ref] = on
			}
		}
		work := func(s *store.Store) error {
			for {
				leases, err := s.Lease(e.ctx, metering.LeaseRequest{Holder: "x", For: hour, Scopes: 7})
				if err != nil {
					return err
				}
				if len(leases) == 0 {
					pending, err := s.Pending(e.ctx, metering.LeaseRequest{})
					if err != nil || !pending {
						return err
					}
					continue
				}
				take(leases, true)
				for _, l := range leases {
					b := &metering.Batch{Token: l.Token, Scopes: []*metering.Scope{l.Scope}, Run: l.Run, ConfigVersion: 1, RulesVersion: 1, SourceVersion: "v1"}
					e.fill(b, l.Scope, "cpu", attrs("id", "1"), each(l.Run.Count, "1@0.5")...)
					if err := s.Commit(e.ctx, b); err != nil {
						return err
					}
				}
				take(leases, false)
				scopes := make([]*metering.Scope, len(leases))
				for i := range leases {
					scopes[i] = leases[i].Scope
				}
				if err := s.Release(e.ctx, leases[0].Token, scopes); err != nil {
					return err
				}
			}
		}
		for _, s := range stores {
			wait.Go(func() {
				if err := work(s); err != nil {
					e.Error(err)
				}
			})
		}
		wait.Wait()
		e.equal("windows done once", e.count("SELECT count(*) FROM windows WHERE state = 2 AND attempts = 1"), 40*50)
		e.equal("charges", e.count("SELECT count(*) FROM charges"), 40*50)
		e.equal("leases left", e.count("SELECT count(*) FROM scopes WHERE lease_token IS NOT NULL"), 0)
		e.sound()
	}},
	{"lease/large ledgers are not scanned", func(e *env) {
		if !e.postgres {
			return // says nothing of how it reads
		}
		e.world(store.Wanted{})
		e.exec(`INSERT INTO scopes (source, scope_key, scope, fetcher, found_at, planned_to)
			SELECT ?, 'project_id', 's' || i, 'static', now(), now() FROM generate_series(1, 2000) i`, e.src.Ref)
		e.exec(`INSERT INTO windows (scope, begins_at, period, state, next_attempt)
			SELECT s.id, CAST(? AS timestamptz) + make_interval(hours => h), 3600, CASE WHEN h = 40 AND s.id % 10 = 0 THEN 0 ELSE 2 END, ?
			FROM scopes s, generate_series(1, 40) h`, begin, begin)
		e.exec("ANALYZE")
		scans := func() string {
			// statistics are written when a connection ends
			return strings.Join(e.rows("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'windows'"), "")
		}
		work := func(fn func(*store.Store)) {
			e.Helper()
			before := scans()
			s := e.open()
			fn(s)
			e.must(s.Close())
			for e.count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()") > 0 {
				if e.ctx.Err() != nil {
					return
				}
			}
			e.equal("sequential scans of windows", scans(), before)
		}
		e.must(e.s.Close())
		e.raw.SetMaxOpenConns(1)
		read := func() int64 {
			return e.count("SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'windows_open'")
		}
		before := read()
		work(func(s *store.Store) {
			l := e.leaseFrom(s, metering.LeaseRequest{Scopes: 100})
			e.equal("leases", len(l), 100)
			e.equal("leases", len(e.leaseFrom(s, metering.LeaseRequest{Scopes: 1000})), 100)
		})
		if n := read() - before; n == 0 || n > 4000 {
			e.Errorf("read %d entries of windows_open", n)
		}
		e.exec("UPDATE windows SET state = 2")
		e.exec("VACUUM ANALYZE windows")
		before = read()
		work(func(s *store.Store) { e.equal("leases", len(e.leaseFrom(s, metering.LeaseRequest{})), 0) })
		if n := read() - before; n > 200 {
			e.Errorf("an idle look read %d entries of windows_open", n)
		}
	}},
	{"lease/tokens grow", func(e *env) {
		e.world(store.Wanted{})
		e.scopes(begin, "a")
		e.plan(begin.Add(hour))
		var tokens []int64
		other := e.open()
		for range 50 {
			token, err := other.LeaseToken(e.ctx)
			e.must(err)
			l := e.lease(metering.LeaseRequest{})
			e.must(e.s.Release(e.ctx, l[0].Token, []*metering.Scope{l[0].Scope}))
			tokens = append(tokens, e.token(), token, l[0].Token)
			slices.Sort(tokens[len(tokens)-3:])
		}
		if !slices.IsSorted(tokens) || len(slices.Compact(tokens)) < 150 || tokens[0] < time.Now().AddDate(10, 0, 0).UnixNano() {
			e.Error("tokens don't grow")
		}
	}},
}
