package pages

import (
	"time"

	"ratebook/access"
	"ratebook/views/components"
)

// Tokens is the page of the secrets with which programs use the API.
type Tokens struct {
	Zone *time.Location
	Form TokenForm
	Made *MadeToken // one that was made just now; nil: none was
	Rows []TokenRow
}

// TokenForm asks for a new token.
type TokenForm struct {
	Name, Role, Scopes, Expires string
	Problem                     string
	Errors                      components.Errors
}

// MadeToken is a new token with its secret.
type MadeToken struct {
	Name, Secret string
	Origin       string // where programs find us
}

// TokenRow is a token in the list.
type TokenRow struct {
	access.Token
	Valid bool // whether it lets anybody in now
}

// tokenRoles are the choices of what a token may do.
func tokenRoles() (all []components.Option) {
	for _, r := range []access.Role{access.Viewer, access.Tenant, access.Operator, access.Admin} {
		all = append(all, components.Option{Value: string(r), Label: string(r) + ": " + roleMeaning(r)})
	}
	return all
}
