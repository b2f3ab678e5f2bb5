// Package javatools runs Apache Kafka's own command line tools, unmodified, against a broker: what
// they do must be there afterwards, and what they say must be true. That their text is the same
// as on Apache Kafka is for test/parity.
package javatools
