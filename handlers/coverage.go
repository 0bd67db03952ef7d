package handlers

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/views/pages"
	"ratebook/web"
)

// CoverageStore is what the map of windows and the pages of windows need of the store.
type CoverageStore interface {
	scopeStates
	Coverage(ctx context.Context, scopes []int64, cells []period.Range) ([]metering.Coverage, error)
	OpenWindows(ctx context.Context, sel metering.WindowSelection) ([]metering.Coverage, error)
	Window(ctx context.Context, scope int64, begin time.Time) (*metering.WindowDetail, error)
}

// WindowChanges is what operators may do about windows. Each returns how many windows it changed.
type WindowChanges interface {
	RetryWindows(ctx context.Context, sel metering.WindowSelection, actor string) (int64, error)
	WaiveWindows(ctx context.Context, sel metering.WindowSelection, reason, actor string) (int64, error)
	UnwaiveWindows(ctx context.Context, sel metering.WindowSelection, actor string) (int64, error)
	AcceptAbsence(ctx context.Context, sel metering.WindowSelection, reason, actor string) (int64, error)
}

// WindowQueries says what the source of a scope is asked for a window; nothing if it is not asked by queries.
// configVersion 0 is the latest.
type WindowQueries interface {
	Queries(ctx context.Context, scope *metering.Scope, w period.Range, configVersion int64) ([]pages.WindowQuery, error)
}

// Coverage is the area of the map of windows, of single windows, and of what can be done about them.
type Coverage struct {
	store   CoverageStore
	changes WindowChanges
	changed func() // told after each change
	queries WindowQueries
	cal     calendar
	log     *slog.Logger
}

// NewCoverage returns the area. changed is called after each change of windows; waitPeriods is how many periods after a window's
// begin it is due.
func NewCoverage(store CoverageStore, changes WindowChanges, changed func(), queries WindowQueries, settings *metering.Settings, waitPeriods int,
	now func() time.Time, log *slog.Logger,
) *Coverage {
	return &Coverage{store: store, changes: changes, changed: changed, queries: queries, cal: calendar{settings, waitPeriods, now}, log: log}
}

// Routes says what the area answers.
func (h *Coverage) Routes(r *web.Router) {
	r.Viewer.GET("/processing/coverage", h.Map)
	r.Viewer.GET("/processing/windows/:ref/:begin", h.Window)

	r.Operator.POST("/processing/windows/retry", h.Retry)
	r.Operator.GET("/processing/windows/waive", h.AskWaive)
	r.Operator.POST("/processing/windows/waive", h.Waive)
	r.Operator.POST("/processing/windows/unwaive", h.Unwaive)
	r.Operator.POST("/processing/windows/accept", h.Accept)
}

// windowPath returns the address of the window of a scope that begins then.
func windowPath(scope int64, begin time.Time) string {
	return "/processing/windows/" + strconv.FormatInt(scope, 10) + "/" + strconv.FormatInt(begin.Unix(), 10)
}

// noWindow answers for a window that is not there.
func noWindow() error {
	return fault.New(fault.NotFound, "There is no such window. The map of windows has all that are planned.")
}
