package metering

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What metrics.yml may say in extra_args, as in CloudKitty.
var (
	prometheusAggregations = []string{"avg", "count", defaultAggregation, "min", "stddev", "stdvar", "sum"}
	queryFunctions         = []string{"abs", "ceil", "exp", "floor", "ln", "log2", "log10", "round", "sqrt"}
	rangeFunctions         = []string{"changes", "delta", "deriv", "idelta", "irange", "irate", "rate"}
)

const defaultAggregation = "max"

// What CloudKitty knows only for its Gnocchi collector.
var (
	gnocchiArgs         = []string{"resource_type", "resource_key", "re_aggregation_method", "force_granularity", "use_all_resource_revisions", "custom_query"}
	gnocchiAggregations = regexp.MustCompile(`^(rate:)?(mean|sum|last|max|min|std|median|first|count|[1-9][0-9]?pct)$`)
)

func (r *metricsReader) extraArgs(n *yaml.Node, path string) (args PrometheusArgs) {
	const known = "aggregation_method, query_function, range_function, query_prefix, query_suffix"
	r.mapping(n, path, func(key, value *yaml.Node, path string) {
		switch key.Value {
		case "aggregation_method":
			if isText(value) && !slices.Contains(prometheusAggregations, value.Value) && gnocchiAggregations.MatchString(value.Value) {
				r.problem(value.Line, path, "%s is an aggregation of Gnocchi, and Ratebook collects from Prometheus; use one of %s",
					value.Value, strings.Join(prometheusAggregations, ", "))
				return
			}
			if args.Aggregation = r.oneOf(value, path, prometheusAggregations); args.Aggregation == defaultAggregation {
				args.Aggregation = ""
			}
		case "query_function":
			args.QueryFunction = r.oneOf(value, path, queryFunctions)
		case "range_function":
			args.RangeFunction = r.oneOf(value, path, rangeFunctions)
		case "query_prefix":
			args.Prefix = r.affix(value, path)
		case "query_suffix":
			args.Suffix = r.affix(value, path)
		default:
			if slices.Contains(gnocchiArgs, key.Value) {
				r.problem(key.Line, path, "is for Gnocchi, and Ratebook collects from Prometheus, whose extra_args are %s", known)
				return
			}
			r.problem(key.Line, path, "is not a key of extra_args; these are: %s", known)
		}
	})
	return args
}

func (r *metricsReader) oneOf(n *yaml.Node, path string, allowed []string) string {
	s := r.text(n, path)
	if s == "" {
		return ""
	}
	if !slices.Contains(allowed, s) {
		r.problem(n.Line, path, "%q is not known; use one of %s", clip(s), strings.Join(allowed, ", "))
	}
	return s
}

// affix reads a text that may be empty.
func (r *metricsReader) affix(n *yaml.Node, path string) string {
	if isText(n) && n.Value == "" {
		return ""
	}
	return r.text(n, path)
}
