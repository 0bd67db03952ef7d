package metering

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"ratebook/fault"
	"ratebook/money"
)

// MaxName is the most bytes that the name of a metric or of a scope may have, a scope's id, or a unit.
const MaxName = 255

const maxDescription = 1 << 16 // bytes of a description

var (
	measuredName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	labelName    = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	leadingZero  = regexp.MustCompile(`^[-+]?0[0-9]`)
	lineNumber   = regexp.MustCompile(`\bline (\d+): `)
)

// ParseMetrics reads CloudKitty's metrics.yml, and the key may_be_absent that Ratebook adds, for metrics of the source
// "default". They come back in the order of (Measured, Name), without a Ref.
//
// The scope key is collected always; groupby may name it, and it is left out of [Metric.Groupby]. Numbers are read as
// they are written, never as floats. CloudKitty's defaults become zero values, so that aggregation_method: max is as if
// it were not there.
//
// The error is a *fault.Error of kind Invalid with a field for everything that is wrong, named like
// "metrics.yml:12: metrics.cpu[1].groupby".
func ParseMetrics(file string, content []byte, scopeKey string) ([]*Metric, error) {
	r := metricsReader{file: file, scopeKey: scopeKey}
	if root := r.document(content); root != nil {
		r.root(root)
	}
	if len(r.problems) > 0 {
		return nil, r.err()
	}
	sortMetrics(r.metrics)
	return r.metrics, nil
}

// sortMetrics sorts by measured name, name and source, which together are a metric's identity.
func sortMetrics(metrics []*Metric) {
	slices.SortStableFunc(metrics, func(a, b *Metric) int {
		return cmp.Or(cmp.Compare(a.Measured, b.Measured), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Source, b.Source))
	})
}

// metricsReader walks the nodes of one file and notes every problem it meets.
type metricsReader struct {
	file     string
	scopeKey string
	metrics  []*Metric
	problems []metricsProblem
}

type metricsProblem struct {
	line          int
	path, message string
}

func (r *metricsReader) problem(line int, path, format string, args ...any) {
	r.problems = append(r.problems, metricsProblem{line, path, fmt.Sprintf(format, args...)})
}

func (r *metricsReader) err() error {
	slices.SortStableFunc(r.problems, func(a, b metricsProblem) int { return a.line - b.line })
	e := fault.New(fault.Invalid, "%s has %d problems", r.file, len(r.problems))
	if len(r.problems) == 1 {
		e.Message = r.file + " has a problem"
	}
	for _, p := range r.problems {
		name := r.file
		if p.line > 0 {
			name += ":" + strconv.Itoa(p.line)
		}
		if p.path != "" {
			name += ": " + p.path
		}
		e.Fields = append(e.Fields, fault.Field{Name: name, Message: p.message})
	}
	return e
}

// document returns the root node of the only document in content, or nil after noting why there is none.
func (r *metricsReader) document(content []byte) *yaml.Node {
	if !utf8.Valid(content) {
		valid := content
		for len(valid) > 0 {
			c, size := utf8.DecodeRune(valid)
			if c == utf8.RuneError && size == 1 {
				break
			}
			valid = valid[size:]
		}
		line := 1 + bytes.Count(content[:len(content)-len(valid)], []byte("\n"))
		r.problem(line, "", "is not UTF-8 text")
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var doc, second yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		r.problem(0, "", "is empty; it needs the key metrics")
		return nil
	case err != nil:
		r.syntax(err)
		return nil
	}
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		r.syntax(err)
		return nil
	default:
		r.problem(second.Line, "", "a second YAML document begins here; only one is allowed")
		return nil
	}
	return doc.Content[0]
}

// syntax notes an error of the YAML library, which puts its line number into the text.
func (r *metricsReader) syntax(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := lineNumber.FindStringSubmatchIndex(text); m != nil {
		line, _ = strconv.Atoi(text[m[2]:m[3]])
		text = text[:m[0]] + text[m[1]:]
	}
	r.problem(line, "", "is not valid YAML: %s", text)
}

func (r *metricsReader) root(n *yaml.Node) {
	found := false
	r.mapping(n, "", func(key, value *yaml.Node, path string) {
		if key.Value != "metrics" {
			r.problem(key.Line, path, "is not a key of this file; the only one is metrics")
			return
		}
		found = true
		r.mapping(value, path, r.metric)
	})
	if n.Kind == yaml.MappingNode && !found {
		r.problem(n.Line, "metrics", "is missing")
	}
}

// metric reads what is under a source metric's name: one configuration, or a list of them.
func (r *metricsReader) metric(key, value *yaml.Node, path string) {
	if !measuredName.MatchString(key.Value) {
		r.problem(key.Line, path, "is not the name of a Prometheus metric: letters, digits, _ and : only, no digit first")
	}
	switch value.Kind {
	case yaml.MappingNode:
		r.configuration(key.Value, value, path)
	case yaml.SequenceNode:
		if len(value.Content) == 0 {
			r.problem(value.Line, path, "has an empty list of configurations")
		}
		first := map[string]string{} // the path that has the name
		for i, n := range value.Content {
			path := fmt.Sprintf("%s[%d]", path, i)
			name := r.configuration(key.Value, n, path)
			if name == "" {
				continue
			}
			if other, ok := first[name]; ok {
				r.problem(n.Line, path+".alt_name", "%q is already the name of %s; each configuration needs its own alt_name", clip(name), other)
				continue
			}
			first[name] = path
		}
	default:
		r.problem(value.Line, path, "must be a mapping or a list of them, not %s", describe(value))
	}
}

// configuration reads one configuration and returns its name, or "" if there is none that can be told.
func (r *metricsReader) configuration(measured string, n *yaml.Node, path string) string {
	m := &Metric{Source: "default", Name: measured, Measured: measured, Factor: money.One}
	nodes := map[string]*yaml.Node{}
	labels := map[string]string{} // the list that has the label
	r.mapping(n, path, func(key, value *yaml.Node, path string) {
		nodes[key.Value] = value
		switch key.Value {
		case "unit":
			m.Unit = r.name(value, path)
		case "alt_name":
			m.Name = r.name(value, path)
		case "description":
			m.Description = r.text(value, path)
			if len(m.Description) > maxDescription {
				r.problem(value.Line, path, "is longer than %d bytes", maxDescription)
			}
		case "groupby":
			m.Groupby = r.labels(value, path, key.Value, labels)
		case "metadata":
			m.Metadata = r.labels(value, path, key.Value, labels)
		case "factor":
			m.Factor = r.ratio(value, path)
		case "offset":
			m.Offset = r.ratio(value, path)
		case "mutate":
			var err error
			if m.Mutate, err = ParseMutation(r.text(value, path)); err != nil && isText(value) && value.Value != "" {
				r.problem(value.Line, path, "%v", err)
			}
		case "mutate_map":
			m.MutateMap = r.mutateMap(value, path)
		case "skip_datapoints_expression":
			m.Skip = r.text(value, path)
			if _, err := CompileSkip(m.Skip); err != nil {
				r.problem(value.Line, path, "%v", err)
			}
		case "may_be_absent":
			m.MayBeAbsent = r.boolean(value, path)
		case "extra_args":
			m.Prometheus = r.extraArgs(value, path)
		default:
			r.problem(key.Line, path, "is not a key of a metric; these are: unit, alt_name, description, groupby, metadata, factor, offset, "+
				"mutate, mutate_map, skip_datapoints_expression, may_be_absent, extra_args")
		}
	})
	if n.Kind != yaml.MappingNode {
		return ""
	}
	if nodes["unit"] == nil {
		r.problem(n.Line, path+".unit", "is missing")
	}
	if node := nodes["mutate"]; m.Mutate == Map && nodes["mutate_map"] == nil {
		r.problem(node.Line, path+".mutate", "MAP needs a mutate_map")
	}
	if node := nodes["mutate_map"]; m.Mutate != Map && node != nil {
		r.problem(node.Line, path+".mutate_map", "needs mutate: MAP")
	}
	r.metrics = append(r.metrics, m)
	return m.Name
}

// labels reads groupby or metadata; both share the labels met so far.
func (r *metricsReader) labels(n *yaml.Node, path, list string, seen map[string]string) []string {
	if n.Kind != yaml.SequenceNode {
		r.problem(n.Line, path, "must be a list of label names, not %s", describe(n))
		return nil
	}
	var labels []string
	for _, item := range n.Content {
		if item.Kind != yaml.ScalarNode {
			r.problem(item.Line, path, "must be a list of label names, and has %s in it", describe(item))
			continue
		}
		label := item.Value
		if !labelName.MatchString(label) {
			r.problem(item.Line, path, "%q is not the name of a Prometheus label: letters, digits and _ only, no digit first", clip(label))
			continue
		}
		if other, ok := seen[label]; ok {
			r.problem(item.Line, path, "%q is already in %s", clip(label), other)
			continue
		}
		seen[label] = list
		switch {
		case label != r.scopeKey:
			labels = append(labels, label)
		case list == "metadata":
			r.problem(item.Line, path, "%q is the scope key, which is always in groupby", label)
		}
	}
	return labels
}

func (r *metricsReader) mutateMap(n *yaml.Node, path string) []MutateEntry {
	var entries []MutateEntry
	r.mapping(n, path, func(key, value *yaml.Node, path string) {
		from, ok1 := r.quantity(key, path)
		to, ok2 := r.quantity(value, path)
		if !ok1 || !ok2 {
			return
		}
		if slices.ContainsFunc(entries, func(e MutateEntry) bool { return e.From.Equal(from) }) {
			r.problem(key.Line, path, "%s is mapped twice", from)
			return
		}
		entries = append(entries, MutateEntry{from, to})
	})
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		r.problem(n.Line, path, "is empty")
	}
	slices.SortFunc(entries, func(a, b MutateEntry) int { return a.From.Cmp(b.From) })
	return entries
}

// mapping calls read for every key of a mapping and the path to it. Keys are scalars, each there once.
func (r *metricsReader) mapping(n *yaml.Node, path string, read func(key, value *yaml.Node, path string)) {
	if n.Kind != yaml.MappingNode {
		r.problem(n.Line, path, "must be a mapping, not %s", describe(n))
		return
	}
	lines := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			r.problem(key.Line, path, "has %s as a key", describe(key))
			continue
		}
		at := joinPath(path, key.Value)
		if line, ok := lines[key.Value]; ok {
			r.problem(key.Line, at, "is already in line %d", line)
			continue
		}
		lines[key.Value] = key.Line
		read(key, value, at)
	}
}

func joinPath(path, key string) string {
	if !measuredName.MatchString(key) {
		key = strconv.Quote(clip(key))
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// text reads a text that is not empty.
func (r *metricsReader) text(n *yaml.Node, path string) string {
	switch {
	case !isText(n):
		r.problem(n.Line, path, "must be text, not %s%s", describe(n), quoteHint(n))
	case n.Value == "":
		r.problem(n.Line, path, "must not be empty")
	default:
		return n.Value
	}
	return ""
}

// name reads a text that appears in tables, addresses and files: of one line, and not too long.
func (r *metricsReader) name(n *yaml.Node, path string) string {
	s := r.text(n, path)
	if len(s) > MaxName {
		r.problem(n.Line, path, "is longer than %d bytes", MaxName)
	}
	if strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) {
		r.problem(n.Line, path, "has a character in it that can't be shown: %s", strconv.QuoteToASCII(clip(s)))
	}
	if strings.TrimSpace(s) != s {
		r.problem(n.Line, path, "begins or ends with a space")
	}
	return s
}

func (r *metricsReader) boolean(n *yaml.Node, path string) bool {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		r.problem(n.Line, path, "must be true or false, not %s", describe(n))
		return false
	}
	return strings.EqualFold(n.Value, "true")
}

func (r *metricsReader) ratio(n *yaml.Node, path string) money.Ratio {
	if !r.digits(n, path, `a number or a fraction such as 1/1048576`) {
		return money.One
	}
	ratio, err := money.ParseRatio(n.Value)
	if err != nil {
		r.problem(n.Line, path, "must be a number or a fraction such as 1/1048576: %v", err)
		return money.One
	}
	return ratio
}

// quantity reads a number with at most [money.QtyPlaces] decimals, as all quantities have.
func (r *metricsReader) quantity(n *yaml.Node, path string) (d money.Decimal, ok bool) {
	if !r.digits(n, path, "a number") {
		return d, false
	}
	d, err := money.Parse(n.Value)
	if err != nil {
		r.problem(n.Line, path, "must map numbers to numbers: %v", err)
		return d, false
	}
	if !d.Round(money.QtyPlaces).Equal(d) {
		r.problem(n.Line, path, "%s has more than %d decimals, which no quantity has", clip(n.Value), money.QtyPlaces)
		return d, false
	}
	return d, true
}

// digits refuses nodes that are no number at all, or one that other readers of YAML take for octal.
func (r *metricsReader) digits(n *yaml.Node, path, want string) bool {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" || n.ShortTag() == "!!bool" {
		r.problem(n.Line, path, "must be %s, not %s", want, describe(n))
		return false
	}
	if n.Style == 0 && leadingZero.MatchString(n.Value) {
		r.problem(n.Line, path, "%s may be read as an octal number; write it without the zero in front", clip(n.Value))
		return false
	}
	return true
}

func isText(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" }

// describe names what a node is, for "must be ..., not ...".
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias, which is not allowed here"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!str":
		return fmt.Sprintf("the text %q", clip(n.Value))
	case "!!bool", "!!int", "!!float", "!!timestamp":
		return clip(n.Value)
	}
	return "of the type " + clip(n.Tag)
}

func quoteHint(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.Value == "" || n.ShortTag() == "!!null" {
		return ""
	}
	return "; put it in quotes"
}

func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	end := most
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
