package metering

import (
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"ratebook/money"
)

const datapointName = "datapoint"

// datapointKeys are the keys of the dicts in a datapoint whose keys are known.
var datapointKeys = map[string][]string{
	datapointName: {"vol", "rating", "groupby", "metadata"},
	"vol":         {"unit", "qty"},
	"rating":      {"price"},
}

// skipBuiltins are the names an expression may use besides datapoint. Those with nil are Starlark's own.
var skipBuiltins = starlark.StringDict{
	"True": nil, "False": nil, "None": nil,
	"all": nil, "any": nil, "bool": nil, "dict": nil, "len": nil, "list": nil, "str": nil, "tuple": nil,
	"abs":   starlark.NewBuiltin("abs", absolute),
	"float": starlark.NewBuiltin("float", toDecimal),
	"int":   starlark.NewBuiltin("int", toInt),
}

// operators are those that a skip expression calls as functions: comparisons, since Starlark's own find that a decimal
// never equals an int, and *, since Starlark's own makes texts and lists of gigabytes. Their names can't be written in
// Starlark, so nothing hides them.
var operators = func() starlark.StringDict {
	d := starlark.StringDict{}
	for _, op := range []syntax.Token{syntax.EQL, syntax.NEQ, syntax.LT, syntax.LE, syntax.GT, syntax.GE, syntax.IN, syntax.NOT_IN} {
		d[op.String()] = starlark.NewBuiltin(op.String(), func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
			is, err := compare(op, args[0], args[1])
			return starlark.Bool(is), err
		})
	}
	d["*"] = starlark.NewBuiltin("*", func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		for _, x := range args {
			if _, ok := number(x); !ok {
				return nil, fmt.Errorf("%s can't be multiplied", x.Type())
			}
		}
		return starlark.Binary(syntax.STAR, args[0], args[1])
	})
	return d
}()

// skipMethods are the methods of all that an expression can get hold of.
var skipMethods = slices.Concat(new(starlark.Dict).AttrNames(), starlark.String("").AttrNames(), new(starlark.List).AttrNames())

// skipCompiler rewrites an expression so that no number in it is a float, and refuses what could only fail when it is
// evaluated.
type skipCompiler struct {
	names starlark.StringDict // what the rewritten expression refers to
	err   error               // the first one
}

func (c *skipCompiler) fail(pos syntax.Position, format string, args ...any) {
	if c.err == nil {
		c.err = errorAt(pos, format, args...)
	}
}

func (c *skipCompiler) exprs(list []syntax.Expr) {
	for i := range list {
		list[i] = c.expr(list[i])
	}
}

// expr returns e rewritten; it may change e. A nil expression stays nil.
func (c *skipCompiler) expr(e syntax.Expr) syntax.Expr {
	switch e := e.(type) {
	case *syntax.Literal:
		return c.literal(e)
	case *syntax.Ident:
		c.ident(e)
	case *syntax.BinaryExpr:
		return c.binary(e)
	case *syntax.UnaryExpr:
		if e.Op != syntax.NOT && e.Op != syntax.MINUS && e.Op != syntax.PLUS {
			c.fail(e.OpPos, "the operator %s is not for quantities", e.Op)
		}
		e.X = c.expr(e.X)
	case *syntax.CallExpr:
		c.call(e)
	case *syntax.DotExpr:
		if !slices.Contains(skipMethods, e.Name.Name) {
			c.fail(e.Name.NamePos, `there is no method %s; values of a dict are written like datapoint["vol"]["qty"]`, e.Name.Name)
		}
		e.X = c.expr(e.X)
	case *syntax.IndexExpr:
		c.key(e.X, e.Y)
		e.X, e.Y = c.expr(e.X), c.expr(e.Y)
	case *syntax.SliceExpr:
		e.X, e.Lo, e.Hi, e.Step = c.expr(e.X), c.expr(e.Lo), c.expr(e.Hi), c.expr(e.Step)
	case *syntax.ParenExpr:
		e.X = c.expr(e.X)
	case *syntax.CondExpr:
		e.Cond, e.True, e.False = c.expr(e.Cond), c.expr(e.True), c.expr(e.False)
	case *syntax.ListExpr:
		c.exprs(e.List)
	case *syntax.TupleExpr:
		c.exprs(e.List)
	case *syntax.DictExpr:
		c.exprs(e.List)
	case *syntax.DictEntry:
		e.Key, e.Value = c.expr(e.Key), c.expr(e.Value)
	case *syntax.Comprehension:
		for _, clause := range e.Clauses {
			switch clause := clause.(type) {
			case *syntax.ForClause:
				clause.X = c.expr(clause.X)
			case *syntax.IfClause:
				clause.Cond = c.expr(clause.Cond)
			}
		}
		e.Body = c.expr(e.Body)
	case *syntax.LambdaExpr:
		c.fail(e.Lambda, "lambda is not available here")
	}
	return e
}

// literal replaces a number with a decimal point by a name for the decimal, which is the number's own text: no name that
// can be written begins with a digit or a point.
func (c *skipCompiler) literal(e *syntax.Literal) syntax.Expr {
	if e.Token != syntax.FLOAT {
		return e
	}
	d, err := money.Parse(e.Raw)
	if err != nil {
		c.fail(e.TokenPos, "%v", err)
		return e
	}
	c.names[e.Raw] = decimal{d}
	return &syntax.Ident{Name: e.Raw, NamePos: e.TokenPos}
}

func (c *skipCompiler) ident(e *syntax.Ident) {
	v, ok := skipBuiltins[e.Name]
	switch {
	case ok && v != nil:
		c.names[e.Name] = v
	case !ok && starlark.Universe.Has(e.Name):
		c.fail(e.NamePos, "%s is not available here", e.Name)
	}
}

func (c *skipCompiler) binary(e *syntax.BinaryExpr) syntax.Expr {
	e.X, e.Y = c.expr(e.X), c.expr(e.Y)
	switch e.Op {
	case syntax.AND, syntax.OR, syntax.PLUS, syntax.MINUS, syntax.SLASHSLASH, syntax.PERCENT:
		return e
	case syntax.SLASH:
		c.fail(e.OpPos, "a division may have no exact result; multiply the other side instead, like qty > 5 * 1024 for qty / 1024 > 5")
		return e
	}
	name := e.Op.String()
	function, ok := operators[name]
	if !ok {
		c.fail(e.OpPos, "the operator %s is not for quantities", name)
		return e
	}
	c.names[name] = function
	return &syntax.CallExpr{
		Fn: &syntax.Ident{Name: name, NamePos: e.OpPos}, Lparen: e.OpPos, Args: []syntax.Expr{e.X, e.Y}, Rparen: e.OpPos,
	}
}

func (c *skipCompiler) call(e *syntax.CallExpr) {
	if dot, ok := e.Fn.(*syntax.DotExpr); ok && dot.Name.Name == "get" && len(e.Args) > 0 {
		c.key(dot.X, e.Args[0])
	}
	e.Fn = c.expr(e.Fn)
	for i, arg := range e.Args {
		switch arg := arg.(type) {
		case *syntax.BinaryExpr:
			if arg.Op == syntax.EQ { // name=value
				arg.Y = c.expr(arg.Y)
				continue
			}
		case *syntax.UnaryExpr:
			if arg.Op == syntax.STAR || arg.Op == syntax.STARSTAR {
				arg.X = c.expr(arg.X)
				continue
			}
		}
		e.Args[i] = c.expr(arg)
	}
}

// key refuses a key that the dict never has. With get it would not even fail: datapoint.get("qty", 0) == 0 is always true.
func (c *skipCompiler) key(dict, key syntax.Expr) {
	name, ok := literalText(key)
	if !ok {
		return
	}
	of := partOf(dict)
	if keys := datapointKeys[of]; keys != nil && !slices.Contains(keys, name) {
		c.fail(syntax.Start(key), "%s has no key %q, only %s", of, name, strings.Join(keys, ", "))
	}
}

// partOf names the dict of datapointKeys that an expression not yet rewritten yields, "" if it is none or can't be told.
func partOf(e syntax.Expr) string {
	var dict, key syntax.Expr
	switch e := e.(type) {
	case *syntax.Ident:
		if e.Name == datapointName {
			return datapointName
		}
		return ""
	case *syntax.ParenExpr:
		return partOf(e.X)
	case *syntax.IndexExpr:
		dict, key = e.X, e.Y
	case *syntax.CallExpr:
		dot, ok := e.Fn.(*syntax.DotExpr)
		if !ok || dot.Name.Name != "get" || len(e.Args) == 0 {
			return ""
		}
		dict, key = dot.X, e.Args[0]
	default:
		return ""
	}
	if name, ok := literalText(key); ok && partOf(dict) == datapointName {
		return name
	}
	return ""
}

func literalText(e syntax.Expr) (string, bool) {
	if l, ok := e.(*syntax.Literal); ok && l.Token == syntax.STRING {
		return l.Value.(string), true
	}
	return "", false
}
