package v2

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/web"
)

// Pricer sets the prices of points that are pushed to be rated, by the latest rules, and returns their version.
type Pricer interface {
	Price(ctx context.Context, frames []metering.PushedFrame) (rules int64, err error)
}

// longestKey is the most bytes of an Idempotency-Key.
const longestKey = 255

// push stores data frames as they are, or, with rate=true, priced. All of a request is stored, or nothing.
func (h *handler) push(c echo.Context) error {
	rate := new(bool)
	if err := queryOf(c).check(boolean("rate", &rate)); err != nil {
		return err
	}
	key := strings.TrimSpace(c.Request().Header.Get("Idempotency-Key"))
	if len(key) > longestKey || !utf8.ValidString(key) {
		return fault.New(fault.Invalid, "the header Idempotency-Key has more than %d bytes, or is no text", longestKey)
	}
	body, err := jsonOf(c)
	if err != nil {
		return err
	}
	frames, err := readFrames(body, h.Settings.ScopeKey)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	digest := sha256.New()
	digest.Write(strconv.AppendBool([]byte("rate="), *rate))
	digest.Write(body)
	p := &metering.Push{Author: web.Caller(c).ID, Idempotency: key, Digest: [32]byte(digest.Sum(nil)), Frames: frames}
	if *rate {
		if h.Pricer == nil {
			return fault.New(fault.Invalid, "points can't be rated here; send their prices, without rate=true")
		}
		_, before, err := h.Frames.PushedBefore(ctx, p) // a repeat is answered alike, whatever rules and scripts are by now
		if err != nil {
			return err
		}
		if before {
			return pushed(c)
		}
		if p.Rules, err = h.Pricer.Price(ctx, frames); err != nil {
			return err
		}
	}
	if _, err := h.Frames.Push(ctx, p); err != nil {
		return err
	}
	return pushed(c)
}

func pushed(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	return c.NoContent(http.StatusNoContent)
}

// What a pushed point may have, so that it can be stored and shown.
const (
	mostDigits    = 28   // before the decimal point of an amount: as CloudKitty computes with
	longestNumber = 1000 // characters

	mostAttributes = 1000 // of a point
)

// frameReader reads data frames. What it has read before it spares to keep twice.
type frameReader struct {
	args     *arguments
	scanner  scanner
	scopeKey string
	path     []step // to what is being read

	texts      map[string]string
	attributes []metering.Attribute // room for those to come
	points     int                  // of the metric before: the next one often has as many
	given      int                  // attributes of this point, those that come twice too
	limit      money.Decimal
}

const mostTexts = 100_000

// step is one of a path: a member of an object or of a list. (As an any, each would be allocated.)
type step struct {
	member bool
	name   string
	index  int
}

// readFrames reads the body of a push. The error names what is wrong, and where.
func readFrames(body []byte, scopeKey string) (frames []metering.PushedFrame, err error) {
	r := &frameReader{
		args: &arguments{shown: showJSON(body)}, scanner: scanner{b: body}, scopeKey: scopeKey, texts: map[string]string{},
		limit: money.MustParse("1e28"),
	}
	given := false
	err = r.object("expected a dictionary", func(name string) error {
		if name != "dataframes" {
			return r.unknown()
		}
		given = true
		if r.scanner.next() != '[' {
			return r.wrong("expected a list")
		}
		frames, err = r.frames()
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case !given:
		return nil, r.missing("dataframes")
	case len(frames) == 0:
		return nil, exact(fault.Invalid, "Parameter dataframes must not be empty.")
	}
	return frames, nil
}

// readAtOnce is how many bytes of frames are worth a goroutine to read them.
const readAtOnce = 1 << 20

// frames reads the frames of a list, those of a long one side by side.
func (r *frameReader) frames() ([]metering.PushedFrame, error) {
	var raw [][]byte
	from := r.scanner.i
	_ = r.scanner.array(func(int) error {
		raw = append(raw, r.scanner.skip())
		return nil
	})
	parts := min(runtime.GOMAXPROCS(0), 1+(r.scanner.i-from)/readAtOnce)
	frames := make([]metering.PushedFrame, len(raw))
	read := func(first, last int) error {
		one := &frameReader{args: r.args, scopeKey: r.scopeKey, path: slices.Clone(r.path), texts: map[string]string{}, limit: r.limit}
		for i := first; i < last; i++ {
			one.scanner = scanner{b: raw[i]}
			err := one.at(step{index: i}, func() (err error) {
				frames[i], err = one.frame()
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	var all sync.WaitGroup
	errs := make([]error, parts)
	for n := range parts - 1 {
		all.Go(func() { errs[n] = read(n*len(raw)/parts, (n+1)*len(raw)/parts) })
	}
	errs[parts-1] = read((parts-1)*len(raw)/parts, len(raw))
	all.Wait()
	return frames, cmp.Or(errs...) // the first one in the order of the frames
}

func (r *frameReader) wrong(message string, more ...any) error {
	path := make([]any, 0, len(r.path)+len(more))
	for _, s := range r.path {
		if s.member {
			path = append(path, s.name)
		} else {
			path = append(path, s.index)
		}
	}
	return r.args.wrong(message, append(path, more...)...)
}

func (r *frameReader) unknown() error { return r.wrong("extra keys not allowed") }

func (r *frameReader) missing(name string) error { return r.wrong("required key not provided", name) }

// at reads something at a step further down the path.
func (r *frameReader) at(s step, read func() error) error {
	r.path = append(r.path, s)
	err := read()
	r.path = r.path[:len(r.path)-1]
	return err
}

// object reads the members of an object.
func (r *frameReader) object(otherwise string, read func(name string) error) error {
	if r.scanner.next() != '{' {
		return r.wrong(otherwise)
	}
	return r.scanner.object(func(name []byte) error {
		text := r.keep(name)
		return r.at(step{member: true, name: text}, func() error { return read(text) })
	})
}

// keep returns a text to be kept.
func (r *frameReader) keep(text []byte) string {
	if known, ok := r.texts[string(text)]; ok {
		return known
	}
	kept := string(text)
	if len(r.texts) < mostTexts {
		r.texts[kept] = kept
	}
	return kept
}

// text reads a text.
func (r *frameReader) text() (string, error) {
	if r.scanner.next() != '"' {
		return "", r.wrong("expected str")
	}
	text := r.keep(r.scanner.text())
	return text, r.storable(text)
}

func (r *frameReader) storable(text string) error {
	if wrong := unstorable(text); wrong != "" {
		return r.wrong(wrong)
	}
	return nil
}

func (r *frameReader) short(text string) error {
	if len(text) > metering.MaxName {
		return r.wrong(fmt.Sprintf("length of value must be at most %d", metering.MaxName))
	}
	return r.storable(text)
}

func (r *frameReader) time() (time.Time, error) {
	if r.scanner.next() == '"' {
		if t, ok := parseTime(string(r.scanner.text())); ok {
			if t.Unix() < 0 {
				return t, r.wrong("times from before 1970 are not taken")
			}
			return t, nil
		}
	}
	return time.Time{}, r.wrong("expected " + fromISO)
}

// decimal reads a number, or a text that is one, and rounds it half-even to some decimals.
func (r *frameReader) decimal(places int32) (d money.Decimal, err error) {
	const otherwise = "expected a decimal number"
	var raw []byte
	switch r.scanner.next() {
	case '"':
		raw = []byte(strings.TrimSpace(string(r.scanner.text())))
	case '{', '[', 't', 'f', 'n':
		return d, r.wrong(otherwise)
	default:
		raw = r.scanner.skip()
	}
	if len(raw) > longestNumber {
		return d, r.wrong(otherwise)
	}
	if d, err = money.ParseBytes(raw); err != nil {
		return d, r.wrong(otherwise)
	}
	if d.Cmp(r.limit) >= 0 || d.Neg().Cmp(r.limit) >= 0 {
		return d, r.wrong(fmt.Sprintf("a number can have %d digits before the decimal point", mostDigits))
	}
	return d.Round(places), nil
}

func (r *frameReader) frame() (f metering.PushedFrame, err error) {
	var period, usage bool
	err = r.object("expected a dictionary", func(name string) error {
		switch name {
		case "period":
			period = true
			var begin, end bool
			err := r.object("expected a dictionary", func(name string) (err error) {
				switch name {
				case "begin":
					begin = true
					f.Begin, err = r.time()
				case "end":
					end = true
					f.End, err = r.time()
				default:
					return r.unknown()
				}
				return err
			})
			switch {
			case err != nil:
				return err
			case !begin:
				return r.missing("begin")
			case !end:
				return r.missing("end")
			case !f.Begin.Before(f.End):
				return r.wrong("the end must be after the begin")
			}
			return nil
		case "usage":
			usage = true
			f.Points = nil
			metrics := map[string]bool{}
			return r.object("expected a dictionary", func(metric string) error {
				switch {
				case metric == "":
					return r.wrong("a metric must have a name")
				case metrics[metric]: // points are not to be lost, nor to be doubled
					return r.wrong("a metric can't be there twice")
				}
				metrics[metric] = true
				if err := r.short(metric); err != nil {
					return err
				}
				if r.scanner.next() != '[' {
					return r.wrong("expected a list")
				}
				f.Points = slices.Grow(f.Points, r.points)
				before := len(f.Points)
				defer func() { r.points = len(f.Points) - before }()
				return r.scanner.array(func(i int) error {
					return r.at(step{index: i}, func() error {
						f.Points = append(f.Points, metering.PushedPoint{Metric: metric})
						return r.point(&f.Points[len(f.Points)-1])
					})
				})
			})
		}
		return r.unknown()
	})
	switch {
	case err != nil:
		return f, err
	case !period:
		return f, r.missing("period")
	case !usage:
		return f, r.missing("usage")
	}
	return f, nil
}

func (r *frameReader) point(p *metering.PushedPoint) error {
	r.given = 0
	var vol, groupby, metadata bool
	err := r.object("expected a dictionary", func(name string) (err error) {
		switch name {
		case "vol":
			vol = true
			return r.volume(p)
		case "rating":
			return r.object("expected a dictionary", func(name string) (err error) {
				if name != "price" {
					return r.unknown()
				}
				p.Price, err = r.decimal(money.PricePlaces)
				return err
			})
		case "groupby":
			groupby, p.Scope = true, metering.UndefinedScope
			p.Groupby, err = r.labels(p, true)
			return err
		case "metadata":
			metadata = true
			p.Metadata, err = r.labels(p, false)
			return err
		}
		return r.unknown()
	})
	switch {
	case err != nil:
		return err
	case !vol:
		return r.missing("vol")
	case !groupby:
		return r.missing("groupby")
	case !metadata:
		return r.missing("metadata")
	}
	if len(p.Literals) > 0 {
		slices.Sort(p.Literals)
		p.Literals = slices.DeleteFunc(slices.Compact(p.Literals), func(name string) bool { // what is in both can be kept as text only
			_, grouped := p.Groupby.Get(name)
			_, more := p.Metadata.Get(name)
			return grouped && more
		})
	}
	return nil
}

func (r *frameReader) volume(p *metering.PushedPoint) error {
	var unit, qty bool
	err := r.object("expected a dictionary", func(name string) (err error) {
		switch name {
		case "unit":
			unit = true
			if p.Unit, err = r.text(); err != nil {
				return err
			}
			if p.Unit == "" {
				p.Unit = "undefined"
			}
			return r.short(p.Unit)
		case "qty":
			qty = true
			p.Qty, err = r.decimal(money.QtyPlaces)
			return err
		}
		return r.unknown()
	})
	switch {
	case err != nil:
		return err
	case !unit:
		return r.missing("unit")
	case !qty:
		return r.missing("qty")
	}
	return nil
}

// labels reads a point's attributes. Those that it is grouped by name its scope, too.
func (r *frameReader) labels(p *metering.PushedPoint, groupby bool) (metering.Attributes, error) {
	if len(r.attributes) < 64 {
		r.attributes = make([]metering.Attribute, 4096)
	}
	all := r.attributes[:0:len(r.attributes)]
	err := r.object("expected a dictionary", func(name string) error {
		if r.given++; r.given > mostAttributes {
			return r.wrong(fmt.Sprintf("a point can have %d attributes", mostAttributes))
		}
		if err := r.storable(name); err != nil {
			return err
		}
		var value string
		literal := r.scanner.next() != '"'
		if literal {
			value = r.keep(r.scanner.skip())
		} else {
			var err error
			if value, err = r.text(); err != nil {
				return err
			}
		}
		if groupby && name == r.scopeKey {
			if value != "" && value != "null" {
				p.Scope = value
			}
			return r.short(p.Scope)
		}
		if literal {
			p.Literals = append(p.Literals, name)
		}
		i, known := slices.BinarySearchFunc(all, name, func(a metering.Attribute, name string) int { return cmp.Compare(a.Name, name) })
		if known { // the last one counts
			all[i].Value = value
			if !literal {
				p.Literals = slices.DeleteFunc(p.Literals, func(l string) bool { return l == name })
			}
			return nil
		}
		all = slices.Insert(all, i, metering.Attribute{Name: name, Value: value})
		return nil
	})
	if n := len(all); n <= len(r.attributes) && n > 0 && &all[0] == &r.attributes[0] {
		r.attributes = r.attributes[n:]
		all = all[:n:n]
	}
	return all, err
}
