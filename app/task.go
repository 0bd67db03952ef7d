package app

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"ratebook/collect/prometheus"
	"ratebook/fault"
	"ratebook/jobs"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
)

type taskCommand struct {
	Reprocess taskReprocess `cmd:"" help:"Collect and rate processed windows again."`
	Rerate    taskRerate    `cmd:"" help:"Price stored usage again, without collecting."`
	List      taskList      `cmd:"" help:"List the latest tasks."`
	Show      taskShow      `cmd:"" help:"Print a task with what it changes."`
	Start     taskStart     `cmd:"" help:"Start a task whose dry run is there."`
	Cancel    taskCancel    `cmd:"" help:"Cancel a task; windows that it has done stay done."`
	Resume    taskResume    `cmd:"" help:"Go on with a task that was cancelled."`
}

// taskFlags say what is to be done again.
type taskFlags struct {
	databaseFlags
	sourceFlags
	Begin     string   `required:"" placeholder:"TIME" help:"From the window that begins then: RFC 3339, or YYYY-MM-DD in the billing zone."`
	End       string   `required:"" placeholder:"TIME" help:"To, not including, the window that begins then."`
	Scope     []string `placeholder:"ID" help:"This scope. Repeatable."`
	AllScopes bool     `help:"All active scopes."`
	Reason    string   `required:"" placeholder:"TEXT" help:"Why, for the record."`
	DryRun    bool     `help:"Only compute what it would change, and print that; the task then waits to be started."`
}

type taskReprocess struct {
	taskFlags
	AsItWas bool `help:"With the metrics and rules that made each window, instead of the latest."`
}

func (c *taskReprocess) Run(r *run) error { return c.create(r, metering.Reprocess, c.AsItWas) }

type taskRerate struct{ taskFlags }

func (c *taskRerate) Run(r *run) error { return c.create(r, metering.Rerate, false) }

func (c *taskFlags) create(r *run, kind metering.TaskKind, asItWas bool) error {
	if err := oneOrAll(c.Scope, c.AllScopes); err != nil {
		return err
	}
	return c.with(r, func(ctx context.Context, s *store.Store) error {
		settings, err := s.Settings(ctx, store.Wanted{})
		if err != nil {
			return err
		}
		n := &metering.NewTask{
			Kind: kind, ScopeIDs: c.Scope, AllScopes: c.AllScopes, AsItWas: asItWas, Reason: c.Reason, Author: actor(), Preview: c.DryRun,
		}
		if n.Range, err = flagRange(c.Begin, c.End, settings.Zone); err != nil {
			return err
		}
		if !c.DryRun {
			id, err := s.CreateTask(ctx, n)
			if err == nil {
				fmt.Fprintf(r.Out, "Task %d is due; serve or the next process does it.\n", id)
			}
			return err
		}
		scripts, err := (&scriptFlags{ScriptTimeout: scriptTimeout, ScriptMemory: scriptMemory}).scripts(r, 1)
		if err != nil {
			return err
		}
		defer scripts.Close()
		p := &jobs.Processor{Scripts: scripts, Ledger: s, Catalog: s, Tasks: s, Archive: s, Zone: settings.Zone, Holder: holder("task"), Workers: 1, Lease: 30 * time.Second, Log: r.log}
		if kind != metering.Rerate {
			src, err := c.asked(ctx, r, s, settings)
			if err != nil {
				return err
			}
			if client, ok := src.Collector.(*prometheus.Collector); ok {
				defer client.Client.Close()
			}
			p.Sources = []jobs.Source{src}
		}
		id, err := s.CreateTask(ctx, n)
		if err != nil {
			return err
		}
		return preview(ctx, r, s, p, settings, id)
	})
}

// asked returns the source that the flags define, if a dry run can collect all of the scopes again from it.
func (c *taskFlags) asked(ctx context.Context, r *run, s *store.Store, settings *metering.Settings) (src jobs.Source, err error) {
	src, ok, err := c.source(r, s, settings)
	if err != nil {
		return src, err
	}
	if !ok {
		return src, fault.New(fault.Invalid, "the dry run of a reprocess collects, and there is no source; set --prometheus-url, or make the task on the page, where serve computes it")
	}
	scopes, err := s.Scopes(ctx)
	if err != nil {
		return src, err
	}
	for _, scope := range scopes {
		chosen := c.AllScopes && scope.Active || slices.Contains(c.Scope, scope.ID)
		if chosen && scope.Source.Name != src.Name {
			return src, fault.New(fault.Invalid, "scope %q is of source %s, and the dry run can ask source %s only; make the task on the page, where serve computes it",
				scope.ID, scope.Source.Name, src.Name)
		}
	}
	return src, nil
}

// previewPoll is how often to look whether another process has computed a dry run.
const previewPoll = 200 * time.Millisecond

// preview computes a task's dry run, beside a serve that may do the same, and prints it.
func preview(ctx context.Context, r *run, s *store.Store, p *jobs.Processor, settings *metering.Settings, id int64) error {
	for {
		if err := p.Preview(ctx, id); err != nil {
			return err
		}
		t, err := s.Task(ctx, id)
		if err != nil {
			return err
		}
		if t.State != metering.Previewing {
			return printTask(ctx, r.Out, s, t, settings)
		}
		if t.Error != "" {
			return fault.New(fault.Unavailable, "the dry run of task %d waits for its source: %s; serve or the next process computes it, and `ratebook task show %d` prints it", id, t.Error, id)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(previewPoll):
		}
	}
}

type taskList struct {
	databaseFlags
	Limit int `default:"20" help:"How many."`
}

func (c *taskList) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error {
		settings, err := s.Settings(ctx, store.Wanted{})
		if err != nil {
			return err
		}
		tasks, _, err := s.Tasks(ctx, max(1, c.Limit), 0)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(r.Out, 0, 0, 2, ' ', 0)
		for i := range tasks {
			t := &tasks[i]
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Kind, t.State, taskRange(t, settings.Zone), count(t.Among, "scope"), t.Author, t.Reason)
		}
		return w.Flush()
	})
}

// taskNumber names a task.
type taskNumber struct {
	databaseFlags
	ID int64 `arg:"" help:"The task's number."`
}

type taskShow struct{ taskNumber }

func (c *taskShow) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error {
		settings, err := s.Settings(ctx, store.Wanted{})
		if err != nil {
			return err
		}
		t, err := s.Task(ctx, c.ID)
		if err != nil {
			return err
		}
		return printTask(ctx, r.Out, s, t, settings)
	})
}

type taskStart struct{ taskNumber }

func (c *taskStart) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error { return s.StartTask(ctx, c.ID, actor()) })
}

type taskCancel struct{ taskNumber }

func (c *taskCancel) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error { return s.CancelTask(ctx, c.ID, actor()) })
}

type taskResume struct{ taskNumber }

func (c *taskResume) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error { return s.ResumeTask(ctx, c.ID, actor()) })
}

func taskRange(t *metering.Task, zone *time.Location) string {
	return period.Format(t.Range.Begin, zone) + " to " + period.Format(t.Range.End, zone)
}

// mostLosses is how many points without their price are printed.
const mostLosses = 50

// printTask writes a task with what it would change, or, once it has begun, with what it has changed.
func printTask(ctx context.Context, out io.Writer, s *store.Store, t *metering.Task, settings *metering.Settings) error {
	fmt.Fprintf(out, "task %d: %s of %s, %s\n", t.ID, t.Kind, count(t.Among, "scope"), taskRange(t, settings.Zone))
	fmt.Fprintf(out, "state: %s", t.State)
	if t.Planned && t.Windows > 0 {
		fmt.Fprintf(out, ", %d of %s done", t.Windows-t.Left, count(t.Windows, "window"))
	}
	fmt.Fprintf(out, "\nby %s: %s\n", t.Author, t.Reason)
	if t.Error != "" {
		fmt.Fprintf(out, "the dry run waits and is tried again: %s\n", t.Error)
	}
	if t.Failing > 0 {
		fmt.Fprintf(out, "failing: %s, which will be tried again; the first: %s\n", count(t.Failing, "window"), t.Failure)
	}
	preview := !t.Started
	change, would := t.Change, "changed"
	switch {
	case t.State == metering.Previewing && t.Preview == (metering.Change{}):
		return nil // it has computed nothing yet
	case t.State == metering.Cancelled && preview:
		change, would = t.Preview, "was foreseen to change"
	case preview:
		change, would = t.Preview, "would change"
	}
	fmt.Fprintf(out, "%s: %s to %s, a difference of %s %s\n", would, change.Before, change.After, change.After.Sub(change.Before), settings.Currency)
	if preview && t.Missing > 0 {
		fmt.Fprintf(out, "not in it: %s that could not be computed; the first: %s\n", count(t.Missing, "window"), t.Because)
	}
	differences, err := s.TaskDifferences(ctx, t.ID, preview)
	if err != nil {
		return err
	}
	if len(differences) > 0 {
		fmt.Fprintln(out)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(differences) > 0 {
		fmt.Fprintln(w, "scope\tmetric\tpoints\tamount before\tafter\tdifference")
	}
	for i := range differences {
		d := &differences[i]
		fmt.Fprintf(w, "%s\t%s\t%d to %d\t%s\t%s\t%s\n", d.Scope.ID, d.Metric, d.PointsBefore, d.PointsAfter, d.Before, d.After, d.After.Sub(d.Before))
	}
	if err := w.Flush(); err != nil || !preview {
		return err
	}
	if change.LostPoints > 0 {
		fmt.Fprintf(out, "\n%s would lose their price of %s %s:\n", count(int(change.LostPoints), "point"), change.LostAmount, settings.Currency)
		losses, all, err := s.TaskLosses(ctx, t.ID, mostLosses)
		if err != nil {
			return err
		}
		for i := range losses {
			l := &losses[i]
			why := "no rule prices them"
			if l.Reason == metering.LossGone {
				why = "they are no longer collected so"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Scope.ID, l.Metric, l.Detail, count(int(l.Points), "point"), l.Amount, why)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if more := all - len(losses); more > 0 {
			fmt.Fprintf(out, "and %d more\n", more)
		}
	}
	if t.State == metering.Previewed {
		fmt.Fprintf(out, "\n`ratebook task start %d` does it, `ratebook task cancel %d` forgets it.\n", t.ID, t.ID)
	}
	return nil
}
