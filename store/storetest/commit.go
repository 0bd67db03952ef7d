package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/store"
)

// committable is a world with scopes a and b, planned for n windows, and a batch over all of them.
func (e *env) committable(n int, ids ...string) *metering.Batch {
	e.Helper()
	e.world(store.Wanted{}, "cpu", "ram")
	scopes := e.scopes(begin, ids...)
	e.plan(begin.Add(time.Duration(n) * hour))
	b := e.seize(period.Run{Begin: begin, Length: hour, Count: n}, scopes...)
	b.SourceVersion = "prometheus 3.5.0"
	return b
}

var commitTests = []test{
	{"commit/done, empty, failed", func(e *env) {
		b := e.committable(4, "a", "b")
		a := b.Scopes[0]
		b.Took = 1500 * time.Millisecond
		e.fill(b, a, "cpu", attrs("id", "1"), "1@0.10", "2@0.20", "4@0.40")
		e.fill(b, a, "ram", attrs("id", "1"), "512@1", "", "512@1")
		retry := time.Now().Add(hour).Truncate(time.Second)
		b.Failed = []metering.Outcome{{Scope: a, Window: 2, Error: "no answer", Retry: retry}, {Scope: b.Scopes[1], Window: 3, Error: "x", Retry: retry}}
		b.Findings = []metering.Finding{
			{Kind: metering.Unpriced, Scope: a, Window: 0, Metric: "ram", Points: 1}, {Kind: metering.Unpriced, Scope: a, Window: 0, Metric: "cpu", Points: 2},
		}
		e.commit(b)
		e.equal("windows", e.windows(), []string{
			"a 31 22:00 1h0m0s state 2, 1 attempts, 2 points, 1.1 ", "a 31 23:00 1h0m0s state 2, 1 attempts, 1 points, 0.2 ",
			"a 01 00:00 1h0m0s state 3, 1 attempts, 0 points, 0 no answer", "a 01 01:00 1h0m0s state 5, 1 attempts, 0 points, 0 ",
			"b 31 22:00 1h0m0s state 5, 1 attempts, 0 points, 0 ", "b 31 23:00 1h0m0s state 5, 1 attempts, 0 points, 0 ",
			"b 01 00:00 1h0m0s state 5, 1 attempts, 0 points, 0 ", "b 01 01:00 1h0m0s state 3, 1 attempts, 0 points, 0 x",
		})
		e.equal("charges", e.charges(), []string{
			`a|cpu|{"id":"1"}|1793484000|0|1|0.1`, `a|cpu|{"id":"1"}|1793487600|0|2|0.2`, `a|ram|{"id":"1"}|1793484000|0|512|1`,
		})
		all, err := e.s.Windows(e.ctx, a.Ref, period.Range{Begin: begin, End: begin.Add(3 * hour)})
		e.must(err)
		first, third := all[0], all[2]
		if first.Unpriced != 3 || first.Config != e.config || first.Rules != 1 || first.Took != b.Took || time.Since(first.Finished) > time.Minute || first.Scope != a.Ref ||
			!third.NextAttempt.Equal(retry) || third.Config != 0 || third.Took != 0 || len(all) != 3 {
			e.Errorf("%+v", all)
		}
		e.equal("source versions", e.rows("SELECT v.version, w.took_ms, count(*) FROM windows w LEFT JOIN source_versions v ON v.id = w.source_version GROUP BY 1, 2"),
			[]string{"<nil>|<nil>|2", "prometheus 3.5.0|1500|6"})
		e.sound()

		// the failed one later
		c := e.seize(period.Run{Begin: begin.Add(2 * hour), Length: hour, Count: 1}, a)
		e.fill(c, a, "cpu", attrs("id", "1"), "8@0.8")
		e.commit(c)
		e.equal("window", e.windows()[2], "a 01 00:00 1h0m0s state 2, 2 attempts, 1 points, 0.8 ")
		e.sound()
	}},
	{"commit/a failure leaves the charges that are there", func(e *env) {
		b := e.committable(1, "a")
		e.fill(b, b.Scopes[0], "cpu", attrs(), "1@7")
		e.commit(b)
		charges := e.charges()
		c := e.again(b)
		e.fill(c, c.Scopes[0], "cpu", attrs(), "2@8") // what a partial answer had
		c.Failed = []metering.Outcome{{Scope: c.Scopes[0], Window: 0, Error: "x", Retry: begin}}
		e.commit(c)
		e.equal("charges", e.charges(), charges)
		e.equal("window", e.windows(), []string{"a 31 22:00 1h0m0s state 2, 1 attempts, 1 points, 7 x"})
		e.commit(c)
		e.equal("window", e.windows(), []string{"a 31 22:00 1h0m0s state 2, 2 attempts, 1 points, 7 x"})
		e.sound()
		e.free(b)
		e.equal("leases for the first time", len(e.lease(metering.LeaseRequest{})), 0)
		l := e.lease(metering.LeaseRequest{Again: true})
		e.equal("attempts", l[0].Attempts, 2)
		d := e.batch(l)
		e.fill(d, d.Scopes[0], "cpu", attrs(), "2@9")
		e.commit(d)
		e.equal("window", e.windows(), []string{"a 31 22:00 1h0m0s state 2, 3 attempts, 1 points, 9 "})
		e.equal("superseded", e.count("SELECT count(*) FROM superseded_charges"), 1)
		e.sound()
	}},
	{"commit/fencing", func(e *env) {
		b := e.committable(2, "a", "b")
		for _, s := range b.Scopes {
			e.fill(b, s, "cpu", attrs("id", "1"), "1@1", "1@1")
		}
		before := e.state()
		refused := func(what string, kind fault.Kind) {
			e.Helper()
			e.refused(e.s.Commit(e.ctx, b), kind, "nothing was stored")
			e.equal("state after "+what, e.state(), before)
		}
		token := b.Token
		b.Token++
		refused("a wrong token", fault.Conflict)
		b.Token = token
		e.must(e.s.Release(e.ctx, token, b.Scopes[1:]))
		refused("one released lease", fault.Conflict)

		// the stalled worker: its lease ended, another one took over, worked and left
		other := e.open()
		l := e.leaseFrom(other, metering.LeaseRequest{Only: []string{"b"}})
		e.exec("UPDATE scopes SET lease_until = ? WHERE scope = 'a'", e.time(time.Now().Add(-time.Minute).Truncate(time.Second)))
		refused("a takeover", fault.Conflict)
		c := e.batch(l)
		e.fill(c, c.Scopes[0], "cpu", attrs("id", "1"), "5@5", "5@5")
		e.must(other.Commit(e.ctx, c))
		e.must(other.Release(e.ctx, c.Token, c.Scopes))
		before = e.state()
		refused("a takeover that is done", fault.Conflict)
		// of the other scope the lease has ended, but it is still its
		b = e.onlyScope(b, 0)
		e.commit(b)
		e.sound()
		e.equal("charges", len(e.charges()), 4)
	}},
	{"commit/the ledger must fit", func(e *env) {
		b := e.committable(2, "a")
		e.fill(b, b.Scopes[0], "cpu", attrs(), "1@1")
		before := e.state()
		refused := func(kind fault.Kind, what string, change func(*metering.Batch)) {
			e.Helper()
			c := *b
			c.Usage = slices.Clone(b.Usage)
			change(&c)
			e.refused(e.s.Commit(e.ctx, &c), kind, "nothing was stored")
			e.equal("state after "+what, e.state(), before)
		}
		stranger := *b.Scopes[0]
		refused(fault.Conflict, "windows that were never planned", func(c *metering.Batch) { c.Run.Count = 3 })
		refused(fault.Conflict, "another period", func(c *metering.Batch) { c.Run.Length = hour / 2; c.Run.Count = 4 })
		refused(fault.Internal, "a sample outside the run", func(c *metering.Batch) { c.Usage[0].Samples = []metering.Sample{{Window: 2}} })
		refused(fault.Internal, "a window twice", func(c *metering.Batch) { c.Usage[0].Samples = []metering.Sample{{Window: 1}, {Window: 1}} })
		refused(fault.Internal, "windows in disorder", func(c *metering.Batch) { c.Usage[0].Samples = []metering.Sample{{Window: 1}, {Window: 0}} })
		refused(fault.Internal, "usage of a scope that isn't the batch's", func(c *metering.Batch) { c.Usage[0].Scope = &stranger })
		refused(fault.Internal, "a finding of another scope", func(c *metering.Batch) { c.Findings = []metering.Finding{{Scope: &stranger}} })
		refused(fault.Internal, "no scope", func(c *metering.Batch) { c.Scopes, c.Usage = nil, nil })
		e.exec("UPDATE windows SET state = 4 WHERE begins_at > ?", e.time(begin))
		before = e.state()
		refused(fault.Conflict, "a waived window", func(*metering.Batch) {})
	}},
	{"commit/all or nothing", func(e *env) {
		b := e.committable(3, "a", "b")
		for _, s := range b.Scopes {
			e.fill(b, s, "cpu", attrs("id", "1"), each(3, "1@1")...)
		}
		b.Findings = []metering.Finding{{Kind: metering.Skipped, Scope: b.Scopes[1], Window: 2, Metric: "cpu", Points: 1}}
		e.commit(b)
		c := e.again(b) // replaces, with new series
		c.Findings = b.Findings
		for _, s := range c.Scopes {
			e.fill(c, s, "cpu", attrs("id", "1"), each(3, "2@2")...)
			e.fill(c, s, "ram", attrs("id", "new"), each(3, "2@2")...)
		}
		before := e.state()
		for _, table := range []string{"findings", "series_month_packs", "superseded", "series"} {
			end := e.sabotage(table, "true")
			if err := e.s.Commit(e.ctx, c); err == nil || !strings.Contains(err.Error(), "sabotage") {
				e.Fatalf("sabotage of %s: got %v", table, err)
			}
			end()
			e.equal("state after a failure at "+table, e.state(), before)
		}
		e.commit(c) // what the cache remembers of failed commits does no harm
		e.sound()
		e.equal("charges", len(e.charges()), 12)
	}},
	{"commit/cancelled", func(e *env) {
		b := e.committable(24, "a")
		for i := range 200 {
			e.fill(b, b.Scopes[0], "cpu", attrs("id", fmt.Sprint(i)), each(24, "1@1")...)
		}
		before := e.state()
		cancelled := 0
		for i := range 12 {
			ctx, cancel := context.WithTimeout(e.ctx, time.Duration(i*i)*500*time.Microsecond) // somewhere in the middle
			err := e.s.Commit(ctx, b)
			cancel()
			if err == nil {
				b = e.again(b)
				break
			}
			cancelled++
			e.equal("state after "+err.Error(), e.state(), before)
		}
		if cancelled < 2 {
			e.Errorf("only %d commits were cancelled", cancelled)
		}
		e.commit(b) // the connections are of use again
		e.sound()
	}},
	{"commit/exact", func(e *env) {
		b := e.committable(3, "a")
		s := b.Scopes[0]
		e.fill(b, s, "cpu", attrs("id", "big"), "123456789012345678901234567890.123456789012345678@999999999999999999.123456789012",
			"0.000000000000000001@-999999999999999999.123456789011", "987654321098765432109876543210@-0.000000000001")
		e.fill(b, s, "cpu", attrs("id", "zero"), "0@0", "-5@-1.5", "0@-0.000000000001")
		for i := range 10 {
			e.fill(b, s, "ram", attrs("id", fmt.Sprint(i)), "0.1@0.1", "0.1@0.1", "0.1@0.1")
		}
		e.commit(b)
		e.equal("charges", e.rows("SELECT CAST(c.qty AS text), CAST(c.price AS text) FROM charges c JOIN series r ON r.id = c.series WHERE r.metric = ?", e.metrics["cpu"].Ref), []string{
			"-5|-1.5", "0.000000000000000001|-999999999999999999.123456789011", "0|-0.000000000001", "0|0",
			"123456789012345678901234567890.123456789012345678|999999999999999999.123456789012", "987654321098765432109876543210|-0.000000000001",
		})
		e.equal("sums", e.rows("SELECT CAST(qty AS text), CAST(price AS text), points FROM scope_metric_days WHERE day = '2026-10-31'"), []string{
			"123456789012345678901234567885.123456789012345679|-1.499999999999|4", "2|2|20",
		})
		all := e.windowsOf(s)
		for i, want := range []string{"1000000000000000000.123456789012", "-999999999999999999.623456789011", "0.999999999998"} {
			e.equal("amount", all[i].Amount, money.MustParse(want))
		}
		e.sound()
	}},
	{"commit/equal points", func(e *env) {
		b := e.committable(2, "a")
		s := b.Scopes[0]
		for i := range 3 { // three configurations of one metric
			e.fill(b, s, "cpu", attrs("id", "1"), fmt.Sprintf("%d@%d", i+1, i+1), "1@1")
		}
		e.fill(b, s, "cpu", attrs("id", "2"), "9@9")
		e.commit(b)
		e.equal("charges", e.charges(), []string{
			`a|cpu|{"id":"1"}|1793484000|0|1|1`, `a|cpu|{"id":"1"}|1793484000|1|2|2`, `a|cpu|{"id":"1"}|1793484000|2|3|3`,
			`a|cpu|{"id":"1"}|1793487600|0|1|1`, `a|cpu|{"id":"1"}|1793487600|1|1|1`, `a|cpu|{"id":"1"}|1793487600|2|1|1`, `a|cpu|{"id":"2"}|1793484000|0|9|9`,
		})
		e.equal("series", e.count("SELECT count(*) FROM series"), 2)
		e.sound()
	}},
	{"commit/many series", func(e *env) {
		b := e.committable(2, "a", "b")
		for i := range 300 {
			for _, s := range b.Scopes {
				e.fill(b, s, "cpu", attrs("id", fmt.Sprint(i)), fmt.Sprintf("%d@1", i), "")
			}
		}
		e.commit(b)
		c := e.again(b) // in another process, which knows no series, with more of them
		for i := range 330 {
			e.fill(c, c.Scopes[0], "cpu", attrs("id", fmt.Sprint(i)), "", fmt.Sprintf("%d@2", i))
		}
		c.Scopes = c.Scopes[:1]
		e.must(e.open().Commit(e.ctx, c))
		if n := e.count("SELECT count(*) FROM series_day_packs p JOIN scopes s ON s.id = p.scope WHERE s.scope = 'b'"); n < 3 {
			e.Errorf("300 series are in %d packs", n)
		}
		e.equal("series", e.count("SELECT count(*) FROM series"), 630)
		e.sound()
	}},
	{"commit/days and months of the billing zone", func(e *env) {
		for _, zone := range []string{"Europe/Berlin", "Asia/Kolkata", "America/Los_Angeles"} {
			e.tb.(*testing.T).Run(zone, func(t *testing.T) {
				e := newEnv(t, e.database(t), e.database)
				e.world(store.Wanted{Timezone: zone})
				for _, first := range []string{"2026-10-24T20:00:00Z", "2026-10-31T20:00:00Z", "2026-12-31T14:00:00Z", "2027-03-27T22:00:00Z"} {
					s := e.scopes(at(first), first)[0]
					e.plan(at(first).Add(12 * hour))
					b := e.seize(period.Run{Begin: at(first), Length: hour, Count: 12}, s)
					e.fill(b, s, "cpu", attrs("id", "1"), each(12, "1@1")...)
					e.commit(b)
					e.exec("UPDATE scopes SET active = ?", false)
				}
				got := e.rows("SELECT s.scope, CAST(d.day AS text), d.points FROM scope_metric_days d JOIN scopes s ON s.id = d.scope WHERE s.scope LIKE '2026-10-31%'")
				e.equal("days", got, map[string][]string{
					"Europe/Berlin":       {"2026-10-31T20:00:00Z|2026-10-31|3", "2026-10-31T20:00:00Z|2026-11-01|9"},
					"Asia/Kolkata":        {"2026-10-31T20:00:00Z|2026-11-01|12"},
					"America/Los_Angeles": {"2026-10-31T20:00:00Z|2026-10-31|11", "2026-10-31T20:00:00Z|2026-11-01|1"},
				}[zone])
				e.sound()
			})
		}
	}},
	{"commit/clocks that go back over midnight", func(e *env) {
		// at 00:01 on November 1st it became 23:01 on October 31st again: all of it is November
		e.world(store.Wanted{Timezone: "America/St_Johns", Period: 30 * time.Minute})
		first := at("2009-11-01T01:30:00Z")
		s := e.scopes(first, "a")[0]
		_, err := e.s.Plan(e.ctx, hour/2, first.Add(6*hour))
		e.must(err)
		b := e.seize(period.Run{Begin: first, Length: hour / 2, Count: 12}, s)
		e.fill(b, s, "cpu", attrs("id", "1"), each(12, "1@1")...)
		e.commit(b)
		e.compare(queries("2009-10-01T02:30:00Z", "2009-11-01T02:30:00Z")...)
		e.compare(queries("2009-11-01T02:30:00Z", "2009-12-01T03:30:00Z")...)
	}},
	{"commit/replacing", func(e *env) {
		b := e.committable(3, "a", "b")
		a := b.Scopes[0]
		e.fill(b, a, "cpu", attrs("id", "stays"), "1@1", "1@1", "1@1")
		e.fill(b, a, "cpu", attrs("id", "goes"), "2@2", "2@2", "2@2")
		e.fill(b, a, "ram", attrs("id", "goes too"), "3@3", "3@3", "3@3")
		e.fill(b, b.Scopes[1], "cpu", attrs("id", "stays"), "1@1", "1@1", "1@1")
		e.commit(b)
		e.equal("superseded", e.count("SELECT count(*) FROM superseded_charges"), 0)
		all := e.state()

		same := e.again(b)
		same.Usage = b.Usage
		same.ConfigVersion, same.RulesVersion = b.ConfigVersion, b.RulesVersion
		e.commit(same)
		e.equal("charges superseded by equal ones", e.count("SELECT count(*) FROM superseded_charges"), 0)
		e.equal("differences of equal ones", e.count("SELECT count(*) FROM task_differences"), 0)
		cut := func(state string) string { return state[strings.Index(state, "scope_metric_days"):] }
		e.equal("roll-ups", cut(e.state()), cut(all))
		e.sound()

		c := e.onlyScope(b, 0)
		c.Run.Count = 2
		c = e.again(c)
		e.fill(c, a, "cpu", attrs("id", "stays"), "10@10", "10@10")
		e.commit(c)
		e.sound()
		e.equal("superseded", e.rows("SELECT "+e.unix("begins_at")+", CAST(qty AS text), CAST(price AS text), config_version, rules_version FROM superseded_charges"), []string{
			"1793484000|1|1|1|1", "1793484000|2|2|1|1", "1793484000|3|3|1|1", "1793487600|1|1|1|1", "1793487600|2|2|1|1", "1793487600|3|3|1|1",
		})
		if n := e.count("SELECT count(*) FROM superseded_charges WHERE superseded_at < ?", e.time(time.Now().Add(-time.Minute))); n > 0 {
			e.Errorf("%d were superseded long ago", n)
		}
		e.equal("charges left", len(e.charges()), 3+2+3)
		days := "SELECT s.scope, m.name, CAST(d.day AS text), d.points, CAST(d.price AS text) FROM scope_metric_days d JOIN scopes s ON s.id = d.scope JOIN metrics m ON m.id = d.metric"
		e.equal("days: ram of October is gone", e.rows(days), []string{
			"a|cpu|2026-10-31|2|20", "a|cpu|2026-11-01|2|3", "a|ram|2026-11-01|1|3", "b|cpu|2026-10-31|2|2", "b|cpu|2026-11-01|1|1",
		})
		e.equal("packs", e.count("SELECT count(*) FROM series_day_packs"), 5)

		d := e.onlyScope(b, 0) // everything of a goes
		d = e.again(d)
		d.RulesVersion++
		e.commit(d)
		e.equal("days without a", e.rows(days), []string{"b|cpu|2026-10-31|2|2", "b|cpu|2026-11-01|1|1"})
		e.equal("packs without a", e.count("SELECT count(*) FROM series_day_packs")+e.count("SELECT count(*) FROM series_month_packs"), 4)
		e.equal("windows of a", e.windows()[0], "a 31 22:00 1h0m0s state 5, 1 attempts, 0 points, 0 ")
		e.equal("versions superseded", e.rows("SELECT config_version, rules_version, count(*) FROM superseded_charges GROUP BY 1, 2"), []string{"1|1|9", "2|2|2"})
		e.sound()
	}},
	{"commit/findings", func(e *env) {
		b := e.committable(3, "a", "b")
		all := period.Range{Begin: begin, End: begin.Add(3 * hour)}
		one := metering.Finding{Kind: metering.SourceNote, Scope: b.Scopes[0], Window: 0, Metric: "cpu", Detail: "it's <odd>", Points: 2}
		two := one
		two.Window, two.Points = 2, 3
		three := one
		three.Kind, three.Scope, three.Detail = metering.Unpriced, b.Scopes[1], ""
		b.Findings = []metering.Finding{one, two, one, three}
		e.commit(b)
		e.equal("findings", e.findings(all, ""), []string{
			"source_note cpu it's <odd>: 7 points in 2 windows of 1 scopes, 31 00:00 to 01 00:00", "unpriced cpu : 2 points in 1 windows of 1 scopes, 31 00:00 to 31 00:00",
		})
		e.equal("findings later", e.findings(period.Range{Begin: begin.Add(2 * hour), End: begin.Add(3 * hour)}, ""), []string{
			"source_note cpu it's <odd>: 3 points in 1 windows of 1 scopes, 01 00:00 to 01 00:00",
		})
		c := e.onlyScope(e.again(b), 0) // those of these windows are replaced
		c.Run.Count = 1
		e.commit(c)
		e.equal("findings left", e.findings(all, ""), []string{
			"source_note cpu it's <odd>: 3 points in 1 windows of 1 scopes, 01 00:00 to 01 00:00", "unpriced cpu : 2 points in 1 windows of 1 scopes, 31 00:00 to 31 00:00",
		})
	}},
	{"commit/first samples", func(e *env) {
		b := e.committable(4, "a")
		first := func(want ...time.Time) {
			e.Helper()
			got, err := e.s.FirstSamples(e.ctx)
			e.must(err)
			e.equal("first samples", []time.Time{got[e.metrics["cpu"].Ref], got[e.metrics["ram"].Ref]}, want)
		}
		first(time.Time{}, time.Time{})
		e.fill(b, b.Scopes[0], "cpu", attrs(), "", "1@1", "1@1", "1@1")
		b.Failed = []metering.Outcome{{Scope: b.Scopes[0], Window: 1, Error: "x", Retry: begin}} // nothing is charged in it
		e.commit(b)
		first(begin.Add(2*hour), time.Time{})
		c := e.again(b)
		e.fill(c, c.Scopes[0], "cpu", attrs(), "", "", "", "1@1")
		e.fill(c, c.Scopes[0], "ram", attrs(), "", "", "", "1@1")
		e.commit(c)
		first(begin.Add(2*hour), begin.Add(3*hour))
		d := e.again(b)
		e.fill(d, d.Scopes[0], "cpu", attrs(), "1@1")
		e.must(e.open().Commit(e.ctx, d))
		first(begin, begin.Add(3*hour))
	}},
	{"commit/source versions", func(e *env) {
		b := e.committable(1, "a")
		for _, v := range []string{"prometheus 2.42.0", "prometheus 3.5.0", "prometheus 2.42.0", "", "prometheus 3.5.0"} {
			c := e.again(b)
			c.SourceVersion = v
			e.commit(c)
			want := v
			if v == "" {
				want = "<nil>"
			}
			e.equal("source version", e.rows("SELECT v.version FROM windows w LEFT JOIN source_versions v ON v.id = w.source_version"), []string{want})
		}
		e.equal("source versions", e.count("SELECT count(*) FROM source_versions"), 2)
	}},
	{"commit/two processes", func(e *env) {
		e.world(store.Wanted{}, "cpu", "ram")
		var ids []string
		for i := range 8 {
			ids = append(ids, fmt.Sprintf("s%d", i))
		}
		scopes := e.scopes(begin, ids...)
		e.plan(begin.Add(10 * hour))
		stores := []*store.Store{e.s, e.open()}
		errs := make([]error, 2)
		var wait sync.WaitGroup
		for i, s := range stores {
			mine := []*metering.Scope{scopes[i], scopes[i+2], scopes[i+4], scopes[i+6]}
			slices.Reverse(mine) // any order will do
			var batches []*metering.Batch
			token := e.seize(period.Run{}, mine...).Token
			for w := range 10 {
				b := &metering.Batch{
					Token: token, Scopes: mine, Run: period.Run{Begin: begin.Add(time.Duration(w) * hour), Length: hour, Count: 1},
					ConfigVersion: 1, RulesVersion: 1, SourceVersion: fmt.Sprint("v", w%3),
				}
				for j, scope := range mine {
					for k := range 20 {
						e.fill(b, scope, []string{"cpu", "ram"}[(i+j+k)%2], attrs("id", fmt.Sprint(k+w*5)), "1.5@0.000000000001")
					}
				}
				batches = append(batches, b)
			}
			wait.Go(func() {
				for _, b := range batches {
					errs[i] = errors.Join(errs[i], s.Commit(e.ctx, b))
					if err := s.Commit(e.ctx, b); fault.KindOf(err) != fault.Conflict {
						errs[i] = errors.Join(errs[i], fmt.Errorf("committed twice: %w", err))
					}
				}
			})
		}
		wait.Wait()
		e.must(errors.Join(errs...))
		e.equal("charges", e.count("SELECT count(*) FROM charges"), 8*10*20)
		e.equal("source versions", e.count("SELECT count(*) FROM source_versions"), 3)
		e.sound()
	}},
	{"commit/a report that is being read keeps nobody waiting", func(e *env) {
		b := e.committable(3, "a") // over two months
		e.fill(b, b.Scopes[0], "cpu", attrs(), "1@1", "1@1", "1@1")
		reader, err := e.raw.BeginTxx(e.ctx, nil)
		e.must(err)
		defer func() { _ = reader.Rollback() }()
		var n int
		e.must(reader.GetContext(e.ctx, &n, "SELECT count(*) FROM charges"))
		ctx, cancel := context.WithTimeout(e.ctx, time.Minute)
		defer cancel()
		if !e.postgres { // opened to write; a reader doesn't wait there anyway
			e.must(reader.Rollback())
		}
		e.must(e.s.Commit(ctx, b))
	}},
}

// onlyScope leaves only the i-th scope in a batch, and its usage.
func (e *env) onlyScope(b *metering.Batch, i int) *metering.Batch {
	c := *b
	c.Scopes = b.Scopes[i : i+1]
	c.Usage = nil
	for _, u := range b.Usage {
		if u.Scope == c.Scopes[0] {
			c.Usage = append(c.Usage, u)
		}
	}
	return &c
}
