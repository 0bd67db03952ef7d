package app

import (
	"context"

	"ratebook/collect/prometheus"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
	"ratebook/views/pages"
)

// queries says what sources are asked for a window.
type queries struct{ store *store.Store }

// Queries returns the query of each metric of the scope's source, as of a version of the metrics. A source that is no
// Prometheus is asked none.
func (q queries) Queries(ctx context.Context, scope *metering.Scope, w period.Range, configVersion int64) ([]pages.WindowQuery, error) {
	if scope.Source.Kind != "prometheus" {
		return nil, nil
	}
	configuration, err := q.store.Configuration(ctx, configVersion)
	if err != nil {
		return nil, err
	}
	var all []pages.WindowQuery
	for _, m := range configuration.Metrics {
		if m.Source == scope.Source.Name {
			all = append(all, pages.WindowQuery{Metric: m.Name, Query: prometheus.Query(m, scope.Source.ScopeKey, scope.ID, w.End.Sub(w.Begin))})
		}
	}
	return all, nil
}
