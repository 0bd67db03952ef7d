// Package keystone asks OpenStack's Keystone who a token's holder is. It needs no credentials of its own: a token may look
// at itself.
package keystone

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"golang.org/x/sync/singleflight"

	"ratebook/access"
	"ratebook/fault"
)

const (
	// Remembered is how long an answer of Keystone's is believed: a token that is revoked there lets nobody in after that.
	Remembered = time.Minute

	refused    = 5 * time.Second // how long a token that Keystone does not know is refused without asking again
	patience   = 10 * time.Second
	mostTokens = 10_000
	mostToken  = 16 << 10 // bytes
	mostAtOnce = 16       // questions
)

// Config says which Keystone to ask.
type Config struct {
	URL        string   // with or without /v3
	CA         []byte   // PEM certificates to trust instead of the system's; nil: the system's
	Insecure   bool     // don't check its certificate
	AdminRoles []string // Keystone's roles that make an admin
	Now        func() time.Time
}

// Authenticator lets those in for whom Keystone vouches. It believes no header of a request but X-Auth-Token, and no answer of
// Keystone's for longer than Remembered.
type Authenticator struct {
	Config
	root  string // Keystone's address, for the challenge
	url   string // of its API
	http  http.Client
	calls singleflight.Group
	slots chan struct{} // of questions that may be open at a time

	mu    sync.Mutex
	known map[[32]byte]answer // by the token's digest
}

// answer is what Keystone said of a token.
type answer struct {
	caller *access.Caller // nil: it does not know the token
	until  time.Time
}

// New returns an authenticator; the error is Invalid if it could never ask.
func New(c Config) (*Authenticator, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fault.New(fault.Invalid, "%q is no address of a Keystone; it looks like https://keystone.example:5000/v3", c.URL)
	}
	root := strings.TrimSuffix(strings.TrimRight(c.URL, "/"), "/v3")
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.Insecure}
	if c.CA != nil {
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(c.CA) {
			return nil, fault.New(fault.Invalid, "the CA file for Keystone has no certificate in PEM form")
		}
	}
	return &Authenticator{
		Config: c, root: root, url: root + "/v3/", known: map[[32]byte]answer{}, slots: make(chan struct{}, mostAtOnce),
		http: http.Client{Transport: transport, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a redirect would carry the token elsewhere
		}},
	}, nil
}

// Challenge says which Keystone gives out tokens, as its own middleware does.
func (a *Authenticator) Challenge() string { return `Keystone uri="` + a.root + `"` }

// Authenticate returns who holds the request's X-Auth-Token. Whoever has an admin role may do everything; anyone else reads
// the project that the token is for, and no token without a project reads any.
func (a *Authenticator) Authenticate(r *http.Request) (*access.Caller, error) {
	token := r.Header.Get("X-Auth-Token")
	if token == "" || len(token) > mostToken {
		return nil, fault.New(fault.Unauthenticated, "the request has no token; get one from Keystone and send it as X-Auth-Token")
	}
	digest := sha256.Sum256([]byte(token))
	said, ok := a.remembered(digest)
	if !ok {
		// the request's own context would end the question for others who ask the same
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
		defer cancel()
		v, err, _ := a.calls.Do(string(digest[:]), func() (any, error) {
			select {
			case a.slots <- struct{}{}:
				defer func() { <-a.slots }()
			case <-ctx.Done():
				return nil, fault.Wrap(fault.Unavailable, ctx.Err(), "Keystone is asked about too many tokens just now; try again in a moment")
			}
			return a.ask(ctx, token, digest)
		})
		if err != nil {
			return nil, err
		}
		said = v.(answer)
	}
	if said.caller == nil {
		return nil, fault.New(fault.Unauthenticated, "Keystone does not know the token, or it has expired; get another one")
	}
	caller := *said.caller
	return &caller, nil
}

func (a *Authenticator) remembered(digest [32]byte) (answer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	said, ok := a.known[digest]
	return said, ok && a.Now().Before(said.until)
}

// ask asks Keystone, and remembers what it says.
func (a *Authenticator) ask(ctx context.Context, token string, digest [32]byte) (answer, error) {
	asked := a.Now() // what happens from here on may not be in the answer
	provider := &gophercloud.ProviderClient{HTTPClient: a.http, TokenID: token}
	result := tokens.Get(ctx, &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: a.url}, token)
	said := answer{until: asked.Add(refused)}
	if result.Err != nil {
		if e, ok := errors.AsType[gophercloud.ErrUnexpectedResponseCode](result.Err); !ok || e.Actual != http.StatusUnauthorized && e.Actual != http.StatusNotFound && e.Actual != http.StatusForbidden {
			return said, fault.Wrap(fault.Unavailable, result.Err, "Keystone can't be asked who you are just now; try again in a moment")
		}
	} else {
		caller, expires, err := a.caller(&result)
		if err != nil {
			return said, fault.Wrap(fault.Unavailable, err, "Keystone's answer can't be understood; try again in a moment")
		}
		if asked.Before(expires) {
			said.caller, said.until = caller, asked.Add(Remembered)
			if expires.Before(said.until) {
				said.until = expires
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known) >= mostTokens { // strangers must not push out those who are known
		maps.DeleteFunc(a.known, func(_ [32]byte, one answer) bool { return one.caller == nil || !asked.Before(one.until) })
	}
	if len(a.known) >= mostTokens {
		clear(a.known)
	}
	a.known[digest] = said
	return said, nil
}

// caller reads who a token's holder is, and until when.
func (a *Authenticator) caller(result *tokens.GetResult) (*access.Caller, time.Time, error) {
	token, err := result.ExtractToken()
	if err != nil {
		return nil, time.Time{}, err
	}
	user, errUser := result.ExtractUser()
	project, errProject := result.ExtractProject()
	roles, errRoles := result.ExtractRoles()
	if err := errors.Join(errUser, errProject, errRoles); err != nil {
		return nil, time.Time{}, err
	}
	if user == nil || user.ID == "" || token.ExpiresAt.IsZero() {
		return nil, time.Time{}, errors.New("it names no user, or no end of the token's validity")
	}
	c := &access.Caller{ID: user.ID, Role: access.Tenant}
	if project != nil && project.ID != "" {
		c.Project, c.Scopes = project.ID, []string{project.ID}
	}
	// a role in a domain says nothing of projects
	if c.Project != "" && slices.ContainsFunc(roles, func(r tokens.Role) bool { return slices.Contains(a.AdminRoles, r.Name) }) {
		c.Role, c.Scopes = access.Admin, nil
	}
	return c, token.ExpiresAt, nil
}
