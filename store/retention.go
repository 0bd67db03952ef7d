package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"ratebook/metering"
	"ratebook/period"
	"ratebook/rollup"
)

// What is older than the settings keep_charges and keep_rollups say is dropped by billing months. The marks charges_from and
// rollups_from say since when there is something. They are stored before anything is deleted, so that from then on no
// report reads what is going; all that lies before them is deleted afterwards, windows first: a window that is in the
// ledger has its charges. Whatever interrupts that, the next run goes on.

// Retention returns for how long charges and roll-ups are kept, and since when there are any.
func (s *Store) Retention(ctx context.Context) (r metering.Retention, err error) {
	err = s.view(ctx, func(t *tx) (err error) {
		r, err = t.retention(ctx)
		return err
	})
	return r, err
}

// retention reads them as of this transaction.
func (t *tx) retention(ctx context.Context) (metering.Retention, error) {
	stored := map[string]string{}
	err := t.each(ctx, func(rows *sqlx.Rows) error {
		var name, value string
		err := rows.Scan(&name, &value)
		stored[name] = value
		return err
	}, "SELECT name, value FROM settings WHERE name IN (?, ?, ?, ?)", settingKeepCharges, settingKeepRollups, settingChargesFrom, settingRollupsFrom)
	if err != nil {
		return metering.Retention{}, err
	}
	return parseRetention(stored)
}

// Retain drops what is older than the settings say at a time. A month stays, and all later ones, as long as a window of it
// is to be processed or waits for a task. It may run anywhere, beside workers and reports, any number of times at once;
// what it could not drop because others used it is dropped the next time. If it is interrupted, the next run goes on.
func (s *Store) Retain(ctx context.Context, now time.Time) (done metering.Retained, err error) {
	settings, complete, err := s.readSettings(ctx, Wanted{})
	if err != nil || !complete {
		return done, err
	}
	kept := &settings.Retention
	if kept.Charges == metering.Forever && kept.ChargesFrom.IsZero() {
		return done, nil
	}
	if err := s.moveMarks(ctx, now, settings.Zone, &done); err != nil {
		return done, err
	}
	if err := s.dropCharges(ctx, done.ChargesFrom, settings.Zone, &done); err != nil {
		return done, err
	}
	if err := s.dropRollups(ctx, done.RollupsFrom, settings.Zone, &done); err != nil {
		return done, err
	}
	return done, s.dropSeries(ctx, &done)
}

// moveMarks moves the marks as far as the settings say and the ledger allows, and notes them.
func (s *Store) moveMarks(ctx context.Context, now time.Time, zone *time.Location, done *metering.Retained) error {
	return s.update(ctx, func(t *tx) error {
		*done = metering.Retained{}
		if err := t.lockZone(ctx); err != nil {
			return err
		}
		if err := t.checkZone(ctx, zone); err != nil {
			return err
		}
		kept, err := t.retention(ctx)
		if err != nil {
			return err
		}
		done.ChargesFrom, done.RollupsFrom = kept.ChargesFrom, kept.RollupsFrom
		if now, err = t.noLaterThanWork(ctx, now); err != nil {
			return err
		}
		charges, rollups := kept.Charges.Cut(now, zone), kept.Rollups.Cut(now, zone)
		if charges.After(kept.ChargesFrom) {
			if err := t.holder(ctx, charges, done); err != nil {
				return err
			}
			if !done.HeldAt.IsZero() {
				charges = period.Month.Start(done.HeldAt, zone)
			}
			old, err := t.anyWindow(ctx, time.Time{}, charges)
			if err != nil {
				return err
			}
			if !old {
				if old, err = t.anyPushed(ctx, charges); err != nil {
					return err
				}
			}
			if old && charges.After(kept.ChargesFrom) {
				done.ChargesFrom = charges
			}
		}
		if rollups.After(charges) { // charges that are held
			rollups = charges
		}
		if rollups.After(kept.RollupsFrom) {
			var one int
			old, err := t.get(ctx, &one, "SELECT 1 FROM scope_metric_days WHERE day < ? LIMIT 1", civilDay(rollups, zone).String())
			if err != nil {
				return err
			}
			if old {
				done.RollupsFrom = rollups
				if done.ChargesFrom.Before(rollups) {
					done.ChargesFrom = rollups
				}
			}
		}
		for _, mark := range []struct {
			name       string
			before, to time.Time
		}{{settingChargesFrom, kept.ChargesFrom, done.ChargesFrom}, {settingRollupsFrom, kept.RollupsFrom, done.RollupsFrom}} {
			if mark.to.Equal(mark.before) {
				continue
			}
			if err := t.set(ctx, mark.name, mark.to.UTC().Format(time.RFC3339)); err != nil {
				return err
			}
		}
		return nil
	})
}

// aheadOfWork is how far the clock may be ahead of the last window that was processed, for retention to believe it.
const aheadOfWork = 45 * 24 * time.Hour

// noLaterThanWork returns the time that retention goes by. A clock that is years ahead, if only for a moment, must not make it drop
// what nobody can bring back; so it is bounded by what has been processed, which needs samples of that time, and by points of
// that time that were pushed.
func (t *tx) noLaterThanWork(ctx context.Context, now time.Time) (time.Time, error) {
	var last timestamp
	_, err := t.get(ctx, &last, `SELECT MAX(w.last) FROM (SELECT (SELECT begins_at FROM windows WHERE scope = s.id AND state IN (2, 5)
		ORDER BY begins_at DESC LIMIT 1) AS last FROM scopes s) w`)
	if err != nil {
		return now, err
	}
	var pushed timestamp
	_, err = t.get(ctx, &pushed, "SELECT MAX(CASE WHEN last_at < at THEN last_at ELSE at END) FROM pushes")
	if pushed.After(last.Time) {
		last = pushed
	}
	if bound := last.Add(aheadOfWork); err == nil && bound.Before(now) {
		return bound, nil
	}
	return now, err
}

// lockZone keeps the marks and the billing zone from being changed both at once.
func (t *tx) lockZone(ctx context.Context) error {
	var zone string
	_, err := t.get(ctx, &zone, "SELECT value FROM settings WHERE name = ? "+t.d.forUpdate, settingTimezone)
	return err
}

// holder notes the oldest of what must not be dropped yet, if it begins before a time.
func (t *tx) holder(ctx context.Context, before time.Time, done *metering.Retained) error {
	const window = "SELECT s.scope AS what, w.begins_at AS at FROM windows w JOIN scopes s ON s.id = w.scope WHERE w.begins_at < ? AND "
	for _, h := range []struct{ query, reason string }{
		{window + "w.state IN (0, 3) ORDER BY w.begins_at, w.scope LIMIT 1", "a window of scope %s has not been processed yet: process it, or waive it"},
		{window + "w.task IS NOT NULL ORDER BY w.begins_at, w.scope LIMIT 1", "a window of scope %s waits to be done again by a task or a late re-check"},
		{"SELECT scope AS what, planned_to AS at FROM scopes WHERE planned_to < ? AND active ORDER BY planned_to, id LIMIT 1", "the windows of scope %s are not planned yet"},
		{"SELECT CAST(id AS text) AS what, begins_at AS at FROM tasks WHERE begins_at < ? AND state IN ('previewing', 'running') ORDER BY begins_at, id LIMIT 1", "task %s is not finished: wait for it, or cancel it"},
	} {
		var row struct {
			What string
			At   timestamp
		}
		found, err := t.get(ctx, &row, h.query, at(before))
		if err != nil {
			return err
		}
		if found && (done.HeldAt.IsZero() || row.At.Before(done.HeldAt)) {
			done.HeldAt, done.HeldBy = row.At.Time, fmt.Sprintf(h.reason, row.What)
		}
	}
	return nil
}

// anyWindow reports whether any window begins in a range; it asks the ledger's index scope by scope.
func (t *tx) anyWindow(ctx context.Context, begin, end time.Time) (bool, error) {
	if begin.IsZero() {
		begin = time.Unix(0, 0)
	}
	var one int
	return t.get(ctx, &one, "SELECT 1 FROM scopes s WHERE (SELECT MIN(w.begins_at) FROM windows w WHERE w.scope = s.id AND w.begins_at >= ?) < ? LIMIT 1", at(begin), at(end))
}

// anyPushed reports whether any pushed point begins before a time.
func (t *tx) anyPushed(ctx context.Context, before time.Time) (bool, error) {
	var one int
	return t.get(ctx, &one, "SELECT 1 FROM scopes s WHERE (SELECT MIN(f.begins_at) FROM pushed_frames f WHERE f.scope = s.id) < ? LIMIT 1", at(before))
}

// How much is deleted at a time. Others wait meanwhile: for the scopes whose rows are deleted, and on SQLite all that write.
const (
	dropTurn = 50 * time.Millisecond // from when on a transaction ends
	dropRows = 1_000                 // that one statement deletes, about
	dropSums = 200                   // the same of roll-ups, whose packs are large
	dropSets = 50                    // the same of superseded charges, of which a row has a window's
)

// dropAll calls drop for each item in transactions of a short time each, again while it says that there is more of the item,
// and returns how many rows it deleted.
func (s *Store) dropAll(ctx context.Context, items []int64, drop func(t *tx, item int64) (n int64, more bool, err error)) (dropped int64, err error) {
	for len(items) > 0 {
		var (
			rest []int64
			rows int64
		)
		err := s.update(ctx, func(t *tx) error {
			rest, rows = items, 0
			for began := time.Now(); len(rest) > 0 && time.Since(began) < dropTurn; {
				n, more, err := drop(t, rest[0])
				if err != nil {
					return err
				}
				if rows += n; !more {
					rest = rest[1:]
				}
			}
			return nil
		})
		if err != nil {
			return dropped, err
		}
		items, dropped = rest, dropped+rows
	}
	return dropped, nil
}

// dropCharges deletes charges, what belongs to their windows, and tasks, all from before a time.
func (s *Store) dropCharges(ctx context.Context, before time.Time, zone *time.Location, done *metering.Retained) (err error) {
	if before.IsZero() {
		return nil
	}
	if done.Windows, err = s.dropOld(ctx, "windows", before); err != nil {
		return err
	}
	if _, err = s.dropOld(ctx, "pushed_frames", before); err != nil {
		return err
	}
	if done.Superseded, err = s.dropOld(ctx, "superseded", before); err != nil {
		return err
	}
	if err := s.dropWindowPacks(ctx, before, zone); err != nil {
		return err
	}
	if err := s.dropOldCharges(ctx, before, done); err != nil {
		return err
	}
	if err := s.dropPushes(ctx, before); err != nil {
		return err
	}
	// by whole days of UTC, as they are summed
	day := period.Floor(before, findingDay)
	if done.Findings, err = s.dropOld(ctx, "findings", day); err != nil {
		return err
	}
	for _, table := range []string{"finding_days", "new_series_days"} {
		if _, err := s.dropDays(ctx, table, "day", "scope", at(day)); err != nil {
			return err
		}
	}
	if _, err := s.dropDays(ctx, "finding_sums", "day", "kind, metric", at(day)); err != nil {
		return err
	}
	done.Tasks, err = s.dropTasks(ctx, before)
	return err
}

// dropOld deletes rows of all scopes that begin before a time, and counts them, or the superseded charges in them. Windows that
// came to be due, or to wait for a task, meanwhile stay, and so does what belongs to them and to later ones.
func (s *Store) dropOld(ctx context.Context, table string, before time.Time) (dropped int64, err error) {
	var scopes []int64
	err = s.view(ctx, func(t *tx) error {
		return t.list(ctx, &scopes, "SELECT s.id FROM scopes s WHERE (SELECT MIN(o.begins_at) FROM "+table+" o WHERE o.scope = s.id) < ? ORDER BY s.id", at(before))
	})
	if err != nil {
		return 0, err
	}
	return s.dropAll(ctx, scopes, func(t *tx, scope int64) (n int64, more bool, err error) {
		var id int64 // commits of the scope wait
		if _, err := t.get(ctx, &id, "SELECT id FROM scopes WHERE id = ? "+t.d.forUpdate, scope); err != nil {
			return 0, false, err
		}
		until, where := before, ""
		if table == "windows" {
			where = " AND state IN (2, 4, 5) AND task IS NULL"
		} else {
			var left timestamp
			if _, err := t.get(ctx, &left, "SELECT MIN(begins_at) FROM windows WHERE scope = ? AND begins_at < ?", scope, at(before)); err != nil {
				return 0, false, err
			}
			if !left.IsZero() {
				until = left.Time
			}
		}
		var last timestamp
		rows := dropRows
		if table == "superseded" {
			rows = dropSets
		}
		more, err = t.get(ctx, &last, "SELECT begins_at FROM "+table+" WHERE scope = ? AND begins_at < ? ORDER BY begins_at LIMIT 1 OFFSET ?", scope, at(until), rows)
		if err != nil {
			return 0, false, err
		}
		if more {
			until = last.Add(time.Second) // with all rows of this window
		}
		deleteOld := "DELETE FROM " + table + " WHERE scope = ? AND begins_at < ?" + where
		if table == "superseded" {
			var points []int64
			err = t.list(ctx, &points, deleteOld+" RETURNING points", scope, at(until))
			for _, p := range points {
				n += p
			}
			return n, more && n > 0, err
		}
		n, err = t.exec(ctx, deleteOld, scope, at(until))
		return n, more && n > 0, err
	})
}

// dropPushes forgets requests all of whose points begin before a time.
func (s *Store) dropPushes(ctx context.Context, before time.Time) error {
	_, err := s.dropAll(ctx, []int64{0}, func(t *tx, _ int64) (n int64, more bool, err error) {
		n, err = t.exec(ctx, "DELETE FROM pushes WHERE id IN (SELECT id FROM pushes WHERE COALESCE(last_at, at) < ? ORDER BY id LIMIT ?)", at(before), dropRows)
		return n, n > 0, err
	})
	return err
}

// dropOldCharges deletes charges from before a time: on PostgreSQL by partitions.
func (s *Store) dropOldCharges(ctx context.Context, before time.Time, done *metering.Retained) (err error) {
	if s.d != &postgresDialect {
		done.Charges, err = s.dropOld(ctx, "charges", before)
		return err
	}
	var tables []string
	err = s.view(ctx, func(t *tx) error {
		return t.list(ctx, &tables, "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = CAST('charges' AS regclass) ORDER BY 1")
	})
	if err != nil {
		return err
	}
	for _, table := range tables {
		month, err := time.Parse("charges_2006_01", table)
		if err != nil { // not ours
			continue
		}
		switch p := partitionOf(month); {
		case !p.begin.Before(before):
		case !p.end.After(before):
			err = s.dropPartition(ctx, &p, done)
		case p.end.Sub(before) <= 24*time.Hour: // the billing month begins before that of UTC
			err = s.cutPartition(ctx, &p, before, done)
		default: // and after it
			var n int64
			n, err = s.dropOld(ctx, p.table, before)
			done.Charges += n
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dropPartition drops a partition whose windows are all gone.
func (s *Store) dropPartition(ctx context.Context, p *partition, done *metering.Retained) error {
	dropped := false
	err := s.alone(ctx, p, p.end, done, func(t *tx) error {
		if _, err := t.exec(ctx, "DROP TABLE "+p.table); err != nil {
			return err
		}
		dropped = true
		return nil
	}, "ONLY charges", p.table)
	if dropped && err == nil {
		done.Partitions++
	}
	return err
}

// cutPartition empties a partition but for its charges from a time in its last hours on.
func (s *Store) cutPartition(ctx context.Context, p *partition, before time.Time, done *metering.Retained) error {
	var old bool
	err := s.view(ctx, func(t *tx) (err error) {
		var one int
		old, err = t.get(ctx, &one, "SELECT 1 FROM scopes s WHERE (SELECT MIN(c.begins_at) FROM "+p.table+" c WHERE c.scope = s.id) < ? LIMIT 1", at(before))
		return err
	})
	if err != nil || !old {
		return err
	}
	cut := false
	err = s.alone(ctx, p, before, done, func(t *tx) error {
		for _, step := range []string{
			"CREATE TEMPORARY TABLE kept_charges (LIKE " + p.table + ") ON COMMIT DROP",
			// by the index, a scope at a time; the rest of the partition is not read
			"INSERT INTO kept_charges SELECT c.* FROM scopes s CROSS JOIN LATERAL (SELECT * FROM " + p.table + " WHERE scope = s.id AND begins_at >= '" + before.UTC().Format(time.RFC3339) + "' OFFSET 0) c",
			"TRUNCATE " + p.table,
			"INSERT INTO " + p.table + " SELECT * FROM kept_charges ORDER BY scope, begins_at, series, seq",
		} {
			if _, err := t.exec(ctx, step); err != nil {
				return err
			}
		}
		cut = true
		return nil
	}, p.table)
	if cut && err == nil {
		done.Partitions++
	}
	return err
}

// How long it is tried to have tables alone. Whoever comes while a try waits must wait, too, so tries are short.
const (
	aloneTries = 10
	aloneWait  = 200 * time.Millisecond
	alonePause = time.Second
)

// alone runs fn in a transaction that has tables to itself, with the partition's windows from before a time gone. If others
// go on using the tables, or such windows have come to be, that is noted instead.
func (s *Store) alone(ctx context.Context, p *partition, before time.Time, done *metering.Retained, fn func(t *tx) error, tables ...string) error {
	for try := 1; ; try++ {
		busy := false
		err := s.update(ctx, func(t *tx) error {
			busy = false
			if _, err := t.exec(ctx, "SET LOCAL lock_timeout = "+strconv.FormatInt(aloneWait.Milliseconds(), 10)); err != nil {
				return err
			}
			if exists, err := t.partitionExists(ctx, p); err != nil || !exists { // another process was quicker
				return err
			}
			for _, table := range tables {
				if _, err := t.exec(ctx, "LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE"); err != nil {
					return err
				}
			}
			left, err := t.anyWindow(ctx, p.begin, before)
			if busy = left; err != nil || left {
				return err
			}
			return fn(t)
		})
		if pq.As(err, pqerror.LockNotAvailable) != nil {
			busy, err = true, nil
			if try < aloneTries {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(alonePause):
					continue
				}
			}
		}
		if busy {
			done.Busy++
		}
		return err
	}
}

// viewCharges is view for what reads charges. On PostgreSQL what is dropped is gone for earlier states of the database, too,
// so dropping waits for those who began here.
func (s *Store) viewCharges(ctx context.Context, fn func(t *tx) error) error {
	return s.view(ctx, func(t *tx) error {
		if t.d == &postgresDialect {
			if _, err := t.exec(ctx, "LOCK TABLE charges IN ACCESS SHARE MODE"); err != nil { // sees no state yet: the next query does
				return err
			}
		}
		return fn(t)
	})
}

// dropDays deletes rows of a table whose key begins with a day or month, and then other columns, from before one.
func (s *Store) dropDays(ctx context.Context, table, column, others string, before any) (int64, error) {
	return s.dropAll(ctx, []int64{0}, func(t *tx, _ int64) (n int64, more bool, err error) {
		key := column + ", " + others
		n, err = t.exec(ctx, "DELETE FROM "+table+" WHERE ("+key+") <= (SELECT "+key+" FROM "+table+" WHERE "+column+" < ? ORDER BY "+key+" LIMIT 1 OFFSET ?)",
			before, dropSums)
		if err != nil || n > 0 {
			return n, true, err
		}
		n, err = t.exec(ctx, "DELETE FROM "+table+" WHERE "+column+" < ?", before) // the last few
		return n, false, err
	})
}

// dropTasks deletes tasks that ended and whose range is before a time.
func (s *Store) dropTasks(ctx context.Context, before time.Time) (tasks int64, err error) {
	var ids []int64
	err = s.view(ctx, func(t *tx) error {
		return t.list(ctx, &ids, "SELECT id FROM tasks WHERE state IN (?, ?) AND ends_at <= ? ORDER BY id", metering.Finished, metering.Cancelled, at(before))
	})
	if err != nil {
		return 0, err
	}
	return s.dropAll(ctx, ids, func(t *tx, id int64) (n int64, more bool, err error) {
		for _, table := range []string{"task_losses", "task_differences", "task_scopes"} {
			const scopes = 200
			n, err := t.exec(ctx, "DELETE FROM "+table+" WHERE task = ? AND scope IN (SELECT scope FROM "+table+" WHERE task = ? LIMIT ?)", id, id, scopes)
			if err != nil || n > 0 {
				return 0, true, err
			}
		}
		n, err = t.exec(ctx, "DELETE FROM tasks WHERE id = ?", id)
		return n, false, err
	})
}

// dropRollups deletes roll-ups from before a time.
func (s *Store) dropRollups(ctx context.Context, before time.Time, zone *time.Location, done *metering.Retained) error {
	if before.IsZero() {
		return nil
	}
	d := newDeltas()
	for _, l := range []*level{&d.days, &d.months} { // windows go with their charges
		for _, table := range l.tables() {
			n, err := s.dropDays(ctx, table, l.column, "scope", civilDay(before, zone).String())
			if err != nil {
				return err
			}
			done.Rollups += n
		}
	}
	return nil
}

// dropSeries deletes series that nothing refers to any more, once after the marks have moved.
func (s *Store) dropSeries(ctx context.Context, done *metering.Retained) error {
	if done.ChargesFrom.IsZero() || done.Busy > 0 { // charges that could not be dropped refer to series
		return nil
	}
	stored, err := s.rawSettings(ctx)
	if err != nil {
		return err
	}
	marks := stored[settingChargesFrom] + " " + stored[settingRollupsFrom]
	if stored[settingSeriesOf] == marks {
		return nil
	}
	scopes, err := s.Scopes(ctx)
	if err != nil {
		return err
	}
	for _, scope := range scopes {
		if err := s.dropSeriesOf(ctx, scope, done); err != nil {
			return err
		}
	}
	if done.Busy > 0 {
		return nil
	}
	return s.update(ctx, func(t *tx) error { return t.set(ctx, settingSeriesOf, marks) })
}

// dropSeriesOf deletes series of one scope. It leases the scope, so that no commit begins to use one of them meanwhile, but
// not one from a worker that may still be alive.
func (s *Store) dropSeriesOf(ctx context.Context, scope *metering.Scope, done *metering.Retained) (err error) {
	dead, err := s.unusedSeries(ctx, scope.Ref)
	if err != nil || len(dead) == 0 {
		return err
	}
	token, err := s.LeaseToken(ctx)
	if err != nil {
		return err
	}
	taken := false
	now := time.Now()
	err = s.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, "UPDATE scopes SET lease_token = ?, lease_holder = ?, lease_until = ? WHERE id = ? AND (lease_token IS NULL OR lease_until < ?)",
			token, "dropping series", at(now.Add(rebuildLease)), scope.Ref, at(now.Add(-time.Hour)))
		taken = n > 0
		return err
	})
	if err != nil {
		return err
	}
	if !taken {
		done.Busy++
		return nil
	}
	defer func() {
		if e := s.Release(context.WithoutCancel(ctx), token, []*metering.Scope{scope}); err == nil {
			err = e
		}
	}()
	if dead, err = s.unusedSeries(ctx, scope.Ref); err != nil { // as it is now that nobody changes it
		return err
	}
	for part := range slices.Chunk(dead, dropRows) {
		var n int64
		err := s.update(ctx, func(t *tx) error {
			held, err := t.exec(ctx, "UPDATE scopes SET lease_until = ? WHERE id = ? AND lease_token = ?", at(time.Now().Add(rebuildLease)), scope.Ref, token)
			if err != nil {
				return err
			}
			if held == 0 {
				return errLeaseLost
			}
			query, args := in("DELETE FROM series WHERE id IN (?)", part)
			if n, err = t.exec(ctx, query, args...); err != nil {
				return err
			}
			return t.set(ctx, settingSeriesDeleted, strconv.FormatInt(token, 10)+" "+strconv.FormatInt(part[0], 10))
		})
		if errors.Is(err, errLeaseLost) {
			done.Busy++
			return nil
		}
		if err != nil {
			return err
		}
		done.Series += n
	}
	return nil
}

var errLeaseLost = errors.New("store: the lease was lost")

// unusedSeries returns the series of a scope that no roll-up sums, and so no charge has, and no superseded charge either.
func (s *Store) unusedSeries(ctx context.Context, scope int64) (unused []int64, err error) {
	err = s.view(ctx, func(t *tx) error {
		used := map[int64]bool{}
		var reader rollup.Reader
		err := t.each(ctx, func(rows *sqlx.Rows) error {
			var pack []byte
			if err := rows.Scan(&pack); err != nil {
				return fmt.Errorf("store: packs: %w", err)
			}
			var e rollup.Entry
			for reader.Reset(pack); reader.Next(&e); {
				used[e.Series] = true
			}
			return reader.Err()
		}, "SELECT pack FROM series_month_packs WHERE scope = ?", scope) // a month's packs name all series of its days'
		if err != nil {
			return err
		}
		var ids []int64
		if err := t.list(ctx, &ids, "SELECT DISTINCT series FROM superseded_charges WHERE scope = ?", scope); err != nil {
			return err
		}
		for _, id := range ids {
			used[id] = true
		}
		unused = nil
		return t.each(ctx, func(rows *sqlx.Rows) error {
			var id int64
			err := rows.Scan(&id)
			if err == nil && !used[id] {
				unused = append(unused, id)
			}
			return err
		}, "SELECT id FROM series WHERE scope = ? ORDER BY id", scope)
	})
	return unused, err
}

// forgetDeleted makes this process forget which series are stored if another has deleted some meanwhile. Commits call it
// inside their transaction, before they ask which series are known: it holds the scopes' rows, so nobody deletes series
// of these until it ends.
func (s *Store) forgetDeleted(ctx context.Context, t *tx) error {
	var deleted string
	if _, err := t.get(ctx, &deleted, "SELECT value FROM settings WHERE name = ?", settingSeriesDeleted); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if deleted != s.seriesDeleted {
		s.seriesDeleted = deleted
		clear(s.series)
		s.labels, s.labelled = bySeries[*labels]{}, 0
	}
	return nil
}
