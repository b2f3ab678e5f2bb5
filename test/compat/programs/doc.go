// Package programs runs what the suites of unmodified clients test as child processes: brokers
// (Moldau's, or Apache Kafka's to prove a suite), programs in Java, and Apache Kafka's tools.
package programs
