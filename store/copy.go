package store

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// copying is one COPY of PostgreSQL. It takes rows as text and hands them to the driver in blocks: through database/sql,
// row by row, it would take twice the time. The connection is busy until it is done.
type copying struct {
	conn  *sqlx.Conn
	table string
	stmt  copyStatement
	rows  []byte // whole rows, each with its line feed
}

// copyStatement is what lib/pq's COPY statements can do.
type copyStatement interface {
	CopyData(ctx context.Context, rows string) (driver.Result, error)
	Exec(args []driver.Value) (driver.Result, error)
	Close() error
}

const copyBlock = 64 << 10

// startCopy begins a COPY into a table. Whatever comes of it, it must be closed.
func startCopy(ctx context.Context, t *tx, table, columns string) (*copying, error) {
	c := &copying{conn: t.conn, table: table, rows: make([]byte, 0, copyBlock+4096)}
	err := c.raw(func(conn any) error {
		stmt, err := conn.(driver.ConnPrepareContext).PrepareContext(ctx, "copy "+table+" ("+columns+") from stdin")
		if err == nil {
			c.stmt = stmt.(copyStatement)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: copy %s: %w", table, err)
	}
	return c, nil
}

// row takes c.rows with a row appended.
func (c *copying) row(ctx context.Context, rows []byte) error {
	c.rows = rows
	if len(rows) < copyBlock {
		return nil
	}
	return c.flush(ctx)
}

func (c *copying) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil || len(c.rows) == 0 {
		return err
	}
	err := c.raw(func(any) error {
		_, err := c.stmt.CopyData(ctx, string(c.rows[:len(c.rows)-1])) // it ends the last row itself
		return err
	})
	c.rows = c.rows[:0]
	if err != nil {
		return fmt.Errorf("store: copy %s: %w", c.table, err)
	}
	return nil
}

// done sends the last rows and waits until the database has taken all; what was wrong with one shows up only here.
func (c *copying) done(ctx context.Context) error {
	if err := c.flush(ctx); err != nil {
		return err
	}
	err := c.raw(func(any) error {
		_, err := c.stmt.Exec(nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("store: copy %s: %w", c.table, err)
	}
	return nil
}

// close ends the COPY if it isn't done; the transaction has failed then, and nothing more can.
func (c *copying) close() {
	_ = c.raw(func(any) error { return c.stmt.Close() })
}

// raw calls fn with the driver's connection. fn's error goes round database/sql, which would close the connection on
// driver.ErrBadConn and wait for the transaction to end first, forever. The pool drops it later: the driver knows.
func (c *copying) raw(fn func(conn any) error) error {
	var err error
	if e := c.conn.Raw(func(conn any) error {
		err = fn(conn)
		return nil
	}); e != nil {
		return e
	}
	return err
}

// appendCopyText appends a text with the characters escaped that mean something to COPY.
func appendCopyText(b []byte, s string) []byte {
	for i := range len(s) {
		switch s[i] {
		case '\\':
			b = append(b, `\\`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, s[i])
		}
	}
	return b
}
