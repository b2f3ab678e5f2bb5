package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/tools"
	"github.com/moldau/moldau/test/kafka/toolbox"
)

// flagsFile has the flags that the help of Apache Kafka's tools shows: a line for each tool, action and
// flag. A test in internal/tools holds PARITY.md and the flags of ours to it.
const flagsFile = "internal/tools/testdata/kafka_flags.txt"

const flagsHead = "# What --help of Apache Kafka's tools shows. test/parity/run --record-flags writes it.\n"

var (
	// joptsimple writes a flag at the begin of a line, after a star where it is required; argparse indents it.
	flagLine   = regexp.MustCompile(`(?m)^(?:\* |  )?(-.*)$`)
	longFlag   = regexp.MustCompile(`--[a-zA-Z][a-zA-Z0-9.-]*`)
	actionList = regexp.MustCompile(`positional arguments:\n\s+\{([^}]*)\}`)
	// kafka-transactions has a word for the list instead.
	actionLine = regexp.MustCompile(`(?m)^ {4}([a-z][A-Za-z-]*)(?: {2,}.*)?$`)
)

// flagsOf reads a help text.
func flagsOf(help string) (actions, flags []string) {
	if list := actionList.FindStringSubmatch(help); list != nil {
		actions = strings.Split(list[1], ",")
	}
	if _, commands, found := strings.Cut(help, "\n  COMMAND\n"); found {
		for _, line := range actionLine.FindAllStringSubmatch(commands, -1) {
			actions = append(actions, line[1])
		}
	}
	for _, line := range flagLine.FindAllStringSubmatch(help, -1) {
		// What two spaces part from the flag is what it means.
		names, _, _ := strings.Cut(line[1], "  ")
		if flag := longFlag.FindString(names); flag != "" && flag != "--help" && flag != "--version" && !slices.Contains(flags, flag) {
			flags = append(flags, flag)
		}
	}
	slices.Sort(actions)
	slices.Sort(flags)
	return actions, flags
}

// kafkaFlags asks Apache Kafka's tools for their help, those that we have too.
func kafkaFlags(theirs toolbox.Toolbox) (string, error) {
	var b strings.Builder
	b.WriteString(flagsHead)
	for _, command := range tools.Commands(nil) {
		if tools.IsScript(command.KafkaName) {
			continue // its flags are a shell script's
		}
		if err := writeFlags(&b, theirs, command.KafkaName, command.Name()); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// helpWords ask for help where --help alone counts as something else.
var helpWords = map[string][]string{"kafka-e2e-latency": {"--topic", "t", "--help"}}

func writeFlags(b *strings.Builder, theirs toolbox.Toolbox, shown string, words ...string) error {
	ask := helpWords[shown]
	if ask == nil {
		ask = []string{"--help"}
	}
	output, err := theirs.Run(slices.Concat(words, ask), "")
	if err != nil {
		return fmt.Errorf("help of %s: %w", shown, err)
	}
	actions, flags := flagsOf(output.Stdout + output.Stderr)
	if len(words) == 1 && len(actions)+len(flags) == 0 {
		return fmt.Errorf("the help of %s shows no flags: %s%s", shown, output.Stdout, output.Stderr)
	}
	for _, flag := range flags {
		fmt.Fprintf(b, "%s %s\n", shown, flag)
	}
	for _, action := range actions {
		fmt.Fprintf(b, "%s %s\n", shown, action)
		if err := writeFlags(b, theirs, shown+" "+action, words[0], action); err != nil {
			return err
		}
	}
	return nil
}

func recordFlags(theirs toolbox.Toolbox) error {
	flags, err := kafkaFlags(theirs)
	if err != nil {
		return err
	}
	return os.WriteFile(flagsFile, []byte(flags), 0o644)
}

// compareFlags holds the file to the tools.
func compareFlags(theirs toolbox.Toolbox, judge func(name, expected, got string)) {
	recorded, err := os.ReadFile(flagsFile)
	if err != nil {
		recorded = []byte(err.Error() + "\n")
	}
	flags, err := kafkaFlags(theirs)
	if err != nil {
		flags = err.Error() + "\n"
	}
	judge("flags of the tools", flags, string(recorded))
}
