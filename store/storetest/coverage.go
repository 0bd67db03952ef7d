package storetest

import (
	"fmt"
	"strings"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
)

// covered writes what Coverage and OpenWindows answer: scope number, cell, first window, counts that are not 0.
func covered(all []metering.Coverage, err error) string {
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, c := range all {
		line := fmt.Sprintf("%d/%d from %s:", c.Scope, c.Cell, c.First.Format("02 15:04"))
		for state, name := range []string{"due", "leased", "done", "failed", "waived", "empty"} {
			if n := c.Counts[state]; n != 0 {
				line += fmt.Sprintf(" %d %s", n, name)
			}
		}
		if c.Again+c.Redone > 0 {
			line += fmt.Sprintf(", %d again, %d redone", c.Again, c.Redone)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

var coverageTests = []test{
	{"coverage/map", func(e *env) {
		e.world(store.Wanted{})
		scopes := e.scopes(begin, "a", "b")
		a, b := scopes[0].Ref, scopes[1].Ref
		e.plan(begin.Add(6 * hour))
		cell := func(from, to time.Duration) period.Range {
			return period.Range{Begin: begin.Add(from * hour), End: begin.Add(to * hour)}
		}
		// cells may leave gaps, overlap, and have nothing in them
		cells := []period.Range{cell(0, 3), cell(3, 6), cell(-24, 0), cell(5, 24), cell(0, 0)}
		ask := func(scopes ...int64) string { e.Helper(); return covered(e.s.Coverage(e.ctx, scopes, cells)) }
		e.equal("nothing asked", ask(), "")
		e.equal("no cells", covered(e.s.Coverage(e.ctx, []int64{a}, nil)), "")
		e.equal("no such scope", ask(999), "")
		e.equal("planned", ask(b), fmt.Sprintf("%[1]d/0 from 31 22:00: 3 due\n%[1]d/1 from 01 01:00: 3 due\n%[1]d/3 from 01 03:00: 1 due", b))

		set := func(hours time.Duration, what string) {
			e.Helper()
			e.exec("UPDATE windows SET "+what+" WHERE scope = ? AND begins_at = ?", a, e.time(begin.Add(hours*hour)))
		}
		later := fmt.Sprint(e.time(time.Now().Add(hour).Truncate(time.Second)))
		if e.postgres {
			later = "now() + interval '1 hour'"
		}
		set(0, "state = 2")
		set(1, "state = 2, task = 7")
		set(2, "state = 5, task = 0, redone_by = 3")
		set(3, "state = 3, next_attempt = "+later)
		set(4, "state = 3")
		set(5, "state = 4")
		want := "%[1]d/0 from 31 22:00: 2 done 1 empty, 2 again, 1 redone\n%[1]d/1 from 01 01:00: %[2]s 1 waived\n%[1]d/3 from 01 03:00: 1 waived"
		e.equal("states", ask(a), fmt.Sprintf(want, a, "2 failed"))
		counts := func() string {
			e.Helper()
			n, err := e.s.StateCounts(e.ctx, cell(1, 6))
			return fmt.Sprint(n, err)
		}
		e.equal("all scopes", counts(), "[5 0 1 2 1 1] <nil>")

		open := func(scopes ...int64) string {
			e.Helper()
			return covered(e.s.OpenWindows(e.ctx, metering.WindowSelection{Scopes: scopes, Range: cell(2, 6)}))
		}
		ofA, ofB := fmt.Sprintf("%d/0 from 01 01:00: 2 failed", a), fmt.Sprintf("%d/0 from 01 00:00: 4 due", b)
		e.equal("open", open(), ofA+"\n"+ofB)

		// leased: open, its turn has come, and somebody works on the scope
		e.exec("UPDATE scopes SET lease_until = ?, lease_holder = 'x'", e.time(time.Now().Add(hour).Truncate(time.Second)))
		e.equal("leased", ask(a), fmt.Sprintf(want, a, "1 leased 1 failed"))
		e.equal("leased", ask(b), fmt.Sprintf("%[1]d/0 from 31 22:00: 3 leased\n%[1]d/1 from 01 01:00: 3 leased\n%[1]d/3 from 01 03:00: 1 leased", b))
		e.equal("all scopes", counts(), "[0 6 1 1 1 1] <nil>")
		e.equal("open, by whomever", open(b, a), ofA+"\n"+ofB)
		e.equal("open of one", open(b), ofB)
		e.exec("UPDATE scopes SET lease_until = ?", e.time(time.Now().Add(-time.Minute).Truncate(time.Second)))
		e.equal("after the lease", ask(a), fmt.Sprintf(want, a, "2 failed"))
	}},
	{"coverage/window", func(e *env) {
		e.world(store.Wanted{}, "cpu", "ram")
		s := e.scopes(begin, "a", "b")[0]
		e.plan(begin.Add(3 * hour))
		second := begin.Add(hour)
		_, err := e.s.Window(e.ctx, s.Ref, begin.Add(30*time.Minute))
		e.refused(err, fault.NotFound, "2026-10-31T22:30:00Z")
		_, err = e.s.Window(e.ctx, 999, begin)
		e.refused(err, fault.NotFound)
		get := func(begin time.Time) *metering.WindowDetail {
			e.Helper()
			w, err := e.s.Window(e.ctx, s.Ref, begin)
			e.must(err)
			return w
		}
		w := get(begin)
		if w.State != metering.Due || w.Scope.ID != "a" || w.Scope.Source.Name != "default" || !w.Before.IsZero() || !w.After.Equal(second) || w.LeasedBy != "" ||
			len(w.Metrics)+len(w.Findings)+len(w.Superseded) > 0 || w.Task != nil || !w.End.Equal(second) {
			e.Errorf("a planned window: %+v", w)
		}

		b := e.batch(e.lease(metering.LeaseRequest{Only: []string{"a"}}))
		s = b.Scopes[0]
		if w := get(second); w.State != metering.Leased || w.LeasedBy != "test" || !w.LeasedUntil.After(time.Now()) {
			e.Errorf("a leased window: %+v", w)
		}
		e.fill(b, s, "ram", attrs("id", "1"), "1@1", "0.1@0.000000000001")
		e.fill(b, s, "cpu", attrs("id", "1"), "1@1", "1@1")
		e.fill(b, s, "cpu", attrs("id", "2"), "1@1", "2.5@0.3")
		b.Findings = []metering.Finding{
			{Kind: metering.Skipped, Scope: s, Window: 1, Metric: "cpu", Detail: "NaN", Points: 1},
			{Kind: metering.Unpriced, Scope: s, Window: 1, Metric: "ram", Points: 7},
			{Kind: metering.Unpriced, Scope: s, Window: 0, Metric: "ram", Points: 9},
		}
		b.Failed = []metering.Outcome{{Scope: s, Window: 2, Error: "no answer", Retry: time.Now().Add(hour)}}
		b.Took = 212 * time.Millisecond
		e.commit(b)
		w = get(second)
		e.equal("metrics", fmt.Sprint(w.Metrics), "[{cpu unit of cpu 2 3.5 1.3} {ram unit of ram 1 0.1 0.000000000001}]")
		e.equal("findings", fmt.Sprint(w.Findings), "[{unpriced <nil> 0 ram  7} {skipped <nil> 0 cpu NaN 1}]")
		row := fmt.Sprintf("state %d, %d points, %s, %s, versions %d and %d, %s, %d attempts, %d superseded",
			w.State, w.Points, w.Amount, w.Took, w.Config, w.Rules, w.SourceVersion, w.Attempts, len(w.Superseded))
		e.equal("row", row, fmt.Sprintf("state 2, 3 points, 1.300000000001, 212ms, versions %d and 1, prometheus 3.5.0, 1 attempts, 0 superseded", e.config))
		if !w.Before.Equal(begin) || !w.After.Equal(begin.Add(2*hour)) {
			e.Errorf("between %v and %v", w.Before, w.After)
		}
		if w := get(begin.Add(2 * hour)); w.State != metering.Failed || w.Error != "no answer" || w.LeasedBy != "test" || !w.After.IsZero() {
			e.Errorf("a failed window whose turn has not come: %+v", w)
		}
		e.free(b)

		b = e.seize(period.Run{Begin: second, Length: hour, Count: 1}, s)
		b.RulesVersion = 2
		e.fill(b, s, "cpu", attrs("id", "1"), "1@2")
		e.commit(b)
		e.free(b)
		e.exec("UPDATE superseded SET task = 7, superseded_at = ?", e.time(at("2026-11-02T00:00:00Z")))
		b = e.seize(period.Run{Begin: second, Length: hour, Count: 1}, s)
		e.commit(b)
		e.free(b)
		e.exec("UPDATE superseded SET task = NULL, superseded_at = ? WHERE COALESCE(task, 0) <> 7", e.time(at("2026-11-03T00:00:00Z")))
		w = get(second)
		var sets []string
		for _, x := range w.Superseded {
			sets = append(sets, fmt.Sprint(x.At.Format("02 Jan"), " task ", x.Task, " rules ", x.Rules, " ", x.Points, " points ", x.Amount))
		}
		e.equal("superseded", sets, []string{"03 Nov task 0 rules 2 1 points 2", "02 Nov task 7 rules 1 3 points 1.300000000001"})
		if w.State != metering.Empty || len(w.Metrics) > 0 {
			e.Errorf("an empty window: %+v", w)
		}
		e.exec("UPDATE windows SET task = 0, redone_by = 7, absence_accepted = ?, waived_by = 'ada', waived_for = 'why' WHERE scope = ? AND begins_at = ?", true, s.Ref, e.time(second))
		w = get(second)
		if w.Task == nil || *w.Task != 0 || w.RedoneBy != 7 || !w.Accepted || w.WaivedBy != "ada" || w.WaivedFor != "why" {
			e.Errorf("the rest: %+v", w)
		}
	}},
	{"coverage/large ledgers are not scanned", func(e *env) {
		if !e.postgres {
			return // says nothing of how it reads
		}
		e.world(store.Wanted{})
		e.exec(`INSERT INTO scopes (source, scope_key, scope, fetcher, found_at, planned_to)
			SELECT ?, 'project_id', 's' || i, 'static', now(), now() FROM generate_series(1, 200) i`, e.src.Ref)
		e.exec(`INSERT INTO windows (scope, begins_at, period, state, next_attempt)
			SELECT s.id, CAST(? AS timestamptz) + make_interval(hours => h), 3600, CASE WHEN h % 100 = 0 THEN 3 ELSE 2 END, ?
			FROM scopes s, generate_series(1, 1000) h`, begin, begin)
		e.exec("ANALYZE")
		scopes, err := e.s.Scopes(e.ctx)
		e.must(err)
		var cells []period.Range
		for d := range 30 {
			cells = append(cells, period.Range{Begin: begin.Add(time.Duration(d) * 24 * hour), End: begin.Add(time.Duration(d+1) * 24 * hour)})
		}
		scans := "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'windows'"
		before := e.count(scans)
		s := e.open()
		all, err := s.Coverage(e.ctx, refsOf(scopes[:20]), cells)
		e.must(err)
		e.equal("cells", len(all), 20*30)
		_, err = s.StateCounts(e.ctx, cells[3])
		e.must(err)
		_, err = s.OpenWindows(e.ctx, metering.WindowSelection{Range: cells[3]})
		e.must(err)
		e.must(s.Close()) // statistics are written when a connection ends
		e.must(e.s.Close())
		e.raw.SetMaxOpenConns(1)
		for e.count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()") > 0 {
			if e.ctx.Err() != nil {
				return
			}
		}
		e.equal("sequential scans of windows", e.count(scans), before)
	}},
}

func refsOf(scopes []*metering.Scope) (refs []int64) {
	for _, s := range scopes {
		refs = append(refs, s.Ref)
	}
	return refs
}
