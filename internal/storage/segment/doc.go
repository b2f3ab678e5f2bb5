// Package segment keeps one segment of a log: the records of a run of offsets in a .log file
// and its sparse .index and .timeindex, all in Apache Kafka's format.
//
// storage.Log and quorum call it. A Segment has one appender, which also rolls, truncates
// and recovers it, under the log's lock; reads, lookups and Flush may run beside it on any
// goroutine. The package starts no goroutine. An idle segment costs its struct only: files
// are opened through a FileCache that the logs of one log dir share, and index entries
// are read from the file, except those few that an active segment has not written yet.
//
// Unlike Kafka, index files are never larger than their entries, and entries reach the file
// late (a flush, a roll or a full buffer). After a kill an index may thus be shorter than
// its log; Recover completes it. Zero padding in Kafka's files is accepted and trimmed.
package segment
