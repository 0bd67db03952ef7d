package pages

import (
	"time"

	"ratebook/access"
)

// Settings is the page of one's account, and of what shapes stored data.
type Settings struct {
	Login   string
	Role    access.Role
	Scopes  []string // of a tenant
	Created time.Time
	Zone    *time.Location
	Stored  []Setting // none: one may not see them

	ChargesFrom, RollupsFrom time.Time // since when there are any; zero: none were dropped

	Admin bool
	Users []SettingsUser
}

// Setting is one of the values that belong to the database.
type Setting struct {
	Name, Value string // as the command knows them
	Means       string
	Change      string // what a change does, or when it is possible
}

// SettingsUser is a user in the list.
type SettingsUser struct {
	Login    string
	Role     access.Role
	Scopes   []string
	Created  time.Time
	Disabled time.Time // zero: may sign in
}

// SettingsChanges is the page of everything that was changed, the newest first.
type SettingsChanges struct {
	Zone  *time.Location
	Rows  []ChangeRow
	First bool   // whether it begins with the newest
	Older string // the path of the next page; empty: this is the last
}

// roleMeaning says what a role may do.
func roleMeaning(r access.Role) string {
	switch r {
	case access.Admin:
		return "may do everything"
	case access.Operator:
		return "may do everything but users and settings"
	case access.Viewer:
		return "reads everything"
	case access.Tenant:
		return "reads its own scopes"
	}
	return ""
}
