package jobs

import (
	"context"
	"sync"
	"time"
)

// A source that failed so often in a row, without an answer in between, is down. A single failure says little.
const tripped = 3

// slowest is the longest pause between two looks whether a source is back.
const slowest = 30 * time.Second

// health is how the sources are doing, as far as this process has asked them. It keeps workers from asking a source that is
// down for everything, each of them and each time, and from falling upon it together when it is back:
//
//   - While a source is down, one question at a time goes there, about one window of one scope. If that fails, the rest of its
//     batch fails with the same error without being asked for.
//   - On schedule, while all sources are down, only one scope is leased, at growing intervals of up to half a minute. The windows
//     of others stay due instead of piling up attempts, so that they are taken up as soon as the source is back. Meanwhile
//     workers do what asks no source.
//   - All workers begin with small batches again then, see batchSize. What failed comes back spread over its backoff.
type health struct {
	looking sync.Mutex // held by the worker that looks whether a source is back
	mu      sync.Mutex
	sources map[string]*condition
}

// condition is that of one source.
type condition struct {
	asking chan struct{} // holds one while a source that is down is asked

	mu       sync.Mutex
	failures int       // in a row
	next     time.Time // when to look again, on schedule
}

func (h *health) of(source string) *condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.sources[source]
	if c == nil {
		if h.sources == nil {
			h.sources = map[string]*condition{}
		}
		c = &condition{asking: make(chan struct{}, 1)}
		h.sources[source] = c
	}
	return c
}

func (c *condition) down() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failures >= tripped
}

func (c *condition) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = 0
}

// failed counts a failure; at least says how many it stands for.
func (c *condition) failed(least int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = max(c.failures+1, least)
	c.next = time.Now().Add(min(slowest, time.Second<<min(10, max(0, c.failures-tripped))))
}

// turn waits until nobody else asks the source, if it is down. The caller calls done when it has asked.
func (c *condition) turn(ctx context.Context) (done func(), err error) {
	if !c.down() {
		return func() {}, nil
	}
	select {
	case c.asking <- struct{}{}:
		return func() { <-c.asking }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// down reports whether there is nobody to ask.
func (h *health) down(sources []Source) bool {
	for _, s := range sources {
		if !h.of(s.Name).down() {
			return false
		}
	}
	return len(sources) > 0
}

// look reports whether it is time to look whether a source is back.
func (h *health) look(sources []Source) bool {
	for _, s := range sources {
		c := h.of(s.Name)
		c.mu.Lock()
		is := !time.Now().Before(c.next)
		c.mu.Unlock()
		if is {
			return true
		}
	}
	return false
}

// fruitless counts the questions in a row that a batch got no answer to. Halving a batch ends with an answer, or finds the few
// windows that are to blame; where it does neither, more questions make nothing better.
type fruitless struct {
	questions int
	since     time.Time
	over      error // why nothing more is asked for the batch
}

// It takes some 10 questions to find one scope among 1,000, and 46 more if all of its 24 windows are to blame.
const (
	mostFruitless = 64
	longFruitless = 5 * time.Minute
)

func (f *fruitless) answered() { f.questions, f.since = 0, time.Time{} }

// failed counts a question and reports whether it was the last one for the batch.
func (f *fruitless) failed(began time.Time, err error) bool {
	if f.questions++; f.questions == 1 {
		f.since = began
	}
	if f.questions >= mostFruitless || time.Since(f.since) >= longFruitless {
		f.over = err
	}
	return f.over != nil
}
