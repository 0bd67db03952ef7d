package handlers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/rating"
	"ratebook/views/format"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// goneRule is the error about a rule that is not there. People get a page about it, see told.
type goneRule struct{ text string }

// Error returns the text, and where to look.
func (e *goneRule) Error() string { return e.Unwrap().Error() }

// Unwrap returns what the error is to those who know nothing of rules.
func (e *goneRule) Unwrap() error {
	return fault.New(fault.NotFound, "%s; /pricing/changes lists all changes of the rules", e.text)
}

// find returns the rule that is asked for. If it is not there, the error says who deleted it, as far as can be known.
func (h *Pricing) find(c echo.Context, p *pricing) (*rating.Rule, error) {
	r, err := p.rules.Rule(c.Param("id"))
	if fault.KindOf(err) != fault.NotFound {
		return r, err
	}
	message := "the rule is not there; it may have been deleted while this page was open"
	was, by, err := h.deleted(c, p)
	if err != nil {
		return nil, err
	}
	if was != nil {
		message = "the rule for " + p.words.Usage(was) + " was deleted while this page was open"
	}
	if by != nil {
		message += ", by " + cmp.Or(by.Actor, "somebody") + " at " + format.Time(by.At, p.words.Zone)
	}
	if c.Request().Method == http.MethodPost {
		message += "; nothing was saved"
	}
	return nil, &goneRule{message}
}

// deleted returns the rule as it was when the form that was sent was made, and the change that deleted it; nil is unknown.
func (h *Pricing) deleted(c echo.Context, p *pricing) (*rating.Rule, *access.Change, error) {
	ctx := c.Request().Context()
	made, err := strconv.ParseInt(c.FormValue("version"), 10, 64)
	if err != nil || made < 1 || made >= p.rules.Version {
		return nil, nil, nil // no form was
	}
	was, err := h.ruleOf(ctx, made, c.Param("id"))
	if was == nil || err != nil {
		return nil, nil, err
	}
	changes, err := h.rules.Changes(ctx, access.ChangeFilter{Subject: rulesSubject, Limit: changesSearched})
	if err != nil {
		return nil, nil, err
	}
	for i := range changes { // the latest first
		for line := range strings.Lines(concerning(was, changes[i].After)) {
			if strings.HasPrefix(line, "- ") {
				return was, &changes[i], nil
			}
		}
	}
	return was, nil, nil
}

// ruleOf returns a rule of a version of the rules; nil if there is none.
func (h *Pricing) ruleOf(ctx context.Context, version int64, id string) (*rating.Rule, error) {
	rules, err := h.rules.Rules(ctx, version)
	if err == nil {
		var r *rating.Rule
		if r, err = rules.Rule(id); err == nil {
			return r, nil
		}
	}
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	return nil, err
}

// told answers people who ask for a rule that is not there with a page that leads on.
func told(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		err := next(c)
		gone, ok := errors.AsType[*goneRule](err)
		if header := c.Request().Header; !ok || header.Get("HX-Request") != "" || !strings.Contains(header.Get(echo.HeaderAccept), echo.MIMETextHTML) {
			return err
		}
		c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
		page := layout.Page{Title: "No such rule", Area: layout.Pricing, Crumbs: []layout.Crumb{{Label: "Pricing", Path: "/pricing"}}}
		return web.Page(c, http.StatusNotFound, page, pages.PricingGone(web.Sentence(gone.text)))
	}
}
