package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"ratebook/e2e/testserver"
)

// kills is how many kills must hit a running process, for each database.
var kills = often(40, 1000)

// often is how often a test tries its luck: less in a usual run than in a nightly one.
func often(usually, nightly int) int {
	if os.Getenv("RATEBOOK_NIGHTLY") != "" {
		return nightly
	}
	return usually
}

const (
	killsACopy  = 4
	killedLease = "1s" // so that the windows of the killed are soon free
	crashScopes = 48
)

// TestCrash kills processes at random moments. The process that comes after them must bring the database to where an
// undisturbed one brings it.
func TestCrash(t *testing.T) {
	w := large(crashScopes)
	source := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	process := w.process(source.URL, "--lease", killedLease, "--log-level", "error")
	t.Run("databases", func(t *testing.T) {
		eachKind(t, func(t *testing.T, template *database) {
			template.setUp(t, w)
			want := survives(t, template, process, kills, "windows WHERE state IN (0, 3)")
			if len(ofKind(want, "charge")) != crashScopes*12*3*48 {
				t.Fatalf("%d charges", len(ofKind(want, "charge")))
			}
		})
	})
}

// TestTaskCrash kills processes while they do everything again, with other usage, other rules and another name of a metric.
func TestTaskCrash(t *testing.T) {
	w := large(crashScopes / 2)
	source := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	process := w.process(source.URL, "--lease", killedLease, "--log-level", "error")
	t.Run("databases", func(t *testing.T) {
		eachKind(t, func(t *testing.T, template *database) {
			template.setUp(t, w)
			template.run(t, process...)
			other := *w
			other.rules = slices.Clone(w.rules)
			other.rules[0].cost = "0.5"
			other.meters = slices.Clone(w.meters)
			other.meters[2].name = "disk"
			template.run(t, "import", "metrics", "--replace", write(t, "metrics.yml", other.metricsFile()))
			template.run(t, "import", "rules", write(t, "rules.yml", other.rulesFile()))
			template.run(t, w.task("reprocess", w.begin, w.end(), "--all-scopes")...)
			want := survives(t, template, process, often(15, 1000), "windows WHERE redone_by IS NULL")
			if charges := crashScopes / 2 * 12 * 3 * 48; len(ofKind(want, "charge")) != charges || !slices.Contains(want, fmt.Sprintf("superseded | %d", charges)) {
				t.Errorf("%d charges, %s", len(ofKind(want, "charge")), ofKind(want, "superseded"))
			}
		})
	})
}

// survives kills the program so often on copies of a database, and lets it then end its work. It returns what that must come to.
// open is what counts what is left to do.
func survives(t *testing.T, template *database, process []string, kills int, open string) (want []string) {
	t.Helper()
	left := func(db *database) int { return db.number(t, "SELECT COUNT(*) FROM "+open) }
	calm := template.clone(t)
	began := time.Now()
	calm.run(t, process...)
	whole := time.Since(began)
	want = calm.content(t)
	began = time.Now()
	calm.run(t, process...) // nothing is left to do, so this is the time to start and stop
	start := time.Since(began)
	work := max(whole-start, 100*time.Millisecond)
	all := len(ofKind(want, "window"))

	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	began = time.Now()
	hit, midway, copies := 0, 0, 0
	for hit < kills && !t.Failed() {
		copies++
		db := template.clone(t)
		moments := make([]float64, killsACopy) // of the work
		for i := range moments {
			moments[i] = random.Float64()
		}
		slices.Sort(moments)
		done := 0.0
		for _, at := range moments[:min(killsACopy, kills-hit)] {
			after := time.Duration(random.Float64()*float64(start) + (at-done)*float64(work))
			done = at
			if !db.kill(t, after, process) {
				work = work * 3 / 4 // it was quicker: the machine is less busy than it was
				break
			}
			hit++
			switch open := left(db); {
			case open == all:
				work = work * 9 / 8
			case open > 0:
				midway++
			}
		}
		if r := db.try(t, process...); r.status != 0 {
			t.Fatalf("seed %d: after kills: status %d\n%s%s", seed, r.status, r.out, r.stderr)
		}
		same(t, want, db.content(t))
		if r := db.try(t, "rollups", "verify"); r.status != 0 {
			t.Errorf("rollups verify: %s%s", r.out, r.stderr)
		}
		if t.Failed() {
			t.Logf("seed %d, copy %d", seed, copies)
		}
	}
	t.Logf("%d kills hit, %d of them with some work done and some not, on %d copies, in %.1f s; undisturbed %d ms, of which %d ms without work",
		hit, midway, copies, time.Since(began).Seconds(), whole.Milliseconds(), start.Milliseconds())
	if midway < kills/4 {
		t.Errorf("only %d of %d kills hit between the first and the last commit: the moments are chosen badly", midway, hit)
	}
	return want
}

// kill runs the program and kills it after a while; hit is false if it ended by itself before.
func (db *database) kill(t *testing.T, after time.Duration, args []string) (hit bool) {
	t.Helper()
	cmd := db.command(t, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // it may have ended
	defer timer.Stop()
	_ = cmd.Wait() // how it ended is looked at below
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Signaled() && status.ExitStatus() != 0 {
		t.Fatalf("a disturbed run ended with status %d", status.ExitStatus())
	}
	return status.Signaled()
}
