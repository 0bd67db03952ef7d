package rating

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"ratebook/fault"
	"ratebook/money"
	"ratebook/period"
)

// Form is a rule as a person types it: the same texts that a rules file has, see [File], but that an empty one means
// nothing. Errors name the fields as the keys of a rules file do: kind, service, field, value, level, type, cost, group,
// scope, start, end, name, description.
type Form struct {
	Kind, Service, Field, Value, Level string
	Type, Cost                         string // a type left empty is flat
	Group, Scope, Start, End           string
	Name, Description                  string
}

// Rule reads the form as ParseFile reads a rule. Times are read by [ParseTime]. The error is a [fault.Error] of kind Invalid
// with everything that is wrong.
func (f Form) Rule(zone *time.Location) (Rule, error) {
	r := Rule{
		Kind: Kind(f.Kind), Service: f.Service, Field: f.Field, Value: f.Value, Type: Type(f.Type),
		Group: f.Group, Scope: f.Scope, Name: f.Name, Description: f.Description,
	}
	if r.Type == "" {
		r.Type = Flat
	}
	var c complaints
	switch {
	case r.Kind == Threshold && f.Level == "":
		c.add("level", "a threshold needs the level from which on it applies")
	case r.Kind == Threshold:
		r.Level = c.number("level", f.Level, levelPlaces)
	case f.Level != "":
		c.add("level", "only a threshold has a level; leave it empty")
	}
	if f.Cost == "" {
		c.add("cost", "the cost is missing; for usage that is free write 0")
	} else {
		r.Cost = c.number("cost", f.Cost, costPlaces)
	}
	r.Start = c.time("start", f.Start, zone)
	r.End = c.time("end", f.End, zone)
	c.check(&r)
	return r, c.err()
}

// FormOf returns the form that reads as the rule.
func FormOf(r *Rule, zone *time.Location) Form {
	f := Form{
		Kind: string(r.Kind), Service: r.Service, Field: r.Field, Value: r.Value, Type: string(r.Type), Cost: r.Cost.String(),
		Group: r.Group, Scope: r.Scope, Start: FormatTime(r.Start, zone), End: FormatTime(r.End, zone), Name: r.Name, Description: r.Description,
	}
	if r.Kind == Threshold {
		f.Level = r.Level.String()
	}
	return f
}

const (
	localMinute = "2006-01-02T15:04" // as <input type="datetime-local"> has it
	localSecond = "2006-01-02T15:04:05"
)

// ParseTime reads a time as a person types it: what [period.ParseTime] reads, or YYYY-MM-DDTHH:MM, with seconds or without,
// as the zone's clock shows it. What the clock shows twice is the first time; what it jumps over is the instant of the jump.
// The empty text, and no other, is the zero time: no limit. Years before 1970 or after 9998 are refused, since a person means
// no limit by them or has mistyped.
func ParseTime(s string, zone *time.Location) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := parseTime(s, zone)
	if err != nil {
		return time.Time{}, err
	}
	if year := t.In(zone).Year(); year < firstYear || year > lastYear {
		return time.Time{}, fault.New(fault.Invalid, "%q is not in the years %d to %d; leave it empty for no limit", clip(s), firstYear, lastYear)
	}
	return t, nil
}

// The years that a form takes.
const firstYear, lastYear = 1970, 9998

func parseTime(s string, zone *time.Location) (time.Time, error) {
	for _, layout := range [...]string{localMinute, localSecond} {
		if t, err := time.Parse(layout, s); err == nil && t.Nanosecond() == 0 {
			return period.StartOf(t, zone), nil // a day begins at its first instant just as a minute does
		}
	}
	t, err := period.ParseTime(clip(s), zone)
	if err != nil {
		return time.Time{}, fault.New(fault.Invalid, "%q is no time; write it like 2026-11-21T14:00 or 2026-11-21 (%s), or like 2026-11-21T14:00:00Z",
			clip(s), zone)
	}
	return t, nil
}

// FormatTime returns the shortest text that ParseTime, but for its bounds, reads as t and a datetime-local field takes, or, of an hour that comes
// twice the second time, t in RFC 3339.
func FormatTime(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return ""
	}
	for _, layout := range [...]string{localMinute, localSecond} {
		s := t.In(zone).Format(layout)
		if back, err := parseTime(s, zone); err == nil && back.Equal(t) {
			return s
		}
	}
	return period.Format(t, zone)
}

// complaints collects what is wrong with which field.
type complaints []fault.Field

func (c *complaints) add(field, message string) {
	if message != "" && !slices.ContainsFunc(*c, func(f fault.Field) bool { return f.Name == field }) {
		*c = append(*c, fault.Field{Name: field, Message: message})
	}
}

func (c *complaints) number(field, text string, places int) money.Decimal {
	number, problem := parseNumber(text, maxWhole, places)
	c.add(field, problem)
	return number
}

func (c *complaints) time(field, text string, zone *time.Location) time.Time {
	t, err := ParseTime(text, zone)
	if err != nil {
		c.add(field, err.Error())
	}
	return t
}

// check holds a rule to what ParseFile accepts.
func (c *complaints) check(r *Rule) {
	if r.Kind != Mapping && r.Kind != Threshold {
		c.add("kind", "choose mapping or threshold")
	}
	for field, text := range map[string]string{
		"service": r.Service, "field": r.Field, "value": r.Value, "group": r.Group, "scope": r.Scope, "name": r.Name,
	} {
		c.add(field, badText(text, maxText))
	}
	c.add("description", badText(r.Description, maxDescription))
	if r.Service == "" {
		c.add("service", "say which metric the rule prices")
	}
	switch {
	case r.Kind == Threshold && r.Value != "":
		c.add("value", "only a mapping has a value; a threshold has a level")
	case r.Kind == Mapping && r.Field == "" && r.Value != "":
		c.add("value", "a mapping of the metric itself has no value; leave it empty, or name the attribute that has it")
	case r.Kind == Mapping && r.Field != "" && r.Value == "":
		c.add("value", "a mapping of an attribute needs the value it applies to")
	}
	if !fits(r.Level, maxWhole, levelPlaces) || r.Kind == Mapping && !r.Level.IsZero() {
		c.add("level", "this is no level that the rule can have")
	}
	c.add("type", badType(r.Type))
	if !fits(r.Cost, maxWhole, costPlaces) {
		c.add("cost", "the cost has too many digits")
	}
	for field, t := range map[string]time.Time{"start": r.Start, "end": r.End} {
		if !t.IsZero() && (tooFar(t) || t.Nanosecond() != 0) {
			c.add(field, "this is no time in whole seconds that the rule can have")
		}
	}
	if !r.End.IsZero() && !r.End.After(r.Start) {
		c.add("end", "the end is not after the start")
	}
}

// formOrder is the order of the fields of a form.
var formOrder = []string{
	"kind", "service", "field", "value", "level", "type", "cost", "group", "scope", "start", "end", "name", "description",
}

func (c complaints) err() error {
	if len(c) == 0 {
		return nil
	}
	slices.SortFunc(c, func(a, b fault.Field) int { return slices.Index(formOrder, a.Name) - slices.Index(formOrder, b.Name) })
	return &fault.Error{Kind: fault.Invalid, Message: "the rule can't be saved as it is", Fields: c}
}

// Rule returns the rule with the id; the error is of kind NotFound.
func (r *Rules) Rule(id string) (*Rule, error) {
	i := slices.IndexFunc(r.Hashmap, func(rule Rule) bool { return rule.ID == id })
	if i < 0 {
		return nil, fault.New(fault.NotFound, "there is no rule %s; it may have been deleted", shown(clip(id)))
	}
	rule := r.Hashmap[i]
	return &rule, nil
}

// The following edit rules. They return new ones, made from the version that r is, and leave r alone: neither may be written
// to, for what did not change may be in both. What they return is
// correct by the measure of ParseFile, and of rules that differ in nothing but their dates and costs no two are valid at
// the same time: that would be an error of kind Conflict, with the field start or end. (A file may have such rules; then the
// one that started last counts. They are not refused for what they were before.) Services, fields and groups are made when
// a rule names them, and stay when no rule does any more, as in an import.

// Add returns the rules with one more, and its new id.
func (r *Rules) Add(rule Rule) (next *Rules, id string, err error) {
	rule.ID = uuid.NewString()
	if next, err = r.put(nil, rule); err != nil {
		return nil, "", err
	}
	return next, rule.ID, nil
}

// Replace returns the rules with the one of that id replaced, whose id stays.
func (r *Rules) Replace(id string, rule Rule) (*Rules, error) {
	old, err := r.Rule(id)
	if err != nil {
		return nil, err
	}
	rule.ID = id
	return r.put(old, rule)
}

// Remove returns the rules without the one of that id.
func (r *Rules) Remove(id string) (*Rules, error) {
	if _, err := r.Rule(id); err != nil {
		return nil, err
	}
	next := r.clone()
	next.Hashmap = slices.DeleteFunc(next.Hashmap, func(rule Rule) bool { return rule.ID == id })
	return next, nil
}

// End returns the rules with another end of one; zero is none: the rule is valid for ever again.
func (r *Rules) End(id string, at time.Time) (*Rules, error) {
	old, err := r.Rule(id)
	if err != nil {
		return nil, err
	}
	ended := *old
	ended.End = at
	return r.put(old, ended)
}

// ChangeFrom ends a rule at an instant and starts a successor there, whose id it returns: with the type, cost, name and
// description of changed, but otherwise the rule's own fields, also its end. The instant must lie inside the rule's
// validity; errors about it name the field start.
func (r *Rules) ChangeFrom(id string, at time.Time, changed Rule) (next *Rules, successor string, err error) {
	old, err := r.Rule(id)
	if err != nil {
		return nil, "", err
	}
	var c complaints
	switch {
	case at.IsZero():
		c.add("start", "say from when on")
	case at.Equal(old.Start):
		c.add("start", "the rule itself starts then: choose a later time")
	case at.Before(old.Start):
		c.add("start", "the rule is not valid yet then: choose a later time")
	case !old.End.IsZero() && !at.Before(old.End):
		c.add("start", "the rule is not valid any more then: choose an earlier time, or add a new rule")
	}
	if err := c.err(); err != nil {
		return nil, "", err
	}
	ended := *old
	ended.End = at
	next, err = r.put(old, ended)
	if err != nil {
		return nil, "", err
	}
	rule := *old
	rule.Start = at
	rule.Type, rule.Cost, rule.Name, rule.Description = changed.Type, changed.Cost, changed.Name, changed.Description
	next, successor, err = next.Add(rule)
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Kind == fault.Conflict {
		e.Fields[0].Name = "start"
	}
	return next, successor, err
}

// put returns the rules with rule in the place of old, or added if old is nil.
func (r *Rules) put(old *Rule, rule Rule) (*Rules, error) {
	rule.Start, rule.End = utc(rule.Start), utc(rule.End)
	var c complaints
	c.check(&rule)
	if err := c.err(); err != nil {
		return nil, err
	}
	if other := r.clash(old, &rule); other != nil {
		field := "start"
		if rule.Start.Before(other.Start) {
			field = "end"
		}
		return nil, &fault.Error{
			Kind: fault.Conflict, Message: "another rule for the same usage is valid at the same time",
			Fields: []fault.Field{{Name: field, Message: "at the same time there is the " + other.String() + "; change or end that one, or choose other times"}},
		}
	}
	next := r.clone()
	next.place(&rule)
	if old == nil {
		next.Hashmap = append(next.Hashmap, rule)
	} else {
		next.Hashmap[slices.IndexFunc(next.Hashmap, func(o Rule) bool { return o.ID == old.ID })] = rule
	}
	return next, nil
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// clash returns a rule that may not be there beside the one that takes the place of old, or nil.
func (r *Rules) clash(old, rule *Rule) *Rule {
	for i := range r.Hashmap {
		other := &r.Hashmap[i]
		if other.ID == rule.ID || !rule.overlaps(other) {
			continue
		}
		if old != nil && old.overlaps(other) && rule.identity() == old.identity() {
			continue // so it was before
		}
		return other
	}
	return nil
}

// Overlapping returns a rule that differs from this one in nothing but dates and costs, and is valid at the same time; or
// nil. The rule's id is its own.
func (r *Rules) Overlapping(rule *Rule) *Rule { return r.clash(nil, rule) }

func (r *Rule) overlaps(o *Rule) bool {
	if r.Service != o.Service || r.Value != o.Value || r.Field != o.Field || r.Scope != o.Scope { // what tells most apart, quickly
		return false
	}
	return r.kin() == o.kin() && (r.End.IsZero() || o.Start.Before(r.End)) && (o.End.IsZero() || r.Start.Before(o.End))
}

// kin is what rules share that stand for the same usage, one after the other.
func (r *Rule) kin() identity {
	id := r.identity()
	id.start = 0
	if id.group == defaultGroup {
		id.group = ""
	}
	return id
}

// Twins returns the history and future of a rule: it and those that differ from it only in dates and costs, by start. Others
// are those for other scopes: for every scope, or of single ones in its place, by scope and start.
func (r *Rules) Twins(rule *Rule) (twins, others []Rule) {
	kin := rule.kin()
	for _, o := range r.Hashmap {
		theirs := o.kin()
		switch {
		case theirs == kin:
			twins = append(twins, o)
		case (kin.scope == "") != (theirs.scope == ""):
			theirs.scope = kin.scope
			if theirs == kin {
				others = append(others, o)
			}
		}
	}
	order := func(a, b Rule) int {
		if c := strings.Compare(a.Scope, b.Scope); c != 0 {
			return c
		}
		return a.Start.Compare(b.Start)
	}
	slices.SortStableFunc(twins, order)
	slices.SortStableFunc(others, order)
	return twins, others
}

// Counting returns the ids of the rules that count for windows that begin at an instant: those that are valid then, without
// those that a later one of the same kin replaces.
func (r *Rules) Counting(at time.Time) map[string]bool {
	latest := map[identity]*Rule{}
	for i := range r.Hashmap {
		rule := &r.Hashmap[i]
		if !rule.valid(at) {
			continue
		}
		other := latest[rule.kin()]
		if other == nil || rule.Start.After(other.Start) || rule.Start.Equal(other.Start) && rule.ID > other.ID {
			latest[rule.kin()] = rule
		}
	}
	ids := make(map[string]bool, len(latest))
	for _, rule := range latest {
		ids[rule.ID] = true
	}
	return ids
}

// clone returns a copy that shares nothing with r that an edit changes, with room for one more rule.
func (r *Rules) clone() *Rules {
	next := &Rules{
		Version: r.Version, Modules: slices.Clone(r.Modules), Groups: slices.Clone(r.Groups), Services: slices.Clone(r.Services),
		Hashmap: append(make([]Rule, 0, len(r.Hashmap)+1), r.Hashmap...), Scripts: slices.Clone(r.Scripts),
	}
	for i := range next.Services {
		next.Services[i].Fields = slices.Clone(next.Services[i].Fields)
	}
	return next
}

// Clone returns a copy that shares nothing with r but texts.
func (r *Rules) Clone() *Rules {
	next := r.clone()
	if next.Hashmap = slices.Clip(next.Hashmap); r.Hashmap == nil {
		next.Hashmap = nil
	}
	return next
}

// place makes what the rule names.
func (r *Rules) place(rule *Rule) {
	if rule.Group != "" && !slices.ContainsFunc(r.Groups, func(g Group) bool { return g.Name == rule.Group }) {
		r.Groups = append(r.Groups, Group{ID: uuid.NewString(), Name: rule.Group})
	}
	i := slices.IndexFunc(r.Services, func(s Service) bool { return s.Name == rule.Service })
	if i < 0 {
		i = len(r.Services)
		r.Services = append(r.Services, Service{ID: uuid.NewString(), Name: rule.Service})
	}
	s := &r.Services[i]
	if rule.Field != "" && !slices.ContainsFunc(s.Fields, func(f Field) bool { return f.Name == rule.Field }) {
		s.Fields = append(s.Fields, Field{ID: uuid.NewString(), Name: rule.Field})
	}
}
