package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/store"
)

var settingTests = []test{
	{"settings/defaults", func(e *env) {
		_, err := e.s.Migrate(e.ctx)
		e.must(err)
		got, err := e.s.UseSettings(e.ctx, store.Wanted{})
		e.must(err)
		e.equal("settings", *got, metering.Settings{Period: hour, ScopeKey: "project_id", Zone: got.Zone, Currency: "EUR"})
		e.equal("zone", got.Zone, "UTC")
	}},
	{"settings/first use and later wishes", func(e *env) {
		_, err := e.s.Migrate(e.ctx)
		e.must(err)
		for _, w := range []store.Wanted{{Period: 7 * hour}, {Timezone: "Local"}, {Timezone: "Mars/Olympus"}, {Currency: "euro"}} {
			_, err := e.s.UseSettings(e.ctx, w)
			e.refused(err, fault.Invalid)
		}
		e.equal("settings after refused wishes", e.count("SELECT count(*) FROM settings"), 0)
		wish := store.Wanted{Period: hour / 2, ScopeKey: "namespace", Timezone: "Europe/Berlin", Currency: "USD"}
		got, err := e.s.UseSettings(e.ctx, wish)
		e.must(err)
		e.equal("settings", fmt.Sprint(got.Period, got.ScopeKey, got.Zone, got.Currency), "30m0snamespaceEurope/BerlinUSD")
		for _, w := range []store.Wanted{{}, wish, {Period: hour / 2}} {
			_, err := e.open().UseSettings(e.ctx, w)
			e.must(err)
		}
		for command, w := range map[string]store.Wanted{
			"`ratebook settings set period 1h`":             {Period: hour},
			"`ratebook settings set scope_key project_id`":  {ScopeKey: "project_id"},
			"`ratebook settings set timezone Asia/Kolkata`": {Timezone: "Asia/Kolkata"},
			"`ratebook settings set currency EUR`":          {Currency: "EUR"},
		} {
			_, err := e.s.UseSettings(e.ctx, w)
			e.refused(err, fault.Invalid, command)
		}
	}},
	{"settings/first use by two processes", func(e *env) {
		_, err := e.s.Migrate(e.ctx)
		e.must(err)
		currencies := []string{"USD", "CHF"}
		stores := []*store.Store{e.s, e.open()}
		errs := make([]error, 2)
		var wait sync.WaitGroup
		for i := range stores {
			wait.Go(func() { _, errs[i] = stores[i].UseSettings(e.ctx, store.Wanted{Currency: currencies[i]}) })
		}
		wait.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			e.Fatalf("one must win: %v, %v", errs[0], errs[1])
		}
		e.refused(errors.Join(errs...), fault.Invalid, "--currency")
		e.equal("settings", e.count("SELECT count(*) FROM settings"), 4)
	}},
	{"settings/set", func(e *env) {
		e.world(store.Wanted{})
		for name, values := range map[string][]string{
			"period": {"", "soon", "0s", "7h", "-1h"}, "timezone": {"", "Local", "nowhere"}, "currency": {"", "eur", "EURO"}, "scope_key": {""}, "colour": {"red"}, "timezone_wanted": {"UTC"},
		} {
			for _, v := range values {
				e.refused(e.s.SetSetting(e.ctx, name, v, "ada"), fault.Invalid)
			}
		}
		e.must(e.s.SetSetting(e.ctx, "currency", "CHF", "ada"))
		e.must(e.s.SetSetting(e.ctx, "currency", "CHF", "ada")) // the same again is no change
		e.must(e.s.SetSetting(e.ctx, "scope_key", "tenant", "ada"))
		e.must(e.s.SetSetting(e.ctx, "period", "30m", "ada"))
		got, err := e.s.UseSettings(e.ctx, store.Wanted{})
		e.must(err)
		e.equal("settings", fmt.Sprint(got.Period, got.ScopeKey, got.Zone, got.Currency), "30m0stenantUTCCHF")
		log, err := e.s.Changes(e.ctx, access.ChangeFilter{Limit: 3})
		e.must(err)
		e.equal("audit", fmt.Sprint(log[0].Subject, log[0].Before, log[0].After, log[2].Subject, log[2].Actor, log[2].Before, log[2].After),
			"setting period1h30msetting currencyadaEURCHF")
		e.must(e.s.SetSetting(e.ctx, "period", "60m", "ada")) // written as 1h
		_, err = e.s.UseSettings(e.ctx, store.Wanted{Period: hour})
		e.must(err)
	}},
	{"settings/currency and scope key are fixed", func(e *env) {
		e.world(store.Wanted{})
		e.scopes(begin, "a")
		e.refused(e.s.SetSetting(e.ctx, "scope_key", "tenant", "ada"), fault.Conflict, "project_id")
		e.plan(begin.Add(hour))
		e.must(e.s.SetSetting(e.ctx, "currency", "CHF", "ada"))
		b := e.batch(e.lease(metering.LeaseRequest{}))
		e.fill(b, b.Scopes[0], "cpu", attrs("id", "1"), "1@1")
		e.commit(b)
		e.refused(e.s.SetSetting(e.ctx, "currency", "USD", "ada"), fault.Conflict, "CHF")
		e.commit(e.again(b)) // now all charges are superseded, and still readable
		e.refused(e.s.SetSetting(e.ctx, "currency", "USD", "ada"), fault.Conflict, "CHF")
	}},
	{"settings/time zone", func(e *env) {
		e.world(store.Wanted{}, "cpu", "ram")
		e.charged(30, "a", "b", "c")
		e.sound()
		e.plan(begin.Add(31 * hour))
		other := e.open() // a worker of the old zone
		held := e.batch(e.leaseFrom(other, metering.LeaseRequest{Only: []string{"b"}}))
		_ = e.leaseFrom(other, metering.LeaseRequest{Until: begin}) // it has read the settings

		// while a worker has a scope nothing begins
		e.refused(e.s.SetSetting(e.ctx, "timezone", "Asia/Kolkata", "ada"), fault.Conflict, "scope b")
		_, err := e.s.UseSettings(e.ctx, store.Wanted{})
		e.must(err)
		e.must(other.Release(e.ctx, held.Token, held.Scopes))

		// a failure in the middle
		end := e.sabotage("series_month_packs", fmt.Sprintf("NEW.scope = %d", held.Scopes[0].Ref))
		if err := e.s.SetSetting(e.ctx, "timezone", "Asia/Kolkata", "ada"); err == nil || !strings.Contains(err.Error(), "sabotage") {
			e.Fatalf("got %v", err)
		}
		end()
		// the change has begun, so nothing is read, leased or committed until it is done
		_, err = e.s.UseSettings(e.ctx, store.Wanted{})
		e.refused(err, fault.Unavailable, "`ratebook settings set timezone Asia/Kolkata`")
		for _, s := range []*store.Store{e.s, other} {
			_, err = s.Lease(e.ctx, metering.LeaseRequest{For: hour, Scopes: 1})
			e.refused(err, fault.Unavailable, "Asia/Kolkata")
			_, err = s.Report(e.ctx, standardQueries(time.UTC)[0], nil)
			e.refused(err, fault.Unavailable, "Asia/Kolkata")
		}
		e.fill(held, held.Scopes[0], "cpu", attrs("id", "late"), "1@1")
		e.refused(other.Commit(e.ctx, held), fault.Unavailable, "Asia/Kolkata")
		e.refused(e.s.SetSetting(e.ctx, "timezone", "Europe/Berlin", "ada"), fault.Conflict, "Asia/Kolkata", "finish")

		// and a cancellation
		ctx, cancel := context.WithCancel(e.ctx)
		cancel()
		if e.s.SetSetting(ctx, "timezone", "Asia/Kolkata", "ada") == nil {
			e.Fatal("a cancelled change went through")
		}
		e.must(e.open().SetSetting(e.ctx, "timezone", "Asia/Kolkata", "ada"))
		e.equal("zone", e.zone(), "Asia/Kolkata")
		e.sound()
		e.equal("settings left", e.count("SELECT count(*) FROM settings"), 4)
		log, err := e.s.Changes(e.ctx, access.ChangeFilter{Limit: 1})
		e.must(err)
		e.equal("audit", log[0].Before+log[0].After, "UTCAsia/Kolkata")

		// the old worker is still of the old zone
		_, err = other.Lease(e.ctx, metering.LeaseRequest{For: hour, Scopes: 1})
		e.refused(err, fault.Unavailable, "restart")
		e.refused(other.Commit(e.ctx, e.seize(held.Run, held.Scopes...)), fault.Unavailable, "restart")
		e.must(e.s.ReleaseAll(e.ctx))
		e.charged(50, "a", "b", "c") // a new one goes on
		e.sound()
	}},
	{"settings/period", func(e *env) {
		e.world(store.Wanted{})
		e.scopes(begin, "a") // 22:00
		old := e.open()
		e.plan(begin.Add(hour)) // up to 23:00
		e.must(e.s.SetSetting(e.ctx, "period", "8h", "ada"))
		_, err := old.Plan(e.ctx, hour, begin.Add(9*hour))
		e.refused(err, fault.Unavailable, "8h", "restart")
		plan := func(length, until time.Duration, want ...string) {
			e.Helper()
			before := len(e.windows())
			n, err := e.s.Plan(e.ctx, length, begin.Add(until))
			e.must(err)
			var added []string
			for _, w := range e.windows()[before:] {
				added = append(added, w[2:strings.Index(w, "m0s state")])
			}
			e.equal("windows", added, want)
			e.equal("planned", n, len(want))
		}
		set := func(length string) { e.must(e.s.SetSetting(e.ctx, "period", length, "ada")) }
		plan(8*hour, 2*hour, "31 23:00 1h0") // keeps 1h until 24:00
		plan(8*hour, 2*hour)
		plan(8*hour, 10*hour, "01 00:00 8h0")
		set("3h")
		plan(3*hour, 11*hour)                 // at 08:00, off the grid of 3h: a window of 8h would reach too far
		plan(3*hour, 23*hour, "01 08:00 8h0") // to 16:00, still off
		plan(3*hour, 29*hour, "01 16:00 8h0", "02 00:00 3h0")
		set("1h") // divides 3h: at once
		plan(hour, 31*hour, "02 03:00 1h0", "02 04:00 1h0")
		set("8h")
		set("6h") // twice, with nothing planned between
		plan(6*hour, 32*hour, "02 05:00 1h0")
		// a scope off the grid that has no window yet begins earlier
		e.exec("UPDATE scopes SET active = false")
		e.scopes(begin.Add(hour), "b")
		plan(6*hour, 8*hour, "31 18:00 6h0", "01 00:00 6h0")
		// no window overlaps another
		leases := e.lease(metering.LeaseRequest{})
		for _, l := range leases {
			if l.Run.Length != 6*hour {
				e.Errorf("lease %v", l.Run)
			}
		}
	}},
}
