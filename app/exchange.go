package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"ratebook/costs"
	"ratebook/export"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/store"
)

type importCommand struct {
	Metrics    importMetricsCommand    `cmd:"" help:"Import metrics from CloudKitty's metrics.yml."`
	Rules      importRulesCommand      `cmd:"" help:"Import hashmap rules from YAML."`
	Cloudkitty importCloudKittyCommand `cmd:"" help:"Import what a running CloudKitty knows: rules, scripts, metrics, scopes, rated data frames."`
}

// importFlags are common to imports of files.
type importFlags struct {
	databaseFlags
	settingsFlags
	File    string `arg:"" help:"The file; - is standard input."`
	Replace bool   `help:"Also remove what is not in the file."`
	DryRun  bool   `help:"Only print what would change."`
}

// read returns the file's name for messages and its content.
func (f *importFlags) read(r *run) (name string, content []byte, err error) {
	if f.File == "-" {
		content, err = io.ReadAll(r.In)
		return "standard input", content, err
	}
	content, err = readInput(f.File)
	return f.File, content, err
}

// settings returns the database's settings; an import is a first use of them, a dry run is not.
func (f *importFlags) settings(ctx context.Context, s *store.Store) (*metering.Settings, error) {
	if f.DryRun {
		return s.Settings(ctx, f.wanted())
	}
	return s.UseSettings(ctx, f.wanted())
}

// importer imports the content of a named file and says what that changes, or, in a dry run, would.
type importer func(ctx context.Context, s *store.Store, settings *metering.Settings, name string, content []byte, replace, dryRun bool) (*metering.Difference, error)

// do imports the file and prints the difference.
func (f *importFlags) do(r *run, load importer) error {
	name, content, err := f.read(r)
	if err != nil {
		return err
	}
	return f.with(r, func(ctx context.Context, s *store.Store) error {
		settings, err := f.settings(ctx, s)
		if err != nil {
			return err
		}
		d, err := load(ctx, s, settings, name, content, f.Replace, f.DryRun)
		if err != nil {
			return err
		}
		fmt.Fprint(r.Out, d)
		return nil
	})
}

type importMetricsCommand struct{ importFlags }

func (c *importMetricsCommand) Run(r *run) error { return c.do(r, importMetrics) }

func importMetrics(ctx context.Context, s *store.Store, settings *metering.Settings, name string, content []byte, replace, dryRun bool) (*metering.Difference, error) {
	next, err := metering.ParseMetrics(name, content, settings.ScopeKey)
	if err != nil {
		return nil, err
	}
	current, err := s.Configuration(ctx, 0)
	if err != nil {
		return nil, err
	}
	merged, d := metering.Diff(current.Metrics, next, replace)
	if dryRun || d.Empty() {
		return d, nil
	}
	if err := s.EnsureSource(ctx, metering.Source{Name: defaultSource, Kind: "prometheus", ScopeKey: settings.ScopeKey}); err != nil {
		return nil, err
	}
	_, err = s.Configure(ctx, &metering.Configuration{Version: current.Version, Metrics: merged}, actor(), d.String())
	return d, err
}

type importRulesCommand struct{ importFlags }

func (c *importRulesCommand) Run(r *run) error { return c.do(r, importRules) }

func importRules(ctx context.Context, s *store.Store, settings *metering.Settings, name string, content []byte, replace, dryRun bool) (*metering.Difference, error) {
	file, err := rating.ParseFile(name, content, settings.Zone)
	if err != nil {
		return nil, err
	}
	current, err := s.Rules(ctx, 0)
	if err != nil {
		return nil, err
	}
	next, d := file.Apply(current, replace)
	if dryRun || d.Empty() {
		return d, nil
	}
	_, err = s.SaveRules(ctx, next, actor(), d.String())
	return d, err
}

type exportCommand struct {
	Metrics exportMetricsCommand `cmd:"" help:"Write the metrics as metrics.yml."`
	Rules   exportRulesCommand   `cmd:"" help:"Write the hashmap rules as YAML."`
	Report  exportReportCommand  `cmd:"" help:"Write a cost report as CSV or JSON."`
}

type exportMetricsCommand struct{ databaseFlags }

func (c *exportMetricsCommand) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error {
		current, err := s.Configuration(ctx, 0)
		if err != nil {
			return err
		}
		return metering.ExportMetrics(r.Out, current.Metrics)
	})
}

type exportRulesCommand struct{ databaseFlags }

func (c *exportRulesCommand) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error {
		current, err := s.Rules(ctx, 0)
		if err != nil {
			return err
		}
		return rating.Export(r.Out, current)
	})
}

type exportReportCommand struct {
	databaseFlags
	Begin   string   `required:"" placeholder:"TIME" help:"First instant: RFC 3339, or YYYY-MM-DD in the billing zone."`
	End     string   `required:"" placeholder:"TIME" help:"First instant that is not part of the report any more."`
	GroupBy []string `placeholder:"GROUP" help:"scope, scope_name, metric, unit or an attribute. Repeatable, or separated by commas."`
	Bucket  string   `placeholder:"UNIT" help:"One row for each hour, day, week or month in the billing zone."`
	Filter  []string `sep:"none" placeholder:"KEY=VALUE" help:"Only charges with this scope, metric, unit or attribute. Repeatable; the same key twice means either."`
	Format  string   `enum:"csv,json" default:"csv" help:"csv or json."`
}

// rowWriter writes a report.
type rowWriter interface {
	Row(costs.Row) error
	Close(costs.Total) error
}

func (c *exportReportCommand) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error {
		settings, err := s.Settings(ctx, store.Wanted{})
		if err != nil {
			return err
		}
		q, err := c.query(settings)
		if err != nil {
			return err
		}
		var w rowWriter = export.NewCSV(r.Out, q, settings.Zone, settings.Currency)
		if c.Format == "json" {
			w = export.NewJSON(r.Out, q, settings.Zone, settings.Currency)
		}
		total, err := s.Report(ctx, q, w.Row)
		if err != nil {
			return err
		}
		return w.Close(total)
	})
}

func (c *exportReportCommand) query(settings *metering.Settings) (q *costs.Query, err error) {
	q = &costs.Query{Groups: c.GroupBy}
	if q.Range.Begin, err = period.ParseTime(c.Begin, settings.Zone); err != nil {
		return nil, fault.New(fault.Invalid, "--begin: %v", err)
	}
	if q.Range.End, err = period.ParseTime(c.End, settings.Zone); err != nil {
		return nil, fault.New(fault.Invalid, "--end: %v", err)
	}
	if q.Bucket, err = period.ParseBucket(c.Bucket); err != nil {
		return nil, fault.New(fault.Invalid, "--bucket: %v", err)
	}
	at := map[string]int{}
	for _, f := range c.Filter {
		key, value, ok := strings.Cut(f, "=")
		if !ok || key == "" {
			return nil, fault.New(fault.Invalid, "--filter %q: write it as KEY=VALUE", f)
		}
		i, ok := at[key]
		if !ok {
			i = len(q.Filters)
			at[key] = i
			q.Filters = append(q.Filters, costs.Filter{Key: key})
		}
		q.Filters[i].Values = append(q.Filters[i].Values, value)
	}
	if wrong, ok := errors.AsType[*fault.Error](q.Validate()); ok {
		var all []string
		for _, f := range wrong.Fields {
			all = append(all, "--"+reportFlags[f.Name]+": "+f.Message)
		}
		return nil, fault.New(fault.Invalid, "%s", strings.Join(all, "; "))
	}
	return q, nil
}

// reportFlags are the flags of a query's fields.
var reportFlags = map[string]string{"begin": "begin", "end": "end", "bucket": "bucket", "groups": "group-by", "filters": "filter"}
