package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ratebook/e2e/testserver"
)

// built is the program, built once for all tests.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// binary returns the path of the program.
func binary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "ratebook-e2e-"); built.err != nil {
			return
		}
		if out, err := exec.Command("go", "build", "-o", filepath.Join(built.dir, "ratebook"), "..").CombinedOutput(); err != nil {
			built.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "ratebook")
}

func removeBinary() error { return os.RemoveAll(built.dir) }

// database is a database of either kind.
type database struct {
	url  string
	path string // of a SQLite file
	env  []string
}

// kinds makes a fresh database of each kind.
var kinds = map[string]func(t testing.TB) *database{
	"sqlite": func(t testing.TB) *database { return sqliteAt(filepath.Join(t.TempDir(), "ratebook.db")) },
	"postgres": func(t testing.TB) *database {
		return &database{url: testserver.Postgres(t)}
	},
}

func sqliteAt(path string) *database { return &database{url: "sqlite://" + path, path: path} }

// eachKind runs a test on both kinds of databases, at the same time.
func eachKind(t *testing.T, f func(t *testing.T, db *database)) {
	for kind, fresh := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f(t, fresh(t))
		})
	}
}

// clone copies a database that nobody uses.
func (db *database) clone(t testing.TB) *database {
	t.Helper()
	if db.path == "" {
		return &database{url: testserver.CloneDatabase(t, db.url)}
	}
	if _, err := os.Stat(db.path + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the database is still in use: %v", err)
	}
	content, err := os.ReadFile(db.path)
	if err != nil {
		t.Fatal(err)
	}
	return sqliteAt(write(t, "ratebook.db", string(content)))
}

// write makes a file in a folder of its own.
func write(t testing.TB, name, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// command is the program on the database, ready to start. It does not outlive the test.
func (db *database) command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "RATEBOOK_") }), "RATEBOOK_DATABASE_URL="+db.url)
	cmd.Env = append(cmd.Env, db.env...)
	return cmd
}

// result is how a run of the program ended.
type result struct {
	status      int
	out, stderr string
}

// try runs the program to its end, whatever that is.
func (db *database) try(t testing.TB, args ...string) (r result) {
	t.Helper()
	cmd := db.command(t, args...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		if _, exited := errors.AsType[*exec.ExitError](err); !exited {
			t.Fatal(err)
		}
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), stderr.String()}
}

// run runs the program, which must succeed, and returns what it prints.
func (db *database) run(t testing.TB, args ...string) string {
	t.Helper()
	r := db.try(t, args...)
	if r.status != 0 {
		t.Fatalf("ratebook %s: status %d\n%s%s", strings.Join(args, " "), r.status, r.out, r.stderr)
	}
	return r.out
}

// summary is what process prints.
type summary struct {
	NewScopes      int `json:"new_scopes"`
	PlannedWindows int `json:"planned_windows"`
	Done           int
	Empty          int
	Failed         int
	Lost           int
	Points         int
	Amount         string
	Findings       map[string]map[string]int // by kind and metric
	Errors         map[string]int
}

func (r result) summary(t testing.TB) (s summary) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.out), &s); err != nil {
		t.Fatalf("no summary: %v\n%s%s", err, r.out, r.stderr)
	}
	return s
}

// setUp migrates an empty database and imports a world's metrics and rules.
func (db *database) setUp(t testing.TB, w *world) {
	t.Helper()
	db.run(t, "migrate", "up")
	db.run(t, "import", "metrics", "--timezone", w.zone.String(), write(t, "metrics.yml", w.metricsFile()))
	db.run(t, "import", "rules", write(t, "rules.yml", w.rulesFile()))
}

// process returns the arguments that process all of a world's windows.
func (w *world) process(source string, more ...string) []string {
	return append([]string{
		"process", "--prometheus-url", source, "--start", w.begin.Format(time.RFC3339), "--until", w.end().Format(time.RFC3339),
	}, more...)
}

// eventually waits until ok, for a minute at most.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Fatalf("it never happened: %s", what)
		}
	}
}
