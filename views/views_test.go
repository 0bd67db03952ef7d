package views

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The linter that says who may import whom passes over generated files, and so over what templates import.
func TestImports(t *testing.T) {
	ours := []string{
		"ratebook/views", "ratebook/static", "ratebook/access", "ratebook/metering", "ratebook/rating", "ratebook/costs", "ratebook/rollup",
		"ratebook/fault", "ratebook/money", "ratebook/period",
	}
	files := 0
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_templ.go") {
			return err
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range file.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			allowed := slices.ContainsFunc(ours, func(p string) bool { return name == p || strings.HasPrefix(name, p+"/") })
			first, _, _ := strings.Cut(name, "/")
			library := !strings.Contains(first, ".") && first != "ratebook" && name != "net/http" && name != "database/sql"
			if !allowed && !library && !strings.HasPrefix(name, "github.com/a-h/templ") {
				t.Errorf("%s imports %s; a view is a function of its arguments", path, name)
			}
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Fatalf("%d templates: %v", files, err)
	}
}
