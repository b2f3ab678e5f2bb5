package main

import (
	"time"

	"github.com/moldau/moldau/test/perf/load"
)

// workload is what clients do to brokers that have run for a while.
type workload struct {
	name, about string
	partitions  int32
	order       load.Order // what to produce; the topic, the broker and amounts are filled in
	consumes    bool       // what was produced is read, too
	oneTopic    bool       // all runs use the same topic: a thousand new partitions cost Kafka many CPU seconds before they cost little
	clustered   bool       // three nodes of each
	java        bool       // Kafka's own producer-perf-test is the client
	backlog     bool       // what is read was written once, before the first pair, and is not in the page cache
}

// workloads are the eight in which throughput and cost are compared. The first four are half of
// the eight combinations of size, acks and linger: each value of one meets each value of another.
var workloads = []workload{
	{
		name: "small", about: "100 B, acks=1, linger 0, one producer, 6 partitions", partitions: 6, consumes: true,
		order: load.Order{Records: 3_000_000, ValueBytes: 100, Acks: "1", Codec: "none"},
	},
	{
		name: "small-all", about: "100 B, acks=all (idempotent), linger 5 ms, one producer, 6 partitions", partitions: 6, consumes: true,
		order: load.Order{Records: 3_000_000, ValueBytes: 100, Acks: "all", Linger: 5 * time.Millisecond, Codec: "none"},
	},
	{
		name: "large", about: "1,000 B, acks=1, linger 5 ms, one producer, 6 partitions", partitions: 6, consumes: true,
		order: load.Order{Records: 800_000, ValueBytes: 1000, Acks: "1", Linger: 5 * time.Millisecond, Codec: "none"},
	},
	{
		name: "large-all", about: "1,000 B, acks=all (idempotent), linger 0, one producer, 6 partitions", partitions: 6, consumes: true,
		order: load.Order{Records: 800_000, ValueBytes: 1000, Acks: "all", Codec: "none"},
	},
	{
		name: "lz4", about: "1,000 B of words, lz4, acks=all (idempotent), linger 5 ms, one producer, 6 partitions; GB are before compression", partitions: 6, consumes: true,
		order: load.Order{Records: 600_000, ValueBytes: 1000, Text: true, Acks: "all", Linger: 5 * time.Millisecond, Codec: "lz4"},
	},
	{
		name: "producers-400", about: "400 producers with a connection each, one of 100,000 keys in every record, 1,000 B, acks=all (idempotent), linger 5 ms, 12 partitions", partitions: 12, consumes: true,
		order: load.Order{Records: 300_000, ValueBytes: 1000, Acks: "all", Linger: 5 * time.Millisecond, Codec: "none", Producers: 400, Keys: 100_000},
	},
	{
		name: "partitions-1000", about: "1,000 partitions, one of 100,000 keys in every record, 1,000 B, acks=all (idempotent), linger 5 ms, one producer; the topic is there from the first run to the last", partitions: 1000, consumes: true, oneTopic: true,
		order: load.Order{Records: 300_000, ValueBytes: 1000, Acks: "all", Linger: 5 * time.Millisecond, Codec: "none", Keys: 100_000},
	},
	{
		name:       "catch-up",
		about:      "a backlog of 4 GB of 1,000 B records in 6 partitions, dropped from the page cache before each run, is read while 10,000 such records a second are produced to another topic (acks=all, linger 5 ms)",
		partitions: 6, backlog: true,
		order: load.Order{Mode: load.CatchUp, Records: 4_000_000, ValueBytes: 1000, Acks: "all", Linger: 5 * time.Millisecond, Codec: "none", Rate: 10_000},
	},
}

// javaCheck shows whether the conclusions depend on the Go client.
var javaCheck = workload{
	name: "java", about: "Kafka's producer-perf-test: 1,000 B, acks=all (idempotent), linger 5 ms, batches of 64 KiB, 6 partitions; its JVM is a new one each time", partitions: 6, java: true,
	order: load.Order{Records: 800_000, ValueBytes: 1000},
}

// rates are the fixed rates at which latency is compared.
var rates = []workload{
	{
		name: "rate-1000", about: "1,000 records of 1,000 B a second, acks=all (idempotent), linger 0, one producer and one consumer, 6 partitions; 10 s after 2 s of warm-up", partitions: 6,
		order: load.Order{Mode: load.Paced, Rate: 1000, Seconds: 10, WarmUp: 2000, ValueBytes: 1000, Acks: "all", Codec: "none"},
	},
	{
		name: "rate-20000", about: "20,000 records of 1,000 B a second, otherwise alike", partitions: 6,
		order: load.Order{Mode: load.Paced, Rate: 20_000, Seconds: 10, WarmUp: 40_000, ValueBytes: 1000, Acks: "all", Codec: "none"},
	},
}

// warmUps are produced and consumed in turn until the JVM's cost has stopped falling.
var warmUps = []load.Order{
	{Mode: load.Produce, Records: 2_000_000, ValueBytes: 100, Acks: "1", Codec: "none"},
	{Mode: load.Produce, Records: 300_000, ValueBytes: 1000, Acks: "all", Linger: 5 * time.Millisecond, Codec: "none", Keys: 100_000},
	{Mode: load.Produce, Records: 200_000, ValueBytes: 1000, Text: true, Acks: "all", Linger: 5 * time.Millisecond, Codec: "lz4"},
}
