package pages

import (
	"strconv"
	"strings"
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
	ID           int64
	Name, Secret string
	Origin       string   // where programs find us
	Unknown      []string // the ids of its scopes that there are not, or not yet
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

// TokenTitle tells a token apart from others of its name, such as "token 4 (grafana)".
func TokenTitle(id int64, name string) string {
	return "token " + strconv.FormatInt(id, 10) + " (" + name + ")"
}

func revokePath(id int64) string { return "/settings/tokens/" + strconv.FormatInt(id, 10) + "/revoke" }

// unknownScopes says what a token does that names scopes that there are not.
func unknownScopes(ids []string) string {
	what := "The scope " + ids[0] + " is not known yet. The token reads it once it is."
	if len(ids) > 1 {
		what = "The scopes " + strings.Join(ids, ", ") + " are not known yet. The token reads them once they are."
	}
	return what + " If an id is mistyped, revoke the token and make another one."
}
