// Package demo is moldau demo: a broker of its own, a small web shop's orders, a consumer group
// that bills them, and a live view of throughput and lag; then everything is cleaned up.
//
// Run owns all goroutines of a demo (one produces, one per group member consumes) and the child
// process, and returns when they have ended. The display is drawn on the caller's goroutine.
package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// DefaultDuration is how long the orders flow.
const DefaultDuration = 10 * time.Second

const (
	topic      = "orders"
	group      = "billing"
	partitions = 3
	members    = 2
	// drainTimeout bounds how long the group may take for what is left at the end.
	drainTimeout = 5 * time.Second
	// assignTimeout bounds the wait for the group's first assignment before orders flow.
	assignTimeout  = 8 * time.Second
	commitInterval = 200 * time.Millisecond
	drawInterval   = 250 * time.Millisecond
	lineInterval   = time.Second
)

// Options say what to run.
type Options struct {
	Program   string // this program, run as the broker
	Bootstrap string // a running cluster to use instead, or empty
	Duration  time.Duration
}

// Run runs the demo until its duration is over or the context ends.
func Run(ctx context.Context, s cli.Streams, o Options) (err error) {
	if o.Duration <= 0 {
		return fmt.Errorf("the duration %v is not positive", o.Duration)
	}
	bootstrap := o.Bootstrap
	if bootstrap == "" {
		own, err := startBroker(ctx, s, o.Program)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, own.stop()) }()
		bootstrap = own.Address
	}
	props := client.Properties{"bootstrap.servers": bootstrap, "client.id": "moldau-demo", "default.api.timeout.ms": "10000"}
	if err := createTopic(ctx, s, props); err != nil {
		return err
	}
	return play(ctx, s, props, o.Duration)
}

func createTopic(ctx context.Context, s cli.Streams, props client.Properties) error {
	admin, err := client.NewAdmin(s, props)
	if err != nil {
		return err
	}
	defer admin.Close()
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, partitions, -1
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, admin.Client)
	if err != nil {
		return fmt.Errorf("creating the topic %s: %w", topic, client.Convert(err, "createTopics"))
	}
	for _, t := range resp.Topics {
		if err := client.FromCode(t.ErrorCode, t.ErrorMessage); err != nil && !errors.Is(err, kafka.ErrTopicAlreadyExists) {
			return fmt.Errorf("creating the topic %s: %w", topic, err)
		}
	}
	return nil
}

// play lets the orders flow and shows them.
func play(ctx context.Context, s cli.Streams, props client.Properties, duration time.Duration) error {
	stats := newStatistics(time.Now())
	stopConsumers, cancelConsumers := context.WithCancel(ctx)
	defer cancelConsumers()
	var consumers sync.WaitGroup
	defer consumers.Wait()
	defer cancelConsumers()
	for i := range members {
		consumer, err := newMember(s, props, i)
		if err != nil {
			return err
		}
		consumers.Go(func() { consumeOrders(stopConsumers, consumer, stats) })
	}
	producer, err := client.NewProducer(s, props)
	if err != nil {
		return err
	}
	defer producer.Close()
	view, err := newView(s, props)
	if err != nil {
		return err
	}
	defer view.close()

	view.awaitGroup(ctx)
	stats.restart(time.Now())
	flow, cancelFlow := context.WithTimeout(ctx, duration)
	defer cancelFlow()
	var shop sync.WaitGroup
	shop.Go(func() { produceOrders(flow, producer, newShop(1), stats) })
	view.follow(flow, stats)
	shop.Wait()
	if ctx.Err() == nil {
		drain, cancelDrain := context.WithTimeout(ctx, drainTimeout)
		defer cancelDrain()
		view.followUntil(drain, stats, stats.allConsumed)
	}
	view.summary(stats)
	return nil
}

func newMember(s cli.Streams, props client.Properties, index int) (*client.Client, error) {
	own := client.Properties{
		"group.id": group, "auto.offset.reset": "earliest", "session.timeout.ms": "6000", "heartbeat.interval.ms": "500",
	}
	for name, value := range props {
		own[name] = value
	}
	own["client.id"] = fmt.Sprintf("%s-%d", group, index+1)
	return client.NewConsumer(s, own, kgo.ConsumeTopics(topic), kgo.AutoCommitInterval(commitInterval))
}
