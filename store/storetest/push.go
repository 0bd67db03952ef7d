package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pgregory.net/rapid"

	"ratebook/costs"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/store"
)

var pushTests = []test{
	{"push/is stored and reported", (*env).pushStored},
	{"push/repeats are harmless", (*env).pushRepeated},
	{"push/equal points", (*env).pushEqual},
	{"push/values that are no texts", (*env).pushLiterals},
	{"push/all at once", (*env).pushConcurrently},
	{"push/all or nothing", (*env).pushSabotaged},
	{"push/refused", (*env).pushRefused},
	{"push/waits for a rebuild", (*env).pushBesideRebuild},
	{"push/tasks leave it alone", (*env).pushBesideTasks},
	{"push/retention", (*env).pushRetained},
	{"push/many points", (*env).pushMany},
	{"push/random", (*env).pushRandom},
	{"frames/pages", (*env).framePages},
}

// pushed makes a point "qty@price" of a scope.
func pushed(scope, metric, amounts string, groupby, metadata metering.Attributes) metering.PushedPoint {
	qty, price, _ := strings.Cut(amounts, "@")
	return metering.PushedPoint{Scope: scope, Metric: metric, Unit: "unit of " + metric, Qty: money.MustParse(qty), Price: money.MustParse(price), Groupby: groupby, Metadata: metadata}
}

func pushedFrame(begin string, length time.Duration, points ...metering.PushedPoint) metering.PushedFrame {
	return metering.PushedFrame{Begin: at(begin), End: at(begin).Add(length), Points: points}
}

func (e *env) push(p *metering.Push) metering.Pushed {
	e.Helper()
	done, err := e.s.Push(e.ctx, p)
	e.must(err)
	return done
}

// frames are the lines of a page of frames, and its total.
func (e *env) frames(q *costs.FrameQuery) (lines []string) {
	e.Helper()
	total, err := e.s.Frames(e.ctx, q, func(f *costs.Frame) error {
		lines = append(lines, fmt.Sprintf("%s %s %s", f.Begin.Format(time.RFC3339), f.Scope, f.End.Format(time.RFC3339)))
		for _, p := range f.Points {
			if !json.Valid(p.Groupby) || !json.Valid(p.Metadata) {
				e.Errorf("no JSON: %s %s", p.Groupby, p.Metadata)
			}
			lines = append(lines, fmt.Sprintf("  %s %q %s@%s %s %s", p.Metric, p.Unit, p.Qty, p.Price, sortedJSON(p.Groupby), sortedJSON(p.Metadata)))
		}
		return nil
	})
	e.must(err)
	return append(lines, fmt.Sprint("total ", total))
}

// sortedJSON is an object with its members sorted, values that are no texts as they are.
func sortedJSON(b []byte) string {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return err.Error()
	}
	all := []string{}
	for name, value := range members {
		var text string
		if value[0] == '"' && json.Unmarshal(value, &text) == nil { // texts can be written in several ways
			value = json.RawMessage(strconv.Quote(text))
		}
		all = append(all, fmt.Sprintf("%s=%s", name, value))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

var ever = period.Range{Begin: at("1970-01-01T00:00:00Z"), End: at("9000-01-01T00:00:00Z")}

func (e *env) pushStored() {
	e.world(store.Wanted{Timezone: "Europe/Berlin"}, "cpu")
	e.charged(3, "p1")
	done := e.push(&metering.Push{Author: "ada", Rules: 1, Frames: []metering.PushedFrame{
		pushedFrame("2026-10-31T22:00:00Z", hour, pushed("p1", "cpu", "2@0.5", attrs("id", "x"), attrs("flavor", "m1")), pushed("p2", "disk", "-1.5@-0.000000000001", nil, nil)),
		pushedFrame("2026-11-02T10:17:03Z", 10*time.Minute+time.Second, pushed(metering.UndefinedScope, "disk", "0.000000000000000001@0", attrs("id", `"odd"`), nil)),
		pushedFrame("1970-01-01T00:00:00Z", hour),
	}})
	e.equal("answer", done, metering.Pushed{ID: 1, Points: 3})
	e.sound()
	q := &costs.FrameQuery{Range: period.Range{Begin: at("2026-10-31T22:00:00Z"), End: at("2026-10-31T23:00:00Z")}}
	lines := e.frames(q)
	e.equal("frames", strings.Join(lines, "\n"), strings.Join(e.naiveFrames(q), "\n"))
	for _, line := range []string{
		"2026-10-31T22:00:00Z p1 2026-10-31T23:00:00Z", `  cpu "unit of cpu" 2@0.5 id="x" project_id="p1" flavor="m1"`,
		"2026-10-31T22:00:00Z p2 2026-10-31T23:00:00Z", `  disk "unit of disk" -1.5@-0.000000000001 project_id="p2" `,
	} {
		if !slices.Contains(lines, line) {
			e.Errorf("%q is not in\n%s", line, strings.Join(lines, "\n"))
		}
	}
	e.equal("undefined scope", strings.Join(e.frames(&costs.FrameQuery{Range: ever, Filters: []costs.Filter{{Key: "scope", Values: []string{metering.UndefinedScope}}}}), "\n"),
		"2026-11-02T10:17:03Z __UNDEF__ 2026-11-02T10:27:04Z\n"+`  disk "unit of disk" 0.000000000000000001@0 id="\"odd\"" `+"\ntotal 1")
	e.equal("windows of pushed scopes", e.count("SELECT count(*) FROM windows w JOIN scopes s ON s.id = w.scope JOIN sources r ON r.id = s.source WHERE r.name = 'push'"), 0)
	e.equal("planned windows of active scopes", e.count("SELECT count(*) FROM scopes s JOIN sources r ON r.id = s.source WHERE r.name = 'push' AND s.active"), 0)
	list, total, err := e.s.Pushes(e.ctx, 10, 0)
	e.must(err)
	e.equal("list", fmt.Sprint(total, len(list)), "1 1")
	e.equal("request", fmt.Sprintln(list[0].Author, list[0].Frames, list[0].Points, list[0].Rules, list[0].Amount, list[0].First.Unix(), list[0].Last.Unix()),
		fmt.Sprintln("ada", 3, 3, 1, "0.499999999999", at("2026-10-31T22:00:00Z").Unix(), at("2026-11-02T10:17:03Z").Unix()))
	e.push(&metering.Push{Author: "ada", Frames: []metering.PushedFrame{pushedFrame("2026-11-01T00:00:00Z", hour)}})
	list, total, err = e.s.Pushes(e.ctx, 1, 1)
	e.must(err)
	e.equal("second page", fmt.Sprint(total, len(list), list[0].ID), "2 1 1")
}

func (e *env) pushRepeated() {
	e.world(store.Wanted{})
	p := &metering.Push{Author: "ada", Idempotency: "k", Digest: [32]byte{1}, Frames: []metering.PushedFrame{pushedFrame("2026-11-01T00:00:00Z", hour, pushed("a", "cpu", "1@1", nil, nil))}}
	first := e.push(p)
	again := e.push(p)
	e.equal("repeat", again, metering.Pushed{ID: first.ID, Points: 1, Repeated: true})
	other := *p
	other.Digest[0] = 2
	_, err := e.s.Push(e.ctx, &other)
	e.refused(err, fault.Conflict, `"k"`, "other content")
	other.Author = "grace"
	if done := e.push(&other); done.Repeated || done.ID == first.ID {
		e.Errorf("another author's key: %+v", done)
	}
	p.Idempotency = ""
	e.push(p)
	e.push(p)
	e.equal("points", e.count("SELECT count(*) FROM charges"), 4)
	e.sound()
}

func (e *env) pushEqual() {
	e.world(store.Wanted{})
	point := pushed("a", "cpu", "1@1", attrs("id", "x"), nil)
	p := &metering.Push{Author: "ada", Frames: []metering.PushedFrame{pushedFrame("2026-11-01T00:00:00Z", hour, point, point), pushedFrame("2026-11-01T00:00:00Z", 2*hour, point)}}
	e.push(p)
	p.Frames = append(p.Frames, pushedFrame("2026-11-01T01:00:00Z", hour, point))
	e.push(p)
	e.equal("seq", strings.Join(e.rows("SELECT begins_at, period, seq, push FROM charges"), "\n"), strings.Join([]string{
		e.stamp("2026-11-01T00:00:00Z") + "|3600|0|1", e.stamp("2026-11-01T00:00:00Z") + "|3600|1|1", e.stamp("2026-11-01T00:00:00Z") + "|3600|3|2", e.stamp("2026-11-01T00:00:00Z") + "|3600|4|2",
		e.stamp("2026-11-01T00:00:00Z") + "|7200|2|1", e.stamp("2026-11-01T00:00:00Z") + "|7200|5|2", e.stamp("2026-11-01T01:00:00Z") + "|3600|0|2",
	}, "\n"))
	e.sound()
	lines := e.frames(&costs.FrameQuery{Range: ever})
	e.equal("frames", fmt.Sprint(len(lines), lines[0], lines[5], lines[8], lines[len(lines)-1]),
		fmt.Sprint(11, "2026-11-01T00:00:00Z a 2026-11-01T01:00:00Z", "2026-11-01T00:00:00Z a 2026-11-01T02:00:00Z", "2026-11-01T01:00:00Z a 2026-11-01T02:00:00Z", "total 7"))
}

// stamp is how rows shows a time.
func (e *env) stamp(t string) string {
	if e.postgres {
		return t
	}
	return fmt.Sprint(e.rows("SELECT begins_at FROM charges WHERE begins_at = ?", at(t).Unix())[0])
}

func (e *env) pushLiterals() {
	e.world(store.Wanted{})
	var points []metering.PushedPoint
	for _, value := range []string{"4", "4.0", "true", "null", `{"a": [1, "x\n", {}]}`, "[]", "-1e400", `"text"`, "ü<&>", "", "\u2028", `\`, "line\nbreak\ttab\r", "\x00"} {
		literal := pushed("a", "cpu", "1@1", attrs("v", value), attrs("w", value))
		points = append(points, literal)
		if json.Valid([]byte(value)) && value[0] != '"' {
			literal.Literals = []string{"v", "w"}
			points = append(points, literal)
			literal.Literals = []string{"w"}
			points = append(points, literal)
		}
	}
	e.push(&metering.Push{Author: "ada", Frames: []metering.PushedFrame{pushedFrame("2026-11-01T00:00:00Z", hour, points...)}})
	e.equal("series", e.count("SELECT count(*) FROM series"), len(points))
	for _, s := range []*store.Store{e.s, e.open()} { // one has no labels in memory
		n := 0
		_, err := s.Frames(e.ctx, &costs.FrameQuery{Range: ever}, func(f *costs.Frame) error {
			got, want := map[string]int{}, map[string]int{}
			for _, p := range f.Points {
				got[sortedJSON(p.Groupby)+" "+sortedJSON(p.Metadata)]++
				n++
			}
			for _, p := range points {
				v, _ := json.Marshal(p.Groupby[0].Value)
				w := v
				if slices.Contains(p.Literals, "v") {
					v = []byte(p.Groupby[0].Value)
				}
				if slices.Contains(p.Literals, "w") {
					w = []byte(p.Metadata[0].Value)
				}
				want[sortedJSON([]byte(`{"project_id":"a","v":`+string(v)+"}"))+" "+sortedJSON([]byte(`{"w":`+string(w)+"}"))]++
			}
			e.equal("points", got, want)
			return nil
		})
		e.must(err)
		e.equal("number", n, len(points))
	}
	e.compare(&costs.Query{Range: ever, Groups: []string{"v"}}, &costs.Query{Range: ever, Groups: []string{"w"}}, &costs.Query{Range: ever, Groups: []string{"scope"}, Filters: []costs.Filter{{Key: "v", Values: []string{"4", "null"}}}})
	e.equal("of the value 4", e.frames(&costs.FrameQuery{Range: ever, Filters: []costs.Filter{{Key: "v", Values: []string{"4"}}}})[4], "total 3")
	e.sound()
}

func (e *env) pushConcurrently() {
	e.world(store.Wanted{})
	e.charged(3, "a", "b")
	before := e.count("SELECT count(*) FROM charges")
	other := e.open()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		kept  int
		wrong []error
	)
	for i := range 6 {
		wg.Go(func() {
			s := []*store.Store{e.s, other}[i%2]
			for round := range 4 {
				p := &metering.Push{Author: "ada"}
				if round == 0 {
					p.Idempotency = "the same"
				}
				f := pushedFrame("2026-11-01T00:00:00Z", hour)
				for k := range 30 {
					n := (k*7 + i*13) % 30
					f.Points = append(f.Points, pushed([]string{"a", "b", "c"}[n%3], fmt.Sprint("m", n%4), "1@1", attrs("id", fmt.Sprint(n%5, round)), nil))
				}
				p.Frames = []metering.PushedFrame{f}
				done, err := s.Push(e.ctx, p)
				mu.Lock()
				if err != nil {
					wrong = append(wrong, err)
				} else if !done.Repeated {
					kept += done.Points
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	e.equal("errors", len(wrong), 0)
	for _, err := range wrong {
		e.Log(err)
	}
	e.equal("points kept", kept, 30+6*3*30)
	e.equal("points stored", e.count("SELECT count(*) FROM charges")-before, int64(kept))
	e.equal("points in frames", e.count("SELECT sum(points) FROM pushed_frames"), int64(kept))
	e.sound()
}

func (e *env) pushSabotaged() {
	e.world(store.Wanted{})
	e.push(&metering.Push{Author: "ada", Frames: []metering.PushedFrame{pushedFrame("2026-11-01T00:00:00Z", hour, pushed("a", "cpu", "1@1", nil, nil))}})
	p := &metering.Push{Author: "ada", Idempotency: "k", Frames: []metering.PushedFrame{pushedFrame("2026-11-01T00:00:00Z", hour,
		pushed("a", "cpu", "1@1", nil, nil), pushed("a", "ram", "1@1", attrs("id", "new"), nil), pushed("b", "cpu", "1@1", nil, nil))}}
	tables := []string{"series", "charges", "pushes", "pushed_frames", "scope_metric_days", "scope_metric_months", "series_day_packs", "series_month_packs", "scope_window_packs"}
	state := func() (all []string) {
		for _, table := range tables {
			all = append(all, e.rows("SELECT * FROM "+table)...)
		}
		return all
	}
	before := state()
	for _, table := range tables {
		when := "NEW.scope > 0"
		if table == "pushes" {
			when = "NEW.points = 3"
		}
		end := e.sabotage(table, when)
		if _, err := e.s.Push(e.ctx, p); err == nil {
			e.Errorf("%s: no error", table)
		}
		end()
		e.equal("after "+table, state(), before)
	}
	if done := e.push(p); done.Repeated {
		e.Error("what was not stored counts as a repeat")
	}
	e.sound()
}

func (e *env) pushRefused() {
	e.world(store.Wanted{})
	good := func() metering.PushedPoint { return pushed("a", "cpu", "1@1", attrs("g", "1"), attrs("m", "1")) }
	for _, c := range []struct {
		words  string
		damage func(f *metering.PushedFrame)
	}{
		{"whole seconds", func(f *metering.PushedFrame) { f.Begin = f.Begin.Add(time.Millisecond) }},
		{"1969", func(f *metering.PushedFrame) { f.Begin = at("1969-12-31T23:59:59Z") }},
		{"9999", func(f *metering.PushedFrame) { f.Begin, f.End = at("9999-01-01T00:00:00Z"), at("9999-01-01T01:00:00Z") }},
		{"does not end", func(f *metering.PushedFrame) { f.End = f.Begin }},
		{"68 years", func(f *metering.PushedFrame) { f.End = f.Begin.AddDate(69, 0, 0) }},
		{"no scope", func(f *metering.PushedFrame) { f.Points[1].Scope = "" }},
		{"no metric", func(f *metering.PushedFrame) { f.Points[1].Metric = "" }},
		{"NUL", func(f *metering.PushedFrame) { f.Points[1].Unit = "a\x00b" }},
		{"decimals", func(f *metering.PushedFrame) { f.Points[1].Qty = money.MustParse("0.0000000000000000001") }},
		{"decimals", func(f *metering.PushedFrame) { f.Points[1].Price = money.MustParse("0.0000000000001") }},
		{"not in order", func(f *metering.PushedFrame) { f.Points[1].Groupby = metering.Attributes{{Name: "b"}, {Name: "a"}} }},
		{"not there", func(f *metering.PushedFrame) { f.Points[1].Literals = []string{"x"} }},
		{"another name", func(f *metering.PushedFrame) {
			f.Points[1].Metadata, f.Points[1].Literals = attrs("g", "1"), []string{"g"}
		}},
		{"no JSON", func(f *metering.PushedFrame) {
			f.Points[1].Groupby, f.Points[1].Literals = attrs("g", "x"), []string{"g"}
		}},
		{"no JSON", func(f *metering.PushedFrame) {
			f.Points[1].Groupby, f.Points[1].Literals = attrs("g", `"x"`), []string{"g"}
		}},
		{"in one another", func(f *metering.PushedFrame) {
			f.Points[1].Groupby, f.Points[1].Literals = attrs("g", strings.Repeat("[", 65)+strings.Repeat("]", 65)), []string{"g"}
		}},
	} {
		f := pushedFrame("2026-11-01T00:00:00Z", hour, good(), good())
		c.damage(&f)
		_, err := e.s.Push(e.ctx, &metering.Push{Author: "ada", Frames: []metering.PushedFrame{pushedFrame("2026-11-01T00:00:00Z", hour, good()), f}})
		e.refused(err, fault.Invalid, "data frame 1", c.words)
	}
	far := &metering.Push{Author: "ada"}
	for i := range 241 {
		begin := at("2000-01-01T00:00:00Z").AddDate(0, i, 0)
		far.Frames = append(far.Frames, metering.PushedFrame{Begin: begin, End: begin.Add(hour), Points: []metering.PushedPoint{good()}})
	}
	_, err := e.s.Push(e.ctx, far)
	e.refused(err, fault.Invalid, "241 different months")
	e.equal("stored", e.count("SELECT count(*) FROM charges")+e.count("SELECT count(*) FROM pushes"), 0)
	for _, begin := range []string{"1970-01-01T00:00:00Z", "9998-12-31T23:59:59Z"} {
		e.push(&metering.Push{Author: "ada", Frames: []metering.PushedFrame{pushedFrame(begin, time.Second, good())}})
	}
	e.equal("frames", len(e.frames(&costs.FrameQuery{Range: period.Range{Begin: at("0001-01-02T00:00:00Z"), End: at("9998-12-31T23:59:59Z").Add(time.Second - 1).Truncate(time.Second)}})), 3)
	_, err = e.s.Frames(e.ctx, &costs.FrameQuery{}, nil)
	e.refused(err, fault.Invalid)
	_, err = e.s.Frames(e.ctx, &costs.FrameQuery{Range: ever, Offset: -1}, nil)
	e.refused(err, fault.Invalid, "negative")
}

func (e *env) pushBesideRebuild() {
	e.world(store.Wanted{})
	p := &metering.Push{Author: "ada", Frames: []metering.PushedFrame{pushedFrame("2026-11-01T00:00:00Z", hour, pushed("a", "cpu", "1@1", nil, nil))}}
	e.push(p)
	e.exec("UPDATE scopes SET lease_token = 1, lease_until = ?", e.time(time.Now().Add(hour).Truncate(time.Second)))
	pushed := make(chan error, 1)
	go func() {
		_, err := e.s.Push(e.ctx, p)
		pushed <- err
	}()
	select {
	case err := <-pushed:
		e.Fatal("did not wait", err)
	case <-time.After(500 * time.Millisecond):
	}
	e.exec("UPDATE scopes SET lease_token = NULL, lease_until = NULL")
	e.must(<-pushed)
	e.exec("UPDATE scope_metric_days SET price = '9'")
	e.exec("DELETE FROM series_month_packs")
	if len(e.mismatches()) < 2 {
		e.Error("damage is not found")
	}
	e.must(e.s.RebuildRollups(e.ctx, "ada", nil))
	e.sound()
}

func (e *env) pushBesideTasks() {
	e.world(store.Wanted{})
	e.charged(3, "a")
	e.push(&metering.Push{Author: "ada", Frames: []metering.PushedFrame{pushedFrame("2026-10-31T22:00:00Z", hour, pushed("a", "cpu", "1@1", nil, nil), pushed("b", "cpu", "1@1", nil, nil))}})
	before := e.rows("SELECT * FROM charges WHERE push IS NOT NULL")
	_, err := e.s.CreateTask(e.ctx, &metering.NewTask{Kind: metering.Reprocess, AllScopes: true, Range: period.Range{Begin: begin, End: begin.Add(3 * hour)}, Reason: "all", Author: "ada"})
	e.must(err)
	e.must(e.s.AdvanceTasks(e.ctx))
	for {
		leases := e.lease(metering.LeaseRequest{Again: true})
		if len(leases) == 0 {
			break
		}
		for _, l := range leases {
			if l.Scope.Source.Name == metering.PushSource {
				e.Fatalf("a pushed scope is leased: %+v", l)
			}
		}
		b := e.batch(leases)
		e.commit(b) // nothing is left of what was collected
		e.free(b)
	}
	e.equal("pushed charges", e.rows("SELECT * FROM charges"), before)
	e.plan(begin.Add(100 * hour))
	e.equal("windows of pushed scopes", e.count("SELECT count(*) FROM windows w JOIN scopes s ON s.id = w.scope JOIN sources r ON r.id = s.source WHERE r.name = 'push'"), 0)
	e.sound()
}

func (e *env) pushRetained() {
	e.world(store.Wanted{Timezone: "America/New_York"})
	zone := e.zone()
	month := func(n int) time.Time { // begin of a billing month, so many before this one
		now := time.Now().In(zone)
		return period.StartOf(time.Date(now.Year(), now.Month()-time.Month(n), 1, 0, 0, 0, 0, time.UTC), zone)
	}
	push := func(key string, begins ...time.Time) error {
		p := &metering.Push{Author: "ada", Idempotency: key}
		for _, b := range begins {
			p.Frames = append(p.Frames, metering.PushedFrame{Begin: b, End: b.Add(hour), Points: []metering.PushedPoint{
				pushed("a", "cpu", "1@1", attrs("id", "all"), nil), pushed("a", "cpu", "1@1", attrs("id", fmt.Sprint(b.Unix())), nil),
			}})
		}
		_, err := e.s.Push(e.ctx, p)
		return err
	}
	e.must(push("old", month(3).Add(hour), month(1).Add(-hour)))
	e.must(push("both", month(2), month(1).Add(-time.Second), month(1)))
	e.must(push("new", month(1).Add(time.Second), time.Now().Truncate(time.Second)))
	e.equal("dropped without a setting", e.retain(e.s, time.Now()).Nothing(), true)
	e.must(e.s.SetSetting(e.ctx, "keep_charges", "1 month", "ada"))
	e.refused(push("late", month(1).Add(-time.Second)), fault.Invalid, month(1).Format(time.DateOnly), "not kept")
	left := e.since("charges", "*", month(1))
	done := e.retain(e.s, time.Now())
	if done.Nothing() || !done.ChargesFrom.Equal(month(1)) {
		e.Fatalf("%+v", done)
	}
	e.equal("charges", e.rows("SELECT * FROM charges"), left)
	e.equal("ledger", e.before("pushed_frames", month(1)), 0)
	e.equal("requests", e.rows("SELECT idempotency FROM pushes"), []string{"both", "new"})
	e.equal("series", e.count("SELECT count(*) FROM series"), 7+1) // their roll-ups are kept
	e.equal("dangling", e.dangling(), 0)
	e.sound()
	_, err := e.s.Frames(e.ctx, &costs.FrameQuery{Range: ever}, nil)
	e.refused(err, fault.Invalid, month(1).Format(time.DateOnly))
	e.equal("frames", len(e.frames(&costs.FrameQuery{Range: period.Range{Begin: month(1), End: ever.End}})), 3*3+1)
	e.must(e.s.SetSetting(e.ctx, "keep_rollups", "1 month", "ada"))
	e.retain(e.s, time.Now())
	e.equal("series in the end", e.count("SELECT count(*) FROM series"), 3+1)
	e.equal("days in the end", e.count("SELECT count(*) FROM scope_metric_days WHERE day < ?", month(1).Format(time.DateOnly)), 0)
	e.must(push("again", month(1), time.Now().Truncate(time.Second)))
	e.sound()
}

func (e *env) pushMany() {
	e.world(store.Wanted{})
	p := &metering.Push{Author: "ada"}
	for h := range 12 {
		f := metering.PushedFrame{Begin: begin.Add(time.Duration(h) * hour), End: begin.Add(time.Duration(h+1) * hour)}
		for i := range 1000 {
			f.Points = append(f.Points, pushed(fmt.Sprint("s", i%7), fmt.Sprint("m", i%3), fmt.Sprintf("%d.%d@%d", i, h, i%11), attrs("id", fmt.Sprint(i, h/10)), nil))
		}
		p.Frames = append(p.Frames, f)
	}
	e.push(p)
	e.push(p)
	e.equal("points", e.count("SELECT count(*) FROM charges"), 24_000)
	e.equal("mismatches", e.mismatches(), []string(nil))
	all := e.frames(&costs.FrameQuery{Range: ever})
	e.equal("total", all[len(all)-1], "total 24000")
	e.equal("lines", len(all), 24_000+12*7+1)
}

// framePoint is a point as a frame shows it, and what filters go by.
type framePoint struct {
	begin, end  int64
	scope, line string
	metric      string
	series, seq int64
	point       point
}

// naiveFrames makes a page of frames of the stored charges, one by one.
func (e *env) naiveFrames(q *costs.FrameQuery) []string {
	e.Helper()
	zone := e.zone()
	rows, err := e.raw.QueryContext(e.ctx, `SELECT s.scope, s.name, o.name, m.name, r.unit, CAST(r.groupby AS text), CAST(r.metadata AS text), `+e.unix("c.begins_at")+`, c.period, r.id, c.seq,
		CAST(c.qty AS text), CAST(c.price AS text) FROM charges c, series r, scopes s, metrics m, sources o WHERE r.id = c.series AND s.id = c.scope AND m.id = r.metric AND o.id = s.source`)
	e.must(err)
	defer rows.Close()
	var all []framePoint
	for rows.Next() {
		var p framePoint
		var name, source, unit, groupby, metadata, qty, price string
		var length int64
		e.must(rows.Scan(&p.scope, &name, &source, &p.metric, &unit, &groupby, &metadata, &p.begin, &length, &p.series, &p.seq, &qty, &price))
		p.end = p.begin + length
		at := time.Unix(p.begin, 0).UTC()
		p.point = point{constants: map[string]string{"scope": p.scope, "scope_name": name, "metric": p.metric, "unit": unit}, groupby: texts(e, groupby), metadata: texts(e, metadata)}
		if _, has := p.point.groupby["project_id"]; !has {
			p.point.groupby["project_id"] = p.scope
		}
		keep := q.Range.Contains(at)
		for _, f := range q.Filters {
			p.point.begin = at
			keep = keep && slices.Contains(f.Values, p.point.value(f.Key, zone))
		}
		if !keep {
			continue
		}
		members := map[string]json.RawMessage{}
		e.must(json.Unmarshal([]byte(groupby), &members))
		add := func(name, value string) {
			if _, has := members[name]; !has {
				members[name], _ = json.Marshal(value)
			}
		}
		if p.scope != metering.UndefinedScope {
			add("project_id", p.scope)
		}
		if source != metering.PushSource {
			for _, name := range []string{"week_of_the_year", "day_of_the_year", "month", "year"} {
				value, _ := metering.Computed(name, at, zone)
				add(name, value)
			}
		}
		object, _ := json.Marshal(members)
		p.line = fmt.Sprintf("  %s %q %s@%s %s %s", p.metric, unit, money.MustParse(qty), money.MustParse(price), sortedJSON(object), sortedJSON([]byte(metadata)))
		all = append(all, p)
	}
	e.must(rows.Err())
	slices.SortFunc(all, func(a, b framePoint) int {
		return slices.Compare([]string{fmt.Sprintf("%020d", a.begin), a.scope, fmt.Sprintf("%020d", a.end), a.metric, fmt.Sprintf("%020d %06d", a.series, a.seq)},
			[]string{fmt.Sprintf("%020d", b.begin), b.scope, fmt.Sprintf("%020d", b.end), b.metric, fmt.Sprintf("%020d %06d", b.series, b.seq)})
	})
	var lines []string
	frame, last := -1, ""
	for _, p := range all {
		head := fmt.Sprintf("%s %s %s", time.Unix(p.begin, 0).UTC().Format(time.RFC3339), p.scope, time.Unix(p.end, 0).UTC().Format(time.RFC3339))
		if head != last {
			frame++
			last = head
		}
		if frame < q.Offset || q.Limit > 0 && frame >= q.Offset+q.Limit {
			continue
		}
		if len(lines) == 0 || !slices.Contains(lines, head) {
			lines = append(lines, head)
		}
		lines = append(lines, p.line)
	}
	return append(lines, fmt.Sprint("total ", len(all)))
}

// texts reads an object, values that are no strings as their text.
func texts(e *env, object string) map[string]string {
	var raw map[string]json.RawMessage
	e.must(json.Unmarshal([]byte(object), &raw))
	all := map[string]string{}
	for name, value := range raw {
		var text string
		if value[0] != '"' || json.Unmarshal(value, &text) != nil {
			text = string(value)
		}
		all[name] = text
	}
	return all
}

func (e *env) framePages() {
	e.world(store.Wanted{Timezone: "Europe/Berlin"}, "cpu", "ram")
	e.charged(12, "a", "b", "c")
	var frames []metering.PushedFrame
	for i := range 60 {
		b := begin.Add(time.Duration(i*i*17%(40*60)) * time.Minute).Truncate(hour).Add(time.Duration(i%3) * 20 * time.Minute)
		frames = append(frames, metering.PushedFrame{Begin: b, End: b.Add(time.Duration(1+i%2) * hour), Points: []metering.PushedPoint{
			pushed([]string{"a", "b", "zz", metering.UndefinedScope}[i%4], []string{"cpu", "disk"}[i%2], fmt.Sprint(i, "@", i), attrs("id", fmt.Sprint(i%3), "month", "own"), attrs("m", fmt.Sprint(i%5))),
		}})
	}
	e.push(&metering.Push{Author: "ada", Frames: frames})
	for _, filters := range [][]costs.Filter{
		nil,
		{{Key: "scope", Values: []string{"a"}}},
		{{Key: "scope", Values: []string{"zz", "b"}}},
		{{Key: "scope", Values: []string{"none"}}},
		{{Key: "metric", Values: []string{"disk"}}},
		{{Key: "unit", Values: []string{"unit of cpu"}}},
		{{Key: "id", Values: []string{"1"}}, {Key: "scope", Values: []string{"a", "c"}}},
		{{Key: "month", Values: []string{"10", "own"}}},
		{{Key: "project_id", Values: []string{"b"}}},
		{{Key: "m", Values: []string{"3"}}},
		{{Key: "day_of_the_year", Values: []string{"305"}}},
		{{Key: "month", Values: []string{"4"}}},
	} {
		for _, r := range []period.Range{ever, {Begin: begin.Add(90 * time.Minute), End: begin.Add(31 * hour)}, {Begin: begin.Add(900 * hour), End: ever.End}} {
			for _, page := range [][2]int{{0, 0}, {0, 7}, {3, 1}, {29, 20}, {100, 30}, {1000, 5}} {
				q := &costs.FrameQuery{Range: r, Filters: filters, Offset: page[0], Limit: page[1]}
				if got, want := e.frames(q), e.naiveFrames(q); !slices.Equal(got, want) {
					e.Fatalf("%+v:\n got %s\nwant %s", *q, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
				}
			}
		}
	}
	stop := fmt.Errorf("enough")
	if _, err := e.s.Frames(e.ctx, &costs.FrameQuery{Range: ever}, func(*costs.Frame) error { return stop }); !errors.Is(err, stop) {
		e.Error(err)
	}
}

// pushRandom pushes what comes to mind, and compares.
func (e *env) pushRandom() {
	e.world(store.Wanted{Timezone: "Asia/Kolkata"}, "cpu")
	e.charged(5, "a", "b")
	rapid.Check(e.tb.(rapid.TB), func(t *rapid.T) {
		text := rapid.SampledFrom(append([]string{"a", "b", "id", "month", "scope"}, oddTexts...))
		amount := rapid.SampledFrom([]string{"0", "1", "-1", "0.000000000001", "12345678901234567890.5", "99999999999999999999999999999999999999"})
		p := &metering.Push{Author: "rapid"}
		for range rapid.IntRange(0, 5).Draw(t, "frames") {
			b := begin.Add(time.Duration(rapid.IntRange(-50, 50).Draw(t, "begin")) * 20 * time.Minute)
			f := metering.PushedFrame{Begin: b, End: b.Add(time.Duration(rapid.IntRange(1, 3).Draw(t, "length")) * 20 * time.Minute)}
			for range rapid.IntRange(0, 8).Draw(t, "points") {
				point := metering.PushedPoint{
					Scope: rapid.SampledFrom([]string{"a", "b", "c", metering.UndefinedScope}).Draw(t, "scope"), Metric: rapid.SampledFrom([]string{"cpu", "Netz <ü>", "x y"}).Draw(t, "metric"),
					Unit: text.Draw(t, "unit"), Qty: money.MustParse(amount.Draw(t, "qty")), Price: money.MustParse(amount.Draw(t, "price")),
				}
				for _, as := range []*metering.Attributes{&point.Groupby, &point.Metadata} {
					for name, value := range rapid.MapOfN(text, text, 0, 3).Draw(t, "attributes") {
						*as = append(*as, metering.Attribute{Name: name, Value: value})
					}
					as.Sort()
				}
				for _, a := range point.Groupby {
					if _, both := point.Metadata.Get(a.Name); !both && json.Valid([]byte(a.Value)) && a.Value[0] != '"' {
						point.Literals = append(point.Literals, a.Name)
					}
				}
				f.Points = append(f.Points, point)
			}
			p.Frames = append(p.Frames, f)
		}
		if _, err := e.s.Push(e.ctx, p); err != nil {
			t.Fatal(err)
		}
		if bad := e.mismatches(); len(bad) > 0 {
			t.Fatal(bad)
		}
		q := &costs.FrameQuery{Range: ever, Offset: rapid.IntRange(0, 20).Draw(t, "offset"), Limit: rapid.IntRange(0, 20).Draw(t, "limit")}
		if rapid.Bool().Draw(t, "filtered") {
			q.Filters = []costs.Filter{{Key: rapid.SampledFrom([]string{"id", "attr:month", "metric", "attr:scope"}).Draw(t, "key"), Values: []string{text.Draw(t, "value"), "cpu", "0"}}}
		}
		if got, want := e.frames(q), e.naiveFrames(q); !slices.Equal(got, want) {
			t.Fatalf("%+v:\n got %s\nwant %s", *q, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
		e.compare(&costs.Query{Range: ever, Groups: []string{"scope", "id"}}, &costs.Query{Range: ever, Bucket: period.Day, Groups: []string{"metric", "month"}})
	})
}
