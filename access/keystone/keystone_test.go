package keystone_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ratebook/access"
	"ratebook/access/keystone"
	"ratebook/e2e/testserver"
	"ratebook/fault"
)

// TestAuthenticate asks a real Keystone.
func TestAuthenticate(t *testing.T) {
	k := testserver.Keystone(t)
	project := k.AddProject("acme")
	admin := k.Token("admin", "secret", "admin")
	bob := k.AddUser("bob", "bobs secret", "member", project)
	member, unscoped := k.Token("bob", "bobs secret", "acme"), k.Token("bob", "bobs secret", "")

	var mu sync.Mutex
	now := time.Now()
	a, err := keystone.New(keystone.Config{URL: k.URL + "/v3", AdminRoles: []string{"admin"}, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(header http.Header) (*access.Caller, error) {
		return a.Authenticate((&http.Request{Header: header}).WithContext(t.Context()))
	}
	who := func(token string) (*access.Caller, error) {
		return ask(http.Header{"X-Auth-Token": {token}, "X-Roles": {"admin"}, "X-Project-Id": {"other"}, "X-Identity-Status": {"Confirmed"}})
	}
	refused := func(what, token string) {
		t.Helper()
		if c, err := who(token); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %+v, %v", what, c, err)
		}
	}

	c, err := who(admin)
	if err != nil || c.Role != access.Admin || c.ID == "" || c.Project == "" || c.Scopes != nil {
		t.Errorf("admin: %+v, %v", c, err)
	}
	for token, want := range map[string]*access.Caller{
		member:   {ID: bob, Role: access.Tenant, Project: project, Scopes: []string{project}},
		unscoped: {ID: bob, Role: access.Tenant},
	} {
		if c, err := who(token); err != nil || !cmp.Equal(c, want) {
			t.Errorf("%+v, %v; want %+v", c, err, want)
		}
	}
	refused("garbage", "garbage")
	refused("a changed token", member[:len(member)-2]+"xx")
	refused("a token of many bytes", strings.Repeat("x", 1<<20))
	if c, err := ask(http.Header{"X-Roles": {"admin"}, "X-User-Id": {bob}, "X-Identity-Status": {"Confirmed"}}); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("headers alone: %+v, %v", c, err)
	}
	if got := a.Challenge(); got != `Keystone uri="`+k.URL+`"` {
		t.Errorf("challenge %s", got)
	}

	k.Revoke(member)
	if _, err := who(member); err != nil {
		t.Errorf("what Keystone said is believed for a while: %v", err)
	}
	mu.Lock()
	now = now.Add(keystone.Remembered)
	mu.Unlock()
	refused("a revoked token", member)

	k.Stop()
	if c, err := who(admin); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("without Keystone: %+v, %v", c, err)
	} else if strings.Contains(err.Error(), admin) {
		t.Error("the error has the token")
	}
	if _, err := who(unscoped); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("without Keystone: %v", err)
	}
}

func TestNew(t *testing.T) {
	for _, url := range []string{"", "keystone", "ftp://keystone", "https://user:password@keystone:5000"} {
		if _, err := keystone.New(keystone.Config{URL: url}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := keystone.New(keystone.Config{URL: "https://keystone:5000", CA: []byte("no certificate")}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("CA: %v", err)
	}
}
