package store

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/jmoiron/sqlx"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"ratebook/fault"
	"ratebook/money"
)

// SQLite has no decimals. They are TEXT; these make it compute with them exactly. None may appear in a schema, an index
// or a trigger, so that any SQLite can open and read the file.
func init() {
	sqlx.BindDriver("sqlite", sqlx.QUESTION)
	sqlite.MustRegisterFunction("decimal_add", &sqlite.FunctionImpl{
		NArgs: 2, Deterministic: true, VolatileArgs: true,
		Scalar: func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
			var a, b money.Decimal
			if err := errors.Join(a.Scan(args[0]), b.Scan(args[1])); err != nil {
				return nil, err
			}
			return a.Add(b).String(), nil
		},
	})
	sqlite.MustRegisterFunction("decimal_sum", &sqlite.FunctionImpl{
		NArgs: 1, Deterministic: true, VolatileArgs: true,
		MakeAggregate: func(sqlite.FunctionContext) (sqlite.AggregateFunction, error) { return &decimalSum{}, nil },
	})
	sqlite.MustRegisterCollationUtf8("decimal", func(left, right string) int {
		a, errA := money.Parse(left)
		b, errB := money.Parse(right)
		if errA != nil || errB != nil { // a collation can't fail: anything else sorts as text
			return strings.Compare(left, right)
		}
		return a.Cmp(b)
	})
}

// decimalSum is the aggregate decimal_sum(x): the exact sum of decimal texts, NULL if there are none.
type decimalSum struct {
	sum money.Decimal
	any bool
}

func (a *decimalSum) step(args []driver.Value, sign func(money.Decimal) money.Decimal) error {
	if args[0] == nil {
		return nil
	}
	var d money.Decimal
	if err := d.Scan(args[0]); err != nil {
		return err
	}
	a.sum, a.any = a.sum.Add(sign(d)), true
	return nil
}

func (a *decimalSum) Step(_ *sqlite.FunctionContext, args []driver.Value) error {
	return a.step(args, func(d money.Decimal) money.Decimal { return d })
}

func (a *decimalSum) WindowInverse(_ *sqlite.FunctionContext, args []driver.Value) error {
	return a.step(args, money.Decimal.Neg)
}

func (a *decimalSum) WindowValue(*sqlite.FunctionContext) (driver.Value, error) {
	if !a.any {
		return nil, nil
	}
	return a.sum.String(), nil
}

func (a *decimalSum) Final(*sqlite.FunctionContext) {}

// sqlitePath returns the file a sqlite URL names.
func sqlitePath(databaseURL string) (string, error) {
	u, err := url.Parse(databaseURL)
	if err != nil || u.Host != "" || u.Path == "" || u.RawQuery != "" {
		return "", fault.New(fault.Invalid, "%q names no SQLite file; use sqlite:///path/to/ratebook.db", redact(databaseURL))
	}
	return u.Path, nil
}

func openSQLite(databaseURL string, create bool) (*sql.DB, error) {
	path, err := sqlitePath(databaseURL)
	if err != nil {
		return nil, err
	}
	mode := "rw"
	if create {
		mode = "rwc"
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fault.Wrap(fault.Unavailable, err, "the folder of the database %s can't be made", path)
		}
	} else if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Unavailable, "there is no database at %s; `ratebook serve` or `ratebook migrate up` makes one", path)
	} else if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the database can't be opened")
	}
	q := url.Values{
		"mode":    {mode},
		"_txlock": {"immediate"}, // a transaction that reads first and then writes would fail at once if another wrote
		"_pragma": {
			// no transaction holds the file for long, but SQLite lets those that wait in as chance will have it
			"busy_timeout(60000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
			"cache_size(-65536)", "temp_store(MEMORY)",
		},
		"_time_integer_format": {"unix"},
		"_inttotime":           {"1"},
		"_timezone":            {"UTC"},
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("store: open %s: %w", path, err)
	}
	db.SetMaxOpenConns(12) // what reports and exports may take at once, and some for the rest
	return db, nil
}

func isSQLiteDuplicate(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// isNetwork reports whether err is a connection's, or says that the file can't be used now.
func isNetwork(err error) bool {
	if code := sqliteCode(err); code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_CANTOPEN {
		return true
	}
	_, ok := errors.AsType[net.Error](err)
	return ok || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func isSQLiteFull(err error) bool { return sqliteCode(err) == sqlite3.SQLITE_FULL }

func isSQLiteIO(err error) bool { return sqliteCode(err) == sqlite3.SQLITE_IOERR }

// sqliteCode returns the primary code of a SQLite error, 0 for others.
func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}
