package handlers

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/metering"
	"ratebook/web"
)

// tokenBook keeps tokens in memory.
type tokenBook struct {
	all     []access.Token
	revoked []int64
}

func (b *tokenBook) Tokens(context.Context) ([]access.Token, error) { return b.all, nil }

func (b *tokenBook) AddToken(_ context.Context, t access.Token, _ []byte, actor string) (int64, error) {
	t.ID, t.CreatedBy = int64(len(b.all)+1), actor
	b.all = append([]access.Token{t}, b.all...)
	return t.ID, nil
}

func (b *tokenBook) RevokeToken(_ context.Context, id int64, _ string) error {
	b.revoked = append(b.revoked, id)
	return nil
}

func (b *tokenBook) Scopes(context.Context) ([]*metering.Scope, error) {
	return []*metering.Scope{{ID: "genomics"}, {ID: "climate"}}, nil
}

// newTokenSite serves the area to an admin.
func newTokenSite(t *testing.T, b *tokenBook) *taskSite {
	t.Helper()
	signIn := costsRoutes(func(r *web.Router) {
		r.Anyone.GET("/as/:login", func(c echo.Context) error {
			if err := web.SignIn(c, taskPeople[c.Param("login")]); err != nil {
				return err
			}
			return c.NoContent(http.StatusNoContent)
		})
	})
	area := NewTokens(b, &metering.Settings{Zone: time.UTC}, func() time.Time { return monthNow })
	site, err := web.New(web.Config{Areas: []web.Area{area, signIn}, Sessions: memstore.NewWithCleanupInterval(0), Users: taskPeople, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	site.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/as/anna", http.NoBody))
	return &taskSite{T: t, site: site, who: "anna", jar: map[string][]*http.Cookie{"anna": w.Result().Cookies()}}
}

func TestTokenAdd(t *testing.T) {
	b := &tokenBook{}
	s := newTokenSite(t, b)
	s.get("/settings/tokens").ok().says("There is no token yet")
	made := s.do(http.MethodPost, "/settings/tokens", url.Values{"name": {"grafana"}, "role": {"viewer"}}).ok().
		says("The token 1 (grafana) is made", "Copy it now", "grafana token 1").lacks("not known yet")
	if secret := made.Find("section code").First().Text(); !strings.HasPrefix(secret, "rb_") {
		t.Errorf("the secret is %q", secret)
	}
	// another of the name, for a scope that there is and one that there is not
	s.do(http.MethodPost, "/settings/tokens", url.Values{"name": {"grafana"}, "role": {"tenant"}, "scopes": {"genomics\nno-such-scope"}}).ok().
		says("The token 2 (grafana) is made", "The scope no-such-scope is not known yet.", "grafana token 1", "grafana token 2")
	s.do(http.MethodPost, "/settings/tokens", url.Values{"name": {"all known"}, "role": {"tenant"}, "scopes": {"genomics, climate"}}).ok().lacks("known yet")
	table := s.get("/settings/tokens").ok().table("Tokens")
	if last := table.Find("thead th").Last(); last.Find(".visually-hidden").Length() != 1 {
		t.Error("the heading of what to do is visible")
	}
	for id, path := range []string{"/settings/tokens/3/revoke", "/settings/tokens/2/revoke", "/settings/tokens/1/revoke"} {
		if got := href(table.Find("tbody a").Eq(id)); got != path {
			t.Errorf("%s, not %s", got, path)
		}
	}
}

// Each message is a sentence.
func TestTokenWrong(t *testing.T) {
	b := &tokenBook{}
	s := newTokenSite(t, b)
	for _, form := range []url.Values{
		{"name": {""}, "role": {"king"}, "expires": {"soon"}},
		{"name": {strings.Repeat("n", 65)}, "role": {"tenant"}, "expires": {"2020-01-01"}},
		{"name": {"x"}, "role": {"viewer"}, "scopes": {"a"}},
		{"name": {"x"}, "role": {"tenant"}, "scopes": {"__UNDEF__"}},
	} {
		p := s.do(http.MethodPost, "/settings/tokens", form)
		if p.status != http.StatusUnprocessableEntity {
			t.Errorf("%v: status %d", form, p.status)
		}
		p.says("No token was made, see below.")
		wrong := p.Find(".field .error")
		if wrong.Length() == 0 {
			t.Errorf("%v: nothing is wrong", form)
		}
		for _, e := range wrong.EachIter() {
			if text := plain(e.Text()); text != web.Sentence(text) {
				t.Errorf("%v: %q is no sentence", form, text)
			}
		}
	}
	if len(b.all) > 0 {
		t.Errorf("made %v", b.all)
	}
}

func TestTokenRevoke(t *testing.T) {
	b := &tokenBook{all: []access.Token{
		{ID: 2, Name: "grafana", Role: access.Viewer, Created: at("2026-11-02 10:00"), CreatedBy: "ada", Revoked: at("2026-11-03 12:00")},
		{ID: 1, Name: "grafana", Role: access.Viewer, Created: at("2026-11-01 10:00"), CreatedBy: "ada"},
	}}
	s := newTokenSite(t, b)
	asks := s.get("/settings/tokens/1/revoke").ok().says("Revoke token 1", "can't be taken back", "Keep it")
	if asks.Find(`main > form.form[action="/settings/tokens/1/revoke"] .form-actions button`).Length() != 1 {
		t.Error("no button in a row of buttons")
	}
	said := func(path, want string) {
		t.Helper()
		p := s.do(http.MethodPost, path, url.Values{})
		if p.status != http.StatusSeeOther || p.header.Get("Location") != "/settings/tokens" {
			t.Errorf("%s: %d, %v", path, p.status, p.header)
		}
		signedIn := s.jar["anna"]
		defer func() { s.jar["anna"] = signedIn }()
		s.jar["anna"] = append(slices.Clone(signedIn), (&http.Response{Header: p.header}).Cookies()...) // what was done is said once
		if got := plain(s.get("/settings/tokens").ok().Find("#flash").Text()); got != want {
			t.Errorf("%s: %q, not %q", path, got, want)
		}
	}
	said("/settings/tokens/1/revoke", "The token 1 (grafana) is revoked. Whoever uses it is refused from now on.")
	// the other was revoked before
	p := s.get("/settings/tokens/2/revoke").ok().says("It was revoked at 3 Nov 2026, 12:00", "All tokens").lacks("Keep it")
	if p.Find("main form").Length() > 0 {
		t.Error("asks whether to revoke what is revoked")
	}
	said("/settings/tokens/2/revoke", "The token 2 (grafana) was revoked before, at 3 Nov 2026, 12:00.")
	if len(b.revoked) != 1 || b.revoked[0] != 1 {
		t.Errorf("revoked %v", b.revoked)
	}
	for _, id := range []string{"3", "x"} {
		if p := s.get("/settings/tokens/" + id + "/revoke"); p.status != http.StatusNotFound {
			t.Errorf("%s: %d", id, p.status)
		}
	}
}
