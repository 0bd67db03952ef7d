package handlers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/PuerkitoBio/goquery"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/web"
)

const goodPassword = "correct horse battery"

// goodHash is that of goodPassword, made once: it takes its time.
var goodHash = sync.OnceValue(func() string {
	hash, err := access.HashPassword(goodPassword)
	if err != nil {
		panic(err)
	}
	return hash
})

// members are users in memory.
type members struct {
	mu      sync.Mutex
	all     []access.User
	changes []string // as in the audit trail
	lists   int      // how often all were asked for
}

func (m *members) User(_ context.Context, login string) (access.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if strings.Contains(login, "\x00") || !utf8.ValidString(login) { // PostgreSQL does not take it
		return access.User{}, errors.New("pq: invalid byte sequence for encoding \"UTF8\"")
	}
	for _, u := range m.all {
		if u.Login == login {
			return u, nil
		}
	}
	return access.User{}, fault.New(fault.NotFound, "there is no user %q", login)
}

func (m *members) Users(context.Context) ([]access.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lists++
	return slices.Clone(m.all), nil
}

func (m *members) AddFirstUser(_ context.Context, u access.User, actor string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.all) > 0 {
		return fault.New(fault.Conflict, "there are users already")
	}
	u.Credentials = 7 // the store's business
	m.all = append(m.all, u)
	m.changes = append(m.changes, fmt.Sprintf("%s adds %s %s", actor, u.Role, u.Login))
	return nil
}

func (m *members) SetPassword(_ context.Context, login, hash, actor string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.all {
		if m.all[i].Login == login {
			m.all[i].PasswordHash = hash
			m.all[i].Credentials++
			m.changes = append(m.changes, actor+" passwd "+login)
		}
	}
	return nil
}

// door is the site as far as signing in goes, with a clock to turn.
type door struct {
	*testing.T
	members *members
	url     string
	setUp   *SetUp
	log     *bytes.Buffer

	mu    sync.Mutex
	clock time.Time
}

func (d *door) now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.clock
}

func (d *door) pass(t time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock = d.clock.Add(t)
}

// front is where one comes after signing in.
type front struct{}

func (front) Routes(r *web.Router) {
	r.Tenant.GET("/", func(c echo.Context) error { return c.String(http.StatusOK, "front for "+web.Actor(c)) })
}

func newDoor(t *testing.T, users ...access.User) *door {
	t.Helper()
	d := &door{T: t, members: &members{all: users}, clock: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), log: new(bytes.Buffer)}
	d.setUp = NewSetUp(d.members, d.now)
	h, err := web.New(web.Config{
		Sessions: memstore.NewWithCleanupInterval(0), Users: d.members, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Areas: []web.Area{
			front{}, NewSession(d.members, d.now, slog.New(slog.NewTextHandler(d.log, nil))), d.setUp, NewPassword(d.members, d.now), NewTheme(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	d.url = s.URL
	return d
}

// browser keeps cookies and follows no redirect.
type browser struct {
	*door
	client http.Client
}

func (d *door) browser() *browser {
	jar, _ := cookiejar.New(nil)
	return &browser{door: d, client: http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is a page or where to go on.
type answer struct {
	*testing.T
	status int
	to     string // Location
	header http.Header
	body   string
}

func (b *browser) send(method, path string, form url.Values, headers ...string) answer {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), method, b.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.Fatal(err)
	}
	return answer{b.T, res.StatusCode, res.Header.Get("Location"), res.Header, string(body)}
}

func (b *browser) get(path string) answer {
	b.Helper()
	return b.send(http.MethodGet, path, nil)
}

func (b *browser) post(path string, form url.Values, headers ...string) answer {
	b.Helper()
	return b.send(http.MethodPost, path, form, headers...)
}

// want checks an answer: its status, where it leads, and what it says.
func (a answer) want(status int, to string, texts ...string) answer {
	a.Helper()
	if a.status != status || a.to != to {
		a.Errorf("%d to %q, want %d to %q: %s", a.status, a.to, status, to, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			a.Errorf("the page lacks %q: %s", text, a.body)
		}
	}
	return a
}

// value returns what stands in a field.
func (a answer) value(name string) string {
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(a.body))
	if err != nil {
		a.Fatal(err)
	}
	return doc.Find(`[name="`+name+`"]`).AttrOr("value", "")
}

func credentials(login, password string) url.Values {
	return url.Values{"login": {login}, "password": {password}}
}

func ada() access.User {
	return access.User{Login: "ada", Role: access.Admin, PasswordHash: goodHash()}
}

func TestSignIn(t *testing.T) {
	off := access.User{Login: "off", Role: access.Admin, PasswordHash: goodHash(), Disabled: time.Unix(1, 0)}
	d := newDoor(t, ada(), off)
	b := d.browser()
	b.get("/").want(303, "/sign-in")
	b.get("/sign-in?next=/costs%3Fa%3Db").want(200, "", "Sign in")
	if next := b.get("/sign-in?next=/costs%3Fa%3Db").value("next"); next != "/costs?a=b" {
		t.Errorf("next is %q", next)
	}

	var said []string
	for _, c := range [][2]string{{"ada", "wrong password"}, {"nobody", goodPassword}, {"off", goodPassword}, {"", ""}, {"ada", ""}} {
		a := b.post("/sign-in", credentials(c[0], c[1])).want(422, "", "Login or password is wrong.")
		if a.value("login") != c[0] || a.value("password") != "" {
			t.Errorf("the form keeps %q and %q", a.value("login"), a.value("password"))
		}
		said = append(said, strings.ReplaceAll(a.body, `"`+c[0]+`"`, `""`))
	}
	for _, s := range said[1:] {
		if s != said[0] {
			t.Errorf("the answers differ: %s", s)
		}
	}
	if strings.Contains(d.log.String(), "nobody") || strings.Count(d.log.String(), "a sign-in was refused") != len(said) {
		t.Errorf("the log: %s", d.log)
	}
	b.get("/").want(303, "/sign-in")

	a := b.post("/sign-in", url.Values{"login": {"ada"}, "password": {goodPassword}, "next": {"/costs?a=b"}}).want(303, "/costs?a=b")
	if !strings.Contains(a.header.Get("Set-Cookie"), "ratebook_session=") {
		t.Error("no cookie")
	}
	b.get("/").want(200, "", "front for ada")
	b.get("/sign-in").want(303, "/")
	b.get("/sign-in?next=//evil.example").want(303, "/")
	b.post("/sign-out", nil, "Sec-Fetch-Site", "cross-site").want(403, "")
	b.get("/").want(200, "")
	b.post("/sign-out", nil).want(303, "/sign-in")
	b.get("/").want(303, "/sign-in")
	b.post("/sign-out", nil).want(303, "/sign-in")
	if d.members.lists > 1 {
		t.Errorf("all users were listed %d times", d.members.lists)
	}
}

func TestOpenRedirects(t *testing.T) {
	d := newDoor(t, ada())
	for _, next := range []string{"//evil.example", `/\evil.example`, "https://evil.example", "/\t/evil.example", "evil"} {
		b := d.browser()
		form := credentials("ada", goodPassword)
		form.Set("next", next)
		b.post("/sign-in", form).want(303, "/")
		b.post("/theme", url.Values{"theme": {"dark"}, "back": {next}}).want(303, "/")
	}
}

func TestNobodysHash(t *testing.T) {
	if cost := goodHash()[:strings.LastIndex(goodHash()[:len(goodHash())-44], "$")]; !strings.HasPrefix(nobodysHash, cost) || len(nobodysHash) != len(goodHash()) {
		t.Errorf("%s does not cost what %s does", nobodysHash, goodHash())
	}
	if access.PasswordMatches(nobodysHash, goodPassword) {
		t.Error("it matches")
	}
}

// tooLong is no password, and costs nothing to compare with.
var tooLong = strings.Repeat("x", 1025)

// TestThrottleLogin: from one network, a few wrong passwords are quick, then it takes time, until the right one comes.
func TestThrottleLogin(t *testing.T) {
	d := newDoor(t, ada())
	b := d.browser()
	try := func(i int, password string) answer {
		t.Helper()
		return b.post("/sign-in", credentials("ada", password), "X-Forwarded-For", fmt.Sprintf("2001:db8::%d", i))
	}
	for i := range 5 {
		try(i, "wrong password").want(422, "")
	}
	a := try(6, goodPassword).want(429, "", "Too many tries. Wait 10 s, then try again.")
	if a.header.Get("Retry-After") != "10" {
		t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
	}
	d.pass(4 * time.Second)
	try(7, goodPassword).want(429, "", "Wait 6 s")
	b.post("/sign-in", credentials("nobody", "x"), "X-Forwarded-For", "2001:db8::1").want(422, "") // another login
	d.pass(6 * time.Second)
	try(8, goodPassword).want(303, "/")
	for i := range 2 {
		try(i, "wrong password").want(422, "") // it begins anew
	}
}

// TestThrottleElsewhere: who fails in another's name does not keep its owner out, but many who do so from everywhere are slowed.
func TestThrottleElsewhere(t *testing.T) {
	d := newDoor(t, ada())
	b := d.browser()
	try := func(from, password string) answer {
		t.Helper()
		return b.post("/sign-in", credentials("ada", password), "X-Forwarded-For", from)
	}
	for range 95 {
		try("192.0.2.1", tooLong)
		d.pass(time.Second)
	}
	try("192.0.2.2", goodPassword).want(303, "/")
	d.pass(time.Minute)
	for i := range 100 {
		try(fmt.Sprintf("198.51.100.%d", i), tooLong).want(422, "")
	}
	try("192.0.2.3", tooLong).want(429, "", "Wait 1 s")
	d.pass(time.Second)
	try("192.0.2.4", tooLong).want(422, "")
}

// TestThrottleRefused: what is refused for its address does not count against the login.
func TestThrottleRefused(t *testing.T) {
	d := newDoor(t, ada())
	b := d.browser()
	from := []string{"X-Forwarded-For", "192.0.2.1"}
	for i := range 20 {
		b.post("/sign-in", credentials(fmt.Sprint("user", i), tooLong), from...).want(422, "")
	}
	for range 110 {
		b.post("/sign-in", credentials("ada", tooLong), from...).want(429, "")
	}
	b.post("/sign-in", credentials("ada", goodPassword), "X-Forwarded-For", "192.0.2.2").want(303, "/")
}

// TestThrottleKept: using many other keys does not free one that is held up.
func TestThrottleKept(t *testing.T) {
	th, now := newThrottle(5, time.Hour), time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for i := range 50 {
		for range 5 {
			th.take(fmt.Sprint("held", i), now)
		}
	}
	for i := range 3 * maxKeys {
		th.take(fmt.Sprint(i), now)
	}
	for i := range 50 {
		if th.take(fmt.Sprint("held", i), now) == 0 {
			t.Errorf("held%d was freed", i)
		}
	}
}

// TestSignInStrange: what can't be a login is wrong like any other, and the database is not asked for it.
func TestSignInStrange(t *testing.T) {
	d := newDoor(t, ada())
	for _, login := range []string{"ada\x00", "\xff\xfe", "a b", strings.Repeat("a", 1000)} {
		d.browser().post("/sign-in", credentials(login, tooLong)).want(422, "", "Login or password is wrong.")
	}
}

func TestThrottleAddress(t *testing.T) {
	d := newDoor(t, ada())
	b := d.browser()
	try := func(i int, from string) answer {
		t.Helper()
		return b.post("/sign-in", credentials(fmt.Sprint("user", i), tooLong), "X-Forwarded-For", from)
	}
	for i := range 20 {
		try(i, fmt.Sprintf("2001:db8::%x", i)).want(422, "")
	}
	try(20, "2001:db8::ffff").want(429, "", "Wait 3 s")
	try(20, "2001:db8:0:1::1").want(422, "")
	d.pass(3 * time.Second)
	try(21, "2001:db8::1").want(422, "")
	try(22, "2001:db8::1").want(429, "")
}

// TestThrottleBound: strangers can't fill the memory.
func TestThrottleBound(t *testing.T) {
	th, now := newThrottle(2, time.Second), time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for i := range 3 * maxKeys {
		th.take(fmt.Sprint(i), now)
	}
	if len(th.keys) > maxKeys {
		t.Errorf("%d keys", len(th.keys))
	}
	for range 2 {
		th.take("eve", now)
	}
	if th.take("eve", now) == 0 {
		t.Error("eve is not held up")
	}
	now = now.Add(2 * time.Second)
	th.prune(now)
	if len(th.keys) != 0 {
		t.Errorf("%d keys are kept that nobody needs", len(th.keys))
	}
}

// TestHashingBound: two passwords at once are hashed, and who goes away does not wait.
func TestHashingBound(t *testing.T) {
	hashing <- struct{}{}
	hashing <- struct{}{}
	defer func() { <-hashing; <-hashing }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := passwordMatches(ctx, goodHash(), goodPassword); err == nil {
		t.Error("a third one is compared")
	}
	if _, err := hashPassword(ctx, goodPassword); err == nil {
		t.Error("a third one is hashed")
	}
}

func TestTheme(t *testing.T) {
	d := newDoor(t, ada())
	b := d.browser()
	for _, c := range []struct{ theme, want string }{{"dark", "dark"}, {"light", "light"}, {"", ""}, {"x", ""}} {
		b.post("/theme", url.Values{"theme": {c.theme}, "back": {"/costs?a=b"}}).want(303, "/costs?a=b")
		doc, err := goquery.NewDocumentFromReader(strings.NewReader(b.get("/sign-in").body))
		if err != nil {
			t.Fatal(err)
		}
		if got := doc.Find("html").AttrOr("data-theme", ""); got != c.want {
			t.Errorf("%q: %q", c.theme, got)
		}
	}
}
