package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/costs"
	"ratebook/fault"
	"ratebook/metering"
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
		if err := f.count(ctx, asked); err != nil || f.points == 0 {
			return err
		}
		if windows := time.Duration(min(q.Limit/max(len(f.r.refs), 1)+1, 10_000)); windows > 1 { // as many as the page may well have
			f.span = min(windows*settings.Period, longestSpan)
		}
		points = f.points
		if f.match == nil {
			return f.walkLedger(ctx)
		}
		return f.walkCharges(ctx)
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

	match  *costs.Matcher // nil: filters are on scopes only
	points int64          // that match
	seen   int64          // of these, in frames so far

	skip, left int
	all        bool          // left does not count
	span       time.Duration // that is looked at next

	called map[int64]*calledSeries
	buf    []byte // of the frame that is yielded
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
	text   []byte // of each point its series, seq, quantity and price
}

// count finds the scopes that have points, and how many points match.
func (f *frames) count(ctx context.Context, asked *costs.Query) error {
	asked.Groups = []string{costs.Scope}
	matching := map[string]bool{}
	f.r = &report{s: f.s, t: f.t, q: asked, zone: f.zone}
	f.r.g = costs.NewGrouper(asked, f.zone, func(row costs.Row) error {
		f.points += row.Points
		matching[row.Groups[0]] = true
		return nil
	})
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
	if err := f.r.names(ctx); err != nil || f.r.none {
		return err
	}
	for _, segment := range asked.Segments(f.zone) {
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
		f.points += n
	}
	return nil
}

// more reports whether frames are still wanted.
func (f *frames) more() bool { return f.all || f.left > 0 }

// How many frames, and how many of their points, are in memory at a time, about.
const (
	framesAtOnce      = 10_000
	framePointsAtOnce = 50_000
)

// longestSpan is the longest time that is looked at at once.
const longestSpan = 10 * 366 * 24 * time.Hour

// walkLedger yields the frames that the ledgers have.
func (f *frames) walkLedger(ctx context.Context) error {
	from, end := f.q.Range.Begin, f.q.Range.End
	if f.skip > 0 {
		var err error
		if from, err = f.skipTo(ctx); err != nil {
			return err
		}
	}
	for from.Before(end) && f.more() {
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
		for page := f.page(found); len(page) > 0; {
			n := 0
			for points := int64(0); n < len(page) && points < framePointsAtOnce; {
				same := sameFrame(page[n:])
				for _, one := range page[n : n+same] {
					points += one.points
				}
				n += same
			}
			if err := f.readListed(ctx, page[:n]); err != nil {
				return err
			}
			if err := f.give(ctx, page[:n]); err != nil {
				return err
			}
			page = page[n:]
		}
	}
	return nil
}

// sameFrame returns how many at the beginning are of one frame.
func sameFrame(all []framed) int {
	n := 1
	for n < len(all) && all[n].interval == all[0].interval {
		n++
	}
	return n
}

// page leaves out what is skipped, and what comes after the last frame that is wanted.
func (f *frames) page(found []framed) []framed {
	for f.skip > 0 && len(found) > 0 {
		found = found[sameFrame(found):]
		f.skip--
	}
	if f.all {
		return found
	}
	n := 0
	for wanted := 0; n < len(found) && wanted < f.left; wanted++ {
		n += sameFrame(found[n:])
	}
	return found[:n]
}

// walkCharges yields the frames that have charges that match.
func (f *frames) walkCharges(ctx context.Context) error {
	const few, many = 500_000, 4_000_000 // bytes of text, some 30 a charge
	for from := f.q.Range.Begin; from.Before(f.q.Range.End) && f.more() && f.seen < f.points; {
		to := f.to(from)
		var found []framed
		size := 0
		err := f.read(ctx, f.r.refs, from.Unix(), to.Unix()-1, func(one framed) {
			one.scope = f.r.scopes[one.ref].ID
			found = append(found, one)
			size += len(one.text)
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
		if err := f.give(ctx, found); err != nil {
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
		query, args := in("SELECT scope, begins_at, period, points FROM "+l.rows+" AND scope IN (?) AND begins_at >= ? AND begins_at < ?", l.refs, at(r.Begin), at(r.End))
		err := f.t.each(ctx, func(rows *sqlx.Rows) error {
			var one framed
			var begin timestamp
			if err := rows.Scan(&one.ref, &begin, &one.period, &one.points); err != nil {
				return fmt.Errorf("store: ledger: %w", err)
			}
			one.begin, one.scope = begin.Unix(), f.r.scopes[one.ref].ID
			found = append(found, one)
			return nil
		}, query, args...)
		if err != nil {
			return nil, err
		}
	}
	sortFramed(found)
	return found, nil
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
			all[i].text = one.text
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
	const points = "string_agg(concat_ws(' ', series, seq, qty, price), ' ')"
	var mixed []framed // of different periods
	for part := range slices.Chunk(refs, mostScopes) {
		// not grouped by period: the index has the order of scope and begin
		query, args := in("SELECT scope, begins_at, MIN(period), MAX(period), "+points+" FROM charges "+
			"WHERE scope IN (?) AND begins_at >= ? AND begins_at <= ? GROUP BY scope, begins_at", part, at(time.Unix(first, 0)), at(time.Unix(last, 0)))
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
			one.text = slices.Clone(text)
			fn(one)
			return nil
		}, query, args...)
		if err != nil {
			return err
		}
	}
	for _, one := range mixed {
		err := f.t.each(ctx, func(rows *sqlx.Rows) error {
			one.text = nil
			if err := rows.Scan(&one.period, &one.text); err != nil {
				return fmt.Errorf("store: charges: %w", err)
			}
			fn(one)
			return nil
		}, "SELECT period, "+points+" FROM charges WHERE scope = ? AND begins_at = ? GROUP BY period", one.ref, at(time.Unix(one.begin, 0)))
		if err != nil {
			return err
		}
	}
	return nil
}

// framedPoint is a point of a frame.
type framedPoint struct {
	costs.Point
	series, seq int64
	ref         int64 // of the scope it is stored for
	called      *calledSeries
	from, to    int // where its groupby is in buf
}

// give yields frames whose charges were read: of those that are not skipped and have points that match.
func (f *frames) give(ctx context.Context, all []framed) error {
	if err := f.learn(ctx, all); err != nil {
		return err
	}
	var points []framedPoint
	for len(all) > 0 && f.more() {
		n := sameFrame(all)
		points = points[:0]
		for i := range all[:n] {
			var err error
			if points, err = f.parse(points, &all[i]); err != nil {
				return err
			}
		}
		frame := all[0].interval
		all = all[n:]
		if len(points) == 0 {
			continue
		}
		f.seen += int64(len(points))
		if f.skip > 0 {
			f.skip--
			continue
		}
		if err := f.yield(f.render(frame, points)); err != nil {
			return err
		}
		f.left--
	}
	return nil
}

// learn finds out what the series of charges are called.
func (f *frames) learn(ctx context.Context, all []framed) error {
	const most = 100_000
	if len(f.called) > most || f.called == nil {
		f.called = map[int64]*calledSeries{}
	}
	var absent []int64
	for i := range all {
		for w := (words{all[i].text}); len(w.rest) > 0; {
			id, ok := integer(w.next())
			if !ok {
				return errSumText
			}
			w.next()
			w.next()
			w.next()
			if _, known := f.called[id]; !known {
				f.called[id] = nil
				absent = append(absent, id)
			}
		}
	}
	return f.s.seriesLabels(ctx, f.t, absent, func(id int64, l *labels) {
		c := &calledSeries{metric: f.r.metrics[l.metric], unit: l.unit, match: 1}
		c.groupby = appendAttributes(nil, l.groupby, l.literals)
		c.metadata = append(appendAttributes([]byte{'{'}, l.metadata, l.literals), '}')
		key := ""
		if scope := f.r.scopes[l.scope]; scope != nil {
			key = scope.Source.ScopeKey
		}
		for _, a := range l.groupby {
			if a.Name == key || metering.IsComputed(a.Name) {
				c.taken = append(c.taken, a.Name)
			}
		}
		if f.match != nil {
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
		f.called[id] = c
	})
}

// parse appends the points of a text that match.
func (f *frames) parse(points []framedPoint, one *framed) ([]framedPoint, error) {
	if len(one.text) == 0 {
		return points, nil
	}
	text := sumText{rest: append(one.text, ' ')}
	for len(text.rest) > 0 && text.err == nil {
		p := framedPoint{series: text.integer(), seq: text.integer(), ref: one.ref}
		p.called = f.called[p.series]
		if p.called == nil || p.called.match < 0 || p.called.match == 0 && !f.match.Match(p.called.labels, time.Unix(one.begin, 0)) {
			text.word()
			text.word()
			continue
		}
		p.Qty, p.Price = text.decimal(), text.decimal()
		points = append(points, p)
	}
	return points, text.err
}

// render makes a frame of its points.
func (f *frames) render(of interval, points []framedPoint) *costs.Frame {
	slices.SortFunc(points, func(a, b framedPoint) int {
		return cmp.Or(strings.Compare(a.called.metric, b.called.metric), cmp.Compare(a.series, b.series), cmp.Compare(a.seq, b.seq))
	})
	begin := time.Unix(of.begin, 0).UTC()
	frame := &costs.Frame{Scope: of.scope, Begin: begin, End: time.Unix(of.begin+of.period, 0).UTC(), Points: make([]costs.Point, len(points))}
	b := f.buf[:0]
	var (
		added []byte // members that all points have which are stored for the same scope
		ref   int64
	)
	for i := range points {
		p := &points[i]
		p.from = len(b)
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
		p.to = len(b)
	}
	f.buf = b
	for i := range points {
		p := &points[i]
		p.Metric, p.Unit, p.Groupby, p.Metadata = p.called.metric, p.called.unit, b[p.from:p.to:p.to], p.called.metadata
		frame.Points[i] = p.Point
	}
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
