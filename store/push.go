package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/rollup"
)

// Pushed points are charges of scopes of their own, whose source is metering.PushSource. They have no windows; what the ledger
// is for collected ones, pushed_frames is for them. A push takes its scopes' rows as a commit does, and waits for whoever
// leases them: only roll-ups that are rebuilt, and series that are dropped, do.

// Push stores the data points that a request brings, and everything that sums them, in one transaction. If the author has
// brought the same content with the same key before, nothing is stored and the answer is that of then; other content with a
// key that was used is a Conflict. Points that can't be stored, or are older than what is kept, are Invalid.
func (s *Store) Push(ctx context.Context, p *metering.Push) (done metering.Pushed, err error) {
	settings, err := s.currentSettings(ctx)
	if err != nil {
		return done, err
	}
	w := &pushing{s: s, p: p, settings: settings}
	if err := w.check(); err != nil {
		return done, err
	}
	known, err := w.before(ctx)
	if err != nil || known.Repeated {
		return known, err
	}
	if err := w.series(); err != nil {
		return done, err
	}
	if err := w.partitions(ctx); err != nil {
		return done, err
	}
	for began := time.Now(); ; {
		done, err = w.store(ctx)
		if !errors.Is(err, errScopeLeased) {
			return done, err
		}
		if time.Since(began) > pushPatience {
			return done, fault.Wrap(fault.Unavailable, err, "the roll-ups of a scope are being rebuilt; try again in a minute")
		}
		select {
		case <-ctx.Done():
			return done, ctx.Err()
		case <-time.After(pushPause):
		}
	}
}

// How long a push waits for scopes that are leased, and how often it looks.
const (
	pushPatience = 20 * time.Second
	pushPause    = 100 * time.Millisecond
)

var errScopeLeased = errors.New("store: a scope is leased")

// PushedBefore returns what a push came to that was stored earlier, if it was. It is a Conflict if its key was used for another
// request.
func (s *Store) PushedBefore(ctx context.Context, p *metering.Push) (done metering.Pushed, found bool, err error) {
	if p.Idempotency == "" {
		return done, false, nil
	}
	err = s.view(ctx, func(t *tx) (err error) {
		done, found, err = (&pushing{s: s, p: p}).repeated(ctx, t)
		return err
	})
	return done, found, err
}

// pushing is one Push.
type pushing struct {
	s        *Store
	p        *metering.Push
	settings *metering.Settings

	points      int
	amount      money.Decimal
	first, last time.Time // begins

	scopeIDs, metricNames []string // of the points, sorted: who adds the same names at once does it in the same order

	scopes  map[string]*metering.Scope
	metrics map[string]int64
	usage   []metering.Usage // of each series; without samples
	prints  []metering.Fingerprint
	charges []pushedCharge
	refs    []seriesRef // of the series, as the charges have them
	deltas  *deltas     // that they make; nil: they are to be computed

	staged []stagedCharge // what was staged of the charges; nil: nothing
}

// pushedCharge is a point, and where it is stored.
type pushedCharge struct {
	begin, period int64 // Unix seconds, seconds
	scope         int64
	usage         int // index of its series
	series        seriesRef
	seq           int
	qty, price    *money.Decimal
}

// pushedInterval is what charges of a scope are in the same of: begin is in Unix seconds, period in seconds.
type pushedInterval struct{ scope, begin, period int64 }

func (c *pushedCharge) interval() pushedInterval { return pushedInterval{c.scope, c.begin, c.period} }

// What a push may ask for.
const (
	firstPushedYear = 1970
	lastPushedYear  = 9998
	mostSeconds     = 1<<31 - 1 // that a point lasts
	mostEqual       = 1 << 15   // points of one series that begin together
	mostMonths      = 240       // in which the points of one push begin
	mostPartitions  = 1200      // of charges: PostgreSQL locks each
	deepestLiteral  = 64
)

// check makes sure that the points are what metering.Push says, and can be stored.
func (w *pushing) check() error {
	scopes, metrics := map[string]bool{}, map[string]bool{}
	var last *metering.PushedPoint
	for i := range w.p.Frames {
		f := &w.p.Frames[i]
		begin, end := f.Begin.UTC(), f.End.UTC()
		at := func() string { return fmt.Sprintf("data frame %d", i) }
		switch {
		case begin.Nanosecond() != 0 || end.Nanosecond() != 0:
			return fault.New(fault.Invalid, "%s does not begin and end with whole seconds", at())
		case begin.Year() < firstPushedYear || begin.Year() > lastPushedYear:
			return fault.New(fault.Invalid, "%s begins in the year %d; points can be of %d to %d", at(), begin.Year(), firstPushedYear, lastPushedYear)
		case !end.After(begin):
			return fault.New(fault.Invalid, "%s does not end after it begins at %s", at(), begin.Format(time.RFC3339))
		case end.Unix()-begin.Unix() > mostSeconds:
			return fault.New(fault.Invalid, "%s lasts from %s to %s; points can last 68 years at most", at(), begin.Format(time.RFC3339), end.Format(time.RFC3339))
		}
		for j := range f.Points {
			p := &f.Points[j]
			if err := checkPushed(p); err != nil {
				return fault.New(fault.Invalid, "point %d of %s, which begins at %s, can't be stored: %v", j, at(), begin.Format(time.RFC3339), err)
			}
			w.points++
			w.amount.Accumulate(&p.Price)
			if last == nil || p.Scope != last.Scope {
				scopes[p.Scope] = true
			}
			if last == nil || p.Metric != last.Metric {
				metrics[p.Metric] = true
			}
			last = p
		}
		if len(f.Points) == 0 {
			continue
		}
		if w.first.IsZero() || begin.Before(w.first) {
			w.first = begin
		}
		if w.last.IsZero() || begin.After(w.last) {
			w.last = begin
		}
	}
	w.scopeIDs, w.metricNames = slices.Sorted(maps.Keys(scopes)), slices.Sorted(maps.Keys(metrics))
	return nil
}

func checkPushed(p *metering.PushedPoint) error {
	for _, text := range [...]struct{ what, value string }{{"scope", p.Scope}, {"metric", p.Metric}, {"unit", p.Unit}} {
		if text.value == "" && text.what != "unit" {
			return fmt.Errorf("it has no %s", text.what)
		}
		if strings.IndexByte(text.value, 0) >= 0 {
			return fmt.Errorf("its %s has a NUL character", text.what)
		}
	}
	if !p.Qty.Round(money.QtyPlaces).Equal(p.Qty) || !p.Price.Round(money.PricePlaces).Equal(p.Price) {
		return fmt.Errorf("its quantity has more than %d decimals, or its price more than %d", money.QtyPlaces, money.PricePlaces)
	}
	for _, as := range [...]metering.Attributes{p.Groupby, p.Metadata} {
		for i := 1; i < len(as); i++ {
			if as[i-1].Name >= as[i].Name {
				return fmt.Errorf("its attributes are not in order, or %s is there twice", as[i].Name)
			}
		}
	}
	for i, name := range p.Literals {
		value, inGroupby := p.Groupby.Get(name)
		other, inMetadata := p.Metadata.Get(name)
		switch {
		case inGroupby && inMetadata:
			return fmt.Errorf("its attribute %s is in groupby and in metadata, and not a text; give one another name", name)
		case !inGroupby && !inMetadata, i > 0 && p.Literals[i-1] >= name:
			return fmt.Errorf("its attribute %s, which is not a text, is not there, or not in order", name)
		case !isLiteral([]byte(value + other)):
			return fmt.Errorf("its attribute %s has no value that can be kept: more than %d lists and objects in one another, or no JSON", name, deepestLiteral)
		}
	}
	return nil
}

// isLiteral reports whether a text is JSON that is no string, and not too deep for a database to read.
func isLiteral(b []byte) bool {
	depth, text := 0, false // text: inside a string
	for i := 0; i < len(b) && depth <= deepestLiteral; i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		}
	}
	return depth <= deepestLiteral && json.Valid(b) && b[0] != '"' && len(bytes.TrimSpace(b)) == len(b)
}

// before answers a repeated request, and finds or makes the scopes and metrics of others.
func (w *pushing) before(ctx context.Context) (done metering.Pushed, err error) {
	var repeated bool
	err = w.s.view(ctx, func(t *tx) error {
		if done, repeated, err = w.repeated(ctx, t); err != nil || repeated {
			return err
		}
		if err := w.kept(ctx, t); err != nil {
			return err
		}
		return w.names(ctx, t)
	})
	if err != nil || repeated {
		return done, err
	}
	var scopes, metrics []string // that are new
	for _, id := range w.scopeIDs {
		if w.scopes[id] == nil {
			scopes = append(scopes, id)
		}
	}
	for _, name := range w.metricNames {
		if w.metrics[name] == 0 {
			metrics = append(metrics, name)
		}
	}
	if len(scopes) == 0 && len(metrics) == 0 {
		return done, nil
	}
	return done, w.s.update(ctx, func(t *tx) error {
		if err := w.addNames(ctx, t, scopes, metrics); err != nil {
			return err
		}
		return w.names(ctx, t)
	})
}

// repeated reports whether the request had come before, and answers it then.
func (w *pushing) repeated(ctx context.Context, t *tx) (done metering.Pushed, repeated bool, err error) {
	if w.p.Idempotency == "" {
		return done, false, nil
	}
	var row struct {
		ID     int64
		Digest []byte
		Points int
	}
	found, err := t.get(ctx, &row, "SELECT id, digest, points FROM pushes WHERE author = ? AND idempotency = ?", w.p.Author, w.p.Idempotency)
	if err != nil || !found {
		return done, false, err
	}
	if !bytes.Equal(row.Digest, w.p.Digest[:]) {
		return done, false, fault.New(fault.Conflict, "the idempotency key %q was used for a request with other content; nothing was stored", w.p.Idempotency)
	}
	return metering.Pushed{ID: row.ID, Points: row.Points, Repeated: true}, true, nil
}

// kept makes sure that retention does not drop the points, now or the next time.
func (w *pushing) kept(ctx context.Context, t *tx) error {
	kept, err := t.retention(ctx)
	if err != nil || w.points == 0 {
		return err
	}
	from := kept.ChargesFrom
	if cut := kept.Charges.Cut(time.Now(), w.settings.Zone); cut.After(from) {
		from = cut
	}
	if w.first.Before(from) {
		return fault.New(fault.Invalid, "a point begins at %s, but charges from before %s are not kept any more; nothing was stored",
			w.first.Format(time.RFC3339), civilDay(from, w.settings.Zone))
	}
	return nil
}

// names reads the scopes and metrics that the points have.
func (w *pushing) names(ctx context.Context, t *tx) error {
	w.scopes, w.metrics = map[string]*metering.Scope{}, map[string]int64{}
	for part := range slices.Chunk(w.scopeIDs, mostScopes) {
		var rows []scopeRow
		query, args := in("SELECT "+scopeColumns+" WHERE src.name = ? AND s.scope_key = ? AND s.scope IN (?)", metering.PushSource, w.settings.ScopeKey, part)
		if err := t.list(ctx, &rows, query, args...); err != nil {
			return err
		}
		for i := range rows {
			w.scopes[rows[i].Scope] = rows[i].scope()
		}
	}
	for part := range slices.Chunk(w.metricNames, mostScopes) {
		query, args := in("SELECT id, name FROM metrics WHERE name IN (?)", part)
		err := t.each(ctx, func(rows *sqlx.Rows) error {
			var id int64
			var name string
			err := rows.Scan(&id, &name)
			w.metrics[name] = id
			return err
		}, query, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// neverPlanned is until when pushed scopes are planned: they have no windows, and never get any.
var neverPlanned = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// addNames stores scopes and metrics. Scopes are called as others with their id are.
func (w *pushing) addNames(ctx context.Context, t *tx, scopes, metrics []string) error {
	key := w.settings.ScopeKey
	_, err := t.exec(ctx, "INSERT INTO sources (name, kind, url, scope_key) VALUES (?, ?, '', ?) ON CONFLICT (name) DO NOTHING", metering.PushSource, metering.PushSource, key)
	if err != nil {
		return err
	}
	var source int64
	if _, err := t.get(ctx, &source, "SELECT id FROM sources WHERE name = ?", metering.PushSource); err != nil {
		return err
	}
	called := map[string]string{}
	for part := range slices.Chunk(scopes, mostScopes) {
		query, args := in("SELECT scope, MAX(name) FROM scopes WHERE scope IN (?) GROUP BY scope", part)
		err := t.each(ctx, func(rows *sqlx.Rows) error {
			var id, name string
			err := rows.Scan(&id, &name)
			called[id] = name
			return err
		}, query, args...)
		if err != nil {
			return err
		}
	}
	now := at(time.Now())
	var values []any
	for _, id := range scopes {
		values = append(values, source, key, id, called[id], metering.PushSource, false, now, at(neverPlanned))
	}
	err = t.insertRows(ctx, "INSERT INTO scopes (source, scope_key, scope, name, fetcher, active, found_at, planned_to)",
		"ON CONFLICT (source, scope_key, scope) DO NOTHING", 8, values)
	if err != nil {
		return err
	}
	values = nil
	for _, name := range metrics {
		values = append(values, name)
	}
	return t.insertRows(ctx, "INSERT INTO metrics (name)", "ON CONFLICT (name) DO NOTHING", 1, values)
}

// series finds out which series the points are of.
func (w *pushing) series() error {
	type name struct{ metric, unit string }
	metrics := map[name]*metering.Metric{}
	index := map[metering.Fingerprint]int{}
	w.charges = make([]pushedCharge, 0, w.points)
	for i := range w.p.Frames {
		f := &w.p.Frames[i]
		begin, seconds := f.Begin.Unix(), f.End.Unix()-f.Begin.Unix()
		for j := range f.Points {
			p := &f.Points[j]
			metric := metrics[name{p.Metric, p.Unit}]
			if metric == nil {
				metric = &metering.Metric{Ref: w.metrics[p.Metric], Name: p.Metric, Unit: p.Unit}
				metrics[name{p.Metric, p.Unit}] = metric
			}
			scope := w.scopes[p.Scope]
			if scope == nil || metric.Ref == 0 {
				return fault.New(fault.Internal, "the scope %q or the metric %q of a pushed point is not stored", p.Scope, p.Metric)
			}
			series := metering.Series{Scope: scope, Metric: metric, Groupby: p.Groupby, Metadata: p.Metadata, Literals: p.Literals}
			print := series.Fingerprint()
			n, ok := index[print]
			if !ok {
				n = len(w.usage)
				index[print] = n
				w.usage, w.prints = append(w.usage, metering.Usage{Series: series}), append(w.prints, print)
			}
			w.charges = append(w.charges, pushedCharge{begin: begin, period: seconds, scope: scope.Ref, usage: n, qty: &p.Qty, price: &p.Price})
		}
	}
	return nil
}

// partitions makes those of the months that the points begin in.
func (w *pushing) partitions(ctx context.Context) error {
	months := map[int64]bool{}
	var last partition
	for i := range w.charges {
		if t := time.Unix(w.charges[i].begin, 0); t.Before(last.begin) || !t.Before(last.end) {
			last = partitionOf(t)
			months[last.begin.Unix()] = true
		}
	}
	if len(months) > mostMonths {
		return fault.New(fault.Invalid, "the points begin in %d different months; push those of at most %d at once", len(months), mostMonths)
	}
	if w.s.d != &postgresDialect {
		return nil
	}
	ordered := keys(months)
	slices.Sort(ordered)
	for _, month := range ordered {
		var full bool
		const query = "SELECT to_regclass($1) IS NULL AND (SELECT COUNT(*) FROM pg_inherits WHERE inhparent = CAST('charges' AS regclass)) >= $2"
		t := time.Unix(month, 0)
		if err := w.s.db.GetContext(ctx, &full, query, partitionOf(t).table, mostPartitions); err != nil {
			return unavailable(err)
		}
		if full {
			return fault.New(fault.Invalid, "a point begins in %s, but there are charges of %d other months already, and there can't be more", t.UTC().Format("January 2006"), mostPartitions)
		}
		if err := w.s.ensurePartitions(ctx, t, t); err != nil {
			return err
		}
	}
	return nil
}

// store is the transaction, or errScopeLeased.
func (w *pushing) store(ctx context.Context) (done metering.Pushed, err error) {
	if w.s.d.oneWriter && w.points > stagedFrom {
		return w.storeStaged(ctx)
	}
	var fresh map[metering.Fingerprint]seriesRef
	err = w.s.update(ctx, func(t *tx) (err error) {
		done, fresh, err = w.transact(ctx, t)
		return err
	})
	if err == nil {
		w.s.remember(fresh)
	}
	return done, err
}

// transact does all there is to do in the transaction.
func (w *pushing) transact(ctx context.Context, t *tx) (done metering.Pushed, fresh map[metering.Fingerprint]seriesRef, err error) {
	// retention's marks and the billing zone stay as they are until the transaction ends
	var zone string
	if _, err := t.get(ctx, &zone, "SELECT value FROM settings WHERE name = ? "+t.d.forShare, settingTimezone); err != nil {
		return done, nil, err
	}
	if err := t.checkZone(ctx, w.settings.Zone); err != nil {
		return done, nil, err
	}
	if err := w.kept(ctx, t); err != nil {
		return done, nil, err
	}
	done, repeated, err := w.request(ctx, t)
	if err != nil || repeated || w.points == 0 {
		return done, nil, err
	}
	if err := w.hold(ctx, t); err != nil {
		return done, nil, err
	}
	fresh, err = w.charge(ctx, t, done.ID)
	return done, fresh, err
}

// request stores the request, or answers it if it had come before.
func (w *pushing) request(ctx context.Context, t *tx) (done metering.Pushed, repeated bool, err error) {
	p := w.p
	var idempotency, rules any
	if p.Idempotency != "" {
		idempotency = p.Idempotency
	}
	if p.Rules != 0 {
		rules = p.Rules
	}
	done.Points = w.points
	added, err := t.get(ctx, &done.ID, `INSERT INTO pushes (at, author, idempotency, digest, frames, points, amount, rules_version, first_at, last_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (author, idempotency) DO NOTHING RETURNING id`,
		at(time.Now()), p.Author, idempotency, p.Digest[:], len(p.Frames), w.points, w.amount.String(), rules, at(w.first), at(w.last))
	if err != nil || added {
		return done, false, err
	}
	return w.repeated(ctx, t)
}

// hold takes the scopes' rows until the transaction ends.
func (w *pushing) hold(ctx context.Context, t *tx) error {
	var ids []int64
	for _, scope := range w.scopes {
		ids = append(ids, scope.Ref)
	}
	slices.Sort(ids)
	now := time.Now()
	for part := range slices.Chunk(ids, mostScopes) {
		var held []struct {
			ID    int64
			Until timestamp `db:"lease_until"`
		}
		query, args := in("SELECT id, lease_until FROM scopes WHERE id IN (?) ORDER BY id "+t.d.forUpdate, part)
		if err := t.list(ctx, &held, query, args...); err != nil {
			return err
		}
		if len(held) < len(part) {
			return fault.New(fault.Conflict, "%d scopes of pushed points are gone; nothing was stored, try again", len(part)-len(held))
		}
		for _, h := range held {
			if h.Until.After(now) {
				return errScopeLeased
			}
		}
		if err := t.revise(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// charge stores the series, the charges, and what sums them.
func (w *pushing) charge(ctx context.Context, t *tx, push int64) (fresh map[metering.Fingerprint]seriesRef, err error) {
	if err := w.s.forgetDeleted(ctx, t); err != nil {
		return nil, err
	}
	refs, fresh, added, err := w.s.seriesRefs(ctx, t, w.usage, w.prints)
	if err != nil {
		return nil, err
	}
	w.place(refs)
	if err := w.number(ctx, t, added); err != nil {
		return nil, err
	}
	summed := make(chan *deltas, 1)
	if d := w.deltas; d != nil {
		w.deltas = nil // they can be applied once
		summed <- d
	} else {
		go func() { summed <- w.sums() }() // while the database works
	}
	if w.staged != nil && slices.EqualFunc(w.staged, w.charges, func(a stagedCharge, b pushedCharge) bool { return a == stagedCharge{b.series.id, b.seq} }) {
		err = loadStaged(ctx, t, push)
	} else {
		err = t.d.loadPushed(ctx, t, push, w.charges)
	}
	d := <-summed // also if there is an error: then nothing goes on any more
	if err != nil {
		return nil, err
	}
	if err := d.apply(ctx, t); err != nil {
		return nil, err
	}
	return fresh, w.frames(ctx, t)
}

// place notes where the series are stored, and sorts the charges by their key; equal points stay as they came.
func (w *pushing) place(refs []seriesRef) {
	if slices.Equal(refs, w.refs) {
		return
	}
	w.refs, w.deltas = refs, nil
	for i := range w.charges {
		w.charges[i].series = refs[w.charges[i].usage]
	}
	slices.SortStableFunc(w.charges, func(a, b pushedCharge) int {
		return cmp.Or(cmp.Compare(a.scope, b.scope), cmp.Compare(a.begin, b.begin), cmp.Compare(a.series.id, b.series.id))
	})
}

// number gives the charges their seq: they follow those that are stored of their series and begin.
func (w *pushing) number(ctx context.Context, t *tx, added []int) error {
	type key struct{ scope, begin, series int64 }
	isNew := make([]bool, len(w.usage))
	for _, i := range added {
		isNew[i] = true
	}
	// which scopes may have charges at which begins; most often the same for all
	begins := map[int64][]int64{}
	for i := range w.charges {
		c := &w.charges[i]
		if isNew[c.usage] {
			continue
		}
		if at := begins[c.scope]; len(at) == 0 || at[len(at)-1] != c.begin { // they are sorted
			begins[c.scope] = append(at, c.begin)
		}
	}
	alike := map[string][]int64{} // scopes, by begins
	for scope, at := range begins {
		text := fmt.Sprint(at)
		alike[text] = append(alike[text], scope)
	}
	stored := map[key]int{}
	for _, scopes := range alike {
		if err := t.numbered(ctx, scopes, begins[scopes[0]], func(scope, begin, series int64, last int) { stored[key{scope, begin, series}] = last + 1 }); err != nil {
			return err
		}
	}
	for i := range w.charges {
		c := &w.charges[i]
		c.seq = 0
		if i > 0 {
			if before := &w.charges[i-1]; before.scope == c.scope && before.begin == c.begin && before.series.id == c.series.id {
				c.seq = before.seq + 1
			}
		}
		if c.seq == 0 && len(stored) > 0 {
			c.seq = stored[key{c.scope, c.begin, c.series.id}]
		}
		if c.seq >= mostEqual {
			return fault.New(fault.Invalid, "more than %d equal points of scope %q, metric %q begin at %s; nothing was stored", mostEqual,
				w.usage[c.usage].Scope.ID, w.usage[c.usage].Metric.Name, time.Unix(c.begin, 0).UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// numbered calls fn with the last seq of each series that scopes are charged for at some times, which are sorted.
func (t *tx) numbered(ctx context.Context, scopes, begins []int64, fn func(scope, begin, series int64, last int)) error {
	const most = 500
	for len(begins) > 0 {
		p := partitionOf(time.Unix(begins[0], 0))
		table, n := "charges", min(len(begins), most)
		if t.d == &postgresDialect {
			table = p.table
			n, _ = slices.BinarySearch(begins[:n], p.end.Unix())
		}
		times := make([]any, n)
		for i, b := range begins[:n] {
			times[i] = at(time.Unix(b, 0))
		}
		begins = begins[n:]
		for part := range slices.Chunk(scopes, most) {
			query, args := in("SELECT scope, begins_at, series, MAX(seq) FROM "+table+
				" WHERE scope IN (?) AND begins_at IN (?) GROUP BY scope, begins_at, series", part, times)
			err := t.each(ctx, func(rows *sqlx.Rows) error {
				var scope, series int64
				var begin timestamp
				var last int
				if err := rows.Scan(&scope, &begin, &series, &last); err != nil {
					return fmt.Errorf("store: charges: %w", err)
				}
				fn(scope, begin.Unix(), series, last)
				return nil
			}, query, args...)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// sums counts the charges into the roll-ups.
func (w *pushing) sums() *deltas {
	type key struct {
		usage int
		day   civil
	}
	type date struct{ day, month civil }
	dates := map[int64]date{}
	sums := map[key]*rollup.Sums{}
	d := newDeltas()
	windows := map[pushedInterval]*rollup.Sums{}
	var last pushedInterval
	var window *rollup.Sums // of the last one
	for i := range w.charges {
		c := &w.charges[i]
		at, ok := dates[c.begin]
		if !ok {
			begin := time.Unix(c.begin, 0).UTC()
			at = date{civilDay(begin, w.settings.Zone), civilMonth(begin, w.settings.Zone)}
			dates[c.begin] = at
		}
		k := key{c.usage, at.day}
		have := sums[k]
		if have == nil {
			have = &rollup.Sums{}
			sums[k] = have
		}
		one := rollup.Sums{Points: 1, Qty: *c.qty, Price: *c.price}
		have.Add(&one)
		if of := c.interval(); window == nil || of != last { // charges are sorted
			if last, window = of, windows[of]; window == nil {
				window = &rollup.Sums{}
				windows[of] = window
			}
		}
		window.Add(&one)
	}
	for of, sums := range windows {
		day := dates[of.begin].day
		d.addWindow(of.scope, day, day.begin(w.settings.Zone), time.Unix(of.begin, 0), of.period, sums)
	}
	for i := range w.charges {
		c := &w.charges[i]
		at := dates[c.begin]
		k := key{c.usage, at.day}
		if s := sums[k]; s != nil {
			metric := w.usage[c.usage].Metric
			d.add(owner{c.scope, metric.Ref, metric.Unit}, c.series, at.day, at.month, *s)
			delete(sums, k)
		}
	}
	return d
}

// frames counts the charges of each interval.
func (w *pushing) frames(ctx context.Context, t *tx) error {
	points := map[pushedInterval]int{}
	for i := range w.charges {
		points[w.charges[i].interval()]++
	}
	ordered := keys(points)
	slices.SortFunc(ordered, func(a, b pushedInterval) int {
		return cmp.Or(cmp.Compare(a.scope, b.scope), cmp.Compare(a.begin, b.begin), cmp.Compare(a.period, b.period))
	})
	values := make([]any, 0, 4*len(ordered))
	for _, i := range ordered {
		values = append(values, i.scope, at(time.Unix(i.begin, 0)), i.period, points[i])
	}
	return t.insertRows(ctx, "INSERT INTO pushed_frames AS f (scope, begins_at, period, points)",
		"ON CONFLICT (scope, begins_at, period) DO UPDATE SET points = f.points + excluded.points", 4, values)
}

// Pushes lists the requests that brought data points, newest first, and returns how many there are.
func (s *Store) Pushes(ctx context.Context, limit, offset int) (requests []metering.PushRequest, total int, err error) {
	var rows []struct {
		ID          int64
		At          timestamp
		Author      string
		Idempotency *string
		Frames      int
		Points      int
		Amount      money.Decimal
		Rules       *int64    `db:"rules_version"`
		First       timestamp `db:"first_at"`
		Last        timestamp `db:"last_at"`
	}
	err = s.view(ctx, func(t *tx) error {
		if _, err := t.get(ctx, &total, "SELECT COUNT(*) FROM pushes"); err != nil {
			return err
		}
		return t.list(ctx, &rows, `SELECT id, at, author, idempotency, frames, points, amount, rules_version, first_at, last_at
			FROM pushes ORDER BY id DESC LIMIT ? OFFSET ?`, limit, offset)
	})
	for i := range rows {
		r := &rows[i]
		q := metering.PushRequest{ID: r.ID, At: r.At.Time, Author: r.Author, Frames: r.Frames, Points: r.Points, Amount: r.Amount, First: r.First.Time, Last: r.Last.Time}
		if r.Idempotency != nil {
			q.Idempotency = *r.Idempotency
		}
		if r.Rules != nil {
			q.Rules = *r.Rules
		}
		requests = append(requests, q)
	}
	return requests, total, err
}
