package store

import (
	"context"
	"strings"

	"github.com/jmoiron/sqlx"

	"ratebook/metering"
)

// On SQLite all writers wait for one another, so a transaction must be short. Of a large push, everything that can be is done
// before: series are stored some at a time (those of a push that fails then are used by nobody, and are dropped like others),
// charges are sorted and numbered, and put into a temporary table, which is no part of the file. The transaction copies it,
// which takes a third of the time that inserting does. What others changed meanwhile it finds out, and inserts instead.

const (
	stagedFrom     = 5_000 // points of a push; up to that many a transaction is short
	seriesAtOnce   = 3_000 // that are stored in a transaction
	stagedRows     = 64    // of a statement
	stagedTable    = "temp.pushed_charges"
	stagedColumns  = "scope, begins_at, period, series, seq, qty, price"
	stagedNumbers  = 7
	stagedQuestion = "(?,?,?,?,?,?,?)"
)

// stagedCharge is what others can change of a charge before it is stored.
type stagedCharge struct {
	series int64
	seq    int
}

// storeStaged is store for many points on SQLite.
func (w *pushing) storeStaged(ctx context.Context) (done metering.Pushed, err error) {
	if err := w.storeSeries(ctx); err != nil {
		return done, err
	}
	conn, err := w.s.db.Connx(ctx)
	if err != nil {
		return done, unavailable(err)
	}
	defer func() { _ = conn.Close() }() // only back to the pool
	err = w.s.runOn(ctx, conn, readOnly(w.s.d), func(t *tx) error { return w.number(ctx, t, nil) })
	if err != nil {
		return done, err
	}
	defer func() { _, _ = conn.ExecContext(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS "+stagedTable) }()
	if err := w.stage(ctx, conn); err != nil {
		return done, unavailable(err)
	}
	w.deltas = w.sums()

	w.s.writing.Lock()
	defer w.s.writing.Unlock()
	var fresh map[metering.Fingerprint]seriesRef
	err = w.s.runOn(ctx, conn, nil, func(t *tx) (err error) {
		done, fresh, err = w.transact(ctx, t)
		return err
	})
	if err == nil {
		w.s.remember(fresh)
	}
	return done, err
}

// storeSeries stores series that are new.
func (w *pushing) storeSeries(ctx context.Context) error {
	refs := make([]seriesRef, 0, len(w.usage))
	for len(refs) < len(w.usage) {
		from := len(refs)
		to := min(from+seriesAtOnce, len(w.usage))
		var (
			part  []seriesRef
			fresh map[metering.Fingerprint]seriesRef
		)
		err := w.s.update(ctx, func(t *tx) (err error) {
			if err := w.hold(ctx, t); err != nil {
				return err
			}
			if err := w.s.forgetDeleted(ctx, t); err != nil {
				return err
			}
			part, fresh, _, err = w.s.seriesRefs(ctx, t, w.usage[from:to], w.prints[from:to])
			return err
		})
		if err != nil {
			return err
		}
		w.s.remember(fresh)
		refs = append(refs, part...)
	}
	w.place(refs)
	return nil
}

// stage puts the charges into a temporary table of a connection.
func (w *pushing) stage(ctx context.Context, conn *sqlx.Conn) error {
	for _, query := range []string{
		"DROP TABLE IF EXISTS " + stagedTable,
		"CREATE TEMPORARY TABLE pushed_charges (" + stagedColumns + ")",
		"BEGIN DEFERRED", // takes no lock of the file
	} {
		if _, err := conn.ExecContext(ctx, query); err != nil {
			return err
		}
	}
	err := w.insertStaged(ctx, conn)
	end := "COMMIT"
	if err != nil {
		end = "ROLLBACK"
	}
	if _, e := conn.ExecContext(context.WithoutCancel(ctx), end); err == nil {
		err = e
	}
	return err
}

func (w *pushing) insertStaged(ctx context.Context, conn *sqlx.Conn) error {
	text := func(rows int) string {
		return "INSERT INTO " + stagedTable + " VALUES " + strings.Repeat(stagedQuestion+",", rows-1) + stagedQuestion
	}
	whole, err := conn.PreparexContext(ctx, text(stagedRows))
	if err != nil {
		return err
	}
	defer whole.Close()
	w.staged = make([]stagedCharge, 0, len(w.charges))
	values := make([]any, 0, stagedNumbers*stagedRows)
	for i := range w.charges {
		c := &w.charges[i]
		w.staged = append(w.staged, stagedCharge{c.series.id, c.seq})
		values = append(values, c.scope, c.begin, c.period, c.series.id, c.seq, c.qty.String(), c.price.String())
		switch {
		case len(values) == cap(values):
			_, err = whole.ExecContext(ctx, values...)
		case i == len(w.charges)-1:
			_, err = conn.ExecContext(ctx, text(len(values)/stagedNumbers), values...)
		default:
			continue
		}
		if err != nil {
			return err
		}
		values = values[:0]
	}
	return nil
}

// loadStaged copies the charges that were staged.
func loadStaged(ctx context.Context, t *tx, push int64) error {
	_, err := t.exec(ctx, "INSERT INTO charges ("+stagedColumns+", push) SELECT "+stagedColumns+", ? FROM "+stagedTable+" ORDER BY rowid", push)
	return err
}
