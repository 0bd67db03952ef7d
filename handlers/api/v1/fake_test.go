package v1

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ratebook/access"
	"ratebook/costs"
	"ratebook/fault"
	"ratebook/handlers/api"
	"ratebook/handlers/api/openapi/openapitest"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/web"
)

// now is when the tests are.
var now = time.Date(2026, 11, 21, 12, 30, 15, 250e6, time.UTC)

// memory is a store in memory.
type memory struct {
	mu      sync.Mutex
	now     time.Time
	err     error // if set, the database is down
	rules   *rating.Rules
	edits   int // that changed something
	records map[string]rating.RecordedRule
	scripts map[string]rating.RecordedScript
	priced  map[string]bool

	metrics    []*metering.Metric
	charges    []charge
	collectors map[string]string
	states     map[string]bool
	asked      costs.Query
}

// charge is a rated point of one hour.
type charge struct {
	scope, metric     string
	begin             time.Time
	qty, price        money.Decimal
	groupby, metadata string
}

func newMemory() *memory {
	return &memory{
		now: now, rules: &rating.Rules{Version: 1, Modules: []rating.Module{
			{Name: "hashmap", Enabled: true, Priority: 1}, {Name: "noop", Enabled: true, Priority: 1}, {Name: "pyscripts", Priority: 1},
		}},
		records: map[string]rating.RecordedRule{}, scripts: map[string]rating.RecordedScript{}, priced: map[string]bool{},
		collectors: map[string]string{}, states: map[string]bool{},
	}
}

func (m *memory) Rules(context.Context, int64) (*rating.Rules, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rules, m.err
}

func (m *memory) EditRules(_ context.Context, author, _ string, edit func(*rating.Rules) (*rating.Rules, error)) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return 0, m.err
	}
	next, err := edit(m.rules)
	if err != nil || len(rating.Changes(m.rules, next)) == 0 {
		return m.rules.Version, err
	}
	m.edits++
	next.Version = m.rules.Version + 1
	for _, old := range m.rules.Hashmap {
		if _, err := next.Rule(old.ID); err != nil {
			r := m.records[old.ID]
			r.Deleted, r.DeletedBy = m.now.Truncate(time.Second), author
			m.records[old.ID] = r
		}
	}
	for _, rule := range next.Hashmap {
		all := *recorded(next, rule.Kind, rule.ID)
		all.Record = m.records[rule.ID].Record
		if all.Created.IsZero() {
			all.Created, all.CreatedBy = m.now.Truncate(time.Second), author
		} else if old, err := m.rules.Rule(rule.ID); err == nil && !(same(&rating.RecordedRule{Rule: *old}, &all) && old.Start.Equal(rule.Start) &&
			old.End.Equal(rule.End) && old.Description == rule.Description) {
			all.Updated, all.UpdatedBy = m.now.Truncate(time.Second), author
		}
		m.records[rule.ID] = all
	}
	for _, old := range m.rules.Scripts {
		if _, err := next.Script(old.ID); err != nil {
			r := m.scripts[old.ID]
			r.Deleted, r.DeletedBy = m.now.Truncate(time.Second), author
			m.scripts[old.ID] = r
		}
	}
	for _, one := range next.Scripts {
		all := rating.RecordedScript{Script: one, Record: m.scripts[one.ID].Record}
		if all.Created.IsZero() {
			all.Created, all.CreatedBy = m.now.Truncate(time.Second), author
		}
		m.scripts[one.ID] = all
	}
	m.rules = next
	return next.Version, nil
}

func (m *memory) RuleRecords(_ context.Context, deleted bool) (all []rating.RecordedRule, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(m.records)) {
		if r := m.records[id]; deleted || r.Deleted.IsZero() {
			all = append(all, r)
		}
	}
	return all, m.err
}

func (m *memory) ScriptRecords(_ context.Context, deleted bool) (all []rating.RecordedScript, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(m.scripts)) {
		if r := m.scripts[id]; deleted || r.Deleted.IsZero() {
			all = append(all, r)
		}
	}
	return all, m.err
}

func (m *memory) HasPriced(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, isRule := m.records[id]
	if _, isScript := m.scripts[id]; !isRule && !isScript && m.err == nil {
		return false, fault.New(fault.NotFound, "there is no rule or script %q", id)
	}
	return m.priced[id], m.err
}

func (m *memory) Configuration(context.Context, int64) (*metering.Configuration, error) {
	return &metering.Configuration{Metrics: m.metrics}, m.err
}

func (m *memory) Scopes(context.Context) (all []*metering.Scope, err error) {
	for _, c := range m.charges {
		all = append(all, &metering.Scope{ID: c.scope})
	}
	return all, m.err
}

// kept returns the charges that filters keep, in the order of frames.
func (m *memory) kept(r period.Range, filters []costs.Filter) (all []charge) {
	for _, c := range m.charges {
		ok := r.Contains(c.begin)
		for _, f := range filters {
			value := map[string]string{costs.Scope: c.scope, costs.Metric: c.metric}[f.Key]
			ok = ok && slices.Contains(f.Values, value)
		}
		if ok {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b charge) int {
		return cmp.Or(a.begin.Compare(b.begin), cmp.Compare(a.scope, b.scope), cmp.Compare(a.metric, b.metric))
	})
	return all
}

func (m *memory) Report(_ context.Context, q *costs.Query, yield func(costs.Row) error) (total costs.Total, err error) {
	if m.asked = *q; m.err != nil {
		return total, m.err
	}
	if err := q.Validate(); err != nil {
		return total, err
	}
	rows := map[string]costs.Row{}
	for _, c := range m.kept(q.Range, q.Filters) {
		var groups []string
		for _, g := range q.Groups {
			groups = append(groups, map[string]string{costs.Scope: c.scope, costs.Metric: c.metric}[g])
		}
		row := rows[strings.Join(groups, "\x00")]
		row.Groups, row.Cost = groups, row.Cost.Add(c.price)
		rows[strings.Join(groups, "\x00")] = row
		total.Cost = total.Cost.Add(c.price)
	}
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		if err := yield(rows[key]); err != nil {
			return total, err
		}
	}
	return total, nil
}

func (m *memory) Frames(_ context.Context, q *costs.FrameQuery, yield func(*costs.Frame) error) (points int64, err error) {
	if m.err != nil {
		return 0, m.err
	}
	all := m.kept(q.Range, q.Filters)
	for len(all) > 0 {
		f := costs.Frame{Scope: all[0].scope, Begin: all[0].begin, End: all[0].begin.Add(time.Hour)}
		for len(all) > 0 && all[0].scope == f.Scope && all[0].begin.Equal(f.Begin) {
			c := all[0]
			f.Points = append(f.Points, costs.Point{Metric: c.metric, Qty: c.qty, Price: c.price, Groupby: []byte(c.groupby), Metadata: []byte(c.metadata)})
			all = all[1:]
		}
		if err := yield(&f); err != nil {
			return 0, err
		}
	}
	return int64(len(all)), nil
}

func (m *memory) CollectorMappings(context.Context) (map[string]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.collectors), m.err
}

func (m *memory) SetCollectorMapping(_ context.Context, service, collector, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collectors[service] = collector
	return m.err
}

func (m *memory) RemoveCollectorMapping(_ context.Context, service, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.collectors[service]; !ok {
		return fault.New(fault.NotFound, "none")
	}
	delete(m.collectors, service)
	return m.err
}

func (m *memory) CollectorState(_ context.Context, name string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.states[name], m.err
}

func (m *memory) SetCollectorState(_ context.Context, name string, enabled bool, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.states[name] = enabled
	return m.err
}

// callers are who may ask, by token.
var callers = map[string]access.Caller{
	"admin":    {ID: "ada", Role: access.Admin},
	"operator": {ID: "otto", Role: access.Operator, Project: "beta"},
	"viewer":   {ID: "vera", Role: access.Viewer},
	"tenant":   {ID: "tom", Role: access.Tenant, Project: "alpha", Scopes: []string{"alpha", "gamma"}},
	"unscoped": {ID: "uwe", Role: access.Tenant},
	"nobody":   {ID: "nemo"},
}

// Authenticate takes the caller's name for a token.
func (m *memory) Authenticate(r *http.Request) (*access.Caller, error) {
	c, ok := callers[r.Header.Get("X-Auth-Token")]
	if !ok {
		return nil, fault.New(fault.Unauthenticated, "The request you have made requires authentication.")
	}
	return &c, nil
}

func (*memory) Challenge() string { return `Keystone uri="http://keystone"` }

// world is an API over a store in memory.
type world struct {
	*testing.T
	*memory
	handler http.Handler
}

func newWorld(tb testing.TB, m *memory) http.Handler {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		tb.Fatal(err)
	}
	settings := &metering.Settings{Period: time.Hour, ScopeKey: "project_id", Zone: zone, Currency: "EUR"}
	h, err := web.New(web.Config{Authenticator: m, APIs: []web.API{New(Deps{
		Rules: m, Quotes: api.NewPricer(m, nil, settings), Charges: m, Catalog: m, Collectors: m, Now: func() time.Time { return m.now },
		Settings: settings,
	})}})
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func begin(t *testing.T) *world {
	t.Parallel()
	m := newMemory()
	return &world{t, m, newWorld(t, m)}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// send asks as the admin, unless the method names another token: "viewer GET".
func (w *world) send(method, path, body string) answer {
	w.Helper()
	token := "admin"
	if who, rest, ok := strings.Cut(method, " "); ok {
		token, method = who, rest
	}
	return send(w.T, w.handler, token, method, path, body)
}

// send asks. The answer must be as the description of the API has it.
func send(tb testing.TB, h http.Handler, token, method, path, body string) answer {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), method, path, io.Reader(strings.NewReader(body)))
	r.Header.Set("X-Auth-Token", token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	openapitest.Check(tb, method, path, rec)
	return answer{rec.Code, rec.Header(), rec.Body.String()}
}

// want asks and checks the status and the body: exactly, or, of "…text…", that it contains a text.
func (w *world) want(method, path, body string, status int, want string) answer {
	w.Helper()
	got := w.send(method, path, body)
	text := strings.TrimSuffix(got.body, "\n")
	ok := text == want
	if part, some := strings.CutPrefix(want, "…"); some {
		ok = strings.Contains(text, strings.TrimSuffix(part, "…"))
	}
	if got.status != status || !ok {
		w.Errorf("%s %s %.200s:\n got %d %s\nwant %d %s", method, path, body, got.status, text, status, want)
	}
	return got
}

// refused asks and checks that the answer is an error.
func (w *world) refused(method, path, body string, status int, text string) {
	w.Helper()
	got := w.send(method, path, body)
	var f struct {
		Code  string `json:"faultcode"`
		Text  string `json:"faultstring"`
		Debug any    `json:"debuginfo"`
	}
	d := json.NewDecoder(strings.NewReader(got.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil || got.status != status || f.Text != text || f.Code != "Client" || !strings.Contains(got.body, `"debuginfo":null`) {
		w.Errorf("%s %s %.200s:\n got %d %s\nwant %d %s", method, path, body, got.status, got.body, status, text)
	}
}

// made asks for something new, and returns its id and what it is.
func (w *world) made(path, body, id string) (string, map[string]any) {
	w.Helper()
	got := w.send("POST", path, body)
	var all map[string]any
	if err := json.Unmarshal([]byte(got.body), &all); err != nil || got.status != http.StatusCreated {
		w.Fatalf("POST %s %s: %d %s", path, body, got.status, got.body)
	}
	made := all[id].(string)
	if u, _, _ := strings.Cut(path, "?"); got.header.Get("Location") != "http://example.com"+strings.TrimRight(u, "/")+"/"+made {
		w.Errorf("POST %s: it is at %s", path, got.header.Get("Location"))
	}
	return made, all
}

// show returns what there is.
func (w *world) show(path string) map[string]any {
	w.Helper()
	got := w.send("GET", path, "")
	var all map[string]any
	if err := json.Unmarshal([]byte(got.body), &all); err != nil || got.status != http.StatusOK {
		w.Fatalf("GET %s: %d %s", path, got.status, got.body)
	}
	return all
}

// text writes what show returned, for comparisons.
func text(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n")
}
