package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
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

// TestVariables sets all flags of a command by their environment variables, each to a value of its own where it can have any.
func TestVariables(t *testing.T) {
	for _, command := range leaves() {
		t.Run(command.Path(), func(t *testing.T) {
			args := slices.DeleteFunc(line(command), func(s string) bool { return strings.HasPrefix(s, "<") })
			for range command.Positional {
				args = append(args, "1")
			}
			variable := func(flag string) string { return "RATEBOOK_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_")) }
			want, required := map[string]any{}, []string(nil)
			for i, f := range flags(command) {
				text := "x" + f.Name
				want[f.Name] = text
				switch f.Target.Interface().(type) {
				case bool:
					text, want[f.Name] = "true", true
				case int:
					text, want[f.Name] = fmt.Sprint(1000+i), 1000+i
				case time.Duration:
					text, want[f.Name] = fmt.Sprintf("%dm", 1000+i), time.Duration(1000+i)*time.Minute
				case []string:
					want[f.Name] = []string{text}
				}
				if f.Enum != "" {
					choices := strings.Split(f.Enum, ",")
					text = choices[len(choices)-1]
					if want[f.Name] = text; f.IsSlice() {
						want[f.Name] = []string{text}
					}
				}
				if f.Required {
					required = append(required, "--"+f.Name+"=x")
				}
				if !slices.Equal(f.Envs, []string{variable(f.Name)}) {
					t.Errorf("--%s is %v, not %s", f.Name, f.Envs, variable(f.Name))
				}
				t.Setenv(variable(f.Name), text)
			}
			parse := func(args []string) map[string]any {
				t.Helper()
				parsed, err := newParser(new(commands), Streams{Out: io.Discard, Err: io.Discard}).Parse(args)
				if err != nil {
					t.Fatal(err)
				}
				values := map[string]any{}
				for _, f := range flags(parsed.Selected()) {
					values[f.Name] = f.Target.Interface()
				}
				return values
			}
			if diff := cmp.Diff(want, parse(args)); diff != "" {
				t.Errorf("with all variables set (- want, + got):\n%s", diff)
			}
			for name := range want {
				t.Setenv(variable(name), "")
			}
			args = append(args, required...)
			empty := parse(args)
			for name := range want {
				if err := os.Unsetenv(variable(name)); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(parse(args), empty); diff != "" {
				t.Errorf("empty variables are not as good as none (- none, + empty):\n%s", diff)
			}
		})
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
