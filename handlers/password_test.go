package handlers

import (
	"net/url"
	"testing"
)

func TestPassword(t *testing.T) {
	const newOne = "another horse battery"
	d := newDoor(t, ada())
	d.browser().get("/settings/password").want(303, "/sign-in?next=%2Fsettings%2Fpassword")
	b, other := d.browser(), d.browser()
	for _, one := range []*browser{b, other} {
		one.post("/sign-in", credentials("ada", goodPassword)).want(303, "/")
	}
	b.get("/settings/password").want(200, "", "Your password")
	change := func(current, password, repeat string) answer {
		t.Helper()
		return b.post("/settings/password", url.Values{"current": {current}, "new": {password}, "repeat": {repeat}})
	}
	change("wrong", newOne, newOne).want(422, "", "This is not your password.", "was not changed")
	change(goodPassword, newOne, newOne+"x").want(422, "", "The two passwords differ.")
	a := change(goodPassword, "short", "short").want(422, "", "10 to 1024 characters")
	if a.value("new") != "" || a.value("current") != "" {
		t.Error("a page shows passwords")
	}
	if len(d.members.changes) != 0 {
		t.Errorf("changes: %v", d.members.changes)
	}

	change(goodPassword, newOne, newOne).want(303, "/settings/password")
	b.get("/settings/password").want(200, "", "Your password is changed.")
	b.get("/").want(200, "")
	other.get("/").want(303, "/sign-in")
	other.post("/sign-in", credentials("ada", goodPassword)).want(422, "")
	other.post("/sign-in", credentials("ada", newOne)).want(303, "/")
	if len(d.members.changes) != 1 || d.members.changes[0] != "ada passwd ada" {
		t.Errorf("changes: %v", d.members.changes)
	}

	for range 5 {
		change("wrong", "", "").want(422, "")
	}
	change(newOne, "", "").want(429, "", "Too many tries. Wait 10 s")
}
