package jobs

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
)

// rerates reports whether the batch's usage is the one that is stored.
func (b *batch) rerates() bool { return b.task != nil && b.task.Kind == metering.Rerate }

// resets reports whether the batch's windows are only to be made due again.
func (b *batch) resets() bool { return b.task != nil && b.task.Kind == metering.Reset }

// reset returns a batch whose windows lose their charges.
func (p *Processor) reset(ctx context.Context, b *batch) (*attempt, error) {
	before, err := p.charges(ctx, b)
	if err != nil {
		return nil, err
	}
	a := &attempt{Batch: &metering.Batch{Token: b.token, Scopes: b.scopes, Run: b.run, Task: b.task, Before: before}}
	a.settle()
	return a, nil
}

// versions returns as of when a batch is collected and priced: now, unless it is to be as it was.
func (p *Processor) versions(ctx context.Context, b *batch) (versions, error) {
	was := versions{b.config, b.rules}
	if b.task != nil && (b.task.Kind == metering.Recheck || b.task.Kind == metering.Reprocess && b.task.AsItWas) {
		return was, nil
	}
	v, err := latest(ctx, p.Catalog)
	if b.rerates() {
		v.config = was.config
	}
	return v, err
}

// divisible is an error of something in a batch, of which the rest must not suffer.
type divisible struct{ error }

func (d divisible) Unwrap() error { return d.error }

// charges returns what a batch's windows are charged now.
func (p *Processor) charges(ctx context.Context, b *batch) ([]metering.Usage, error) {
	usage, err := p.Archive.Charges(ctx, b.scopes, b.run)
	if err != nil {
		err = fmt.Errorf("the charges can't be read: %w", err)
		if fault.KindOf(err) != fault.Unavailable && ctx.Err() == nil {
			err = divisible{err}
		}
		return nil, err
	}
	own := make(map[int64]*metering.Scope, len(b.scopes))
	for _, s := range b.scopes {
		own[s.Ref] = s
	}
	for i := range usage {
		usage[i].Scope = own[usage[i].Scope.Ref]
	}
	return usage, nil
}

// stored makes usage to be rated of what was charged.
func stored(charges []metering.Usage) []metering.Usage {
	usage := slices.Clone(charges)
	for i := range usage {
		usage[i].Samples = slices.Clone(usage[i].Samples)
	}
	return usage
}

// settle leaves the windows alone in which nothing would change.
func (a *attempt) settle() {
	would := changed(a.Before, a.Usage)
	failed := outcomes(a.Failed)
	maps.DeleteFunc(would, func(w place, _ bool) bool { return failed[w] })
	for _, scope := range a.Scopes {
		for i := range a.Run.Count {
			if w := (place{scope.Ref, i}); !would[w] && !failed[w] {
				a.Unchanged = append(a.Unchanged, metering.Outcome{Scope: scope, Window: i})
			}
		}
	}
	trim(a.Before, would)
	trim(a.Usage, would)
	a.Usage = slices.DeleteFunc(a.Usage, func(u metering.Usage) bool { return len(u.Samples) == 0 })
}

// trial is a batch that is tried ahead.
type trial struct {
	done    chan struct{} // closed when the rest says what has become of it, see Processor.try
	attempt *attempt
	parts   []batch
	err     error
}

// ahead begins to try a batch, while the one before is committed.
func (p *Processor) ahead(ctx context.Context, b batch) *trial {
	t := &trial{done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.attempt, t.parts, t.err = p.try(ctx, b)
	}()
	return t
}

// inRuns splits long leases, of windows that are only priced again, into what is done at once.
func inRuns(leases []metering.Lease) []metering.Lease {
	all := make([]metering.Lease, 0, len(leases))
	for _, l := range leases {
		whole := l.Run
		for from := 0; from < whole.Count; from += metering.MaxLeaseWindows {
			l.Run = period.Run{Begin: whole.Window(from).Begin, Length: whole.Length, Count: min(metering.MaxLeaseWindows, whole.Count-from)}
			all = append(all, l)
		}
	}
	return all
}

// had returns which windows of a batch are charged for what the source calls so: that it has nothing of it any more must not
// make them cheaper, whatever the metric was called then.
func (p *Processor) had(ctx context.Context, b *batch, charges []metering.Usage) (map[string][]bool, error) {
	if len(charges) == 0 {
		return nil, nil
	}
	was, err := p.rater.configuration(ctx, p.Catalog, b.config)
	if err != nil {
		return nil, err
	}
	measured := map[string][]string{} // by name
	for _, m := range was.configuration.Metrics {
		if m.Source == b.source {
			measured[m.Name] = append(measured[m.Name], m.Measured)
		}
	}
	windows := map[string][]bool{}
	for i := range charges {
		for _, name := range measured[charges[i].Metric.Name] {
			if windows[name] == nil {
				windows[name] = make([]bool, b.run.Count)
			}
			for _, s := range charges[i].Samples {
				windows[name][s.Window] = true
			}
		}
	}
	return windows, nil
}
