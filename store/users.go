package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"ratebook/access"
	"ratebook/fault"
)

// AddUser stores a new user with its scopes, which only a tenant can have; a login that exists is a Conflict.
func (s *Store) AddUser(ctx context.Context, u access.User, actor string) error {
	return s.addUser(ctx, u, actor, func(*tx) error { return nil })
}

// AddFirstUser is AddUser for a database without users; if there are any, even since a moment ago, it is a Conflict.
func (s *Store) AddFirstUser(ctx context.Context, u access.User, actor string) error {
	return s.addUser(ctx, u, actor, func(t *tx) error {
		if t.d == &postgresDialect { // SQLite has one writer at a time
			if _, err := t.exec(ctx, "LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"); err != nil {
				return err
			}
		}
		var id int64
		found, err := t.get(ctx, &id, "SELECT id FROM users LIMIT 1")
		if err == nil && found {
			err = fault.New(fault.Conflict, "there are users already, so %q would not be the first", u.Login)
		}
		return err
	})
}

// addUser adds a user if check, in the same transaction, has nothing against it.
func (s *Store) addUser(ctx context.Context, u access.User, actor string, check func(t *tx) error) error {
	if len(u.Scopes) > 0 && u.ReadsAll() {
		return readsAll(u.Login, u.Role)
	}
	err := s.update(ctx, func(t *tx) error {
		if err := check(t); err != nil {
			return err
		}
		var id int64
		_, err := t.get(ctx, &id, "INSERT INTO users (login, role, password_hash, created_at) VALUES (?, ?, ?, ?) RETURNING id",
			u.Login, u.Role, u.PasswordHash, at(time.Now()))
		if err != nil {
			return err
		}
		scopes, err := t.addUserScopes(ctx, id, u.Scopes)
		if err != nil {
			return err
		}
		after := string(u.Role)
		if len(scopes) > 0 {
			after += " of " + scopesText(scopes)
		}
		return t.audit(ctx, actor, "add", "user "+u.Login, "", after)
	})
	if isDuplicate(err) {
		return fault.Wrap(fault.Conflict, err, "there is a user %q already", u.Login)
	}
	return err
}

func readsAll(login string, role access.Role) error {
	return fault.New(fault.Conflict, "user %q is %s and reads every scope; only a tenant is given scopes", login, role)
}

// addUserScopes stores which scopes a user may read, and returns them in order, each once.
func (t *tx) addUserScopes(ctx context.Context, user int64, scopes []string) ([]string, error) {
	scopes = slices.Compact(slices.Sorted(slices.Values(scopes)))
	var values []any
	for _, scope := range scopes {
		values = append(values, user, scope)
	}
	return scopes, t.insertRows(ctx, "INSERT INTO user_scopes (user_id, scope)", "", 2, values)
}

func scopesText(scopes []string) string { return strings.Join(scopes, ", ") }

// SetUserScopes makes these the scopes that a tenant may read, instead of those before.
func (s *Store) SetUserScopes(ctx context.Context, login string, scopes []string, actor string) error {
	return s.update(ctx, func(t *tx) error {
		var user struct {
			ID   int64
			Role access.Role
		}
		found, err := t.get(ctx, &user, "SELECT id, role FROM users WHERE login = ? "+t.d.forUpdate, login)
		switch {
		case err != nil:
			return err
		case !found:
			return noUser(login)
		case user.Role != access.Tenant:
			return readsAll(login, user.Role)
		}
		var before []string
		if err := t.list(ctx, &before, "SELECT scope FROM user_scopes WHERE user_id = ?", user.ID); err != nil {
			return err
		}
		slices.Sort(before)
		if _, err := t.exec(ctx, "DELETE FROM user_scopes WHERE user_id = ?", user.ID); err != nil {
			return err
		}
		after, err := t.addUserScopes(ctx, user.ID, scopes)
		if err != nil {
			return err
		}
		return t.audit(ctx, actor, "scopes", "user "+login, scopesText(before), scopesText(after))
	})
}

// SetPassword replaces a user's password hash; the user's sessions end.
func (s *Store) SetPassword(ctx context.Context, login, hash, actor string) error {
	return s.changeUser(ctx, login, actor, "passwd", "UPDATE users SET password_hash = ?, credentials = credentials + 1 WHERE login = ?", hash, login)
}

// DisableUser keeps a user from signing in, and ends the user's sessions; EnableUser allows it again.
func (s *Store) DisableUser(ctx context.Context, login, actor string) error {
	return s.changeUser(ctx, login, actor, "disable", "UPDATE users SET disabled_at = ?, credentials = credentials + 1 WHERE login = ?", at(time.Now()), login)
}

// EnableUser allows a disabled user to sign in again.
func (s *Store) EnableUser(ctx context.Context, login, actor string) error {
	return s.changeUser(ctx, login, actor, "enable", "UPDATE users SET disabled_at = NULL WHERE login = ?", login)
}

func (s *Store) changeUser(ctx context.Context, login, actor, action, query string, args ...any) error {
	return s.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, query, args...)
		if err != nil {
			return err
		}
		if n == 0 {
			return noUser(login)
		}
		return t.audit(ctx, actor, action, "user "+login, "", "")
	})
}

func noUser(login string) error { return fault.New(fault.NotFound, "there is no user %q", login) }

// User returns one user.
func (s *Store) User(ctx context.Context, login string) (access.User, error) {
	users, err := s.users(ctx, "WHERE u.login = ?", login)
	if err == nil && len(users) == 0 {
		err = noUser(login)
	}
	if err != nil {
		return access.User{}, err
	}
	return users[0], nil
}

// Users lists all users by login.
func (s *Store) Users(ctx context.Context) ([]access.User, error) { return s.users(ctx, "") }

func (s *Store) users(ctx context.Context, where string, args ...any) (users []access.User, err error) {
	var rows []struct { // a row for each scope of a user, and one for a user without
		Login        string
		Role         access.Role
		PasswordHash string    `db:"password_hash"`
		CreatedAt    timestamp `db:"created_at"`
		DisabledAt   timestamp `db:"disabled_at"`
		Credentials  int64
		Scope        *string
	}
	err = s.view(ctx, func(t *tx) error {
		return t.list(ctx, &rows, `SELECT u.login, u.role, u.password_hash, u.created_at, u.disabled_at, u.credentials, s.scope
			FROM users u LEFT JOIN user_scopes s ON s.user_id = u.id `+where+" ORDER BY u.id", args...)
	})
	for _, r := range rows {
		last := len(users) - 1
		if last < 0 || users[last].Login != r.Login {
			users = append(users, access.User{
				Login: r.Login, Role: r.Role, PasswordHash: r.PasswordHash, Created: r.CreatedAt.Time, Disabled: r.DisabledAt.Time, Credentials: r.Credentials,
			})
			last++
		}
		if r.Scope != nil {
			users[last].Scopes = append(users[last].Scopes, *r.Scope)
		}
	}
	// in Go, since databases collate differently
	slices.SortFunc(users, func(a, b access.User) int { return strings.Compare(a.Login, b.Login) })
	for i := range users {
		slices.Sort(users[i].Scopes)
	}
	return users, err
}
