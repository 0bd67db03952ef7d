package v1

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"ratebook/handlers/api/openapi/openapitest"
)

// stocked is an API with some rules and charges, so that requests find something.
func stocked(f *testing.F) (m *memory, h http.Handler, known []string) {
	m = newMemory()
	h = newWorld(f, m)
	ask := func(path, body string) {
		if got := send(f, h, "admin", "POST", path, body); got.status >= 300 {
			f.Fatal(path, got)
		}
	}
	ask(hashmap+"/services", `{"name":"cpu"}`)
	ask(hashmap+"/groups", `{"name":"bulk"}`)
	service, group := m.rules.Services[0].ID, m.rules.Groups[0].ID
	ask(hashmap+"/fields", `{"name":"flavor","service_id":"`+service+`"}`)
	ask(hashmap+"/mappings", `{"cost":1,"service_id":"`+service+`"}`)
	ask(hashmap+"/thresholds", `{"cost":1,"level":2,"service_id":"`+service+`","group_id":"`+group+`"}`)
	ask("/v1/rating/module_config/pyscripts/scripts", `{"name":"p","data":"x"}`)
	for _, r := range m.rules.Hashmap {
		known = append(known, r.ID)
	}
	m.charges = []charge{{scope: "alpha", metric: "cpu", begin: now, groupby: `{"a":"b"}`, metadata: `{"a":"c"}`}}
	return m, h, append(known, service, m.rules.Services[0].Fields[0].ID, group, m.rules.Scripts[0].ID, "hashmap", "zz")
}

// check fails if the API says that something is its own fault.
func check(t *testing.T, h http.Handler, method, path, kind, body string) {
	u, err := url.ParseRequestURI(path)
	if err != nil {
		t.Skip()
	}
	r := httptest.NewRequestWithContext(t.Context(), method, "/v1", strings.NewReader(body))
	r.URL = u
	r.Header.Set("X-Auth-Token", "admin")
	r.Header.Set("Content-Type", kind)
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	openapitest.Check(t, method, path, rec)
	if rec.Code >= 500 {
		t.Errorf("%s %s %s: %d %s", method, path, body, rec.Code, rec.Body)
	}
	if location := rec.Header().Get("Location"); strings.ContainsAny(location, "\r\n") {
		t.Errorf("%s %s: it is at %q", method, path, location)
	}
}

// FuzzBody sends bodies to every endpoint.
func FuzzBody(f *testing.F) {
	_, h, known := stocked(f)
	all := endpoints
	for i, e := range all {
		f.Add(uint8(i), uint8(i), []byte(sample(e.Body)))
		f.Add(uint8(i), uint8(0), []byte(`{"cost":"1e5","level":-1,"type":"rate","start":"2027-01-01","end":"2027-01-01","value":"ä","service_id":"`+known[2]+`"}`))
	}
	f.Add(uint8(4), uint8(0), []byte(`{"resources":[{"service":"cpu","desc":{"groupby":{"flavor":1e9},"metadata":{}},"volume":1e-9}]}`))
	f.Fuzz(func(t *testing.T, endpoint, id uint8, body []byte) {
		e := all[int(endpoint)%len(all)]
		check(t, h, e.Method, filled(e.Paths[0], known[int(id)%len(known)]), "application/json", string(body))
		check(t, h, e.Method, filled(e.Paths[len(e.Paths)-1], known[int(id)%len(known)]), "", string(body))
	})
}

// FuzzQuery sends queries and ids to every endpoint.
func FuzzQuery(f *testing.F) {
	_, h, known := stocked(f)
	all := endpoints
	for i := range all {
		for _, query := range []string{
			"", "begin=2026-11-01+00:00:00%2B00:00&end=2026-12-01", "tenant_id=alpha&groupby=tenant_id,res_type", "service_id=" + known[2] + "&no_group=1",
			"is_active=true&deleted=1&description=%25", "force=yes", "a=%00;b", "recursive=TRUE", "begin=9999-12-31T23:59:59-14:00",
		} {
			f.Add(uint8(i), known[i%len(known)], query)
		}
	}
	f.Fuzz(func(t *testing.T, endpoint uint8, id, query string) {
		e := all[int(endpoint)%len(all)]
		check(t, h, e.Method, filled(e.Paths[0], url.PathEscape(id))+"?"+query, "application/json", "")
		check(t, h, e.Method, filled(e.Paths[len(e.Paths)-1], url.PathEscape(id))+"?"+query, "application/json", sample(e.Body))
	})
}
