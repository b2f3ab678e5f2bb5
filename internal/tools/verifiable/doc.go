// Package verifiable holds kafka-verifiable-producer and kafka-verifiable-consumer, which tell as
// JSON what has been acknowledged and what has been received, so that a test can compare. The
// command table in internal/tools calls RunProducer and RunConsumer. They start no goroutine; the
// client library calls the callbacks of records and of rebalances from its own.
package verifiable
