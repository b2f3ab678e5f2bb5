package tools

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/tools/cli"
)

// kafkaScripts are the tools in bin of Apache Kafka 4.3, without .sh.
var kafkaScripts = strings.Fields(`
	connect-distributed connect-mirror-maker connect-plugin-path connect-standalone kafka-acls kafka-broker-api-versions kafka-client-metrics
	kafka-cluster kafka-configs kafka-console-consumer kafka-console-producer kafka-console-share-consumer kafka-consumer-groups
	kafka-consumer-perf-test kafka-delegation-tokens kafka-delete-records kafka-dump-log kafka-e2e-latency kafka-features kafka-get-offsets
	kafka-groups kafka-jmx kafka-leader-election kafka-log-dirs kafka-metadata-quorum kafka-metadata-shell kafka-producer-perf-test
	kafka-reassign-partitions kafka-replica-verification kafka-run-class kafka-server-start kafka-server-stop kafka-share-consumer-perf-test
	kafka-share-groups kafka-storage kafka-streams-application-reset kafka-streams-groups kafka-topics kafka-transactions
	kafka-verifiable-consumer kafka-verifiable-producer kafka-verifiable-share-consumer trogdor`)

var inBackticks = regexp.MustCompile("`([^`]+)`")

// ledgerOfTools returns the rows of a table of PARITY.md, by the names of its columns.
func ledgerOfTools(t *testing.T, columns string) [][]string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "PARITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(content), "\n"+columns+"\n")
	if !found {
		t.Fatalf("PARITY.md has no table %s", columns)
	}
	var rows [][]string
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != strings.Count(columns, "|")-1 {
			t.Fatalf("PARITY.md: %d cells in %s", len(cells), line)
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if !strings.HasPrefix(line, "|---") {
			rows = append(rows, cells)
		}
	}
	return rows
}

// nameIn is the one name that a cell quotes.
func nameIn(cell string) string { return strings.Trim(cell, "`") }

// TestEveryScriptOfKafkaHasItsRow holds the list of absent tools to those that are there.
func TestEveryScriptOfKafkaHasItsRow(t *testing.T) {
	t.Parallel()
	absent := map[string]bool{}
	for _, row := range ledgerOfTools(t, "| Absent tool | Why |") {
		for _, match := range inBackticks.FindAllStringSubmatch(row[0], -1) {
			absent[match[1]] = true
		}
	}
	commands := Commands(nil)
	for _, name := range kafkaScripts {
		if _, ok := ByProgram(commands, name); ok == absent[name] {
			t.Errorf("%s: there: %v; on PARITY.md's list of absent tools: %v", name, ok, absent[name])
		}
		delete(absent, name)
	}
	for name := range absent {
		t.Errorf("PARITY.md says that %s is absent, which is no tool of Kafka's", name)
	}
	for _, c := range commands {
		if !slices.Contains(kafkaScripts, c.KafkaName) {
			t.Errorf("%s is no tool of Kafka's", c.KafkaName)
		}
	}
}

// kafkaFlags are the flags that the help of Kafka's tools shows, as "tool flag", "tool action" and "tool
// action flag". test/parity records and checks them.
func kafkaFlags(t *testing.T) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "kafka_flags.txt"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "#") })
}

// ourFlags are those that our tools take, in the same form, and whether they are refused.
func ourFlags(t *testing.T) map[string]bool {
	t.Helper()
	flags := map[string]bool{}
	add := func(head string, options []cli.HelpOption, isRefused bool) {
		for _, o := range options {
			if o.Names[0] != "--help" && o.Names[0] != "--version" {
				flags[head+" "+o.Names[0]] = isRefused || strings.HasPrefix(o.Text, "Refused: ")
			}
		}
	}
	for _, tool := range Completable(t.Context(), Commands(nil)) {
		kafkaName := tool.Names[len(tool.Names)-1]
		add(kafkaName, tool.Help.Options, false)
		for _, action := range tool.Help.Commands {
			isRefused := strings.HasPrefix(action.Text, "Refused: ")
			flags[kafkaName+" "+action.Name] = isRefused
			add(kafkaName+" "+action.Name, action.Options, isRefused)
		}
	}
	return flags
}

// TestLedgerOfFlags holds PARITY.md's table of flags to those of Kafka's tools and to those of ours.
func TestLedgerOfFlags(t *testing.T) {
	t.Parallel()
	states := map[string]string{}
	for _, row := range ledgerOfTools(t, "| Tool | State | Actions and flags | Remarks |") {
		tool, state := nameIn(row[0]), row[1]
		if state != "done" && row[3] == "" {
			t.Errorf("PARITY.md, %s: what is %s about %s?", tool, state, row[2])
		}
		if IsScript(tool) {
			continue
		}
		for _, match := range inBackticks.FindAllStringSubmatch(row[2], -1) {
			head, words := tool, strings.Fields(match[1])
			if len(words) > 0 && !strings.HasPrefix(words[0], "-") {
				head += " " + words[0]
				if _, known := states[head]; !known { // an action may stand in several rows
					states[head] = state
				}
				words = words[1:]
			}
			for _, word := range words {
				flag := head + " " + word
				if states[flag] != "" {
					t.Errorf("PARITY.md has %s twice", flag)
				}
				states[flag] = state
			}
		}
	}
	ours, kafka := ourFlags(t), kafkaFlags(t)
	for _, flag := range kafka {
		if states[flag] == "" {
			t.Errorf("PARITY.md does not tell of Kafka's %s", flag)
		}
	}
	for flag, state := range states {
		refused, taken := ours[flag]
		switch state {
		case "done", "partial":
			if !taken || refused {
				t.Errorf("PARITY.md says that %s is %s: taken %v, refused %v", flag, state, taken, refused)
			}
		case "absent":
			if taken && !refused {
				t.Errorf("PARITY.md says that %s is absent, and our tool takes it", flag)
			}
		default:
			t.Errorf("PARITY.md: %s is %q", flag, state)
		}
		if !slices.Contains(kafka, flag) {
			t.Errorf("PARITY.md tells of %s, which the help of Kafka's tool does not show", flag)
		}
	}
	for flag := range ours {
		if states[flag] == "" {
			t.Errorf("our tools take %s, of which PARITY.md does not tell", flag)
		}
	}
}
