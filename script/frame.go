package script

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.starlark.net/starlark"

	"ratebook/money"
)

// Frame is the usage of one scope in one window, as scripts see it and leave it.
type Frame struct {
	Begin, End time.Time   // whole seconds
	Zone       string      // the billing zone's name
	ScopeKey   string      // the attribute that names the scope; empty: none does
	Scope      string      // its id
	Computed   []Attribute // that every point has without carrying them; sorted by name
	Points     []Point
}

// Point is a data point.
type Point struct {
	Metric, Unit string
	Qty          money.Decimal
	Price        money.Decimal // exact, of any number of decimals
	Priced       bool          // whether anything has made the price; a price of 0 that nobody made is none
	Groupby      []Attribute   // sorted by name, without the scope key and what is computed
	Metadata     []Attribute
}

// Attribute is a name and a value that a point carries.
type Attribute struct{ Name, Value string }

const (
	qtyPlaces     = money.QtyPlaces
	mostWhole     = 40  // digits of a quantity or price before the point
	mostPlaces    = 500 // and after it
	mostPoints    = 200_000
	undefinedUnit = "undefined"
)

// converter makes data of a frame, and a frame of what a script made of data.
type converter struct {
	frame *Frame
	own   map[*starlark.Dict][]string // the attributes that points carry although they are computed, too
	zone  *time.Location
}

var (
	periodKey, beginKey, endKey, usageKey = starlark.String("period"), starlark.String("begin"), starlark.String("end"), starlark.String("usage")
	volKey, unitKey, qtyKey               = starlark.String("vol"), starlark.String("unit"), starlark.String("qty")
	ratingKey, priceKey                   = starlark.String("rating"), starlark.String("price")
	groupbyKey, metadataKey               = starlark.String("groupby"), starlark.String("metadata")
	frameKeys, periodKeys                 = []string{"period", "usage"}, []string{"begin", "end"}
	pointKeys, volKeys, ratingKeys        = []string{"vol", "rating", "groupby", "metadata"}, []string{"unit", "qty"}, []string{"price"}
)

func set(d *starlark.Dict, key starlark.String, v starlark.Value) {
	if err := d.SetKey(key, v); err != nil {
		panic("script: " + err.Error()) // only frozen dicts and keys without a hash fail
	}
}

// data returns the frame in the shape of CloudKitty's.
func (c *converter) data() *starlark.Dict {
	c.zone = time.UTC
	if zone, err := time.LoadLocation(c.frame.Zone); err == nil {
		c.zone = zone
	}
	byMetric := map[string][]starlark.Value{}
	for i := range c.frame.Points {
		p := &c.frame.Points[i]
		byMetric[p.Metric] = append(byMetric[p.Metric], c.point(p))
	}
	usage := starlark.NewDict(len(byMetric))
	for _, metric := range slices.Sorted(maps.Keys(byMetric)) {
		set(usage, starlark.String(metric), starlark.NewList(byMetric[metric]))
	}
	period := starlark.NewDict(2)
	set(period, beginKey, datetime{c.frame.Begin.UTC(), c.zone})
	set(period, endKey, datetime{c.frame.End.UTC(), c.zone})
	data := starlark.NewDict(2)
	set(data, periodKey, period)
	set(data, usageKey, usage)
	return data
}

func (c *converter) point(p *Point) *starlark.Dict {
	vol, rating, point := starlark.NewDict(2), starlark.NewDict(1), starlark.NewDict(4)
	set(vol, unitKey, starlark.String(p.Unit))
	set(vol, qtyKey, Decimal{Decimal: p.Qty})
	set(rating, priceKey, Decimal{Decimal: p.Price, unpriced: !p.Priced})
	groupby, metadata := attributes(p.Groupby, len(c.frame.Computed)+1), attributes(p.Metadata, 0)
	for _, a := range c.frame.Computed {
		name := starlark.String(a.Name)
		if _, has, _ := groupby.Get(name); has {
			if c.own == nil {
				c.own = map[*starlark.Dict][]string{}
			}
			c.own[groupby] = append(c.own[groupby], a.Name)
			continue
		}
		set(groupby, name, starlark.String(a.Value))
	}
	if c.frame.ScopeKey != "" {
		set(groupby, starlark.String(c.frame.ScopeKey), starlark.String(c.frame.Scope))
	}
	set(point, volKey, vol)
	set(point, ratingKey, rating)
	set(point, groupbyKey, groupby)
	set(point, metadataKey, metadata)
	return point
}

func attributes(all []Attribute, more int) *starlark.Dict {
	d := starlark.NewDict(len(all) + more)
	for _, a := range all {
		set(d, starlark.String(a.Name), starlark.String(a.Value))
	}
	return d
}

// problem is an error about a place in data.
func problem(path, format string, args ...any) error {
	return errors.New(path + " " + fmt.Sprintf(format, args...))
}

// read returns the frame that data is, or says why it is none.
func (c *converter) read(data starlark.Value) (*Frame, error) {
	top, err := dict("data", data, frameKeys)
	if err != nil {
		return nil, err
	}
	when, err := dict(`data["period"]`, get(top, periodKey), periodKeys)
	if err != nil {
		return nil, err
	}
	for key, want := range map[starlark.String]time.Time{beginKey: c.frame.Begin, endKey: c.frame.End} {
		path := fmt.Sprintf(`data["period"][%q]`, string(key))
		v := get(when, key)
		if v == nil {
			return nil, problem(path, "is missing")
		}
		if t, ok := v.(datetime); !ok || !t.Equal(want) {
			return nil, problem(path, "is another than it was: scripts can't change when usage was")
		}
	}
	usage, ok := get(top, usageKey).(*starlark.Dict)
	if !ok {
		return nil, problem(`data["usage"]`, "is %s; it must be a dict of lists of data points by metric", described(get(top, usageKey)))
	}
	f := *c.frame
	f.Points = make([]Point, 0, len(c.frame.Points))
	most := max(mostPoints, 2*len(c.frame.Points))
	for key, v := range usage.Entries() {
		metric, ok := starlark.AsString(key)
		if !ok {
			return nil, problem(`data["usage"]`, "has the key %s; keys are names of metrics", shown(key))
		}
		path := `data["usage"][` + quoted(metric) + `]`
		if err := text(path, "the name of a metric", metric); err != nil {
			return nil, err
		}
		list, ok := v.(starlark.Sequence)
		if _, isDict := v.(*starlark.Dict); !ok || isDict {
			return nil, problem(path, "is %s; it must be a list of data points", described(v))
		}
		if len(f.Points)+list.Len() > most {
			return nil, problem(path, "has too many data points: a frame has at most %d", most)
		}
		i := 0
		for v := range starlark.Elements(list) {
			p, err := c.readPoint(v)
			if err != nil {
				return nil, fmt.Errorf("%s[%d]%w", path, i, err)
			}
			p.Metric = metric
			f.Points = append(f.Points, p)
			i++
		}
	}
	return &f, nil
}

// readPoint reads a data point. Errors begin with the place in it.
func (c *converter) readPoint(v starlark.Value) (p Point, err error) {
	point, err := dict("", v, pointKeys)
	if err != nil {
		return p, err
	}
	vol, err := dict(`["vol"]`, get(point, volKey), volKeys)
	if err != nil {
		return p, err
	}
	p.Unit = undefinedUnit
	if unit := get(vol, unitKey); unit != nil && unit.Truth() {
		s, ok := starlark.AsString(unit)
		if !ok {
			return p, problem(`["vol"]["unit"]`, "is %s; it must be a text", described(unit))
		}
		if err := text(`["vol"]["unit"]`, "a unit", s); err != nil {
			return p, err
		}
		p.Unit = s
	}
	qty := get(vol, qtyKey)
	if qty == nil {
		return p, problem(`["vol"]["qty"]`, "is missing")
	}
	if p.Qty, err = amount(`["vol"]["qty"]`, qty); err != nil {
		return p, err
	}
	p.Qty = p.Qty.Round(qtyPlaces)
	if rating := get(point, ratingKey); rating != nil {
		rating, err := dict(`["rating"]`, rating, ratingKeys)
		if err != nil {
			return p, err
		}
		if price := get(rating, priceKey); price != nil {
			if p.Price, err = amount(`["rating"]["price"]`, price); err != nil {
				return p, err
			}
			d, _ := price.(Decimal)
			p.Priced = !d.unpriced
		}
	}
	if p.Groupby, err = c.groupby(get(point, groupbyKey)); err != nil {
		return p, err
	}
	p.Metadata, err = readAttributes(`["metadata"]`, get(point, metadataKey))
	return p, err
}

// groupby reads attributes without those that a point has anyway.
func (c *converter) groupby(v starlark.Value) ([]Attribute, error) {
	const path = `["groupby"]`
	all, err := readAttributes(path, v)
	if err != nil {
		return nil, err
	}
	own := c.own[v.(*starlark.Dict)]
	for _, a := range all {
		if a.Name == c.frame.ScopeKey && a.Value != c.frame.Scope {
			return nil, problem(fmt.Sprintf(`["groupby"][%s]`, quoted(a.Name)), "is another than it was: scripts can't charge another scope")
		}
	}
	return slices.DeleteFunc(all, func(a Attribute) bool {
		if a.Name == c.frame.ScopeKey {
			return true
		}
		if slices.Contains(own, a.Name) {
			return false
		}
		i, found := slices.BinarySearchFunc(c.frame.Computed, a.Name, func(a Attribute, name string) int { return strings.Compare(a.Name, name) })
		return found && c.frame.Computed[i].Value == a.Value
	}), nil
}

func readAttributes(path string, v starlark.Value) ([]Attribute, error) {
	d, ok := v.(*starlark.Dict)
	if !ok {
		return nil, problem(path, "is %s; it must be a dict of texts", described(v))
	}
	if d.Len() == 0 {
		return nil, nil
	}
	all := make([]Attribute, 0, d.Len())
	for k, v := range d.Entries() {
		name, ok := starlark.AsString(k)
		if !ok || name == "" {
			return nil, problem(path, "has the key %s; keys are names of attributes", shown(k))
		}
		at := path + "[" + quoted(name) + "]"
		value, ok := starlark.AsString(v)
		if !ok {
			return nil, problem(at, "is %s; attributes are texts, write str(...)", described(v))
		}
		if err := cmp.Or(text(at, "the name of an attribute", name), text(at, "an attribute", value)); err != nil {
			return nil, err
		}
		all = append(all, Attribute{name, value})
	}
	slices.SortFunc(all, func(a, b Attribute) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// text refuses what no database keeps.
func text(path, what, s string) error {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return problem(path, "is no text that %s can be: it has bytes that are no UTF-8, or NUL", what)
	}
	return nil
}

// amount reads a quantity or price.
func amount(path string, v starlark.Value) (money.Decimal, error) {
	d, ok := Number(v)
	if s, isText := starlark.AsString(v); isText {
		var err error
		d, err = money.Parse(strings.TrimSpace(s))
		ok = err == nil
	}
	if !ok {
		return d, problem(path, "is %s; it must be a number", described(v))
	}
	if whole, places := d.Digits(); whole > mostWhole || places > mostPlaces {
		return d, problem(path, "has more than %d digits before or %d after the point", mostWhole, mostPlaces)
	}
	return d, nil
}

// dict returns a dict that has no other keys than those; the path says where it is.
func dict(path string, v starlark.Value, keys []string) (*starlark.Dict, error) {
	d, ok := v.(*starlark.Dict)
	if !ok {
		return nil, problem(path, "is %s; it must be a dict with %s", described(v), strings.Join(keys, ", "))
	}
	for k := range d.Entries() {
		if name, ok := starlark.AsString(k); !ok || !slices.Contains(keys, name) {
			return nil, problem(path, "has the key %s; it may only have %s", shown(k), strings.Join(keys, ", "))
		}
	}
	return d, nil
}

// get returns the value of a key, nil if there is none.
func get(d *starlark.Dict, key starlark.String) starlark.Value {
	v, found, _ := d.Get(key) // texts have hashes
	if !found {
		return nil
	}
	return v
}

func described(v starlark.Value) string {
	switch v := v.(type) {
	case nil:
		return "missing"
	case starlark.NoneType:
		return "None"
	case starlark.String:
		return "the text " + quoted(string(v))
	}
	return "of type " + v.Type()
}

func shown(v starlark.Value) string {
	if s, ok := starlark.AsString(v); ok {
		return quoted(s)
	}
	return "of type " + v.Type()
}

// quoted returns a text for a message.
func quoted(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
