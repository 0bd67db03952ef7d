package handlers

import (
	"slices"

	"github.com/labstack/echo/v4"

	"ratebook/metering"
	"ratebook/web"
)

// RunNow runs a job of this process before its time.
func (h *Processing) RunNow(c echo.Context) error {
	name := c.Param("name")
	running := slices.ContainsFunc(h.worker.Jobs.Jobs(), func(j metering.Job) bool { return j.Name == name && j.Running })
	if err := h.worker.Jobs.RunNow(name); err != nil {
		return err
	}
	text := `The job "` + name + `" runs now.`
	if running {
		text = `The job "` + name + `" was running already; it runs once more afterwards.`
	}
	return web.Redirect(c, "/processing", text)
}
