package pages

import (
	"time"

	"ratebook/views/components"
	"ratebook/views/format"
)

// CoverageMap is the name of the fragment that holds the map of windows, and the id of its element.
const CoverageMap = "coverage"

// Coverage is the page of the map of windows.
type Coverage struct {
	Zone      *time.Location
	Q         string // as asked
	Troubled  bool   // only scopes with failed or late windows
	Zoom      string
	Day       string   // of the time asked for, as a date field has it
	Refs      []string // of the scopes it is narrowed to
	Only      string   // the name of the one scope it is narrowed to, or how many these are; empty: it is not
	EveryPath string   // the same without that
	Zooms     []CoverageZoom
	Range     string // in words
	Before    string // path of the stretch before
	After     string // and of the one after
	Scopes    int    // there are
	Matching  int
	Planned   bool // whether there is any window at all

	Around, AroundProblem string // the day, or what was typed instead, and what is wrong with it
	Map                   components.WindowMap
	Legend                []components.MapKey
	Act                   *CoverageActions // nil: there is nothing to do, or it is not for who asks
	Pages                 components.Pages
}

// CoverageZoom leads to another zoom of the map at the same place.
type CoverageZoom struct {
	Label, Path string
	Current     bool
}

// CoverageActions are what may be done about all open windows of the scopes that match, on all pages, in the range shown.
type CoverageActions struct {
	WindowFields
	Scopes      string // in words, such as "of 3 scopes"
	Due, Failed int
	Again       int // done ones that failed to be done again
}

// WindowFields select windows in a form.
type WindowFields struct {
	Scope      string // numbers of scopes, separated by commas, or "all"
	Begin, End string // RFC 3339
	Back       string // path to go back to
}

// WindowsAsk is the page that asks why windows are waived, or why there is nothing to be collected.
type WindowsAsk struct {
	WindowFields
	Accept  bool // that there are no samples, instead of waiving
	Leave   bool // windows as they are that were done, instead of waiving
	Range   string
	Zone    *time.Location
	Due     int
	Failed  int
	Again   int         // done ones that failed to be done again
	Scopes  []WindowsOf // the first of those that have open windows
	More    int         // how many others have
	Reason  string
	Message string
	Errors  components.Errors
}

// WindowsOf counts the open windows of a scope.
type WindowsOf struct {
	Name, Path         string
	Due, Failed, Again int
}

// openText says how many windows there are, such as "3 due and 14 failed windows"; again is how many failed to be done again.
func openText(due, failed, again int) string {
	text := count(due) + " due and " + Many(failed, "failed window", "failed windows")
	switch {
	case due+failed == 0:
		return Many(again, "window", "windows") + " that failed to be done again"
	case failed == 0:
		text = Many(due, "due window", "due windows")
	case due == 0:
		text = Many(failed, "failed window", "failed windows")
	}
	if again > 0 {
		text += ", and " + count(again) + " that failed to be done again"
	}
	return text
}

// button says what sending the form does.
func (v *WindowsAsk) button() string {
	leave := "eave " + count(v.Again) + " as they are"
	if v.Again == 1 {
		leave = "eave 1 as it is"
	}
	switch {
	case v.Due+v.Failed == 0:
		return "L" + leave
	case v.Again > 0:
		return "Waive " + Many(v.Due+v.Failed, "window", "windows") + ", and l" + leave
	}
	return "Waive " + Many(v.Due+v.Failed, "window", "windows")
}

// action is where the form goes.
func (v *WindowsAsk) action() string {
	if v.Accept {
		return "/processing/windows/accept"
	}
	return "/processing/windows/waive"
}

// acceptText says what accepting does.
const acceptText = "Metrics without any sample then are no reason for the window to fail any more: it is collected without them, and they cost nothing in it."

// state returns the value of the field that narrows the scopes.
func (v *Coverage) state() string {
	if v.Troubled {
		return "failed"
	}
	return ""
}

// coverageStates are what the scopes can be narrowed to.
func coverageStates() []components.Option {
	return []components.Option{{Value: "", Label: "all"}, {Value: "failed", Label: "with failed or late windows"}}
}

func count(n int) string { return format.Count(int64(n)) }
