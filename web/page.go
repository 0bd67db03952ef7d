package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/views/layout"
	"ratebook/views/link"
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
	v, ctx := of(c), c.Request().Context()
	shell := v.shell(c)
	shell.Flash = flash(c)
	var page bytes.Buffer
	var err error
	switch {
	case !partial(c):
		err = layout.Full(shell, p, body).Render(ctx, &page)
	case len(fragment) == 0:
		err = layout.Fragment(shell, p, body).Render(ctx, &page)
	default:
		if p.Title != "" { // htmx takes it out and shows it
			page.WriteString("<title>" + templ.EscapeString(p.Title) + " · Ratebook</title>")
		}
		err = templ.RenderFragments(ctx, &page, body, fragment...)
	}
	if err == nil && shell.Flash != nil {
		if partial(c) { // the place for it is outside of what is swapped
			page.WriteString(`<div hx-swap-oob="innerHTML:#flash">`)
			err = layout.Message(*shell.Flash).Render(ctx, &page)
			page.WriteString("</div>")
		}
		v.setCookie(c, flashCookie, "", -1)
	}
	if err != nil {
		return err
	}
	vary(c)
	return c.HTMLBlob(status, page.Bytes())
}

// shell returns what surrounds the page, without a flash.
func (v *visit) shell(c echo.Context) layout.Shell {
	u := User(c)
	if !v.asked && !partial(c) && u != nil && v.site.Notice != nil {
		v.notice, v.asked = v.site.Notice(c.Request().Context(), u), true
	}
	return layout.Shell{User: u, Path: c.Request().URL.RequestURI(), Theme: theme(c), Notice: v.notice}
}

// partial reports whether htmx asks for a part of a page. For a boosted link, and to go back to what it did not keep, it asks
// for all of it.
func partial(c echo.Context) bool {
	h := c.Request().Header
	return h.Get("HX-Request") == "true" && h.Get("HX-Boosted") != "true" && h.Get("HX-History-Restore-Request") != "true"
}

// vary says what else than the address makes an answer.
func vary(c echo.Context) {
	h := c.Response().Header()
	if !slices.Contains(h.Values(echo.HeaderVary), "HX-Request, Cookie") {
		h.Add(echo.HeaderVary, "HX-Request, Cookie")
	}
}

// Redirect sends the browser to another page, a path below the base such as /pricing, with 303. A flash, if it is not
// empty, is said there.
func Redirect(c echo.Context, path, flash string) error {
	if flash != "" {
		setFlash(c, flash)
	}
	return c.Redirect(http.StatusSeeOther, string(link.To(c.Request().Context(), path)))
}

// Local returns path if it is one of ours, such as /costs?group=scope, and else the path of the first page. What comes from
// a form or an address must pass through it before a redirect, since //example.org and its like lead away.
func Local(path string) string {
	strange := func(r rune) bool { return r == '\\' || unicode.IsControl(r) || unicode.IsSpace(r) }
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsFunc(path, strange) {
		return "/"
	}
	return path
}

// NotModified makes the answer one that the browser keeps and asks again for: version changes whenever the page would.
// It reports whether the browser has this version already; it has been answered then. What the shell shows is part of
// what makes the version.
func NotModified(c echo.Context, version string) bool {
	v := of(c)
	shell := v.shell(c)
	if flash(c) != nil {
		return false // said once
	}
	who := ""
	if u := shell.User; u != nil {
		who = fmt.Sprintf("%q %q %d %q", u.Login, u.Role, u.Credentials, u.Scopes)
	}
	if n := shell.Notice; n != nil {
		who += fmt.Sprintf(" %q %q", n.Text, n.Path)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %s %q %t %q %q", version, v.site.Version, who, shell.Theme,
		partial(c), c.Request().Header.Get("HX-Target"), shell.Path))
	tag := `W/"` + hex.EncodeToString(sum[:16]) + `"` // weak, since the answer may be compressed
	vary(c)
	h := c.Response().Header()
	h.Set(echo.HeaderCacheControl, "private, no-cache")
	h.Set("ETag", tag)
	for have := range strings.SplitSeq(c.Request().Header.Get("If-None-Match"), ",") {
		if strings.TrimPrefix(strings.TrimSpace(have), "W/") == strings.TrimPrefix(tag, "W/") {
			c.Response().WriteHeader(http.StatusNotModified)
			return true
		}
	}
	return false
}
