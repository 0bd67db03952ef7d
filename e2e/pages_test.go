package e2e

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// demo returns a running demo with an account that may do everything. Tests that change something start their own.
func demo(t testing.TB) (s *site, login, password string) {
	t.Helper()
	s = sqliteAt(filepath.Join(t.TempDir(), "unused.db")).serve(t, "demo")
	return s, s.wait(t, `login +(\S+)`), s.wait(t, `password +(\S+)`)
}

// signIn signs a visitor in, from wherever that is.
func (v *visitor) signIn(login, password string) {
	v.t.Helper()
	v.open("/sign-in")
	v.fill("#login", login)
	v.fill("#password", password)
	v.click("main form button")
	if v.where() != "/" {
		v.t.Fatalf("signing in leads to %s: %s", v.where(), v.text("main"))
	}
}

// longName is as long as a name may be, in one word.
var longName = strings.Repeat("nightrate", 8)[:64]

// pagesOfDemo are all pages that one can look at without changing anything.
var pagesOfDemo = map[string]string{
	"overview":         "/",
	"costs":            "/costs",
	"costs-attribute":  "/costs?bucket=week&group=flavor&group=metric&range=last-30-days",
	"costs-hours":      "/costs?bucket=hour&group=metric&range=last-7-days",
	"costs-filtered":   "/costs?filter=metric%3Dcpu&group=flavor",
	"costs-empty":      "/costs?from=2020-01-01&to=2020-01-31",
	"costs-wrong":      "/costs?from=nonsense&to=2020-01-31",
	"costs-values":     "/costs/values?fkey=flavor",
	"scopes":           "/scopes",
	"scope":            "/scopes/1",
	"metrics":          "/metrics",
	"metric":           "",
	"pricing":          "/pricing",
	"price-new":        "/pricing/rules/new",
	"price":            "",
	"price-change":     "",
	"price-delete":     "",
	"pricing-changes":  "/pricing/changes",
	"api":              "/api",
	"scripts":          "/pricing/scripts",
	"script-new":       "/pricing/scripts/new",
	"script":           "",
	"script-edit":      "",
	"script-end":       "",
	"processing":       "/processing",
	"coverage":         "/processing/coverage",
	"coverage-year":    "/processing/coverage?zoom=year",
	"coverage-quarter": "/processing/coverage?zoom=quarter",
	"coverage-day":     "/processing/coverage?zoom=day",
	"coverage-none":    "/processing/coverage?q=nobody",
	"window":           "",
	"tasks":            "/processing/tasks",
	"tasks-none":       "/processing/tasks?state=cancelled",
	"task-new":         "/processing/tasks/new",
	"task-new-filled":  "/processing/tasks/new?kind=re-rate&scope=genomics&range=this-month",
	"task-previewed":   "",
	"task-finished":    "",
	"findings":         "/processing/findings",
	"findings-days":    "/processing/findings?range=last-30-days",
	"findings-wrong":   "/processing/findings?from=nonsense",
	"settings":         "/settings",
	"settings-changes": "/settings/changes",
	"tokens":           "/settings/tokens",
	"password":         "/settings/password",
	"search":           "/search?q=g",
	"not-found":        "/nothing/here",
	"gallery":          "/dev/views",
}

// withTasks changes two prices of the last days, and has one of them re-rated and the other looked at in a dry run. It returns
// the paths of both tasks.
func (s *site) withTasks(t *testing.T, login, password string) (paths map[string]string) {
	t.Helper()
	paths = map[string]string{}
	v := visit(t, s.url, look{})
	v.signIn(login, password)
	for _, task := range []struct{ page, metric, cost, button, state string }{
		{"task-finished", "volume", "0.0009", `button[name="now"]`, "finished"},
		{"task-previewed", "gpu", "1.75", "button.primary", "waits to be started"},
	} {
		v.changePrice(task.metric, task.cost, time.Now().UTC().AddDate(0, 0, -4))
		v.open("/processing/tasks/new?kind=re-rate&range=this-month")
		v.fill("#reason", "The price of "+task.metric+" was put in too late.")
		v.click("#task-form " + task.button)
		paths[task.page] = v.where()
		v.says("#task .badge", task.state)
	}
	v.open("/pricing/scripts/new")
	v.fill("#name", longName)
	v.fill("#data", "for points in data['usage'].values():\n    for point in points:\n        point['rating']['price'] *= decimal('0.5')\n")
	v.click("main form button.primary")
	paths["script"] = v.where()
	paths["script-edit"], paths["script-end"] = paths["script"]+"/edit", paths["script"]+"/end"
	return paths
}

// changePrice gives the first rule of a metric another cost from a day on.
func (v *visitor) changePrice(metric, cost string, from time.Time) {
	v.t.Helper()
	v.open("/pricing?metric=" + metric)
	v.click(`main table a[href^="/pricing/rules/"]:not([href*="/new"]):not([href$="/change"])`)
	v.click(`main a.primary[href$="/change"]`)
	v.fill("#cost", cost)
	v.fill("#start", from.Format(time.DateOnly)+"T00:00")
	v.click("main form button.primary")
	v.says("#flash", cost)
}

// TestPages opens every page at 1280 and 390 px, light and dark: the browser has nothing to complain about, neither has the
// accessibility checker, and nothing is wider than the window.
func TestPages(t *testing.T) {
	t.Parallel()
	s, login, password := demo(t)
	t.Run("looks", func(t *testing.T) {
		paths := s.withTasks(t, login, password)
		for _, width := range []int64{1280, 390} {
			for _, dark := range []bool{false, true} {
				name := fmt.Sprintf("%d-%s", width, map[bool]string{false: "light", true: "dark"}[dark])
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					v := visit(t, s.url, look{Width: width, Dark: dark})
					v.open("/sign-in")
					v.keep("sign-in")
					v.accessible()
					v.signIn(login, password)
					v.expect("422")
					v.expect("404")
					v.open("/pricing")
					rule := v.attribute(`main a[href^="/pricing/rules/"]:not([href*="/new"]):not([href$="/change"])`, "href")
					v.open("/metrics")
					metric := v.attribute(`main a[href^="/metrics/"]`, "href")
					v.open("/processing/coverage?zoom=day")
					own := map[string]string{
						"metric": metric, "price": rule, "price-change": rule + "/change", "price-delete": rule + "/delete",
						"window": v.attribute(".map td a", "href"),
					}
					check := func(page string) {
						t.Helper()
						v.keep(page)
						if dark == (width < 1280) { // each of both once is enough
							v.accessible()
						}
						if wide := do(v, "measure", chromedp.Evaluate[int]("document.documentElement.scrollWidth - innerWidth")); wide > 0 {
							t.Errorf("%s, at %s, is %d px wider than a window of %d px", page, v.where(), wide, width)
						}
					}
					v.open("/settings/tokens")
					v.fill("#name", longName)
					v.click("main form button.primary")
					check("token-made")
					token := strings.Fields(v.text("#made-heading"))[2] // The token 4 ...
					v.open("/settings/tokens/" + token + "/revoke")
					check("token-revoke")
					v.click("main form button.danger")
					check("token-revoked")
					for page, path := range pagesOfDemo {
						if path == "" {
							path = cmp.Or(own[page], paths[page])
						}
						v.open(path)
						check(page)
					}
				})
			}
		}
	})
	t.Run("weight", func(t *testing.T) {
		c := s.client(t, login, password)
		res := s.get(t, c, "/costs")
		page, err := io.ReadAll(res.Body)
		res.Body.Close()
		must(t, err)
		sum := s.weight(t, c, "/costs")
		files := regexp.MustCompile(`(?:href|src)="(/static/[^"]+)"`).FindAllStringSubmatch(string(page), -1)
		if len(files) < 3 {
			t.Fatalf("only %q in\n%s", files, page)
		}
		for _, f := range files {
			n := s.weight(t, c, f[1])
			t.Logf("%6d bytes %s", n, f[1])
			sum += n
		}
		if sum > 200_000 {
			t.Errorf("a first visit loads %d bytes, compressed", sum)
		}
	})
}

// weight returns how many bytes an answer has on the wire.
func (s *site) weight(t testing.TB, c *http.Client, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, http.NoBody)
	must(t, err)
	req.Header.Set("Accept-Encoding", "gzip") // ours, so that the client leaves it as it comes
	req.Header.Set("Accept", "text/html")
	res, err := c.Do(req)
	must(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	must(t, err)
	if res.StatusCode != http.StatusOK || !strings.Contains(res.Header.Get("Content-Encoding"), "gzip") {
		t.Errorf("%s: %s, %q", path, res.Status, res.Header.Get("Content-Encoding"))
	}
	return len(b)
}
