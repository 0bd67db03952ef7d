package store

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/money"
)

// loader takes charges in bulk, best in the order of their key. done stores the last of them; close ends the loading
// whether or not it came to that.
type loader interface {
	add(ctx context.Context, scope int64, begin time.Time, period, series int64, seq int, qty, price money.Decimal) error
	done(ctx context.Context) error
	close()
}

// ensurePartitions makes the partitions for the months that a range touches.
func (s *Store) ensurePartitions(ctx context.Context, begin, end time.Time) error {
	if s.d != &postgresDialect {
		return nil
	}
	for p := partitionOf(begin); !p.begin.After(end); p = partitionOf(p.end) {
		s.mu.Lock()
		known := s.partitions[p.table]
		s.mu.Unlock()
		if known {
			continue
		}
		err := s.update(ctx, func(t *tx) error {
			if _, err := t.exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('ratebook partitions'))"); err != nil {
				return err
			}
			var one int
			if found, err := t.get(ctx, &one, "SELECT 1 WHERE to_regclass(?) IS NOT NULL", p.table); err != nil || found {
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
		s.mu.Lock()
		s.partitions[p.table] = true
		s.mu.Unlock()
	}
	return nil
}

// copier loads charges by PostgreSQL's COPY. It writes the rows' text itself and hands it to the driver in blocks: through
// database/sql, row by row, it would take twice the time. The connection is busy until the copier is done.
type copier struct {
	conn *sqlx.Conn
	stmt copyStatement
	rows []byte

	scope  int64     // of the row before
	begin  time.Time // and
	period int64
	same   []byte // its text up to the series
}

// copyStatement is what lib/pq's COPY statements can do.
type copyStatement interface {
	CopyData(ctx context.Context, rows string) (driver.Result, error)
	Exec(args []driver.Value) (driver.Result, error)
	Close() error
}

const copyBlock = 64 << 10

func copyCharges(ctx context.Context, t *tx, p *partition) (loader, error) {
	l := &copier{conn: t.conn, rows: make([]byte, 0, copyBlock+1024)}
	err := t.conn.Raw(func(c any) error {
		stmt, err := c.(driver.ConnPrepareContext).PrepareContext(ctx, "copy "+p.table+" (scope, begins_at, period, series, seq, qty, price) from stdin")
		if err == nil {
			l.stmt = stmt.(copyStatement)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: copy charges: %w", err)
	}
	return l, nil
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
	b = append(price.Append(b), '\n')
	l.rows = b
	if len(b) < copyBlock {
		return nil
	}
	return l.flush(ctx)
}

func (l *copier) flush(ctx context.Context) error {
	if len(l.rows) == 0 {
		return nil
	}
	err := l.conn.Raw(func(any) error {
		_, err := l.stmt.CopyData(ctx, string(l.rows[:len(l.rows)-1])) // it ends the last row itself
		return err
	})
	l.rows = l.rows[:0]
	if err != nil {
		return fmt.Errorf("store: copy charges: %w", err)
	}
	return nil
}

func (l *copier) done(ctx context.Context) error {
	if err := l.flush(ctx); err != nil {
		return err
	}
	err := l.conn.Raw(func(any) error {
		_, err := l.stmt.Exec(nil) // what was wrong with a row shows up only here
		return err
	})
	if err != nil {
		return fmt.Errorf("store: copy charges: %w", err)
	}
	return nil
}

func (l *copier) close() {
	_ = l.conn.Raw(func(any) error { return l.stmt.Close() }) // after done there is nothing left to fail; else we fail already
}

// inserter loads charges by statements of many rows.
type inserter struct {
	t      *tx
	values []any
}

func insertCharges(_ context.Context, t *tx, _ *partition) (loader, error) {
	return &inserter{t: t, values: make([]any, 0, 7*insertBlock)}, nil
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
	err := l.t.insertRows(ctx, "INSERT INTO charges (scope, begins_at, period, series, seq, qty, price)", "", 7, l.values)
	l.values = l.values[:0]
	return err
}

func (l *inserter) close() {}
