package jobs

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
)

// book is a ledger in memory: scopes with windows from begin on, all due, and leases that end.
type book struct {
	t       *testing.T
	mu      sync.Mutex
	pages   []*page
	tokens  int64
	commits int
	most    int // leases at a time, unless zero
	waiting int // scopes of tasks whose windows are not marked yet

	fail func(method string) error // asked before each call
	torn bool                      // commits are carried out, and then they fail with the same
}

// page is a scope's.
type page struct {
	scope *metering.Scope
	task  *metering.Task // that its windows wait for; nil: they are done for the first time
	rows  []row
	token int64
	until time.Time
	turn  int64
}

type row struct {
	state    metering.State
	attempts int
	attempt  int64
	next     time.Time
}

func newBook(t *testing.T, scopes, windows int) *book {
	b := &book{t: t, fail: func(string) error { return nil }}
	for i := range scopes {
		s := &metering.Scope{Ref: int64(i + 1), ID: fmt.Sprint("s", i), Source: metering.Source{Name: "s"}}
		b.pages = append(b.pages, &page{scope: s, rows: make([]row, windows)})
	}
	return b
}

// away makes the book fail for some time from now on.
func (b *book) away(from, to time.Duration, methods ...string) {
	start := time.Now()
	b.fail = func(method string) error {
		since := time.Since(start)
		for _, m := range methods {
			if m == method && since >= from && since < to {
				return fault.New(fault.Unavailable, "the database does not answer")
			}
		}
		return nil
	}
}

func (b *book) LeaseToken(context.Context) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens++
	return b.tokens, b.fail("token")
}

func (r *row) open(q *metering.LeaseRequest) bool {
	if r.state != metering.Due && r.state != metering.Failed {
		return false
	}
	return q.TriedBefore > r.attempt || q.TriedBefore == 0 && !time.Now().Before(r.next)
}

func (b *book) Lease(_ context.Context, q metering.LeaseRequest) (all []metering.Lease, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fail("lease"); err != nil {
		return nil, err
	}
	b.tokens++
	if b.most > 0 {
		q.Scopes = min(q.Scopes, b.most)
	}
	for len(all) < q.Scopes {
		var best *page
		var run period.Run
		for _, p := range b.pages {
			first := -1
			for i := range p.rows {
				if p.rows[i].open(&q) {
					first = i
					break
				}
			}
			if !p.asked(&q) || first < 0 || time.Now().Before(p.until) || best != nil && best.turn <= p.turn {
				continue
			}
			best, run = p, period.Run{Begin: begin.Add(time.Duration(first) * time.Hour), Length: time.Hour}
			for i := first; i < len(p.rows) && run.Count < metering.MaxLeaseWindows && p.rows[i].open(&q); i++ {
				run.Count++
			}
		}
		if best == nil {
			break
		}
		best.token, best.until, best.turn = b.tokens, time.Now().Add(q.For), b.tokens
		first := int(run.Begin.Sub(begin) / time.Hour)
		all = append(all, metering.Lease{Token: b.tokens, Scope: best.scope, Run: run, Attempts: best.rows[first].attempts, Task: best.task})
	}
	return all, nil
}

func (b *book) Renew(_ context.Context, token int64, scopes []*metering.Scope, d time.Duration) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	held := true
	for _, s := range scopes {
		if p := b.pages[s.Ref-1]; p.token == token {
			p.until = time.Now().Add(d)
		} else {
			held = false
		}
	}
	return held, b.fail("renew")
}

func (b *book) Release(_ context.Context, token int64, scopes []*metering.Scope) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fail("release"); err != nil {
		return err
	}
	for _, s := range scopes {
		if p := b.pages[s.Ref-1]; p.token == token {
			p.token, p.until = 0, time.Time{}
		}
	}
	return nil
}

func (b *book) Pending(_ context.Context, q metering.LeaseRequest) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q.Again && b.waiting > 0 {
		return true, b.fail("pending")
	}
	for _, p := range b.pages {
		for i := range p.rows {
			if p.asked(&q) && p.rows[i].open(&q) {
				return true, b.fail("pending")
			}
		}
	}
	return false, b.fail("pending")
}

func (b *book) Commit(_ context.Context, c *metering.Batch) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.fail("commit")
	if err != nil && !b.torn {
		return err
	}
	first := int(c.Run.Begin.Sub(begin) / time.Hour)
	for _, s := range c.Scopes {
		p := b.pages[s.Ref-1]
		if p.token != c.Token {
			return fault.New(fault.Conflict, "the lease was lost")
		}
		for i := range c.Run.Count {
			r := &p.rows[first+i]
			if r.state == metering.Done {
				b.t.Errorf("window %d of %s was done twice", first+i, s.ID)
			}
			r.state, r.attempts, r.attempt = metering.Done, r.attempts+1, c.Token
		}
	}
	for _, f := range c.Failed {
		r := &b.pages[f.Scope.Ref-1].rows[first+f.Window]
		r.state, r.next = metering.Failed, f.Retry
	}
	b.commits++
	return err
}

// count returns how many windows are in a state, of those that are done for the first time.
func (b *book) count(state metering.State) int { return b.countOf(nil, state) }

// countOf returns how many windows of a task are in a state.
func (b *book) countOf(task *metering.Task, state metering.State) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.pages {
		for i := range p.rows {
			if p.task == task && p.rows[i].state == state {
				n++
			}
		}
	}
	return n
}

// again adds scopes with windows that wait for a task.
func (b *book) again(task *metering.Task, scopes, windows int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range scopes {
		n := len(b.pages)
		s := &metering.Scope{Ref: int64(n + 1), ID: fmt.Sprint("s", n), Source: metering.Source{Name: "s"}}
		b.pages = append(b.pages, &page{scope: s, task: task, rows: make([]row, windows)})
	}
}

// asked reports whether a request is about what the page's windows wait for.
func (p *page) asked(q *metering.LeaseRequest) bool {
	if p.task == nil {
		return !q.Again
	}
	rerates := p.task.Kind == metering.Rerate
	return q.Again && (rerates || !q.Rerates) && (!rerates || !q.Collects)
}
