package metering

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ratebook/fault"
	"ratebook/period"
)

func instant(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func between(begin, end string) period.Range {
	return period.Range{Begin: instant(begin), End: instant(end)}
}

// processed makes scopes of ids that are processed until a time, where their windows end, with numbers from 1 on.
func processed(until string, ids ...string) (states []ScopeWindows) {
	for i, id := range ids {
		states = append(states, ScopeWindows{Scope: &Scope{Ref: int64(i + 1), ID: id, Active: true}, PlannedTo: instant(until)})
	}
	return states
}

func TestCheckNewTask(t *testing.T) {
	states := processed("2026-11-03T00:00:00Z", "a", "b", "c", "c")
	inactive := &Scope{Ref: 9, ID: "old"}
	states = append(states, ScopeWindows{Scope: inactive, PlannedTo: instant("2026-11-02T00:00:00Z")})
	stuck := &Scope{Ref: 8, ID: "stuck"} // in the last window of the usual range
	states = append(states, ScopeWindows{Scope: stuck, FirstOpen: instant("2026-11-01T23:00:00Z"), PlannedTo: instant("2026-11-03T00:00:00Z")})
	kept := instant("2026-10-01T00:00:00Z")
	busy := []Task{
		{ID: 6, Scopes: []*Scope{states[1].Scope}, Range: between("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z")},
		{ID: 7, Scopes: []*Scope{states[1].Scope, inactive}, Range: between("2026-11-02T00:00:00Z", "2026-11-02T12:00:00Z")},
	}
	const day = "2026-11-01T00:00:00Z"
	for _, c := range []struct {
		name   string
		change func(*NewTask)
		scopes string // numbers
		kind   fault.Kind
		fields string
	}{
		{"one scope", func(*NewTask) {}, "1", 0, ""},
		{"scopes of one id", func(n *NewTask) { n.ScopeIDs = []string{"c", "a", "c"} }, "1 3 4", 0, ""},
		{"an inactive scope", func(n *NewTask) { n.ScopeIDs = []string{"old"} }, "9", 0, ""},
		{"up to the last window", func(n *NewTask) { n.Range = between("2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z") }, "1", 0, ""},
		{"as it was", func(n *NewTask) { n.AsItWas = true }, "1", 0, ""},
		{"all that are active", func(n *NewTask) {
			n.Kind, n.ScopeIDs, n.AllScopes, n.Range = Rerate, nil, true, between("2026-11-02T12:00:00Z", "2026-11-03T00:00:00Z")
		}, "1 2 3 4", 0, ""},

		{"nothing", func(n *NewTask) { *n = NewTask{} }, "", fault.Invalid, "kind: choose reprocess or re-rate\nscopes: name at least one scope, or choose all\n" +
			"reason: say why; the reason is kept with the task\nbegin: say when the range begins\nend: say when the range ends"},
		{"a re-check", func(n *NewTask) { n.Kind = Recheck }, "", fault.Invalid, "kind: choose reprocess or re-rate"},
		{
			"re-rate as it was", func(n *NewTask) { n.Kind, n.AsItWas = Rerate, true }, "", fault.Invalid,
			"as_it_was: re-rating with the rules that made a window would change nothing; use the latest ones, or reprocess",
		},
		{"all and some", func(n *NewTask) { n.AllScopes = true }, "", fault.Invalid, "scopes: choose all scopes or name some, not both"},
		{"unknown", func(n *NewTask) { n.ScopeIDs = []string{"a", "x"} }, "", fault.Invalid, `scopes: there is no scope "x"`},
		{"two unknown", func(n *NewTask) { n.ScopeIDs = []string{"z", "a", "x"} }, "", fault.Invalid, `scopes: there are no scopes "x" and "z"`},
		{
			"many unknown", func(n *NewTask) { n.ScopeIDs = strings.Split("9 8 7 6 5 4 3 a", " ") }, "", fault.Invalid,
			`scopes: there are no scopes "3", "4", "5", "6", "7" and 2 more`,
		},
		{"a blank reason", func(n *NewTask) { n.Reason = " \n\t" }, "", fault.Invalid, "reason: say why; the reason is kept with the task"},
		{"the longest reason", func(n *NewTask) { n.Reason = " " + strings.Repeat("é", 500) + "\n" }, "1", 0, ""},
		{"a long reason", func(n *NewTask) { n.Reason = strings.Repeat("é", 501) }, "", fault.Invalid, "reason: has 501 characters; at most 500 are kept"},
		{
			"off the grid", func(n *NewTask) { n.Range = between("2026-11-02T06:30:00Z", "2026-11-02T23:59:59Z") }, "", fault.Invalid,
			"begin: 2026-11-02T06:30:00Z is not the begin of a window; the nearest are 06:00 and 07:00\n" +
				"end: 2026-11-02T23:59:59Z is not the end of a window; the nearest are 2026-11-02T23:00:00Z and 2026-11-03T00:00:00Z",
		},
		{
			"off the grid elsewhere", func(n *NewTask) { n.Range.Begin = instant("2026-11-01T06:00:00+05:30") }, "", fault.Invalid,
			"begin: 2026-11-01T06:00:00+05:30 is not the begin of a window; the nearest are 05:30 and 06:30",
		},
		{
			"no window", func(n *NewTask) { n.Range = between(day, day) }, "", fault.Invalid,
			"end: 2026-11-01T00:00:00Z is not after the begin, 2026-11-01T00:00:00Z",
		},
		{
			"backwards", func(n *NewTask) { n.Range = between("2026-11-02T00:00:00Z", day) }, "", fault.Invalid,
			"end: 2026-11-01T00:00:00Z is not after the begin, 2026-11-02T00:00:00Z",
		},
		{
			"not processed", func(n *NewTask) { n.Range = between(day, "2026-11-03T01:00:00Z") }, "", fault.Invalid,
			`end: not everything in the range is processed: "a" has windows only until 2026-11-03T00:00:00Z; wait, or end the range there`,
		},
		{
			"several not processed", func(n *NewTask) {
				n.ScopeIDs, n.Range = []string{"a", "old"}, between("2026-11-04T00:00:00+01:00", "2026-11-05T00:00:00+01:00")
			}, "",
			fault.Invalid, `end: not everything in the range is processed: "old" has windows only until 2026-11-02T01:00:00+01:00 and ` +
				`"a" has windows only until 2026-11-03T01:00:00+01:00; wait, or end the range there`,
		},
		{
			"a window that failed", func(n *NewTask) { n.ScopeIDs = []string{"stuck"} }, "",
			fault.Invalid, `end: not everything in the range is processed: the window of "stuck" at 2026-11-01T23:00:00Z is due or failed; ` +
				`retry or waive what is due or failed, or end the range before it`,
		},
		{
			"a window that failed, and one that is not planned", func(n *NewTask) {
				n.ScopeIDs, n.Range = []string{"a", "stuck"}, between("2026-11-01T00:00:00Z", "2026-11-04T00:00:00Z")
			}, "",
			fault.Invalid, `end: not everything in the range is processed: the window of "stuck" at 2026-11-01T23:00:00Z is due or failed and ` +
				`"a" has windows only until 2026-11-03T00:00:00Z; retry or waive what is due or failed, or end the range before it`,
		},
		{
			"charges that were dropped", func(n *NewTask) { n.Range.Begin = instant("2026-10-01T00:00:00+01:00") }, "",
			fault.Invalid, "begin: charges before 2026-10-01T01:00:00+01:00 were dropped by retention; begin the range there or later",
		},

		{
			"another task's windows", func(n *NewTask) {
				n.ScopeIDs, n.Range = []string{"a", "b", "old"}, between("2026-11-01T23:00:00Z", "2026-11-02T00:00:00Z")
			}, "",
			fault.Conflict, `scopes: task 6 has "b" from 2026-11-01T00:00:00Z to 2026-11-02T00:00:00Z`,
		},
		{
			"another one's", func(n *NewTask) {
				n.ScopeIDs, n.Range = []string{"old", "b"}, between("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z")
			}, "",
			fault.Conflict, `scopes: task 6 has "b" from 2026-11-01T00:00:00Z to 2026-11-02T00:00:00Z`,
		},
		{"windows that touch another task's", func(n *NewTask) {
			n.ScopeIDs, n.Range = []string{"b"}, between("2026-11-02T12:00:00Z", "2026-11-02T13:00:00Z")
		}, "2", 0, ""},
		{"windows before another task's", func(n *NewTask) {
			n.ScopeIDs, n.Range = []string{"b"}, between("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
		}, "2", 0, ""},
		{
			"all, some of them another task's", func(n *NewTask) { n.ScopeIDs, n.AllScopes = nil, true }, "",
			fault.Conflict, `scopes: task 6 has "b" from 2026-11-01T00:00:00Z to 2026-11-02T00:00:00Z`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := &NewTask{Kind: Reprocess, ScopeIDs: []string{"a"}, Range: between(day, "2026-11-02T00:00:00Z"), Reason: "a price was wrong", Author: "ada"}
			c.change(n)
			scopes, err := n.Check(time.Hour, kept, states, busy)
			if err == nil {
				var refs []string
				for _, s := range scopes {
					refs = append(refs, fmt.Sprint(s.Ref))
				}
				if got := strings.Join(refs, " "); got != c.scopes {
					t.Errorf("scopes %s, want %s", got, c.scopes)
				}
				return
			}
			if fault.KindOf(err) != c.kind || c.kind == 0 {
				t.Errorf("kind %d: %v", fault.KindOf(err), err)
			}
			if diff := cmp.Diff(c.fields, fields(err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// fields are an error's fields as text.
func fields(err error) string {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return "no fault"
	}
	var lines []string
	for _, f := range e.Fields {
		lines = append(lines, f.Name+": "+f.Message)
	}
	return strings.Join(lines, "\n")
}

func TestCheckNewTaskNamesFew(t *testing.T) {
	states := processed("2026-11-01T00:00:00Z", "a", "b", "c", "d", "e", "f", "g")
	for i := range states[:6] {
		states[i].PlannedTo = instant("2026-10-30T00:00:00Z").Add(time.Duration(6-i) * time.Minute)
	}
	n := &NewTask{Kind: Reprocess, AllScopes: true, Range: between("2026-10-31T00:00:00Z", "2026-11-02T00:00:00Z"), Reason: "x"}
	_, err := n.Check(time.Minute, time.Time{}, states, nil)
	want := `end: not everything in the range is processed: "f" has windows only until 2026-10-30T00:01:00Z, "e" has windows only until 2026-10-30T00:02:00Z, ` +
		`"d" has windows only until 2026-10-30T00:03:00Z, "c" has windows only until 2026-10-30T00:04:00Z, "b" has windows only until 2026-10-30T00:05:00Z and 2 more; ` +
		`wait, or end the range there`
	if diff := cmp.Diff(want, fields(err)); diff != "" {
		t.Error(diff)
	}
	if _, err := n.Check(time.Minute, time.Time{}, nil, nil); fields(err) != "scopes: there are no active scopes" {
		t.Error(err)
	}
	n.Range.End = instant("2026-10-31T00:00:15Z")
	if _, err := n.Check(10*time.Second, time.Time{}, states, nil); fields(err) != "end: 2026-10-31T00:00:15Z is not the end of a window; the nearest are 00:00:10 and 00:00:20" {
		t.Error(err)
	}
	busy := []Task{{ID: 3, Range: between("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")}}
	var scopes []*Scope
	for _, s := range states {
		scopes = append(scopes, s.Scope)
	}
	busy[0].Scopes = scopes
	err = CheckOverlap(scopes, n.Range, busy)
	want = "task 3 has some of the same windows; wait until it is finished, or cancel it\n" +
		`  scopes: task 3 has "a", "b", "c", "d", "e" and 2 more from 2026-10-01T00:00:00Z to 2026-11-01T00:00:00Z`
	if err == nil || err.Error() != want {
		t.Error(err)
	}
}

func TestNothingDone(t *testing.T) {
	n := &NewTask{Range: between("2026-10-31T00:00:00+01:00", "2026-11-01T00:00:00+01:00")}
	for _, c := range []struct{ oldest, want string }{
		{"", "the scopes have no windows yet"},
		{"2026-10-31T12:00:00Z", "its windows were waived"},
		{"2026-10-31T23:00:00Z", "the oldest window that is kept begins at 2026-11-01T00:00:00+01:00; older ones were never collected, or were dropped by retention"},
	} {
		var oldest time.Time
		if c.oldest != "" {
			oldest = instant(c.oldest)
		}
		err := n.NothingDone(oldest)
		if fault.KindOf(err) != fault.Invalid || fields(err) != "begin: nothing is charged in this range: "+c.want {
			t.Error(err)
		}
	}
}
