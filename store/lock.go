package store

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"ratebook/fault"
)

// LockWorker makes this process the one that may process a SQLite database, until unlock is called or the process ends,
// however it ends. If another process has the lock the error is a Conflict that says who. On PostgreSQL any number of
// processes may work, and there is nothing to lock.
func (s *Store) LockWorker(ctx context.Context, holder string) (unlock func(), err error) {
	if s.d != &sqliteDialect {
		return func() {}, nil
	}
	unlock, err = s.lockFile(ctx, holder, 0)
	if err != nil {
		return nil, err
	}
	if err := s.ReleaseAll(ctx); err != nil { // of those who had the lock before and died
		unlock()
		return nil, err
	}
	return unlock, nil
}

// Shared reports whether several processes may process the database at the same time.
func (s *Store) Shared() bool { return !s.d.oneWriter }

// lockFile takes the lock of a SQLite database, waiting a while if another process has it.
func (s *Store) lockFile(ctx context.Context, holder string, wait time.Duration) (unlock func(), err error) {
	path, err := s.sqliteFile(ctx)
	if err != nil {
		return nil, err
	}
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err == nil && !locked && wait > 0 {
		waiting, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		if locked, err = lock.TryLockContext(waiting, 20*time.Millisecond); errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the lock file %s can't be used", lock.Path())
	}
	if !locked {
		who, _ := os.ReadFile(lock.Path())
		return nil, fault.New(fault.Conflict, "the database is being processed by %s; one process at a time can work on SQLite: stop that one, or use PostgreSQL", strings.TrimSpace(string(who)))
	}
	// for the reader above; the lock itself is the kernel's
	if err := os.WriteFile(lock.Path(), []byte(holder+"\n"), 0o600); err != nil {
		_ = lock.Unlock()
		return nil, fault.Wrap(fault.Unavailable, err, "the lock file %s can't be written", lock.Path())
	}
	return func() { _ = lock.Unlock() }, nil
}

// sqliteFile returns the path of the SQLite database.
func (s *Store) sqliteFile(ctx context.Context) (path string, err error) {
	err = s.db.GetContext(ctx, &path, "SELECT file FROM pragma_database_list WHERE name = 'main'")
	return path, unavailable(err)
}
