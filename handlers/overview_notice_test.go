package handlers

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"ratebook/metering"
)

// TestNoticeForgotten: who changes windows sees what came of it at once, others a little later.
func TestNoticeForgotten(t *testing.T) {
	m := newMonthSite(t, sampleMonth(), "UTC", monthNow)
	m.store.states[0].Failed = 18
	notice := func() string { return m.overview.Notice(t.Context(), viewer).Text }
	before := notice()
	m.store.states[0].Failed = 17
	if cached := notice(); before != "18 windows failed" || cached != before {
		t.Errorf("%q, then %q", before, cached)
	}
	m.overview.Forget()
	if after := notice(); after != "17 windows failed" {
		t.Errorf("%q afterwards", after)
	}
}

// stuckStates answers the first time, and then never.
type stuckStates struct {
	*ledgerStore
	asked int
}

func (s *stuckStates) ScopeStates(ctx context.Context) ([]metering.ScopeState, error) {
	if s.asked++; s.asked > 1 {
		<-ctx.Done()
	}
	return s.states, ctx.Err()
}

// TestNoticeWaits: a store that hangs holds up one page, for two seconds.
func TestNoticeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMonthSite(t, sampleMonth(), "UTC", monthNow)
		store := &stuckStates{ledgerStore: m.store}
		m.store.states[0].ProcessedTo = monthNow.Add(-10 * time.Hour)
		h := NewOverview(store, m.settings, monthWait, func() time.Time { return m.now }, slog.New(slog.DiscardHandler))
		known := h.Notice(t.Context(), viewer)
		if known == nil {
			t.Fatal("no notice")
		}
		m.now = m.now.Add(noticeAge)

		gone, leave := context.WithCancel(t.Context())
		left := make(chan bool)
		go func() { defer close(left); h.Notice(gone, viewer) }()
		synctest.Wait()
		leave()
		<-left // without having learned anything, so that the next asks

		begun, asked := time.Now(), make(chan time.Duration, 1)
		go func() {
			h.Notice(t.Context(), viewer)
			asked <- time.Since(begun)
		}()
		synctest.Wait()
		if got := h.Notice(t.Context(), viewer); got != known || time.Since(begun) != 0 {
			t.Errorf("got %v after %s", got, time.Since(begun))
		}
		if took := <-asked; took != noticeTimeout || store.asked != 3 {
			t.Errorf("it took %s, and the store was asked %d times", took, store.asked)
		}
		if got := h.Notice(t.Context(), viewer); got != nil || store.asked != 3 {
			t.Errorf("got %v, and the store was asked %d times", got, store.asked)
		}
	})
}
