package store_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jmoiron/sqlx"
	"modernc.org/sqlite"

	"ratebook/e2e/testserver"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/migrations"
	"ratebook/money"
	"ratebook/period"
	"ratebook/store"
	"ratebook/store/storetest"
)

func TestMain(m *testing.M) {
	for name, n := range map[string]string{"rapid.checks": "3", "rapid.steps": "30"} { // unless they are given: a case takes seconds
		if err := flag.Set(name, n); err != nil {
			panic(err)
		}
	}
	testserver.Main(m)
}

func sqliteURL(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "ratebook.db") }

func postgresURL(t *testing.T) string { return testserver.Postgres(t) }

var databases = map[string]func(*testing.T) string{"sqlite": sqliteURL, "postgres": postgresURL}

func TestSQLite(t *testing.T) { storetest.Run(t, sqliteURL) }

func TestPostgreSQL(t *testing.T) { storetest.Run(t, postgresURL) }

// TestRandomSequences has small transactions, so that most of what is done takes several.
func TestRandomSequences(t *testing.T) {
	defer store.SplitCommits(60)()
	defer store.SplitMarks(7)()
	for dialect, url := range databases {
		t.Run(dialect, func(t *testing.T) { storetest.Sequences(t, url) })
	}
}

func TestDatabasesAnswerAlike(t *testing.T) {
	if a, b := storetest.Answers(t, sqliteURL(t)), storetest.Answers(t, postgresURL(t)); a != b {
		t.Errorf("SQLite answers:\n%s\nPostgreSQL:\n%s", a, b)
	}
}

var quiet = slog.New(slog.DiscardHandler)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), url, true, quiet)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func TestOpenRefuses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "folder", "none.db")
	folder := t.TempDir()
	for _, c := range []struct {
		url    string
		create bool
		kind   fault.Kind
		word   string
	}{
		{"", true, fault.Invalid, "postgres://"},
		{"mysql://u:hunter2@h/db", true, fault.Invalid, "sqlite:///path"},
		{"u:hunter2@h/db", true, fault.Invalid, "sqlite:///path"},
		{"host=localhost password=hunter2 dbname=x", true, fault.Invalid, "sqlite:///path"},
		{"sqlite://", true, fault.Invalid, "sqlite:///path"},
		{"sqlite://relative.db", true, fault.Invalid, "sqlite:///path"},
		{"sqlite://u:hunter2@h/x.db", true, fault.Invalid, "sqlite:///path"},
		{"sqlite:///x.db?mode=memory", true, fault.Invalid, "sqlite:///path"},
		{"sqlite://" + missing, false, fault.Unavailable, "`ratebook migrate up`"},
		{"sqlite://" + folder, true, fault.Unavailable, folder},
		{"sqlite:///dev/null/x.db", true, fault.Unavailable, "/dev/null"},
		{"postgres://u:hunter2@127.0.0.1:1/db?sslmode=disable", true, fault.Unavailable, "--database-url"},
		{"postgres://127.0.0.1:1/db?user=u&password=hunter2&sslmode=disable", true, fault.Unavailable, "127.0.0.1:1"},
		{"postgres://u:hunter2@127.0.0.1:1/db?sslmode=odd", true, fault.Invalid, ""},
		{"postgres://u:hunter2@h:port/db", true, fault.Invalid, "postgres://user"},
		{"postgres://u:hunter2%@h/db", true, fault.Invalid, "postgres://user"},
		{"postgres:u:hunter2@h/db", true, fault.Invalid, "postgres://user"},
		{"postgresql://u:hunter2@127.0.0.1:1/db?sslmode=disable&connect_timeout=odd", true, fault.Invalid, ""},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		s, err := store.Open(ctx, c.url, c.create, quiet)
		cancel()
		if err == nil {
			s.Close()
			t.Errorf("%s was opened", c.url)
			continue
		}
		if fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: kind %d, %v; want kind %d and %q", c.url, fault.KindOf(err), err, c.kind, c.word)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password: %v", c.url, err)
		}
	}
	if _, err := os.Stat(filepath.Dir(missing)); err == nil {
		t.Error("a database that was not to be made has a folder now")
	}
}

// future is what the next version of the program may bring: one more migration, good or bad.
func future(t *testing.T, dialect, up string) fs.FS {
	t.Helper()
	folder := fstest.MapFS{}
	entries, err := fs.ReadDir(migrations.FS, dialect)
	must(t, err)
	for _, f := range entries {
		text, err := fs.ReadFile(migrations.FS, dialect+"/"+f.Name())
		must(t, err)
		folder[dialect+"/"+f.Name()] = &fstest.MapFile{Data: text}
	}
	folder[dialect+"/09999_future.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + up + ";\n-- +goose Down\nDROP TABLE future;\n")}
	return folder
}

func TestMigrateOldSchema(t *testing.T) {
	for dialect, url := range databases {
		t.Run(dialect, func(t *testing.T) {
			u := url(t)
			s := open(t, u)
			_, err := s.Migrate(t.Context())
			must(t, err)
			_, err = s.UseSettings(t.Context(), store.Wanted{Currency: "CHF"})
			must(t, err)
			file := strings.TrimPrefix(u, "sqlite://")
			backup := file + ".before-v9999"

			next := open(t, u)
			store.UseMigrations(next, future(t, dialect, "CREATE TABLE broken (this is wrong"))
			err = next.Check(t.Context())
			if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "`ratebook migrate up`") {
				t.Errorf("check of an old schema: %v", err)
			}
			if _, err := next.Migrate(t.Context()); err == nil {
				t.Fatal("a broken migration went through")
			}
			must(t, s.Check(t.Context())) // nothing has changed
			store.UseMigrations(next, future(t, dialect, "CREATE TABLE future (id int)"))
			versions, err := next.Migrate(t.Context())
			must(t, err)
			if len(versions) != 1 || versions[0] != 9999 {
				t.Errorf("went through %v", versions)
			}
			must(t, next.Check(t.Context()))
			if err := s.Check(t.Context()); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "newer") {
				t.Errorf("check of a new schema: %v", err)
			}
			if dialect != "sqlite" {
				return
			}
			before := open(t, "sqlite://"+backup)
			must(t, before.Check(t.Context())) // the copy is of the old version, with its data
			settings, err := before.UseSettings(t.Context(), store.Wanted{})
			must(t, err)
			if settings.Currency != "CHF" {
				t.Errorf("the copy has %+v", settings)
			}
		})
	}
	t.Run("nothing to copy", func(t *testing.T) {
		u := sqliteURL(t)
		_, err := open(t, u).Migrate(t.Context())
		must(t, err)
		if copies, _ := filepath.Glob(strings.TrimPrefix(u, "sqlite://") + ".before*"); len(copies) > 0 {
			t.Errorf("an empty database was copied to %v", copies)
		}
	})
}

// TestSplitCommits looks at batches that take several transactions, each of whole windows.
func TestSplitCommits(t *testing.T) {
	defer store.SplitCommits(100)()
	for dialect, url := range databases {
		t.Run(dialect, func(t *testing.T) {
			ctx := t.Context()
			s := open(t, url(t))
			_, err := s.Migrate(ctx)
			must(t, err)
			_, err = s.UseSettings(ctx, store.Wanted{})
			must(t, err)
			src, err := s.UseSource(ctx, metering.Source{Name: "default", Kind: "demo", ScopeKey: "project_id"})
			must(t, err)
			_, err = s.Configure(ctx, &metering.Configuration{Metrics: []*metering.Metric{{Source: "default", Name: "cpu", Measured: "cpu", Factor: money.One}}}, "test", "")
			must(t, err)
			c, err := s.Configuration(ctx, 0)
			must(t, err)
			begin := time.Date(2026, 10, 31, 20, 0, 0, 0, time.UTC)
			_, err = s.AddScopes(ctx, src, "demo", []metering.Found{{ID: "a"}, {ID: "b"}, {ID: "c"}}, begin)
			must(t, err)
			_, err = s.Plan(ctx, time.Hour, begin.Add(10*time.Hour))
			must(t, err)
			leases, err := s.Lease(ctx, metering.LeaseRequest{Holder: "test", For: time.Hour, Scopes: 3})
			must(t, err)
			b := &metering.Batch{Token: leases[0].Token, Run: leases[0].Run}
			for _, l := range leases {
				b.Scopes = append(b.Scopes, l.Scope)
				for id := range 25 {
					u := metering.Usage{Series: metering.Series{Scope: l.Scope, Metric: c.Metrics[0], Groupby: metering.Attributes{{Name: "id", Value: fmt.Sprint(id)}}}}
					for w := range b.Run.Count {
						u.Samples = append(u.Samples, metering.Sample{Window: w, Qty: money.New(1, 0), Price: money.New(int64(w), 2)})
					}
					b.Usage = append(b.Usage, u)
				}
				b.Failed = append(b.Failed, metering.Outcome{Scope: l.Scope, Window: 9, Error: "x", Retry: begin})
				b.Findings = append(b.Findings, metering.Finding{Kind: metering.Skipped, Scope: l.Scope, Window: 8, Metric: "cpu", Points: 1})
			}
			states := func() (all string) {
				scopes, err := s.Scopes(ctx)
				must(t, err)
				for _, scope := range scopes {
					windows, err := s.Windows(ctx, scope.Ref, period.Range{Begin: begin, End: begin.Add(10 * time.Hour)})
					must(t, err)
					all += scope.ID
					for _, w := range windows {
						all += fmt.Sprint(w.State)
						if w.State == metering.Done && w.Points != 25 {
							t.Errorf("%s %v has %d points", scope.ID, w.Begin, w.Points)
						}
					}
				}
				return all
			}
			// the last scope's lease is lost: what comes before is stored, whole
			must(t, s.Release(ctx, b.Token, b.Scopes[2:]))
			if err := s.Commit(ctx, b); fault.KindOf(err) != fault.Conflict {
				t.Fatal(err)
			}
			if got := states(); !strings.HasPrefix(got, "a2222222223") || !strings.HasSuffix(got, "c0000000000") {
				t.Errorf("got %s", got)
			}
			again, err := s.Lease(ctx, metering.LeaseRequest{Holder: "test", For: time.Hour, Scopes: 3, Only: []string{"c"}})
			must(t, err)
			b.Token, b.Scopes, b.Usage, b.Failed, b.Findings = again[0].Token, []*metering.Scope{again[0].Scope}, b.Usage[50:], b.Failed[2:], b.Findings[2:]
			for i := range b.Usage {
				b.Usage[i].Scope = b.Scopes[0]
			}
			b.Failed[0].Scope, b.Findings[0].Scope = b.Scopes[0], b.Scopes[0]
			must(t, s.Commit(ctx, b))
			if got := states(); !strings.HasSuffix(got, "c2222222223") {
				t.Errorf("got %s", got)
			}
			findings, err := s.Findings(ctx, period.Range{Begin: begin, End: begin.Add(10 * time.Hour)}, "")
			must(t, err)
			if len(findings) != 1 || findings[0].Windows < 2 {
				t.Errorf("findings: %+v", findings)
			}
			must(t, s.VerifyRollups(ctx, func(m store.Mismatch) { t.Errorf("%+v", m) }))
		})
	}
}

// TestBrokenConnections: what fails because the server or the way to it is gone says so, and later calls go through.
func TestBrokenConnections(t *testing.T) {
	u := postgresURL(t)
	s := open(t, u)
	_, err := s.Migrate(t.Context())
	must(t, err)
	raw, err := sql.Open("postgres", u)
	must(t, err)
	defer raw.Close()
	lock, err := raw.BeginTx(t.Context(), nil)
	must(t, err)
	_, err = lock.ExecContext(t.Context(), "LOCK TABLE settings")
	must(t, err)
	done := make(chan error)
	go func() {
		_, err := s.UseSettings(t.Context(), store.Wanted{})
		done <- err
	}()
	for killed := 0; killed == 0; {
		must(t, raw.QueryRowContext(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&killed))
	}
	if err := <-done; fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a connection that was cut: %v", err)
	}
	must(t, lock.Rollback())
	_, err = raw.ExecContext(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	must(t, err)
	_, err = s.UseSettings(t.Context(), store.Wanted{}) // idle connections that are gone are replaced
	must(t, err)
}

func TestLockWorker(t *testing.T) {
	u := sqliteURL(t)
	a, b := open(t, u), open(t, u)
	_, err := a.Migrate(t.Context())
	must(t, err)
	unlock, err := a.LockWorker(t.Context(), "serve on ada, process 7")
	must(t, err)
	if _, err := b.LockWorker(t.Context(), "process"); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "serve on ada, process 7") {
		t.Errorf("got %v", err)
	}
	unlock()
	unlock, err = b.LockWorker(t.Context(), "process")
	must(t, err)
	unlock()
	p := open(t, postgresURL(t))
	for range 2 {
		_, err := p.LockWorker(t.Context(), "any")
		must(t, err)
	}
}

func TestDecimalsInSQLite(t *testing.T) {
	db, err := sqlx.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "x.db"))
	must(t, err)
	defer db.Close()
	db.MustExec("CREATE TABLE d (n integer, x text)")
	for i, x := range []string{
		"0.1", "0.2", "-0.3", "100000000000000000000000000000.000000000001", "-99999999999999999999999999999", "10", "9", "1e3", "0.10", "-0.0",
	} {
		db.MustExec("INSERT INTO d VALUES (?, ?)", i, x)
	}
	db.MustExec("INSERT INTO d VALUES (99, NULL)")
	for query, want := range map[string]string{
		"SELECT decimal_sum(x) FROM d WHERE n < 3":                                                        "0",
		"SELECT decimal_sum(x) FROM d WHERE n IN (3, 4)":                                                  "1.000000000001",
		"SELECT decimal_sum(x) FROM d":                                                                    "1020.100000000001",
		"SELECT COALESCE(decimal_sum(x), 'none') FROM d WHERE n > 50":                                     "none",
		"SELECT COALESCE(decimal_sum(x), 'none') FROM d WHERE n > 99":                                     "none",
		"SELECT decimal_add('0.1', '0.2')":                                                                "0.3",
		"SELECT decimal_add('123456789012345678901234567890.123456789012345678', '0.000000000000000001')": "123456789012345678901234567890.123456789012345679",
		"SELECT decimal_add(1, '0.5')":                                                                    "1.5",
		"SELECT group_concat(x, ' ') FROM (SELECT x FROM d WHERE n < 9 ORDER BY x COLLATE decimal, n)":    "-99999999999999999999999999999 -0.3 0.1 0.10 0.2 9 10 1e3 100000000000000000000000000000.000000000001",
		"SELECT max(x COLLATE decimal) FROM d WHERE n BETWEEN 5 AND 7":                                    "1e3",
		"SELECT count(*) FROM d WHERE x COLLATE decimal = '0.100'":                                        "2",
		"SELECT group_concat(s, ' ') FROM (SELECT decimal_sum(x) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s FROM d WHERE n < 3)": "0.1 0.3 -0.1",
	} {
		var got string
		if err := db.Get(&got, query); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", query, got, err, want)
		}
	}
	for _, query := range []string{"SELECT decimal_add('x', '1')", "SELECT decimal_sum('1,5')", "SELECT decimal_add(NULL, '1')"} {
		var got sql.NullString
		if err := db.Get(&got, query); err == nil && got.Valid {
			t.Errorf("%s is %s", query, got.String)
		}
	}
}

// TestPlainSQLite opens a database as any other program would, without our functions and collation.
func TestPlainSQLite(t *testing.T) {
	u := sqliteURL(t)
	s := open(t, u)
	_, err := s.Migrate(t.Context())
	must(t, err)
	_, err = s.UseSettings(t.Context(), store.Wanted{})
	must(t, err)
	c, err := (&sqlite.Driver{}).Open("file:" + strings.TrimPrefix(u, "sqlite://"))
	must(t, err)
	db := sql.OpenDB(connector{c})
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(), "SELECT decimal_add('1', '2')"); err == nil {
		t.Fatal("this is no plain SQLite")
	}
	var tables []string
	x := sqlx.NewDb(db, "sqlite")
	must(t, x.SelectContext(t.Context(), &tables, "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')"))
	for _, table := range tables {
		var n int
		must(t, x.GetContext(t.Context(), &n, "SELECT count(*) FROM "+table))
	}
	var check string
	must(t, x.GetContext(t.Context(), &check, "PRAGMA integrity_check"))
	var uses int
	must(t, x.GetContext(t.Context(), &uses, "SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%decimal%(%' OR sql LIKE '%COLLATE%decimal%' OR type = 'trigger'"))
	if check != "ok" || uses != 0 || len(tables) < 20 {
		t.Errorf("%d tables, %s, %d use what only we have", len(tables), check, uses)
	}
}

// connector hands out one connection.
type connector struct{ driver.Conn }

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.Conn, nil }
func (c connector) Driver() driver.Driver                        { return nil }
