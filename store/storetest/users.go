package storetest

import (
	"fmt"
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
	{"audit log", func(e *env) {
		e.world(store.Wanted{})
		e.must(e.s.AddUser(e.ctx, access.User{Login: "ada", Role: access.Admin, PasswordHash: "secret"}, "cli:root"))
		_ = e.s.AddUser(e.ctx, access.User{Login: "ada", Role: access.Admin}, "cli:root") // refused, so not logged
		e.must(e.s.SetPassword(e.ctx, "ada", "secret", "ada"))
		_ = e.s.DisableUser(e.ctx, "eve", "ada")
		log, err := e.s.AuditLog(e.ctx, 100)
		e.must(err)
		var got []string
		for _, l := range log {
			if time.Since(l.At) > time.Minute || time.Since(l.At) < 0 {
				e.Errorf("%+v", l)
			}
			got = append(got, fmt.Sprintf("%s %s %s %q %q", l.Actor, l.Action, l.Subject, l.Before, l.After))
		}
		e.equal("audit log", got, []string{`ada passwd user ada "" ""`, `cli:root add user ada "" "admin"`, `test change metrics, version 1 "" ""`})
		log, err = e.s.AuditLog(e.ctx, 1)
		e.must(err)
		if len(log) != 1 || log[0].Actor != "ada" {
			e.Errorf("the latest entry is %+v", log)
		}
	}},
}
