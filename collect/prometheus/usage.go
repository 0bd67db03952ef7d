package prometheus

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
)

// grid maps times to windows: that of window i's end is first + i × step, in Unix seconds.
type grid struct {
	first, step int64
	window      int // the index of the first window within the request's run
	count       int // of windows
}

// gridOf returns the grid of count windows of the run from the one with the given index.
func gridOf(run period.Run, window, count int) grid {
	return grid{run.Window(window).End.Unix(), int64(run.Length / time.Second), window, count}
}

// last returns the end of the last window in Unix seconds.
func (g grid) last() int64 { return g.first + int64(g.count-1)*g.step }

// find returns the index of the window that ends at that time.
func (g grid) find(at int64) (int, error) {
	i := (at - g.first) / g.step
	if at != g.first+i*g.step || i < 0 || i >= int64(g.count) {
		return 0, contentErrorf("the time %d, which was not asked for", at)
	}
	return g.window + int(i), nil
}

// part is what the answer to one query brought.
type part struct {
	usage   []metering.Usage // one for each item, the samples in the order of windows
	skipped []skip
	seen    []bool // whether there was any sample, by index into the run
	notes   []string
}

// skip is a sample that is no quantity.
type skip struct {
	scope  *metering.Scope
	window int
	what   string // NaN, +Inf, -Inf or a histogram
	labels string
}

// usageSink makes usage of a query's result.
type usageSink struct {
	grid
	metric *metering.Metric
	key    string                     // the label that names the scope
	only   *metering.Scope            // whose the items are, whatever their labels; nil: ask the labels
	scopes map[string]*metering.Scope // asked for, by ID, if only is nil
	budget *budget

	slots    []slot // groupby, then metadata, each sorted by name
	groupby  int    // how many slots are groupby
	scopeID  string
	hasScope bool
	samples  []metering.Sample
	odd      []skip
	interned map[string]string
	part     part
}

// slot is an attribute to be collected.
type slot struct {
	name, value string
	set         bool
}

func newUsageSink(j *job, key string, b *budget) *usageSink {
	u := &usageSink{
		grid: j.grid, metric: j.metric, key: key, budget: b,
		interned: make(map[string]string),
		part:     part{seen: make([]bool, j.grid.window+j.grid.count)},
	}
	if decorated(j.metric) {
		u.only = j.scopes[0] // the query may have dropped or changed the label
	} else {
		u.scopes = make(map[string]*metering.Scope, len(j.scopes))
		for _, s := range j.scopes {
			u.scopes[s.ID] = s
		}
	}
	groupby := names(j.metric.Groupby)
	u.groupby = len(groupby)
	for _, n := range append(groupby, names(j.metric.Metadata)...) {
		u.slots = append(u.slots, slot{name: n})
	}
	return u
}

// names returns the labels sorted, each once.
func names(labels []string) []string {
	labels = slices.Clone(labels)
	slices.Sort(labels)
	return slices.Compact(labels)
}

func (u *usageSink) label(name, value []byte) error {
	if string(name) == u.key {
		if u.hasScope {
			return contentErrorf("the label %s twice in one series", name)
		}
		u.scopeID, u.hasScope = u.intern(value), true
	}
	// a label may be asked for in both groupby and metadata, and may be the scope's
	within := func(slots []slot) error {
		for i := range slots {
			if s := &slots[i]; s.name == string(name) {
				if s.set {
					return contentErrorf("the label %s twice in one series", name)
				}
				s.value, s.set = u.intern(value), true
				return nil
			}
		}
		return nil
	}
	if err := within(u.slots[:u.groupby]); err != nil {
		return err
	}
	return within(u.slots[u.groupby:])
}

// intern returns b as a string, the same for the same bytes: most labels repeat from series to series.
func (u *usageSink) intern(b []byte) string {
	if s, ok := u.interned[string(b)]; ok {
		return s
	}
	s := string(b)
	u.interned[s] = s
	return s
}

func (u *usageSink) sample(at int64, text []byte) error {
	w, err := u.find(at)
	if err != nil {
		return err
	}
	if n := len(u.samples); n > 0 && u.samples[n-1].Window >= w {
		return contentErrorf("a series whose times don't ascend, at %d", at)
	}
	u.part.seen[w] = true
	raw, err := money.ParseBytes(text)
	if err != nil {
		switch t := string(text); t {
		case "NaN", "+Inf", "-Inf":
			u.odd = append(u.odd, skip{window: w, what: t})
			return nil
		}
		return contentErrorf("a value that is no number: %.40q", text)
	}
	u.samples = append(u.samples, metering.Sample{Window: w, Qty: u.metric.Quantity(raw)})
	return nil
}

func (u *usageSink) histogram(at int64) error {
	w, err := u.find(at)
	if err != nil {
		return err
	}
	u.part.seen[w] = true
	u.odd = append(u.odd, skip{window: w, what: "a histogram"})
	return nil
}

func (u *usageSink) end() error {
	scope, err := u.scope()
	if err != nil {
		return err
	}
	attributes := make(metering.Attributes, len(u.slots))
	for i := range u.slots {
		s := &u.slots[i]
		attributes[i] = metering.Attribute{Name: s.name, Value: s.value} // CloudKitty: a missing label is empty
		s.value, s.set = "", false
	}
	if len(u.samples) > 0 {
		if err := u.budget.spend(len(u.samples)); err != nil {
			return err
		}
		u.part.usage = append(u.part.usage, metering.Usage{
			Series: metering.Series{
				Scope:    scope,
				Metric:   u.metric,
				Groupby:  attributes[:u.groupby:u.groupby],
				Metadata: attributes[u.groupby:],
			},
			Samples: slices.Clone(u.samples),
		})
		u.samples = u.samples[:0]
	}
	if len(u.odd) > 0 {
		labels := labelText(attributes)
		for _, s := range u.odd {
			s.scope, s.labels = scope, labels
			u.part.skipped = append(u.part.skipped, s)
		}
		u.odd = u.odd[:0]
	}
	return nil
}

// scope returns whose the item at hand is.
func (u *usageSink) scope() (*metering.Scope, error) {
	id, has := u.scopeID, u.hasScope
	u.scopeID, u.hasScope = "", false
	if u.only != nil {
		return u.only, nil
	}
	if !has {
		return nil, contentErrorf("a series without the label %s, by which scopes are told apart", u.key)
	}
	s := u.scopes[id]
	if s == nil {
		return nil, contentErrorf("a series of the scope %q, which was not asked for", excerpt(id))
	}
	return s, nil
}

// labelText writes attributes as PromQL does.
func labelText(as metering.Attributes) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, a := range as {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.Name + "=" + strconv.Quote(a.Value))
	}
	b.WriteByte('}')
	return b.String()
}

// budget counts the points of all answers to one request.
type budget struct {
	most  int64 // 0 is no limit
	spent atomic.Int64
}

func (b *budget) spend(points int) error {
	if n := b.spent.Add(int64(points)); b.most > 0 && n > b.most {
		return metering.ErrTooMuch
	}
	return nil
}

// merge makes one deterministic list of the usage of one metric, whichever queries brought it: by scope in the order of
// rank, then by labels, with one Usage for each series. Items of the same series and window are refused, unless repeats
// are possible, as with a query prefix or suffix; then each is kept in a Usage of its own.
func merge(usage []metering.Usage, rank map[*metering.Scope]int, repeats bool) ([]metering.Usage, error) {
	slices.SortFunc(usage, func(a, b metering.Usage) int {
		if c := compareSeries(&a, &b, rank); c != 0 {
			return c
		}
		if c := cmp.Compare(a.Samples[0].Window, b.Samples[0].Window); c != 0 {
			return c
		}
		return a.Samples[0].Qty.Cmp(b.Samples[0].Qty) // repeats come in any order
	})
	merged := usage[:0]
	for from := 0; from < len(usage); {
		to := from + 1
		for to < len(usage) && compareSeries(&usage[from], &usage[to], rank) == 0 {
			to++
		}
		series, err := join(usage[from:to], repeats)
		if err != nil {
			return nil, err
		}
		merged = append(merged, series...) // never more than were read
		from = to
	}
	return merged, nil
}

// join puts the samples of one series together, in as few Usages as have no window twice.
func join(usage []metering.Usage, repeats bool) ([]metering.Usage, error) {
	joined := usage[:1]
	for _, u := range usage[1:] {
		i := slices.IndexFunc(joined, func(j metering.Usage) bool {
			return j.Samples[len(j.Samples)-1].Window < u.Samples[0].Window
		})
		switch {
		case i >= 0:
			joined[i].Samples = append(joined[i].Samples, u.Samples...)
		case repeats:
			joined = append(joined, u)
		default:
			return nil, contentErrorf("the series %s of the scope %q twice", labelText(slices.Concat(u.Groupby, u.Metadata)), excerpt(u.Scope.ID))
		}
	}
	return joined, nil
}

// compareSeries compares the series of one metric.
func compareSeries(a, b *metering.Usage, rank map[*metering.Scope]int) int {
	if a.Scope != b.Scope {
		return cmp.Compare(rank[a.Scope], rank[b.Scope])
	}
	if c := compareValues(a.Groupby, b.Groupby); c != 0 {
		return c
	}
	return compareValues(a.Metadata, b.Metadata)
}

// compareValues compares attributes of the same names by their values.
func compareValues(a, b metering.Attributes) int {
	for i := range a {
		if c := strings.Compare(a[i].Value, b[i].Value); c != 0 {
			return c
		}
	}
	return 0
}
