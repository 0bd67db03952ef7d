package web

import (
	"net/http"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/views/layout"
)

// Router is where the areas of the site register what they answer, each under those who may have it. Whoever may do more
// may do all that those below may.
type Router struct {
	Anyone   *echo.Group // also who has not signed in
	Tenant   *echo.Group // whoever has signed in; a handler looks at User itself for what it shows a tenant
	Viewer   *echo.Group
	Operator *echo.Group
	Admin    *echo.Group
}

// Area is a part of the site.
type Area interface{ Routes(r *Router) }

// User returns who asks, or nil. Under Router.Tenant and above there always is someone.
func User(c echo.Context) *access.User {
	u, _ := c.Get("user").(*access.User)
	return u
}

// Page answers with a page, or, if htmx asks for it, with what changes: the named fragments of the body, else the whole
// body. It is the only way a page leaves the server: it fills in the shell, renders before it sends anything, and says how
// the answer may be cached.
func Page(c echo.Context, status int, p layout.Page, body templ.Component, fragment ...any) error {
	return nil
}

// Redirect sends the browser to another page, a path below the base such as /pricing, with 303. A flash, if it is not
// empty, is said there.
func Redirect(c echo.Context, path, flash string) error {
	return c.Redirect(http.StatusSeeOther, path)
}

// NotModified makes the answer one that the browser keeps and asks again for: version changes whenever the page would.
// It reports whether the browser has this version already; it has been answered then. What the shell shows is part of
// what makes the version.
func NotModified(c echo.Context, version string) bool { return false }
