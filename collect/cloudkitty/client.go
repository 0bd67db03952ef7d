// Package cloudkitty reads what a running CloudKitty knows through its HTTP API, for moving to Ratebook: the rating rules, the
// metrics, the scopes and the rated data frames. It takes the API as CloudKitty's servers of the last years speak it. No number
// of an answer becomes a float.
package cloudkitty

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode"

	"ratebook/fault"
)

// Defaults and bounds of requests.
const (
	defaultTimeout = 2 * time.Minute // of one request, its answer included; CloudKitty's storage can be slow
	defaultPause   = time.Second     // before a second attempt; twice as long before each further one
	attempts       = 4
	maxConnectTime = 10 * time.Second
	maxBody        = 256 << 20
	maxRedirects   = 3
)

// Config says how to reach a CloudKitty.
type Config struct {
	Endpoint string        // its URL, with or without /v1 or /v2
	Token    string        // Keystone's, sent as X-Auth-Token; empty if the server asks for none
	CAFile   string        // PEM certificates to trust instead of the machine's
	Insecure bool          // trust any certificate
	Timeout  time.Duration // of one request; 0 is two minutes
	Pause    time.Duration // before a second attempt; 0 is a second
}

// Client asks one CloudKitty.
type Client struct {
	base    string // the URL without credentials, version and slash
	token   string
	http    *http.Client
	timeout time.Duration
	pause   time.Duration
}

// New returns a client, without asking anything. Errors are [fault.Invalid], and don't repeat the token.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(strings.TrimSpace(cfg.Endpoint))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		// the cause would repeat the URL, and with it maybe a password
		return nil, fault.New(fault.Invalid, "the endpoint of CloudKitty must look like http://host:8889, without user, query and fragment")
	}
	if strings.ContainsFunc(cfg.Token, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsGraphic(r) || r == ' ' }) {
		return nil, fault.New(fault.Invalid, "the token for CloudKitty is no single word; give it as openstack token issue -f value -c id prints it")
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	for _, version := range [...]string{"/v1", "/v2"} {
		path = strings.TrimRight(strings.TrimSuffix(path, version), "/")
	}
	c := &Client{
		base: strings.ToLower(u.Scheme+"://"+u.Host) + path, token: cfg.Token,
		timeout: cmp.Or(cfg.Timeout, defaultTimeout), pause: cmp.Or(cfg.Pause, defaultPause),
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: cfg.Insecure}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "can't read the certificates for CloudKitty")
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.New(fault.Invalid, "%s contains no PEM certificate", cfg.CAFile)
		}
	}
	connect := min(maxConnectTime, c.timeout)
	c.http = &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: connect}).DialContext,
			TLSClientConfig:     secure,
			TLSHandshakeTimeout: connect,
			ForceAttemptHTTP2:   true,
			IdleConnTimeout:     90 * time.Second,
		},
		// A redirection to a path with a slash is followed; one to somebody else would hand out the token.
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if first := via[0].URL; len(via) > maxRedirects || req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	return c, nil
}

// Endpoint returns the URL of the API, in one spelling.
func (c *Client) Endpoint() string { return c.base }

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// get asks for something and reads the answer into what into points to. Requests that the server could not answer, or not to the
// end, are repeated a few times.
func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	for n := 1; ; n++ {
		err := c.try(ctx, path, query, into)
		if t, ok := errors.AsType[*temporary](err); !ok {
			return err
		} else if n == attempts {
			return t.err
		}
		pause.Reset(c.pause << (n - 1))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
		}
	}
}

// temporary marks errors that another attempt may not have.
type temporary struct{ err error }

func (t *temporary) Error() string { return t.err.Error() }

func (c *Client) try(caller context.Context, path string, query url.Values, into any) error {
	ctx, cancel := context.WithTimeout(caller, c.timeout)
	defer cancel()
	fail := func(kind fault.Kind, format string, args ...any) error {
		said := fmt.Sprintf(format, args...)
		if len(c.token) > 2 {
			said = strings.ReplaceAll(said, c.token, "[redacted]")
		}
		return fault.New(kind, "CloudKitty at %s, GET %s: %s", c.base, path, said)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, http.NoBody)
	if err != nil {
		return fail(fault.Internal, "can't make the request: %v", err)
	}
	req.URL.RawQuery = query.Encode()
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "ratebook")
	if c.token != "" {
		req.Header.Set("X-Auth-Token", c.token)
	}
	// noAnswer is about what keeps an answer from arriving
	noAnswer := func(err error) error {
		if caller.Err() != nil {
			return caller.Err()
		}
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return fail(fault.Unavailable, "no answer: %v; name the right certificates, or see that the host is the one meant", err)
		}
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			err = fmt.Errorf("no complete answer within %s", c.timeout)
		case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
			err = errors.New("the answer breaks off")
		default:
			err = fmt.Errorf("no answer: %w", err)
		}
		return &temporary{fail(fault.Unavailable, "%v", err)}
	}
	res, err := c.http.Do(req)
	if err != nil {
		return noAnswer(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	switch {
	case err != nil:
		return noAnswer(err)
	case len(body) > maxBody:
		return fail(fault.Unavailable, "the answer is larger than %d MiB", maxBody>>20)
	case res.StatusCode != http.StatusOK && res.StatusCode != http.StatusMultipleChoices: // the latter is how some list versions
		return refused(res, body, fail)
	}
	err = json.Unmarshal(body, into)
	if err == nil {
		return nil
	}
	start := excerpt(string(body))
	if start == "" || start[0] != '{' && start[0] != '[' {
		return fail(fault.Unavailable, "the answer is no JSON but begins with %q; does the endpoint lead to CloudKitty?", start)
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok && e.Offset >= int64(len(body)) {
		return &temporary{fail(fault.Unavailable, "the answer breaks off")}
	}
	return fail(fault.Unavailable, "the answer is not what CloudKitty's API promises: %v", err)
}

// refused is about an answer that is none.
func refused(res *http.Response, body []byte, fail func(kind fault.Kind, format string, args ...any) error) error {
	status := fmt.Sprintf("%d %s", res.StatusCode, http.StatusText(res.StatusCode))
	words := status
	if said := saidIn(body); said != "" {
		words += ": " + said
	}
	switch code := res.StatusCode; {
	case code >= 300 && code < 400:
		to, err := res.Location()
		if err != nil {
			return fail(fault.Unavailable, "redirected to nowhere (%s)", status)
		}
		return fail(fault.Unavailable, "redirected to %s (%s), which is not followed; give the right endpoint", excerpt((&url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}).String()), status)
	case code == http.StatusUnauthorized:
		return fail(fault.Unauthenticated, "the token is missing or has expired (%s); get a new one with: openstack token issue -f value -c id", words)
	case code == http.StatusForbidden:
		return fail(fault.Forbidden, "the token may not read this (%s); use the token of a user with the role admin", words)
	case code == http.StatusNotFound:
		return fail(fault.NotFound, "%s", words)
	case code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		return &temporary{fail(fault.Unavailable, "%s; CloudKitty's log says more", words)}
	}
	return fail(fault.Unavailable, "%s", words)
}

// saidIn returns the message in the body of an error: v1's, v2's or Keystone's.
func saidIn(body []byte) string {
	var e struct {
		V1       any `json:"faultstring"`
		V2       any `json:"message"`
		Keystone struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	_ = json.Unmarshal(body, &e) // HTML, most likely
	for _, said := range [...]any{e.V1, e.V2, e.Keystone.Message} {
		if text, ok := said.(string); ok && text != "" {
			return excerpt(text)
		}
	}
	return ""
}

// excerpt makes the beginning of what a server says fit for one line.
func excerpt(s string) string {
	const most = 200
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// Versions returns the versions of the API that the server has: v1, v2. An error says that the endpoint doesn't lead to CloudKitty.
func (c *Client) Versions(ctx context.Context) ([]string, error) {
	var root struct {
		Versions []struct {
			ID string `json:"id"`
		} `json:"versions"`
	}
	if err := c.get(ctx, "/", nil, &root); err != nil {
		return nil, err
	}
	var all []string
	for _, v := range root.Versions {
		all = append(all, v.ID)
	}
	if len(all) == 0 {
		return nil, fault.New(fault.Unavailable, "CloudKitty at %s, GET /: the answer lists no versions of an API; does the endpoint lead to CloudKitty?", c.base)
	}
	return all, nil
}
