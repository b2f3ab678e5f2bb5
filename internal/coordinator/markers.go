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

// MarkerWork is the marker of one transaction and the partitions that want it.
type MarkerWork struct {
	Marker     shard.Marker
	Partitions []kafka.TopicPartition
}

// Write appends a marker to its partitions and waits until it is committed there. The codes are in
// the order of the partitions.
func (m *Markers) Write(ctx context.Context, w MarkerWork) []kafka.ErrorCode {
	return m.WriteAll(ctx, []MarkerWork{w})[0]
}

// WriteAll is Write for several transactions, which share the time that replication takes.
func (m *Markers) WriteAll(ctx context.Context, work []MarkerWork) [][]kafka.ErrorCode {
	started := make([][]startedMarker, len(work))
	for i, w := range work {
		started[i] = make([]startedMarker, len(w.Partitions))
		for j, tp := range w.Partitions {
			started[i][j] = m.start(tp, w.Marker)
		}
	}
	codes, deadline := make([][]kafka.ErrorCode, len(work)), time.Now().Add(markerTimeout)
	for i, w := range work {
		codes[i] = make([]kafka.ErrorCode, len(w.Partitions))
		for j, tp := range w.Partitions {
			codes[i][j] = m.finish(ctx, deadline, tp, &started[i][j])
		}
	}
	return codes
}

// startedMarker is a marker in a log that waits for its commit, one on its way to a shard of
// groups, or a refusal.
type startedMarker struct {
	code        kafka.ErrorCode
	leaderEpoch int32
	endOffset   int64
	inGroups    *Pending
}

func (m *Markers) start(tp kafka.TopicPartition, marker shard.Marker) (s startedMarker) {
	if tp.Topic == kafka.ConsumerOffsetsTopic {
		if _, err := m.Replicas.Lookup(tp); err != nil {
			s.code = kafka.CodeOf(err)
			return s
		}
		pending := m.Groups.beginEndTransaction(tp.Partition, marker)
		s.inGroups = &pending
		return s
	}
	batch, err := marker.Batch(m.Clock.Now().UnixMilli())
	if err == nil {
		s.endOffset, s.leaderEpoch, err = m.Replicas.AppendMarker(tp, batch, replica.TransactionalAppend{TransactionVersion: marker.TransactionVersion})
	}
	s.code = kafka.CodeOf(err)
	return s
}

// finish waits for one marker. The deadline is for all of a request together: what hangs must not hold up the rest of it for
// longer, since who asks waits no longer either.
func (m *Markers) finish(ctx context.Context, deadline time.Time, tp kafka.TopicPartition, s *startedMarker) kafka.ErrorCode {
	switch {
	case s.code != kafka.ErrNone:
		return s.code
	case s.inGroups == nil:
		return kafka.CodeOf(m.Replicas.AwaitCommit(ctx, tp, s.leaderEpoch, s.endOffset, time.Until(deadline)))
	}
	bounded, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	_, err := s.inGroups.Wait(bounded)
	if err != nil && bounded.Err() != nil {
		return kafka.ErrRequestTimedOut
	}
	switch code := kafka.CodeOf(err); code {
	case kafka.ErrCoordinatorNotAvailable, kafka.ErrCoordinatorLoadInProgress, kafka.ErrNotCoordinator:
		return kafka.ErrNotLeaderOrFollower
	default:
		return code
	}
}
