package pages

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/a-h/templ"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/views/components"
	"ratebook/views/format"
	"ratebook/views/link"
)

// The fragments that the pages of tasks are made of, and the ids of their elements.
const (
	TasksTable     = "tasks"       // the list
	TaskFragment   = "task"        // all of one task
	TaskFormBody   = "task-new"    // the form of a new task, and what it touches
	TaskFormScopes = "task-scopes" // the scopes to choose from
	TaskFormTouch  = "task-touch"  // what it touches
)

// TaskPath returns the address of a task.
func TaskPath(id int64) string { return "/processing/tasks/" + strconv.FormatInt(id, 10) }

// TaskKind says what a task does.
func TaskKind(k metering.TaskKind) string {
	switch k {
	case metering.Reprocess:
		return "Reprocess"
	case metering.Rerate:
		return "Re-rate"
	case metering.Reset:
		return "Reset"
	case metering.Recheck:
	}
	return "Late usage"
}

// TaskScopes says which scopes a task has, such as "Genomics and 11 others" or "all 300 scopes".
func TaskScopes(t *metering.Task) string {
	switch {
	case t.AllScopes && t.Among > 0:
		return "all " + Many(t.Among, "scope", "scopes")
	case t.AllScopes:
		return "all scopes"
	case len(t.Scopes) == 0:
		return Many(t.Among, "scope", "scopes")
	case t.Among <= 1:
		return taskScope(t.Scopes[0])
	case t.Among == 2 && len(t.Scopes) == 2:
		return taskScope(t.Scopes[0]) + " and " + taskScope(t.Scopes[1])
	}
	return taskScope(t.Scopes[0]) + " and " + Many(t.Among-1, "other", "others")
}

// TaskTitle names a task, such as "Re-rate of Genomics and 11 others".
func TaskTitle(t *metering.Task) string { return TaskKind(t.Kind) + " of " + TaskScopes(t) }

// taskScope returns what people call a scope.
func taskScope(s *metering.Scope) string {
	if s.Name != "" {
		return s.Name
	}
	return s.ID
}

func taskScopePath(s *metering.Scope) string { return "/scopes/" + strconv.FormatInt(s.Ref, 10) }

// taskRange says which windows a task does.
func taskRange(t *metering.Task, zone *time.Location) string {
	return format.Range(t.Range.Begin, t.Range.End, zone)
}

// taskState returns how a task stands, in a few words.
func taskState(t *metering.Task) (components.State, string) {
	switch t.State {
	case metering.Previewing:
		if t.Error != "" {
			return components.Warning, "dry run waits"
		}
		return components.Neutral, "dry run"
	case metering.Previewed:
		return components.Neutral, "waits to be started"
	case metering.Running:
		if t.Failing > 0 {
			return components.Warning, "running, " + format.Count(int64(t.Failing)) + " failing"
		}
		return components.Neutral, "running"
	case metering.Cancelled:
		return components.Neutral, "cancelled"
	case metering.Finished:
	}
	return components.OK, "finished"
}

// TaskStarted reports whether a task has been let loose on windows: what it changes is then known, not only foreseen.
func TaskStarted(t *metering.Task) bool {
	switch t.State {
	case metering.Running, metering.Finished:
		return true
	case metering.Cancelled:
		return t.Started
	case metering.Previewing, metering.Previewed:
	}
	return false
}

// taskChanged reports whether a task has changed charges.
func taskChanged(t *metering.Task) bool { return t.Change.PointsBefore > 0 || t.Change.PointsAfter > 0 }

// TaskLive reports whether a task goes on by itself.
func TaskLive(t *metering.Task) bool {
	return t.State == metering.Running || t.State == metering.Previewing
}

// Difference returns by how much a change alters the amount.
func Difference(c *metering.Change) money.Decimal { return c.After.Sub(c.Before) }

// taskWindows counts how far a task has come.
func taskWindows(t *metering.Task) components.Windows {
	return components.Windows{Done: t.Windows - t.Left, All: t.Windows, Failing: t.Failing, Counting: !t.Planned && t.State == metering.Running}
}

// TaskList is the list of tasks.
type TaskList struct {
	State, Kind string // what it is narrowed to; empty: not at all
	Rows        []metering.Task
	All         int  // tasks, whatever their state
	Matching    int  // of these, how many the list has, narrowed
	MayAct      bool // the user may make tasks
	Currency    string
	Zone        *time.Location
	Pages       components.Pages
}

// taskStates are what the list of tasks can be narrowed to.
func taskStates() []components.Option {
	return []components.Option{
		{Value: "", Label: "any"},
		{Value: "open", Label: "not ended"},
		{Value: string(metering.Previewing), Label: "dry run"},
		{Value: string(metering.Previewed), Label: "waits to be started"},
		{Value: string(metering.Running), Label: "running"},
		{Value: string(metering.Cancelled), Label: "cancelled"},
		{Value: string(metering.Finished), Label: "finished"},
	}
}

func taskKinds() []components.Option {
	all := []components.Option{{Value: "", Label: "any"}}
	for _, k := range []metering.TaskKind{metering.Reprocess, metering.Rerate, metering.Recheck} {
		all = append(all, components.Option{Value: string(k), Label: TaskKind(k)})
	}
	return all
}

// TaskForm is the form of a new task, as it was filled in.
type TaskForm struct {
	Kind    metering.TaskKind
	All     bool        // all scopes
	Scopes  []TaskScope // to choose from: those chosen first
	Known   int         // how many scopes there are
	Active  int         // of these
	More    int         // that match what was searched for, and are not among Scopes
	Q       string      // what was searched for
	IDs     string      // typed or pasted ones
	Begin   string
	End     string
	AsItWas bool
	Reason  string
	Message string // why no task was made
	Errors  components.Errors
	Presets []TaskPreset
	Touch   TaskTouch
	Zone    *time.Location
	Now     time.Time
}

// TaskScope is a scope to choose.
type TaskScope struct {
	ID, Name string
	Chosen   bool
	Inactive bool
}

// label says what people call it, with its id if that is something else.
func (s TaskScope) label() string {
	label := s.Name
	if s.Name == "" {
		label = s.ID
	}
	if s.Inactive {
		label += " (inactive)"
	}
	return label
}

// TaskPreset is a range that is often meant.
type TaskPreset struct {
	Label string
	Name  string // of the query's range
	Path  string // the form with it
}

// TaskTouch is what a task would look at.
type TaskTouch struct {
	Range     string // empty: it is not known yet
	Scopes    int
	Windows   int64 // at most so many
	Amount    money.Decimal
	Missing   string // why there is no amount; empty: there is
	Unknown   int    // ids that are of no scope
	CostsPath string // where the amount is explained; empty: nowhere
	Currency  string
	Held      *TaskHeld
}

// TaskHeld says that the range ends where it does because of a scope that is behind.
type TaskHeld struct {
	End     string // such as "18 Nov 2026, 05:00"
	Scope   string
	Others  int    // scopes that are not farther either
	Planned bool   // it ends with the last of the scope's windows, not with the last that is processed
	Without string // where it could end without them; empty: there are no other scopes
	Path    string // the scope's coverage
}

// reached says what scopes are up to the range's end.
func (h *TaskHeld) reached() string {
	others, verb := "", " is processed"
	if h.Others > 0 {
		others, verb = " and "+Many(h.Others, "other", "others"), " are processed"
	}
	switch {
	case h.Planned && h.Others > 0:
		verb = " have windows"
	case h.Planned:
		verb = " has windows"
	}
	return others + verb
}

// farther says where the range could end.
func (h *TaskHeld) farther() string {
	switch {
	case h.Without == "":
		return "."
	case h.Others > 0:
		return "; without them the range could reach " + h.Without + "."
	}
	return "; without it the range could reach " + h.Without + "."
}

// words says times in the form's zone.
func (f *TaskForm) words() *PriceWords { return &PriceWords{Zone: f.Zone, Now: f.Now} }

// allLabel says how many scopes all are.
func (f *TaskForm) allLabel() string {
	return "All active scopes (" + format.Count(int64(f.Active)) + ")"
}

// TaskView is the page of one task.
type TaskView struct {
	*metering.Task
	Message  string // why what was asked for could not be done
	MayAct   bool
	Previews bool   // there is what a dry run found
	Of       string // whose differences are listed: TaskForeseen or TaskDone
	Path     string // of the page, with its query
	Version  string // changes whenever the task does
	Currency string
	Zone     *time.Location

	Rows     []TaskRow       // the page of the list
	Sum      metering.Change // of all rows
	All      int             // rows
	Headings []components.Sorted
	Largest  bool // the largest differences come first
	Pages    components.Pages
	Losses   []TaskLoss // the dearest
	Lost     int        // how many there are
	Coverage string     // address of the map with the windows that fail
}

// TaskRow is what a task changes for one scope and metric.
type TaskRow struct {
	metering.TaskDifference
	ScopePath, MetricPath string
}

// TaskLoss is points that would lose their price.
type TaskLoss struct {
	metering.LostPrice
	ScopePath, MetricPath string
	RulePath              string // where they can be priced; empty: the user may not
}

// Whose differences are listed.
const (
	TaskForeseen = "preview"
	TaskDone     = "done"
)

// words says how the task stands, in a sentence or two.
func (v *TaskView) words() string {
	done, windows := v.Windows-v.Left, Many(v.Windows, "window", "windows")
	switch v.State {
	case metering.Previewing:
		return "A dry run computes what it would change. Nothing changes meanwhile."
	case metering.Previewed:
		if v.Missing > 0 {
			return "The dry run is over. Nothing has changed, and nothing will until somebody starts the task."
		}
		return "The dry run is complete. Nothing has changed, and nothing will until somebody starts the task."
	case metering.Running:
		switch {
		case v.Windows == 0:
			return "It has been started; its windows are being counted."
		case done == 0:
			return "Waiting for it: " + windows + ". Each keeps its charges until it has new ones."
		}
		return "Done so far: " + format.Count(int64(done)) + " of " + windows + ". The others keep their charges until they have new ones."
	case metering.Cancelled:
		switch {
		case !TaskStarted(v.Task):
			return "It was discarded before it was started. Nothing has changed."
		case done == 0 && taskChanged(v.Task):
			return "It was cancelled. Windows that it had done stay done; the others are as they were."
		case done == 0:
			return "It was cancelled before a window was done. Nothing has changed."
		}
		return "It was cancelled after " + format.Count(int64(done)) + " of " + windows + ", which stay done; the others are as they were."
	case metering.Finished:
	}
	if v.Kind == metering.Recheck {
		return "Checked again after a while, the source answered differently for " + windows + ". What came late is in the charges now."
	}
	return "Done again: " + windows + ". The charges that were replaced stay readable with each window."
}

// method says how the windows are done again.
func (v *TaskView) method() string {
	switch {
	case v.Kind == metering.Recheck:
		return "Collected again with the metrics and rules they were made with"
	case v.Kind == metering.Rerate:
		return "The stored usage is priced again with the latest rules"
	case v.AsItWas:
		return "Collected and rated again, with metrics and rules as they were"
	}
	return "Collected and rated again, with the latest metrics and rules"
}

// startWords say what starting the task does.
func (v *TaskView) startWords() string {
	if v.Preview.PointsBefore == 0 && v.Preview.PointsAfter == 0 {
		return "Starting it changes no amount, as far as the dry run saw."
	}
	s := "Starting it changes the charges of " + TaskScopes(v.Task) + " by " + format.Difference(Difference(&v.Preview)) + " " + v.Currency
	if v.Preview.LostPoints > 0 {
		s += "; " + ManyPoints(v.Preview.LostPoints) + " would lose their price"
	}
	return s + "."
}

// ManyPoints says how many points there are.
func ManyPoints(n int64) string {
	if n == 1 {
		return "1 point"
	}
	return format.Count(n) + " points"
}

// lossReason says why points lose their price.
func lossReason(r metering.LossReason) string {
	if r == metering.LossGone {
		return "renamed or no longer collected: no point has this metric and these attributes any more"
	}
	return "no rule prices it"
}

// caption says what the list of differences shows.
func (v *TaskView) caption() string {
	what := "What the task has changed, by scope and metric"
	switch {
	case v.Of == TaskForeseen:
		what = "What the task would change, by scope and metric"
	case v.State == metering.Running:
		what = "What the task has changed so far, by scope and metric"
	}
	if v.Largest {
		what += ", the largest difference first"
	}
	return what + ". All metrics of a window that changes are listed."
}

// csv is the address of the list as a file.
func (v *TaskView) csv() string {
	path := TaskPath(v.ID) + "/differences.csv"
	if v.Of == TaskDone {
		path += "?of=" + TaskDone
	}
	return path
}

// live makes the page of a task that goes on by itself ask for what has changed since it was made.
func (v *TaskView) live(ctx context.Context) templ.OrderedAttributes {
	if !TaskLive(v.Task) {
		return nil
	}
	_, say := taskState(v.Task)
	return templ.OrderedAttributes{
		{Key: "data-live", Value: string(link.Query(ctx, TaskPath(v.ID)+"/events", url.Values{"seen": {v.Version}}))},
		{Key: "data-say", Value: say},
		{Key: "hx-get", Value: string(link.To(ctx, v.Path))},
		{Key: "hx-trigger", Value: "changed"},
		{Key: "hx-swap", Value: "outerHTML"},
	}
}
