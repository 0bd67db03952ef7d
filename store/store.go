// Package store keeps Ratebook's state in one SQL database, SQLite or PostgreSQL: what was found, configured, expected,
// collected and rated, and the exact sums of it that reports read. One SQL text serves both databases; what differs is
// in dialect.go.
//
// Times are whole seconds UTC. Errors that a person can act on are fault errors; everything else is internal.
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/migrations"
)

// Store is an open database. It is safe for concurrent use.
type Store struct {
	db  *sqlx.DB
	d   *dialect
	log *slog.Logger

	migrations fs.FS
	path       string      // of a SQLite file
	file       os.FileInfo // as it was opened

	writing sync.Mutex // SQLite takes one writer; queueing here is fairer than its busy handler

	mu          sync.Mutex
	settings    *metering.Settings                 // as first read: they don't change while a worker or a report runs
	series      map[metering.Fingerprint]seriesRef // of series known to be stored
	labels      bySeries[*labels]                  // of series, for reports
	labelled    int                                // how many these are
	frameCounts frameCounts
	sourceRefs  map[sourceVersion]int64

	editing   sync.Mutex                 // of edits of the rules one at a time
	lastRules atomic.Pointer[knownRules] // the latest that are known

	background sync.WaitGroup // of what goes on after the call that began it
	tokenUses  sync.Map       // ids of tokens whose use is being noted

	seriesDeleted string // the setting of that name when series and labels were last found to hold
}

// Open connects to the database a URL names: sqlite:///path/to/file, or postgres://user:password@host/name. A SQLite
// file that does not exist is an error unless create is set. The schema may be of another version: see Migrate and Check.
func Open(ctx context.Context, databaseURL string, create bool, log *slog.Logger) (*Store, error) {
	scheme, _, _ := strings.Cut(databaseURL, ":")
	var (
		db  *sql.DB
		d   *dialect
		err error
	)
	s := &Store{log: log, migrations: migrations.FS, series: map[metering.Fingerprint]seriesRef{}, sourceRefs: map[sourceVersion]int64{}}
	switch scheme {
	case "sqlite":
		d = &sqliteDialect
		db, err = openSQLite(databaseURL, create)
	case "postgres", "postgresql":
		d = &postgresDialect
		db, err = openPostgres(databaseURL, func() { s.forgetAll() })
	default:
		return nil, fault.New(fault.Invalid, "unknown database URL %q; use sqlite:///path or postgres://user@host/name", redact(databaseURL))
	}
	if err != nil {
		return nil, err
	}
	s.db, s.d = sqlx.NewDb(db, d.name), d
	if err := db.PingContext(ctx); err != nil {
		db.Close()
		if d == &sqliteDialect {
			return nil, fault.Wrap(fault.Unavailable, err, "the database %s can't be opened", redact(databaseURL))
		}
		return nil, fault.Wrap(fault.Unavailable, err, "no database at %s; check --database-url and that the server runs", redact(databaseURL))
	}
	if d == &sqliteDialect {
		s.path, _ = sqlitePath(databaseURL) // openSQLite has read it
		s.file, _ = os.Stat(s.path)
	}
	return s, nil
}

// openPostgres opens a database on PostgreSQL. restarted is called before the first use of a server that is not the one that was
// used before, or was started again.
func openPostgres(databaseURL string, restarted func()) (*sql.DB, error) {
	u, err := url.Parse(databaseURL)
	if err != nil || u.Opaque != "" { // the cause would show the password
		return nil, fault.New(fault.Invalid, "the database URL can't be read; use postgres://user:password@host/name")
	}
	q := u.Query()
	for name, value := range map[string]string{
		"application_name": "ratebook",
		"connect_timeout":  "10",
		"timezone":         "UTC",
		"jit":              "off", // compiling a report's plan takes longer than running it
		// our reports read so little that starting workers costs more than they gain
		"max_parallel_workers_per_gather": "0",
		// the server notices after a minute and a half that a client's machine is gone, and frees what it had locked
		"tcp_keepalives_idle":     "60",
		"tcp_keepalives_interval": "10",
		"tcp_keepalives_count":    "3",
	} {
		if !q.Has(name) {
			q.Set(name, value)
		}
	}
	u.RawQuery = q.Encode()
	c, err := pq.NewConnector(u.String())
	if err != nil {
		return nil, fault.New(fault.Invalid, "the database URL %s can't be read: %v", redact(databaseURL), err)
	}
	db := sql.OpenDB(&connector{Connector: c, restarted: restarted})
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(8)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db, nil
}

// connector notices when a server was started again, or another one took its place: what it had acknowledged a moment before may
// be gone then, with synchronous_commit off or after a failover.
type connector struct {
	driver.Connector
	restarted func()

	mu      sync.Mutex
	started string // when the server was
}

// Connect opens a connection.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	started, err := serverStart(ctx, conn)
	if err != nil {
		_ = conn.Close() // what is wrong with it has been said
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started != "" && c.started != started {
		c.restarted()
	}
	c.started = started
	return conn, nil
}

// serverStart returns since when the server runs.
func serverStart(ctx context.Context, conn driver.Conn) (string, error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, "SELECT pg_postmaster_start_time()::text", nil)
	if err != nil {
		return "", err
	}
	value := make([]driver.Value, 1)
	err = rows.Next(value)
	if e := rows.Close(); err == nil {
		err = e
	}
	return fmt.Sprintf("%s", value[0]), err
}

// forgetAll forgets what is remembered of what the database holds.
func (s *Store) forgetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.series)
	clear(s.sourceRefs)
	s.labels, s.labelled = bySeries[*labels]{}, 0
	s.frameCounts = frameCounts{}
	s.lastRules.Store(nil)
}

// redact returns the URL without its passwords; nothing of what does not look like one.
func redact(databaseURL string) string {
	u, err := url.Parse(databaseURL)
	if err != nil || u.Scheme == "" || u.Opaque != "" {
		return "(unreadable URL)"
	}
	q := u.Query()
	for _, secret := range []string{"password", "sslpassword"} {
		if q.Has(secret) {
			q.Set(secret, "xxxxx")
			u.RawQuery = q.Encode()
		}
	}
	return u.Redacted()
}

// Close closes the database.
func (s *Store) Close() error {
	s.background.Wait()
	return s.db.Close()
}

// Ping says whether the database answers; a SQLite file must still be the one that was opened.
func (s *Store) Ping(ctx context.Context) error {
	if s.file != nil {
		if now, err := os.Stat(s.path); err != nil || !os.SameFile(s.file, now) {
			return fault.Wrap(fault.Unavailable, err, "the database file %s was removed or replaced; restart this process", s.path)
		}
	}
	return s.db.PingContext(ctx)
}

// tx is a transaction; its queries are written with ? and rebound.
type tx struct {
	*sqlx.Tx
	conn *sqlx.Conn // that the transaction has to itself
	d    *dialect
}

// update runs fn in a read-write transaction that commits if fn returns nil. fn may run several times: the database may
// end one of two transactions that wait for each other.
func (s *Store) update(ctx context.Context, fn func(t *tx) error) error {
	if s.d.oneWriter {
		s.writing.Lock()
		defer s.writing.Unlock()
	}
	const attempts = 3
	for i := 1; ; i++ {
		err := s.run(ctx, nil, fn)
		if i == attempts || class(err) != classRollback {
			return err
		}
	}
}

// view runs fn in a read-only transaction that sees one state of the database throughout.
func (s *Store) view(ctx context.Context, fn func(t *tx) error) error {
	return s.run(ctx, readOnly(s.d), fn)
}

// readOnly is how a transaction that sees one state of the database is begun.
func readOnly(d *dialect) *sql.TxOptions {
	return &sql.TxOptions{ReadOnly: true, Isolation: d.snapshot}
}

func (s *Store) run(ctx context.Context, o *sql.TxOptions, fn func(t *tx) error) error {
	conn, err := s.db.Connx(ctx)
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = conn.Close() }() // only back to the pool
	if err = s.runOn(ctx, conn, o, fn); err != nil && s.d == &postgresDialect && brokenOff(err) {
		s.forgetAll()
	}
	return err
}

// brokenOff reports whether a server ended a connection, maybe since it went down.
func brokenOff(err error) bool {
	return class(err) == "08" || isNetwork(err) || pq.As(err, pqerror.AdminShutdown, pqerror.CrashShutdown, pqerror.CannotConnectNow) != nil
}

// runOn is run on a connection.
func (s *Store) runOn(ctx context.Context, conn *sqlx.Conn, o *sql.TxOptions, fn func(t *tx) error) error {
	// Statements end with ctx, the transaction only below: database/sql would roll it back as soon as ctx ends, between two
	// blocks of a COPY too, and the server takes no statement in the middle of one.
	t, err := conn.BeginTxx(context.WithoutCancel(ctx), o)
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = t.Rollback() }() // also when fn panics; after a commit it does nothing
	opened := &tx{t, conn, s.d}
	if s.d.limit != "" && o == nil {
		if _, err = opened.exec(ctx, s.d.limit); err != nil {
			return unavailable(err)
		}
	}
	err = fn(opened)
	if e := ctx.Err(); e != nil && fault.KindOf(err) == fault.Internal {
		return errors.Join(e, err) // a statement that was cut short has many names
	}
	if err != nil {
		return unavailable(err)
	}
	return unavailable(t.Commit())
}

// unavailable marks errors of the connection and of the machine, so that callers try again instead of giving up.
func unavailable(err error) error {
	if err == nil || fault.KindOf(err) != fault.Internal {
		return err
	}
	switch c := class(err); {
	case isDiskFull(err):
		return fault.Wrap(fault.Unavailable, err, "the database's disk is full; make room on it, then work goes on by itself")
	case c == "58" || isSQLiteIO(err):
		return fault.Wrap(fault.Unavailable, err, "the database can't read or write its disk, which may be full or broken")
	case c == "53":
		return fault.Wrap(fault.Unavailable, err, "the database has too little memory or too many connections")
	case c == "08" || c == "57" || c == classRollback || pq.As(err, pqerror.IdleInTransactionSessionTimeout) != nil || errors.Is(err, sql.ErrConnDone) || isNetwork(err):
		return fault.Wrap(fault.Unavailable, err, "the database does not answer")
	}
	return err
}

// isDiskFull reports whether the database found no room on its disk.
func isDiskFull(err error) bool {
	return pq.As(err, pqerror.DiskFull) != nil || isSQLiteFull(err)
}

// classRollback is the class of deadlocks and of serialization failures.
const classRollback = "40"

// class returns the class of a PostgreSQL error, empty for others.
func class(err error) string {
	if e, ok := errors.AsType[*pq.Error](err); ok {
		return string(e.Code[:2])
	}
	return ""
}

func (t *tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	r, err := t.ExecContext(ctx, t.Rebind(query), args...)
	if err != nil {
		return 0, fmt.Errorf("store: %s: %w", firstWords(query), err)
	}
	return r.RowsAffected()
}

// get reads one row into dest's fields or scalar; found is false if there is none.
func (t *tx) get(ctx context.Context, dest any, query string, args ...any) (found bool, err error) {
	err = t.GetContext(ctx, dest, t.Rebind(query), args...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("store: %s: %w", firstWords(query), err)
	}
	return true, nil
}

func (t *tx) list(ctx context.Context, dest any, query string, args ...any) error {
	if err := t.SelectContext(ctx, dest, t.Rebind(query), args...); err != nil {
		return fmt.Errorf("store: %s: %w", firstWords(query), err)
	}
	return nil
}

// each calls fn for every row; fn scans it.
func (t *tx) each(ctx context.Context, fn func(*sqlx.Rows) error, query string, args ...any) error {
	rows, err := t.QueryxContext(ctx, t.Rebind(query), args...)
	if err != nil {
		return fmt.Errorf("store: %s: %w", firstWords(query), err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("store: %s: %w", firstWords(query), err)
	}
	return nil
}

// in expands slices among args, each for one "(?)" of the query.
func in(query string, args ...any) (string, []any) {
	query, args, err := sqlx.In(query, args...)
	if err != nil {
		panic("store: " + err.Error()) // a slice is empty or misplaced: a mistake in this package
	}
	return query, args
}

// insertRows runs an INSERT for many rows: head ("INSERT INTO t (a, b)"), their values, tail ("ON CONFLICT ...").
func (t *tx) insertRows(ctx context.Context, head, tail string, columns int, values []any) error {
	const most = 64 // rows a statement: more gains nothing on either database
	row := "(" + strings.Repeat("?,", columns-1) + "?)"
	text := func(rows int) string {
		return t.Rebind(head + " VALUES " + strings.Repeat(row+",", rows-1) + row + " " + tail)
	}
	if len(values) >= 2*most*columns {
		stmt, err := t.PreparexContext(ctx, text(most))
		if err != nil {
			return fmt.Errorf("store: %s: %w", firstWords(head), err)
		}
		defer stmt.Close()
		for len(values) >= most*columns {
			if _, err := stmt.ExecContext(ctx, values[:most*columns]...); err != nil {
				return fmt.Errorf("store: %s: %w", firstWords(head), err)
			}
			values = values[most*columns:]
		}
	}
	for len(values) > 0 {
		n := min(most, len(values)/columns)
		if _, err := t.ExecContext(ctx, text(n), values[:n*columns]...); err != nil {
			return fmt.Errorf("store: %s: %w", firstWords(head), err)
		}
		values = values[n*columns:]
	}
	return nil
}

// isDuplicate reports whether err is a unique key's.
func isDuplicate(err error) bool {
	return pq.As(err, pqerror.UniqueViolation) != nil || isSQLiteDuplicate(err)
}

// firstWords names a statement in an error.
func firstWords(query string) string {
	f := strings.Fields(query)
	return strings.Join(f[:min(4, len(f))], " ")
}

// timestamp scans a time of either database; NULL is the zero time.
type timestamp struct{ time.Time }

func (t *timestamp) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		t.Time = time.Time{}
	case time.Time:
		t.Time = v.UTC()
	case int64:
		t.Time = time.Unix(v, 0).UTC()
	default:
		return fmt.Errorf("store: can't read a time from %T", src)
	}
	return nil
}

// at binds a time in whole seconds; the zero time is NULL.
func at(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Truncate(time.Second)
}
