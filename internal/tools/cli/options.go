package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/kafka"
)

// ArgKind says whether an option takes an argument.
type ArgKind int8

const (
	NoArg ArgKind = iota
	RequiredArg
	OptionalArg
)

// Option is one option of a tool.
type Option struct {
	Name    string
	Arg     ArgKind
	ArgName string // what the usage text calls the argument
	Default string // shown in the usage text; returned by String, Int and Long when the option is absent
	Help    string
	// Separator splits one argument into several values, such as a,b for ','.
	Separator string
	// AvailableIf lists options of which one must be given too.
	AvailableIf []*Option
}

// String is the option as Kafka's messages quote it: [name].
func (o *Option) String() string { return "[" + o.Name + "]" }

// isNumber says that the argument is a whole number, so that -1 is one and not an option.
func (o *Option) isNumber() bool {
	return strings.HasPrefix(o.ArgName, "Integer") || strings.HasPrefix(o.ArgName, "Long")
}

// Parser holds a tool's options.
type Parser struct {
	options []*Option
	byName  map[string]*Option
	groups  []optionGroup
	help    *Option
	version *Option
}

// NewParser returns a parser that knows --help and --version.
func NewParser() *Parser {
	p := &Parser{byName: map[string]*Option{}}
	p.help = p.Flag("help", "Print usage information.")
	p.version = p.Flag("version", "Print the version of Kafka that this tool follows.")
	return p
}

// Add registers an option.
func (p *Parser) Add(o Option) *Option {
	option := &o
	if _, exists := p.byName[o.Name]; exists {
		panic("BUG: option declared twice: " + o.Name)
	}
	p.options = append(p.options, option)
	p.byName[o.Name] = option
	return option
}

// Flag registers an option without an argument.
func (p *Parser) Flag(name, help string) *Option {
	return p.Add(Option{Name: name, Help: help})
}

// Value registers an option with a required argument.
func (p *Parser) Value(name, argName, help string) *Option {
	return p.Add(Option{Name: name, Arg: RequiredArg, ArgName: argName, Help: help})
}

// ParseError is a command line that the parser or an accessor refuses.
type ParseError struct{ message string }

func (e *ParseError) Error() string { return e.message }

func parseErrorf(format string, args ...any) error {
	return &ParseError{message: fmt.Sprintf(format, args...)}
}

// Set is a parsed command line. Accessors that cannot convert an argument remember the first
// such failure, which Err returns, so that a tool reads all its options and checks once.
type Set struct {
	Args     []string // as given
	detected []*Option
	values   map[*Option][]string
	operands []string
	parser   *Parser
	err      error
}

// Parse reads a command line. As in Kafka, one dash and two dashes mean the same, an argument
// follows '=' or stands in the next word, options repeat, and "--" ends the options.
func (p *Parser) Parse(args []string) (*Set, error) {
	set := &Set{Args: args, values: map[*Option][]string{}, parser: p}
	for i := 0; i < len(args); i++ {
		word := args[i]
		if word == "--" {
			set.operands = append(set.operands, args[i+1:]...)
			break
		}
		if !looksLikeOption(word) {
			set.operands = append(set.operands, word)
			continue
		}
		option, argument, hasArgument, err := p.find(word)
		if err != nil {
			return nil, err
		}
		if !hasArgument && option.Arg != NoArg && i+1 < len(args) &&
			(option.Arg == RequiredArg || !looksLikeOption(args[i+1]) || option.isNumber() && negativeNumber.MatchString(args[i+1])) {
			i++
			argument, hasArgument = args[i], true
		}
		if err := set.detect(option, argument, hasArgument); err != nil {
			return nil, err
		}
	}
	return set, set.checkAvailable()
}

func looksLikeOption(word string) bool {
	return len(word) > 1 && word[0] == '-'
}

func (p *Parser) find(word string) (option *Option, argument string, hasArgument bool, err error) {
	long := strings.HasPrefix(word, "--")
	name, argument, hasArgument := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-"), "=")
	if option, ok := p.byName[name]; ok {
		return option, argument, hasArgument, nil
	}
	if !long {
		// A single dash is a cluster of one-letter options to Kafka, and no tool has any.
		name = name[:1]
	}
	return nil, "", false, parseErrorf("%s is not a recognized option%s", name, p.hint(word))
}

// hint is a second line that names the option which a word was probably meant to be.
func (p *Parser) hint(word string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	names := make([]string, len(p.options))
	for i, option := range p.options {
		names[i] = option.Name
	}
	if right := kafka.Nearest(name, names); right != "" {
		return "\nDid you mean --" + right + "?"
	}
	return ""
}

func (s *Set) detect(option *Option, argument string, hasArgument bool) error {
	switch {
	case hasArgument && option.Arg == NoArg:
		return parseErrorf("Option %s does not take an argument", option.Name)
	case !hasArgument && option.Arg == RequiredArg:
		return parseErrorf("Option %s requires an argument", option.Name)
	}
	s.detected = append(s.detected, option)
	if !hasArgument {
		return nil
	}
	if option.Separator == "" {
		s.values[option] = append(s.values[option], argument)
		return nil
	}
	for value := range strings.SplitSeq(argument, option.Separator) {
		if value != "" {
			s.values[option] = append(s.values[option], value)
		}
	}
	return nil
}

func (s *Set) checkAvailable() error {
	if s.Has(s.parser.help) || s.Has(s.parser.version) {
		return nil
	}
	for _, option := range s.detected {
		if len(option.AvailableIf) > 0 && s.Count(option.AvailableIf...) == 0 {
			return parseErrorf("Option(s) %s are unavailable given other options on the command line", option)
		}
	}
	return nil
}

// Has reports whether an option was given.
func (s *Set) Has(option *Option) bool {
	for _, o := range s.detected {
		if o == option {
			return true
		}
	}
	return false
}

// Count returns how many of the options were given, each counted once.
func (s *Set) Count(options ...*Option) int {
	count := 0
	for _, option := range options {
		if s.Has(option) {
			count++
		}
	}
	return count
}

// Detected lists the given options in order, repeated ones repeatedly.
func (s *Set) Detected() []*Option { return s.detected }

// Operands lists the words that are neither options nor their arguments.
func (s *Set) Operands() []string { return s.operands }

// Values returns all arguments of an option.
func (s *Set) Values(option *Option) []string { return s.values[option] }

// String returns an option's argument, or its default.
func (s *Set) String(option *Option) string {
	values := s.values[option]
	if len(values) == 0 {
		return option.Default
	}
	if len(values) > 1 {
		s.fail(parseErrorf("Found multiple arguments for option %s, but you asked for only one", option.Name))
	}
	return values[0]
}

// Int returns an option's argument as a 32-bit number; 0 where absent and without default.
func (s *Set) Int(option *Option) int32 {
	return int32(s.number(option, math.MinInt32, math.MaxInt32))
}

// Long returns an option's argument as a 64-bit number; 0 where absent and without default.
func (s *Set) Long(option *Option) int64 {
	return s.number(option, math.MinInt64, math.MaxInt64)
}

func (s *Set) number(option *Option, minimum, maximum int64) int64 {
	text := s.String(option)
	if text == "" && !s.Has(option) {
		return 0
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < minimum || number > maximum {
		s.fail(parseErrorf("Cannot parse argument '%s' of option %s", text, option.Name))
		return 0
	}
	return number
}

// Err returns the first failure of an accessor.
func (s *Set) Err() error { return s.err }

func (s *Set) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}
