package app

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ratebook/metering"
	"ratebook/money"
	"ratebook/store"
)

// monitoring is what /metrics tells. It names no scopes: who may read it need not know the tenants.
type monitoring struct {
	store    *store.Store
	registry *prometheus.Registry
	jobs     func() []metering.Job

	windows  *prometheus.CounterVec
	points   prometheus.Counter
	duration prometheus.Histogram
	source   *prometheus.CounterVec
	database prometheus.Counter

	mu     sync.Mutex
	amount money.Decimal // of everything that this process has charged

	charged, open, processedTo, jobEnded, jobFailing *prometheus.Desc
}

func newMonitoring(s *store.Store, currency string, sources []string, jobs func() []metering.Job) *monitoring {
	m := &monitoring{
		store:    s,
		registry: prometheus.NewRegistry(),
		jobs:     jobs,
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
		source: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ratebook_source_errors_total", Help: "Questions that a source did not answer, or not in full.",
		}, []string{"source"}),
		database: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ratebook_database_errors_total", Help: "How often processing was interrupted because the database did not answer.",
		}),
		charged: prometheus.NewDesc("ratebook_amount_total", "What the data points that this process has stored cost; for rates, not for bills: those are exact.",
			nil, prometheus.Labels{"currency": currency}),
		open:        prometheus.NewDesc("ratebook_windows_open", "Windows still to be processed, by state: due, failed, or again for those that are done and wait for a task or a late re-check.", []string{"state"}, nil),
		processedTo: prometheus.NewDesc("ratebook_processed_to_timestamp_seconds", "Up to when all active scopes are processed without a gap; absent if there are no scopes.", nil, nil),
		jobEnded:    prometheus.NewDesc("ratebook_job_ended_timestamp_seconds", "When a job of this process last ended.", []string{"name"}, nil),
		jobFailing:  prometheus.NewDesc("ratebook_job_failing", "1 if the last run of a job of this process failed, else 0.", []string{"name"}, nil),
	}
	m.windows.WithLabelValues("processed")
	m.windows.WithLabelValues("failed")
	for _, name := range sources {
		m.source.WithLabelValues(name)
	}
	m.registry.MustRegister(m, m.windows, m.points, m.duration, m.source, m.database,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *monitoring) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Committed counts a committed batch.
func (m *monitoring) Committed(b *metering.Batch, took time.Duration) {
	m.windows.WithLabelValues("processed").Add(float64(len(b.Scopes)*b.Run.Count - len(b.Failed)))
	m.windows.WithLabelValues("failed").Add(float64(len(b.Failed)))
	m.points.Add(float64(b.Points()))
	m.duration.Observe(took.Seconds())
	var amount money.Decimal
	for i := range b.Usage {
		for j := range b.Usage[i].Samples {
			amount.Accumulate(&b.Usage[i].Samples[j].Price)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.amount = m.amount.Add(amount)
}

// SourceFailed counts a failed question.
func (m *monitoring) SourceFailed(source string) { m.source.WithLabelValues(source).Inc() }

// DatabaseFailed counts an interruption.
func (m *monitoring) DatabaseFailed() { m.database.Inc() }

// Describe is part of prometheus.Collector.
func (m *monitoring) Describe(to chan<- *prometheus.Desc) {
	for _, d := range [...]*prometheus.Desc{m.charged, m.open, m.processedTo, m.jobEnded, m.jobFailing} {
		to <- d
	}
}

// Collect asks the ledger what is open, at each scrape.
func (m *monitoring) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	m.mu.Lock()
	amount := m.amount.String()
	m.mu.Unlock()
	shown, _ := strconv.ParseFloat(amount, 64) // nothing but what Prometheus can hold
	gauge(m.charged, shown)                    // no counter: rules may have negative prices
	for _, j := range m.jobs() {
		if ended := j.Began.Add(j.Took); j.Took > 0 {
			gauge(m.jobEnded, float64(ended.Unix()), j.Name)
		}
		failing := 0.0
		if j.Error != "" {
			failing = 1
		}
		gauge(m.jobFailing, failing, j.Name)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	lag, err := m.store.Lag(ctx)
	if err != nil {
		to <- prometheus.NewInvalidMetric(m.open, err)
		return
	}
	gauge(m.open, float64(lag.Due), "due")
	gauge(m.open, float64(lag.Failed), "failed")
	gauge(m.open, float64(lag.Again), "again")
	if !lag.ProcessedTo.IsZero() {
		gauge(m.processedTo, float64(lag.ProcessedTo.Unix()))
	}
}
