package handlers

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/web"
)

// ruleBook keeps versions of rules in memory.
type ruleBook struct {
	versions []*rating.Rules // version 1 first
	authors  []string
	words    []string
	race     func() // runs before the next save
	unpriced []metering.UnpricedUsage
}

func (b *ruleBook) Rules(_ context.Context, version int64) (*rating.Rules, error) {
	if version == 0 {
		version = int64(len(b.versions))
	}
	if version < 1 || version > int64(len(b.versions)) {
		return nil, fault.New(fault.NotFound, "there is no version %d", version)
	}
	return b.versions[version-1], nil
}

func (b *ruleBook) SaveRules(_ context.Context, r *rating.Rules, author, what string) (int64, error) {
	if b.race != nil {
		race := b.race
		b.race = nil
		race()
	}
	if r.Version != int64(len(b.versions)) {
		return 0, fault.New(fault.Conflict, "another change came between")
	}
	next := *r
	next.Version++
	b.versions = append(b.versions, &next)
	b.authors, b.words = append(b.authors, author), append(b.words, what)
	return next.Version, nil
}

func (b *ruleBook) Changes(_ context.Context, f access.ChangeFilter) ([]access.Change, error) {
	var changes []access.Change
	for i := len(b.words) - 1; i >= 0 && len(changes) < f.Limit; i-- {
		c := access.Change{ID: int64(i + 1), At: pricingNow, Actor: b.authors[i], Action: "change", Subject: fmt.Sprintf("rules, version %d", i+2), After: b.words[i]}
		if (f.Before == 0 || c.ID < f.Before) && strings.HasPrefix(c.Subject, f.Subject) {
			changes = append(changes, c)
		}
	}
	return changes, nil
}

func (b *ruleBook) Configuration(context.Context, int64) (*metering.Configuration, error) {
	return &metering.Configuration{Metrics: []*metering.Metric{
		{Name: "cpu", Unit: "vcpu", Groupby: []string{"flavor"}, Metadata: []string{"vcpus"}},
		{Name: "ram", Unit: "GiB", Groupby: []string{"region"}},
		{Name: "disk", Unit: "GiB"},
		{Name: "disk", Unit: "GB"},
	}}, nil
}

func (b *ruleBook) Scopes(context.Context) ([]*metering.Scope, error) {
	return []*metering.Scope{{ID: "p1", Name: "Genomics"}, {ID: "p2"}, {ID: "p1"}}, nil
}

func (b *ruleBook) Unpriced(_ context.Context, r period.Range) ([]metering.UnpricedUsage, error) {
	if !r.End.Equal(pricingNow) || r.End.Sub(r.Begin) != 7*24*time.Hour {
		return nil, fmt.Errorf("asked for %v", r)
	}
	return b.unpriced, nil
}

var pricingNow = time.Date(2026, 11, 21, 14, 2, 11, 0, time.UTC)

// latest returns the valid rules, by sentence without ids.
func (b *ruleBook) latest() []string {
	var all []string
	for _, r := range b.versions[len(b.versions)-1].Hashmap {
		all = append(all, r.String())
	}
	slices.Sort(all)
	return all
}

// edit is a change that somebody else makes.
func (b *ruleBook) edit(t *testing.T, change func(r *rating.Rules) (*rating.Rules, error)) {
	t.Helper()
	next, err := change(b.versions[len(b.versions)-1])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.SaveRules(t.Context(), next, "eve", strings.Join(rating.Changes(b.versions[len(b.versions)-1], next), "\n")); err != nil {
		t.Fatal(err)
	}
}

func pricingDay(month time.Month, day int) time.Time {
	return period.StartOf(time.Date(2026, month, day, 0, 0, 0, 0, time.UTC), pricingZone())
}

// newRuleBook has a running rule, its predecessor, one of a scope, one to come, and a threshold.
func newRuleBook() *ruleBook {
	rule := func(id, cost string, start, end time.Time, change ...func(*rating.Rule)) rating.Rule {
		r := rating.Rule{
			ID: id, Kind: rating.Mapping, Service: "cpu", Field: "flavor", Value: "m1.medium", Type: rating.Flat, Cost: money.MustParse(cost),
			Start: start, End: end,
		}
		for _, f := range change {
			f(&r)
		}
		return r
	}
	none := time.Time{}
	return &ruleBook{versions: []*rating.Rules{{
		Version: 1, Modules: []rating.Module{{Name: "hashmap", Enabled: true, Priority: 1}}, Groups: []rating.Group{{ID: "g", Name: "bulk"}},
		Services: []rating.Service{{ID: "s", Name: "cpu", Fields: []rating.Field{{ID: "f", Name: "flavor"}}}, {ID: "t", Name: "ram"}},
		Hashmap: []rating.Rule{
			rule("old", "0.03", none, pricingDay(1, 1)),
			rule("running", "0.035", pricingDay(1, 1), none),
			rule("scoped", "0.02", none, none, func(r *rating.Rule) { r.Scope = "p1" }),
			rule("coming", "0.5", pricingDay(12, 1), none, func(r *rating.Rule) { r.Value, r.Name = "m2", "later" }),
			rule("bulk", "0.9", none, none, func(r *rating.Rule) {
				r.Kind, r.Service, r.Field, r.Value, r.Level, r.Type, r.Group = rating.Threshold, "ram", "", "", money.New(100, 0), rating.Rate, "bulk"
			}),
		},
	}}}
}

// pricingSite is the area alone, for a user of a role.
type pricingSite struct {
	t    *testing.T
	echo *echo.Echo
}

func newPricingSite(t *testing.T, b *ruleBook, role access.Role) *pricingSite {
	t.Helper()
	e := echo.New()
	statuses := map[fault.Kind]int{fault.Invalid: 422, fault.NotFound: 404, fault.Conflict: 409, fault.Forbidden: 403}
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		status := statuses[fault.KindOf(err)]
		if status == 0 {
			status = 500
		}
		_ = c.String(status, err.Error())
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
	h := NewPricing(b, b, &metering.Settings{Zone: pricingZone(), Currency: "EUR", Period: time.Hour}, func() time.Time { return pricingNow })
	h.Routes(&web.Router{Viewer: needs(access.Viewer), Operator: needs(access.Operator)})
	return &pricingSite{t, e}
}

func pricingZone() *time.Location {
	zone, err := period.ParseZone("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return zone
}

// do asks and returns the status, the page, and where it leads.
func (s *pricingSite) do(method, path string, form url.Values, headers ...string) (int, *goquery.Document, string) {
	s.t.Helper()
	req := httptest.NewRequestWithContext(s.t.Context(), method, path, strings.NewReader(form.Encode()))
	if form != nil {
		req.Header.Set(echo.HeaderContentType, echo.MIMEApplicationForm)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.echo.ServeHTTP(w, req)
	doc, err := goquery.NewDocumentFromReader(w.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return w.Code, doc, w.Header().Get("Location")
}

func (s *pricingSite) get(path string) *goquery.Document {
	s.t.Helper()
	status, doc, _ := s.do(http.MethodGet, path, nil)
	if status != http.StatusOK {
		s.t.Fatalf("%s: %d %s", path, status, doc.Text())
	}
	return doc
}

// filled returns what the form of a page would send, changed by pairs of names and values.
func filled(doc *goquery.Document, pairs ...string) url.Values {
	form := url.Values{}
	doc.Find(`#main form[method="post"] [name]`).Each(func(_ int, s *goquery.Selection) {
		name := s.AttrOr("name", "")
		switch goquery.NodeName(s) {
		case "select":
			form.Set(name, s.Find("option[selected]").AttrOr("value", s.Find("option").AttrOr("value", "")))
		case "textarea":
			form.Set(name, s.Text())
		case "input":
			form.Set(name, s.AttrOr("value", ""))
		}
	})
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return form
}

func squeezed(s *goquery.Selection) string { return strings.Join(strings.Fields(s.Text()), " ") }

func wantText(t *testing.T, what string, doc *goquery.Document, texts ...string) {
	t.Helper()
	got := squeezed(doc.Selection)
	for _, text := range texts {
		if !strings.Contains(got, text) {
			t.Errorf("%s: %q is not in: %s", what, text, got)
		}
	}
}

func TestPricingList(t *testing.T) {
	t.Parallel()
	b := newRuleBook()
	b.unpriced = []metering.UnpricedUsage{{Metric: "net & co", Points: 1234, Scopes: 2, First: pricingNow.Add(-time.Hour), Last: pricingNow}}
	s := newPricingSite(t, b, access.Operator)
	doc := s.get("/pricing")
	wantText(t, "list", doc, "Usage without a price", "net & co", "1,234", "Metrics without any rule: disk", "cpu · flavor", "= m1.medium",
		"Genomics", "every scope", "0.035", "× 0.9", "quantity ≥ 100 GiB", "until 1 Jan 2026: ended", "since 1 Jan 2026", "from 1 Dec 2026", "later", "Change price of cpu, flavor = m1.medium")
	if got := doc.Find(`a[href="/pricing/rules/new?metric=net+%26+co"]`).Length(); got != 1 {
		t.Error("no link to set a price")
	}
	if got := doc.Find("table.rules tr.gone").Length(); got != 2 {
		t.Errorf("%d rows are muted", got)
	}
	if got := doc.Find(`a[href="/pricing/rules/running/change"]`).Length(); got != 1 {
		t.Error("no link to change the price")
	}
	for query, want := range map[string]string{
		"metric=ram":                   "bulk",
		"scope=p2":                     "old running coming bulk",
		"scope=p1&metric=cpu":          "old running scoped coming",
		"text=LATER":                   "coming",
		"text=m1.MED&on=2025-12-31":    "old scoped",
		"on=2026-12-01&metric=cpu":     "running scoped coming",
		"on=2026-11-30&text=m2":        "",
		"metric=nothing":               "",
		"page=99":                      "old running scoped coming bulk",
		"page=-1&metric=ram":           "bulk",
		"metric=cpu&text=+genomics++":  "scoped",
		"metric=cpu&scope=x&text=0.03": "old running",
	} {
		var got []string
		doc := s.get("/pricing?" + query)
		doc.Find("table.rules tbody th[scope=row] a").Each(func(_ int, a *goquery.Selection) {
			got = append(got, strings.TrimPrefix(a.AttrOr("href", ""), "/pricing/rules/"))
		})
		wanted := strings.Fields(want)
		slices.Sort(got)
		slices.Sort(wanted)
		if !slices.Equal(got, wanted) {
			t.Errorf("%s: %q, want %q", query, got, wanted)
		}
		if len(wanted) == 0 {
			wantText(t, query, doc, "No rule matches")
		}
	}
	if status, doc, _ := s.do(http.MethodGet, "/pricing?on=yesterday", nil); status != 422 || doc.Find(`[name=on]`).AttrOr("value", "") != "yesterday" {
		t.Errorf("a wrong day: %d", status)
	}

	doc = newPricingSite(t, b, access.Viewer).get("/pricing")
	if doc.Find(`a[href*="/change"], a[href*="/new"], a[href*="/edit"]`).FilterFunction(func(_ int, a *goquery.Selection) bool {
		return a.AttrOr("href", "") != "/pricing/changes"
	}).Length() != 0 {
		t.Error("a viewer is led to what it may not do")
	}

	empty := &ruleBook{versions: []*rating.Rules{{Version: 1}}}
	wantText(t, "empty", newPricingSite(t, empty, access.Operator).get("/pricing"), "There are no rules yet", "ratebook import rules FILE", "is disabled")
	wantText(t, "empty", newPricingSite(t, empty, access.Viewer).get("/pricing"), "An operator can make the first one")
}

func TestPricingPages(t *testing.T) {
	t.Parallel()
	b := newRuleBook()
	var many []rating.Rule
	for i := range 450 {
		many = append(many, rating.Rule{ID: fmt.Sprint(i), Kind: rating.Mapping, Service: "disk", Field: "id", Value: fmt.Sprintf("%03d", i), Type: rating.Flat})
	}
	b.versions[0].Hashmap = append(b.versions[0].Hashmap, many...)
	s := newPricingSite(t, b, access.Viewer)
	for page, want := range map[string]int{"": 200, "2": 200, "3": 55, "4": 55} {
		if got := s.get("/pricing?page=" + page).Find("table.rules th[scope=row]").Length(); got != want {
			t.Errorf("page %s has %d rules", page, got)
		}
	}
}

func TestPricingRule(t *testing.T) {
	t.Parallel()
	b := newRuleBook()
	b.edit(t, func(r *rating.Rules) (*rating.Rules, error) { return r.End("running", pricingDay(12, 24)) })
	b.edit(t, func(r *rating.Rules) (*rating.Rules, error) { return r.End("coming", pricingDay(12, 24)) })
	s := newPricingSite(t, b, access.Operator)
	doc := s.get("/pricing/rules/running")
	wantText(t, "rule", doc, "cpu, flavor = m1.medium: 0.035 EUR per vcpu, group default, for every scope, from 1 Jan 2026 until 24 Dec 2026",
		"24 Dec 2026, 00:00 Europe/Berlin", "until 1 Jan 2026: ended", "Genomics", "eve", "end none → 2026-12-23T23:00:00Z")
	if got := doc.Find("table.changes tbody tr").Length(); got != 1 {
		t.Errorf("%d changes", got)
	}
	if doc.Find(`a[href="/pricing/rules/running/end"]`).Length() == 0 || doc.Find(`a[href="/pricing/rules/running/edit"]`).Length() != 0 {
		t.Error("wrong actions")
	}
	if s.get("/pricing/rules/coming").Find(`a[href="/pricing/rules/coming/edit"]`).Length() == 0 {
		t.Error("what has not begun can't be edited")
	}
	doc = s.get("/pricing/rules/old")
	if doc.Find(`a[href="/pricing/rules/new?from=old"]`).Length() == 0 {
		t.Error("what has ended can't be renewed")
	}
	wantText(t, "scoped", s.get("/pricing/rules/scoped"), "In whose place it is", "(p1)", "always", "None of the last changes")
	if got := newPricingSite(t, b, access.Viewer).get("/pricing/rules/running").Find(".actions a").Length(); got != 0 {
		t.Error("a viewer may not change anything")
	}
}

// TestPricingAccess asks for everything: of rules that are not there, and as somebody who may not.
func TestPricingAccess(t *testing.T) {
	t.Parallel()
	b := newRuleBook()
	operator, viewer := newPricingSite(t, b, access.Operator), newPricingSite(t, b, access.Viewer)
	if status, _, _ := operator.do(http.MethodGet, "/pricing/rules/gone", nil); status != 404 {
		t.Errorf("gone: %d", status)
	}
	for _, page := range []string{"new", "running/edit", "running/change", "running/end", "running/delete"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if status, _, _ := viewer.do(method, "/pricing/rules/"+page, url.Values{"version": {"1"}}); status != 403 {
				t.Errorf("a viewer may %s %s: %d", method, page, status)
			}
			if name, other := strings.CutPrefix(page, "running"); other {
				if status, _, _ := operator.do(method, "/pricing/rules/gone"+name, url.Values{"version": {"1"}}); status != 404 {
					t.Errorf("%s %s of what is gone: %d", method, page, status)
				}
			}
		}
	}
	tenant := newPricingSite(t, b, access.Tenant)
	for _, path := range []string{"/pricing", "/pricing/changes", "/pricing/rules/running"} {
		if status, _, _ := tenant.do(http.MethodGet, path, nil); status != 403 {
			t.Errorf("a tenant may see %s: %d", path, status)
		}
	}
	if status, _, _ := operator.do(http.MethodGet, "/pricing/rules/new?from=gone", nil); status != 404 {
		t.Errorf("like what is gone: %d", status)
	}
	if len(b.versions) != 1 {
		t.Error("something was changed")
	}
}

func TestNewPrice(t *testing.T) {
	t.Parallel()
	b := newRuleBook()
	s := newPricingSite(t, b, access.Operator)
	form := filled(s.get("/pricing/rules/new?metric=cpu"))
	for name, want := range map[string]string{"service": "cpu", "kind": "mapping", "type": "flat", "start": "2026-11-22T00:00", "version": "1", "end": "", "scope": ""} {
		if got := form.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if form := filled(s.get("/pricing/rules/new?metric=disk")); form.Get("service") != "disk" || form.Get("start") != "" {
		t.Errorf("nothing prices it yet, but %v", form)
	}
	wantText(t, "new", s.get("/pricing/rules/new?metric=cpu"), "Applies to windows from 22 Nov 2026, 00:00 Europe/Berlin on. Charges already made stay as they are.", "Genomics")
	if form := filled(s.get("/pricing/rules/new?from=old")); form.Get("value") != "m1.medium" || form.Get("cost") != "0.03" || form.Get("start") != "2026-11-22T00:00" || form.Get("end") != "" {
		t.Errorf("like another: %v", form)
	}

	good := filled(s.get("/pricing/rules/new?metric=cpu"), "field", "flavor", "value", "m3", "cost", " 0.07 ", "group", "bulk", "scope", "p1",
		"name", "three", "description", "one\r\ntwo", "end", "2026-12-31")
	for _, c := range []struct{ pairs, wrong string }{
		{"kind ", "kind"},
		{"kind x", "kind"},
		{"service ", "service"},
		{"service " + strings.Repeat("x", 256), "service"},
		{"field " + strings.Repeat("x", 256), "field"},
		{"value ", "value"},
		{"level 3", "level"},
		{"type free", "type"},
		{"cost ", "cost"},
		{"cost 0,07", "cost"},
		{"group " + strings.Repeat("x", 256), "group"},
		{"scope " + strings.Repeat("x", 256), "scope"},
		{"start tomorrow", "start"},
		{"end 2026-11-21", "end"},
		{"name " + strings.Repeat("x", 256), "name"},
		{"description " + strings.Repeat("x", 4097), "description"},
		{"value m1.medium", ""}, // is fine in this group
	} {
		form := url.Values{}
		for name := range good {
			form.Set(name, good.Get(name))
		}
		name, value, _ := strings.Cut(c.pairs, " ")
		form.Set(name, value)
		status, doc, _ := s.do(http.MethodPost, "/pricing/rules/new", form)
		if c.wrong == "" {
			if status != 303 {
				t.Errorf("%s: %d", c.pairs, status)
			}
			b.versions, b.words, b.authors = b.versions[:1], nil, nil
			continue
		}
		if status != 422 {
			t.Errorf("%.40s: %d", c.pairs, status)
		}
		if got := doc.Find(`[name="` + c.wrong + `"][aria-invalid=true]`).Length(); got != 1 {
			t.Errorf("%.40s: %d fields are marked", c.pairs, got)
		}
		if again := filled(doc); again.Get(name) != value && name != "kind" && name != "type" || again.Get("cost") != form.Get("cost") && strings.TrimSpace(form.Get("cost")) != again.Get("cost") {
			t.Errorf("%.40s: what was typed is lost: %v", c.pairs, again)
		}
	}
	if len(b.versions) != 1 {
		t.Fatal("something was saved")
	}

	status, _, to := s.do(http.MethodPost, "/pricing/rules/new", good)
	if status != 303 || len(b.versions) != 2 {
		t.Fatalf("%d", status)
	}
	rules := b.versions[1]
	r := rules.Hashmap[len(rules.Hashmap)-1]
	want := "mapping of cpu, flavor = m3, scope p1, group bulk, from 2026-11-21T23:00:00Z: flat 0.07, until 2026-12-30T23:00:00Z, name three, description \"one\\ntwo\""
	if r.String() != want || to != "/pricing/rules/"+r.ID {
		t.Errorf("%s\nat %s", r.String(), to)
	}
	if b.authors[0] != "ada" || b.words[0] != "+ "+want {
		t.Errorf("%s: %s", b.authors, b.words)
	}

	form = filled(s.get("/pricing/rules/new"), "kind", "threshold", "other", "net", "level", "100", "type", "rate", "cost", "0.9", "group", "new", "start", "")
	if status, doc, _ := s.do(http.MethodPost, "/pricing/rules/new", form); status != 303 {
		t.Fatalf("%d %s", status, doc.Text())
	}
	if want := "+ group new\n+ service net\n+ threshold of net, quantity ≥ 100, group new: rate 0.9"; b.words[1] != want {
		t.Error(cmp.Diff(want, b.words[1]))
	}
}

func TestNewPriceClashes(t *testing.T) {
	t.Parallel()
	b := newRuleBook()
	s := newPricingSite(t, b, access.Operator)
	form := filled(s.get("/pricing/rules/new?metric=cpu"), "field", "flavor", "value", "m1.medium", "cost", "9")
	status, doc, _ := s.do(http.MethodPost, "/pricing/rules/new", form)
	if status != 422 || doc.Find(`[name=start][aria-invalid=true]`).Length() != 1 || doc.Find(`a[href="/pricing/rules/running/change"]`).Length() != 1 {
		t.Errorf("%d %s", status, doc.Text())
	}
	wantText(t, "clash", doc, "In the way is cpu, flavor = m1.medium: 0.035 EUR per vcpu")
	// A preview says so, too, and stays a page of its own.
	doc = s.get("/pricing/rules/new?preview=1&" + form.Encode())
	wantText(t, "preview", doc, "It can't be saved like this", "1 vcpu in a window of 1 h: 9 EUR")
	status, doc, _ = s.do(http.MethodGet, "/pricing/rules/new?"+form.Encode(), nil, "HX-Request", "true", "HX-Target", "rule-effect")
	if status != 200 || doc.Find("form").Length() != 0 || doc.Find("#rule-effect").Length() != 1 {
		t.Errorf("the effect alone: %d %s", status, doc.Text())
	}
	form.Set("cost", "")
	wantText(t, "preview", s.get("/pricing/rules/new?preview=1&"+form.Encode()), "The cost is missing")
	if len(b.versions) != 1 {
		t.Error("something was saved")
	}
}

// TestOvertaken is for every form: made from a version that is not the last any more, it says what changed, and goes on top.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	for page, pairs := range map[string][]string{
		"new?metric=cpu": {"field", "flavor", "value", "m9", "cost", "1"},
		"running/change": {"cost", "0.04"},
		"coming/edit":    {"cost", "0.6"},
		"running/end":    {"end", "2026-12-01"},
		"running/delete": nil,
	} {
		for _, late := range []bool{false, true} { // the other change comes before the form does, or while it is saved
			b := newRuleBook()
			s := newPricingSite(t, b, access.Operator)
			form := filled(s.get("/pricing/rules/"+page), pairs...)
			other := func() {
				b.edit(t, func(r *rating.Rules) (*rating.Rules, error) { return r.End("scoped", pricingDay(12, 24)) })
			}
			if late {
				b.race = other
			} else {
				other()
			}
			path, _, _ := strings.Cut("/pricing/rules/"+page, "?")
			status, doc, _ := s.do(http.MethodPost, path, form)
			if status != 409 || len(b.versions) != 2 {
				t.Fatalf("%s: %d, %d versions", page, status, len(b.versions))
			}
			wantText(t, page, doc, "Somebody changed the rules after this page was made", "~ mapping of cpu, flavor = m1.medium, scope p1: end none → 2026-12-23T23:00:00Z")
			again := filled(doc)
			if again.Get("version") != "2" {
				t.Errorf("%s: from version %s", page, again.Get("version"))
			}
			form.Set("version", "2")
			if d := cmp.Diff(form, again); d != "" {
				t.Errorf("%s: what was typed is lost: %s", page, d)
			}
			if status, doc, _ := s.do(http.MethodPost, path, again); status != 303 || len(b.versions) != 3 {
				t.Errorf("%s: %d %s", page, status, doc.Text())
			}
			if !slices.Contains(b.latest(), "mapping of cpu, flavor = m1.medium, scope p1: flat 0.02, until 2026-12-23T23:00:00Z") {
				t.Errorf("%s: the other change is lost", page)
			}
		}
		for _, version := range []string{"", "x", "0", "-1"} {
			b := newRuleBook()
			s := newPricingSite(t, b, access.Operator)
			path, _, _ := strings.Cut("/pricing/rules/"+page, "?")
			status, doc, _ := s.do(http.MethodPost, path, filled(s.get("/pricing/rules/"+page), append(pairs, "version", version)...))
			if status != 422 || len(b.versions) != 1 || filled(doc).Get("version") != "1" {
				t.Errorf("%s from version %q: %d", page, version, status)
			}
		}
		b := newRuleBook()
		s := newPricingSite(t, b, access.Operator)
		path, _, _ := strings.Cut("/pricing/rules/"+page, "?")
		if status, _, _ := s.do(http.MethodPost, path, filled(s.get("/pricing/rules/"+page), append(pairs, "version", "99")...)); status != 409 {
			t.Errorf("%s from a version to come: %d", page, status)
		}
	}
}

func TestChangePrice(t *testing.T) {
	t.Parallel()
	b := newRuleBook()
	s := newPricingSite(t, b, access.Operator)
	doc := s.get("/pricing/rules/running/change")
	form := filled(doc)
	if form.Get("cost") != "" || form.Get("start") != "2026-11-22T00:00" || form.Get("type") != "flat" || doc.Find("[aria-invalid=true], .form-error").Length() != 0 {
		t.Errorf("%v", form)
	}
	wantText(t, "change", doc, "flavor = m1.medium: 0.035 EUR per vcpu now", "Applies to windows from 22 Nov 2026, 00:00 Europe/Berlin on. Charges already made stay as they are.")
	form.Set("cost", "0.040")
	form.Set("description", "dearer power")
	wantText(t, "preview", s.get("/pricing/rules/running/change?preview=1&"+form.Encode()),
		"1 vcpu in a window of 1 h: 0.035 → 0.04 EUR (+14.3 %)", "Windows before that keep the present price: 0.035 EUR per vcpu.",
		"1 scope has a rule of its own in place of this one and keep")
	for name, values := range map[string][]string{
		"cost":        {"", "dear", "1e-29"},
		"start":       {"", "x", "2026-01-01", "2025-01-01"},
		"type":        {"x"},
		"name":        {strings.Repeat("x", 256)},
		"description": {strings.Repeat("x", 4097)},
	} {
		for _, value := range values {
			wrong := filled(doc, "cost", "0.04", name, value)
			status, doc, _ := s.do(http.MethodPost, "/pricing/rules/running/change", wrong)
			if status != 422 || doc.Find(`[name="`+name+`"][aria-invalid=true]`).Length() != 1 {
				t.Errorf("%s %.20s: %d", name, value, status)
			}
		}
	}
	if len(b.versions) != 1 {
		t.Fatal("something was saved")
	}
	status, _, to := s.do(http.MethodPost, "/pricing/rules/running/change", form)
	if status != 303 || len(b.versions) != 2 {
		t.Fatal(status)
	}
	want := "+ mapping of cpu, flavor = m1.medium, from 2026-11-21T23:00:00Z: flat 0.04, description \"dearer power\"\n" +
		"~ mapping of cpu, flavor = m1.medium, from 2025-12-31T23:00:00Z: end none → 2026-11-21T23:00:00Z"
	if b.words[0] != want {
		t.Error(cmp.Diff(want, b.words[0]))
	}
	wantText(t, "successor", s.get(to), "from 22 Nov 2026", "0.035", "0.04", "Its price over time")

	if status, _, to := s.do(http.MethodGet, "/pricing/rules/old/change", nil); status != 303 || to != "/pricing/rules/old" {
		t.Errorf("what has ended: %d %s", status, to)
	}
	b.edit(t, func(r *rating.Rules) (*rating.Rules, error) { return r.End("scoped", pricingDay(11, 22)) })
	doc = s.get("/pricing/rules/scoped/change")
	if filled(doc).Get("start") != "" || strings.Contains(doc.Text(), "Applies to") {
		t.Errorf("what ends before tomorrow does: %v", filled(doc))
	}
	doc = s.get("/pricing/rules/coming/change")
	if filled(doc).Get("start") != "2026-12-02T00:00" || doc.Find(`a[href="/pricing/rules/coming/edit"]`).Length() != 1 {
		t.Errorf("what has not begun: %v", filled(doc))
	}
}

func TestEditPrice(t *testing.T) {
	t.Parallel()
	b := newRuleBook()
	s := newPricingSite(t, b, access.Operator)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if status, doc, _ := s.do(method, "/pricing/rules/running/edit", url.Values{"version": {"1"}}); status != 409 || !strings.Contains(doc.Text(), "has begun") {
			t.Errorf("%s: what has begun: %d", method, status)
		}
	}
	doc := s.get("/pricing/rules/coming/edit")
	form := filled(doc)
	// Saved as it is, nothing changes.
	if status, _, to := s.do(http.MethodPost, "/pricing/rules/coming/edit", form); status != 303 || to != "/pricing/rules/coming" || len(b.versions) != 1 {
		t.Errorf("%d %s", status, to)
	}
	status, doc, _ := s.do(http.MethodPost, "/pricing/rules/coming/edit", filled(doc, "value", "m1.medium", "cost", "x"))
	if status != 422 || doc.Find(`[name=cost][aria-invalid=true]`).Length() != 1 {
		t.Errorf("%d", status)
	}
	status, doc, _ = s.do(http.MethodPost, "/pricing/rules/coming/edit", filled(doc, "cost", "1"))
	if status != 422 || doc.Find(`a[href="/pricing/rules/running/end"]`).Length() != 1 {
		t.Errorf("a clash: %d", status)
	}
	wantText(t, "preview", s.get("/pricing/rules/coming/edit?preview=1&"+filled(doc).Encode()), "It can't be saved like this")
	form.Set("cost", "0.6")
	form.Set("value", "m2 ")
	if status, _, _ := s.do(http.MethodPost, "/pricing/rules/coming/edit", form); status != 303 {
		t.Error(status)
	}
	want := `~ mapping of cpu, flavor = m2, from 2026-11-30T23:00:00Z: flat 0.5, name later → mapping of cpu, flavor = "m2 ", from 2026-11-30T23:00:00Z: flat 0.6, name later`
	if len(b.words) != 1 || b.words[0] != want {
		t.Errorf("%q", b.words)
	}
}

func TestEndPrice(t *testing.T) {
	t.Parallel()
	b := newRuleBook()
	s := newPricingSite(t, b, access.Operator)
	form := filled(s.get("/pricing/rules/running/end"))
	if form.Get("end") != "2026-11-22T00:00" {
		t.Errorf("%v", form)
	}
	for _, end := range []string{"x", "2026-01-01", "2025-01-01"} {
		form.Set("end", end)
		status, doc, _ := s.do(http.MethodPost, "/pricing/rules/running/end", form)
		if status != 422 || doc.Find(`[name=end][aria-invalid=true]`).AttrOr("value", "") != end {
			t.Errorf("%s: %d", end, status)
		}
	}
	form.Set("end", "")
	status, doc, _ := s.do(http.MethodPost, "/pricing/rules/old/end", form)
	if status != 422 || doc.Find(`a[href="/pricing/rules/running"]`).Length() != 1 {
		t.Errorf("into its successor: %d", status)
	}
	form.Set("end", "2026-11-30T12:00")
	status, _, to := s.do(http.MethodPost, "/pricing/rules/running/end", form)
	if status != 303 || to != "/pricing/rules/running" || len(b.words) != 1 || !strings.HasSuffix(b.words[0], "end none → 2026-11-30T11:00:00Z") {
		t.Errorf("%d %q", status, b.words)
	}
	form = filled(s.get("/pricing/rules/running/end"), "end", "")
	if status, _, _ := s.do(http.MethodPost, "/pricing/rules/running/end", form); status != 303 || len(b.words) != 2 {
		t.Errorf("for ever again: %d", status)
	}
}

func TestDeletePrice(t *testing.T) {
	t.Parallel()
	b := newRuleBook()
	s := newPricingSite(t, b, access.Operator)
	doc := s.get("/pricing/rules/running/delete")
	wantText(t, "delete", doc, "Charges already made stay as they are.", "end the rule")
	if len(b.versions) != 1 {
		t.Fatal("asking deletes")
	}
	status, _, to := s.do(http.MethodPost, "/pricing/rules/running/delete", filled(doc))
	if status != 303 || to != "/pricing" || len(b.words) != 1 || b.words[0] != "- mapping of cpu, flavor = m1.medium, from 2025-12-31T23:00:00Z: flat 0.035" {
		t.Errorf("%d %q", status, b.words)
	}
	if len(b.versions[1].Services) != 2 {
		t.Error("services are gone")
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	b := newRuleBook()
	s := newPricingSite(t, b, access.Viewer)
	wantText(t, "none", s.get("/pricing/changes"), "The rules were never changed")
	for i := range 120 {
		b.authors, b.words = append(b.authors, "ada"), append(b.words, fmt.Sprintf("+ line %d", i))
	}
	b.words[119] = strings.Repeat("+ a\n", 700)
	doc := s.get("/pricing/changes")
	wantText(t, "first", doc, "692 more lines", "200 lines are not shown", "line 118", "rules, version 121")
	for _, want := range []int{50, 20} {
		next := doc.Find("a[rel=next]").AttrOr("href", "")
		doc = s.get(next)
		if got := doc.Find("table.changes > tbody > tr").Length(); got != want {
			t.Errorf("%s: %d changes", next, got)
		}
	}
	if doc.Find("a[rel=next]").Length() != 0 || doc.Find("a[rel=first]").Length() != 1 {
		t.Error("the last page leads on")
	}
	wantText(t, "after the last", s.get("/pricing/changes?before=1"), "No older changes")
	for _, before := range []string{"x", "0", "-3"} {
		if status, _, _ := s.do(http.MethodGet, "/pricing/changes?before="+before, nil); status != 422 {
			t.Errorf("before %s: %d", before, status)
		}
	}
}

// TestPricingYears holds that a year nobody means is not taken for no limit.
func TestPricingYears(t *testing.T) {
	b := newRuleBook()
	b.edit(t, func(r *rating.Rules) (*rating.Rules, error) { return r.End("running", pricingDay(12, 24)) })
	s := newPricingSite(t, b, access.Operator)
	before := b.latest()
	for path, field := range map[string]string{"running/end": "end", "running/change": "start", "coming/edit": "start"} {
		path = "/pricing/rules/" + path
		for _, text := range []string{"0001-01-01", "0001-01-01T00:00:00Z", "1969-12-31", "9999-01-01"} {
			form := filled(s.get(path), field, text)
			form.Set("cost", "7")
			if status, doc, _ := s.do(http.MethodPost, path, form); status != 422 || !strings.Contains(doc.Find("#"+field+"-error").Text(), "1970 to 9998") {
				t.Errorf("%s, %s: %d %s", path, text, status, doc.Find("#"+field+"-error").Text())
			}
		}
	}
	if d := cmp.Diff(before, b.latest()); d != "" {
		t.Error(d)
	}
}

// TestPricingGone holds that who has the form of a rule open learns who deleted it meanwhile.
func TestPricingGone(t *testing.T) {
	b := newRuleBook()
	s := newPricingSite(t, b, access.Operator)
	form := filled(s.get("/pricing/rules/running/change"), "cost", "7")
	b.edit(t, func(r *rating.Rules) (*rating.Rules, error) { return r.Remove("running") })
	for _, page := range []string{"change", "end", "delete", "edit"} {
		status, doc, _ := s.do(http.MethodPost, "/pricing/rules/running/"+page, form, "Accept", "text/html")
		if status != 404 || doc.Find(`a[href="/pricing/changes"]`).Length() == 0 {
			t.Errorf("%s: %d", page, status)
		}
		wantText(t, page, doc, "was deleted while this page was open, by eve at 21 Nov 2026, 15:02; nothing was saved.")
	}
	status, doc, _ := s.do(http.MethodGet, "/pricing/rules/running", nil, "Accept", "text/html")
	if status != 404 || doc.Find(`a[href="/pricing/changes"]`).Length() == 0 {
		t.Errorf("the rule's page: %d", status)
	}
	status, doc, _ = s.do(http.MethodPost, "/pricing/rules/running/change", form)
	if status != 404 || !strings.Contains(doc.Text(), "by eve") || !strings.Contains(doc.Text(), "/pricing/changes") {
		t.Errorf("a program: %d %s", status, doc.Text())
	}
}
