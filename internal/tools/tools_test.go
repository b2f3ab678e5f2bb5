package tools

import (
	"bytes"
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
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

// hostileBroker answers every connection with the same bytes.
func hostileBroker(t *testing.T, answer []byte) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var handlers sync.WaitGroup
	handlers.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			handlers.Go(func() {
				defer conn.Close()
				request := make([]byte, 1024)
				if _, err := conn.Read(request); err == nil {
					_, _ = conn.Write(answer)
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		handlers.Wait()
	})
	return listener.Addr().String()
}

// TestHostileBrokers lets every tool meet answers that no broker gives: each ends with a
// message and an exit code, none panics or waits for ever.
func TestHostileBrokers(t *testing.T) {
	t.Parallel()
	answers := map[string][]byte{
		"silence":             nil,
		"HTTP":                []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"zeros":               make([]byte, 64),
		"negative size":       {0xff, 0xff, 0xff, 0xff},
		"huge size":           {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		"lying array":         {0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 18, 0, 0},
		"unknown correlation": {0, 0, 0, 8, 0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0},
	}
	tools := [][]string{
		{"kafka-topics", "--list", "--command-config", "CONFIG"},
		{"kafka-consumer-groups", "--list", "--timeout", "100"},
		{"kafka-configs", "--describe", "--topic", "t", "--command-config", "CONFIG"},
		{"kafka-get-offsets", "--command-config", "CONFIG"},
		{"kafka-log-dirs", "--describe", "--command-config", "CONFIG"},
		{"kafka-broker-api-versions", "--command-config", "CONFIG"},
		{"kafka-transactions", "--command-config", "CONFIG", "list"},
		{"kafka-acls", "--list", "--command-config", "CONFIG"},
		{"kafka-client-metrics", "--list", "--command-config", "CONFIG"},
		{"kafka-features", "--command-config", "CONFIG", "describe"},
		{"kafka-groups", "--list", "--command-config", "CONFIG"},
		{"kafka-leader-election", "--election-type", "preferred", "--all-topic-partitions", "--command-config", "CONFIG"},
		{"kafka-metadata-quorum", "--command-config", "CONFIG", "describe", "--status"},
		{"kafka-delegation-tokens", "--describe", "--command-config", "CONFIG"},
		{"kafka-streams-application-reset", "--application-id", "a", "--command-config", "CONFIG"},
		{"kafka-reassign-partitions", "--list", "--command-config", "CONFIG"},
		{"kafka-console-producer", "--topic", "t", "--max-block-ms", "100", "--sync"},
		{"kafka-console-consumer", "--topic", "t", "--timeout-ms", "100"},
	}
	config := t.TempDir() + "/client.properties"
	if err := os.WriteFile(config, []byte("default.api.timeout.ms=100\nrequest.timeout.ms=100\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, answer := range answers {
		address := hostileBroker(t, answer)
		for _, tool := range tools {
			t.Run(name+"/"+tool[0], func(t *testing.T) {
				t.Parallel()
				command, _ := ByProgram(Commands(nil), tool[0])
				args := append([]string{"--bootstrap-server", address}, tool[1:]...)
				for i, arg := range args {
					args[i] = strings.ReplaceAll(arg, "CONFIG", config)
				}
				var out, errs lockedBuffer
				s := cli.Streams{In: strings.NewReader("line\n"), Out: &out, Err: &errs}
				code := cli.Exit(s, command.Run(context.Background(), s, args))
				tellsOnOutput := tool[0] == "kafka-consumer-groups" // which ends with 0, as Kafka's
				if code == 0 && !tellsOnOutput && tool[0] != "kafka-console-consumer" {
					t.Errorf("%q: exit 0\n%s\n%s", args, out.String(), errs.String())
				}
				if out.String()+errs.String() == "" {
					t.Errorf("%q said nothing", args)
				}
			})
		}
	}
}

// lockedBuffer takes what the client library logs from its goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
