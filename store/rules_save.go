package store

import (
	"cmp"
	"context"
	"errors"
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
		tables, err := tableChanges(before, r, rating.ChangedRules(before.rules, r))
		if err != nil {
			return err
		}
		return t.saveRules(ctx, tables, version, author, what)
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
	var e *ruleEdit
	if known != nil {
		if e, err = editOf(known, what, edit); err != nil {
			return 0, err
		}
	}
	switch {
	case e != nil && len(e.lines) == 0: // somebody may have changed the rules, and nothing is said of theirs
		if _, latest, err := s.Versions(ctx); err != nil || latest != known.rules.Version {
			return 0, cmp.Or(err, conflict(rulesVersions))
		}
	case e != nil && s.d == &postgresDialect && e.addsLittle():
		version, err = s.addToRules(ctx, e, author)
	default:
		err = s.update(ctx, func(t *tx) error {
			if known == nil {
				if t.d == &postgresDialect { // SQLite has one writer at a time
					if _, err := t.exec(ctx, "LOCK TABLE versions IN SHARE ROW EXCLUSIVE MODE"); err != nil {
						return err
					}
				}
				latest, err := s.rulesOf(ctx, t, 0)
				if err != nil {
					return err
				}
				if e, err = editOf(latest, what, edit); err != nil || len(e.lines) == 0 {
					return err
				}
			}
			if version, err = t.nextVersion(ctx, rulesVersions, e.before.rules.Version, author); err != nil {
				return err
			}
			return t.saveRules(ctx, e.tables, version, author, e.text())
		})
	}
	switch {
	case err != nil:
		return 0, err
	case len(e.lines) == 0:
		return e.before.rules.Version, nil
	}
	e.next.Version = version
	settle(e.next, e.changed)
	s.keepRules(&knownRules{rules: e.next, stored: e.next.Modules})
	return version, nil
}

// ruleEdit is what an edit makes of the rules.
type ruleEdit struct {
	before  *knownRules
	next    *rating.Rules
	changed []rating.Changed[rating.Rule]
	lines   []string // that say what changes; none: nothing does
	tables  []tableChange
}

// editOf edits rules.
func editOf(before *knownRules, what string, edit func(*rating.Rules) (*rating.Rules, error)) (*ruleEdit, error) {
	next, err := edit(before.rules)
	if err != nil {
		return nil, err
	}
	e := &ruleEdit{before: before, next: next, changed: rating.ChangedRules(before.rules, next)}
	if e.lines = rating.ChangesOf(before.rules, next, e.changed); len(e.lines) == 0 {
		return e, nil
	}
	if what != "" {
		e.lines = slices.Insert(e.lines, 0, what)
	}
	e.tables, err = tableChanges(before, next, e.changed)
	return e, err
}

func (e *ruleEdit) text() string { return strings.Join(e.lines, "\n") }

// addsLittle reports whether nothing but a few rows are to be stored, and none ends.
func (e *ruleEdit) addsLittle() bool {
	const most = 8
	rows := 0
	for _, c := range e.tables {
		if rows += len(c.begun); len(c.ended) > 0 {
			return false
		}
	}
	return rows <= most
}

// addToRules stores an edit that adds little as one statement, which is a transaction of its own: version, rows and audit. Each
// statement more would take as long as all that this one does.
func (s *Store) addToRules(ctx context.Context, e *ruleEdit, author string) (version int64, err error) {
	now := at(time.Now())
	base := e.before.rules.Version
	insert, args := s.d.insertVersion(rulesVersions, base, author, now)
	query := "WITH made AS (" + insert + " RETURNING version)"
	for _, c := range e.tables {
		for i, row := range c.begun {
			head := c.v.insertHead()
			query += fmt.Sprintf(", %s_%d AS (%s SELECT version%s FROM made)", c.v.table, i, head, strings.Repeat(", ?", len(row.key)+len(row.values)))
			args = append(append(args, row.key...), row.values...)
		}
	}
	query += " INSERT INTO audit_log (at, actor, action, subject, before, after) SELECT ?, ?, ?, ?, NULL, ? FROM made"
	args = append(args, now, author, "change", rulesSubject(base+1), e.text())
	conn, err := s.db.Connx(ctx) // the pool would try again by itself what may have been done
	if err != nil {
		return 0, unavailable(err)
	}
	defer func() { _ = conn.Close() }() // only back to the pool
	r, err := conn.ExecContext(ctx, conn.Rebind(query), args...)
	if isDuplicate(err) {
		return 0, conflict(rulesVersions)
	}
	if err != nil {
		if ended := ctx.Err(); ended != nil {
			return 0, errors.Join(ended, err)
		}
		if brokenOff(err) {
			s.forgetAll()
		}
		return 0, unavailable(fmt.Errorf("store: add to the rules: %w", err))
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return 0, cmp.Or(err, conflict(rulesVersions))
	}
	return base + 1, nil
}

func rulesSubject(version int64) string { return fmt.Sprintf("rules, version %d", version) }

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

// tableChange is what changes in a table: rows that end, and rows that begin.
type tableChange struct {
	v            versioned
	ended, begun []entry
}

// saveRules stores what changes with a version.
func (t *tx) saveRules(ctx context.Context, tables []tableChange, version int64, author, what string) error {
	for _, c := range tables {
		if err := t.supersede(ctx, c.v, version, c.ended, c.begun); err != nil {
			return err
		}
	}
	return t.audit(ctx, author, "change", rulesSubject(version), "", what)
}

// tableChanges works out what differs between two versions of the rules; changed are those of the hashmap that do.
func tableChanges(known *knownRules, after *rating.Rules, changed []rating.Changed[rating.Rule]) (all []tableChange, err error) {
	before := known.rules
	modules := func(all []rating.Module) map[string]rating.Module {
		byName := make(map[string]rating.Module, len(all))
		for _, m := range all {
			byName[m.Name] = m
		}
		return byName
	}
	was, is := ruleRefsOf(before), ruleRefsOf(after)
	byName := func(n namedRow) entry { return entry{[]any{n.id}, []any{n.name}} }
	all = append(all,
		replace(modulesTable, modules(known.stored), modules(after.Modules), func(m rating.Module) entry {
			return entry{[]any{m.Name}, []any{m.Enabled, m.Priority}}
		}),
		replace(groupsTable, was.groups, is.groups, byName),
		replace(servicesTable, was.services, is.services, byName),
		replace(fieldsTable, was.fields, is.fields, func(n namedRow) entry { return entry{[]any{n.id}, []any{n.parent, n.name}} }),
	)

	if is.moved(was) {
		changed = allRules(before, after) // also of a rule that is the same the row may differ, for it refers by id
	}
	rules := tableChange{v: rulesTable}
	for _, c := range changed {
		var old, next ruleEntry
		if c.Before != nil {
			if old, err = was.entry(c.Before); err != nil {
				return nil, err
			}
		}
		if c.After != nil {
			if next, err = is.entry(c.After); err != nil {
				return nil, err
			}
		}
		if old == next {
			continue
		}
		if c.Before != nil {
			rules.ended = append(rules.ended, entry{key: []any{old.id}})
		}
		if c.After != nil {
			rules.begun = append(rules.begun, next.bind())
		}
	}
	scripts := tableChange{v: scriptsTable}
	for _, c := range rating.ChangedScripts(before, after) {
		if c.Before != nil {
			scripts.ended = append(scripts.ended, entry{key: []any{c.Before.ID}})
		}
		if s := c.After; s != nil {
			scripts.begun = append(scripts.begun, entry{[]any{s.ID}, []any{s.Name, s.Data, at(s.Start), at(s.End), s.Description}})
		}
	}
	return append(all, rules, scripts), nil
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
		make(map[string]namedRow, len(r.Groups)), make(map[string]namedRow, len(r.Services)),
		map[string]namedRow{},
		make(map[string]string, len(r.Groups)), make(map[string]string, len(r.Services)),
		map[[2]string]string{},
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
