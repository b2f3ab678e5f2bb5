package main

// known are the differences that are meant, with their reasons.
var known = map[string]string{
	"create with defaults": elr, "topics at the controller": elr, "configs of a topic": elr,

	"tool: transactions, aborted with an odd epoch":                         oddEpoch,
	"tool: transactions, aborted with an odd epoch, Apache Kafka's at ours": oddEpoch,

	"values of min.insync.replicas":               "refused for one broker there, since eligible leader replicas are on (KIP-966); here they come with replication",
	"values of flush.ms":                          "a negative log.flush.interval.ms is refused here, as it is for topics in both",
	"values of min.cleanable.dirty.ratio":         "NaN is refused here",
	"values of log.cleaner.io.buffer.load.factor": "NaN and Infinity are refused here",
	"values of metric.reporters":                  "Java's classes cannot be looked up here",
	"values of message.format.version":            unknownName,
	"values of no.such.config":                    unknownName,

	"configs refused":                      "an unknown operation is INVALID_REQUEST here, UNKNOWN_SERVER_ERROR there",
	"dynamic broker configs":               "an unknown config of one broker is refused here, stored there",
	"produce an unknown codec":             "UNSUPPORTED_COMPRESSION_TYPE here, UNKNOWN_SERVER_ERROR there",
	"produce the append time bit":          "a producer may not set it: INVALID_TIMESTAMP here, cleared silently there",
	"produce a byte too many":              "exactly one whole batch is taken here, what follows it is ignored there",
	"produce no data":                      logStart,
	"produce magic 1":                      logStart,
	"produce a second batch":               logStart,
	"produce its end cut off":              logStart,
	"produce a length beyond the data":     logStart,
	"fetch limits and epochs":              "only whole batches are sent here, there also the beginning of one that does not fit",
	"txn end v5, commit of an aborted one": "TRANSACTION_ABORTABLE here, upon which the producer aborts and goes on (KAFKA-20785); INVALID_TXN_STATE there, which ends it",
	"list offsets, odd requests":           "a partition asked for twice is answered twice here, once there",
}

const (
	oddEpoch    = "markers with a producer epoch below 0 are refused with INVALID_PRODUCER_EPOCH here, UNKNOWN_SERVER_ERROR there"
	unknownName = "an unknown broker config is refused here, stored there"
	elr         = "min.insync.replicas is stored for the whole cluster there, since eligible leader replicas are on (KIP-966); here they come with replication"
	logStart    = "a refusal of the request's form carries the log start offset here, -1 there"
)
