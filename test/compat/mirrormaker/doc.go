// Package mirrormaker runs Apache Kafka's MirrorMaker 2, unmodified, between two clusters, in both
// directions: two nodes of Moldau, and one of Apache Kafka with one of Moldau.
package mirrormaker
