package store

import (
	"context"
	"time"
)

// AuditEntry is one change that an operator made.
type AuditEntry struct {
	At            time.Time
	Actor         string // a login, or cli:USER
	Action        string // what was done: add, set, import, ...
	Subject       string // to what: "user ada", "rules"
	Before, After string // as text; empty where it says nothing
}

// audit records a change in the transaction that makes it.
func (t *tx) audit(ctx context.Context, actor, action, subject, before, after string) error {
	_, err := t.exec(ctx, "INSERT INTO audit_log (at, actor, action, subject, before, after) VALUES (?, ?, ?, ?, ?, ?)",
		at(time.Now()), actor, action, subject, null(before), null(after))
	return err
}

// null binds the empty text as NULL.
func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// AuditLog returns the latest changes, newest first.
func (s *Store) AuditLog(ctx context.Context, limit int) (entries []AuditEntry, err error) {
	var rows []struct {
		At                                    timestamp
		Actor, Action, Subject, Before, After string
	}
	err = s.view(ctx, func(t *tx) error {
		return t.list(ctx, &rows, `SELECT at, actor, action, subject, COALESCE(before, '') AS before, COALESCE(after, '') AS after
			FROM audit_log ORDER BY id DESC LIMIT ?`, limit)
	})
	for _, r := range rows {
		entries = append(entries, AuditEntry{r.At.Time, r.Actor, r.Action, r.Subject, r.Before, r.After})
	}
	return entries, err
}
