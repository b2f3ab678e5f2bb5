package txn

import (
	"cmp"
	"math"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
)

// Versions of the transaction protocol (the feature transaction.version).
const (
	// Version0 is the protocol of clients that add partitions themselves and keep their epoch.
	Version0 int16 = 0
	// Version2 (KIP-890) gives every transaction an epoch of its own.
	Version2 int16 = 2
)

// noFreshID is the fresh producer id of a step that was given none.
const noFreshID = kafka.NoProducerID

// transaction is what is known of one transactional id.
type transaction struct {
	id             string
	producerID     int64
	prevProducerID int64
	// nextProducerID takes the place of producerID, whose epochs are used up, when the markers are
	// written; -1 for none.
	nextProducerID int64
	epoch          int16
	lastEpoch      int16
	timeoutMs      int32
	state          State
	partitions     []kafka.TopicPartition // sorted
	startMs        int64
	lastUpdateMs   int64
	clientVersion  int16
}

func newTransaction(id string, producerID int64) *transaction {
	return &transaction{
		id: id, producerID: producerID, prevProducerID: kafka.NoProducerID, nextProducerID: kafka.NoProducerID,
		epoch: kafka.NoProducerEpoch, lastEpoch: kafka.NoProducerEpoch, startMs: kafka.NoTimestamp,
	}
}

// isExhausted reports whether the epoch is the last one that a producer may write with: the one
// above it is for the marker that fences it.
func isExhausted(epoch int16) bool { return epoch >= math.MaxInt16-1 }

// begin starts a transition. As in Kafka, the previous producer id is the one before it.
func (t *transaction) begin(to State, nowMs int64) {
	t.prevProducerID = t.producerID
	t.state, t.lastUpdateMs = to, nowMs
}

// isValidProducer reports whether a producer that wants a new epoch may name this id and epoch.
func (t *transaction) isValidProducer(p Producer) bool {
	return t.epoch == kafka.NoProducerEpoch || p.ID == t.producerID || p.ID == t.prevProducerID && isExhausted(p.Epoch)
}

// initialize makes the id ready for a new incarnation of its producer.
func (t *transaction) initialize(timeoutMs int32, nowMs int64) {
	t.begin(StateEmpty, nowMs)
	t.timeoutMs, t.partitions, t.startMs = timeoutMs, nil, kafka.NoTimestamp
}

// rotate gives the id another producer id in epoch 0.
func (t *transaction) rotate(producerID int64, timeoutMs int32, recordLastEpoch bool, nowMs int64) {
	t.initialize(timeoutMs, nowMs)
	t.lastEpoch = kafka.NoProducerEpoch
	if recordLastEpoch {
		t.lastEpoch = t.epoch
	}
	t.producerID, t.epoch = producerID, 0
}

// bump gives the producer the next epoch. One that names the epoch before the current one has not
// got the answer to an earlier request and is given the current one again.
func (t *transaction) bump(expected *Producer, timeoutMs int32, nowMs int64) kafka.ErrorCode {
	epoch, lastEpoch := t.epoch+1, kafka.NoProducerEpoch
	switch {
	case expected == nil:
	case t.epoch == kafka.NoProducerEpoch || expected.Epoch == t.epoch:
		lastEpoch = t.epoch
	case expected.Epoch == t.lastEpoch:
		epoch, lastEpoch = t.epoch, t.lastEpoch
	default:
		return kafka.ErrProducerFenced
	}
	if epoch < 0 {
		return kafka.ErrProducerFenced // wrapped: only the owner of the last epoch gets another id
	}
	t.initialize(timeoutMs, nowMs)
	t.epoch, t.lastEpoch = epoch, lastEpoch
	return kafka.ErrNone
}

// add takes partitions into the transaction, which begins with the first.
func (t *transaction) add(partitions []kafka.TopicPartition, version int16, nowMs int64) {
	if t.state.isIdle() {
		t.startMs = nowMs
	}
	t.begin(StateOngoing, nowMs)
	t.clientVersion = version
	t.setPartitions(append(slices.Clone(t.partitions), partitions...))
}

func (t *transaction) setPartitions(partitions []kafka.TopicPartition) {
	slices.SortFunc(partitions, comparePartitions)
	t.partitions = slices.Compact(partitions)
}

// prepare decides the end of the transaction. In version 2 the epoch is bumped: the markers carry
// one that none of the transaction's records has.
func (t *transaction) prepare(to State, version int16, nextProducerID, nowMs int64) {
	if t.state.isIdle() {
		t.startMs = nowMs
	}
	t.begin(to, nowMs)
	if version >= Version2 {
		t.lastEpoch = t.epoch
		if t.epoch < math.MaxInt16 {
			t.epoch++
		}
	}
	t.nextProducerID, t.clientVersion = nextProducerID, version
}

// completed returns the producer after the end of a prepared transaction.
func (t *transaction) completed() Producer {
	if t.clientVersion >= Version2 && t.nextProducerID != kafka.NoProducerID {
		return Producer{ID: t.nextProducerID, Epoch: 0}
	}
	return Producer{ID: t.producerID, Epoch: t.epoch}
}

// complete ends a prepared transaction whose markers are written.
func (t *transaction) complete(nowMs int64) {
	to, next := StateCompleteAbort, t.completed()
	if t.state == StatePrepareCommit {
		to = StateCompleteCommit
	}
	t.begin(to, nowMs)
	t.producerID, t.epoch = next.ID, next.Epoch
	t.nextProducerID, t.partitions = kafka.NoProducerID, nil
}

func (t *transaction) hasPartition(tp kafka.TopicPartition) bool {
	_, found := slices.BinarySearchFunc(t.partitions, tp, comparePartitions)
	return found
}

func (t *transaction) hasAll(partitions []kafka.TopicPartition) bool {
	for _, tp := range partitions {
		if !t.hasPartition(tp) {
			return false
		}
	}
	return true
}

func comparePartitions(a, b kafka.TopicPartition) int {
	if c := cmp.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return cmp.Compare(a.Partition, b.Partition)
}
