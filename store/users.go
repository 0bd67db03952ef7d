package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"ratebook/access"
	"ratebook/fault"
)

// AddUser stores a new user; a login that exists is a Conflict.
func (s *Store) AddUser(ctx context.Context, u access.User, actor string) error {
	err := s.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, "INSERT INTO users (login, role, password_hash, created_at) VALUES (?, ?, ?, ?)",
			u.Login, u.Role, u.PasswordHash, at(time.Now()))
		if err != nil {
			return err
		}
		return t.audit(ctx, actor, "add", "user "+u.Login, "", string(u.Role))
	})
	if isDuplicate(err) {
		return fault.Wrap(fault.Conflict, err, "there is a user %q already", u.Login)
	}
	return err
}

// SetPassword replaces a user's password hash.
func (s *Store) SetPassword(ctx context.Context, login, hash, actor string) error {
	return s.changeUser(ctx, login, actor, "passwd", "UPDATE users SET password_hash = ? WHERE login = ?", hash, login)
}

// DisableUser keeps a user from signing in; EnableUser allows it again.
func (s *Store) DisableUser(ctx context.Context, login, actor string) error {
	return s.changeUser(ctx, login, actor, "disable", "UPDATE users SET disabled_at = ? WHERE login = ?", at(time.Now()), login)
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
			return fault.New(fault.NotFound, "there is no user %q", login)
		}
		return t.audit(ctx, actor, action, "user "+login, "", "")
	})
}

// Users lists all users by login.
func (s *Store) Users(ctx context.Context) (users []access.User, err error) {
	var rows []struct {
		Login        string
		Role         access.Role
		PasswordHash string    `db:"password_hash"`
		CreatedAt    timestamp `db:"created_at"`
		DisabledAt   timestamp `db:"disabled_at"`
	}
	err = s.view(ctx, func(t *tx) error {
		return t.list(ctx, &rows, "SELECT login, role, password_hash, created_at, disabled_at FROM users")
	})
	for _, r := range rows {
		users = append(users, access.User{Login: r.Login, Role: r.Role, PasswordHash: r.PasswordHash, Created: r.CreatedAt.Time, Disabled: r.DisabledAt.Time})
	}
	// in Go, since databases collate differently
	slices.SortFunc(users, func(a, b access.User) int { return strings.Compare(a.Login, b.Login) })
	return users, err
}
