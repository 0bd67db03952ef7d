package v2

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/fault"
)

// argument is a query parameter with its values, or a member of the JSON object in the body.
type argument struct {
	name   string
	values []string
	raw    []byte // JSON; nil: it is a query parameter
}

// arguments are those of a request, in the order they were sent.
type arguments struct {
	all   []argument
	shown func() string // as Python shows them
}

// mostArguments is how many arguments a request may have, members a body, and keys its filters.
const mostArguments = 200

var tooManyArguments = fmt.Sprintf("more than %d of them are not taken", mostArguments)

// queryOf reads a request's query. Whatever is in it is an argument, however it is spelled; [arguments.check] refuses too many.
func queryOf(c echo.Context) *arguments {
	a := &arguments{}
	at := map[string]int{}
	for pair := range strings.SplitSeq(c.Request().URL.RawQuery, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, value = unescape(name), unescape(value)
		i, ok := at[name]
		if !ok {
			i = len(a.all)
			at[name] = i
			a.all = append(a.all, argument{name: name})
		}
		a.all[i].values = append(a.all[i].values, value)
	}
	a.shown = func() string {
		p := python{b: []byte("{")}
		for i := range a.all {
			if i > 0 {
				p.b = append(p.b, ", "...)
			}
			p.text(a.all[i].name)
			p.b = append(p.b, ": "...)
			p.list(a.all[i].values)
			if p.full() {
				break
			}
		}
		p.b = append(p.b, '}')
		return p.String()
	}
	return a
}

// unescape reads a part of a query; a % that means nothing stays.
func unescape(s string) string {
	text, err := url.QueryUnescape(s)
	if err != nil {
		text, _ = url.QueryUnescape(strayPercent(s))
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

func strayPercent(s string) string {
	isHex := func(c byte) bool { return strings.IndexByte("0123456789abcdefABCDEF", c) >= 0 }
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte(s[i])
		if s[i] == '%' && (i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2])) {
			b.WriteString("25")
		}
	}
	return b.String()
}

// jsonOf reads a request's body, which must be JSON and say so.
func jsonOf(c echo.Context) ([]byte, error) {
	r := c.Request()
	kind, _, err := mime.ParseMediaType(r.Header.Get(echo.HeaderContentType))
	if err != nil || kind != "application/json" && (!strings.HasPrefix(kind, "application/") || !strings.HasSuffix(kind, "+json")) {
		return nil, exact(fault.Invalid, badRequest)
	}
	var b bytes.Buffer
	if n := r.ContentLength; n > 0 && n < 1<<28 {
		b.Grow(int(n) + bytes.MinRead)
	}
	if _, err := io.Copy(&b, r.Body); err != nil {
		if he, ok := err.(*echo.HTTPError); ok { //nolint:errorlint // the body's limit returns just that
			return nil, he
		}
		return nil, fault.Wrap(fault.Invalid, errExact, badRequest)
	}
	if !json.Valid(b.Bytes()) {
		return nil, exact(fault.Invalid, badRequest)
	}
	return b.Bytes(), nil
}

// showJSON returns what shows a body.
func showJSON(body []byte) func() string {
	return func() string {
		var p python
		p.value(&scanner{b: body})
		return p.String()
	}
}

// bodyOf reads the JSON object that a request brings.
func bodyOf(c echo.Context) (*arguments, error) {
	body, err := jsonOf(c)
	if err != nil {
		return nil, err
	}
	a := &arguments{shown: showJSON(body)}
	s := &scanner{b: body}
	if s.next() != '{' {
		return nil, a.wrong("expected a dictionary")
	}
	members := 0
	err = s.object(func(name []byte) error {
		if members++; members > mostArguments {
			return a.wrong(tooManyArguments)
		}
		one := argument{name: string(name), raw: s.skip()}
		if i := slices.IndexFunc(a.all, func(have argument) bool { return have.name == one.name }); i >= 0 {
			a.all[i] = one
		} else {
			a.all = append(a.all, one)
		}
		return nil
	})
	return a, err
}

// wrong is the error for what is wrong at a path of names and numbers.
func (a *arguments) wrong(message string, path ...any) error {
	var p python
	p.b = append(p.b, '[')
	for i, step := range path {
		if i > 0 {
			p.b = append(p.b, ", "...)
		}
		switch step := step.(type) {
		case string:
			p.text(step)
		case int:
			p.b = strconv.AppendInt(p.b, int64(step), 10)
		case group:
			p.b = append(p.b, "<"+string(step)+">"...)
		}
	}
	p.b = append(p.b, ']')
	return exact(fault.Invalid, "Invalid data '%s' : %s (path: '%s')", a.shown(), message, p.String())
}

// group names arguments of which there may be one.
type group string

// rule says what an argument may be. read returns what is wrong with it, or nothing.
type rule struct {
	name     string
	required bool
	group    group
	read     func(a *argument) (wrong string)
}

// check reads the arguments by rules.
func (a *arguments) check(rules ...rule) error {
	if len(a.all) > mostArguments {
		return a.wrong(tooManyArguments)
	}
	seen := map[group]bool{}
	for _, r := range rules {
		if r.group == "" || !a.has(r.name) {
			continue
		}
		if seen[r.group] {
			return a.wrong("two or more values in the same group of exclusion '"+string(r.group)+"'", r.group)
		}
		seen[r.group] = true
	}
	for i := range a.all {
		one := &a.all[i]
		n := slices.IndexFunc(rules, func(r rule) bool { return r.name == one.name })
		if n < 0 {
			return a.wrong("extra keys not allowed", one.name)
		}
		if wrong := rules[n].read(one); wrong != "" {
			return a.wrong(wrong, one.name)
		}
	}
	for _, r := range rules {
		if r.required && !a.has(r.name) {
			return a.wrong("required key not provided", r.name)
		}
	}
	return nil
}

func (a *arguments) has(name string) bool {
	return slices.ContainsFunc(a.all, func(one argument) bool { return one.name == name })
}

const onlyOne = "length of value must be 1"

// single returns the argument's only value, as a text. A list of one is that.
func (a *argument) single() (text string, wrong string) {
	if a.raw == nil {
		if len(a.values) != 1 {
			return "", onlyOne
		}
		return a.values[0], unstorable(a.values[0])
	}
	raw := a.raw
	if raw[0] == '[' {
		var all [][]byte
		s := &scanner{b: raw}
		_ = s.array(func(int) error { all = append(all, s.skip()); return nil })
		if len(all) != 1 {
			return "", onlyOne
		}
		raw = all[0]
	}
	return scalar(raw)
}

// scalar returns a JSON text or number as a text.
func scalar(raw []byte) (text string, wrong string) {
	switch raw[0] {
	case '"':
		text = unquote(raw)
		return text, unstorable(text)
	case '{', '[', 't', 'f', 'n':
		return "", "expected str"
	default:
		return string(raw), ""
	}
}

// unstorable says what is wrong with a text that no database takes.
func unstorable(text string) (wrong string) {
	if strings.IndexByte(text, 0) >= 0 {
		return "a text can't have a NUL character"
	}
	return ""
}

// list returns the argument's values; commas divide them.
func (a *argument) list() (all []string, wrong string) {
	values := a.values
	if a.raw != nil {
		raws := [][]byte{a.raw}
		if a.raw[0] == '[' {
			raws = nil
			s := &scanner{b: a.raw}
			_ = s.array(func(int) error { raws = append(raws, s.skip()); return nil })
		}
		for _, raw := range raws {
			text, wrong := scalar(raw)
			if wrong != "" {
				return nil, wrong
			}
			values = append(values, text)
		}
	}
	for _, v := range values {
		if wrong := unstorable(v); wrong != "" {
			return nil, wrong
		}
		all = append(all, strings.Split(v, ",")...)
	}
	return all, ""
}

func required(r rule) rule {
	r.required = true
	return r
}

func oneOf(g group, r rule) rule {
	r.group = g
	return r
}

// text is an argument with one value.
func text(name string, to *string) rule {
	return rule{name: name, read: func(a *argument) (wrong string) {
		*to, wrong = a.single()
		return wrong
	}}
}

// texts is an argument with many.
func texts(name string, to *[]string) rule {
	return rule{name: name, read: func(a *argument) (wrong string) {
		*to, wrong = a.list()
		return wrong
	}}
}

// integer is a whole number, at least min.
func integer(name string, minimum int, to *int) rule {
	return rule{name: name, read: func(a *argument) string {
		text, wrong := a.single()
		if wrong == onlyOne {
			return wrong
		}
		n, ok := parseInt(text)
		if wrong != "" || !ok {
			return "expected int"
		}
		if n < minimum {
			return "value must be at least " + strconv.Itoa(minimum)
		}
		*to = n
		return ""
	}}
}

// parseInt reads a number as Python does; one that is too large is the largest there is.
func parseInt(text string) (n int, ok bool) {
	digits := strings.TrimLeft(strings.TrimSpace(text), "+-")
	if digits == "" || len(strings.TrimSpace(text))-len(digits) > 1 || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil { // out of range
		n = math.MaxInt
		if strings.TrimSpace(text)[0] == '-' {
			n = math.MinInt
		}
	}
	return n, true
}

// boolean is yes or no, in any of Python's words.
func boolean(name string, to **bool) rule {
	return rule{name: name, read: func(a *argument) string {
		text := string(a.raw)
		if a.raw == nil || a.raw[0] == '"' || a.raw[0] == '[' {
			var wrong string
			if text, wrong = a.single(); wrong != "" {
				return "expected boolean"
			}
		}
		var value bool
		switch strings.ToLower(text) {
		case "1", "true", "yes", "on", "enable":
			value = true
		case "0", "false", "no", "off", "disable":
		default:
			return "expected boolean"
		}
		*to = &value
		return ""
	}}
}

// when is a time, nil if it is not given. called is what CloudKitty calls the function that reads it, which its clients see.
func when(name, called string, to **time.Time) rule {
	return rule{name: name, read: func(a *argument) string {
		text, wrong := a.single()
		if wrong == onlyOne {
			return wrong
		}
		t, ok := parseTime(text)
		if wrong != "" || !ok {
			return "expected " + called
		}
		*to = &t
		return ""
	}}
}

const fromISO = "dt_from_iso"

// pairs are filters: key:value, with commas between them. Keys keep the order of their first.
func pairs(name string, unique bool, to *[]pair) rule {
	return rule{name: name, read: func(a *argument) string {
		all, wrong := a.list()
		if wrong != "" {
			return wrong
		}
		for _, token := range all {
			if token == "" && len(all) == 1 { // ?filters=
				continue
			}
			key, value, ok := strings.Cut(token, ":")
			if !ok || strings.Contains(value, ":") {
				return "invalid key:value association " + token
			}
			i := slices.IndexFunc(*to, func(p pair) bool { return p.key == key })
			switch {
			case i < 0 && len(*to) == mostArguments:
				return tooManyArguments
			case i < 0:
				*to = append(*to, pair{key, []string{value}})
			case unique:
				return "key " + key + " already provided"
			default:
				(*to)[i].values = append((*to)[i].values, value)
			}
		}
		return ""
	}}
}

// pair is a filter: the values that a key may have.
type pair struct {
	key    string
	values []string
}

// inPathOf returns an argument in the path, as the client meant it.
func inPathOf(c echo.Context, name string) string {
	value := c.Param(name)
	if c.Request().URL.RawPath != "" { // else net/http has read it
		if text, err := url.PathUnescape(value); err == nil {
			value = text
		}
	}
	return strings.ReplaceAll(strings.ToValidUTF8(value, "\uFFFD"), "\x00", "\uFFFD")
}

// page is which part of a list is wanted.
type page struct{ offset, limit int }

func (p *page) rules() []rule {
	p.limit = 100
	return []rule{integer("offset", 0, &p.offset), integer("limit", 1, &p.limit)}
}

// of returns the page of a list.
func of[T any](p page, all []T) []T {
	from := min(p.offset, len(all))
	return all[from : from+min(p.limit, len(all)-from)]
}

// send answers with JSON that was written already.
func send(c echo.Context, status int, json []byte) error {
	return c.Blob(status, echo.MIMEApplicationJSON, json)
}

func accepted(c echo.Context) error { return send(c, http.StatusAccepted, []byte("{}")) }
