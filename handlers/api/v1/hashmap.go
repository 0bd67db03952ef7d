package v1

import (
	"net/http"

	"ratebook/fault"
	"ratebook/rating"
)

// The services, fields and groups of hashmap rules, as clients know them.
type (
	service struct {
		ID   string `json:"service_id"`
		Name string `json:"name"`
	}
	field struct {
		ID      string `json:"field_id"`
		Name    string `json:"name"`
		Service string `json:"service_id"`
	}
	group struct {
		ID   string `json:"group_id"`
		Name string `json:"name"`
	}
)

// What CloudKitty says of what is not there, or there already.
func noService(kind fault.Kind, id string) error {
	return fault.New(kind, "No such service: None (UUID: %s)", clip(id))
}

func noField(kind fault.Kind, id string) error {
	return fault.New(kind, "No such field: %s", clip(id))
}

func noGroup(kind fault.Kind, id string) error {
	return fault.New(kind, "No such group: None (UUID: %s)", clip(id))
}

func exists(what, name, id string) error {
	return fault.New(fault.Conflict, "%s %s already exists (UUID: %s)", what, clip(name), id)
}

func (s *server) listTypes(r *request) error {
	return r.JSON(http.StatusOK, []rating.Type{rating.Rate, rating.Flat})
}

func (s *server) listServices(r *request) error {
	rules, err := s.Rules.Rules(r.Request().Context(), 0)
	if err != nil {
		return err
	}
	services := make([]service, len(rules.Services))
	for i, one := range rules.Services {
		services[i] = service{one.ID, one.Name}
	}
	return r.JSON(http.StatusOK, map[string]any{"services": services})
}

func (s *server) showService(r *request) error {
	rules, err := s.Rules.Rules(r.Request().Context(), 0)
	if err != nil {
		return err
	}
	one, err := rules.Service(r.id("service_id"))
	if err != nil {
		return noService(fault.NotFound, r.args.text("service_id"))
	}
	return r.JSON(http.StatusOK, service{one.ID, one.Name})
}

func (s *server) createService(r *request) error {
	made := service{Name: r.body.text("name")}
	err := s.edit(r, func(rules *rating.Rules) (next *rating.Rules, err error) {
		next, made.ID, err = rules.AddService(made.Name)
		if fault.KindOf(err) == fault.Conflict {
			return nil, exists("Service", made.Name, made.ID)
		}
		return next, r.named(err)
	})
	if err != nil {
		return err
	}
	return r.created(made.ID, made)
}

func (s *server) deleteService(r *request) error {
	err := s.edit(r, func(rules *rating.Rules) (*rating.Rules, error) {
		next, err := rules.RemoveService(r.id("service_id"))
		if fault.KindOf(err) == fault.NotFound {
			return nil, noService(fault.NotFound, r.args.text("service_id"))
		}
		return next, err
	})
	return r.deleted(err)
}

// deleted answers a DELETE.
func (r *request) deleted(err error) error {
	if err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}

// listFields lists those of a service; one that isn't there has none.
func (s *server) listFields(r *request) error {
	rules, err := s.Rules.Rules(r.Request().Context(), 0)
	if err != nil {
		return err
	}
	fields := []field{}
	if parent, err := rules.Service(r.id("service_id")); err == nil {
		for _, one := range parent.Fields {
			fields = append(fields, field{one.ID, one.Name, parent.ID})
		}
	}
	return r.JSON(http.StatusOK, map[string]any{"fields": fields})
}

func (s *server) showField(r *request) error {
	rules, err := s.Rules.Rules(r.Request().Context(), 0)
	if err != nil {
		return err
	}
	one, parent, err := rules.Field(r.id("field_id"))
	if err != nil {
		return noField(fault.NotFound, r.args.text("field_id"))
	}
	return r.JSON(http.StatusOK, field{one.ID, one.Name, parent.ID})
}

func (s *server) createField(r *request) error {
	made := field{Name: r.body.text("name"), Service: r.body.text("service_id")}
	err := s.edit(r, func(rules *rating.Rules) (next *rating.Rules, err error) {
		next, made.ID, err = rules.AddField(made.Service, made.Name)
		switch fault.KindOf(err) {
		case fault.NotFound:
			return nil, noService(fault.Invalid, made.Service)
		case fault.Conflict:
			return nil, exists("Field", made.Name, made.ID)
		default:
			return next, r.named(err)
		}
	})
	if err != nil {
		return err
	}
	return r.created(made.ID, made)
}

func (s *server) deleteField(r *request) error {
	err := s.edit(r, func(rules *rating.Rules) (*rating.Rules, error) {
		next, err := rules.RemoveField(r.id("field_id"))
		if fault.KindOf(err) == fault.NotFound {
			return nil, noField(fault.NotFound, r.args.text("field_id"))
		}
		return next, err
	})
	return r.deleted(err)
}

func (s *server) listGroups(r *request) error {
	rules, err := s.Rules.Rules(r.Request().Context(), 0)
	if err != nil {
		return err
	}
	groups := make([]group, len(rules.Groups))
	for i, one := range rules.Groups {
		groups[i] = group(one)
	}
	return r.JSON(http.StatusOK, map[string]any{"groups": groups})
}

func (s *server) showGroup(r *request) error {
	rules, err := s.Rules.Rules(r.Request().Context(), 0)
	if err != nil {
		return err
	}
	one, err := rules.Group(r.id("group_id"))
	if err != nil {
		return noGroup(fault.NotFound, r.args.text("group_id"))
	}
	return r.JSON(http.StatusOK, group(*one))
}

func (s *server) createGroup(r *request) error {
	made := group{Name: r.body.text("name")}
	err := s.edit(r, func(rules *rating.Rules) (next *rating.Rules, err error) {
		next, made.ID, err = rules.AddGroup(made.Name)
		if fault.KindOf(err) == fault.Conflict {
			return nil, exists("Group", made.Name, made.ID)
		}
		return next, r.named(err)
	})
	if err != nil {
		return err
	}
	return r.created(made.ID, made)
}

func (s *server) deleteGroup(r *request) error {
	err := s.edit(r, func(rules *rating.Rules) (*rating.Rules, error) {
		next, err := rules.RemoveGroup(r.id("group_id"), r.args.flag("recursive"))
		if fault.KindOf(err) == fault.NotFound {
			return nil, noGroup(fault.NotFound, r.args.text("group_id"))
		}
		return next, err
	})
	return r.deleted(err)
}
