package rating

import (
	"bytes"
	"cmp"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// Export writes the rules as a rules file, see [File]. Reading it back and applying it to r changes nothing. What it writes
// depends on nothing but the rules: neither on their ids nor on their order.
func Export(w io.Writer, r *Rules) error {
	var b bytes.Buffer // for the encoder would hide what went wrong with w
	out := yaml.NewEncoder(&b)
	out.SetIndent(2)
	if err := out.Encode(document(r)); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	_, err := b.WriteTo(w)
	return err
}

func document(r *Rules) *yaml.Node {
	top := &yaml.Node{Kind: yaml.MappingNode}

	modules := slices.SortedFunc(slices.Values(r.Modules), func(a, b Module) int { return strings.Compare(a.Name, b.Name) })
	if len(modules) > 0 {
		all := flow(yaml.MappingNode)
		for _, m := range modules {
			one := flow(yaml.MappingNode)
			put(one, "enabled", verbatim(strconv.FormatBool(m.Enabled)))
			put(one, "priority", verbatim(strconv.Itoa(m.Priority)))
			put(all, m.Name, one)
		}
		put(top, "modules", all)
	}

	groups := slices.SortedFunc(slices.Values(r.Groups), func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	if len(groups) > 0 {
		all := flow(yaml.SequenceNode)
		for _, g := range groups {
			all.Content = append(all.Content, text(g.Name))
		}
		put(top, "groups", all)
	}

	type parent struct{ service, field string }
	rules := map[parent][]*Rule{}
	for i := range r.Hashmap {
		rule := &r.Hashmap[i]
		of := parent{rule.Service, rule.Field}
		rules[of] = append(rules[of], rule)
	}
	services := &yaml.Node{Kind: yaml.SequenceNode}
	for _, s := range slices.SortedFunc(slices.Values(r.Services), func(a, b Service) int { return strings.Compare(a.Name, b.Name) }) {
		one := &yaml.Node{Kind: yaml.MappingNode}
		put(one, "name", text(s.Name))
		putRules(one, rules[parent{s.Name, ""}])
		fields := &yaml.Node{Kind: yaml.SequenceNode}
		for _, f := range slices.SortedFunc(slices.Values(s.Fields), func(a, b Field) int { return strings.Compare(a.Name, b.Name) }) {
			one := &yaml.Node{Kind: yaml.MappingNode}
			put(one, "name", text(f.Name))
			putRules(one, rules[parent{s.Name, f.Name}])
			fields.Content = append(fields.Content, one)
		}
		if len(fields.Content) > 0 {
			put(one, "fields", fields)
		}
		services.Content = append(services.Content, one)
	}
	if len(services.Content) == 0 {
		services.Style = yaml.FlowStyle
	}
	put(top, "services", services)

	scripts := &yaml.Node{Kind: yaml.SequenceNode}
	for _, s := range slices.SortedFunc(slices.Values(r.Scripts), func(a, b Script) int { return strings.Compare(a.Name, b.Name) }) {
		one := &yaml.Node{Kind: yaml.MappingNode}
		put(one, "name", text(s.Name))
		putTime(one, "start", s.Start)
		putTime(one, "end", s.End)
		putText(one, "description", s.Description)
		put(one, "data", block(s.Data))
		scripts.Content = append(scripts.Content, one)
	}
	if len(scripts.Content) > 0 {
		put(top, "scripts", scripts)
	}
	return top
}

// putRules adds the rules of one service or field.
func putRules(to *yaml.Node, rules []*Rule) {
	slices.SortFunc(rules, func(a, b *Rule) int {
		return cmp.Or(
			strings.Compare(a.Value, b.Value), a.Level.Cmp(b.Level), strings.Compare(a.Scope, b.Scope),
			strings.Compare(a.Group, b.Group), a.Start.Compare(b.Start), strings.Compare(a.ID, b.ID),
		)
	})
	for _, kind := range [...]Kind{Mapping, Threshold} {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, r := range rules {
			if r.Kind == kind {
				list.Content = append(list.Content, r.node())
			}
		}
		if len(list.Content) > 0 {
			put(to, string(kind)+"s", list)
		}
	}
}

func (r *Rule) node() *yaml.Node {
	n := flow(yaml.MappingNode)
	if r.Kind == Threshold {
		put(n, "level", quote(r.Level.String()))
	} else if r.Field != "" {
		put(n, "value", text(r.Value))
	}
	put(n, "type", text(string(r.Type)))
	put(n, "cost", quote(r.Cost.String()))
	putText(n, "group", r.Group)
	putText(n, "scope", r.Scope)
	putTime(n, "start", r.Start)
	putTime(n, "end", r.End)
	putText(n, "name", r.Name)
	putText(n, "description", r.Description)
	return n
}

func put(to *yaml.Node, key string, value *yaml.Node) {
	to.Content = append(to.Content, text(key), value)
}

func putText(to *yaml.Node, key, value string) {
	if value != "" {
		put(to, key, text(value))
	}
}

func putTime(to *yaml.Node, key string, t time.Time) {
	if !t.IsZero() {
		put(to, key, quote(instant(t)))
	}
}

func flow(kind yaml.Kind) *yaml.Node { return &yaml.Node{Kind: kind, Style: yaml.FlowStyle} }

// verbatim is a scalar that needs no quotes.
func verbatim(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

func quote(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: s, Style: yaml.DoubleQuotedStyle}
}

// text is a text, quoted unless it is plain.
func text(s string) *yaml.Node {
	if plain(s) {
		return verbatim(s)
	}
	return quote(s)
}

// block is a text of lines, as it is where every reader of YAML sees it so, else quoted.
func block(s string) *yaml.Node {
	if !strings.HasSuffix(s, "\n") || strings.TrimLeft(s, " \t\n") != s || strings.HasSuffix(s, "\n\n") {
		return quote(s)
	}
	for line := range strings.Lines(s) {
		line = strings.TrimSuffix(line, "\n")
		if strings.TrimRight(line, " \t") != line || strings.ContainsFunc(line, func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) }) {
			return quote(s)
		}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: s, Style: yaml.LiteralStyle}
}

// plain reports whether a text is one without quotes, too, to this package and to every other reader of YAML.
func plain(s string) bool {
	n := verbatim(s)
	return plainText.MatchString(s) && n.ShortTag() == "!!str" && !yaml11Bool[strings.ToLower(s)]
}

var (
	plainText  = regexp.MustCompile(`^[\pL_][\pL\pN_./@-]*[\pL\pN_]$|^[\pL_]$`)
	yaml11Bool = map[string]bool{"y": true, "n": true, "yes": true, "no": true, "on": true, "off": true}
)
