package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const recordBytes = 1000

// seeds takes the addresses that a system has.
func seeds(addr string) kgo.Opt { return kgo.SeedBrokers(strings.Split(addr, ",")...) }

// firstProduce returns once the broker has acknowledged a record, trying from now on.
func firstProduce(ctx context.Context, addr, topic string, partition int32) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := produceOne(attempt, addr, topic, partition)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no record was acknowledged: %w", err)
		}
	}
}

func produceOne(ctx context.Context, addr, topic string, partition int32) error {
	client, err := kgo.NewClient(seeds(addr), kgo.AllowAutoTopicCreation(), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(10*time.Millisecond), kgo.ProducerLinger(0),
		kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond }), kgo.UnknownTopicRetries(-1))
	if err != nil {
		return err
	}
	defer client.Close()
	return client.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: partition, Value: []byte("x")}).FirstErr()
}

// createTopic returns once every partition of the new topic has a leader.
func createTopic(ctx context.Context, addr, topic string, partitions int32) error {
	client, err := kgo.NewClient(seeds(addr))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(ctx, partitions, -1, nil, topic); err != nil {
		return err
	}
	for {
		topics, err := admin.ListTopics(ctx, topic)
		if err != nil {
			return err
		}
		led := 0
		for _, p := range topics[topic].Partitions {
			if p.Err == nil && p.Leader >= 0 {
				led++
			}
		}
		if led == int(partitions) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func deleteTopic(ctx context.Context, addr, topic string) error {
	client, err := kgo.NewClient(seeds(addr))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).DeleteTopic(ctx, topic)
	return err
}

func randomValue() []byte {
	value := make([]byte, recordBytes)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(value)
	return value
}

// produce sends records of random bytes with acks=all and idempotence, as clients do by default.
func produce(ctx context.Context, addr, topic string, records int) error {
	client, err := kgo.NewClient(seeds(addr), kgo.ProducerLinger(5*time.Millisecond), kgo.ProducerBatchMaxBytes(128<<10),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(50_000), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	value := randomValue()
	failed := make(chan error, 1)
	for range records {
		client.Produce(ctx, &kgo.Record{Topic: topic, Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// consume reads so many records of the topic from the start.
func consume(ctx context.Context, addr, topic string, records int) error {
	client, err := kgo.NewClient(seeds(addr), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxBytes(16<<20), kgo.FetchMaxPartitionBytes(1<<20))
	if err != nil {
		return err
	}
	defer client.Close()
	for read := 0; read < records; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		read += fetches.NumRecords()
	}
	return nil
}
