package demo

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/tools/client"
)

const (
	produceTick = 20 * time.Millisecond
	// ordersPerTick is the shop's ordinary day: 600 orders a second.
	ordersPerTick = 12
	// Every burstEvery ticks a newsletter goes out, and for burstTicks ticks orders come in
	// burstFactor times as fast, faster than they are billed: lag builds up and goes down again.
	burstEvery, burstTicks, burstFactor = 150, 30, 5
	// pollRecords bounds how many orders are billed between two commits.
	pollRecords = 100
	// billingTime is what a member takes for an order.
	billingTime = time.Second / 700
)

// produceOrders sends orders until the context ends, then waits for the last acknowledgements.
func produceOrders(ctx context.Context, producer *client.Client, s *shop, stats *statistics) {
	ticker := time.NewTicker(produceTick)
	defer ticker.Stop()
	for tick := 0; ; tick++ {
		select {
		case <-ctx.Done():
			flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
			defer cancel()
			_ = producer.Flush(flush) // what was not acknowledged is not counted as produced
			return
		case now := <-ticker.C:
			for range ordersAt(tick) {
				sendOrder(producer, s.order(now), stats)
			}
		}
	}
}

func ordersAt(tick int) int {
	if tick%burstEvery >= burstEvery-burstTicks {
		return ordersPerTick * burstFactor
	}
	return ordersPerTick
}

func sendOrder(producer *client.Client, o order, stats *statistics) {
	value, err := o.encode()
	if err != nil {
		stats.failed(err)
		return
	}
	record := &kgo.Record{Topic: topic, Key: []byte(o.Customer), Value: value, Timestamp: o.At}
	sentAt := time.Now()
	// Sending must not wait: if the broker stands still, the client's buffer bounds the loss.
	producer.TryProduce(context.Background(), record, func(r *kgo.Record, err error) {
		if err != nil {
			stats.failed(client.Convert(err, "produce"))
			return
		}
		stats.produced(len(r.Value), time.Since(sentAt))
	})
}

// consumeOrders bills orders as one member of the group until the context ends.
func consumeOrders(ctx context.Context, consumer *client.Client, stats *statistics) {
	defer consumer.Close()
	pace := time.NewTicker(billingTime)
	defer pace.Stop()
	for {
		fetches := consumer.PollRecords(ctx, pollRecords)
		if ctx.Err() != nil {
			return
		}
		for _, fetchError := range fetches.Errors() {
			stats.failed(client.Convert(fetchError.Err, "fetch"))
		}
		for _, record := range fetches.Records() {
			select {
			case <-ctx.Done():
				return
			case <-pace.C:
			}
			o, err := decodeOrder(record.Value)
			if err != nil {
				stats.failed(err)
				continue
			}
			stats.consumed(o, time.Since(record.Timestamp))
		}
	}
}
