// Package openapitest holds answers against the description of the API, for tests.
package openapitest

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"ratebook/handlers/api/openapi"
)

// description is the description, for looking things up.
type description struct {
	root     any
	paths    map[string]any
	compiler *jsonschema.Compiler

	mu      sync.Mutex
	schemas map[string]*jsonschema.Schema // by pointer
}

const address = "https://ratebook.invalid/openapi.json"

var load = sync.OnceValues(func() (*description, error) {
	d, err := openapi.Load()
	if err != nil {
		return nil, err
	}
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(d.JSON))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource(address, root); err != nil {
		return nil, err
	}
	return &description{root, root.(map[string]any)["paths"].(map[string]any), c, sync.Mutex{}, map[string]*jsonschema.Schema{}}, nil
})

// T is a test, or what is like one.
type T interface {
	Helper()
	Errorf(format string, args ...any)
}

// Check fails a test if an answer is not as the description has it. Path is that of the request; it may have a query.
func Check(t T, method, path string, w *httptest.ResponseRecorder) {
	t.Helper()
	if err := Validate(method, path, w.Code, w.Header().Get("Content-Type"), w.Body.Bytes()); err != nil {
		t.Errorf("%s %.200s: %d is not as described: %v\n%.2000s", method, path, w.Code, err, w.Body)
	}
}

// Validate returns what an answer to a request has that the description of the API does not, or lacks. What is not described
// must be refused.
func Validate(method, path string, status int, contentType string, body []byte) error {
	d, err := load()
	if err != nil {
		return err
	}
	path, _, _ = strings.Cut(path, "?")
	if method == http.MethodOptions && status < http.StatusBadRequest && len(body) == 0 {
		return nil
	}
	if method == http.MethodHead {
		method = http.MethodGet
	}
	pointer, operation := d.find(method, path)
	if operation == nil {
		return d.refused(path, status, contentType, body)
	}
	responses := operation["responses"].(map[string]any)
	response, ok := responses[strconv.Itoa(status)].(map[string]any)
	if !ok {
		return fmt.Errorf("the status %d is not described", status)
	}
	pointer += "/responses/" + strconv.Itoa(status)
	if ref, ok := response["$ref"].(string); ok {
		pointer = ref
		response = d.at(ref).(map[string]any)
	}
	return d.content(response, pointer, contentType, body)
}

// find returns the operation that answers a request, and where it is.
func (d *description) find(method, path string) (pointer string, operation map[string]any) {
	if strings.HasPrefix(path, "/v1/") { // CloudKitty takes these for the same
		if path = strings.TrimRight(path, "/"); strings.HasPrefix(path, "/v1/billing/") {
			path = "/v1/rating/" + strings.TrimPrefix(path, "/v1/billing/")
		}
	}
	var best string
	for template := range d.paths {
		if match(template, path) && (best == "" || strings.Count(template, "{") < strings.Count(best, "{") ||
			strings.Count(template, "{") == strings.Count(best, "{") && template < best) {
			if d.paths[template].(map[string]any)[strings.ToLower(method)] != nil {
				best = template
			}
		}
	}
	if best == "" {
		return "", nil
	}
	operation = d.paths[best].(map[string]any)[strings.ToLower(method)].(map[string]any)
	return "#/paths/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(best) + "/" + strings.ToLower(method), operation
}

// match reports whether a path is one of a template's.
func match(template, path string) bool {
	want, have := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		text, err := url.PathUnescape(have[i])
		if err != nil {
			text = have[i]
		}
		if strings.HasPrefix(want[i], "{") {
			if text == "" {
				return false
			}
		} else if want[i] != text {
			return false
		}
	}
	return true
}

// at returns what a pointer into the description leads to.
func (d *description) at(pointer string) any {
	v := d.root
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "#/"), "/") {
		v = v.(map[string]any)[step]
	}
	return v
}

// content checks a body by its media type.
func (d *description) content(response map[string]any, pointer, contentType string, body []byte) error {
	contents, _ := response["content"].(map[string]any)
	if len(contents) == 0 {
		if len(body) > 0 {
			return errors.New("there is a body, and none is described")
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("its media type is %q: %w", contentType, err)
	}
	if _, ok := contents[kind].(map[string]any); !ok {
		return fmt.Errorf("its media type %s is not described", kind)
	}
	if !strings.HasSuffix(kind, "json") {
		return nil
	}
	return d.validate(pointer+"/content/"+strings.ReplaceAll(kind, "/", "~1")+"/schema", body)
}

// validate holds JSON against the schema at a pointer.
func (d *description) validate(pointer string, body []byte) error {
	schema, err := d.schema(pointer)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("it is no JSON: %w", err)
	}
	return schema.Validate(v)
}

func (d *description) schema(pointer string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.schemas[pointer]; s != nil {
		return s, nil
	}
	s, err := d.compiler.Compile(address + pointer)
	if err != nil {
		return nil, err
	}
	d.schemas[pointer] = s
	return s, nil
}

// refused checks the answer to a request that is not described.
func (d *description) refused(path string, status int, contentType string, body []byte) error {
	version, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !slices.Contains([]int{
		http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge,
		http.StatusRequestURITooLong, http.StatusServiceUnavailable,
	}, status) {
		return errors.New("the request is not described, and not refused")
	}
	if version != "v1" && version != "v2" || !strings.HasPrefix(contentType, "application/json") {
		return nil
	}
	return d.validate("#/components/schemas/"+strings.ToUpper(version)+"Error", body)
}

// ValidateJSON holds JSON against the schema at a pointer into the description, such as #/components/schemas/Report.
func ValidateJSON(pointer string, body []byte) error {
	d, err := load()
	if err != nil {
		return err
	}
	return d.validate(pointer, body)
}
