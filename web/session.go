package web

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/views/layout"
)

const (
	sessionCookie   = "ratebook_session"
	sessionLifetime = 7 * 24 * time.Hour
)

// What a session holds.
const (
	keyLogin       = "login"
	keyCredentials = "credentials"
)

// session finds out who asks. A session of someone who is gone, disabled or has other credentials by now ends here. It is
// written only when it changes.
func (s *site) session(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if s.sessions == nil || s.machines[c.Path()] || c.Path() == descriptionPath {
			return next(c)
		}
		if secret := secretOf(c.Request()); secret != "" && s.Tokens != nil {
			who, err := TokenAuth{Tokens: s.Tokens, Now: time.Now}.Authenticate(c.Request())
			if err != nil {
				return err
			}
			ctx, err := s.sessions.Load(c.Request().Context(), "") // an empty one
			if err != nil {
				return unreadable(err)
			}
			c.SetRequest(c.Request().WithContext(ctx))
			c.Set("user", &access.User{Login: who.ID, Role: who.Role, Scopes: who.Scopes})
			return next(c)
		}
		var token string
		if cookie, err := c.Cookie(sessionCookie); err == nil {
			token = cookie.Value
		}
		ctx, err := s.sessions.Load(c.Request().Context(), token)
		if err != nil {
			return unreadable(err)
		}
		c.SetRequest(c.Request().WithContext(ctx))
		if login := s.sessions.GetString(ctx, keyLogin); login != "" {
			switch u, err := s.Users.User(ctx, login); {
			case err != nil && fault.KindOf(err) != fault.NotFound:
				return unreadable(err)
			case err != nil || !u.Disabled.IsZero() || u.Credentials != s.sessions.GetInt64(ctx, keyCredentials):
				if err := SignOut(c); err != nil {
					return err
				}
			default:
				c.Set("user", &u)
			}
		}
		return next(c)
	}
}

// unreadable says that sessions are out of reach, which is not the same as being signed out.
func unreadable(err error) error {
	return fault.Wrap(fault.Unavailable, err, "Ratebook can't reach its database just now; try again in a moment")
}

// SignIn begins a session for a user, under a new token; one there was under the old token is over. It is also for going on
// after the user's credentials changed.
func SignIn(c echo.Context, u access.User) error {
	m, ctx := of(c).site.sessions, c.Request().Context()
	if m == nil {
		return fault.New(fault.Unavailable, "nobody can sign in here")
	}
	if err := m.RenewToken(ctx); err != nil {
		return unreadable(err)
	}
	m.Put(ctx, keyLogin, u.Login)
	m.Put(ctx, keyCredentials, u.Credentials)
	c.Set("user", &u)
	return save(c)
}

// SignOut ends the session.
func SignOut(c echo.Context) error {
	v, ctx := of(c), c.Request().Context()
	if v.site.sessions == nil {
		return nil
	}
	if v.site.sessions.Token(ctx) != "" { // else there is none, and nothing to write
		if err := v.site.sessions.Destroy(ctx); err != nil {
			return unreadable(err)
		}
	}
	c.Set("user", (*access.User)(nil))
	v.setCookie(c, sessionCookie, "", -1)
	if flash(c) != nil {
		v.setCookie(c, flashCookie, "", -1) // it was for who has left
	}
	return nil
}

// save stores the session as it is now, and tells the browser its token.
func save(c echo.Context) error {
	v := of(c)
	token, expires, err := v.site.sessions.Commit(c.Request().Context())
	if err != nil {
		return unreadable(err)
	}
	v.setCookie(c, sessionCookie, token, int(time.Until(expires).Seconds())+1)
	return nil
}

// setCookie sets a cookie for maxAge seconds; below 0, the browser forgets it.
func (v *visit) setCookie(c echo.Context, name, value string, maxAge int) {
	h := c.Response().Header()
	set := h.Values(echo.HeaderSetCookie)
	h.Del(echo.HeaderSetCookie)
	for _, other := range set { // an earlier one of the same name
		if old, err := http.ParseSetCookie(other); err != nil || old.Name != name {
			h.Add(echo.HeaderSetCookie, other)
		}
	}
	c.SetCookie(&http.Cookie{
		Name: name, Value: value, Path: cmp.Or(v.site.base, "/"), MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: v.site.secure(c.Request()),
	})
}

const (
	flashCookie = "flash"
	flashAge    = 60   // seconds
	flashMost   = 1000 // bytes
)

// setFlash has the browser bring a text to the next page. It is not in the session: a page that took it out would write the
// session, and so bring back one that was signed out of meanwhile.
func setFlash(c echo.Context, text string) {
	if len(text) > flashMost {
		text = strings.ToValidUTF8(text[:flashMost-len("…")], "") + "…"
	}
	of(c).setCookie(c, flashCookie, base64.RawURLEncoding.EncodeToString([]byte(text)), flashAge)
}

// flash returns what the request before wanted to be said, if it did.
func flash(c echo.Context) *layout.Flash {
	cookie, err := c.Cookie(flashCookie)
	if err != nil {
		return nil
	}
	text, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || len(text) == 0 || len(text) > flashMost || !utf8.Valid(text) {
		return nil // not ours
	}
	return &layout.Flash{Text: string(text)}
}

// Actor returns the login of who asks, for the audit trail; empty if nobody has signed in.
func Actor(c echo.Context) string {
	if u := User(c); u != nil {
		return u.Login
	}
	return ""
}

const (
	themeCookie = "theme"
	themeAge    = 365 * 24 * 60 * 60 // seconds
)

// SetTheme remembers in the browser that pages be light or dark; anything else is as the system has it.
func SetTheme(c echo.Context, theme string) {
	if theme == "light" || theme == "dark" {
		of(c).setCookie(c, themeCookie, theme, themeAge)
	} else {
		of(c).setCookie(c, themeCookie, "", -1)
	}
}

// theme returns what SetTheme remembered, or nothing.
func theme(c echo.Context) string {
	if cookie, err := c.Cookie(themeCookie); err == nil && (cookie.Value == "light" || cookie.Value == "dark") {
		return cookie.Value
	}
	return ""
}
