package app

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ratebook/costs"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/store"
)

// fakeCloudKitty answers as CloudKitty does, with usage of two projects from midnight on.
type fakeCloudKitty struct {
	*httptest.Server
	answers map[string]string // by path, and query where that tells things apart
	hours   int               // of usage

	mu     sync.Mutex
	asked  map[string]int // by path
	before func(path string) (status int)
}

var (
	movingDay = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	wrongAt   = 6 // the hour after the last processed one
)

const (
	cpuID     = "11111111-0000-4000-8000-000000000001"
	flavorID  = "11111111-0000-4000-8000-000000000002"
	bulkID    = "11111111-0000-4000-8000-000000000003"
	flatID    = "11111111-0000-4000-8000-000000000004"
	tinyID    = "11111111-0000-4000-8000-000000000005"
	levelID   = "11111111-0000-4000-8000-000000000006"
	weekendID = "11111111-0000-4000-8000-000000000007"
)

func newFakeCloudKitty(t *testing.T) *fakeCloudKitty {
	t.Helper()
	const config = "/v1/rating/module_config/"
	scope := func(id, last string, active bool) string {
		return fmt.Sprintf(`{"scope_id":%q,"scope_key":"project_id","fetcher":"prometheus","collector":"prometheus","last_processed_timestamp":%q,"active":%t}`, id, last, active)
	}
	f := &fakeCloudKitty{hours: wrongAt, asked: map[string]int{}, answers: map[string]string{
		"/": `{"versions":[{"id":"v1","status":"CURRENT"},{"id":"v2","status":"EXPERIMENTAL"}]}`,
		"/v1/rating/modules/": `{"modules":[{"module_id":"noop","enabled":true,"hot-config":false,"priority":1},
			{"module_id":"hashmap","enabled":true,"hot-config":true,"priority":20},{"module_id":"pyscripts","enabled":true,"hot-config":true,"priority":1}]}`,
		config + "hashmap/services/": `{"services":[{"service_id":"` + cpuID + `","name":"cpu"}]}`,
		config + "hashmap/groups/":   `{"groups":[{"group_id":"` + bulkID + `","name":"bulk"}]}`,
		config + "hashmap/fields/":   `{"fields":[{"field_id":"` + flavorID + `","name":"flavor","service_id":"` + cpuID + `"}]}`,
		config + "hashmap/mappings/?service_id=" + cpuID: `{"mappings":[{"mapping_id":"` + flatID + `","value":null,"type":"flat","cost":"0.1000000000000000055511151231",
			"service_id":"` + cpuID + `","field_id":null,"group_id":null,"tenant_id":null,"start":"2026-10-01T00:00:00.5","end":null,"name":"base","description":"all","deleted":null}]}`,
		config + "hashmap/mappings/?field_id=" + flavorID: `{"mappings":[{"mapping_id":"` + tinyID + `","value":"m1.tiny","type":"rate","cost":"0.5000000000000000000000000000",
			"service_id":null,"field_id":"` + flavorID + `","group_id":"` + bulkID + `","tenant_id":"p1","start":"1970-01-01T00:00:00","end":"2027-01-01T00:00:00","name":"tiny","description":null}]}`,
		config + "hashmap/thresholds/?service_id=" + cpuID: `{"thresholds":[{"threshold_id":"` + levelID + `","level":"10.00000000","type":"rate","cost":"0E-28","service_id":"` + cpuID + `","field_id":null,"group_id":null,"tenant_id":null}]}`,
		config + "hashmap/thresholds/":                     `{"thresholds":[]}`,
		config + "pyscripts/scripts/":                      `{"scripts":[{"script_id":"` + weekendID + `","name":"weekend","data":"data = data\n","start":"2026-10-01T00:00:00","end":null,"description":null}]}`,
		"/v1/info/config":                                  `{"metrics":{"cpu_usage":{"unit":"vCPU","alt_name":"cpu","groupby":["id","project_id"],"metadata":["flavor"],"extra_args":{"aggregation_method":"avg"}}}}`,
		"/v2/scope":                                        `{"results":[` + scope("p1", "2026-11-02T05:00:00+00:00", true) + `,` + scope("p2", "2026-11-02T05:00:00+00:00", false) + `,` + scope("p3", "2026-11-02T04:00:00+00:00", true) + `]}`,
	}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// spoil adds what can't come over.
func (f *fakeCloudKitty) spoil() {
	add := func(path, more string) {
		f.answers[path] = strings.TrimSuffix(f.answers[path], "]}") + "," + more + "]}"
	}
	const config = "/v1/rating/module_config/"
	add("/v1/rating/modules/", `{"module_id":"acme","enabled":true,"priority":1}`)
	add(config+"hashmap/mappings/?field_id="+flavorID, `{"mapping_id":"11111111-0000-4000-8000-000000000008","value":"","type":"flat","cost":"1","field_id":"`+flavorID+`","name":"none"}`)
	add(config+"pyscripts/scripts/", `{"script_id":"11111111-0000-4000-8000-000000000009","name":"python","data":"import json\n"}`)
	f.answers["/v1/info/config"] = strings.Replace(f.answers["/v1/info/config"], `{"metrics":{`, `{"metrics":{"image.size":{"unit":"MiB","extra_args":{"resource_type":"image"}},`, 1)
	add("/v2/scope", `{"scope_id":"d1","scope_key":"domain_id","last_processed_timestamp":"2026-11-02T05:00:00+00:00","active":true},
		{"scope_id":"p4","scope_key":"project_id","last_processed_timestamp":"2026-11-02T05:30:00+00:00","active":true}`)
	f.hours++
}

func (f *fakeCloudKitty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[r.URL.Path]++
	if f.before != nil {
		if status := f.before(r.URL.Path); status != 0 {
			w.WriteHeader(status)
			return
		}
	}
	switch r.URL.Path {
	case "/v2/dataframes":
		f.dataframes(w, r)
	case "/v2/summary":
		f.summary(w)
	default:
		body, ok := f.answers[r.URL.RequestURI()]
		if !ok {
			body, ok = f.answers[r.URL.Path]
		}
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, body)
	}
}

func (f *fakeCloudKitty) dataframes(w http.ResponseWriter, r *http.Request) {
	begin, err := time.Parse(time.RFC3339, r.FormValue("begin"))
	hour := int(begin.Sub(movingDay) / time.Hour)
	if err != nil || hour < 0 || hour >= f.hours {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	const layout = "2006-01-02T15:04:05+00:00"
	point := `{"vol":{"unit":"vCPU","qty":2.0},"rating":{"price":%s},"groupby":{"id":"vm","project_id":%q,"month":"11"},"metadata":{"flavor":"m1.tiny"}}`
	fmt.Fprintf(w, `{"total":2,"dataframes":[{"period":{"begin":%q,"end":%q},"usage":{"cpu":[%s,%s]}}]}`,
		begin.Format(layout), begin.Add(time.Hour).Format(layout), fmt.Sprintf(point, "0.1", "p1"), fmt.Sprintf(point, "2e-01", "p2"))
}

// summary sums with the noise of floats.
func (f *fakeCloudKitty) summary(w http.ResponseWriter) {
	row := func(scope string, tenths int) string {
		return fmt.Sprintf(`["b","e",%q,%d.0,%d.%d000000000000001,"cpu"]`, scope, 2*f.hours, tenths/10, tenths%10)
	}
	fmt.Fprintf(w, `{"total":2,"columns":["begin","end","project_id","qty","rate","type"],"results":[%s,%s]}`, row("p1", f.hours), row("p2", 2*f.hours))
}

// movedTo is a Ratebook to move to.
type movedTo struct {
	t    *testing.T
	fake *fakeCloudKitty
	url  string
}

func newMove(t *testing.T) *movedTo {
	m := &movedTo{t, newFakeCloudKitty(t), "sqlite://" + filepath.Join(t.TempDir(), "ratebook.db")}
	var out bytes.Buffer
	if code := Main(t.Context(), []string{"migrate", "up", "--database-url", m.url}, Streams{In: strings.NewReader(""), Out: &out, Err: &out}); code != 0 {
		t.Fatal(out.String())
	}
	return m
}

// run runs the import with data frames, and returns what it prints, without what differs from run to run.
func (m *movedTo) run(ctx context.Context, want int, flags ...string) (out, stderr string) {
	m.t.Helper()
	var o, e bytes.Buffer
	args := append([]string{"import", "cloudkitty", "--database-url", m.url, "--endpoint", m.fake.URL, "--dataframes", "--begin", "2026-11-02", "--end", "2026-11-02T08:00:00Z"}, flags...)
	if code := Main(ctx, args, Streams{In: strings.NewReader(""), Out: &o, Err: &e}); code != want {
		m.t.Fatalf("status %d, want %d: %s%s", code, want, o.String(), e.String())
	}
	if want != exitDone {
		if err := isSentence(e.String()); err != nil {
			m.t.Errorf("%v: %s", err, e.String())
		}
	}
	return strings.ReplaceAll(o.String(), m.fake.URL, "URL"), e.String()
}

func (m *movedTo) with(fn func(s *store.Store)) {
	m.t.Helper()
	f := databaseFlags{DatabaseURL: m.url}
	s, err := f.open(&run{ctx: m.t.Context(), log: newLog(&bytes.Buffer{}, "text", "error")})
	if err != nil {
		m.t.Fatal(err)
	}
	defer s.Close()
	fn(s)
}

func (m *movedTo) check(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// costs are by scope.
func (m *movedTo) costs(s *store.Store) map[string]string {
	all := map[string]string{}
	q := &costs.Query{Range: period.Range{Begin: movingDay, End: movingDay.AddDate(0, 0, 1)}, Groups: []string{costs.Scope}}
	_, err := s.Report(m.t.Context(), q, func(r costs.Row) error {
		all[r.Groups[0]] = r.Cost.String()
		return nil
	})
	m.check(err)
	return all
}

func TestImportCloudKitty(t *testing.T) {
	m := newMove(t)
	const totals = `
Totals from 2026-11-02T00:00:00Z to 2026-11-02T08:00:00Z:

SCOPE  TYPE  CLOUDKITTY          RATEBOOK  DIFFERENCE
p1     cpu   0.6000000000000001  0.6       -0.0000000000000001
p2     cpu   1.2000000000000001  1.2       -0.0000000000000001
all    all   1.8000000000000002  1.8       -0.0000000000000002
`
	const kinds = `
               CAME OVER  HERE ALREADY  NOT, OR NOT AS IT WAS
      modules          2             1                      0
     services          1             0                      0
       fields          1             0                      0
       groups          1             0                      0
     mappings          2             0                      0
   thresholds          1             0                      0
      scripts          1             0                      0
      metrics          1             0                      0
       scopes          3             0                      0
  data points         12             0                      0
`
	out, _ := m.run(t.Context(), exitDone, "--dry-run")
	if !strings.HasPrefix(out, "Nothing was changed. This would come over from CloudKitty at URL:\n") || !strings.Contains(out, kinds) {
		t.Errorf("a dry run:\n%s", out)
	}
	m.with(func(s *store.Store) {
		states, err := s.ScopeStates(t.Context())
		m.check(err)
		rules, err := s.Rules(t.Context(), 0)
		m.check(err)
		if len(states) > 0 || rules.Version != 0 || len(m.costs(s)) > 0 {
			t.Errorf("the dry run left %v, %v", states, rules)
		}
	})

	out, _ = m.run(t.Context(), exitDone)
	if diff := cmp.Diff("From CloudKitty at URL:\n"+kinds+totals, out); diff != "" {
		t.Errorf("- want, + got:\n%s", diff)
	}
	wanted := &rating.Rules{
		Version: 1,
		Modules: []rating.Module{{Name: "hashmap", Enabled: true, Priority: 20}, {Name: "noop", Enabled: true, Priority: 1}, {Name: "pyscripts", Enabled: true, Priority: 1}},
		Groups:  []rating.Group{{ID: bulkID, Name: "bulk"}}, Services: []rating.Service{{ID: cpuID, Name: "cpu", Fields: []rating.Field{{ID: flavorID, Name: "flavor"}}}},
		Hashmap: []rating.Rule{
			{
				ID: flatID, Kind: rating.Mapping, Service: "cpu", Type: rating.Flat, Cost: money.MustParse("0.1000000000000000055511151231"),
				Start: time.Date(2026, 10, 1, 0, 0, 1, 0, time.UTC), Name: "base", Description: "all",
			},
			{
				ID: tinyID, Kind: rating.Mapping, Service: "cpu", Field: "flavor", Value: "m1.tiny", Type: rating.Rate, Cost: money.MustParse("0.5"), Group: "bulk", Scope: "p1",
				Start: time.Unix(0, 0).UTC(), End: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), Name: "tiny",
			},
			{ID: levelID, Kind: rating.Threshold, Service: "cpu", Level: money.MustParse("10"), Type: rating.Rate},
		},
		Scripts: []rating.Script{{ID: weekendID, Name: "weekend", Data: "data = data\n", Start: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)}},
	}
	m.with(func(s *store.Store) {
		rules, err := s.Rules(t.Context(), 0)
		m.check(err)
		if diff := cmp.Diff(wanted, rules); diff != "" {
			t.Errorf("rules (- want, + got):\n%s", diff)
		}
		states, err := s.ScopeStates(t.Context())
		m.check(err)
		var scopes []string
		for _, state := range states {
			if state.Scope.Source.Kind != metering.PushSource {
				scopes = append(scopes, fmt.Sprintf("%s %t %s", state.Scope.ID, state.Scope.Active, state.LastProcessed(time.Hour).Format("15:04")))
			}
		}
		if want := []string{"p1 true 05:00", "p2 false 05:00", "p3 true 04:00"}; !slices.Equal(scopes, want) {
			t.Errorf("scopes %q, want %q", scopes, want)
		}
		configuration, err := s.Configuration(t.Context(), 0)
		m.check(err)
		if len(configuration.Metrics) != 1 || configuration.Metrics[0].Name != "cpu" || !slices.Equal(configuration.Metrics[0].Metadata, []string{"flavor"}) {
			t.Errorf("metrics %v", configuration.Metrics)
		}
		if got, want := m.costs(s), map[string]string{"p1": "0.6", "p2": "1.2"}; !maps.Equal(got, want) {
			t.Errorf("costs %v, want %v", got, want)
		}
		// what is deleted, changed or ended here stays so
		_, err = s.EditRules(t.Context(), "tester", "", func(r *rating.Rules) (*rating.Rules, error) {
			r, err := r.Remove(flatID)
			m.check(err)
			r, err = r.RemoveScript(weekendID)
			m.check(err)
			priority := 7
			r, err = r.SetModule("hashmap", nil, &priority)
			m.check(err)
			return r.End(tinyID, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
		})
		m.check(err)
	})

	before := m.fake.asked["/v2/dataframes"]
	out, _ = m.run(t.Context(), exitDone)
	again := regexp.MustCompile(`(?m)^( *[a-z ]+\S) +[1-9]\d* +\d+ +\d+$`)
	if found := again.FindString(out); found != "" || !strings.Contains(out, "  data points          0            12                      0\n") {
		t.Errorf("the second time %q comes over:\n%s", found, out)
	}
	if n := m.fake.asked["/v2/dataframes"] - before; n != 2 { // the hours without any
		t.Errorf("%d periods were asked for again", n)
	}
	m.with(func(s *store.Store) {
		rules, err := s.Rules(t.Context(), 0)
		m.check(err)
		if rules.Version != 2 || len(rules.Hashmap) != 2 || len(rules.Scripts) != 0 || rules.Modules[0].Priority != 7 || rules.Hashmap[0].End.Month() != time.December {
			t.Errorf("the second time rules changed: %+v", rules)
		}
		if got, want := m.costs(s), map[string]string{"p1": "0.6", "p2": "1.2"}; !maps.Equal(got, want) {
			t.Errorf("the second time costs are %v, want %v", got, want)
		}
	})
}

// TestImportCloudKittyProblems imports from one that has what can't come over, and is not done with processing.
func TestImportCloudKittyProblems(t *testing.T) {
	m := newMove(t)
	m.fake.spoil()
	for range 2 { // the report is complete each time
		out, stderr := m.run(t.Context(), exitFailed)
		for _, want := range []string{
			"  module acme: Ratebook has no such module\n",
			"  mapping of cpu, flavor = \"\": flat 1, name none (11111111-0000-4000-8000-000000000008): value: a mapping of an attribute needs the value it applies to\n",
			"  script python: it is stored, but never runs, since it does not compile: line 1: ",
			"  metric image.size: is not the name of a Prometheus metric",
			"  scope d1: its scope key is domain_id, and here it is project_id\n",
			"  scope p4: it is processed up to the period that begins at 2026-11-02T05:30:00Z, but no period of 1h0m0s does; is --period that of CloudKitty?\n",
			"  data frames of scope p1: 1 point left out: from 2026-11-02T06:00:00Z on its usage is charged here, and would be twice\n",
			"  data frames of scope p2: 1 point left out: ",
			"  totals: 2 totals differ by more than CloudKitty's rounding; see the comparison\n",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in the report:\n%s", want, out)
			}
		}
		if want := "ratebook: 9 things did not come over, or not as it was; the report says which and why\n"; !strings.HasSuffix(stderr, want) {
			t.Errorf("%q, want %q", stderr, want)
		}
	}
	m.with(func(s *store.Store) {
		if got, want := m.costs(s), map[string]string{"p1": "0.6", "p2": "1.2"}; !maps.Equal(got, want) {
			t.Errorf("costs %v, want %v", got, want)
		}
		rules, err := s.Rules(t.Context(), 0)
		m.check(err)
		if rules.Version != 1 || len(rules.Hashmap) != 3 || len(rules.Scripts) != 2 {
			t.Errorf("rules %+v", rules)
		}
	})
}

// TestImportCloudKittyForbidden keeps the hashmap from being read: nothing of it comes over, but everything else.
func TestImportCloudKittyForbidden(t *testing.T) {
	m := newMove(t)
	m.fake.before = func(path string) int {
		if strings.HasSuffix(path, "/thresholds/") {
			return http.StatusForbidden
		}
		return 0
	}
	out, _ := m.run(t.Context(), exitFailed)
	if !strings.Contains(out, "  the hashmap: CloudKitty at URL, GET /v1/rating/module_config/hashmap/thresholds/: the token may not read this (403 Forbidden)") || strings.Contains(out, "mappings") {
		t.Errorf("the report:\n%s", out)
	}
	m.with(func(s *store.Store) {
		rules, err := s.Rules(t.Context(), 0)
		m.check(err)
		if len(rules.Services) != 0 || len(rules.Scripts) != 1 || len(m.costs(s)) != 2 {
			t.Errorf("%+v, %v", rules, m.costs(s))
		}
	})

	m = newMove(t)
	m.fake.before = func(path string) int {
		if path == "/v1/rating/modules/" {
			return http.StatusUnauthorized
		}
		return 0
	}
	out, stderr := m.run(t.Context(), exitFailed)
	if out != "" || !strings.Contains(stderr, "openstack token issue") {
		t.Errorf("without a token: %s%s", out, stderr)
	}
}

// TestImportCloudKittyResumed stops imports at each request, and does them again.
func TestImportCloudKittyResumed(t *testing.T) {
	m := newMove(t)
	total := 0
	for stop := 1; ; stop++ {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		m.fake.before = func(string) int {
			if n++; n == stop {
				cancel()
			}
			return 0
		}
		var o, e bytes.Buffer
		args := []string{"import", "cloudkitty", "--database-url", m.url, "--endpoint", m.fake.URL, "--dataframes", "--begin", "2026-11-02T00:00:00Z", "--end", "2026-11-02T08:00:00Z"}
		code := Main(ctx, args, Streams{In: strings.NewReader(""), Out: &o, Err: &e})
		cancel()
		if n < stop { // nothing stopped it
			if code != exitDone {
				t.Fatalf("status %d: %s%s", code, o.String(), e.String())
			}
			break
		}
		if total++; code == exitDone && !strings.Contains(o.String(), "Totals from") || code != exitDone && !strings.Contains(e.String(), "stopped before it was done") {
			t.Fatalf("stopped at request %d: status %d: %s%s", stop, code, o.String(), e.String())
		}
	}
	if total < 10 {
		t.Errorf("it was stopped %d times", total)
	}
	m.with(func(s *store.Store) {
		rules, err := s.Rules(t.Context(), 0)
		m.check(err)
		if got, want := m.costs(s), map[string]string{"p1": "0.6", "p2": "1.2"}; !maps.Equal(got, want) || rules.Version != 1 || len(rules.Hashmap) != 3 {
			t.Errorf("costs %v, want %v; rules %+v", got, want, rules)
		}
	})
}

func TestImportCloudKittyUsage(t *testing.T) {
	m := newMove(t)
	for _, flags := range [][]string{
		{"--end", "2026-11-02T00:30:00Z"},
		{"--end", "2026-11-01"},
		{"--begin", "never"},
		{"--begin", "", "--end", ""},
		{"--endpoint", "cloudkitty"},
		{"--token-file", filepath.Join(t.TempDir(), "none")},
	} {
		if out, stderr := m.run(t.Context(), exitUsage, flags...); out != "" || len(m.fake.asked) > 0 {
			t.Errorf("%q: %s%s", flags, out, stderr)
		}
	}
}
