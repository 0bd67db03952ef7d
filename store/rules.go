package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"ratebook/fault"
	"ratebook/money"
	"ratebook/rating"
)

// Rules returns everything that prices as of a version; version 0 is the latest. Everything is in a fixed order.
func (s *Store) Rules(ctx context.Context, version int64) (r *rating.Rules, err error) {
	err = s.view(ctx, func(t *tx) (err error) {
		r, err = t.rules(ctx, version)
		return err
	})
	if err == nil && len(r.Modules) == 0 { // a new database
		r.Modules = []rating.Module{{Name: "hashmap", Enabled: true, Priority: 1}, {Name: "noop", Enabled: true, Priority: 1}}
	}
	return r, err
}

func (t *tx) rules(ctx context.Context, version int64) (*rating.Rules, error) {
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
	r := &rating.Rules{Version: version}
	err = t.list(ctx, &r.Modules, "SELECT name, enabled, priority FROM rating_modules WHERE "+asOf, version, version)
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
		rule := rating.Rule{
			ID: w.ID, Kind: w.Kind, Service: names[w.Service], Field: names[w.Field], Value: w.Value, Type: w.Type, Cost: w.Cost,
			Group: names[w.Group], Scope: w.Scope, Start: w.StartsAt.Time, End: w.EndsAt.Time, Name: w.Name, Description: w.Description,
		}
		if w.Level != nil {
			rule.Level = *w.Level
		}
		r.Hashmap = append(r.Hashmap, rule)
	}

	slices.SortFunc(r.Modules, func(a, b rating.Module) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(r.Groups, func(a, b rating.Group) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(r.Services, func(a, b rating.Service) int { return strings.Compare(a.Name, b.Name) })
	for i := range r.Services {
		slices.SortFunc(r.Services[i].Fields, func(a, b rating.Field) int { return strings.Compare(a.Name, b.Name) })
	}
	slices.SortFunc(r.Hashmap, func(a, b rating.Rule) int { return strings.Compare(a.ID, b.ID) })
	return r, nil
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

// namedRow is a group, service or field as stored; parent is a field's service.
type namedRow struct{ id, parent, name string }

// storedRule is a rule as stored, comparable: its decimals are texts.
type storedRule struct {
	id, service, field, group, level, cost string
	rating.Rule                            // with what the texts stand for emptied
}

// SaveRules makes r the valid rules, as a new version, and returns that version. r.Version must be the version that the
// change was made from; if another came between, nothing changes and the error is a Conflict. Every group, service,
// field and rule must have its ID. what says what changed, for the audit log.
func (s *Store) SaveRules(ctx context.Context, r *rating.Rules, author, what string) (version int64, err error) {
	err = s.update(ctx, func(t *tx) error {
		if version, err = t.nextVersion(ctx, rulesVersions, r.Version, author); err != nil {
			return err
		}
		before, err := t.rules(ctx, r.Version)
		if err != nil {
			return err
		}
		old, err := rulesTables(before)
		if err != nil {
			return err
		}
		next, err := rulesTables(r)
		if err != nil {
			return err
		}
		modules := versioned{"rating_modules", []string{"name"}, []string{"enabled", "priority"}}
		err = replace(ctx, t, modules, version, old.modules, next.modules, func(m rating.Module) entry {
			return entry{[]any{m.Name}, []any{m.Enabled, m.Priority}}
		})
		if err != nil {
			return err
		}
		byName := func(n namedRow) entry { return entry{[]any{n.id}, []any{n.name}} }
		if err := replace(ctx, t, versioned{"hashmap_groups", []string{"id"}, []string{"name"}}, version, old.groups, next.groups, byName); err != nil {
			return err
		}
		if err := replace(ctx, t, versioned{"hashmap_services", []string{"id"}, []string{"name"}}, version, old.services, next.services, byName); err != nil {
			return err
		}
		fields := versioned{"hashmap_fields", []string{"id"}, []string{"service", "name"}}
		err = replace(ctx, t, fields, version, old.fields, next.fields, func(n namedRow) entry {
			return entry{[]any{n.id}, []any{n.parent, n.name}}
		})
		if err != nil {
			return err
		}
		rules := versioned{"hashmap_rules", []string{"id"}, []string{
			"kind", "service", "field", "value", "level", "type", "cost",
			"rule_group", "scope", "starts_at", "ends_at", "name", "description",
		}}
		err = replace(ctx, t, rules, version, old.rules, next.rules, func(w storedRule) entry {
			return entry{[]any{w.id}, []any{
				w.Kind, w.service, null(w.field), null(w.Value), null(w.level), w.Type, w.cost,
				null(w.group), null(w.Scope), at(w.Start), at(w.End), w.Name, w.Description,
			}}
		})
		if err != nil {
			return err
		}
		return t.audit(ctx, author, "change", fmt.Sprintf("rules, version %d", version), "", what)
	})
	return version, err
}

// rulesRows are rules as the tables hold them, by name or id.
type rulesRows struct {
	modules                  map[string]rating.Module
	groups, services, fields map[string]namedRow
	rules                    map[string]storedRule
}

func rulesTables(r *rating.Rules) (*rulesRows, error) {
	all := &rulesRows{map[string]rating.Module{}, map[string]namedRow{}, map[string]namedRow{}, map[string]namedRow{}, map[string]storedRule{}}
	groups, services, fields := map[string]string{}, map[string]string{}, map[[2]string]string{} // ids by name
	for _, m := range r.Modules {
		all.modules[m.Name] = m
	}
	for _, g := range r.Groups {
		all.groups[g.ID], groups[g.Name] = namedRow{id: g.ID, name: g.Name}, g.ID
	}
	for _, v := range r.Services {
		all.services[v.ID], services[v.Name] = namedRow{id: v.ID, name: v.Name}, v.ID
		for _, f := range v.Fields {
			all.fields[f.ID], fields[[2]string{v.Name, f.Name}] = namedRow{id: f.ID, parent: v.ID, name: f.Name}, f.ID
		}
	}
	for _, rule := range r.Hashmap {
		w := storedRule{id: rule.ID, Rule: rule, service: services[rule.Service], group: groups[rule.Group], cost: rule.Cost.String()}
		if rule.Field != "" {
			w.field = fields[[2]string{rule.Service, rule.Field}]
		}
		if rule.Kind == rating.Threshold {
			w.level = rule.Level.String()
		}
		if w.id == "" || w.service == "" || (rule.Field != "") != (w.field != "") || (rule.Group != "") != (w.group != "") {
			return nil, fault.New(fault.Internal, "rule %q of %s refers to what isn't there", rule.ID, rule.Service)
		}
		w.Level, w.Cost = money.Decimal{}, money.Decimal{}
		w.Start, w.End = w.Start.UTC().Truncate(time.Second), w.End.UTC().Truncate(time.Second)
		all.rules[rule.ID] = w
	}
	return all, nil
}
