package v1

import (
	"maps"
	"net/http"
	"slices"

	"ratebook/fault"
)

// collectorMapping is a service that was assigned to a collector.
type collectorMapping struct {
	Service   string `json:"service"`
	Collector string `json:"collector"`
}

// collectorState is whether a collector is called enabled.
type collectorState struct {
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
}

func noCollector(service string) error {
	return fault.New(fault.NotFound, "No mapping for service: %s", clip(service))
}

func (s *server) listCollectorMappings(r *request) error {
	all, err := s.Collectors.CollectorMappings(r.Request().Context())
	if err != nil {
		return err
	}
	mappings := []collectorMapping{}
	for _, service := range slices.Sorted(maps.Keys(all)) {
		if only := r.args.text("collector"); only == "" || only == all[service] {
			mappings = append(mappings, collectorMapping{service, all[service]})
		}
	}
	return r.JSON(http.StatusOK, map[string]any{"mappings": mappings})
}

func (s *server) showCollectorMapping(r *request) error {
	all, err := s.Collectors.CollectorMappings(r.Request().Context())
	if err != nil {
		return err
	}
	service := r.args.text("service")
	collector, ok := all[service]
	if !ok {
		return noCollector(service)
	}
	return r.JSON(http.StatusOK, collectorMapping{service, collector})
}

// mostCollector is the most characters of a service or collector.
const mostCollector = 255

func (r *request) collectorName(name string) (string, error) {
	text := r.args.text(name)
	if text == "" || len([]rune(text)) > mostCollector {
		return "", invalid(name, text, "It must have 1 to 255 characters.")
	}
	return text, nil
}

func (s *server) setCollectorMapping(r *request) error {
	collector, err := r.collectorName("collector")
	if err != nil {
		return err
	}
	service, err := r.collectorName("service")
	if err != nil {
		return err
	}
	if err := s.Collectors.SetCollectorMapping(r.Request().Context(), service, collector, r.who.ID); err != nil {
		return err
	}
	return r.JSON(http.StatusOK, collectorMapping{service, collector})
}

func (s *server) deleteCollectorMapping(r *request) error {
	service := r.args.text("service")
	err := s.Collectors.RemoveCollectorMapping(r.Request().Context(), service, r.who.ID)
	if fault.KindOf(err) == fault.NotFound {
		return noCollector(service)
	}
	return r.deleted(err)
}

func (s *server) showCollectorState(r *request) error {
	name := r.args.text("name")
	enabled, err := s.Collectors.CollectorState(r.Request().Context(), name)
	if err != nil {
		return err
	}
	return r.JSON(http.StatusOK, collectorState{name, enabled})
}

func (s *server) setCollectorState(r *request) error {
	name, err := r.collectorName("name")
	if err != nil {
		return err
	}
	enabled := r.body.flag("enabled")
	if err := s.Collectors.SetCollectorState(r.Request().Context(), name, enabled, r.who.ID); err != nil {
		return err
	}
	return r.JSON(http.StatusOK, collectorState{name, enabled})
}
