package handlers

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"ratebook/fault"
	"ratebook/rating"
	"ratebook/views/pages"
	"ratebook/web"
)

// Edit shows the form of a rule that has not begun, with what it is or, as a preview, with what was typed.
func (h *Pricing) Edit(c echo.Context) error {
	p, r, err := h.editable(c)
	if err != nil {
		return err
	}
	if previews(c) {
		f := p.editForm(r, ruleForm(c), c.QueryParam("other"))
		f.preview(p, r)
		return p.formPage(c, http.StatusOK, "Edit", pages.PricingForm(f.RuleForm), p.crumb(r))
	}
	f := p.editForm(r, rating.FormOf(r, p.words.Zone), "")
	f.preview(p, r)
	return p.formPage(c, http.StatusOK, "Edit", pages.PricingForm(f.RuleForm), p.crumb(r))
}

// Update replaces the rule.
func (h *Pricing) Update(c echo.Context) error {
	p, old, err := h.editable(c)
	if err != nil {
		return err
	}
	f := p.editForm(old, ruleForm(c), c.FormValue("other"))
	r := f.preview(p, old)
	status, place, err := h.save(c, p, func() (*rating.Rules, error) {
		if _, err := f.rule(p); err != nil {
			return nil, err
		}
		return p.rules.Replace(old.ID, r)
	})
	if err != nil {
		return err
	}
	if status == 0 {
		return web.Redirect(c, rulePath(old.ID), "Saved: "+p.words.Sentence(&r)+".")
	}
	f.refuse(place, p, &r)
	return p.formPage(c, status, "Edit", pages.PricingForm(f.RuleForm), p.crumb(old))
}

// editable returns the rule that is asked for, if it has not begun: what charges were made by is not rewritten.
func (h *Pricing) editable(c echo.Context) (*pricing, *rating.Rule, error) {
	p, r, err := h.rule(c)
	if err == nil && p.words.Begun(r) {
		err = fault.New(fault.Conflict, "the rule for %s has begun and can't be edited any more; change its price from a date on, or end it", p.words.Usage(r))
	}
	return p, r, err
}

// rule returns the rule that is asked for.
func (h *Pricing) rule(c echo.Context) (*pricing, *rating.Rule, error) {
	p, err := h.load(c.Request().Context())
	if err != nil {
		return nil, nil, err
	}
	r, err := h.find(c, p)
	return p, r, err
}

func (p *pricing) editForm(r *rating.Rule, form rating.Form, other string) ruleFields {
	f := p.newForm(form, other)
	f.Path, f.Back, f.Save = rulePath(r.ID)+"/edit", rulePath(r.ID), "Save"
	return f
}
