package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"

	"ratebook/metering"
	"ratebook/rollup"
)

// seriesRef is where a series is stored.
type seriesRef struct {
	id   int64
	slot int32
}

// chunk returns which of a scope and metric's packs sums the series.
func (r seriesRef) chunk() int32 { return r.slot / chunkSeries }

// chunkSeries is how many series share a pack. It is less than the codec allows, so that a month's pack of quantities
// with 18 decimals still stays in a page of PostgreSQL.
const chunkSeries = rollup.MaxSeries * 3 / 4

// maxKnownSeries bounds the fingerprints that are remembered, at some 60 bytes each.
const maxKnownSeries = 2_000_000

// seriesRefs returns where each usage's series is stored, storing those that are new. fresh must be given to remember
// once the transaction is committed.
func (s *Store) seriesRefs(ctx context.Context, t *tx, usage []metering.Usage) (found []seriesRef, fresh map[metering.Fingerprint]seriesRef, err error) {
	found = make([]seriesRef, len(usage))
	prints := make([]metering.Fingerprint, len(usage))
	var unknown []int
	s.mu.Lock()
	for i := range usage {
		prints[i] = usage[i].Fingerprint()
		ref, ok := s.series[prints[i]]
		if !ok {
			unknown = append(unknown, i)
		}
		found[i] = ref
	}
	s.mu.Unlock()
	if len(unknown) == 0 {
		return found, nil, nil
	}

	fresh = map[metering.Fingerprint]seriesRef{}
	if err := t.findSeries(ctx, fresh, prints, unknown); err != nil {
		return nil, nil, err
	}
	missing := map[metering.Fingerprint]int{} // one usage each: several may be of one series
	for _, i := range unknown {
		if _, ok := fresh[prints[i]]; !ok {
			missing[prints[i]] = i
		}
	}
	if len(missing) > 0 {
		order := make([]int, 0, len(missing))
		for _, i := range missing {
			order = append(order, i)
		}
		slices.Sort(order)
		if err := t.addSeries(ctx, usage, prints, order); err != nil {
			return nil, nil, err
		}
		if err := t.findSeries(ctx, fresh, prints, order); err != nil {
			return nil, nil, err
		}
	}
	for _, i := range unknown {
		found[i] = fresh[prints[i]]
	}
	return found, fresh, nil
}

// remember keeps series that are stored for good.
func (s *Store) remember(fresh map[metering.Fingerprint]seriesRef) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.series)+len(fresh) > maxKnownSeries {
		clear(s.series)
	}
	for f, ref := range fresh {
		s.series[f] = ref
	}
}

// findSeries looks up the fingerprints of some usage.
func (t *tx) findSeries(ctx context.Context, found map[metering.Fingerprint]seriesRef, prints []metering.Fingerprint, which []int) error {
	for part := range slices.Chunk(which, 500) {
		wanted := make([][]byte, len(part))
		for i, w := range part {
			wanted[i] = prints[w][:]
		}
		query, args := in("SELECT fingerprint, id, slot FROM series WHERE fingerprint IN (?)", wanted)
		err := t.each(ctx, func(rows *sqlx.Rows) error {
			var print []byte
			var ref seriesRef
			if err := rows.Scan(&print, &ref.id, &ref.slot); err != nil {
				return fmt.Errorf("store: series: %w", err)
			}
			found[metering.Fingerprint(print)] = ref
			return nil
		}, query, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// addSeries stores new series. The lease on their scopes keeps others from counting the same slots.
func (t *tx) addSeries(ctx context.Context, usage []metering.Usage, prints []metering.Fingerprint, which []int) error {
	type owner struct{ scope, metric int64 }
	scopes := map[int64]bool{}
	for _, i := range which {
		scopes[usage[i].Scope.Ref] = true
	}
	next := map[owner]int32{}
	for part := range slices.Chunk(keys(scopes), 500) {
		query, args := in("SELECT scope, metric, MAX(slot) + 1 FROM series WHERE scope IN (?) GROUP BY scope, metric", part)
		err := t.each(ctx, func(rows *sqlx.Rows) error {
			var o owner
			var n int32
			if err := rows.Scan(&o.scope, &o.metric, &n); err != nil {
				return fmt.Errorf("store: series: %w", err)
			}
			next[o] = n
			return nil
		}, query, args...)
		if err != nil {
			return err
		}
	}
	values := make([]any, 0, 7*len(which))
	for _, i := range which {
		u := &usage[i]
		o := owner{u.Scope.Ref, u.Metric.Ref}
		values = append(values, o.scope, o.metric, next[o], u.Metric.Unit, attributesJSON(u.Groupby), attributesJSON(u.Metadata), prints[i][:])
		next[o]++
	}
	return t.insertRows(ctx, "INSERT INTO series (scope, metric, slot, unit, groupby, metadata, fingerprint)", "", 7, values)
}

func keys[K comparable, V any](m map[K]V) []K {
	list := make([]K, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	return list
}

// attributesJSON writes attributes as a JSON object, in their order.
func attributesJSON(as metering.Attributes) string {
	b := []byte{'{'}
	for i, a := range as {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(appendJSON(b, a.Name), ':'), appendJSON(nil, a.Value)...)
	}
	return string(append(b, '}'))
}

func appendJSON(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always marshal
	}
	return append(b, text...)
}
