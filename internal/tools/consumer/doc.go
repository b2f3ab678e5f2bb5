// Package consumer is kafka-console-consumer: it prints the records of topics. The command
// table in internal/tools calls Run, and everything happens on the caller's goroutine.
//
// Without --group the tool assigns itself all partitions instead of joining a group with a
// random name, as Kafka's tool does: the records and their order are the same, they come
// sooner, and no group is left behind in the cluster.
package consumer
