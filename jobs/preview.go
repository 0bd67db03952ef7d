package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/rating"
)

// previewLease is how long a part of a dry run is ours, unless we renew that: others wait so long when we die.
const previewLease = time.Minute

// previewTries is how often a question of a dry run is asked that gets no answer, as long as the source is not down.
const previewTries = 4

// mostLosses is how many losses with attributes of their own a dry run lists in one go. The others of a metric are summed up.
const mostLosses = 2000

// Previews computes the dry runs that tasks wait for, until there are none, or only those that others compute or that have to
// wait for a source.
func (p *Processor) Previews(ctx context.Context) error { return p.Preview(ctx, 0) }

// Preview is Previews of one task.
func (p *Processor) Preview(ctx context.Context, task int64) error {
	for unanswered := false; ; {
		request := metering.PreviewRequest{For: previewLease, Task: task}
		if !unanswered && (!p.health.down(p.Sources) || p.health.look(p.Sources)) {
			for _, s := range p.Sources {
				request.Sources = append(request.Sources, s.Name)
			}
		}
		part, err := p.Tasks.NextPreview(ctx, request)
		if err != nil || part == nil {
			return err
		}
		result, err := p.part(ctx, part)
		if err == nil {
			err = p.patiently(ctx, true, func() error { return p.Tasks.SavePreview(ctx, part, result) })
		}
		if fault.KindOf(err) == fault.Conflict {
			p.Log.Info("a part of a dry run is of no use any more", "task", part.Task.ID, "error", err)
			return nil
		}
		if err != nil {
			return err
		}
		if result.Waits != "" {
			p.Log.Warn("a dry run waits for a source", "task", part.Task.ID, "error", result.Waits)
			unanswered = true
		}
	}
}

// part computes a part of a dry run. If that is not ours any more, the error is a Conflict.
func (p *Processor) part(ctx context.Context, part *metering.Preview) (result *metering.PreviewResult, err error) {
	held, done := p.renewing(ctx, previewLease/3, func(ctx context.Context) (bool, error) {
		return p.Tasks.RenewPreview(ctx, part, previewLease)
	})
	defer done()
	err = p.patiently(held, true, func() (err error) {
		result, err = p.DryRun(held, part.Task, part.Leases)
		return err
	})
	if errors.Is(context.Cause(held), errLost) {
		return nil, fault.Wrap(fault.Conflict, errLost, "task %d was cancelled, or is previewed by another process", part.Task.ID)
	}
	return result, err
}

// DryRun computes what a task would change in the windows of leases, which need not be anybody's, and changes nothing. Windows
// that can't be done are counted; a source that does not answer has everything wait. An error is our own database's.
func (p *Processor) DryRun(ctx context.Context, task *metering.Task, leases []metering.Lease) (*metering.PreviewResult, error) {
	leases = slices.Clone(leases)
	for i := range leases {
		leases[i].Task = task
	}
	would := changes{differences: map[difference]*metering.TaskDifference{}, losses: map[loss]*metering.LostPrice{}}
	for _, b := range p.batches(leases) {
		if waits, err := p.preview(ctx, b, &would); err != nil || waits != "" {
			return &metering.PreviewResult{Waits: waits}, err
		}
	}
	return would.result(), nil
}

// preview adds what doing a batch would change, and returns for what it has to wait, if it has to.
func (p *Processor) preview(ctx context.Context, b batch, would *changes) (waits string, err error) {
	a, parts, err := p.try(ctx, b)
	for i := 1; err == nil && a != nil && a.unanswered != nil; i++ {
		if i == previewTries || p.health.of(b.source).down() {
			return a.unanswered.Error(), nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(time.Duration(i) * firstPause):
		}
		b.tries = new(fruitless)
		a, parts, err = p.try(ctx, b)
	}
	if err != nil {
		return "", err
	}
	for _, part := range parts {
		if waits, err := p.preview(ctx, part, would); err != nil || waits != "" {
			return waits, err
		}
	}
	if parts == nil {
		would.add(a)
	}
	return "", nil
}

// changes sums up what would change.
type changes struct {
	differences map[difference]*metering.TaskDifference
	losses      map[loss]*metering.LostPrice
	missing     int    // windows that can't be done
	because     string // the first of them, and why
}

type difference struct {
	scope  int64 // Scope.Ref
	metric string
}

type loss struct {
	difference
	reason metering.LossReason
	detail string
}

func (c *changes) of(s *metering.Series) *metering.TaskDifference {
	key := difference{s.Scope.Ref, s.Metric.Name}
	d := c.differences[key]
	if d == nil {
		d = &metering.TaskDifference{Scope: s.Scope, Metric: s.Metric.Name}
		c.differences[key] = d
	}
	return d
}

// add counts a batch.
func (c *changes) add(a *attempt) {
	if len(a.Failed) > 0 && c.missing == 0 {
		f := a.Failed[0]
		c.because = fmt.Sprintf("scope %s, window %s: %s", f.Scope.ID, a.Run.Window(f.Window).Begin.Format(time.RFC3339), f.Error)
	}
	c.missing += len(outcomes(a.Failed))
	count := func(usage []metering.Usage, in func(d *metering.TaskDifference) (*int64, *money.Decimal)) {
		for i := range usage {
			if len(usage[i].Samples) == 0 { // it only keeps a place
				continue
			}
			points, amount := in(c.of(&usage[i].Series))
			*points += int64(len(usage[i].Samples))
			for j := range usage[i].Samples {
				amount.Accumulate(&usage[i].Samples[j].Price)
			}
		}
	}
	count(a.Before, func(d *metering.TaskDifference) (*int64, *money.Decimal) { return &d.PointsBefore, &d.Before })
	count(a.Usage, func(d *metering.TaskDifference) (*int64, *money.Decimal) { return &d.PointsAfter, &d.After })
	pairs(a.Before, a.Usage, func(s *metering.Series, window int, old, fresh []metering.Sample) {
		for i := range old {
			switch {
			case old[i].Price.IsZero():
			case i >= len(fresh):
				c.lose(s, metering.LossGone, &old[i].Price)
			case fresh[i].Price.IsZero():
				plan := a.prices.engine.Plan(s, s.Fingerprint(), a.Run.Window(window).Begin)
				if _, outcome := plan.Price(fresh[i].Qty); outcome == rating.Unpriced {
					c.lose(s, metering.LossUnpriced, &old[i].Price)
				}
			}
		}
	})
}

// lose counts a point that would have no price any more.
func (c *changes) lose(s *metering.Series, reason metering.LossReason, price *money.Decimal) {
	d := c.of(s)
	d.LostPoints++
	d.LostAmount.Accumulate(price)

	var looks []rating.Look
	for _, a := range slices.Concat(s.Groupby, s.Metadata) {
		looks = append(looks, rating.Look{Name: a.Name, Value: a.Value})
	}
	key := loss{difference{s.Scope.Ref, s.Metric.Name}, reason, excerpt(rating.LookText(looks))}
	if c.losses[key] == nil && len(c.losses) >= mostLosses {
		key.detail = otherValues
	}
	l := c.losses[key]
	if l == nil {
		l = &metering.LostPrice{Scope: s.Scope, Metric: s.Metric.Name, Reason: reason, Detail: key.detail}
		c.losses[key] = l
	}
	l.Points++
	l.Amount.Accumulate(price)
}

// result returns the changes by scope and metric.
func (c *changes) result() *metering.PreviewResult {
	r := &metering.PreviewResult{Missing: c.missing, Because: c.because}
	for _, d := range c.differences {
		r.Differences = append(r.Differences, *d)
	}
	slices.SortFunc(r.Differences, func(a, b metering.TaskDifference) int {
		return cmp.Or(cmp.Compare(a.Scope.Ref, b.Scope.Ref), strings.Compare(a.Metric, b.Metric))
	})
	for _, l := range c.losses {
		r.Losses = append(r.Losses, *l)
	}
	slices.SortFunc(r.Losses, func(a, b metering.LostPrice) int {
		return cmp.Or(cmp.Compare(a.Scope.Ref, b.Scope.Ref), strings.Compare(a.Metric, b.Metric),
			strings.Compare(string(a.Reason), string(b.Reason)), strings.Compare(a.Detail, b.Detail))
	})
	return r
}
