package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	recordBytes = 1000
	partitions  = 6
)

// sample is what one run of one system showed.
type sample struct {
	firstProduce     time.Duration
	idleBytes        float64
	produceCPUPerGB  float64 // seconds
	consumeCPUPerGB  float64
	produceWallPerGB float64
	consumeWallPerGB float64
}

// measure starts the system, and measures the first produce, idle memory, and the cost of
// producing and consuming the given amount after a warm-up of an eighth of it.
func measure(ctx context.Context, s system, megabytes int) (sample, error) {
	if err := s.prepare(); err != nil {
		return sample{}, err
	}
	began := time.Now()
	p, err := start(s)
	if err != nil {
		return sample{}, err
	}
	out, err := measureRunning(ctx, s, p, began, megabytes)
	return out, errors.Join(err, p.stop())
}

func measureRunning(ctx context.Context, s system, p *process, began time.Time, megabytes int) (out sample, err error) {
	if err := firstProduce(ctx, s.addr()); err != nil {
		return out, err
	}
	out.firstProduce = time.Since(began)
	time.Sleep(5 * time.Second) // idle, by definition of the figure
	if out.idleBytes, err = p.residentBytes(); err != nil {
		return out, err
	}
	topic := fmt.Sprintf("perf-%d", time.Now().UnixNano())
	if err := createTopic(ctx, s.addr(), topic); err != nil {
		return out, err
	}
	records := megabytes * 1_000_000 / recordBytes
	gigabytes := float64(records) * recordBytes / 1e9
	if err := produce(ctx, s.addr(), topic, records/8); err != nil {
		return out, err
	}
	out.produceCPUPerGB, out.produceWallPerGB, err = cost(p, gigabytes, func() error { return produce(ctx, s.addr(), topic, records) })
	if err != nil {
		return out, err
	}
	if err := consume(ctx, s.addr(), topic, records/8); err != nil {
		return out, err
	}
	out.consumeCPUPerGB, out.consumeWallPerGB, err = cost(p, gigabytes, func() error { return consume(ctx, s.addr(), topic, records) })
	return out, errors.Join(err, deleteTopic(ctx, s.addr(), topic))
}

// cost runs work and returns the broker's CPU seconds and the wall seconds per gigabyte.
func cost(p *process, gigabytes float64, work func() error) (cpu, wall float64, err error) {
	cpuBefore, err := p.cpu()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := work(); err != nil {
		return 0, 0, err
	}
	wallTime := time.Since(began)
	cpuAfter, err := p.cpu()
	return (cpuAfter - cpuBefore).Seconds() / gigabytes, wallTime.Seconds() / gigabytes, err
}

// firstProduce returns once the broker has acknowledged a record, trying from now on.
func firstProduce(ctx context.Context, addr string) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := produceOne(attempt, addr)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no record was acknowledged: %w", err)
		}
	}
}

func produceOne(ctx context.Context, addr string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation(), kgo.MetadataMinAge(10*time.Millisecond), kgo.ProducerLinger(0),
		kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond }), kgo.UnknownTopicRetries(-1))
	if err != nil {
		return err
	}
	defer client.Close()
	return client.ProduceSync(ctx, &kgo.Record{Topic: "first", Value: []byte("x")}).FirstErr()
}

func createTopic(ctx context.Context, addr, topic string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, partitions, 1, nil, topic)
	return err
}

func deleteTopic(ctx context.Context, addr, topic string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).DeleteTopic(ctx, topic)
	return err
}

// produce sends records of random bytes with acks=all and idempotence, as clients do by default.
func produce(ctx context.Context, addr, topic string, records int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ProducerLinger(5*time.Millisecond), kgo.ProducerBatchMaxBytes(128<<10),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(50_000), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	value := make([]byte, recordBytes)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(value)
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
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
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
