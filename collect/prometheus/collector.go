package prometheus

import (
	"context"
	"net/url"
	"strconv"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"ratebook/fault"
	"ratebook/metering"
)

// parallel is how many queries of one request are under way at a time.
const parallel = 4

// Collector collects usage. It is safe for concurrent use.
type Collector struct {
	Client *Client

	// OneByOne asks one instant query for each metric, scope and window, as CloudKitty does: the slow reference that
	// batches are held against. They bring exactly the same Collection.
	OneByOne bool
}

// job is one query and what it is about.
type job struct {
	metric *metering.Metric
	scopes []*metering.Scope
	grid   grid
	ranged bool // ask for all windows of the grid at once
	answer part
}

// Collect asks for the usage that req wants. All scopes must have the same scope key.
//
// Usage is sorted by metric and scope in the order of req, then by labels; samples by window. A series has one Usage;
// only where a query prefix or suffix brings several values for the same labels and window are there more, one for each.
// Labels that a series lacks are empty. A metric is reported absent in a window if no scope at all has samples of it,
// whether req names the scope or not; metrics that may be absent are not looked at.
//
// The error wraps [metering.ErrTooMuch] if fewer scopes or windows may be answered, [metering.ErrQuestion] if others may.
func (c *Collector) Collect(ctx context.Context, req *metering.Request) (*metering.Collection, error) {
	if len(req.Scopes) == 0 || len(req.Metrics) == 0 || req.Run.Count == 0 {
		return &metering.Collection{}, nil
	}
	rank, err := ranks(req.Scopes)
	if err != nil {
		return nil, err
	}
	jobs := c.plan(req)
	if err := c.ask(ctx, req, jobs); err != nil {
		return nil, err
	}
	col := new(metering.Collection)
	seen := make(map[*metering.Metric][]bool, len(req.Metrics))
	for len(jobs) > 0 {
		m, n := jobs[0].metric, 1
		for n < len(jobs) && jobs[n].metric == m {
			n++
		}
		all := together(jobs[:n], req.Run.Count)
		jobs = jobs[n:]
		usage, err := merge(all.usage, rank, decorated(m))
		if err != nil {
			return nil, fault.Wrap(fault.Unavailable, metering.ErrQuestion, "Prometheus at %s, %s: the answer contains %s", c.Client.shown, about(m), err)
		}
		seen[m] = all.seen
		col.Usage = append(col.Usage, usage...)
		col.Findings = append(col.Findings, skippedFindings(m, all.skipped, rank)...)
		col.Findings = append(col.Findings, noteFindings(m, all.notes)...)
	}
	col.Absent, err = c.absent(ctx, req, seen)
	if err != nil {
		return nil, err
	}
	col.SourceVersion = c.Client.Version(ctx)
	return col, nil
}

// ranks returns the place of each scope, or an error if one can't be asked for.
func ranks(scopes []*metering.Scope) (map[*metering.Scope]int, error) {
	rank := make(map[*metering.Scope]int, len(scopes))
	ids := make(map[string]bool, len(scopes))
	for i, s := range scopes {
		switch {
		case s.Source.ScopeKey == "" || s.Source.ScopeKey != scopes[0].Source.ScopeKey:
			return nil, fault.New(fault.Internal, "one request to Prometheus with several scope keys, or none")
		case s.ID == "" || !utf8.ValidString(s.ID):
			return nil, fault.Wrap(fault.Invalid, metering.ErrQuestion, "the scope ID %q can't be asked for; it must be text in UTF-8, and not empty", s.ID)
		case ids[s.ID]:
			return nil, fault.New(fault.Internal, "the scope %q twice in one request to Prometheus", s.ID)
		}
		rank[s], ids[s.ID] = i, true
	}
	return rank, nil
}

// decorated reports whether a metric's query has parts that we don't understand: it can't be asked for many scopes or
// windows at once, since the parts may drop labels or look at the time of evaluation.
func decorated(m *metering.Metric) bool {
	return m.Prometheus.Prefix != "" || m.Prometheus.Suffix != ""
}

func about(m *metering.Metric) string { return "metric " + m.Name }

// plan returns the queries that req takes, those of one metric together.
func (c *Collector) plan(req *metering.Request) []job {
	var jobs []job
	for _, m := range req.Metrics {
		if !c.OneByOne && !decorated(m) {
			for _, scopes := range batches(req.Scopes) {
				jobs = append(jobs, job{metric: m, scopes: scopes, grid: gridOf(req.Run, 0, req.Run.Count), ranged: true})
			}
			continue
		}
		for _, s := range req.Scopes {
			for w := range req.Run.Count {
				jobs = append(jobs, job{metric: m, scopes: []*metering.Scope{s}, grid: gridOf(req.Run, w, 1)})
			}
		}
	}
	return jobs
}

// ask answers the jobs.
func (c *Collector) ask(ctx context.Context, req *metering.Request, jobs []job) error {
	key := req.Scopes[0].Source.ScopeKey
	points := &budget{most: int64(req.MaxPoints)}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i := range jobs {
		group.Go(func() error {
			j := &jobs[i]
			q := query(j.metric, key, manyScopes(key, j.scopes), req.Run.Length)
			u := newUsageSink(j, key, points)
			notes, err := c.Client.query(ctx, about(j.metric), q, j.grid, j.ranged, u)
			j.answer, j.answer.notes = u.part, notes
			return err
		})
	}
	return group.Wait()
}

// together returns what the jobs of one metric brought over a run of windows, and takes it from them.
func together(jobs []job, windows int) part {
	all := part{seen: make([]bool, windows)}
	for i := range jobs {
		p := &jobs[i].answer
		all.usage = append(all.usage, p.usage...)
		all.skipped = append(all.skipped, p.skipped...)
		all.notes = append(all.notes, p.notes...)
		for w, s := range p.seen {
			all.seen[w] = all.seen[w] || s
		}
		*p = part{}
	}
	return all
}

// query evaluates q at the end of the grid's windows, all of them if ranged, else its only one.
func (c *Client) query(ctx context.Context, what, q string, g grid, ranged bool, to sink) (notes []string, err error) {
	form := url.Values{"query": {q}}
	if !ranged {
		form.Set("time", strconv.FormatInt(g.first, 10))
		return c.post(ctx, what, "/query", form, readResult(vector, to))
	}
	form.Set("start", strconv.FormatInt(g.first, 10))
	form.Set("end", strconv.FormatInt(g.last(), 10))
	form.Set("step", strconv.FormatInt(g.step, 10))
	return c.post(ctx, what, "/query_range", form, readResult(matrix, to))
}
