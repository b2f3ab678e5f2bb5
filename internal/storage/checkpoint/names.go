package checkpoint

// Names of the files. The first six lie in a log dir, the last two in a partition's folder.
const (
	RecoveryPointFileName     = "recovery-point-offset-checkpoint"
	HighWatermarkFileName     = "replication-offset-checkpoint"
	CleanerOffsetFileName     = "cleaner-offset-checkpoint"
	LogStartOffsetFileName    = "log-start-offset-checkpoint"
	MetaPropertiesFileName    = "meta.properties"
	CleanShutdownFileName     = ".kafka_cleanshutdown"
	LeaderEpochFileName       = "leader-epoch-checkpoint"
	PartitionMetadataFileName = "partition.metadata"
)

// maxFileBytes bounds what is read: about 400,000 partitions in an offset checkpoint.
const maxFileBytes = 64 << 20

// maxSmallFileBytes bounds the files that hold a few values.
const maxSmallFileBytes = 64 << 10
