// Package connect runs Apache Kafka's Connect, unmodified, with its file connectors: standalone,
// and two distributed workers with exactly-once sources. Lines of a file go through a topic into another file.
package connect
