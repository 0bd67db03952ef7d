package jobs

import (
	"context"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"time"

	"ratebook/script"
)

// ServeScripts is the child process of [Scripts]: it runs scripts on the frames that it reads, until there is no more to
// read. The last two arguments are the limits of time and of memory, in bytes. Where the memory runs out the process ends
// with a panic, or the runtime ends it.
func ServeScripts(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("%d arguments; two are needed: a duration, and bytes", len(args))
	}
	timeout, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	memory, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil || memory <= 0 {
		return fmt.Errorf("%q is no number of bytes", args[1])
	}
	if err := confine(memory); err != nil {
		return err
	}
	debug.SetMemoryLimit(memory)
	debug.SetTraceback("none")
	go watchMemory(memory)
	i := script.Interpreter{Timeout: timeout}
	return i.Serve(ctx, in, out)
}

// watchMemory ends the process when there is more memory in use than it may have: the limit of the runtime's own only has
// it collect garbage all the time.
func watchMemory(most int64) {
	const every = 20 * time.Millisecond
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	for range time.Tick(every) {
		metrics.Read(sample)
		if used := sample[0].Value.Uint64(); used <= math.MaxInt64 && int64(used) > most {
			panic(outOfMemory)
		}
	}
}
