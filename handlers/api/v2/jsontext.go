package v2

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// scanner reads JSON that is known to be valid, without making anything of what is not asked for.
type scanner struct {
	b []byte
	i int
}

// next returns the first byte of the value that comes: one of {["tfn, or of a number.
func (s *scanner) next() byte {
	for {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\r', '\n', ',', ':': // where they may stand was looked at before
			s.i++
		default:
			return c
		}
	}
}

// skip returns the value that comes, as it is written.
func (s *scanner) skip() []byte {
	c := s.next()
	from := s.i
	switch c {
	case '"':
		s.quoted()
	case '{', '[':
		for depth := 0; ; {
			switch s.b[s.i] {
			case '"':
				s.quoted()
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			if s.i++; depth == 0 {
				return s.b[from:s.i]
			}
		}
	default:
		for s.i < len(s.b) && !ends(s.b[s.i]) {
			s.i++
		}
	}
	return s.b[from:s.i]
}

// ends reports whether a byte ends a number or a word.
func ends(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ',', ':', ']', '}':
		return true
	}
	return false
}

// quoted passes over a text, and returns what is between its quotes.
func (s *scanner) quoted() []byte {
	s.i++
	from := s.i
	for {
		end := bytes.IndexByte(s.b[s.i:], '"')
		s.i += end + 1
		escapes := 0
		for at := s.i - 2; at >= from && s.b[at] == '\\'; at-- {
			escapes++
		}
		if escapes%2 == 0 {
			return s.b[from : s.i-1]
		}
	}
}

// text returns the text that comes. It is valid until the scanner's bytes change.
func (s *scanner) text() []byte {
	from := s.i
	inner := s.quoted()
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return inner
	}
	return []byte(unquote(s.b[from:s.i]))
}

// unquote returns what a JSON text says. Half characters and bytes that are no text become U+FFFD.
func unquote(raw []byte) string {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return string(raw)
	}
	return text
}

// object calls read after each name of the object that comes; it must read the value. The name is valid until then.
func (s *scanner) object(read func(name []byte) error) error {
	s.next()
	s.i++
	for s.next() != '}' {
		name := s.text()
		s.next()
		if err := read(name); err != nil {
			return err
		}
	}
	s.i++
	return nil
}

// array calls read for each element of the array that comes; it must read it.
func (s *scanner) array(read func(i int) error) error {
	s.next()
	s.i++
	for i := 0; s.next() != ']'; i++ {
		if err := read(i); err != nil {
			return err
		}
	}
	s.i++
	return nil
}

// mostRepeated is how many bytes an error repeats of what was sent.
const mostRepeated = 1000

// python writes values as Python shows them, up to mostRepeated bytes.
type python struct{ b []byte }

func (p *python) full() bool { return len(p.b) > mostRepeated }

func (p *python) String() string {
	if !p.full() {
		return string(p.b)
	}
	return strings.ToValidUTF8(string(p.b[:mostRepeated]), "") + "..."
}

// value writes the JSON value that comes.
func (p *python) value(s *scanner) {
	if p.full() {
		return // and the scanner is of no use any more
	}
	switch c := s.next(); c {
	case '{':
		p.b = append(p.b, '{')
		s.i++
		for n := 0; !p.full() && s.next() != '}'; n++ {
			if n > 0 {
				p.b = append(p.b, ", "...)
			}
			p.text(string(s.text()))
			p.b = append(p.b, ": "...)
			p.value(s)
		}
		s.i++
		p.b = append(p.b, '}')
	case '[':
		p.b = append(p.b, '[')
		s.i++
		for n := 0; !p.full() && s.next() != ']'; n++ {
			if n > 0 {
				p.b = append(p.b, ", "...)
			}
			p.value(s)
		}
		s.i++
		p.b = append(p.b, ']')
	case '"':
		p.text(string(s.text()))
	case 't':
		s.skip()
		p.b = append(p.b, "True"...)
	case 'f':
		s.skip()
		p.b = append(p.b, "False"...)
	case 'n':
		s.skip()
		p.b = append(p.b, "None"...)
	default:
		p.number(string(s.skip()))
	}
}

func (p *python) number(text string) {
	if !strings.ContainsAny(text, ".eE") {
		p.b = append(p.b, text...)
		return
	}
	f, _ := strconv.ParseFloat(text, 64) // to show it as Python would; nothing is computed with it
	e := strconv.AppendFloat(nil, f, 'e', -1, 64)
	exponent, _ := strconv.Atoi(string(e[bytes.IndexByte(e, 'e')+1:]))
	if exponent < -4 || exponent >= 16 {
		p.b = append(p.b, e...)
		return
	}
	from := len(p.b)
	p.b = strconv.AppendFloat(p.b, f, 'f', -1, 64)
	if bytes.IndexByte(p.b[from:], '.') < 0 {
		p.b = append(p.b, ".0"...)
	}
}

// text writes a text between quotes.
func (p *python) text(text string) {
	quote := byte('\'')
	if strings.Contains(text, "'") && !strings.Contains(text, `"`) {
		quote = '"'
	}
	p.b = append(p.b, quote)
	for _, r := range text {
		if p.full() {
			return
		}
		switch {
		case r == rune(quote) || r == '\\':
			p.b = append(p.b, '\\', byte(r))
		case r == '\n':
			p.b = append(p.b, `\n`...)
		case r == '\r':
			p.b = append(p.b, `\r`...)
		case r == '\t':
			p.b = append(p.b, `\t`...)
		case strconv.IsPrint(r):
			p.b = utf8.AppendRune(p.b, r)
		case r < 0x100:
			p.b = append(append(p.b, `\x`...), hex(r, 2)...)
		case r < 0x10000:
			p.b = append(append(p.b, `\u`...), hex(r, 4)...)
		default:
			p.b = append(append(p.b, `\U`...), hex(r, 8)...)
		}
	}
	p.b = append(p.b, quote)
}

func hex(r rune, digits int) string {
	text := strconv.FormatInt(int64(r), 16)
	return strings.Repeat("0", digits-len(text)) + text
}

// list writes texts as a list.
func (p *python) list(texts []string) {
	p.b = append(p.b, '[')
	for i, text := range texts {
		if i > 0 {
			p.b = append(p.b, ", "...)
		}
		if p.full() {
			return
		}
		p.text(text)
	}
	p.b = append(p.b, ']')
}

func pythonList(texts ...string) string {
	var p python
	p.list(texts)
	return p.String()
}

// appendJSON appends a text as JSON.
func appendJSON(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, err := json.Marshal(text)
			if err != nil {
				quoted = []byte(`""`)
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}
