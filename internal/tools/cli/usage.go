package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// KafkaVersion is the release of Apache Kafka whose tools these are like; --version prints it.
const KafkaVersion = "4.3.1"

// UsageError prints a message and the tool's options on standard error and returns the error
// that ends the tool with exit code 1, which is also what Kafka's tools do for --help.
func (p *Parser) UsageError(s Streams, format string, args ...any) error {
	fmt.Fprintf(s.Err, format+"\n", args...)
	p.PrintUsage(s.Err)
	return Failed
}

// HelpOrVersion handles an empty command line, --help and --version; done says that the tool
// has nothing else to do.
func (s *Set) HelpOrVersion(streams Streams, summary string) (done bool, err error) {
	switch {
	case streams.Describe != nil:
		streams.Describe(s.parser.data())
		return true, nil
	case len(s.Args) == 0 || s.Has(s.parser.help):
		s.parser.printHelp(streams, summary)
		return true, Failed
	}
	if s.Has(s.parser.version) {
		streams.Println(KafkaVersion)
		return true, nil
	}
	return false, nil
}

// CheckRequired complains about the first option of the list that is absent.
func (s *Set) CheckRequired(streams Streams, options ...*Option) error {
	for _, option := range options {
		if !s.Has(option) {
			return s.parser.UsageError(streams, "Missing required argument \"%s\"", option)
		}
	}
	return nil
}

// CheckInvalid complains if an option was given together with one of the others.
func (s *Set) CheckInvalid(streams Streams, used *Option, invalid ...*Option) error {
	if !s.Has(used) {
		return nil
	}
	for _, option := range invalid {
		if s.Has(option) {
			return s.parser.UsageError(streams, "Option \"%s\" can't be used with option \"%s\"", used, option)
		}
	}
	return nil
}

// CheckOneOf complains unless exactly one of the options was given.
func (s *Set) CheckOneOf(streams Streams, options ...*Option) error {
	if s.Count(options...) == 1 {
		return nil
	}
	return s.parser.UsageError(streams, "Exactly one of the following arguments is required: %s", JoinOptions(options...))
}

// JoinOptions lists options as messages quote them.
func JoinOptions(options ...*Option) string {
	names := make([]string, len(options))
	for i, option := range options {
		names[i] = option.String()
	}
	return strings.Join(names, ", ")
}

// Without returns a list of options without some of them.
func Without(options []*Option, removed ...*Option) []*Option {
	return slices.DeleteFunc(slices.Clone(options), func(o *Option) bool { return slices.Contains(removed, o) })
}

const (
	usageWidth      = 80
	usageLeftWidth  = 39
	usageRightWidth = usageWidth - usageLeftWidth - 2
)

// PrintUsage lists the options in two columns.
func (p *Parser) PrintUsage(w io.Writer) {
	printUsageRow(w, "Option", "Description")
	printUsageRow(w, "------", "-----------")
	for _, option := range p.sorted() {
		help := option.Help
		if option.Default != "" {
			help += " (default: " + option.Default + ")"
		}
		printUsageRow(w, option.usage(), help)
	}
}

func (p *Parser) sorted() []*Option {
	return slices.SortedFunc(slices.Values(p.options), func(a, b *Option) int { return cmp.Compare(a.Name, b.Name) })
}

func (o *Option) usage() string {
	if o.Arg == NoArg {
		return "--" + o.Name
	}
	argument := o.ArgName
	if argument == "" {
		argument = "String"
	}
	if o.Arg == OptionalArg {
		return "--" + o.Name + " [" + argument + "]"
	}
	return "--" + o.Name + " <" + argument + ">"
}

func printUsageRow(w io.Writer, left, right string) {
	leftLines, rightLines := wrap(left, usageLeftWidth), wrap(right, usageRightWidth)
	for i := range max(len(leftLines), len(rightLines)) {
		var l, r string
		if i < len(leftLines) {
			l = leftLines[i]
		}
		if i < len(rightLines) {
			r = rightLines[i]
		}
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%-*s  %s", usageLeftWidth, l, r), " "))
	}
}

// wrap breaks a text at spaces; lines after the first are indented by two.
func wrap(text string, width int) []string {
	var lines []string
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			switch {
			case line == "":
				line = word
			case len(line)+1+len(word) > width:
				lines = append(lines, line)
				line = "  " + word
			default:
				line += " " + word
			}
		}
		lines = append(lines, line)
	}
	return lines
}
