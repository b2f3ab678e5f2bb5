package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moldau/moldau/test/kafka/toolbox"
)

// command is what a user types, line by line: a tool's name without "kafka-" and its arguments,
// and after " <<< " its standard input. It runs four times: each side's tools at their own
// broker, and crossed, Apache Kafka's at Moldau and ours at Apache Kafka. In the lines
//
//	BOOTSTRAP  is the broker's address
//	CONTROLLER is that of its controller listener
//	{at}       is an @
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
	// wordless says that the sentences of refusals are each tool's own, such as those of a JSON parser.
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
	return slices.Concat(quickStartCommands(), transactionCommands(), clusterCommands(), resourceCommands(), quotaCommands(), reassignCommands(), securityCommands(), adminCommands(), offlineCommands(), measuringCommands())
}

// prompt begins each line of a transcript that is a command.
const prompt = "$ "

// toolSide is a broker with the tools of one side at it.
type toolSide struct {
	name  string
	tools toolbox.Toolbox
	addr  string
	mark  string
	three bool // addr is the first of three nodes
}

// compareTools runs the commands and has each outcome judged against Apache Kafka's tools at
// Apache Kafka.
func compareTools(commands []command, theirs, ours toolSide, judge func(name, expected, got string)) {
	run := strconv.FormatInt(time.Now().Unix()%1e6, 36) // brokers may have seen an earlier comparison
	theirMark, ourMark := "-"+run+"-1", "-"+run+"-2"
	theirs.mark, ours.mark = theirMark, ourMark
	oursAtTheirs, theirsAtOurs := theirs, ours
	oursAtTheirs.name, oursAtTheirs.tools, oursAtTheirs.mark = ", ours at Apache Kafka", ours.tools, ourMark
	theirsAtOurs.name, theirsAtOurs.tools, theirsAtOurs.mark = ", Apache Kafka's at ours", theirs.tools, theirMark
	base, others := theirs, []toolSide{ours, oursAtTheirs, theirsAtOurs}
	// A refusal's sentence is each broker's own, so it counts only where the broker is the same.
	sentences := func(c command, text string, side toolSide) string {
		if side.addr == theirs.addr && !c.wordless {
			return text
		}
		return sentence.ReplaceAllString(text, "$1 <sentence>")
	}
	for _, c := range commands {
		expected, err := c.run(base)
		if err != nil {
			judge("tool: "+c.name, "no error", "Apache Kafka: "+err.Error()+"\n")
			continue
		}
		for i, side := range others {
			if i > 0 && c.apart != "" {
				break
			}
			got, err := c.run(side)
			if err != nil {
				got += "error: " + err.Error() + "\n"
			}
			judge("tool: "+c.name+side.name, sentences(c, expected, side), sentences(c, got, side))
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
	return b, side.settle()
}

// settle waits until every node has what was changed.
func (s toolSide) settle() error {
	nodes := []string{s.addr}
	if s.three {
		nodes = nodesOf(s.addr)
	}
	for _, node := range nodes {
		if err := settle(node); err != nil {
			return err
		}
	}
	return nil
}

// run runs the lines and returns what they print and with what code they exit: standard output,
// and of standard error the first line that is no log line.
func (c command) run(side toolSide) (string, error) {
	dir, err := os.MkdirTemp("", "parity-tools-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	b, err := c.lay(side)
	if err != nil {
		return "", err
	}
	there, back := placeholders(side, b, dir)
	for name, content := range c.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(there.Replace(content)), 0o600); err != nil {
			return "", err
		}
	}
	var out strings.Builder
	for _, line := range c.lines {
		got, err := runLine(side.tools, line, there)
		if err != nil {
			return out.String(), err
		}
		fmt.Fprintf(&out, prompt+"%s\n%s", line, c.plain(back.Replace(got.Stdout)))
		messages := back.Replace(got.Stderr)
		if strings.Contains(got.Stdout, "Error: ") {
			messages = class.ReplaceAllString(messages, "") // the same again, as a stack trace
		}
		if first := firstError(messages); first != "" && !c.wordless {
			fmt.Fprintf(&out, "error: %s\n", first)
		}
		fmt.Fprintf(&out, "exit code %d\n", got.Code)
		if err := side.settle(); err != nil {
			return out.String(), err
		}
	}
	return out.String(), nil
}

// runLine runs a line, again and again where it says how long.
func runLine(tools toolbox.Toolbox, line string, there *strings.Replacer) (got toolbox.Output, err error) {
	parts := patience.FindStringSubmatch(line)
	if parts != nil {
		line = parts[2]
	}
	words, stdin := split(line, there)
	for deadline := time.Now().Add(time.Minute); ; {
		got, err = tools.Run(words, stdin)
		if err != nil || parts == nil || !regexp.MustCompile(parts[1]).MatchString(got.Stdout) || time.Now().After(deadline) {
			return got, err
		}
	}
}

// word is one of a line's: in quotes, or without spaces.
var word = regexp.MustCompile(`'[^']*'|\S+`)

// placeholders returns what puts a side's values into a command, and what takes them out of its output.
func placeholders(side toolSide, b *broker, dir string) (there, back *strings.Replacer) {
	put := []string{"{at}", "@", "BOOTSTRAP", side.addr, "CONTROLLER", controllerOf(side.addr), "@", side.mark, "DIR", dir, `\n`, "\n"}
	take := []string{side.mark, "@", dir, "DIR"}
	for _, name := range slices.Sorted(maps.Keys(b.state)) {
		put = append(put, "{"+name+"}", fmt.Sprint(b.state[name]))
		if text, ok := b.state[name].(string); ok { // numbers stand for too much else
			take = append(take, text, "{"+name+"}")
		}
	}
	return strings.NewReplacer(put...), strings.NewReplacer(take...)
}

func split(line string, there *strings.Replacer) (words []string, stdin string) {
	line, stdin, _ = strings.Cut(line, " <<< ")
	for _, w := range word.FindAllString(line, -1) {
		words = append(words, there.Replace(strings.Trim(w, "'")))
	}
	return words, there.Replace(stdin)
}

func (c command) plain(text string) string {
	text = plainOutput(without(c.hide(text), stack, class, noise))
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
	// So is the id of a folder.
	directoryID = regexp.MustCompile(`directory\.id=[A-Za-z0-9_-]{22}`)
	// In which order replicas came to be in sync.
	inSyncReplicas = regexp.MustCompile(`(Isr: )(\d+(?:,\d+)+)`)
	// Which of a node's log dirs it takes for a replica.
	logDir    = regexp.MustCompile(`/[^",]*/data[12]\b`)
	localPort = regexp.MustCompile(`localhost[: \t]+\d+`)
	// Both sides' log lines and stack traces.
	noise    = regexp.MustCompile(`(?m)^(\[?\d{4}-\d\d-\d\d|\s+at |\s*\.\.\. \d+ more|Caused by: |SLF4J|The consumer rebalance protocol |Picked up|(java|com\.fasterxml|joptsimple)[.a-zA-Z]*Exception: ).*\n`)
	stack    = regexp.MustCompile(`(?m)^org\.apache\.kafka[.a-zA-Z]*Exception: .*\n(\s+at .*\n)+`)
	class    = regexp.MustCompile(`(?m)^org\.apache\.kafka[.a-zA-Z]*Exception: .*\n`)
	sentence = regexp.MustCompile(`(?m)^((?:error: )?(?:Error while executing .* command ?:|Error: |org\.apache\.kafka[.a-zA-Z]*Exception:)).*$`)
	// Apache Kafka stores it for the whole cluster, since eligible leader replicas are on (KIP-966); here they come with replication.
	minISR = regexp.MustCompile(`(Configs: )min\.insync\.replicas=1(,|$)`)
	// Names that come out of a set.
	names  = regexp.MustCompile(`\('[^()]*'\)|\[[a-z-]+\](, \[[a-z-]+\])+`)
	thrown = regexp.MustCompile(`(?m)^Exception in thread "main" [.a-zA-Z]+: `)
	spaces = regexp.MustCompile(`[ \t]+`)
)

// without leaves log lines and stack traces out, with the empty line that follows those.
func without(text string, patterns ...*regexp.Regexp) string {
	plain := text
	for _, pattern := range patterns {
		plain = pattern.ReplaceAllString(plain, "")
	}
	if plain == text {
		return text
	}
	return strings.TrimRight(plain, "\n") + "\n"
}

func plainOutput(s string) string {
	s = topicID.ReplaceAllString(s, "TopicId: <id>")
	s = names.ReplaceAllStringFunc(s, func(list string) string {
		items := strings.Split(strings.Trim(list, "()"), ", ")
		slices.Sort(items)
		return strings.Join(items, ", ")
	})
	s = thrown.ReplaceAllString(s, "")
	s = localPort.ReplaceAllString(s, "localhost:<port>")
	s = inSyncReplicas.ReplaceAllStringFunc(s, func(list string) string {
		ids := strings.Split(strings.TrimPrefix(list, "Isr: "), ",")
		slices.Sort(ids)
		return "Isr: " + strings.Join(ids, ",")
	})
	s = logDir.ReplaceAllString(s, "<log dir>")
	s = directoryID.ReplaceAllString(s, "directory.id=<id>")
	s = producerID.ReplaceAllString(s, "producerId=<id>")
	var lines []string
	for _, line := range strings.Split(s, "\n") {
		line = minISR.ReplaceAllString(strings.TrimSpace(line), "$1")
		if strings.HasPrefix(line, "{") {
			line = canonical(line)
		}
		lines = append(lines, strings.TrimSpace(spaces.ReplaceAllString(line, " ")))
	}
	return strings.Join(lines, "\n")
}

// firstError is what a script shows of standard error: the first line that is no log line or,
// after an argparse usage text, the sentence at its end.
func firstError(text string) string {
	lines := slices.DeleteFunc(strings.Split(plainOutput(without(text, noise)), "\n"), func(line string) bool { return line == "" })
	switch {
	case len(lines) == 0:
		return ""
	case strings.HasPrefix(lines[0], "usage: "): // argparse breaks long lines
		_, message, _ := strings.Cut(strings.Join(lines, " "), ": error: ")
		return strings.ReplaceAll(message, "-- ", "--")
	}
	return lines[0]
}

// canonical sorts the arrays of a line of JSON, whose order Apache Kafka leaves open; the order of
// fields counts.
func canonical(line string) string {
	arrays := regexp.MustCompile(`\[(\{[^\[\]]*\})\]`)
	return arrays.ReplaceAllStringFunc(line, func(array string) string {
		items := strings.SplitAfter(strings.Trim(array, "[]"), "},")
		for i := range items {
			items[i] = strings.TrimSuffix(items[i], ",")
		}
		slices.Sort(items)
		return "[" + strings.Join(items, ",") + "]"
	})
}
