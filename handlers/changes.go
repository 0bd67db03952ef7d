package handlers

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

const (
	rulesSubject   = "rules" // how the audit log calls what the rules are
	changesPerPage = 50
)

// Changes shows who changed the rules, when and how, the newest first.
func (h *Pricing) Changes(c echo.Context) error {
	var before int64
	if text := c.QueryParam("before"); text != "" {
		var err error
		if before, err = strconv.ParseInt(text, 10, 64); err != nil || before < 1 {
			return fault.New(fault.Invalid, "before=%q is no number of a change; begin at the newest, at /pricing/changes", text)
		}
	}
	f := access.ChangeFilter{Subject: rulesSubject, Before: before, Limit: changesPerPage + 1}
	changes, err := h.rules.Changes(c.Request().Context(), f)
	if err != nil {
		return err
	}
	l := &pages.ChangeList{Zone: h.settings.Zone, First: before == 0}
	if len(changes) > changesPerPage {
		changes = changes[:changesPerPage]
		l.Older = "/pricing/changes?before=" + strconv.FormatInt(changes[changesPerPage-1].ID, 10)
	}
	for _, change := range changes {
		l.Rows = append(l.Rows, pages.NewChangeRow(change))
	}
	page := layout.Page{
		Title: "Changes of the rules", Area: layout.Pricing, Crumbs: []layout.Crumb{{Label: "Pricing", Path: "/pricing"}},
		Aside: "times in " + h.settings.Zone.String(),
	}
	return web.Page(c, http.StatusOK, page, pages.Changes(l))
}
