package v2

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/access"
	"ratebook/costs"
	"ratebook/fault"
	"ratebook/money"
	"ratebook/period"
	"ratebook/web"
)

// Reports answers reports.
type Reports interface {
	Report(ctx context.Context, q *costs.Query, yield func(costs.Row) error) (costs.Total, error)
}

// typeKey is what CloudKitty calls the metric.
const typeKey = "type"

// grouping is what a summary is grouped by.
type grouping struct {
	columns []string // as the answer calls them; the query's groups are in the same order
	groups  []string
	windows bool // groupby=time
}

// mostGroups is how many attributes a summary may be grouped by.
const mostGroups = 50

// timeGroups are the computed attributes by what groupby calls them.
var timeGroups = map[string]string{"time-d": "day_of_the_year", "time-w": "week_of_the_year", "time-m": "month", "time-y": "year"}

// key returns what a report calls a groupby element's or a filter's name.
func (h *handler) key(name string) string {
	switch name {
	case typeKey:
		return costs.Metric
	case h.Settings.ScopeKey:
		return costs.Scope
	}
	return costs.AttributePrefix + name
}

func (h *handler) grouping(by []string) (g grouping, err error) {
	for _, name := range by {
		if name == "time" {
			g.windows = true
			continue
		}
		if strings.HasPrefix(name, "time-") {
			column, ok := timeGroups[name]
			if !ok {
				return g, exact(fault.Invalid, "Invalid groupby time option. There is no groupby processing for [%s].", name)
			}
			name = column
		}
		if name == "" || slices.Contains(g.columns, name) {
			continue
		}
		if len(g.columns) == mostGroups {
			return g, exact(fault.Invalid, "Invalid groupby. A summary can be grouped by %d attributes.", mostGroups)
		}
		g.columns, g.groups = append(g.columns, name), append(g.groups, h.key(name))
	}
	return g, nil
}

// asked returns the range that a request asks about: what it doesn't say is this month's.
func (h *handler) asked(begin, end *time.Time) period.Range {
	now := h.Now()
	r := period.Range{Begin: period.Month.Start(now, h.Settings.Zone), End: period.Month.Next(now, h.Settings.Zone)}
	if begin != nil {
		r.Begin = *begin
	}
	if end != nil {
		r.End = *end
	}
	if r.Begin.IsZero() { // the first instant of year 1 is none to a query; nothing began then
		r.Begin = r.Begin.Add(time.Second)
	}
	return r
}

// filters returns a report's filters for those of a request. A tenant gets its own scopes, whichever others it names; mine is
// false if it has none.
func (h *handler) filters(who *access.Caller, pairs []pair) (filters []costs.Filter, mine bool) {
	all := who.ReadsAll()
	named := false
	for _, p := range pairs {
		key, values := h.key(p.key), p.values
		if key == costs.Scope && !all {
			values = slices.DeleteFunc(slices.Clone(values), func(id string) bool { return !who.Reads(id) })
			if len(values) == 0 {
				continue
			}
			named = true
		}
		filters = append(filters, costs.Filter{Key: key, Values: values})
	}
	if !all && !named {
		filters = append(filters, costs.Filter{Key: costs.Scope, Values: who.Scopes})
	}
	return filters, all || len(who.Scopes) > 0
}

const (
	tableFormat  = "table"
	objectFormat = "object"
)

// summary adds up what charges cost.
func (h *handler) summary(c echo.Context) error {
	var (
		by         []string
		pairsOf    []pair
		custom     string
		format     = tableFormat
		begin, end *time.Time
		p          page
	)
	a := queryOf(c)
	err := a.check(append(p.rules(),
		text("response_format", &format), text("custom_fields", &custom), texts("groupby", &by), pairs("filters", false, &pairsOf),
		when("begin", fromISO, &begin), when("end", fromISO, &end))...)
	if err != nil {
		return err
	}
	if format != tableFormat && format != objectFormat {
		return exact(fault.Invalid, "Invalid response format [%s]. Valid format are [['table', 'object']].", format)
	}
	g, err := h.grouping(by)
	if err != nil {
		return err
	}
	sums, wrong := defaultAggregates, ""
	if strings.TrimSpace(custom) != "" {
		if sums, wrong = parseAggregates(custom, append(g.columns, "begin", "end")); wrong != "" {
			return a.wrong(wrong, "custom_fields")
		}
	}
	fields := []string{"begin", "end"}
	for _, s := range sums {
		fields = append(fields, s.alias)
	}
	for _, name := range g.columns {
		if slices.Contains(fields, name) {
			return exact(fault.Invalid, "Invalid groupby [%s]. Another column has this name.", name)
		}
	}
	filters, mine := h.filters(web.Caller(c), pairsOf)
	if !mine {
		return send(c, http.StatusOK, []byte(`{"total":0,"columns":[],"results":[]}`))
	}
	fields = append(fields, g.columns...)
	w := &summaryWriter{page: p, sums: sums, object: format == objectFormat}
	for _, f := range fields {
		w.names = append(w.names, appendJSON(nil, f))
	}
	q := &costs.Query{
		Range: h.asked(begin, end), Groups: g.groups, Filters: filters, Windows: g.windows,
		Extremes: slices.ContainsFunc(sums, aggregate.extreme),
	}
	if !q.Range.Empty() {
		if _, err := h.Reports.Report(c.Request().Context(), q, w.row); err != nil {
			return err
		}
	}
	return send(c, http.StatusOK, w.answer(format))
}

// summaryWriter writes the rows of a page, and counts all.
type summaryWriter struct {
	page
	sums   []aggregate
	object bool
	names  [][]byte // of the columns, as JSON

	total   int
	results []byte
	written bool
}

func (w *summaryWriter) row(r costs.Row) error {
	w.total++
	if w.total <= w.offset || w.total-w.offset > w.limit {
		return nil
	}
	b := w.results
	if w.written {
		b = append(b, ',')
	}
	w.written = true
	open, end := byte('['), byte(']')
	if w.object {
		open, end = '{', '}'
	}
	b = append(b, open)
	n := 0
	column := func() {
		if n > 0 {
			b = append(b, ',')
		}
		if w.object {
			b = append(append(b, w.names[n]...), ':')
		}
		n++
	}
	column()
	b = append(append(append(b, '"'), iso(r.Begin)...), '"')
	column()
	b = append(append(append(b, '"'), iso(r.End)...), '"')
	for _, s := range w.sums {
		column()
		b = s.append(b, &r)
	}
	for _, v := range r.Groups {
		column()
		b = appendJSON(b, v)
	}
	w.results = append(b, end)
	return nil
}

func (w *summaryWriter) answer(format string) []byte {
	b := append(make([]byte, 0, len(w.results)+500), `{"total":`...)
	b = strconv.AppendInt(b, int64(w.total), 10)
	if !w.object {
		b = append(b, `,"columns":[`...)
		for i, name := range w.names {
			if !w.written {
				break
			}
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, name...)
		}
		b = append(b, ']')
	}
	b = append(append(b, `,"results":[`...), w.results...)
	return append(append(append(b, `],"format":"`...), format...), `"}`...)
}

// aggregate is a column of sums.
type aggregate struct {
	function string // sum, min, max, mean or count
	price    bool   // of the price, else of the quantity
	alias    string
}

var defaultAggregates = []aggregate{{"sum", false, "qty"}, {"sum", true, "rate"}}

func (a aggregate) extreme() bool { return a.function == "min" || a.function == "max" }

func (a aggregate) append(b []byte, r *costs.Row) []byte {
	sum, least, most := r.AllQty, r.MinQty, r.MaxQty
	if a.price {
		sum, least, most = r.Cost, r.MinCost, r.MaxCost
	}
	switch a.function {
	case "min":
		sum = least
	case "max":
		sum = most
	case "count":
		sum = money.New(r.Points, 0)
	case "mean":
		sum = mean(sum, r.Points)
	}
	return sum.Append(b)
}
