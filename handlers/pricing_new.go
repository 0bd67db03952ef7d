package handlers

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"ratebook/rating"
	"ratebook/views/components"
	"ratebook/views/pages"
	"ratebook/web"
)

// New shows the form of a new rule: empty but for the metric, field and value that are asked for, like a rule that has ended,
// or, as a preview, with what was typed.
func (h *Pricing) New(c echo.Context) error {
	p, err := h.load(c.Request().Context())
	if err != nil {
		return err
	}
	form := rating.Form{
		Kind: string(rating.Mapping), Type: string(rating.Flat), Service: c.QueryParam("metric"), Field: c.QueryParam("field"), Value: c.QueryParam("value"),
	}
	switch from := c.QueryParam("from"); {
	case previews(c):
		form = ruleForm(c)
	case from != "":
		r, err := p.rules.Rule(from)
		if err != nil {
			return err
		}
		form = rating.FormOf(r, p.words.Zone)
		form.Start, form.End = rating.FormatTime(p.tomorrow(), p.words.Zone), ""
	case p.isPriced(form.Service): // then a price changes, and people should be able to say from when on
		form.Start = rating.FormatTime(p.tomorrow(), p.words.Zone)
	}
	f := p.newForm(form, c.QueryParam("other"))
	if previews(c) {
		f.preview(p, nil)
	} else {
		f.before(p)
	}
	return p.formPage(c, http.StatusOK, "New price", pages.PricingForm(f.RuleForm))
}

// Create adds the rule.
func (h *Pricing) Create(c echo.Context) error {
	p, err := h.load(c.Request().Context())
	if err != nil {
		return err
	}
	f := p.newForm(ruleForm(c), c.FormValue("other"))
	r := f.preview(p, nil)
	var id string
	status, place, err := h.save(c, p, func() (next *rating.Rules, err error) {
		if r, err = f.rule(p); err != nil {
			return nil, err
		}
		next, id, err = p.rules.Add(r)
		return next, err
	})
	if err != nil {
		return err
	}
	if status == 0 {
		return web.Redirect(c, rulePath(id), "New price: "+p.words.Sentence(&r)+".")
	}
	f.refuse(place, p, &r)
	return p.formPage(c, status, "New price", pages.PricingForm(f.RuleForm))
}

// ruleFields is a rule's form in the hands of a handler.
type ruleFields struct{ *pages.RuleForm }

func (p *pricing) newForm(form rating.Form, other string) ruleFields {
	f := &pages.RuleForm{Words: p.words, Path: "/pricing/rules/new", Back: "/pricing", Save: "Save the price", Form: form, Other: other}
	f.Version = p.rules.Version
	f.Metrics = []components.Option{{Label: "choose one"}}
	for _, name := range p.metricNames() {
		f.Metrics = append(f.Metrics, components.Option{Value: name, Label: name})
	}
	f.Metrics = pages.WithOption(f.Metrics, form.Service)
	f.Scopes = pages.WithOption(p.scopeOptions("every scope"), form.Scope)
	f.Fields, f.Values = p.attributes(form.Service), p.values(form.Service, form.Field)
	for _, g := range p.rules.Groups {
		f.Groups = append(f.Groups, g.Name)
	}
	return ruleFields{f}
}

// rule reads the form.
func (f ruleFields) rule(p *pricing) (rating.Rule, error) {
	form := f.Form
	form.Service = cmp.Or(f.Other, form.Service)
	return form.Rule(p.words.Zone)
}

// before says what can be said before a rule was typed.
func (f ruleFields) before(p *pricing) {
	if start, err := rating.ParseTime(f.Form.Start, p.words.Zone); err == nil {
		f.Effect = &pages.Effect{Lines: p.words.Begins(start)}
	}
}

// preview says what saving the form would do, and what is wrong with it. The rule takes the place of old, unless that is nil.
func (f ruleFields) preview(p *pricing, old *rating.Rule) rating.Rule {
	r, err := f.rule(p)
	if err == nil {
		effect := p.words.NewEffect(&r)
		f.Effect = &effect
		if old == nil {
			_, _, err = p.rules.Add(r)
		} else {
			r.ID = old.ID
			_, err = p.rules.Replace(old.ID, r)
		}
	} else {
		f.before(p)
	}
	place, _ := rejected(err) // another error comes back when the form is saved
	place.Version = p.rules.Version
	f.refuse(place, p, &r)
	if f.Clash != nil {
		f.Effect.Lines = append([]string{"It can't be saved like this: in the way is " + p.words.Sentence(f.Clash) + "."}, f.Effect.Lines...)
	}
	return r
}

// refuse says why the form was not saved, and which rule is in the way.
func (f ruleFields) refuse(place pages.SavePlace, p *pricing, r *rating.Rule) {
	f.SavePlace = place
	if _, err := f.rule(p); err == nil && len(place.Errors) > 0 {
		f.Clash = p.rules.Overlapping(r)
	}
}

// isPriced reports whether a metric has rules; of no metric, whether there are any.
func (p *pricing) isPriced(metric string) bool {
	return slices.ContainsFunc(p.rules.Hashmap, func(r rating.Rule) bool { return metric == "" || r.Service == metric })
}

// attributes suggests attributes for a rule: those of the metric, then those of others.
func (p *pricing) attributes(metric string) []string {
	var own, others []string
	for _, m := range p.metrics {
		to := &others
		if m.Name == metric {
			to = &own
		}
		*to = append(append(*to, m.Groupby...), m.Metadata...)
	}
	for _, s := range p.rules.Services {
		for _, f := range s.Fields {
			others = append(others, f.Name)
		}
	}
	slices.Sort(own)
	slices.Sort(others)
	var all []string
	seen := map[string]bool{}
	for _, name := range append(own, others...) {
		if !seen[name] {
			seen[name] = true
			all = append(all, name)
		}
	}
	return all
}

// values suggests values for a mapping: those that rules of the same attribute have.
func (p *pricing) values(metric, field string) []string {
	var values []string
	for _, r := range p.rules.Hashmap {
		if r.Value != "" && (metric == "" || r.Service == metric) && (field == "" || r.Field == field) {
			values = append(values, r.Value)
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}
