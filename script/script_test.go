package script

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ratebook/money"
)

// some is a frame: two instances without a price, a volume that a rule has priced.
func some() *Frame {
	return &Frame{
		Begin: time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC), End: time.Date(2026, 11, 21, 23, 0, 0, 0, time.UTC),
		Zone: "Europe/Berlin", ScopeKey: "project_id", Scope: "p1", Computed: []Attribute{{"month", "11"}, {"year", "2026"}},
		Points: []Point{
			{Metric: "cpu", Unit: "instance", Qty: money.MustParse("1"), Groupby: []Attribute{{"id", "a"}}, Metadata: []Attribute{{"flavor", "m1.tiny"}}},
			{Metric: "cpu", Unit: "instance", Qty: money.MustParse("2.5"), Groupby: []Attribute{{"id", "b"}}, Metadata: []Attribute{{"flavor", "m1.huge"}}},
			{Metric: "disk", Unit: "GiB", Qty: money.MustParse("10"), Price: money.MustParse("0.3"), Priced: true, Groupby: []Attribute{{"id", "c"}}},
		},
	}
}

func run(t *testing.T, text string) (*Frame, error) {
	t.Helper()
	return new(Interpreter).Run(context.Background(), []Source{{"s", text}}, some())
}

var same = cmp.Options{cmp.Comparer(func(a, b money.Decimal) bool { return a.Equal(b) })}

func TestIdentity(t *testing.T) {
	for _, text := range []string{
		"", "pass", "data = data", "print(data)",
		"data = {'period': data['period'], 'usage': {m: [dict(p) for p in points] for m, points in data['usage'].items()}}",
		"for points in data['usage'].values():\n  for p in points:\n    p['rating'] = {'price': p['rating']['price']}\n    p['groupby'] = dict(p['groupby'])\n",
	} {
		got, err := run(t, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(some(), got, same); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

// prices returns what the three points cost.
func prices(f *Frame) string {
	var all []string
	for _, p := range f.Points {
		price := p.Price.String()
		if !p.Priced {
			price = "none"
		}
		all = append(all, price)
	}
	return strings.Join(all, " ")
}

func TestPrices(t *testing.T) {
	const each = "for p in data['usage']['cpu']:\n  p['rating']['price'] = "
	for _, c := range []struct{ name, text, want string }{
		{"a number with a point is exact", each + "p['vol']['qty'] * 0.1", "0.1 0.25 0.3"},
		{"an int", each + "2", "2 2 0.3"},
		{"a text that is a number", each + "'0.5'", "0.5 0.5 0.3"},
		{"free is a price", each + "0", "0 0 0.3"},
		{"what multiplies no price makes none", "for l in data['usage'].values():\n  for p in l:\n    p['rating']['price'] *= 1.5", "none none 0.45"},
		{"what adds to no price makes one", "for l in data['usage'].values():\n  for p in l:\n    p['rating']['price'] += 1", "1 1 1.3"},
		{"rounding no price makes none", each + "round(div(p['rating']['price'], 3), 2)", "none none 0.3"},
		{"a price taken away", "data['usage']['disk'][0]['rating'] = {}", "none none none"},
		{"div", each + "div(10, 3, 4)", "3.3333 3.3333 0.3"},
		{"div to 28 decimals", each + "div(1, 3)", "0.3333333333333333333333333333 0.3333333333333333333333333333 0.3"},
		{"round half to even", each + "round(2.5) + round(3.5) + round(0.125, 2)", "6.12 6.12 0.3"},
		{"floor division and remainder", each + "7.5 // 2 + 7.5 % 2", "4.5 4.5 0.3"},
		{"min and max mix decimals and ints", each + "max(min(p['vol']['qty'], 2), 0.5) + max([1, 2.5])", "3.5 4.5 0.3"},
		{"min with a key", each + "min([3, -1.5], key=abs)", "-1.5 -1.5 0.3"},
		{"sum", each + "sum([0.1, 0.2, 1], 10)", "11.3 11.3 0.3"},
		{"math", each + "math.ceil(p['vol']['qty']) + math.floor(2.9)", "3 5 0.3"},
		{"decimals and ints are equal by value", each + "1 if p['vol']['qty'] == 1 and p['vol']['qty'] in [1] else 2", "1 2 0.3"},
		{"Python's Decimal", each + "Decimal('0.1') + decimal.Decimal(0.2) + decimal(1)", "1.3 1.3 0.3"},
		{"a list times a number", each + "len([0] * 3 + list(('ab' * 2).elems()))", "7 7 0.3"},
		{"the hour in the billing zone", each + "data['period']['begin'].astimezone().hour", "23 23 0.3"},
		{"the hour somewhere", each + "data['period']['begin'].astimezone('Asia/Tokyo').hour", "7 7 0.3"},
		{"the weekday", each + "data['period']['end'].weekday() * 10 + data['period']['end'].isoweekday()", "56 56 0.3"},
		{"instants", each + "data['period']['end'].timestamp() - data['period']['begin'].timestamp()", "3600 3600 0.3"},
		{"instants compare", each + "1 if data['period']['begin'] < data['period']['end'] else 2", "1 1 0.3"},
		{"what is computed, and the scope", each + "len(p['groupby']['project_id']) + int(p['groupby']['month'])", "13 13 0.3"},
		{"functions, and data assigned in a loop", "def f(data, by=0.5):\n  data['usage']['cpu'][0]['rating']['price'] += by\n  return data\nn = 0\nwhile n < 3:\n  data = f(data)\n  n += 1", "1.5 none 0.3"},
		{"a union of dicts, a set and a lambda", each + "({'a': 1.5} | {'b': 2})['a'] + len(set([1, 1])) + (lambda x=2: x)()", "4.5 4.5 0.3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := run(t, c.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := prices(f); got != c.want {
				t.Errorf("prices %s, want %s", got, c.want)
			}
		})
	}
}

// TestPyScript runs the example of CloudKitty's documentation, without its import and with groupby or metadata for desc.
func TestPyScript(t *testing.T) {
	f, err := run(t, `
# Price for each flavor. These are equivalent to hashmap field mappings.
flavors = {
    'm1.micro': decimal.Decimal(0.65),
    'm1.tiny': decimal.Decimal(0.35),
    'm1.large': decimal.Decimal(2.67)
}

# Price per MB / GB for images and volumes. These are equivalent to
# hashmap service mappings.
volume_gb_price = decimal.Decimal(0.35)

def get_compute_price(item):
    if not item['metadata']['flavor'] in flavors:
        return 0
    else:
        return (decimal.Decimal(item['vol']['qty']) *
                flavors[item['metadata']['flavor']])

def get_volume_price(item):
    if not item['vol']['qty']:
        return 0
    else:
        return decimal.Decimal(item['vol']['qty']) * volume_gb_price

# Mapping each service to its price calculation function
services = {
    'cpu': get_compute_price,
    'disk': get_volume_price
}

def process(data):
    usage_data = data['usage']
    for service_name, service_data in usage_data.items():
        # Do not calculate the price if the service has no
        # price calculation function
        if service_name in services.keys():
            for item in service_data:
                item['rating'] = {'price': services[service_name](item)}
    return data

data = process(data)
`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := prices(f), "0.35 0 3.5"; got != want {
		t.Errorf("prices %s, want %s", got, want)
	}
}

func TestUsage(t *testing.T) {
	point := func(metric, unit, qty string, groupby ...Attribute) Point {
		return Point{Metric: metric, Unit: unit, Qty: money.MustParse(qty), Groupby: groupby}
	}
	for _, c := range []struct {
		name, text string
		want       []Point
	}{
		{"points go", "data['usage'].clear()", []Point{}},
		{"a metric goes", "data['usage'] = {'disk': []}", []Point{}},
		{
			"a point comes", "data['usage'] = {'fee': [{'vol': {'unit': 'month', 'qty': 1}, 'rating': {'price': 5}, 'groupby': {'of': 'x'}, 'metadata': {}}]}",
			[]Point{{Metric: "fee", Unit: "month", Qty: money.New(1, 0), Price: money.New(5, 0), Priced: true, Groupby: []Attribute{{"of", "x"}}}},
		},
		{"no unit, no rating", "data['usage'] = {'fee': ({'vol': {'qty': '1.5'}, 'groupby': {}, 'metadata': {}},)}", []Point{point("fee", "undefined", "1.5")}},
		{
			"a quantity is rounded to 18 decimals, half to even",
			"data['usage'] = {'q': [{'vol': {'qty': x}, 'groupby': {}, 'metadata': {}} for x in [1.0000000000000000005, 1.0000000000000000015]]}",
			[]Point{point("q", "undefined", "1"), point("q", "undefined", "1.000000000000000002")},
		},
		{
			"the scope and what is computed may be left out or not", "data['usage'] = {'q': [{'vol': {'qty': 1}, 'groupby': g, 'metadata': {}} for g in [{'project_id': 'p1'}, {'month': '11', 'a': 'b'}, {'month': '12'}]]}",
			[]Point{point("q", "undefined", "1"), point("q", "undefined", "1", Attribute{"a", "b"}), point("q", "undefined", "1", Attribute{"month", "12"})},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := run(t, c.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, f.Points, same, cmp.Comparer(slices.Equal[[]Attribute])); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestOwnComputed: attributes that a point carries are its own, even if they are called and are what would be computed.
func TestOwnComputed(t *testing.T) {
	f := some()
	f.Points[0].Groupby = []Attribute{{"id", "a"}, {"month", "11"}}
	f.Points[1].Groupby = []Attribute{{"id", "a"}, {"year", "1"}}
	got, err := new(Interpreter).Run(context.Background(), []Source{{"s", "data['usage']['disk'][0]['groupby']['id'] = data['usage']['cpu'][1]['groupby']['year']"}}, f)
	if err != nil {
		t.Fatal(err)
	}
	f.Points[2].Groupby = []Attribute{{"id", "1"}}
	if diff := cmp.Diff(f, got, same); diff != "" {
		t.Error(diff)
	}
}

// TestFailures: what data is afterwards must be a frame, and errors say where.
func TestFailures(t *testing.T) {
	const cpu = "p = data['usage']['cpu'][1]\n"
	for _, c := range []struct{ name, text, want string }{
		{"a key", "x = 1\nx = data['nothing']", `script s, line 2: key "nothing" not in dict`},
		{"in a function", "def f():\n  return [][0]\n\nx = f()", "script s, line 2: index 0 out of range: empty list"},
		{"fail", "fail('no ' + 'price')", "script s, line 1: fail: no price"},
		{"a comparison", "\n\nx = 1.5 < 'a'", "script s, line 3: decimal < string not implemented"},
		{"recursion", "def f():\n  return f()\nf()", "script s, line 2: function f called recursively"},
		{"division by zero", "div(1, 0)", "script s, line 1: division by zero"},
		{"too many decimals", "div(1, 3, 101)", "script s, line 1: div: places is 101; it is from 0 to 100"},
		{"a long text", "x = 'x' * 1000000000", "script s, line 1: string times 1000000000 of length 1 is too long"},
		{"a long list", "x = 1000000000 * [1, 2]", "script s, line 1: list times 1000000000 of length 2 is too long"},
		{"a huge int", "x = 10\nwhile True:\n  x = x * x", "script s, line 3: the number gets longer than 16384 bits"},
		{"a huge decimal", "x = 1.5\nwhile True:\n  x *= x", "script s, line 3: the number gets longer than 10000 digits"},
		{"a tiny decimal", "x = 0.1\nwhile True:\n  x *= x", "script s, line 3: the number gets longer than 10000 digits"},
		{"an endless loop", "while True:\n  pass", "script s, line 1: it was stopped after 20 million steps"},
		{"one far down", "u = data\n\n\nx = 1\ny = 2\nwhile True:\n  x = x + 1", "script s, line 7: it was stopped after 20 million steps"},
		{"one that calls", "def f(n):\n  return n + 1\nx = 1\ny = 2\nwhile True:\n  x = f(x)\n", "script s, line 6: it was stopped after 20 million steps"},
		{"no frame", "data = 1", "script s: data is of type int; it must be a dict with period, usage"},
		{"None", "data = None", "script s: data is None; it must be a dict with period, usage"},
		{"another key", "data['x'] = 1", `script s: data has the key "x"; it may only have period, usage`},
		{"no period", "data = {'usage': {}}", `script s: data["period"] is missing; it must be a dict with begin, end`},
		{"another period", "data['period']['end'] = data['period']['begin']", `script s: data["period"]["end"] is another than it was: scripts can't change when usage was`},
		{"no usage", "data.pop('usage')", `script s: data["usage"] is missing; it must be a dict of lists of data points by metric`},
		{"usage is a list", "data['usage'] = []", `script s: data["usage"] is of type list; it must be a dict of lists of data points by metric`},
		{"a metric that is no text", "data['usage'][1] = []", `script s: data["usage"] has the key of type int; keys are names of metrics`},
		{"points that are none", "data['usage']['cpu'] = 'abc'", `script s: data["usage"]["cpu"] is the text "abc"; it must be a list of data points`},
		{"a point that is none", "data['usage']['cpu'][1] = 7", `script s: data["usage"]["cpu"][1] is of type int; it must be a dict with vol, rating, groupby, metadata`},
		{"a point with more", cpu + "p['desc'] = {}", `script s: data["usage"]["cpu"][1] has the key "desc"; it may only have vol, rating, groupby, metadata`},
		{"no vol", cpu + "p.pop('vol')", `script s: data["usage"]["cpu"][1]["vol"] is missing; it must be a dict with unit, qty`},
		{"no quantity", cpu + "p['vol'].pop('qty')", `script s: data["usage"]["cpu"][1]["vol"]["qty"] is missing`},
		{"a quantity that is none", cpu + "p['vol']['qty'] = 'many'", `script s: data["usage"]["cpu"][1]["vol"]["qty"] is the text "many"; it must be a number`},
		{"a unit that is none", cpu + "p['vol']['unit'] = 5", `script s: data["usage"]["cpu"][1]["vol"]["unit"] is of type int; it must be a text`},
		{"a price that is none", cpu + "p['rating']['price'] = True", `script s: data["usage"]["cpu"][1]["rating"]["price"] is of type bool; it must be a number`},
		{"a price like no other", cpu + "p['rating']['price'] = 1" + strings.Repeat("0", 40), `script s: data["usage"]["cpu"][1]["rating"]["price"] has more than 40 digits before or 500 after the point`},
		{"no groupby", cpu + "p['groupby'] = None", `script s: data["usage"]["cpu"][1]["groupby"] is None; it must be a dict of texts`},
		{"an attribute that is no text", cpu + "p['metadata']['size'] = 5", `script s: data["usage"]["cpu"][1]["metadata"]["size"] is of type int; attributes are texts, write str(...)`},
		{"an attribute without a name", cpu + "p['metadata'][''] = ''", `script s: data["usage"]["cpu"][1]["metadata"] has the key ""; keys are names of attributes`},
		{"an attribute with NUL", cpu + `p['metadata']['x'] = 'a\0'`, `script s: data["usage"]["cpu"][1]["metadata"]["x"] is no text that an attribute can be: it has bytes that are no UTF-8, or NUL`},
		{"another scope", cpu + "p['groupby']['project_id'] = 'p2'", `script s: data["usage"]["cpu"][1]["groupby"]["project_id"] is another than it was: scripts can't charge another scope`},
		{"very many points", "data['usage']['cpu'] = [data['usage']['cpu'][0]] * 200001", `script s: data["usage"]["cpu"] has too many data points: a frame has at most 200000`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := run(t, c.text)
			if err == nil || err.Error() != c.want {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
}

func TestCompile(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"fine", "x = 1", ""},
		{"carriage returns", "if True:\r\n  x = 1\r\n", ""},
		{"syntax", "x = 1\nx = = 2", "line 2: got '=', want primary expression"},
		{"a name that is unknown", "x = 1\n\ny = z", "line 3: undefined: z"},
		{"import", "import decimal\n", "line 1: got import, want primary expression; nothing can be imported: decimal and math are there without it"},
		{"from", "x = 1\nfrom decimal import Decimal\n", "line 2: got from, want primary expression; nothing can be imported: decimal and math are there without it"},
		{"try", "try:\n  x = 1\n", "line 1: got try, want primary expression; Starlark has no try"},
		{"load", "def f():\n  pass\nload('x', 'y')", "line 3: load is not available here"},
		{"division", "def f(x):\n  return x / 3", "line 2: " + inexact},
		{"division of a variable", "x = 1\nif x:\n  x /= 3", "line 3: " + inexact},
		{"a float without end", "x = 1e99999", "line 1: invalid float literal"},
		{"nested too deeply", strings.Repeat("(", 5000), "line 1: excessive nesting"},
		{"too long", strings.Repeat("#", MaxText+1), "the script is longer than 256 KiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Compile(c.text)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("error %q, want %q", got, c.want)
			}
		})
	}
}

// TestLongExpressions: what the interpreter does recursively ends before the stack does.
func TestLongExpressions(t *testing.T) {
	for _, part := range []string{"1+", "1 if 1 else ", "not ", "-", "0.5*", "'a'+", "1==", "f(", "[", "lambda:", "x.", "1 and "} {
		text := "f = len\nx = " + strings.Repeat(part, (MaxText-100)/len(part)) + "1"
		_, _ = Compile(text)
	}
}
