package pages

import (
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/a-h/templ"

	"ratebook/access"
)

// read returns what a reader sees of the first element that at selects, glued where it is glued.
func read(t *testing.T, c templ.Component, at string) string {
	t.Helper()
	var b strings.Builder
	if err := c.Render(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(doc.Find(at).First().Text()), " ")
}

// A template drops the space between words and a component beside them.
func TestTimesInSentences(t *testing.T) {
	t.Parallel()
	on := func(month time.Month) time.Time { return time.Date(2026, month, 1, 0, 0, 0, 0, time.UTC) }
	dropped := func(rollups time.Time) templ.Component {
		return SettingsPage(&Settings{Zone: time.UTC, Stored: []Setting{{Name: "period"}}, ChargesFrom: on(8), RollupsFrom: rollups})
	}
	token := access.Token{ID: 4, Name: "grafana", CreatedBy: "ada", Created: on(1)}
	used, revoked := token, token
	used.Used, revoked.Revoked = on(2), on(3)
	const stored, first, second = `[aria-labelledby="stored-heading"] > .table-wrap + p`, "p", "p + p"
	for _, c := range []struct {
		page     templ.Component
		at, want string
	}{
		{dropped(time.Time{}), stored, "Charges and windows from before 1 Aug 2026, 00:00 were dropped; reports of earlier times are made from sums of whole days."},
		{dropped(on(8)), stored, "Charges and windows from before 1 Aug 2026, 00:00 were dropped; so were their sums, and reports begin there."},
		{dropped(on(2)), stored, "Charges and windows from before 1 Aug 2026, 00:00 were dropped; reports of earlier times are made from sums of whole days, which are there from 1 Feb 2026, 00:00 on."},
		{TokenRevoke(token, time.UTC), first, "The token 4 (grafana) was made by ada at 1 Jan 2026, 00:00 and was never used."},
		{TokenRevoke(used, time.UTC), first, "The token 4 (grafana) was made by ada at 1 Jan 2026, 00:00 and at about 1 Feb 2026, 00:00 it was used last."},
		{TokenRevoke(revoked, time.UTC), second, "It was revoked at 1 Mar 2026, 00:00; the changes say by whom. Whoever uses it is refused."},
		{APIPage(&API{MakesTokens: true}), first, "Ratebook answers CloudKitty's API, v1 and v2, and gives reports as files. A request says who asks with a token, as the header X-Auth-Token or as Authorization: Bearer; make one under Settings, API tokens. With Keystone it is a token of Keystone's."},
		{APIPage(&API{}), first, "Ratebook answers CloudKitty's API, v1 and v2, and gives reports as files. A request says who asks with a token, as the header X-Auth-Token or as Authorization: Bearer; ask an administrator for one. With Keystone it is a token of Keystone's."},
	} {
		if got := read(t, c.page, c.at); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestUnknownScopes(t *testing.T) {
	t.Parallel()
	for want, ids := range map[string][]string{
		"The scope a is not known yet. The token reads it once it is. If an id is mistyped, revoke the token and make another one.":           {"a"},
		"The scopes a, b are not known yet. The token reads them once they are. If an id is mistyped, revoke the token and make another one.": {"a", "b"},
	} {
		if got := unknownScopes(ids); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
