package web

import (
	"net"
	"net/http"
	"net/netip"
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
	scheme, secret, _ := strings.Cut(r.Header.Get(echo.HeaderAuthorization), " ")
	if !strings.EqualFold(scheme, "Bearer") { // a proxy's business, maybe
		return ""
	}
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
type NoAuth struct {
	Host string // another name than localhost that requests may come to; empty: none
}

// Authenticate believes everyone who asks for this machine by its own name: a page from elsewhere, whose name was made to lead here,
// asks for that. The project is only the one whose costs are meant where a request names none.
func (a NoAuth) Authenticate(r *http.Request) (*access.Caller, error) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if !strings.EqualFold(host, "localhost") && (err != nil || !addr.IsLoopback()) && (a.Host == "" || !strings.EqualFold(host, a.Host)) {
		return nil, fault.New(fault.Forbidden, "the API lets everyone in here, but only by the names localhost and 127.0.0.1")
	}
	project := r.Header.Get("X-Project-Id")
	if project == "" {
		project = r.Header.Get("X-Tenant-Id")
	}
	return &access.Caller{ID: "unknown", Role: access.Admin, Project: project}, nil
}

// Challenge asks for nothing.
func (NoAuth) Challenge() string { return "" }
