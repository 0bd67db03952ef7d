package metering

import (
	"errors"
	"fmt"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"ratebook/script"
)

const (
	maxSkipLength = 4096   // bytes of an expression
	maxSkipSteps  = 10_000 // of its evaluation; each operation is a few
)

// Skip is a compiled skip_datapoints_expression: it says which points are not stored. A nil Skip skips none. It is safe
// for concurrent use.
type Skip struct {
	text string
	eval *starlark.Function // of the datapoint
}

// CompileSkip compiles CloudKitty's skip_datapoints_expression, a Starlark expression over datapoint, which is a dict:
//
//	{"vol": {"unit": "GiB", "qty": 1.5}, "rating": {"price": 0.04}, "groupby": {...}, "metadata": {...}}
//
// groupby has the scope key, too. The empty text and False, CloudKitty's default, give a nil Skip.
//
// Numbers are exact: quantities, prices and numbers with a decimal point are of the type decimal, which can be compared and
// computed with whole numbers; +, -, *, // and % are exact, / is refused. float() gives a decimal. What can be known to
// be wrong is an error here, such as a key that datapoint never has; there is no print, load or loop but comprehensions.
func CompileSkip(expression string) (*Skip, error) {
	text := strings.TrimSpace(expression)
	if text == "" || text == "False" {
		return nil, nil
	}
	if len(text) > maxSkipLength {
		return nil, fmt.Errorf("the expression is longer than %d bytes", maxSkipLength)
	}
	const name = "skip_datapoints_expression"
	options := &syntax.FileOptions{}
	expr, err := options.ParseExpr(name, text, 0)
	if err != nil {
		return nil, positioned(err)
	}
	if _, ok := expr.(*syntax.TupleExpr); ok {
		return nil, errors.New("the expression is a tuple, which is always true; use and, or")
	}
	names := starlark.StringDict{}
	r := script.Rewriter{Names: names, Times: script.Multiply, At: func(pos syntax.Position, message string) error {
		return errorAt(pos, "%s", message)
	}}
	r.Check = func(e syntax.Expr) error { return checkSkip(e, names) }
	expr = r.Expr(expr)
	if r.Err != nil {
		return nil, r.Err
	}
	// skip = lambda datapoint: <expr>
	pos := syntax.Start(expr)
	file := &syntax.File{Path: name, Options: options, Stmts: []syntax.Stmt{&syntax.AssignStmt{
		Op:    syntax.EQ,
		OpPos: pos,
		LHS:   &syntax.Ident{Name: "skip", NamePos: pos},
		RHS:   &syntax.LambdaExpr{Lambda: pos, Params: []syntax.Expr{&syntax.Ident{Name: datapointName, NamePos: pos}}, Body: expr},
	}}}
	program, err := starlark.FileProgram(file, names.Has)
	if err != nil {
		return nil, positioned(err)
	}
	globals, err := program.Init(&starlark.Thread{Name: name}, names)
	if err != nil {
		return nil, err
	}
	globals.Freeze()
	return &Skip{text: text, eval: globals["skip"].(*starlark.Function)}, nil
}

// positioned says in which column of the expression an error of the Starlark library is.
func positioned(err error) error {
	var list resolve.ErrorList
	var se syntax.Error
	switch {
	case errors.As(err, &list) && len(list) > 0:
		return errorAt(list[0].Pos, "%s", list[0].Msg)
	case errors.As(err, &se):
		if strings.HasPrefix(se.Msg, "got is ") {
			se.Msg += "; use == and != instead of is"
		}
		return errorAt(se.Pos, "%s", se.Msg)
	}
	return err
}

func errorAt(pos syntax.Position, format string, args ...any) error {
	where := fmt.Sprintf("column %d: ", pos.Col)
	if pos.Line > 1 {
		where = fmt.Sprintf("line %d, column %d: ", pos.Line, pos.Col)
	}
	return errors.New(where + fmt.Sprintf(format, args...))
}

// Skips reports whether the rated sample of the series is to be skipped. An expression that can't be evaluated, because
// it asks for a label that the point lacks, for example, is an error.
func (s *Skip) Skips(series *Series, sample *Sample) (bool, error) {
	if s == nil {
		return false, nil
	}
	thread := &starlark.Thread{Name: "skip_datapoints_expression"}
	thread.SetMaxExecutionSteps(maxSkipSteps)
	v, err := starlark.Call(thread, s.eval, starlark.Tuple{datapoint(series, sample)}, nil)
	if err != nil {
		return false, fmt.Errorf("skip_datapoints_expression %q of %s: %w", clip(s.text), series.Metric.Name, err)
	}
	return bool(v.Truth()), nil
}

// datapoint returns the sample in the shape of CloudKitty's v2 data point.
func datapoint(series *Series, sample *Sample) *starlark.Dict {
	groupby := attributesDict(series.Groupby)
	if key := series.Scope.Source.ScopeKey; key != "" {
		setKey(groupby, key, starlark.String(series.Scope.ID))
	}
	vol, rating, point := starlark.NewDict(2), starlark.NewDict(1), starlark.NewDict(4)
	setKey(vol, "unit", starlark.String(series.Metric.Unit))
	setKey(vol, "qty", script.Exact(sample.Qty))
	setKey(rating, "price", script.Exact(sample.Price))
	setKey(point, "vol", vol)
	setKey(point, "rating", rating)
	setKey(point, "groupby", groupby)
	setKey(point, "metadata", attributesDict(series.Metadata))
	return point
}

func attributesDict(as Attributes) *starlark.Dict {
	d := starlark.NewDict(len(as) + 1)
	for _, a := range as {
		setKey(d, a.Name, starlark.String(a.Value))
	}
	return d
}

func setKey(d *starlark.Dict, key string, v starlark.Value) {
	if err := d.SetKey(starlark.String(key), v); err != nil {
		panic("metering: " + err.Error()) // only frozen dicts and keys without a hash fail
	}
}
