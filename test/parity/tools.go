package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// command is a line that a user types: the tool's name without "kafka-", and its arguments.
// BOOTSTRAP stands for the broker's address.
type command struct {
	name  string
	lines []string
	stdin string
	// unordered says that Apache Kafka prints its lines in no particular order.
	unordered bool
	// prepare is a conversation with the broker before the lines. What it learns stands in the
	// lines as {name}.
	prepare []step
	// crossed runs the lines also with Apache Kafka's tool against Moldau and the other way round.
	crossed bool
	// hidden are columns of a table whose cells differ from run to run.
	hidden []string
}

// commands build on each other: each side runs them in this order against its own broker.
var commands = []command{
	{name: "create", lines: []string{"topics --bootstrap-server BOOTSTRAP --create --topic quickstart-events --partitions 2 --config retention.ms=86400000"}},
	{name: "create again", lines: []string{"topics --bootstrap-server BOOTSTRAP --create --topic quickstart-events"}},
	{name: "create if not there", lines: []string{"topics --bootstrap-server BOOTSTRAP --create --if-not-exists --topic quickstart-events"}},
	{name: "describe", lines: []string{"topics --bootstrap-server BOOTSTRAP --describe --topic quickstart-events"}},
	{name: "describe nothing", lines: []string{"topics --bootstrap-server BOOTSTRAP --describe --topic not-there"}},
	{name: "alter", lines: []string{"topics --bootstrap-server BOOTSTRAP --alter --topic quickstart-events --partitions 3", "topics --bootstrap-server BOOTSTRAP --describe --topic quickstart-events"}},
	{name: "produce", stdin: "k1:first\nk2:second\nk1:third\n", lines: []string{"console-producer --bootstrap-server BOOTSTRAP --topic quickstart-events --property parse.key=true --property key.separator=:"}},
	{name: "consume one partition", lines: []string{"console-consumer --bootstrap-server BOOTSTRAP --topic quickstart-events --partition 0 --offset earliest --max-messages 1 --timeout-ms 10000 --property print.key=true --property print.partition=true --property print.offset=true"}},
	{name: "offsets", lines: []string{"get-offsets --bootstrap-server BOOTSTRAP --topic quickstart-events", "get-offsets --bootstrap-server BOOTSTRAP --topic quickstart-events --time earliest"}},
	{name: "reset, dry", unordered: true, lines: []string{"consumer-groups --bootstrap-server BOOTSTRAP --group readers --topic quickstart-events --reset-offsets --to-earliest --dry-run"}},
	{name: "reset", unordered: true, lines: []string{"consumer-groups --bootstrap-server BOOTSTRAP --group readers --topic quickstart-events --reset-offsets --to-earliest --execute"}},
	{name: "describe group", lines: []string{"consumer-groups --bootstrap-server BOOTSTRAP --describe --group readers"}},
	{name: "describe group's state", lines: []string{"consumer-groups --bootstrap-server BOOTSTRAP --describe --group readers --state"}},
	{name: "shift", lines: []string{"consumer-groups --bootstrap-server BOOTSTRAP --group readers --topic quickstart-events:0 --reset-offsets --shift-by 1 --execute"}},
	{name: "delete offsets", lines: []string{"consumer-groups --bootstrap-server BOOTSTRAP --group readers --topic quickstart-events:1 --delete-offsets"}},
	{name: "describe unknown group", lines: []string{"consumer-groups --bootstrap-server BOOTSTRAP --describe --group not-there"}},
	{name: "delete group", lines: []string{"consumer-groups --bootstrap-server BOOTSTRAP --delete --group readers"}},
	{name: "alter config", lines: []string{"configs --bootstrap-server BOOTSTRAP --entity-type topics --entity-name quickstart-events --alter --add-config max.message.bytes=2000000", "configs --bootstrap-server BOOTSTRAP --entity-type topics --entity-name quickstart-events --describe"}},
	{name: "delete config", lines: []string{"configs --bootstrap-server BOOTSTRAP --topic quickstart-events --alter --delete-config max.message.bytes", "configs --bootstrap-server BOOTSTRAP --topic quickstart-events --describe"}},
	{name: "bad config", lines: []string{"configs --bootstrap-server BOOTSTRAP --topic quickstart-events --alter --add-config retention.ms=soon"}},
	{name: "delete", lines: []string{"topics --bootstrap-server BOOTSTRAP --delete --topic quickstart-events", "topics --bootstrap-server BOOTSTRAP --delete --topic not-there"}},
	{name: "no command", lines: []string{"topics --bootstrap-server BOOTSTRAP"}},
}

func allCommands() []command {
	return slices.Concat(commands, transactionCommands(), clusterCommands())
}

// lay prepares a broker for the lines.
func (c command) lay(addr string) (*broker, error) {
	b := &broker{addr: addr, state: map[string]any{}}
	if len(c.prepare) == 0 {
		return b, nil
	}
	conn, err := dial(addr)
	if err != nil {
		return nil, err
	}
	defer conn.tcp.Close()
	for i, s := range c.prepare {
		if _, err := s(b, conn); err != nil {
			return nil, fmt.Errorf("preparing, step %d: %w", i+1, err)
		}
	}
	return b, nil
}

// run runs the lines with one side's tools and returns what they print on stdout and with what
// code they exit. Usage texts and log lines, which go to stderr, are not compared.
func (c command) run(b *broker, prefix []string) string {
	var out strings.Builder
	for _, line := range c.lines {
		for name, value := range b.state {
			line = strings.ReplaceAll(line, "{"+name+"}", fmt.Sprint(value))
		}
		args := append(prefix[1:len(prefix):len(prefix)], strings.Fields(strings.ReplaceAll(line, "BOOTSTRAP", b.addr))...)
		cmd := exec.Command(prefix[0], args...)
		cmd.Stdin = strings.NewReader(c.stdin)
		var stdout bytes.Buffer
		cmd.Stdout = &stdout
		err := cmd.Run()
		code := 0
		if exit, ok := err.(*exec.ExitError); ok {
			code = exit.ExitCode()
		} else if err != nil {
			return err.Error()
		}
		text := plainOutput(c.hide(stdout.String()))
		if c.unordered {
			lines := strings.Split(text, "\n")
			slices.Sort(lines)
			text = strings.Join(lines, "\n") + "\n"
		}
		fmt.Fprintf(&out, "%sexit code %d\n", text, code)
		if err := settle(b.addr); err != nil {
			return err.Error()
		}
	}
	return out.String()
}

// hide replaces the cells of the hidden columns.
func (c command) hide(output string) string {
	lines := strings.Split(output, "\n")
	headers := strings.Split(lines[0], "\t")
	for i := range lines[1:] {
		cells := strings.Split(lines[i+1], "\t")
		for j := range cells {
			if j < len(headers) && slices.Contains(c.hidden, strings.TrimSpace(headers[j])) && strings.Trim(cells[j], " 0123456789") == "" {
				cells[j] = "<hidden>"
			}
		}
		lines[i+1] = strings.Join(cells, "\t")
	}
	return strings.Join(lines, "\n")
}

var (
	topicID   = regexp.MustCompile(`TopicId: [A-Za-z0-9_-]{22}`)
	localPort = regexp.MustCompile(`localhost:\d+`)
	// Kafka's own log4j lines and stack traces may come on stdout.
	noise = regexp.MustCompile(`(?m)^(\[?\d{4}-\d\d-\d\d|\tat |SLF4J|Picked up).*\n`)
	// The sentence of a refusal is each broker's own.
	sentence = regexp.MustCompile(`(?m)^(Error while executing .* command :|Error: ).*$`)
	spaces   = regexp.MustCompile(`[ \t]+`)
)

func plainOutput(s string) string {
	s = topicID.ReplaceAllString(s, "TopicId: <id>")
	s = localPort.ReplaceAllString(s, "localhost:<port>")
	s = noise.ReplaceAllString(s, "")
	s = sentence.ReplaceAllString(s, "$1 <sentence>")
	var lines []string
	for _, line := range strings.Split(s, "\n") {
		lines = append(lines, strings.TrimSpace(spaces.ReplaceAllString(line, " ")))
	}
	return strings.Join(lines, "\n")
}
