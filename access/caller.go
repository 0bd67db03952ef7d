package access

import "slices"

// Caller is who asks over the API: a token's holder, someone whom Keystone vouches for, or anyone where nobody has to say
// who they are.
type Caller struct {
	ID      string // the login, "token NAME" or Keystone's user id; "unknown" for anyone
	Role    Role
	Project string   // whose costs are meant where a request names none; may be empty
	Scopes  []string // of a tenant: the ids of the scopes it may read
}

// May reports whether the caller may do what a role may.
func (c *Caller) May(r Role) bool { return (&User{Role: c.Role}).May(r) }

// ReadsAll reports whether the caller may read every scope.
func (c *Caller) ReadsAll() bool { return c.May(Viewer) }

// Reads reports whether the caller may read the scope.
func (c *Caller) Reads(scope string) bool { return c.ReadsAll() || slices.Contains(c.Scopes, scope) }
