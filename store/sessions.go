package store

import (
	"context"
	"time"
)

// Sessions keeps the sessions of those who signed in. It is a store of github.com/alexedwards/scs, which gives it tokens
// as digests.
type Sessions struct{ s *Store }

// Sessions returns the sessions that the database holds.
func (s *Store) Sessions() *Sessions { return &Sessions{s} }

// FindCtx returns the data of a session that has not expired; found is false if there is none.
func (x *Sessions) FindCtx(ctx context.Context, token string) (data []byte, found bool, err error) {
	err = x.s.view(ctx, func(t *tx) error {
		found, err = t.get(ctx, &data, "SELECT data FROM sessions WHERE token = ? AND expires_at > ?", token, at(time.Now()))
		return err
	})
	return data, found, err
}

// expiredAtOnce is how many expired sessions a commit deletes: more than it adds, and few enough not to be noticed.
const expiredAtOnce = 10

// CommitCtx stores a session's data until it expires, to the second, and deletes some that have expired.
func (x *Sessions) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	return x.s.update(ctx, func(t *tx) error {
		// those that another commit is deleting are passed over: nobody waits
		_, err := t.exec(ctx, `DELETE FROM sessions WHERE token IN
			(SELECT token FROM sessions WHERE expires_at <= ? ORDER BY expires_at LIMIT ? `+t.d.skipLocked+")", at(time.Now()), expiredAtOnce)
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `INSERT INTO sessions (token, data, expires_at) VALUES (?, ?, ?)
			ON CONFLICT (token) DO UPDATE SET data = excluded.data, expires_at = excluded.expires_at`, token, data, at(expiry))
		return err
	})
}

// DeleteCtx ends a session; one that isn't there is no error.
func (x *Sessions) DeleteCtx(ctx context.Context, token string) error {
	return x.s.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, "DELETE FROM sessions WHERE token = ?", token)
		return err
	})
}

// Find is FindCtx for those who have no context.
func (x *Sessions) Find(token string) (data []byte, found bool, err error) {
	return x.FindCtx(context.Background(), token)
}

// Commit is CommitCtx for those who have no context.
func (x *Sessions) Commit(token string, data []byte, expiry time.Time) error {
	return x.CommitCtx(context.Background(), token, data, expiry)
}

// Delete is DeleteCtx for those who have no context.
func (x *Sessions) Delete(token string) error { return x.DeleteCtx(context.Background(), token) }
