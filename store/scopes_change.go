package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
)

// AddScope stores a scope that somebody names, and returns it. Its first window is the one after n.LastProcessed. One that is
// there already is a Conflict.
func (s *Store) AddScope(ctx context.Context, n metering.NewScope, actor string) (added *metering.ScopeState, err error) {
	for what, text := range map[string]string{"id": n.ID, "key": n.Key, "source": n.Source, "fetcher": n.Fetcher} {
		if len(text) > metering.MaxName || strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
			return nil, fault.New(fault.Invalid, "the scope's %s is longer than %d bytes, or no text", what, metering.MaxName)
		}
	}
	if n.Source == metering.PushSource {
		return nil, fault.New(fault.Invalid, "scopes of the source %q come with what is pushed, and have no windows", n.Source)
	}
	err = s.update(ctx, func(t *tx) error {
		key, err := t.scopeKey(ctx)
		if err != nil {
			return err
		}
		length, err := t.period(ctx)
		if err != nil {
			return err
		}
		source, err := t.sourceCalled(ctx, n.Source)
		if err != nil {
			return err
		}
		now, first := time.Now(), period.Floor(n.LastProcessed, length).Add(length)
		if err := t.checkFirst(ctx, first, now, length); err != nil {
			return err
		}
		var ref int64
		found, err := t.get(ctx, &ref, `INSERT INTO scopes (source, scope_key, scope, fetcher, active, found_at, planned_to) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (source, scope_key, scope) DO NOTHING RETURNING id`, source, cmp.Or(n.Key, key), n.ID, n.Fetcher, n.Active, at(now), at(first))
		if err == nil && !found {
			err = fault.New(fault.Conflict, "there is a scope %q already", n.ID)
		}
		if err != nil {
			return err
		}
		var row scopeRow
		if _, err := t.get(ctx, &row, "SELECT "+scopeColumns+" WHERE s.id = ?", ref); err != nil {
			return err
		}
		added = &metering.ScopeState{Scope: row.scope(), ProcessedTo: first, PlannedTo: first, Fetcher: n.Fetcher, Toggled: now.Truncate(time.Second)}
		return t.audit(ctx, actor, "add", fmt.Sprintf("scope %q", n.ID), "", "charged from "+first.UTC().Format(time.RFC3339)+" on")
	})
	if err != nil {
		return nil, err
	}
	return added, nil
}

// mostBacklog is the most windows a new scope may have to be done: some six years of hours.
const mostBacklog = 50_000

// checkFirst says whether a scope's first window may begin at a time: not before what is kept, and not so early that its windows
// would keep those of all others waiting.
func (t *tx) checkFirst(ctx context.Context, first, now time.Time, length time.Duration) error {
	kept, err := t.chargesFrom(ctx)
	switch {
	case err != nil:
		return err
	case first.Before(kept):
		return fault.New(fault.Invalid, "charges from before %s are not kept; let the scope begin there or later", kept.UTC().Format(time.RFC3339))
	case now.Sub(first)/length > mostBacklog:
		return fault.New(fault.Invalid, "from %s on there would be more than %d windows; let the scope begin later", first.UTC().Format(time.RFC3339), mostBacklog)
	case first.After(now.Add(400 * 24 * time.Hour)):
		return fault.New(fault.Invalid, "%s is more than a year ahead", first.UTC().Format(time.RFC3339))
	}
	return nil
}

// scopeKey returns the label that names scopes.
func (t *tx) scopeKey(ctx context.Context) (key string, err error) {
	_, err = t.get(ctx, &key, "SELECT value FROM settings WHERE name = ?", settingScopeKey)
	return key, err
}

// sourceCalled returns the number of the source of that name or kind; the empty text is the first that usage is collected from, or
// the source "default", which is made if it isn't there.
func (t *tx) sourceCalled(ctx context.Context, name string) (ref int64, err error) {
	where, args := "kind <> ?", []any{metering.PushSource}
	if name != "" {
		where, args = where+" AND (name = ? OR kind = ?)", append(args, name, name)
	}
	found, err := t.get(ctx, &ref, "SELECT id FROM sources WHERE "+where+" ORDER BY id LIMIT 1", args...)
	if err != nil || found {
		return ref, err
	}
	key, err := t.scopeKey(ctx)
	if err != nil {
		return 0, err
	}
	kind := cmp.Or(name, "prometheus")
	_, err = t.get(ctx, &ref, `INSERT INTO sources (name, kind, url, scope_key) VALUES (?, ?, '', ?)
		ON CONFLICT (name) DO UPDATE SET kind = sources.kind RETURNING id`, cmp.Or(name, "default"), kind, key)
	return ref, err
}

// SetScopeActive makes a scope one whose windows are planned, or not planned any more; what it has stays. Nothing changes, and
// nothing is noted, if it is that already.
func (s *Store) SetScopeActive(ctx context.Context, ref int64, active bool, actor string) error {
	return s.update(ctx, func(t *tx) error {
		var scope string
		found, err := t.get(ctx, &scope, "SELECT s.scope FROM scopes s JOIN sources src ON src.id = s.source WHERE s.id = ? AND src.kind <> ?", ref, metering.PushSource)
		if err == nil && !found {
			err = fault.New(fault.NotFound, "there is no such scope")
		}
		if err != nil {
			return err
		}
		n, err := t.exec(ctx, "UPDATE scopes SET active = ?, toggled_at = ? WHERE id = ? AND active <> ?", active, at(time.Now()), ref, active)
		if err != nil || n == 0 {
			return err
		}
		after := "active"
		if !active {
			after = "not active: no more windows are planned"
		}
		return t.audit(ctx, actor, "change", fmt.Sprintf("scope %q", scope), "", after)
	})
}

// ResetScopes makes the windows of some scopes that begin at a time or later due again: a task supersedes their charges, the
// oldest first. Until the first of them is done again, that time is how far the scopes are processed. The time is rounded down
// to the begin of a window. It is Invalid if no window is planned as late as that, and a Conflict if another task has some of
// the windows. Windows that were waived stay so.
func (s *Store) ResetScopes(ctx context.Context, scopes []int64, from time.Time, reason, actor string) (task int64, err error) {
	wanted := map[int64]bool{}
	for _, id := range scopes {
		wanted[id] = true
	}
	err = s.update(ctx, func(t *tx) error {
		if err := t.lockTasks(ctx); err != nil {
			return err
		}
		length, err := t.period(ctx)
		if err != nil {
			return err
		}
		from := period.Floor(from, length)
		for part := range slices.Chunk(slices.Sorted(maps.Keys(wanted)), mostIDs) {
			if err := t.holdScopes(ctx, part); err != nil {
				return err
			}
		}
		var rows []struct {
			scopeRow
			PlannedTo timestamp `db:"planned_to"`
		}
		if err := t.list(ctx, &rows, "SELECT s.planned_to, "+scopeColumns+" WHERE src.kind <> ? ORDER BY s.id", metering.PushSource); err != nil {
			return err
		}
		var end time.Time // of what is planned
		var whole []*metering.Scope
		var there, later []int64 // that are planned to the time, or further
		for i := range rows {
			r := &rows[i]
			if !wanted[r.ID] {
				continue
			}
			whole = append(whole, r.scope())
			if r.PlannedTo.After(end) {
				end = r.PlannedTo.Time
			}
			switch {
			case r.PlannedTo.After(from):
				later = append(later, r.ID)
			case r.PlannedTo.Equal(from):
				there = append(there, r.ID)
			}
		}
		if kept, err := t.chargesFrom(ctx); err != nil {
			return err
		} else if from.Before(kept) {
			return fault.New(fault.Invalid, "charges from before %s were dropped, and so were their windows; reset to that time or later", kept.UTC().Format(time.RFC3339))
		}
		if len(there)+len(later) == 0 {
			return fault.New(fault.Invalid, "no window is planned as late as %s yet; the last one that is ends at %s", from.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339))
		}
		all := period.Range{Begin: from, End: end}
		busy, err := t.busy(ctx, all)
		if err != nil {
			return err
		}
		if err := metering.CheckOverlap(whole, all, busy); err != nil {
			return err
		}
		for part := range slices.Chunk(append(there, later...), mostIDs) {
			query, args := in("UPDATE scopes SET reset_to = ? WHERE id IN (?)", at(from), part)
			if _, err := t.exec(ctx, query, args...); err != nil {
				return err
			}
		}
		if len(later) == 0 {
			return nil
		}
		task, err = t.addTask(ctx, &metering.NewTask{Kind: metering.Reset, Range: all, Reason: reason, Author: actor, ScopeIDs: scopeIDs(whole)}, later)
		return err
	})
	return task, err
}

func scopeIDs(scopes []*metering.Scope) (ids []string) {
	for _, s := range scopes {
		ids = append(ids, s.ID)
	}
	return ids
}
