package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	flushProducers = 64
	flushMeasured  = 10 * time.Second
	flushWarmUp    = 4 * time.Second
)

// flush is producing to a topic that wants every record on disk before its acknowledgement.
var flush = scenario{
	name: "flush",
	about: fmt.Sprintf("%d producers, each with a connection of its own, send records of 1,000 bytes one after the other to one partition of a topic with flush.messages=1 "+
		"(acks=all, idempotent, linger 0): every batch has one record. %s after %s of the same, unmeasured.", flushProducers, flushMeasured, flushWarmUp),
	figures: []figure{
		{name: "records a second", unit: "1/s", larger: true},
		{name: "p50 of a produce", unit: "ms"},
		{name: "p99 of a produce", unit: "ms"},
		{name: "broker CPU per 1,000 records", unit: "s"},
	},
	measure: measureFlush,
}

func measureFlush(ctx context.Context, r *run) (values, error) {
	if err := r.start(); err != nil {
		return nil, err
	}
	if err := firstProduce(ctx, r.addr(), "first", 0); err != nil {
		return nil, err
	}
	topic := fmt.Sprintf("flush-%d", r.pair)
	if err := createFlushedTopic(ctx, r.addr(), topic); err != nil {
		return nil, err
	}
	var clients []*kgo.Client
	for range flushProducers {
		client, err := kgo.NewClient(seeds(r.addr()), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0),
			kgo.ProducerBatchCompression(kgo.NoCompression()))
		if err != nil {
			return nil, err
		}
		defer client.Close()
		clients = append(clients, client)
	}
	if _, err := produceOneByOne(ctx, clients, flushWarmUp); err != nil {
		return nil, err
	}
	var took []time.Duration
	cpu, wall, err := r.process.cost(func() (err error) {
		took, err = produceOneByOne(ctx, clients, time.Duration(float64(flushMeasured)*r.scale))
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(took)
	quantile := func(q float64) float64 { return took[int(q*float64(len(took)-1))].Seconds() * 1000 }
	return values{
		"records a second":             float64(len(took)) / wall.Seconds(),
		"p50 of a produce":             quantile(0.5),
		"p99 of a produce":             quantile(0.99),
		"broker CPU per 1,000 records": cpu.Seconds() * 1000 / float64(len(took)),
	}, deleteTopic(ctx, r.addr(), topic)
}

func createFlushedTopic(ctx context.Context, addr, topic string) error {
	client, err := kgo.NewClient(seeds(addr))
	if err != nil {
		return err
	}
	defer client.Close()
	one := "1"
	_, err = kadm.NewClient(client).CreateTopic(ctx, 1, 1, map[string]*string{"flush.messages": &one}, topic)
	return err
}

// produceOneByOne has every client produce for so long, each record after the answer to the one
// before, and returns how long each took.
func produceOneByOne(ctx context.Context, clients []*kgo.Client, d time.Duration) ([]time.Duration, error) {
	type result struct {
		took []time.Duration
		err  error
	}
	results := make(chan result, len(clients))
	end := time.Now().Add(d)
	for _, client := range clients {
		go func() {
			var out result
			value := randomValue()
			for out.err == nil && time.Now().Before(end) {
				began := time.Now()
				out.err = client.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr()
				out.took = append(out.took, time.Since(began))
			}
			results <- out
		}()
	}
	var all []time.Duration
	var failures error
	for range clients {
		one := <-results
		all = append(all, one.took...)
		failures = errors.Join(failures, one.err)
	}
	return all, failures
}
