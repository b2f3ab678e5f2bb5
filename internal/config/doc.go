// Package config knows every config of topics, brokers, groups and client metrics subscriptions
// of Apache Kafka 4.3, and Moldau's own, as rows of tables: type, default, valid values, dynamic mode, whether this version
// makes use of it, and a short explanation.
//
// cmd/moldau and the broker read a properties file with ParseProperties and NewBroker; the
// controller validates changes, and DescribeConfigs is answered, through Layers, which puts
// static, dynamic and topic-level values in Kafka's order of precedence. All of it is pure:
// nothing here has state, and every value may be read by any goroutine.
package config
