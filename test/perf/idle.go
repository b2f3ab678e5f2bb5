package main

import (
	"context"
	"fmt"
	"time"
)

const (
	firstRecord = "first produce after exec"
	idleMemory  = "idle memory (RSS) 5 s after start"
)

// idle is one node with default settings that has next to nothing to do.
var idle = scenario{
	name:    "idle",
	about:   "A start on an existing data folder, one record, then nothing.",
	figures: []figure{{name: firstRecord, unit: "s"}, {name: idleMemory, unit: "MiB"}},
	measure: measureIdle,
	judge: func(moldau, kafka []values) []verdict {
		r := median(ratios(column(moldau, idleMemory), column(kafka, idleMemory)))
		return []verdict{{"idle memory: at most a tenth of Kafka's", "idle", fmt.Sprintf("%.3f", r), r <= mostIdleMemory}}
	},
}

func measureIdle(ctx context.Context, r *run) (values, error) {
	began := time.Now()
	if err := r.start(); err != nil {
		return nil, err
	}
	if err := firstProduce(ctx, r.addr(), "first", 0); err != nil {
		return nil, err
	}
	v := values{firstRecord: time.Since(began).Seconds()}
	time.Sleep(5 * time.Second) // idle, by definition of the figure
	return v, v.noteMemory(idleMemory, r)
}
