package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ratebook/e2e/testserver"
	"ratebook/metering"
	"ratebook/store"
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
	source := testserver.Prometheus(t, benchSamples())
	db := durable(t)

	metrics := "metrics:\n"
	rules := "services:\n"
	for m := range benchMetrics {
		metrics += fmt.Sprintf("  bench_metric%d: {unit: unit, alt_name: metric%d, groupby: [id, flavor, region]}\n", m, m)
		rules += fmt.Sprintf("  - name: metric%d\n    fields:\n      - name: flavor\n        mappings:\n", m)
		for f := range 12 {
			rules += fmt.Sprintf("          - {value: m1.flavor%d, cost: \"0.0%d\"}\n", f, f+1)
		}
	}
	db.run(t, "migrate", "up")
	db.run(t, "import", "metrics", write(t, "metrics.yml", metrics))
	db.run(t, "import", "rules", write(t, "rules.yml", rules))
	day := benchBegin.Format(time.DateOnly)
	next := benchBegin.AddDate(0, 0, 1).Format(time.DateOnly)
	out, took, most := db.watch(t, "process", "--prometheus-url", source.URL, "--start", day, "--until", next)
	var sum struct{ Done, Points int }
	if err := json.Unmarshal([]byte(out), &sum); err != nil {
		t.Fatal(err)
	}
	if want := benchScopes * benchResources * benchMetrics * benchHours; sum.Points != want {
		t.Errorf("stored %d points instead of %d:\n%s", sum.Points, want, out)
	}
	t.Logf("process: %d windows, %d points in %.1f s, %.0f points/s, %d MB at most; CloudKitty 17: 189 s, so %.0f times faster",
		sum.Done, sum.Points, took.Seconds(), float64(sum.Points)/took.Seconds(), most, 189/took.Seconds())
	for _, group := range []string{"metric", "scope", "flavor", "id"} {
		_, took, _ := db.watch(t, "export", "report", "--begin", day, "--end", next, "--group-by", group)
		t.Logf("export report by %s, a process of its own: %d ms", group, took.Milliseconds())
	}

	cmd := db.command(t, "user", "add", "ada", "--role", "admin")
	cmd.Stdin = strings.NewReader("correct horse battery\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := db.serve(t, "serve")
	c := s.client(t, "ada", "correct horse battery")
	when := "begin=" + day + "&end=" + next
	s.timePages(t, c, "/", "/costs?"+when, "/costs?group=metric&"+when, "/costs?group=flavor&"+when, "/costs?group=flavor&group=region&"+when,
		"/costs?group=id&"+when, "/costs?group=scope&group=metric&"+when, "/costs?group=scope&filter=flavor%3Dm1.flavor3&"+when,
		"/scopes", "/scopes/1", "/metrics", "/metrics/metric0", "/pricing", "/pricing/rules/new", "/settings", "/search?q=scope-1")

	// a long export, while others look at pages
	before := memory(s.cmd.Process.Pid)
	began := time.Now()
	rows := make(chan int)
	go func() {
		res, err := c.Get(s.url + "/costs.csv?bucket=hour&group=metric&group=id&" + when)
		if err != nil {
			t.Error(err)
			close(rows)
			return
		}
		defer res.Body.Close()
		n := 0
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			n++
		}
		if lines.Err() != nil {
			t.Error(lines.Err())
		}
		rows <- n - 1
	}()
	var beside []time.Duration
	for n, open := 0, true; open; {
		select {
		case n = <-rows:
			open = false
			t.Logf("CSV by hour, metric and id: %d rows in %.1f s; memory of the process %d MB before, %d MB at most", n, time.Since(began).Seconds(), before, memory(s.cmd.Process.Pid))
		default:
			beside = append(beside, s.timePage(t, c, "/costs?group=metric&"+when))
		}
	}
	slices.Sort(beside)
	t.Logf("a page meanwhile: %d ms in the middle, %d ms at most, of %d", beside[len(beside)/2].Milliseconds(), beside[len(beside)-1].Milliseconds(), len(beside))
}

// durable is a database of a PostgreSQL server that is set up as in earnest.
func durable(t *testing.T) *database {
	return &database{url: testserver.PostgresServer(t, "fsync=on", "synchronous_commit=on", "full_page_writes=on",
		"shared_buffers=2GB", "max_wal_size=8GB", "checkpoint_timeout=15min").Create(t, "bench")}
}

// watch runs the program, which must succeed, and returns what it printed, how long it took, and the most memory it had, in MB.
func (db *database) watch(t *testing.T, args ...string) (out string, took time.Duration, most int) {
	t.Helper()
	cmd := db.command(t, args...)
	var stdout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, os.Stderr
	began := time.Now()
	must(t, cmd.Start())
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	for poll := time.NewTicker(20 * time.Millisecond); ; {
		select {
		case err := <-exited:
			poll.Stop()
			if err != nil {
				t.Fatalf("ratebook %s: %v\n%s", strings.Join(args, " "), err, stdout.String())
			}
			return stdout.String(), time.Since(began), most
		case <-poll.C: // the system's own count of a child includes what the parent had when it forked
			most = max(most, memory(cmd.Process.Pid))
		}
	}
}

// The many scopes of TestBenchScale, each with a point of two metrics in every window.
const (
	scaleScopes  = 10_000
	scaleWindows = 24
	scaleMemory  = 300 // MB that processing may take at most
)

// TestBenchScale measures how a backlog of many scopes is planned, leased and committed, and what it takes to find that
// nothing is left to do.
func TestBenchScale(t *testing.T) {
	if os.Getenv("RATEBOOK_BENCH") == "" {
		t.Skip("a benchmark; set RATEBOOK_BENCH=1")
	}
	source := constant(t, scaleScopes, 1)
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			db := kinds["sqlite"](t)
			if kind == "postgres" {
				db = durable(t)
			}
			db.run(t, "migrate", "up")
			db.run(t, "import", "metrics", write(t, "metrics.yml", "metrics:\n  scale_cpu: {unit: core, alt_name: cpu, groupby: [id]}\n  scale_ram: {unit: GiB, alt_name: ram, groupby: [id]}\n"))
			db.run(t, "import", "rules", write(t, "rules.yml", "services:\n  - {name: cpu, mappings: [{cost: \"0.04\"}]}\n  - {name: ram, mappings: [{cost: \"0.01\"}]}\n"))
			end := benchBegin.Add(scaleWindows * time.Hour)
			out, took, most := db.watch(t, "process", "--prometheus-url", source, "--start", benchBegin.Format(time.RFC3339), "--until", end.Format(time.RFC3339))
			var sum summary
			must(t, json.Unmarshal([]byte(out), &sum))
			if windows := scaleScopes * scaleWindows; sum.PlannedWindows != windows || sum.Done != windows || sum.Points != 2*windows {
				t.Errorf("of %d windows: %+v", windows, sum)
			}
			t.Logf("%d scopes with %d windows each in %.1f s, %.0f windows/s, %d MB at most", scaleScopes, scaleWindows, took.Seconds(), float64(sum.Done)/took.Seconds(), most)
			if most >= scaleMemory {
				t.Errorf("processing takes %d MB; it should be less than %d", most, scaleMemory)
			}

			s, err := store.Open(t.Context(), db.url, false, slog.New(slog.DiscardHandler))
			must(t, err)
			defer s.Close()
			var ticks []time.Duration
			for range 100 {
				began := time.Now()
				_, err := s.Plan(t.Context(), time.Hour, end)
				must(t, err)
				must(t, s.AdvanceTasks(t.Context()))
				for _, again := range []bool{false, true} {
					leases, err := s.Lease(t.Context(), metering.LeaseRequest{Holder: "bench", For: time.Minute, Scopes: 1000, Again: again})
					must(t, err)
					if len(leases) > 0 {
						t.Fatal("there is something to do")
					}
				}
				must(t, s.AdvanceTasks(t.Context()))
				ticks = append(ticks, time.Since(began))
			}
			slices.Sort(ticks)
			t.Logf("a tick with nothing due: %.1f ms in the middle, %.1f ms at most", ms(ticks[len(ticks)/2]), ms(ticks[len(ticks)-1]))
		})
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// TestBenchRerate measures a task that prices a scope's month again, of 4 metrics x 100 series x 720 hours, so that each price
// changes, and then the price of one metric.
func TestBenchRerate(t *testing.T) {
	if os.Getenv("RATEBOOK_BENCH") == "" {
		t.Skip("a benchmark; set RATEBOOK_BENCH=1")
	}
	const series, windows, points = 100, 720, 288_000
	source := constant(t, 1, series)
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			db := kinds["sqlite"](t)
			if kind == "postgres" {
				db = durable(t)
			}
			db.run(t, "migrate", "up")
			metrics := "metrics:\n"
			for m := range benchMetrics {
				metrics += fmt.Sprintf("  scale_%d: {unit: core, alt_name: metric%d, groupby: [id]}\n", m, m)
			}
			db.run(t, "import", "metrics", write(t, "metrics.yml", metrics))
			prices := func(each ...string) {
				rules := "services:\n"
				for m, cost := range each {
					rules += fmt.Sprintf("  - {name: metric%d, mappings: [{cost: %q}]}\n", m, cost)
				}
				db.run(t, "import", "rules", write(t, "rules.yml", rules))
			}
			begin, end := benchBegin.Format(time.RFC3339), benchBegin.Add(windows*time.Hour).Format(time.RFC3339)
			process := []string{"process", "--prometheus-url", source, "--start", begin, "--until", end}
			prices("0.01", "0.02", "0.03", "0.04")
			db.run(t, process...)
			for i, c := range []struct {
				each    []string
				changed int
			}{
				{[]string{"0.011", "0.021", "0.031", "0.041"}, points},
				{[]string{"0.011", "0.021", "0.031", "0.042"}, points / benchMetrics},
				{[]string{"0.012", "0.022", "0.032", "0.043"}, points},
			} {
				prices(c.each...)
				db.run(t, "task", "rerate", "--begin", begin, "--end", end, "--all-scopes", "--reason", "a benchmark")
				out, took, most := db.watch(t, process...)
				var sum struct {
					Redone int
					Took   int64 `json:"took_ms"`
				}
				must(t, json.Unmarshal([]byte(out), &sum))
				changed := db.number(t, "SELECT COUNT(*) FROM superseded_charges WHERE task = "+strconv.Itoa(i+1))
				if sum.Redone != windows || changed != c.changed {
					t.Errorf("%d windows and %d charges instead of %d:\n%s", sum.Redone, changed, c.changed, out)
				}
				t.Logf("re-rated %d charges of which %d changed in %.2f s, of which processing took %.2f s; %d MB at most", points, changed, took.Seconds(), float64(sum.Took)/1000, most)
			}
		})
	}
}

// constant answers as a Prometheus would in which each scope has so many constant series of every metric.
func constant(t *testing.T, scopes, series int) (url string) {
	mux := http.NewServeMux()
	var all []string
	for i := range scopes {
		all = append(all, fmt.Sprintf("7f3a0000-0000-0000-0000-%012d", i))
	}
	answer := func(w http.ResponseWriter, data any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data})
	}
	mux.HandleFunc("/api/v1/label/project_id/values", func(w http.ResponseWriter, _ *http.Request) { answer(w, all) })
	mux.HandleFunc("/api/v1/status/buildinfo", func(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]string{"version": "2.42.0"}) })
	selector := regexp.MustCompile(`project_id=~?"(.*?)"`)
	mux.HandleFunc("/api/v1/query_range", func(w http.ResponseWriter, r *http.Request) {
		wanted := selector.FindStringSubmatch(r.FormValue("query"))
		begin, _ := strconv.ParseInt(r.FormValue("start"), 10, 64)
		last, _ := strconv.ParseInt(r.FormValue("end"), 10, 64)
		step, _ := strconv.ParseInt(r.FormValue("step"), 10, 64)
		if wanted == nil || step == 0 {
			http.Error(w, "not understood", http.StatusBadRequest)
			return
		}
		var values []string
		for at := begin; at <= last; at += step {
			values = append(values, fmt.Sprintf(`[%d,"2"]`, at))
		}
		same := strings.Join(values, ",")
		var b bytes.Buffer
		w.Header().Set("Content-Type", "application/json")
		b.WriteString(`{"status":"success","data":{"resultType":"matrix","result":[`)
		for i, id := range strings.Split(wanted[1], "|") {
			for k := range series {
				if i+k > 0 {
					b.WriteByte(',')
				}
				fmt.Fprintf(&b, `{"metric":{"project_id":%q,"id":"vm-%d-%s"},"values":[%s]}`, id, k, id, same)
			}
		}
		b.WriteString(`]}}`)
		_, _ = b.WriteTo(w)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// TestBenchDemo measures the pages of the demo.
func TestBenchDemo(t *testing.T) {
	if os.Getenv("RATEBOOK_BENCH") == "" {
		t.Skip("a benchmark; set RATEBOOK_BENCH=1")
	}
	s := sqliteAt(filepath.Join(t.TempDir(), "unused.db")).serve(t, "demo")
	c := s.client(t, s.wait(t, `login +(\S+)`), s.wait(t, `password +(\S+)`))
	s.timePages(t, c, "/", "/costs", "/costs?group=metric", "/costs?group=flavor", "/costs?group=scope&group=metric&range=last-30-days", "/costs?group=id",
		"/costs?group=metric&bucket=hour&range=last-7-days", "/scopes", "/scopes/1", "/metrics", "/metrics/vcpu", "/pricing", "/pricing/rules/new",
		"/pricing/changes", "/settings", "/search?q=gen")
}

// The world of TestBenchAPI: in each hour of a month, each scope has a point of each metric.
const (
	apiScopes  = 250
	apiMetrics = 10
	apiHours   = 720
	apiPoints  = 100_000 // of a push
)

// TestBenchAPI measures CloudKitty's API on PostgreSQL: data frames pushed, mappings made one after the other, and reports over
// 1.8 million points, that were pushed.
func TestBenchAPI(t *testing.T) {
	if os.Getenv("RATEBOOK_BENCH") == "" {
		t.Skip("a benchmark; set RATEBOOK_BENCH=1")
	}
	db := durable(t)
	db.run(t, "migrate", "up")
	s := db.serve(t, "serve", "--api-auth", "none")
	push := func(body []byte) time.Duration {
		began := time.Now()
		res, err := http.Post(s.url+"/v2/dataframes", "application/json", bytes.NewReader(body))
		must(t, err)
		defer res.Body.Close()
		if said, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusNoContent {
			t.Fatalf("%s: %.1000s", res.Status, said)
		}
		return time.Since(began)
	}

	// ten hours of 1,000 series of ten scopes at a time: at first each point is of another series
	of := func(begin time.Time, fresh int) []byte {
		return apiFrames(begin, 10, 10, 1000, func(hour, scope, i int) (metric, id string) {
			if fresh > 0 {
				return fmt.Sprintf("pushed%d", i%4), fmt.Sprintf("%08d-0000-%04d-%04d-%012d", fresh, hour, scope, i)
			}
			return fmt.Sprintf("pushed%d", i%4), fmt.Sprintf("00000000-0000-0000-%04d-%012d", scope, i)
		})
	}
	before, month := benchBegin, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		what  string
		fresh bool
	}{{"all of new series", true}, {"of known series", false}} {
		var all []time.Duration
		for i := range 5 {
			fresh := 0
			if c.fresh {
				fresh = i + 1
			}
			body := of(before.Add(time.Duration(i)*10*time.Hour), fresh)
			took := push(body)
			if i == 0 {
				t.Logf("the first push of %d points, of %d MB, %s: %.2f s", apiPoints, len(body)>>20, c.what, took.Seconds())
				continue
			}
			all = append(all, took)
		}
		slices.Sort(all)
		t.Logf("a push of %d points, %s: %.2f s in the middle, %.2f s at best: %.0f and %.0f points/s", apiPoints, c.what,
			all[len(all)/2].Seconds(), all[0].Seconds(), apiPoints/all[len(all)/2].Seconds(), apiPoints/all[0].Seconds())
	}

	const hashmap = "/v1/rating/module_config/hashmap/"
	service := s.call(t, http.MethodPost, hashmap+"services", map[string]any{"name": "metric1"}, http.StatusCreated)["service_id"]
	field := s.call(t, http.MethodPost, hashmap+"fields", map[string]any{"name": "flavor", "service_id": service}, http.StatusCreated)["field_id"]
	began := time.Now()
	for i := range 1000 {
		s.call(t, http.MethodPost, hashmap+"mappings", map[string]any{"field_id": field, "value": fmt.Sprintf("m1.flavor%d", i), "type": "flat", "cost": "0.0123"}, http.StatusCreated)
	}
	t.Logf("1,000 mappings, one after the other: %.2f s", time.Since(began).Seconds())

	const hours = apiPoints / apiScopes / apiMetrics // of a push
	for hour := 0; hour < apiHours; hour += hours {
		push(apiFrames(month.Add(time.Duration(hour)*time.Hour), min(hours, apiHours-hour), apiScopes, apiMetrics, func(_, scope, i int) (metric, id string) {
			return fmt.Sprintf("metric%d", i), fmt.Sprintf("7f3a0000-0000-0000-%04d-%012d", scope, i)
		}))
	}
	when := "begin=" + month.Format(time.RFC3339) + "&end=" + month.Add(apiHours*time.Hour).Format(time.RFC3339)
	s.timePages(t, http.DefaultClient, "/v2/summary?groupby=type&"+when, "/v2/summary?groupby=project_id&"+when, "/v2/summary?limit=1000&groupby=time&"+when,
		"/v1/report/total?all_tenants=true&"+strings.ReplaceAll(when, "Z", ""), "/v2/dataframes?limit=1000&"+when, "/v2/dataframes?limit=1000&offset=100000&"+when)
}

// apiFrames is the body of a push: in each hour a frame with the points of each scope.
func apiFrames(begin time.Time, hours, scopes, points int, of func(hour, scope, i int) (metric, id string)) []byte {
	var b bytes.Buffer
	b.WriteString(`{"dataframes":[`)
	for hour := range hours {
		for scope := range scopes {
			if hour+scope > 0 {
				b.WriteByte(',')
			}
			at := begin.Add(time.Duration(hour) * time.Hour)
			fmt.Fprintf(&b, `{"period":{"begin":"%s","end":"%s"},"usage":{`, at.Format(time.RFC3339), at.Add(time.Hour).Format(time.RFC3339))
			usage := map[string][]string{}
			for i := range points {
				metric, id := of(hour, scope, i)
				usage[metric] = append(usage[metric], fmt.Sprintf(
					`{"vol":{"unit":"GiB","qty":%d.25},"rating":{"price":0.%06d},"groupby":{"project_id":"scope-%03d","id":%q,"flavor":"m1.flavor%d"},"metadata":{"os":"linux","host":"node-%d"}}`,
					i%1000, i*7%1_000_000, scope, id, i%12, i%40))
			}
			for i, metric := range slices.Sorted(maps.Keys(usage)) {
				if i > 0 {
					b.WriteByte(',')
				}
				fmt.Fprintf(&b, "%q:[%s]", metric, strings.Join(usage[metric], ","))
			}
			b.WriteString("}}")
		}
	}
	b.WriteString("]}")
	return b.Bytes()
}

// timePages logs how long each page takes, as a client beside the server sees it.
func (s *site) timePages(t *testing.T, c *http.Client, paths ...string) {
	t.Helper()
	for _, path := range paths {
		first := s.timePage(t, c, path)
		var all []time.Duration
		for range 20 {
			all = append(all, s.timePage(t, c, path))
		}
		slices.Sort(all)
		t.Logf("%-60s first %4d ms, then %4d ms in the middle, %4d ms at most", path, first.Milliseconds(), all[len(all)/2].Milliseconds(), all[len(all)-1].Milliseconds())
	}
}

func (s *site) timePage(t *testing.T, c *http.Client, path string) time.Duration {
	t.Helper()
	began := time.Now()
	res, err := c.Get(s.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, res.Status)
	}
	return time.Since(began)
}

// memory returns the most memory a process has had, in MB; 0 if it is gone.
func memory(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.Atoi(strings.Fields(kb)[0])
			return n / 1024
		}
	}
	return 0
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
