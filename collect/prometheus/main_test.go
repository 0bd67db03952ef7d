package prometheus

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"
)

// TestMain fails the tests if they leave goroutines behind.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	status := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(status) // fuzzing itself leaves some
	}
	deadline := time.After(5 * time.Second)
	for tick := time.Tick(10 * time.Millisecond); status == 0 && runtime.NumGoroutine() > before; {
		select {
		case <-tick:
		case <-deadline:
			fmt.Fprintln(os.Stderr, "goroutines left behind:")
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
			status = 1
		}
	}
	os.Exit(status)
}

// newClient returns a client for the time of a test.
func newClient(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// begin is when all tests' usage begins.
var begin = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
