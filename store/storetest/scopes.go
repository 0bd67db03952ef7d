package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"ratebook/metering"
	"ratebook/store"
)

var scopeTests = []test{
	{"scopes/add", func(e *env) {
		e.world(store.Wanted{})
		add := func(src metering.Source, found ...metering.Found) int {
			e.Helper()
			n, err := e.s.AddScopes(e.ctx, src, "prometheus", found, begin)
			e.must(err)
			return n
		}
		e.equal("added", add(e.src, metering.Found{ID: "b"}, metering.Found{ID: "a", Name: "Ada <&>"}, metering.Found{ID: "b"}, metering.Found{ID: "B"}), 3)
		e.equal("added again", add(e.src, metering.Found{ID: "b"}, metering.Found{ID: "a"}), 0)
		e.plan(begin.Add(2 * hour))
		e.equal("added with names", add(e.src, metering.Found{ID: "a", Name: "Grace"}, metering.Found{ID: "b", Name: "Bo"}, metering.Found{ID: "c"}), 1)
		e.equal("added without names", add(e.src, metering.Found{ID: "a"}, metering.Found{ID: "b"}), 0)
		elsewhere, err := e.s.UseSource(e.ctx, metering.Source{Name: "second", Kind: "prometheus", ScopeKey: "project_id"})
		e.must(err)
		e.equal("added of another source", add(elsewhere, metering.Found{ID: "a"}), 1)
		other := e.src
		other.ScopeKey = "namespace"
		e.equal("added of another scope key", add(other, metering.Found{ID: "a"}), 1)
		e.equal("added none", add(e.src), 0)
		scopes, err := e.s.Scopes(e.ctx)
		e.must(err)
		var got []string
		for _, s := range scopes {
			got = append(got, fmt.Sprintf("%s:%s:%s:%s:%t", s.ID, s.Name, s.Source.Name, s.Source.ScopeKey, s.Active))
		}
		e.equal("scopes", got, []string{
			"B::default:project_id:true", "a:Grace:default:project_id:true", "a::second:project_id:true", "a::default:namespace:true",
			"b:Bo:default:project_id:true", "c::default:project_id:true",
		})
		e.equal("windows planned of a", e.count("SELECT count(*) FROM windows w JOIN scopes s ON s.id = w.scope WHERE s.name = 'Grace'"), 2)
		e.equal("planning again", e.plan(begin.Add(2*hour)), 6) // of the three that are new
	}},
	{"scopes/source", func(e *env) {
		e.world(store.Wanted{})
		changed := e.src
		changed.URL, changed.Kind = "http://elsewhere", "demo"
		again, err := e.s.UseSource(e.ctx, changed)
		e.must(err)
		e.equal("number", again.Ref, e.src.Ref)
		e.equal("source of a scope", e.scopes(begin, "a")[0].Source, changed)
	}},
	{"scopes/two discoveries at once", func(e *env) {
		e.world(store.Wanted{})
		var forward, backward []metering.Found
		for i := range 500 {
			forward = append(forward, metering.Found{ID: fmt.Sprintf("s%03d", i), Name: "x"})
			backward = append(backward, metering.Found{ID: fmt.Sprintf("s%03d", 499-i), Name: "y"})
		}
		stores := []*store.Store{e.s, e.open()}
		errs := make([]error, 2)
		var wait sync.WaitGroup
		for i, found := range [][]metering.Found{forward, backward} {
			wait.Go(func() { _, errs[i] = stores[i].AddScopes(e.ctx, e.src, "prometheus", found, begin) })
		}
		wait.Wait()
		e.must(errors.Join(errs...))
		e.equal("scopes", e.count("SELECT count(*) FROM scopes"), 500)
	}},
	{"plan/windows", func(e *env) {
		e.world(store.Wanted{})
		e.scopes(begin, "a")
		e.scopes(begin.Add(2*hour), "b")
		e.scopes(begin.Add(9*hour), "later")
		e.scopes(begin, "inactive")
		e.exec("UPDATE scopes SET active = ? WHERE scope = 'inactive'", false)
		e.equal("planned", e.plan(begin.Add(3*hour)), 4)
		e.equal("planned again", e.plan(begin.Add(3*hour)), 0)
		e.equal("planned for earlier", e.plan(begin.Add(-3*hour)), 0)
		e.equal("planned further", e.plan(begin.Add(4*hour)), 2)
		want := []string{
			"a 31 22:00 1h0m0s state 0, 0 attempts, 0 points, 0 ", "a 31 23:00 1h0m0s state 0, 0 attempts, 0 points, 0 ",
			"a 01 00:00 1h0m0s state 0, 0 attempts, 0 points, 0 ", "a 01 01:00 1h0m0s state 0, 0 attempts, 0 points, 0 ",
			"b 01 00:00 1h0m0s state 0, 0 attempts, 0 points, 0 ", "b 01 01:00 1h0m0s state 0, 0 attempts, 0 points, 0 ",
		}
		e.equal("windows", e.windows(), want)
		lag, err := e.s.Lag(e.ctx)
		e.must(err)
		e.equal("lag", lag, store.Lag{Due: 6, ProcessedTo: begin})
	}},
	{"plan/long backlog", func(e *env) {
		e.world(store.Wanted{})
		e.scopes(begin.Add(-5000*hour), "a", "b", "c", "d", "e")
		e.scopes(begin.Add(-10*hour), "f")
		e.equal("planned", e.plan(begin), 5*5000+10)
		e.equal("windows", e.count("SELECT count(*) FROM windows"), 5*5000+10)
		e.equal("from first to last", e.rows("SELECT (MAX("+e.unix("begins_at")+") - MIN("+e.unix("begins_at")+")) / 3600 + 1, COUNT(*) FROM windows GROUP BY scope"),
			append([]string{"10|10"}, each(5, "5000|5000")...))
	}},
	{"plan/more scopes than a transaction takes", func(e *env) {
		e.world(store.Wanted{})
		var found []metering.Found
		for i := range 2100 {
			found = append(found, metering.Found{ID: fmt.Sprint(i)})
		}
		_, err := e.s.AddScopes(e.ctx, e.src, "prometheus", found, begin)
		e.must(err)
		e.equal("planned", e.plan(begin.Add(2*hour)), 4200)
	}},
	{"plan/many planners", func(e *env) {
		e.world(store.Wanted{})
		e.scopes(begin.Add(-time.Duration(4000)*hour), "a", "b", "c", "d", "e", "f", "g", "h")
		stores := []*store.Store{e.s, e.s, e.open(), e.open()}
		errs, planned := make([]error, len(stores)), make([]int64, len(stores))
		var wait sync.WaitGroup
		for i, s := range stores {
			wait.Go(func() { planned[i], errs[i] = s.Plan(e.ctx, hour, begin) })
		}
		wait.Wait()
		e.must(errors.Join(errs...))
		e.equal("planned", planned[0]+planned[1]+planned[2]+planned[3]+e.plan(begin), 32000)
		e.equal("windows", e.count("SELECT count(*) FROM windows"), 32000)
	}},
}
