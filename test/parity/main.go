// Command parity asks Apache Kafka and Moldau the same questions and compares the answers.
// See README.md; run starts both brokers.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/moldau/moldau/test/kafka/toolbox"
)

// broker is one side of the comparison.
type broker struct {
	addr  string
	state map[string]any // what earlier steps of a probe learned from this broker, such as a topic id
}

// step sends something to a broker and describes what came back.
type step func(b *broker, c *conn) (string, error)

// probe is a named conversation; its steps share a connection unless the broker closes it.
type probe struct {
	name  string
	steps []step
}

func main() {
	kafka := flag.String("kafka", "", "address of Apache Kafka")
	moldau := flag.String("moldau", "", "address of Moldau")
	kafkaTools := flag.String("kafka-tools", "", "the script that runs Apache Kafka's tools")
	moldauTools := flag.String("moldau-tools", "", "the moldau binary")
	dumped := flag.String("dumped", "", "address of a Moldau whose files are read with Apache Kafka's dump-log")
	dumpedData := flag.String("dumped-data", "", "its log dir")
	record := flag.String("record", "", "write Apache Kafka's answers to the script into this folder instead")
	recordHelp := flag.Bool("record-flags", false, "write the flags of Apache Kafka's tools into "+flagsFile+" instead")
	only := flag.String("only", "", "run only probes whose name has this in it")
	shown := flag.Bool("show", false, "print what is compared")
	three := flag.Bool("three", false, "the addresses are those of the first of three nodes: run only the tools that move partitions between them")
	smoke := flag.Bool("smoke", false, "run the short set only")
	flag.Parse()

	if *recordHelp {
		jvm := toolbox.NewWarmJVM(*kafkaTools)
		defer jvm.Stop()
		if err := recordFlags(jvm); err != nil {
			jvm.Stop()
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	if *record != "" {
		if err := recordScript(*kafka, *record); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	passed, failed := 0, 0
	judge := func(name, expected, got string) {
		if *shown {
			fmt.Printf("== %s\n%s", name, got)
		}
		reason, isKnown := known[name]
		switch {
		case expected == got && !isKnown:
			passed++
		case expected != got && isKnown:
			passed++
			fmt.Printf("known difference: %s: %s\n", name, reason)
		case isKnown:
			failed++
			fmt.Printf("FAIL %s: the known difference is gone; take it off the list\n", name)
		default:
			failed++
			fmt.Printf("FAIL %s\n%s", name, difference(expected, got))
		}
	}
	commands := threeNodeCommands()
	if !*three {
		commands = allCommands()
		for _, p := range probes() {
			if strings.Contains(p.name, *only) {
				judge(p.name, converse(p, *kafka), converse(p, *moldau))
			}
		}
	}
	if *kafkaTools != "" {
		jvm, moldauBinary := toolbox.NewWarmJVM(*kafkaTools), toolbox.Program{*moldauTools}
		defer jvm.Stop()
		if strings.Contains("flags of the tools", *only) && !*three {
			compareFlags(jvm, judge)
		}
		commands = slices.DeleteFunc(commands, func(c command) bool { return !strings.Contains("tool: "+c.name, *only) || *smoke && !c.smoke })
		compareTools(commands, toolSide{name: "Apache Kafka", tools: jvm, addr: *kafka, three: *three}, toolSide{tools: moldauBinary, addr: *moldau, three: *three}, judge)
	}
	if name := "dump-log of compacted and transactional logs"; *dumped != "" && *kafkaTools != "" && strings.Contains(name, *only) {
		judge(name, "", dumpCheck(*dumped, *dumpedData, dumpTools{[]string{*kafkaTools, "tool"}, []string{*moldauTools}}))
	}
	if (*only == "" || *only == "script") && !*three {
		ran, problems := compareScript(*kafka, *moldau)
		for _, p := range problems {
			fmt.Printf("FAIL %s\n", p)
		}
		passed, failed = passed+ran-min(ran, len(problems)), failed+len(problems)
	}
	fmt.Printf("parity: %d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

// converse runs the steps of a probe against one broker and returns the transcript.
func converse(p probe, addr string) string {
	b := &broker{addr: addr, state: map[string]any{}}
	c, err := dial(addr)
	if err != nil {
		return err.Error()
	}
	defer func() { c.tcp.Close() }()
	var transcript strings.Builder
	for i, s := range p.steps {
		answer, err := s(b, c)
		if err != nil {
			answer = "error: " + err.Error() + "\n"
			c.tcp.Close()
			if c, err = dial(addr); err != nil {
				return err.Error()
			}
		}
		fmt.Fprintf(&transcript, "step %d: %s", i+1, answer)
	}
	return transcript.String()
}

// difference shows what differs, command by command or line by line.
func difference(expected, got string) string {
	a, b := strings.Split(expected, "\n"), strings.Split(got, "\n")
	if strings.HasPrefix(expected, prompt) {
		a, b = strings.SplitAfter(expected, "\n"+prompt), strings.SplitAfter(got, "\n"+prompt)
	}
	var out strings.Builder
	shown := 0
	for i := 0; i < max(len(a), len(b)) && shown < 12; i++ {
		var left, right string
		if i < len(a) {
			left = a[i]
		}
		if i < len(b) {
			right = b[i]
		}
		if left != right {
			fmt.Fprintf(&out, "  %d: Apache Kafka %s\n     Moldau       %s\n", i+1, strings.TrimSuffix(left, "\n"+prompt), strings.TrimSuffix(right, "\n"+prompt))
			shown++
		}
	}
	return out.String()
}
