package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// chromium is the browser that all tests share; each test has its own profile in it.
var chromium struct {
	once sync.Once
	ctx  context.Context
	stop func()
	err  error
}

var errNoChromium = errors.New("the browser is not installed (Debian package chromium)")

func startChromium() {
	path, err := exec.LookPath("chromium")
	if err != nil {
		chromium.err = errNoChromium
		return
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("lang", "en-US"),
		chromedp.Flag("disable-features", "Translate,BackForwardCache")) // going back asks the server, as it does after a while
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, stopProcess := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stopBrowser := chromedp.NewContext(ctx)
	chromium.ctx, chromium.stop = ctx, func() { stopBrowser(); stopProcess() }
	chromium.err = chromedp.Do(ctx)
}

// stopChromium ends the browser, if any test has used it.
func stopChromium() error {
	if chromium.stop != nil {
		chromium.stop()
	}
	return nil
}

const windowHeight = 900 // CSS pixels

// look is how somebody looks at the pages.
type look struct {
	Width    int64 // CSS pixels; 1280 if zero
	Dark     bool
	NoScript bool
}

// visitor is somebody with a browser of their own. Whatever the browser complains about fails the test: errors in the
// console, violations of the content security policy, files that are not there.
type visitor struct {
	t   testing.TB
	ctx context.Context
	url string // of the site, without a slash at the end

	noScript bool
	width    int64

	mu       sync.Mutex
	complain []string
	expected []string // what complaints may contain
}

// visit opens a browser on a site.
func visit(t testing.TB, url string, l look) *visitor {
	t.Helper()
	chromium.once.Do(startChromium)
	if errors.Is(chromium.err, errNoChromium) && os.Getenv("CI") != "true" {
		t.Skip(chromium.err)
	}
	if chromium.err != nil {
		t.Fatal(chromium.err)
	}
	ctx, closeTab := chromedp.NewContext(chromium.ctx, chromedp.WithNewBrowserContext())
	v := &visitor{t: t, ctx: ctx, url: strings.TrimSuffix(url, "/"), noScript: l.NoScript}
	messages := chromedp.Console(ctx)
	var listening sync.WaitGroup
	listening.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.IsException() || m.Type == "error" || m.Type == "warning" {
				v.mu.Lock()
				v.complain = append(v.complain, fmt.Sprintf("%s (%s)", m, m.URL))
				v.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() {
		if t.Failed() {
			v.keep("failed")
		}
		closeTab()
		listening.Wait()
		for _, c := range v.complaints() {
			t.Errorf("the browser complains: %s", c)
		}
	})
	width, theme := l.Width, "light"
	if width == 0 {
		width = 1280
	}
	v.width = width
	if l.Dark {
		theme = "dark"
	}
	must(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, windowHeight), chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}},
		})
		if err != nil {
			return err
		}
		_, err = chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: l.NoScript})
		return err
	})))
	return v
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (v *visitor) complaints() (all []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
next:
	for _, c := range v.complain {
		for _, e := range v.expected {
			if strings.Contains(c, e) {
				continue next
			}
		}
		all = append(all, c)
	}
	return all
}

// expect allows complaints that contain the text, such as that of an answer with status 422.
func (v *visitor) expect(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.expected = append(v.expected, text)
}

// within limits how long one step may take.
func (v *visitor) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(v.ctx, 20*time.Second)
}

// do does something in the page and returns what comes of it.
func do[T any](v *visitor, what string, action chromedp.Action[T]) T {
	v.t.Helper()
	ctx, cancel := v.within()
	defer cancel()
	got, err := chromedp.Run(ctx, action)
	if err != nil {
		v.t.Fatalf("%s, at %s: %v", what, v.where(), err)
	}
	return got
}

// where returns the address, if it can be had.
func (v *visitor) where() string {
	ctx, cancel := v.within()
	defer cancel()
	at, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
		return err.Error()
	}
	return strings.TrimPrefix(at, v.url)
}

// follow does something that leads to another page and returns the status of its answer.
func (v *visitor) follow(what string, step chromedp.Action[chromedp.Void]) (status int64) {
	v.t.Helper()
	ctx, cancel := v.within()
	defer cancel()
	res, err := chromedp.RunResponse(ctx, step)
	if err != nil {
		v.t.Fatalf("%s, at %s: %v", what, v.where(), err)
	}
	return res.Status
}

// open goes to a path of the site, or to a whole address, and returns the answer's status.
func (v *visitor) open(path string) (status int64) {
	v.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = v.url + path
	}
	return v.follow("open "+path, chromedp.Navigate(path))
}

// click clicks a link or button that leads to another page.
func (v *visitor) click(selector string) (status int64) {
	v.t.Helper()
	return v.follow("click "+selector, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// press clicks something that changes the page it is in.
func (v *visitor) press(selector string) {
	v.t.Helper()
	do(v, "press "+selector, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// fill types into a field, in place of what is there, or chooses an option.
func (v *visitor) fill(selector, text string) {
	v.t.Helper()
	if text == "" {
		do(v, "clear "+selector, chromedp.Clear(chromedp.CSS(selector), chromedp.NodeVisible))
		return
	}
	do(v, "fill "+selector, chromedp.SetValue(chromedp.CSS(selector), text, chromedp.NodeVisible))
}

// keys types keys into whatever has the focus.
func (v *visitor) keys(keys string) {
	v.t.Helper()
	do(v, "type "+keys, chromedp.KeyEvent(keys))
}

// shortcut presses a key as a keyboard does: the page may keep its character from being typed.
func (v *visitor) shortcut(key string) {
	v.t.Helper()
	ctx, cancel := v.within()
	defer cancel()
	_, err := chromedp.Call(ctx, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: key, Text: key})
	must(v.t, err)
}

// text returns the text of what the selector finds first, as soon as there is such a thing.
func (v *visitor) text(selector string) string {
	v.t.Helper()
	return strings.Join(strings.Fields(v.read(selector, "textContent")), " ")
}

// read returns what an expression makes of what the selector finds first, as soon as there is such a thing. It is found and read
// in one step, since parts of a page may change by themselves.
func (v *visitor) read(selector, expression string) (got string) {
	v.t.Helper()
	script := fmt.Sprintf(`(e => e && ["" + (e.%s)])(document.querySelector(%q))`, expression, selector)
	eventually(v.t, "there is "+selector, func() bool {
		found := do(v, "read "+selector, chromedp.Evaluate[[]string](script))
		if len(found) > 0 {
			got = found[0]
		}
		return len(found) > 0
	})
	return got
}

// says waits until the element has the text in it.
func (v *visitor) says(selector, text string) {
	v.t.Helper()
	eventually(v.t, fmt.Sprintf("%s says %q", selector, text), func() bool { return strings.Contains(v.text(selector), text) })
}

// attribute returns an attribute of what the selector finds first.
func (v *visitor) attribute(selector, name string) string {
	v.t.Helper()
	return v.read(selector, fmt.Sprintf("getAttribute(%q) ?? ''", name))
}

// count returns how many elements the selector finds now.
func (v *visitor) count(selector string) int {
	v.t.Helper()
	return do(v, "count "+selector, chromedp.Evaluate[int](fmt.Sprintf("document.querySelectorAll(%q).length", selector)))
}

// backTo and forwardTo go through the browser's history, and wait until the address is the one expected. The browser may have
// kept the page.
func (v *visitor) backTo(path string)    { v.t.Helper(); v.through("history.back()", path) }
func (v *visitor) forwardTo(path string) { v.t.Helper(); v.through("history.forward()", path) }

func (v *visitor) through(step, path string) {
	v.t.Helper()
	ctx, cancel := v.within()
	defer cancel()
	// the page may be gone before the browser has said that it did this
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool](step+";true")); err != nil && !strings.Contains(err.Error(), "navigated or closed") {
		v.t.Fatalf("%s, at %s: %v", step, v.where(), err)
	}
	eventually(v.t, "the address is "+path, func() bool { return v.where() == path })
}

// cookies returns what the browser would send, for a client beside it.
func (v *visitor) cookies() (all []*http.Cookie) {
	v.t.Helper()
	ctx, cancel := v.within()
	defer cancel()
	have, err := chromedp.Call(ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{v.url + "/"}})
	must(v.t, err)
	for _, c := range have.Cookies {
		all = append(all, &http.Cookie{Name: c.Name, Value: c.Value})
	}
	return all
}

// keep writes a picture of the whole page to the folder RATEBOOK_PICTURES, if it is set.
func (v *visitor) keep(name string) {
	v.t.Helper()
	folder := os.Getenv("RATEBOOK_PICTURES")
	if folder == "" {
		return
	}
	ctx, cancel := v.within()
	defer cancel()
	height, err := chromedp.Run(ctx, chromedp.Evaluate[int64]("document.documentElement.scrollHeight"))
	if err == nil { // a window as high as the page, so that what sticks to the window is as high, too
		err = chromedp.Do(ctx, chromedp.EmulateViewport(v.width, max(height, windowHeight)))
	}
	var picture []byte
	if err == nil {
		picture, err = chromedp.Run(ctx, chromedp.CaptureScreenshot())
	}
	if err == nil {
		err = chromedp.Do(ctx, chromedp.EmulateViewport(v.width, windowHeight))
	}
	if err != nil {
		v.t.Logf("no picture of %s: %v", name, err)
		return
	}
	path := filepath.Join(folder, strings.ReplaceAll(v.t.Name(), "/", "-")+"-"+name+".png")
	if err := os.WriteFile(path, picture, 0o600); err != nil {
		v.t.Error(err)
	}
}

// axe is the accessibility checker, read once.
var axe = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile(filepath.Join("axe", "node_modules", "axe-core", "axe.min.js"))
	return string(b), err
})

// violation is something that the accessibility checker found.
type violation struct {
	ID    string `json:"id"`
	Help  string `json:"help"`
	Nodes []struct {
		HTML    string `json:"html"`
		Summary string `json:"failureSummary"`
	} `json:"nodes"`
}

// accessible runs the accessibility checker over the page as it is. Without JavaScript it can't run.
func (v *visitor) accessible() {
	v.t.Helper()
	if v.noScript {
		return
	}
	script, err := axe()
	if errors.Is(err, os.ErrNotExist) && os.Getenv("CI") != "true" {
		v.t.Skip("axe-core is not installed; run `npm ci` in e2e/axe")
	}
	must(v.t, err)
	do(v, "load axe", chromedp.Evaluate[int](script+";0"))
	found := do(v, "check accessibility", chromedp.Evaluate[[]violation](
		`axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then(r => r.violations)`,
		chromedp.EvalAwaitPromise))
	for _, f := range found {
		for _, n := range f.Nodes {
			v.t.Errorf("%s: %s (%s):\n%s\n%s", v.where(), f.Help, f.ID, n.HTML, n.Summary)
		}
	}
}
