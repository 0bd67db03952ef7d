package web

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ratebook/access"
	"ratebook/fault"
)

// start serves the checks and returns the URL, the log, and what stops the server and returns its error.
func start(t *testing.T, metrics http.Handler, checks ...Check) (url string, log *record, stop func() error) {
	t.Helper()
	log = new(record)
	addr, stop := serve(t, Config{MetricsToken: "token", Metrics: metrics, Checks: checks, Log: slog.New(slog.NewTextHandler(log, nil))})
	return "http://" + addr, log, stop
}

// serve serves c on a free port.
func serve(t *testing.T, c Config) (addr string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	open, ended := make(chan net.Addr, 1), make(chan error, 1)
	c.Listen, c.Listening = "127.0.0.1:0", func(a net.Addr) { open <- a }
	go func() { ended <- Serve(ctx, c) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return (<-open).String(), stop
}

// record is a log that can be read while it is written.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(b)
}

func (r *record) has(s string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(r.b.String(), s)
}

func do(t *testing.T, method, url string, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer token")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func ok(context.Context) error { return nil }

// TestReadyz: what is wrong with which component is for the log; strangers learn only which.
func TestReadyz(t *testing.T) {
	url, log, _ := start(t, nil, Check{"one", ok}, Check{"two", func(context.Context) error { return errors.New("password of two") }}, Check{"three", ok})
	code, body := do(t, http.MethodGet, url+"/readyz", http.NoBody)
	if code != 503 || body != `{"one":"ok","three":"ok","two":"not ready"}`+"\n" {
		t.Errorf("%d %s", code, body)
	}
	if !log.has("password of two") {
		t.Error("the log doesn't say why")
	}
}

func TestPanics(t *testing.T) {
	url, log, _ := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("metrics are gone") }),
		Check{"one", func(context.Context) error { panic("one is gone") }})
	for _, path := range []string{"/readyz", "/metrics"} {
		if code, body := do(t, http.MethodGet, url+path, http.NoBody); code != 500 || body != "Internal Server Error\n" {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if !log.has("one is gone") || !log.has("metrics are gone") || !log.has("server_test.go") {
		t.Error("the log doesn't say what panicked, and where")
	}
	if code, _ := do(t, http.MethodGet, url+"/healthz", http.NoBody); code != 200 {
		t.Errorf("after a panic /healthz is %d", code)
	}
}

func TestBodyLimit(t *testing.T) {
	url, _, _ := start(t, nil)
	if code, body := do(t, http.MethodGet, url+"/healthz", bytes.NewReader(make([]byte, 2<<20))); code != 413 || body != "Request Entity Too Large\n" {
		t.Errorf("%d %s", code, body)
	}
}

func TestHeaderLimit(t *testing.T) {
	url, _, _ := start(t, nil)
	for size, want := range map[int]int{20 << 10: 200, 40 << 10: 431} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/healthz", http.NoBody)
		req.Header.Set("X-Long", strings.Repeat("x", size))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%d bytes: %d", size, res.StatusCode)
		}
	}
}

// TestStop: requests under way are answered to their end.
func TestStop(t *testing.T) {
	begun, release := make(chan bool), make(chan bool)
	url, _, stop := start(t, nil, Check{"slow", func(context.Context) error { begun <- true; <-release; return nil }})
	answer := make(chan string, 1)
	go func() {
		code, body := do(t, http.MethodGet, url+"/readyz", http.NoBody)
		answer <- http.StatusText(code) + " " + body
	}()
	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	deadline := time.After(30 * time.Second)
	for { // until nobody is let in any more
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			break
		}
		c.Close()
		select {
		case <-deadline:
			t.Fatal("it goes on listening")
		case <-time.After(10 * time.Millisecond):
		}
	}
	release <- true
	if got := <-answer; got != `OK {"slow":"ok"}`+"\n" {
		t.Errorf("got %q", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestDrain: load balancers learn that they should look elsewhere while requests are still answered.
func TestDrain(t *testing.T) {
	addr, stop := serve(t, Config{Drain: time.Second})
	url := "http://" + addr
	if code, body := do(t, http.MethodGet, url+"/readyz", http.NoBody); code != 200 || body != "{}\n" {
		t.Errorf("%d %s", code, body)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for deadline := time.Now().Add(10 * time.Second); ; {
		code, body := do(t, http.MethodGet, url+"/readyz", http.NoBody)
		if code == 503 {
			if body != `{"server":"stopping"}`+"\n" {
				t.Errorf("got %s", body)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it goes on being ready")
		}
	}
	if code, _ := do(t, http.MethodGet, url+"/healthz", http.NoBody); code != 200 {
		t.Errorf("/healthz is %d", code)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certFile, keyFile := write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", keyBytes)
	addr, _ := serve(t, Config{TLSCert: certFile, TLSKey: keyFile})
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		parsed, _ := x509.ParseCertificate(cert)
		roots := x509.NewCertPool()
		roots.AddCert(parsed)
		client := http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: version}, //nolint:gosec // it is to be refused
		}}
		res, err := client.Get("https://" + addr + "/healthz")
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			res.Body.Close()
			if res.Header.Get("Strict-Transport-Security") == "" {
				t.Error("https without HSTS")
			}
		}
	}
	if err := Serve(t.Context(), Config{TLSCert: certFile, TLSKey: certFile}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "cert.pem") {
		t.Error(err)
	}
}

// TestAuthentication holds what a request says of who asks against who is let in.
func TestAuthentication(t *testing.T) {
	for _, c := range []struct {
		authorization, token string
		want                 string
	}{
		{"", "", ""},
		{"Bearer rb_1", "", "rb_1"},
		{"bearer  rb_1 ", "", "rb_1"},
		{"Basic dXNlcjpwYXNz", "", ""},
		{"rb_1", "", ""},
		{"Basic dXNlcjpwYXNz", "rb_2", "rb_2"},
		{"Bearer rb_1", "rb_2", "rb_2"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", c.authorization)
		r.Header.Set("X-Auth-Token", c.token)
		if got := secretOf(r); got != c.want {
			t.Errorf("%+v has the secret %q", c, got)
		}
	}
	for host, let := range map[string]bool{
		"localhost": true, "localhost:8080": true, "LOCALHOST:1": true, "127.0.0.1:8080": true, "127.8.8.8": true, "[::1]:8080": true, "::1": true,
		"billing.example:8080": true, "": false, "evil.example": false, "evil.example:8080": false, "10.0.0.1": false, "localhost.evil.example": false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/v2/scope", nil)
		r.Host = host
		r.Header.Set("X-Project-Id", "acme")
		who, err := NoAuth{Host: "billing.example"}.Authenticate(r)
		if (err == nil) != let || err != nil && fault.KindOf(err) != fault.Forbidden || err == nil && (who.Role != access.Admin || who.Project != "acme") {
			t.Errorf("by the name %q: %+v, %v", host, who, err)
		}
	}
}
