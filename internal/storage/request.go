package storage

import (
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/producerstate"
	"github.com/moldau/moldau/internal/storage/segment"
)

// Origin says who appends, and thereby how much is checked.
type Origin int8

const (
	// OriginClient is a Produce request: every rule for produced batches applies.
	OriginClient Origin = iota
	// OriginCoordinator is a group or transaction coordinator on this broker: its batches
	// have no sequence numbers, so only producer epochs are checked.
	OriginCoordinator
	// OriginInternal is any other part of this broker.
	OriginInternal
)

// AppendRequest asks a log to append as leader.
type AppendRequest struct {
	// Records is one or more whole batches, exactly one from a client. The log writes offsets,
	// leader epoch and timestamps into it, so the caller must be its only user.
	Records     []byte
	LeaderEpoch int32
	Origin      Origin
	NowMs       int64
	// ProduceVersion is the version of the Produce request; only read for OriginClient.
	ProduceVersion int16
	// Guard is what StartVerification gave for the first batch of a transaction.
	Guard producerstate.Guard
	// TransactionVersion says by which rules the epoch of a transaction marker is checked.
	TransactionVersion int16
}

// AppendResult says where the records went. When Append fails only LogStartOffset
// is meaningful.
type AppendResult struct {
	BaseOffset int64
	LastOffset int64
	// LogAppendTimeMs is the broker's timestamp, or -1 for topics with CreateTime.
	LogAppendTimeMs int64
	LogStartOffset  int64
	// Duplicate is set when an idempotent producer sent a batch again that the log holds
	// already; the offsets are those of the first time and nothing was written.
	Duplicate bool
	// CountedBytes is the size of what is counted now and was not before: the records', unless
	// they have to wait for a flush. EndedTransaction is set when a marker that ended a transaction
	// is among it: more may be stable now.
	CountedBytes     int64
	EndedTransaction bool
}

// ReadRequest asks a log for whole batches.
type ReadRequest struct {
	// Offset must lie within the log start offset and the log end offset.
	Offset   int64
	MaxBytes int
	// MinOneBatch returns the first batch even if it is larger than MaxBytes.
	MinOneBatch bool
	// UpTo is the first offset that must not be returned: high watermark, last stable offset
	// or log end offset, as the caller's isolation says.
	UpTo int64
	// Buffer returns memory for n bytes; nil allocates. It may be called more than once in one
	// read, each call giving up what earlier ones returned.
	Buffer func(n int) []byte
	// Files lets the records be a part of a file instead of bytes, where they are known to be right and
	// are many; NowMs says how long ago that was.
	Files bool
	NowMs int64
	// IsReplica says that what is read need not be committed, and may be cut.
	IsReplica bool
	// Aborted asks for the aborted transactions that have records in what is read.
	Aborted bool
}

func (r *ReadRequest) buffer(n int) []byte {
	if r.Buffer == nil {
		return make([]byte, n)
	}
	return r.Buffer(n)[:n]
}

// ReadResult is what a read found. Records is part of the memory from Buffer.
type ReadResult struct {
	Records []byte
	// File is where the records lie if they are not in Records. The caller releases it.
	File           *segment.FileRange
	LogStartOffset int64
	LogEndOffset   int64
	// Aborted is sorted by first offset.
	Aborted []segment.AbortedTransaction
}

// TimestampOffset is the answer to a lookup by timestamp.
type TimestampOffset struct {
	Offset      int64
	TimestampMs int64
	LeaderEpoch int32
}

// noTimestampOffset is the answer where nothing was found.
var noTimestampOffset = TimestampOffset{kafka.NoOffset, kafka.NoTimestamp, kafka.NoLeaderEpoch}
