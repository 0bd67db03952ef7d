package v1

import (
	"cmp"
	"encoding/json"
	"net/http"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
)

// metricInfo is a metric as clients know it.
type metricInfo struct {
	ID       string   `json:"metric_id"`
	Metadata []string `json:"metadata"`
	Unit     string   `json:"unit"`
}

func metricInfoOf(m *metering.Metric) metricInfo {
	return metricInfo{m.Name, append([]string{}, m.Metadata...), m.Unit}
}

func (s *server) listMetrics(r *request) error {
	configuration, err := s.Catalog.Configuration(r.Request().Context(), 0)
	if err != nil {
		return err
	}
	metrics := []metricInfo{}
	for _, m := range configuration.Metrics {
		metrics = append(metrics, metricInfoOf(m))
	}
	return r.JSON(http.StatusOK, map[string]any{"metrics": metrics})
}

func (s *server) showMetric(r *request) error {
	configuration, err := s.Catalog.Configuration(r.Request().Context(), 0)
	if err != nil {
		return err
	}
	name := cmp.Or(r.args.text("metric_name"), r.args.text("service_name"))
	for _, m := range configuration.Metrics {
		if m.Name == name {
			return r.JSON(http.StatusOK, metricInfoOf(m))
		}
	}
	return fault.New(fault.NotFound, "%s", clip(name))
}

// metricConfig is what metrics.yml says of a metric.
type metricConfig struct {
	Unit        string                 `json:"unit"`
	Name        string                 `json:"alt_name,omitempty"`
	Description string                 `json:"description,omitempty"`
	Groupby     []string               `json:"groupby,omitempty"`
	Metadata    []string               `json:"metadata,omitempty"`
	Factor      json.RawMessage        `json:"factor,omitempty"` // a number, or a text for a fraction; so is Offset
	Offset      json.RawMessage        `json:"offset,omitempty"`
	Mutate      string                 `json:"mutate,omitempty"`
	MutateMap   map[string]json.Number `json:"mutate_map,omitempty"`
	Skip        string                 `json:"skip_datapoints_expression,omitempty"`
	MayBeAbsent bool                   `json:"may_be_absent,omitempty"`
	ExtraArgs   *prometheusConfig      `json:"extra_args,omitempty"`
}

type prometheusConfig metering.PrometheusArgs

// showConfig shows today's metrics as metrics.yml has them: under what the source calls them, several in a list.
func (s *server) showConfig(r *request) error {
	configuration, err := s.Catalog.Configuration(r.Request().Context(), 0)
	if err != nil {
		return err
	}
	lists := map[string][]*metricConfig{}
	for _, m := range configuration.Metrics {
		lists[m.Measured] = append(lists[m.Measured], metricConfigOf(m))
	}
	metrics := map[string]any{}
	for name, list := range lists {
		if metrics[name] = list; len(list) == 1 {
			metrics[name] = list[0]
		}
	}
	return r.JSON(http.StatusOK, map[string]any{"metrics": metrics})
}

// metricConfigOf leaves out what is as by default.
func metricConfigOf(m *metering.Metric) *metricConfig {
	c := &metricConfig{
		Unit: m.Unit, Description: m.Description, Groupby: m.Groupby, Metadata: m.Metadata, Skip: m.Skip, MayBeAbsent: m.MayBeAbsent,
	}
	if m.Name != m.Measured {
		c.Name = m.Name
	}
	if !m.Factor.Equal(money.One) {
		c.Factor = ratio(m.Factor)
	}
	if !m.Offset.Equal(money.Ratio{}) {
		c.Offset = ratio(m.Offset)
	}
	if m.Mutate != metering.None {
		c.Mutate = m.Mutate.String()
	}
	for _, e := range m.MutateMap {
		if c.MutateMap == nil {
			c.MutateMap = map[string]json.Number{}
		}
		c.MutateMap[e.From.String()] = json.Number(e.To.String())
	}
	if m.Prometheus != (metering.PrometheusArgs{}) {
		args := prometheusConfig(m.Prometheus)
		c.ExtraArgs = &args
	}
	return c
}

// ratio writes a number as one, and a fraction as a text.
func ratio(r money.Ratio) json.RawMessage {
	text := r.String()
	if _, err := money.Parse(text); err == nil {
		return json.RawMessage(text)
	}
	return json.RawMessage(`"` + text + `"`)
}
