package prometheus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
)

// record is a sink that notes what it is given.
type record struct {
	items []item
	item  item
}

type item struct {
	Labels     map[string]string
	Samples    []string // "time value"
	Histograms []int64
}

func (r *record) label(name, value []byte) error {
	if r.item.Labels == nil {
		r.item.Labels = map[string]string{}
	}
	if _, ok := r.item.Labels[string(name)]; ok {
		return errors.New("a label twice")
	}
	r.item.Labels[string(name)] = string(value)
	return nil
}

func (r *record) sample(at int64, text []byte) error {
	r.item.Samples = append(r.item.Samples, fmt.Sprintf("%d %s", at, text))
	return nil
}

func (r *record) histogram(at int64) error {
	r.item.Histograms = append(r.item.Histograms, at)
	return nil
}

func (r *record) end() error {
	r.items = append(r.items, r.item)
	r.item = item{}
	return nil
}

// read reads an answer through a buffer of the given size.
func read(src io.Reader, buffer int, resultType string) ([]item, *envelope, error) {
	s := newScanner(src)
	s.buf = make([]byte, buffer)
	var r record
	e, err := readEnvelope(s, readResult(resultType, &r))
	if err != nil {
		return nil, nil, err
	}
	return r.items, e, nil
}

func answer(resultType, result string) string {
	return `{"status":"success","data":{"resultType":"` + resultType + `","result":` + result + `}}`
}

func TestReadAnswer(t *testing.T) {
	series := []item{{Labels: map[string]string{"a": "x"}, Samples: []string{"3600 1.5", "7200 NaN"}}}
	for _, c := range []struct {
		name, kind, text string
		want             []item
	}{
		{"matrix", matrix, answer("matrix", `[{"metric":{"a":"x"},"values":[[3600,"1.5"],[7200,"NaN"]]}]`), series},
		{
			"sorted keys and white space", matrix,
			"\n{ \"data\" : {\"result\":[ {\"metric\" : {\"a\":\"x\"} , \"values\" : [ [ 3600.000 , \"1.5\" ],\t[7.2e3,\"NaN\"] ] } ] , \"resultType\":\"matrix\" }, \"status\":\"success\" }\r\n",
			series,
		},
		{
			"unknown members", matrix,
			`{"status":"success","isPartial":false,"data":{"resultType":"matrix","result":[{"x":[1,-2.5e-3,{"y":[null,true,false]}],"metric":{"a":"x"},"values":[[3600,"1.5"],[7200,"NaN"]]}],"stats":{"a":{}}},"trace":{"z":[]}}`,
			series,
		},
		{"values before labels", matrix, answer("matrix", `[{"values":[[3600,"1.5"],[7200,"NaN"]],"metric":{"a":"x"}}]`), series},
		{"vector", vector, answer("vector", `[{"metric":{},"value":[60,"+Inf"]}]`), []item{{Samples: []string{"60 +Inf"}}}},
		{"empty", vector, answer("vector", `[]`), nil},
		{
			"escapes", vector, answer("vector", `[{"metric":{"\u0061":"q\"b\\s\/n\nt\t\b\f\r\u00e9\ud83d\ude00"},"value":[60,"\u0031"]}]`),
			[]item{{Labels: map[string]string{"a": "q\"b\\s/n\nt\t\b\f\ré😀"}, Samples: []string{"60 1"}}},
		},
		{
			"histograms", matrix, answer("matrix", `[{"metric":{},"values":[[60,"1"]],"histograms":[[120,{"count":"3","sum":"1","buckets":[[1,"2","3","4"]]}]]},{"metric":{},"histograms":[]}]`),
			[]item{{Samples: []string{"60 1"}, Histograms: []int64{120}}, {}},
		},
		{"histogram", vector, answer("vector", `[{"metric":{},"histogram":[120,{"count":"3"}]}]`), []item{{Histograms: []int64{120}}}},
		{"negative time", vector, answer("vector", `[{"metric":{},"value":[-60,"1"]}]`), []item{{Samples: []string{"-60 1"}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, buffer := range []int{1, 7, bufferSize} {
				got, _, err := read(iotest.HalfReader(strings.NewReader(c.text)), buffer, c.kind)
				if err != nil || !reflect.DeepEqual(got, c.want) {
					t.Errorf("buffer of %d: got %v, %v, want %v", buffer, got, err, c.want)
				}
			}
		})
	}
}

func TestReadAnswerRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                ``,
		"HTML":                   `<html></html>`,
		"another top":            `[]`,
		"two answers":            answer("matrix", `[]`) + answer("matrix", `[]`),
		"no status":              `{"data":{"resultType":"matrix","result":[]}}`,
		"unknown status":         `{"status":"fine","data":{"resultType":"matrix","result":[]}}`,
		"two statuses":           `{"status":"error","status":"success","data":{"resultType":"matrix","result":[]}}`,
		"no data":                `{"status":"success"}`,
		"null data":              `{"status":"success","data":null}`,
		"null result":            answer("matrix", `null`),
		"no result":              `{"status":"success","data":{"resultType":"matrix"}}`,
		"no type":                `{"status":"success","data":{"result":[]}}`,
		"two results":            `{"status":"success","data":{"resultType":"matrix","result":[],"result":[]}}`,
		"two types":              `{"status":"success","data":{"resultType":"matrix","resultType":"matrix","result":[]}}`,
		"vector":                 answer("vector", `[]`),
		"late vector":            `{"status":"success","data":{"result":[],"resultType":"vector"}}`,
		"scalar":                 answer("scalar", `[1435781451.781,"1"]`),
		"scalar in a matrix":     answer("matrix", `[1435781451.781,"1"]`),
		"value in a matrix":      answer("matrix", `[{"metric":{},"value":[60,"1"]}]`),
		"series without labels":  answer("matrix", `[{"values":[[60,"1"]]}]`),
		"series without values":  answer("matrix", `[{"metric":{}}]`),
		"two metrics":            answer("matrix", `[{"metric":{},"metric":{},"values":[[60,"1"]]}]`),
		"two values":             answer("matrix", `[{"metric":{},"values":[[60,"1"]],"values":[]}]`),
		"null values":            answer("matrix", `[{"metric":{},"values":null}]`),
		"number as a value":      answer("matrix", `[{"metric":{},"values":[[60,1]]}]`),
		"text as a time":         answer("matrix", `[{"metric":{},"values":[["60","1"]]}]`),
		"time between":           answer("matrix", `[{"metric":{},"values":[[60.001,"1"]]}]`),
		"endless time":           answer("matrix", `[{"metric":{},"values":[[1e400,"1"]]}]`),
		"three in a pair":        answer("matrix", `[{"metric":{},"values":[[60,"1",2]]}]`),
		"one in a pair":          answer("matrix", `[{"metric":{},"values":[[60]]}]`),
		"leading zero":           answer("matrix", `[{"metric":{},"values":[[060,"1"]]}]`),
		"plus":                   answer("matrix", `[{"metric":{},"values":[[+60,"1"]]}]`),
		"bare point":             answer("matrix", `[{"metric":{},"values":[[60.,"1"]]}]`),
		"bare exponent":          answer("matrix", `[{"metric":{},"values":[[60e,"1"]]}]`),
		"number as a label":      answer("matrix", `[{"metric":{"a":1},"values":[[60,"1"]]}]`),
		"comma at the end":       answer("matrix", `[{"metric":{},"values":[[60,"1"],]}]`),
		"missing comma":          answer("matrix", `[{"metric":{}"values":[[60,"1"]]}]`),
		"broken UTF-8":           answer("matrix", "[{\"metric\":{\"a\":\"\xff\"},\"values\":[[60,\"1\"]]}]"),
		"control character":      answer("matrix", "[{\"metric\":{\"a\":\"\n\"},\"values\":[[60,\"1\"]]}]"),
		"half a surrogate":       answer("matrix", `[{"metric":{"a":"\ud83d"},"values":[[60,"1"]]}]`),
		"two high surrogates":    answer("matrix", `[{"metric":{"a":"\ud83d\ud83d"},"values":[[60,"1"]]}]`),
		"unknown escape":         answer("matrix", `[{"metric":{"a":"\x41"},"values":[[60,"1"]]}]`),
		"short escape":           answer("matrix", `[{"metric":{"a":"\u41"},"values":[[60,"1"]]}]`),
		"escaped line break":     answer("matrix", "[{\"metric\":{\"a\":\"\\\n\"},\"values\":[[60,\"1\"]]}]"),
		"wrong literal":          `{"status":"success","x":nul,"data":{"resultType":"matrix","result":[]}}`,
		"deep nesting":           `{"x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `,"status":"success","data":{"resultType":"matrix","result":[]}}`,
		"endless string":         `{"x":"` + strings.Repeat("x", 2*maxToken) + `","status":"success","data":{"resultType":"matrix","result":[]}}`,
		"warnings of other type": `{"status":"success","warnings":"w","data":{"resultType":"matrix","result":[]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := read(strings.NewReader(text), bufferSize, matrix)
			if err == nil {
				t.Errorf("accepted as %v", got)
			}
		})
	}
}

func TestReadTruncated(t *testing.T) {
	text := `{"status":"success","infos":["é\u00e9"],"x":[-1.5e3,null],"data":{"resultType":"matrix","result":[{"metric":{"a":"x"},"values":[[3600.0,"1.5"]]}]}}`
	for n := range text {
		_, _, err := read(strings.NewReader(text[:n]), bufferSize, matrix)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut to %s: %v", text[:n], err)
		}
		_, _, err = read(io.MultiReader(strings.NewReader(text[:n]), iotest.ErrReader(errTooLarge)), bufferSize, matrix)
		if !errors.Is(err, errTooLarge) {
			t.Errorf("failing after %s: %v", text[:n], err)
		}
	}
}

func TestReadEnvelope(t *testing.T) {
	_, e, err := read(strings.NewReader(`{"status":"error","errorType":"bad_data","error":"no","data":null,"warnings":null,"infos":["i"],"isPartial":true}`), bufferSize, matrix)
	if err != nil {
		t.Fatal(err)
	}
	if want := (envelope{status: "error", errorType: "bad_data", message: "no", infos: []string{"i"}, partial: true}); !reflect.DeepEqual(*e, want) {
		t.Errorf("got %+v, want %+v", *e, want)
	}
}

// FuzzReadAnswer holds the reader against itself with other buffers, and whatever it accepts against encoding/json.
func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte(answer("matrix", `[{"metric":{"a":"x\n\u00e9\ud83d\ude00"},"values":[[3600.000,"1.5"],[7.2e3,"NaN"]],"histograms":[[60,{}]]}]`)), byte(3))
	f.Add([]byte(answer("vector", `[{"metric":{},"value":[60,"+Inf"],"x":[true,false,null,{"a":-1}]}]`)), byte(1))
	f.Add([]byte(`{"status":"error","errorType":"bad_data","error":"no"}`), byte(9))
	f.Fuzz(func(t *testing.T, text []byte, buffer byte) {
		for _, kind := range []string{matrix, vector} {
			items, e, err := read(bytes.NewReader(text), bufferSize, kind)
			again, _, errAgain := read(iotest.OneByteReader(bytes.NewReader(text)), int(buffer)+1, kind)
			if !reflect.DeepEqual(items, again) || (err == nil) != (errAgain == nil) {
				t.Fatalf("depends on the buffer: %v, %v and %v, %v", items, err, again, errAgain)
			}
			if err != nil {
				continue
			}
			var top map[string]json.RawMessage
			if err := json.Unmarshal(text, &top); err != nil {
				t.Fatalf("accepted what is no JSON: %v", err)
			}
			if e.status != "success" {
				continue
			}
			if want := reference(t, top["data"]); len(items)+len(want) > 0 && !reflect.DeepEqual(items, want) {
				t.Fatalf("got %v, want %v", items, want)
			}
		}
	})
}

// reference decodes a result with encoding/json.
func reference(t *testing.T, data json.RawMessage) (items []item) {
	must := func(raw []byte, into any) {
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
	seconds := func(raw []byte) int64 {
		n, ok := slowSeconds(raw)
		if !ok {
			t.Fatalf("time %s", raw)
		}
		return n
	}
	var fields map[string]json.RawMessage
	must(data, &fields)
	var result []map[string]json.RawMessage
	must(fields["result"], &result)
	for _, r := range result {
		var it item
		must(r["metric"], &it.Labels)
		if len(it.Labels) == 0 {
			it.Labels = nil
		}
		var values, histograms [][]json.RawMessage
		for name, into := range map[string]*[][]json.RawMessage{"value": &values, "histogram": &histograms} {
			if raw := r[name]; raw != nil {
				*into = make([][]json.RawMessage, 1)
				must(raw, &(*into)[0])
			}
			if raw := r[name+"s"]; raw != nil {
				must(raw, into)
			}
		}
		for _, v := range values {
			var value string
			must(v[1], &value)
			it.Samples = append(it.Samples, fmt.Sprintf("%d %s", seconds(v[0]), value))
		}
		for _, h := range histograms {
			it.Histograms = append(it.Histograms, seconds(h[0]))
		}
		items = append(items, it)
	}
	return items
}

// parsing is a sink that only parses the values.
type parsing struct{ values int }

func (p *parsing) sample(_ int64, text []byte) error {
	p.values++
	_, err := money.ParseBytes(text)
	return err
}

func (p *parsing) label(_, _ []byte) error { return nil }
func (p *parsing) histogram(int64) error   { return nil }
func (p *parsing) end() error              { return nil }

// BenchmarkReadMatrix reads 1,000 series of 24 windows: parsed only, and as usage.
func BenchmarkReadMatrix(b *testing.B) {
	const series, windows = 1000, 24
	run := period.Run{Begin: time.Unix(1772323200, 0).UTC(), Length: time.Hour, Count: windows}
	var result strings.Builder
	for i := range series {
		fmt.Fprintf(&result, `,{"metric":{"flavor":"m%d","id":"instance-%06d","project_id":"s%d"},"values":[`, i%7, i, i%10)
		for w := range windows {
			if w > 0 {
				result.WriteByte(',')
			}
			fmt.Fprintf(&result, `[%d,"%d.%03d"]`, run.Window(w).End.Unix(), i*17%1000, w*37)
		}
		result.WriteString("]}")
	}
	text := answer(matrix, "["+result.String()[1:]+"]")
	j := &job{
		metric: &metering.Metric{Name: "cpu", Measured: "cpu", Groupby: []string{"flavor", "id"}},
		scopes: scopesOf("s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9"),
		grid:   gridOf(run, 0, windows),
	}
	bench := func(b *testing.B, read func(*testing.B, *scanner)) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			read(b, newScanner(strings.NewReader(text)))
		}
		b.ReportMetric(float64(series*windows*b.N)/b.Elapsed().Seconds(), "values/s")
	}
	b.Run("parsed", func(b *testing.B) {
		bench(b, func(b *testing.B, s *scanner) {
			var p parsing
			if _, err := readEnvelope(s, readResult(matrix, &p)); err != nil || p.values != series*windows {
				b.Fatal(p.values, err)
			}
		})
	})
	b.Run("usage", func(b *testing.B) {
		bench(b, func(b *testing.B, s *scanner) {
			u := newUsageSink(j, "project_id", new(budget))
			if _, err := readEnvelope(s, readResult(matrix, u)); err != nil || len(u.part.usage) != series {
				b.Fatal(len(u.part.usage), err)
			}
		})
	})
}
