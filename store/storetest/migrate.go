package storetest

import (
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/pressly/goose/v3"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/migrations"
	"ratebook/store"
)

var migrateTests = []test{
	{"migrate/empty to current", func(e *env) {
		e.refused(e.s.Check(e.ctx), fault.Unavailable, "no Ratebook schema", "`ratebook migrate up`")
		before, err := e.s.Migrations(e.ctx)
		e.must(err)
		files := migrationFiles(e, e.folder())
		for _, m := range before {
			if m.Applied {
				e.Errorf("%v is applied on an empty database", m)
			}
		}
		versions, err := e.s.Migrate(e.ctx)
		e.must(err)
		e.must(e.s.Check(e.ctx))
		after, err := e.s.Migrations(e.ctx)
		e.must(err)
		if len(versions) != len(files) || len(after) != len(files) {
			e.Fatalf("went through %v, lists %v, there are %v", versions, after, files)
		}
		for i, m := range after {
			if !m.Applied || m.Version != versions[i] || !strings.HasSuffix(m.Name, files[i]) {
				e.Errorf("%+v, want version %d of %s, applied", m, versions[i], files[i])
			}
		}
		again, err := e.s.Migrate(e.ctx)
		e.must(err)
		if len(again) > 0 {
			e.Errorf("a current schema went through %v", again)
		}
	}},
	{"migrate/a check changes nothing", func(e *env) {
		_ = e.s.Check(e.ctx)
		tables := "SELECT count(*) FROM sqlite_schema"
		if e.postgres {
			tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
		}
		e.equal("tables after a check", e.count(tables), 0)
	}},
	{"migrate/newer schema", func(e *env) {
		_, err := e.s.Migrate(e.ctx)
		e.must(err)
		e.exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, ?)", true)
		e.refused(e.s.Check(e.ctx), fault.Unavailable, "99999", "newer")
		_, err = e.s.Migrate(e.ctx)
		e.refused(err, fault.Unavailable, "99999", "newer")
	}},
	{"migrate/up, down, up", func(e *env) {
		if a, b := migrationFiles(e, "postgres"), migrationFiles(e, "sqlite"); !slices.Equal(a, b) {
			e.Errorf("the folders differ: %v and %v", a, b)
		}
		_, err := e.s.Migrate(e.ctx)
		e.must(err)
		schema := e.schema()
		folder, err := fs.Sub(migrations.FS, e.folder())
		e.must(err)
		dialect := goose.DialectSQLite3
		if e.postgres {
			dialect = goose.DialectPostgres
		}
		p, err := goose.NewProvider(dialect, e.raw.DB, folder, goose.WithSlog(slog.New(slog.DiscardHandler)))
		e.must(err)
		_, err = p.DownTo(e.ctx, 0)
		e.must(err)
		if left := slices.DeleteFunc(e.schema(), func(l string) bool { return strings.Contains(l, "goose") || strings.Contains(l, "sqlite_") }); len(left) > 0 {
			e.Errorf("down leaves %v", left)
		}
		e.refused(e.s.Check(e.ctx), fault.Unavailable, "`ratebook migrate up`")
		_, err = e.s.Migrate(e.ctx)
		e.must(err)
		e.equal("schema", e.schema(), schema)
	}},
	{"migrate/windows are summed", func(e *env) {
		e.world(store.Wanted{Timezone: "Asia/Kathmandu"}, "cpu", "ram")
		e.charged(40, "a", "b")
		e.push(&metering.Push{Author: "ada", Frames: []metering.PushedFrame{
			pushedFrame("2026-10-31T22:07:13Z", hour, pushed("a", "cpu", "1@1", nil, nil)),
			pushedFrame("2026-11-01T22:10:00Z", hour, pushed("z", "cpu", "1@1", nil, nil)),
			pushedFrame("2026-10-31T22:07:13Z", 2*hour, pushed("a", "cpu", "3@1", nil, nil)),
		}})
		good := e.rollups()
		folder, err := fs.Sub(migrations.FS, e.folder())
		e.must(err)
		dialect := goose.DialectSQLite3
		if e.postgres {
			dialect = goose.DialectPostgres
		}
		p, err := goose.NewProvider(dialect, e.raw.DB, folder, goose.WithSlog(slog.New(slog.DiscardHandler)))
		e.must(err)
		_, err = p.DownTo(e.ctx, 5)
		e.must(err)
		_, err = p.Up(e.ctx) // and then the program dies
		e.must(err)
		e.equal("windows that are summed", e.count("SELECT count(*) FROM scope_window_packs"), 0)
		e.refused(e.s.Check(e.ctx), fault.Unavailable, "interrupted", "`ratebook migrate up`")
		end := e.sabotage("scope_window_packs", "NEW.scope > 1")
		if _, err := e.s.Migrate(e.ctx); err == nil || !strings.Contains(err.Error(), "sabotage") {
			e.Fatal(err)
		}
		end()
		e.refused(e.s.Check(e.ctx), fault.Unavailable, "interrupted")
		_, err = e.s.Migrate(e.ctx) // goes on with the second scope
		e.must(err)
		e.must(e.s.Check(e.ctx))
		e.equal("roll-ups", e.rollups(), good)
		e.sound()
	}},
	{"migrate/two at once", func(e *env) {
		stores := []*store.Store{e.s, e.open()}
		errs := make([]error, len(stores))
		var wait sync.WaitGroup
		for i, s := range stores {
			wait.Go(func() { _, errs[i] = s.Migrate(e.ctx) })
		}
		wait.Wait()
		e.must(errors.Join(errs...))
		e.must(e.s.Check(e.ctx))
	}},
}

func (e *env) folder() string {
	if e.postgres {
		return "postgres"
	}
	return "sqlite"
}

func migrationFiles(e *env, folder string) (names []string) {
	entries, err := fs.ReadDir(migrations.FS, folder)
	e.must(err)
	for _, f := range entries {
		names = append(names, f.Name())
	}
	return names
}

// schema is all tables, columns and indexes.
func (e *env) schema() []string {
	if !e.postgres {
		return e.rows("SELECT type, name, sql FROM sqlite_schema")
	}
	return append(e.rows("SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns WHERE table_schema = 'public'"),
		e.rows("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'")...)
}
