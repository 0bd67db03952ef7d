package handlers

import (
	"time"

	"ratebook/period"
	"ratebook/views/components"
	"ratebook/views/format"
)

// The zooms of the map, from far to close. An hour is for periods of which a day would have too many windows.
const (
	zoomYear    = "year"
	zoomQuarter = "quarter"
	zoomMonth   = "month"
	zoomDay     = "day"
	zoomHour    = "hour"
)

var coverageZooms = []struct{ name, label string }{
	{zoomYear, "Year"}, {zoomQuarter, "Quarter"}, {zoomMonth, "Month"}, {zoomDay, "Day"}, {zoomHour, "Hour"},
}

// closerZooms say where a cell of several windows leads.
var closerZooms = map[string]string{zoomYear: zoomQuarter, zoomQuarter: zoomDay, zoomMonth: zoomDay, zoomDay: zoomHour}

// shortestInDay is the shortest period of which a day shows single windows; of shorter ones it shows hours.
const shortestInDay = 30 * time.Minute

// stretch returns what a zoom shows around a time, in the billing zone.
func (c *calendar) stretch(zoom string, t time.Time) period.Range {
	day := period.Date(t, c.Zone)
	months := func(first time.Time, n int) period.Range {
		return period.Range{Begin: period.StartOf(first, c.Zone), End: period.StartOf(first.AddDate(0, n, 0), c.Zone)}
	}
	switch zoom {
	case zoomYear:
		return months(day.AddDate(0, 0, 1-day.YearDay()), 12)
	case zoomQuarter:
		first := firstOfMonth(day)
		return months(first.AddDate(0, -(int(first.Month())-1)%3, 0), 3)
	case zoomDay:
		return period.Range{Begin: period.Day.Start(t, c.Zone), End: period.Day.Next(t, c.Zone)}
	case zoomHour:
		return period.Range{Begin: period.Hour.Start(t, c.Zone), End: period.Hour.Next(t, c.Zone)}
	default:
		return c.monthOf(t)
	}
}

// cells cuts what a zoom shows into columns: weeks, days, windows or hours, minutes. Windows belong to the cell that they
// begin in, so the cells of windows meet at their begins.
func (c *calendar) cells(zoom string, r period.Range) (cells []period.Range) {
	next := func(t time.Time) time.Time { return period.Day.Next(t, c.Zone) }
	switch {
	case zoom == zoomYear:
		next = func(t time.Time) time.Time { return period.Week.Next(t, c.Zone) }
	case zoom == zoomHour:
		next = func(t time.Time) time.Time { return t.Add(time.Minute) } // the shortest period
	case zoom == zoomDay && c.Period < shortestInDay:
		next = func(t time.Time) time.Time { return period.Hour.Next(t, c.Zone) }
	case zoom == zoomDay:
		first := period.Floor(r.Begin.Add(c.Period-1), c.Period) // where days don't begin with a window, the first begins later
		next = func(t time.Time) time.Time {
			if t.Before(first) {
				return first.Add(c.Period)
			}
			return t.Add(c.Period)
		}
	}
	for t := r.Begin; t.Before(r.End); {
		end := earlier(next(t), r.End)
		cells = append(cells, period.Range{Begin: t, End: end})
		t = end
	}
	return cells
}

// columns returns the headings of cells.
func (h *Coverage) columns(a *coverageAsked, cells []period.Range) (spans []components.MapSpan, columns []components.MapColumn) {
	span, label := "2 Jan 2006", "15"
	switch {
	case a.zoom == zoomYear || a.zoom == zoomQuarter || a.zoom == zoomMonth:
		span, label = "Jan 2006", "2"
	case a.zoom == zoomHour:
		span, label = "2 Jan 2006, 15:00", "04"
	case h.cal.Period%time.Hour != 0 && h.cal.Period >= shortestInDay:
		label = "15:04"
	}
	now := h.cal.now()
	for _, cell := range cells {
		begin := cell.Begin.In(h.cal.Zone)
		if text := begin.Format(span); len(spans) == 0 || spans[len(spans)-1].Label != text {
			spans = append(spans, components.MapSpan{Label: text})
		}
		spans[len(spans)-1].Columns++
		c := components.MapColumn{Label: begin.Format(label), Title: format.Range(cell.Begin, cell.End, h.cal.Zone), Now: cell.Contains(now)}
		if closer := closerZooms[a.zoom]; closer != "" && (closer != zoomHour || h.cal.Period < shortestInDay) {
			c.Path = a.closer(closer, cell.Begin, nil).path()
		}
		columns = append(columns, c)
	}
	return spans, columns
}
