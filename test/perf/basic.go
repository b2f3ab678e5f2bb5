package main

import (
	"context"
	"fmt"
	"time"
)

// basic is one node with default settings: start, idle memory, produce and consume.
var basic = scenario{
	name:  "basic",
	about: "Records of 1,000 random bytes in 6 partitions (acks=all, idempotent, linger 5 ms, uncompressed): 1 GB produced and consumed after a warm-up of an eighth.",
	figures: []figure{
		{name: "first produce after exec", unit: "s"},
		{name: "idle memory (RSS) 5 s after start", unit: "MiB"},
		{name: "produce, broker CPU per GB", unit: "s"},
		{name: "consume, broker CPU per GB", unit: "s"},
		{name: "produce, wall time per GB", unit: "s"},
		{name: "consume, wall time per GB", unit: "s"},
	},
	measure: measureBasic,
}

func measureBasic(ctx context.Context, r *run) (values, error) {
	began := time.Now()
	if err := r.start(); err != nil {
		return nil, err
	}
	if err := firstProduce(ctx, r.addr(), "first", 0); err != nil {
		return nil, err
	}
	v := values{"first produce after exec": time.Since(began).Seconds()}
	time.Sleep(5 * time.Second) // idle, by definition of the figure
	resident, err := r.process.residentBytes()
	if err != nil {
		return nil, err
	}
	v["idle memory (RSS) 5 s after start"] = resident / (1 << 20)
	topic := fmt.Sprintf("basic-%d", r.pair)
	if err := createTopic(ctx, r.addr(), topic, 6); err != nil {
		return nil, err
	}
	records := r.amount(1_024_000)
	for _, way := range []struct {
		name string
		work func(ctx context.Context, addr, topic string, records int) error
	}{{"produce", produce}, {"consume", consume}} {
		if err := way.work(ctx, r.addr(), topic, records/8); err != nil {
			return nil, err
		}
		cpu, wall, err := r.process.cost(func() error { return way.work(ctx, r.addr(), topic, records) })
		if err != nil {
			return nil, err
		}
		gigabytes := float64(records) * recordBytes / 1e9
		v[way.name+", broker CPU per GB"] = cpu.Seconds() / gigabytes
		v[way.name+", wall time per GB"] = wall.Seconds() / gigabytes
	}
	return v, deleteTopic(ctx, r.addr(), topic)
}
