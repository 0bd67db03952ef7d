package prometheus

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"ratebook/metering"
)

// Query returns the query that measures m for one scope over the window of length period that ends at the time of
// evaluation: byte for byte the one CloudKitty sends, except that quotes, backslashes and line breaks of a scope's ID are
// escaped.
func Query(m *metering.Metric, scopeKey, scopeID string, period time.Duration) string {
	return query(m, scopeKey, oneScope(scopeKey, scopeID), period)
}

// query builds the query for the series that the matcher selects.
func query(m *metering.Metric, scopeKey, matcher string, period time.Duration) string {
	args := &m.Prometheus
	aggregation := cmp.Or(args.Aggregation, "max")
	q := window(m.Measured, matcher, period)
	if args.RangeFunction != "" {
		q = args.RangeFunction + "(" + q + ")"
	} else {
		q = aggregation + "_over_time(" + q + ")"
	}
	if args.QueryFunction != "" {
		q = args.QueryFunction + "(" + q + ")"
	}
	by := slices.Concat(m.Groupby, []string{scopeKey}, m.Metadata)
	q = aggregation + "(" + q + ") by (" + strings.Join(by, ", ") + ")"
	if args.Prefix != "" {
		q = args.Prefix + " " + q
	}
	if args.Suffix != "" {
		q += " " + args.Suffix
	}
	return q
}

// presence returns a query that has a value wherever any scope has samples of the source metric, whatever they are.
func presence(measured, scopeKey string, period time.Duration) string {
	return "count(count_over_time(" + window(measured, scopeKey+`!=""`, period) + "))"
}

func window(measured, matcher string, period time.Duration) string {
	return fmt.Sprintf("%s{%s}[%ds]", measured, matcher, period/time.Second)
}

// oneScope matches the series of one scope.
func oneScope(key, id string) string { return key + `="` + quoted(id) + `"` }

// manyScopes matches the series of all the scopes.
func manyScopes(key string, scopes []*metering.Scope) string {
	if len(scopes) == 1 {
		return oneScope(key, scopes[0].ID)
	}
	var b strings.Builder
	for i, s := range scopes {
		if i > 0 {
			b.WriteByte('|')
		}
		b.WriteString(alternative(s.ID))
	}
	return key + `=~"` + b.String() + `"`
}

// alternative returns the part of a regular expression that matches exactly the ID, ready to stand in a PromQL string.
// PromQL anchors the whole expression.
func alternative(id string) string { return quoted(regexp.QuoteMeta(id)) }

// quoted escapes s for a PromQL string in double quotes. PromQL takes everything else as it is, except the replacement
// character, which its scanner can't tell from broken UTF-8.
func quoted(s string) string { return escapes.Replace(s) }

var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\uFFFD", `\uFFFD`)

// Bounds of one batch query. Servers and proxies limit the size of a query, and a regular expression of more
// alternatives than this is slow to compile for little gain.
const (
	maxScopes  = 500
	maxMatcher = 64 << 10 // bytes
)

// batches cuts scopes into runs that fit one query each.
func batches(scopes []*metering.Scope) [][]*metering.Scope {
	var all [][]*metering.Scope
	from, size := 0, 0
	for i, s := range scopes {
		n := len(alternative(s.ID)) + 1
		if i > from && (i-from == maxScopes || size+n > maxMatcher) {
			all = append(all, scopes[from:i])
			from, size = i, 0
		}
		size += n
	}
	if from < len(scopes) {
		all = append(all, scopes[from:])
	}
	return all
}
