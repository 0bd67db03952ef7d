package handlers

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"

	"ratebook/metering"
	"ratebook/money"
)

// names returns the scopes listed.
func (p *monthPage) names() string {
	p.Helper()
	var all []string
	p.table("Scopes").Find("tbody th a").Each(func(_ int, a *goquery.Selection) { all = append(all, a.Text()) })
	return strings.Join(all, ",")
}

func TestScopes(t *testing.T) {
	s := newMonthSite(t, sampleMonth(), "UTC", monthNow)
	s.store.states[1].ProcessedTo, s.store.states[1].Failed, s.store.states[1].Error = at("2026-11-21 08:00"), 2, "Prometheus answered 503"
	s.store.states[2].ProcessedTo = at("2026-11-21 12:00")
	idle := state(4, "idle", "", at("2026-10-01 00:00"))
	idle.Scope.Active = false
	s.store.states = append(s.store.states, idle, state(5, "new", "", time.Time{}))
	for path, want := range map[string]string{
		"/scopes":                             "Chem <i>,b,Genomics,idle,new",
		"/scopes?sort=cost":                   "idle,new,Genomics,b,Chem <i>",
		"/scopes?sort=name":                   "b,Chem <i>,Genomics,idle,new",
		"/scopes?sort=-name":                  "new,idle,Genomics,Chem <i>,b",
		"/scopes?sort=processed":              "new,idle,b,Chem <i>,Genomics",
		"/scopes?sort=-before":                "Chem <i>,b,Genomics,idle,new",
		"/scopes?sort=sideways&page=x":        "Chem <i>,b,Genomics,idle,new",
		"/scopes?q=GENO":                      "Genomics",
		"/scopes?q=+c+":                       "Chem <i>,Genomics", // c is an id, too
		"/scopes?state=lagging":               "Chem <i>,b,new",
		"/scopes?state=failed":                "b",
		"/scopes?state=up-to-date":            "Genomics",
		"/scopes?state=inactive":              "idle",
		"/scopes?state=whatever&page=9999999": "Chem <i>,b,Genomics,idle,new",
	} {
		if got := s.get(path).ok().names(); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	p := s.get("/scopes").ok().says("up to date", "lags 2 h", "2 windows failed", "inactive", "not processed yet", "All 5 scopes")
	total := p.table("Scopes").Find(".total data").First().AttrOr("value", "")
	if sum := p.column("Scopes", 1); sum.String() != total || sum.IsZero() {
		t.Errorf("costs add up to %s, the total is %s", sum, total)
	}
	if title := p.Find(`[title="Prometheus answered 503"]`); title.Length() != 1 {
		t.Error("the error is not there on hover")
	}
	// searching does not change what is all
	if got := s.get("/scopes?q=geno").table("Scopes").Find(".total data").First().AttrOr("value", ""); got != total {
		t.Errorf("searching makes the total %s", got)
	}
	s.get("/scopes?q=%3Cb%3Enothing").ok().says("No scope matches").lacks("<b>nothing")
	newMonthSite(t, &ledgerStore{}, "UTC", monthNow).get("/scopes").ok().says("No scope is known yet", "ratebook serve --prometheus-url URL")
}

func TestScopesFail(t *testing.T) {
	s := newMonthSite(t, sampleMonth(), "UTC", monthNow)
	s.store.broken = map[string]error{"Report": errors.New("gone")}
	p := s.get("/scopes?sort=name").ok().says("The costs can't be read", "Genomics", "up to date", "the costs could not be read")
	if p.header.Get("ETag") != "" || p.Find(".problem a").AttrOr("href", "") != "/scopes?sort=name" {
		t.Errorf("%v", p.header)
	}
	s.store.broken = map[string]error{"ScopeStates": errors.New("gone")}
	if p := s.get("/scopes"); p.status != 500 {
		t.Errorf("status %d", p.status)
	}
}

func TestScopesPages(t *testing.T) {
	store := &ledgerStore{version: "v"}
	for i := range 120 {
		store.states = append(store.states, state(int64(i+1), fmt.Sprintf("s%03d", i), "", at("2026-11-21 14:00")))
	}
	s := newMonthSite(t, store, "UTC", monthNow)
	seen := map[string]bool{}
	for page, want := range []int{50, 50, 20} {
		p := s.get(fmt.Sprintf("/scopes?sort=name&page=%d", page+1)).ok()
		names := strings.Split(p.names(), ",")
		for _, n := range names {
			seen[n] = true
		}
		if len(names) != want || p.Find(".pager").Length() != 1 {
			t.Errorf("page %d has %d scopes", page+1, len(names))
		}
	}
	if len(seen) != 120 {
		t.Errorf("%d scopes on all pages", len(seen))
	}
	// htmx gets what changes only
	if p := s.get("/scopes?sort=name&page=2", "HX-Request", "true", "HX-Target", "scopes").ok(); p.Find("main").Length() != 0 || p.Find("#scopes form").Length() != 1 {
		t.Error("not a fragment")
	}
}

// Sources may share an id; reports can't tell their scopes apart, and no cost is shown twice.
func TestScopesOfOneID(t *testing.T) {
	s := newMonthSite(t, sampleMonth(), "UTC", monthNow)
	twin := state(9, "a", "Twin", at("2026-11-21 14:00"))
	twin.Scope.Source.Name = "east"
	s.store.states = append(s.store.states, twin)
	p := s.get("/scopes?sort=name").ok().says("counted with Genomics of source default")
	amounts := p.table("Scopes").Find("tbody data").Length()
	if amounts != 3*2 || !strings.Contains(p.text, "Source") {
		t.Errorf("%d amounts", amounts)
	}
	s.get("/scopes/9").ok().says("include those of the scope with the same id, Genomics of source default")
}

// Ids are shown only where names do not tell scopes apart.
func TestScopesOfOneName(t *testing.T) {
	s := newMonthSite(t, sampleMonth(), "UTC", monthNow)
	s.store.states = append(s.store.states, state(9, "0123456789abcdef0", "Genomics", at("2026-11-21 14:00")))
	for path, table := range map[string]string{"/scopes?sort=name": "Scopes", "/": "Top scopes"} {
		var notes []string
		p := s.get(path).ok()
		p.table(table).Find("tbody .note").Each(func(_ int, n *goquery.Selection) { notes = append(notes, n.Text()) })
		want := []string{"01234567…", "a"}
		if path == "/" {
			want = want[1:] // the other has no costs
		}
		slices.Sort(notes)
		if !slices.Equal(notes, want) {
			t.Errorf("%s: %q", path, notes)
		}
		if got := p.table(table).Find(`tbody a[title="c"]`).Length(); got != 1 {
			t.Errorf("%s: %d scopes have the id c on hover", path, got)
		}
	}
}

func TestScope(t *testing.T) {
	s := newMonthSite(t, sampleMonth(), "Europe/Berlin", monthNow)
	st := &s.store.states[1]
	st.ProcessedTo, st.Failed, st.Due, st.Error, st.NextAttempt = at("2026-11-21 12:00"), 1, 1, "Prometheus answered 503", at("2026-11-21 15:37")
	states := []metering.State{metering.Done, metering.Empty, metering.Waived, metering.Failed, metering.Due, metering.Leased}
	for i := range 60 {
		end := at("2026-11-21 14:00").Add(-time.Duration(i) * time.Hour)
		w := metering.Window{Scope: 2, Begin: end.Add(-time.Hour), End: end, State: metering.Done, Attempts: 1, Points: 1204, Unpriced: 3, Amount: money.MustParse("0.0402512345"), Took: 212 * time.Millisecond}
		if i < len(states) {
			w.State = states[len(states)-1-i]
		}
		if w.State == metering.Failed {
			w.Error, w.NextAttempt, w.Took = "Prometheus <answered> 503", at("2026-11-21 15:37"), 3450*time.Millisecond
		}
		s.store.windows = append(s.store.windows, w)
	}
	p := s.get("/scopes/2").ok().says("1 window failed", "lags 2 h", "1 window is due", "Prometheus answered 503 ; next try 21 Nov 2026, 16:37",
		"Prometheus <answered> 503", "done", "no usage", "waived", "in work", "212 ms", "3.4 s", "project_id", "default (prometheus)").lacks("<answered>")
	rows := monthRows(p.table("The latest windows"))
	if len(rows) != 48 || !strings.HasPrefix(rows[0], "21 Nov 2026, 14:00–15:00") {
		t.Errorf("%d windows, the first is %s", len(rows), rows[0])
	}
	if heads := p.table("The latest windows").Find("thead").Text(); !strings.Contains(heads, "Error") {
		t.Errorf("errors have no column: %s", heads)
	}
	if sum := p.column("Costs by metric", 1); sum.String() != p.table("Costs by metric").Find(".total data").AttrOr("value", "") {
		t.Errorf("metrics add up to %s", sum)
	}
	if got := href(p.table("Costs by metric").Find(".total a")); got != "/costs?filter=scope%3Db&group=metric&range=this-month" {
		t.Errorf("all metrics lead to %s", got)
	}
	if got := href(p.table("Costs by metric").Find("tbody a").First()); got != "/costs?bucket=day&filter=scope%3Db&filter=metric%3Dcpu&range=this-month" {
		t.Errorf("cpu leads to %s", got)
	}
	if p.table("Costs by metric").Find("tbody .sparkline").Length() != 3 {
		t.Error("no sparklines")
	}
	for i := range s.store.windows {
		s.store.windows[i].Error = ""
	}
	s.store.version = "v1 without errors"
	if heads := s.get("/scopes/2").ok().table("The latest windows").Find("thead").Text(); strings.Contains(heads, "Error") {
		t.Errorf("no errors have a column: %s", heads)
	}
	s.store.charges = nil
	s.store.version = "v2"
	s.store.states[1].PlannedTo = time.Time{}
	s.get("/scopes/2").ok().says("Nothing is charged in November 2026 yet", "No window is planned yet")
	for method, c := range map[string][2]string{"Report": {"The costs can't be read", "project_id"}, "Windows": {"The windows can't be read", "Costs, November 2026"}} {
		s.store.states[1].PlannedTo = at("2026-11-21 14:00")
		s.store.version, s.store.broken = method, map[string]error{method: errors.New("gone")}
		if p := s.get("/scopes/2").ok().says(c[0], c[1]); p.header.Get("ETag") != "" {
			t.Errorf("%s: a failure is kept", method)
		}
	}
	for _, path := range []string{"/scopes/7", "/scopes/0", "/scopes/-1", "/scopes/2x", "/scopes/99999999999999999999"} {
		if p := s.get(path); p.status != 404 {
			t.Errorf("%s: %d", path, p.status)
		}
	}
}

// TestErrorsOfTenants holds that the texts of errors, which can name other scopes and addresses inside, are not for tenants.
func TestErrorsOfTenants(t *testing.T) {
	const secret = "http://prometheus.internal:9090 answered 422: project b"
	s := newMonthSite(t, sampleMonth(), "Europe/Berlin", monthNow)
	st := &s.store.states[slices.IndexFunc(s.store.states, func(s metering.ScopeState) bool { return s.Scope.ID == "a" })]
	st.Failed, st.Error, st.NextAttempt = 1, secret, at("2026-11-21 15:37")
	end := at("2026-11-21 14:00")
	s.store.windows = []metering.Window{{
		Scope: st.Scope.Ref, Begin: end.Add(-time.Hour), End: end, State: metering.Failed, Attempts: 1, Error: secret, NextAttempt: st.NextAttempt,
	}}
	paths := []string{"/", "/scopes", scopePath(st.Scope)}
	for _, path := range paths {
		if html, _ := s.get(path).ok().Html(); !strings.Contains(html, secret) {
			t.Errorf("%s: who reads all does not see why", path)
		}
	}
	s.user = tenant
	for _, path := range paths {
		p := s.get(path).ok()
		html, err := p.Html()
		if err != nil || strings.Contains(html, "internal") || !strings.Contains(html, "This window could not be processed; it is tried again at 21 Nov 2026, 16:37.") {
			t.Errorf("%s: %v %s", path, err, html)
		}
		p.lacks("next try")
		st.Error, s.store.windows[0].Error = "another", "another"
		if tag := s.get(path).header.Get("ETag"); tag == "" || tag != p.header.Get("ETag") {
			t.Errorf("%s: the text is part of the version", path)
		}
		st.Error, s.store.windows[0].Error = secret, secret
	}
	if st.Error != secret {
		t.Error("what the store returned was changed")
	}
}
