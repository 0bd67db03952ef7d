package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"ratebook/e2e/testserver"
)

// The benchmark's world: 200 scopes x 100 resources x 4 metrics x 24 h, a sample every 15 minutes.
const (
	benchScopes    = 200
	benchResources = 100
	benchMetrics   = 4
	benchHours     = 24
)

var benchBegin = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// TestBenchProcess measures `ratebook process` from a real Prometheus into PostgreSQL, and reports over the result. It
// runs only with RATEBOOK_BENCH=1, see docs/performance.md.
func TestBenchProcess(t *testing.T) {
	if os.Getenv("RATEBOOK_BENCH") == "" {
		t.Skip("a benchmark; set RATEBOOK_BENCH=1")
	}
	program := binary(t)
	source := testserver.Prometheus(t, benchSamples())
	database := testserver.PostgresServer(t, "fsync=on", "synchronous_commit=on", "full_page_writes=on",
		"shared_buffers=2GB", "max_wal_size=8GB", "checkpoint_timeout=15min").Create(t, "bench")

	metrics := "metrics:\n"
	rules := "services:\n"
	for m := range benchMetrics {
		metrics += fmt.Sprintf("  bench_metric%d: {unit: unit, alt_name: metric%d, groupby: [id, flavor, region]}\n", m, m)
		rules += fmt.Sprintf("  - name: metric%d\n    fields:\n      - name: flavor\n        mappings:\n", m)
		for f := range 12 {
			rules += fmt.Sprintf("          - {value: m1.flavor%d, cost: \"0.0%d\"}\n", f, f+1)
		}
	}
	run := func(args ...string) (out string, took time.Duration, rss int64) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = append(os.Environ(), "RATEBOOK_DATABASE_URL="+database)
		cmd.Stderr = os.Stderr
		began := time.Now()
		b, err := cmd.Output()
		if err != nil {
			t.Fatalf("ratebook %s: %v\n%s", strings.Join(args, " "), err, b)
		}
		return string(b), time.Since(began), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	}
	run("migrate", "up")
	run("import", "metrics", write(t, "metrics.yml", metrics))
	run("import", "rules", write(t, "rules.yml", rules))
	day := benchBegin.Format(time.DateOnly)
	next := benchBegin.AddDate(0, 0, 1).Format(time.DateOnly)
	out, took, rss := run("process", "--prometheus-url", source.URL, "--start", day, "--until", next)
	var sum struct{ Done, Points int }
	if err := json.Unmarshal([]byte(out), &sum); err != nil {
		t.Fatal(err)
	}
	if want := benchScopes * benchResources * benchMetrics * benchHours; sum.Points != want {
		t.Errorf("stored %d points instead of %d:\n%s", sum.Points, want, out)
	}
	t.Logf("process: %d windows, %d points in %.1f s, %.0f points/s, %d MB at most; CloudKitty 17: 189 s, so %.0f times faster",
		sum.Done, sum.Points, took.Seconds(), float64(sum.Points)/took.Seconds(), rss/1024, 189/took.Seconds())
	for _, group := range []string{"metric", "scope", "flavor", "id"} {
		_, took, _ := run("export", "report", "--begin", day, "--end", next, "--group-by", group)
		t.Logf("export report by %s, a process of its own: %d ms", group, took.Milliseconds())
	}
}

func benchSamples() string {
	var all []testserver.Series
	for m := range benchMetrics {
		for s := range benchScopes {
			for r := range benchResources {
				all = append(all, testserver.Series{
					Name: fmt.Sprintf("bench_metric%d", m),
					Labels: map[string]string{
						"project_id": fmt.Sprintf("scope-%03d", s),
						"id":         fmt.Sprintf("7f3a0000-0000-0000-%04d-%012d", s, r),
						"flavor":     fmt.Sprintf("m1.flavor%d", r%12),
						"region":     "RegionOne",
					},
					Samples: testserver.Every(15*time.Minute, benchBegin.Add(5*time.Minute), benchHours*4, fmt.Sprintf("%d.%d", r%7+1, m)),
				})
			}
		}
	}
	return testserver.OpenMetrics(all...)
}
