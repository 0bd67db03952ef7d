// Package demo is a source of sample usage: the tenants of a university's cloud, with instances, GPUs, volumes, buckets,
// floating IPs, traffic and batch jobs. It answers as a Prometheus server would, to try Ratebook without one.
//
// What was used in an hour follows from the scope, the metric, the resource and the hour alone. There is no clock, no state
// and no chance: the same window has the same usage forever, and every hour has some, past and to come. Resources come and
// go, volumes and buckets grow and are cleared, traffic follows the day and the week. Two scopes have seasons, so that in
// any five weeks each begins once and ends once.
//
//   - tenants.go lists who there is and what they run
//   - build.go makes resources of it, which live as lives.go says and are used as rhythm.go says
//   - collect.go makes a metric's usage of them
//   - metrics.yml and rules.yml are the metrics and prices that go with it
package demo

import (
	"context"
	"fmt"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
)

// Kind is the kind of a [metering.Source] that this package answers for.
const Kind = "demo"

// version is what the source says of itself; it changes with what it answers.
const version = "demo 1"

// Source answers for all sample scopes. It never changes and may be used by many goroutines at once.
type Source struct {
	tenants   []tenant
	resources map[string][]resource // by the scope's ID
	measured  map[string]bool       // the names of all that is measured
}

// New returns the source of sample usage. Every one answers the same.
func New() *Source {
	s := &Source{tenants: tenants, resources: map[string][]resource{}, measured: map[string]bool{}}
	for i := range s.tenants {
		t := &s.tenants[i]
		s.resources[t.id] = t.build()
		for _, r := range s.resources[t.id] {
			s.measured[r.measured] = true
		}
	}
	return s
}

// Scopes returns the scopes that use anything in the range, in the order of the catalogue.
func (s *Source) Scopes(ctx context.Context, r period.Range) ([]metering.Found, error) {
	if r.Empty() {
		return nil, ctx.Err()
	}
	from, to := hourOf(r.Begin), hourOf(r.End.Add(period.Default-1))
	var found []metering.Found
	for i := range s.tenants {
		t := &s.tenants[i]
		if len(t.seasons(from, to)) > 0 {
			found = append(found, metering.Found{ID: t.id, Name: t.name})
		}
	}
	return found, ctx.Err()
}

// Collect returns what the scopes used in windows of an hour: by metric and scope in the order of the request, then by
// attributes. Scopes and metrics that it doesn't know have no usage.
func (s *Source) Collect(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
	if r.Run.Length != period.Default || !r.Run.Begin.Equal(period.Floor(r.Run.Begin, period.Default)) {
		return nil, fault.New(fault.Invalid, "the demo source measures by the hour and can't answer for windows of %s from %s",
			r.Run.Length, r.Run.Begin.UTC().Format("15:04:05"))
	}
	c := &metering.Collection{SourceVersion: version}
	points := 0
	for _, m := range r.Metrics {
		combine, err := combinationOf(m)
		if err != nil {
			return nil, err
		}
		if !s.measured[m.Measured] && !m.MayBeAbsent {
			for i := range r.Run.Count {
				c.Absent = append(c.Absent, metering.Absence{Metric: m, Window: i})
			}
		}
		for _, scope := range r.Scopes {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			q := newQuestion(scope, m, r.Run, combine)
			for i := range s.resources[scope.ID] {
				q.add(&s.resources[scope.ID][i])
			}
			if points += q.points; r.MaxPoints > 0 && points > r.MaxPoints {
				return nil, fmt.Errorf("the demo source has more than %d points: %w", r.MaxPoints, metering.ErrTooMuch)
			}
			c.Usage = append(c.Usage, q.usage()...)
		}
	}
	return c, nil
}
