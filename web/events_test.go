package web

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/labstack/echo/v4"

	"ratebook/access"
)

// versions is what a stream is about: tests change it.
type versions struct {
	mu   sync.Mutex
	text string
	err  error
}

func (v *versions) get(context.Context) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.text, v.err
}

func (v *versions) set(text string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.text, v.err = text, err
}

func (v *versions) Routes(r *Router) {
	r.Tenant.GET("/events", func(c echo.Context) error { return Events(c, 5*time.Millisecond, v.get) })
	r.Anyone.GET("/open-events", func(c echo.Context) error { return Events(c, 5*time.Millisecond, v.get) })
}

// newStreams returns a site whose streams give a sign of life every so often.
func newStreams(t *testing.T, beat time.Duration) (*fixture, *versions, *site) {
	t.Helper()
	v := &versions{text: "one"}
	f := &fixture{T: t, log: new(record), people: &people{users: map[string]access.User{
		"ada": {Login: "ada", Role: access.Admin}, "tess": {Login: "tess", Role: access.Tenant},
	}}}
	s, err := newSite(Config{
		Sessions: memstore.NewWithCleanupInterval(0), Users: f.people, Areas: []Area{area(f.people), v}, Log: slog.New(slog.NewTextHandler(f.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.beat = beat
	server := httptest.NewServer(s.handler())
	t.Cleanup(server.Close)
	f.url, f.client = server.URL, server.Client()
	f.signIn("ada")
	return f, v, s
}

// signIn makes the browser another one, in which somebody has signed in.
func (f *fixture) signIn(login string) {
	f.Helper()
	f.client.Jar, _ = cookiejar.New(nil)
	f.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	f.post("/in/"+login, nil)
}

// stream is one that a browser follows.
type stream struct {
	*testing.T
	header http.Header
	lines  *bufio.Scanner
	leave  context.CancelFunc
}

func (f *fixture) follow(path string, headers ...string) *stream {
	f.Helper()
	ctx, leave := context.WithCancel(f.Context())
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, f.url+path, http.NoBody)
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Accept-Encoding", "gzip")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := f.client.Do(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { leave(); res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		f.Fatalf("%s: %d", path, res.StatusCode)
	}
	return &stream{f.T, res.Header, bufio.NewScanner(res.Body), leave}
}

// next returns the next message, without signs of life unless it is to be one.
func (s *stream) next(beats bool) string {
	s.Helper()
	var all []string
	for s.lines.Scan() {
		switch line := s.lines.Text(); {
		case line == ":" && !beats:
		case line != "":
			all = append(all, line)
		case len(all) > 0:
			return strings.Join(all, "|")
		}
	}
	return "end"
}

func (s *stream) says(want string) {
	s.Helper()
	if got := s.next(false); got != want {
		s.Errorf("the stream says %q, want %q", got, want)
	}
}

func TestEvents(t *testing.T) {
	f, v, _ := newStreams(t, time.Hour)
	s := f.follow("/events")
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "Content-Encoding": "",
	} {
		if got := s.header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	s.says("retry: 5000|id: one")
	v.set("two", nil)
	s.says("event: changed|id: two|data: two")
	v.set("", errSecret) // does not end it
	f.logs("a page can't be kept up to date just now")
	v.set("three\nlines", nil)
	s.says("event: changed|id: three lines|data: three lines")

	v.set("four", nil)
	s = f.follow("/events?seen=three")
	s.says("retry: 5000|id: three")
	s.says("event: changed|id: four|data: four")
	s = f.follow("/events?seen=three", "Last-Event-ID", "four") // what it had last
	s.says("retry: 5000|id: four")
	v.set("five", nil)
	s.says("event: changed|id: five|data: five")

	v.set("", errSecret)
	f.status("/events", http.StatusInternalServerError)
	if res, _ := f.get("/events"); res.Header.Get("Content-Type") == "text/event-stream" {
		t.Error("an error looks like a stream")
	}
}

// TestEventsCompressed: whoever does not say that it wants events may have them compressed, and still at once.
func TestEventsCompressed(t *testing.T) {
	f, _, _ := newStreams(t, time.Hour)
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/events", http.NoBody)
	res, err := f.client.Do(r) // which takes off the compression
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if s := (&stream{t, res.Header, bufio.NewScanner(res.Body), nil}); !res.Uncompressed || s.next(false) != "retry: 5000|id: one" {
		t.Errorf("compressed: %t", res.Uncompressed)
	}
}

// TestEventsBeat: a stream shows that it lives, and ends with the session and with the rights of its user.
func TestEventsBeat(t *testing.T) {
	f, _, _ := newStreams(t, 5*time.Millisecond)
	ends := func(what string, path string) {
		t.Helper()
		s := f.follow(path)
		s.says("retry: 5000|id: one")
		if got := s.next(true); got != ":" {
			t.Errorf("%s: %q", what, got)
		}
		switch what {
		case "signed out":
			f.post("/out", nil)
		case "signed in": // in another window of the same browser, which does not matter
			f.post("/in/ada", nil)
		case "disabled":
			f.people.change("ada", func(u *access.User) { u.Disabled = time.Now() })
		case "another password":
			f.people.change("ada", func(u *access.User) { u.Credentials++ })
		case "another role":
			f.people.change("ada", func(u *access.User) { u.Role = access.Viewer })
		case "other scopes":
			f.people.change("ada", func(u *access.User) { u.Scopes = []string{"a"} })
		case "deleted":
			f.people.mu.Lock()
			delete(f.people.users, "ada")
			f.people.mu.Unlock()
		}
		s.says("end")
	}
	for _, what := range []string{"signed out", "another password", "another role", "other scopes", "disabled", "deleted"} {
		f.people.change("ada", func(u *access.User) { *u = access.User{Login: "ada", Role: access.Admin} })
		f.signIn("ada")
		ends(what, "/events")
	}

	f.signIn("tess")
	s := f.follow("/events")
	f.people.mu.Lock()
	f.people.err = errors.New("down") // says nothing about the session
	f.people.mu.Unlock()
	for range 3 {
		if got := s.next(true); got == "end" {
			t.Error("the stream ends with the database")
		}
	}
	f.people.mu.Lock()
	f.people.err = nil
	f.people.mu.Unlock()

	f.client.Jar, _ = cookiejar.New(nil)
	s = f.follow("/open-events") // of nobody
	s.says("retry: 5000|id: one")
	for range 3 {
		if got := s.next(true); got != ":" {
			t.Errorf("of nobody: %q", got)
		}
	}
}

// TestEventsLimits: there are so many streams, of one user and of all, and no more.
func TestEventsLimits(t *testing.T) {
	f, _, s := newStreams(t, time.Hour)
	var own []*stream
	for range ownStreams {
		own = append(own, f.follow("/events"))
	}
	f.status("/events", http.StatusTooManyRequests)
	ada := f.client.Jar
	f.signIn("tess")
	f.follow("/events")
	f.client.Jar = ada
	own[0].leave()
	free := func() bool {
		s.streams.mu.Lock()
		defer s.streams.mu.Unlock()
		return s.streams.each["ada"] < ownStreams
	}
	for !free() {
		<-time.After(time.Millisecond)
	}
	f.follow("/events")

	leaves := []func(){}
	for i := ownStreams + 1; i < mostStreams; i++ {
		leave, err := s.streams.enter(fmt.Sprint("user ", i))
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	f.signIn("tess")
	f.status("/events", http.StatusServiceUnavailable)
	for _, leave := range slices.Backward(leaves) {
		leave()
	}
	f.follow("/events")
	s.streams.mu.Lock()
	defer s.streams.mu.Unlock()
	if s.streams.all != ownStreams+2 || len(s.streams.each) != 2 {
		t.Errorf("%d streams of %v", s.streams.all, s.streams.each)
	}
}

// TestEventsStop: streams end at once when the server stops, and no new ones begin.
func TestEventsStop(t *testing.T) {
	v := &versions{text: "one"}
	addr, stop := serve(t, Config{Areas: []Area{v}, Drain: 10 * time.Millisecond})
	f := &fixture{T: t, url: "http://" + addr, client: &http.Client{}}
	s := f.follow("/open-events")
	s.says("retry: 5000|id: one")
	begun := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > stopTimeout/2 {
		t.Errorf("it took %s to stop", took)
	}
	s.says("end")

	f, _, stopped := newStreams(t, time.Hour)
	s = f.follow("/events")
	s.says("retry: 5000|id: one")
	close(stopped.stop)
	s.says("end")
	f.status("/events", http.StatusServiceUnavailable)
}
