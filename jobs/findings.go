package jobs

import (
	"cmp"
	"slices"
	"strings"

	"ratebook/metering"
)

// mostDetails is how many findings of one kind a scope's window has of a metric: whoever writes labels decides how many
// values there are. The others are summed up as otherValues.
const (
	mostDetails = 50
	otherValues = metering.OtherValues
)

// noticed counts points by what was noticed about them.
type noticed map[notice]int

type notice struct {
	scope          *metering.Scope
	window         int // index into the run
	kind           metering.FindingKind
	metric, detail string
}

// findings returns what was noticed, in an order that does not depend on that of the points: of too many details those with
// the most points are kept.
func (n noticed) findings() []metering.Finding {
	all := make([]metering.Finding, 0, len(n))
	for k, points := range n {
		all = append(all, metering.Finding{Kind: k.kind, Scope: k.scope, Window: k.window, Metric: k.metric, Detail: k.detail, Points: points})
	}
	place := func(a, b *metering.Finding) int {
		return cmp.Or(cmp.Compare(a.Scope.Ref, b.Scope.Ref), strings.Compare(a.Scope.ID, b.Scope.ID), a.Window-b.Window,
			strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Metric, b.Metric))
	}
	slices.SortFunc(all, func(a, b metering.Finding) int {
		return cmp.Or(place(&a, &b), b.Points-a.Points, strings.Compare(a.Detail, b.Detail))
	})
	kept, in := all[:0], 0 // how many are kept of this place
	for _, f := range all {
		if len(kept) == 0 || place(&kept[len(kept)-1], &f) != 0 {
			in = 0
		}
		switch in++; {
		case in <= mostDetails:
			kept = append(kept, f)
		case in == mostDetails+1:
			f.Detail = otherValues
			kept = append(kept, f)
		default:
			kept[len(kept)-1].Points += f.Points
		}
	}
	return kept
}

// excerpt cuts a detail short: details tell findings apart, and whoever writes the labels decides how long they are. What
// databases take for no text is replaced.
func excerpt(s string) string {
	const most = 200 // letters; rating.ParseLooks knows the mark of what is cut
	s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
