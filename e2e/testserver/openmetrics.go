package testserver

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Series is a time series to be given to a Prometheus.
type Series struct {
	Name    string
	Labels  map[string]string
	Samples []Sample
}

// Sample is one value of a series.
type Sample struct {
	At    time.Time // to the second
	Value string    // as it is to be written: 1.5, NaN, +Inf
}

// Every returns n samples of the given values, over and over, one each step from begin on.
func Every(step time.Duration, begin time.Time, n int, values ...string) []Sample {
	samples := make([]Sample, n)
	for i := range samples {
		samples[i] = Sample{begin.Add(time.Duration(i) * step), values[i%len(values)]}
	}
	return samples
}

// OpenMetrics writes the series as text that [Prometheus] takes.
func OpenMetrics(series ...Series) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	var b strings.Builder
	for _, s := range series {
		var labels []string
		for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
			labels = append(labels, name+`="`+escape.Replace(s.Labels[name])+`"`)
		}
		for _, x := range s.Samples {
			fmt.Fprintf(&b, "%s{%s} %s %d\n", s.Name, strings.Join(labels, ","), x.Value, x.At.Unix())
		}
	}
	b.WriteString("# EOF\n")
	return b.String()
}
