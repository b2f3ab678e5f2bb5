package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// clusterReady is the time from the exec of three nodes on new folders to a record in a topic of three replicas.
func clusterReady(ctx context.Context, o options) ([]verdict, error) {
	b, err := newBench(o)
	if err != nil {
		return nil, err
	}
	defer b.close()
	began := time.Now()
	row := finding{title: "from exec to a record in a new topic of 3 replicas, s"}
	memory := finding{title: "memory (RSS) of the three nodes then, MiB"}
	for pair := range o.pairs {
		order := []func() *run{func() *run { return b.moldauCluster(clusterNodes) }, func() *run { return b.kafkaCluster() }}
		if o.alone {
			order = order[:1]
		} else if pair%2 == 1 {
			slices.Reverse(order)
		}
		for _, make := range order {
			r := make()
			took, resident, err := r.readyOnce(ctx)
			if err = errors.Join(err, r.down()); err != nil {
				return nil, fmt.Errorf("%s: %w", r.name, err)
			}
			progress("cluster-ready", r.name, took)
			if r.name == "Moldau" {
				row.moldau, memory.moldau = append(row.moldau, took.Seconds()), append(memory.moldau, resident/(1<<20))
			} else {
				row.kafka, memory.kafka = append(row.kafka, took.Seconds()), append(memory.kafka, resident/(1<<20))
			}
		}
	}
	about := "Three nodes on new folders (Apache Kafka's are formatted before, which does not count), started together. A client tries from then on."
	return printFindings(o.out, "cluster-ready", about, []finding{row, memory}, time.Since(began)), nil
}

func (r *run) readyOnce(ctx context.Context) (took time.Duration, resident float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := r.format(ctx); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := r.start(); err != nil {
		return 0, 0, err
	}
	if err := r.firstReplicated(ctx); err != nil {
		return 0, 0, fmt.Errorf("%w; the end of its output:\n%s", err, r.outputEnd())
	}
	took = time.Since(began)
	resident, err = r.process.residentBytes()
	return took, resident, err
}

// firstReplicated returns once a topic of three replicas is there and has taken a record.
func (r *run) firstReplicated(ctx context.Context) error {
	client, err := eager(r.addr(), kgo.ProducerLinger(0), kgo.DefaultProduceTopic("ready"))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := until(ctx, "a topic of three replicas is there", func() (bool, error) {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		response, err := kadm.NewClient(client).CreateTopic(attempt, 1, clusterNodes, nil, "ready")
		// An attempt that was given up may have made it.
		return err == nil && (response.Err == nil || errors.Is(response.Err, kerr.TopicAlreadyExists)), errors.Join(err, response.Err)
	}); err != nil {
		return err
	}
	return client.ProduceSync(ctx, &kgo.Record{Value: randomValue()}).FirstErr()
}
