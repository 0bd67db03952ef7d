package prometheus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"ratebook/fault"
	"ratebook/metering"
)

// failure turns what may go wrong with one request into errors for an operator.
type failure struct {
	client *Client
	what   string          // the request was about
	caller context.Context // without the request's own timeout
	res    *http.Response  // nil before there is one
}

// errorf returns an error whose message names the server and the question. The server's words in it are made harmless.
func (f failure) errorf(kind fault.Kind, cause error, format string, args ...any) error {
	said := f.client.secrets.Replace(fmt.Sprintf(format, args...))
	return fault.Wrap(kind, cause, "Prometheus at %s, %s: %s", f.client.shown, f.what, said)
}

// tooMuch is errorf for what a smaller question may avoid.
func (f failure) tooMuch(format string, args ...any) error {
	return f.errorf(fault.Unavailable, metering.ErrTooMuch, format, args...)
}

// ofQuestion is errorf for what other scopes or windows may not suffer from.
func (f failure) ofQuestion(kind fault.Kind, format string, args ...any) error {
	return f.errorf(kind, metering.ErrQuestion, format, args...)
}

// unreachable is about a request without an answer.
func (f failure) unreachable(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err // without the URL, which the message has already
	}
	if f.caller.Err() != nil {
		return f.errorf(fault.Unavailable, context.Cause(f.caller), "interrupted")
	}
	op, ok := errors.AsType[*net.OpError](err)
	connecting := ok && op.Op == "dial"
	if !connecting && errors.Is(err, context.DeadlineExceeded) {
		return f.tooMuch("no complete answer within %s", f.client.timeout)
	}
	return f.errorf(fault.Unavailable, nil, "no answer: %s", err)
}

// unreadable is about an answer with the status 200 that is not one, or not to its end.
func (f failure) unreadable(err error, head string) error {
	start := strings.TrimSpace(head)
	switch {
	case errors.Is(err, errTooLarge):
		return f.tooMuch("the answer is larger than %d MiB", f.client.maxBody>>20)
	case errors.Is(err, metering.ErrTooMuch):
		return f.errorf(fault.Unavailable, err, "the answer has more points than fit one batch")
	case start != "" && start[0] != '{':
		return f.errorf(fault.Unavailable, nil, "the answer is no JSON but %s that begins with %q; does the URL lead to Prometheus?",
			contentType(f.res), excerpt(start))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return f.errorf(fault.Unavailable, nil, "the answer breaks off")
	}
	if _, ok := errors.AsType[*syntaxError](err); ok {
		return f.errorf(fault.Unavailable, nil, "the answer can't be understood: %s", err)
	}
	if _, ok := errors.AsType[*contentError](err); ok {
		return f.ofQuestion(fault.Unavailable, "the answer contains %s", err)
	}
	return f.unreachable(err)
}

// refused is about an answer that says error, in JSON (e) or by its status alone.
func (f failure) refused(e *envelope, head string) error {
	code := f.res.StatusCode
	status := fmt.Sprintf("%d %s", code, http.StatusText(code))
	words := status
	switch {
	case e != nil && e.status == "error":
		words = excerpt(e.errorType) + ": " + excerpt(e.message)
	case head != "":
		words = fmt.Sprintf("%s, %q", status, excerpt(head))
	}
	switch {
	case code >= 300 && code < 400:
		return f.errorf(fault.Unavailable, nil, "redirected to %s (%s); a log-in page? Redirects are not followed: set the URL and credentials right",
			redirection(f.res), status)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return f.errorf(fault.Unavailable, nil, "access denied (%s); check the user, password, token or headers", words)
	case starting(code, head):
		return f.errorf(fault.Unavailable, nil, "the server is starting or stopping (%s)", words)
	case sizeMatters(code, e):
		return f.tooMuch("%s", words)
	case e != nil && e.errorType == "bad_data":
		return f.ofQuestion(fault.Invalid, "%s", words)
	case e != nil && e.status == "error" && e.errorType == "internal": // what is stored of some series for some time can't be read
		return f.ofQuestion(fault.Unavailable, "%s", words)
	case code == http.StatusNotFound || code == http.StatusMethodNotAllowed:
		return f.errorf(fault.Unavailable, nil, "%s; does the URL lead to Prometheus?", words)
	}
	return f.errorf(fault.Unavailable, nil, "%s", words)
}

// sizeMatters reports whether a smaller question may well be answered.
func sizeMatters(code int, e *envelope) bool {
	switch code {
	case http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	if e == nil || e.status != "error" {
		return false
	}
	return e.errorType == "timeout" || e.errorType == "execution" ||
		strings.Contains(e.message, "exceeded maximum resolution of") ||
		strings.Contains(e.message, "query processing would load too many samples")
}

// starting reports whether Prometheus answers only that it isn't ready, which no smaller question changes.
func starting(code int, head string) bool {
	return code == http.StatusServiceUnavailable && strings.TrimSpace(head) == "Service Unavailable"
}

// notes returns the remarks that came with an answer, or an error if they say that it is not complete.
func (f failure) notes(e *envelope) ([]string, error) {
	if e.partial {
		return nil, f.errorf(fault.Unavailable, nil, "the answer is partial: some storage nodes did not answer")
	}
	notes := e.infos
	for _, w := range e.warnings {
		if !strings.HasPrefix(w, "PromQL info:") && !strings.HasPrefix(w, "PromQL warning:") {
			return nil, f.errorf(fault.Unavailable, nil, "the answer may be partial: %s", excerpt(w))
		}
		notes = append(notes, w)
	}
	for i, n := range notes {
		notes[i] = f.client.secrets.Replace(excerpt(n))
	}
	return notes, nil
}

func contentType(res *http.Response) string {
	t, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	if t == "" {
		return "something"
	}
	return excerpt(t)
}

// redirection returns where an answer points to, without anything that may be secret.
func redirection(res *http.Response) string {
	u, err := res.Location()
	if err != nil {
		return "nowhere"
	}
	return excerpt((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String())
}

// excerpt makes a server's words fit a message: one line, not endless.
func excerpt(s string) string {
	const most = 400
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " ")
	for i := range s {
		if i >= most {
			return s[:i] + "…"
		}
	}
	return s
}

var errTooLarge = errors.New("answer too large")

// limited passes on at most left bytes and fails on the next one.
type limited struct {
	src  io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > l.left {
		p = p[:l.left+1] // one more tells too large from just fitting
	}
	n, err := l.src.Read(p)
	l.left -= int64(n)
	if l.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}
