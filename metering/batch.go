package metering

import (
	"slices"

	"ratebook/period"
)

// Points returns the number of data points in the batch.
func (b *Batch) Points() int { return points(b.Usage) }

// PointsBefore returns the number of charges in Before.
func (b *Batch) PointsBefore() int { return points(b.Before) }

func points(usage []Usage) (n int) {
	for i := range usage {
		n += len(usage[i].Samples)
	}
	return n
}

// Halves splits the batch into two that are committed on their own: by scopes, or, with a single scope, by windows. ok is
// false if it holds a single window of a single scope.
func (b *Batch) Halves() (first, second *Batch, ok bool) {
	if n := len(b.Scopes) / 2; n > 0 {
		x, y := *b, *b
		x.Scopes, y.Scopes = b.Scopes[:n], b.Scopes[n:]
		inFirst := make(map[int64]bool, n)
		for _, scope := range x.Scopes {
			inFirst[scope.Ref] = true
		}
		part := func(h *Batch, first bool) {
			has := func(s *Scope) bool { return inFirst[s.Ref] == first }
			h.Usage, h.Failed, h.Unchanged, h.Findings = nil, nil, nil, nil
			for _, u := range b.Usage {
				if has(u.Scope) {
					h.Usage = append(h.Usage, u)
				}
			}
			if b.Before != nil {
				h.Before = []Usage{}
			}
			for _, u := range b.Before {
				if has(u.Scope) {
					h.Before = append(h.Before, u)
				}
			}
			for _, f := range b.Failed {
				if has(f.Scope) {
					h.Failed = append(h.Failed, f)
				}
			}
			for _, u := range b.Unchanged {
				if has(u.Scope) {
					h.Unchanged = append(h.Unchanged, u)
				}
			}
			for _, f := range b.Findings {
				if has(f.Scope) {
					h.Findings = append(h.Findings, f)
				}
			}
		}
		part(&x, true)
		part(&y, false)
		return &x, &y, true
	}
	n := b.Run.Count / 2
	if n == 0 {
		return nil, nil, false
	}
	return b.windows(0, n), b.windows(n, b.Run.Count), true
}

// windows returns the part of the batch that concerns the windows [from, to) of its run.
func (b *Batch) windows(from, to int) *Batch {
	h := *b
	h.Run = period.Run{Begin: b.Run.Window(from).Begin, Length: b.Run.Length, Count: to - from}
	h.Usage, h.Failed, h.Unchanged, h.Findings = nil, nil, nil, nil
	for _, u := range b.Usage {
		if u.Samples = samples(u.Samples, from, to); len(u.Samples) > 0 {
			h.Usage = append(h.Usage, u)
		}
	}
	h.Before = slices.Clone(b.Before)
	for i := range h.Before { // one without samples keeps its place
		h.Before[i].Samples = samples(h.Before[i].Samples, from, to)
	}
	for _, f := range b.Failed {
		if f.Window >= from && f.Window < to {
			f.Window -= from
			h.Failed = append(h.Failed, f)
		}
	}
	for _, u := range b.Unchanged {
		if u.Window >= from && u.Window < to {
			u.Window -= from
			h.Unchanged = append(h.Unchanged, u)
		}
	}
	for _, f := range b.Findings {
		if f.Window >= from && f.Window < to {
			f.Window -= from
			h.Findings = append(h.Findings, f)
		}
	}
	return &h
}

// samples returns those of the windows [from, to), counted from there.
func samples(all []Sample, from, to int) (part []Sample) {
	for _, s := range all {
		if s.Window >= from && s.Window < to {
			s.Window -= from
			part = append(part, s)
		}
	}
	return part
}
