package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Argument is one option of a sub-command.
type Argument struct {
	Long     string // with its dashes: --cluster-id
	Short    string // -t, or empty
	IsFlag   bool   // takes no value
	Repeats  bool
	Required bool
	Help     string
}

func (a Argument) names() string {
	if a.Short == "" {
		return a.Long
	}
	return a.Long + "/" + a.Short
}

func (a Argument) placeholder() string {
	return strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(a.Long, "--"), "-", "_"))
}

// SubCommand is one action of a tool that takes its action as a word.
type SubCommand struct {
	Name      string
	Help      string
	Arguments []Argument
}

// SubParser reads command lines of the tools that Kafka writes with argparse: tool action
// --option value, with short options and unambiguous beginnings of long ones.
type SubParser struct {
	Program     string
	Description string
	Commands    []SubCommand
}

// Parsed is a command line that a SubParser accepted.
type Parsed struct {
	Command string
	values  map[string][]string
}

// Has reports whether an option was given, by its long name.
func (p *Parsed) Has(long string) bool { return len(p.values[long]) > 0 }

// Value returns an option's value, the last if it was repeated.
func (p *Parsed) Value(long string) string {
	values := p.values[long]
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// ErrHelp says that help was asked for and has been printed.
var ErrHelp error = &ExitError{Code: 0}

// Parse reads a command line. Mistakes are printed on standard error, help on standard output.
func (p *SubParser) Parse(s Streams, args []string) (*Parsed, error) {
	if len(args) == 0 {
		return nil, p.fail(s, nil, "too few arguments")
	}
	if args[0] == "-h" || args[0] == "--help" {
		p.help(s.Out)
		return nil, ErrHelp
	}
	i := slices.IndexFunc(p.Commands, func(c SubCommand) bool { return c.Name == args[0] })
	if i < 0 {
		if strings.HasPrefix(args[0], "-") {
			return nil, p.fail(s, nil, "unrecognized arguments: '%s'", args[0])
		}
		return nil, p.fail(s, nil, "invalid choice: '%s' (choose from '%s')", args[0], strings.Join(p.names(), "', '"))
	}
	return p.parseArguments(s, &p.Commands[i], args[1:])
}

func (p *SubParser) parseArguments(s Streams, command *SubCommand, args []string) (*Parsed, error) {
	parsed := &Parsed{Command: command.Name, values: map[string][]string{}}
	for i := 0; i < len(args); i++ {
		if args[i] == "-h" || args[i] == "--help" {
			p.usage(s.Out, command)
			return nil, ErrHelp
		}
		argument, value, hasValue := command.find(args[i])
		switch {
		case argument == nil:
			return nil, p.fail(s, command, "unrecognized arguments: '%s'", args[i])
		case argument.IsFlag && hasValue:
			return nil, p.fail(s, command, "argument %s: ignored explicit argument '%s'", argument.names(), value)
		case argument.IsFlag:
			value = "true"
		case !hasValue && (i+1 == len(args) || looksLikeOption(args[i+1])):
			return nil, p.fail(s, command, "argument %s: expected one argument", argument.names())
		case !hasValue:
			i++
			value = args[i]
		}
		if !argument.Repeats {
			parsed.values[argument.Long] = nil
		}
		parsed.values[argument.Long] = append(parsed.values[argument.Long], value)
	}
	for _, argument := range command.Arguments {
		if argument.Required && !parsed.Has(argument.Long) {
			return nil, p.fail(s, command, "argument %s is required", argument.names())
		}
	}
	return parsed, nil
}

func (c *SubCommand) find(word string) (argument *Argument, value string, hasValue bool) {
	if strings.HasPrefix(word, "--") {
		name, value, hasValue := strings.Cut(word, "=")
		var candidates []*Argument
		for i := range c.Arguments {
			if c.Arguments[i].Long == name {
				return &c.Arguments[i], value, hasValue
			}
			if strings.HasPrefix(c.Arguments[i].Long, name) {
				candidates = append(candidates, &c.Arguments[i])
			}
		}
		if len(candidates) == 1 {
			return candidates[0], value, hasValue
		}
		return nil, "", false
	}
	for i := range c.Arguments {
		if short := c.Arguments[i].Short; short != "" && strings.HasPrefix(word, short) {
			rest := word[len(short):]
			return &c.Arguments[i], rest, rest != ""
		}
	}
	return nil, "", false
}

// Fail is how a tool complains about arguments of a command that Parse accepted.
func (p *SubParser) Fail(s Streams, parsed *Parsed, format string, args ...any) error {
	i := slices.IndexFunc(p.Commands, func(c SubCommand) bool { return c.Name == parsed.Command })
	return p.fail(s, &p.Commands[i], format, args...)
}

func (p *SubParser) names() []string {
	names := make([]string, len(p.Commands))
	for i, command := range p.Commands {
		names[i] = command.Name
	}
	return names
}

func (p *SubParser) fail(s Streams, command *SubCommand, format string, args ...any) error {
	p.usage(s.Err, command)
	fmt.Fprintf(s.Err, "%s: error: %s\n", p.Program, fmt.Sprintf(format, args...))
	return Failed
}

func (p *SubParser) usage(w io.Writer, command *SubCommand) {
	if command == nil {
		fmt.Fprintf(w, "usage: %s [-h] {%s} ...\n", p.Program, strings.Join(p.names(), ","))
		return
	}
	var words []string
	for _, a := range command.Arguments {
		word := a.Long
		if !a.IsFlag {
			word += " " + a.placeholder()
		}
		if !a.Required {
			word = "[" + word + "]"
		}
		words = append(words, word)
	}
	fmt.Fprintf(w, "usage: %s %s [-h] %s\n", p.Program, command.Name, strings.Join(words, " "))
}

func (p *SubParser) help(w io.Writer) {
	p.usage(w, nil)
	fmt.Fprintf(w, "\n%s\n\npositional arguments:\n", p.Description)
	for _, command := range p.Commands {
		fmt.Fprintf(w, "  %-22s %s\n", command.Name, command.Help)
	}
	fmt.Fprintf(w, "\noptional arguments:\n  %-22s show this help message and exit\n", "-h, --help")
}
