package jobs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/rating"
)

// rater keeps the latest prices compiled.
type rater struct {
	mu   sync.Mutex
	have *prices
}

// prices is what to collect and how to price it, as of one version of each.
type prices struct {
	configVersion, rulesVersion int64

	configuration *metering.Configuration
	skips         map[*metering.Metric]*metering.Skip
	engine        *rating.Engine
}

// current returns the latest prices. An error is Unavailable if the database does not answer.
func (r *rater) current(ctx context.Context, c Catalog, zone *time.Location) (*prices, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	config, rules, err := c.Versions(ctx)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the versions of metrics and rules can't be read")
	}
	if r.have != nil && r.have.configVersion == config && r.have.rulesVersion == rules {
		return r.have, nil
	}
	p := &prices{configVersion: config, rulesVersion: rules, skips: map[*metering.Metric]*metering.Skip{}}
	if p.configuration, err = c.Configuration(ctx, config); err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the metrics can't be read")
	}
	for _, m := range p.configuration.Metrics {
		if p.skips[m], err = metering.CompileSkip(m.Skip); err != nil {
			return nil, fmt.Errorf("metric %s: %w", m.Name, err)
		}
	}
	all, err := c.Rules(ctx, rules)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the rules can't be read")
	}
	if p.engine, err = rating.Compile(all, zone); err != nil {
		return nil, fmt.Errorf("rules version %d: %w", rules, err)
	}
	// what was read, which is later than asked for if nothing had a version yet and something came between
	p.configVersion, p.rulesVersion = p.configuration.Version, all.Version
	r.have = p
	return p, nil
}

// excerpt cuts a detail short: details tell findings apart, and whoever writes the labels decides how long they are.
func excerpt(s string) string {
	const most = 200
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// metrics returns the metrics of a source.
func (p *prices) metrics(source string) (all []*metering.Metric) {
	for _, m := range p.configuration.Metrics {
		if m.Source == source {
			all = append(all, m)
		}
	}
	return all
}

// rate prices the batch's usage and drops the points that are to be skipped. Windows in which a point can't be decided on
// fail.
func (p *prices) rate(b *metering.Batch) {
	type place struct {
		scope  *metering.Scope
		window int
		metric string
	}
	unpriced, vanished := map[place]int{}, map[place]int{}
	for i := range b.Usage {
		u := &b.Usage[i]
		skip := p.skips[u.Metric]
		print := u.Fingerprint()
		var plan *rating.Plan
		var notNumeric []metering.Attribute
		kept := u.Samples[:0]
		for _, sample := range u.Samples {
			w := b.Run.Window(sample.Window)
			if plan == nil || !plan.Holds(w.Begin) {
				plan = p.engine.Plan(&u.Series, print, w.Begin)
				notNumeric = plan.NotNumeric()
			}
			var outcome rating.Outcome
			sample.Price, outcome = plan.Price(sample.Qty)
			if skip != nil {
				dropped, err := skip.Skips(&u.Series, &sample)
				if err != nil {
					b.Failed = append(b.Failed, metering.Outcome{Scope: u.Scope, Window: sample.Window, Error: fmt.Sprintf("metric %s: skip_datapoints_expression: %v", u.Metric.Name, err)})
					continue
				}
				if dropped {
					continue
				}
			}
			switch outcome {
			case rating.Unpriced:
				unpriced[place{u.Scope, sample.Window, u.Metric.Name}]++
			case rating.RoundedToNil:
				vanished[place{u.Scope, sample.Window, u.Metric.Name}]++
			case rating.Priced:
			}
			for _, a := range notNumeric {
				b.Findings = append(b.Findings, metering.Finding{
					Kind: metering.NotNumeric, Scope: u.Scope, Window: sample.Window, Metric: u.Metric.Name,
					Detail: excerpt(fmt.Sprintf("%s = %q", a.Name, a.Value)), Points: 1,
				})
			}
			kept = append(kept, sample)
		}
		u.Samples = kept
	}
	for at, n := range unpriced {
		b.Findings = append(b.Findings, metering.Finding{Kind: metering.Unpriced, Scope: at.scope, Window: at.window, Metric: at.metric, Points: n})
	}
	for at, n := range vanished {
		b.Findings = append(b.Findings, metering.Finding{Kind: metering.RoundedToNil, Scope: at.scope, Window: at.window, Metric: at.metric, Points: n})
	}
}
