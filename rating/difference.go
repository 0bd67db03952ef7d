package rating

import (
	"fmt"
	"strings"
	"time"
)

// String says how a module is set.
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
