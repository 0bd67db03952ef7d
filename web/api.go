package web

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"ratebook/access"
	"ratebook/fault"
)

// API is an interface for programs: everything below a path of its own. Its requests have no session and no pages, and it
// answers errors in its own form.
type API struct {
	Version string // its path is /VERSION
	Status  string // that CloudKitty says of it: CURRENT, EXPERIMENTAL

	// Routes registers what the API answers, by paths below its own. Whatever is registered needs a Caller.
	Routes func(g *echo.Group)

	// Bare answers a request for the API's path itself, which needs no caller.
	Bare echo.HandlerFunc

	// Fail answers with an error, a fault.Error or an echo.HTTPError. Texts of other errors are none of the caller's business.
	Fail func(c echo.Context, err error) error
}

// Authenticator finds out who asks over the API.
type Authenticator interface {
	// Authenticate returns who asks. The error is Unauthenticated if the request doesn't say so in a way that can be
	// believed, and Unavailable if that can't be found out just now.
	Authenticate(r *http.Request) (*access.Caller, error)

	// Challenge is the header WWW-Authenticate of an answer to who is not authenticated.
	Challenge() string
}

// Caller returns who asks over the API; nil outside of it.
func Caller(c echo.Context) *access.Caller {
	who, _ := c.Get("caller").(*access.Caller)
	return who
}

// The most bytes of a request's body: of most requests, and of data frames, of which a thousand points take half a megabyte.
const (
	apiBodyLimit    = "4M"
	framesBodyLimit = "256M"
	framesPath      = "/v2/dataframes"
)

// identities are headers that say who asks to whoever believes them. Nobody here does.
var identities = []string{"X-User-Id", "X-User", "X-Roles", "X-Role", "X-Domain-Id", "X-Identity-Status", "X-Is-Admin-Project", "X-Service-Roles"}

// apiHandler answers the requests to the APIs, and, for who wants no page, to the root.
func (s *site) apiHandler() http.Handler {
	e := s.newEcho()
	e.Use(s.begin, s.numbered, s.marked, s.logged, s.compressed(), s.translated, s.recovered(), s.shared(), s.sameSite, short, s.bounded(), s.timed)
	e.GET("/", s.versions)
	s.bare(e, "/healthcheck", healthz)
	if s.Description != nil {
		e.GET(descriptionPath, s.Description)
	}
	for _, a := range s.APIs {
		path := "/" + a.Version
		e.Any(path, a.Bare)
		a.Routes(e.Group(path, s.called))
	}
	return e
}

// descriptionPath is where the APIs are described.
const descriptionPath = "/api/openapi.json"

// marked notes which of the APIs a request is to, so that this one answers if it fails.
func (s *site) marked(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if i := slices.IndexFunc(s.APIs, func(a API) bool { return a.has(c.Request().URL.Path) }); i >= 0 {
			c.Set("api", &s.APIs[i])
		}
		return next(c)
	}
}

// has reports whether a path is the API's, or below it.
func (a *API) has(path string) bool {
	rest, ok := strings.CutPrefix(path, "/"+a.Version)
	return ok && (rest == "" || rest[0] == '/')
}

// programs reports whether a request is for the APIs.
func (s *site) programs(r *http.Request) bool {
	if len(s.APIs) == 0 {
		return false
	}
	if r.URL.Path == "/" {
		return !strings.Contains(r.Header.Get(echo.HeaderAccept), echo.MIMETextHTML) && r.Header.Get("HX-Request") == ""
	}
	return slices.ContainsFunc(s.APIs, func(a API) bool { return a.has(r.URL.Path) })
}

// numbered gives the request's number as OpenStack has it, too.
func (s *site) numbered(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set("X-Openstack-Request-Id", "req-"+uuid.NewString())
		c.Response().Header().Add(echo.HeaderVary, "Accept")
		return next(c)
	}
}

// shared lets pages of the allowed origins ask.
func (s *site) shared() echo.MiddlewareFunc {
	headers := []string{
		"X-Auth-Token", "X-Subject-Token", "X-Roles", "X-User-Id", "X-Domain-Id", "X-Project-Id", "X-Tenant-Id",
		"X-OpenStack-Request-ID",
	}
	if len(s.AllowedOrigins) == 0 {
		return func(next echo.HandlerFunc) echo.HandlerFunc { return next }
	}
	return middleware.CORSWithConfig(middleware.CORSConfig{
		AllowOrigins:  s.AllowedOrigins,
		AllowMethods:  []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodPatch},
		AllowHeaders:  append([]string{echo.HeaderContentType, echo.HeaderAuthorization, "Idempotency-Key"}, headers...),
		ExposeHeaders: headers,
		MaxAge:        3600,
	})
}

// sameSite refuses what another site makes a browser send, unless that site is allowed to.
func (s *site) sameSite(next echo.HandlerFunc) echo.HandlerFunc {
	checked := s.sameOrigin(next)
	return func(c echo.Context) error {
		origin := c.Request().Header.Get(echo.HeaderOrigin)
		if origin != "" && (slices.Contains(s.AllowedOrigins, origin) || slices.Contains(s.AllowedOrigins, "*")) {
			return next(c)
		}
		return checked(c)
	}
}

// bounded refuses bodies that are too long.
func (s *site) bounded() echo.MiddlewareFunc {
	most, frames := middleware.BodyLimit(apiBodyLimit), middleware.BodyLimit(framesBodyLimit)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		usual, large := most(next), frames(next)
		return func(c echo.Context) error {
			if c.Request().URL.Path == framesPath {
				return large(c)
			}
			return usual(c)
		}
	}
}

// called finds out who asks. What the request says of that in headers that a proxy of CloudKitty's would set is not believed.
func (s *site) called(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().Method == http.MethodOptions { // says nothing and changes nothing
			return c.NoContent(http.StatusOK)
		}
		for _, name := range identities {
			c.Request().Header.Del(name)
		}
		who, err := s.Authenticator.Authenticate(c.Request())
		if err != nil {
			if fault.KindOf(err) == fault.Unauthenticated {
				c.Response().Header().Set(echo.HeaderWWWAuthenticate, s.Authenticator.Challenge())
			}
			return err
		}
		c.Set("caller", who)
		return next(c)
	}
}

// versions lists the APIs, in CloudKitty's words.
func (s *site) versions(c echo.Context) error {
	type versionLink struct {
		Href string `json:"href"`
		Rel  string `json:"rel"`
	}
	type apiVersion struct {
		ID     string        `json:"id"`
		Links  []versionLink `json:"links"`
		Status string        `json:"status"`
	}
	all := []apiVersion{}
	for _, a := range s.APIs {
		all = append(all, apiVersion{ID: a.Version, Links: []versionLink{{Href: s.origin(c) + "/" + a.Version, Rel: "self"}}, Status: a.Status})
	}
	return c.JSON(http.StatusOK, map[string]any{"versions": all})
}

// origin is where the client finds us, without a slash at the end.
func (s *site) origin(c echo.Context) string {
	if s.BaseURL != nil {
		return strings.TrimRight(s.BaseURL.String(), "/")
	}
	u := url.URL{Scheme: "http", Host: c.Request().Host}
	if s.secure(c.Request()) {
		u.Scheme = "https"
	}
	return u.String()
}

// Origin returns where the client finds us, such as https://billing.example/ratebook, without a slash at the end.
func Origin(c echo.Context) string { return of(c).site.origin(c) }

// Tokens knows the secrets that let programs in.
type Tokens interface {
	// Token returns the token whose secret has the digest, and notes that it was used; the error is NotFound if there is none.
	Token(ctx context.Context, digest []byte) (access.Token, error)
}
