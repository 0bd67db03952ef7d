package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"ratebook/collect/cloudkitty"
	"ratebook/costs"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/store"
)

type importCloudKittyCommand struct {
	databaseFlags
	settingsFlags
	Endpoint   string `required:"" placeholder:"URL" help:"CloudKitty's API, such as http://cloudkitty:8889."`
	Token      string `placeholder:"SECRET" help:"Token of an admin: openstack token issue -f value -c id. Default: none, as with CloudKitty's noauth."`
	TokenFile  string `placeholder:"FILE" help:"File that holds the token."`
	CA         string `name:"ca" placeholder:"FILE" help:"PEM certificates to trust instead of the machine's."`
	Insecure   bool   `help:"Trust any certificate."`
	Dataframes bool   `help:"Also bring over rated data frames, those that begin from --begin to --end."`
	Begin      string `placeholder:"TIME" help:"From when on data frames come over and totals are compared: RFC 3339, or YYYY-MM-DD in the billing zone."`
	End        string `placeholder:"TIME" help:"Until when: the first instant that is not part of it any more."`
	DryRun     bool   `help:"Read everything and print what would come over, but change nothing."`
}

// Run brings over what a running CloudKitty knows and is not here yet. Each kind of thing is one step; what does not come over is
// in the report and doesn't keep the others from it.
func (c *importCloudKittyCommand) Run(r *run) error {
	token, err := secret("token", c.Token, c.TokenFile)
	if err != nil {
		return err
	}
	client, err := cloudkitty.New(cloudkitty.Config{Endpoint: c.Endpoint, Token: token, CAFile: c.CA, Insecure: c.Insecure})
	if err != nil {
		return err
	}
	defer client.Close()
	return c.with(r, func(ctx context.Context, s *store.Store) error {
		var err error
		m := &moving{run: r, store: s, client: client, dryRun: c.DryRun, frames: c.Dataframes, report: movingReport{dryRun: c.DryRun, endpoint: client.Endpoint()}}
		if m.settings, err = s.Settings(ctx, c.wanted()); err != nil {
			return err
		}
		if m.asked, err = c.asked(m.settings); err != nil {
			return err
		}
		if err := m.all(ctx, func() error {
			if c.DryRun {
				return nil
			}
			_, err := s.UseSettings(ctx, c.wanted())
			return err
		}); err != nil {
			return err
		}
		if err := m.report.write(r.Out); err != nil {
			return err
		}
		if n := len(m.report.problems); n > 0 {
			return fmt.Errorf("%s did not come over, or not as it was; the report says which and why", count(n, "thing"))
		}
		return nil
	})
}

// asked returns the range of data frames and totals, empty if there is none.
func (c *importCloudKittyCommand) asked(settings *metering.Settings) (r period.Range, err error) {
	if c.Begin == "" && c.End == "" {
		if c.Dataframes {
			return r, fault.New(fault.Invalid, "--dataframes needs --begin and --end: which data frames are to come over")
		}
		return r, nil
	}
	for _, t := range [...]struct {
		flag, text string
		into       *time.Time
	}{{"begin", c.Begin, &r.Begin}, {"end", c.End, &r.End}} {
		if *t.into, err = period.ParseTime(t.text, settings.Zone); err != nil {
			return r, fault.New(fault.Invalid, "--%s: %v", t.flag, err)
		}
		if !period.Floor(*t.into, settings.Period).Equal(*t.into) {
			return r, fault.New(fault.Invalid, "--%s: no period of %s begins at %s", t.flag, settings.Period, t.text)
		}
	}
	if r.Empty() {
		return r, fault.New(fault.Invalid, "--end is not after --begin")
	}
	return r, nil
}

// moving is an import under way.
type moving struct {
	run      *run
	store    *store.Store
	client   *cloudkitty.Client
	settings *metering.Settings
	dryRun   bool
	frames   bool
	asked    period.Range
	report   movingReport

	v2    bool
	units map[string]string // of metrics, by name
}

// all brings over everything. The error is of what makes all of it impossible; before begin nothing was changed.
func (m *moving) all(ctx context.Context, begin func() error) error {
	versions, err := m.client.Versions(ctx)
	if err != nil {
		return err
	}
	m.v2 = slices.Contains(versions, "v2")
	modules, err := m.client.Modules(ctx) // what may read these may read the rest
	if err != nil {
		return err
	}
	if err := begin(); err != nil {
		return err
	}
	steps := []func(context.Context) error{
		func(ctx context.Context) error { return m.rules(ctx, modules) },
		m.metrics,
		m.scopes, // before data frames, so that nobody charges for the same time
	}
	if m.frames {
		steps = append(steps, m.dataframes)
	}
	if !m.asked.Empty() {
		steps = append(steps, m.compare)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// unread notes that something could not be read, unless the whole import was stopped.
func (m *moving) unread(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	m.report.problem(what, "%s", oneLine(err))
	return nil
}

func oneLine(err error) string { return strings.ReplaceAll(sentence(err), "\n", ";") }

// rules brings over modules, the hashmap and scripts, as one version of the rules.
func (m *moving) rules(ctx context.Context, modules []cloudkitty.Module) error {
	theirs := &rating.Rules{}
	has := map[string]bool{}
	for _, module := range modules {
		has[module.ID] = true
		theirs.Modules = append(theirs.Modules, rating.Module{Name: module.ID, Enabled: module.Enabled, Priority: module.Priority})
	}
	if has["hashmap"] {
		h, err := m.client.Hashmap(ctx)
		if err != nil {
			if err := m.unread(ctx, "the hashmap", err); err != nil {
				return err
			}
		} else {
			m.hashmap(h, theirs)
		}
	}
	if has["pyscripts"] {
		scripts, err := m.client.Scripts(ctx)
		if err != nil {
			if err := m.unread(ctx, "the scripts", err); err != nil {
				return err
			}
		}
		for _, s := range scripts {
			theirs.Scripts = append(theirs.Scripts, rating.Script{ID: s.ID, Name: s.Name, Data: s.Data, Start: s.Start, End: s.End, Description: s.Description})
		}
	}
	gone, err := m.deleted(ctx)
	if err != nil {
		return err
	}
	var done *rating.Adoption
	adopt := func(current *rating.Rules) (next *rating.Rules, err error) {
		next, done = current.Adopt(theirs, gone)
		return next, nil
	}
	if m.dryRun {
		current, err := m.store.Rules(ctx, 0)
		if err != nil {
			return err
		}
		_, _ = adopt(current)
	} else if _, err := m.store.EditRules(ctx, actor(), "imported from CloudKitty at "+m.client.Endpoint(), adopt); err != nil {
		return err
	}
	for kind, n := range done.Added {
		m.report.kind(kind + "s").added += n
	}
	for kind, n := range done.Known {
		m.report.kind(kind + "s").known += n
	}
	for _, refused := range done.Refused {
		m.report.kind(refused.Kind+"s").refused++
		m.report.problem(refused.Subject, "%s", refused.Reason)
	}
	m.report.notes = append(m.report.notes, done.Notes...)
	return nil
}

// hashmap turns what CloudKitty refers to by id into what Ratebook refers to by name.
func (m *moving) hashmap(h *cloudkitty.Hashmap, into *rating.Rules) {
	groups := map[string]string{}
	for _, g := range h.Groups {
		groups[g.ID] = g.Name
		into.Groups = append(into.Groups, rating.Group{ID: g.ID, Name: g.Name})
	}
	for _, s := range h.Services {
		service := rating.Service{ID: s.ID, Name: s.Name}
		for _, f := range s.Fields {
			service.Fields = append(service.Fields, rating.Field{ID: f.ID, Name: f.Name})
		}
		into.Services = append(into.Services, service)
	}
	for _, w := range h.Rules {
		r := rating.Rule{
			ID: w.ID, Kind: rating.Mapping, Service: w.Service.Name, Value: w.Value, Type: rating.Type(w.Type), Cost: w.Cost,
			Scope: w.Tenant, Start: w.Start, End: w.End, Name: w.Name, Description: w.Description,
		}
		if w.Threshold {
			r.Kind, r.Level = rating.Threshold, w.Level
		}
		if w.Field != nil {
			r.Field = w.Field.Name
		}
		if w.GroupID != "" {
			name, ok := groups[w.GroupID]
			if !ok {
				m.report.kind(string(r.Kind)+"s").refused++
				m.report.problem(r.String(), "its group %s is not there", w.GroupID)
				continue
			}
			r.Group = name
		}
		into.Hashmap = append(into.Hashmap, r)
	}
}

// deleted returns the ids of rules and scripts that were here and were deleted.
func (m *moving) deleted(ctx context.Context) (gone map[string]bool, err error) {
	gone = map[string]bool{}
	rules, err := m.store.RuleRecords(ctx, true)
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		gone[r.ID] = gone[r.ID] || !r.Deleted.IsZero()
	}
	scripts, err := m.store.ScriptRecords(ctx, true)
	for _, s := range scripts {
		gone[s.ID] = gone[s.ID] || !s.Deleted.IsZero()
	}
	return gone, err
}

// metrics brings over what is collected. A metric that Ratebook can't collect keeps no other from it.
func (m *moving) metrics(ctx context.Context) error {
	all, err := m.client.Metrics(ctx)
	if err != nil {
		return m.unread(ctx, "the metrics", err)
	}
	m.units = map[string]string{}
	var next []*metering.Metric
	for _, name := range slices.Sorted(maps.Keys(all)) {
		content, err := json.Marshal(map[string]map[string]json.RawMessage{"metrics": {name: all[name]}})
		if err != nil {
			return err
		}
		parsed, err := metering.ParseMetrics("metrics.yml", content, m.settings.ScopeKey)
		if err != nil {
			m.report.kind("metrics").refused++
			m.report.problem("metric "+name, "%s", inMetric(name, err))
			continue
		}
		next = append(next, parsed...)
	}
	current, err := m.store.Configuration(ctx, 0)
	if err != nil {
		return err
	}
	type key struct{ source, measured, name string }
	here := map[key]bool{}
	for _, metric := range current.Metrics {
		here[key{metric.Source, metric.Measured, metric.Name}] = true
	}
	fresh := slices.DeleteFunc(slices.Clone(next), func(metric *metering.Metric) bool { return here[key{metric.Source, metric.Measured, metric.Name}] })
	for _, metric := range next {
		m.units[metric.Name] = metric.Unit
	}
	m.report.kind("metrics").added += len(fresh)
	m.report.kind("metrics").known += len(next) - len(fresh)
	if len(fresh) == 0 || m.dryRun {
		return nil
	}
	if err := m.store.EnsureSource(ctx, metering.Source{Name: defaultSource, Kind: "prometheus", ScopeKey: m.settings.ScopeKey}); err != nil {
		return err
	}
	merged, d := metering.Diff(current.Metrics, fresh, false)
	_, err = m.store.Configure(ctx, &metering.Configuration{Version: current.Version, Metrics: merged}, actor(), d.String())
	return err
}

// inMetric says what is wrong with a metric; its line number would be of no use.
func inMetric(name string, err error) string {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || len(e.Fields) == 0 {
		return oneLine(err)
	}
	var parts []string
	for _, f := range e.Fields {
		_, path, _ := strings.Cut(f.Name, ": ")
		path = strings.TrimPrefix(strings.TrimPrefix(path, "metrics."+name), "metrics."+strconv.Quote(name))
		parts = append(parts, strings.TrimSpace(strings.TrimPrefix(path, ".")+" "+f.Message))
	}
	return strings.Join(parts, "; ")
}

// scopes brings over who is charged, and from when on.
func (m *moving) scopes(ctx context.Context) error {
	if !m.v2 {
		m.report.problem("the scopes", "this CloudKitty has no version 2 of the API, which alone tells how far they are processed; Ratebook finds them itself, and charges them from --start of serve on")
		return nil
	}
	all, others, err := m.client.Scopes(ctx)
	if err != nil {
		return m.unread(ctx, "the scopes", err)
	}
	if others > 0 {
		m.report.notes = append(m.report.notes, fmt.Sprintf("%s of other collectors or fetchers, for scopes that are there already, were left out", count(others, "state")))
	}
	states, err := m.store.ScopeStates(ctx)
	if err != nil {
		return err
	}
	here := map[string]bool{}
	for _, s := range states {
		if s.Scope.Source.Kind != metering.PushSource {
			here[s.Scope.ID] = true
		}
	}
	kind := m.report.kind("scopes")
	var source *metering.Source // that new scopes are of
	type start struct {
		fetcher string
		last    time.Time
	}
	together := map[start][]metering.Found{} // most scopes are equally far
	for _, s := range all {
		refuse := func(reason string, args ...any) {
			kind.refused++
			m.report.problem("scope "+s.ID, reason, args...)
		}
		switch {
		case s.ID == "":
			refuse("it has no id")
		case s.Key != "" && s.Key != m.settings.ScopeKey:
			refuse("its scope key is %s, and here it is %s", s.Key, m.settings.ScopeKey)
		case here[s.ID]:
			kind.known++
		case s.LastProcessed.IsZero():
			refuse("CloudKitty does not say how far it is processed")
		case !period.Floor(s.LastProcessed, m.settings.Period).Equal(s.LastProcessed):
			refuse("it is processed up to the period that begins at %s, but no period of %s does; is --period that of CloudKitty?",
				period.Format(s.LastProcessed, time.UTC), m.settings.Period)
		case m.dryRun:
			kind.added++
		case s.Active && source != nil:
			at := start{s.Fetcher, s.LastProcessed}
			together[at] = append(together[at], metering.Found{ID: s.ID})
		default:
			added, err := m.store.AddScope(ctx, metering.NewScope{ID: s.ID, Fetcher: s.Fetcher, Active: s.Active, LastProcessed: s.LastProcessed}, actor())
			switch fault.KindOf(err) {
			case fault.Conflict:
				kind.known++
			case fault.Invalid:
				refuse("%s", oneLine(err))
			default:
				if err != nil {
					return err
				}
				kind.added++
				source = &added.Scope.Source
			}
		}
	}
	for at, found := range together {
		added, err := m.store.AddScopes(ctx, *source, at.fetcher, found, at.last.Add(m.settings.Period))
		if err != nil {
			return err
		}
		kind.added += added
		kind.known += len(found) - added
	}
	return nil
}

// framesAuthor is who pushes imported data frames, whoever runs the import, so that a repeat is one for everybody.
const framesAuthor = "import cloudkitty"

// framesKey names the push of one period's data frames.
func (m *moving) framesKey(r period.Range) string {
	sum := sha256.Sum256([]byte(m.client.Endpoint()))
	return "cloudkitty " + hex.EncodeToString(sum[:8]) + " " + period.Format(r.Begin, time.UTC) + "/" + period.Format(r.End, time.UTC)
}

// dataframes brings over what was charged, a period at a time.
func (m *moving) dataframes(ctx context.Context) error {
	pushed, err := m.pushed(ctx)
	if err != nil {
		return err
	}
	guard, err := m.guard(ctx)
	if err != nil {
		return err
	}
	kind := m.report.kind("data points")
	var refused, outside int
	var first error
	for begin := m.asked.Begin; begin.Before(m.asked.End); {
		r := period.Range{Begin: begin, End: begin.Add(m.settings.Period)}
		begin = r.End
		p := &metering.Push{Author: framesAuthor, Idempotency: m.framesKey(r)}
		if points, ok := pushed[p.Idempotency]; ok {
			kind.known += points
			continue
		}
		var elsewhere int
		if m.v2 {
			p.Frames, elsewhere, err = m.client.Frames(ctx, r, m.settings.ScopeKey)
		} else {
			p.Frames, elsewhere, err = m.client.FramesV1(ctx, r, m.settings.ScopeKey, func(metric string) string { return m.units[metric] })
		}
		if err != nil {
			return m.unread(ctx, "data frames from "+period.Format(r.Begin, time.UTC)+" on", err)
		}
		outside += elsewhere
		points, err := guard.keep(ctx, p)
		if err != nil {
			return err
		}
		if points == 0 {
			continue
		}
		if !m.dryRun {
			p.Digest = digestOf(p)
			done, err := m.store.Push(ctx, p)
			switch {
			case fault.KindOf(err) == fault.Invalid || fault.KindOf(err) == fault.Conflict:
				kind.refused += points
				if refused++; first == nil {
					first = fmt.Errorf("%s: %w", period.Format(r.Begin, time.UTC), err)
				}
				continue
			case err != nil:
				return err
			case done.Repeated:
				kind.known += points
				continue
			}
		}
		kind.added += points
		if y, mo, d := r.End.UTC().Date(); r.Begin.UTC().Before(time.Date(y, mo, d, 0, 0, 0, 0, time.UTC)) {
			m.run.log.Info("data frames came over", "until", period.Format(r.End, time.UTC), "points", kind.added)
		}
	}
	if refused > 0 {
		m.report.problem("data frames of "+count(refused, "period"), "%s", oneLine(first))
	}
	if outside > 0 {
		m.report.notes = append(m.report.notes, count(outside, "data point")+" came that begin at other times than asked, and were left out")
	}
	kind.refused += guard.report(&m.report)
	return nil
}

// pushed returns how many points each import of data frames had, by its key.
func (m *moving) pushed(ctx context.Context) (map[string]int, error) {
	const page = 1000
	all := map[string]int{}
	for offset := 0; ; offset += page {
		requests, total, err := m.store.Pushes(ctx, page, offset)
		if err != nil {
			return nil, err
		}
		for _, r := range requests {
			if r.Author == framesAuthor {
				all[r.Idempotency] = r.Points
			}
		}
		if offset+page >= total {
			return all, nil
		}
	}
}

// guard keeps out data points of times that are charged here, too: the points of both would add up.
type guard struct {
	m      *moving
	states map[string]metering.ScopeState
	from   map[string]time.Time // from when on a scope has windows of its own
	left   map[string]int       // points left out
}

func (m *moving) guard(ctx context.Context) (*guard, error) {
	g := &guard{m: m, states: map[string]metering.ScopeState{}, from: map[string]time.Time{}, left: map[string]int{}}
	states, err := m.store.ScopeStates(ctx)
	for _, s := range states {
		if s.Scope.Source.Kind != metering.PushSource {
			g.states[s.Scope.ID] = s
		}
	}
	return g, err
}

// keep leaves in a push what may come over, and returns how many points that are.
func (g *guard) keep(ctx context.Context, p *metering.Push) (points int, err error) {
	for i := range p.Frames {
		f := &p.Frames[i]
		kept := f.Points[:0]
		for _, point := range f.Points {
			from, charged, err := g.charged(ctx, point.Scope)
			if err != nil {
				return 0, err
			}
			if charged && !f.Begin.Before(from) {
				g.left[point.Scope]++
				continue
			}
			kept = append(kept, point)
		}
		f.Points = kept
		points += len(kept)
	}
	p.Frames = slices.DeleteFunc(p.Frames, func(f metering.PushedFrame) bool { return len(f.Points) == 0 })
	return points, nil
}

// charged returns from when on a scope is charged here.
func (g *guard) charged(ctx context.Context, scope string) (from time.Time, charged bool, err error) {
	state, ok := g.states[scope]
	if !ok {
		return from, false, nil
	}
	if from, ok := g.from[scope]; ok {
		return from, true, nil
	}
	from = state.PlannedTo
	windows, err := g.m.store.Windows(ctx, state.Scope.Ref, g.m.asked)
	if err != nil {
		return from, false, err
	}
	if len(windows) > 0 && windows[0].Begin.Before(from) {
		from = windows[0].Begin
	}
	g.from[scope] = from
	return from, true, nil
}

// report says what was left out, and returns how many points that were.
func (g *guard) report(r *movingReport) (points int) {
	for _, scope := range slices.Sorted(maps.Keys(g.left)) {
		r.problem("data frames of scope "+scope, "%s left out: from %s on its usage is charged here, and would be twice", count(g.left[scope], "point"), period.Format(g.from[scope], time.UTC))
		points += g.left[scope]
	}
	return points
}

// digestOf is of what a push brings, whatever the order in which it came.
func digestOf(p *metering.Push) [32]byte {
	var lines []string
	for i := range p.Frames {
		f := &p.Frames[i]
		for j := range f.Points {
			pt := &f.Points[j]
			lines = append(lines, fmt.Sprintf("%d %d %q %q %q %s %s %q %q %q", f.Begin.Unix(), f.End.Unix(), pt.Scope, pt.Metric, pt.Unit, pt.Qty, pt.Price, pt.Groupby, pt.Metadata, pt.Literals))
		}
	}
	slices.Sort(lines)
	return sha256.Sum256([]byte(strings.Join(lines, "\n")))
}

// compare holds the totals of both against each other.
func (m *moving) compare(ctx context.Context) error {
	theirs, err := m.client.Totals(ctx, m.asked, m.settings.ScopeKey, m.v2)
	if err != nil {
		return m.unread(ctx, "the comparison of totals", err)
	}
	type key struct{ scope, metric string }
	rows := map[key]*totals{}
	row := func(scope, metric string) *totals {
		t := rows[key{scope, metric}]
		if t == nil {
			t = &totals{scope: scope, metric: metric}
			rows[key{scope, metric}] = t
		}
		return t
	}
	for _, t := range theirs {
		r := row(t.Scope, t.Metric)
		r.theirs = r.theirs.Add(t.Cost)
	}
	_, err = m.store.Report(ctx, &costs.Query{Range: m.asked, Groups: []string{costs.Scope, costs.Metric}}, func(r costs.Row) error {
		t := row(r.Groups[0], r.Groups[1])
		t.ours = t.ours.Add(r.Cost)
		return nil
	})
	if err != nil {
		return err
	}
	all := make([]totals, 0, len(rows))
	wrong := 0
	for _, t := range rows {
		all = append(all, *t)
		if m.frames && !m.dryRun && !t.alike() {
			wrong++
		}
	}
	slices.SortFunc(all, func(a, b totals) int { return cmp.Or(cmp.Compare(a.scope, b.scope), cmp.Compare(a.metric, b.metric)) })
	m.report.asked, m.report.totals, m.report.compared = m.asked, all, true
	if wrong > 0 {
		m.report.problem("totals", "%s by more than CloudKitty's rounding; see the comparison", differ(wrong))
	}
	return nil
}

func differ(n int) string {
	if n == 1 {
		return "1 total differs"
	}
	return fmt.Sprintf("%d totals differ", n)
}

// totals are what something costs there and here.
type totals struct {
	scope, metric string
	theirs, ours  money.Decimal
}

// Amounts of CloudKitty, which computes with floats and in places rounds to five decimals, may be wrong by the larger of these.
var (
	relativeNoise = money.New(1, 9) // of the amount
	absoluteNoise = money.New(1, 5)
)

// alike reports whether the totals differ by no more than CloudKitty's rounding.
func (t *totals) alike() bool {
	d := t.ours.Sub(t.theirs)
	if d.Sign() < 0 {
		d = d.Neg()
	}
	noise := t.theirs.Mul(relativeNoise)
	if noise.Sign() < 0 {
		noise = noise.Neg()
	}
	return d.Cmp(noise) <= 0 || d.Cmp(absoluteNoise) <= 0
}

// movingReport says what came over.
type movingReport struct {
	dryRun   bool
	endpoint string
	kinds    map[string]*moved
	problems []string // what did not come over, and why
	notes    []string
	compared bool
	asked    period.Range
	totals   []totals
}

// moved counts things of one kind.
type moved struct{ added, known, refused int }

// movedKinds is the order of kinds.
var movedKinds = []string{"modules", "services", "fields", "groups", "mappings", "thresholds", "scripts", "metrics", "scopes", "data points"}

func (r *movingReport) kind(name string) *moved {
	if r.kinds == nil {
		r.kinds = map[string]*moved{}
	}
	if r.kinds[name] == nil {
		r.kinds[name] = &moved{}
	}
	return r.kinds[name]
}

func (r *movingReport) problem(what, why string, args ...any) {
	r.problems = append(r.problems, what+": "+fmt.Sprintf(why, args...))
}

func (r *movingReport) write(w io.Writer) error {
	if r.dryRun {
		fmt.Fprintf(w, "Nothing was changed. This would come over from CloudKitty at %s:\n\n", r.endpoint)
	} else {
		fmt.Fprintf(w, "From CloudKitty at %s:\n\n", r.endpoint)
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "\tCAME OVER\tHERE ALREADY\tNOT, OR NOT AS IT WAS\t")
	for _, name := range movedKinds {
		if k := r.kinds[name]; k != nil {
			fmt.Fprintf(out, "%s\t%d\t%d\t%d\t\n", name, k.added, k.known, k.refused)
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	list(w, "What did not come over, or not as it was", r.problems)
	list(w, "Notes", r.notes)
	if !r.compared {
		return nil
	}
	fmt.Fprintf(w, "\nTotals from %s to %s:\n\n", period.Format(r.asked.Begin, time.UTC), period.Format(r.asked.End, time.UTC))
	out = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "SCOPE\tTYPE\tCLOUDKITTY\tRATEBOOK\tDIFFERENCE")
	var sum totals
	for _, t := range r.totals {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", t.scope, t.metric, t.theirs, t.ours, t.ours.Sub(t.theirs))
		sum.theirs, sum.ours = sum.theirs.Add(t.theirs), sum.ours.Add(t.ours)
	}
	fmt.Fprintf(out, "all\tall\t%s\t%s\t%s\n", sum.theirs, sum.ours, sum.ours.Sub(sum.theirs))
	return out.Flush()
}

// list writes lines under a heading, if there are any.
func list(w io.Writer, heading string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s:\n\n", heading)
	for _, line := range lines {
		fmt.Fprintln(w, "  "+line)
	}
}
