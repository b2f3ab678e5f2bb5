package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The figures of cluster-partitions.
const (
	manyCreated      = "creation until all have leaders and replicas in sync on every node, s"
	manyCreatedRSS   = "memory (RSS) of the three nodes after it, MiB"
	manyFirst        = "first record to each partition, acks=all, s"
	manyIdle         = "idle CPU of the three nodes, % of a core"
	manyLed          = "kill -9 of a node: until all partitions have leaders elsewhere, ms"
	manyWritten      = "kill -9 of a node: until each partition that it led has taken a record, ms"
	manyFailoverCPU  = "kill -9 of a node: CPU of the other two until then, s"
	manyBack         = "restart of the node until all replicas are in sync, s"
	manyBackCPU      = "restart of the node: CPU of all three, s"
	manyRSS          = "memory (RSS) of the three nodes in the end, MiB"
	manyElected      = "preferred leaders for all, until they lead, s"
	manyDeleted      = "deletion until no node knows them, s"
	manyTopicsNumber = 10
)

var manyFigures = []string{manyCreated, manyCreatedRSS, manyFirst, manyIdle, manyLed, manyWritten, manyFailoverCPU, manyBack, manyBackCPU, manyElected, manyRSS, manyDeleted}

// clusterPartitions is what 10,000 partitions cost three nodes. Apache Kafka takes minutes for it: one run.
//
// Nothing is deleted before the last run is over: for minutes ext4 does not use again what files have left, and looks at all of it
// whenever it creates one. It made the creation ten times slower in the runs that followed a deletion.
func clusterPartitions(ctx context.Context, o options) ([]verdict, error) {
	b, err := newBench(o)
	if err != nil {
		return nil, err
	}
	defer b.close()
	began := time.Now()
	rows := make([]finding, len(manyFigures))
	for i, title := range manyFigures {
		rows[i].title = title
	}
	each := max(1, int(1000*o.scale))
	runs := []*run{b.moldauCluster(clusterNodes), b.kafkaCluster(), b.moldauCluster(clusterNodes), b.moldauCluster(clusterNodes)}
	for i, r := range runs {
		if o.alone && r.name != "Moldau" {
			continue
		}
		v, err := r.manyPartitions(ctx, each, i == len(runs)-1)
		if err != nil {
			err = fmt.Errorf("%s: %w; the end of its output:\n%s", r.name, err, r.outputEnd())
		}
		progress("cluster-partitions", r.name, v)
		for j, title := range manyFigures {
			value, ok := v[title]
			if ok && i == 1 {
				rows[j].kafka = append(rows[j].kafka, value)
			} else if ok {
				rows[j].moldau = append(rows[j].moldau, value)
			}
		}
		if err = errors.Join(err, r.setAside(i)); err != nil {
			fmt.Fprintf(o.out, "**%v**\n\n", err)
			if r.name == "Moldau" {
				return nil, err
			}
		}
	}
	about := fmt.Sprintf("%d partitions in %d topics, 3 replicas each, on three nodes. The client of the failover is franz-go with pauses of 2 ms and metadata at most every 10 ms.", manyTopicsNumber*each, manyTopicsNumber)
	return printFindings(o.out, "cluster-partitions", about, rows, time.Since(began)), nil
}

// setAside ends all nodes at once and keeps their data until the bench is closed.
func (r *run) setAside(i int) error {
	if r.process == nil {
		return nil
	}
	return errors.Join(r.kill(), os.Rename(r.folder, fmt.Sprintf("%s-%d", r.folder, i)))
}

func clusterTopics() (topics []string) {
	for i := range manyTopicsNumber {
		topics = append(topics, fmt.Sprintf("many-%d", i))
	}
	return topics
}

func (r *run) manyPartitions(ctx context.Context, each int, isLast bool) (v values, err error) {
	ctx, cancel := context.WithTimeout(ctx, 8*time.Minute)
	defer cancel()
	v = values{}
	if err := r.up(ctx, clusterNodes); err != nil {
		return v, err
	}
	steps := []func(context.Context, values, int) error{r.createClusterTopics, r.writeAll, r.loseNode, r.bringBack}
	if isLast {
		steps = append(steps, r.deleteClusterTopics)
	}
	for _, step := range steps {
		if err := step(ctx, v, each); err != nil {
			return v, err
		}
		progress("cluster-partitions", r.name, v)
	}
	return v, nil
}

func (r *run) noteClusterMemory(v values, title string) error {
	resident, err := r.process.residentBytes()
	v[title] = resident / (1 << 20)
	return err
}

func (r *run) createClusterTopics(ctx context.Context, v values, each int) error {
	client, err := eager(r.addr())
	if err != nil {
		return err
	}
	defer client.Close()
	err = v.timed(manyCreated, func() error {
		for _, topic := range clusterTopics() {
			response, err := kadm.NewClient(client).CreateTopic(ctx, int32(each), clusterNodes, nil, topic)
			if err = errors.Join(err, response.Err); err != nil {
				return err
			}
		}
		return r.allInSync(ctx, clusterTopics()...)
	})
	return errors.Join(err, r.noteClusterMemory(v, manyCreatedRSS))
}

// producerTo sends to partitions that the records name.
func (r *run) producerTo() (*kgo.Client, error) {
	return eager(r.addr(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(50_000))
}

func oneFor(topic string, partition int32, value []byte) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: partition, Value: value}
}

func (r *run) writeAll(ctx context.Context, v values, each int) error {
	client, err := r.producerTo()
	if err != nil {
		return err
	}
	defer client.Close()
	value := randomValue()
	var records []*kgo.Record
	for _, topic := range clusterTopics() {
		for p := range each {
			records = append(records, oneFor(topic, int32(p), value))
		}
	}
	if err := v.timed(manyFirst, func() error { return client.ProduceSync(ctx, records...).FirstErr() }); err != nil {
		return err
	}
	time.Sleep(25 * time.Second) // what the writes have left to do is over: logs are flushed from 5 s on, so many at a time
	const idle = 5 * time.Second
	cpu, _, err := r.process.cost(func() error { time.Sleep(idle); return nil })
	v[manyIdle] = cpu.Seconds() / idle.Seconds() * 100
	return err
}

// loseNode kills the second node and writes to each partition that it led.
func (r *run) loseNode(ctx context.Context, v values, _ int) error {
	const victim = 2
	client, err := r.producerTo()
	if err != nil {
		return err
	}
	defer client.Close()
	var mine []*kgo.Record
	value := randomValue()
	for _, topic := range clusterTopics() {
		all, err := r.replicasOf(ctx, 0, topic)
		if err != nil {
			return err
		}
		for _, p := range all {
			if p.Leader == victim {
				mine = append(mine, oneFor(topic, p.Partition, value))
			}
		}
	}
	// The client knows all partitions before.
	if err := client.ProduceSync(ctx, oneFor(clusterTopics()[0], 0, value)).FirstErr(); err != nil {
		return err
	}
	others := &process{members: []*member{r.process.members[0], r.process.members[2]}}
	cpu, _, err := others.cost(func() error {
		began := time.Now()
		if err := r.process.members[victim-1].kill(); err != nil {
			return err
		}
		led := make(chan error, 1)
		go func() {
			err := r.awaitAll(ctx, 0, "other nodes lead all partitions", clusterTopics(), func(p *kmsg.MetadataResponseTopicPartition) bool { return p.Leader >= 0 && p.Leader != victim })
			v[manyLed] = float64(time.Since(began).Milliseconds())
			led <- err
		}()
		err := client.ProduceSync(ctx, mine...).FirstErr()
		written := time.Since(began)
		err = errors.Join(err, <-led)
		v[manyWritten] = float64(written.Milliseconds())
		return err
	})
	v[manyFailoverCPU] = cpu.Seconds()
	return err
}

func (r *run) bringBack(ctx context.Context, v values, _ int) error {
	others := &process{members: []*member{r.process.members[0], r.process.members[2]}}
	before, err := others.cpu()
	if err != nil {
		return err
	}
	if err := v.timed(manyBack, func() error {
		if err := r.restartNode(1); err != nil {
			return err
		}
		return r.allInSync(ctx, clusterTopics()...)
	}); err != nil {
		return err
	}
	after, err := r.process.cpu()
	if err != nil {
		return err
	}
	v[manyBackCPU] = (after - before).Seconds()
	client, err := eager(r.addr())
	if err != nil {
		return err
	}
	defer client.Close()
	if err := v.timed(manyElected, func() error {
		if _, err := kadm.NewClient(client).ElectLeaders(ctx, kadm.ElectPreferredReplica, nil); err != nil {
			return err
		}
		return r.awaitAll(ctx, 0, "the preferred replicas lead", clusterTopics(), preferred)
	}); err != nil {
		return err
	}
	return r.noteClusterMemory(v, manyRSS)
}

func (r *run) deleteClusterTopics(ctx context.Context, v values, _ int) error {
	client, err := eager(r.addr())
	if err != nil {
		return err
	}
	defer client.Close()
	return v.timed(manyDeleted, func() error {
		if _, err := kadm.NewClient(client).DeleteTopics(ctx, clusterTopics()...); err != nil {
			return err
		}
		for node := range r.process.members {
			if err := until(ctx, "the topics are gone", func() (bool, error) {
				all, err := r.replicasOf(ctx, node, clusterTopics()...)
				return err == nil && len(all) == 0, err
			}); err != nil {
				return err
			}
		}
		return nil
	})
}
