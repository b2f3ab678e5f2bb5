package cli

import (
	"fmt"
	"slices"
	"strings"
)

// OptionParser reads command lines of the tools that Kafka writes with argparse and without
// actions: kafka-producer-perf-test, kafka-verifiable-producer, kafka-verifiable-consumer.
type OptionParser struct {
	Program     string
	Description string
	Arguments   []Argument
	// OneOf are options of which exactly one must be given.
	OneOf []string
}

// Parse reads a command line. Mistakes are printed on standard error; help, on standard output,
// ends with exit code 1 where it was asked for and with 0 where nothing was, as Kafka's.
func (p *OptionParser) Parse(s Streams, args []string) (*Parsed, error) {
	if s.Describe != nil {
		s.Describe(Help{Options: helpOptions(p.Arguments)})
		return nil, ErrHelp
	}
	if len(args) == 0 {
		p.help(s)
		return nil, ErrHelp
	}
	command, actions := p.parts()
	parsed := &Parsed{values: map[string][]string{}, defaults: map[string]string{}}
	for _, a := range p.Arguments {
		parsed.defaults[a.Long] = a.Default
	}
	for len(args) > 0 {
		if args[0] == "-h" || args[0] == "--help" {
			p.help(s)
			return nil, Failed
		}
		used, err := actions.take(s, parsed, command, command, args)
		if err != nil {
			return nil, err
		}
		args = args[used:]
		if err := p.checkOneOf(s, parsed); err != nil {
			return nil, err
		}
	}
	if err := actions.checkRequired(s, parsed, command, command.Arguments); err != nil {
		return nil, err
	}
	if len(p.OneOf) > 0 && len(p.given(parsed)) == 0 {
		return nil, p.Fail(s, "one of the arguments %s is required", strings.Join(p.OneOf, " "))
	}
	return parsed, nil
}

// parts are the forms in which a SubParser knows these options: one command without a name.
func (p *OptionParser) parts() (*SubCommand, *SubParser) {
	return &SubCommand{Arguments: p.Arguments}, &SubParser{Program: p.Program}
}

func (p *OptionParser) given(parsed *Parsed) []string {
	return slices.DeleteFunc(slices.Clone(p.OneOf), func(name string) bool { return !parsed.Has(name) })
}

func (p *OptionParser) checkOneOf(s Streams, parsed *Parsed) error {
	if given := p.given(parsed); len(given) > 1 {
		return p.Fail(s, "argument %s: not allowed with argument %s", given[1], given[0])
	}
	return nil
}

// Fail is how a tool complains about a command line that Parse accepted.
func (p *OptionParser) Fail(s Streams, format string, args ...any) error {
	command, actions := p.parts()
	return actions.fail(s, command, format, args...)
}

func (p *OptionParser) help(s Streams) {
	command, actions := p.parts()
	actions.usage(s.Out, command)
	fmt.Fprintf(s.Out, "\n%s\n", p.Description)
	command.options(s.Out)
	s.printExamples(s.Out)
}
