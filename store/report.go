package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/costs"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rollup"
)

// Report answers a report's question from the coarsest sums that can, all read from one state of the database. It calls
// yield with each row, in order, and returns the total of all rows. Rows are made a bucket at a time, so that memory holds
// one bucket's groups, not the whole answer. A question that needs charges or roll-ups that were dropped is Invalid, and
// the error says what can be asked instead.
func (s *Store) Report(ctx context.Context, q *costs.Query, yield func(costs.Row) error) (total costs.Total, err error) {
	if err := q.Validate(); err != nil {
		return total, err
	}
	settings, err := s.currentSettings(ctx)
	if err != nil {
		return total, err
	}
	segments := q.Segments(settings.Zone)
	view := s.view
	if slices.ContainsFunc(segments, readsCharges) && !wholeWindows(q) {
		view = s.viewCharges
	}
	err = view(ctx, func(t *tx) error {
		if err := t.checkZone(ctx, settings.Zone); err != nil {
			return err
		}
		if err := t.checkKept(ctx, q, segments, settings.Zone); err != nil {
			return err
		}
		r := &report{s: s, t: t, q: q, zone: settings.Zone, g: costs.NewGrouper(q, settings.Zone, yield)}
		isScopeKey := func(name string) bool { return strings.TrimPrefix(name, costs.AttributePrefix) == settings.ScopeKey }
		r.byScopeKey = slices.ContainsFunc(q.Groups, isScopeKey) ||
			slices.ContainsFunc(q.Filters, func(f costs.Filter) bool { return isScopeKey(f.Key) })
		if err := r.names(ctx); err != nil {
			return err
		}
		for _, segment := range segments {
			var err error
			switch {
			case wholeWindows(q):
				err = r.windows(ctx, segment.Range)
			case segment.Level == costs.Charges:
				err = r.charges(ctx, segment.Range)
			case segment.PerSeries:
				err = r.packs(ctx, segment)
			default:
				err = r.sums(ctx, segment)
			}
			if err != nil {
				return err
			}
		}
		total, err = r.g.Close()
		return err
	})
	return total, err
}

func readsCharges(s costs.Segment) bool { return s.Level == costs.Charges }

// checkKept fails unless all that a question needs is kept.
func (t *tx) checkKept(ctx context.Context, q *costs.Query, segments []costs.Segment, zone *time.Location) error {
	kept, err := t.retention(ctx)
	if err != nil {
		return err
	}
	if q.Range.Begin.Before(kept.RollupsFrom) {
		return fault.New(fault.Invalid, "nothing from before %s is kept; let the report begin there or later", civilDay(kept.RollupsFrom, zone))
	}
	i := slices.IndexFunc(segments, readsCharges)
	if i < 0 || !segments[i].Range.Begin.Before(kept.ChargesFrom) {
		return nil
	}
	from := civilDay(kept.ChargesFrom, zone)
	if q.Bucket == period.Hour || q.Windows || q.Extremes {
		return fault.New(fault.Invalid, "charges from before %s are kept only as sums of days; ask by day, or let the report begin there or later", from)
	}
	return fault.New(fault.Invalid, "charges from before %s are kept only as sums of days; let the report begin and end with whole days of %s", from, zone)
}

// report is one report while it is being answered.
type report struct {
	s    *Store
	t    *tx
	q    *costs.Query
	zone *time.Location
	g    *costs.Grouper

	scopes  map[int64]*metering.Scope
	refs    []int64 // of the scopes that the filters leave, in order
	metrics map[int64]string
	where   string // of filters that the database can apply, on scope and metric
	args    []any
	none    bool // whether these leave nothing

	byScopeKey bool // whether the scope key itself is asked for, as an attribute

	keys bySeries[int32] // the grouper's keys, from -1 on, + firstKey; 0 is unknown
}

const (
	keyWanted = 1 // a key that is being looked up
	firstKey  = 3
)

// names reads the scopes and metrics, and turns filters on them into SQL.
func (r *report) names(ctx context.Context) error {
	r.scopes, r.metrics = map[int64]*metering.Scope{}, map[int64]string{}
	var rows []scopeRow
	if err := r.t.list(ctx, &rows, "SELECT "+scopeColumns); err != nil {
		return err
	}
	for i := range rows {
		r.scopes[rows[i].ID] = rows[i].scope()
	}
	err := r.t.each(ctx, func(rows *sqlx.Rows) error {
		var id int64
		var name string
		if err := rows.Scan(&id, &name); err != nil {
			return fmt.Errorf("store: metrics: %w", err)
		}
		r.metrics[id] = name
		return nil
	}, "SELECT id, name FROM metrics")
	if err != nil {
		return err
	}
	r.refs = keys(r.scopes)
	metrics := keys(r.metrics)
	for _, f := range r.q.Filters {
		switch f.Key {
		case costs.Scope:
			r.refs = slices.DeleteFunc(r.refs, func(id int64) bool { return !slices.Contains(f.Values, r.scopes[id].ID) })
		case costs.ScopeName:
			r.refs = slices.DeleteFunc(r.refs, func(id int64) bool { return !slices.Contains(f.Values, r.scopes[id].Name) })
		case costs.Metric:
			metrics = slices.DeleteFunc(metrics, func(id int64) bool { return !slices.Contains(f.Values, r.metrics[id]) })
		}
	}
	slices.Sort(r.refs)
	if len(r.refs) < len(r.scopes) {
		r.only("scope", r.refs)
	}
	if len(metrics) < len(r.metrics) {
		r.only("metric", metrics)
	}
	r.none = len(r.refs) == 0 || len(metrics) == 0
	return nil
}

// mostFiltered is the most ids that are worth an IN; a filter that keeps more is left to the grouper.
const mostFiltered = 200

func (r *report) only(column string, ids []int64) {
	if len(ids) > 0 && len(ids) <= mostFiltered {
		query, args := in(" AND "+column+" IN (?)", ids)
		r.where, r.args = r.where+query, append(r.args, args...)
	}
}

// rangeOf returns the column that a level's rows are dated by, and a segment's range of it with the filters' arguments.
func (r *report) rangeOf(segment costs.Segment) (column string, args []any) {
	begin, end := civilDay(segment.Range.Begin, r.zone), civilDay(segment.Range.End, r.zone)
	column = "day"
	if segment.Level == costs.Months {
		column = "month"
	}
	return column, append([]any{begin.String(), end.String()}, r.args...)
}

// sums feeds the grouper with rows per scope, metric and unit. The database hands out those of a date as one text, which
// takes half the time that as many rows would.
func (r *report) sums(ctx context.Context, segment costs.Segment) error {
	if r.none {
		return nil
	}
	known := map[owner]int32{}
	units := map[string]string{}
	column, args := r.rangeOf(segment)
	return r.t.each(ctx, func(rows *sqlx.Rows) error {
		var (
			date civil
			raw  sql.RawBytes
			o    owner
			unit []byte
			sums rollup.Sums
		)
		if err := rows.Scan(&date, &raw); err != nil {
			return fmt.Errorf("store: sums: %w", err)
		}
		if err := r.g.At(date.begin(r.zone)); err != nil {
			return err
		}
		text := sumText{rest: raw}
		for text.next(&o.scope, &o.metric, &unit, &sums) {
			o.unit = intern(units, unit)
			key, ok := known[o]
			if !ok {
				key = r.g.Key(r.labels(o.scope, o.metric, o.unit))
				known[o] = key
			}
			r.g.Add(key, &sums)
		}
		return text.err
	}, "SELECT "+column+", "+sumsText+" FROM scope_metric_"+column+"s WHERE "+column+" >= ? AND "+column+" < ?"+r.where+
		" GROUP BY "+column+" ORDER BY "+column, args...)
}

func (r *report) labels(scope, metric int64, unit string) *costs.Labels {
	l := &costs.Labels{Metric: r.metrics[metric], Unit: unit}
	if s := r.scopes[scope]; s != nil {
		l.Scope, l.ScopeName = s.ID, s.Name
	}
	return l
}

// packsAtOnce is how many bytes of packs are in memory at a time, and those of one date more: a month of most databases.
// Series that are met early spare the grouper to sort its groups again.
const packsAtOnce = 16 << 20

// packs feeds the grouper with sums per series.
func (r *report) packs(ctx context.Context, segment costs.Segment) error {
	if r.none {
		return nil
	}
	column, args := r.rangeOf(segment)
	table := "series_" + column + "_packs"
	begin, end := args[0], args[1]
	var (
		dates []datedPacks
		size  int
	)
	for {
		var next []civil
		err := r.t.list(ctx, &next, "SELECT "+column+" FROM "+table+" WHERE "+column+" >= ? AND "+column+" < ? ORDER BY "+column+" LIMIT 1", begin, end)
		if err != nil {
			return err
		}
		if len(next) == 0 || size > packsAtOnce {
			if err := r.feed(ctx, dates, table); err != nil {
				return err
			}
			dates, size = dates[:0], 0
		}
		if len(next) == 0 {
			return nil
		}
		d := datedPacks{date: next[0]}
		err = r.t.each(ctx, func(rows *sqlx.Rows) error {
			var pack []byte
			if err := rows.Scan(&pack); err != nil {
				return fmt.Errorf("store: packs: %w", err)
			}
			d.packs = append(d.packs, pack)
			size += len(pack)
			return nil
		}, "SELECT pack FROM "+table+" WHERE "+column+" = ?"+r.where, append([]any{d.date.String()}, r.args...)...)
		if err != nil {
			return err
		}
		dates = append(dates, d)
		begin = (d.date + 1).String()
	}
}

// datedPacks are the packs of a day or month.
type datedPacks struct {
	date  civil
	packs [][]byte
}

// feed adds packs.
func (r *report) feed(ctx context.Context, dates []datedPacks, table string) error {
	var (
		reader rollup.Reader
		e      rollup.Entry
		absent []int64
	)
	for _, d := range dates {
		for _, pack := range d.packs {
			for reader.Reset(pack); reader.Next(&e); {
				if r.keys.get(e.Series) == 0 {
					r.keys.set(e.Series, keyWanted)
					absent = append(absent, e.Series)
				}
			}
		}
	}
	if err := r.learn(ctx, absent); err != nil {
		return err
	}
	for _, d := range dates {
		if err := r.g.At(d.date.begin(r.zone)); err != nil {
			return err
		}
		for _, pack := range d.packs {
			for reader.Reset(pack); reader.Next(&e); {
				r.g.Add(r.keys.get(e.Series)-firstKey, &e.Sums)
			}
			if err := reader.Err(); err != nil {
				return fault.Wrap(fault.Internal, err, "a row of the roll-up %s is damaged; run `ratebook rollups verify`", table)
			}
		}
	}
	return nil
}

// learn finds the grouper's keys of some series.
func (r *report) learn(ctx context.Context, ids []int64) error {
	r.g.Expect(len(ids))
	return r.s.seriesLabels(ctx, r.t, ids, r.called)
}

// called finds the grouper's key of a series that is called so.
func (r *report) called(id int64, l *labels) {
	all := r.labels(l.scope, l.metric, l.unit)
	all.Groupby, all.Metadata = l.groupby, l.metadata
	if r.byScopeKey && r.scopes[l.scope] != nil { // series don't repeat it
		key := metering.Attribute{Name: r.scopes[l.scope].Source.ScopeKey, Value: all.Scope}
		all.Groupby = append(slices.Clone(l.groupby), key)
		all.Groupby.Sort()
	}
	r.keys.set(id, r.g.Key(all)+firstKey)
}

// How many charges are in memory at a time, about; and the sums of how many hours, where a day has more charges than that.
const (
	chargesAtOnce = 100_000
	chargedHours  = 6
)

// mostScopes is how many scopes a query names at most: a database takes some 30,000 parameters.
const mostScopes = 10_000

// charges feeds the grouper with charges themselves: where an edge of the range cuts a day, and for hours.
func (r *report) charges(ctx context.Context, all period.Range) error {
	if r.none {
		return nil
	}
	c := &chargeSums{report: r}
	for begin := all.Begin; begin.Before(all.End); {
		date, points, err := r.charged(ctx, begin, all.End)
		if err != nil || points == 0 {
			return err
		}
		if first := date.begin(r.zone); first.After(begin) {
			begin = first
		}
		day := period.Range{Begin: begin, End: period.Day.Next(begin, r.zone)}
		if day.End.After(all.End) {
			day.End = all.End
		}
		for part := day; !part.Empty(); part = (period.Range{Begin: part.End, End: day.End}) {
			if points > chargesAtOnce && (r.q.Bucket == period.Hour || r.q.Windows) {
				if six := period.Hour.Start(part.Begin, r.zone).Add(chargedHours * time.Hour); six.Before(part.End) {
					part.End = six
				}
			}
			expected := points * int64(part.End.Sub(part.Begin)/time.Minute) / (24 * 60)
			if err := c.part(ctx, part, 1+int(expected/chargesAtOnce)); err != nil {
				return err
			}
		}
		begin = day.End
	}
	return nil
}

// charged returns the first billing day from begin to end in which there are charges, and how many the scopes have, or all
// scopes if these are many; none is 0.
func (r *report) charged(ctx context.Context, begin, end time.Time) (day civil, points int64, err error) {
	query := "SELECT day, SUM(points) AS points FROM scope_metric_days WHERE day >= ? AND day <= ? AND points > 0"
	args := []any{civilDay(begin, r.zone).String(), civilDay(end.Add(-time.Second), r.zone).String()}
	if len(r.refs) <= mostFiltered {
		query, args = in(query+" AND scope IN (?)", append(args, r.refs)...)
	}
	var days []struct {
		Day    civil
		Points int64
	}
	err = r.t.list(ctx, &days, query+" GROUP BY day ORDER BY day LIMIT 1", args...)
	if err != nil || len(days) == 0 {
		return 0, 0, err
	}
	return days[0].Day, days[0].Points, nil
}

// chargeSums adds charges up to sums of each bucket and group. The groups that a part of the range has get numbers, from
// 0 on, so that memory holds only their sums.
type chargeSums struct {
	*report

	begins  []int64            // of the part's buckets, in Unix seconds
	lengths []int64            // of these, in seconds: where they are windows
	sums    [][]rollup.Sums    // by bucket, then the group's number; without points where there is none
	ends    [][]costs.Extremes // by the same, where they are asked for
	numbers []int32            // by the grouper's key: the number + 1
	used    []int32            // the keys that have numbers, in their order

	windowAt map[int64]int // the buckets by begin, where they are windows

	unknown []charge // whose series' labels have to be read first
}

// charge is a charge of one of a part's buckets.
type charge struct {
	series     int64
	bucket     int
	qty, price money.Decimal
}

// part feeds charges of a range within one day, reading them by a number of queries.
func (c *chargeSums) part(ctx context.Context, part period.Range, queries int) error {
	c.reset()
	for begin := part.Begin; begin.Before(part.End) && !c.q.Windows; {
		c.begins = append(c.begins, begin.Unix())
		if c.q.Bucket != period.Hour {
			break
		}
		begin = period.Hour.Next(begin, c.zone)
	}
	c.room()
	for scopes := range slices.Chunk(c.refs, min(mostScopes, (len(c.refs)+queries-1)/queries)) {
		if err := c.read(ctx, part, scopes); err != nil {
			return err
		}
	}
	return c.flush()
}

// reset begins a part.
func (c *chargeSums) reset() {
	c.begins, c.lengths, c.windowAt = c.begins[:0], c.lengths[:0], map[int64]int{}
}

// flush hands the part's sums to the grouper.
func (c *chargeSums) flush() error {
	for _, i := range c.order() {
		begin := time.Unix(c.begins[i], 0).UTC()
		var err error
		if c.q.Windows {
			err = c.g.AtWindow(period.Range{Begin: begin, End: begin.Add(time.Duration(c.lengths[i]) * time.Second)})
		} else {
			err = c.g.At(begin)
		}
		if err != nil {
			return err
		}
		for n := range c.sums[i] {
			if sums := &c.sums[i][n]; sums.Points > 0 {
				c.g.Add(c.used[n], sums)
				if c.q.Extremes {
					c.g.Widen(c.used[n], &c.ends[i][n])
				}
			}
		}
		c.sums[i], c.ends[i] = c.sums[i][:0], c.ends[i][:0]
	}
	for _, key := range c.used {
		c.numbers[key] = 0
	}
	c.used = c.used[:0]
	return nil
}

// room makes room for the sums of each bucket.
func (c *chargeSums) room() {
	for len(c.sums) < len(c.begins) {
		c.sums, c.ends = append(c.sums, nil), append(c.ends, nil)
	}
}

// order returns the buckets by begin.
func (c *chargeSums) order() []int {
	order := make([]int, len(c.begins))
	for i := range order {
		order[i] = i
	}
	if c.q.Windows { // they are as they were met
		slices.SortFunc(order, func(a, b int) int { return cmp.Compare(c.begins[a], c.begins[b]) })
	}
	return order
}

// bucket returns the bucket of a charge that begins at a time and is some seconds long.
func (c *chargeSums) bucket(begin, length int64) int {
	if !c.q.Windows {
		i, exact := slices.BinarySearch(c.begins, begin)
		if !exact {
			i--
		}
		return i
	}
	i, ok := c.windowAt[begin]
	if !ok {
		i = len(c.begins)
		c.begins, c.lengths = append(c.begins, begin), append(c.lengths, length)
		c.windowAt[begin] = i
		c.room()
	}
	c.lengths[i] = max(c.lengths[i], length)
	return i
}

// read adds up the charges that some scopes have in a range.
func (c *chargeSums) read(ctx context.Context, part period.Range, scopes []int64) error {
	columns, group := chargesTextPostgres, "begins_at"
	if c.s.d == &sqliteDialect {
		columns, group = chargesTextSQLite, "scope"
	}
	query, args := in("SELECT "+columns+" FROM charges WHERE scope IN (?) AND begins_at >= ? AND begins_at < ? GROUP BY "+group,
		scopes, at(part.Begin), at(part.End))
	c.unknown = c.unknown[:0]
	err := c.t.each(ctx, func(rows *sqlx.Rows) error {
		var begins, periods, series, qty, price sql.RawBytes
		if err := rows.Scan(&begins, &periods, &series, &qty, &price); err != nil {
			return fmt.Errorf("store: charges: %w", err)
		}
		text := newChargeText(begins, periods, series, qty, price)
		var one charge
		lastBegin, lastPeriod := int64(-1), int64(-1)
		for text.next() {
			if text.begin != lastBegin || text.period != lastPeriod {
				lastBegin, lastPeriod = text.begin, text.period
				one.bucket = -1
			}
			one.series = text.id
			key := c.keys.get(text.id)
			if key == 0 {
				if l := c.s.cachedLabels(text.id); l != nil {
					c.called(text.id, l)
					key = c.keys.get(text.id)
				}
			}
			if key != 0 && key < firstKey { // a filter excludes it
				text.skip()
				continue
			}
			if one.bucket < 0 {
				one.bucket = c.bucket(text.begin, text.period)
			}
			text.amounts(&one.qty, &one.price)
			if key == 0 {
				c.unknown = append(c.unknown, one)
			} else {
				c.add(key-firstKey, &one)
			}
		}
		return text.err
	}, query, args...)
	if err != nil || len(c.unknown) == 0 {
		return err
	}
	var absent []int64
	for i := range c.unknown {
		if id := c.unknown[i].series; c.keys.get(id) == 0 {
			c.keys.set(id, keyWanted)
			absent = append(absent, id)
		}
	}
	if err := c.learn(ctx, absent); err != nil {
		return err
	}
	for i := range c.unknown {
		if key := c.keys.get(c.unknown[i].series) - firstKey; key >= 0 {
			c.add(key, &c.unknown[i])
		}
	}
	return nil
}

// slot returns the sums of a key in a bucket.
func (c *chargeSums) slot(key int32, bucket int) *rollup.Sums {
	for int(key) >= len(c.numbers) {
		c.numbers = append(c.numbers, 0)
	}
	n := int(c.numbers[key]) - 1
	if n < 0 {
		n = len(c.used)
		c.used = append(c.used, key)
		c.numbers[key] = int32(n) + 1
	}
	sums := c.sums[bucket]
	for n >= len(sums) {
		sums = append(sums, rollup.Sums{})
		c.sums[bucket] = sums
		if c.q.Extremes {
			c.ends[bucket] = append(c.ends[bucket], costs.Extremes{})
		}
	}
	return &sums[n]
}

// add adds a charge to the sums of a key.
func (c *chargeSums) add(key int32, one *charge) {
	s := c.slot(key, one.bucket)
	if c.q.Extremes {
		single := costs.ExtremesOf(one.qty, one.price)
		if ends := &c.ends[one.bucket][c.numbers[key]-1]; s.Points == 0 {
			*ends = single
		} else {
			ends.Widen(&single)
		}
	}
	if s.Points++; s.Points == 1 {
		s.Qty, s.Price = one.qty, one.price
		return
	}
	s.Qty.Accumulate(&one.qty)
	s.Price.Accumulate(&one.price)
}

// addSums adds sums to those of a key.
func addSums[K comparable](all map[K]*rollup.Sums, key K, sums *rollup.Sums) {
	if have := all[key]; have != nil {
		have.Add(sums)
		return
	}
	first := *sums
	all[key] = &first
}
