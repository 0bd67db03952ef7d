package rating

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ratebook/fault"
	"ratebook/money"
)

func TestCatalogEdits(t *testing.T) {
	t.Parallel()
	must := func(next *Rules, err error) *Rules {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	r, cpu, err := (&Rules{Version: 2, Modules: DefaultModules()}).AddService("cpu")
	must(r, err)
	r, flavor, err := r.AddField(cpu, "flavor")
	must(r, err)
	r, bulk, err := r.AddGroup("bulk")
	must(r, err)
	for what, c := range map[string]caught{
		"service": both(r.AddService("cpu"))(cpu, fault.Conflict), "field": both(r.AddField(cpu, "flavor"))(flavor, fault.Conflict),
		"group": both(r.AddGroup("bulk"))(bulk, fault.Conflict), "field of nothing": both(r.AddField("x", "flavor"))("", fault.NotFound),
		"no name": both(r.AddService(""))("", fault.Invalid), "NUL": both(r.AddGroup("a\x00"))("", fault.Invalid),
		"long": both(r.AddField(cpu, strings.Repeat("é", 256)))("", fault.Invalid),
	} {
		if fault.KindOf(c.err) != c.kind || c.id != c.want || fieldsOf(c.err) != "name" && c.kind != fault.NotFound {
			t.Errorf("%s: %q, %v", what, c.id, c.err)
		}
	}
	one := medium("1", time.Time{}, time.Time{})
	one.Group = "bulk"
	r, grouped, err := r.Add(one)
	must(r, err)
	r, _, err = r.Add(Rule{Kind: Mapping, Service: "cpu", Type: Flat})
	must(r, err)

	if next := must(r.RemoveField(flavor)); len(next.Hashmap) != 1 || len(next.Services[0].Fields) != 0 || len(r.Services[0].Fields) != 1 {
		t.Errorf("without the field: %+v", next)
	}
	if next := must(r.RemoveService(cpu)); len(next.Hashmap) != 0 || len(next.Services) != 0 || len(next.Groups) != 1 {
		t.Errorf("without the service: %+v", next)
	}
	if next := must(r.RemoveGroup(bulk, true)); len(next.Hashmap) != 1 || len(next.Groups) != 0 {
		t.Errorf("without the group and its rules: %+v", next)
	}
	next := must(r.RemoveGroup(bulk, false))
	if rule, err := next.Rule(grouped); err != nil || rule.Group != "" || len(next.Groups) != 0 {
		t.Errorf("without the group: %+v, %v", next, err)
	}
	if rule, err := r.Rule(grouped); err != nil || rule.Group != "bulk" {
		t.Errorf("the edited rules: %+v, %v", rule, err)
	}
	beside, _, err := r.Add(medium("2", time.Time{}, time.Time{}))
	must(beside, err)
	if _, err := beside.RemoveGroup(bulk, false); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "group bulk: flat 1") || !strings.Contains(err.Error(), "flat 2") {
		t.Errorf("two rules at once: %v", err)
	}

	off, seven, tooMuch := false, 7, 1<<31
	next = must(r.SetModule("noop", &off, &seven))
	if got := Changes(r, next); !slices.Equal(got, []string{"~ module noop: disabled, priority 7 (was: module noop: enabled, priority 1)"}) {
		t.Errorf("%q", got)
	}
	if got := Changes(next, must(next.SetModule("noop", nil, nil))); len(got) != 0 {
		t.Errorf("%q", got)
	}
	for what, err := range map[string]error{
		"service": second(r.RemoveService("x")), "field": second(r.RemoveField("x")), "group": second(r.RemoveGroup("x", true)),
		"module": second(r.SetModule("magic", &off, nil)), "script": second(r.RemoveScript("x")),
		"the service": second(r.Service("x")), "the group": second(r.Group("x")), "the field": third(r.Field("x")),
	} {
		if fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := r.SetModule("noop", nil, &tooMuch); fieldsOf(err) != "priority" {
		t.Error(err)
	}
}

// caught is what an edit that was refused came with.
type caught struct {
	id   string
	err  error
	want string
	kind fault.Kind
}

func both(_ *Rules, id string, err error) func(want string, kind fault.Kind) caught {
	return func(want string, kind fault.Kind) caught { return caught{id, err, want, kind} }
}

func TestScriptEdits(t *testing.T) {
	t.Parallel()
	zone := berlin(t)
	none := &Rules{}
	one, id, err := none.AddScript(Script{Name: "half", Data: "a\nb\nc\n", Start: day("2026-11-01").In(zone)})
	if err != nil || len(none.Scripts) != 0 {
		t.Fatal(err)
	}
	if s, err := one.Script(id); err != nil || s.Start.Location() != time.UTC {
		t.Errorf("%+v, %v", s, err)
	}
	if _, other, err := one.AddScript(Script{Name: "half"}); fault.KindOf(err) != fault.Conflict || other != id {
		t.Errorf("%q, %v", other, err)
	}
	two, another, err := one.AddScript(Script{Name: "é none", Data: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.ReplaceScript(another, Script{Name: "half"}); fault.KindOf(err) != fault.Conflict {
		t.Error(err)
	}
	if _, err := two.ReplaceScript("x", Script{Name: "half"}); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	for _, c := range []struct {
		script Script
		want   string
	}{
		{Script{}, "name"},
		{Script{Name: "a\x00", Data: "\xff", Description: strings.Repeat("x", 4097)}, "name data description"},
		{Script{Name: "a", Data: strings.Repeat("é", 1<<20+1)}, "data"},
		{Script{Name: "a", Start: day("2026-11-02"), End: day("2026-11-02")}, "end"},
		{Script{Name: "a", Start: day("2026-11-02").Add(1), End: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, "start end"},
		{Script{Name: strings.Repeat("é", 255), Data: strings.Repeat("é", 1<<20), End: day("2026-11-02")}, ""},
	} {
		if _, _, err := one.AddScript(c.script); fieldsOf(err) != c.want || c.want == "" && err != nil {
			t.Errorf("%.20q: %q is wrong, want %q", c.script.Name, fieldsOf(err), c.want)
		}
	}
	changed := func(script Script) string {
		t.Helper()
		next, err := two.ReplaceScript(id, script)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Join(Changes(two, next), "\n")
		old, err := two.Script(id)
		if err != nil {
			t.Fatal(err)
		}
		if now, err := next.Script(id); err != nil || lines != "" && (!old.ConcernedBy(lines) || !now.ConcernedBy(lines)) {
			t.Errorf("not concerned: %s", lines)
		}
		return lines
	}
	start := day("2026-11-01")
	for want, script := range map[string]Script{
		"":                              {Name: "half", Data: "a\nb\nc\n", Start: start},
		"~ script half: line 2 changed": {Name: "half", Data: "a\nB\nc\n", Start: start},
		"~ script half: lines 2 to 3 changed, description none → \"d\"":                                                 {Name: "half", Data: "a\nB\nd\nc\n", Start: start, Description: "d"},
		"~ script half: line 4 added, start 2026-11-01T00:00:00Z → none, end none → 2026-11-02T00:00:00Z":               {Name: "half", Data: "a\nb\nc\nd", End: day("2026-11-02")},
		"~ script half: lines 1 to 2 deleted":                                                                           {Name: "half", Data: "c\n", Start: start},
		"~ script half: lines 1 to 3 deleted":                                                                           {Name: "half", Start: start},
		fmt.Sprintf("~ %s → script third: 0 lines, checksum cf83e1357eef…, from 2026-11-01T00:00:00Z", &two.Scripts[0]): {Name: "third", Start: start},
	} {
		if got := changed(script); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	three, err := two.RemoveScript(id)
	if err != nil {
		t.Fatal(err)
	}
	sum := (&Script{Data: "x"}).Checksum()[:12]
	if got := strings.Join(Changes(three, none), ""); got != `- script "é none": 1 line, checksum `+sum+"…" {
		t.Error(got)
	}
	if two.Scripts[1].ConcernedBy(strings.Join(Changes(two, three), "\n")) {
		t.Error("another script is concerned")
	}
}

const exampleScripts = `services: []
scripts:
  - name: "a b"
    start: "2026-10-31T23:00:00Z"
    end: "2026-11-30T23:00:00Z"
    description: "what: it is"
    data: |
      for t in data["usage"]:
      	print('é')  # 50 %

      x = 1
  - name: none
    data: ""
  - name: odd
    data: "  x\n"
`

func TestScriptsInFiles(t *testing.T) {
	file := parse(t, exampleScripts)
	current := &Rules{Version: 3, Scripts: []Script{
		{ID: "1", Name: "a b", Data: "for t in data[\"usage\"]:\n"}, {ID: "2", Name: "odd", Data: "  x\n"}, {ID: "3", Name: "other", Data: "y"},
	}}
	next, diff := file.Apply(current, false)
	want := "a b, none, odd, other"
	names := func(r *Rules) string {
		var names []string
		for _, s := range r.Scripts {
			names = append(names, s.Name)
		}
		slices.Sort(names)
		return strings.Join(names, ", ")
	}
	if names(next) != want || next.Scripts[0].ID != "1" || next.Scripts[0].Description != "what: it is" {
		t.Errorf("%s: %+v", names(next), next.Scripts)
	}
	lines := fmt.Sprint(diff.Added, diff.Changed, diff.Removed, diff.Kept, diff.Same)
	if !strings.HasPrefix(lines, "[script none: 0 lines, checksum cf83e1357eef…] [script \"a b\": lines 2 to 4 added, start none → 2026-10-31T23:00:00Z, ") ||
		!strings.Contains(lines, "[script other: 1 line") || diff.Same != 1 {
		t.Error(lines)
	}
	if next, diff := file.Apply(current, true); names(next) != "a b, none, odd" || len(diff.Removed) != 1 {
		t.Errorf("%s: %s", names(next), diff)
	}
	var b strings.Builder
	all, _ := file.Apply(&Rules{}, false)
	if err := Export(&b, all); err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff(exampleScripts, strings.ReplaceAll(b.String(), `name: "none"`, "name: none")); d != "" {
		t.Error(d)
	}
	_, err := ParseFile("rules.yml", []byte("scripts:\n- {name: a, data: x, end: 2026-11-01, start: 2026-11-02}\n- {name: a, data: }\n- {data: \"\"}\n- 1\n- {name: b, data: [x], text: y}"), time.UTC)
	if want := "rules.yml:2: scripts[0].end rules.yml:3: scripts[1].name rules.yml:3: scripts[1] rules.yml:4: scripts[2] " +
		"rules.yml:5: scripts[3] rules.yml:6: scripts[4].text rules.yml:6: scripts[4].data"; fieldsOf(err) != want {
		t.Errorf("got  %s\nwant %s", fieldsOf(err), want)
	}
}

// TestAnyScriptIsExported: whatever the text of a script is, it comes back as it was.
func TestAnyScriptIsExported(t *testing.T) {
	line := rapid.OneOf(rapid.SampledFrom([]string{"", " ", "\t", "x = 1", "  y", "é\u0085", "\ufeff", "a ", "# 😀", "\r", "---", "...", "\u2028", "%", "- x: 'y'"}), rapid.StringMatching(`[^\x00]{0,9}`))
	rapid.Check(t, func(t *rapid.T) {
		data := strings.Join(rapid.SliceOfN(line, 0, 6).Draw(t, "lines"), "\n")
		if rapid.Bool().Draw(t, "ends") {
			data += "\n"
		}
		rules := &Rules{Scripts: []Script{{ID: "s", Name: "x", Data: data}}}
		var b strings.Builder
		if err := Export(&b, rules); err != nil {
			t.Fatal(err)
		}
		f, err := ParseFile("export.yml", []byte(b.String()), time.UTC)
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		if back, diff := f.Apply(rules, true); !diff.Empty() || back.Scripts[0] != rules.Scripts[0] {
			t.Fatalf("%q became %q:\n%s", data, back.Scripts[0].Data, b.String())
		}
	})
}

// TestAnyEditsOfAll: whatever is edited, ids stay what they are, no two things have one, what a rule names is there, and what
// changed is what Changes and ChangedRules say.
func TestAnyEditsOfAll(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"a", "b", "c", ""})
		group := rapid.SampledFrom([]string{"", "a", "b"})
		r := &Rules{Version: 3, Modules: DefaultModules()}
		for range rapid.IntRange(1, 25).Draw(t, "edits") {
			before, next, err := whole(r), (*Rules)(nil), error(nil)
			switch rapid.IntRange(0, 11).Draw(t, "edit") {
			case 0:
				next, _, err = r.AddService(name.Draw(t, "service"))
			case 1:
				next, _, err = r.AddField(anyOf(t, r.Services, func(s Service) string { return s.ID }), name.Draw(t, "field"))
			case 2:
				next, _, err = r.AddGroup(name.Draw(t, "group"))
			case 3:
				next, err = r.RemoveService(anyOf(t, r.Services, func(s Service) string { return s.ID }))
			case 4:
				var fields []Field
				for _, s := range r.Services {
					fields = append(fields, s.Fields...)
				}
				next, err = r.RemoveField(anyOf(t, fields, func(f Field) string { return f.ID }))
			case 5:
				next, err = r.RemoveGroup(anyOf(t, r.Groups, func(g Group) string { return g.ID }), rapid.Bool().Draw(t, "recursive"))
			case 6:
				next, _, err = r.AddScript(Script{Name: name.Draw(t, "script"), Data: name.Draw(t, "data")})
			case 7:
				next, err = r.ReplaceScript(anyOf(t, r.Scripts, func(s Script) string { return s.ID }), Script{Name: name.Draw(t, "script"), Data: name.Draw(t, "data")})
			case 8:
				next, err = r.RemoveScript(anyOf(t, r.Scripts, func(s Script) string { return s.ID }))
			case 9, 10:
				field := name.Draw(t, "field")
				next, _, err = r.Add(Rule{
					Kind: Mapping, Service: name.Draw(t, "service"), Field: field, Value: field, Type: Flat, Group: group.Draw(t, "group"),
					Cost: money.New(rapid.Int64Range(0, 3).Draw(t, "cost"), 0), Start: day("2026-11-01").AddDate(0, 0, rapid.IntRange(0, 3).Draw(t, "start")),
				})
			case 11:
				next, err = r.End(anyOf(t, r.Hashmap, func(r Rule) string { return r.ID }), day("2026-11-01").AddDate(0, 0, rapid.IntRange(0, 3).Draw(t, "end")))
			}
			if whole(r) != before {
				t.Fatal("an edit changed the rules it was made from")
			}
			if err != nil {
				if kind := fault.KindOf(err); kind == fault.Internal {
					t.Fatal(err)
				}
				continue
			}
			sound(t, r, next)
			r = next
		}
	})
}

func anyOf[T any](t *rapid.T, all []T, id func(T) string) string {
	if len(all) == 0 {
		return "none"
	}
	return id(rapid.SampledFrom(all).Draw(t, "one"))
}

func whole(r *Rules) string { return fmt.Sprintf("%+v", *r) }

// sound fails unless what follows other rules is as it should be.
func sound(t *rapid.T, before, after *Rules) {
	kinds := func(r *Rules) map[string]string {
		all := map[string]string{}
		add := func(id, what string) {
			if id == "" || all[id] != "" {
				t.Fatalf("%s has the id %q of %s", what, id, all[id])
			}
			all[id] = what
		}
		for _, s := range r.Services {
			add(s.ID, "service "+s.Name)
			for _, f := range s.Fields {
				add(f.ID, "field "+f.Name+" of "+s.Name)
			}
		}
		for _, g := range r.Groups {
			add(g.ID, "group "+g.Name)
		}
		for _, s := range r.Scripts {
			add(s.ID, "script")
		}
		for _, rule := range r.Hashmap {
			add(rule.ID, "rule")
		}
		return all
	}
	was, is := kinds(before), kinds(after)
	for id, what := range is {
		if was[id] != "" && was[id] != what {
			t.Fatalf("%s became %s", was[id], what)
		}
	}
	names := slices.Collect(maps.Values(is))
	for _, rule := range after.Hashmap {
		for _, what := range []string{"service " + rule.Service, "group " + rule.Group, "field " + rule.Field + " of " + rule.Service} {
			if what != "group " && !strings.HasPrefix(what, "field  ") && !slices.Contains(names, what) {
				t.Fatalf("a rule names the %s, which isn't there", what)
			}
		}
		if after.clash(nil, &rule) != nil {
			t.Fatalf("rules overlap: %+v", after.Hashmap)
		}
	}
	var want []string
	rules := map[string]Rule{}
	for _, rule := range before.Hashmap {
		rules[rule.ID] = rule
	}
	for _, rule := range after.Hashmap {
		if old, known := rules[rule.ID]; !known || old != rule {
			want = append(want, rule.ID)
		}
		delete(rules, rule.ID)
	}
	for id := range rules {
		want = append(want, id)
	}
	var got []string
	for _, c := range ChangedRules(before, after) {
		got = append(got, cmp.Or(c.After, c.Before).ID)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("changed are %q, want %q", got, want)
	}
	if len(Changes(before, after)) == 0 && whole(before) != whole(after) {
		t.Fatalf("a change that nobody sees: %s\n%s", whole(before), whole(after))
	}
}
