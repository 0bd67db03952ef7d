package rating

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/script"
)

var scriptBegin = time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)

// scriptRules price a cpu at 2 before scripts, unless their module runs first.
func scriptRules(priority int, scripts ...Script) *Rules {
	return &Rules{
		Version: 1, Modules: []Module{{"hashmap", true, 5}, {"pyscripts", true, priority}},
		Hashmap: []Rule{{ID: "r", Kind: Mapping, Service: "cpu", Type: Flat, Cost: money.New(2, 0)}},
		Scripts: scripts,
	}
}

// scriptFrame has two instances, one of quantity 3, and a disk that no rule prices.
func scriptFrame() *Frame {
	scope := &metering.Scope{Ref: 1, ID: "p1", Source: metering.Source{Name: "default", ScopeKey: "project_id"}}
	cpu, disk := &metering.Metric{Ref: 1, Name: "cpu", Unit: "instance"}, &metering.Metric{Ref: 2, Name: "disk", Unit: "GiB"}
	point := func(m *metering.Metric, qty int64, id string) Point {
		return Point{Series: &metering.Series{Scope: scope, Metric: m, Groupby: metering.Attributes{{Name: "id", Value: id}}}, Qty: money.New(qty, 0)}
	}
	return &Frame{
		Scope: scope, Begin: scriptBegin, End: scriptBegin.Add(time.Hour),
		Points:  []Point{point(cpu, 1, "a"), point(cpu, 3, "b"), point(disk, 10, "c")},
		Metrics: []*metering.Metric{cpu, disk, {Ref: 3, Name: "fee", Unit: "month"}},
	}
}

// said returns the points of a frame: metric, id, quantity, price and outcome.
func said(f *Frame) string {
	var all []string
	for _, p := range f.Points {
		id, _ := p.Series.Groupby.Get("id")
		all = append(all, fmt.Sprintf("%s %s %s: %s %s", p.Series.Metric.Name, id, p.Qty, p.Price, [...]string{"", "unpriced", "to nil"}[p.Outcome]))
	}
	return strings.ReplaceAll(strings.Join(all, ", ")+",", " ,", ",")
}

func compiled(t interface{ Fatal(...any) }, r *Rules) *Engine {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	e, err := Compile(r, zone)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestPriceWithScripts(t *testing.T) {
	const half = "for points in data['usage'].values():\n  for p in points:\n    p['rating']['price'] *= 0.5\n"
	const none = ""
	plain := "cpu a 1: 2, cpu b 3: 6, disk c 10: 0 unpriced,"
	day := func(d int) time.Time { return time.Date(2026, 11, d, 0, 0, 0, 0, time.UTC) }
	off := func(r *Rules) *Rules { r.Modules[1].Enabled = false; return r }
	for _, c := range []struct {
		name  string
		rules *Rules
		want  string
	}{
		{"no script", scriptRules(1), plain},
		{"a script that changes nothing", scriptRules(1, Script{Name: "s", Data: none}), plain},
		{"the module is disabled", off(scriptRules(1, Script{Name: "s", Data: half})), plain},
		{"a script that does not compile", scriptRules(1, Script{Name: "s", Data: "1 +"}), plain},
		{"not valid yet", scriptRules(1, Script{Name: "s", Data: half, Start: day(22)}), plain},
		{"not valid any more", scriptRules(1, Script{Name: "s", Data: half, End: day(21)}), plain},
		{"valid", scriptRules(1, Script{Name: "s", Data: half, Start: day(21), End: day(22)}), "cpu a 1: 1, cpu b 3: 3, disk c 10: 0 unpriced,"},
		{"before the rules", scriptRules(9, Script{Name: "s", Data: "for p in data['usage']['cpu']:\n  p['rating']['price'] += 10 + p['rating']['price']"}), "cpu a 1: 12, cpu b 3: 16, disk c 10: 0 unpriced,"},
		{"after the rules, which scripts may overwrite", scriptRules(1, Script{Name: "s", Data: "for p in data['usage']['cpu']:\n  p['rating']['price'] = 7"}), "cpu a 1: 7, cpu b 3: 7, disk c 10: 0 unpriced,"},
		{"in the order of their names", scriptRules(1, Script{Name: "b", Data: half}, Script{Name: "a", Data: "for p in data['usage']['cpu']:\n  p['rating']['price'] += 1"}), "cpu a 1: 1.5, cpu b 3: 3.5, disk c 10: 0 unpriced,"},
		{
			"exact in between, rounded once", scriptRules(1, Script{Name: "a", Data: "data['usage']['disk'][0]['rating']['price'] = 0.0000000000004"}, Script{Name: "b", Data: "data['usage']['disk'][0]['rating']['price'] *= 3"}),
			"cpu a 1: 2, cpu b 3: 6, disk c 10: 0.000000000001,",
		},
		{"rounded to nil", scriptRules(1, Script{Name: "a", Data: "data['usage']['disk'][0]['rating']['price'] = 0.0000000000004"}), "cpu a 1: 2, cpu b 3: 6, disk c 10: 0 to nil,"},
		{"free", scriptRules(1, Script{Name: "a", Data: "data['usage']['disk'][0]['rating']['price'] = 0"}), "cpu a 1: 2, cpu b 3: 6, disk c 10: 0,"},
		{"dropped and added", scriptRules(1, Script{Name: "a", Data: "data['usage'] = {'fee': [{'vol': {'unit': 'month', 'qty': 1}, 'rating': {'price': 5}, 'groupby': {'id': 'x'}, 'metadata': {}}]}"}), "fee x 1: 5,"},
		{
			"rules after scripts price what they added", scriptRules(9, Script{Name: "a", Data: "data['usage']['cpu'].append({'vol': {'qty': 2}, 'groupby': {'id': 'x'}, 'metadata': {}})"}),
			"cpu a 1: 2, cpu b 3: 6, cpu x 2: 4, disk c 10: 0 unpriced,",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := scriptFrame()
			if err := compiled(t, c.rules).Price(t.Context(), new(script.Interpreter), f); err != nil {
				t.Fatal(err)
			}
			if got := said(f); got != c.want {
				t.Errorf("points %s want %s", got, c.want)
			}
		})
	}
}

func TestPriceFails(t *testing.T) {
	change := Script{Name: "s", Data: "data['usage']['cpu'][0]['vol']['qty'] *= 2"}
	for _, c := range []struct {
		name   string
		rules  *Rules
		runner ScriptRunner
		stored bool
		want   string
	}{
		{"no runner", scriptRules(1, change), nil, false, "script s: this process runs no scripts"},
		{"a script's error", scriptRules(1, Script{Name: "s", Data: "\n1 // 0"}), new(script.Interpreter), false, "script s, line 2: floored division by zero"},
		{
			"a metric that is none", scriptRules(1, Script{Name: "s", Data: "data['usage']['gpu'] = [{'vol': {'qty': 1}, 'groupby': {}, 'metadata': {}}]"}), new(script.Interpreter), false,
			"script s: it leaves points of gpu, which is no metric of the source",
		},
		{
			"usage that may only be priced", scriptRules(1, change), new(script.Interpreter), true,
			"script s: it changes more than prices, so it can't price again what it left before; reprocess the window instead of re-rating it",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := scriptFrame()
			f.Stored = c.stored
			err := compiled(t, c.rules).Price(t.Context(), c.runner, f)
			if e, ok := errors.AsType[*ScriptError](err); !ok || err.Error() != c.want {
				t.Errorf("error %v (%v), want %s", err, e, c.want)
			}
			if got, want := said(f), said(scriptFrame()); got != want {
				t.Errorf("the frame is %s, was %s", got, want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := compiled(t, scriptRules(1, change)).Price(ctx, new(script.Interpreter), scriptFrame()); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestUnits: a point may come back with another unit, and keeps its metric.
func TestUnits(t *testing.T) {
	f := scriptFrame()
	if err := compiled(t, scriptRules(1, Script{Name: "s", Data: "for p in data['usage']['cpu']:\n  p['vol']['unit'] = 'vm'"})).Price(t.Context(), new(script.Interpreter), f); err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Points[:2] {
		if m := p.Series.Metric; m.Unit != "vm" || m.Ref != 1 || m.Name != "cpu" {
			t.Errorf("metric %+v", m)
		}
	}
	if f.Points[0].Series.Metric != f.Points[1].Series.Metric {
		t.Error("two metrics for one unit")
	}
}

// TestIdentityScript: with a script that changes nothing everything has the price that it has without, wherever the scripts
// run, and pricing what was left again changes nothing.
func TestIdentityScript(t *testing.T) {
	runner := new(script.Interpreter)
	rapid.Check(t, func(t *rapid.T) {
		rules := scriptRules(rapid.IntRange(1, 9).Draw(t, "priority"), Script{Name: "s", Data: "data = data"})
		digits := func(name string) money.Decimal {
			return money.New(rapid.Int64Range(-1_000_000, 1_000_000_000).Draw(t, name), rapid.Int32Range(0, 18).Draw(t, name+" places"))
		}
		for i := range rapid.IntRange(0, 5).Draw(t, "rules") {
			r := Rule{ID: fmt.Sprint(i), Kind: Mapping, Service: "cpu", Type: Flat, Cost: digits("cost"), Group: fmt.Sprint(i % 3)}
			if rapid.Bool().Draw(t, "rate") {
				r.Type = Rate
			}
			if rapid.Bool().Draw(t, "threshold") {
				r.Kind, r.Level = Threshold, digits("level")
			}
			rules.Hashmap = append(rules.Hashmap, r)
		}
		f := scriptFrame()
		f.Points = f.Points[:0]
		value := rapid.SampledFrom([]string{"", "a", "ü", "11", "true"})
		name := rapid.SampledFrom([]string{"id", "month", "year", "flavor"})
		for range rapid.IntRange(1, 6).Draw(t, "points") {
			s := &metering.Series{Scope: f.Scope, Metric: f.Metrics[rapid.IntRange(0, 1).Draw(t, "metric")]}
			for _, as := range []*metering.Attributes{&s.Groupby, &s.Metadata} {
				for n, v := range rapid.MapOfN(name, value, 0, 3).Draw(t, "attributes") {
					*as = append(*as, metering.Attribute{Name: n, Value: v})
				}
				as.Sort()
			}
			f.Points = append(f.Points, Point{Series: s, Qty: digits("qty")})
		}
		without := *rules
		without.Scripts = nil
		plain, scripted := *f, *f
		plain.Points, scripted.Points = slices.Clone(f.Points), slices.Clone(f.Points)
		if err := compiled(t, &without).Price(context.Background(), nil, &plain); err != nil {
			t.Fatal(err)
		}
		e := compiled(t, rules)
		if err := e.Price(context.Background(), runner, &scripted); err != nil {
			t.Fatal(err)
		}
		equal := func(what string, a, b []Point) {
			count := map[string]int{}
			for i := range a {
				count[fmt.Sprint(keyOf(a[i].Series), a[i].Qty, a[i].Price, a[i].Outcome)]++
			}
			for i := range b {
				count[fmt.Sprint(keyOf(b[i].Series), b[i].Qty, b[i].Price, b[i].Outcome)]--
			}
			for key, n := range count {
				if n != 0 {
					t.Fatalf("%s: %s %d times too often", what, key, n)
				}
			}
		}
		equal("with and without", plain.Points, scripted.Points)
		again := scripted
		again.Points, again.Stored = slices.Clone(scripted.Points), true
		if err := e.Price(context.Background(), runner, &again); err != nil {
			t.Fatal(err)
		}
		equal("again", scripted.Points, again.Points)
	})
}

func FuzzCheckScript(f *testing.F) {
	for _, text := range []string{"", "data = 1", "x = 1.5 / 2", "import decimal", "def f(x=0.5, *y):\n  return x * 2 == y", "[x for x in y if 1 < x]", "((((", "x *= 0.1", "lambda: 1e5"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		err := CheckScript(text)
		if err == nil {
			return
		}
		e, ok := errors.AsType[*ScriptError](err)
		if !ok || e.Message == "" || e.Line < 0 || e.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+2 {
			t.Errorf("error %#v of %q", err, text)
		}
	})
}

// TestLiterals: what is a number, true or an object in an attribute stays one under scripts, unless they change it.
func TestLiterals(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want         []string // of each point: its id, and the names of the attributes that are no texts
	}{
		{"nothing changes", "", []string{"a: [m n]", "a: []", "b: [n]", "c: []"}},
		{"prices change", "for p in data['usage']['cpu']:\n  p['rating']['price'] = 1", []string{"a: [m n]", "a: []", "b: [n]", "c: []"}},
		{"others are added; what is no text somewhere is none", "for p in data['usage']['cpu']:\n  p['metadata']['x'] = p['groupby']['id']", []string{"a: [m n]", "a: [m n]", "b: [m n]", "c: []"}},
		{"its value changes", "data['usage']['cpu'][0]['metadata']['n'] = '5'", []string{"a: [m]", "a: [m n]", "b: [n]", "c: []"}},
		{"it goes", "data['usage']['cpu'][0]['metadata'].pop('n')", []string{"a: [m]", "a: [m n]", "b: [n]", "c: []"}},
		{"it is in both", "data['usage']['cpu'][0]['groupby']['n'] = '4'", []string{"a: [m]", "a: [m n]", "b: [n]", "c: []"}},
		{"a point is added twice", "for _ in range(2):\n  data['usage']['cpu'].append(data['usage']['cpu'][2])", []string{"a: [m n]", "a: []", "b: [n]", "b: [n]", "b: [n]", "c: []"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := scriptFrame()
			cpu := f.Points[0]
			point := func(id, n string, literals ...string) Point {
				p, s := cpu, *cpu.Series
				s.Groupby, s.Metadata = metering.Attributes{{Name: "id", Value: id}}, metering.Attributes{{Name: "m", Value: "true"}, {Name: "n", Value: n}}
				s.Literals, p.Series = literals, &s
				return p
			}
			f.Points = []Point{point("a", "4", "m", "n"), point("a", "4"), point("b", "1.50", "n"), f.Points[2]}
			if err := compiled(t, scriptRules(1, Script{Name: "s", Data: c.script})).Price(t.Context(), new(script.Interpreter), f); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range f.Points {
				id, _ := p.Series.Groupby.Get("id")
				got = append(got, fmt.Sprintf("%s: %v", id, p.Series.Literals))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}
