package web

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
)

// version is an API that names itself in errors and reads what it is sent.
func version(name string) API {
	return API{
		Version: name, Status: "CURRENT",
		Routes: func(g *echo.Group) {
			g.POST("/read", func(c echo.Context) error {
				if err := c.Request().Body.Close(); err != nil {
					return err
				}
				return c.NoContent(http.StatusNoContent)
			})
		},
		Bare: func(echo.Context) error { return echo.ErrMethodNotAllowed },
		Fail: func(c echo.Context, err error) error {
			status := http.StatusInternalServerError
			if h, ok := errors.AsType[*echo.HTTPError](err); ok {
				status = h.Code
			}
			return c.String(status, name)
		},
	}
}

// TestAPIFails: whatever is wrong with a request to an API, also what is found before its routes are looked at, is told by
// that API in its form, and only then.
func TestAPIFails(t *testing.T) {
	h, err := New(Config{
		APIs: []API{version("v1"), version("v2")}, Authenticator: NoAuth{Host: "example.com"}, // as httptest has it
		Description: func(c echo.Context) error { return c.JSON(http.StatusOK, "all") },
	})
	if err != nil {
		t.Fatal(err)
	}
	long, large := "?"+strings.Repeat("x", queryLimit+1), strings.Repeat("x", 5<<20)
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/v1/read", "", 204, ""},
		{"POST", "/v1/read" + long, "", 414, "v1"},
		{"POST", "/v2/read" + long, "", 414, "v2"},
		{"POST", "/v1/read", large, 413, "v1"},
		{"POST", "/v2/read", large, 413, "v2"},
		{"POST", "/v2/nothing", large, 413, "v2"},
		{"GET", "/v1" + long, "", 414, "v1"},
		{"GET", "/v1", "", 405, "v1"},
		{"GET", "/v2/nothing", "", 404, "v2"},
		{"GET", "/v22", "", 404, "Not Found\n"},
		{"GET", "/" + long, "", 414, "Request URI Too Long: The address is longer than 16 KB, which nothing here takes. Ask for less at once.\n"},
		{"GET", "/api/openapi.json", "", 200, "\"all\"\n"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body)))
		if w.Code != c.status || w.Body.String() != c.want {
			t.Errorf("%s %.20s with %d bytes: %d %s, want %d %s", c.method, c.path, len(c.body), w.Code, w.Body, c.status, c.want)
		}
	}
}
