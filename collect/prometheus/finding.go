package prometheus

import (
	"cmp"
	"slices"
	"strings"

	"ratebook/metering"
)

// skippedFindings returns one finding for each scope, window and series with a sample of m that is no quantity.
func skippedFindings(m *metering.Metric, skipped []skip, rank map[*metering.Scope]int) []metering.Finding {
	slices.SortFunc(skipped, func(a, b skip) int {
		return cmp.Or(
			cmp.Compare(rank[a.scope], rank[b.scope]),
			cmp.Compare(a.window, b.window),
			strings.Compare(a.labels, b.labels),
			strings.Compare(a.what, b.what),
		)
	})
	var findings []metering.Finding
	for i, s := range skipped {
		if i > 0 && s == skipped[i-1] {
			findings[len(findings)-1].Points++
			continue
		}
		findings = append(findings, metering.Finding{
			Kind: metering.Skipped, Scope: s.scope, Window: s.window, Metric: m.Name, Detail: s.what + " of " + s.labels, Points: 1,
		})
	}
	return findings
}

// noteFindings returns one finding for each different note.
func noteFindings(m *metering.Metric, notes []string) []metering.Finding {
	slices.Sort(notes)
	var findings []metering.Finding
	for _, n := range slices.Compact(notes) {
		findings = append(findings, metering.Finding{Kind: metering.SourceNote, Window: -1, Metric: m.Name, Detail: n})
	}
	return findings
}
