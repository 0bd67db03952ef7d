package handlers

import (
	"net/url"
	"slices"
	"time"

	"ratebook/access"
	"ratebook/costs"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/views/components"
	"ratebook/views/format"
	"ratebook/views/pages"
)

// calendar is what the pages about the current month cut time by, and hold the ledger against.
type calendar struct {
	*metering.Settings
	wait int // periods from a window's begin until it is due
	now  func() time.Time
}

// horizon returns the end of the last window that is due.
func (c *calendar) horizon() time.Time {
	return metering.Horizon(c.now(), c.Period, c.wait, time.Time{})
}

// month returns the billing month of the last window that is due. So the first hours of a month, of which nothing can be
// known yet, still show the month before.
func (c *calendar) month() period.Range { return c.monthOf(c.horizon().Add(-time.Second)) }

func (c *calendar) monthOf(t time.Time) period.Range {
	return period.Range{Begin: period.Month.Start(t, c.Zone), End: period.Month.Next(t, c.Zone)}
}

func (c *calendar) monthBefore(m period.Range) period.Range {
	return c.monthOf(m.Begin.Add(-time.Second))
}

// samePoint returns as much of the month before m as m has until then, by the calendar and the clock on the wall: for
// 1–21 Nov, 14:00 it is 1–21 Oct, 14:00, whether or not clocks were changed between. It ends with its month at the latest.
func (c *calendar) samePoint(m period.Range, until time.Time) period.Range {
	before := c.monthBefore(m)
	day := period.Date(until, c.Zone)
	days := int(day.Sub(period.Date(m.Begin, c.Zone)) / (24 * time.Hour)) // civil days are midnights in UTC
	start := period.StartOf(period.Date(before.Begin, c.Zone).AddDate(0, 0, days), c.Zone)
	end := start
	if !until.Equal(period.StartOf(day, c.Zone)) {
		clock, on := until.In(c.Zone), start.In(c.Zone)
		end = time.Date(on.Year(), on.Month(), on.Day(), clock.Hour(), clock.Minute(), clock.Second(), 0, c.Zone).UTC()
		if next := period.Day.Next(start, c.Zone); end.After(next) {
			end = next
		}
	}
	if end.After(before.End) {
		end = before.End
	}
	return period.Range{Begin: before.Begin, End: end}
}

// days returns the billing days of a range.
func (c *calendar) days(r period.Range) (days []period.Range) {
	for t := r.Begin; t.Before(r.End); {
		next := period.Day.Next(t, c.Zone)
		days = append(days, period.Range{Begin: t, End: next})
		t = next
	}
	return days
}

// asked returns the query of /costs that asks for a range of whole billing days, by name if it has one now.
func (c *calendar) asked(r period.Range) url.Values {
	this := c.monthOf(c.now())
	switch {
	case r.Begin.Equal(this.Begin) && r.End.Equal(this.End):
		return url.Values{"range": {"this-month"}}
	case r.End.Equal(this.Begin) && r.Begin.Equal(c.monthBefore(this).Begin):
		return url.Values{"range": {"last-month"}}
	}
	last := period.Date(r.End.Add(-time.Second), c.Zone)
	return url.Values{"from": {period.Date(r.Begin, c.Zone).Format(time.DateOnly)}, "to": {last.Format(time.DateOnly)}}
}

// costsPath returns the address of the cost report of a range of whole billing days with its groups and at most one
// filter, given as key=value.
func (c *calendar) costsPath(r period.Range, filter string, groups ...string) string {
	q := c.asked(r)
	q["group"] = groups
	if filter != "" {
		q.Set("filter", filter)
	}
	return "/costs?" + q.Encode()
}

// Standings are the keys that lists of scopes are filtered by.
const (
	upToDate = "up-to-date"
	lagging  = "lagging" // for whatever reason
	failing  = "failed"  // some windows are
	inactive = "inactive"
)

// mostGrace is the longest that windows may take to be planned and processed once they are due.
const mostGrace = time.Hour

// expected returns up to when scopes should be processed by now. The horizon moves at once, processing follows; so what has been
// due for less than a period, or an hour, is no reason to call a scope behind.
func (c *calendar) expected() time.Time {
	return metering.Horizon(c.now().Add(-min(c.Period, mostGrace)), c.Period, c.wait, time.Time{})
}

// lag returns how far a scope's processing is behind what is due, the latest window included, so that all scopes lag for a moment;
// 0 if it is not, or if the scope is not active. Whether it is called lagging, stands says.
func (c *calendar) lag(s *metering.ScopeState) time.Duration {
	if !s.Scope.Active || s.ProcessedTo.IsZero() {
		return 0
	}
	return max(0, c.horizon().Sub(s.ProcessedTo))
}

// stands reports whether one of the standings holds for a scope.
func (c *calendar) stands(s *metering.ScopeState, standing string) bool {
	switch standing {
	case inactive:
		return !s.Scope.Active
	case failing:
		return s.Scope.Active && s.Failed > 0
	case lagging:
		return s.Scope.Active && s.ProcessedTo.Before(c.expected())
	case upToDate:
		return s.Scope.Active && !c.stands(s, failing) && !c.stands(s, lagging)
	}
	return false
}

// processing returns how a scope's processing stands, for people.
func (c *calendar) processing(s *metering.ScopeState) pages.Processing {
	p := pages.Processing{To: s.ProcessedTo, Zone: c.Zone, State: components.OK, Text: "up to date"}
	switch {
	case c.stands(s, inactive):
		p.State, p.Text = components.Neutral, "inactive"
	case c.stands(s, failing):
		p.State, p.Text = components.Failed, pages.Many(s.Failed, "window failed", "windows failed")
		p.Error, p.Next = s.Error, s.NextAttempt
	case s.ProcessedTo.IsZero():
		p.State, p.Text = components.Neutral, "not processed yet"
	case c.stands(s, lagging):
		p.State, p.Text = components.Warning, "lags "+format.Duration(c.lag(s))
	}
	if lag := c.lag(s); lag > 0 && !c.stands(s, upToDate) {
		p.Lag = format.Duration(lag)
	}
	return p
}

// reached returns up to when more than half of the active scopes are processed, cut to the month.
func reached(states []metering.ScopeState, m period.Range) time.Time {
	var ends []time.Time
	for i := range states {
		if states[i].Scope.Active {
			ends = append(ends, states[i].ProcessedTo)
		}
	}
	if len(ends) == 0 {
		return m.Begin
	}
	slices.SortFunc(ends, func(a, b time.Time) int { return b.Compare(a) })
	end := ends[len(ends)/2]
	switch {
	case end.Before(m.Begin):
		return m.Begin
	case end.After(m.End):
		return m.End
	}
	return end
}

// ownStates keeps the scopes that the user may see.
func ownStates(u *access.User, states []metering.ScopeState) []metering.ScopeState {
	if u.ReadsAll() {
		return states
	}
	return slices.DeleteFunc(slices.Clone(states), func(s metering.ScopeState) bool { return !slices.Contains(u.Scopes, s.Scope.ID) })
}

// seen keeps the scopes that the user may see. Why windows fail is not for all: an error's text can name other scopes, and
// addresses inside. Who may not read all learns only when it is tried again, which is said in the text and nowhere else.
func (c *calendar) seen(u *access.User, states []metering.ScopeState) []metering.ScopeState {
	states = ownStates(u, states)
	if u.ReadsAll() {
		return states
	}
	for i := range states { // which are copies
		if s := &states[i]; s.Error != "" {
			s.Error, s.NextAttempt = c.unprocessed(s.NextAttempt), time.Time{}
		}
	}
	return states
}

// unprocessed says that a window failed, without why.
func (c *calendar) unprocessed(next time.Time) string {
	if next.IsZero() {
		return "This window could not be processed."
	}
	return "This window could not be processed; it is tried again at " + format.Time(next, c.Zone) + "."
}

// ownCosts returns the filter that keeps a report to what the user may see; ok is false if that is nothing at all.
func ownCosts(u *access.User) (filter []costs.Filter, ok bool) {
	switch {
	case u.ReadsAll():
		return nil, true
	case len(u.Scopes) == 0:
		return nil, false
	}
	return []costs.Filter{{Key: costs.Scope, Values: u.Scopes}}, true
}
