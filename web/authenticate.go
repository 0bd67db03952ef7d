package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
)

// secretOf returns the secret that a request carries, as X-Auth-Token or as a bearer.
func secretOf(r *http.Request) string {
	if secret := r.Header.Get("X-Auth-Token"); secret != "" {
		return secret
	}
	secret, _ := strings.CutPrefix(r.Header.Get(echo.HeaderAuthorization), "Bearer ")
	return strings.TrimSpace(secret)
}

// TokenAuth lets those in who have one of Ratebook's tokens.
type TokenAuth struct {
	Tokens Tokens
	Now    func() time.Time
}

// Authenticate finds the token.
func (a TokenAuth) Authenticate(r *http.Request) (*access.Caller, error) {
	secret := secretOf(r)
	if secret == "" {
		return nil, fault.New(fault.Unauthenticated, "the request has no token; send one as X-Auth-Token or as Authorization: Bearer")
	}
	t, err := a.Tokens.Token(r.Context(), access.SecretDigest(secret))
	switch {
	case err != nil && fault.KindOf(err) != fault.NotFound:
		return nil, fault.Wrap(fault.Unavailable, err, "tokens can't be checked just now; try again in a moment")
	case err != nil || !t.Valid(a.Now()):
		return nil, fault.New(fault.Unauthenticated, "the token is unknown, revoked or has expired; ask an admin for another one")
	}
	return t.Caller(), nil
}

// Challenge asks for a token.
func (TokenAuth) Challenge() string { return `Bearer realm="ratebook"` }

// NoAuth lets everyone do everything. It is for listeners that only programs of the same machine reach.
type NoAuth struct{}

// Authenticate believes everyone. The project is only the one whose costs are meant where a request names none.
func (NoAuth) Authenticate(r *http.Request) (*access.Caller, error) {
	project := r.Header.Get("X-Project-Id")
	if project == "" {
		project = r.Header.Get("X-Tenant-Id")
	}
	return &access.Caller{ID: "unknown", Role: access.Admin, Project: project}, nil
}

// Challenge asks for nothing.
func (NoAuth) Challenge() string { return "" }
