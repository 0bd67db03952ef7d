package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/rating"
	"ratebook/store"
)

// text is a value with all its fields, but references to the database.
func (e *env) text(v any) string {
	e.Helper()
	b, err := json.Marshal(v)
	e.must(err)
	return string(b)
}

var catalogTests = []test{
	{"metrics/versions", func(e *env) {
		e.world(store.Wanted{}, "cpu")
		_, err := e.s.UseSource(e.ctx, metering.Source{Name: "other", Kind: "demo", ScopeKey: "ns"})
		e.must(err)
		ratio, err := money.ParseRatio("1/1048576")
		e.must(err)
		full := &metering.Metric{
			Source: "other", Name: "Ünï \"co\" <de>", Measured: "m{x}", Unit: "GiB·h", Description: "it's\n", Groupby: []string{"b", "a"}, Metadata: []string{"c"},
			Factor: ratio, Offset: money.One, Mutate: metering.Map, MutateMap: []metering.MutateEntry{{From: money.MustParse("1.50"), To: money.MustParse("-2")}},
			Skip: "datapoint.qty == 0", MayBeAbsent: true, Prometheus: metering.PrometheusArgs{Aggregation: "sum", Prefix: "abs("},
		}
		plain := func(name, measured, unit string) *metering.Metric {
			return &metering.Metric{Source: "default", Name: name, Measured: measured, Unit: unit, Factor: money.One}
		}
		history := []*metering.Configuration{{Metrics: []*metering.Metric{e.metrics["cpu"]}, Version: 1}}
		for _, metrics := range [][]*metering.Metric{
			{full, plain("cpu", "cpu", "core"), plain("cpu", "cpu2", "core")},
			{full, plain("cpu", "cpu", "core"), plain("cpu", "cpu2", "core")}, // no change
			{plain("cpu2", "cpu2", "core"), plain("cpu", "cpu2", "core")},
			{},
			{full},
		} {
			last := history[len(history)-1].Version
			_, err := e.s.Configure(e.ctx, &metering.Configuration{Version: last - 1, Metrics: metrics}, "eve", "")
			e.refused(err, fault.Conflict)
			v, err := e.s.Configure(e.ctx, &metering.Configuration{Version: last, Metrics: metrics}, "ada", "because")
			e.must(err)
			e.equal("version", v, last+1)
			history = append(history, &metering.Configuration{Version: v, Metrics: metrics})
		}
		for _, h := range history {
			got, err := e.s.Configuration(e.ctx, h.Version)
			e.must(err)
			key := func(m *metering.Metric) string { return m.Source + "\x00" + m.Measured + "\x00" + m.Name }
			want := slices.SortedFunc(slices.Values(h.Metrics), func(a, b *metering.Metric) int {
				if key(a) < key(b) {
					return -1
				}
				return 1
			})
			e.equal(fmt.Sprintf("version %d", h.Version), e.text(got.Metrics), e.text(append([]*metering.Metric(nil), want...)))
			for i, m := range got.Metrics {
				if m.Source != want[i].Source || m.Measured != want[i].Measured || m.Ref == 0 {
					e.Errorf("version %d: %+v", h.Version, m)
				}
			}
			e.equal("version", got.Version, h.Version)
		}
		if latest, err := e.s.Configuration(e.ctx, 0); err != nil || latest.Version != 6 {
			e.Errorf("the latest is %v, %v", latest, err)
		}
		if _, err := e.s.Configuration(e.ctx, 7); fault.KindOf(err) != fault.NotFound {
			e.Errorf("version 7: %v", err)
		}
		e.equal("rows: 1, changed +3, gone and come +1, gone, back +1", e.count("SELECT count(*) FROM metric_configs"), 6)
		e.equal("metrics of one name", e.count("SELECT count(*) FROM metrics WHERE name = 'cpu'"), 1)

		_, err = e.s.Configure(e.ctx, &metering.Configuration{Version: 6, Metrics: []*metering.Metric{{Source: "nowhere", Name: "x", Measured: "x"}}}, "ada", "")
		e.refused(err, fault.NotFound, "nowhere")
		config, rules, err := e.s.Versions(e.ctx)
		e.must(err)
		e.equal("versions", fmt.Sprint(config, rules), "6 0")
	}},
	{"metrics/two at once", func(e *env) {
		e.world(store.Wanted{}, "cpu")
		stores := []*store.Store{e.s, e.open(), e.open(), e.open()}
		errs := make([]error, len(stores))
		var wait sync.WaitGroup
		for i, s := range stores {
			wait.Go(func() {
				_, errs[i] = s.Configure(e.ctx, &metering.Configuration{Version: 1, Metrics: []*metering.Metric{
					{Source: "default", Name: fmt.Sprint("new", i), Measured: "x", Factor: money.One},
				}}, "ada", "")
			})
		}
		wait.Wait()
		won := slices.Index(errs, nil)
		for i, err := range errs {
			if i != won {
				e.refused(err, fault.Conflict, "try again")
			}
		}
		if c, err := e.s.Configuration(e.ctx, 0); err != nil || c.Version != 2 || len(c.Metrics) != 1 || c.Metrics[0].Name != fmt.Sprint("new", won) {
			e.Errorf("%v, %v", c, err)
		}
	}},
	{"rules/versions", func(e *env) {
		e.world(store.Wanted{})
		fresh, err := e.s.Rules(e.ctx, 0)
		e.must(err)
		e.equal("rules of a new database", e.text(fresh), e.text(&rating.Rules{Modules: rating.DefaultModules()}))
		berlin, err := time.LoadLocation("Europe/Berlin")
		e.must(err)
		d := money.MustParse
		one := &rating.Rules{
			Modules: rating.DefaultModules(),
			Groups:  []rating.Group{{ID: "g1", Name: "discount"}, {ID: "g2", Name: "Überschuss <&>"}},
			Services: []rating.Service{
				{ID: "s1", Name: "cpu", Fields: []rating.Field{{ID: "f1", Name: "flavor"}, {ID: "f2", Name: "region"}}},
				{ID: "s2", Name: "ram"},
				{ID: "s3", Name: "vol", Fields: []rating.Field{{ID: "f3", Name: "flavor"}}},
			},
			Hashmap: []rating.Rule{
				{ID: "r1", Kind: rating.Mapping, Service: "cpu", Type: rating.Flat, Cost: d("0.1")},
				{ID: "r2", Kind: rating.Mapping, Service: "cpu", Field: "flavor", Value: "m1'\"\\ü", Type: rating.Rate, Cost: d("-1.000000000000000000000000000001"), Group: "discount"},
				{ID: "r3", Kind: rating.Mapping, Service: "vol", Field: "flavor", Value: "", Type: rating.Flat, Cost: d("0"), Scope: "tenant", Name: "n", Description: "d\nd"},
				{
					ID: "r4", Kind: rating.Threshold, Service: "ram", Level: d("1024.500"), Type: rating.Rate, Cost: d("1.10"), Group: "Überschuss <&>",
					Start: time.Date(2026, 11, 1, 1, 0, 0, 0, berlin), End: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
				},
				{ID: "r5", Kind: rating.Threshold, Service: "cpu", Field: "region", Level: d("0"), Type: rating.Flat, Cost: d("12345678901234567890.123456789012")},
			},
			Scripts: []rating.Script{
				{ID: "p1", Name: "a", Data: "x = 1\n\t'ü'", Start: time.Date(2026, 11, 1, 1, 0, 0, 0, berlin), Description: "d"},
				{ID: "p2", Name: "b"},
			},
		}
		one.Modules[0].Priority, one.Modules[1].Enabled = 100, false
		change := func(from *rating.Rules, fn func(*rating.Rules)) *rating.Rules {
			next := *from
			next.Modules, next.Groups, next.Hashmap = slices.Clone(from.Modules), slices.Clone(from.Groups), slices.Clone(from.Hashmap)
			next.Services, next.Scripts = slices.Clone(from.Services), slices.Clone(from.Scripts)
			for i := range next.Services {
				next.Services[i].Fields = slices.Clone(next.Services[i].Fields)
			}
			fn(&next)
			return &next
		}
		two := change(one, func(r *rating.Rules) {
			r.Hashmap[0].Cost = d("0.2")
			r.Hashmap[3].End = time.Time{}
			r.Groups[0].Name, r.Hashmap[1].Group = "rebate", "rebate"
			r.Scripts[0].Data, r.Scripts[1].End = "x = 2", time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
			r.Hashmap = append(r.Hashmap, rating.Rule{ID: "r6", Kind: rating.Mapping, Service: "ram", Type: rating.Flat, Cost: d("7")})
		})
		same := change(two, func(*rating.Rules) {})
		gone := change(two, func(r *rating.Rules) {
			r.Services, r.Hashmap, r.Groups = r.Services[1:2], []rating.Rule{r.Hashmap[5], r.Hashmap[3]}, r.Groups[1:]
			r.Scripts = r.Scripts[1:]
			r.Modules[1].Enabled = true
		})
		history := []*rating.Rules{one, two, same, gone, change(one, func(*rating.Rules) {})}
		for i, r := range history {
			r.Version = int64(i)
			if i > 0 {
				stale := *r
				stale.Version--
				_, err := e.s.SaveRules(e.ctx, &stale, "eve", "")
				e.refused(err, fault.Conflict)
			}
			before := e.count("SELECT count(*) FROM hashmap_rules") + e.count("SELECT count(*) FROM hashmap_services") + e.count("SELECT count(*) FROM rating_modules")
			v, err := e.s.SaveRules(e.ctx, r, "ada", "because")
			e.must(err)
			e.equal("version", v, i+1)
			r.Version = v
			after := e.count("SELECT count(*) FROM hashmap_rules") + e.count("SELECT count(*) FROM hashmap_services") + e.count("SELECT count(*) FROM rating_modules")
			if r == same && after != before {
				e.Errorf("no change made %d rows", after-before)
			}
		}
		for _, r := range history {
			got, err := e.s.Rules(e.ctx, r.Version)
			e.must(err)
			want := change(r, func(r *rating.Rules) {
				for i := range r.Hashmap {
					r.Hashmap[i].Start, r.Hashmap[i].End = r.Hashmap[i].Start.UTC(), r.Hashmap[i].End.UTC()
				}
				for i := range r.Scripts {
					r.Scripts[i].Start = r.Scripts[i].Start.UTC()
				}
				slices.SortFunc(r.Hashmap, func(a, b rating.Rule) int { return int(a.ID[1]) - int(b.ID[1]) })
			})
			for i := range want.Services {
				if len(want.Services[i].Fields) == 0 {
					want.Services[i].Fields = nil
				}
			}
			e.equal(fmt.Sprintf("version %d", r.Version), e.text(got), e.text(want))
		}
		_, err = e.s.Rules(e.ctx, 6)
		e.refused(err, fault.NotFound)
		for _, broken := range []rating.Rule{
			{ID: "x", Kind: rating.Mapping, Service: "nothing"},
			{ID: "x", Kind: rating.Mapping, Service: "cpu", Field: "none"},
			{ID: "x", Kind: rating.Mapping, Service: "cpu", Group: "none"},
			{Kind: rating.Mapping, Service: "cpu"},
		} {
			_, err := e.s.SaveRules(e.ctx, change(one, func(r *rating.Rules) { r.Version, r.Hashmap = 5, append(r.Hashmap, broken) }), "ada", "")
			e.refused(err, fault.Internal)
		}
		if _, rules, err := e.s.Versions(e.ctx); err != nil || rules != 5 {
			e.Errorf("refused rules made version %d, %v", rules, err)
		}
	}},
	{"rules/modules that were never stored", func(e *env) {
		e.world(store.Wanted{})
		_, err := e.s.SaveRules(e.ctx, &rating.Rules{}, "ada", "") // without modules
		e.must(err)
		r, err := e.s.Rules(e.ctx, 0)
		e.must(err)
		r.Modules[0].Enabled = false
		_, err = e.s.SaveRules(e.ctx, r, "ada", "")
		e.must(err)
		r, err = e.s.Rules(e.ctx, 0)
		e.must(err)
		modules := rating.DefaultModules()
		modules[0].Enabled = false
		e.equal("modules", r.Modules, modules)
	}},
	{"rules/two at once", func(e *env) {
		e.world(store.Wanted{})
		stores := []*store.Store{e.s, e.open(), e.open(), e.open()}
		errs := make([]error, len(stores))
		var wait sync.WaitGroup
		for i, s := range stores {
			wait.Go(func() {
				_, errs[i] = s.SaveRules(e.ctx, &rating.Rules{Services: []rating.Service{{ID: fmt.Sprint(i), Name: "cpu"}}}, "ada", "")
			})
		}
		wait.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			}
		}
		r, err := e.s.Rules(e.ctx, 0)
		e.must(err)
		if won != 1 || r.Version != 1 || len(r.Services) != 1 {
			e.Errorf("%d won: %v; %+v", won, errors.Join(errs...), r)
		}
	}},
}
