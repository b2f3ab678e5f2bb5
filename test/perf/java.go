package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// measureJava has Kafka's own tool produce.
func (f *fleet) measureJava(ctx context.Context, w workload, r *run, v values) (err error) {
	topic, err := f.newTopic(ctx, r, w.name, w.partitions)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.deleteAll(ctx, r, topic)) }()
	records := r.amount(w.order.Records)
	before, err := r.process.cpu()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, f.script, "tool", "producer-perf-test", "--topic", topic, "--num-records", strconv.Itoa(records),
		"--record-size", strconv.Itoa(w.order.ValueBytes), "--throughput", "-1", "--bootstrap-server", r.addr(),
		"--command-property", "acks=all", "linger.ms=5", "batch.size=65536").CombinedOutput()
	if err != nil {
		return fmt.Errorf("producer-perf-test on %s: %w: %s", r.name, err, out)
	}
	after, err := r.process.cpu()
	if err != nil {
		return err
	}
	v[produceCPU] = (after - before).Seconds() / (float64(records) * float64(w.order.ValueBytes) / 1e9)
	return readPerfTest(string(out), w.order.ValueBytes, v)
}

// perfTestSummary is the last line of producer-perf-test.
var perfTestSummary = regexp.MustCompile(`records sent, ([0-9.]+) records/sec .* ([0-9]+) ms 50th, [0-9]+ ms 95th, ([0-9]+) ms 99th, ([0-9]+) ms 99\.9th`)

func readPerfTest(out string, valueBytes int, v values) error {
	found := perfTestSummary.FindStringSubmatch(out)
	if found == nil {
		return fmt.Errorf("producer-perf-test printed no summary: %s", out)
	}
	var numbers [4]float64
	for i := range numbers {
		n, err := strconv.ParseFloat(found[i+1], 64)
		if err != nil {
			return err
		}
		numbers[i] = n
	}
	v[produceThroughput] = numbers[0] * float64(valueBytes) / 1e6
	v[produceP50], v[produceP99], v[produceP999] = numbers[1], numbers[2], numbers[3]
	return nil
}
