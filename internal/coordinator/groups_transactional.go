package coordinator

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/shard"
)

// OffsetsPartition returns the partition of __consumer_offsets that owns a group; false while the
// topic does not exist.
func (g *Groups) OffsetsPartition(groupID string) (kafka.TopicPartition, bool) {
	partition, ok := g.partitionOf(groupID)
	return kafka.TopicPartition{Topic: kafka.ConsumerOffsetsTopic, Partition: partition}, ok
}

// CommitTransactionalOffsets stores offsets within a transaction; the topics of req exist and have
// topicIDs. guard is what the log gave if the transaction is new in the group's partition.
func (g *Groups) CommitTransactionalOffsets(ctx context.Context, req *kmsg.TxnOffsetCommitRequest, topicIDs []kafka.UUID, guard uint64) (*kmsg.TxnOffsetCommitResponse, error) {
	resp, code, err := groupDo[*kmsg.TxnOffsetCommitResponse](ctx, g, req.Group, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.CommitTransactionalOffsets(token, req, topicIDs, guard, nowMs)
	})
	if err != nil || code == kafka.ErrNone {
		return resp, err
	}
	return group.TransactionalCommitError(req, coordinatorCode(code)), nil
}

// beginEndTransaction has the shard of a partition of __consumer_offsets write the marker that ends a
// transaction there and make the offsets valid.
func (g *Groups) beginEndTransaction(partition int32, marker shard.Marker) Pending {
	return g.runtime.BeginPatient(partition, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.EndTransaction(token, marker, nowMs)
	})
}
