package rating

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ratebook/money"
)

func adoptID(n string) string { return "22222222-0000-4000-8000-0000000000" + n }

func TestAdopt(t *testing.T) {
	november, december := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	flat := func(id, service, field, value, group string) Rule {
		return Rule{ID: adoptID(id), Kind: Mapping, Service: service, Field: field, Value: value, Type: Flat, Cost: money.New(1, 0), Group: group}
	}
	own := flat("50", "cpu", "", "", "")
	r := &Rules{
		Version: 3, Modules: DefaultModules(),
		Groups:   []Group{{adoptID("01"), "here"}, {adoptID("02"), "both"}},
		Services: []Service{{adoptID("10"), "cpu", []Field{{adoptID("20"), "flavor"}}}},
		Hashmap:  []Rule{own},
		Scripts:  []Script{{ID: adoptID("60"), Name: "one", Data: "import x"}, {ID: adoptID("61"), Name: "two"}},
	}
	before := r.Clone()
	later := flat("40", "cpu", "", "", "")
	later.Start = november
	dear := flat("41", "cpu", "", "", "new")
	dear.Cost = money.MustParse("1e13")
	ended := flat("42", "cpu", "", "", "new")
	ended.Start, ended.End = december, november
	level := Rule{ID: adoptID("43"), Kind: Threshold, Service: "ram", Level: money.New(5, 0), Type: Rate, Cost: money.New(9, 1), Scope: "p1"}
	other := &Rules{
		Modules: []Module{{"hashmap", false, 1}, {"noop", true, 1}, {scriptsModule, true, 5}, {"acme", true, 1}},
		Groups:  []Group{{adoptID("01"), "there"}, {adoptID("03"), "both"}, {adoptID("04"), "new"}, {"05", "no id"}},
		Services: []Service{
			{adoptID("11"), "cpu", []Field{{adoptID("21"), "flavor"}, {adoptID("22"), "region"}}},
			{adoptID("12"), "ram", []Field{{adoptID("23"), ""}}},
			{adoptID("13"), strings.Repeat("x", maxText+1), nil},
		},
		Hashmap: []Rule{
			own, later, dear, ended, level,
			flat("44", "cpu", "flavor", "tiny", "there"), flat("45", "cpu", "region", "", ""), flat("46", "cpu", "region", "x", "no id"),
			flat("47", "ram", "", "a", ""), flat("48", "gone", "", "", ""), flat("49", "ram", "", "", ""),
			{ID: adoptID("51"), Kind: Mapping, Service: "cpu", Type: Flat}, // the same as own
			{ID: "52", Kind: Mapping, Service: "ram", Type: Flat},
			flat("53", "ram", "nowhere", "v", ""), flat("54", "ram", "", "", "both"),
			{ID: adoptID("55"), Kind: Mapping, Service: "ram", Type: "other", Group: "new"},
		},
		Scripts: []Script{
			{ID: adoptID("60"), Name: "one", Data: "changed"},
			{ID: adoptID("62"), Name: "two"},
			{ID: adoptID("63"), Name: "three", Data: "data = data\n"},
			{ID: adoptID("64"), Name: "deleted"},
			{ID: adoptID("65"), Name: ""},
		},
	}
	next, done := r.Adopt(other, map[string]bool{adoptID("49"): true, adoptID("64"): true})
	if diff := cmp.Diff(before, r); diff != "" {
		t.Errorf("the rules themselves changed:\n%s", diff)
	}
	want := before.Clone()
	want.Groups = append(want.Groups, Group{adoptID("04"), "new"})
	want.Services[0].Fields = append(want.Services[0].Fields, Field{adoptID("22"), "region"})
	want.Services = append(want.Services, Service{ID: adoptID("12"), Name: "ram"})
	want.Hashmap = append(want.Hashmap, later, level, flat("44", "cpu", "flavor", "tiny", "here"), flat("54", "ram", "", "", "both"))
	want.Scripts = append(want.Scripts, Script{ID: adoptID("63"), Name: "three", Data: "data = data\n"})
	if diff := cmp.Diff(want, next); diff != "" {
		t.Errorf("- want, + got:\n%s", diff)
	}
	var refused []string
	for _, r := range done.Refused {
		refused = append(refused, r.Kind+"|"+r.Subject+"|"+r.Reason)
	}
	for i, want := range []string{
		"module|module acme|Ratebook has no such module",
		"group|group both|its id " + adoptID("03") + ": there is one of that name here, with the id " + adoptID("02"),
		`group|group "no id"|its id "05" is no UUID`,
		"service|service cpu|its id",
		"field|field flavor of cpu|its id",
		`field|field "" of ram|name: this is empty`,
		`service|service "xxx`,
		"mapping|mapping of cpu, group new: flat 10000000000000 (" + adoptID("41") + ")|cost: ",
		"mapping|mapping of cpu, group new, from 2026-12-01T00:00:00Z: flat 1, until 2026-11-01T00:00:00Z (" + adoptID("42") + ")|end: the end is not after the start",
		"mapping|mapping of cpu, region = \"\": flat 1 (" + adoptID("45") + ")|value: ",
		"mapping|mapping of cpu, region = x, group \"no id\": flat 1 (" + adoptID("46") + ")|its group did not come over",
		"mapping|mapping of ram: flat 1 (" + adoptID("47") + ")|value: ",
		"mapping|mapping of gone: flat 1 (" + adoptID("48") + ")|its service did not come over",
		"mapping|mapping of cpu: flat 0 (" + adoptID("51") + ")|there is the same one already, with the id " + adoptID("50"),
		"mapping|mapping of ram: flat 0 (52)|its id \"52\" is no UUID",
		"mapping|mapping of ram, nowhere = v: flat 1 (" + adoptID("53") + ")|its field did not come over",
		"mapping|mapping of ram, group new: other 0 (" + adoptID("55") + ")|type: ",
		"script|script one|it is stored, but never runs, since it does not compile: ",
		"script|script two|there is another script of that name, with the id " + adoptID("61"),
		`script|script ""|name: this is empty`,
	} {
		if i >= len(refused) || !strings.HasPrefix(refused[i], want) {
			t.Errorf("refusal %d is not %q: %q", i, want, refused)
			break
		}
	}
	if len(refused) != 20 {
		t.Errorf("%d refusals", len(refused))
	}
	if len(done.Notes) != 1 || !strings.HasSuffix(done.Notes[0], "("+adoptID("40")+"): the mapping of cpu: flat 1 is valid at the same time; the one that started last counts") {
		t.Errorf("notes %q", done.Notes)
	}
	if diff := cmp.Diff(map[string]int{"group": 1, "service": 1, "field": 1, "mapping": 3, "threshold": 1, "script": 1}, done.Added); diff != "" {
		t.Errorf("added:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"module": 3, "group": 2, "service": 1, "field": 1, "mapping": 2, "script": 2}, done.Known); diff != "" {
		t.Errorf("known:\n%s", diff)
	}

	again, done := next.Adopt(other, map[string]bool{adoptID("49"): true, adoptID("64"): true})
	if diff := cmp.Diff(next, again); diff != "" || len(done.Added) > 0 {
		t.Errorf("a second time %v:\n%s", done.Added, diff)
	}
}

// TestAdoptModules disables a module only where nothing of one's own depends on it.
func TestAdoptModules(t *testing.T) {
	theirs := Rule{ID: adoptID("40"), Kind: Mapping, Service: "cpu", Type: Flat}
	other := &Rules{Modules: []Module{{"hashmap", false, 1}}, Services: []Service{{ID: adoptID("10"), Name: "cpu"}}, Hashmap: []Rule{theirs}}
	fresh := &Rules{Modules: DefaultModules()}
	next, done := fresh.Adopt(other, nil)
	if next.Modules[0] != other.Modules[0] || done.Added["module"] != 1 {
		t.Errorf("a new database: %v, %v", next.Modules, done)
	}
	next.Modules[0].Enabled = true // which is as in a new database, but somebody wants it so
	if next, _ = next.Adopt(other, nil); !next.Modules[0].Enabled {
		t.Error("a second time it is disabled again")
	}
	priced, _, err := fresh.Add(Rule{Kind: Mapping, Service: "ram", Type: Flat})
	if err != nil {
		t.Fatal(err)
	}
	next, done = priced.Adopt(other, nil)
	if !next.Modules[0].Enabled || len(done.Refused) != 1 || !strings.Contains(done.Refused[0].Reason, "stays enabled") {
		t.Errorf("prices of one's own: %v, %v", next.Modules, done)
	}
}
