// Package web is the HTTP server: its listener, middleware, time-outs and graceful stop, sessions and who may ask what, the one
// way in which pages and errors leave, static files, and the endpoints that tell machines how the process is.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/views/layout"
)

// Config says what to serve.
type Config struct {
	Listen        string       // address of the main listener
	MetricsListen string       // address of a listener for /metrics alone; empty: none
	MetricsToken  string       // bearer token for /metrics on the main listener; empty: not served there
	Metrics       http.Handler // answers /metrics
	Checks        []Check      // what must work for the process to be ready

	BaseURL         *url.URL       // where browsers find us, such as https://example.org/ratebook; nil: at the root of any host
	TrustedProxies  []netip.Prefix // whose X-Forwarded-For, X-Forwarded-Proto and X-Request-Id are believed
	TLSCert, TLSKey string         // PEM files; empty: plain HTTP
	Drain           time.Duration  // how long /readyz says no before the listener closes, for load balancers to look elsewhere

	APIs           []API            // for programs
	Authenticator  Authenticator    // of who asks over them; set if APIs is
	Description    echo.HandlerFunc // answers what the APIs are, to everyone; nil: nothing does
	APIListen      string           // address of a listener for the APIs alone; empty: they are on the main one
	AllowedOrigins []string         // sites whose pages may use the APIs; "*" is any
	Tokens         Tokens           // with which programs may ask for pages and reports; nil: there are none

	Areas    []Area                                                   // of the site
	Sessions scs.Store                                                // where sessions are kept; nil: nobody can sign in
	Users    Users                                                    // whom sessions belong to; set if Sessions is
	Notice   func(ctx context.Context, u *access.User) *layout.Notice // asked for each whole page; may be nil
	Version  string                                                   // of the program, since pages of another one differ

	Log       *slog.Logger
	Listening func(addr net.Addr) // called once the main listener is open
}

// Users knows who may sign in.
type Users interface {
	// User returns a user; the error is NotFound if there is none.
	User(ctx context.Context, login string) (access.User, error)
}

// Limits that keep slow or greedy clients from holding on to us.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = time.Minute
	writeTimeout      = time.Minute // also between two writes of a stream
	idleTimeout       = 2 * time.Minute
	pageTimeout       = 30 * time.Second
	checkTimeout      = 5 * time.Second
	stopTimeout       = 10 * time.Second
	bodyLimit         = "1M"
	headerLimit       = 32 << 10 // bytes
	queryLimit        = 16 << 10 // bytes
)

// New returns what answers the requests to the main listener.
func New(c Config) (http.Handler, error) {
	s, err := newSite(c)
	if err != nil {
		return nil, err
	}
	return s.handler(), nil
}

// Serve serves until ctx ends, then says that it is not ready, and finishes the requests it has. What is not finished in time
// is cut off.
func Serve(ctx context.Context, c Config) error {
	s, err := newSite(c)
	if err != nil {
		return err
	}
	servers := []*http.Server{s.newServer(c.Listen, s.handler())}
	if c.TLSCert != "" || c.TLSKey != "" {
		pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return fault.Wrap(fault.Invalid, err, "can't use the certificate %q with the key %q", c.TLSCert, c.TLSKey)
		}
		servers[0].TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	}
	if c.APIListen != "" {
		api := s.newServer(c.APIListen, s.outermost(s.apiHandler()))
		api.TLSConfig = servers[0].TLSConfig.Clone()
		servers = append(servers, api)
	}
	if c.MetricsListen != "" {
		servers = append(servers, s.newServer(c.MetricsListen, s.metricsHandler()))
	}

	failed := make(chan error, len(servers))
	for i, server := range servers {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", server.Addr)
		if err != nil {
			for _, open := range servers[:i] {
				_ = open.Close()
			}
			return fmt.Errorf("can't listen on %s: %w", server.Addr, err)
		}
		if i == 0 && c.Listening != nil {
			c.Listening(listener.Addr())
		}
		go func() {
			if server.TLSConfig != nil {
				failed <- server.ServeTLS(listener, "", "")
			} else {
				failed <- server.Serve(listener)
			}
		}()
	}
	select {
	case <-ctx.Done():
		close(s.stop)
		select {
		case <-time.After(c.Drain):
		case err = <-failed:
		}
	case err = <-failed:
		close(s.stop)
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	for _, server := range servers {
		e := server.Shutdown(stop)
		if errors.Is(e, context.DeadlineExceeded) {
			s.log.Warn("requests were cut off, since they did not end in time", "address", server.Addr, "seconds", stopTimeout.Seconds())
			e = server.Close()
		}
		if err == nil {
			err = e
		}
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

func (s *site) newServer(addr string, h http.Handler) *http.Server {
	return &http.Server{
		Addr: addr, Handler: h, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: headerLimit,
	}
}

// metricsHandler answers /metrics on a listener of its own, to whoever reaches it.
func (s *site) metricsHandler() http.Handler {
	e := s.newEcho()
	e.Use(s.begin, s.logged, s.translated, s.recovered())
	s.bare(e, "/metrics", echo.WrapHandler(s.Metrics))
	return e
}
