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
	noticeAge     = 10 * time.Second // how long a notice stays as it is
	noticeTimeout = 2 * time.Second  // less than noticeAge: pages wait for it
	noticeLag     = 4 * time.Hour    // the least lag that is worth a notice
)

// Notice returns the line that says that processing needs attention, or nil. It is asked for with every page, so it is as
// it was a few seconds ago; while one request asks the store, the others take what is known.
func (h *Overview) Notice(ctx context.Context, u *access.User) *layout.Notice {
	if u == nil || !u.ReadsAll() {
		return nil
	}
	n := &h.notice
	n.Lock()
	line, before, now := n.line, n.asof, h.cal.now()
	if !before.IsZero() && now.Sub(before) < noticeAge {
		n.Unlock()
		return line
	}
	n.asof = now // so that nobody else asks
	n.Unlock()

	asking, cancel := context.WithTimeout(ctx, noticeTimeout)
	defer cancel()
	states, err := h.store.ScopeStates(asking)
	asof := now
	switch {
	case ctx.Err() != nil: // says nothing about the store
		asof = before
	case err != nil:
		h.log.ErrorContext(ctx, "the state of processing could not be read", "error", err)
		line = nil
	default:
		line = h.cal.attention(states)
	}
	n.Lock()
	defer n.Unlock()
	n.line, n.asof = line, asof
	return line
}

// Forget has the next page ask how processing stands, so that whoever changes something sees what came of it.
func (h *Overview) Forget() {
	h.notice.Lock()
	defer h.notice.Unlock()
	h.notice.asof = time.Time{}
}

// mostLag returns how far behind a scope may be before all pages say so.
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
	if windows > 0 {
		parts = append(parts, pages.Many(windows, "window", "windows")+" failed")
	}
	if behind > 0 {
		parts = append(parts, pages.Many(behind, "scope lags", "scopes lag")+" by more than "+format.Duration(c.mostLag()))
	}
	if len(parts) == 0 {
		return nil
	}
	return &layout.Notice{Text: strings.Join(parts, " · "), Path: "/processing"}
}
