package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
)

var propertyTests = []test{
	{"any sequence 1", func(e *env) { e.anySequence(1, 60) }},
	{"any sequence 2", func(e *env) { e.anySequence(2, 60) }},
	{"any sequence 3", func(e *env) { e.anySequence(3, 60) }},
}

// anySequence does things at random and looks whether the roll-ups, the reports and the ledger still fit the charges.
func (e *env) anySequence(seed uint64, steps int) {
	e.Helper()
	r := rand.New(rand.NewPCG(seed, 9))
	e.world(store.Wanted{}, "cpu", "ram")
	e.scopes(begin, "a", "b")
	planned := begin
	stores := []*store.Store{e.s, e.open()}
	var history []string
	defer func() {
		if e.Failed() {
			e.Logf("after %s", strings.Join(history, "\n"))
		}
	}()
	usage := func(b *metering.Batch) {
		for _, s := range b.Scopes {
			for range r.IntN(6) {
				samples := make([]string, b.Run.Count)
				for i := range samples {
					if r.IntN(4) > 0 {
						samples[i] = fmt.Sprintf("%d.%03d@%d.%012d", r.IntN(5), r.IntN(1000), r.IntN(5)-2, r.Int64N(1_000_000_000_000))
					}
				}
				e.fill(b, s, []string{"cpu", "ram"}[r.IntN(2)], attrs("id", fmt.Sprint(r.IntN(5))), samples...)
			}
			for i := range b.Run.Count {
				if r.IntN(6) == 0 {
					b.Failed = append(b.Failed, metering.Outcome{Scope: s, Window: i, Error: "x", Retry: begin})
				}
			}
		}
	}
	for step := range steps {
		s := stores[r.IntN(2)]
		what := ""
		switch r.IntN(9) {
		case 0:
			planned = planned.Add(time.Duration(r.IntN(40)) * hour)
			n, err := s.Plan(e.ctx, hour, planned)
			e.must(err)
			what = fmt.Sprintf("plan %d until %s", n, planned)
		case 1:
			e.scopes(period.Floor(begin.Add(time.Duration(r.IntN(30))*hour), hour), fmt.Sprint("s", r.IntN(5)))
			what = "add a scope"
		case 2, 3, 4:
			for _, l := range e.leaseFrom(s, metering.LeaseRequest{Scopes: 1 + r.IntN(3)}) {
				b := &metering.Batch{Token: l.Token, Scopes: []*metering.Scope{l.Scope}, Run: l.Run, ConfigVersion: 1, RulesVersion: int64(step)}
				usage(b)
				e.must(s.Commit(e.ctx, b))
				e.must(s.Release(e.ctx, b.Token, b.Scopes))
				what += fmt.Sprintf("commit %s %v %d points, %d failed; ", l.Scope.ID, l.Run, b.Points(), len(b.Failed))
			}
		case 5: // replace what is there
			all, err := e.s.Scopes(e.ctx)
			e.must(err)
			scope := all[r.IntN(len(all))]
			n := int(e.count("SELECT count(*) FROM windows WHERE scope = ?", scope.Ref))
			if n == 0 {
				continue
			}
			first := e.count("SELECT MIN("+e.unix("begins_at")+") FROM windows WHERE scope = ?", scope.Ref)
			from := r.IntN(n)
			b := e.seize(period.Run{Begin: time.Unix(first, 0).UTC().Add(time.Duration(from) * hour), Length: hour, Count: 1 + r.IntN(min(24, n-from))}, scope)
			usage(b)
			e.must(s.Commit(e.ctx, b))
			e.free(b)
			what = fmt.Sprintf("replace %s %v %d points, %d failed", scope.ID, b.Run, b.Points(), len(b.Failed))
		case 6:
			e.must(s.RebuildRollups(e.ctx, "test", nil))
			what = "rebuild"
		case 7:
			if e.dropped() { // the zone can't be changed any more
				continue
			}
			zone := []string{"UTC", "Europe/Berlin", "Asia/Kolkata", "America/Los_Angeles"}[r.IntN(4)]
			e.must(s.SetSetting(e.ctx, "timezone", zone, "test"))
			for i, other := range stores { // restart the other worker, if it has to
				if _, err := other.Lease(e.ctx, metering.LeaseRequest{For: hour, Scopes: 1, Until: begin, TriedBefore: 1}); fault.KindOf(err) == fault.Unavailable {
					stores[i] = e.open()
				}
				if other != s {
					stores[i] = e.open()
				}
			}
			e.s = stores[0]
			what = "time zone " + zone
		case 8:
			what = e.retainAny(s, r)
		}
		history = append(history, what)
		if bad := e.mismatches(); len(bad) > 0 {
			e.Fatalf("the roll-ups differ from the charges:\n%s", strings.Join(bad, "\n"))
		}
		if step%10 == 9 {
			e.sound()
		}
	}
	e.equal("windows whose charges differ", e.rows(`SELECT w.scope, w.begins_at FROM windows w WHERE w.points <>
		(SELECT count(*) FROM charges c WHERE c.scope = w.scope AND c.begins_at = w.begins_at)`), []string(nil))
	if !slices.ContainsFunc(history, func(h string) bool { return strings.HasPrefix(h, "replace") }) {
		e.Error("nothing was replaced")
	}
}
