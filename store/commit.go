package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rollup"
)

// Commit stores what became of a batch's windows: charges, the roll-ups of them, findings and the ledger, in one
// transaction, or, for a large batch, in several that each take whole windows. Nothing is stored and the error is a
// Conflict if the worker's lease on one of the scopes was lost, or if its windows are not any more what the batch is for:
// open, or, with a task, waiting for that. What a task replaces stays readable as superseded.
func (s *Store) Commit(ctx context.Context, b *metering.Batch) error {
	if err := checkBatch(b); err != nil {
		return err
	}
	if b.Task != nil && b.Before == nil {
		var err error
		if b, err = s.withCharges(ctx, b); err != nil {
			return err
		}
	}
	if b.Points()+b.PointsBefore() > s.d.commitPoints {
		if x, y, ok := b.Halves(); ok {
			if err := s.Commit(ctx, x); err != nil {
				return err
			}
			return s.Commit(ctx, y)
		}
	}
	settings, err := s.currentSettings(ctx)
	if err != nil {
		return err
	}
	if r := b.Run.Range(); len(b.Usage) > 0 {
		if err := s.ensurePartitions(ctx, r.Begin, r.End); err != nil {
			return err
		}
	}
	prints, before := fingerprints(b.Usage), fingerprints(b.Before) // outside the transaction, which others wait for
	var fresh map[metering.Fingerprint]seriesRef
	err = s.update(ctx, func(t *tx) (err error) {
		c := &commit{s: s, t: t, b: b, prints: prints, before: before, run: newRunDays(b.Run, settings.Zone), deltas: newDeltas(), zone: settings.Zone}
		fresh, err = c.store(ctx)
		return err
	})
	if err == nil {
		s.remember(fresh)
	}
	return err
}

func fingerprints(usage []metering.Usage) []metering.Fingerprint {
	prints := make([]metering.Fingerprint, len(usage))
	for i := range usage {
		prints[i] = usage[i].Fingerprint()
	}
	return prints
}

// checkBatch makes sure that everything in the batch concerns its own scopes and windows, and that samples are in the order
// of these: anything else would be lost silently, or stored without a lease.
func checkBatch(b *metering.Batch) error {
	own := map[*metering.Scope]bool{}
	for _, s := range b.Scopes {
		own[s] = true
	}
	ok := len(own) == len(b.Scopes)
	inRun := func(window int) bool { return window >= 0 && window < b.Run.Count }
	for _, usage := range [...][]metering.Usage{b.Usage, b.Before} {
		for i := range usage {
			ok = ok && own[usage[i].Scope]
			last := -1
			for j := range usage[i].Samples {
				w := usage[i].Samples[j].Window
				ok = ok && inRun(w) && w > last
				last = w
			}
		}
	}
	for _, outcomes := range [...][]metering.Outcome{b.Failed, b.Unchanged} {
		for _, o := range outcomes {
			ok = ok && own[o.Scope] && inRun(o.Window)
		}
	}
	for _, f := range b.Findings {
		ok = ok && own[f.Scope] && inRun(f.Window)
	}
	ok = ok && (b.Task != nil || len(b.Unchanged)+len(b.Before) == 0)
	if !ok || len(b.Scopes) == 0 || b.Run.Count < 1 {
		return fault.New(fault.Internal, "a batch of %d scopes and %d windows has usage of others, or in disorder; nothing was stored", len(b.Scopes), b.Run.Count)
	}
	return nil
}

// commit is one transaction of Commit.
type commit struct {
	s      *Store
	t      *tx
	b      *metering.Batch
	prints []metering.Fingerprint // of the usages' series
	before []metering.Fingerprint // of those that were charged before
	run    runDays
	deltas *deltas
	zone   *time.Location

	windows []window // by scope and index in the run
	scopeAt map[int64]int
	task    int64 // that superseded charges refer to
}

// window sums up what is committed for one window.
type window struct {
	failed    *metering.Outcome
	unchanged bool // its charges stay
	points    int
	unpriced  int
	qty       money.Decimal // of all metrics, whatever their unit; unless it is done again
	amount    money.Decimal
	was       stored
	changed   bool // whether charges of it were superseded or are new, when it is done again
}

// stored is what the ledger says of a window, as far as it matters when it is done again.
type stored struct {
	Scope    int64
	BeginsAt timestamp `db:"begins_at"`
	Period   int64     // seconds
	State    metering.State
	Task     *int64
	Points   int
	Amount   money.Decimal
	Config   *int64    `db:"config_version"`
	Rules    *int64    `db:"rules_version"`
	Source   *int64    `db:"source_version"`
	Took     *int64    `db:"took_ms"`
	Finished timestamp `db:"finished_at"`
	RedoneBy *int64    `db:"redone_by"`
	Recheck  timestamp `db:"recheck_at"` // zero: there is none to come
}

func (c *commit) window(scope int64, i int) *window {
	return &c.windows[c.scopeAt[scope]*c.b.Run.Count+i]
}

func (c *commit) store(ctx context.Context) (map[metering.Fingerprint]seriesRef, error) {
	b := c.b
	c.windows = make([]window, len(b.Scopes)*b.Run.Count)
	c.scopeAt = make(map[int64]int, len(b.Scopes))
	for i, s := range b.Scopes {
		c.scopeAt[s.Ref] = i
	}
	for i := range b.Failed {
		c.window(b.Failed[i].Scope.Ref, b.Failed[i].Window).failed = &b.Failed[i]
	}
	for _, u := range b.Unchanged {
		c.window(u.Scope.Ref, u.Window).unchanged = true
	}
	for _, f := range b.Findings {
		if f.Kind == metering.Unpriced {
			c.window(f.Scope.Ref, f.Window).unpriced += f.Points
		}
	}
	if err := c.fence(ctx); err != nil {
		return nil, err
	}
	if err := c.look(ctx); err != nil {
		return nil, err
	}
	if err := c.s.forgetDeleted(ctx, c.t); err != nil {
		return nil, err
	}
	refs, fresh, added, err := c.s.seriesRefs(ctx, c.t, b.Usage, c.prints)
	if err != nil {
		return nil, err
	}
	if b.Task != nil {
		err = c.replace(ctx, refs)
	} else {
		err = c.charge(ctx, refs)
	}
	if err != nil {
		return nil, err
	}
	if err := c.deltas.apply(ctx, c.t); err != nil {
		return nil, err
	}
	if err := c.firstSamples(ctx); err != nil {
		return nil, err
	}
	if err := c.newSeries(ctx, added); err != nil {
		return nil, err
	}
	if err := c.ledger(ctx); err != nil {
		return nil, err
	}
	return fresh, c.findings(ctx)
}

// fence makes sure that the worker still has its leases, and that it keeps them until the transaction ends.
func (c *commit) fence(ctx context.Context) error {
	if err := c.t.checkZone(ctx, c.zone); err != nil {
		return err
	}
	var held []int64
	query, args := in("SELECT id FROM scopes WHERE lease_token = ? AND id IN (?) ORDER BY id "+c.t.d.forUpdate, c.b.Token, refs(c.b.Scopes))
	if err := c.t.list(ctx, &held, query, args...); err != nil {
		return err
	}
	if len(held) < len(c.b.Scopes) {
		return fault.New(fault.Conflict, "the lease on %d of %d scopes was lost to another worker; nothing was stored", len(c.b.Scopes)-len(held), len(c.b.Scopes))
	}
	return c.t.revise(ctx, held)
}

// look reads the ledger's rows of all windows of the batch and makes sure that they are what the batch is for.
func (c *commit) look(ctx context.Context) error {
	r := c.b.Run.Range()
	lock := ""
	if task := c.b.Task; task != nil {
		lock = " ORDER BY scope, begins_at " + c.t.d.forUpdate // whoever cancels the task waits
		if task.ID != 0 {
			var state metering.TaskState
			if _, err := c.t.get(ctx, &state, "SELECT state FROM tasks WHERE id = ?", task.ID); err != nil {
				return err
			}
			if state != metering.Running {
				return fault.New(fault.Conflict, "task %d is not running any more; nothing was stored", task.ID)
			}
		}
	}
	seen := 0
	query, args := in(`SELECT scope, begins_at, period, state, task, points, amount, config_version, rules_version, source_version, took_ms,
		finished_at, redone_by, recheck_at FROM windows WHERE scope IN (?) AND begins_at >= ? AND begins_at < ?`+lock, refs(c.b.Scopes), at(r.Begin), at(r.End))
	err := c.t.each(ctx, func(rows *sqlx.Rows) error {
		var was stored
		if err := rows.StructScan(&was); err != nil {
			return fmt.Errorf("store: ledger: %w", err)
		}
		offset := was.BeginsAt.Sub(r.Begin)
		if offset%c.b.Run.Length != 0 || was.Period != int64(c.b.Run.Length/time.Second) || !was.fits(c.b.Task) {
			return fault.New(fault.Conflict, "the window of scope %d at %s has changed in the ledger; nothing was stored", was.Scope, was.BeginsAt.Format(time.RFC3339))
		}
		seen++
		c.window(was.Scope, int(offset/c.b.Run.Length)).was = was
		return nil
	}, query, args...)
	if err == nil && seen != len(c.windows) {
		err = fault.New(fault.Conflict, "the ledger has %d of the %d windows; nothing was stored", seen, len(c.windows))
	}
	return err
}

// fits reports whether a window may be committed: for the first time, or again for a task.
func (w *stored) fits(task *metering.Task) bool {
	if task == nil {
		return w.State == metering.Due || w.State == metering.Failed
	}
	return (w.State == metering.Done || w.State == metering.Empty) && w.Task != nil && *w.Task == task.ID
}

// charge loads the charges and counts them into the windows and the sums. It loads them in the order of their key, which
// keeps both databases from searching their place one by one, and a partition at a time.
func (c *commit) charge(ctx context.Context, refs []seriesRef) error {
	b := c.b
	if len(b.Usage) == 0 { // there may be no partition
		return nil
	}
	seconds := int64(b.Run.Length / time.Second)
	seq := repeats(refs)
	scopes := c.byScope(b.Usage, refs)
	next := make([]int, len(b.Usage)) // the next sample of each usage
	for from := 0; from < b.Run.Count; {
		p := partitionOf(b.Run.Window(from).Begin)
		to := from
		for to < b.Run.Count && b.Run.Window(to).Begin.Before(p.end) {
			to++
		}
		load, err := c.t.d.loadCharges(ctx, c.t, &p)
		if err != nil {
			return err
		}
		defer load.close()
		for _, usages := range scopes {
			if len(usages) == 0 {
				continue
			}
			scope := b.Usage[usages[0]].Scope.Ref
			for i := from; i < to; i++ {
				w, begin := c.window(scope, i), b.Run.Window(i).Begin
				for _, u := range usages {
					samples := b.Usage[u].Samples
					if next[u] == len(samples) || samples[next[u]].Window != i {
						continue
					}
					sample := &samples[next[u]]
					next[u]++
					if w.failed != nil {
						continue
					}
					if err := load.add(ctx, scope, begin, seconds, refs[u].id, seq[u], sample.Qty, sample.Price); err != nil {
						return err
					}
					w.points++
					w.qty.Accumulate(&sample.Qty)
					w.amount.Accumulate(&sample.Price)
				}
				if w.points > 0 {
					c.sumWindow(scope, i, &rollup.Sums{Points: int64(w.points), Qty: w.qty, Price: w.amount})
				}
			}
		}
		if err := load.done(ctx); err != nil {
			return err
		}
		from = to
	}
	for i := range b.Usage {
		c.sum(&b.Usage[i], refs[i])
	}
	return nil
}

// byScope returns the indices of the usages of each scope of the batch, ordered by series, whose refs are given.
func (c *commit) byScope(usage []metering.Usage, refs []seriesRef) [][]int {
	all := make([][]int, len(c.b.Scopes))
	for i := range usage {
		s := c.scopeAt[usage[i].Scope.Ref]
		all[s] = append(all[s], i)
	}
	for _, usages := range all {
		slices.SortStableFunc(usages, func(x, y int) int { return cmp.Compare(refs[x].id, refs[y].id) })
	}
	return all
}

// sum counts a usage's samples into the roll-ups, a day at a time.
func (c *commit) sum(u *metering.Usage, ref seriesRef) {
	o := owner{u.Scope.Ref, u.Metric.Ref, u.Metric.Unit}
	var sums rollup.Sums // of the samples so far on one day
	last := -1
	for i := range u.Samples {
		sample := &u.Samples[i]
		if c.window(o.scope, sample.Window).failed != nil {
			continue
		}
		if last >= 0 && c.run.days[last] != c.run.days[sample.Window] {
			c.deltas.add(o, ref, c.run.days[last], c.run.months[last], sums)
			sums = rollup.Sums{}
		}
		sums.Add(&rollup.Sums{Points: 1, Qty: sample.Qty, Price: sample.Price})
		last = sample.Window
	}
	if last >= 0 {
		c.deltas.add(o, ref, c.run.days[last], c.run.months[last], sums)
	}
}

// sumWindow counts what is charged of a scope in the i-th window of the run into the roll-up of windows.
func (c *commit) sumWindow(scope int64, i int, sums *rollup.Sums) {
	day := c.run.days[i]
	c.deltas.addWindow(scope, day, day.begin(c.zone), c.b.Run.Window(i).Begin, int64(c.b.Run.Length/time.Second), sums)
}

// firstSamples notes since when there has been usage of each metric: a later window without any is suspicious.
func (c *commit) firstSamples(ctx context.Context) error {
	first := map[int64]time.Time{}
	for i := range c.b.Usage {
		u := &c.b.Usage[i]
		for _, sample := range u.Samples {
			if c.window(u.Scope.Ref, sample.Window).failed != nil {
				continue
			}
			begin := c.b.Run.Window(sample.Window).Begin
			if have, ok := first[u.Metric.Ref]; !ok || begin.Before(have) {
				first[u.Metric.Ref] = begin
			}
			break
		}
	}
	if len(first) == 0 {
		return nil
	}
	known, err := c.t.firstSamples(ctx)
	if err != nil {
		return err
	}
	metrics := keys(first)
	slices.Sort(metrics)
	for _, metric := range metrics {
		if have := known[metric]; !have.IsZero() && !first[metric].Before(have) {
			continue
		}
		begin := at(first[metric])
		_, err := c.t.exec(ctx, "UPDATE metrics SET first_sample = ? WHERE id = ? AND (first_sample IS NULL OR first_sample > ?)", begin, metric, begin)
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) firstSamples(ctx context.Context) (map[int64]time.Time, error) {
	var rows []struct {
		ID    int64
		First timestamp
	}
	if err := t.list(ctx, &rows, "SELECT id, first_sample AS first FROM metrics"); err != nil {
		return nil, err
	}
	first := map[int64]time.Time{}
	for _, r := range rows {
		first[r.ID] = r.First.Time
	}
	return first, nil
}

// FirstSamples returns, by metric, the begin of the first window that any scope had a charge of it in.
func (s *Store) FirstSamples(ctx context.Context) (first map[int64]time.Time, err error) {
	err = s.view(ctx, func(t *tx) (err error) {
		first, err = t.firstSamples(ctx)
		return err
	})
	return first, err
}

// repeats numbers the usages of one series, from 0 each: two configurations of a metric may yield equal points.
func repeats(refs []seriesRef) []int {
	seq := make([]int, len(refs))
	order := make([]int, len(refs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(refs[a].id, refs[b].id) })
	for k := 1; k < len(order); k++ {
		if refs[order[k]].id == refs[order[k-1]].id {
			seq[order[k]] = seq[order[k-1]] + 1
		}
	}
	return seq
}

// ledger writes the windows' rows.
func (c *commit) ledger(ctx context.Context) error {
	b := c.b
	now := time.Now()
	source, err := c.s.sourceVersion(ctx, c.t, sourceVersion{b.Scopes[0].Source.Ref, b.SourceVersion})
	if err != nil {
		return err
	}
	seconds, took := int64(b.Run.Length/time.Second), b.Took.Milliseconds()
	resets := b.Task != nil && b.Task.Kind == metering.Reset
	var done, failed []any
	var redone []int64 // scopes, by window
	for i, scope := range b.Scopes {
		for j := range b.Run.Count {
			w := &c.windows[i*b.Run.Count+j]
			begin := at(b.Run.Window(j).Begin)
			if w.failed != nil {
				state, finished := metering.Failed, at(now)
				if b.Task != nil { // what is done stays
					state, finished = w.was.State, at(w.was.Finished.Time)
				}
				failed = append(failed, scope.Ref, begin, seconds, state, at(w.failed.Retry), b.Token, finished, w.failed.Error)
				continue
			}
			state := metering.Done
			if w.points == 0 {
				state = metering.Empty
			}
			m := made{&b.ConfigVersion, &b.RulesVersion, source, &took, nil}
			if b.Task != nil {
				m = c.madeAgain(w, m)
			}
			if resets {
				state = metering.Due
			}
			var task, waits any
			next := now
			if recheck := c.recheckAt(w, j, now); !recheck.IsZero() {
				task, next, waits = 0, recheck, at(recheck)
			}
			done = append(done, scope.Ref, begin, seconds, state, at(next), b.Token, w.points, w.unpriced, w.amount.String(),
				m.config, m.rules, m.source, m.took, at(now), task, m.redoneBy, waits)
			redone = append(redone, scope.Ref)
		}
	}
	// every row exists, see look: the insert is a bulk update that both databases know; attempts are counted from the first
	// failure on
	const attempts = "attempts = CASE WHEN windows.error IS NULL THEN 1 ELSE windows.attempts + 1 END"
	err = c.t.insertRows(ctx, `INSERT INTO windows (scope, begins_at, period, state, next_attempt, attempt, points, unpriced, amount,
		config_version, rules_version, source_version, took_ms, finished_at, task, redone_by, recheck_at)`,
		"ON CONFLICT (scope, begins_at) DO UPDATE SET state = excluded.state, "+attempts+`, attempt = excluded.attempt,
		next_attempt = excluded.next_attempt, points = excluded.points, unpriced = excluded.unpriced, amount = excluded.amount,
		config_version = excluded.config_version, rules_version = excluded.rules_version, source_version = excluded.source_version,
		took_ms = excluded.took_ms, finished_at = excluded.finished_at, task = excluded.task, redone_by = excluded.redone_by, recheck_at = excluded.recheck_at,
		error = NULL`, 17, done)
	if err != nil {
		return err
	}
	if resets { // nobody has tried them yet
		r := b.Run.Range()
		query, args := in("UPDATE windows SET attempts = 0, attempt = 0, finished_at = NULL WHERE scope IN (?) AND begins_at >= ? AND begins_at < ? AND state = 0",
			refs(b.Scopes), at(r.Begin), at(r.End))
		if _, err := c.t.exec(ctx, query, args...); err != nil {
			return err
		}
	}
	if b.Task != nil && b.Task.ID != 0 {
		if err := c.t.count(ctx, b.Task.ID, "done = done + ?", redone); err != nil {
			return err
		}
	}
	return c.t.insertRows(ctx, "INSERT INTO windows (scope, begins_at, period, state, next_attempt, attempt, finished_at, error)",
		"ON CONFLICT (scope, begins_at) DO UPDATE SET state = excluded.state, "+attempts+`, attempt = excluded.attempt,
		next_attempt = excluded.next_attempt, finished_at = excluded.finished_at, error = excluded.error`, 8, failed)
}

// recheckAt returns when a window that is done now is to be checked for late usage, zero if it isn't: some time after it was
// first collected, or collected anew. Pricing it again takes no check away.
func (c *commit) recheckAt(w *window, i int, now time.Time) time.Time {
	if c.b.Task != nil && c.b.Task.Kind == metering.Rerate {
		return w.was.Recheck.Time
	}
	if c.b.Task != nil && c.b.Task.Kind == metering.Reset {
		return time.Time{} // it is collected anew anyway
	}
	recheck := c.b.Run.Window(i).End.Add(c.b.Recheck)
	if c.b.Recheck <= 0 || !recheck.After(now) || c.b.Task != nil && c.b.Task.Kind == metering.Recheck {
		return time.Time{}
	}
	return recheck
}

// findings replaces what was noticed about the windows.
func (c *commit) findings(ctx context.Context) error {
	b := c.b
	deleted, err := c.forgetFindings(ctx)
	if err != nil {
		return err
	}
	type key struct {
		scope          int64
		window         int
		kind           metering.FindingKind
		metric, detail string
	}
	points := map[key]int{}
	for _, f := range b.Findings {
		if b.Task != nil && c.window(f.Scope.Ref, f.Window).failed != nil { // what is known of the charges that stay, stays
			continue
		}
		points[key{f.Scope.Ref, f.Window, f.Kind, f.Metric, f.Detail}] += f.Points
	}
	ordered := keys(points)
	slices.SortFunc(ordered, func(x, y key) int {
		return cmp.Or(cmp.Compare(x.scope, y.scope), x.window-y.window, strings.Compare(string(x.kind), string(y.kind)),
			strings.Compare(x.metric, y.metric), strings.Compare(x.detail, y.detail))
	})
	var values []any
	for _, k := range ordered {
		values = append(values, k.scope, at(b.Run.Window(k.window).Begin), k.kind, k.metric, k.detail, points[k])
	}
	err = c.t.insertRows(ctx, "INSERT INTO findings (scope, begins_at, kind, metric, detail, points)", "", 6, values)
	if err != nil || deleted == 0 && len(values) == 0 {
		return err
	}
	return c.findingDays(ctx)
}

// forgetFindings deletes what was noticed about the windows before: when they are only priced again, what was noticed about
// prices.
func (c *commit) forgetFindings(ctx context.Context) (deleted int64, err error) {
	b := c.b
	what, kinds := "DELETE FROM findings WHERE ", []any(nil)
	if b.Task != nil && b.Task.Kind == metering.Rerate {
		what, kinds = what+"kind IN (?, ?, ?) AND ", []any{metering.Unpriced, metering.NotNumeric, metering.RoundedToNil}
	}
	if b.Task == nil || len(b.Failed) == 0 {
		r := b.Run.Range()
		query, args := in(what+"scope IN (?) AND begins_at >= ? AND begins_at < ?", append(kinds, refs(b.Scopes), at(r.Begin), at(r.End))...)
		return c.t.exec(ctx, query, args...)
	}
	for i, scope := range b.Scopes {
		var begins []any
		for j := range b.Run.Count {
			if c.windows[i*b.Run.Count+j].failed == nil {
				begins = append(begins, at(b.Run.Window(j).Begin))
			}
		}
		if len(begins) == 0 {
			continue
		}
		query, args := in(what+"scope = ? AND begins_at IN (?)", append(slices.Clone(kinds), scope.Ref, begins)...)
		n, err := c.t.exec(ctx, query, args...)
		if deleted += n; err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// newSeries counts series that are stored for the first time, given by their usage's index, on the day of their first window.
func (c *commit) newSeries(ctx context.Context, added []int) error {
	type key struct {
		day           int64 // Unix seconds
		scope, metric int64
	}
	first := map[metering.Fingerprint]key{}
	for _, i := range added {
		u := &c.b.Usage[i]
		if len(u.Samples) == 0 {
			continue
		}
		k := key{period.Floor(c.b.Run.Window(u.Samples[0].Window).Begin, findingDay).Unix(), u.Scope.Ref, u.Metric.Ref}
		if have, ok := first[c.prints[i]]; !ok || k.day < have.day {
			first[c.prints[i]] = k
		}
	}
	series := map[key]int{}
	for _, k := range first {
		series[k]++
	}
	ordered := keys(series)
	slices.SortFunc(ordered, func(x, y key) int {
		return cmp.Or(cmp.Compare(x.day, y.day), cmp.Compare(x.scope, y.scope), cmp.Compare(x.metric, y.metric))
	})
	var values []any
	for _, k := range ordered {
		values = append(values, at(time.Unix(k.day, 0)), k.scope, k.metric, series[k])
	}
	return c.t.insertRows(ctx, "INSERT INTO new_series_days AS n (day, scope, metric, series)",
		"ON CONFLICT (day, scope, metric) DO UPDATE SET series = n.series + excluded.series", 4, values)
}
