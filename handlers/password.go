package handlers

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/views/components"
	"ratebook/views/layout"
	"ratebook/views/pages"
	"ratebook/web"
)

// PasswordUsers is what changing one's password needs of the store.
type PasswordUsers interface {
	User(ctx context.Context, login string) (access.User, error)
	SetPassword(ctx context.Context, login, hash, actor string) error
}

// Password lets users change their own password.
type Password struct {
	users PasswordUsers
	now   func() time.Time
	tries *throttle
}

// NewPassword returns the area for one's own password.
func NewPassword(users PasswordUsers, now func() time.Time) *Password {
	return &Password{users: users, now: now, tries: newThrottle(5, 10*time.Second)}
}

// Routes registers the page of one's own password.
func (h *Password) Routes(r *web.Router) {
	r.Tenant.GET("/settings/password", h.show)
	r.Tenant.POST("/settings/password", h.change)
}

func (h *Password) show(c echo.Context) error { return h.page(c, http.StatusOK, pages.Password{}) }

func (h *Password) page(c echo.Context, status int, v pages.Password) error {
	v.Login = web.User(c).Login
	return web.Page(c, status, layout.Page{Title: "Your password", Area: layout.Settings}, pages.PasswordPage(v))
}

// change sets the password. The user's sessions end with it, but this one begins again.
func (h *Password) change(c echo.Context) error {
	ctx, u := c.Request().Context(), web.User(c)
	current, password, repeat := c.FormValue("current"), c.FormValue("new"), c.FormValue("repeat")
	if wait := h.tries.take(u.Login, h.now()); wait > 0 {
		return h.page(c, http.StatusTooManyRequests, pages.Password{Problem: tooMany(c, wait)})
	}
	matches, err := passwordMatches(ctx, u.PasswordHash, current)
	if err != nil {
		return err
	}
	var wrong []fault.Field
	if matches {
		h.tries.forget(u.Login)
	} else {
		wrong = append(wrong, fault.Field{Name: "current", Message: "This is not your password."})
	}
	hash, more, err := newPassword(ctx, "new", password, repeat)
	if err != nil {
		return err
	}
	if wrong = append(wrong, more...); len(wrong) > 0 {
		return h.page(c, http.StatusUnprocessableEntity, pages.Password{
			Problem: "The password was not changed, see below.", Errors: components.ErrorsOf(wrong),
		})
	}
	if err := h.users.SetPassword(ctx, u.Login, hash, web.Actor(c)); err != nil {
		return err
	}
	changed, err := h.users.User(ctx, u.Login) // with the credentials that it has now
	if err != nil {
		return err
	}
	if err := web.SignIn(c, changed); err != nil {
		return err
	}
	return web.Redirect(c, "/settings/password", "Your password is changed. Your other sessions have ended.")
}

// newPassword hashes a password that was typed twice, unless something is wrong with the field called name, or with repeat.
func newPassword(ctx context.Context, name, password, repeat string) (hash string, wrong []fault.Field, err error) {
	if password != repeat {
		wrong = append(wrong, fault.Field{Name: "repeat", Message: "The two passwords differ."})
	}
	hash, err = hashPassword(ctx, password)
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Kind == fault.Invalid {
		return "", append(wrong, fault.Field{Name: name, Message: web.Sentence(f.Message)}), nil
	}
	return hash, wrong, err
}
