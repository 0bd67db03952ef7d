package script

import (
	"fmt"
	"time"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// datetime is an instant in whole seconds as a zone's clock shows it.
type datetime struct {
	time.Time
	billing *time.Location // what astimezone() without a name means
}

var (
	_ starlark.Comparable = datetime{}
	_ starlark.HasAttrs   = datetime{}
)

func (t datetime) String() string        { return t.Format(time.RFC3339) }
func (t datetime) Type() string          { return "datetime" }
func (t datetime) Freeze()               {}
func (t datetime) Truth() starlark.Bool  { return true }
func (t datetime) Hash() (uint32, error) { return uint32(t.Unix()), nil }

// CompareSameType compares instants, whatever their zones.
func (t datetime) CompareSameType(op syntax.Token, y starlark.Value, _ int) (bool, error) {
	return ordered(op, t.Compare(y.(datetime).Time))
}

// datetimeNumbers and datetimeMethods are those of Python's datetime that price lists ask for.
var datetimeNumbers = map[string]func(t time.Time) int{
	"year": time.Time.Year, "month": func(t time.Time) int { return int(t.Month()) }, "day": time.Time.Day,
	"hour": time.Time.Hour, "minute": time.Time.Minute, "second": time.Time.Second,
}

var datetimeMethods = map[string]func(t datetime, name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error){
	"weekday":    datetimeMethod(func(t datetime) starlark.Value { return starlark.MakeInt((int(t.Weekday()) + 6) % 7) }),
	"isoweekday": datetimeMethod(func(t datetime) starlark.Value { return starlark.MakeInt((int(t.Weekday())+6)%7 + 1) }),
	"isoformat":  datetimeMethod(func(t datetime) starlark.Value { return starlark.String(t.Format("2006-01-02T15:04:05-07:00")) }),
	"timestamp":  datetimeMethod(func(t datetime) starlark.Value { return starlark.MakeInt64(t.Unix()) }),
	"astimezone": func(t datetime, name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		zone := ""
		if err := starlark.UnpackArgs(name, args, kwargs, "zone?", &zone); err != nil {
			return nil, err
		}
		if zone == "" {
			return datetime{t.In(t.billing), t.billing}, nil
		}
		location, err := time.LoadLocation(zone)
		if err != nil || zone == "Local" {
			return nil, fmt.Errorf("%s: there is no time zone %q", name, zone)
		}
		return datetime{t.In(location), t.billing}, nil
	},
}

func datetimeMethod(of func(t datetime) starlark.Value) func(t datetime, name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return func(t datetime, name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		if err := starlark.UnpackPositionalArgs(name, args, kwargs, 0); err != nil {
			return nil, err
		}
		return of(t), nil
	}
}

// Attr returns a number or a method of the name.
func (t datetime) Attr(name string) (starlark.Value, error) {
	if number := datetimeNumbers[name]; number != nil {
		return starlark.MakeInt(number(t.Time)), nil
	}
	method := datetimeMethods[name]
	if method == nil {
		return nil, nil
	}
	return starlark.NewBuiltin(name, func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		return method(t, name, args, kwargs)
	}).BindReceiver(t), nil
}

// AttrNames lists them.
func (t datetime) AttrNames() []string {
	return []string{"astimezone", "day", "hour", "isoformat", "isoweekday", "minute", "month", "second", "timestamp", "weekday", "year"}
}
