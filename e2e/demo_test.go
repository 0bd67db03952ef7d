package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestDemo has the demo print the month's costs twice, by scope and by metric, with one total.
func TestDemo(t *testing.T) {
	t.Parallel()
	out := sqliteAt(filepath.Join(t.TempDir(), "unused.db")).run(t, "demo")
	var totals []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "total" {
			totals = append(totals, f[len(f)-1])
		}
	}
	if len(totals) != 2 || totals[0] != totals[1] || totals[0] == "0" {
		t.Errorf("totals %q of:\n%s", totals, out)
	}
	for _, want := range []string{"12 scopes", "Genomics", "gpu", "EUR"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}
