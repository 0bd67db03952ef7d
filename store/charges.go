package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"ratebook/money"
)

// loader takes charges in bulk, best in the order of their key. done stores the last of them; close ends the loading
// whether or not it came to that.
type loader interface {
	add(ctx context.Context, scope int64, begin time.Time, period, series int64, seq int, qty, price money.Decimal) error
	done(ctx context.Context) error
	close()
}

// ensurePartitions makes the partitions for the months that a range touches. What it has seen before is asked again: another
// process may have dropped it since.
func (s *Store) ensurePartitions(ctx context.Context, begin, end time.Time) error {
	if s.d != &postgresDialect {
		return nil
	}
	for p := partitionOf(begin); !p.begin.After(end); p = partitionOf(p.end) {
		var exists bool
		if err := s.db.GetContext(ctx, &exists, "SELECT to_regclass($1) IS NOT NULL", p.table); err != nil {
			return unavailable(err)
		}
		if exists {
			continue
		}
		err := s.update(ctx, func(t *tx) error {
			if exists, err := t.partitionExists(ctx, &p); err != nil || exists {
				return err
			}
			// CREATE TABLE ... PARTITION OF would wait for every report that reads charges, and make others wait
			_, err := t.exec(ctx, fmt.Sprintf("CREATE TABLE %s (LIKE charges INCLUDING DEFAULTS INCLUDING CONSTRAINTS)", p.table))
			if err != nil {
				return err
			}
			_, err = t.exec(ctx, fmt.Sprintf("ALTER TABLE charges ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')",
				p.table, p.begin.Format(time.RFC3339), p.end.Format(time.RFC3339)))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// partitionExists says whether a partition does, and keeps others from making or dropping any until the transaction ends.
func (t *tx) partitionExists(ctx context.Context, p *partition) (exists bool, err error) {
	if _, err := t.exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('ratebook partitions'))"); err != nil {
		return false, err
	}
	// not to_regclass: the connection may remember that there was none, from before it waited for the lock
	_, err = t.get(ctx, &exists, "SELECT EXISTS (SELECT 1 FROM pg_class WHERE relname = ? AND pg_table_is_visible(oid))", p.table)
	return exists, err
}

// copier loads charges by PostgreSQL's COPY.
type copier struct {
	*copying

	scope  int64     // of the row before
	begin  time.Time // and
	period int64
	same   []byte // its text up to the series
}

func copyCharges(ctx context.Context, t *tx, p *partition) (loader, error) {
	c, err := startCopy(ctx, t, p.table, "scope, begins_at, period, series, seq, qty, price")
	return &copier{copying: c}, err
}

func (l *copier) add(ctx context.Context, scope int64, begin time.Time, period, series int64, seq int, qty, price money.Decimal) error {
	if l.same == nil || scope != l.scope || period != l.period || !begin.Equal(l.begin) {
		l.scope, l.begin, l.period = scope, begin, period
		l.same = append(strconv.AppendInt(l.same[:0], scope, 10), '\t')
		l.same = append(begin.UTC().AppendFormat(l.same, time.RFC3339), '\t')
		l.same = append(strconv.AppendInt(l.same, period, 10), '\t')
	}
	b := append(l.rows, l.same...)
	b = append(strconv.AppendInt(b, series, 10), '\t')
	b = append(strconv.AppendInt(b, int64(seq), 10), '\t')
	b = append(qty.Append(b), '\t')
	return l.row(ctx, append(price.Append(b), '\n'))
}

// inserter loads charges by statements of many rows.
type inserter struct {
	t      *tx
	insert string // INSERT or REPLACE
	values []any
}

func insertCharges(_ context.Context, t *tx, _ *partition) (loader, error) {
	return &inserter{t: t, insert: "INSERT", values: make([]any, 0, 7*insertBlock)}, nil
}

// replaceCharges changes charges in place, which takes half the time of deleting and inserting.
func replaceCharges(_ context.Context, t *tx, _ *partition) (loader, error) {
	return &inserter{t: t, insert: "REPLACE", values: make([]any, 0, 7*insertBlock)}, nil
}

// insertBlock is how many charges are collected before they are inserted.
const insertBlock = 4096

func (l *inserter) add(ctx context.Context, scope int64, begin time.Time, period, series int64, seq int, qty, price money.Decimal) error {
	l.values = append(l.values, scope, begin.Unix(), period, series, seq, qty.String(), price.String())
	if len(l.values) == cap(l.values) {
		return l.done(ctx)
	}
	return nil
}

func (l *inserter) done(ctx context.Context) error {
	err := l.t.insertRows(ctx, l.insert+" INTO charges (scope, begins_at, period, series, seq, qty, price)", "", 7, l.values)
	l.values = l.values[:0]
	return err
}

func (l *inserter) close() {}

// updater changes charges by PostgreSQL's UPDATE, many at once, which takes half the time of deleting and copying them.
type updater struct {
	t     *tx
	table string

	rows        int
	values      [6][]byte // arrays: scope, begins_at, series, seq, qty, price
	scopes      []int64   // each once
	first, last time.Time // begins
}

func updateCharges(_ context.Context, t *tx, p *partition) (loader, error) {
	return &updater{t: t, table: p.table}, nil
}

// updateBlock is how many charges are collected before they are changed.
const updateBlock = 20_000

func (l *updater) add(ctx context.Context, scope int64, begin time.Time, _, series int64, seq int, qty, price money.Decimal) error {
	if n := len(l.scopes); n == 0 || l.scopes[n-1] != scope {
		l.scopes = append(l.scopes, scope)
	}
	if l.rows == 0 || begin.Before(l.first) {
		l.first = begin
	}
	if l.rows == 0 || begin.After(l.last) {
		l.last = begin
	}
	between := byte(',')
	if l.rows == 0 {
		between = '{'
	}
	for i := range l.values {
		l.values[i] = append(l.values[i], between)
	}
	v := &l.values
	v[0] = strconv.AppendInt(v[0], scope, 10)
	v[1] = strconv.AppendInt(v[1], begin.Unix(), 10)
	v[2] = strconv.AppendInt(v[2], series, 10)
	v[3] = strconv.AppendInt(v[3], int64(seq), 10)
	v[4] = qty.Append(v[4])
	v[5] = price.Append(v[5])
	if l.rows++; l.rows == updateBlock {
		return l.done(ctx)
	}
	return nil
}

func (l *updater) done(ctx context.Context) error {
	if l.rows == 0 {
		return nil
	}
	args := []any{}
	for i := range l.values {
		args = append(args, string(append(l.values[i], '}')))
		l.values[i] = l.values[i][:0]
	}
	// where they are is said twice, so that the index is read from there to there, and not the whole table
	query, more := in("UPDATE "+l.table+` AS c SET qty = n.qty, price = n.price
		FROM unnest(CAST(? AS int[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS smallint[]), CAST(? AS numeric[]), CAST(? AS numeric[]))
			AS n (scope, begins_at, series, seq, qty, price)
		WHERE c.scope = n.scope AND c.begins_at = to_timestamp(n.begins_at) AND c.series = n.series AND c.seq = n.seq
			AND c.scope IN (?) AND c.begins_at >= ? AND c.begins_at <= ?`, append(args, l.scopes, at(l.first), at(l.last))...)
	changed, err := l.t.exec(ctx, query, more...)
	if err == nil && changed != int64(l.rows) {
		return fmt.Errorf("store: %d of %d charges of %s that are to change are not there", int64(l.rows)-changed, l.rows, l.table)
	}
	l.rows, l.scopes = 0, l.scopes[:0]
	return err
}

func (l *updater) close() {}
