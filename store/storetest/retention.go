package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"ratebook/costs"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
)

// retain drops what is too old at a time, and fails unless all of it could be.
func (e *env) retain(s *store.Store, now time.Time) metering.Retained {
	e.Helper()
	done, err := s.Retain(e.ctx, now)
	e.must(err)
	if done.Busy > 0 {
		e.Fatalf("others are in the way: %+v", done)
	}
	return done
}

// dropped reports whether charges ever were.
func (e *env) dropped() bool {
	e.Helper()
	return !e.kept().ChargesFrom.IsZero()
}

func (e *env) kept() metering.Retention {
	e.Helper()
	kept, err := e.s.Retention(e.ctx)
	e.must(err)
	return kept
}

// ofKept returns the queries as far as they are about charges that are kept.
func (e *env) ofKept(queries []*costs.Query) (all []*costs.Query) {
	e.Helper()
	from := e.kept().ChargesFrom
	for _, q := range queries {
		if q.Range.Begin.Before(from) {
			clipped := *q
			clipped.Range.Begin = from
			q = &clipped
		}
		if !q.Range.Empty() {
			all = append(all, q)
		}
	}
	return all
}

// The history that tests drop a part of: from a while before October begins, in any zone, to a while after it ended.
var (
	historyBegin = at("2026-09-29T12:00:00Z")
	historyEnd   = at("2026-11-03T12:00:00Z")
	december     = at("2026-12-10T12:00:00Z") // when October is not kept any more
)

// history charges two scopes for its time. Each day has a series of its own besides one of all days.
func (e *env) history() []*metering.Scope {
	e.Helper()
	scopes := e.scopes(historyBegin, "a", "b")
	e.plan(historyEnd)
	e.processHistory()
	return scopes
}

// processHistory does all windows that are due.
func (e *env) processHistory() {
	e.Helper()
	for {
		leases := e.lease(metering.LeaseRequest{})
		if len(leases) == 0 {
			return
		}
		for _, l := range leases {
			b := e.batch([]metering.Lease{l})
			e.fillHistory(b)
			e.commit(b)
			e.free(b)
		}
	}
}

func (e *env) fillHistory(b *metering.Batch) {
	e.Helper()
	for _, s := range b.Scopes {
		byDay := map[string][]string{}
		for i := range b.Run.Count {
			n := b.Run.Window(i).Begin.Unix() / 3600
			for _, id := range []string{"all", b.Run.Window(i).Begin.Format(time.DateOnly)} {
				samples := byDay[id]
				if samples == nil {
					samples = make([]string, b.Run.Count)
				}
				samples[i] = fmt.Sprintf("%d.%03d@%d.%06d", n%13, n%1000, n%5, n*7919%1_000_000)
				byDay[id] = samples
			}
		}
		for id, samples := range byDay {
			e.fill(b, s, "cpu", attrs("id", id), samples...)
		}
		b.Findings = append(b.Findings, metering.Finding{Kind: metering.Unpriced, Scope: s, Metric: "cpu", Points: 1})
	}
}

// since returns the rows of a table that begin at a time or later: all its columns, or those named.
func (e *env) since(table, columns string, from time.Time) []string {
	e.Helper()
	return e.rows("SELECT "+columns+" FROM "+table+" WHERE begins_at >= ?", e.time(from))
}

func (e *env) before(table string, from time.Time) int64 {
	e.Helper()
	return e.count("SELECT count(*) FROM "+table+" WHERE begins_at < ?", e.time(from))
}

// reports answers queries.
func (e *env) reports(queries []*costs.Query) string {
	e.Helper()
	var b strings.Builder
	for _, q := range queries {
		fmt.Fprintf(&b, "%+v\n\t%s\n", *q, strings.Join(e.report(q), "\n\t"))
	}
	return b.String()
}

// coarse are queries over the history that need no charges.
func coarse(zone *time.Location) (all []*costs.Query) {
	day := func(m time.Month, d int) time.Time {
		return period.StartOf(time.Date(2026, m, d, 0, 0, 0, 0, time.UTC), zone)
	}
	for _, r := range []period.Range{{Begin: day(9, 1), End: day(12, 1)}, {Begin: day(10, 30), End: day(11, 3)}, {Begin: day(9, 30), End: day(10, 12)}} {
		for _, bucket := range []period.Bucket{period.Whole, period.Day, period.Week, period.Month} {
			for _, groups := range [][]string{nil, {"scope"}, {"id"}, {"day_of_the_year"}} {
				all = append(all, &costs.Query{Range: r, Bucket: bucket, Groups: groups})
			}
		}
	}
	return all
}

func (e *env) hours(r period.Range) *costs.Query {
	return &costs.Query{Range: r, Bucket: period.Hour, Groups: []string{"id"}}
}

// dangling counts charges whose series is not there.
func (e *env) dangling() int64 {
	e.Helper()
	return e.count("SELECT count(*) FROM charges c WHERE NOT EXISTS (SELECT 1 FROM series s WHERE s.id = c.series)")
}

var retentionTests = func() (all []test) {
	// before UTC by hours, at it, after it by hours, and by half an hour
	for _, zone := range []string{"Europe/Berlin", "UTC", "America/New_York", "Asia/Kolkata"} {
		all = append(all, test{"retention/" + strings.ReplaceAll(zone, "/", " "), func(e *env) { e.retention(zone) }})
	}
	return append(all, []test{
		{"retention/held by windows", (*env).retentionHeld},
		{"retention/interrupted", (*env).retentionInterrupted},
		{"retention/another process", (*env).retentionElsewhere},
		{"retention/beside reports", (*env).retentionReports},
		{"retention/waits for readers", (*env).retentionWaits},
		{"retention/settings", (*env).retentionSettings},
	}...)
}()

// retention drops October's charges, then its roll-ups.
func (e *env) retention(name string) {
	e.world(store.Wanted{Timezone: name})
	scopes := e.history()
	zone := e.zone()
	from := period.StartOf(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), zone)
	whole := period.Range{Begin: historyBegin.AddDate(0, -1, 0), End: historyEnd.AddDate(0, 1, 0)}

	// superseded charges and a finished task on either side
	for _, begin := range []time.Time{from.Add(-30 * hour).Truncate(hour), from.Add(2 * hour).Truncate(hour)} {
		b := e.seize(period.Run{Begin: begin, Length: hour, Count: 3}, scopes[0])
		e.fillHistory(b)
		e.fill(b, scopes[0], "cpu", attrs("id", "only for a while"), "1@1")
		e.commit(b)
		e.exec("UPDATE tasks SET state = 'finished', begins_at = ?, ends_at = ?", e.time(begin), e.time(begin.Add(3*hour)))
		b = e.seize(period.Run{Begin: begin, Length: hour, Count: 3}, scopes[0])
		e.fillHistory(b)
		e.commit(b)
		e.exec("UPDATE tasks SET state = 'finished', begins_at = ?, ends_at = ? WHERE id = ?", e.time(begin), e.time(begin.Add(3*hour)), b.Task.ID)
		e.free(b)
	}
	e.exec("UPDATE tasks SET begins_at = ?, ends_at = ? WHERE id = (SELECT MIN(id) FROM tasks)", e.time(from.Add(-30*hour)), e.time(from.Add(-27*hour)))
	e.exec("UPDATE tasks SET begins_at = ?, ends_at = ? WHERE id = 2", e.time(from.Add(-30*hour)), e.time(from.Add(-27*hour)))
	e.sound()

	e.equal("dropped without a setting", e.retain(e.s, december).Nothing(), true)
	e.must(e.s.SetSetting(e.ctx, "keep_charges", "1 month", "ada"))
	state := e.state()
	e.equal("dropped in October", e.retain(e.s, begin.AddDate(0, 0, -2)).Nothing(), true)
	e.equal("state", e.state(), state)

	charges, windows := e.since("charges", "*", from), e.since("windows", "*", from)
	superseded, rollups, coarsely := e.since("superseded_charges", "*", from), e.lastingRollups(), e.reports(coarse(zone))
	finely := e.reports([]*costs.Query{e.hours(period.Range{Begin: from, End: historyEnd})})
	series := e.count("SELECT count(*) FROM series")
	done := e.retain(e.s, december)
	e.equal("since", done.ChargesFrom.UTC(), from.UTC())
	if done.Windows == 0 || done.Superseded == 0 || done.Findings == 0 || done.Tasks != 2 || !done.RollupsFrom.IsZero() || done.Rollups != 0 || !done.HeldAt.IsZero() {
		e.Errorf("dropped %+v", done)
	}
	if e.postgres {
		left := e.rows("SELECT relname FROM pg_class WHERE relname LIKE 'charges_2026_%' AND relkind = 'r'")
		want := []string{"charges_2026_11"}
		if from.UTC().Month() == time.October {
			want = []string{"charges_2026_10", "charges_2026_11"}
		}
		e.equal("partitions", left, want)
	}
	for _, table := range []string{"charges", "windows", "superseded_charges"} {
		e.equal(table+" from before", e.before(table, from), 0)
	}
	e.equal("findings from before", e.before("findings", from.Truncate(24*hour)), 0)
	e.equal("days of findings from before", e.count("SELECT count(*) FROM finding_days WHERE day < ?", e.time(from.Truncate(24*hour))), 0)
	e.equal("tasks", e.count("SELECT count(*) FROM tasks"), 2)
	e.equal("charges", e.since("charges", "*", from), charges)
	e.equal("windows", e.since("windows", "*", from), windows)
	e.equal("superseded charges", e.since("superseded_charges", "*", from), superseded)
	e.equal("roll-ups", e.lastingRollups(), rollups)
	e.equal("windows summed from before", e.count("SELECT count(*) FROM scope_window_packs WHERE day < '2026-11-01'"), 0)
	e.equal("reports", e.reports(coarse(zone)), coarsely)
	e.equal("reports of what is kept", e.reports([]*costs.Query{e.hours(period.Range{Begin: from, End: historyEnd})}), finely)
	e.compare(e.ofKept(standardQueries(zone))...)
	if unused := series - e.count("SELECT count(*) FROM series"); unused != 1 && unused != 0 {
		e.Errorf("%d series were dropped while roll-ups have them", unused)
	}

	// what is finer than what is kept says so
	for _, r := range []period.Range{whole, {Begin: from.Add(-hour), End: from.Add(hour)}} {
		_, err := e.s.Report(e.ctx, e.hours(r), nil)
		e.refused(err, fault.Invalid, "charges from before 2026-11-01 are kept only as sums of days", "ask by day")
	}
	_, err := e.s.Report(e.ctx, &costs.Query{Range: period.Range{Begin: from.Add(-hour), End: from}}, nil)
	e.refused(err, fault.Invalid, "2026-11-01", "whole days of "+name)
	_, err = e.s.Report(e.ctx, &costs.Query{Range: period.Range{Begin: from.AddDate(0, 0, -3), End: from.Add(-2 * hour)}}, nil)
	e.refused(err, fault.Invalid, "2026-11-01", "whole days of "+name)

	// roll-ups without charges are left alone
	e.equal("mismatches", e.mismatches(), []string(nil))
	old := func() []string {
		e.Helper()
		return append(e.rows("SELECT * FROM scope_metric_days WHERE day < '2026-11-01'"), e.rows("SELECT * FROM series_month_packs WHERE month < '2026-11-01'")...)
	}
	without := old()
	e.must(e.s.RebuildRollups(e.ctx, "ada", nil))
	e.equal("roll-ups without charges after a rebuild", old(), without)
	e.equal("reports after a rebuild", e.reports(coarse(zone)), coarsely)
	e.refused(e.s.SetSetting(e.ctx, "timezone", "Asia/Tokyo", "ada"), fault.Conflict, "2026-11-01", "dropped")
	e.equal("dropped again", e.retain(e.s, december).Nothing(), true)
	e.equal("dropped by an earlier clock", e.retain(e.s, begin).Nothing(), true)
	e.equal("since", e.kept().ChargesFrom.UTC(), from.UTC())

	// the same month's roll-ups, and the series that only these had
	other := e.open()
	e.plan(historyEnd.Add(hour))
	b := e.batch(e.leaseFrom(other, metering.LeaseRequest{Only: []string{"a"}}))
	e.fill(b, b.Scopes[0], "cpu", attrs("id", "all"), "1@1")
	e.fill(b, b.Scopes[0], "cpu", attrs("id", "2026-10-05"), "1@1") // knows a series of old
	e.must(other.Commit(e.ctx, b))
	e.free(b)
	e.processHistory()
	e.must(e.s.SetSetting(e.ctx, "keep_rollups", "1 month", "ada"))
	done = e.retain(e.s, december)
	e.equal("roll-ups since", done.RollupsFrom.UTC(), from.UTC())
	if done.Rollups == 0 || done.Series < 50 || done.Windows != 0 {
		e.Errorf("dropped %+v", done)
	}
	e.equal("days from before", e.count("SELECT count(*) FROM scope_metric_days WHERE day < '2026-11-01'"), 0)
	e.equal("months from before", e.count("SELECT count(*) FROM series_month_packs WHERE month < '2026-11-01'"), 0)
	e.equal("series of old days", e.count("SELECT count(*) FROM series WHERE CAST(groupby AS text) LIKE '%2026-10-0%'"), 1)
	_, err = e.s.Report(e.ctx, &costs.Query{Range: whole}, nil)
	e.refused(err, fault.Invalid, "nothing from before 2026-11-01 is kept")
	e.sound()
	e.equal("dangling charges", e.dangling(), 0)
	e.equal("leases left", e.count("SELECT count(*) FROM scopes WHERE lease_token IS NOT NULL"), 0)

	// both know series by heart that are gone
	e.plan(historyEnd.Add(3 * hour))
	for _, s := range []*store.Store{other, e.s} {
		l := e.leaseFrom(s, metering.LeaseRequest{Scopes: 1})
		b := e.batch(l)
		for d := range 9 {
			e.fill(b, b.Scopes[0], "cpu", attrs("id", fmt.Sprintf("2026-10-0%d", d+1)), "1@1", "2@1")
		}
		e.must(s.Commit(e.ctx, b))
		e.free(b)
	}
	e.equal("dangling charges", e.dangling(), 0)
	e.sound()
}

// retentionHeld has open windows, windows that wait for a task, unplanned ones and an unfinished task in the way.
func (e *env) retentionHeld() {
	e.world(store.Wanted{Timezone: "Europe/Berlin"})
	scopes := e.history()
	e.must(e.s.SetSetting(e.ctx, "keep_charges", "1 month", "ada"))
	october, november := at("2026-09-30T22:00:00Z"), at("2026-10-31T23:00:00Z")
	mark := at("2026-10-15T04:00:00Z")
	held := func(words string) {
		e.Helper()
		done := e.retain(e.s, december)
		e.equal("since", done.ChargesFrom.UTC(), october)
		if !done.HeldAt.Equal(mark) || !strings.Contains(done.HeldBy, words) {
			e.Errorf("held at %s by %q, want %s and %q", done.HeldAt, done.HeldBy, mark, words)
		}
		e.equal("windows from before", e.before("windows", october), 0)
		e.equal("windows of October", e.count("SELECT count(*) FROM windows WHERE begins_at >= ? AND begins_at < ?", e.time(october), e.time(november)), 2*(31*24+1))
		e.compare(e.ofKept(queries("2026-10-15T13:00:00Z", "2026-10-17T07:00:00Z"))...)
	}
	one := " WHERE begins_at = ? AND scope = ?"
	for _, state := range []metering.State{metering.Failed, metering.Due} {
		e.exec("UPDATE windows SET state = ?"+one, state, e.time(mark), scopes[1].Ref)
		held("scope b has not been processed")
	}
	e.exec("UPDATE windows SET state = 2, task = 0"+one, e.time(mark), scopes[1].Ref)
	held("scope b waits to be done again")
	e.exec("UPDATE windows SET task = NULL"+one, e.time(mark), scopes[1].Ref)
	task := e.task(metering.Rerate)
	e.exec("UPDATE tasks SET begins_at = ?, ends_at = ?", e.time(mark), e.time(mark.Add(hour)))
	held(fmt.Sprintf("task %d", task.ID))
	e.exec("UPDATE tasks SET state = 'previewed'")
	planned := e.time(historyEnd)
	e.exec("UPDATE scopes SET planned_to = ? WHERE scope = 'a'", e.time(mark))
	held("scope a are not planned")
	e.exec("UPDATE scopes SET planned_to = ? WHERE scope = 'a'", planned)
	e.exec("UPDATE windows SET state = 4"+one, e.time(mark), scopes[1].Ref) // waived
	e.exec("UPDATE windows SET points = 0"+one, e.time(mark), scopes[1].Ref)
	done := e.retain(e.s, december)
	e.equal("since", done.ChargesFrom.UTC(), november)
	e.equal("windows from before", e.before("windows", november), 0)
	e.equal("mismatches", e.mismatches(), []string(nil))

	// nothing is processed that far: the clock is wrong, or work has stopped
	for _, ahead := range []time.Time{december.AddDate(0, 2, 0), december.AddDate(8, 0, 0)} {
		done = e.retain(e.s, ahead)
		e.equal("since, by a clock that is ahead", done.ChargesFrom.UTC(), november)
	}
}

// retentionInterrupted ends Retain after ever longer times until it comes through.
func (e *env) retentionInterrupted() {
	e.world(store.Wanted{Timezone: "Europe/Berlin"})
	e.history()
	november := at("2026-10-31T23:00:00Z")
	charges, windows := e.since("charges", "*", november), e.since("windows", "*", november)
	e.must(e.s.SetSetting(e.ctx, "keep_charges", "1 month", "ada"))
	e.must(e.s.SetSetting(e.ctx, "keep_rollups", "1 month", "ada"))
	interrupted := 0
	for wait := 200 * time.Microsecond; ; wait += wait/4 + 200*time.Microsecond {
		ctx, cancel := context.WithTimeout(e.ctx, wait)
		s := e.s
		if interrupted%3 == 2 {
			s = e.open()
		}
		done, err := s.Retain(ctx, december)
		cancel()
		if kept := e.kept(); !kept.ChargesFrom.IsZero() && e.before("charges", kept.ChargesFrom) > 0 {
			// a window that is there has its charges
			e.equal("windows without charges", e.count(`SELECT count(*) FROM windows w WHERE w.points <>
				(SELECT count(*) FROM charges c WHERE c.scope = w.scope AND c.begins_at = w.begins_at)`), 0)
		}
		if err == nil && done.Busy == 0 {
			break
		}
		if interrupted++; err != nil && ctx.Err() == nil {
			e.Fatal(err)
		}
		e.compare(e.ofKept(queries("2026-10-31T13:00:00Z", "2026-11-02T07:00:00Z"))...)
	}
	if interrupted < 3 {
		e.Errorf("interrupted %d times only", interrupted)
	}
	e.exec("UPDATE scopes SET lease_token = NULL, lease_until = NULL, lease_holder = NULL")
	e.retain(e.s, december)
	e.equal("charges", e.rows("SELECT * FROM charges"), charges)
	e.equal("windows", e.rows("SELECT * FROM windows"), windows)
	e.equal("days from before", e.count("SELECT count(*) FROM scope_metric_days WHERE day < '2026-11-01'"), 0)
	e.equal("dangling charges", e.dangling(), 0)
	e.sound()
}

// retentionElsewhere charges windows of a month whose partition another process has dropped.
func (e *env) retentionElsewhere() {
	e.world(store.Wanted{})
	e.history()
	other := e.open()
	e.plan(historyEnd.Add(hour))
	for _, l := range e.leaseFrom(other, metering.LeaseRequest{}) { // it knows months and series now
		b := e.batch([]metering.Lease{l})
		e.fillHistory(b)
		e.must(other.Commit(e.ctx, b))
		e.free(b)
	}
	e.must(e.s.SetSetting(e.ctx, "keep_charges", "1 month", "ada"))
	e.retain(e.s, december)
	months := e.count("SELECT SUM(points) FROM scope_metric_months")
	e.scopes(at("2026-10-31T20:00:00Z"), "c")
	e.plan(historyEnd)
	leases := e.leaseFrom(other, metering.LeaseRequest{})
	e.equal("leases", len(leases), 1)
	b := e.batch(leases)
	e.fillHistory(b)
	e.must(other.Commit(e.ctx, b))
	e.free(b)
	e.equal("charges of October", e.before("charges", at("2026-11-01T00:00:00Z")), 8)
	e.equal("points", e.count("SELECT SUM(points) FROM scope_metric_months"), months+int64(b.Points()))
	e.sound()
	e.processHistory()
	done := e.retain(e.s, december)
	e.equal("windows", done.Windows, 4)
	e.equal("charges of October", e.before("charges", at("2026-11-01T00:00:00Z")), 0)
	e.sound()
}

// retentionReports asks for reports while charges are dropped: what is answered is whole.
func (e *env) retentionReports() {
	e.world(store.Wanted{Timezone: "Europe/Berlin"})
	e.history()
	november := at("2026-10-31T23:00:00Z")
	queries := []*costs.Query{
		e.hours(period.Range{Begin: november.Add(-48 * hour), End: november.Add(24 * hour)}),
		e.hours(period.Range{Begin: november, End: november.Add(3 * hour)}),
	}
	var want [][]string
	for _, q := range queries {
		want = append(want, e.report(q))
	}
	e.must(e.s.SetSetting(e.ctx, "keep_charges", "1 month", "ada"))
	ended := make(chan error, 1)
	go func() {
		_, err := e.open().Retain(e.ctx, december)
		ended <- err
	}()
	ask := func(i int) (refused bool) {
		var lines []string
		total, err := e.s.Report(e.ctx, queries[i], func(r costs.Row) error {
			lines = append(lines, format(&r))
			return nil
		})
		if fault.KindOf(err) == fault.Invalid && i == 0 {
			return true
		}
		e.must(err)
		if got := append(lines, formatTotal(&total)); !slices.Equal(got, want[i]) {
			e.Fatalf("report %d:\n got %s\nwant %s", i, strings.Join(got, "\n     "), strings.Join(want[i], "\n     "))
		}
		return false
	}
	for {
		ask(0)
		ask(1)
		if bad := e.mismatches(); len(bad) > 0 {
			e.Errorf("found %v", bad)
		}
		select {
		case err := <-ended:
			e.must(err)
			if !ask(0) {
				e.Error("hours of October are still answered")
			}
			ask(1)
			return
		default:
		}
	}
}

// retentionWaits has a reader in the way for a while.
func (e *env) retentionWaits() {
	if !e.postgres {
		return
	}
	e.world(store.Wanted{Timezone: "Europe/Berlin"})
	e.history()
	e.must(e.s.SetSetting(e.ctx, "keep_charges", "1 month", "ada"))
	reader, err := e.raw.BeginTxx(e.ctx, nil)
	e.must(err)
	_, err = reader.ExecContext(e.ctx, "LOCK TABLE charges IN ACCESS SHARE MODE")
	e.must(err)
	ended := make(chan metering.Retained, 1)
	go func() {
		done, err := e.s.Retain(e.ctx, december)
		if err != nil {
			e.Error(err)
		}
		ended <- done
	}()
	for e.before("windows", at("2026-10-01T00:00:00Z")) > 0 {
		if e.ctx.Err() != nil {
			return
		}
	}
	for range 3 { // others go on reading meanwhile
		e.report(e.hours(period.Range{Begin: at("2026-11-01T23:00:00Z"), End: historyEnd}))
	}
	select {
	case done := <-ended:
		e.Errorf("did not wait: %+v", done)
	default:
	}
	e.must(reader.Commit())
	done := <-ended
	e.equal("partitions, and those in use", fmt.Sprint(done.Partitions, done.Busy), "2 0")
}

func (e *env) retentionSettings() {
	_, err := e.s.Migrate(e.ctx)
	e.must(err)
	e.equal("dropped from a database without settings", e.retain(e.s, december).Nothing(), true)
	e.world(store.Wanted{})
	set := func(name, value string) error { return e.s.SetSetting(e.ctx, name, value, "ada") }
	for _, value := range []string{"", "13", "0 months", "-1 months", "1 year", "1.5 months", "never"} {
		e.refused(set("keep_charges", value), fault.Invalid)
	}
	e.refused(set("charges_from", "2026-11-01T00:00:00Z"), fault.Invalid)
	e.refused(set("keep_rollups", "24 months"), fault.Invalid, "charges are kept forever", "keep_charges")
	e.must(set("keep_charges", "13 month"))
	e.refused(set("keep_rollups", "12 months"), fault.Invalid, "12 months", "13 months", "at least as long")
	e.must(set("keep_rollups", "24 months"))
	e.refused(set("keep_charges", "forever"), fault.Invalid, "keep_rollups to forever")
	e.refused(set("keep_charges", "25 months"), fault.Invalid)
	e.must(set("keep_charges", "24 months"))
	settings, err := e.open().Settings(e.ctx, store.Wanted{})
	e.must(err)
	e.equal("kept", fmt.Sprint(settings.Retention.Charges, ", ", settings.Retention.Rollups), "24 months, 24 months")
	e.must(set("keep_rollups", "forever"))
	e.must(set("keep_charges", "forever"))
	e.must(set("keep_charges", "forever"))
	e.equal("changes", e.rows("SELECT subject, before, after FROM audit_log WHERE subject LIKE 'setting keep%'"), []string{
		"setting keep_charges|13 months|24 months", "setting keep_charges|24 months|forever", "setting keep_charges|forever|13 months",
		"setting keep_rollups|24 months|forever", "setting keep_rollups|forever|24 months",
	})
}
