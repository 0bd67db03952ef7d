package jobs

import (
	"context"
	"log/slog"
	"time"

	"ratebook/metering"
)

// Retainer drops what is older than it is to be kept.
type Retainer interface {
	Retain(ctx context.Context, now time.Time) (metering.Retained, error)
}

// Retain drops charges, their windows and roll-ups that are older than the database's settings say at a time, and logs what
// was dropped and what could not be. If nothing is to be dropped it only looks.
func Retain(ctx context.Context, store Retainer, now time.Time, log *slog.Logger) error {
	done, err := store.Retain(ctx, now)
	if !done.Nothing() { // also of a run that failed midway
		log.Info("dropped what is older than it is to be kept", "charges_from", done.ChargesFrom, "rollups_from", done.RollupsFrom,
			"windows", done.Windows, "partitions", done.Partitions, "charges", done.Charges, "superseded_charges", done.Superseded,
			"findings", done.Findings, "tasks", done.Tasks, "rollups", done.Rollups, "series", done.Series)
	}
	if err != nil {
		return err
	}
	if !done.HeldAt.IsZero() {
		log.Warn("charges that are older than they are to be kept can't be dropped yet", "because", done.HeldBy, "window", done.HeldAt)
	}
	if done.Busy > 0 {
		log.Info("partitions or series that are in use are dropped the next time", "in_use", done.Busy)
	}
	return nil
}
