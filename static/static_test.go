package static

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestPathOpen(t *testing.T) {
	for name, mediaType := range map[string]string{
		"css/app.css":           "text/css; charset=utf-8",
		"js/app.js":             "text/javascript; charset=utf-8",
		"js/htmx-2.0.11.min.js": "text/javascript; charset=utf-8",
		"img/icon.svg":          "image/svg+xml",
	} {
		at := Path(name)
		if !regexp.MustCompile(`^/static/[0-9a-f]{16}/` + regexp.QuoteMeta(name) + `$`).MatchString(at) {
			t.Errorf("%s is at %s", name, at)
		}
		content, got, ok := Open(at)
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !ok || got != mediaType || !bytes.Equal(content, want) {
			t.Errorf("%s: found %v, %d bytes of %q; want %d of %q", at, ok, len(content), got, len(want), mediaType)
		}
	}
	for _, at := range []string{
		"", "/static/", "/static/css/app.css", "/static/0000000000000000/css/app.css", "/static/../static.go",
		strings.Replace(Path("css/app.css"), "css/app.css", "js/app.js", 1),
	} {
		if _, _, ok := Open(at); ok {
			t.Errorf("there is something at %q", at)
		}
	}
	for name := range byName {
		if _, mediaType, _ := Open(Path(name)); mediaType == "" {
			t.Errorf("%s has no media type", name)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a file that does not exist has a path")
		}
	}()
	Path("css/none.css")
}

// The files of others are what vendor.md says, and all of them are named there.
func TestVendored(t *testing.T) {
	list, err := os.ReadFile("vendor.md")
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]bool{"css/app.css": true, "js/app.js": true, "img/icon.svg": true}
	for name := range byName {
		if ours[name] {
			continue
		}
		content, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		line := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(name) + ` \|.*\| ` + hex.EncodeToString(sum[:]) + ` \|$`)
		if !line.Match(list) {
			t.Errorf("vendor.md does not name %s with its checksum %x", name, sum)
		}
	}
}

// What a first visit fetches besides the page.
func TestSize(t *testing.T) {
	var all bytes.Buffer
	for name, limit := range map[string]int{"css/app.css": 34_000, "js/app.js": 11_000, "js/htmx-2.0.11.min.js": 60_000, "img/icon.svg": 1_000} {
		content, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(content) > limit {
			t.Errorf("%s has %d bytes; it should stay below %d", name, len(content), limit)
		}
		w := gzip.NewWriter(&all)
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if all.Len() > 60_000 {
		t.Errorf("a first visit fetches %d compressed bytes besides the page; it should be less than 60,000", all.Len())
	}
	t.Logf("%d bytes compressed", all.Len())
}

// Text stands out from what is behind it by 4.5:1, edges of controls and the colours of charts by 3:1 (WCAG 2.2, AA).
func TestContrast(t *testing.T) {
	css, err := files.ReadFile("css/app.css")
	if err != nil {
		t.Fatal(err)
	}
	token := regexp.MustCompile(`--([a-z0-9-]+): light-dark\((#[0-9a-f]+), (#[0-9a-f]+)\)`)
	tokens := map[string][2]float64{}
	for _, m := range token.FindAllStringSubmatch(string(css), -1) {
		tokens[m[1]] = [2]float64{luminance(t, m[2]), luminance(t, m[3])}
	}
	type pair struct {
		front, back string
		atLeast     float64
	}
	var pairs []pair
	add := func(atLeast float64, back string, front ...string) {
		for _, f := range front {
			pairs = append(pairs, pair{f, back, atLeast})
		}
	}
	for _, back := range []string{"bg", "bg-low", "bg-high"} {
		add(4.5, back, "text", "text-low", "accent", "accent-high")
	}
	add(4.5, "accent", "on-accent")
	add(4.5, "accent-high", "on-accent")
	add(4.5, "accent-bg", "accent")
	add(4.5, "bg", "ok", "warning", "failed")
	add(4.5, "bg-low", "ok", "warning", "failed")
	add(4.5, "ok-bg", "ok", "text")
	add(4.5, "warning-bg", "warning", "text", "accent")
	add(4.5, "failed-bg", "failed", "text")
	add(3, "bg", "line-strong", "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8")
	for _, p := range pairs {
		front, ok := tokens[p.front]
		back, ok2 := tokens[p.back]
		if !ok || !ok2 {
			t.Fatalf("there is no colour %s or %s", p.front, p.back)
		}
		for i, theme := range []string{"light", "dark"} {
			high, low := max(front[i], back[i]), min(front[i], back[i])
			if got := (high + 0.05) / (low + 0.05); got < p.atLeast {
				t.Errorf("%s: %s on %s has a contrast of %.2f; it needs %.1f", theme, p.front, p.back, got, p.atLeast)
			}
		}
	}
}

// luminance is the relative luminance of a colour, as WCAG defines it.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	hex = strings.TrimPrefix(hex, "#")
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	var sum float64
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

// What is served keeps to the content security policy: nothing from elsewhere, nothing evaluated.
func TestPolicy(t *testing.T) {
	css, err := files.ReadFile("css/app.css")
	if err != nil {
		t.Fatal(err)
	}
	js, err := files.ReadFile("js/app.js")
	if err != nil {
		t.Fatal(err)
	}
	for text, file := range map[string][]byte{
		"url(": css, "@import": css, "eval(": js, "new Function": js, "innerHTML": js, "setAttribute(\"style\"": js, "http": js, "localStorage": js,
	} {
		if bytes.Contains(file, []byte(text)) {
			t.Errorf("%q is in a file that should do without", text)
		}
	}
}
