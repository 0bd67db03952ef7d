package script

import (
	"fmt"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"ratebook/money"
)

// Rewriter rewrites parsed Starlark so that no number in it is a float and decimals compare with ints by their value. What
// it rewrites refers to Names, which have to be predeclared. The first error, of Check or its own, stays in Err.
type Rewriter struct {
	Names starlark.StringDict
	Check func(e syntax.Expr) error                                                  // is asked about every expression, before what is in it; may be nil
	At    func(pos syntax.Position, message string) error                            // makes an error of a place
	Times func(thread *starlark.Thread, x, y starlark.Value) (starlark.Value, error) // is *, since Starlark's own makes texts and lists of gigabytes
	Err   error
}

// comparisons are called as functions, since Starlark's own find that a decimal never equals an int. Their names can't be
// written in Starlark, so nothing hides them.
var comparisons = func() map[syntax.Token]*starlark.Builtin {
	all := map[syntax.Token]*starlark.Builtin{}
	for _, op := range []syntax.Token{syntax.EQL, syntax.NEQ, syntax.LT, syntax.LE, syntax.GT, syntax.GE, syntax.IN, syntax.NOT_IN} {
		all[op] = starlark.NewBuiltin(op.String(), func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
			is, err := Compare(op, args[0], args[1])
			return starlark.Bool(is), err
		})
	}
	return all
}()

func (r *Rewriter) fail(err error) {
	if r.Err == nil {
		r.Err = err
	}
}

// File rewrites a file.
func (r *Rewriter) File(f *syntax.File) { r.stmts(f.Stmts) }

func (r *Rewriter) stmts(list []syntax.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *syntax.AssignStmt:
			s.LHS, s.RHS = r.Expr(s.LHS), r.Expr(s.RHS)
		case *syntax.DefStmt:
			r.named(s.Params)
			r.stmts(s.Body)
		case *syntax.ExprStmt:
			s.X = r.Expr(s.X)
		case *syntax.ForStmt:
			s.Vars, s.X = r.Expr(s.Vars), r.Expr(s.X)
			r.stmts(s.Body)
		case *syntax.IfStmt:
			s.Cond = r.Expr(s.Cond)
			r.stmts(s.True)
			r.stmts(s.False)
		case *syntax.ReturnStmt:
			if s.Result != nil {
				s.Result = r.Expr(s.Result)
			}
		case *syntax.WhileStmt:
			s.Cond = r.Expr(s.Cond)
			r.stmts(s.Body)
		}
	}
}

func (r *Rewriter) exprs(list []syntax.Expr) {
	for i := range list {
		list[i] = r.Expr(list[i])
	}
}

// Expr returns e rewritten; it may change e. A nil expression stays nil.
func (r *Rewriter) Expr(e syntax.Expr) syntax.Expr {
	if e == nil || r.Err != nil {
		return e
	}
	if r.Check != nil {
		if err := r.Check(e); err != nil {
			r.fail(err)
			return e
		}
	}
	switch e := e.(type) {
	case *syntax.Literal:
		return r.literal(e)
	case *syntax.BinaryExpr:
		return r.binary(e)
	case *syntax.UnaryExpr:
		e.X = r.Expr(e.X)
	case *syntax.CallExpr:
		e.Fn = r.Expr(e.Fn)
		r.named(e.Args)
	case *syntax.DotExpr:
		e.X = r.Expr(e.X)
	case *syntax.IndexExpr:
		e.X, e.Y = r.Expr(e.X), r.Expr(e.Y)
	case *syntax.SliceExpr:
		e.X, e.Lo, e.Hi, e.Step = r.Expr(e.X), r.Expr(e.Lo), r.Expr(e.Hi), r.Expr(e.Step)
	case *syntax.ParenExpr:
		e.X = r.Expr(e.X)
	case *syntax.CondExpr:
		e.Cond, e.True, e.False = r.Expr(e.Cond), r.Expr(e.True), r.Expr(e.False)
	case *syntax.ListExpr:
		r.exprs(e.List)
	case *syntax.TupleExpr:
		r.exprs(e.List)
	case *syntax.DictExpr:
		r.exprs(e.List)
	case *syntax.DictEntry:
		e.Key, e.Value = r.Expr(e.Key), r.Expr(e.Value)
	case *syntax.Comprehension:
		for _, clause := range e.Clauses {
			switch clause := clause.(type) {
			case *syntax.ForClause:
				clause.X = r.Expr(clause.X)
			case *syntax.IfClause:
				clause.Cond = r.Expr(clause.Cond)
			}
		}
		e.Body = r.Expr(e.Body)
	case *syntax.LambdaExpr:
		r.named(e.Params)
		e.Body = r.Expr(e.Body)
	}
	return e
}

// named rewrites the arguments of a call or the parameters of a function: name=value, *values, **values and plain ones.
func (r *Rewriter) named(list []syntax.Expr) {
	for i, e := range list {
		switch e := e.(type) {
		case *syntax.BinaryExpr:
			if e.Op == syntax.EQ {
				e.Y = r.Expr(e.Y)
				continue
			}
		case *syntax.UnaryExpr:
			if e.Op == syntax.STAR || e.Op == syntax.STARSTAR {
				e.X = r.Expr(e.X)
				continue
			}
		}
		list[i] = r.Expr(e)
	}
}

// literal replaces a number with a decimal point by a name for the decimal, which is the number's own text: no name that
// can be written begins with a digit or a point.
func (r *Rewriter) literal(e *syntax.Literal) syntax.Expr {
	if e.Token != syntax.FLOAT {
		return e
	}
	d, err := money.Parse(e.Raw)
	if err != nil {
		r.fail(r.At(e.TokenPos, err.Error()))
		return e
	}
	r.Names[e.Raw] = Decimal{Decimal: d}
	return &syntax.Ident{Name: e.Raw, NamePos: e.TokenPos}
}

func (r *Rewriter) binary(e *syntax.BinaryExpr) syntax.Expr {
	e.X, e.Y = r.Expr(e.X), r.Expr(e.Y)
	name := e.Op.String()
	if compare := comparisons[e.Op]; compare != nil {
		r.Names[name] = compare
	} else if e.Op != syntax.STAR {
		return e
	} else if !r.Names.Has(name) {
		times := r.Times
		r.Names[name] = starlark.NewBuiltin(name, func(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
			return times(thread, args[0], args[1])
		})
	}
	return &syntax.CallExpr{
		Fn: &syntax.Ident{Name: name, NamePos: e.OpPos}, Lparen: e.OpPos, Args: []syntax.Expr{e.X, e.Y}, Rparen: e.OpPos,
	}
}

// Multiply is * for numbers alone.
func Multiply(_ *starlark.Thread, x, y starlark.Value) (starlark.Value, error) {
	for _, v := range [...]starlark.Value{x, y} {
		if _, ok := Number(v); !ok {
			return nil, fmt.Errorf("%s can't be multiplied", v.Type())
		}
	}
	return starlark.Binary(syntax.STAR, x, y)
}

const (
	maxBits   = 1 << 14 // of an int that is multiplied or becomes a decimal
	maxRepeat = 1 << 20 // bytes or elements of a text or list that * makes
)

// repeat is * for scripts: of numbers, and of texts and lists within limits.
func repeat(_ *starlark.Thread, x, y starlark.Value) (starlark.Value, error) {
	if n, ok := y.(starlark.Int); ok {
		if err := repeatable(x, n); err != nil {
			return nil, err
		}
	}
	if n, ok := x.(starlark.Int); ok {
		if err := repeatable(y, n); err != nil {
			return nil, err
		}
	}
	return starlark.Binary(syntax.STAR, x, y)
}

func repeatable(v starlark.Value, n starlark.Int) error {
	times, small := n.Int64()
	if i, ok := v.(starlark.Int); ok {
		if _, also := i.Int64(); also && small {
			return nil
		}
		if i.BigInt().BitLen()+n.BigInt().BitLen() > maxBits {
			return fmt.Errorf("the number gets longer than %d bits", maxBits)
		}
		return nil
	}
	length := starlark.Len(v)
	if length > 0 && (!small && n.Sign() > 0 || times > int64(maxRepeat/length)) {
		return fmt.Errorf("%s times %d of length %d is too long", v.Type(), times, length)
	}
	return nil
}
