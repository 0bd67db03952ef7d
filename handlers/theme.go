package handlers

import (
	"github.com/labstack/echo/v4"

	"ratebook/web"
)

// Theme lets browsers choose light or dark pages.
type Theme struct{}

// NewTheme returns the area for the theme.
func NewTheme() *Theme { return &Theme{} }

// Routes registers the choice of the theme.
func (h *Theme) Routes(r *web.Router) { r.Anyone.POST("/theme", h.choose) }

// choose remembers the theme, and goes back to where it was chosen.
func (h *Theme) choose(c echo.Context) error {
	web.SetTheme(c, c.FormValue("theme"))
	return web.Redirect(c, web.Local(c.FormValue("back")), "")
}
