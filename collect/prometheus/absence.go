package prometheus

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"ratebook/metering"
)

// absent finds out in which of the windows that no scope of the request has samples of a metric, by seen, no other scope
// has any either.
func (c *Collector) absent(ctx context.Context, req *metering.Request, seen map[*metering.Metric][]bool) ([]metering.Absence, error) {
	// Several metrics may be made of one source metric; what a source has of it is asked once.
	asked := make(map[string]*presenceSink)
	for _, m := range req.Metrics {
		if m.MayBeAbsent {
			continue
		}
		for w, s := range seen[m] {
			if s {
				continue
			}
			p := asked[m.Measured]
			if p == nil {
				p = &presenceSink{metric: m, present: make([]bool, req.Run.Count), from: w}
				asked[m.Measured] = p
			}
			p.from, p.to = min(p.from, w), max(p.to, w+1)
		}
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, p := range asked {
		group.Go(func() error { return c.askPresence(gctx, req, p, p.from, p.to) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var absent []metering.Absence
	for _, m := range req.Metrics {
		p := asked[m.Measured]
		if p == nil || m.MayBeAbsent {
			continue
		}
		for w, s := range seen[m] {
			if !s && !p.present[w] {
				absent = append(absent, metering.Absence{Metric: m, Window: w})
			}
		}
	}
	return absent, nil
}

// askPresence asks about the windows [from, to). Fewer scopes would not make this question smaller, so it halves the
// windows itself.
func (c *Collector) askPresence(ctx context.Context, req *metering.Request, p *presenceSink, from, to int) error {
	if c.OneByOne && to-from > 1 {
		return c.askPresenceHalves(ctx, req, p, from, to)
	}
	q := presence(p.metric.Measured, req.Scopes[0].Source.ScopeKey, req.Run.Length)
	p.grid = gridOf(req.Run, from, to-from)
	_, err := c.Client.query(ctx, about(p.metric), q, p.grid, !c.OneByOne, p)
	if to-from > 1 && errors.Is(err, metering.ErrTooMuch) {
		return c.askPresenceHalves(ctx, req, p, from, to)
	}
	return err
}

func (c *Collector) askPresenceHalves(ctx context.Context, req *metering.Request, p *presenceSink, from, to int) error {
	middle := from + (to-from)/2
	if err := c.askPresence(ctx, req, p, from, middle); err != nil {
		return err
	}
	return c.askPresence(ctx, req, p, middle, to)
}

// presenceSink notes the windows in which a query has any value.
type presenceSink struct {
	grid
	metric   *metering.Metric // one of those the source metric is collected for
	from, to int              // the windows [from, to) are to be asked about
	present  []bool           // by index into the run
}

func (p *presenceSink) sample(at int64, _ []byte) error { return p.histogram(at) }

func (p *presenceSink) histogram(at int64) error {
	w, err := p.find(at)
	if err == nil {
		p.present[w] = true
	}
	return err
}

func (p *presenceSink) label(_, _ []byte) error { return nil }
func (p *presenceSink) end() error              { return nil }
