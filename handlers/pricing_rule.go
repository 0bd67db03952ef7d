package handlers

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/rating"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// changesSearched is how many of the last changes of the rules are looked through for those of one.
const changesSearched = 200

// Show shows one rule: what it is, its history and future, and who changed it.
func (h *Pricing) Show(c echo.Context) error {
	ctx := c.Request().Context()
	p, err := h.load(ctx)
	if err != nil {
		return err
	}
	r, err := h.find(c, p)
	if err != nil {
		return err
	}
	changes, err := h.rules.Changes(ctx, access.ChangeFilter{Subject: rulesSubject, Limit: changesSearched})
	if err != nil {
		return err
	}
	counting := p.rules.Counting(p.words.Now)
	twins, others := p.rules.Twins(r)
	v := &pages.RuleView{
		Words: p.words, Rule: p.rows([]rating.Rule{*r}, counting)[0], Twins: p.rows(twins, counting), Others: p.rows(others, counting),
		MayChange: web.User(c).May(access.Operator),
	}
	for _, change := range changes {
		if change.After = concerning(r, change.After); change.After != "" {
			v.Changes = append(v.Changes, pages.NewChangeRow(change))
		}
	}
	page := p.layout(p.words.Usage(r))
	switch {
	case !v.MayChange:
	case !p.words.Begun(r):
		page.Action = &layout.Action{Label: "Edit", Path: rulePath(r.ID) + "/edit"}
	case p.words.Ended(r):
		page.Action = &layout.Action{Label: "New price like this", Path: "/pricing/rules/new?from=" + url.QueryEscape(r.ID)}
	default:
		page.Action = &layout.Action{Label: "Change price", Path: rulePath(r.ID) + "/change"}
	}
	return web.Page(c, http.StatusOK, page, pages.PricingRule(v))
}

// concerning returns the lines of a difference that are about the rule.
func concerning(r *rating.Rule, lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		if r.ConcernedBy(line) {
			b.WriteString(line)
		}
	}
	return b.String()
}
