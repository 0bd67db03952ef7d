package web

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/static"
	"ratebook/views/layout"
)

// site is what all requests share.
type site struct {
	Config
	base     string // path below which everything lives, such as /ratebook; empty: the root
	https    bool   // browsers come by https
	log      *slog.Logger
	cross    *http.CrossOriginProtection
	sessions *scs.SessionManager // nil: nobody can sign in
	assets   assets
	machines map[string]bool // routes that programs ask: without session, page or compression
	stop     chan struct{}   // closed when we stop
	streams  streams
	beat     time.Duration // between two signs of life of a stream
}

// visit is one request.
type visit struct {
	site   *site
	id     string
	timer  *time.Timer // that gives the request up; nil: none does
	notice *layout.Notice
	asked  bool // notice is known
	gone   bool // the client is, before it had its answer
}

// of returns what belongs to the request; outside of a site, as in some tests, nothing does.
func of(c echo.Context) *visit {
	if v, ok := c.Get("visit").(*visit); ok {
		return v
	}
	v := &visit{site: &site{log: slog.New(slog.DiscardHandler), beat: heartbeat}}
	c.Set("visit", v)
	return v
}

var basePattern = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*$`)

func newSite(c Config) (*site, error) {
	s := &site{
		Config: c, log: c.Log, cross: http.NewCrossOriginProtection(), machines: map[string]bool{}, https: c.TLSCert != "",
		stop: make(chan struct{}), beat: heartbeat,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.Version += build()
	if u := c.BaseURL; u != nil {
		if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return nil, fault.New(fault.Invalid, "%q can't be the base URL; it looks like https://example.org/ratebook", u.Redacted())
		}
		if s.base, s.https = strings.TrimRight(u.Path, "/"), u.Scheme == "https"; !basePattern.MatchString(s.base) {
			return nil, fault.New(fault.Invalid, "the path of the base URL %q may have only letters, digits and . _ ~ -", u.Redacted())
		}
		if err := s.cross.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "%q can't be the base URL", u.Redacted())
		}
	}
	if c.Sessions != nil {
		// not scs.New, whose default store has a goroutine that never ends
		s.sessions = &scs.SessionManager{Store: c.Sessions, Codec: scs.GobCodec{}, Lifetime: sessionLifetime, HashTokenInStore: true}
	}
	return s, nil
}

// build tells builds of the same version apart, since their pages may differ.
func build() string {
	path, err := os.Executable()
	if err == nil {
		var info os.FileInfo
		if info, err = os.Stat(path); err == nil {
			return fmt.Sprint(info.Size(), " ", info.ModTime().UnixNano())
		}
	}
	return time.Now().String()
}

func (s *site) newEcho() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = s.fail
	e.IPExtractor = echo.ExtractIPDirect()
	if len(s.TrustedProxies) > 0 {
		trust := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
		for _, p := range s.TrustedProxies {
			p = p.Masked()
			trust = append(trust, echo.TrustIPRange(&net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}))
		}
		e.IPExtractor = echo.ExtractIPFromXFFHeader(trust...)
	}
	return e
}

// handler answers the requests to the main listener. The order of what surrounds a handler matters: a panic or an error
// becomes an answer inside of what logs and compresses answers, and everything that may fail happens inside of that.
func (s *site) handler() http.Handler {
	e := s.newEcho()
	e.Use(s.begin, s.logged, s.compressed(), s.translated, s.recovered(), s.sameOrigin, short,
		middleware.BodyLimit(bodyLimit), parsed, s.timed, s.session)

	s.bare(e, "/healthz", healthz)
	s.bare(e, "/healthcheck", healthz) // where CloudKitty has it
	s.bare(e, "/readyz", s.readyz)
	if s.MetricsToken != "" {
		s.bare(e, scraped, echo.WrapHandler(s.Metrics), bearer(s.MetricsToken))
	} else {
		s.bare(e, scraped, echo.NotFoundHandler)
	}
	s.bare(e, static.Prefix+"*", s.assets.get)
	s.bare(e, "/favicon.ico", favicon)
	s.bare(e, "/robots.txt", robots)

	if s.Description != nil {
		e.GET(descriptionPath, s.Description)
	}

	r := &Router{
		Anyone: e.Group(""),
		Tenant: e.Group("", needs(access.Tenant)), Viewer: e.Group("", needs(access.Viewer)),
		Operator: e.Group("", needs(access.Operator)), Admin: e.Group("", needs(access.Admin)),
	}
	for _, a := range s.Areas {
		a.Routes(r)
	}
	// echo's groups have each made their role necessary to learn that there is nothing
	e.RouteNotFound("", nothing(e))
	e.RouteNotFound("/*", nothing(e))
	if len(s.APIs) == 0 || s.APIListen != "" {
		return s.outermost(e)
	}
	api := s.apiHandler()
	return s.outermost(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.programs(r) {
			api.ServeHTTP(w, r)
			return
		}
		if r.URL.Path == "/" {
			w.Header().Add(echo.HeaderVary, echo.HeaderAccept)
		}
		e.ServeHTTP(w, r)
	}))
}

// bare registers a route that programs ask.
func (s *site) bare(e *echo.Echo, path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) {
	s.machines[path] = true
	e.Match([]string{http.MethodGet, http.MethodHead}, path, h, m...)
}

// nothing answers what no route does: there is no such page, or it can't be asked for with this method.
func nothing(e *echo.Echo) echo.HandlerFunc {
	return func(c echo.Context) error {
		var allow []string
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			other := e.AcquireContext()
			if e.Router().Find(method, echo.GetPath(c.Request()), other); other.Path() != c.Path() {
				allow = append(allow, method)
			}
			e.ReleaseContext(other)
		}
		if len(allow) == 0 {
			return echo.ErrNotFound
		}
		c.Response().Header().Set(echo.HeaderAllow, strings.Join(allow, ", "))
		return echo.ErrMethodNotAllowed
	}
}

// scraped is where requests of programs for /metrics are answered. Browsers find the page about metrics there.
const scraped = "/-/metrics"

// scrapes reports whether a program asks, and not a browser.
func scrapes(r *http.Request) bool {
	h := r.Header
	return strings.HasPrefix(h.Get(echo.HeaderAuthorization), "Bearer ") ||
		h.Get("Cookie") == "" && h.Get("HX-Request") == "" && !strings.Contains(h.Get(echo.HeaderAccept), echo.MIMETextHTML)
}

// outermost takes the base path off a request, unless a proxy did, lets pages be asked for with HEAD, and tells the two
// meanings of /metrics apart.
func (s *site) outermost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(r.Context()) // a copy
		u := *r.URL
		var ok bool
		if u.Path, ok = strings.CutPrefix(u.Path, s.base); ok && (u.Path == "" || u.Path[0] == '/') {
			u.RawPath = strings.TrimPrefix(u.RawPath, s.base) // net/url ignores it if it doesn't fit Path
			if u.Path == "" {
				u.Path = "/"
			}
			r.URL = &u
		}
		if r.URL.Path == "/metrics" && scrapes(r) {
			r.URL = &url.URL{Path: scraped}
		}
		if r.Method == http.MethodHead { // the server, which knows the method, leaves the body out
			r.Method = http.MethodGet
		}
		next.ServeHTTP(w, r)
	})
}
