package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
)

// The most windows and scopes that are planned in one transaction.
const (
	planWindows = 20_000
	planScopes  = 1_000
)

// Plan writes the windows of all active scopes up to horizon into the ledger as due, and returns how many these are. It
// may run anywhere, any number of times at once.
func (s *Store) Plan(ctx context.Context, length time.Duration, horizon time.Time) (planned int64, err error) {
	if err := s.wake(ctx); err != nil {
		return 0, err
	}
	for {
		var n int64
		more := false
		err := s.update(ctx, func(t *tx) (err error) {
			n, more, err = t.plan(ctx, length, horizon)
			return err
		})
		planned += n
		if err != nil || !more {
			return planned, err
		}
	}
}

// wake makes attempts due that were put off further than any pause is long: somebody's clock was ahead then.
func (s *Store) wake(ctx context.Context) error {
	now := time.Now()
	farther := at(now.Add(2 * metering.LongestRetry))
	var asleep []string
	var tasks []int64
	err := s.view(ctx, func(t *tx) (err error) {
		asleep = []string{"state IN (0, 3) AND next_attempt > ?"}
		if tasks, err = t.running(ctx, &metering.LeaseRequest{Again: true}); err != nil {
			return err
		}
		for _, id := range tasks {
			if id != 0 { // re-checks wait longer than that
				asleep = append(asleep, "task IS NOT NULL AND task = "+strconv.FormatInt(id, 10)+" AND next_attempt > ?")
			}
		}
		var found []string
		for _, where := range asleep {
			var one int
			any, err := t.get(ctx, &one, "SELECT 1 FROM windows WHERE "+where+" LIMIT 1", farther)
			if err != nil {
				return err
			}
			if any {
				found = append(found, where)
			}
		}
		asleep = found
		return nil
	})
	for _, where := range asleep {
		for more := true; more && err == nil; {
			err = s.update(ctx, func(t *tx) error {
				n, err := t.exec(ctx, "UPDATE windows SET next_attempt = ? WHERE (scope, begins_at) IN (SELECT scope, begins_at FROM windows WHERE "+where+" LIMIT 5000)", at(now), farther)
				more = n > 0
				return err
			})
		}
	}
	return err
}

// plan plans one transaction's worth; more says that there may be more.
func (t *tx) plan(ctx context.Context, length time.Duration, horizon time.Time) (n int64, more bool, err error) {
	var now string
	if found, err := t.get(ctx, &now, "SELECT value FROM settings WHERE name = ?", settingPeriod); err != nil {
		return 0, false, err
	} else if found && now != DurationText(length) {
		return 0, false, fault.New(fault.Unavailable, "the collect period has been changed to %s; restart this process", now)
	}
	late, more, err := t.planOldPeriod(ctx, length, horizon)
	if err != nil || more {
		return late, more, err
	}
	type unplanned struct {
		ID        int64
		PlannedTo timestamp `db:"planned_to"`
	}
	var rows []unplanned
	const behind = "SELECT id, planned_to FROM scopes WHERE active AND planned_to < ? AND "
	err = t.list(ctx, &rows, behind+t.d.seconds("planned_to")+" % ? = 0 ORDER BY planned_to LIMIT ?", at(horizon), int64(length/time.Second), planScopes)
	if err != nil || len(rows) == 0 {
		return late, false, err
	}
	found := len(rows)
	refs := make([]int64, found)
	for i, r := range rows {
		refs[i] = r.ID
	}
	// locked in the order that commits lock in; what another planner has done meanwhile drops out
	rows = rows[:0]
	query, args := in(behind+"id IN (?) ORDER BY id "+t.d.forUpdate, at(horizon), refs)
	if err := t.list(ctx, &rows, query, args...); err != nil || len(rows) == 0 {
		return late, err == nil, err
	}
	slices.SortFunc(rows, func(a, b unplanned) int { return a.PlannedTo.Compare(b.PlannedTo.Time) })
	// the scopes that lag most go first, a part of their way if it is long
	to := rows[0].PlannedTo.Add(time.Duration(max(1, planWindows/len(rows))) * length)
	if to.After(horizon) {
		to = horizon
	}
	var ids []int64
	for _, r := range rows {
		if r.PlannedTo.Before(to) {
			ids = append(ids, r.ID)
		}
	}
	n, err = t.planScopes(ctx, ids, length, to)
	return late + n, len(ids) < found || to.Before(horizon) || found == planScopes, err
}

// planOldPeriod plans scopes whose next window is not on the grid of the period, because the period was changed: windows
// keep the period of the one before until both grids meet.
func (t *tx) planOldPeriod(ctx context.Context, length time.Duration, horizon time.Time) (n int64, more bool, err error) {
	var rows []struct {
		ID        int64
		PlannedTo timestamp `db:"planned_to"`
		Length    int64     // seconds
	}
	err = t.list(ctx, &rows, `SELECT s.id, s.planned_to, COALESCE((SELECT w.period FROM windows w WHERE w.scope = s.id AND w.begins_at < s.planned_to
			ORDER BY w.begins_at DESC LIMIT 1), 0) AS length
		FROM scopes s WHERE s.active AND s.planned_to < ? AND `+t.d.seconds("s.planned_to")+" % ? <> 0 ORDER BY s.planned_to LIMIT ? "+t.d.skipLocked,
		at(horizon), int64(length/time.Second), planScopes)
	if err != nil {
		return 0, false, err
	}
	type chain struct{ begin, seconds int64 }
	chains := map[chain][]int64{}
	for _, r := range rows {
		c := chain{r.PlannedTo.Unix(), r.Length}
		chains[c] = append(chains[c], r.ID)
	}
	for c, ids := range chains {
		if n >= planWindows {
			return n, true, nil
		}
		begin := time.Unix(c.begin, 0).UTC()
		if c.seconds == 0 { // no window yet: it can begin on the new grid
			query, args := in("UPDATE scopes SET planned_to = ? WHERE id IN (?)", at(period.Floor(begin, length)), ids)
			if _, err := t.exec(ctx, query, args...); err != nil {
				return n, false, err
			}
			continue
		}
		old := time.Duration(c.seconds) * time.Second
		to := begin
		most := begin.Add(time.Duration(max(1, planWindows/len(ids))) * old)
		open := func() bool { return !to.Equal(period.Floor(to, length)) && !to.Add(old).After(horizon) }
		for open() && to.Before(most) {
			to = to.Add(old)
		}
		more = more || open() // the rest in another transaction
		if to.Equal(begin) {
			continue
		}
		planned, err := t.planScopes(ctx, ids, old, to)
		if n += planned; err != nil {
			return n, false, err
		}
	}
	return n, more || len(rows) == planScopes && n > 0, nil
}

// planScopes writes the windows of some scopes up to a time.
func (t *tx) planScopes(ctx context.Context, ids []int64, length time.Duration, to time.Time) (n int64, err error) {
	seconds := int64(length / time.Second)
	query, args := in(`INSERT INTO windows (scope, begins_at, period, state, next_attempt)
		WITH RECURSIVE w(scope, begins_at) AS (
			SELECT id, planned_to FROM scopes WHERE id IN (?)
			UNION ALL
			SELECT scope, `+t.d.later("begins_at")+` FROM w WHERE `+t.d.later("begins_at")+` < ?
		)
		SELECT scope, begins_at, CAST(? AS integer), 0, begins_at FROM w WHERE true
		ON CONFLICT (scope, begins_at) DO NOTHING`, ids, seconds, seconds, at(to), seconds)
	if n, err = t.exec(ctx, query, args...); err != nil {
		return 0, err
	}
	query, args = in("UPDATE scopes SET planned_to = ? WHERE id IN (?)", at(to), ids)
	_, err = t.exec(ctx, query, args...)
	return n, err
}

// LeaseToken returns a new lease token. Tokens grow, whatever clocks do, so that they also order attempts.
func (s *Store) LeaseToken(ctx context.Context) (token int64, err error) {
	err = s.update(ctx, func(t *tx) (err error) {
		token, err = t.token(ctx)
		return err
	})
	return token, err
}

func (t *tx) token(ctx context.Context) (token int64, err error) {
	_, err = t.get(ctx, &token, t.d.nextToken)
	return token, err
}

// eligible is SQL for the windows of a request, in alias w. running are the tasks whose windows may be leased.
//
// Clocks may step: a window that was planned while one was ahead is not over yet.
func (d *dialect) eligible(r *metering.LeaseRequest, running []int64, now time.Time) (string, []any) {
	query, args := "w.state IN (0, 3) AND "+d.laterBy("w.begins_at", "w.period")+" <= ?", []any{at(now)}
	if r.Again {
		query, args = in("w.task IS NOT NULL AND +w.task IN (?)", running) // the + keeps SQLite from reading whole tasks
	}
	switch {
	case r.TriedBefore == 0:
		query, args = query+" AND w.next_attempt <= ?", append(args, at(now))
	case r.Again: // it is no backoff that a re-check waits for
		query, args = query+" AND w.attempt < ? AND (w.task <> 0 OR w.next_attempt <= ?)", append(args, r.TriedBefore, at(now))
	default:
		query, args = query+" AND w.attempt < ?", append(args, r.TriedBefore)
	}
	if !r.Until.IsZero() {
		query, args = query+" AND w.begins_at < ?", append(args, at(r.Until))
	}
	return query, args
}

// running returns the tasks whose windows a request may be given, 0 for late re-checks among them.
func (t *tx) running(ctx context.Context, r *metering.LeaseRequest) (ids []int64, err error) {
	if !r.Again {
		return nil, nil
	}
	kinds := ""
	switch {
	case r.Rerates:
		kinds = " AND kind IN ('re-rate', 'reset')"
	case r.Collects:
		kinds = " AND kind NOT IN ('re-rate', 'reset')"
	}
	err = t.list(ctx, &ids, "SELECT id FROM tasks WHERE state = 'running' AND state IN ('previewing', 'previewed', 'running')"+kinds+" ORDER BY id")
	if r.Rerates {
		return append(ids, -1), err // nobody's: queries need some number
	}
	return append(ids, 0), err
}

// Leases end at the latest so many times as long from now as the one that is asked for, and never before mostLease: those
// that seem to last longer were made when the clock was ahead.
const (
	mostLeases = 10
	mostLease  = 10 * time.Minute
)

// free is SQL for scopes s that nobody has a lease on.
func free(d time.Duration, now time.Time) (string, []any) {
	return "(s.lease_until IS NULL OR s.lease_until <= ? OR s.lease_until > ?)", []any{at(now), at(now.Add(max(mostLease, mostLeases*d)))}
}

// Lease takes up to r.Scopes scopes that have windows to process, those that had their turn longest ago first, and
// returns a lease for a run of the oldest windows of each. All leases of one call share a token. Without work it returns
// none.
func (s *Store) Lease(ctx context.Context, r metering.LeaseRequest) (leases []metering.Lease, err error) {
	now := time.Now()
	rough := r
	rough.Until = time.Time{} // a rough question is enough, and quicker: what is planned is due
	if idle, err := s.idle(ctx, &rough, now); err != nil || idle {
		return nil, err
	}
	settings, err := s.currentSettings(ctx)
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, func(t *tx) error {
		leases = nil
		if err := t.checkZone(ctx, settings.Zone); err != nil {
			return err
		}
		running, err := t.running(ctx, &r)
		if err != nil {
			return err
		}
		open, openArgs := t.d.eligible(&r, running, now)
		where, args := free(r.For, now)
		if !r.Again { // windows of other scopes are done again, too
			where = "s.active AND " + where
		}
		if len(r.Only) > 0 {
			where, args = where+" AND s.scope IN (?)", append(args, r.Only)
		}
		args = append(append(args, openArgs...), r.Scopes)
		query, args := in("SELECT s.id FROM scopes s WHERE "+where+" AND EXISTS (SELECT 1 FROM windows w WHERE w.scope = s.id AND "+open+`)
			ORDER BY s.leased_at, s.id LIMIT ? `+t.d.skipLocked, args...)
		var ids []int64
		if err := t.list(ctx, &ids, query, args...); err != nil || len(ids) == 0 {
			return err
		}
		token, err := t.token(ctx)
		if err != nil {
			return err
		}
		query, args = in("UPDATE scopes SET lease_token = ?, lease_holder = ?, lease_until = ?, leased_at = ? WHERE id IN (?)",
			token, r.Holder, at(now.Add(r.For)), at(now), ids)
		if _, err := t.exec(ctx, query, args...); err != nil {
			return err
		}
		leases, err = t.runs(ctx, token, ids, r.Again, open, openArgs)
		return err
	})
	return leases, err
}

// SQL for one of many windows w. An order that an index has keeps PostgreSQL from reading the whole ledger.
const (
	byTurn = " ORDER BY w.next_attempt LIMIT 1"
	byKey  = " ORDER BY w.scope, w.begins_at LIMIT 1"
)

// idle is a quick look whether a request has no window at all.
func (s *Store) idle(ctx context.Context, r *metering.LeaseRequest, now time.Time) (idle bool, err error) {
	order := byTurn
	if r.TriedBefore != 0 {
		order = byKey
	}
	err = s.view(ctx, func(t *tx) error {
		idle = true
		tasks := [][]int64{nil}
		if r.Again {
			running, err := t.running(ctx, r)
			if err != nil {
				return err
			}
			tasks = slices.Collect(slices.Chunk(running, 1)) // each has its place in the index
		}
		for _, task := range tasks {
			open, args := s.d.eligible(r, task, now)
			if r.Again {
				open, args = "w.task = ? AND "+open, append([]any{task[0]}, args...)
			}
			var one int
			found, err := t.get(ctx, &one, "SELECT 1 FROM windows w WHERE "+open+order, args...)
			if err != nil || found {
				idle = !found
				return err
			}
		}
		return nil
	})
	return idle, err
}

// openWindow is a window that may be leased.
type openWindow struct {
	Scope    int64
	BeginsAt timestamp `db:"begins_at"`
	Period   int64     // seconds
	Attempts int
	Failing  bool // whether the attempts were failures
	Task     int64
	Config   int64
	Rules    int64
	Accepted bool
	Before   int // points of the window before the run
}

// runs returns the first run of open windows of each scope.
func (t *tx) runs(ctx context.Context, token int64, ids []int64, again bool, open string, openArgs []any) ([]metering.Lease, error) {
	var scopes []scopeRow
	query, args := in("SELECT "+scopeColumns+" WHERE s.id IN (?)", ids)
	if err := t.list(ctx, &scopes, query, args...); err != nil {
		return nil, err
	}
	byRef := map[int64]*metering.Lease{}
	for i := range scopes {
		byRef[scopes[i].ID] = &metering.Lease{Token: token, Scope: scopes[i].scope()}
	}
	most := metering.MaxLeaseWindows
	if again {
		most = max(most, metering.MaxRerateWindows/len(ids))
	}
	args = slices.Concat(openArgs, openArgs, []any{ids}, []any{most}, openArgs)
	first := "FROM windows w WHERE w.scope = s.id AND " + open + " ORDER BY w.begins_at LIMIT 1"
	query, args = in(`WITH f AS MATERIALIZED (
			SELECT s.id AS scope, (SELECT w.begins_at `+first+`) AS first, (SELECT w.period `+first+`) AS length FROM scopes s WHERE s.id IN (?)
		)
		SELECT w.scope, w.begins_at, w.period, w.attempts, w.error IS NOT NULL AS failing, COALESCE(w.task, 0) AS task,
			COALESCE(w.config_version, 0) AS config, COALESCE(w.rules_version, 0) AS rules, w.absence_accepted AS accepted,
			COALESCE((SELECT p.points FROM windows p WHERE p.scope = f.scope AND p.begins_at < f.first ORDER BY p.begins_at DESC LIMIT 1), 0) AS before
		FROM f JOIN windows w ON w.scope = f.scope AND w.begins_at >= f.first AND w.begins_at < `+t.d.laterBy("f.first", "? * f.length")+`
		WHERE `+open+` ORDER BY w.scope, w.begins_at`, args...)
	tasks := map[int64]*metering.Task{}
	err := t.each(ctx, func(rows *sqlx.Rows) error {
		var w openWindow
		if err := rows.StructScan(&w); err != nil {
			return err
		}
		l := byRef[w.Scope]
		length := time.Duration(w.Period) * time.Second
		if l.Run.Count == 0 {
			l.Run = period.Run{Begin: w.BeginsAt.Time, Length: length}
			l.Points, l.Accepted = w.Before, w.Accepted
			if w.Failing {
				l.Attempts = w.Attempts
			}
			if again {
				if tasks[w.Task] == nil {
					tasks[w.Task] = &metering.Task{ID: w.Task, Kind: metering.Recheck}
				}
				l.Task, l.Config, l.Rules = tasks[w.Task], w.Config, w.Rules
			}
		}
		if l.Run.Count < most && l.Run.Length == length && l.Run.Range().End.Equal(w.BeginsAt.Time) && l.Accepted == w.Accepted &&
			(!again || l.Task.ID == w.Task && l.Config == w.Config && l.Rules == w.Rules) {
			l.Run.Count++
		}
		return nil
	}, query, args...)
	if err == nil {
		err = t.describe(ctx, tasks)
	}
	if err != nil {
		return nil, err
	}
	leases := make([]metering.Lease, 0, len(ids))
	for _, id := range ids {
		if l := byRef[id]; l.Run.Count > 0 {
			if l.Task == nil || l.Task.Kind != metering.Rerate {
				l.Run.Count = min(l.Run.Count, metering.MaxLeaseWindows)
			}
			leases = append(leases, *l)
			continue
		}
		// another worker did its windows just before we took the scope
		if err := t.release(ctx, token, []int64{id}); err != nil {
			return nil, err
		}
	}
	return leases, nil
}

// describe reads what workers need to know of tasks.
func (t *tx) describe(ctx context.Context, tasks map[int64]*metering.Task) error {
	if len(tasks) == 0 {
		return nil
	}
	query, args := in("SELECT id, kind, as_it_was, author, reason FROM tasks WHERE id IN (?)", keys(tasks))
	return t.each(ctx, func(rows *sqlx.Rows) error {
		var d metering.Task
		if err := rows.Scan(&d.ID, &d.Kind, &d.AsItWas, &d.Author, &d.Reason); err != nil {
			return fmt.Errorf("store: tasks: %w", err)
		}
		*tasks[d.ID] = d
		return nil
	}, query, args...)
}

// Renew prolongs the leases of a token on some scopes and reports whether the worker still has all of them.
func (s *Store) Renew(ctx context.Context, token int64, scopes []*metering.Scope, d time.Duration) (held bool, err error) {
	if len(scopes) == 0 {
		return true, nil
	}
	query, args := in("UPDATE scopes SET lease_until = ? WHERE lease_token = ? AND id IN (?)", at(time.Now().Add(d)), token, refs(scopes))
	err = s.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, query, args...)
		held = n == int64(len(scopes))
		return err
	})
	return held, err
}

// Release gives back the leases of a token on some scopes; those that were lost stay with whoever has them.
func (s *Store) Release(ctx context.Context, token int64, scopes []*metering.Scope) error {
	if len(scopes) == 0 {
		return nil
	}
	return s.update(ctx, func(t *tx) error { return t.release(ctx, token, refs(scopes)) })
}

func (t *tx) release(ctx context.Context, token int64, ids []int64) error {
	query, args := in("UPDATE scopes SET lease_token = NULL, lease_holder = NULL, lease_until = NULL WHERE lease_token = ? AND id IN (?)", token, ids)
	_, err := t.exec(ctx, query, args...)
	return err
}

// ReleaseAll gives back every lease. Only a process that knows that no other one works may do that.
func (s *Store) ReleaseAll(ctx context.Context) error {
	return s.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, "UPDATE scopes SET lease_token = NULL, lease_holder = NULL, lease_until = NULL WHERE lease_token IS NOT NULL")
		return err
	})
}

func refs(scopes []*metering.Scope) []int64 {
	ids := make([]int64, len(scopes))
	for i, s := range scopes {
		ids[i] = s.Ref
	}
	return ids
}

// Pending reports whether windows of the request are still to be tried, by whoever has them now: by workers with a lease,
// or with none that ended in time to be taken over; or, of running tasks, by AdvanceTasks, which has to mark them first.
func (s *Store) Pending(ctx context.Context, r metering.LeaseRequest) (pending bool, err error) {
	err = s.view(ctx, func(t *tx) error {
		running, err := t.running(ctx, &r)
		if err != nil {
			return err
		}
		open, args := t.d.eligible(&r, running, time.Now())
		order := byTurn
		if r.Again || r.TriedBefore != 0 {
			order = byKey
		}
		if !r.Again {
			open = "s.active AND " + open
		}
		n, err := t.countWindows(ctx, r.Only, "SELECT 1", open+order, args)
		if pending = n > 0; err == nil && r.Again && !pending {
			pending, err = t.unmarked(ctx, &r)
		}
		return err
	})
	return pending, err
}

// unmarked reports whether running tasks may have windows of a request that AdvanceTasks has not marked yet.
func (t *tx) unmarked(ctx context.Context, r *metering.LeaseRequest) (bool, error) {
	where, args := "t."+unfinished+" AND t.state = 'running' AND ts.marked_to < t.ends_at", []any(nil)
	if !r.Until.IsZero() {
		where, args = where+" AND ts.marked_to < ?", append(args, at(r.Until))
	}
	if len(r.Only) > 0 {
		where, args = where+" AND s.scope IN (?)", append(args, r.Only)
	}
	var one int
	query, args := in("SELECT 1 FROM tasks t JOIN task_scopes ts ON ts.task = t.id JOIN scopes s ON s.id = ts.scope WHERE "+where+" LIMIT 1", args...)
	return t.get(ctx, &one, query, args...)
}

// CountFailed returns how many windows of the request's scopes and range have failed and wait for another attempt.
func (s *Store) CountFailed(ctx context.Context, r metering.LeaseRequest) (n int, err error) {
	failed, args := "w.state = ?", []any{metering.Failed}
	if !r.Until.IsZero() {
		failed, args = failed+" AND w.begins_at < ?", append(args, at(r.Until))
	}
	err = s.view(ctx, func(t *tx) (err error) {
		n, err = t.countWindows(ctx, r.Only, "SELECT COUNT(*)", "s.active AND w.state IN (0, 3) AND "+failed, args)
		return err
	})
	return n, err
}

// countWindows asks for a number about windows w of scopes s, of all or only of some.
func (t *tx) countWindows(ctx context.Context, only []string, what, where string, args []any) (n int, err error) {
	if len(only) > 0 {
		where, args = "s.scope IN (?) AND "+where, append([]any{only}, args...)
	}
	query, args := in(what+" FROM windows w JOIN scopes s ON s.id = w.scope WHERE "+where, args...)
	_, err = t.get(ctx, &n, query, args...)
	return n, err
}

// windowRow reads rows of the ledger.
type windowRow struct {
	BeginsAt      timestamp `db:"begins_at"`
	Period        int64     // seconds
	State         metering.State
	Attempts      int
	NextAttempt   timestamp `db:"next_attempt"`
	Points        int
	Unpriced      int
	Amount        money.Decimal
	ConfigVersion int64     `db:"config_version"`
	RulesVersion  int64     `db:"rules_version"`
	Took          int64     // milliseconds
	FinishedAt    timestamp `db:"finished_at"`
	Error         string
	Task          *int64
	RedoneBy      int64  `db:"redone_by"`
	Accepted      bool   `db:"absence_accepted"`
	WaivedBy      string `db:"waived_by"`
	WaivedFor     string `db:"waived_for"`
}

const windowColumns = `w.begins_at, w.period, w.state, w.attempts, w.next_attempt, w.points, w.unpriced, w.amount,
	COALESCE(w.config_version, 0) AS config_version, COALESCE(w.rules_version, 0) AS rules_version, COALESCE(w.took_ms, 0) AS took,
	w.finished_at, COALESCE(w.error, '') AS error, w.task, COALESCE(w.redone_by, 0) AS redone_by, w.absence_accepted,
	COALESCE(w.waived_by, '') AS waived_by, COALESCE(w.waived_for, '') AS waived_for`

func (r *windowRow) window(scope int64) metering.Window {
	return metering.Window{
		Scope: scope, Begin: r.BeginsAt.Time, End: r.BeginsAt.Add(time.Duration(r.Period) * time.Second),
		State: r.State, Attempts: r.Attempts, NextAttempt: r.NextAttempt.Time, Points: r.Points, Unpriced: r.Unpriced, Amount: r.Amount,
		Config: r.ConfigVersion, Rules: r.RulesVersion, Took: time.Duration(r.Took) * time.Millisecond, Finished: r.FinishedAt.Time, Error: r.Error,
		Task: r.Task, RedoneBy: r.RedoneBy, Accepted: r.Accepted, WaivedBy: r.WaivedBy, WaivedFor: r.WaivedFor,
	}
}

// Windows lists the windows of a scope that begin in a range, the newest last.
func (s *Store) Windows(ctx context.Context, scope int64, r period.Range) (windows []metering.Window, err error) {
	var rows []windowRow
	err = s.view(ctx, func(t *tx) error {
		return t.list(ctx, &rows, "SELECT "+windowColumns+" FROM windows w WHERE w.scope = ? AND w.begins_at >= ? AND w.begins_at < ? ORDER BY w.begins_at",
			scope, at(r.Begin), at(r.End))
	})
	for i := range rows {
		windows = append(windows, rows[i].window(scope))
	}
	return windows, err
}

// ScopeStates says how far every scope's usage is charged, by scope id. It reads the windows that are open, not the ledger.
func (s *Store) ScopeStates(ctx context.Context) (states []metering.ScopeState, err error) {
	var rows []struct {
		scopeRow
		PlannedTo   timestamp `db:"planned_to"`
		First       timestamp // open window; none if zero
		Due, Failed int
		Error       string
		NextAttempt timestamp `db:"next_attempt"`
		Fetcher     string
		Toggled     timestamp
		ResetTo     timestamp `db:"reset_to"`
		Resetting   bool
	}
	err = s.view(ctx, func(t *tx) error {
		return t.list(ctx, &rows, `SELECT w.first, COALESCE(w.due, 0) AS due, COALESCE(w.failed, 0) AS failed, COALESCE(f.error, '') AS error, f.next_attempt,
				s.planned_to, s.fetcher, COALESCE(s.toggled_at, s.found_at) AS toggled, s.reset_to, s.reset_to IS NOT NULL AND EXISTS (
					SELECT 1 FROM task_scopes ts JOIN tasks t ON t.id = ts.task
					WHERE ts.scope = s.id AND t.`+unfinished+` AND t.kind = 'reset') AS resetting, `+scopeColumns+`
			LEFT JOIN (
				SELECT scope, MIN(begins_at) AS first, SUM(CASE state WHEN 0 THEN 1 ELSE 0 END) AS due, SUM(CASE state WHEN 3 THEN 1 ELSE 0 END) AS failed,
					MIN(CASE state WHEN 3 THEN begins_at END) AS first_failed
				FROM windows WHERE state IN (0, 3) GROUP BY scope
			) w ON w.scope = s.id
			LEFT JOIN windows f ON f.scope = s.id AND f.begins_at = w.first_failed AND f.state IN (0, 3)
			ORDER BY s.id`)
	})
	for i := range rows {
		r := &rows[i]
		state := metering.ScopeState{
			Scope: r.scope(), ProcessedTo: r.First.Time, PlannedTo: r.PlannedTo.Time, Due: r.Due, Failed: r.Failed,
			Error: r.Error, NextAttempt: r.NextAttempt.Time,
			Fetcher: r.Fetcher, Toggled: r.Toggled.Time, ResetTo: r.ResetTo.Time, Resetting: r.Resetting,
		}
		if r.First.IsZero() {
			state.ProcessedTo = state.PlannedTo
		}
		states = append(states, state)
	}
	slices.SortStableFunc(states, func(a, b metering.ScopeState) int { return strings.Compare(a.Scope.ID, b.Scope.ID) })
	return states, err
}
