package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	"go.yaml.in/yaml/v3"
)

// members yields the names and values of an object, in order; of nothing, nothing.
func members(n *yaml.Node) iter.Seq2[string, *yaml.Node] {
	return func(yield func(string, *yaml.Node) bool) {
		if n = pointed(n); n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i].Value, n.Content[i+1]) {
				return
			}
		}
	}
}

// items returns the elements of a list; of nothing, none.
func items(n *yaml.Node) []*yaml.Node {
	if n = pointed(n); n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// pointed returns what an alias stands for, or the node.
func pointed(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// member returns a member of an object, or nil.
func member(n *yaml.Node, name string) *yaml.Node {
	for have, value := range members(n) {
		if have == name {
			return value
		}
	}
	return nil
}

// set gives an object a member, in the place of one of that name if there is one, and returns it.
func set(n *yaml.Node, name string, value *yaml.Node) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			n.Content[i+1] = value
			return value
		}
	}
	n.Content = append(n.Content, text(name), value)
	return value
}

// remove takes a member from an object, and returns it.
func remove(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			value := n.Content[i+1]
			n.Content = slices.Delete(n.Content, i, i+2)
			return value
		}
	}
	return nil
}

// merge adds the members of an object to another.
func merge(to, from *yaml.Node) {
	for name, value := range members(from) {
		set(to, name, value)
	}
}

func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

// clone copies a node with all below, aliases as what they stand for.
func clone(n *yaml.Node) *yaml.Node {
	other := *pointed(n)
	other.Content = nil
	for _, one := range pointed(n).Content {
		other.Content = append(other.Content, clone(one))
	}
	return &other
}

// appendJSON writes a node as JSON; numbers keep their digits.
func appendJSON(b []byte, n *yaml.Node) ([]byte, error) {
	n = pointed(n)
	var err error
	switch n.Kind {
	case yaml.MappingNode:
		b = append(b, '{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendText(b, n.Content[i].Value), ':')
			if b, err = appendJSON(b, n.Content[i+1]); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	case yaml.SequenceNode:
		b = append(b, '[')
		for i, one := range n.Content {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendJSON(b, one); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	}
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		return appendText(b, n.Value), nil
	case "!!null":
		return append(b, "null"...), nil
	default: // numbers and booleans, if they are as JSON has them
		if !json.Valid([]byte(n.Value)) {
			return nil, fmt.Errorf("line %d: %q is nothing that JSON has", n.Line, n.Value)
		}
		return append(b, n.Value...), nil
	}
}

func appendText(b []byte, s string) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a text can't fail
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}
