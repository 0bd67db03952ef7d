package e2e

import (
	"encoding/csv"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ratebook/money"
)

// TestDemo has the demo print an address and a login that work, show costs, and leave nothing behind.
func TestDemo(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	db := sqliteAt(filepath.Join(folder, "unused.db"))
	db.env = []string{"TMPDIR=" + folder}
	s := db.serve(t, "demo")
	login, password := s.wait(t, `login +(\S+)`), s.wait(t, `password +(\S+)`)
	if url := s.wait(t, `open +(\S+)/\n`); url != s.url {
		t.Errorf("the demo listens at %s and says %s", s.url, url)
	}
	for _, path := range []string{"/costs", "/costs.csv", "/"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, http.NoBody)
		must(t, err)
		req.Header.Set("Accept", "text/html") // else / lists the versions of the API
		res, err := http.DefaultClient.Do(req)
		must(t, err)
		res.Body.Close()
		if res.StatusCode == http.StatusOK && res.Request.URL.Path != "/sign-in" {
			t.Errorf("%s without signing in: %s at %s", path, res.Status, res.Request.URL)
		}
	}
	c := s.client(t, login, password)
	totals := map[string]money.Decimal{}
	for _, group := range []string{"scope", "metric"} {
		res := s.get(t, c, "/costs.csv?range=last-30-days&group="+group)
		rows, err := csv.NewReader(res.Body).ReadAll()
		res.Body.Close()
		if err != nil || len(rows) < 5 {
			t.Fatalf("by %s: %s, %d rows, %v", group, res.Status, len(rows), err)
		}
		for _, row := range rows[1:] {
			cost, err := money.Parse(row[len(row)-2])
			must(t, err)
			totals[group] = totals[group].Add(cost)
		}
	}
	if !totals["scope"].Equal(totals["metric"]) || totals["scope"].Sign() <= 0 {
		t.Errorf("totals %v", totals)
	}
	s.stop(t)
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the demo ends with status %d:\n%s", code, s.said())
	}
	left, err := os.ReadDir(folder)
	must(t, err)
	for _, f := range left {
		if strings.HasPrefix(f.Name(), "ratebook") {
			t.Errorf("the demo leaves %s behind", f.Name())
		}
	}
}
