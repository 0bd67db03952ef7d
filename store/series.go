package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"ratebook/fault"
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

// seriesRefs returns where each usage's series, with its fingerprint, is stored, storing those that are new: added are the
// usages of these. fresh must be given to remember once the transaction is committed.
func (s *Store) seriesRefs(ctx context.Context, t *tx, usage []metering.Usage, prints []metering.Fingerprint) (found []seriesRef, fresh map[metering.Fingerprint]seriesRef, added []int, err error) {
	found = make([]seriesRef, len(usage))
	var unknown []int
	s.mu.Lock()
	for i := range usage {
		ref, ok := s.series[prints[i]]
		if !ok {
			unknown = append(unknown, i)
		}
		found[i] = ref
	}
	s.mu.Unlock()
	if len(unknown) == 0 {
		return found, nil, nil, nil
	}

	fresh = map[metering.Fingerprint]seriesRef{}
	next, err := t.nextSlots(ctx, usage, unknown)
	if err != nil {
		return nil, nil, nil, err
	}
	var perhaps []int // those whose scope and metric have series at all
	for _, i := range unknown {
		if next[ownerOf(&usage[i])] > 0 {
			perhaps = append(perhaps, i)
		}
	}
	stored := 0
	for _, n := range next {
		stored += int(n)
	}
	if err := t.findSeries(ctx, fresh, usage, prints, perhaps, stored < 2*len(perhaps)); err != nil {
		return nil, nil, nil, err
	}
	for _, i := range unknown {
		if _, ok := fresh[prints[i]]; ok {
			continue
		}
		o := ownerOf(&usage[i])
		fresh[prints[i]] = seriesRef{slot: next[o]} // several usages may be of one series
		next[o]++
		added = append(added, i)
	}
	if err := t.addSeries(ctx, fresh, usage, prints, added); err != nil {
		return nil, nil, nil, err
	}
	for _, i := range unknown {
		found[i] = fresh[prints[i]]
	}
	return found, fresh, added, nil
}

// storedRefs returns where the series of what a batch's windows are charged are stored, before being their fingerprints. refs and
// prints are those of its usage, most of which are the same series.
func (s *Store) storedRefs(ctx context.Context, t *tx, b *metering.Batch, refs []seriesRef, prints, before []metering.Fingerprint) ([]seriesRef, error) {
	known := make(map[metering.Fingerprint]seriesRef, len(refs))
	for i, ref := range refs {
		known[prints[i]] = ref
	}
	var unknown []int
	for i, print := range before {
		if _, ok := known[print]; !ok {
			unknown = append(unknown, i)
		}
	}
	if err := t.findSeries(ctx, known, b.Before, before, unknown, false); err != nil {
		return nil, err
	}
	found := make([]seriesRef, len(before))
	for i, print := range before {
		ref, ok := known[print]
		if !ok {
			return nil, fault.New(fault.Internal, "a series of scope %d, metric %s is charged, and is not stored", b.Before[i].Scope.Ref, b.Before[i].Metric.Name)
		}
		found[i] = ref
	}
	return found, nil
}

// seriesOwner is what slots are counted for.
type seriesOwner struct{ scope, metric int64 }

func ownerOf(u *metering.Usage) seriesOwner { return seriesOwner{u.Scope.Ref, u.Metric.Ref} }

// nextSlots returns the first free slots of the scopes and metrics of some usage. The lease on the scopes keeps others
// from taking them meanwhile.
func (t *tx) nextSlots(ctx context.Context, usage []metering.Usage, which []int) (map[seriesOwner]int32, error) {
	next := map[seriesOwner]int32{}
	for part := range slices.Chunk(scopesOf(usage, which), 500) {
		query, args := in("SELECT scope, metric, MAX(slot) + 1 FROM series WHERE scope IN (?) GROUP BY scope, metric", part)
		err := t.each(ctx, func(rows *sqlx.Rows) error {
			var o seriesOwner
			var n int32
			if err := rows.Scan(&o.scope, &o.metric, &n); err != nil {
				return fmt.Errorf("store: series: %w", err)
			}
			next[o] = n
			return nil
		}, query, args...)
		if err != nil {
			return nil, err
		}
	}
	return next, nil
}

func scopesOf(usage []metering.Usage, which []int) []int64 {
	scopes := map[int64]bool{}
	for _, i := range which {
		scopes[usage[i].Scope.Ref] = true
	}
	return keys(scopes)
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

// findSeries looks up some usage's series, or all series of its scopes at once: a process that has just started knows none.
func (t *tx) findSeries(ctx context.Context, found map[metering.Fingerprint]seriesRef, usage []metering.Usage, prints []metering.Fingerprint, which []int, all bool) error {
	scan := func(rows *sqlx.Rows) error {
		var print []byte
		var ref seriesRef
		if err := rows.Scan(&print, &ref.id, &ref.slot); err != nil {
			return fmt.Errorf("store: series: %w", err)
		}
		found[metering.Fingerprint(print)] = ref
		return nil
	}
	if all {
		for part := range slices.Chunk(scopesOf(usage, which), 500) {
			query, args := in("SELECT fingerprint, id, slot FROM series WHERE scope IN (?)", part)
			if err := t.each(ctx, scan, query, args...); err != nil {
				return err
			}
		}
		return nil
	}
	for part := range slices.Chunk(which, t.d.printsAtOnce) {
		wanted := make([][]byte, len(part))
		for i, w := range part {
			wanted[i] = prints[w][:]
		}
		query, args := t.d.ofPrints("SELECT fingerprint, id, slot FROM series WHERE fingerprint", wanted)
		if err := t.each(ctx, scan, query, args...); err != nil {
			return err
		}
	}
	return nil
}

// anyPrint ends a query of what has one of some fingerprints with a list that is one argument.
func anyPrint(query string, prints [][]byte) (string, []any) {
	return query + " = ANY (?)", []any{pq.ByteaArray(prints)}
}

// inPrints ends it with an argument for each.
func inPrints(query string, prints [][]byte) (string, []any) { return in(query+" IN (?)", prints) }

// newSeries is a series to be stored.
type newSeries struct {
	id, scope, metric int64
	slot              int32
	unit              string
	groupby, metadata string // JSON
	print             []byte
}

// addSeries stores new series, whose slots are in fresh, and notes their ids there.
func (t *tx) addSeries(ctx context.Context, fresh map[metering.Fingerprint]seriesRef, usage []metering.Usage, prints []metering.Fingerprint, which []int) error {
	if len(which) == 0 {
		return nil
	}
	var ids []int64
	if err := t.list(ctx, &ids, t.d.seriesIDs, len(which)); err != nil {
		return err
	}
	all := make([]newSeries, len(which))
	for k, i := range which {
		u := &usage[i]
		ref := seriesRef{id: ids[k], slot: fresh[prints[i]].slot}
		fresh[prints[i]] = ref
		all[k] = newSeries{ref.id, u.Scope.Ref, u.Metric.Ref, ref.slot, u.Metric.Unit, attributesJSON(u.Groupby, u.Literals), attributesJSON(u.Metadata, u.Literals), prints[i][:]}
	}
	return t.d.loadSeries(ctx, t, all)
}

const seriesColumns = "id, scope, metric, slot, unit, groupby, metadata, fingerprint"

func copySeries(ctx context.Context, t *tx, all []newSeries) error {
	c, err := startCopy(ctx, t, "series", seriesColumns)
	if err != nil {
		return err
	}
	defer c.close()
	for i := range all {
		s := &all[i]
		b := c.rows
		for _, n := range [...]int64{s.id, s.scope, s.metric, int64(s.slot)} {
			b = append(strconv.AppendInt(b, n, 10), '\t')
		}
		for _, text := range [...]string{s.unit, s.groupby, s.metadata} {
			b = append(appendCopyText(b, text), '\t')
		}
		b = append(hex.AppendEncode(append(b, `\\x`...), s.print), '\n')
		if err := c.row(ctx, b); err != nil {
			return err
		}
	}
	return c.done(ctx)
}

func insertSeries(ctx context.Context, t *tx, all []newSeries) error {
	values := make([]any, 0, 8*len(all))
	for i := range all {
		s := &all[i]
		values = append(values, s.id, s.scope, s.metric, s.slot, s.unit, s.groupby, s.metadata, s.print)
	}
	return t.insertRows(ctx, "INSERT INTO series ("+seriesColumns+")", "", 8, values)
}

func keys[K comparable, V any](m map[K]V) []K {
	list := make([]K, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	return list
}

// attributesJSON writes attributes as a JSON object, in their order; the values of those with the names in literals are JSON
// already.
func attributesJSON(as metering.Attributes, literals []string) string {
	return string(append(appendAttributes([]byte{'{'}, as, literals), '}'))
}

// appendAttributes appends the members of such an object.
func appendAttributes(b []byte, as metering.Attributes, literals []string) []byte {
	for i, a := range as {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendJSON(b, a.Name), ':')
		if literals != nil && slices.Contains(literals, a.Name) {
			b = append(b, a.Value...)
		} else {
			b = appendJSON(b, a.Value)
		}
	}
	return b
}

func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, err := json.Marshal(s)
			if err != nil {
				panic(err) // strings always marshal
			}
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
