package rating

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
)

func num(s string) money.Decimal { return money.MustParse(s) }

func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

// mapping and threshold are rules of the metric cpu; edit changes what else is to be changed.
func mapping(typ Type, cost string, edit ...func(*Rule)) Rule {
	return edited(Rule{Kind: Mapping, Service: "cpu", Type: typ, Cost: num(cost)}, edit)
}

func threshold(level string, typ Type, cost string, edit ...func(*Rule)) Rule {
	return edited(Rule{Kind: Threshold, Service: "cpu", Level: num(level), Type: typ, Cost: num(cost)}, edit)
}

func edited(r Rule, edit []func(*Rule)) Rule {
	for _, e := range edit {
		e(&r)
	}
	return r
}

func on(field, value string) func(*Rule) { return func(r *Rule) { r.Field, r.Value = field, value } }
func inGroup(name string) func(*Rule)    { return func(r *Rule) { r.Group = name } }
func scope(id string) func(*Rule)        { return func(r *Rule) { r.Scope = id } }
func id(s string) func(*Rule)            { return func(r *Rule) { r.ID = s } }

func valid(start, end string) func(*Rule) {
	return func(r *Rule) {
		if start != "" {
			r.Start = day(start)
		}
		if end != "" {
			r.End = day(end)
		}
	}
}

func compile(t testing.TB, rules ...Rule) *Engine {
	t.Helper()
	e, err := Compile(&Rules{Version: 7, Modules: []Module{{Name: "hashmap", Enabled: true, Priority: 1}}, Hashmap: rules}, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// series returns one of the metric cpu and the scope p1, with attributes given as name=value, in groupby.
func series(attributes ...string) *metering.Series {
	s := &metering.Series{
		Scope:  &metering.Scope{Ref: 1, ID: "p1", Source: metering.Source{ScopeKey: "project_id"}},
		Metric: &metering.Metric{Ref: 1, Name: "cpu"},
	}
	for _, a := range attributes {
		name, value, _ := strings.Cut(a, "=")
		s.Groupby = append(s.Groupby, metering.Attribute{Name: name, Value: value})
	}
	s.Groupby.Sort()
	return s
}

var now = day("2026-11-21")

func planned(e *Engine, s *metering.Series, begin time.Time) *Plan {
	return e.Plan(s, s.Fingerprint(), begin)
}

// TestHashmap holds the engine against what a running CloudKitty answered ("ran"), and against its documented rules.
func TestHashmap(t *testing.T) {
	ram := []string{"ram=8"}
	tests := []struct {
		name       string
		rules      []Rule
		attributes []string
		qty        string
		want       string
		outcome    Outcome
	}{
		{"ran: flat", []Rule{mapping(Flat, "2")}, nil, "3", "6", Priced},
		{"ran: rate alone", []Rule{mapping(Rate, "2")}, nil, "3", "0", Priced},
		{"ran: service and field flat in one group", []Rule{mapping(Flat, "1"), mapping(Flat, "5", on("ram", "8"))}, ram, "2", "10", Priced},
		{"ran: in different groups", []Rule{mapping(Flat, "1"), mapping(Flat, "5", on("ram", "8"), inGroup("g"))}, ram, "2", "12", Priced},
		{"ran: flat and rate", []Rule{mapping(Flat, "3"), mapping(Rate, ".5", on("ram", "8"))}, ram, "2", "3", Priced},
		{"ran: service threshold flat", []Rule{mapping(Flat, "1"), threshold("5", Flat, "10")}, nil, "6", "16", Priced},
		{"ran: service threshold rate", []Rule{mapping(Flat, "1"), threshold("5", Rate, ".9")}, nil, "6", "5.4", Priced},
		{"ran: field threshold flat", []Rule{mapping(Flat, "1"), threshold("4", Flat, "2", on("ram", ""))}, ram, "3", "9", Priced},
		{"ran: threshold only", []Rule{threshold("5", Flat, "10")}, nil, "6", "10", Priced},
		{"ran: the highest level wins", []Rule{threshold("5", Flat, "10"), threshold("50", Flat, "3")}, nil, "60", "3", Priced},
		{"ran: negative flat is ignored", []Rule{mapping(Flat, "-2")}, nil, "3", "0", Priced},
		{"ran: thresholds from -1 down never apply", []Rule{threshold("-1", Flat, "10"), threshold("-2", Flat, "10")}, nil, "3", "0", Unpriced},

		{"no rule", nil, ram, "3", "0", Unpriced},
		{"of another value", []Rule{mapping(Flat, "2", on("ram", "8.0"))}, ram, "3", "0", Unpriced},
		{"of an absent field", []Rule{mapping(Flat, "2", on("disk", "8")), threshold("0", Flat, "1", on("disk", ""))}, ram, "3", "0", Unpriced},
		{"of another metric", []Rule{mapping(Flat, "2", func(r *Rule) { r.Service = "ram" })}, nil, "3", "0", Unpriced},
		{"below the level", []Rule{threshold("5", Flat, "10")}, nil, "4.999999999999999999", "0", Unpriced},
		{"on the level", []Rule{threshold("5", Flat, "10")}, nil, "5", "10", Priced},
		{"between -1 and 0", []Rule{threshold("-0.5", Flat, "10")}, nil, "0", "10", Priced},
		{"a zero cost is a price", []Rule{mapping(Flat, "0")}, nil, "3", "0", Priced},
		{"a zero quantity is priced", []Rule{mapping(Flat, "2")}, nil, "0", "0", Priced},
		{"the dearest flat", []Rule{mapping(Flat, "1"), mapping(Flat, "3", on("a", "x")), mapping(Flat, "2", on("b", "x"))}, []string{"a=x", "b=x"}, "1", "3", Priced},
		{"rates multiply", []Rule{mapping(Flat, "8"), mapping(Rate, ".5", on("a", "x")), mapping(Rate, ".5", on("b", "x"))}, []string{"a=x", "b=x"}, "1", "2", Priced},
		{"a negative rate", []Rule{mapping(Flat, "8"), mapping(Rate, "-1", on("a", "x"))}, []string{"a=x"}, "1", "-8", Priced},
		{"a negative service threshold", []Rule{mapping(Flat, "1"), threshold("5", Flat, "-2")}, nil, "10", "8", Priced},
		{"a negative field threshold", []Rule{mapping(Flat, "3"), threshold("4", Flat, "-2", on("ram", ""))}, ram, "10", "10", Priced},
		{"field threshold rate", []Rule{mapping(Flat, "3"), threshold("4", Rate, ".5", on("ram", ""))}, ram, "10", "15", Priced},
		{"rate applies to a field threshold's flat", []Rule{mapping(Flat, "3"), mapping(Rate, ".5", on("ram", "8")), threshold("4", Flat, "1", on("ram", ""))}, ram, "10", "20", Priced},
		{"rate does not apply to a service threshold's", []Rule{mapping(Flat, "3"), mapping(Rate, ".5", on("ram", "8")), threshold("4", Flat, "1")}, ram, "10", "16", Priced},
		{"one slot: a higher field level wins", []Rule{mapping(Flat, "1"), threshold("5", Flat, "100"), threshold("6", Flat, "1", on("ram", ""))}, ram, "10", "20", Priced},
		{"one slot: a higher service level wins", []Rule{mapping(Flat, "1"), threshold("7", Flat, "100"), threshold("6", Flat, "1", on("ram", ""))}, ram, "10", "110", Priced},
		{"one slot: the service first", []Rule{mapping(Flat, "1"), threshold("6", Flat, "100"), threshold("6", Flat, "1", on("ram", ""))}, ram, "10", "110", Priced},
		{"one slot: only a service level that is reached", []Rule{mapping(Flat, "1"), threshold("11", Flat, "100"), threshold("6", Flat, "1", on("ram", ""))}, ram, "10", "20", Priced},
		{"one slot: then fields by name", []Rule{threshold("6", Flat, "1", on("b", "")), threshold("6", Flat, "2", on("a", ""))}, []string{"a=8", "b=8"}, "10", "20", Priced},
		{"bytewise: capitals first", []Rule{threshold("6", Flat, "1", on("B", "")), threshold("6", Flat, "2", on("a", ""))}, []string{"B=8", "a=8"}, "10", "10", Priced},
		{"a slot for every group", []Rule{threshold("5", Flat, "10"), threshold("50", Flat, "3", inGroup("g"))}, nil, "60", "13", Priced},
		{"the whole quantity, not a slice", []Rule{mapping(Flat, "1"), threshold("5", Rate, "2"), threshold("10", Rate, "3")}, nil, "12", "36", Priced},
		{"CloudKitty's own name for no group", []Rule{mapping(Flat, "1", inGroup("_DEFAULT_")), mapping(Flat, "5", on("ram", "8"))}, ram, "2", "10", Priced},
		{"the scope is an attribute", []Rule{mapping(Flat, "5", on("project_id", "p1"))}, nil, "2", "10", Priced},
		{"spaces around a number", []Rule{threshold("4", Flat, "2", on("ram", ""))}, []string{"ram= 8 "}, "3", "6", Priced},
		{"an exponent", []Rule{threshold("4", Flat, "2", on("ram", ""))}, []string{"ram=0.8e1"}, "3", "6", Priced},
		{"exact, then rounded once half to even", []Rule{mapping(Flat, "0.0000000000005"), mapping(Flat, "0.0000000000005", inGroup("g"))}, nil, "1", "0.000000000001", Priced},
		{"half to even", []Rule{mapping(Flat, "0.0000000000025")}, nil, "1", "0.000000000002", Priced},
		{"rounded to 0", []Rule{mapping(Flat, "0.0000000000005")}, nil, "1", "0", RoundedToNil},
		{"no digits are lost", []Rule{mapping(Flat, "123456789012.1234567890123456789012345678"), mapping(Rate, "100000000000", on("ram", "8"))}, ram, "1000", "12345678901212345678901234.56789012345678", Priced},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := planned(compile(t, test.rules...), series(test.attributes...), now)
			price, outcome := p.Price(num(test.qty))
			want := num(test.want).Round(money.PricePlaces)
			if !price.Equal(want) || outcome != test.outcome {
				t.Errorf("got %s (%d), want %s (%d)", price, outcome, want, test.outcome)
			}
			if found := p.NotNumeric(); found != nil {
				t.Errorf("findings %v", found)
			}
		})
	}
}

func TestScopes(t *testing.T) {
	tests := []struct {
		name   string
		rules  []Rule
		p1, p2 string
	}{
		{"service mapping", []Rule{mapping(Flat, "5"), mapping(Flat, "1", scope("p1"))}, "10", "50"},
		{"whatever the type", []Rule{mapping(Flat, "5"), mapping(Rate, "1", scope("p1"))}, "0", "50"},
		{"of another group", []Rule{mapping(Flat, "5"), mapping(Flat, "1", scope("p1"), inGroup("g"))}, "60", "50"},
		{"field mapping", []Rule{mapping(Flat, "5", on("ram", "8")), mapping(Flat, "1", on("ram", "8"), scope("p1"))}, "10", "50"},
		{"of another value", []Rule{mapping(Flat, "5", on("ram", "8")), mapping(Flat, "1", on("ram", "9"), scope("p1"))}, "50", "50"},
		{"of a field, not of the service", []Rule{mapping(Flat, "5"), mapping(Flat, "1", on("ram", "8"), scope("p1"))}, "50", "50"},
		{"threshold of the same level, written otherwise", []Rule{threshold("4", Flat, "5"), threshold("4.0", Flat, "1", scope("p1"))}, "1", "5"},
		{"threshold of another level", []Rule{threshold("4", Flat, "5"), threshold("3", Flat, "1", scope("p1"))}, "5", "5"},
		{"field threshold", []Rule{threshold("4", Flat, "5", on("ram", "")), threshold("4", Flat, "1", on("ram", ""), scope("p1"))}, "10", "50"},
		{"older than the global one", []Rule{mapping(Flat, "5", valid("2026-11-20", "")), mapping(Flat, "1", scope("p1"))}, "10", "50"},
		{"no longer valid", []Rule{mapping(Flat, "5"), mapping(Flat, "1", scope("p1"), valid("", "2026-11-21"))}, "50", "50"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := compile(t, test.rules...)
			s := series("ram=8")
			other := *s
			other.Scope = &metering.Scope{Ref: 2, ID: "p2"}
			p1, _ := planned(e, s, now).Price(num("10"))
			p2, _ := planned(e, &other, now).Price(num("10"))
			if p1.String() != test.p1 || p2.String() != test.p2 {
				t.Errorf("got %s and %s, want %s and %s", p1, p2, test.p1, test.p2)
			}
		})
	}
}

func TestValidity(t *testing.T) {
	e := compile(t,
		mapping(Flat, "1", id("a")),
		mapping(Flat, "2", id("b"), valid("2026-11-10", "2026-11-20")),
		mapping(Flat, "3", id("c"), valid("2026-11-15", "2026-11-16")),
		mapping(Flat, "4", id("d"), valid("2026-11-18", "2026-11-19")),
		mapping(Flat, "5", id("e"), valid("2026-11-18", "2026-11-19")), // the same start: the highest id
		mapping(Flat, "7", id("f"), valid("2026-12-01", "2026-12-01")), // never
		threshold("1", Flat, "100", valid("2026-12-05", "")),
	)
	s := series()
	second := time.Second
	for _, test := range []struct {
		begin time.Time
		want  string
	}{
		{time.Unix(0, 0), "1"},
		{day("2026-11-10").Add(-second), "1"},
		{day("2026-11-10"), "2"},
		{day("2026-11-15").Add(-second), "2"},
		{day("2026-11-15"), "3"},
		{day("2026-11-16"), "2"},
		{day("2026-11-18"), "5"},
		{day("2026-11-19"), "2"},
		{day("2026-11-20").Add(-second), "2"},
		{day("2026-11-20"), "1"},
		{day("2026-12-01"), "1"},
		{day("2026-12-05"), "101"},
		{day("2026-11-15"), "3"}, // and back
	} {
		price, _ := planned(e, s, test.begin).Price(num("1"))
		if price.String() != test.want {
			t.Errorf("%s: got %s, want %s", test.begin, price, test.want)
		}
	}
}

func TestNotNumeric(t *testing.T) {
	e := compile(t,
		mapping(Flat, "1"), mapping(Flat, "2", on("ram", "many"), inGroup("g")),
		threshold("4", Flat, "100", on("ram", "")), threshold("5", Flat, "100", on("ram", ""), inGroup("g")),
		threshold("4", Flat, "1000", on("disk", "")), threshold("4", Flat, "1000", on("empty", "")),
		threshold("4", Flat, "100", on("past", ""), valid("", "2026-01-01")),
		threshold("4", Flat, "100", on("other", ""), scope("p2")),
	)
	p := planned(e, series("ram=many", "disk=NaN", "empty=", "past=x", "other=x", "unruled=x"), now)
	price, outcome := p.Price(num("3"))
	if price.String() != "9" || outcome != Priced {
		t.Errorf("the other rules give %s (%d), want 9", price, outcome)
	}
	want := []metering.Attribute{{Name: "disk", Value: "NaN"}, {Name: "empty", Value: ""}, {Name: "ram", Value: "many"}}
	if diff := cmp.Diff(want, p.NotNumeric()); diff != "" {
		t.Error(diff)
	}
}

func TestAttributePrecedence(t *testing.T) {
	var rules []Rule
	for _, value := range []string{"groupby", "metadata", "11"} {
		rules = append(rules, mapping(Flat, map[string]string{"groupby": "1", "metadata": "2", "11": "3"}[value], on("month", value)))
	}
	e := compile(t, rules...)
	s := series()
	for want, attributes := range map[string][2]string{"1": {"groupby", "metadata"}, "2": {"", "metadata"}, "3": {}, "0": {"x", "metadata"}} {
		s.Groupby, s.Metadata = nil, nil
		if attributes[0] != "" {
			s.Groupby = metering.Attributes{{Name: "month", Value: attributes[0]}}
		}
		if attributes[1] != "" {
			s.Metadata = metering.Attributes{{Name: "month", Value: attributes[1]}}
		}
		if price, _ := planned(e, s, now).Price(num("1")); price.String() != want {
			t.Errorf("%v: got %s, want %s", attributes, price, want)
		}
	}
}

func TestModules(t *testing.T) {
	rule := mapping(Flat, "2")
	for _, test := range []struct {
		name    string
		modules []Module
		want    string
		outcome Outcome
		err     string
	}{
		{"both", []Module{{"noop", true, 3}, {"hashmap", true, 1}}, "4", Priced, ""},
		{"the other way round", []Module{{"noop", true, 1}, {"hashmap", true, 3}}, "4", Priced, ""},
		{"hashmap disabled", []Module{{"noop", true, 3}, {"hashmap", false, 1}}, "0", Unpriced, ""},
		{"hashmap not listed", []Module{{"noop", true, 3}}, "0", Unpriced, ""},
		{"unknown", []Module{{"magic", false, 3}}, "", 0, `there is no rating module "magic"; there are hashmap, noop, pyscripts`},
		{"twice", []Module{{"noop", true, 3}, {"noop", true, 1}}, "", 0, `rating module "noop" is listed twice`},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, err := Compile(&Rules{Version: 42, Modules: test.modules, Hashmap: []Rule{rule}}, time.UTC)
			if test.err != "" {
				if err == nil || err.Error() != test.err || fault.KindOf(err) != fault.Invalid {
					t.Fatalf("got error %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			p := planned(e, series(), now)
			if price, outcome := p.Price(num("2")); price.String() != test.want || outcome != test.outcome || p.Priced() != (outcome == Priced) {
				t.Errorf("got %s (%d), want %s (%d)", price, outcome, test.want, test.outcome)
			}
			if e.Version() != 42 {
				t.Errorf("version %d", e.Version())
			}
		})
	}
}

func TestCompileRefusesMeaninglessRules(t *testing.T) {
	for _, rule := range []Rule{
		{Kind: "wish", Service: "cpu", Type: Flat},
		{Kind: Mapping, Service: "cpu", Type: "quadratic"},
		{Kind: Mapping, Service: "cpu", Type: Flat, Value: "x"},
		{Kind: Mapping, Service: "cpu", Type: Flat, Field: "x"},
	} {
		_, err := Compile(&Rules{Modules: []Module{{"hashmap", true, 1}}, Hashmap: []Rule{rule}}, time.UTC)
		if fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("%+v: %v", rule, err)
		}
	}
}

// TestCompileKeepsNothing: rules that are changed afterwards don't change the engine.
func TestCompileKeepsNothing(t *testing.T) {
	rules := &Rules{Modules: []Module{{"hashmap", true, 1}}, Hashmap: []Rule{mapping(Flat, "2")}}
	e, err := Compile(rules, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	rules.Hashmap[0].Cost, rules.Hashmap[0].Service = num("3"), "ram"
	if price, _ := planned(e, series(), now).Price(num("1")); price.String() != "2" {
		t.Errorf("got %s", price)
	}
}

func TestPriceDoesNotAllocate(t *testing.T) {
	engines := map[string]*Engine{
		"a cost as CloudKitty's tables have it": compile(t, mapping(Flat, "0.0005000000000000000000000000")),
		"groups and thresholds": compile(t,
			mapping(Flat, "0.5"), mapping(Rate, "0.9", on("ram", "8")), mapping(Flat, "0.01", inGroup("g")),
			threshold("5", Flat, "10"), threshold("50", Rate, "0.9", inGroup("g")),
		),
	}
	s := series("ram=8")
	fp := s.Fingerprint()
	for name, e := range engines {
		e.Plan(s, fp, now)
		for _, qty := range []string{"1.123456789012345678", "7", "1234.5"} {
			q := num(qty)
			if n := testing.AllocsPerRun(100, func() { e.Plan(s, fp, now).Price(q) }); n != 0 {
				t.Errorf("%s, %s: %v allocations", name, qty, n)
			}
		}
	}
}
