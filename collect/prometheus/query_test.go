package prometheus

import (
	"slices"
	"strings"
	"testing"
	"time"

	"ratebook/metering"
)

func TestQuery(t *testing.T) {
	args := func(a metering.PrometheusArgs) *metering.Metric {
		return &metering.Metric{Name: "alt", Measured: "m", Prometheus: a}
	}
	for _, c := range []struct {
		name   string
		metric *metering.Metric
		scope  string
		period time.Duration
		want   string
	}{
		{
			"CloudKitty's example",
			&metering.Metric{
				Measured: "http_requests_total", Groupby: []string{"foo", "bar"}, Metadata: []string{"code", "instance"},
				Prometheus: metering.PrometheusArgs{Aggregation: "avg", QueryFunction: "abs", RangeFunction: "delta"},
			},
			"f266f30b11f246b589fd266f85eeec39", time.Hour,
			`avg(abs(delta(http_requests_total{project_id="f266f30b11f246b589fd266f85eeec39"}[3600s]))) by (foo, bar, project_id, code, instance)`,
		},
		{"defaults", args(metering.PrometheusArgs{}), "p", time.Hour, `max(max_over_time(m{project_id="p"}[3600s])) by (project_id)`},
		{"period", args(metering.PrometheusArgs{}), "p", time.Minute, `max(max_over_time(m{project_id="p"}[60s])) by (project_id)`},
		{"aggregation", args(metering.PrometheusArgs{Aggregation: "sum"}), "p", time.Hour, `sum(sum_over_time(m{project_id="p"}[3600s])) by (project_id)`},
		{"range function", args(metering.PrometheusArgs{RangeFunction: "rate"}), "p", time.Hour, `max(rate(m{project_id="p"}[3600s])) by (project_id)`},
		{
			"query function", args(metering.PrometheusArgs{QueryFunction: "ceil", Aggregation: "min"}), "p", time.Hour,
			`min(ceil(min_over_time(m{project_id="p"}[3600s]))) by (project_id)`,
		},
		{"prefix", args(metering.PrometheusArgs{Prefix: "2 *"}), "p", time.Hour, `2 * max(max_over_time(m{project_id="p"}[3600s])) by (project_id)`},
		{"suffix", args(metering.PrometheusArgs{Suffix: "> 0"}), "p", time.Hour, `max(max_over_time(m{project_id="p"}[3600s])) by (project_id) > 0`},
		{"groupby only", &metering.Metric{Measured: "m", Groupby: []string{"b", "a"}}, "p", time.Hour, `max(max_over_time(m{project_id="p"}[3600s])) by (b, a, project_id)`},
		{"ordinary IDs as they are", args(metering.PrometheusArgs{}), "a.b|c-é'$", time.Hour, `max(max_over_time(m{project_id="a.b|c-é'$"}[3600s])) by (project_id)`},
		{
			"special IDs escaped", args(metering.PrometheusArgs{}), "a\"b\\c\nd", time.Hour,
			`max(max_over_time(m{project_id="a\"b\\c\nd"}[3600s])) by (project_id)`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Query(c.metric, "project_id", c.scope, c.period); got != c.want {
				t.Errorf("\ngot  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestQueryLeavesMetricAlone(t *testing.T) {
	m := &metering.Metric{Measured: "m", Groupby: make([]string, 1, 5), Metadata: []string{"x"}}
	Query(m, "k", "s", time.Hour)
	if got := m.Groupby[:2][1]; got != "" {
		t.Errorf("Query wrote %q into the metric's own labels", got)
	}
}

func TestManyScopes(t *testing.T) {
	got := manyScopes("k", scopesOf("a.b", `c"\`, "d\n|"))
	if want := `k=~"a\\.b|c\"\\\\|d\n\\|"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := manyScopes("k", scopesOf("a.b")), `k="a.b"`; got != want {
		t.Errorf("one scope: got %s, want %s", got, want)
	}
}

func TestBatches(t *testing.T) {
	long := strings.Repeat(".", maxMatcher/3-1) // each dot is three bytes when escaped
	var thousand []string
	for i := range 1001 {
		thousand = append(thousand, strings.Repeat("x", i+1)[:1]+string(rune('0'+i)))
	}
	for _, c := range []struct {
		name string
		ids  []string
		want []int
	}{
		{"none", nil, nil},
		{"one", []string{"a"}, []int{1}},
		{"many", thousand, []int{500, 500, 1}},
		{"long", []string{"a", long, "b", long, "c"}, []int{2, 2, 1}},
		{"too long for any", []string{long + long, "a"}, []int{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			scopes := scopesOf(c.ids...)
			var sizes []int
			var all []*metering.Scope
			for _, b := range batches(scopes) {
				sizes = append(sizes, len(b))
				all = append(all, b...)
				if q := manyScopes("k", b); len(b) > 1 && len(q) > maxMatcher+len(`k=~""`) {
					t.Errorf("a matcher of %d bytes", len(q))
				}
			}
			if !slices.Equal(sizes, c.want) || !slices.Equal(all, scopes) {
				t.Errorf("batches of %v, want %v", sizes, c.want)
			}
		})
	}
}

func scopesOf(ids ...string) []*metering.Scope {
	scopes := make([]*metering.Scope, len(ids))
	for i, id := range ids {
		scopes[i] = &metering.Scope{Ref: int64(i + 1), ID: id, Source: metering.Source{Name: "default", ScopeKey: "project_id"}}
	}
	return scopes
}
