package script

import (
	"errors"
	"fmt"
	"math/big"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"ratebook/money"
)

// Decimal is an exact number in a script.
type Decimal struct {
	money.Decimal
	unpriced bool // it is the price 0 of a point that nothing has priced, or a multiple of that
}

var (
	_ starlark.Comparable = Decimal{}
	_ starlark.HasBinary  = Decimal{}
	_ starlark.HasUnary   = Decimal{}
)

// Exact returns a number for a script.
func Exact(d money.Decimal) Decimal { return Decimal{Decimal: d} }

// Type is what the script's type() says.
func (d Decimal) Type() string { return "decimal" }

// Freeze does nothing: a decimal never changes.
func (d Decimal) Freeze() {}

// Truth is whether the number is not 0.
func (d Decimal) Truth() starlark.Bool { return starlark.Bool(!d.IsZero()) }

// Hash fails: as the key of a dict, a decimal would not be found where the equal int is.
func (d Decimal) Hash() (uint32, error) { return 0, errors.New("a decimal can't be the key of a dict") }

// CompareSameType is for Starlark's own functions; comparisons in rewritten code go through [Compare].
func (d Decimal) CompareSameType(op syntax.Token, y starlark.Value, _ int) (bool, error) {
	return ordered(op, d.Cmp(y.(Decimal).Decimal))
}

// maxDigits bounds the digits of a result before and after the point. No amount needs them; without a bound a few lines ask
// for all memory there is.
const maxDigits = 10_000

func bounded(d money.Decimal) (starlark.Value, error) {
	if whole, places := d.Digits(); whole > maxDigits || places > maxDigits {
		return nil, fmt.Errorf("the number gets longer than %d digits", maxDigits)
	}
	return Decimal{Decimal: d}, nil
}

// Binary computes with decimals and ints. It returns nil where Starlark is to say that there is no such operation.
func (d Decimal) Binary(op syntax.Token, y starlark.Value, side starlark.Side) (starlark.Value, error) {
	e, ok := Number(y)
	if !ok {
		return nil, nil
	}
	a, b := d.Decimal, e
	if side == starlark.Right {
		a, b = b, a
	}
	switch op {
	case syntax.PLUS:
		return bounded(a.Add(b))
	case syntax.MINUS:
		return bounded(a.Sub(b))
	case syntax.STAR:
		other, _ := y.(Decimal)
		if d.unpriced || other.unpriced {
			return Decimal{unpriced: true}, nil
		}
		return bounded(a.Mul(b))
	case syntax.SLASHSLASH:
		q, err := floorDivide(a, b)
		return Decimal{Decimal: q}, err
	case syntax.PERCENT:
		q, err := floorDivide(a, b)
		return Decimal{Decimal: a.Sub(q.Mul(b))}, err
	}
	return nil, nil
}

// Unary negates.
func (d Decimal) Unary(op syntax.Token) (starlark.Value, error) {
	switch op {
	case syntax.MINUS:
		d.Decimal = d.Neg()
		return d, nil
	case syntax.PLUS:
		return d, nil
	}
	return nil, nil
}

// divide returns a/b rounded half to even.
func divide(a, b money.Decimal, places int32) (money.Decimal, error) {
	if b.IsZero() {
		return money.Decimal{}, errors.New("division by zero")
	}
	inverse, err := money.ParseRatio("1/" + b.String())
	if err != nil {
		return money.Decimal{}, err
	}
	return money.Linear(a, inverse, money.Ratio{}, places), nil
}

// floorDivide returns the greatest whole number not above a/b.
func floorDivide(a, b money.Decimal) (money.Decimal, error) {
	q, err := divide(a, b, 0) // to the nearest
	if err != nil {
		return q, err
	}
	if rest := a.Sub(q.Mul(b)); rest.Sign()*b.Sign() < 0 {
		q = q.Sub(money.New(1, 0))
	}
	return q, nil
}

// Number returns the value of a decimal or an int.
func Number(v starlark.Value) (money.Decimal, bool) {
	switch v := v.(type) {
	case Decimal:
		return v.Decimal, true
	case starlark.Int:
		if i, ok := v.Int64(); ok {
			return money.New(i, 0), true
		}
		if v.BigInt().BitLen() > maxBits {
			return money.Decimal{}, false
		}
		d, err := money.Parse(v.String())
		return d, err == nil
	}
	return money.Decimal{}, false
}

// Compare is Starlark's comparison but for decimals, which compare with ints by their value, in lists, tuples and values of
// dicts, too.
func Compare(op syntax.Token, x, y starlark.Value) (bool, error) {
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
	if a, ok := Number(x); ok {
		if b, ok := Number(y); ok {
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
	if a, ok := Number(x); ok {
		b, ok := Number(y)
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
	case *starlark.Set: // as above
		return c.Has(x)
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

// Numbers are Python's abs, int and float for numbers that are never floats: float gives a decimal.
var Numbers = starlark.StringDict{
	"abs":   starlark.NewBuiltin("abs", absolute),
	"float": starlark.NewBuiltin("float", toDecimal),
	"int":   starlark.NewBuiltin("int", toInt),
}

func absolute(thread *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if len(args) == 1 {
		if d, ok := args[0].(Decimal); ok {
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
		if d, ok := args[0].(Decimal); ok {
			if d.Sign() < 0 {
				return whole(d.Ceil()), nil
			}
			return whole(d.Floor()), nil
		}
	}
	return starlark.Call(thread, starlark.Universe[b.Name()], args, kwargs)
}

// whole returns a number without decimals as an int.
func whole(d money.Decimal) starlark.Int {
	i, _ := new(big.Int).SetString(d.String(), 10)
	return starlark.MakeBigInt(i)
}

func toDecimal(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value = starlark.MakeInt(0)
	if err := starlark.UnpackPositionalArgs(b.Name(), args, kwargs, 0, &x); err != nil {
		return nil, err
	}
	switch v := x.(type) {
	case Decimal:
		return v, nil
	case starlark.String:
		d, err := money.Parse(strings.TrimSpace(string(v)))
		return Decimal{Decimal: d}, err
	case starlark.Bool:
		if v {
			return Decimal{Decimal: money.New(1, 0)}, nil
		}
		return Decimal{}, nil
	}
	d, ok := Number(x)
	if !ok {
		return nil, fmt.Errorf("%s: there is no number in %s", b.Name(), x.Type())
	}
	return Decimal{Decimal: d}, nil
}
