// Package completion completes command lines of moldau and of the tools under Kafka's names in
// bash, zsh and fish. The shells' scripts, which moldau completion prints, hand the line over to
// Suggest and show what it prints. cmd/moldau calls both; nothing here starts a goroutine.
package completion

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/tools/cli"
)

//go:embed bash.sh
var bashScript string

//go:embed zsh.sh
var zshScript string

//go:embed fish.sh
var fishScript string

// Shells are those that there is a script for.
var Shells = []string{"bash", "zsh", "fish"}

// SuggestCommand is the hidden sub-command by which the scripts ask. A double dash before it keeps it
// out of the way of topics and files of that name.
const SuggestCommand = "__suggest"

// Script returns a shell's script, for moldau and for tools with and without .sh.
func Script(shell string, tools []string) (string, error) {
	script, ok := map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[shell]
	if !ok {
		return "", fmt.Errorf("no completion for %q; there is one for %s", shell, strings.Join(Shells, ", "))
	}
	programs := []string{"moldau"}
	for _, name := range tools {
		programs = append(programs, name, name+".sh")
	}
	return strings.ReplaceAll(script, "PROGRAMS", strings.Join(programs, " ")), nil
}

// Tool is a command that can be completed.
type Tool struct {
	Names   []string // the first is shown
	Summary string
	Help    cli.Help
}

// Suggest prints what the last word of a line may become: a word a line, and after a tab what it
// means. program is the tool's name where the program was started under one, else "".
func Suggest(ctx context.Context, s cli.Streams, tools []Tool, program, line string) {
	words := split(line)
	words, current := words[1:len(words)-1], words[len(words)-1]
	if program == "" {
		if len(words) == 0 {
			for _, t := range tools {
				print(s.Out, current, t.Names[0], t.Summary)
			}
			return
		}
		program, words = words[0], words[1:]
	}
	i := slices.IndexFunc(tools, func(t Tool) bool { return slices.Contains(t.Names, program) })
	if i < 0 {
		return
	}
	suggestFor(ctx, s, tools[i].Help, words, current)
}

func suggestFor(ctx context.Context, s cli.Streams, help cli.Help, words []string, current string) {
	options, commands := help.Options, help.Commands
	for _, c := range help.Commands {
		if slices.Contains(words, c.Name) {
			options, commands = append(slices.Clone(c.Options), help.Options...), nil
			break
		}
	}
	// --name=value and --name value.
	name, value, isPair := strings.Cut(current, "=")
	if isPair && strings.HasPrefix(name, "-") {
		if option, ok := find(options, name); ok && option.Takes {
			for _, v := range values(ctx, option, words) {
				print(s.Out, current, name+"="+v, "")
			}
		}
		return
	}
	value = current
	if len(words) > 0 {
		if option, ok := find(options, words[len(words)-1]); ok && option.Takes {
			for _, v := range values(ctx, option, words) {
				print(s.Out, value, v, "")
			}
			return
		}
	}
	if !strings.HasPrefix(current, "-") {
		for _, c := range commands {
			print(s.Out, current, c.Name, c.Text)
		}
		if len(commands) > 0 || current != "" {
			return
		}
	}
	for _, option := range options {
		if !slices.ContainsFunc(option.Names, func(name string) bool { return slices.Contains(words, name) }) {
			print(s.Out, current, option.Names[0], option.Text)
		}
	}
}

func find(options []cli.HelpOption, word string) (cli.HelpOption, bool) {
	// joptsimple takes one dash for two.
	i := slices.IndexFunc(options, func(o cli.HelpOption) bool {
		return slices.Contains(o.Names, word) || slices.Contains(o.Names, "-"+word)
	})
	if i < 0 {
		return cli.HelpOption{}, false
	}
	return options[i], true
}

func print(w io.Writer, prefix, word, text string) {
	if strings.HasPrefix(word, prefix) {
		first, _, _ := strings.Cut(text, "\n")
		fmt.Fprintf(w, "%s\t%s\n", word, first)
	}
}

// split splits a line at its spaces as a shell does, as far as completion needs that. The last word is
// the one to complete, and there is always one before it.
func split(line string) []string {
	words := []string{""}
	var quote rune
	for _, r := range line {
		last := &words[len(words)-1]
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			*last += string(r)
		case r == '\'' || r == '"':
			quote = r
		case r == ' ' || r == '\t':
			if *last != "" {
				words = append(words, "")
			}
		default:
			*last += string(r)
		}
	}
	if len(words) == 1 {
		words = append(words, "")
	}
	return words
}
