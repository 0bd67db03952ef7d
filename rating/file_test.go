package rating

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ratebook/fault"
	"ratebook/money"
)

const example = `# what the cluster costs
modules: {hashmap: {enabled: true, priority: 1}}
groups: [bulk]
services:
  - name: cpu                       # the metric's alt_name
    mappings: [{type: flat, cost: "0.0005", group: bulk}]
    thresholds: [{level: "100", type: rate, cost: "0.9"}]
    fields:
      - name: flavor                # a groupby or metadata attribute
        mappings: [{value: m1.tiny, type: flat, cost: "0.01", scope: p1, start: 2026-11-01, end: 2026-12-01T12:00:00+01:00, name: tiny, description: "what: it is"}]
        thresholds: [{level: "8", type: flat, cost: "0.0025", group: bulk, scope: p2}]
`

func berlin(t testing.TB) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func parse(t testing.TB, content string) *File {
	t.Helper()
	f, err := ParseFile("rules.yml", []byte(content), berlin(t))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// sameRules compares rules without their ids and order.
func sameRules(t testing.TB, want, got *Rules) {
	t.Helper()
	names := func(r *Rules) (all []string) {
		for _, m := range r.Modules {
			all = append(all, m.String())
		}
		for _, g := range r.Groups {
			all = append(all, "group "+g.Name)
		}
		for _, s := range r.Services {
			all = append(all, "service "+s.Name)
			for _, f := range s.Fields {
				all = append(all, fieldLine(s.Name, f.Name))
			}
		}
		for _, rule := range r.Hashmap {
			rule.ID = ""
			all = append(all, rule.String()+rule.Description)
		}
		slices.Sort(all)
		return all
	}
	if diff := cmp.Diff(names(want), names(got)); diff != "" {
		t.Error(diff)
	}
}

func TestImport(t *testing.T) {
	zone := berlin(t)
	next, diff := parse(t, example).Apply(&Rules{Version: 3}, false)
	want := &Rules{
		Modules:  []Module{{"hashmap", true, 1}},
		Groups:   []Group{{Name: "bulk"}},
		Services: []Service{{Name: "cpu", Fields: []Field{{Name: "flavor"}}}},
		Hashmap: []Rule{
			{Kind: Mapping, Service: "cpu", Type: Flat, Cost: num("0.0005"), Group: "bulk"},
			{Kind: Threshold, Service: "cpu", Level: num("100"), Type: Rate, Cost: num("0.9")},
			{
				Kind: Mapping, Service: "cpu", Field: "flavor", Value: "m1.tiny", Type: Flat, Cost: num("0.01"), Scope: "p1",
				Start: time.Date(2026, 11, 1, 0, 0, 0, 0, zone), End: time.Date(2026, 12, 1, 11, 0, 0, 0, time.UTC),
				Name: "tiny", Description: "what: it is",
			},
			{Kind: Threshold, Service: "cpu", Field: "flavor", Level: num("8"), Type: Flat, Cost: num("0.0025"), Group: "bulk", Scope: "p2"},
		},
	}
	sameRules(t, want, next)
	if next.Version != 3 {
		t.Errorf("version %d", next.Version)
	}
	ids := map[string]bool{}
	for _, id := range []string{
		next.Groups[0].ID, next.Services[0].ID, next.Services[0].Fields[0].ID,
		next.Hashmap[0].ID, next.Hashmap[1].ID, next.Hashmap[2].ID, next.Hashmap[3].ID,
	} {
		if len(id) != 36 || ids[id] {
			t.Errorf("id %q", id)
		}
		ids[id] = true
	}
	const report = `+ module hashmap: enabled, priority 1
+ group bulk
+ service cpu
+ field flavor of cpu
+ mapping of cpu, group bulk: flat 0.0005
+ threshold of cpu, quantity ≥ 100: rate 0.9
+ mapping of cpu, flavor = m1.tiny, scope p1, from 2026-10-31T23:00:00Z: flat 0.01, until 2026-12-01T11:00:00Z, name tiny, description "what: it is"
+ threshold of cpu, flavor ≥ 8, scope p2, group bulk: flat 0.0025
8 added, 0 changed, 0 removed; 0 the same, 0 not in the file
`
	if d := cmp.Diff(report, diff.String()); d != "" {
		t.Error(d)
	}

	for _, replace := range []bool{false, true} {
		again, diff := parse(t, example).Apply(next, replace)
		if !diff.Empty() || diff.Same != 8 || len(diff.Kept) != 0 {
			t.Errorf("importing it again: %s", diff)
		}
		if d := cmp.Diff(next, again, cmp.Comparer(money.Decimal.Equal)); d != "" {
			t.Error(d)
		}
	}
}

func TestImportChanges(t *testing.T) {
	before, _ := parse(t, example).Apply(&Rules{}, false)
	const other = `
modules: {hashmap: {enabled: false}}
groups: [new]
services:
  - name: cpu
    mappings: [{type: rate, cost: 2, group: bulk, name: two}]
    fields:
      - name: size
  - name: disk
`
	merged, diff := parse(t, other).Apply(before, false)
	const report = `+ group new
+ field size of cpu
+ service disk
~ module hashmap: disabled, priority 1 (was: enabled, priority 1)
~ mapping of cpu, group bulk: type flat → rate, cost 0.0005 → 2, name none → "two"
  not in the file, stays: field flavor of cpu
  not in the file, stays: mapping of cpu, flavor = m1.tiny, scope p1, from 2026-10-31T23:00:00Z: flat 0.01, until 2026-12-01T11:00:00Z, name tiny, description "what: it is"
  not in the file, stays: threshold of cpu, flavor ≥ 8, scope p2, group bulk: flat 0.0025
  not in the file, stays: threshold of cpu, quantity ≥ 100: rate 0.9
3 added, 2 changed, 0 removed; 2 the same, 4 not in the file
`
	if d := cmp.Diff(report, diff.String()); d != "" {
		t.Error(d)
	}
	if merged.Hashmap[0].ID != before.Hashmap[0].ID || merged.Hashmap[0].Type != Rate {
		t.Errorf("changed rule: %+v", merged.Hashmap[0])
	}
	if before.Hashmap[0].Type != Flat || !before.Modules[0].Enabled {
		t.Error("Apply changed what it was given")
	}

	replaced, diff := parse(t, other).Apply(before, true)
	sameRules(t, &Rules{
		Modules:  []Module{{"hashmap", false, 1}},
		Groups:   []Group{{Name: "bulk"}, {Name: "new"}},
		Services: []Service{{Name: "cpu", Fields: []Field{{Name: "size"}}}, {Name: "disk"}},
		Hashmap:  []Rule{{Kind: Mapping, Service: "cpu", Type: Rate, Cost: num("2"), Group: "bulk", Name: "two"}},
	}, replaced)
	if len(diff.Removed) != 4 || len(diff.Kept) != 0 {
		t.Errorf("replacing: %s", diff)
	}

	none, diff := parse(t, "services: []").Apply(before, true)
	sameRules(t, &Rules{Modules: before.Modules}, none) // modules can't go
	if len(diff.Removed) != 7 || len(diff.Kept) != 1 {
		t.Errorf("replacing by nothing: %s", diff)
	}
}

// TestIdentity: each of these rules is one of its own.
func TestIdentity(t *testing.T) {
	rules, diff := parse(t, `
services:
  - name: cpu
    mappings:
      - {cost: 1}
      - {cost: 1, group: g}
      - {cost: 1, scope: p1}
      - {cost: 1, start: 2026-11-01}
      - {cost: 1, start: 2026-11-02}
    thresholds: [{level: 0, cost: 1}, {level: 1, cost: 1}]
    fields:
      - {name: a, mappings: [{value: x, cost: 1}, {value: y, cost: 1}], thresholds: [{level: 1, cost: 1}]}
      - {name: b, mappings: [{value: x, cost: 1}], thresholds: [{level: 1, cost: 1}]}
  - name: ram
    mappings: [{cost: 1}]
`).Apply(&Rules{}, false)
	if len(rules.Hashmap) != 13 {
		t.Errorf("%s", diff)
	}
}

// TestTwins: should there be two rules of one identity, a file speaks of the one that counts.
func TestTwins(t *testing.T) {
	current := &Rules{
		Services: []Service{{ID: "s", Name: "cpu"}},
		Hashmap:  []Rule{mapping(Flat, "1", id("a")), mapping(Flat, "2", id("b"))},
	}
	f := parse(t, "services: [{name: cpu, mappings: [{cost: 3}]}]")
	next, diff := f.Apply(current, false)
	if len(next.Hashmap) != 2 || len(diff.Changed) != 1 || len(diff.Kept) != 1 {
		t.Errorf("%s", diff)
	}
	if price, _ := planned(compile(t, next.Hashmap...), series(), now).Price(num("1")); price.String() != "3" {
		t.Errorf("the price is %s still", price)
	}
	next, diff = f.Apply(current, true)
	if len(next.Hashmap) != 1 || len(diff.Changed) != 1 || len(diff.Removed) != 1 {
		t.Errorf("%s", diff)
	}
}

// TestScalarsAreTheirText: YAML has no say in what a value or number is.
func TestScalarsAreTheirText(t *testing.T) {
	for written, want := range map[string]string{
		"4": "4", "4.0": "4.0", "true": "true", "no": "no", "0x10": "0x10", "010": "010", "1e3": "1e3", "2026-11-21": "2026-11-21", `"4.0"`: "4.0",
		"null": "", "~": "", `"null"`: "null", ".nan": ".nan", "1_000": "1_000", "'it''s'": "it's",
	} {
		f, err := ParseFile("f", []byte("services: [{name: cpu, fields: [{name: x, mappings: [{value: "+written+", cost: 1}]}]}]"), time.UTC)
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "means nothing in YAML") {
				t.Errorf("%s: %v", written, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", written, err)
			continue
		}
		if got := f.rules[0].Value; got != want {
			t.Errorf("%s: got %q, want %q", written, got, want)
		}
	}
	for written, want := range map[string]string{
		"0.0005": "0.0005", "0.1": "0.1", "1e3": "1000", "5E-4": "0.0005", "-3": "-3", "+2": "2", "010": "10", ".5": "0.5", "0": "0",
		"999999999999.9999999999999999999999999999":            "999999999999.9999999999999999999999999999",
		"00000000000000001.0000000000000000000000000000000000": "1", `"0.30000000000000004"`: "0.30000000000000004",
	} {
		f, err := ParseFile("f", []byte("services: [{name: cpu, mappings: [{cost: "+written+"}]}]"), time.UTC)
		if err != nil {
			t.Errorf("%s: %v", written, err)
			continue
		}
		if got := f.rules[0].Cost.String(); got != want || f.rules[0].Type != Flat {
			t.Errorf("%s: got %s, want %s", written, got, want)
		}
	}
}

func TestMistakes(t *testing.T) {
	rule := func(s string) string { return "services: [{name: cpu, mappings: [{" + s + "}]}]" }
	fieldRule := func(s string) string { return "services: [{name: cpu, fields: [{name: f, mappings: [{" + s + "}]}]}]" }
	level := func(s string) string { return "services: [{name: cpu, thresholds: [{" + s + "}]}]" }
	const m = "services[0].mappings[0]"
	const fm = "services[0].fields[0].mappings[0]"
	const th = "services[0].thresholds[0]"
	tests := []struct {
		name, content string
		want          []string // without the file's name
	}{
		{"empty", "", []string{"1: the file is empty; for no rules at all write services: []"}},
		{"only a comment", "# nothing\n", []string{"1: the file is empty; for no rules at all write services: []"}},
		{"empty document", "---\n", []string{"1: the file is empty; for no rules at all write services: []"}},
		{"no mapping", "- a\n", []string{"1: this must be keys with values"}},
		{"no YAML", "services: [\n", []string{"1: not YAML: did not find expected node content"}},
		{"not UTF-8", "a: b\nc: \xff\n", []string{"2: the text is not UTF-8"}},
		{"UTF-16", "\xff\xfea\x00", []string{"1: the text is not UTF-8"}},
		{"two documents", "services: []\n---\nservices: []\n", []string{"2: a second document begins here; a rules file is one"}},
		{"rubbish after it", "services: []\n---\n[", []string{"3: not YAML: did not find expected node content"}},
		{"too long", strings.Repeat("#", maxFile+1), []string{"1: the file has 8388609 bytes; at most 8388608 are read. Split it, and import the parts"}},
		{"unknown key", "servces: []", []string{"1: servces: unknown key; use modules, groups, services, scripts"}},
		{"merge key", "a: &a {}\n<<: *a", []string{"1: a: unknown key; use modules, groups, services, scripts", "2: <<: unknown key; use modules, groups, services, scripts"}},
		{"duplicate key", "services: []\nservices: []", []string{"2: services: the key is there twice, first in line 1"}},
		{"complex key", "? [services]\n: []", []string{"1: a key must be a plain text"}},
		{"alias", "groups: &a [x]\nservices: *a", []string{"2: services: aliases (*a) are not read; write it out"}},
		{"endless alias", "services: &a [*a]", []string{"1: services[0]: aliases (*a) are not read; write it out", "1: services[0]: name is missing"}[:1]},
		{"tag", "groups: [!!binary eA==]", []string{"1: groups[0]: tags (!!binary) are not read; leave it out"}},
		{"list expected", "groups: x", []string{"1: groups: this must be a list"}},
		{"text expected", "groups: [[x]]", []string{"1: groups[0]: this must be a single value"}},
		{"rule expected", "services: [{name: cpu, mappings: [1]}]", []string{"1: " + m + ": this must be keys with values"}},

		{"unknown module", "modules: {magic: {enabled: true}}", []string{"1: modules.magic: unknown key; use hashmap, noop, pyscripts"}},
		{"module without a state", "modules:\n  hashmap: {priority: 1}", []string{"2: modules.hashmap: say enabled: true or enabled: false"}},
		{"module in a strange state", "modules: {hashmap: {enabled: yes, priority: 1.5}}", []string{
			`1: modules.hashmap.enabled: "yes" is neither true nor false`, `1: modules.hashmap.priority: "1.5" is not a whole number`,
		}},
		{"group twice", "groups:\n- a\n- b\n- a", []string{`4: groups[2]: "a" is there twice, first in line 2`}},
		{"empty group", "groups: ['']", []string{"1: groups[0]: this is empty"}},
		{"null group", "groups: [~]", []string{"1: groups[0]: ~ means nothing in YAML; leave the key out, or quote the text"}},
		{"NUL", `groups: ["a\tb", "a\0b"]`, []string{"1: groups[1]: the text contains a NUL character"}},
		{"long name", "groups: [" + strings.Repeat("ä", 256) + "]", []string{"1: groups[0]: the text has more than 255 characters"}},
		{"service twice", "services:\n- name: a\n- name: a", []string{`3: services[1].name: "a" is there twice, first in line 2`}},
		{"service without a name", "services: [{}]", []string{"1: services[0]: name is missing"}},
		{"field twice", "services: [{name: a, fields: [{name: f}, {name: f}]}]", []string{`1: services[0].fields[1].name: "f" is there twice, first in line 1`}},
		{"field without a name", "services: [{name: a, fields: [{mappings: [{value: x, cost: y}]}]}]", []string{
			"1: services[0].fields[0]: name is missing", `1: services[0].fields[0].mappings[0].cost: "y" is not a decimal number`,
		}},

		{"no cost", rule("type: flat"), []string{"1: " + m + ": cost is missing"}},
		{"empty cost", rule("cost: "), []string{"1: " + m + `.cost: "" is not a decimal number`}},
		{"infinite cost", rule("cost: .inf"), []string{"1: " + m + `.cost: ".inf" is not a decimal number`}},
		{"hexadecimal cost", rule("cost: 0x10"), []string{"1: " + m + `.cost: "0x10" is not a decimal number`}},
		{"digits before", rule("cost: 1000000000000"), []string{"1: " + m + ".cost: 1000000000000 has more than 12 digits before or 28 after the point"}},
		{"digits after", rule("cost: 0.00000000000000000000000000001"), []string{"1: " + m + ".cost: 0.00000000000000000000000000001 has more than 12 digits before or 28 after the point"}},
		{"endless cost", rule("cost: 1e999999999"), []string{"1: " + m + ".cost: 1e999999999 has more than 12 digits before or 28 after the point"}},
		{"unknown type", rule("cost: 1, type: Flat"), []string{"1: " + m + `.type: "Flat" is no type; use flat or rate`}},
		{"service mapping with a value", rule("cost: 1, value: x"), []string{"1: " + m + ".value: a mapping of the service itself has no value; leave it out, or put the mapping under fields"}},
		{"field mapping without one", fieldRule("cost: 1"), []string{"1: " + fm + ": value is missing"}},
		{"field mapping with an empty one", fieldRule("cost: 1, value: "), []string{"1: " + fm + ".value: this is empty"}},
		{"mapping with a level", rule("cost: 1, level: 1"), []string{"1: " + m + ".level: unknown key; use value, type, cost, group, scope, start, end, name, description"}},
		{"threshold with a value", level("cost: 1, level: 1, value: x"), []string{"1: " + th + ".value: unknown key; use level, type, cost, group, scope, start, end, name, description"}},
		{"threshold without a level", level("cost: 1"), []string{"1: " + th + ": level is missing"}},
		{"long levels", level("cost: 1, level: 0.000000001"), []string{"1: " + th + ".level: 0.000000001 has more than 12 digits before or 8 after the point"}},
		{"null scope", rule("cost: 1, scope: null"), []string{"1: " + m + ".scope: null means nothing in YAML; leave the key out, or quote the text"}},
		{"end before start", rule("cost: 1, start: 2026-11-02, end: 2026-11-01"), []string{"1: " + m + ".end: the end is not after the start"}},
		{"end on start", rule("cost: 1, start: 2026-11-02, end: 2026-11-02"), []string{"1: " + m + ".end: the end is not after the start"}},
		{"no time", rule("cost: 1, start: tomorrow"), []string{"1: " + m + `.start: "tomorrow" is no time; write it like 2026-11-21T14:00:00Z, or a day in the billing zone like 2026-11-21`}},
		{"part of a second", rule("cost: 1, start: 2026-11-21T14:00:00.5Z"), []string{"1: " + m + ".start: \"2026-11-21T14:00:00.5Z\" is no time; write it like 2026-11-21T14:00:00Z, or a day in the billing zone like 2026-11-21"}},
		{"before all time", rule("cost: 1, end: 0001-01-01T00:00:00Z"), []string{"1: " + m + ".end: 0001-01-01T00:00:00Z is too far away; leave it out for no limit"}},
		{"the same rule twice", "services:\n- name: cpu\n  thresholds:\n  - {level: 1, cost: 1}\n  - {level: 1.0, cost: 2, type: rate}", []string{"5: services[0].thresholds[1]: the same rule as in line 4: threshold of cpu, quantity ≥ 1"}},
		{"the same start, written otherwise", "services: [{name: cpu, mappings: [{cost: 1, start: 2026-11-01}, {cost: 1, start: 2026-10-31T23:00:00Z}]}]", []string{
			"1: services[0].mappings[1]: the same rule as in line 1: mapping of cpu, from 2026-10-31T23:00:00Z",
		}},
		{"all of it, in order", "services:\n- fields:\n  - name: f\n    mappings:\n    - {cost: x}\n- name: cpu\n  mappings: [{}]\nmodules: 1\n", []string{
			"2: services[0]: name is missing",
			"5: services[0].fields[0].mappings[0]: value is missing",
			`5: services[0].fields[0].mappings[0].cost: "x" is not a decimal number`,
			"7: services[1].mappings[0]: cost is missing",
			"8: modules: this must be keys with values",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, err := ParseFile("rules.yml", []byte(test.content), berlin(t))
			e, ok := errors.AsType[*fault.Error](err)
			if f != nil || !ok || e.Kind != fault.Invalid {
				t.Fatalf("got %v, %v", f, err)
			}
			var got []string
			for _, f := range e.Fields {
				got = append(got, strings.TrimPrefix(f.Name+": "+f.Message, "rules.yml:"))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if want := fmt.Sprintf("rules.yml has %d mistakes; nothing was read", len(got)); len(got) > 1 && e.Message != want {
				t.Error(e.Message)
			}
		})
	}
}

func TestVeryManyMistakes(t *testing.T) {
	_, err := ParseFile("f", []byte("groups: ["+strings.Repeat("a,", 5001)+"]"), time.UTC)
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || len(e.Fields) != 1000 || e.Message != "f has 5000 mistakes, of which 1000 are listed; nothing was read" {
		t.Errorf("%.200v", err)
	}
}

func TestExport(t *testing.T) {
	rules, _ := parse(t, example).Apply(&Rules{}, false)
	rules.Modules = append(rules.Modules, Module{"noop", true, 1})
	rules.Services = append(rules.Services, Service{ID: "x", Name: "4"}, Service{ID: "y", Name: "No"})
	const want = `modules: {hashmap: {enabled: true, priority: 1}, noop: {enabled: true, priority: 1}}
groups: [bulk]
services:
  - name: "4"
  - name: "No"
  - name: cpu
    mappings:
      - {type: flat, cost: "0.0005", group: bulk}
    thresholds:
      - {level: "100", type: rate, cost: "0.9"}
    fields:
      - name: flavor
        mappings:
          - {value: m1.tiny, type: flat, cost: "0.01", scope: p1, start: "2026-10-31T23:00:00Z", end: "2026-12-01T11:00:00Z", name: tiny, description: "what: it is"}
        thresholds:
          - {level: "8", type: flat, cost: "0.0025", group: bulk, scope: p2}
`
	var b strings.Builder
	if err := Export(&b, rules); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	slices.Reverse(rules.Hashmap)
	slices.Reverse(rules.Modules)
	slices.Reverse(rules.Services)
	var again strings.Builder
	if err := Export(&again, rules); err != nil {
		t.Fatal(err)
	}
	if again.String() != want {
		t.Error("the order of the rules matters")
	}

	b.Reset()
	if err := Export(&b, &Rules{}); err != nil || b.String() != "services: []\n" {
		t.Errorf("no rules: %q, %v", b.String(), err)
	}
	if _, err := ParseFile("f", []byte(b.String()), time.UTC); err != nil {
		t.Error(err)
	}
}

// TestAnythingIsExported: texts that look like something else to YAML, or like YAML, come back as they were.
func TestAnythingIsExported(t *testing.T) {
	odd := rapid.SampledFrom([]string{
		"null", "~", "true", "No", "y", "=", "<<", "4.0", "0x1f", "1_0", "2026-11-21", "12:30:45", ".inf", "-", "?", ":", "a: b", "a #b", "#", "*a",
		"&a", "!a", "!!str", "%", "@", "`", "'", `"`, "\\", "a,b", "[", "]", "{", "}", "a:", " a", "a ", "é", "日本", "\u2028", "\u0085", "\ufeff",
		"😀", "---", "...", "|", ">", "a\u00a0b", "_DEFAULT_",
	})
	name := rapid.OneOf(odd, rapid.StringMatching(`[^\x00]{1,20}`))
	text := rapid.OneOf(rapid.Just(""), odd, rapid.StringMatching(`[^\x00]{0,30}`))
	optional := rapid.OneOf(rapid.Just(""), name)
	rapid.Check(t, func(t *rapid.T) {
		rules := &Rules{Modules: []Module{{"hashmap", rapid.Bool().Draw(t, "enabled"), rapid.IntRange(-9, 9).Draw(t, "priority")}}}
		seen := map[identity]bool{}
		groups := map[string]bool{}
		for _, service := range rapid.SliceOfNDistinct(name, 1, 3, rapid.ID).Draw(t, "services") {
			s := Service{ID: "s", Name: service}
			for _, field := range rapid.SliceOfNDistinct(name, 0, 3, rapid.ID).Draw(t, "fields") {
				s.Fields = append(s.Fields, Field{ID: "f", Name: field})
			}
			rules.Services = append(rules.Services, s)
			for _, r := range drawRules(t) {
				r.Service, r.Field = service, ""
				if len(s.Fields) > 0 && rapid.Bool().Draw(t, "of a field") {
					r.Field = rapid.SampledFrom(s.Fields).Draw(t, "field").Name
				}
				r.Value = ""
				if r.Kind == Mapping && r.Field != "" {
					r.Value = name.Draw(t, "value")
				}
				r.Group, r.Scope, r.Name = optional.Draw(t, "group"), optional.Draw(t, "scope"), optional.Draw(t, "name")
				r.Description = text.Draw(t, "description")
				if !r.End.IsZero() && !r.End.After(r.Start) || seen[r.identity()] {
					continue
				}
				seen[r.identity()] = true
				if r.Group != "" && !groups[r.Group] {
					groups[r.Group] = true
					rules.Groups = append(rules.Groups, Group{ID: "g", Name: r.Group})
				}
				rules.Hashmap = append(rules.Hashmap, r)
			}
		}
		var b strings.Builder
		if err := Export(&b, rules); err != nil {
			t.Fatal(err)
		}
		f, err := ParseFile("export.yml", []byte(b.String()), time.UTC)
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		back, diff := f.Apply(rules, true)
		if !diff.Empty() || len(diff.Kept) > 0 {
			t.Fatalf("%s\n%s", diff, b.String())
		}
		if d := cmp.Diff(rules, back, cmp.Comparer(money.Decimal.Equal)); d != "" {
			t.Fatal(d)
		}
	})
}

func TestExportFails(t *testing.T) {
	rules, _ := parse(t, example).Apply(&Rules{}, false)
	if err := Export(full{}, rules); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}

type full struct{}

var errFull = errors.New("disk full")

func (full) Write([]byte) (int, error) { return 0, errFull }

// FuzzParseFile: whatever is read is written and read back the same, and whatever is not read says why and where.
func FuzzParseFile(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("groups: [\"a b\", \"\\u2028\", ':', \"#\", '-', \"é\", \"y\", a:b, \"a: b\"]\n"))
	f.Add([]byte("services: [{name: \"'\", fields: [{name: '4', mappings: [{value: \"\\n\\t x\", cost: -1e-9, description: \"a\\n\\nb \"}]}]}]"))
	f.Add([]byte("services: &a [*a, !!str x, ? y : z]\n---\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := ParseFile("rules.yml", content, time.UTC)
		if err != nil {
			e, ok := errors.AsType[*fault.Error](err)
			if !ok || e.Kind != fault.Invalid || len(e.Fields) == 0 {
				t.Fatalf("error %#v", err)
			}
			for _, field := range e.Fields {
				if !strings.HasPrefix(field.Name, "rules.yml:") || field.Message == "" {
					t.Fatalf("field %q", field)
				}
			}
			return
		}
		rules, _ := file.Apply(&Rules{}, false)
		if _, again := file.Apply(rules, true); !again.Empty() {
			t.Fatalf("importing it again: %s", again)
		}
		if _, err := Compile(rules, time.UTC); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := Export(&b, rules); err != nil {
			t.Fatal(err)
		}
		back, err := ParseFile("export.yml", []byte(b.String()), time.UTC)
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		if _, diff := back.Apply(rules, true); !diff.Empty() || len(diff.Kept) > 0 {
			t.Fatalf("export and import: %s\n%s", diff, b.String())
		}
	})
}
