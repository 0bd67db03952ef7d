package handlers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/views/pages"
	"ratebook/web"
)

// windowBook is a ledger in memory, and what was asked to be done about it.
type windowBook struct {
	states  []metering.ScopeState
	windows []metering.WindowDetail
	queries []pages.WindowQuery
	broken  map[string]error // by method
	changed int64            // what every change answers
	done    []string
}

func (b *windowBook) ScopeStates(context.Context) ([]metering.ScopeState, error) {
	return b.states, b.broken["ScopeStates"]
}

func (b *windowBook) Coverage(_ context.Context, scopes []int64, cells []period.Range) (all []metering.Coverage, err error) {
	for _, ref := range scopes {
		for i, cell := range cells {
			c := metering.Coverage{Scope: ref, Cell: i}
			for j := range b.windows {
				if w := &b.windows[j]; w.Window.Scope == ref && cell.Contains(w.Begin) {
					if c.First.IsZero() || w.Begin.Before(c.First) {
						c.First = w.Begin
					}
					c.Counts[w.State]++
					if w.Task != nil {
						c.Again++
					}
					if w.RedoneBy != 0 {
						c.Redone++
					}
				}
			}
			if !c.First.IsZero() {
				all = append(all, c)
			}
		}
	}
	return all, b.broken["Coverage"]
}

func (b *windowBook) OpenWindows(_ context.Context, sel metering.WindowSelection) (all []metering.Coverage, err error) {
	for i := range b.states {
		c := metering.Coverage{Scope: b.states[i].Scope.Ref}
		for j := range b.windows {
			w := &b.windows[j]
			if w.Window.Scope != c.Scope || !sel.Range.Contains(w.Begin) || len(sel.Scopes) > 0 && !slices.Contains(sel.Scopes, c.Scope) {
				continue
			}
			if w.State == metering.Due || w.State == metering.Failed {
				c.Counts[w.State]++
				c.First = w.Begin
			} else if w.Task != nil && w.Error != "" {
				c.Again++
				c.First = w.Begin
			}
		}
		if !c.First.IsZero() {
			all = append(all, c)
		}
	}
	return all, b.broken["OpenWindows"]
}

func (b *windowBook) Window(_ context.Context, scope int64, begin time.Time) (*metering.WindowDetail, error) {
	for i := range b.windows {
		if w := &b.windows[i]; w.Window.Scope == scope && w.Begin.Equal(begin) {
			return w, b.broken["Window"]
		}
	}
	return nil, cmp.Or(b.broken["Window"], error(fault.New(fault.NotFound, "no window")))
}

func (b *windowBook) note(what string, sel metering.WindowSelection, reason, actor string) (int64, error) {
	b.done = append(b.done, fmt.Sprintf("%s %v %s %s %q by %s", what, sel.Scopes, sel.Range.Begin.Format("02 15:04"), sel.Range.End.Format("02 15:04"), reason, actor))
	if err := b.broken[what]; err != nil {
		return 0, err
	}
	if b.changed == 0 {
		return 0, fault.New(fault.NotFound, "no window")
	}
	return b.changed, nil
}

func (b *windowBook) RetryWindows(_ context.Context, sel metering.WindowSelection, actor string) (int64, error) {
	return b.note("retry", sel, "", actor)
}

func (b *windowBook) WaiveWindows(_ context.Context, sel metering.WindowSelection, reason, actor string) (int64, error) {
	return b.note("waive", sel, reason, actor)
}

func (b *windowBook) UnwaiveWindows(_ context.Context, sel metering.WindowSelection, actor string) (int64, error) {
	return b.note("unwaive", sel, "", actor)
}

func (b *windowBook) AcceptAbsence(_ context.Context, sel metering.WindowSelection, reason, actor string) (int64, error) {
	return b.note("accept", sel, reason, actor)
}

func (b *windowBook) Queries(_ context.Context, s *metering.Scope, w period.Range, config int64) ([]pages.WindowQuery, error) {
	b.done = append(b.done, fmt.Sprintf("queries of %s %s version %d", s.ID, w.Begin.Format("02 15:04"), config))
	return b.queries, b.broken["Queries"]
}

// add adds a window of a scope, of an hour if none is given.
func (b *windowBook) add(ref int64, begin string, state metering.State, change ...func(*metering.WindowDetail)) {
	i := slices.IndexFunc(b.states, func(s metering.ScopeState) bool { return s.Scope.Ref == ref })
	w := metering.WindowDetail{Window: metering.Window{Scope: ref, Begin: at(begin), State: state}, Scope: b.states[i].Scope}
	w.End = w.Begin.Add(time.Hour)
	for _, c := range change {
		c(&w)
	}
	b.windows = append(b.windows, w)
}

// newWindowBook has three scopes in November 2026: all is well with Chem, Genomics has failed windows, Ärzte lags.
func newWindowBook() *windowBook {
	b := &windowBook{changed: 3, states: []metering.ScopeState{
		state(1, "g", "Genomics", at("2026-11-03 05:00")), state(2, "c", "Chem <i>", at("2026-11-21 14:00")), state(3, "z", "", at("2026-11-21 10:00")),
	}}
	b.states[0].Failed = 2
	for h := range 24 {
		s := metering.Done
		if h == 5 || h == 6 {
			s = metering.Failed
		}
		b.add(1, fmt.Sprintf("2026-11-03 %02d:00", h), s)
		b.add(2, fmt.Sprintf("2026-11-03 %02d:00", h), metering.Done, func(w *metering.WindowDetail) {
			if h == 0 {
				task := int64(7)
				w.Task, w.RedoneBy = &task, 4
			}
		})
		b.add(2, fmt.Sprintf("2026-11-04 %02d:00", h), metering.Empty)
		b.add(3, fmt.Sprintf("2026-11-04 %02d:00", h), metering.Due)
	}
	b.add(2, "2026-11-05 09:00", metering.Waived)
	return b
}

type coverageSite struct {
	*testing.T
	book *windowBook
	user *access.User
	echo *echo.Echo
	log  strings.Builder

	changed int // how often it was told that windows were changed
}

func newCoverageSite(t *testing.T, b *windowBook, zone string, length time.Duration) *coverageSite {
	t.Helper()
	z, err := period.ParseZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	s := &coverageSite{T: t, book: b, echo: echo.New(), user: &access.User{Login: "ada", Role: access.Operator}}
	statuses := map[fault.Kind]int{fault.Invalid: 422, fault.NotFound: 404, fault.Forbidden: 403, fault.Unavailable: 503}
	s.echo.HTTPErrorHandler = func(err error, c echo.Context) { _ = c.String(max(statuses[fault.KindOf(err)], 400), err.Error()) }
	s.echo.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error { c.Set("user", s.user); return next(c) }
	})
	needs := func(least access.Role) *echo.Group {
		return s.echo.Group("", func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				if !web.User(c).May(least) {
					return fault.New(fault.Forbidden, "no")
				}
				return next(c)
			}
		})
	}
	settings := &metering.Settings{Zone: z, Currency: "EUR", Period: length}
	h := NewCoverage(b, b, func() { s.changed++ }, b, settings, 2, func() time.Time { return monthNow }, slog.New(slog.NewTextHandler(&s.log, nil)))
	h.Routes(&web.Router{Viewer: needs(access.Viewer), Operator: needs(access.Operator)})
	return s
}

func (s *coverageSite) do(method, path string, form url.Values) (*monthPage, string) {
	s.Helper()
	r := httptest.NewRequestWithContext(s.Context(), method, path, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set(echo.HeaderContentType, echo.MIMEApplicationForm)
	}
	w := httptest.NewRecorder()
	s.echo.ServeHTTP(w, r)
	doc, err := goquery.NewDocumentFromReader(w.Body)
	if err != nil {
		s.Fatal(err)
	}
	return &monthPage{s.T, doc, w.Code, w.Header(), words(doc.Selection)}, w.Header().Get("Location")
}

func (s *coverageSite) get(path string) *monthPage {
	s.Helper()
	p, _ := s.do(http.MethodGet, path, nil)
	return p
}

// mapRows returns the rows of a map: the scope, and column=classes of each cell.
func mapRows(p *monthPage) (rows []string) {
	p.Helper()
	var columns []string
	p.Find(".map thead tr").Last().Find("th").Slice(1, goquery.ToEnd).Each(func(_ int, th *goquery.Selection) { columns = append(columns, plain(th.Text())) })
	p.Find(".map tbody tr").Each(func(_ int, tr *goquery.Selection) {
		row := plain(tr.Find("th").Text()) + ":"
		tr.Find("td").Each(func(i int, td *goquery.Selection) {
			if a := td.Find("a"); a.Length() > 0 {
				row += " " + columns[i] + "=" + strings.ReplaceAll(a.AttrOr("class", ""), " ", "+")
			}
		})
		rows = append(rows, row)
	})
	return rows
}

func TestCoverageMap(t *testing.T) {
	s := newCoverageSite(t, newWindowBook(), "UTC", time.Hour)
	for path, want := range map[string][]string{
		"/processing/coverage?at=2026-11-09": {
			"Genomics 2 failed: 3=bad+part", "z 24 due: 4=due", "Chem <i>: 3=done+again+redone 4=none 5=waived",
		},
		"/processing/coverage":                       {"Genomics 2 failed: 3=bad+part", "z 24 due: 4=due", "Chem <i>: 3=done+again+redone 4=none 5=waived"},
		"/processing/coverage?zoom=year":             {"Genomics 2 failed: 2=bad+part", "z 24 due: 2=due", "Chem <i>: 2=waived+part+again+redone"},
		"/processing/coverage?zoom=quarter&scope=1":  {"Genomics 2 failed: 3=bad+part"},
		"/processing/coverage?zoom=odd&state=failed": {"Genomics 2 failed: 3=bad+part", "z 24 due: 4=due"},
		"/processing/coverage?q=CHEM":                {"Chem <i>: 3=done+again+redone 4=none 5=waived"},
		"/processing/coverage?zoom=day&at=2026-11-03&scope=1&scope=x": {
			"Genomics 2 failed: 00=done 01=done 02=done 03=done 04=done 05=bad 06=bad 07=done 08=done 09=done 10=done 11=done 12=done 13=done 14=done 15=done 16=done 17=done 18=done 19=done 20=done 21=done 22=done 23=done",
		},
		// as an hour would have one window, it is a day
		"/processing/coverage?zoom=hour&at=2026-11-05T05:59:00Z&q=chem": {"Chem <i>: 09=waived"},
		"/processing/coverage?at=2025-01-01&page=9":                     {"Genomics:", "z:", "Chem <i>:"},
	} {
		if got := mapRows(s.get(path).ok()); !slices.Equal(got, want) {
			t.Errorf("%s:\n%q, want\n%q", path, got, want)
		}
	}
}

func TestCoverageCells(t *testing.T) {
	s := newCoverageSite(t, newWindowBook(), "UTC", time.Hour)
	p := s.get("/processing/coverage?at=2026-11-09").ok().lacks("style=")
	for _, want := range [][2]string{
		{"Genomics, 3 Nov 2026: 22 done, 2 failed", "/processing/coverage?at=2026-11-03&scope=1&zoom=day"},
		{"z, 4 Nov 2026: 24 due", "/processing/coverage?at=2026-11-04&scope=3&zoom=day"},
		{"Chem <i>, 3 Nov 2026: 24 done; 1 waits to be done again; 1 was done again", "/processing/coverage?at=2026-11-03&scope=2&zoom=day"},
		{"Chem <i>, 4 Nov 2026: 24 no usage", "/processing/coverage?at=2026-11-04&scope=2&zoom=day"},
		{"Chem <i>, 5 Nov 2026: 1 waived", windowPath(2, at("2026-11-05 09:00"))},
	} {
		title, path := want[0], want[1]
		cell := p.Find(".map td a").FilterFunction(func(_ int, a *goquery.Selection) bool { return a.AttrOr("title", "") == title })
		if cell.Length() != 1 || href(cell) != path {
			t.Errorf("%s: %d cells, to %q, want %q", title, cell.Length(), href(cell), path)
		}
	}
	if p.Find(".map tbody th[scope=row] a").First().AttrOr("href", "") != "/scopes/1" || p.Find(".map thead th[scope=colgroup]").Text() != "Nov 2026" {
		t.Error("headings")
	}
	if got := href(p.Find(".map tbody th .note").First()); got != "/processing/coverage?at=2026-11-09&scope=1" {
		t.Errorf("the note leads to %s", got)
	}
	if got := href(p.Find(".map thead th[scope=col] a").Eq(2)); got != "/processing/coverage?at=2026-11-03&zoom=day" {
		t.Errorf("the third day leads to %s", got)
	}
	if p.Find(".map thead .now").Text() != "21" {
		t.Error("today is not marked")
	}
	p.says("done 46", "no usage 24", "failed 2", "due 24", "waived 1", "processed in part", "waits to be done again 1", "was done again 1")
	ways := p.Find(".way a").Map(func(_ int, a *goquery.Selection) string { return plain(a.Text()) + " " + href(a) })
	want := []string{
		"Earlier /processing/coverage?at=2026-10-31", "Later /processing/coverage?at=2026-12-01", "Year /processing/coverage?at=2026-11-09&zoom=year",
		"Quarter /processing/coverage?at=2026-11-09&zoom=quarter", "Month /processing/coverage?at=2026-11-09", "Day /processing/coverage?at=2026-11-09&zoom=day",
	}
	if !slices.Equal(ways, want) {
		t.Errorf("%q", ways)
	}
	s.get("/processing/coverage?scope=1&q=gen&at=2026-11-09").ok().says("only Genomics", "Show all scopes")
	s.get("/processing/coverage?scope=1&scope=2").ok().says("only 2 scopes")
	s.get("/processing/coverage?q=%3Cb%3E").ok().says("No scope matches", "There are 3 scopes").lacks("<b>")
}

// A cell of a year leads to its quarter, of a quarter to its day, of an hour to its window.
func TestCoverageZooms(t *testing.T) {
	b := newWindowBook()
	for m := range 60 {
		b.add(3, fmt.Sprintf("2026-11-10 07:%02d", m), metering.Done, func(w *metering.WindowDetail) { w.End = w.Begin.Add(time.Minute) })
	}
	s := newCoverageSite(t, b, "UTC", time.Minute)
	cell := func(path string) string { t.Helper(); return href(s.get(path).ok().Find(".map td a").Last()) }
	path := "/processing/coverage?scope=3&zoom=year"
	var steps []string
	for range 4 {
		path = cell(path)
		steps = append(steps, path)
	}
	want := []string{
		"/processing/coverage?at=2026-11-09&scope=3&zoom=quarter", "/processing/coverage?at=2026-11-10&scope=3&zoom=day",
		"/processing/coverage?at=2026-11-10T07%3A00%3A00Z&scope=3&zoom=hour", windowPath(3, at("2026-11-10 07:59")),
	}
	if !slices.Equal(steps, want) {
		t.Errorf("%q", steps)
	}
	p := s.get("/processing/coverage?at=2026-11-10&zoom=day").ok().says("Hour")
	if p.Find(".map thead th[scope=col] a").Length() != 24 {
		t.Error("the hours of a day lead nowhere")
	}
	if got := s.get(want[2]).ok().Find(".map thead th[scope=col]").Length(); got != 1+60 {
		t.Errorf("an hour has %d columns", got)
	}
}

// A cell of an hour is as long as its window.
func TestCoverageHour(t *testing.T) {
	b := newWindowBook()
	for m := range 4 {
		b.add(3, fmt.Sprintf("2026-11-10 07:%02d", 15*m), metering.Done, func(w *metering.WindowDetail) { w.End = w.Begin.Add(15 * time.Minute) })
	}
	p := newCoverageSite(t, b, "UTC", 15*time.Minute).get("/processing/coverage?zoom=hour&scope=3&at=2026-11-10T07:20:00Z").ok()
	titles := p.Find(".map td a").Map(func(_ int, a *goquery.Selection) string { return a.AttrOr("title", "") })
	if len(titles) != 4 || titles[3] != "z, 10 Nov 2026, 07:45–08:00: 1 done" {
		t.Errorf("%q", titles)
	}
}

// What is no day is said beside the field, which keeps it; the map is then that of the last windows.
func TestCoverageMisread(t *testing.T) {
	s := newCoverageSite(t, newWindowBook(), "UTC", time.Hour)
	for text, problem := range map[string]string{
		"foo&q=": "Write the day like 2026-11-21.", "1800-01-01": "Choose a day of the years 1971 to 9999.", "0001-01-01": "Choose a day of the years 1971 to 9999.",
	} {
		p := s.get("/processing/coverage?"+url.Values{"at": {text}}.Encode()).says(problem, "November 2026")
		if field := p.Find("#at[aria-invalid]"); p.status != http.StatusUnprocessableEntity || field.AttrOr("value", "") != text {
			t.Errorf("%s: %d", text, p.status)
		}
	}
	s.get("/processing/coverage?at=").ok()
}

func TestCells(t *testing.T) {
	for _, c := range []struct {
		zone, zoom, at string
		length         time.Duration
		want           int
		first, last    string // begins, UTC
	}{
		{"UTC", zoomYear, "2026-05-05 00:00", time.Hour, 53, "2026-01-01 00:00", "2026-12-28 00:00"},
		{"UTC", zoomQuarter, "2026-05-05 00:00", time.Hour, 91, "2026-04-01 00:00", "2026-06-30 00:00"},
		{"Europe/Berlin", zoomQuarter, "2026-12-31 23:30", time.Hour, 90, "2026-12-31 23:00", "2027-03-30 22:00"},
		{"Europe/Berlin", zoomMonth, "2026-11-05 00:00", time.Hour, 30, "2026-10-31 23:00", "2026-11-29 23:00"},
		{"Europe/Berlin", zoomDay, "2026-10-25 12:00", time.Hour, 25, "2026-10-24 22:00", "2026-10-25 22:00"},
		{"Europe/Berlin", zoomDay, "2026-03-29 12:00", 30 * time.Minute, 46, "2026-03-28 23:00", "2026-03-29 21:30"},
		{"Europe/Berlin", zoomDay, "2026-11-05 12:00", 15 * time.Minute, 24, "2026-11-04 23:00", "2026-11-05 22:00"},
		{"Asia/Kolkata", zoomDay, "2026-11-05 12:00", time.Hour, 24, "2026-11-04 18:30", "2026-11-05 18:00"},
		{"Europe/Berlin", zoomDay, "2026-11-05 12:00", 24 * time.Hour, 1, "2026-11-04 23:00", "2026-11-04 23:00"},
		{"Asia/Kolkata", zoomHour, "2026-11-05 12:00", time.Minute, 60, "2026-11-05 11:30", "2026-11-05 12:29"},
	} {
		z, err := period.ParseZone(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		cal := calendar{Settings: &metering.Settings{Zone: z, Period: c.length}}
		r := cal.stretch(c.zoom, at(c.at))
		cells := cal.cells(c.zoom, r)
		if len(cells) != c.want || !cells[0].Begin.Equal(at(c.first)) || !cells[len(cells)-1].Begin.Equal(at(c.last)) || !cells[len(cells)-1].End.Equal(r.End) {
			t.Errorf("%+v: %d cells from %v to %v", c, len(cells), cells[0].Begin.UTC(), cells[len(cells)-1].Begin.UTC())
		}
		for i := range cells[1:] {
			if !cells[i].End.Equal(cells[i+1].Begin) || cells[i].Empty() {
				t.Errorf("%+v: a gap after %v", c, cells[i])
			}
		}
	}
}

func TestCoverageEmptyAndBroken(t *testing.T) {
	s := newCoverageSite(t, &windowBook{}, "UTC", time.Hour)
	s.get("/processing/coverage").ok().says("No scope is known yet")
	s.book.states = []metering.ScopeState{state(1, "a", "", time.Time{})}
	s.get("/processing/coverage").ok().says("No window is planned yet")
	s.book.states = newWindowBook().states
	for _, method := range []string{"ScopeStates", "Coverage", "OpenWindows"} {
		s.book.broken = map[string]error{method: fault.New(fault.Unavailable, "gone")}
		if p := s.get("/processing/coverage"); p.status != 503 {
			t.Errorf("%s: %d", method, p.status)
		}
	}
}

func TestCoveragePages(t *testing.T) {
	b := &windowBook{}
	for i := range 60 {
		b.states = append(b.states, state(int64(i+1), fmt.Sprintf("s%02d", i), "", at("2026-11-21 14:00")))
	}
	s := newCoverageSite(t, b, "UTC", time.Hour)
	for page, want := range []int{25, 25, 10} {
		p := s.get("/processing/coverage?page=" + strconv.Itoa(page+1)).ok().says("of 60 scopes")
		if got := p.Find(".map tbody tr").Length(); got != want {
			t.Errorf("page %d has %d scopes", page+1, got)
		}
	}
	b.states[1].Scope.Name = "s00"
	s.get("/processing/coverage").ok().says("s00 (s00)", "s00 (s01)")
}

func TestCoverageRoles(t *testing.T) {
	s := newCoverageSite(t, newWindowBook(), "UTC", time.Hour)
	window := windowPath(1, at("2026-11-03 05:00"))
	for role, want := range map[access.Role][2]int{access.Tenant: {403, 403}, access.Viewer: {200, 403}, access.Operator: {200, 200}, access.Admin: {200, 200}} {
		s.user = &access.User{Login: "ada", Role: role, Scopes: []string{"g"}}
		for _, path := range []string{"/processing/coverage", window} {
			p := s.get(path)
			forms := p.Find(`#main form[method="post"], #main form[action*="waive"]`).Length()
			if p.status != want[0] || (forms > 0) != (want[1] == 200) {
				t.Errorf("%s: %s is %d with %d forms", role, path, p.status, forms)
			}
		}
		if p := s.get("/processing/windows/waive?scope=1&begin=2026-11-01&end=2026-12-01"); p.status != want[1] {
			t.Errorf("%s may ask: %d", role, p.status)
		}
		for _, what := range []string{"retry", "waive", "unwaive", "accept"} {
			p, _ := s.do(http.MethodPost, "/processing/windows/"+what, url.Values{"scope": {"1"}, "begin": {"2026-11-01"}, "end": {"2026-12-01"}, "reason": {"x"}})
			if allowed := p.status == http.StatusSeeOther; allowed != (want[1] == 200) {
				t.Errorf("%s may %s: %d", role, what, p.status)
			}
		}
	}
}

// sent returns what a form would send.
func sent(form *goquery.Selection, pairs ...string) url.Values {
	v := url.Values{}
	form.Find("[name]").Each(func(_ int, s *goquery.Selection) { v.Add(s.AttrOr("name", ""), s.AttrOr("value", "")) })
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

func TestCoverageChanges(t *testing.T) {
	s := newCoverageSite(t, newWindowBook(), "UTC", time.Hour)
	b := s.book
	for path, want := range map[string][2]string{
		"/processing/coverage?at=2026-11-09":              {"24 due and 2 failed windows of 2 scopes, November 2026", "[]"},
		"/processing/coverage?at=2026-11-09&scope=1":      {"2 failed windows of 1 scope, November 2026", "[1]"},
		"/processing/coverage?at=2026-11-09&state=failed": {"24 due and 2 failed windows of 2 scopes, November 2026", "[1 3]"},
	} {
		p := s.get(path).ok().says(want[0])
		form := p.Find(`form[action="/processing/windows/retry"]`)
		b.done = nil
		answer, to := s.do(http.MethodPost, form.AttrOr("action", ""), sent(form))
		if got := "retry " + want[1] + ` 01 00:00 01 00:00 "" by ada`; answer.status != 303 || to != path || !slices.Equal(b.done, []string{got}) {
			t.Errorf("%s: %d to %s, %q", path, answer.status, to, b.done)
		}
		// waiving asks
		ask := p.Find(`form[action="/processing/windows/waive"]`)
		q := s.get("/processing/windows/waive?"+sent(ask).Encode()).ok().says(strings.Split(want[0], " of ")[0], "taken back", "Genomics")
		form = q.Find(`form[method="post"][action="/processing/windows/waive"]`)
		b.done = nil
		p, _ = s.do(http.MethodPost, "/processing/windows/waive", sent(form))
		p.says("Say why; the reason is kept with the windows", "Nothing was changed")
		if p.status != 422 || len(b.done) > 0 {
			t.Errorf("without a reason: %d, %q", p.status, b.done)
		}
		p, _ = s.do(http.MethodPost, "/processing/windows/waive", sent(form, "reason", strings.Repeat("é", 501)))
		if p.status != 422 || p.says("501 characters; at most 500 are kept").Find("#reason").AttrOr("value", "") == "" {
			t.Errorf("with a long reason: %d", p.status)
		}
		s.changed = 0
		answer, to = s.do(http.MethodPost, "/processing/windows/waive", sent(form, "reason", " outage "))
		if s.changed != 1 {
			t.Errorf("%s: what was changed is told %d times", path, s.changed)
		}
		if got := "waive " + want[1] + ` 01 00:00 01 00:00 "outage" by ada`; answer.status != 303 || to != path || !slices.Equal(b.done, []string{got}) {
			t.Errorf("%s: %d to %s, %q", path, answer.status, to, b.done)
		}
	}
	// nothing is open: nothing to do
	if p := s.get("/processing/coverage?scope=2").ok(); p.Find(`#main form[method="post"]`).Length() > 0 {
		t.Error("there is something to do about what is done")
	}
	s.get("/processing/windows/waive?scope=2&begin=2026-11-01&end=2026-12-01").ok().says("No window is due or failed in this range")
}

func TestWindowForms(t *testing.T) {
	s := newCoverageSite(t, newWindowBook(), "UTC", time.Hour)
	ok := url.Values{"scope": {"1,3"}, "begin": {"2026-11-03T05:00:00Z"}, "end": {"2026-11-03T06:00:00Z"}, "back": {"//evil.example"}, "reason": {"gone"}}
	with := func(name, value string) url.Values {
		v := url.Values{}
		for k := range ok {
			v.Set(k, ok.Get(k))
		}
		v.Set(name, value)
		return v
	}
	for _, what := range []string{"retry", "waive", "unwaive", "accept"} {
		for _, bad := range []url.Values{
			with("scope", ""), with("scope", "1,x"), with("begin", ""), with("end", "soon"), with("end", "2026-11-03T05:00:00Z"), {},
		} {
			s.book.done = nil
			if p, _ := s.do(http.MethodPost, "/processing/windows/"+what, bad); p.status != 422 || len(s.book.done) > 0 {
				t.Errorf("%s %v: %d, %q", what, bad, p.status, s.book.done)
			}
		}
		for _, changed := range []int64{0, 1, 12480} {
			s.book.changed, s.book.done = changed, nil
			p, to := s.do(http.MethodPost, "/processing/windows/"+what, ok)
			if p.status != 303 || to != "/processing/coverage" || !strings.HasPrefix(strings.Join(s.book.done, ""), what+" [1 3] 03 05:00 03 06:00") {
				t.Errorf("%s: %d to %s, %q", what, p.status, to, s.book.done)
			}
			if p.header.Get("Set-Cookie") == "" {
				t.Errorf("%s says nothing", what)
			}
		}
		s.book.broken = map[string]error{what: fault.New(fault.Unavailable, "gone")}
		if p, _ := s.do(http.MethodPost, "/processing/windows/"+what, ok); p.status != 503 {
			t.Errorf("%s: %d", what, p.status)
		}
	}
	p, _ := s.do(http.MethodPost, "/processing/windows/accept", with("reason", " "))
	if p.says("Accept that there is no usage", "1 failed window").status != 422 {
		t.Errorf("%d", p.status)
	}
	left := with("leave", "1")
	s.book.done, s.book.changed = nil, 1
	p, to := s.do(http.MethodPost, "/processing/windows/waive", left)
	if p.status != 303 || to != "/processing/coverage" || len(s.book.done) != 1 {
		t.Errorf("%d to %s, %q", p.status, to, s.book.done)
	}
	left.Set("reason", " ")
	p, _ = s.do(http.MethodPost, "/processing/windows/waive", left)
	if p.says("Leave the window as it is", "It keeps the charges it has", "Say why; the reason is kept").status != 422 || p.Find(`input[name="leave"][value="1"]`).Length() != 1 {
		t.Errorf("%d", p.status)
	}
	for _, method := range []string{"ScopeStates", "OpenWindows"} {
		s.book.broken = map[string]error{method: fault.New(fault.Unavailable, "gone")}
		if p := s.get("/processing/windows/waive?scope=1&begin=2026-11-01&end=2026-12-01"); p.status != 503 {
			t.Errorf("%s: %d", method, p.status)
		}
	}
	s.book.broken = nil
	if p := s.get("/processing/windows/waive?scope=99&begin=2026-11-01&end=2026-12-01"); p.status != 404 {
		t.Errorf("%d", p.status)
	}
	if p := s.get("/processing/windows/waive?scope=all"); p.status != 422 {
		t.Errorf("%d", p.status)
	}
	s.get("/processing/windows/waive?scope=all&begin=2026-11-01&end=2026-12-01").ok().says("24 due and 2 failed windows")
}

func TestWindow(t *testing.T) {
	b := newWindowBook()
	task := int64(9)
	b.add(1, "2026-11-10 13:00", metering.Done, func(w *metering.WindowDetail) {
		w.Points, w.Unpriced, w.Amount, w.Attempts, w.Config, w.Rules = 1204, 4, money.MustParse("12.345678901234"), 2, 5, 57
		w.Took, w.Finished, w.SourceVersion = 212*time.Millisecond, at("2026-11-10 15:01"), "prometheus 3.5.0"
		w.Before, w.After, w.RedoneBy = at("2026-11-10 12:00"), at("2026-11-10 14:00"), 4
		w.Metrics = []metering.WindowMetric{
			{Metric: "cpu", Unit: "vcpu", Points: 1200, Qty: money.MustParse("2400"), Amount: money.MustParse("12")},
			{Metric: "ram", Unit: "GiB", Points: 4, Qty: money.MustParse("0.5"), Amount: money.MustParse("0.345678901234")},
		}
		w.Findings = []metering.Finding{
			{Kind: metering.Unpriced, Metric: "ram", Detail: "flavor=<x>", Points: 4},
			{Kind: metering.NotNumeric, Metric: "cpu"},
			{Kind: metering.RoundedToNil},
			{Kind: metering.Skipped},
			{Kind: metering.LabelClash},
			{Kind: metering.SourceNote},
			{Kind: "new"},
		}
		w.Superseded = []metering.Superseded{
			{At: at("2026-11-12 00:00"), Task: 4, Config: 5, Rules: 56, Points: 1204, Amount: money.MustParse("11")}, {At: at("2026-11-11 00:00"), Points: 3},
		}
	})
	b.queries = []pages.WindowQuery{{Metric: "cpu", Query: `max(cpu{project_id="g"}[3600s])`}}
	s := newCoverageSite(t, b, "Europe/Berlin", time.Hour)
	path := windowPath(1, at("2026-11-10 13:00"))
	p := s.get(path).ok().says("Genomics, 10 Nov 2026, 14:00–15:00", "done", "1,204", "12.35", "2,400", "212 ms", "prometheus 3.5.0", "version 5", "version 57",
		"4 points have no price", "No rule priced it", "flavor=<x>",
		"new", `max(cpu{project_id="g"}[3600s])`, "2026-11-10T14:00:00Z", "version that made the window", "task 4", "11.00", "processed once more", "amounts in EUR").lacks("style=", "<x>")
	if b.done[0] != "queries of g 10 13:00 version 5" {
		t.Errorf("%q", b.done)
	}
	for label, want := range map[string]string{
		"All metrics":   "/costs?begin=2026-11-10T13%3A00%3A00Z&end=2026-11-10T14%3A00%3A00Z&filter=scope%3Dg&group=metric",
		"cpu":           "/costs?begin=2026-11-10T13%3A00%3A00Z&end=2026-11-10T14%3A00%3A00Z&filter=scope%3Dg&filter=metric%3Dcpu&group=metric",
		"Window before": windowPath(1, at("2026-11-10 12:00")),
		"Window after":  windowPath(1, at("2026-11-10 14:00")),
		"On the map":    "/processing/coverage?at=2026-11-10&scope=1&zoom=day",
		"Genomics":      "/scopes/1",
		"task 4":        "/processing/tasks/4",
		"See which":     "/processing/findings?from=2026-11-10&kind=unpriced&to=2026-11-10",
		"Reprocess…":    "/processing/tasks/new?begin=2026-11-10T13%3A00%3A00Z&end=2026-11-10T14%3A00%3A00Z&kind=reprocess&scope=g",
	} {
		a := p.Find("a").FilterFunction(func(_ int, a *goquery.Selection) bool { return plain(a.Text()) == label })
		if a.Length() == 0 || href(a) != want {
			t.Errorf("%s leads to %q, want %q", label, href(a), want)
		}
	}
	if p.Find(`#main form[method="post"]`).Length() != 0 {
		t.Error("a window that is done has forms")
	}
	b.queries, b.broken = nil, map[string]error{"Queries": errors.New("secret")}
	s.get(path).ok().says("The queries can't be shown").lacks("secret")
	b.broken = nil
	s.get(path).ok().lacks("Queries")

	for _, bad := range []string{
		"/processing/windows/1/5", "/processing/windows/99/" + strconv.FormatInt(at("2026-11-10 13:00").Unix(), 10), "/processing/windows/x/1",
		"/processing/windows/1/x", "/processing/windows/1/-5", "/processing/windows/1/999999999999999",
	} {
		if p := s.get(bad); p.status != 404 || !strings.Contains(p.text, "There is no such window") {
			t.Errorf("%s: %d %s", bad, p.status, p.text)
		}
	}
	b.broken = map[string]error{"Window": fault.New(fault.Unavailable, "gone")}
	if p := s.get(path); p.status != 503 {
		t.Errorf("%d", p.status)
	}
	b.broken = nil

	// what can be done depends on the state
	next := func(w *metering.WindowDetail) { w.NextAttempt, w.Attempts = monthNow.Add(time.Hour), 3 }
	absent := func(w *metering.WindowDetail) { w.Error = "source default has no samples of cpu between A and B" }
	noAnswer := func(w *metering.WindowDetail) { w.Error = "Prometheus answered 503\nwith a line" }
	for i, c := range []struct {
		state metering.State
		set   []func(*metering.WindowDetail)
		forms string
		says  string
	}{
		{metering.Due, nil, "waive", "It waits to be processed"},
		{metering.Leased, []func(*metering.WindowDetail){func(w *metering.WindowDetail) { w.LeasedBy, w.LeasedUntil = "billing-2", monthNow }}, "waive", "billing-2"},
		{metering.Failed, []func(*metering.WindowDetail){next, noAnswer}, "retry waive", "Next try"},
		{metering.Failed, []func(*metering.WindowDetail){absent}, "retry accept waive", "collected without them"},
		{metering.Failed, []func(*metering.WindowDetail){absent, func(w *metering.WindowDetail) { w.Accepted = true }}, "retry waive", "Absence accepted"},
		{metering.Waived, []func(*metering.WindowDetail){func(w *metering.WindowDetail) { w.WaivedBy, w.WaivedFor = "bob", "lost <data>" }}, "unwaive", "lost <data>"},
		{metering.Empty, nil, "", "the scope had no usage"},
		{metering.Empty, []func(*metering.WindowDetail){noAnswer, func(w *metering.WindowDetail) { w.Task = &task }}, "retry waive", "It keeps the charges it has"},
		{metering.Done, []func(*metering.WindowDetail){next, noAnswer, func(w *metering.WindowDetail) { w.Task = &task }}, "retry waive", "task 9"},
		{metering.Done, []func(*metering.WindowDetail){func(w *metering.WindowDetail) { w.Task = new(int64) }}, "", "its re-check for late usage"},
	} {
		begin := fmt.Sprintf("2026-11-15 %02d:00", i)
		b.add(1, begin, c.state, c.set...)
		p := s.get(windowPath(1, at(begin))).ok().says(c.says)
		var forms []string
		p.Find(`#main form[method="post"]`).Each(func(_ int, f *goquery.Selection) {
			what := strings.TrimPrefix(f.AttrOr("action", ""), "/processing/windows/")
			forms = append(forms, what)
			b.done = nil
			answer, to := s.do(http.MethodPost, "/processing/windows/"+what, sent(f, "reason", "because"))
			if answer.status != 303 || to != windowPath(1, at(begin)) || !strings.HasPrefix(b.done[0], fmt.Sprintf("%s [1] %s %02d:00", what, begin[8:], i+1)[:len(what)+10]) {
				t.Errorf("%s: %d to %s, %q", what, answer.status, to, b.done)
			}
		})
		if got := strings.Join(forms, " "); got != c.forms {
			t.Errorf("%d: a window that is %d has forms %q, want %q", i, c.state, got, c.forms)
		}
		if known := c.state == metering.Done || c.state == metering.Empty; known == strings.Contains(p.text, "It is not processed") {
			t.Errorf("%d: %s", i, p.text)
		}
	}
}
