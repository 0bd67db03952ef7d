package handlers

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/metering"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// SettingsStore is what the pages of settings need of the store.
type SettingsStore interface {
	Users(ctx context.Context) ([]access.User, error)
	Changes(ctx context.Context, f access.ChangeFilter) ([]access.Change, error)
	Retention(ctx context.Context) (metering.Retention, error)
}

// Settings is the area of accounts and of what shapes stored data.
type Settings struct {
	store    SettingsStore
	settings *metering.Settings
}

// NewSettings returns the area.
func NewSettings(store SettingsStore, settings *metering.Settings) *Settings {
	return &Settings{store: store, settings: settings}
}

// Routes says what the area answers.
func (h *Settings) Routes(r *web.Router) {
	r.Tenant.GET("/settings", h.Show)
	r.Admin.GET("/settings/changes", h.Changes)
}

// shownChanges is how many changes a page lists.
const shownChanges = 100

// Show is the page: one's own account, and the rest as far as one may see it.
func (h *Settings) Show(c echo.Context) error {
	user := web.User(c)
	v := &pages.Settings{Login: user.Login, Role: user.Role, Scopes: user.Scopes, Created: user.Created, Zone: h.settings.Zone}
	if user.ReadsAll() {
		v.Stored = []pages.Setting{
			{Name: "period", Value: periodText(h.settings.Period), Means: "the length of a window", Change: "for windows that are not planned yet; restart the workers after it"},
			{Name: "timezone", Value: h.settings.Zone.String(), Means: "the billing zone: where days and months begin", Change: "recomputes all roll-ups; stop serve and process before it; not once charges were dropped"},
			{Name: "currency", Value: h.settings.Currency, Means: "of all amounts", Change: "only before there are charges"},
			{Name: "scope_key", Value: h.settings.ScopeKey, Means: "the label that names a scope", Change: "only before there are scopes"},
		}
		kept, err := h.store.Retention(c.Request().Context())
		if err != nil {
			return err
		}
		v.ChargesFrom, v.RollupsFrom = kept.ChargesFrom, kept.RollupsFrom
		v.Stored = append(v.Stored,
			pages.Setting{Name: "keep_charges", Value: kept.Charges.String(), Means: "how many whole billing months before the current one charges and windows are kept", Change: "older ones are dropped within a day, and do not come back"},
			pages.Setting{Name: "keep_rollups", Value: kept.Rollups.String(), Means: "the same of their sums by day and month, from which reports are made", Change: "older ones are dropped within a day; not shorter than keep_charges"})
	}
	if user.May(access.Admin) {
		users, err := h.store.Users(c.Request().Context())
		if err != nil {
			return err
		}
		v.Admin = true
		for _, u := range users {
			v.Users = append(v.Users, pages.SettingsUser{Login: u.Login, Role: u.Role, Scopes: u.Scopes, Created: u.Created, Disabled: u.Disabled})
		}
	}
	return web.Page(c, http.StatusOK, layout.Page{
		Title: "Settings", Area: layout.Settings, Aside: "times in " + h.settings.Zone.String(),
	}, pages.SettingsPage(v))
}

// periodText writes a length of windows as the command that sets it reads it, such as 1h or 30m.
func periodText(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}

// Changes is the list of everything that anybody changed, the newest first.
func (h *Settings) Changes(c echo.Context) error {
	before, err := strconv.ParseInt(c.QueryParam("before"), 10, 64)
	if err != nil || before < 0 {
		before = 0 // the newest
	}
	// one more than is shown says whether there are older ones
	changes, err := h.store.Changes(c.Request().Context(), access.ChangeFilter{Before: before, Limit: shownChanges + 1})
	if err != nil {
		return err
	}
	v := &pages.SettingsChanges{Zone: h.settings.Zone, First: before == 0}
	if len(changes) > shownChanges {
		changes = changes[:shownChanges]
		v.Older = "/settings/changes?" + url.Values{"before": {strconv.FormatInt(changes[shownChanges-1].ID, 10)}}.Encode()
	}
	for _, ch := range changes {
		v.Rows = append(v.Rows, pages.NewChangeRow(ch))
	}
	return web.Page(c, http.StatusOK, layout.Page{
		Title: "Changes", Area: layout.Settings, Crumbs: []layout.Crumb{{Label: "Settings", Path: "/settings"}}, Aside: "times in " + h.settings.Zone.String(),
	}, pages.SettingsChangesPage(v))
}
