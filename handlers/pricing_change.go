package handlers

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/period"
	"ratebook/rating"
	"ratebook/views/pages"
	"ratebook/web"
)

// Change shows the form for another price of a rule from a date on, by default from tomorrow.
func (h *Pricing) Change(c echo.Context) error {
	p, r, err := h.rule(c)
	if err != nil {
		return err
	}
	if p.words.Ended(r) {
		return web.Redirect(c, rulePath(r.ID), "The rule has ended, so its price can't change any more; make a new one like it.")
	}
	form := rating.FormOf(r, p.words.Zone)
	form.Cost, form.Start = "", rating.FormatTime(p.changeStart(r), p.words.Zone)
	if previews(c) {
		form = ruleForm(c)
	}
	f := p.changeForm(r, form)
	f.preview(p)
	if !previews(c) {
		f.Message, f.Errors = "", nil // nothing was typed yet
	}
	return p.formPage(c, http.StatusOK, "Change price", pages.PricingChange(f.PriceChange), p.crumb(r))
}

// ChangeFrom gives the rule a successor with the new price.
func (h *Pricing) ChangeFrom(c echo.Context) error {
	p, r, err := h.rule(c)
	if err != nil {
		return err
	}
	f := p.changeForm(r, ruleForm(c))
	f.preview(p)
	var next *rating.Rules
	var id string
	status, place, err := h.save(c, p, func() (_ *rating.Rules, err error) {
		next, id, err = f.change(p)
		return next, err
	})
	if err != nil {
		return err
	}
	if status == 0 {
		successor, err := next.Rule(id)
		if err != nil {
			return err
		}
		return web.Redirect(c, rulePath(id), "The price of "+p.words.Usage(r)+" is "+p.words.Cost(successor)+" from "+
			p.words.Exactly(successor.Start)+" on; before: "+p.words.Cost(r)+".")
	}
	f.SavePlace = place
	return p.formPage(c, status, "Change price", pages.PricingChange(f.PriceChange), p.crumb(r))
}

// changeStart returns when a new price may begin: with the next day on which the rule is valid, or zero if there is none.
func (p *pricing) changeStart(r *rating.Rule) time.Time {
	start := p.tomorrow()
	if !start.After(r.Start) {
		start = period.Day.Next(r.Start, p.words.Zone)
	}
	if !r.End.IsZero() && !start.Before(r.End) {
		return time.Time{}
	}
	return start
}

// changeFields is the form in the hands of a handler.
type changeFields struct{ *pages.PriceChange }

func (p *pricing) changeForm(r *rating.Rule, form rating.Form) changeFields {
	return changeFields{&pages.PriceChange{Words: p.words, Rule: *r, Form: form, SavePlace: pages.SavePlace{Version: p.rules.Version}}}
}

// change makes the change. Only what the form has can be wrong: all else is the rule's.
func (f changeFields) change(p *pricing) (next *rating.Rules, successor string, err error) {
	form := rating.FormOf(&f.Rule, p.words.Zone)
	form.Type, form.Cost, form.Start, form.Name, form.Description = f.Form.Type, f.Form.Cost, f.Form.Start, f.Form.Name, f.Form.Description
	form.End = ""
	changed, err := form.Rule(p.words.Zone)
	if err != nil {
		return nil, "", err
	}
	return p.rules.ChangeFrom(f.Rule.ID, changed.Start, changed)
}

// preview says what saving the form would do, and what is wrong with it.
func (f changeFields) preview(p *pricing) {
	next, id, err := f.change(p)
	if err != nil {
		place, _ := rejected(err) // another error comes back when the form is saved
		place.Version = p.rules.Version
		f.SavePlace = place
		f.Effect = &pages.Effect{What: p.words.Usage(&f.Rule), Before: p.words.Cost(&f.Rule)}
		if at, err := rating.ParseTime(f.Form.Start, p.words.Zone); err == nil && !at.IsZero() && place.Errors["start"] == "" {
			f.Effect.Lines = p.words.Begins(at)
		}
		return
	}
	successor, err := next.Rule(id)
	if err != nil {
		return
	}
	own := map[string]bool{} // scopes with rules in its place that are not over by then
	if _, others := p.rules.Twins(&f.Rule); f.Rule.Scope == "" {
		for _, o := range others {
			if o.End.IsZero() || o.End.After(successor.Start) {
				own[o.Scope] = true
			}
		}
	}
	effect := p.words.ChangeEffect(&f.Rule, successor.Start, successor.Type, successor.Cost, len(own))
	f.Effect = &effect
}
