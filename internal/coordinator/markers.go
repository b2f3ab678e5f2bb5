package coordinator

import (
	"context"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/shard"
)

// markerTimeout is how long a marker may take to be replicated.
const markerTimeout = 10 * time.Second

// Markers writes transaction markers into partitions that this broker leads: for the transaction
// coordinator of this broker and for WriteTxnMarkers requests.
type Markers struct {
	Replicas *replica.Manager
	Groups   *Groups
	Clock    env.Clock
}

// Write appends the marker to every partition and waits until it is committed there. The codes
// are in the order of the partitions.
func (m *Markers) Write(ctx context.Context, partitions []kafka.TopicPartition, marker shard.Marker) []kafka.ErrorCode {
	codes := make([]kafka.ErrorCode, len(partitions))
	type appended struct {
		index       int
		leaderEpoch int32
		endOffset   int64
	}
	var waiting []appended
	for i, tp := range partitions {
		if tp.Topic == kafka.ConsumerOffsetsTopic {
			codes[i] = m.endInGroups(ctx, tp, marker)
			continue
		}
		batch, err := markerBatch(marker, m.Clock.Now().UnixMilli())
		if err != nil {
			codes[i] = kafka.CodeOf(err)
			continue
		}
		endOffset, leaderEpoch, err := m.Replicas.AppendMarker(tp, batch, replica.TransactionalAppend{TransactionVersion: marker.TransactionVersion})
		if err != nil {
			codes[i] = kafka.CodeOf(err)
			continue
		}
		waiting = append(waiting, appended{i, leaderEpoch, endOffset})
	}
	for _, a := range waiting {
		codes[a.index] = kafka.CodeOf(m.Replicas.AwaitCommit(ctx, partitions[a.index], a.leaderEpoch, a.endOffset, markerTimeout))
	}
	return codes
}

// endInGroups ends a transaction in a partition of __consumer_offsets: its shard writes the
// marker and makes the offsets valid.
func (m *Markers) endInGroups(ctx context.Context, tp kafka.TopicPartition, marker shard.Marker) kafka.ErrorCode {
	if _, err := m.Replicas.Lookup(tp); err != nil {
		return kafka.CodeOf(err)
	}
	switch code := m.Groups.EndTransaction(ctx, tp.Partition, marker); code {
	case kafka.ErrCoordinatorNotAvailable, kafka.ErrCoordinatorLoadInProgress, kafka.ErrNotCoordinator:
		return kafka.ErrNotLeaderOrFollower
	default:
		return code
	}
}
