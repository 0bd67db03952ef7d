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
// Conflict if the worker's lease on one of the scopes was lost. A window that has charges already gets the new ones
// instead, and the old ones stay readable as superseded.
func (s *Store) Commit(ctx context.Context, b *metering.Batch) error {
	if err := checkBatch(b); err != nil {
		return err
	}
	if b.Points() > s.d.commitPoints {
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
	prints := make([]metering.Fingerprint, len(b.Usage)) // outside the transaction, which others wait for
	for i := range b.Usage {
		prints[i] = b.Usage[i].Fingerprint()
	}
	var fresh map[metering.Fingerprint]seriesRef
	err = s.update(ctx, func(t *tx) (err error) {
		c := &commit{s: s, t: t, b: b, prints: prints, run: newRunDays(b.Run, settings.Zone), deltas: newDeltas(), zone: settings.Zone}
		fresh, err = c.store(ctx)
		return err
	})
	if err == nil {
		s.remember(fresh)
	}
	return err
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
	for i := range b.Usage {
		ok = ok && own[b.Usage[i].Scope]
		last := -1
		for j := range b.Usage[i].Samples {
			w := b.Usage[i].Samples[j].Window
			ok = ok && inRun(w) && w > last
			last = w
		}
	}
	for _, f := range b.Failed {
		ok = ok && own[f.Scope] && inRun(f.Window)
	}
	for _, f := range b.Findings {
		ok = ok && own[f.Scope] && inRun(f.Window)
	}
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
	run    runDays
	deltas *deltas
	zone   *time.Location

	windows  []window // by scope and index in the run
	scopeAt  map[int64]int
	replaced bool
}

// window sums up what is committed for one window.
type window struct {
	failed   *metering.Outcome
	points   int
	unpriced int
	amount   money.Decimal
	replace  bool // it has charges
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
	if c.replaced {
		if err := c.supersede(ctx); err != nil {
			return nil, err
		}
	}
	refs, fresh, err := c.s.seriesRefs(ctx, c.t, b.Usage, c.prints)
	if err != nil {
		return nil, err
	}
	if err := c.charge(ctx, refs); err != nil {
		return nil, err
	}
	if err := c.deltas.apply(ctx, c.t); err != nil {
		return nil, err
	}
	if err := c.firstSamples(ctx); err != nil {
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

// look reads the ledger's rows of all windows of the batch.
func (c *commit) look(ctx context.Context) error {
	r := c.b.Run.Range()
	seen := 0
	query, args := in("SELECT scope, begins_at, period, state, points FROM windows WHERE scope IN (?) AND begins_at >= ? AND begins_at < ?", refs(c.b.Scopes), at(r.Begin), at(r.End))
	err := c.t.each(ctx, func(rows *sqlx.Rows) error {
		var (
			scope   int64
			begin   timestamp
			seconds int64
			state   metering.State
			points  int
		)
		if err := rows.Scan(&scope, &begin, &seconds, &state, &points); err != nil {
			return fmt.Errorf("store: ledger: %w", err)
		}
		offset := begin.Sub(r.Begin)
		if offset%c.b.Run.Length != 0 || seconds != int64(c.b.Run.Length/time.Second) || state == metering.Waived {
			return fault.New(fault.Conflict, "the window of scope %d at %s has changed in the ledger; nothing was stored", scope, begin.Format(time.RFC3339))
		}
		seen++
		if w := c.window(scope, int(offset/c.b.Run.Length)); points > 0 && w.failed == nil {
			w.replace, c.replaced = true, true
		}
		return nil
	}, query, args...)
	if err == nil && seen != len(c.windows) {
		err = fault.New(fault.Conflict, "the ledger has %d of the %d windows; nothing was stored", seen, len(c.windows))
	}
	return err
}

// supersede moves the charges of windows that are committed again out of the way, and out of the sums.
func (c *commit) supersede(ctx context.Context) error {
	now := at(time.Now())
	for _, scope := range c.b.Scopes {
		for i := range c.b.Run.Count {
			if !c.window(scope.Ref, i).replace {
				continue
			}
			begin := at(c.b.Run.Window(i).Begin)
			err := c.t.each(ctx, func(rows *sqlx.Rows) error {
				var (
					metric     int64
					unit       string
					ref        seriesRef
					qty, price money.Decimal
				)
				if err := rows.Scan(&metric, &unit, &ref.id, &ref.slot, &qty, &price); err != nil {
					return fmt.Errorf("store: charges: %w", err)
				}
				c.deltas.add(owner{scope.Ref, metric, unit}, ref, c.run.days[i], c.run.months[i], rollup.Sums{Points: -1, Qty: qty.Neg(), Price: price.Neg()})
				return nil
			}, `SELECT s.metric, s.unit, s.id, s.slot, c.qty, c.price FROM charges c JOIN series s ON s.id = c.series
				WHERE c.scope = ? AND c.begins_at = ?`, scope.Ref, begin)
			if err != nil {
				return err
			}
			_, err = c.t.exec(ctx, `INSERT INTO superseded_charges
					(scope, begins_at, period, series, seq, qty, price, config_version, rules_version, superseded_at)
				SELECT c.scope, c.begins_at, c.period, c.series, c.seq, c.qty, c.price, w.config_version, w.rules_version, `+c.t.d.bindTime+`
				FROM charges c JOIN windows w ON w.scope = c.scope AND w.begins_at = c.begins_at
				WHERE c.scope = ? AND c.begins_at = ?`, now, scope.Ref, begin)
			if err != nil {
				return err
			}
			if _, err := c.t.exec(ctx, "DELETE FROM charges WHERE scope = ? AND begins_at = ?", scope.Ref, begin); err != nil {
				return err
			}
		}
	}
	return nil
}

// charge loads the charges and counts them into the windows and the sums. It loads them in the order of their key, which
// keeps both databases from searching their place one by one, and a partition at a time.
func (c *commit) charge(ctx context.Context, refs []seriesRef) error {
	b := c.b
	if len(b.Usage) == 0 { // there may be no partition
		return nil
	}
	seconds := int64(b.Run.Length / time.Second)
	seq := c.repeats(refs)
	scopes := c.byScope(refs)
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
					w.amount.Accumulate(&sample.Price)
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

// byScope returns the indices of the usages of each scope of the batch, ordered by series.
func (c *commit) byScope(refs []seriesRef) [][]int {
	all := make([][]int, len(c.b.Scopes))
	for i := range c.b.Usage {
		s := c.scopeAt[c.b.Usage[i].Scope.Ref]
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
func (c *commit) repeats(refs []seriesRef) []int {
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
	seconds := int64(b.Run.Length / time.Second)
	var stored, failed []any
	for i, scope := range b.Scopes {
		for j := range b.Run.Count {
			w := &c.windows[i*b.Run.Count+j]
			begin := at(b.Run.Window(j).Begin)
			if w.failed != nil {
				failed = append(failed, scope.Ref, begin, seconds, metering.Failed, at(w.failed.Retry), b.Token, at(now), w.failed.Error)
				continue
			}
			state := metering.Done
			if w.points == 0 {
				state = metering.Empty
			}
			stored = append(stored, scope.Ref, begin, seconds, state, at(now), b.Token, w.points, w.unpriced, w.amount.String(),
				b.ConfigVersion, b.RulesVersion, source, b.Took.Milliseconds(), at(now))
		}
	}
	// every row exists, see look: the insert is a bulk update that both databases know
	err = c.t.insertRows(ctx, `INSERT INTO windows (scope, begins_at, period, state, next_attempt, attempt, points, unpriced, amount,
		config_version, rules_version, source_version, took_ms, finished_at)`,
		`ON CONFLICT (scope, begins_at) DO UPDATE SET state = excluded.state, attempts = windows.attempts + 1, attempt = excluded.attempt,
		points = excluded.points, unpriced = excluded.unpriced, amount = excluded.amount, config_version = excluded.config_version,
		rules_version = excluded.rules_version, source_version = excluded.source_version, took_ms = excluded.took_ms,
		finished_at = excluded.finished_at, error = NULL`, 14, stored)
	if err != nil {
		return err
	}
	return c.t.insertRows(ctx, "INSERT INTO windows (scope, begins_at, period, state, next_attempt, attempt, finished_at, error)",
		`ON CONFLICT (scope, begins_at) DO UPDATE SET state = excluded.state, attempts = windows.attempts + 1, attempt = excluded.attempt,
		next_attempt = excluded.next_attempt, finished_at = excluded.finished_at, error = excluded.error`, 8, failed)
}

// findings replaces what was noticed about the windows.
func (c *commit) findings(ctx context.Context) error {
	b := c.b
	r := b.Run.Range()
	query, args := in("DELETE FROM findings WHERE scope IN (?) AND begins_at >= ? AND begins_at < ?", refs(b.Scopes), at(r.Begin), at(r.End))
	deleted, err := c.t.exec(ctx, query, args...)
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
	return c.unpricedDays(ctx)
}

// unpricedDays sums what was not priced on the batch's days anew, for its scopes.
func (c *commit) unpricedDays(ctx context.Context) error {
	r := c.b.Run.Range()
	for day := period.Floor(r.Begin, findingDay); day.Before(r.End); day = day.Add(findingDay) {
		query, args := in("DELETE FROM unpriced_days WHERE day = ? AND scope IN (?)", at(day), refs(c.b.Scopes))
		if _, err := c.t.exec(ctx, query, args...); err != nil {
			return err
		}
		query, args = in(`INSERT INTO unpriced_days (day, scope, metric, points, first_at, last_at)
			SELECT `+c.t.d.bindTime+`, scope, metric, SUM(points), MIN(begins_at), MAX(begins_at) FROM findings
			WHERE scope IN (?) AND begins_at >= ? AND begins_at < ? AND kind = ? GROUP BY scope, metric`,
			at(day), refs(c.b.Scopes), at(day), at(day.Add(findingDay)), metering.Unpriced)
		if _, err := c.t.exec(ctx, query, args...); err != nil {
			return err
		}
	}
	return nil
}

// findingDay is what findings are summed by; UTC days don't depend on the billing zone.
const findingDay = 24 * time.Hour

// Finding is something that was noticed about usage, summed over windows.
type Finding struct {
	Kind    metering.FindingKind
	Metric  string
	Detail  string
	Windows int
	Points  int
}

// Findings sums up what was noticed in the windows that begin in a range, the most points first.
func (s *Store) Findings(ctx context.Context, r period.Range) (all []Finding, err error) {
	err = s.view(ctx, func(t *tx) error {
		return t.list(ctx, &all, `SELECT kind, metric, detail, COUNT(*) AS windows, SUM(points) AS points FROM findings
			WHERE begins_at >= ? AND begins_at < ? GROUP BY kind, metric, detail ORDER BY points DESC, kind, metric, detail`, at(r.Begin), at(r.End))
	})
	return all, err
}
