package rating

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ratebook/metering"
)

func TestLooked(t *testing.T) {
	threshold := Rule{ID: "t", Kind: Threshold, Service: "cpu", Field: "ram", Level: num("10"), Type: Flat, Cost: num("1")}
	quantity := Rule{ID: "q", Kind: Threshold, Service: "cpu", Level: num("10"), Type: Flat, Cost: num("1")}
	ended := mapping(Flat, "1", on("region", "west"))
	ended.End = now.Add(-time.Hour)
	other := mapping(Flat, "1", on("flavor", "m1.tiny"))
	other.Service = "disk"
	huge := metering.Attributes{{Name: "flavor", Value: "m9.huge"}}
	for name, test := range map[string]struct {
		rules             []Rule
		groupby, metadata metering.Attributes
		want              string
	}{
		"no rules":                       {nil, huge, nil, ""},
		"rules of another metric":        {[]Rule{other}, huge, nil, ""},
		"a rule of the metric itself":    {[]Rule{quantity}, huge, nil, ""},
		"a value that no rule names":     {[]Rule{mapping(Flat, "1", on("flavor", "m1.tiny"))}, huge, nil, "flavor = m9.huge"},
		"metadata":                       {[]Rule{mapping(Flat, "1", on("flavor", "m1.tiny"))}, nil, huge, "flavor = m9.huge"},
		"no such attribute":              {[]Rule{mapping(Flat, "1", on("flavor", "m1.tiny"))}, nil, nil, "flavor is missing"},
		"an empty value":                 {[]Rule{threshold}, metering.Attributes{{Name: "ram"}}, nil, `ram = ""`},
		"several, by name":               {[]Rule{threshold, mapping(Flat, "1", on("flavor", "x"))}, huge, nil, "flavor = m9.huge, ram is missing"},
		"a rule that does not apply now": {[]Rule{ended}, metering.Attributes{{Name: "region", Value: "west"}}, nil, "region = west"},
		"computed":                       {[]Rule{mapping(Flat, "1", on("year", "1999"))}, nil, nil, "year = " + now.Format("2006")},
		"a value with a comma":           {[]Rule{threshold}, metering.Attributes{{Name: "ram", Value: `1,5 "GB"`}}, nil, `ram = "1,5 \"GB\""`},
		"a value with spaces around":     {[]Rule{threshold}, metering.Attributes{{Name: "ram", Value: " 5"}}, nil, `ram = " 5"`},
		"a name that needs quotes":       {[]Rule{mapping(Flat, "1", on("a = b", "x"))}, nil, nil, `"a = b" is missing`},
	} {
		e, err := Compile(&Rules{Modules: []Module{{"hashmap", true, 1}, {"noop", true, 2}}, Hashmap: test.rules}, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		s := series()
		s.Groupby, s.Metadata = test.groupby, test.metadata
		if got := LookText(e.Looked(s, now)); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// TestParseLooks holds that what is written is read again, whatever the texts.
func TestParseLooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.OneOf(rapid.SampledFrom([]string{"a", "a b", "x = y", "is missing", "m…", `"`, ",", "a, b = c", "", " ", "\x00", "\xff"}), rapid.String())
		var all []Look
		for range rapid.IntRange(0, 4).Draw(t, "looks") {
			l := Look{Name: word.Draw(t, "name"), Missing: rapid.Bool().Draw(t, "missing")}
			if !l.Missing {
				l.Value = word.Draw(t, "value")
			}
			all = append(all, l)
		}
		text := LookText(all)
		if diff := cmp.Diff(all, ParseLooks(text)); diff != "" {
			t.Fatalf("%q: %s", text, diff)
		}
	})
	for text, want := range map[string][]Look{
		"other values":                nil,
		"flavor":                      nil,
		"flavor = m9.hu…":             {{Name: "flavor"}},
		`flavor = "m9, hu…`:           {{Name: "flavor"}},
		"flavor = m9, region = we…":   {{Name: "flavor", Value: "m9"}, {Name: "region"}},
		"flavor is missing, regi…":    {{Name: "flavor", Missing: true}},
		"flavor = m9, region is miss": {{Name: "flavor", Value: "m9"}},
	} {
		if diff := cmp.Diff(want, ParseLooks(text)); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}
