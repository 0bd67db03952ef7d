package storetest

import (
	"maps"

	"ratebook/fault"
	"ratebook/store"
)

var collectorTests = []test{
	{"collectors/kept", func(e *env) {
		e.world(store.Wanted{})
		mappings := func(want map[string]string) {
			e.Helper()
			if got, err := e.s.CollectorMappings(e.ctx); err != nil || !maps.Equal(got, want) {
				e.Errorf("mappings: %v, %v", got, err)
			}
		}
		state := func(name string, want bool) {
			e.Helper()
			if got, err := e.s.CollectorState(e.ctx, name); err != nil || got != want {
				e.Errorf("%s is enabled: %t, %v", name, got, err)
			}
		}
		mappings(map[string]string{})
		e.must(e.s.SetCollectorMapping(e.ctx, "cpu", "gnocchi", "ada"))
		e.must(e.s.SetCollectorMapping(e.ctx, "cpu", "prometheus", "ada"))
		e.must(e.s.SetCollectorMapping(e.ctx, "cpu", "prometheus", "ada"))
		e.must(e.s.SetCollectorMapping(e.ctx, "Größe", "prometheus", "ada"))
		mappings(map[string]string{"cpu": "prometheus", "Größe": "prometheus"})
		e.must(e.s.RemoveCollectorMapping(e.ctx, "Größe", "ada"))
		e.refused(e.s.RemoveCollectorMapping(e.ctx, "Größe", "ada"), fault.NotFound, "Größe")
		mappings(map[string]string{"cpu": "prometheus"})

		state("gnocchi", false)
		e.must(e.s.SetCollectorState(e.ctx, "gnocchi", true, "ada"))
		e.must(e.s.SetCollectorState(e.ctx, "gnocchi", true, "ada"))
		state("gnocchi", true)
		e.must(e.s.SetCollectorState(e.ctx, "gnocchi", false, "ada"))
		state("gnocchi", false)
		e.equal("changes", e.count("SELECT count(*) FROM audit_log WHERE subject LIKE '%collector%'"), 6)
	}},
}
