package metering

import (
	"strings"
	"sync"
	"testing"

	"ratebook/money"
)

func skipPoint() (*Series, *Sample) {
	series := &Series{
		Scope:    &Scope{ID: "p1", Source: Source{ScopeKey: "project_id"}},
		Metric:   &Metric{Name: "disk", Unit: "GiB"},
		Groupby:  Attributes{{"id", "abc"}, {"user_id", "u1"}},
		Metadata: Attributes{{"flavor", "m1.small"}, {"size", "20.5"}, {"vcpus", "4"}},
	}
	return series, &Sample{Qty: money.MustParse("2.50"), Price: money.MustParse("0.1")}
}

func TestSkips(t *testing.T) {
	series, sample := skipPoint()
	for _, c := range []struct {
		expression string
		want       bool
	}{
		// As CloudKitty's documentation has it.
		{`datapoint.get("vol", {}).get("qty", 0) == 0`, false},
		{`datapoint["vol"]["qty"] == 0`, false},
		{`datapoint['vol']['qty'] != 0`, true},
		{`  datapoint["vol"]["qty"] > 2  `, true},
		{"(datapoint['vol']['qty'] > 2 and\n datapoint['rating']['price'] < 1)", true},

		// Decimals, whole numbers and numbers with a point compare by value.
		{`datapoint["vol"]["qty"] == 2.5`, true},
		{`datapoint["vol"]["qty"] == 2.500`, true},
		{`2.5 == datapoint["vol"]["qty"]`, true},
		{`datapoint["vol"]["qty"] == 25e-1`, true},
		{`datapoint["vol"]["qty"] >= 2.5000000000000000000000001`, false},
		{`0.1 + 0.2 == 0.3`, true}, // it isn't with floats
		{`datapoint["rating"]["price"] + 0.2 == 0.3`, true},
		{`1.0 == 1`, true},
		{`1 == 1.0`, true},
		{`1 != 1.0`, false},
		{`2 > 1.5`, true},
		{`1.5 < 2`, true},
		{`1.0 >= 1`, true},
		{`1 <= 0.9`, false},
		{`datapoint["vol"]["qty"] * 2 == 5`, true},
		{`2 * datapoint["vol"]["qty"] == 5`, true},
		{`3 - datapoint["vol"]["qty"] == 0.5`, true},
		{`datapoint["vol"]["qty"] - 3 == -0.5`, true},
		{`datapoint["vol"]["qty"] // 1 == 2`, true},
		{`datapoint["vol"]["qty"] % 1 == 0.5`, true},
		{`-datapoint["vol"]["qty"] // 1 == -3`, true},
		{`7 // 2.5 == 2`, true},
		{`7 % 2.5 == 2`, true},
		{`-7 % 2.5 == 0.5`, true},
		{`7 % -2.5 == -0.5`, true},
		{`7.5 // 2.5 == 3`, true},
		{`1e30 == 1000000000000000000000000000000`, true},
		{`abs(-0.5) == 0.5`, true},
		{`abs(-3) == 3`, true},
		{`+0.5 == 0.5`, true},

		// In collections, too.
		{`datapoint["vol"]["qty"] in [1, 2.5]`, true},
		{`2.0 in (1, 2)`, true},
		{`2 not in [1.0, 2.0]`, false},
		{`[1, 2.0] == [1.0, 2]`, true},
		{`(1,) == (1.0,)`, true},
		{`{"a": 1} == {"a": 1.0}`, true},
		{`[1] == [1, 2]`, false},
		{`[1] == (1,)`, false},
		{`{"a": 1} == {"b": 1}`, false},
		{`datapoint["vol"] == {"unit": "GiB", "qty": 2.5}`, true},

		{`(0.5, 1) < (1.5, 0)`, true},
		{`(1.5, 1) == (1.5,)`, false},

		// Truth.
		{`datapoint["vol"]["qty"]`, true},
		{`not datapoint["vol"]["qty"]`, false},
		{`0.0`, false},
		{`datapoint["vol"]["qty"] - 2.5`, false},
		{`None`, false},
		{`""`, false},
		{`True`, true},
		{`not (datapoint["vol"]["qty"] - 2.5) and True`, true},
		{`False or 0.1`, true},

		// What Python has for attributes.
		{`datapoint["groupby"]["project_id"] == "p1"`, true},
		{`datapoint["groupby"].get("project_id") in ("p1", "p2")`, true},
		{`"flavor" in datapoint["metadata"]`, true},
		{`"nope" not in datapoint["metadata"]`, true},
		{`"small" in datapoint["metadata"]["flavor"]`, true},
		{`datapoint["metadata"].get("nope") == None`, true},
		{`datapoint["metadata"].get("nope", "").startswith("m1")`, false},
		{`datapoint["metadata"]["flavor"].startswith(("m1.", "m2."))`, true},
		{`datapoint["metadata"]["flavor"].upper() == "M1.SMALL"`, true},
		{`int(datapoint["metadata"]["vcpus"]) >= 4`, true},
		{`float(datapoint["metadata"]["size"]) > 20.25`, true},
		{`float(" 1 ") == 1`, true},
		{`float(True) == 1`, true},
		{`float() == 0`, true},
		{`int(datapoint["vol"]["qty"]) == 2`, true},
		{`int(-2.5) == -2`, true},
		{`int("0x10", 16) == 16`, true},
		{`str(datapoint["vol"]["qty"]) == "2.5"`, true},
		{`str(1.50) == "1.5"`, true},
		{`len(datapoint["groupby"]) == 3`, true},
		{`len(datapoint["metadata"]) == 3.0`, true},
		{`any([v == "4" for k, v in datapoint["metadata"].items() if k != "size"])`, true},
		{`all([q > 0.5 for q in [1, 2]])`, true},
		{`datapoint["vol"]["unit"] + "h" == "GiBh"`, true},
		{`"%s %s" % (datapoint["vol"]["unit"], datapoint["vol"]["qty"]) == "GiB 2.5"`, true},
		{`datapoint["metadata"]["flavor"][3:] == "small"`, true},
		{`datapoint["metadata"]["flavor"].split(".")[0] == "m1"`, true},
		{`True if datapoint["vol"]["qty"] > 100 else False`, false},
		{`dict(a=1.0 == 1)["a"]`, true},
		{`"{}".format(1.50) == "1.5"`, true},
		{`{k: 1.5 for k in ["a"]}["a"] > 1`, true},
		{`"10" == 10`, false},
	} {
		s, err := CompileSkip(c.expression)
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
			continue
		}
		if got, err := s.Skips(series, sample); err != nil || got != c.want {
			t.Errorf("%s is %t, %v; want %t", c.expression, got, err, c.want)
		}
	}
}

func TestSkipNever(t *testing.T) {
	series, sample := skipPoint()
	for _, expression := range []string{"", "False", " False\n"} {
		s, err := CompileSkip(expression)
		if s != nil || err != nil {
			t.Errorf("%q: %v, %v", expression, s, err)
		}
		if skips, err := s.Skips(series, sample); skips || err != nil {
			t.Errorf("%q: %t, %v", expression, skips, err)
		}
	}
}

func TestCompileSkipRefuses(t *testing.T) {
	for _, c := range []struct{ expression, want string }{
		{`datapoint["vol"`, "column 16: got end of file, want ']'"},
		{`datapoint["vol"]["qty"] = 0`, "column 26: got '=' after expression, want EOF"},
		{`True, False`, "the expression is a tuple, which is always true; use and, or"},
		{`True; False`, "column 6: got ';' after expression, want EOF"},
		{`1 < 2 < 3`, "column 8: < does not associate with < (use parens)"},
		{`None is None`, "column 8: got is after expression, want EOF; use == and != instead of is"},
		{`point["vol"]`, "column 1: undefined: point"},
		{`True and datapoint["qty"] == 0`, `column 20: datapoint has no key "qty", only vol, rating, groupby, metadata`},
		{`datapoint.get("qty", 0) == 0`, `column 15: datapoint has no key "qty", only vol, rating, groupby, metadata`},
		{`datapoint["vol"]["volume"] == 0`, `column 18: vol has no key "volume", only unit, qty`},
		{`datapoint.get("rating", {}).get("cost") == 0`, `column 33: rating has no key "cost", only price`},
		{`(datapoint)["vol"].get("price")`, `column 24: vol has no key "price", only unit, qty`},
		{`datapoint.vol.qty`, `column 15: there is no method qty; values of a dict are written like datapoint["vol"]["qty"]`},
		{`datapoint["vol"]["qty"] / 1024 > 5`, "column 25: a division may have no exact result; multiply the other side instead, like qty > 5 * 1024 for qty / 1024 > 5"},
		{`datapoint["vol"]["qty"] | 1`, "column 25: the operator | is not for quantities"},
		{`~1`, "column 1: the operator ~ is not for quantities"},
		{`print("x")`, "column 1: print is not available here"},
		{`range(5)`, "column 1: range is not available here"},
		{`max(datapoint["vol"]["qty"], 1)`, "column 1: max is not available here"},
		{`round(1.5)`, "column 1: undefined: round"},
		{`isinstance(1, int)`, "column 1: undefined: isinstance"},
		{`__import__("os")`, "column 1: undefined: __import__"},
		{`load("x", "y")`, "column 1: got load, want primary expression"},
		{`(lambda: 1)()`, "column 2: lambda is not available here"},
		{`1e999999 > 1`, "column 9: invalid float literal"},
		{"(1 <\n lambda: 2)", "line 2, column 2: got lambda, want primary expression"},
		{strings.Repeat("(", 5000), "the expression is longer than 4096 bytes"},
	} {
		s, err := CompileSkip(c.expression)
		if err == nil || err.Error() != c.want || s != nil {
			t.Errorf("%.60s:\n got %v\nwant %s", c.expression, err, c.want)
		}
	}
}

// TestSkipFails has what can't be known before there is a point. Nothing of it may pass for false.
func TestSkipFails(t *testing.T) {
	series, sample := skipPoint()
	long := `list("` + strings.Repeat("x", 200) + `".elems())`
	for _, c := range []struct{ expression, want string }{
		{`datapoint["metadata"]["nope"] == "x"`, `skip_datapoints_expression "datapoint[\"metadata\"][\"nope\"] == \"x\"" of disk: key "nope" not in dict`},
		{`datapoint["metadata"]["vcpus"] > 4`, "string > int not implemented"},
		{`datapoint["vol"]["qty"] > "1"`, "decimal > string not implemented"},
		{`None < 0.5`, "NoneType < decimal not implemented"},
		{`datapoint["vol"]["qty"] + "1"`, "unknown binary op: decimal + string"},
		{`float("many")`, "not a decimal number"},
		{`float("nan") > 1`, "not a decimal number"},
		{`float([])`, "there is no number in list"},
		{`int("1.5")`, "int: invalid literal with base 10: 1.5"},
		{`1.5 % 0`, "division by zero"},
		{`1.5 // (1 - 1)`, "division by zero"},
		{`1 // 0`, "division by zero"},
		{`{0: 1}.get(datapoint["vol"]["qty"])`, "a decimal can't be the key of a dict"},
		{`2.5 in {2: 1}`, "a decimal can't be the key of a dict"},
		{`"x" * 1000000000 == ""`, "string can't be multiplied"},
		{`[0] * 1000000000`, "list can't be multiplied"},
		{`1 in 2`, "unknown binary op: int in int"},
		{`[l.append(l) or l == [l] for l in [[]]]`, "nested too deeply"},
		{"[0 for a in " + long + " for b in " + long + "]", "too many steps"},
	} {
		s, err := CompileSkip(c.expression)
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
			continue
		}
		if skips, err := s.Skips(series, sample); err == nil || !strings.Contains(err.Error(), c.want) || skips {
			t.Errorf("%s: %t, %v; want %s", c.expression, skips, err, c.want)
		}
	}
}

// TestSkipIsConcurrent is for the race detector. An expression that changes its datapoint changes only its own.
func TestSkipIsConcurrent(t *testing.T) {
	s, err := CompileSkip(`datapoint["metadata"].pop("vcpus") == "4" and datapoint["vol"]["qty"] in [2.5]`)
	if err != nil {
		t.Fatal(err)
	}
	series, sample := skipPoint()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if skips, err := s.Skips(series, sample); err != nil || !skips {
					t.Errorf("%t, %v", skips, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkSkips(b *testing.B) {
	s, err := CompileSkip(`datapoint.get("vol", {}).get("qty", 0) == 0`)
	if err != nil {
		b.Fatal(err)
	}
	series, sample := skipPoint()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Skips(series, sample); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzSkip looks for expressions that crash the compiler or the evaluation.
func FuzzSkip(f *testing.F) {
	for _, s := range []string{
		`datapoint.get("vol", {}).get("qty", 0) == 0`, `any([v in (1, 2.5) for v in [datapoint["vol"]["qty"] // 0.5]])`,
		`dict(*[1], **{"a": 1})`, `{k: -v for k, v in datapoint["groupby"].items()}[1:2]`, `"%s" % int(1.5) if not 0.1 else [l.append(l) or l == [l] for l in [[]]]`,
	} {
		f.Add(s)
	}
	series, sample := skipPoint()
	f.Fuzz(func(t *testing.T, expression string) {
		if s, err := CompileSkip(expression); err == nil {
			_, _ = s.Skips(series, sample)
		}
	})
}
