package storetest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
)

var stateTests = []test{
	{"state/scopes", func(e *env) {
		e.world(store.Wanted{})
		states := func() (lines []string) {
			e.Helper()
			all, err := e.s.ScopeStates(e.ctx)
			e.must(err)
			for _, s := range all {
				next := ""
				if !s.NextAttempt.IsZero() {
					next = s.NextAttempt.Format(" 15:04")
				}
				lines = append(lines, fmt.Sprintf("%s %s %s: %d due, %d failed %s%s", s.Scope.ID, s.ProcessedTo.Format("02 15:04"), s.PlannedTo.Format("02 15:04"), s.Due, s.Failed, s.Error, next))
			}
			return lines
		}
		e.equal("without scopes", states(), []string(nil))
		e.scopes(begin, "b", "a")
		e.equal("before planning", states(), []string{"a 31 22:00 31 22:00: 0 due, 0 failed ", "b 31 22:00 31 22:00: 0 due, 0 failed "})
		e.plan(begin.Add(5 * hour))
		e.scopes(begin.Add(9*hour), "c")
		e.equal("planned", states(), []string{
			"a 31 22:00 01 03:00: 5 due, 0 failed ", "b 31 22:00 01 03:00: 5 due, 0 failed ", "c 01 07:00 01 07:00: 0 due, 0 failed ",
		})
		b := e.batch(e.lease(metering.LeaseRequest{Only: []string{"a"}}))
		for i, retry := range map[int]string{1: "2026-11-01T12:34:00Z", 3: "2026-11-01T11:00:00Z"} {
			b.Failed = append(b.Failed, metering.Outcome{Scope: b.Scopes[0], Window: i, Error: fmt.Sprint("error ", i), Retry: at(retry)})
		}
		e.commit(b)
		e.equal("some failed", states()[0], "a 31 23:00 01 03:00: 0 due, 2 failed error 1 12:34")
		e.plan(begin.Add(6 * hour))
		e.equal("one more", states()[0], "a 31 23:00 01 04:00: 1 due, 2 failed error 1 12:34")
		e.exec("UPDATE windows SET state = ? WHERE state = ? AND error = 'error 1'", metering.Waived, metering.Failed)
		e.equal("waived", states()[0], "a 01 01:00 01 04:00: 1 due, 1 failed error 3 11:00")
		e.free(b)
		for _, id := range []string{"a", "a", "b"} {
			for _, l := range e.lease(metering.LeaseRequest{Only: []string{id}, TriedBefore: e.token()}) {
				b := e.batch([]metering.Lease{l})
				e.commit(b)
				e.free(b)
			}
		}
		e.equal("all done", states(), []string{
			"a 01 04:00 01 04:00: 0 due, 0 failed ", "b 01 04:00 01 04:00: 0 due, 0 failed ", "c 01 07:00 01 07:00: 0 due, 0 failed ",
		})
	}},
	{"state/windows of a scope", func(e *env) {
		e.world(store.Wanted{})
		e.charged(5, "a", "b")
		for _, s := range e.scopes(begin, "a", "b") {
			all, err := e.s.Windows(e.ctx, s.Ref, period.Range{Begin: begin.Add(hour), End: begin.Add(4 * hour)})
			e.must(err)
			var got []string
			for _, w := range all {
				got = append(got, fmt.Sprint(w.Scope, w.Begin.Sub(begin), w.End.Sub(begin), w.State, w.Points))
			}
			e.equal("windows", got, []string{
				fmt.Sprint(s.Ref, hour, 2*hour, metering.Done, 3), fmt.Sprint(s.Ref, 2*hour, 3*hour, metering.Done, 3), fmt.Sprint(s.Ref, 3*hour, 4*hour, metering.Done, 3),
			})
		}
		none, err := e.s.Windows(e.ctx, 1<<30, period.Range{Begin: begin, End: begin.Add(hour)})
		e.must(err)
		e.equal("windows of nobody", len(none), 0)
	}},
	{"state/unpriced", func(e *env) {
		e.world(store.Wanted{})
		r := rand.New(rand.NewPCG(5, 5))
		scopes := e.scopes(begin.Add(-30*hour), "a", "b", "c")
		e.plan(begin.Add(30 * hour))
		metrics := []string{"cpu", "ram", "Ünï"}
		compare := func() {
			e.Helper()
			for range 40 {
				at := begin.Add(time.Duration(r.IntN(70)-35) * hour)
				all := period.Range{Begin: at, End: at.Add(time.Duration(r.IntN(60)) * hour)}
				e.equal(fmt.Sprint("unpriced of ", all), e.unpriced(all), e.naiveUnpriced(all))
			}
			whole := period.Range{Begin: begin.AddDate(-1, 0, 0), End: begin.AddDate(1, 0, 0)}
			e.equal("unpriced", e.unpriced(whole), e.naiveUnpriced(whole))
		}
		compare()
		for range 12 { // windows are replaced by others, with other findings or none
			b := e.seize(period.Run{Begin: begin.Add(time.Duration(r.IntN(36)-30) * hour), Length: hour, Count: 1 + r.IntN(24)}, scopes[r.IntN(3):]...)
			for range r.IntN(60) {
				kind := metering.Unpriced
				if r.IntN(4) == 0 {
					kind = metering.Skipped
				}
				b.Findings = append(b.Findings, metering.Finding{
					Kind: kind, Scope: b.Scopes[r.IntN(len(b.Scopes))], Window: r.IntN(b.Run.Count), Metric: metrics[r.IntN(3)], Detail: []string{"", "x"}[r.IntN(2)], Points: 1 + r.IntN(5),
				})
			}
			e.commit(b)
			e.free(b)
			compare()
		}
		e.commit(e.seize(period.Run{Begin: begin.Add(-30 * hour), Length: hour, Count: 24}, scopes...))
		e.commit(e.seize(period.Run{Begin: begin.Add(-6 * hour), Length: hour, Count: 24}, scopes...))
		e.commit(e.seize(period.Run{Begin: begin.Add(18 * hour), Length: hour, Count: 12}, scopes...))
		e.equal("days left", e.count("SELECT count(*) FROM finding_days"), 0)
	}},
}

// unpriced is what the store says of usage without a price.
func (e *env) unpriced(r period.Range) (lines []string) {
	e.Helper()
	all, err := e.s.Unpriced(e.ctx, r)
	e.must(err)
	for i, u := range all {
		if i > 0 && all[i-1].Points < u.Points {
			e.Errorf("the order is %+v", all)
		}
		lines = append(lines, fmt.Sprintf("%s %d points of %d scopes from %s to %s", u.Metric, u.Points, u.Scopes, u.First.Format(time.RFC3339), u.Last.Format(time.RFC3339)))
	}
	return lines
}

// naiveUnpriced is the same from the findings themselves.
func (e *env) naiveUnpriced(r period.Range) (lines []string) {
	e.Helper()
	rows, err := e.raw.QueryContext(e.ctx, e.raw.Rebind(`SELECT metric, SUM(points), COUNT(DISTINCT scope), MIN(`+e.unix("begins_at")+`), MAX(`+e.unix("begins_at")+`)
		FROM findings WHERE kind = 'unpriced' AND begins_at >= ? AND begins_at < ? GROUP BY metric ORDER BY SUM(points) DESC, metric`), e.time(r.Begin), e.time(r.End))
	e.must(err)
	defer rows.Close()
	for rows.Next() {
		var metric string
		var points, scopes, first, last int64
		e.must(rows.Scan(&metric, &points, &scopes, &first, &last))
		lines = append(lines, fmt.Sprintf("%s %d points of %d scopes from %s to %s", metric, points, scopes,
			time.Unix(first, 0).UTC().Format(time.RFC3339), time.Unix(last, 0).UTC().Format(time.RFC3339)))
	}
	e.must(rows.Err())
	return lines
}
