package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const recordsPerTransaction = 100

// transactions is producing in transactions, by one producer and by many.
var transactions = scenario{
	name: "transactions",
	about: "Transactions of 100 records of 1,000 bytes, spread over 6 partitions; each producer ends one before it begins the next. " +
		"The time of a transaction runs from its begin until its commit is acknowledged. A quarter as many go before, unmeasured.",
	figures: slices.Concat(transactionFigures(1), transactionFigures(16)),
	measure: func(ctx context.Context, r *run) (values, error) {
		if err := r.start(); err != nil {
			return nil, err
		}
		if err := firstProduce(ctx, r.addr(), "first", 0); err != nil {
			return nil, err
		}
		topic := fmt.Sprintf("transactions-%d", r.pair)
		if err := createTopic(ctx, r.addr(), topic, 6); err != nil {
			return nil, err
		}
		v := values{}
		for _, producers := range []int{1, 16} {
			if err := measureTransactions(ctx, r, topic, producers, v); err != nil {
				return nil, err
			}
		}
		return v, deleteTopic(ctx, r.addr(), topic)
	},
}

func byProducers(n int) string {
	if n == 1 {
		return "1 producer"
	}
	return fmt.Sprintf("%d producers", n)
}

func transactionFigures(producers int) []figure {
	who := byProducers(producers)
	return []figure{
		{name: who + ": transactions a second", unit: "1/s", larger: true},
		{name: who + ": p50 from begin to commit", unit: "ms"},
		{name: who + ": p99 from begin to commit", unit: "ms"},
		{name: who + ": broker CPU per 1,000 transactions", unit: "s"},
	}
}

func measureTransactions(ctx context.Context, r *run, topic string, producers int, v values) error {
	each := max(1, r.amount(4_000)/(producers+3)) // 1,000 by one producer, 210 by each of 16
	var clients []*kgo.Client
	for i := range producers {
		client, err := kgo.NewClient(seeds(r.addr()), kgo.TransactionalID(fmt.Sprintf("perf-%d", i)), kgo.DefaultProduceTopic(topic),
			kgo.ProducerLinger(5*time.Millisecond), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		if err != nil {
			return err
		}
		defer client.Close()
		clients = append(clients, client)
	}
	if _, err := transact(ctx, clients, max(1, each/4)); err != nil {
		return err
	}
	var took []time.Duration
	cpu, wall, err := r.process.cost(func() (err error) {
		took, err = transact(ctx, clients, each)
		return err
	})
	if err != nil {
		return err
	}
	slices.Sort(took)
	quantile := func(q float64) float64 { return took[int(q*float64(len(took)-1))].Seconds() * 1000 }
	who := byProducers(producers)
	v[who+": transactions a second"] = float64(len(took)) / wall.Seconds()
	v[who+": p50 from begin to commit"] = quantile(0.5)
	v[who+": p99 from begin to commit"] = quantile(0.99)
	v[who+": broker CPU per 1,000 transactions"] = cpu.Seconds() * 1000 / float64(len(took))
	return nil
}

// transact has every client commit so many transactions, and returns how long each took.
func transact(ctx context.Context, clients []*kgo.Client, each int) ([]time.Duration, error) {
	type result struct {
		took []time.Duration
		err  error
	}
	results := make(chan result, len(clients))
	for _, client := range clients {
		go func() {
			var out result
			for range each {
				began := time.Now()
				if out.err = transaction(ctx, client); out.err != nil {
					break
				}
				out.took = append(out.took, time.Since(began))
			}
			results <- out
		}()
	}
	var all []time.Duration
	var err error
	for range clients {
		one := <-results
		all = append(all, one.took...)
		if one.err != nil {
			err = one.err
		}
	}
	return all, err
}

func transaction(ctx context.Context, client *kgo.Client) error {
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	value := randomValue()
	for range recordsPerTransaction {
		client.Produce(ctx, &kgo.Record{Value: value}, nil) // EndTransaction says whether one failed
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	return client.EndTransaction(ctx, kgo.TryCommit)
}
