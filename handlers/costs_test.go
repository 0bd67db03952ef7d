package handlers

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"pgregory.net/rapid"

	"ratebook/access"
	"ratebook/costs"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rollup"
	"ratebook/web"
)

// costsCharge is what fakeCosts sums.
type costsCharge struct {
	at         time.Time
	labels     costs.Labels
	qty, price money.Decimal
}

// fakeCosts answers reports from charges in the order of time, as the store does, and what else the page asks.
type fakeCosts struct {
	zone          *time.Location
	charges       []costsCharge
	states        []metering.ScopeState
	metrics       []*metering.Metric
	version       string
	stable        bool
	asked         []costs.Query
	report        func(ctx context.Context, q *costs.Query, yield func(costs.Row) error) (costs.Total, error) // nil: of charges
	configuration error
	reading       func() // runs after the states were read
	kept          metering.Retention
}

func (f *fakeCosts) Retention(context.Context) (metering.Retention, error) { return f.kept, nil }

func (f *fakeCosts) Report(ctx context.Context, q *costs.Query, yield func(costs.Row) error) (costs.Total, error) {
	f.asked = append(f.asked, *q)
	if err := q.Validate(); err != nil {
		return costs.Total{}, err
	}
	if f.report != nil {
		return f.report(ctx, q, yield)
	}
	g := costs.NewGrouper(q, f.zone, yield)
	for i := range f.charges {
		c := &f.charges[i]
		if !q.Range.Contains(c.at) {
			continue
		}
		key := g.Key(&c.labels)
		if err := g.At(c.at); err != nil {
			return costs.Total{}, err
		}
		g.Add(key, &rollup.Sums{Points: 1, Qty: c.qty, Price: c.price})
	}
	return g.Close()
}

func (f *fakeCosts) ReportVersion(context.Context) (string, bool, error) {
	return f.version, f.stable, nil
}

func (f *fakeCosts) Configuration(context.Context, int64) (*metering.Configuration, error) {
	return &metering.Configuration{Version: 1, Metrics: f.metrics}, f.configuration
}

func (f *fakeCosts) ScopeStates(context.Context) ([]metering.ScopeState, error) {
	if f.reading != nil {
		f.reading()
	}
	return f.states, nil
}

// costsNow is a Saturday afternoon.
var costsNow = time.Date(2026, 11, 21, 14, 30, 0, 0, time.UTC)

func costsZone(name string) *time.Location {
	zone, err := period.ParseZone(name)
	if err != nil {
		panic(err)
	}
	return zone
}

var berlinZone = costsZone("Europe/Berlin")

// newFakeCosts has two scopes of one name, and one without, with usage of October and November.
func newFakeCosts() *fakeCosts {
	f := &fakeCosts{
		zone: berlinZone, version: "1", stable: true,
		metrics: []*metering.Metric{
			{Name: "cpu", Unit: "vcpu", Groupby: []string{"flavor", "region"}, Metadata: []string{"host"}},
			{Name: "disk", Unit: "GiB", Groupby: []string{"region"}},
		},
	}
	names := map[string]string{"a1": "Genomics", "b2": "Genomics", "c3x": ""}
	for _, id := range []string{"a1", "b2", "c3x"} {
		f.states = append(f.states, metering.ScopeState{
			Scope: &metering.Scope{ID: id, Name: names[id], Active: true}, ProcessedTo: costsNow.Truncate(time.Hour).Add(-time.Hour), PlannedTo: costsNow.Truncate(time.Hour),
		})
	}
	for day := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC); day.Before(costsNow); day = day.Add(7 * time.Hour) {
		for i, id := range []string{"a1", "b2", "c3x"} {
			cpu := costs.Labels{Scope: id, ScopeName: names[id], Metric: "cpu", Unit: "vcpu", Groupby: metering.Attributes{{Name: "flavor", Value: "m" + strconv.Itoa(day.Day()%3)}, {Name: "region", Value: "north"}}}
			disk := costs.Labels{Scope: id, ScopeName: names[id], Metric: "disk", Unit: "GiB", Groupby: metering.Attributes{{Name: "region", Value: "south"}}}
			f.charges = append(f.charges,
				costsCharge{day, cpu, money.New(int64(i+1), 0), money.New(int64(day.Day()*7919+i), 6)},
				costsCharge{day, disk, money.New(5, 1), money.New(int64(i*31+1), 12)})
		}
	}
	return f
}

func (f *fakeCosts) total() money.Decimal {
	var sum money.Decimal
	for i := range f.charges {
		sum.Accumulate(&f.charges[i].price)
	}
	return sum
}

type costsUsers map[string]access.User

func (u costsUsers) User(_ context.Context, login string) (access.User, error) {
	user, ok := u[login]
	if !ok {
		return user, fault.New(fault.NotFound, "there is no user %q", login)
	}
	return user, nil
}

var costsPeople = costsUsers{
	"viewer": {Login: "viewer", Role: access.Viewer},
	"tenant": {Login: "tenant", Role: access.Tenant, Scopes: []string{"b2"}},
	"nobody": {Login: "nobody", Role: access.Tenant},
}

// costsRoutes is an area of a test.
type costsRoutes func(r *web.Router)

func (f costsRoutes) Routes(r *web.Router) { f(r) }

// costsTester is a test, or a property's.
type costsTester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// costsSite serves the cost report, and signs someone in at /as/LOGIN.
func costsSite(t costsTester, h *Costs) http.Handler {
	t.Helper()
	signIn := costsRoutes(func(r *web.Router) {
		r.Anyone.GET("/as/:login", func(c echo.Context) error {
			if err := web.SignIn(c, costsPeople[c.Param("login")]); err != nil {
				return err
			}
			return c.NoContent(http.StatusNoContent)
		})
	})
	site, err := web.New(web.Config{Areas: []web.Area{h, signIn}, Sessions: memstore.NewWithCleanupInterval(0), Users: costsPeople, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return site
}

func newTestCosts(f *fakeCosts) *Costs {
	settings := &metering.Settings{Period: time.Hour, ScopeKey: "project_id", Zone: f.zone, Currency: "EUR"}
	return NewCosts(f, f, settings, 2, func() time.Time { return costsNow })
}

// costsBrowser is someone who has signed in.
type costsBrowser struct {
	t    costsTester
	site http.Handler
	jar  []*http.Cookie
}

func costsAs(t costsTester, site http.Handler, login string) *costsBrowser {
	t.Helper()
	w := httptest.NewRecorder()
	site.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/as/"+login, nil))
	if w.Code != http.StatusNoContent {
		t.Fatalf("signing in: %d %s", w.Code, w.Body)
	}
	return &costsBrowser{t, site, w.Result().Cookies()}
}

func (b *costsBrowser) get(path string, headers ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept", "text/html")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	for _, c := range b.jar {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	b.site.ServeHTTP(w, r)
	return w
}

// page gets a page, after redirects.
func (b *costsBrowser) page(path string, status int) *goquery.Document {
	b.t.Helper()
	w := b.get(path)
	for n := 0; w.Code == http.StatusSeeOther && n < 2; n++ {
		w = b.get(w.Header().Get("Location"))
	}
	if w.Code != status {
		b.t.Fatalf("%s: status %d\n%s", path, w.Code, w.Body)
	}
	doc, err := goquery.NewDocumentFromReader(w.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return doc
}

// costsRow is a row of a page's table: its names and exact cost.
type costsRowShown struct{ Names, Cost string }

// costsRowsOf returns the total and the rows of the report's table.
func costsRowsOf(doc *goquery.Document) (total money.Decimal, rows []costsRowShown) {
	doc.Find("#report > .table-wrap tbody tr").Each(func(_ int, tr *goquery.Selection) {
		cost := tr.Find("data.amount").First().AttrOr("value", "")
		if tr.HasClass("total") {
			total = money.MustParse(cost)
			return
		}
		var names []string
		tr.Find("th a, td a").Each(func(_ int, a *goquery.Selection) { names = append(names, a.Text()) })
		rows = append(rows, costsRowShown{strings.Join(names, "/"), cost})
	})
	return total, rows
}

func TestCostsPage(t *testing.T) {
	f := newFakeCosts()
	b := costsAs(t, costsSite(t, newTestCosts(f)), "viewer")
	doc := b.page("/costs", http.StatusOK)
	if h := doc.Find("#report h2").First().Text(); h != "This month: 1–21 Nov 2026" {
		t.Errorf("the range is %q", h)
	}
	_, rows := costsRowsOf(doc)
	want := []costsRowShown{{"c3x", "5.862996000000"}, {"Genomics", ""}, {"Genomics", ""}}
	if len(rows) != len(want) || rows[0].Names != want[0].Names || rows[1].Names != want[1].Names {
		t.Errorf("rows %v", rows)
	}
	// two scopes of one name stay two rows, with their ids on hover
	var ids []string
	doc.Find("#report > .table-wrap tbody th a").Each(func(_ int, a *goquery.Selection) { ids = append(ids, a.AttrOr("title", "")) })
	if diff := cmp.Diff([]string{"c3x", "b2", "a1"}, ids); diff != "" {
		t.Error(diff)
	}
	// a row leads on to the next question
	next := doc.Find("#report > .table-wrap tbody th a").First().AttrOr("href", "")
	if next != "/costs?filter=scope%3Dc3x&group=metric" {
		t.Errorf("a row leads to %s", next)
	}
	for _, step := range []string{"/costs?filter=scope%3Dc3x&filter=metric%3Dcpu&group=flavor", "/costs?filter=scope%3Dc3x&filter=metric%3Dcpu&filter=flavor%3Dm"} {
		doc = b.page(next, http.StatusOK)
		if next = doc.Find("#report > .table-wrap tbody th a").First().AttrOr("href", ""); !strings.HasPrefix(next, step) {
			t.Errorf("a row leads to %s, not %s", next, step)
		}
	}
	// exports: all of it, and the buckets only where named
	var exports []string
	b.page("/costs?sort=name&page=1&group=metric", http.StatusOK).Find(".menu a").Each(func(_ int, a *goquery.Selection) { exports = append(exports, a.AttrOr("href", "")) })
	if diff := cmp.Diff([]string{"/costs.csv?group=metric", "/costs.csv?bucket=day&group=metric", "/costs.json?group=metric", "/costs.json?bucket=day&group=metric"}, exports); diff != "" {
		t.Error(diff)
	}
	// a month's bar leads to its days, a day's to its hours
	if href := b.page("/costs?range=last-12-months", http.StatusOK).Find(".chart a.bar").Last().AttrOr("href", ""); href != "/costs?from=2026-11-01&to=2026-11-21" {
		t.Errorf("a month leads to %s", href)
	}
	if href := b.page("/costs", http.StatusOK).Find(".chart a.bar").First().AttrOr("href", ""); href != "/costs?from=2026-11-01&to=2026-11-01" {
		t.Errorf("a day leads to %s", href)
	}
	if href := b.page("/costs?from=2026-11-01&to=2026-11-01", http.StatusOK).Find(".chart a.bar").First().AttrOr("href", ""); href != "/costs?begin=2026-10-31T23%3A00%3A00Z&bucket=none&end=2026-11-01T00%3A00%3A00Z" {
		t.Errorf("an hour leads to %s", href)
	}
	// hours are labelled by the day, those of one day by the quarter
	for path, want := range map[string]string{
		"/costs?bucket=hour&from=2026-11-01&to=2026-11-03":                               "Sun 1 Nov,Mon 2 Nov,Tue 3 Nov",
		"/costs?bucket=hour&from=2026-11-01&to=2026-11-01":                               "00:00,06:00,12:00,18:00",
		"/costs?bucket=hour&begin=2026-11-01T04%3A00%3A00Z&end=2026-11-01T08%3A00%3A00Z": "05:00,06:00,07:00,08:00",
	} {
		labels := b.page(path, http.StatusOK).Find(".chart-x text").Map(func(_ int, e *goquery.Selection) string { return e.Text() })
		if got := strings.Join(labels, ","); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}

func TestCostsFragment(t *testing.T) {
	f := newFakeCosts()
	b := costsAs(t, costsSite(t, newTestCosts(f)), "viewer")
	w := b.get("/costs?group=metric", "HX-Request", "true")
	text := w.Body.String()
	if w.Code != http.StatusOK || strings.Contains(text, "<h1") || !strings.Contains(text, `id="report"`) {
		t.Errorf("%d %.300s", w.Code, text)
	}
}

func TestCostsRedirect(t *testing.T) {
	f := newFakeCosts()
	b := costsAs(t, costsSite(t, newTestCosts(f)), "viewer")
	for in, want := range map[string]string{
		"/costs?range=this-month&group=scope&group=&bucket=": "/costs",
		"/costs?fkey=flavor&fvalue=m1":                       "/costs?filter=flavor%3Dm1",
		"/costs?fkey=scope&fvalue=a1&filter=scope%3Db2":      "/costs?filter=scope%3Db2&filter=scope%3Da1",
		"/costs?fkey=&fvalue=&group=metric":                  "/costs?group=metric",
	} {
		w := b.get(in)
		if got := w.Header().Get("Location"); w.Code != http.StatusSeeOther || got != want {
			t.Errorf("%s: %d %s", in, w.Code, got)
		}
		if w := b.get(want); w.Code != http.StatusOK {
			t.Errorf("%s: %d", want, w.Code)
		}
	}
}

func TestCostsWrong(t *testing.T) {
	manyFilters := "/costs?range=last-month"
	for i := range 38 {
		manyFilters += fmt.Sprintf("&filter=a=%d%s", 10+i, strings.Repeat("v", 100))
	}
	f := newFakeCosts()
	b := costsAs(t, costsSite(t, newTestCosts(f)), "viewer")
	for in, want := range map[string]string{
		"/costs?from=2026-11-05&to=2026-11-01":                     "#to-error",
		"/costs?bucket=decade":                                     "#bucket-error",
		"/costs?range=x":                                           "#range-error",
		"/costs?fvalue=m1":                                         "#fkey-error",
		"/costs?fkey=flavor":                                       "#fvalue-error",
		"/costs?page=x":                                            ".form-error",
		"/costs?nonsense=1":                                        ".form-error",
		"/costs?fkey=a%3Db&fvalue=c":                               "#fkey-error", // would become the filter a is "b=c"
		"/costs/values?fkey=a%3Db":                                 "#fkey-error",
		"/costs?fvalue=c&fkey=" + strings.Repeat("k", 256):         "#fkey-error",
		"/costs?fkey=a&fvalue=" + strings.Repeat("v", 256):         "#fvalue-error",
		manyFilters + "&fkey=a&fvalue=" + strings.Repeat("c", 100): "#fvalue-error",
	} {
		doc := b.page(in, http.StatusUnprocessableEntity)
		if doc.Find("#report "+want).Text() == "" || doc.Find(".table-wrap").Length() > 0 {
			t.Errorf("%s: no %s, or a report", in, want)
		}
	}
	doc := b.page("/costs?from=2026-11-05&to=2026-11-01", http.StatusUnprocessableEntity)
	if doc.Find("#from").AttrOr("value", "") != "2026-11-05" || doc.Find("#to").AttrOr("value", "") != "2026-11-01" {
		t.Error("what was typed is lost")
	}
	if w := b.get("/costs?filter=%zz"); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a damaged address: %d", w.Code)
	}
	if w := b.get("/costs.csv?bucket=decade"); w.Code != http.StatusUnprocessableEntity || w.Header().Get("Content-Disposition") != "" {
		t.Errorf("a wrong file: %d %v", w.Code, w.Header())
	}
	if len(f.asked) > 0 {
		t.Error("the store was asked")
	}
}

// TestCostsLongAddress holds that the page does not repeat, in all its links, whatever length is sent.
func TestCostsLongAddress(t *testing.T) {
	f := newFakeCosts()
	b := costsAs(t, costsSite(t, newTestCosts(f)), "viewer")
	text := func(n int) string { return strings.Repeat("ü", n) }
	long := func(name, each string, n int) (all string) {
		for i := range n {
			all += fmt.Sprintf("&%s=%s%d", name, each, i)
		}
		return "/costs?" + all[1:]
	}
	for path, want := range map[string]string{
		"/costs?filter=" + text(256) + "=a":    "filter",
		"/costs?filter=a=" + text(256):         "filter",
		"/costs?filter=" + text(7000):          "filter",
		long("filter", "flavor="+text(250), 8): "filter",
		"/costs?group=" + text(256):            "group",
		long("group", text(250), 9):            "group",
		"/costs?fvalue=a&fkey=" + text(7000):   "fkey",
	} {
		for _, path := range []string{path, strings.Replace(path, "/costs?", "/costs.json?", 1)} {
			if strings.HasPrefix(path, "/costs.json?fvalue") {
				continue
			}
			w := b.get(path)
			if w.Code != http.StatusUnprocessableEntity || w.Body.Len() > 30_000+2*len(path) {
				t.Errorf("%.60s: %d, %d bytes", path, w.Code, w.Body.Len())
			}
			if strings.HasPrefix(path, "/costs.json") && !strings.Contains(w.Body.String(), `"`+want+`"`) {
				t.Errorf("%.60s: %.300s", path, w.Body)
			}
		}
	}
	for _, path := range []string{"/costs?filter=" + text(255) + "=" + text(255), "/costs?group=" + text(255)} {
		b.page(path, http.StatusOK)
	}
}

func TestCostsFaces(t *testing.T) {
	f := newFakeCosts()
	h := newTestCosts(f)
	b := costsAs(t, costsSite(t, h), "viewer")
	face := func(path string, status int) (text, next string) {
		doc := b.page(path, status)
		return doc.Find("#report .face, #report .partial").Text(), doc.Find("#report .face a, #report .partial a").First().AttrOr("href", "")
	}
	for _, c := range []struct {
		name       string
		change     func()
		path       string
		status     int
		text, next string
	}{
		{"elsewhere", func() {}, "/costs?from=2025-01-01&to=2025-01-31", 200, "Nothing was charged in January 2025", "/costs?from=2026-11-01&to=2026-11-30"},
		{"filtered", func() {}, "/costs?filter=flavor%3Dxxl", 200, "Nothing passes the filters", "/costs"},
		{"partial", func() { f.states[0].ProcessedTo = costsNow.Add(-6 * time.Hour) }, "/costs", 200, "The charges of Genomics are complete only up to 21 Nov 2026, 09:30.", "/scopes"},
		{"as it should be", func() {}, "/costs?range=last-month", 200, "", ""},
		{"failed", func() {
			f.report = func(context.Context, *costs.Query, func(costs.Row) error) (costs.Total, error) {
				return costs.Total{}, fault.New(fault.Unavailable, "The database does not answer.")
			}
		}, "/costs?group=metric", 503, "The database does not answer.", "/scopes"},
		{"nothing at all", func() {
			f.report, f.charges = nil, nil
			for i := range f.states {
				f.states[i].ProcessedTo, f.states[i].PlannedTo = time.Time{}, time.Time{}
			}
		}, "/costs", 200, "Nothing has been processed yet", "/scopes"},
	} {
		c.change()
		text, next := face(c.path, c.status)
		if !strings.Contains(text, c.text) || next != c.next || c.text == "" && text != "" {
			t.Errorf("%s: %q, to %s", c.name, text, next)
		}
	}
	f.report = func(context.Context, *costs.Query, func(costs.Row) error) (costs.Total, error) {
		return costs.Total{}, errors.New("secret of the database")
	}
	if w := b.get("/costs"); w.Code != 500 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("a mistake of ours: %d", w.Code)
	}
}

func TestCostsTooManyBuckets(t *testing.T) {
	f := newFakeCosts()
	b := costsAs(t, costsSite(t, newTestCosts(f)), "viewer")
	doc := b.page("/costs?from=0002-01-01&to=9997-12-31&bucket=hour", http.StatusOK)
	if total, _ := costsRowsOf(doc); !strings.Contains(doc.Find("#report .note").Text(), "coarser") || doc.Find(".chart").Length() > 0 || !total.Equal(f.total()) {
		t.Errorf("total %s of %s", total, f.total())
	}
}

// TestCostsApart holds that a tenant learns nothing of others' scopes.
func TestCostsApart(t *testing.T) {
	f := newFakeCosts()
	f.charges = append(f.charges, costsCharge{costsNow.Add(-3 * time.Hour), costs.Labels{Scope: "a1", ScopeName: "Genomics", Metric: "secret", Groupby: metering.Attributes{{Name: "flavor", Value: "covert"}}}, money.New(1, 0), money.New(1, 0)})
	f.states[0].ProcessedTo, f.states[0].Scope.Name = costsNow.Add(-50*time.Hour), "Secret"
	site := costsSite(t, newTestCosts(f))
	b := costsAs(t, site, "tenant")
	for _, path := range []string{
		"/costs", "/costs?group=metric", "/costs?group=flavor", "/costs?filter=scope%3Da1", "/costs?filter=scope%3Da1&filter=scope%3Db2", "/costs?filter=scope_name%3DSecret",
		"/costs?from=2020-01-01&to=2020-01-31", "/costs?group=none&bucket=none", "/costs/values?fkey=scope", "/costs/values?fkey=flavor", "/costs/values?fkey=metric&filter=scope%3Da1",
		"/costs.csv", "/costs.csv?group=metric&group=flavor", "/costs.json?group=scope_name", "/costs.csv?filter=scope%3Da1",
	} {
		w := b.get(path)
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
		text := w.Body.String()
		for _, foreign := range []string{"Secret", "secret", "covert", "c3x"} {
			if strings.Contains(strings.ReplaceAll(text, "filter=scope_name%3DSecret", ""), foreign) && !(foreign == "Secret" && strings.Contains(path, foreign)) {
				t.Errorf("%s tells of %s", path, foreign)
			}
		}
		for _, q := range f.asked {
			if len(q.Filters) == 0 || !slices.Equal(q.Filters[len(q.Filters)-1].Values, []string{"b2"}) {
				t.Errorf("%s asked %v", path, q.Filters)
			}
		}
	}
	if w := b.get("/costs?filter=scope%3Da1"); !strings.Contains(w.Body.String(), "Nothing passes the filters") {
		t.Error("a foreign scope is not like one that is not there")
	}
	f.asked = nil
	b = costsAs(t, site, "nobody")
	for _, path := range []string{"/costs", "/costs?group=metric", "/costs/values?fkey=scope", "/costs.csv", "/costs.json"} {
		if w := b.get(path); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "Genomics") {
			t.Errorf("%s for someone without scopes: %d", path, w.Code)
		}
	}
	if len(f.asked) > 0 {
		t.Error("the store was asked for someone without scopes")
	}
	w := httptest.NewRecorder()
	site.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/costs.csv", nil))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("a file for anyone: %d", w.Code)
	}
}

func TestCostsNotModified(t *testing.T) {
	f := newFakeCosts()
	h := newTestCosts(f)
	now := costsNow
	h.now = func() time.Time { return now }
	b := costsAs(t, costsSite(t, h), "viewer")
	tag := b.get("/costs").Header().Get("ETag")
	if tag == "" || b.get("/costs", "If-None-Match", tag).Code != http.StatusNotModified {
		t.Error("the page is not kept")
	}
	for name, change := range map[string]func(){
		"time":     func() { now = now.Add(time.Hour) },
		"report":   func() { f.version = "2" },
		"partial":  func() { f.states[1].ProcessedTo = costsNow.Add(-8 * time.Hour) },
		"unstable": func() { f.stable = false },
	} {
		tag = b.get("/costs").Header().Get("ETag")
		change()
		if w := b.get("/costs", "If-None-Match", tag); w.Code != http.StatusOK {
			t.Errorf("%s: %d", name, w.Code)
		}
		f.stable = true
	}

	// what changes after a page's names are read has another version
	f.reading = func() { f.version, f.reading = "renamed", nil }
	old := b.get("/costs").Header().Get("ETag")
	if w := b.get("/costs", "If-None-Match", old); w.Code != http.StatusOK {
		t.Errorf("an old name with the new version: %d", w.Code)
	}
}

func TestCostsValues(t *testing.T) {
	f := newFakeCosts()
	b := costsAs(t, costsSite(t, newTestCosts(f)), "viewer")
	links := func(path string) (all []string) {
		b.page(path, http.StatusOK).Find("#values th a").Each(func(_ int, a *goquery.Selection) {
			all = append(all, a.Text()+" "+a.AttrOr("href", ""))
		})
		return all
	}
	if diff := cmp.Diff([]string{"cpu /costs?filter=metric%3Dcpu", "disk /costs?filter=metric%3Ddisk"}, links("/costs/values?fkey=metric")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Genomics /costs?filter=scope%3Db2", "Genomics /costs?filter=scope%3Da1"}, links("/costs/values?fkey=scope&fvalue=gen")); diff != "" {
		t.Error(diff)
	}
	// what is filtered by already can be widened
	if diff := cmp.Diff([]string{"disk /costs?filter=metric%3Dcpu&filter=metric%3Ddisk"}, links("/costs/values?fkey=metric&fvalue=D&filter=metric%3Dcpu")); diff != "" {
		t.Error(diff)
	}
	if w := b.get("/costs/values?fkey=metric", "HX-Request", "true"); strings.Contains(w.Body.String(), "Back to the report") || strings.Contains(w.Body.String(), "<title>") || !strings.Contains(w.Body.String(), `id="values"`) {
		t.Errorf("the fragment is %s", w.Body)
	}
	if text := b.page("/costs/values", http.StatusOK).Find("#values").Text(); !strings.Contains(text, "Choose") {
		t.Error(text)
	}
	b.page("/costs/values?fkey=metric&page=x", http.StatusUnprocessableEntity)
}

// TestCostsAgree holds that, for random charges, rows over all pages, the chart's table, CSV and JSON add up to the same,
// however many groups there are.
func TestCostsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &fakeCosts{zone: costsZone(rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "Asia/Kathmandu"}).Draw(t, "zone")), version: "1"}
		start := time.Date(2026, 10, 20, 0, 0, 0, 0, time.UTC)
		groups := rapid.IntRange(1, 130).Draw(t, "groups")
		seed := rapid.Uint64().Draw(t, "seed")
		random := func(n uint64) uint64 { // many, quicker than drawn one by one
			seed = seed*6364136223846793005 + 1442695040888963407
			return (seed >> 33) % n
		}
		for hour := 0; hour < 24*30; hour += 1 + int(random(40)) {
			for range random(6) {
				l := costs.Labels{
					Scope: fmt.Sprint("s", random(uint64(groups))), Metric: fmt.Sprint("m", random(3)), Unit: []string{"h", "GiB"}[random(2)],
					Groupby: metering.Attributes{{Name: "flavor", Value: []string{"", "x", "y,\"z\""}[random(3)]}},
				}
				price := money.New(int64(random(1_000_000_007))-100_000_000, int32(random(13)))
				f.charges = append(f.charges, costsCharge{start.Add(time.Duration(hour) * time.Hour), l, money.New(int64(random(100)), 2), price})
			}
		}
		h := newTestCosts(f)
		h.cells = rapid.SampledFrom([]int{0, 100, mostCells}).Draw(t, "cells")
		v := url.Values{
			"from": {"2026-10-22"}, "to": {"2026-11-18"},
			"group":  rapid.SampledFrom([][]string{{"none"}, {"scope"}, {"scope", "metric"}, {"flavor", "scope"}, {"unit"}, {"month", "scope"}}).Draw(t, "group"),
			"bucket": {rapid.SampledFrom([]string{"none", "hour", "day", "week", "month"}).Draw(t, "bucket")},
			"sort":   {rapid.SampledFrom([]string{"cost", "-cost", "name", "-qty", "points"}).Draw(t, "sort")},
		}
		if rapid.Bool().Draw(t, "filtered") {
			v["filter"] = []string{"metric=m0", "metric=m1"}
		}
		var want money.Decimal
		span := period.Range{Begin: period.StartOf(time.Date(2026, 10, 22, 0, 0, 0, 0, time.UTC), f.zone), End: period.StartOf(time.Date(2026, 11, 19, 0, 0, 0, 0, time.UTC), f.zone)}
		for i := range f.charges {
			if c := &f.charges[i]; span.Contains(c.at) && (v["filter"] == nil || c.labels.Metric != "m2") {
				want.Accumulate(&c.price)
			}
		}
		b := costsAs(t, costsSite(t, h), "viewer")
		doc := b.page("/costs?"+v.Encode(), http.StatusOK)
		if doc.Find("#report .empty").Length() > 0 {
			if !want.IsZero() {
				t.Fatal("the page is empty")
			}
			return
		}
		equal := func(what string, got money.Decimal) {
			t.Helper()
			if !got.Equal(want) {
				t.Errorf("%s is %s, not %s", what, got, want)
			}
		}
		total, rows := costsRowsOf(doc)
		equal("the page's total", total)
		for next := nextPage(doc); next != ""; {
			more := b.page(next, http.StatusOK)
			of, page := costsRowsOf(more)
			equal("the total of another page", of)
			rows, next = append(rows, page...), nextPage(more)
		}
		var sum money.Decimal
		for _, row := range rows {
			sum = sum.Add(money.MustParse(row.Cost))
		}
		equal("the sum of rows", sum)
		if doc.Find(".chart").Length() > 0 {
			sum, sums := money.Decimal{}, money.Decimal{}
			doc.Find(".twin tbody tr").Each(func(i int, tr *goquery.Selection) {
				cells := tr.Find("data.amount")
				last := money.MustParse(cells.Last().AttrOr("value", ""))
				if tr.HasClass("total") {
					equal("the table's total", last)
					return
				}
				sums = sums.Add(last)
				cells.Slice(0, cells.Length()-1).Each(func(_ int, d *goquery.Selection) { sum = sum.Add(money.MustParse(d.AttrOr("value", ""))) })
			})
			equal("the sum of the chart's series", sum)
			equal("the sum of the chart's buckets", sums)
		} else if v.Get("bucket") != "none" {
			t.Error("there is no chart")
		}
		for _, bucket := range []string{"", "none", "day", "month"} {
			v.Set("bucket", bucket)
			records, err := csv.NewReader(b.get("/costs.csv?" + v.Encode()).Body).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			sum = money.Decimal{}
			for _, r := range records[1:] {
				sum = sum.Add(money.MustParse(r[len(r)-2]))
			}
			equal("the CSV's sum", sum)
			var file struct {
				Rows  []struct{ Cost money.Decimal }
				Total struct{ Cost money.Decimal }
			}
			if err := json.NewDecoder(b.get("/costs.json?" + v.Encode()).Body).Decode(&file); err != nil {
				t.Fatal(err)
			}
			equal("the JSON's total", file.Total.Cost)
			if bucket == "" && (len(records) != len(rows)+1 || len(file.Rows) != len(rows)) {
				t.Errorf("%d rows in the CSV, %d in the JSON, %d on the pages", len(records)-1, len(file.Rows), len(rows))
			}
		}
	})
}

func nextPage(doc *goquery.Document) (href string) {
	doc.Find(".pager a").Each(func(_ int, a *goquery.Selection) {
		if a.Text() == "Next" {
			href = a.AttrOr("href", "")
		}
	})
	return href
}

// TestCostsDropped asks for what is not kept any more: the reason stands beside a control, and a day of which no hours are
// left is shown as a whole.
func TestCostsDropped(t *testing.T) {
	f := newFakeCosts()
	november := period.StartOf(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), berlinZone)
	f.kept.ChargesFrom, f.kept.RollupsFrom = november, period.StartOf(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), berlinZone)
	f.report = func(ctx context.Context, q *costs.Query, yield func(costs.Row) error) (costs.Total, error) {
		switch {
		case q.Range.Begin.Before(f.kept.RollupsFrom):
			return costs.Total{}, fault.New(fault.Invalid, "too early")
		case q.Bucket == period.Hour && q.Range.Begin.Before(november):
			return costs.Total{}, fault.New(fault.Invalid, "too fine")
		}
		f.report, f.charges = nil, slices.DeleteFunc(f.charges, func(c costsCharge) bool { return c.at.Before(f.kept.RollupsFrom) })
		return f.Report(ctx, q, yield)
	}
	ask := f.report
	b := costsAs(t, costsSite(t, newTestCosts(f)), "viewer")
	for path, want := range map[string]string{
		"/costs?from=2026-10-20&to=2026-10-24&bucket=hour": "#bucket-error",
		"/costs?from=2026-09-20&to=2026-10-20":             "#range-error",
		"/costs/values?range=this-year&fkey=metric":        "#range-error",
	} {
		f.report = ask
		doc := b.page(path, http.StatusUnprocessableEntity)
		if text := doc.Find(want).Text(); !strings.Contains(text, "too ") || doc.Find(".table-wrap").Length() > 0 {
			t.Errorf("%s: %q at %s", path, text, want)
		}
	}
	f.report = ask
	b.page("/costs?from=2026-10-20&to=2026-10-20", http.StatusOK)
	f.report = ask
	b.page("/costs?from=2026-11-20&to=2026-11-20&bucket=hour", http.StatusOK)
	f.report = ask
	if w := b.get("/costs.csv?from=2026-10-20&to=2026-10-20&bucket=hour"); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "Too fine") {
		t.Errorf("a file: %d %s", w.Code, w.Body)
	}
	f.report = func(ctx context.Context, q *costs.Query, yield func(costs.Row) error) (costs.Total, error) {
		f.report = ask // for what was charged last
		return costs.NewGrouper(q, f.zone, yield).Close()
	}
	b.page("/costs?from=2026-10-20&to=2026-10-20", http.StatusOK) // nothing there, and it leads to what was charged last
}
