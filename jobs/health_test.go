package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ratebook/metering"
	"ratebook/period"
)

// metered counts what a meter is told.
type metered struct {
	mu                                  sync.Mutex
	committed, failed, source, database int
}

func (m *metered) Committed(b *metering.Batch, _ time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.committed += len(b.Scopes) * b.Run.Count
	m.failed += len(b.Failed)
}

func (m *metered) SourceFailed(string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.source++
}

func (m *metered) DatabaseFailed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.database++
}

// slow is a source that takes its time.
func slow(d time.Duration, source collect) collect {
	return func(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		return source(ctx, r)
	}
}

// outage is a source that is down until a time, and notes what it is asked.
type outage struct {
	mu              sync.Mutex
	until           time.Time
	err             error
	asked, largest  int // questions while it is down, and the windows of the largest after the first few
	at, most        int // questions at a time, likewise
	first           int // windows of the first question that it answers
	questionsBefore int // questions that do not count yet
}

func (o *outage) Collect(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
	o.mu.Lock()
	windows := len(r.Scopes) * r.Run.Count
	down := time.Now().Before(o.until)
	if down {
		o.at++
		if o.asked++; o.asked > o.questionsBefore {
			o.largest, o.most = max(o.largest, windows), max(o.most, o.at)
		}
	} else if o.first == 0 {
		o.first = windows
	}
	o.mu.Unlock()
	if !down {
		return one(ctx, r)
	}
	<-time.After(time.Second)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at--
	return nil, o.err
}

// TestSourceDown tries every window once with a source that is down: it is asked a few times, and then one small question for
// each batch, one at a time.
func TestSourceDown(t *testing.T) {
	down := errors.New("connection refused")
	for name, err := range map[string]error{"refused": down, "overloaded": fmt.Errorf("503: %w", metering.ErrTooMuch)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const workers = 4
				b := newBook(t, 200, 24)
				o := &outage{until: time.Now().Add(24 * time.Hour), err: err, questionsBefore: workers * tripped}
				if name == "overloaded" { // it might be the size of the question
					o.questionsBefore = workers * (mostFruitless + 1)
				}
				p := processor(b, o.Collect)
				meter := new(metered)
				p.Workers, p.Meter = workers, meter
				sum, err := p.Process(t.Context(), Work{Once: true})
				if err != nil || sum.Failed != 200*24 || b.count(metering.Failed) != 200*24 {
					t.Fatalf("error %v, %d failed: %v", err, sum.Failed, sum.Errors)
				}
				if o.largest > 1 || o.most > 1 || o.asked > o.questionsBefore+200/firstScopes {
					t.Errorf("%d questions, of up to %d windows, %d at a time", o.asked, o.largest, o.most)
				}
				if len(sum.Errors) != 1 || meter.source == 0 || meter.failed != 200*24 {
					t.Errorf("%v; %+v", sum.Errors, meter)
				}
			})
		})
	}
}

// TestSourceReturns runs a schedule through five hours without the source: most windows keep waiting without an attempt, and
// all are done within minutes of its return, beginning with a small question.
func TestSourceReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers = 4
		b := newBook(t, 1000, 24)
		o := &outage{until: time.Now().Add(5 * time.Hour), err: errors.New("connection refused"), questionsBefore: workers * tripped}
		p := processor(b, o.Collect)
		p.Workers = workers
		tick := func() {
			if _, err := p.Process(t.Context(), Work{}); err != nil {
				t.Fatal(err)
			}
			<-time.After(5 * time.Second)
		}
		for time.Now().Before(o.until) {
			tick()
		}
		if o.largest > 1 || o.most > 1 || o.asked > 5*60*2+o.questionsBefore {
			t.Errorf("while it was down: %d questions, of up to %d windows, %d at a time", o.asked, o.largest, o.most)
		}
		back := time.Now()
		for b.count(metering.Due) > 0 && time.Since(back) < time.Hour {
			tick()
		}
		if took := time.Since(back); took > time.Minute || o.first > 1 {
			t.Errorf("back to work after %s with a question about %d windows", took, o.first)
		}
		for b.count(metering.Done) < 1000*24 && time.Since(back) < 2*time.Hour {
			tick()
		}
		if took := time.Since(back); took > time.Hour+time.Minute {
			t.Errorf("%d windows done after %s", b.count(metering.Done), took)
		}
	})
}

// rerating lets a processor take its time with each scope that it re-rates.
func rerating(p *Processor, each time.Duration) {
	p.Archive = archive(func(scopes []*metering.Scope, _ period.Run) ([]metering.Usage, error) {
		<-time.After(time.Duration(len(scopes)) * each)
		return nil, nil
	})
}

// TestDueBeforeRerates has a source that is down for ten minutes, while a task re-rates for hours: usage is collected soon after
// the source is back, by all workers, and the task goes on meanwhile.
func TestDueBeforeRerates(t *testing.T) {
	for _, workers := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			b := newBook(t, 200, 24)
			b.most = firstScopes
			task := &metering.Task{ID: 5, Kind: metering.Rerate}
			b.again(task, 2160*workers, 1)
			o := &outage{until: time.Now().Add(10 * time.Minute), err: errors.New("connection refused"), questionsBefore: workers * tripped}
			p := processor(b, o.Collect)
			p.Workers = workers
			rerating(p, 10*time.Second)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for ctx.Err() == nil {
					_, _ = p.Process(ctx, Work{})
					<-time.After(5 * time.Second)
				}
			}()
			<-time.After(10 * time.Minute)
			if n := b.countOf(task, metering.Done); n < 40*workers {
				t.Errorf("%d windows were re-rated while the source was down", n)
			}
			if n := b.count(metering.Failed); n > 24*(tripped*firstScopes*workers+24) || o.most > 1 {
				t.Errorf("%d windows failed while the source was down; %d questions at a time", n, o.most)
			}
			<-time.After(4 * time.Minute)
			if n := b.count(metering.Due); n > 0 {
				t.Errorf("%d windows were never collected, 4 minutes after the source is back", n)
			}
			cancel()
			<-ended
		})
	}
}

// TestAgainWithoutSource has nothing to do but to collect again, with a source that is down for hours: that is not tried for
// all windows, and done soon after the source is back.
func TestAgainWithoutSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers = 4
		b := newBook(t, 0, 0)
		task := &metering.Task{ID: 5, Kind: metering.Reprocess}
		b.again(task, 1000, 24)
		o := &outage{until: time.Now().Add(5 * time.Hour), err: errors.New("connection refused"), questionsBefore: workers * tripped}
		p := processor(b, o.Collect)
		p.Workers = workers
		for time.Now().Before(o.until) {
			if _, err := p.Process(t.Context(), Work{}); err != nil {
				t.Fatal(err)
			}
			<-time.After(5 * time.Second)
		}
		if o.largest > 1 || o.most > 1 || o.asked > 5*60*2+o.questionsBefore || b.countOf(task, metering.Failed) > 24*(5*60*2+o.questionsBefore*firstScopes) {
			t.Errorf("%d questions of up to %d windows, %d at a time, %d windows failed", o.asked, o.largest, o.most, b.countOf(task, metering.Failed))
		}
		attempts := 0
		for _, page := range b.pages {
			for i := range page.rows {
				attempts = max(attempts, page.rows[i].attempts)
			}
		}
		if attempts > 5 {
			t.Errorf("a window was tried %d times", attempts)
		}
		for back := time.Now(); b.countOf(task, metering.Due) > 0 && time.Since(back) < time.Hour; {
			if _, err := p.Process(t.Context(), Work{}); err != nil {
				t.Fatal(err)
			}
			<-time.After(5 * time.Second)
		}
		if took := time.Since(o.until); took > time.Minute {
			t.Errorf("back to work after %s", took)
		}
	})
}

// TestSingleFailures has a source that fails now and then, which is no outage.
func TestSingleFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t, 300, 2)
		n, largest := 0, 0
		p := processor(b, func(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
			if n++; n%3 != 0 {
				return nil, errors.New("502 Bad Gateway")
			}
			largest = max(largest, len(r.Scopes))
			return one(ctx, r)
		})
		for b.count(metering.Done) < 600 {
			if _, err := p.Process(t.Context(), Work{}); err != nil {
				t.Fatal(err)
			}
			<-time.After(5 * time.Second)
		}
		if largest < firstScopes {
			t.Errorf("at most %d scopes were asked for at once", largest)
		}
	})
}

// refusing is a source that refuses questions about something.
func refusing(asked *int, about func(r *metering.Request, scope *metering.Scope, window time.Time) bool) collect {
	return func(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
		*asked++
		for _, s := range r.Scopes {
			for i := range r.Run.Count {
				if about(r, s, r.Run.Window(i).Begin) {
					return nil, fmt.Errorf("metric cpu: no: %w", metering.ErrQuestion)
				}
			}
		}
		return one(ctx, r)
	}
}

// TestRefused has a source that refuses some questions: only their windows fail, and it isn't asked much more than it takes
// to find them.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		about func(s *metering.Scope, window int) bool
		most  int // questions
	}{
		"one window":          {func(s *metering.Scope, w int) bool { return s.ID == "s77" && w == 5 }, 40},
		"one scope":           {func(s *metering.Scope, _ int) bool { return s.ID == "s77" }, 80},
		"one hour":            {func(_ *metering.Scope, w int) bool { return w == 5 }, 2 * 200 * 24},
		"every twelfth scope": {func(s *metering.Scope, _ int) bool { return s.Ref%12 == 0 }, 2 * 17 * (47 + 8)},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(t, 200, 24)
			asked := 0
			p := processor(b, refusing(&asked, func(_ *metering.Request, s *metering.Scope, window time.Time) bool {
				return c.about(s, int(window.Sub(begin)/time.Hour))
			}))
			for range 40 { // what is given up for its neighbours has its turn the next time
				if _, err := p.Process(t.Context(), Work{Once: true}); err != nil {
					t.Fatal(err)
				}
				if name == "one window" || name == "one scope" {
					break
				}
			}
			for _, page := range b.pages {
				for i, r := range page.rows {
					if bad := c.about(page.scope, i); bad != (r.state == metering.Failed) {
						t.Fatalf("window %d of %s is in state %d", i, page.scope.ID, r.state)
					}
				}
			}
			if asked > 60*c.most {
				t.Errorf("%d questions", asked)
			}
			if (name == "one window" || name == "one scope") && asked > c.most {
				t.Errorf("%d questions for %s", asked, name)
			}
		})
	}
}

// TestAllRefused has a metric whose query is wrong: that costs a bounded number of questions.
func TestAllRefused(t *testing.T) {
	l := &ledger{leases: leases(1000, 24)}
	asked := 0
	p := processor(l, refusing(&asked, func(*metering.Request, *metering.Scope, time.Time) bool { return true }))
	sum, err := p.Process(t.Context(), Work{Once: true})
	if err != nil || sum.Failed != 24_000 || asked > mostFruitless {
		t.Errorf("error %v, %d failed after %d questions", err, sum.Failed, asked)
	}
	for message := range sum.Errors {
		if !strings.Contains(message, "metric cpu") {
			t.Errorf("%q names no metric", message)
		}
	}
	if p.health.of("s").down() {
		t.Error("the source counts as down")
	}
}

// TestSlowSource has a source that takes a minute to answer nothing: a batch is given up after a few.
func TestSlowSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{leases: leases(1000, 24)}
		p := processor(l, slow(time.Minute, func(context.Context, *metering.Request) (*metering.Collection, error) {
			return nil, fmt.Errorf("no complete answer within 1m0s: %w", metering.ErrTooMuch)
		}))
		began := time.Now()
		sum, err := p.Process(t.Context(), Work{Once: true})
		if took := time.Since(began); err != nil || sum.Failed != 24_000 || took > 6*time.Minute || !p.health.of("s").down() {
			t.Errorf("error %v, %d failed after %s", err, sum.Failed, took)
		}
	})
}
