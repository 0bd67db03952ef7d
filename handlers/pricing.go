package handlers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/views/components"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// PricingRules keeps the rules and what was changed about them.
type PricingRules interface {
	Rules(ctx context.Context, version int64) (*rating.Rules, error)
	SaveRules(ctx context.Context, r *rating.Rules, author, what string) (version int64, err error)
	Changes(ctx context.Context, f access.ChangeFilter) ([]access.Change, error)
}

// PricingUsage knows what there is to be priced.
type PricingUsage interface {
	Configuration(ctx context.Context, version int64) (*metering.Configuration, error)
	Scopes(ctx context.Context) ([]*metering.Scope, error)
	Unpriced(ctx context.Context, r period.Range) ([]metering.UnpricedUsage, error)
}

// Pricing is the area of the rules: what they are, who changed them, and the forms that change them.
type Pricing struct {
	rules    PricingRules
	usage    PricingUsage
	settings *metering.Settings
	now      func() time.Time
}

// NewPricing returns the area.
func NewPricing(rules PricingRules, usage PricingUsage, settings *metering.Settings, now func() time.Time) *Pricing {
	return &Pricing{rules, usage, settings, now}
}

// Routes lists what the area answers.
func (h *Pricing) Routes(r *web.Router) {
	r.Viewer.GET("/pricing", h.List)
	r.Viewer.GET("/pricing/changes", h.Changes)
	r.Viewer.GET("/pricing/rules/:id", told(h.Show))

	r.Operator.GET("/pricing/rules/new", h.New)
	r.Operator.POST("/pricing/rules/new", h.Create)
	r.Operator.GET("/pricing/rules/:id/edit", told(h.Edit))
	r.Operator.POST("/pricing/rules/:id/edit", told(h.Update))
	r.Operator.GET("/pricing/rules/:id/change", told(h.Change))
	r.Operator.POST("/pricing/rules/:id/change", told(h.ChangeFrom))
	r.Operator.GET("/pricing/rules/:id/end", told(h.AskEnd))
	r.Operator.POST("/pricing/rules/:id/end", told(h.End))
	r.Operator.GET("/pricing/rules/:id/delete", told(h.AskDelete))
	r.Operator.POST("/pricing/rules/:id/delete", told(h.Delete))
}

// pricing is what every page of the area is made from.
type pricing struct {
	rules   *rating.Rules
	metrics []*metering.Metric
	scopes  []*metering.Scope
	words   pages.PriceWords
}

func (h *Pricing) load(ctx context.Context) (*pricing, error) {
	rules, err := h.rules.Rules(ctx, 0)
	if err != nil {
		return nil, err
	}
	configuration, err := h.usage.Configuration(ctx, 0)
	if err != nil {
		return nil, err
	}
	scopes, err := h.usage.Scopes(ctx)
	if err != nil {
		return nil, err
	}
	p := &pricing{rules: rules, metrics: configuration.Metrics, scopes: scopes, words: pages.PriceWords{
		Zone: h.settings.Zone, Currency: h.settings.Currency, Period: h.settings.Period,
		Units: map[string]string{}, Scopes: map[string]string{}, Now: h.now(),
	}}
	for _, m := range p.metrics {
		if unit, known := p.words.Units[m.Name]; known && unit != m.Unit {
			p.words.Units[m.Name] = "" // collected in several units
			continue
		}
		p.words.Units[m.Name] = m.Unit
	}
	for _, s := range scopes {
		p.words.Scopes[s.ID] = cmp.Or(p.words.Scopes[s.ID], s.Name)
	}
	return p, nil
}

// rows returns rules for a list.
func (p *pricing) rows(rules []rating.Rule, counting map[string]bool) []pages.RuleRow {
	rows := make([]pages.RuleRow, len(rules))
	for i, r := range rules {
		rows[i] = pages.RuleRow{Rule: r, Replaced: !counting[r.ID]}
	}
	return rows
}

// metricNames returns the names of the configured metrics, and of those that have rules.
func (p *pricing) metricNames() []string {
	var names []string
	for _, m := range p.metrics {
		names = append(names, m.Name)
	}
	for _, s := range p.rules.Services {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// scopeOptions offers the scopes by name.
func (p *pricing) scopeOptions(none string) []components.Option {
	var options []components.Option
	seen, named := map[string]bool{}, shared(p.scopes)
	for _, s := range p.scopes {
		if seen[s.ID] {
			continue // the same id in another source: a rule is for both
		}
		seen[s.ID] = true
		label := scopeName(s)
		if named[label] {
			label += " (" + s.ID + ")"
		}
		options = append(options, components.Option{Value: s.ID, Label: label})
	}
	slices.SortFunc(options, func(a, b components.Option) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Label), strings.ToLower(b.Label)), strings.Compare(a.Value, b.Value))
	})
	return slices.Insert(options, 0, components.Option{Label: none})
}

// tomorrow returns the first instant of the next day in the billing zone.
func (p *pricing) tomorrow() time.Time { return period.Day.Next(p.words.Now, p.words.Zone) }

// page answers with a page of the area.
func (p *pricing) page(c echo.Context, status int, title string, body templ.Component, crumbs ...layout.Crumb) error {
	return web.Page(c, status, p.layout(title, crumbs...), body)
}

func (p *pricing) layout(title string, crumbs ...layout.Crumb) layout.Page {
	crumbs = append([]layout.Crumb{{Label: "Pricing", Path: "/pricing"}}, crumbs...)
	return layout.Page{Title: title, Area: layout.Pricing, Crumbs: crumbs, Aside: p.words.Aside()}
}

// crumb leads to a rule.
func (p *pricing) crumb(r *rating.Rule) layout.Crumb {
	return layout.Crumb{Label: p.words.Usage(r), Path: rulePath(r.ID)}
}

func rulePath(id string) string { return "/pricing/rules/" + url.PathEscape(id) }

// effectOnly reports whether htmx asks for no more than what saving a form will do.
func effectOnly(c echo.Context) bool { return c.Request().Header.Get("HX-Target") == pages.RuleEffect }

// previews reports whether a form's page is asked for with what was typed.
func previews(c echo.Context) bool { return effectOnly(c) || c.QueryParam("preview") != "" }

// formPage answers with a form that has an effect, or with the effect alone.
func (p *pricing) formPage(c echo.Context, status int, title string, body templ.Component, crumbs ...layout.Crumb) error {
	if effectOnly(c) {
		return web.Page(c, http.StatusOK, p.layout(title, crumbs...), body, pages.RuleEffect)
	}
	return p.page(c, status, title, body, crumbs...)
}

// save stores what edit makes of the rules. If that can't be, for a reason that the form shows, the status is not 0: what was
// typed is wrong, or the rules were changed after the version that the form was made from. Then the form, with the status,
// carries the version now, so that saving it again comes on top.
func (h *Pricing) save(c echo.Context, p *pricing, edit func() (*rating.Rules, error)) (status int, place pages.SavePlace, err error) {
	ctx, latest := c.Request().Context(), p.rules
	next, err := edit()
	place, err = rejected(err)
	if err != nil {
		return 0, place, err
	}
	if place.Message != "" {
		status = http.StatusUnprocessableEntity
	}
	place.Version = latest.Version
	made, err := strconv.ParseInt(c.FormValue("version"), 10, 64)
	if err != nil || made < 1 && latest.Version > 0 {
		place.Message = cmp.Or(place.Message, "The form came without the version of the rules that it was made from. Look at it again, and save it again.")
		return http.StatusUnprocessableEntity, place, nil
	}
	if made != latest.Version {
		return h.overtaken(ctx, made, latest, place)
	}
	if status != 0 {
		return status, place, nil
	}
	what := strings.Join(rating.Changes(latest, next), "\n")
	if what == "" {
		return 0, place, nil // nothing to save
	}
	_, err = h.rules.SaveRules(ctx, next, web.Actor(c), what)
	if fault.KindOf(err) == fault.Conflict {
		now, err := h.rules.Rules(ctx, 0)
		if err != nil {
			return 0, place, err
		}
		return h.overtaken(ctx, made, now, place)
	}
	return 0, place, err
}

// rejected returns what a form says about why it was not accepted; an error that is not about its fields stays one.
func rejected(err error) (pages.SavePlace, error) {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || len(e.Fields) == 0 {
		return pages.SavePlace{Errors: components.Errors{}}, err
	}
	place := pages.SavePlace{Message: web.Sentence(e.Message), Errors: components.ErrorsOf(e.Fields)}
	for field, message := range place.Errors {
		place.Errors[field] = web.Sentence(message)
	}
	return place, nil
}

// overtaken says what was changed between the version that a form was made from and now.
func (h *Pricing) overtaken(ctx context.Context, made int64, latest *rating.Rules, place pages.SavePlace) (int, pages.SavePlace, error) {
	const most = 10 // lines
	wrong := place.Message != ""
	place.Version = latest.Version
	place.Message = "Somebody changed the rules after this page was made, so nothing was saved. Saving again puts this on top of their change"
	if wrong {
		place.Message += ", once what is marked is put right"
	}
	place.Message += "."
	before, err := h.rules.Rules(ctx, made)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return 0, place, err
	}
	if err == nil {
		place.Changed = rating.Changes(before, latest)
	}
	if more := len(place.Changed) - most; more > 1 {
		place.Changed = append(slices.Clip(place.Changed[:most]), "and "+strconv.Itoa(more)+" more changes")
	}
	return http.StatusConflict, place, nil
}

// ruleForm reads the fields of a rule. Spaces around a text are dropped, for they can't be seen, but those of the value, which
// is compared exactly.
func ruleForm(c echo.Context) rating.Form {
	text := func(name string) string { return strings.TrimSpace(c.FormValue(name)) }
	return rating.Form{
		Kind: text("kind"), Service: text("service"), Field: text("field"), Value: c.FormValue("value"), Level: text("level"),
		Type: text("type"), Cost: text("cost"), Group: text("group"), Scope: text("scope"), Start: text("start"), End: text("end"),
		Name: text("name"), Description: strings.ReplaceAll(text("description"), "\r\n", "\n"),
	}
}
