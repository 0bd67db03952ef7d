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
	"ratebook/period"
)

func TestForm(t *testing.T) {
	t.Parallel()
	good := Form{Kind: "mapping", Service: "cpu", Field: "flavor", Value: "m1.medium", Type: "flat", Cost: "0.035"}
	with := func(change func(f *Form)) Form {
		f := good
		change(&f)
		return f
	}
	threshold := func(f *Form) { f.Kind, f.Value, f.Level = "threshold", "", "8" }
	long := strings.Repeat("é", 256)
	for _, c := range []struct {
		name string
		form Form
		want string // the fields with something wrong
	}{
		{"mapping", good, ""},
		{"longest name", with(func(f *Form) { f.Name = long[:510] }), ""},
		{"of every point", with(func(f *Form) { f.Field, f.Value = "", "" }), ""},
		{"threshold", with(threshold), ""},
		{"threshold of the quantity", with(func(f *Form) { threshold(f); f.Field = "" }), ""},
		{"negative", with(func(f *Form) { f.Cost = "-1e-28" }), ""},
		{"empty", Form{}, "kind service cost"},
		{"no kind", with(func(f *Form) { f.Kind = "thing" }), "kind"},
		{"no metric", with(func(f *Form) { f.Service = "" }), "service"},
		{"NUL", with(func(f *Form) { f.Service = "a\x00" }), "service"},
		{"no UTF-8", with(func(f *Form) { f.Field = "\xff" }), "field"},
		{"value without attribute", with(func(f *Form) { f.Field = "" }), "value"},
		{"attribute without value", with(func(f *Form) { f.Value = "" }), "value"},
		{"value of a threshold", with(func(f *Form) { threshold(f); f.Value = "x" }), "value"},
		{"threshold without level", with(func(f *Form) { threshold(f); f.Level = "" }), "level"},
		{"level no number", with(func(f *Form) { threshold(f); f.Level = "8 GB" }), "level"},
		{"level of 9 decimals", with(func(f *Form) { threshold(f); f.Level = "0.000000001" }), "level"},
		{"mapping with a level", with(func(f *Form) { f.Level = "1" }), "level"},
		{"type", with(func(f *Form) { f.Type = "free" }), "type"},
		{"no cost", with(func(f *Form) { f.Cost = "" }), "cost"},
		{"a comma", with(func(f *Form) { f.Cost = "0,035" }), "cost"},
		{"13 digits", with(func(f *Form) { f.Cost = "1000000000000" }), "cost"},
		{"29 decimals", with(func(f *Form) { f.Cost = "1e-29" }), "cost"},
		{"out of range", with(func(f *Form) { f.Cost = "1e999999" }), "cost"},
		{"long", with(func(f *Form) { f.Value, f.Group, f.Scope, f.Name = long, long, long, long }), "value group scope name"},
		{"description", with(func(f *Form) { f.Description = strings.Repeat("x", 4097) }), "description"},
		{"start", with(func(f *Form) { f.Start = "tomorrow" }), "start"},
		{"too far", with(func(f *Form) { f.Start, f.End = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00" }), "start end"},
		{"end before start", with(func(f *Form) { f.Start, f.End = "2026-11-21", "2026-11-20" }), "end"},
		{"end at start", with(func(f *Form) { f.Start, f.End = "2026-11-21", "2026-11-21T00:00" }), "end"},
		{"all at once", Form{Kind: "mapping", Level: "x", Type: "x", Cost: "x", Start: "x", End: "x"}, "service level type cost start end"},
	} {
		r, err := c.form.Rule(time.UTC)
		if got := fieldsOf(err); got != c.want {
			t.Errorf("%s: %q is wrong, want %q (%v)", c.name, got, c.want, err)
		}
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		// What the form takes, a file does; and the form of the rule is the rule.
		if _, _, err := (&Rules{}).Add(r); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		back, err := FormOf(&r, time.UTC).Rule(time.UTC)
		if d := cmp.Diff(r, back, cmp.Comparer(money.Decimal.Equal)); err != nil || d != "" {
			t.Errorf("%s: %v %s", c.name, err, d)
		}
	}
}

func fieldsOf(err error) string {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return ""
	}
	var names []string
	for _, f := range e.Fields {
		names = append(names, f.Name)
	}
	return strings.Join(names, " ")
}

func TestParseTimeOfAForm(t *testing.T) {
	t.Parallel()
	zone := berlin(t)
	for _, c := range []struct{ in, want, text string }{
		{"1970-01-01", "1969-12-31T23:00:00Z", "1970-01-01T00:00"},
		{"9998-12-31", "9998-12-30T23:00:00Z", "9998-12-31T00:00"},
		{"2026-11-22T00:00", "2026-11-21T23:00:00Z", "2026-11-22T00:00"},
		{"2026-11-22", "2026-11-21T23:00:00Z", "2026-11-22T00:00"},
		{"2026-11-22T14:05:30", "2026-11-22T13:05:30Z", "2026-11-22T14:05:30"},
		{"2026-11-22T14:00:00+05:30", "2026-11-22T08:30:00Z", "2026-11-22T09:30"},
		{"2026-03-29T02:30", "2026-03-29T01:00:00Z", "2026-03-29T03:00"},                   // jumped over
		{"2026-10-25T02:30", "2026-10-25T00:30:00Z", "2026-10-25T02:30"},                   // the first of two
		{"2026-10-25T02:30:00+01:00", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00+01:00"}, // the second
	} {
		got, err := ParseTime(c.in, zone)
		if err != nil || period.Format(got, time.UTC) != c.want {
			t.Errorf("%s: %v, %v; want %s", c.in, got, err, c.want)
		}
		if text := FormatTime(got, zone); text != c.text {
			t.Errorf("%s is written %s, want %s", c.in, text, c.text)
		}
	}
	for _, in := range []string{
		" ", "now", "2026-11-22T24:01", "2026-11-22 14:00", "22.11.2026", "2026-11-22T14:00:00.5", strings.Repeat("9", 1000),
		"0001-01-01", "0001-01-01T00:00:00Z", "1969-12-31T23:59", "9999-01-01", "9998-12-31T23:00:00Z",
	} {
		if got, err := ParseTime(in, zone); err == nil || len(err.Error()) > 300 {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	if got, err := ParseTime("", zone); err != nil || !got.IsZero() || FormatTime(got, zone) != "" {
		t.Errorf("no time: %v, %v", got, err)
	}
}

func medium(cost string, start, end time.Time) Rule {
	return Rule{Kind: Mapping, Service: "cpu", Field: "flavor", Value: "m1", Type: Flat, Cost: money.MustParse(cost), Start: start, End: end}
}

func lines(r *Rules) string {
	rules := slices.Clone(r.Hashmap)
	slices.SortFunc(rules, func(a, b Rule) int { return a.Start.Compare(b.Start) })
	var b strings.Builder
	for i := range rules {
		fmt.Fprintln(&b, rules[i].String())
	}
	return b.String()
}

func TestEdits(t *testing.T) {
	t.Parallel()
	empty := &Rules{Version: 7, Modules: []Module{{"hashmap", true, 1}}}
	one, id, err := empty.Add(medium("0.035", time.Time{}, time.Time{}))
	if err != nil || one.Version != 7 || len(empty.Services) != 0 {
		t.Fatalf("%v %+v", err, one)
	}
	wantKind := func(what string, err error, kind fault.Kind, field string) {
		t.Helper()
		if err == nil || fault.KindOf(err) != kind || fieldsOf(err) != field {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, _, err = one.Add(medium("9", day("2026-11-03"), time.Time{}))
	wantKind("beside it", err, fault.Conflict, "start")
	if !strings.Contains(err.Error(), "mapping of cpu, flavor = m1: flat 0.035") {
		t.Error(err)
	}
	other := medium("9", day("2026-11-03"), time.Time{})
	if o := one.Overlapping(&other); o == nil || o.ID != id {
		t.Errorf("overlaps %v", o)
	}
	_, _, err = one.ChangeFrom(id, time.Time{}, medium("0.04", time.Time{}, time.Time{}))
	wantKind("no time", err, fault.Invalid, "start")
	two, successor, err := one.ChangeFrom(id, day("2026-11-22"), Rule{Type: Rate, Cost: money.MustParse("1.5"), Name: "dearer"})
	if err != nil {
		t.Fatal(err)
	}
	want := "mapping of cpu, flavor = m1: flat 0.035, until 2026-11-22T00:00:00Z\n" +
		"mapping of cpu, flavor = m1, from 2026-11-22T00:00:00Z: rate 1.5, name dearer\n"
	if got := lines(two); got != want || lines(one) == got {
		t.Errorf("got %s", got)
	}
	_, _, err = two.ChangeFrom(id, day("2026-11-22"), Rule{Type: Flat})
	wantKind("after its end", err, fault.Invalid, "start")
	_, _, err = two.ChangeFrom(successor, day("2026-11-22"), Rule{Type: Flat})
	wantKind("at its start", err, fault.Invalid, "start")
	_, _, err = two.ChangeFrom(successor, day("2026-11-21"), Rule{Type: Flat})
	wantKind("before its start", err, fault.Invalid, "start")
	_, _, err = two.ChangeFrom(successor, day("2026-11-23"), Rule{Type: "free"})
	wantKind("no type", err, fault.Invalid, "type")

	three, middle, err := two.ChangeFrom(id, day("2026-11-10"), Rule{Type: Flat, Cost: money.MustParse("0.037")})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := three.Rule(middle); err != nil || !r.End.Equal(day("2026-11-22")) {
		t.Errorf("the end is lost: %v, %v", r, err)
	}
	_, err = three.End(id, day("2026-11-11"))
	wantKind("into its successor", err, fault.Conflict, "end")
	_, err = three.End(successor, day("2026-11-20"))
	wantKind("before it starts", err, fault.Invalid, "end")
	_, err = three.Replace(successor, medium("1", day("2026-11-21"), time.Time{}))
	wantKind("earlier", err, fault.Conflict, "start")

	four, err := three.Remove(middle)
	if err != nil {
		t.Fatal(err)
	}
	five, err := four.End(id, day("2026-11-20"))
	if err != nil {
		t.Fatal(err)
	}
	twins, _ := five.Twins(&other)
	if len(twins) != 2 || twins[0].ID != id || !twins[0].End.Equal(day("2026-11-20")) {
		t.Errorf("twins %v", twins)
	}
	for _, c := range []struct {
		at, want string
	}{{"2026-11-09", id}, {"2026-11-20", ""}, {"2026-11-23", successor}} {
		if got := five.Counting(day(c.at)); (c.want == "") != (len(got) == 0) || c.want != "" && !got[c.want] {
			t.Errorf("on %s: %v", c.at, got)
		}
	}
	six, err := five.Replace(id, Rule{Kind: Threshold, Service: "ram", Field: "size", Level: money.New(8, 0), Type: Flat, Group: "bulk", Scope: "s1"})
	if err != nil {
		t.Fatal(err)
	}
	diff := strings.Join(Changes(five, six), "\n")
	want = "+ group bulk\n+ service ram\n+ field size of ram\n" +
		"~ mapping of cpu, flavor = m1: flat 0.035, until 2026-11-20T00:00:00Z → threshold of ram, size ≥ 8, scope s1, group bulk: flat 0"
	if d := cmp.Diff(want, diff); d != "" {
		t.Error(d)
	}
	for _, r := range slices.Concat(five.Hashmap[:1], six.Hashmap[:1]) {
		if !r.ConcernedBy(diff) {
			t.Errorf("%s is not concerned", &r)
		}
	}
	if r := medium("1", day("2026-11-22"), time.Time{}); r.ConcernedBy(diff) {
		t.Error("a twin is concerned")
	}
	if got := strings.Join(Changes(six, five), "\n"); !strings.HasSuffix(got, "- group bulk\n- service ram\n- field size of ram") {
		t.Error(got)
	}
	off := &Rules{Modules: []Module{{"hashmap", false, 1}}}
	if got := Changes(one, off); len(got) != 4 || got[0] != "~ module hashmap: disabled, priority 1 (was: module hashmap: enabled, priority 1)" {
		t.Errorf("%q", got)
	}
	if got := Changes(one, two); !slices.Equal(got, []string{
		"+ mapping of cpu, flavor = m1, from 2026-11-22T00:00:00Z: rate 1.5, name dearer",
		"~ mapping of cpu, flavor = m1: end none → 2026-11-22T00:00:00Z",
	}) {
		t.Errorf("%q", got)
	}

	for what, err := range map[string]error{
		"rule":    second(six.Rule("x")),
		"replace": second(six.Replace("x", other)),
		"remove":  second(six.Remove("x")),
		"end":     second(six.End("x", day("2026-11-01"))),
		"change":  third(six.ChangeFrom("x", day("2026-11-01"), other)),
	} {
		if fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

// TestEditsOfOverlappingRules: a file may have rules that overlap. They can be edited, but not made more.
func TestEditsOfOverlappingRules(t *testing.T) {
	t.Parallel()
	a, b := medium("1", time.Time{}, time.Time{}), medium("2", day("2026-11-10"), time.Time{})
	a.ID, b.ID = "a", "b"
	b.Group = "_DEFAULT_" // is the same group
	r := &Rules{Groups: []Group{{"g", "_DEFAULT_"}}, Services: []Service{{"s", "cpu", []Field{{"f", "flavor"}}}}, Hashmap: []Rule{a, b}}
	if got := r.Counting(day("2026-11-11")); len(got) != 1 || !got["b"] {
		t.Errorf("counting %v", got)
	}
	described := a
	described.Description = "x"
	if _, err := r.Replace("a", described); err != nil {
		t.Error(err)
	}
	if _, err := r.End("a", day("2026-11-12")); err != nil {
		t.Error(err)
	}
	_, _, err := r.ChangeFrom("a", day("2026-11-11"), a)
	if fault.KindOf(err) != fault.Conflict || fieldsOf(err) != "start" {
		t.Errorf("a change that would beat the other: %v", err)
	}
	scoped := a
	scoped.Scope = "s1"
	r, _, err = r.Add(scoped)
	if err != nil {
		t.Fatal(err)
	}
	if twins, others := r.Twins(&a); len(twins) != 2 || len(others) != 1 || others[0].Scope != "s1" {
		t.Errorf("%v %v", twins, others)
	}
	if twins, others := r.Twins(&scoped); len(twins) != 1 || len(others) != 2 {
		t.Errorf("%v %v", twins, others)
	}
}

// TestAnyEditsMakeAFile: after any edits the rules are those of a correct file, and no two of a kin are valid at once.
func TestAnyEditsMakeAFile(t *testing.T) {
	t.Parallel()
	zone := berlin(t)
	text := rapid.OneOf(rapid.SampledFrom([]string{"", "a", "b", "_DEFAULT_", "null", " ", "é\u2028\n"}), rapid.String())
	instant := rapid.SampledFrom([]time.Time{{}, day("2026-11-01"), day("2026-11-02").In(zone), day("2026-11-03"), day("2026-11-04").Add(time.Second)})
	rapid.Check(t, func(t *rapid.T) {
		draw := func() Rule {
			return Rule{
				Kind:    rapid.SampledFrom([]Kind{Mapping, Mapping, Threshold}).Draw(t, "kind"),
				Service: rapid.SampledFrom([]string{"cpu", "cpu", "ram", "~", ""}).Draw(t, "service"),
				Field:   rapid.SampledFrom([]string{"", "flavor"}).Draw(t, "field"),
				Value:   rapid.SampledFrom([]string{"", "m1", "true"}).Draw(t, "value"),
				Level:   money.New(rapid.SampledFrom([]int64{0, 0, 8}).Draw(t, "level"), 0),
				Type:    rapid.SampledFrom([]Type{Flat, Rate}).Draw(t, "type"),
				Cost:    money.New(rapid.Int64().Draw(t, "cost"), rapid.Int32Range(0, 30).Draw(t, "places")),
				Group:   rapid.SampledFrom([]string{"", "", "bulk", "_DEFAULT_"}).Draw(t, "group"),
				Scope:   rapid.SampledFrom([]string{"", "s1"}).Draw(t, "scope"),
				Start:   instant.Draw(t, "start"), End: instant.Draw(t, "end"),
				Name: text.Draw(t, "name"), Description: text.Draw(t, "description"),
			}
		}
		r := &Rules{Version: 3, Modules: []Module{{"hashmap", true, 1}}}
		for range rapid.IntRange(1, 12).Draw(t, "edits") {
			id := "none"
			if len(r.Hashmap) > 0 {
				id = rapid.SampledFrom(r.Hashmap).Draw(t, "rule").ID
			}
			before := lines(r)
			next, err := (*Rules)(nil), error(nil)
			switch rapid.IntRange(0, 5).Draw(t, "edit") {
			case 0, 1:
				next, _, err = r.Add(draw())
			case 2:
				next, err = r.Replace(id, draw())
			case 3:
				next, _, err = r.ChangeFrom(id, instant.Draw(t, "at"), draw())
			case 4:
				next, err = r.End(id, instant.Draw(t, "at"))
			case 5:
				next, err = r.Remove(id)
			}
			if lines(r) != before {
				t.Fatal("an edit changed the rules it was made from")
			}
			if err != nil {
				if kind := fault.KindOf(err); kind == fault.Internal {
					t.Fatal(err)
				}
				continue
			}
			if _, err := Compile(next, zone); err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			if err := Export(&b, next); err != nil {
				t.Fatal(err)
			}
			file, err := ParseFile("export.yml", []byte(b.String()), zone)
			if err != nil {
				t.Fatalf("%v\n%s", err, b.String())
			}
			if _, diff := file.Apply(next, true); !diff.Empty() || len(diff.Kept) > 0 {
				t.Fatalf("%s\n%s", diff, b.String())
			}
			for i := range next.Hashmap {
				if next.clash(nil, &next.Hashmap[i]) != nil {
					t.Fatalf("rules overlap\n%s", b.String())
				}
			}
			if next.Version != 3 {
				t.Fatal("the base is lost")
			}
			r = next
		}
	})
}
