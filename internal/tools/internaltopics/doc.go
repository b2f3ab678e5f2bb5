// Package internaltopics shows the records of __consumer_offsets, __transaction_state and
// __share_group_state as the JSON that Kafka's tools print: kafka-console-consumer by its formatters, kafka-dump-log by its decoders.
// It holds no state and starts no goroutine.
package internaltopics
