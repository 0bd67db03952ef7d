// Package layout is what surrounds every page: navigation, where one is, who one is, messages, style and scripts.
package layout

import "ratebook/access"

// Area is a part of the site that the navigation leads to.
type Area string

// The areas, in the order of the navigation.
const (
	Overview   Area = "overview"
	Costs      Area = "costs"
	Scopes     Area = "scopes"
	Metrics    Area = "metrics"
	Pricing    Area = "pricing"
	Processing Area = "processing"
	Settings   Area = "settings"
	None       Area = "" // pages without navigation, such as sign-in
)

// Page is what the layout needs to know of a page.
type Page struct {
	Title  string  // of the page alone; also its heading
	Area   Area    // the current place in the navigation
	Crumbs []Crumb // the way here from the area, without the page itself
	Action *Action // the page's primary action, if it has one
	Aside  string  // a few words beside the heading, such as "prices in EUR, times in Europe/Berlin"
}

// Crumb is a step of the way to a page.
type Crumb struct{ Label, Path string }

// Action is a link that looks like a button.
type Action struct{ Label, Path string }

// Shell is what surrounds the page and belongs to the request.
type Shell struct {
	User   *access.User // nil: nobody is signed in
	Path   string       // of the request, with its query, below the base
	Theme  string       // "light", "dark", or empty: as the system has it
	Flash  *Flash
	Notice *Notice // something needs attention
}

// Flash is what the request before did, said once.
type Flash struct {
	Text  string
	Wrong bool // it did not work
}

// Notice is the line that says that something needs attention, with the place to look.
type Notice struct{ Text, Path string }
