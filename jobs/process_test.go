package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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

var begin = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// ledger hands out its leases once; what it is told to do otherwise it does.
type ledger struct {
	mu        sync.Mutex
	leases    []metering.Lease // all in one answer
	again     []metering.Lease // likewise, of windows that are to be done again
	committed []*metering.Batch
	released  int

	lease   func(r metering.LeaseRequest) ([]metering.Lease, error)
	renew   func() (bool, error)
	commit  func(ctx context.Context, b *metering.Batch) error
	pending func() (bool, error)
}

func (l *ledger) Lease(_ context.Context, r metering.LeaseRequest) ([]metering.Lease, error) {
	if l.lease != nil && !r.Again {
		return l.lease(r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	from := &l.leases
	if r.Again {
		from = &l.again
	}
	leases := *from
	*from = nil
	return leases, nil
}

func (l *ledger) LeaseToken(context.Context) (int64, error) { return 1, nil }

func (l *ledger) Renew(context.Context, int64, []*metering.Scope, time.Duration) (bool, error) {
	if l.renew != nil {
		return l.renew()
	}
	return true, nil
}

func (l *ledger) Release(ctx context.Context, _ int64, scopes []*metering.Scope) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released += len(scopes)
	return ctx.Err()
}

func (l *ledger) Commit(ctx context.Context, b *metering.Batch) error {
	if l.commit != nil {
		if err := l.commit(ctx, b); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.committed = append(l.committed, b)
	return nil
}

func (l *ledger) Pending(context.Context, metering.LeaseRequest) (bool, error) {
	if l.pending != nil {
		return l.pending()
	}
	return false, nil
}

// windows returns what became of each window, and fails the test if one was committed twice.
func (l *ledger) windows(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, b := range l.committed {
		for _, s := range b.Scopes {
			for i := range b.Run.Count {
				key := fmt.Sprintf("%s %s", s.ID, b.Run.Window(i).Begin.Format("15"))
				if _, twice := all[key]; twice {
					t.Errorf("%s was committed twice", key)
				}
				all[key] = "empty"
			}
		}
		for _, u := range b.Usage {
			for _, x := range u.Samples {
				all[fmt.Sprintf("%s %s", u.Scope.ID, b.Run.Window(x.Window).Begin.Format("15"))] = "done"
			}
		}
		for _, f := range b.Failed {
			all[fmt.Sprintf("%s %s", f.Scope.ID, b.Run.Window(f.Window).Begin.Format("15"))] = f.Error
		}
	}
	return all
}

// catalog has metrics without rules, unless it has other versions of them.
type catalog struct {
	metrics []*metering.Metric
	first   map[int64]time.Time
	err     error

	version versions // the latest
	configs map[int64][]*metering.Metric
	rules   map[int64]*rating.Rules
}

func (c *catalog) Versions(context.Context) (config, rules int64, err error) {
	return c.version.config, c.version.rules, c.err
}

func (c *catalog) Configuration(_ context.Context, version int64) (*metering.Configuration, error) {
	metrics, ok := c.configs[version]
	if !ok {
		metrics = c.metrics
	}
	return &metering.Configuration{Version: version, Metrics: metrics}, c.err
}

func (c *catalog) Rules(_ context.Context, version int64) (*rating.Rules, error) {
	if r := c.rules[version]; r != nil {
		return r, c.err
	}
	return &rating.Rules{Version: version}, c.err
}

func (c *catalog) FirstSamples(context.Context) (map[int64]time.Time, error) { return c.first, c.err }

// tasks has the dry runs that it is told of, and notes what becomes of them.
type tasks struct {
	previews []*metering.Preview
	asked    []metering.PreviewRequest
	saved    []*metering.PreviewResult
	renewed  int
	loseAt   int // which renewal says that it is somebody else's
	advanced int
	err      error // of advancing
	saveErr  error
}

func (f *tasks) AdvanceTasks(context.Context) error {
	f.advanced++
	return f.err
}

// NextPreview gives out a preview; what needs a source only to whom has one.
func (f *tasks) NextPreview(_ context.Context, r metering.PreviewRequest) (p *metering.Preview, err error) {
	f.asked = append(f.asked, r)
	for i, p := range f.previews {
		if (r.Task == 0 || r.Task == p.Task.ID) && (p.Task.Kind == metering.Rerate || len(r.Sources) > 0) {
			f.previews = slices.Delete(f.previews, i, i+1)
			return p, nil
		}
	}
	return nil, nil
}

func (f *tasks) RenewPreview(context.Context, *metering.Preview, time.Duration) (held bool, err error) {
	f.renewed++
	return f.renewed != f.loseAt, nil
}

func (f *tasks) SavePreview(_ context.Context, _ *metering.Preview, r *metering.PreviewResult) error {
	f.saved = append(f.saved, r)
	return f.saveErr
}

// archive is the charges as a function.
type archive func(scopes []*metering.Scope, run period.Run) ([]metering.Usage, error)

func (f archive) Charges(_ context.Context, scopes []*metering.Scope, run period.Run) ([]metering.Usage, error) {
	return f(scopes, run)
}

// collect is a source as a function.
type collect func(ctx context.Context, r *metering.Request) (*metering.Collection, error)

func (f collect) Collect(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
	return f(ctx, r)
}

// one collects a quantity of 1 of the first metric for each window.
func one(_ context.Context, r *metering.Request) (*metering.Collection, error) {
	c := &metering.Collection{}
	for _, s := range r.Scopes {
		u := metering.Usage{Series: metering.Series{Scope: s, Metric: r.Metrics[0]}}
		for i := range r.Run.Count {
			u.Samples = append(u.Samples, metering.Sample{Window: i, Qty: money.New(1, 0)})
		}
		c.Usage = append(c.Usage, u)
	}
	return c, nil
}

// leases makes leases of so many scopes with so many windows each.
func leases(scopes, windows int) []metering.Lease {
	var all []metering.Lease
	for i := range scopes {
		all = append(all, metering.Lease{
			Token: 7, Run: period.Run{Begin: begin, Length: time.Hour, Count: windows},
			Scope: &metering.Scope{Ref: int64(i + 1), ID: string(rune('a' + i)), Source: metering.Source{Name: "s"}},
		})
	}
	return all
}

func processor(l Ledger, source collect) *Processor {
	cpu := &metering.Metric{Ref: 1, Source: "s", Name: "cpu", Measured: "server_cpu", Unit: "core"}
	ram := &metering.Metric{Ref: 2, Source: "s", Name: "ram", Measured: "server_memory", Unit: "MiB"}
	return &Processor{
		Ledger: l, Catalog: &catalog{metrics: []*metering.Metric{cpu, ram}, version: versions{1, 1}}, Tasks: new(tasks),
		Archive: archive(func([]*metering.Scope, period.Run) ([]metering.Usage, error) { return nil, nil }),
		Zone:    time.UTC, Workers: 1, Lease: 30 * time.Second,
		Sources: []Source{{Source: metering.Source{Name: "s"}, Collector: source}}, Log: slog.New(slog.DiscardHandler),
	}
}

// TestHalves has a source that answers only small questions.
func TestHalves(t *testing.T) {
	for _, most := range []int{1, 2, 3, 7, 24, 1000} {
		l := &ledger{leases: leases(5, 7)}
		asked := 0
		p := processor(l, func(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
			asked++
			if len(r.Scopes)*r.Run.Count > most {
				return nil, fmt.Errorf("busy: %w", metering.ErrTooMuch)
			}
			return one(ctx, r)
		})
		sum, err := p.Process(t.Context(), Work{Once: true})
		if err != nil {
			t.Fatal(err)
		}
		windows := l.windows(t)
		for key, state := range windows {
			if state != "done" {
				t.Errorf("at most %d: %s is %s", most, key, state)
			}
		}
		if len(windows) != 35 || sum.Done != 35 || sum.Points != 35 || asked > 2*35 {
			t.Errorf("at most %d: %d windows in %d questions, %d done", most, len(windows), asked, sum.Done)
		}
	}
}

func TestWindowThatIsTooMuch(t *testing.T) {
	l := &ledger{leases: leases(2, 3)}
	p := processor(l, func(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
		if r.Scopes[0].ID == "a" && !r.Run.Range().Contains(begin.Add(2*time.Hour)) || len(r.Scopes) == 1 && r.Scopes[0].ID == "b" {
			return one(ctx, r)
		}
		return nil, fmt.Errorf("a vast window: %w", metering.ErrTooMuch)
	})
	sum, err := p.Process(t.Context(), Work{Once: true})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"a 00": "done", "a 01": "done", "a 02": "a vast window: too much for one question", "b 00": "done", "b 01": "done", "b 02": "done",
	}
	if diff := gocmp.Diff(want, l.windows(t)); diff != "" || sum.Failed != 1 || sum.Done != 5 {
		t.Errorf("%d failed, %d done; want - got +\n%s", sum.Failed, sum.Done, diff)
	}
}

func TestBackoff(t *testing.T) {
	broken := func(context.Context, *metering.Request) (*metering.Collection, error) {
		return nil, errors.New("the source is down")
	}
	for attempts, longest := range map[int]time.Duration{
		0: 30 * time.Second, 1: time.Minute, 2: 2 * time.Minute, 6: 32 * time.Minute, 7: time.Hour, 8: time.Hour, 1000: time.Hour,
	} {
		synctest.Test(t, func(t *testing.T) {
			l := &ledger{leases: leases(3, 4)}
			for i := range l.leases {
				l.leases[i].Attempts = attempts
			}
			if _, err := processor(l, broken).Process(t.Context(), Work{}); err != nil {
				t.Fatal(err)
			}
			at := map[string]time.Time{}
			failed := l.committed[0].Failed
			for _, f := range failed {
				if wait := time.Until(f.Retry); wait < longest/2 || wait > longest {
					t.Errorf("after %d attempts it waits %s, want half of %s to all of it", attempts, wait, longest)
				}
				if have, ok := at[f.Scope.ID]; ok && !have.Equal(f.Retry) {
					t.Error("windows of one scope are tried again at different times")
				}
				at[f.Scope.ID] = f.Retry
			}
			if len(failed) != 12 {
				t.Errorf("%d windows failed, want 12", len(failed))
			}
		})
	}
}

// TestLeaseLostWhileCollecting loses the lease while the source takes its time.
func TestLeaseLostWhileCollecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		renewals := 0
		l := &ledger{leases: leases(2, 3), renew: func() (bool, error) {
			renewals++
			return renewals < 3, nil
		}}
		var interrupted time.Duration
		began := time.Now()
		sum, err := processor(l, func(ctx context.Context, _ *metering.Request) (*metering.Collection, error) {
			<-ctx.Done()
			interrupted = time.Since(began)
			return nil, ctx.Err()
		}).Process(t.Context(), Work{Once: true})
		if err != nil || len(l.committed) != 0 || sum.Lost != 6 || l.released != 2 {
			t.Errorf("error %v, %d batches committed, %d windows lost, %d leases given back", err, len(l.committed), sum.Lost, l.released)
		}
		if interrupted != 30*time.Second {
			t.Errorf("interrupted after %s, want the third renewal of a lease of 30 s", interrupted)
		}
	})
}

// TestLeaseLostAtCommit has the database refuse the second of three batches.
func TestLeaseLostAtCommit(t *testing.T) {
	l := &ledger{leases: leases(3, 2)}
	for i := range l.leases {
		l.leases[i].Points = batchPoints // a batch each
	}
	l.commit = func(_ context.Context, b *metering.Batch) error {
		if b.Scopes[0].ID == "b" {
			return fault.New(fault.Conflict, "the lease was lost")
		}
		return nil
	}
	sum, err := processor(l, one).Process(t.Context(), Work{Once: true})
	if err != nil || sum.Done != 2 || sum.Lost != 4 || l.released != 3 {
		t.Errorf("error %v, %d windows done, %d lost, %d leases given back; want 2, 4 and 3", err, sum.Done, sum.Lost, l.released)
	}
}

// TestRenewalFails goes on: whether the lease still holds is decided at the commit.
func TestRenewalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{leases: leases(1, 2), renew: func() (bool, error) { return false, errors.New("the database is restarting") }}
		sum, err := processor(l, func(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
			select {
			case <-time.After(time.Minute):
			case <-ctx.Done():
			}
			return one(ctx, r)
		}).Process(t.Context(), Work{Once: true})
		if err != nil || sum.Done != 2 || sum.Lost != 0 {
			t.Errorf("error %v, %d done, %d lost", err, sum.Done, sum.Lost)
		}
	})
}

// TestPending waits for windows that others have, and takes them when their leases have ended.
func TestPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		free := func() bool { return time.Since(began) > 10*time.Second }
		l := &ledger{leases: leases(1, 1), pending: func() (bool, error) { return !free(), nil }}
		l.lease = func(metering.LeaseRequest) (all []metering.Lease, err error) {
			if free() {
				all, l.leases = l.leases, nil
			}
			return all, nil
		}
		sum, err := processor(l, one).Process(t.Context(), Work{Once: true})
		if waited := time.Since(began); err != nil || sum.Done != 1 || waited > 11*time.Second {
			t.Errorf("error %v, %d done after %s", err, sum.Done, waited)
		}

		l.leases = leases(1, 1)
		began = time.Now()
		sum, err = processor(l, one).Process(t.Context(), Work{})
		if waited := time.Since(began); err != nil || sum.Done != 0 || waited != 0 {
			t.Errorf("on schedule it waited %s: error %v, %d done", waited, err, sum.Done)
		}
	})
}

func TestStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := &ledger{leases: leases(2, 2)}
	sum, err := processor(l, func(ctx context.Context, _ *metering.Request) (*metering.Collection, error) {
		cancel()
		return nil, ctx.Err()
	}).Process(ctx, Work{Once: true})
	if !errors.Is(err, context.Canceled) || len(l.committed) != 0 || l.released != 2 || sum.Failed+sum.Lost != 0 {
		t.Errorf("error %v, %d batches committed, %d leases given back: %+v", err, len(l.committed), l.released, sum.Errors)
	}
}

func TestDatabaseFails(t *testing.T) {
	down := errors.New("the database is down")
	for name, spoil := range map[string]func(l *ledger, c *catalog){
		"lease": func(l *ledger, _ *catalog) {
			l.lease = func(metering.LeaseRequest) ([]metering.Lease, error) { return nil, down }
		},
		"commit":  func(l *ledger, _ *catalog) { l.commit = func(context.Context, *metering.Batch) error { return down } },
		"in hand": func(l *ledger, _ *catalog) { l.pending = func() (bool, error) { return false, down } },
		"catalog": func(_ *ledger, c *catalog) { c.err = down },
	} {
		l := &ledger{leases: leases(2, 2)}
		p := processor(l, one)
		spoil(l, p.Catalog.(*catalog))
		if _, err := p.Process(t.Context(), Work{Once: true}); !errors.Is(err, down) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestAbsent fails windows without samples only of metrics that had some before.
func TestAbsent(t *testing.T) {
	const ram, cpu = "no samples of server_memory", "no samples of server_cpu, server_memory"
	for _, c := range []struct {
		name   string
		absent map[string][]int // windows by metric
		first  map[int64]time.Time
		may    bool
		want   [4]string // each window's error
	}{
		{name: "never there", absent: map[string][]int{"ram": {0, 1, 2, 3}}},
		{name: "there from the second window on", absent: map[string][]int{"ram": {0}}},
		{name: "a gap within the batch", absent: map[string][]int{"ram": {0, 2}}, want: [4]string{2: ram}},
		{name: "gone", absent: map[string][]int{"ram": {1, 2, 3}}, want: [4]string{1: ram, 2: ram, 3: ram}},
		{name: "gone before the batch", absent: map[string][]int{"ram": {0, 1}}, first: map[int64]time.Time{2: begin.Add(-time.Hour)}, want: [4]string{ram, ram}},
		{name: "charges of later windows", absent: map[string][]int{"ram": {0, 1, 2, 3}}, first: map[int64]time.Time{2: begin.Add(2 * time.Hour)}, want: [4]string{3: ram}},
		{name: "charges of another metric", absent: map[string][]int{"ram": {0, 1, 2, 3}}, first: map[int64]time.Time{1: begin.Add(-time.Hour)}},
		{name: "several metrics", absent: map[string][]int{"ram": {2, 3}, "cpu": {3}}, want: [4]string{2: ram, 3: cpu}},
		{name: "allowed", absent: map[string][]int{"ram": {1, 2}}, first: map[int64]time.Time{2: begin.Add(-time.Hour)}, may: true},
	} {
		l := &ledger{leases: leases(2, 4)}
		p := processor(l, func(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
			got, err := one(ctx, r)
			for _, m := range r.Metrics {
				for _, w := range c.absent[m.Name] {
					got.Absent = append(got.Absent, metering.Absence{Metric: m, Window: w})
				}
			}
			return got, err
		})
		p.Catalog.(*catalog).first = c.first
		for _, m := range p.Catalog.(*catalog).metrics {
			m.MayBeAbsent = c.may
		}
		if _, err := p.Process(t.Context(), Work{Once: true}); err != nil {
			t.Fatal(err)
		}
		got := l.windows(t)
		for i, want := range c.want {
			for _, scope := range []string{"a", "b"} {
				key := fmt.Sprintf("%s %02d", scope, i)
				if want == "" && got[key] != "done" || want != "" && !strings.HasPrefix(got[key], "source s has "+want+" between 2026-03-02T") {
					t.Errorf("%s: window %s: got %q, want %q", c.name, key, got[key], cmp.Or(want, "done"))
				}
			}
		}
	}
}

func TestWithoutSourceOrMetrics(t *testing.T) {
	for want, change := range map[string]func(p *Processor){
		`no source named "s"`:                      func(p *Processor) { p.Sources = nil },
		`no metrics are configured for source "s"`: func(p *Processor) { p.Catalog.(*catalog).metrics = nil },
		"metric cpu: ":                             func(p *Processor) { p.Catalog.(*catalog).metrics[0].Skip = "((" },
	} {
		l := &ledger{leases: leases(1, 2)}
		p := processor(l, one)
		change(p)
		if _, err := p.Process(t.Context(), Work{Once: true}); err != nil {
			t.Fatal(err)
		}
		for key, state := range l.windows(t) {
			if !strings.Contains(state, want) {
				t.Errorf("%s is %q, want %q", key, state, want)
			}
		}
	}
}

func TestBatchesFit(t *testing.T) {
	all := leases(10, 10)
	for i := range all {
		all[i].Points = batchPoints / 30 // three scopes a batch
	}
	all[4].Run.Begin = begin.Add(time.Hour) // another run
	all[7].Scope.Source.Name = "other"
	got := new(Processor).batches(all)
	seen := map[string]bool{}
	for _, b := range got {
		points := 0
		for _, s := range b.scopes {
			points += batchPoints / 30 * b.run.Count
			seen[s.ID] = true
			if s.Source.Name != b.source {
				t.Errorf("scope %s of %s in a batch of %s", s.ID, s.Source.Name, b.source)
			}
		}
		if points > batchPoints {
			t.Errorf("a batch of %d points", points)
		}
	}
	if len(seen) != 10 || len(got) != 5 {
		t.Errorf("%d scopes in %d batches, want 10 in 5", len(seen), len(got))
	}
}

func TestBatchSizeLearns(t *testing.T) {
	s := &batchSize{scopes: firstScopes}
	for _, c := range []struct{ leases, points, want int }{
		{8, 8 * 100, 32}, // small ones: grow, but step by step
		{32, 32 * 100, 128},
		{128, 0, 512},
		{512, 0, mostScopes},
		{1000, 1000 * 1000, 100},
		{100, 100 * 1_000_000, 1},
		{1, 1000, 32},
	} {
		if s.learn(c.leases, c.points); s.get() != c.want {
			t.Errorf("after %d scopes with %d points it takes %d, want %d", c.leases, c.points, s.get(), c.want)
		}
	}
}

func TestSummary(t *testing.T) {
	l := leases(2, 3)
	scopes := []*metering.Scope{l[0].Scope, l[1].Scope}
	sample := func(w int, price string) metering.Sample {
		return metering.Sample{Window: w, Price: money.MustParse(price)}
	}
	sum := newSummary()
	sum.add(&metering.Batch{
		Scopes: scopes, Run: l[0].Run,
		Usage: []metering.Usage{
			{Series: metering.Series{Scope: scopes[0]}, Samples: []metering.Sample{sample(0, "0.1"), sample(1, "0.2"), sample(2, "5")}},
			{Series: metering.Series{Scope: scopes[0]}, Samples: []metering.Sample{sample(0, "0.000000000001")}},
			{Series: metering.Series{Scope: scopes[1]}, Samples: []metering.Sample{sample(2, "-1")}},
		},
		Failed:   []metering.Outcome{{Scope: scopes[0], Window: 2, Error: "no"}, {Scope: scopes[0], Window: 2, Error: "never"}},
		Findings: []metering.Finding{{Kind: metering.Unpriced, Metric: "cpu", Points: 3}, {Kind: metering.Unpriced, Metric: "cpu", Points: 1}, {Kind: metering.SourceNote, Metric: "ram"}},
	})
	for i := range 2 * mostErrors {
		sum.add(&metering.Batch{Scopes: scopes[:1], Run: period.Run{Count: 1}, Failed: []metering.Outcome{{Scope: scopes[0], Error: fmt.Sprint("e", i)}}})
	}
	sum.add(&metering.Batch{
		Task: &metering.Task{ID: 1}, Scopes: scopes, Run: l[0].Run,
		Usage:     []metering.Usage{{Series: metering.Series{Scope: scopes[0]}, Samples: []metering.Sample{sample(0, "100")}}},
		Failed:    []metering.Outcome{{Scope: scopes[1], Window: 2, Error: "no"}},
		Unchanged: []metering.Outcome{{Scope: scopes[0], Window: 1}, {Scope: scopes[0], Window: 2}},
		Findings:  []metering.Finding{{Kind: metering.Unpriced, Metric: "cpu", Points: 3}},
	})
	sum.lost(4)
	sum.cutOff(3)
	if len(sum.Errors) != mostErrors+1 || sum.Errors["other errors"] != mostErrors+2 {
		t.Errorf("errors: %v", slices.Sorted(maps.Keys(sum.Errors)))
	}
	sum.Errors = map[string]int{"no": 1}
	sum.Currency = "EUR"
	got, err := json.Marshal(sum)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"new_scopes":0,"planned_windows":0,"done":3,"empty":2,"failed":42,"lost":4,"cut_off":3,"redone":5,"same":2,"points":4,"amount":"-0.699999999999",` +
		`"currency":"EUR","findings":{"source_note":{"ram":1},"unpriced":{"cpu":4}},"errors":{"no":1},"took_ms":0}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
