package openapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
	"github.com/labstack/echo/v4"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"ratebook/access"
	"ratebook/handlers/api"
	"ratebook/handlers/api/openapi"
	"ratebook/handlers/api/openapi/openapitest"
	v1 "ratebook/handlers/api/v1"
	v2 "ratebook/handlers/api/v2"
	"ratebook/web"
)

func load(t *testing.T) (*openapi.Document, map[string]any) {
	t.Helper()
	d, err := openapi.Load()
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(d.JSON, &all); err != nil {
		t.Fatal(err)
	}
	return d, all
}

// TestRoutes holds the APIs' endpoints and the description against each other, in both directions.
func TestRoutes(t *testing.T) {
	d, _ := load(t)
	described := map[string]*openapi.Operation{}
	for i := range d.Operations {
		o := &d.Operations[i]
		described[o.Method+" "+o.Path] = o
	}
	for version, all := range map[string][]api.Endpoint{"/v1": v1.Endpoints(), "/v2": v2.Endpoints()} {
		for _, e := range all {
			name := e.Method + " " + version + e.Paths[0]
			o := described[name]
			if o == nil {
				t.Errorf("%s is not described", name)
				continue
			}
			delete(described, name)
			if string(e.Role) != o.Role {
				t.Errorf("%s: the least role is %s, and described as %s", name, e.Role, o.Role)
			}
			var others []string
			for _, path := range e.Paths[1:] {
				others = append(others, version+path)
			}
			if !slices.Equal(others, o.Also) {
				t.Errorf("%s is also at %v, and described at %v", name, others, o.Also)
			}
			want, have := map[string]bool{}, map[string]bool{}
			for _, p := range e.Parameters {
				want[fmt.Sprint(p.In, " ", p.Name, ", required ", p.Required)] = true
			}
			for _, p := range o.Parameters {
				have[fmt.Sprint(p.In, " ", p.Name, ", required ", p.Required)] = true
			}
			if o.Body != nil {
				s := o.Body.Schema
				i := slices.IndexFunc(d.Schemas, func(named openapi.Schema) bool { return "#/components/schemas/"+named.Name == s.Ref })
				if i < 0 {
					t.Errorf("%s: the body is no object with a name", name)
					continue
				}
				for _, p := range d.Schemas[i].Properties {
					have[fmt.Sprint("body ", p.Name, ", required ", slices.Contains(d.Schemas[i].Required, p.Name))] = true
				}
			}
			if !maps.Equal(want, have) {
				t.Errorf("%s takes\n%v, and described are\n%v", name, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(have)))
			}
		}
	}
	for name := range described {
		if strings.Contains(name, " /v1/") || strings.Contains(name, " /v2/") {
			t.Errorf("%s is described, and not there", name)
		}
	}
}

// TestOpenAPI: the description is what the OpenAPI Initiative says such a description is; testdata/openapi-3.1.json is its
// schema https://spec.openapis.org/oas/3.1/schema/2022-10-07, under the Apache License 2.0.
func TestOpenAPI(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("testdata/openapi-3.1.json")
	if err != nil {
		t.Fatal(err)
	}
	d, _ := load(t)
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(d.JSON))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(v); err != nil {
		t.Error(err)
	}
}

// TestComplete: every operation says what it must, and what is referred to is there.
func TestComplete(t *testing.T) {
	d, all := load(t)
	ids := map[string]bool{}
	for path, methods := range all["paths"].(map[string]any) {
		for method, one := range methods.(map[string]any) {
			o := one.(map[string]any)
			id, _ := o["operationId"].(string)
			if id == "" || ids[id] {
				t.Errorf("%s %s: the id %q is missing or not the only one", method, path, id)
			}
			ids[id] = true
			if o["summary"] == "" || len(o["tags"].([]any)) != 1 || len(o["responses"].(map[string]any)) == 0 || o["x-also"] != nil {
				t.Errorf("%s %s says too little, or too much: %v", method, path, o)
			}
			if role := o["x-least-role"]; !slices.Contains([]any{"none", "tenant", "viewer", "operator", "admin"}, role) {
				t.Errorf("%s %s: the least role is %v", method, path, role)
			}
			parameters, _ := o["parameters"].([]any)
			var inPath []string
			for _, p := range parameters {
				at := p.(map[string]any)
				if ref, ok := at["$ref"].(string); ok {
					at = follow(all, ref).(map[string]any)
				}
				if at["in"] == "path" {
					inPath = append(inPath, "{"+at["name"].(string)+"}")
				}
			}
			want := regexp.MustCompile(`\{\w+\}`).FindAllString(path, -1)
			slices.Sort(want)
			if slices.Sort(inPath); !slices.Equal(want, inPath) {
				t.Errorf("%s %s describes %v in its path", method, path, inPath)
			}
		}
	}
	for _, ref := range regexp.MustCompile(`"\$ref":"([^"]*)"`).FindAllSubmatch(d.JSON, -1) {
		if follow(all, string(ref[1])) == nil {
			t.Errorf("%s refers to nothing", ref[1])
		}
	}
	for kind, named := range all["components"].(map[string]any) {
		for name := range named.(map[string]any) {
			used := bytes.Contains(d.JSON, []byte(`"#/components/`+kind+"/"+name+`"`))
			if !used && kind != "securitySchemes" {
				t.Errorf("nothing refers to %s/%s", kind, name)
			}
		}
	}
	for _, tag := range d.Tags {
		if tag.Title == "" || tag.Description == "" || !slices.ContainsFunc(d.Operations, func(o openapi.Operation) bool { return o.Tags[0] == tag.Name }) {
			t.Errorf("the tag %s says nothing, or is of nothing", tag.Name)
		}
	}
}

func follow(all any, ref string) any {
	for step := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		object, _ := all.(map[string]any)
		all = object[step]
	}
	return all
}

// TestExamples: every example is what its schema says, every body and every answer of JSON has one, and so has every
// parameter in a path.
func TestExamples(t *testing.T) {
	_, all := load(t)
	examples(t, all, "#")
	for path, methods := range all["paths"].(map[string]any) {
		for method, one := range methods.(map[string]any) {
			o := one.(map[string]any)
			if body, ok := o["requestBody"].(map[string]any); ok {
				content := follow(body, "#/content").(map[string]any)["application/json"].(map[string]any)
				if _, ok := content["example"]; !ok && !strings.HasPrefix(o["description"].(string), "The same as ") {
					t.Errorf("%s %s: the body has no example", method, path)
				}
			}
			for status, answer := range o["responses"].(map[string]any) {
				contents, _ := answer.(map[string]any)["content"].(map[string]any)
				if content, ok := contents["application/json"].(map[string]any); ok && content["example"] == nil && path != "/api/openapi.json" {
					t.Errorf("%s %s: the answer %s has no example", method, path, status)
				}
			}
		}
	}
	for name, p := range all["components"].(map[string]any)["parameters"].(map[string]any) {
		if at := p.(map[string]any); at["in"] == "path" && at["example"] == nil {
			t.Errorf("the parameter %s has no example", name)
		}
	}
}

// examples checks what has a schema and an example, and schemas with examples of their own.
func examples(t *testing.T, v any, pointer string) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for i, one := range v {
			examples(t, one, fmt.Sprint(pointer, "/", i))
		}
	case map[string]any:
		if example, ok := v["example"]; ok {
			schema := pointer
			if v["schema"] != nil {
				schema += "/schema"
			}
			text, err := json.Marshal(example)
			if err != nil {
				t.Fatal(err)
			}
			if err := openapitest.ValidateJSON(schema, text); err != nil {
				t.Errorf("%s: %s: %v", pointer, text, err)
			}
		}
		for name, one := range v {
			if name == "example" {
				continue
			}
			examples(t, one, pointer+"/"+strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(name))
		}
	}
}

// TestValidate: what is not as described is found.
func TestValidate(t *testing.T) {
	for _, c := range []struct {
		method, path string
		status       int
		kind, body   string
		want         string // of the error; empty: there is none
	}{
		{"GET", "/v1/report/total?begin=x", 200, "application/json", `"1.5"`, ""},
		{"GET", "/v1/report/total/", 200, "application/json; charset=utf-8", `"1.5"`, ""},
		{"HEAD", "/v1/report/total", 200, "application/json", `"1.5"`, ""},
		{"GET", "/v1/report/total", 200, "application/json", `1.5`, "want string"},
		{"GET", "/v1/report/total", 200, "text/html", `1.5`, "media type text/html is not described"},
		{"GET", "/v1/report/total", 418, "application/json", `1.5`, "the status 418 is not described"},
		{"GET", "/v1/report/total", 400, "application/json", `{"message":"no"}`, "missing properties"},
		{"GET", "/v1/billing/modules", 200, "application/json", `{"modules":[]}`, ""},
		{"GET", "/v1/billing/modules", 200, "application/json", `{"modules":[],"more":1}`, "additional properties 'more'"},
		{"GET", "/v1/rating/modules", 200, "application/json", `{"modules":`, "no JSON"},
		{"DELETE", "/v1/rating/module_config/hashmap/services", 204, "", "", ""},
		{"DELETE", "/v1/rating/module_config/hashmap/services", 204, "", "x", "none is described"},
		{"GET", "/v1/rating/module_config/hashmap/mappings/group?mapping_id=x", 200, "application/json", `{"group_id":"1f3c9a52-5f1b-4d0e-9f0a-000000000003","name":"a"}`, ""},
		{"GET", "/v2/rating/modules/a%2Fb", 404, "application/json", `{"message":"no"}`, ""},
		{"GET", "/v2/rating/modules/", 404, "text/html", `<p>`, ""},
		{"GET", "/v2/nothing", 404, "application/json", `{"faultcode":"no"}`, "missing property 'message'"},
		{"GET", "/v2/nothing", 200, "application/json", `{}`, "is not described, and not refused"},
		{"OPTIONS", "/v2/nothing", 200, "", "", ""},
		{"GET", "/v2/summary", 200, "application/json", `{"total":1,"columns":["begin"],"results":[["x",1e400]],"format":"table"}`, ""},
		{"GET", "/v2/summary", 200, "application/json", `{"total":1,"columns":["begin"],"results":[[null]],"format":"table"}`, "oneOf"},
	} {
		err := openapitest.Validate(c.method, c.path, c.status, c.kind, []byte(c.body))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s %s %d %s %s: %v, want %q", c.method, c.path, c.status, c.kind, c.body, err, c.want)
		}
	}
}

// TestOwnRoutes holds what Ratebook itself answers programs, which are its routes that end like files and those for machines,
// and the description against each other.
func TestOwnRoutes(t *testing.T) {
	d, _ := load(t)
	described := map[string]bool{}
	for _, o := range d.Operations {
		if !strings.HasPrefix(o.Path, "/v1/") && !strings.HasPrefix(o.Path, "/v2/") {
			for _, path := range append(o.Also, o.Path) {
				described[o.Method+" "+path] = true
			}
		}
	}
	there := map[string]bool{"GET /": true, "GET /metrics": true, "GET /api/openapi.json": true} // web's, in other ways
	find := func(pattern, expression string, wanted func(path string) bool) {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatal(pattern, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(expression).FindAllStringSubmatch(string(text), -1) {
				if path := regexp.MustCompile(`:(\w+)`).ReplaceAllString(m[2], "{$1}"); wanted(path) {
					there[m[1]+" "+path] = true
				}
			}
		}
	}
	find("../../*.go", `r\.\w+\.(GET|POST|PUT|PATCH|DELETE)\("([^"]*)"`, func(path string) bool {
		return strings.HasSuffix(path, ".json") || strings.HasSuffix(path, ".csv")
	})
	find("../../../web/site.go", `s\.bare\(()e, "([^"]*)"`, func(path string) bool { return path != "/favicon.ico" && path != "/robots.txt" })
	for name := range maps.Clone(there) {
		if path, ok := strings.CutPrefix(name, " "); ok {
			delete(there, name)
			there["GET "+path] = true
		}
	}
	if !maps.Equal(described, there) {
		t.Errorf("described are\n%v, and there are\n%v", slices.Sorted(maps.Keys(described)), slices.Sorted(maps.Keys(there)))
	}
}

// TestSite: the description names the address that the request came to, is not sent twice, and the page has all of it.
func TestSite(t *testing.T) {
	site := openapi.NewSite()
	base, err := url.Parse("https://billing.example/ratebook")
	if err != nil {
		t.Fatal(err)
	}
	h, err := web.New(web.Config{BaseURL: base, Description: site.JSON, Areas: []web.Area{site, signedIn{}}})
	if err != nil {
		t.Fatal(err)
	}
	get := func(path, name, value string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), "GET", path, http.NoBody)
		r.Header.Set(name, value)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	w := get("/ratebook/api/openapi.json", "Accept", "*/*")
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" ||
		!strings.Contains(w.Body.String(), `"servers":[{"url":"https://billing.example/ratebook"}]`) || strings.Contains(w.Body.String(), "ratebook.invalid") {
		t.Errorf("%d %v %.500s", w.Code, w.Header(), w.Body)
	}
	if w := get("/ratebook/api/openapi.json", "If-None-Match", w.Header().Get("ETag")); w.Code != 304 || w.Body.Len() > 0 {
		t.Errorf("again: %d %d bytes", w.Code, w.Body.Len())
	}
	if w := get("/ratebook/api", "Accept", "application/json"); w.Code != 401 {
		t.Errorf("a stranger sees the page: %d", w.Code)
	}

	w = get("/ratebook/signed-in", "Accept", "text/html")
	page, err := goquery.NewDocumentFromReader(w.Body)
	if err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	if page.Find(`main a[href$="/settings/tokens"]`).Length() > 0 {
		t.Error("a tenant is sent where it may not go")
	}
	d, _ := load(t)
	for _, o := range d.Operations {
		if part := page.Find("details#" + o.ID); part.Length() != 1 || !strings.Contains(part.Find("pre").First().Text(), "'https://billing.example/ratebook/") {
			t.Errorf("%s is on the page %d times: %s", o.ID, part.Length(), part.Find("pre").First().Text())
		}
	}
	page.Find(`main a[href^="#"]`).Each(func(_ int, a *goquery.Selection) {
		if target := a.AttrOr("href", ""); page.Find(target).Length() != 1 {
			t.Errorf("%s leads nowhere", target)
		}
	})
	if text := page.Find("details#v2PushDataFrames pre").First().Text(); text != `curl -X POST -H "X-Auth-Token: $TOKEN" -H 'Idempotency-Key: usage-2026-11-20T12' -H 'Content-Type: application/json' \
  -d '{"dataframes":[{"period":{"begin":"2026-11-20T12:00:00+00:00","end":"2026-11-20T13:00:00+00:00"},"usage":{"volume.size":[{"vol":{"unit":"GiB","qty":2.5},"rating":{"price":0.100000000001},"groupby":{"project_id":"acme","id":"0a1b2c3d"},"metadata":{"volume_type":"ssd"}}]}}]}' \
  'https://billing.example/ratebook/v2/dataframes'` {
		t.Error(text)
	}
}

// signedIn shows the page to somebody who has signed in.
type signedIn struct{}

func (signedIn) Routes(r *web.Router) {
	r.Anyone.GET("/signed-in", func(c echo.Context) error {
		c.Set("user", &access.User{Login: "tea", Role: access.Tenant})
		return openapi.NewSite().Show(c)
	})
}
