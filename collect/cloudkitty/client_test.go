package cloudkitty

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
)

const secretToken = "gAAAAAsecret"

// serve returns a client of a server that answers paths, with or without their queries, as CloudKitty does; what it doesn't know
// is not found.
func serve(t *testing.T, answers map[string]string) *Client {
	t.Helper()
	return serveBy(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Auth-Token") != secretToken {
			t.Errorf("%s without the token", r.URL)
		}
		body, ok := answers[r.URL.RequestURI()]
		if !ok {
			body, ok = answers[r.URL.Path]
		}
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			body = `{"message":"No resource found for provided filters."}`
		}
		say(w, body)
	})
}

// say answers; who hung up doesn't hear it.
func say(w http.ResponseWriter, body string) { _, _ = io.WriteString(w, body) }

func serveBy(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := New(Config{Endpoint: s.URL + "/v2/", Token: secretToken, Pause: time.Microsecond, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestEndpoint(t *testing.T) {
	for given, want := range map[string]string{
		"http://ck:8889":            "http://ck:8889",
		" HTTP://CK:8889/ ":         "http://ck:8889",
		"https://ck/rating/v1":      "https://ck/rating",
		"https://ck/rating/v2/":     "https://ck/rating",
		"ck:8889":                   "",
		"http://me:pass@ck:8889":    "",
		"http://ck:8889/?a=b":       "",
		"http://ck:8889/#somewhere": "",
		"":                          "",
	} {
		c, err := New(Config{Endpoint: given})
		if want == "" {
			if fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "pass@") {
				t.Errorf("%q: %v", given, err)
			}
			continue
		}
		if err != nil || c.Endpoint() != want {
			t.Errorf("%q is %v, %v, want %q", given, c, err, want)
		}
	}
	if _, err := New(Config{Endpoint: "http://ck", Token: "a\nb"}); fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "a\nb") {
		t.Errorf("a token of two lines: %v", err)
	}
	if _, err := New(Config{Endpoint: "http://ck", CAFile: t.TempDir() + "/none"}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no such certificates: %v", err)
	}
}

// TestFaults asks a server that does not do as it should.
func TestFaults(t *testing.T) {
	status := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			say(w, body)
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		kind   fault.Kind
		want   string
		tries  int64
	}{
		"no token":      {status(401, `{"error":{"message":"The request you have made requires authentication."}}`), fault.Unauthenticated, "openstack token issue", 1},
		"no admin":      {status(403, `{"faultcode":"Client","faultstring":"Policy doesn't allow rating:list_modules to be performed.","debuginfo":null}`), fault.Forbidden, "Policy doesn't allow rating:list_modules", 1},
		"HTML":          {status(403, `<html>Forbidden</html>`), fault.Forbidden, "403 Forbidden", 1},
		"not there":     {status(404, `<html/>`), fault.NotFound, "404 Not Found", 1},
		"failing":       {status(500, `{"message":"Internal Server Error"}`), fault.Unavailable, "500 Internal Server Error", attempts},
		"behind a wall": {status(502, `<html/>`), fault.Unavailable, "502 Bad Gateway", attempts},
		"too much":      {status(429, ``), fault.Unavailable, "429", attempts},
		"no JSON":       {status(200, `<html>Log in</html>`), fault.Unavailable, "does the endpoint lead to CloudKitty?", 1},
		"empty":         {status(200, ``), fault.Unavailable, "does the endpoint lead to CloudKitty?", 1},
		"other JSON":    {status(200, `{"modules":{"a":1}}`), fault.Unavailable, "not what CloudKitty's API promises", 1},
		"half JSON":     {status(200, `{"modules":[{"module_id":`), fault.Unavailable, "breaks off", attempts},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			say(w, `{"modules":[`)
		}, fault.Unavailable, "breaks off", attempts},
		"hung up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Unavailable, "breaks off", attempts},
		"elsewhere": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://login.example/?token="+secretToken)
			w.WriteHeader(302)
		}, fault.Unavailable, "redirected to https://login.example", 1},
		"an echo": {status(400, `{"faultstring":"bad token `+secretToken+`"}`), fault.Unavailable, "[redacted]", 1},
	} {
		t.Run(name, func(t *testing.T) {
			var tries atomic.Int64
			client := serveBy(t, func(w http.ResponseWriter, r *http.Request) {
				tries.Add(1)
				c.answer(w, r)
			})
			_, err := client.Modules(t.Context())
			if err == nil || fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "GET /v1/rating/modules/") {
				t.Errorf("%v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), secretToken) {
				t.Errorf("the token is in %v", err)
			}
			// the transport itself repeats what an idle connection swallowed
			if n := tries.Load(); n != c.tries && name != "hung up" {
				t.Errorf("%d attempts, want %d", n, c.tries)
			}
		})
	}
}

func TestRecovery(t *testing.T) {
	var n atomic.Int64
	c := serveBy(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case n.Add(1) < attempts:
			w.WriteHeader(http.StatusServiceUnavailable)
		case strings.HasSuffix(r.URL.Path, "/"): // some servers want no slash
			http.Redirect(w, r, strings.TrimSuffix(r.URL.Path, "/"), http.StatusFound)
		default:
			if r.Header.Get("X-Auth-Token") != secretToken {
				t.Error("the token got lost on the way")
			}
			say(w, `{"modules":[{"module_id":"hashmap","description":"HashMap rating module.","enabled":true,"hot-config":true,"priority":2}]}`)
		}
	})
	got, err := c.Modules(t.Context())
	if diff := cmp.Diff([]Module{{"hashmap", true, 2}}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestTimeout(t *testing.T) {
	var n atomic.Int64
	c := serveBy(t, func(_ http.ResponseWriter, r *http.Request) {
		n.Add(1)
		<-r.Context().Done()
	})
	c.timeout = 20 * time.Millisecond
	if _, err := c.Modules(t.Context()); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "no complete answer within 20ms") {
		t.Error(err)
	}
	if n.Load() != attempts {
		t.Errorf("%d attempts", n.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Modules(ctx); err == nil || fault.KindOf(err) != fault.Internal {
		t.Errorf("stopped: %v", err)
	}
}

func TestVersions(t *testing.T) {
	c := serve(t, map[string]string{"/": `{"versions":[{"id":"v1","links":[{"href":"http://host/v1","rel":"self"}],"status":"CURRENT"},{"id":"v2","links":[],"status":"EXPERIMENTAL"}]}`})
	if got, err := c.Versions(t.Context()); err != nil || !cmp.Equal(got, []string{"v1", "v2"}) {
		t.Error(got, err)
	}
	c = serve(t, map[string]string{"/": `{"status":"success"}`})
	if _, err := c.Versions(t.Context()); err == nil || !strings.Contains(err.Error(), "does the endpoint lead to CloudKitty?") {
		t.Error(err)
	}
}

func d(s string) money.Decimal { return money.MustParse(s) }

func TestHashmap(t *testing.T) {
	const (
		mapping = `{"mapping_id":"m1","value":null,"type":"flat","cost":"1.5000000000000000000000000000","service_id":"s1","field_id":null,"group_id":"g1","tenant_id":null,
			"created_at":"2026-11-01T03:59:41.596374","start":"2026-11-01T03:59:41.596374","end":null,"name":"abc","description":null,"deleted":null,"created_by":"unknown","updated_by":null,"deleted_by":null}`
		deleted = `{"mapping_id":"m0","type":"flat","cost":"9","service_id":"s1","deleted":"2026-11-02T00:00:00"}`
		old     = `{"mapping_id":"m2","value":"m1.tiny","type":"rate","cost":"0E-28","service_id":null,"field_id":"f1","group_id":null,"tenant_id":"p1"}` // version 17
		level   = `{"threshold_id":"t1","level":"10.00000000","type":"flat","cost":"0.0000000000000000000000000001","service_id":"s1","field_id":null,"group_id":null,"tenant_id":null}`
	)
	base := "/v1/rating/module_config/hashmap/"
	c := serve(t, map[string]string{
		base + "services/":                 `{"services":[{"service_id":"s1","name":"cpu"},{"service_id":"s2","name":"größe"}]}`,
		base + "groups/":                   `{"groups":[{"group_id":"g1","name":"bulk"}]}`,
		base + "fields/?service_id=s1":     `{"fields":[{"field_id":"f1","name":"flavor","service_id":"s1"}]}`,
		base + "fields/":                   `{"fields":[]}`,
		base + "mappings/?service_id=s1":   `{"mappings":[` + mapping + `,` + deleted + `,` + old + `]}`, // the last is of a field
		base + "mappings/?field_id=f1":     `{"mappings":[` + old + `]}`,
		base + "mappings/":                 `{"mappings":[]}`,
		base + "thresholds/?service_id=s1": `{"thresholds":[` + level + `]}`,
		base + "thresholds/":               `{"thresholds":[]}`,
	})
	h, err := c.Hashmap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cpu := Service{ID: "s1", Name: "cpu", Fields: []Field{{"f1", "flavor"}}}
	want := &Hashmap{
		Services: []Service{cpu, {ID: "s2", Name: "größe", Fields: []Field{}}},
		Groups:   []Group{{"g1", "bulk"}},
		Rules: []Rule{
			{ID: "m1", Service: &cpu, Cost: d("1.5"), Type: "flat", GroupID: "g1", Name: "abc", Start: time.Date(2026, 11, 1, 3, 59, 42, 0, time.UTC)},
			{ID: "t1", Threshold: true, Service: &cpu, Level: d("10"), Cost: d("0.0000000000000000000000000001"), Type: "flat"},
			{ID: "m2", Service: &cpu, Field: &cpu.Fields[0], Value: "m1.tiny", Cost: d("0"), Type: "rate", Tenant: "p1"},
		},
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Error(diff)
	}
}

func TestScripts(t *testing.T) {
	c := serve(t, map[string]string{"/v1/rating/module_config/pyscripts/scripts/": `{"scripts":[
		{"script_id":"a","name":"one","data":"import json\n","checksum":"0","start":"2026-11-01T00:00:00","end":"2026-12-01T23:59:59.5","description":"d","deleted":null},
		{"script_id":"b","name":"two","data":"x","deleted":"2026-11-01T00:00:00"}]}`})
	got, err := c.Scripts(t.Context())
	want := []Script{{"a", "one", "import json\n", "d", time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC)}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestMetrics(t *testing.T) {
	c := serve(t, map[string]string{"/v1/info/config": `{"metrics":{"cpu":{"unit":"\ud83d\ude00 <b>","factor":1e-05,"mutate":"MAP","mutate_map":{"1.0":0.10000000000000000001}}}}`})
	got, err := c.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"factor":1e-05,"mutate":"MAP","mutate_map":{"1.0":0.10000000000000000001},"unit":"😀 <b>"}`; string(got["cpu"]) != want {
		t.Errorf("%s, want %s", got["cpu"], want)
	}
	parsed, err := metering.ParseMetrics("x", []byte(`{"metrics":{"cpu":`+string(got["cpu"])+`}}`), "project_id")
	if err == nil || len(parsed) > 0 { // more decimals than quantities have
		t.Error("the digits got lost")
	}
}

func TestScopes(t *testing.T) {
	scope := func(id, collector, last string, active bool) string {
		return fmt.Sprintf(`{"scope_id":%q,"scope_key":"project_id","fetcher":"keystone","collector":%q,"last_processed_timestamp":%q,"active":%t,"scope_activation_toggle_date":null}`, id, collector, last, active)
	}
	var first []string
	for i := range pageSize - 3 {
		first = append(first, scope(fmt.Sprintf("p%05d", i), "prometheus", "2026-11-20T10:00:00+00:00", true))
	}
	first = append(first, scope("a", "gnocchi", "2026-11-21T10:00:00+00:00", false), scope("a", "prometheus", "2026-11-20T12:00:00+01:00", true),
		`{"scope_id":"old","scope_key":"project_id","fetcher":"keystone","collector":"gnocchi","state":"2026-11-01T00:00:00"}`)
	c := serve(t, map[string]string{
		fmt.Sprintf("/v2/scope?limit=%d&offset=0", pageSize):            `{"results":[` + strings.Join(first, ",") + `]}`,
		fmt.Sprintf("/v2/scope?limit=%d&offset=%d", pageSize, pageSize): `{"results":[` + scope("z", "prometheus", "2026-11-20T10:00:00+00:00", true) + `]}`,
	})
	got, others, err := c.Scopes(t.Context())
	if err != nil || len(got) != pageSize || others != 1 {
		t.Fatal(len(got), others, err)
	}
	at := time.Date(2026, 11, 20, 11, 0, 0, 0, time.UTC)
	want := []Scope{{"a", "project_id", "prometheus", "keystone", at, true}, {"old", "project_id", "gnocchi", "keystone", time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), true}}
	if diff := cmp.Diff(want, got[:2]); diff != "" {
		t.Error(diff)
	}
	if got, _, err := serve(t, nil).Scopes(t.Context()); err != nil || got != nil {
		t.Errorf("no scope: %v, %v", got, err)
	}
}

var hour = period.Range{Begin: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 11, 1, 1, 0, 0, 0, time.UTC)}

func TestFrames(t *testing.T) {
	query := fmt.Sprintf("?begin=2026-11-01T00%%3A00%%3A00Z&end=2026-11-01T01%%3A00%%3A00Z&limit=%d&offset=0", pageSize)
	c := serve(t, map[string]string{"/v2/dataframes" + query: `{"total":4,"dataframes":[
		{"period":{"begin":"2026-11-01T00:00:00+00:00","end":"2026-11-01T01:00:00+00:00"},"usage":{
			"ram":[{"vol":{"unit":"","qty":1e-05},"rating":{"price":0.1234567890123456},"groupby":{"id":4,"both":1},"metadata":{"both":2,"n":null,"o":{"a": 1}}}],
			"cpu":[{"vol":{"unit":"vCPU","qty":12345678901234567.5},"rating":{"price":0.04},"groupby":{"project_id":"p1","id":"x","day_of_the_year":"305"},"metadata":{}},
			       {"vol":{"unit":"vCPU","qty":"2"},"groupby":{"project_id":null},"metadata":null}]}},
		{"period":{"begin":"2026-11-01T01:00:00+00:00","end":"2026-11-01T02:00:00+00:00"},"usage":{"cpu":[{"vol":{"unit":"vCPU","qty":1},"groupby":{},"metadata":{}}]}}]}`})
	got, outside, err := c.Frames(t.Context(), hour, "project_id")
	if err != nil || outside != 1 {
		t.Fatal(outside, err)
	}
	want := []metering.PushedFrame{{Begin: hour.Begin, End: hour.End, Points: []metering.PushedPoint{
		{Scope: "p1", Metric: "cpu", Unit: "vCPU", Qty: d("12345678901234567.5"), Price: d("0.04"), Groupby: metering.Attributes{{Name: "day_of_the_year", Value: "305"}, {Name: "id", Value: "x"}}},
		{Scope: metering.UndefinedScope, Metric: "cpu", Unit: "vCPU", Qty: d("2")},
		{
			Scope: metering.UndefinedScope, Metric: "ram", Unit: "undefined", Qty: d("0.00001"), Price: d("0.123456789012"),
			Groupby:  metering.Attributes{{Name: "both", Value: "1"}, {Name: "id", Value: "4"}},
			Metadata: metering.Attributes{{Name: "both", Value: "2"}, {Name: "n", Value: "null"}, {Name: "o", Value: `{"a":1}`}},
			Literals: []string{"id", "n", "o"},
		},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, _, err := serve(t, nil).Frames(t.Context(), hour, "project_id"); err != nil || got != nil {
		t.Errorf("no frames: %v, %v", got, err)
	}
}

// TestPages asks for more than fits a page: of servers that count points, of those that count frames, and of those that lose some.
func TestPages(t *testing.T) {
	const total = 2*pageSize + 10
	frame := func(points int) string {
		const point = `{"vol":{"unit":"u","qty":1},"rating":{"price":1},"groupby":{},"metadata":{}}`
		return `{"period":{"begin":"2026-11-01T00:00:00+00:00","end":"2026-11-01T01:00:00+00:00"},"usage":{"cpu":[` +
			strings.TrimSuffix(strings.Repeat(point+",", points), ",") + `]}}`
	}
	for name, c := range map[string]struct {
		perFrame int
		most     int // frames or points in a page
		frames   bool
		promised int
		fails    bool
	}{
		"points":            {pageSize * 10, pageSize, false, total, false},
		"few points":        {pageSize * 10, 1000, false, total, false},
		"frames of one":     {1, pageSize, true, total, false},
		"frames of several": {2, pageSize, true, total, false},
		"loss":              {pageSize * 10, pageSize, false, total + 1, true},
		"surplus":           {pageSize * 10, pageSize, false, total - 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			client := serveBy(t, func(w http.ResponseWriter, r *http.Request) {
				offset, err := strconv.Atoi(r.FormValue("offset"))
				if err != nil || r.FormValue("limit") != strconv.Itoa(pageSize) {
					t.Error(r.URL)
				}
				var frames []string
				if c.frames {
					for i := offset; i < min(total/c.perFrame, offset+c.most); i++ {
						frames = append(frames, frame(c.perFrame))
					}
				} else if n := min(total-offset, c.most); n > 0 {
					frames = append(frames, frame(n))
				}
				if frames == nil {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				say(w, fmt.Sprintf(`{"total":%d,"dataframes":[%s]}`, c.promised, strings.Join(frames, ",")))
			})
			frames, _, err := client.Frames(t.Context(), hour, "project_id")
			points := 0
			for _, f := range frames {
				points += len(f.Points)
			}
			if (err != nil) != c.fails || err == nil && points != total {
				t.Errorf("%d points, %v", points, err)
			}
		})
	}
}

func TestFramesV1(t *testing.T) {
	c := serve(t, map[string]string{"/v1/storage/dataframes?begin=2026-11-01T00%3A00%3A00&end=2026-11-01T01%3A00%3A00": `{"dataframes":[
		{"begin":"2026-11-01T00:00:00","end":"2026-11-01T01:00:00","tenant_id":"p1","resources":[{"service":"cpu","desc":{"flavor":"tiny","project_id":"p1"},"volume":"1","rating":"1.337"}]},
		{"begin":"2026-11-01T00:00:00","end":"2026-11-01T01:00:00","tenant_id":"p2","resources":[{"service":"ram","desc":{},"volume":"0.5","rating":"0E-28"}]}]}`})
	units := map[string]string{"cpu": "vCPU"}
	got, _, err := c.FramesV1(t.Context(), hour, "project_id", func(metric string) string { return units[metric] })
	want := []metering.PushedFrame{
		{Begin: hour.Begin, End: hour.End, Points: []metering.PushedPoint{{Scope: "p1", Metric: "cpu", Unit: "vCPU", Qty: d("1"), Price: d("1.337"), Groupby: metering.Attributes{{Name: "flavor", Value: "tiny"}}}}},
		{Begin: hour.Begin, End: hour.End, Points: []metering.PushedPoint{{Scope: "p2", Metric: "ram", Unit: "undefined", Qty: d("0.5")}}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestTotals(t *testing.T) {
	c := serveBy(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Query()["groupby"]; !cmp.Equal(got, []string{"project_id", "type"}) {
			t.Error(got)
		}
		switch r.FormValue("offset") {
		case "0":
			say(w, `{"total":3,"columns":["begin","end","qty","rate","project_id","type"],"results":[
				["2026-11-01T00:00:00+00:00","2026-12-01T00:00:00+00:00",3.2,0.30000000000000004,"p1","cpu"],["b","e",1,null,"p1","ram"]],"format":"table"}`)
		default:
			say(w, `{"total":3,"columns":["type","rate","project_id"],"results":[["ram",1e-07,""]]}`)
		}
	})
	got, err := c.Totals(t.Context(), hour, "project_id", true)
	want := []Total{{"p1", "cpu", d("0.30000000000000004")}, {"p1", "ram", d("0")}, {metering.UndefinedScope, "ram", d("0.0000001")}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	c = serve(t, map[string]string{"/v2/summary": `{"total":0,"columns":[],"results":[]}`})
	if got, err := c.Totals(t.Context(), hour, "project_id", true); err != nil || got != nil {
		t.Error(got, err)
	}
	for _, answer := range []string{
		`{"total":1,"columns":["rate"],"results":[[1]]}`, `{"total":1,"columns":["rate","type","project_id"],"results":[[1]]}`,
		`{"total":1,"columns":["rate","type","project_id"],"results":[["x","y","z"]]}`, `{"total":1,"columns":[],"results":[]}`,
	} {
		if _, err := serve(t, map[string]string{"/v2/summary": answer}).Totals(t.Context(), hour, "project_id", true); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", answer, err)
		}
	}
	c = serve(t, map[string]string{"/v1/report/summary": `{"summary":[{"begin":"2026-11-01T00:00:00","end":"2026-12-01T00:00:00","tenant_id":"p1","res_type":"cpu","rate":"81.648"},
		{"tenant_id":"ALL","res_type":"ALL","rate":"0"}]}`})
	got, err = c.Totals(t.Context(), hour, "project_id", false)
	if diff := cmp.Diff([]Total{{"p1", "cpu", d("81.648")}}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}
