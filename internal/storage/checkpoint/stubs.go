package checkpoint

import (
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
)

// Names of the files. The first five lie in a log dir, the last two in a partition's folder.
const (
	RecoveryPointFileName     = "recovery-point-offset-checkpoint"
	HighWatermarkFileName     = "replication-offset-checkpoint"
	LogStartOffsetFileName    = "log-start-offset-checkpoint"
	MetaPropertiesFileName    = "meta.properties"
	CleanShutdownFileName     = ".kafka_cleanshutdown"
	LeaderEpochFileName       = "leader-epoch-checkpoint"
	PartitionMetadataFileName = "partition.metadata"
)

// ReadOffsets reads one of the three offset checkpoints; a missing file is an empty map.
func ReadOffsets(fsys vfs.FS, path string) (map[kafka.TopicPartition]int64, error) {
	panic("BUG: not written yet")
}

// WriteOffsets replaces an offset checkpoint, sorted by topic and partition.
func WriteOffsets(fsys vfs.FS, path string, offsets map[kafka.TopicPartition]int64) error {
	panic("BUG: not written yet")
}

// LeaderEpoch is the first offset that was written in an epoch.
type LeaderEpoch struct {
	Epoch       int32
	StartOffset int64
}

// ReadLeaderEpochs reads a leader-epoch-checkpoint; a missing file is an empty list. Epochs and
// offsets must ascend.
func ReadLeaderEpochs(fsys vfs.FS, path string) ([]LeaderEpoch, error) { panic("BUG: not written yet") }

// WriteLeaderEpochs replaces a leader-epoch-checkpoint.
func WriteLeaderEpochs(fsys vfs.FS, path string, epochs []LeaderEpoch) error {
	panic("BUG: not written yet")
}

// ReadPartitionMetadata reads the topic id from partition.metadata; fs.ErrNotExist if there is none.
func ReadPartitionMetadata(fsys vfs.FS, path string) (kafka.UUID, error) {
	panic("BUG: not written yet")
}

// WritePartitionMetadata replaces partition.metadata.
func WritePartitionMetadata(fsys vfs.FS, path string, topicID kafka.UUID) error {
	panic("BUG: not written yet")
}

// MetaProperties says whose a log dir is.
type MetaProperties struct {
	ClusterID   string
	NodeID      int32
	DirectoryID kafka.UUID // zero if the file has none
}

// ReadMetaProperties reads meta.properties; fs.ErrNotExist if there is none, *VersionError for
// another version than 1.
func ReadMetaProperties(fsys vfs.FS, path string) (MetaProperties, error) {
	panic("BUG: not written yet")
}

// WriteMetaProperties replaces meta.properties.
func WriteMetaProperties(fsys vfs.FS, path string, p MetaProperties) error {
	panic("BUG: not written yet")
}

// ReadCleanShutdown reads a clean-shutdown file. found is false if there is none or it cannot
// be read as one, which counts as an unclean shutdown. brokerEpoch is -1 if the file has none.
func ReadCleanShutdown(fsys vfs.FS, path string) (brokerEpoch int64, found bool) {
	panic("BUG: not written yet")
}

// WriteCleanShutdown writes a clean-shutdown file.
func WriteCleanShutdown(fsys vfs.FS, path string, brokerEpoch int64) error {
	panic("BUG: not written yet")
}

// RemoveCleanShutdown removes a clean-shutdown file durably; a missing one is no error.
func RemoveCleanShutdown(fsys vfs.FS, path string) error { panic("BUG: not written yet") }
