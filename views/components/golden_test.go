package components_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
	"github.com/a-h/templ"
	"github.com/google/go-cmp/cmp"

	"ratebook/money"
	"ratebook/views/components"
	"ratebook/views/gallery"
	"ratebook/views/link"
)

var update = flag.Bool("update", false, "write what components render into testdata")

func render(t *testing.T, c templ.Component) string {
	t.Helper()
	var b strings.Builder
	if err := c.Render(link.WithBase(t.Context(), "/base"), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func parse(t *testing.T, c templ.Component) *goquery.Document {
	t.Helper()
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(render(t, c)))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// pretty puts each tag on a line of its own, so that a difference can be read.
func pretty(html string) string { return strings.ReplaceAll(html, "><", ">\n<") + "\n" }

func TestGolden(t *testing.T) {
	known := map[string]bool{}
	for _, g := range gallery.Groups() {
		for _, f := range g.Fixtures {
			if known[f.Name] {
				t.Errorf("two fixtures are called %s", f.Name)
			}
			known[f.Name] = true
			t.Run(f.Name, func(t *testing.T) {
				path := filepath.Join("testdata", f.Name+".html")
				got := pretty(render(t, f.Component))
				if *update {
					if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("%s (-want +got; run with -update to accept it):\n%s", path, diff)
				}
			})
		}
	}
	paths, err := filepath.Glob(filepath.Join("testdata", "*.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if !known[strings.TrimSuffix(filepath.Base(path), ".html")] {
			t.Errorf("%s is of no fixture", path)
		}
	}
}

// What holds for every component in every state.
func TestManners(t *testing.T) {
	for _, g := range gallery.Groups() {
		for _, f := range g.Fixtures {
			t.Run(f.Name, func(t *testing.T) { checkManners(t, parse(t, f.Component)) })
		}
	}
	t.Run("page", func(t *testing.T) {
		doc := parse(t, gallery.Page())
		if got := doc.Find("section").Length(); got <= len(gallery.Groups()) {
			t.Errorf("the gallery has %d sections for %d groups", got, len(gallery.Groups()))
		}
		doc.Find("*").Each(func(_ int, e *goquery.Selection) { checkAttributes(t, e) })
	})
}

func checkManners(t *testing.T, doc *goquery.Document) {
	ids := map[string]bool{}
	doc.Find("[id]").Each(func(_ int, e *goquery.Selection) {
		if id := e.AttrOr("id", ""); ids[id] {
			t.Errorf("two elements have the id %q", id)
		} else {
			ids[id] = true
		}
	})
	doc.Find("[aria-describedby], [list], label[for]").Each(func(_ int, e *goquery.Selection) {
		for _, id := range strings.Fields(e.AttrOr("aria-describedby", "") + " " + e.AttrOr("list", "") + " " + e.AttrOr("for", "")) {
			if !ids[id] {
				t.Errorf("%s points to #%s, which is not there", goquery.NodeName(e), id)
			}
		}
	})
	doc.Find("*").Each(func(_ int, e *goquery.Selection) {
		checkAttributes(t, e)
		switch name := goquery.NodeName(e); name {
		case "svg":
			_, labelled := e.Attr("aria-label")
			if hidden := e.AttrOr("aria-hidden", "") == "true"; hidden == labelled {
				t.Error("a drawing is either for all, with a label, or hidden from those who can't see it")
			}
		case "a":
			if href := e.AttrOr("href", ""); !strings.HasPrefix(href, "/base/") && !strings.HasPrefix(href, "/scopes/") {
				t.Errorf("a link leads to %q, which is not below the base", href)
			}
		case "input", "select", "textarea":
			if doc.Find("label[for='"+e.AttrOr("id", "")+"']").Length() != 1 {
				t.Errorf("the field %q has no label", e.AttrOr("name", ""))
			}
		case "th":
			if e.AttrOr("scope", "") == "" {
				t.Errorf("the heading %q does not say of what", e.Text())
			}
		case "table":
			if e.Find("caption").Length() != 1 {
				t.Error("a table has no caption")
			}
		}
	})
}

// checkAttributes keeps out what the content security policy forbids.
func checkAttributes(t *testing.T, e *goquery.Selection) {
	for _, a := range e.Nodes[0].Attr {
		if a.Key == "style" || strings.HasPrefix(a.Key, "on") || strings.HasPrefix(a.Key, "hx-on") {
			t.Errorf("%s has the attribute %s", goquery.NodeName(e), a.Key)
		}
		if strings.Contains(a.Val, "NaN") || a.Val == "<nil>" {
			t.Errorf("%s has %s=%q", goquery.NodeName(e), a.Key, a.Val)
		}
	}
}

func TestSortHeading(t *testing.T) {
	row := func(s components.Sorted) *goquery.Selection {
		doc, err := goquery.NewDocumentFromReader(strings.NewReader("<table><tr>" + render(t, components.SortHeading(s)) + "</tr></table>"))
		if err != nil {
			t.Fatal(err)
		}
		return doc.Find("th")
	}
	plain := row(components.Sorted{Label: "Scope", Path: "/costs?sort=scope"})
	if _, ok := plain.Attr("aria-sort"); ok {
		t.Error("a column by which nothing is sorted says aria-sort")
	}
	if a := plain.Find("a"); a.AttrOr("hx-get", "") != "" || a.AttrOr("href", "") != "/base/costs?sort=scope" {
		t.Errorf("without a target the heading is %s", render(t, components.SortHeading(components.Sorted{Label: "Scope", Path: "/costs?sort=scope"})))
	}
	sorted := row(components.Sorted{Label: "Cost", Path: "/costs?sort=cost", Order: "descending", Target: "#report", Number: true})
	if got := sorted.AttrOr("aria-sort", ""); got != "descending" {
		t.Errorf("aria-sort is %q", got)
	}
	a := sorted.Find("a")
	for name, want := range map[string]string{
		"href": "/base/costs?sort=cost", "hx-get": "/base/costs?sort=cost", "hx-target": "#report", "hx-swap": "outerHTML", "hx-push-url": "true",
		"id": "report-sort-cost", // so that the focus finds it again
	} {
		if got := a.AttrOr(name, ""); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := row(components.Sorted{Label: "Cost", Target: "#main"}).Find("a").AttrOr("hx-swap", ""); got != "innerHTML" {
		t.Errorf("#main is swapped by %q; its element has to stay", got)
	}
}

func TestPager(t *testing.T) {
	pages := components.Pages{Page: 2, Pages: 7, PerPage: 50, Rows: 312, What: "groups", Path: func(n int) string { return "/costs?page=" + money.New(int64(n), 0).String() }}
	doc := parse(t, components.Pager(pages))
	if got := doc.Find("nav p").Text(); got != "51–100 of 312 groups" {
		t.Errorf("the pager says %q", got)
	}
	want := []string{"/base/costs?page=1", "/base/costs?page=1", "/base/costs?page=3"}
	got := doc.Find("a").Map(func(_ int, a *goquery.Selection) string { return a.AttrOr("href", "") })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	pages.Page = 7
	doc = parse(t, components.Pager(pages))
	if got := doc.Find("nav p").Text(); got != "301–312 of 312 groups" {
		t.Errorf("the last page says %q", got)
	}
	if got := doc.Find("[aria-disabled]").Text(); got != "Next" {
		t.Errorf("on the last page %q leads nowhere", got)
	}
	pages.Page, pages.Pages = 1, 1
	if got := render(t, components.Pager(pages)); got != "" {
		t.Errorf("a list of one page has a pager: %s", got)
	}
}

func TestField(t *testing.T) {
	doc := parse(t, components.Field(components.Input{
		Name: "cost", Label: "Price", Value: `0,"035`, Help: "Decimals with a point.", Error: "no number",
		Unit: "EUR", Required: true,
	}))
	input := doc.Find("input")
	for name, want := range map[string]string{"value": `0,"035`, "aria-invalid": "true", "aria-describedby": "cost-help cost-error", "type": "text"} {
		if got := input.AttrOr(name, ""); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := strings.TrimSpace(doc.Find("#cost-error").Text()); got != "no number" {
		t.Errorf("the error is %q", got)
	}
	password := render(t, components.Field(components.Input{Name: "password", Label: "Password", Type: "password", Value: "s3cret"}))
	if strings.Contains(password, "s3cret") {
		t.Error("a password is sent back")
	}
}

func TestFormError(t *testing.T) {
	if got := render(t, components.FormError("")); got != "" {
		t.Errorf("there is an error without a message: %s", got)
	}
	e := parse(t, components.FormError("no")).Find("[role=alert]")
	if e.AttrOr("tabindex", "") != "-1" {
		t.Error("the message can't have the focus")
	}
}

func TestChartIsReadAloud(t *testing.T) {
	chart := components.Chart{
		Title: "Cost by day", Currency: "EUR",
		Buckets: []components.Bucket{{Label: "1", Title: "Sun 1 Nov 2026", Path: "/costs?day=1"}, {Label: "2", Title: "Mon 2 Nov 2026"}},
		Series: []components.Series{
			{Name: "cpu", Values: []money.Decimal{money.New(1, 0), money.New(25, 1)}},
			{Name: "gpu", Color: 3, Path: "/costs?metric=gpu", Values: []money.Decimal{money.New(-5, 1)}}, // shorter than the axis
		},
	}
	doc := parse(t, components.StackedBars(chart))
	if got := doc.Find("figure").AttrOr("aria-label", ""); got != "Cost by day" {
		t.Errorf("the chart is called %q", got)
	}
	titles := doc.Find(".bar > title").Map(func(_ int, e *goquery.Selection) string { return e.Text() })
	if diff := cmp.Diff([]string{"Sun 1 Nov 2026: 0.50 EUR\ngpu: −0.50\ncpu: 1.00", "Mon 2 Nov 2026: 2.50 EUR\ncpu: 2.50"}, titles); diff != "" {
		t.Error(diff)
	}
	legend := doc.Find(".legend li").Map(func(_ int, e *goquery.Selection) string { return strings.TrimSpace(e.Text()) })
	if diff := cmp.Diff([]string{"cpu", "gpu"}, legend); diff != "" {
		t.Error(diff)
	}
	ticks := doc.Find(".chart-y li").Map(func(_ int, e *goquery.Selection) string { return e.Text() })
	if diff := cmp.Diff([]string{"3", "2", "1", "0", "−1"}, ticks); diff != "" {
		t.Error(diff)
	}
}
