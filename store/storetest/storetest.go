// Package storetest is the conformance suite of package store: what must hold on every database.
package storetest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/money"
	"ratebook/period"
	"ratebook/store"
)

type test struct {
	name string
	run  func(*env)
}

// tb is a test, or one case of a property.
type tb interface {
	Helper()
	Context() context.Context
	Cleanup(fn func())
	Failed() bool
	Log(args ...any)
	Logf(format string, args ...any)
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// Run checks the store on databases of one kind; database returns the URL of a fresh, empty one.
func Run(t *testing.T, database func(t *testing.T) (databaseURL string)) {
	for _, c := range slices.Concat(migrateTests, settingTests, userTests, sessionTests, catalogTests, scopeTests, scopeChangeTests, leaseTests, commitTests, againTests, rollupTests, reportTests, stateTests, findingTests, versionTests, taskTests, coverageTests, retentionTests, ruleTests, tokenTests, collectorTests, pushTests) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(newEnv(t, database(t), database))
		})
	}
}

// begin is where most worlds start: two hours before the month ends in UTC, one in Berlin.
var begin = at("2026-10-31T22:00:00Z")

const hour = time.Hour

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// env is a test's database: a Store on it, and a connection beside it for looking and for damage.
type env struct {
	tb
	ctx      context.Context
	url      string
	database func(*testing.T) string // for further ones
	postgres bool
	s        *store.Store // opened, migrated, with settings unless bare
	raw      *sqlx.DB

	src     metering.Source
	config  int64
	metrics map[string]*metering.Metric // by what they measure
}

func newEnv(t tb, url string, database func(*testing.T) string) *env {
	e := &env{tb: t, ctx: t.Context(), url: url, database: database, postgres: strings.HasPrefix(url, "postgres"), metrics: map[string]*metering.Metric{}}
	e.s = e.open()
	e.raw = e.openRaw()
	return e
}

// open opens a further Store, as another process would.
func (e *env) open() *store.Store {
	e.Helper()
	s, err := store.Open(e.ctx, e.url, true, slog.New(slog.DiscardHandler))
	e.must(err)
	e.Cleanup(func() { _ = s.Close() })
	return s
}

func (e *env) openRaw() *sqlx.DB {
	driver, dsn := "postgres", e.url
	if !e.postgres {
		driver, dsn = "sqlite", "file:"+strings.TrimPrefix(e.url, "sqlite://")+"?_pragma=busy_timeout(10000)&_txlock=immediate"
	}
	db, err := sqlx.Open(driver, dsn)
	e.must(err)
	e.Cleanup(func() { db.Close() })
	return db
}

func (e *env) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// refused fails unless err is of a kind and its sentence has the words.
func (e *env) refused(err error, kind fault.Kind, words ...string) {
	e.Helper()
	if err == nil || fault.KindOf(err) != kind {
		e.Fatalf("got %v (kind %d), want an error of kind %d", err, fault.KindOf(err), kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			e.Errorf("%q does not say %q", err, w)
		}
	}
}

func (e *env) exec(query string, args ...any) {
	e.Helper()
	_, err := e.raw.ExecContext(e.ctx, e.raw.Rebind(query), args...)
	if err != nil {
		e.Fatalf("%s: %v", query, err)
	}
}

// count returns the number that a query yields.
func (e *env) count(query string, args ...any) (n int64) {
	e.Helper()
	if err := e.raw.GetContext(e.ctx, &n, e.raw.Rebind(query), args...); err != nil {
		e.Fatalf("%s: %v", query, err)
	}
	return n
}

// rows returns what a query yields as sorted texts, its columns separated by |.
func (e *env) rows(query string, args ...any) (lines []string) {
	e.Helper()
	rows, err := e.raw.QueryxContext(e.ctx, e.raw.Rebind(query), args...) //nolint:sqlclosecheck // closed just below; Fatalf confuses it
	if err != nil {
		e.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.SliceScan()
		e.must(err)
		line := make([]string, len(values))
		for i, v := range values {
			switch v := v.(type) {
			case []byte:
				line[i] = string(v)
			case time.Time:
				line[i] = v.UTC().Format(time.RFC3339)
			default:
				line[i] = fmt.Sprint(v)
			}
		}
		lines = append(lines, strings.Join(line, "|"))
	}
	e.must(rows.Err())
	slices.Sort(lines)
	return lines
}

// unix is SQL for a time in Unix seconds.
func (e *env) unix(column string) string {
	if e.postgres {
		return "CAST(extract(epoch FROM " + column + ") AS bigint)"
	}
	return "CAST(" + column + " AS integer)"
}

// time returns a time as an argument of raw SQL.
func (e *env) time(t time.Time) any {
	if e.postgres {
		return t
	}
	return t.Unix()
}

// state is everything that processing stores, as text.
func (e *env) state() string {
	e.Helper()
	var b strings.Builder
	for _, table := range []string{
		"settings", "metrics", "series", "charges", "superseded_charges", "windows", "findings", "finding_days", "finding_sums", "new_series_days", "tasks", "task_scopes", "task_differences",
		"scope_metric_days", "scope_metric_months", "series_day_packs", "series_month_packs", "scope_window_packs", "source_versions",
	} {
		fmt.Fprintf(&b, "%s\n\t%s\n", table, strings.Join(e.rows("SELECT * FROM "+table), "\n\t"))
	}
	return b.String()
}

// sabotage makes INSERTs into a table fail where a condition on NEW holds; the function it returns ends that.
func (e *env) sabotage(table, when string) (end func()) {
	e.Helper()
	if e.postgres {
		e.exec("CREATE OR REPLACE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'sabotage'; END $$")
		e.exec("CREATE TRIGGER sabotage BEFORE INSERT ON " + table + " FOR EACH ROW WHEN (" + when + ") EXECUTE FUNCTION sabotage()")
		return func() { e.exec("DROP TRIGGER sabotage ON " + table) }
	}
	e.exec("CREATE TRIGGER sabotage BEFORE INSERT ON " + table + " WHEN " + when + " BEGIN SELECT RAISE(ABORT, 'sabotage'); END")
	return func() { e.exec("DROP TRIGGER sabotage") }
}

// world makes the database ready to process: settings, a source, a metric for each of those measured.
func (e *env) world(w store.Wanted, measured ...string) {
	e.Helper()
	_, err := e.s.Migrate(e.ctx)
	e.must(err)
	_, err = e.s.UseSettings(e.ctx, w)
	e.must(err)
	e.src, err = e.s.UseSource(e.ctx, metering.Source{Name: "default", Kind: "prometheus", URL: "http://prometheus", ScopeKey: "project_id"})
	e.must(err)
	if len(measured) == 0 {
		measured = []string{"cpu"}
	}
	c := &metering.Configuration{}
	for _, m := range measured {
		c.Metrics = append(c.Metrics, &metering.Metric{Source: "default", Name: m, Measured: m, Unit: "unit of " + m, Groupby: []string{"id"}, Factor: money.One})
	}
	e.configure(c)
}

func (e *env) configure(c *metering.Configuration) {
	e.Helper()
	var err error
	e.config, err = e.s.Configure(e.ctx, c, "test", "")
	e.must(err)
	c, err = e.s.Configuration(e.ctx, 0)
	e.must(err)
	for _, m := range c.Metrics {
		e.metrics[m.Measured] = m
	}
}

// scopes adds scopes whose first window begins then, and returns them in order of their ids.
func (e *env) scopes(first time.Time, ids ...string) []*metering.Scope {
	e.Helper()
	var found []metering.Found
	for _, id := range ids {
		found = append(found, metering.Found{ID: id})
	}
	_, err := e.s.AddScopes(e.ctx, e.src, "prometheus", found, first)
	e.must(err)
	all, err := e.s.Scopes(e.ctx)
	e.must(err)
	return slices.DeleteFunc(all, func(s *metering.Scope) bool { return !slices.Contains(ids, s.ID) })
}

func (e *env) plan(until time.Time) int64 {
	e.Helper()
	n, err := e.s.Plan(e.ctx, hour, until)
	e.must(err)
	return n
}

func (e *env) lease(r metering.LeaseRequest) []metering.Lease {
	e.Helper()
	return e.leaseFrom(e.s, r)
}

func (e *env) leaseFrom(s *store.Store, r metering.LeaseRequest) []metering.Lease {
	e.Helper()
	r.Holder = "test"
	if r.For == 0 {
		r.For = hour
	}
	if r.Scopes == 0 {
		r.Scopes = 100
	}
	leases, err := s.Lease(e.ctx, r)
	e.must(err)
	return leases
}

// batch returns an empty batch of leases that have the same run.
func (e *env) batch(leases []metering.Lease) *metering.Batch {
	e.Helper()
	if len(leases) == 0 {
		e.Fatal("nothing was leased")
	}
	b := &metering.Batch{Token: leases[0].Token, Run: leases[0].Run, ConfigVersion: e.config, RulesVersion: 1, SourceVersion: "prometheus 3.5.0", Task: leases[0].Task}
	for _, l := range leases {
		if l.Run != b.Run || l.Token != b.Token {
			e.Fatalf("leases of different runs: %v and %v", b.Run, l.Run)
		}
		b.Scopes = append(b.Scopes, l.Scope)
	}
	return b
}

// token makes a lease token.
func (e *env) token() int64 {
	e.Helper()
	token, err := e.s.LeaseToken(e.ctx)
	e.must(err)
	return token
}

// seize returns an empty batch over planned windows of scopes under a lease of its own. If some are done already it is of a
// task that does them all again; those that are not are empty then.
func (e *env) seize(run period.Run, scopes ...*metering.Scope) *metering.Batch {
	e.Helper()
	b := &metering.Batch{Token: e.token(), Scopes: scopes, Run: run, ConfigVersion: e.config, RulesVersion: 1}
	for _, s := range scopes {
		e.exec("UPDATE scopes SET lease_token = ?, lease_until = ? WHERE id = ?", b.Token, e.time(time.Now().Add(hour).Truncate(time.Second)), s.Ref)
	}
	return e.reopen(b)
}

// again returns an empty batch over the windows of another, by later versions: of a task if they are done.
func (e *env) again(b *metering.Batch) *metering.Batch {
	e.Helper()
	return e.reopen(&metering.Batch{Token: b.Token, Scopes: b.Scopes, Run: b.Run, ConfigVersion: b.ConfigVersion + 1, RulesVersion: b.RulesVersion + 1, SourceVersion: b.SourceVersion})
}

// reopen makes windows of a batch that are done wait for a new task, which becomes the batch's.
func (e *env) reopen(b *metering.Batch) *metering.Batch {
	e.Helper()
	r := b.Run.Range()
	where := fmt.Sprintf(" WHERE begins_at >= %s AND begins_at < %s AND scope IN (0", e.literal(r.Begin), e.literal(r.End))
	for _, s := range b.Scopes {
		where += fmt.Sprintf(", %d", s.Ref)
	}
	where += ")"
	if b.Run.Count > 0 && e.count("SELECT count(*) FROM windows"+where+" AND state IN (2, 5)") > 0 {
		b.Task = e.task(metering.Reprocess)
		e.exec("UPDATE windows SET task = ?, next_attempt = begins_at, state = CASE state WHEN 0 THEN 5 WHEN 3 THEN 5 ELSE state END"+where+" AND state <> 4", b.Task.ID)
	}
	return b
}

// task makes a running task without windows.
func (e *env) task(kind metering.TaskKind) *metering.Task {
	e.Helper()
	id := e.count(`INSERT INTO tasks (kind, state, all_scopes, begins_at, ends_at, as_it_was, reason, author, created_at)
		VALUES (?, 'running', ?, ?, ?, ?, 'a test', 'ada', ?) RETURNING id`, kind, false, e.time(begin), e.time(begin.Add(hour)), false, e.time(begin))
	return &metering.Task{ID: id, Kind: kind, Author: "ada", Reason: "a test"}
}

// literal is a time in raw SQL.
func (e *env) literal(t time.Time) string {
	if e.postgres {
		return "'" + t.UTC().Format(time.RFC3339) + "'"
	}
	return fmt.Sprint(t.Unix())
}

// free gives back what seize took.
func (e *env) free(b *metering.Batch) {
	e.Helper()
	e.must(e.s.Release(e.ctx, b.Token, b.Scopes))
}

// fill adds usage of one series, a sample for each window from the first on: "qty@price"; "" leaves a window out.
func (e *env) fill(b *metering.Batch, s *metering.Scope, measured string, groupby metering.Attributes, samples ...string) {
	e.Helper()
	u := metering.Usage{Series: metering.Series{Scope: s, Metric: e.metrics[measured], Groupby: groupby}}
	for i, text := range samples {
		if text != "" {
			qty, price, _ := strings.Cut(text, "@")
			u.Samples = append(u.Samples, metering.Sample{Window: i, Qty: money.MustParse(qty), Price: money.MustParse(price)})
		}
	}
	b.Usage = append(b.Usage, u)
}

func (e *env) commit(b *metering.Batch) {
	e.Helper()
	e.must(e.s.Commit(e.ctx, b))
}

// attrs makes attributes of names and values.
func attrs(pairs ...string) metering.Attributes {
	as := metering.Attributes{}
	for i := 0; i < len(pairs); i += 2 {
		as = append(as, metering.Attribute{Name: pairs[i], Value: pairs[i+1]})
	}
	as.Sort()
	return as
}

// each returns the same text n times.
func each(n int, s string) []string { return slices.Repeat([]string{s}, n) }

// charges are the stored charges: scope, metric, groupby, begin, seq, qty, price.
func (e *env) charges() []string {
	e.Helper()
	return e.rows(`SELECT s.scope, m.name, CAST(r.groupby AS text), ` + e.unix("c.begins_at") + `, c.seq, CAST(c.qty AS text), CAST(c.price AS text)
		FROM charges c JOIN series r ON r.id = c.series JOIN scopes s ON s.id = c.scope JOIN metrics m ON m.id = r.metric`)
}

// windows is the ledger: scope, begin, state, attempts, points, amount, error.
func (e *env) windows() (lines []string) {
	e.Helper()
	scopes, err := e.s.Scopes(e.ctx)
	e.must(err)
	for _, s := range scopes {
		for _, w := range e.windowsOf(s) {
			lines = append(lines, fmt.Sprintf("%s %s %s state %d, %d attempts, %d points, %s %s", s.ID, w.Begin.Format("02 15:04"),
				w.End.Sub(w.Begin), w.State, w.Attempts, w.Points, w.Amount, w.Error))
		}
	}
	return lines
}

func (e *env) windowsOf(s *metering.Scope) []metering.Window {
	e.Helper()
	all, err := e.s.Windows(e.ctx, s.Ref, period.Range{Begin: at("1970-01-01T00:00:00Z"), End: at("2100-01-01T00:00:00Z")})
	e.must(err)
	return all
}

// mismatches verifies the roll-ups.
func (e *env) mismatches() (all []string) {
	e.Helper()
	e.must(e.s.VerifyRollups(e.ctx, func(m store.Mismatch) { all = append(all, m.Scope+": "+m.What) }))
	return all
}

// sound fails unless the roll-ups equal the charges: as the store sees it, and as reports and plain sums of charges do.
func (e *env) sound() {
	e.Helper()
	if bad := e.mismatches(); len(bad) > 0 {
		e.Fatalf("the roll-ups differ from the charges:\n%s", strings.Join(bad, "\n"))
	}
	e.compare(e.ofKept(standardQueries(e.zone()))...)
}

func (e *env) zone() *time.Location {
	e.Helper()
	settings, err := e.s.UseSettings(e.ctx, store.Wanted{})
	e.must(err)
	return settings.Zone
}

func (e *env) equal(what string, got, want any) {
	e.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		e.Fatalf("%s:\n got %s\nwant %s", what, g, w)
	}
}

// charged leases, fills and commits a number of windows of scopes, adding them as needed. Each has a few series of every
// metric, with quantities and prices that follow from the window.
func (e *env) charged(windows int, ids ...string) {
	e.Helper()
	e.scopes(begin, ids...)
	until := begin.Add(time.Duration(windows) * hour)
	e.plan(until)
	for {
		leases := e.lease(metering.LeaseRequest{Only: ids, Until: until, Scopes: 1})
		if len(leases) == 0 {
			return
		}
		b := e.batch(leases)
		for _, s := range b.Scopes {
			for m := range e.metrics {
				for id := range 3 {
					samples := make([]string, b.Run.Count)
					for i := range samples {
						n := b.Run.Window(i).Begin.Unix()/3600 + int64(id)
						if n%7 != 0 {
							samples[i] = fmt.Sprintf("%d.%03d@%d.%012d", n%13, n%1000, n%5-1, n*7919)
						}
					}
					e.fill(b, s, m, attrs("id", fmt.Sprint(id)), samples...)
				}
			}
		}
		e.commit(b)
		e.free(b)
	}
}
