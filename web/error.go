package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"ratebook/fault"
	"ratebook/views/layout"
	"ratebook/views/link"
	"ratebook/views/pages"
)

// problem is an error as its reader gets it; RFC 9457 names the fields.
type problem struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail,omitempty"`
	RequestID string  `json:"request_id"`
	Errors    []field `json:"errors,omitempty"`
}

type field struct {
	Name    string `json:"name"`
	Message string `json:"message"`
}

// statuses are those of the kinds of faults.
var statuses = map[fault.Kind]int{
	fault.Internal: http.StatusInternalServerError, fault.Invalid: http.StatusUnprocessableEntity, fault.NotFound: http.StatusNotFound,
	fault.Conflict: http.StatusConflict, fault.Forbidden: http.StatusForbidden, fault.Unauthenticated: http.StatusUnauthorized,
	fault.Unavailable: http.StatusServiceUnavailable,
}

// fail answers with an error, in the form that suits who asks. Texts of errors of ours or of the machine are for the log.
func (s *site) fail(err error, c echo.Context) {
	switch {
	case c.Request().Context().Err() != nil:
		s.log.Debug("a client went away", "path", c.Path(), "error", err, "request_id", of(c).id)
		of(c).gone = true
		if c.Response().Committed {
			breakOff(c)
		}
		return
	case c.Response().Committed: // all that is left is to show that the answer is incomplete
		s.log.Error("an answer broke off", "path", c.Path(), "error", err, "request_id", of(c).id)
		breakOff(c)
	}
	p := s.problem(err, c)
	if p.Status >= http.StatusInternalServerError && !errors.Is(err, errPanicked) {
		s.log.Error("a request failed", "path", c.Path(), "error", err, "request_id", p.RequestID)
	}
	h := c.Response().Header()
	h.Set(echo.HeaderCacheControl, "no-store")
	for _, name := range []string{"ETag", echo.HeaderContentType, echo.HeaderContentDisposition, echo.HeaderContentLength} {
		h.Del(name) // they were of the answer that did not come
	}
	if p.Status == http.StatusServiceUnavailable {
		h.Set(echo.HeaderRetryAfter, "10")
	}
	answer := func() error { return s.answer(c, p) }
	if a, ok := c.Get("api").(*API); ok {
		answer = func() error { return a.Fail(c, err) }
	}
	if err := answer(); err != nil { // mostly because the client has gone
		s.log.Debug("an error could not be told", "path", c.Path(), "error", err, "request_id", p.RequestID)
	}
}

// breakOff ends an answer in the middle, so that the client sees it: net/http leaves out the end that an answer in HTTP/1.1
// or 2 has. In HTTP/1.0 an answer ends with the connection, so that is reset.
func breakOff(c echo.Context) {
	if !c.Request().ProtoAtLeast(1, 1) {
		if conn, _, err := http.NewResponseController(c.Response().Writer).Hijack(); err == nil {
			if t, ok := conn.(*tls.Conn); ok {
				conn = t.NetConn() // without a word, which would say that all is well
			}
			if t, ok := conn.(*net.TCPConn); ok {
				_ = t.SetLinger(0)
			}
			_ = conn.Close()
		}
	}
	panic(http.ErrAbortHandler)
}

// problem says what of an error is for its reader.
func (s *site) problem(err error, c echo.Context) problem {
	p := problem{Type: "about:blank", Status: http.StatusInternalServerError, RequestID: of(c).id}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		p.Status = statuses[f.Kind]
		if f.Kind != fault.Internal {
			p.Detail = Sentence(f.Message)
			for _, one := range f.Fields {
				p.Errors = append(p.Errors, field(one))
			}
		}
	} else if h, ok := errors.AsType[*echo.HTTPError](err); ok {
		if p.Status = h.Code; p.Status == http.StatusRequestURITooLong {
			p.Detail = "The address is longer than 16 KB, which nothing here takes. Ask for less at once."
		}
	} else if errors.Is(err, context.DeadlineExceeded) {
		p.Status, p.Detail = http.StatusServiceUnavailable, "This took too long and was given up. Ask for less, or try again later."
	} else if _, ok := errors.AsType[net.Error](err); ok { // mostly the database's
		p.Status = http.StatusServiceUnavailable
	}
	p.Title = http.StatusText(p.Status)
	return p
}

func (s *site) answer(c echo.Context, p problem) error {
	if !s.machines[c.Path()] {
		vary(c)
		switch r := c.Request(); {
		case wantsJSON(r):
			c.Response().Header().Set(echo.HeaderContentType, "application/problem+json")
			return c.JSON(p.Status, p)
		case partial(c):
			return s.answerPart(c, p)
		case p.Status == http.StatusUnauthorized && r.Method == http.MethodGet && secretOf(r) == "":
			return Redirect(c, signIn(r.URL.RequestURI()), "")
		case strings.Contains(r.Header.Get(echo.HeaderAccept), echo.MIMETextHTML):
			return s.answerPage(c, p)
		}
	}
	text := p.Title
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	for _, e := range p.Errors {
		text += "\n  " + e.Name + ": " + e.Message
	}
	return c.String(p.Status, text+"\n")
}

// signIn is where to sign in to go on to path.
func signIn(path string) string {
	if path == "/" {
		return "/sign-in"
	}
	return "/sign-in?" + url.Values{"next": {path}}.Encode()
}

// answerPage is for people.
func (s *site) answerPage(c echo.Context, p problem) error {
	r, v := c.Request(), of(c)
	v.asked = v.asked || p.Status >= http.StatusInternalServerError // what makes the notice may be what fails
	shell := v.shell(c)
	view := explain(p)
	if r.Method == http.MethodGet && p.Status != http.StatusRequestURITooLong {
		view.Retry = Local(shell.Path) // the path may be //example.org
	}
	var page strings.Builder
	if err := layout.Full(shell, layout.Page{Title: view.Title}, pages.ErrorPage(view)).Render(r.Context(), &page); err != nil {
		return err
	}
	return c.HTML(p.Status, page.String())
}

// answerPart is for htmx, which shows it where messages are and leaves the page as it is.
func (s *site) answerPart(c echo.Context, p problem) error {
	h := c.Response().Header()
	if p.Status == http.StatusUnauthorized {
		next := "/"
		if from, err := url.Parse(c.Request().Header.Get("HX-Current-URL")); err == nil {
			next = Local(strings.TrimPrefix(from.RequestURI(), s.base))
		}
		h.Set("HX-Redirect", string(link.To(c.Request().Context(), signIn(next))))
		return c.NoContent(p.Status)
	}
	h.Set("HX-Retarget", "#flash")
	h.Set("HX-Reswap", "innerHTML")
	h.Set("HX-Push-Url", "false")
	view := explain(p)
	text := strings.Join(append([]string{view.Text}, view.Details...), " ")
	if view.Next != "" {
		text += " " + view.Next
	}
	if view.RequestID != "" {
		text += " (Request " + view.RequestID + ")"
	}
	var part strings.Builder
	if err := layout.Message(layout.Flash{Text: text, Wrong: true}).Render(c.Request().Context(), &part); err != nil {
		return err
	}
	return c.HTML(p.Status, part.String())
}

// wantsJSON reports whether a program asks, which does not want a page.
func wantsJSON(r *http.Request) bool {
	accept := r.Header.Get(echo.HeaderAccept)
	return strings.HasSuffix(r.URL.Path, ".json") || strings.HasSuffix(r.URL.Path, ".csv") ||
		strings.Contains(accept, echo.MIMEApplicationJSON) && !strings.Contains(accept, echo.MIMETextHTML)
}

// explain says in words what happened and what to do next.
func explain(p problem) pages.Error {
	e := pages.Error{Title: "This did not work", Text: p.Detail}
	var text string
	switch {
	case p.Status == http.StatusNotFound:
		e.Title, text = "Nothing here", "There is no such page."
		e.Next = "Check the address, or start from the overview."
	case p.Status == http.StatusMethodNotAllowed:
		e.Title, text = "Nothing here", "This address takes only what a form sends, or is only to be looked at."
		e.Next = "Start from the overview."
	case p.Status == http.StatusForbidden:
		e.Title, text = "Not for you", "You may not see or do this."
	case p.Status == http.StatusUnauthorized:
		e.Title, text = "Not signed in", "Your session is over."
		e.Next = "Sign in, then do it again."
	case p.Status == http.StatusConflict:
		text = "It clashes with what is there already."
		e.Next = "Go back, load the page again and see what has changed."
	case p.Status == http.StatusRequestEntityTooLarge:
		text = "What was sent is larger than 1 MB, which nothing here takes."
	case p.Status == http.StatusServiceUnavailable:
		e.Title, text = "Not available just now", "Something that is needed does not answer."
		e.Next = "Try again in a moment. If it stays so, tell whoever runs Ratebook."
		e.RequestID = p.RequestID
	case p.Status >= http.StatusInternalServerError:
		e.Title, text = "A mistake of ours", "Something went wrong here; it is not your doing."
		e.Next = "Try again. If it stays so, tell whoever runs Ratebook the number below: the log has the cause under it."
		e.RequestID = p.RequestID
	default:
		text = "The request can't be answered as it is."
		e.Next = "Go back and correct it."
	}
	if e.Text == "" {
		e.Text = text
	}
	for _, f := range p.Errors {
		e.Details = append(e.Details, fmt.Sprintf("%s: %s", f.Name, f.Message))
	}
	return e
}

// Sentence makes a message one that can stand alone.
func Sentence(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	if s == "" {
		return ""
	}
	s = string(unicode.ToUpper(first)) + s[size:]
	if strings.ContainsRune(".?:", rune(s[len(s)-1])) {
		return s
	}
	return s + "."
}
