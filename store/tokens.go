package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/period"
)

// AddToken stores a new token with the digest of its secret, and returns its id. Names need not be unique. When and by whom it
// was made is what the store says.
func (s *Store) AddToken(ctx context.Context, token access.Token, digest []byte, actor string) (id int64, err error) {
	err = s.update(ctx, func(t *tx) error {
		_, err := t.get(ctx, &id, "INSERT INTO tokens (name, digest, role, created_at, created_by, expires_at) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
			token.Name, digest, token.Role, at(time.Now()), actor, at(token.Expires))
		if err != nil {
			return err
		}
		scopes := slices.Compact(slices.Sorted(slices.Values(token.Scopes)))
		var values []any
		for _, scope := range scopes {
			values = append(values, id, scope)
		}
		if err := t.insertRows(ctx, "INSERT INTO token_scopes (token, scope)", "", 2, values); err != nil {
			return err
		}
		after := fmt.Sprintf("number %d, %s", id, token.Role)
		if len(scopes) > 0 {
			after += " of " + scopesText(scopes)
		}
		if !token.Expires.IsZero() {
			after += ", until " + period.Format(token.Expires, time.UTC)
		}
		return t.audit(ctx, actor, "add", "token "+token.Name, "", after)
	})
	return id, err
}

// Tokens lists all tokens, the newest first, also those that let nobody in any more.
func (s *Store) Tokens(ctx context.Context) ([]access.Token, error) { return s.tokens(ctx, "") }

// RevokeToken keeps a token from letting anyone in; one that was revoked before stays as it is.
func (s *Store) RevokeToken(ctx context.Context, id int64, actor string) error {
	return s.update(ctx, func(t *tx) error {
		var token struct {
			Name      string
			RevokedAt timestamp `db:"revoked_at"`
		}
		found, err := t.get(ctx, &token, "SELECT name, revoked_at FROM tokens WHERE id = ? "+t.d.forUpdate, id)
		switch {
		case err != nil:
			return err
		case !found:
			return fault.New(fault.NotFound, "there is no token with the number %d", id)
		case !token.RevokedAt.IsZero():
			return nil
		}
		if _, err := t.exec(ctx, "UPDATE tokens SET revoked_at = ? WHERE id = ?", at(time.Now()), id); err != nil {
			return err
		}
		return t.audit(ctx, actor, "revoke", "token "+token.Name, fmt.Sprintf("number %d", id), "")
	})
}

// tokenUse is how exactly it is known when a token was used last.
const tokenUse = time.Minute

// Token returns the token whose secret has the digest, also one that lets nobody in any more, and notes, a moment later, that
// it was used; the error is NotFound if there is none.
func (s *Store) Token(ctx context.Context, digest []byte) (access.Token, error) {
	found, err := s.tokens(ctx, "WHERE k.digest = ?", digest)
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "there is no such token")
	}
	if err != nil {
		return access.Token{}, err
	}
	token := found[0]
	if now := time.Now(); token.Valid(now) && now.Sub(token.Used) >= tokenUse {
		s.useToken(ctx, token.ID, now)
	}
	return token, nil
}

// useToken notes that a token was used, without keeping the request waiting that uses it.
func (s *Store) useToken(ctx context.Context, id int64, now time.Time) {
	if _, busy := s.tokenUses.LoadOrStore(id, true); busy {
		return
	}
	s.background.Go(func() {
		defer s.tokenUses.Delete(id)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err := s.update(ctx, func(t *tx) error {
			_, err := t.exec(ctx, "UPDATE tokens SET used_at = ? WHERE id = ? AND (used_at IS NULL OR used_at <= ?)", at(now), id, at(now.Add(-tokenUse)))
			return err
		})
		if err != nil { // it will be noted next time
			s.log.WarnContext(ctx, "the use of a token was not noted", "token", id, "error", err)
		}
	})
}

func (s *Store) tokens(ctx context.Context, where string, args ...any) (tokens []access.Token, err error) {
	var rows []struct { // a row for each scope of a token, and one for a token without
		ID        int64
		Name      string
		Role      access.Role
		CreatedAt timestamp `db:"created_at"`
		CreatedBy string    `db:"created_by"`
		ExpiresAt timestamp `db:"expires_at"`
		RevokedAt timestamp `db:"revoked_at"`
		UsedAt    timestamp `db:"used_at"`
		Scope     *string
	}
	err = s.view(ctx, func(t *tx) error {
		return t.list(ctx, &rows, `SELECT k.id, k.name, k.role, k.created_at, k.created_by, k.expires_at, k.revoked_at, k.used_at, c.scope
			FROM tokens k LEFT JOIN token_scopes c ON c.token = k.id `+where+" ORDER BY k.id DESC", args...)
	})
	for _, r := range rows {
		last := len(tokens) - 1
		if last < 0 || tokens[last].ID != r.ID {
			tokens = append(tokens, access.Token{
				ID: r.ID, Name: r.Name, Role: r.Role, Created: r.CreatedAt.Time, CreatedBy: r.CreatedBy,
				Expires: r.ExpiresAt.Time, Revoked: r.RevokedAt.Time, Used: r.UsedAt.Time,
			})
			last++
		}
		if r.Scope != nil {
			tokens[last].Scopes = append(tokens[last].Scopes, *r.Scope)
		}
	}
	for i := range tokens {
		slices.Sort(tokens[i].Scopes) // in Go, since databases collate differently
	}
	return tokens, err
}
