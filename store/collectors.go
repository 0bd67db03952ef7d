package store

import (
	"context"
	"strconv"

	"ratebook/fault"
)

// CollectorMappings returns which collectors clients of CloudKitty's API assigned services to, by service.
func (s *Store) CollectorMappings(ctx context.Context) (map[string]string, error) {
	var rows []struct{ Service, Collector string }
	err := s.view(ctx, func(t *tx) error { return t.list(ctx, &rows, "SELECT service, collector FROM collector_mappings") })
	all := make(map[string]string, len(rows))
	for _, r := range rows {
		all[r.Service] = r.Collector
	}
	return all, err
}

// SetCollectorMapping assigns a service to a collector, and takes it from another one.
func (s *Store) SetCollectorMapping(ctx context.Context, service, collector, actor string) error {
	return s.update(ctx, func(t *tx) error {
		var before string
		if _, err := t.get(ctx, &before, "SELECT collector FROM collector_mappings WHERE service = ?", service); err != nil || before == collector {
			return err
		}
		_, err := t.exec(ctx, `INSERT INTO collector_mappings (service, collector) VALUES (?, ?)
			ON CONFLICT (service) DO UPDATE SET collector = excluded.collector`, service, collector)
		if err != nil {
			return err
		}
		return t.audit(ctx, actor, "change", "collector of "+service, before, collector)
	})
}

// RemoveCollectorMapping forgets which collector a service was assigned to; the error is NotFound if it was to none.
func (s *Store) RemoveCollectorMapping(ctx context.Context, service, actor string) error {
	return s.update(ctx, func(t *tx) error {
		var before string
		found, err := t.get(ctx, &before, "SELECT collector FROM collector_mappings WHERE service = ?", service)
		switch {
		case err != nil:
			return err
		case !found:
			return fault.New(fault.NotFound, "the service %q is assigned to no collector", service)
		}
		if _, err := t.exec(ctx, "DELETE FROM collector_mappings WHERE service = ?", service); err != nil {
			return err
		}
		return t.audit(ctx, actor, "delete", "collector of "+service, before, "")
	})
}

// CollectorState reports whether clients of CloudKitty's API called a collector enabled; of one that nobody mentioned, false.
func (s *Store) CollectorState(ctx context.Context, name string) (enabled bool, err error) {
	err = s.view(ctx, func(t *tx) error {
		_, err := t.get(ctx, &enabled, "SELECT enabled FROM collector_states WHERE name = ?", name)
		return err
	})
	return enabled, err
}

// SetCollectorState calls a collector enabled or disabled.
func (s *Store) SetCollectorState(ctx context.Context, name string, enabled bool, actor string) error {
	return s.update(ctx, func(t *tx) error {
		var before bool
		found, err := t.get(ctx, &before, "SELECT enabled FROM collector_states WHERE name = ?", name)
		if err != nil || found && before == enabled {
			return err
		}
		_, err = t.exec(ctx, `INSERT INTO collector_states (name, enabled) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET enabled = excluded.enabled`, name, enabled)
		if err != nil {
			return err
		}
		was := ""
		if found {
			was = "enabled: " + strconv.FormatBool(before)
		}
		return t.audit(ctx, actor, "change", "collector "+name, was, "enabled: "+strconv.FormatBool(enabled))
	})
}
