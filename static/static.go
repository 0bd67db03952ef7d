// Package static holds what browsers fetch besides pages: style sheet, scripts and icons. Each is served below a hash of
// its content, so it may be cached for ever.
package static

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed css js img
var files embed.FS

// Prefix is where the files are served.
const Prefix = "/static/"

var byName, byPath = hash()

func hash() (byName, byPath map[string]string) {
	byName, byPath = map[string]string{}, map[string]string{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		at := Prefix + hex.EncodeToString(sum[:8]) + "/" + name
		byName[name], byPath[at] = at, name
		return nil
	})
	if err != nil {
		panic(err) // the files are part of the program
	}
	return byName, byPath
}

// Path returns the path of a file, such as /static/HASH/css/app.css. It panics if there is none of that name.
func Path(name string) string {
	at, ok := byName[name]
	if !ok {
		panic(fmt.Sprintf("static: no file %q", name))
	}
	return at
}

// Open returns the content of the file at a path that Path returned, and its media type.
func Open(at string) (content []byte, mediaType string, ok bool) {
	name, ok := byPath[at]
	if !ok {
		return nil, "", false
	}
	content, err := files.ReadFile(name)
	if err != nil {
		return nil, "", false
	}
	return content, mediaTypes[strings.ToLower(path.Ext(name))], true
}

// mediaTypes are ours, not the machine's.
var mediaTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
	".png": "image/png",
	".ico": "image/x-icon",
}
