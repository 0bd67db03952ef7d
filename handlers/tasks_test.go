package handlers

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/alexedwards/scs/v2/memstore"
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

// taskBook keeps tasks in memory. What it is asked to do with them, it only notes.
type taskBook struct {
	*ledgerStore
	tasks       []metering.Task // the newest first
	foreseen    []metering.TaskDifference
	changed     []metering.TaskDifference
	losses      []metering.LostPrice
	made        []metering.NewTask
	done        []string // such as "start 3 by olga"
	refuse      error    // of whatever is to be done
	listed      int      // calls of FilterTasks
	differences error
}

func (b *taskBook) Task(_ context.Context, id int64) (*metering.Task, error) {
	for i := range b.tasks {
		if t := b.tasks[i]; t.ID == id {
			return &t, nil
		}
	}
	return nil, fault.New(fault.NotFound, "there is no task %d", id)
}

func (b *taskBook) FilterTasks(_ context.Context, f metering.TaskFilter, limit, offset int) ([]metering.Task, int, error) {
	b.listed++
	all := slices.DeleteFunc(slices.Clone(b.tasks), func(t metering.Task) bool {
		return f.Kind != "" && t.Kind != f.Kind || f.States != nil && !slices.Contains(f.States, t.State)
	})
	first := min(offset, len(all))
	return all[first:min(first+limit, len(all))], len(all), nil
}

func (b *taskBook) TaskDifferences(_ context.Context, _ int64, preview bool) ([]metering.TaskDifference, error) {
	if preview {
		return b.foreseen, b.differences
	}
	return b.changed, b.differences
}

func (b *taskBook) TaskLosses(_ context.Context, _ int64, limit int) ([]metering.LostPrice, int, error) {
	return b.losses[:min(limit, len(b.losses))], len(b.losses), nil
}

func (b *taskBook) Rules(context.Context, int64) (*rating.Rules, error) {
	return &rating.Rules{Services: []rating.Service{{Name: "cpu", Fields: []rating.Field{{Name: "region"}, {Name: "flavor"}}}}}, nil
}

func (b *taskBook) CreateTask(_ context.Context, n *metering.NewTask) (int64, error) {
	b.made = append(b.made, *n)
	return 77, b.refuse
}

func (b *taskBook) StartTask(_ context.Context, id int64, actor string) error {
	return b.note("start", id, actor)
}

func (b *taskBook) CancelTask(_ context.Context, id int64, actor string) error {
	return b.note("cancel", id, actor)
}

func (b *taskBook) ResumeTask(_ context.Context, id int64, actor string) error {
	return b.note("resume", id, actor)
}

func (b *taskBook) note(what string, id int64, actor string) error {
	b.done = append(b.done, fmt.Sprint(what, " ", id, " by ", actor))
	return b.refuse
}

var taskPeople = costsUsers{
	"tom":  {Login: "tom", Role: access.Tenant, Scopes: []string{"a"}},
	"vera": {Login: "vera", Role: access.Viewer},
	"olga": {Login: "olga", Role: access.Operator},
	"anna": {Login: "anna", Role: access.Admin},
}

// taskSite serves the pages of tasks to somebody.
type taskSite struct {
	*testing.T
	book *taskBook
	site http.Handler
	who  string
	jar  map[string][]*http.Cookie
}

func newTaskSite(t *testing.T, b *taskBook, zone string) *taskSite {
	t.Helper()
	z, err := period.ParseZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	if b.ledgerStore == nil {
		b.ledgerStore = sampleMonth()
	}
	b.zone = z
	settings := &metering.Settings{Period: time.Hour, ScopeKey: "project_id", Zone: z, Currency: "EUR"}
	h := NewTasks(b, b, b, settings, monthWait, func() time.Time { return monthNow }, slog.New(slog.DiscardHandler))
	signIn := costsRoutes(func(r *web.Router) {
		r.Anyone.GET("/as/:login", func(c echo.Context) error {
			if err := web.SignIn(c, taskPeople[c.Param("login")]); err != nil {
				return err
			}
			return c.NoContent(http.StatusNoContent)
		})
	})
	site, err := web.New(web.Config{Areas: []web.Area{h, signIn}, Sessions: memstore.NewWithCleanupInterval(0), Users: taskPeople, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	s := &taskSite{t, b, site, "olga", map[string][]*http.Cookie{}}
	for login := range taskPeople {
		w := httptest.NewRecorder()
		site.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/as/"+login, http.NoBody))
		s.jar[login] = w.Result().Cookies()
	}
	return s
}

// do asks, with a form unless that is nil.
func (s *taskSite) do(method, path string, form url.Values, headers ...string) *monthPage {
	s.Helper()
	r := httptest.NewRequestWithContext(s.Context(), method, path, strings.NewReader(form.Encode()))
	r.Header.Set("Accept", "text/html")
	if form != nil {
		r.Header.Set(echo.HeaderContentType, echo.MIMEApplicationForm)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	for _, c := range s.jar[s.who] {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	s.site.ServeHTTP(w, r)
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(w.Body.String()))
	if err != nil {
		s.Fatal(err)
	}
	doc.Find("*").Each(func(_ int, e *goquery.Selection) {
		for _, a := range e.Nodes[0].Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
				s.Errorf("%s: %s has the attribute %s", path, goquery.NodeName(e), a.Key)
			}
		}
	})
	ids := map[string]bool{}
	doc.Find("[id]").Each(func(_ int, e *goquery.Selection) {
		if id := e.AttrOr("id", ""); ids[id] {
			s.Errorf("%s: the id %s is there twice", path, id)
		} else {
			ids[id] = true
		}
	})
	return &monthPage{s.T, doc, w.Code, w.Header(), words(doc.Selection)}
}

func (s *taskSite) get(path string, headers ...string) *monthPage {
	s.Helper()
	return s.do(http.MethodGet, path, nil, headers...)
}

// sampleTask is a task of two of the sample's scopes.
func sampleTask(id int64, state metering.TaskState) metering.Task {
	t := metering.Task{
		ID: id, Kind: metering.Rerate, State: state, Reason: "m1.medium was <wrong>", Author: "olga", Created: at("2026-11-20 09:00"),
		Range:  period.Range{Begin: at("2026-11-01 00:00"), End: at("2026-11-20 00:00")},
		Scopes: []*metering.Scope{{Ref: 1, ID: "a", Name: "Genomics"}, {Ref: 2, ID: "b"}}, Among: 12,
		Preview: metering.Change{
			PointsBefore: 300, PointsAfter: 290, Before: money.MustParse("100"), After: money.MustParse("100.4"),
			LostPoints: 12, LostAmount: money.MustParse("3.5"),
		},
	}
	if state == metering.Running || state == metering.Finished || state == metering.Cancelled {
		t.Windows, t.Planned, t.Started = 480, true, true
		t.Change = metering.Change{PointsBefore: 30, PointsAfter: 30, Before: money.MustParse("10"), After: money.MustParse("9.25")}
	}
	if state == metering.Running || state == metering.Cancelled {
		t.Left = 168
	}
	if state == metering.Finished || state == metering.Cancelled {
		t.EndedAt = at("2026-11-20 10:00")
	}
	return t
}

func difference(ref int64, id, name, metric, before, after string) metering.TaskDifference {
	return metering.TaskDifference{
		Scope: &metering.Scope{Ref: ref, ID: id, Name: name, Source: metering.Source{Name: "default"}}, Metric: metric,
		Change: metering.Change{PointsBefore: 100, PointsAfter: 90 + ref, Before: money.MustParse(before), After: money.MustParse(after)},
	}
}

func sampleBook(tasks ...metering.Task) *taskBook {
	return &taskBook{
		tasks: tasks,
		foreseen: []metering.TaskDifference{
			difference(1, "a", "Genomics", "cpu", "50", "51.000000000001"), difference(2, "b", "", "cpu", "30", "29.3"),
			difference(3, "c", "Chem, <i>", "a/b", "20", "20.099999999999"),
		},
		changed: []metering.TaskDifference{difference(1, "a", "Genomics", "cpu", "10", "9.25")},
		losses: []metering.LostPrice{
			{Scope: &metering.Scope{Ref: 1, ID: "a", Name: "Genomics"}, Metric: "gpu & co", Reason: metering.LossUnpriced, Detail: "flavor = g1", Points: 10, Amount: money.MustParse("3")},
			{Scope: &metering.Scope{Ref: 2, ID: "b"}, Metric: "ram", Reason: metering.LossGone, Points: 2, Amount: money.MustParse("0.5")},
		},
	}
}

// TestRulesLook holds that the form of a new rule is filled in with an attribute that rules are made of.
func TestRulesLook(t *testing.T) {
	t.Parallel()
	rules, err := (&taskBook{}).Rules(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ metric, detail, want string }{
		{"cpu", "flavor = m1, id = 17, region = west", "/pricing/rules/new?field=flavor&metric=cpu&value=m1"},
		{"cpu", `id = 17, region = "a, b"`, "/pricing/rules/new?field=region&metric=cpu&value=a%2C+b"},
		{"cpu", "id = 17, project = x", "/pricing/rules/new?metric=cpu"},
		{"cpu", "id = 17", "/pricing/rules/new?field=id&metric=cpu&value=17"},
		{"ram", "flavor = m1, id = 17", "/pricing/rules/new?metric=ram"},
		{"cpu", "flavor = long, region = very l…", "/pricing/rules/new?field=flavor&metric=cpu&value=long"},
		{"cpu", "other values", "/pricing/rules/new?metric=cpu"},
		{"cpu", "", "/pricing/rules/new?metric=cpu"},
	} {
		if got := newRulePath(test.metric, rulesLook(rules, test.metric, rating.ParseLooks(test.detail))); got != test.want {
			t.Errorf("%s of %s: %s", test.detail, test.metric, got)
		}
	}
}

func TestTaskList(t *testing.T) {
	t.Parallel()
	b := &taskBook{}
	s := newTaskSite(t, b, "Europe/Berlin")
	p := s.get("/processing/tasks").ok().says("There is no task yet", "A task does windows again that are done already")
	if p.Find(`.heading a.primary[href="/processing/tasks/new"]`).Length() != 1 || p.Find(`.tabs [aria-current=page]`).Text() != "Tasks" {
		t.Error("no way to make a task, or to the other pages")
	}
	s.who = "vera"
	s.get("/processing/tasks").ok().says("There is no task yet").lacks("/processing/tasks/new")

	waiting := sampleTask(7, metering.Previewing)
	waiting.Windows, waiting.Left, waiting.Change = 0, 0, metering.Change{}
	waiting.Error = "Prometheus answered 503"
	failing := sampleTask(5, metering.Running)
	failing.Failing, failing.Failure = 3, "no answer"
	late := sampleTask(2, metering.Finished)
	late.Kind, late.Scopes, late.Among, late.Author = metering.Recheck, late.Scopes[:1], 1, "ratebook"
	two := sampleTask(3, metering.Cancelled)
	two.Among = 2
	all := sampleTask(1, metering.Finished)
	all.AllScopes, all.Among = true, 300
	b.tasks = []metering.Task{waiting, sampleTask(6, metering.Previewed), failing, sampleTask(4, metering.Running), two, late, all}
	p = s.get("/processing/tasks").ok()
	var got []string
	p.Find("#tasks tbody tr").Each(func(_ int, tr *goquery.Selection) {
		var cells []string
		tr.Children().Each(func(i int, td *goquery.Selection) {
			if i < 3 {
				cells = append(cells, words(td))
			}
		})
		got = append(got, strings.Join(cells, " | ")+" → "+href(tr.Find("th a")))
	})
	const span = " 1 Nov, 01:00 – 20 Nov 2026, 01:00 | "
	want := []string{
		"Re-rate of Genomics and 11 others" + span + "dry run waits | +0.40 foreseen → /processing/tasks/7",
		"Re-rate of Genomics and 11 others" + span + "waits to be started | +0.40 foreseen → /processing/tasks/6",
		"Re-rate of Genomics and 11 others" + span + "running, 3 failing 312 of 480, 3 failing | −0.75 → /processing/tasks/5",
		"Re-rate of Genomics and 11 others" + span + "running 312 of 480 | −0.75 → /processing/tasks/4",
		"Re-rate of Genomics and b" + span + "cancelled 312 of 480 | −0.75 → /processing/tasks/3",
		"Late usage of Genomics" + span + "finished 480 windows | −0.75 → /processing/tasks/2",
		"Re-rate of all 300 scopes" + span + "finished 480 windows | −0.75 → /processing/tasks/1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	p.says("m1.medium was <wrong>", "EUR")
	for query, want := range map[string]string{
		"state=open": "7 6 5 4", "state=finished": "2 1", "state=running": "5 4", "kind=re-check": "2", "kind=reprocess": "", "kind=re-rate&state=finished": "1",
		"state=strange&page=99": "7 6 5 4 3 2 1", "state=cancelled&page=9": "3",
	} {
		p := s.get("/processing/tasks?"+query, "HX-Request", "true").ok()
		var ids []string
		p.Find("th a").Each(func(_ int, a *goquery.Selection) {
			ids = append(ids, strings.TrimPrefix(href(a), "/processing/tasks/"))
		})
		if got := strings.Join(ids, " "); got != want || p.Find("h1").Length() != 0 {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
		if want == "" {
			p.says("No task is like that")
		}
	}
}

func TestTaskListPages(t *testing.T) {
	t.Parallel()
	b := &taskBook{}
	for i := range 2_600 {
		task := sampleTask(int64(2_600-i), metering.Finished)
		if i%2 == 0 {
			task.Kind = metering.Recheck
		}
		b.tasks = append(b.tasks, task)
	}
	s := newTaskSite(t, b, "UTC")
	for path, want := range map[string][2]string{
		"/processing/tasks?page=2":                 {"/processing/tasks/2550", "51–100 of 2,600 tasks"},
		"/processing/tasks?page=999999999":         {"/processing/tasks/50", "2,551–2,600 of 2,600 tasks"},
		"/processing/tasks?kind=re-check&page=20":  {"/processing/tasks/700", "951–1,000 of 1,300 tasks"},
		"/processing/tasks?kind=re-check&page=200": {"/processing/tasks/100", "1,251–1,300 of 1,300 tasks"},
	} {
		p := s.get(path).ok().says(want[1])
		if got := href(p.Find("#tasks th a").First()); got != want[0] || p.Find("#tasks tbody tr").Length() != 50 {
			t.Errorf("%s begins with %s", path, got)
		}
	}
}

// The page of a task in each of its states: what it says, what it offers, and whether it keeps itself up to date.
func TestTaskStates(t *testing.T) {
	t.Parallel()
	waiting := sampleTask(1, metering.Previewing)
	waiting.Error = "Prometheus answered 503"
	without := sampleTask(1, metering.Previewed)
	without.Missing, without.Because = 12, "scope b, window 2026-11-01T00:00:00Z: no samples of cpu"
	begun := sampleTask(1, metering.Previewing)
	begun.Preview = metering.Change{}
	failing := sampleTask(1, metering.Running)
	failing.Failing, failing.Failure = 3, "cpu: no answer"
	counting := sampleTask(1, metering.Running)
	counting.Windows, counting.Left, counting.Planned, counting.Preview = 0, 0, false, metering.Change{}
	discarded := sampleTask(1, metering.Cancelled)
	discarded.Windows, discarded.Left, discarded.Change, discarded.Started = 0, 0, metering.Change{}, false
	early := sampleTask(1, metering.Cancelled)
	early.Left = 480
	early.Change = metering.Change{}
	same := sampleTask(1, metering.Previewed)
	same.Preview = metering.Change{}
	late := sampleTask(1, metering.Finished)
	late.Kind, late.Among, late.Scopes, late.Windows, late.Preview = metering.Recheck, 1, late.Scopes[:1], 1, metering.Change{}
	late.Author, late.Reason = "ratebook", "late usage: the source's answer has changed"
	for name, c := range map[string]struct {
		task    metering.Task
		live    bool
		actions string
		says    []string
		lacks   []string
	}{
		"previewing": {begun, true, "Cancel", []string{"dry run", "Nothing changes meanwhile", "It would change, so far"}, []string{"role=\"progressbar\""}},
		"waiting":    {waiting, true, "Cancel", []string{"dry run waits", "The dry run waits and is tried again", "Prometheus answered 503", "It would change, so far"}, nil},
		"without some": {without, false, "Start Discard", []string{
			"The dry run is over", "12 windows could not be computed by the dry run and are not in its sums", "The first: scope b, window 2026-11-01T00:00:00Z: no samples of cpu",
		}, []string{"The dry run is complete"}},
		"previewed": {sampleTask(1, metering.Previewed), false, "Start Discard", []string{
			"The dry run is complete. Nothing has changed",
			"Starting it changes the charges of Genomics and 11 others by +0.40 EUR; 12 points would lose their price.", "Points that would lose their price",
		}, nil},
		"nothing":   {same, false, "Start Discard", []string{"Starting it changes no amount"}, nil},
		"running":   {sampleTask(1, metering.Running), true, "Cancel", []string{"Done so far: 312 of 480 windows", "Windows already done stay done", "The dry run foresaw", "It has changed so far"}, nil},
		"failing":   {failing, true, "Cancel", []string{"running, 3 failing", "3 windows fail and are tried again", "The first: cpu: no answer"}, nil},
		"counting":  {counting, true, "Cancel", []string{"its windows are being counted"}, []string{"The dry run foresaw"}},
		"cancelled": {sampleTask(1, metering.Cancelled), false, "Resume", []string{"cancelled after 312 of 480 windows, which stay done", "Goes on with the windows that are not done"}, nil},
		"early":     {early, false, "Resume", []string{"before a window was done"}, nil},
		"discarded": {discarded, false, "Resume", []string{"discarded before it was started", "Takes it up again where it was"}, nil},
		"finished":  {sampleTask(1, metering.Finished), false, "", []string{"Done again: 480 windows", "It has changed", "Finished"}, nil},
		"late": {late, false, "", []string{
			"Late usage of Genomics", "the source answered differently for 1 window", "late usage: the source's answer has changed", "ratebook",
		}, []string{"foresaw"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTaskSite(t, sampleBook(c.task), "Europe/Berlin")
			for who, may := range map[string]bool{"vera": false, "olga": true, "anna": true} {
				s.who = who
				p := s.get("/processing/tasks/1").ok().lacks(c.lacks...)
				if may { // what the buttons do is said beside them
					p.says(c.says...)
				}
				buttons := p.Find(`#task form[method=post] button[type=submit]`).Map(func(_ int, b *goquery.Selection) string { return b.Text() })
				if got := strings.Join(buttons, " "); may && got != c.actions || !may && got != "" {
					t.Errorf("%s is offered %q", who, got)
				}
				part := p.Find("#task")
				if events, live := part.Attr("data-live"); live != c.live || live && !strings.HasPrefix(events, "/processing/tasks/1/events?seen=") {
					t.Errorf("live: %t %q", live, events)
				}
				if live := part.AttrOr("hx-get", ""); c.live && (live != "/processing/tasks/1" || part.AttrOr("hx-trigger", "") != "changed" || part.AttrOr("data-say", "") == "") {
					t.Errorf("asks for %q", live)
				}
				p.says(c.task.Reason, "20 Nov 2026, 10:00")
			}
			s.who = "tom"
			for _, path := range []string{"", "/1", "/1/events", "/1/differences.csv", "/new"} {
				if p := s.get("/processing/tasks" + path); p.status != http.StatusForbidden {
					t.Errorf("a tenant gets %d of %s", p.status, path)
				}
			}
		})
	}
}

func TestTaskPage(t *testing.T) {
	t.Parallel()
	b := sampleBook(sampleTask(3, metering.Previewed))
	s := newTaskSite(t, b, "Europe/Berlin")
	p := s.get("/processing/tasks/3").ok().says("m1.medium was <wrong>", "The stored usage is priced again with the latest rules", "Genomics , b and 10 others", "1 Nov, 01:00 – 20 Nov 2026, 01:00")
	rows := monthRows(p.table("What the task would change"))
	if diff := cmp.Diff([]string{
		"Genomics | cpu | +1.00 | 50.00 | 51.00 | 100 | 91",
		"b | cpu | −0.70 | 30.00 | 29.30 | 100 | 92",
		"Chem, <i> | a/b | +0.10 | 20.00 | 20.10 | 100 | 93",
	}, rows); diff != "" {
		t.Error(diff)
	}
	// the sum on top is that of the rows, exactly, and what the task says of itself
	total := p.table("What the task would change").Find(".total data")
	if got := total.Eq(0).AttrOr("value", "") + " " + total.Eq(0).AttrOr("title", ""); got != "0.400000000000 +0.4 EUR" && got != "0.4 +0.4 EUR" {
		t.Errorf("the difference is %s", got)
	}
	if got := p.table("The windows that change").Find("data").Eq(0).Text(); got != "+0.40" {
		t.Errorf("in sum %s", got)
	}
	if got := p.table("What the task would change").Find("tbody tr").Eq(2).Find("td a").First(); href(got) != "/metrics/a%2Fb" {
		t.Errorf("the metric leads to %s", href(got))
	}
	for sort, want := range map[string]string{
		"difference": "b Chem, <i> Genomics", "-difference": "Genomics Chem, <i> b", "scope": "b Chem, <i> Genomics", "metric": "Chem, <i> b Genomics", "-points-after": "Chem, <i> b Genomics",
		"before": "Chem, <i> b Genomics", "strange": "Genomics b Chem, <i>", "-after": "Genomics b Chem, <i>", "points-before": "b Chem, <i> Genomics",
	} {
		p := s.get("/processing/tasks/3?sort="+sort, "HX-Request", "true", "HX-Target", "task").ok()
		got := p.table("What the task would change").Find("tbody th").Map(func(_ int, th *goquery.Selection) string { return th.Text() })
		if strings.Join(got, " ") != want {
			t.Errorf("by %s: %s", sort, got)
		}
	}
	// what would lose its price comes before, with a way out
	losses := p.table("Points that would lose their price")
	if diff := cmp.Diff([]string{
		"gpu & co | flavor = g1 | Genomics | no rule prices it | 10 | 3.00 | New rule",
		"ram | –the points have no attributes | b | renamed or no longer collected: no point has this metric and these attributes any more | 2 | 0.50 | Its configuration",
	}, monthRows(losses)); diff != "" {
		t.Error(diff)
	}
	if got := href(losses.Find("tbody tr").First().Find("a").Last()); got != "/pricing/rules/new?field=flavor&metric=gpu+%26+co&value=g1" {
		t.Errorf("a new rule at %s", got)
	}
	text := p.text
	if strings.Index(text, "gpu & co") > strings.Index(text, "Differences") {
		t.Error("what would lose its price stands below the differences")
	}
	p.says("12 points that cost 3.50 EUR would cost nothing")
	s.who = "vera"
	s.get("/processing/tasks/3").ok().lacks("/pricing/rules/new", "Mend it", "<form method=\"post\" action=\"/processing")
	for _, path := range []string{"/processing/tasks/4", "/processing/tasks/x", "/processing/tasks/0", "/processing/tasks/99999999999999999999", "/processing/tasks/4/differences.csv", "/processing/tasks/4/events"} {
		if p := s.get(path); p.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, p.status)
		}
	}
	b.differences = errors.New("secret of the database")
	if p := s.get("/processing/tasks/3"); p.status != http.StatusInternalServerError || strings.Contains(p.text, "secret") {
		t.Errorf("%d %s", p.status, p.text)
	}
}

// A task that was started lists what it has changed; what was foreseen is a link away.
func TestTaskChanges(t *testing.T) {
	t.Parallel()
	b := sampleBook(sampleTask(3, metering.Running))
	b.tasks[0].Failing, b.tasks[0].Failure = 1, "no answer"
	s := newTaskSite(t, b, "Europe/Berlin")
	p := s.get("/processing/tasks/3").ok().lacks("Points that would lose their price")
	if rows := monthRows(p.table("What the task has changed so far")); len(rows) != 1 || !strings.Contains(rows[0], "−0.75") {
		t.Errorf("%s", rows)
	}
	if got := p.Find(`[role=progressbar]`).AttrOr("aria-valuenow", ""); got != "312" {
		t.Errorf("%s windows are done", got)
	}
	if got := href(p.Find(".partial a")); got != "/processing/coverage?at=2026-11-01" {
		t.Errorf("failing windows are at %s", got)
	}
	if got := href(p.Find(`a[download]`)); got != "/processing/tasks/3/differences.csv?of=done" {
		t.Errorf("the file is at %s", got)
	}
	p = s.get(href(p.Find(".subnav a").Last())).ok().says("Points that would lose their price")
	p.table("What the task would change")
	if got := p.Find("#task").AttrOr("hx-get", ""); got != "/processing/tasks/3?of=preview" {
		t.Errorf("asks for %s", got)
	}
	b.tasks[0].Among, b.tasks[0].Scopes = 1, b.tasks[0].Scopes[:1]
	b.changed = nil
	p = s.get("/processing/tasks/3").ok().says("It has changed nothing yet")
	if got := href(p.Find(".partial a")); got != "/processing/coverage?at=2026-11-01&scope=1" {
		t.Errorf("failing windows are at %s", got)
	}
	b.tasks[0].State = metering.Finished
	s.get("/processing/tasks/3").ok().says("It changed nothing")
	b.tasks[0].State, b.foreseen = metering.Previewed, nil
	s.get("/processing/tasks/3?of=done").ok().says("It would change nothing")
	b.tasks[0].State = metering.Previewing
	s.get("/processing/tasks/3").ok().says("No difference is found yet")
	b.tasks[0].State, b.tasks[0].Windows, b.tasks[0].Left, b.tasks[0].Failing = metering.Cancelled, 0, 0, 0
	s.get("/processing/tasks/3").ok().says("Windows that it had done stay done", "It has changed −0.75").lacks("Nothing has changed")
	b.tasks[0].Change = metering.Change{}
	s.get("/processing/tasks/3").ok().says("It was cancelled before a window was done", "It changed nothing")
	b.tasks[0].Started = false
	s.get("/processing/tasks/3").ok().says("It was discarded before it was started", "No difference was found")
}

func TestTaskDifferencesPages(t *testing.T) {
	t.Parallel()
	b := sampleBook(sampleTask(3, metering.Previewed))
	b.foreseen = nil
	for i := range 250 {
		b.foreseen = append(b.foreseen, difference(int64(i), fmt.Sprintf("s%03d", i), "", "cpu", "1", fmt.Sprint(2+i)))
	}
	s := newTaskSite(t, b, "UTC")
	p := s.get("/processing/tasks/3?page=2&sort=scope").ok().says("101–200 of 250 lines", "All 250 lines")
	if got := p.table("What the task would change").Find("tbody th").First().Text(); got != "s100" {
		t.Errorf("page 2 begins with %s", got)
	}
	if p := s.get("/processing/tasks/3?page=77").ok(); p.table("What").Find("tbody tr").Length() != 50 {
		t.Error("no last page")
	}
}

func TestTaskCSV(t *testing.T) {
	t.Parallel()
	s := newTaskSite(t, sampleBook(sampleTask(3, metering.Running)), "UTC")
	read := func(path string) [][]string {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
		for _, c := range s.jar["vera"] {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		s.site.ServeHTTP(w, r)
		records, err := csv.NewReader(w.Body).ReadAll()
		if err != nil || w.Header().Get("Content-Type") != "text/csv; charset=utf-8" {
			t.Fatalf("%v %v", err, w.Header())
		}
		return append(records, []string{w.Header().Get("Content-Disposition")})
	}
	if diff := cmp.Diff([][]string{
		differenceColumns,
		{"b", "", "default", "cpu", "100", "92", "30", "29.3", "-0.7", "EUR", "0", "0"},
		{"c", "Chem, <i>", "default", "a/b", "100", "93", "20", "20.099999999999", "0.099999999999", "EUR", "0", "0"},
		{"a", "Genomics", "default", "cpu", "100", "91", "50", "51.000000000001", "1.000000000001", "EUR", "0", "0"},
		{`attachment; filename="task-3-differences.csv"`},
	}, read("/processing/tasks/3/differences.csv")); diff != "" {
		t.Error(diff)
	}
	if got := read("/processing/tasks/3/differences.csv?of=done"); len(got) != 3 || got[1][8] != "-0.75" || got[2][0] != `attachment; filename="task-3-changes.csv"` {
		t.Errorf("%q", got)
	}
	if p := s.get("/processing/tasks/3/differences.csv?of=all"); p.status != http.StatusUnprocessableEntity {
		t.Errorf("%d", p.status)
	}
}

func TestTaskActions(t *testing.T) {
	t.Parallel()
	b := sampleBook(sampleTask(1, metering.Previewed), sampleTask(2, metering.Running))
	s := newTaskSite(t, b, "UTC")
	for path, said := range map[string]string{
		"/processing/tasks/1/start": "started", "/processing/tasks/1/cancel": "nothing has changed", "/processing/tasks/1/resume": "resumed", "/processing/tasks/2/cancel": "stay done",
	} {
		s.who = "vera"
		if p := s.do(http.MethodPost, path, url.Values{}); p.status != http.StatusForbidden {
			t.Errorf("a viewer gets %d of %s", p.status, path)
		}
		for _, who := range []string{"olga", "anna"} {
			s.who = who
			p := s.do(http.MethodPost, path, url.Values{})
			if p.status != http.StatusSeeOther || p.header.Get("Location") != path[:strings.LastIndex(path, "/")] {
				t.Errorf("%s: %d to %s", path, p.status, p.header.Get("Location"))
			}
			before := s.jar[who]
			for _, c := range p.header.Values("Set-Cookie") {
				cookie, err := http.ParseSetCookie(c)
				if err != nil {
					t.Fatal(err)
				}
				s.jar[who] = append(slices.Clone(s.jar[who]), cookie)
			}
			if flash := words(s.get(p.header.Get("Location")).ok().Find("#flash")); !strings.Contains(flash, said) {
				t.Errorf("%s says %q", path, flash)
			}
			s.jar[who] = before
		}
	}
	slices.Sort(b.done)
	if diff := cmp.Diff([]string{
		"cancel 1 by anna", "cancel 1 by olga", "cancel 2 by anna", "cancel 2 by olga", "resume 1 by anna", "resume 1 by olga", "start 1 by anna", "start 1 by olga",
	}, b.done); diff != "" {
		t.Error(diff)
	}
	b.refuse = &fault.Error{Kind: fault.Conflict, Message: "task 1 is running; it can't be started", Fields: []fault.Field{{Name: "scopes", Message: "task 2 has some"}}}
	p := s.do(http.MethodPost, "/processing/tasks/1/start", url.Values{})
	if p.says("Task 1 is running; it can't be started. Task 2 has some.", "Differences"); p.status != http.StatusConflict {
		t.Errorf("a conflict is answered with %d", p.status)
	}
	b.refuse = errors.New("secret of the database")
	if p := s.do(http.MethodPost, "/processing/tasks/1/start", url.Values{}); p.status != http.StatusInternalServerError || strings.Contains(p.text, "secret") {
		t.Errorf("%d", p.status)
	}
	if p := s.do(http.MethodPost, "/processing/tasks/9/start", url.Values{}); p.status != http.StatusNotFound {
		t.Errorf("%d", p.status)
	}
}

// filledTask returns what the form of a page would send, changed by pairs of names and values.
func filledTask(p *monthPage, pairs ...string) url.Values {
	form := url.Values{}
	p.Find(`#task-form [name]`).Each(func(_ int, e *goquery.Selection) {
		name, value := e.AttrOr("name", ""), e.AttrOr("value", "")
		_, checked := e.Attr("checked")
		switch kind := e.AttrOr("type", ""); {
		case goquery.NodeName(e) == "textarea":
			form.Set(name, e.Text())
		case goquery.NodeName(e) == "button", (kind == "radio" || kind == "checkbox") && !checked:
		default:
			form.Add(name, value)
		}
	})
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return form
}

func TestNewTask(t *testing.T) {
	t.Parallel()
	b := sampleBook()
	s := newTaskSite(t, b, "Europe/Berlin")
	p := s.get("/processing/tasks/new").ok().says(
		"Reprocess: collect and rate again", "Re-rate: price the stored usage again", "All active scopes (3)", "Times are Europe/Berlin", "Nothing changes until the task is started",
		"Say which scopes and windows to see how many they are")
	form := filledTask(p)
	if diff := cmp.Diff(url.Values{
		"kind": {"reprocess"}, "as_it_was": {""}, "which": {"all"}, "q": {""}, "ids": {""}, "begin": {""}, "end": {""}, "reason": {""},
	}, form); diff != "" {
		t.Error(diff)
	}
	// nothing typed: each field says so, and nothing is made
	p = s.do(http.MethodPost, "/processing/tasks", form).says("No task was made", "Say when the first window begins.", "Say when the last window ends.", "Say why")
	if p.status != http.StatusUnprocessableEntity || len(b.made) != 0 || p.Find("#reason[aria-invalid], #begin[aria-invalid], #end[aria-invalid]").Length() != 3 {
		t.Errorf("%d, %d fields are wrong", p.status, p.Find("[aria-invalid]").Length())
	}
	p = s.do(http.MethodPost, "/processing/tasks", filledTask(p, "begin", "tomorrow", "end", "2026-11-05T00:00", "which", "some", "reason", " because ", "kind", "strange")).
		says(`"tomorrow" is no time`, "Choose some scopes, or all.", "Choose one.")
	if p.status != http.StatusUnprocessableEntity || p.Find("#begin").AttrOr("value", "") != "tomorrow" || p.Find("#begin").AttrOr("type", "") != "text" || p.Find("#reason").Text() != "because" {
		t.Errorf("%d: what was typed is lost", p.status)
	}
	// the presets are links that keep what is asked for, and a form's answer to htmx
	p = s.get("/processing/tasks/new?kind=re-rate&scope=b&scope=gone&begin=2026-11-01&end=2026-11-08T00:00:00Z&as_it_was=1").ok()
	form = filledTask(p)
	if diff := cmp.Diff(url.Values{
		"kind": {"re-rate"}, "as_it_was": {"1"}, "which": {"some"}, "scope": {"b"}, "ids": {"gone"}, "q": {""}, "begin": {"2026-11-01T00:00"}, "end": {"2026-11-08T01:00"}, "reason": {""},
	}, form); diff != "" {
		t.Error(diff)
	}
	if got := href(p.Find(".chips a").Last()); got != "/processing/tasks/new?as_it_was=1&kind=re-rate&range=last-month&scope=b&scope=gone&which=some" {
		t.Errorf("last month is at %s", got)
	}
	if form := filledTask(s.get(href(p.Find(".chips a").Last())).ok()); form.Get("begin") != "2026-10-01T00:00" || form.Get("end") != "2026-11-01T00:00" || form.Get("scope") != "b" {
		t.Errorf("last month is %v", form)
	}
	form = filledTask(s.do(http.MethodPost, "/processing/tasks/new?range=this-month", filledTask(p, "reason", "kept"), "HX-Request", "true", "HX-Target", "task-new").ok())
	if form.Get("begin") != "2026-11-01T00:00" || form.Get("end") != "2026-11-21T15:00" || form.Get("reason") != "kept" {
		t.Errorf("this month is %v", form)
	}
	form.Set("ids", "c, a\nb")
	for _, now := range []bool{false, true} {
		if now {
			form.Set("now", "1")
			form.Set("kind", "reprocess")
		}
		p = s.do(http.MethodPost, "/processing/tasks", form)
		if p.status != http.StatusSeeOther || p.header.Get("Location") != "/processing/tasks/77" {
			t.Fatalf("%d to %s: %s", p.status, p.header.Get("Location"), p.text)
		}
	}
	span := period.Range{Begin: at("2026-10-31 23:00"), End: at("2026-11-21 14:00")}
	if diff := cmp.Diff([]metering.NewTask{
		{Kind: metering.Rerate, ScopeIDs: []string{"b", "c", "a"}, Range: span, Reason: "kept", Author: "olga", Preview: true},
		{Kind: metering.Reprocess, ScopeIDs: []string{"b", "c", "a"}, Range: span, AsItWas: true, Reason: "kept", Author: "olga"},
	}, b.made, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
		t.Error(diff)
	}
	if zone := b.made[0].Range.Begin.Location().String(); zone != "Europe/Berlin" {
		t.Errorf("errors would name times in %s", zone)
	}
	s.who = "vera"
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if p := s.do(method, "/processing/tasks/new", nil); p.status != http.StatusForbidden {
			t.Errorf("a viewer gets %d", p.status)
		}
	}
	if p := s.do(http.MethodPost, "/processing/tasks", form); p.status != http.StatusForbidden || len(b.made) != 2 {
		t.Errorf("a viewer gets %d", p.status)
	}
}

// What the store refuses stands beside the fields, with all that was typed.
func TestNewTaskRefused(t *testing.T) {
	t.Parallel()
	b := sampleBook()
	s := newTaskSite(t, b, "Europe/Berlin")
	form := url.Values{
		"kind": {"re-rate"}, "which": {"some"}, "scope": {"b", "a"}, "ids": {"x"}, "begin": {"2026-11-01T00:30"}, "end": {"2026-11-02T00:00"}, "reason": {"a\r\nb"}, "q": {"gen"},
	}
	fields := []fault.Field{{Name: "scopes", Message: `there is no scope "x"`}, {Name: "begin", Message: "is not the begin of a window"}, {Name: "end", Message: "is late"}, {Name: "reason", Message: "is long"}, {Name: "as_it_was", Message: "is odd"}}
	for kind, want := range map[fault.Kind]int{fault.Invalid: 422, fault.Conflict: 409} {
		b.refuse = &fault.Error{Kind: kind, Message: "the task can't be created", Fields: fields}
		p := s.do(http.MethodPost, "/processing/tasks", form).says("The task can't be created. Is odd.", `There is no scope "x".`, "Is not the begin of a window.", "Is late.", "Is long.")
		if p.status != want {
			t.Errorf("status %d", p.status)
		}
		if p.Find(`fieldset[aria-describedby=scopes-error] #scopes-error`).Length() != 1 || p.Find("[role=alert][autofocus]").Length() != 1 {
			t.Error("the error does not stand by its field")
		}
		again := filledTask(p)
		wanted := url.Values{}
		for name, values := range form {
			wanted[name] = values
		}
		wanted["reason"], wanted["as_it_was"] = []string{"a\nb"}, []string{""}
		if diff := cmp.Diff(wanted, again); diff != "" {
			t.Error(diff)
		}
	}
	b.refuse = fault.New(fault.Unavailable, "the billing zone is being changed")
	if p := s.do(http.MethodPost, "/processing/tasks", form); p.status != http.StatusServiceUnavailable {
		t.Errorf("status %d", p.status)
	}
	if p := s.do(http.MethodPost, "/processing/tasks", url.Values{"q": {strings.Repeat("x", 2<<20)}}); p.status != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", p.status)
	}
}

// What a task will look at is counted while the form is filled in.
func TestNewTaskTouches(t *testing.T) {
	t.Parallel()
	b := sampleBook()
	s := newTaskSite(t, b, "UTC")
	idle := state(4, "idle", "", at("2026-11-21 14:00"))
	idle.Scope.Active = false
	twin := state(5, "a", "Twin", at("2026-11-21 14:00"))
	twin.Scope.Source.Name = "other"
	b.states = append(b.states, idle, twin)
	form := url.Values{"kind": {"reprocess"}, "which": {"some"}, "scope": {"a"}, "begin": {"2026-11-20T00:00"}, "end": {"2026-11-23T00:00"}}
	touch := func() *monthPage {
		t.Helper()
		p := s.do(http.MethodPost, "/processing/tasks/new", form, "HX-Request", "true", "HX-Target", "task-touch").ok()
		if p.Find("#task-touch").Length() != 1 || p.Find("#task-form").Length() != 0 {
			t.Fatal("not only what was asked for")
		}
		return p
	}
	// two scopes with one id, 38 hours each up to where they are planned; costs of a on 20 and 21 Nov
	p := touch().says("20–22 Nov 2026", "Scopes 2", "up to 76", "2.60 EUR")
	if got := href(p.Find("dd a")); got != "/costs?begin=2026-11-20T00%3A00%3A00Z&end=2026-11-23T00%3A00%3A00Z&filter=scope%3Da&group=scope&group=metric" {
		t.Errorf("the charges are at %s", got)
	}
	form.Set("which", "all")
	touch().says("Scopes 4", "up to 152")
	form.Set("begin", "2026-11-22T00:00")
	touch().says("0: none of these is planned", "0 EUR")
	form.Set("end", "2026-11-21T00:00")
	touch().says("Say which scopes and windows")
	form.Set("begin", "2026-11-01T00:00")
	b.broken = map[string]error{"Report": errors.New("secret")}
	touch().says("up to", "the server's log says why").lacks("secret")
	b.broken = map[string]error{"ScopeStates": errors.New("secret")}
	if p := s.get("/processing/tasks/new"); p.status != http.StatusInternalServerError {
		t.Errorf("%d", p.status)
	}
}

// Scopes are found by name or id; those chosen stay, and there are never too many.
func TestNewTaskScopes(t *testing.T) {
	t.Parallel()
	b := sampleBook()
	s := newTaskSite(t, b, "UTC")
	b.states = nil
	for i := range 1_000 {
		b.states = append(b.states, state(int64(i+1), fmt.Sprintf("id-%04d", i), fmt.Sprintf("Name %d", i%999), at("2026-11-21 14:00")))
	}
	b.states[5].Scope.Active = false
	names := func(p *monthPage) []string {
		return p.Find(".picker label").Map(func(_ int, l *goquery.Selection) string { return l.Text() })
	}
	if got := names(s.get("/processing/tasks/new").ok().says("700 more scopes match", "All active scopes (999)")); len(got) != 300 || got[0] != "Name 0 (id-0000)" || got[1] != "Name 0 (id-0999)" {
		t.Errorf("%d scopes: %q", len(got), got[:2])
	}
	form := url.Values{"which": {"some"}, "scope": {"id-0777", "id-0005"}, "q": {" NAME 123 "}}
	p := s.do(http.MethodPost, "/processing/tasks/new", form, "HX-Request", "true", "HX-Target", "task-scopes").ok()
	if diff := cmp.Diff([]string{"Name 5 (inactive)", "Name 777", "Name 123"}, names(p)); diff != "" {
		t.Error(diff)
	}
	if p.Find("#task-form, #task-touch").Length() != 0 || p.Find("input[checked]").Length() != 2 {
		t.Error("not only the scopes")
	}
	form.Set("q", "nothing")
	form.Del("scope")
	s.do(http.MethodPost, "/processing/tasks/new", form).ok().says("No scope matches what was searched for")
	// many chosen: the presets do not carry them all, so that an address stays short
	for i := range 500 {
		form.Add("scope", fmt.Sprintf("id-%04d", i))
	}
	p = s.do(http.MethodPost, "/processing/tasks/new", form).ok()
	if got := href(p.Find(".chips a").First()); len(got) > 200 || p.Find(".picker input[checked]").Length() != 500 {
		t.Errorf("%d bytes", len(got))
	}
	b.states = nil
	s.get("/processing/tasks/new").ok().says("No scope is known yet")
}

// In a zone whose months begin within a window, a preset has the windows that begin in the month. It ends where all scopes
// are processed to; if one is stuck before the month, where its windows end.
func TestTaskPresets(t *testing.T) {
	t.Parallel()
	b := sampleBook()
	s := newTaskSite(t, b, "Asia/Kolkata")
	form := filledTask(s.get("/processing/tasks/new?range=last-month").ok())
	if form.Get("begin") != "2026-10-01T00:30" || form.Get("end") != "2026-11-01T00:30" {
		t.Errorf("%v", form)
	}
	b.states[1].ProcessedTo = at("2026-11-20 10:00")
	b.states[2].ProcessedTo = time.Time{}
	for path, end := range map[string]string{"range=this-month": "2026-11-20T15:30", "range=this-month&scope=a": "2026-11-21T19:30"} {
		if form := filledTask(s.get("/processing/tasks/new?" + path).ok()); form.Get("end") != end {
			t.Errorf("%s: %v", path, form)
		}
	}
	b.states[2].ProcessedTo = at("2026-11-21 11:00")
	page := s.get("/processing/tasks/new?range=this-month").ok().
		says("Ends 20 Nov 2026, 15:30, up to which b is processed; without it the range could reach 21 Nov 2026, 16:30.")
	if got := href(page.Find("#task-touch dd .note a")); got != "/processing/coverage?at=2026-11-20&scope=2" {
		t.Errorf("the scope that is behind is at %s", got)
	}
	s.get("/processing/tasks/new?range=this-month&scope=b").ok().says("Ends 20 Nov 2026, 15:30, up to which b is processed.").lacks("could reach")
	s.get("/processing/tasks/new?range=last-month").ok().lacks("could reach")
	s.get("/processing/tasks/new?range=this-month&scope=a").ok().lacks("up to which")
	b.states[2].ProcessedTo = b.states[1].ProcessedTo
	s.get("/processing/tasks/new?range=this-month").ok().says("up to which b and 1 other are processed; without them the range could reach 21 Nov 2026, 19:30.")
	b.states[1].ProcessedTo, b.states[1].PlannedTo = at("2026-01-20 10:00"), at("2026-11-20 09:00") // stuck since January
	stuck := filledTask(s.get("/processing/tasks/new?range=this-month").ok().says("Ends 20 Nov 2026, 14:30, up to which b has windows; without it"))
	if stuck.Get("end") != "2026-11-20T14:30" {
		t.Errorf("%v", stuck)
	}
	for i := range b.states { // as on the hour
		b.states[i].ProcessedTo, b.states[i].PlannedTo = at("2026-11-21 13:00"), at("2026-11-21 14:00")
	}
	s.get("/processing/tasks/new?range=this-month").ok().lacks("up to which")
}

// The stream tells that the task has changed since the page was made.
func TestTaskEvents(t *testing.T) {
	t.Parallel()
	b := sampleBook(sampleTask(3, metering.Running))
	s := newTaskSite(t, b, "UTC")
	server := httptest.NewServer(s.site)
	defer server.Close()
	path := s.get("/processing/tasks/3").ok().Find("#task").AttrOr("data-live", "")
	b.tasks[0].Left--
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.jar["olga"] {
		r.AddCookie(c)
	}
	res, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var text strings.Builder
	for buf := make([]byte, 512); !strings.Contains(text.String(), "event: changed"); {
		n, err := res.Body.Read(buf)
		if text.Write(buf[:n]); err != nil {
			t.Fatalf("%v: %s", err, text.String())
		}
	}
}
