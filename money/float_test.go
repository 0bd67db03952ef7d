package money_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestNoFloats reads the source of every package that a quantity or an amount passes through, and fails on whatever is a
// float or makes one. What is no amount is excepted, line by line, with a reason, in a comment on the line or above it:
//
//	//float: a duration, for a histogram
func TestNoFloats(t *testing.T) {
	t.Parallel()
	for _, pkg := range []string{"money", "metering", "rating", "costs", "rollup", "export", "store", "collect", "jobs"} {
		err := filepath.WalkDir(filepath.Join("..", pkg), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			found, err := floats(path, nil)
			for _, f := range found {
				t.Error(f)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

var (
	// floatType is the name of a built-in type.
	floatType = regexp.MustCompile(`^(float|complex)(32|64|128)$`)
	// floatMember is the name of a method, function or type of the standard library that is or returns a float.
	floatMember = regexp.MustCompile(`Float|^(Seconds|Minutes|Hours|NaN|Inf)$`)
)

// floats lists what is a float in a file, and exceptions without a reason or a use. src is as for [parser.ParseFile].
func floats(path string, src any) ([]string, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	line := func(p token.Pos) int { return files.Position(p).Line }

	var found []string
	report := func(line int, format string, args ...any) {
		found = append(found, fmt.Sprintf("%s:%d: ", path, line)+fmt.Sprintf(format, args...))
	}
	unused := map[int]bool{} // lines of exceptions
	for _, group := range file.Comments {
		for _, c := range group.List {
			reason, ok := strings.CutPrefix(c.Text, "//float:")
			if !ok {
				continue
			}
			if strings.TrimSpace(reason) == "" {
				report(line(c.Pos()), "a float's exception needs a reason")
			}
			unused[line(c.Pos())] = true
		}
	}
	used := maps.Clone(unused)
	check := func(p token.Pos, what string) {
		l := line(p)
		for _, exception := range []int{l, l - 1} {
			if _, ok := used[exception]; ok {
				delete(unused, exception)
				return
			}
		}
		report(l, "%s: amounts and quantities are money.Decimal; if it is neither, say so with //float: and the reason", what)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			if floatType.MatchString(n.Name) {
				check(n.Pos(), n.Name)
			}
		case *ast.SelectorExpr:
			if floatMember.MatchString(n.Sel.Name) {
				check(n.Sel.Pos(), n.Sel.Name)
			}
		case *ast.BasicLit:
			if n.Kind == token.FLOAT || n.Kind == token.IMAG {
				check(n.Pos(), n.Value)
			}
		}
		return true
	})
	for _, l := range slices.Sorted(maps.Keys(unused)) {
		report(l, "no float here needs this exception")
	}
	return found, nil
}

func TestFloatsAreFound(t *testing.T) {
	t.Parallel()
	const source = `package p

type price float64

var (
	third = 1.0 / 3
	qty, _ = strconv.ParseFloat("0.1", 64)
	hours = period.Hours()
	took = float64(1) //float: a duration, for a histogram
	//float: a ratio for people to read
	share = 0.5
	//float:
	bare float32
	//float: of nothing
	whole = 1
)
`
	got, err := floats("p.go", source)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"p.go:12: a float's exception needs a reason",
		"p.go:3: float64:", "p.go:6: 1.0:", "p.go:7: ParseFloat:", "p.go:8: Hours:",
		"p.go:14: no float here needs this exception",
	}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
