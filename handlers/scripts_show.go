package handlers

import (
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/rating"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// List shows all scripts.
func (h *Scripts) List(c echo.Context) error {
	rules, err := h.rules.Rules(c.Request().Context(), 0)
	if err != nil {
		return err
	}
	l := &pages.ScriptList{Words: h.words(), Module: moduleOf(rules), MayChange: web.User(c).May(access.Operator)}
	for _, s := range rules.Scripts {
		l.Rows = append(l.Rows, pages.ScriptRow{Script: s, Wrong: wrong(s.Data)})
	}
	slices.SortFunc(l.Rows, func(a, b pages.ScriptRow) int { return strings.Compare(a.Name, b.Name) })
	page := h.layout("Scripts", nil)
	page.Crumbs = page.Crumbs[:1]
	if l.MayChange {
		page.Action = &layout.Action{Label: "New script", Path: scriptsPath + "/new"}
	}
	return web.Page(c, http.StatusOK, page, pages.Scripts(l))
}

// find returns the script that the path names, and the rules that it is among.
func (h *Scripts) find(c echo.Context) (*rating.Rules, *rating.Script, error) {
	rules, err := h.rules.Rules(c.Request().Context(), 0)
	if err != nil {
		return nil, nil, err
	}
	s, err := rules.Script(c.Param("id"))
	return rules, s, err
}

// Show shows one script.
func (h *Scripts) Show(c echo.Context) error {
	rules, s, err := h.find(c)
	if err != nil {
		return err
	}
	v := &pages.ScriptView{
		Words: h.words(), Script: pages.ScriptRow{Script: *s, Wrong: wrong(s.Data)}, Module: moduleOf(rules), MayChange: web.User(c).May(access.Operator),
	}
	if v.Priced, err = h.rules.HasPriced(c.Request().Context(), s.ID); err != nil {
		return err
	}
	page := h.layout(s.Name, nil)
	if v.MayChange {
		page.Action = &layout.Action{Label: "Edit", Path: scriptPath(s.ID) + "/edit"}
	}
	return web.Page(c, http.StatusOK, page, pages.Script(v))
}
