package handlers

import (
	"context"
	"time"

	"ratebook/metering"
	"ratebook/period"
	"ratebook/web"
)

// FindingsStore knows what was noticed about usage. Ranges select whole UTC days.
type FindingsStore interface {
	Findings(ctx context.Context, r period.Range, kind metering.FindingKind) ([]metering.FindingSum, error)
	FindingScopes(ctx context.Context, r period.Range, kind metering.FindingKind, metric, detail string) ([]metering.FindingScope, error)
	SeriesGrowth(ctx context.Context, r period.Range) ([]metering.GrowthDay, error)
	catalogue
	Scopes(ctx context.Context) ([]*metering.Scope, error)
}

// Findings is the area of what was noticed about usage that was processed all the same.
type Findings struct {
	store    FindingsStore
	settings *metering.Settings
	now      func() time.Time
}

// NewFindings returns the area.
func NewFindings(store FindingsStore, settings *metering.Settings, now func() time.Time) *Findings {
	return &Findings{store, settings, now}
}

// Routes says what the area answers.
func (h *Findings) Routes(r *web.Router) {
	r.Viewer.GET("/processing/findings", h.List)
}
