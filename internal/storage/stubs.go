package storage

import (
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
)

// Log is one replica's data. All methods may be called concurrently.
type Log struct{ _ int }

// Append appends batches as the leader and returns where they went. Errors carry a code of
// the protocol; see kafka.CodeOf.
func (l *Log) Append(a AppendRequest) (AppendResult, error) { panic("BUG: not written yet") }

// Read returns whole batches beginning with the one that contains r.Offset.
func (l *Log) Read(r ReadRequest) (ReadResult, error) { panic("BUG: not written yet") }

// OffsetForTimestamp returns the first record below upTo whose timestamp is at least timestampMs.
func (l *Log) OffsetForTimestamp(timestampMs, upTo int64) (TimestampOffset, bool, error) {
	panic("BUG: not written yet")
}

// MaxTimestampOffset returns the first record below upTo with the largest timestamp.
func (l *Log) MaxTimestampOffset(upTo int64) (TimestampOffset, bool, error) {
	panic("BUG: not written yet")
}

// EndOffsetForEpoch answers OffsetForLeaderEpoch: the largest epoch at most leaderEpoch and
// the offset after its last record, or -1, -1.
func (l *Log) EndOffsetForEpoch(leaderEpoch int32) (epoch int32, endOffset int64) {
	panic("BUG: not written yet")
}

// LatestEpoch returns the newest leader epoch in the log, or -1.
func (l *Log) LatestEpoch() int32 { panic("BUG: not written yet") }

// EpochForOffset returns the leader epoch in which offset was or would be written, or -1.
func (l *Log) EpochForOffset(offset int64) int32 { panic("BUG: not written yet") }

// AssignEpochStart records on becoming leader that leaderEpoch begins at startOffset.
func (l *Log) AssignEpochStart(leaderEpoch int32, startOffset int64) error {
	panic("BUG: not written yet")
}

// TopicPartition names the log's partition.
func (l *Log) TopicPartition() kafka.TopicPartition { panic("BUG: not written yet") }

// TopicID is the topic's id, zero in folders from before topic ids.
func (l *Log) TopicID() kafka.UUID { panic("BUG: not written yet") }

// Dir is the log dir that holds the log's folder.
func (l *Log) Dir() string { panic("BUG: not written yet") }

// HighWatermark is the first offset that is not known to be replicated.
func (l *Log) HighWatermark() int64 { panic("BUG: not written yet") }

// AdvanceHighWatermark raises the high watermark to offset, at most to the log end offset,
// and reports whether it rose. It never lowers it.
func (l *Log) AdvanceHighWatermark(offset int64) bool { panic("BUG: not written yet") }

// LogEndOffset is the offset that the next record gets.
func (l *Log) LogEndOffset() int64 { panic("BUG: not written yet") }

// LogStartOffset is the first offset that may be read.
func (l *Log) LogStartOffset() int64 { panic("BUG: not written yet") }

// AdvanceLogStartOffset raises the log start offset, at most to the high watermark.
func (l *Log) AdvanceLogStartOffset(offset int64) error { panic("BUG: not written yet") }

// LastStableOffset is the first offset that may belong to an open transaction, at most the
// high watermark.
func (l *Log) LastStableOffset() int64 { panic("BUG: not written yet") }

// Config returns the config in use.
func (l *Log) Config() *LogConfig { panic("BUG: not written yet") }

// UpdateConfig replaces the config.
func (l *Log) UpdateConfig(config *LogConfig) { panic("BUG: not written yet") }

// TruncateTo removes every record at offset and above.
func (l *Log) TruncateTo(offset int64) error { panic("BUG: not written yet") }

// DeleteOldSegments applies retention and returns how many segments went.
func (l *Log) DeleteOldSegments(nowMs int64) (int, error) { panic("BUG: not written yet") }

// Flush makes everything below the log end offset durable and advances the recovery point.
func (l *Log) Flush() error { panic("BUG: not written yet") }

// FlushedOffset is the recovery point: everything below it is durable.
func (l *Log) FlushedOffset() int64 { panic("BUG: not written yet") }

// ProducerCount is the number of idempotent producers remembered.
func (l *Log) ProducerCount() int { panic("BUG: not written yet") }

// ExpireProducers forgets producers idle for longer than the limit.
func (l *Log) ExpireProducers(nowMs int64) { panic("BUG: not written yet") }

// SizeBytes is the size of all segments.
func (l *Log) SizeBytes() int64 { panic("BUG: not written yet") }

// SegmentCount is the number of segments.
func (l *Log) SegmentCount() int { panic("BUG: not written yet") }

// Options configure a Manager.
type Options struct {
	FS   vfs.FS
	Dirs []string // log dirs, existing folders
	// Defaults is the config of logs whose topic has none.
	Defaults *LogConfig
	Metrics  *metrics.Registry
	Random   env.Random
	// ProducerExpirationMs is producer.id.expiration.ms.
	ProducerExpirationMs int64
	// OpenFilesPerDir bounds the file descriptors kept open per log dir.
	OpenFilesPerDir int
}

// Manager owns the logs of all log dirs.
type Manager struct{ _ int }

// OpenManager locks the log dirs; it fails with vfs.ErrLocked wrapped in a message that names
// the folder when another process uses one. Load must follow.
func OpenManager(o Options) (*Manager, error) { panic("BUG: not written yet") }

// LoadOptions tell Load how to open the logs it finds.
type LoadOptions struct {
	NowMs int64
	// TopicConfig returns the config of a topic; nil means Defaults.
	TopicConfig func(topic string) *LogConfig
	// Parallel runs work(0..count-1) and returns when all are done, host.Parallel for
	// instance; nil runs them one by one.
	Parallel func(count int, work func(i int))
}

// Load opens and recovers every log.
func (m *Manager) Load(o LoadOptions) error { panic("BUG: not written yet") }

// CleanShutdownBrokerEpoch returns the broker epoch that the last clean shutdown wrote to
// every log dir, or -1 if there was none.
func (m *Manager) CleanShutdownBrokerEpoch() int64 { panic("BUG: not written yet") }

// Log returns the log of tp, or nil.
func (m *Manager) Log(tp kafka.TopicPartition) *Log { panic("BUG: not written yet") }

// GetOrCreate returns the log of tp, creating it in the log dir with the fewest logs. A log
// of another topic id under the same name is an error.
func (m *Manager) GetOrCreate(tp kafka.TopicIDPartition, config *LogConfig) (*Log, error) {
	panic("BUG: not written yet")
}

// Delete renames the folder of tp so that it is gone after a restart too; RemoveDeleted
// removes the data later.
func (m *Manager) Delete(tp kafka.TopicPartition, nowMs int64) error { panic("BUG: not written yet") }

// Logs returns all logs sorted by topic and partition. The slice is shared: do not change it.
func (m *Manager) Logs() []*Log { panic("BUG: not written yet") }

// HandleStrays renames the folders of logs that isKnown denies to -stray and forgets them.
func (m *Manager) HandleStrays(isKnown func(kafka.TopicIDPartition) bool) ([]kafka.TopicIDPartition, error) {
	panic("BUG: not written yet")
}

// Shutdown flushes everything, writes snapshots and checkpoints, marks the shutdown clean
// with the broker epoch and releases the locks. No log may be in use any more.
func (m *Manager) Shutdown(brokerEpoch int64) error { panic("BUG: not written yet") }
