package demo

import (
	"cmp"
	"slices"
	"strings"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
)

// combination makes one value of several that have the same attributes.
type combination func(have, next int64) int64

// combinations by aggregation_method; the first value stands for itself.
var combinations = map[string]combination{
	"":    func(have, next int64) int64 { return max(have, next) },
	"min": func(have, next int64) int64 { return min(have, next) },
	"sum": func(have, next int64) int64 { return have + next },
}

// combinationOf refuses what only a Prometheus server can do.
func combinationOf(m *metering.Metric) (combination, error) {
	args := m.Prometheus
	combine := combinations[args.Aggregation]
	args.Aggregation = ""
	if combine == nil || args != (metering.PrometheusArgs{}) {
		return nil, fault.New(fault.Invalid, "metric %s: the demo source knows no extra_args but aggregation_method max, min and sum", m.Name)
	}
	return combine, nil
}

// question is one metric of one scope.
type question struct {
	scope             *metering.Scope
	metric            *metering.Metric
	from, to          int64 // hours
	combine           combination
	groupby, metadata []string // sorted
	series            map[string]*series
	points            int
}

// series is what was found for one set of attributes.
type series struct {
	groupby, metadata metering.Attributes
	values            []value // by window
}

type value struct {
	raw int64
	set bool
}

func newQuestion(scope *metering.Scope, m *metering.Metric, run period.Run, combine combination) *question {
	from := hourOf(run.Begin)
	return &question{
		scope: scope, metric: m, from: from, to: from + int64(run.Count), combine: combine,
		groupby: slices.Sorted(slices.Values(m.Groupby)), metadata: slices.Sorted(slices.Values(m.Metadata)),
		series: map[string]*series{},
	}
}

// add adds the resource's samples, if it is of the metric.
func (q *question) add(r *resource) {
	if r.measured != q.metric.Measured {
		return
	}
	for _, l := range r.lives(q.from, q.to) {
		var s *series
		for hour := max(q.from, l.begin); hour < min(q.to, l.end); hour++ {
			raw, ok := r.value(l, hour)
			if !ok {
				continue
			}
			if s == nil {
				s = q.of(r.labels(l))
			}
			v := &s.values[hour-q.from]
			if v.set {
				v.raw = q.combine(v.raw, raw)
				continue
			}
			*v = value{raw, true}
			q.points++
		}
	}
}

// of returns the series of those labels that the metric asks for; one that is missing is empty, as in CloudKitty.
func (q *question) of(labels metering.Attributes) *series {
	choose := func(names []string) metering.Attributes {
		as := make(metering.Attributes, len(names))
		for i, n := range names {
			as[i].Name = n
			as[i].Value, _ = labels.Get(n)
		}
		return as
	}
	s := &series{groupby: choose(q.groupby), metadata: choose(q.metadata)}
	var key strings.Builder
	for _, as := range [...]metering.Attributes{s.groupby, s.metadata} {
		for _, a := range as {
			key.WriteString(a.Value + "\x00")
		}
	}
	if have := q.series[key.String()]; have != nil {
		return have
	}
	s.values = make([]value, q.to-q.from)
	q.series[key.String()] = s
	return s
}

// usage returns what was added, by attributes.
func (q *question) usage() []metering.Usage {
	all := make([]metering.Usage, 0, len(q.series))
	for _, s := range q.series {
		n := 0
		for _, v := range s.values {
			if v.set {
				n++
			}
		}
		u := metering.Usage{
			Series:  metering.Series{Scope: q.scope, Metric: q.metric, Groupby: s.groupby, Metadata: s.metadata},
			Samples: make([]metering.Sample, 0, n),
		}
		var last int64
		var qty money.Decimal
		for i, v := range s.values {
			if !v.set {
				continue
			}
			if len(u.Samples) == 0 || v.raw != last { // most stay the same for hours
				last, qty = v.raw, q.metric.Quantity(money.New(v.raw, 0))
			}
			u.Samples = append(u.Samples, metering.Sample{Window: i, Qty: qty})
		}
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b metering.Usage) int {
		return cmp.Or(compareValues(a.Groupby, b.Groupby), compareValues(a.Metadata, b.Metadata))
	})
	return all
}

// compareValues compares attributes of the same names by their values.
func compareValues(a, b metering.Attributes) int {
	return slices.CompareFunc(a, b, func(x, y metering.Attribute) int { return strings.Compare(x.Value, y.Value) })
}
