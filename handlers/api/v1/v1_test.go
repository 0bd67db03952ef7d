package v1

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ratebook/access"
	"ratebook/fault"
)

// filled returns a path of an endpoint with something for each argument.
func filled(path, id string) string {
	return "/v1" + regexp.MustCompile(`\{[a-z_]+\}`).ReplaceAllLiteralString(path, id)
}

const someID = "00000000-0000-4000-8000-000000000001"

// sample is a body with something for each attribute that must be there.
func sample(b *content) string {
	if b == nil {
		return ""
	}
	var parts []string
	for _, a := range b.Attributes {
		if !a.Required {
			continue
		}
		value := map[Type]string{Text: `"` + someID + `"`, UUID: `"` + someID + `"`, Decimal: `"1"`, Resources: `[]`}[a.Type]
		parts = append(parts, `"`+a.Name+`":`+value)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// TestEndpoints holds each endpoint to what all have in common.
func TestEndpoints(t *testing.T) {
	w := begin(t)
	seen := map[string]bool{}
	for _, e := range endpoints {
		for _, path := range e.Paths {
			if seen[e.Method+path] {
				t.Errorf("%s %s is there twice", e.Method, path)
			}
			seen[e.Method+path] = true
			if e.Policy == "" || e.Role == "" {
				t.Errorf("%s %s says too little", e.Method, path)
			}
			at := filled(path, someID)
			body := sample(e.Body)

			// who may
			for _, who := range []string{"admin", "operator", "viewer", "tenant", "nobody"} {
				caller := callers[who]
				got := w.send(who+" "+e.Method, at, body)
				if may := caller.May(e.Role); may == (got.status == http.StatusForbidden) {
					t.Errorf("%s %s by the %s: %d %s", e.Method, path, who, got.status, got.body)
				} else if !may {
					wantText := `"faultstring":"Policy doesn't allow ` + e.Policy + ` to be performed."`
					if strings.HasPrefix(path, "/rating/module_config") {
						wantText = "<h1>403 Forbidden</h1>"
					}
					if !strings.Contains(got.body, wantText) {
						t.Errorf("%s %s by the %s: %s", e.Method, path, who, got.body)
					}
				}
				if got.status >= 500 {
					t.Errorf("%s %s by the %s: %d %s", e.Method, path, who, got.status, got.body)
				}
			}
			if got := w.send("stranger "+e.Method, at, body); got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") != `Keystone uri="http://keystone"` {
				t.Errorf("%s %s without a token: %d %s", e.Method, path, got.status, got.body)
			}

			// what all answer alike
			plain := w.send(e.Method, at, body)
			if e.Method == http.MethodGet {
				if slash := w.send(e.Method, at+"/", body); slash.body != plain.body || slash.status != plain.status {
					t.Errorf("%s %s: with a slash %d %s", e.Method, path, slash.status, slash.body)
				}
				if strings.HasPrefix(at, "/v1/rating") {
					if other := w.send(e.Method, strings.Replace(at, "/rating", "/billing", 1), body); other.body != plain.body || other.status != plain.status {
						t.Errorf("%s %s: as billing %d %s", e.Method, path, other.status, other.body)
					}
				}
			}
			if got := w.send("OPTIONS", at, ""); got.status != http.StatusOK || got.body != "" {
				t.Errorf("OPTIONS %s: %d %s", path, got.status, got.body)
			}
			if got := w.send("PATCH", at, body); got.status != http.StatusMethodNotAllowed || !strings.Contains(got.header.Get("Allow"), e.Method) {
				t.Errorf("PATCH %s: %d, allowed %s", path, got.status, got.header.Get("Allow"))
			}
			w.refused(e.Method, at+"?"+url.QueryEscape("bögus")+"=1", body, 400, `Unknown argument: "bögus"`)
			w.refused(e.Method, at, "{", 400, "Request is not in valid JSON format")
			w.refused(e.Method, at, "{\"a\":\"\xff\"}", 400, "Request is not in valid JSON format")
			w.refused(e.Method, at, strings.Repeat(`[`, 100_000), 400, "Request is not in valid JSON format")
			w.refused(e.Method, at, "[]", 400, "Request must be a JSON dictionary")
			w.refused(e.Method, at, "null", 400, "Request must be a JSON dictionary")
			if e.Body == nil {
				w.refused(e.Method, at, `{"bögus":1}`, 400, `Unknown argument: "bögus"`)
			} else {
				w.refused(e.Method, at, "", 400, `Missing argument: "`+e.Body.Name+`"`)
				w.refused(e.Method, at, `{"bögus":1}`, 400, "Unknown attribute for argument "+e.Body.Name+": bögus")
				w.attributes(&e, at)
			}
			w.arguments(&e, at, path, body)
		}
	}
}

// attributes sends each attribute in each wrong way.
func (w *world) attributes(e *endpoint, at string) {
	w.Helper()
	for _, a := range e.Body.Attributes {
		if a.Required {
			w.want(e.Method, at, `{}`, 400, `…Value: 'None'. Mandatory field missing.…`)
			w.want(e.Method, at, `{"`+a.Name+`":null}`, 400, `…Value: 'None'. Mandatory field missing.…`)
		}
		in := "Invalid input for field/attribute " + a.Name + ". Value: "
		wrong := func(value, shown, text string) {
			w.Helper()
			w.refused(e.Method, at, `{"`+a.Name+`":`+value+`}`, 400, in+"'"+shown+"'. "+text)
		}
		switch a.Type {
		case Text:
			wrong("5", "5", "Wrong type. Expected 'str', got 'int'")
			wrong("5.0", "5.0", "Wrong type. Expected 'str', got 'float'")
			wrong("true", "true", "Wrong type. Expected 'str', got 'bool'")
			wrong(`{"a":1}`, `{"a":1}`, "Wrong type. Expected 'str', got 'dict'")
			wrong(`"\u0000"`, "\x00", "unable to convert to str. Error: it is not a text in UTF-8 without NUL characters")
		case UUID:
			wrong(`"zz"`, "zz", "Invalid UUID, got 'zz'")
			wrong(`""`, "", "Invalid UUID, got ''")
			wrong(`[]`, "[]", "Wrong type. Expected 'uuid', got 'list'")
			long := strings.Repeat("ä", 1000)
			clipped := strings.Repeat("ä", 200) + "…"
			wrong(`"`+long+`"`, clipped, "Invalid UUID, got '"+clipped+"'")
		case Bool:
			wrong(`"zz"`, "zz", "unable to convert to bool. Error: Value not an unambiguous boolean: zz")
			wrong(`2`, "2", "Wrong type. Expected 'bool', got 'int'")
		case Int:
			wrong(`"zz"`, "zz", "unable to convert to int. Error: it is not a whole number of 32 bits")
			wrong(`1.5`, "1.5", "unable to convert to int. Error: it is not a whole number of 32 bits")
			wrong(`9999999999`, "9999999999", "unable to convert to int. Error: it is not a whole number of 32 bits")
			wrong(`true`, "true", "Wrong type. Expected 'int', got 'bool'")
		case Decimal:
			for _, value := range []string{"zz", "NaN", "-Infinity", "1e999999999", "1_000"} {
				wrong(`"`+value+`"`, value, "unable to convert to decimal. Error: it is not a decimal number that can be computed with")
			}
			wrong(`1e999999999`, "1e999999999", "unable to convert to decimal. Error: it is not a decimal number that can be computed with")
			wrong(`""`, "", "unable to convert to decimal. Error: it is empty")
			wrong(`[1]`, "[1]", "Wrong type. Expected 'decimal', got 'list'")
		case DateTime:
			wrong(`"zz"`, "zz", "unable to convert to datetime. Error: unknown string format: zz")
			wrong(`"2026-02-30"`, "2026-02-30", "unable to convert to datetime. Error: unknown string format: 2026-02-30")
			wrong(`1`, "1", "Wrong type. Expected 'datetime', got 'int'")
		case Enum:
			wrong(`"fail"`, "fail", "Value should be one of: flat, rate")
			wrong(`1`, "1", "Wrong type. Expected 'str', got 'int'")
		default: // TestQuote has what else there is
		}
	}
}

// arguments sends each argument in each wrong way.
func (w *world) arguments(e *endpoint, at, path, body string) {
	w.Helper()
	for _, a := range e.Arguments {
		if strings.Contains(path, "{"+a.Name+"}") {
			w.refused(e.Method, at+"?"+a.Name+"=other", body, 400, "Parameter "+a.Name+" was given several times")
			w.want(e.Method, at+"?"+a.Name+"=other", body, 400, "…")
			continue
		}
		wrong := func(value, text string) {
			w.Helper()
			w.refused(e.Method, at+"?"+a.Name+"="+value, body, 400, "Invalid input for field/attribute "+a.Name+". Value: '"+value+"'. "+text)
		}
		switch a.Type {
		case Bool:
			wrong("zz", "unable to convert to bool. Error: Value not an unambiguous boolean: zz")
		case DateTime:
			wrong("zz", "unable to convert to datetime. Error: unknown string format: zz")
		case Moment:
			wrong("zz", "unable to convert to datetime. Error: unknown string format: zz")
		case Text, UUID:
			w.want(e.Method, at+"?"+a.Name+"=%00", body, 400, "…without NUL characters…")
			w.want(e.Method, at+"?"+a.Name+"=%ff", body, 400, "…in UTF-8…")
			w.want(e.Method, at+"?"+a.Name+"=a&"+a.Name+"=b", body, 400, "…was given several times…")
		default:
			w.Errorf("%s has a type that is not tested", a.Name)
		}
		if a.Required && (e.Body == nil || !slices.ContainsFunc(e.Body.Attributes, func(b argument) bool { return b.Name == a.Name && b.Required })) {
			w.want(e.Method, at, body, 400, `…Missing argument: …`)
		}
	}
	w.want(e.Method, at+"?a=%zz", body, 400, "…Request is not valid…")
}

func TestUnrouted(t *testing.T) {
	w := begin(t)
	for _, path := range []string{
		"/v1", "/v1/", "/v1/nothing", "/v1/rating", "/v1/rating/", "/v1//rating/modules", "/v1/rating/module_config", "/v1/rating/module_config/hashmap",
		"/v1/rating/module_config/pyscripts/script", "/v1/rating/modules/a/b", "/v1/rating/modules/%2F/b", "/v1/%ff", "/v1/report", "/v1/storage",
		"/v1/info", "/v1/rating/module_config/noop/x", "/v1/größe", "/v1/" + strings.Repeat("x/", 2000),
	} {
		w.want("GET", path, "", 405, "…<h1>405 Method Not Allowed</h1>…")
	}
	w.want("stranger GET", "/v1", "", 405, "…<h1>405 Method Not Allowed</h1>…")
	w.want("GET", "/", "", 200, `{"versions":[{"id":"v1","links":[{"href":"http://example.com/v1","rel":"self"}],"status":"CURRENT"}]}`)
}

func TestMediaTypes(t *testing.T) {
	w := begin(t)
	for kind, status := range map[string]int{
		"": 201, "application/json": 201, "application/json; charset=utf-8": 201, "text/javascript": 201,
		"application/x-www-form-urlencoded": 415, "application/xml": 415, "text/plain": 415, "application/json;;": 415,
	} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/rating/module_config/hashmap/services", strings.NewReader(`{"name":"`+url.QueryEscape(kind)+`x"}`))
		r.Header.Set("X-Auth-Token", "admin")
		r.Header.Set("Content-Type", kind)
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, r)
		if rec.Code != status && rec.Code != 400 {
			t.Errorf("%s: %d %s", kind, rec.Code, rec.Body)
		}
	}
	w.want("POST", "/v1/rating/quote", `{"resources":[{"service":"`+strings.Repeat("x", 5<<20)+`"}]}`, 413, "…Request Entity Too Large…")
}

// TestFailures checks what clients learn of what is not their fault: nothing.
func TestFailures(t *testing.T) {
	w := begin(t)
	for err, want := range map[error]string{
		errors.New("secret"):                         `500 {"faultcode":"Server","faultstring":"Internal Server Error","debuginfo":null}`,
		fault.New(fault.Internal, "secret"):          `500 {"faultcode":"Server","faultstring":"Internal Server Error","debuginfo":null}`,
		fault.New(fault.Unavailable, "No database."): `503 {"faultcode":"Server","faultstring":"No database.","debuginfo":null}`,
		&fault.Error{Kind: fault.Invalid, Message: "Bad.", Fields: []fault.Field{{Name: "end", Message: "too early"}}}: `400 {"faultcode":"Client","faultstring":"Bad. end: too early.","debuginfo":null}`,
	} {
		w.err = err
		for _, e := range endpoints {
			at := filled(e.Paths[0], someID)
			for _, a := range e.Arguments {
				if a.Required && !strings.Contains(e.Paths[0], "{"+a.Name+"}") {
					at += "?" + a.Name + "=x"
				}
			}
			if strings.HasSuffix(at, "hashmap/thresholds") && e.Method == "GET" {
				at += "?service_id=x"
			}
			got := w.send(e.Method, at, sample(e.Body))
			if answered := got.status == 204 || got.status == 409 || got.status == 405 || strings.HasSuffix(at, "/types"); answered {
				continue // it asks nobody
			}
			if text := fmt.Sprintf("%d %s", got.status, strings.TrimSuffix(got.body, "\n")); text != want {
				t.Errorf("%s %s: %s", e.Method, at, text)
			}
		}
	}
}

func TestLeastRoles(t *testing.T) {
	t.Parallel()
	for _, e := range endpoints {
		if e.Method != http.MethodGet && e.Role != access.Operator && !strings.HasSuffix(e.Paths[0], "/quote") && !strings.HasSuffix(e.Paths[0], "/noop") {
			t.Errorf("%s %s changes something, and a %s may", e.Method, e.Paths[0], e.Role)
		}
	}
}
