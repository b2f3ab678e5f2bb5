package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/moldau/moldau/test/perf/load"
)

// fleet are the brokers of the workloads. They run side by side from the first workload to the
// last, so that the JVM warms up once; one works while the others are idle.
type fleet struct {
	moldau, kafka, probe *run
	folder               string
	script               string // that runs Apache Kafka and its tools
	topics               int    // so far, for names
}

// fleetSettings let the deleted data of one run be gone soon: deleteAll waits for that.
var fleetSettings = []string{"log.segment.delete.delay.ms=100"}

// startFleet starts single brokers, or clusters of three.
func startFleet(ctx context.Context, o options, clustered bool) (f *fleet, err error) {
	folder, err := os.MkdirTemp(o.dir, "moldau-perf-")
	if err != nil {
		return nil, err
	}
	f = &fleet{folder: folder, script: o.kafka, moldau: &run{scale: o.scale}, kafka: &run{scale: o.scale}, probe: &run{scale: o.scale}}
	moldauFolder, kafkaFolder, probeFolder := filepath.Join(folder, "moldau"), filepath.Join(folder, "kafka"), filepath.Join(folder, "probe")
	if clustered {
		f.moldau.system, f.kafka.system = newMoldauCluster(o.moldau, moldauFolder, clusterNodes, clusterSettings), newKafkaCluster(o.kafka, kafkaFolder, clusterSettings)
		f.probe.system = newProbeCluster(o.probe, probeFolder)
	} else {
		f.moldau.system, f.kafka.system, f.probe.system = newMoldau(o.moldau, moldauFolder, fleetSettings), newKafka(o.kafka, kafkaFolder, fleetSettings), newProbe(o.probe, probeFolder)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.stop())
		}
	}()
	for _, r := range f.all() {
		if err := os.MkdirAll(r.folder, 0o755); err != nil {
			return f, err
		}
		if err := r.format(ctx); err != nil {
			return f, fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return f, f.startMissing(ctx)
}

// startMissing starts the brokers that do not run: all in the beginning, later those that a
// workload has cost.
func (f *fleet) startMissing(ctx context.Context) error {
	for _, r := range f.all() {
		if r.process != nil && !r.process.hasEnded() {
			continue
		}
		if err := r.start(); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if err := f.answers(ctx, r); err != nil {
			return fmt.Errorf("%s: %w; the end of its output:\n%s", r.name, err, r.outputEnd())
		}
	}
	return nil
}

func (f *fleet) all() []*run { return []*run{f.moldau, f.kafka, f.probe} }

// order is who goes when in a pair: Moldau and Kafka take turns in being the first.
func (f *fleet) order(pair int) []*run {
	order := []*run{f.moldau, f.probe, f.kafka}
	if pair%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

// answers returns once the broker creates a topic.
func (f *fleet) answers(ctx context.Context, r *run) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, err := f.newTopic(ctx, r, "first", 1)
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// stop ends the brokers and deletes their data.
func (f *fleet) stop() error {
	var all error
	for _, r := range f.all() {
		if err := r.stop(); err != nil {
			all = errors.Join(all, fmt.Errorf("%s: %w", r.name, err))
		}
	}
	return errors.Join(all, os.RemoveAll(f.folder))
}

func (f *fleet) newTopic(ctx context.Context, r *run, name string, partitions int32) (string, error) {
	f.topics++
	name = fmt.Sprintf("%s-%d", name, f.topics)
	return name, createTopic(ctx, r.addr(), name, partitions)
}

// do has clients in a process of their own do an order.
func (r *run) do(ctx context.Context, o load.Order) (*load.Result, error) {
	o.Addr, o.BrokerPIDs = r.addr(), r.process.pids()
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, clientArgument)
	var out, failure bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &out, &failure
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("clients of %s (%s): %w: %s", r.name, o.Mode, errors.Join(err, context.Cause(ctx)), bytes.TrimSpace(failure.Bytes()))
	}
	var result load.Result
	return &result, json.Unmarshal(out.Bytes(), &result)
}

// warmUp works until the CPU that Kafka needs per GB has stopped falling: three rounds in a row that
// are no better than 97 % of the best before. It returns what each round took.
func (f *fleet) warmUp(ctx context.Context) (rounds []float64, err error) {
	const least, most, patience = 5, 20, 3
	best, since := 0.0, 0
	for len(rounds) < most && (len(rounds) < least || since < patience) {
		for _, r := range f.all() {
			if r != f.kafka && len(rounds) >= 2 {
				continue // native code has nothing to warm up but its pools
			}
			cost, err := f.warmUpRound(ctx, r)
			if err != nil {
				return rounds, fmt.Errorf("warming up %s: %w", r.name, err)
			}
			if r == f.kafka {
				since++
				if best == 0 || cost < best*0.97 {
					best, since = cost, 0
				}
				rounds = append(rounds, cost)
			}
		}
	}
	return rounds, nil
}

// warmUpRound produces and consumes once, and returns the broker's CPU seconds per GB of both.
func (f *fleet) warmUpRound(ctx context.Context, r *run) (float64, error) {
	var cpu, gigabytes float64
	for _, o := range warmUps {
		o.Records = r.amount(o.Records)
		produced, consumed, err := f.throughput(ctx, r, workload{name: "warm-up", partitions: 6, consumes: true, order: o})
		if err != nil {
			return 0, err
		}
		cpu += produced.BrokerCPUSeconds + consumed.BrokerCPUSeconds
		gigabytes += produced.Gigabytes()
	}
	return cpu / gigabytes, nil
}

// deleteAll deletes a topic and returns when its files are gone, so that no later run pays for it.
func (f *fleet) deleteAll(ctx context.Context, r *run, topic string) error {
	if err := deleteTopic(ctx, r.addr(), topic); err != nil {
		return err
	}
	// Apache Kafka's deletion has a first delay of 30 s after a start.
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		left := 0
		for _, n := range r.nodes {
			folders, err := filepath.Glob(filepath.Join(n.folder, "data", topic+"-*"))
			if err != nil {
				return err
			}
			left += len(folders)
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s still has %d folders of the deleted topic %s", r.name, left, topic)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// throughput produces to a topic and reads as much of it. A topic of its own is deleted after it.
func (f *fleet) throughput(ctx context.Context, r *run, w workload) (produced, consumed *load.Result, err error) {
	o := w.order
	o.Mode = load.Produce
	if w.oneTopic {
		o.Topic = keptTopic
	} else {
		if o.Topic, err = f.newTopic(ctx, r, w.name, w.partitions); err != nil {
			return nil, nil, err
		}
		defer func() { err = errors.Join(err, f.deleteAll(ctx, r, o.Topic)) }()
	}
	if produced, err = r.do(ctx, o); err != nil || !w.consumes {
		return produced, nil, err
	}
	o.Mode, o.Records = load.Consume, o.Records+o.WarmUp
	consumed, err = r.do(ctx, o)
	return produced, consumed, err
}
