package handlers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/costs"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/rollup"
	"ratebook/web"
)

// ledgerStore is a store in memory for the pages of the month. Its reports are grouped by the real grouper.
type ledgerStore struct {
	zone    *time.Location
	charges []monthCharge
	states  []metering.ScopeState
	windows []metering.Window
	config  []*metering.Metric
	rules   []rating.Rule
	first   map[int64]time.Time
	users   []access.User
	changes []access.Change
	miss    []metering.UnpricedUsage
	kept    metering.Retention
	broken  map[string]error // by method
	version string
	panics  bool // in Report
	asked   map[string]int
	queries []costs.Query
	mu      sync.Mutex // of what was asked
}

type monthCharge struct {
	scope, metric string
	begin         time.Time
	cost          string
}

func (s *ledgerStore) Retention(context.Context) (metering.Retention, error) {
	return s.kept, s.ask("Retention")
}

func (s *ledgerStore) ask(method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == nil {
		s.asked = map[string]int{}
	}
	s.asked[method]++
	return s.broken[method]
}

func (s *ledgerStore) Report(_ context.Context, q *costs.Query, yield func(costs.Row) error) (costs.Total, error) {
	if err := s.ask("Report"); err != nil {
		return costs.Total{}, err
	}
	if err := q.Validate(); err != nil {
		return costs.Total{}, err
	}
	s.mu.Lock()
	s.queries = append(s.queries, *q)
	s.mu.Unlock()
	if s.panics {
		panic("a mistake")
	}
	g := costs.NewGrouper(q, s.zone, yield)
	charges := slices.Clone(s.charges)
	slices.SortStableFunc(charges, func(a, b monthCharge) int { return a.begin.Compare(b.begin) })
	for _, c := range charges {
		if !q.Range.Contains(c.begin) {
			continue
		}
		if err := g.At(c.begin); err != nil {
			return costs.Total{}, err
		}
		if key := g.Key(&costs.Labels{Scope: c.scope, Metric: c.metric, Unit: "h"}); key >= 0 {
			g.Add(key, &rollup.Sums{Points: 1, Price: money.MustParse(c.cost)})
		}
	}
	return g.Close()
}

func (s *ledgerStore) ReportVersion(context.Context) (string, bool, error) {
	return s.version, s.version != "", s.ask("ReportVersion")
}

func (s *ledgerStore) ScopeStates(context.Context) ([]metering.ScopeState, error) {
	return s.states, s.ask("ScopeStates")
}

func (s *ledgerStore) Windows(_ context.Context, scope int64, r period.Range) (all []metering.Window, err error) {
	for _, w := range s.windows {
		if w.Scope == scope && r.Contains(w.Begin) {
			all = append(all, w)
		}
	}
	return all, s.ask("Windows")
}

func (s *ledgerStore) Unpriced(context.Context, period.Range) ([]metering.UnpricedUsage, error) {
	return s.miss, s.ask("Unpriced")
}

func (s *ledgerStore) Configuration(context.Context, int64) (*metering.Configuration, error) {
	return &metering.Configuration{Version: 1, Metrics: s.config}, s.ask("Configuration")
}

func (s *ledgerStore) Rules(context.Context, int64) (*rating.Rules, error) {
	return &rating.Rules{Version: 1, Hashmap: s.rules}, s.ask("Rules")
}

func (s *ledgerStore) FirstSamples(context.Context) (map[int64]time.Time, error) {
	return s.first, s.ask("FirstSamples")
}

func (s *ledgerStore) Users(context.Context) ([]access.User, error) { return s.users, s.ask("Users") }

func (s *ledgerStore) Changes(_ context.Context, f access.ChangeFilter) (all []access.Change, err error) {
	for _, c := range s.changes {
		if (f.Before == 0 || c.ID < f.Before) && len(all) < f.Limit {
			all = append(all, c)
		}
	}
	return all, s.ask("Changes")
}

func (s *ledgerStore) Scopes(context.Context) (all []*metering.Scope, err error) {
	for i := range s.states {
		all = append(all, s.states[i].Scope)
	}
	return all, s.ask("Scopes")
}

// monthSite serves the pages of the month to one user.
type monthSite struct {
	*testing.T
	store    *ledgerStore
	settings *metering.Settings
	now      time.Time
	user     *access.User
	log      bytes.Buffer
	overview *Overview
	echo     *echo.Echo
}

const monthWait = 2

var (
	viewer = &access.User{Login: "vera", Role: access.Viewer}
	tenant = &access.User{Login: "tom", Role: access.Tenant, Scopes: []string{"a"}}
)

func newMonthSite(t *testing.T, store *ledgerStore, zone string, now time.Time) *monthSite {
	t.Helper()
	z, err := period.ParseZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	store.zone = z
	s := &monthSite{
		T: t, store: store, now: now, user: viewer, echo: echo.New(),
		settings: &metering.Settings{Period: time.Hour, ScopeKey: "project_id", Zone: z, Currency: "EUR"},
	}
	clock := func() time.Time { return s.now }
	log := slog.New(slog.NewTextHandler(&s.log, nil))
	s.overview = NewOverview(store, s.settings, monthWait, clock, log)
	s.echo.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error { c.Set("user", s.user); return next(c) }
	})
	s.echo.HTTPErrorHandler = func(err error, c echo.Context) {
		status := http.StatusInternalServerError
		if fault.KindOf(err) == fault.NotFound || errors.Is(err, echo.ErrNotFound) {
			status = http.StatusNotFound
		} else if errors.Is(err, echo.ErrForbidden) {
			status = http.StatusForbidden
		}
		_ = c.String(status, err.Error())
	}
	needs := func(role access.Role) *echo.Group {
		return s.echo.Group("", func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				if !s.user.May(role) {
					return echo.ErrForbidden
				}
				return next(c)
			}
		})
	}
	r := &web.Router{
		Anyone: s.echo.Group(""), Tenant: needs(access.Tenant), Viewer: needs(access.Viewer), Operator: needs(access.Operator), Admin: needs(access.Admin),
	}
	for _, a := range []web.Area{
		s.overview, NewScopes(store, s.settings, monthWait, clock, log), NewMetrics(store, s.settings, monthWait, clock, log),
		NewSettings(store, s.settings), NewSearch(store, s.settings, clock),
	} {
		a.Routes(r)
	}
	return s
}

// monthPage is an answer.
type monthPage struct {
	*testing.T
	*goquery.Document
	status int
	header http.Header
	text   string // with single spaces
}

func (s *monthSite) get(path string, headers ...string) *monthPage {
	s.Helper()
	r := httptest.NewRequestWithContext(s.Context(), http.MethodGet, path, http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.echo.ServeHTTP(w, r)
	doc, err := goquery.NewDocumentFromReader(w.Body)
	if err != nil {
		s.Fatal(err)
	}
	return &monthPage{s.T, doc, w.Code, w.Header(), words(doc.Selection)}
}

// words returns the text of all elements, with a space between them.
func words(s *goquery.Selection) string {
	var b strings.Builder
	var walk func(*goquery.Selection)
	walk = func(s *goquery.Selection) {
		s.Contents().Each(func(_ int, n *goquery.Selection) {
			if goquery.NodeName(n) == "#text" {
				b.WriteString(n.Text() + " ")
			}
			walk(n)
		})
	}
	walk(s)
	return plain(b.String())
}

func plain(s string) string { return strings.Join(strings.Fields(s), " ") }

func (p *monthPage) ok() *monthPage {
	p.Helper()
	if p.status != http.StatusOK {
		p.Fatalf("status %d: %s", p.status, p.text)
	}
	return p
}

func (p *monthPage) says(texts ...string) *monthPage {
	p.Helper()
	for _, t := range texts {
		if !strings.Contains(p.text, t) {
			p.Errorf("the page lacks %q:\n%s", t, p.text)
		}
	}
	return p
}

func (p *monthPage) lacks(texts ...string) *monthPage {
	p.Helper()
	html, _ := p.Html()
	for _, t := range texts {
		if strings.Contains(html, t) {
			p.Errorf("the page has %q:\n%s", t, html)
		}
	}
	return p
}

// table returns the table of a caption that begins so.
func (p *monthPage) table(caption string) *goquery.Selection {
	p.Helper()
	t := p.Find("table").FilterFunction(func(_ int, s *goquery.Selection) bool {
		return strings.HasPrefix(plain(s.Find("caption").Text()), caption)
	})
	if t.Length() != 1 {
		p.Fatalf("%d tables %q: %s", t.Length(), caption, p.text)
	}
	return t
}

// column adds up the amounts of a column of the table's body, from 0.
func (p *monthPage) column(caption string, n int) (sum money.Decimal) {
	p.Helper()
	p.table(caption).Find("tbody tr").Each(func(_ int, tr *goquery.Selection) {
		sum = sum.Add(money.MustParse(tr.Children().Eq(n).Find("data").AttrOr("value", "")))
	})
	return sum
}

func monthRows(t *goquery.Selection) (rows []string) {
	t.Find("tbody tr").Each(func(_ int, tr *goquery.Selection) {
		var cells []string
		tr.Children().Each(func(_ int, td *goquery.Selection) { cells = append(cells, plain(td.Text())) })
		rows = append(rows, strings.Join(cells, " | "))
	})
	return rows
}

func href(s *goquery.Selection) string { return s.AttrOr("href", "") }

func at(s string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", s)
	if err != nil {
		panic(err)
	}
	return t
}

// state returns a scope's state: its number, id, name and how far it is processed.
func state(ref int64, id, name string, to time.Time) metering.ScopeState {
	return metering.ScopeState{
		Scope:       &metering.Scope{Ref: ref, ID: id, Name: name, Active: true, Source: metering.Source{Ref: 1, Name: "default", Kind: "prometheus", ScopeKey: "project_id"}},
		ProcessedTo: to, PlannedTo: to,
	}
}

// sampleMonth is November 2026 up to the 21st, 14:00 UTC, with October before.
func sampleMonth() *ledgerStore {
	done := at("2026-11-21 14:00")
	s := &ledgerStore{
		version: "v1",
		states:  []metering.ScopeState{state(1, "a", "Genomics", done), state(2, "b", "", done), state(3, "c", "Chem <i>", done)},
		config: []*metering.Metric{
			{Ref: 1, Source: "default", Name: "cpu", Measured: "cpu_seconds", Unit: "vcpu", Factor: money.One, Groupby: []string{"flavor"}, Metadata: []string{"region"}},
			{Ref: 2, Source: "default", Name: "ram", Measured: "ram_bytes", Unit: "GiB", Factor: money.One},
		},
		rules: []rating.Rule{{ID: "1b4e28ba-2fa1-11d2-883f-0016d3cca427", Kind: rating.Mapping, Service: "cpu", Field: "flavor", Value: "m1.medium", Type: rating.Flat, Cost: money.MustParse("0.035"), Name: "medium"}},
		first: map[int64]time.Time{1: at("2026-10-01 00:00")},
	}
	for day := at("2026-10-01 05:00"); day.Before(done); day = day.AddDate(0, 0, 1) {
		for i, scope := range []string{"a", "b", "c"} {
			s.charges = append(s.charges,
				monthCharge{scope, "cpu", day, fmt.Sprintf("%d.000000000001", i+1)}, monthCharge{scope, "ram", day, "0.3"})
		}
	}
	s.charges = append(s.charges, monthCharge{"b", "gpu", at("2026-11-20 23:00"), "7.125"})
	return s
}

var monthNow = at("2026-11-21 15:30")

func TestOverviewAddsUp(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/St_Johns"} {
		s := newMonthSite(t, sampleMonth(), zone, monthNow)
		var want money.Decimal
		m := period.Range{Begin: period.StartOf(at("2026-11-01 00:00"), s.settings.Zone), End: period.StartOf(at("2026-12-01 00:00"), s.settings.Zone)}
		for _, c := range s.store.charges {
			if m.Contains(c.begin) {
				want = want.Add(money.MustParse(c.cost))
			}
		}
		p := s.get("/").ok()
		if got := p.Find(".headline-amount data").AttrOr("value", ""); got != want.String() {
			t.Errorf("%s: total %s, want %s", zone, got, want)
		}
		for name, sum := range map[string]money.Decimal{
			"by metric": p.column("By metric", 1), "by scope": p.column("Top scopes", 1), "by day": p.column("Costs by day", 4),
			"by day and metric": p.column("Costs by day", 1).Add(p.column("Costs by day", 2)).Add(p.column("Costs by day", 3)),
		} {
			if !sum.Equal(want) {
				t.Errorf("%s: %s adds up to %s, want %s", zone, name, sum, want)
			}
		}
		if n := p.table("Costs by day").Find("tbody tr").Length(); n != 21 {
			t.Errorf("%s: %d days", zone, n)
		}
	}
}

func TestOverview(t *testing.T) {
	s := newMonthSite(t, sampleMonth(), "UTC", monthNow)
	s.store.states[1].Failed, s.store.states[1].Error = 14, "Prometheus answered 503"
	s.store.states[1].ProcessedTo = at("2026-11-21 08:00")
	s.store.miss = []metering.UnpricedUsage{{Metric: "ram", Points: 1204, Scopes: 3, Last: at("2026-11-21 13:00")}}
	p := s.get("/").ok().says(
		"November 2026 so far", "▲ up", "against 1–21 Oct 2026", "2 of 3 scopes up to date", "1 lagging up to 6 h", "14 windows failed", "The latest costs of 1 scope are missing",
		"b : Prometheus answered 503", "1,204 points of the last 7 days cost 0", "Genomics", "Chem <i>").lacks("Chem <i>", "steps-heading")
	// 21 days of each month, and a bit of gpu besides
	if got := p.Find(".change").Text(); !strings.Contains(plain(got), "▲ up 4.9 %") {
		t.Errorf("change %q", plain(got))
	}
	want := []string{"cpu", "gpu", "ram"}
	var names []string
	links := map[string]string{}
	p.table("By metric").Find("tbody a").Each(func(_ int, a *goquery.Selection) {
		names, links[a.Text()] = append(names, a.Text()), href(a)
	})
	slices.Sort(names)
	if !slices.Equal(names, want) || links["cpu"] != "/costs?filter=metric%3Dcpu&group=scope&range=this-month" {
		t.Errorf("metrics %v %v", names, links)
	}
	if got := href(p.table("Top scopes").Find("tbody a").First()); got != "/scopes/3" {
		t.Errorf("the dearest scope leads to %s", got)
	}
	if got := href(p.table("Costs by day").Find("tbody a").Eq(2)); got != "/costs?bucket=hour&from=2026-11-03&group=metric&to=2026-11-03" {
		t.Errorf("3 Nov leads to %s", got)
	}
	if got := href(p.Find(".headline-amount")); got != "/costs?group=metric&range=this-month" {
		t.Errorf("the total leads to %s", got)
	}
}

// The first hours of a month show the month before: none of the windows of the new one is due yet.
func TestOverviewMonthBegins(t *testing.T) {
	store := sampleMonth()
	for i := range store.states {
		store.states[i].ProcessedTo = at("2026-12-01 00:00")
	}
	s := newMonthSite(t, store, "UTC", at("2026-12-01 01:59"))
	p := s.get("/").ok().says("November 2026", "against 1–30 Oct 2026").lacks("so far")
	if got := href(p.Find(".headline-amount")); got != "/costs?group=metric&range=last-month" {
		t.Errorf("the total leads to %s", got)
	}
	s.now = at("2026-12-01 02:00")
	p = s.get("/").ok().says("Nothing is charged in December 2026 yet")
	if got := href(p.Find(".empty a").First()); got != "/costs?group=metric&range=last-month" {
		t.Errorf("nothing leads to %s", got)
	}
}

func TestSamePoint(t *testing.T) {
	for _, c := range []struct{ zone, until, begin, end string }{
		{"UTC", "2026-11-21 14:00", "2026-10-01 00:00", "2026-10-21 14:00"},
		{"UTC", "2026-11-01 00:00", "2026-10-01 00:00", "2026-10-01 00:00"},
		{"UTC", "2026-12-01 00:00", "2026-11-01 00:00", "2026-11-01 00:00"},
		{"UTC", "2026-03-31 10:00", "2026-02-01 00:00", "2026-03-01 00:00"}, // February ends first
		{"UTC", "2026-01-05 01:00", "2025-12-01 00:00", "2025-12-05 01:00"},
		// Clocks in Berlin went back on 25 Oct 2026: the same time on the wall, an hour more since the month began
		{"Europe/Berlin", "2026-11-26 13:00", "2026-09-30 22:00", "2026-10-26 13:00"},
		{"Europe/Berlin", "2026-11-24 13:00", "2026-09-30 22:00", "2026-10-24 12:00"},
		// whole days stay whole days, also that of 25 hours
		{"Europe/Berlin", "2026-11-25 23:00", "2026-09-30 22:00", "2026-10-25 23:00"},
		// and forward on 29 Mar 2026: 02:30 is not there
		{"Europe/Berlin", "2026-04-29 00:30", "2026-02-28 23:00", "2026-03-29 01:30"},
		// Havana's 1 Nov 2026 has two midnights, its 8 Mar begins at 01:00
		{"America/Havana", "2026-04-08 04:00", "2026-03-01 05:00", "2026-03-08 05:00"},
	} {
		zone, err := period.ParseZone(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		cal := &calendar{Settings: &metering.Settings{Zone: zone, Period: time.Hour}}
		got := cal.samePoint(cal.monthOf(at(c.until)), at(c.until))
		if !got.Begin.Equal(at(c.begin)) || !got.End.Equal(at(c.end)) {
			t.Errorf("%s: up to %s: %s – %s, want %s – %s", c.zone, c.until, got.Begin, got.End, c.begin, c.end)
		}
	}
	// a whole month
	cal := &calendar{Settings: &metering.Settings{Zone: time.UTC}}
	for _, c := range []struct{ month, end string }{{"2026-11-01 00:00", "2026-10-31 00:00"}, {"2026-10-01 00:00", "2026-10-01 00:00"}} {
		m := cal.monthOf(at(c.month))
		if got := cal.samePoint(m, m.End); !got.End.Equal(at(c.end)) {
			t.Errorf("all of %s: %s", c.month, got.End)
		}
	}
}

func TestReached(t *testing.T) {
	m := period.Range{Begin: at("2026-11-01 00:00"), End: at("2026-12-01 00:00")}
	for want, hours := range map[string][]int{
		"2026-11-01 00:00": nil,
		"2026-11-01 05:00": {5},
		"2026-11-01 03:00": {5, 3},       // not most, but half
		"2026-11-01 04:00": {9, 4, 1},    //
		"2026-11-01 06:00": {8, 7, 6, 1}, //
		"2026-12-01 00:00": {9999, 9999},
	} {
		var states []metering.ScopeState
		for i, h := range hours {
			states = append(states, state(int64(i), "x", "", m.Begin.Add(time.Duration(h)*time.Hour)))
		}
		idle := state(99, "idle", "", time.Time{})
		idle.Scope.Active = false
		if got := reached(append(states, idle, idle, idle), m); !got.Equal(at(want)) {
			t.Errorf("%v: %s, want %s", hours, got, want)
		}
	}
	if got := reached([]metering.ScopeState{state(1, "x", "", at("2026-09-01 00:00"))}, m); !got.Equal(m.Begin) {
		t.Errorf("long ago: %s", got)
	}
}

func TestOverviewSteps(t *testing.T) {
	full := sampleMonth()
	for name, c := range map[string]struct {
		store *ledgerStore
		user  *access.User
		says  []string
		lacks []string
	}{
		"nothing at all": {
			&ledgerStore{},
			&access.User{Role: access.Admin},
			[]string{"to do Say what is measured", "ratebook import metrics FILE", "ratebook serve --prometheus-url URL", "Set a price here", "Nothing is charged"},
			[]string{"done"},
		},
		"metrics only, and a viewer can't set prices": {
			&ledgerStore{config: full.config}, viewer,
			[]string{"done Say what is measured 2 configurations of metrics.", "to do Connect a source"},
			[]string{"import metrics", "/pricing/rules/new"},
		},
		"no price": {
			&ledgerStore{config: full.config, states: full.states, charges: []monthCharge{{"a", "cpu", at("2026-11-02 00:00"), "0"}}}, viewer,
			[]string{"done Connect a source of usage 3 scopes are known.", "to do Set a price", "done Wait", "November 2026 so far"},
			nil,
		},
		"all but usage": {
			&ledgerStore{config: full.config, states: full.states, rules: full.rules}, viewer,
			[]string{"done Set a price 1 rule.", "to do Wait for the first windows A window of 1 h is due once 2 such periods have passed"},
			nil,
		},
		"a tenant":                {&ledgerStore{states: full.states}, tenant, []string{"Nothing is charged in November 2026 yet"}, []string{"ratebook ", "pricing", "/metrics"}},
		"a tenant without scopes": {full, &access.User{Role: access.Tenant}, []string{"No scope is yours yet"}, []string{"Genomics", "EUR</"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newMonthSite(t, c.store, "UTC", monthNow)
			s.user = c.user
			s.get("/").ok().says(c.says...).lacks(c.lacks...)
		})
	}
}

// What can't be read is said in its place; the rest stays, and nothing of it is kept by the browser.
func TestOverviewFails(t *testing.T) {
	for method, c := range map[string]struct{ problem, stays string }{
		"Report":        {"The costs can't be read", "3 of 3 scopes up to date"},
		"ReportVersion": {"The costs can't be read", "3 of 3 scopes up to date"},
		"ScopeStates":   {"The state of processing can't be read", "By metric"},
		"Unpriced":      {"Usage without a price can't be read", "By metric"},
	} {
		s := newMonthSite(t, sampleMonth(), "UTC", monthNow)
		s.store.broken = map[string]error{method: errors.New("secret of the database")}
		p := s.get("/").ok().says(c.problem, c.stays, "the server's log says why").lacks("secret")
		if p.header.Get("ETag") != "" || !strings.Contains(s.log.String(), "secret of the database") {
			t.Errorf("%s: %v, log %s", method, p.header, s.log.String())
		}
		s.store.broken[method] = fault.New(fault.Unavailable, "The billing zone is being changed.")
		s.get("/").ok().says(c.problem, "The billing zone is being changed.")
	}
	s := newMonthSite(t, sampleMonth(), "UTC", monthNow)
	s.store.panics = true
	if s.get("/").ok().says("The costs can't be read"); !strings.Contains(s.log.String(), "a mistake") {
		t.Error("the log doesn't say that a report panicked")
	}
	for _, method := range []string{"Configuration", "Rules"} {
		s := newMonthSite(t, &ledgerStore{broken: map[string]error{method: errors.New("gone")}}, "UTC", monthNow)
		s.get("/").ok().says("can't be read", "Nothing is charged")
	}
}

func TestTenantsSeeTheirOwn(t *testing.T) {
	s := newMonthSite(t, sampleMonth(), "UTC", monthNow)
	s.user = tenant
	s.store.states[1].Failed, s.store.states[1].Error = 3, "error of b"
	s.store.miss = []metering.UnpricedUsage{{Metric: "ram", Points: 1}}
	p := s.get("/").ok().says("Your scopes", "1 of 1 scope up to date").lacks("Chem", "gpu", "error of b", "/pricing", "without a price", "failed")
	if got := p.Find(".headline-amount data").AttrOr("value", ""); got != "27.300000000021" { // 21 × (1.000000000001 + 0.3)
		t.Errorf("total %s", got)
	}
	s.get("/scopes").ok().says("All 1 scope").lacks("Chem", "error of b")
	s.get("/scopes?q=chem").ok().says("No scope matches", "There are 1 scope")
	s.get("/scopes/1").ok().says("Genomics")
	foreign, unknown, strange := s.get("/scopes/3"), s.get("/scopes/33"), s.get("/scopes/x")
	if foreign.status != 404 || unknown.status != 404 || strange.status != 404 || foreign.text != unknown.text || strange.text != unknown.text {
		t.Errorf("foreign %s, unknown %s, strange %s", foreign.text, unknown.text, strange.text)
	}
	s.get("/search?q=c").ok().says("Genomics").lacks("Chem", "cpu")
	s.get("/search?q=chem").ok().says("Nothing found").lacks("metrics")
	for _, path := range []string{"/metrics", "/metrics/cpu", "/settings/changes"} {
		if p := s.get(path); p.status != 403 {
			t.Errorf("%s: %d", path, p.status)
		}
	}
	for _, q := range s.store.queries {
		if !slices.ContainsFunc(q.Filters, func(f costs.Filter) bool { return f.Key == costs.Scope && slices.Equal(f.Values, []string{"a"}) }) {
			t.Errorf("asked without a filter: %v", q)
		}
	}
}

// Two users who ask alike are not given each other's kept answers.
func TestKeptAnswers(t *testing.T) {
	s := newMonthSite(t, sampleMonth(), "UTC", monthNow)
	total := func() string { return s.get("/").ok().Find(".headline-amount data").AttrOr("value", "") }
	all := total()
	reports := s.store.asked["Report"]
	if total() != all || s.store.asked["Report"] != reports {
		t.Errorf("%d reports, then %d", reports, s.store.asked["Report"])
	}
	s.user = tenant
	if total() == all {
		t.Error("the tenant has got everybody's total")
	}
	s.user = viewer
	s.store.charges = append(s.store.charges, monthCharge{"a", "cpu", at("2026-11-21 13:00"), "1"})
	if total() != all {
		t.Error("the answer was not kept")
	}
	s.store.version = "v2"
	if total() == all {
		t.Error("the answer was kept after the version changed")
	}
	s.store.version = "" // while the store can't say
	reports = s.store.asked["Report"]
	total()
	total()
	if s.store.asked["Report"] == reports {
		t.Error("an unstable answer was kept")
	}
}

func TestMonthNotModified(t *testing.T) {
	s := newMonthSite(t, sampleMonth(), "UTC", monthNow)
	for _, path := range []string{"/", "/scopes", "/scopes/2", "/metrics", "/metrics/cpu"} {
		tag := s.get(path).ok().header.Get("ETag")
		if p := s.get(path, "If-None-Match", tag); tag == "" || p.status != 304 {
			t.Errorf("%s: %d with %q", path, p.status, tag)
		}
	}
	tag := s.get("/").header.Get("ETag")
	s.store.states[2].Failed = 1
	s.get("/", "If-None-Match", tag).ok().says("1 window failed")
}

func TestNotice(t *testing.T) {
	s := newMonthSite(t, sampleMonth(), "UTC", monthNow)
	notice := func() string {
		n := s.overview.Notice(t.Context(), s.user)
		if n == nil {
			return ""
		}
		return n.Text + " " + n.Path
	}
	if got := notice(); got != "" {
		t.Errorf("all is well: %s", got)
	}
	s.store.states[0].ProcessedTo = monthNow.Add(-10 * time.Hour)
	if got := notice(); got != "" || s.store.asked["ScopeStates"] != 1 {
		t.Errorf("at once: %q, asked %d times", got, s.store.asked["ScopeStates"])
	}
	for _, c := range []struct {
		failed int
		want   string
	}{
		{0, "1 scope lags by more than 4 h /processing"},
		{14, "14 windows failed · 1 scope lags by more than 4 h /processing"},
	} {
		s.store.states[2].Failed = c.failed
		s.now = s.now.Add(10 * time.Second)
		if got := notice(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	s.user = tenant
	if got := notice(); got != "" || s.overview.Notice(t.Context(), nil) != nil {
		t.Errorf("a tenant: %q", got)
	}
	s.user, s.store.broken = viewer, map[string]error{"ScopeStates": errors.New("gone")}
	s.now = s.now.Add(10 * time.Second)
	asked := s.store.asked["ScopeStates"]
	if one, two := notice(), notice(); one != "" || two != "" || s.store.asked["ScopeStates"] != asked+1 {
		t.Error("a store that fails is asked for every page")
	}
}

func TestByDayOthers(t *testing.T) {
	s := newMonthSite(t, &ledgerStore{version: "v", states: sampleMonth().states}, "UTC", monthNow)
	for i := range 12 {
		s.store.charges = append(s.store.charges, monthCharge{"a", fmt.Sprintf("m%02d", i), at("2026-11-02 00:00"), fmt.Sprintf("%d", 100-i)})
	}
	p := s.get("/").ok()
	head := p.table("Costs by day").Find("thead th")
	if head.Length() != 11 || plain(head.Eq(9).Text()) != "others" {
		t.Errorf("%d columns: %s", head.Length(), plain(head.Text()))
	}
	if sum := p.column("Costs by day", 10); sum.String() != "1134" {
		t.Errorf("sum %s", sum)
	}
	if sum := p.column("Costs by day", 9); sum.String() != "362" {
		t.Errorf("others %s", sum)
	}
}

// TestSumsApart holds that questions that differ in bytes alone are different ones.
func TestSumsApart(t *testing.T) {
	store := &ledgerStore{zone: time.UTC, version: "1"}
	kept := &sums{store: store}
	m := period.Range{Begin: at("2026-11-01 00:00"), End: at("2026-12-01 00:00")}
	for i, values := range [][]string{{"a\xff"}, {"a\xfe"}, {"a\ufffd"}, {`a\xff`}, {"a", "b"}, {`a" "b`}, {"a b"}} {
		for range 2 {
			if _, err := kept.report(t.Context(), &costs.Query{Range: m, Filters: []costs.Filter{{Key: costs.Scope, Values: values}}}); err != nil {
				t.Fatal(err)
			}
		}
		if len(store.queries) != i+1 {
			t.Errorf("%q: asked %d times", values, len(store.queries))
		}
	}
}
