package app

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ratebook/metering"
)

// TestMonitoringDocs holds the examples for Prometheus and Grafana against what /metrics has.
func TestMonitoringDocs(t *testing.T) {
	m := newMonitoring(nil, "EUR", []string{"default"}, func() []metering.Job {
		return []metering.Job{{Name: "plan windows", Every: time.Minute, Began: time.Unix(1, 0), Took: time.Second, Error: "no database"}}
	})
	m.Committed(&metering.Batch{}, time.Second)
	m.SourceFailed("default")
	m.DatabaseFailed()
	have := map[string]bool{}
	for _, c := range []string{"windows_open", "processed_to_timestamp_seconds", "amount_total", "job_failing", "job_ended_timestamp_seconds"} {
		have["ratebook_"+c] = true // asked of the database at each scrape; TestServe of e2e sees them
	}
	m.registry.Unregister(m)
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		have[f.GetName()] = true
	}
	folder := filepath.Join("..", "docs", "monitoring")
	for _, file := range []string{"README.md", "alerts.yml", "dashboard.json"} {
		content, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`\bratebook_[a-z_]+`).FindAllString(string(content), -1)
		if len(names) < 5 {
			t.Errorf("%s names %d metrics", file, len(names))
		}
		for _, name := range names {
			if !have[name] && !have[strings.TrimSuffix(name, "_bucket")] {
				t.Errorf("%s speaks of %s, which there is not", file, name)
			}
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("promtool is not installed (Debian package prometheus)")
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", filepath.Join(folder, "alerts.yml")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
