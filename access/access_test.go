package access

import (
	"strings"
	"testing"

	"ratebook/fault"
)

func TestPassword(t *testing.T) {
	t.Parallel()
	const password = "correct horse battery"
	hash, err := HashPassword(password)
	if err != nil {
		t.Fatal(err)
	}
	again, err := HashPassword(password)
	if err != nil || again == hash {
		t.Errorf("two hashes of one password are equal: the salt is not random (%v)", err)
	}
	if strings.Contains(hash, "horse") || !strings.HasPrefix(hash, "$argon2id$v=19$m=65536,t=3,p=4$") {
		t.Errorf("got %s", hash)
	}
	cut := strings.LastIndex(hash, "$") + 1
	for _, c := range []struct {
		hash, password string
		want           bool
	}{
		{hash, password, true},
		{again, password, true},
		{hash, password + " ", false},
		{hash, "", false},
		{"", "", false},
		{hash[:cut], password, false}, // an empty key equals nothing
		{strings.Replace(hash, "t=3", "t=0", 1), password, false},
		{strings.Replace(hash, "argon2id", "argon2i", 1), password, false},
		{strings.Replace(hash, "$v=19", "$v=16", 1), password, false},
		{hash + "$", password, false},
		{"$argon2id$v=19$m=x,t=3,p=4$c2FsdA$a2V5", password, false},
	} {
		if got := PasswordMatches(c.hash, c.password); got != c.want {
			t.Errorf("%q with %q: %t", c.hash, c.password, got)
		}
	}
	for _, bad := range []string{"", "too short", strings.Repeat("x", 1025)} {
		if _, err := HashPassword(bad); fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "too short") {
			t.Errorf("%d characters: %v", len(bad), err)
		}
	}
}

func TestLoginAndRole(t *testing.T) {
	t.Parallel()
	for login, ok := range map[string]bool{
		"ada": true, "Ada.Lovelace+1@example.org": true, "0": true, strings.Repeat("a", 64): true,
		"": false, ".ada": false, "a b": false, "ada\n": false, "é": false, strings.Repeat("a", 65): false,
	} {
		if err := CheckLogin(login); (err == nil) != ok {
			t.Errorf("%q: %v", login, err)
		}
	}
	for _, r := range Roles {
		if got, err := ParseRole(string(r)); err != nil || got != r {
			t.Errorf("%s: %s, %v", r, got, err)
		}
	}
	if _, err := ParseRole("root"); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}

func TestMay(t *testing.T) {
	t.Parallel()
	for i, have := range Roles {
		u := User{Role: have}
		for j, asked := range Roles {
			if got := u.May(asked); got != (i <= j) {
				t.Errorf("%s may do what %s may: %t", have, asked, got)
			}
		}
		if u.May("root") {
			t.Errorf("%s may do what no role may", have)
		}
		if got := u.ReadsAll(); got != (have != Tenant) {
			t.Errorf("%s reads all: %t", have, got)
		}
	}
	for _, role := range []Role{"", "root", "ADMIN"} {
		u := User{Role: role}
		if u.ReadsAll() {
			t.Errorf("%q reads all", role)
		}
		for _, asked := range append([]Role{"", "root"}, Roles...) {
			if u.May(asked) {
				t.Errorf("%q may do what %q may", role, asked)
			}
		}
	}
}
