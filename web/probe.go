package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// Check is a component that can be asked whether it works.
type Check struct {
	Name string
	Run  func(ctx context.Context) error
}

// healthz says that the process runs.
func healthz(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }

// readyz says which components work, by name only: error texts are for the log. Once we stop, nothing more should come.
func (s *site) readyz(c echo.Context) error {
	if s.stopping() {
		return c.JSON(http.StatusServiceUnavailable, map[string]string{"server": "stopping"})
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), checkTimeout)
	defer cancel()
	code, states := http.StatusOK, map[string]string{}
	for _, check := range s.Checks {
		states[check.Name] = "ok"
		if err := check.Run(ctx); err != nil {
			s.log.Warn("a component is not ready", "component", check.Name, "error", err)
			states[check.Name], code = "not ready", http.StatusServiceUnavailable
		}
	}
	return c.JSON(code, states)
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
