package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rating"
)

// costs are rules by which each unit of a metric costs so much.
func costs(metric, each string, more ...rating.Rule) *rating.Rules {
	return &rating.Rules{
		Modules: []rating.Module{{Name: "hashmap", Enabled: true}},
		Hashmap: append(more, rating.Rule{ID: "r", Kind: rating.Mapping, Type: rating.Flat, Service: metric, Cost: money.MustParse(each)}),
	}
}

// charged is an archive in which each window has one charge of a metric, of the quantity 1, with a price by window.
func charged(metric *metering.Metric, price func(window time.Time) string) archive {
	return func(scopes []*metering.Scope, run period.Run) ([]metering.Usage, error) {
		var all []metering.Usage
		for _, s := range scopes {
			copied := *s // the archive need not know whose pointer we have
			u := metering.Usage{Series: metering.Series{Scope: &copied, Metric: metric}}
			for i := range run.Count {
				u.Samples = append(u.Samples, metering.Sample{Window: i, Qty: money.New(1, 0), Price: money.MustParse(price(run.Window(i).Begin))})
			}
			all = append(all, u)
		}
		return all, nil
	}
}

// again makes leases of a task, of windows that versions 2 and 3 have made.
func again(task *metering.Task, scopes, windows int) []metering.Lease {
	all := leases(scopes, windows)
	for i := range all {
		all[i].Task, all[i].Config, all[i].Rules = task, 2, 3
	}
	return all
}

// versioned gives a processor a metric that is called otherwise in each version, and rules that cost as much as their version.
func versioned(p *Processor) {
	c := p.Catalog.(*catalog)
	c.version = versions{12, 13}
	c.configs, c.rules = map[int64][]*metering.Metric{}, map[int64]*rating.Rules{}
	for _, v := range []int64{2, 12} {
		c.configs[v] = []*metering.Metric{{Ref: 1, Source: "s", Name: "cpu", Measured: fmt.Sprint("m", v)}}
	}
	for _, v := range []int64{3, 13} {
		c.rules[v] = costs("cpu", fmt.Sprint(v))
	}
}

// TestVersions does windows in each way and looks with which versions.
func TestVersions(t *testing.T) {
	for name, c := range map[string]struct {
		task     *metering.Task
		measured string // what the source is asked for
		config   int64
		price    string
		recheck  time.Duration
	}{
		"first":               {nil, "m12", 12, "13", time.Hour},
		"reprocess":           {&metering.Task{ID: 5, Kind: metering.Reprocess}, "m12", 12, "13", time.Hour},
		"reprocess as it was": {&metering.Task{ID: 5, Kind: metering.Reprocess, AsItWas: true}, "m2", 2, "3", time.Hour},
		"re-rate":             {&metering.Task{ID: 5, Kind: metering.Rerate}, "", 2, "13", time.Hour},
		"re-check":            {&metering.Task{Kind: metering.Recheck}, "m2", 2, "3", 0},
	} {
		l := new(ledger)
		if c.task == nil {
			l.leases = leases(2, 2)
		} else {
			l.again = again(c.task, 2, 2)
		}
		asked := ""
		p := processor(l, func(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
			asked = r.Metrics[0].Measured
			return one(ctx, r)
		})
		versioned(p)
		p.Recheck = time.Hour
		p.Archive = charged(&metering.Metric{Ref: 1, Name: "cpu"}, func(time.Time) string { return "7" })
		sum, err := p.Process(t.Context(), Work{Once: true})
		if err != nil || len(l.committed) != 1 {
			t.Fatalf("%s: error %v, %d batches", name, err, len(l.committed))
		}
		b := l.committed[0]
		if asked != c.measured || b.ConfigVersion != c.config || fmt.Sprint(b.RulesVersion) != c.price || b.Task != c.task || b.Recheck != c.recheck {
			t.Errorf("%s: asked for %q, with versions %d and %d, task %v, re-check %s", name, asked, b.ConfigVersion, b.RulesVersion, b.Task, b.Recheck)
		}
		if b.Points() != 4 || b.Usage[0].Samples[0].Price.String() != c.price || b.Usage[0].Scope != b.Scopes[0] || len(b.Failed)+len(b.Unchanged) != 0 {
			t.Errorf("%s: %+v", name, b)
		}
		if redone := c.task != nil; redone != (sum.Redone == 4) || redone == (sum.Done == 4) {
			t.Errorf("%s: %d done, %d redone", name, sum.Done, sum.Redone)
		}
	}
}

// TestVersionBeforeAny re-checks a window that was priced when there were no rules: version 0 is not the latest then.
func TestVersionBeforeAny(t *testing.T) {
	l := &ledger{again: again(&metering.Task{Kind: metering.Recheck}, 1, 1)}
	l.again[0].Rules = 0
	p := processor(l, one)
	versioned(p)
	p.Catalog.(*catalog).rules[0] = costs("cpu", "5")
	p.Archive = charged(&metering.Metric{Ref: 1, Name: "cpu"}, func(time.Time) string { return "0" })
	if _, err := p.Process(t.Context(), Work{Once: true}); err != nil {
		t.Fatal(err)
	}
	if b := l.committed[0]; len(b.Unchanged) != 1 || b.RulesVersion != 0 {
		t.Errorf("%+v", b)
	}
}

// TestUnchanged re-rates four windows, of which two cost what they cost before.
func TestUnchanged(t *testing.T) {
	l := &ledger{again: again(&metering.Task{ID: 5, Kind: metering.Rerate}, 2, 4)}
	p := processor(l, nil)
	p.Sources = nil // it takes none
	versioned(p)
	p.Archive = charged(&metering.Metric{Ref: 1, Name: "cpu"}, func(window time.Time) string {
		if window.Hour()%2 == 0 {
			return "13.0"
		}
		return "3"
	})
	sum, err := p.Process(t.Context(), Work{Once: true})
	if err != nil {
		t.Fatal(err)
	}
	b := l.committed[0]
	var unchanged []string
	for _, u := range b.Unchanged {
		unchanged = append(unchanged, fmt.Sprint(u.Scope.ID, u.Window))
	}
	if diff := gocmp.Diff([]string{"a0", "a2", "b0", "b2"}, unchanged); diff != "" || b.Points() != 4 || sum.Same != 4 || sum.Redone != 8 {
		t.Errorf("%d points, %d the same of %d; want - got +\n%s", b.Points(), sum.Same, sum.Redone, diff)
	}
	for _, u := range b.Usage {
		for _, s := range u.Samples {
			if s.Window%2 == 0 || s.Price.String() != "13" {
				t.Errorf("%+v", s)
			}
		}
	}
}

// TestFailedIsNotUnchanged has a point that can't be decided on: its window is not settled.
func TestFailedIsNotUnchanged(t *testing.T) {
	l := &ledger{again: again(&metering.Task{ID: 5, Kind: metering.Reprocess}, 1, 2)}
	p := processor(l, one)
	p.Catalog.(*catalog).metrics[0].Skip = "1 < datapoint['groupby']['missing']"
	p.Archive = archive(func([]*metering.Scope, period.Run) ([]metering.Usage, error) { return nil, nil })
	if _, err := p.Process(t.Context(), Work{Once: true}); err != nil {
		t.Fatal(err)
	}
	if b := l.committed[0]; len(b.Failed) != 2 || len(b.Unchanged) != 0 {
		t.Errorf("%+v", b)
	}
}

func TestBatchesAlike(t *testing.T) {
	all := leases(12, 2)
	five, six := &metering.Task{ID: 5}, &metering.Task{ID: 6}
	all[0].Task, all[1].Task, all[2].Task = five, six, &metering.Task{ID: 5} // the same as the first
	all[3].Task = &metering.Task{}                                           // a re-check is something else than nothing
	all[4].Config, all[5].Rules, all[6].Accepted = 1, 1, true
	all[7].Scope.Source.ScopeKey = "tenant" // asked for by another label
	got := new(Processor).batches(all)
	var groups []string
	for _, b := range got {
		ids := ""
		for _, s := range b.scopes {
			ids += s.ID
		}
		groups = append(groups, ids)
	}
	slices.Sort(groups)
	if diff := gocmp.Diff([]string{"ac", "b", "d", "e", "f", "g", "h", "ijkl"}, groups); diff != "" {
		t.Error(diff)
	}
}

// TestDueFirst does what was never done before what is done again, and ends when there is nothing of either.
func TestDueFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{leases: leases(1, 1), again: again(&metering.Task{ID: 5, Kind: metering.Rerate}, 1, 1)}
		polls := 0
		l.pending = func() (bool, error) {
			polls++
			return polls < 4, nil
		}
		p := processor(l, one)
		p.Archive = charged(&metering.Metric{Ref: 1, Name: "cpu"}, func(time.Time) string { return "7" })
		if _, err := p.Process(t.Context(), Work{Once: true}); err != nil {
			t.Fatal(err)
		}
		if len(l.committed) != 2 || l.committed[0].Task != nil || l.committed[1].Task == nil || polls != 5 {
			t.Errorf("%d batches, %d looks for what others have", len(l.committed), polls)
		}
		if advanced := p.Tasks.(*tasks).advanced; advanced != 2 {
			t.Errorf("tasks advanced %d times, want before and after", advanced)
		}
	})
}

// marker marks some scopes of a task at a time, and takes two seconds for it.
type marker struct {
	tasks
	book   *book
	task   *metering.Task
	most   int
	err    error
	missed int // calls while another one was marking
	mu     sync.Mutex
}

func (m *marker) AdvanceTasks(context.Context) error {
	if !m.mu.TryLock() {
		m.missed++
		return nil
	}
	defer m.mu.Unlock()
	m.advanced++
	if m.err != nil && m.advanced > 1 {
		return m.err
	}
	n := min(m.most, m.book.waiting)
	if n > 0 {
		<-time.After(2 * time.Second)
	}
	m.book.again(m.task, n, 2)
	m.book.mu.Lock()
	defer m.book.mu.Unlock()
	m.book.waiting -= n
	return nil
}

// TestAllOfTasks has a task whose windows are marked part by part: process ends when all are done, and has not asked for more
// all the time. If the rest can't be marked it says so.
func TestAllOfTasks(t *testing.T) {
	broken := errors.New("tasks have no such column")
	for _, fails := range []error{nil, broken} {
		synctest.Test(t, func(t *testing.T) {
			b := newBook(t, 5, 2)
			b.waiting = 100
			m := &marker{book: b, task: &metering.Task{ID: 5, Kind: metering.Rerate}, most: 10, err: fails}
			p := processor(b, one)
			p.Workers, p.Tasks, p.Patience = 4, m, time.Minute
			began := time.Now()
			_, err := p.Process(t.Context(), Work{Once: true})
			took, want := time.Since(began), 200
			if fails != nil {
				want = 20
			}
			if !errors.Is(err, fails) || b.count(metering.Done) != 10 || b.countOf(m.task, metering.Done) != want {
				t.Errorf("error %v, %d windows done for the first time, %d again", err, b.count(metering.Done), b.countOf(m.task, metering.Done))
			}
			if m.missed > 0 || m.advanced > 15 || took > 30*time.Second {
				t.Errorf("it took %s and advanced tasks %d times, of which %d at once", took, m.advanced, m.missed)
			}
		})
	}
}

// TestTasksGoOn has work for an hour on schedule, beside which tasks are marked every few seconds.
func TestTasksGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t, 0, 0)
		b.most = 1
		task := &metering.Task{ID: 5, Kind: metering.Rerate}
		b.again(task, 600, 1)
		p := processor(b, one)
		rerating(p, 6*time.Second)
		if _, err := p.Process(t.Context(), Work{}); err != nil {
			t.Fatal(err)
		}
		if n := p.Tasks.(*tasks).advanced; n < 500 || n > 800 {
			t.Errorf("tasks advanced %d times in an hour", n)
		}
	})
}

// TestChargesUnreadable has one scope whose charges can't be read, and a database that is away.
func TestChargesUnreadable(t *testing.T) {
	l := &ledger{again: again(&metering.Task{ID: 5, Kind: metering.Rerate}, 5, 2)}
	p := processor(l, nil)
	fine := charged(&metering.Metric{Ref: 1, Name: "cpu"}, func(time.Time) string { return "7" })
	p.Archive = archive(func(scopes []*metering.Scope, run period.Run) ([]metering.Usage, error) {
		if slices.ContainsFunc(scopes, func(s *metering.Scope) bool { return s.ID == "d" }) {
			return nil, errors.New("no decimal: x")
		}
		return fine(scopes, run)
	})
	sum, err := p.Process(t.Context(), Work{Once: true})
	if err != nil || sum.Failed != 2 || sum.Redone != 8 || sum.Errors["the charges can't be read: no decimal: x"] != 2 {
		t.Errorf("error %v, %d failed, %d redone: %v", err, sum.Failed, sum.Redone, sum.Errors)
	}

	l.again = again(&metering.Task{ID: 5, Kind: metering.Rerate}, 5, 2)
	p.Archive = archive(func([]*metering.Scope, period.Run) ([]metering.Usage, error) {
		return nil, fault.New(fault.Unavailable, "the database does not answer")
	})
	if _, err := p.Process(t.Context(), Work{Once: true}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
}

// TestGoneFromSource collects again what the source has lost since, under another name: charges must not become nothing, also
// where an operator had accepted that some metric has no samples.
func TestGoneFromSource(t *testing.T) {
	for name, c := range map[string]struct {
		task     metering.TaskKind
		accepted bool
	}{
		"reprocess": {metering.Reprocess, false},
		"re-check":  {metering.Recheck, false},
		"accepted":  {metering.Reprocess, true},
	} {
		l := &ledger{again: again(&metering.Task{ID: 5, Kind: c.task}, 2, 3)}
		for i := range l.again {
			l.again[i].Accepted = c.accepted
		}
		p := processor(l, func(_ context.Context, r *metering.Request) (*metering.Collection, error) {
			got := new(metering.Collection)
			for i := range r.Run.Count {
				got.Absent = append(got.Absent, metering.Absence{Metric: r.Metrics[0], Window: i})
			}
			return got, nil
		})
		versioned(p)
		p.Catalog.(*catalog).configs[12] = []*metering.Metric{{Ref: 9, Source: "s", Name: "cores", Measured: "m2"}}
		fine := charged(&metering.Metric{Ref: 1, Name: "cpu"}, func(time.Time) string { return "7" })
		p.Archive = archive(func(scopes []*metering.Scope, run period.Run) ([]metering.Usage, error) {
			all, err := fine(scopes[:1], run)
			all[0].Samples = all[0].Samples[1:] // nothing in the first window
			return all, err
		})
		if _, err := p.Process(t.Context(), Work{Once: true}); err != nil {
			t.Fatal(err)
		}
		failed := 0
		for key, state := range l.windows(t) {
			if strings.Contains(state, "source s has no samples of m2 between") {
				failed++
			} else if !strings.HasSuffix(key, " 00") {
				t.Errorf("%s: %s is %s", name, key, state)
			}
		}
		if failed != 4 {
			t.Errorf("%s: %d windows failed, want 4", name, failed)
		}
	}
}

// TestAccepted does not fail windows for what an operator has accepted.
func TestAccepted(t *testing.T) {
	l := &ledger{leases: leases(1, 2)}
	l.leases[0].Accepted = true
	p := processor(l, func(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
		return &metering.Collection{Absent: []metering.Absence{{Metric: r.Metrics[1], Window: 1}}}, nil
	})
	p.Catalog.(*catalog).first = map[int64]time.Time{2: begin.Add(-time.Hour)}
	sum, err := p.Process(t.Context(), Work{Once: true})
	if err != nil || sum.Empty != 2 || sum.Failed != 0 {
		t.Errorf("error %v, %d empty, %d failed", err, sum.Empty, sum.Failed)
	}
}

// TestRerateAhead prices a long lease again: in parts, each of which is read while the one before is committed, and no further.
func TestRerateAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const windows = 2*metering.MaxLeaseWindows + 5
		l := &ledger{again: again(&metering.Task{ID: 5, Kind: metering.Rerate}, 1, windows)}
		p := processor(l, nil)
		versioned(p)
		var mu sync.Mutex
		var steps []string
		step := func(what string, r period.Run) {
			mu.Lock()
			defer mu.Unlock()
			steps = append(steps, fmt.Sprint(what, " ", int(r.Begin.Sub(begin)/time.Hour), "+", r.Count))
		}
		read := charged(&metering.Metric{Ref: 1, Name: "cpu"}, func(time.Time) string { return "7" })
		p.Archive = archive(func(scopes []*metering.Scope, run period.Run) ([]metering.Usage, error) {
			step("read", run)
			return read(scopes, run)
		})
		l.commit = func(_ context.Context, b *metering.Batch) error {
			<-time.After(time.Second)
			if b.PointsBefore() != b.Run.Count || b.Before[0].Samples[0].Price.String() != "7" || b.Usage[0].Samples[0].Price.String() != "13" {
				t.Errorf("committed %+v", b)
			}
			step("committed", b.Run)
			return nil
		}
		sum, err := p.Process(t.Context(), Work{Once: true})
		if err != nil || sum.Redone != windows {
			t.Fatal(err, sum.Redone)
		}
		slices.Sort(steps[:2]) // the first two are read at once
		want := []string{"read 0+24", "read 24+24", "committed 0+24", "read 48+5", "committed 24+24", "committed 48+5"}
		if diff := gocmp.Diff(want, steps); diff != "" {
			t.Errorf("want - got +\n%s", diff)
		}
	})
}

// TestRerateAheadConflict loses a lease while the next part is read already: nothing of that may be left behind.
func TestRerateAheadConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{again: again(&metering.Task{ID: 5, Kind: metering.Rerate}, 1, 2*metering.MaxLeaseWindows)}
		p := processor(l, nil)
		versioned(p)
		var reading sync.WaitGroup
		read := charged(&metering.Metric{Ref: 1, Name: "cpu"}, func(time.Time) string { return "7" })
		p.Archive = archive(func(scopes []*metering.Scope, run period.Run) ([]metering.Usage, error) {
			reading.Add(1)
			defer reading.Done()
			if run.Begin.After(begin) {
				<-time.After(time.Minute)
			}
			return read(scopes, run)
		})
		l.commit = func(context.Context, *metering.Batch) error { return fault.New(fault.Conflict, "it was lost") }
		began := time.Now()
		sum, err := p.Process(t.Context(), Work{Once: true})
		if err != nil || sum.Lost != 2*metering.MaxLeaseWindows || time.Since(began) < time.Minute {
			t.Errorf("error %v, %d lost, after %s", err, sum.Lost, time.Since(began))
		}
		reading.Wait()
	})
}

// BenchmarkRerateMonth re-rates a scope's month of 288,000 charges, without a database.
func BenchmarkRerateMonth(b *testing.B) {
	const series = 400
	flavor := func(i int) metering.Attributes {
		return metering.Attributes{{Name: "flavor", Value: fmt.Sprint("m", i%7)}, {Name: "id", Value: fmt.Sprint(i)}}
	}
	metric := &metering.Metric{Ref: 1, Name: "cpu", Unit: "core"}
	var month []metering.Lease
	for day := range 30 {
		l := again(&metering.Task{ID: 5, Kind: metering.Rerate}, 1, 24)[0]
		l.Run.Begin = begin.AddDate(0, 0, day)
		month = append(month, l)
	}
	for b.Loop() {
		l := new(ledger)
		l.again = month
		p := processor(l, nil)
		versioned(p)
		p.Catalog.(*catalog).rules[13] = costs("cpu", "2", rating.Rule{
			ID: "f", Kind: rating.Mapping, Type: rating.Rate, Service: "cpu", Field: "flavor", Value: "m3", Cost: money.MustParse("1.5"),
		})
		p.Archive = archive(func(scopes []*metering.Scope, run period.Run) (all []metering.Usage, err error) {
			b.StopTimer()
			defer b.StartTimer()
			for i := range series {
				u := metering.Usage{Series: metering.Series{Scope: scopes[0], Metric: metric, Groupby: flavor(i)}}
				for w := range run.Count {
					u.Samples = append(u.Samples, metering.Sample{Window: w, Qty: money.New(int64(i), 1), Price: money.New(int64(i), 1)})
				}
				all = append(all, u)
			}
			return all, nil
		})
		if sum, err := p.Process(b.Context(), Work{Once: true}); err != nil || sum.Redone != 720 {
			b.Fatal(err, sum.Redone)
		}
	}
}
