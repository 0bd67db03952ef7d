package costs

import (
	"strings"

	"ratebook/metering"
)

// AttributePrefix makes any group or filter key an attribute's name, for attributes that are called like Scope,
// ScopeName, Metric or Unit. "attr:flavor" and "flavor" are the same key.
const AttributePrefix = "attr:"

// key is what a group or filter key stands for: one of the constants, or else an attribute.
type key struct {
	constant  string
	attribute string
}

func parseKey(s string) key {
	switch s {
	case Scope, ScopeName, Metric, Unit:
		return key{constant: s}
	}
	return key{attribute: strings.TrimPrefix(s, AttributePrefix)}
}

// computed reports whether the key's value may depend on a charge's time, where a series lacks the attribute.
func (k key) computed() bool { return metering.IsComputed(k.attribute) }

// value returns what the labels say; it is false for an attribute that they lack.
func (k key) value(l *Labels) (string, bool) {
	switch k.constant {
	case Scope:
		return l.Scope, true
	case ScopeName:
		return l.ScopeName, true
	case Metric:
		return l.Metric, true
	case Unit:
		return l.Unit, true
	}
	if v, ok := l.Groupby.Get(k.attribute); ok {
		return v, true
	}
	return l.Metadata.Get(k.attribute)
}

// keys returns what all groups and filters stand for.
func (q *Query) keys() []key {
	keys := make([]key, 0, len(q.Groups)+len(q.Filters))
	for _, g := range q.Groups {
		keys = append(keys, parseKey(g))
	}
	for _, f := range q.Filters {
		keys = append(keys, parseKey(f.Key))
	}
	return keys
}
