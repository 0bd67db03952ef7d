package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/costs"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
)

// mostFrames is more frames than there can be.
const mostFrames = 1 << 40

// Frames calls yield with each frame of rated data points that a query asks for, in order, all read from one state of the
// database, and returns how many points match in the whole range, whatever the page. Points from before a time that charges
// are kept from are Invalid, and the error says what can be asked instead.
//
// Which frames there are the ledgers say, of windows and of pushed points, as long as filters are on scopes only. Other
// filters need a look at the charges of each frame, also of those that the page leaves out.
func (s *Store) Frames(ctx context.Context, q *costs.FrameQuery, yield func(*costs.Frame) error) (points int64, err error) {
	asked := &costs.Query{Range: q.Range, Filters: q.Filters}
	if err := asked.Validate(); err != nil {
		return 0, err
	}
	if q.Offset < 0 || q.Limit < 0 {
		return 0, fault.New(fault.Invalid, "offset and limit can't be negative")
	}
	page := *q
	page.Offset, page.Limit = min(q.Offset, mostFrames), min(q.Limit, mostFrames) // their sum is a number, too
	q = &page
	settings, err := s.currentSettings(ctx)
	if err != nil {
		return 0, err
	}
	err = s.viewCharges(ctx, func(t *tx) error {
		if err := t.checkZone(ctx, settings.Zone); err != nil {
			return err
		}
		kept, err := t.retention(ctx)
		if err != nil {
			return err
		}
		if q.Range.Begin.Before(kept.ChargesFrom) {
			return fault.New(fault.Invalid, "charges from before %s are not kept any more; ask for data frames from then on", civilDay(kept.ChargesFrom, settings.Zone))
		}
		f := &frames{s: s, t: t, q: q, zone: settings.Zone, yield: yield, skip: q.Offset, left: q.Limit, all: q.Limit == 0, span: time.Hour}
		if err := f.names(ctx, asked); err != nil || f.r.none {
			return err
		}
		if f.match != nil {
			if err := f.count(ctx); err != nil || f.total == 0 {
				return err
			}
		}
		if windows := time.Duration(min(q.Limit/max(len(f.r.refs), 1)+1, 10_000)); windows > 1 { // as many as the page may well have
			f.span = min(windows*settings.Period, longestSpan)
		}
		defer func() { points = f.total }()
		if f.match != nil {
			return f.walkCharges(ctx)
		}
		return f.walkLedger(ctx)
	})
	return points, err
}

// frames is one Frames.
type frames struct {
	s     *Store
	t     *tx
	r     *report // what it knows of scopes and metrics
	q     *costs.FrameQuery
	zone  *time.Location
	yield func(*costs.Frame) error

	match *costs.Matcher // nil: filters are on scopes only
	total int64          // points that match
	seen  int64          // of these, in frames so far

	skip, left int
	all        bool          // left does not count
	span       time.Duration // that is looked at next

	called   map[int64]*calledSeries
	nameless []int64       // series in called of which is to be read what they are called
	texts    []byte        // room for texts of series
	points   []framedPoint // room for points

	frame costs.Frame // that is yielded
	mine  []framedPoint
	buf   []byte // texts of it
}

// calledSeries is what the points of a series have in common.
type calledSeries struct {
	metric, unit string
	groupby      []byte   // members of a JSON object
	metadata     []byte   // a JSON object
	taken        []string // names in groupby that would be added otherwise
	labels       *costs.Labels
	match        int8 // 1 they match, -1 they don't, 0 that depends on their begin
}

// interval is what makes a frame: the points of one scope's id that have the same begin and period.
type interval struct {
	begin, period int64
	scope         string
}

func (a interval) compare(b interval) int {
	return cmp.Or(cmp.Compare(a.begin, b.begin), strings.Compare(a.scope, b.scope), cmp.Compare(a.period, b.period))
}

// framed are the points of an interval that are stored for one of the scopes of that id.
type framed struct {
	interval
	ref    int64
	points int64
	stored []framedPoint // as they are stored, once they are read
}

// names finds the scopes that may have points.
func (f *frames) names(ctx context.Context, asked *costs.Query) error {
	asked.Groups = []string{costs.Scope}
	f.r = &report{s: f.s, t: f.t, q: asked, zone: f.zone}
	key := ""
	if settings, err := f.s.currentSettings(ctx); err == nil {
		key = settings.ScopeKey
	}
	for _, filter := range asked.Filters {
		f.r.byScopeKey = f.r.byScopeKey || strings.TrimPrefix(filter.Key, costs.AttributePrefix) == key
		if filter.Key != costs.Scope && filter.Key != costs.ScopeName {
			f.match = costs.NewMatcher(asked.Filters, f.zone)
		}
	}
	return f.r.names(ctx)
}

// count finds out how many points match, and leaves out the scopes of which none does.
func (f *frames) count(ctx context.Context) error {
	matching := map[string]bool{}
	f.r.g = costs.NewGrouper(f.r.q, f.zone, func(row costs.Row) error {
		f.total += row.Points
		matching[row.Groups[0]] = true
		return nil
	})
	for _, segment := range f.r.q.Segments(f.zone) {
		var err error
		switch {
		case segment.Level == costs.Charges && f.match == nil:
			err = f.countLedger(ctx, segment.Range)
		case segment.Level == costs.Charges:
			err = f.r.charges(ctx, segment.Range)
		case segment.PerSeries:
			err = f.r.packs(ctx, segment)
		default:
			err = f.r.sums(ctx, segment)
		}
		if err != nil {
			return err
		}
	}
	if _, err := f.r.g.Close(); err != nil {
		return err
	}
	if f.match != nil {
		f.r.refs = slices.DeleteFunc(f.r.refs, func(ref int64) bool { return !matching[f.r.scopes[ref].ID] })
	}
	return nil
}

// ledger is where it stands which intervals some scopes have points of.
type ledger struct {
	rows string // its table, and a condition
	refs []int64
}

// ledgers returns those of some scopes, the most of a query together: of windows that have charges, and of pushed points.
func (f *frames) ledgers(refs []int64) (all []ledger) {
	var collected, pushed []int64
	for _, ref := range refs {
		if f.r.scopes[ref].Source.Name == metering.PushSource {
			pushed = append(pushed, ref)
		} else {
			collected = append(collected, ref)
		}
	}
	for part := range slices.Chunk(collected, mostScopes) {
		all = append(all, ledger{"windows WHERE state = 2 AND points > 0", part})
	}
	for part := range slices.Chunk(pushed, mostScopes) {
		all = append(all, ledger{"pushed_frames WHERE points > 0", part})
	}
	return all
}

// countLedger counts the points of a range.
func (f *frames) countLedger(ctx context.Context, r period.Range) error {
	for _, l := range f.ledgers(f.r.refs) {
		var n int64
		query, args := in("SELECT COALESCE(SUM(points), 0) FROM "+l.rows+" AND scope IN (?) AND begins_at >= ? AND begins_at < ?", l.refs, at(r.Begin), at(r.End))
		if _, err := f.t.get(ctx, &n, query, args...); err != nil {
			return err
		}
		f.total += n
	}
	return nil
}

// more reports whether frames are still wanted.
func (f *frames) more() bool { return f.all || f.left > 0 }

// How many frames, and how many of their points, are read at a time, about.
const (
	framesAtOnce      = 10_000
	framePointsAtOnce = 50_000
)

// longestSpan is the longest time that is looked at at once.
const longestSpan = 10 * 366 * 24 * time.Hour

// walkLedger yields the frames that the ledgers have, and counts all points. While some are yielded, the next are read.
func (f *frames) walkLedger(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	parts := make(chan []framed)
	ended := make(chan error, 1)
	go func() {
		defer close(parts)
		ended <- f.readLedger(ctx, func(part []framed) error {
			select {
			case parts <- part:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	var err error
	for part := range parts {
		if err == nil {
			err = f.give(part)
		}
		if err != nil {
			stop()
		}
	}
	return cmp.Or(err, <-ended)
}

// readLedger calls fn with the frames of the page and their charges, some at a time, and counts the points of all.
func (f *frames) readLedger(ctx context.Context, fn func([]framed) error) error {
	from, end := f.q.Range.Begin, f.q.Range.End
	if f.skip > 0 {
		var err error
		if from, err = f.skipTo(ctx); err != nil {
			return err
		}
	}
	left := f.left
	for from.Before(end) && (f.all || left > 0) {
		to := f.to(from)
		found, err := f.listed(ctx, period.Range{Begin: from, End: to})
		if err != nil {
			return err
		}
		if len(found) == 0 {
			if to, err = f.jump(ctx, to); err != nil {
				return err
			}
		}
		if from = to; len(found) < framesAtOnce/2 {
			f.span = min(2*f.span, longestSpan)
		} else if len(found) > 2*framesAtOnce {
			f.span = max(f.span/2, time.Minute)
		}
		for f.skip > 0 && len(found) > 0 {
			found = found[sameFrame(found):]
			f.skip--
		}
		for len(found) > 0 && (f.all || left > 0) {
			n := 0
			for points := int64(0); n < len(found) && points < framePointsAtOnce && (f.all || left > 0); left-- {
				same := sameFrame(found[n:])
				for _, one := range found[n : n+same] {
					points += one.points
				}
				n += same
			}
			if err := f.readListed(ctx, found[:n]); err != nil {
				return err
			}
			if err := fn(found[:n]); err != nil {
				return err
			}
			found = found[n:]
		}
	}
	return f.count(ctx)
}

// sameFrame returns how many at the beginning are of one frame.
func sameFrame(all []framed) int {
	n := 1
	for n < len(all) && all[n].interval == all[0].interval {
		n++
	}
	return n
}

// walkCharges yields the frames that have charges that match.
func (f *frames) walkCharges(ctx context.Context) error {
	const few, many = 15_000, 120_000 // points
	for from := f.q.Range.Begin; from.Before(f.q.Range.End) && f.more() && f.seen < f.total; {
		to := f.to(from)
		var found []framed
		size := 0
		err := f.read(ctx, f.r.refs, from.Unix(), to.Unix()-1, func(one framed) {
			one.scope = f.r.scopes[one.ref].ID
			found = append(found, one)
			size += len(one.stored)
		})
		if err != nil {
			return err
		}
		if len(found) == 0 {
			if to, err = f.jump(ctx, to); err != nil {
				return err
			}
		}
		if from = to; size < few {
			f.span = min(2*f.span, longestSpan)
		} else if size > many {
			f.span = max(f.span/2, time.Minute)
		}
		sortFramed(found)
		if err := f.give(found); err != nil {
			return err
		}
	}
	return nil
}

// to returns until when to look from a time on.
func (f *frames) to(from time.Time) time.Time {
	if rest := f.q.Range.End.Sub(from); f.span >= rest { // a range of centuries saturates
		return f.q.Range.End
	}
	return from.Add(f.span)
}

// jump returns when there may be charges again, from a time on.
func (f *frames) jump(ctx context.Context, from time.Time) (time.Time, error) {
	if !from.Before(f.q.Range.End) || len(f.r.refs) == 0 {
		return f.q.Range.End, nil
	}
	day, points, err := f.r.charged(ctx, from, f.q.Range.End)
	if err != nil || points == 0 {
		return f.q.Range.End, err
	}
	if begin := day.begin(f.zone); begin.After(from) {
		return begin, nil
	}
	return from, nil
}

// listed returns what the ledgers have of a range, in the order of frames.
func (f *frames) listed(ctx context.Context, r period.Range) (found []framed, err error) {
	for _, l := range f.ledgers(f.r.refs) {
		err := f.t.each(ctx, func(rows *sqlx.Rows) error {
			var begin timestamp
			var text sql.RawBytes
			if err := rows.Scan(&begin, &text); err != nil {
				return fmt.Errorf("store: ledger: %w", err)
			}
			t := sumText{rest: text}
			for len(t.rest) > 0 && t.err == nil {
				one := framed{ref: t.integer(), points: t.integer()}
				one.begin, one.period, one.scope = begin.Unix(), t.integer(), f.r.scopes[one.ref].ID
				found = append(found, one)
			}
			return t.err
		}, "SELECT begins_at, string_agg(concat_ws(' ', scope, points, period, ''), '') FROM "+l.rows+
			" AND scope IN "+idList(l.refs)+" AND begins_at >= ? AND begins_at < ? GROUP BY begins_at", at(r.Begin), at(r.End))
		if err != nil {
			return nil, err
		}
	}
	sortFramed(found)
	return found, nil
}

// idList writes ids as a list of SQL, which takes a server less time than a parameter for each.
func idList(ids []int64) string {
	b := []byte{'('}
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, id, 10)
	}
	return string(append(b, ')'))
}

func sortFramed(all []framed) {
	slices.SortFunc(all, func(a, b framed) int { return cmp.Or(a.compare(b.interval), cmp.Compare(a.ref, b.ref)) })
}

// readListed reads the charges of frames. They are adjacent, so only of their first and last begin there may be others, which
// are read in vain; where that could be much of all, these begins are read by themselves.
func (f *frames) readListed(ctx context.Context, all []framed) error {
	type place struct{ ref, begin, period int64 }
	index := make(map[place]int, len(all))
	begins := 1
	for i := range all {
		index[place{all[i].ref, all[i].begin, all[i].period}] = i
		if i > 0 && all[i].begin != all[i-1].begin {
			begins++
		}
	}
	take := func(one framed) {
		if i, ok := index[place{one.ref, one.begin, one.period}]; ok {
			all[i].stored = one.stored
		}
	}
	const many = 4
	for rest := all; len(rest) > 0; {
		n := len(rest)
		if begins < many {
			for n = 1; n < len(rest) && rest[n].begin == rest[0].begin; {
				n++
			}
		}
		refs := map[int64]bool{}
		for i := range rest[:n] {
			refs[rest[i].ref] = true
		}
		ids := keys(refs)
		slices.Sort(ids)
		if err := f.read(ctx, ids, rest[0].begin, rest[n-1].begin, take); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// read calls fn with the charges that scopes have from one begin to another, interval by interval.
func (f *frames) read(ctx context.Context, refs []int64, first, last int64, fn func(framed)) error {
	const points = "string_agg(concat_ws(' ', series, seq, qty, price, ''), '')"
	var mixed []framed // of different periods
	const mostCalled = 100_000
	if f.called == nil || len(f.called) > mostCalled {
		f.called = map[int64]*calledSeries{}
	}
	for part := range slices.Chunk(refs, mostScopes) {
		// not grouped by period: the index has the order of scope and begin
		err := f.t.each(ctx, func(rows *sqlx.Rows) error {
			var one framed
			var begin timestamp
			var longest int64
			var text sql.RawBytes
			if err := rows.Scan(&one.ref, &begin, &one.period, &longest, &text); err != nil {
				return fmt.Errorf("store: charges: %w", err)
			}
			one.begin = begin.Unix()
			if longest != one.period {
				mixed = append(mixed, one)
				return nil
			}
			stored, err := f.parse(text, one.ref) // while the database works on the next rows
			one.stored = stored
			fn(one)
			return err
		}, "SELECT scope, begins_at, MIN(period), MAX(period), "+points+" FROM charges WHERE scope IN "+idList(part)+
			" AND begins_at >= ? AND begins_at <= ? GROUP BY scope, begins_at", at(time.Unix(first, 0)), at(time.Unix(last, 0)))
		if err != nil {
			return err
		}
	}
	for _, one := range mixed {
		err := f.t.each(ctx, func(rows *sqlx.Rows) error {
			var text sql.RawBytes
			if err := rows.Scan(&one.period, &text); err != nil {
				return fmt.Errorf("store: charges: %w", err)
			}
			stored, err := f.parse(text, one.ref)
			one.stored = stored
			fn(one)
			return err
		}, "SELECT period, "+points+" FROM charges WHERE scope = ? AND begins_at = ? GROUP BY period", one.ref, at(time.Unix(one.begin, 0)))
		if err != nil {
			return err
		}
	}
	return f.learn(ctx)
}

// framedPoint is a point of a frame.
type framedPoint struct {
	called      *calledSeries
	series, seq int64
	ref         int64 // of the scope it is stored for
	qty, price  money.Decimal
}

// parse returns the points of a text that has of each the series, seq, quantity and price, with a space after each.
func (f *frames) parse(text []byte, ref int64) ([]framedPoint, error) {
	const shortest, atOnce = 8, 4096
	if most := len(text) / shortest; cap(f.points)-len(f.points) < most {
		f.points = make([]framedPoint, 0, max(most, atOnce))
	}
	from := len(f.points)
	for t := (sumText{rest: text}); len(t.rest) > 0; {
		p := framedPoint{series: t.integer(), seq: t.integer(), ref: ref, qty: t.decimal(), price: t.decimal()}
		if t.err != nil {
			return nil, t.err
		}
		p.called = f.call(p.series)
		f.points = append(f.points, p)
	}
	return f.points[from:len(f.points):len(f.points)], nil
}

// call returns what a series is called, or will be once learn has read it.
func (f *frames) call(series int64) *calledSeries {
	c := f.called[series]
	if c != nil {
		return c
	}
	c = &calledSeries{}
	f.called[series] = c
	if l := f.s.cachedLabels(series); l != nil {
		f.describe(c, l)
	} else {
		f.nameless = append(f.nameless, series)
	}
	return c
}

// learn reads what series are called that were not known.
func (f *frames) learn(ctx context.Context) error {
	err := f.s.seriesLabels(ctx, f.t, f.nameless, func(id int64, l *labels) { f.describe(f.called[id], l) })
	f.nameless = f.nameless[:0]
	return err
}

func (f *frames) describe(c *calledSeries, l *labels) {
	c.metric, c.unit, c.match = f.r.metrics[l.metric], l.unit, 1
	c.groupby = f.text(func(b []byte) []byte { return appendAttributes(b, l.groupby, l.literals) })
	c.metadata = f.text(func(b []byte) []byte { return append(appendAttributes(append(b, '{'), l.metadata, l.literals), '}') })
	key := ""
	if scope := f.r.scopes[l.scope]; scope != nil {
		key = scope.Source.ScopeKey
	}
	for _, a := range l.groupby {
		if a.Name == key || metering.IsComputed(a.Name) {
			c.taken = append(c.taken, a.Name)
		}
	}
	if f.match == nil {
		return
	}
	c.labels = f.r.labels(l.scope, l.metric, l.unit)
	c.labels.Groupby, c.labels.Metadata = l.groupby, l.metadata
	if _, has := l.groupby.Get(key); f.r.byScopeKey && !has {
		c.labels.Groupby = append(slices.Clone(l.groupby), metering.Attribute{Name: key, Value: c.labels.Scope})
		c.labels.Groupby.Sort()
	}
	switch {
	case f.match.Timed():
		c.match = 0
	case !f.match.Match(c.labels, time.Time{}):
		c.match = -1
	}
}

// text returns what add appends. Many such texts are kept in one piece of memory.
func (f *frames) text(add func(b []byte) []byte) []byte {
	const atOnce = 64 << 10
	if cap(f.texts)-len(f.texts) < 1<<10 {
		f.texts = make([]byte, 0, atOnce)
	}
	from := len(f.texts)
	f.texts = add(f.texts)
	return f.texts[from:len(f.texts):len(f.texts)]
}

// give yields frames whose charges were read: of those that are not skipped and have points that match.
func (f *frames) give(all []framed) error {
	for len(all) > 0 && f.more() {
		n := sameFrame(all)
		of, points := all[0].interval, f.mine[:0]
		for i := range all[:n] {
			for _, p := range all[i].stored {
				if p.called.match > 0 || p.called.match == 0 && f.match.Match(p.called.labels, time.Unix(of.begin, 0)) {
					points = append(points, p)
				}
			}
		}
		all, f.mine = all[n:], points
		if len(points) == 0 {
			continue
		}
		f.seen += int64(len(points))
		if f.skip > 0 {
			f.skip--
			continue
		}
		if err := f.yield(f.render(of, points)); err != nil {
			return err
		}
		f.left--
	}
	return nil
}

// render makes a frame of its points.
func (f *frames) render(of interval, points []framedPoint) *costs.Frame {
	slices.SortFunc(points, func(a, b framedPoint) int {
		return cmp.Or(strings.Compare(a.called.metric, b.called.metric), cmp.Compare(a.series, b.series), cmp.Compare(a.seq, b.seq))
	})
	begin := time.Unix(of.begin, 0).UTC()
	frame := &f.frame
	frame.Scope, frame.Begin, frame.End = of.scope, begin, time.Unix(of.begin+of.period, 0).UTC()
	frame.Points = frame.Points[:0]
	var (
		b     = f.buf[:0]
		added []byte // members that all points have which are stored for the same scope
		ref   int64
	)
	for i := range points {
		p := &points[i]
		from := len(b)
		b = append(append(b, '{'), p.called.groupby...)
		if p.called.taken != nil {
			b = f.appendAdded(b, p.ref, begin, p.called.taken)
		} else {
			if p.ref != ref {
				added, ref = f.appendAdded(added[:0], p.ref, begin, nil), p.ref
			}
			if len(added) > 0 && len(p.called.groupby) > 0 {
				b = append(b, ',')
			}
			b = append(b, added...)
		}
		b = append(b, '}')
		frame.Points = append(frame.Points, costs.Point{
			Metric: p.called.metric, Unit: p.called.unit, Qty: p.qty, Price: p.price, Groupby: b[from:len(b):len(b)], Metadata: p.called.metadata,
		})
	}
	f.buf = b
	return frame
}

// appendAdded appends the members of groupby that are not stored with each series: the scope key, and the computed attributes
// of collected points.
func (f *frames) appendAdded(b []byte, ref int64, begin time.Time, taken []string) []byte {
	scope := f.r.scopes[ref]
	add := func(name, value string) {
		if slices.Contains(taken, name) {
			return
		}
		if len(b) > 0 && b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = appendJSON(append(appendJSON(b, name), ':'), value)
	}
	if scope.ID != metering.UndefinedScope {
		add(scope.Source.ScopeKey, scope.ID)
	}
	if scope.Source.Name != metering.PushSource {
		for _, name := range [...]string{"week_of_the_year", "day_of_the_year", "month", "year"} {
			value, _ := metering.Computed(name, begin, f.zone)
			add(name, value)
		}
	}
	return b
}

// beginCount is how many frames have a begin.
type beginCount struct {
	begin  int64
	frames int
}

// skipTo finds the begin in which the page begins, and leaves out the frames before.
func (f *frames) skipTo(ctx context.Context) (from time.Time, err error) {
	counts, err := f.counts(ctx)
	if err != nil {
		return from, err
	}
	for len(counts) > 0 && counts[0].frames <= f.skip {
		f.skip -= counts[0].frames
		counts = counts[1:]
	}
	if len(counts) == 0 {
		return f.q.Range.End, nil
	}
	first := counts[0].begin
	if !f.all { // look at the whole page at once
		n := 0
		for frames := f.skip + f.left; n < len(counts) && frames > 0; n++ {
			frames -= counts[n].frames
		}
		f.span = time.Duration(min(counts[n-1].begin-first+1, int64(longestSpan/time.Second))) * time.Second
	}
	return time.Unix(first, 0).UTC(), nil
}

// frameCounts are the counts of questions that were asked before, by these and the state of the scopes.
type frameCounts struct {
	known map[[32]byte][]beginCount
	size  int
}

// mostCounts is how many begins are remembered, at 16 bytes each.
const mostCounts = 1_000_000

// counts returns how many frames have each begin, in order. The ledger has no index for that, so it is remembered for as long
// as nothing of the scopes changes.
func (f *frames) counts(ctx context.Context) (counts []beginCount, err error) {
	revisions := map[int64]int64{}
	err = f.t.each(ctx, func(rows *sqlx.Rows) error {
		var id, revision int64
		err := rows.Scan(&id, &revision)
		revisions[id] = revision
		return err
	}, "SELECT id, revision FROM scopes")
	if err != nil {
		return nil, err
	}
	b := binary.AppendVarint(binary.AppendVarint(nil, f.q.Range.Begin.Unix()), f.q.Range.End.Unix())
	for _, ref := range f.r.refs {
		b = binary.AppendVarint(binary.AppendVarint(b, ref), revisions[ref])
	}
	question := sha256.Sum256(b)
	f.s.mu.Lock()
	counts, ok := f.s.frameCounts.known[question]
	f.s.mu.Unlock()
	if ok {
		return counts, nil
	}
	if counts, err = f.readCounts(ctx); err != nil {
		return nil, err
	}
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	c := &f.s.frameCounts
	if c.size += len(counts); c.known == nil || c.size > mostCounts {
		c.known, c.size = map[[32]byte][]beginCount{}, len(counts)
	}
	if len(counts) <= mostCounts {
		c.known[question] = counts
	}
	return counts, nil
}

// readCounts reads them: scopes that share their id with others are counted here, since their points make one frame.
func (f *frames) readCounts(ctx context.Context) ([]beginCount, error) {
	sharing := map[string]int{}
	for _, ref := range f.r.refs {
		sharing[f.r.scopes[ref].ID]++
	}
	var own, shared []int64
	for _, ref := range f.r.refs {
		if sharing[f.r.scopes[ref].ID] > 1 {
			shared = append(shared, ref)
		} else {
			own = append(own, ref)
		}
	}
	frames := map[int64]int{}
	r := f.q.Range
	where, args := " AND begins_at >= ? AND begins_at < ?", []any{at(r.Begin), at(r.End)}
	for _, l := range f.ledgers(own) {
		query, all := "SELECT begins_at, COUNT(*) FROM "+l.rows+where, args
		if len(own) < len(f.r.scopes) || len(own) > mostScopes {
			query, all = in(query+" AND scope IN (?)", append(slices.Clone(args), l.refs)...)
		}
		err := f.t.each(ctx, func(rows *sqlx.Rows) error {
			var begin timestamp
			var n int
			err := rows.Scan(&begin, &n)
			frames[begin.Unix()] += n
			return err
		}, query+" GROUP BY begins_at", all...)
		if err != nil {
			return nil, err
		}
	}
	met := map[interval]bool{}
	for _, l := range f.ledgers(shared) {
		query, all := in("SELECT scope, begins_at, period FROM "+l.rows+where+" AND scope IN (?)", append(slices.Clone(args), l.refs)...)
		err := f.t.each(ctx, func(rows *sqlx.Rows) error {
			var ref int64
			var i interval
			var begin timestamp
			if err := rows.Scan(&ref, &begin, &i.period); err != nil {
				return fmt.Errorf("store: ledger: %w", err)
			}
			i.begin, i.scope = begin.Unix(), f.r.scopes[ref].ID
			if !met[i] {
				met[i] = true
				frames[i.begin]++
			}
			return nil
		}, query, all...)
		if err != nil {
			return nil, err
		}
	}
	counts := make([]beginCount, 0, len(frames))
	for begin, n := range frames {
		counts = append(counts, beginCount{begin, n})
	}
	slices.SortFunc(counts, func(a, b beginCount) int { return cmp.Compare(a.begin, b.begin) })
	return counts, nil
}
