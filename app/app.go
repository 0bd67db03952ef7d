// Package app puts Ratebook together: it reads flags and environment, opens what a command needs, runs it and turns its
// error into a sentence and an exit status. It is the only package that knows all others.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"ratebook/fault"
)

// Exit statuses, a contract with scripts.
const (
	exitDone       = 0 // windows that turned out to be empty included
	exitFailed     = 1 // something failed
	exitUsage      = 2 // wrong flags or input
	exitNoDatabase = 3 // no database, or one of another schema version
)

// Streams are a process's standard streams.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// commands is the command line.
type commands struct {
	Demo     demoCommand     `cmd:"" help:"Show sample usage and its costs on pages, in a database that goes with it."`
	Serve    serveCommand    `cmd:"" help:"Find scopes, plan, collect and rate windows as they become due; answer /healthz, /readyz and /metrics."`
	Process  processCommand  `cmd:"" help:"Process all due windows now, each once, and print a summary as JSON."`
	Migrate  migrateCommand  `cmd:"" help:"Bring the database's schema to this program's version, or show it."`
	Import   importCommand   `cmd:"" help:"Import metrics or rules from a file, or all from a running CloudKitty."`
	Export   exportCommand   `cmd:"" help:"Export metrics, rules or a cost report."`
	User     userCommand     `cmd:"" help:"Manage local users. Passwords are read from standard input."`
	Task     taskCommand     `cmd:"" help:"Do processed windows again: reprocess or re-rate them."`
	Window   windowCommand   `cmd:"" help:"List windows, retry, waive or accept those that failed."`
	Settings settingsCommand `cmd:"" help:"Show or change the settings that shape stored data."`
	Rollups  rollupsCommand  `cmd:"" help:"Check or recompute the roll-ups that reports read."`
	Version  versionCommand  `cmd:"" help:"Print the version."`

	LogFormat string `enum:"text,json" default:"text" help:"Form of the log on standard error: text or json."`
	LogLevel  string `enum:"debug,info,warn,error" default:"info" help:"Least level that is logged: debug, info, warn or error."`
}

// run is what commands get: the process around them.
type run struct {
	ctx context.Context
	Streams
	log *slog.Logger
}

// errNoDatabase marks errors that end with exitNoDatabase.
var errNoDatabase = errors.New("no usable database")

// silent is an error that has been reported already.
type silent struct{ code int }

func (silent) Error() string { return "reported already" }

// exited carries kong's wish to exit, after --help.
type exited struct{ code int }

// Main runs the program with its arguments and returns its exit status.
func Main(ctx context.Context, args []string, streams Streams) (code int) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exited:
			code = r.code
		default:
			panic(r)
		}
	}()
	if code, is := serveScripts(ctx, args, streams); is {
		return code
	}
	var all commands
	parsed, err := newParser(&all, streams).Parse(args)
	if err != nil {
		fmt.Fprintln(streams.Err, "ratebook: "+usage(err))
		return exitUsage
	}
	r := &run{ctx: ctx, Streams: streams, log: newLog(streams.Err, all.LogFormat, all.LogLevel)}
	err = parsed.Run(r)
	if err == nil {
		return exitDone
	}
	if s, ok := errors.AsType[silent](err); ok {
		return s.code
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("stopped before it was done; what was committed until then stays")
	}
	fmt.Fprintln(streams.Err, "ratebook: "+sentence(err))
	switch {
	case errors.Is(err, errNoDatabase):
		return exitNoDatabase
	case fault.KindOf(err) == fault.Invalid:
		return exitUsage
	}
	return exitFailed
}

// newParser returns the parser of the command line into all.
func newParser(all *commands, streams Streams) *kong.Kong {
	parser, err := kong.New(all,
		kong.Name("ratebook"),
		kong.Description("Turns measured usage of shared infrastructure into money. Every flag is also an environment variable: --database-url is RATEBOOK_DATABASE_URL."),
		kong.DefaultEnvars("RATEBOOK"),
		kong.Writers(streams.Out, streams.Err),
		kong.Exit(func(code int) { panic(exited{code}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	if err != nil {
		panic(err) // a mistake in the structs above
	}
	_ = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		// an empty variable is as good as none; a flag of that value could listen on every address
		if f, ok := node.(*kong.Flag); ok && slices.ContainsFunc(f.Tag.Envs, emptyEnv) {
			f.Tag.Envs = nil
		}
		return next(nil)
	})
	return parser
}

func emptyEnv(name string) bool {
	value, ok := os.LookupEnv(name)
	return ok && value == ""
}

// usage says what is wrong with the command line, and which help to read.
func usage(err error) string {
	text, _, _ := strings.Cut(err.Error(), ": time: invalid duration") // says it twice
	if name, ok := strings.CutPrefix(text, `expected "<`); ok {
		text = "<" + strings.ReplaceAll(name, `"`, "") + " is missing"
	}
	command := "ratebook"
	if e, ok := errors.AsType[*kong.ParseError](err); ok {
		for _, step := range e.Context.Path {
			if step.Command != nil {
				command += " " + step.Command.Name
			}
		}
	}
	return text + "; see " + command + " --help"
}

// sentence is an error for the person at the terminal, who may see causes: why a file can't be read or a server not be
// reached. What they repeat is left out, the file, address or system call of an operation, which the message names already.
func sentence(err error) string {
	text := strings.TrimPrefix(err.Error(), errNoDatabase.Error()+": ")
	less := func(long, short error) { text = strings.Replace(text, long.Error(), short.Error(), 1) }
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Kind == fault.Conflict { // how it was noticed is no cause
		less(e, &fault.Error{Message: e.Message, Fields: e.Fields})
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		less(e, e.Err)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		less(e, e.Err)
	}
	if e, ok := errors.AsType[*os.SyscallError](err); ok {
		less(e, e.Err)
	}
	return strings.ReplaceAll(text, ": pq: ", ": ")
}

// count is a number of things as people write it.
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

func newLog(w io.Writer, format, level string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // kong has checked it
	o := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// actor is who acts on the command line, for the audit log.
func actor() string {
	for _, name := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		if u := os.Getenv(name); u != "" {
			return "cli:" + u
		}
	}
	return fmt.Sprintf("cli:uid%d", os.Getuid())
}
