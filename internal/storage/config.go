package storage

import (
	"math"

	"github.com/moldau/moldau/internal/record"
)

// LogConfig is what a log needs of its topic's configs. A LogConfig in use is never changed:
// Log.UpdateConfig replaces it, and logs of one topic may share one.
type LogConfig struct {
	SegmentBytes       int64 // segment.bytes
	SegmentMs          int64 // segment.ms
	SegmentJitterMs    int64 // segment.jitter.ms
	IndexMaxBytes      int   // segment.index.bytes
	IndexIntervalBytes int   // index.interval.bytes
	RetentionMs        int64 // retention.ms; negative keeps forever
	RetentionBytes     int64 // retention.bytes; negative sets no limit
	FlushMessages      int64 // flush.messages
	FlushMs            int64 // flush.ms
	FileDeleteDelayMs  int64 // file.delete.delay.ms
	MaxMessageBytes    int   // max.message.bytes

	DeleteRetentionMs  int64   // delete.retention.ms
	MinCompactionLagMs int64   // min.compaction.lag.ms
	MaxCompactionLagMs int64   // max.compaction.lag.ms
	MinCleanableRatio  float64 // min.cleanable.dirty.ratio

	Compact bool // cleanup.policy has compact
	Delete  bool // cleanup.policy has delete

	// Recompress is set when compression.type names a codec (uncompressed: CodecNone) instead
	// of "producer"; batches are then stored with Codec at CodecLevel.
	Recompress bool
	Codec      record.Codec
	CodecLevel int

	LogAppendTime     bool  // message.timestamp.type
	TimestampBeforeMs int64 // message.timestamp.before.max.ms
	TimestampAfterMs  int64 // message.timestamp.after.max.ms
}

// DefaultLogConfig returns Kafka's defaults.
func DefaultLogConfig() *LogConfig {
	return &LogConfig{
		SegmentBytes:       1 << 30,
		SegmentMs:          7 * 24 * 3600 * 1000,
		IndexMaxBytes:      10 << 20,
		IndexIntervalBytes: 4096,
		RetentionMs:        7 * 24 * 3600 * 1000,
		RetentionBytes:     -1,
		FlushMessages:      math.MaxInt64,
		FlushMs:            math.MaxInt64,
		FileDeleteDelayMs:  60_000,
		MaxMessageBytes:    1_048_588,
		DeleteRetentionMs:  24 * 3600 * 1000,
		MaxCompactionLagMs: math.MaxInt64,
		MinCleanableRatio:  0.5,
		Delete:             true,
		TimestampBeforeMs:  math.MaxInt64,
		TimestampAfterMs:   3_600_000,
	}
}
