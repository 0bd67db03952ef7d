// Package openapi describes what Ratebook answers programs: CloudKitty's API, v1 and v2, and Ratebook's own endpoints. The
// description is written in the YAML files of this folder and served as OpenAPI 3.1 in JSON, and as a page. Tests hold it
// against the routes, and every answer that tests of the APIs get against it.
package openapi

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

//go:embed *.yaml
var files embed.FS

// The words that only the source has.
const (
	also   = "x-also"
	common = "x-common-answers"
)

// Document is the description.
type Document struct {
	JSON       []byte // as it is served, but for the address of the server
	Operations []Operation
	Tags       []Tag
	Schemas    []Schema // of objects, by name

	components map[string]*yaml.Node // by reference
}

// Tag is a part of the API.
type Tag struct {
	Name        string `yaml:"name"`
	Title       string `yaml:"x-title"`
	Description string `yaml:"description"`
}

// Operation is something that programs can ask, under one path or several.
type Operation struct {
	Method string   `yaml:"-"` // as HTTP has it
	Path   string   `yaml:"-"`
	Also   []string `yaml:"x-also"`

	ID          string      `yaml:"operationId"`
	Summary     string      `yaml:"summary"`
	Description string      `yaml:"description"`
	Tags        []string    `yaml:"tags"`
	Role        string      `yaml:"x-least-role"` // none: who asks need not say who it is
	Parameters  []Parameter `yaml:"-"`
	Body        *Content    `yaml:"-"` // JSON; nil: there is none
	Answers     []Answer    `yaml:"-"` // those that all have in common left out
}

// Parameter is an argument of an operation.
type Parameter struct {
	Name        string    `yaml:"name"`
	In          string    `yaml:"in"`
	Required    bool      `yaml:"required"`
	Description string    `yaml:"description"`
	Schema      Schema    `yaml:"schema"`
	Example     yaml.Node `yaml:"example"`
}

// Content is what a request or answer has in its body.
type Content struct {
	MediaType string    `yaml:"-"`
	Schema    Schema    `yaml:"schema"`
	Example   yaml.Node `yaml:"example"`
}

// Answer is what an operation may answer.
type Answer struct {
	Status      string
	Description string
	Content     *Content // nil: nothing
}

// Schema is what a value may be.
type Schema struct {
	Name        string     `yaml:"-"`    // of one that others refer to
	Ref         string     `yaml:"$ref"` // the name of another, which is meant
	Type        yaml.Node  `yaml:"type"`
	Format      string     `yaml:"format"`
	Description string     `yaml:"description"`
	Enum        []string   `yaml:"enum"`
	Const       yaml.Node  `yaml:"const"`
	Default     yaml.Node  `yaml:"default"`
	Items       *Schema    `yaml:"items"`
	OneOf       []Schema   `yaml:"oneOf"`
	AnyOf       []Schema   `yaml:"anyOf"`
	Required    []string   `yaml:"required"`
	Properties  Properties `yaml:"properties"`
	More        yaml.Node  `yaml:"additionalProperties"` // false, or the schema of members that have no name here
}

// Properties are the members of an object, in order.
type Properties []Schema

// UnmarshalYAML reads them.
func (p *Properties) UnmarshalYAML(n *yaml.Node) error {
	for name, value := range members(n) {
		s := Schema{}
		if err := value.Decode(&s); err != nil {
			return err
		}
		s.Name = name
		*p = append(*p, s)
	}
	return nil
}

// Load returns the description.
var Load = sync.OnceValues(load)

func load() (*Document, error) {
	root, err := read("openapi.yaml")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"ratebook.yaml", "v2.yaml", "v1.yaml"} {
		more, err := read(name)
		if err != nil {
			return nil, err
		}
		merge(member(root, "paths"), member(more, "paths"))
		for kind, all := range members(member(more, "components")) {
			of := member(member(root, "components"), kind)
			if of == nil {
				of = set(member(root, "components"), kind, &yaml.Node{Kind: yaml.MappingNode})
			}
			merge(of, all)
		}
	}
	d := &Document{components: map[string]*yaml.Node{}}
	for kind, all := range members(member(root, "components")) {
		for name, n := range members(all) {
			d.components["#/components/"+kind+"/"+name] = n
		}
	}
	if err := member(root, "tags").Decode(&d.Tags); err != nil {
		return nil, err
	}
	for name, n := range members(member(member(root, "components"), "schemas")) {
		s := Schema{}
		if err := n.Decode(&s); err != nil {
			return nil, fmt.Errorf("the schema %s: %w", name, err)
		}
		if s.Name = name; len(s.Properties) > 0 {
			d.Schemas = append(d.Schemas, s)
		}
	}
	for path, methods := range members(member(root, "paths")) {
		for method, n := range members(methods) {
			o, err := d.operation(n)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", method, path, err)
			}
			o.Method, o.Path = strings.ToUpper(method), path
			d.Operations = append(d.Operations, o)
		}
	}
	d.expand(root)
	d.JSON, err = appendJSON(nil, root)
	return d, err
}

// read reads a file's one document.
func read(name string) (*yaml.Node, error) {
	text, err := files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return n.Content[0], nil
}

// operation reads an operation; what it refers to is looked up.
func (d *Document) operation(n *yaml.Node) (o Operation, err error) {
	if err := n.Decode(&o); err != nil {
		return o, err
	}
	for _, p := range items(member(n, "parameters")) {
		o.Parameters = append(o.Parameters, Parameter{})
		if err := d.resolve(p).Decode(&o.Parameters[len(o.Parameters)-1]); err != nil {
			return o, err
		}
	}
	if o.Body, err = content(member(n, "requestBody")); err != nil {
		return o, err
	}
	for status, a := range members(member(n, "responses")) {
		a = d.resolve(a)
		answer := Answer{Status: status, Description: member(a, "description").Value}
		if answer.Content, err = content(a); err != nil {
			return o, err
		}
		o.Answers = append(o.Answers, answer)
	}
	return o, nil
}

// content returns the first content that a body or answer has.
func content(n *yaml.Node) (*Content, error) {
	for mediaType, value := range members(member(n, "content")) {
		c := &Content{MediaType: mediaType}
		return c, value.Decode(c)
	}
	return nil, nil
}

// resolve returns what a node refers to, or the node.
func (d *Document) resolve(n *yaml.Node) *yaml.Node {
	if ref := member(n, "$ref"); ref != nil && d.components[ref.Value] != nil {
		return d.components[ref.Value]
	}
	return n
}

// expand writes out what only the source has.
func (d *Document) expand(root *yaml.Node) {
	paths := member(root, "paths")
	answers := remove(root, common)
	for path, methods := range members(paths) {
		for _, n := range members(methods) {
			for prefix, all := range members(answers) {
				if strings.HasPrefix(path, prefix) {
					responses := member(n, "responses")
					for status, answer := range members(all) {
						if member(responses, status) == nil {
							set(responses, status, answer)
						}
					}
				}
			}
		}
	}
	for path, methods := range maps.Collect(members(paths)) {
		for method, n := range members(methods) {
			for i, other := range items(remove(n, also)) {
				item := member(paths, other.Value)
				if item == nil {
					item = set(paths, other.Value, &yaml.Node{Kind: yaml.MappingNode})
				}
				set(item, method, d.elsewhere(n, method, path, other.Value, i+2))
			}
		}
	}
}

// elsewhere returns an operation as it is at another path. Arguments that only the first path has may come from the query
// there or, if it takes no other, from a JSON body.
func (d *Document) elsewhere(n *yaml.Node, method, first, path string, number int) *yaml.Node {
	n = clone(n)
	member(n, "operationId").Value += strconv.Itoa(number)
	set(n, "description", text("The same as "+strings.ToUpper(method)+" "+first+"."))
	properties := &yaml.Node{Kind: yaml.MappingNode}
	parameters := member(n, "parameters")
	for i, p := range items(parameters) {
		p = clone(d.resolve(p))
		name := member(p, "name").Value
		if member(p, "in").Value == "path" && !strings.Contains(path, "{"+name+"}") {
			set(p, "in", text("query"))
			remove(p, "required")
			set(properties, name, member(p, "schema"))
		}
		parameters.Content[i] = p
	}
	if len(properties.Content) > 0 && method != "get" && member(n, "requestBody") == nil {
		schema := &yaml.Node{Kind: yaml.MappingNode}
		set(schema, "type", text("object"))
		set(schema, "properties", properties)
		body := schema
		for _, name := range []string{"schema", "application/json", "content"} {
			outer := &yaml.Node{Kind: yaml.MappingNode}
			set(outer, name, body)
			body = outer
		}
		set(n, "requestBody", body)
	}
	return n
}

// Operation returns the operation with an id.
func (d *Document) Operation(id string) *Operation {
	if i := slices.IndexFunc(d.Operations, func(o Operation) bool { return o.ID == id }); i >= 0 {
		return &d.Operations[i]
	}
	return nil
}
