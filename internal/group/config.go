package group

import "math"

// Config is what the coordinator of groups takes from the broker's configuration.
type Config struct {
	MinSessionTimeoutMs        int32 // group.min.session.timeout.ms
	MaxSessionTimeoutMs        int32 // group.max.session.timeout.ms
	MaxSize                    int32 // group.max.size
	InitialRebalanceDelayMs    int32 // group.initial.rebalance.delay.ms
	OffsetMetadataMaxSizeBytes int32 // offset.metadata.max.bytes
	OffsetsRetentionMs         int64 // offsets.retention.minutes
	RetentionCheckIntervalMs   int64 // offsets.retention.check.interval.ms
	// MaxBatchSizeBytes returns max.message.bytes of __consumer_offsets as it is now: no batch may be
	// larger.
	MaxBatchSizeBytes func() int32
}

// DefaultConfig returns Kafka's defaults.
func DefaultConfig() Config {
	return Config{
		MinSessionTimeoutMs:        6_000,
		MaxSessionTimeoutMs:        1_800_000,
		MaxSize:                    math.MaxInt32,
		InitialRebalanceDelayMs:    3_000,
		OffsetMetadataMaxSizeBytes: 4_096,
		OffsetsRetentionMs:         7 * 24 * 3_600_000,
		RetentionCheckIntervalMs:   600_000,
		MaxBatchSizeBytes:          func() int32 { return 1_048_588 },
	}
}

// newMemberJoinTimeoutMs bounds how long a member that has never completed a JoinGroup may stay
// parked: it cannot heartbeat yet, so its session time-out does not apply (Kafka: five minutes).
const newMemberJoinTimeoutMs = 300_000
