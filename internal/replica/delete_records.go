package replica

import "github.com/moldau/moldau/internal/kafka"

// DeletedRecords is the answer for one partition of DeleteRecords.
type DeletedRecords struct {
	LowWatermark int64 // kafka.NoOffset with an error
	Err          error
}

// DeleteRecords raises the log start offsets of partitions led here to the given offsets and
// makes them durable: what a client was told is deleted does not come back after a crash.
func (m *Manager) DeleteRecords(offsets map[kafka.TopicPartition]int64) map[kafka.TopicPartition]DeletedRecords {
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
