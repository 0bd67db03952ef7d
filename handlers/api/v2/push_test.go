package v2

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ratebook/costs"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
)

const onePoint = `{"vol":{"unit":"GiB","qty":1.2},"rating":{"price":0.04},"groupby":{"project_id":"p1","id":"x"},"metadata":{"flavor":"m1"}}`

// framesOf returns the body of a push of one frame.
func framesOf(points string) string {
	return `{"dataframes":[{"period":{"begin":"20190723T122810Z","end":"2019-07-23T13:28:10+00:00"},"usage":{"cpu":[` + points + `]}}]}`
}

func TestPush(t *testing.T) {
	t.Parallel()
	f := newFakes()
	points := onePoint + `, {"metadata":{"z":{"a": [1, "}"]},"a":"\u00fc\"\ud83d\ude00","n":null,"a2":true},"groupby":{"project_id":7,"n2":1.50},
		"vol":{"qty":" 12345678901234567890.1234567890123456785 ","unit":""},"rating":{"price":"1e-12"}},
		{"vol":{"unit":"h","qty":0.30000000000000004},"groupby":{},"metadata":{}},{"vol":{"unit":"h","qty":-1},"rating":{},"groupby":{"project_id":null},"metadata":{"b":1,"b":"x"}}`
	answer(t, ask(t, f, admin, "POST", "/v2/dataframes", framesOf(points), "Idempotency-Key", "key"), 204, "")
	want := []metering.PushedFrame{{Begin: at("2019-07-23T12:28:10"), End: at("2019-07-23T13:28:10"), Points: []metering.PushedPoint{
		{
			Scope: "p1", Metric: "cpu", Unit: "GiB", Qty: money.MustParse("1.2"), Price: money.MustParse("0.04"),
			Groupby: metering.Attributes{{Name: "id", Value: "x"}}, Metadata: metering.Attributes{{Name: "flavor", Value: "m1"}},
		},
		{
			Scope: "7", Metric: "cpu", Unit: "undefined", Qty: money.MustParse("12345678901234567890.123456789012345678"), Price: money.MustParse("0.000000000001"),
			Groupby:  metering.Attributes{{Name: "n2", Value: "1.50"}},
			Metadata: metering.Attributes{{Name: "a", Value: "ü\"😀"}, {Name: "a2", Value: "true"}, {Name: "n", Value: "null"}, {Name: "z", Value: `{"a": [1, "}"]}`}},
			Literals: []string{"a2", "n", "n2", "z"},
		},
		{Scope: metering.UndefinedScope, Metric: "cpu", Unit: "h", Qty: money.MustParse("0.30000000000000004"), Groupby: metering.Attributes{}, Metadata: metering.Attributes{}},
		{Scope: metering.UndefinedScope, Metric: "cpu", Unit: "h", Qty: money.New(-1, 0), Groupby: metering.Attributes{}, Metadata: metering.Attributes{{Name: "b", Value: "x"}}, Literals: []string{}},
	}}}
	if diff := cmp.Diff(want, f.pushed.Frames, cmp.Comparer(money.Decimal.Equal)); diff != "" {
		t.Error(diff)
	}
	if f.pushed.Author != "ada" || f.pushed.Idempotency != "key" || f.pushed.Rules != 0 {
		t.Error(f.pushed)
	}
	digest := f.pushed.Digest

	answer(t, ask(t, f, admin, "POST", "/v2/dataframes?rate=True", framesOf(points)), 204, "")
	if f.pushed.Rules != 7 || f.pushed.Digest == digest || !f.pushed.Frames[0].Points[3].Price.Equal(money.New(42, 0)) {
		t.Error(f.pushed)
	}
	answer(t, ask(t, f, admin, "POST", "/v2/dataframes", framesOf("")), 204, "")
	f.fault = fault.New(fault.Conflict, "the key was used for something else")
	if w := ask(t, f, admin, "POST", "/v2/dataframes", framesOf(onePoint)); w.Code != 409 {
		t.Error(w.Code, w.Body)
	}
	if w := ask(t, f, admin, "POST", "/v2/dataframes", framesOf(onePoint), "Idempotency-Key", strings.Repeat("x", 256)); w.Code != 400 {
		t.Error(w.Code, w.Body)
	}
}

func TestBadPoint(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ü", 200)
	point := func(old, replacement string) string {
		changed := strings.Replace(onePoint, old, replacement, 1)
		if changed == onePoint {
			t.Fatal(old)
		}
		return framesOf(onePoint + "," + changed)
	}
	frame := func(old, replacement string) string {
		changed := strings.Replace(framesOf(onePoint), old, replacement, 1)
		if changed == framesOf(onePoint) {
			t.Fatal(old)
		}
		return changed
	}
	for _, c := range []struct{ body, want string }{
		{point(`"qty":1.2`, `"qty":"x"`), "expected a decimal number (path: '['dataframes', 0, 'usage', 'cpu', 1, 'vol', 'qty']')"},
		{point(`"qty":1.2`, `"qty":"NaN"`), "expected a decimal number (path: '['dataframes', 0, 'usage', 'cpu', 1, 'vol', 'qty']')"},
		{point(`"qty":1.2`, `"qty":true`), "expected a decimal number (path: '['dataframes', 0, 'usage', 'cpu', 1, 'vol', 'qty']')"},
		{point(`"qty":1.2`, `"qty":1e999999999`), "expected a decimal number (path: '['dataframes', 0, 'usage', 'cpu', 1, 'vol', 'qty']')"},
		{point(`"qty":1.2`, `"qty":-1e28`), "a number can have 28 digits before the decimal point (path: '['dataframes', 0, 'usage', 'cpu', 1, 'vol', 'qty']')"},
		{point(`,"qty":1.2`, ``), "required key not provided (path: '['dataframes', 0, 'usage', 'cpu', 1, 'vol', 'qty']')"},
		{point(`"unit":"GiB",`, ``), "required key not provided (path: '['dataframes', 0, 'usage', 'cpu', 1, 'vol', 'unit']')"},
		{point(`"unit":"GiB"`, `"unit":5`), "expected str (path: '['dataframes', 0, 'usage', 'cpu', 1, 'vol', 'unit']')"},
		{point(`"unit":"GiB"`, `"unit":"\u0000"`), "a text can't have a NUL character (path: '['dataframes', 0, 'usage', 'cpu', 1, 'vol', 'unit']')"},
		{point(`"unit":"GiB"`, `"unit":"`+long+`"`), "length of value must be at most 255 (path: '['dataframes', 0, 'usage', 'cpu', 1, 'vol', 'unit']')"},
		{point(`"vol":{"unit":"GiB","qty":1.2},`, ``), "required key not provided (path: '['dataframes', 0, 'usage', 'cpu', 1, 'vol']')"},
		{point(`"vol":{`, `"x":1,"vol":{`), "extra keys not allowed (path: '['dataframes', 0, 'usage', 'cpu', 1, 'x']')"},
		{point(`"vol":{`, `"vol":{"x":1,`), "extra keys not allowed (path: '['dataframes', 0, 'usage', 'cpu', 1, 'vol', 'x']')"},
		{point(`{"price":0.04}`, `{"cost":1}`), "extra keys not allowed (path: '['dataframes', 0, 'usage', 'cpu', 1, 'rating', 'cost']')"},
		{point(`{"price":0.04}`, `null`), "expected a dictionary (path: '['dataframes', 0, 'usage', 'cpu', 1, 'rating']')"},
		{point(`{"flavor":"m1"}`, `[["a","b"]]`), "expected a dictionary (path: '['dataframes', 0, 'usage', 'cpu', 1, 'metadata']')"},
		{point(`,"metadata":{"flavor":"m1"}`, ``), "required key not provided (path: '['dataframes', 0, 'usage', 'cpu', 1, 'metadata']')"},
		{point(`"project_id":"p1"`, `"project_id":"`+long+`"`), "length of value must be at most 255 (path: '['dataframes', 0, 'usage', 'cpu', 1, 'groupby', 'project_id']')"},
		{point(`"id":"x"`, `"i\u0000":"x"`), "a text can't have a NUL character (path: '['dataframes', 0, 'usage', 'cpu', 1, 'groupby', 'i\\x00']')"},
		{point(`"id":"x"`, members(mostAttributes)), "a point can have 1000 attributes (path: '['dataframes', 0, 'usage', 'cpu', 1, 'groupby', 'k999']')"},
		{point(`"flavor":"m1"`, members(mostAttributes-1)), "a point can have 1000 attributes (path: '['dataframes', 0, 'usage', 'cpu', 1, 'metadata', 'k998']')"},
		{framesOf(`5`), "expected a dictionary (path: '['dataframes', 0, 'usage', 'cpu', 0]')"},
		{frame(`"cpu":[`, `"ram":{},"cpu":[`), "expected a list (path: '['dataframes', 0, 'usage', 'ram']')"},
		{frame(`"cpu":[`, `"cpu":[],"cpu":[`), "a metric can't be there twice (path: '['dataframes', 0, 'usage', 'cpu']')"},
		{frame(`"cpu":[`, `"":[],"cpu":[`), "a metric must have a name (path: '['dataframes', 0, 'usage', '']')"},
		{frame(`"20190723T122810Z"`, `"soon"`), "expected dt_from_iso (path: '['dataframes', 0, 'period', 'begin']')"},
		{frame(`"20190723T122810Z"`, `1563884890`), "expected dt_from_iso (path: '['dataframes', 0, 'period', 'begin']')"},
		{frame(`"20190723T122810Z"`, `"1969-12-31"`), "times from before 1970 are not taken (path: '['dataframes', 0, 'period', 'begin']')"},
		{frame(`"20190723T122810Z"`, `"2019-07-23T13:28:10"`), "the end must be after the begin (path: '['dataframes', 0, 'period']')"},
		{frame(`"begin":"20190723T122810Z",`, ``), "required key not provided (path: '['dataframes', 0, 'period', 'begin']')"},
		{frame(`"period":`, `"time":`), "extra keys not allowed (path: '['dataframes', 0, 'time']')"},
		{frame(`"dataframes":[`, `"dataframes":[null,`), "expected a dictionary (path: '['dataframes', 0]')"},
		{frame(`}]}}]}`, `}]}},{"usage":{}}]}`), "required key not provided (path: '['dataframes', 1, 'period']')"},
		{frame(`}]}}]}`, `}]}}],"more":1}`), "extra keys not allowed (path: '['more']')"},
	} {
		f := newFakes()
		w := ask(t, f, admin, "POST", "/v2/dataframes", c.body)
		if got := message(t, w); w.Code != 400 || !strings.HasPrefix(got, "Invalid data '{'dataframes': [") || !strings.HasSuffix(got, " : "+c.want) || f.pushed != nil {
			t.Errorf("got %d %s\nwant %s", w.Code, got, c.want)
		}
	}
	w := ask(t, newFakes(), admin, "POST", "/v2/dataframes", framesOf(strings.Repeat(onePoint+",", 10_000)+`{}`))
	if got := message(t, w); len(got) > 2*mostRepeated || !strings.Contains(got, "'cpu', 10000, 'vol'") {
		t.Errorf("%d bytes: %.2000s", len(got), got)
	}
}

// members returns so many members of an object.
func members(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`"k%d":%d`, i, i)
	}
	return strings.Join(all, ",")
}

// TestRepeatedNames: of a name that is there twice the last one counts, and what is in groupby and in metadata is a text.
func TestRepeatedNames(t *testing.T) {
	t.Parallel()
	frames, err := readFrames([]byte(framesOf(`{"vol":{"unit":"GiB","qty":1},"groupby":{"project_id":"lost"},
		"groupby":{"size":4,"a":1,"a":2,"b":3,"b":"text"},"metadata":{"size":"4","more":true}}`)), "project_id")
	if err != nil {
		t.Fatal(err)
	}
	p := frames[0].Points[0]
	got := fmt.Sprint(p.Scope, p.Groupby, p.Metadata, p.Literals)
	if want := "__UNDEF__[{a 2} {b text} {size 4}] [{more true} {size 4}] [a more]"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// TestManyAttributes: a point may have many attributes, in any order.
func TestManyAttributes(t *testing.T) {
	t.Parallel()
	f := newFakes()
	all := strings.Split(members(mostAttributes-2), ",")
	slices.Reverse(all)
	answer(t, ask(t, f, admin, "POST", "/v2/dataframes", framesOf(strings.Replace(onePoint, `"id":"x"`, strings.Join(all, ","), 1))), 204, "")
	p := &f.pushed.Frames[0].Points[0]
	sorted := slices.IsSortedFunc(p.Groupby, func(a, b metering.Attribute) int { return strings.Compare(a.Name, b.Name) })
	if len(p.Groupby) != len(all) || len(p.Literals) != len(all) || !sorted || p.Scope != "p1" {
		t.Error(len(p.Groupby), len(p.Literals), sorted, p.Scope)
	}
}

func TestFrames(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.frames = func(q *costs.FrameQuery, yield func(*costs.Frame) error) (int64, error) {
		for i := range 2 {
			err := yield(&costs.Frame{Scope: "p1", Begin: q.Range.Begin, End: at("2026-11-01T01:00"), Points: []costs.Point{
				{Metric: "cpu", Unit: "h", Qty: money.MustParse("12345678901234567890.5"), Price: money.New(1, 12), Groupby: []byte(`{"a":"b"}`), Metadata: []byte(`{}`)},
				{Metric: "cpu", Unit: "ü", Qty: money.New(int64(i), 0), Groupby: []byte(`{}`), Metadata: []byte(`{"n":1.50}`)},
				{Metric: "r\"am", Unit: "h", Groupby: []byte(`{}`), Metadata: []byte(`{}`)},
			}})
			if err != nil {
				return 0, err
			}
		}
		return 77, nil
	}
	frame := func(i int) string {
		return fmt.Sprintf(`{"period":{"begin":"2026-11-01T00:00:00+00:00","end":"2026-11-01T01:00:00+00:00"},"usage":{
			"cpu":[{"vol":{"unit":"h","qty":12345678901234567890.5},"rating":{"price":0.000000000001},"groupby":{"a":"b"},"metadata":{}},
				{"vol":{"unit":"ü","qty":%d},"rating":{"price":0},"groupby":{},"metadata":{"n":1.50}}],
			"r\"am":[{"vol":{"unit":"h","qty":0},"rating":{"price":0},"groupby":{},"metadata":{}}]}}`, i)
	}
	answer(t, ask(t, f, admin, "GET", "/v2/dataframes?limit=2&offset=5&filters=type:cpu", ""), 200, `{"total":77,"dataframes":[`+frame(0)+","+frame(1)+`]}`)
	if diff := cmp.Diff(&costs.FrameQuery{Range: month(), Filters: []costs.Filter{{Key: "metric", Values: []string{"cpu"}}}, Offset: 5, Limit: 2}, f.asked); diff != "" {
		t.Error(diff)
	}
	f.frames = func(*costs.FrameQuery, func(*costs.Frame) error) (int64, error) { return 77, nil }
	answer(t, ask(t, f, admin, "GET", "/v2/dataframes?offset=500", ""), 200, `{"total":77,"dataframes":[]}`)
}

// FuzzQuery: no query makes anything of ours fail, and every answer is JSON.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{
		"begin=2026-11-01&end=x", "groupby=type,time-d&filters=a:b,c:d", "custom_fields=SUM(qty)+AS+x", "limit=9999999999999999999999", "%&=&a=%zz", "offset=-0", "active=٣",
		"scope_id=a,,b", "response_format=object&groupby=qty", "order=ASC", "rate=1",
	} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		fakes := newFakes()
		fakes.report = func(q *costs.Query, yield func(costs.Row) error) error {
			return yield(costs.Row{Begin: q.Range.Begin, End: q.Range.End, Groups: make([]string, len(q.Groups)), Points: 1})
		}
		for _, e := range Endpoints() {
			if e.Method == "GET" && !strings.Contains(e.Paths[0], "{") {
				sane(t, ask(t, fakes, tenant, e.Method, "/v2"+e.Paths[0]+"?"+query, ""), e.Paths[0]+"?"+query)
				sane(t, ask(t, fakes, admin, e.Method, "/v2"+e.Paths[0]+"?"+query, ""), e.Paths[0]+"?"+query)
			}
		}
	})
}

// FuzzBody: no body makes anything of ours fail, and what is taken as points is just what a slower reader makes of it.
func FuzzBody(f *testing.F) {
	for _, b := range []string{
		framesOf(onePoint), `{"scope_id":"p1","state":"2026-11-01","active":true}`, `{"all_scopes":true,"last_processed_timestamp":"2026-11-01"}`, `{"enabled":true,"priority":3}`,
		`{"scope_ids":["ALL"],"start_reprocess_time":"2026-11-01","end_reprocess_time":"2026-11-02","reason":"x"}`, `[`, `"\ud800"`, "\"\xff\"", `{"a":{"b":[1,2,{"c":null}]}}`, `1e999`,
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, e := range Endpoints() {
			if e.Method != "GET" {
				path := strings.NewReplacer("{module_id}", "noop").Replace(e.Paths[0])
				sane(t, ask(t, newFakes(), admin, e.Method, "/v2"+path, body), e.Method+" "+path+" "+body)
			}
		}
		if fakes := newFakes(); ask(t, fakes, admin, "POST", "/v2/dataframes", body).Code == 204 {
			var plain struct {
				Dataframes []struct {
					Usage map[string][]json.RawMessage
				}
			}
			if err := json.Unmarshal([]byte(body), &plain); err != nil {
				t.Fatal(err)
			}
			if len(plain.Dataframes) != len(fakes.pushed.Frames) {
				t.Fatalf("%s: %d frames", body, len(fakes.pushed.Frames))
			}
		}
	})
}

func sane(t *testing.T, w *httptest.ResponseRecorder, what string) {
	t.Helper()
	if w.Code >= 500 || w.Code != 204 && !json.Valid(w.Body.Bytes()) && w.Code != 404 {
		t.Errorf("%s: %d %s", what, w.Code, w.Body)
	}
}

// BenchmarkReadFrames measures reading a body of 100,000 points.
func BenchmarkReadFrames(b *testing.B) {
	var body bytes.Buffer
	body.WriteString(`{"dataframes":[`)
	const frames, points = 100, 1000
	for i := range frames {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"period":{"begin":"2026-11-%02dT%02d:00:00+00:00","end":"2026-11-%02dT%02d:30:00+00:00"},"usage":{"cpu":[`, 1+i/24, i%24, 1+i/24, i%24)
		for j := range points {
			if j > 0 {
				body.WriteByte(',')
			}
			fmt.Fprintf(&body, `{"vol":{"unit":"GiB","qty":%d.25},"rating":{"price":0.%06d},"groupby":{"project_id":"7f3a0000-0000-0000-0000-%012d","id":"0a1b2c3d-0000-0000-0000-%012d","flavor":"m1.flavor%d"},"metadata":{"os":"linux","host":"node-%d"}}`,
				j, j*7, j/10, j, j%12, j%40)
		}
		body.WriteString(`]}}`)
	}
	body.WriteString(`]}`)
	b.SetBytes(int64(body.Len()))
	for b.Loop() {
		if !json.Valid(body.Bytes()) {
			b.Fatal("no JSON")
		}
		got, err := readFrames(body.Bytes(), "project_id")
		if err != nil || len(got) != frames {
			b.Fatal(err)
		}
	}
	b.ReportMetric(frames*points*float64(b.N)/b.Elapsed().Seconds(), "points/s")
}

// TestReadFramesSideBySide reads a body long enough to be read in parts: all is there, in order, and of two mistakes the first
// is told.
func TestReadFramesSideBySide(t *testing.T) {
	const frames = 3000
	body := func(wrong ...int) []byte {
		var b bytes.Buffer
		b.WriteString(`{"dataframes":[`)
		for i := range frames {
			if i > 0 {
				b.WriteByte(',')
			}
			qty := strconv.Itoa(i)
			if slices.Contains(wrong, i) {
				qty = `"many"`
			}
			fmt.Fprintf(&b, `{"period":{"begin":"2026-11-01T00:00:00+00:00","end":"2026-11-01T01:00:00+00:00"},"usage":{"cpu":[{"vol":{"unit":"GiB","qty":%s},"groupby":{"project_id":"a","pad":%q},"metadata":{}}]}}`,
				qty, strings.Repeat("x", 2000))
		}
		b.WriteString(`]}`)
		return b.Bytes()
	}
	if runtime.GOMAXPROCS(0) == 1 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	}
	got, err := readFrames(body(), "project_id")
	if err != nil || len(got) != frames {
		t.Fatal(len(got), err)
	}
	for i := range got {
		if p := got[i].Points; len(p) != 1 || p[0].Qty.String() != strconv.Itoa(i) {
			t.Fatalf("frame %d has %+v", i, p)
		}
	}
	_, err = readFrames(body(frames-1, 17, frames/2), "project_id")
	if err == nil || !strings.Contains(err.Error(), "['dataframes', 17, 'usage', 'cpu', 0, 'vol', 'qty']") {
		t.Errorf("the first mistake: %.100v", err)
	}
}
