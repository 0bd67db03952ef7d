package v2

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/web"
)

// Tasks makes tasks, and knows what they do.
type Tasks interface {
	CreateTask(ctx context.Context, n *metering.NewTask) (int64, error)
	Reprocessings(ctx context.Context, ids []string, newestFirst bool, limit, offset int) ([]metering.Reprocessing, error)
}

// everyScope stands for all active scopes.
const everyScope = "ALL"

// reprocess makes a task that collects and rates a range of some scopes again.
func (h *handler) reprocess(c echo.Context) error {
	a, err := bodyOf(c)
	if err != nil {
		return err
	}
	var (
		ids        []string
		reason     string
		begin, end *time.Time
	)
	const fromISO = "dt_from_iso_as_utc"
	err = a.check(required(texts("scope_ids", &ids)), required(when("start_reprocess_time", fromISO, &begin)),
		required(when("end_reprocess_time", fromISO, &end)), required(text("reason", &reason)))
	if err != nil {
		return err
	}
	r := period.Range{Begin: *begin, End: *end}
	if err := h.checkReprocess(ids, reason, r); err != nil {
		return err
	}
	n := &metering.NewTask{Kind: metering.Reprocess, Range: r, Reason: reason, Author: web.Caller(c).ID}
	if n.AllScopes = slices.Contains(ids, everyScope); !n.AllScopes {
		n.ScopeIDs = ids
	}
	ctx := c.Request().Context()
	active := true
	states, err := h.chosen(ctx, &selection{ids: n.ScopeIDs, active: &active})
	if err != nil {
		return err
	}
	if err := h.checkProcessed(n, states); err != nil {
		return err
	}
	_, err = h.Tasks.CreateTask(ctx, n)
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Kind == fault.Conflict {
		return exact(fault.Invalid, "Cannot schedule a reprocessing for scope [%s] for reprocessing time [%s], because it already has a schedule for a similar time range. %s",
			strings.Join(ids, ", "), between(r), f.Message)
	}
	if err != nil {
		return err
	}
	return accepted(c)
}

// between writes a range as messages do.
func between(r period.Range) string {
	const layout = "2006-01-02T15:04:05+0000"
	return r.Begin.UTC().Format(layout) + " - " + r.End.UTC().Format(layout)
}

// checkReprocess looks at what was asked, by itself.
func (h *handler) checkReprocess(ids []string, reason string, r period.Range) error {
	length := h.Settings.Period
	from, to := period.Floor(r.Begin, length), period.Floor(r.End, length)
	switch {
	case len(ids) == 0:
		return exact(fault.Invalid, "Name at least one scope, or 'ALL' for all of them.")
	case slices.Contains(ids, everyScope) && len(ids) != 1:
		return exact(fault.Invalid, "Cannot use 'ALL' with scope ID [%s]. Either schedule a reprocessing for all active scopes using 'ALL' option, or inform only the scopes you desire to schedule a reprocessing.", pythonList(ids...))
	case strings.TrimSpace(reason) == "":
		return exact(fault.Invalid, "Empty or blank reason text is not allowed. Please, do inform/register the reason for the reprocessing of a previously processed timestamp.")
	case r.End.Before(r.Begin):
		return exact(fault.Invalid, "End reprocessing timestamp [%s] cannot be less than start reprocessing timestamp [%s].", spoken(r.End), spoken(r.Begin))
	case !from.Equal(r.Begin) || !to.Equal(r.End):
		if from.Equal(to) {
			to = to.Add(length)
		}
		return exact(fault.Invalid, "The provided reprocess time window does not comply with the configured collector period. A valid time window near the provided one is %s", pythonList(spoken(from), spoken(to)))
	case r.Empty():
		return exact(fault.Invalid, "End reprocessing timestamp [%s] must be after the start reprocessing timestamp: the window that begins then is not reprocessed.", spoken(r.End))
	}
	return nil
}

// checkProcessed makes sure that the scopes are there, and processed up to the range's end. CloudKitty's last timestamp is
// the begin of the last window, and windows up to its end may be done again.
func (h *handler) checkProcessed(n *metering.NewTask, states []metering.ScopeState) error {
	known := map[string]bool{}
	for i := range states {
		known[states[i].Scope.ID] = true
	}
	var unknown []string
	for _, id := range n.ScopeIDs {
		if !known[id] {
			known[id] = true // is named once
			unknown = append(unknown, id)
		}
	}
	if len(unknown) > 0 || len(states) == 0 {
		return exact(fault.Invalid, "Scopes %s scheduled to reprocess [start=%s, end=%s] do not exist.", pythonList(unknown...), spoken(n.Range.Begin), spoken(n.Range.End))
	}
	length := h.Settings.Period
	for i := range states {
		s := &states[i]
		last := s.LastProcessed(length)
		for _, edge := range []struct {
			what, verb string
			at, latest time.Time
		}{{"start", "starting", n.Range.Begin, last}, {"end", "ending", n.Range.End, last.Add(length)}} {
			if edge.at.After(edge.latest) {
				return exact(fault.Invalid, "Cannot execute a reprocessing [%s=%s] for scope [%s] %s after the last possible timestamp [%s].",
					edge.what, spoken(edge.at), s.Scope.ID, edge.verb, spoken(edge.latest))
			}
		}
	}
	return nil
}

// reprocessInfo is what a task does for one scope, as it is shown.
type reprocessInfo struct {
	Scope   string `json:"scope_id"`
	Reason  string `json:"reason"`
	Start   string `json:"start_reprocess_time"`
	End     string `json:"end_reprocess_time"`
	Current string `json:"current_reprocess_time"`
}

func (h *handler) reprocesses(c echo.Context) error {
	var (
		ids   []string
		order = "desc"
		p     page
	)
	if err := queryOf(c).check(append(p.rules(), texts("scope_ids", &ids), text("order", &order))...); err != nil {
		return err
	}
	switch order = strings.ToLower(order); order {
	case "asc", "desc":
	default:
		return exact(fault.Invalid, "The order [%s] is not valid. Accepted values are %s.", order, pythonList("asc", "desc"))
	}
	if id := inPathOf(c, "scope_id"); id != "" {
		ids = []string{id}
	}
	all, err := h.Tasks.Reprocessings(c.Request().Context(), ids, order == "desc", p.limit, p.offset)
	if err != nil {
		return err
	}
	results := make([]reprocessInfo, 0, len(all))
	for i := range all {
		r := &all[i]
		info := reprocessInfo{Scope: r.Scope, Reason: r.Reason, Start: naive(r.Range.Begin), End: naive(r.Range.End)}
		if !r.Current.IsZero() {
			info.Current = naive(r.Current)
		}
		results = append(results, info)
	}
	return c.JSON(http.StatusOK, map[string]any{"results": results})
}
