// Package script runs programs in Starlark, a small dialect of Python that reads no files and knows no network, with exact
// decimals in the place of floats. It has what expressions and rating scripts share, and the interpreter of rating scripts
// with the protocol by which a child process serves it. It is pure but for the time that a script may take.
package script

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

const (
	// MaxText is how many bytes a script may have.
	MaxText = 256 << 10
	// MaxSteps is how many steps of the interpreter a script may take for one frame; an operation is a few.
	MaxSteps = 20_000_000

	maxPrograms = 64 // that are kept compiled
)

// Source is the text of a script, and its name for messages.
type Source struct{ Name, Text string }

// Error says why a script can't be compiled, or why it failed.
type Error struct {
	Script  string // its name; empty where there is only one
	Line    int    // 0: it is not about a line
	Message string
	Stopped bool // it ran into a limit, or took its process down: other frames may well meet the same fate
}

// Error says script, line and message.
func (e *Error) Error() string {
	var where []string
	if e.Script != "" {
		where = append(where, "script "+e.Script)
	}
	if e.Line > 0 {
		where = append(where, fmt.Sprintf("line %d", e.Line))
	}
	if where == nil {
		return e.Message
	}
	return strings.Join(where, ", ") + ": " + e.Message
}

// Program is a compiled script. It is safe for concurrent use.
type Program struct {
	program *starlark.Program
	names   starlark.StringDict // that the text's rewritten parts refer to
}

const (
	dataName  = "data"
	givenName = "given data" // what data is at first; no script can write this name
)

// Compile compiles a script. The error is an [Error] with the line.
func Compile(text string) (*Program, error) {
	if len(text) > MaxText {
		return nil, &Error{Message: fmt.Sprintf("the script is longer than %d KiB", MaxText>>10)}
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	options := &syntax.FileOptions{Set: true, While: true, TopLevelControl: true, GlobalReassign: true}
	file, err := options.Parse("script", text, 0)
	if err != nil {
		return nil, located(err, text)
	}
	r := Rewriter{Names: starlark.StringDict{}, Times: repeat, Check: check, At: errorAt}
	for name, v := range builtins {
		r.Names[name] = v
	}
	r.File(file)
	if err := checkStatements(file.Stmts); r.Err == nil && err != nil {
		r.Err = err
	}
	if r.Err != nil {
		return nil, r.Err
	}
	// data is a variable of the script's own from the beginning, so that it is what it is however often it is assigned
	start := syntax.MakePosition(&file.Path, 1, 1)
	file.Stmts = append([]syntax.Stmt{&syntax.AssignStmt{
		Op: syntax.EQ, OpPos: start, LHS: &syntax.Ident{Name: dataName, NamePos: start}, RHS: &syntax.Ident{Name: givenName, NamePos: start},
	}}, file.Stmts...)
	names := r.Names
	program, err := starlark.FileProgram(file, func(name string) bool { return name == givenName || names.Has(name) })
	if err != nil {
		return nil, located(err, text)
	}
	return &Program{program, names}, nil
}

func errorAt(pos syntax.Position, message string) error {
	return &Error{Line: int(pos.Line), Message: message}
}

// located says in which line of the text an error of the Starlark library is.
func located(err error, text string) error {
	var list resolve.ErrorList
	var se syntax.Error
	switch {
	case errors.As(err, &list) && len(list) > 0:
		return errorAt(list[0].Pos, list[0].Msg)
	case errors.As(err, &se):
		return errorAt(se.Pos, se.Msg+hint(text, int(se.Pos.Line)))
	}
	return &Error{Message: err.Error()}
}

// hint says what to write in the place of what Python has and Starlark has not.
func hint(text string, line int) string {
	for n := 1; n < line; n++ {
		_, text, _ = strings.Cut(text, "\n")
	}
	text, _, _ = strings.Cut(text, "\n")
	word, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	switch strings.TrimSuffix(word, ":") {
	case "import", "from":
		return "; nothing can be imported: decimal and math are there without it"
	case "global", "nonlocal":
		return "; a function can't assign variables outside of it: return the value"
	case "class", "try", "raise", "with", "assert", "del", "async":
		return "; Starlark has no " + strings.TrimSuffix(word, ":")
	}
	return ""
}

// check refuses what could only fail when the script runs.
func check(e syntax.Expr) error {
	if e, ok := e.(*syntax.BinaryExpr); ok && e.Op == syntax.SLASH {
		return errorAt(e.OpPos, inexact)
	}
	return nil
}

const inexact = "a division may have no exact result: write div(a, b) for a / b rounded to 28 decimals, div(a, b, places) for others"

func checkStatements(list []syntax.Stmt) error {
	for _, s := range list {
		var err error
		switch s := s.(type) {
		case *syntax.AssignStmt:
			if s.Op == syntax.SLASH_EQ {
				return errorAt(s.OpPos, inexact)
			}
		case *syntax.LoadStmt:
			return errorAt(s.Load, "load is not available here")
		case *syntax.DefStmt:
			err = checkStatements(s.Body)
		case *syntax.ForStmt:
			err = checkStatements(s.Body)
		case *syntax.WhileStmt:
			err = checkStatements(s.Body)
		case *syntax.IfStmt:
			if err = checkStatements(s.True); err == nil {
				err = checkStatements(s.False)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// run runs the program and returns what it left in data.
func (p *Program) run(thread *starlark.Thread, data starlark.Value) (v starlark.Value, failed *Error) {
	defer func() {
		if r := recover(); r != nil { // a mistake of the libraries or ours, such as about numbers that are absurd
			v, failed = nil, &Error{Line: line(thread.CallStack()), Message: fmt.Sprintf("it can't be computed: %v", r)}
		}
	}()
	names := make(starlark.StringDict, len(p.names)+1)
	for name, v := range p.names {
		names[name] = v
	}
	names[givenName] = data
	globals, err := p.program.Init(thread, names)
	if e, ok := errors.AsType[*starlark.EvalError](err); ok {
		return nil, &Error{Line: line(e.CallStack), Message: e.Msg}
	}
	if err != nil {
		return nil, &Error{Message: err.Error()}
	}
	return globals[dataName], nil
}

// line returns the innermost line of the script.
func line(stack starlark.CallStack) int {
	for i := range stack {
		if pos := stack.At(i).Pos; pos.Filename() == "script" {
			return int(pos.Line)
		}
	}
	return 0
}

// Interpreter runs scripts in this process, which they can't harm but by taking its memory. The zero value is ready, and
// safe for concurrent use. It keeps what it compiled.
type Interpreter struct {
	Timeout time.Duration // for all scripts of a frame; 0: as long as the steps of each last

	mu       sync.Mutex
	programs map[string]*Program // by text
}

// Run runs scripts on a frame, each on what the one before left, and returns what the last one left. An error that is not
// the context's is an [Error].
func (i *Interpreter) Run(ctx context.Context, scripts []Source, f *Frame) (*Frame, error) {
	limited := ctx
	if i.Timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, i.Timeout)
		defer cancel()
	}
	for _, s := range scripts {
		var err error
		if f, err = i.one(limited, s, f); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, err
		}
	}
	return f, nil
}

func (i *Interpreter) one(ctx context.Context, s Source, f *Frame) (*Frame, error) {
	named := func(err error) error {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			e = &Error{Message: err.Error()}
		}
		e = &Error{Script: s.Name, Line: e.Line, Message: e.Message, Stopped: e.Stopped}
		return e
	}
	p, err := i.program(s.Text)
	if err != nil {
		return nil, named(err)
	}
	thread := &starlark.Thread{Name: s.Name, Print: func(*starlark.Thread, string) {}}
	stopped := ""
	var loop whereabouts
	thread.SetMaxExecutionSteps(MaxSteps)
	thread.OnMaxSteps = func(thread *starlark.Thread) { // at each step from then on
		if loop.look(thread); loop.looks == looks {
			stopped = fmt.Sprintf("it was stopped after %d million steps", MaxSteps/1_000_000)
			thread.Cancel(stopped)
		}
	}
	defer context.AfterFunc(ctx, func() { thread.Cancel("") })()

	c := converter{frame: f}
	data := c.data()
	left, failed := p.run(thread, data)
	if failed != nil {
		if ctx.Err() != nil {
			stopped = fmt.Sprintf("it was stopped after %s", i.Timeout)
		}
		if stopped != "" {
			failed.Message, failed.Stopped = stopped, true
			failed.Line = max(failed.Line, loop.line)
		}
		return nil, named(failed)
	}
	next, err := c.read(left)
	if err != nil {
		return nil, named(err)
	}
	return next, nil
}

// whereabouts finds out in which loop a script is. Some steps have no line of their own, and are said to be where something was
// done before the loop; so it is the last line of several steps, and not in a function that the loop calls.
type whereabouts struct{ looks, depth, line int }

// looks is at how many steps to look.
const looks = 1000

func (w *whereabouts) look(thread *starlark.Thread) {
	stack := thread.CallStack()
	at := line(stack)
	switch depth := len(stack); {
	case w.looks == 0 || depth < w.depth:
		w.depth, w.line = depth, at
	case depth == w.depth:
		w.line = max(w.line, at)
	}
	w.looks++
}

func (i *Interpreter) program(text string) (*Program, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if p := i.programs[text]; p != nil {
		return p, nil
	}
	p, err := Compile(text)
	if err != nil {
		return nil, err
	}
	if i.programs == nil || len(i.programs) >= maxPrograms {
		i.programs = map[string]*Program{}
	}
	i.programs[text] = p
	return p, nil
}
