package handlers

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"ratebook/rating"
	"ratebook/views/pages"
	"ratebook/web"
)

// AskDelete asks whether a script shall go, or says why it can't.
func (h *Scripts) AskDelete(c echo.Context) error {
	_, s, err := h.find(c)
	if err != nil {
		return err
	}
	return h.deletePage(c, http.StatusOK, s, pages.ScriptPlace{Was: fingerprint(s)})
}

// Delete removes the script, unless it has priced something.
func (h *Scripts) Delete(c echo.Context) error {
	_, s, err := h.find(c)
	if err != nil {
		return err
	}
	priced, err := h.rules.HasPriced(c.Request().Context(), s.ID)
	if err != nil {
		return err
	}
	if priced {
		return h.deletePage(c, http.StatusConflict, s, pages.ScriptPlace{})
	}
	place := pages.ScriptPlace{Was: c.FormValue("was")}
	status, err := h.save(c, s.ID, &place, func(r *rating.Rules) (*rating.Rules, error) { return r.RemoveScript(s.ID) })
	if err != nil {
		return err
	}
	if status != 0 {
		return h.deletePage(c, status, s, place)
	}
	return web.Redirect(c, scriptsPath, "Deleted: "+s.Name+".")
}

func (h *Scripts) deletePage(c echo.Context, status int, s *rating.Script, place pages.ScriptPlace) error {
	priced, err := h.rules.HasPriced(c.Request().Context(), s.ID)
	if err != nil {
		return err
	}
	body := pages.ScriptDeletePage(&pages.ScriptDelete{ScriptPlace: place, Words: h.words(), Script: *s, Priced: priced})
	return h.page(c, status, "Delete the script", body, s)
}
