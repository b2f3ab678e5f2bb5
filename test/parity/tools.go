package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// command is what a user types, line by line: a tool's name without "kafka-" and its arguments,
// and after " <<< " its standard input. It runs four times: each side's tools at their own
// broker, and crossed, Apache Kafka's at Moldau and ours at Apache Kafka. In the lines
//
//	BOOTSTRAP  is the broker's address
//	@          belongs to a name and differs between the tools, so that those of both can do the same at one broker
//	DIR        is a folder with the files
//	{name}     is what prepare learned
//	'a b'      is one word
type command struct {
	name  string
	lines []string
	files map[string]string
	// prepare is a conversation with the broker before the lines; mark is what @ stands for.
	prepare func(mark string) []step
	// apart says why the tools are not crossed.
	apart string
	// smoke puts it into the short run.
	smoke bool
	// unordered says that Apache Kafka prints its lines in no particular order.
	unordered bool
	// hidden are columns of a table whose cells differ from run to run.
	hidden []string
	// kept selects the lines to compare, where others' things may show; nil: all.
	kept *regexp.Regexp
	// shape compares the form only: numbers hidden, lines that repeat it folded.
	shape bool
	// wordless leaves the first line of standard error out: its sentence is each side's own.
	wordless bool
}

// on makes lines of one tool with a broker.
func on(tool string, tails ...string) []string {
	return with(tool+" --bootstrap-server BOOTSTRAP", tails...)
}

// with puts the same words before each line.
func with(head string, tails ...string) []string {
	lines := make([]string, len(tails))
	for i := range tails {
		lines[i] = strings.TrimSpace(head + " " + tails[i])
	}
	return lines
}

func allCommands() []command {
	return slices.Concat(quickStartCommands(), transactionCommands(), clusterCommands(), resourceCommands())
}

// toolSide is a broker with the tools of one side at it.
type toolSide struct {
	name  string
	tools toolbox
	addr  string
	mark  string
}

// compareTools runs the commands and has each outcome judged against Apache Kafka's tools at
// Apache Kafka.
func compareTools(theirs, ours toolbox, kafka, moldau string, chosen func(c command) bool, judge func(name, expected, got string)) {
	base := toolSide{"Apache Kafka", theirs, kafka, "-p1"}
	others := []toolSide{{"", ours, moldau, "-p2"}, {", ours at Apache Kafka", ours, kafka, "-p2"}, {", Apache Kafka's at ours", theirs, moldau, "-p1"}}
	for _, c := range allCommands() {
		if !chosen(c) {
			continue
		}
		expected := c.run(base)
		for i, side := range others {
			if i > 0 && c.apart != "" {
				break
			}
			judge("tool: "+c.name+side.name, expected, c.run(side))
		}
	}
}

// lay prepares a broker for the lines.
func (c command) lay(side toolSide) (*broker, error) {
	b := &broker{addr: side.addr, state: map[string]any{}}
	if c.prepare == nil {
		return b, nil
	}
	conn, err := dial(side.addr)
	if err != nil {
		return nil, err
	}
	defer conn.tcp.Close()
	for i, s := range c.prepare(side.mark) {
		if _, err := s(b, conn); err != nil {
			return nil, fmt.Errorf("preparing, step %d: %w", i+1, err)
		}
	}
	return b, settle(side.addr)
}

// run runs the lines and returns what they print and with what code they exit: standard output,
// and of standard error the first line that is no log line.
func (c command) run(side toolSide) string {
	dir, err := os.MkdirTemp("", "parity-tools-")
	if err != nil {
		return err.Error()
	}
	defer os.RemoveAll(dir)
	for name, content := range c.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(content, "@", side.mark)), 0o600); err != nil {
			return err.Error()
		}
	}
	b, err := c.lay(side)
	if err != nil {
		return err.Error()
	}
	var out strings.Builder
	for _, line := range c.lines {
		words, stdin := c.words(line, side, b, dir)
		got, err := side.tools.run(words, stdin)
		if err != nil {
			return err.Error()
		}
		undo := strings.NewReplacer(side.mark, "@", dir, "DIR")
		fmt.Fprintf(&out, "$ %s\n%s", line, c.plain(undo.Replace(got.stdout)))
		if first := firstError(undo.Replace(got.stderr)); first != "" && !c.wordless {
			fmt.Fprintf(&out, "error: %s\n", first)
		}
		fmt.Fprintf(&out, "exit code %d\n", got.code)
		if err := settle(side.addr); err != nil {
			return err.Error()
		}
	}
	return out.String()
}

// word is one of a line's: in quotes, or without spaces.
var word = regexp.MustCompile(`'[^']*'|\S+`)

func (c command) words(line string, side toolSide, b *broker, dir string) (words []string, stdin string) {
	line, stdin, _ = strings.Cut(line, " <<< ")
	replace := []string{"BOOTSTRAP", side.addr, "@", side.mark, "DIR", dir, `\n`, "\n"}
	for name, value := range b.state {
		replace = append(replace, "{"+name+"}", fmt.Sprint(value))
	}
	replacer := strings.NewReplacer(replace...)
	for _, w := range word.FindAllString(line, -1) {
		words = append(words, replacer.Replace(strings.Trim(w, "'")))
	}
	return words, replacer.Replace(stdin)
}

func (c command) plain(text string) string {
	text = plainOutput(c.hide(text))
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if c.kept != nil {
		lines = slices.DeleteFunc(lines, func(line string) bool { return !c.kept.MatchString(line) })
	}
	if c.shape {
		for i := range lines {
			lines[i] = number.ReplaceAllString(lines[i], "N")
		}
		lines = slices.Compact(lines)
	}
	if c.unordered {
		slices.Sort(lines)
	}
	return strings.Join(lines, "\n") + "\n"
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
	number  = regexp.MustCompile(`-?\d+([.,:]\d+)*(E-?\d+)?|NaN|-?Infinity`)
	topicID = regexp.MustCompile(`TopicId: [A-Za-z0-9_-]{22}`)
	// What the cluster gave a producer is another number each time.
	producerID = regexp.MustCompile(`producerId=\d+`)
	localPort  = regexp.MustCompile(`localhost:\d+`)
	// Both sides' log lines and stack traces.
	noise = regexp.MustCompile(`(?m)^(\[?\d{4}-\d\d-\d\d|\tat |\s*\.\.\. \d+ more|Caused by: |SLF4J|Picked up|(java|org\.apache\.kafka)[.a-zA-Z]*Exception: ).*\n`)
	// The sentence of a refusal is each broker's own.
	sentence = regexp.MustCompile(`(?m)^(Error while executing .* command :|Error: ).*$`)
	spaces   = regexp.MustCompile(`[ \t]+`)
)

func plainOutput(s string) string {
	s = topicID.ReplaceAllString(s, "TopicId: <id>")
	s = localPort.ReplaceAllString(s, "localhost:<port>")
	s = producerID.ReplaceAllString(s, "producerId=<id>")
	s = noise.ReplaceAllString(s, "")
	s = sentence.ReplaceAllString(s, "$1 <sentence>")
	var lines []string
	for _, line := range strings.Split(s, "\n") {
		lines = append(lines, strings.TrimSpace(spaces.ReplaceAllString(line, " ")))
	}
	return strings.Join(lines, "\n")
}

// firstError is what a script shows of standard error: the first line that is no log line or,
// after an argparse usage text, the sentence at its end.
func firstError(text string) string {
	lines := slices.DeleteFunc(strings.Split(plainOutput(text), "\n"), func(line string) bool { return line == "" })
	switch {
	case len(lines) == 0:
		return ""
	case strings.HasPrefix(lines[0], "usage: "): // argparse breaks long lines
		_, message, _ := strings.Cut(strings.Join(lines, " "), ": error: ")
		return message
	}
	return lines[0]
}
