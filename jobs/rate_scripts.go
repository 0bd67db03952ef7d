package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"ratebook/metering"
	"ratebook/rating"
)

// mostStopped is after how many windows in a row in which a script was stopped the others of a batch are not tried: each may
// take as long as a script may. Which windows come first is left to chance, so that all have their turn.
const mostStopped = 3

// scripting is how scripts run on a batch.
type scripting struct {
	runner  rating.ScriptRunner
	metrics []*metering.Metric // that scripts may add points of
	stored  bool               // the usage is what was charged before
}

// scripting returns how scripts run on a batch with those prices.
func (p *Processor) scripting(b *batch, prices *prices) scripting {
	s := scripting{runner: p.Scripts, stored: b.rerates()}
	if !s.stored {
		s.metrics = prices.metrics(b.source)
	}
	return s
}

// scripted is the windows of a batch in which scripts run, and their usage: they are priced as a whole.
type scripted struct {
	windows []bool // of the run
	frames  map[place]*rating.Frame
}

// scripted returns the windows in which scripts run, without any usage yet; nil if there are none.
func (p *prices) scripted(b *metering.Batch) *scripted {
	windows, any := make([]bool, b.Run.Count), false
	for i := range windows {
		windows[i] = p.engine.Scripts(b.Run.Window(i).Begin) != nil
		any = any || windows[i]
	}
	if !any {
		return nil
	}
	return &scripted{windows, map[place]*rating.Frame{}}
}

// take takes a sample if scripts run in its window.
func (s *scripted) take(series *metering.Series, sample metering.Sample) bool {
	if !s.windows[sample.Window] {
		return false
	}
	at := place{series.Scope.Ref, sample.Window}
	f := s.frames[at]
	if f == nil {
		f = &rating.Frame{Scope: series.Scope}
		s.frames[at] = f
	}
	f.Points = append(f.Points, rating.Point{Series: series, Qty: sample.Qty})
	return true
}

// places returns the windows that have usage, in order.
func (s *scripted) places() []place {
	all := make([]place, 0, len(s.frames))
	for at := range s.frames {
		all = append(all, at)
	}
	slices.SortFunc(all, func(a, b place) int { return cmp.Or(cmp.Compare(a.scope, b.scope), a.window-b.window) })
	return all
}

// runScripts prices the windows in which scripts run, and adds what they leave to the batch's usage.
func (p *prices) runScripts(ctx context.Context, by scripting, b *metering.Batch, s *scripted, found noticed) error {
	failed := outcomes(b.Failed)
	places := s.places()
	places = slices.DeleteFunc(places, func(at place) bool { return failed[at] })
	errs := make([]error, len(places))
	stopped := 0 // in a row
	var last error
	for _, i := range rand.Perm(len(places)) {
		f := s.frames[places[i]]
		w := b.Run.Window(places[i].window)
		f.Begin, f.End, f.Metrics, f.Stored = w.Begin, w.End, by.metrics, by.stored
		if stopped == mostStopped {
			errs[i] = fmt.Errorf("not tried, since a script was stopped in %d other windows in a row: %w", stopped, last)
			continue
		}
		err := p.engine.Price(ctx, by.runner, f)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errs[i] = err; err == nil {
			stopped = 0
			continue
		}
		if e, ok := errors.AsType[*rating.ScriptError](err); ok && e.Stopped {
			stopped, last = stopped+1, err
		}
	}
	left := leftUsage{p: p, b: b, at: map[metering.Fingerprint][]int{}}
	for i := range b.Usage {
		print := b.Usage[i].Fingerprint()
		left.at[print] = append(left.at[print], i)
	}
	for i, at := range places {
		f := s.frames[at]
		if errs[i] != nil {
			b.Failed = append(b.Failed, metering.Outcome{Scope: f.Scope, Window: at.window, Error: errs[i].Error()})
			continue
		}
		left.add(f, at.window, found)
	}
	for i := range b.Usage { // windows with scripts may lie between others
		byWindow := func(x, y metering.Sample) int { return x.Window - y.Window }
		if samples := b.Usage[i].Samples; !slices.IsSortedFunc(samples, byWindow) {
			slices.SortStableFunc(samples, byWindow)
		}
	}
	return nil
}

// leftUsage adds what scripts left to a batch's usage.
type leftUsage struct {
	p  *prices
	b  *metering.Batch
	at map[metering.Fingerprint][]int // usage by series; of equal points of a window each is in another usage
}

func (l *leftUsage) add(f *rating.Frame, window int, found noticed) {
	times := make(map[metering.Fingerprint]int, len(f.Points))
	about := make(map[metering.Fingerprint]*remarks, len(f.Points))
	for i := range f.Points {
		point := &f.Points[i]
		print := point.Series.Fingerprint()
		r := about[print]
		if r == nil {
			r = &remarks{series: point.Series, plan: l.p.engine.Plan(point.Series, print, f.Begin)}
			about[print] = r
		}
		sample := metering.Sample{Window: window, Qty: point.Qty, Price: point.Price}
		if !l.p.keep(l.b, point.Series, l.p.skip(point.Series.Metric), &sample) {
			continue
		}
		found.remark(l.p.engine, r, window, f.Begin, point.Outcome)
		n := times[print]
		times[print]++
		if n == len(l.at[print]) {
			l.at[print] = append(l.at[print], len(l.b.Usage))
			l.b.Usage = append(l.b.Usage, metering.Usage{Series: *point.Series})
		}
		u := &l.b.Usage[l.at[print][n]]
		u.Samples = append(u.Samples, sample)
	}
}

// skip returns which points of a metric are skipped, also of one that scripts have given another unit.
func (p *prices) skip(m *metering.Metric) *metering.Skip {
	if skip, known := p.skips[m]; known {
		return skip
	}
	for o, skip := range p.skips {
		if o.Source == m.Source && o.Name == m.Name && o.Measured == m.Measured {
			return skip
		}
	}
	return nil
}
