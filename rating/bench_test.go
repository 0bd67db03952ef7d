package rating

import (
	"fmt"
	"testing"
	"time"

	"ratebook/metering"
	"ratebook/money"
)

// BenchmarkRate rates series of 24 points as a worker does: quantities come as text and go out as text with their prices,
// plans come from the cache. 1,000 mappings on 15 fields of 5 services.
func BenchmarkRate(b *testing.B) {
	const services, fields, values = 5, 3, 66
	rules := &Rules{Modules: []Module{{Name: "hashmap", Enabled: true}}}
	for s := range services {
		service := fmt.Sprint("service", s)
		rule := Rule{ID: service, Kind: Mapping, Service: service, Type: Flat, Cost: money.MustParse("0.0005")}
		rules.Hashmap = append(rules.Hashmap, rule)
		for f := range fields {
			for v := range values {
				rules.Hashmap = append(rules.Hashmap, Rule{
					ID: fmt.Sprint(s, f, v), Kind: Mapping, Service: service, Field: fmt.Sprint("field", f), Value: fmt.Sprint("value", v),
					Type: Flat, Cost: money.New(int64(1+v*37+f), 5), Group: fmt.Sprint("group", f),
				})
			}
		}
	}
	engine, err := Compile(rules, time.UTC)
	if err != nil {
		b.Fatal(err)
	}

	const points, many = 24, 5000
	series := make([]metering.Series, many)
	prints := make([]metering.Fingerprint, many)
	for i := range series {
		s := metering.Series{
			Scope:    &metering.Scope{Ref: int64(i / 50), ID: fmt.Sprint("project", i/50), Source: metering.Source{ScopeKey: "project_id"}},
			Metric:   &metering.Metric{Ref: int64(i % services), Name: fmt.Sprint("service", i%services), Unit: "GiB"},
			Groupby:  metering.Attributes{{Name: "field0", Value: fmt.Sprint("value", i%values)}, {Name: "id", Value: fmt.Sprint("id", i)}},
			Metadata: metering.Attributes{{Name: "field1", Value: fmt.Sprint("value", i%7)}, {Name: "field2", Value: "other"}},
		}
		series[i], prints[i] = s, s.Fingerprint()
	}
	quantities := [points][]byte{}
	for i := range quantities {
		quantities[i] = fmt.Appendf(nil, "%d.%d", i, 1234567890123+i*7919)
	}
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

	b.ReportAllocs()
	var buf []byte
	n := 0
	for b.Loop() {
		i := n % many
		plan := engine.Plan(&series[i], prints[i], begin)
		for _, text := range quantities {
			qty, err := money.ParseBytes(text)
			if err != nil {
				b.Fatal(err)
			}
			price, outcome := plan.Price(qty)
			if outcome != Priced {
				b.Fatal(outcome)
			}
			buf = price.Append(append(qty.Append(buf[:0]), ' '))
		}
		n++
	}
	b.ReportMetric(float64(n)*points/b.Elapsed().Seconds(), "points/s")
}

// BenchmarkPlan plans series that are not in the cache.
func BenchmarkPlan(b *testing.B) {
	rules := &Rules{Modules: []Module{{Name: "hashmap", Enabled: true}}}
	for v := range 1000 {
		rules.Hashmap = append(rules.Hashmap, Rule{
			ID: fmt.Sprint(v), Kind: Mapping, Service: "cpu", Field: fmt.Sprint("field", v%15), Value: fmt.Sprint("value", v),
			Type: Flat, Cost: money.New(int64(v), 5),
		})
	}
	engine, err := Compile(rules, time.UTC)
	if err != nil {
		b.Fatal(err)
	}
	s := metering.Series{
		Scope: &metering.Scope{ID: "project"}, Metric: &metering.Metric{Name: "cpu"},
		Groupby: metering.Attributes{{Name: "field0", Value: "value15"}, {Name: "field1", Value: "value31"}},
	}
	b.ReportAllocs()
	for b.Loop() {
		engine.plan(&s, time.Unix(0, 0))
	}
}
