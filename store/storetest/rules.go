package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/store"
)

// edit changes the rules and returns their version.
func (e *env) edit(author, what string, fn func(*rating.Rules) (*rating.Rules, error)) int64 {
	e.Helper()
	version, err := e.s.EditRules(e.ctx, author, what, fn)
	e.must(err)
	return version
}

// addRule adds a rule and returns its id.
func (e *env) addRule(r rating.Rule) (id string) {
	e.Helper()
	e.edit("ada", "", func(all *rating.Rules) (next *rating.Rules, err error) {
		next, id, err = all.Add(r)
		return next, err
	})
	return id
}

func mapping(service, field, value string) rating.Rule {
	return rating.Rule{Kind: rating.Mapping, Service: service, Field: field, Value: value, Type: rating.Flat, Cost: money.New(1, 0)}
}

// asStored fails unless the rules are what another store reads.
func (e *env) asStored() *rating.Rules {
	e.Helper()
	got, err := e.s.Rules(e.ctx, 0)
	e.must(err)
	want, err := e.open().Rules(e.ctx, 0)
	e.must(err)
	none := strings.NewReplacer("[]", "null")
	e.equal("the rules that are known", none.Replace(e.text(got)), none.Replace(e.text(want)))
	return got
}

var ruleTests = []test{
	{"rules/edits", func(e *env) {
		e.world(store.Wanted{})
		berlin, err := time.LoadLocation("Europe/Berlin")
		e.must(err)
		rule := mapping("cpu", "flavor", "m1")
		rule.Start = time.Date(2026, 11, 1, 0, 0, 0, 0, berlin)
		id := e.addRule(rule)
		e.addRule(mapping("ram", "", ""))
		var script, group string
		e.edit("bob", "over the API", func(r *rating.Rules) (next *rating.Rules, err error) {
			if next, script, err = r.AddScript(rating.Script{Name: "half", Data: "x = 1\ny = 2\n", Start: rule.Start}); err == nil {
				next, group, err = next.AddGroup("bulk")
			}
			return next, err
		})
		e.asStored()
		e.edit("bob", "", func(r *rating.Rules) (*rating.Rules, error) {
			next, err := r.ReplaceScript(script, rating.Script{Name: "half", Data: "x = 1\ny = 3\n"})
			if err == nil {
				next, err = next.End(id, time.Date(2026, 12, 1, 0, 0, 0, 0, berlin))
			}
			if err == nil {
				off, first := false, 5
				next, err = next.SetModule("noop", &off, &first)
			}
			return next, err
		})
		e.asStored()
		version := e.edit("bob", "", func(r *rating.Rules) (*rating.Rules, error) { return r.RemoveGroup(group, true) })
		e.equal("version", version, 5)
		version = e.edit("bob", "nothing", func(r *rating.Rules) (*rating.Rules, error) {
			return r.End(id, time.Date(2026, 12, 1, 0, 0, 0, 0, berlin))
		})
		e.equal("version of no change", version, 5)
		_, err = e.s.EditRules(e.ctx, "bob", "", func(r *rating.Rules) (*rating.Rules, error) { return r.Remove("x") })
		e.refused(err, fault.NotFound)
		_, err = e.s.EditRules(e.ctx, "bob", "", func(r *rating.Rules) (*rating.Rules, error) {
			next, _, err := r.AddService("ram")
			return next, err
		})
		e.refused(err, fault.Conflict, "ram")
		cause := errors.New("a cause")
		_, err = e.s.EditRules(e.ctx, "bob", "", func(*rating.Rules) (*rating.Rules, error) { return nil, cause })
		if !errors.Is(err, cause) {
			e.Errorf("got %v", err)
		}
		r := e.asStored()
		r.Modules[0].Enabled, r.Hashmap[0].Value, r.Scripts[0].Name, r.Services[0].Fields[0].Name = false, "other", "other", "other" // are copies
		e.asStored()

		log, err := e.s.Changes(e.ctx, access.ChangeFilter{Subject: "rules", Limit: 10})
		e.must(err)
		var got []string
		for _, c := range slices.Backward(log) {
			got = append(got, c.Actor+" "+c.Action+" "+c.Subject+": "+c.After)
		}
		first := (&rating.Script{Data: "x = 1\ny = 2\n"}).Checksum()[:12]
		e.equal("audit log", strings.Join(got, "\n"), `ada change rules, version 1: + service cpu
+ field flavor of cpu
+ mapping of cpu, flavor = m1, from 2026-10-31T23:00:00Z: flat 1
ada change rules, version 2: + service ram
+ mapping of ram: flat 1
bob change rules, version 3: over the API
+ group bulk
+ script half: 2 lines, checksum `+first+`…, from 2026-10-31T23:00:00Z
bob change rules, version 4: ~ module noop: disabled, priority 5 (was: module noop: enabled, priority 1)
~ mapping of cpu, flavor = m1, from 2026-10-31T23:00:00Z: end none → 2026-11-30T23:00:00Z
~ script half: line 2 changed, start 2026-10-31T23:00:00Z → none
bob change rules, version 5: - group bulk`)
	}},
	{"rules/edits of others", func(e *env) {
		e.world(store.Wanted{})
		id := e.addRule(mapping("cpu", "", ""))
		stores := []*store.Store{e.s, e.open(), e.open()}
		for _, s := range stores { // everyone knows the rules
			_, err := s.Rules(e.ctx, 0)
			e.must(err)
		}
		const each = 8
		errs := make([]error, 2*len(stores))
		var wait sync.WaitGroup
		for i := range errs {
			wait.Go(func() {
				for n := range each {
					_, err := stores[i%len(stores)].EditRules(e.ctx, "ada", "", func(r *rating.Rules) (*rating.Rules, error) {
						next, _, err := r.Add(mapping("cpu", "flavor", fmt.Sprintf("%d.%d", i, n)))
						return next, err
					})
					errs[i] = errors.Join(errs[i], err)
				}
			})
		}
		wait.Wait()
		e.must(errors.Join(errs...))
		r := e.asStored()
		if want := 1 + each*len(errs); len(r.Hashmap) != want || r.Version != int64(want) {
			e.Errorf("%d rules in version %d, want %d", len(r.Hashmap), r.Version, want)
		}
		// What another process made is found, although this one knew it not; and what it removed is gone.
		var script string
		_, err := stores[1].EditRules(e.ctx, "bob", "", func(r *rating.Rules) (next *rating.Rules, err error) {
			next, script, err = r.AddScript(rating.Script{Name: "x"})
			return next, err
		})
		e.must(err)
		_, err = stores[2].EditRules(e.ctx, "bob", "", func(r *rating.Rules) (*rating.Rules, error) { return r.RemoveScript(script) })
		e.must(err)
		_, err = stores[2].EditRules(e.ctx, "bob", "", func(r *rating.Rules) (*rating.Rules, error) { return r.Remove(id) })
		e.must(err)
		_, err = stores[0].EditRules(e.ctx, "ada", "", func(r *rating.Rules) (*rating.Rules, error) { return r.Remove(id) })
		e.refused(err, fault.NotFound)
		e.asStored()
	}},
	{"rules/services come and go", func(e *env) {
		e.world(store.Wanted{})
		e.edit("ada", "", func(r *rating.Rules) (next *rating.Rules, err error) {
			next = r
			for i := range 450 { // more than one statement's worth
				rule := mapping("cpu", "flavor", fmt.Sprint(i))
				rule.Group = "bulk"
				if next, _, err = next.Add(rule); err != nil {
					return nil, err
				}
			}
			return next, nil
		})
		r := e.asStored()
		service, field, group := r.Services[0].ID, r.Services[0].Fields[0].ID, r.Groups[0].ID
		e.edit("ada", "", func(r *rating.Rules) (*rating.Rules, error) { return r.RemoveGroup(group, false) })
		if r := e.asStored(); len(r.Hashmap) != 450 || r.Hashmap[449].Group != "" || len(r.Groups) != 0 {
			e.Errorf("%d rules, %+v", len(r.Hashmap), r.Groups)
		}
		// A service of the same name is another one: rows refer to ids.
		e.edit("ada", "", func(r *rating.Rules) (*rating.Rules, error) {
			next, err := r.RemoveService(service)
			for _, rule := range r.Hashmap[:3] {
				if err == nil {
					next, _, err = next.Add(rule)
				}
			}
			return next, err
		})
		r = e.asStored()
		if len(r.Hashmap) != 3 || r.Services[0].ID == service || r.Services[0].Fields[0].ID == field {
			e.Errorf("%+v", r)
		}
		r.Services[0].ID, r.Services[0].Fields[0].ID = "service", "field" // the same rules under other ids of what they name
		_, err := e.s.SaveRules(e.ctx, r, "ada", "")
		e.must(err)
		e.asStored()
		records, err := e.s.RuleRecords(e.ctx, false)
		e.must(err)
		if len(records) != 3 || records[0].ServiceID != "service" || records[0].FieldID != "field" || records[0].Service != "cpu" {
			e.Errorf("%+v", records)
		}
	}},
	{"rules/records", func(e *env) {
		e.world(store.Wanted{})
		earlier := time.Now().Truncate(time.Second)
		grouped := mapping("cpu", "flavor", "m1")
		grouped.Group = "bulk"
		e.addRule(grouped)
		ended := e.addRule(mapping("ram", "", ""))
		e.addRule(mapping("cpu", "", ""))
		r := e.asStored()
		e.edit("bob", "", func(r *rating.Rules) (*rating.Rules, error) { return r.End(ended, begin) })
		e.edit("eve", "", func(r *rating.Rules) (*rating.Rules, error) { return r.RemoveService(r.Services[0].ID) }) // cpu
		lines := func(deleted bool) (lines []string) {
			e.Helper()
			all, err := e.s.RuleRecords(e.ctx, deleted)
			e.must(err)
			for _, r := range all {
				one, err := e.s.RuleRecord(e.ctx, r.ID)
				e.must(err)
				e.equal("one record", e.text(one), e.text(r))
				for _, t := range []time.Time{r.Created, r.Updated, r.Deleted} {
					if !t.IsZero() && (t.Before(earlier) || t.After(time.Now())) {
						e.Errorf("%s: %+v", r.ID, r.Record)
					}
				}
				lines = append(lines, fmt.Sprintf("%d %s (%s, %s, %s) %s+%s-%s %v %v", r.Since, r.String(), r.ServiceID, r.FieldID, r.GroupID,
					r.CreatedBy, r.UpdatedBy, r.DeletedBy, !r.Updated.IsZero(), !r.Deleted.IsZero()))
			}
			return lines
		}
		cpu, ram := r.Services[0], r.Services[1]
		wantRAM := "2 mapping of ram: flat 1, until 2026-10-31T22:00:00Z (" + ram.ID + ", , ) ada+bob- true false"
		e.equal("rules", lines(false), []string{wantRAM})
		e.equal("rules, with those deleted", lines(true), []string{
			"1 mapping of cpu, flavor = m1, group bulk: flat 1 (" + cpu.ID + ", " + cpu.Fields[0].ID + ", " + r.Groups[0].ID + ") ada+-eve false true",
			wantRAM,
			"3 mapping of cpu: flat 1 (" + cpu.ID + ", , ) ada+-eve false true",
		})
		if _, err := e.s.RuleRecord(e.ctx, "x"); fault.KindOf(err) != fault.NotFound {
			e.Errorf("got %v", err)
		}

		var half, none string
		e.edit("ada", "", func(r *rating.Rules) (next *rating.Rules, err error) {
			next, half, err = r.AddScript(rating.Script{Name: "half", Data: "1", Description: "d"})
			return next, err
		})
		e.edit("bob", "", func(r *rating.Rules) (next *rating.Rules, err error) {
			next, none, err = r.AddScript(rating.Script{Name: "none", Start: begin})
			return next, err
		})
		e.edit("bob", "", func(r *rating.Rules) (*rating.Rules, error) {
			return r.ReplaceScript(half, rating.Script{Name: "half", Data: "2"})
		})
		e.edit("eve", "", func(r *rating.Rules) (*rating.Rules, error) { return r.RemoveScript(half) })
		scripts, err := e.s.ScriptRecords(e.ctx, false)
		e.must(err)
		if len(scripts) != 1 || scripts[0].ID != none || scripts[0].CreatedBy != "bob" || !scripts[0].Start.Equal(begin) || !scripts[0].Deleted.IsZero() {
			e.Errorf("%+v", scripts)
		}
		scripts, err = e.s.ScriptRecords(e.ctx, true)
		e.must(err)
		if len(scripts) != 2 || scripts[0].ID != half || scripts[0].Data != "2" || scripts[0].CreatedBy != "ada" || scripts[0].UpdatedBy != "bob" ||
			scripts[0].DeletedBy != "eve" || scripts[0].Deleted.IsZero() {
			e.Errorf("%+v", scripts)
		}
		one, err := e.s.ScriptRecord(e.ctx, half)
		e.must(err)
		e.equal("a script", e.text(one), e.text(scripts[0]))
		if _, err := e.s.ScriptRecord(e.ctx, "x"); fault.KindOf(err) != fault.NotFound {
			e.Errorf("got %v", err)
		}
	}},
	{"rules/what has priced", func(e *env) {
		e.world(store.Wanted{Timezone: "Europe/Berlin"}, "cpu", "ram", "gpu")
		with := func(r rating.Rule, change func(*rating.Rule)) rating.Rule {
			change(&r)
			return r
		}
		day := 24 * hour
		from := func(t time.Time) func(*rating.Rule) { return func(r *rating.Rule) { r.Start = t } }
		until := func(t time.Time) func(*rating.Rule) { return func(r *rating.Rule) { r.End = t } }
		of := func(scope string) func(*rating.Rule) { return func(r *rating.Rule) { r.Scope = scope } }
		threshold := func(field string) rating.Rule {
			return rating.Rule{Kind: rating.Threshold, Service: "cpu", Field: field, Level: money.New(1000, 0), Type: rating.Flat}
		}
		rules := map[string]rating.Rule{
			"service": mapping("cpu", "", ""), "flavor m1": mapping("cpu", "flavor", "m1"), "image linux": mapping("cpu", "image", "linux"),
			"project a": mapping("cpu", "project_id", "a"), "month": mapping("cpu", "month", "5"), "flavor threshold": threshold("flavor"), "quantity": threshold(""),
			"of a": with(mapping("cpu", "", ""), of("a")), "until later": with(mapping("cpu", "id", "1"), until(begin.Add(hour))),
			"of b, id": with(mapping("ram", "id", "1"), of("b")),
			// these have not
			"no usage": mapping("gpu", "", ""), "no metric": mapping("disk", "", ""), "flavor m9": mapping("cpu", "flavor", "m9"),
			"flavor under image": mapping("cpu", "image", "m1"), "no attribute": threshold("size"), "project c": mapping("cpu", "project_id", "c"),
			"of c": with(mapping("cpu", "", ""), of("c")), "ram of a": with(mapping("ram", "", ""), of("a")),
			"later": with(mapping("cpu", "id", "1"), from(begin.Add(3*day))), "before": with(mapping("cpu", "id", "2"), until(begin)),
			"cpu of b later": with(mapping("cpu", "id", "1"), func(r *rating.Rule) { r.Scope, r.Start = "b", begin.Add(hour) }),
		}
		not := []string{"no usage", "no metric", "flavor m9", "flavor under image", "no attribute", "project c", "of c", "ram of a", "later", "before", "cpu of b later"}
		ids := map[string]string{}
		e.edit("ada", "", func(r *rating.Rules) (next *rating.Rules, err error) {
			next = r
			for name, rule := range rules {
				if next, ids[name], err = next.Add(rule); err != nil {
					return nil, err
				}
			}
			next, ids["script"], err = next.AddScript(rating.Script{Name: "s"})
			if err == nil {
				next, ids["later script"], err = next.AddScript(rating.Script{Name: "t", Start: begin.Add(3 * day)})
			}
			return next, err
		})
		not = append(not, "later script")
		priced := func() (names []string) {
			e.Helper()
			for name, id := range ids {
				yes, err := e.s.HasPriced(e.ctx, id)
				e.must(err)
				if yes {
					names = append(names, name)
				}
			}
			slices.Sort(names)
			return names
		}
		e.equal("before there are windows", priced(), []string(nil))

		scopes := e.scopes(begin, "a", "b", "c")
		e.plan(begin.Add(3 * hour))
		run := period.Run{Begin: begin, Length: hour, Count: 2}
		b := e.seize(run, scopes...)
		flavored := metering.Usage{
			Series:  metering.Series{Scope: scopes[0], Metric: e.metrics["cpu"], Groupby: attrs("flavor", "m1", "id", "1"), Metadata: attrs("flavor", "m9", "image", "linux")},
			Samples: []metering.Sample{{Qty: money.New(1, 0)}, {Window: 1, Qty: money.New(1, 0)}},
		}
		b.Usage = append(b.Usage, flavored)
		e.fill(b, scopes[1], "cpu", attrs("id", "1"), "1@1", "")
		e.fill(b, scopes[1], "ram", attrs("id", "1"), "1@1", "1@1")
		e.commit(b)
		e.free(b)
		var want []string
		for name := range ids {
			if !slices.Contains(not, name) {
				want = append(want, name)
			}
		}
		slices.Sort(want)
		e.equal("after", priced(), want)

		// What was made after the windows has priced nothing, even though it is valid then; and after an edit the former rule counts.
		late := e.addRule(mapping("cpu", "flavor", "late m1"))
		e.edit("ada", "", func(r *rating.Rules) (*rating.Rules, error) { return r.Replace(late, mapping("cpu", "id", "late")) })
		e.edit("ada", "", func(r *rating.Rules) (*rating.Rules, error) {
			rule := mapping("cpu", "flavor", "m1")
			rule.Start = begin.Add(3 * day)
			return r.Replace(ids["flavor m1"], rule)
		})
		for id, want := range map[string]bool{late: false, ids["flavor m1"]: true} {
			if yes, err := e.s.HasPriced(e.ctx, id); err != nil || yes != want {
				e.Errorf("%s: %v, %v", id, yes, err)
			}
		}
		e.edit("ada", "", func(r *rating.Rules) (*rating.Rules, error) { return r.Remove(ids["service"]) })
		if yes, err := e.s.HasPriced(e.ctx, ids["service"]); err != nil || !yes {
			e.Errorf("deleted: %v, %v", yes, err)
		}
		_, err := e.s.HasPriced(e.ctx, "x")
		e.refused(err, fault.NotFound)

		// an edit that changes nothing of the rules as they were known changes what they are now
		on := func(s *store.Store, enabled bool) {
			_, err := s.EditRules(e.ctx, "ada", "", func(r *rating.Rules) (*rating.Rules, error) { return r.SetModule("noop", &enabled, nil) })
			e.must(err)
		}
		on(e.s, false)
		on(e.open(), true)
		on(e.s, false)
		latest, err := e.open().Rules(e.ctx, 0)
		e.must(err)
		i := slices.IndexFunc(latest.Modules, func(m rating.Module) bool { return m.Name == "noop" })
		e.equal("noop is enabled", latest.Modules[i].Enabled, false)
		e.exec("UPDATE windows SET state = 4 WHERE state = 2") // waived
		e.equal("after they were given up", priced(), []string(nil))
	}},
}
