package handlers

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"ratebook/metering"
	"ratebook/period"
	"ratebook/web"
)

// ProcessingStore is what the overview of processing needs of the store.
type ProcessingStore interface {
	scopeStates
	StateCounts(ctx context.Context, r period.Range) ([metering.Empty + 1]int, error)
	OpenTasks(ctx context.Context) ([]metering.Task, error)
}

// Jobs are the recurring jobs of this process.
type Jobs interface {
	Jobs() []metering.Job
	RunNow(name string) error // NotFound: there is no such job
}

// Worker is this process, as far as it processes windows.
type Worker struct {
	Name       string // for people, such as "billing-1, process 4711"; empty: no other process works on this database
	Collects   bool   // whether it has a source of usage
	Jobs       Jobs
	Throughput func() metering.Throughput
}

// Processing is the area of how windows are processed.
type Processing struct {
	store  ProcessingStore
	worker Worker
	cal    calendar
	log    *slog.Logger
	latest struct {
		sync.Mutex
		version string
		asof    time.Time
	}
}

// NewProcessing returns the area. waitPeriods is how many periods after a window's begin it is due.
func NewProcessing(store ProcessingStore, worker Worker, settings *metering.Settings, waitPeriods int, now func() time.Time, log *slog.Logger) *Processing {
	return &Processing{store: store, worker: worker, cal: calendar{settings, waitPeriods, now}, log: log}
}

// Routes says what the area answers.
func (h *Processing) Routes(r *web.Router) {
	r.Viewer.GET("/processing", h.Show)
	r.Viewer.GET("/processing/events", h.Events)
	r.Operator.POST("/processing/jobs/:name/run", h.RunNow)
}

// lastDay returns the 24 hours before the end of the last window that is due.
func (h *Processing) lastDay() period.Range {
	end := h.cal.horizon()
	return period.Range{Begin: end.Add(-24 * time.Hour), End: end}
}
