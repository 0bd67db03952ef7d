package testserver_test

import (
	"bufio"
	"database/sql"
	"os"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"ratebook/e2e/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func exec(t *testing.T, url, statement string) {
	t.Helper()
	db := open(t, url)
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	db.Close()
}

func count(t *testing.T, url, query string) (n int) {
	t.Helper()
	db := open(t, url)
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	db.Close()
	return n
}

const tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"

func TestPostgresDatabasesAreApart(t *testing.T) {
	t.Parallel()
	a, b := testserver.Postgres(t), testserver.Postgres(t)
	exec(t, a, "CREATE TABLE t AS SELECT 1 AS x")
	c := testserver.CloneDatabase(t, a)
	exec(t, c, "INSERT INTO t VALUES (2)")
	if n := count(t, b, tables); n != 0 {
		t.Errorf("another database has %d tables, want 0", n)
	}
	if n := count(t, a, "SELECT count(*) FROM t"); n != 1 {
		t.Errorf("the original has %d rows, want 1: the clone's stay in the clone", n)
	}
	if n := count(t, c, "SELECT count(*) FROM t"); n != 2 {
		t.Errorf("the clone has %d rows, want 2", n)
	}
}

func TestPostgresServerStopsAndStarts(t *testing.T) {
	t.Parallel()
	c := testserver.PostgresServer(t, "shared_buffers=16MB", "synchronous_commit=on")
	url := c.Create(t, "ledger")
	exec(t, url, "CREATE TABLE t AS SELECT 1 AS x")
	for _, end := range []func(testing.TB){c.Stop, c.Crash} {
		end(t)
		if err := open(t, url).PingContext(t.Context()); err == nil {
			t.Error("a stopped server answers")
		}
		c.Start(t)
		if n := count(t, url, "SELECT count(*) FROM t"); n != 1 {
			t.Errorf("%d rows after a restart, want 1", n)
		}
	}
}

// TestPostgresEndsWithItsBinary kills a test binary of which this one is the parent.
func TestPostgresEndsWithItsBinary(t *testing.T) {
	const child = "TESTSERVER_CHILD"
	if os.Getenv(child) != "" {
		t.Log("server", testserver.PostgresServer(t).URL("postgres"))
		select {}
	}
	if os.Getenv("TEST_DATABASE_URL") == "" {
		testserver.Postgres(t) // skips where there is no PostgreSQL
	}
	cmd := osexec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPostgresEndsWithItsBinary$", "-test.v")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url := ""
	for lines := bufio.NewScanner(out); url == "" && lines.Scan(); {
		_, url, _ = strings.Cut(lines.Text(), "server ")
	}
	if url == "" {
		t.Fatal("the child started no server")
	}
	db := open(t, url)
	if err := db.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	deadline := time.After(20 * time.Second)
	for db.PingContext(t.Context()) == nil {
		select {
		case <-deadline:
			t.Fatal("the server outlived the binary that started it")
		case <-time.After(10 * time.Millisecond):
		}
	}
}
