//go:build unix

package javatools

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/test/compat/programs"
)

func console(b *bench) {
	b.create("console", 1)
	b.ends(0, "h1:v1,h2:v2\tk1\tone\nNULL\tk2\ttwo words\nh:v\tk3\tNULL\n", "console-producer", "--topic", "console", "--reader-property", "parse.key=true",
		"--reader-property", "parse.headers=true", "--reader-property", "null.marker=NULL", "--compression-codec", "zstd")
	read := []string{"--topic", "console", "--from-beginning", "--max-messages", "3", "--timeout-ms", "30000"}
	out := b.runs("console-consumer", append(read, "--formatter-property", "print.key=true", "--formatter-property", "print.headers=true",
		"--formatter-property", "print.offset=true", "--formatter-property", "print.partition=true")...)
	b.has(out, `Partition:0\tOffset:0\th1:v1,h2:v2\tk1\tone\n`, `Offset:1\tNO_HEADERS\tk2\ttwo words\n`, `Offset:2\th:v\tk3\tnull\n`, `Processed a total of 3 messages`)
	b.has(b.runs("console-consumer", "--topic", "console", "--partition", "0", "--offset", "1", "--max-messages", "1", "--timeout-ms", "30000"), `two words`)
	b.has(b.runs("console-consumer", "--topic", "console", "--partition", "0", "--offset", "latest", "--timeout-ms", "500"), `Processed a total of 0 messages`)
}

func producerPerformance(b *bench) {
	b.create("perf", 2)
	n := strconv.Itoa(count(500))
	b.has(b.runs("producer-perf-test", "--topic", "perf", "--num-records", n, "--record-size", "100", "--throughput", "-1", "--command-property", "acks=all"),
		n+` records sent, [\d.]+ records/sec .*99.9th`)
	b.has(b.runs("producer-perf-test", "--topic", "perf", "--num-records", n, "--record-size", "100", "--throughput", "5000", "--transaction-duration-ms", "20"), n+` records sent`)
	if got := b.values("perf"); len(got) != 2*count(500) || slices.ContainsFunc(got, func(v string) bool { return len(v) != 100 }) {
		b.Errorf("%d records instead of %d, or not of 100 bytes", len(got), 2*count(500))
	}
}

func consumerPerformance(b *bench) {
	n := count(500) // what producerPerformance wrote, without its transactions' half
	out := b.runs("consumer-perf-test", "--topic", "perf", "--num-records", strconv.Itoa(n), "--hide-header", "--timeout", "30000")
	fields := strings.Split(strings.TrimSpace(out), ", ")
	if len(fields) < 6 {
		b.Fatalf("not a line of figures: %s", out)
	}
	if got, err := strconv.Atoi(fields[4]); err != nil || got < n {
		b.Errorf("consumed %s of %d: %s", fields[4], n, out)
	}
}

func latency(b *bench) {
	b.create("latency", 1)
	b.has(b.runs("e2e-latency", "--topic", "latency", "--num-records", "200", "--producer-acks", "all", "--record-size", "64"), `Avg latency: [\d.]+ ms`, `Percentiles: 50th = \d+, 99th = \d+`)
	if got := b.values("latency"); len(got) < 200 {
		b.Errorf("%d records instead of 200", len(got))
	}
}

// event is a line of the verifiable programs.
type event struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Count   int    `json:"count"`
	Sent    int    `json:"sent"`
	Acked   int    `json:"acked"`
	Success bool   `json:"success"`
}

func (b *bench) events(out string) (events []event) {
	b.Helper()
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		var e event
		if strings.HasPrefix(lines.Text(), "{") {
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				b.Fatalf("%v: %s", err, lines.Text())
			}
			events = append(events, e)
		}
	}
	return events
}

// alone runs a tool in a JVM of its own: these end by hooks of the JVM.
func (b *bench) alone(name string, args ...string) string {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), "../../kafka/kafka", append([]string{"tool", name, "--bootstrap-server", b.bootstrap}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("kafka-%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func verifiable(b *bench) {
	b.create("verifiable", 1)
	n := count(200)
	sent, want := map[string]bool{}, []string{}
	for _, e := range b.events(b.alone("verifiable-producer", "--topic", "verifiable", "--max-messages", strconv.Itoa(n), "--acks", "-1")) {
		switch e.Name {
		case "producer_send_success":
			sent[e.Value] = true
		case "tool_data":
			if e.Sent != n || e.Acked != n {
				b.Errorf("sent %d, acknowledged %d, of %d", e.Sent, e.Acked, n)
			}
		}
	}
	for i := range n {
		want = append(want, strconv.Itoa(i))
	}
	if got := b.values("verifiable"); len(sent) != n || !slices.Equal(got, want) {
		b.Errorf("%d acknowledged and %d there, in order, of %d", len(sent), len(got), n)
	}
	consumed, committed := 0, 0
	for _, e := range b.events(b.alone("verifiable-consumer", "--topic", "verifiable", "--group-id", "verifiable", "--max-messages", strconv.Itoa(n), "--reset-policy", "earliest")) {
		switch e.Name {
		case "records_consumed":
			consumed += e.Count
		case "offsets_committed":
			if e.Success {
				committed++
			}
		}
	}
	if consumed != n || committed == 0 {
		b.Errorf("consumed %d of %d, %d commits", consumed, n, committed)
	}
	programs.Await(b.T, "what was consumed is committed", func() error {
		offsets, err := b.admin.FetchOffsets(b.Context(), "verifiable")
		if at, _ := offsets.Lookup("verifiable", 0); err == nil && at.At != int64(n) {
			err = fmt.Errorf("committed %d of %d", at.At, n)
		}
		return err
	})
}
