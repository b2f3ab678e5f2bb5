package config

// transactionRows are the broker configs about producer ids and transactions.
var transactionRows = []row{
	{"add.partitions.to.txn.retry.backoff.max.ms", Int, "100", atLeast(0), High, ReadOnly, Used, "Longest pause before partitions are added to a transaction again."},
	{"add.partitions.to.txn.retry.backoff.ms", Int, "20", atLeast(1), High, ReadOnly, Used, "Pause before partitions are added to a transaction again."},
	{"producer.id.expiration.check.interval.ms", Int, "600000", atLeast(1), Low, ReadOnly, Internal, "Time between checks for expired producer ids."},
	{"producer.id.expiration.ms", Int, "86400000", atLeast(1), Low, ClusterWide, Used, "Time after its last write for which a producer id is remembered."},
	{"transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, "10000", atLeast(1), Low, ReadOnly, Used, "Time between checks for transactions that took too long."},
	{"transaction.max.timeout.ms", Int, "900000", atLeast(1), High, ReadOnly, Used, "Longest time-out that a transactional producer may ask for."},
	{"transaction.partition.verification.enable", Bool, "true", Validator{}, Low, ClusterWide, Used, "Whether a write is checked against its transaction's partitions."},
	{"transaction.remove.expired.transaction.cleanup.interval.ms", Int, "3600000", atLeast(1), Low, ReadOnly, Used, "Time between checks for expired transactional ids."},
	{"transaction.state.log.load.buffer.size", Int, "5242880", atLeast(1), High, ReadOnly, Unused, "Bytes that are read at once when transaction state is loaded."},
	{"transaction.state.log.min.isr", Int, "2", atLeast(1), High, ReadOnly, Used, "In-sync replicas that the transaction state topic needs."},
	{"transaction.state.log.num.partitions", Int, "50", atLeast(1), High, ReadOnly, Used, "Partitions of the transaction state topic; fixed once it exists."},
	{"transaction.state.log.replication.factor", Short, "3", atLeast(1), High, ReadOnly, Used, "Replicas of the transaction state topic."},
	{"transaction.state.log.segment.bytes", Int, "104857600", atLeast(1), High, ReadOnly, Used, "Segment size of the transaction state topic."},
	{"transaction.two.phase.commit.enable", Bool, "false", Validator{}, Low, ReadOnly, Unused, "Whether producers may prepare transactions for a two-phase commit."},
	{"transactional.id.expiration.ms", Int, "604800000", atLeast(1), High, ReadOnly, Used, "Time without use after which a transactional id is forgotten."},
}
