package handlers

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/views/components"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// setUpValid is how long the link can be used.
const setUpValid = time.Hour

// SetUpUsers is what the first run needs of the store.
type SetUpUsers interface {
	Users(ctx context.Context) ([]access.User, error)
	AddFirstUser(ctx context.Context, u access.User, actor string) error // Conflict if there are users
}

// SetUp lets whoever has the link that serve printed make the first user, once.
type SetUp struct {
	users   SetUpUsers
	now     func() time.Time
	token   string
	expires time.Time
}

// NewSetUp returns the area for the first run, with a new link that is valid from now on.
func NewSetUp(users SetUpUsers, now func() time.Time) *SetUp {
	return &SetUp{users: users, now: now, token: rand.Text(), expires: now().Add(setUpValid)}
}

// Link returns the path below the base, with the token, of the page that makes the first user. Who has it becomes an admin.
func (h *SetUp) Link() string { return "/set-up?" + url.Values{"token": {h.token}}.Encode() }

// Routes registers the page of the first run.
func (h *SetUp) Routes(r *web.Router) {
	r.Anyone.GET("/set-up", h.show)
	r.Anyone.POST("/set-up", h.add)
}

var setUpPage = layout.Page{Title: "Set up Ratebook", Area: layout.None}

func (h *SetUp) show(c echo.Context) error {
	token := c.QueryParam("token")
	if open, err := h.open(c, token); !open {
		return err
	}
	return web.Page(c, http.StatusOK, setUpPage, pages.SetUpPage(pages.SetUp{Token: token}))
}

func (h *SetUp) add(c echo.Context) error {
	ctx := c.Request().Context()
	v := pages.SetUp{Token: c.FormValue("token"), Login: c.FormValue("login")}
	if open, err := h.open(c, v.Token); !open {
		return err
	}
	hash, wrong, err := newPassword(ctx, "password", c.FormValue("password"), c.FormValue("repeat"))
	if err != nil {
		return err
	}
	if f, ok := errors.AsType[*fault.Error](access.CheckLogin(v.Login)); ok {
		wrong = append(wrong, fault.Field{Name: "login", Message: web.Sentence(f.Message)})
	}
	if len(wrong) > 0 {
		v.Problem, v.Errors = "The user was not made, see below.", components.ErrorsOf(wrong)
		return web.Page(c, http.StatusUnprocessableEntity, setUpPage, pages.SetUpPage(v))
	}
	switch err := h.users.AddFirstUser(ctx, access.User{Login: v.Login, Role: access.Admin, PasswordHash: hash}, v.Login); {
	case fault.KindOf(err) == fault.Conflict: // someone was faster
		return web.Page(c, http.StatusNotFound, setUpPage, pages.SetUpOverPage(true))
	case err != nil:
		return err
	}
	all, err := h.users.Users(ctx)
	if err != nil {
		return err
	}
	for _, u := range all {
		if u.Login == v.Login {
			if err := web.SignIn(c, u); err != nil {
				return err
			}
		}
	}
	return web.Redirect(c, "/", "You are the first user, and an admin. Next time, sign in with your login and password.")
}

// open reports whether the link works: there are no users, and the token is right and not too old. If not, it has answered.
func (h *SetUp) open(c echo.Context, token string) (bool, error) {
	all, err := h.users.Users(c.Request().Context())
	if err != nil {
		return false, err
	}
	if len(all) > 0 || subtle.ConstantTimeCompare([]byte(token), []byte(h.token)) != 1 || !h.now().Before(h.expires) {
		return false, web.Page(c, http.StatusNotFound, setUpPage, pages.SetUpOverPage(len(all) > 0))
	}
	return true, nil
}
