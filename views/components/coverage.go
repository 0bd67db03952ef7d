package components

import "ratebook/metering"

// WindowMap is a map of window states: scopes down, time across.
type WindowMap struct {
	Caption string
	Spans   []MapSpan // what the columns belong to, such as months; from the left
	Columns []MapColumn
	Rows    []MapRow
}

// MapSpan is a heading over some columns.
type MapSpan struct {
	Label   string
	Columns int
}

// MapColumn is a stretch of time.
type MapColumn struct {
	Label string // a few letters
	Title string // in full
	Path  string // where it is shown closer; may be empty
	Now   bool   // whether it is the present
}

// MapRow is a scope.
type MapRow struct {
	Name, Path string
	Note       string // that stands small beside the name; may be empty
	NotePath   string
	Hint       string    // about the name, on hover
	Cells      []MapCell // as many as there are columns
}

// MapCell is how a scope's windows in a stretch of time stand.
type MapCell struct {
	State  metering.State // the worst of the windows
	Part   bool           // others of them are processed
	Again  bool           // some wait to be done again
	Redone bool           // some were done again
	Title  string         // who, when, how many of which state; empty: there is no window
	Path   string
}

// class returns the classes that draw the cell.
func (c *MapCell) class() string {
	class := stateClass(c.State)
	if c.Part {
		class += " part"
	}
	if c.Again {
		class += " again"
	}
	if c.Redone {
		class += " redone"
	}
	return class
}

// stateClass returns the class that draws a state.
func stateClass(s metering.State) string {
	switch s {
	case metering.Done:
		return "done"
	case metering.Empty:
		return "none"
	case metering.Failed:
		return "bad"
	case metering.Waived:
		return "waived"
	case metering.Leased:
		return "leased"
	case metering.Due:
	}
	return "due"
}

// MapKey is an entry of a map's legend: how something is drawn, and what it means.
type MapKey struct {
	Cell MapCell
	Text string
}
