package shard

import (
	"math"

	"github.com/moldau/moldau/internal/record"
)

// NoDeadline is what NextDeadlineMs answers when a shard waits for nothing.
const NoDeadline int64 = math.MaxInt64

// Record is one record of a coordinator's log. A nil Value is a tombstone.
type Record struct {
	Key, Value []byte
}

// Position is where a replayed record stands in the log.
type Position struct {
	Offset int64
	// ProducerID is the transactional producer whose record this is, else kafka.NoProducerID.
	ProducerID int64
}

// Token names one request that waits for its response. The runtime chooses it; to a shard it is
// opaque. Token 0 names nobody.
type Token uint64

// Response answers the request that Token names.
type Response struct {
	Token Token
	// Value is the response; nil where Err is set.
	Value any
	// Err is the failure of the whole request, carrying a kafka.ErrorCode.
	Err error
}

// Effects is what one step of a shard asks the runtime to do: append Records as one unit, and,
// once everything that the shard's state holds is committed, deliver Responses. Responses may
// name requests of earlier steps (a parked JoinGroup) and leave out the current one.
type Effects struct {
	Records   []Record
	Responses []Response
	// Producer makes Records a batch of its own within a transaction; Marker ends one, without
	// records. Both come from outside and the log may refuse them. Therefore a step with one of
	// them changes no state: the runtime appends and then calls Replay or ReplayEndTransaction, or
	// answers the Responses with the log's error.
	Producer *Producer
	Marker   *Marker
	// Notices go to the runtime's owner once everything that the shard's state holds is committed.
	Notices []any
}

// Producer is the transactional producer on whose behalf records are appended.
type Producer struct {
	ID    int64
	Epoch int16
	// Guard is what the log gave when the transaction was verified, 0 if it was open already.
	Guard uint64
}

// Marker ends a producer's transaction in the shard's log.
type Marker struct {
	ProducerID       int64
	Epoch            int16
	CoordinatorEpoch int32 // of the transaction coordinator
	Committed        bool
	// TransactionVersion says by which rules the log checks the epoch.
	TransactionVersion int16
}

// Batch is the control batch that ends the transaction.
func (m Marker) Batch(nowMs int64) (record.Batch, error) {
	o := record.NoProducer(record.CodecNone)
	o.Transactional, o.ProducerID, o.ProducerEpoch = true, m.ProducerID, m.Epoch
	kind := record.ControlAbort
	if m.Committed {
		kind = record.ControlCommit
	}
	return record.BuildControl(o, nowMs, kind, record.EndTxnMarker{CoordinatorEpoch: m.CoordinatorEpoch}.Encode())
}

// Shard is what the runtime needs of a shard besides its requests.
type Shard interface {
	// Replay applies a record that is read from the log. Unknown kinds are counted and skipped;
	// an error means that the record's bytes make no sense.
	Replay(p Position, r Record) error
	// ReplayEndTransaction applies the marker that ends producerID's transaction.
	ReplayEndTransaction(producerID int64, committed bool)
	// Activate is called once, when the whole log is replayed, before the first request.
	Activate(nowMs int64) Effects
	// NextDeadlineMs is the time at which Tick has something to do, or NoDeadline.
	NextDeadlineMs() int64
	// Tick runs what is due at nowMs.
	Tick(nowMs int64) Effects
	// ShiftDeadlines is called when the clock was set by byMs: whatever was to happen after some
	// time still happens after that time.
	ShiftDeadlines(byMs int64)
	// Deactivate is called once, when the shard is dropped: it takes its share out of the gauges.
	// The runtime itself fails the requests that are parked.
	Deactivate()
}
