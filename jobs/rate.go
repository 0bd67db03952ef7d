package jobs

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/rating"
)

// rater keeps the metrics and the rules that were used lately, compiled.
type rater struct {
	mu      sync.Mutex
	configs recent[*configured]
	rules   recent[*ruled]
}

// versions says as of when things are collected and priced. Version 0 is from before there was anything.
type versions struct{ config, rules int64 }

// prices is what to collect and how to price it, as of one version of each.
type prices struct {
	versions
	*configured
	*ruled
}

// configured is what to collect.
type configured struct {
	configuration *metering.Configuration
	skips         map[*metering.Metric]*metering.Skip
	broken        map[*metering.Metric]error // metrics whose points can't be decided on
}

// ruled is how to price it.
type ruled struct {
	engine  *rating.Engine
	refused map[target]error // what has a rule that means nothing
}

// target is what a rule is for.
type target struct{ metric, scope string } // no scope: all of them

// latest returns the versions as of now.
func latest(ctx context.Context, c Catalog) (v versions, err error) {
	if v.config, v.rules, err = c.Versions(ctx); err != nil {
		return v, fault.Wrap(fault.Unavailable, err, "the versions of metrics and rules can't be read")
	}
	return v, nil
}

// asOf returns the prices of some versions. An error is Unavailable if the database does not answer.
func (r *rater) asOf(ctx context.Context, c Catalog, zone *time.Location, v versions) (*prices, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &prices{versions: v}
	var err error
	if p.ruled, err = r.rules.get(v.rules, func() (*ruled, error) { return rule(ctx, c, v.rules, zone) }); err != nil {
		return nil, err
	}
	p.configured, err = r.configs.get(v.config, func() (*configured, error) { return configure(ctx, c, v.config) })
	return p, err
}

// configuration returns the metrics of a version, with the errors of asOf.
func (r *rater) configuration(ctx context.Context, c Catalog, version int64) (*configured, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.configs.get(version, func() (*configured, error) { return configure(ctx, c, version) })
}

func configure(ctx context.Context, c Catalog, version int64) (*configured, error) {
	k := &configured{configuration: new(metering.Configuration), skips: map[*metering.Metric]*metering.Skip{}, broken: map[*metering.Metric]error{}}
	if version == 0 {
		return k, nil
	}
	var err error
	if k.configuration, err = c.Configuration(ctx, version); err != nil {
		return nil, unreadable(err, "the metrics of version %d can't be read", version)
	}
	for _, m := range k.configuration.Metrics {
		if k.skips[m], err = metering.CompileSkip(m.Skip); err != nil {
			k.broken[m] = fmt.Errorf("metric %s: skip_datapoints_expression: %w", m.Name, err)
		}
	}
	return k, nil
}

// rule compiles the rules of a version. Rules that mean nothing are left out, and noted: they concern only what they are for.
func rule(ctx context.Context, c Catalog, version int64, zone *time.Location) (*ruled, error) {
	all := new(rating.Rules)
	if version != 0 {
		var err error
		if all, err = c.Rules(ctx, version); err != nil {
			return nil, unreadable(err, "the rules of version %d can't be read", version)
		}
	}
	k := &ruled{refused: map[target]error{}}
	var err error
	if k.engine, err = rating.Compile(all, zone); err == nil {
		return k, nil
	}
	some := *all
	some.Hashmap = nil
	for _, one := range all.Hashmap {
		try := *all
		try.Hashmap, try.Scripts = []rating.Rule{one}, nil
		if _, err := rating.Compile(&try, zone); err != nil {
			k.refused[target{one.Service, one.Scope}] = fmt.Errorf("rules version %d: %w", version, err)
			continue
		}
		some.Hashmap = append(some.Hashmap, one)
	}
	if k.engine, err = rating.Compile(&some, zone); err != nil {
		return nil, fmt.Errorf("rules version %d: %w", version, err)
	}
	return k, nil
}

// unreadable tells what is wrong with what was read from the database's being away.
func unreadable(err error, format string, args ...any) error {
	if kind := fault.KindOf(err); kind == fault.Invalid || kind == fault.NotFound {
		return err
	}
	return fault.Wrap(fault.Unavailable, err, format, args...)
}

// check says why usage can't be rated, if it can't.
func (p *prices) check(u *metering.Usage) error {
	if err := p.broken[u.Metric]; err != nil {
		return err
	}
	if err := p.refused[target{u.Metric.Name, ""}]; err != nil {
		return err
	}
	return p.refused[target{u.Metric.Name, u.Scope.ID}]
}

// recent keeps a few values by version, those used last.
type recent[T any] []entry[T]

type entry[T any] struct {
	version int64
	value   T
}

// get returns the value of a version, made if need be.
func (r *recent[T]) get(version int64, fresh func() (T, error)) (T, error) {
	const most = 4
	i := slices.IndexFunc(*r, func(e entry[T]) bool { return e.version == version })
	if i >= 0 {
		e := (*r)[i]
		*r = slices.Insert(slices.Delete(*r, i, i+1), 0, e)
		return e.value, nil
	}
	value, err := fresh()
	if err == nil {
		*r = slices.Insert((*r)[:min(len(*r), most-1)], 0, entry[T]{version, value})
	}
	return value, err
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

// rate prices the batch's usage and drops the points that are to be skipped. Windows in which a point can't be decided on,
// or a script fails, fail. What is noticed about points joins the batch's findings. An error is the context's.
func (p *prices) rate(ctx context.Context, by scripting, b *metering.Batch) error {
	found := noticed{}
	for _, f := range b.Findings {
		found[notice{f.Scope, f.Window, f.Kind, f.Metric, excerpt(f.Detail)}] += f.Points
	}
	scripted := p.scripted(b)
	for i := range b.Usage {
		u := &b.Usage[i]
		if err := p.check(u); err != nil {
			for _, sample := range u.Samples {
				b.Failed = append(b.Failed, metering.Outcome{Scope: u.Scope, Window: sample.Window, Error: err.Error()})
			}
			u.Samples = nil
			continue
		}
		skip := p.skips[u.Metric]
		print := u.Fingerprint()
		var plan *rating.Plan
		var about *remarks
		kept := u.Samples[:0]
		for _, sample := range u.Samples {
			if scripted != nil && scripted.take(&u.Series, sample) {
				continue
			}
			w := b.Run.Window(sample.Window)
			if plan == nil || !plan.Holds(w.Begin) {
				plan = p.engine.Plan(&u.Series, print, w.Begin)
				about = &remarks{series: &u.Series, plan: plan}
			}
			var outcome rating.Outcome
			sample.Price, outcome = plan.Price(sample.Qty)
			if p.keep(b, &u.Series, skip, &sample) {
				found.remark(p.engine, about, sample.Window, w.Begin, outcome)
				kept = append(kept, sample)
			}
		}
		u.Samples = kept
	}
	if scripted != nil {
		if err := p.runScripts(ctx, by, b, scripted, found); err != nil {
			return err
		}
	}
	b.Findings = found.findings()
	return nil
}

// keep decides whether a rated sample is stored. If that can't be decided, its window fails.
func (p *prices) keep(b *metering.Batch, s *metering.Series, skip *metering.Skip, sample *metering.Sample) bool {
	if skip == nil {
		return true
	}
	dropped, err := skip.Skips(s, sample)
	if err != nil {
		b.Failed = append(b.Failed, metering.Outcome{Scope: s.Scope, Window: sample.Window, Error: fmt.Sprintf("metric %s: skip_datapoints_expression: %v", s.Metric.Name, err)})
	}
	return err == nil && !dropped
}

// remarks is what there is to be noticed about the points of a series, as long as its plan holds.
type remarks struct {
	series     *metering.Series
	plan       *rating.Plan
	looked     *string  // what rules look at; nil until it is needed
	notNumeric []string // nil until it is needed
}

// remark notices what an operator should see about a point.
func (n noticed) remark(e *rating.Engine, r *remarks, window int, begin time.Time, outcome rating.Outcome) {
	s := r.series
	if outcome != rating.Priced {
		if r.looked == nil {
			text := excerpt(rating.LookText(e.Looked(s, begin)))
			r.looked = &text
		}
		n[notice{s.Scope, window, outcomeKind(outcome), s.Metric.Name, *r.looked}]++
	}
	if r.notNumeric == nil {
		r.notNumeric = []string{}
		for _, a := range r.plan.NotNumeric() {
			r.notNumeric = append(r.notNumeric, excerpt(rating.LookText([]rating.Look{{Name: a.Name, Value: a.Value}})))
		}
	}
	for _, detail := range r.notNumeric {
		n[notice{s.Scope, window, metering.NotNumeric, s.Metric.Name, detail}]++
	}
}

// outcomeKind returns what is noticed about a point that rules gave no price, or none that is left of it.
func outcomeKind(o rating.Outcome) metering.FindingKind {
	if o == rating.RoundedToNil {
		return metering.RoundedToNil
	}
	return metering.Unpriced
}
