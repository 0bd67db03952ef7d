package openapi

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"ratebook/views/pages"
)

// view makes the page; origin is where programs find us.
func view(d *Document, origin string) *pages.API {
	v := &pages.API{}
	for _, t := range d.Tags {
		part := pages.APIPart{ID: t.Name, Title: t.Title, Text: t.Description}
		for i := range d.Operations {
			if o := &d.Operations[i]; slices.Contains(o.Tags, t.Name) {
				part.Operations = append(part.Operations, d.show(o, origin))
			}
		}
		v.Parts = append(v.Parts, part)
	}
	for i := range d.Schemas {
		s := &d.Schemas[i]
		v.Objects = append(v.Objects, pages.APIObject{Name: s.Name, Text: s.Description, Members: d.members(s)})
	}
	return v
}

func (d *Document) show(o *Operation, origin string) pages.APIOperation {
	v := pages.APIOperation{
		ID: o.ID, Method: o.Method, Path: o.Path, Also: o.Also, Summary: o.Summary, Text: o.Description, Role: o.Role, Curl: curl(o, origin),
	}
	for i := range o.Parameters {
		p := &o.Parameters[i]
		v.Parameters = append(v.Parameters, pages.APIValue{
			Name: p.Name, In: p.In, Required: p.Required, Type: d.words(&p.Schema), Text: d.meaning(p.Description, &p.Schema),
		})
	}
	if o.Body != nil {
		v.Body = &pages.APIContent{MediaType: o.Body.MediaType, Type: d.words(&o.Body.Schema), Example: indented(&o.Body.Example)}
	}
	for _, a := range o.Answers {
		answer := pages.APIAnswer{Status: a.Status, Text: a.Description}
		if a.Content != nil {
			answer.Content = &pages.APIContent{
				MediaType: a.Content.MediaType, Type: d.words(&a.Content.Schema), Example: indented(&a.Content.Example),
			}
			answer.Object = d.members(&a.Content.Schema)
		}
		v.Answers = append(v.Answers, answer)
	}
	return v
}

// members returns the members that a schema itself has.
func (d *Document) members(s *Schema) (all []pages.APIValue) {
	for i := range s.Properties {
		p := &s.Properties[i]
		all = append(all, pages.APIValue{
			Name: p.Name, Required: slices.Contains(s.Required, p.Name), Type: d.words(p), Text: d.meaning(p.Description, p),
		})
	}
	return all
}

// meaning says what a value is for and what it is by default.
func (d *Document) meaning(text string, s *Schema) string {
	if other := d.schema(s.Ref); other != nil && text == "" && len(other.Properties) == 0 {
		text = other.Description
	}
	if value := plain(&s.Default); value != "" {
		text = strings.TrimSpace(text + " By default " + value + ".")
	}
	return text
}

// schema returns the schema that a reference means, or nil.
func (d *Document) schema(ref string) *Schema {
	n := d.components[ref]
	if n == nil {
		return nil
	}
	var s Schema
	if n.Decode(&s) != nil {
		return nil
	}
	s.Name = ref[strings.LastIndex(ref, "/")+1:]
	return &s
}

// typeNames are what people call the types of JSON.
var typeNames = map[string]string{
	"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "object": "object", "null": "null", "array": "list",
}

var formatNames = map[string]string{"uuid": "UUID", "date-time": "time", "date": "day", "uri": "address"}

// words says what a value may be, with the names of objects that are described.
func (d *Document) words(s *Schema) (words []pages.APIWord) {
	say := func(text string) { words = append(words, pages.APIWord{Text: text}) }
	if other := d.schema(s.Ref); other != nil {
		if len(other.Properties) > 0 {
			return []pages.APIWord{{Text: other.Name, Object: true}}
		}
		return d.words(other)
	}
	for i, one := range append(s.OneOf, s.AnyOf...) {
		if i > 0 {
			say(" or ")
		}
		words = append(words, d.words(&one)...)
	}
	switch {
	case len(words) > 0:
	case !s.Const.IsZero():
		say(`"` + s.Const.Value + `"`)
	case len(s.Enum) > 0:
		say(strings.Join(s.Enum, ", "))
	case s.Type.Value == "array" && s.Items != nil:
		say("list of ")
		words = append(words, d.words(s.Items)...)
	case s.Type.Value == "object" && s.More.Kind == yaml.MappingNode:
		var more Schema
		if s.More.Decode(&more) != nil {
			return nil
		}
		say("object, by name ")
		words = append(words, d.words(&more)...)
	case s.Type.Value != "":
		if name := formatNames[s.Format]; name != "" {
			say(name)
		} else {
			say(typeNames[s.Type.Value])
		}
	case s.Type.Kind == yaml.SequenceNode:
		var names []string
		for _, t := range s.Type.Content {
			name := typeNames[t.Value]
			if t.Value == "string" && formatNames[s.Format] != "" {
				name = formatNames[s.Format]
			}
			names = append(names, name)
		}
		say(strings.Join(names, " or "))
	default:
		say("anything")
	}
	return words
}

// plain returns a value as text: a list with commas; nothing of nothing.
func plain(n *yaml.Node) string {
	if n.Kind == yaml.SequenceNode {
		var all []string
		for _, one := range n.Content {
			all = append(all, one.Value)
		}
		return strings.Join(all, ",")
	}
	return n.Value
}

// compact returns an example as JSON in one line, and empty if there is none.
func compact(n *yaml.Node) string {
	if n.IsZero() {
		return ""
	}
	text, err := appendJSON(nil, n)
	if err != nil {
		return ""
	}
	return string(text)
}

// indented returns an example as JSON for people; that of a text which is no JSON, as it is.
func indented(n *yaml.Node) string {
	var b bytes.Buffer
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "\n") {
		return n.Value
	}
	if json.Indent(&b, []byte(compact(n)), "", "  ") != nil {
		return ""
	}
	return b.String()
}

// curl returns a command that asks.
func curl(o *Operation, origin string) string {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	path, query := o.Path, url.Values{}
	command := "curl"
	if o.Method != "GET" {
		command += " -X " + o.Method
	}
	switch o.Role {
	case "none":
	default:
		command += ` -H "X-Auth-Token: $TOKEN"`
	}
	for i := range o.Parameters {
		p := &o.Parameters[i]
		example := plain(&p.Example)
		switch {
		case example == "":
		case p.In == "path":
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(example))
		case p.In == "query":
			query.Set(p.Name, example)
		case p.In == "header":
			command += " -H " + quote(p.Name+": "+example)
		}
	}
	if o.Body != nil {
		command += " -H 'Content-Type: application/json' \\\n  -d " + quote(compact(&o.Body.Example)) + " \\\n "
	}
	address := origin + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	return command + " " + quote(address)
}
