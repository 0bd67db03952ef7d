package v2

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"

	"ratebook/fault"
	"ratebook/rating"
	"ratebook/web"
)

// Rules keeps what prices.
type Rules interface {
	// Rules returns the rules as of a version; 0: the latest.
	Rules(ctx context.Context, version int64) (*rating.Rules, error)

	// EditRules makes the next version of the rules.
	EditRules(ctx context.Context, author, what string, edit func(*rating.Rules) (*rating.Rules, error)) (version int64, err error)
}

// moduleInfo is a rating module as it is shown.
type moduleInfo struct {
	ID          string `json:"module_id"`
	Description string `json:"description"`
	Enabled     bool   `json:"enabled"`
	HotConfig   bool   `json:"hot_config"`
	Priority    int    `json:"priority"`
}

// noop is the module that does nothing, and can't be disabled.
const noop = "noop"

// described are the modules, in CloudKitty's words.
var described = []moduleInfo{
	{ID: "hashmap", Description: "HashMap rating module.", HotConfig: true, Priority: 1},
	{ID: noop, Description: "Dummy test module.", Priority: 1},
	{ID: "pyscripts", Description: "PyScripts rating module.", HotConfig: true, Priority: 1},
}

func (h *handler) infos(ctx context.Context) ([]moduleInfo, error) {
	rules, err := h.Rules.Rules(ctx, 0)
	if err != nil {
		return nil, err
	}
	all := append([]moduleInfo(nil), described...)
	for i := range all {
		for _, m := range rules.Modules {
			if m.Name == all[i].ID {
				all[i].Enabled, all[i].Priority = m.Enabled, m.Priority
			}
		}
		all[i].Enabled = all[i].Enabled || all[i].ID == noop
	}
	return all, nil
}

func (h *handler) modules(c echo.Context) error {
	all, err := h.infos(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"modules": all})
}

func (h *handler) module(c echo.Context) error {
	all, err := h.infos(c.Request().Context())
	if err != nil {
		return err
	}
	id := inPathOf(c, "module_id")
	for i := range all {
		if all[i].ID == id {
			return c.JSON(http.StatusOK, all[i])
		}
	}
	return noModule(id)
}

func noModule(id string) error { return exact(fault.NotFound, "Module '%s' not found", id) }

// changeModule enables or disables a module, or gives it another priority.
func (h *handler) changeModule(c echo.Context) error {
	a, err := bodyOf(c)
	if err != nil {
		return err
	}
	var (
		enabled  *bool
		priority *int
	)
	err = a.check(boolean("enabled", &enabled), rule{name: "priority", read: func(a *argument) string {
		n := 0
		if err := json.Unmarshal(a.raw, &n); err != nil || string(a.raw) == "null" || n != int(int32(n)) {
			return "expected int"
		}
		priority = &n
		return ""
	}})
	if err != nil {
		return err
	}
	id := inPathOf(c, "module_id")
	if !known(id) {
		return noModule(id)
	}
	if id == noop {
		enabled = nil
	}
	if enabled != nil || priority != nil {
		what := "set rating module " + id
		if _, err := h.Rules.EditRules(c.Request().Context(), web.Caller(c).ID, what, func(r *rating.Rules) (*rating.Rules, error) {
			return r.SetModule(id, enabled, priority)
		}); err != nil {
			return err
		}
	}
	c.Response().Header().Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	return c.NoContent(http.StatusNoContent)
}

func known(id string) bool {
	for _, m := range described {
		if m.ID == id {
			return true
		}
	}
	return false
}
