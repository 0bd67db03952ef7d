package openapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// Site shows the description: as a page, and as it is.
type Site struct{}

// NewSite returns it.
func NewSite() *Site { return &Site{} }

// Routes says what the area answers.
func (h *Site) Routes(r *web.Router) { r.Tenant.GET("/api", h.Show) }

// Show is the page for people.
func (h *Site) Show(c echo.Context) error {
	d, err := Load()
	if err != nil {
		return err
	}
	if web.NotModified(c, tag(d.JSON, web.Origin(c))) {
		return nil
	}
	v := view(d, web.Origin(c))
	v.MakesTokens = web.User(c).May(access.Admin)
	return web.Page(c, http.StatusOK, layout.Page{
		Title: "API", Area: layout.Settings, Crumbs: []layout.Crumb{{Label: "Settings", Path: "/settings"}},
	}, pages.APIPage(v))
}

// placeholder is the server's address in the source.
const placeholder = "https://ratebook.invalid"

// JSON answers with the description for programs.
func (h *Site) JSON(c echo.Context) error {
	d, err := Load()
	if err != nil {
		return err
	}
	origin := web.Origin(c)
	version := tag(d.JSON, origin)
	header := c.Response().Header()
	header.Set(echo.HeaderCacheControl, "no-cache")
	header.Set("ETag", version)
	for have := range strings.SplitSeq(c.Request().Header.Get("If-None-Match"), ",") {
		if strings.TrimSpace(have) == version {
			return c.NoContent(http.StatusNotModified)
		}
	}
	return c.JSONBlob(http.StatusOK, bytes.Replace(d.JSON, appendText(nil, placeholder), appendText(nil, origin), 1))
}

// tag is the version of the description as it is at an address. It is weak, since the answer may be compressed.
func tag(description []byte, origin string) string {
	sum := sha256.Sum256(append(bytes.Clone(description), origin...))
	return `W/"` + hex.EncodeToString(sum[:16]) + `"`
}
