package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Example is a command line that works as it stands, and what it is for.
type Example struct{ Purpose, Line string }

// About is what a tool's help says besides its options.
type About struct {
	Program  string // the name of Kafka's script
	Summary  string
	Examples []Example
}

// Help is what --help of a tool shows, as data, for completion.
type Help struct {
	Options  []HelpOption
	Commands []HelpCommand
}

// HelpCommand is an action of a tool that takes its action as a word.
type HelpCommand struct {
	Name, Text string
	Options    []HelpOption
}

// HelpOption is one option.
type HelpOption struct {
	Names   []string // with their dashes
	Takes   bool     // an argument
	Choices []string
	Text    string
}

// The groups of options that a tool has not put into one of its own.
const (
	connectionGroup = "Connection"
	formerGroup     = "Former spellings"
	otherGroup      = "Options"
	helpGroup       = "Help"
)

// connectionOptions say to which cluster and how.
var connectionOptions = []string{"bootstrap-server", "bootstrap-controller", "command-config", "command-property", "admin.config", "config-file"}

// Group puts options under a title of the help text; groups are shown in the order of their definition.
func (p *Parser) Group(title string, options ...*Option) {
	p.groups = append(p.groups, optionGroup{title, options})
}

type optionGroup struct {
	title   string
	options []*Option
}

// grouped returns the options by group: the tool's own, then the others', by name.
func (p *Parser) grouped() []optionGroup {
	groups := slices.Clone(p.groups)
	put := map[*Option]bool{}
	for _, g := range groups {
		for _, option := range g.options {
			put[option] = true
		}
	}
	rest := map[string][]*Option{}
	for _, option := range p.sorted() {
		switch {
		case put[option]:
		case option == p.help || option == p.version:
			rest[helpGroup] = append(rest[helpGroup], option)
		case strings.HasPrefix(option.Help, "(DEPRECATED)"):
			rest[formerGroup] = append(rest[formerGroup], option)
		case slices.Contains(connectionOptions, option.Name):
			rest[connectionGroup] = append(rest[connectionGroup], option)
		default:
			rest[otherGroup] = append(rest[otherGroup], option)
		}
	}
	for _, title := range []string{otherGroup, connectionGroup, formerGroup, helpGroup} {
		if len(rest[title]) > 0 {
			groups = append(groups, optionGroup{title, rest[title]})
		}
	}
	return groups
}

// printHelp is what --help of a tool in joptsimple's style prints.
func (p *Parser) printHelp(s Streams, summary string) {
	paint := s.paint(s.Err)
	fmt.Fprintln(s.Err, summary)
	if s.About.Program != "" {
		fmt.Fprintf(s.Err, "\n%s %s [option]...\n", paint(bold, "Usage:"), s.About.Program)
	}
	for _, g := range p.grouped() {
		fmt.Fprintf(s.Err, "\n%s\n", paint(bold, g.title+":"))
		for _, option := range g.options {
			text := option.Help
			if option.Default != "" {
				text += " (default: " + option.Default + ")"
			}
			printHelpRow(s.Err, option.usage(), text)
		}
	}
	s.printExamples(s.Err)
}

func (s Streams) printExamples(w io.Writer) {
	if len(s.About.Examples) == 0 {
		return
	}
	paint := s.paint(w)
	fmt.Fprintf(w, "\n%s\n", paint(bold, "Examples:"))
	for _, e := range s.About.Examples {
		fmt.Fprintf(w, "  %s\n", paint(faint, "# "+e.Purpose))
		fmt.Fprintf(w, "  %s\n", e.Line)
	}
}

const (
	helpWidth     = 100
	helpLeftWidth = 34
)

// printHelpRow prints an option and, beside or below it, what it means.
func printHelpRow(w io.Writer, left, text string) {
	left = "  " + left
	indent := strings.Repeat(" ", helpLeftWidth)
	lines := wrapAt(text, helpWidth, indent)
	if len(left) < helpLeftWidth-1 {
		lines[0] = left + lines[0][len(left):]
	} else {
		fmt.Fprintln(w, left)
	}
	for _, line := range lines {
		fmt.Fprintln(w, line)
	}
}

// wrapAt breaks a text at spaces into lines of a width, each indented.
func wrapAt(text string, width int, indent string) []string {
	var lines []string
	line := indent
	for _, word := range strings.Fields(text) {
		if line != indent && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// data is the help as data.
func (p *Parser) data() Help {
	var h Help
	for _, option := range p.sorted() {
		h.Options = append(h.Options, HelpOption{Names: []string{"--" + option.Name}, Takes: option.Arg != NoArg, Text: option.Help})
	}
	return h
}

func (p *SubParser) data() Help {
	h := Help{Options: helpOptions(p.Global)}
	for _, c := range p.Commands {
		h.Commands = append(h.Commands, HelpCommand{c.Name, c.Help, helpOptions(c.Arguments)})
	}
	return h
}

func helpOptions(arguments []Argument) []HelpOption {
	options := []HelpOption{{Names: []string{"--help", "-h"}, Text: "Show what there is."}}
	for _, a := range arguments {
		o := HelpOption{Names: []string{a.Long}, Takes: !a.IsFlag, Choices: a.Choices, Text: a.Help}
		if a.Short != "" {
			o.Names = append(o.Names, a.Short)
		}
		options = append(options, o)
	}
	return options
}
