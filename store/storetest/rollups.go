package storetest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"ratebook/access"
	"ratebook/costs"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
)

// rollups is everything in the roll-ups.
func (e *env) rollups() string {
	e.Helper()
	state := e.state()
	from := strings.Index(state, "\nscope_metric_days")
	return state[from:strings.Index(state, "\nsource_versions")]
}

// lastingRollups is everything in those that outlive their charges.
func (e *env) lastingRollups() string {
	e.Helper()
	lasting, _, _ := strings.Cut(e.rollups(), "\nscope_window_packs")
	return lasting
}

var rollupTests = []test{
	{"rollups/damage is found and healed", func(e *env) {
		e.world(store.Wanted{}, "cpu", "ram")
		e.charged(40, "a", "b")
		e.sound()
		good := e.rollups()
		b := e.count("SELECT id FROM scopes WHERE scope = 'b'")
		for _, c := range []struct {
			what, damage string
			found        []string // in the mismatches, in order
		}{
			{"price of a day", "UPDATE scope_metric_days SET price = '99' WHERE day = '2026-11-01' AND scope = %d AND metric = 1", []string{"b: scope_metric_days 2026-11-01 metric 1"}},
			{"quantity of a month", "UPDATE scope_metric_months SET qty = '0.001' WHERE month = '2026-11-01' AND scope = %d AND metric = 2", []string{"b: scope_metric_months 2026-11-01 metric 2"}},
			{"points of a day", "UPDATE scope_metric_days SET points = points + 1 WHERE day = '2026-10-31' AND scope = %d", []string{"b: scope_metric_days 2026-10-31", "b: scope_metric_days 2026-10-31"}},
			{"a day is missing", "DELETE FROM scope_metric_days WHERE day = '2026-11-02' AND scope = %d AND metric = 1", []string{"b: scope_metric_days 2026-11-02 metric 1 unit of cpu: missing"}},
			{"a month is missing", "DELETE FROM scope_metric_months WHERE month = '2026-10-01' AND scope = %d AND metric = 1", []string{"missing"}},
			{"a day too much", "INSERT INTO scope_metric_days (day, scope, metric, unit, points, qty, price) VALUES ('2026-11-20', %d, 1, 'x', 1, '1', '1')", []string{"b: scope_metric_days: 1 rows without charges"}},
			{"a unit too much", "INSERT INTO scope_metric_months (month, scope, metric, unit, points, qty, price) VALUES ('2026-11-01', %d, 1, 'x', 1, '1', '1')", []string{"b: scope_metric_months: 1 rows without charges"}},
			{"a day of long ago", "INSERT INTO scope_metric_days (day, scope, metric, unit, points, qty, price) VALUES ('1999-12-31', %d, 1, 'x', 1, '1', '1')", []string{"b: scope_metric_days: 1 rows without charges"}},
			{"a pack is missing", "DELETE FROM series_day_packs WHERE day = '2026-11-01' AND scope = %d AND metric = 2", []string{"b: series_day_packs 2026-11-01 metric 2 chunk 0: missing"}},
			{"a pack is cut", "UPDATE series_month_packs SET pack = substr(pack, 1, 20) WHERE month = '2026-11-01' AND scope = %d AND metric = 1", []string{"damaged pack"}},
			{"another's pack", "UPDATE series_day_packs SET pack = (SELECT p.pack FROM series_day_packs p WHERE p.day = series_day_packs.day AND p.scope = 1 AND p.metric = 1) WHERE day = '2026-11-01' AND scope = %d AND metric = 1", []string{"differs from its charges"}},
			{"a pack of another day", "UPDATE series_day_packs SET pack = (SELECT p.pack FROM series_day_packs p WHERE p.day = '2026-10-31' AND p.scope = series_day_packs.scope AND p.metric = 1) WHERE day = '2026-11-01' AND scope = %d AND metric = 1", []string{"differs from its charges"}},
			{"a chunk too much", "INSERT INTO series_day_packs (day, scope, metric, chunk, pack) SELECT day, scope, metric, 1, pack FROM series_day_packs WHERE day = '2026-11-01' AND scope = %d AND metric = 1", []string{"b: series_day_packs: 1 rows without charges"}},
			{"a pack of windows is missing", "DELETE FROM scope_window_packs WHERE day = '2026-11-01' AND scope = %d", []string{"b: scope_window_packs 2026-11-01 period 3600 chunk 0: missing"}},
			{"windows of another day", "UPDATE scope_window_packs SET pack = (SELECT p.pack FROM scope_window_packs p WHERE p.day = '2026-10-31' AND p.scope = scope_window_packs.scope) WHERE day = '2026-11-01' AND scope = %d", []string{"scope_window_packs 2026-11-01 period 3600 chunk 0: differs from its charges"}},
			{"windows of another length", "UPDATE scope_window_packs SET period = 60 WHERE day = '2026-11-01' AND scope = %d", []string{"b: scope_window_packs 2026-11-01 period 3600 chunk 0: missing", "b: scope_window_packs: 1 rows without charges"}},
			{"windows too many", "INSERT INTO scope_window_packs (day, scope, period, chunk, pack) SELECT day, scope, 60, chunk, pack FROM scope_window_packs WHERE day = '2026-11-01' AND scope = %d", []string{"b: scope_window_packs: 1 rows without charges"}},
			{"a charge is gone", "DELETE FROM charges WHERE scope = %d AND begins_at = (SELECT MIN(begins_at) FROM charges)", nil},
		} {
			charges := e.rows("SELECT scope, begins_at FROM charges")
			e.exec(fmt.Sprintf(c.damage, b))
			got := e.mismatches()
			if c.found == nil {
				if len(got) == 0 {
					e.Errorf("%s: not found", c.what)
				}
			} else if len(got) != len(c.found) {
				e.Errorf("%s: found %v, want %v", c.what, got, c.found)
			} else {
				for i := range got {
					if !strings.Contains(got[i], c.found[i]) {
						e.Errorf("%s: found %q, want %q", c.what, got[i], c.found[i])
					}
				}
			}
			steps := 0
			e.must(e.s.RebuildRollups(e.ctx, "ada", func(done, all int) {
				if steps++; done != steps || all != 2 {
					e.Errorf("progress %d of %d", done, all)
				}
			}))
			e.equal("steps", steps, 2)
			e.sound()
			if len(charges) == len(e.rows("SELECT scope, begins_at FROM charges")) {
				e.equal("roll-ups after "+c.what, e.rollups(), good)
			}
		}
		log, err := e.s.Changes(e.ctx, access.ChangeFilter{Limit: 1})
		e.must(err)
		e.equal("audit", log[0].Actor+log[0].Action, "adarebuild")
		e.equal("leases left", e.count("SELECT count(*) FROM scopes WHERE lease_token IS NOT NULL"), 0)
	}},
	{"rollups/a commit on damage is refused", func(e *env) {
		e.world(store.Wanted{}, "cpu")
		e.charged(10, "a")
		s := e.scopes(begin, "a")[0]
		e.exec("DELETE FROM series_month_packs")
		b := e.seize(period.Run{Begin: begin, Length: hour, Count: 10}, s)
		before := e.state()
		err := e.s.Commit(e.ctx, b)
		e.refused(err, fault.Internal, "`ratebook rollups verify`")
		e.equal("state", e.state(), before)
	}},
	{"rollups/a damaged pack fails the report", func(e *env) {
		e.world(store.Wanted{}, "cpu")
		e.charged(10, "a")
		e.exec("UPDATE series_day_packs SET pack = substr(pack, 1, 20)")
		_, err := e.s.Report(e.ctx, queries("2026-10-31T00:00:00Z", "2026-11-02T00:00:00Z")[5], nil)
		e.refused(err, fault.Internal, "`ratebook rollups verify`")
		e.exec("UPDATE scope_window_packs SET pack = substr(pack, 1, 20)")
		_, err = e.s.Report(e.ctx, &costs.Query{Range: period.Range{Begin: begin, End: begin.Add(10 * hour)}, Windows: true}, nil)
		e.refused(err, fault.Internal, "scope_window_packs", "`ratebook rollups verify`")
	}},
	{"rollups/rebuild needs the leases", func(e *env) {
		e.world(store.Wanted{}, "cpu")
		e.charged(10, "a", "b")
		e.plan(begin.Add(11 * hour))
		l := e.lease(metering.LeaseRequest{Only: []string{"b"}})
		good := e.rollups()
		e.refused(e.s.RebuildRollups(e.ctx, "ada", nil), fault.Conflict, "scope b")
		e.equal("roll-ups", e.rollups(), good)
		b := e.batch(l)
		e.fill(b, b.Scopes[0], "cpu", attrs("id", "1"), "1@1")
		e.commit(b) // the lease was not touched
		held, err := e.s.Renew(e.ctx, b.Token, b.Scopes, -time.Minute)
		e.must(err)
		if !held {
			e.Error("the lease was lost")
		}
		e.must(e.s.RebuildRollups(e.ctx, "ada", nil)) // takes what has expired
		e.refused(e.s.Commit(e.ctx, b), fault.Conflict)
		e.sound()
	}},
	{"rollups/rebuild that fails", func(e *env) {
		e.world(store.Wanted{}, "cpu")
		e.charged(10, "a", "b")
		end := e.sabotage("series_day_packs", "NEW.day = '2026-11-01'")
		good := e.rollups()
		if err := e.s.RebuildRollups(e.ctx, "ada", nil); err == nil || !strings.Contains(err.Error(), "sabotage") {
			e.Fatal(err)
		}
		end()
		e.equal("roll-ups", e.rollups(), good) // a month at a time, each whole
		e.equal("leases left", e.count("SELECT count(*) FROM scopes WHERE lease_token IS NOT NULL"), 0)
		e.charged(20, "a", "b")
		e.sound()
	}},
	{"rollups/verify while a worker commits", func(e *env) {
		e.world(store.Wanted{}, "cpu")
		e.charged(5, "a", "b")
		done := make(chan error, 1)
		s := e.scopes(begin, "a", "b")
		e.plan(begin.Add(60 * hour))
		token := e.seize(period.Run{}, s...).Token
		go func() {
			var errs error
			for i := range 55 {
				b := &metering.Batch{Token: token, Scopes: s, Run: period.Run{Begin: begin.Add(time.Duration(5+i) * hour), Length: hour, Count: 1}}
				e.fill(b, s[0], "cpu", attrs("id", "1"), "1@1")
				errs = errors.Join(errs, e.s.Commit(e.ctx, b))
			}
			done <- errs
		}()
		for {
			if bad := e.mismatches(); len(bad) > 0 {
				e.Errorf("found %v", bad)
			}
			select {
			case err := <-done:
				e.must(err)
				e.sound()
				return
			default:
			}
		}
	}},
}
