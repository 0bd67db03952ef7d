package metering

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"ratebook/money"
)

// ExportMetrics writes a metrics.yml that [ParseMetrics] reads to the same metrics, in the order of (Measured, Name).
// What is as by default is left out. The file can't tell sources apart: metrics of several sources that have the same
// measured and own name are an error.
func ExportMetrics(w io.Writer, metrics []*Metric) error {
	metrics = slices.Clone(metrics)
	sortMetrics(metrics)
	if len(metrics) == 0 {
		_, err := io.WriteString(w, "metrics: {}\n")
		return err
	}
	var out bytes.Buffer
	out.WriteString(metricsLine)
	for i := 0; i < len(metrics); {
		n := 1 // configurations under one measured name
		for ; i+n < len(metrics) && metrics[i+n].Measured == metrics[i].Measured; n++ {
			if metrics[i+n].Name == metrics[i+n-1].Name {
				return fmt.Errorf("metering: two metrics %s (%s), of the sources %q and %q, can't be in one file",
					metrics[i].Name, metrics[i].Measured, metrics[i+n-1].Source, metrics[i+n].Source)
			}
		}
		if i > 0 {
			out.WriteByte('\n')
		}
		if err := exportMeasured(&out, metrics[i:i+n]); err != nil {
			return err
		}
		i += n
	}
	_, err := out.WriteTo(w)
	return err
}

const metricsLine = "metrics:\n"

// exportMeasured writes the configurations under one measured name: one as a mapping, several as a list.
func exportMeasured(out *bytes.Buffer, metrics []*Metric) error {
	var value *yaml.Node
	if len(metrics) == 1 {
		value = metricNode(metrics[0])
	} else {
		value = &yaml.Node{Kind: yaml.SequenceNode}
		for _, m := range metrics {
			value.Content = append(value.Content, metricNode(m))
		}
	}
	var measured, root mappingNode
	measured.add(metrics[0].Measured, value)
	root.add("metrics", measured.node())
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(root.node()); err != nil {
		return fmt.Errorf("metering: writing %s: %w", metrics[0].Measured, err)
	}
	if err := encoder.Close(); err != nil {
		return fmt.Errorf("metering: writing %s: %w", metrics[0].Measured, err)
	}
	out.Write(bytes.TrimPrefix(b.Bytes(), []byte(metricsLine)))
	return nil
}

func metricNode(m *Metric) *yaml.Node {
	var n mappingNode
	n.add("unit", textNode(m.Unit))
	if m.Name != m.Measured {
		n.add("alt_name", textNode(m.Name))
	}
	n.addText("description", m.Description)
	n.addList("groupby", m.Groupby)
	n.addList("metadata", m.Metadata)
	if !m.Factor.Equal(money.One) {
		n.add("factor", plainNode(m.Factor.String()))
	}
	if !m.Offset.Equal(money.Ratio{}) {
		n.add("offset", plainNode(m.Offset.String()))
	}
	if m.Mutate != None {
		n.add("mutate", plainNode(m.Mutate.String()))
	}
	if len(m.MutateMap) > 0 {
		var entries mappingNode
		for _, e := range m.MutateMap {
			entries.add(e.From.String(), plainNode(e.To.String()))
		}
		n.add("mutate_map", entries.node())
	}
	n.addText("skip_datapoints_expression", m.Skip)
	if m.MayBeAbsent {
		n.add("may_be_absent", plainNode("true"))
	}
	var args mappingNode
	args.addText("aggregation_method", m.Prometheus.Aggregation)
	args.addText("query_function", m.Prometheus.QueryFunction)
	args.addText("range_function", m.Prometheus.RangeFunction)
	args.addText("query_prefix", m.Prometheus.Prefix)
	args.addText("query_suffix", m.Prometheus.Suffix)
	if len(args.content) > 0 {
		n.add("extra_args", args.node())
	}
	return n.node()
}

// mappingNode builds a YAML mapping.
type mappingNode struct{ content []*yaml.Node }

func (m *mappingNode) node() *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Content: m.content}
}

func (m *mappingNode) add(key string, value *yaml.Node) {
	m.content = append(m.content, plainNode(key), value)
}

func (m *mappingNode) addText(key, text string) {
	if text != "" {
		m.add(key, textNode(text))
	}
}

func (m *mappingNode) addList(key string, texts []string) {
	if len(texts) == 0 {
		return
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, s := range texts {
		list.Content = append(list.Content, textNode(s))
	}
	m.add(key, list)
}

// plainNode writes s as it is: numbers, keys and words that need no quotes.
func plainNode(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

// textNode writes a text so that it is text to every reader of YAML, CloudKitty's too, for which yes is a boolean.
func textNode(s string) *yaml.Node {
	strange := func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }
	if strings.TrimSpace(s) != s || strings.ContainsFunc(s, strange) {
		return &yaml.Node{Kind: yaml.ScalarNode, Value: s, Style: yaml.DoubleQuotedStyle}
	}
	n := &yaml.Node{}
	if err := n.Encode(s); err != nil {
		panic("metering: " + err.Error()) // any text can be encoded
	}
	return n
}
