package prometheus

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	bufferSize = 64 << 10
	maxToken   = 1 << 20 // the longest string or number, in bytes
	maxDepth   = 64      // of nested values that are skipped
	headSize   = 160     // how much of a foreign answer an error quotes
)

// syntaxError says that a text is not the JSON expected.
type syntaxError struct {
	offset int64 // of the byte that surprised
	reason string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.reason, e.offset) }

// scanner reads JSON from a stream, token by token, in a buffer that doesn't grow with the stream. It is strict: what it
// accepts is JSON in valid UTF-8.
//
// A returned slice is valid until the next call of any method.
type scanner struct {
	src      io.Reader
	srcErr   error // why src gives no more
	buf      []byte
	pos, end int    // buf[pos:end] is still to be read
	base     int64  // the offset of buf[0] in the stream
	name     []byte // of the object member at hand
	scratch  []byte // a string whose escapes were resolved
	head     string // how the stream begins
}

func newScanner(src io.Reader) *scanner {
	return &scanner{src: src, buf: make([]byte, bufferSize)}
}

// more reads on, keeping everything from pos, which moves to the front. It returns false if the stream ends or fails.
func (s *scanner) more() bool {
	if s.srcErr != nil {
		return false
	}
	copy(s.buf, s.buf[s.pos:s.end])
	s.base += int64(s.pos)
	s.end -= s.pos
	s.pos = 0
	if s.end == len(s.buf) {
		if s.end >= maxToken {
			s.srcErr = s.errorf("a text longer than %d bytes", maxToken)
			return false
		}
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	for range 100 {
		n, err := s.src.Read(s.buf[s.end:])
		s.end += n
		s.srcErr = err
		if n > 0 {
			if s.head == "" {
				s.head = string(s.buf[:min(s.end, headSize)])
			}
			return true
		}
		if err != nil {
			return false
		}
	}
	s.srcErr = io.ErrNoProgress
	return false
}

// ended returns the error of a stream that gives no more where more is needed.
func (s *scanner) ended() error {
	if errors.Is(s.srcErr, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return s.srcErr
}

func (s *scanner) errorf(format string, args ...any) error {
	return &syntaxError{s.base + int64(s.pos), fmt.Sprintf(format, args...)}
}

// peek returns the next byte that is no white space, without reading it.
func (s *scanner) peek() (byte, error) {
	for {
		for s.pos < s.end {
			switch c := s.buf[s.pos]; c {
			case ' ', '\t', '\n', '\r':
				s.pos++
			default:
				return c, nil
			}
		}
		if !s.more() {
			return 0, s.ended()
		}
	}
}

// expect reads the given punctuation.
func (s *scanner) expect(want byte) error {
	if s.pos < s.end && s.buf[s.pos] == want {
		s.pos++
		return nil
	}
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c != want {
		return s.errorf("%q instead of %q", c, want)
	}
	s.pos++
	return nil
}

// finish makes sure that nothing but white space follows.
func (s *scanner) finish() error {
	c, err := s.peek()
	if err == nil {
		return s.errorf("%q after the end", c)
	}
	if errors.Is(s.srcErr, io.EOF) {
		return nil
	}
	return err
}

// next reads what separates the elements of an array or object and reports whether there is another element.
func (s *scanner) next(closing byte) (bool, error) {
	c, err := s.peek()
	if err != nil {
		return false, err
	}
	s.pos++
	switch c {
	case ',':
		return true, nil
	case closing:
		return false, nil
	}
	s.pos--
	return false, s.errorf("%q instead of ',' or %q", c, closing)
}

// object reads an object; member reads the value of each named member.
func (s *scanner) object(member func(name []byte) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	if c, err := s.peek(); err != nil {
		return err
	} else if c == '}' {
		s.pos++
		return nil
	}
	for {
		t, err := s.text()
		if err != nil {
			return err
		}
		s.name = append(s.name[:0], t...)
		if err := s.expect(':'); err != nil {
			return err
		}
		if err := member(s.name); err != nil {
			return err
		}
		if another, err := s.next('}'); err != nil || !another {
			return err
		}
	}
}

// array reads an array; element reads each element.
func (s *scanner) array(element func() error) error {
	if err := s.expect('['); err != nil {
		return err
	}
	if c, err := s.peek(); err != nil {
		return err
	} else if c == ']' {
		s.pos++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if another, err := s.next(']'); err != nil || !another {
			return err
		}
	}
}

// text reads a string and returns it without quotes and escapes.
func (s *scanner) text() ([]byte, error) {
	if err := s.expect('"'); err != nil {
		return nil, err
	}
	ascii, escaped := true, false
	for n := 0; ; n++ {
		for s.pos+n >= s.end {
			if !s.more() {
				return nil, s.ended()
			}
		}
		switch c := s.buf[s.pos+n]; {
		case c == '"':
			t := s.buf[s.pos : s.pos+n]
			if !ascii && !utf8.Valid(t) {
				return nil, s.errorf("a string in broken UTF-8")
			}
			if escaped {
				if t = s.unescape(t); t == nil {
					return nil, s.errorf("a broken escape in a string")
				}
			}
			s.pos += n + 1
			return t, nil
		case c == '\\':
			escaped = true
			n++ // whatever follows does not end the string
		case c < ' ':
			return nil, s.errorf("a control character in a string")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
}

// unescape resolves the escapes of t, or returns nil if one is broken.
func (s *scanner) unescape(t []byte) []byte {
	out := s.scratch[:0]
	if out == nil {
		out = make([]byte, 0, 64)
	}
	for len(t) > 0 {
		if t[0] != '\\' {
			out = append(out, t[0])
			t = t[1:]
			continue
		}
		if len(t) < 2 {
			return nil
		}
		c := t[1]
		t = t[2:]
		switch c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, ok := hex4(t)
			if !ok {
				return nil
			}
			t = t[4:]
			if utf16.IsSurrogate(r) {
				if len(t) < 6 || t[0] != '\\' || t[1] != 'u' {
					return nil
				}
				low, ok := hex4(t[2:])
				if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
					return nil // half a pair is no character
				}
				t = t[6:]
			}
			out = utf8.AppendRune(out, r)
		default:
			return nil
		}
	}
	s.scratch = out
	return out
}

func hex4(t []byte) (r rune, ok bool) {
	if len(t) < 4 {
		return 0, false
	}
	for _, c := range t[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// number reads a number and returns its text.
func (s *scanner) number() ([]byte, error) {
	if _, err := s.peek(); err != nil {
		return nil, err
	}
	n := 0
	for {
		for s.pos+n < s.end && numeric[s.buf[s.pos+n]] {
			n++
		}
		if s.pos+n < s.end {
			break
		}
		if !s.more() {
			return nil, s.ended() // no answer ends with a number
		}
	}
	t := s.buf[s.pos : s.pos+n]
	if !isNumber(t) {
		return nil, s.errorf("no number")
	}
	s.pos += n
	return t, nil
}

var numeric = func() (set [256]bool) {
	for _, c := range "+-.0123456789eE" {
		set[c] = true
	}
	return set
}()

// isNumber reports whether t is a number by JSON's grammar.
func isNumber(t []byte) bool {
	if len(t) > 0 && t[0] == '-' {
		t = t[1:]
	}
	whole, t := digits(t)
	if len(whole) == 0 || len(whole) > 1 && whole[0] == '0' {
		return false
	}
	var some []byte
	if len(t) > 0 && t[0] == '.' {
		if some, t = digits(t[1:]); len(some) == 0 {
			return false
		}
	}
	if len(t) > 0 && (t[0] == 'e' || t[0] == 'E') {
		t = t[1:]
		if len(t) > 0 && (t[0] == '+' || t[0] == '-') {
			t = t[1:]
		}
		if some, t = digits(t); len(some) == 0 {
			return false
		}
	}
	return len(t) == 0
}

// digits cuts t behind its leading digits.
func digits(t []byte) (leading, rest []byte) {
	for i, c := range t {
		if c < '0' || c > '9' {
			return t[:i], t[i:]
		}
	}
	return t, nil
}

// literal reads true, false or null.
func (s *scanner) literal() (string, error) {
	c, err := s.peek()
	if err != nil {
		return "", err
	}
	var word string
	switch c {
	case 't':
		word = "true"
	case 'f':
		word = "false"
	case 'n':
		word = "null"
	default:
		return "", s.errorf("an unexpected %q", c)
	}
	for s.end-s.pos < len(word) {
		if !s.more() {
			return "", s.ended()
		}
	}
	if string(s.buf[s.pos:s.pos+len(word)]) != word {
		return "", s.errorf("an unexpected %q", c)
	}
	s.pos += len(word)
	return word, nil
}

// skip reads any value and drops it. Depth is how deep the value lies in others that are dropped.
func (s *scanner) skip(depth int) error {
	if depth > maxDepth {
		return s.errorf("nesting deeper than %d levels", maxDepth)
	}
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch {
	case c == '{':
		return s.object(func([]byte) error { return s.skip(depth + 1) })
	case c == '[':
		return s.array(func() error { return s.skip(depth + 1) })
	case c == '"':
		_, err = s.text()
	case c == '-' || c >= '0' && c <= '9':
		_, err = s.number()
	default:
		_, err = s.literal()
	}
	return err
}
