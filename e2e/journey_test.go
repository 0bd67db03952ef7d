package e2e

import (
	"encoding/csv"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"ratebook/e2e/testserver"
	"ratebook/money"
)

// withAndWithoutScript runs a journey in two browsers of their own: one with JavaScript, one without.
func withAndWithoutScript(t *testing.T, journey func(t *testing.T, l look)) {
	t.Run("script", func(t *testing.T) { t.Parallel(); journey(t, look{}) })
	t.Run("no script", func(t *testing.T) { t.Parallel(); journey(t, look{NoScript: true}) })
}

// TestFirstRun goes from an empty database to the first costs: the set-up link, the first administrator, what is missing,
// a price, and what it makes of the usage of a real Prometheus, stored in a real PostgreSQL.
func TestFirstRun(t *testing.T) {
	t.Parallel()
	begin := time.Now().UTC().Truncate(time.Hour).Add(-6 * time.Hour)
	series := func(name string) testserver.Series {
		return testserver.Series{
			Name: name, Labels: map[string]string{"namespace": "genomics", "pod": "worker-0"},
			Samples: testserver.Every(5*time.Minute, begin.Add(time.Minute), 6*12, "2"),
		}
	}
	source := testserver.Prometheus(t, testserver.OpenMetrics(series("container_cpu"), series("container_ram")))
	metrics := write(t, "metrics.yml", "metrics:\n  container_cpu: {unit: vcpu, alt_name: cpu, groupby: [pod]}\n  container_ram: {unit: GiB, alt_name: ram, groupby: [pod]}\n")
	withAndWithoutScript(t, func(t *testing.T, l look) {
		db := kinds["postgres"](t)
		db.run(t, "migrate", "up")
		s := db.serve(t, "serve", "--scope-key", "namespace", "--metrics-file", metrics, "--start", begin.Format(time.RFC3339))
		link := s.wait(t, `(http://\S+/set-up\?token=\S+)`)

		v := visit(t, s.url, l)
		v.open("/")
		if v.where() != "/sign-in" && !strings.HasPrefix(v.where(), "/sign-in?") {
			t.Fatalf("a stranger is led to %s", v.where())
		}
		v.says("main", "set-up link")
		v.expect("404")
		v.open("/set-up?token=guessed")
		v.says("main", "valid")
		v.open(link)
		v.fill("#login", "ada")
		v.fill("#password", "too short")
		v.fill("#repeat", "too short")
		v.expect("422")
		if status := v.click("main form button"); status != http.StatusUnprocessableEntity {
			t.Errorf("a short password is answered with %d", status)
		}
		v.says("main", "10 to 1024")
		v.keep("short-password")
		v.fill("#password", "correct horse battery")
		v.fill("#repeat", "correct horse battery")
		v.click("main form button")
		if v.where() != "/" {
			t.Fatalf("the first administrator is led to %s", v.where())
		}
		v.keep("first-overview")
		v.accessible()
		v.open(link)
		v.says("main", "used")

		// a price, before anything is collected
		v.open("/")
		v.click(`main a[href^="/pricing/rules/new"]`)
		v.fill("#service", "cpu")
		v.fill("#cost", "0.25")
		v.fill("#start", "")
		v.click("main form button.primary")
		v.says("main", "0.25 EUR per vcpu")
		v.keep("first-price")
		s.stop(t)

		// the source, and with it the first costs; the session goes on
		s = db.serve(t, "serve", "--scope-key", "namespace", "--start", begin.Format(time.RFC3339), "--prometheus-url", source.URL)
		v.url = s.url
		eventually(t, "usage without a price", func() bool {
			v.open("/pricing")
			return strings.Contains(v.text("main"), "Set a price")
		})
		v.keep("unpriced")
		today := "/costs?begin=" + begin.Format(time.RFC3339) + "&end=" + begin.Add(3*time.Hour).Format(time.RFC3339)
		eventually(t, "the first costs", func() bool {
			v.open(today)
			return v.count("#report tr.total") > 0 && v.total() == "1.5" // 2 vcpu for three hours
		})
		v.says("main", "genomics")
		v.keep("first-costs")
		v.accessible()
		db.run(t, "rollups", "verify")
	})
}

// TestQuestions asks for costs: grouped, filtered, by bucket; goes back and forward, and hands the address on.
func TestQuestions(t *testing.T) {
	t.Parallel()
	s, login, password := demo(t)
	withAndWithoutScript(t, func(t *testing.T, l look) {
		v := visit(t, s.url, l)
		v.signIn(login, password)
		v.click(`nav a[href="/costs"]`)
		whole := v.total()

		ask := func(selector, value string) {
			t.Helper()
			if l.NoScript {
				v.fill(selector, value)
				v.click(`form[aria-label="Question"] button`)
			} else {
				v.fill(selector, value) // the page hears of it
			}
		}
		arrives := func(part string) {
			t.Helper()
			eventually(t, "the address has "+part, func() bool { return strings.Contains(v.where(), part) })
		}
		ask("#group", "metric")
		arrives("group=metric")
		v.says("#report > .table-wrap caption", "by metric")
		if got := v.total(); got != whole {
			t.Errorf("by metric it is %s in all, by scope %s", got, whole)
		}
		ask("#bucket", "week")
		arrives("bucket=week")
		v.says("#report > .table-wrap thead", "By week")
		if got := v.total(); got != whole {
			t.Errorf("by week it is %s in all, not %s", got, whole)
		}
		byMetric := v.where()

		// the first row leads on to itself alone
		first := v.text("#report > .table-wrap tbody tr:not(.total) a")
		amount := v.attribute("#report > .table-wrap tbody tr:not(.total) data.amount", "value")
		v.click("#report > .table-wrap tbody tr:not(.total) a")
		arrives("filter=")
		v.says("#report", first)
		if got := v.total(); got != amount {
			t.Errorf("%s costs %s in a row and %s by itself", first, amount, got)
		}
		filtered := v.where()
		v.keep("filtered")

		v.backTo(byMetric)
		v.says("#report > .table-wrap caption", "by metric")
		if got := v.total(); got != whole {
			t.Errorf("back there it is %s in all, not %s", got, whole)
		}
		v.forwardTo(filtered)
		v.says("#report", first)
		if got := v.total(); got != amount {
			t.Errorf("forward again it is %s, not %s", got, amount)
		}

		// somebody else opens the address, and is led there by the sign-in
		other := visit(t, s.url, look{NoScript: l.NoScript, Width: 390})
		other.open(filtered)
		other.fill("#login", login)
		other.fill("#password", password)
		other.click("main form button")
		if other.where() != filtered || other.total() != amount {
			t.Errorf("the shared address shows %s with %s instead of %s with %s", other.where(), other.total(), filtered, amount)
		}
	})
}

// total returns the exact total of the cost report that is open.
func (v *visitor) total() string {
	v.t.Helper()
	return v.attribute("#report > .table-wrap tr.total data.amount", "value")
}

// TestExport holds the files against the page, to the last digit.
func TestExport(t *testing.T) {
	t.Parallel()
	s, login, password := demo(t)
	v := visit(t, s.url, look{})
	v.signIn(login, password)
	jar, err := cookiejar.New(nil)
	must(t, err)
	site, err := url.Parse(s.url)
	must(t, err)
	jar.SetCookies(site, v.cookies())
	c := &http.Client{Jar: jar}
	for _, question := range []string{"/costs?range=last-month", "/costs?range=last-30-days&group=metric&group=region", "/costs?range=last-30-days&group=flavor&filter=metric%3Dinstance"} {
		v.open(question)
		want := v.total()
		v.press("#report details.menu summary")
		for i := range v.count(`#report details.menu a[href^="/costs.csv"]`) {
			link := v.attribute(`#report details.menu a[href^="/costs.csv"]:nth-of-type(`+string(rune('1'+i))+`)`, "href")
			res := s.get(t, c, link)
			if d := res.Header.Get("Content-Disposition"); !strings.HasPrefix(d, `attachment; filename=`) || !strings.Contains(d, ".csv") {
				t.Errorf("%s is sent as %q", link, d)
			}
			if got := sumCSV(t, res.Body); got != want {
				t.Errorf("%s adds up to %s, %s to %s", question, want, link, got)
			}
			res.Body.Close()
		}
	}
}

// sumCSV adds up the costs of a report.
func sumCSV(t testing.TB, r io.Reader) string {
	t.Helper()
	rows, err := csv.NewReader(r).ReadAll()
	must(t, err)
	var sum money.Decimal
	for _, row := range rows[1:] {
		cost, err := money.Parse(row[len(row)-2])
		must(t, err)
		sum = sum.Add(cost)
	}
	return sum.String()
}

// TestChangePrice changes a price from tomorrow on: what is charged stays, what comes is announced, and the trail says who.
func TestChangePrice(t *testing.T) {
	t.Parallel()
	withAndWithoutScript(t, func(t *testing.T, l look) {
		s, login, password := demo(t)
		v := visit(t, s.url, l)
		v.signIn(login, password)
		v.open("/costs?range=last-month")
		before := v.total()
		v.open("/pricing?metric=volume")
		v.click(`main table a[href^="/pricing/rules/"]:not([href*="/new"]):not([href$="/change"])`)
		rule := v.where()
		v.click(`main a.primary[href$="/change"]`)
		tomorrow := time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly) + "T00:00"
		if got := v.attribute("#start", "value"); got != tomorrow {
			t.Errorf("a new price is offered from %s on, not %s", got, tomorrow)
		}

		v.expect("422")
		v.fill("#cost", "a lot")
		if status := v.click("main form button.primary"); status != http.StatusUnprocessableEntity {
			t.Errorf("a cost that is no number is answered with %d", status)
		}
		v.says("main form", "a lot")
		if v.attribute("#cost", "aria-invalid") != "true" {
			t.Error("the field is not marked as wrong")
		}
		v.keep("wrong")
		v.accessible()
		v.fill("#cost", "0.987654321")
		v.click("main form button.primary")
		v.says("#flash", "0.987654321")
		v.says("main", "0.987654321")
		v.keep("changed")
		v.accessible()

		v.open(rule)
		v.says("main", "0.987654321") // the old rule names its successor
		v.open("/costs?range=last-month")
		if got := v.total(); got != before {
			t.Errorf("last month cost %s, and %s once a price of tomorrow has changed", before, got)
		}
		v.open("/pricing/changes")
		v.says("main", "0.987654321")
		v.says("main", login)
	})
}

// TestKeyboard uses the pages without a mouse.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	s, login, password := demo(t)
	v := visit(t, s.url, look{})
	v.signIn(login, password)
	v.shortcut("/")
	v.keys("genomics\r")
	v.says("main h1", "Search")
	v.says("main", "Genomics")
	v.open("/costs")
	v.shortcut("?")
	v.says("dialog[open]", "search")
	v.keys("\x1b")
	if v.count("dialog[open]") != 0 {
		t.Error("Esc does not close the list of keys")
	}
}
