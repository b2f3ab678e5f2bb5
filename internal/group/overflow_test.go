package group

import (
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/metrics"
)

// TestVeryLongTimes: whoever configures the largest number means never, and must not get at once.
func TestVeryLongTimes(t *testing.T) {
	t.Parallel()
	const nowMs = 1_700_000_000_000
	cfg := DefaultConfig()
	cfg.RetentionCheckIntervalMs = math.MaxInt64
	s := NewShard(cfg, env.NewSeededRandom(1), NewMetrics(metrics.NewRegistry()))
	s.Activate(nowMs)
	if s.NextDeadlineMs() <= nowMs {
		t.Errorf("with offsets.retention.check.interval.ms=%d the next check is due at %d, now is %d", int64(math.MaxInt64), s.NextDeadlineMs(), int64(nowMs))
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation, req.RetentionTimeMillis = 4, "g", -1, math.MaxInt64
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.Partitions = "t", []kmsg.OffsetCommitRequestTopicPartition{{Partition: 0, Offset: 5}}
	req.Topics = append(req.Topics, topic)
	s.CommitOffsets(1, req, nowMs)
	s.begin(nowMs + 1)
	s.expireOffsets()
	if _, kept := s.offsetOf(offsetKey{"g", "t", 0}); !kept {
		t.Error("an offset that was to be kept for ever has expired")
	}
}
