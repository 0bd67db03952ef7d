package store

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strconv"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/rollup"
)

// This file is the part of a commit that does windows again: it compares the charges that are stored with those of the
// batch and touches only what differs.

// withCharges returns a batch that does windows again with what these are charged now. The worker has a lease on the scopes, so
// that nobody else changes that; the transaction makes sure of it, see fence.
func (s *Store) withCharges(ctx context.Context, b *metering.Batch) (*metering.Batch, error) {
	with := *b
	if len(b.Unchanged)+len(b.Failed) >= len(b.Scopes)*b.Run.Count {
		return &with, nil
	}
	before, err := s.Charges(ctx, b.Scopes, b.Run)
	if err != nil {
		return nil, err
	}
	own := make(map[int64]*metering.Scope, len(b.Scopes))
	for _, scope := range b.Scopes {
		own[scope.Ref] = scope
	}
	for i := range before {
		before[i].Scope = own[before[i].Scope.Ref]
	}
	with.Before = before
	return &with, nil
}

// charged is a sample as it is stored, or is to be.
type charged struct {
	window int // index into commit.windows
	series *changing
	seq    int
	sample *metering.Sample
	stored bool // whether a charge is stored that it takes the place of
}

// compareKeys orders charges of one window.
func compareKeys(x, y *charged) int {
	return cmp.Or(cmp.Compare(x.series.ref.id, y.series.ref.id), x.seq-y.seq)
}

// walk goes through usage a window at a time.
type walk struct {
	usage  []metering.Usage
	series []*changing // of each usage
	seq    []int       // of each usage
	scopes [][]int     // indices of usages, by scope and ordered by series
	next   []int       // the next sample of each usage
	window []charged   // what was returned last
}

// of returns the charges of a scope's window i, which has the index at, in the order of their key. It must be asked for windows in
// their order, and keeps what it returns only until it is asked again.
func (x *walk) of(scope, i, at int) []charged {
	x.window = x.window[:0]
	for _, u := range x.scopes[scope] {
		samples := x.usage[u].Samples
		if n := x.next[u]; n < len(samples) && samples[n].Window == i {
			x.window = append(x.window, charged{window: at, series: x.series[u], seq: x.seq[u], sample: &samples[n]})
			x.next[u]++
		}
	}
	return x.window
}

// replace replaces the charges of the batch's windows by its usage.
func (c *commit) replace(ctx context.Context, refs []seriesRef) error {
	stored, err := c.s.storedRefs(ctx, c.t, c.b, refs, c.prints, c.before)
	if err != nil {
		return err
	}
	d := &replacement{
		c: c, series: map[int64]*changing{}, differences: map[seriesOwner]*difference{},
		superseded: make([]charged, 0, c.b.PointsBefore()), put: make([]charged, 0, c.b.Points()),
	}
	before, after := d.walk(c.b.Before, stored), d.walk(c.b.Usage, refs)
	for s := range c.b.Scopes {
		for i := range c.b.Run.Count {
			at := s*c.b.Run.Count + i
			old, fresh := before.of(s, i, at), after.of(s, i, at)
			switch w := &c.windows[at]; {
			case w.failed != nil:
			case w.unchanged:
				w.points, w.amount = w.was.Points, w.was.Amount
			default:
				if err := d.window(w, i, old, fresh); err != nil {
					return err
				}
			}
		}
	}
	return d.store(ctx)
}

// replacement is what changes in the windows that are done again.
type replacement struct {
	c           *commit
	series      map[int64]*changing // of the batch's usage, before and after, by id
	differences map[seriesOwner]*difference

	superseded []charged // what changes or goes
	gone       []charged // what of it goes
	put        []charged // what changes or comes
}

// changing is a series and what of it changes.
type changing struct {
	ref        seriesRef
	owner      owner
	difference *difference
	days       []dayChange // one after the other
}

// dayChange is what changes on a billing day.
type dayChange struct {
	day, month civil
	sums       rollup.Sums
}

// on returns what changes on a day, which is not before those that were asked for.
func (s *changing) on(day, month civil) *rollup.Sums {
	if n := len(s.days); n == 0 || s.days[n-1].day != day {
		s.days = append(s.days, dayChange{day: day, month: month})
	}
	return &s.days[len(s.days)-1].sums
}

// difference is what changes of a scope and metric: all charges of the windows in which something does.
type difference struct {
	metric string
	metering.Change
}

// walk returns usage to go through. What its series are is known then.
func (d *replacement) walk(usage []metering.Usage, refs []seriesRef) *walk {
	x := &walk{usage: usage, seq: repeats(refs), scopes: d.c.byScope(usage, refs), next: make([]int, len(usage))}
	for i := range usage {
		u := &usage[i]
		s := d.series[refs[i].id]
		if s == nil {
			of := ownerOf(u)
			if d.differences[of] == nil {
				d.differences[of] = &difference{metric: u.Metric.Name}
			}
			s = &changing{ref: refs[i], owner: owner{u.Scope.Ref, u.Metric.Ref, u.Metric.Unit}, difference: d.differences[of]}
			d.series[refs[i].id] = s
		}
		x.series = append(x.series, s)
	}
	return x
}

// window compares the charges of one window, the i-th of the run, both in the order of their key. Of a series' charges those are
// compared that have the same place among them, whatever their seq.
//
// If usage differs, all of the window's charges are superseded, so that these are the window as it was. Other prices leave its
// points as they are: then only those are superseded whose price changes.
func (d *replacement) window(w *window, i int, all, fresh []charged) error {
	if len(all) != w.was.Points {
		return fault.New(fault.Internal, "the window of scope %d at %s has %d charges, and %d in the ledger; `ratebook rollups verify` tells more",
			w.was.Scope, w.was.BeginsAt.Format(time.RFC3339), len(all), w.was.Points)
	}
	superseded, put := len(d.superseded), len(d.put)
	old := all
	seq := 0 // the next free one of the series
	for k := range fresh {
		f := &fresh[k]
		if k == 0 || fresh[k-1].series != f.series {
			seq = 0
		}
		for len(old) > 0 && old[0].series.ref.id < f.series.ref.id {
			d.superseded, old = append(d.superseded, old[0]), old[1:]
		}
		if len(old) > 0 && old[0].series == f.series {
			o := &old[0]
			old = old[1:]
			f.seq = o.seq
			if !o.sample.Qty.Equal(f.sample.Qty) || !o.sample.Price.Equal(f.sample.Price) {
				d.superseded, d.put = append(d.superseded, *o), append(d.put, *f)
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
		return nil
	}
	if d.c.b.Task.Kind != metering.Rerate {
		d.superseded, d.put = append(d.superseded[:superseded], all...), append(d.put[:put], fresh...)
	}
	w.changed = true
	d.count(w, i, d.superseded[superseded:], d.put[put:])
	for k := range all {
		x := all[k].series.difference
		x.PointsBefore++
		x.Before.Accumulate(&all[k].sample.Price)
	}
	for k := range fresh {
		x := fresh[k].series.difference
		x.PointsAfter++
		x.After.Accumulate(&fresh[k].sample.Price)
	}
	return nil
}

// count counts what is superseded and what is put in a window, the i-th of the run, both in the order of their key.
func (d *replacement) count(w *window, i int, superseded, put []charged) {
	day, month := d.c.run.days[i], d.c.run.months[i]
	var all rollup.Sums
	change := func(x *charged, by rollup.Sums) {
		x.series.on(day, month).Add(&by)
		all.Add(&by)
	}
	next := put
	for k := range superseded {
		x := &superseded[k]
		change(x, rollup.Sums{Points: -1, Qty: x.sample.Qty.Neg(), Price: x.sample.Price.Neg()})
		for len(next) > 0 && compareKeys(&next[0], x) < 0 {
			next = next[1:]
		}
		if len(next) > 0 && compareKeys(&next[0], x) == 0 {
			next[0].stored = true
		} else {
			d.gone = append(d.gone, *x)
		}
	}
	for k := range put {
		x := &put[k]
		change(x, rollup.Sums{Points: 1, Qty: x.sample.Qty, Price: x.sample.Price})
	}
	d.c.sumWindow(w.was.Scope, i, &all)
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
	for _, s := range d.series {
		for _, x := range s.days {
			if x.sums.Points != 0 || !x.sums.Qty.IsZero() || !x.sums.Price.IsZero() {
				c.deltas.add(s.owner, s.ref, x.day, x.month, x.sums)
			}
		}
	}
	if err := d.tell(ctx); err != nil {
		return err
	}
	if err := d.supersede(ctx); err != nil {
		return err
	}
	if err := d.remove(ctx); err != nil {
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

// tell adds what changes to what the task tells of it.
func (d *replacement) tell(ctx context.Context) error {
	ordered := keys(d.differences)
	slices.SortFunc(ordered, func(x, y seriesOwner) int {
		return cmp.Or(cmp.Compare(x.scope, y.scope), cmp.Compare(x.metric, y.metric))
	})
	var values []any
	for _, o := range ordered {
		if x := d.differences[o]; x.PointsBefore+x.PointsAfter > 0 {
			values = append(values, d.c.task, false, o.scope, x.metric, x.PointsBefore, x.PointsAfter, x.Before.String(), x.After.String(), 0, "0")
		}
	}
	add := d.c.t.d.add
	return d.c.t.insertRows(ctx, `INSERT INTO task_differences AS d
		(task, preview, scope, metric, points_before, points_after, amount_before, amount_after, lost_points, lost_amount)`,
		`ON CONFLICT (task, preview, scope, metric) DO UPDATE SET points_before = d.points_before + excluded.points_before,
		points_after = d.points_after + excluded.points_after, amount_before = `+add("d.amount_before", "excluded.amount_before")+
			", amount_after = "+add("d.amount_after", "excluded.amount_after"), 10, values)
}

// supersede keeps what changes or goes readable: a row for each window, see the migration that made the table.
func (d *replacement) supersede(ctx context.Context) error {
	c := d.c
	seconds, now := int64(c.b.Run.Length/time.Second), at(time.Now())
	var values []any
	var list []byte
	for window := range byWindow(d.superseded) {
		list = append(list[:0], '[')
		for i := range window {
			if i > 0 {
				list = append(list, ',')
			}
			list = append(strconv.AppendInt(append(list, '['), window[i].series.ref.id, 10), ',')
			list = append(strconv.AppendInt(list, int64(window[i].seq), 10), `,"`...)
			list = append(window[i].sample.Qty.Append(list), `","`...)
			list = append(window[i].sample.Price.Append(list), `"]`...)
		}
		w := &c.windows[window[0].window].was
		values = append(values, w.Scope, at(w.BeginsAt.Time), seconds, w.Config, w.Rules, now, c.task, len(window), string(append(list, ']')))
	}
	return c.t.insertRows(ctx, "INSERT INTO superseded (scope, begins_at, period, config_version, rules_version, superseded_at, task, points, charges)", "", 9, values)
}

// byWindow splits charges by windows, of which they are in the order.
func byWindow(all []charged) iter.Seq[[]charged] {
	return func(yield func([]charged) bool) {
		for len(all) > 0 {
			n := 1
			for n < len(all) && all[n].window == all[0].window {
				n++
			}
			if !yield(all[:n]) {
				return
			}
			all = all[n:]
		}
	}
}

// remove deletes what goes: all of neighbouring windows at once, else by keys.
func (d *replacement) remove(ctx context.Context) error {
	var first, last int // windows of which all is deleted; none if there is no after
	some := false
	flush := func() error {
		if !some {
			return nil
		}
		some = false
		x, y := &d.c.windows[first].was, &d.c.windows[last].was
		_, err := d.c.t.exec(ctx, "DELETE FROM charges WHERE scope = ? AND begins_at >= ? AND begins_at <= ?", x.Scope, at(x.BeginsAt.Time), at(y.BeginsAt.Time))
		return err
	}
	for window := range byWindow(d.gone) {
		i := window[0].window
		w := &d.c.windows[i].was
		if len(window) < w.Points {
			for part := range slices.Chunk(window, 200) {
				if err := d.c.deleteCharges(ctx, w, part); err != nil {
					return err
				}
			}
			continue
		}
		if some && (i != last+1 || w.Scope != d.c.windows[first].was.Scope) {
			if err := flush(); err != nil {
				return err
			}
		}
		if !some {
			first, some = i, true
		}
		last = i
	}
	return flush()
}

// deleteCharges deletes some charges of one window.
func (c *commit) deleteCharges(ctx context.Context, w *stored, some []charged) error {
	args := []any{w.Scope, at(w.BeginsAt.Time)}
	keys := ""
	for i := range some {
		if i > 0 {
			keys += ", "
		}
		keys += "(" + strconv.FormatInt(some[i].series.ref.id, 10) + ", " + strconv.Itoa(some[i].seq) + ")"
	}
	_, err := c.t.exec(ctx, "DELETE FROM charges WHERE scope = ? AND begins_at = ? AND (series, seq) IN (VALUES "+keys+")", args...)
	return err
}

// load stores charges that change or come, a partition at a time.
func (d *replacement) load(ctx context.Context) error {
	for begin, end := d.c.b.Run.Begin, d.c.b.Run.Range().End; begin.Before(end) && len(d.put) > 0; {
		p := partitionOf(begin)
		for _, stored := range []bool{true, false} {
			if err := d.loadInto(ctx, &p, stored); err != nil {
				return err
			}
		}
		begin = p.end
	}
	return nil
}

// loadInto stores the charges of a partition that take the place of others, or that don't.
func (d *replacement) loadInto(ctx context.Context, p *partition, stored bool) (err error) {
	c := d.c
	seconds := int64(c.b.Run.Length / time.Second)
	open := c.t.d.loadCharges
	if stored {
		open = c.t.d.changeCharges
	}
	var load loader // from the first of them on
	for i := range d.put {
		x := &d.put[i]
		w := &c.windows[x.window].was
		if x.stored != stored || w.BeginsAt.Before(p.begin) || !w.BeginsAt.Before(p.end) {
			continue
		}
		if load == nil {
			if load, err = open(ctx, c.t, p); err != nil {
				return err
			}
			defer load.close()
		}
		if err := load.add(ctx, w.Scope, w.BeginsAt.Time, seconds, x.series.ref.id, x.seq, x.sample.Qty, x.sample.Price); err != nil {
			return err
		}
	}
	if load == nil {
		return nil
	}
	return load.done(ctx)
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
	case metering.Reset: // as if it had never been done
		m = made{}
	case metering.Reprocess: // all is new
	}
	m.redoneBy = &c.task
	return m
}
