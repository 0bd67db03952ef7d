package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/rating"
)

// Processor collects, rates and commits windows, for the first time and again. It serves any number of calls at once.
type Processor struct {
	Ledger   Ledger
	Catalog  Catalog
	Tasks    Tasks
	Archive  Archive
	Sources  []Source
	Zone     *time.Location      // the billing zone
	Holder   string              // who we are, on our leases
	Workers  int                 // how many batches at a time
	Lease    time.Duration       // how long windows stay ours after we die
	Recheck  time.Duration       // how long after its end a window is checked for late usage; 0: never
	Patience time.Duration       // how long dry runs and Work.Once go on trying while the database does not answer
	Scripts  rating.ScriptRunner // nil: windows in which scripts run fail
	Log      *slog.Logger
	Meter    Meter // may be nil

	rater  rater
	health health
}

// Meter is told what happens, for monitoring.
type Meter interface {
	Committed(b *metering.Batch, took time.Duration)
	SourceFailed(source string)
	DatabaseFailed()
}

// Meters tells each of several.
type Meters []Meter

// Committed is told of a batch that was committed, took after its collection began.
func (all Meters) Committed(b *metering.Batch, took time.Duration) {
	for _, m := range all {
		m.Committed(b, took)
	}
}

// SourceFailed is told of a question that a source has not answered.
func (all Meters) SourceFailed(source string) {
	for _, m := range all {
		m.SourceFailed(source)
	}
}

// DatabaseFailed is told that the database has interrupted the work.
func (all Meters) DatabaseFailed() {
	for _, m := range all {
		m.DatabaseFailed()
	}
}

func (p *Processor) meter() Meter {
	if p.Meter == nil {
		return Meters(nil)
	}
	return p.Meter
}

// Work says which windows to process.
type Work struct {
	Until time.Time // unless zero: only windows that begin before
	Only  []string  // unless empty: only scopes with these ids
	// Once tries every open window once, whatever its backoff, and waits for those that other workers have, and for the database
	// while it is away. Else windows are taken as they are due, and those of others are left to them.
	Once bool
}

const (
	batchPoints = 100_000         // about how many points a batch has
	mostPoints  = 2 * batchPoints // from which on it is collected in halves
	firstScopes = 8               // a batch's scopes, before we know how many points they have
	mostScopes  = 1000
	handPoll    = 100 * time.Millisecond // how often to look whether others have finished

	advanceEvery = 5 * time.Second        // how often tasks go on while workers have work
	advanceIdle  = 500 * time.Millisecond // and while they have none

	firstPause   = time.Second // before asking a database again that does not answer
	longestPause = 8 * time.Second
)

// round is what the workers of one call share.
type round struct {
	request metering.LeaseRequest
	once    bool
	size    *batchSize
	sum     *Summary
	tasks   advancing
	back    atomic.Bool // a source is back, so that all workers have work again
}

// advancing is how tasks go on while workers work.
type advancing struct {
	mu   sync.Mutex
	busy bool // a worker lets them
	last time.Time
	err  error // why they can't, if it is not that the database is away
}

// begin reports whether it is time to let tasks go on, and nobody does.
func (a *advancing) begin(every time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy || a.err != nil || time.Since(a.last) < every {
		return false
	}
	a.busy = true
	return true
}

func (a *advancing) end(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy, a.last, a.err = false, time.Now(), err
}

// advance lets tasks go on, unless another worker does or did shortly before. If they can't, windows that are due must not
// suffer from it: the error is kept for the end.
func (p *Processor) advance(ctx context.Context, r *round, every time.Duration) error {
	if !r.tasks.begin(every) {
		return nil
	}
	err := p.Tasks.AdvanceTasks(ctx)
	if err != nil && fault.KindOf(err) != fault.Unavailable && ctx.Err() == nil {
		p.meter().DatabaseFailed()
		r.tasks.end(err)
		return nil
	}
	r.tasks.end(nil)
	return err
}

// failed returns why tasks can't go on.
func (a *advancing) failed() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// Process processes windows until there are none, those that were never done first, and sums up what it did. Windows that
// fail are part of the summary, not an error; an error says that the ledger itself can't be worked with.
func (p *Processor) Process(ctx context.Context, work Work) (*Summary, error) {
	r := &round{
		request: metering.LeaseRequest{Holder: p.Holder, For: p.Lease, Until: work.Until, Only: work.Only},
		once:    work.Once, size: &batchSize{scopes: firstScopes}, sum: newSummary(),
	}
	if work.Once {
		err := p.patiently(ctx, r.once, func() (err error) {
			r.request.TriedBefore, err = p.Ledger.LeaseToken(ctx)
			return err
		})
		if err != nil {
			return r.sum, err
		}
	}
	advance := func() error { return p.advance(ctx, r, 0) }
	if err := p.patiently(ctx, r.once, advance); err != nil {
		return r.sum, err
	}
	for again := true; again; again = r.back.Swap(false) {
		group, gctx := errgroup.WithContext(ctx)
		for range max(1, p.Workers) {
			group.Go(func() error { return p.work(gctx, r) })
		}
		if err := group.Wait(); err != nil {
			return r.sum, err
		}
	}
	if err := p.patiently(ctx, r.once, advance); err != nil { // tasks that have nothing left are finished
		return r.sum, err
	}
	return r.sum, r.tasks.failed()
}

// Patiently does something with the database, and goes on trying for as long as Patience says while that does not answer.
func (p *Processor) Patiently(ctx context.Context, do func() error) error {
	return p.patiently(ctx, true, do)
}

// patiently does something with the database. With wait it goes on trying for a while when the database does not answer: it
// may be restarting, and nobody should have to start us again for that. What a commit that was cut off has achieved, the ledger
// knows: windows that are done are not leased again.
func (p *Processor) patiently(ctx context.Context, wait bool, do func() error) error {
	began := time.Time{}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		tried := time.Now()
		err := do()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if fault.KindOf(err) != fault.Conflict {
			p.meter().DatabaseFailed()
		}
		if began.IsZero() {
			began = tried
		}
		if !wait || fault.KindOf(err) != fault.Unavailable || time.Since(began)+pause > p.Patience {
			return err
		}
		p.Log.Warn("the database does not answer and is tried again", "error", err, "in", pause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// look tries one scope if the sources are down and it is time to see whether one is back; see health. It reports whether
// there was something to ask about.
func (p *Processor) look(ctx context.Context, r *round) (looked bool, err error) {
	if !p.health.looking.TryLock() {
		return false, nil
	}
	defer p.health.looking.Unlock()
	if !p.health.look(p.Sources) {
		return false, nil
	}
	request := r.request
	request.Scopes = 1
	if looked, err = p.take(ctx, r, request); !looked && err == nil {
		request.Again, request.Collects = true, true
		looked, err = p.take(ctx, r, request)
	}
	if looked && !p.health.down(p.Sources) {
		r.size.reset()
		r.back.Store(true)
	}
	return looked, err
}

// work is one worker: it takes leases until there are none, or until all workers are to begin anew.
func (p *Processor) work(ctx context.Context, r *round) error {
	for more := true; more && !r.back.Load(); {
		err := p.patiently(ctx, r.once, func() (err error) {
			more, err = p.turn(ctx, r)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// turn takes leases once, and reports whether there may be more.
func (p *Processor) turn(ctx context.Context, r *round) (more bool, err error) {
	if err := p.advance(ctx, r, advanceEvery); err != nil {
		return false, err
	}
	request := r.request
	request.Scopes = r.size.get()
	if !r.once && p.health.down(p.Sources) {
		if looked, err := p.look(ctx, r); looked || err != nil {
			return true, err
		}
		request.Again, request.Rerates = true, true
		return p.take(ctx, r, request)
	}
	for _, request.Again = range [...]bool{false, true} {
		if took, err := p.take(ctx, r, request); took || err != nil {
			return true, err
		}
	}
	if !r.once {
		return false, nil
	}
	if err := p.advance(ctx, r, advanceIdle); err != nil {
		return false, err
	}
	for _, again := range [...]bool{false, true} {
		if again && r.tasks.failed() != nil { // they would be pending for ever
			break
		}
		request := r.request
		request.Again = again
		pending, err := p.Ledger.Pending(ctx, request)
		if err != nil {
			return false, err
		}
		if !pending {
			continue
		}
		select { // another worker has the rest; if it dies, its leases end and we take them
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(handPoll):
			return true, nil
		}
	}
	return false, nil
}

// take leases what is asked for and processes it; it reports whether there was anything.
func (p *Processor) take(ctx context.Context, r *round, request metering.LeaseRequest) (took bool, err error) {
	leases, err := p.Ledger.Lease(ctx, request)
	if err != nil || len(leases) == 0 {
		return false, err
	}
	return true, p.leased(ctx, leases, r)
}

// leased processes leases and gives them back.
func (p *Processor) leased(ctx context.Context, leases []metering.Lease, r *round) (err error) {
	token := leases[0].Token
	scopes := make([]*metering.Scope, len(leases))
	for i := range leases {
		scopes[i] = leases[i].Scope
	}
	ctx, renewed := p.renewing(ctx, p.Lease/3, func(ctx context.Context) (held bool, err error) {
		return p.Ledger.Renew(ctx, token, scopes, p.Lease)
	})
	var going *trial // that has begun last
	defer func() {
		renewed()
		if going != nil {
			<-going.done
		}
		free, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if e := p.Ledger.Release(free, token, scopes); err == nil {
			err = e
		}
	}()

	done, points := 0, 0
	batches := p.batches(leases)
	for i := range batches {
		if next := i + 1; next < len(batches) && batches[next].rerates() {
			batches[next].ahead = p.ahead(ctx, batches[next])
			going = batches[next].ahead
		}
		b := batches[i]
		d, n, err := p.batch(ctx, b, r.sum)
		done, points = done+d, points+n
		if fault.KindOf(err) == fault.Conflict || errors.Is(context.Cause(ctx), errLost) {
			p.Log.Warn("windows could not be stored, or not all of them: they are another worker's now, or done, or not to be done any more", append(b.attrs(), "error", err)...)
			for _, b := range batches[i:] {
				r.sum.lost(b.windows())
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
	if done == 0 { // it says nothing about how large batches are, and the source may be in trouble
		r.size.reset()
		return nil
	}
	r.size.learn(len(leases), points)
	return nil
}

var errLost = errors.New("the lease was lost")

// renewing renews what is leased, again and again, until done is called. If it is lost, the context ends with errLost.
func (p *Processor) renewing(ctx context.Context, every time.Duration, renew func(context.Context) (held bool, err error)) (held context.Context, done func()) {
	held, lost := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.renew(held, every, renew, lost)
	}()
	return held, func() {
		lost(nil)
		<-ended
	}
}

func (p *Processor) renew(ctx context.Context, every time.Duration, renew func(context.Context) (held bool, err error), lost context.CancelCauseFunc) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		held, err := renew(ctx)
		if err == nil && !held {
			lost(errLost)
			return
		}
		if err != nil && ctx.Err() == nil { // the commit decides; perhaps the next attempt comes in time
			p.Log.Warn("leases could not be renewed", "error", err)
		}
	}
}

// batch is scopes of one source with the same run of windows, to be done alike.
type batch struct {
	token         int64
	source        string
	scopes        []*metering.Scope
	run           period.Run
	attempts      int
	task          *metering.Task // nil: for the first time
	config, rules int64          // versions as of the last time
	accepted      bool           // metrics without any sample are no failure
	tries         *fruitless     // of everything that was one batch
	ahead         *trial         // unless nil: it is being tried already
}

// alike orders leases so that those that can be one batch are together; it is 0 for these.
func alike(a, b *metering.Lease) int {
	task := func(l *metering.Lease) int64 {
		if l.Task == nil {
			return -1
		}
		return l.Task.ID
	}
	accepted := func(l *metering.Lease) int {
		if l.Accepted {
			return 1
		}
		return 0
	}
	return cmp.Or(strings.Compare(a.Scope.Source.Name, b.Scope.Source.Name), strings.Compare(a.Scope.Source.ScopeKey, b.Scope.Source.ScopeKey), a.Run.Begin.Compare(b.Run.Begin), a.Run.Count-b.Run.Count,
		cmp.Compare(a.Run.Length, b.Run.Length), cmp.Compare(task(a), task(b)), cmp.Compare(a.Config, b.Config), cmp.Compare(a.Rules, b.Rules),
		accepted(a)-accepted(b))
}

// batches groups leases of which the same is to be done, and splits groups whose points would not fit.
func (p *Processor) batches(leases []metering.Lease) []batch {
	var all []batch
	leases = inRuns(leases)
	slices.SortStableFunc(leases, func(a, b metering.Lease) int { return alike(&a, &b) })
	points := 0
	for i := range leases {
		l := &leases[i]
		n := l.Points * l.Run.Count
		if i > 0 && alike(&leases[i-1], l) == 0 && points+n <= batchPoints {
			last := &all[len(all)-1]
			last.scopes = append(last.scopes, l.Scope)
			last.attempts = max(last.attempts, l.Attempts)
			points += n
			continue
		}
		all = append(all, batch{
			token: l.Token, source: l.Scope.Source.Name, scopes: []*metering.Scope{l.Scope}, run: l.Run, attempts: l.Attempts,
			task: l.Task, config: l.Config, rules: l.Rules, accepted: l.Accepted, tries: new(fruitless),
		})
		points = n
	}
	return all
}

func (b *batch) windows() int { return len(b.scopes) * b.run.Count }

// attrs tells in the log what a batch is about: its first scope and window.
func (b *batch) attrs() []any {
	attrs := []any{"windows", b.windows(), "scope", b.scopes[0].ID, "window", b.run.Begin}
	if b.task != nil {
		attrs = append(attrs, "task", b.task.ID)
	}
	return attrs
}

// batch collects, rates and commits; what is too much at once, or can't be told from what is to blame, it does in halves. It
// returns how many windows did not fail, and how many points were dealt with.
func (p *Processor) batch(ctx context.Context, b batch, sum *Summary) (done, points int, err error) {
	began := time.Now()
	a, parts, err := p.tried(ctx, &b)
	if err != nil {
		return 0, 0, err
	}
	if parts != nil {
		return p.parts(ctx, parts, sum)
	}
	p.retries(b, a.Batch)
	if err := p.Ledger.Commit(ctx, a.Batch); err != nil {
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		kind := fault.KindOf(err)
		if kind == fault.Unavailable {
			p.Log.Warn("a commit was cut off; what was stored of it is done and not counted, the rest is done again", append(b.attrs(), "error", err)...)
			sum.cutOff(b.windows())
		}
		if kind == fault.Unavailable || kind == fault.Conflict || len(a.Usage) == 0 && len(a.Unchanged) == 0 {
			return 0, 0, err
		}
		// something in it can't be stored: the rest must not suffer
		if x, y, ok := b.halves(); ok {
			return p.parts(ctx, []batch{x, y}, sum)
		}
		a = b.failed(fmt.Errorf("it can't be stored: %w", err))
		p.retries(b, a.Batch)
		if err := p.Ledger.Commit(ctx, a.Batch); err != nil {
			return 0, 0, err
		}
	}
	sum.add(a.Batch)
	p.warn(b, a.Batch)
	p.Log.Debug("a batch was committed", b.attrs()...)
	p.meter().Committed(a.Batch, time.Since(began))
	return b.windows() - len(outcomes(a.Failed)), a.points, nil
}

// tried returns what try does, as soon as it has, if it was asked ahead.
func (p *Processor) tried(ctx context.Context, b *batch) (*attempt, []batch, error) {
	if b.ahead == nil {
		return p.try(ctx, *b)
	}
	t := b.ahead
	b.ahead = nil
	<-t.done
	return t.attempt, t.parts, t.err
}

// parts does some batches, one after the other.
func (p *Processor) parts(ctx context.Context, parts []batch, sum *Summary) (done, points int, err error) {
	for _, b := range parts {
		d, n, err := p.batch(ctx, b, sum)
		done, points = done+d, points+n
		if err != nil {
			return done, points, err
		}
	}
	return done, points, nil
}

// halves splits a batch by scopes, or, with one scope, by windows. Which half comes first is left to chance: where a batch is
// given up for what comes first, the rest has its turn another time.
func (b batch) halves() (x, y batch, ok bool) {
	x, y = b, b
	n := len(b.scopes) / 2
	if n > 0 {
		x.scopes, y.scopes = b.scopes[:n], b.scopes[n:]
	} else {
		n = b.run.Count / 2
		x.run.Count, y.run.Count = n, b.run.Count-n
		y.run.Begin = b.run.Window(n).Begin
	}
	if rand.IntN(2) == 0 {
		x, y = y, x
	}
	return x, y, n > 0
}

// first splits off the smallest question: a batch's first window of its first scope.
func (b batch) first() []batch {
	x := b
	x.scopes, x.run.Count = b.scopes[:1], 1
	parts := []batch{x}
	if b.run.Count > 1 {
		x.run = period.Run{Begin: b.run.Window(1).Begin, Length: b.run.Length, Count: b.run.Count - 1}
		parts = append(parts, x)
	}
	if len(b.scopes) > 1 {
		b.scopes = b.scopes[1:]
		parts = append(parts, b)
	}
	return parts
}

// failed returns the batch with every window failed for the same reason.
func (b batch) failed(err error) *attempt {
	f := &metering.Batch{Token: b.token, Scopes: b.scopes, Run: b.run, Task: b.task}
	for _, scope := range b.scopes {
		for i := range b.run.Count {
			f.Failed = append(f.Failed, metering.Outcome{Scope: scope, Window: i, Error: err.Error()})
		}
	}
	return &attempt{Batch: f}
}

// outcomes returns the windows that outcomes are of, each once.
func outcomes(all []metering.Outcome) map[place]bool {
	windows := map[place]bool{}
	for _, f := range all {
		windows[place{f.Scope.Ref, f.Window}] = true
	}
	return windows
}

// warn logs what failed, a line for each different reason.
func (p *Processor) warn(b batch, rated *metering.Batch) {
	windows, first := map[string]int{}, map[string]metering.Outcome{}
	for _, f := range rated.Failed {
		if windows[f.Error]++; windows[f.Error] == 1 {
			first[f.Error] = f
		}
	}
	for reason, n := range windows {
		f := first[reason]
		attrs := []any{"windows", n, "scope", f.Scope.ID, "window", b.run.Window(f.Window).Begin, "error", reason, "retry", f.Retry}
		if b.task != nil {
			attrs = append(attrs, "task", b.task.ID)
		}
		p.Log.Warn("windows failed and will be tried again", attrs...)
	}
}

// retries says when the failed windows are tried again. One moment for all windows of a scope keeps them together.
func (p *Processor) retries(b batch, rated *metering.Batch) {
	now := time.Now()
	at := map[*metering.Scope]time.Time{}
	for i := range rated.Failed {
		f := &rated.Failed[i]
		if at[f.Scope].IsZero() {
			at[f.Scope] = now.Add(metering.Retry(b.attempts + 1))
		}
		f.Retry = at[f.Scope]
	}
}

// attempt is what became of a batch, to be committed or only looked at.
type attempt struct {
	*metering.Batch
	points     int     // that were dealt with
	prices     *prices // nil if it did not come to that
	unanswered error   // if it failed because the source did not answer
}

// try collects and rates a batch, or says in which parts to do that. What can't be collected is failed windows; an error is
// our own database's.
func (p *Processor) try(ctx context.Context, b batch) (a *attempt, parts []batch, err error) {
	if b.tries.over != nil {
		return b.failed(b.tries.over), nil, nil
	}
	source := p.health.of(b.source)
	wasDown := source.down() && !b.rerates() && !b.resets()
	if wasDown && b.windows() > 1 {
		return nil, b.first(), nil
	}
	began := time.Now()
	a, err = p.rated(ctx, b)
	switch part, isPart := errors.AsType[divisible](err); {
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case err == nil:
		if a.unanswered == nil {
			b.tries.answered()
		} else if source.down() {
			b.tries.over = a.unanswered
		}
		return a, nil, nil
	case !isPart:
		return nil, nil, err
	case b.tries.failed(began, part) || wasDown && source.down():
		b.tries.over = part
		if errors.Is(err, metering.ErrTooMuch) { // whatever is asked
			source.failed(tripped)
		}
	default:
		if x, y, ok := b.halves(); ok {
			return nil, []batch{x, y}, nil
		}
	}
	a = b.failed(err)
	if errors.Is(err, metering.ErrTooMuch) {
		p.meter().SourceFailed(b.source)
		if source.down() {
			a.unanswered = err
		}
	}
	return a, nil, nil
}

// rated collects and rates a batch. An error is our own database's, or divisible: the parts of the batch may do better.
func (p *Processor) rated(ctx context.Context, b batch) (a *attempt, err error) {
	defer func() {
		if r := recover(); r != nil { // our mistake about this usage, and no reason to end the process
			p.Log.Error("collecting or rating panicked", append(b.attrs(), "panic", r, "stack", string(debug.Stack()))...)
			a, err = nil, divisible{fmt.Errorf("a mistake in Ratebook: %v; the log has its place", r)}
		}
	}()
	if b.resets() {
		return p.reset(ctx, &b)
	}
	v, err := p.versions(ctx, &b)
	if err != nil {
		return nil, err
	}
	need := v
	if b.rerates() { // what was collected is there
		need.config = 0
	}
	prices, err := p.rater.asOf(ctx, p.Catalog, p.Zone, need)
	if fault.KindOf(err) == fault.Unavailable {
		return nil, err
	}
	if err != nil {
		return b.failed(err), nil
	}
	a = &attempt{prices: prices, Batch: &metering.Batch{
		Token: b.token, Scopes: b.scopes, Run: b.run, ConfigVersion: v.config, RulesVersion: v.rules, Task: b.task,
	}}
	if b.task == nil || b.task.Kind != metering.Recheck {
		a.Recheck = p.Recheck
	}
	if b.task != nil {
		if a.Before, err = p.charges(ctx, &b); err != nil {
			return nil, err
		}
	}
	if b.rerates() {
		a.Usage = stored(a.Before)
	} else if failed, err := p.collect(ctx, &b, a); err != nil || failed != nil {
		return failed, err
	}
	a.points = a.Points()
	if err := prices.rate(ctx, p.scripting(&b, prices), a.Batch); err != nil {
		return nil, err
	}
	if b.task != nil {
		a.settle()
	}
	return a, nil
}

// collect adds the usage that the source knows. If it knows none, failed says why.
func (p *Processor) collect(ctx context.Context, b *batch, a *attempt) (failed *attempt, err error) {
	i := slices.IndexFunc(p.Sources, func(s Source) bool { return s.Name == b.source })
	if i < 0 {
		return b.failed(fmt.Errorf("this process has no source named %q; start it with that source's flags", b.source)), nil
	}
	metrics := a.prices.metrics(b.source)
	if len(metrics) == 0 {
		return b.failed(fmt.Errorf("no metrics are configured for source %q; import some with `ratebook import metrics FILE`", b.source)), nil
	}
	request := &metering.Request{Scopes: b.scopes, Run: b.run, Metrics: metrics, MaxPoints: mostPoints}
	if len(b.scopes) == 1 && b.run.Count == 1 { // there is no smaller question
		request.MaxPoints = 0
	}
	source := p.health.of(b.source)
	done, err := source.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	began := time.Now()
	got, err := p.Sources[i].Collector.Collect(ctx, request)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, metering.ErrTooMuch):
		return nil, divisible{err}
	case errors.Is(err, metering.ErrQuestion):
		source.answered()
		p.meter().SourceFailed(b.source)
		return nil, divisible{err}
	case err != nil:
		source.failed(1)
		p.meter().SourceFailed(b.source)
		failed = b.failed(err)
		failed.unanswered = err
		return failed, nil
	}
	source.answered()
	a.Usage, a.SourceVersion, a.Took = got.Usage, got.SourceVersion, time.Since(began)
	for _, f := range got.Findings {
		a.Findings = append(a.Findings, spread(f, *b)...)
	}
	return nil, p.absent(ctx, b, got.Absent, a)
}

// spread makes findings that concern all scopes or all windows of a batch concern each.
func spread(f metering.Finding, b batch) (all []metering.Finding) {
	scopes := b.scopes
	if f.Scope != nil {
		scopes = []*metering.Scope{f.Scope}
	}
	for _, scope := range scopes {
		f.Scope = scope
		if f.Window >= 0 {
			all = append(all, f)
			continue
		}
		for i := range b.run.Count {
			g := f
			g.Window = i
			all = append(all, g)
		}
	}
	return all
}

// absent fails the windows in which the source has no sample at all of a metric that it had before: what is not there may
// be lost or late, and is no usage of zero. Where an operator has accepted that, it is, but for a metric that is charged there.
func (p *Processor) absent(ctx context.Context, b *batch, absences []metering.Absence, rated *attempt) error {
	if len(absences) == 0 {
		return nil
	}
	first, err := p.Catalog.FirstSamples(ctx)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the database does not answer")
	}
	charged, err := p.had(ctx, b, rated.Before)
	if err != nil {
		return err
	}
	gone := map[*metering.Metric][]bool{} // by window
	for _, a := range absences {
		if gone[a.Metric] == nil {
			gone[a.Metric] = make([]bool, b.run.Count)
		}
		gone[a.Metric][a.Window] = true
	}
	missing := map[int][]string{} // metrics by window
	for _, a := range absences {
		since, had := first[a.Metric.Ref], charged[a.Metric.Measured]
		before := !b.accepted && (!since.IsZero() && since.Before(b.run.Window(a.Window).Begin) || slices.Contains(gone[a.Metric][:a.Window], false))
		if (before || had != nil && had[a.Window]) && !a.Metric.MayBeAbsent {
			missing[a.Window] = append(missing[a.Window], a.Metric.Measured)
		}
	}
	for i, names := range missing {
		slices.Sort(names)
		w := b.run.Window(i)
		for _, scope := range b.scopes {
			rated.Failed = append(rated.Failed, metering.Outcome{Scope: scope, Window: i, Error: fmt.Sprintf("source %s%s%s between %s and %s",
				b.source, metering.LacksSamples, strings.Join(slices.Compact(names), ", "), w.Begin.Format(time.RFC3339), w.End.Format(time.RFC3339))})
		}
	}
	slices.SortFunc(rated.Failed, func(x, y metering.Outcome) int {
		return cmp.Or(cmp.Compare(x.Scope.Ref, y.Scope.Ref), x.Window-y.Window)
	})
	return nil
}

// batchSize learns how many scopes make a batch of the right size; workers share it.
type batchSize struct {
	mu     sync.Mutex
	scopes int
}

func (s *batchSize) get() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scopes
}

// reset begins small again.
func (s *batchSize) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scopes = firstScopes
}

// learn takes the points of some leases into account.
func (s *batchSize) learn(leases, points int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := mostScopes
	if points > 0 {
		want = min(mostScopes, max(1, batchPoints*leases/points))
	}
	s.scopes = min(want, 4*max(leases, firstScopes)) // grow step by step: a few small scopes say little of the others
}
