package handlers

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"ratebook/metering"
	"ratebook/rating"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// SearchStore is what the search needs of the store.
type SearchStore interface {
	catalogue
	Scopes(ctx context.Context) ([]*metering.Scope, error)
}

// Search finds scopes, metrics, attributes and rules by their names.
type Search struct {
	store    SearchStore
	settings *metering.Settings
	now      func() time.Time
}

// NewSearch returns the area.
func NewSearch(store SearchStore, settings *metering.Settings, now func() time.Time) *Search {
	return &Search{store: store, settings: settings, now: now}
}

// Routes says what the area answers.
func (h *Search) Routes(r *web.Router) {
	r.Tenant.GET("/search", h.Find)
}

const (
	mostHits   = 50  // of one kind
	mostSought = 200 // characters
)

// Find is the page of what was found. The only thing found, if it is called exactly so, is gone to at once.
func (h *Search) Find(c echo.Context) error {
	ctx, user := c.Request().Context(), web.User(c)
	q := strings.TrimSpace(c.QueryParam("q"))
	if utf8.RuneCountInString(q) > mostSought {
		q = string([]rune(q)[:mostSought])
	}
	v := &pages.Search{Q: q, All: user.ReadsAll()}
	if q != "" {
		scopes, err := h.store.Scopes(ctx)
		if err != nil {
			return err
		}
		if !user.ReadsAll() {
			scopes = slices.DeleteFunc(slices.Clone(scopes), func(s *metering.Scope) bool { return !slices.Contains(user.Scopes, s.ID) })
		}
		v.Add("Scopes", mostHits, scopeHits(scopes, q))
		if user.ReadsAll() {
			if err := h.catalogue(ctx, v, q, scopes); err != nil {
				return err
			}
		}
		if hit := v.Only(); hit != nil && hit.Exact {
			return web.Redirect(c, hit.Path, "")
		}
	}
	return web.Page(c, http.StatusOK, layout.Page{Title: "Search", Area: layout.None}, pages.SearchPage(v))
}

// catalogue adds what is configured.
func (h *Search) catalogue(ctx context.Context, v *pages.Search, q string, scopes []*metering.Scope) error {
	config, err := h.store.Configuration(ctx, 0)
	if err != nil {
		return err
	}
	rules, err := h.store.Rules(ctx, 0)
	if err != nil {
		return err
	}
	words := &pages.PriceWords{
		Zone: h.settings.Zone, Currency: h.settings.Currency, Period: h.settings.Period, Now: h.now(),
		Units: map[string]string{}, Scopes: map[string]string{},
	}
	for _, m := range config.Metrics {
		words.Units[m.Name] = m.Unit
	}
	for _, s := range scopes {
		words.Scopes[s.ID] = s.Name
	}
	v.Add("Metrics", mostHits, metricHits(config, q))
	v.Add("Attributes", mostHits, attributeHits(config, q))
	v.Add("Rules", mostHits, ruleHits(rules, words, q))
	return nil
}

func scopeHits(scopes []*metering.Scope, q string) (hits []pages.Hit) {
	for _, s := range scopes {
		if contains(s.Name, q) || contains(s.ID, q) {
			hit := pages.Hit{Label: scopeName(s), Path: scopePath(s), Exact: strings.EqualFold(s.Name, q) || strings.EqualFold(s.ID, q)}
			if s.Name != "" {
				hit.Detail = s.ID
			}
			hits = append(hits, hit)
		}
	}
	return hits
}

func metricHits(config *metering.Configuration, q string) (hits []pages.Hit) {
	seen := map[string]bool{}
	for _, m := range config.Metrics {
		if seen[m.Name] || !contains(m.Name, q) && !contains(m.Measured, q) {
			continue
		}
		seen[m.Name] = true
		hit := pages.Hit{Label: m.Name, Path: metricPath(m.Name), Exact: strings.EqualFold(m.Name, q)}
		if m.Measured != m.Name {
			hit.Detail = m.Measured
		}
		hits = append(hits, hit)
	}
	return hits
}

// attributeHits lead to the costs of this month by the attribute.
func attributeHits(config *metering.Configuration, q string) (hits []pages.Hit) {
	metrics := map[string][]string{}
	for _, m := range config.Metrics {
		for _, name := range slices.Concat(m.Groupby, m.Metadata) {
			if contains(name, q) && !slices.Contains(metrics[name], m.Name) {
				metrics[name] = append(metrics[name], m.Name)
			}
		}
	}
	for name, of := range metrics {
		hits = append(hits, pages.Hit{
			Label: name, Detail: "of " + strings.Join(of, ", "), Exact: strings.EqualFold(name, q),
			Path: "/costs?" + url.Values{"group": {attributeKey(name)}}.Encode(),
		})
	}
	slices.SortFunc(hits, func(a, b pages.Hit) int { return strings.Compare(a.Label, b.Label) })
	return hits
}

func ruleHits(rules *rating.Rules, words *pages.PriceWords, q string) (hits []pages.Hit) {
	for i := range rules.Hashmap {
		r := &rules.Hashmap[i]
		if slices.ContainsFunc([]string{r.Name, r.Value, r.Description, r.ID}, func(s string) bool { return contains(s, q) }) {
			hits = append(hits, pages.Hit{
				Label: words.Sentence(r), Detail: r.Name, Path: "/pricing/rules/" + url.PathEscape(r.ID),
				Exact: slices.ContainsFunc([]string{r.Name, r.Value, r.ID}, func(s string) bool { return strings.EqualFold(s, q) }),
			})
		}
	}
	return hits
}
