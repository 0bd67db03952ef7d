package handlers

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"ratebook/costs"
	"ratebook/fault"
	"ratebook/period"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// mostSuggestions is how many values are listed.
const mostSuggestions = 50

// suggest lists the values of a key in the range, the dearest first: what a filter can keep besides what it keeps already.
func (h *Costs) suggest(c echo.Context) error {
	r, err := h.read(c)
	if err != nil {
		return err
	}
	page := layout.Page{Title: "Values for a filter", Area: layout.Costs, Crumbs: []layout.Crumb{{Label: "Costs", Path: r.path()}}}
	key := costsKey(r.typed.Get(filterKey))
	if r.badKey(key) || len(r.wrong) > 0 { // the report says what is wrong
		v := h.face(r)
		return web.Page(c, http.StatusUnprocessableEntity, page, pages.CostsBody(v))
	}
	v := &pages.CostsValues{
		Part: strings.TrimSpace(r.typed.Get(filterValue)), Range: r.inRange(h.settings.Zone), Currency: h.settings.Currency, Back: r.path(),
	}
	if key != "" && key != costs.AttributePrefix {
		v.Key = costsLabel(key)
		err := h.values(c, r, key, v)
		if problem, ok := errors.AsType[*fault.Error](err); ok && problem.Kind == fault.Invalid {
			r.refuse(problem)
			return web.Page(c, http.StatusUnprocessableEntity, page, pages.CostsBody(h.face(r)))
		}
		if err != nil {
			return err
		}
	}
	if c.Request().Header.Get("HX-Request") == "true" { // the list comes into the report, which keeps its title
		page.Title = ""
	}
	return web.Page(c, http.StatusOK, page, pages.CostsValuesBody(v), pages.CostsValuesFragment)
}

func (h *Costs) values(c echo.Context, r *costsRequest, key string, v *pages.CostsValues) error {
	q, ok := r.ask(r.user, func(q *costs.Query) {
		q.Bucket, q.Groups = period.Whole, []string{key}
	})
	if !ok {
		return nil
	}
	own := q.Filters[len(r.filters):]
	others := slices.DeleteFunc(slices.Clone(r.filters), func(f costs.Filter) bool { return f.Key == key })
	q.Filters = append(others, own...)
	t, err := newCostsTable(c.Request().Context(), h.few, q, nil, h.cells, nil)
	if err != nil {
		return err
	}
	part := strings.ToLower(v.Part)
	for _, n := range t.sorted(costsDefaultSort, nil) {
		g := &t.groups[n]
		value := g.values[0]
		text := r.shown(key, value)
		if !strings.Contains(strings.ToLower(text), part) && !strings.Contains(strings.ToLower(value), part) {
			continue
		}
		if len(v.Values) == mostSuggestions {
			v.Left++
			continue
		}
		name := pages.CostsName{Text: text, Title: value, None: value == ""}
		if sayable(key, value) {
			name.Path = r.but(func(q *costsQuestion) { q.filters = withFilter(q.filters, key, value) }).path()
		}
		v.Values = append(v.Values, pages.CostsValue{CostsName: name, Cost: g.cost})
	}
	return nil
}
