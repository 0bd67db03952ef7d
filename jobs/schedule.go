package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/go-co-op/gocron/v2"
)

// Job is a piece of recurring work.
type Job struct {
	Name  string
	Every time.Duration
	Run   func(ctx context.Context) error
}

// stopTimeout is how long running jobs may take to notice that they are to stop.
const stopTimeout = 20 * time.Second

// Run runs the jobs, each at once and then at its interval, one run of a job at a time, until ctx ends and the running ones
// have stopped. A job that fails or panics is logged and runs again the next time.
func Run(ctx context.Context, log *slog.Logger, jobs []Job) error {
	s, err := gocron.NewScheduler(
		gocron.WithLocation(time.UTC),
		gocron.WithStopTimeout(stopTimeout),
		gocron.WithGlobalJobOptions(
			gocron.WithSingletonMode(gocron.LimitModeReschedule),
			gocron.WithStartAt(gocron.WithStartImmediately()),
		),
	)
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	for _, j := range jobs {
		run := func(ctx context.Context) {
			defer func() { // a panic that gocron sees ends the process, or makes it run the job twice
				if p := recover(); p != nil {
					log.Error("a job panicked and will run again", "job", j.Name, "panic", p, "in", j.Every, "stack", string(debug.Stack()))
				}
			}()
			if err := j.Run(ctx); err != nil && ctx.Err() == nil {
				log.Error("a job failed and will run again", "job", j.Name, "error", err, "in", j.Every)
			}
		}
		if _, err := s.NewJob(gocron.DurationJob(j.Every), gocron.NewTask(run), gocron.WithName(j.Name), gocron.WithContext(ctx)); err != nil {
			return fmt.Errorf("jobs: %s: %w", j.Name, err)
		}
	}
	s.Start()
	<-ctx.Done()
	if err := s.Shutdown(); err != nil {
		return fmt.Errorf("jobs: they did not stop in time: %w", err)
	}
	return nil
}
