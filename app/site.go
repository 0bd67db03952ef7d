package app

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"ratebook/fault"
	"ratebook/handlers"
	"ratebook/handlers/api"
	"ratebook/handlers/api/openapi"
	v1 "ratebook/handlers/api/v1"
	v2 "ratebook/handlers/api/v2"
	"ratebook/metering"
	"ratebook/web"
)

// siteFlags say how browsers reach the pages.
type siteFlags struct {
	BaseURL        string   `name:"base-url" placeholder:"URL" help:"Where browsers find the pages, if not at the root of the address listened on: https://billing.example/ratebook."`
	TrustedProxies []string `placeholder:"NETWORK" help:"Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses or networks such as 10.0.0.0/8. Repeatable, or separated by commas."`
	TLSCert        string   `name:"tls-cert" placeholder:"FILE" help:"PEM certificate chain, to listen with HTTPS."`
	TLSKey         string   `name:"tls-key" placeholder:"FILE" help:"PEM key of the certificate."`
}

// config returns the flags as web wants them.
func (f *siteFlags) config() (c web.Config, err error) {
	if f.BaseURL != "" {
		if c.BaseURL, err = url.Parse(f.BaseURL); err != nil {
			return c, fault.New(fault.Invalid, "--base-url %q is no URL; it looks like https://billing.example/ratebook", f.BaseURL)
		}
	}
	for _, p := range f.TrustedProxies {
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			addr, err := netip.ParseAddr(p)
			if err != nil {
				return c, fault.New(fault.Invalid, "--trusted-proxies %q is neither an address nor a network such as 10.0.0.0/8", p)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		c.TrustedProxies = append(c.TrustedProxies, prefix)
	}
	if (f.TLSCert == "") != (f.TLSKey == "") {
		return c, fault.New(fault.Invalid, "--tls-cert and --tls-key belong together; one of them is missing")
	}
	c.TLSCert, c.TLSKey = f.TLSCert, f.TLSKey
	return c, nil
}

// run serves pages and works on windows until it is told to stop. It fills in what does not come from flags. listening is
// told the address of the pages; link is the path of the page that makes the first user, where there is none yet.
func (e *engine) run(r *run, w *work, c web.Config, listening func(site, link string)) error {
	users, err := e.store.Users(r.ctx)
	if err != nil {
		return err
	}
	setUp := handlers.NewSetUp(e.store, time.Now)
	link := setUp.Link()
	if len(users) > 0 {
		link = ""
	}
	overview := handlers.NewOverview(e.store, e.settings, e.plan.WaitPeriods, time.Now, r.log)
	described := openapi.NewSite()
	c.Areas = append(c.Areas, setUp, overview, described)
	c.Description = described.JSON
	c.Areas = append(c.Areas, e.areas(r, overview)...)
	worker := handlers.Worker{
		Collects: len(e.sources) > 0, Jobs: w.scheduler, Throughput: func() metering.Throughput { return w.throughput.Last(time.Now()) },
	}
	if e.store.Shared() {
		worker.Name = w.name
	}
	c.Areas = append(c.Areas, handlers.NewProcessing(e.store, worker, e.settings, e.plan.WaitPeriods, time.Now, r.log))
	pricer := api.NewPricer(e.store, e.processor.Scripts, e.settings)
	c.APIs = []web.API{
		v1.New(v1.Deps{Rules: e.store, Quotes: pricer, Charges: e.store, Catalog: e.store, Collectors: e.store, Settings: e.settings, Now: time.Now}),
		v2.New(v2.Deps{
			Reports: e.store, Frames: e.store, Scopes: e.store, Tasks: e.store, Rules: e.store, Pricer: pricer, Settings: e.settings, Now: time.Now,
		}),
	}
	c.Notice = overview.Notice
	c.Sessions, c.Users = e.store.Sessions(), e.store
	c.Checks = []web.Check{
		{Name: "database", Run: e.store.Ping},
		{Name: "schema", Run: e.store.Check},
	}
	c.Version, c.Log = version, r.log
	c.Listening = func(addr net.Addr) {
		r.log.Info("listening", "address", addr.String())
		if host, ok := addr.(*net.TCPAddr); ok && !host.IP.IsLoopback() && c.TLSCert == "" && c.BaseURL == nil {
			r.log.Warn("passwords and costs travel in clear text; listen on loopback behind a proxy that speaks HTTPS and set --base-url, or set --tls-cert")
		}
		listening(siteURL(c, addr), link)
	}
	group, ctx := errgroup.WithContext(r.ctx)
	group.Go(func() error { return w.scheduler.Run(ctx) })
	group.Go(func() error { return web.Serve(ctx, c) })
	return group.Wait()
}

// siteURL returns where the pages are, without a slash at the end.
func siteURL(c web.Config, addr net.Addr) string {
	if c.BaseURL != nil {
		return strings.TrimRight(c.BaseURL.String(), "/")
	}
	u := url.URL{Scheme: "http", Host: addr.String()}
	if c.TLSCert != "" {
		u.Scheme = "https"
	}
	if host, ok := addr.(*net.TCPAddr); ok && host.IP.IsUnspecified() { // all addresses; this machine has one of them
		u.Host = net.JoinHostPort("localhost", strconv.Itoa(host.Port))
	}
	return u.String()
}

// areas returns the parts of the site that need no more than the store.
func (e *engine) areas(r *run, overview *handlers.Overview) []web.Area {
	s, settings, wait := e.store, e.settings, e.plan.WaitPeriods
	return []web.Area{
		handlers.NewSession(s, time.Now, r.log),
		handlers.NewPassword(s, time.Now),
		handlers.NewTheme(),
		handlers.NewCosts(s, s, settings, wait, time.Now),
		handlers.NewScopes(s, settings, wait, time.Now, r.log),
		handlers.NewMetrics(s, settings, wait, time.Now, r.log),
		handlers.NewPricing(s, s, settings, time.Now),
		handlers.NewCoverage(s, s, overview.Forget, queries{s}, settings, wait, time.Now, r.log),
		handlers.NewTasks(s, s, s, settings, wait, time.Now, r.log),
		handlers.NewFindings(s, settings, time.Now),
		handlers.NewScripts(s, settings, time.Now),
		handlers.NewSettings(s, settings),
		handlers.NewTokens(s, settings, time.Now),
		handlers.NewSearch(s, settings, time.Now),
	}
}
