package handlers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/web"
)

// findingsStore answers what its fields say.
type findingsStore struct {
	findings func(r period.Range, kind metering.FindingKind) ([]metering.FindingSum, error)
	parts    func(r period.Range, kind metering.FindingKind, metric, detail string) ([]metering.FindingScope, error)
	growth   func(r period.Range) ([]metering.GrowthDay, error)
	config   metering.Configuration
	rules    rating.Rules
	scopes   []*metering.Scope
}

func (s *findingsStore) Findings(_ context.Context, r period.Range, kind metering.FindingKind) ([]metering.FindingSum, error) {
	if s.findings == nil {
		return nil, nil
	}
	return s.findings(r, kind)
}

func (s *findingsStore) FindingScopes(_ context.Context, r period.Range, kind metering.FindingKind, metric, detail string) ([]metering.FindingScope, error) {
	return s.parts(r, kind, metric, detail)
}

func (s *findingsStore) SeriesGrowth(_ context.Context, r period.Range) ([]metering.GrowthDay, error) {
	if s.growth == nil {
		return nil, nil
	}
	return s.growth(r)
}

func (s *findingsStore) Configuration(context.Context, int64) (*metering.Configuration, error) {
	return &s.config, nil
}

func (s *findingsStore) Rules(context.Context, int64) (*rating.Rules, error) { return &s.rules, nil }

func (s *findingsStore) Scopes(context.Context) ([]*metering.Scope, error) { return s.scopes, nil }

// newFindingsSite serves the page of findings.
func newFindingsSite(t *testing.T, store *findingsStore) *monthSite {
	s := newMonthSite(t, &ledgerStore{}, "Europe/Berlin", monthNow)
	viewers := s.echo.Group("", func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if !s.user.May(access.Viewer) {
				return echo.ErrForbidden
			}
			return next(c)
		}
	})
	NewFindings(store, s.settings, func() time.Time { return s.now }).Routes(&web.Router{Viewer: viewers})
	return s
}

func sampleFindings() *findingsStore {
	first, last := at("2026-11-20 07:00"), at("2026-11-21 13:00")
	s := &findingsStore{scopes: scopesOf([]metering.ScopeState{state(1, "a", "Genomics", last), state(2, "b", "Genomics", last), state(3, "c", "Chem <i>", last)})}
	s.findings = func(_ period.Range, kind metering.FindingKind) (all []metering.FindingSum, err error) {
		for _, f := range []metering.FindingSum{
			{Kind: metering.NotNumeric, Metric: "cpu", Detail: "ram = much", Windows: 2, Points: 7, Scopes: 1},
			{Kind: metering.RoundedToNil, Metric: "disk", Windows: 1, Points: 1, Scopes: 1},
			{Kind: metering.Skipped, Metric: "cpu", Detail: `NaN of {id="<b>"}`, Windows: 1, Points: 1, Scopes: 1},
			{Kind: metering.SourceNote, Metric: "cpu", Detail: "PromQL info", Windows: 24, Scopes: 3},
			{Kind: metering.Unpriced, Metric: "cpu", Detail: "flavor = m9.huge, region is missing", Windows: 48, Points: 1204, Scopes: 3},
			{Kind: metering.Unpriced, Metric: "net", Windows: 1, Points: 2, Scopes: 1},
			{Kind: metering.Unpriced, Metric: "ports", Windows: 1, Points: 2, Scopes: 1},
		} {
			if f.First, f.Last = first, last; kind == "" || kind == f.Kind {
				all = append(all, f)
			}
		}
		return all, nil
	}
	s.parts = func(_ period.Range, _ metering.FindingKind, _, detail string) (all []metering.FindingScope, err error) {
		for i := range 103 {
			all = append(all, metering.FindingScope{Scope: int64(i + 1), Windows: 1, Points: int64(200 - i), First: first, Last: last})
		}
		if !strings.Contains(detail, "m9.huge") {
			all = all[:1]
		}
		return all, nil
	}
	s.growth = func(r period.Range) ([]metering.GrowthDay, error) {
		return []metering.GrowthDay{
			{Metric: "gpu", Day: r.Begin, Series: 120, Points: 900, Scopes: 2},
			{Metric: "gpu", Day: r.Begin.AddDate(0, 0, 1), Series: 1300, Points: 12000, Scopes: 1},
			{Metric: "tpu", Day: r.Begin, Series: 100, Points: 100, Scopes: 1},
		}, nil
	}
	s.rules.Hashmap = []rating.Rule{{Kind: rating.Threshold, Service: "net"}}
	s.config.Metrics = []*metering.Metric{
		{Source: "default", Name: "cpu", Factor: money.One, Groupby: []string{"flavor", "unit", "month"}, Metadata: []string{"region", "flavor", "project_id", "qty"}},
		{Source: "east", Name: "cpu", Factor: money.One, Groupby: []string{"unit"}, Metadata: []string{"project_id"}}, // which has another key
	}
	return s
}

func TestFindings(t *testing.T) {
	s := newFindingsSite(t, sampleFindings())
	p := s.get("/processing/findings").ok().says("No rule priced it", "Counted by days in UTC: 20–21 Nov 2026", "Europe/Berlin").lacks("<b>")
	want := []string{
		"No rule priced it These points cost 0. The value is what rules of the metric look at: none of them matched, or the metric has none.",
		"cpu | flavor = m9.huge, region is missing | 1,204 | 48 | 3 scopes of cpu flavor = m9.huge, region is missing | 20 Nov 2026 | 21 Nov 2026 | See the rules of cpu flavor = m9.huge, region is missing",
		"net | –rules look at no attribute of this metric | 2 | 1 | 1 scope of net | 20 Nov 2026 | 21 Nov 2026 | See the rules of net",
		"ports | the metric has no rule | 2 | 1 | 1 scope of ports | 20 Nov 2026 | 21 Nov 2026 | See the rules of ports",
		"The value is no number",
		"cpu | ram = much | 7 | 2 | 1 scope of cpu ram = much | 20 Nov 2026 | 21 Nov 2026 | See the thresholds of cpu ram = much",
		"The price rounded to 0",
		"disk | –rules look at no attribute of this metric | 1 | 1 | 1 scope of disk",
		"The sample is no quantity",
		`cpu | NaN of {id="<b>"} | 1 | 1`,
		"The source remarked something",
		"cpu | PromQL info | 0 | 24 | 3 scopes",
		"The label's name means something else",
		"cpu | flavor is in both groupby and metadata | as metrics are configured now | See the metric",
		"cpu | month hides what rules and reports compute by this name from the time",
		"cpu | project_id is the scope key, which names the scope already",
		"cpu | qty heads another column in exports, which call the label attr:qty",
		"cpu | unit means something else to reports, which know the label as attr:unit",
		"Many series are new",
		"gpu | 2 days, the worst with 1,300 new series, 12,000 points | 12,900 | –it is about days, not about windows | 2 scopes of gpu 2 days, the worst with 1,300 new series, 12,000 points | 20 Nov 2026 | 21 Nov 2026 | See the metric",
		"tpu | 100 new series, 100 points | 100 | –it is about days, not about windows | 1 scope",
	}
	got := monthRows(p.table("What was noticed"))
	if len(got) != len(want) {
		t.Fatalf("%d rows: %s", len(got), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("row %d: %q, want %q", i, got[i], want[i])
		}
	}
	if tab := p.Find(`nav[aria-label="Processing"] a[aria-current]`); plain(tab.Text()) != "Findings" {
		t.Errorf("the tab is %q", tab.Text())
	}
	s.user = tenant
	if p := s.get("/processing/findings"); p.status != 403 {
		t.Errorf("a tenant gets %d", p.status)
	}
	newFindingsSite(t, &findingsStore{}).get("/processing/findings").ok().says("Nothing was noticed on 20–21 Nov 2026", "Look at the last 30 days")
	newFindingsSite(t, &findingsStore{}).get("/processing/findings?range=last-30-days&kind=skipped").ok().says("Nothing of this kind was noticed on").lacks("Look at the last 30 days")
}

// TestFindingsMend holds that each finding leads to where its reason is put right.
func TestFindingsMend(t *testing.T) {
	for _, test := range []struct {
		kind   metering.FindingKind
		detail string
		change bool
		want   string
	}{
		{metering.Unpriced, "flavor = m9.huge, region is missing", true, "/pricing/rules/new?field=flavor&metric=c%2Fpu&value=m9.huge"},
		{metering.Unpriced, "flavor = m9.huge", false, "/pricing?metric=c%2Fpu"},
		{metering.Unpriced, `flavor = "a, b", month = 3`, true, "/pricing/rules/new?field=flavor&metric=c%2Fpu&value=a%2C+b"},
		{metering.Unpriced, "flavor is missing, month = 3", true, "/pricing/rules/new?field=month&metric=c%2Fpu&value=3"},
		{metering.Unpriced, "day_of_the_year = 3, region = west", true, "/pricing/rules/new?field=region&metric=c%2Fpu&value=west"},
		{metering.Unpriced, "region is missing", true, "/pricing/rules/new?metric=c%2Fpu"},
		{metering.Unpriced, "region = very long…", true, "/pricing/rules/new?field=region&metric=c%2Fpu"},
		{metering.Unpriced, "other values", true, "/pricing/rules/new?metric=c%2Fpu"},
		{metering.Unpriced, "", true, "/pricing/rules/new?metric=c%2Fpu"},
		{metering.NotNumeric, "ram = much", true, "/pricing?metric=c%2Fpu&text=ram+%E2%89%A5"},
		{metering.NotNumeric, "other values", true, "/pricing?metric=c%2Fpu"},
		{metering.RoundedToNil, "flavor = x", true, "/pricing?metric=c%2Fpu"},
		{metering.Skipped, "NaN of {}", true, "/metrics/c%2Fpu"},
		{metering.SourceNote, "a", true, "/metrics/c%2Fpu"},
		{metering.LabelClash, "a", true, "/metrics/c%2Fpu"},
		{metering.SeriesGrowth, "a", true, "/metrics/c%2Fpu"},
	} {
		if got := mend(&metering.FindingSum{Kind: test.kind, Metric: "c/pu", Detail: test.detail}, test.change).Path; got != test.want {
			t.Errorf("%s %s: %s, want %s", test.kind, test.detail, got, test.want)
		}
	}
	s := newFindingsSite(t, sampleFindings())
	s.user = &access.User{Login: "olga", Role: access.Operator}
	s.get("/processing/findings?kind=unpriced").ok().says("Set a price").lacks("See the rules")
}

func TestFindingsOpen(t *testing.T) {
	s := newFindingsSite(t, sampleFindings())
	rows := func(p *monthPage) *goquery.Selection { return p.table("What was noticed").Find("tbody tr") }
	closed := s.get("/processing/findings?range=last-7-days").ok()
	link := closed.Find(`td a[aria-expanded=false]`).First()
	open := s.get(href(link)).ok().says("and 3 more scopes", "Genomics", "Chem <i>", "scope 100").lacks("scope 101")
	if n := rows(open).Length() - rows(closed).Length(); n != 101 || open.Find(`a[aria-expanded=true]`).Length() != 1 {
		t.Errorf("%d rows were added", n)
	}
	if a := open.Find(`a[href="/processing/coverage?scope=2"]`); a.Length() != 1 || plain(a.Parent().Text()) != "Genomics b" {
		t.Errorf("the second scope: %q", plain(a.Parent().Text()))
	}
	if back := href(open.Find(`a[aria-expanded=true]`)); back != "/processing/findings?range=last-7-days" {
		t.Errorf("closing leads to %s", back)
	}
	// what changes with the days is none of the name of it
	grown := closed.Find(`td a[aria-expanded=false]`).Last()
	s.get(strings.Replace(href(grown), "range=last-7-days", "range=last-30-days", 1)).ok().says("200 new series")
	if n := rows(s.get("/processing/findings?range=last-7-days&finding=unknown").ok()).Length(); n != rows(closed).Length() {
		t.Errorf("%d rows", n)
	}
	if p := s.get(href(link), "HX-Request", "true", "HX-Target", "findings").ok(); p.Find("main").Length() != 0 || p.Find("#findings form").Length() != 1 {
		t.Error("not a fragment")
	}
}

func TestFindingsAsked(t *testing.T) {
	store := sampleFindings()
	var asked period.Range
	var kind metering.FindingKind
	all := store.findings
	store.findings = func(r period.Range, k metering.FindingKind) ([]metering.FindingSum, error) {
		asked, kind = r, k
		return all(r, k)
	}
	s := newFindingsSite(t, store)
	for path, want := range map[string]string{
		"":                                      "2026-11-20 2026-11-22 ",
		"?range=last-7-days":                    "2026-11-15 2026-11-22 ",
		"?range=this-month&kind=skipped":        "2026-11-01 2026-11-22 skipped",
		"?range=last-30-days&kind=whatever":     "2026-10-23 2026-11-22 ",
		"?range=sideways&page=-1":               "2026-11-20 2026-11-22 ",
		"?from=2026-03-01&to=2026-03-02":        "2026-03-01 2026-03-03 ",
		"?range=&from=2026-03-01":               "2026-03-01 2026-03-02 ",
		"?range=this-month&from=2026-03-01":     "2026-11-01 2026-11-22 ",
		"?from=2025-03-01&to=2026-03-01":        "2025-03-01 2026-03-02 ",
		"?kind=unpriced&to=2026-03-01&from=":    "2026-03-01 2026-03-02 unpriced",
		"?from=2026-03-01&to=2026-03-02&page=9": "2026-03-01 2026-03-03 ",
	} {
		s.get("/processing/findings" + path).ok()
		if got := asked.Begin.Format(time.DateOnly) + " " + asked.End.Format(time.DateOnly) + " " + string(kind); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	for path, problem := range map[string]string{
		"?from=yesterday":                "Write the day like 2026-11-21.",
		"?from=2026-03-02&to=2026-03-01": "The last day must not be before the first.",
		"?from=2025-03-01&to=2026-03-02": "The last day must be within 366 days from the first.",
	} {
		if p := s.get("/processing/findings" + path).says(problem); p.status != 422 || p.Find(`input[name=from]`).AttrOr("value", "") != strings.TrimPrefix(strings.Split(path, "&")[0], "?from=") {
			t.Errorf("%s: %d", path, p.status)
		}
	}
	store.findings = func(period.Range, metering.FindingKind) (sums []metering.FindingSum, err error) {
		for i := range 120 {
			sums = append(sums, metering.FindingSum{Kind: metering.Unpriced, Metric: "cpu", Detail: fmt.Sprint("id = ", i), Points: 1, Windows: 1, Scopes: 1, First: monthNow, Last: monthNow})
		}
		return sums, nil
	}
	for page, want := range []int{50, 50, 20} {
		p := s.get(fmt.Sprintf("/processing/findings?kind=unpriced&page=%d", page+1)).ok()
		if n := p.Find(`tr[id^=finding]`).Length(); n != want || p.Find(".pager").Length() != 1 {
			t.Errorf("page %d has %d findings", page+1, n)
		}
	}
	store.findings = func(period.Range, metering.FindingKind) ([]metering.FindingSum, error) {
		return nil, errors.New("gone")
	}
	if p := s.get("/processing/findings"); p.status != 500 {
		t.Errorf("status %d", p.status)
	}
	s.get("/processing/findings?kind=series_growth").ok().says("gpu").lacks("groupby")
	s.get("/processing/findings?kind=label_clash").ok().says("groupby").lacks("gpu")
}

// TestFindingsPrice holds that the form of a new rule takes what a finding says.
func TestFindingsPrice(t *testing.T) {
	form := filled(newPricingSite(t, newRuleBook(), access.Operator).get("/pricing/rules/new?field=flavor&metric=cpu&value=m9.huge"))
	if form.Get("service") != "cpu" || form.Get("field") != "flavor" || form.Get("value") != "m9.huge" {
		t.Errorf("the form has %v", form)
	}
}
