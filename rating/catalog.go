package rating

import (
	"math"
	"slices"

	"github.com/google/uuid"

	"ratebook/fault"
)

// DefaultModules returns the rating modules there are, as a new database has them: enabled. That of scripts does nothing as long
// as there are none.
func DefaultModules() []Module {
	var all []Module
	for _, name := range moduleNames() {
		all = append(all, Module{Name: name, Enabled: name != scriptsModule, Priority: 1})
	}
	return all
}

// Service returns the service with the id; the error is of kind NotFound.
func (r *Rules) Service(id string) (*Service, error) {
	i := slices.IndexFunc(r.Services, func(s Service) bool { return s.ID == id })
	if i < 0 {
		return nil, noSuch("service", id)
	}
	service := r.Services[i]
	return &service, nil
}

// Field returns the field with the id, and its service; the error is of kind NotFound.
func (r *Rules) Field(id string) (*Field, *Service, error) {
	for _, s := range r.Services {
		for _, f := range s.Fields {
			if f.ID == id {
				return &f, &s, nil
			}
		}
	}
	return nil, nil, noSuch("field", id)
}

// Group returns the group with the id; the error is of kind NotFound.
func (r *Rules) Group(id string) (*Group, error) {
	i := slices.IndexFunc(r.Groups, func(g Group) bool { return g.ID == id })
	if i < 0 {
		return nil, noSuch("group", id)
	}
	group := r.Groups[i]
	return &group, nil
}

func noSuch(what, id string) error {
	return fault.New(fault.NotFound, "there is no %s %s; it may have been deleted", what, shown(clip(id)))
}

// checkName holds the name of a service, field, group or script to what ParseFile accepts.
func checkName(what, name string) error {
	problem := badText(name, maxText)
	if name == "" {
		problem = "this is empty"
	}
	if problem == "" {
		return nil
	}
	return &fault.Error{Kind: fault.Invalid, Message: "the " + what + " can't be saved as it is", Fields: []fault.Field{{Name: "name", Message: problem}}}
}

// taken is the error of a name that something else has.
func taken(what, name string) error {
	return &fault.Error{
		Kind: fault.Conflict, Message: "there is a " + what + " " + shown(clip(name)) + " already",
		Fields: []fault.Field{{Name: "name", Message: "choose another name"}},
	}
}

// The following edit services, fields and groups, as those of rules do. A name that is taken is a Conflict; the id that comes
// with it is then that of what has the name.

// AddService returns the rules with one more service, and its new id.
func (r *Rules) AddService(name string) (next *Rules, id string, err error) {
	if err := checkName("service", name); err != nil {
		return nil, "", err
	}
	for _, s := range r.Services {
		if s.Name == name {
			return nil, s.ID, taken("service", name)
		}
	}
	next, id = r.clone(), uuid.NewString()
	next.Services = append(next.Services, Service{ID: id, Name: name})
	return next, id, nil
}

// AddField returns the rules with one more field of a service, and its new id.
func (r *Rules) AddField(service, name string) (next *Rules, id string, err error) {
	i := slices.IndexFunc(r.Services, func(s Service) bool { return s.ID == service })
	if i < 0 {
		return nil, "", noSuch("service", service)
	}
	if err := checkName("field", name); err != nil {
		return nil, "", err
	}
	for _, f := range r.Services[i].Fields {
		if f.Name == name {
			return nil, f.ID, taken("field", name)
		}
	}
	next, id = r.clone(), uuid.NewString()
	next.Services[i].Fields = append(next.Services[i].Fields, Field{ID: id, Name: name})
	return next, id, nil
}

// AddGroup returns the rules with one more group, and its new id.
func (r *Rules) AddGroup(name string) (next *Rules, id string, err error) {
	if err := checkName("group", name); err != nil {
		return nil, "", err
	}
	for _, g := range r.Groups {
		if g.Name == name {
			return nil, g.ID, taken("group", name)
		}
	}
	next, id = r.clone(), uuid.NewString()
	next.Groups = append(next.Groups, Group{ID: id, Name: name})
	return next, id, nil
}

// RemoveService returns the rules without a service, its fields and the rules of both.
func (r *Rules) RemoveService(id string) (*Rules, error) {
	s, err := r.Service(id)
	if err != nil {
		return nil, err
	}
	next := r.clone()
	next.Services = slices.DeleteFunc(next.Services, func(o Service) bool { return o.ID == id })
	next.Hashmap = slices.DeleteFunc(next.Hashmap, func(rule Rule) bool { return rule.Service == s.Name })
	return next, nil
}

// RemoveField returns the rules without a field and its rules.
func (r *Rules) RemoveField(id string) (*Rules, error) {
	f, s, err := r.Field(id)
	if err != nil {
		return nil, err
	}
	next := r.clone()
	i := slices.IndexFunc(next.Services, func(o Service) bool { return o.ID == s.ID })
	next.Services[i].Fields = slices.DeleteFunc(next.Services[i].Fields, func(o Field) bool { return o.ID == id })
	next.Hashmap = slices.DeleteFunc(next.Hashmap, func(rule Rule) bool { return rule.Service == s.Name && rule.Field == f.Name })
	return next, nil
}

// RemoveGroup returns the rules without a group. Its rules go too if recursive, else they have no group any more; that is a
// Conflict where one would then be valid beside another rule for the same usage.
func (r *Rules) RemoveGroup(id string, recursive bool) (*Rules, error) {
	g, err := r.Group(id)
	if err != nil {
		return nil, err
	}
	next := r.clone()
	next.Groups = slices.DeleteFunc(next.Groups, func(o Group) bool { return o.ID == id })
	if recursive {
		next.Hashmap = slices.DeleteFunc(next.Hashmap, func(rule Rule) bool { return rule.Group == g.Name })
		return next, nil
	}
	for i := range next.Hashmap {
		rule := &next.Hashmap[i]
		if rule.Group != g.Name {
			continue
		}
		rule.Group = ""
		if other := r.clash(&r.Hashmap[i], rule); other != nil {
			return nil, fault.New(fault.Conflict, "without the group %s there would be two rules for the same usage at the same time: %s, and %s; "+
				"change or end one of them, or remove the group with its rules", shown(g.Name), &r.Hashmap[i], other)
		}
	}
	return next, nil
}

// SetModule returns the rules with a module enabled or disabled, and of another priority; nil leaves things as they are.
func (r *Rules) SetModule(name string, enabled *bool, priority *int) (*Rules, error) {
	i := slices.IndexFunc(r.Modules, func(m Module) bool { return m.Name == name })
	if i < 0 {
		return nil, fault.New(fault.NotFound, "there is no rating module %s", shown(clip(name)))
	}
	next := r.clone()
	if enabled != nil {
		next.Modules[i].Enabled = *enabled
	}
	if priority != nil {
		if *priority < math.MinInt32 || *priority > math.MaxInt32 {
			return nil, &fault.Error{
				Kind: fault.Invalid, Message: "the module can't be saved as it is",
				Fields: []fault.Field{{Name: "priority", Message: "this is too large a number"}},
			}
		}
		next.Modules[i].Priority = *priority
	}
	return next, nil
}
