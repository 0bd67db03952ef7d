package handlers

import (
	"context"
	"log/slog"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/web"
)

// MetricsStore is what the pages of metrics need of the store.
type MetricsStore interface {
	costSums
	catalogue
	FirstSamples(ctx context.Context) (map[int64]time.Time, error)
}

// Metrics is the area of what is measured.
type Metrics struct {
	store MetricsStore
	sums  sums
	cal   calendar
	log   *slog.Logger
}

// NewMetrics returns the area. waitPeriods is how many periods after a window's begin it is due.
func NewMetrics(store MetricsStore, settings *metering.Settings, waitPeriods int, now func() time.Time, log *slog.Logger) *Metrics {
	return &Metrics{store: store, sums: sums{store: store}, cal: calendar{settings, waitPeriods, now}, log: log}
}

// Routes says what the area answers.
func (h *Metrics) Routes(r *web.Router) {
	r.Viewer.GET("/metrics", h.List)
	r.Viewer.GET("/metrics/:name", h.Show)
}

// metricPath returns the address of a metric's page. Browsers take . and .. out of a path, however they are written.
func metricPath(name string) string {
	if name == "." || name == ".." {
		return "/metrics?" + url.Values{"name": {name}}.Encode()
	}
	return "/metrics/" + url.PathEscape(name)
}

// metricName returns the name that an address is about. echo routes by the path as it was sent where that differs from
// its usual form, and only then are parameters still escaped.
func metricName(c echo.Context) (string, error) {
	name := c.Param("name")
	if c.Request().URL.RawPath == "" {
		return name, nil
	}
	plain, err := url.PathUnescape(name)
	if err != nil {
		return "", noMetric(name)
	}
	return plain, nil
}

func noMetric(name string) error {
	return fault.New(fault.NotFound, "There is no metric %q. The list of metrics has them all.", name)
}
