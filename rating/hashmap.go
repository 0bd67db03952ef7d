package rating

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
)

// hashmap is CloudKitty's module of that name: mappings and thresholds of a metric ("service") and of its attributes
// ("fields"), in groups whose prices add up. What it computes is CloudKitty's to the letter, but exactly.
type hashmap struct {
	services map[string]*service // by the metric's name
	zone     *time.Location
}

// service holds the rules of one metric.
type service struct {
	mappings   byScope
	thresholds byScope
	fields     []*field               // by name, bytewise: the order in which they are looked at
	changes    map[string][]time.Time // by scope: when rules begin or cease to apply, ascending
}

// field holds the rules of one attribute.
type field struct {
	name       string
	mappings   map[string]byScope // by value
	thresholds byScope
}

// byScope holds rules by the scope they are for; those for all scopes are under the empty text.
type byScope map[string][]*Rule

// defaultGroup is what CloudKitty calls the group of rules without one.
const defaultGroup = "_DEFAULT_"

// initialLevel is below every threshold that can apply: a threshold needs a higher level to take a group's slot.
var initialLevel = money.New(-1, 0)

func newHashmap(rules []Rule, zone *time.Location) (module, error) {
	h := &hashmap{services: map[string]*service{}, zone: zone}
	for i := range rules {
		r := rules[i] // a copy of our own
		if problem := meaningless(&r); problem != "" {
			return nil, fault.New(fault.Invalid, "rule %s of %q: %s", r.ID, r.Service, problem)
		}
		if r.Group == defaultGroup {
			r.Group = ""
		}
		h.add(&r)
	}
	for _, s := range h.services {
		slices.SortFunc(s.fields, func(a, b *field) int { return strings.Compare(a.name, b.name) })
		for scope, times := range s.changes {
			slices.SortFunc(times, time.Time.Compare)
			s.changes[scope] = times
		}
	}
	return h, nil
}

// meaningless says what is wrong with a rule that nothing sensible could be done with.
func meaningless(r *Rule) string {
	switch {
	case r.Kind != Mapping && r.Kind != Threshold:
		return "there is no kind of rule " + string(r.Kind)
	case r.Type != Flat && r.Type != Rate:
		return "there is no type of rule " + string(r.Type)
	case r.Kind == Mapping && r.Field == "" && r.Value != "":
		return "a mapping of the service itself has no value"
	case r.Kind == Mapping && r.Field != "" && r.Value == "":
		return "a mapping of a field needs a value"
	}
	return ""
}

func (h *hashmap) add(r *Rule) {
	s := h.services[r.Service]
	if s == nil {
		s = &service{mappings: byScope{}, thresholds: byScope{}, changes: map[string][]time.Time{}}
		h.services[r.Service] = s
	}
	for _, t := range [...]time.Time{r.Start, r.End} {
		if !t.IsZero() {
			s.changes[r.Scope] = append(s.changes[r.Scope], t)
		}
	}
	if r.Field == "" {
		if r.Kind == Mapping {
			s.mappings.add(r)
		} else {
			s.thresholds.add(r)
		}
		return
	}
	i := slices.IndexFunc(s.fields, func(f *field) bool { return f.name == r.Field })
	if i < 0 {
		i = len(s.fields)
		s.fields = append(s.fields, &field{name: r.Field, mappings: map[string]byScope{}, thresholds: byScope{}})
	}
	f := s.fields[i]
	if r.Kind == Threshold {
		f.thresholds.add(r)
		return
	}
	if f.mappings[r.Value] == nil {
		f.mappings[r.Value] = byScope{}
	}
	f.mappings[r.Value].add(r)
}

func (b byScope) add(r *Rule) { b[r.Scope] = append(b[r.Scope], r) }

// counting returns the rules that count for a scope at a time, in the order of group and level. Of several rules for the
// same group and level, and here b's rules differ in nothing else, one counts: the scope's own before one for all scopes,
// then the one that started last, then the one with the highest id.
func (b byScope) counting(scope string, at time.Time) []*Rule {
	var rules []*Rule
	for _, r := range b[""] {
		if r.valid(at) {
			rules = append(rules, r)
		}
	}
	if scope != "" {
		for _, r := range b[scope] {
			if r.valid(at) {
				rules = append(rules, r)
			}
		}
	}
	key := func(x, y *Rule) int { return cmp.Or(strings.Compare(x.Group, y.Group), x.Level.Cmp(y.Level)) }
	slices.SortFunc(rules, func(x, y *Rule) int {
		return cmp.Or(key(x, y), strings.Compare(y.Scope, x.Scope), y.Start.Compare(x.Start), strings.Compare(y.ID, x.ID))
	})
	return slices.CompactFunc(rules, func(x, y *Rule) bool { return key(x, y) == 0 })
}

// valid reports whether the rule applies to windows that begin at t.
func (r *Rule) valid(t time.Time) bool {
	return !t.Before(r.Start) && (r.End.IsZero() || t.Before(r.End))
}

// price adds the sum of all groups.
func (h *hashmap) price(p *Plan, s *metering.Series, begin time.Time) {
	rules := h.services[s.Metric.Name]
	if rules == nil {
		return
	}
	for _, g := range h.match(rules, p, s, begin) {
		p.curve = p.curve.plus(g.curve())
	}
}

// match returns what the rules that apply to the series come to, by group.
func (h *hashmap) match(rules *service, p *Plan, s *metering.Series, begin time.Time) map[string]*group {
	groups := map[string]*group{}
	of := func(r *Rule) *group {
		g := groups[r.Group]
		if g == nil {
			g = &group{rate: money.New(1, 0)}
			groups[r.Group] = g
		}
		return g
	}
	scope := s.Scope.ID
	p.span.narrow(between(rules.changes[""], begin))
	p.span.narrow(between(rules.changes[scope], begin))

	for _, r := range rules.mappings.counting(scope, begin) {
		of(r).mapping(r)
	}
	for _, r := range rules.thresholds.counting(scope, begin) {
		of(r).steps = append(of(r).steps, r)
	}
	for _, f := range rules.fields {
		value, ok := h.attribute(p, s, f.name, begin)
		if !ok {
			continue
		}
		for _, r := range f.mappings[value].counting(scope, begin) {
			of(r).mapping(r)
		}
		thresholds := f.thresholds.counting(scope, begin)
		if len(thresholds) == 0 {
			continue
		}
		number, err := money.Parse(strings.TrimSpace(value)) // CloudKitty's parser takes spaces around a number, too
		if err != nil {
			p.notNumeric = append(p.notNumeric, metering.Attribute{Name: f.name, Value: value})
			continue
		}
		for _, r := range thresholds {
			if r.Level.Cmp(number) <= 0 {
				of(r).threshold(r)
			}
		}
	}
	return groups
}

// attribute returns the value that rules of the named field look at. A series doesn't repeat its scope among its
// attributes, but to CloudKitty it is one of them.
func (h *hashmap) attribute(p *Plan, s *metering.Series, name string, begin time.Time) (string, bool) {
	if name == s.Scope.Source.ScopeKey {
		return s.Scope.ID, true
	}
	if value, ok := s.Groupby.Get(name); ok {
		return value, true
	}
	if value, ok := s.Metadata.Get(name); ok {
		return value, true
	}
	value, ok := metering.Computed(name, begin, h.zone)
	if ok {
		p.span.narrow(sameDay(begin, h.zone))
	}
	return value, ok
}

// between returns the span around t in which none of the changes lies.
func between(changes []time.Time, t time.Time) (s span) {
	i, _ := slices.BinarySearchFunc(changes, t, func(change, t time.Time) int {
		if change.After(t) {
			return 1
		}
		return -1
	})
	if i > 0 {
		s.from = changes[i-1]
	}
	if i < len(changes) {
		s.until = changes[i]
	}
	return s
}

// group is what the rules of one group that apply to a series come to. One threshold has a say in it, the one with the
// highest level reached; of two with the same level the one looked at first, and those of the service are before those
// of fields.
type group struct {
	flat    money.Decimal // the highest cost of the flat mappings; never below 0
	rate    money.Decimal // the product of the costs of the rate mappings
	matched bool          // whether there were mappings
	field   *Rule         // of the thresholds of fields that are reached, the one with the highest level
	steps   []*Rule       // the service's thresholds, by level; which of them are reached depends on the quantity
}

func (g *group) mapping(r *Rule) {
	g.matched = true
	switch r.Type {
	case Flat:
		if r.Cost.Cmp(g.flat) > 0 {
			g.flat = r.Cost
		}
	case Rate:
		g.rate = g.rate.Mul(r.Cost)
	}
}

func (g *group) threshold(r *Rule) {
	if r.Level.Cmp(g.level()) > 0 {
		g.field = r
	}
}

// level returns the level of the field threshold that holds the slot.
func (g *group) level() money.Decimal {
	if g.field != nil {
		return g.field.Level
	}
	return initialLevel
}

// curve returns the group's price. A field's threshold changes the cost of a unit (flat adds to it), a service's the
// price of the point (flat adds to it, whatever the quantity); in both a rate is a factor.
func (g *group) curve() curve {
	unit := g.rate.Mul(g.flat)
	first := piece{mul: unit, priced: g.matched || g.field != nil}
	if g.field != nil {
		if g.field.Type == Flat {
			first.mul = g.rate.Mul(g.flat.Add(g.field.Cost))
		} else {
			first.mul = unit.Mul(g.field.Cost)
		}
	}
	c := curve{first}
	for _, r := range g.steps {
		if order := r.Level.Cmp(g.level()); order < 0 || order == 0 && g.field == nil {
			continue // the slot is taken already, by a higher level
		}
		step := piece{from: r.Level, mul: unit, priced: true}
		if r.Type == Flat {
			step.add = r.Cost
		} else {
			step.mul = unit.Mul(r.Cost)
		}
		c = append(c, step)
	}
	return c
}
