package v2

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ratebook/access"
	"ratebook/costs"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rollup"
)

func month() period.Range { return period.Range{Begin: at("2026-11-01"), End: at("2026-12-01")} }

func TestSummary(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.report = func(q *costs.Query, yield func(costs.Row) error) error {
		for i := range 3 {
			groups := make([]string, len(q.Groups))
			for k := range groups {
				groups[k] = fmt.Sprintf("%d\"ü<%d", k, i)
			}
			err := yield(costs.Row{
				Begin: q.Range.Begin, End: q.Range.End, Groups: groups, Mixed: true, Points: 3,
				AllQty: money.MustParse("12345678901234567890.123456789012345678"), Cost: money.New(int64(10*i), 12),
				Extremes: costs.Extremes{MinQty: money.New(1, 0), MaxQty: money.New(2, 0), MinCost: money.New(-3, 2), MaxCost: money.New(4, 0)},
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	get := func(query string) string {
		w := ask(t, f, admin, "GET", "/v2/summary"+query, "")
		if w.Code != 200 {
			t.Fatalf("%s: %d %s", query, w.Code, w.Body)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s", w.Body)
		}
		return w.Body.String()
	}
	const whole = `"2026-11-01T00:00:00+00:00","2026-12-01T00:00:00+00:00"`
	want := `{"total":3,"columns":["begin","end","qty","rate"],"results":[[` + whole + `,12345678901234567890.123456789012345678,0.00000000001]],"format":"table"}`
	if got := get("?offset=1&limit=1"); got != want {
		t.Errorf("got %s", got)
	}
	if diff := cmp.Diff(&costs.Query{Range: month()}, f.query); diff != "" {
		t.Error(diff)
	}
	want = `{"total":3,"results":[{"begin":"2026-11-01T00:00:00+00:00","end":"2026-12-01T00:00:00+00:00","qty":12345678901234567890.123456789012345678,"rate":0,` +
		`"type":"0\"ü\u003c0","project_id":"1\"ü\u003c0","day_of_the_year":"2\"ü\u003c0"}],"format":"object"}`
	if got := get("?limit=1&response_format=object&groupby=type,project_id&groupby=time-d&groupby=time,,type"); got != want {
		t.Errorf("got %s", got)
	}
	if diff := cmp.Diff(&costs.Query{Range: month(), Groups: []string{"metric", "scope", "attr:day_of_the_year"}, Windows: true}, f.query); diff != "" {
		t.Error(diff)
	}
	if got := get("?offset=7"); got != `{"total":3,"columns":[],"results":[],"format":"table"}` {
		t.Error(got)
	}
	if got := get("?begin=2027-01-01"); got != `{"total":0,"columns":[],"results":[],"format":"table"}` {
		t.Error(got)
	}
	want = `[` + whole + `,4115226300411522630.041152263004115226,-0.03,2,3,0.00000000001]`
	custom := url.QueryEscape(`mean(qty) as "the mean",MIN( "price" ) AS least , MAX(qty),count(price) AS n,SUM(price) AS rate`)
	if got := get("?offset=1&limit=1&custom_fields=" + custom); !strings.Contains(got, want) || !strings.Contains(got, `["begin","end","the mean","least","max","n","rate"]`) {
		t.Error(got)
	}
	if !f.query.Extremes {
		t.Error("nobody asked for extremes")
	}
	get("?begin=2026-11-02+00:00:00%2B00:00&end=20261103T120000Z&filters=type:cpu,type:ram&filters=flavor:m1,project_id:p9,empty:&groupby=time-y,unit")
	wanted := &costs.Query{
		Range: period.Range{Begin: at("2026-11-02"), End: at("2026-11-03T12:00")}, Groups: []string{"attr:year", "attr:unit"},
		Filters: []costs.Filter{
			{Key: "metric", Values: []string{"cpu", "ram"}}, {Key: "attr:flavor", Values: []string{"m1"}}, {Key: "scope", Values: []string{"p9"}}, {Key: "attr:empty", Values: []string{""}},
		},
	}
	if diff := cmp.Diff(wanted, f.query); diff != "" {
		t.Error(diff)
	}
}

// TestIsolation: a tenant asks about its own scopes, whatever it asks for.
func TestIsolation(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/v2/summary", "/v2/dataframes"} {
		for _, c := range []struct {
			who   *access.Caller
			query string
			want  []string // nil: no filter
		}{
			{viewer, "", nil},
			{viewer, "?filters=project_id:p9", []string{"p9"}},
			{tenant, "", []string{"p1", "p2"}},
			{tenant, "?filters=project_id:p9", []string{"p1", "p2"}},
			{tenant, "?filters=project_id:p2", []string{"p2"}},
		} {
			f := newFakes()
			f.frames = func(*costs.FrameQuery, func(*costs.Frame) error) (int64, error) { return 1, nil }
			if w := ask(t, f, c.who, "GET", path+c.query, ""); w.Code != 200 {
				t.Error(w.Code, w.Body)
			}
			var filters []costs.Filter
			if f.query != nil {
				filters = f.query.Filters
			} else if f.asked != nil {
				filters = f.asked.Filters
			}
			var want []costs.Filter
			if c.want != nil {
				want = []costs.Filter{{Key: "scope", Values: c.want}}
			}
			if diff := cmp.Diff(want, filters); diff != "" {
				t.Errorf("%s%s by %s: %s", path, c.query, c.who.ID, diff)
			}
		}
	}
	f := newFakes()
	answer(t, ask(t, f, unscoped, "GET", "/v2/summary", ""), 200, `{"total":0,"columns":[],"results":[]}`)
	answer(t, ask(t, f, unscoped, "GET", "/v2/dataframes?filters=project_id:p1", ""), 200, `{"total":0,"dataframes":[]}`)
	if f.query != nil || f.asked != nil {
		t.Error("somebody was asked")
	}
}

// TestSummariesAddUp: whatever a summary is grouped by, it adds up to the same, to the last digit.
func TestSummariesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type charge struct {
			costs.Labels
			begin time.Time
			rollup.Sums
		}
		var all []charge
		var qty, price money.Decimal
		for range rapid.IntRange(1, 40).Draw(t, "charges") {
			c := charge{
				Labels: costs.Labels{
					Scope: rapid.SampledFrom([]string{"a", "b", "ü"}).Draw(t, "scope"), Metric: rapid.SampledFrom([]string{"cpu", "ram"}).Draw(t, "metric"),
					Unit: rapid.SampledFrom([]string{"h", "GiB"}).Draw(t, "unit"),
				},
				begin: month().Begin.Add(time.Duration(rapid.IntRange(0, 719).Draw(t, "hour")) * time.Hour),
				Sums: rollup.Sums{
					Points: 1, Qty: money.New(rapid.Int64().Draw(t, "qty"), money.QtyPlaces), Price: money.New(rapid.Int64().Draw(t, "price"), money.PricePlaces),
				},
			}
			if flavor := rapid.SampledFrom([]string{"", "m1", "m2"}).Draw(t, "flavor"); flavor != "" {
				c.Groupby = metering.Attributes{{Name: "flavor", Value: flavor}}
			}
			qty, price = qty.Add(c.Qty), price.Add(c.Price)
			all = append(all, c)
		}
		slices.SortFunc(all, func(a, b charge) int { return a.begin.Compare(b.begin) })
		f := newFakes()
		f.report = func(q *costs.Query, yield func(costs.Row) error) error {
			g := costs.NewGrouper(q, time.UTC, yield)
			for i := range all {
				c := &all[i]
				err := g.At(c.begin)
				if q.Windows {
					err = g.AtWindow(period.Range{Begin: c.begin, End: c.begin.Add(time.Hour)})
				}
				if err != nil {
					return err
				}
				g.Add(g.Key(&c.Labels), &c.Sums)
			}
			_, err := g.Close()
			return err
		}
		by := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"type", "project_id", "flavor", "time", "time-d", "time-w", "time-m", "time-y", "month", "none"}), rapid.ID[string]).Draw(t, "by")
		w := ask(t, f, admin, "GET", "/v2/summary?limit=1000&groupby="+strings.Join(by, ","), "")
		var s struct {
			Total   int
			Columns []string
			Results [][]json.RawMessage
		}
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || s.Total != len(s.Results) {
			t.Fatal(err, w.Body)
		}
		for _, row := range s.Results {
			qty, price = qty.Sub(money.MustParse(string(row[2]))), price.Sub(money.MustParse(string(row[3])))
			if len(row) != len(s.Columns) {
				t.Fatal(row, s.Columns)
			}
		}
		if !qty.IsZero() || !price.IsZero() {
			t.Fatalf("by %v: %s and %s are missing", by, qty, price)
		}
	})
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2019-05-01 00:00:00+00:00": "2019-05-01T00:00:00Z", "2019-05-01T00:00:00 02:00": "2019-04-30T22:00:00Z", "20190723T122810Z": "2019-07-23T12:28:10Z",
		"2019-07-23": "2019-07-23T00:00:00Z", "2019-07-23T12:28:10.999999-0530": "2019-07-23T17:58:10Z", "2019-07-23t12": "2019-07-23T12:00:00Z", "2019-07": "2019-07-01T00:00:00Z",
	} {
		if got, ok := parseTime(text); !ok || got.Format(time.RFC3339) != want {
			t.Errorf("%s: %s", text, got)
		}
	}
	for _, bad := range []string{"", "zz", "2019-02-29", "2019-13-01", "2019-05-01T24:00", "2019-05-01T00:00:60", "0000-01-01", "2019-05-01T00:00:00+99:00", "1556668800", "2019-05-01T", "２019-05-01"} {
		if got, ok := parseTime(bad); ok {
			t.Errorf("%s: %s", bad, got)
		}
	}
}
