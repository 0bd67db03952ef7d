package handlers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/rating"
	"ratebook/views/components"
	"ratebook/views/format"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// TokenStore is what the pages of tokens need of the store.
type TokenStore interface {
	Tokens(ctx context.Context) ([]access.Token, error)
	AddToken(ctx context.Context, t access.Token, digest []byte, actor string) (id int64, err error)
	RevokeToken(ctx context.Context, id int64, actor string) error
	Scopes(ctx context.Context) ([]*metering.Scope, error)
}

// Tokens is the area of the secrets with which programs use the API.
type Tokens struct {
	store    TokenStore
	settings *metering.Settings
	now      func() time.Time
}

// NewTokens returns the area.
func NewTokens(store TokenStore, settings *metering.Settings, now func() time.Time) *Tokens {
	return &Tokens{store: store, settings: settings, now: now}
}

// Routes says what the area answers.
func (h *Tokens) Routes(r *web.Router) {
	r.Admin.GET("/settings/tokens", h.list)
	r.Admin.POST("/settings/tokens", h.add)
	r.Admin.GET("/settings/tokens/:id/revoke", h.confirm)
	r.Admin.POST("/settings/tokens/:id/revoke", h.revoke)
}

func (h *Tokens) list(c echo.Context) error {
	return h.page(c, http.StatusOK, &pages.Tokens{Form: pages.TokenForm{Role: string(access.Viewer)}})
}

// page shows the form, and all tokens below it.
func (h *Tokens) page(c echo.Context, status int, v *pages.Tokens) error {
	all, err := h.store.Tokens(c.Request().Context())
	if err != nil {
		return err
	}
	now := h.now()
	v.Zone = h.settings.Zone
	for _, t := range all {
		v.Rows = append(v.Rows, pages.TokenRow{Token: t, Valid: t.Valid(now)})
	}
	// those that let nobody in any more come last
	slices.SortStableFunc(v.Rows, func(a, b pages.TokenRow) int {
		rank := func(r pages.TokenRow) int {
			if r.Valid {
				return 0
			}
			return 1
		}
		return cmp.Compare(rank(a), rank(b))
	})
	return web.Page(c, status, layout.Page{
		Title: "API tokens", Area: layout.Settings, Crumbs: []layout.Crumb{{Label: "Settings", Path: "/settings"}}, Aside: "times in " + h.settings.Zone.String(),
	}, pages.TokensPage(v))
}

// add makes a token and shows its secret, this once. It answers the POST itself, since the secret must not be in an address or
// a session; loading the page again would ask the browser's user before it made another token.
func (h *Tokens) add(c echo.Context) error {
	form := pages.TokenForm{
		Name: strings.TrimSpace(c.FormValue("name")), Role: c.FormValue("role"), Scopes: c.FormValue("scopes"), Expires: strings.TrimSpace(c.FormValue("expires")),
	}
	now := h.now()
	t := access.Token{Name: form.Name, Role: access.Role(form.Role), Scopes: slices.Compact(slices.Sorted(slices.Values(strings.FieldsFunc(form.Scopes, func(r rune) bool {
		return r == ',' || r == '\n' || r == '\r' || r == ' ' || r == '\t'
	})))), Created: now}
	expires, errTime := rating.ParseTime(form.Expires, h.settings.Zone)
	t.Expires = expires
	wrong := components.Errors{}
	if f, ok := errors.AsType[*fault.Error](t.Check(now)); ok {
		wrong = components.ErrorsOf(f.Fields)
	}
	if errTime != nil {
		wrong["expires"] = errTime.Error()
	}
	for field, message := range wrong {
		wrong[field] = web.Sentence(message)
	}
	if len(wrong) > 0 {
		form.Problem, form.Errors = "No token was made, see below.", wrong
		return h.page(c, http.StatusUnprocessableEntity, &pages.Tokens{Form: form})
	}
	unknown, err := h.unknown(c.Request().Context(), t.Scopes)
	if err != nil {
		return err
	}
	secret, digest := access.NewSecret()
	id, err := h.store.AddToken(c.Request().Context(), t, digest, web.Actor(c))
	if err != nil {
		return err
	}
	return h.page(c, http.StatusOK, &pages.Tokens{
		Form: pages.TokenForm{Role: string(access.Viewer)},
		Made: &pages.MadeToken{ID: id, Name: t.Name, Secret: secret, Origin: web.Origin(c), Unknown: unknown},
	})
}

// unknown returns which scopes there are not, or not yet.
func (h *Tokens) unknown(ctx context.Context, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	scopes, err := h.store.Scopes(ctx)
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		return slices.ContainsFunc(scopes, func(s *metering.Scope) bool { return s.ID == id })
	}), err
}

// token returns the one that the address names.
func (h *Tokens) token(c echo.Context) (access.Token, error) {
	id, err := strconv.ParseInt(c.Param("id"), 10, 64)
	if err == nil {
		all, err := h.store.Tokens(c.Request().Context())
		if err != nil {
			return access.Token{}, err
		}
		if i := slices.IndexFunc(all, func(t access.Token) bool { return t.ID == id }); i >= 0 {
			return all[i], nil
		}
	}
	return access.Token{}, fault.New(fault.NotFound, "there is no such token; it may have been revoked long ago")
}

// confirm asks before a token is revoked, or says that it was.
func (h *Tokens) confirm(c echo.Context) error {
	t, err := h.token(c)
	if err != nil {
		return err
	}
	return web.Page(c, http.StatusOK, layout.Page{
		Title: "Revoke token " + strconv.FormatInt(t.ID, 10), Area: layout.Settings, Aside: "times in " + h.settings.Zone.String(),
		Crumbs: []layout.Crumb{{Label: "Settings", Path: "/settings"}, {Label: "API tokens", Path: "/settings/tokens"}},
	}, pages.TokenRevoke(t, h.settings.Zone))
}

func (h *Tokens) revoke(c echo.Context) error {
	t, err := h.token(c)
	if err != nil {
		return err
	}
	title := "The " + pages.TokenTitle(t.ID, t.Name)
	if !t.Revoked.IsZero() {
		return web.Redirect(c, "/settings/tokens", title+" was revoked before, at "+format.Time(t.Revoked, h.settings.Zone)+".")
	}
	if err := h.store.RevokeToken(c.Request().Context(), t.ID, web.Actor(c)); err != nil {
		return err
	}
	return web.Redirect(c, "/settings/tokens", title+" is revoked. Whoever uses it is refused from now on.")
}
