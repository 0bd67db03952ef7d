package handlers

import (
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

func firstUser(d *door, login string) url.Values {
	token := strings.TrimPrefix(d.setUp.Link(), "/set-up?token=")
	return url.Values{"token": {token}, "login": {login}, "password": {goodPassword}, "repeat": {goodPassword}}
}

func TestSetUp(t *testing.T) {
	d := newDoor(t)
	b := d.browser()
	b.get("/").want(303, "/sign-in")
	a := b.get("/sign-in").want(200, "", "Ratebook has no users yet")
	if strings.Contains(a.body, firstUser(d, "").Get("token")) {
		t.Error("the sign-in page gives the link away")
	}
	b.post("/sign-in", credentials("ada", goodPassword)).want(422, "", "Ratebook has no users yet")
	for _, token := range []string{"", "wrong"} {
		b.get("/set-up?token="+token).want(404, "", "not valid")
		form := firstUser(d, "eve")
		form.Set("token", token)
		b.post("/set-up", form).want(404, "", "not valid")
	}
	if a := b.get(d.setUp.Link()).want(200, ""); a.value("token") != firstUser(d, "").Get("token") {
		t.Errorf("the form: %s", a.body)
	}

	form := firstUser(d, "a b")
	form.Set("password", "short")
	a = b.post("/set-up", form).want(422, "", "can&#39;t be a login", "The two passwords differ.", "10 to 1024 characters", "The user was not made")
	if a.value("login") != "a b" || a.value("token") == "" || a.value("password") != "" {
		t.Errorf("the form: %s", a.body)
	}
	if len(d.members.changes) != 0 {
		t.Errorf("changes: %v", d.members.changes)
	}
	b.post("/set-up", firstUser(d, "ada"), "Sec-Fetch-Site", "cross-site").want(403, "")

	b.post("/set-up", firstUser(d, "ada")).want(303, "/")
	b.get("/").want(200, "", "front for ada")
	if len(d.members.changes) != 1 || d.members.changes[0] != "ada adds admin ada" {
		t.Errorf("changes: %v", d.members.changes)
	}
	other := d.browser()
	other.get(d.setUp.Link()).want(404, "", "used up")
	other.post("/set-up", firstUser(d, "eve")).want(404, "", "used up")
	other.get("/sign-in").want(200, "")
	other.post("/sign-in", credentials("ada", goodPassword)).want(303, "/")
}

func TestSetUpExpires(t *testing.T) {
	d := newDoor(t)
	b := d.browser()
	d.pass(time.Hour - time.Second)
	b.get(d.setUp.Link()).want(200, "")
	d.pass(time.Second)
	b.get(d.setUp.Link()).want(404, "", "older than an hour")
	b.post("/set-up", firstUser(d, "ada")).want(404, "")
	if len(d.members.all) != 0 {
		t.Error("an old link makes users")
	}
}

// TestSetUpRace: of those who use the link at once, one wins; the store says who.
func TestSetUpRace(t *testing.T) {
	d := newDoor(t)
	var wg sync.WaitGroup
	statuses := make([]int, 4)
	for i := range statuses {
		wg.Go(func() { statuses[i] = d.browser().post("/set-up", firstUser(d, string(rune('a'+i)))).status })
	}
	wg.Wait()
	won := 0
	for _, s := range statuses {
		if s == 303 {
			won++
		} else if s != 404 {
			t.Errorf("got %d", s)
		}
	}
	if won != 1 || len(d.members.all) != 1 {
		t.Errorf("%d won, and there are %d users", won, len(d.members.all))
	}
}
