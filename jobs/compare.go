package jobs

import (
	"cmp"
	"slices"

	"ratebook/metering"
)

// pairs calls fn for every series and window that has points before or after, with both. Equal points of a series are told
// apart by nothing but their numbers, so they are in an order that depends on nothing else.
func pairs(before, after []metering.Usage, fn func(s *metering.Series, window int, old, fresh []metering.Sample)) {
	type pair struct {
		series     *metering.Series
		old, fresh side
	}
	all := make([]pair, 0, max(len(before), len(after)))
	at := make(map[metering.Fingerprint]int, cap(all))
	of := func(s *metering.Series) *pair {
		print := s.Fingerprint()
		i, known := at[print]
		if !known {
			i = len(all)
			at[print], all = i, append(all, pair{series: s})
		}
		return &all[i]
	}
	for i := range before {
		of(&before[i].Series).old.add(before[i].Samples)
	}
	for i := range after {
		of(&after[i].Series).fresh.add(after[i].Samples)
	}
	for i := range all {
		old, fresh := all[i].old.sorted(), all[i].fresh.sorted()
		for len(old)+len(fresh) > 0 {
			window := -1
			for _, s := range [...][]metering.Sample{old, fresh} {
				if len(s) > 0 && (window < 0 || s[0].Window < window) {
					window = s[0].Window
				}
			}
			o, f := within(old, window), within(fresh, window)
			fn(all[i].series, window, old[:o], fresh[:f])
			old, fresh = old[o:], fresh[f:]
		}
	}
}

// side is the samples of one series, of one Usage or several.
type side struct {
	samples []metering.Sample
	several bool
}

func (s *side) add(samples []metering.Sample) {
	if len(s.samples) == 0 {
		s.samples = samples
		return
	}
	s.samples, s.several = slices.Concat(s.samples, samples), true
}

// sorted returns the samples by window, and within one by their numbers.
func (s *side) sorted() []metering.Sample {
	if s.several {
		slices.SortFunc(s.samples, func(a, b metering.Sample) int {
			return cmp.Or(a.Window-b.Window, a.Qty.Cmp(b.Qty), a.Price.Cmp(b.Price))
		})
	}
	return s.samples
}

// within returns how many samples, which begin with those of a window, are of it.
func within(samples []metering.Sample, window int) (n int) {
	for n < len(samples) && samples[n].Window == window {
		n++
	}
	return n
}

// place is a window of a scope.
type place struct {
	scope  int64 // Scope.Ref
	window int   // index into the run
}

// changed returns the windows whose charges are not the same before and after.
func changed(before, after []metering.Usage) map[place]bool {
	same := func(a, b metering.Sample) bool { return a.Qty.Equal(b.Qty) && a.Price.Equal(b.Price) }
	windows := map[place]bool{}
	pairs(before, after, func(s *metering.Series, window int, old, fresh []metering.Sample) {
		if !slices.EqualFunc(old, fresh, same) {
			windows[place{s.Scope.Ref, window}] = true
		}
	})
	return windows
}

// trim leaves only the samples of some windows in usage. Usage without any keeps its place.
func trim(usage []metering.Usage, in map[place]bool) {
	for i := range usage {
		u := &usage[i]
		u.Samples = slices.DeleteFunc(u.Samples, func(s metering.Sample) bool { return !in[place{u.Scope.Ref, s.Window}] })
	}
}
