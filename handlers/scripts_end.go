package handlers

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"ratebook/rating"
	"ratebook/views/pages"
	"ratebook/web"
)

// AskEnd shows the form for the end of a script: the one it has, or tomorrow.
func (h *Scripts) AskEnd(c echo.Context) error {
	_, s, err := h.find(c)
	if err != nil {
		return err
	}
	end := s.End
	if end.IsZero() && !s.Start.After(h.now()) {
		end = h.tomorrow()
	}
	return h.endPage(c, http.StatusOK, s, rating.FormatTime(end, h.settings.Zone), pages.ScriptPlace{Was: fingerprint(s)})
}

// End gives the script another end, or none.
func (h *Scripts) End(c echo.Context) error {
	_, s, err := h.find(c)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(c.FormValue("end"))
	ended := *s
	place := pages.ScriptPlace{Was: c.FormValue("was")}
	status, err := h.save(c, s.ID, &place, func(r *rating.Rules) (*rating.Rules, error) {
		now, err := r.Script(s.ID)
		if err != nil {
			return nil, err
		}
		ended = *now
		if err := h.times(&ended, rating.FormatTime(now.Start, h.settings.Zone), text); err != nil {
			return nil, err
		}
		return r.ReplaceScript(s.ID, ended)
	})
	if err != nil {
		return err
	}
	if status != 0 {
		return h.endPage(c, status, s, text, place)
	}
	words := h.words()
	said := s.Name + " ends at " + words.Exactly(ended.End) + "."
	if ended.End.IsZero() {
		said = s.Name + " has no end any more."
	}
	return web.Redirect(c, scriptPath(s.ID), said)
}

func (h *Scripts) endPage(c echo.Context, status int, s *rating.Script, end string, place pages.ScriptPlace) error {
	body := pages.ScriptEndPage(&pages.ScriptEnd{ScriptPlace: place, Words: h.words(), Script: *s, End: end})
	return h.page(c, status, "End of the script", body, s)
}
