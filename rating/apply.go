package rating

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"ratebook/metering"
)

// Apply returns the rules that importing the file makes of the current ones, and what is different about them. What is in
// both keeps its id, what is new gets one. What is not in the file stays, or, with replace, goes; but modules, which are
// part of the program, always stay. Neither f nor current is changed. The result has current's version, being made from it.
func (f *File) Apply(current *Rules, replace bool) (*Rules, *metering.Difference) {
	a := application{replace: replace, diff: &metering.Difference{}}
	next := &Rules{Version: current.Version}
	next.Modules = a.modules(f.modules, current.Modules)
	next.Groups = a.groups(f.groups, current.Groups)
	next.Services = a.services(f.services, current.Services)
	next.Hashmap = a.rules(f.rules, current.Hashmap)
	next.Scripts = a.scripts(f.scripts, current.Scripts)
	return next, a.diff
}

// application is an import under way.
type application struct {
	replace bool
	diff    *metering.Difference
}

// absent notes what is not in the file, and reports whether it stays.
func (a *application) absent(line string) bool {
	if a.replace {
		a.diff.Removed = append(a.diff.Removed, line)
		return false
	}
	a.diff.Kept = append(a.diff.Kept, line)
	return true
}

func (a *application) add(line string)    { a.diff.Added = append(a.diff.Added, line) }
func (a *application) change(line string) { a.diff.Changed = append(a.diff.Changed, line) }

func (a *application) modules(file, current []Module) []Module {
	next := slices.Clone(current)
	listed := map[string]bool{}
	for _, m := range file {
		listed[m.Name] = true
		i := slices.IndexFunc(next, func(c Module) bool { return c.Name == m.Name })
		switch {
		case i < 0:
			a.add(m.String())
			next = append(next, m)
		case next[i] == m:
			a.diff.Same++
		default:
			a.change(fmt.Sprintf("%s (was: %s)", m, strings.TrimPrefix(next[i].String(), "module "+m.Name+": ")))
			next[i] = m
		}
	}
	for _, m := range current {
		if !listed[m.Name] {
			a.diff.Kept = append(a.diff.Kept, m.String())
		}
	}
	return next
}

func (a *application) groups(file []string, current []Group) []Group {
	var next []Group
	listed, known := map[string]bool{}, map[string]bool{}
	for _, name := range file {
		listed[name] = true
	}
	for _, g := range current {
		known[g.Name] = true
		if listed[g.Name] {
			a.diff.Same++
		} else if !a.absent("group " + shown(g.Name)) {
			continue
		}
		next = append(next, g)
	}
	for _, name := range file {
		if !known[name] {
			a.add("group " + shown(name))
			next = append(next, Group{ID: uuid.NewString(), Name: name})
		}
	}
	return next
}

func (a *application) services(file, current []Service) []Service {
	var next []Service
	listed := map[string]*Service{}
	for i := range file {
		listed[file[i].Name] = &file[i]
	}
	known := map[string]bool{}
	for _, s := range current {
		known[s.Name] = true
		var fields []Field
		if inFile := listed[s.Name]; inFile != nil {
			a.diff.Same++
			fields = inFile.Fields
		} else if !a.absent("service " + shown(s.Name)) {
			for _, f := range s.Fields {
				a.absent(fieldLine(s.Name, f.Name))
			}
			continue
		}
		s.Fields = a.fields(s.Name, fields, s.Fields)
		next = append(next, s)
	}
	for _, s := range file {
		if !known[s.Name] {
			a.add("service " + shown(s.Name))
			next = append(next, Service{ID: uuid.NewString(), Name: s.Name, Fields: a.fields(s.Name, s.Fields, nil)})
		}
	}
	return next
}

func (a *application) fields(service string, file, current []Field) []Field {
	var next []Field
	listed, known := map[string]bool{}, map[string]bool{}
	for _, f := range file {
		listed[f.Name] = true
	}
	for _, f := range current {
		known[f.Name] = true
		if listed[f.Name] {
			a.diff.Same++
		} else if !a.absent(fieldLine(service, f.Name)) {
			continue
		}
		next = append(next, f)
	}
	for _, f := range file {
		if !known[f.Name] {
			a.add(fieldLine(service, f.Name))
			next = append(next, Field{ID: uuid.NewString(), Name: f.Name})
		}
	}
	return next
}

func fieldLine(service, field string) string {
	return fmt.Sprintf("field %s of %s", shown(field), shown(service))
}

func (a *application) rules(file, current []Rule) []Rule {
	var next []Rule
	listed := make(map[identity]*Rule, len(file))
	for i := range file {
		listed[file[i].identity()] = &file[i]
	}
	known := make(map[identity]string, len(current)) // the ids of those that count
	for _, r := range current {
		known[r.identity()] = max(r.ID, known[r.identity()])
	}
	for _, r := range current {
		id := r.identity()
		inFile := listed[id]
		if inFile == nil || known[id] != r.ID {
			if a.absent(r.String()) {
				next = append(next, r)
			}
			continue
		}
		change := r.change(inFile)
		if change == "" {
			a.diff.Same++
			next = append(next, r)
			continue
		}
		a.change(change)
		changed := *inFile
		changed.ID = r.ID
		next = append(next, changed)
	}
	for _, r := range file {
		if known[r.identity()] == "" {
			a.add(r.String())
			r.ID = uuid.NewString()
			next = append(next, r)
		}
	}
	return next
}

func (a *application) scripts(file, current []Script) []Script {
	var next []Script
	listed := make(map[string]*Script, len(file))
	for i := range file {
		listed[file[i].Name] = &file[i]
	}
	known := map[string]bool{}
	for _, s := range current {
		known[s.Name] = true
		inFile := listed[s.Name]
		if inFile == nil {
			if a.absent(s.String()) {
				next = append(next, s)
			}
			continue
		}
		change := s.change(inFile)
		if change == "" {
			a.diff.Same++
			next = append(next, s)
			continue
		}
		a.change(change)
		changed := *inFile
		changed.ID = s.ID
		next = append(next, changed)
	}
	for _, s := range file {
		if !known[s.Name] {
			a.add(s.String())
			s.ID = uuid.NewString()
			next = append(next, s)
		}
	}
	return next
}
