package rating

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Difference says what an import changes, a line for each module, group, service, field and rule.
type Difference struct {
	Added   []string
	Changed []string // with what it was before
	Removed []string
	Kept    []string // not in the file, and left as it is
	Same    int      // how many of the file's are there already, just so
}

// Empty reports whether nothing changes.
func (d *Difference) Empty() bool { return len(d.Added)+len(d.Changed)+len(d.Removed) == 0 }

// WriteTo writes the lines, marked with +, ~ and -, then those that are kept, and a summary.
func (d *Difference) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, d.String())
	return int64(n), err
}

// String returns what WriteTo writes.
func (d *Difference) String() string {
	var b strings.Builder
	for _, part := range []struct {
		mark  string
		lines []string
	}{{"+ ", d.Added}, {"~ ", d.Changed}, {"- ", d.Removed}, {"  not in the file, stays: ", d.Kept}} {
		for _, line := range part.lines {
			b.WriteString(part.mark + line + "\n")
		}
	}
	if d.Empty() {
		b.WriteString("nothing changes")
	} else {
		fmt.Fprintf(&b, "%d added, %d changed, %d removed", len(d.Added), len(d.Changed), len(d.Removed))
	}
	fmt.Fprintf(&b, "; %d the same, %d not in the file\n", d.Same, len(d.Kept))
	return b.String()
}

func (m Module) String() string {
	state := "disabled"
	if m.Enabled {
		state = "enabled"
	}
	return fmt.Sprintf("module %s: %s, priority %d", m.Name, state, m.Priority)
}

// subject names a rule by what identifies it.
func (r *Rule) subject() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s", r.Kind, shown(r.Service))
	switch {
	case r.Kind == Threshold && r.Field != "":
		fmt.Fprintf(&b, ", %s ≥ %s", shown(r.Field), r.Level)
	case r.Kind == Threshold:
		fmt.Fprintf(&b, ", quantity ≥ %s", r.Level)
	case r.Field != "":
		fmt.Fprintf(&b, ", %s = %s", shown(r.Field), shown(r.Value))
	}
	if r.Scope != "" {
		b.WriteString(", scope " + shown(r.Scope))
	}
	if r.Group != "" {
		b.WriteString(", group " + shown(r.Group))
	}
	if !r.Start.IsZero() {
		b.WriteString(", from " + instant(r.Start))
	}
	return b.String()
}

// String says all of a rule but its id.
func (r *Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s %s", r.subject(), r.Type, r.Cost)
	if !r.End.IsZero() {
		b.WriteString(", until " + instant(r.End))
	}
	if r.Name != "" {
		b.WriteString(", name " + shown(r.Name))
	}
	if r.Description != "" {
		fmt.Fprintf(&b, ", description %q", clip(r.Description))
	}
	return b.String()
}

// change names a rule and says what becomes of what; it is empty if r and next are the same but for their ids.
func (r *Rule) change(next *Rule) string {
	var parts []string
	part := func(what, from, to string) {
		if from != to {
			parts = append(parts, fmt.Sprintf("%s %s → %s", what, from, to))
		}
	}
	part("type", string(r.Type), string(next.Type))
	part("cost", r.Cost.String(), next.Cost.String())
	part("end", instant(r.End), instant(next.End))
	part("name", quoted(r.Name), quoted(next.Name))
	part("description", quoted(r.Description), quoted(next.Description))
	if len(parts) == 0 {
		return ""
	}
	return r.subject() + ": " + strings.Join(parts, ", ")
}

func instant(t time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return t.UTC().Format(time.RFC3339)
}

func quoted(s string) string {
	if s == "" {
		return "none"
	}
	return fmt.Sprintf("%q", s)
}

// shown returns a name as it is where it can't be misread, else quoted.
func shown(s string) string {
	if plain(s) {
		return s
	}
	return fmt.Sprintf("%q", s)
}
