package metering

import (
	"fmt"
	"slices"
	"strings"
)

// Difference says what an import changes, a line for each thing.
type Difference struct {
	Added   []string
	Changed []string // with what it was before
	Removed []string
	Kept    []string // not in the file, and left as it is
	Same    int      // how many of the file's are there already, just so
}

// Empty reports whether nothing changes.
func (d *Difference) Empty() bool { return len(d.Added)+len(d.Changed)+len(d.Removed) == 0 }

// String returns the lines, marked with +, ~ and -, then those that are kept, and a summary.
func (d *Difference) String() string {
	var b strings.Builder
	for _, part := range []struct {
		mark  string
		lines []string
	}{{"+ ", d.Added}, {"~ ", d.Changed}, {"- ", slices.Sorted(slices.Values(d.Removed))}, {"  not in the file, stays: ", slices.Sorted(slices.Values(d.Kept))}} {
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
