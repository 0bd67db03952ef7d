package app

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"ratebook/handlers/api/openapi"
	"ratebook/handlers/api/openapi/openapitest"
)

// TestDescribed asks a program whatever its description says can be asked with GET, with the examples in it, with a token
// and without. Each answer must be one that is described.
func TestDescribed(t *testing.T) {
	t.Parallel()
	database := "sqlite://" + t.TempDir() + "/ratebook.db"
	s := serve(t, database)
	var secret, said output
	if status := Main(t.Context(), []string{"user", "token", "add", "test", "--role", "admin", "--database-url", database},
		Streams{In: strings.NewReader(""), Out: &secret, Err: &said}); status != 0 {
		t.Fatal(said.String())
	}
	token := "X-Auth-Token: " + strings.TrimSpace(secret.String())

	d, err := openapi.Load()
	if err != nil {
		t.Fatal(err)
	}
	answered := 0
	for _, o := range d.Operations {
		if o.Method != http.MethodGet {
			continue
		}
		path, query := o.Path, url.Values{}
		for _, p := range o.Parameters {
			switch example := p.Example.Value; {
			case example == "":
			case p.In == "path":
				path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(example))
			case p.In == "query":
				query.Set(p.Name, example)
			}
		}
		if len(query) > 0 {
			path += "?" + query.Encode()
		}
		for _, header := range []string{token, ""} {
			status, body, head := s.ask(o.Method, s.url+path, header)
			if err := openapitest.Validate(o.Method, path, status, head.Get("Content-Type"), []byte(body)); err != nil {
				t.Errorf("GET %s: %d is not as described: %v\n%s", path, status, err, body)
			}
			if refused := status == http.StatusUnauthorized; refused != (header == "" && o.Role != "none") {
				t.Errorf("GET %s with the header %q: %d", path, header, status)
			}
			if status == http.StatusOK {
				answered++
			}
		}
	}
	if answered < 20 {
		t.Errorf("only %d answers are not errors", answered)
	}
}
