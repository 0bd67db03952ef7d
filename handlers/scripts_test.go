package handlers

import (
	"context"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/rating"
	"ratebook/web"
)

// scriptBook keeps scripts in memory. Those in priced have priced something.
type scriptBook struct {
	rules  *rating.Rules
	priced map[string]bool
	author string
}

func (b *scriptBook) Rules(context.Context, int64) (*rating.Rules, error) { return b.rules, nil }

func (b *scriptBook) EditRules(_ context.Context, author, _ string, edit func(*rating.Rules) (*rating.Rules, error)) (int64, error) {
	next, err := edit(b.rules)
	if err != nil {
		return 0, err
	}
	next.Version++
	b.rules, b.author = next, author
	return next.Version, nil
}

func (b *scriptBook) HasPriced(_ context.Context, id string) (bool, error) { return b.priced[id], nil }

// newScriptBook has a script that runs, one to come, and one that does not compile.
func newScriptBook() *scriptBook {
	return &scriptBook{priced: map[string]bool{"running": true}, rules: &rating.Rules{
		Version: 1, Modules: []rating.Module{{Name: "pyscripts", Enabled: true, Priority: 1}},
		Scripts: []rating.Script{
			{ID: "running", Name: "weekend", Data: "x = 1\ny = 2\n", Start: pricingDay(1, 1), Description: "half price"},
			{ID: "coming", Name: "later", Data: "x = 3\n", Start: pricingDay(12, 1)},
			{ID: "broken", Name: "broken", Data: "x = 1\ny = = 2\nz = 3\n"},
		},
	}}
}

func (b *scriptBook) script(t *testing.T, name string) *rating.Script {
	t.Helper()
	for i := range b.rules.Scripts {
		if b.rules.Scripts[i].Name == name {
			return &b.rules.Scripts[i]
		}
	}
	t.Fatalf("there is no script %s", name)
	return nil
}

// scriptSite is the area alone, for a user of a role.
func scriptSite(t *testing.T, b *scriptBook, role access.Role) func(method, path string, form url.Values) (status int, doc *goquery.Document, location string) {
	t.Helper()
	e := echo.New()
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		status := map[fault.Kind]int{fault.Invalid: 422, fault.NotFound: 404, fault.Conflict: 409, fault.Forbidden: 403}[fault.KindOf(err)]
		_ = c.String(max(status, 400), err.Error())
	}
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Set("user", &access.User{Login: "ada", Role: role})
			return next(c)
		}
	})
	needs := func(least access.Role) *echo.Group {
		return e.Group("", func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				if !web.User(c).May(least) {
					return fault.New(fault.Forbidden, "no")
				}
				return next(c)
			}
		})
	}
	h := NewScripts(b, &metering.Settings{Zone: pricingZone(), Currency: "EUR", Period: time.Hour}, func() time.Time { return pricingNow })
	h.Routes(&web.Router{Viewer: needs(access.Viewer), Operator: needs(access.Operator)})
	return func(method, path string, form url.Values) (int, *goquery.Document, string) {
		t.Helper()
		req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(form.Encode()))
		if form != nil {
			req.Header.Set(echo.HeaderContentType, echo.MIMEApplicationForm)
		}
		rec := httptest.NewRecorder()
		e.ServeHTTP(rec, req)
		doc, err := goquery.NewDocumentFromReader(rec.Body)
		if err != nil {
			t.Fatal(err)
		}
		return rec.Code, doc, rec.Header().Get("Location")
	}
}

func plainText(s *goquery.Selection) string { return strings.Join(strings.Fields(s.Text()), " ") }

// scriptFields returns what the form on a page would send.
func scriptFields(doc *goquery.Document) url.Values {
	form := url.Values{}
	doc.Find("main form[method=post]").First().Find("input[name], textarea[name]").Each(func(_ int, s *goquery.Selection) {
		name, _ := s.Attr("name")
		value, _ := s.Attr("value")
		if goquery.NodeName(s) == "textarea" {
			value = s.Text()
		}
		form.Set(name, value)
	})
	return form
}

func TestScriptList(t *testing.T) {
	do := scriptSite(t, newScriptBook(), access.Operator)
	status, doc, _ := do("GET", "/pricing/scripts", nil)
	if status != 200 {
		t.Fatal(status)
	}
	var rows []string
	doc.Find("tbody tr").Each(func(_ int, s *goquery.Selection) {
		rows = append(rows, strings.Join(s.Children().Map(func(_ int, s *goquery.Selection) string { return plainText(s) }), " | "))
	})
	want := []string{
		"broken line 2: got '=', want primary expression | does not compile | always | 3 | Edit broken",
		"later | from 1 Dec 2026 | from 1 Dec 2026 | 1 | Edit later",
		"weekend half price | runs | since 1 Jan 2026 | 2 | Edit weekend",
	}
	if strings.Join(rows, "\n") != strings.Join(want, "\n") {
		t.Errorf("rows:\n%s\nwant:\n%s", strings.Join(rows, "\n"), strings.Join(want, "\n"))
	}
	do = scriptSite(t, newScriptBook(), access.Viewer)
	if _, doc, _ := do("GET", "/pricing/scripts", nil); doc.Find("main form, a[href$='/edit']").Length() > 0 {
		t.Error("a viewer is offered to change something")
	}
	for _, path := range []string{"/new", "/running/edit", "/running/end", "/running/delete"} {
		if status, _, _ := do("GET", "/pricing/scripts"+path, nil); status != 403 {
			t.Errorf("a viewer gets %d at %s", status, path)
		}
	}
}

func TestScriptPage(t *testing.T) {
	do := scriptSite(t, newScriptBook(), access.Viewer)
	status, doc, _ := do("GET", "/pricing/scripts/broken", nil)
	if got := plainText(doc.Find(".form-error")); status != 200 || !strings.Contains(got, "does not compile: line 2: got '='") {
		t.Errorf("status %d: %s", status, got)
	}
	if got := plainText(doc.Find(".code li.wrong")); got != "y = = 2" {
		t.Errorf("the line %q is marked", got)
	}
	if _, doc, _ = do("GET", "/pricing/scripts/running", nil); !strings.Contains(plainText(doc.Find("dl")), "It may have priced windows") {
		t.Error("it does not say that the script has priced something")
	}
	if status, _, _ := do("GET", "/pricing/scripts/none", nil); status != 404 {
		t.Errorf("status %d of a script that there is not", status)
	}
}

func TestNewScript(t *testing.T) {
	b := newScriptBook()
	do := scriptSite(t, b, access.Operator)
	_, doc, _ := do("GET", "/pricing/scripts/new", nil)
	form := scriptFields(doc)
	form.Set("name", " fee ")
	form.Set("data", "# a\r\nx = 1 / 2\r\n")
	form.Set("end", "never")
	status, doc, _ := do("POST", "/pricing/scripts/new", form)
	if status != 422 || plainText(doc.Find("#data-error")) != "Line 2: a division may have no exact result: write div(a, b) for a / b rounded to 28 decimals, div(a, b, places) for others." {
		t.Fatalf("status %d: %s", status, plainText(doc.Find("#data-error")))
	}
	again := scriptFields(doc)
	if again.Get("name") != "fee" || strings.TrimPrefix(again.Get("data"), "\n") != "# a\nx = 1 / 2\n" || again.Get("end") != "never" || doc.Find("#end-error").Length() != 1 {
		t.Errorf("what was typed is %v", again)
	}
	if wrong, _ := doc.Find(".editor").Attr("data-wrong"); wrong != "2" || plainText(doc.Find(".code li.wrong")) != "x = 1 / 2" {
		t.Errorf("line %s is marked", wrong)
	}
	form.Set("data", "x = 1\r\n")
	form.Set("end", "")
	form.Set("name", "weekend")
	if status, doc, _ := do("POST", "/pricing/scripts/new", form); status != 422 || doc.Find("#name-error").Length() != 1 {
		t.Errorf("status %d of a name that is taken", status)
	}
	form.Set("name", "fee")
	status, _, location := do("POST", "/pricing/scripts/new", form)
	s := b.script(t, "fee")
	if status != 303 || !strings.HasSuffix(location, "/pricing/scripts/"+s.ID) || s.Data != "x = 1\n" || !s.Start.Equal(pricingDay(11, 22)) || b.author != "ada" {
		t.Errorf("status %d, script %+v by %s", status, s, b.author)
	}
}

// TestEditScript: a script that has priced nothing is changed in place.
func TestEditScript(t *testing.T) {
	b := newScriptBook()
	do := scriptSite(t, b, access.Operator)
	_, doc, _ := do("GET", "/pricing/scripts/broken/edit", nil)
	if doc.Find("#data-error").Length() != 1 {
		t.Error("the form does not say what is wrong with the script")
	}
	form := scriptFields(doc)
	form.Set("data", "x = 2\n")
	if status, _, _ := do("POST", "/pricing/scripts/broken/edit", form); status != 303 || b.script(t, "broken").Data != "x = 2\n" || b.script(t, "broken").ID != "broken" {
		t.Errorf("status %d, script %+v", status, b.script(t, "broken"))
	}
	form.Set("data", "x = 3\n") // made from the script as it was
	status, doc, _ := do("POST", "/pricing/scripts/broken/edit", form)
	if status != 409 || b.script(t, "broken").Data != "x = 2\n" || !strings.Contains(plainText(doc.Find(".form-error")), "Somebody changed the script") {
		t.Fatalf("status %d, script %+v", status, b.script(t, "broken"))
	}
	form = scriptFields(doc)
	form.Set("data", "x = 3\n")
	if status, _, _ := do("POST", "/pricing/scripts/broken/edit", form); status != 303 || b.script(t, "broken").Data != "x = 3\n" {
		t.Errorf("status %d, script %+v", status, b.script(t, "broken"))
	}
}

// TestSavedScript: what was charged while a script was saved is said.
func TestSavedScript(t *testing.T) {
	h := NewScripts(newScriptBook(), nil, nil)
	for id, want := range map[string]string{
		"broken":  "Saved: x.",
		"running": "Saved: x. Windows may have been charged meanwhile with the script as it was. Their charges stay, and name the version of the rules that made them.",
	} {
		if got := h.saved(t.Context(), id, "x"); got != want {
			t.Errorf("%s: %s", id, got)
		}
	}
}

// TestScriptThatHasPriced: one that has priced something stays, and is followed by another.
func TestScriptThatHasPriced(t *testing.T) {
	b := newScriptBook()
	do := scriptSite(t, b, access.Operator)
	_, doc, _ := do("GET", "/pricing/scripts/running/edit", nil)
	form := scriptFields(doc)
	if form.Get("name") != "weekend-2" || form.Get("from") != "running" || form.Get("start") != "2026-11-22T00:00" {
		t.Fatalf("form %v", form)
	}
	form.Set("data", "x = 9\n")
	for start, problem := range map[string]string{"": "Say from when on.", "2026-01-01T00:00": "The script itself starts only then: choose a later time."} {
		form.Set("start", start)
		if status, doc, _ := do("POST", "/pricing/scripts/new", form); status != 422 || plainText(doc.Find("#start-error")) != problem {
			t.Errorf("status %d, start %q: %s", status, start, plainText(doc.Find("#start-error")))
		}
	}
	form.Set("start", "2026-11-23T00:00")
	status, _, _ := do("POST", "/pricing/scripts/new", form)
	old, next := b.script(t, "weekend"), b.script(t, "weekend-2")
	if status != 303 || old.Data != "x = 1\ny = 2\n" || !old.End.Equal(pricingDay(11, 23)) || next.Data != "x = 9\n" || !next.Start.Equal(old.End) || !next.End.IsZero() {
		t.Errorf("status %d, scripts %+v, %+v", status, old, next)
	}

	form = url.Values{"was": {fingerprint(old)}, "name": {"weekend"}, "data": {"x = 5"}}
	if status, _, _ := do("POST", "/pricing/scripts/running/edit", form); status != 409 || b.script(t, "weekend").Data != "x = 1\ny = 2\n" {
		t.Errorf("status %d of an edit in place", status)
	}
	status, doc, _ = do("GET", "/pricing/scripts/running/delete", nil)
	if status != 200 || doc.Find("main form").Length() > 0 {
		t.Errorf("status %d: it is offered to be deleted", status)
	}
	if status, _, _ := do("POST", "/pricing/scripts/running/delete", url.Values{"was": {fingerprint(old)}}); status != 409 {
		t.Errorf("status %d of deleting it", status)
	}
	b.script(t, "weekend")
}

func TestEndAndDeleteScript(t *testing.T) {
	b := newScriptBook()
	do := scriptSite(t, b, access.Operator)
	_, doc, _ := do("GET", "/pricing/scripts/running/end", nil)
	form := scriptFields(doc)
	if form.Get("end") != "2026-11-22T00:00" {
		t.Errorf("form %v", form)
	}
	for _, end := range []string{"soon", "2025-01-01T00:00"} {
		form.Set("end", end)
		if status, doc, _ := do("POST", "/pricing/scripts/running/end", form); status != 422 || doc.Find("#end-error").Length() != 1 || scriptFields(doc).Get("end") != end {
			t.Errorf("status %d of the end %s", status, end)
		}
	}
	form.Set("end", "2026-11-30T00:00")
	if status, _, _ := do("POST", "/pricing/scripts/running/end", form); status != 303 || !b.script(t, "weekend").End.Equal(pricingDay(11, 30)) {
		t.Errorf("status %d, script %+v", status, b.script(t, "weekend"))
	}
	_, doc, _ = do("GET", "/pricing/scripts/coming/delete", nil)
	if status, _, location := do("POST", "/pricing/scripts/coming/delete", scriptFields(doc)); status != 303 || !strings.HasSuffix(location, "/pricing/scripts") || len(b.rules.Scripts) != 2 {
		t.Errorf("status %d, %d scripts", status, len(b.rules.Scripts))
	}
}

func TestScriptModule(t *testing.T) {
	b := newScriptBook()
	do := scriptSite(t, b, access.Operator)
	for _, enabled := range []string{"false", "true"} {
		if status, _, _ := do("POST", "/pricing/scripts/module", url.Values{"enabled": {enabled}}); status != 303 || b.rules.Modules[0].Enabled != (enabled == "true") {
			t.Errorf("status %d, module %+v", status, b.rules.Modules[0])
		}
	}
}
