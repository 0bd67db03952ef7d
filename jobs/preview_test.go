package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rating"
)

// lines writes what a dry run found out.
func lines(r *metering.PreviewResult) (all []string) {
	for _, d := range r.Differences {
		all = append(all, fmt.Sprintf("%s %s: %d to %d points, %s to %s, %d of %s lost",
			d.Scope.ID, d.Metric, d.PointsBefore, d.PointsAfter, d.Before, d.After, d.LostPoints, d.LostAmount))
	}
	for _, l := range r.Losses {
		all = append(all, fmt.Sprintf("%s %s %s: %s, %d of %s", l.Scope.ID, l.Metric, l.Reason, l.Detail, l.Points, l.Amount))
	}
	return all
}

// usage makes usage of a series with the same quantity and price in some windows.
func usage(s *metering.Scope, m *metering.Metric, groupby metering.Attributes, qty, price string, windows ...int) metering.Usage {
	u := metering.Usage{Series: metering.Series{Scope: s, Metric: m, Groupby: groupby}}
	for _, w := range windows {
		u.Samples = append(u.Samples, metering.Sample{Window: w, Qty: money.MustParse(qty), Price: money.MustParse(price)})
	}
	return u
}

// TestDryRun previews what loses points and prices in each way there is, and changes nothing.
func TestDryRun(t *testing.T) {
	task := &metering.Task{ID: 5, Kind: metering.Reprocess}
	l := new(ledger)
	was := &metering.Metric{Ref: 1, Name: "cpu"}
	is := &metering.Metric{Ref: 2, Source: "s", Name: "cores", Measured: "server_cpu"}
	ram := &metering.Metric{Ref: 3, Source: "s", Name: "ram", Measured: "server_memory"}
	disk := &metering.Metric{Ref: 4, Source: "s", Name: "disk", Measured: "disk"}
	id := func(id, flavor string) metering.Attributes {
		return metering.Attributes{{Name: "flavor", Value: flavor}, {Name: "id", Value: id}}
	}
	p := processor(l, func(_ context.Context, r *metering.Request) (*metering.Collection, error) {
		s := r.Scopes[0]
		return &metering.Collection{Usage: []metering.Usage{
			usage(s, is, id("7f3a", "m1.tiny"), "2", "0", 0, 1, 2),
			usage(s, ram, id("7f3a", "m1.tiny"), "512", "0", 0, 1),
			usage(s, disk, nil, "1", "0", 0, 1, 2), // window 2 is the same as before, but for the cores
		}}, nil
	})
	c := p.Catalog.(*catalog)
	c.version = versions{12, 13}
	c.configs = map[int64][]*metering.Metric{12: {is, ram, disk}}
	c.rules = map[int64]*rating.Rules{13: costs("disk", "1", rating.Rule{
		ID: "free", Kind: rating.Mapping, Type: rating.Flat, Service: "cores", Cost: money.MustParse("0.5"),
	})}
	p.Archive = archive(func(scopes []*metering.Scope, run period.Run) ([]metering.Usage, error) {
		s := scopes[0]
		all := []metering.Usage{
			usage(s, was, id("7f3a", "m1.tiny"), "2", "1", 0, 1),
			usage(s, was, id("8e11", "m1.tiny"), "2", "1.5", 1),
			usage(s, was, id("free", "m1.tiny"), "2", "0", 1),
			usage(s, ram, id("7f3a", "m1.tiny"), "512", "0.25", 0, 1),
			usage(s, disk, nil, "1", "1", 0, 1, 2),
		}
		return all, nil
	})
	got, err := p.DryRun(t.Context(), task, again(task, 1, 3))
	if err != nil || got.Missing != 0 || len(l.committed) != 0 {
		t.Fatalf("error %v, %d windows missing, %d batches committed", err, got.Missing, len(l.committed))
	}
	want := []string{
		"a cores: 0 to 3 points, 0 to 3, 0 of 0 lost",
		"a cpu: 4 to 0 points, 3.5 to 0, 3 of 3.5 lost",
		"a disk: 3 to 3 points, 3 to 3, 0 of 0 lost",
		"a ram: 2 to 2 points, 0.5 to 0, 2 of 0.5 lost",
		"a cpu gone: flavor = m1.tiny, id = 7f3a, 2 of 2",
		"a cpu gone: flavor = m1.tiny, id = 8e11, 1 of 1.5",
		"a ram unpriced: flavor = m1.tiny, id = 7f3a, 2 of 0.5",
	}
	if diff := gocmp.Diff(want, lines(got)); diff != "" {
		t.Errorf("want - got +\n%s", diff)
	}
}

// TestDryRunOfRate re-rates with rules that make something cheaper, free on purpose, and unpriced; a window that stays does not
// count.
func TestDryRunOfRate(t *testing.T) {
	task := &metering.Task{ID: 5, Kind: metering.Rerate}
	p := processor(new(ledger), nil)
	p.Sources = nil
	metrics := map[string]*metering.Metric{}
	for i, name := range []string{"cheaper", "free", "same", "unpriced"} {
		metrics[name] = &metering.Metric{Ref: int64(i + 1), Name: name}
	}
	rule := func(name, cost string) rating.Rule {
		return rating.Rule{ID: name, Kind: rating.Mapping, Type: rating.Flat, Service: name, Cost: money.MustParse(cost)}
	}
	c := p.Catalog.(*catalog)
	c.version = versions{12, 13}
	c.rules = map[int64]*rating.Rules{13: costs("same", "5", rule("cheaper", "2"), rule("free", "0"))}
	p.Archive = archive(func(scopes []*metering.Scope, run period.Run) (all []metering.Usage, err error) {
		for _, s := range scopes {
			all = append(all, usage(s, metrics["same"], nil, "1", "5", 0, 1))
			for _, name := range []string{"cheaper", "free", "unpriced"} {
				all = append(all, usage(s, metrics[name], nil, "1", "5", 0))
			}
		}
		return all, nil
	})
	got, err := p.DryRun(t.Context(), task, again(task, 2, 2))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, scope := range []string{"a", "b"} {
		want = append(want,
			scope+" cheaper: 1 to 1 points, 5 to 2, 0 of 0 lost", scope+" free: 1 to 1 points, 5 to 0, 0 of 0 lost",
			scope+" same: 1 to 1 points, 5 to 5, 0 of 0 lost", scope+" unpriced: 1 to 1 points, 5 to 0, 1 of 5 lost")
	}
	want = append(want, "a unpriced unpriced: , 1 of 5", "b unpriced unpriced: , 1 of 5")
	if diff := gocmp.Diff(want, lines(got)); diff != "" {
		t.Errorf("want - got +\n%s", diff)
	}
}

// TestDryRunHalves asks for less when it was too much.
func TestDryRunHalves(t *testing.T) {
	task := &metering.Task{ID: 5, Kind: metering.Reprocess}
	p := processor(new(ledger), func(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
		if len(r.Scopes)*r.Run.Count > 5 {
			return nil, fmt.Errorf("busy: %w", metering.ErrTooMuch)
		}
		return one(ctx, r)
	})
	got, err := p.DryRun(t.Context(), task, again(task, 5, 7))
	if err != nil || got.Missing != 0 || len(got.Differences) != 5 || got.Differences[4].PointsAfter != 7 {
		t.Errorf("error %v, %+v", err, got)
	}
}

// TestDryRunWithoutSome counts windows that can't be done, for whatever reason, and leaves them out of the differences.
func TestDryRunWithoutSome(t *testing.T) {
	task := &metering.Task{ID: 5, Kind: metering.Reprocess}
	refused := 0
	for name, c := range map[string]struct {
		source  collect
		missing int
		because string
	}{
		"refused": {refusing(&refused, func(_ *metering.Request, s *metering.Scope, window time.Time) bool {
			return s.ID == "b" && window.Equal(begin.Add(2*time.Hour))
		}), 1, "scope b, window 2026-03-02T02:00:00Z: metric cpu: no: "},
		"gone": {func(_ context.Context, r *metering.Request) (*metering.Collection, error) {
			got := new(metering.Collection)
			for _, s := range r.Scopes {
				got.Usage = append(got.Usage, usage(s, r.Metrics[0], nil, "1", "0", 0, 1, 3))
			}
			got.Absent = []metering.Absence{{Metric: r.Metrics[0], Window: 2}}
			return got, nil
		}, 3, "scope a, window 2026-03-02T02:00:00Z: source s has no samples of server_cpu"},
	} {
		p := processor(new(ledger), c.source)
		p.Catalog.(*catalog).metrics = p.Catalog.(*catalog).metrics[:1]
		p.Archive = charged(p.Catalog.(*catalog).metrics[0], func(time.Time) string { return "7" })
		got, err := p.DryRun(t.Context(), task, again(task, 3, 4))
		if err != nil || got.Waits != "" || got.Missing != c.missing || !strings.HasPrefix(got.Because, c.because) {
			t.Fatalf("%s: error %v, %d windows missing: %q; %q", name, err, got.Missing, got.Because, got.Waits)
		}
		var before, lost int64
		for _, d := range got.Differences {
			before, lost = before+d.PointsBefore, lost+d.LostPoints
		}
		if want := int64(3*4 - c.missing); before != want || lost != want { // there is no rule: the other windows lose their price
			t.Errorf("%s: %d points before, of which %d are lost, want %d", name, before, lost, want)
		}
	}
}

// failing is a source that fails some times, and then answers.
func failing(times *int, source collect) collect {
	return func(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
		if *times--; *times >= 0 {
			return nil, errors.New("502 Bad Gateway")
		}
		return source(ctx, r)
	}
}

// TestDryRunGoesOn asks a source again that has failed to answer, a few times.
func TestDryRunGoesOn(t *testing.T) {
	task := &metering.Task{ID: 5, Kind: metering.Reprocess}
	for _, c := range []struct {
		failures int
		waits    string
		left     int
	}{{1, "", -1}, {2, "", -1}, {3, "502 Bad Gateway", 0}, {1000, "502 Bad Gateway", 997}} {
		synctest.Test(t, func(t *testing.T) {
			left := c.failures
			p := processor(new(ledger), failing(&left, one))
			began := time.Now()
			got, err := p.DryRun(t.Context(), task, again(task, 5, 7))
			if err != nil || got.Waits != c.waits || got.Missing != 0 || (len(got.Differences) == 5) != (c.waits == "") || left != c.left {
				t.Errorf("after %d failures: error %v, %+v, %d left", c.failures, err, got, left)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// TestPreviewsWait has a source that is down for an hour: what needs it waits and costs few questions, what does not is computed.
func TestPreviewsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		needs := &metering.Preview{Task: &metering.Task{ID: 5, Kind: metering.Reprocess}}
		needs.Leases = again(needs.Task, 5, 7)
		rerate := &metering.Preview{Task: &metering.Task{ID: 6, Kind: metering.Rerate}, Leases: leases(1, 1)}
		f := &tasks{previews: []*metering.Preview{needs, rerate}}
		o := &outage{until: time.Now().Add(time.Hour), err: errors.New("connection refused"), questionsBefore: tripped}
		p := processor(new(ledger), o.Collect)
		p.Tasks = f
		for first := true; time.Now().Before(o.until.Add(time.Minute)); {
			if err := p.Previews(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, r := range f.saved {
				if r.Waits == "connection refused" {
					f.previews = []*metering.Preview{needs}
				} else if r.Waits != "" || r.Missing > 0 {
					t.Fatalf("%+v", r)
				}
				if len(r.Differences) == 5 && time.Now().Before(o.until) {
					t.Fatal("who has answered?")
				}
			}
			if first && len(f.saved) != 2 {
				t.Fatalf("%d previews saved at the first try, want one that waits and the re-rate", len(f.saved))
			}
			first = false
			if len(f.saved) > 0 && len(f.saved[len(f.saved)-1].Differences) == 5 {
				break
			}
			f.saved = nil
			<-time.After(5 * time.Second)
		}
		if len(f.saved) != 1 || time.Since(o.until) > time.Minute {
			t.Errorf("%d saved %s after the source was back", len(f.saved), time.Since(o.until))
		}
		if o.asked > o.questionsBefore+2*60+10 || o.largest > 1 {
			t.Errorf("%d questions of up to %d windows in an hour", o.asked, o.largest)
		}
	})
}

// TestPreviewRenewed takes half an hour for a part, which stays its own; or is lost.
func TestPreviewRenewed(t *testing.T) {
	for _, loseAt := range []int{0, 3} {
		synctest.Test(t, func(t *testing.T) {
			f := &tasks{loseAt: loseAt, previews: []*metering.Preview{{Task: &metering.Task{ID: 6, Kind: metering.Reprocess}, Leases: leases(1, 1)}}}
			p := processor(new(ledger), slow(30*time.Minute, one))
			p.Tasks = f
			began := time.Now()
			err := p.Previews(t.Context())
			took := time.Since(began)
			if err != nil || loseAt == 0 && (took != 30*time.Minute || len(f.saved) != 1 || f.renewed < 29) || loseAt > 0 && (took != previewLease || len(f.saved) != 0) {
				t.Errorf("lost at the renewal %d: error %v after %s, %d saved, renewed %d times", loseAt, err, took, len(f.saved), f.renewed)
			}
		})
	}
}

// TestPreviewOfOne leaves other tasks alone.
func TestPreviewOfOne(t *testing.T) {
	f := new(tasks)
	for id := range int64(3) {
		f.previews = append(f.previews, &metering.Preview{Task: &metering.Task{ID: id + 1, Kind: metering.Rerate}, Leases: leases(1, 1)})
	}
	p := processor(new(ledger), nil)
	p.Tasks, p.Sources = f, nil
	if err := p.Preview(t.Context(), 2); err != nil || len(f.saved) != 1 || len(f.previews) != 2 || f.asked[0].Task != 2 || f.asked[0].Sources != nil {
		t.Errorf("error %v, %d saved, %d left: %+v", err, len(f.saved), len(f.previews), f.asked)
	}
}

// TestManyLosses lists some and sums up the others.
func TestManyLosses(t *testing.T) {
	task := &metering.Task{ID: 5, Kind: metering.Rerate}
	p := processor(new(ledger), nil)
	const series = mostLosses + 50
	p.Archive = archive(func(scopes []*metering.Scope, run period.Run) (all []metering.Usage, err error) {
		for i := range series {
			attributes := metering.Attributes{{Name: "id", Value: fmt.Sprintf("%05d%s", i, strings.Repeat("x", 300))}}
			all = append(all, usage(scopes[0], &metering.Metric{Ref: 1, Name: "cpu"}, attributes, "1", "1", 0))
		}
		return all, nil
	})
	got, err := p.DryRun(t.Context(), task, again(task, 1, 1))
	if err != nil || len(got.Losses) != mostLosses+1 || got.Differences[0].LostPoints != series {
		t.Fatalf("error %v, %d losses", err, len(got.Losses))
	}
	i := slices.IndexFunc(got.Losses, func(l metering.LostPrice) bool { return l.Detail == otherValues })
	if i < 0 || got.Losses[i].Points != 50 || got.Losses[i].Amount.String() != "50" || len([]rune(got.Losses[0].Detail)) > 201 {
		t.Errorf("%d: %+v", i, got.Losses[max(i, 0)])
	}
}

func TestPreviews(t *testing.T) {
	task := &metering.Task{ID: 5, Kind: metering.Rerate}
	f := &tasks{previews: []*metering.Preview{{Task: task, Leases: leases(1, 1)}, {Task: task, Leases: leases(2, 1)}}}
	p := processor(new(ledger), nil)
	p.Tasks = f
	p.Archive = charged(&metering.Metric{Ref: 1, Name: "cpu"}, func(time.Time) string { return "7" })
	if err := p.Previews(t.Context()); err != nil || len(f.saved) != 2 || len(f.saved[0].Losses) != 1 || len(f.saved[1].Losses) != 2 {
		t.Fatalf("error %v, saved %+v", err, f.saved)
	}

	f.previews, f.saveErr = []*metering.Preview{{Task: task}, {Task: task}}, fault.New(fault.Conflict, "the task was cancelled")
	if err := p.Previews(t.Context()); err != nil || len(f.saved) != 3 {
		t.Errorf("error %v, %d saved; want it to end with what is of no use", err, len(f.saved))
	}

	f.previews, f.saveErr = []*metering.Preview{{Task: task, Leases: leases(1, 1)}}, nil
	p.Archive = archive(func([]*metering.Scope, period.Run) ([]metering.Usage, error) {
		return nil, fault.New(fault.Unavailable, "the database does not answer")
	})
	if err := p.Previews(t.Context()); fault.KindOf(err) != fault.Unavailable || len(f.saved) != 3 {
		t.Errorf("error %v, %d saved; want to try again later", err, len(f.saved))
	}
}

// TestMeters tells all of several.
func TestMeters(t *testing.T) {
	a, b := new(metered), new(metered)
	all := Meters{a, b}
	all.Committed(&metering.Batch{Scopes: []*metering.Scope{{}}, Run: period.Run{Count: 2}}, 0)
	all.SourceFailed("s")
	all.DatabaseFailed()
	for _, m := range []*metered{a, b} {
		if m.committed != 2 || m.source != 1 || m.database != 1 {
			t.Errorf("%d, %d, %d", m.committed, m.source, m.database)
		}
	}
}
