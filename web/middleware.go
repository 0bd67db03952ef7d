package web

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/views/link"
)

// policy lets pages use what comes from this server, and nothing that stands in the page itself.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

var idPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// begin gives a request its number and an answer the headers that all have.
func (s *site) begin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		v := &visit{site: s, id: c.Request().Header.Get(echo.HeaderXRequestID)}
		if !s.trusted(c.Request()) || !idPattern.MatchString(v.id) {
			v.id = rand.Text()
		}
		c.Set("visit", v)
		c.SetRequest(c.Request().WithContext(link.WithBase(c.Request().Context(), s.base)))
		h := c.Response().Header()
		h.Set(echo.HeaderXRequestID, v.id)
		h.Set(echo.HeaderContentSecurityPolicy, policy)
		h.Set(echo.HeaderXContentTypeOptions, "nosniff")
		h.Set(echo.HeaderReferrerPolicy, "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set(echo.HeaderCacheControl, "no-store") // what may be kept says so
		if s.https {
			h.Set(echo.HeaderStrictTransportSecurity, "max-age=31536000")
		}
		return next(c)
	}
}

// trusted reports whether a request comes from a proxy of ours.
func (s *site) trusted(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	for _, p := range s.TrustedProxies {
		if p.Contains(from.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// secure reports whether the browser came by https.
func (s *site) secure(r *http.Request) bool {
	return s.https || r.TLS != nil || s.trusted(r) && r.Header.Get(echo.HeaderXForwardedProto) == "https"
}

// statusGone is in the log where a client left before it had its answer, as nginx has it.
const statusGone = 499

// logged writes a line about each request; about what users typed, it says nothing.
func (s *site) logged(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		begun := time.Now()
		defer func() { // also when the connection is broken off
			level := slog.LevelInfo
			if s.machines[c.Path()] {
				level = slog.LevelDebug
			}
			status := c.Response().Status
			if of(c).gone {
				status = statusGone
			}
			s.log.Log(c.Request().Context(), level, "request", "method", c.Request().Method, "route", c.Path(), "status", status,
				"bytes", c.Response().Size, "took_ms", time.Since(begun).Milliseconds(), "request_id", of(c).id, "user", Actor(c))
		}()
		return next(c)
	}
}

// compressed compresses pages and streams, unless they are tiny.
func (s *site) compressed() echo.MiddlewareFunc {
	return middleware.GzipWithConfig(middleware.GzipConfig{
		MinLength: 1024,
		Skipper: func(c echo.Context) bool {
			return s.machines[c.Path()] || strings.HasPrefix(c.Request().Header.Get(echo.HeaderAccept), eventStream)
		},
	})
}

// translated turns an error into an answer.
func (s *site) translated(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := next(c); err != nil {
			s.fail(err, c)
		}
		return nil
	}
}

// recovered turns a panic into an error, except http.ErrAbortHandler, which breaks the connection off.
func (s *site) recovered() echo.MiddlewareFunc {
	return middleware.RecoverWithConfig(middleware.RecoverConfig{
		DisableErrorHandler: true,
		DisableStackAll:     true,
		LogErrorFunc: func(c echo.Context, err error, stack []byte) error {
			s.log.Error("a request panicked", "path", c.Path(), "error", err, "stack", string(stack), "request_id", of(c).id)
			return errPanicked
		},
	})
}

var errPanicked = errors.New("it panicked")

// sameOrigin refuses what another site makes a browser send, going by what browsers say of themselves.
func (s *site) sameOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := s.cross.Check(c.Request()); err != nil {
			return fault.Wrap(fault.Forbidden, err, "another site made your browser send this, so it was not done; if it was you, open Ratebook itself and try again")
		}
		return next(c)
	}
}

// short refuses a query that is too long to be one of ours.
func short(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if len(c.Request().URL.RawQuery) > queryLimit {
			return echo.NewHTTPError(http.StatusRequestURITooLong)
		}
		return next(c)
	}
}

// parsed reads forms, since FormValue would take one that is too long or broken for one that is shorter.
func parsed(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if strings.HasPrefix(c.Request().Header.Get(echo.HeaderContentType), echo.MIMEApplicationForm) {
			if err := c.Request().ParseForm(); err != nil {
				if h, ok := errors.AsType[*echo.HTTPError](err); ok {
					return h
				}
				return echo.NewHTTPError(http.StatusBadRequest).SetInternal(err)
			}
		}
		return next(c)
	}
}

// timed gives a request up that takes too long. Its context is cancelled then, unless Stream stopped the timer.
func (s *site) timed(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		r := c.Request()
		ctx, cancel := context.WithCancelCause(r.Context())
		timer := time.AfterFunc(pageTimeout, func() { cancel(context.DeadlineExceeded) })
		defer func() {
			timer.Stop()
			late := errors.Is(context.Cause(ctx), context.DeadlineExceeded)
			cancel(nil)
			c.SetRequest(r) // an error page needs a context that goes on
			if late && err != nil && fault.KindOf(err) == fault.Internal {
				err = fault.Wrap(fault.Unavailable, err, "this took longer than %.0f s and was given up; ask for less, or try again later", pageTimeout.Seconds())
			}
		}()
		of(c).timer = timer
		c.SetRequest(r.WithContext(ctx))
		return next(c)
	}
}

// needs lets only those pass who may do what a role may.
func needs(role access.Role) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			u := User(c)
			if u == nil {
				return fault.New(fault.Unauthenticated, "sign in first")
			}
			if !u.May(role) {
				return fault.New(fault.Forbidden, "this needs the role %s, and yours is %s; an admin can give you another role", role, u.Role)
			}
			return next(c)
		}
	}
}

// Stream prepares an answer that may take as long as it is read: no time-out ends it, except that the client must take
// something within a minute of each write. It returns the context to work with, which ends when the client goes away.
// An error returned after the first write breaks the connection off, so that the client sees that the answer is incomplete.
func Stream(c echo.Context) context.Context {
	if timer := of(c).timer; timer != nil {
		timer.Stop()
	}
	w := &patient{ResponseWriter: c.Response().Writer, control: http.NewResponseController(c.Response().Writer)}
	_ = w.control.SetReadDeadline(time.Time{}) // a recorder in a test has no deadlines; a connection has
	w.extend()
	c.Response().Writer = w
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return c.Request().Context()
}

// patient gives each write its own time.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
	since   time.Time // the deadline was set
}

func (w *patient) extend() {
	if now := time.Now(); now.Sub(w.since) > time.Second { // not for every line
		_ = w.control.SetWriteDeadline(now.Add(writeTimeout))
		w.since = now
	}
}

// Write writes b.
func (w *patient) Write(b []byte) (int, error) {
	w.extend()
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *patient) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush sends what was written so far.
func (w *patient) Flush() {
	w.extend()
	_ = w.control.Flush()
}
