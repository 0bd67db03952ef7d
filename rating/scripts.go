package rating

import (
	"context"
	"slices"
	"strings"
	"time"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/script"
)

// scriptsModule is the module in which scripts run.
const scriptsModule = "pyscripts"

// ScriptError says why a script can't be compiled, or why it failed: in which line, if it is about one.
type ScriptError = script.Error

// CheckScript reports what keeps a script from running, as a [ScriptError] with the line. That it compiles does not mean that
// it will not fail.
func CheckScript(text string) error {
	_, err := script.Compile(text)
	return err
}

// ScriptRunner runs scripts on a frame, each on what the one before left, and returns what the last one left. An error that
// is not the context's is a [ScriptError].
type ScriptRunner interface {
	Run(ctx context.Context, scripts []script.Source, f *script.Frame) (*script.Frame, error)
}

// Frame is the usage of one scope in one window. Where scripts run, it is priced as a whole.
type Frame struct {
	Scope      *metering.Scope
	Begin, End time.Time
	Points     []Point
	Metrics    []*metering.Metric // that scripts may add points of, besides those that there are points of
	Stored     bool               // the usage is what scripts left before, so they must leave it as it is
}

// Point is a data point, and, once priced, its price.
type Point struct {
	Series  *metering.Series
	Qty     money.Decimal
	Price   money.Decimal
	Outcome Outcome
}

// runnable returns copies of the scripts that compile, by name.
func runnable(all []Script) []Script {
	var some []Script
	for _, s := range all {
		if CheckScript(s.Data) == nil {
			some = append(some, s)
		}
	}
	slices.SortFunc(some, func(a, b Script) int { return strings.Compare(a.Name, b.Name) })
	return some
}

// Valid reports whether the script runs for windows that begin at t.
func (s *Script) Valid(t time.Time) bool {
	return !t.Before(s.Start) && (s.End.IsZero() || t.Before(s.End))
}

// Scripts returns the scripts that run for a window that begins at begin, in their order, which is that of their names. There
// are none if their module is disabled; one that does not compile never runs.
func (e *Engine) Scripts(begin time.Time) (active []Script) {
	for i := range e.scripts { // a handful
		if e.scripts[i].Valid(begin) {
			active = append(active, e.scripts[i])
		}
	}
	return active
}

// Price prices a frame. Without scripts each point is priced by its plan, and runner may be nil. With scripts the modules
// before them price the points, then each script runs on what the one before left, then the modules after them add to the
// prices. Prices are exact in between, and rounded once at the end. Scripts may change, drop and add points: f.Points are
// then others. If it fails, with the context's error or a [ScriptError], f is as it was.
func (e *Engine) Price(ctx context.Context, runner ScriptRunner, f *Frame) error {
	active := e.Scripts(f.Begin)
	if len(active) == 0 {
		for i := range f.Points {
			p := &f.Points[i]
			p.Price, p.Outcome = e.Plan(p.Series, p.Series.Fingerprint(), f.Begin).Price(p.Qty)
		}
		return nil
	}
	sources := make([]script.Source, len(active))
	for i, s := range active {
		sources[i] = script.Source{Name: s.Name, Text: s.Data}
	}
	if runner == nil {
		return &ScriptError{Script: active[0].Name, Message: "this process runs no scripts"}
	}
	k := newKnown(f)
	left, err := runner.Run(ctx, sources, e.frame(f))
	if err != nil {
		return err
	}
	points := make([]Point, len(left.Points))
	for i := range left.Points {
		p := &left.Points[i]
		series := k.series(p)
		if series == nil {
			return &ScriptError{Script: names(active), Message: "it leaves points of " + shown(clip(p.Metric)) + ", which is no metric of the source"}
		}
		exact, priced := p.Price, p.Priced
		if at := e.after.Plan(series, series.Fingerprint(), f.Begin).curve.at(p.Qty); at.priced {
			exact, priced = exact.Add(at.exact(p.Qty)), true
		}
		points[i] = Point{Series: series, Qty: p.Qty, Outcome: Unpriced}
		if priced {
			points[i].Price, points[i].Outcome = rounded(exact)
		}
	}
	if f.Stored && !sameUsage(f.Points, points) {
		return &ScriptError{Script: names(active), Message: "it changes more than prices, so it can't price again what it left before; reprocess the window instead of re-rating it"}
	}
	f.Points = points
	return nil
}

func names(scripts []Script) string {
	all := make([]string, len(scripts))
	for i, s := range scripts {
		all[i] = s.Name
	}
	return strings.Join(all, ", ")
}

// computed are the attributes that scripts find on every point, in order.
var computed = [...]string{"day_of_the_year", "month", "week_of_the_year", "year"}

// frame returns the frame as scripts are to see it, priced by the modules before them.
func (e *Engine) frame(f *Frame) *script.Frame {
	s := &script.Frame{
		Begin: f.Begin, End: f.End, Zone: e.zone.String(), ScopeKey: f.Scope.Source.ScopeKey, Scope: f.Scope.ID,
		Points: make([]script.Point, len(f.Points)),
	}
	for _, name := range computed {
		value, _ := metering.Computed(name, f.Begin, e.zone)
		s.Computed = append(s.Computed, script.Attribute{Name: name, Value: value})
	}
	for i := range f.Points {
		p := &f.Points[i]
		at := e.before.Plan(p.Series, p.Series.Fingerprint(), f.Begin).curve.at(p.Qty)
		s.Points[i] = script.Point{
			Metric: p.Series.Metric.Name, Unit: p.Series.Metric.Unit, Qty: p.Qty, Priced: at.priced,
			Groupby: outgoing(p.Series.Groupby), Metadata: outgoing(p.Series.Metadata),
		}
		if at.priced {
			s.Points[i].Price = at.exact(p.Qty)
		}
	}
	return s
}

func outgoing(as metering.Attributes) []script.Attribute {
	all := make([]script.Attribute, len(as))
	for i, a := range as {
		all[i] = script.Attribute(a)
	}
	return all
}

func incoming(all []script.Attribute) metering.Attributes {
	var as metering.Attributes
	for _, a := range all {
		as = append(as, metering.Attribute(a))
	}
	return as
}

// known finds the series of points that scripts left.
type known struct {
	frame    *Frame
	all      map[seriesKey][]*metering.Series // in the order of their points
	metrics  map[metricKey]*metering.Metric
	literals map[literal]bool
}

// seriesKey identifies a series, also one of a metric that has no number from the database.
type seriesKey struct {
	metric string
	print  metering.Fingerprint
}

type metricKey struct{ name, unit string }

// literal is an attribute of a metric's points whose value is JSON that is no text.
type literal struct {
	metric string
	metering.Attribute
}

func keyOf(s *metering.Series) seriesKey { return seriesKey{s.Metric.Name, s.Fingerprint()} }

// seenKey returns the key of a series as scripts see it: to them all values are texts.
func seenKey(s *metering.Series) seriesKey {
	seen := *s
	seen.Literals = nil
	return keyOf(&seen)
}

func newKnown(f *Frame) *known {
	k := &known{f, make(map[seriesKey][]*metering.Series, len(f.Points)), map[metricKey]*metering.Metric{}, map[literal]bool{}}
	for i := range f.Points {
		s := f.Points[i].Series
		key := seenKey(s)
		k.all[key] = append(k.all[key], s)
		k.metrics[metricKey{s.Metric.Name, s.Metric.Unit}] = s.Metric
		for _, name := range s.Literals {
			for _, as := range [...]metering.Attributes{s.Groupby, s.Metadata} {
				if value, ok := as.Get(name); ok {
					k.literals[literal{s.Metric.Name, metering.Attribute{Name: name, Value: value}}] = true
				}
			}
		}
	}
	return k
}

// series returns the series that a point is of, nil if it is of no metric that it may be of.
func (k *known) series(p *script.Point) *metering.Series {
	m := k.metric(metricKey{p.Metric, p.Unit})
	if m == nil {
		return nil
	}
	s := &metering.Series{Scope: k.frame.Scope, Metric: m, Groupby: incoming(p.Groupby), Metadata: incoming(p.Metadata)}
	key := keyOf(s)
	if same := k.all[key]; len(same) > 0 {
		if len(same) > 1 { // they may differ in what is a text, so each is for one point
			k.all[key] = same[1:]
		}
		return same[0]
	}
	s.Literals = k.literalsOf(s)
	k.all[key] = []*metering.Series{s}
	return s
}

// literalsOf returns the names of the attributes of a series that scripts changed whose values are no texts in some point that
// they were given, in order. One that is now in groupby and in metadata is a text.
func (k *known) literalsOf(s *metering.Series) (names []string) {
	if len(k.literals) == 0 {
		return nil
	}
	for _, both := range [...][2]metering.Attributes{{s.Groupby, s.Metadata}, {s.Metadata, s.Groupby}} {
		for _, a := range both[0] {
			if k.literals[literal{s.Metric.Name, a}] && !has(both[1], a.Name) {
				names = append(names, a.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func has(as metering.Attributes, name string) bool {
	_, ok := as.Get(name)
	return ok
}

// metric returns the metric of a name, with the unit, or nil.
func (k *known) metric(key metricKey) *metering.Metric {
	if m := k.metrics[key]; m != nil {
		return m
	}
	var found *metering.Metric
	for _, m := range k.frame.Metrics {
		if m.Name == key.name && (found == nil || m.Unit == key.unit) {
			found = m
		}
	}
	for i := range k.frame.Points {
		if m := k.frame.Points[i].Series.Metric; found == nil && m.Name == key.name {
			found = m
		}
	}
	if found == nil {
		return nil
	}
	if found.Unit != key.unit {
		other := *found
		other.Unit = key.unit
		found = &other
	}
	k.metrics[key] = found
	return found
}

// sameUsage reports whether points differ in nothing but their prices and their order.
func sameUsage(before, after []Point) bool {
	type usage struct {
		series seriesKey
		qty    string
	}
	count := make(map[usage]int, len(before))
	for i := range before {
		count[usage{keyOf(before[i].Series), before[i].Qty.String()}]++
	}
	for i := range after {
		u := usage{keyOf(after[i].Series), after[i].Qty.String()}
		if count[u]--; count[u] < 0 {
			return false
		}
	}
	return len(before) == len(after)
}
