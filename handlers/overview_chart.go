package handlers

import (
	"net/url"
	"time"

	"ratebook/costs"
	"ratebook/money"
	"ratebook/period"
	"ratebook/views/components"
	"ratebook/views/pages"
)

// byDay makes a chart, and its table, of the days of a month from an answer that has a bucket for each day and one group,
// the metric. The dearest metrics have colours of their own, the rest share one.
func (c *calendar) byDay(a *sumsAnswer, m period.Range, title string) (components.Chart, pages.Days) {
	chart := components.Chart{Title: title, Currency: c.Currency}
	table := pages.Days{Caption: title, Currency: c.Currency}
	days, begun := c.days(m), c.begun(m, a)
	at := map[int64]int{} // the day that begins then
	for i, d := range days {
		at[d.Begin.Unix()] = i
		day := d.Begin.In(c.Zone)
		path := ""
		if i < begun {
			path = c.dayPath(d)
			table.Rows = append(table.Rows, pages.Day{Label: day.Format("Mon 2 Jan"), Path: path})
		}
		chart.Buckets = append(chart.Buckets, components.Bucket{Label: day.Format("2"), Title: day.Format("Mon 2 Jan 2006"), Path: path})
	}
	names := dearest(a.by(0))
	colors := components.Colors(names)
	series := map[string]int{}
	for i, name := range names {
		n := min(i, chartedSeries)
		if series[name] = n; i > chartedSeries {
			continue
		}
		s := components.Series{Name: name, Color: colors[i], Path: c.costsPath(m, "metric="+name, costs.Scope)}
		if n == chartedSeries {
			s.Name, s.Color, s.Path = "others", components.Others, ""
		}
		s.Values = make([]money.Decimal, len(days))
		chart.Series = append(chart.Series, s)
	}
	for i := range a.rows {
		r := &a.rows[i]
		if day, ok := at[r.Begin.Unix()]; ok {
			v := &chart.Series[series[r.Groups[0]]].Values[day]
			*v = v.Add(r.Cost)
		}
	}
	for _, s := range chart.Series {
		table.Names = append(table.Names, s.Name)
	}
	for i := range table.Rows {
		for _, s := range chart.Series {
			table.Rows[i].Values = append(table.Rows[i].Values, s.Values[i])
			table.Rows[i].Total = table.Rows[i].Total.Add(s.Values[i])
		}
	}
	return chart, table
}

// begun returns how many days of a month have begun, or have usage. Of the others there is none, which is not 0.
func (c *calendar) begun(m period.Range, a *sumsAnswer) int {
	latest := c.now()
	for i := range a.rows {
		if a.rows[i].Begin.After(latest) {
			latest = a.rows[i].Begin
		}
	}
	n := 0
	for _, d := range c.days(m) {
		if !d.Begin.After(latest) {
			n++
		}
	}
	return n
}

// dayPath returns the address of a day's cost report, by hour and metric.
func (c *calendar) dayPath(d period.Range) string {
	day := period.Date(d.Begin, c.Zone).Format(time.DateOnly)
	return "/costs?" + url.Values{"from": {day}, "to": {day}, "group": {costs.Metric}, "bucket": {period.Hour.String()}}.Encode()
}
