package app

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ratebook/e2e/testserver"
)

var update = flag.Bool("update", false, "write the files that tests compare with anew")

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "ratebook" { // the tests themselves: what the developer has set is not theirs
		for _, v := range os.Environ() {
			if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "RATEBOOK_") || name == "XDG_DATA_HOME" {
				_ = os.Unsetenv(name)
			}
		}
	}
	testscript.Main(m, map[string]func(){
		"ratebook": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			code := Main(ctx, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
			stop()
			os.Exit(code)
		},
	})
}

// TestScripts runs the command line's contract. Each script has folders of its own and no more of the environment than
// what scriptParams sets.
func TestScripts(t *testing.T) {
	p := scriptParams(newSource(t).URL)
	p.Dir = "testdata/script"
	testscript.Run(t, p)
}

// TestPostgresScript is for what PostgreSQL does differently.
func TestPostgresScript(t *testing.T) {
	database := testserver.Postgres(t)
	p := scriptParams(newSource(t).URL)
	p.Files = []string{"testdata/postgres.txtar"}
	setup := p.Setup
	p.Setup = func(e *testscript.Env) error {
		e.Setenv("POSTGRES", database)
		return setup(e)
	}
	testscript.Run(t, p)
}

// scriptParams gives scripts the program, and these words more:
//
//	fails STATUS COMMAND...   run a command that must fail with the status, print nothing but one sentence
//	charged [FLAG...]         a database with the usage of newSource, for which flags give the settings
//	sql STATEMENT             change or ask the SQLite database behind the program's back
//	awaits FILE REGEXP        wait until a file contains something
//	sqlite FILE               make a SQLite database that is not ours
//
// [race] tells whether the race detector watches, which slows down what computes.
func scriptParams(source string) testscript.Params {
	return testscript.Params{
		UpdateScripts: *update,
		Condition: func(name string) (bool, error) {
			if name != "race" {
				return false, fmt.Errorf("there is no condition %q", name)
			}
			info, _ := debug.ReadBuildInfo()
			return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}), nil
		},
		Setup: func(e *testscript.Env) error {
			for _, kv := range [][2]string{
				{"HOME", filepath.Join(e.WorkDir, "home")},
				{"XDG_DATA_HOME", filepath.Join(e.WorkDir, "data")},
				{"DB", filepath.Join(e.WorkDir, "data", "ratebook", "ratebook.db")},
				{"SOURCE", source},
				{"USER", "tester"},
				{"GORACE", "atexit_sleep_ms=0"}, // the race detector's second at each exit
			} {
				e.Setenv(kv[0], kv[1])
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"fails":   fails,
			"charged": charged,
			"sql":     runSQL,
			"awaits":  awaits,
			"sqlite": func(ts *testscript.TestScript, _ bool, args []string) {
				execSQL(ts, ts.MkAbs(args[0]), "CREATE TABLE other (a); INSERT INTO other VALUES (1)")
			},
		},
	}
}

func fails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fails STATUS COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	status := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		status = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if status != want {
		ts.Fatalf("status %d, want %d", status, want)
	}
	if err := isSentence(ts.ReadFile("stderr")); err != nil {
		ts.Fatalf("%v", err)
	}
	if out := ts.ReadFile("stdout"); status != exitFailed && out != "" {
		ts.Fatalf("there is output: %s", out)
	}
}

// soup is what people should not get to read.
var soup = regexp.MustCompile(`%!|<nil>|0x[0-9a-f]|\*[a-z]+\.|goroutine|runtime error|\bsql: |\bstore: |\bpq: |SQLSTATE|\bEOF\b|context |: open /|: stat /|: read /|xxx_|listen tcp`)

// isSentence reports whether a log ends with one sentence, or a sentence and a list.
func isSentence(text string) error {
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "time=") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "ratebook: ") || strings.HasSuffix(lines[0], ": ") {
		return errors.New("there is no sentence")
	}
	if slices.ContainsFunc(lines[1:], func(l string) bool { return !strings.HasPrefix(l, "  ") }) {
		return errors.New("it is not one sentence")
	}
	if found := soup.FindString(lines[0]); found != "" {
		return fmt.Errorf("%q is not for people", found)
	}
	parts := strings.Split(lines[0], ": ")
	slices.Sort(parts)
	if len(slices.Compact(slices.Clone(parts))) != len(parts) {
		return errors.New("something is said twice")
	}
	return nil
}

func charged(ts *testscript.TestScript, _ bool, args []string) {
	metrics, rules := ts.MkAbs("source-metrics.yml"), ts.MkAbs("source-rules.yml")
	ts.Check(os.WriteFile(metrics, []byte(sourceMetrics), 0o600))
	ts.Check(os.WriteFile(rules, []byte(sourceRules), 0o600))
	ts.Check(ts.Exec("ratebook", "migrate", "up"))
	ts.Check(ts.Exec("ratebook", append([]string{"import", "metrics", metrics}, args...)...))
	ts.Check(ts.Exec("ratebook", "import", "rules", rules))
	ts.Check(ts.Exec("ratebook", "process", "--prometheus-url", ts.Getenv("SOURCE"),
		"--start", sourceBegin.Format(time.RFC3339), "--until", sourceEnd.Format(time.RFC3339)))
}

func runSQL(ts *testscript.TestScript, _ bool, args []string) {
	execSQL(ts, ts.Getenv("DB"), strings.Join(args, " "))
}

// execSQL runs a statement on a SQLite file and writes the rows that it returns.
func execSQL(ts *testscript.TestScript, path, statement string) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	ts.Check(err)
	defer db.Close()
	rows, err := db.Query(statement)
	ts.Check(err)
	defer rows.Close()
	columns, err := rows.Columns()
	ts.Check(err)
	for rows.Next() {
		row, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		ts.Check(rows.Scan(into...))
		for i, v := range row {
			_, err := io.WriteString(ts.Stdout(), v.String+map[bool]string{true: "\n", false: "|"}[i == len(row)-1])
			ts.Check(err)
		}
	}
	ts.Check(rows.Err())
}

func awaits(ts *testscript.TestScript, _ bool, args []string) {
	file, want := ts.MkAbs(args[0]), regexp.MustCompile(cmp.Or(args[1], "."))
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	late := time.After(30 * time.Second)
	for {
		content, err := os.ReadFile(file)
		if err == nil && want.Match(content) {
			return
		}
		select {
		case <-poll.C:
		case <-late:
			ts.Fatalf("%s never had %s: %v\n%s", args[0], args[1], err, content)
		}
	}
}
