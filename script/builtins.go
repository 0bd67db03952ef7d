package script

import (
	"errors"
	"fmt"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"

	"ratebook/money"
)

// maxPlaces is to how many decimals scripts may round.
const maxPlaces = 100

// builtins are what scripts have besides Starlark's own, or in their place.
var builtins = starlark.StringDict{
	"abs":     Numbers["abs"],
	"float":   Numbers["float"],
	"int":     Numbers["int"],
	"Decimal": starlark.NewBuiltin("Decimal", toDecimal),
	"decimal": decimalModule{starlark.NewBuiltin("decimal", toDecimal)},
	"div":     starlark.NewBuiltin("div", div),
	"max":     starlark.NewBuiltin("max", extreme),
	"min":     starlark.NewBuiltin("min", extreme),
	"round":   starlark.NewBuiltin("round", round),
	"sum":     starlark.NewBuiltin("sum", sum),
	"math": &starlarkstruct.Module{Name: "math", Members: starlark.StringDict{
		"ceil":  starlark.NewBuiltin("ceil", toWhole),
		"floor": starlark.NewBuiltin("floor", toWhole),
	}},
}

// decimalModule is the function decimal, and Python's module of that name: decimal.Decimal is the function, too.
type decimalModule struct{ *starlark.Builtin }

var _ starlark.HasAttrs = decimalModule{}

// Attr returns the function for the name that it has in the module.
func (m decimalModule) Attr(name string) (starlark.Value, error) {
	if name == "Decimal" {
		return m.Builtin, nil
	}
	return nil, nil
}

// AttrNames lists what the module has.
func (m decimalModule) AttrNames() []string { return []string{"Decimal"} }

func div(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x, y starlark.Value
	places := 28
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "a", &x, "b", &y, "places?", &places); err != nil {
		return nil, err
	}
	p, q, err := numbers(b, x, y)
	if err != nil {
		return nil, err
	}
	if err := placesOK(b, places); err != nil {
		return nil, err
	}
	d, err := divide(p, q, int32(places))
	if err != nil {
		return nil, err
	}
	return like(x, d), nil
}

func round(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	places := 0
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "number", &x, "places?", &places); err != nil {
		return nil, err
	}
	d, _, err := numbers(b, x, x)
	if err != nil {
		return nil, err
	}
	if err := placesOK(b, places); err != nil {
		return nil, err
	}
	return like(x, d.Round(int32(places))), nil
}

// like returns d as a decimal that is as good as x: what comes of a price that nobody made is none either.
func like(x starlark.Value, d money.Decimal) Decimal {
	of, _ := x.(Decimal)
	return Decimal{Decimal: d, unpriced: of.unpriced}
}

func placesOK(b *starlark.Builtin, places int) error {
	if places < 0 || places > maxPlaces {
		return fmt.Errorf("%s: places is %d; it is from 0 to %d", b.Name(), places, maxPlaces)
	}
	return nil
}

func numbers(b *starlark.Builtin, x, y starlark.Value) (p, q money.Decimal, err error) {
	p, ok := Number(x)
	if ok {
		x = y
		q, ok = Number(y)
	}
	if !ok {
		return p, q, fmt.Errorf("%s: %s is no number that it can take", b.Name(), x.Type())
	}
	return p, q, nil
}

func toWhole(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	if err := starlark.UnpackPositionalArgs(b.Name(), args, kwargs, 1, &x); err != nil {
		return nil, err
	}
	d, _, err := numbers(b, x, x)
	if err != nil {
		return nil, err
	}
	if b.Name() == "ceil" {
		return whole(d.Ceil()), nil
	}
	return whole(d.Floor()), nil
}

func sum(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var values starlark.Iterable
	var total starlark.Value = starlark.MakeInt(0)
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "iterable", &values, "start?", &total); err != nil {
		return nil, err
	}
	for v := range starlark.Elements(values) {
		if _, _, err := numbers(b, total, v); err != nil {
			return nil, err
		}
		var err error
		if total, err = starlark.Binary(syntax.PLUS, total, v); err != nil {
			return nil, err
		}
	}
	return total, nil
}

// extreme is min and max: Starlark's own can't compare decimals with ints.
func extreme(thread *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var key starlark.Callable
	if err := starlark.UnpackArgs(b.Name(), nil, kwargs, "key?", &key); err != nil {
		return nil, err
	}
	var values starlark.Iterable = args
	if len(args) == 1 {
		of, ok := args[0].(starlark.Iterable)
		if !ok {
			return nil, fmt.Errorf("%s: %s is no list", b.Name(), args[0].Type())
		}
		values = of
	}
	op := syntax.LT
	if b.Name() == "max" {
		op = syntax.GT
	}
	var best, bestKey starlark.Value
	for v := range starlark.Elements(values) {
		k := v
		if key != nil {
			var err error
			if k, err = starlark.Call(thread, key, starlark.Tuple{v}, nil); err != nil {
				return nil, err
			}
		}
		better := best == nil
		if !better {
			var err error
			if better, err = Compare(op, k, bestKey); err != nil {
				return nil, err
			}
		}
		if better {
			best, bestKey = v, k
		}
	}
	if best == nil {
		return nil, errors.New(b.Name() + ": there is nothing in the list")
	}
	return best, nil
}
