package testserver_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"ratebook/e2e/testserver"
)

func TestPrometheus(t *testing.T) {
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	p := testserver.Prometheus(t, testserver.OpenMetrics(testserver.Series{
		Name: "m", Labels: map[string]string{"id": "a\"\\\nb"}, Samples: testserver.Every(time.Hour, begin, 3, "1", "2.5"),
	}))
	ask := func() string {
		q := url.Values{"query": {"sum_over_time(m[3h])"}, "time": {begin.Add(2 * time.Hour).Format(time.RFC3339)}}
		res, err := http.Get(p.URL + "/api/v1/query?" + q.Encode())
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	const want = `{"id":"a\"\\\nb"},"value":[1772330400,"4.5"]`
	if got := ask(); !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	p.Stop()
	if res, err := http.Get(p.URL); err == nil {
		res.Body.Close()
		t.Error("still answers after Stop")
	}
	p.Start()
	if got := ask(); !strings.Contains(got, want) {
		t.Errorf("after a restart: got %s, want %s", got, want)
	}
}

func TestPrometheusWithoutSamples(t *testing.T) {
	testserver.Prometheus(t, testserver.OpenMetrics())
}
