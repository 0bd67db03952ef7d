package metering

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Diff merges an import, next, into the current metrics. Metrics are the same if their Source, Measured and Name are. Those
// of next are added or take the place of current ones; current ones that next lacks are kept, or removed if replace is
// set. So current should hold the metrics of the imported sources only.
//
// The result is in the order of (Measured, Name). A metric whose Name is known already has that name's Ref, a new one
// has none. Neither argument is changed.
func Diff(current, next []*Metric, replace bool) (result []*Metric, d *Difference) {
	d = &Difference{}
	before := map[metricKey]*Metric{}
	refs := map[string]int64{}
	for _, m := range current {
		before[m.key()] = m
		refs[m.Name] = m.Ref
	}
	next = slices.Clone(next)
	sortMetrics(next)
	imported := map[metricKey]bool{}
	for _, m := range next {
		imported[m.key()] = true
		old, ok := before[m.key()]
		changes := ""
		if ok {
			if changes = m.changes(old); changes == "" {
				d.Same++
				result = append(result, old)
				continue
			}
		}
		added := *m
		added.Ref = refs[m.Name]
		result = append(result, &added)
		if ok {
			d.Changed = append(d.Changed, m.title()+": "+changes)
		} else {
			d.Added = append(d.Added, m.title())
		}
	}
	current = slices.Clone(current)
	sortMetrics(current)
	for _, m := range current {
		switch {
		case imported[m.key()]:
		case replace:
			d.Removed = append(d.Removed, m.title())
		default:
			d.Kept = append(d.Kept, m.title())
			result = append(result, m)
		}
	}
	sortMetrics(result)
	return result, d
}

// metricKey is a metric's identity.
type metricKey struct{ source, measured, name string }

func (m *Metric) key() metricKey { return metricKey{m.Source, m.Measured, m.Name} }

func (m *Metric) title() string {
	s := m.Name + " (" + m.Measured + ")"
	if m.Source != "default" {
		s += " of " + m.Source
	}
	return s
}

// changes returns what is different in m from old, in the words of metrics.yml; "" if nothing is.
func (m *Metric) changes(old *Metric) string {
	same := *old
	if m.Factor.Equal(old.Factor) { // however it is written
		same.Factor = m.Factor
	}
	if m.Offset.Equal(old.Offset) {
		same.Offset = m.Offset
	}
	was := same.settings()
	var changes []string
	for i, s := range m.settings() {
		if s.text != was[i].text {
			changes = append(changes, fmt.Sprintf("%s %s -> %s", s.key, orNone(was[i].text), orNone(s.text)))
		}
	}
	return strings.Join(changes, "; ")
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// setting is one key of metrics.yml and its value as one line of text; equal texts are equal values.
type setting struct{ key, text string }

func (m *Metric) settings() []setting {
	entries := make([]string, len(m.MutateMap))
	for i, e := range m.MutateMap {
		entries[i] = e.From.String() + ": " + e.To.String()
	}
	return []setting{
		{"unit", m.Unit},
		{"description", quoted(m.Description)},
		{"groupby", strings.Join(m.Groupby, ", ")},
		{"metadata", strings.Join(m.Metadata, ", ")},
		{"factor", m.Factor.String()},
		{"offset", m.Offset.String()},
		{"mutate", m.Mutate.String()},
		{"mutate_map", strings.Join(entries, ", ")},
		{"skip_datapoints_expression", quoted(m.Skip)},
		{"may_be_absent", strconv.FormatBool(m.MayBeAbsent)},
		{"aggregation_method", m.Prometheus.Aggregation},
		{"query_function", m.Prometheus.QueryFunction},
		{"range_function", m.Prometheus.RangeFunction},
		{"query_prefix", quoted(m.Prometheus.Prefix)},
		{"query_suffix", quoted(m.Prometheus.Suffix)},
	}
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return strconv.Quote(s)
}
