package store

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"
)

// TestPanicRollsBack has a transaction panic: it leaves nothing behind and keeps nobody waiting.
func TestPanicRollsBack(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := Open(ctx, "sqlite://"+filepath.Join(t.TempDir(), "r.db"), true, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	set := func(t *tx) error {
		_, err := t.exec(ctx, "INSERT INTO settings (name, value) VALUES ('x', 'y')")
		return err
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = s.update(ctx, func(t *tx) error {
			_ = set(t)
			panic("boom")
		})
	}()
	if err := s.update(ctx, set); err != nil {
		t.Errorf("the next transaction: %v", err)
	}
}
