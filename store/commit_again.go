package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rollup"
)

// This file is the part of a commit that does windows again: it compares the charges that are stored with those of the
// batch and touches only what differs.

// storedPoints returns how many charges a batch that does windows again may replace.
func (s *Store) storedPoints(ctx context.Context, b *metering.Batch) (points int, err error) {
	if len(b.Unchanged)+len(b.Failed) >= len(b.Scopes)*b.Run.Count {
		return 0, nil
	}
	r := b.Run.Range()
	query, args := in("SELECT COALESCE(SUM(points), 0) FROM windows WHERE scope IN (?) AND begins_at >= ? AND begins_at < ?", refs(b.Scopes), at(r.Begin), at(r.End))
	err = s.view(ctx, func(t *tx) error {
		_, err := t.get(ctx, &points, query, args...)
		return err
	})
	return points, err
}

// oldCharge is a charge as it is stored.
type oldCharge struct {
	window     int // index into commit.windows
	series     int64
	seq        int
	qty, price money.Decimal
}

// newCharge is a sample to be stored as a charge.
type newCharge struct {
	window int // index into commit.windows
	usage  int
	series int64
	seq    int
	sample *metering.Sample
}

// replace replaces the charges of the batch's windows by its usage.
func (c *commit) replace(ctx context.Context, refs []seriesRef) error {
	for i := range c.windows {
		w := &c.windows[i]
		if w.unchanged {
			w.points, w.amount = w.was.Points, w.was.Amount
		}
	}
	old, err := c.storedCharges(ctx)
	if err != nil {
		return err
	}
	d := &replacement{c: c, refs: refs, superseded: make([]oldCharge, 0, len(old)), put: make([]newCharge, 0, c.b.Points()), changes: map[seriesDay]*rollup.Sums{}, before: map[int64]*sums{}, after: map[int64]*sums{}}
	scopes := c.byScope(refs)
	next := make([]int, len(c.b.Usage)) // the next sample of each usage
	var fresh []newCharge               // of one window
	for s, usages := range scopes {
		for i := range c.b.Run.Count {
			at := s*c.b.Run.Count + i
			fresh = fresh[:0]
			for _, u := range usages {
				samples := c.b.Usage[u].Samples
				if next[u] == len(samples) || samples[next[u]].Window != i {
					continue
				}
				fresh = append(fresh, newCharge{window: at, usage: u, series: refs[u].id, sample: &samples[next[u]]})
				next[u]++
			}
			n := 0
			for n < len(old) && old[n].window == at {
				n++
			}
			if w := &c.windows[at]; w.failed == nil && !w.unchanged {
				d.window(w, i, old[:n], fresh)
			}
			old = old[n:]
		}
	}
	return d.store(ctx)
}

// storedCharges reads the charges of the windows that are done again, in the order of windows and of their key.
func (c *commit) storedCharges(ctx context.Context) (old []oldCharge, err error) {
	first, last := c.b.Run.Count, -1
	points := 0
	var scopes []int64
	for s, scope := range c.b.Scopes {
		any := false
		for i := range c.b.Run.Count {
			if w := &c.windows[s*c.b.Run.Count+i]; w.failed == nil && !w.unchanged && w.was.Points > 0 {
				first, last, any = min(first, i), max(last, i), true
				points += w.was.Points
			}
		}
		if any {
			scopes = append(scopes, scope.Ref)
		}
	}
	old = make([]oldCharge, 0, points)
	run, seconds := c.b.Run.Begin.Unix(), int64(c.b.Run.Length/time.Second)
	columns, group := archiveTextPostgres, "scope, begins_at"
	if c.t.d == &sqliteDialect {
		columns, group = archiveTextSQLite, "scope"
	}
	for part := range slices.Chunk(scopes, 500) {
		query, args := in("SELECT "+columns+" FROM charges WHERE scope IN (?) AND begins_at >= ? AND begins_at <= ? GROUP BY "+group,
			part, at(c.b.Run.Window(first).Begin), at(c.b.Run.Window(last).Begin))
		err := c.t.each(ctx, func(rows *sqlx.Rows) error {
			var scope int64
			var begins, series, seq, qty, price sql.RawBytes
			if err := rows.Scan(&scope, &begins, &series, &seq, &qty, &price); err != nil {
				return fmt.Errorf("store: charges: %w", err)
			}
			text := newArchiveText(begins, series, seq, qty, price)
			from := c.scopeAt[scope] * c.b.Run.Count
			var (
				begin  int64
				p      place
				sample metering.Sample
			)
			for {
				more, err := text.next(&begin, &p, &sample)
				if err != nil || !more {
					return err
				}
				old = append(old, oldCharge{from + int((begin-run)/seconds), p.series, p.seq, sample.Qty, sample.Price})
			}
		}, query, args...)
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(old, func(x, y oldCharge) int { // mostly they are in order
		return cmp.Or(x.window-y.window, cmp.Compare(x.series, y.series), x.seq-y.seq)
	})
	return old, nil
}

// replacement is what changes in the windows that are done again.
type replacement struct {
	c    *commit
	refs []seriesRef

	superseded []oldCharge // what changes or goes
	put        []newCharge // what changes or comes
	whole      []int       // windows of which everything stored changes or goes

	changes map[seriesDay]*rollup.Sums
	before  map[int64]*sums // of changed windows, by series
	after   map[int64]*sums
}

// seriesDay is a series and the index of a window on the day.
type seriesDay struct {
	scope, series int64
	day, month    civil
}

// sums are points and what they cost.
type sums struct {
	points int64
	amount money.Decimal
}

func (s *sums) add(price *money.Decimal) {
	s.points++
	s.amount.Accumulate(price)
}

// window compares the charges of one window, the i-th of the run, both in the order of their series. Of a series' charges
// those are compared that have the same place among them, whatever their seq.
//
// If usage differs, all of the window's charges are superseded, so that these are the window as it was. Other prices leave its
// points as they are: then only those are superseded whose price changes.
func (d *replacement) window(w *window, i int, old []oldCharge, fresh []newCharge) {
	superseded, put := len(d.superseded), len(d.put)
	all := old
	seq := 0 // the next free one of the series
	for k := range fresh {
		f := &fresh[k]
		if k == 0 || fresh[k-1].series != f.series {
			seq = 0
		}
		for len(old) > 0 && old[0].series < f.series {
			d.superseded, old = append(d.superseded, old[0]), old[1:]
		}
		if len(old) > 0 && old[0].series == f.series {
			o := old[0]
			old = old[1:]
			f.seq = o.seq
			if !o.qty.Equal(f.sample.Qty) || !o.price.Equal(f.sample.Price) {
				d.superseded, d.put = append(d.superseded, o), append(d.put, *f)
			}
		} else {
			f.seq = seq
			d.put = append(d.put, *f)
		}
		seq = f.seq + 1
		w.points++
		w.amount.Accumulate(&f.sample.Price)
	}
	d.superseded = append(d.superseded, old...)

	if len(d.superseded)+len(d.put) == superseded+put {
		return
	}
	if d.c.b.Task.Kind != metering.Rerate {
		d.superseded, d.put = append(d.superseded[:superseded], all...), append(d.put[:put], fresh...)
	}
	gone, come := d.superseded[superseded:], d.put[put:]
	w.changed = true
	scope, day, month := w.was.Scope, d.c.run.days[i], d.c.run.months[i]
	for k := range gone {
		s := d.change(seriesDay{scope, gone[k].series, day, month})
		s.Add(&rollup.Sums{Points: -1, Qty: gone[k].qty.Neg(), Price: gone[k].price.Neg()})
	}
	for k := range come {
		s := d.change(seriesDay{scope, come[k].series, day, month})
		s.Add(&rollup.Sums{Points: 1, Qty: come[k].sample.Qty, Price: come[k].sample.Price})
	}
	for k := range all {
		of(d.before, all[k].series).add(&all[k].price)
	}
	for k := range fresh {
		of(d.after, fresh[k].series).add(&fresh[k].sample.Price)
	}
	if len(gone) == len(all) && len(all) > 0 {
		d.whole = append(d.whole, all[0].window)
	}
}

func (d *replacement) change(k seriesDay) *rollup.Sums {
	s := d.changes[k]
	if s == nil {
		s = &rollup.Sums{}
		d.changes[k] = s
	}
	return s
}

func of(m map[int64]*sums, series int64) *sums {
	s := m[series]
	if s == nil {
		s = &sums{}
		m[series] = s
	}
	return s
}

// store writes what changes.
func (d *replacement) store(ctx context.Context) error {
	c := d.c
	c.task = c.b.Task.ID
	if len(d.superseded)+len(d.put) == 0 {
		return nil
	}
	if c.b.Task.Kind == metering.Recheck {
		if err := c.recheckTask(ctx); err != nil {
			return err
		}
	}
	series, err := d.series(ctx)
	if err != nil {
		return err
	}
	for k, change := range d.changes {
		if s := series[k.series]; change.Points != 0 || !change.Qty.IsZero() || !change.Price.IsZero() {
			c.deltas.add(owner{k.scope, s.metric, s.unit}, s.ref, k.day, k.month, *change)
		}
	}
	if err := d.differences(ctx, series); err != nil {
		return err
	}
	if err := d.supersede(ctx); err != nil {
		return err
	}
	return d.load(ctx)
}

// recheckTask stores what says why the charges of windows were replaced that have been checked again.
func (c *commit) recheckTask(ctx context.Context) error {
	var changed period.Range // of all scopes
	windows := make([]int, len(c.b.Scopes))
	for i := range c.windows {
		if !c.windows[i].changed {
			continue
		}
		windows[i/c.b.Run.Count]++
		w := c.b.Run.Window(i % c.b.Run.Count)
		if changed.Begin.IsZero() || w.Begin.Before(changed.Begin) {
			changed.Begin = w.Begin
		}
		if w.End.After(changed.End) {
			changed.End = w.End
		}
	}
	now := at(time.Now())
	_, err := c.t.get(ctx, &c.task, `INSERT INTO tasks (kind, state, all_scopes, begins_at, ends_at, as_it_was, reason, author, created_at, finished_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`, metering.Recheck, metering.Finished, false, at(changed.Begin), at(changed.End), true,
		"late usage: the source's answer has changed", "ratebook", now, now)
	if err != nil {
		return err
	}
	var values []any
	for i, n := range windows {
		if n > 0 {
			values = append(values, c.task, c.b.Scopes[i].Ref, n, at(changed.End), false)
		}
	}
	return c.t.insertRows(ctx, "INSERT INTO task_scopes (task, scope, windows, marked_to, previewed)", "", 5, values)
}

// storedSeries is what a series' sums are kept by.
type storedSeries struct {
	ref    seriesRef
	scope  int64
	metric int64
	unit   string
}

// series returns the series of all changed windows, by id.
func (d *replacement) series(ctx context.Context) (map[int64]storedSeries, error) {
	known := map[int64]storedSeries{}
	for i, ref := range d.refs {
		u := &d.c.b.Usage[i]
		known[ref.id] = storedSeries{ref, u.Scope.Ref, u.Metric.Ref, u.Metric.Unit}
	}
	var missing []int64
	for id := range d.before {
		if _, ok := known[id]; !ok {
			missing = append(missing, id)
		}
	}
	slices.Sort(missing)
	for part := range slices.Chunk(missing, 500) {
		query, args := in("SELECT id, slot, scope, metric, unit FROM series WHERE id IN (?)", part)
		err := d.c.t.each(ctx, func(rows *sqlx.Rows) error {
			var s storedSeries
			if err := rows.Scan(&s.ref.id, &s.ref.slot, &s.scope, &s.metric, &s.unit); err != nil {
				return fmt.Errorf("store: series: %w", err)
			}
			known[s.ref.id] = s
			return nil
		}, query, args...)
		if err != nil {
			return nil, err
		}
	}
	return known, nil
}

// differences counts what changes for the task, by scope and metric: all charges of the windows in which something does.
func (d *replacement) differences(ctx context.Context, series map[int64]storedSeries) error {
	changes := map[seriesOwner]*metering.Change{}
	change := func(id int64) *metering.Change {
		o := seriesOwner{series[id].scope, series[id].metric}
		if changes[o] == nil {
			changes[o] = &metering.Change{}
		}
		return changes[o]
	}
	for id, s := range d.before {
		x := change(id)
		x.PointsBefore += s.points
		x.Before.Accumulate(&s.amount)
	}
	for id, s := range d.after {
		x := change(id)
		x.PointsAfter += s.points
		x.After.Accumulate(&s.amount)
	}
	var metrics []struct {
		ID   int64
		Name string
	}
	if err := d.c.t.list(ctx, &metrics, "SELECT id, name FROM metrics"); err != nil {
		return err
	}
	names := map[int64]string{}
	for _, m := range metrics {
		names[m.ID] = m.Name
	}
	ordered := keys(changes)
	slices.SortFunc(ordered, func(x, y seriesOwner) int {
		return cmp.Or(cmp.Compare(x.scope, y.scope), cmp.Compare(x.metric, y.metric))
	})
	var values []any
	for _, o := range ordered {
		x := changes[o]
		values = append(values, d.c.task, false, o.scope, names[o.metric], x.PointsBefore, x.PointsAfter, x.Before.String(), x.After.String(), 0, "0")
	}
	add := d.c.t.d.add
	return d.c.t.insertRows(ctx, `INSERT INTO task_differences AS d
		(task, preview, scope, metric, points_before, points_after, amount_before, amount_after, lost_points, lost_amount)`,
		`ON CONFLICT (task, preview, scope, metric) DO UPDATE SET points_before = d.points_before + excluded.points_before,
		points_after = d.points_after + excluded.points_after, amount_before = `+add("d.amount_before", "excluded.amount_before")+
			", amount_after = "+add("d.amount_after", "excluded.amount_after"), 10, values)
}

// supersede moves charges that change or go to where they stay readable: those of whole windows next to each other at once,
// the others by their keys.
func (d *replacement) supersede(ctx context.Context) error {
	c := d.c
	now := time.Now()
	whole := map[int]bool{}
	for from := 0; from < len(d.whole); {
		first := &c.windows[d.whole[from]].was
		last, to := first, from
		for ; to < len(d.whole); to++ {
			w := &c.windows[d.whole[to]].was
			if w.Scope != first.Scope || d.whole[to]-d.whole[from] != to-from || !same(w.Config, first.Config) || !same(w.Rules, first.Rules) {
				break
			}
			last, whole[d.whole[to]] = w, true
		}
		const which = " FROM charges WHERE scope = ? AND begins_at >= ? AND begins_at <= ?"
		insert := "INSERT INTO superseded_charges (" + supersededColumns + ") SELECT " + chargeColumns + ", CAST(? AS bigint), CAST(? AS bigint), " +
			c.t.d.bindTime + ", CAST(? AS bigint)"
		run := []any{first.Scope, at(first.BeginsAt.Time), at(last.BeginsAt.Time)}
		row := []any{first.Config, first.Rules, at(now), c.task}
		if c.t.d.moves {
			_, err := c.t.exec(ctx, "WITH charges AS (DELETE"+which+" RETURNING "+chargeColumns+") "+insert+" FROM charges", append(run, row...)...)
			if err != nil {
				return err
			}
		} else {
			if _, err := c.t.exec(ctx, insert+which, append(row, run...)...); err != nil {
				return err
			}
			if _, err := c.t.exec(ctx, "DELETE"+which, run...); err != nil {
				return err
			}
		}
		from = to
	}
	some := d.superseded
	if len(whole) > 0 {
		some = slices.DeleteFunc(some, func(o oldCharge) bool { return whole[o.window] })
	}
	if len(some) == 0 {
		return nil
	}
	if err := c.t.d.supersede(ctx, c, some, now); err != nil {
		return err
	}
	for from := 0; from < len(some); {
		to := from + 1
		for to < len(some) && some[to].window == some[from].window && to-from < 200 {
			to++
		}
		if err := c.deleteCharges(ctx, &c.windows[some[from].window].was, some[from:to]); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// same reports whether two numbers are equal, or both missing.
func same(a, b *int64) bool { return a == b || a != nil && b != nil && *a == *b }

// deleteCharges deletes some charges of one window.
func (c *commit) deleteCharges(ctx context.Context, w *stored, some []oldCharge) error {
	args := []any{w.Scope, at(w.BeginsAt.Time)}
	keys := ""
	for i := range some {
		if i > 0 {
			keys += ", "
		}
		keys += "(" + strconv.FormatInt(some[i].series, 10) + ", " + strconv.Itoa(some[i].seq) + ")"
	}
	_, err := c.t.exec(ctx, "DELETE FROM charges WHERE scope = ? AND begins_at = ? AND (series, seq) IN (VALUES "+keys+")", args...)
	return err
}

// load stores charges that change or come, a partition at a time.
func (d *replacement) load(ctx context.Context) error {
	c := d.c
	seconds := int64(c.b.Run.Length / time.Second)
	for begin, end := c.b.Run.Begin, c.b.Run.Range().End; begin.Before(end) && len(d.put) > 0; {
		p := partitionOf(begin)
		load, err := c.t.d.loadCharges(ctx, c.t, &p)
		if err != nil {
			return err
		}
		defer load.close()
		for i := range d.put {
			f := &d.put[i]
			w := &c.windows[f.window].was
			if w.BeginsAt.Before(p.begin) || !w.BeginsAt.Before(p.end) {
				continue
			}
			if err := load.add(ctx, w.Scope, w.BeginsAt.Time, seconds, f.series, f.seq, f.sample.Qty, f.sample.Price); err != nil {
				return err
			}
		}
		if err := load.done(ctx); err != nil {
			return err
		}
		begin = p.end
	}
	return nil
}

const (
	chargeColumns     = "scope, begins_at, period, series, seq, qty, price"
	supersededColumns = chargeColumns + ", config_version, rules_version, superseded_at, task"
)

func copySuperseded(ctx context.Context, c *commit, old []oldCharge, now time.Time) error {
	load, err := startCopy(ctx, c.t, "superseded_charges", supersededColumns)
	if err != nil {
		return err
	}
	defer load.close()
	seconds := int64(c.b.Run.Length / time.Second)
	var head, tail []byte // of a window's rows
	for i := range old {
		o := &old[i]
		if i == 0 || old[i-1].window != o.window {
			w := &c.windows[o.window].was
			head = append(strconv.AppendInt(head[:0], w.Scope, 10), '\t')
			head = append(w.BeginsAt.UTC().AppendFormat(head, time.RFC3339), '\t')
			head = append(strconv.AppendInt(head, seconds, 10), '\t')
			tail = append(appendCopyInt(append(tail[:0], '\t'), w.Config), '\t')
			tail = append(appendCopyInt(tail, w.Rules), '\t')
			tail = append(now.UTC().Truncate(time.Second).AppendFormat(tail, time.RFC3339), '\t')
			tail = append(strconv.AppendInt(tail, c.task, 10), '\n')
		}
		b := append(load.rows, head...)
		b = append(strconv.AppendInt(b, o.series, 10), '\t')
		b = append(strconv.AppendInt(b, int64(o.seq), 10), '\t')
		b = append(o.qty.Append(b), '\t')
		if err := load.row(ctx, append(o.price.Append(b), tail...)); err != nil {
			return err
		}
	}
	return load.done(ctx)
}

// appendCopyInt appends a number or NULL as COPY takes it.
func appendCopyInt(b []byte, n *int64) []byte {
	if n == nil {
		return append(b, `\N`...)
	}
	return strconv.AppendInt(b, *n, 10)
}

func insertSuperseded(ctx context.Context, c *commit, old []oldCharge, now time.Time) error {
	seconds := int64(c.b.Run.Length / time.Second)
	for part := range slices.Chunk(old, insertBlock) {
		values := make([]any, 0, 11*len(part))
		for i := range part {
			o := &part[i]
			w := &c.windows[o.window].was
			values = append(values, w.Scope, w.BeginsAt.Unix(), seconds, o.series, o.seq, o.qty.String(), o.price.String(), w.Config, w.Rules, now.Unix(), c.task)
		}
		if err := c.t.insertRows(ctx, "INSERT INTO superseded_charges ("+supersededColumns+")", "", 11, values); err != nil {
			return err
		}
	}
	return nil
}

// made is what the ledger says of how a window was done.
type made struct {
	config, rules *int64 // versions
	source        any    // version of the source's software
	took          *int64 // milliseconds
	redoneBy      *int64 // task
}

// madeAgain is what it says of one that was done again, m being what the batch says: a task that prices again leaves alone
// how it was collected, a re-check everything unless something has changed.
func (c *commit) madeAgain(w *window, m made) made {
	was := made{w.was.Config, w.was.Rules, w.was.Source, w.was.Took, w.was.RedoneBy}
	switch c.b.Task.Kind {
	case metering.Recheck:
		if !w.changed {
			return was
		}
		m.config, m.rules = was.config, was.rules
	case metering.Rerate:
		m.config, m.source, m.took = was.config, was.source, was.took
	case metering.Reprocess: // all is new
	}
	m.redoneBy = &c.task
	return m
}
