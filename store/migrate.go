package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"ratebook/fault"
)

// Migration is one step of the schema and whether the database has taken it.
type Migration struct {
	Version int64
	Name    string
	Applied bool
}

func (s *Store) migrator() (*goose.Provider, error) {
	folder, err := fs.Sub(s.migrations, s.d.name)
	if err != nil {
		return nil, fmt.Errorf("store: migrations: %w", err)
	}
	dialect, options := goose.DialectSQLite3, []goose.ProviderOption{goose.WithSlog(slog.New(slog.DiscardHandler))}
	if s.d == &postgresDialect {
		dialect = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return nil, fmt.Errorf("store: migrations: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(dialect, s.db.DB, folder, options...)
	if err != nil {
		return nil, fmt.Errorf("store: migrations: %w", err)
	}
	return p, nil
}

// migrationWait is how long to wait for another process that migrates or works.
const migrationWait = 10 * time.Second

// Migrate brings the schema to this program's version and returns the versions it went through; none if the schema was
// current. A schema of a newer program is refused. A SQLite file with data is copied first, to FILE.before-vN.
func (s *Store) Migrate(ctx context.Context) ([]int64, error) {
	p, err := s.migrator()
	if err != nil {
		return nil, err
	}
	has, want, err := s.schema(ctx, p)
	if err != nil {
		return nil, err
	}
	if has > want {
		return nil, tooNew(has, want)
	}
	if has == want {
		if filling, err := s.filling(ctx); err != nil || !filling {
			return nil, err
		}
	}
	if s.d == &sqliteDialect { // goose does not lock it
		unlock, err := s.lockFile(ctx, "a migration", migrationWait)
		if err != nil {
			return nil, err
		}
		defer unlock()
		if has, want, err = s.schema(ctx, p); err != nil {
			return nil, err
		}
		if has > 0 && has < want {
			if err := s.backup(ctx, want); err != nil {
				return nil, err
			}
		}
	}
	results, err := p.Up(ctx)
	if err != nil {
		return nil, fmt.Errorf("store: migrate: %w", err)
	}
	var versions []int64
	for _, r := range results {
		versions = append(versions, r.Source.Version)
	}
	return versions, s.fillWindowPacks(ctx)
}

// backup copies a SQLite database beside itself before version want changes it.
func (s *Store) backup(ctx context.Context, want int64) error {
	path, err := s.sqliteFile(ctx)
	if err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	path = fmt.Sprintf("%s.before-v%d", path, want)
	if _, err := os.Stat(path); err == nil { // of an earlier attempt, perhaps long ago
		path += time.Now().UTC().Format(".20060102T150405Z")
	}
	partial := path + ".partial" // so that a copy of that name is a whole one
	_ = os.Remove(partial)
	_, err = s.db.ExecContext(ctx, "VACUUM INTO ?", partial)
	if err == nil {
		err = os.Rename(partial, path)
	}
	if err != nil {
		_ = os.Remove(partial)
		return fault.Wrap(fault.Unavailable, err, "the database could not be copied to %s before its migration; nothing was changed", path)
	}
	s.log.Info("copied the database before its migration", "to", path)
	return nil
}

// Migrations lists all steps of the schema, oldest first.
func (s *Store) Migrations(ctx context.Context) ([]Migration, error) {
	p, err := s.migrator()
	if err != nil {
		return nil, err
	}
	status, err := p.Status(ctx)
	if err != nil {
		return nil, unavailable(fmt.Errorf("store: migration status: %w", err))
	}
	var all []Migration
	for _, m := range status {
		all = append(all, Migration{m.Source.Version, m.Source.Path, m.State == goose.StateApplied})
	}
	return all, nil
}

// Check returns an error that names the command to run unless the schema is this program's.
func (s *Store) Check(ctx context.Context) error {
	p, err := s.migrator()
	if err != nil {
		return err
	}
	has, want, err := s.schema(ctx, p)
	switch {
	case err != nil:
		return err
	case has > want:
		return tooNew(has, want)
	case has == 0:
		return fault.New(fault.Unavailable, "the database has no Ratebook schema yet; run `ratebook migrate up`")
	case has < want:
		return fault.New(fault.Unavailable, "the database's schema is version %d, this program needs %d; run `ratebook migrate up`", has, want)
	}
	filling, err := s.filling(ctx)
	if err == nil && filling {
		err = fault.New(fault.Unavailable, "a migration of the database was interrupted; run `ratebook migrate up`, which goes on with it")
	}
	return err
}

func tooNew(has, want int64) error {
	return fault.New(fault.Unavailable, "the database's schema is version %d, made by a newer Ratebook than this one, which knows up to %d; use the newer program", has, want)
}

// schema returns the version the database has, 0 for an empty one, and the one this program wants.
func (s *Store) schema(ctx context.Context, p *goose.Provider) (has, want int64, err error) {
	for _, m := range p.ListSources() {
		want = max(want, m.Version)
	}
	// asked by hand: goose's own question creates its table, which a mere check must not
	table := "SELECT 1 FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = 'goose_db_version'"
	if s.d == &sqliteDialect {
		table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'goose_db_version'"
	}
	var one int
	if err := s.db.GetContext(ctx, &one, table); errors.Is(err, sql.ErrNoRows) {
		return 0, want, nil
	} else if err != nil {
		return 0, 0, unavailable(fmt.Errorf("store: schema version: %w", err))
	}
	err = s.db.GetContext(ctx, &has, "SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied")
	if err != nil {
		return 0, 0, unavailable(fmt.Errorf("store: schema version: %w", err))
	}
	return has, want, nil
}
