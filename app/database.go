package app

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"ratebook/fault"
	"ratebook/store"
)

// databaseFlags say where the database is.
type databaseFlags struct {
	DatabaseURL     string `name:"database-url" placeholder:"URL" help:"sqlite:///path/to/file or postgres://user:password@host/name. Default: ratebook/ratebook.db in the user's data folder."`
	DatabaseURLFile string `name:"database-url-file" placeholder:"FILE" help:"File that holds the database URL."`
}

func (f *databaseFlags) url() (string, error) {
	u, err := secret("database-url", f.DatabaseURL, f.DatabaseURLFile)
	if err != nil || u != "" {
		return u, err
	}
	folder := os.Getenv("XDG_DATA_HOME")
	if folder == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fault.New(fault.Invalid, "there is no home folder to keep the database in; set --database-url")
		}
		folder = filepath.Join(home, ".local", "share")
	}
	return (&url.URL{Scheme: "sqlite", Path: filepath.Join(folder, "ratebook", "ratebook.db")}).String(), nil
}

// open opens a database of the right schema version for a command that reads or changes it.
func (f *databaseFlags) open(r *run) (*store.Store, error) {
	s, err := f.connect(r, false)
	if err != nil {
		return nil, err
	}
	if err := s.Check(r.ctx); err != nil {
		s.Close()
		return nil, noDatabase(err)
	}
	return s, nil
}

// openWorker opens a database for a process that works on it: a SQLite file is made and migrated as needed, PostgreSQL
// must have the right schema version. Nobody else may work on a SQLite file until unlock.
func (f *databaseFlags) openWorker(r *run, holder string) (s *store.Store, unlock func(), err error) {
	s, err = f.connect(r, true)
	if err != nil {
		return nil, nil, err
	}
	u, _ := f.url()
	if strings.HasPrefix(u, "sqlite:") {
		_, err = s.Migrate(r.ctx)
	} else {
		err = s.Check(r.ctx)
	}
	if err != nil {
		s.Close()
		return nil, nil, noDatabase(err)
	}
	release, err := s.LockWorker(r.ctx, holder)
	if err != nil {
		s.Close()
		return nil, nil, err
	}
	return s, func() { release(); s.Close() }, nil
}

func (f *databaseFlags) connect(r *run, create bool) (*store.Store, error) {
	u, err := f.url()
	if err != nil {
		return nil, err
	}
	s, err := store.Open(r.ctx, u, create, r.log)
	if fault.KindOf(err) == fault.Unavailable {
		return nil, noDatabase(err)
	}
	return s, err
}

// noDatabase marks an error of opening a database, unless it only says that others are using it.
func noDatabase(err error) error {
	if fault.KindOf(err) == fault.Conflict {
		return err
	}
	return fmt.Errorf("%w: %w", errNoDatabase, err)
}

// secret returns a flag's value, from the flag itself or from its -file twin.
func secret(name, value, file string) (string, error) {
	if file == "" {
		return value, nil
	}
	if value != "" {
		return "", fault.New(fault.Invalid, "--%s and --%s-file are both given; use one of them", name, name)
	}
	b, err := readInput(file)
	if err != nil {
		return "", fmt.Errorf("--%s-file: %w", name, err)
	}
	value = strings.TrimRight(string(b), "\r\n")
	if value == "" { // not the same as none: the default would be used in its place
		return "", fault.New(fault.Invalid, "--%s-file: %s is empty", name, file)
	}
	return value, nil
}

// holder names this process to others.
func holder(command string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("ratebook %s, process %d on %s", command, os.Getpid(), host)
}

type migrateCommand struct {
	Up     migrateUp     `cmd:"" help:"Bring the schema to this program's version; a SQLite file is made if it is not there."`
	Status migrateStatus `cmd:"" help:"List the schema's steps and whether the database has taken them."`
}

type migrateUp struct{ databaseFlags }

func (c *migrateUp) Run(r *run) error {
	s, err := c.connect(r, true)
	if err != nil {
		return err
	}
	defer s.Close()
	steps, err := s.Migrate(r.ctx)
	if fault.KindOf(err) == fault.Unavailable {
		return noDatabase(err)
	}
	if err != nil {
		return err
	}
	if len(steps) == 0 {
		fmt.Fprintln(r.Out, "The schema is current.")
	}
	for _, v := range steps {
		fmt.Fprintf(r.Out, "Applied version %d.\n", v)
	}
	return nil
}

type migrateStatus struct{ databaseFlags }

func (c *migrateStatus) Run(r *run) error {
	s, err := c.connect(r, false)
	if err != nil {
		return err
	}
	defer s.Close()
	all, err := s.Migrations(r.ctx)
	if err != nil {
		return err
	}
	for _, m := range all {
		state := "pending"
		if m.Applied {
			state = "applied"
		}
		fmt.Fprintf(r.Out, "%-8s %s\n", state, m.Name)
	}
	return nil
}

// with opens the database for fn.
func (f *databaseFlags) with(r *run, fn func(ctx context.Context, s *store.Store) error) error {
	s, err := f.open(r)
	if err != nil {
		return err
	}
	defer s.Close()
	return fn(r.ctx, s)
}
