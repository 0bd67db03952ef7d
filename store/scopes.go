package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/fault"
	"ratebook/metering"
)

// UseSource stores what a process knows of a source, by its name, and returns it with its number.
func (s *Store) UseSource(ctx context.Context, src metering.Source) (metering.Source, error) {
	if src.Name == metering.PushSource {
		return src, fault.New(fault.Invalid, "%q is the source of usage that is pushed; give this one another name", src.Name)
	}
	err := s.update(ctx, func(t *tx) error {
		_, err := t.get(ctx, &src.Ref, `INSERT INTO sources (name, kind, url, scope_key) VALUES (?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, url = excluded.url, scope_key = excluded.scope_key
			RETURNING id`, src.Name, src.Kind, src.URL, src.ScopeKey)
		return err
	})
	return src, err
}

// EnsureSource stores a source unless there is one of its name.
func (s *Store) EnsureSource(ctx context.Context, src metering.Source) error {
	return s.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, "INSERT INTO sources (name, kind, url, scope_key) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO NOTHING", src.Name, src.Kind, src.URL, src.ScopeKey)
		return err
	})
}

type sourceVersion struct {
	source  int64
	version string
}

// sourceVersion returns the number of a source's software version; NULL if it is unknown.
func (s *Store) sourceVersion(ctx context.Context, t *tx, v sourceVersion) (any, error) {
	if v.version == "" {
		return nil, nil
	}
	s.mu.Lock()
	ref, ok := s.sourceRefs[v]
	s.mu.Unlock()
	if ok {
		return ref, nil
	}
	const known = "SELECT id FROM source_versions WHERE source = ? AND version = ?"
	found, err := t.get(ctx, &ref, known, v.source, v.version)
	if err != nil {
		return nil, err
	}
	if !found {
		_, err := t.exec(ctx, `INSERT INTO source_versions (source, version, first_seen) VALUES (?, ?, ?)
			ON CONFLICT (source, version) DO NOTHING`, v.source, v.version, at(time.Now()))
		if err != nil {
			return nil, err
		}
		if _, err := t.get(ctx, &ref, known, v.source, v.version); err != nil {
			return nil, err
		}
		return ref, nil // remembered when it is read back, not before it is committed
	}
	s.mu.Lock()
	s.sourceRefs[v] = ref
	s.mu.Unlock()
	return ref, nil
}

// scopeRow reads scopes with their source.
type scopeRow struct {
	ID       int64
	Scope    string
	Name     string
	Active   bool
	SourceID int64  `db:"source_id"`
	Source   string `db:"source_name"`
	Kind     string
	URL      string
	ScopeKey string `db:"scope_key"`
}

const scopeColumns = `s.id, s.scope, s.name, s.active, s.scope_key,
	src.id AS source_id, src.name AS source_name, src.kind, src.url FROM scopes s JOIN sources src ON src.id = s.source`

func (r *scopeRow) scope() *metering.Scope {
	return &metering.Scope{
		Ref: r.ID, ID: r.Scope, Name: r.Name, Active: r.Active,
		Source: metering.Source{Ref: r.SourceID, Name: r.Source, Kind: r.Kind, URL: r.URL, ScopeKey: r.ScopeKey},
	}
}

// Scopes lists all scopes by id.
func (s *Store) Scopes(ctx context.Context) (scopes []*metering.Scope, err error) {
	var rows []scopeRow
	err = s.view(ctx, func(t *tx) error { return t.list(ctx, &rows, "SELECT "+scopeColumns+" ORDER BY s.id") })
	// in Go, since databases collate differently
	slices.SortStableFunc(rows, func(a, b scopeRow) int { return strings.Compare(a.Scope, b.Scope) })
	for i := range rows {
		scopes = append(scopes, rows[i].scope())
	}
	return scopes, err
}

// AddScopes stores the scopes that a fetcher found and that were unknown, to be planned from first on, and returns how
// many these are. A known scope keeps everything but its name, which follows the source's if the source has one.
func (s *Store) AddScopes(ctx context.Context, src metering.Source, fetcher string, found []metering.Found, first time.Time) (added int, err error) {
	known := map[string]string{} // names by id
	err = s.view(ctx, func(t *tx) error {
		return t.each(ctx, func(rows *sqlx.Rows) error {
			var id, name string
			if err := rows.Scan(&id, &name); err != nil {
				return err
			}
			known[id] = name
			return nil
		}, "SELECT scope, name FROM scopes WHERE source = ? AND scope_key = ?", src.Ref, src.ScopeKey)
	})
	if err != nil {
		return 0, err
	}
	now := time.Now()
	var values []any
	// in order, so that two processes that find the same scopes don't wait for each other; each once
	found = slices.Clone(found)
	slices.SortStableFunc(found, func(a, b metering.Found) int { return strings.Compare(a.ID, b.ID) })
	found = slices.CompactFunc(found, func(a, b metering.Found) bool { return a.ID == b.ID })
	for _, f := range found {
		name, ok := known[f.ID]
		if ok && (f.Name == "" || f.Name == name) {
			continue
		}
		if !ok {
			added++
		}
		values = append(values, src.Ref, src.ScopeKey, f.ID, f.Name, fetcher, at(now), at(first))
	}
	if len(values) == 0 {
		return 0, nil
	}
	err = s.update(ctx, func(t *tx) error {
		return t.insertRows(ctx, "INSERT INTO scopes (source, scope_key, scope, name, fetcher, found_at, planned_to)",
			"ON CONFLICT (source, scope_key, scope) DO UPDATE SET name = CASE excluded.name WHEN '' THEN scopes.name ELSE excluded.name END",
			7, values)
	})
	return added, err
}
