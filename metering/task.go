package metering

import (
	"time"

	"ratebook/money"
	"ratebook/period"
)

// TaskKind says how a task does windows again that are done already.
type TaskKind string

// The texts are stored; never change them.
const (
	Reprocess TaskKind = "reprocess" // collects and rates them again
	Rerate    TaskKind = "re-rate"   // prices the stored usage again, without collecting
	Reset     TaskKind = "reset"     // supersedes their charges and makes them due, to be collected and rated as if for the first time
	Recheck   TaskKind = "re-check"  // collects them again as they were collected; what has changed meanwhile is late usage
)

// TaskState is how far a task is.
type TaskState string

// The texts are stored; never change them.
const (
	Previewing TaskState = "previewing" // it computes what it would change, and changes nothing
	Previewed  TaskState = "previewed"  // it waits to be started
	Running    TaskState = "running"    // windows wait for it or are being done
	Cancelled  TaskState = "cancelled"  // windows that are done stay so; it may be resumed
	Finished   TaskState = "finished"
)

// NewTask is what somebody asks to be done again.
type NewTask struct {
	Kind      TaskKind     // Reprocess or Rerate
	ScopeIDs  []string     // as their source knows them; empty with AllScopes
	AllScopes bool         // all active scopes that have windows in the range
	Range     period.Range // of whole windows
	AsItWas   bool         // Reprocess: with the metric configuration and rules that made each window, else with the latest
	Reason    string
	Author    string
	Preview   bool // compute what it would change, and wait to be started
}

// Task is work to be done again. Ranges select windows by their begin.
type Task struct {
	ID        int64 // 0: the late re-check of windows
	Kind      TaskKind
	State     TaskState
	AllScopes bool
	Range     period.Range
	AsItWas   bool
	Reason    string
	Author    string
	Created   time.Time
	EndedAt   time.Time // zero until it is finished or cancelled
	Error     string    // why its preview has to wait, if it has to
	Started   bool      // whether it has ever been let loose on windows: what it changes is known then, not only foreseen

	Scopes  []*Scope // the first few, by id
	Among   int      // how many scopes it has
	Windows int      // that it does, as far as they are counted yet
	Left    int      // of these, still to be done
	Failing int      // of these, those whose last attempt failed; they are tried again
	Failure string   // of the first of them
	Planned bool     // whether all of its windows are counted
	Preview Change   // what it would change, as far as that is known
	Missing int      // windows that the preview could not compute, and that are not in it
	Because string   // the first of them, and why
	Change  Change   // what it has changed so far
}

// TaskFilter selects tasks; the zero value selects all.
type TaskFilter struct {
	Kind   TaskKind    // empty: any
	States []TaskState // empty: any
}

// Change is what a task changes in sum.
type Change struct {
	PointsBefore, PointsAfter int64
	Before, After             money.Decimal // amounts of the windows that change
	LostPoints                int64         // points with a price that would have none afterwards; previews only
	LostAmount                money.Decimal // what these cost before
}

// TaskDifference is what a task changes for one scope and metric.
type TaskDifference struct {
	Scope  *Scope
	Metric string
	Change
}

// LossReason says why points lose their price.
type LossReason string

// The texts are stored; never change them.
const (
	LossGone     LossReason = "gone"     // no point has this metric and these attributes any more
	LossUnpriced LossReason = "unpriced" // the points are there, and no rule prices them
)

// LostPrice is points of one series that cost something and would cost nothing after a task.
type LostPrice struct {
	Scope  *Scope
	Metric string
	Reason LossReason
	Detail string // the attributes, such as "flavor = m1.tiny, id = 7f3a"
	Points int64
	Amount money.Decimal // what they cost before
}

// Preview is a part of a task's dry run: leases for its windows, which for reading are nobody's.
type Preview struct {
	Task   *Task
	Token  int64
	Leases []Lease // for all of the task's windows of some scopes
}

// PreviewRequest says which part of a dry run a process would compute.
type PreviewRequest struct {
	For     time.Duration // how long it is the caller's, unless that is renewed
	Task    int64         // unless zero: only of this task
	Sources []string      // names of those that the caller can ask; re-rates need none
}

// PreviewResult is what a dry run found out about the scopes of a Preview.
type PreviewResult struct {
	Differences []TaskDifference
	Losses      []LostPrice
	Missing     int    // windows that could not be computed, and that are in nothing of the above
	Because     string // the first of them, and why
	Waits       string // why all of this has to be computed later, if it has to: nothing else counts then
}
