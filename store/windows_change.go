package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/fault"
	"ratebook/metering"
)

// change is what an operator does to windows of the ledger.
type change struct {
	action string // in the audit log
	reason string
	past   string // of whose windows there must be some: "failed", in an error
	parts  []changePart
}

// changePart changes the windows of one index.
type changePart struct {
	where string // which windows
	set   string
	args  []any
	kept  bool // they are left as they are, and no task's any more
}

// failedAgain is SQL for windows that are done or empty, and that a task or a late re-check has failed to do again.
const failedAgain = "task IS NOT NULL AND error IS NOT NULL"

// RetryWindows lets failed windows be tried again at once, whatever their backoff, and returns how many these are.
func (s *Store) RetryWindows(ctx context.Context, sel metering.WindowSelection, actor string) (int64, error) {
	now := at(time.Now())
	return s.change(ctx, sel, actor, change{action: "retry", past: "has failed", parts: []changePart{
		{where: "state IN (0, 3) AND state = 3", set: "next_attempt = ?", args: []any{now}},
		{where: failedAgain, set: "next_attempt = ?", args: []any{now}},
	}})
}

// WaiveWindows says that due and failed windows won't be collected, and why. Windows that are done or empty and that a task or a
// late re-check has failed to do again are left as they are: they keep their charges, nothing waits for them any more, and the task
// passes them over, also when it is cancelled and resumed. It returns how many these all are.
func (s *Store) WaiveWindows(ctx context.Context, sel metering.WindowSelection, reason, actor string) (int64, error) {
	reason, err := checkReason(reason)
	if err != nil {
		return 0, err
	}
	return s.change(ctx, sel, actor, change{action: "waive", reason: reason, past: "is due or has failed", parts: []changePart{
		{where: "state IN (0, 3)", set: "state = 4, waived_by = ?, waived_for = ?", args: []any{actor, reason}},
		{where: failedAgain, set: "left_by = task, task = NULL, recheck_at = NULL, error = NULL", kept: true},
	}})
}

// UnwaiveWindows makes waived windows due again and returns how many these are.
func (s *Store) UnwaiveWindows(ctx context.Context, sel metering.WindowSelection, actor string) (int64, error) {
	return s.change(ctx, sel, actor, change{action: "unwaive", past: "is waived", parts: []changePart{
		{where: "state = 4", set: "state = 0, attempts = 0, error = NULL, waived_by = NULL, waived_for = NULL, recheck_at = NULL, next_attempt = ?", args: []any{at(time.Now())}},
	}})
}

// AcceptAbsence says of windows that have failed since the source had no sample of some metrics that this is no failure there, and
// lets them be collected at once. It returns how many these are. Those that have failed for another reason are left as they are.
func (s *Store) AcceptAbsence(ctx context.Context, sel metering.WindowSelection, reason, actor string) (int64, error) {
	reason, err := checkReason(reason)
	if err != nil {
		return 0, err
	}
	return s.change(ctx, sel, actor, change{action: "accept absence", reason: reason, past: "has failed for want of samples", parts: []changePart{
		{
			where: "state IN (0, 3) AND state = 3 AND error LIKE '%" + metering.LacksSamples + "%'",
			set:   "state = 0, attempts = 0, error = NULL, absence_accepted = ?, recheck_at = NULL, next_attempt = ?",
			args:  []any{true, at(time.Now())},
		},
	}})
}

func checkReason(reason string) (string, error) {
	if problem := metering.CheckReason(reason, "the windows"); problem != "" {
		return "", &fault.Error{Kind: fault.Invalid, Message: "nothing was changed", Fields: []fault.Field{{Name: "reason", Message: problem}}}
	}
	return strings.TrimSpace(reason), nil
}

// changeWindows is how many windows are changed in one transaction, to keep it short.
var changeWindows = 10_000

// change changes the windows of a selection, some in each transaction, which also records it.
func (s *Store) change(ctx context.Context, sel metering.WindowSelection, actor string, c change) (changed int64, err error) {
	for _, p := range c.parts {
		for after := (windowKey{scope: -1}); after != (windowKey{}); {
			var n int64
			var last windowKey
			err := s.update(ctx, func(t *tx) (err error) {
				n, last, err = t.changeSome(ctx, &sel, actor, &c, &p, after)
				return err
			})
			if err != nil {
				return changed, err
			}
			changed, after = changed+n, last
		}
	}
	if changed == 0 {
		return 0, fault.New(fault.NotFound, "no window of these scopes that begins from %s to before %s %s; nothing was changed",
			sel.Range.Begin.UTC().Format(time.RFC3339), sel.Range.End.UTC().Format(time.RFC3339), c.past)
	}
	return changed, nil
}

// windowKey is the key of a window; the zero value is none's.
type windowKey struct{ scope, begin int64 }

// changeSome changes the first windows after one, in the order of their keys, and returns the last of them if there may be
// more.
func (t *tx) changeSome(ctx context.Context, sel *metering.WindowSelection, actor string, c *change, p *changePart, after windowKey) (n int64, last windowKey, err error) {
	where := p.where + " AND begins_at >= ? AND begins_at < ? AND (scope, begins_at) > (?, ?)"
	args := []any{at(sel.Range.Begin), at(sel.Range.End), after.scope, at(time.Unix(after.begin, 0))}
	if len(sel.Scopes) > 0 {
		where, args = where+" AND scope IN (?)", append(args, sel.Scopes)
	}
	var scopes []int64
	found := 0
	query, most := in("SELECT scope, begins_at FROM windows WHERE "+where+" ORDER BY scope, begins_at LIMIT ?", append(slices.Clone(args), changeWindows)...)
	err = t.each(ctx, func(rows *sqlx.Rows) error {
		var begin timestamp
		if err := rows.Scan(&last.scope, &begin); err != nil {
			return fmt.Errorf("store: ledger: %w", err)
		}
		last.begin = begin.Unix()
		if len(scopes) == 0 || scopes[len(scopes)-1] != last.scope {
			scopes = append(scopes, last.scope)
		}
		found++
		return nil
	}, query, most...)
	if err != nil || found == 0 {
		return 0, windowKey{}, err
	}
	// a commit of these windows, which holds their scopes, comes before this or sees it
	var held []struct {
		ID    int64
		Scope string
	}
	query, locked := in("SELECT id, scope FROM scopes WHERE id IN (?) ORDER BY id "+t.d.forUpdate, scopes)
	if err := t.list(ctx, &held, query, locked...); err != nil {
		return 0, windowKey{}, err
	}
	where, args = where+" AND (scope, begins_at) <= (?, ?)", append(args, last.scope, at(time.Unix(last.begin, 0)))
	if p.kept {
		if err := t.forget(ctx, where, args); err != nil {
			return 0, windowKey{}, err
		}
	}
	query, args = in("UPDATE windows SET "+p.set+" WHERE "+where, slices.Concat(p.args, args)...)
	if n, err = t.exec(ctx, query, args...); err != nil {
		return 0, windowKey{}, err
	}
	if found < changeWindows {
		last = windowKey{}
	}
	if n == 0 {
		return 0, last, nil
	}
	if err := t.revise(ctx, scopes); err != nil {
		return 0, windowKey{}, err
	}
	var names []string
	for _, h := range held[:min(len(held), 3)] {
		names = append(names, h.Scope)
	}
	subject := "windows of scope " + names[0]
	if len(held) > 1 {
		subject = "windows of scopes " + strings.Join(names, ", ")
	}
	if more := len(held) - len(names); more > 0 {
		subject += fmt.Sprintf(" and %d more", more)
	}
	what := "%d windows from %s to %s"
	if p.kept {
		what = "%d windows, whose charges stay as they are, from %s to %s"
	}
	what = fmt.Sprintf(what, n, sel.Range.Begin.UTC().Format(time.RFC3339), sel.Range.End.UTC().Format(time.RFC3339))
	if c.reason != "" {
		what += ": " + c.reason
	}
	return n, last, t.audit(ctx, actor, c.action, subject, "", what)
}

// forget has tasks count windows not any more that wait for them.
func (t *tx) forget(ctx context.Context, where string, args []any) error {
	scopes := map[int64][]int64{} // by task, one for each window
	query, args := in("SELECT task, scope FROM windows WHERE "+where+" AND +task <> 0", args...)
	err := t.each(ctx, func(rows *sqlx.Rows) error {
		var task, scope int64
		if err := rows.Scan(&task, &scope); err != nil {
			return fmt.Errorf("store: ledger: %w", err)
		}
		scopes[task] = append(scopes[task], scope)
		return nil
	}, query, args...)
	for task := range scopes {
		if err == nil {
			err = t.count(ctx, task, "windows = windows - ?", scopes[task])
		}
	}
	return err
}
