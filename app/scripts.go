package app

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"ratebook/fault"
	"ratebook/jobs"
)

// scriptWorker is the first argument of the processes in which rating scripts run; see [jobs.Scripts]. Nobody else types it.
const scriptWorker = "run-scripts"

// serveScripts runs scripts for the process that started this one, if it is one of those, and returns its exit status. A signal
// that ends both, such as a terminal's, is the parent's to act on.
func serveScripts(ctx context.Context, args []string, streams Streams) (code int, is bool) {
	if len(args) == 0 || args[0] != scriptWorker {
		return 0, false
	}
	if err := jobs.ServeScripts(context.WithoutCancel(ctx), args[1:], streams.In, streams.Out); err != nil {
		fmt.Fprintln(streams.Err, "ratebook: "+err.Error())
		return exitFailed, true
	}
	return exitDone, true
}

// The limits where no flag says others: those that the flags have by default.
const (
	scriptTimeout = 10 * time.Second
	scriptMemory  = 256 // MB
)

// scriptFlags are the limits of rating scripts.
type scriptFlags struct {
	ScriptTimeout time.Duration `default:"10s" help:"How long the rating scripts of one window may take."`
	ScriptMemory  int           `placeholder:"MB" default:"256" help:"How much memory they may use, in MB."`
}

// scripts returns what runs scripts, in at most so many processes at a time. It starts them when they are needed, and has to be
// closed.
func (f *scriptFlags) scripts(r *run, processes int) (*jobs.Scripts, error) {
	if f.ScriptTimeout < 100*time.Millisecond {
		return nil, fault.New(fault.Invalid, "--script-timeout is %s; it must be at least 100ms", f.ScriptTimeout)
	}
	if f.ScriptMemory < 16 || f.ScriptMemory > 1<<20 {
		return nil, fault.New(fault.Invalid, "--script-memory is %d; it is from 16 to %d MB", f.ScriptMemory, 1<<20)
	}
	program := "/proc/self/exe" // this program, also after its file was replaced by another version
	if runtime.GOOS != "linux" {
		var err error
		if program, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	return jobs.NewScripts(program, []string{scriptWorker}, processes, f.ScriptTimeout, int64(f.ScriptMemory)<<20, r.log), nil
}
