package e2e

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ratebook/e2e/testserver"
)

// odd is a world of two days that lie around a month's end, a week's end and the beginning of summer time, in which
// everything happens that may: labels change, a scope vanishes, another one is there now and then.
func odd() *world {
	w := &world{
		begin: time.Date(2024, 3, 30, 22, 0, 0, 0, time.UTC), hours: 48, zone: berlin(),
		meters: []meter{
			{measured: "server_cpu", name: "cpu", unit: "core", groupby: []string{"id", "flavor"}, metadata: []string{"host"}},
			{measured: "server_cpu", name: "instance", unit: "instance", groupby: []string{"id", "flavor"}, metadata: []string{"host"}, numBool: true},
			{measured: "server_memory_bytes", name: "ram", unit: "MiB", groupby: []string{"id", "flavor"}, factor: "1/1048576"},
			{measured: "traffic_bytes", name: "traffic", unit: "MB", groupby: []string{"direction"}, factor: "3600/1000000", sum: true},
			{measured: "volume_gib", name: "volume", unit: "GiB", groupby: []string{"id", "type"}, metadata: []string{"host", "ram"}},
			{measured: "license_used", name: "license", unit: "core", groupby: []string{"product"}, mayBeAbsent: true},
		},
		rules: []rule{
			{service: "cpu", cost: "0.0123456789012345"},
			{service: "cpu", field: "flavor", value: "small", cost: "0.5", group: "flavors"},
			{service: "cpu", field: "flavor", value: "large", cost: "1.25", group: "flavors"},
			{service: "cpu", field: "flavor", value: "small", cost: "0.3333333333333333333333333333", group: "flavors", scope: `we.ird|"x\y`},
			{service: "cpu", threshold: true, value: "4", rate: true, cost: "0.9"},
			{service: "cpu", threshold: true, value: "6", cost: "1"},
			{service: "instance", field: "flavor", value: "large", cost: "2"},
			{service: "instance", rate: true, cost: "0.77"},
			{service: "ram", cost: "0.000000123456789"},
			{service: "ram", threshold: true, value: "4096", cost: "0.1", scope: "alpha"},
			{service: "traffic", cost: "0.01", end: time.Date(2024, 3, 31, 22, 0, 0, 0, time.UTC)},
			{service: "traffic", cost: "0.02", group: "april", start: time.Date(2024, 3, 31, 22, 0, 0, 0, time.UTC)},
			{service: "volume", field: "type", value: "ssd", cost: "0.0007"},
			{service: "volume", field: "type", value: "hdd", cost: "0.0001"},
			{service: "volume", field: "ram", threshold: true, value: "8", cost: "0.0025"},
			{service: "volume", field: "ram", threshold: true, value: "16", rate: true, cost: "0.5", scope: "beta"},
		},
	}
	random := rand.New(rand.NewPCG(1, 2))
	add := func(name string, labels map[string]string, from, to time.Duration, every time.Duration, value func() string) {
		s := testserver.Series{Name: name, Labels: labels}
		for at := w.begin.Add(from + 7*time.Minute); at.Before(w.begin.Add(to)); at = at.Add(every) {
			s.Samples = append(s.Samples, testserver.Sample{At: at, Value: value()})
		}
		w.series = append(w.series, s)
	}
	thousandths := func(most int64) func() string {
		return func() string { return text(big.NewRat(random.Int64N(most*1000), 1000)) }
	}
	bytes := func() string { return fmt.Sprint(random.Int64N(10_000_000_000)) }
	eighths := func() string { return text(big.NewRat(random.Int64N(1<<40), 8)) } // sums of them are exact in a float, too
	few := func() string { return fmt.Sprint(random.IntN(3)) }
	const hour, step = time.Hour, 20 * time.Minute
	for s, scope := range []string{"alpha", "beta", `we.ird|"x\y`, "épsilon, comma", "vanishing", "sparse"} {
		from, to, every := time.Duration(0), 48*hour, step
		switch scope {
		case "vanishing":
			to = 29*hour + 30*time.Minute
		case "sparse":
			from, every = 3*hour, 5*hour
		}
		for i := range 3 {
			id, flavor, host, other := fmt.Sprintf("%d-%d", s, i), "small", "h1", "h2"
			if i == 1 {
				flavor, host, other = "large", "h2", "h1"
			}
			labels := func(kv ...string) map[string]string {
				l := map[string]string{"project_id": scope}
				for i := 0; i < len(kv); i += 2 {
					l[kv[i]] = kv[i+1]
				}
				return l
			}
			split := to
			if i == 0 && every == step { // resized in the middle of a window
				split = 20*hour + 30*time.Minute
				add("server_cpu", labels("id", id, "flavor", "large", "host", host), split, to, every, thousandths(8))
			}
			add("server_cpu", labels("id", id, "flavor", flavor, "host", host), from, split, every, thousandths(8))
			add("server_memory_bytes", labels("id", id, "flavor", flavor, "host", host), from, to, every, bytes) // host is aggregated away,
			add("server_memory_bytes", labels("id", id, "flavor", flavor, "host", other), from, to, every, bytes)
			add("traffic_bytes", labels("id", id, "direction", "in"), from, to, every, eighths) // and so is id
			add("traffic_bytes", labels("id", id, "direction", "out"), from, to, every, eighths)
			volume := labels("id", id, "type", []string{"ssd", "hdd", "tape"}[i], "host", host, "ram", fmt.Sprint(4<<i))
			add("volume_gib", volume, from, to, every, thousandths(500))
		}
		add("license_used", map[string]string{"project_id": scope, "product": "db"}, 6*hour, 40*hour, 11*hour, few)
	}
	return w
}

func TestRealPath(t *testing.T) {
	t.Parallel()
	w := odd()
	points := w.points(t)
	total := new(big.Rat)
	for _, p := range points {
		total.Add(total, p.price)
	}
	source := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))

	groupings := [][]string{nil}
	for _, g := range []string{"scope", "scope_name", "metric", "unit", "id", "flavor", "host", "direction", "product", "nowhere", "month", "day_of_the_year"} {
		groupings = append(groupings, []string{g})
	}
	groupings = append(groupings, []string{"scope", "metric"}, []string{"flavor", "scope"}, []string{"unit", "host", "id"}, []string{"type", "nowhere", "metric"})
	local := func(month time.Month, day int) time.Time { return time.Date(2024, month, day, 0, 0, 0, 0, w.zone) }
	ranges := [][2]time.Time{
		{w.begin, w.end()},          // everything, by instants
		{local(3, 31), local(4, 1)}, // a day of 23 hours
		{w.begin.Add(5 * time.Hour), w.begin.Add(43 * time.Hour)}, // parts of days
	}
	var questions []question
	for _, groups := range groupings {
		for _, bucket := range []string{"", "hour", "day", "week", "month"} {
			questions = append(questions, question{w.begin, w.end(), groups, bucket})
		}
	}
	for _, r := range ranges[1:] {
		for _, groups := range groupings[:7] {
			questions = append(questions, question{r[0], r[1], groups, ""})
		}
		questions = append(questions, question{r[0], r[1], []string{"flavor"}, "day"}, question{r[0], r[1], []string{"metric"}, "month"})
	}

	answers := map[string]map[string]string{} // by kind and question
	for kind := range kinds {
		answers[kind] = map[string]string{}
	}
	t.Run("databases", func(t *testing.T) {
		eachKind(t, func(t *testing.T, db *database) {
			kind := strings.TrimPrefix(t.Name(), "TestRealPath/databases/")
			db.setUp(t, w)
			r := db.try(t, w.process(source.URL)...)
			sum := r.summary(t)
			if r.status != 0 || sum.Points != len(points) || sum.Amount != text(total) || sum.Failed != 0 || sum.Lost != 0 || sum.NewScopes != 6 {
				t.Fatalf("processed with status %d; it should be %d points and %s:\n%s%s", r.status, len(points), text(total), r.out, r.stderr)
			}
			if sum.Done+sum.Empty != 6*48 || sum.Empty == 0 || sum.Findings["unpriced"]["license"] == 0 {
				t.Errorf("6 scopes with 48 windows each, some of them empty, and nothing prices licenses:\n%s", r.out)
			}
			w.checkCharges(t, db, points)
			db.run(t, "rollups", "verify")
			for _, q := range questions {
				answers[kind][fmt.Sprint(q)] = w.checkReport(t, db, q, points)
			}
			filtered := db.run(t, "export", "report", "--begin", "2024-03-30", "--end", "2024-04-03", "--filter", "flavor=small", "--filter", `scope=we.ird|"x\y`)
			cost := new(big.Rat)
			for _, p := range points {
				if p.scope == `we.ird|"x\y` && p.groupby["flavor"] == "small" {
					cost.Add(cost, p.price)
				}
			}
			if !strings.HasSuffix(filtered, ","+text(cost)+",EUR\n") {
				t.Errorf("filtered by scope and flavor: got\n%swant a cost of %s", filtered, text(cost))
			}

			before := db.content(t)
			if again := db.try(t, w.process(source.URL)...).summary(t); again.Done+again.Empty+again.Failed+again.NewScopes+again.PlannedWindows != 0 {
				t.Errorf("there was something left to do: %+v", again)
			}
			same(t, before, db.content(t))
		})
	})
	if diff := cmp.Diff(answers["sqlite"], answers["postgres"]); diff != "" {
		t.Errorf("the databases' reports differ: sqlite - postgres +\n%s", diff)
	}
}

// checkCharges holds the charges at rest against those computed, and adds up their prices in SQL.
func (w *world) checkCharges(t *testing.T, db *database, points []point) {
	t.Helper()
	var want []string
	for _, p := range points {
		want = append(want, strings.Join([]string{
			"charge", p.scope, p.metric, p.unit, attributes(p.groupby), attributes(p.metadata),
			fmt.Sprint(p.begin.Unix()), "3600", "0", text(p.qty), text(p.price),
		}, " | "))
	}
	slices.Sort(want)
	same(t, want, ofKind(db.content(t), "charge"))
	if db.path != "" {
		return // SQLite adds up floats, unless the program's own code helps
	}
	d := db.open(t)
	defer d.Close()
	total := new(big.Rat)
	for _, p := range points {
		total.Add(total, p.price)
	}
	scan(t, d, "SELECT SUM(price), COUNT(*) FROM charges", func(row []string) {
		if rat(row[0]).Cmp(total) != 0 || row[1] != fmt.Sprint(len(points)) {
			t.Errorf("SELECT SUM(price), COUNT(*) says %v, not %s, %d", row, text(total), len(points))
		}
	})
}

// attributes writes them as they are stored.
func attributes(a map[string]string) string {
	b, _ := json.Marshal(a) // sorted by name; it can't fail
	return string(b)
}

// checkReport holds a report, as CSV and as JSON, against the computed one, and returns the CSV.
func (w *world) checkReport(t *testing.T, db *database, q question, points []point) string {
	t.Helper()
	args := []string{"export", "report", "--begin", q.begin.Format(time.RFC3339), "--end", q.end.Format(time.RFC3339)}
	if len(q.groups) > 0 {
		args = append(args, "--group-by", strings.Join(q.groups, ","))
	}
	if q.bucket != "" {
		args = append(args, "--bucket", q.bucket)
	}
	out := db.run(t, args...)
	got, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want, total := w.answer(q, points)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%v: want - got +\n%s", q, diff)
	}
	if q.bucket == "hour" {
		return out // enough of them
	}
	var report struct {
		Begin, End string
		Groups     []string
		Rows       []map[string]string
		Total      map[string]string
	}
	jsonOut := db.run(t, append(args, "--format", "json")...)
	if err := json.Unmarshal([]byte(jsonOut), &report); err != nil {
		t.Fatalf("%v: %v\n%s", q, err, jsonOut)
	}
	if report.Total["cost"] != total || len(report.Rows) != len(want)-1 {
		t.Errorf("%v: JSON says a total of %s in %d rows, want %s in %d", q, report.Total["cost"], len(report.Rows), total, len(want)-1)
		return out
	}
	for i, row := range report.Rows {
		for j, column := range want[0] {
			if row[column] != want[i+1][j] {
				t.Errorf("%v: row %d of the JSON has %s %q, want %q", q, i, column, row[column], want[i+1][j])
			}
		}
	}
	return out
}
