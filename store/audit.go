package store

import (
	"context"
	"time"
	"unicode/utf8"

	"ratebook/access"
)

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

// Changes returns what operators changed, the newest first.
func (s *Store) Changes(ctx context.Context, f access.ChangeFilter) (changes []access.Change, err error) {
	where, args := "1 = 1", []any{}
	if f.Subject != "" { // LIKE means something else in each database
		where, args = where+" AND substr(subject, 1, ?) = ?", append(args, utf8.RuneCountInString(f.Subject), f.Subject)
	}
	if f.Before != 0 {
		where, args = where+" AND id < ?", append(args, f.Before)
	}
	var rows []struct {
		ID                                    int64
		At                                    timestamp
		Actor, Action, Subject, Before, After string
	}
	err = s.view(ctx, func(t *tx) error {
		return t.list(ctx, &rows, `SELECT id, at, actor, action, subject, COALESCE(before, '') AS before, COALESCE(after, '') AS after
			FROM audit_log WHERE `+where+" ORDER BY id DESC LIMIT ?", append(args, f.Limit)...)
	})
	for _, r := range rows {
		changes = append(changes, access.Change{ID: r.ID, At: r.At.Time, Actor: r.Actor, Action: r.Action, Subject: r.Subject, Before: r.Before, After: r.After})
	}
	return changes, err
}
