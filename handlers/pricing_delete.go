package handlers

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"ratebook/rating"
	"ratebook/views/pages"
	"ratebook/web"
)

// AskDelete asks whether a rule shall go.
func (h *Pricing) AskDelete(c echo.Context) error {
	p, r, err := h.rule(c)
	if err != nil {
		return err
	}
	return p.deletePage(c, http.StatusOK, r, pages.SavePlace{Version: p.rules.Version})
}

// Delete removes the rule.
func (h *Pricing) Delete(c echo.Context) error {
	p, r, err := h.rule(c)
	if err != nil {
		return err
	}
	status, place, err := h.save(c, p, func() (*rating.Rules, error) { return p.rules.Remove(r.ID) })
	if err != nil {
		return err
	}
	if status != 0 {
		return p.deletePage(c, status, r, place)
	}
	return web.Redirect(c, "/pricing", "Deleted: "+p.words.Sentence(r)+".")
}

func (p *pricing) deletePage(c echo.Context, status int, r *rating.Rule, place pages.SavePlace) error {
	body := pages.PricingDelete(&pages.RuleDelete{SavePlace: place, Words: p.words, Rule: *r})
	return p.page(c, status, "Delete the rule", body, p.crumb(r))
}
