package rating

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ratebook/metering"
	"ratebook/money"
)

// The reference is CloudKitty's module as it is written: entries in nested tables loaded one after the other, global ones
// first, the scope's over them; then a loop over everything for each point, with exact fractions.

type refEntry struct {
	typ  Type
	cost *big.Rat
}

type refTables struct {
	mappings   map[string]map[string]refEntry // by group and value
	thresholds map[string]map[string]refEntry // by group and level
}

func newRefTables() *refTables {
	return &refTables{map[string]map[string]refEntry{}, map[string]map[string]refEntry{}}
}

type refGroup struct {
	flat, rate    *big.Rat
	level, cost   *big.Rat
	typ           Type
	ofService     bool
	mapped, taken bool
}

func rat(d money.Decimal) *big.Rat {
	r, _ := new(big.Rat).SetString(d.String())
	return r
}

// refPrice returns the exact price, whether a rule had a part in it, and the fields that had to be numbers.
func refPrice(rules []Rule, s *metering.Series, qty money.Decimal, begin time.Time) (*big.Rat, bool, []metering.Attribute) {
	rules = slices.Clone(rules)
	slices.SortFunc(rules, func(a, b Rule) int { return cmp.Or(a.Start.Compare(b.Start), strings.Compare(a.ID, b.ID)) })
	service, fields := newRefTables(), map[string]*refTables{}
	for _, scope := range []string{"", s.Scope.ID} {
		for _, r := range rules {
			if r.Service != s.Metric.Name || r.Scope != scope || begin.Before(r.Start) || !r.End.IsZero() && !begin.Before(r.End) {
				continue
			}
			tables := service
			if r.Field != "" {
				if fields[r.Field] == nil {
					fields[r.Field] = newRefTables()
				}
				tables = fields[r.Field]
			}
			group := r.Group
			if group == "" {
				group = "_DEFAULT_"
			}
			table, key := tables.mappings, r.Value
			if r.Kind == Threshold {
				table, key = tables.thresholds, rat(r.Level).String()
			}
			if table[group] == nil {
				table[group] = map[string]refEntry{}
			}
			table[group][key] = refEntry{r.Type, rat(r.Cost)}
		}
	}

	desc := map[string]string{}
	begin = begin.UTC()
	desc["month"], desc["day_of_the_year"] = fmt.Sprint(int(begin.Month())), fmt.Sprint(begin.YearDay())
	for _, attributes := range []metering.Attributes{s.Metadata, s.Groupby} {
		for _, a := range attributes {
			desc[a.Name] = a.Value
		}
	}
	desc[s.Scope.Source.ScopeKey] = s.Scope.ID

	res := map[string]*refGroup{}
	of := func(group string) *refGroup {
		if res[group] == nil {
			res[group] = &refGroup{flat: new(big.Rat), rate: big.NewRat(1, 1), level: big.NewRat(-1, 1), cost: new(big.Rat), typ: Flat}
		}
		return res[group]
	}
	processMappings := func(table map[string]map[string]refEntry, value string) {
		for group, entries := range table {
			if e, ok := entries[value]; ok {
				g := of(group)
				g.mapped = true
				if e.typ == Rate {
					g.rate = new(big.Rat).Mul(g.rate, e.cost)
				} else if e.cost.Cmp(g.flat) > 0 {
					g.flat = e.cost
				}
			}
		}
	}
	processThresholds := func(table map[string]map[string]refEntry, value *big.Rat, ofService bool) {
		for group, entries := range table {
			for key, e := range entries {
				level, _ := new(big.Rat).SetString(key)
				if value.Cmp(level) < 0 {
					continue
				}
				if g := of(group); level.Cmp(g.level) > 0 {
					g.level, g.cost, g.typ, g.ofService, g.taken = level, e.cost, e.typ, ofService, true
				}
			}
		}
	}
	q := rat(qty)
	processMappings(service.mappings, "")
	processThresholds(service.thresholds, q, true)
	var notNumeric []metering.Attribute
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value, ok := desc[name]
		if !ok {
			continue
		}
		processMappings(fields[name].mappings, value)
		if len(fields[name].thresholds) > 0 {
			number, ok := new(big.Rat).SetString(value)
			if !ok {
				notNumeric = append(notNumeric, metering.Attribute{Name: name, Value: value})
				continue
			}
			processThresholds(fields[name].thresholds, number, false)
		}
	}

	price, priced := new(big.Rat), false
	for _, g := range res {
		priced = priced || g.mapped || g.taken
		flat, rate := new(big.Rat).Set(g.flat), new(big.Rat).Set(g.rate)
		if !g.ofService {
			if g.typ == Flat {
				flat.Add(flat, g.cost)
			} else {
				rate.Mul(rate, g.cost)
			}
		}
		r := rate.Mul(rate, flat)
		r.Mul(r, q)
		if g.ofService {
			if g.typ == Flat {
				r.Add(r, g.cost)
			} else {
				r.Mul(r, g.cost)
			}
		}
		price.Add(price, r)
	}
	return price, priced, notNumeric
}

// refRound rounds half to even to 12 decimals.
func refRound(x *big.Rat) *big.Rat {
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(money.PricePlaces), nil)
	n := new(big.Int).Mul(x.Num(), unit)
	q, m := new(big.Int).DivMod(n, x.Denom(), new(big.Int)) // floor
	if c := m.Lsh(m, 1).Cmp(x.Denom()); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	return new(big.Rat).SetFrac(q, unit)
}

var (
	refNumbers = rapid.SampledFrom([]string{
		"-2", "-1", "-0.5", "0", "0.000", "0.5", "1", "1.0", "4", "4.00000000", "7.25", "8", "100", "12345678.87654321",
	})
	refCosts = rapid.SampledFrom([]string{
		"-1", "0", "0.5", "1", "2", "0.0005", "0.9000000000000000000000000000", "0.0000000000005", "0.0000000000000000000000000001",
		"999999999999.9999999999999999999999999999", "3", "-0.25",
	})
	refDates  = []time.Time{{}, day("2026-10-31"), day("2026-11-01"), day("2026-11-01").Add(time.Hour), day("2026-11-02"), day("2026-12-01")}
	refValues = []string{"1", "4", "4.0", "8", "x", "11", "305", "", "p1"}
	refFields = []string{"a", "B", "c", "month", "day_of_the_year", "project_id"}
)

func drawRules(t *rapid.T) []Rule {
	rules := make([]Rule, rapid.IntRange(0, 40).Draw(t, "rules"))
	for i := range rules {
		r := &rules[i]
		r.ID = fmt.Sprintf("%02d", i)
		r.Kind = rapid.SampledFrom([]Kind{Mapping, Threshold}).Draw(t, "kind")
		r.Service = rapid.SampledFrom([]string{"cpu", "cpu", "cpu", "ram"}).Draw(t, "service")
		r.Field = rapid.SampledFrom(append([]string{"", ""}, refFields...)).Draw(t, "field")
		if r.Kind == Threshold {
			r.Level = num(refNumbers.Draw(t, "level"))
		} else if r.Field != "" {
			r.Value = rapid.SampledFrom(refValues).Filter(func(s string) bool { return s != "" }).Draw(t, "value")
		}
		r.Type = rapid.SampledFrom([]Type{Flat, Rate}).Draw(t, "type")
		r.Cost = num(refCosts.Draw(t, "cost"))
		r.Group = rapid.SampledFrom([]string{"", "", "g", "h", "_DEFAULT_"}).Draw(t, "group")
		r.Scope = rapid.SampledFrom([]string{"", "", "p1", "p2"}).Draw(t, "scope")
		r.Start = rapid.SampledFrom(refDates).Draw(t, "start")
		r.End = rapid.SampledFrom(refDates).Draw(t, "end")
	}
	return rules
}

// TestAgainstReference prices points of some series in windows in any order, so that plans come from the cache, too.
func TestAgainstReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := drawRules(t)
		e, err := Compile(&Rules{Modules: []Module{{Name: "hashmap", Enabled: true}}, Hashmap: rules}, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		all := make([]*metering.Series, rapid.IntRange(1, 3).Draw(t, "series"))
		for i := range all {
			ref := rapid.IntRange(1, 3).Draw(t, "scope")
			s := &metering.Series{
				Scope:  &metering.Scope{Ref: int64(ref), ID: fmt.Sprint("p", ref), Source: metering.Source{ScopeKey: "project_id"}},
				Metric: &metering.Metric{Ref: 1, Name: "cpu"},
			}
			for _, name := range refFields[:4] {
				switch a := (metering.Attribute{Name: name, Value: rapid.SampledFrom(refValues).Draw(t, name)}); rapid.IntRange(0, 3).Draw(t, "where") {
				case 0:
					s.Groupby = append(s.Groupby, a)
				case 1:
					s.Metadata = append(s.Metadata, a)
				case 2:
					s.Groupby = append(s.Groupby, a)
					s.Metadata = append(s.Metadata, metering.Attribute{Name: name, Value: "8"})
				}
			}
			s.Groupby.Sort()
			s.Metadata.Sort()
			all[i] = s
		}
		for range rapid.IntRange(1, 12).Draw(t, "points") {
			s := rapid.SampledFrom(all).Draw(t, "of")
			begin := rapid.SampledFrom(refDates[1:]).Draw(t, "day").Add(time.Duration(rapid.IntRange(-2, 30).Draw(t, "hour")) * time.Hour)
			qty := num(refNumbers.Draw(t, "qty"))
			p := planned(e, s, begin)
			price, outcome := p.Price(qty)

			exact, priced, notNumeric := refPrice(rules, s, qty, begin)
			want := refRound(exact)
			wantOutcome := Priced
			if !priced {
				wantOutcome = Unpriced
			} else if want.Sign() == 0 && exact.Sign() != 0 {
				wantOutcome = RoundedToNil
			}
			if rat(price).Cmp(want) != 0 || outcome != wantOutcome {
				t.Fatalf("%v at %s, quantity %s: got %s (%d), want %s (%d)", s.Groupby, begin, qty, price, outcome, want.FloatString(14), wantOutcome)
			}
			if !slices.Equal(p.NotNumeric(), notNumeric) {
				t.Fatalf("findings %v, want %v", p.NotNumeric(), notNumeric)
			}
			if !p.Holds(begin) {
				t.Fatal("the plan does not hold for the time it was made for")
			}
		}
	})
}

// TestCurvesAdd: a sum of curves is at every quantity the sum of what they are there.
func TestCurvesAdd(t *testing.T) {
	draw := func(t *rapid.T) curve {
		c := make(curve, rapid.IntRange(1, 6).Draw(t, "pieces"))
		from := -3
		for i := range c {
			c[i] = piece{
				from: money.New(int64(from), 0), mul: num(refCosts.Draw(t, "mul")), add: num(refCosts.Draw(t, "add")),
				priced: rapid.Bool().Draw(t, "priced"),
			}
			from += rapid.IntRange(1, 4).Draw(t, "step")
		}
		return c
	}
	value := func(c curve, qty money.Decimal) (money.Decimal, bool) {
		found := c[0] // the naive way
		for _, p := range c[1:] {
			if p.from.Cmp(qty) <= 0 {
				found = p
			}
		}
		return found.mul.Mul(qty).Add(found.add), found.priced
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t), draw(t)
		sum := a.plus(b)
		sum.reduce()
		for half := -10; half < 60; half++ {
			qty := money.New(int64(half*5), 1)
			va, pa := value(a, qty)
			vb, pb := value(b, qty)
			at := sum.at(qty)
			if got := at.mul.Mul(qty).Add(at.add); !got.Equal(va.Add(vb)) || at.priced != (pa || pb) {
				t.Fatalf("at %s: got %s, want %s + %s", qty, got, va, vb)
			}
		}
	})
}
