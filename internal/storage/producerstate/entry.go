package producerstate

import (
	"math"

	"github.com/moldau/moldau/internal/kafka"
)

// WindowSize is how many batches of a producer are remembered. The Java client keeps at most
// five requests in flight and sends any of them again.
const WindowSize = 5

// Write is one data batch of a producer: what the state needs of its header.
type Write struct {
	ProducerID    int64
	Epoch         int16
	FirstSequence int32
	LastSequence  int32
	FirstOffset   int64
	LastOffset    int64
	TimestampMs   int64 // the batch's largest timestamp
	Transactional bool
}

// Batch is what is remembered of a write.
type Batch struct {
	LastSequence int32
	OffsetDelta  int32
	LastOffset   int64
	TimestampMs  int64
}

// FirstOffset is the offset of the batch's first record.
func (b Batch) FirstOffset() int64 { return b.LastOffset - int64(b.OffsetDelta) }

// FirstSequence is the sequence number of the batch's first record; numbers wrap from the
// largest int32 to 0.
func (b Batch) FirstSequence() int32 {
	if b.LastSequence < b.OffsetDelta {
		return math.MaxInt32 - (b.OffsetDelta - b.LastSequence) + 1
	}
	return b.LastSequence - b.OffsetDelta
}

// Entry is the state of one producer.
type Entry struct {
	ProducerID int64
	// LastTimestampMs is the largest timestamp of the last batch or the marker's timestamp; a
	// producer expires by it.
	LastTimestampMs int64
	// TxnFirstOffset is where the producer's open transaction begins, or -1.
	TxnFirstOffset   int64
	CoordinatorEpoch int32
	Epoch            int16

	count, oldest uint8
	window        [WindowSize]Batch
}

func newEntry(producerID int64) Entry {
	return Entry{
		ProducerID: producerID, Epoch: kafka.NoProducerEpoch, CoordinatorEpoch: -1,
		LastTimestampMs: kafka.NoTimestamp, TxnFirstOffset: kafka.NoOffset,
	}
}

// Batches returns the remembered batches of the current epoch, oldest first.
func (e *Entry) Batches() []Batch {
	batches := make([]Batch, e.count)
	for i := range batches {
		batches[i] = e.at(i)
	}
	return batches
}

// LastSequence is the sequence number of the last record, or -1.
func (e *Entry) LastSequence() int32 {
	if e.count == 0 {
		return kafka.NoSequence
	}
	return e.last().LastSequence
}

// LastOffset is the offset of the last record, or -1.
func (e *Entry) LastOffset() int64 {
	if e.count == 0 {
		return kafka.NoOffset
	}
	return e.last().LastOffset
}

func (e *Entry) at(i int) Batch { return e.window[(int(e.oldest)+i)%WindowSize] }

func (e *Entry) last() Batch { return e.at(int(e.count) - 1) }

func (e *Entry) setEpoch(epoch int16) {
	if e.Epoch != epoch {
		e.Epoch = epoch
		e.count, e.oldest = 0, 0
	}
}

func (e *Entry) add(b Batch) {
	if e.count < WindowSize {
		e.window[(int(e.oldest)+int(e.count))%WindowSize] = b
		e.count++
		return
	}
	e.window[e.oldest] = b
	e.oldest = (e.oldest + 1) % WindowSize
}
