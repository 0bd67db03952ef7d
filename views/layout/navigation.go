package layout

import (
	"github.com/a-h/templ"

	"ratebook/access"
)

// place is an entry of the navigation.
type place struct {
	area        Area
	label, path string
	tenants     bool // whether a tenant may go there
}

var places = []place{
	{Overview, "Overview", "/", true},
	{Costs, "Costs", "/costs", true},
	{Scopes, "Scopes", "/scopes", true},
	{Metrics, "Metrics", "/metrics", false},
	{Pricing, "Pricing", "/pricing", false},
	{Processing, "Processing", "/processing", false},
	{Settings, "Settings", "/settings", false},
}

// areas returns where the user may go.
func areas(u *access.User) []place {
	var open []place
	for _, p := range places {
		if p.tenants || u.ReadsAll() {
			open = append(open, p)
		}
	}
	return open
}

// trail returns the way to a page, beginning with its area; a page that the navigation leads to has none.
func trail(p Page) []Crumb {
	for _, a := range places {
		if a.area != p.Area || a.label == p.Title && len(p.Crumbs) == 0 || a.area == Overview {
			continue
		}
		if len(p.Crumbs) > 0 && p.Crumbs[0].Path == a.path {
			return p.Crumbs
		}
		return append([]Crumb{{a.label, a.path}}, p.Crumbs...)
	}
	return p.Crumbs
}

// windowTitle names the page among others in tabs and history.
func windowTitle(p Page) string { return p.Title + " · Ratebook" }

func searchHint(u *access.User) string {
	if u.ReadsAll() {
		return "Scope, metric or rule"
	}
	return "Scope or metric"
}

func current(is bool) templ.OrderedAttributes {
	if !is {
		return nil
	}
	return templ.OrderedAttributes{{Key: "aria-current", Value: "page"}}
}

func pressed(is bool) templ.OrderedAttributes {
	state := "false"
	if is {
		state = "true"
	}
	return templ.OrderedAttributes{{Key: "aria-pressed", Value: state}}
}
