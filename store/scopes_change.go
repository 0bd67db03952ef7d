package store

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
)

// AddScope stores a scope that somebody names, and returns it. Its first window is the one after n.LastProcessed. One that is
// there already is a Conflict.
func (s *Store) AddScope(ctx context.Context, n metering.NewScope, actor string) (added *metering.ScopeState, err error) {
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
// to the begin of a window. It is
// Invalid if no window is planned as late as that, and a Conflict if another task has some of the windows. Windows that were waived
// stay so.
func (s *Store) ResetScopes(ctx context.Context, scopes []int64, from time.Time, reason, actor string) (task int64, err error) {
	err = s.update(ctx, func(t *tx) error {
		if err := t.lockTasks(ctx); err != nil {
			return err
		}
		length, err := t.period(ctx)
		if err != nil {
			return err
		}
		from := period.Floor(from, length)
		if err := t.holdScopes(ctx, scopes); err != nil {
			return err
		}
		var rows []struct {
			ID        int64
			PlannedTo timestamp `db:"planned_to"`
		}
		query, args := in("SELECT id, planned_to FROM scopes WHERE id IN (?) ORDER BY id", scopes)
		if err := t.list(ctx, &rows, query, args...); err != nil {
			return err
		}
		var end time.Time
		var reset []int64
		for _, r := range rows {
			if r.PlannedTo.After(from) {
				reset = append(reset, r.ID)
			}
			if r.PlannedTo.After(end) {
				end = r.PlannedTo.Time
			}
		}
		all := period.Range{Begin: from, End: end}
		if kept, err := t.chargesFrom(ctx); err != nil {
			return err
		} else if from.Before(kept) {
			return fault.New(fault.Invalid, "charges from before %s were dropped, and so were their windows; reset to that time or later", kept.UTC().Format(time.RFC3339))
		}
		var known []scopeRow
		query, args = in("SELECT "+scopeColumns+" WHERE s.id IN (?)", scopes)
		if err := t.list(ctx, &known, query, args...); err != nil {
			return err
		}
		var whole []*metering.Scope
		for i := range known {
			whole = append(whole, known[i].scope())
		}
		busy, err := t.busy(ctx, all)
		if err != nil {
			return err
		}
		if err := metering.CheckOverlap(whole, all, busy); err != nil {
			return err
		}
		query, args = in("UPDATE scopes SET reset_to = ? WHERE id IN (?) AND planned_to >= ?", at(from), scopes, at(from))
		n, err := t.exec(ctx, query, args...)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.Invalid, "no window is planned as late as %s yet; the last one that is ends at %s", from.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339))
		}
		if len(reset) == 0 {
			return nil
		}
		task, err = t.addTask(ctx, &metering.NewTask{Kind: metering.Reset, Range: all, Reason: reason, Author: actor, ScopeIDs: scopeIDs(whole)}, reset)
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
