package cli

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/kafka"
)

// Argument is one option of a sub-command.
type Argument struct {
	Long    string // with its dashes: --cluster-id
	Short   string // -t, or empty
	IsFlag  bool   // takes no value
	Repeats bool
	// Many lets one option take several words, up to the next option.
	Many     bool
	Required bool
	// Bits makes the value a whole number of that size: 16, 32 or 64; 0 is text.
	Bits int
	// Fraction makes the value a number that may have a fraction.
	Fraction bool
	Choices  []string // all values that are allowed; nil: any
	Metavar  string   // what the usage text calls the value, if not the option's name
	Default  string   // what Value returns for an absent option, shown in the help
	Help     string
}

func (a Argument) names() string {
	if a.Short == "" {
		return a.Long
	}
	return a.Long + "/" + a.Short
}

func (a Argument) placeholder() string {
	if a.Metavar != "" {
		return a.Metavar
	}
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
	// Global are options that stand before the action.
	Global   []Argument
	Commands []SubCommand
	// Terse makes complaints one line, without a usage text: kafka-features.
	Terse bool
}

// Parsed is a command line that a SubParser accepted.
type Parsed struct {
	Command string
	values  map[string][]string
	// defaults are what absent options mean.
	defaults map[string]string
}

// Has reports whether an option was given, by its long name.
func (p *Parsed) Has(long string) bool { return len(p.values[long]) > 0 }

// Values returns all values of an option.
func (p *Parsed) Values(long string) []string { return p.values[long] }

// Value returns an option's value, the last if it was repeated, or its default.
func (p *Parsed) Value(long string) string {
	values := p.values[long]
	if len(values) == 0 {
		return p.defaults[long]
	}
	return values[len(values)-1]
}

// Number returns the value of an option with Bits; ok is false where it is absent and has no default.
func (p *Parsed) Number(long string) (value int64, ok bool) {
	value, err := strconv.ParseInt(p.Value(long), 10, 64)
	return value, err == nil
}

// ErrHelp says that help was asked for and has been printed.
var ErrHelp error = &ExitError{Code: 0}

// Parse reads a command line. Mistakes are printed on standard error, help on standard output.
func (p *SubParser) Parse(s Streams, args []string) (*Parsed, error) {
	if s.Describe != nil {
		s.Describe(p.data())
		return nil, ErrHelp
	}
	parsed := &Parsed{values: map[string][]string{}}
	global := &SubCommand{Arguments: p.Global}
	for len(args) > 0 && len(p.Global) > 0 && looksLikeOption(args[0]) {
		if args[0] == "-h" || args[0] == "--help" {
			p.help(s)
			return nil, ErrHelp
		}
		used, err := p.take(s, parsed, nil, global, args)
		if err != nil {
			return nil, err
		}
		if args = args[used:]; parsed.Has("--version") {
			s.Println(KafkaVersion)
			return nil, ErrHelp
		}
	}
	if len(args) == 0 {
		return nil, p.fail(s, nil, "too few arguments")
	}
	if args[0] == "-h" || args[0] == "--help" {
		p.help(s)
		return nil, ErrHelp
	}
	i := slices.IndexFunc(p.Commands, func(c SubCommand) bool { return c.Name == args[0] })
	if i < 0 {
		if strings.HasPrefix(args[0], "-") {
			return nil, p.fail(s, nil, "unrecognized arguments: '%s'", args[0])
		}
		return nil, p.fail(s, nil, "invalid choice: '%s' (choose from '%s')", args[0], strings.Join(p.names(), "', '"))
	}
	command := &p.Commands[i]
	if err := p.parseArguments(s, parsed, command, args[1:]); err != nil {
		return nil, err
	}
	if err := p.checkRequired(s, parsed, command, command.Arguments); err != nil {
		return nil, err
	}
	return parsed, p.checkRequired(s, parsed, nil, p.Global)
}

func (p *SubParser) parseArguments(s Streams, parsed *Parsed, command *SubCommand, args []string) error {
	parsed.Command = command.Name
	for len(args) > 0 {
		if args[0] == "-h" || args[0] == "--help" {
			p.usage(s.Out, command)
			command.options(s.Out)
			s.printExamples(s.Out)
			return ErrHelp
		}
		used, err := p.take(s, parsed, command, command, args)
		if err != nil {
			return err
		}
		args = args[used:]
	}
	return nil
}

// take reads the option that args begin with, and returns how many words it took. command is for
// the usage text.
func (p *SubParser) take(s Streams, parsed *Parsed, command, known *SubCommand, args []string) (used int, err error) {
	argument, value, hasValue := known.find(args[0])
	used = 1
	switch {
	case argument == nil:
		return 0, p.fail(s, command, "unrecognized arguments: '%s'%s", args[0], p.hint(known, args[0]))
	case argument.IsFlag && hasValue:
		return 0, p.fail(s, command, "argument %s: ignored explicit argument '%s'", argument.names(), value)
	case argument.IsFlag:
		value = "true"
	case !hasValue && (len(args) == 1 || looksLikeOption(args[1]) && !negativeNumber.MatchString(args[1])):
		return 0, p.fail(s, command, "argument %s: expected one argument", argument.names())
	case !hasValue:
		used, value = 2, args[1]
	}
	if err := p.checkValue(s, command, argument, value); err != nil {
		return 0, err
	}
	if !argument.Repeats {
		parsed.values[argument.Long] = nil
	}
	parsed.values[argument.Long] = append(parsed.values[argument.Long], value)
	for argument.Many && used < len(args) && !looksLikeOption(args[used]) {
		parsed.values[argument.Long] = append(parsed.values[argument.Long], args[used])
		used++
	}
	return used, nil
}

func (p *SubParser) checkValue(s Streams, command *SubCommand, argument *Argument, value string) error {
	if argument.Bits > 0 {
		if _, err := strconv.ParseInt(value, 10, argument.Bits); err != nil {
			return p.fail(s, command, "argument %s: could not convert '%s' to %s (For input string: \"%s\")", argument.names(), value, javaIntegers[argument.Bits], value)
		}
	}
	if argument.Fraction {
		if _, err := strconv.ParseFloat(value, 64); err != nil {
			return p.fail(s, command, "argument %s: could not convert '%s' to Double (For input string: \"%s\")", argument.names(), value, value)
		}
	}
	if argument.Choices != nil && !slices.Contains(argument.Choices, value) {
		return p.fail(s, command, "argument %s: invalid choice: '%s' (choose from {%s})", argument.names(), value, strings.Join(argument.Choices, ","))
	}
	return nil
}

func (p *SubParser) checkRequired(s Streams, parsed *Parsed, command *SubCommand, arguments []Argument) error {
	for _, argument := range arguments {
		if argument.Required && !parsed.Has(argument.Long) {
			return p.fail(s, command, "argument %s is required", argument.names())
		}
	}
	return nil
}

var (
	negativeNumber = regexp.MustCompile(`^-\d+$`)
	// javaIntegers are the names by which Kafka's tools call numbers.
	javaIntegers = map[int]string{16: "Short", 32: "Integer", 64: "Long"}
)

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

// hint is a second line that names the option which a word was probably meant to be.
func (p *SubParser) hint(c *SubCommand, word string) string {
	if p.Terse {
		return ""
	}
	name, _, _ := strings.Cut(word, "=")
	names := make([]string, len(c.Arguments))
	for i, a := range c.Arguments {
		names[i] = a.Long
	}
	if right := kafka.Nearest(name, names); right != "" {
		return "\nDid you mean " + right + "?"
	}
	return ""
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
	message := fmt.Sprintf(format, args...)
	if p.Terse {
		fmt.Fprintf(s.Err, "Command line error: %s. Type --help for help.\n", message)
		return Failed
	}
	p.usage(s.Err, command)
	fmt.Fprintf(s.Err, "%s: error: %s\n", p.Program, message)
	return Failed
}

func (p *SubParser) usage(w io.Writer, command *SubCommand) {
	if command == nil {
		fmt.Fprintf(w, "usage: %s [-h] %s{%s} ...\n", p.Program, words(p.Global), strings.Join(p.names(), ","))
		return
	}
	required := slices.DeleteFunc(slices.Clone(p.Global), func(a Argument) bool { return !a.Required })
	name := command.Name
	if name != "" {
		name += " "
	}
	fmt.Fprintf(w, "usage: %s %s%s[-h] %s\n", p.Program, words(required), name, strings.TrimSpace(words(command.Arguments)))
}

// words are options as a usage text lists them, with a space after each.
func words(arguments []Argument) string {
	var b strings.Builder
	for _, a := range arguments {
		word := a.Long
		if !a.IsFlag {
			word += " " + a.placeholder()
		}
		if a.Many {
			word += " [" + a.placeholder() + " ...]"
		}
		if !a.Required {
			word = "[" + word + "]"
		}
		b.WriteString(word + " ")
	}
	return b.String()
}

func (p *SubParser) help(s Streams) {
	p.usage(s.Out, nil)
	fmt.Fprintf(s.Out, "\n%s\n\npositional arguments:\n", p.Description)
	for _, command := range p.Commands {
		fmt.Fprintf(s.Out, "  %-22s %s\n", command.Name, command.Help)
	}
	(&SubCommand{Arguments: p.Global}).options(s.Out)
	s.printExamples(s.Out)
}

// options lists what the options of a command mean.
func (c *SubCommand) options(w io.Writer) {
	fmt.Fprintf(w, "\noptional arguments:\n  %-22s show this help message and exit\n", "-h, --help")
	for _, a := range c.Arguments {
		name := a.Long
		if a.Short != "" {
			name = a.Short + ", " + name
		}
		help := a.Help
		if a.Default != "" {
			help += " (default: " + a.Default + ")"
		}
		fmt.Fprintf(w, "  %-22s %s\n", name, help)
	}
}
