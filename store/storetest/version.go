package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"ratebook/costs"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
)

var versionTests = []test{
	{"report version/changes", func(e *env) {
		e.world(store.Wanted{}, "cpu")
		seen := map[string]string{}
		last := ""
		version := func() string {
			e.Helper()
			v, stable, err := e.s.ReportVersion(e.ctx)
			e.must(err)
			if !stable || len(v) != 20 {
				e.Errorf("version %q, stable %t", v, stable)
			}
			return v
		}
		changes := func(what string) {
			e.Helper()
			v := version()
			if before, ok := seen[v]; ok {
				e.Errorf("after %s the version is that after %s", what, before)
			}
			seen[v], last = what, v
		}
		stays := func(what string) {
			e.Helper()
			e.equal("version after "+what, version(), last)
		}
		changes("nothing")
		stays("nothing again")
		a := e.scopes(begin, "a")[0]
		changes("a new scope")
		e.scopes(begin, "a")
		stays("finding it again")
		_, err := e.s.AddScopes(e.ctx, e.src, "prometheus", []metering.Found{{ID: "a", Name: "Ada"}}, begin)
		e.must(err)
		changes("a name")
		e.plan(begin.Add(3 * hour))
		changes("planning")
		for i, price := range []string{"1@1", "1@2", "1@2"} { // all in one second
			b := e.seize(period.Run{Begin: begin, Length: hour, Count: 1}, a)
			stays("a lease")
			e.fill(b, a, "cpu", attrs("id", "1"), price)
			e.commit(b)
			changes(fmt.Sprint("commit ", i))
			e.free(b)
			stays("the end of a lease")
		}
		lost := e.seize(period.Run{Begin: begin, Length: hour, Count: 1}, a)
		e.free(lost)
		if e.s.Commit(e.ctx, lost) == nil {
			e.Error("a commit without a lease went through")
		}
		stays("a commit that was refused")
		e.configure(&metering.Configuration{Version: e.config, Metrics: []*metering.Metric{{Source: "default", Name: "other", Measured: "other"}}})
		changes("a new metric")
		e.must(e.s.SetSetting(e.ctx, "period", "30m", "ada"))
		changes("a setting")
		e.must(e.s.SetSetting(e.ctx, "timezone", "Asia/Kolkata", "ada"))
		changes("another zone")
		e.exec("INSERT INTO settings (name, value) VALUES ('timezone_wanted', 'UTC')")
		if _, stable, err := e.s.ReportVersion(e.ctx); err != nil || stable {
			e.Errorf("while the zone changes: %t, %v", stable, err)
		}
	}},
	{"report version/a restored database", func(e *env) {
		e.world(store.Wanted{}, "cpu")
		a := e.scopes(begin, "a")[0]
		e.plan(begin.Add(hour))
		versions := map[string]bool{}
		for _, price := range []string{"1@1", "1@2"} {
			e.exec("UPDATE scopes SET revision = 7") // as in the backup
			b := e.seize(period.Run{Begin: begin, Length: hour, Count: 1}, a)
			e.fill(b, a, "cpu", attrs("id", "1"), price)
			e.commit(b)
			v, _, err := e.s.ReportVersion(e.ctx)
			e.must(err)
			versions[v] = true
		}
		e.equal("versions", len(versions), 2)
		e.exec("UPDATE scopes SET revision = ?", time.Now().Add(hour).UnixNano()) // by a clock that is ahead
		for range 2 {
			e.commit(e.seize(period.Run{Begin: begin, Length: hour, Count: 1}, a))
			v, _, err := e.s.ReportVersion(e.ctx)
			e.must(err)
			versions[v] = true
		}
		e.equal("versions", len(versions), 4)
	}},
	{"report version/same version, same report", func(e *env) {
		e.world(store.Wanted{}, "cpu", "ram")
		e.scopes(begin, "a", "b", "c")
		e.plan(begin.Add(6 * hour))
		all := &costs.Query{Range: period.Range{Begin: begin, End: begin.Add(6 * hour)}, Bucket: period.Hour, Groups: []string{"scope", "scope_name", "metric"}}
		stores := []*store.Store{e.s, e.open(), e.open()}
		stop := make(chan struct{})
		errs := make([]error, len(stores))
		var wait sync.WaitGroup
		for i, s := range stores {
			wait.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 11))
				scope, err := s.Scopes(e.ctx)
				errs[i] = err
				for n := 0; err == nil; n++ {
					select {
					case <-stop:
						return
					default:
					}
					switch r.IntN(5) {
					case 0:
						_, err = s.AddScopes(e.ctx, e.src, "prometheus", []metering.Found{{ID: scope[i].ID, Name: fmt.Sprint("name ", r.IntN(3))}}, begin)
					case 1:
						err = s.RebuildRollups(e.ctx, "test", nil)
						if err != nil && (strings.Contains(err.Error(), "is being processed") || strings.Contains(err.Error(), "taken by a worker")) {
							err = nil
						}
					default: // each has a scope of its own
						b := e.seize(period.Run{Begin: begin.Add(time.Duration(r.IntN(4)) * hour), Length: hour, Count: 1 + r.IntN(2)}, scope[i])
						for range r.IntN(3) {
							e.fill(b, scope[i], []string{"cpu", "ram"}[r.IntN(2)], attrs("id", fmt.Sprint(r.IntN(3))), each(b.Run.Count, fmt.Sprintf("1@%d", r.IntN(3)))...)
						}
						if err = s.Commit(e.ctx, b); err != nil && strings.Contains(err.Error(), "was lost") { // a rebuild took it: seize asks nobody
							err = nil
						}
						err = errors.Join(err, s.Release(e.ctx, b.Token, b.Scopes))
					}
				}
				errs[i] = err
			})
		}
		reports := map[string]string{}
		known := 0
		reader := e.open()
		for range 150 {
			before, stable, err := reader.ReportVersion(e.ctx)
			e.must(err)
			got := strings.Join(e.reportFrom(reader, all), "\n")
			after, _, err := reader.ReportVersion(e.ctx)
			e.must(err)
			if before != after || !stable {
				continue
			}
			if have, ok := reports[before]; ok && have != got {
				e.Errorf("version %s:\n%s\nand\n%s", before, have, got)
			}
			known++
			reports[before] = got
		}
		close(stop)
		wait.Wait()
		e.must(errors.Join(errs...))
		if known == 0 {
			e.Error("no report was of one version")
		}
		last, _, err := reader.ReportVersion(e.ctx)
		e.must(err)
		if have, ok := reports[last]; ok {
			e.equal("the last report", have, strings.Join(e.reportFrom(reader, all), "\n"))
		}
	}},
}
