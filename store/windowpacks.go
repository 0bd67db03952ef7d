package store

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/rollup"
)

// windowPacks is the table of packs that sum a scope's charges by window: all that begin together and are as long, whatever
// their metric. An entry's series is their begin in Unix seconds. Quantities of all units are added up, as costs.Row.AllQty is.
const windowPacks = "scope_window_packs"

// addWindow counts charges of a scope that begin together and are length seconds long; day is the billing day, which begins at first.
func (d *deltas) addWindow(scope int64, day civil, first, begin time.Time, length int64, sums *rollup.Sums) {
	key := packKey{day, scope, length, windowChunk(first.Unix(), begin.Unix())}
	d.windows.packs[key] = append(d.windows.packs[key], rollup.Entry{Series: begin.Unix(), Sums: *sums})
}

// chunkSteps are seconds that begins are multiples of.
var chunkSteps = [...]int64{900, 60, 1}

// windowChunk returns in which chunk of a day's packs, of one period, a begin is; both are Unix seconds. Begins at whole quarters of an
// hour share one, as a day has 96 of them; others one for each 128 minutes, or 128 seconds. So a pack can't have more than
// rollup.MaxSeries entries, whatever is pushed.
func windowChunk(day, begin int64) int32 {
	for i, step := range chunkSteps {
		if begin%step == 0 {
			return int32(i)<<16 + int32((begin-day)/(step*rollup.MaxSeries))
		}
	}
	panic("unreachable: the last step divides all")
}

// settingFill is there as long as the packs of windows lack charges from before the migration that made their table: the id of
// the last scope that has them all.
const settingFill = "window_packs_done"

// filling reports whether packs of windows are still to be made from charges.
func (s *Store) filling(ctx context.Context) (yes bool, err error) {
	err = s.view(ctx, func(t *tx) error {
		var done string
		yes, err = t.get(ctx, &done, "SELECT value FROM settings WHERE name = ?", settingFill)
		return err
	})
	return yes, err
}

// fillWindowPacks makes the packs of windows of all charges, scope by scope. If it is interrupted, it goes on with the next one.
// Until it is done, Check lets nothing else use the database.
func (s *Store) fillWindowPacks(ctx context.Context) error {
	if yes, err := s.filling(ctx); err != nil || !yes {
		return err
	}
	s.log.Info("summing charges by window for reports by time, once; this takes a minute for some 30 million charges")
	settings, _, err := s.readSettings(ctx, Wanted{})
	if err != nil {
		return err
	}
	scopes, err := s.Scopes(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(scopes, func(a, b *metering.Scope) int { return cmp.Compare(a.Ref, b.Ref) })
	for _, scope := range scopes {
		if err := s.fillWindowPacksOf(ctx, scope, settings.Zone); err != nil {
			return err
		}
	}
	return s.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, "DELETE FROM settings WHERE name = ?", settingFill)
		return err
	})
}

// fillWindowPacksOf makes those of one scope, unless they are there.
func (s *Store) fillWindowPacksOf(ctx context.Context, scope *metering.Scope, zone *time.Location) error {
	return s.update(ctx, func(t *tx) error {
		var value string
		found, err := t.get(ctx, &value, "SELECT value FROM settings WHERE name = ? "+t.d.forUpdate, settingFill)
		if err != nil || !found { // another process was quicker
			return err
		}
		done, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fault.Wrap(fault.Internal, err, "the setting %s is not the id of a scope", settingFill)
		}
		if scope.Ref <= done {
			return nil
		}
		months, _, err := t.chargedRange(ctx, scope.Ref, zone)
		if err != nil {
			return err
		}
		for m := months.Begin; m.Before(months.End); m = period.Month.Next(m, zone) {
			d := newDeltas()
			if err := t.chargesOf(ctx, scope.Ref, period.Range{Begin: m, End: period.Month.Next(m, zone)}, zone, d); err != nil {
				return err
			}
			if err := d.windows.applyPacks(ctx, t); err != nil {
				return err
			}
		}
		return t.set(ctx, settingFill, strconv.FormatInt(scope.Ref, 10))
	})
}

// dropWindowPacks deletes packs of windows from before a time: what they tell apart, charges do. Those of a scope's windows that
// came to be due, or to wait for a task, meanwhile stay.
func (s *Store) dropWindowPacks(ctx context.Context, before time.Time, zone *time.Location) error {
	var scopes []int64
	err := s.view(ctx, func(t *tx) error {
		return t.list(ctx, &scopes, "SELECT s.id FROM scopes s WHERE (SELECT MIN(p.day) FROM "+windowPacks+" p WHERE p.scope = s.id) < ? ORDER BY s.id",
			civilDay(before, zone).String())
	})
	if err != nil {
		return err
	}
	_, err = s.dropAll(ctx, scopes, func(t *tx, scope int64) (n int64, more bool, err error) {
		var id int64 // commits of the scope wait
		if _, err := t.get(ctx, &id, "SELECT id FROM scopes WHERE id = ? "+t.d.forUpdate, scope); err != nil {
			return 0, false, err
		}
		until := before
		var left timestamp
		if _, err := t.get(ctx, &left, "SELECT MIN(begins_at) FROM windows WHERE scope = ? AND begins_at < ?", scope, at(before)); err != nil {
			return 0, false, err
		}
		if !left.IsZero() {
			until = left.Time
		}
		// a day at a time
		n, err = t.exec(ctx, "DELETE FROM "+windowPacks+" WHERE scope = ? AND day < ? AND day = (SELECT MIN(day) FROM "+windowPacks+" WHERE scope = ?)",
			scope, civilDay(until, zone).String(), scope)
		return n, n > 0, err
	})
	return err
}
