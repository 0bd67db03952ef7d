package script

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"ratebook/money"
)

// TestDocumentedScripts runs the examples of the documentation.
func TestDocumentedScripts(t *testing.T) {
	b, err := os.ReadFile("../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "## Scripts")
	var examples []string
	for _, part := range strings.Split(text, "```python\n")[1:] {
		example, _, _ := strings.Cut(part, "```")
		examples = append(examples, example)
	}
	if len(examples) != 4 {
		t.Fatalf("%d examples, want 4", len(examples))
	}
	point := func(metric, qty, flavor string) Point {
		return Point{Metric: metric, Unit: "x", Qty: money.MustParse(qty), Price: money.New(4, 0), Priced: true, Metadata: []Attribute{{"flavor_name", flavor}}}
	}
	for i, want := range []string{"5.34 0 4 4 4", "2 2 2 2 2", "4 4 0 3 6 0.027397260274"} {
		f := &Frame{
			Begin: time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC), End: time.Date(2026, 11, 21, 23, 0, 0, 0, time.UTC), Zone: "UTC",
			Points: []Point{
				point("compute", "2", "m1.large"), point("compute", "1", "m1.huge"),
				point("volume.size", "60", ""), point("volume.size", "50.5", ""), point("volume.size", "1025", ""),
			},
		}
		left, err := new(Interpreter).Run(context.Background(), []Source{{"example", examples[i+1]}}, f)
		if err != nil {
			t.Errorf("example %d: %v", i+1, err)
			continue
		}
		if got := prices(left); got != want {
			t.Errorf("example %d: prices %s, want %s", i+1, got, want)
		}
	}
}
