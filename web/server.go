// Package web is the HTTP server: its listener, middleware, time-outs and graceful stop, and the endpoints that tell
// machines how the process is.
package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// Config says what to serve.
type Config struct {
	Listen        string       // address of the main listener
	MetricsListen string       // address of a listener for /metrics alone; empty: none
	MetricsToken  string       // bearer token for /metrics on the main listener; empty: not served there
	Metrics       http.Handler // answers /metrics
	Checks        []Check      // what must work for the process to be ready
	Log           *slog.Logger
	Listening     func(addr net.Addr) // called once the main listener is open
}

// Check is a component that can be asked whether it works.
type Check struct {
	Name string
	Run  func(ctx context.Context) error
}

// Limits that keep slow or greedy clients from holding on to us.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = time.Minute
	writeTimeout      = time.Minute
	idleTimeout       = 2 * time.Minute
	checkTimeout      = 5 * time.Second
	stopTimeout       = 10 * time.Second
	bodyLimit         = "1M"
)

// Serve serves until ctx ends, then finishes the requests it has.
func Serve(ctx context.Context, c Config) error {
	e := newEcho(c.Log)
	probes := []string{http.MethodGet, http.MethodHead} // as load balancers ask
	e.Match(probes, "/healthz", healthz)
	e.Match(probes, "/healthcheck", healthz) // where CloudKitty has it
	e.Match(probes, "/readyz", readyz(c.Checks, c.Log))
	if c.MetricsToken != "" {
		e.GET("/metrics", echo.WrapHandler(c.Metrics), bearer(c.MetricsToken))
	}
	servers := []*http.Server{newServer(c.Listen, e)}
	if c.MetricsListen != "" {
		m := newEcho(c.Log)
		m.GET("/metrics", echo.WrapHandler(c.Metrics))
		servers = append(servers, newServer(c.MetricsListen, m))
	}

	failed := make(chan error, len(servers))
	for i, s := range servers {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Addr)
		if err != nil {
			for _, open := range servers[:i] {
				_ = open.Close()
			}
			return fmt.Errorf("can't listen on %s: %w", s.Addr, err)
		}
		if i == 0 && c.Listening != nil {
			c.Listening(listener.Addr())
		}
		go func() { failed <- s.Serve(listener) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	for _, s := range servers {
		if e := s.Shutdown(stop); err == nil {
			err = e
		}
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

func newServer(addr string, h http.Handler) *http.Server {
	return &http.Server{
		Addr: addr, Handler: h,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
	}
}

func newEcho(log *slog.Logger) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		if c.Response().Committed {
			return
		}
		code, text := http.StatusInternalServerError, ""
		if h, ok := errors.AsType[*echo.HTTPError](err); ok {
			code = h.Code
		} else {
			log.Error("a request failed", "path", c.Path(), "error", err)
		}
		text = http.StatusText(code)
		_ = c.String(code, text+"\n") // the client has gone: nobody is left to tell
	}
	e.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{LogErrorFunc: func(c echo.Context, err error, stack []byte) error {
		log.Error("a request panicked", "path", c.Path(), "error", err, "stack", string(stack))
		return echo.ErrInternalServerError
	}}), middleware.BodyLimit(bodyLimit))
	return e
}

// healthz says that the process runs.
func healthz(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }

// readyz says which components work, by name only: error texts are for the log.
func readyz(checks []Check, log *slog.Logger) echo.HandlerFunc {
	return func(c echo.Context) error {
		ctx, cancel := context.WithTimeout(c.Request().Context(), checkTimeout)
		defer cancel()
		code, states := http.StatusOK, map[string]string{}
		for _, check := range checks {
			states[check.Name] = "ok"
			if err := check.Run(ctx); err != nil {
				log.Warn("a component is not ready", "component", check.Name, "error", err)
				states[check.Name], code = "not ready", http.StatusServiceUnavailable
			}
		}
		c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
		return c.JSON(code, states)
	}
}

// bearer lets only requests with the token pass.
func bearer(token string) echo.MiddlewareFunc {
	want := sha256.Sum256([]byte(token))
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			got, ok := strings.CutPrefix(c.Request().Header.Get(echo.HeaderAuthorization), "Bearer ")
			sum := sha256.Sum256([]byte(got))
			if !ok || subtle.ConstantTimeCompare(sum[:], want[:]) != 1 {
				c.Response().Header().Set(echo.HeaderWWWAuthenticate, `Bearer realm="ratebook"`)
				return echo.ErrUnauthorized
			}
			return next(c)
		}
	}
}
