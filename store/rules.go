package store

import (
	"context"
	"slices"
	"strings"

	"ratebook/fault"
	"ratebook/money"
	"ratebook/rating"
)

// knownRules are the rules of a version, and how its modules are stored: those that never were count as a new database has
// them. They don't change.
type knownRules struct {
	rules  *rating.Rules
	stored []rating.Module
}

// Rules returns everything that prices as of a version; version 0 is the latest. Everything is in a fixed order.
func (s *Store) Rules(ctx context.Context, version int64) (*rating.Rules, error) {
	var known *knownRules
	err := s.view(ctx, func(t *tx) (err error) {
		known, err = s.rulesOf(ctx, t, version)
		return err
	})
	if err != nil {
		return nil, err
	}
	return known.rules.Clone(), nil
}

// rulesOf returns the rules of a version, 0 for the latest, in a transaction that makes none; of those used last it reads only
// that they are.
func (s *Store) rulesOf(ctx context.Context, t *tx, version int64) (*knownRules, error) {
	latest, err := t.version(ctx, rulesVersions)
	if err != nil {
		return nil, err
	}
	if version == 0 {
		version = latest
	}
	if version > latest {
		return nil, fault.New(fault.NotFound, "there is no version %d of the rules; the latest is %d", version, latest)
	}
	known, err := s.rulesAt(ctx, t, version)
	if err == nil && version == latest {
		s.keepRules(known)
	}
	return known, err
}

// rulesAt returns the rules of a version that there is, or of 0, which has none.
func (s *Store) rulesAt(ctx context.Context, t *tx, version int64) (*knownRules, error) {
	if known := s.lastRules.Load(); known != nil && known.rules.Version == version {
		return known, nil
	}
	r, err := t.rules(ctx, version)
	if err != nil {
		return nil, err
	}
	return withModules(r), nil
}

// keepRules keeps the rules of the latest version, unless those of a later one are known.
func (s *Store) keepRules(known *knownRules) {
	for {
		last := s.lastRules.Load()
		if last != nil && last.rules.Version > known.rules.Version || s.lastRules.CompareAndSwap(last, known) {
			return
		}
	}
}

// withModules adds the modules that were never stored.
func withModules(r *rating.Rules) *knownRules {
	known := &knownRules{rules: r, stored: r.Modules}
	r.Modules = slices.Clone(r.Modules)
	for _, m := range rating.DefaultModules() {
		if !slices.ContainsFunc(r.Modules, func(o rating.Module) bool { return o.Name == m.Name }) {
			r.Modules = append(r.Modules, m)
		}
	}
	inOrder(r)
	return known
}

// rules reads the rules of a version that there is.
func (t *tx) rules(ctx context.Context, version int64) (*rating.Rules, error) {
	r := &rating.Rules{Version: version}
	err := t.list(ctx, &r.Modules, "SELECT name, enabled, priority FROM rating_modules WHERE "+asOf, version, version)
	if err != nil {
		return nil, err
	}
	if err := t.list(ctx, &r.Groups, "SELECT id, name FROM hashmap_groups WHERE "+asOf, version, version); err != nil {
		return nil, err
	}
	if err := t.list(ctx, &r.Services, "SELECT id, name FROM hashmap_services WHERE "+asOf, version, version); err != nil {
		return nil, err
	}
	var fields []struct{ ID, Service, Name string }
	if err := t.list(ctx, &fields, "SELECT id, service, name FROM hashmap_fields WHERE "+asOf, version, version); err != nil {
		return nil, err
	}
	var rules []ruleRow
	err = t.list(ctx, &rules, `SELECT id, kind, service, COALESCE(field, '') AS field, COALESCE(value, '') AS value, level, type, cost,
		COALESCE(rule_group, '') AS rule_group, COALESCE(scope, '') AS scope, starts_at, ends_at, name, description
		FROM hashmap_rules WHERE `+asOf, version, version)
	if err != nil {
		return nil, err
	}

	names := map[string]string{} // of services, fields and groups, by id
	for _, g := range r.Groups {
		names[g.ID] = g.Name
	}
	services := map[string]*rating.Service{}
	for i := range r.Services {
		services[r.Services[i].ID] = &r.Services[i]
		names[r.Services[i].ID] = r.Services[i].Name
	}
	for _, f := range fields {
		names[f.ID] = f.Name
		if service := services[f.Service]; service != nil {
			service.Fields = append(service.Fields, rating.Field{ID: f.ID, Name: f.Name})
		}
	}
	for _, w := range rules {
		r.Hashmap = append(r.Hashmap, w.rule(func(id string) string { return names[id] }))
	}

	var scripts []scriptRow
	err = t.list(ctx, &scripts, "SELECT id, name, data, starts_at, ends_at, description FROM scripts WHERE "+asOf, version, version)
	for _, w := range scripts {
		r.Scripts = append(r.Scripts, w.script())
	}
	inOrder(r)
	slices.SortFunc(r.Hashmap, byID)
	return r, err
}

// inOrder puts what has a name into the order that Rules promises.
func inOrder(r *rating.Rules) {
	slices.SortFunc(r.Modules, func(a, b rating.Module) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(r.Groups, func(a, b rating.Group) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(r.Services, func(a, b rating.Service) int { return strings.Compare(a.Name, b.Name) })
	for i := range r.Services {
		slices.SortFunc(r.Services[i].Fields, func(a, b rating.Field) int { return strings.Compare(a.Name, b.Name) })
	}
	slices.SortFunc(r.Scripts, func(a, b rating.Script) int { return strings.Compare(a.Name, b.Name) })
}

func byID(a, b rating.Rule) int { return strings.Compare(a.ID, b.ID) }

type scriptRow struct {
	ID          string
	Name        string
	Data        string
	StartsAt    timestamp `db:"starts_at"`
	EndsAt      timestamp `db:"ends_at"`
	Description string
}

func (w *scriptRow) script() rating.Script {
	return rating.Script{ID: w.ID, Name: w.Name, Data: w.Data, Start: w.StartsAt.Time, End: w.EndsAt.Time, Description: w.Description}
}

type ruleRow struct {
	ID          string
	Kind        rating.Kind
	Service     string // these three are ids
	Field       string
	Group       string `db:"rule_group"`
	Value       string
	Level       *money.Decimal
	Type        rating.Type
	Cost        money.Decimal
	Scope       string
	StartsAt    timestamp `db:"starts_at"`
	EndsAt      timestamp `db:"ends_at"`
	Name        string
	Description string
}

// rule returns the rule; name says what has an id.
func (w *ruleRow) rule(name func(id string) string) rating.Rule {
	r := rating.Rule{
		ID: w.ID, Kind: w.Kind, Service: name(w.Service), Field: name(w.Field), Value: w.Value, Type: w.Type, Cost: w.Cost,
		Group: name(w.Group), Scope: w.Scope, Start: w.StartsAt.Time, End: w.EndsAt.Time, Name: w.Name, Description: w.Description,
	}
	if w.Level != nil {
		r.Level = *w.Level
	}
	return r
}
