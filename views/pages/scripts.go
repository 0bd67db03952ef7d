package pages

import (
	"net/url"
	"strings"

	"ratebook/rating"
	"ratebook/views/components"
)

// ScriptRow is a script, and what keeps it from running.
type ScriptRow struct {
	rating.Script
	Wrong *rating.ScriptError // nil: it compiles
}

// ScriptList is the page of all scripts.
type ScriptList struct {
	Words     PriceWords
	Rows      []ScriptRow
	Module    rating.Module // of scripts
	MayChange bool
}

// ScriptView is the page of one script.
type ScriptView struct {
	Words     PriceWords
	Script    ScriptRow
	Module    rating.Module
	Priced    bool // it may have priced windows whose charges are there
	MayChange bool
}

// ScriptPlace is why a script was not saved.
type ScriptPlace struct {
	Was     string            // tells whether somebody else has changed the script since
	Message string            // empty: nothing was wrong
	Errors  components.Errors // by field
}

// ScriptForm is the form of a new script, of a successor, or of one that has priced nothing.
type ScriptForm struct {
	ScriptPlace
	Words             PriceWords
	Path, Back, Save  string
	Name, Data        string
	Start, End        string
	Description       string
	Wrong             *rating.ScriptError // what keeps the text from running
	From, Predecessor string              // id and name of the script that ends where this one starts; empty: none
}

// ScriptEnd is the form of a script's end.
type ScriptEnd struct {
	ScriptPlace
	Words  PriceWords
	Script rating.Script
	End    string
}

// ScriptDelete asks whether a script shall go.
type ScriptDelete struct {
	ScriptPlace
	Words  PriceWords
	Script rating.Script
	Priced bool // so it can't
}

func scriptPath(id string) string { return "/pricing/scripts/" + url.PathEscape(id) }

// ScriptValidity says when a script runs.
func (w *PriceWords) ScriptValidity(s *rating.Script) string {
	return w.Validity(&rating.Rule{Start: s.Start, End: s.End})
}

// ScriptBegun reports whether a script has begun to run.
func (w *PriceWords) ScriptBegun(s *rating.Script) bool { return !s.Start.After(w.Now) }

// ScriptEnded reports whether a script does not run any more.
func (w *PriceWords) ScriptEnded(s *rating.Script) bool {
	return !s.End.IsZero() && !s.End.After(w.Now)
}

// ScriptState says how a script is now.
func (w *PriceWords) ScriptState(s *ScriptRow, module rating.Module) (components.State, string) {
	switch {
	case s.Wrong != nil:
		return components.Failed, "does not compile"
	case !w.ScriptBegun(&s.Script):
		return components.Neutral, "from " + w.At(s.Start)
	case w.ScriptEnded(&s.Script):
		return components.Neutral, "ended " + w.At(s.End)
	case !module.Enabled:
		return components.Neutral, "disabled"
	}
	return components.OK, "runs"
}

// codeLine is a line of a script.
type codeLine struct {
	Number int
	Text   string
	Wrong  bool
}

func codeLines(text string, wrong *rating.ScriptError) []codeLine {
	var all []codeLine
	for i, line := range strings.Split(strings.TrimSuffix(strings.ReplaceAll(text, "\r\n", "\n"), "\n"), "\n") {
		all = append(all, codeLine{i + 1, line, wrong != nil && wrong.Line == i+1})
	}
	return all
}

// around returns the lines next to the one that is wrong.
func around(lines []codeLine, wrong *rating.ScriptError) []codeLine {
	if wrong == nil || wrong.Line < 1 || wrong.Line > len(lines) {
		return nil
	}
	return lines[max(0, wrong.Line-3):min(len(lines), wrong.Line+2)]
}

// editorRows is how many lines the editor shows.
func (f *ScriptForm) editorRows() int {
	return min(max(strings.Count(f.Data, "\n")+2, 16), 36)
}

// wrongLine is the number of the line that is wrong, for the editor; 0 is none.
func (f *ScriptForm) wrongLine() int {
	if f.Wrong == nil {
		return 0
	}
	return f.Wrong.Line
}
