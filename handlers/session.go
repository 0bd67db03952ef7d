package handlers

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// SessionUsers is what signing in needs of the store.
type SessionUsers interface {
	User(ctx context.Context, login string) (access.User, error) // NotFound if there is none
	Users(ctx context.Context) ([]access.User, error)
}

// Session signs in and out.
type Session struct {
	users    SessionUsers
	now      func() time.Time
	log      *slog.Logger
	tries    tries
	hasUsers atomic.Bool // once there are users, there always are
}

// NewSession returns the area for signing in and out.
func NewSession(users SessionUsers, now func() time.Time, log *slog.Logger) *Session {
	return &Session{users: users, now: now, log: log, tries: newTries()}
}

// Routes registers sign-in and sign-out.
func (h *Session) Routes(r *web.Router) {
	r.Anyone.GET("/sign-in", h.show)
	r.Anyone.POST("/sign-in", h.signIn)
	r.Anyone.POST("/sign-out", h.signOut)
}

// page answers with the form, which says why it is there again.
func (h *Session) page(c echo.Context, status int, v pages.SignIn) error {
	return web.Page(c, status, layout.Page{Title: "Sign in", Area: layout.None}, pages.SignInPage(v))
}

func (h *Session) show(c echo.Context) error {
	next := web.Local(c.QueryParam("next"))
	if web.User(c) != nil {
		return web.Redirect(c, next, "")
	}
	empty, err := h.noUsers(c.Request().Context())
	if err != nil {
		return err
	}
	return h.page(c, http.StatusOK, pages.SignIn{Next: next, NoUsers: empty})
}

// signIn tells nobody whether a login exists: neither by its words nor by the time it takes.
func (h *Session) signIn(c echo.Context) error {
	ctx := c.Request().Context()
	login, password, next := c.FormValue("login"), c.FormValue("password"), web.Local(c.FormValue("next"))
	v := pages.SignIn{Login: login, Next: next}
	var err error
	if v.NoUsers, err = h.noUsers(ctx); err != nil {
		return err
	} else if v.NoUsers {
		return h.page(c, http.StatusUnprocessableEntity, v)
	}
	key := login
	if access.CheckLogin(login) != nil {
		key = "" // nobody's
	}
	from := network(c.RealIP())
	if wait := h.tries.take(key, from, h.now()); wait > 0 {
		h.log.Warn("sign-in is throttled", "address", c.RealIP())
		v.Problem = tooMany(c, wait)
		return h.page(c, http.StatusTooManyRequests, v)
	}
	u := access.User{PasswordHash: nobodysHash}
	known := false
	if key != "" { // else a database may refuse to look for it
		switch found, err := h.users.User(ctx, login); {
		case err == nil:
			u, known = found, true
		case fault.KindOf(err) != fault.NotFound:
			return err
		}
	}
	matches, err := passwordMatches(ctx, u.PasswordHash, password)
	if err != nil {
		return err
	}
	if !matches || !known || !u.Disabled.IsZero() {
		h.log.Warn("a sign-in was refused", "address", c.RealIP()) // not what was typed: it may be a password
		v.Problem = "Login or password is wrong."
		return h.page(c, http.StatusUnprocessableEntity, v)
	}
	h.tries.succeeded(key, from)
	if err := web.SignIn(c, u); err != nil {
		return err
	}
	h.log.Info("someone signed in", "user", u.Login, "address", c.RealIP())
	return web.Redirect(c, next, "")
}

func (h *Session) signOut(c echo.Context) error {
	if err := web.SignOut(c); err != nil {
		return err
	}
	return web.Redirect(c, "/sign-in", "")
}

// noUsers reports whether there is nobody who could sign in.
func (h *Session) noUsers(ctx context.Context) (bool, error) {
	if h.hasUsers.Load() {
		return false, nil
	}
	all, err := h.users.Users(ctx)
	if err == nil && len(all) > 0 {
		h.hasUsers.Store(true)
	}
	return len(all) == 0, err
}

// tooMany says how long to wait, to people and, in a header, to programs.
func tooMany(c echo.Context, wait time.Duration) string {
	seconds := int(math.Ceil(wait.Seconds()))
	c.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(seconds))
	return fmt.Sprintf("Too many tries. Wait %d s, then try again.", seconds)
}
