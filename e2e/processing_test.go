package e2e

import (
	"encoding/csv"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"ratebook/e2e/testserver"
	"ratebook/money"
)

// becomes waits until the page says something: with JavaScript by itself, without by loading it again.
func (v *visitor) becomes(selector, text string) {
	v.t.Helper()
	at := v.where()
	eventually(v.t, fmt.Sprintf("%s becomes %q", selector, text), func() bool {
		if strings.Contains(v.text(selector), text) {
			return true
		}
		if v.noScript {
			v.open(at)
		}
		return false
	})
}

// mark marks the page that is open, so that one can tell whether it is still the same.
func (v *visitor) mark() {
	v.t.Helper()
	if !v.noScript {
		do(v, "mark the page", chromedp.Evaluate[bool]("document.body.dataset.marked = 'yes'; true"))
	}
}

// unmoved fails unless the page is the one that was marked, without a reload.
func (v *visitor) unmoved() {
	v.t.Helper()
	if !v.noScript && v.count("body[data-marked=yes]") != 1 {
		v.t.Errorf("%s was loaded again", v.where())
	}
}

// besides returns a client that asks as the visitor would.
func (v *visitor) besides() *http.Client {
	v.t.Helper()
	jar, err := cookiejar.New(nil)
	must(v.t, err)
	site, err := url.Parse(v.url)
	must(v.t, err)
	jar.SetCookies(site, v.cookies())
	return &http.Client{Jar: jar}
}

func decimal(t testing.TB, text string) money.Decimal {
	t.Helper()
	d, err := money.Parse(text)
	must(t, err)
	return d
}

// TestRerate changes a price of days that are charged already, looks at what that comes to in a dry run, and has the days
// charged again: the difference is what was foreseen, in the task, in its file, and in the costs.
func TestRerate(t *testing.T) {
	t.Parallel()
	withAndWithoutScript(t, func(t *testing.T, l look) {
		s, login, password := demo(t)
		v := visit(t, s.url, l)
		v.signIn(login, password)
		today := time.Now().UTC().Truncate(24 * time.Hour)
		begin, end := today.AddDate(0, 0, -4), today.AddDate(0, 0, -1)
		costs := fmt.Sprintf("/costs?from=%s&to=%s", begin.Format(time.DateOnly), end.AddDate(0, 0, -1).Format(time.DateOnly))
		v.open(costs)
		before := decimal(t, v.total())
		v.changePrice("gpu", "1.75", begin)
		v.open(costs)
		if got := v.total(); got != before.String() {
			t.Fatalf("charges of %s have become %s without a task", before, got)
		}

		v.open("/processing/tasks")
		v.says("main", "There is no task yet")
		v.click(`.heading a.primary[href="/processing/tasks/new"]`)
		v.expect("422")
		v.press(`[name="kind"][value="re-rate"]`)
		if status := v.click("#task-form button.primary"); status != http.StatusUnprocessableEntity {
			t.Errorf("a form without windows and reason is answered with %d", status)
		}
		v.says("#task-form", "Say when the first window begins")
		v.says("#task-form", "Say why, for those who look later.")
		v.keep("wrong")
		v.accessible()
		v.fill("#begin", begin.Format("2006-01-02T15:04"))
		v.fill("#end", end.Format("2006-01-02T15:04"))
		v.fill("#reason", "The new contract was put in too late.")
		if !l.NoScript {
			v.says("#task-touch", "up to 864") // 12 scopes for three days
			v.says("#task-touch", "Look at them")
		}
		v.keep("filled")
		v.accessible()
		v.click("#task-form button.primary")
		task := v.where()
		v.mark()
		v.says("main h1", "Re-rate of all 12 scopes")
		v.becomes("#task .badge", "waits to be started")
		v.unmoved()
		v.says("#task", "The new contract was put in too late.")
		v.says("#task", "The dry run is complete. Nothing has changed")
		const sums = "#task section .table.short tbody tr"
		foreseen := decimal(t, v.attribute(sums+" td data", "value"))
		if foreseen.Sign() <= 0 {
			t.Fatalf("a dearer price makes a difference of %s", foreseen)
		}
		if got := decimal(t, v.attribute("#task .total data", "value")); !got.Equal(foreseen) {
			t.Errorf("the lines come to %s, their sum is %s", got, foreseen)
		}
		v.keep("dry-run")
		v.accessible()
		v.open(costs)
		if got := v.total(); got != before.String() {
			t.Fatalf("a dry run made %s of %s", got, before)
		}

		v.open(task)
		v.click("#task-start")
		v.says("#flash", "started")
		v.mark()
		v.keep("running")
		v.becomes("#task .badge", "finished")
		v.unmoved()
		v.says("#task", "Done again: 864 windows.")
		for i, row := range []string{"The dry run foresaw", "It has changed"} {
			tr := fmt.Sprintf("%s:nth-child(%d)", sums, i+1)
			if name, got := v.text(tr+" th"), decimal(t, v.attribute(tr+" td data", "value")); name != row || !got.Equal(foreseen) {
				t.Errorf("%s: %s; it should be %s: %s", name, got, row, foreseen)
			}
		}
		v.keep("finished")
		v.accessible()
		v.open(costs)
		if got := decimal(t, v.total()); !got.Equal(before.Add(foreseen)) {
			t.Errorf("costs were %s, and %s after a difference of %s", before, got, foreseen)
		}
		res := s.get(t, v.besides(), task+"/differences.csv?of=done")
		defer res.Body.Close()
		if got := differenceOf(t, res.Body); !got.Equal(foreseen) {
			t.Errorf("the file comes to %s", got)
		}

		// a window says what was charged before, and by which task it was done again
		v.open("/processing/coverage?zoom=day&q=Machine&at=" + begin.Format(time.DateOnly))
		v.click(".map td a.redone")
		v.says("main .facts", "task 1")
		for range 24 { // only windows with GPUs have changed
			if v.count("#superseded-heading") > 0 {
				break
			}
			v.click(`main a[rel="next"]`)
		}
		old := v.attribute(`section[aria-labelledby="superseded-heading"] td data`, "value")
		now := v.attribute(`section[aria-labelledby="charges-heading"] .total data.amount`, "value")
		if decimal(t, old).Cmp(decimal(t, now)) >= 0 {
			t.Errorf("%s: %s was replaced by %s", v.where(), old, now)
		}
		v.says(`section[aria-labelledby="superseded-heading"] tbody`, "task 1")
		v.keep("redone-window")
		v.accessible()
	})
}

// differenceOf adds up a file of differences.
func differenceOf(t testing.TB, r io.Reader) (sum money.Decimal) {
	t.Helper()
	rows, err := csv.NewReader(r).ReadAll()
	must(t, err)
	column := slices.Index(rows[0], "difference")
	if column < 0 || len(rows) < 2 {
		t.Fatalf("a file of %d rows headed %q", len(rows), rows[0])
	}
	for _, row := range rows[1:] {
		sum = sum.Add(decimal(t, row[column]))
	}
	return sum
}

// TestRunJob runs a job before its time.
func TestRunJob(t *testing.T) {
	t.Parallel()
	s, login, password := demo(t)
	withAndWithoutScript(t, func(t *testing.T, l look) {
		v := visit(t, s.url, l)
		v.signIn(login, password)
		v.open("/processing")
		v.says("#processing", "All 12 scopes are up to date.")
		const job = "drop old charges" // once a day
		const row = `#processing tr:has(button[aria-label="Run now: ` + job + `"])`
		v.becomes(row, "done")
		ran := func() time.Time {
			at, err := time.Parse(time.RFC3339, v.attribute(row+" time", "datetime"))
			must(t, err)
			return at
		}
		before := ran()
		eventually(t, "the clock goes on", func() bool { return time.Now().After(before.Add(time.Second)) })
		v.click(`button[aria-label="Run now: ` + job + `"]`)
		v.says("#flash", `The job "`+job+`" runs now.`)
		v.mark()
		eventually(t, "the job has run", func() bool {
			if l.NoScript {
				v.open("/processing")
			}
			return ran().After(before) && strings.Contains(v.text(row), "done")
		})
		v.unmoved()
		v.keep("ran")
	})
}

// TestMendFinding goes from usage that no rule prices to its price, and has it charged.
func TestMendFinding(t *testing.T) {
	t.Parallel()
	withAndWithoutScript(t, func(t *testing.T, l look) {
		s, login, password := demo(t)
		v := visit(t, s.url, l)
		v.signIn(login, password)
		const findings = "/processing/findings?kind=unpriced&range=last-30-days"
		v.open(findings)
		const row = `#findings tr[id^="finding-"]`
		if n := v.count(row); n != 1 {
			t.Fatalf("%d findings; the demo has one: %s", n, v.text("#findings"))
		}
		v.says(row, "flavor = x1.preview")
		points := v.text(row + " td.number")
		const price = "0.25"
		want := decimal(t, strings.ReplaceAll(points, ",", "")).Mul(decimal(t, price))
		first, last := v.attribute(row+" td:nth-child(6) time", "datetime"), v.attribute(row+" td:nth-child(7) time", "datetime")

		// the scopes it is about
		ask := url.Values{"kind": {"re-rate"}}
		if l.NoScript {
			v.click(row + ` a[aria-expanded="false"]`)
		} else {
			v.press(row + ` a[aria-expanded="false"]`)
		}
		v.says("#findings", "Machine Learning Lab")
		v.says("#findings", "Student Projects")
		for i := range 2 {
			ask.Add("scope", v.attribute(fmt.Sprintf("#findings tbody tr:nth-child(%d) td a", 3+i), "title"))
		}
		v.keep("opened")
		v.accessible()

		v.click(row + ` a[href^="/pricing/rules/new"]`)
		for field, value := range map[string]string{"#service": "instance", "#field": "flavor", "#value": "x1.preview"} {
			if got := v.read(field, "value"); got != value {
				t.Errorf("%s is filled in with %q, not %q", field, got, value)
			}
		}
		v.fill("#cost", price)
		v.fill("#start", "")
		v.click("main form button.primary")
		v.says("#flash", "0.25 EUR per instance")
		v.open(findings)
		v.says(row, "x1.preview") // until it is charged again

		begin, err := time.Parse(time.RFC3339, first)
		must(t, err)
		end, err := time.Parse(time.RFC3339, last)
		must(t, err)
		ask.Set("begin", begin.Format("2006-01-02T15:04"))
		ask.Set("end", end.AddDate(0, 0, 1).Format("2006-01-02T15:04")) // the list has days
		v.open("/processing/tasks/new?" + ask.Encode())
		v.says("#task-touch", "2")
		v.fill("#reason", "x1.preview had no price.")
		v.click(`#task-form button[name="now"]`)
		v.says("main h1", "Re-rate of ")
		v.mark()
		v.becomes("#task .badge", "finished")
		v.unmoved()
		if got := decimal(t, v.attribute("#task .total data", "value")); !got.Equal(want) {
			t.Errorf("%s points for %s make a difference of %s, not %s", points, price, got, want)
		}
		v.open(findings)
		v.says("#findings", "Nothing of this kind was noticed")
		v.keep("gone")
		v.accessible()
		v.open("/costs?range=last-30-days&filter=flavor%3Dx1.preview")
		if got := decimal(t, v.total()); !got.Equal(want) {
			t.Errorf("x1.preview costs %s, not %s", got, want)
		}
	})
}

// TestLostHours has a source that lost two hours of a metric. An operator finds them on the map, gives one window up, takes that
// back, and has all tried again when the source has its samples again.
func TestLostHours(t *testing.T) {
	t.Parallel()
	const hours = 12
	begin := time.Now().UTC().Truncate(time.Hour).Add(-hours * time.Hour)
	w := small(begin, hours)
	from := begin.Add(4 * time.Hour)
	for from.Day() != from.Add(time.Hour).Day() || from.Day() != from.Add(-time.Hour).Day() {
		from = from.Add(time.Hour) // on one page of the map
	}
	to := from.Add(2 * time.Hour)
	var holey []testserver.Series
	for _, s := range w.series {
		if s.Name == "server_memory" {
			s.Samples = slices.DeleteFunc(slices.Clone(s.Samples), func(x testserver.Sample) bool { return !x.At.Before(from) && x.At.Before(to) })
		}
		holey = append(holey, s)
	}
	broken := testserver.Prometheus(t, testserver.OpenMetrics(holey...))
	whole := testserver.Prometheus(t, testserver.OpenMetrics(w.series...))
	charged := [2]*big.Rat{new(big.Rat), new(big.Rat)} // in the lost hours, of the first scope
	for _, p := range w.points(t) {
		if i := int(p.begin.Sub(from) / time.Hour); p.scope == "scope-00" && !p.begin.Before(from) && p.begin.Before(to) {
			charged[i].Add(charged[i], p.price)
		}
	}
	hour := func(at time.Time) string {
		return at.Format("2 Jan 2006, 15:04") + "–" + at.Add(time.Hour).Format("15:04")
	}

	withAndWithoutScript(t, func(t *testing.T, l look) {
		var mended atomic.Bool
		source := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			target := broken.URL
			if mended.Load() {
				target = whole.URL
			}
			to, err := url.Parse(target)
			must(t, err)
			r.SetURL(to)
		}})
		t.Cleanup(source.Close)
		db := kinds["sqlite"](t)
		db.setUp(t, w)
		for range 7 { // then it is a while until they are tried again by themselves
			if r := db.try(t, w.process(source.URL)...); r.summary(t).Failed != 8 {
				t.Fatalf("8 windows should have failed:\n%s%s", r.out, r.stderr)
			}
		}
		s := db.serve(t, "serve", "--start", begin.Format(time.RFC3339), "--prometheus-url", source.URL)
		link := s.wait(t, `(http://\S+/set-up\?token=\S+)`)
		v := visit(t, s.url, l)
		v.open(link)
		v.fill("#login", "ada")
		v.fill("#password", "correct horse battery")
		v.fill("#repeat", "correct horse battery")
		v.click("main form button")

		v.open("/processing")
		v.becomes("#processing", "8 failed")
		v.says("#processing", "no samples of server_memory")
		v.keep("behind")
		v.accessible()
		days := "/processing/coverage?zoom=day&at=" + from.Format(time.DateOnly)
		v.open(days)
		const bad = ".map td a.bad"
		if n := v.count(bad); n != 8 {
			t.Fatalf("%d cells of the map have failed, want 2 of each of 4 scopes", n)
		}
		if got, want := v.attribute(bad, "title"), "scope-00, "+hour(from)+": 1 failed"; l.NoScript && got != want {
			t.Errorf("the first is %q, want %q", got, want)
		}
		v.says(".legend", "failed 8")
		v.says(".effect h2", "8 failed windows of 4 scopes")
		v.keep("map")
		v.accessible()
		if l.NoScript {
			v.click(bad)
		} else {
			v.walkMap(hour, from)
		}

		window := v.where()
		v.says("main h1", "scope-00, "+hour(from))
		v.says("main .badge", "failed")
		v.says("main pre", fmt.Sprintf("source default has no samples of server_memory between %s and %s", from.Format(time.RFC3339), from.Add(time.Hour).Format(time.RFC3339)))
		v.says("main", "It is not processed")
		v.says("main", "Next try")
		v.says(`section[aria-labelledby="queries-heading"]`, "server_memory{project_id=\"scope-00\"}[3600s]")
		v.keep("failed-window")
		v.accessible()

		v.fill("#waive-reason", "The disk of Prometheus broke")
		v.click(`form[action="/processing/windows/waive"] button`)
		if v.where() != window {
			t.Errorf("waiving leads to %s", v.where())
		}
		v.says("#flash", "1 window is waived; it can be taken back.")
		v.says("main .badge", "waived")
		v.says("main", "It is not collected: ada waived it after it had failed:")
		v.says("main .facts", "The disk of Prometheus broke")
		v.keep("waived")
		v.accessible()
		v.open(days)
		if n, waived := v.count(bad), v.count(".map td a.waived"); n != 7 || waived != 1 {
			t.Errorf("of the map %d have failed and %d are waived, want 7 and 1", n, waived)
		}

		isDone := func(path string, charged *big.Rat) {
			t.Helper()
			eventually(t, path+" is done", func() bool {
				v.open(path)
				return strings.Contains(v.text("main .badge"), "done")
			})
			if got := v.attribute(`section[aria-labelledby="charges-heading"] .total data.amount`, "value"); got != text(charged) {
				t.Errorf("%s costs %s, want %s", path, got, text(charged))
			}
		}
		mended.Store(true)
		v.open(window)
		v.click(`form[action="/processing/windows/unwaive"] button`)
		v.says("#flash", "1 window is due again.")
		isDone(window, charged[0])
		v.keep("done-window")
		v.accessible()
		v.click(`main a[rel="next"]`)
		next := v.where()
		v.says("main h1", "scope-00, "+hour(from.Add(time.Hour)))
		v.says("main .badge", "failed")
		v.click(`form[action="/processing/windows/retry"] button`)
		v.says("#flash", "1 window is tried again now.")
		isDone(next, charged[1])

		// the others all at once
		v.open(days)
		v.says(".effect h2", "6 failed windows of 3 scopes")
		v.click(`.effect form[action="/processing/windows/retry"] button`)
		v.says("#flash", "6 windows are tried again now.")
		eventually(t, "no window has failed", func() bool {
			v.open(days)
			return v.count(bad) == 0 && strings.Contains(v.text(".legend"), "due 0")
		})
		v.keep("mended-map")
		v.open("/processing")
		v.says("#processing", "All 4 scopes are up to date.")
		v.expect("ERR_CONNECTION_REFUSED") // the page goes on asking
		s.stop(t)
		end := begin.Add(time.Duration(db.number(t, "SELECT COUNT(*) FROM windows")/4) * time.Hour) // the last ones are not due
		w.checkCharges(t, db, mixed(w.points(t), nil, func(p *point) bool { return !p.begin.Before(end) }))
	})
}

// walkMap goes to the first failed window of the map with the arrow keys, and opens it with Enter.
func (v *visitor) walkMap(hour func(time.Time) string, from time.Time) {
	v.t.Helper()
	if n := v.count(`.map td a[tabindex="0"]`); n != 1 {
		v.t.Errorf("Tab stops at %d cells of the map, not at one", n)
	}
	do(v, "focus the map", chromedp.Evaluate[bool](`document.querySelector('.map td a[tabindex="0"]').focus(); true`))
	at := func() string {
		return do(v, "read the focus", chromedp.Evaluate[string](`document.activeElement.getAttribute("aria-label") || document.activeElement.title`))
	}
	for range 24 {
		if strings.Contains(at(), "failed") {
			break
		}
		v.keys(kb.ArrowRight)
	}
	for _, step := range []struct {
		key   string
		scope string
		at    time.Time
	}{
		{"", "scope-00", from},
		{kb.ArrowDown, "scope-01", from},
		{kb.ArrowRight, "scope-01", from.Add(time.Hour)},
		{kb.ArrowUp, "scope-00", from.Add(time.Hour)},
		{kb.ArrowLeft, "scope-00", from},
	} {
		if step.key != "" {
			v.keys(step.key)
		}
		if got, want := at(), step.scope+", "+hour(step.at)+": 1 failed"; got != want {
			v.t.Errorf("the focus is at %q, want %q", got, want)
		}
	}
	v.keep("map-focus")
	v.follow("Enter", chromedp.KeyEvent("\r"))
}
