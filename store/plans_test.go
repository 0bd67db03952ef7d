package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"ratebook/e2e/testserver"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
)

// asked are the statements that went to a database, with the arguments they had first.
type asked struct {
	mu   sync.Mutex
	args map[string][]any
}

func (a *asked) add(query string, args []driver.NamedValue) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.args[query]; known {
		return
	}
	values := make([]any, len(args))
	for i := range args {
		values[i] = args[i].Value
	}
	a.args[query] = values
}

// listener makes connections that note what they are asked.
type listener struct {
	db    *sql.DB
	asked *asked
}

func (l listener) Connect(ctx context.Context) (driver.Conn, error) {
	held, err := l.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	c := &listening{held: held, asked: l.asked}
	return c, held.Raw(func(conn any) error {
		c.Conn = conn.(driver.Conn)
		return nil
	})
}

func (l listener) Driver() driver.Driver { return l.db.Driver() }

type listening struct {
	driver.Conn
	held  *sql.Conn
	asked *asked
}

func (c *listening) Close() error { return c.held.Close() }

func (c *listening) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
}

func (c *listening) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
}

func (c *listening) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.asked.add(query, args)
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c *listening) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.asked.add(query, args)
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

// TestPlansOfLargeLedgers has 10,000 scopes with 24 windows each, 10,000 windows that failed and 10,000 that wait for a
// re-check: no statement about the ledger reads all of it, and a look that finds nothing is quick. SQLite, which does not know
// how much there is, plans for fewer scopes as it does for many.
func TestPlansOfLargeLedgers(t *testing.T) {
	for name, url := range map[string]func() string{
		"sqlite":   func() string { return "sqlite://" + filepath.Join(t.TempDir(), "plans.db") },
		"postgres": func() string { return testserver.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) { largeLedger(t, url()) })
	}
}

// openFresh opens a new database with a source.
func openFresh(t *testing.T, url string) (*Store, metering.Source) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(ctx, url, true, slog.New(slog.DiscardHandler))
	must(err)
	t.Cleanup(func() { s.Close() })
	_, err = s.Migrate(ctx)
	must(err)
	_, err = s.UseSettings(ctx, Wanted{})
	must(err)
	src, err := s.UseSource(ctx, metering.Source{Name: "default", Kind: "static", ScopeKey: "project_id"})
	must(err)
	return s, src
}

func largeLedger(t *testing.T, url string) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s, src := openFresh(t, url)
	_, err := s.Configure(ctx, &metering.Configuration{Metrics: []*metering.Metric{{Source: "default", Name: "cpu", Measured: "cpu", Factor: money.One}}}, "test", "")
	must(err)
	n := 10_000
	if s.d == &sqliteDialect {
		n = 1_000
		var statistics int
		must(s.db.GetContext(ctx, &statistics, "SELECT COUNT(*) FROM sqlite_master WHERE name LIKE 'sqlite_stat%'"))
		if statistics > 0 {
			t.Fatal("SQLite has statistics: it may plan otherwise for more scopes")
		}
	}
	found := make([]metering.Found, n)
	for i := range found {
		found[i].ID = fmt.Sprintf("s%05d", i)
	}
	begin := period.Floor(time.Now(), time.Hour).Add(-25 * time.Hour)
	end := begin.Add(24 * time.Hour)
	_, err = s.AddScopes(ctx, src, "static", found, begin)
	must(err)
	planned, err := s.Plan(ctx, time.Hour, end)
	must(err)
	if planned != int64(24*n) {
		t.Fatal(planned, "windows")
	}
	later := at(time.Now().Add(time.Hour))
	must(s.update(ctx, func(t *tx) error {
		for _, c := range []struct {
			set  string
			hour int
			args []any
		}{
			{"state = 2, attempts = 1", -1, nil}, {"state = 3, error = 'source s" + metering.LacksSamples + "m', next_attempt = ?", 22, []any{later}}, {"task = 0, next_attempt = ?", 21, []any{later}},
		} {
			where, args := "", c.args
			if c.hour >= 0 {
				where, args = " WHERE begins_at = ?", append(args, at(begin.Add(time.Duration(c.hour)*time.Hour)))
			}
			if _, err := t.exec(ctx, "UPDATE windows SET "+c.set+where, args...); err != nil {
				return err
			}
		}
		return nil
	}))
	if s.d == &postgresDialect {
		_, err := s.db.ExecContext(ctx, "VACUUM ANALYZE")
		must(err)
	}

	plain := s.db.DB
	heard := &asked{args: map[string][]any{}}
	s.db = sqlx.NewDb(sql.OpenDB(listener{plain, heard}), s.d.name)
	defer s.db.Close()
	now := metering.LeaseRequest{Holder: "test", For: time.Hour, Scopes: 100}
	again := now
	again.Again = true
	quickest := time.Hour
	for range 20 {
		began := time.Now()
		for _, r := range []metering.LeaseRequest{now, again} {
			leases, err := s.Lease(ctx, r)
			if err != nil || len(leases) > 0 {
				t.Fatal(leases, err)
			}
		}
		_, err := s.Plan(ctx, time.Hour, end)
		must(err)
		quickest = min(quickest, time.Since(began))
	}
	t.Logf("a tick with nothing due takes %s", quickest)

	// something to do in a few scopes
	var task int64
	must(s.update(ctx, func(t *tx) error {
		if _, err := t.get(ctx, &task, `INSERT INTO tasks (kind, state, all_scopes, begins_at, ends_at, as_it_was, reason, author, created_at)
			VALUES ('reprocess', 'running', ?, ?, ?, ?, '', '', ?) RETURNING id`, false, at(begin), at(end), false, at(begin)); err != nil {
			return err
		}
		for i, set := range []string{"state = 0, task = NULL, next_attempt = begins_at", fmt.Sprintf("task = %d, state = 2, next_attempt = begins_at", task)} {
			_, err := t.exec(ctx, "UPDATE windows SET "+set+" WHERE scope IN (SELECT id FROM scopes WHERE scope >= ? AND scope < ?)",
				fmt.Sprintf("s%05d", n/2+100*i), fmt.Sprintf("s%05d", n/2+100*i+50))
			if err != nil {
				return err
			}
		}
		return nil
	}))
	clear(heard.args)
	for _, r := range []metering.LeaseRequest{now, again} {
		for _, r := range []metering.LeaseRequest{r, {Again: r.Again, TriedBefore: 1}, {Again: r.Again, Until: end, Only: []string{fmt.Sprintf("s%05d", n/2), fmt.Sprintf("s%05d", n/2+100)}}} {
			if pending, err := s.Pending(ctx, r); err != nil || !pending {
				t.Error("nothing is pending:", r, err)
			}
			_, err := s.CountFailed(ctx, r)
			must(err)
			must(s.ReleaseAll(ctx))
			r.For, r.Scopes = time.Hour, 10
			leases, err := s.Lease(ctx, r)
			must(err)
			if len(leases) == 0 {
				t.Fatal("nothing was leased")
			}
			b := &metering.Batch{Token: leases[0].Token, Run: leases[0].Run, Task: leases[0].Task, ConfigVersion: 1}
			for _, l := range leases {
				if l.Run == b.Run {
					b.Scopes = append(b.Scopes, l.Scope)
				}
				b.Failed = append(b.Failed, metering.Outcome{Scope: b.Scopes[0], Error: "source s" + metering.LacksSamples + "m", Retry: end})
			}
			must(s.Commit(ctx, b))
		}
	}
	_, err = s.Plan(ctx, time.Hour, end.Add(time.Hour))
	must(err)
	_, err = s.ScopeStates(ctx)
	must(err)
	_, err = s.Lag(ctx)
	must(err)
	_, err = s.Windows(ctx, 1, period.Range{Begin: begin, End: end})
	must(err)
	for _, sel := range []metering.WindowSelection{{Scopes: []int64{int64(n / 2)}}, {}} {
		sel.Range = period.Range{Begin: begin, End: end}
		_, err = s.RetryWindows(ctx, sel, "ada")
		must(err)
		_, err = s.AcceptAbsence(ctx, sel, "x", "ada")
		must(err)
		_, err = s.WaiveWindows(ctx, sel, "x", "ada")
		must(err)
		_, err = s.UnwaiveWindows(ctx, sel, "ada")
		must(err)
	}
	if s.d == &postgresDialect {
		_, err := plain.ExecContext(ctx, "VACUUM ANALYZE windows")
		must(err)
	}
	asked := 0
	for query, args := range heard.args {
		if !strings.Contains(query, "windows") {
			continue
		}
		asked++
		if plan := s.plan(t, plain, query, args); scan(query).MatchString(plan) {
			t.Errorf("this reads the whole ledger:\n%s\n%s", query, plan)
		}
	}
	if asked < 20 {
		t.Errorf("only %d statements were about windows", asked)
	}
}

// scan matches plans that read all windows.
func scan(query string) *regexp.Regexp {
	if strings.Contains(query, "RECURSIVE w(") || strings.Contains(query, ") w") { // w is something else there
		return regexp.MustCompile(`Seq Scan on windows|SCAN windows\n`)
	}
	return regexp.MustCompile(`Seq Scan on windows|SCAN (windows|w|p)\n`)
}

func (s *Store) plan(t *testing.T, db *sql.DB, query string, args []any) string {
	explain := "EXPLAIN "
	if s.d == &sqliteDialect {
		explain = "EXPLAIN QUERY PLAN "
	}
	rows, err := db.QueryContext(t.Context(), explain+query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for rows.Next() {
		line := make([]any, len(columns))
		for i := range line {
			line[i] = new(sql.NullString)
		}
		if err := rows.Scan(line...); err != nil {
			t.Fatal(err)
		}
		b.WriteString(line[len(line)-1].(*sql.NullString).String + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestDiskFull has SQLite find no more room in the middle of a commit: the error says so, and with room it goes on.
func TestDiskFull(t *testing.T) {
	ctx := t.Context()
	s, err := Open(ctx, "sqlite://"+filepath.Join(t.TempDir(), "full.db"), true, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	s.db.SetMaxOpenConns(1)
	var pages int
	if err := s.db.GetContext(ctx, &pages, "PRAGMA page_count"); err != nil {
		t.Fatal(err)
	}
	room := func(more int) {
		if _, err := s.db.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages+more)); err != nil {
			t.Fatal(err)
		}
	}
	found := make([]metering.Found, 2000)
	for i := range found {
		found[i] = metering.Found{ID: fmt.Sprint("scope", i), Name: strings.Repeat("x", 100)}
	}
	src, err := s.UseSource(ctx, metering.Source{Name: "default", Kind: "static", ScopeKey: "project_id"})
	if err != nil {
		t.Fatal(err)
	}
	room(10)
	_, err = s.AddScopes(ctx, src, "static", found, time.Now())
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "disk is full") {
		t.Fatalf("got %v", err)
	}
	if scopes, err := s.Scopes(ctx); err != nil || len(scopes) > 0 {
		t.Fatalf("%d scopes, %v", len(scopes), err)
	}
	room(10_000)
	if n, err := s.AddScopes(ctx, src, "static", found, time.Now()); err != nil || n != len(found) {
		t.Fatalf("%d scopes, %v", n, err)
	}
}

func TestUnavailable(t *testing.T) {
	for _, err := range []error{driver.ErrBadConn, fmt.Errorf("store: x: %w", driver.ErrBadConn), errors.Join(errors.New("x"), sql.ErrConnDone)} {
		if fault.KindOf(unavailable(err)) != fault.Unavailable {
			t.Errorf("%v is not passing", err)
		}
	}
	kinds := map[string]string{
		"53100": "disk is full", "58030": "read or write its disk", "53300": "too many connections", "57P01": "does not answer", "08006": "does not answer",
		"40P01": "does not answer", "42P01": "", "23505": "",
	}
	codes := slices.Sorted(func(yield func(string) bool) {
		for c := range kinds {
			if !yield(c) {
				return
			}
		}
	})
	for _, code := range codes {
		err := unavailable(fmt.Errorf("store: INSERT: %w", pqError(code)))
		if want := kinds[code]; (fault.KindOf(err) == fault.Unavailable) != (want != "") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func pqError(code string) error { return &pq.Error{Code: pqerror.Code(code), Message: "x"} }
