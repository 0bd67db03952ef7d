package e2e

import (
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ratebook/e2e/testserver"
)

// task returns the arguments that make a task.
func (w *world) task(kind string, begin, end time.Time, more ...string) []string {
	return append([]string{"task", kind, "--begin", begin.Format(time.RFC3339), "--end", end.Format(time.RFC3339), "--reason", "a test"}, more...)
}

// number returns the number of the task that a command made.
func taskNumber(t *testing.T, out string) string {
	t.Helper()
	m := regexp.MustCompile(`(?i)task (\d+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no task's number in %q", out)
	}
	return m[1]
}

// mixed returns the points of one world, and those of another where chosen.
func mixed(points, others []point, chosen func(p *point) bool) (all []point) {
	for i := range points {
		if !chosen(&points[i]) {
			all = append(all, points[i])
		}
	}
	for i := range others {
		if chosen(&others[i]) {
			all = append(all, others[i])
		}
	}
	return all
}

func total(points []point) *big.Rat {
	sum := new(big.Rat)
	for i := range points {
		sum.Add(sum, points[i].price)
	}
	return sum
}

// TestTasks changes prices, names and usage after they have been charged, and does it again as the operator asks.
func TestTasks(t *testing.T) {
	t.Parallel()
	w := small(begin2024, 24)
	source := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	dearer := *w
	dearer.rules = slices.Clone(w.rules)
	dearer.rules[0].cost = "0.5"
	begin, end := w.begin.Add(6*time.Hour), w.begin.Add(18*time.Hour)
	chosen := func(p *point) bool { return p.scope == "scope-01" && !p.begin.Before(begin) && p.begin.Before(end) }
	old, after := w.points(t), mixed(w.points(t), dearer.points(t), chosen)
	change := new(big.Rat).Sub(total(after), total(old))

	eachKind(t, func(t *testing.T, db *database) {
		db.setUp(t, w)
		db.run(t, w.process(source.URL)...)
		db.run(t, "import", "rules", write(t, "rules.yml", dearer.rulesFile()))
		w.checkCharges(t, db, old) // history does not move

		out := db.run(t, w.task("rerate", begin, end, "--scope", "scope-01", "--dry-run")...)
		if !strings.Contains(out, "a difference of "+text(change)+" EUR") || !strings.Contains(out, "state: previewed") {
			t.Errorf("a dry run that should find a difference of %s says\n%s", text(change), out)
		}
		w.checkCharges(t, db, old)
		task := taskNumber(t, out)
		db.run(t, "task", "start", task)
		if r := db.try(t, w.task("reprocess", w.begin, w.end(), "--all-scopes")...); r.status != 1 || !strings.Contains(r.stderr, "task "+task) {
			t.Errorf("an overlapping task: status %d\n%s", r.status, r.stderr)
		}
		db.run(t, w.process(source.URL)...)
		w.checkCharges(t, db, after)
		changed := len(slices.DeleteFunc(slices.Clone(old), func(p point) bool { return !chosen(&p) || p.groupby["flavor"] != "small" }))
		if n := db.number(t, "SELECT COUNT(*) FROM superseded_charges WHERE task = "+task); n != changed {
			t.Errorf("%d charges are superseded by the task, want %d", n, changed)
		}
		if out := db.run(t, "task", "show", task); !strings.Contains(out, "state: finished, 12 of 12 windows done") || !strings.Contains(out, "a difference of "+text(change)+" EUR") {
			t.Errorf("the finished task says\n%s", out)
		}
		db.run(t, "rollups", "verify")

		// another name of a metric, which no rule knows
		renamed := *w
		renamed.meters = slices.Clone(w.meters)
		renamed.meters[0].name = "vcpu"
		db.run(t, "import", "metrics", "--replace", write(t, "metrics.yml", renamed.metricsFile()))
		dry := w.task("reprocess", begin, end, "--all-scopes", "--dry-run", "--prometheus-url", source.URL)
		out = db.run(t, dry...)
		lost := 4 * 3 * 12
		if !strings.Contains(out, fmt.Sprintf("%d points would lose their price", lost)) || !strings.Contains(out, "flavor = small") {
			t.Errorf("%d points lose their price; the dry run says\n%s", lost, out)
		}
		w.checkCharges(t, db, after)
		task = taskNumber(t, out)
		db.run(t, "task", "cancel", task)
		db.run(t, w.process(source.URL)...)
		w.checkCharges(t, db, after)

		// as it was: nothing changes, whatever is configured today
		superseded := db.number(t, "SELECT COUNT(*) FROM superseded_charges")
		task = taskNumber(t, db.run(t, w.task("reprocess", w.begin, w.end(), "--all-scopes", "--as-it-was")...))
		db.run(t, w.process(source.URL)...)
		w.checkCharges(t, db, after)
		if out := db.run(t, "task", "show", task); !strings.Contains(out, "96 of 96 windows done") || !strings.Contains(out, "a difference of 0 EUR") {
			t.Errorf("as it was:\n%s", out)
		}
		if n := db.number(t, "SELECT COUNT(*) FROM superseded_charges"); n != superseded {
			t.Errorf("%d charges are superseded, of which %d were before: nothing changed", n, superseded)
		}

		// and with what is configured today
		db.run(t, w.task("reprocess", begin, end, "--all-scopes")...)
		db.run(t, w.process(source.URL)...)
		today := renamed
		today.rules = dearer.rules
		within := func(p *point) bool { return !p.begin.Before(begin) && p.begin.Before(end) }
		w.checkCharges(t, db, mixed(after, today.points(t), within))
		db.run(t, "rollups", "verify")
	})
}

// TestLateUsage has a source that learns of usage after the window was charged.
func TestLateUsage(t *testing.T) {
	t.Parallel()
	const hours = 6
	begin := time.Now().UTC().Truncate(time.Hour).Add(-(hours + 2) * time.Hour)
	whole := small(begin, hours)
	early := *whole
	last := begin.Add((hours - 1) * time.Hour)
	early.series = nil
	for _, s := range whole.series { // one machine of one scope is not known yet in the last hour
		if s.Labels["id"] == "vm-02-01" {
			s.Samples = slices.DeleteFunc(slices.Clone(s.Samples), func(x testserver.Sample) bool { return !x.At.Before(last) })
		}
		early.series = append(early.series, s)
	}
	first := testserver.Prometheus(t, testserver.OpenMetrics(early.series...))
	later := testserver.Prometheus(t, testserver.OpenMetrics(whole.series...))
	eachKind(t, func(t *testing.T, db *database) {
		db.setUp(t, whole)
		// of all windows only the last ends so late that there is still time until its re-check
		delay := time.Since(last.Add(time.Hour)) + 8*time.Second
		process := func(url string) { db.run(t, whole.process(url, "--recheck-after", delay.String())...) }
		process(first.URL)
		whole.checkCharges(t, db, early.points(t))
		if n := db.number(t, "SELECT COUNT(*) FROM windows WHERE task = 0"); n != 4 {
			t.Fatalf("%d windows wait for their re-check, want 4", n)
		}
		// prices that changed meanwhile are not the re-check's business
		dearer := *whole
		dearer.rules = slices.Clone(whole.rules)
		dearer.rules[1].cost = "7"
		db.run(t, "import", "rules", write(t, "rules.yml", dearer.rulesFile()))
		eventually(t, "the late usage is charged", func() bool {
			process(later.URL)
			return db.number(t, "SELECT COUNT(*) FROM windows WHERE task IS NOT NULL") == 0
		})
		whole.checkCharges(t, db, whole.points(t))
		if n := db.number(t, "SELECT COUNT(*) FROM superseded_charges"); n == 0 {
			t.Error("nothing is superseded")
		}
		out := db.run(t, "task", "list")
		if !strings.Contains(out, "re-check") || strings.Count(out, "\n") != 1 {
			t.Errorf("one re-check has found something; the tasks are\n%s", out)
		}
		late := new(big.Rat).Sub(total(whole.points(t)), total(early.points(t)))
		if out := db.run(t, "task", "show", "1"); !strings.Contains(out, "a difference of "+text(late)+" EUR") {
			t.Errorf("late usage of %s:\n%s", text(late), out)
		}
		db.run(t, "rollups", "verify")
	})
}

// TestWaive gives up the windows of a metric that its source has lost, and takes that back.
func TestWaive(t *testing.T) {
	t.Parallel()
	w := small(begin2024, 24)
	from, to := w.begin.Add(10*time.Hour), w.begin.Add(12*time.Hour)
	holey := *w
	holey.series = nil
	for _, s := range w.series {
		if s.Name == "server_memory" {
			s.Samples = slices.DeleteFunc(slices.Clone(s.Samples), func(x testserver.Sample) bool { return !x.At.Before(from) && x.At.Before(to) })
		}
		holey.series = append(holey.series, s)
	}
	source := testserver.Prometheus(t, testserver.OpenMetrics(holey.series...))
	whole := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	lost := []string{"--begin", from.Format(time.RFC3339), "--end", to.Format(time.RFC3339), "--all-scopes"}
	window := func(verb string, more ...string) []string { return slices.Concat([]string{"window", verb}, lost, more) }
	eachKind(t, func(t *testing.T, db *database) {
		db.setUp(t, w)
		db.try(t, w.process(source.URL)...)
		if out := db.run(t, window("list")...); strings.Count(out, "\n") != 8 || strings.Count(out, "no samples of server_memory") != 8 {
			t.Errorf("eight windows failed; the list has\n%s", out)
		}
		db.run(t, window("waive", "--reason", "the disk of Prometheus broke")...)
		db.run(t, w.process(source.URL)...) // nothing is due
		if out := db.run(t, window("list", "--state", "waived")...); strings.Count(out, "the disk of Prometheus broke") != 8 {
			t.Errorf("eight windows are waived; the list has\n%s", out)
		}
		if r := db.try(t, window("waive", "--reason", "again")...); r.status == 0 {
			t.Errorf("they can be waived twice:\n%s", r.out)
		}
		gone := func(p *point) bool { return !p.begin.Before(from) && p.begin.Before(to) }
		w.checkCharges(t, db, mixed(w.points(t), nil, gone))
		db.run(t, window("unwaive")...)
		half := window("accept", "--reason", "it was off")
		half[slices.Index(half, "--end")+1] = from.Add(time.Hour).Format(time.RFC3339)
		db.try(t, w.process(source.URL)...)
		db.run(t, half...) // without memory
		if r := db.try(t, w.process(source.URL)...); r.summary(t).Done != 4 {
			t.Errorf("the accepted windows should be done:\n%s%s", r.out, r.stderr)
		}
		db.run(t, w.process(whole.URL)...)
		accepted := func(p *point) bool {
			return p.metric == "ram" && !p.begin.Before(from) && p.begin.Before(from.Add(time.Hour))
		}
		w.checkCharges(t, db, mixed(w.points(t), nil, accepted))
		actions := map[string]int{}
		d := db.open(t)
		defer d.Close()
		scan(t, d, "SELECT action, COUNT(*) FROM audit_log GROUP BY action", func(row []string) { actions[row[0]], _ = strconv.Atoi(row[1]) })
		for _, action := range []string{"waive", "unwaive", "accept"} {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(actions)), func(a string) bool { return strings.HasPrefix(a, action) }) {
				t.Errorf("%s is not in the audit log: %v", action, actions)
			}
		}
	})
}
