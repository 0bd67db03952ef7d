package prometheus

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
)

func TestFetcher(t *testing.T) {
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf("metric_%03d", i))
	}
	for _, c := range []struct {
		name      string
		metrics   []string
		filters   map[string]string
		selectors []string
		requests  int
	}{
		{"one", []string{"up"}, nil, []string{"up"}, 1},
		{"filters", []string{"up", "down", "up"}, map[string]string{"z": "1", "a": "q\"\\\n"}, []string{`down{a="q\"\\\n", z="1"}`, `up{a="q\"\\\n", z="1"}`}, 1},
		{"many", many, nil, many, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var selectors []string
			requests := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests++
				if r.URL.Path != "/api/v1/label/project_id/values" || r.Method != http.MethodGet || len(r.URL.RawQuery) > 8<<10 {
					t.Errorf("%s %s", r.Method, r.URL)
				}
				q := r.URL.Query()
				if q.Get("start") != "3600" || q.Get("end") != "10800" {
					t.Errorf("range %s to %s", q.Get("start"), q.Get("end"))
				}
				selectors = append(selectors, q["match[]"]...)
				reply(200, fmt.Sprintf(`{"status":"success","data":["p2","","p%d","p1"]}`, requests))(w, r)
			}))
			defer server.Close()
			f := &Fetcher{Client: newClient(t, Config{URL: server.URL}), Metrics: c.metrics, ScopeAttribute: "project_id", Filters: c.filters}
			got, err := f.Scopes(t.Context(), period.Range{Begin: time.Unix(3600, 0), End: time.Unix(10800, 0)})
			if want := []metering.Found{{ID: "p1"}, {ID: "p2"}}; err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, %v, want %v", got, err, want)
			}
			if !slices.Equal(selectors, c.selectors) || requests != c.requests {
				t.Errorf("%d requests for %s, want %d for %s", requests, selectors, c.requests, c.selectors)
			}
		})
	}
}

func TestFetcherFails(t *testing.T) {
	server := httptest.NewServer(reply(200, `{"status":"success","warnings":["results truncated due to limit"],"data":["p"]}`))
	defer server.Close()
	f := &Fetcher{Client: newClient(t, Config{URL: server.URL}), Metrics: []string{"up"}, ScopeAttribute: "project_id"}
	if got, err := f.Scopes(t.Context(), period.Range{}); err == nil || !strings.Contains(err.Error(), "truncated") {
		t.Errorf("a partial list: %v, %v", got, err)
	}
	f.Metrics = nil
	if _, err := f.Scopes(t.Context(), period.Range{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("without metrics: %v", err)
	}
}
