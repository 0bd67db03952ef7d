package metering

import (
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"ratebook/script"
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
	"abs": script.Numbers["abs"], "float": script.Numbers["float"], "int": script.Numbers["int"],
}

// skipMethods are the methods of all that an expression can get hold of.
var skipMethods = slices.Concat(new(starlark.Dict).AttrNames(), starlark.String("").AttrNames(), new(starlark.List).AttrNames())

// checkSkip refuses of an expression, but for what is in it, what could only fail when it is evaluated. The builtins that it
// uses join names.
func checkSkip(e syntax.Expr, names starlark.StringDict) error {
	switch e := e.(type) {
	case *syntax.Ident:
		v, ok := skipBuiltins[e.Name]
		switch {
		case ok && v != nil:
			names[e.Name] = v
		case !ok && starlark.Universe.Has(e.Name):
			return errorAt(e.NamePos, "%s is not available here", e.Name)
		}
	case *syntax.BinaryExpr:
		switch e.Op {
		case syntax.SLASH:
			return errorAt(e.OpPos, "a division may have no exact result; multiply the other side instead, like qty > 5 * 1024 for qty / 1024 > 5")
		case syntax.PIPE, syntax.AMP, syntax.CIRCUMFLEX, syntax.LTLT, syntax.GTGT:
			return errorAt(e.OpPos, "the operator %s is not for quantities", e.Op)
		}
	case *syntax.UnaryExpr:
		if e.Op != syntax.NOT && e.Op != syntax.MINUS && e.Op != syntax.PLUS {
			return errorAt(e.OpPos, "the operator %s is not for quantities", e.Op)
		}
	case *syntax.CallExpr:
		if dot, ok := e.Fn.(*syntax.DotExpr); ok && dot.Name.Name == "get" && len(e.Args) > 0 {
			return checkKey(dot.X, e.Args[0])
		}
	case *syntax.DotExpr:
		if !slices.Contains(skipMethods, e.Name.Name) {
			return errorAt(e.Name.NamePos, `there is no method %s; values of a dict are written like datapoint["vol"]["qty"]`, e.Name.Name)
		}
	case *syntax.IndexExpr:
		return checkKey(e.X, e.Y)
	case *syntax.LambdaExpr:
		return errorAt(e.Lambda, "lambda is not available here")
	}
	return nil
}

// checkKey refuses a key that the dict never has. With get it would not even fail: datapoint.get("qty", 0) == 0 is always true.
func checkKey(dict, key syntax.Expr) error {
	name, ok := literalText(key)
	if !ok {
		return nil
	}
	of := partOf(dict)
	if keys := datapointKeys[of]; keys != nil && !slices.Contains(keys, name) {
		return errorAt(syntax.Start(key), "%s has no key %q, only %s", of, name, strings.Join(keys, ", "))
	}
	return nil
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
