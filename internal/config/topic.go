package config

// TopicConfig is what storage and partitions need of a topic's configs.
type TopicConfig struct {
	Delete               bool // cleanup.policy contains delete
	Compact              bool // cleanup.policy contains compact
	SegmentBytes         int32
	SegmentMs            int64
	SegmentJitterMs      int64
	SegmentIndexBytes    int32
	IndexIntervalBytes   int32
	RetentionMs          int64 // -1: no limit
	RetentionBytes       int64 // -1: no limit
	FlushMessages        int64
	FlushMs              int64
	MaxMessageBytes      int32
	DeleteRetentionMs    int64
	MinCompactionLagMs   int64
	MaxCompactionLagMs   int64
	MinCleanableRatio    float64
	FileDeleteDelayMs    int64
	MinInsyncReplicas    int32  // 0: nobody has set it, see kafka.EffectiveMinISR
	CompressionType      string // producer, uncompressed, gzip, snappy, lz4, zstd
	GzipLevel            int32
	LZ4Level             int32
	ZstdLevel            int32
	LogAppendTime        bool // message.timestamp.type
	TimestampBeforeMaxMs int64
	TimestampAfterMaxMs  int64
}
