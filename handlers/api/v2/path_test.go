package v2

import (
	"net/http/httptest"
	"testing"

	"ratebook/handlers/api/openapi/openapitest"
)

// TestPathText: ids are as the client meant them, however it wrote them into the path.
func TestPathText(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/v2/task/reprocesses/p1": "p1", "/v2/task/reprocesses/p%201": "p 1", "/v2/task/reprocesses/a%2Fb": "a/b", "/v2/task/reprocesses/%C3%BC%25": "ü%", "/v2/task/reprocesses/a+b": "a+b",
		"/v2/task/reprocesses/a%00%FF%2F": "a\uFFFD\uFFFD/",
	} {
		f := newFakes()
		w := httptest.NewRecorder()
		server(f, admin).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		openapitest.Check(t, "GET", path, w)
		if w.Code != 200 || f.listed[0].([]string)[0] != want {
			t.Errorf("%s: %d %v", path, w.Code, f.listed)
		}
	}
}
