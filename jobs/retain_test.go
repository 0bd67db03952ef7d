package jobs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ratebook/metering"
)

type retainer struct {
	done metering.Retained
	err  error
}

func (r retainer) Retain(context.Context, time.Time) (metering.Retained, error) { return r.done, r.err }

func TestRetainLogs(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		retainer
		says, lacks string
	}{
		"nothing": {retainer{metering.Retained{ChargesFrom: begin}, nil}, "", "level"},
		"dropped": {retainer{metering.Retained{ChargesFrom: begin, Windows: 7, Partitions: 2}, nil}, "windows=7 partitions=2", "WARN"},
		"held":    {retainer{metering.Retained{HeldAt: begin, HeldBy: "task 3"}, nil}, `level=WARN msg="charges that are older than they are to be kept can't be dropped yet" because="task 3"`, "INFO"},
		"in use":  {retainer{metering.Retained{Busy: 2}, nil}, "in_use=2", "WARN"},
		"midway":  {retainer{metering.Retained{Windows: 7, HeldAt: begin}, broken}, "windows=7", "WARN"},
	} {
		var log bytes.Buffer
		err := Retain(t.Context(), c.retainer, begin, slog.New(slog.NewTextHandler(&log, nil)))
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
		if text := log.String(); !strings.Contains(text, c.says) || strings.Contains(text, c.lacks) {
			t.Errorf("%s: the log has %q", name, text)
		}
	}
}
