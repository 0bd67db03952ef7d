package handlers

import (
	"github.com/labstack/echo/v4"

	"ratebook/rating"
	"ratebook/web"
)

// SetModule has scripts run, or not.
func (h *Scripts) SetModule(c echo.Context) error {
	enabled := c.FormValue("enabled") == "true"
	_, err := h.rules.EditRules(c.Request().Context(), web.Actor(c), "", func(r *rating.Rules) (*rating.Rules, error) {
		return r.SetModule(scriptsModule, &enabled, nil)
	})
	if err != nil {
		return err
	}
	said := "Scripts run for windows that are rated from now on."
	if !enabled {
		said = "No script runs for windows that are rated from now on."
	}
	return web.Redirect(c, scriptsPath, said)
}
