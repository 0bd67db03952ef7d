package prometheus

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"ratebook/fault"
)

// DefaultTimeout bounds one request, the reading of its answer included.
const DefaultTimeout = time.Minute

// maxBody bounds one answer, decompressed. A batch of 100,000 points needs some 3 MB.
const maxBody = 64 << 20

// maxConnectTime bounds the connection and the TLS handshake, so that an unreachable server is not taken for a slow one.
const maxConnectTime = 10 * time.Second

// Config says how to reach a server.
type Config struct {
	URL      string            // of the server, with or without /api/v1; credentials in it are used if User is empty
	User     string            // for basic authentication
	Password string            // of User
	Token    string            // for bearer authentication; excludes User
	Headers  map[string]string // sent with each request, such as X-Scope-OrgID
	CAFile   string            // PEM certificates to trust instead of the machine's
	Insecure bool              // trust any certificate
	Timeout  time.Duration     // of one request; 0 means DefaultTimeout
}

// Client asks one server. It is safe for concurrent use.
type Client struct {
	base    string // the URL with /api/v1, without credentials
	shown   string // the URL for messages, without credentials
	host    string // a Host header other than the URL's
	header  http.Header
	secrets *strings.Replacer // blots credentials out of what the server says
	http    *http.Client
	timeout time.Duration
	maxBody int64

	mu        sync.Mutex
	version   string    // of the server; empty if it never said
	versionAt time.Time // when the server said so
}

// NewClient returns a client of the configured server, without asking it anything. Its errors are [fault.Invalid] and
// don't repeat secrets.
func NewClient(cfg Config) (*Client, error) {
	u, err := url.Parse(strings.TrimSpace(cfg.URL))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		// the cause would repeat the URL, and with it a password
		return nil, fault.New(fault.Invalid, "the Prometheus URL must look like https://host:9090")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.New(fault.Invalid, "the Prometheus URL must not have a query or fragment")
	}
	if u.User != nil && cfg.User == "" {
		cfg.User = u.User.Username()
		if p, ok := u.User.Password(); ok && cfg.Password == "" {
			cfg.Password = p
		}
	}
	u.User = nil
	if cfg.User != "" && cfg.Token != "" {
		return nil, fault.New(fault.Invalid, "give Prometheus either a user or a token, not both")
	}
	if cfg.User == "" && cfg.Password != "" {
		return nil, fault.New(fault.Invalid, "the password for Prometheus needs a user")
	}

	path := strings.TrimRight(u.EscapedPath(), "/")
	path = strings.TrimRight(strings.TrimSuffix(path, "/api/v1"), "/")
	u.Path, u.RawPath = "", ""
	c := &Client{
		shown:   u.String() + path,
		base:    u.String() + path + "/api/v1",
		timeout: cmp.Or(cfg.Timeout, DefaultTimeout),
		maxBody: maxBody,
	}
	if err := c.setHeaders(cfg); err != nil {
		return nil, err
	}
	transport, err := newTransport(cfg, c.timeout)
	if err != nil {
		return nil, err
	}
	c.http = &http.Client{
		Transport: transport,
		// A redirected POST loses its form, and following one could hand the credentials to a stranger.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// setHeaders prepares what each request carries, and what must not be repeated.
func (c *Client) setHeaders(cfg Config) error {
	c.header = http.Header{"Accept": {"application/json"}, "User-Agent": {"ratebook"}}
	var secrets []string
	switch {
	case cfg.User != "":
		basic := base64.StdEncoding.EncodeToString([]byte(cfg.User + ":" + cfg.Password))
		c.header.Set("Authorization", "Basic "+basic)
		secrets = append(secrets, basic, cfg.Password)
	case cfg.Token != "":
		c.header.Set("Authorization", "Bearer "+cfg.Token)
		secrets = append(secrets, cfg.Token)
	}
	for name, value := range cfg.Headers {
		if !isHeaderName(name) {
			return fault.New(fault.Invalid, "%q can't be the name of a header for Prometheus", name)
		}
		if http.CanonicalHeaderKey(name) == "Host" {
			c.host = value
		} else {
			c.header.Set(name, value)
			secrets = append(secrets, value)
		}
	}
	for name, values := range c.header {
		if slices.ContainsFunc(values, hasControl) {
			return fault.New(fault.Invalid, "the %s header for Prometheus must be one line of text; does a token end with a line break?", name)
		}
	}
	if hasControl(c.host) {
		return fault.New(fault.Invalid, "the Host header for Prometheus must be one line of text")
	}
	// the longest first, for one secret may contain another
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var pairs []string
	for _, s := range secrets {
		if len(s) > 2 { // anything shorter would blot out half the text and hide nothing
			pairs = append(pairs, s, "[redacted]")
		}
	}
	c.secrets = strings.NewReplacer(pairs...)
	return nil
}

func isHeaderName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

func newTransport(cfg Config, timeout time.Duration) (*http.Transport, error) {
	connect := min(maxConnectTime, timeout/2)
	secure := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: cfg.Insecure}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "can't read the certificates for Prometheus")
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.New(fault.Invalid, "%s contains no PEM certificate", cfg.CAFile)
		}
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     secure,
		TLSHandshakeTimeout: connect,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: parallel,
		IdleConnTimeout:     90 * time.Second,
	}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// URL returns the server's URL without credentials, for people.
func (c *Client) URL() string { return c.shown }

// post asks with a form, as queries are: they may be too long for a URL.
func (c *Client) post(ctx context.Context, what, path string, form url.Values, data func(*scanner) error) ([]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "can't make a request to Prometheus")
	}
	c.prepare(req)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.do(req, what, data)
}

// get asks what can't be asked by POST.
func (c *Client) get(ctx context.Context, what, path string, form url.Values, data func(*scanner) error) ([]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, http.NoBody)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "can't make a request to Prometheus")
	}
	req.URL.RawQuery = form.Encode()
	c.prepare(req)
	return c.do(req, what, data)
}

func (c *Client) prepare(req *http.Request) {
	req.Header = c.header.Clone()
	req.Host = cmp.Or(c.host, req.Host)
	// A query changes nothing, so the transport may send it again when an idle connection turns out to be closed. The
	// empty value says so to the transport only.
	req.Header["Idempotency-Key"] = []string{}
}

// do sends the request; what says what it is about. The answer's data is read by data. It returns the notes that came
// with a complete answer; anything else is an error.
func (c *Client) do(req *http.Request, what string, data func(*scanner) error) ([]string, error) {
	f := failure{client: c, what: what, caller: req.Context()}
	ctx, cancel := context.WithTimeout(req.Context(), c.timeout)
	defer cancel()
	res, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		return nil, f.unreachable(err)
	}
	defer res.Body.Close()
	f.res = res
	s := newScanner(&limited{src: res.Body, left: c.maxBody})
	e, err := readEnvelope(s, data)
	switch {
	case err != nil && res.StatusCode == http.StatusOK:
		return nil, f.unreadable(err, s.head)
	case err != nil:
		return nil, f.refused(nil, s.head)
	case e.status != "success" || res.StatusCode != http.StatusOK:
		return nil, f.refused(e, s.head)
	}
	return f.notes(e)
}
