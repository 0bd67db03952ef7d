package jobs

import (
	"context"
	"errors"
	"strings"
	"testing"

	"ratebook/metering"
)

// TestUnstorable has one window that the ledger can't store, whatever the batch: it fails alone, with the reason, and all
// others are stored.
func TestUnstorable(t *testing.T) {
	t.Parallel()
	l := &ledger{leases: leases(5, 4)}
	poison := l.leases[2].Scope
	window := l.leases[2].Run.Window(3).Begin
	l.commit = func(_ context.Context, b *metering.Batch) error {
		for _, u := range b.Usage {
			for _, s := range u.Samples {
				if u.Scope == poison && b.Run.Window(s.Window).Begin.Equal(window) {
					return errors.New("index row size exceeds maximum")
				}
			}
		}
		return nil
	}
	sum, err := processor(l, one).Process(t.Context(), Work{Once: true}, token)
	if err != nil || sum.Done != 5*4-1 || sum.Failed != 1 {
		t.Fatalf("error %v, %d done, %d failed", err, sum.Done, sum.Failed)
	}
	for key, state := range l.windows(t) {
		if bad := strings.HasPrefix(key, poison.ID+" ") && strings.HasSuffix(key, window.Format("15")); bad != strings.Contains(state, "index row size") {
			t.Errorf("%s is %s", key, state)
		}
	}
}

// TestPanic has the source's code panic: the windows fail with it, and the process goes on.
func TestPanic(t *testing.T) {
	t.Parallel()
	l := &ledger{leases: leases(2, 1)}
	source := func(ctx context.Context, r *metering.Request) (*metering.Collection, error) {
		panic("index out of range")
	}
	sum, err := processor(l, source).Process(t.Context(), Work{Once: true}, token)
	if err != nil || sum.Failed != 2 {
		t.Fatalf("error %v, %d failed", err, sum.Failed)
	}
	for key, state := range l.windows(t) {
		if !strings.Contains(state, "a mistake in Ratebook: index out of range") {
			t.Errorf("%s is %s", key, state)
		}
	}
}
