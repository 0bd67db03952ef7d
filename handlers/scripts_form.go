package handlers

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/fault"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/views/components"
	"ratebook/views/pages"
	"ratebook/web"
)

// scriptForm reads the fields of a script.
func (h *Scripts) scriptForm(c echo.Context) *pages.ScriptForm {
	text := func(name string) string { return strings.TrimSpace(c.FormValue(name)) }
	lines := func(name string) string { return strings.ReplaceAll(c.FormValue(name), "\r\n", "\n") }
	return &pages.ScriptForm{
		ScriptPlace: pages.ScriptPlace{Was: c.FormValue("was")}, Words: h.words(), Save: "Save the script",
		Name: text("name"), Data: lines("data"), Start: text("start"), End: text("end"), Description: strings.TrimSpace(lines("description")),
		From: text("from"),
	}
}

// script makes a script of a form. The text has to compile: what does not would never run.
func (h *Scripts) script(f *pages.ScriptForm) (rating.Script, error) {
	s := rating.Script{Name: f.Name, Data: f.Data, Description: f.Description}
	var fields []fault.Field
	if f.Wrong = wrong(f.Data); f.Wrong != nil {
		fields = append(fields, fault.Field{Name: "data", Message: f.Wrong.Error()})
	}
	if e, ok := errors.AsType[*fault.Error](h.times(&s, f.Start, f.End)); ok {
		fields = append(fields, e.Fields...)
	}
	if fields != nil {
		return s, &fault.Error{Kind: fault.Invalid, Message: "the script can't be saved as it is", Fields: fields}
	}
	return s, nil
}

// New shows the form of a new script, or of one that takes the place of another from tomorrow on.
func (h *Scripts) New(c echo.Context) error {
	if from := c.QueryParam("from"); from != "" {
		rules, err := h.rules.Rules(c.Request().Context(), 0)
		if err != nil {
			return err
		}
		s, err := rules.Script(from)
		if err != nil {
			return err
		}
		return h.successorPage(c, rules, s)
	}
	f := &pages.ScriptForm{Words: h.words(), Save: "Save the script", Start: rating.FormatTime(h.tomorrow(), h.settings.Zone)}
	return h.formPage(c, http.StatusOK, "New script", f, nil)
}

// successorPage shows the form of a script that takes the place of one that has priced something.
func (h *Scripts) successorPage(c echo.Context, rules *rating.Rules, s *rating.Script) error {
	start := h.tomorrow()
	if !start.After(s.Start) {
		start = period.Day.Next(s.Start, h.settings.Zone)
	}
	f := &pages.ScriptForm{
		ScriptPlace: pages.ScriptPlace{Was: fingerprint(s)}, Words: h.words(), Save: "Save the script",
		Name: nextName(rules, s.Name), Data: s.Data, Start: rating.FormatTime(start, h.settings.Zone), Description: s.Description, Wrong: wrong(s.Data),
		From: s.ID,
	}
	return h.formPage(c, http.StatusOK, "Change the script", f, s)
}

// nextName returns the name of a successor: the first of NAME-2, NAME-3 and so on that is free.
func nextName(rules *rating.Rules, name string) string {
	base := name
	if i := strings.LastIndexByte(name, '-'); i > 0 && len(name)-i <= 4 && strings.Trim(name[i+1:], "0123456789") == "" {
		base = name[:i]
	}
	for n := 2; ; n++ {
		next := base + "-" + strconv.Itoa(n)
		if !slices.ContainsFunc(rules.Scripts, func(s rating.Script) bool { return s.Name == next }) {
			return next
		}
	}
}

// Create adds the script, and ends the one whose place it takes.
func (h *Scripts) Create(c echo.Context) error {
	f := h.scriptForm(c)
	var old *rating.Script
	if f.From != "" {
		rules, err := h.rules.Rules(c.Request().Context(), 0)
		if err != nil {
			return err
		}
		if old, err = rules.Script(f.From); err != nil {
			return err
		}
	}
	var id string
	status, err := h.save(c, f.From, &f.ScriptPlace, func(r *rating.Rules) (*rating.Rules, error) {
		s, err := h.script(f)
		if err != nil {
			return nil, err
		}
		if f.From != "" {
			if r, err = endAt(r, f.From, s.Start); err != nil {
				return nil, err
			}
		}
		next, added, err := r.AddScript(s)
		id = added
		return next, err
	})
	if err != nil {
		return err
	}
	if status != 0 {
		return h.formPage(c, status, title(old), f, old)
	}
	return web.Redirect(c, scriptPath(id), "Saved: "+f.Name+".")
}

func title(old *rating.Script) string {
	if old == nil {
		return "New script"
	}
	return "Change the script"
}

// endAt ends a script where its successor starts.
func endAt(r *rating.Rules, id string, start time.Time) (*rating.Rules, error) {
	old, err := r.Script(id)
	if err != nil {
		return nil, err
	}
	problem := ""
	switch {
	case start.IsZero():
		problem = "say from when on"
	case !start.After(old.Start):
		problem = "the script itself starts only then: choose a later time"
	}
	if problem != "" {
		return nil, &fault.Error{Kind: fault.Invalid, Message: "the script can't be saved as it is", Fields: []fault.Field{{Name: "start", Message: problem}}}
	}
	if !old.End.IsZero() && !old.End.After(start) {
		return r, nil
	}
	ended := *old
	ended.End = start
	return r.ReplaceScript(id, ended)
}

// Edit shows the form of a script, or, if it has priced something, of its successor.
func (h *Scripts) Edit(c echo.Context) error {
	rules, s, err := h.find(c)
	if err != nil {
		return err
	}
	priced, err := h.rules.HasPriced(c.Request().Context(), s.ID)
	if err != nil {
		return err
	}
	if priced {
		return h.successorPage(c, rules, s)
	}
	f := &pages.ScriptForm{
		ScriptPlace: pages.ScriptPlace{Was: fingerprint(s), Errors: components.Errors{}}, Words: h.words(), Save: "Save the script",
		Name: s.Name, Data: s.Data, Start: rating.FormatTime(s.Start, h.settings.Zone), End: rating.FormatTime(s.End, h.settings.Zone), Description: s.Description,
	}
	if f.Wrong = wrong(s.Data); f.Wrong != nil {
		f.Errors["data"] = web.Sentence(f.Wrong.Error())
	}
	return h.formPage(c, http.StatusOK, "Edit the script", f, s)
}

// Update replaces the script, unless it has priced something.
func (h *Scripts) Update(c echo.Context) error {
	_, s, err := h.find(c)
	if err != nil {
		return err
	}
	f := h.scriptForm(c)
	f.From = ""
	priced, err := h.rules.HasPriced(c.Request().Context(), s.ID)
	if err != nil {
		return err
	}
	if priced { // since the form was made
		f.Was, f.From, f.Message = fingerprint(s), s.ID, "Windows were charged with the script meanwhile, so nothing was saved: what is here now can take its place."
		return h.formPage(c, http.StatusConflict, "Change the script", f, s)
	}
	status, err := h.save(c, s.ID, &f.ScriptPlace, func(r *rating.Rules) (*rating.Rules, error) {
		next, err := h.script(f)
		if err != nil {
			return nil, err
		}
		return r.ReplaceScript(s.ID, next)
	})
	if err != nil {
		return err
	}
	if status != 0 {
		return h.formPage(c, status, "Edit the script", f, s)
	}
	return web.Redirect(c, scriptPath(s.ID), h.saved(c.Request().Context(), s.ID, f.Name))
}

// saved says that a script that had priced nothing was replaced, and that it may have priced something meanwhile.
func (h *Scripts) saved(ctx context.Context, id, name string) string {
	notice := "Saved: " + name + "."
	if priced, err := h.rules.HasPriced(ctx, id); priced || err != nil { // the script is saved in any case
		notice += " Windows may have been charged meanwhile with the script as it was. Their charges stay, and name the version of the rules that made them."
	}
	return notice
}

// formPage answers with a script's form. s is the script that it was made from, or nil.
func (h *Scripts) formPage(c echo.Context, status int, title string, f *pages.ScriptForm, s *rating.Script) error {
	switch {
	case f.From != "":
		f.Path, f.Back, f.Predecessor = scriptsPath+"/new", scriptPath(s.ID), s.Name
	case s != nil:
		f.Path, f.Back = scriptPath(s.ID)+"/edit", scriptPath(s.ID)
	default:
		f.Path, f.Back = scriptsPath+"/new", scriptsPath
	}
	return h.page(c, status, title, pages.ScriptFormPage(f), s)
}
