package metering

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"ratebook/fault"
	"ratebook/money"
)

func ratio(t testing.TB, s string) money.Ratio {
	t.Helper()
	r, err := money.ParseRatio(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func parseFile(t testing.TB, name string) []*Metric {
	t.Helper()
	content, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := ParseMetrics(name, content, "project_id")
	if err != nil {
		t.Fatal(err)
	}
	return metrics
}

func TestParseMetrics(t *testing.T) {
	want := []*Metric{
		{
			Source: "default", Name: "network.outgoing.bytes", Measured: "network_transmit_bytes_total", Unit: "MB", Groupby: []string{"id"},
			Factor:     ratio(t, "0.000001"),
			Prometheus: PrometheusArgs{Aggregation: "sum", QueryFunction: "abs", RangeFunction: "delta", Prefix: "ceil(", Suffix: ") or vector(0)"},
		},
		{
			Source: "default", Name: "image.size", Measured: "openstack_glance_image_bytes", Unit: "MiB", Groupby: []string{"id"},
			Factor: ratio(t, "1/1048576"),
		},
		{
			Source: "default", Name: "instance", Measured: "openstack_nova_server_status", Unit: "instance",
			Description: "Servers that exist, whatever their size",
			Groupby:     []string{"id", "user_id"}, Metadata: []string{"flavor_name", "flavor_id", "vcpus"},
			Factor: money.One, Mutate: NumBool,
		},
		{
			Source: "default", Name: "instance.error", Measured: "openstack_nova_server_status", Unit: "h", Groupby: []string{"id"},
			Factor: money.One, Mutate: Map,
			MutateMap:   []MutateEntry{{money.MustParse("0"), money.MustParse("0")}, {money.MustParse("2.5"), money.MustParse("0.5")}, {money.MustParse("15"), money.MustParse("1")}},
			Skip:        `datapoint["vol"]["qty"] == 0`,
			MayBeAbsent: true,
		},
	}
	got := parseFile(t, "prometheus.yml")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("want - got +\n%s", d)
	}
	if s := got[1].Factor.String(); s != "1/1048576" {
		t.Errorf("the fraction became %s", s)
	}
}

// TestCloudKittyDefault shows what an operator with CloudKitty's shipped file is told: everything in it that is Gnocchi's.
func TestCloudKittyDefault(t *testing.T) {
	content, err := os.ReadFile("testdata/cloudkitty-default.yml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = ParseMetrics("/etc/metrics.yml", content, "project_id")
	isGnocchi := "is for Gnocchi, and Ratebook collects from Prometheus, whose extra_args are aggregation_method, query_function, range_function, query_prefix, query_suffix"
	noName := "is not the name of a Prometheus metric: letters, digits, _ and : only, no digit first"
	want := []fault.Field{
		{Name: "/etc/metrics.yml:16: metrics.cpu.extra_args.resource_type", Message: isGnocchi},
		{Name: `/etc/metrics.yml:18: metrics."image.size"`, Message: noName},
		{Name: `/etc/metrics.yml:30: metrics."image.size".extra_args.resource_type`, Message: isGnocchi},
		{Name: `/etc/metrics.yml:32: metrics."volume.size"`, Message: noName},
		{Name: `/etc/metrics.yml:42: metrics."volume.size".extra_args.resource_type`, Message: isGnocchi},
		{Name: `/etc/metrics.yml:44: metrics."network.outgoing.bytes.rate"`, Message: noName},
		{
			Name:    `/etc/metrics.yml:55: metrics."network.outgoing.bytes.rate".extra_args.aggregation_method`,
			Message: "rate:mean is an aggregation of Gnocchi, and Ratebook collects from Prometheus; use one of avg, count, max, min, stddev, stdvar, sum",
		},
		{Name: `/etc/metrics.yml:56: metrics."network.outgoing.bytes.rate".extra_args.resource_type`, Message: isGnocchi},
		{Name: `/etc/metrics.yml:57: metrics."network.outgoing.bytes.rate".extra_args.force_granularity`, Message: isGnocchi},
	}
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != fault.Invalid || e.Message != "/etc/metrics.yml has 9 problems" {
		t.Fatalf("got %v", err)
	}
	if d := cmp.Diff(want, e.Fields); d != "" {
		t.Errorf("want - got +\n%s", d)
	}
}

// TestParseMetricsProblems has a case for every way a file can be wrong; each is "line: path: message".
func TestParseMetricsProblems(t *testing.T) {
	// in puts keys under the metric cpu, from line 3 on; most tests need a unit.
	in := func(keys ...string) string {
		return "metrics:\n  cpu:\n    " + strings.Join(keys, "\n    ") + "\n"
	}
	unit := "unit: core"
	for _, c := range []struct {
		name, file string
		want       []string
	}{
		{"empty", "", []string{": is empty; it needs the key metrics"}},
		{"only a comment", "# nothing\n", []string{": is empty; it needs the key metrics"}},
		{"null document", "---\n", []string{"2: must be a mapping, not nothing"}},
		{"text", "metrics", []string{`1: must be a mapping, not the text "metrics"`}},
		{"no metrics", "{}", []string{"1: metrics: is missing"}},
		{"null metrics", "metrics:\n", []string{"1: metrics: must be a mapping, not nothing"}},
		{"list of metrics", "metrics:\n- cpu\n", []string{"2: metrics: must be a mapping, not a list"}},
		{"another key", "metrics: {}\nname: x\n", []string{"2: name: is not a key of this file; the only one is metrics"}},
		{"two documents", "metrics: {}\n---\nmetrics: {}\n", []string{"2: a second YAML document begins here; only one is allowed"}},
		{"not UTF-8", "metrics:\n  cpu:\n    unit: \xff\n", []string{"3: is not UTF-8 text"}},
		{"syntax", "metrics:\n  cpu: [\n", []string{"2: is not valid YAML: did not find expected node content"}},
		{"syntax in a second document", "metrics: {}\n---\n  a: b: c\n", []string{"3: is not valid YAML: mapping values are not allowed in this context"}},
		{"alias", "metrics:\n  cpu: &c\n    unit: core\n  ram: *c\n", []string{"4: metrics.ram: must be a mapping or a list of them, not an alias, which is not allowed here"}},
		{"alias in a list", in(unit, "groupby: [&a id, *a]"), []string{"4: metrics.cpu.groupby: must be a list of label names, and has an alias, which is not allowed here in it"}},
		{"merge", "metrics:\n  cpu: &c\n    unit: core\n  ram:\n    <<: *c\n", []string{
			`5: metrics.ram."<<": is not a key of a metric; these are: unit, alt_name, description, groupby, metadata, factor, offset, mutate, mutate_map, skip_datapoints_expression, may_be_absent, extra_args`,
			"5: metrics.ram.unit: is missing",
		}},
		{"list as key", "metrics:\n  [a]: b\n", []string{"2: metrics: has a list as a key"}},
		{"metric twice", "metrics:\n  cpu:\n    unit: core\n  cpu:\n    unit: core\n", []string{"4: metrics.cpu: is already in line 2"}},
		{"key twice", in(unit, unit), []string{"4: metrics.cpu.unit: is already in line 3"}},
		{"empty list", "metrics:\n  cpu: []\n", []string{"2: metrics.cpu: has an empty list of configurations"}},
		{"null metric", "metrics:\n  cpu:\n", []string{"2: metrics.cpu: must be a mapping or a list of them, not nothing"}},
		{"text in a list", "metrics:\n  cpu:\n  - core\n", []string{`3: metrics.cpu[0]: must be a mapping, not the text "core"`}},
		{"names in a list", "metrics:\n  cpu:\n  - unit: core\n  - unit: h\n  - unit: h\n    alt_name: a\n  - unit: d\n    alt_name: a\n", []string{
			`4: metrics.cpu[1].alt_name: "cpu" is already the name of metrics.cpu[0]; each configuration needs its own alt_name`,
			`7: metrics.cpu[3].alt_name: "a" is already the name of metrics.cpu[2]; each configuration needs its own alt_name`,
		}},
		{"measured name", "metrics:\n  cpu-load:\n    unit: core\n  cpu@#load:\n    unit: core\n", []string{
			`2: metrics."cpu-load": is not the name of a Prometheus metric: letters, digits, _ and : only, no digit first`,
			`4: metrics."cpu@#load": is not the name of a Prometheus metric: letters, digits, _ and : only, no digit first`,
		}},
		{"no unit", in("alt_name: x"), []string{"3: metrics.cpu.unit: is missing"}},
		{"empty unit", in(`unit: ""`), []string{"3: metrics.cpu.unit: must not be empty"}},
		{"number as unit", in(`unit: 5`), []string{"3: metrics.cpu.unit: must be text, not 5; put it in quotes"}},
		{"list as unit", in(`unit: [core]`), []string{"3: metrics.cpu.unit: must be text, not a list"}},
		{"null as alt_name", in(unit, `alt_name:`), []string{"4: metrics.cpu.alt_name: must be text, not nothing"}},
		{"boolean as description", in(unit, `description: true`), []string{"4: metrics.cpu.description: must be text, not true; put it in quotes"}},
		{"typed text", in(unit, `alt_name: !secret x`), []string{"4: metrics.cpu.alt_name: must be text, not of the type !secret; put it in quotes"}},
		{"control character", in(unit, `alt_name: "a\tb"`), []string{`4: metrics.cpu.alt_name: has a character in it that can't be shown: "a\tb"`}},
		{"spaces", in(unit, `alt_name: " a"`), []string{`4: metrics.cpu.alt_name: begins or ends with a space`}},
		{"long name", in(unit, "alt_name: "+strings.Repeat("x", 256)), []string{`4: metrics.cpu.alt_name: is longer than 255 bytes`}},
		{"long description", in(unit, "description: "+strings.Repeat("x", 65537)), []string{`4: metrics.cpu.description: is longer than 65536 bytes`}},
		{"unknown key", in(unit, `units: core`), []string{"4: metrics.cpu.units: is not a key of a metric; these are: unit, alt_name, description, groupby, metadata, factor, offset, mutate, mutate_map, skip_datapoints_expression, may_be_absent, extra_args"}},
		{"groupby as mapping", in(unit, `groupby: {id: id}`), []string{"4: metrics.cpu.groupby: must be a list of label names, not a mapping"}},
		{"null groupby", in(unit, `groupby:`), []string{"4: metrics.cpu.groupby: must be a list of label names, not nothing"}},
		{"nested metadata", in(unit, `metadata: [[id]]`), []string{"4: metrics.cpu.metadata: must be a list of label names, and has a list in it"}},
		{"label", in(unit, "groupby:", "- flavor.name", "- 9lives", `- ""`), []string{
			`5: metrics.cpu.groupby: "flavor.name" is not the name of a Prometheus label: letters, digits and _ only, no digit first`,
			`6: metrics.cpu.groupby: "9lives" is not the name of a Prometheus label: letters, digits and _ only, no digit first`,
			`7: metrics.cpu.groupby: "" is not the name of a Prometheus label: letters, digits and _ only, no digit first`,
		}},
		{"labels twice", in(unit, "metadata: [a, b]", "groupby: [c, a, c]"), []string{
			`5: metrics.cpu.groupby: "a" is already in metadata`, `5: metrics.cpu.groupby: "c" is already in groupby`,
		}},
		{"scope key twice", in(unit, "groupby: [project_id, id, project_id]"), []string{`4: metrics.cpu.groupby: "project_id" is already in groupby`}},
		{"scope key in metadata", in(unit, "metadata: [project_id]"), []string{`4: metrics.cpu.metadata: "project_id" is the scope key, which is always in groupby`}},
		{"division by zero", in(unit, "factor: 1/0"), []string{`4: metrics.cpu.factor: must be a number or a fraction such as 1/1048576: not a decimal number: "1/0" divides by zero`}},
		{"no fraction", in(unit, "offset: half"), []string{`4: metrics.cpu.offset: must be a number or a fraction such as 1/1048576: not a decimal number: "half"`}},
		{"infinite factor", in(unit, "factor: .inf"), []string{`4: metrics.cpu.factor: must be a number or a fraction such as 1/1048576: not a decimal number: ".inf"`}},
		{"hexadecimal factor", in(unit, "factor: 0x10"), []string{`4: metrics.cpu.factor: must be a number or a fraction such as 1/1048576: not a decimal number: "0x10"`}},
		{"octal factor", in(unit, "factor: 010"), []string{`4: metrics.cpu.factor: 010 may be read as an octal number; write it without the zero in front`}},
		{"null factor", in(unit, "factor:"), []string{`4: metrics.cpu.factor: must be a number or a fraction such as 1/1048576, not nothing`}},
		{"huge factor", in(unit, "factor: 1e99999"), []string{`4: metrics.cpu.factor: must be a number or a fraction such as 1/1048576: number has too many digits: "1e99999"`}},
		{"mutation", in(unit, "mutate: numbool"), []string{`4: metrics.cpu.mutate: "numbool" is no mutation; use one of NONE, NUMBOOL, NOTNUMBOOL, FLOOR, CEIL, MAP`}},
		{"number as mutation", in(unit, "mutate: 1"), []string{`4: metrics.cpu.mutate: must be text, not 1; put it in quotes`}},
		{"MAP without map", in(unit, "mutate: MAP"), []string{`4: metrics.cpu.mutate: MAP needs a mutate_map`}},
		{"map without MAP", in(unit, "mutate_map: {1: 2}"), []string{`4: metrics.cpu.mutate_map: needs mutate: MAP`}},
		{"map of text", in(unit, "mutate: MAP", "mutate_map: {ACTIVE: 1, 2: x}"), []string{
			`5: metrics.cpu.mutate_map.ACTIVE: must map numbers to numbers: not a decimal number: "ACTIVE"`,
			`5: metrics.cpu.mutate_map."2": must map numbers to numbers: not a decimal number: "x"`,
		}},
		{"map with equal numbers", in(unit, "mutate: MAP", "mutate_map: {1: 1, 1.0: 2}"), []string{`5: metrics.cpu.mutate_map."1.0": 1 is mapped twice`}},
		{"map of booleans", in(unit, "mutate: MAP", "mutate_map: {1: true}"), []string{`5: metrics.cpu.mutate_map."1": must be a number, not true`}},
		{"empty map", in(unit, "mutate: MAP", "mutate_map: {}"), []string{`5: metrics.cpu.mutate_map: is empty`}},
		{"map too fine", in(unit, "mutate: MAP", "mutate_map: {1: 0.0000000000000000001}"), []string{`5: metrics.cpu.mutate_map."1": 0.0000000000000000001 has more than 18 decimals, which no quantity has`}},
		{"expression", in(unit, "skip_datapoints_expression: datapoint["), []string{`4: metrics.cpu.skip_datapoints_expression: column 11: got end of file, want primary expression`}},
		{"boolean as expression", in(unit, "skip_datapoints_expression: False"), []string{`4: metrics.cpu.skip_datapoints_expression: must be text, not False; put it in quotes`}},
		{"may_be_absent", in(unit, "may_be_absent: yes"), []string{`4: metrics.cpu.may_be_absent: must be true or false, not the text "yes"`}},
		{"extra_args", in(unit, "extra_args: [sum]"), []string{`4: metrics.cpu.extra_args: must be a mapping, not a list`}},
		{"unknown extra_args", in(unit, "extra_args:", "  step: 5"), []string{`5: metrics.cpu.extra_args.step: is not a key of extra_args; these are: aggregation_method, query_function, range_function, query_prefix, query_suffix`}},
		{"functions", in(unit, "extra_args: {aggregation_method: topk, query_function: avg, range_function: increase, query_prefix: 5}"), []string{
			`4: metrics.cpu.extra_args.aggregation_method: "topk" is not known; use one of avg, count, max, min, stddev, stdvar, sum`,
			`4: metrics.cpu.extra_args.query_function: "avg" is not known; use one of abs, ceil, exp, floor, ln, log2, log10, round, sqrt`,
			`4: metrics.cpu.extra_args.range_function: "increase" is not known; use one of changes, delta, deriv, idelta, irange, irate, rate`,
			`4: metrics.cpu.extra_args.query_prefix: must be text, not 5; put it in quotes`,
		}},
		{"several at once, by line", "metrics:\n  cpu:\n    groupby: [a, a]\n    factor: x\n  ram:\n    alt_name: 5\n    unit: MiB\n", []string{
			`3: metrics.cpu.groupby: "a" is already in groupby`,
			"3: metrics.cpu.unit: is missing",
			`4: metrics.cpu.factor: must be a number or a fraction such as 1/1048576: not a decimal number: "x"`,
			"6: metrics.ram.alt_name: must be text, not 5; put it in quotes",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			metrics, err := ParseMetrics("m.yml", []byte(c.file), "project_id")
			var e *fault.Error
			if !errors.As(err, &e) || e.Kind != fault.Invalid || metrics != nil {
				t.Fatalf("got %v, %v", metrics, err)
			}
			var got []string
			for _, f := range e.Fields {
				got = append(got, strings.TrimPrefix(strings.TrimPrefix(f.Name, "m.yml"), ":")+": "+f.Message)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("want - got +\n%s", d)
			}
		})
	}
}

func TestParseMetricsAccepts(t *testing.T) {
	for _, c := range []struct {
		name, file string
		want       Metric // besides what every one has
	}{
		{"empty lists", "metrics: {m: {unit: u, groupby: [], metadata: []}}", Metric{}},
		{"defaults spelled out", `metrics: {m: {unit: u, alt_name: m, factor: 1, offset: 0, mutate: NONE, may_be_absent: false, extra_args: {aggregation_method: max, query_prefix: "", query_suffix: ""}}}`, Metric{}},
		{"empty extra_args", "metrics: {m: {unit: u, extra_args: {}}}", Metric{}},
		{"scope key in groupby", "metrics: {m: {unit: u, groupby: [project_id]}}", Metric{}},
		{"many digits", "metrics: {m: {unit: u, offset: 0.1234567890123456789012345}}", Metric{Offset: ratio(t, "0.1234567890123456789012345")}},
		{"fraction of decimals", "metrics: {m: {unit: u, offset: 3600 / 1e6}}", Metric{Offset: ratio(t, "9/2500")}},
		{"quoted number", `metrics: {m: {unit: u, offset: "-2.5"}}`, Metric{Offset: ratio(t, "-5/2")}},
		{"never skip", `metrics: {m: {unit: u, skip_datapoints_expression: "False"}}`, Metric{Skip: "False"}},
		{"byte order mark", "\ufeffmetrics: {m: {unit: u}}", Metric{}},
		{"carriage returns", "metrics:\r\n  m:\r\n    unit: u\r\n", Metric{}},
		{"end of document", "---\nmetrics: {m: {unit: u}}\n...\n", Metric{}},
	} {
		got, err := ParseMetrics("m.yml", []byte(c.file), "project_id")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		c.want.Source, c.want.Name, c.want.Measured, c.want.Unit, c.want.Factor = "default", "m", "m", "u", money.One
		if d := cmp.Diff([]*Metric{&c.want}, got); d != "" {
			t.Errorf("%s: want - got +\n%s", c.name, d)
		}
	}
	if got, err := ParseMetrics("m.yml", []byte("metrics: {}"), "project_id"); err != nil || len(got) != 0 {
		t.Errorf("no metrics: %v, %v", got, err)
	}
}

func TestExportMetrics(t *testing.T) {
	var b bytes.Buffer
	if err := ExportMetrics(&b, parseFile(t, "prometheus.yml")); err != nil {
		t.Fatal(err)
	}
	want := `metrics:
  network_transmit_bytes_total:
    unit: MB
    alt_name: network.outgoing.bytes
    groupby:
      - id
    factor: 0.000001
    extra_args:
      aggregation_method: sum
      query_function: abs
      range_function: delta
      query_prefix: ceil(
      query_suffix: ) or vector(0)

  openstack_glance_image_bytes:
    unit: MiB
    alt_name: image.size
    groupby:
      - id
    factor: 1/1048576

  openstack_nova_server_status:
    - unit: instance
      alt_name: instance
      description: Servers that exist, whatever their size
      groupby:
        - id
        - user_id
      metadata:
        - flavor_name
        - flavor_id
        - vcpus
      mutate: NUMBOOL
    - unit: h
      alt_name: instance.error
      groupby:
        - id
      mutate: MAP
      mutate_map:
        0: 0
        2.5: 0.5
        15: 1
      skip_datapoints_expression: datapoint["vol"]["qty"] == 0
      may_be_absent: true
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("want - got +\n%s", d)
	}
}

func TestExportRefusesTwins(t *testing.T) {
	err := ExportMetrics(&bytes.Buffer{}, []*Metric{{Source: "a", Name: "x", Measured: "m"}, {Source: "b", Name: "x", Measured: "m"}})
	if err == nil || !strings.Contains(err.Error(), `x (m), of the sources "a" and "b"`) {
		t.Errorf("got %v", err)
	}
}

// TestExportQuotes has the texts that readers of YAML like to take for something else.
func TestExportQuotes(t *testing.T) {
	var metrics []*Metric
	for _, s := range []string{
		"yes", "off", "null", "~", "5", "1e3", "0x10", "1:30", "2026-11-21", "a: b", "# no", "- x", "é", "\U0001f4b0", "two\nlines", "two\n\n  indented\nlines",
		"ends\n", "ends\n\n", "\nbegins", "tab\tin", "nul\x00", "\u0085", "\u2028", "\ufeff", "'", `"`, `\`, "%", "@", "`", "|", ">", "{}", "[]", "a #b", "---", "...", "true", "!x", "&x", "*x", "? x", "=", "<<",
		strings.Repeat("long words ", 30) + "end",
	} {
		metrics = append(metrics, &Metric{Source: "default", Name: "m", Measured: "m", Unit: "u", Factor: money.One, Description: s, Prometheus: PrometheusArgs{Suffix: s}})
	}
	for _, m := range metrics {
		var b bytes.Buffer
		if err := ExportMetrics(&b, []*Metric{m}); err != nil {
			t.Errorf("%q: %v", m.Description, err)
			continue
		}
		got, err := ParseMetrics("m.yml", b.Bytes(), "project_id")
		if err != nil {
			t.Errorf("%q: %v\n%s", m.Description, err, b.String())
			continue
		}
		if d := cmp.Diff([]*Metric{m}, got); d != "" {
			t.Errorf("%q: want - got +\n%s", m.Description, d)
		}
		if m.Description == "yes" && !strings.Contains(b.String(), `"yes"`) {
			t.Errorf("yes is a boolean to CloudKitty:\n%s", b.String())
		}
	}
}

func drawMetrics(t *rapid.T) []*Metric {
	name := rapid.StringMatching(`[a-zA-Z0-9._/ é%-]{0,10}[a-zA-Z0-9]`)
	label := rapid.StringMatching(`[a-z_][a-z0-9_]{0,5}`)
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ a-z\n#:'"-]{0,20}`), rapid.SampledFrom([]string{"yes", "5", "a\n", "\n"}))
	number := rapid.StringMatching(`-?[0-9]{1,12}(\.[0-9]{1,18})?`)
	drawRatio := func(what string) money.Ratio {
		s := number.Draw(t, what)
		if rapid.Bool().Draw(t, what+" is a fraction") {
			s += "/" + rapid.StringMatching(`[1-9][0-9]{0,9}(\.[0-9]{1,3})?`).Draw(t, what+" denominator")
		}
		r, err := money.ParseRatio(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	maybe := func(of []string, what string) string {
		return rapid.SampledFrom(append([]string{""}, of...)).Draw(t, what)
	}
	var metrics []*Metric
	seen := map[metricKey]bool{}
	for range rapid.IntRange(0, 5).Draw(t, "metrics") {
		m := &Metric{
			Source: "default", Measured: rapid.StringMatching(`[a-c_:][0-9]?`).Draw(t, "measured"), Name: name.Draw(t, "name"), Unit: name.Draw(t, "unit"),
			Description: text.Draw(t, "description"), Factor: drawRatio("factor"), Offset: drawRatio("offset"),
			Mutate:      Mutation(rapid.IntRange(0, int(Map)).Draw(t, "mutate")),
			Skip:        maybe([]string{"False", `datapoint["vol"]["qty"] == 0.50`, "datapoint['metadata'].get('a:b') # no\n"}, "skip"),
			MayBeAbsent: rapid.Bool().Draw(t, "may be absent"),
			Prometheus: PrometheusArgs{
				Aggregation: maybe([]string{"avg", "sum"}, "aggregation"), QueryFunction: maybe(queryFunctions, "query function"),
				RangeFunction: maybe(rangeFunctions, "range function"), Prefix: text.Draw(t, "prefix"), Suffix: text.Draw(t, "suffix"),
			},
		}
		m.Name, m.Unit = strings.TrimSpace(m.Name), strings.TrimSpace(m.Unit)
		labels := rapid.SliceOfNDistinct(label, 0, 6, rapid.ID[string]).Draw(t, "labels")
		n := rapid.IntRange(0, len(labels)).Draw(t, "groupby")
		m.Groupby, m.Metadata = append([]string(nil), labels[:n]...), append([]string(nil), labels[n:]...)
		if m.Mutate == Map {
			for i := range rapid.IntRange(1, 3).Draw(t, "entries") {
				m.MutateMap = append(m.MutateMap, MutateEntry{money.New(int64(i)*25, 1), money.MustParse(number.Draw(t, "to"))})
			}
		}
		if !seen[m.key()] {
			seen[m.key()] = true
			metrics = append(metrics, m)
		}
	}
	return metrics
}

func TestMetricsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawMetrics(t)
		var b, again bytes.Buffer
		if err := ExportMetrics(&b, want); err != nil {
			t.Fatal(err)
		}
		got, err := ParseMetrics("m.yml", b.Bytes(), "project_id")
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		sortMetrics(want)
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("want - got +\n%s\n%s", d, b.String())
		}
		if err := ExportMetrics(&again, got); err != nil || again.String() != b.String() {
			t.Fatalf("exported again: %v\n%s\n%s", err, b.String(), again.String())
		}
		if _, d := Diff(want, got, true); !d.Empty() {
			t.Fatalf("the same metrics differ:\n%s", d)
		}
	})
}

func TestMetricJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, want := range drawMetrics(t) {
			b, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			got := &Metric{Source: want.Source}
			decoder := json.NewDecoder(bytes.NewReader(b))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(got); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
				t.Fatalf("want - got +\n%s\n%s", d, b)
			}
			if got.changes(want) != "" {
				t.Fatalf("texts changed: %s", got.changes(want))
			}
		}
	})
}

// TestMetricJSONFields holds the names and texts, for they are stored.
func TestMetricJSONFields(t *testing.T) {
	m := parseFile(t, "prometheus.yml")[3]
	m.Ref, m.Source, m.Description, m.Metadata, m.Prometheus = 7, "other", "d", []string{"x"}, PrometheusArgs{"sum", "abs", "rate", "p", "s"}
	m.Factor = ratio(t, "1/1048576")
	b, err := json.Marshal(m)
	want := `{"name":"instance.error","measured":"openstack_nova_server_status","unit":"h","description":"d","groupby":["id"],"metadata":["x"],` +
		`"factor":"1/1048576","offset":"0","mutate":"MAP","mutate_map":[{"from":"0","to":"0"},{"from":"2.5","to":"0.5"},{"from":"15","to":"1"}],` +
		`"skip_datapoints_expression":"datapoint[\"vol\"][\"qty\"] == 0","may_be_absent":true,` +
		`"prometheus":{"aggregation_method":"sum","query_function":"abs","range_function":"rate","query_prefix":"p","query_suffix":"s"}}`
	if err != nil || string(b) != want {
		t.Errorf("%v\n got %s\nwant %s", err, b, want)
	}
	for _, s := range []string{`{"mutate":"SQRT"}`, `{"factor":"1/0"}`, `{"factor":0.5}`, `{"mutate_map":[{"from":"x"}]}`} {
		if err := json.Unmarshal([]byte(s), &Metric{}); err == nil {
			t.Errorf("%s was read", s)
		}
	}
}

// FuzzParseMetrics looks for files that crash the reader, and for metrics that don't survive an export.
func FuzzParseMetrics(f *testing.F) {
	for _, name := range []string{"prometheus.yml", "cloudkitty-default.yml"} {
		content, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Add([]byte("metrics: {a: [{unit: u, factor: 1/3, skip_datapoints_expression: \"datapoint['vol']['qty'] > 1.5\", description: \"\\0\\n\"}]}"))
	f.Add([]byte("metrics: &a {b: *a}"))
	f.Fuzz(func(t *testing.T, content []byte) {
		metrics, err := ParseMetrics("m.yml", content, "project_id")
		if err != nil {
			var e *fault.Error
			if !errors.As(err, &e) || e.Kind != fault.Invalid || len(e.Fields) == 0 {
				t.Fatalf("no problem is named: %v", err)
			}
			return
		}
		var b bytes.Buffer
		if err := ExportMetrics(&b, metrics); err != nil {
			t.Fatal(err)
		}
		again, err := ParseMetrics("m.yml", b.Bytes(), "project_id")
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		if d := cmp.Diff(metrics, again); d != "" {
			t.Fatalf("want - got +\n%s\n%s", d, b.String())
		}
	})
}
