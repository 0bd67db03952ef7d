package app

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The usage that newSource has: constant quantities over three days and two months.
var (
	sourceBegin = time.Date(2026, 1, 30, 0, 0, 0, 0, time.UTC)
	sourceEnd   = time.Date(2026, 2, 2, 0, 0, 0, 0, time.UTC)
	sourceUsage = []struct {
		metric, value string
		labels        map[string]string
	}{
		{"vcpus", "2", map[string]string{"project_id": "alpha", "flavor": "m1.tiny", "note": "a,b=c"}},
		{"vcpus", "0.5", map[string]string{"project_id": "beta", "flavor": "m1.large", "note": `say "hi"`}},
		{"ram_bytes", "1610612736", map[string]string{"project_id": "alpha", "flavor": "m1.tiny"}},
	}
)

const (
	sourceMetrics = `metrics:
  ram_bytes:
    unit: GiB
    alt_name: ram
    groupby: [flavor]
    factor: 1/1073741824

  vcpus:
    unit: vCPU
    alt_name: cpu
    groupby: [flavor]
    metadata: [note]
`
	// an hour of alpha costs 2×0.01 + 1.5×0.001, one of beta 0.5×0.04
	sourceRules = `services:
  - name: cpu
    fields:
      - name: flavor
        mappings:
          - {value: m1.tiny, type: flat, cost: "0.01"}
          - {value: m1.large, type: flat, cost: "0.04"}
  - name: ram
    mappings: [{type: flat, cost: "0.001"}]
`
)

// source is as much of a Prometheus server as the collector needs.
type source struct {
	*httptest.Server
	down     atomic.Bool // answer every query with an error
	constant atomic.Bool // have usage at all times, not only in the three days
}

var (
	selector = regexp.MustCompile(`(\w+)\{project_id(=|=~|!=)"(.*?)"\}`)
	grouping = regexp.MustCompile(`by \((.*?)\)`)
)

func newSource(t *testing.T) *source {
	s := new(source)
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, data any) {
		if s.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data})
	}
	mux.HandleFunc("/api/v1/label/project_id/values", func(w http.ResponseWriter, _ *http.Request) { answer(w, []string{"alpha", "beta"}) })
	mux.HandleFunc("/api/v1/status/buildinfo", func(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]string{"version": "2.42.0"}) })
	mux.HandleFunc("/api/v1/query_range", func(w http.ResponseWriter, r *http.Request) {
		type series struct {
			Metric map[string]string `json:"metric"`
			Values [][2]any          `json:"values"`
		}
		result := []series{}
		number := func(name string) int64 {
			n, err := strconv.ParseInt(r.FormValue(name), 10, 64)
			if err != nil {
				t.Errorf("%s is %q", name, r.FormValue(name))
				return 1
			}
			return n
		}
		q := r.FormValue("query")
		wanted := selector.FindStringSubmatch(q)
		if wanted == nil {
			t.Errorf("the query %q is not understood", q)
			return
		}
		for _, u := range sourceUsage {
			one := series{Metric: map[string]string{}}
			if scopes := strings.Split(wanted[3], "|"); u.metric != wanted[1] || wanted[2] != "!=" && !slices.Contains(scopes, u.labels["project_id"]) {
				continue
			}
			if by := grouping.FindStringSubmatch(q); by != nil {
				for _, l := range strings.Split(by[1], ", ") {
					if u.labels[l] != "" {
						one.Metric[l] = u.labels[l]
					}
				}
			}
			for at := number("start"); at <= number("end"); at += number("step") {
				if s.constant.Load() || at > sourceBegin.Unix() && at <= sourceEnd.Unix() {
					one.Values = append(one.Values, [2]any{at, u.value})
				}
			}
			if one.Values != nil {
				result = append(result, one)
			}
		}
		answer(w, map[string]any{"resultType": "matrix", "result": result})
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}
