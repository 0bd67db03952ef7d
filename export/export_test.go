package export

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ratebook/costs"
	"ratebook/money"
	"ratebook/period"
)

type writer interface {
	Row(costs.Row) error
	Close(costs.Total) error
}

var (
	_ writer = (*CSV)(nil)
	_ writer = (*JSON)(nil)
	_ writer = (*Table)(nil)
)

func at(s string) time.Time {
	t, err := period.ParseTime(s, time.UTC)
	if err != nil {
		panic(err)
	}
	return t
}

func berlin() *time.Location {
	zone, err := period.ParseZone("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return zone
}

var november = period.Range{Begin: at("2026-11-01"), End: at("2026-12-01")}

func row(begin, end, unit, qty, cost string, groups ...string) costs.Row {
	r := costs.Row{Begin: at(begin), End: at(end), Groups: groups, Unit: unit, Cost: money.MustParse(cost), Points: 1}
	if qty == "" {
		r.Mixed = true
	} else {
		r.Qty = money.MustParse(qty)
	}
	return r
}

func write(t *testing.T, w writer, total costs.Total, rows ...costs.Row) {
	t.Helper()
	for _, r := range rows {
		if err := w.Row(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(total); err != nil {
		t.Fatal(err)
	}
}

var reports = []struct {
	name             string
	q                costs.Query
	zone             *time.Location
	rows             []costs.Row
	total            costs.Total
	csv, json, table string
}{
	{
		name: "nothing",
		q:    costs.Query{Range: november, Groups: []string{"scope"}},
		zone: time.UTC,
		csv:  "scope,unit,qty,cost,currency\n",
		json: `{"begin":"2026-11-01T00:00:00Z","end":"2026-12-01T00:00:00Z","groups":["scope"],"rows":[],"total":{"unit":"","qty":"0","cost":"0","currency":"EUR"}}
`,
		table: `
scope  unit  qty  cost EUR
total          0         0
`,
	},
	{
		name:  "no groups",
		q:     costs.Query{Range: november},
		zone:  time.UTC,
		rows:  []costs.Row{row("2026-11-01", "2026-12-01", "h", "1.50", "-0.000000000001")},
		total: costs.Total{Unit: "h", Qty: money.MustParse("1.5"), Cost: money.MustParse("-0.000000000001")},
		csv:   "unit,qty,cost,currency\nh,1.5,-0.000000000001,EUR\n",
		json: `{"begin":"2026-11-01T00:00:00Z","end":"2026-12-01T00:00:00Z","groups":[],"rows":[
{"unit":"h","qty":"1.5","cost":"-0.000000000001","currency":"EUR"}
],"total":{"unit":"h","qty":"1.5","cost":"-0.000000000001","currency":"EUR"}}
`,
		table: `
unit     qty         cost EUR
h        1.5  -0.000000000001
total h  1.5  -0.000000000001
`,
	},
	{
		name: "buckets in a zone, mixed units",
		q:    costs.Query{Range: november, Bucket: period.Day, Groups: []string{"scope_name", "attr:unit"}},
		zone: berlin(),
		rows: []costs.Row{
			row("2026-11-01", "2026-11-01T23:00:00Z", "", "", "1200", "Zoë, \"the\" one", "=1+1"),
			row("2026-11-01", "2026-11-01T23:00:00Z", "GiB", "1e3", "0.25", "line\nbreak", ""),
			row("2026-11-01T23:00:00Z", "2026-11-02T23:00:00Z", "h", "0", "0", "a\xff\\", " x"),
		},
		total: costs.Total{Mixed: true, Cost: money.MustParse("1200.250")},
		csv: `begin,end,scope_name,attr:unit,unit,qty,cost,currency
2026-11-01T01:00:00+01:00,2026-11-02T00:00:00+01:00,"Zoë, ""the"" one",=1+1,,,1200,EUR
2026-11-01T01:00:00+01:00,2026-11-02T00:00:00+01:00,"line
break",,GiB,1000,0.25,EUR
2026-11-02T00:00:00+01:00,2026-11-03T00:00:00+01:00,` + "a\xff\\" + `," x",h,0,0,EUR
`,
		json: `{"begin":"2026-11-01T01:00:00+01:00","end":"2026-12-01T01:00:00+01:00","groups":["scope_name","attr:unit"],"rows":[
{"begin":"2026-11-01T01:00:00+01:00","end":"2026-11-02T00:00:00+01:00","scope_name":"Zoë, \"the\" one","attr:unit":"=1+1","unit":"","qty":"","cost":"1200","currency":"EUR"},
{"begin":"2026-11-01T01:00:00+01:00","end":"2026-11-02T00:00:00+01:00","scope_name":"line\nbreak","attr:unit":"","unit":"GiB","qty":"1000","cost":"0.25","currency":"EUR"},
{"begin":"2026-11-02T00:00:00+01:00","end":"2026-11-03T00:00:00+01:00","scope_name":"a\ufffd\\","attr:unit":" x","unit":"h","qty":"0","cost":"0","currency":"EUR"}
],"total":{"unit":"","qty":"","cost":"1200.25","currency":"EUR"}}
`,
		table: `
begin                      end                        scope_name      attr:unit  unit   qty  cost EUR
2026-11-01T01:00:00+01:00  2026-11-02T00:00:00+01:00  Zoë, "the" one  =1+1                    1200
2026-11-01T01:00:00+01:00  2026-11-02T00:00:00+01:00  line�break                 GiB   1000      0.25
2026-11-02T00:00:00+01:00  2026-11-03T00:00:00+01:00  a�\              x         h        0      0
total                                                                                         1200.25
`,
	},
	{
		name:  "clashing names",
		q:     costs.Query{Range: november, Groups: []string{"unit", "cost", "begin"}},
		zone:  time.UTC,
		rows:  []costs.Row{row("2026-11-01", "2026-12-01", "h", "1", "2", "h", "c", "b")},
		total: costs.Total{Unit: "h", Qty: money.New(1, 0), Cost: money.New(2, 0)},
		csv:   "unit,attr:cost,begin,unit,qty,cost,currency\nh,c,b,h,1,2,EUR\n",
		json: `{"begin":"2026-11-01T00:00:00Z","end":"2026-12-01T00:00:00Z","groups":["unit","attr:cost","begin"],"rows":[
{"attr:cost":"c","begin":"b","unit":"h","qty":"1","cost":"2","currency":"EUR"}
],"total":{"unit":"h","qty":"1","cost":"2","currency":"EUR"}}
`,
		table: `
unit   attr:cost  begin  unit  qty  cost EUR
h      c          b      h       1         2
total                    h       1         2
`,
	},
}

func TestReports(t *testing.T) {
	for _, c := range reports {
		for _, f := range []struct {
			format string
			open   func(w io.Writer) writer
			want   string
		}{
			{"csv", func(w io.Writer) writer { return NewCSV(w, &c.q, c.zone, "EUR") }, c.csv},
			{"json", func(w io.Writer) writer { return NewJSON(w, &c.q, c.zone, "EUR") }, c.json},
			{"table", func(w io.Writer) writer { return NewTable(w, &c.q, c.zone, "EUR") }, strings.TrimPrefix(c.table, "\n")},
		} {
			t.Run(c.name+"/"+f.format, func(t *testing.T) {
				var b strings.Builder
				write(t, f.open(&b), c.total, c.rows...)
				if diff := cmp.Diff(f.want, b.String()); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		}
	}
}

// TestReadersAgree reads CSV and JSON with the standard library: both must be well formed and say the same.
func TestReadersAgree(t *testing.T) {
	for _, c := range reports {
		if c.name == "clashing names" {
			continue // the CSV has a column twice
		}
		var csvText, jsonText strings.Builder
		write(t, NewCSV(&csvText, &c.q, c.zone, "EUR"), c.total, c.rows...)
		write(t, NewJSON(&jsonText, &c.q, c.zone, "EUR"), c.total, c.rows...)
		lines, err := csv.NewReader(strings.NewReader(csvText.String())).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ Rows []map[string]string }
		if err := json.Unmarshal([]byte(jsonText.String()), &doc); err != nil {
			t.Fatal(err)
		}
		rows := []map[string]string{}
		for _, line := range lines[1:] {
			m := map[string]string{}
			for i, name := range lines[0] {
				m[name] = strings.ToValidUTF8(line[i], "\ufffd")
			}
			rows = append(rows, m)
		}
		if diff := cmp.Diff(rows, doc.Rows); diff != "" {
			t.Errorf("%s: -csv +json\n%s", c.name, diff)
		}
	}
}

func TestEscapes(t *testing.T) {
	for r := range rune(0x2100) {
		s := "a" + string(r) + "b"
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil || got != s {
			t.Errorf("%q: got %q, %v", s, got, err)
		}
		record, err := csv.NewReader(strings.NewReader(string(appendField(nil, s)) + ",x\n")).Read()
		if want := []string{s, "x"}; err != nil || !slices.Equal(record, want) {
			t.Errorf("%q: got %q, %v", s, record, err)
		}
	}
}

type brokenPipe struct{ writes int }

var errBroken = errors.New("broken pipe")

func (p *brokenPipe) Write(b []byte) (int, error) {
	p.writes++
	return 0, errBroken
}

// TestBrokenPipe holds that a report ends soon after its reader has gone, and that nothing more is written.
func TestBrokenPipe(t *testing.T) {
	q := &costs.Query{Range: november}
	for _, open := range []func(w io.Writer) writer{
		func(w io.Writer) writer { return NewCSV(w, q, time.UTC, "EUR") },
		func(w io.Writer) writer { return NewJSON(w, q, time.UTC, "EUR") },
	} {
		var p brokenPipe
		w := open(&p)
		var err error
		for range 10_000 {
			if err = w.Row(row("2026-11-01", "2026-12-01", "h", "1", "2")); err != nil {
				break
			}
		}
		if !errors.Is(err, errBroken) || !errors.Is(w.Close(costs.Total{}), errBroken) || p.writes != 1 {
			t.Errorf("got %v after %d writes", err, p.writes)
		}
	}
}

func benchmark(b *testing.B, open func(w io.Writer, q *costs.Query) writer) {
	q := &costs.Query{Range: november, Bucket: period.Day, Groups: []string{"scope", "scope_name", "flavor"}}
	rows := make([]costs.Row, 1000)
	for i := range rows {
		rows[i] = row("2026-11-01", "2026-11-02", "GiB", fmt.Sprintf("%d.123456", i), fmt.Sprintf("%d.123456789012", i),
			fmt.Sprintf("0f3c4f0e9d1b4a6c8e2d%012d", i), fmt.Sprintf("project %d", i), "m1.large")
	}
	w := open(io.Discard, q)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := w.Row(rows[i%len(rows)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCSV(b *testing.B) {
	benchmark(b, func(w io.Writer, q *costs.Query) writer { return NewCSV(w, q, time.UTC, "EUR") })
}

func BenchmarkJSON(b *testing.B) {
	benchmark(b, func(w io.Writer, q *costs.Query) writer { return NewJSON(w, q, time.UTC, "EUR") })
}
