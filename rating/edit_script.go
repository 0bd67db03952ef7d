package rating

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"ratebook/fault"
)

// maxScript bounds the text of a script, in characters.
const maxScript = 1 << 20

// Script returns the script with the id; the error is of kind NotFound.
func (r *Rules) Script(id string) (*Script, error) {
	i := slices.IndexFunc(r.Scripts, func(s Script) bool { return s.ID == id })
	if i < 0 {
		return nil, noSuch("script", id)
	}
	script := r.Scripts[i]
	return &script, nil
}

// AddScript returns the rules with one more script, and its new id; it may be one that does not compile. Errors name the fields
// name, data, start, end and description. A name that is taken is a Conflict; the id is then that of the script that has it.
func (r *Rules) AddScript(script Script) (next *Rules, id string, err error) {
	script.ID = uuid.NewString()
	if err := script.check(); err != nil {
		return nil, "", err
	}
	if other := r.scriptNamed(script.Name); other != nil {
		return nil, other.ID, taken("script", script.Name)
	}
	next = r.clone()
	next.Scripts = append(next.Scripts, script)
	return next, script.ID, nil
}

// ReplaceScript returns the rules with the script of that id replaced, whose id stays.
func (r *Rules) ReplaceScript(id string, script Script) (*Rules, error) {
	if _, err := r.Script(id); err != nil {
		return nil, err
	}
	script.ID = id
	if err := script.check(); err != nil {
		return nil, err
	}
	if other := r.scriptNamed(script.Name); other != nil && other.ID != id {
		return nil, taken("script", script.Name)
	}
	next := r.clone()
	next.Scripts[slices.IndexFunc(next.Scripts, func(s Script) bool { return s.ID == id })] = script
	return next, nil
}

// RemoveScript returns the rules without the script of that id.
func (r *Rules) RemoveScript(id string) (*Rules, error) {
	if _, err := r.Script(id); err != nil {
		return nil, err
	}
	next := r.clone()
	next.Scripts = slices.DeleteFunc(next.Scripts, func(s Script) bool { return s.ID == id })
	return next, nil
}

func (r *Rules) scriptNamed(name string) *Script {
	i := slices.IndexFunc(r.Scripts, func(s Script) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Scripts[i]
}

// check holds a script to what ParseFile accepts, and puts its times into UTC.
func (s *Script) check() error {
	s.Start, s.End = utc(s.Start), utc(s.End)
	var fields []fault.Field
	add := func(field, message string) {
		if message != "" {
			fields = append(fields, fault.Field{Name: field, Message: message})
		}
	}
	if s.Name == "" {
		add("name", "this is empty")
	}
	add("name", badText(s.Name, maxText))
	add("data", badText(s.Data, maxScript))
	for _, t := range [...]struct {
		field string
		at    time.Time
	}{{"start", s.Start}, {"end", s.End}} {
		if !t.at.IsZero() && (tooFar(t.at) || t.at.Nanosecond() != 0) {
			add(t.field, "this is no time in whole seconds that the script can have")
		}
	}
	if len(fields) == 0 && !s.End.IsZero() && !s.End.After(s.Start) {
		add("end", "the end is not after the start")
	}
	add("description", badText(s.Description, maxDescription))
	if len(fields) == 0 {
		return nil
	}
	return &fault.Error{Kind: fault.Invalid, Message: "the script can't be saved as it is", Fields: fields}
}

func (s *Script) subject() string { return "script " + shown(s.Name) }

// String says all of a script but its id, and of its text only how long it is and how its checksum begins.
func (s *Script) String() string {
	var b strings.Builder
	count := len(textLines(s.Data))
	fmt.Fprintf(&b, "%s: %d line", s.subject(), count)
	if count != 1 {
		b.WriteString("s")
	}
	fmt.Fprintf(&b, ", checksum %.12s…", s.Checksum())
	if !s.Start.IsZero() {
		b.WriteString(", from " + instant(s.Start))
	}
	if !s.End.IsZero() {
		b.WriteString(", until " + instant(s.End))
	}
	if s.Description != "" {
		fmt.Fprintf(&b, ", description %q", clip(s.Description))
	}
	return b.String()
}

// change names a script and says what becomes of what; it is empty if s and next are the same but for their ids.
func (s *Script) change(next *Script) string {
	var parts []string
	if s.Data != next.Data {
		parts = append(parts, textChange(s.Data, next.Data))
	}
	part := func(what, from, to string) {
		if from != to {
			parts = append(parts, fmt.Sprintf("%s %s → %s", what, from, to))
		}
	}
	part("start", instant(s.Start), instant(next.Start))
	part("end", instant(s.End), instant(next.End))
	part("description", quoted(s.Description), quoted(next.Description))
	if len(parts) == 0 {
		return ""
	}
	return s.subject() + ": " + strings.Join(parts, ", ")
}

// textChange says which lines of a text were changed: all between the first and the last that differ.
func textChange(before, after string) string {
	was, is := textLines(before), textLines(after)
	from, n, m := 0, len(was), len(is)
	for ; from < n && from < m && was[from] == is[from]; from++ {
	}
	for ; n > from && m > from && was[n-1] == is[m-1]; n, m = n-1, m-1 {
	}
	switch from {
	case m:
		return lineRange(from+1, n) + " deleted"
	case n:
		return lineRange(from+1, m) + " added"
	}
	return lineRange(from+1, m) + " changed"
}

func lineRange(first, last int) string {
	if first == last {
		return fmt.Sprintf("line %d", first)
	}
	return fmt.Sprintf("lines %d to %d", first, last)
}

// textLines returns the lines of a text, with what ends them.
func textLines(text string) []string { return slices.Collect(strings.Lines(text)) }
