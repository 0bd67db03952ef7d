package store

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"ratebook/fault"
	"ratebook/rating"
)

// recordRow says when a row of a versioned table began and ended, and by whom.
type recordRow struct {
	Since   int64
	Until   *int64 // nil: it is valid
	BegunAt timestamp
	BegunBy string
	EndedAt timestamp
	EndedBy string
}

// recordColumns and recordTables read a recordRow of the table r.
const (
	recordColumns = `r.since_version AS since, r.until_version AS until, b.at AS begunat, b.author AS begunby, e.at AS endedat, COALESCE(e.author, '') AS endedby`
	recordTables  = ` r JOIN versions b ON b.kind = 'rules' AND b.version = r.since_version
		LEFT JOIN versions e ON e.kind = 'rules' AND e.version = r.until_version`
)

// add makes of the record of a thing's rows so far that of one more row, the next.
func (w *recordRow) add(r *rating.Record) {
	if r.Since == 0 {
		r.Since, r.Created, r.CreatedBy = w.Since, w.BegunAt.Time, w.BegunBy
	} else {
		r.Updated, r.UpdatedBy = w.BegunAt.Time, w.BegunBy
	}
	r.Deleted, r.DeletedBy = w.EndedAt.Time, w.EndedBy // unless another row follows
}

// RuleRecords returns the mappings and thresholds with their records, in the order in which they were made; with deleted, also
// those that are not there any more, as they were last. The names of a deleted rule's service, field and group are those they
// had last, too.
func (s *Store) RuleRecords(ctx context.Context, deleted bool) (all []rating.RecordedRule, err error) {
	if deleted {
		return s.ruleRecords(ctx, "")
	}
	return s.ruleRecords(ctx, "WHERE r.id IN (SELECT id FROM hashmap_rules WHERE until_version IS NULL)")
}

// RuleRecord returns the mapping or threshold with the id, also one that was deleted.
func (s *Store) RuleRecord(ctx context.Context, id string) (rating.RecordedRule, error) {
	all, err := s.ruleRecords(ctx, "WHERE r.id = ?", id)
	if err == nil && len(all) == 0 {
		err = fault.New(fault.NotFound, "there is no rule %q", id)
	}
	if err != nil {
		return rating.RecordedRule{}, err
	}
	return all[0], nil
}

func (s *Store) ruleRecords(ctx context.Context, where string, args ...any) (all []rating.RecordedRule, err error) {
	var rows []struct {
		ruleRow
		recordRow
	}
	var names map[string][]nameRow
	err = s.view(ctx, func(t *tx) error {
		err := t.list(ctx, &rows, `SELECT r.id, r.kind, service, COALESCE(field, '') AS field, COALESCE(value, '') AS value, level, type, cost,
			COALESCE(rule_group, '') AS rule_group, COALESCE(scope, '') AS scope, starts_at, ends_at, name, description, `+recordColumns+`
			FROM hashmap_rules`+recordTables+" "+where+" ORDER BY r.id, r.since_version", args...)
		if err == nil && len(rows) > 0 {
			names, err = t.namesOf(ctx)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range rows {
		w := &rows[i]
		if n := len(all); n == 0 || all[n-1].ID != w.ID {
			all = append(all, rating.RecordedRule{Rule: rating.Rule{ID: w.ID}})
		}
		r := &all[len(all)-1]
		r.Rule = w.rule(func(id string) string { return nameAt(names[id], w.Until) })
		r.ServiceID, r.FieldID, r.GroupID = w.Service, w.Field, w.Group
		w.add(&r.Record)
	}
	slices.SortStableFunc(all, func(a, b rating.RecordedRule) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), strings.Compare(a.ID, b.ID))
	})
	return all, nil
}

// nameRow is what a service, field or group was called from some version on.
type nameRow struct {
	ID    string
	Since int64
	Name  string
}

// namesOf reads what services, fields and groups were ever called, by id and version.
func (t *tx) namesOf(ctx context.Context) (map[string][]nameRow, error) {
	var rows []nameRow
	err := t.list(ctx, &rows, `SELECT id, since_version AS since, name FROM hashmap_services UNION ALL
		SELECT id, since_version, name FROM hashmap_fields UNION ALL SELECT id, since_version, name FROM hashmap_groups ORDER BY 2`)
	names := make(map[string][]nameRow, len(rows))
	for _, r := range rows {
		names[r.ID] = append(names[r.ID], r)
	}
	return names, err
}

// nameAt returns the last name before a version; nil: the last.
func nameAt(rows []nameRow, until *int64) (name string) {
	for _, r := range rows {
		if until == nil || r.Since < *until {
			name = r.Name
		}
	}
	return name
}

// ScriptRecords returns the scripts with their records as RuleRecords does the rules.
func (s *Store) ScriptRecords(ctx context.Context, deleted bool) ([]rating.RecordedScript, error) {
	if deleted {
		return s.scriptRecords(ctx, "")
	}
	return s.scriptRecords(ctx, "WHERE r.id IN (SELECT id FROM scripts WHERE until_version IS NULL)")
}

// ScriptRecord returns the script with the id, also one that was deleted.
func (s *Store) ScriptRecord(ctx context.Context, id string) (rating.RecordedScript, error) {
	all, err := s.scriptRecords(ctx, "WHERE r.id = ?", id)
	if err == nil && len(all) == 0 {
		err = fault.New(fault.NotFound, "there is no script %q", id)
	}
	if err != nil {
		return rating.RecordedScript{}, err
	}
	return all[0], nil
}

func (s *Store) scriptRecords(ctx context.Context, where string, args ...any) (all []rating.RecordedScript, err error) {
	var rows []struct {
		scriptRow
		recordRow
	}
	err = s.view(ctx, func(t *tx) error {
		return t.list(ctx, &rows, "SELECT r.id, name, data, starts_at, ends_at, description, "+recordColumns+
			" FROM scripts"+recordTables+" "+where+" ORDER BY r.id, r.since_version", args...)
	})
	for i := range rows {
		w := &rows[i]
		if n := len(all); n == 0 || all[n-1].ID != w.ID {
			all = append(all, rating.RecordedScript{Script: rating.Script{ID: w.ID}})
		}
		r := &all[len(all)-1]
		r.Script = w.script()
		w.add(&r.Record)
	}
	slices.SortStableFunc(all, func(a, b rating.RecordedScript) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), strings.Compare(a.ID, b.ID))
	})
	return all, err
}
