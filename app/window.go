package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
)

type windowCommand struct {
	List    windowList    `cmd:"" help:"List windows, by default all that are due or failed."`
	Retry   windowRetry   `cmd:"" help:"Try failed windows again without waiting for their next turn."`
	Waive   windowWaive   `cmd:"" help:"Decide that due and failed windows won't be collected, and that windows that can't be done again stay as they are."`
	Unwaive windowUnwaive `cmd:"" help:"Take waivers back: the windows are due again."`
	Accept  windowAccept  `cmd:"" help:"Accept that metrics had no samples in failed windows: they are collected without."`
}

// windowFlags select windows by scope and begin.
type windowFlags struct {
	databaseFlags
	Begin     string   `required:"" placeholder:"TIME" help:"From the window that begins then: RFC 3339, or YYYY-MM-DD in the billing zone."`
	End       string   `required:"" placeholder:"TIME" help:"To, not including, the window that begins then."`
	Scope     []string `placeholder:"ID" help:"Of this scope. Repeatable."`
	AllScopes bool     `help:"Of all scopes."`
}

// selected opens the database for fn with the selected windows.
func (f *windowFlags) selected(r *run, fn func(ctx context.Context, s *store.Store, zone *time.Location, sel metering.WindowSelection) error) error {
	return f.with(r, func(ctx context.Context, s *store.Store) error {
		settings, err := s.Settings(ctx, store.Wanted{})
		if err != nil {
			return err
		}
		var sel metering.WindowSelection
		if sel.Range, err = flagRange(f.Begin, f.End, settings.Zone); err != nil {
			return err
		}
		if err := oneOrAll(f.Scope, f.AllScopes); err != nil {
			return err
		}
		if err := known(ctx, s, f.Scope); err != nil {
			return err
		}
		scopes, err := s.Scopes(ctx)
		if err != nil {
			return err
		}
		for _, scope := range scopes {
			if slices.Contains(f.Scope, scope.ID) {
				sel.Scopes = append(sel.Scopes, scope.Ref)
			}
		}
		return fn(ctx, s, settings.Zone, sel)
	})
}

// oneOrAll makes sure that it is said which scopes are meant.
func oneOrAll(scopes []string, all bool) error {
	if all == (len(scopes) > 0) {
		return fault.New(fault.Invalid, "say which scopes are meant: either --scope ID, once for each, or --all-scopes")
	}
	return nil
}

// flagRange reads --begin and --end.
func flagRange(begin, end string, zone *time.Location) (r period.Range, err error) {
	if r.Begin, err = period.ParseTime(begin, zone); err != nil {
		return r, fault.New(fault.Invalid, "--begin: %v", err)
	}
	if r.End, err = period.ParseTime(end, zone); err != nil {
		return r, fault.New(fault.Invalid, "--end: %v", err)
	}
	if r.Empty() {
		return r, fault.New(fault.Invalid, "--end %s is not after --begin %s", end, begin)
	}
	return r, nil
}

type windowList struct {
	databaseFlags
	Begin     string   `placeholder:"TIME" help:"From the window that begins then: RFC 3339, or YYYY-MM-DD in the billing zone. By default from the first."`
	End       string   `placeholder:"TIME" help:"To, not including, the window that begins then. By default to the last."`
	Scope     []string `placeholder:"ID" help:"Of this scope. Repeatable. By default of all."`
	AllScopes bool     `help:"Of all scopes, as by default."`
	State     []string `default:"due,failed" enum:"due,done,failed,waived,empty" help:"States to list: due, done, failed, waived or empty. Repeatable, or separated by commas."`
}

// stateNames are the states as the command line has them.
var stateNames = map[metering.State]string{
	metering.Due: "due", metering.Done: "done", metering.Failed: "failed", metering.Waived: "waived", metering.Empty: "empty",
}

func (c *windowList) Run(r *run) error {
	selection := windowFlags{
		databaseFlags: c.databaseFlags, Begin: cmp.Or(c.Begin, "1970-01-01T00:00:00Z"), End: cmp.Or(c.End, "9999-12-31T00:00:00Z"),
		Scope: c.Scope, AllScopes: c.AllScopes || len(c.Scope) == 0,
	}
	closed := slices.ContainsFunc(c.State, func(s string) bool { return s != stateNames[metering.Due] && s != stateNames[metering.Failed] })
	return selection.selected(r, func(ctx context.Context, s *store.Store, zone *time.Location, sel metering.WindowSelection) error {
		states, err := s.ScopeStates(ctx)
		if err != nil {
			return err
		}
		for i := range states {
			scope, span := states[i].Scope, sel.Range
			if len(sel.Scopes) > 0 && !slices.Contains(sel.Scopes, scope.Ref) {
				continue
			}
			if first := states[i].ProcessedTo; !closed && span.Begin.Before(first) { // nothing is open before
				span.Begin = first
			}
			windows, err := s.Windows(ctx, scope.Ref, span)
			if err != nil {
				return err
			}
			for j := range windows {
				w := &windows[j]
				if !slices.Contains(c.State, stateNames[w.State]) {
					continue
				}
				fmt.Fprintf(r.Out, "%s  %-6s  %s%s\n", period.Format(w.Begin, zone), stateNames[w.State], scope.ID, windowRemark(w, zone))
			}
		}
		return nil
	})
}

// windowRemark is what is to be said of a window besides its state.
func windowRemark(w *metering.Window, zone *time.Location) string {
	switch {
	case w.State == metering.Waived:
		return fmt.Sprintf("  waived by %s: %s", w.WaivedBy, w.WaivedFor)
	case w.Error != "":
		return fmt.Sprintf("  next try %s: %s", period.Format(w.NextAttempt, zone), w.Error)
	case w.State == metering.Done:
		return fmt.Sprintf("  %s, %s", count(w.Points, "point"), w.Amount)
	}
	return ""
}

type windowRetry struct{ windowFlags }

func (c *windowRetry) Run(r *run) error {
	return c.selected(r, func(ctx context.Context, s *store.Store, _ *time.Location, sel metering.WindowSelection) error {
		n, err := s.RetryWindows(ctx, sel, actor())
		return r.changed(err, n, "is due now", "are due now")
	})
}

type windowWaive struct {
	windowFlags
	Reason string `required:"" placeholder:"TEXT" help:"Why, for the audit log."`
}

func (c *windowWaive) Run(r *run) error {
	return c.selected(r, func(ctx context.Context, s *store.Store, _ *time.Location, sel metering.WindowSelection) error {
		n, err := s.WaiveWindows(ctx, sel, c.Reason, actor())
		return r.changed(err, n, "is waived, or left as it is", "are waived, or left as they are")
	})
}

type windowUnwaive struct{ windowFlags }

func (c *windowUnwaive) Run(r *run) error {
	return c.selected(r, func(ctx context.Context, s *store.Store, _ *time.Location, sel metering.WindowSelection) error {
		n, err := s.UnwaiveWindows(ctx, sel, actor())
		return r.changed(err, n, "is due again", "are due again")
	})
}

type windowAccept struct {
	windowFlags
	Reason string `required:"" placeholder:"TEXT" help:"Why, for the audit log."`
}

func (c *windowAccept) Run(r *run) error {
	return c.selected(r, func(ctx context.Context, s *store.Store, _ *time.Location, sel metering.WindowSelection) error {
		n, err := s.AcceptAbsence(ctx, sel, c.Reason, actor())
		return r.changed(err, n, "is due, and absent metrics are accepted", "are due, and absent metrics are accepted")
	})
}

// changed says how many windows were changed, unless that failed.
func (r *run) changed(err error, n int64, one, many string) error {
	if err != nil {
		return err
	}
	became := many
	if n == 1 {
		became = one
	}
	fmt.Fprintf(r.Out, "%s %s.\n", count(int(n), "window"), became)
	return nil
}
