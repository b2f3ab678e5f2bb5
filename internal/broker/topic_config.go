package broker

import (
	"math"
	"strconv"
	"sync"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/storage"
	storagehost "github.com/moldau/moldau/internal/storage/host"
)

// configs answers what a config is, from the static properties and an image.
type configs struct {
	static *config.Broker

	mu sync.Mutex
	// The config of topics without overrides, for the image it was computed for: ten thousand
	// such topics share one.
	defaultsOf *metadata.Image
	defaults   replica.TopicConfig
	currentOf  *metadata.Image
	latest     *config.Broker
}

// layers are the sources of this node's configs as image has them.
func (c *configs) layers(image *metadata.Image) config.Layers {
	broker := func(name string) map[string]string {
		return image.Config(kafka.ConfigResource{Type: kafka.ConfigResourceBroker, Name: name})
	}
	return config.Layers{Static: c.static, DynamicBroker: broker(strconv.Itoa(int(c.static.NodeID))), DynamicDefault: broker("")}
}

// topic returns what the partitions of a topic need of its configs.
func (c *configs) topic(image *metadata.Image, topic string) replica.TopicConfig {
	overrides := image.Config(kafka.ConfigResource{Type: kafka.ConfigResourceTopic, Name: topic})
	if len(overrides) > 0 {
		return topicConfig(c.layers(image).Topic(overrides))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.defaultsOf != image {
		c.defaultsOf, c.defaults = image, topicConfig(c.layers(image).Topic(nil))
	}
	return c.defaults
}

func topicConfig(t config.TopicConfig) replica.TopicConfig {
	l := &storage.LogConfig{
		SegmentBytes:       int64(t.SegmentBytes),
		SegmentMs:          t.SegmentMs,
		SegmentJitterMs:    t.SegmentJitterMs,
		IndexMaxBytes:      int(t.SegmentIndexBytes),
		IndexIntervalBytes: int(t.IndexIntervalBytes),
		RetentionMs:        t.RetentionMs,
		RetentionBytes:     t.RetentionBytes,
		FlushMessages:      t.FlushMessages,
		FlushMs:            t.FlushMs,
		FileDeleteDelayMs:  min(t.FileDeleteDelayMs, math.MaxInt64/2), // the time when it is over can be told
		MaxMessageBytes:    int(t.MaxMessageBytes),
		DeleteRetentionMs:  t.DeleteRetentionMs,
		MinCompactionLagMs: t.MinCompactionLagMs,
		MaxCompactionLagMs: t.MaxCompactionLagMs,
		MinCleanableRatio:  t.MinCleanableRatio,
		Compact:            t.Compact,
		Delete:             t.Delete,
		LogAppendTime:      t.LogAppendTime,
		TimestampBeforeMs:  t.TimestampBeforeMaxMs,
		TimestampAfterMs:   t.TimestampAfterMaxMs,
	}
	l.Recompress = t.CompressionType != "producer"
	switch t.CompressionType {
	case "gzip":
		l.Codec, l.CodecLevel = record.CodecGzip, int(t.GzipLevel)
	case "snappy":
		l.Codec = record.CodecSnappy
	case "lz4":
		l.Codec, l.CodecLevel = record.CodecLZ4, int(t.LZ4Level)
	case "zstd":
		l.Codec, l.CodecLevel = record.CodecZstd, int(t.ZstdLevel)
	}
	return replica.TopicConfig{Log: l, MinInSyncReplicas: int(t.MinInsyncReplicas)}
}

// cleanerLimits are those of the latest metadata; dynamic values that make no valid configuration
// together leave the static ones.
func (b *broker) cleanerLimits() storagehost.CleanerLimits {
	c := b.configs.current(b.replicas.Image())
	return storagehost.CleanerLimits{
		Threads: int(c.CleanerThreads), MapBytes: c.CleanerDedupeBufferBytes, MapLoadFactor: c.CleanerLoadFactor, BufferBytes: int(c.CleanerIOBufferBytes),
		MaxBytesPerSecond: c.CleanerIOBytesPerSecond, Backoff: milliseconds(c.CleanerBackoffMs),
	}
}

// current returns the broker's configs as image has them. Compaction asks again and again, so that
// the last answer is kept.
func (c *configs) current(image *metadata.Image) *config.Broker {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.currentOf != image || c.latest == nil {
		c.currentOf, c.latest = image, c.static
		if current, err := c.layers(image).Current(); err == nil {
			c.latest = current
		}
	}
	return c.latest
}

// moveBytesPerSecond is replica.alter.log.dirs.io.max.bytes.per.second.
func (b *broker) moveBytesPerSecond() float64 {
	return float64(dynamicRate(b.configs.layers(b.replicas.Image()), "replica.alter.log.dirs.io.max.bytes.per.second"))
}

// dynamicRate is a config of bytes per second that is dynamic only.
func dynamicRate(layers config.Layers, name string) int64 {
	for _, values := range []map[string]string{layers.DynamicBroker, layers.DynamicDefault} {
		if limit, err := strconv.ParseInt(values[name], 10, 64); err == nil {
			return limit
		}
	}
	return math.MaxInt64
}
