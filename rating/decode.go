package rating

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"ratebook/fault"
	"ratebook/money"
	"ratebook/period"
)

// decoder reads YAML without letting YAML say what a scalar means, and goes on after a problem, so that all are found.
type decoder struct {
	file     string
	zone     *time.Location
	mistakes int
	problems []problem // the first of them
}

// More limits of rules, see [maxText].
const (
	maxWhole    = 12 // digits before the point
	levelPlaces = 8  // digits after it, of a level
	costPlaces  = 28 // and of a cost
)

type problem struct {
	line    int
	path    string // of keys, such as services[0].mappings[2].cost; may be empty
	message string
}

func (d *decoder) fail(line int, path, format string, args ...any) {
	if d.mistakes++; d.mistakes <= maxListed {
		d.problems = append(d.problems, problem{line, path, fmt.Sprintf(format, args...)})
	}
}

// err returns the error that lists the problems by line.
func (d *decoder) err() error {
	slices.SortStableFunc(d.problems, func(a, b problem) int { return a.line - b.line })
	fields := make([]fault.Field, len(d.problems))
	for i, p := range d.problems {
		where := fmt.Sprintf("%s:%d", d.file, p.line)
		if p.path != "" {
			where += ": " + p.path
		}
		fields[i] = fault.Field{Name: where, Message: p.message}
	}
	what := "a mistake"
	if d.mistakes > 1 {
		what = fmt.Sprintf("%d mistakes", d.mistakes)
	}
	if d.mistakes > len(fields) {
		what += fmt.Sprintf(", of which %d are listed", len(fields))
	}
	return &fault.Error{Kind: fault.Invalid, Message: fmt.Sprintf("%s has %s; nothing was read", d.file, what), Fields: fields}
}

// yamlError matches the library's errors; their line is not always there.
var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s:(.*))$`)

// An empty file is more likely an accident than the wish to have no rules.
const emptyFile = "the file is empty; for no rules at all write services: []"

// document returns the file's only document, or nil.
func (d *decoder) document(content []byte) *yaml.Node {
	if len(content) > maxFile {
		d.fail(1, "", "the file has %d bytes; at most %d are read. Split it, and import the parts", len(content), maxFile)
		return nil
	}
	if !utf8.Valid(content) {
		line := 1
		for rest := content; len(rest) > 0; {
			r, n := utf8.DecodeRune(rest)
			if r == utf8.RuneError && n == 1 {
				break
			}
			if r == '\n' {
				line++
			}
			rest = rest[n:]
		}
		d.fail(line, "", "the text is not UTF-8")
		return nil
	}
	in := yaml.NewDecoder(bytes.NewReader(content))
	var root, another yaml.Node
	switch err := in.Decode(&root); {
	case errors.Is(err, io.EOF):
		d.fail(1, "", emptyFile)
		return nil
	case err != nil:
		d.syntax(err)
		return nil
	}
	switch err := in.Decode(&another); {
	case err == nil:
		d.fail(another.Line, "", "a second document begins here; a rules file is one")
		return nil
	case !errors.Is(err, io.EOF):
		d.syntax(err)
		return nil
	}
	if len(root.Content) != 1 || isEmpty(root.Content[0]) {
		d.fail(1, "", emptyFile)
		return nil
	}
	return root.Content[0]
}

func (d *decoder) syntax(err error) {
	line, message := 1, err.Error()
	if m := yamlError.FindStringSubmatch(message); m != nil {
		message = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	d.fail(line, "", "not YAML: %s", message)
}

// rules reads the whole file into f.
func (d *decoder) rules(root *yaml.Node, f *File) {
	top := d.mapping(root, "", "modules", "groups", "services", "scripts")
	d.modules(top["modules"], f)

	groups := unique{}
	for i, n := range d.list(top["groups"], "groups") {
		path := index("groups", i)
		if name, ok := d.name(n, path); ok && d.first(groups, n, path, name) {
			f.groups = append(f.groups, name)
		}
	}

	services, identities := unique{}, map[identity]int{}
	for i, n := range d.list(top["services"], "services") {
		path := index("services", i)
		keys := d.mapping(n, path, "name", "mappings", "thresholds", "fields")
		s := Service{Name: d.owner(n, keys, path, services)}
		d.rulesOf(keys, path, s.Name, "", f, identities)

		fields := unique{}
		for i, n := range d.list(keys["fields"], path+".fields") {
			path := index(path+".fields", i)
			keys := d.mapping(n, path, "name", "mappings", "thresholds")
			field := Field{Name: d.owner(n, keys, path, fields)}
			d.rulesOf(keys, path, s.Name, field.Name, f, identities)
			s.Fields = append(s.Fields, field)
		}
		f.services = append(f.services, s)
	}

	for _, r := range f.rules {
		if r.Group != "" && groups[r.Group] == 0 {
			groups[r.Group] = 1
			f.groups = append(f.groups, r.Group)
		}
	}

	scripts := unique{}
	for i, n := range d.list(top["scripts"], "scripts") {
		f.scripts = append(f.scripts, d.script(n, index("scripts", i), scripts))
	}
}

func (d *decoder) script(n *yaml.Node, path string, seen unique) Script {
	keys := d.mapping(n, path, "name", "data", "start", "end", "description")
	if keys == nil {
		return Script{}
	}
	s := Script{Name: d.owner(n, keys, path, seen)}
	if text := keys["data"]; text == nil || isEmpty(text) {
		d.fail(n.Line, path, `data, the script's text, is missing; for an empty script write data: ""`)
	} else {
		s.Data, _ = d.text(text, path+".data", maxScript)
	}
	if n := keys["description"]; n != nil {
		s.Description, _ = d.text(n, path+".description", maxDescription)
	}
	s.Start, s.End = d.validity(keys, path)
	return s
}

// validity reads from when to when something is valid.
func (d *decoder) validity(keys map[string]*yaml.Node, path string) (start, end time.Time) {
	start = d.time(keys["start"], path+".start")
	end = d.time(keys["end"], path+".end")
	if n := keys["end"]; n != nil && !end.IsZero() && !end.After(start) {
		d.fail(n.Line, path+".end", "the end is not after the start")
	}
	return start, end
}

// owner returns the name of a service or field, which must be the first of that name. If the name is missing its rules are
// still looked at, under the path, which no other has.
func (d *decoder) owner(n *yaml.Node, keys map[string]*yaml.Node, path string, seen unique) string {
	name, ok := d.required(n, keys, path, "name")
	if !ok {
		return path
	}
	d.first(seen, keys["name"], path+".name", name)
	return name
}

func (d *decoder) modules(n *yaml.Node, f *File) {
	keys := d.mapping(n, "modules", moduleNames()...)
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		n, path := keys[name], "modules."+name
		m := Module{Name: name, Priority: 1}
		keys := d.mapping(n, path, "enabled", "priority")
		if enabled := keys["enabled"]; enabled == nil {
			d.fail(n.Line, path, "say enabled: true or enabled: false")
		} else if text, ok := d.scalar(enabled, path+".enabled"); ok {
			if m.Enabled = text == "true"; text != "true" && text != "false" {
				d.fail(enabled.Line, path+".enabled", "%q is neither true nor false", clip(text))
			}
		}
		if priority := keys["priority"]; priority != nil {
			if text, ok := d.scalar(priority, path+".priority"); ok {
				p, err := strconv.ParseInt(text, 10, 32)
				if err != nil {
					d.fail(priority.Line, path+".priority", "%q is not a whole number", clip(text))
				}
				m.Priority = int(p)
			}
		}
		f.modules = append(f.modules, m)
	}
}

// rulesOf reads the mappings and thresholds of a service, or of a field if it is not empty.
func (d *decoder) rulesOf(keys map[string]*yaml.Node, path, service, field string, f *File, identities map[identity]int) {
	for _, kind := range [...]Kind{Mapping, Threshold} {
		lists := string(kind) + "s"
		for i, n := range d.list(keys[lists], path+"."+lists) {
			before := d.mistakes
			path := index(path+"."+lists, i)
			r := d.rule(n, path, kind, service, field)
			if d.mistakes > before {
				continue
			}
			id := r.identity()
			if line := identities[id]; line > 0 {
				d.fail(n.Line, path, "the same rule as in line %d: %s", line, r.subject())
				continue
			}
			identities[id] = n.Line
			f.rules = append(f.rules, r)
		}
	}
}

func (d *decoder) rule(n *yaml.Node, path string, kind Kind, service, field string) Rule {
	r := Rule{Kind: kind, Service: service, Field: field, Type: Flat}
	decides := "value"
	if kind == Threshold {
		decides = "level"
	}
	keys := d.mapping(n, path, decides, "type", "cost", "group", "scope", "start", "end", "name", "description")
	if keys == nil {
		return r
	}

	switch value := keys["value"]; {
	case kind == Threshold:
		r.Level = d.number(n, keys, path, "level", maxWhole, levelPlaces)
	case field == "" && value != nil:
		d.fail(value.Line, path+".value", "a mapping of the service itself has no value; leave it out, or put the mapping under fields")
	case field != "":
		r.Value, _ = d.required(n, keys, path, "value")
	}
	r.Cost = d.number(n, keys, path, "cost", maxWhole, costPlaces)
	if n := keys["type"]; n != nil {
		if text, ok := d.scalar(n, path+".type"); ok {
			r.Type = Type(text)
			if problem := badType(r.Type); problem != "" {
				d.fail(n.Line, path+".type", "%s", problem)
			}
		}
	}
	for key, to := range map[string]*string{"group": &r.Group, "scope": &r.Scope, "name": &r.Name} {
		if n := keys[key]; n != nil {
			*to, _ = d.name(n, path+"."+key)
		}
	}
	if n := keys["description"]; n != nil {
		r.Description, _ = d.text(n, path+".description", maxDescription)
	}
	r.Start, r.End = d.validity(keys, path)
	return r
}

// mapping returns the values of a YAML mapping by key; none for an absent or empty one.
func (d *decoder) mapping(n *yaml.Node, path string, known ...string) map[string]*yaml.Node {
	if n == nil || isEmpty(n) {
		return map[string]*yaml.Node{}
	}
	if !d.is(n, path, yaml.MappingNode, "keys with values") {
		return nil
	}
	keys := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		key := k.Value
		switch {
		case k.Kind != yaml.ScalarNode:
			d.fail(k.Line, path, "a key must be a plain text")
		case !slices.Contains(known, key):
			d.fail(k.Line, join(path, clip(key)), "unknown key; use %s", strings.Join(known, ", "))
		case keys[key] != nil:
			d.fail(k.Line, join(path, key), "the key is there twice, first in line %d", keys[key].Line)
		default:
			keys[key] = v
		}
	}
	return keys
}

// list returns the elements of a YAML sequence; none for an absent or empty one.
func (d *decoder) list(n *yaml.Node, path string) []*yaml.Node {
	if n == nil || isEmpty(n) || !d.is(n, path, yaml.SequenceNode, "a list") {
		return nil
	}
	return n.Content
}

// isEmpty reports whether a key has nothing behind it.
func isEmpty(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "" && n.ShortTag() == "!!null"
}

// is checks that n is of the kind; what says what is expected.
func (d *decoder) is(n *yaml.Node, path string, kind yaml.Kind, what string) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		d.fail(n.Line, path, "aliases (*%s) are not read; write it out", clip(n.Value))
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(n.Line, path, "tags (%s) are not read; leave it out", clip(n.Tag))
	case n.Kind != kind:
		d.fail(n.Line, path, "this must be %s", what)
	default:
		return true
	}
	return false
}

// scalar returns the text of a scalar, whatever it looks like.
func (d *decoder) scalar(n *yaml.Node, path string) (string, bool) {
	if !d.is(n, path, yaml.ScalarNode, "a single value") {
		return "", false
	}
	return n.Value, true
}

// text reads a text of some length.
func (d *decoder) text(n *yaml.Node, path string, length int) (string, bool) {
	text, ok := d.scalar(n, path)
	if !ok {
		return "", false
	}
	if problem := badText(text, length); problem != "" {
		d.fail(n.Line, path, "%s", problem)
		return "", false
	}
	return text, true
}

// badText says what is wrong with a text that may have so many characters; empty: nothing. PostgreSQL stores no NUL.
func badText(text string, length int) string {
	switch {
	case !utf8.ValidString(text):
		return "the text is not UTF-8"
	case utf8.RuneCountInString(text) > length:
		return fmt.Sprintf("the text has more than %d characters", length)
	case strings.ContainsRune(text, 0):
		return "the text contains a NUL character"
	}
	return ""
}

// name reads a text that stands for something: it can't be empty, nor YAML's null, which is more likely to mean nothing.
func (d *decoder) name(n *yaml.Node, path string) (string, bool) {
	text, ok := d.text(n, path, maxText)
	switch {
	case !ok:
		return "", false
	case text == "":
		d.fail(n.Line, path, "this is empty")
	case n.ShortTag() == "!!null":
		d.fail(n.Line, path, "%s means nothing in YAML; leave the key out, or quote the text", text)
	default:
		return text, true
	}
	return "", false
}

// required returns the name behind a key that must be there.
func (d *decoder) required(n *yaml.Node, keys map[string]*yaml.Node, path, key string) (string, bool) {
	if keys == nil { // reported already
		return "", false
	}
	v := keys[key]
	if v == nil {
		d.fail(n.Line, path, "%s is missing", key)
		return "", false
	}
	return d.name(v, path+"."+key)
}

// number returns the number behind a key that must be there, of at most so many digits before and after the point.
func (d *decoder) number(n *yaml.Node, keys map[string]*yaml.Node, path, key string, whole, places int) money.Decimal {
	v := keys[key]
	if v == nil {
		d.fail(n.Line, path, "%s is missing", key)
		return money.Decimal{}
	}
	path += "." + key
	text, ok := d.scalar(v, path)
	if !ok {
		return money.Decimal{}
	}
	number, problem := parseNumber(text, whole, places)
	if problem != "" {
		d.fail(v.Line, path, "%s", problem)
	}
	return number
}

// parseNumber reads a number of at most so many digits before and after the point, or says what is wrong with it.
func parseNumber(text string, whole, places int) (number money.Decimal, problem string) {
	number, err := money.Parse(text)
	if err != nil && !errors.Is(err, money.ErrRange) {
		return money.Decimal{}, fmt.Sprintf("%q is not a decimal number", clip(text))
	}
	if err != nil || !fits(number, whole, places) {
		return money.Decimal{}, fmt.Sprintf("%s has more than %d digits before or %d after the point", clip(text), whole, places)
	}
	return number, ""
}

func fits(number money.Decimal, whole, places int) bool {
	digits, decimals, _ := strings.Cut(strings.TrimLeft(number.String(), "-0"), ".")
	return len(digits) <= whole && len(decimals) <= places
}

// time reads a time; an absent one is zero.
func (d *decoder) time(n *yaml.Node, path string) time.Time {
	if n == nil {
		return time.Time{}
	}
	text, ok := d.scalar(n, path)
	if !ok {
		return time.Time{}
	}
	t, err := period.ParseTime(clip(text), d.zone)
	switch {
	case err != nil:
		d.fail(n.Line, path, "%s", err)
	case tooFar(t):
		d.fail(n.Line, path, "%s is too far away; leave it out for no limit", clip(text))
	default:
		return t
	}
	return time.Time{}
}

func tooFar(t time.Time) bool { return t.IsZero() || t.Year() < 1 || t.Year() > 9999 }

func badType(t Type) string {
	if t != Flat && t != Rate {
		return fmt.Sprintf("%q is no type; use flat or rate", clip(string(t)))
	}
	return ""
}

// unique holds the names seen so far, with the lines they were first seen in.
type unique map[string]int

// first reports whether a name is new; if not, that is a problem.
func (d *decoder) first(seen unique, n *yaml.Node, path, name string) bool {
	if line := seen[name]; line > 0 {
		d.fail(n.Line, path, "%q is there twice, first in line %d", name, line)
		return false
	}
	seen[name] = n.Line
	return true
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// clip shortens a text of the file for a message about it.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}
