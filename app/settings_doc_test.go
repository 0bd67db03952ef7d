package app

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

const (
	settingsBegin = "<!-- settings:begin (made by make gen) -->\n"
	settingsEnd   = "<!-- settings:end -->\n"
)

//go:generate go test -count=1 -run ^TestSettingsTable$ . -update

// TestSettingsTable compares the README's table of settings with the flags of serve and process; with -update it writes it.
func TestSettingsTable(t *testing.T) {
	const file = "../README.md"
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(content), settingsBegin)
	_, after, ends := strings.Cut(rest, settingsEnd)
	if !begins || !ends {
		t.Fatalf("%s lacks %s or %s", file, settingsBegin, settingsEnd)
	}
	want := before + settingsBegin + settingsTable() + settingsEnd + after
	if want == string(content) {
		return
	}
	if !*update {
		t.Fatalf("the settings in %s are not current; run make gen", file)
	}
	if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

var inHelp = regexp.MustCompile(` ?Default: (.*)\.$`)

func settingsTable() string {
	var names []string
	by := map[string]*kong.Flag{}
	takenBy := map[string][]string{}
	for _, command := range leaves() {
		if command.Name != "serve" && command.Name != "process" {
			continue
		}
		for _, f := range flags(command) {
			if by[f.Name] == nil {
				names = append(names, f.Name)
			}
			by[f.Name] = f
			takenBy[f.Name] = append(takenBy[f.Name], command.Name)
		}
	}
	var b strings.Builder
	b.WriteString("| flag | variable | default | meaning |\n|---|---|---|---|\n")
	for _, name := range names {
		f := by[name]
		standard := f.Default
		if standard != "" {
			standard = "`" + standard + "`"
		}
		meaning := f.Help
		if m := inHelp.FindStringSubmatch(meaning); m != nil {
			standard, meaning = m[1], strings.TrimSuffix(meaning, m[0])
		}
		if len(takenBy[name]) == 1 {
			meaning += " Only for `" + takenBy[name][0] + "`."
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s |\n", name, f.Envs[0], standard, strings.ReplaceAll(meaning, "|", `\|`))
	}
	return b.String()
}
