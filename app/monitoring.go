package app

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ratebook/store"
)

// monitoring is what /metrics tells. It names no scopes: who may read it need not know the tenants.
type monitoring struct {
	store    *store.Store
	registry *prometheus.Registry

	windows  *prometheus.CounterVec
	points   prometheus.Counter
	duration prometheus.Histogram

	open   *prometheus.Desc
	oldest *prometheus.Desc
}

func newMonitoring(s *store.Store) *monitoring {
	m := &monitoring{
		store:    s,
		registry: prometheus.NewRegistry(),
		windows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ratebook_windows_total", Help: "Windows this process has tried, by result: processed or failed.",
		}, []string{"result"}),
		points: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ratebook_points_total", Help: "Data points this process has stored.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ratebook_batch_duration_seconds", Help: "Time to collect, rate and commit a batch of windows.",
			Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
		}),
		open:   prometheus.NewDesc("ratebook_windows_open", "Windows still to be processed, by state: due or failed.", []string{"state"}, nil),
		oldest: prometheus.NewDesc("ratebook_oldest_open_window_age_seconds", "Age of the oldest window still to be processed, from its begin; 0 if there is none.", nil, nil),
	}
	m.windows.WithLabelValues("processed")
	m.windows.WithLabelValues("failed")
	m.registry.MustRegister(m, m.windows, m.points, m.duration, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *monitoring) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Batch counts a committed batch.
func (m *monitoring) Batch(windows, points int, took time.Duration) {
	m.windows.WithLabelValues("processed").Add(float64(windows))
	m.points.Add(float64(points))
	m.duration.Observe(took.Seconds())
}

// Failed counts failed windows.
func (m *monitoring) Failed(windows int) { m.windows.WithLabelValues("failed").Add(float64(windows)) }

// Describe is part of prometheus.Collector.
func (m *monitoring) Describe(to chan<- *prometheus.Desc) {
	to <- m.open
	to <- m.oldest
}

// Collect asks the ledger what is open, at each scrape.
func (m *monitoring) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	lag, err := m.store.Lag(ctx)
	if err != nil {
		to <- prometheus.NewInvalidMetric(m.open, err)
		return
	}
	age := 0.0
	if !lag.Oldest.IsZero() {
		age = time.Since(lag.Oldest).Seconds()
	}
	to <- prometheus.MustNewConstMetric(m.open, prometheus.GaugeValue, float64(lag.Due), "due")
	to <- prometheus.MustNewConstMetric(m.open, prometheus.GaugeValue, float64(lag.Failed), "failed")
	to <- prometheus.MustNewConstMetric(m.oldest, prometheus.GaugeValue, age)
}
