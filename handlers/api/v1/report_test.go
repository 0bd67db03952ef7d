package v1

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"ratebook/costs"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/web"
)

func sortedText(all []string) string {
	slices.Sort(all)
	return strings.Join(all, " ")
}

// charged is a world with some charges.
func charged(t *testing.T) *world {
	w := begin(t)
	add := func(scope, metric, begin, qty, price string) {
		at, err := time.Parse("2006-01-02T15", begin)
		if err != nil {
			t.Fatal(err)
		}
		w.charges = append(w.charges, charge{
			scope, metric, at, money.MustParse(qty), money.MustParse(price),
			`{"id":"` + metric + `","project_id":"` + scope + `"}`, `{"id":"other","flavor":"m1.tiny"}`,
		})
	}
	add("alpha", "cpu", "2026-11-01T10", "1", "1.337")
	add("alpha", "disk", "2026-11-01T10", "2.5", "0.000000000001")
	add("beta", "cpu", "2026-11-02T10", "1", "1000000000000.5")
	add("gamma", "cpu", "2026-10-31T23", "1", "3") // in November in Berlin
	add("gamma", "cpu", "2026-10-31T22", "1", "5") // not so
	add("größe", "cpu", "2026-11-30T23", "1", "7") // not any more
	return w
}

func TestTotal(t *testing.T) {
	w := charged(t)
	const all = `"1000000000004.837000000001"`
	for path, want := range map[string]string{
		"admin GET ":                                                     all,
		"admin GET ?tenant_id=alpha":                                     `"1.337000000001"`,
		"admin GET ?tenant_id=alpha&service=cpu":                         `"1.337"`,
		"admin GET ?tenant_id=nobody":                                    `"0"`,
		"admin GET ?service=cpu":                                         `"1000000000004.837"`,
		"admin GET ?begin=2026-10-01":                                    `"1000000000009.837000000001"`,
		"admin GET ?end=2026-11-02T10:00:00":                             `"4.337000000001"`,
		"admin GET ?begin=2026-11-02%2010:00:00&end=2026-11-02T10:00:01": `"1000000000000.5"`,
		"admin GET ?begin=2026-12-01":                                    `"0"`,
		"admin GET ?begin=2026-11-05&end=2026-11-05":                     `"0"`,
		"operator GET ":                                                  `"1000000000000.5"`,
		"operator GET ?all_tenants=true":                                 all,
		"operator GET ?all_tenants=1&tenant_id=alpha":                    all,
		"operator GET ?tenant_id=alpha":                                  `"1.337000000001"`,
		"tenant GET ":                                                    `"1.337000000001"`,
		"tenant GET ?tenant_id=gamma":                                    `"3"`,
		"tenant GET ?all_tenants=false":                                  `"1.337000000001"`,
	} {
		method, query, _ := strings.Cut(path, " GET ")
		w.want(method+" GET", "/v1/report/total/"+query, "", 200, want)
	}
	for _, path := range []string{"/v1/report/total", "/v1/report/summary"} {
		policy := strings.ReplaceAll(path[len("/v1/"):], "/", ":get_")
		for _, query := range []string{"?tenant_id=beta", "?all_tenants=true", "?tenant_id=__UNDEF__", "?tenant_id=alpha&all_tenants=true", "?tenant_id=größe"} {
			w.refused("tenant GET", path+query, "", 403, "Policy doesn't allow "+policy+" to be performed.")
		}
		w.refused("unscoped GET", path, "", 403, "Policy doesn't allow "+policy+" to be performed.")
		w.want("GET", path+"?begin=0001-01-01&end=9998-12-31", "", 200, "…1000000000016.837…")
		w.refused("GET", path+"?begin=9999-01-01", "", 400,
			"Invalid input for field/attribute begin. Value: '9999-01-01'. unable to convert to datetime. Error: year is out of range: 9999-01-01")
	}
}

func TestSummary(t *testing.T) {
	w := charged(t)
	row := func(tenant, kind, rate string) string {
		return `{"begin":"2026-10-31T23:00:00","end":"2026-11-30T23:00:00","tenant_id":"` + tenant + `","res_type":"` + kind + `","rate":"` + rate + `"}`
	}
	for query, want := range map[string]string{
		"":                   row("ALL", "ALL", "1000000000004.837000000001"),
		"?groupby=tenant_id": row("alpha", "ALL", "1.337000000001") + "," + row("beta", "ALL", "1000000000000.5") + "," + row("gamma", "ALL", "3"),
		"?groupby=res_type":  row("ALL", "cpu", "1000000000004.837") + "," + row("ALL", "disk", "0.000000000001"),
		"?groupby=other":     row("ALL", "ALL", "1000000000004.837000000001"),
		"?service=nothing":   "",
		"?groupby=res_type,tenant_id&tenant_id=alpha": row("alpha", "cpu", "1.337") + "," + row("alpha", "disk", "0.000000000001"),
	} {
		w.want("GET", "/v1/report/summary"+query, "", 200, `{"summary":[`+want+`]}`)
	}
	w.want("tenant GET", "/v1/report/summary/?groupby=tenant_id", "", 200, `{"summary":[`+row("alpha", "ALL", "1.337000000001")+`]}`)
	w.want("GET", "/v1/report/summary?begin=2026-11-01T00:00:00%2B01:00&end=2026-11-02", "", 200,
		`…{"begin":"2026-10-31T23:00:00","end":"2026-11-02T00:00:00"…`)
	w.want("GET", "/v1/report/summary?begin=2026-11-05&end=2026-11-01", "", 200, `{"summary":[]}`)
	w.charges = []charge{{scope: "alpha", metric: "cpu", begin: now}}
	w.want("GET", "/v1/report/summary", "", 200, `…"rate":"0"}]}…`)
}

func TestTenants(t *testing.T) {
	w := charged(t)
	w.want("viewer GET", "/v1/report/tenants", "", 200, `["alpha","beta","gamma","größe"]`)
	w.want("viewer GET", "/v1/report/tenants/?begin=2020-01-01&end=2020-02-01", "", 200, `["alpha","beta","gamma","größe"]`)
	w.charges = nil
	w.want("GET", "/v1/report/tenants", "", 200, `[]`)
}

func TestDataFrames(t *testing.T) {
	w := charged(t)
	alpha := `{"begin":"2026-11-01T10:00:00","end":"2026-11-01T11:00:00","tenant_id":"alpha","resources":[{"service":"cpu",` +
		`"desc":{"flavor":"m1.tiny","id":"cpu","project_id":"alpha"},"volume":"1","rating":"1.337"}]},` +
		`{"begin":"2026-11-01T10:00:00","end":"2026-11-01T11:00:00","tenant_id":"alpha","resources":[{"service":"disk",` +
		`"desc":{"flavor":"m1.tiny","id":"disk","project_id":"alpha"},"volume":"2.5","rating":"0.000000000001"}]}`
	const path = "/v1/storage/dataframes"
	w.want("GET", path+"?tenant_id=alpha", "", 200, `{"dataframes":[`+alpha+`]}`)
	w.want("tenant GET", path+"/?", "", 200, `{"dataframes":[`+alpha+`]}`)
	if got := w.want("GET", path+"?resource_type=nothing", "", 200, `{"dataframes":[]}`); got.header.Get("Content-Type") != "application/json" {
		t.Error(got.header)
	}
	w.want("GET", path+"?begin=2026-11-02&end=2026-11-01", "", 200, `{"dataframes":[]}`)
	w.want("GET", path+"?begin=2026-11-01%2010:00:00%2B00:00&end=2026-11-01T11:00:00&resource_type=disk", "", 200, `…{"dataframes":[{"begin":"2026-11-01T10:00:00"…`)
	for who, want := range map[string]int{"admin": 4, "operator": 4, "tenant": 2} { // who sees all gets all, whatever their project
		var all struct{ Dataframes []json.RawMessage }
		if err := json.Unmarshal([]byte(w.send(who+" GET", path, "").body), &all); err != nil || len(all.Dataframes) != want {
			t.Errorf("%s: %s, %v", who, all, err)
		}
	}
	w.refused("tenant GET", path+"?tenant_id=beta", "", 403, "Policy doesn't allow storage:list_data_frames to be performed.")
	w.refused("unscoped GET", path, "", 403, "Policy doesn't allow storage:list_data_frames to be performed.")
}

// TestMerged checks which of two values counts.
func TestMerged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ under, over, want string }{
		{`{}`, `{}`, `{}`},
		{``, `{"a":1}`, `{"a":1}`},
		{`{"a":1}`, `{}`, `{"a":1}`},
		{`{"a":"<"}`, `{}`, `{"a":"<"}`},
		{`{"a":1,"b":2.50}`, `{"a":{"c":1e2}}`, `{"a":{"c":1e2},"b":2.50}`},
	} {
		if got, err := merged([]byte(c.under), []byte(c.over)); err != nil || string(got) != c.want {
			t.Errorf("%s under %s: %s, %v", c.under, c.over, got, err)
		}
	}
	if _, err := merged([]byte(`{"a"`), []byte(`{"a":1}`)); err == nil {
		t.Error("what is no JSON was merged")
	}
}

// TestBrokenStream checks that an answer that breaks off looks like it.
func TestBrokenStream(t *testing.T) {
	w := begin(t)
	h, err := web.New(web.Config{Authenticator: w.memory, APIs: []web.API{New(Deps{
		Charges: breaking{w.memory}, Now: func() time.Time { return now }, Settings: &metering.Settings{Period: time.Hour, Zone: time.UTC},
	})}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("the connection stays")
		}
	}()
	send(t, h, "admin", "GET", "/v1/storage/dataframes", "")
}

type breaking struct{ *memory }

func (breaking) Frames(_ context.Context, _ *costs.FrameQuery, yield func(*costs.Frame) error) (int64, error) {
	if err := yield(&costs.Frame{Scope: "a", Points: []costs.Point{{Metric: "cpu"}}}); err != nil {
		return 0, err
	}
	return 0, errors.New("gone")
}

func TestCollectors(t *testing.T) {
	w := begin(t)
	w.want("viewer GET", "/v1/collector/", "", 204, "")
	w.want("GET", "/v1/collector/mappings", "", 200, `{"mappings":[]}`)
	w.want("POST", "/v1/collector/mappings/gnocchi/cpu", "", 200, `{"service":"cpu","collector":"gnocchi"}`)
	w.want("POST", "/v1/collector/mappings/", `{"collector":"fake","service":"größe/1"}`, 200, `{"service":"größe/1","collector":"fake"}`)
	w.want("GET", "/v1/collector/mappings/", "", 200, `{"mappings":[{"service":"cpu","collector":"gnocchi"},{"service":"größe/1","collector":"fake"}]}`)
	w.want("GET", "/v1/collector/mappings?collector=fake", "", 200, `{"mappings":[{"service":"größe/1","collector":"fake"}]}`)
	w.want("GET", "/v1/collector/mappings/gr%C3%B6%C3%9Fe%2F1", "", 200, `{"service":"größe/1","collector":"fake"}`)
	w.refused("GET", "/v1/collector/mappings/x", "", 404, "No mapping for service: x")
	w.want("DELETE", "/v1/collector/mappings/", `{"service":"cpu"}`, 204, "")
	w.refused("DELETE", "/v1/collector/mappings/cpu", "", 404, "No mapping for service: cpu")
	w.refused("POST", "/v1/collector/mappings", `{"collector":"x"}`, 400, `Missing argument: "service"`)
	w.refused("POST", "/v1/collector/mappings", `{"collector":"x","service":""}`, 400, "Invalid input for field/attribute service. Value: ''. It must have 1 to 255 characters.")
	w.want("POST", "/v1/collector/mappings", `{"collector":"`+strings.Repeat("x", 256)+`","service":"x"}`, 400, "…1 to 255…")

	for _, path := range []string{"/v1/collector/states/fake1", "/v1/collector/fake1/states/", "/v1/collector/states/?name=fake1"} {
		w.want("GET", path, "", 200, `{"name":"fake1","enabled":false}`)
		w.want("PUT", path, `{"enabled":true}`, 200, `{"name":"fake1","enabled":true}`)
		w.want("GET", path, "", 200, `{"name":"fake1","enabled":true}`)
		w.want("PUT", "/v1/collector/states/", `{"name":"fake1","enabled":false}`, 200, `{"name":"fake1","enabled":false}`)
	}
	w.refused("PUT", "/v1/collector/states/", `{"enabled":false}`, 400, `Missing argument: "name"`)
	w.refused("PUT", "/v1/collector/states/a", `{"name":"b"}`, 400, "Parameter name was given several times")
	w.refused("GET", "/v1/collector/states", "", 400, `Missing argument: "name"`)
}

func TestInfo(t *testing.T) {
	w := begin(t)
	w.want("tenant GET", "/v1/info/metrics/", "", 200, `{"metrics":[]}`)
	w.want("tenant GET", "/v1/info/config/", "", 200, `{"metrics":{}}`)
	metrics, err := metering.ParseMetrics("metrics.yml", []byte(`metrics:
  cpu:
    unit: instance
    alt_name: instance
    groupby: [id, project_id]
    metadata: [flavor_name, vcpus]
    mutate: NUMBOOL
    extra_args: {aggregation_method: max}
  image_size: {unit: MiB, factor: 1/1048576, may_be_absent: true}
  traffic:
    - {unit: MB, alt_name: in, factor: 0.5, offset: "-1", extra_args: {range_function: delta}}
    - {unit: MB, alt_name: out, mutate: MAP, mutate_map: {1.0: 2.5, 2: 3}, description: Größe, skip_datapoints_expression: "False"}
`), "project_id")
	if err != nil {
		t.Fatal(err)
	}
	w.metrics = metrics
	w.want("GET", "/v1/info/metrics", "", 200, `{"metrics":[{"metric_id":"instance","metadata":["flavor_name","vcpus"],"unit":"instance"},`+
		`{"metric_id":"image_size","metadata":[],"unit":"MiB"},{"metric_id":"in","metadata":[],"unit":"MB"},{"metric_id":"out","metadata":[],"unit":"MB"}]}`)
	w.want("GET", "/v1/info/services", "", 200, `…"metric_id":"instance"…`)
	for _, path := range []string{"/v1/info/metrics/instance", "/v1/info/services/instance/"} {
		w.want("GET", path, "", 200, `{"metric_id":"instance","metadata":["flavor_name","vcpus"],"unit":"instance"}`)
	}
	w.refused("GET", "/v1/info/metrics/größe", "", 404, "größe")
	w.want("GET", "/v1/info/config", "", 200, `{"metrics":{"cpu":{"unit":"instance","alt_name":"instance","groupby":["id"],"metadata":["flavor_name","vcpus"],"mutate":"NUMBOOL"},`+
		`"image_size":{"unit":"MiB","factor":"1/1048576","may_be_absent":true},`+
		`"traffic":[{"unit":"MB","alt_name":"in","factor":0.5,"offset":-1,"extra_args":{"range_function":"delta"}},`+
		`{"unit":"MB","alt_name":"out","description":"Größe","mutate":"MAP","mutate_map":{"1":2.5,"2":3},"skip_datapoints_expression":"False"}]}}`)
}

func TestMoment(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2019-05-01T00:00:00":           "2019-05-01T00:00:00",
		"2019-05-01 00:00:00+00:00":     "2019-05-01T00:00:00",
		"2019-05-01 00:00:00 00:00":     "2019-05-01T00:00:00", // a plus that was a space in a query
		"2019-05-01T12:00:00 0200":      "2019-05-01T10:00:00",
		"2019-05-01T12:00:00.5 02:00":   "2019-05-01T10:00:00",
		"2019-05-01T12:00:00-02:00":     "2019-05-01T14:00:00",
		"2019-05-01T12:00:00Z":          "2019-05-01T12:00:00",
		"2019-05-01T12:00:00.999999":    "2019-05-01T12:00:00",
		"2019-05-01T12:00":              "2019-05-01T12:00:00",
		"2019-05-01 12:30":              "2019-05-01T12:30:00",
		"2019-5-1":                      "2019-05-01T00:00:00 day",
		"20190723T122810Z":              "2019-07-23T12:28:10",
		"20190723T122810":               "2019-07-23T12:28:10",
		"20190723":                      "2019-07-23T00:00:00 day",
		"2019/07/23":                    "2019-07-23T00:00:00 day",
		"July 23, 2019":                 "2019-07-23T00:00:00 day",
		"23 Jul 2019":                   "2019-07-23T00:00:00 day",
		"Tue, 23 Jul 2019 12:00:00 GMT": "2019-07-23T12:00:00",
		" 2019-05-01 ":                  "2019-05-01T00:00:00 day",
	} {
		m, err := parseMoment(text)
		got := naive(m.Time)
		if m.day {
			got += " day"
		}
		if err != nil || got != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "x", "2019-13-01", "2019-02-30", "0000-01-01", "9999-01-01", "12:00", "2019-05-01T25:00:00", "2019-05-01T12:00:00+99:99", "2019-05-01 12:00:00 CEST",
		strings.Repeat("2", 100), "größe",
	} {
		if m, err := parseMoment(text); err == nil {
			t.Errorf("%q: %s", text, m)
		}
	}
}

func TestFixed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text   string
		places int
		want   string
	}{
		{"0", 2, "0.00"}, {"1.5", 3, "1.500"}, {"-1.5", 3, "-1.500"}, {"1.2345", 2, "1.2345"}, {"7", 0, "7"}, {"7", -3, "7"}, {"0.5", -1, "0.5"},
	} {
		if got := fixed(c.text, c.places); got != c.want {
			t.Errorf("%s with %d places: %s", c.text, c.places, got)
		}
	}
}
