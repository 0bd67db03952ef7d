package handlers

import (
	"context"
	"time"

	"github.com/labstack/echo/v4"

	"ratebook/metering"
	"ratebook/web"
)

const (
	processingPoll = 3 * time.Second  // how often to look whether the page has changed
	processingAge  = 2 * time.Second  // how long what was seen holds, for all who look
	processingStep = 30 * time.Second // how old the page may be at most
)

// Events tells when the page has changed.
func (h *Processing) Events(c echo.Context) error {
	return web.Events(c, processingPoll, h.version)
}

// version changes when the page should be read again: when windows come to other states or tasks go on, when a job fails, and
// twice a minute anyway.
func (h *Processing) version(ctx context.Context) (string, error) {
	l := &h.latest
	l.Lock()
	defer l.Unlock()
	now := h.cal.now()
	if l.version != "" && now.Sub(l.asof) < processingAge {
		return l.version, nil
	}
	var seen struct {
		Counts [metering.Empty + 1]int
		Tasks  [][4]int64
		Errors []string
		Step   int64
	}
	var err error
	if seen.Counts, err = h.store.StateCounts(ctx, h.lastDay()); err != nil {
		return "", err
	}
	tasks, err := h.running(ctx)
	if err != nil {
		return "", err
	}
	for i := range tasks {
		seen.Tasks = append(seen.Tasks, [4]int64{tasks[i].ID, int64(tasks[i].Windows), int64(tasks[i].Left), int64(tasks[i].Failing)})
	}
	for _, j := range h.worker.Jobs.Jobs() {
		seen.Errors = append(seen.Errors, j.Error)
	}
	seen.Step = now.UnixNano() / int64(processingStep)
	version, err := digest(&seen)
	if err != nil {
		return "", err
	}
	l.version, l.asof = version, now
	return version, nil
}
