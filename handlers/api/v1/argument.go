package v1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"ratebook/fault"
	"ratebook/money"
)

// Type is what an argument can be.
type Type uint8

const (
	Text      Type = iota
	UUID           // any text in an argument, but a UUID as an attribute of a body
	Bool           // true or false, in any of the usual ways
	Int            // of 32 bits
	Decimal        // a JSON number or a text
	DateTime       // any usual way to write a time, UTC unless it names an offset
	Moment         // a Bool or a DateTime
	Enum           // flat or rate
	Resources      // what a quote is asked for: a list of objects with service, desc and volume
	Ignored        // anything; it is for clients that send back what they got
)

// names are what CloudKitty calls the types in messages.
var names = map[Type]string{Text: "str", UUID: "uuid", Bool: "bool", Int: "int", Decimal: "decimal", DateTime: "datetime", Moment: "bool", Enum: "str"}

// values are arguments or attributes by name; null is nil.
type values map[string]any

// moment is a time that was given.
type moment struct {
	time.Time
	day bool // no time of the day was
}

// has reports whether something was given, and not null.
func (v values) has(name string) bool { return v[name] != nil }

// given reports whether something was given, be it null.
func (v values) given(name string) bool {
	_, ok := v[name]
	return ok
}

func (v values) text(name string) string {
	s, _ := v[name].(string)
	return s
}

func (v values) flag(name string) bool {
	b, _ := v[name].(bool)
	return b
}

// time returns a time, or zero.
func (v values) time(name string) time.Time {
	m, _ := v[name].(moment)
	return m.Time
}

// end returns the time at which something ends: a mere day is meant with all but its last second.
func (v values) end(name string) time.Time {
	m, _ := v[name].(moment)
	if m.day {
		return m.Add(24*time.Hour - time.Second)
	}
	return m.Time
}

func (v values) number(name string) money.Decimal {
	d, _ := v[name].(money.Decimal)
	return d
}

// invalid says what is wrong with a value, in CloudKitty's words.
func invalid(name, value, problem string) error {
	return fault.New(fault.Invalid, "Invalid input for field/attribute %s. Value: '%s'. %s", name, clip(value), problem)
}

func missing(name string) error { return invalid(name, "None", "Mandatory field missing.") }

// clip shortens what a message quotes.
func clip(s string) string {
	const most = 200
	s = strings.ToValidUTF8(s, "\uFFFD")
	if utf8.RuneCountInString(s) > most {
		return string([]rune(s)[:most]) + "…"
	}
	return s
}

// read reads what the request says.
func (r *request) read(route *route, path []string) error {
	r.args = values{}
	query, err := url.ParseQuery(r.Request().URL.RawQuery)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "Request is not valid: its query can't be read")
	}
	for i, name := range route.names {
		if err := r.argument(route, name, func(t Type) (any, error) { return parse(t, path[i]) }); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		for _, text := range query[name] {
			if err := r.argument(route, name, func(t Type) (any, error) { return parse(t, text) }); err != nil {
				return err
			}
		}
	}
	object, err := r.object()
	if err != nil {
		return err
	}
	if route.Body != nil {
		if object == nil {
			return fault.New(fault.Invalid, "Missing argument: %q", route.Body.Name)
		}
		if r.body, err = route.Body.read(object); err != nil {
			return err
		}
	} else {
		for _, name := range slices.Sorted(maps.Keys(object)) {
			if err := r.argument(route, name, func(t Type) (any, error) { return decode(t, object[name]) }); err != nil {
				return err
			}
		}
	}
	for _, a := range route.Arguments {
		if id := r.body.text(a.Name); id != "" {
			have := r.args.text(a.Name)
			if have != "" && have != id && canonical(have) != id {
				return fault.New(fault.Invalid, "Parameter %s was given several times", a.Name)
			}
			r.args[a.Name] = id
		}
		if a.Required && !r.args.has(a.Name) {
			return fault.New(fault.Invalid, "Missing argument: %q", a.Name)
		}
	}
	return nil
}

// argument notes an argument that was given.
func (r *request) argument(route *route, name string, parse func(Type) (any, error)) error {
	i := slices.IndexFunc(route.Arguments, func(a argument) bool { return a.Name == name })
	if i < 0 {
		return fault.New(fault.Invalid, "Unknown argument: \"%s\"", clip(name))
	}
	value, err := parse(route.Arguments[i].Type)
	if problem, ok := errors.AsType[*badValue](err); ok {
		return invalid(name, problem.value, problem.problem)
	}
	if value == nil {
		return err
	}
	if have := r.args[name]; have != nil && have != value {
		return fault.New(fault.Invalid, "Parameter %s was given several times", name)
	}
	r.args[name] = value
	return err
}

// object reads the request's JSON object; nil if there is none.
func (r *request) object() (map[string]json.RawMessage, error) {
	content, err := io.ReadAll(r.Request().Body)
	if err != nil {
		if h, ok := errors.AsType[*echo.HTTPError](err); ok {
			return nil, h
		}
		return nil, fault.Wrap(fault.Invalid, err, "Request could not be read to its end")
	}
	if content = bytes.TrimSpace(content); len(content) == 0 {
		return nil, nil
	}
	header := r.Request().Header.Get(echo.HeaderContentType)
	kind, _, err := mime.ParseMediaType(header)
	switch kind {
	case "", echo.MIMEApplicationJSON, "text/javascript", "application/javascript":
	default:
		return nil, echo.NewHTTPError(http.StatusUnsupportedMediaType, "Unknown mimetype: "+clip(kind))
	}
	if err != nil && header != "" || !utf8.Valid(content) || !json.Valid(content) {
		return nil, fault.New(fault.Invalid, "Request is not in valid JSON format")
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(content, &object); err != nil || object == nil {
		return nil, fault.New(fault.Invalid, "Request must be a JSON dictionary")
	}
	return object, nil
}

// read reads the attributes.
func (b *content) read(object map[string]json.RawMessage) (values, error) {
	all := values{}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		i := slices.IndexFunc(b.Attributes, func(a argument) bool { return a.Name == name })
		if i < 0 {
			return nil, fault.New(fault.Invalid, "Unknown attribute for argument %s: %s", b.Name, clip(name))
		}
		value, err := decode(b.Attributes[i].Type, object[name])
		if id, ok := value.(string); ok && b.Attributes[i].Type == UUID {
			if value = canonical(id); value == "" {
				err = &badValue{id, "Invalid UUID, got '" + clip(id) + "'"}
			}
		}
		if problem, ok := errors.AsType[*badValue](err); ok {
			return nil, invalid(name, problem.value, problem.problem)
		}
		if err != nil {
			return nil, err
		}
		all[name] = value
	}
	for _, a := range b.Attributes {
		if a.Required && !all.has(a.Name) {
			return nil, missing(a.Name)
		}
	}
	return all, nil
}

// canonical returns a UUID in its usual form; empty if the text is none.
func canonical(s string) string {
	id, err := uuid.Parse(s)
	if err != nil {
		return ""
	}
	return id.String()
}

// badValue says that a value can't be what it should be.
type badValue struct{ value, problem string }

// Error says it.
func (e *badValue) Error() string { return e.problem }

// unable is the badValue of what can't be read as its type.
func unable(t Type, value, problem string) error {
	return &badValue{value, fmt.Sprintf("unable to convert to %s. Error: %s", names[t], problem)}
}

// parse reads a text as a value of a type; nil is nothing.
func parse(t Type, s string) (any, error) {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return nil, unable(t, s, "it is not a text in UTF-8 without NUL characters")
	}
	if s == "" && t != Text && t != UUID {
		return nil, nil
	}
	switch t {
	case Bool:
		return parseBool(t, s)
	case Int:
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return nil, unable(t, s, "it is not a whole number of 32 bits")
		}
		return int(n), nil
	case Decimal:
		d, err := money.Parse(strings.TrimSpace(s))
		if err != nil {
			return nil, unable(t, s, "it is not a decimal number that can be computed with")
		}
		return d, nil
	case DateTime:
		m, err := parseMoment(s)
		if err != nil {
			return nil, unable(t, s, err.Error())
		}
		return m, nil
	case Moment:
		if b, err := parseBool(t, s); err == nil {
			return b, nil
		}
		return parse(DateTime, s)
	case Enum:
		if s != "flat" && s != "rate" {
			return nil, &badValue{s, "Value should be one of: flat, rate"}
		}
	default: // a text is what it is
	}
	return s, nil
}

func parseBool(t Type, s string) (any, error) {
	switch strings.ToLower(s) {
	case "true", "t", "yes", "y", "on", "1":
		return true, nil
	case "false", "f", "no", "n", "off", "0":
		return false, nil
	}
	return nil, unable(t, s, "Value not an unambiguous boolean: "+clip(s))
}

// decode reads a JSON value as one of a type; nil is null.
func decode(t Type, raw json.RawMessage) (any, error) {
	literal := string(raw)
	switch {
	case t == Ignored:
		return literal, nil
	case literal == "null":
		return nil, nil
	case t == Resources:
		return decodeResources(raw)
	case raw[0] == '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, unable(t, literal, "it is not a text")
		}
		if s == "" && (t == Enum || t == Decimal || t == Int || t == Bool) {
			return nil, unable(t, s, "it is empty")
		}
		return parse(t, s)
	case (t == Bool || t == Moment) && (literal == "true" || literal == "false" || literal == "0" || literal == "1"):
		return parse(Bool, literal)
	case (t == Decimal || t == Int) && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'):
		return parse(t, literal)
	}
	return nil, &badValue{literal, fmt.Sprintf("Wrong type. Expected '%s', got '%s'", names[t], kindOf(raw))}
}

// kindOf says what a JSON value is.
func kindOf(raw json.RawMessage) string {
	switch raw[0] {
	case '{':
		return "dict"
	case '[':
		return "list"
	case '"':
		return "str"
	case 't', 'f':
		return "bool"
	case 'n':
		return "NoneType"
	}
	if bytes.ContainsAny(raw, ".eE") {
		return "float"
	}
	return "int"
}
