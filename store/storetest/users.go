package storetest

import (
	"fmt"
	"sync"
	"time"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/store"
)

var userTests = []test{
	{"users", func(e *env) {
		e.world(store.Wanted{})
		earlier := time.Now().Truncate(time.Second)
		for _, login := range []string{"zoë", "ada", "Bob"} {
			e.must(e.s.AddUser(e.ctx, access.User{Login: login, Role: access.Operator, PasswordHash: "hash of " + login}, "cli:root"))
		}
		e.refused(e.s.AddUser(e.ctx, access.User{Login: "ada", Role: access.Admin, PasswordHash: "x"}, "cli:root"), fault.Conflict, `"ada"`)
		e.must(e.s.SetPassword(e.ctx, "ada", "new hash", "cli:root"))
		e.must(e.s.DisableUser(e.ctx, "zoë", "cli:root"))
		e.must(e.s.DisableUser(e.ctx, "Bob", "cli:root"))
		e.must(e.s.EnableUser(e.ctx, "Bob", "cli:root"))
		for _, err := range []error{
			e.s.SetPassword(e.ctx, "eve", "x", "cli:root"), e.s.DisableUser(e.ctx, "eve", "cli:root"), e.s.EnableUser(e.ctx, "ADA", "cli:root"),
		} {
			e.refused(err, fault.NotFound)
		}
		users, err := e.s.Users(e.ctx)
		e.must(err)
		var got []string
		for _, u := range users {
			if u.Created.Before(earlier) || u.Created.After(time.Now()) {
				e.Errorf("%s was created at %v", u.Login, u.Created)
			}
			got = append(got, fmt.Sprint(u.Login, " ", u.Role, " ", u.PasswordHash, " ", !u.Disabled.IsZero()))
		}
		e.equal("users", got, []string{"Bob operator hash of Bob false", "ada operator new hash false", "zoë operator hash of zoë true"})
	}},
	{"users/first", func(e *env) {
		e.world(store.Wanted{})
		stores := []*store.Store{e.s, e.open()}
		errs := make([]error, 8)
		var wait sync.WaitGroup
		for i := range errs { // of several processes at once, one makes the first user
			wait.Go(func() {
				errs[i] = stores[i%2].AddFirstUser(e.ctx, access.User{Login: fmt.Sprint("user", i), Role: access.Admin, PasswordHash: "x"}, "set-up")
			})
		}
		wait.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
			} else {
				e.refused(err, fault.Conflict, "already")
			}
		}
		users, err := e.s.Users(e.ctx)
		e.must(err)
		if made != 1 || len(users) != 1 {
			e.Errorf("%d were made, there are %d users", made, len(users))
		}
		log, err := e.s.Changes(e.ctx, access.ChangeFilter{Limit: 10})
		e.must(err)
		if len(log) == 0 || log[0].Actor != "set-up" || log[0].Subject != "user "+users[0].Login {
			e.Errorf("the trail: %+v", log)
		}
		e.must(e.s.AddUser(e.ctx, access.User{Login: "bob", Role: access.Viewer}, "cli:root"))
		e.refused(e.s.AddFirstUser(e.ctx, access.User{Login: "bob", Role: access.Admin}, "set-up"), fault.Conflict, "not be the first")
	}},
	{"users/credentials", func(e *env) {
		e.world(store.Wanted{})
		_, err := e.s.User(e.ctx, "ada")
		e.refused(err, fault.NotFound, `"ada"`)
		e.must(e.s.AddUser(e.ctx, access.User{Login: "ada", Role: access.Admin, PasswordHash: "1"}, "cli:root"))
		e.must(e.s.AddUser(e.ctx, access.User{Login: "bob", Role: access.Viewer, PasswordHash: "1"}, "cli:root"))
		credentials := func() int64 {
			e.Helper()
			u, err := e.s.User(e.ctx, "ada")
			e.must(err)
			return u.Credentials
		}
		e.equal("new", credentials(), 1)
		e.must(e.s.SetPassword(e.ctx, "ada", "2", "ada"))
		e.equal("another password", credentials(), 2)
		e.must(e.s.DisableUser(e.ctx, "ada", "bob"))
		e.equal("disabled", credentials(), 3)
		e.must(e.s.EnableUser(e.ctx, "ada", "bob"))
		e.equal("enabled", credentials(), 3)
		u, err := e.s.User(e.ctx, "ada")
		e.must(err)
		if u.Login != "ada" || u.Role != access.Admin || u.PasswordHash != "2" || !u.Disabled.IsZero() || time.Since(u.Created) > time.Minute || u.Scopes != nil {
			e.Errorf("got %+v", u)
		}
		bob, err := e.s.User(e.ctx, "bob")
		e.must(err)
		e.equal("another's", bob.Credentials, 1)
	}},
	{"users/scopes", func(e *env) {
		e.world(store.Wanted{})
		e.must(e.s.AddUser(e.ctx, access.User{Login: "ada", Role: access.Admin}, "cli:root"))
		e.must(e.s.AddUser(e.ctx, access.User{Login: "tina", Role: access.Tenant, Scopes: []string{"b", "ä, ö", "B", "b"}}, "cli:root"))
		e.must(e.s.AddUser(e.ctx, access.User{Login: "tom", Role: access.Tenant}, "cli:root"))
		e.must(e.s.AddUser(e.ctx, access.User{Login: "ted", Role: access.Tenant, Scopes: []string{"t"}}, "cli:root"))
		e.refused(e.s.AddUser(e.ctx, access.User{Login: "vic", Role: access.Viewer, Scopes: []string{"a"}}, "cli:root"), fault.Conflict, "reads every scope")
		e.refused(e.s.AddUser(e.ctx, access.User{Login: "tom", Role: access.Tenant, Scopes: []string{"a"}}, "cli:root"), fault.Conflict)
		all := func() (lines []string) {
			e.Helper()
			users, err := e.s.Users(e.ctx)
			e.must(err)
			for _, u := range users {
				one, err := e.s.User(e.ctx, u.Login)
				e.must(err)
				e.equal("user alone", fmt.Sprintf("%+v", one), fmt.Sprintf("%+v", u))
				lines = append(lines, fmt.Sprintf("%s %q", u.Login, u.Scopes))
			}
			return lines
		}
		e.equal("scopes", all(), []string{"ada []", `ted ["t"]`, `tina ["B" "b" "ä, ö"]`, "tom []"})
		e.must(e.s.SetUserScopes(e.ctx, "tina", []string{"b", "a", "a"}, "ada"))
		e.must(e.s.SetUserScopes(e.ctx, "ted", nil, "ada"))
		e.refused(e.s.SetUserScopes(e.ctx, "ada", []string{"a"}, "ada"), fault.Conflict, "reads every scope")
		e.refused(e.s.SetUserScopes(e.ctx, "eve", []string{"a"}, "ada"), fault.NotFound, `"eve"`)
		e.equal("scopes", all(), []string{"ada []", "ted []", `tina ["a" "b"]`, "tom []"})
		log, err := e.s.Changes(e.ctx, access.ChangeFilter{Subject: "user t", Limit: 9})
		e.must(err)
		var got []string
		for _, c := range log {
			got = append(got, fmt.Sprintf("%s %s %s %q %q", c.Actor, c.Action, c.Subject, c.Before, c.After))
		}
		e.equal("changes", got, []string{
			`ada scopes user ted "t" ""`, `ada scopes user tina "B, b, ä, ö" "a, b"`,
			`cli:root add user ted "" "tenant of t"`, `cli:root add user tom "" "tenant"`, `cli:root add user tina "" "tenant of B, b, ä, ö"`,
		})
	}},
	{"audit log", func(e *env) {
		e.world(store.Wanted{})
		e.must(e.s.AddUser(e.ctx, access.User{Login: "ada", Role: access.Admin, PasswordHash: "secret"}, "cli:root"))
		_ = e.s.AddUser(e.ctx, access.User{Login: "ada", Role: access.Admin}, "cli:root") // refused, so not logged
		e.must(e.s.SetPassword(e.ctx, "ada", "secret", "ada"))
		_ = e.s.DisableUser(e.ctx, "eve", "ada")
		log, err := e.s.Changes(e.ctx, access.ChangeFilter{Limit: 100})
		e.must(err)
		var got []string
		for _, l := range log {
			if time.Since(l.At) > time.Minute || time.Since(l.At) < 0 {
				e.Errorf("%+v", l)
			}
			got = append(got, fmt.Sprintf("%s %s %s %q %q", l.Actor, l.Action, l.Subject, l.Before, l.After))
		}
		e.equal("audit log", got, []string{`ada passwd user ada "" ""`, `cli:root add user ada "" "admin"`, `test change metrics, version 1 "" ""`})
		ids := func(f access.ChangeFilter) (ids []int64) {
			e.Helper()
			found, err := e.s.Changes(e.ctx, f)
			e.must(err)
			for _, c := range found {
				ids = append(ids, c.ID)
			}
			return ids
		}
		e.must(e.s.AddUser(e.ctx, access.User{Login: "adam", Role: access.Viewer}, "ada"))
		adam := ids(access.ChangeFilter{Subject: "user adam", Limit: 9})[0]
		passwd, add, metrics := log[0].ID, log[1].ID, log[2].ID
		e.equal("before the latest", ids(access.ChangeFilter{Before: adam, Limit: 2}), []int64{passwd, add})
		e.equal("of users", ids(access.ChangeFilter{Subject: "user ", Limit: 9}), []int64{adam, passwd, add})
		e.equal("of ada and adam, before", ids(access.ChangeFilter{Subject: "user ada", Before: passwd, Limit: 9}), []int64{add})
		e.equal("of metrics", ids(access.ChangeFilter{Subject: "metrics", Limit: 9}), []int64{metrics})
		for _, none := range []string{"USER", "%", "user_ada", "user adam or more", "ü"} {
			e.equal("of "+none, ids(access.ChangeFilter{Subject: none, Limit: 9}), []int64(nil))
		}
		log, err = e.s.Changes(e.ctx, access.ChangeFilter{Limit: 1})
		e.must(err)
		if len(log) != 1 || log[0].Actor != "ada" {
			e.Errorf("the latest entry is %+v", log)
		}
	}},
}
