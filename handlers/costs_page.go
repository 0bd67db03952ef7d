package handlers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"ratebook/costs"
	"ratebook/money"
	"ratebook/period"
	"ratebook/views/components"
	"ratebook/views/format"
	"ratebook/views/pages"
)

const (
	costsPerPage = 50
	costsSeries  = components.Others // series of a chart that have a colour of their own
)

// bar makes the controls that ask the question.
func (h *Costs) bar(r *costsRequest) pages.CostsQuestion {
	wrong := components.ErrorsOf(r.wrong)
	take := func(names ...string) string {
		var all []string
		for _, name := range names {
			if text := wrong[name]; text != "" {
				all = append(all, text)
				delete(wrong, name)
			}
		}
		return strings.Join(all, "; ")
	}
	b := pages.CostsQuestion{
		Range:  components.Choice{Name: "range", Label: "In", Value: r.preset, Error: take("range")},
		Group:  components.Choice{Name: "group", Label: "By", Value: costsNothing, Options: r.groupOptions(), Error: take("group")},
		Second: components.Choice{Name: "group", Label: "and", Options: r.groupOptions()},
		Bucket: components.Choice{Name: "bucket", Label: "Per", Value: r.values().Get("bucket"), Error: take("bucket")},
		From:   components.Input{Name: "from", Label: "From", Type: "date", Value: r.typed.Get("from"), Error: take("from")},
		To:     components.Input{Name: "to", Label: "To", Type: "date", Value: r.typed.Get("to"), Error: take("to")},
		Key:    components.Choice{Name: filterKey, Label: "Filter", Value: costsKey(r.typed.Get(filterKey)), Error: take(filterKey)},
		Value: components.Input{
			Name: filterValue, Label: "is", Value: r.typed.Get(filterValue), Error: take(filterValue, "filter"), Autocomplete: "off",
		},
	}
	first, last, _ := r.days()
	if b.From.Value == "" && b.To.Value == "" {
		b.From.Value, b.To.Value = first.Format(time.DateOnly), last.Format(time.DateOnly)
	}
	for _, p := range costsPresets {
		b.Range.Options = append(b.Range.Options, components.Option{Value: p.name, Label: p.label})
	}
	if r.preset == "" {
		b.Range.Options = append(b.Range.Options, components.Option{Label: format.Range(r.span.Begin, r.span.End, h.settings.Zone)})
	}
	if len(r.groups) > 0 {
		b.Group.Value = r.groups[0]
	}
	if len(r.groups) > 1 {
		b.Second.Value = r.groups[1]
	}
	b.Group.Options = append(b.Group.Options, components.Option{Value: costsNothing, Label: "nothing"})
	b.Second.Options = slices.Insert(b.Second.Options, 0, components.Option{Label: "nothing else"})
	b.Key.Options = slices.Insert(r.groupOptions(), 0, components.Option{Label: "Choose"})
	b.Bucket.Options = append(b.Bucket.Options, components.Option{Label: "auto (" + costsBucket(r.span).String() + ")"})
	for _, bucket := range []period.Bucket{period.Hour, period.Day, period.Week, period.Month} {
		b.Bucket.Options = append(b.Bucket.Options, components.Option{Value: bucket.String(), Label: bucket.String()})
	}
	b.Bucket.Options = append(b.Bucket.Options, components.Option{Value: costsNothing, Label: "nothing"})

	for _, name := range sortedKeys(r.typed) { // what has no control
		if text := take(name); text != "" {
			b.Wrong = append(b.Wrong, name+": "+text)
		}
	}
	for _, name := range []string{"begin", "end", "sort", "page"} {
		if text := take(name); text != "" {
			b.Wrong = append(b.Wrong, name+": "+text)
		}
	}
	b.Kept = r.kept("range", "group", "bucket")
	b.KeptByDays = r.kept("range", "from", "to", "begin", "end")
	b.KeptByFilters = r.kept()
	for _, f := range r.filters {
		for _, value := range f.Values {
			b.Chips = append(b.Chips, pages.CostsChip{
				Key: costsLabel(f.Key), Value: r.shown(f.Key, value), Title: f.Key + "=" + value,
				Path: r.but(func(q *costsQuestion) { q.filters = withoutFilter(q.filters, f.Key, value) }).path(),
			})
		}
	}
	if len(b.Chips) > 1 {
		b.Clear = r.but(func(q *costsQuestion) { q.filters = nil }).path()
	}
	return b
}

// kept returns the question's parameters as a form sends them on, but for those of its own controls.
func (r *costsRequest) kept(but ...string) []pages.CostsParam {
	var all []pages.CostsParam
	v := r.but(func(*costsQuestion) {}).values()
	for _, name := range sortedKeys(v) {
		for _, value := range v[name] {
			if !slices.Contains(but, name) {
				all = append(all, pages.CostsParam{Name: name, Value: value})
			}
		}
	}
	return all
}

// groupOptions returns what one can group and filter by.
func (r *costsRequest) groupOptions() []components.Option {
	keys := append([]string{costs.Scope, costs.Metric}, r.attributes("")...)
	keys = append(keys, costs.Unit, costs.ScopeName)
	for _, used := range slices.Concat(r.groups, []string{costsKey(r.typed.Get(filterKey))}) {
		if used != "" && !overlong(used) && !slices.Contains(keys, used) { // of a metric that is gone, or what every charge has
			keys = append(keys, used)
		}
	}
	var all []components.Option
	for _, key := range keys {
		all = append(all, components.Option{Value: key, Label: costsLabel(key)})
	}
	return all
}

// shown returns how a value of a key is shown.
func (r *costsRequest) shown(key, value string) string {
	switch {
	case value == "":
		return "(none)"
	case key == costs.Scope:
		return r.scope(value)
	}
	return value
}

// fill asks the report and makes what the page shows of it.
func (h *Costs) fill(ctx context.Context, r *costsRequest, v *pages.Costs) error {
	buckets, drawn := bucketsOf(r.span, r.bucket, h.settings.Zone)
	query, ok := r.ask(r.user, func(q *costs.Query) {
		if len(buckets) == 0 {
			q.Bucket = period.Whole
		}
	})
	if !ok {
		v.Empty = &pages.CostsEmpty{Title: "No scopes yet", Text: "Your login may not read the costs of any scope. Ask an administrator to give it one."}
		return nil
	}
	order := func(t *costsTable) []int32 {
		return t.sorted(r.sort, func(group int, value string) string { return r.shown(r.groups[group], value) })
	}
	t, err := newCostsTable(ctx, h.few, query, buckets, h.cells, func(t *costsTable) []int32 {
		rows := order(t)
		first, last := pageOf(r.page, len(rows))
		return append(t.top(costsSeries), rows[first:last]...)
	})
	if err != nil {
		return err
	}
	rows := order(t)
	if len(rows) == 0 {
		v.Empty, err = h.empty(ctx, r)
		return err
	}
	first, last := pageOf(r.page, len(rows))
	report := &pages.CostsReport{
		Currency: h.settings.Currency,
		Caption:  "Costs" + r.byWhat() + ", " + format.Range(r.span.Begin, r.span.End, h.settings.Zone),
		Headings: r.headings(h.settings.Currency),
		Count:    len(rows),
		Total:    pages.CostsRow{Cost: t.total.Cost, Qty: t.total.Qty, Unit: t.total.Unit, Mixed: t.total.Mixed, Points: t.total.Points},
		Pages: components.Pages{
			Page: first/costsPerPage + 1, Pages: (len(rows) + costsPerPage - 1) / costsPerPage, PerPage: costsPerPage, Rows: len(rows),
			What: "groups", Target: "#" + pages.CostsReportID, Path: func(page int) string {
				return r.but(func(q *costsQuestion) { q.page = page }).path()
			},
		},
	}
	if len(buckets) > 1 {
		report.Course = "By " + r.bucket.String()
		report.Total.Course = condensed(t.courses)
	}
	for _, n := range rows[first:last] {
		report.Rows = append(report.Rows, r.row(&t.groups[n], len(buckets) > 1))
	}
	switch {
	case !drawn:
		report.NoChart = fmt.Sprintf("The range has more than %s %ss, too many to draw. A coarser bucket draws better.", format.Count(mostBuckets), r.bucket)
	case len(buckets) > 0:
		report.Chart = h.chart(r, t)
	}
	v.Report = report
	return nil
}

// pageOf returns the rows of a page, of the last one if there are fewer pages.
func pageOf(page, rows int) (first, last int) {
	page = min(page, pageCount(rows, costsPerPage))
	first = (page - 1) * costsPerPage
	return first, min(first+costsPerPage, rows)
}

// byWhat says in words what the question groups by.
func (q *costsQuestion) byWhat() string {
	var names []string
	for _, g := range q.groups {
		names = append(names, strings.ToLower(costsLabel(g)[:1])+costsLabel(g)[1:])
	}
	if len(names) == 0 {
		return ""
	}
	return " by " + strings.Join(names, " and ")
}

// headings returns the columns that one can sort by.
func (r *costsRequest) headings(currency string) []components.Sorted {
	var all []components.Sorted
	add := func(key, label, unit string, number bool) {
		s := components.Sorted{Label: label, Unit: unit, Number: number, Target: "#" + pages.CostsReportID, Descending: number}
		sortedAs(&s, r.sort == key || r.sort == "-"+key, r.sort == "-"+key)
		if s.Descending {
			key = "-" + key
		}
		s.Path = r.but(func(q *costsQuestion) { q.sort = key }).path()
		all = append(all, s)
	}
	for i, g := range r.groups {
		add([]string{"name", "name2"}[i], costsLabel(g), "", false)
	}
	add("cost", "Cost", currency, true)
	add("qty", "Quantity", "", true)
	add("points", "Points", "", true)
	return all
}

func (r *costsRequest) row(g *costsGroup, course bool) pages.CostsRow {
	row := pages.CostsRow{Cost: g.cost, Qty: g.qty, Unit: g.unit, Mixed: g.mixed, Points: g.points}
	for i, value := range g.values {
		row.Names = append(row.Names, r.cell(i, value))
	}
	if course {
		row.Course = condensed(g.course)
	}
	return row
}

// cell is a group's value, which leads to the next question about it alone.
func (r *costsRequest) cell(group int, value string) pages.CostsName {
	key := r.groups[group]
	n := pages.CostsName{Text: r.shown(key, value), Title: value, None: value == ""}
	if sayable(key, value) {
		n.Path = r.but(func(q *costsQuestion) {
			q.filters = onlyFilter(q.filters, key, value)
			q.groups = r.next(q.filters, slices.Delete(slices.Clone(q.groups), group, group+1))
			q.sort = costsDefaultSort
		}).path()
	}
	return n
}

// next returns what to group by next: what is left of the groups, else the first of scope, metric and the metric's
// attributes that no filter has settled. If all are, the groups stay as they are.
func (r *costsRequest) next(filters []costs.Filter, left []string) []string {
	settled := map[string]bool{}
	metric := ""
	for _, f := range filters {
		settled[f.Key] = len(f.Values) == 1
		if f.Key == costs.Metric && len(f.Values) == 1 {
			metric = f.Values[0]
		}
	}
	left = slices.DeleteFunc(left, func(g string) bool { return settled[g] })
	if len(left) > 0 {
		return left
	}
	for _, key := range append([]string{costs.Scope, costs.Metric}, r.attributes(metric)...) {
		if !settled[key] && (key != costs.Scope || !settled[costs.ScopeName]) {
			return []string{key}
		}
	}
	return r.groups
}

// condensed returns amounts of a course that a sparkline can draw: neighbours are added up where there are too many.
func condensed(course []money.Decimal) []money.Decimal {
	const most = 62
	each := (len(course) + most - 1) / most
	if each <= 1 {
		return course
	}
	var all []money.Decimal
	for part := range slices.Chunk(course, each) {
		var sum money.Decimal
		for i := range part {
			sum.Accumulate(&part[i])
		}
		all = append(all, sum)
	}
	return all
}

// chart draws the greatest groups and, as one, all others.
func (h *Costs) chart(r *costsRequest, t *costsTable) *components.Chart {
	c := &components.Chart{
		Title:    "Costs by " + r.bucket.String() + ", " + format.Range(r.span.Begin, r.span.End, h.settings.Zone),
		Currency: h.settings.Currency,
	}
	if len(r.groups) > 0 {
		c.Title = "Costs" + r.byWhat() + ", stacked by " + r.bucket.String() + ", " + format.Range(r.span.Begin, r.span.End, h.settings.Zone)
	}
	for i, begin := range t.buckets {
		end := r.span.End
		if i+1 < len(t.buckets) {
			end = t.buckets[i+1]
		}
		c.Buckets = append(c.Buckets, h.place(r, period.Range{Begin: begin, End: end}))
	}
	others := slices.Clone(t.courses)
	top := slices.DeleteFunc(t.top(costsSeries), func(n int32) bool { return t.groups[n].course == nil })
	var names []string
	for _, n := range top {
		g := &t.groups[n]
		s := components.Series{Name: r.name(g), Values: g.course, Path: r.narrowed(g)}
		for i := range others {
			others[i] = others[i].Sub(g.course[i])
		}
		c.Series = append(c.Series, s)
		names = append(names, cmp.Or(strings.Join(g.values, " "), s.Name))
	}
	for i, color := range components.Colors(names) {
		c.Series[i].Color = color
	}
	if left := len(t.filled()) - len(top); left > 0 {
		c.Series = append(c.Series, components.Series{
			Name: fmt.Sprintf("%s others", format.Count(int64(left))), Color: components.Others, Values: others,
		})
	}
	return c
}

// name is a group's name in one text.
func (r *costsRequest) name(g *costsGroup) string {
	if len(g.values) == 0 {
		return "Everything"
	}
	var names []string
	for i, value := range g.values {
		names = append(names, r.shown(r.groups[i], value))
	}
	return strings.Join(names, " / ")
}

// narrowed returns the address of the next question about a group alone.
func (r *costsRequest) narrowed(g *costsGroup) string {
	if len(g.values) == 0 {
		return ""
	}
	for i, key := range r.groups {
		if !sayable(key, g.values[i]) {
			return ""
		}
	}
	return r.but(func(q *costsQuestion) {
		for i, key := range r.groups {
			q.filters = onlyFilter(q.filters, key, g.values[i])
		}
		q.groups = r.next(q.filters, nil)
		q.sort = costsDefaultSort
	}).path()
}

// place is a bucket on the chart's axis; it leads to its part of the range.
func (h *Costs) place(r *costsRequest, span period.Range) components.Bucket {
	zone := h.settings.Zone
	t := span.Begin.In(zone)
	b := components.Bucket{Title: format.Range(span.Begin, span.End, zone)}
	if span != r.span {
		b.Path = r.within(span).path()
	}
	switch r.bucket {
	case period.Hour:
		b.Label = hourLabel(t, r.span.End.Sub(r.span.Begin))
		b.Title = t.Format("Mon ") + b.Title
	case period.Day:
		b.Label = t.Format("2 Jan")
		b.Title = t.Format("Mon ") + b.Title
	case period.Month:
		b.Label = t.Format("Jan 2006")
	default: // weeks
		b.Label = t.Format("2 Jan")
	}
	return b
}

// hourLabel labels the first hour of each day of a range of days, every sixth hour of a day or two, and every hour of less.
func hourLabel(t time.Time, length time.Duration) string {
	const few, days = 12 * time.Hour, 48 * time.Hour
	switch {
	case length > days && period.Day.Start(t, t.Location()).Equal(t):
		return t.Format("Mon 2 Jan")
	case length <= few, length <= days && t.Hour()%6 == 0:
		return t.Format("15:04")
	}
	return ""
}

// empty says why there is nothing, and what to do next.
func (h *Costs) empty(ctx context.Context, r *costsRequest) (*pages.CostsEmpty, error) {
	if len(r.filters) > 0 {
		return &pages.CostsEmpty{
			Title: "Nothing passes the filters", Text: "No charge of " + r.inRange(h.settings.Zone) + " has all that the filters ask for.",
			Next: []components.Link{{Label: "Remove the filters", Path: r.but(func(q *costsQuestion) { q.filters = nil }).path()}},
		}, nil
	}
	last, err := h.lastCharged(ctx, r)
	if err != nil {
		return nil, err
	}
	e := &pages.CostsEmpty{Title: "No charges", Text: "Nothing was charged in " + r.inRange(h.settings.Zone) + "."}
	switch {
	case !last.Empty():
		latest := r.but(func(q *costsQuestion) { q.preset, q.span, q.divided = "", last, false })
		e.Next = []components.Link{{Label: "Show " + format.Range(last.Begin, last.End, h.settings.Zone), Path: latest.path()}}
	case r.processed():
		e.Text = "Windows have been processed, but there was no usage in them."
	default:
		e.Title, e.Text = "Nothing has been processed yet", "Costs appear here once the usage of the first windows is collected and rated."
	}
	if last.Empty() && r.user.ReadsAll() {
		e.Next = []components.Link{{Label: "See the scopes", Path: "/scopes"}, {Label: "See the metrics", Path: "/metrics"}}
	}
	return e, nil
}

func (q *costsQuestion) inRange(zone *time.Location) string {
	return format.Range(q.span.Begin, q.span.End, zone)
}

// lastCharged returns the last billing month with charges; an empty range if there is none.
func (h *Costs) lastCharged(ctx context.Context, r *costsRequest) (last period.Range, err error) {
	query, _ := r.ask(r.user, func(q *costs.Query) {
		q.Range = period.Range{Begin: h.now().AddDate(-20, 0, 0).Truncate(time.Second), End: h.now().AddDate(1, 0, 0).Truncate(time.Second)}
		q.Range.Begin, q.Range.End = period.Month.Start(q.Range.Begin, h.settings.Zone), period.Month.Start(q.Range.End, h.settings.Zone)
		if q.Range.Begin.Before(r.retention.RollupsFrom) {
			q.Range.Begin = r.retention.RollupsFrom
		}
		q.Bucket, q.Groups = period.Month, nil
	})
	_, err = h.few.Report(ctx, query, func(row costs.Row) error {
		last = period.Range{Begin: row.Begin, End: row.End}
		return nil
	})
	return last, err
}
