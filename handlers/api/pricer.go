package api

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/rating"
)

// Rules are read to price what is asked for.
type Rules interface {
	// Rules returns what prices as of a version; 0 is the latest.
	Rules(ctx context.Context, version int64) (*rating.Rules, error)
}

// Pricer prices usage by the latest rules: what quotes ask for, and points that are pushed to be rated.
type Pricer struct {
	rules    Rules
	scripts  rating.ScriptRunner
	zone     *time.Location
	scopeKey string
	last     atomic.Pointer[rating.Engine] // compiled
}

// NewPricer returns a pricer.
func NewPricer(rules Rules, scripts rating.ScriptRunner, settings *metering.Settings) *Pricer {
	return &Pricer{rules: rules, scripts: scripts, zone: settings.Zone, scopeKey: settings.ScopeKey}
}

// engine returns the engine of the latest rules.
func (p *Pricer) engine(ctx context.Context) (*rating.Engine, error) {
	rules, err := p.rules.Rules(ctx, 0)
	if err != nil {
		return nil, err
	}
	if e := p.last.Load(); e != nil && e.Version() == rules.Version {
		return e, nil
	}
	e, err := rating.Compile(rules, p.zone)
	if err != nil {
		return nil, err
	}
	p.last.Store(e)
	return e, nil
}

// Quote prices the points of a frame. An error is a [rating.ScriptError] if a script fails.
func (p *Pricer) Quote(ctx context.Context, f *rating.Frame) error {
	e, err := p.engine(ctx)
	if err != nil {
		return err
	}
	return e.Price(ctx, p.scripts, f)
}

// Price sets the prices of pushed points, each frame's by the rules that are valid at its begin, and returns the rules' version.
// Scripts see the points of one scope of a frame together, and may change them as those of a window.
func (p *Pricer) Price(ctx context.Context, frames []metering.PushedFrame) (rules int64, err error) {
	e, err := p.engine(ctx)
	if err != nil {
		return 0, err
	}
	metrics := map[[2]string]*metering.Metric{}
	for i := range frames {
		f := &frames[i]
		byScope := map[string][]int{}
		var order []string
		for k := range f.Points {
			scope := f.Points[k].Scope
			if byScope[scope] == nil {
				order = append(order, scope)
			}
			byScope[scope] = append(byScope[scope], k)
		}
		var priced []metering.PushedPoint
		for _, id := range order {
			scope := &metering.Scope{ID: id, Source: metering.Source{Name: metering.PushSource, Kind: metering.PushSource, ScopeKey: p.scopeKey}}
			one := &rating.Frame{Scope: scope, Begin: f.Begin, End: f.End}
			for _, k := range byScope[id] {
				point := &f.Points[k]
				key := [2]string{point.Metric, point.Unit}
				if metrics[key] == nil {
					metrics[key] = &metering.Metric{Name: point.Metric, Unit: point.Unit}
				}
				one.Points = append(one.Points, rating.Point{Qty: point.Qty, Series: &metering.Series{
					Scope: scope, Metric: metrics[key], Groupby: point.Groupby, Metadata: point.Metadata, Literals: point.Literals,
				}})
			}
			err := e.Price(ctx, p.scripts, one)
			if failed, ok := errors.AsType[*rating.ScriptError](err); ok {
				return 0, fault.Wrap(fault.Conflict, err, "a rating script fails, so the points of %q can't be rated: %s", id, failed.Error())
			}
			if err != nil {
				return 0, err
			}
			for k := range one.Points {
				point := &one.Points[k]
				priced = append(priced, metering.PushedPoint{
					Scope: id, Metric: point.Series.Metric.Name, Unit: point.Series.Metric.Unit, Qty: point.Qty, Price: point.Price,
					Groupby: point.Series.Groupby, Metadata: point.Series.Metadata, Literals: point.Series.Literals,
				})
			}
		}
		f.Points = priced
	}
	return e.Version(), nil
}
