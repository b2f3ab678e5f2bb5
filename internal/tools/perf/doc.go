// Package perf holds the tools that measure a cluster: kafka-producer-perf-test,
// kafka-consumer-perf-test and kafka-e2e-latency. The command table in internal/tools calls
// RunProducer, RunConsumer and RunLatency. They start no goroutine; the client library calls the
// callbacks of records and of rebalances from its own.
package perf

// interruptedExit is the exit code after Ctrl-C.
const interruptedExit = 130
