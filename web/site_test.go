package web

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/a-h/templ"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/static"
	"ratebook/views/layout"
)

// people are users in memory.
type people struct {
	mu    sync.Mutex
	users map[string]access.User
	err   error // if set, the database is down
}

func (p *people) User(_ context.Context, login string) (access.User, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u, ok := p.users[login]
	if p.err == nil && !ok {
		return u, fault.New(fault.NotFound, "there is no user %q", login)
	}
	return u, p.err
}

func (p *people) change(login string, f func(u *access.User)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.users[login]
	f(&u)
	p.users[login] = u
}

// routes is an area made of a function.
type routes func(r *Router)

func (f routes) Routes(r *Router) { f(r) }

// say is a body with a fragment.
func say(text string) templ.Component {
	return templ.ComponentFunc(func(ctx context.Context, w io.Writer) error {
		if _, err := io.WriteString(w, "<p>around</p>"); err != nil {
			return err
		}
		part := templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
			_, err := io.WriteString(w, `<p id="part">`+templ.EscapeString(text)+"</p>")
			return err
		})
		return templ.Fragment("part").Render(templ.WithChildren(ctx, part), w)
	})
}

var errSecret = errors.New("secret of the database")

// area has a route for each thing to be tested.
func area(p *people) routes {
	page := func(c echo.Context) error {
		return Page(c, http.StatusOK, layout.Page{Title: "A <page>"}, say("for "+Actor(c)), "part")
	}
	return func(r *Router) {
		r.Anyone.GET("/open", page)
		r.Tenant.GET("/tenant", page)
		r.Operator.GET("/operator", page)
		r.Operator.POST("/operator", page)
		r.Anyone.GET("/sign-in", page)
		r.Anyone.POST("/in/:login", func(c echo.Context) error {
			u, err := p.User(c.Request().Context(), c.Param("login"))
			if err != nil {
				return err
			}
			if err := SignIn(c, u); err != nil {
				return err
			}
			return Redirect(c, "/tenant", c.FormValue("flash"))
		})
		r.Anyone.POST("/out", func(c echo.Context) error {
			if err := SignOut(c); err != nil {
				return err
			}
			return Redirect(c, "/open", "")
		})
		r.Anyone.POST("/theme/:theme", func(c echo.Context) error {
			SetTheme(c, c.Param("theme"))
			return Redirect(c, "/open", "")
		})
		r.Anyone.GET("/kept", func(c echo.Context) error {
			if NotModified(c, c.QueryParam("version")) {
				return nil
			}
			return page(c)
		})
		fail := func(c echo.Context) error {
			c.Response().Header().Set(echo.HeaderContentType, "text/csv")
			c.Response().Header().Set(echo.HeaderContentDisposition, "attachment")
			switch c.Param("how") {
			case "internal":
				return fault.Wrap(fault.Internal, errSecret, "secret message")
			case "foreign":
				return errSecret
			case "invalid":
				return &fault.Error{Kind: fault.Invalid, Message: "the range is wrong", Fields: []fault.Field{{Name: "from", Message: "is no day"}}, Err: errSecret}
			case "notfound":
				return fmt.Errorf("around: %w", fault.Wrap(fault.NotFound, errSecret, "there is no scope 7"))
			case "conflict":
				return fault.Wrap(fault.Conflict, errSecret, "there is one")
			case "forbidden":
				return fault.Wrap(fault.Forbidden, errSecret, "not yours")
			case "unauthenticated":
				return fault.Wrap(fault.Unauthenticated, errSecret, "sign in first")
			case "unavailable":
				return fault.Wrap(fault.Unavailable, errSecret, "no answer")
			case "teapot":
				return fmt.Errorf("around: %w", echo.NewHTTPError(http.StatusTeapot, "secret tea").SetInternal(errSecret))
			case "network":
				return fmt.Errorf("store: %w", &net.OpError{Op: "dial", Net: "tcp", Err: errSecret})
			case "deadline":
				return fmt.Errorf("reading: %w", context.DeadlineExceeded)
			}
			panic("secret panic")
		}
		r.Anyone.GET("/fail/:how", fail)
		r.Anyone.POST("/fail/:how", fail)
		r.Anyone.GET("/echo", func(c echo.Context) error {
			return c.JSON(http.StatusOK, map[string]any{"ip": c.RealIP(), "secure": of(c).site.secure(c.Request())})
		})
		r.Anyone.POST("/form", func(c echo.Context) error { return c.String(http.StatusOK, c.FormValue("field")) })
	}
}

// fixture is a site with a browser.
type fixture struct {
	*testing.T
	url    string
	people *people
	log    *record
	client *http.Client
}

func newFixture(t *testing.T, change func(c *Config), more ...Area) *fixture {
	t.Helper()
	f := &fixture{T: t, log: new(record), people: &people{users: map[string]access.User{
		"ada": {Login: "ada", Role: access.Admin}, "tess": {Login: "tess", Role: access.Tenant},
	}}}
	c := Config{
		Sessions: memstore.NewWithCleanupInterval(0), Users: f.people, Version: "1", Areas: append([]Area{area(f.people)}, more...),
		Log: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&c)
	}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	f.url, f.client = s.URL, s.Client()
	f.client.Jar, _ = cookiejar.New(nil)
	f.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return f
}

// reply is an answer without its body.
type reply struct {
	StatusCode int
	Header     http.Header
	Cookies    []*http.Cookie
}

// ask sends a request with headers given as name, value, ...
func (f *fixture) ask(method, path string, form url.Values, headers ...string) (reply, string) {
	f.Helper()
	r, err := http.NewRequestWithContext(f.Context(), method, f.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		f.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("Accept", "text/html")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := f.client.Do(r)
	if err != nil {
		f.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		f.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, res.Cookies()}, string(b)
}

func (f *fixture) get(path string, headers ...string) (reply, string) {
	f.Helper()
	return f.ask(http.MethodGet, path, nil, headers...)
}

func (f *fixture) post(path string, form url.Values, headers ...string) (reply, string) {
	f.Helper()
	return f.ask(http.MethodPost, path, form, headers...)
}

// status checks that a page answers with a status.
func (f *fixture) status(path string, want int) {
	f.Helper()
	if res, body := f.get(path); res.StatusCode != want {
		f.Errorf("%s: %d, want %d: %s", path, res.StatusCode, want, body)
	}
}

// logs waits until the log says something.
func (f *fixture) logs(text string) {
	f.Helper()
	deadline := time.After(10 * time.Second)
	for !f.log.has(text) {
		select {
		case <-deadline:
			f.Fatalf("the log lacks %q", text)
		case <-time.After(time.Millisecond):
		}
	}
}

func isFull(body string) bool { return strings.Contains(strings.ToLower(body), "<!doctype html>") }

var htmx = []string{"HX-Request", "true"}

func TestHeaders(t *testing.T) {
	f := newFixture(t, nil)
	for _, path := range []string{"/open", "/nothing", "/healthz", "/robots.txt", "/fail/internal"} {
		res, _ := f.get(path)
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
				"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
			"Strict-Transport-Security": "",
		} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if len(res.Header.Get("X-Request-Id")) < 20 {
			t.Errorf("%s: no request id", path)
		}
	}
	base, _ := url.Parse("https://example.org")
	f = newFixture(t, func(c *Config) { c.BaseURL = base })
	if res, _ := f.get("/open"); res.Header.Get("Strict-Transport-Security") == "" {
		t.Error("https without HSTS")
	}
}

func TestPage(t *testing.T) {
	f := newFixture(t, nil)
	res, body := f.get("/open")
	if res.StatusCode != 200 || !isFull(body) || !strings.Contains(body, "A &lt;page&gt;") || !strings.Contains(body, "around") ||
		res.Header.Get("Content-Type") != "text/html; charset=UTF-8" || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v %s", res, body)
	}
	if vary := strings.Join(res.Header.Values("Vary"), ", "); !strings.Contains(vary, "HX-Request, Cookie") {
		t.Errorf("Vary is %q", vary)
	}
	_, body = f.get("/open", htmx...)
	if want := `<title>A &lt;page&gt; · Ratebook</title><p id="part">for </p>`; body != want {
		t.Errorf("the fragment is %q", body)
	}
	for _, whole := range []string{"HX-Boosted", "HX-History-Restore-Request"} {
		if _, body = f.get("/open", "HX-Request", "true", whole, "true"); !isFull(body) {
			t.Errorf("%s: %q", whole, body)
		}
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodHead, f.url+"/open", http.NoBody)
	head, err := f.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	head.Body.Close()
	if head.StatusCode != 200 {
		t.Errorf("HEAD: %d", head.StatusCode)
	}
}

// TestBrokenPage: a page that can't be rendered is an error, not half a page.
func TestBrokenPage(t *testing.T) {
	f := newFixture(t, nil, routes(func(r *Router) {
		r.Anyone.GET("/broken", func(c echo.Context) error {
			return Page(c, http.StatusOK, layout.Page{Title: "Broken"}, templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
				_, _ = io.WriteString(w, "half")
				return errSecret
			}))
		})
	}))
	if res, body := f.get("/broken"); res.StatusCode != 500 || strings.Contains(body, "half") || !isFull(body) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

func TestNotModified(t *testing.T) {
	f := newFixture(t, nil)
	res, _ := f.get("/kept?version=1")
	tag := res.Header.Get("ETag")
	if tag == "" || res.Header.Get("Cache-Control") != "private, no-cache" {
		t.Fatalf("got %v", res.Header)
	}
	again := func(want int, path string, headers ...string) {
		t.Helper()
		res, body := f.get(path, append(headers, "If-None-Match", `"other", `+tag)...)
		if res.StatusCode != want || (body == "") != (want == 304) {
			t.Errorf("%s %v: %d %q", path, headers, res.StatusCode, body)
		}
		if res.Header.Get("ETag") == "" || !strings.Contains(strings.Join(res.Header.Values("Vary"), ", "), "Cookie") {
			t.Errorf("got %v", res.Header)
		}
	}
	again(304, "/kept?version=1")
	again(200, "/kept?version=2")
	again(200, "/kept?version=1&x=y")
	again(200, "/kept?version=1", htmx...)
	f.post("/theme/dark", nil)
	again(200, "/kept?version=1")
	f.post("/theme/system", nil)
	again(304, "/kept?version=1")
	f.post("/in/ada", url.Values{"flash": {"Hello there."}})
	if res, body := f.get("/kept?version=1", "If-None-Match", tag); res.StatusCode != 200 || res.Header.Get("ETag") != "" ||
		res.Header.Get("Cache-Control") != "no-store" || !isFull(body) {
		t.Errorf("with a flash: %v", res)
	}
	again(200, "/kept?version=1") // as ada
}

func TestTheme(t *testing.T) {
	f := newFixture(t, nil)
	for _, c := range []struct{ choose, want string }{{"dark", "dark"}, {"light", "light"}, {"pink", ""}} {
		f.post("/theme/"+c.choose, nil)
		_, body := f.get("/open")
		doc, err := goquery.NewDocumentFromReader(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if got := doc.Find("html").AttrOr("data-theme", ""); got != c.want {
			t.Errorf("%s: %q", c.choose, got)
		}
	}
}

func TestSession(t *testing.T) {
	f := newFixture(t, nil)
	res, _ := f.get("/tenant?a=b&c=d")
	if at := res.Header.Get("Location"); res.StatusCode != 303 || at != "/sign-in?next=%2Ftenant%3Fa%3Db%26c%3Dd" {
		t.Errorf("%d %s", res.StatusCode, at)
	}
	if len(res.Cookies) != 0 {
		t.Error("who has not signed in has a session")
	}
	res, _ = f.post("/in/tess", nil)
	cookie := res.Cookies[0]
	if cookie.Name != "ratebook_session" || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.Secure ||
		cookie.MaxAge < 7*86400-60 || cookie.MaxAge > 7*86400+60 || len(cookie.Value) < 40 {
		t.Errorf("got %v", cookie)
	}
	f.status("/tenant", 200)
	f.status("/operator", 403)
	if res, _ := f.post("/operator", nil); res.StatusCode != 403 {
		t.Errorf("a tenant operates: %d", res.StatusCode)
	}
	if res, _ := f.get("/tenant"); len(res.Cookies) != 0 {
		t.Error("the session is written though it did not change")
	}
	before := cookie.Value
	res, _ = f.post("/in/ada", nil)
	if after := res.Cookies[0].Value; after == before {
		t.Error("the token stays when someone signs in")
	}
	f.status("/operator", 200)
	jar := f.client.Jar
	f.client.Jar, _ = cookiejar.New(nil)
	if res, _ = f.get("/tenant", "Cookie", "ratebook_session="+before); res.StatusCode != 303 {
		t.Errorf("the session under the old token goes on: %d", res.StatusCode)
	}
	f.client.Jar = jar
	f.post("/out", nil)
	f.status("/tenant", 303)
}

// TestSessionEnds: a session ends with what it rests on, at once; but not because the database can't be asked.
func TestSessionEnds(t *testing.T) {
	for name, end := range map[string]func(p *people){
		"disabled":        func(p *people) { p.change("tess", func(u *access.User) { u.Disabled = time.Now() }) },
		"new credentials": func(p *people) { p.change("tess", func(u *access.User) { u.Credentials++ }) },
		"gone":            func(p *people) { p.mu.Lock(); delete(p.users, "tess"); p.mu.Unlock() },
	} {
		f := newFixture(t, nil)
		f.post("/in/tess", nil)
		f.status("/tenant", 200)
		f.people.err = errSecret
		res, body := f.get("/tenant")
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(body, "reach its database") || len(res.Cookies) != 0 {
			t.Errorf("%s: without a database: %d %s", name, res.StatusCode, body)
		}
		f.people.err = nil
		f.status("/tenant", 200)
		end(f.people)
		res, _ = f.get("/tenant")
		if res.StatusCode != 303 || len(res.Cookies) != 1 || res.Cookies[0].MaxAge != -1 {
			t.Errorf("%s: %v", name, res)
		}
		f.people.change("tess", func(u *access.User) { *u = access.User{Login: "tess", Role: access.Tenant} })
		f.status("/tenant", 303) // it does not come back
	}
}

// TestFlash: whatever is shown first says it, once.
func TestFlash(t *testing.T) {
	f := newFixture(t, nil, routes(func(r *Router) {
		r.Tenant.GET("/plain", func(c echo.Context) error { return Page(c, http.StatusOK, layout.Page{Title: "Plain"}, say("")) })
	}))
	for _, c := range []struct {
		path    string
		headers []string
	}{{"/tenant", nil}, {"/tenant", htmx}, {"/plain", htmx}} {
		f.post("/in/ada", url.Values{"flash": {"Hello <there>."}})
		f.get("/echo")
		f.get("/nothing")
		for _, want := range []bool{true, false} {
			_, body := f.get(c.path, c.headers...)
			if strings.Contains(body, "Hello &lt;there&gt;.") != want || strings.Contains(body, "hx-swap-oob") != (want && c.headers != nil) {
				t.Errorf("%v: %s", c, body)
			}
		}
	}
}

func TestNotice(t *testing.T) {
	asked := 0
	f := newFixture(t, func(c *Config) {
		c.Notice = func(_ context.Context, u *access.User) *layout.Notice {
			asked++
			return &layout.Notice{Text: "3 scopes lag for " + u.Login, Path: "/scopes"}
		}
	})
	f.get("/open")
	f.post("/in/ada", nil)
	f.get("/open", htmx...)
	f.get("/fail/foreign")
	if asked != 0 {
		t.Errorf("asked %d times, though nobody sees it", asked)
	}
	f.get("/kept")
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

func TestErrors(t *testing.T) {
	f := newFixture(t, nil)
	for how, want := range map[string]struct {
		status int
		text   string
	}{
		"internal": {500, "Something went wrong here"}, "foreign": {500, "Something went wrong here"}, "panic": {500, "Something went wrong here"},
		"invalid": {422, "The range is wrong."}, "notfound": {404, "There is no scope 7."}, "conflict": {409, "There is one."},
		"forbidden": {403, "Not yours."}, "unauthenticated": {401, "Sign in first."}, "unavailable": {503, "No answer."},
		"teapot": {418, "as it is"}, "deadline": {503, "This took too long"}, "network": {503, "does not answer"},
	} {
		path := "/fail/" + how
		for _, c := range []struct {
			kind, method string
			headers      []string
		}{
			{"page", http.MethodGet, nil},
			{"page", http.MethodPost, nil},
			{"text", http.MethodGet, []string{"Accept", "*/*"}},
			{"part", http.MethodGet, htmx},
			{"part", http.MethodPost, htmx},
			{"json", http.MethodGet, []string{"Accept", "application/json"}},
		} {
			name := how + " " + c.kind + " " + c.method
			res, body := f.ask(c.method, path, nil, c.headers...)
			id := res.Header.Get("X-Request-Id")
			if strings.Contains(body, "secret") || res.Header.Get("Content-Disposition") != "" || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %v %s", name, res.Header, body)
			}
			if how == "unauthenticated" && c.method == http.MethodGet && (c.kind == "page" || c.kind == "text") {
				if res.StatusCode != 303 || res.Header.Get("Location") != "/sign-in?next=%2Ffail%2Funauthenticated" {
					t.Errorf("%s: %v", name, res)
				}
				continue
			}
			if res.StatusCode != want.status {
				t.Errorf("%s: %d", name, res.StatusCode)
			}
			if (res.Header.Get("Retry-After") != "") != (want.status == 503) {
				t.Errorf("%s: Retry-After %q", name, res.Header.Get("Retry-After"))
			}
			if want.status >= 500 && !f.log.has("request_id="+id) {
				t.Errorf("%s is not in the log", name)
			}
			if how == "panic" && strings.Contains(body, "it panicked") {
				t.Errorf("%s: %s", name, body)
			}
			switch c.kind {
			case "page":
				if !isFull(body) || !strings.Contains(body, want.text) || strings.Contains(body, id) != (want.status >= 500) || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
					t.Errorf("%s: %s %s", name, res.Header.Get("Content-Type"), body)
				}
			case "text":
				if !strings.HasPrefix(body, http.StatusText(want.status)) || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
					t.Errorf("%s: %s", name, body)
				}
			case "part":
				if how == "unauthenticated" {
					if res.Header.Get("HX-Redirect") != "/sign-in" {
						t.Errorf("%s: %v", name, res.Header)
					}
				} else if isFull(body) || !strings.Contains(body, want.text) || res.Header.Get("HX-Retarget") != "#flash" || res.Header.Get("HX-Reswap") != "innerHTML" {
					t.Errorf("%s: %v %s", name, res.Header, body)
				}
			case "json":
				var p problem
				if err := json.Unmarshal([]byte(body), &p); err != nil || res.Header.Get("Content-Type") != "application/problem+json" ||
					p.Status != want.status || p.RequestID != id || p.Title != http.StatusText(want.status) {
					t.Errorf("%s: %v %s", name, err, body)
				}
				if how == "invalid" && (len(p.Errors) != 1 || p.Errors[0] != field{Name: "from", Message: "is no day"}) {
					t.Errorf("%s: %s", name, body)
				}
			}
		}
	}
	if !f.log.has("secret of the database") || !f.log.has("secret panic") || !f.log.has("secret message") {
		t.Error("the log doesn't say why")
	}
	res, body := f.get("/costs.csv")
	if res.StatusCode != 404 || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	res, _ = f.get("/tenant", "HX-Request", "true", "HX-Current-URL", f.url+"/costs?a=b")
	if at := res.Header.Get("HX-Redirect"); at != "/sign-in?next=%2Fcosts%3Fa%3Db" {
		t.Errorf("got %q", at)
	}
	if res, _ = f.post("/open", nil); res.StatusCode != 405 || res.Header.Get("Allow") != "GET" {
		t.Errorf("got %v", res)
	}
	f.status("/nothing/at/all", 404)
	f.status("/operator/nothing", 404)
	f.status("//example.org/..", 404)
}

// TestClientGone: nobody is told, and the log is not alarmed.
func TestClientGone(t *testing.T) {
	begun, ended := make(chan bool), make(chan bool)
	f := newFixture(t, nil, routes(func(r *Router) {
		r.Anyone.GET("/wait", func(c echo.Context) error {
			begun <- true
			<-c.Request().Context().Done()
			defer close(ended)
			return fmt.Errorf("pq: canceling statement: %w", errSecret)
		})
	}))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, f.url+"/wait", http.NoBody)
	if res, err := f.client.Do(r); err == nil {
		res.Body.Close()
		t.Error("it is answered")
	}
	<-ended
	f.logs("a client went away")
	f.logs("route=/wait status=499")
	if f.log.has("level=ERROR") {
		t.Error("an error is logged")
	}
}

func TestCrossOrigin(t *testing.T) {
	base, _ := url.Parse("http://books.example.org/ratebook")
	f := newFixture(t, func(c *Config) { c.BaseURL = base })
	for _, c := range []struct {
		want    int
		headers []string
	}{
		{303, nil},
		{303, []string{"Sec-Fetch-Site", "same-origin"}},
		{303, []string{"Sec-Fetch-Site", "none"}},
		{403, []string{"Sec-Fetch-Site", "cross-site"}},
		{403, []string{"Sec-Fetch-Site", "same-site"}},
		{403, []string{"Origin", "http://evil.example.org"}},
		{403, []string{"Origin", "null"}},
		{303, []string{"Origin", f.url}},
		{303, []string{"Origin", "http://books.example.org"}}, // as behind a proxy that changes Host
		{403, []string{"Origin", "http://books.example.org", "X-Forwarded-Host", "x", "Sec-Fetch-Site", "cross-site", "Origin", "http://evil.example.org"}},
	} {
		if res, body := f.post("/in/ada", nil, c.headers...); res.StatusCode != c.want {
			t.Errorf("%v: %d %s", c.headers, res.StatusCode, body)
		}
	}
	if res, _ := f.get("/open", "Sec-Fetch-Site", "cross-site"); res.StatusCode != 200 {
		t.Errorf("a link from elsewhere: %d", res.StatusCode)
	}
}

func TestBase(t *testing.T) {
	base, _ := url.Parse("https://books.example.org/ratebook/")
	f := newFixture(t, func(c *Config) { c.BaseURL = base })
	f.status("/ratebook/open", 200)
	f.status("/open", 200) // a proxy took the prefix off
	f.status("/ratebook/healthz", 200)
	f.status("/ratebookx/open", 404)
	f.status("/ratebook", 404) // there is no / here
	res, body := f.get("/ratebook/open")
	if !strings.Contains(body, `"/ratebook/static/`) {
		t.Errorf("%v %s", res, body)
	}
	res, _ = f.get("/ratebook/tenant?a=b")
	if at := res.Header.Get("Location"); at != "/ratebook/sign-in?next=%2Ftenant%3Fa%3Db" {
		t.Errorf("got %s", at)
	}
	res, _ = f.get("/ratebook/tenant", "HX-Request", "true", "HX-Current-URL", "https://books.example.org/ratebook/costs?a=b")
	if at := res.Header.Get("HX-Redirect"); at != "/ratebook/sign-in?next=%2Fcosts%3Fa%3Db" {
		t.Errorf("got %s", at)
	}
	res, _ = f.post("/ratebook/in/ada", nil)
	if c := res.Cookies[0]; res.Header.Get("Location") != "/ratebook/tenant" || c.Path != "/ratebook" || !c.Secure {
		t.Errorf("%s %v", res.Header.Get("Location"), c)
	}
	res, _ = f.get("/ratebook/favicon.ico")
	if at := res.Header.Get("Location"); res.StatusCode != 302 || at != "/ratebook"+static.Path("img/icon.svg") {
		t.Errorf("got %s", at)
	}
	for _, bad := range []string{"example.org", "ftp://example.org", "https://example.org?a=b", "https://u:p@example.org", "https://example.org/a;b", "https:///a", "https://example.org/a//b"} {
		u, err := url.Parse(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{BaseURL: u}); fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), ":p@") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestLocal(t *testing.T) {
	for path, want := range map[string]string{
		"/": "/", "/costs?group=scope&a=%2F": "/costs?group=scope&a=%2F", "": "/", "costs": "/", "//evil.example": "/", `/\evil.example`: "/", `\/evil.example`: "/",
		"https://evil.example": "/", "/\t/evil.example": "/", "/\n/evil": "/", "/costs\r\nSet-Cookie: a=b": "/", "javascript:alert(1)": "/", " /costs": "/", `/a\b`: "/",
	} {
		if got := Local(path); got != want {
			t.Errorf("%q: %q", path, got)
		}
	}
}

func TestTrustedProxies(t *testing.T) {
	forwarded := []string{"X-Forwarded-For", "192.0.2.9, 198.51.100.1", "X-Forwarded-Proto", "https", "X-Request-Id", "from-outside", "X-Real-Ip", "192.0.2.77"}
	for name, c := range map[string]struct {
		trust []netip.Prefix
		body  string
		id    bool
	}{
		"none":         {nil, `{"ip":"127.0.0.1","secure":false}`, false},
		"another":      {[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, `{"ip":"127.0.0.1","secure":false}`, false},
		"this one":     {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, `{"ip":"198.51.100.1","secure":true}`, true},
		"both of them": {[]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("198.51.100.0/24")}, `{"ip":"192.0.2.9","secure":true}`, true},
	} {
		f := newFixture(t, func(cfg *Config) { cfg.TrustedProxies = c.trust })
		res, body := f.get("/echo", forwarded...)
		if strings.TrimSpace(body) != c.body || (res.Header.Get("X-Request-Id") == "from-outside") != c.id {
			t.Errorf("%s: %s %s", name, body, res.Header.Get("X-Request-Id"))
		}
		if res, _ := f.get("/echo", "X-Request-Id", "a b\"c"); strings.Contains(res.Header.Get("X-Request-Id"), " ") {
			t.Errorf("%s: any id is taken", name)
		}
		res, _ = f.post("/in/ada", nil, "X-Forwarded-Proto", "https")
		if res.Cookies[0].Secure != c.id {
			t.Errorf("%s: %v", name, res.Cookies)
		}
	}
}

func TestRequestLog(t *testing.T) {
	f := newFixture(t, nil)
	f.post("/in/tess?query=hidden", url.Values{"password": {"hidden"}})
	f.get("/tenant?query=hidden")
	f.get("/healthz")
	f.get("/hidden")
	if f.log.has("hidden") {
		t.Error("the log has what users typed")
	}
	for _, want := range []string{"level=INFO msg=request method=POST route=/in/:login status=303", "route=/tenant status=200 bytes=", "user=tess", "level=DEBUG msg=request method=GET route=/healthz"} {
		if !f.log.has(want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

func TestForms(t *testing.T) {
	f := newFixture(t, nil)
	if res, body := f.post("/form", url.Values{"field": {"a b"}}); res.StatusCode != 200 || body != "a b" {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	send := func(body io.Reader, want int) {
		t.Helper()
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/form", body)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := f.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%d, want %d", res.StatusCode, want)
		}
	}
	long := "field=" + strings.Repeat("x", 2<<20)
	send(strings.NewReader(long), 413)
	send(struct{ io.Reader }{strings.NewReader(long)}, 413) // of unknown length
	send(strings.NewReader("field=%zz"), 400)
}

func TestCompression(t *testing.T) {
	long := strings.Repeat("long ", 1000)
	f := newFixture(t, nil, routes(func(r *Router) {
		r.Anyone.GET("/long", func(c echo.Context) error {
			return Page(c, http.StatusOK, layout.Page{Title: "Long"}, say(long))
		})
	}))
	for _, c := range []struct {
		path, accept string
		want         string
	}{
		{"/long", "gzip", "gzip"},
		{"/long", "identity", ""},
		{"/echo", "gzip", ""}, // tiny
		{"/healthz", "gzip", ""},
		{static.Path("js/htmx-2.0.11.min.js"), "gzip", "gzip"},
		{static.Path("js/htmx-2.0.11.min.js"), "identity", ""},
	} {
		var first string
		for range 2 {
			res, body := f.get(c.path, "Accept-Encoding", c.accept)
			if res.StatusCode != 200 || res.Header.Get("Content-Encoding") != c.want {
				t.Errorf("%s %s: %d %q", c.path, c.accept, res.StatusCode, res.Header.Get("Content-Encoding"))
			}
			if c.want == "gzip" {
				z, err := gzip.NewReader(strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				plain, err := io.ReadAll(z)
				if err != nil {
					t.Fatal(err)
				}
				body = string(plain)
			}
			if first != "" && first != body && c.path != "/echo" {
				t.Errorf("%s: another answer", c.path)
			}
			first = body
			if c.path == "/long" && !strings.Contains(body, long) {
				t.Errorf("%s %s: %q", c.path, c.accept, body)
			}
		}
	}
}

func TestStatic(t *testing.T) {
	f := newFixture(t, nil)
	path := static.Path("css/app.css")
	res, body := f.get(path)
	if content, mediaType, _ := static.Open(path); res.StatusCode != 200 || body != string(content) || res.Header.Get("Content-Type") != mediaType ||
		res.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
		t.Errorf("%v", res)
	}
	if len(res.Cookies) != 0 {
		t.Error("files have sessions")
	}
	for _, bad := range []string{"/static/0000000000000000/css/app.css", "/static/", "/static/css/app.css", strings.Replace(path, "css/app.css", "..%2fapp.css", 1)} {
		if res, _ := f.get(bad); res.StatusCode != 404 || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", bad, res)
		}
	}
	if res, body := f.get("/robots.txt"); res.StatusCode != 200 || body != "User-agent: *\nDisallow: /\n" {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// TestFlashAfterSignOut: a page that says something does not bring back a session that ended while it was made.
func TestFlashAfterSignOut(t *testing.T) {
	begun, release := make(chan bool), make(chan bool)
	f := newFixture(t, nil, routes(func(r *Router) {
		r.Tenant.GET("/slow", func(c echo.Context) error {
			begun <- true
			<-release
			return Page(c, http.StatusOK, layout.Page{Title: "Slow"}, say(""))
		})
	}))
	res, _ := f.post("/in/ada", url.Values{"flash": {"Hello there."}})
	var cookies []string
	for _, c := range res.Cookies {
		cookies = append(cookies, c.Name+"="+c.Value)
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" {
			t.Errorf("got %v", c)
		}
	}
	f.client.Jar, _ = cookiejar.New(nil)
	signedIn := []string{"Cookie", strings.Join(cookies, "; ")}
	body := make(chan string)
	go func() {
		_, b := f.get("/slow", signedIn...)
		body <- b
	}()
	<-begun
	if res, _ := f.post("/out", nil, signedIn...); res.StatusCode != 303 {
		t.Errorf("got %v", res)
	}
	release <- true
	if b := <-body; !strings.Contains(b, "Hello there.") {
		t.Errorf("got %s", b)
	}
	if res, _ := f.get("/tenant", signedIn...); res.StatusCode != 303 {
		t.Errorf("the session is back: %d", res.StatusCode)
	}
}

// TestFlashBounds: a text is cut between two characters, one that we did not write is not shown, and who leaves takes it along.
func TestFlashBounds(t *testing.T) {
	f := newFixture(t, nil)
	f.post("/in/ada", url.Values{"flash": {strings.Repeat("ä", 5000)}})
	if _, body := f.get("/tenant"); strings.Count(body, "ä") != 498 || !strings.Contains(body, "ä…") {
		t.Errorf("%d letters: %s", strings.Count(body, "ä"), body)
	}
	for _, strange := range []string{"", "%", "_w", strings.Repeat("QUFB", 1000)} {
		if _, body := f.get("/open", "Cookie", "flash="+strange); strings.Contains(body, "AAA") || strings.Contains(body, "\xff") || !isFull(body) {
			t.Errorf("%q: %s", strange, body)
		}
	}
	f.post("/in/ada", url.Values{"flash": {"For ada."}})
	f.post("/out", nil)
	if _, body := f.get("/open"); strings.Contains(body, "For ada.") {
		t.Error("another one may read it")
	}
}

// TestBreakOffHTTP10: where an answer ends with the connection, one that breaks off does not end like a whole one.
func TestBreakOffHTTP10(t *testing.T) {
	f := newFixture(t, nil, routes(func(r *Router) {
		r.Anyone.GET("/rows.csv", func(c echo.Context) error {
			Stream(c)
			for range 1000 {
				if _, err := io.WriteString(c.Response(), "a row that is somewhat longer\n"); err != nil {
					return err
				}
			}
			c.Response().Flush()
			if c.QueryParam("whole") != "" {
				return nil
			}
			return errSecret
		})
	}))
	for _, encoding := range []string{"gzip", "identity"} {
		for _, query := range []string{"", "?whole=1"} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = fmt.Fprintf(conn, "GET /rows.csv%s HTTP/1.0\r\nAccept-Encoding: %s\r\n\r\n", query, encoding)
			_, err = io.ReadAll(conn)
			conn.Close()
			if (err == nil) != (query != "") {
				t.Errorf("%s%s: %v", encoding, query, err)
			}
		}
	}
	f.logs("an answer broke off")
}

// TestLongAddress: a query longer than any of ours is refused in words.
func TestLongAddress(t *testing.T) {
	f := newFixture(t, nil)
	long := "/open?a=" + strings.Repeat("x", queryLimit-2)
	f.status(long, 200)
	for _, accept := range []string{"text/html", "application/json", "*/*"} {
		if res, body := f.get(long+"x", "Accept", accept); res.StatusCode != 414 || !strings.Contains(body, "longer than 16 KB") {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	}
}

// TestRetry: the link to try again leads nowhere else.
func TestRetry(t *testing.T) {
	f := newFixture(t, nil)
	f.post("/in/ada", nil)
	f.people.err = errSecret
	if _, body := f.get("//evil.example/x"); !strings.Contains(body, `href="/">Try again`) {
		t.Error(body)
	}
	if _, body := f.get("/open?a=b"); !strings.Contains(body, `href="/open?a=b">Try again`) {
		t.Error(body)
	}
}

// TestStream: what is flushed arrives while more is being made, and what breaks off is seen to be incomplete.
func TestStream(t *testing.T) {
	more := make(chan error)
	f := newFixture(t, nil, routes(func(r *Router) {
		r.Tenant.GET("/rows.csv", func(c echo.Context) error {
			ctx := Stream(c)
			if of(c).timer.Stop() {
				return errors.New("the timer goes on")
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.Response().Header().Set(echo.HeaderContentType, "text/csv")
			for {
				if _, err := io.WriteString(c.Response(), "a row\n"); err != nil {
					return err
				}
				c.Response().Flush()
				if err := <-more; err != nil {
					if errors.Is(err, io.EOF) {
						return nil
					}
					return err
				}
			}
		})
	}))
	f.post("/in/ada", nil)
	open := func(encoding string) (http.Header, *bufio.Reader) {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/rows.csv", http.NoBody)
		r.Header.Set("Accept-Encoding", encoding)
		res, err := f.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		body := io.Reader(res.Body)
		if encoding == "gzip" {
			if body, err = gzip.NewReader(res.Body); err != nil {
				t.Fatal(err)
			}
		}
		return res.Header, bufio.NewReader(body)
	}
	for _, encoding := range []string{"gzip", "identity"} {
		for _, end := range []error{io.EOF, errSecret} {
			header, rows := open(encoding)
			if header.Get("Cache-Control") != "no-store" || (header.Get("Content-Encoding") == "gzip") != (encoding == "gzip") {
				t.Errorf("got %v", header)
			}
			for range 3 {
				if row, err := rows.ReadString('\n'); row != "a row\n" {
					t.Fatalf("%q, %v", row, err)
				}
				more <- nil
			}
			if _, err := rows.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			more <- end
			rest, err := io.ReadAll(rows)
			if (err == nil) != errors.Is(end, io.EOF) || len(rest) != 0 {
				t.Errorf("%s, %v: %q, %v", encoding, end, rest, err)
			}
		}
	}
	f.logs("an answer broke off")
}

// TestTimeout: a page that takes too long is given up; a stream is not, as long as its client takes what is written.
func TestTimeout(t *testing.T) {
	log := new(record)
	synctest.Test(t, func(t *testing.T) {
		h, err := New(Config{Log: slog.New(slog.NewTextHandler(log, nil)), Areas: []Area{routes(func(r *Router) {
			r.Anyone.GET("/slow", func(c echo.Context) error {
				select {
				case <-c.Request().Context().Done():
					return fmt.Errorf("pq: canceling statement: %w", errSecret)
				case <-time.After(time.Hour):
					return nil
				}
			})
			r.Anyone.GET("/stream", func(c echo.Context) error {
				ctx := Stream(c)
				for range 3 {
					if _, err := io.WriteString(c.Response(), "row\n"); err != nil {
						return err
					}
					<-time.After(2 * time.Minute)
				}
				return ctx.Err()
			})
		})}})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/slow", http.NoBody)
		r.Header.Set("Accept", "text/html")
		h.ServeHTTP(w, r)
		if w.Code != 503 || !isFull(w.Body.String()) || !strings.Contains(w.Body.String(), "This took longer than 30 s") || time.Since(begun) != 30*time.Second {
			t.Errorf("after %s: %d %s", time.Since(begun), w.Code, w.Body)
		}
		begun = time.Now()
		w = &deadlines{ResponseRecorder: httptest.NewRecorder()}
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/stream", http.NoBody))
		if w.Code != 200 || w.Body.String() != "row\nrow\nrow\n" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		var after []time.Duration
		for _, d := range w.write {
			after = append(after, d.Sub(begun))
		}
		if got := fmt.Sprint(after); got != "[1m0s 3m0s 5m0s]" || len(w.read) != 1 || !w.read[0].IsZero() {
			t.Errorf("writing may take until %s, reading until %v", got, w.read)
		}
	})
	if !log.has("secret of the database") {
		t.Error("the log doesn't say what took so long")
	}
}

// deadlines records the deadlines that are set.
type deadlines struct {
	*httptest.ResponseRecorder
	read, write []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.read = append(d.read, t)
	return nil
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.write = append(d.write, t)
	return nil
}

// TestMetrics: programs and browsers mean different things by /metrics.
func TestMetrics(t *testing.T) {
	for _, token := range []string{"", "t0ken"} {
		f := newFixture(t, func(c *Config) {
			c.MetricsToken = token
			c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "scraped") })
		}, routes(func(r *Router) {
			r.Viewer.GET("/metrics", func(c echo.Context) error {
				return Page(c, http.StatusOK, layout.Page{Title: "Metrics"}, say("a page"))
			})
		}))
		without, with := 404, 404
		if token != "" {
			without, with = 401, 200
		}
		check := func(want int, text string, headers ...string) {
			t.Helper()
			if res, body := f.get("/metrics?a=b", headers...); res.StatusCode != want || !strings.Contains(body, text) {
				t.Errorf("token %q, %v: %d %s", token, headers, res.StatusCode, body)
			}
		}
		check(without, "", "Accept", "*/*")
		check(without, "", "Accept", "*/*", "Authorization", "Basic t0ken")
		check(without, "", "Accept", "*/*", "Authorization", "Bearer wrong")
		check(with, "", "Accept", "*/*", "Authorization", "Bearer t0ken")
		check(303, "")
		f.post("/in/ada", nil)
		check(200, "a page")
		check(200, "a page", "Accept", "*/*", "HX-Request", "true")
		check(200, "a page", "Authorization", "Basic of-a-proxy")
		if _, body := f.get("/metrics", "Authorization", "Bearer t0ken"); (body == "scraped") != (token != "") {
			t.Errorf("token %q: %s", token, body)
		}
	}
}
