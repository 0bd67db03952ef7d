package handlers

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"ratebook/views/gallery"
	"ratebook/views/layout"
	"ratebook/web"
)

// Gallery shows every component in every state, to those who work on them. Only the demo has it.
type Gallery struct{}

// NewGallery returns the area.
func NewGallery() *Gallery { return &Gallery{} }

// Routes registers the gallery.
func (h *Gallery) Routes(r *web.Router) { r.Tenant.GET("/dev/views", h.show) }

func (h *Gallery) show(c echo.Context) error {
	return web.Page(c, http.StatusOK, layout.Page{Title: "Components"}, gallery.Page())
}
