// Package toolbox runs command line tools and hands back what they leave behind: those of the moldau
// binary, and Apache Kafka's, many of them in one JVM. test/parity and test/compat use it.
package toolbox
