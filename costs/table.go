package costs

import (
	"slices"
	"strings"

	"ratebook/money"
	"ratebook/rollup"
)

// table adds up sums per group and unit. The zero value is empty.
type table struct {
	index  map[string]int32 // by identity
	groups []group
	cells  []cell  // by key, like groups
	used   []int32 // the keys with sums
	ranks  []int32 // the order of groups; the same for the same values. Shorter than groups if out of date
	order  []int32 // the keys in that order, as of ranks

	sorting []uint64 // the used keys' ranks, then the keys, while they are sorted
}

// group is what a key stands for.
type group struct {
	values  []string
	unit    string
	gaps    []int // values to be computed
	filters []int // filters to be computed
}

type cell struct {
	rollup.Sums
	used bool
	ends *Extremes // nil: not asked for
}

// add adds a group under an identity that is not there yet.
func (t *table) add(identity string, g group) int32 {
	if t.index == nil {
		t.index = map[string]int32{}
	}
	n := int32(len(t.groups))
	t.index[identity] = n
	t.groups = append(t.groups, g)
	t.cells = append(t.cells, cell{})
	return n
}

func (t *table) sum(key int32, s *rollup.Sums) {
	c := &t.cells[key]
	if !c.used {
		*c = cell{Sums: *s, used: true}
		t.used = append(t.used, key)
		return
	}
	c.Add(s)
}

// widen adds extremes to those of a key that has sums.
func (t *table) widen(key int32, e *Extremes) {
	c := &t.cells[key]
	if c.ends == nil {
		first := *e
		c.ends = &first
		return
	}
	c.ends.Widen(e)
}

// clear forgets the sums, and keeps the groups.
func (t *table) clear() {
	for _, n := range t.used {
		t.cells[n] = cell{}
	}
	t.used = t.used[:0]
}

// sorted returns the keys with sums in the order of their groups.
func (t *table) sorted() []int32 {
	if len(t.ranks) < len(t.groups) {
		t.rank()
	}
	if len(t.used) > len(t.order)/4 { // then a walk over all is quicker
		t.used = t.used[:0]
		for _, n := range t.order {
			if t.cells[n].used {
				t.used = append(t.used, n)
			}
		}
		return t.used
	}
	t.sorting = t.sorting[:0]
	for _, n := range t.used {
		t.sorting = append(t.sorting, uint64(t.ranks[n])<<32|uint64(n))
	}
	slices.Sort(t.sorting)
	for i, both := range t.sorting {
		t.used[i] = int32(both & (1<<32 - 1))
	}
	return t.used
}

// rank orders the groups.
func (t *table) rank() {
	type ranked struct {
		first string // of the values, at hand
		n     int32
	}
	all := make([]ranked, len(t.groups))
	for i := range all {
		all[i].n = int32(i)
		if values := t.groups[i].values; len(values) > 0 {
			all[i].first = values[0]
		}
	}
	slices.SortFunc(all, func(a, b ranked) int {
		if c := strings.Compare(a.first, b.first); c != 0 {
			return c
		}
		return slices.Compare(t.groups[a.n].values, t.groups[b.n].values)
	})
	t.ranks, t.order = make([]int32, len(all)), make([]int32, len(all))
	for i := range all {
		n := all[i].n
		t.order[i], t.ranks[n] = n, int32(i)
		if i > 0 && all[i-1].first == all[i].first && slices.Equal(t.groups[all[i-1].n].values, t.groups[n].values) {
			t.ranks[n] = t.ranks[all[i-1].n]
		}
	}
}

// row sets the row's groups and sums to those of the first sorted keys that have the same groups, and returns the keys
// after those.
func (t *table) row(r *Row, sorted []int32) (rest []int32) {
	n := sorted[0]
	c, g := &t.cells[n], &t.groups[n]
	r.Groups, r.Unit, r.Mixed = g.values, g.unit, false
	r.Qty, r.AllQty, r.Cost, r.Points = c.Qty, c.Qty, c.Price, c.Points
	if c.ends != nil {
		r.Extremes = *c.ends
	}
	for rest = sorted[1:]; len(rest) > 0 && t.ranks[rest[0]] == t.ranks[n]; rest = rest[1:] {
		c, g := &t.cells[rest[0]], &t.groups[rest[0]]
		r.AllQty = r.AllQty.Add(c.Qty)
		r.Cost = r.Cost.Add(c.Price)
		r.Points += c.Points
		if c.ends != nil {
			r.Widen(c.ends)
		}
		switch {
		case r.Mixed:
		case g.unit != r.Unit:
			r.Unit, r.Qty, r.Mixed = "", money.Decimal{}, true
		default:
			r.Qty = r.Qty.Add(c.Qty)
		}
	}
	return rest
}
