package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const spreadRounds = 20

// partitions is a node with thousands of partitions.
var partitions = scenario{
	name: "partitions",
	about: "5,000 partitions in 10 topics. Restarts: the time runs from exec until a record is acknowledged and each partition has given its last record. " +
		"Spread produce: 8 producers (acks=all, idempotent) send 20 times one record of 1,000 bytes to each partition, each record a batch of its own, after 10 such rounds.",
	figures: []figure{
		{name: "restart after a clean stop", unit: "s"},
		{name: "restart after kill -9", unit: "s"},
		{name: "clean stop after the restart", unit: "s"},
		{name: "spread produce, broker CPU per 100,000 records", unit: "s"},
		{name: "spread produce, wall time per 100,000 records", unit: "s"},
		{name: "memory (RSS) after the spread produce", unit: "MiB"},
	},
	prepare: func(ctx context.Context, r *run) error {
		if err := r.start(); err != nil {
			return err
		}
		if err := firstProduce(ctx, r.addr(), "first", 0); err != nil {
			return err
		}
		topics := spreadTopics()
		for _, topic := range topics {
			if err := createTopic(ctx, r.addr(), topic, int32(r.amount(500))); err != nil {
				return err
			}
		}
		return produceSpread(ctx, r.addr(), topics, r.amount(500), 1)
	},
	measure: measurePartitions,
}

func spreadTopics() []string {
	var topics []string
	for i := range 10 {
		topics = append(topics, fmt.Sprintf("spread-%d", i))
	}
	return topics
}

func measurePartitions(ctx context.Context, r *run) (values, error) {
	topics, each := spreadTopics(), r.amount(500)
	v := values{}
	took, err := r.restart(ctx, topics...)
	if err != nil {
		return nil, err
	}
	v["restart after a clean stop"] = took.Seconds()
	if err := produceSpread(ctx, r.addr(), topics, each, spreadRounds/2); err != nil {
		return nil, err
	}
	cpu, wall, err := r.process.cost(func() error { return produceSpread(ctx, r.addr(), topics, each, spreadRounds) })
	if err != nil {
		return nil, err
	}
	share := 100_000 / float64(len(topics)*each*spreadRounds)
	v["spread produce, broker CPU per 100,000 records"] = cpu.Seconds() * share
	v["spread produce, wall time per 100,000 records"] = wall.Seconds() * share
	resident, err := r.process.residentBytes()
	if err != nil {
		return nil, err
	}
	v["memory (RSS) after the spread produce"] = resident / (1 << 20)
	if err := r.killUncleanly(); err != nil {
		return nil, err
	}
	if took, err = r.restart(ctx, topics...); err != nil {
		return nil, err
	}
	v["restart after kill -9"] = took.Seconds()
	began := time.Now()
	err = r.stop()
	v["clean stop after the restart"] = time.Since(began).Seconds()
	return v, err
}

// produceSpread sends one record to each partition of the topics, and again once all of them
// are acknowledged, so that each is a batch of its own. Every partition has one of 8 producers.
func produceSpread(ctx context.Context, addr string, topics []string, partitions, rounds int) error {
	const producers = 8
	failed := make(chan error, producers)
	for i := range producers {
		var mine []partitionID
		for _, topic := range topics {
			for p := i; p < partitions; p += producers {
				mine = append(mine, partitionID{topic, int32(p)})
			}
		}
		go func() { failed <- produceToEach(ctx, addr, mine, rounds) }()
	}
	var err error
	for range producers {
		if e := <-failed; e != nil {
			err = e
		}
	}
	return err
}

func produceToEach(ctx context.Context, addr string, partitions []partitionID, rounds int) error {
	client, err := kgo.NewClient(seeds(addr), kgo.ProducerLinger(5*time.Millisecond), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	value := randomValue()
	for range rounds {
		records := make([]*kgo.Record, len(partitions))
		for i, p := range partitions {
			records[i] = &kgo.Record{Topic: p.topic, Partition: p.partition, Value: value}
		}
		if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return err
		}
	}
	return nil
}
