package tools

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/completion"
)

func TestByProgram(t *testing.T) {
	t.Parallel()
	commands := Commands(nil)
	for program, want := range map[string]string{
		"kafka-topics": "kafka-topics", "/opt/kafka/bin/kafka-topics.sh": "kafka-topics", "./kafka-server-start.sh": "kafka-server-start",
		"kafka-console-consumer.exe": "kafka-console-consumer", "kafka-storage.cmd": "kafka-storage", "moldau": "", "topics": "", "kafka-unknown.sh": "",
	} {
		command, ok := ByProgram(commands, program)
		if ok != (want != "") || command.KafkaName != want {
			t.Errorf("%s leads to %q", program, command.KafkaName)
		}
	}
	if !slices.IsSortedFunc(commands, func(a, b Command) int { return strings.Compare(a.KafkaName, b.KafkaName) }) {
		t.Error("the table is not sorted")
	}
	if got := commands[len(commands)-1].Name(); got != "verifiable-producer" {
		t.Errorf("%q", got)
	}
}

// TestEveryToolHasExamples holds the table of examples to the table of tools.
func TestEveryToolHasExamples(t *testing.T) {
	t.Parallel()
	own := []string{"kafka-server-start", "kafka-server-stop"} // whose help is their own
	commands := Commands(nil)
	for _, c := range commands {
		if len(examples[c.KafkaName]) == 0 && !slices.Contains(own, c.KafkaName) {
			t.Errorf("%s has no example", c.KafkaName)
		}
		for _, e := range examples[c.KafkaName] {
			if !strings.Contains(e.Line, c.KafkaName+" ") {
				t.Errorf("an example of %s is %s", c.KafkaName, e.Line)
			}
		}
	}
	for name := range examples {
		if _, ok := ByProgram(commands, name); !ok {
			t.Errorf("there are examples of %s, which does not exist", name)
		}
	}
}

// TestCompletionKnowsEveryTool asks for what completion offers.
func TestCompletionKnowsEveryTool(t *testing.T) {
	t.Parallel()
	for _, c := range Completable(t.Context(), Commands(nil)) {
		if len(c.Help.Options)+len(c.Help.Commands) == 0 && !strings.HasPrefix(c.Names[0], "server-") {
			t.Errorf("%s has no options", c.Names[0])
		}
	}
	for line, want := range map[string]string{
		"kafka-topics --creat":                                  "--create",
		"kafka-topics --list --exclude":                         "--exclude-internal",
		"moldau topics --creat":                                 "--create",
		"moldau kafka-topics --creat":                           "--create",
		"moldau consumer-gr":                                    "consumer-groups",
		"moldau features desc":                                  "describe",
		"moldau features describe --node":                       "--node-id",
		"kafka-leader-election --election-type PREF":            "PREFERRED",
		"kafka-configs --entity-type=broker-":                   "--entity-type=broker-loggers",
		"kafka-console-consumer --topic x --isolation-level re": "read_committed read_uncommitted",
		"kafka-topics --topic ":                                 "",
	} {
		var out bytes.Buffer
		program := ""
		if first, _, _ := strings.Cut(line, " "); first != "moldau" {
			program = first
		}
		completion.Suggest(t.Context(), cli.Streams{Out: &out}, Completable(t.Context(), Commands(nil)), program, line)
		var words []string
		for suggestion := range strings.Lines(out.String()) {
			word, _, _ := strings.Cut(suggestion, "\t")
			words = append(words, word)
		}
		if got := strings.Join(words, " "); got != want {
			t.Errorf("%q is completed to %q, want %q", line, got, want)
		}
	}
}
