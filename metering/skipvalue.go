package metering

import (
	"errors"
	"fmt"
	"math/big"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"ratebook/money"
)

// decimal is an exact number in a skip expression.
type decimal struct{ money.Decimal }

var (
	_ starlark.Comparable = decimal{}
	_ starlark.HasBinary  = decimal{}
	_ starlark.HasUnary   = decimal{}
)

func (d decimal) Type() string         { return "decimal" }
func (d decimal) Freeze()              {}
func (d decimal) Truth() starlark.Bool { return starlark.Bool(!d.IsZero()) }

// Hash fails: as the key of a dict, a decimal would not be found where the equal int is.
func (d decimal) Hash() (uint32, error) { return 0, errors.New("a decimal can't be the key of a dict") }

// CompareSameType is for Starlark's own functions; comparisons in the expression go through compare.
func (d decimal) CompareSameType(op syntax.Token, y starlark.Value, _ int) (bool, error) {
	return ordered(op, d.Cmp(y.(decimal).Decimal))
}

// Binary computes with decimals and ints. It returns nil where Starlark is to say that there is no such operation.
func (d decimal) Binary(op syntax.Token, y starlark.Value, side starlark.Side) (starlark.Value, error) {
	e, ok := number(y)
	if !ok {
		return nil, nil
	}
	a, b := d.Decimal, e
	if side == starlark.Right {
		a, b = b, a
	}
	switch op {
	case syntax.PLUS:
		return decimal{a.Add(b)}, nil
	case syntax.MINUS:
		return decimal{a.Sub(b)}, nil
	case syntax.STAR:
		return decimal{a.Mul(b)}, nil
	case syntax.SLASHSLASH:
		q, err := floorDivide(a, b)
		return decimal{q}, err
	case syntax.PERCENT:
		q, err := floorDivide(a, b)
		return decimal{a.Sub(q.Mul(b))}, err
	}
	return nil, nil
}

// Unary negates.
func (d decimal) Unary(op syntax.Token) (starlark.Value, error) {
	switch op {
	case syntax.MINUS:
		return decimal{d.Neg()}, nil
	case syntax.PLUS:
		return d, nil
	}
	return nil, nil
}

// floorDivide returns the greatest whole number not above a/b.
func floorDivide(a, b money.Decimal) (money.Decimal, error) {
	if b.IsZero() {
		return money.Decimal{}, errors.New("division by zero")
	}
	inverse, err := money.ParseRatio("1/" + b.String())
	if err != nil {
		return money.Decimal{}, err
	}
	q := money.Linear(a, inverse, money.Ratio{}, 0) // to the nearest
	if rest := a.Sub(q.Mul(b)); rest.Sign()*b.Sign() < 0 {
		q = q.Sub(money.New(1, 0))
	}
	return q, nil
}

// number returns the value of a decimal or an int.
func number(v starlark.Value) (money.Decimal, bool) {
	switch v := v.(type) {
	case decimal:
		return v.Decimal, true
	case starlark.Int:
		if i, ok := v.Int64(); ok {
			return money.New(i, 0), true
		}
		d, err := money.Parse(v.String())
		return d, err == nil
	}
	return money.Decimal{}, false
}

// compare is Starlark's comparison but for decimals, which compare with ints by their value, in lists, tuples and values of
// dicts, too.
func compare(op syntax.Token, x, y starlark.Value) (bool, error) {
	switch op {
	case syntax.EQL:
		return equal(x, y, starlark.CompareLimit)
	case syntax.NEQ:
		is, err := equal(x, y, starlark.CompareLimit)
		return !is, err
	case syntax.IN, syntax.NOT_IN:
		is, err := contains(y, x)
		return is == (op == syntax.IN), err
	}
	if a, ok := number(x); ok {
		if b, ok := number(y); ok {
			return ordered(op, a.Cmp(b))
		}
	}
	return starlark.Compare(op, x, y)
}

func ordered(op syntax.Token, c int) (bool, error) {
	switch op {
	case syntax.EQL:
		return c == 0, nil
	case syntax.NEQ:
		return c != 0, nil
	case syntax.LT:
		return c < 0, nil
	case syntax.LE:
		return c <= 0, nil
	case syntax.GT:
		return c > 0, nil
	case syntax.GE:
		return c >= 0, nil
	}
	return false, fmt.Errorf("numbers have no order by %s", op)
}

// equal gives up below depth lists in lists, which may contain themselves.
func equal(x, y starlark.Value, depth int) (bool, error) {
	if depth == 0 {
		return false, errors.New("the lists or dicts compared are nested too deeply")
	}
	if a, ok := number(x); ok {
		b, ok := number(y)
		return ok && a.Equal(b), nil
	}
	switch x := x.(type) {
	case *starlark.List:
		if y, ok := y.(*starlark.List); ok {
			return equalElements(x, y, depth-1)
		}
		return false, nil
	case starlark.Tuple:
		if y, ok := y.(starlark.Tuple); ok {
			return equalElements(x, y, depth-1)
		}
		return false, nil
	case *starlark.Dict:
		if y, ok := y.(*starlark.Dict); ok {
			return equalDicts(x, y, depth-1)
		}
		return false, nil
	}
	return starlark.Equal(x, y)
}

func equalElements(x, y starlark.Indexable, depth int) (bool, error) {
	if x.Len() != y.Len() {
		return false, nil
	}
	for i := range x.Len() {
		if is, err := equal(x.Index(i), y.Index(i), depth); !is || err != nil {
			return false, err
		}
	}
	return true, nil
}

func equalDicts(x, y *starlark.Dict, depth int) (bool, error) {
	if x.Len() != y.Len() {
		return false, nil
	}
	for k, v := range x.Entries() {
		w, found, err := y.Get(k)
		if !found || err != nil {
			return false, err
		}
		if is, err := equal(v, w, depth); !is || err != nil {
			return false, err
		}
	}
	return true, nil
}

func contains(collection, x starlark.Value) (bool, error) {
	switch c := collection.(type) {
	case *starlark.Dict: // Starlark's own ignores that x may be no key
		_, found, err := c.Get(x)
		return found, err
	case starlark.Sequence:
		for v := range starlark.Elements(c) {
			if is, err := equal(v, x, starlark.CompareLimit); is || err != nil {
				return is, err
			}
		}
		return false, nil
	}
	v, err := starlark.Binary(syntax.IN, x, collection)
	if err != nil {
		return false, err
	}
	return bool(v.Truth()), nil
}

// absolute, toInt and toDecimal are Python's abs, int and float for numbers that are never floats.

func absolute(thread *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if len(args) == 1 {
		if d, ok := args[0].(decimal); ok {
			if d.Sign() < 0 {
				d.Decimal = d.Neg()
			}
			return d, nil
		}
	}
	return starlark.Call(thread, starlark.Universe[b.Name()], args, kwargs)
}

func toInt(thread *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if len(args) == 1 && len(kwargs) == 0 {
		if d, ok := args[0].(decimal); ok {
			whole := d.Floor()
			if d.Sign() < 0 {
				whole = d.Ceil()
			}
			i, _ := new(big.Int).SetString(whole.String(), 10)
			return starlark.MakeBigInt(i), nil
		}
	}
	return starlark.Call(thread, starlark.Universe[b.Name()], args, kwargs)
}

func toDecimal(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value = starlark.MakeInt(0)
	if err := starlark.UnpackPositionalArgs(b.Name(), args, kwargs, 0, &x); err != nil {
		return nil, err
	}
	switch v := x.(type) {
	case starlark.String:
		d, err := money.Parse(strings.TrimSpace(string(v)))
		return decimal{d}, err
	case starlark.Bool:
		if v {
			return decimal{money.New(1, 0)}, nil
		}
		return decimal{}, nil
	}
	d, ok := number(x)
	if !ok {
		return nil, fmt.Errorf("float: there is no number in %s", x.Type())
	}
	return decimal{d}, nil
}
