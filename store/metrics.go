package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"ratebook/fault"
	"ratebook/metering"
)

// Configuration returns all metrics as of a version; version 0 is the latest.
func (s *Store) Configuration(ctx context.Context, version int64) (c *metering.Configuration, err error) {
	err = s.view(ctx, func(t *tx) (err error) {
		c, err = t.configuration(ctx, version)
		return err
	})
	return c, err
}

func (t *tx) configuration(ctx context.Context, version int64) (*metering.Configuration, error) {
	latest, err := t.version(ctx, metricVersions)
	if err != nil {
		return nil, err
	}
	if version == 0 {
		version = latest
	}
	if version > latest {
		return nil, fault.New(fault.NotFound, "there is no version %d of the metrics; the latest is %d", version, latest)
	}
	var rows []struct {
		Source, Measured, Definition, Name string
		Metric                             int64
	}
	err = t.list(ctx, &rows, `SELECT src.name AS source, c.measured, c.metric, m.name, c.definition
		FROM metric_configs c JOIN metrics m ON m.id = c.metric JOIN sources src ON src.id = c.source
		WHERE `+asOf, version, version)
	if err != nil {
		return nil, err
	}
	c := &metering.Configuration{Version: version}
	for _, r := range rows {
		m := &metering.Metric{}
		if err := json.Unmarshal([]byte(r.Definition), m); err != nil {
			return nil, fault.Wrap(fault.Internal, err, "the stored configuration of metric %s (%s) can't be read", r.Name, r.Measured)
		}
		m.Ref, m.Source, m.Measured, m.Name = r.Metric, r.Source, r.Measured, r.Name
		c.Metrics = append(c.Metrics, m)
	}
	// in Go, since databases collate differently
	slices.SortFunc(c.Metrics, func(a, b *metering.Metric) int {
		return strings.Compare(a.Source+"\x00"+a.Measured+"\x00"+a.Name, b.Source+"\x00"+b.Measured+"\x00"+b.Name)
	})
	return c, nil
}

type metricRow struct {
	source, metric       int64
	measured, definition string
}

// Configure makes c's metrics the valid ones, as a new version, and returns that version. c.Version must be the version
// that the change was made from; if another came between, nothing changes and the error is a Conflict. what says what
// changed, for the audit log.
func (s *Store) Configure(ctx context.Context, c *metering.Configuration, author, what string) (version int64, err error) {
	err = s.update(ctx, func(t *tx) error {
		if version, err = t.nextVersion(ctx, metricVersions, c.Version, author); err != nil {
			return err
		}
		before, err := t.configuration(ctx, c.Version)
		if err != nil {
			return err
		}
		sources := map[string]int64{}
		var rows []struct {
			ID   int64
			Name string
		}
		if err := t.list(ctx, &rows, "SELECT id, name FROM sources"); err != nil {
			return err
		}
		for _, r := range rows {
			sources[r.Name] = r.ID
		}
		index := func(metrics []*metering.Metric) (map[string]metricRow, error) {
			all := map[string]metricRow{}
			for _, m := range metrics {
				source, ok := sources[m.Source]
				if !ok {
					return nil, fault.New(fault.NotFound, "metric %s: there is no source %q", m.Name, m.Source)
				}
				ref := m.Ref
				if ref == 0 {
					if ref, err = t.metricRef(ctx, m.Name); err != nil {
						return nil, err
					}
				}
				definition, err := json.Marshal(m)
				if err != nil {
					return nil, fmt.Errorf("store: metric %s: %w", m.Name, err)
				}
				all[fmt.Sprintf("%d %s %d", source, m.Measured, ref)] = metricRow{source, ref, m.Measured, string(definition)}
			}
			return all, nil
		}
		old, err := index(before.Metrics)
		if err != nil {
			return err
		}
		next, err := index(c.Metrics)
		if err != nil {
			return err
		}
		table := versioned{"metric_configs", []string{"source", "measured", "metric"}, []string{"definition"}}
		change := replace(table, old, next, func(r metricRow) entry {
			return entry{[]any{r.source, r.measured, r.metric}, []any{r.definition}}
		})
		if err := t.supersede(ctx, table, version, change.ended, change.begun); err != nil {
			return err
		}
		return t.audit(ctx, author, "change", fmt.Sprintf("metrics, version %d", version), "", what)
	})
	return version, err
}

// metricRef returns the number of a metric's name, making one if it is new.
func (t *tx) metricRef(ctx context.Context, name string) (ref int64, err error) {
	_, err = t.exec(ctx, "INSERT INTO metrics (name) VALUES (?) ON CONFLICT (name) DO NOTHING", name)
	if err == nil {
		_, err = t.get(ctx, &ref, "SELECT id FROM metrics WHERE name = ?", name)
	}
	return ref, err
}
