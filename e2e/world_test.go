package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"ratebook/e2e/testserver"
)

// world is what a Prometheus server holds and what the operator configured: enough to compute by hand what everything
// costs. It knows nothing of the program's code.
type world struct {
	begin  time.Time // of the first window
	hours  int
	zone   *time.Location
	meters []meter
	rules  []rule
	series []testserver.Series // no samples on the hour: servers differ in whose window they are
}

func (w *world) end() time.Time { return w.begin.Add(time.Duration(w.hours) * time.Hour) }

// meter is one metric's configuration.
type meter struct {
	measured, name, unit string
	groupby, metadata    []string
	factor               string // of big.Rat
	numBool              bool
	sum                  bool // instead of max
	mayBeAbsent          bool
}

// rule is a hashmap rule.
type rule struct {
	service, field string
	threshold      bool
	value          string // of a field mapping, or the level of a threshold
	rate           bool   // instead of flat
	cost           string
	group, scope   string
	start, end     time.Time
}

func (w *world) metricsFile() string {
	var b strings.Builder
	b.WriteString("metrics:\n")
	for _, measured := range slices.Sorted(maps.Keys(w.byMeasured())) {
		fmt.Fprintf(&b, "  %s:\n", measured)
		for _, m := range w.byMeasured()[measured] {
			fmt.Fprintf(&b, "    - {unit: %s, alt_name: %s, groupby: [%s], metadata: [%s], factor: %s", m.unit, m.name,
				strings.Join(m.groupby, ", "), strings.Join(m.metadata, ", "), cmp.Or(m.factor, "1"))
			if m.numBool {
				b.WriteString(", mutate: NUMBOOL")
			}
			if m.mayBeAbsent {
				b.WriteString(", may_be_absent: true")
			}
			if m.sum {
				b.WriteString(", extra_args: {aggregation_method: sum}")
			}
			b.WriteString("}\n")
		}
	}
	return b.String()
}

func (w *world) byMeasured() map[string][]meter {
	all := map[string][]meter{}
	for _, m := range w.meters {
		all[m.measured] = append(all[m.measured], m)
	}
	return all
}

func (w *world) rulesFile() string {
	var b strings.Builder
	b.WriteString("services:\n")
	rules := func(indent, service, field string) {
		for _, kind := range []string{"mappings", "thresholds"} {
			var items []string
			for _, r := range w.rules {
				if r.service == service && r.field == field && r.threshold == (kind == "thresholds") {
					items = append(items, indent+"  - "+r.yaml())
				}
			}
			if items != nil {
				b.WriteString(indent + kind + ":\n" + strings.Join(items, ""))
			}
		}
	}
	fields := map[string][]string{}
	for _, r := range w.rules {
		if !slices.Contains(fields[r.service], r.field) {
			fields[r.service] = append(fields[r.service], r.field)
		}
	}
	for _, service := range slices.Sorted(maps.Keys(fields)) {
		fmt.Fprintf(&b, "  - name: %s\n", service)
		rules("    ", service, "")
		named := slices.DeleteFunc(fields[service], func(f string) bool { return f == "" })
		if len(named) > 0 {
			b.WriteString("    fields:\n")
		}
		for _, field := range named {
			fmt.Fprintf(&b, "      - name: %s\n", field)
			rules("        ", service, field)
		}
	}
	return b.String()
}

func (r *rule) yaml() string {
	typ := "flat"
	if r.rate {
		typ = "rate"
	}
	s := fmt.Sprintf("{type: %s, cost: %q", typ, r.cost)
	for _, kv := range [][2]string{{"group", r.group}, {"scope", r.scope}} {
		if kv[1] != "" {
			quoted, _ := json.Marshal(kv[1]) // JSON is YAML
			s += fmt.Sprintf(", %s: %s", kv[0], quoted)
		}
	}
	switch {
	case r.threshold:
		s += fmt.Sprintf(", level: %q", r.value)
	case r.field != "":
		s += fmt.Sprintf(", value: %q", r.value)
	}
	for name, at := range map[string]time.Time{"start": r.start, "end": r.end} {
		if !at.IsZero() {
			s += fmt.Sprintf(", %s: %s", name, at.Format(time.RFC3339))
		}
	}
	return s + "}\n"
}

// point is a charge as it must be.
type point struct {
	scope, metric, unit string
	groupby, metadata   map[string]string
	begin               time.Time
	qty, price          *big.Rat
}

// points computes all charges, exactly, from the samples and rules.
func (w *world) points(t testing.TB) (all []point) {
	t.Helper()
	type place struct {
		window int64
		group  string
	}
	for _, m := range w.meters {
		found := map[place]*point{}
		for _, s := range w.series {
			if s.Name != m.measured {
				continue
			}
			p := point{scope: s.Labels["project_id"], metric: m.name, unit: m.unit, groupby: map[string]string{}, metadata: map[string]string{}}
			for _, l := range m.groupby {
				p.groupby[l] = s.Labels[l]
			}
			for _, l := range m.metadata {
				p.metadata[l] = s.Labels[l]
			}
			group := fmt.Sprintf("%q %q %q", p.scope, p.groupby, p.metadata)
			for _, sample := range s.Samples {
				begin := sample.At.Truncate(time.Hour)
				if begin.Before(w.begin) || !begin.Before(w.end()) {
					continue
				}
				if begin.Equal(sample.At) {
					t.Fatalf("a sample on the hour: %v", sample)
				}
				value := rat(sample.Value)
				at := place{begin.Unix(), group}
				switch have := found[at]; {
				case have == nil:
					q := p
					q.begin, q.qty = begin, value
					found[at] = &q
				case m.sum:
					have.qty.Add(have.qty, value)
				case value.Cmp(have.qty) > 0:
					have.qty = value
				}
			}
		}
		for _, p := range found {
			p.qty = roundHalfEven(new(big.Rat).Mul(p.qty, rat(cmp.Or(m.factor, "1"))), 18)
			if m.numBool && p.qty.Sign() != 0 {
				p.qty = rat("1")
			}
			p.price = roundHalfEven(w.price(p), 12)
			all = append(all, *p)
		}
	}
	return all
}

func rat(s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		panic("no number: " + s)
	}
	return r
}

// roundHalfEven rounds to some decimals.
func roundHalfEven(r *big.Rat, places int64) *big.Rat {
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(places), nil)
	n := new(big.Int).Mul(new(big.Int).Abs(r.Num()), scale)
	q, rest := n.QuoRem(n, r.Denom(), new(big.Int))
	if c := rest.Lsh(rest, 1).Cmp(r.Denom()); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	if r.Sign() < 0 {
		q.Neg(q)
	}
	return new(big.Rat).SetFrac(q, scale)
}

// price rates a point as CloudKitty's hashmap module does, see reference/cloudkitty.md.
func (w *world) price(p *point) *big.Rat {
	attribute := func(name string) (string, bool) {
		if v, ok := p.groupby[name]; ok {
			return v, true
		}
		v, ok := p.metadata[name]
		return v, ok
	}
	// rules of the scope take the place of those of all
	type slot struct {
		field, value, group string
		threshold           bool
	}
	loaded := map[slot]rule{}
	for _, scope := range []string{"", p.scope} {
		for _, r := range w.rules {
			if r.service != p.metric || r.scope != scope || p.begin.Before(r.start) || !r.end.IsZero() && !p.begin.Before(r.end) {
				continue
			}
			loaded[slot{r.field, r.value, r.group, r.threshold}] = r
		}
	}
	type state struct {
		flat, rate  *big.Rat
		level       *big.Rat
		atThreshold *rule
	}
	groups := map[string]*state{}
	for _, r := range loaded {
		g := groups[r.group]
		if g == nil {
			g = &state{flat: new(big.Rat), rate: rat("1"), level: rat("-1")}
			groups[r.group] = g
		}
		measured := p.qty
		if r.field != "" {
			value, ok := attribute(r.field)
			if !ok || !r.threshold && value != r.value {
				continue
			}
			if r.threshold {
				measured = rat(value)
			}
		}
		cost := rat(r.cost)
		switch {
		case r.threshold:
			if level := rat(r.value); level.Cmp(measured) <= 0 && level.Cmp(g.level) > 0 {
				g.level, g.atThreshold = level, &r
			}
		case r.rate:
			g.rate.Mul(g.rate, cost)
		case cost.Cmp(g.flat) > 0:
			g.flat = cost
		}
	}
	total := new(big.Rat)
	for _, g := range groups {
		threshold := func(onField bool, flat, rate func(*big.Rat)) {
			if th := g.atThreshold; th != nil && (th.field != "") == onField {
				if th.rate {
					rate(rat(th.cost))
				} else {
					flat(rat(th.cost))
				}
			}
		}
		threshold(true, func(c *big.Rat) { g.flat.Add(g.flat, c) }, func(c *big.Rat) { g.rate.Mul(g.rate, c) })
		sum := new(big.Rat).Mul(g.rate, g.flat)
		sum.Mul(sum, p.qty)
		threshold(false, func(c *big.Rat) { sum.Add(sum, c) }, func(c *big.Rat) { sum.Mul(sum, c) })
		total.Add(total, sum)
	}
	return total
}

// question is a report's.
type question struct {
	begin, end time.Time
	groups     []string
	bucket     string
}

// answer computes a report as CSV records, the header first, and the total.
func (w *world) answer(q question, points []point) (records [][]string, total string) {
	header := append(slices.Clone(q.groups), "unit", "qty", "cost", "currency")
	if q.bucket != "" {
		header = append([]string{"begin", "end"}, header...)
	}
	type sums struct {
		begin     time.Time
		cells     []string
		groups    []string
		units     map[string]bool
		qty, cost *big.Rat
	}
	rows := map[string]*sums{}
	all := new(big.Rat)
	for i := range points {
		p := &points[i]
		if p.begin.Before(q.begin) || !p.begin.Before(q.end) {
			continue
		}
		all.Add(all, p.price)
		s := sums{begin: q.begin, units: map[string]bool{}, qty: new(big.Rat), cost: new(big.Rat)}
		if q.bucket != "" {
			begin, end := bucketOf(p.begin, q.bucket, w.zone)
			if begin.Before(q.begin) {
				begin = q.begin
			}
			if end.After(q.end) {
				end = q.end
			}
			s.begin = begin
			s.cells = []string{begin.In(w.zone).Format(time.RFC3339), end.In(w.zone).Format(time.RFC3339)}
		}
		for _, g := range q.groups {
			s.groups = append(s.groups, p.value(g, w.zone))
		}
		s.cells = append(s.cells, s.groups...)
		key := fmt.Sprintf("%q", s.cells)
		if rows[key] == nil {
			rows[key] = &s
		}
		r := rows[key]
		r.units[p.unit] = true
		r.qty.Add(r.qty, p.qty)
		r.cost.Add(r.cost, p.price)
	}
	records = [][]string{header}
	for _, r := range slices.SortedFunc(maps.Values(rows), func(a, b *sums) int {
		return cmp.Or(a.begin.Compare(b.begin), slices.Compare(a.groups, b.groups))
	}) {
		unit, qty := "", ""
		if len(r.units) == 1 {
			unit, qty = slices.Collect(maps.Keys(r.units))[0], text(r.qty)
		}
		records = append(records, append(r.cells, unit, qty, text(r.cost), "EUR"))
	}
	return records, text(all)
}

func bucketOf(at time.Time, bucket string, zone *time.Location) (begin, end time.Time) {
	y, m, d := at.In(zone).Date()
	day := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, zone) }
	switch bucket {
	case "hour":
		return at.Truncate(time.Hour), at.Truncate(time.Hour).Add(time.Hour) // offsets of whole hours only
	case "day":
		return day(y, m, d), day(y, m, d+1)
	case "week":
		d -= (int(at.In(zone).Weekday()) + 6) % 7
		return day(y, m, d), day(y, m, d+7)
	case "month":
		return day(y, m, 1), day(y, m+1, 1)
	}
	panic(bucket)
}

// value is what a group says of the point.
func (p *point) value(group string, zone *time.Location) string {
	switch group {
	case "scope":
		return p.scope
	case "metric":
		return p.metric
	case "unit":
		return p.unit
	}
	if v, ok := p.groupby[group]; ok {
		return v
	}
	if v, ok := p.metadata[group]; ok {
		return v
	}
	switch begin := p.begin.In(zone); group {
	case "month":
		return fmt.Sprint(int(begin.Month()))
	case "day_of_the_year":
		return fmt.Sprint(begin.YearDay())
	}
	return "" // scope_name, too: Prometheus knows no names
}

// text writes a decimal as the program does.
func text(r *big.Rat) string {
	s := r.FloatString(18)
	s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	return s
}

// small is a world of few points: 4 scopes with 3 machines each, of which all metrics are always there.
func small(begin time.Time, hours int) *world {
	w := &world{
		begin: begin, hours: hours, zone: time.UTC,
		meters: []meter{
			{measured: "server_cpu", name: "cpu", unit: "core", groupby: []string{"id", "flavor"}},
			{measured: "server_memory", name: "ram", unit: "MiB", groupby: []string{"id"}, factor: "1/1048576"},
		},
		rules: []rule{
			{service: "cpu", field: "flavor", value: "small", cost: "0.0123"},
			{service: "cpu", field: "flavor", value: "large", cost: "0.0456"},
			{service: "ram", cost: "0.00000123"},
		},
	}
	w.fill(4, 3, 2)
	return w
}

// large is a world of so many scopes; 50 take about a second to process.
func large(scopes int) *world {
	w := small(time.Date(2024, 5, 30, 0, 0, 0, 0, time.UTC), 48)
	w.zone = berlin()
	w.meters = append(w.meters, meter{measured: "volume_size", name: "volume", unit: "GiB", groupby: []string{"id"}, metadata: []string{"flavor"}})
	w.rules = append(w.rules, rule{service: "volume", threshold: true, value: "3", cost: "0.01"})
	w.series = nil
	w.fill(scopes, 12, 1)
	return w
}

// fill makes samples of all metrics: so many scopes, series each, samples an hour.
func (w *world) fill(scopes, series, samples int) {
	for _, measured := range slices.Sorted(maps.Keys(w.byMeasured())) {
		for s := range scopes {
			for i := range series {
				flavor := "small"
				if i%2 == 1 {
					flavor = "large"
				}
				var values []string
				for v := range 5 {
					values = append(values, fmt.Sprintf("%d.%d", 1+(s+i)%7, v+1))
				}
				step := time.Hour / time.Duration(samples)
				w.series = append(w.series, testserver.Series{
					Name:    measured,
					Labels:  map[string]string{"project_id": fmt.Sprintf("scope-%02d", s), "id": fmt.Sprintf("vm-%02d-%02d", s, i), "flavor": flavor},
					Samples: testserver.Every(step, w.begin.Add(7*time.Minute), w.hours*samples, values...),
				})
			}
		}
	}
}

func berlin() *time.Location {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return zone
}
