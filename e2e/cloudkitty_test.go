package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"ratebook/e2e/testserver"
	"ratebook/handlers/api/openapi/openapitest"
)

// python runs Debian's Python, which has CloudKitty's client.
const python = "/usr/bin/python3"

// ck is CloudKitty's own command-line client, unmodified, talking to a program of ours.
type ck struct {
	t       testing.TB
	version string // of the API
	url     string
	mu      sync.Mutex
	in      io.WriteCloser
	out     *bufio.Reader
}

// cloudkitty starts the client; it is skipped where it is missing, but not in CI.
func cloudkitty(t testing.TB, s *site, version string) *ck {
	t.Helper()
	if err := exec.Command(python, "-c", "import cloudkittyclient").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("CloudKitty's client is missing; install the Debian package python3-cloudkittyclient")
		}
		t.Skip("CloudKitty's client is missing; install the Debian package python3-cloudkittyclient")
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/cloudkitty.py")
	c := &ck{t: t, version: version, url: s.url}
	var err error
	c.in, err = cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	c.out = bufio.NewReader(out)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	must(t, cmd.Start())
	t.Cleanup(func() {
		c.in.Close()
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("the client: %v\n%s", err, stderr.String())
		}
	})
	return c
}

// answer is what the client said.
type answer struct {
	Status   int
	Out, Err string
}

// try runs one command, whatever comes of it.
func (c *ck) try(args ...string) (a answer) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	line, err := json.Marshal(append([]string{"--os-auth-type", "cloudkitty-noauth", "--os-endpoint", c.url, "--os-rating-api-version", c.version}, args...))
	must(c.t, err)
	_, err = c.in.Write(append(line, '\n'))
	must(c.t, err)
	line, err = c.out.ReadBytes('\n')
	must(c.t, err)
	must(c.t, json.Unmarshal(line, &a))
	return a
}

// run runs a command that must succeed and prints nothing that matters.
func (c *ck) run(args ...string) string {
	c.t.Helper()
	a := c.try(args...)
	if a.Status != 0 {
		c.t.Fatalf("cloudkitty (API version %s) %q: status %d\n%s%s", c.version, args, a.Status, a.Out, a.Err)
	}
	return a.Out
}

// rows runs a command and reads the table it prints: each row by column.
func (c *ck) rows(args ...string) (rows []map[string]any) {
	c.t.Helper()
	out := c.run(append(args, "-f", "json")...)
	d := json.NewDecoder(strings.NewReader(out))
	d.UseNumber()
	if err := d.Decode(&rows); err != nil {
		c.t.Fatalf("cloudkitty (API version %s) %q prints no table: %v\n%s", c.version, args, err, out)
	}
	return rows
}

// row is the one row of a table.
func (c *ck) row(args ...string) map[string]any {
	c.t.Helper()
	rows := c.rows(args...)
	if len(rows) != 1 {
		c.t.Fatalf("cloudkitty (API version %s) %q: %d rows: %v", c.version, args, len(rows), rows)
	}
	return rows[0]
}

// has checks some cells of a row.
func (c *ck) has(row map[string]any, cells ...any) {
	c.t.Helper()
	for i := 0; i < len(cells); i += 2 {
		if got, ok := row[cells[i].(string)]; !ok || fmt.Sprint(got) != fmt.Sprint(cells[i+1]) {
			c.t.Errorf("API version %s: %s is %v, want %v; the row is %v", c.version, cells[i], got, cells[i+1], row)
		}
	}
}

// refused runs a command that must fail with a text.
func (c *ck) refused(text string, args ...string) {
	c.t.Helper()
	if a := c.try(args...); a.Status == 0 || !strings.Contains(a.Err+a.Out, text) {
		c.t.Errorf("API version %s: %q: status %d, want one that says %q\n%s%s", c.version, args, a.Status, text, a.Out, a.Err)
	}
}

// TestCloudKittyClient runs every command of CloudKitty's client against the program, in both versions of the API.
func TestCloudKittyClient(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1", "2"} {
		t.Run("v"+version, func(t *testing.T) {
			t.Parallel()
			eachKind(t, func(t *testing.T, db *database) {
				w := few()
				source := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
				db.run(t, "migrate", "up")
				db.run(t, "import", "metrics", write(t, "metrics.yml", w.metricsFile()))
				if s := (result{out: db.run(t, w.process(source.URL)...)}).summary(t); s.Done == 0 || s.Failed > 0 {
					t.Fatalf("nothing to ask for: %+v", s)
				}
				s := db.serve(t, "serve", "--api-auth", "none")
				c := cloudkitty(t, s, version)
				c.modules()
				c.hashmap()
				c.scripts()
				c.information()
				c.collectors()
				c.reports(w)
				if version == "2" {
					c.frames()
					c.scopes(s, w)
				}
			})
		})
	}
}

// few is a world of one day and two scopes.
func few() *world {
	w := &world{
		begin: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), hours: 24, zone: time.UTC,
		meters: []meter{{measured: "cpus", name: "cpu", unit: "core", groupby: []string{"id"}, metadata: []string{"flavor"}}},
	}
	for _, scope := range []string{"acme", "globex"} {
		s := testserver.Series{Name: "cpus", Labels: map[string]string{"project_id": scope, "id": scope + "-1", "flavor": "small"}}
		for i := range w.hours {
			s.Samples = append(s.Samples, testserver.Sample{At: w.begin.Add(time.Duration(i)*time.Hour + time.Minute), Value: "2"})
		}
		w.series = append(w.series, s)
	}
	return w
}

func (c *ck) modules() {
	names := map[string]bool{}
	for _, row := range c.rows("module", "list") {
		names[row["Module"].(string)] = true
	}
	for _, name := range []string{"hashmap", "noop", "pyscripts"} {
		if !names[name] {
			c.t.Errorf("module %s is not listed: %v", name, names)
		}
	}
	c.run("module", "enable", "pyscripts")
	c.has(c.row("module", "get", "pyscripts"), "Module", "pyscripts", "Enabled", true)
	c.run("module", "disable", "pyscripts")
	c.run("module", "set", "priority", "pyscripts", "42")
	c.has(c.row("module", "get", "pyscripts"), "Enabled", false, "Priority", 42)
	c.refused("ot found", "module", "get", "nope")
}

func (c *ck) hashmap() {
	service := c.row("hashmap", "service", "create", "gadget")["Service ID"].(string)
	c.has(c.row("hashmap", "service", "get", service), "Name", "gadget")
	c.refused("already exists", "hashmap", "service", "create", "gadget")
	field := c.row("hashmap", "field", "create", service, "colour")["Field ID"].(string)
	c.has(c.row("hashmap", "field", "get", field), "Name", "colour", "Service ID", service)
	c.has(c.row("hashmap", "field", "list", service), "Field ID", field)
	group := c.row("hashmap", "group", "create", "paint")["Group ID"].(string)
	c.has(c.row("hashmap", "group", "list"), "Name", "paint")
	if got := len(c.rows("hashmap", "mapping-types", "list")); got != 2 {
		c.t.Errorf("%d types of mappings", got)
	}

	mapping := c.row("hashmap", "mapping", "create", "0.1", "--field-id", field, "--value", "réd", "-g", group, "-t", "flat")["Mapping ID"].(string)
	c.has(c.row("hashmap", "mapping", "get", mapping), "Cost", "0.1000000000000000000000000000", "Value", "réd", "Group ID", group, "Type", "flat")
	c.has(c.row("hashmap", "mapping", "list", "--field-id", field), "Mapping ID", mapping)
	c.has(c.row("hashmap", "group", "mappings", "get", group), "Mapping ID", mapping)
	c.run("hashmap", "mapping", "update", mapping, "--cost", "0.25")
	c.has(c.row("hashmap", "mapping", "get", mapping), "Cost", "0.2500000000000000000000000000")
	c.refused("already exists", "hashmap", "mapping", "create", "3", "--field-id", field, "--value", "réd", "-g", group)

	threshold := c.row("hashmap", "threshold", "create", "10", "0.5", "-s", service, "-g", group, "-t", "rate")["Threshold ID"].(string)
	c.has(c.row("hashmap", "threshold", "get", threshold), "Level", "10.00000000", "Type", "rate")
	c.has(c.row("hashmap", "threshold", "list", "-s", service), "Threshold ID", threshold)
	c.has(c.row("hashmap", "group", "thresholds", "get", group), "Threshold ID", threshold)
	c.run("hashmap", "threshold", "update", threshold, "--cost", "0.75")
	c.has(c.row("hashmap", "threshold", "get", threshold), "Cost", "0.7500000000000000000000000000")

	c.run("hashmap", "threshold", "delete", threshold)
	c.refused("No such threshold", "hashmap", "threshold", "get", threshold)
	c.run("hashmap", "mapping", "delete", mapping)
	c.refused("No such mapping", "hashmap", "mapping", "delete", mapping)
	c.run("hashmap", "group", "delete", group)
	c.run("hashmap", "field", "delete", field)
	c.run("hashmap", "service", "delete", service)
	c.refused("No such service", "hashmap", "service", "get", service)
}

func (c *ck) scripts() {
	const text = "for points in data['usage'].values():\n    for point in points:\n        point['rating']['price'] = point['vol']['qty'] * 0\n"
	id := c.row("pyscript", "create", "free", text)["Script ID"].(string)
	c.has(c.row("pyscript", "get", id), "Name", "free", "Data", text)
	c.run("pyscript", "update", id, "-n", "free", "-d", "data = data\n")
	c.has(c.row("pyscript", "list"), "Script ID", id, "Data", "data = data\n")
	c.refused("already exists", "pyscript", "create", "free", text)
	c.run("pyscript", "delete", id)
	if rows := c.rows("pyscript", "list"); len(rows) != 0 {
		c.t.Errorf("scripts after the last one was deleted: %v", rows)
	}
}

func (c *ck) information() {
	c.has(c.row("info", "metric", "list"), "Metric", "cpu", "Unit", "core")
	c.has(c.row("info", "metric", "get", "cpu"), "Metric", "cpu")
	if out := c.run("info", "config", "get", "-f", "json"); !strings.Contains(out, "cpus") {
		c.t.Errorf("the configuration lacks the metric: %s", out)
	}
}

func (c *ck) collectors() {
	c.run("collector-mapping", "create", "cpu", "prometheus")
	c.has(c.row("collector-mapping", "get", "cpu"), "Service", "cpu", "Collector", "prometheus")
	c.has(c.row("collector-mapping", "list"), "Service", "cpu")
	c.run("collector-mapping", "delete", "cpu")
	c.run("collector", "disable", "prometheus")
	c.has(c.row("collector", "state", "get", "prometheus"), "State", false)
	c.run("collector", "enable", "prometheus")
	c.has(c.row("collector", "state", "get", "prometheus"), "State", true)
}

// reports asks for what the windows cost, which is nothing: there is no rule.
func (c *ck) reports(w *world) {
	begin, end := w.begin.Format("2006-01-02T15:04:05"), w.end().Format("2006-01-02T15:04:05")
	if got := len(c.rows("report", "tenant", "list")); got < 2 {
		c.t.Errorf("%d tenants", got)
	}
	if c.version == "1" {
		c.run("total", "get", "-b", begin, "-e", end)
		if got := len(c.rows("summary", "get", "-b", begin, "-e", end, "-a", "-g", "tenant_id", "res_type")); got != 2 {
			c.t.Errorf("%d rows of the summary, want 2", got)
		}
		if got := len(c.rows("dataframes", "get", "-b", begin, "-e", end, "-p", "acme")); got != w.hours {
			c.t.Errorf("%d data frames, want %d", got, w.hours)
		}
		return
	}
	rows := c.rows("summary", "get", "-b", begin+"Z", "-e", end+"Z", "-g", "project_id", "-g", "type", "--filter", "project_id:acme")
	if len(rows) != 1 {
		c.t.Fatalf("the summary of one project: %v", rows)
	}
	c.has(rows[0], "Project id", "acme", "Type", "cpu", "Qty", 48, "Rate", 0)
	if got := len(c.rows("dataframes", "get", "-b", begin+"Z", "-e", end+"Z", "--limit", "1000", "--filter", "project_id:acme")); got != w.hours {
		c.t.Errorf("%d data frames, want %d", got, w.hours)
	}
}

// frames pushes data and reads it back.
func (c *ck) frames() {
	const text = `{"dataframes": [{"period": {"begin": "20260215T120000Z", "end": "2026-02-15T13:00:00+00:00"}, "usage": {"gift": [
		{"vol": {"unit": "piece", "qty": 1.5}, "rating": {"price": 0.123456789012}, "groupby": {"project_id": "acme", "n": 4}, "metadata": {"x": null}}]}}]}`
	c.run("dataframes", "add", write(c.t, "frames.json", text))
	row := c.row("summary", "get", "-b", "2026-02-01T00:00:00Z", "-e", "2026-03-01T00:00:00Z", "-g", "type")
	c.has(row, "Type", "gift", "Qty", "1.5", "Rate", "0.123456789012")
	c.row("dataframes", "get", "-b", "2026-02-01T00:00:00Z", "-e", "2026-03-01T00:00:00Z")
}

// scopes looks at scopes, changes them and has windows done again.
func (c *ck) scopes(s *site, w *world) {
	last := w.end().Add(-time.Hour)
	rows := c.rows("scope", "state", "get", "--scope-id", "acme")
	if len(rows) != 1 {
		c.t.Fatalf("the scope: %v", rows)
	}
	c.has(rows[0], "Scope ID", "acme", "Scope Key", "project_id", "Collector", "prometheus", "Fetcher", "prometheus")
	scope := func(id string) map[string]any { // the client shows what CloudKitty has long called otherwise
		all := s.call(c.t, http.MethodGet, "/v2/scope?scope_id="+id, nil, http.StatusOK)["results"].([]any)
		if len(all) != 1 {
			c.t.Fatalf("scope %s: %v", id, all)
		}
		return all[0].(map[string]any)
	}
	c.has(scope("acme"), "active", true, "last_processed_timestamp", last.Format("2006-01-02T15:04:05+00:00"))
	// the client ends with a status of 1 where there is an answer, and prints that
	if a := c.try("scope", "patch", "-id", "globex", "--active", "0"); !strings.Contains(a.Err, "'active': False") {
		c.t.Errorf("scope patch: %+v", a)
	}
	c.has(scope("globex"), "active", false)
	c.run("tasks", "reprocessing", "create", "--scope-id", "acme", "--start-reprocess-time", "2026-03-01T02:00:00Z",
		"--end-reprocess-time", "2026-03-01T04:00:00Z", "--reason", "a new price")
	c.has(c.row("tasks", "reprocessing", "get", "--scope-id", "acme"), "Scope ID", "acme", "Reason", "a new price")
	c.refused("do not exist", "tasks", "reprocessing", "create", "--scope-id", "nope", "--start-reprocess-time", "2026-03-01T02:00:00Z",
		"--end-reprocess-time", "2026-03-01T04:00:00Z", "--reason", "a new price")
	c.run("scope", "state", "reset", "--scope-id", "acme", "2026-03-01T20:00:00Z")
	c.has(scope("acme"), "last_processed_timestamp", "2026-03-01T20:00:00+00:00")
}

// call sends JSON to the API and returns the answer, which must have the status and be as the API's description has it.
func (s *site) call(t testing.TB, method, path string, body any, status int) map[string]any {
	t.Helper()
	text, err := json.Marshal(body)
	must(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, bytes.NewReader(text))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultTransport.RoundTrip(req)
	must(t, err)
	defer res.Body.Close()
	said, err := io.ReadAll(res.Body)
	must(t, err)
	if res.StatusCode != status {
		t.Fatalf("%s %s: %s, want %d\n%s", method, path, res.Status, status, said)
	}
	if err := openapitest.Validate(method, path, res.StatusCode, res.Header.Get("Content-Type"), said); err != nil {
		t.Errorf("%s %s: %s is not as described: %v\n%s", method, path, res.Status, err, said)
	}
	var v map[string]any
	d := json.NewDecoder(bytes.NewReader(said))
	d.UseNumber()
	if err := d.Decode(&v); err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("%s %s: %v\n%s", method, path, err, said)
	}
	return v
}

// giveRules makes a world's rules through the API.
func (s *site) giveRules(t testing.TB, w *world) {
	t.Helper()
	const hashmap = "/v1/rating/module_config/hashmap/"
	ids := map[string]string{}
	made := func(kind, name string, body map[string]any) string {
		key := kind + " " + name
		if ids[key] == "" {
			ids[key] = s.call(t, http.MethodPost, hashmap+kind+"s", body, http.StatusCreated)[kind+"_id"].(string)
		}
		return ids[key]
	}
	for _, r := range w.rules {
		service := made("service", r.service, map[string]any{"name": r.service})
		body := map[string]any{"cost": r.cost, "type": "flat"}
		if r.rate {
			body["type"] = "rate"
		}
		if r.field != "" {
			body["field_id"] = made("field", r.service+" "+r.field, map[string]any{"name": r.field, "service_id": service})
		} else {
			body["service_id"] = service
		}
		if r.group != "" {
			body["group_id"] = made("group", r.group, map[string]any{"name": r.group})
		}
		if r.scope != "" {
			body["tenant_id"] = r.scope
		}
		if r.threshold {
			body["level"] = r.value
			s.call(t, http.MethodPost, hashmap+"thresholds", body, http.StatusCreated)
			continue
		}
		if r.field != "" {
			body["value"] = r.value
		}
		start := r.start
		if start.IsZero() {
			start = w.begin.AddDate(-1, 0, 0)
		}
		body["start"] = start.Format("2006-01-02T15:04:05")
		if !r.end.IsZero() {
			body["end"] = r.end.Format("2006-01-02T15:04:05")
		}
		s.call(t, http.MethodPost, hashmap+"mappings?force=true", body, http.StatusCreated)
	}
}

// TestSameMoney sets prices through CloudKitty's API, collects from a real Prometheus, and asks for totals as CloudKitty has
// them, which must be those that the test computes.
func TestSameMoney(t *testing.T) {
	t.Parallel()
	w := odd()
	points := w.points(t)
	source := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	eachKind(t, func(t *testing.T, db *database) {
		db.run(t, "migrate", "up")
		db.run(t, "import", "metrics", "--timezone", w.zone.String(), write(t, "metrics.yml", w.metricsFile()))
		s := db.serve(t, "serve", "--api-auth", "none")
		s.giveRules(t, w)
		s.stop(t)
		if r := db.try(t, w.process(source.URL)...).summary(t); r.Failed > 0 || r.Points != len(points) {
			t.Fatalf("processed %+v, want %d points", r, len(points))
		}
		s = db.serve(t, "serve", "--api-auth", "none")

		type key struct{ project, metric, begin string }
		want, all := map[key]*big.Rat{}, new(big.Rat)
		for _, p := range points {
			k := key{p.scope, p.metric, p.begin.Format("2006-01-02T15:04:05+00:00")}
			if want[k] == nil {
				want[k] = new(big.Rat)
			}
			want[k].Add(want[k], p.price)
			all.Add(all, p.price)
		}
		q := url.Values{
			"begin": {w.begin.Format("2006-01-02 15:04:05+00:00")}, "end": {w.end().Format("2006-01-02 15:04:05+00:00")},
			"groupby": {"project_id", "type", "time"}, "response_format": {"object"}, "limit": {"1000000"},
		}
		got := s.call(t, http.MethodGet, "/v2/summary?"+q.Encode(), nil, http.StatusOK)
		rows := got["results"].([]any)
		if len(rows) != len(want) {
			t.Errorf("%d rows, want %d", len(rows), len(want))
		}
		for _, row := range rows {
			r := row.(map[string]any)
			k := key{r["project_id"].(string), r["type"].(string), r["begin"].(string)}
			if want[k] == nil || rat(r["rate"].(json.Number).String()).Cmp(want[k]) != 0 {
				t.Errorf("%+v costs %v, want %v", k, r["rate"], want[k])
			}
		}
		q = url.Values{"begin": {w.begin.Format("2006-01-02T15:04:05")}, "end": {w.end().Format("2006-01-02T15:04:05")}, "all_tenants": {"true"}}
		res := s.get(t, http.DefaultClient, "/v1/report/total?"+q.Encode())
		defer res.Body.Close()
		var total string
		must(t, json.NewDecoder(res.Body).Decode(&total))
		if rat(total).Cmp(all) != 0 {
			t.Errorf("in all %s, want %s", total, text(all))
		}
	})
}

// TestKeystone lets a real Keystone say who asks.
func TestKeystone(t *testing.T) {
	t.Parallel()
	k := testserver.Keystone(t)
	acme, globex := k.AddProject("acme"), k.AddProject("globex")
	k.AddUser("bob", "bobs secret", "member", acme)
	admin, bob := k.Token("admin", "secret", "admin"), k.Token("bob", "bobs secret", "acme")

	db := kinds["sqlite"](t)
	s := db.serve(t, "serve", "--api-auth", "keystone", "--keystone-url", k.URL+"/v3")
	ask := func(token, method, path, body string) (status int, answer string, header http.Header) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
		must(t, err)
		req.Header.Set("Content-Type", "application/json")
		for name, value := range map[string]string{"X-Auth-Token": token, "X-Roles": "admin", "X-Project-Id": globex, "X-Identity-Status": "Confirmed", "X-User-Id": "x"} {
			req.Header.Set(name, value)
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		must(t, err)
		defer res.Body.Close()
		said, err := io.ReadAll(res.Body)
		must(t, err)
		return res.StatusCode, string(said), res.Header
	}
	expect := func(what, token, method, path, body string, status int, text string) {
		t.Helper()
		if got, answer, _ := ask(token, method, path, body); got != status || !strings.Contains(answer, text) {
			t.Errorf("%s: %d, want %d and %q\n%s", what, got, status, text, answer)
		}
	}
	frames := ""
	for i, project := range []string{acme, globex} {
		if i > 0 {
			frames += ","
		}
		frames += fmt.Sprintf(`{"vol":{"unit":"piece","qty":1},"rating":{"price":%d},"groupby":{"project_id":%q},"metadata":{}}`, i+1, project)
	}
	frames = `{"dataframes":[{"period":{"begin":"2026-02-15T12:00:00Z","end":"2026-02-15T13:00:00Z"},"usage":{"gift":[` + frames + `]}}]}`
	const summary = "/v2/summary?begin=2026-02-01&end=2026-03-01&groupby=project_id"

	status, _, header := ask("", http.MethodGet, summary, "")
	if want := `Keystone uri="` + k.URL + `"`; status != http.StatusUnauthorized || header.Get("WWW-Authenticate") != want {
		t.Errorf("without a token: %d, %q", status, header.Get("WWW-Authenticate"))
	}
	expect("a token that Keystone does not know", "garbage", http.MethodGet, summary, "", http.StatusUnauthorized, "")
	expect("a member pushes", bob, http.MethodPost, "/v2/dataframes", frames, http.StatusForbidden, "not authorized")
	expect("an admin pushes", admin, http.MethodPost, "/v2/dataframes", frames, http.StatusNoContent, "")
	expect("an admin reads both", admin, http.MethodGet, summary, "", http.StatusOK, globex)
	expect("an admin reads both", admin, http.MethodGet, summary, "", http.StatusOK, acme)
	expect("a member reads its own", bob, http.MethodGet, summary, "", http.StatusOK, acme)
	for what, path := range map[string]string{
		"the summary": summary, "the summary of the other": summary + "&filters=project_id:" + globex,
		"data frames of the other": "/v2/dataframes?begin=2026-02-01&end=2026-03-01&filters=project_id:" + globex,
	} {
		if _, answer, _ := ask(bob, http.MethodGet, path, ""); strings.Contains(answer, globex) {
			t.Errorf("a member asks for %s and reads %s", what, answer)
		}
	}
	expect("a member asks for the other's total", bob, http.MethodGet, "/v1/report/total?begin=2026-02-01&end=2026-03-01&tenant_id="+globex, "", http.StatusForbidden, "")
	expect("a member's total", bob, http.MethodGet, "/v1/report/total?begin=2026-02-01&end=2026-03-01", "", http.StatusOK, `"1"`)
	expect("a member lists modules", bob, http.MethodGet, "/v1/rating/modules", "", http.StatusForbidden, "Policy doesn't allow rating:list_modules to be performed.")
	expect("an admin lists modules", admin, http.MethodGet, "/v1/rating/modules", "", http.StatusOK, "hashmap")
	if strings.Contains(s.said(), bob) || strings.Contains(s.said(), admin) {
		t.Error("the log has a token")
	}
}
