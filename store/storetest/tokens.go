package storetest

import (
	"fmt"
	"strings"
	"time"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/store"
)

var tokenTests = []test{
	{"tokens", func(e *env) {
		e.world(store.Wanted{})
		earlier := time.Now().Truncate(time.Second)
		expires := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		secret, digest := access.NewSecret()
		other, otherDigest := access.NewSecret()
		one, err := e.s.AddToken(e.ctx, access.Token{Name: "grafana", Role: access.Viewer, Expires: expires}, digest, "ada")
		e.must(err)
		two, err := e.s.AddToken(e.ctx, access.Token{Name: "grafana", Role: access.Tenant, Scopes: []string{"b", "a", "b"}}, otherDigest, "cli:root")
		e.must(err)
		if _, err := e.s.AddToken(e.ctx, access.Token{Name: "again", Role: access.Viewer}, digest, "ada"); err == nil {
			e.Error("two tokens have one secret")
		}
		text := func(t access.Token) string {
			if t.Created.Before(earlier) || t.Created.After(time.Now()) {
				e.Errorf("created at %v", t.Created)
			}
			return fmt.Sprintf("%d %s %s %q by %s, until %v, revoked %v", t.ID, t.Name, t.Role, t.Scopes, t.CreatedBy, t.Expires.UTC(), !t.Revoked.IsZero())
		}
		wantOne := fmt.Sprintf(`%d grafana viewer [] by ada, until %v, revoked false`, one, expires)
		wantTwo := fmt.Sprintf(`%d grafana tenant ["a" "b"] by cli:root, until %v, revoked `, two, time.Time{})
		all := func() (lines []string) {
			e.Helper()
			tokens, err := e.s.Tokens(e.ctx)
			e.must(err)
			for _, t := range tokens {
				lines = append(lines, text(t))
			}
			return lines
		}
		e.equal("tokens", all(), []string{wantTwo + "false", wantOne})
		found, err := e.s.Token(e.ctx, digest)
		e.must(err)
		e.equal("found", text(found), wantOne)
		_, err = e.s.Token(e.ctx, access.SecretDigest("rb_none"))
		e.refused(err, fault.NotFound)

		e.must(e.s.RevokeToken(e.ctx, two, "eve"))
		e.must(e.s.RevokeToken(e.ctx, two, "bob")) // nothing any more
		e.refused(e.s.RevokeToken(e.ctx, 99, "eve"), fault.NotFound, "99")
		found, err = e.s.Token(e.ctx, otherDigest)
		e.must(err)
		if found.Valid(time.Now()) || !found.Used.IsZero() {
			e.Errorf("revoked: %+v", found)
		}
		e.equal("tokens", all(), []string{wantTwo + "true", wantOne})

		log, err := e.s.Changes(e.ctx, access.ChangeFilter{Subject: "token ", Limit: 9})
		e.must(err)
		var got []string
		for _, c := range log {
			got = append(got, fmt.Sprintf("%s %s %s %q %q", c.Actor, c.Action, c.Subject, c.Before, c.After))
		}
		e.equal("audit log", got, []string{
			fmt.Sprintf(`eve revoke token grafana "number %d" ""`, two), fmt.Sprintf(`cli:root add token grafana "" "number %d, tenant of a, b"`, two),
			fmt.Sprintf(`ada add token grafana "" "number %d, viewer, until 2030-01-01T00:00:00Z"`, one),
		})
		dump := strings.Join(e.rows("SELECT actor, action, subject, before, after FROM audit_log"), "\n")
		for _, s := range []string{secret, other} {
			if strings.Contains(dump, s[3:]) {
				e.Error("the audit log knows a secret")
			}
		}
	}},
	{"tokens/use", func(e *env) {
		e.world(store.Wanted{})
		_, digest := access.NewSecret()
		id, err := e.s.AddToken(e.ctx, access.Token{Name: "x", Role: access.Viewer}, digest, "ada")
		e.must(err)
		used := func() time.Time { // as a store sees it when those before have been closed
			e.Helper()
			s := e.open()
			t, err := s.Token(e.ctx, digest)
			e.must(err)
			e.must(s.Close())
			return t.Used
		}
		if at := used(); !at.IsZero() {
			e.Errorf("used at %v before", at)
		}
		if at := used(); time.Since(at) > time.Minute {
			e.Errorf("used at %v", at)
		}
		for ago, noted := range map[time.Duration]bool{50 * time.Second: false, 2 * time.Minute: true} {
			then := time.Now().Add(-ago).Truncate(time.Second)
			e.exec("UPDATE tokens SET used_at = ? WHERE id = ?", e.time(then), id)
			used()
			if at := used(); at.Equal(then) == noted {
				e.Errorf("used %v ago: %v", ago, at)
			}
		}
	}},
}
