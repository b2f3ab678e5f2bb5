package main

import "context"

// restart is a start after kill -9 with much data that has not been flushed on purpose.
var restart = scenario{
	name: "restart",
	about: "10 GB of records of 1,000 bytes in 60 partitions, 300 MB of them since the last start; then kill -9. " +
		"The time runs from exec until a record is acknowledged and each partition has given its last record.",
	figures: []figure{{name: "restart after kill -9", unit: "s"}},
	prepare: func(ctx context.Context, r *run) error {
		if err := r.start(); err != nil {
			return err
		}
		if err := firstProduce(ctx, r.addr(), "first", 0); err != nil {
			return err
		}
		if err := createTopic(ctx, r.addr(), "restart", 60); err != nil {
			return err
		}
		if err := produce(ctx, r.addr(), "restart", r.amount(10_000_000)); err != nil {
			return err
		}
		return r.killUncleanly()
	},
	measure: func(ctx context.Context, r *run) (values, error) {
		took, err := r.restart(ctx, "restart")
		if err != nil {
			return nil, err
		}
		if err := produce(ctx, r.addr(), "restart", r.amount(300_000)); err != nil {
			return nil, err
		}
		return values{"restart after kill -9": took.Seconds()}, r.killUncleanly()
	},
}
