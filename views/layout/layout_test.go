package layout_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
	"github.com/a-h/templ"
	"github.com/google/go-cmp/cmp"

	"ratebook/access"
	"ratebook/views/layout"
	"ratebook/views/link"
)

var (
	body   = templ.Raw("<p>the body</p>")
	ada    = &access.User{Login: "ada", Role: access.Viewer}
	tenant = &access.User{Login: "genomics", Role: access.Tenant, Scopes: []string{"7f3a"}}
)

func parse(t *testing.T, c templ.Component) *goquery.Document {
	t.Helper()
	var b strings.Builder
	if err := c.Render(link.WithBase(t.Context(), "/base"), &b); err != nil {
		t.Fatal(err)
	}
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	doc.Find("*").Each(func(_ int, e *goquery.Selection) {
		for _, a := range e.Nodes[0].Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
				t.Errorf("%s has the attribute %s", goquery.NodeName(e), a.Key)
			}
			if local := strings.HasPrefix(a.Val, "/base/") || strings.HasPrefix(a.Val, "#"); (a.Key == "href" || a.Key == "src" || a.Key == "action") && !local {
				t.Errorf("%s leads to %q, which is not below the base", goquery.NodeName(e), a.Val)
			}
		}
		if goquery.NodeName(e) == "script" && e.Text() != "" {
			t.Error("there is an inline script")
		}
	})
	return doc
}

func texts(s *goquery.Selection) []string {
	return s.Map(func(_ int, e *goquery.Selection) string { return strings.Join(strings.Fields(e.Text()), " ") })
}

func TestFull(t *testing.T) {
	shell := layout.Shell{
		User: ada, Path: "/scopes/1?tab=rules", Theme: "dark",
		Flash: &layout.Flash{Text: "The price was saved."}, Notice: &layout.Notice{Text: "3 scopes lag", Path: "/scopes?state=lagging"},
	}
	page := layout.Page{
		Title: "Genomics", Area: layout.Scopes, Aside: "times in UTC", Action: &layout.Action{Label: "New price", Path: "/pricing/rules/new"},
	}
	doc := parse(t, layout.Full(shell, page, body))

	if diff := cmp.Diff([]string{"Overview", "Costs", "Scopes", "Metrics", "Pricing", "Processing", "Settings"}, texts(doc.Find("nav[aria-label=Main] li a"))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Scopes"}, texts(doc.Find("nav[aria-label=Main] [aria-current=page]"))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Scopes", "Genomics"}, texts(doc.Find("nav[aria-label=Breadcrumb] li"))); diff != "" {
		t.Error(diff)
	}
	for selector, want := range map[string]string{
		"title":                    "Genomics · Ratebook",
		"main h1":                  "Genomics",
		"main .aside":              "times in UTC",
		"main .button.primary":     "New price",
		"#flash[aria-live=polite]": "The price was saved.",
		".notice a":                "3 scopes lag",
		".who a":                   "Signed in as ada",
		"body > a[href='#main']":   "Skip to the content",
	} {
		if got := strings.Join(texts(doc.Find(selector)), "|"); got != want {
			t.Errorf("%s says %q, want %q", selector, got, want)
		}
	}
	for selector, want := range map[string][2]string{
		"html":                            {"data-theme", "dark"},
		"form.theme [name=back]":          {"value", "/scopes/1?tab=rules"},
		"form.theme":                      {"method", "post"},
		"form.theme [aria-pressed=true]":  {"value", "dark"},
		"form[action='/base/sign-out']":   {"method", "post"},
		"form[role=search]":               {"method", "get"},
		"form[role=search] input[name=q]": {"type", "search"},
		"[popovertarget=nav]":             {"type", "button"},
		"main#main":                       {"tabindex", "-1"},
		"dialog#keys":                     {"aria-labelledby", "keys-title"},
	} {
		e := doc.Find(selector)
		if got := e.AttrOr(want[0], "none"); e.Length() != 1 || got != want[1] {
			t.Errorf("%d × %s, %s=%q; want one with %q", e.Length(), selector, want[0], got, want[1])
		}
	}
	if doc.Find("main title").Length() != 0 {
		t.Error("the title is in the body")
	}
	var config map[string]any
	if err := json.Unmarshal([]byte(doc.Find("meta[name=htmx-config]").AttrOr("content", "")), &config); err != nil {
		t.Error(err)
	}
	if config["historyCacheSize"] != 0.0 || config["allowEval"] != false || config["includeIndicatorStyles"] != false {
		t.Errorf("htmx is told %v", config)
	}
	if boosted := doc.Find("[hx-boost=true]"); boosted.Length() != 0 {
		t.Error("something is boosted")
	}
}

func TestTenant(t *testing.T) {
	doc := parse(t, layout.Full(layout.Shell{User: tenant, Path: "/"}, layout.Page{Title: "Overview", Area: layout.Overview}, body))
	if diff := cmp.Diff([]string{"Overview", "Costs", "Scopes"}, texts(doc.Find("nav[aria-label=Main] li a"))); diff != "" {
		t.Error(diff)
	}
	if doc.Find("form[role=search]").Length() != 1 {
		t.Error("a tenant can't search")
	}
	if doc.Find("nav[aria-label=Breadcrumb]").Length() != 0 {
		t.Error("the first page has a way to it")
	}
}

func TestOutside(t *testing.T) {
	doc := parse(t, layout.Full(layout.Shell{Path: "/sign-in", Flash: &layout.Flash{Text: "no", Wrong: true}}, layout.Page{Title: "Sign in"}, body))
	if doc.Find("nav, form, .rail").Length() != 0 {
		t.Error("who has not signed in sees navigation")
	}
	if doc.Find("main h1").Text() != "Sign in" || doc.Find("main p").Text() != "the body" || doc.Find("#flash .flash-wrong").Text() == "" {
		t.Error("something is missing")
	}
}

func TestFragment(t *testing.T) {
	var b strings.Builder
	page := layout.Page{Title: "Costs <all>", Area: layout.Costs, Action: &layout.Action{Label: "Export", Path: "/costs.csv"}}
	if err := layout.Fragment(layout.Shell{User: ada}, page, body).Render(link.WithBase(t.Context(), "/base"), &b); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	if !strings.HasPrefix(got, "<title>Costs &lt;all&gt; · Ratebook</title>") || !strings.HasSuffix(got, "<p>the body</p>") {
		t.Errorf("the fragment is %s", got)
	}
	for _, unwanted := range []string{"<html", "<main", "<nav", "id=\"flash\""} {
		if strings.Contains(got, unwanted) {
			t.Errorf("the fragment has %s, which stays where it is", unwanted)
		}
	}
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	if doc.Find("h1").Length() != 1 || doc.Find("a[href='/base/costs.csv']").Length() != 1 {
		t.Error("the heading is not part of the fragment")
	}
}

func TestBreadcrumb(t *testing.T) {
	tests := []struct {
		page layout.Page
		want []string
	}{
		{layout.Page{Title: "Costs", Area: layout.Costs}, nil},
		{layout.Page{Title: "Genomics", Area: layout.Scopes}, []string{"Scopes", "Genomics"}},
		{layout.Page{Title: "Rules", Area: layout.Scopes, Crumbs: []layout.Crumb{{Label: "Genomics", Path: "/scopes/1"}}}, []string{"Scopes", "Genomics", "Rules"}},
		{layout.Page{Title: "Genomics", Area: layout.Scopes, Crumbs: []layout.Crumb{{Label: "Scopes", Path: "/scopes"}}}, []string{"Scopes", "Genomics"}},
		{layout.Page{Title: "Search"}, nil},
		{layout.Page{Title: "November", Area: layout.Overview}, nil},
	}
	for _, tt := range tests {
		doc := parse(t, layout.Full(layout.Shell{User: ada}, tt.page, body))
		if got := texts(doc.Find("nav[aria-label=Breadcrumb] li")); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %q, want %q", tt.page, got, tt.want)
		}
	}
}
