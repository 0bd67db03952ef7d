package handlers

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"ratebook/access"
	"ratebook/metering"
)

func TestSettings(t *testing.T) {
	s := newMonthSite(t, sampleMonth(), "Europe/Berlin", monthNow)
	s.settings.Period = 30 * time.Minute
	s.store.users = []access.User{
		{Login: "ada", Role: access.Admin, Created: at("2026-01-31 23:30"), PasswordHash: "$argon2id$secret"},
		{Login: "tom", Role: access.Tenant, Scopes: []string{"a", "<b>"}, Created: at("2026-02-01 00:00"), Disabled: at("2026-03-01 12:00")},
		{Login: "tim", Role: access.Tenant, Created: at("2026-02-01 00:00")},
	}
	s.user = &access.User{Login: "ada", Role: access.Admin}
	s.get("/settings").ok().says("ada", "admin: may do everything", "Change your password", "30m", "Europe/Berlin", "EUR", "project_id", "ratebook settings set NAME VALUE",
		"1 Feb 2026, 00:30", "disabled", "may sign in", "ratebook user disable LOGIN", "ratebook user scopes LOGIN", "See all changes").lacks("secret", "<b>")
	s.get("/settings").ok().says("keep_charges", "forever").lacks("Charges and windows from before")
	s.store.kept = metering.Retention{Charges: 13, Rollups: 36, ChargesFrom: at("2025-10-31 23:00")}
	s.get("/settings").ok().says("13 months", "36 months", "from before 1 Nov 2025, 00:00 were dropped; reports of earlier times are made from sums of whole days.")
	s.store.kept.RollupsFrom = at("2023-11-30 23:00")
	s.get("/settings").ok().says("sums of whole days, which are there from 1 Dec 2023, 00:00 on.")
	s.store.kept.RollupsFrom = s.store.kept.ChargesFrom
	s.get("/settings").ok().says("so were their sums")
	s.user = &access.User{Login: "olga", Role: access.Operator}
	s.get("/settings").ok().says("Stored settings").lacks("ratebook user", "/settings/changes", "tom")
	s.user = tenant
	p := s.get("/settings").ok().says("tenant: reads its own scopes", "Your scopes a").lacks("Stored settings", "ratebook ", "/settings/changes", "ada")
	if form := p.Find(`main form[action="/theme"]`); form.Length() != 1 || form.Find("button[name=theme]").Length() != 3 {
		t.Error("no way to choose the theme")
	}
	s.user = &access.User{Role: access.Tenant}
	s.get("/settings").ok().says("an administrator says which scopes you may see")
	s.user, s.store.broken = &access.User{Role: access.Admin}, map[string]error{"Users": errors.New("gone")}
	if p := s.get("/settings"); p.status != 500 {
		t.Errorf("status %d", p.status)
	}
	for d, want := range map[time.Duration]string{time.Hour: "1h", 24 * time.Hour: "24h", 90 * time.Second: "90s"} {
		if got := periodText(d); got != want {
			t.Errorf("%s: %s", d, got)
		}
	}
}

func TestSettingsChanges(t *testing.T) {
	s := newMonthSite(t, &ledgerStore{}, "UTC", monthNow)
	s.user = &access.User{Login: "ada", Role: access.Admin}
	s.get("/settings/changes").ok().says("Nothing was changed yet")
	s.get("/settings/changes?before=5").ok().says("No older changes")
	for id := 250; id > 0; id-- {
		s.store.changes = append(s.store.changes, access.Change{
			ID: int64(id), At: at("2026-11-21 14:00"), Actor: "ada", Action: "disable", Subject: fmt.Sprintf("user u%d.", id), Before: "<old>", After: "new",
		})
	}
	seen := map[string]bool{}
	path := "/settings/changes"
	for pages := 0; path != ""; pages++ {
		if pages > 3 {
			t.Fatal("no end")
		}
		p := s.get(path).ok().says("disable user u").lacks("<old>")
		for _, row := range monthRows(p.table("Changes")) {
			seen[row] = true
		}
		path = href(p.Find("a[rel=next]"))
		if first := p.Find("a[rel=first]").Length() == 1; first != (pages > 0) {
			t.Errorf("page %d leads back to the first: %t", pages, first)
		}
	}
	if len(seen) != 250 {
		t.Errorf("%d changes on all pages", len(seen))
	}
	s.get("/settings/changes?before=-3").ok().says("user u250.")
	s.get("/settings/changes?before=x").ok().says("user u250.")
}
