package app

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"ratebook/collect/prometheus"
	"ratebook/collect/static"
	"ratebook/fault"
	"ratebook/jobs"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
)

// settingsFlags set what shapes stored data, at a database's first use.
type settingsFlags struct {
	Period   time.Duration `placeholder:"DURATION" help:"Collect period of a new database; divides 24h. Default: 1h."`
	ScopeKey string        `placeholder:"LABEL" help:"Label that names a scope, of a new database. Default: project_id."`
	Timezone string        `placeholder:"ZONE" help:"Billing time zone of a new database, such as Europe/Berlin. Default: UTC."`
	Currency string        `placeholder:"CODE" help:"Currency of a new database, ISO 4217. Default: EUR."`
}

func (f *settingsFlags) wanted() store.Wanted {
	return store.Wanted{Period: f.Period, ScopeKey: f.ScopeKey, Timezone: f.Timezone, Currency: f.Currency}
}

// sourceFlags define the source named default.
type sourceFlags struct {
	PrometheusURL          string        `name:"prometheus-url" placeholder:"URL" help:"Prometheus server, with or without /api/v1."`
	PrometheusUser         string        `placeholder:"NAME" help:"User for basic authentication."`
	PrometheusPassword     string        `placeholder:"SECRET" help:"Password for basic authentication."`
	PrometheusPasswordFile string        `placeholder:"FILE" help:"File that holds the password."`
	PrometheusToken        string        `placeholder:"SECRET" help:"Bearer token."`
	PrometheusTokenFile    string        `placeholder:"FILE" help:"File that holds the bearer token."`
	PrometheusHeader       []string      `sep:"none" placeholder:"NAME:VALUE" help:"Header sent with every request, such as 'X-Scope-OrgID: acme'. Repeatable."`
	PrometheusHeaderFile   string        `placeholder:"FILE" help:"File that holds such headers, one a line."`
	PrometheusCA           string        `name:"prometheus-ca" placeholder:"FILE" help:"PEM certificates to trust instead of the machine's."`
	PrometheusInsecure     bool          `help:"Trust any certificate."`
	PrometheusTimeout      time.Duration `default:"1m" help:"Longest time for one query."`

	Fetcher               string   `enum:"prometheus,static" default:"prometheus" help:"How scopes are found: prometheus or static."`
	FetcherMetric         []string `placeholder:"METRIC" help:"Metric whose labels name the scopes. Repeatable. Default: all configured metrics."`
	FetcherScopeAttribute string   `placeholder:"LABEL" help:"Label whose values are the scopes' ids. Default: the scope key."`
	FetcherFilters        []string `placeholder:"LABEL:VALUE" help:"Only scopes of series with this label. Repeatable."`
	StaticScopes          []string `placeholder:"ID" help:"The scopes of the static fetcher. Repeatable, or separated by commas."`
}

const defaultSource = "default"

// source returns the source that the flags define; ok is false if they define none.
func (f *sourceFlags) source(r *run, s *store.Store, settings *metering.Settings) (src jobs.Source, ok bool, err error) {
	if f.PrometheusURL == "" {
		if len(f.StaticScopes) > 0 || f.Fetcher == "static" {
			return src, false, fault.New(fault.Invalid, "the static fetcher knows scopes, but usage comes from Prometheus: set --prometheus-url, too")
		}
		return src, false, nil
	}
	config, err := f.config()
	if err != nil {
		return src, false, err
	}
	client, err := prometheus.NewClient(config)
	if err != nil {
		return src, false, err
	}
	src = jobs.Source{
		Source:      metering.Source{Name: defaultSource, Kind: "prometheus", URL: withoutCredentials(f.PrometheusURL), ScopeKey: settings.ScopeKey},
		Collector:   &prometheus.Collector{Client: client},
		FetcherName: f.Fetcher,
	}
	if f.Fetcher == "static" {
		if len(f.StaticScopes) == 0 {
			return src, false, fault.New(fault.Invalid, "the static fetcher has no scopes; name some with --static-scopes")
		}
		src.Fetcher = static.New(f.StaticScopes)
	} else {
		filters, err := pairs("--fetcher-filters", f.FetcherFilters)
		if err != nil {
			return src, false, err
		}
		attribute := f.FetcherScopeAttribute
		if attribute == "" {
			attribute = settings.ScopeKey
		}
		src.Fetcher = &configuredFetcher{
			fetcher: prometheus.Fetcher{Client: client, Metrics: f.FetcherMetric, ScopeAttribute: attribute, Filters: filters},
			store:   s,
		}
	}
	src.Source, err = s.UseSource(r.ctx, src.Source)
	return src, true, err
}

func (f *sourceFlags) config() (c prometheus.Config, err error) {
	c = prometheus.Config{
		URL: f.PrometheusURL, User: f.PrometheusUser, CAFile: f.PrometheusCA, Insecure: f.PrometheusInsecure, Timeout: f.PrometheusTimeout,
	}
	if c.Password, err = secret("prometheus-password", f.PrometheusPassword, f.PrometheusPasswordFile); err != nil {
		return c, err
	}
	if c.Token, err = secret("prometheus-token", f.PrometheusToken, f.PrometheusTokenFile); err != nil {
		return c, err
	}
	headers := f.PrometheusHeader
	if f.PrometheusHeaderFile != "" {
		b, err := readInput(f.PrometheusHeaderFile)
		if err != nil {
			return c, fmt.Errorf("--prometheus-header-file: %w", err)
		}
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); line != "" {
				headers = append(slices.Clone(headers), line)
			}
		}
	}
	c.Headers, err = pairs("--prometheus-header", headers)
	return c, err
}

// pairs reads NAME:VALUE flags. Values may be secret and are not repeated in errors.
func pairs(flag string, list []string) (map[string]string, error) {
	m := map[string]string{}
	for _, p := range list {
		name, value, ok := strings.Cut(p, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, fault.New(fault.Invalid, "%s wants NAME:VALUE", flag)
		}
		m[name] = strings.TrimSpace(value)
	}
	return m, nil
}

func withoutCredentials(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}

// configuredFetcher looks at the metrics that are configured when it is asked, unless it is told which.
type configuredFetcher struct {
	fetcher prometheus.Fetcher
	store   *store.Store
}

func (f *configuredFetcher) Scopes(ctx context.Context, r period.Range) ([]metering.Found, error) {
	fetcher := f.fetcher
	if len(fetcher.Metrics) == 0 {
		c, err := f.store.Configuration(ctx, 0)
		if err != nil {
			return nil, err
		}
		for _, m := range c.Metrics {
			if m.Source == defaultSource && !slices.Contains(fetcher.Metrics, m.Measured) {
				fetcher.Metrics = append(fetcher.Metrics, m.Measured)
			}
		}
		if len(fetcher.Metrics) == 0 {
			return nil, fault.New(fault.Invalid, "no metrics are configured yet; import some with `ratebook import metrics FILE` or --metrics-file")
		}
	}
	return fetcher.Scopes(ctx, r)
}
