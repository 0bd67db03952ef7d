package access

import (
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"time"
	"unicode/utf8"

	"ratebook/fault"
)

// Token lets a program use the API. Its secret is shown once, when it is made; what is stored is a digest of it.
type Token struct {
	ID        int64
	Name      string // for people
	Role      Role
	Scopes    []string // of a tenant's: the ids of the scopes it may read
	Created   time.Time
	CreatedBy string
	Expires   time.Time // zero: never
	Revoked   time.Time // zero: it was not
	Used      time.Time // about when it was used last; zero: never
}

// Valid reports whether the token lets anyone in at a time.
func (t *Token) Valid(now time.Time) bool {
	return t.Revoked.IsZero() && (t.Expires.IsZero() || now.Before(t.Expires))
}

// Caller returns who asks with the token.
func (t *Token) Caller() *Caller {
	c := &Caller{ID: "token " + t.Name, Role: t.Role, Scopes: t.Scopes}
	if len(t.Scopes) > 0 {
		c.Project = t.Scopes[0]
	}
	return c
}

// undefinedScope is the id of the scope of pushed points that name none: metering.UndefinedScope.
const undefinedScope = "__UNDEF__"

// maxTokenName is the most characters that a token's name may have.
const maxTokenName = 64

// Check says what is wrong with a token that somebody asks for: nil, or an error of kind Invalid with the fields name, role,
// scopes and expires.
func (t *Token) Check(now time.Time) error {
	err := fault.New(fault.Invalid, "the token can't be made")
	complain := func(field, message string) {
		err.Fields = append(err.Fields, fault.Field{Name: field, Message: message})
	}
	if n := utf8.RuneCountInString(t.Name); n == 0 || n > maxTokenName || strings.TrimSpace(t.Name) != t.Name {
		complain("name", "give it a name of 1 to 64 characters that says what uses it")
	}
	if _, e := ParseRole(string(t.Role)); e != nil {
		complain("role", "choose admin, operator, viewer or tenant")
	}
	switch {
	case t.Role == Tenant && len(t.Scopes) == 0:
		complain("scopes", "a tenant reads only its own scopes; name at least one")
	case t.Role != Tenant && len(t.Scopes) > 0:
		complain("scopes", "only a tenant's token has scopes; other roles read every scope")
	}
	for _, s := range t.Scopes {
		if s == "" || s == undefinedScope {
			complain("scopes", "a tenant's scope has an id; usage that names no scope is nobody's")
		}
	}
	if !t.Expires.IsZero() && !t.Expires.After(now) {
		complain("expires", "choose a time that is still to come, or none")
	}
	if len(err.Fields) == 0 {
		return nil
	}
	return err
}

// secretPrefix lets people and scanners see what a secret is for.
const secretPrefix = "rb_"

// NewSecret returns a token's secret, and the digest by which it is found.
func NewSecret() (secret string, digest []byte) {
	secret = secretPrefix + rand.Text()
	return secret, SecretDigest(secret)
}

// SecretDigest returns the digest of a token's secret.
func SecretDigest(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
