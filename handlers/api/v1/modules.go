package v1

import (
	"net/http"

	"ratebook/fault"
	"ratebook/rating"
)

// module is a rating module as clients know it.
type module struct {
	ID          string `json:"module_id"`
	Description string `json:"description"`
	Enabled     bool   `json:"enabled"`
	HotConfig   bool   `json:"hot-config"` // whether it can be configured while it runs
	Priority    int    `json:"priority"`
}

// noop is the module that leaves prices alone, always.
const noop = "noop"

// descriptions are CloudKitty's of the modules.
var descriptions = map[string]string{"hashmap": "HashMap rating module.", noop: "Dummy test module.", "pyscripts": "PyScripts rating module."}

func moduleOf(m rating.Module) module {
	return module{m.Name, descriptions[m.Name], m.Enabled || m.Name == noop, m.Name != noop, m.Priority}
}

func (s *server) listModules(r *request) error {
	rules, err := s.Rules.Rules(r.Request().Context(), 0)
	if err != nil {
		return err
	}
	modules := make([]module, len(rules.Modules))
	for i, m := range rules.Modules {
		modules[i] = moduleOf(m)
	}
	return r.JSON(http.StatusOK, map[string]any{"modules": modules})
}

func (s *server) showModule(r *request) error {
	rules, err := s.Rules.Rules(r.Request().Context(), 0)
	if err != nil {
		return err
	}
	for _, m := range rules.Modules {
		if m.Name == r.args.text("module_id") {
			return r.JSON(http.StatusOK, moduleOf(m))
		}
	}
	return noModule()
}

func noModule() error { return fault.New(fault.NotFound, "Module not found.") }

// updateModule changes what the request mentions. That noop be disabled is accepted and ignored, as in CloudKitty.
func (s *server) updateModule(r *request) error {
	name := r.args.text("module_id")
	var enabled *bool
	if on, ok := r.body["enabled"].(bool); ok && name != noop {
		enabled = &on
	}
	var priority *int
	if n, ok := r.body["priority"].(int); ok {
		priority = &n
	}
	err := s.edit(r, func(rules *rating.Rules) (*rating.Rules, error) {
		next, err := rules.SetModule(name, enabled, priority)
		if fault.KindOf(err) == fault.NotFound {
			return nil, noModule()
		}
		return next, err
	})
	if err != nil {
		return err
	}
	r.redirected()
	return r.JSON(http.StatusFound, nil)
}

// nothing has nothing to do, and nothing to say.
func (s *server) nothing(r *request) error { return r.NoContent(http.StatusNoContent) }

func (s *server) unconfigurable(*request) error {
	return fault.New(fault.Conflict, "Module is not configurable")
}
