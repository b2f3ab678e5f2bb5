// Package sarama runs IBM's sarama, a pure Go client, against the broker that BOOTSTRAP names, as a client of
// several versions of Kafka: sarama chooses the versions of its requests by the configured one.
package sarama
