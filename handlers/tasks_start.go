package handlers

import (
	"context"
	"errors"

	"github.com/labstack/echo/v4"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/views/pages"
	"ratebook/web"
)

// Start lets a task that was looked at go.
func (h *Tasks) Start(c echo.Context) error {
	return h.act(c, h.keep.StartTask, func(*metering.Task) string { return "The task was started." })
}

// Cancel ends a task, or its dry run, before it is done.
func (h *Tasks) Cancel(c echo.Context) error {
	return h.act(c, h.keep.CancelTask, func(t *metering.Task) string {
		if pages.TaskStarted(t) {
			return "The task is cancelled; windows that are done stay done."
		}
		return "The task is discarded; nothing has changed."
	})
}

// Resume lets a cancelled task go on.
func (h *Tasks) Resume(c echo.Context) error {
	return h.act(c, h.keep.ResumeTask, func(*metering.Task) string { return "The task was resumed." })
}

// act does something to a task, and goes back to its page to say so. What is said is made of the task as it was.
func (h *Tasks) act(c echo.Context, do func(ctx context.Context, id int64, actor string) error, said func(*metering.Task) string) error {
	t, err := h.task(c)
	if err != nil {
		return err
	}
	if err := do(c.Request().Context(), t.ID, web.Actor(c)); err != nil {
		return h.conflicted(c, err)
	}
	return web.Redirect(c, pages.TaskPath(t.ID), said(t))
}

// messageOf returns what an error has to say to its reader, in sentences.
func messageOf(err error) string {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return ""
	}
	text := web.Sentence(e.Message)
	for _, f := range e.Fields {
		text += " " + web.Sentence(f.Message)
	}
	return text
}
