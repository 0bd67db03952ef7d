package handlers

import (
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/fault"
	"ratebook/rating"
	"ratebook/views/pages"
	"ratebook/web"
)

// AskEnd shows the form for the end of a rule: the one it has, or tomorrow.
func (h *Pricing) AskEnd(c echo.Context) error {
	p, r, err := h.rule(c)
	if err != nil {
		return err
	}
	end := r.End
	if end.IsZero() && p.words.Begun(r) {
		end = p.tomorrow()
	}
	return p.endPage(c, http.StatusOK, r, rating.FormatTime(end, p.words.Zone), pages.SavePlace{Version: p.rules.Version})
}

// End gives the rule another end, or none.
func (h *Pricing) End(c echo.Context) error {
	p, r, err := h.rule(c)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(c.FormValue("end"))
	var at time.Time
	status, place, err := h.save(c, p, func() (_ *rating.Rules, err error) {
		if at, err = rating.ParseTime(text, p.words.Zone); err != nil {
			return nil, &fault.Error{Kind: fault.Invalid, Message: "the end can't be read", Fields: []fault.Field{{Name: "end", Message: err.Error()}}}
		}
		return p.rules.End(r.ID, at)
	})
	if err != nil {
		return err
	}
	if status != 0 {
		ended := *r
		ended.End = at
		if place.Errors["end"] != "" && (at.IsZero() || at.After(r.Start)) {
			place.Clash = p.rules.Overlapping(&ended)
		}
		return p.endPage(c, status, r, text, place)
	}
	said := " ends at " + p.words.Exactly(at) + "."
	if at.IsZero() {
		said = " has no end any more."
	}
	return web.Redirect(c, rulePath(r.ID), "The rule for "+p.words.Usage(r)+said)
}

func (p *pricing) endPage(c echo.Context, status int, r *rating.Rule, end string, place pages.SavePlace) error {
	body := pages.PricingEnd(&pages.RuleEnd{SavePlace: place, Words: p.words, Rule: *r, End: end})
	return p.page(c, status, "End of the rule", body, p.crumb(r))
}
