package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// leaves are the commands that can be run.
func leaves() []*kong.Node { return newParser(new(commands), Streams{}).Model.Leaves(true) }

// flags are those that a command takes, --help left out.
func flags(command *kong.Node) (all []*kong.Flag) {
	for _, group := range command.AllFlags(true) {
		for _, f := range group {
			if f.Name != "help" {
				all = append(all, f)
			}
		}
	}
	return all
}

// line is a command as it is typed, without the program's name.
func line(command *kong.Node) []string { return strings.Fields(command.Path()) }

func TestHelp(t *testing.T) {
	for _, command := range append(leaves(), newParser(new(commands), Streams{}).Model.Children...) {
		var out, stderr bytes.Buffer
		args := slices.DeleteFunc(line(command), func(s string) bool { return strings.HasPrefix(s, "<") })
		code := Main(t.Context(), append(args, "--help"), Streams{In: strings.NewReader(""), Out: &out, Err: &stderr})
		if code != exitDone || stderr.Len() > 0 || !strings.HasPrefix(out.String(), "Usage: ratebook "+strings.Join(args, " ")) {
			t.Errorf("%v: status %d, %q, %q", args, code, out.String(), stderr.String())
		}
		for _, f := range flags(command) {
			if !strings.Contains(out.String(), "--"+f.Name) || !strings.Contains(strings.Join(strings.Fields(out.String()), " "), f.Envs[0]) || f.Help == "" {
				t.Errorf("%v: --%s has no help", args, f.Name)
			}
		}
	}
}

// TestVariables sets each flag of each command by its environment variable.
func TestVariables(t *testing.T) {
	for _, command := range leaves() {
		for _, f := range flags(command) {
			variable := "RATEBOOK_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
			if !slices.Equal(f.Envs, []string{variable}) {
				t.Errorf("--%s is %v, not %s", f.Name, f.Envs, variable)
			}
			t.Run(command.Path()+" "+f.Name, func(t *testing.T) {
				text, want := "x", any("x")
				switch f.Target.Interface().(type) {
				case bool:
					text, want = "true", true
				case int:
					text, want = "7", 7
				case time.Duration:
					text, want = "7m", 7*time.Minute
				case []string:
					want = []string{"x"}
				}
				if f.Enum != "" {
					choices := strings.Split(f.Enum, ",")
					text = choices[len(choices)-1]
					if want = text; f.IsSlice() {
						want = []string{text}
					}
				}
				args := slices.DeleteFunc(line(command), func(s string) bool { return strings.HasPrefix(s, "<") })
				for range command.Positional {
					args = append(args, "1")
				}
				for _, other := range flags(command) {
					if other.Required && other.Name != f.Name {
						args = append(args, "--"+other.Name+"=x")
					}
				}
				parse := func() any {
					parsed, err := newParser(new(commands), Streams{Out: io.Discard, Err: io.Discard}).Parse(args)
					if err != nil {
						t.Fatal(err)
					}
					for _, g := range flags(parsed.Selected()) {
						if g.Name == f.Name {
							return g.Target.Interface()
						}
					}
					t.Fatal("there is no such flag")
					return nil
				}
				t.Setenv(variable, text)
				if got := parse(); !reflect.DeepEqual(got, want) {
					t.Errorf("%s=%s gives %v", variable, text, got)
				}
				if f.Required {
					return
				}
				t.Setenv(variable, "")
				empty := parse()
				if err := os.Unsetenv(variable); err != nil {
					t.Fatal(err)
				}
				if unset := parse(); !reflect.DeepEqual(empty, unset) {
					t.Errorf("%s= gives %v, without it it is %v", variable, empty, unset)
				}
			})
		}
	}
}

// TestPanic: a mistake of ours must not look like success.
func TestPanic(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a panic got lost")
		}
	}()
	Main(t.Context(), []string{"version"}, Streams{})
}

func TestSentence(t *testing.T) {
	for err, want := range map[error]string{
		noDatabase(io.ErrUnexpectedEOF): "unexpected EOF",
		fmt.Errorf("can't read it: %w", &os.PathError{Op: "open", Path: "/x", Err: os.ErrNotExist}): "can't read it: file does not exist",
	} {
		if got := sentence(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestInterrupted: who stops a command is told that it was not done.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	code := Main(ctx, []string{"migrate", "up", "--database-url", "sqlite://" + t.TempDir() + "/a.db"}, Streams{In: strings.NewReader(""), Out: io.Discard, Err: &stderr})
	if code != exitFailed || stderr.String() != "ratebook: stopped before it was done; what was committed until then stays\n" {
		t.Errorf("status %d, %q", code, stderr.String())
	}
}
