package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/moldau/moldau/test/perf/load"
)

// failover is one way for a leader to go.
type failover struct {
	name, about, title, target string
	controller                 bool // the node is the active controller too; else it is not
	signal                     syscall.Signal
	runs, kafkaRuns            int
	median, most               float64 // targets, ms
}

const (
	failoverPartitions = 6
	failoverAbout      = "Six partitions with 3 replicas; a client (raw requests, the same for both) writes records of 1,000 B with acks=all to each, one after the other, asks another broker who leads when an answer takes " +
		"20 ms, and tries again after 2 ms. The time runs until the last of the partitions that the node led has a record acknowledged by another leader. Then the node comes back, and all replicas are in sync before the next run. "
)

var failovers = []failover{
	{
		name: "cluster-failover-kill", title: "kill -9 of a leader, next acknowledged write, ms", about: "kill -9 of a node that leads two partitions and is not the active controller.",
		signal: syscall.SIGKILL, runs: 20, kafkaRuns: 3, target: "median 50, at most 200", median: 50, most: 200,
	},
	{
		name: "cluster-failover-controller", title: "kill -9 of the active controller, which leads, next acknowledged write, ms", about: "kill -9 of the node that leads two partitions and the metadata quorum.",
		signal: syscall.SIGKILL, controller: true, runs: 20, kafkaRuns: 3, target: "median 50, at most 200", median: 50, most: 200,
	},
	{
		name: "cluster-failover-stop", title: "SIGSTOP of a leader, next acknowledged write, ms", about: "SIGSTOP of a node that leads two partitions and is not the active controller: its sockets stay open. SIGCONT after it.",
		signal: syscall.SIGSTOP, runs: 20, kafkaRuns: 2, target: "2,000", median: 2000,
	},
}

// compare measures Moldau in two halves with Apache Kafka between them.
func (f failover) compare(ctx context.Context, o options) ([]verdict, error) {
	b, err := newBench(o)
	if err != nil {
		return nil, err
	}
	defer b.close()
	began := time.Now()
	lost, moved := finding{title: f.title, target: f.target, median: f.median, most: f.most}, finding{title: "clean move of the leaderships back, time between acknowledgements of the old and the new leader, ms", target: "50", median: 50}
	if err := b.inHalves(ctx, f.runs, f.kafkaRuns, &lost, &moved, f.measure); err != nil {
		return nil, err
	}
	return printFindings(o.out, f.name, failoverAbout+f.about, []finding{lost, moved}, time.Since(began)), nil
}

// inHalves measures two figures of Moldau, half of the runs before and half after those of Apache Kafka.
func (b *bench) inHalves(ctx context.Context, runs, kafkaRuns int, first, second *finding, measure func(ctx context.Context, r *run, runs int) (firsts, seconds []float64, err error)) error {
	runs, kafkaRuns = max(2, int(float64(runs)*min(b.scale, 1))), max(1, int(float64(kafkaRuns)*min(b.scale, 1)))
	for _, half := range []struct {
		r             *run
		runs          int
		first, second *[]float64
	}{
		{b.moldauCluster(clusterNodes), (runs + 1) / 2, &first.moldau, &second.moldau},
		{b.kafkaCluster(), kafkaRuns, &first.kafka, &second.kafka},
		{b.moldauCluster(clusterNodes), runs / 2, &first.moldau, &second.moldau},
	} {
		if b.alone && half.r.name != "Moldau" {
			continue
		}
		firsts, seconds, err := measure(ctx, half.r, half.runs)
		if err != nil {
			err = fmt.Errorf("%s: %w; the end of its output:\n%s", half.r.name, err, half.r.outputEnd())
		}
		*half.first, *half.second = append(*half.first, firsts...), append(*half.second, seconds...)
		if err = errors.Join(err, half.r.down()); err != nil {
			return err
		}
	}
	return nil
}

func (f failover) measure(ctx context.Context, r *run, runs int) (lost, moved []float64, err error) {
	if err := r.up(ctx, clusterNodes); err != nil {
		return nil, nil, err
	}
	const topic = "failover"
	if err := createTopic(ctx, r.addr(), topic, failoverPartitions); err != nil {
		return nil, nil, err
	}
	if err := r.allInSync(ctx, topic); err != nil {
		return nil, nil, err
	}
	client, err := load.StartInsistent(strings.Split(r.addr(), ","), topic, failoverPartitions, recordBytes)
	if err != nil {
		return nil, nil, err
	}
	defer client.Stop()
	if err := warm(ctx, client); err != nil {
		return nil, nil, err
	}
	for i := range runs {
		if _, err := r.moveBack(ctx, client, topic); err != nil {
			return lost, moved, err
		}
		took, back, err := f.once(ctx, r, client, topic)
		if err != nil {
			return lost, moved, fmt.Errorf("run %d: %w", i+1, err)
		}
		lost, moved = append(lost, took), append(moved, back)
		progress(f.name, r.name, "run", i+1, "lost", took, "ms, moved back", back, "ms,", client.Acknowledged(), "records")
	}
	return lost, moved, nil
}

// warm lets the client write for a while: what is cold the first time is not what is measured.
func warm(ctx context.Context, client *load.Insistent) error {
	return until(ctx, "the client has written", func() (bool, error) { return client.Acknowledged() > 3000, nil })
}

func (r *run) allInSync(ctx context.Context, topics ...string) error {
	for node := range r.process.members {
		if err := r.awaitAll(ctx, node, "all replicas are in sync", topics, inSync); err != nil {
			return err
		}
	}
	return nil
}

// once takes a leader away and brings it back, and returns the milliseconds without acknowledgements then and when
// it gets its leaderships back.
func (f failover) once(ctx context.Context, r *run, client *load.Insistent, topic string) (lost, moved float64, err error) {
	controller, err := r.activeController(ctx)
	if err != nil {
		return 0, 0, err
	}
	victim := controller
	if !f.controller {
		victim = controller%clusterNodes + 1
	}
	led := client.Led(victim)
	if len(led) == 0 {
		return 0, 0, fmt.Errorf("node %d leads nothing", victim)
	}
	m := r.process.members[victim-1]
	began := time.Now()
	if err := m.cmd.Process.Signal(f.signal); err != nil {
		return 0, 0, err
	}
	patience, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	last, err := client.AwaitOther(patience, led, victim)
	if err != nil {
		return 0, 0, err
	}
	lost = float64(last.Sub(began).Microseconds()) / 1000
	if f.signal == syscall.SIGSTOP {
		err = m.cmd.Process.Signal(syscall.SIGCONT)
	} else {
		<-m.done
		err = r.restartNode(int(victim - 1))
	}
	if err == nil {
		err = r.allInSync(ctx, topic)
	}
	if err != nil {
		return 0, 0, err
	}
	moved, err = r.moveBack(ctx, client, topic)
	return lost, moved, err
}

// moveBack has the preferred replicas lead, and returns for how many milliseconds the partitions that moved took
// nothing, at most.
func (r *run) moveBack(ctx context.Context, client *load.Insistent, topic string) (float64, error) {
	admin, err := eager(r.addr())
	if err != nil {
		return 0, err
	}
	defer admin.Close()
	all, err := r.replicasOf(ctx, 0, topic)
	if err != nil {
		return 0, err
	}
	moving := map[int32][]int{} // by their leader now
	partitions := kadm.TopicsSet{}
	for _, p := range all {
		if p.Leader != p.Replicas[0] {
			moving[p.Leader] = append(moving[p.Leader], int(p.Partition))
			partitions.Add(topic, p.Partition)
		}
	}
	if len(moving) > 0 {
		if _, err := kadm.NewClient(admin).ElectLeaders(ctx, kadm.ElectPreferredReplica, partitions); err != nil {
			return 0, err
		}
	}
	patience, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	longest := time.Duration(0)
	for leader, ps := range moving {
		if _, err := client.AwaitOther(patience, ps, leader); err != nil {
			return 0, err
		}
		longest = max(longest, client.Gap(ps))
	}
	return float64(longest.Microseconds()) / 1000, r.awaitAll(ctx, 0, "the preferred replicas lead", []string{topic}, preferred)
}
