package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/costs"
	"ratebook/fault"
	"ratebook/period"
	"ratebook/rollup"
)

// windowSum is the sum of a scope's charges that begin together.
type windowSum struct {
	begin  int64 // Unix seconds
	length int64 // of the longest of them, in seconds
	rollup.Sums
}

// scopeSums are all of these in a range, as of a revision of the scope.
type scopeSums struct {
	revision int64
	covers   period.Range
	windows  []windowSum // by begin
}

// in returns those that begin in a range that is covered.
func (s *scopeSums) in(r period.Range) []windowSum {
	from := func(t time.Time) int {
		i, _ := slices.BinarySearchFunc(s.windows, t.Unix(), func(w windowSum, at int64) int { return int(w.begin - at) })
		return i
	}
	return s.windows[from(r.Begin):from(r.End)]
}

// mostWindowSums is how many sums are remembered, at some 100 bytes each: those of 250 scopes for three months of hours.
const mostWindowSums = 540_000

// windowCache remembers the sums of windows, of which no roll-up is kept: adding up 1.8 million charges takes the database
// most of a second. They hold as long as the scope's revision, which grows with every change of its charges.
type windowCache struct {
	mu     sync.Mutex
	scopes map[int64]*scopeSums
	size   int
}

// get returns what is remembered of a scope as of a revision, or nil.
func (c *windowCache) get(scope, revision int64, r period.Range) *scopeSums {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.scopes[scope]
	if s == nil || s.revision != revision || s.covers.Begin.After(r.Begin) || s.covers.End.Before(r.End) {
		return nil
	}
	return s
}

// clear forgets all.
func (c *windowCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scopes, c.size = nil, 0
}

// put remembers sums. When there are too many, it forgets some others.
func (c *windowCache) put(scope int64, s *scopeSums) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.scopes == nil {
		c.scopes = map[int64]*scopeSums{}
	}
	forget := func(ref int64) {
		if old := c.scopes[ref]; old != nil {
			c.size -= len(old.windows)
			delete(c.scopes, ref)
		}
	}
	forget(scope)
	for ref := range c.scopes {
		if c.size+len(s.windows) <= mostWindowSums {
			break
		}
		forget(ref)
	}
	if len(s.windows) <= mostWindowSums {
		c.scopes[scope], c.size = s, c.size+len(s.windows)
	}
}

// wholeWindows reports whether the report is of windows that are not divided further than by scope.
func (r *report) wholeWindows() bool {
	if !r.q.Windows || r.q.Extremes {
		return false
	}
	whole := func(key string) bool { return key == costs.Scope || key == costs.ScopeName }
	for _, f := range r.q.Filters {
		if !whole(f.Key) {
			return false
		}
	}
	return !slices.ContainsFunc(r.q.Groups, func(g string) bool { return !whole(g) })
}

// windowSums feeds the grouper with the sums of windows.
func (r *report) windowSums(ctx context.Context, all period.Range) error {
	if r.none {
		return nil
	}
	revisions := map[int64]int64{}
	err := r.t.each(ctx, func(rows *sqlx.Rows) error {
		var id, revision int64
		if err := rows.Scan(&id, &revision); err != nil {
			return fmt.Errorf("store: scopes: %w", err)
		}
		revisions[id] = revision
		return nil
	}, "SELECT id, revision FROM scopes")
	if err != nil {
		return err
	}
	known := make(map[int64]*scopeSums, len(r.refs))
	var absent []int64
	for _, ref := range r.refs {
		if s := r.s.windowSums.get(ref, revisions[ref], all); s != nil {
			known[ref] = s
		} else {
			absent = append(absent, ref)
		}
	}
	for refs := range slices.Chunk(absent, mostScopes) {
		if err := r.readWindowSums(ctx, refs, all, func(ref int64, windows []windowSum) {
			s := &scopeSums{revision: revisions[ref], covers: all, windows: windows}
			known[ref] = s
			r.s.windowSums.put(ref, s)
		}); err != nil {
			return err
		}
	}
	return r.feedWindows(known, all)
}

// feedWindows hands sums to the grouper, window by window.
func (r *report) feedWindows(known map[int64]*scopeSums, all period.Range) error {
	keys := map[int32]int{} // of the grouper, and their numbers
	var used []int32
	type window struct {
		begin, length int64
		sums          []rollup.Sums // by the key's number; without points where there is none
	}
	var windows []*window
	at := map[int64]*window{}
	for _, ref := range r.refs {
		s := known[ref]
		if s == nil || len(s.windows) == 0 {
			continue
		}
		key := r.g.Key(r.labels(ref, 0, ""))
		n, ok := keys[key]
		if !ok {
			n = len(used)
			keys[key], used = n, append(used, key)
		}
		mine := s.in(all)
		for i := range mine {
			one := &mine[i]
			w := at[one.begin]
			if w == nil {
				w = &window{begin: one.begin}
				at[one.begin], windows = w, append(windows, w)
			}
			w.length = max(w.length, one.length)
			for len(w.sums) <= n {
				w.sums = append(w.sums, rollup.Sums{})
			}
			w.sums[n].Add(&one.Sums)
		}
	}
	slices.SortFunc(windows, func(a, b *window) int { return int(a.begin - b.begin) })
	for _, w := range windows {
		begin := time.Unix(w.begin, 0).UTC()
		if err := r.g.AtWindow(period.Range{Begin: begin, End: begin.Add(time.Duration(w.length) * time.Second)}); err != nil {
			return err
		}
		for n := range w.sums {
			if w.sums[n].Points > 0 {
				r.g.Add(used[n], &w.sums[n])
			}
		}
	}
	return nil
}

// readWindowSums lets the database add up the charges of each window of some scopes. The sums of a scope come as one text,
// which takes a fraction of the time that as many rows would; scopes without charges don't come at all.
func (r *report) readWindowSums(ctx context.Context, refs []int64, all period.Range, learn func(ref int64, windows []windowSum)) error {
	d := r.s.d
	if d == &postgresDialect { // for as long as the transaction: room for the sums, so that charges need not be sorted on disk
		if _, err := r.t.exec(ctx, "SELECT set_config('work_mem', '64MB', true), set_config('jit', 'off', true)"); err != nil {
			return err
		}
	}
	query, args := in("SELECT scope, string_agg(concat_ws(' ', "+d.seconds("begins_at")+", length, points, qty, price), ' ') FROM (SELECT scope, begins_at, MAX(period) AS length, COUNT(*) AS points, "+
		d.sum("qty")+" AS qty, "+d.sum("price")+" AS price FROM charges WHERE scope IN (?) AND begins_at >= ? AND begins_at < ? GROUP BY scope, begins_at) AS w GROUP BY scope",
		refs, at(all.Begin), at(all.End))
	absent := make(map[int64]bool, len(refs))
	for _, ref := range refs {
		absent[ref] = true
	}
	err := r.t.each(ctx, func(rows *sqlx.Rows) error {
		var (
			ref  int64
			text sql.RawBytes
		)
		if err := rows.Scan(&ref, &text); err != nil {
			return fmt.Errorf("store: charges: %w", err)
		}
		windows, err := parseWindowSums(text)
		if err != nil {
			return err
		}
		delete(absent, ref)
		learn(ref, windows)
		return nil
	}, query, args...)
	for ref := range absent {
		learn(ref, nil)
	}
	return err
}

func parseWindowSums(text []byte) ([]windowSum, error) {
	windows := make([]windowSum, 0, len(text)/40)
	for t := (sumText{rest: append(text[:len(text):len(text)], ' ')}); len(t.rest) > 0; {
		w := windowSum{begin: t.integer(), length: t.integer()}
		w.Points, w.Qty, w.Price = t.integer(), t.decimal(), t.decimal()
		if t.err != nil {
			return nil, fault.Wrap(fault.Internal, t.err, "the database's sums of windows can't be read: %s", strings.ToValidUTF8(string(text[:min(len(text), 50)]), "?"))
		}
		windows = append(windows, w)
	}
	slices.SortFunc(windows, func(a, b windowSum) int { return int(a.begin - b.begin) })
	return windows, nil
}
