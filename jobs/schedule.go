package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/go-co-op/gocron/v2"

	"ratebook/fault"
	"ratebook/metering"
)

// Job is a piece of recurring work.
type Job struct {
	Name  string
	Every time.Duration
	Run   func(ctx context.Context) error
}

// stopTimeout is how long running jobs may take to notice that they are to stop.
const stopTimeout = 20 * time.Second

// Scheduler runs jobs, each at its interval, one run of a job at a time, and knows how they are doing.
type Scheduler struct {
	log  *slog.Logger
	jobs []*recurring

	mu    sync.Mutex
	begin func(*recurring) // starts runs; nil: none are to be started
	ended sync.WaitGroup   // of the runs
}

// recurring is a job with what became of its runs.
type recurring struct {
	Job
	mu    sync.Mutex
	is    metering.Job
	woken time.Time // by the clock, the last time
	again bool      // once it ends, since somebody asked meanwhile
}

// NewScheduler returns a scheduler of jobs with different names.
func NewScheduler(log *slog.Logger, jobs []Job) (*Scheduler, error) {
	s, known := &Scheduler{log: log}, map[string]bool{}
	for _, j := range jobs {
		if j.Name == "" || known[j.Name] || j.Every <= 0 {
			return nil, fmt.Errorf("jobs: %q, every %s, needs a name of its own and an interval", j.Name, j.Every)
		}
		known[j.Name] = true
		s.jobs = append(s.jobs, &recurring{Job: j, is: metering.Job{Name: j.Name, Every: j.Every}})
	}
	return s, nil
}

// Run runs each job at once and then at its interval until ctx ends and the running ones have stopped. A job that fails or
// panics is logged and runs again the next time.
func (s *Scheduler) Run(ctx context.Context) error {
	clock, err := gocron.NewScheduler(gocron.WithLocation(time.UTC), gocron.WithStopTimeout(stopTimeout),
		gocron.WithGlobalJobOptions(gocron.WithStartAt(gocron.WithStartImmediately())))
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	begin := func(j *recurring) { s.ended.Go(func() { s.run(ctx, j) }) }
	for _, j := range s.jobs {
		wake := func() {
			if j.wake() {
				s.start(j)
			}
		}
		if _, err := clock.NewJob(gocron.DurationJob(j.Every), gocron.NewTask(wake), gocron.WithName(j.Name)); err != nil {
			return errors.Join(fmt.Errorf("jobs: %s: %w", j.Name, err), clock.Shutdown())
		}
	}
	s.runWith(begin)
	clock.Start()
	<-ctx.Done()
	s.runWith(nil)
	if err := clock.Shutdown(); err != nil {
		return fmt.Errorf("jobs: their clock did not stop: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		s.ended.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-time.After(stopTimeout):
		return errors.New("jobs: they did not stop in time")
	}
}

func (s *Scheduler) runWith(begin func(*recurring)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin = begin
}

// start begins a run, unless none are to begin; it reports which.
func (s *Scheduler) start(j *recurring) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begin != nil {
		s.begin(j)
	}
	return s.begin != nil
}

// Jobs returns how the jobs are doing, in their order.
func (s *Scheduler) Jobs() []metering.Job {
	all := make([]metering.Job, len(s.jobs))
	for i, j := range s.jobs {
		j.mu.Lock()
		all[i] = j.is
		j.mu.Unlock()
	}
	return all
}

// RunNow runs a job without waiting for its time, nor for its end. A job that runs already runs once more afterwards.
func (s *Scheduler) RunNow(name string) error {
	for _, j := range s.jobs {
		if j.Name != name {
			continue
		}
		if !s.start(j) {
			return fault.New(fault.Unavailable, "this process does not run jobs just now; it is starting or stopping")
		}
		return nil
	}
	return fault.New(fault.NotFound, "there is no job %q in this process", name)
}

// wake notes that it is time for the next run, and reports whether it can begin. Once in a while gocron wakes us twice in the
// same instant.
func (j *recurring) wake() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	if !j.woken.IsZero() && now.Sub(j.woken) < j.Every/2 {
		return false
	}
	j.woken, j.is.Next = now, now.Add(j.Every)
	return !j.is.Running
}

// run runs a job, unless it runs already: then that run is followed by another.
func (s *Scheduler) run(ctx context.Context, j *recurring) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.is.Running {
		j.again = true
		return
	}
	j.again = true
	for j.again && ctx.Err() == nil {
		j.again, j.is.Running, j.is.Began = false, true, time.Now()
		j.mu.Unlock()
		err := s.attempt(ctx, j)
		j.mu.Lock()
		j.is.Running, j.is.Took, j.is.Error = false, time.Since(j.is.Began), ""
		if err != nil && ctx.Err() == nil {
			j.is.Error = err.Error()
		}
	}
}

// attempt runs a job once. A panic is an error: it must not end the process.
func (s *Scheduler) attempt(ctx context.Context, j *recurring) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("a job panicked and will run again", "job", j.Name, "panic", p, "in", j.Every, "stack", string(debug.Stack()))
			err = fmt.Errorf("it panicked: %v", p)
		}
	}()
	if err = j.Run(ctx); err != nil && ctx.Err() == nil {
		s.log.Error("a job failed and will run again", "job", j.Name, "error", err, "in", j.Every)
	}
	return err
}
