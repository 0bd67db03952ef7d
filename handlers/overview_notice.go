package handlers

import (
	"context"
	"strings"
	"time"

	"ratebook/access"
	"ratebook/metering"
	"ratebook/views/format"
	"ratebook/views/layout"
	"ratebook/views/pages"
)

const (
	noticeAge = 10 * time.Second // how long a notice stays as it is
	noticeLag = 4 * time.Hour    // the least lag that is worth a notice
)

// Notice returns the line that says that processing needs attention, or nil. It is asked for with every page, so it is as
// it was a few seconds ago.
func (h *Overview) Notice(ctx context.Context, u *access.User) *layout.Notice {
	if u == nil || !u.ReadsAll() {
		return nil
	}
	n := &h.notice
	n.Lock()
	defer n.Unlock()
	if now := h.cal.now(); n.asof.IsZero() || now.Sub(n.asof) >= noticeAge {
		states, err := h.store.ScopeStates(ctx)
		switch {
		case ctx.Err() != nil: // says nothing about the store
			return n.line
		case err != nil:
			h.log.ErrorContext(ctx, "the state of processing could not be read", "error", err)
			n.line = nil
		default:
			n.line = h.cal.attention(states)
		}
		n.asof = now
	}
	return n.line
}

// mostLag returns how far behind a scope may be: each is for a moment when its next window is due.
func (c *calendar) mostLag() time.Duration { return max(noticeLag, 2*c.Period) }

// late reports whether a scope is so far behind that somebody should look.
func (c *calendar) late(s *metering.ScopeState) bool { return c.lag(s) > c.mostLag() }

// attention says what is wrong with the processing of scopes, if something is.
func (c *calendar) attention(states []metering.ScopeState) *layout.Notice {
	windows, behind := 0, 0
	for i := range states {
		if s := &states[i]; s.Scope.Active {
			windows += s.Failed
			if c.late(s) {
				behind++
			}
		}
	}
	var parts []string
	line := &layout.Notice{Path: "/scopes?state=" + lagging}
	if windows > 0 {
		parts = append(parts, pages.Many(windows, "window", "windows")+" failed")
		line.Path = "/scopes?state=" + failing
	}
	if behind > 0 {
		parts = append(parts, pages.Many(behind, "scope lags", "scopes lag")+" by more than "+format.Duration(c.mostLag()))
	}
	if line.Text = strings.Join(parts, " · "); line.Text == "" {
		return nil
	}
	return line
}
