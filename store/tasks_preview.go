package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
)

// A part of a preview has about so many leases at the most, or it is of a single scope.
const previewLeases = 1_500

// maxLosses is how many of the points that would lose their price are kept of a preview, the most expensive, each with its
// attributes. All of them are counted.
const maxLosses = 1_000

// NextPreview returns a part of the oldest task that is to be previewed, that nobody previews and of which the caller can ask
// the source, or nil if there is none. The task is the caller's for some time, or until SavePreview. A task of which nothing
// is left waits to be started.
func (s *Store) NextPreview(ctx context.Context, r metering.PreviewRequest) (p *metering.Preview, err error) {
	for {
		idle := true
		err := s.view(ctx, func(t *tx) error {
			var id int64
			which, args := toPreview(&r, time.Now())
			found, err := t.get(ctx, &id, "SELECT id FROM tasks WHERE "+which+" LIMIT 1", args...)
			idle = !found
			return err
		})
		if err != nil || idle {
			return nil, err
		}
		done := false
		err = s.update(ctx, func(t *tx) (err error) {
			p, done, err = t.nextPreview(ctx, &r)
			return err
		})
		if err != nil {
			return nil, err
		}
		if !done { // else there may be another task
			return p, nil
		}
	}
}

// toPreview is SQL for the tasks of a request that nobody previews.
func toPreview(r *metering.PreviewRequest, now time.Time) (string, []any) {
	const open = "SELECT 1 FROM task_scopes ts WHERE ts.task = tasks.id AND NOT ts.previewed"
	query, args := unfinished+" AND state = 'previewing' AND (lease_until IS NULL OR lease_until <= ? OR lease_until > ?)",
		[]any{at(now), at(now.Add(max(mostLease, mostLeases*r.For)))}
	if r.Task != 0 {
		query, args = query+" AND id = ?", append(args, r.Task)
	}
	able := "tasks.kind = ? OR NOT EXISTS (" + open + ")"
	args = append(args, metering.Rerate)
	if len(r.Sources) > 0 {
		able += " OR EXISTS (" + open + " AND ts.scope IN (" + ofSources + "))"
		args = append(args, r.Sources)
	}
	return in(query+" AND ("+able+")", args...)
}

// ofSources is SQL for the scopes of some sources.
const ofSources = "SELECT s.id FROM scopes s JOIN sources src ON src.id = s.source WHERE src.name IN (?)"

// nextPreview takes the next part; done says that there was none and something was changed that may bring another.
func (t *tx) nextPreview(ctx context.Context, r *metering.PreviewRequest) (p *metering.Preview, done bool, err error) {
	now := time.Now()
	var row taskRow
	which, args := toPreview(r, now)
	found, err := t.get(ctx, &row, "SELECT "+taskColumns+" FROM tasks WHERE "+which+" ORDER BY id LIMIT 1 "+t.d.skipLocked, args...)
	if err != nil || !found {
		return nil, false, err
	}
	task := row.task()
	token, err := t.token(ctx)
	if err != nil {
		return nil, false, err
	}
	if _, err := t.exec(ctx, "UPDATE tasks SET lease_token = ?, lease_until = ? WHERE id = ?", token, at(now.Add(r.For)), task.ID); err != nil {
		return nil, false, err
	}
	p = &metering.Preview{Task: &task, Token: token}
	scopes, err := t.unpreviewed(ctx, &task, r.Sources)
	if err != nil {
		return nil, false, err
	}
	if len(scopes) == 0 {
		return nil, true, t.endPreview(ctx, task.ID)
	}
	without, err := t.previewRuns(ctx, p, scopes)
	if err != nil {
		return nil, false, err
	}
	if err := t.previewed(ctx, task.ID, without); err != nil {
		return nil, false, err
	}
	if len(p.Leases) == 0 {
		_, err := t.exec(ctx, "UPDATE tasks SET lease_until = NULL WHERE id = ?", task.ID)
		return nil, true, err
	}
	return p, false, nil
}

// unpreviewed returns some scopes that a task's preview has not come to, of some sources if these are to be asked.
func (t *tx) unpreviewed(ctx context.Context, task *metering.Task, sources []string) (scopes []int64, err error) {
	length, err := t.period(ctx)
	if err != nil {
		return nil, err
	}
	windows := int(task.Range.End.Sub(task.Range.Begin)/length) + 1 // of each scope, about
	leases := (windows + metering.MaxLeaseWindows - 1) / metering.MaxLeaseWindows
	query, args := "SELECT scope FROM task_scopes WHERE task = ? AND NOT previewed", []any{task.ID}
	if task.Kind != metering.Rerate && len(sources) > 0 {
		query, args = query+" AND scope IN ("+ofSources+")", append(args, sources)
	}
	query, args = in(query+" ORDER BY scope LIMIT ?", append(args, max(1, previewLeases/leases))...)
	err = t.list(ctx, &scopes, query, args...)
	return scopes, err
}

// previewRuns adds leases for the windows that a preview's task would do in the first of some scopes, as many as it may
// have, and returns those of these scopes in which there are no windows.
func (t *tx) previewRuns(ctx context.Context, p *metering.Preview, refs []int64) (without []int64, err error) {
	var rows []scopeRow
	query, args := in("SELECT "+scopeColumns+" WHERE s.id IN (?)", refs)
	if err := t.list(ctx, &rows, query, args...); err != nil {
		return nil, err
	}
	scopes := make(map[int64]*metering.Scope, len(rows))
	for i := range rows {
		scopes[rows[i].ID] = rows[i].scope()
	}
	var w previewWindow
	query, args = in(`SELECT scope, begins_at, period, points, COALESCE(config_version, 0), COALESCE(rules_version, 0), absence_accepted
		FROM windows WHERE scope IN (?) AND begins_at >= ? AND begins_at < ? AND state IN (2, 5) ORDER BY scope, begins_at`,
		refs, at(p.Task.Range.Begin), at(p.Task.Range.End))
	err = t.each(ctx, func(rows *sqlx.Rows) error {
		if err := rows.Scan(&w.scope, &w.begin, &w.seconds, &w.points, &w.config, &w.rules, &w.accepted); err != nil {
			return fmt.Errorf("store: ledger: %w", err)
		}
		if n := len(p.Leases); n > 0 && w.extends(&p.Leases[n-1]) {
			last := &p.Leases[n-1]
			last.Run.Count++
			last.Points = max(last.Points, w.points)
			return nil
		}
		p.Leases = append(p.Leases, metering.Lease{
			Token: p.Token, Scope: scopes[w.scope], Run: period.Run{Begin: w.begin.Time, Length: w.length(), Count: 1},
			Points: w.points, Task: p.Task, Config: w.config, Rules: w.rules, Accepted: w.accepted,
		})
		return nil
	}, query, args...)
	if err != nil {
		return nil, err
	}
	with := map[int64]bool{}
	for i := range p.Leases {
		with[p.Leases[i].Scope.Ref] = true
	}
	without = slices.DeleteFunc(slices.Clone(refs), func(ref int64) bool { return with[ref] })
	// windows may be shorter than was guessed, or their versions may change all the time: then some scopes have to wait
	keep := len(p.Leases)
	for keep > previewLeases && p.Leases[keep-1].Scope != p.Leases[0].Scope {
		for last := p.Leases[keep-1].Scope; p.Leases[keep-1].Scope == last; {
			keep--
		}
	}
	p.Leases = p.Leases[:keep]
	return without, nil
}

// previewWindow is a window that a preview looks at.
type previewWindow struct {
	scope    int64
	begin    timestamp
	seconds  int64
	points   int
	config   int64
	rules    int64
	accepted bool
}

func (w *previewWindow) length() time.Duration { return time.Duration(w.seconds) * time.Second }

// extends reports whether the window is the next one of a lease.
func (w *previewWindow) extends(l *metering.Lease) bool {
	return l.Scope.Ref == w.scope && l.Run.Count < metering.MaxLeaseWindows && l.Run.Length == w.length() && l.Run.Range().End.Equal(w.begin.Time) &&
		l.Config == w.config && l.Rules == w.rules && l.Accepted == w.accepted
}

// previewed notes that a preview has done some scopes.
func (t *tx) previewed(ctx context.Context, task int64, scopes []int64) error {
	for part := range slices.Chunk(scopes, mostIDs) {
		query, args := in("UPDATE task_scopes SET previewed = ? WHERE task = ? AND scope IN (?)", true, task, part)
		if _, err := t.exec(ctx, query, args...); err != nil {
			return err
		}
	}
	return nil
}

// endPreview lets a task wait to be started if all of its scopes are previewed.
func (t *tx) endPreview(ctx context.Context, id int64) error {
	_, err := t.exec(ctx, `UPDATE tasks SET state = ?, lease_until = NULL WHERE id = ?
		AND NOT EXISTS (SELECT 1 FROM task_scopes ts WHERE ts.task = ? AND NOT ts.previewed)`, metering.Previewed, id, id)
	return err
}

// RenewPreview prolongs the caller's time for a part of a preview and reports whether it still has it.
func (s *Store) RenewPreview(ctx context.Context, p *metering.Preview, d time.Duration) (held bool, err error) {
	err = s.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, "UPDATE tasks SET lease_until = ? WHERE id = ? AND state = ? AND lease_token = ? AND lease_until IS NOT NULL",
			at(time.Now().Add(d)), p.Task.ID, metering.Previewing, p.Token)
		held = n == 1
		return err
	})
	return held, err
}

// SavePreview stores what a part of a preview found out, or why it waits, and gives the task back. If the task was cancelled
// meanwhile, or is somebody else's, nothing is stored and the error is a Conflict.
func (s *Store) SavePreview(ctx context.Context, p *metering.Preview, r *metering.PreviewResult) error {
	return s.update(ctx, func(t *tx) error {
		id := p.Task.ID
		var one int
		found, err := t.get(ctx, &one, "SELECT 1 FROM tasks WHERE id = ? AND state = ? AND lease_token = ? AND lease_until IS NOT NULL "+t.d.forUpdate,
			id, metering.Previewing, p.Token)
		if err != nil {
			return err
		}
		if !found {
			return fault.New(fault.Conflict, "task %d was cancelled, or is previewed by another process; nothing was stored", id)
		}
		if r.Waits != "" {
			_, err := t.exec(ctx, "UPDATE tasks SET error = ?, lease_until = NULL WHERE id = ?", r.Waits, id)
			return err
		}
		if err := t.addDifferences(ctx, id, true, r.Differences); err != nil {
			return err
		}
		if err := t.addLosses(ctx, id, r.Losses); err != nil {
			return err
		}
		var scopes []int64
		for i := range p.Leases {
			scopes = append(scopes, p.Leases[i].Scope.Ref)
		}
		if err := t.previewed(ctx, id, slices.Compact(scopes)); err != nil {
			return err
		}
		because := any(nil)
		if r.Missing > 0 {
			because = r.Because
		}
		_, err = t.exec(ctx, "UPDATE tasks SET lease_until = NULL, error = NULL, missing = missing + ?, because = COALESCE(because, ?) WHERE id = ?", r.Missing, because, id)
		if err != nil {
			return err
		}
		return t.endPreview(ctx, id)
	})
}

// addDifferences adds to what a task changes, or, in its preview, would change.
func (t *tx) addDifferences(ctx context.Context, id int64, preview bool, all []metering.TaskDifference) error {
	type key struct {
		scope  int64
		metric string
	}
	sums := map[key]*metering.Change{}
	for i := range all {
		d := &all[i]
		k := key{d.Scope.Ref, d.Metric}
		sum := sums[k]
		if sum == nil {
			sum = &metering.Change{}
			sums[k] = sum
		}
		sum.PointsBefore += d.PointsBefore
		sum.PointsAfter += d.PointsAfter
		sum.LostPoints += d.LostPoints
		sum.Before.Accumulate(&d.Before)
		sum.After.Accumulate(&d.After)
		sum.LostAmount.Accumulate(&d.LostAmount)
	}
	ordered := keys(sums)
	slices.SortFunc(ordered, func(a, b key) int { return cmp.Or(cmp.Compare(a.scope, b.scope), strings.Compare(a.metric, b.metric)) })
	values := make([]any, 0, 10*len(ordered))
	for _, k := range ordered {
		c := sums[k]
		values = append(values, id, preview, k.scope, k.metric, c.PointsBefore, c.PointsAfter, c.Before.String(), c.After.String(), c.LostPoints, c.LostAmount.String())
	}
	return t.insertRows(ctx, `INSERT INTO task_differences AS d
		(task, preview, scope, metric, points_before, points_after, amount_before, amount_after, lost_points, lost_amount)`,
		`ON CONFLICT (task, preview, scope, metric) DO UPDATE SET points_before = d.points_before + excluded.points_before,
		points_after = d.points_after + excluded.points_after, lost_points = d.lost_points + excluded.lost_points,
		amount_before = `+t.d.add("d.amount_before", "excluded.amount_before")+", amount_after = "+t.d.add("d.amount_after", "excluded.amount_after")+
			", lost_amount = "+t.d.add("d.lost_amount", "excluded.lost_amount"), 10, values)
}

// addLosses counts points that would lose their price, and keeps the most expensive ones of all parts of a preview. Each part
// is of other scopes.
func (t *tx) addLosses(ctx context.Context, id int64, all []metering.LostPrice) error {
	type key struct {
		scope  int64
		metric string
		reason metering.LossReason
		detail string
	}
	known := map[key]int{}
	var sums []metering.LostPrice
	for _, l := range all {
		k := key{l.Scope.Ref, l.Metric, l.Reason, l.Detail}
		i, ok := known[k]
		if !ok {
			known[k] = len(sums)
			sums = append(sums, l)
			continue
		}
		sums[i].Points += l.Points
		sums[i].Amount.Accumulate(&l.Amount)
	}
	if len(sums) == 0 {
		return nil
	}
	if _, err := t.exec(ctx, "UPDATE tasks SET losses = losses + ? WHERE id = ?", len(sums), id); err != nil {
		return err
	}
	kept, err := t.losses(ctx, id)
	if err != nil {
		return err
	}
	slices.SortFunc(sums, compareLosses)
	if len(kept)+len(sums) > maxLosses {
		if len(kept) == maxLosses && compareLosses(kept[maxLosses-1], sums[0]) < 0 { // none of them is dear enough
			return nil
		}
		sums = append(kept, sums...)
		slices.SortFunc(sums, compareLosses)
		sums = sums[:maxLosses]
		if _, err := t.exec(ctx, "DELETE FROM task_losses WHERE task = ?", id); err != nil {
			return err
		}
	}
	var values []any
	for _, l := range sums {
		values = append(values, id, l.Scope.Ref, l.Metric, l.Reason, l.Detail, l.Points, l.Amount.String())
	}
	return t.insertRows(ctx, "INSERT INTO task_losses (task, scope, metric, reason, detail, points, amount)", "", 7, values)
}
