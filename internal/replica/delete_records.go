package replica

import (
	"context"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/partition"
)

// DeletedRecords is the answer for one partition of DeleteRecords.
type DeletedRecords struct {
	LowWatermark int64 // kafka.NoOffset with an error
	Err          error
}

// DeleteRecords raises the log start offsets of partitions led here to the given offsets and
// makes them durable: what a client was told is deleted does not come back after a crash. It waits for the replicas
// on other brokers that are not fenced, which may lead next, up to timeout in all.
func (m *Manager) DeleteRecords(ctx context.Context, offsets map[kafka.TopicPartition]int64, timeout time.Duration) map[kafka.TopicPartition]DeletedRecords {
	results := m.deleteRecords(offsets)
	end, told := m.options.Clock.Now().Add(timeout), false
	for tp, d := range results {
		r := m.find(tp)
		if d.Err != nil || r == nil || r.offline != nil || len(r.Assignment().Replicas) < 2 {
			continue
		}
		if !told {
			m.tellFollowers()
			told = true
		}
		results[tp] = m.awaitDeleted(ctx, r, d.LowWatermark, end.Sub(m.options.Clock.Now()))
	}
	return results
}

// awaitDeleted waits until all replicas begin at offset or above.
func (m *Manager) awaitDeleted(ctx context.Context, r *Replica, offset int64, timeout time.Duration) DeletedRecords {
	isAlive := func(broker int32) bool {
		b := m.image.Load().Broker(broker)
		return b != nil && !b.Fenced
	}
	err := m.await(ctx, target{r.TopicPartition(), r.Assignment().LeaderEpoch, offset, func(p *partition.Partition, leaderEpoch int32, offset int64) (bool, error) {
		return p.LowWatermark(isAlive) >= offset, p.CheckLeader(leaderEpoch)
	}, true}, max(timeout, 0))
	if err != nil && kafka.CodeOf(err) != kafka.ErrRequestTimedOut {
		return DeletedRecords{LowWatermark: kafka.NoOffset, Err: err}
	}
	return DeletedRecords{LowWatermark: r.LowWatermark(isAlive), Err: err}
}

func (m *Manager) deleteRecords(offsets map[kafka.TopicPartition]int64) map[kafka.TopicPartition]DeletedRecords {
	results := make(map[kafka.TopicPartition]DeletedRecords, len(offsets))
	moved := false
	for tp, offset := range offsets {
		var d DeletedRecords
		r, err := m.Lookup(tp)
		if err == nil {
			d.LowWatermark, err = r.DeleteRecords(offset)
		}
		if d.Err = err; err != nil {
			d.LowWatermark = kafka.NoOffset
		}
		moved = moved || err == nil
		results[tp] = d
	}
	if !moved {
		return results
	}
	_ = m.options.Storage.CheckpointLogStartOffsets() // a failure takes the log dir offline
	for tp, d := range results {
		r, err := m.Lookup(tp)
		if err == nil {
			err = r.Log().Usable()
		}
		if d.Err == nil && err != nil {
			results[tp] = DeletedRecords{LowWatermark: kafka.NoOffset, Err: err}
		}
	}
	return results
}
