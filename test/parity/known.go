package main

import "github.com/moldau/moldau/test/parity/script"

// known are the probes with a difference that is meant, and which one it is: the first cell of its row in PARITY.md,
// from differences here or from script.Differences.
var known = map[string]string{
	"create with defaults": leastInSync, "topics at the controller": leastInSync, "configs of a topic": leastInSync,

	"tool: transactions, aborted with an odd epoch":                         oddMarkers,
	"tool: transactions, aborted with an odd epoch, Apache Kafka's at ours": oddMarkers,

	"values of flush.ms":                          oddNumbers,
	"values of min.cleanable.dirty.ratio":         oddNumbers,
	"values of log.cleaner.io.buffer.load.factor": oddNumbers,
	"values of metric.reporters":                  "`metric.reporters` changed while brokers run",
	"a listener with an impossible port":          "a listener's port above 65535, while the broker runs",
	"values of message.format.version":            unknownName,
	"values of no.such.config":                    unknownName,
	"dynamic broker configs":                      unknownName,

	"configs refused":                      "unknown operation in IncrementalAlterConfigs",
	"produce an unknown codec":             "produce: unknown codec",
	"produce the append time bit":          "produce: the LogAppendTime bit is set",
	"produce a byte too many":              "produce: bytes after the batch",
	"produce no data":                      requestForm,
	"produce magic 1":                      requestForm,
	"produce a second batch":               requestForm,
	"produce its end cut off":              requestForm,
	"produce a length beyond the data":     requestForm,
	"fetch limits and epochs":              "fetch: a batch that does not fit into the limit",
	"txn end v5, commit of an aborted one": "EndTxn: a commit after the coordinator has aborted the transaction",
	"list offsets, odd requests":           namedTwice,
}

const (
	leastInSync = "`min.insync.replicas` in describe"
	oddNumbers  = "`log.flush.interval.ms` below 0, NaN and Infinity as a config's value"
	unknownName = "unknown config of brokers"
	requestForm = "produce: refusals of the request's form"
	oddMarkers  = "WriteTxnMarkers: negative producer ids, epochs and transaction versions"
	namedTwice  = "a topic, partition, resource or marker named twice"
)

// differences are those that only probes show.
var differences = []script.Difference{
	{Where: unknownName, Kafka: "stored", Moldau: "refused"},
	{Where: oddNumbers, Kafka: "taken", Moldau: "refused"},
	{Where: "`metric.reporters` changed while brokers run", Kafka: "the class is looked for", Moldau: "any name is taken"},
	{Where: "a listener's port above 65535, while the broker runs", Kafka: "taken, and never opened", Moldau: "refused"},
	{Where: "a listener that is added while the broker runs, without `advertised.listeners`", Kafka: "clients are told of it after a restart", Moldau: "at once"},
	{Where: "fetch: a batch that does not fit into the limit", Kafka: "its beginning is sent", Moldau: "it is not sent, except as the first"},
	{Where: "OffsetCommit 2 to 4: a retention time that ends in thousands of years", Kafka: "the time of expiry is below 0", Moldau: "the last that there is"},
	{Where: "records of offsets that were committed in transactions", Kafka: "without the topic's id", Moldau: "with it: a topic of the same name does not inherit them"},
	{Where: "CreatePartitions while the topic's first partition is being reassigned", Kafka: "new partitions get as many replicas as that one lists, those that leave included", Moldau: "as many as it will have"},
	{Where: "UpdateFeatures: a registered controller that is no voter any more does not have the level", Kafka: "INVALID_UPDATE_VERSION for ever", Moldau: "it does not count"},
	{Where: "EndTxn: a commit after the coordinator has aborted the transaction", Kafka: "INVALID_TXN_STATE, which ends the producer", Moldau: "TRANSACTION_ABORTABLE, so that it goes on (KAFKA-20785)"},
}
