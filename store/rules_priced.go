package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/rating"
)

// HasPriced reports whether the rule or script with the id may have priced something that is stored: a window of its validity
// that is done, and was priced with a version of the rules that it was in, of a scope that had usage around then that it
// applies to; or such points that were pushed to be priced. When in doubt it has. Whether a module was enabled, and whether a
// script compiles, is not looked at.
func (s *Store) HasPriced(ctx context.Context, id string) (priced bool, err error) {
	settings, err := s.currentSettings(ctx)
	if err != nil {
		return false, err
	}
	err = s.view(ctx, func(t *tx) error {
		if err := t.checkZone(ctx, settings.Zone); err != nil {
			return err
		}
		all, err := t.applications(ctx, id)
		if err != nil {
			return err
		}
		for i := range all {
			if priced, err = all[i].priced(ctx, t, settings.Zone); err != nil || priced {
				return err
			}
		}
		return nil
	})
	return priced, err
}

// application is what a rule or script as it was in some versions applies to.
type application struct {
	since int64
	until *int64 // nil: it is valid
	rule  rating.Rule
	any   bool // a script: it applies to everything
}

// applications reads a rule or script in all its versions.
func (t *tx) applications(ctx context.Context, id string) (all []application, err error) {
	var rows []struct {
		ruleRow
		Since int64
		Until *int64
	}
	err = t.list(ctx, &rows, `SELECT id, kind, service, COALESCE(field, '') AS field, COALESCE(value, '') AS value, level, type, cost,
		'' AS rule_group, COALESCE(scope, '') AS scope, starts_at, ends_at, name, description, since_version AS since, until_version AS until
		FROM hashmap_rules WHERE id = ? ORDER BY since_version`, id)
	if err != nil {
		return nil, err
	}
	var names map[string][]nameRow
	if len(rows) > 0 {
		if names, err = t.namesOf(ctx); err != nil {
			return nil, err
		}
	}
	for i := range rows {
		w := &rows[i]
		all = append(all, application{w.Since, w.Until, w.rule(func(id string) string { return nameAt(names[id], w.Until) }), false})
	}
	var scripts []struct {
		scriptRow
		Since int64
		Until *int64
	}
	if len(rows) == 0 {
		err = t.list(ctx, &scripts, `SELECT id, name, data, starts_at, ends_at, description, since_version AS since, until_version AS until
			FROM scripts WHERE id = ? ORDER BY since_version`, id)
	}
	for _, w := range scripts {
		all = append(all, application{w.Since, w.Until, rating.Rule{Start: w.StartsAt.Time, End: w.EndsAt.Time}, true})
	}
	if err == nil && len(all) == 0 {
		err = fault.New(fault.NotFound, "there is no rule or script %q", id)
	}
	return all, err
}

// versions is SQL that compares a column with the versions, and its arguments.
func (a *application) versions(column string) (where string, args []any) {
	where, args = column+" >= ?", []any{a.since}
	if a.until != nil {
		where, args = where+" AND "+column+" < ?", append(args, *a.until)
	}
	return where, args
}

// between is SQL that compares a column with the validity.
func (a *application) between(column string) (where string, args []any) {
	if !a.rule.Start.IsZero() {
		where, args = " AND "+column+" >= ?", append(args, at(a.rule.Start))
	}
	if !a.rule.End.IsZero() {
		where, args = where+" AND "+column+" < ?", append(args, at(a.rule.End))
	}
	return where, args
}

// pricedScope is a scope that had usage of the metric, and something priced with the rules.
type pricedScope struct {
	Ref      int64
	Scope    string
	ScopeKey string `db:"scope_key"`
	Pushed   bool
}

func (a *application) priced(ctx context.Context, t *tx, zone *time.Location) (bool, error) {
	var metric int64
	if !a.any {
		if found, err := t.get(ctx, &metric, "SELECT id FROM metrics WHERE name = ?", a.rule.Service); err != nil || !found {
			return false, err // nobody ever had any
		}
	}
	scopes, err := a.candidates(ctx, t, metric, zone)
	if err != nil {
		return false, err
	}
	for some := range slices.Chunk(scopes, 16) { // mostly one of the first has it
		if a.rule.Field != "" && !metering.IsComputed(a.rule.Field) {
			if some, err = a.having(ctx, t, metric, some); err != nil {
				return false, err
			}
		}
		for _, c := range some {
			if used, err := a.used(ctx, t, metric, c, zone); err != nil || used {
				return used, err
			}
		}
	}
	return false, nil
}

// candidates returns the scopes in which something was priced with the versions, and which had usage of the metric in a month
// of the validity.
func (a *application) candidates(ctx context.Context, t *tx, metric int64, zone *time.Location) (scopes []pricedScope, err error) {
	windows, windowArgs := a.versions("w.rules_version")
	valid, validArgs := a.between("w.begins_at")
	pushes, pushArgs := a.versions("rules_version")
	usage, usageArgs := usageOf("month", metric, civilBounds(a.rule.Start, a.rule.End, func(t time.Time) civil { return civilMonth(t, zone) }))
	query := `SELECT s.id AS ref, s.scope, s.scope_key, o.kind = 'push' AS pushed FROM scopes s JOIN sources o ON o.id = s.source
		WHERE s.id IN (SELECT scope FROM scope_metric_months WHERE ` + usage + `)
		AND CASE WHEN o.kind = 'push' THEN (SELECT MIN(id) FROM pushes WHERE ` + pushes + `) IS NOT NULL
			ELSE (SELECT w.state FROM windows w WHERE w.scope = s.id AND ` + windows + valid + ` AND w.state = 2 LIMIT 1) IS NOT NULL END`
	args := slices.Concat(usageArgs, pushArgs, windowArgs, validArgs)
	if a.rule.Scope != "" {
		query, args = query+" AND s.scope = ?", append(args, a.rule.Scope)
	}
	return scopes, t.list(ctx, &scopes, query, args...)
}

// usageOf is SQL for rows of roll-ups with usage of a metric, 0 for any, between days or months; empty ones are no bounds.
func usageOf(column string, metric int64, bounds [2]string) (where string, args []any) {
	where = "points > 0"
	if metric != 0 {
		where, args = where+" AND metric = ?", append(args, metric)
	}
	for i, compare := range [...]string{" >= ?", " <= ?"} {
		if bounds[i] != "" {
			where, args = where+" AND "+column+compare, append(args, bounds[i])
		}
	}
	return where, args
}

// civilBounds returns the days or months of two instants; empty ones for the zero time.
func civilBounds(first, last time.Time, of func(time.Time) civil) (bounds [2]string) {
	for i, t := range [...]time.Time{first, last} {
		if !t.IsZero() {
			bounds[i] = of(t).String()
		}
	}
	return bounds
}

// having returns those of the scopes that have series of the metric with the attribute that the rule looks at.
func (a *application) having(ctx context.Context, t *tx, metric int64, scopes []pricedScope) ([]pricedScope, error) {
	has := map[int64]bool{}
	ids := make([]int64, len(scopes))
	for i, c := range scopes {
		ids[i] = c.Ref
		has[c.Ref] = a.rule.Field == c.ScopeKey && a.matches(c.Scope)
	}
	query, args := in("SELECT scope, groupby, metadata FROM series WHERE metric = ? AND scope IN (?)", metric, ids)
	sought := a.rule.Value
	if a.rule.Kind != rating.Mapping {
		sought = a.rule.Field
	}
	if isBare(sought) { // most series haven't even its letters
		query += " AND (CAST(groupby AS text) LIKE ? OR CAST(metadata AS text) LIKE ?)"
		args = append(args, "%"+sought+"%", "%"+sought+"%")
	}
	same := map[string]string{}
	err := t.each(ctx, func(rows *sqlx.Rows) error {
		var (
			scope             int64
			groupby, metadata []byte
		)
		if err := rows.Scan(&scope, &groupby, &metadata); err != nil || has[scope] {
			return err
		}
		for _, text := range [...][]byte{groupby, metadata} {
			attributes, err := parseAttributes(text, same)
			if err != nil {
				return err
			}
			if value, ok := attributes.Get(a.rule.Field); ok {
				has[scope] = has[scope] || a.matches(value)
				break // groupby goes before metadata
			}
		}
		return nil
	}, query, args...)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(scopes, func(c pricedScope) bool { return !has[c.Ref] }), nil
}

// isBare reports whether a text is the same in JSON and, but for _, which stands for any character, in LIKE.
func isBare(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("-_.:", r)
	})
}

// matches reports whether the rule may apply where its attribute has the value.
func (a *application) matches(value string) bool {
	return a.rule.Kind != rating.Mapping || a.rule.Value == value
}

// used reports whether the scope had usage of the metric on one of the days from the first to the last of what was priced.
func (a *application) used(ctx context.Context, t *tx, metric int64, c pricedScope, zone *time.Location) (bool, error) {
	first, last := a.rule.Start, a.rule.End
	if !c.Pushed {
		var span struct{ First, Last timestamp }
		windows, args := a.versions("rules_version")
		valid, validArgs := a.between("begins_at")
		_, err := t.get(ctx, &span, "SELECT MIN(begins_at) AS first, MAX(begins_at) AS last FROM windows WHERE scope = ? AND "+windows+valid+" AND state = 2",
			slices.Concat([]any{c.Ref}, args, validArgs)...)
		if err != nil {
			return false, err
		}
		first, last = span.First.Time, span.Last.Time
	}
	usage, args := usageOf("day", metric, civilBounds(first, last, func(t time.Time) civil { return civilDay(t, zone) }))
	var one int
	return t.get(ctx, &one, "SELECT 1 FROM scope_metric_days WHERE scope = ? AND "+usage+" LIMIT 1", append([]any{c.Ref}, args...)...)
}
