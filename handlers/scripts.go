package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/views/components"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// ScriptRules keeps the rules that scripts are among.
type ScriptRules interface {
	Rules(ctx context.Context, version int64) (*rating.Rules, error)
	EditRules(ctx context.Context, author, what string, edit func(*rating.Rules) (*rating.Rules, error)) (version int64, err error)
	HasPriced(ctx context.Context, id string) (bool, error)
}

// Scripts is the area of the rating scripts: their list, and the forms that change them.
type Scripts struct {
	rules    ScriptRules
	settings *metering.Settings
	now      func() time.Time
}

// NewScripts returns the area.
func NewScripts(rules ScriptRules, settings *metering.Settings, now func() time.Time) *Scripts {
	return &Scripts{rules, settings, now}
}

// Routes lists what the area answers.
func (h *Scripts) Routes(r *web.Router) {
	r.Viewer.GET(scriptsPath, h.List)
	r.Viewer.GET(scriptsPath+"/:id", h.Show)

	r.Operator.POST(scriptsPath+"/module", h.SetModule)
	r.Operator.GET(scriptsPath+"/new", h.New)
	r.Operator.POST(scriptsPath+"/new", h.Create)
	r.Operator.GET(scriptsPath+"/:id/edit", h.Edit)
	r.Operator.POST(scriptsPath+"/:id/edit", h.Update)
	r.Operator.GET(scriptsPath+"/:id/end", h.AskEnd)
	r.Operator.POST(scriptsPath+"/:id/end", h.End)
	r.Operator.GET(scriptsPath+"/:id/delete", h.AskDelete)
	r.Operator.POST(scriptsPath+"/:id/delete", h.Delete)
}

const (
	scriptsPath   = "/pricing/scripts"
	scriptsModule = "pyscripts"
)

func scriptPath(id string) string { return scriptsPath + "/" + url.PathEscape(id) }

func (h *Scripts) words() pages.PriceWords {
	return pages.PriceWords{Zone: h.settings.Zone, Currency: h.settings.Currency, Period: h.settings.Period, Now: h.now()}
}

// layout returns a page of the area; script is the one it is about, or nil.
func (h *Scripts) layout(title string, script *rating.Script) layout.Page {
	page := layout.Page{
		Title: title, Area: layout.Pricing, Crumbs: []layout.Crumb{{Label: "Pricing", Path: "/pricing"}, {Label: "Scripts", Path: scriptsPath}},
		Aside: "times in " + h.settings.Zone.String(),
	}
	if script != nil {
		page.Crumbs = append(page.Crumbs, layout.Crumb{Label: script.Name, Path: scriptPath(script.ID)})
	}
	return page
}

// page answers with a page of the area.
func (h *Scripts) page(c echo.Context, status int, title string, body templ.Component, script *rating.Script) error {
	return web.Page(c, status, h.layout(title, script), body)
}

// wrong returns what keeps a script from running, nil if nothing does.
func wrong(text string) *rating.ScriptError {
	e, _ := errors.AsType[*rating.ScriptError](rating.CheckScript(text))
	return e
}

func moduleOf(r *rating.Rules) rating.Module {
	i := slices.IndexFunc(r.Modules, func(m rating.Module) bool { return m.Name == scriptsModule })
	if i < 0 {
		return rating.Module{Name: scriptsModule}
	}
	return r.Modules[i]
}

// tomorrow returns the first instant of the next day in the billing zone.
func (h *Scripts) tomorrow() time.Time { return period.Day.Next(h.now(), h.settings.Zone) }

// fingerprint tells whether a script was changed.
func fingerprint(s *rating.Script) string {
	return s.Checksum()[:32] + " " + s.Start.UTC().Format(time.RFC3339) + " " + s.End.UTC().Format(time.RFC3339)
}

// errOvertaken says that somebody else changed a script after a form was made.
var errOvertaken = fault.New(fault.Conflict, "Somebody changed the script after this page was made, so nothing was saved. Look at it, and save again what you want to have.")

// save edits the rules. If that can't be, for a reason that the form shows, the status is not 0. id names the script that the
// form was made from, if it was made from one.
func (h *Scripts) save(c echo.Context, id string, place *pages.ScriptPlace, edit func(*rating.Rules) (*rating.Rules, error)) (status int, err error) {
	var now *rating.Script
	_, err = h.rules.EditRules(c.Request().Context(), web.Actor(c), "", func(r *rating.Rules) (*rating.Rules, error) {
		if id != "" {
			var err error
			if now, err = r.Script(id); err != nil {
				return nil, err
			}
			if fingerprint(now) != c.FormValue("was") {
				return nil, errOvertaken
			}
		}
		return edit(r)
	})
	if now != nil {
		place.Was = fingerprint(now)
	}
	e, ok := errors.AsType[*fault.Error](err)
	switch {
	case errors.Is(err, errOvertaken):
		place.Message = errOvertaken.Message
		return http.StatusConflict, nil
	case ok && len(e.Fields) > 0:
		place.Message, place.Errors = web.Sentence(e.Message), components.ErrorsOf(e.Fields)
		for field, message := range place.Errors {
			place.Errors[field] = web.Sentence(message)
		}
		return http.StatusUnprocessableEntity, nil
	}
	return 0, err
}

// times reads the times of a form into a script. What is wrong are fields of the error.
func (h *Scripts) times(s *rating.Script, start, end string) error {
	var fields []fault.Field
	for _, t := range [...]struct {
		name, text string
		to         *time.Time
	}{{"start", start, &s.Start}, {"end", end, &s.End}} {
		at, err := rating.ParseTime(t.text, h.settings.Zone)
		if err != nil {
			fields = append(fields, fault.Field{Name: t.name, Message: err.Error()})
		}
		*t.to = at
	}
	if fields == nil {
		return nil
	}
	return &fault.Error{Kind: fault.Invalid, Message: "the script can't be saved as it is", Fields: fields}
}
