package handlers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/web"
)

// processingStore is what the overview of processing reads, in memory.
type processingStore struct {
	*ledgerStore
	counts [metering.Empty + 1]int
	ranges []period.Range
	tasks  []metering.Task
}

func (s *processingStore) StateCounts(_ context.Context, r period.Range) ([metering.Empty + 1]int, error) {
	s.ranges = append(s.ranges, r)
	return s.counts, s.ask("StateCounts")
}

func (s *processingStore) OpenTasks(context.Context) ([]metering.Task, error) {
	return s.tasks, s.ask("OpenTasks")
}

// jobList are jobs that only say so.
type jobList struct {
	all   []metering.Job
	asked []string
}

func (j *jobList) Jobs() []metering.Job { return j.all }

func (j *jobList) RunNow(name string) error {
	for _, is := range j.all {
		if is.Name == name {
			j.asked = append(j.asked, name)
			return nil
		}
	}
	return fault.New(fault.NotFound, "there is no job %q in this process", name)
}

// processingSite serves the overview of processing.
type processingSite struct {
	*monthSite
	processing *processingStore
	jobs       *jobList
	worker     *Worker
}

func newProcessingSite(t *testing.T) *processingSite {
	t.Helper()
	m := newMonthSite(t, sampleMonth(), "Europe/Berlin", monthNow)
	s := &processingSite{
		monthSite: m, processing: &processingStore{ledgerStore: m.store}, jobs: &jobList{},
		worker: &Worker{Name: "billing-1, process 4711", Collects: true},
	}
	s.worker.Jobs = s.jobs
	s.worker.Throughput = func() metering.Throughput { return metering.Throughput{Since: m.now.Add(-time.Second)} }
	for i := range m.store.states {
		m.store.states[i].ProcessedTo = at("2026-11-21 14:00")
	}
	s.serve()
	return s
}

// serve makes the area anew, with the worker as it is now.
func (s *processingSite) serve() {
	s.echo = echo.New()
	s.echo.HTTPErrorHandler = func(err error, c echo.Context) {
		status := map[fault.Kind]int{fault.NotFound: http.StatusNotFound, fault.Forbidden: http.StatusForbidden}[fault.KindOf(err)]
		_ = c.String(max(status, http.StatusBadRequest), err.Error())
	}
	needs := func(role access.Role) *echo.Group {
		return s.echo.Group("", func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				c.Set("user", s.user)
				if !s.user.May(role) {
					return fault.New(fault.Forbidden, "not yours")
				}
				return next(c)
			}
		})
	}
	h := NewProcessing(s.processing, *s.worker, s.settings, monthWait, func() time.Time { return s.now }, slog.New(slog.NewTextHandler(&s.log, nil)))
	h.Routes(&web.Router{Viewer: needs(access.Viewer), Operator: needs(access.Operator)})
}

func (s *processingSite) run(job string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.echo.ServeHTTP(w, httptest.NewRequestWithContext(s.Context(), http.MethodPost, "/processing/jobs/"+job+"/run", http.NoBody))
	return w
}

// TestProcessingHour: on the hour a window of each scope is due, which is no reason to call them behind.
func TestProcessingHour(t *testing.T) {
	s := newProcessingSite(t)
	s.now = at("2026-11-21 16:00")
	for i := range s.store.states {
		s.store.states[i].PlannedTo, s.store.states[i].Due = at("2026-11-21 15:00"), 1
	}
	p := s.get("/processing").ok().says("All 3 scopes are up to date.", "3 due").lacks("lag", "Scopes that are behind")
	if got := href(p.Find(".facts a").FilterFunction(func(_ int, a *goquery.Selection) bool { return plain(a.Text()) == "3 due" })); got != "/processing/coverage?zoom=day" {
		t.Errorf("the due windows are at %s", got)
	}
	s.now = at("2026-11-21 16:59")
	s.get("/processing").ok().says("All 3 scopes are up to date.")
	s.now = at("2026-11-21 17:00")
	s.get("/processing").ok().says("0 of 3 scopes are up to date; 3 lag up to 2 h.")
}

func TestProcessing(t *testing.T) {
	s := newProcessingSite(t)
	s.processing.counts = [metering.Empty + 1]int{metering.Done: 7152}
	p := s.get("/processing").ok().says("All 3 scopes are up to date.", "7,152 done", "Open windows none", "0 windows 0 points", "This process runs no jobs").
		lacks("Scopes that are behind", "Running tasks", "has no source")
	if want := (period.Range{Begin: at("2026-11-20 14:00"), End: at("2026-11-21 14:00")}); s.processing.ranges[0] != want {
		t.Errorf("windows of %v are counted, want %v", s.processing.ranges[0], want)
	}
	live := p.Find("[data-live]")
	if live.AttrOr("hx-get", "") != "/processing" || live.AttrOr("hx-trigger", "") != "changed" || !strings.HasPrefix(live.AttrOr("data-live", ""), "/processing/events?seen=") {
		t.Error("the page does not follow")
	}
	if p.Find("noscript").Length() != 1 || p.Find(".tabs [aria-current=page]").Text() != "Overview" {
		t.Error("no way to reload without a script, or the tabs do not say where we are")
	}
	if part := s.get("/processing", "HX-Request", "true").ok(); part.Find("main, nav").Length() != 0 || part.Find("#processing").Length() != 1 {
		t.Error("not a fragment")
	}

	states := s.store.states
	states[0].ProcessedTo, states[0].Due = at("2026-11-21 08:00"), 5
	p = s.get("/processing").ok().says("2 of 3 scopes are up to date; 1 lags 6 h.", "5 due")
	if got := p.Find("#processing").AttrOr("data-say", ""); got != "Scopes lag by more than 4 h" || p.Find(`a[href="/scopes?state=lagging"]`).Length() == 0 {
		t.Errorf("it says %q", got)
	}
	states[0].ProcessedTo = at("2026-11-21 12:00")
	if got := s.get("/processing").ok().says("2 of 3 scopes are up to date; 1 lags 2 h.").Find("#processing").AttrOr("data-say", ""); got != "Scopes lag" {
		t.Errorf("it says %q", got)
	}
	states[0].ProcessedTo = at("2026-11-21 08:00")
	states[1].ProcessedTo, states[1].Failed, states[1].Due, states[1].Error, states[1].NextAttempt = at("2026-11-21 13:00"), 1204, 3, "Prometheus <answered> 503", at("2026-11-21 15:37")
	states[2].ProcessedTo = time.Time{}
	s.processing.counts = [metering.Empty + 1]int{metering.Due: 8, metering.Leased: 2, metering.Failed: 14, metering.Waived: 1, metering.Empty: 3}
	p = s.get("/processing").ok().says("0 of 3 scopes are up to date; 1 lags 6 h; 1 is not processed yet; 1,204 windows failed.",
		"14 failed 8 due 2 in work 1 waived 3 no usage", "8 due 1,204 failed").lacks("<answered>", "All scopes that lag")
	rows := monthRows(p.table("Scopes that lag most"))
	name := []string{scopeName(states[2].Scope), scopeName(states[0].Scope), scopeName(states[1].Scope)}
	want := name[2] + " | 21 Nov 2026, 14:00 | 1 h | 3 | 1,204 | Prometheus <answered> 503 | 21 Nov 2026, 16:37"
	if len(rows) != 3 || !strings.HasPrefix(rows[0], name[0]) || !strings.HasPrefix(rows[1], name[1]) || rows[2] != want {
		t.Errorf("scopes that lag: %q, want the last %q", rows, want)
	}
	if got := href(p.table("Scopes that lag most").Find("a").First()); got != "/processing/coverage?scope=3" {
		t.Errorf("a scope leads to %s", got)
	}

	for i := range 30 {
		lag := state(int64(100+i), fmt.Sprintf("more%02d", i), "", at("2026-11-21 10:00"))
		s.store.states = append(s.store.states, lag)
	}
	p = s.get("/processing").ok()
	if n := p.table("Scopes that lag most").Find("tbody tr").Length(); n != mostBehind || !strings.Contains(p.text, "All scopes that lag") {
		t.Errorf("%d scopes that lag", n)
	}

	one := s.store.states[0]
	one.ProcessedTo, one.Due = at("2026-11-21 14:00"), 0
	idle := state(9, "idle", "", at("2026-10-01 00:00"))
	idle.Scope.Active = false
	s.store.states = []metering.ScopeState{one, idle}
	s.processing.counts = [metering.Empty + 1]int{}
	s.get("/processing").ok().says("The only scope is up to date.", "none is planned").lacks("idle")
	s.store.states = nil
	s.get("/processing").ok().says("No scope is known yet")
	s.worker.Collects, s.worker.Name = false, ""
	s.serve()
	s.get("/processing").ok().says("This process has no source of usage", "--prometheus-url").lacks("Other processes")
}

func TestProcessingTasksAndPace(t *testing.T) {
	s := newProcessingSite(t)
	s.processing.tasks = []metering.Task{
		{ID: 9, Kind: metering.Rerate, State: metering.Previewing, AllScopes: true, Reason: "look first"},
		{ID: 8, Kind: metering.Reprocess, State: metering.Running, AllScopes: true, Among: 3, Windows: 100, Left: 30, Planned: true, Reason: "<wrong> unit", Author: "olga"},
		{ID: 7, Kind: metering.Rerate, State: metering.Finished, Reason: "long ago"},
	}
	s.worker.Throughput = func() metering.Throughput {
		return metering.Throughput{Since: s.now.Add(-30 * time.Minute), Windows: 602, Failed: 2, Points: 60_299, Busy: 12 * time.Minute}
	}
	s.serve()
	p := s.get("/processing").ok().says("1,204 windows/h", "33.4 points/s", "busy for 12 min", "2 attempts failed", "30 wait for tasks", "dry run", "70 of 100", "<wrong> unit", "olga").
		lacks("long ago")
	if got := href(p.table("Tasks that are running").Find("a").Eq(1)); got != "/processing/tasks/8" {
		t.Errorf("a task leads to %s", got)
	}
}

func TestProcessingJobs(t *testing.T) {
	s := newProcessingSite(t)
	s.jobs.all = []metering.Job{
		{Name: "plan windows", Every: time.Minute, Began: s.now.Add(-10 * time.Second), Took: 212 * time.Millisecond, Next: s.now.Add(50 * time.Second)},
		{Name: "process windows", Every: 5 * time.Second, Running: true, Began: s.now.Add(-25 * time.Hour), Took: 3400 * time.Millisecond, Error: "the database <is> down", Next: s.now.Add(time.Second)},
		{Name: "discover scopes", Every: 10 * time.Minute},
	}
	p := s.get("/processing").ok().says("billing-1, process 4711", "Other processes").lacks("<is>", "Run now")
	rows := monthRows(p.table("What this process does by itself"))
	clock := func(d time.Duration, layout string) string { return s.now.Add(d).In(s.settings.Zone).Format(layout) }
	for i, want := range []string{
		"plan windows | 1 min | " + clock(-10*time.Second, "15:04:05") + " | 212 ms | done | " + clock(50*time.Second, "15:04:05"),
		"process windows | 5 s | " + clock(-25*time.Hour, "2 Jan, 15:04:05") + " | 3.4 s | running failed the database <is> down | " + clock(time.Second, "15:04:05"),
		"discover scopes | 10 min | –it has not run yet | –no run has ended yet | | –its clock does not run yet",
	} {
		if plain(rows[i]) != want {
			t.Errorf("row %d: %q, want %q", i, rows[i], want)
		}
	}
	s.user = &access.User{Login: "olga", Role: access.Operator}
	p = s.get("/processing").ok()
	form := p.Find("main form[method=post]")
	if form.Length() != 3 || form.Eq(1).AttrOr("action", "") != "/processing/jobs/process%20windows/run" {
		t.Errorf("%d forms", form.Length())
	}
	for name, want := range map[string]int{"plan%20windows": 303, "process%20windows": 303, "other": 404} {
		w := s.run(name)
		if w.Code != want || want == 303 && (w.Header().Get("Location") != "/processing" || w.Header().Get("Set-Cookie") == "") {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
	if len(s.jobs.asked) != 2 {
		t.Errorf("ran %q", s.jobs.asked)
	}
}

// TestProcessingRoles: viewers look, operators act, tenants do neither.
func TestProcessingRoles(t *testing.T) {
	s := newProcessingSite(t)
	s.jobs.all = []metering.Job{{Name: "plan"}}
	for _, role := range access.Roles {
		s.user = &access.User{Login: "x", Role: role}
		look, act := 403, 403
		if s.user.May(access.Viewer) {
			look = 200
		}
		if s.user.May(access.Operator) {
			act = 303
		}
		if got := s.get("/processing").status; got != look {
			t.Errorf("%s looks: %d", role, got)
		}
		if got := s.run("plan").Code; got != act {
			t.Errorf("%s acts: %d", role, got)
		}
		if look == 403 {
			if got := s.get("/processing/events").status; got != look {
				t.Errorf("%s follows: %d", role, got)
			}
		}
	}
}

func TestProcessingFails(t *testing.T) {
	for method, c := range map[string][2]string{
		"ScopeStates": {"The state of processing can't be read", "7,152 done"},
		"StateCounts": {"The windows can't be counted", "All 3 scopes are up to date"},
		"OpenTasks":   {"The tasks can't be read", "7,152 done"},
	} {
		s := newProcessingSite(t)
		s.processing.counts[metering.Done] = 7152
		s.store.broken = map[string]error{method: errors.New("gone")}
		s.get("/processing").ok().says(c[0], c[1]).lacks("gone")
	}
}

// TestProcessingEvents: the version holds for a while, and changes with what the page shows.
func TestProcessingEvents(t *testing.T) {
	s := newProcessingSite(t)
	s.now = at("2026-11-21 16:00")
	h := NewProcessing(s.processing, *s.worker, s.settings, monthWait, func() time.Time { return s.now }, slog.New(slog.DiscardHandler))
	version := func() string {
		t.Helper()
		v, err := h.version(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	first := version()
	s.processing.counts[metering.Done]++
	if version() != first || s.store.asked["StateCounts"] != 1 {
		t.Errorf("counted %d times", s.store.asked["StateCounts"])
	}
	for what, change := range map[string]func(){
		"windows":  func() { s.processing.counts[metering.Done]++ },
		"tasks":    func() { s.processing.tasks = []metering.Task{{ID: 1, State: metering.Running, Left: 5}} },
		"errors":   func() { s.jobs.all = []metering.Job{{Name: "a", Error: "broken"}} },
		"the time": func() { s.now = s.now.Add(processingStep) },
	} {
		before := h.latest.version
		change()
		s.now = s.now.Add(processingAge)
		if version() == before {
			t.Errorf("%s make no difference", what)
		}
	}
	s.store.broken = map[string]error{"OpenTasks": errors.New("gone")}
	s.now = s.now.Add(processingAge)
	if _, err := h.version(t.Context()); err == nil {
		t.Error("no error")
	}

	s.store.broken = nil
	server := httptest.NewServer(s.echo)
	defer server.Close()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/processing/events?seen=before", http.NoBody)
	res, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() && lines.Text() != "event: changed" {
		if strings.HasPrefix(lines.Text(), "event") {
			t.Error(lines.Text())
		}
	}
	if lines.Err() != nil || lines.Text() != "event: changed" {
		t.Errorf("%v", lines.Err())
	}
}
