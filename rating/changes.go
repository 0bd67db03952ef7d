package rating

import (
	"fmt"
	"slices"
	"strings"
)

// Changed is a rule or a script before and after a change: nil where it was not yet, or is not any more.
type Changed[T any] struct{ Before, After *T }

// ChangedRules returns the rules that differ between two versions: those of after in its order, then those that are gone.
// Where little differs it takes little more than a look at each rule, so that an edit of very many rules stays quick.
func ChangedRules(before, after *Rules) []Changed[Rule] {
	return changed(before.Hashmap, after.Hashmap, func(r *Rule) string { return r.ID }, (*Rule).same)
}

// ChangedScripts is [ChangedRules] of scripts.
func ChangedScripts(before, after *Rules) []Changed[Script] {
	return changed(before.Scripts, after.Scripts, func(s *Script) string { return s.ID }, (*Script).same)
}

func changed[T any](before, after []T, id func(*T) string, same func(a, b *T) bool) (all []Changed[T]) {
	// what is in both lists from the beginning and up to the end needs no index
	from, n, m := 0, len(before), len(after)
	for ; from < n && from < m && id(&before[from]) == id(&after[from]); from++ {
		if !same(&before[from], &after[from]) {
			all = append(all, Changed[T]{&before[from], &after[from]})
		}
	}
	for ; n > from && m > from && id(&before[n-1]) == id(&after[m-1]); n, m = n-1, m-1 {
	}
	was := make(map[string]*T, n-from)
	for i := from; i < n; i++ {
		was[id(&before[i])] = &before[i]
	}
	for i := from; i < m; i++ {
		old := was[id(&after[i])]
		delete(was, id(&after[i]))
		if old == nil || !same(old, &after[i]) {
			all = append(all, Changed[T]{old, &after[i]})
		}
	}
	for i, j := n, m; i < len(before); i, j = i+1, j+1 {
		if !same(&before[i], &after[j]) {
			all = append(all, Changed[T]{&before[i], &after[j]})
		}
	}
	for i := from; i < n; i++ {
		if was[id(&before[i])] != nil {
			all = append(all, Changed[T]{&before[i], nil})
		}
	}
	return all
}

// same reports whether two rules are the same in everything.
func (r *Rule) same(o *Rule) bool {
	return *r == *o || r.ID == o.ID && r.Kind == o.Kind && r.Service == o.Service && r.Field == o.Field && r.Value == o.Value && r.Type == o.Type &&
		r.Group == o.Group && r.Scope == o.Scope && r.Start.Equal(o.Start) && r.End.Equal(o.End) && r.Name == o.Name && r.Description == o.Description &&
		r.Cost.Equal(o.Cost) && r.Level.Equal(o.Level)
}

func (s *Script) same(o *Script) bool {
	return s.ID == o.ID && s.Name == o.Name && s.Data == o.Data && s.Start.Equal(o.Start) && s.End.Equal(o.End) && s.Description == o.Description
}

func (s *Service) same(o *Service) bool {
	return s.ID == o.ID && s.Name == o.Name && slices.Equal(s.Fields, o.Fields)
}

// Changes says what tells one version of the rules from another, a line for each thing, marked with +, ~ or -. It is what
// the audit log keeps of an edit.
func Changes(before, after *Rules) []string {
	return ChangesOf(before, after, ChangedRules(before, after))
}

// ChangesOf is [Changes] of versions whose [ChangedRules] are known.
func ChangesOf(before, after *Rules, rules []Changed[Rule]) []string {
	var added, changed, removed []string
	modules := map[string]Module{}
	for _, m := range before.Modules {
		modules[m.Name] = m
	}
	for _, m := range after.Modules {
		if was, known := modules[m.Name]; known && was != m {
			changed = append(changed, fmt.Sprintf("~ %s (was: %s)", m, was))
		}
	}
	was, is := named(before, after)
	added = append(added, without("+ ", is, was)...)
	removed = append(removed, without("- ", was, is)...)
	for _, c := range rules {
		switch old, r := c.Before, c.After; {
		case old == nil:
			added = append(added, "+ "+r.String())
		case r == nil:
			removed = append(removed, "- "+old.String())
		case old.identity() != r.identity():
			changed = append(changed, "~ "+old.String()+" → "+r.String())
		default:
			if change := old.change(r); change != "" {
				changed = append(changed, "~ "+change)
			}
		}
	}
	for _, c := range ChangedScripts(before, after) {
		switch old, s := c.Before, c.After; {
		case old == nil:
			added = append(added, "+ "+s.String())
		case s == nil:
			removed = append(removed, "- "+old.String())
		case old.Name != s.Name:
			changed = append(changed, "~ "+old.String()+" → "+s.String())
		default:
			changed = append(changed, "~ "+old.change(s))
		}
	}
	return slices.Concat(added, changed, removed)
}

// named lists the groups, services and fields of two versions, as lines of a difference have them; not those of lists that are
// the same.
func named(before, after *Rules) (was, is []string) {
	if !slices.Equal(before.Groups, after.Groups) {
		was, is = append(was, groupLines(before.Groups)...), append(is, groupLines(after.Groups)...)
	}
	if !slices.EqualFunc(before.Services, after.Services, func(a, b Service) bool { return a.same(&b) }) {
		was, is = append(was, serviceLines(before.Services)...), append(is, serviceLines(after.Services)...)
	}
	return was, is
}

func groupLines(groups []Group) (lines []string) {
	for _, g := range groups {
		lines = append(lines, "group "+shown(g.Name))
	}
	return lines
}

func serviceLines(services []Service) (lines []string) {
	for _, s := range services {
		lines = append(lines, "service "+shown(s.Name))
		for _, f := range s.Fields {
			lines = append(lines, fieldLine(s.Name, f.Name))
		}
	}
	return lines
}

// without returns the lines that others lacks, each after a mark.
func without(mark string, lines, others []string) (all []string) {
	has := make(map[string]bool, len(others))
	for _, o := range others {
		has[o] = true
	}
	for _, l := range lines {
		if !has[l] {
			all = append(all, mark+l)
		}
	}
	return all
}

// ConcernedBy reports whether lines of [Changes], or of an import's difference, are about the rule.
func (r *Rule) ConcernedBy(lines string) bool { return concerned(r.subject(), lines) }

// ConcernedBy is [Rule.ConcernedBy] of a script.
func (s *Script) ConcernedBy(lines string) bool { return concerned(s.subject(), lines) }

func concerned(subject, lines string) bool {
	subject += ": "
	for line := range strings.Lines(lines) {
		if len(line) > 2 && strings.HasPrefix(line[2:], subject) || strings.Contains(line, " → "+subject) {
			return true
		}
	}
	return false
}
