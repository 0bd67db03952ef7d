package storetest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ratebook/costs"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/store"
)

// Sequences does things at random to databases of one kind and looks after each whether everything still fits: the roll-ups
// and the ledger the charges, what tasks say that they changed what has changed, marks the tasks, and all of that what a naive
// model expects. database returns the URL of a fresh, empty one.
func Sequences(t *testing.T, database func(t *testing.T) (databaseURL string)) {
	url := database(t)
	rapid.Check(t, func(rt *rapid.T) {
		if path, isFile := strings.CutPrefix(url, "sqlite://"); isFile {
			for _, end := range []string{"", "-wal", "-shm"} {
				_ = os.Remove(path + end)
			}
		}
		s := &sequence{env: newEnv(rt, url, nil)}
		if s.postgres {
			s.exec("DROP SCHEMA public CASCADE")
			s.exec("CREATE SCHEMA public")
		}
		s.begin(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"":                     s.check,
			"plan":                 s.morePlanned,
			"add a scope":          s.addScope,
			"process":              s.process,
			"do again":             s.doAgain,
			"do more again":        s.doAgain,
			"catch up":             s.catchUp,
			"take a lease":         s.take,
			"commit what is taken": s.finish,
			"create a task":        s.createTask,
			"create another task":  s.createTask,
			"preview a task":       s.preview,
			"reset scopes":         s.reset,
			"change a task":        s.changeTask,
			"advance tasks":        s.advance,
			"let usage be late":    s.recheck,
			"change windows":       s.changeWindows,
			"retain":               s.retainAny,
			"rebuild":              s.rebuild,
			"change the zone":      s.changeZone,
			"restart":              s.restart,
		})
		s.end(rt)
	})
}

// The time and the length of the windows of sequences: no grid of days or months, in zones that change their clocks.
var sequenceBegin = at("2025-09-21T00:00:00Z")

const sequencePeriod = 12 * hour

// sequence is the state of one random sequence: what it did and what must have come of that.
type sequence struct {
	*env
	stores  []*store.Store // the first is env's
	planned time.Time
	rules   int64            // the latest version
	chances uint64           // so far
	taken   []metering.Lease // that are not done yet, some of them lost
	well    bool             // nothing fails, and nothing is checked again

	charges    map[windowAt][]charge // by window, in the order of their series
	ledger     map[windowAt]ledgerRow
	since      time.Time                  // from when on charges, and what belongs to them, are kept
	changes    map[taskMetric]*taskChange // what tasks have changed
	superseded map[windowAt][]string      // what they have replaced
	late       map[int64][]int64          // begins of the windows that a re-check has found to be so
}

type windowAt struct{ scope, begin int64 }

// charge is one of a window's; those of a series have an order.
type charge struct {
	metric, id string
	qty, price money.Decimal
}

func (c charge) String() string {
	return fmt.Sprintf("%s %s %s@%s", c.metric, c.id, plain(c.qty), plain(c.price))
}

// plain writes a number without zeros at its end, which databases keep or not.
func plain(d money.Decimal) string {
	s := d.String()
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

func sameCharges(a, b []charge) bool {
	return slices.EqualFunc(a, b, func(x, y charge) bool {
		return x.metric == y.metric && x.id == y.id && x.qty.Equal(y.qty) && x.price.Equal(y.price)
	})
}

func bySeriesOf(a, b charge) int {
	return cmp.Or(strings.Compare(a.metric, b.metric), strings.Compare(a.id, b.id))
}

// ledgerRow is a window of the ledger.
type ledgerRow struct {
	state                   metering.State
	points, unpriced        int
	amount                  money.Decimal
	config, rules, redoneBy int64
	task                    *int64
	failing                 bool
}

type taskMetric struct {
	task, scope int64
	metric      string
}

type taskChange struct {
	pointsBefore, pointsAfter int64
	before, after             money.Decimal
}

var sequenceZones = []string{"UTC", "Europe/Berlin", "Asia/Kolkata", "America/Los_Angeles"}

func (s *sequence) begin(t *rapid.T) {
	s.world(store.Wanted{Period: sequencePeriod, Timezone: rapid.SampledFrom(sequenceZones).Draw(t, "zone")}, "cpu", "ram")
	s.stores = []*store.Store{s.s, s.open()}
	s.planned, s.rules = sequenceBegin, 1
	s.scopes(sequenceBegin, "a", "b")
	s.charges, s.ledger = map[windowAt][]charge{}, map[windowAt]ledgerRow{}
	s.changes, s.superseded, s.late = map[taskMetric]*taskChange{}, map[windowAt][]string{}, map[int64][]int64{}
	s.morePlanned(t)
	s.catchUp(t)
}

// any returns one of the processes.
func (s *sequence) any(t *rapid.T) *store.Store {
	return rapid.SampledFrom(s.stores).Draw(t, "process")
}

// chance is for what a sequence has too much of to draw each, and for what should not be small mostly.
func (s *sequence) chance(t *rapid.T) *rand.Rand {
	s.chances++
	return rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "contents"), s.chances))
}

func (s *sequence) morePlanned(t *rapid.T) {
	s.planned = s.planned.Add(time.Duration(1+s.chance(t).IntN(60)) * sequencePeriod)
	if most := sequenceBegin.Add(120 * sequencePeriod); s.planned.After(most) { // all of it is looked at after every step
		s.planned = most
	}
	_, err := s.any(t).Plan(s.ctx, sequencePeriod, s.planned)
	s.must(err)
}

func (s *sequence) addScope(t *rapid.T) {
	first := sequenceBegin.Add(time.Duration(s.chance(t).IntN(70)) * sequencePeriod)
	s.scopes(first, rapid.SampledFrom([]string{"c", "d"}).Draw(t, "scope"))
}

// only draws whom a worker asks for: a scope, or any.
func (s *sequence) only(t *rapid.T) []string {
	return [][]string{nil, nil, {"a"}, {"b"}, {"c"}, {"d"}}[s.chance(t).IntN(6)]
}

func (s *sequence) process(t *rapid.T) { s.work(t, metering.LeaseRequest{}, s.morePlanned) }
func (s *sequence) doAgain(t *rapid.T) { s.work(t, again, s.createTask) }

// work leases and commits. If there is nothing to do, more makes some.
func (s *sequence) work(t *rapid.T, r metering.LeaseRequest, more func(*rapid.T)) {
	st := s.any(t)
	r.Only = s.only(t)
	leases := s.leaseFrom(st, r)
	if len(leases) == 0 {
		more(t)
		leases = s.leaseFrom(st, r)
	}
	chance := s.chance(t)
	for _, l := range leases {
		s.commitLease(st, l, chance, false)
	}
}

// catchUp does all that can be done, without a failure.
func (s *sequence) catchUp(t *rapid.T) {
	chance := s.chance(t)
	for _, r := range []metering.LeaseRequest{{}, again} {
		for {
			leases := s.lease(r)
			if len(leases) == 0 {
				break
			}
			for _, l := range leases {
				s.well = true
				s.commitLease(s.s, l, chance, false)
				s.well = false
			}
		}
	}
}

// take leases windows of which something else may become before they are committed.
func (s *sequence) take(t *rapid.T) {
	leases := s.leaseFrom(s.any(t), metering.LeaseRequest{Again: rapid.Bool().Draw(t, "again"), Only: s.only(t), Scopes: 1})
	if len(leases) == 0 {
		t.Skip("nothing to do")
	}
	s.taken = append(s.taken, leases...)
}

func (s *sequence) finish(t *rapid.T) {
	if len(s.taken) == 0 {
		t.Skip("nothing was taken")
	}
	l := s.taken[0]
	s.taken = s.taken[1:]
	s.commitLease(s.any(t), l, s.chance(t), true)
}

// commitLease does a lease's windows and expects what must come of that. A commit that was overtaken may be refused, as a whole
// or from some window on.
func (s *sequence) commitLease(st *store.Store, l metering.Lease, chance *rand.Rand, overtaken bool) {
	b := &metering.Batch{Token: l.Token, Scopes: []*metering.Scope{l.Scope}, Run: l.Run, Task: l.Task, ConfigVersion: s.config + int64(chance.IntN(3)), SourceVersion: "x"}
	if chance.IntN(2) == 0 {
		s.rules++
	}
	b.RulesVersion = s.rules
	if chance.IntN(3) == 0 && !s.well && (l.Task == nil || l.Task.Kind != metering.Recheck) {
		b.Recheck = 100 * 365 * 24 * hour
	}
	kind := metering.TaskKind("")
	if l.Task != nil {
		kind = l.Task.Kind
		usage, err := st.Charges(s.ctx, b.Scopes, b.Run)
		s.must(err)
		b.Usage = usage
		if kind == metering.Rerate || kind == metering.Recheck {
			b.ConfigVersion = l.Config
		}
		if kind == metering.Recheck {
			b.RulesVersion = l.Rules
		}
	}
	if kind == metering.Reset { // leaves nothing, and asks nobody
		b.ConfigVersion, b.RulesVersion, b.Usage = 0, 0, nil
	} else {
		s.vary(b, kind, chance)
	}

	failed := map[int]bool{}
	failing := chance.IntN(3) == 0 && !s.well && kind != metering.Reset
	for i := range b.Run.Count {
		if failing && chance.IntN(4) == 0 {
			failed[i] = true
			b.Failed = append(b.Failed, metering.Outcome{Scope: l.Scope, Window: i, Error: []string{"x", "y" + metering.LacksSamples + "z"}[i%2], Retry: sequenceBegin})
		}
	}
	want := map[windowAt][]charge{}
	for i := range b.Run.Count {
		key := windowAt{l.Scope.Ref, b.Run.Window(i).Begin.Unix()}
		if want[key] = s.charges[key]; !failed[i] {
			want[key] = chargesIn(b, i)
		}
		if kind != "" && kind != metering.Reset && !failed[i] && sameCharges(want[key], s.charges[key]) && chance.IntN(3) > 0 {
			b.Unchanged = append(b.Unchanged, metering.Outcome{Scope: l.Scope, Window: i})
			for u := range b.Usage {
				b.Usage[u].Samples = slices.DeleteFunc(b.Usage[u].Samples, func(x metering.Sample) bool { return x.Window == i })
			}
		}
		for range chance.IntN(3) {
			if kind == metering.Reset {
				break
			}
			kinds := []metering.FindingKind{metering.Unpriced, metering.RoundedToNil, metering.NotNumeric, metering.Skipped, metering.LabelClash}
			if kind == metering.Rerate {
				kinds = kinds[:3]
			}
			if !failed[i] {
				b.Findings = append(b.Findings, metering.Finding{
					Kind: kinds[chance.IntN(len(kinds))], Scope: l.Scope, Window: i, Metric: []string{"cpu", "ram"}[chance.IntN(2)],
					Detail: []string{"", "id = 1"}[chance.IntN(2)], Points: 1 + chance.IntN(5),
				})
			}
		}
	}
	tasks := s.count("SELECT COALESCE(MAX(id), 0) FROM tasks")
	s.ledger = s.readLedger()
	err := st.Commit(s.ctx, b)
	if err != nil && (!overtaken || fault.KindOf(err) != fault.Conflict) {
		s.Fatalf("commit %s %v for %v: %v", l.Scope.ID, l.Run, l.Task, err)
	}
	s.must(st.Release(s.ctx, l.Token, b.Scopes))
	s.committed(b, failed, want, tasks, err != nil)
}

// vary makes usage as it may be the first time, or again.
func (s *sequence) vary(b *metering.Batch, kind metering.TaskKind, chance *rand.Rand) {
	price := func() money.Decimal { return money.New(chance.Int64N(5_000)-1_000, int32(chance.IntN(7))) }
	keep := chance.IntN(10) // of ten, those that stay as they were
	for i := range b.Usage {
		u := &b.Usage[i]
		kept := u.Samples[:0]
		for _, sample := range u.Samples {
			switch n := chance.IntN(10); {
			case n < keep:
			case kind == metering.Rerate || n%3 == 0:
				sample.Price = price()
			case n%3 == 1:
				sample.Qty = sample.Qty.Add(money.New(1, 0))
			default:
				continue
			}
			kept = append(kept, sample)
		}
		u.Samples = kept
	}
	if kind == metering.Rerate || kind != "" && keep > 7 {
		return
	}
	for range chance.IntN(4) {
		u := metering.Usage{Series: metering.Series{
			Scope: b.Scopes[0], Metric: s.metrics[[]string{"cpu", "ram"}[chance.IntN(2)]], Groupby: attrs("id", fmt.Sprint(chance.IntN(4))),
		}}
		for w := range b.Run.Count {
			if chance.IntN(3) > 0 {
				u.Samples = append(u.Samples, metering.Sample{Window: w, Qty: money.New(chance.Int64N(10_000), int32(chance.IntN(4))), Price: price()})
			}
		}
		b.Usage = append(b.Usage, u)
	}
}

// chargesIn returns what a batch's usage makes in one of its windows.
func chargesIn(b *metering.Batch, window int) (all []charge) {
	for i := range b.Usage {
		u := &b.Usage[i]
		id, _ := u.Groupby.Get("id")
		for _, x := range u.Samples {
			if x.Window == window {
				all = append(all, charge{u.Metric.Name, id, x.Qty, x.Price})
			}
		}
	}
	slices.SortStableFunc(all, bySeriesOf)
	return all
}

// committed takes over what a commit did, if that is as it was wanted. With some, it was refused, at least from some window on.
func (s *sequence) committed(b *metering.Batch, failed map[int]bool, want map[windowAt][]charge, tasks int64, some bool) {
	now, ledger := s.storedCharges(), s.readLedger()
	refused := false
	for i := range b.Run.Count {
		key := windowAt{b.Scopes[0].Ref, b.Run.Window(i).Begin.Unix()}
		was, is, row := s.ledger[key], now[key], ledger[key]
		switch {
		case failed[i] && sameCharges(is, want[key]) && (some || row.failing && (b.Task != nil && row.state == was.state || b.Task == nil && row.state == metering.Failed)):
			continue
		case some && sameCharges(is, s.charges[key]) && (refused || equalRows(row, was)):
			refused = true
			continue
		case !failed[i] && !refused && sameCharges(is, want[key]):
		default:
			s.Fatalf("window %s %s of %v (failed: %t, refused: %t):\n has %v\nwant %v\n had %v\n%+v\n%+v", b.Scopes[0].ID, b.Run.Window(i).Begin, b.Task, failed[i], some, is, want[key], s.charges[key], row, was)
		}
		if b.Task == nil {
			if row.rules != b.RulesVersion || row.config != b.ConfigVersion {
				s.Fatalf("versions of a window: %+v", row)
			}
			continue
		}
		task, changed := b.Task.ID, !sameCharges(is, s.charges[key])
		switch {
		case b.Task.Kind != metering.Recheck && (row.redoneBy != task || row.rules != b.RulesVersion):
			s.Fatalf("a window that task %d did again: %+v", task, row)
		case b.Task.Kind == metering.Recheck && !changed && (row.redoneBy != was.redoneBy || row.rules != was.rules):
			s.Fatalf("a window that was checked again: %+v, before %+v", row, was)
		case b.Task.Kind == metering.Recheck && changed:
			if task = row.redoneBy; task <= tasks || row.rules != was.rules {
				s.Fatalf("a window that had late usage: %+v, before %+v, and %d tasks", row, was, tasks)
			}
		}
		if row.config != b.ConfigVersion && (changed || b.Task.Kind == metering.Reprocess) || row.failing || row.task != nil && *row.task != 0 {
			s.Fatalf("a window that was done again: %+v", row)
		}
		if changed {
			s.replaced(key, task, b.Task.Kind, was, is)
		}
	}
	for key, charges := range now { // nothing else may be touched
		if _, own := want[key]; !own && !sameCharges(charges, s.charges[key]) {
			s.Fatalf("window %v was touched: %v, had %v", key, charges, s.charges[key])
		}
	}
	s.charges = now
}

func equalRows(a, b ledgerRow) bool {
	return a.state == b.state && a.points == b.points && a.rules == b.rules && a.redoneBy == b.redoneBy && a.failing == b.failing
}

// replaced notes what a task must say of a window that it changed.
func (s *sequence) replaced(key windowAt, task int64, kind metering.TaskKind, was ledgerRow, is []charge) {
	change := func(metric string) *taskChange {
		k := taskMetric{task, key.scope, metric}
		if s.changes[k] == nil {
			s.changes[k] = &taskChange{}
		}
		return s.changes[k]
	}
	if kind == metering.Recheck {
		s.late[task] = append(s.late[task], key.begin)
	}
	for i, c := range s.charges[key] {
		x := change(c.metric)
		x.pointsBefore, x.before = x.pointsBefore+1, x.before.Add(c.price)
		if kind == metering.Rerate && c.price.Equal(is[i].price) { // the points are the same
			continue
		}
		s.superseded[key] = append(s.superseded[key], fmt.Sprintf("%s by %d, of %d and %d", c, task, was.config, was.rules))
	}
	for _, c := range is {
		x := change(c.metric)
		x.pointsAfter, x.after = x.pointsAfter+1, x.after.Add(c.price)
	}
}

// anyTask draws a task that is in one of some states.
func (s *sequence) anyTask(t *rapid.T, states ...metering.TaskState) int64 {
	tasks, _, err := s.s.Tasks(s.ctx, 100, 0)
	s.must(err)
	var ids []int64
	for i := range tasks {
		if slices.Contains(states, tasks[i].State) {
			ids = append(ids, tasks[i].ID)
		}
	}
	if len(ids) == 0 {
		t.Skip("no such task")
	}
	return rapid.SampledFrom(ids).Draw(t, "task")
}

// span draws a range of windows that begin before a time.
func (s *sequence) span(t *rapid.T, end time.Time) period.Range {
	n := int(end.Sub(sequenceBegin) / sequencePeriod)
	if n < 1 {
		t.Skip("no windows")
	}
	chance := s.chance(t)
	from := chance.IntN(n)
	to := from + 1 + chance.IntN(min(n-from, 50))
	return period.Range{Begin: sequenceBegin.Add(time.Duration(from) * sequencePeriod), End: sequenceBegin.Add(time.Duration(to) * sequencePeriod)}
}

func (s *sequence) createTask(t *rapid.T) {
	n := &metering.NewTask{
		Kind: rapid.SampledFrom([]metering.TaskKind{metering.Reprocess, metering.Rerate}).Draw(t, "kind"), ScopeIDs: s.only(t),
		Reason: "why not", Author: "ada", Preview: s.chance(t).IntN(5) == 0,
	}
	n.AllScopes = len(n.ScopeIDs) == 0
	end := s.planned
	if s.chance(t).IntN(8) > 0 {
		states, err := s.s.ScopeStates(s.ctx)
		s.must(err)
		for _, x := range states {
			if (n.AllScopes || x.Scope.ID == n.ScopeIDs[0]) && x.ProcessedTo.Before(end) {
				end = x.ProcessedTo
			}
		}
	}
	n.Range = s.span(t, end)
	id, err := s.any(t).CreateTask(s.ctx, n)
	if err != nil {
		s.orRefused(t, err, fault.Invalid, fault.Conflict)
	}
	if s.chance(t).IntN(4) > 0 {
		s.advance(t)
		if !n.Preview {
			s.equal("windows that the task does not do", s.count(`SELECT count(*) FROM windows w JOIN task_scopes ts ON ts.scope = w.scope AND ts.task = ?
				WHERE w.begins_at >= ? AND w.begins_at < ? AND w.state IN (2, 5) AND (w.task IS NULL OR w.task <> ?)`, id, s.time(n.Range.Begin), s.time(n.Range.End), id), 0)
		}
	}
}

// reset makes windows of some scopes due again, from a time on.
func (s *sequence) reset(t *rapid.T) {
	var refs []int64
	for _, scope := range s.only(t) {
		refs = append(refs, s.count("SELECT COALESCE(MAX(id), 0) FROM scopes WHERE scope = ?", scope))
	}
	if len(refs) == 0 {
		all, err := s.s.Scopes(s.ctx)
		s.must(err)
		for _, scope := range all {
			refs = append(refs, scope.Ref)
		}
	}
	if _, err := s.any(t).ResetScopes(s.ctx, refs, s.span(t, s.planned).Begin, "why not", "ada"); err != nil {
		s.orRefused(t, err, fault.Invalid, fault.Conflict, fault.NotFound)
	}
	if s.chance(t).IntN(4) > 0 {
		s.advance(t)
	}
}

// orRefused fails unless an error is of one of some kinds, with which nothing has happened.
func (s *sequence) orRefused(t *rapid.T, err error, kinds ...fault.Kind) {
	if !slices.Contains(kinds, fault.KindOf(err)) {
		s.Fatal(err)
	}
	t.Skip(err)
}

func (s *sequence) preview(t *rapid.T) {
	p, err := s.any(t).NextPreview(s.ctx, metering.PreviewRequest{For: hour, Sources: []string{"default"}})
	s.must(err)
	if p != nil {
		s.must(s.any(t).SavePreview(s.ctx, p, &metering.PreviewResult{}))
	}
}

func (s *sequence) changeTask(t *rapid.T) {
	change := rapid.SampledFrom([]struct {
		what string
		do   func(*store.Store, int64) error
		of   []metering.TaskState
	}{
		{"cancel", func(st *store.Store, id int64) error { return st.CancelTask(s.ctx, id, "ada") }, []metering.TaskState{metering.Running, metering.Previewing, metering.Previewed}},
		{"resume", func(st *store.Store, id int64) error { return st.ResumeTask(s.ctx, id, "ada") }, []metering.TaskState{metering.Cancelled}},
		{"start", func(st *store.Store, id int64) error { return st.StartTask(s.ctx, id, "ada") }, []metering.TaskState{metering.Previewed}},
	}).Draw(t, "change")
	if err := change.do(s.any(t), s.anyTask(t, change.of...)); err != nil {
		s.orRefused(t, err, fault.Conflict)
	}
}

// advance marks, unmarks and finishes; then no window has the mark of a task that is not running.
func (s *sequence) advance(t *rapid.T) {
	s.must(s.any(t).AdvanceTasks(s.ctx))
	s.equal("windows with marks of tasks that are not running", s.rows("SELECT scope, begins_at, task FROM windows WHERE task <> 0 AND task NOT IN (SELECT id FROM tasks WHERE state = 'running')"), []string(nil))
	s.equal("tasks that run for nothing", s.rows("SELECT id FROM tasks WHERE state = 'running' AND id NOT IN (SELECT task FROM windows WHERE task IS NOT NULL)"), []string(nil))
}

// overdue lets the time for all re-checks come.
func (s *sequence) overdue() {
	s.exec("UPDATE windows SET next_attempt = begins_at WHERE task = 0")
}

// recheck lets usage be late, and checks some windows again.
func (s *sequence) recheck(t *rapid.T) {
	s.overdue()
	s.doAgain(t)
}

func (s *sequence) changeWindows(t *rapid.T) {
	sel := metering.WindowSelection{Range: s.span(t, s.planned)}
	if only := s.only(t); only != nil {
		sel.Scopes = []int64{s.count("SELECT COALESCE(MAX(id), 0) FROM scopes WHERE scope = ?", only[0])}
	}
	change := rapid.SampledFrom([]struct {
		what string
		do   func(*store.Store) (int64, error)
	}{
		{"waive", func(st *store.Store) (int64, error) { return st.WaiveWindows(s.ctx, sel, "lost", "ada") }},
		{"unwaive", func(st *store.Store) (int64, error) { return st.UnwaiveWindows(s.ctx, sel, "ada") }},
		{"accept absence", func(st *store.Store) (int64, error) { return st.AcceptAbsence(s.ctx, sel, "off", "ada") }},
		{"retry", func(st *store.Store) (int64, error) { return st.RetryWindows(s.ctx, sel, "ada") }},
	}).Draw(t, "change")
	if _, err := change.do(s.any(t)); err != nil {
		s.orRefused(t, err, fault.NotFound)
	}
}

// retainAny keeps charges and roll-ups for some months and drops what is older at some time.
func (s *sequence) retainAny(t *rapid.T) {
	st := s.any(t)
	s.must(st.SetSetting(s.ctx, "keep_rollups", "forever", "ada"))
	chance := s.chance(t)
	charges := 1 + chance.IntN(2)
	s.must(st.SetSetting(s.ctx, "keep_charges", metering.Keep(charges).String(), "ada"))
	if more := chance.IntN(3); more < 2 {
		s.must(st.SetSetting(s.ctx, "keep_rollups", metering.Keep(charges+more).String(), "ada"))
	}
	before := s.kept()
	done, err := st.Retain(s.ctx, s.planned.AddDate(0, chance.IntN(4), 0))
	s.must(err)
	kept := s.kept()
	if kept.ChargesFrom.Before(before.ChargesFrom) || kept.RollupsFrom.Before(before.RollupsFrom) || kept.ChargesFrom.Before(kept.RollupsFrom) {
		s.Fatalf("since %v, before %v", kept, before)
	}
	if !done.HeldAt.IsZero() && kept.ChargesFrom.After(before.ChargesFrom) && kept.ChargesFrom.After(done.HeldAt) {
		s.Fatalf("dropped what is held: %+v", done)
	}
	// charges of whole windows are gone, of those before the mark only
	now := s.storedCharges()
	for key, had := range s.charges {
		if is := now[key]; !sameCharges(is, had) && (len(is) > 0 || key.begin >= kept.ChargesFrom.Unix()) {
			s.Fatalf("window %v has %v after charges before %s were dropped, had %v", key, is, kept.ChargesFrom, had)
		}
	}
	s.charges = now
}

// idle gives back what was taken, as before a rebuild.
func (s *sequence) idle() {
	s.must(s.s.ReleaseAll(s.ctx))
	s.taken = nil
}

func (s *sequence) rebuild(t *rapid.T) {
	s.idle()
	s.must(s.any(t).RebuildRollups(s.ctx, "test", nil))
}

func (s *sequence) changeZone(t *rapid.T) {
	if s.dropped() { // it can't be changed any more
		t.Skip("charges were dropped")
	}
	s.idle()
	s.must(s.any(t).SetSetting(s.ctx, "timezone", rapid.SampledFrom(sequenceZones).Draw(t, "zone"), "test"))
	s.reopen()
}

// reopen starts the processes again.
func (s *sequence) reopen() {
	for i := range s.stores {
		_ = s.stores[i].Close()
		s.stores[i] = s.open()
	}
	s.s = s.stores[0]
}

// restart starts the processes again and lets others have the leases that were taken.
func (s *sequence) restart(*rapid.T) {
	s.must(s.s.ReleaseAll(s.ctx))
	s.reopen()
}

// storedCharges reads all charges, by window.
func (s *sequence) storedCharges() map[windowAt][]charge {
	s.Helper()
	rows, err := s.raw.QueryContext(s.ctx, "SELECT c.scope, "+s.unix("c.begins_at")+`, m.name, CAST(r.groupby AS text), CAST(c.qty AS text), CAST(c.price AS text)
		FROM charges c JOIN series r ON r.id = c.series AND r.scope = c.scope JOIN metrics m ON m.id = r.metric ORDER BY c.scope, c.begins_at, c.series, c.seq`)
	s.must(err)
	defer rows.Close()
	all := map[windowAt][]charge{}
	n := 0
	for rows.Next() {
		var key windowAt
		var c charge
		var groupby, qty, price string
		s.must(rows.Scan(&key.scope, &key.begin, &c.metric, &groupby, &qty, &price))
		var attributes map[string]string
		s.must(json.Unmarshal([]byte(groupby), &attributes))
		c.id, c.qty, c.price = attributes["id"], money.MustParse(qty), money.MustParse(price)
		all[key] = append(all[key], c)
		n++
	}
	s.must(rows.Err())
	s.equal("charges, all of series that are there", s.count("SELECT count(*) FROM charges"), n)
	for _, charges := range all {
		slices.SortStableFunc(charges, bySeriesOf)
	}
	return all
}

// readLedger reads all windows.
func (s *sequence) readLedger() map[windowAt]ledgerRow {
	s.Helper()
	rows, err := s.raw.QueryContext(s.ctx, "SELECT scope, "+s.unix("begins_at")+`, state, points, unpriced, CAST(amount AS text), COALESCE(config_version, 0),
		COALESCE(rules_version, 0), COALESCE(redone_by, 0), task, error IS NOT NULL FROM windows`)
	s.must(err)
	defer rows.Close()
	all := map[windowAt]ledgerRow{}
	for rows.Next() {
		var key windowAt
		var r ledgerRow
		var amount string
		s.must(rows.Scan(&key.scope, &key.begin, &r.state, &r.points, &r.unpriced, &amount, &r.config, &r.rules, &r.redoneBy, &r.task, &r.failing))
		r.amount = money.MustParse(amount)
		all[key] = r
	}
	s.must(rows.Err())
	return all
}

// check looks whether everything fits.
func (s *sequence) check(*rapid.T) {
	now := s.storedCharges()
	if !maps.EqualFunc(now, s.charges, sameCharges) {
		s.Fatalf("charges have changed:\n%v\nhad\n%v", now, s.charges)
	}
	s.ledger, s.since = s.readLedger(), s.kept().ChargesFrom
	if bad := s.mismatches(); len(bad) > 0 {
		s.Fatalf("the roll-ups differ from the charges:\n%s", strings.Join(bad, "\n"))
	}
	s.checkRollups()
	s.checkWindows()
	s.checkFindings()
	s.checkTasks()
	s.checkProcessedTo()
}

// checkRollups compares the sums of days and months, and reports, with those of the charges, one by one.
func (s *sequence) checkRollups() {
	zone, since := s.zone(), s.since
	for table, column := range map[string]string{"scope_metric_days": "day", "scope_metric_months": "month"} {
		type row struct {
			at, metric string
			scope      int64
		}
		type sum struct {
			points     int
			qty, price money.Decimal
		}
		sums := map[row]*sum{}
		for key, charges := range s.charges {
			begin := time.Unix(key.begin, 0)
			if begin.Before(since) {
				continue
			}
			day := period.Day.Start(begin, zone).In(zone).Format(time.DateOnly)
			if column == "month" {
				day = day[:7] + "-01"
			}
			for _, c := range charges {
				k := row{day, c.metric, key.scope}
				if sums[k] == nil {
					sums[k] = &sum{}
				}
				x := sums[k]
				x.points, x.qty, x.price = x.points+1, x.qty.Add(c.qty), x.price.Add(c.price)
			}
		}
		var want, got []string
		for k, x := range sums {
			want = append(want, fmt.Sprintf("%s|%d|%s|%d|%s|%s", k.at, k.scope, k.metric, x.points, plain(x.qty), plain(x.price)))
		}
		slices.Sort(want)
		from := "0001-01-01"
		if !since.IsZero() {
			from = since.In(zone).Format(time.DateOnly)
		}
		for _, line := range s.rows("SELECT CAST(r."+column+" AS text), r.scope, m.name, r.points, CAST(r.qty AS text), CAST(r.price AS text) FROM "+table+" r JOIN metrics m ON m.id = r.metric WHERE r."+column+" >= ?", from) {
			part := strings.Split(line, "|")
			part[4], part[5] = plain(money.MustParse(part[4])), plain(money.MustParse(part[5]))
			got = append(got, strings.Join(part, "|"))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			s.Fatalf("%s since %s:\n got %s\nwant %s", table, from, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
	whole := period.Range{Begin: period.Month.Start(sequenceBegin, zone), End: period.Month.Next(s.planned, zone)}
	odd := period.Range{Begin: sequenceBegin.Add(5 * 24 * hour), End: s.planned.Add(-sequencePeriod)}
	s.compare(s.ofKept([]*costs.Query{
		{Range: whole, Bucket: period.Month, Groups: []string{"scope", "metric"}},
		{Range: whole, Bucket: period.Day, Groups: []string{"id"}},
		{Range: odd, Bucket: period.Whole, Groups: []string{"scope", "id"}},
	})...)
}

// checkWindows compares the ledger with the charges and what was noticed.
func (s *sequence) checkWindows() {
	unpriced := map[windowAt]int{}
	for _, line := range s.rows("SELECT scope, " + s.unix("begins_at") + ", SUM(points) FROM findings WHERE kind = 'unpriced' GROUP BY scope, begins_at") {
		var key windowAt
		var n int
		_, err := fmt.Sscanf(line, "%d|%d|%d", &key.scope, &key.begin, &n)
		s.must(err)
		unpriced[key] = n
	}
	for key, w := range s.ledger {
		var amount money.Decimal
		for _, c := range s.charges[key] {
			amount = amount.Add(c.price)
		}
		points := len(s.charges[key])
		done := w.state == metering.Done && points > 0 || w.state == metering.Empty && points == 0
		open := w.state == metering.Due || w.state == metering.Failed || w.state == metering.Waived
		if w.points != points || !w.amount.Equal(amount) || !done && (!open || points > 0 || w.task != nil) {
			s.Fatalf("window %v is %+v, and has %d charges of %s", key, w, points, amount)
		}
		if done && w.unpriced != unpriced[key] {
			s.Fatalf("window %v has %d unpriced points and findings of %d", key, w.unpriced, unpriced[key])
		}
	}
	for key := range s.charges {
		if _, ok := s.ledger[key]; !ok && key.begin >= s.since.Unix() {
			s.Fatalf("window %v has charges and is not in the ledger", key)
		}
	}
}

func (s *sequence) checkFindings() {
	type day struct {
		day                 int64
		scope, kind, metric string
		detail              string
	}
	type sum struct {
		windows, points, first, last int64
	}
	const seconds = 24 * 3600
	since := int64(0)
	if from := s.since; !from.IsZero() {
		since = from.Unix() - from.Unix()%seconds
	}
	sums := map[day]*sum{}
	for _, line := range s.rows("SELECT "+s.unix("begins_at")+", points, scope, kind, metric, detail FROM findings WHERE "+s.unix("begins_at")+" >= ?", since) {
		part := strings.SplitN(line, "|", 6)
		var begin, points int64
		_, err := fmt.Sscan(part[0], &begin)
		s.must(err)
		_, err = fmt.Sscan(part[1], &points)
		s.must(err)
		k := day{begin - begin%seconds, part[2], part[3], part[4], part[5]}
		if sums[k] == nil {
			sums[k] = &sum{first: begin, last: begin}
		}
		x := sums[k]
		x.windows, x.points, x.first, x.last = x.windows+1, x.points+points, min(x.first, begin), max(x.last, begin)
	}
	var want []string
	for k, x := range sums {
		want = append(want, fmt.Sprintf("%d|%s|%s|%s|%s|%d|%d|%d|%d", k.day, k.scope, k.kind, k.metric, k.detail, x.windows, x.points, x.first, x.last))
	}
	slices.Sort(want)
	got := s.rows("SELECT "+s.unix("day")+", scope, kind, metric, detail, windows, points, "+s.unix("first_at")+", "+s.unix("last_at")+" FROM finding_days WHERE "+s.unix("day")+" >= ?", since)
	s.equal("sums of findings", strings.Join(got, "\n"), strings.Join(want, "\n"))
	got = s.rows("SELECT "+s.unix("day")+", kind, metric, detail, windows, points, scopes FROM finding_sums WHERE "+s.unix("day")+" >= ?", since)
	want = s.rows("SELECT "+s.unix("day")+", kind, metric, detail, SUM(windows), SUM(points), COUNT(*) FROM finding_days WHERE "+s.unix("day")+" >= ? GROUP BY day, kind, metric, detail", since)
	s.equal("sums of findings of all scopes", strings.Join(got, "\n"), strings.Join(want, "\n"))
}

// checkTasks compares what tasks say that they changed, and what they keep, with what has changed.
func (s *sequence) checkTasks() {
	tasks, _, err := s.s.Tasks(s.ctx, 10_000, 0)
	s.must(err)
	marks := map[int64]int{}
	for _, w := range s.ledger {
		if w.task != nil {
			marks[*w.task]++
		}
	}
	delete(marks, 0)
	known := map[int64]bool{}
	for i := range tasks {
		t := &tasks[i]
		known[t.ID] = true
		// what is left of a cancelled one AdvanceTasks takes away
		if n := marks[t.ID]; n > 0 && t.State != metering.Running && t.State != metering.Cancelled || t.State == metering.Running && t.Left != n {
			s.Fatalf("task %d is %s, has %d windows left, and %d are marked", t.ID, t.State, t.Left, n)
		}
		delete(marks, t.ID)
		if t.Kind == metering.Recheck {
			first, last := slices.Min(s.late[t.ID]), slices.Max(s.late[t.ID])
			s.equal("windows of a re-check", fmt.Sprint(t.State, t.Windows, t.Range.Begin.Unix(), t.Range.End.Add(-sequencePeriod).Unix()),
				fmt.Sprint(metering.Finished, len(s.late[t.ID]), first, last))
		}
	}
	s.equal("marks of tasks that are not there", len(marks), 0)

	var want []string
	for k, x := range s.changes {
		if known[k.task] {
			want = append(want, fmt.Sprintf("%d|%d|%s|%d|%d|%s|%s", k.task, k.scope, k.metric, x.pointsBefore, x.pointsAfter, plain(x.before), plain(x.after)))
		}
	}
	slices.Sort(want)
	var got []string
	for _, line := range s.rows("SELECT task, scope, metric, points_before, points_after, CAST(amount_before AS text), CAST(amount_after AS text) FROM task_differences WHERE NOT preview") {
		part := strings.Split(line, "|")
		part[5], part[6] = plain(money.MustParse(part[5])), plain(money.MustParse(part[6]))
		got = append(got, strings.Join(part, "|"))
	}
	slices.Sort(got)
	s.equal("what tasks have changed", strings.Join(got, "\n"), strings.Join(want, "\n"))

	want, got = nil, nil
	since := s.since
	for key, lines := range s.superseded {
		if !time.Unix(key.begin, 0).Before(since) {
			for _, line := range lines {
				want = append(want, fmt.Sprintf("%d %d %s", key.scope, key.begin, line))
			}
		}
	}
	slices.Sort(want)
	for _, line := range s.rows("SELECT c.scope, " + s.unix("c.begins_at") + `, m.name, CAST(r.groupby AS text), CAST(c.qty AS text), CAST(c.price AS text), c.task,
		c.config_version, c.rules_version FROM superseded_charges c JOIN series r ON r.id = c.series JOIN metrics m ON m.id = r.metric WHERE ` + s.unix("c.begins_at") + " >= " + fmt.Sprint(max(0, since.Unix()))) {
		part := strings.Split(line, "|")
		id := strings.Trim(part[3], `{}"id: `)
		got = append(got, fmt.Sprintf("%s %s %s %s %s@%s by %s, of %s and %s", part[0], part[1], part[2], id, plain(money.MustParse(part[4])), plain(money.MustParse(part[5])), part[6], part[7], part[8]))
	}
	slices.Sort(got)
	s.equal("what tasks have replaced", strings.Join(got, "\n"), strings.Join(want, "\n"))
	s.equal("charges that tasks replaced that are not there", s.count("SELECT count(*) FROM superseded_charges WHERE task NOT IN (SELECT id FROM tasks) AND "+s.unix("begins_at")+" >= "+fmt.Sprint(max(0, since.Unix()))), 0)
}

// checkProcessedTo walks through every scope's windows up to the first that is open.
func (s *sequence) checkProcessedTo() {
	states, err := s.s.ScopeStates(s.ctx)
	s.must(err)
	windows := map[int64][]int64{}
	for key := range s.ledger {
		windows[key.scope] = append(windows[key.scope], key.begin)
	}
	for _, state := range states {
		ref := state.Scope.Ref
		slices.Sort(windows[ref])
		to := state.PlannedTo.Unix()
		due, failed := 0, 0
		for i, begin := range windows[ref] {
			if i > 0 && begin >= s.since.Unix() && windows[ref][i-1] >= s.since.Unix() && begin-windows[ref][i-1] != int64(sequencePeriod/time.Second) {
				s.Fatalf("the ledger of scope %s has a hole before %s", state.Scope.ID, time.Unix(begin, 0).UTC())
			}
			switch s.ledger[windowAt{ref, begin}].state {
			case metering.Due:
				due++
			case metering.Failed:
				failed++
			default:
				continue
			}
			if due+failed == 1 {
				to = begin
			}
		}
		s.equal("scope "+state.Scope.ID, fmt.Sprint(state.ProcessedTo.Unix(), state.Due, state.Failed), fmt.Sprint(to, due, failed))
	}
}

// end does all that is left to do and looks at everything once more.
func (s *sequence) end(t *rapid.T) {
	s.idle()
	s.overdue()
	s.must(s.s.AdvanceTasks(s.ctx))
	s.catchUp(t)
	s.catchUp(t) // what was reset
	s.advance(t)
	s.check(t)
	s.equal("tasks that run", s.count("SELECT count(*) FROM tasks WHERE state = 'running'"), 0)
	s.equal("open windows", s.count("SELECT count(*) FROM windows WHERE state IN (0, 3)"), 0)
	s.sound()
}
