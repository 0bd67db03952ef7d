package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// dialect holds what differs between the databases: the few fragments of SQL, and how charges are loaded.
type dialect struct {
	name      string // sqlx's and goose's driver name
	oneWriter bool
	snapshot  sql.IsolationLevel // in which a read-only transaction sees one state throughout

	skipLocked string // ends a SELECT whose rows are taken by one worker, the others passing over them
	forUpdate  string // ends a SELECT whose rows stay as they are until the transaction ends
	forShare   string // ends a SELECT whose rows aren't changed until the transaction ends; others may read them so, too
	decimalAdd string // the exact sum of two decimal columns, %s and %s
	decimalSum string // the exact sum of all values of a decimal column, %s
	timeAdd    string // the time %s and %s seconds, a number or ?
	bindTime   string // a bound time where nothing else says its type
	nextToken  string // a query that makes the next lease token
	unixTime   string // the whole seconds of the time %s since the epoch

	// limit begins a transaction that writes: a process that is stopped in the middle, or cut off, must not keep its locks for ever
	limit string

	commitPoints int // the most points of one commit, to keep transactions short

	printsAtOnce int // fingerprints that one query looks for
	ofPrints     func(query string, prints [][]byte) (string, []any)

	seriesIDs     string // as many new ids of series as the parameter says
	loadSeries    func(ctx context.Context, t *tx, all []newSeries) error
	loadCharges   func(ctx context.Context, t *tx, p *partition) (loader, error)
	changeCharges func(ctx context.Context, t *tx, p *partition) (loader, error) // those that are loaded take the place of those with their key
	loadPushed    func(ctx context.Context, t *tx, push int64, charges []pushedCharge) error
}

var postgresDialect = dialect{
	name:          "postgres",
	snapshot:      sql.LevelRepeatableRead,
	skipLocked:    "FOR UPDATE SKIP LOCKED",
	forUpdate:     "FOR UPDATE",
	forShare:      "FOR SHARE",
	decimalAdd:    "%s + %s",
	decimalSum:    "SUM(%s)",
	timeAdd:       "%s + make_interval(secs => %s)",
	bindTime:      "CAST(? AS timestamptz)",
	nextToken:     "SELECT nextval('lease_tokens')",
	unixTime:      "CAST(extract(epoch FROM %s) AS bigint)",
	limit:         "SELECT set_config('idle_in_transaction_session_timeout', '15s', true), set_config('statement_timeout', '60s', true)",
	commitPoints:  200_000,
	printsAtOnce:  5_000,
	ofPrints:      anyPrint,
	seriesIDs:     "SELECT nextval('series_id_seq') FROM generate_series(1, ?)",
	loadSeries:    copySeries,
	loadCharges:   copyCharges,
	changeCharges: updateCharges,
	loadPushed:    copyPushed,
}

var sqliteDialect = dialect{
	name:         "sqlite",
	oneWriter:    true,
	decimalAdd:   "decimal_add(%s, %s)",
	decimalSum:   "decimal_sum(%s)",
	timeAdd:      "%s + %s",
	bindTime:     "CAST(? AS integer)",
	nextToken:    "UPDATE lease_tokens SET last = last + 1 RETURNING last",
	unixTime:     "%s",
	commitPoints: 24_000, // some 100 ms, with series that are all new some 250
	printsAtOnce: 50,
	ofPrints:     inPrints,
	seriesIDs: `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'series'), 0) + i FROM n`,
	loadSeries:    insertSeries,
	loadCharges:   insertCharges,
	changeCharges: replaceCharges,
	loadPushed:    insertPushed,
}

// add returns SQL for the exact sum of two decimals.
func (d *dialect) add(a, b string) string { return fmt.Sprintf(d.decimalAdd, a, b) }

// sum returns SQL for the exact sum of a column of decimals.
func (d *dialect) sum(column string) string { return fmt.Sprintf(d.decimalSum, column) }

// later returns SQL for a time some bound seconds later.
func (d *dialect) later(t string) string { return d.laterBy(t, "?") }

// laterBy returns SQL for a time some seconds later.
func (d *dialect) laterBy(t, seconds string) string { return fmt.Sprintf(d.timeAdd, t, seconds) }

// seconds returns SQL for the seconds of a time since the epoch.
func (d *dialect) seconds(t string) string { return fmt.Sprintf(d.unixTime, t) }

// partition is where the charges of one UTC month go.
type partition struct {
	table      string
	begin, end time.Time
}

func partitionOf(t time.Time) partition {
	y, m, _ := t.UTC().Date()
	return partition{
		table: fmt.Sprintf("charges_%04d_%02d", y, m),
		begin: time.Date(y, m, 1, 0, 0, 0, 0, time.UTC),
		end:   time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC),
	}
}
