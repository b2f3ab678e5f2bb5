// Package eos proves exactly-once processing: programs that consume, transform and produce in
// transactions run as child processes, several instances of each in one group, while they and the
// broker are killed with SIGKILL or stopped for a while, again and again. In the end every input of a
// committed transaction is in the output once, in order, and nothing is left open. The programs
// are franz-go's (this package), and through test/compat/run Java's, Kafka Streams' and librdkafka's.
package eos
