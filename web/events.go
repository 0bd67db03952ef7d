package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
)

const (
	eventStream  = "text/event-stream"
	heartbeat    = 15 * time.Second
	mostStreams  = 200 // of a process
	ownStreams   = 10  // of a user
	reconnect    = 5 * time.Second
	versionLimit = 10 * time.Second // to find out the version
)

// streams counts the streams that are open.
type streams struct {
	mu   sync.Mutex
	all  int
	each map[string]int // by login
}

// enter counts one more, unless there are enough; leave takes it back.
func (s *streams) enter(login string) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.each[login] >= ownStreams:
		return nil, echo.NewHTTPError(http.StatusTooManyRequests)
	case s.all >= mostStreams:
		return nil, fault.New(fault.Unavailable, "as many pages are kept up to date as this process can; this one asks again by itself")
	}
	if s.each == nil {
		s.each = map[string]int{}
	}
	s.all++
	s.each[login]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		if s.each[login]--; s.each[login] == 0 {
			delete(s.each, login)
		}
	}, nil
}

// stopping reports whether we stop, so that nothing more should come.
func (s *site) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// Events answers with server-sent events: one called changed whenever version does, which is asked every so often and is a
// short text in one line, such as a digest. What the browser has is its Last-Event-ID or the query's seen; else what there
// is at first. The stream ends with the session, when we stop, and when the browser goes away; where there are too many
// already it is refused, and the browser asks for the page now and then instead.
func Events(c echo.Context, every time.Duration, version func(ctx context.Context) (string, error)) error {
	s, user := of(c).site, User(c)
	if s.stopping() {
		return fault.New(fault.Unavailable, "this server is stopping")
	}
	leave, err := s.streams.enter(Actor(c))
	if err != nil {
		return err
	}
	defer leave()
	ctx, end := context.WithCancel(Stream(c))
	defer end()
	go func() { // also while the version is being found out
		select {
		case <-ctx.Done():
		case <-s.stop:
			end()
		}
	}()
	now, err := ask(ctx, version)
	if err != nil {
		return err
	}
	seen := c.Request().Header.Get("Last-Event-ID")
	if seen == "" {
		seen = c.QueryParam("seen")
	}
	if seen == "" {
		seen = now
	}
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, eventStream)
	h.Set("X-Accel-Buffering", "no") // nginx would keep them until there are many
	c.Response().WriteHeader(http.StatusOK)
	send := func(format string, args ...any) (ok bool) {
		_, err := fmt.Fprintf(c.Response(), format, args...)
		c.Response().Flush()
		return err == nil
	}
	if !send("retry: %d\nid: %s\n\n", reconnect.Milliseconds(), line(seen)) {
		return nil
	}
	poll, beat := time.NewTicker(every), time.NewTicker(s.beat)
	defer poll.Stop()
	defer beat.Stop()
	broken := false
	for {
		if now != seen {
			if seen = now; !send("event: changed\nid: %s\ndata: %[1]s\n\n", line(now)) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			if !s.still(c, user) || !send(":\n\n") {
				return nil
			}
		case <-poll.C:
			switch next, err := ask(ctx, version); {
			case err == nil:
				now, broken = next, false
			case ctx.Err() == nil && !broken: // said once, not every few seconds
				s.log.Warn("a page can't be kept up to date just now", "path", c.Path(), "error", err, "request_id", of(c).id)
				broken = true
			}
		}
	}
}

// ask asks for the version, for a while.
func ask(ctx context.Context, version func(ctx context.Context) (string, error)) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionLimit)
	defer cancel()
	return version(ctx)
}

// line makes a text one line of a stream.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == 0 {
			return ' '
		}
		return r
	}, s)
}

// still reports whether the session goes on, and the user is who it was and may do what it might. While the database does
// not answer, it does.
func (s *site) still(c echo.Context, was *access.User) bool {
	if s.sessions == nil {
		return true
	}
	cookie, err := c.Cookie(sessionCookie)
	if err != nil {
		return was == nil
	}
	// not the request's context, which holds the session as it was
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	if ctx, err = s.sessions.Load(ctx, cookie.Value); err != nil {
		return true
	}
	login := s.sessions.GetString(ctx, keyLogin)
	if was == nil || login != was.Login {
		return was == nil && login == ""
	}
	now, err := s.Users.User(ctx, login)
	if err != nil {
		return fault.KindOf(err) != fault.NotFound
	}
	return now.Disabled.IsZero() && now.Credentials == s.sessions.GetInt64(ctx, keyCredentials) && now.Role == was.Role &&
		slices.Equal(now.Scopes, was.Scopes)
}
