package metering

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ratebook/fault"
	"ratebook/period"
)

// MaxReason is the most characters that a reason may have, of a task or of what is done about windows.
const MaxReason = 500

// CheckReason says what is wrong with a reason that is kept with something, such as "the task"; empty: nothing.
func CheckReason(reason, with string) string {
	if reason = strings.TrimSpace(reason); reason == "" {
		return "say why; the reason is kept with " + with
	} else if size := utf8.RuneCountInString(reason); size > MaxReason {
		return fmt.Sprintf("has %d characters; at most %d are kept", size, MaxReason)
	}
	return ""
}

// mostNamed is how many things a sentence names before it only counts.
const mostNamed = 5

// ScopeWindows is a scope for which windows may be done again.
type ScopeWindows struct {
	Scope     *Scope
	FirstOpen time.Time // begin of its first window in the task's range that is due or failed; zero: none is
	PlannedTo time.Time // the end of the last window that is in the ledger
}

// Check returns the scopes that the task is for, or says why it can't be created. length is that of windows, kept since when
// there are charges (zero: since ever), states are all scopes, busy are the tasks that are being previewed, wait to be started or
// are running, with all of their scopes.
//
// An error is Invalid, or, if other tasks are in the way, a Conflict. Its fields are kind, scopes, begin, end, as_it_was and
// reason; times are written in the zone that the range is given in.
func (n *NewTask) Check(length time.Duration, kept time.Time, states []ScopeWindows, busy []Task) ([]*Scope, error) {
	var wrong []fault.Field
	refuse := func(field, format string, args ...any) {
		wrong = append(wrong, fault.Field{Name: field, Message: fmt.Sprintf(format, args...)})
	}
	if n.Kind != Reprocess && n.Kind != Rerate {
		refuse("kind", "choose %s or %s", Reprocess, Rerate)
	}
	if n.AsItWas && n.Kind == Rerate {
		refuse("as_it_was", "re-rating with the rules that made a window would change nothing; use the latest ones, or reprocess")
	}
	chosen, unknown := n.choose(states)
	switch {
	case n.AllScopes && len(n.ScopeIDs) > 0:
		refuse("scopes", "choose all scopes or name some, not both")
	case n.AllScopes && len(chosen) == 0:
		refuse("scopes", "there are no active scopes")
	case !n.AllScopes && len(n.ScopeIDs) == 0:
		refuse("scopes", "name at least one scope, or choose all")
	case len(unknown) == 1:
		refuse("scopes", "there is no scope %q", unknown[0])
	case len(unknown) > 1:
		refuse("scopes", "there are no scopes %s", named(unknown))
	}
	if problem := CheckReason(n.Reason, "the task"); problem != "" {
		refuse("reason", "%s", problem)
	}
	n.checkRange(length, kept, chosen, refuse)
	if len(wrong) > 0 {
		return nil, &fault.Error{Kind: fault.Invalid, Message: "the task can't be created", Fields: wrong}
	}
	scopes := make([]*Scope, len(chosen))
	for i := range chosen {
		scopes[i] = chosen[i].Scope
	}
	return scopes, CheckOverlap(scopes, n.Range, busy)
}

// choose returns the states of the scopes that are meant, and the ids that no scope has. Scopes of several sources may
// have one id: all of them are meant.
func (n *NewTask) choose(states []ScopeWindows) (chosen []ScopeWindows, unknown []string) {
	if n.AllScopes {
		return slices.DeleteFunc(slices.Clone(states), func(s ScopeWindows) bool { return !s.Scope.Active }), nil
	}
	found := make(map[string]bool, len(n.ScopeIDs))
	for _, id := range n.ScopeIDs {
		found[id] = false
	}
	for _, s := range states {
		if _, wanted := found[s.Scope.ID]; wanted {
			chosen, found[s.Scope.ID] = append(chosen, s), true
		}
	}
	for id, is := range found {
		if !is {
			unknown = append(unknown, id)
		}
	}
	slices.Sort(unknown)
	return chosen, unknown
}

func (n *NewTask) checkRange(length time.Duration, kept time.Time, chosen []ScopeWindows, refuse func(field, format string, args ...any)) {
	begin, end := n.Range.Begin, n.Range.End
	switch {
	case begin.IsZero():
		refuse("begin", "say when the range begins")
	case !period.Floor(begin, length).Equal(begin):
		refuse("begin", "%s is not the begin of a window; the nearest are %s", begin.Format(time.RFC3339), nearest(begin, length))
	case begin.Before(kept):
		refuse("begin", "charges before %s were dropped by retention; begin the range there or later", kept.In(begin.Location()).Format(time.RFC3339))
	}
	switch {
	case end.IsZero():
		refuse("end", "say when the range ends")
	case !period.Floor(end, length).Equal(end):
		refuse("end", "%s is not the end of a window; the nearest are %s", end.Format(time.RFC3339), nearest(end, length))
	case !begin.Before(end):
		refuse("end", "%s is not after the begin, %s", end.Format(time.RFC3339), begin.Format(time.RFC3339))
	default:
		n.checkProcessed(chosen, refuse)
	}
}

// checkProcessed refuses a range in which something was not processed yet.
func (n *NewTask) checkProcessed(chosen []ScopeWindows, refuse func(field, format string, args ...any)) {
	end := n.Range.End
	type gap struct {
		scope string
		from  time.Time
		open  bool // else nothing is planned from there on
	}
	var gaps []gap
	advice := "wait, or end the range there"
	for _, s := range chosen {
		switch {
		case !s.FirstOpen.IsZero():
			gaps = append(gaps, gap{s.Scope.ID, s.FirstOpen, true})
			advice = "retry or waive what is due or failed, or end the range before it"
		case s.PlannedTo.Before(end):
			gaps = append(gaps, gap{s.Scope.ID, s.PlannedTo, false})
		}
	}
	if len(gaps) == 0 {
		return
	}
	slices.SortStableFunc(gaps, func(a, b gap) int { return cmp.Or(a.from.Compare(b.from), strings.Compare(a.scope, b.scope)) })
	var texts []string
	for _, g := range gaps[:min(len(gaps), mostNamed)] {
		text := "%q has windows only until %s"
		if g.open {
			text = "the window of %q at %s is due or failed"
		}
		texts = append(texts, fmt.Sprintf(text, g.scope, g.from.In(end.Location()).Format(time.RFC3339)))
	}
	refuse("end", "not everything in the range is processed: %s; %s", counted(texts, len(gaps)), advice)
}

// nearest names the two borders of windows that t lies between: by the clock, if that is clear enough.
func nearest(t time.Time, length time.Duration) string {
	before := period.Floor(t, length).In(t.Location())
	after := before.Add(length)
	layout := "15:04"
	if length%time.Minute != 0 {
		layout = time.TimeOnly
	}
	if before.Format(time.DateOnly) != after.Format(time.DateOnly) {
		layout = time.RFC3339
	}
	return before.Format(layout) + " and " + after.Format(layout)
}

// named lists ids, the first few of them by name.
func named(ids []string) string {
	var quoted []string
	for _, id := range ids[:min(len(ids), mostNamed)] {
		quoted = append(quoted, fmt.Sprintf("%q", id))
	}
	return counted(quoted, len(ids))
}

// counted lists the first few of a number of things: a, b and 7 more.
func counted(first []string, of int) string {
	last := first[len(first)-1]
	if len(first) == 1 && of == 1 {
		return last
	}
	if more := of - len(first); more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(first, ", "), more)
	}
	return strings.Join(first[:len(first)-1], ", ") + " and " + last
}

// CheckOverlap refuses windows that another task has already, with a Conflict that names it: those of the scopes that
// begin in the range. busy are the tasks that are not finished or cancelled, with all of their scopes.
func CheckOverlap(scopes []*Scope, r period.Range, busy []Task) error {
	own := make(map[int64]bool, len(scopes))
	for _, s := range scopes {
		own[s.Ref] = true
	}
	for i := range busy {
		t := &busy[i]
		if !t.Range.Begin.Before(r.End) || !r.Begin.Before(t.Range.End) {
			continue
		}
		var both []string
		for _, s := range t.Scopes {
			if own[s.Ref] {
				both = append(both, s.ID)
			}
		}
		if len(both) == 0 {
			continue
		}
		slices.Sort(both)
		zone := r.Begin.Location()
		return &fault.Error{
			Kind:    fault.Conflict,
			Message: fmt.Sprintf("task %d has some of the same windows; wait until it is finished, or cancel it", t.ID),
			Fields: []fault.Field{{Name: "scopes", Message: fmt.Sprintf("task %d has %s from %s to %s", t.ID, named(both),
				t.Range.Begin.In(zone).Format(time.RFC3339), t.Range.End.In(zone).Format(time.RFC3339))}},
		}
	}
	return nil
}

// NothingDone is the error for a range without any window that is done or empty, so that there is nothing to do again.
// oldest is the begin of the oldest window that the scopes have, zero if they have none.
func (n *NewTask) NothingDone(oldest time.Time) error {
	why := "its windows were waived"
	switch {
	case oldest.IsZero():
		why = "the scopes have no windows yet"
	case !oldest.Before(n.Range.End):
		why = fmt.Sprintf("the oldest window that is kept begins at %s; older ones were never collected, or were dropped by retention",
			oldest.In(n.Range.End.Location()).Format(time.RFC3339))
	}
	return &fault.Error{Kind: fault.Invalid, Message: "the task can't be created", Fields: []fault.Field{
		{Name: "begin", Message: "nothing is charged in this range: " + why},
	}}
}
