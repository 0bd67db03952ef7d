package rating

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"ratebook/fault"
)

// Adoption says what became of rules that were adopted, by what they are: module, group, service, field, mapping, threshold or
// script.
type Adoption struct {
	Added   map[string]int
	Known   map[string]int // were there already, or were deleted, and were left alone
	Refused []Refusal      // also scripts that are stored, but don't compile
	Notes   []string       // about what was added, but may not be expected
}

// Refusal is what was not adopted, and why.
type Refusal struct{ Kind, Subject, Reason string }

// Adopt returns the rules with everything of other, which another system made, that they lack, under the ids that it has there.
// What is there already is left alone, also what was deleted: gone tells the ids of such rules and scripts. Services, fields and
// groups that are there under another id keep theirs, and other's rules become theirs. A module is set as in other
// when its first rules or scripts come over, if it is as in a new database. Neither r nor other is changed; if there is nothing to add, the result equals r.
func (r *Rules) Adopt(other *Rules, gone map[string]bool) (*Rules, *Adoption) {
	a := &adopter{
		next: r.clone(), gone: gone, done: &Adoption{Added: map[string]int{}, Known: map[string]int{}},
		services: map[string]string{}, groups: map[string]string{}, fields: map[[2]string]string{},
	}
	a.modules(other)
	for _, g := range other.Groups {
		a.group(g)
	}
	for _, s := range other.Services {
		a.service(s)
	}
	a.rules(other.Hashmap)
	for _, s := range other.Scripts {
		a.script(s)
	}
	return a.next, a.done
}

// adopter is an Adopt under way. Names are those in other, with what they are called here.
type adopter struct {
	next             *Rules
	gone             map[string]bool
	done             *Adoption
	services, groups map[string]string
	fields           map[[2]string]string // by the names of service and field
}

func (a *adopter) refuse(kind, subject, reason string, args ...any) {
	a.done.Refused = append(a.done.Refused, Refusal{kind, subject, fmt.Sprintf(reason, args...)})
}

// identified reports whether an id can be kept.
func (a *adopter) identified(kind, subject, id string) bool {
	if u, err := uuid.Parse(id); err == nil && u.String() == id {
		return true
	}
	a.refuse(kind, subject, "its id %s is no UUID", shown(clip(id)))
	return false
}

func (a *adopter) modules(other *Rules) {
	for _, m := range other.Modules {
		i := slices.IndexFunc(a.next.Modules, func(o Module) bool { return o.Name == m.Name })
		if i < 0 {
			a.refuse("module", "module "+shown(clip(m.Name)), "Ratebook has no such module")
			continue
		}
		here := &a.next.Modules[i]
		met, own := a.met(m.Name, other)
		switch {
		case *here == m || met || !slices.Contains(DefaultModules(), *here):
			a.done.Known["module"]++
		case here.Enabled && !m.Enabled && own:
			a.refuse("module", "module "+m.Name, "it is disabled there, but stays enabled here, since there are prices of your own")
		default:
			*here = m
			a.done.Added["module"]++
		}
	}
}

// met reports whether something of a module came over before, and own whether there is something that other lacks.
func (a *adopter) met(module string, other *Rules) (met, own bool) {
	theirs := map[string]bool{}
	look := func(id string) {
		met = met || theirs[id]
		own = own || !theirs[id]
	}
	if module == scriptsModule {
		for _, s := range other.Scripts {
			theirs[s.ID] = true
		}
		for _, s := range a.next.Scripts {
			look(s.ID)
		}
	} else {
		for _, r := range other.Hashmap {
			theirs[r.ID] = true
		}
		for _, r := range a.next.Hashmap {
			look(r.ID)
		}
	}
	for id := range theirs {
		met = met || a.gone[id]
	}
	return met, own
}

// named adopts something that has a name that nothing else of its kind has, and returns what it is called here. There are all of
// the kind that are here, as id and name.
func (a *adopter) named(kind, subject, id, name string, there func(yield func(id, name string) bool), add func()) (called string, ok bool) {
	other := ""
	for i, n := range there {
		if i == id {
			a.done.Known[kind]++
			return n, true
		}
		if n == name {
			other = i
		}
	}
	if other != "" {
		a.done.Known[kind]++
		a.refuse(kind, subject, "its id %s: there is one of that name here, with the id %s", id, other)
		return name, true
	}
	if !a.identified(kind, subject, id) {
		return "", false
	}
	if err := checkName(kind, name); err != nil {
		a.refuse(kind, subject, "%s", reasonOf(err))
		return "", false
	}
	add()
	a.done.Added[kind]++
	return name, true
}

func (a *adopter) group(g Group) {
	there := func(yield func(id, name string) bool) {
		for _, o := range a.next.Groups {
			if !yield(o.ID, o.Name) {
				return
			}
		}
	}
	called, ok := a.named("group", "group "+shown(clip(g.Name)), g.ID, g.Name, there, func() { a.next.Groups = append(a.next.Groups, g) })
	if ok {
		a.groups[g.Name] = called
	}
}

func (a *adopter) service(s Service) {
	there := func(yield func(id, name string) bool) {
		for _, o := range a.next.Services {
			if !yield(o.ID, o.Name) {
				return
			}
		}
	}
	called, ok := a.named("service", "service "+shown(clip(s.Name)), s.ID, s.Name, there, func() {
		a.next.Services = append(a.next.Services, Service{ID: s.ID, Name: s.Name})
	})
	if !ok {
		return
	}
	a.services[s.Name] = called
	here := &a.next.Services[slices.IndexFunc(a.next.Services, func(o Service) bool { return o.Name == called })]
	for _, f := range s.Fields {
		there := func(yield func(id, name string) bool) {
			for _, o := range here.Fields {
				if !yield(o.ID, o.Name) {
					return
				}
			}
		}
		name, ok := a.named("field", fieldLine(clip(s.Name), clip(f.Name)), f.ID, f.Name, there, func() { here.Fields = append(here.Fields, f) })
		if ok {
			a.fields[[2]string{s.Name, f.Name}] = name
		}
	}
}

func (a *adopter) rules(theirs []Rule) {
	known, identities, kins := map[string]bool{}, map[identity]*Rule{}, map[identity][]Rule{}
	for i := range a.next.Hashmap {
		r := a.next.Hashmap[i]
		known[r.ID], identities[r.identity()] = true, &r
		kins[r.kin()] = append(kins[r.kin()], r)
	}
	for _, r := range theirs {
		kind := string(r.Kind)
		if known[r.ID] || a.gone[r.ID] {
			a.done.Known[kind]++
			continue
		}
		r.Start, r.End = utc(r.Start), utc(r.End)
		subject := r.String()
		if r.ID != "" {
			subject += " (" + r.ID + ")"
		}
		if !a.identified(kind, subject, r.ID) {
			continue
		}
		var ok bool
		if r.Field != "" {
			if r.Field, ok = a.fields[[2]string{r.Service, r.Field}]; !ok {
				a.refuse(kind, subject, "its field did not come over")
				continue
			}
		}
		if r.Service, ok = a.services[r.Service]; !ok {
			a.refuse(kind, subject, "its service did not come over")
			continue
		}
		if r.Group != "" {
			if r.Group, ok = a.groups[r.Group]; !ok {
				a.refuse(kind, subject, "its group did not come over")
				continue
			}
		}
		var c complaints
		c.check(&r)
		if err := c.err(); err != nil {
			a.refuse(kind, subject, "%s", reasonOf(err))
			continue
		}
		if twin := identities[r.identity()]; twin != nil {
			a.refuse(kind, subject, "there is the same one already, with the id %s", twin.ID)
			continue
		}
		kin := r.kin()
		if i := slices.IndexFunc(kins[kin], func(o Rule) bool { return r.overlaps(&o) }); i >= 0 {
			a.done.Notes = append(a.done.Notes, fmt.Sprintf("%s: the %s is valid at the same time; the one that started last counts", subject, &kins[kin][i]))
		}
		kins[kin] = append(kins[kin], r)
		known[r.ID], identities[r.identity()] = true, &r
		a.next.Hashmap = append(a.next.Hashmap, r)
		a.done.Added[kind]++
	}
}

func (a *adopter) script(s Script) {
	subject := s.subject()
	if here, err := a.next.Script(s.ID); err == nil {
		a.done.Known["script"]++
		a.compile(here)
		return
	}
	switch other := a.next.scriptNamed(s.Name); {
	case a.gone[s.ID]:
		a.done.Known["script"]++
		return
	case !a.identified("script", subject, s.ID):
		return
	case other != nil:
		a.refuse("script", subject, "there is another script of that name, with the id %s", other.ID)
		return
	}
	if err := s.check(); err != nil {
		a.refuse("script", subject, "%s", reasonOf(err))
		return
	}
	a.compile(&s)
	a.next.Scripts = append(a.next.Scripts, s)
	a.done.Added["script"]++
}

// compile notes that a script which is here never runs.
func (a *adopter) compile(s *Script) {
	if err := CheckScript(s.Data); err != nil {
		a.refuse("script", s.subject(), "it is stored, but never runs, since it does not compile: %s", reasonOf(err))
	}
}

// reasonOf is an error on one line.
func reasonOf(err error) string {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || len(e.Fields) == 0 {
		return strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	var parts []string
	for _, f := range e.Fields {
		parts = append(parts, f.Name+": "+f.Message)
	}
	return strings.Join(parts, "; ")
}
