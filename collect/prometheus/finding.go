package prometheus

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ratebook/metering"
)

// namedSamples is how many of the skipped samples of a window a finding names.
const namedSamples = 5

// skippedFindings returns one finding for each scope and window with samples of m that are no quantity.
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
	for len(skipped) > 0 {
		first, n := skipped[0], 1
		for n < len(skipped) && skipped[n].scope == first.scope && skipped[n].window == first.window {
			n++
		}
		var named []string
		for _, s := range skipped[:min(n, namedSamples)] {
			named = append(named, s.what+" of "+s.labels)
		}
		detail := strings.Join(named, ", ")
		if more := n - len(named); more > 0 {
			detail += fmt.Sprintf(" and %d more", more)
		}
		findings = append(findings, metering.Finding{
			Kind: metering.Skipped, Scope: first.scope, Window: first.window, Metric: m.Name, Detail: detail, Points: n,
		})
		skipped = skipped[n:]
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
