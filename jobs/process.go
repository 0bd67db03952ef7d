package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
)

// Processor collects, rates and commits windows. One Processor serves any number of calls, one after the other.
type Processor struct {
	Ledger  Ledger
	Catalog Catalog
	Sources []Source
	Zone    *time.Location // the billing zone
	Holder  string         // who we are, on our leases
	Workers int            // how many batches at a time
	Lease   time.Duration  // how long windows stay ours after we die
	Log     *slog.Logger
	Meter   Meter // may be nil

	rater rater
}

// Meter counts what is processed, for monitoring.
type Meter interface {
	Batch(windows, points int, took time.Duration)
	Failed(windows int)
}

// Work says which windows to process.
type Work struct {
	Until time.Time // unless zero: only windows that begin before
	Only  []string  // unless empty: only scopes with these ids
	// Once tries every open window once, whatever its backoff, and waits for those that other workers have. Else windows are
	// taken as they are due, and those of others are left to them.
	Once bool
}

const (
	batchPoints = 100_000         // about how many points a batch has
	mostPoints  = 2 * batchPoints // from which on it is collected in halves
	firstScopes = 8               // a batch's scopes, before we know how many points they have
	mostScopes  = 1000
	handPoll    = 100 * time.Millisecond // how often to look whether others have finished
)

// Process processes windows until there are none, and sums up what it did. Windows that fail are part of the summary, not
// an error; an error says that the ledger itself can't be worked with.
func (p *Processor) Process(ctx context.Context, work Work, newToken func() int64) (*Summary, error) {
	sum := newSummary()
	request := metering.LeaseRequest{Holder: p.Holder, For: p.Lease, Until: work.Until, Only: work.Only}
	if work.Once {
		request.TriedBefore = newToken()
	}
	size := &batchSize{scopes: firstScopes}
	group, ctx := errgroup.WithContext(ctx)
	for range max(1, p.Workers) {
		group.Go(func() error { return p.work(ctx, request, work.Once, size, sum) })
	}
	err := group.Wait()
	return sum, err
}

// work is one worker: it takes leases until there are none.
func (p *Processor) work(ctx context.Context, request metering.LeaseRequest, wait bool, size *batchSize, sum *Summary) error {
	for {
		request.Scopes = size.get()
		leases, err := p.Ledger.Lease(ctx, request)
		if err != nil {
			return err
		}
		if len(leases) > 0 {
			if err := p.leased(ctx, leases, size, sum); err != nil {
				return err
			}
			continue
		}
		if !wait {
			return nil
		}
		pending, err := p.Ledger.Pending(ctx, request)
		if err != nil || !pending {
			return err
		}
		select { // another worker has the rest; if it dies, its leases end and we take them
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(handPoll):
		}
	}
}

// leased processes leases and gives them back.
func (p *Processor) leased(ctx context.Context, leases []metering.Lease, size *batchSize, sum *Summary) (err error) {
	token := leases[0].Token
	scopes := make([]*metering.Scope, len(leases))
	for i := range leases {
		scopes[i] = leases[i].Scope
	}
	ctx, lost := context.WithCancelCause(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		p.renew(ctx, token, scopes, lost)
	}()
	defer func() {
		lost(nil)
		<-renewed
		free, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if e := p.Ledger.Release(free, token, scopes); err == nil {
			err = e
		}
	}()

	points := 0
	batches := p.batches(leases)
	for i, b := range batches {
		n, err := p.batch(ctx, b, sum)
		points += n
		if fault.KindOf(err) == fault.Conflict || errors.Is(context.Cause(ctx), errLost) {
			p.Log.Warn("a lease was lost; its windows are left to whoever has it now", "error", err)
			for _, b := range batches[i:] {
				sum.lost(len(b.scopes) * b.run.Count)
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
	size.learn(len(leases), points)
	return nil
}

var errLost = errors.New("the lease was lost")

// renew prolongs leases until ctx ends; if they are lost, it ends the work.
func (p *Processor) renew(ctx context.Context, token int64, scopes []*metering.Scope, lost context.CancelCauseFunc) {
	tick := time.NewTicker(p.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		held, err := p.Ledger.Renew(ctx, token, scopes, p.Lease)
		if err == nil && !held {
			lost(errLost)
			return
		}
		if err != nil && ctx.Err() == nil { // the commit decides; perhaps the next attempt comes in time
			p.Log.Warn("leases could not be renewed", "error", err)
		}
	}
}

// batch is scopes of one source with the same run of windows.
type batch struct {
	token    int64
	source   string
	scopes   []*metering.Scope
	run      period.Run
	attempts int
}

// batches groups leases by source and run, and splits groups whose points would not fit.
func (p *Processor) batches(leases []metering.Lease) []batch {
	var all []batch
	slices.SortStableFunc(leases, func(a, b metering.Lease) int {
		return cmp.Or(strings.Compare(a.Scope.Source.Name, b.Scope.Source.Name), a.Run.Begin.Compare(b.Run.Begin), a.Run.Count-b.Run.Count,
			cmp.Compare(a.Run.Length, b.Run.Length))
	})
	points := 0
	for _, l := range leases {
		n := l.Points * l.Run.Count
		if last := len(all) - 1; last >= 0 && all[last].source == l.Scope.Source.Name && all[last].run == l.Run && points+n <= batchPoints {
			all[last].scopes = append(all[last].scopes, l.Scope)
			all[last].attempts = max(all[last].attempts, l.Attempts)
			points += n
			continue
		}
		all = append(all, batch{token: l.Token, source: l.Scope.Source.Name, scopes: []*metering.Scope{l.Scope}, run: l.Run, attempts: l.Attempts})
		points = n
	}
	return all
}

// batch collects, rates and commits; what is too much at once it does in halves. It returns how many points it stored.
func (p *Processor) batch(ctx context.Context, b batch, sum *Summary) (points int, err error) {
	began := time.Now()
	rated, err := p.rated(ctx, b)
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if errors.Is(err, metering.ErrTooMuch) {
		if x, y, ok := b.halves(); ok {
			return p.both(ctx, x, y, sum)
		}
	}
	if errors.Is(err, metering.ErrTooMuch) { // even a single window
		rated, err = b.failed(err), nil
	}
	if err != nil {
		return 0, err
	}
	p.retries(b, rated)
	if err := p.Ledger.Commit(ctx, rated); err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if kind := fault.KindOf(err); kind == fault.Unavailable || kind == fault.Conflict || len(rated.Usage) == 0 {
			return 0, err
		}
		// something in it can't be stored: the rest must not suffer
		if x, y, ok := b.halves(); ok {
			return p.both(ctx, x, y, sum)
		}
		rated = b.failed(fmt.Errorf("it can't be stored: %w", err))
		p.retries(b, rated)
		if err := p.Ledger.Commit(ctx, rated); err != nil {
			return 0, err
		}
	}
	sum.add(rated)
	p.warn(b, rated)
	if p.Meter != nil {
		p.Meter.Batch(len(b.scopes)*b.run.Count-len(rated.Failed), rated.Points(), time.Since(began))
		p.Meter.Failed(len(rated.Failed))
	}
	return rated.Points(), nil
}

// both does two batches, one after the other.
func (p *Processor) both(ctx context.Context, x, y batch, sum *Summary) (points int, err error) {
	n, err := p.batch(ctx, x, sum)
	if err != nil {
		return n, err
	}
	m, err := p.batch(ctx, y, sum)
	return n + m, err
}

// halves splits a batch by scopes, or, with one scope, by windows.
func (b batch) halves() (x, y batch, ok bool) {
	x, y = b, b
	if n := len(b.scopes) / 2; n > 0 {
		x.scopes, y.scopes = b.scopes[:n], b.scopes[n:]
		return x, y, true
	}
	n := b.run.Count / 2
	x.run.Count, y.run.Count = n, b.run.Count-n
	y.run.Begin = b.run.Window(n).Begin
	return x, y, n > 0
}

// failed returns the batch with every window failed for the same reason.
func (b batch) failed(err error) *metering.Batch {
	f := &metering.Batch{Token: b.token, Scopes: b.scopes, Run: b.run}
	for _, scope := range b.scopes {
		for i := range b.run.Count {
			f.Failed = append(f.Failed, metering.Outcome{Scope: scope, Window: i, Error: err.Error()})
		}
	}
	return f
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
		p.Log.Warn("windows failed and will be tried again", "windows", n, "first_scope", f.Scope.ID, "first_window", b.run.Window(f.Window).Begin,
			"error", reason, "retry", f.Retry)
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

// rated collects and rates a batch. What can't be collected is a batch of failed windows; an error is our own database's,
// or wraps metering.ErrTooMuch.
func (p *Processor) rated(ctx context.Context, b batch) (rated *metering.Batch, err error) {
	defer func() {
		if r := recover(); r != nil { // our mistake about this usage, and no reason to end the process
			p.Log.Error("collecting or rating panicked", "panic", r, "stack", string(debug.Stack()))
			rated, err = b.failed(fmt.Errorf("a mistake in Ratebook: %v; the log has its place", r)), nil
		}
	}()
	prices, err := p.rater.current(ctx, p.Catalog, p.Zone)
	if fault.KindOf(err) == fault.Unavailable {
		return nil, err
	}
	if err != nil {
		return b.failed(err), nil
	}
	i := slices.IndexFunc(p.Sources, func(s Source) bool { return s.Name == b.source })
	if i < 0 {
		return b.failed(fmt.Errorf("this process has no source named %q; start it with that source's flags", b.source)), nil
	}
	metrics := prices.metrics(b.source)
	if len(metrics) == 0 {
		return b.failed(fmt.Errorf("no metrics are configured for source %q; import some with `ratebook import metrics FILE`", b.source)), nil
	}
	began := time.Now()
	request := &metering.Request{Scopes: b.scopes, Run: b.run, Metrics: metrics, MaxPoints: mostPoints}
	if len(b.scopes) == 1 && b.run.Count == 1 { // there is no smaller question
		request.MaxPoints = 0
	}
	got, err := p.Sources[i].Collector.Collect(ctx, request)
	if errors.Is(err, metering.ErrTooMuch) || ctx.Err() != nil {
		return nil, err
	}
	if err != nil {
		return b.failed(err), nil
	}
	rated = &metering.Batch{
		Token: b.token, Scopes: b.scopes, Run: b.run, Usage: got.Usage, SourceVersion: got.SourceVersion,
		ConfigVersion: prices.configVersion, RulesVersion: prices.rulesVersion, Took: time.Since(began),
	}
	for _, f := range got.Findings {
		rated.Findings = append(rated.Findings, spread(f, b)...)
	}
	if err := p.absent(ctx, b, got.Absent, rated); err != nil {
		return nil, err
	}
	prices.rate(rated)
	return rated, nil
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
// be lost or late, and is no usage of zero.
func (p *Processor) absent(ctx context.Context, b batch, absences []metering.Absence, rated *metering.Batch) error {
	if len(absences) == 0 {
		return nil
	}
	first, err := p.Catalog.FirstSamples(ctx)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the database does not answer")
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
		since := first[a.Metric.Ref]
		before := !since.IsZero() && since.Before(b.run.Window(a.Window).Begin) || slices.Contains(gone[a.Metric][:a.Window], false)
		if before && !a.Metric.MayBeAbsent {
			missing[a.Window] = append(missing[a.Window], a.Metric.Measured)
		}
	}
	for i, names := range missing {
		slices.Sort(names)
		w := b.run.Window(i)
		for _, scope := range b.scopes {
			rated.Failed = append(rated.Failed, metering.Outcome{Scope: scope, Window: i, Error: fmt.Sprintf("source %s has no samples of %s between %s and %s",
				b.source, strings.Join(slices.Compact(names), ", "), w.Begin.Format(time.RFC3339), w.End.Format(time.RFC3339))})
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
