package prometheus

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
)

// maxSelectors bounds the selectors of one request in bytes: they travel in a URL, which proxies limit to 8 kB or less
// and escaping makes up to three times as long.
const maxSelectors = 2 << 10

// Fetcher finds scopes: the values that a label has on the series of some metrics.
type Fetcher struct {
	Client         *Client
	Metrics        []string          // as the server calls them; at least one
	ScopeAttribute string            // the label whose values are scope IDs
	Filters        map[string]string // labels and the values they must have
}

// Scopes returns the scopes that have samples in the range, sorted by ID, each once. A server that looks into its blocks
// by their times only, as Prometheus does, may return some from shortly before or after.
func (f *Fetcher) Scopes(ctx context.Context, r period.Range) ([]metering.Found, error) {
	if len(f.Metrics) == 0 || f.ScopeAttribute == "" {
		return nil, fault.New(fault.Invalid, "the Prometheus fetcher needs a metric and a scope attribute")
	}
	var ids []string
	for _, selectors := range f.selectors() {
		form := url.Values{
			"match[]": selectors,
			"start":   {strconv.FormatInt(r.Begin.Unix(), 10)},
			"end":     {strconv.FormatInt(r.End.Unix(), 10)},
		}
		_, err := f.Client.get(ctx, "scopes", "/label/"+url.PathEscape(f.ScopeAttribute)+"/values", form, readStrings(&ids))
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(ids)
	var found []metering.Found
	for _, id := range slices.Compact(ids) {
		if id != "" {
			found = append(found, metering.Found{ID: id})
		}
	}
	return found, nil
}

// selectors returns a selector for each metric, in groups that fit one request.
func (f *Fetcher) selectors() [][]string {
	var filters []string
	for _, name := range slices.Sorted(maps.Keys(f.Filters)) {
		filters = append(filters, name+`="`+quoted(f.Filters[name])+`"`)
	}
	suffix := ""
	if filters != nil {
		suffix = "{" + strings.Join(filters, ", ") + "}"
	}
	groups, size := [][]string{nil}, 0
	for _, m := range names(f.Metrics) {
		selector := m + suffix
		if last := len(groups) - 1; groups[last] == nil || size+len(selector) <= maxSelectors {
			groups[last] = append(groups[last], selector)
			size += len(selector)
		} else {
			groups = append(groups, []string{selector})
			size = len(selector)
		}
	}
	return groups
}
