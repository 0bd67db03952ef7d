package script

import (
	"context"
	"fmt"
	"testing"

	"ratebook/money"
)

// BenchmarkRun measures a script that prices a frame, in this process.
func BenchmarkRun(b *testing.B) {
	const text = "for points in data['usage'].values():\n  for p in points:\n    p['rating']['price'] = p['vol']['qty'] * 0.5\n"
	f := some()
	f.Points = nil
	for i := range 1000 {
		f.Points = append(f.Points, Point{
			Metric: "cpu", Unit: "instance", Qty: money.New(1, 0), Groupby: []Attribute{{"id", fmt.Sprint(i)}}, Metadata: []Attribute{{"flavor", "m1.tiny"}},
		})
	}
	i := new(Interpreter)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := i.Run(context.Background(), []Source{{"s", text}}, f); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "points/s")
}

// BenchmarkProtocol measures encoding and decoding the frame.
func BenchmarkProtocol(b *testing.B) {
	f := some()
	for len(f.Points) < 1000 {
		f.Points = append(f.Points, f.Points[0])
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeAnswer(encodeAnswer(f, nil)[4:]); err != nil {
			b.Fatal(err)
		}
	}
}
