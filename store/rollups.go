package store

import (
	"cmp"
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
	"ratebook/rollup"
)

// civil is a date of the billing zone, in days since 1970-01-01; a month is its first day.
type civil int32

// civilDay returns the billing day that t belongs to, which is not always what its clock shows: see period.Bucket.Start.
func civilDay(t time.Time, zone *time.Location) civil {
	y, m, d := period.Day.Start(t, zone).In(zone).Date()
	return dateOf(y, m, d)
}

func civilMonth(t time.Time, zone *time.Location) civil {
	y, m, _ := period.Day.Start(t, zone).In(zone).Date()
	return dateOf(y, m, 1)
}

func dateOf(y int, m time.Month, d int) civil {
	return civil(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// String returns the date as YYYY-MM-DD, as both databases take it.
func (c civil) String() string { return time.Unix(int64(c)*86400, 0).UTC().Format(time.DateOnly) }

// begin returns the first instant of the date in the zone.
func (c civil) begin(zone *time.Location) time.Time {
	return period.StartOf(time.Unix(int64(c)*86400, 0).UTC(), zone)
}

// Scan reads a date of either database.
func (c *civil) Scan(src any) error {
	switch v := src.(type) {
	case time.Time:
		*c = dateOf(v.Date())
		return nil
	case string:
		t, err := time.Parse(time.DateOnly, v)
		*c = civil(t.Unix() / 86400)
		return err
	case []byte:
		return c.Scan(string(v))
	}
	return fmt.Errorf("store: can't read a date from %T", src)
}

// runDays are the billing days and months of a run's windows, by the begin of each.
type runDays struct{ days, months []civil }

func newRunDays(r period.Run, zone *time.Location) runDays {
	var d runDays
	for i := range r.Count {
		begin := r.Window(i).Begin
		d.days = append(d.days, civilDay(begin, zone))
		d.months = append(d.months, civilMonth(begin, zone))
	}
	return d
}

// owner is what rows of the roll-ups are about.
type owner struct {
	scope, metric int64
	unit          string
}

// sumKey is a row of scope_metric_days or _months.
type sumKey struct {
	at civil
	owner
}

// packKey is a row of series_day_packs, series_month_packs or scope_window_packs.
type packKey struct {
	at        civil
	scope, of int64 // of: a metric, or in scope_window_packs a period in seconds
	chunk     int32
}

// level is the deltas of the roll-up tables of one kind: by day, by month, or by window.
type level struct {
	sumTable, packTable string // the windows have no sumTable
	column, of          string // what the tables are dated by, and what the packs of a date and scope are of
	sums                map[sumKey]*rollup.Sums
	packs               map[packKey][]rollup.Entry
}

// tables lists what the level has.
func (l *level) tables() []string {
	if l.sumTable == "" {
		return []string{l.packTable}
	}
	return []string{l.sumTable, l.packTable}
}

// deltas are what some charges add to the roll-ups, or take away.
type deltas struct {
	days, months, windows level
	taken                 bool // whether something was taken away, so that rows may have become empty
}

func newDeltas() *deltas {
	return &deltas{
		days:    level{"scope_metric_days", "series_day_packs", "day", "metric", map[sumKey]*rollup.Sums{}, map[packKey][]rollup.Entry{}},
		months:  level{"scope_metric_months", "series_month_packs", "month", "metric", map[sumKey]*rollup.Sums{}, map[packKey][]rollup.Entry{}},
		windows: level{"", windowPacks, "day", "period", nil, map[packKey][]rollup.Entry{}},
	}
}

func (d *deltas) levels() []*level { return []*level{&d.days, &d.months, &d.windows} }

// add counts charges of one series on one day.
func (d *deltas) add(o owner, ref seriesRef, day, month civil, sums rollup.Sums) {
	d.taken = d.taken || sums.Points < 0
	d.days.add(o, ref, day, &sums)
	d.months.add(o, ref, month, &sums)
}

func (l *level) add(o owner, ref seriesRef, at civil, sums *rollup.Sums) {
	key := sumKey{at, o}
	have := l.sums[key]
	if have == nil {
		have = &rollup.Sums{}
		l.sums[key] = have
	}
	have.Add(sums)
	pack := packKey{at, o.scope, o.metric, ref.chunk()}
	l.packs[pack] = append(l.packs[pack], rollup.Entry{Series: ref.id, Sums: *sums})
}

// apply writes the deltas into the roll-ups. The transaction must hold the scopes' rows.
func (d *deltas) apply(ctx context.Context, t *tx) error {
	for _, l := range d.levels() {
		if err := l.applySums(ctx, t, d.taken); err != nil {
			return err
		}
		if err := l.applyPacks(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (l *level) sortedSums() []sumKey {
	order := keys(l.sums)
	slices.SortFunc(order, func(a, b sumKey) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.scope, b.scope), cmp.Compare(a.metric, b.metric), strings.Compare(a.unit, b.unit))
	})
	return order
}

func (l *level) applySums(ctx context.Context, t *tx, taken bool) error {
	values := make([]any, 0, 7*len(l.sums))
	for _, k := range l.sortedSums() {
		s := l.sums[k]
		values = append(values, k.at.String(), k.scope, k.metric, k.unit, s.Points, s.Qty.String(), s.Price.String())
	}
	err := t.insertRows(ctx, "INSERT INTO "+l.sumTable+" AS r ("+l.column+", scope, metric, unit, points, qty, price)",
		"ON CONFLICT ("+l.column+", scope, metric, unit) DO UPDATE SET points = r.points + excluded.points, qty = "+
			t.d.add("r.qty", "excluded.qty")+", price = "+t.d.add("r.price", "excluded.price"), 7, values)
	if err != nil || !taken || len(l.sums) == 0 {
		return err
	}
	scopes := map[int64]bool{}
	for k := range l.sums {
		scopes[k.scope] = true
	}
	query, args := in("DELETE FROM "+l.sumTable+" WHERE points = 0 AND scope IN (?)", keys(scopes))
	_, err = t.exec(ctx, query, args...)
	return err
}

func (l *level) sortedPacks() []packKey {
	order := keys(l.packs)
	slices.SortFunc(order, func(a, b packKey) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.scope, b.scope), cmp.Compare(a.of, b.of), cmp.Compare(a.chunk, b.chunk))
	})
	return order
}

func (l *level) applyPacks(ctx context.Context, t *tx) error {
	order := l.sortedPacks()
	stored, err := l.storedPacks(ctx, t, order)
	if err != nil {
		return err
	}
	var (
		updater rollup.Updater
		values  = make([]any, 0, 5*len(order))
		emptied []packKey
	)
	for _, k := range order {
		pack, left, err := updater.Update(nil, stored[k], rollup.Gather(l.packs[k]))
		if err != nil {
			return fault.Wrap(fault.Internal, err, "the roll-up %s of %s, scope %d, %s %d does not fit its charges; run `ratebook rollups verify`", l.packTable, k.at, k.scope, l.of, k.of)
		}
		if left == 0 {
			emptied = append(emptied, k)
			continue
		}
		values = append(values, k.at.String(), k.scope, k.of, k.chunk, pack)
	}
	err = t.insertRows(ctx, "INSERT INTO "+l.packTable+" ("+l.column+", scope, "+l.of+", chunk, pack)",
		"ON CONFLICT ("+l.column+", scope, "+l.of+", chunk) DO UPDATE SET pack = excluded.pack", 5, values)
	if err != nil {
		return err
	}
	for _, k := range emptied {
		_, err := t.exec(ctx, "DELETE FROM "+l.packTable+" WHERE "+l.column+" = ? AND scope = ? AND "+l.of+" = ? AND chunk = ?", k.at.String(), k.scope, k.of, k.chunk)
		if err != nil {
			return err
		}
	}
	return nil
}

// storedPacks reads the packs that are about to change: a query for each day, as batches rarely span more than two.
func (l *level) storedPacks(ctx context.Context, t *tx, order []packKey) (map[packKey][]byte, error) {
	stored := make(map[packKey][]byte, len(order))
	scopes := map[civil][]int64{}
	for _, k := range order {
		if s := scopes[k.at]; len(s) == 0 || s[len(s)-1] != k.scope {
			scopes[k.at] = append(s, k.scope)
		}
	}
	only := l.onlyChunks()
	for at, ids := range scopes {
		for part := range slices.Chunk(ids, 1000) {
			query, args := in("SELECT scope, "+l.of+", chunk, pack FROM "+l.packTable+" WHERE "+l.column+" = ? AND scope IN (?)"+only, at.String(), part)
			err := t.each(ctx, func(rows *sqlx.Rows) error {
				k := packKey{at: at}
				var pack []byte
				if err := rows.Scan(&k.scope, &k.of, &k.chunk, &pack); err != nil {
					return fmt.Errorf("store: %s: %w", l.packTable, err)
				}
				if _, changes := l.packs[k]; changes {
					stored[k] = pack
				}
				return nil
			}, query, args...)
			if err != nil {
				return nil, err
			}
		}
	}
	return stored, nil
}

// onlyChunks returns SQL for those of the chunks of windows that change, if they are few: a day of short windows has many. Those of
// series tend to change all at once.
func (l *level) onlyChunks() string {
	if l.packTable != windowPacks {
		return ""
	}
	chunks := map[int32]bool{}
	for k := range l.packs {
		chunks[k.chunk] = true
	}
	if len(chunks) == 0 || len(chunks) > mostFiltered {
		return ""
	}
	var list []string
	for chunk := range chunks {
		list = append(list, strconv.Itoa(int(chunk)))
	}
	slices.Sort(list)
	return " AND chunk IN (" + strings.Join(list, ", ") + ")"
}

// chargesOf counts the charges of a scope that begin in a range into deltas.
func (t *tx) chargesOf(ctx context.Context, scope int64, r period.Range, zone *time.Location, d *deltas) error {
	type seriesInfo struct {
		owner
		seriesRef
	}
	series := map[int64]seriesInfo{}
	err := t.each(ctx, func(rows *sqlx.Rows) error {
		var i seriesInfo
		if err := rows.Scan(&i.id, &i.slot, &i.metric, &i.unit); err != nil {
			return fmt.Errorf("store: series: %w", err)
		}
		i.scope = scope
		series[i.id] = i
		return nil
	}, "SELECT id, slot, metric, unit FROM series WHERE scope = ?", scope)
	if err != nil {
		return err
	}
	// They come a window at a time, so memory holds one day's sums, however long the range is.
	today := map[int64]*rollup.Sums{}
	lengths := map[int64]*rollup.Sums{} // of the charges that begin together, by period
	var (
		last       timestamp
		day, month civil
	)
	endWindow := func() {
		for length, sums := range lengths {
			d.addWindow(scope, day, day.begin(zone), last.Time, length, sums)
		}
		clear(lengths)
	}
	flush := func() error {
		for id, sums := range today {
			i, ok := series[id]
			if !ok {
				return fault.New(fault.Internal, "charges of scope %d name series %d, which does not exist", scope, id)
			}
			d.add(i.owner, i.seriesRef, day, month, *sums)
		}
		clear(today)
		return nil
	}
	err = t.each(ctx, func(rows *sqlx.Rows) error {
		var (
			id, length int64
			begin      timestamp
			qty, price money.Decimal
		)
		if err := rows.Scan(&id, &begin, &length, &qty, &price); err != nil {
			return fmt.Errorf("store: charges: %w", err)
		}
		if !begin.Equal(last.Time) {
			endWindow()
			last = begin
			if next := civilDay(begin.Time, zone); next != day {
				if err := flush(); err != nil {
					return err
				}
				day, month = next, civilMonth(begin.Time, zone)
			}
		}
		sums := rollup.Sums{Points: 1, Qty: qty, Price: price}
		addSums(today, id, &sums)
		addSums(lengths, length, &sums)
		return nil
	}, "SELECT series, begins_at, period, qty, price FROM charges WHERE scope = ? AND begins_at >= ? AND begins_at < ? ORDER BY begins_at", scope, at(r.Begin), at(r.End))
	if err != nil {
		return err
	}
	endWindow()
	return flush()
}

// chargedRange returns from when to when a scope has charges, in whole billing months, and since when charges are kept:
// roll-ups from before that time, if it isn't zero, can't be computed, whatever charges may be left.
func (t *tx) chargedRange(ctx context.Context, scope int64, zone *time.Location) (r period.Range, from time.Time, err error) {
	var first, last timestamp
	if _, err := t.get(ctx, &first, "SELECT MIN(begins_at) FROM charges WHERE scope = ?", scope); err != nil {
		return r, from, err
	}
	if _, err := t.get(ctx, &last, "SELECT MAX(begins_at) FROM charges WHERE scope = ?", scope); err != nil {
		return r, from, err
	}
	kept, err := t.retention(ctx) // read last: the mark is there before charges go
	if err != nil || first.IsZero() {
		return r, kept.ChargesFrom, err
	}
	r = period.Range{Begin: period.Month.Start(first.Time, zone), End: period.Month.Next(last.Time, zone)}
	if r.Begin.Before(kept.ChargesFrom) {
		r.Begin = kept.ChargesFrom
	}
	if r.Empty() {
		r = period.Range{}
	}
	return r, kept.ChargesFrom, nil
}

// Mismatch is a row of the roll-ups that differs from the charges it should sum.
type Mismatch struct {
	Scope string
	What  string // table and row, what it holds and what it should
}

// VerifyRollups computes all roll-ups anew from the charges and calls report for every row that differs. It changes
// nothing and may run beside workers: each scope is compared within one state of the database. Roll-ups whose charges were
// dropped are taken as they are.
func (s *Store) VerifyRollups(ctx context.Context, report func(Mismatch)) error {
	settings, err := s.currentSettings(ctx)
	if err != nil {
		return err
	}
	scopes, err := s.Scopes(ctx)
	if err != nil {
		return err
	}
	for _, scope := range scopes {
		err := s.viewCharges(ctx, func(t *tx) error {
			months, from, err := t.chargedRange(ctx, scope.Ref, settings.Zone)
			if err != nil {
				return err
			}
			r := rows{sums: map[string]int{}}
			for m := months.Begin; m.Before(months.End); m = period.Month.Next(m, settings.Zone) {
				d := newDeltas()
				if err := t.chargesOf(ctx, scope.Ref, period.Range{Begin: m, End: period.Month.Next(m, settings.Zone)}, settings.Zone, d); err != nil {
					return err
				}
				for _, l := range d.levels() {
					if err := l.verify(ctx, t, scope, &r, report); err != nil {
						return err
					}
				}
			}
			return r.surplus(ctx, t, scope, from, settings.Zone, report)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rows counts the rows of a scope that must exist, by table.
type rows struct{ sums map[string]int }

// surplus reports tables that have more rows of the scope, since a time, than there are charges for.
func (r *rows) surplus(ctx context.Context, t *tx, scope *metering.Scope, from time.Time, zone *time.Location, report func(Mismatch)) error {
	for _, l := range newDeltas().levels() {
		for _, table := range l.tables() {
			query, args := "SELECT COUNT(*) FROM "+table+" WHERE scope = ?", []any{scope.Ref}
			if !from.IsZero() {
				query, args = query+" AND "+l.column+" >= ?", append(args, civilDay(from, zone).String())
			}
			var n int
			if _, err := t.get(ctx, &n, query, args...); err != nil {
				return err
			}
			if n > r.sums[table] {
				report(Mismatch{scope.ID, table + ": " + strconv.Itoa(n-r.sums[table]) + " rows without charges"})
			}
		}
	}
	return nil
}

// verify compares one month's rows of a level with what they must be.
func (l *level) verify(ctx context.Context, t *tx, scope *metering.Scope, r *rows, report func(Mismatch)) error {
	for _, k := range l.sortedSums() {
		want := l.sums[k]
		var have struct {
			Points     int64
			Qty, Price money.Decimal
		}
		found, err := t.get(ctx, &have, "SELECT points, qty, price FROM "+l.sumTable+" WHERE "+l.column+" = ? AND scope = ? AND metric = ? AND unit = ?", k.at.String(), k.scope, k.metric, k.unit)
		if err != nil {
			return err
		}
		row := fmt.Sprintf("%s %s metric %d %s", l.sumTable, k.at, k.metric, k.unit)
		switch {
		case !found:
			report(Mismatch{scope.ID, row + ": missing"})
			continue
		case have.Points != want.Points || !have.Qty.Equal(want.Qty) || !have.Price.Equal(want.Price):
			report(Mismatch{scope.ID, fmt.Sprintf("%s: has %d points, %s, costing %s; its charges make %d points, %s, costing %s", row,
				have.Points, have.Qty, have.Price, want.Points, want.Qty, want.Price)})
		}
		r.sums[l.sumTable]++
	}
	for _, k := range l.sortedPacks() {
		want := rollup.Gather(l.packs[k])
		var stored []byte
		found, err := t.get(ctx, &stored, "SELECT pack FROM "+l.packTable+" WHERE "+l.column+" = ? AND scope = ? AND "+l.of+" = ? AND chunk = ?", k.at.String(), k.scope, k.of, k.chunk)
		if err != nil {
			return err
		}
		row := fmt.Sprintf("%s %s %s %d chunk %d", l.packTable, k.at, l.of, k.of, k.chunk)
		if !found {
			report(Mismatch{scope.ID, row + ": missing"})
			continue
		}
		r.sums[l.packTable]++
		have, err := rollup.Decode(nil, stored)
		if err != nil {
			report(Mismatch{scope.ID, row + ": " + err.Error()})
			continue
		}
		if !slices.EqualFunc(have, want, func(a, b rollup.Entry) bool {
			return a.Series == b.Series && a.Points == b.Points && a.Qty.Equal(b.Qty) && a.Price.Equal(b.Price)
		}) {
			report(Mismatch{scope.ID, row + ": differs from its charges"})
		}
	}
	return nil
}

// RebuildRollups computes all roll-ups anew from the charges and writes them, a scope's month at a time, so that reports
// stay right meanwhile. It leases every scope and fails with a Conflict if a worker has one. Roll-ups whose charges were
// dropped stay as they are.
func (s *Store) RebuildRollups(ctx context.Context, actor string, progress func(done, all int)) error {
	settings, err := s.currentSettings(ctx)
	if err != nil {
		return err
	}
	if err := s.rebuild(ctx, settings.Zone, 0, nil, progress); err != nil {
		return err
	}
	return s.update(ctx, func(t *tx) error { return t.audit(ctx, actor, "rebuild", "roll-ups", "", "") })
}

// recut changes the billing zone: it computes all roll-ups for days and months of the new one. While it works there are no
// reports and no leases; if it is interrupted, it goes on with the next scope when it is called again.
func (s *Store) recut(ctx context.Context, before, after, actor string) error {
	zone, err := period.ParseZone(after)
	if err != nil {
		return err
	}
	const settingDone = "timezone_done" // the last scope that was recomputed
	var last int64
	err = s.update(ctx, func(t *tx) error {
		var wanted, done string
		if _, err := t.get(ctx, &wanted, "SELECT value FROM settings WHERE name = ?", settingRecut); err != nil {
			return err
		}
		if wanted != "" && wanted != after {
			return fault.New(fault.Conflict, "a change of the billing zone to %s was interrupted; finish it first with `ratebook settings set timezone %s`", wanted, wanted)
		}
		if _, err := t.get(ctx, &done, "SELECT value FROM settings WHERE name = ?", settingDone); err != nil {
			return err
		}
		last, _ = strconv.ParseInt(done, 10, 64)
		if err := t.lockZone(ctx); err != nil {
			return err
		}
		kept, err := t.retention(ctx)
		if err != nil {
			return err
		}
		if !kept.ChargesFrom.IsZero() {
			return fault.New(fault.Conflict, "the billing zone can't be changed any more: charges before %s were dropped, and without them days and months can't be cut anew",
				droppedBefore(kept.ChargesFrom, before))
		}
		if wanted == "" { // nothing has begun: look first whether it can
			var scope string
			busy, err := t.get(ctx, &scope, "SELECT scope FROM scopes WHERE lease_until > ? LIMIT 1", at(time.Now()))
			if err != nil {
				return err
			}
			if busy {
				return fault.New(fault.Conflict, "scope %s is being processed; stop serve and process, and try again", scope)
			}
		}
		_, err = t.exec(ctx, "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", settingRecut, after)
		return err
	})
	if err != nil {
		return err
	}
	finished := func(t *tx, scope int64) error {
		_, err := t.exec(ctx, "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", settingDone, strconv.FormatInt(scope, 10))
		return err
	}
	if err := s.rebuild(ctx, zone, last, finished, nil); err != nil {
		return err
	}
	return s.update(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, "DELETE FROM settings WHERE name IN (?, ?)", settingRecut, settingDone); err != nil {
			return err
		}
		return s.storeSetting(ctx, t, settingTimezone, before, after, actor)
	})
}

// droppedBefore names the day, in the zone of that name, that a mark lies at.
func droppedBefore(mark time.Time, zoneName string) string {
	zone, err := period.ParseZone(zoneName)
	if err != nil {
		zone = time.UTC
	}
	return civilDay(mark, zone).String()
}

// checkZone fails unless the roll-ups are cut in the zone.
func (t *tx) checkZone(ctx context.Context, zone *time.Location) error {
	var changed string
	found, err := t.get(ctx, &changed, "SELECT value FROM settings WHERE (name = ? AND value <> ?) OR name = ? ORDER BY name DESC LIMIT 1",
		settingTimezone, zone.String(), settingRecut)
	if err == nil && found {
		err = fault.New(fault.Unavailable, "the billing zone is being changed to %s; wait until that is done, then restart this process", changed)
	}
	return err
}

// rebuild computes the roll-ups of the scopes after one in a zone; finished is called in a transaction after each.
func (s *Store) rebuild(ctx context.Context, zone *time.Location, after int64, finished func(t *tx, scope int64) error, progress func(done, all int)) error {
	scopes, err := s.Scopes(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(scopes, func(a, b *metering.Scope) int { return cmp.Compare(a.Ref, b.Ref) })
	for i, scope := range scopes {
		if scope.Ref > after {
			if err := s.rebuildScope(ctx, scope, zone); err != nil {
				return err
			}
			if finished != nil {
				if err := s.update(ctx, func(t *tx) error { return finished(t, scope.Ref) }); err != nil {
					return err
				}
			}
		}
		if progress != nil {
			progress(i+1, len(scopes))
		}
	}
	return nil
}

// rebuildLease is how long a scope stays taken by a rebuild that died.
const rebuildLease = time.Minute

// rebuildScope replaces a scope's roll-ups. They are computed before the transactions that write them, which the scope's
// lease makes safe and which keeps them short.
func (s *Store) rebuildScope(ctx context.Context, scope *metering.Scope, zone *time.Location) (err error) {
	token, err := s.LeaseToken(ctx)
	if err != nil {
		return err
	}
	just := []*metering.Scope{scope}
	now := time.Now()
	var months period.Range
	err = s.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE scopes SET lease_token = ?, lease_holder = ?, lease_until = ?
			WHERE id = ? AND (lease_until IS NULL OR lease_until <= ?)`, token, "rebuilding roll-ups", at(now.Add(rebuildLease)), scope.Ref, at(now))
		if err == nil && n == 0 {
			err = fault.New(fault.Conflict, "scope %s is being processed; stop all workers, or wait a minute until their leases end, and try again", scope.ID)
		}
		if err == nil {
			err = t.revise(ctx, []int64{scope.Ref})
		}
		if err != nil {
			return err
		}
		var from time.Time
		if months, from, err = t.chargedRange(ctx, scope.Ref, zone); err != nil {
			return err
		}
		for _, l := range newDeltas().levels() { // rows that have no charges at all
			if err := l.clearOutside(ctx, t, scope.Ref, months, from, zone); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer func() {
		if e := s.Release(context.WithoutCancel(ctx), token, just); err == nil {
			err = e
		}
	}()
	for m := months.Begin; m.Before(months.End); m = period.Month.Next(m, zone) {
		month := period.Range{Begin: m, End: period.Month.Next(m, zone)}
		d := newDeltas()
		err := s.viewCharges(ctx, func(t *tx) error { return t.chargesOf(ctx, scope.Ref, month, zone, d) })
		if err != nil {
			return err
		}
		err = s.update(ctx, func(t *tx) error {
			n, err := t.exec(ctx, "UPDATE scopes SET lease_until = ? WHERE id = ? AND lease_token = ?", at(time.Now().Add(rebuildLease)), scope.Ref, token)
			if err == nil && n == 0 {
				err = fault.New(fault.Conflict, "scope %s was taken by a worker meanwhile; try again", scope.ID)
			}
			if err == nil {
				err = t.revise(ctx, []int64{scope.Ref})
			}
			if err != nil {
				return err
			}
			if kept, err := t.retention(ctx); err != nil || m.Before(kept.ChargesFrom) { // its charges are going meanwhile
				return err
			}
			for _, l := range d.levels() {
				if err := l.clear(ctx, t, scope.Ref, month, zone); err != nil {
					return err
				}
			}
			return d.apply(ctx, t)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// clear deletes a scope's rows in a range of whole billing months.
func (l *level) clear(ctx context.Context, t *tx, scope int64, months period.Range, zone *time.Location) error {
	return l.deleteRows(ctx, t, scope, l.column+" >= ? AND "+l.column+" < ?", civilDay(months.Begin, zone).String(), civilDay(months.End, zone).String())
}

// clearOutside deletes a scope's rows outside a range of whole billing months, but none from before a time.
func (l *level) clearOutside(ctx context.Context, t *tx, scope int64, months period.Range, from time.Time, zone *time.Location) error {
	var begin, end civil
	if !months.Empty() {
		begin, end = civilDay(months.Begin, zone), civilDay(months.End, zone)
	}
	where, args := "("+l.column+" < ? OR "+l.column+" >= ?)", []any{begin.String(), end.String()}
	if !from.IsZero() {
		where, args = where+" AND "+l.column+" >= ?", append(args, civilDay(from, zone).String())
	}
	return l.deleteRows(ctx, t, scope, where, args...)
}

func (l *level) deleteRows(ctx context.Context, t *tx, scope int64, where string, args ...any) error {
	for _, table := range l.tables() {
		if _, err := t.exec(ctx, "DELETE FROM "+table+" WHERE scope = ? AND "+where, append([]any{scope}, args...)...); err != nil {
			return err
		}
	}
	return nil
}
