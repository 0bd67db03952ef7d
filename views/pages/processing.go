package pages

import (
	"net/url"
	"strconv"
	"time"

	"ratebook/metering"
	"ratebook/views/components"
	"ratebook/views/format"
)

// ProcessingPart is the fragment that shows how processing is, and the id of its element.
const ProcessingPart = "processing"

// ProcessingOverview is how processing is as a whole.
type ProcessingOverview struct {
	Now      time.Time
	Zone     *time.Location
	Events   string // path where the server tells that something has changed
	NoSource bool   // this process collects nothing

	Scopes int // active ones
	State  components.State
	Status string // in one sentence
	Short  string // in a few words, which differ only if the state does

	Day         string // the last 24 h that are due
	Recent      []WindowCount
	Due, Failed int    // windows, whenever they began
	DuePath     string // where the due ones are
	Waiting     int    // done ones that tasks are to do again

	Behind    []BehindScope // the first few scopes that lag or have failed windows
	AllBehind int
	Tasks     []metering.Task // that go on by themselves
	Process   string          // whose pace and jobs these are; empty: there is no other
	Pace      Pace
	Jobs      []JobRow
	MayRun    bool // the user may run jobs

	LedgerFailure, RecentFailure, TasksFailure *Failure
}

// WindowCount says how many windows are in a state.
type WindowCount struct {
	Badge components.State
	Text  string
}

// BehindScope is a scope that lags or has failed windows.
type BehindScope struct {
	Processing
	Name, ID    string
	Twin        bool   // another has the same name
	Path        string // of its coverage
	Due, Failed int
}

// Pace is how fast a process works.
type Pace struct {
	Since  time.Time
	Texts  []string // such as "1,204 windows/h"
	Failed int      // windows
}

// JobRow is a job of this process.
type JobRow struct {
	metering.Job
	Lasted string // the last run that ended; empty: none did
}

// runPath is where a job is asked to run.
func (j *JobRow) runPath() string { return "/processing/jobs/" + url.PathEscape(j.Name) + "/run" }

// interval writes how often a job runs.
func (j *JobRow) interval() string {
	if j.Every < time.Minute {
		return strconv.FormatInt(int64(j.Every/time.Second), 10) + " s"
	}
	return format.Duration(j.Every)
}

// clockTime writes a time to the second; today's without the day.
func clockTime(t, now time.Time, zone *time.Location) string {
	if format.Day(t, zone) == format.Day(now, zone) {
		return t.In(zone).Format("15:04:05")
	}
	return t.In(zone).Format("2 Jan, 15:04:05")
}
