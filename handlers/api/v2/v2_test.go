package v2

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/costs"
	"ratebook/fault"
	"ratebook/handlers/api/openapi/openapitest"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rating"
)

// fakes is everything that the API needs, by functions.
type fakes struct {
	report func(q *costs.Query, yield func(costs.Row) error) error
	frames func(q *costs.FrameQuery, yield func(*costs.Frame) error) (int64, error)
	states []metering.ScopeState
	tasks  []metering.Reprocessing
	fault  error // of whatever changes something
	rules  rating.Rules

	pushed *metering.Push
	query  *costs.Query
	asked  *costs.FrameQuery
	made   *metering.NewTask
	added  *metering.NewScope
	reset  []int64
	from   time.Time
	listed []any
}

func (f *fakes) Report(_ context.Context, q *costs.Query, yield func(costs.Row) error) (costs.Total, error) {
	f.query = q
	if err := q.Validate(); err != nil {
		return costs.Total{}, err
	}
	if f.report == nil {
		return costs.Total{}, nil
	}
	return costs.Total{}, f.report(q, yield)
}

func (f *fakes) Frames(_ context.Context, q *costs.FrameQuery, yield func(*costs.Frame) error) (int64, error) {
	f.asked = q
	if f.frames == nil {
		return 0, nil
	}
	return f.frames(q, yield)
}

func (f *fakes) Push(_ context.Context, p *metering.Push) (metering.Pushed, error) {
	f.pushed = p
	return metering.Pushed{}, f.fault
}

func (f *fakes) PushedBefore(_ context.Context, p *metering.Push) (metering.Pushed, bool, error) {
	return metering.Pushed{}, f.pushed != nil && p.Idempotency != "" && f.pushed.Idempotency == p.Idempotency, nil
}

func (f *fakes) Price(_ context.Context, frames []metering.PushedFrame) (int64, error) {
	for i := range frames {
		for j := range frames[i].Points {
			frames[i].Points[j].Price = money.New(42, 0)
		}
	}
	return 7, nil
}

func (f *fakes) ScopeStates(context.Context) ([]metering.ScopeState, error) { return f.states, nil }

func (f *fakes) AddScope(_ context.Context, n metering.NewScope, _ string) (*metering.ScopeState, error) {
	f.added = &n
	if f.fault != nil {
		return nil, f.fault
	}
	return &metering.ScopeState{
		Scope:       &metering.Scope{ID: n.ID, Active: n.Active, Source: metering.Source{Name: "default", Kind: "prometheus", ScopeKey: "project_id"}},
		ProcessedTo: n.LastProcessed.Add(time.Hour), Toggled: at("2026-11-21"),
	}, nil
}

func (f *fakes) SetScopeActive(_ context.Context, ref int64, active bool, _ string) error {
	for i := range f.states {
		if f.states[i].Scope.Ref == ref {
			scope := *f.states[i].Scope
			scope.Active = active
			f.states[i].Scope, f.states[i].Toggled = &scope, at("2026-11-21T12:00")
		}
	}
	return f.fault
}

func (f *fakes) ResetScopes(_ context.Context, refs []int64, from time.Time, _, _ string) (int64, error) {
	f.reset, f.from = refs, from
	return 1, f.fault
}

func (f *fakes) CreateTask(_ context.Context, n *metering.NewTask) (int64, error) {
	f.made = n
	return 1, f.fault
}

func (f *fakes) Reprocessings(_ context.Context, ids []string, newestFirst bool, limit, offset int) ([]metering.Reprocessing, error) {
	f.listed = []any{ids, newestFirst, limit, offset}
	return f.tasks, nil
}

func (f *fakes) Rules(context.Context, int64) (*rating.Rules, error) {
	rules := f.rules
	return &rules, nil
}

func (f *fakes) EditRules(_ context.Context, _, _ string, edit func(*rating.Rules) (*rating.Rules, error)) (int64, error) {
	next, err := edit(&f.rules)
	if err != nil {
		return 0, err
	}
	f.rules = *next
	return 1, f.fault
}

func at(s string) time.Time {
	t, ok := parseTime(s)
	if !ok {
		panic(s)
	}
	return t
}

var (
	admin    = &access.Caller{ID: "ada", Role: access.Admin}
	viewer   = &access.Caller{ID: "vic", Role: access.Viewer}
	tenant   = &access.Caller{ID: "tea", Role: access.Tenant, Project: "p1", Scopes: []string{"p1", "p2"}}
	unscoped = &access.Caller{ID: "uma", Role: access.Tenant}
	nobody   = &access.Caller{ID: "noa", Role: "member"}
)

// newFakes has two scopes, one of them pushed to as well, and the default modules.
func newFakes() *fakes {
	source := metering.Source{Name: "default", Kind: "prometheus", ScopeKey: "project_id"}
	state := func(ref int64, id string, active bool, s metering.Source) metering.ScopeState {
		return metering.ScopeState{
			Scope: &metering.Scope{Ref: ref, ID: id, Active: active, Source: s}, ProcessedTo: at("2026-11-20T12:00"), Toggled: at("2026-11-01T00:00"),
		}
	}
	return &fakes{
		states: []metering.ScopeState{
			state(1, "p1", true, source), state(2, "p2", true, source), state(3, "gone", false, source),
			state(4, "p1", false, metering.Source{Name: "push", Kind: "push", ScopeKey: "project_id"}),
			state(5, "twice", true, source), state(6, "twice", true, metering.Source{Name: "other", Kind: "gnocchi", ScopeKey: "project_id"}),
		},
		rules: rating.Rules{Modules: []rating.Module{{Name: "hashmap", Enabled: true, Priority: 3}, {Name: "noop", Priority: 1}, {Name: "pyscripts", Priority: 1}}},
	}
}

func server(f *fakes, who *access.Caller) *echo.Echo {
	a := New(Deps{
		Reports: f, Frames: f, Scopes: f, Tasks: f, Rules: f, Pricer: f,
		Settings: &metering.Settings{Period: time.Hour, ScopeKey: "project_id", Zone: time.UTC, Currency: "EUR"},
		Now:      func() time.Time { return at("2026-11-21T18:00") },
	})
	e := echo.New()
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		if !c.Response().Committed {
			_ = a.Fail(c, err)
		}
	}
	e.Any("/v2", a.Bare)
	a.Routes(e.Group("/v2", func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Set("caller", who)
			return next(c)
		}
	}))
	return e
}

// ask sends a request; a body is JSON. The answer must be as the description of the API has it.
func ask(t openapitest.T, f *fakes, who *access.Caller, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	var r *http.Request
	if body == "" {
		r = httptest.NewRequest(method, "/v2", nil)
	} else {
		r = httptest.NewRequest(method, "/v2", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
	}
	path, query, _ := strings.Cut(target, "?")
	r.URL.Path, r.URL.RawQuery = path, query
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	server(f, who).ServeHTTP(w, r)
	openapitest.Check(t, method, path, w)
	return w
}

// message returns an error's text.
func message(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var m map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || len(m) != 1 {
		t.Errorf("%d %s: %v", w.Code, w.Body, err)
	}
	return m["message"]
}

func TestRefused(t *testing.T) {
	t.Parallel()
	const bad = badRequest
	for _, c := range []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", "/v2/summary?limit=0", "", 400, `Invalid data '{'limit': ['0']}' : value must be at least 1 (path: '['limit']')`},
		{"GET", "/v2/summary?limit=x", "", 400, `Invalid data '{'limit': ['x']}' : expected int (path: '['limit']')`},
		{"GET", "/v2/summary?offset=-1&limit=5", "", 400, `Invalid data '{'offset': ['-1'], 'limit': ['5']}' : value must be at least 0 (path: '['offset']')`},
		{"GET", "/v2/summary?limit=5&limit=6", "", 400, `Invalid data '{'limit': ['5', '6']}' : length of value must be 1 (path: '['limit']')`},
		{"GET", "/v2/summary?bogus=1", "", 400, `Invalid data '{'bogus': ['1']}' : extra keys not allowed (path: '['bogus']')`},
		{"GET", "/v2/summary?begin=it's", "", 400, `Invalid data '{'begin': ["it's"]}' : expected dt_from_iso (path: '['begin']')`},
		{"GET", "/v2/summary?filters=foo", "", 400, `Invalid data '{'filters': ['foo']}' : invalid key:value association foo (path: '['filters']')`},
		{"GET", "/v2/summary?filters=a:b:c", "", 400, `Invalid data '{'filters': ['a:b:c']}' : invalid key:value association a:b:c (path: '['filters']')`},
		{"GET", "/v2/summary?groupby=time-x", "", 400, `Invalid groupby time option. There is no groupby processing for [time-x].`},
		{"GET", "/v2/summary?groupby=type,begin", "", 400, `Invalid groupby [begin]. Another column has this name.`},
		{"GET", "/v2/summary?groupby=end&custom_fields=COUNT(qty)", "", 400, `Invalid groupby [end]. Another column has this name.`},
		{"GET", "/v2/summary?groupby=qty", "", 400, `Invalid groupby [qty]. Another column has this name.`},
		{"GET", "/v2/summary?groupby=time,rate&response_format=object", "", 400, `Invalid groupby [rate]. Another column has this name.`},
		{"GET", "/v2/summary?groupby=flavor&custom_fields=SUM(qty)+AS+flavor", "", 400, `Invalid data '{'groupby': ['flavor'], 'custom_fields': ['SUM(qty) AS flavor']}' : the name ['flavor'] of a custom field is taken (path: '['custom_fields']')`},
		{"GET", "/v2/summary?response_format=csv", "", 400, `Invalid response format [csv]. Valid format are [['table', 'object']].`},
		{"GET", "/v2/summary?custom_fields=DROP(qty)", "", 400, `Invalid data '{'custom_fields': ['DROP(qty)']}' : invalid custom field ['DROP(qty)']; use SUM, MIN, MAX, MEAN or COUNT of qty or price, such as SUM(price) AS rate (path: '['custom_fields']')`},
		{"GET", "/v2/summary?custom_fields=SUM(qty)+AS+x,SUM(price)+AS+x", "", 400, `Invalid data '{'custom_fields': ['SUM(qty) AS x,SUM(price) AS x']}' : the name ['x'] of a custom field is taken (path: '['custom_fields']')`},
		{"GET", "/v2/summary?%zz=%f", "", 400, `Invalid data '{'%zz': ['%f']}' : extra keys not allowed (path: '['%zz']')`},
		{"GET", "/v2/summary?g%C3%B6=%FF%0A", "", 400, `Invalid data '{'gö': ['�\n']}' : extra keys not allowed (path: '['gö']')`},
		{"GET", "/v2/dataframes?filters=type:a,type:b", "", 400, `Invalid data '{'filters': ['type:a,type:b']}' : key type already provided (path: '['filters']')`},
		{"GET", "/v2/dataframes", "", 404, `No resource found for provided filters.`},
		{"GET", "/v2/dataframes?begin=2026-11-03&end=2026-11-01", "", 404, `No resource found for provided filters.`},
		{"POST", "/v2/dataframes", "", 400, bad},
		{"POST", "/v2/dataframes", "{", 400, bad},
		{"POST", "/v2/dataframes?rat=true", "{}", 400, `Invalid data '{'rat': ['true']}' : extra keys not allowed (path: '['rat']')`},
		{"POST", "/v2/dataframes", "[]", 400, `Invalid data '[]' : expected a dictionary (path: '[]')`},
		{"POST", "/v2/dataframes", "{}", 400, `Invalid data '{}' : required key not provided (path: '['dataframes']')`},
		{"POST", "/v2/dataframes", `{"dataframes":[]}`, 400, `Parameter dataframes must not be empty.`},
		{"POST", "/v2/dataframes", `{"dataframes":{}}`, 400, `Invalid data '{'dataframes': {}}' : expected a list (path: '['dataframes']')`},
		{"GET", "/v2/scope?scope_id=nope", "", 404, `No resource found for provided filters.`},
		{"GET", "/v2/scope?scope_id=a%00", "", 400, `Invalid data '{'scope_id': ['a\x00']}' : a text can't have a NUL character (path: '['scope_id']')`},
		{"GET", "/v2/summary?filters=a:%00", "", 400, `Invalid data '{'filters': ['a:\x00']}' : a text can't have a NUL character (path: '['filters']')`},
		{"PATCH", "/v2/scope", `{"scope_id":"\u0000"}`, 400, `Invalid data '{'scope_id': '\x00'}' : a text can't have a NUL character (path: '['scope_id']')`},
		{"GET", "/v2/scope?active=maybe", "", 400, `Invalid data '{'active': ['maybe']}' : expected int (path: '['active']')`},
		{"PUT", "/v2/scope", `{}`, 400, `Either all_scopes or a scope_id should be specified.`},
		{"PUT", "/v2/scope", `{"scope_id":[],"state":"2026-11-01"}`, 400, `Either all_scopes or a scope_id should be specified.`},
		{"PUT", "/v2/scope", `{"all_scopes":true}`, 400, `Variable 'last_processed_timestamp' cannot be empty/None.`},
		{"PUT", "/v2/scope", `{"all_scopes":true,"last_processed_timestamp":null}`, 400, `Variable 'last_processed_timestamp' cannot be empty/None.`},
		{"PUT", "/v2/scope", `{"all_scopes":true,"scope_id":"p1"}`, 400, `Invalid data '{'all_scopes': True, 'scope_id': 'p1'}' : two or more values in the same group of exclusion 'scope_selector' (path: '[<scope_selector>]')`},
		{"PUT", "/v2/scope", `{"all_scopes":"perhaps"}`, 400, `Invalid data '{'all_scopes': 'perhaps'}' : expected boolean (path: '['all_scopes']')`},
		{"PUT", "/v2/scope", `{"scope_id":5.0,"x":null}`, 400, `Invalid data '{'scope_id': 5.0, 'x': None}' : extra keys not allowed (path: '['x']')`},
		{"PUT", "/v2/scope", `{"scope_id":{"a":[1,"b"]}}`, 400, `Invalid data '{'scope_id': {'a': [1, 'b']}}' : expected str (path: '['scope_id']')`},
		{"PUT", "/v2/scope", `{"scope_id":"nope","state":"2026-11-01"}`, 404, `No resource found for provided filters.`},
		{"PUT", "/v2/scope", `{"scope_id":"gone","state":"2026-11-01"}`, 404, `No resource found for provided filters.`},
		{"PUT", "/v2/scope", `{"scope_id":"p1","state":"soon"}`, 400, `Invalid data '{'scope_id': 'p1', 'state': 'soon'}' : expected dt_from_iso (path: '['state']')`},
		{"PATCH", "/v2/scope", `{}`, 400, `Invalid data '{}' : required key not provided (path: '['scope_id']')`},
		{"PATCH", "/v2/scope", `{"scope_id":"nope"}`, 404, `No resource found for provided filters.`},
		{"PATCH", "/v2/scope", `{"scope_id":"twice"}`, 404, `Too many resources found with the same scope_id: twice.`},
		{"PATCH", "/v2/scope", `{"scope_id":"p1","collector":"gnocchi"}`, 400, `Scope "p1" has the scope_key "project_id", the fetcher "prometheus" and the collector "prometheus", which can't be changed; leave them out.`},
		{"POST", "/v2/scope", `{"scope_id":"new"}`, 400, `Invalid data '{'scope_id': 'new'}' : required key not provided (path: '['last_processed_timestamp']')`},
		{"POST", "/v2/scope", `{"scope_id":"p1","last_processed_timestamp":"2026-11-01"}`, 404, `Cannot create a scope with an already existing scope_id: p1.`},
		{"POST", "/v2/task/reprocesses", `{"scope_ids":"p1"}`, 400, `Invalid data '{'scope_ids': 'p1'}' : required key not provided (path: '['start_reprocess_time']')`},
		{"GET", "/v2/task/reprocesses?order=up", "", 400, `The order [up] is not valid. Accepted values are ['asc', 'desc'].`},
		{"GET", "/v2/rating/modules/nope", "", 404, `Module 'nope' not found`},
		{"PUT", "/v2/rating/modules/nope", "{}", 404, `Module 'nope' not found`},
		{"PUT", "/v2/rating/modules/noop", `{"enabled":3}`, 400, `Invalid data '{'enabled': 3}' : expected boolean (path: '['enabled']')`},
		{"PUT", "/v2/rating/modules/noop", `{"priority":"x"}`, 400, `Invalid data '{'priority': 'x'}' : expected int (path: '['priority']')`},
		{"PUT", "/v2/rating/modules/noop", `{"priority":99999999999}`, 400, `Invalid data '{'priority': 99999999999}' : expected int (path: '['priority']')`},
		{"PUT", "/v2/rating/modules/noop", `{"hot_config":true}`, 400, `Invalid data '{'hot_config': True}' : extra keys not allowed (path: '['hot_config']')`},
		{"DELETE", "/v2/summary", "", 405, `The method is not allowed for the requested URL.`},
		{"POST", "/v2/rating/modules", "{}", 405, `The method is not allowed for the requested URL.`},
	} {
		w := ask(t, newFakes(), admin, c.method, c.target, c.body)
		if got := message(t, w); w.Code != c.status || got != c.want {
			t.Errorf("%s %s %s:\ngot  %d %s\nwant %d %s", c.method, c.target, c.body, w.Code, got, c.status, c.want)
		}
		if allow := w.Header().Get("Allow"); (c.status == 405) != (allow != "") {
			t.Errorf("%s %s: Allow %q", c.method, c.target, allow)
		}
	}
	if got := ask(t, newFakes(), admin, "DELETE", "/v2/scope", "").Header().Get("Allow"); got != "GET, HEAD, OPTIONS, PATCH, POST, PUT" {
		t.Error(got)
	}
	for _, path := range []string{"/v2", "/v2/", "/v2/summary/", "/v2/nothing", "/v2/rating/modules/", "/v2/scope/x", "/v2/rating"} {
		w := ask(t, newFakes(), admin, "GET", path, "")
		if w.Code != 404 || w.Body.String() != notFoundPage || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	w := ask(t, newFakes(), admin, "PUT", "/v2/scope", `{}`, "Content-Type", "text/plain")
	if got := message(t, w); w.Code != 400 || got != bad {
		t.Error(w.Code, got)
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	for _, e := range Endpoints() {
		target := "/v2" + strings.NewReplacer("{scope_id}", "x", "{module_id}", "noop").Replace(e.Paths[0])
		for _, who := range []*access.Caller{admin, viewer, tenant, nobody} {
			w := ask(t, newFakes(), who, e.Method, target, "{}")
			if refused := w.Code == 403; refused == who.May(e.Role) || w.Code >= 500 {
				t.Errorf("%s %s by %s: %d %s", e.Method, e.Paths[0], who.Role, w.Code, w.Body)
			}
			if w.Code == 403 && message(t, w) != "You are not authorized to perform this action" {
				t.Error(w.Body)
			}
		}
	}
}

func TestFail(t *testing.T) {
	t.Parallel()
	invalid := fault.New(fault.Invalid, "the task can't be created")
	invalid.Fields = []fault.Field{{Name: "begin", Message: "is odd"}}
	for _, c := range []struct {
		err    error
		status int
		want   string
	}{
		{io.EOF, 500, "Internal Server Error"},
		{fault.New(fault.Internal, "secret"), 500, "Internal Server Error"},
		{invalid, 400, "The task can't be created. Begin: is odd."},
		{fault.New(fault.Conflict, "busy"), 409, "Busy."},
		{fault.New(fault.Unauthenticated, "who are you?"), 401, "Who are you?"},
		{fault.New(fault.Unavailable, "later"), 503, "Later."},
		{echo.ErrStatusRequestEntityTooLarge, 413, "The data value transmitted exceeds the capacity limit."},
		{echo.ErrTooManyRequests, 429, "Too Many Requests"},
		{echo.ErrBadRequest, 400, badRequest},
	} {
		f := newFakes()
		f.report = func(*costs.Query, func(costs.Row) error) error { return c.err }
		w := httptest.NewRecorder() // not ask: not all of these happen to summaries
		server(f, admin).ServeHTTP(w, httptest.NewRequest("GET", "/v2/summary", nil))
		if got := message(t, w); w.Code != c.status || got != c.want {
			t.Errorf("%v: %d %s", c.err, w.Code, got)
		}
	}
}

// answer checks an answer, whatever the order of its members.
func answer(t *testing.T, w *httptest.ResponseRecorder, status int, want string) {
	t.Helper()
	if w.Code != status || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		t.Errorf("got %d %s %s", w.Code, w.Header(), w.Body)
	}
	if want == "" {
		if w.Body.Len() > 0 {
			t.Errorf("got %s", w.Body)
		}
		return
	}
	read := func(s string) (v any) {
		d := json.NewDecoder(strings.NewReader(s))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Errorf("%s: %v", s, err)
		}
		return v
	}
	if diff := cmp.Diff(read(want), read(w.Body.String())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestScope(t *testing.T) {
	t.Parallel()
	one := func(id, collector, active string) string {
		return `{"scope_id":"` + id + `","scope_key":"project_id","fetcher":"` + collector + `","collector":"` + collector +
			`","last_processed_timestamp":"2026-11-20T11:00:00+00:00","active":` + active + `,"scope_activation_toggle_date":"2026-11-01T00:00:00+00:00"}`
	}
	f := newFakes()
	get := func(query string) *httptest.ResponseRecorder { return ask(t, f, viewer, "GET", "/v2/scope"+query, "") }
	answer(t, get("?limit=2&offset=1"), 200, `{"results":[`+one("p2", "prometheus", "true")+","+one("gone", "prometheus", "false")+`]}`)
	answer(t, get("?scope_id=p1"), 200, `{"results":[`+one("p1", "prometheus", "true")+`]}`)
	answer(t, get("?active=0"), 200, `{"results":[`+one("gone", "prometheus", "false")+`]}`)
	answer(t, get("?collector=gnocchi,x&scope_id=twice&fetcher=gnocchi&scope_key=project_id"), 200, `{"results":[`+one("twice", "gnocchi", "true")+`]}`)

	answer(t, ask(t, f, admin, "PUT", "/v2/scope", `{"scope_id":"p1,p2","state":"2026-11-05 00:00:00+00:00"}`), 202, `{}`)
	if diff := cmp.Diff([]int64{1, 2}, f.reset); diff != "" || !f.from.Equal(at("2026-11-05")) {
		t.Error(diff, f.from)
	}
	answer(t, ask(t, f, admin, "PUT", "/v2/scope", `{"all_scopes":1,"last_processed_timestamp":"20261105T010000Z","collector":["prometheus"]}`), 202, `{}`)
	if diff := cmp.Diff([]int64{1, 2, 5}, f.reset); diff != "" || !f.from.Equal(at("2026-11-05T01:00")) {
		t.Error(diff, f.from)
	}

	toggled := strings.Replace(one("p1", "prometheus", "false"), "2026-11-01T00", "2026-11-21T12", 1)
	answer(t, ask(t, f, admin, "PATCH", "/v2/scope", `{"scope_id":"p1","active":1}`), 200, one("p1", "prometheus", "true"))
	answer(t, ask(t, f, admin, "PATCH", "/v2/scope", `{"scope_id":"p1","active":0}`), 200, toggled)

	answer(t, ask(t, f, admin, "POST", "/v2/scope", `{"scope_id":"neu ü","last_processed_timestamp":"2026-11-03","active":false}`), 200,
		`{"scope_id":"neu ü","scope_key":"project_id","fetcher":"prometheus","collector":"prometheus","last_processed_timestamp":"2026-11-03T00:00:00+00:00",
		"active":false,"scope_activation_toggle_date":"2026-11-21T00:00:00+00:00"}`)
	if diff := cmp.Diff(&metering.NewScope{ID: "neu ü", LastProcessed: at("2026-11-03")}, f.added); diff != "" {
		t.Error(diff)
	}
	f.fault = fault.New(fault.Conflict, "it is there")
	if w := ask(t, f, admin, "POST", "/v2/scope", `{"scope_id":"raced","last_processed_timestamp":"2026-11-03"}`); w.Code != 404 {
		t.Error(w.Code, w.Body)
	}
}

func TestReprocess(t *testing.T) {
	t.Parallel()
	body := func(ids, start, end, reason string) string {
		b, err := json.Marshal(map[string]any{"scope_ids": json.RawMessage(ids), "start_reprocess_time": start, "end_reprocess_time": end, "reason": reason})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, c := range []struct{ ids, start, end, reason, want string }{
		{`"p1"`, "2026-11-02", "2026-11-03", " ", "Empty or blank reason text is not allowed. Please, do inform/register the reason for the reprocessing of a previously processed timestamp."},
		{`"p1"`, "2026-11-03", "2026-11-02", "x", "End reprocessing timestamp [2026-11-02 00:00:00+00:00] cannot be less than start reprocessing timestamp [2026-11-03 00:00:00+00:00]."},
		{`["p1","ALL"]`, "2026-11-02", "2026-11-03", "x", "Cannot use 'ALL' with scope ID [['p1', 'ALL']]. Either schedule a reprocessing for all active scopes using 'ALL' option, or inform only the scopes you desire to schedule a reprocessing."},
		{`["nope","p1","gone"]`, "2026-11-02", "2026-11-03", "x", "Scopes ['nope', 'gone'] scheduled to reprocess [start=2026-11-02 00:00:00+00:00, end=2026-11-03 00:00:00+00:00] do not exist."},
		{`"p1"`, "2026-11-02T06:30", "2026-11-02T06:40", "x", "The provided reprocess time window does not comply with the configured collector period. A valid time window near the provided one is ['2026-11-02 06:00:00+00:00', '2026-11-02 07:00:00+00:00']"},
		{`"p1"`, "2026-11-02", "2026-11-02", "x", "End reprocessing timestamp [2026-11-02 00:00:00+00:00] must be after the start reprocessing timestamp: the window that begins then is not reprocessed."},
		{`"p1"`, "2026-11-20T12:00", "2026-11-20T13:00", "x", "Cannot execute a reprocessing [start=2026-11-20 12:00:00+00:00] for scope [p1] starting after the last possible timestamp [2026-11-20 11:00:00+00:00]."},
		{`"p1"`, "2026-11-20", "2026-11-20T13:00", "x", "Cannot execute a reprocessing [end=2026-11-20 13:00:00+00:00] for scope [p1] ending after the last possible timestamp [2026-11-20 12:00:00+00:00]."},
	} {
		f := newFakes()
		w := ask(t, f, admin, "POST", "/v2/task/reprocesses", body(c.ids, c.start, c.end, c.reason))
		if got := message(t, w); w.Code != 400 || got != c.want || f.made != nil {
			t.Errorf("got %d %s, want %s", w.Code, got, c.want)
		}
	}
	f := newFakes()
	r := period.Range{Begin: at("2026-11-19T05:00"), End: at("2026-11-20T12:00")}
	answer(t, ask(t, f, admin, "POST", "/v2/task/reprocess", body(`"p1,p2"`, "2026-11-19 05:00:00+00:00", "2026-11-20T12:00:00Z", "später")), 202, "{}")
	if diff := cmp.Diff(&metering.NewTask{Kind: metering.Reprocess, ScopeIDs: []string{"p1", "p2"}, Range: r, Reason: "später", Author: "ada"}, f.made); diff != "" {
		t.Error(diff)
	}
	answer(t, ask(t, f, admin, "POST", "/v2/task/reprocesses", body(`["ALL"]`, "2026-11-19T05:00", "2026-11-20T12:00", "x")), 202, "{}")
	if !f.made.AllScopes || f.made.ScopeIDs != nil {
		t.Error(f.made)
	}
	f.fault = fault.New(fault.Conflict, "task 3 has some of the same windows")
	w := ask(t, f, admin, "POST", "/v2/task/reprocesses", body(`"p1"`, "2026-11-19T05:00", "2026-11-20T12:00", "x"))
	if got := message(t, w); w.Code != 400 || !strings.HasPrefix(got, "Cannot schedule a reprocessing for scope [p1] for reprocessing time [2026-11-19T05:00:00+0000 - 2026-11-20T12:00:00+0000], because it already has a schedule for a similar time range.") {
		t.Error(w.Code, got)
	}

	answer(t, ask(t, f, viewer, "GET", "/v2/task/reprocesses", ""), 200, `{"results":[]}`)
	f.tasks = []metering.Reprocessing{
		{Task: 2, Scope: "p1", Reason: "a", Range: r}, {Task: 1, Scope: "p2", Reason: "b", Range: r, Current: at("2026-11-19T06:00")},
	}
	answer(t, ask(t, f, viewer, "GET", "/v2/task/reprocesses/p%201?order=ASC&offset=3&limit=7&scope_ids=x", ""), 200, `{"results":[
		{"scope_id":"p1","reason":"a","start_reprocess_time":"2026-11-19T05:00:00","end_reprocess_time":"2026-11-20T12:00:00","current_reprocess_time":""},
		{"scope_id":"p2","reason":"b","start_reprocess_time":"2026-11-19T05:00:00","end_reprocess_time":"2026-11-20T12:00:00","current_reprocess_time":"2026-11-19T06:00:00"}]}`)
	if diff := cmp.Diff([]any{[]string{"p%201"}, false, 7, 3}, f.listed); diff != "" {
		t.Error(diff)
	}
}

func TestModules(t *testing.T) {
	t.Parallel()
	f := newFakes()
	answer(t, ask(t, f, viewer, "GET", "/v2/rating/modules", ""), 200, `{"modules":[
		{"module_id":"hashmap","description":"HashMap rating module.","enabled":true,"hot_config":true,"priority":3},
		{"module_id":"noop","description":"Dummy test module.","enabled":true,"hot_config":false,"priority":1},
		{"module_id":"pyscripts","description":"PyScripts rating module.","enabled":false,"hot_config":true,"priority":1}]}`)
	answer(t, ask(t, f, admin, "PUT", "/v2/rating/modules/pyscripts", `{"enabled":"yes","priority":0}`), 204, "")
	answer(t, ask(t, f, viewer, "GET", "/v2/rating/modules/pyscripts", ""), 200,
		`{"module_id":"pyscripts","description":"PyScripts rating module.","enabled":true,"hot_config":true,"priority":0}`)
	answer(t, ask(t, f, admin, "PUT", "/v2/rating/modules/hashmap", `{}`), 204, "")
}
