package costs

import (
	"slices"
	"time"

	"ratebook/metering"
)

// Matcher tells which points the filters of a [FrameQuery] keep, one by one.
type Matcher struct {
	filters []filter
	zone    *time.Location
}

// NewMatcher returns a matcher of the filters; computed attributes are of the billing zone.
func NewMatcher(filters []Filter, zone *time.Location) *Matcher {
	m := &Matcher{zone: zone}
	for _, f := range filters {
		m.filters = append(m.filters, newFilter(f))
	}
	return m
}

// Timed reports whether it may depend on a point's begin.
func (m *Matcher) Timed() bool {
	return slices.ContainsFunc(m.filters, func(f filter) bool { return f.computed() })
}

// Match reports whether a point that is called so, and begins then, is kept.
func (m *Matcher) Match(l *Labels, begin time.Time) bool {
	for i := range m.filters {
		f := &m.filters[i]
		v, ok := f.value(l)
		if !ok && f.computed() {
			v, _ = metering.Computed(f.attribute, begin, m.zone)
		}
		if !f.values[v] {
			return false
		}
	}
	return true
}

func newFilter(f Filter) filter {
	values := make(map[string]bool, len(f.Values))
	for _, v := range f.Values {
		values[v] = true
	}
	return filter{parseKey(f.Key), values}
}
