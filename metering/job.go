package metering

import "time"

// Job is how a recurring job of this process is doing.
type Job struct {
	Name    string
	Every   time.Duration
	Running bool
	Began   time.Time     // of the last run; zero: it has not run yet
	Took    time.Duration // the last run that ended
	Error   string        // of the last run that ended
	Next    time.Time
}

// Throughput is what this process has processed in the last hour.
type Throughput struct {
	Since   time.Time // begin of the hour, or of the process
	Windows int
	Failed  int
	Points  int
	Busy    time.Duration // spent on batches, by all workers together
}
