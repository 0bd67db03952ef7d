package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"ratebook/fault"
	"ratebook/rating"
)

// SaveRules makes r the valid rules, as a new version, and returns that version. r.Version must be the version that the
// change was made from; if another came between, nothing changes and the error is a Conflict. Every group, service,
// field, rule and script must have its ID. what says what changed, for the audit log.
func (s *Store) SaveRules(ctx context.Context, r *rating.Rules, author, what string) (version int64, err error) {
	err = s.update(ctx, func(t *tx) error {
		if version, err = t.nextVersion(ctx, rulesVersions, r.Version, author); err != nil {
			return err
		}
		before, err := s.rulesAt(ctx, t, r.Version)
		if err != nil {
			return err
		}
		return t.saveRules(ctx, before, r, rating.ChangedRules(before.rules, r), version, author, what)
	})
	return version, err
}

// EditRules makes what edit makes of the latest rules the valid ones, as a new version, and returns that version; if edit
// changes nothing, the version stays. Nobody else's change gets lost: edit is called again, with the rules that they made,
// should they have been faster. So edit must do no more than compute, with the edits of package rating; neither what it gets
// nor what it returns may be written to. Its error is returned as it is.
//
// The audit log keeps what [rating.Changes] says, below what, which may say more; if what is empty, the Changes alone.
func (s *Store) EditRules(ctx context.Context, author, what string, edit func(*rating.Rules) (*rating.Rules, error)) (version int64, err error) {
	s.editing.Lock() // of edits in this process at the same time none needs to be tried again
	defer s.editing.Unlock()
	// What is known is almost always the latest. If it turns out not to be, others are kept from changing rules while they are
	// read and edited, so that there is no third time.
	if known := s.lastRules.Load(); known != nil {
		version, err = s.editRules(ctx, known, author, what, edit)
		if err == nil || fault.KindOf(err) != fault.Conflict && fault.KindOf(err) != fault.NotFound && fault.KindOf(err) != fault.Invalid {
			return version, err
		}
		if _, latest, e := s.Versions(ctx); e != nil || latest == known.rules.Version {
			return 0, err // it is about the rules as they are
		}
	}
	return s.editRules(ctx, nil, author, what, edit)
}

// editRules edits the rules that are known; the error is a Conflict if they are not the latest. Without any it reads them.
func (s *Store) editRules(ctx context.Context, known *knownRules, author, what string, edit func(*rating.Rules) (*rating.Rules, error)) (version int64, err error) {
	var (
		before, after *knownRules
		changed       []rating.Changed[rating.Rule]
	)
	err = s.update(ctx, func(t *tx) error {
		if before, after = known, nil; before == nil {
			if t.d == &postgresDialect { // SQLite has one writer at a time
				if _, err := t.exec(ctx, "LOCK TABLE versions IN SHARE ROW EXCLUSIVE MODE"); err != nil {
					return err
				}
			}
			if before, err = s.rulesOf(ctx, t, 0); err != nil {
				return err
			}
		}
		next, err := edit(before.rules)
		if err != nil {
			return err
		}
		changed = rating.ChangedRules(before.rules, next)
		lines := rating.ChangesOf(before.rules, next, changed)
		if len(lines) == 0 {
			if known == nil {
				return nil
			}
			// that nothing is to be changed must be true of the latest
			if latest, err := t.version(ctx, rulesVersions); err != nil || latest == known.rules.Version {
				return err
			}
			return fault.New(fault.Conflict, "the rules were changed by somebody else meanwhile; look at them and try again")
		}
		if what != "" {
			lines = slices.Insert(lines, 0, what)
		}
		if version, err = t.nextVersion(ctx, rulesVersions, before.rules.Version, author); err != nil {
			return err
		}
		if err := t.saveRules(ctx, before, next, changed, version, author, strings.Join(lines, "\n")); err != nil {
			return err
		}
		after = &knownRules{rules: next, stored: next.Modules}
		return nil
	})
	switch {
	case err != nil:
		return 0, err
	case after == nil:
		return before.rules.Version, nil
	}
	after.rules.Version = version
	settle(after.rules, changed)
	s.keepRules(after)
	return version, nil
}

// settle makes of rules that were saved, of which some had changed, what reading them would yield.
func settle(r *rating.Rules, changed []rating.Changed[rating.Rule]) {
	second := func(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
	for _, c := range changed {
		if c.After != nil {
			c.After.Start, c.After.End = second(c.After.Start), second(c.After.End)
		}
	}
	for i := range r.Scripts {
		r.Scripts[i].Start, r.Scripts[i].End = second(r.Scripts[i].Start), second(r.Scripts[i].End)
	}
	inOrder(r)
	n := len(r.Hashmap) - 1
	if len(changed) == 1 && changed[0].Before == nil && changed[0].After == &r.Hashmap[n] { // one more than was in order
		last := r.Hashmap[n]
		i, _ := slices.BinarySearchFunc(r.Hashmap[:n], last, byID)
		copy(r.Hashmap[i+1:], r.Hashmap[i:n])
		r.Hashmap[i] = last
	} else {
		slices.SortFunc(r.Hashmap, byID)
	}
	r.Hashmap = slices.Clip(r.Hashmap) // so that nobody appends in place
}

// namedRow is a group, service or field as stored; parent is a field's service.
type namedRow struct{ id, parent, name string }

var (
	modulesTable  = versioned{"rating_modules", []string{"name"}, []string{"enabled", "priority"}}
	groupsTable   = versioned{"hashmap_groups", []string{"id"}, []string{"name"}}
	servicesTable = versioned{"hashmap_services", []string{"id"}, []string{"name"}}
	fieldsTable   = versioned{"hashmap_fields", []string{"id"}, []string{"service", "name"}}
	rulesTable    = versioned{"hashmap_rules", []string{"id"}, []string{
		"kind", "service", "field", "value", "level", "type", "cost",
		"rule_group", "scope", "starts_at", "ends_at", "name", "description",
	}}
	scriptsTable = versioned{"scripts", []string{"id"}, []string{"name", "data", "starts_at", "ends_at", "description"}}
)

// saveRules stores what differs between two versions of the rules; changed are those of the hashmap that do.
func (t *tx) saveRules(
	ctx context.Context, known *knownRules, after *rating.Rules, changed []rating.Changed[rating.Rule], version int64, author, what string,
) error {
	before := known.rules
	modules := func(all []rating.Module) map[string]rating.Module {
		byName := make(map[string]rating.Module, len(all))
		for _, m := range all {
			byName[m.Name] = m
		}
		return byName
	}
	err := replace(ctx, t, modulesTable, version, modules(known.stored), modules(after.Modules), func(m rating.Module) entry {
		return entry{[]any{m.Name}, []any{m.Enabled, m.Priority}}
	})
	if err != nil {
		return err
	}
	was, is := ruleRefsOf(before), ruleRefsOf(after)
	byName := func(n namedRow) entry { return entry{[]any{n.id}, []any{n.name}} }
	if err := replace(ctx, t, groupsTable, version, was.groups, is.groups, byName); err != nil {
		return err
	}
	if err := replace(ctx, t, servicesTable, version, was.services, is.services, byName); err != nil {
		return err
	}
	err = replace(ctx, t, fieldsTable, version, was.fields, is.fields, func(n namedRow) entry {
		return entry{[]any{n.id}, []any{n.parent, n.name}}
	})
	if err != nil {
		return err
	}

	if is.moved(was) {
		changed = allRules(before, after) // also of a rule that is the same the row may differ, for it refers by id
	}
	var ended, begun []entry
	for _, c := range changed {
		var old, next ruleEntry
		if c.Before != nil {
			if old, err = was.entry(c.Before); err != nil {
				return err
			}
		}
		if c.After != nil {
			if next, err = is.entry(c.After); err != nil {
				return err
			}
		}
		if old == next {
			continue
		}
		if c.Before != nil {
			ended = append(ended, entry{key: []any{old.id}})
		}
		if c.After != nil {
			begun = append(begun, next.bind())
		}
	}
	if err := t.supersede(ctx, rulesTable, version, ended, begun); err != nil {
		return err
	}

	ended, begun = nil, nil
	for _, c := range rating.ChangedScripts(before, after) {
		if c.Before != nil {
			ended = append(ended, entry{key: []any{c.Before.ID}})
		}
		if s := c.After; s != nil {
			begun = append(begun, entry{[]any{s.ID}, []any{s.Name, s.Data, at(s.Start), at(s.End), s.Description}})
		}
	}
	if err := t.supersede(ctx, scriptsTable, version, ended, begun); err != nil {
		return err
	}
	return t.audit(ctx, author, "change", fmt.Sprintf("rules, version %d", version), "", what)
}

// allRules pairs the rules of two versions by id.
func allRules(before, after *rating.Rules) (all []rating.Changed[rating.Rule]) {
	was := make(map[string]*rating.Rule, len(before.Hashmap))
	for i := range before.Hashmap {
		was[before.Hashmap[i].ID] = &before.Hashmap[i]
	}
	for i := range after.Hashmap {
		r := &after.Hashmap[i]
		all = append(all, rating.Changed[rating.Rule]{Before: was[r.ID], After: r})
		delete(was, r.ID)
	}
	for i := range before.Hashmap {
		if r := &before.Hashmap[i]; was[r.ID] != nil {
			all = append(all, rating.Changed[rating.Rule]{Before: r})
		}
	}
	return all
}

// ruleRefs are what rules refer to by name and rows by id.
type ruleRefs struct {
	groups, services, fields map[string]namedRow  // by id
	groupIDs, serviceIDs     map[string]string    // by name
	fieldIDs                 map[[2]string]string // by the names of service and field
}

func ruleRefsOf(r *rating.Rules) *ruleRefs {
	all := &ruleRefs{
		make(map[string]namedRow, len(r.Groups)), make(map[string]namedRow, len(r.Services)), map[string]namedRow{},
		make(map[string]string, len(r.Groups)), make(map[string]string, len(r.Services)), map[[2]string]string{},
	}
	for _, g := range r.Groups {
		all.groups[g.ID], all.groupIDs[g.Name] = namedRow{id: g.ID, name: g.Name}, g.ID
	}
	for _, v := range r.Services {
		all.services[v.ID], all.serviceIDs[v.Name] = namedRow{id: v.ID, name: v.Name}, v.ID
		for _, f := range v.Fields {
			all.fields[f.ID], all.fieldIDs[[2]string{v.Name, f.Name}] = namedRow{id: f.ID, parent: v.ID, name: f.Name}, f.ID
		}
	}
	return all
}

// moved reports whether a name does not stand any more for what it did.
func (all *ruleRefs) moved(was *ruleRefs) bool {
	return moved(was.groupIDs, all.groupIDs) || moved(was.serviceIDs, all.serviceIDs) || moved(was.fieldIDs, all.fieldIDs)
}

func moved[K comparable](was, is map[K]string) bool {
	for name, id := range was {
		if is[name] != id {
			return true
		}
	}
	return false
}

// ruleEntry is a rule as stored, comparable.
type ruleEntry struct {
	id, service, field, group, value, level, cost, scope, name, description string
	kind                                                                    rating.Kind
	typ                                                                     rating.Type
	start, end                                                              time.Time
}

func (all *ruleRefs) entry(r *rating.Rule) (ruleEntry, error) {
	e := ruleEntry{
		id: r.ID, service: all.serviceIDs[r.Service], group: all.groupIDs[r.Group], value: r.Value, cost: r.Cost.String(), scope: r.Scope, name: r.Name,
		description: r.Description, kind: r.Kind, typ: r.Type, start: r.Start.UTC().Truncate(time.Second), end: r.End.UTC().Truncate(time.Second),
	}
	if r.Field != "" {
		e.field = all.fieldIDs[[2]string{r.Service, r.Field}]
	}
	if r.Kind == rating.Threshold {
		e.level = r.Level.String()
	}
	if e.id == "" || e.service == "" || (r.Field != "") != (e.field != "") || (r.Group != "") != (e.group != "") {
		return e, fault.New(fault.Internal, "rule %q of %s refers to what isn't there", r.ID, r.Service)
	}
	return e, nil
}

func (e *ruleEntry) bind() entry {
	return entry{[]any{e.id}, []any{
		e.kind, e.service, null(e.field), null(e.value), null(e.level), e.typ, e.cost,
		null(e.group), null(e.scope), at(e.start), at(e.end), e.name, e.description,
	}}
}
