package coordinator

import (
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/replica"
)

// Log is the coordinator's view of the partitions of its topic that this broker leads. The
// replica manager implements it; tests have one in memory. All methods may be called from any
// goroutine. Where this broker is not the leader in the given epoch, they answer
// kafka.ErrNotLeaderOrFollower or another code of the protocol.
type Log interface {
	// Bounds returns the log start offset and the log end offset.
	Bounds(tp kafka.TopicPartition, leaderEpoch int32) (startOffset, endOffset int64, err error)
	// Read returns whole batches beginning with the one that contains offset, of about maxBytes
	// but at least one batch, up to the log end offset (also above the high watermark, since
	// the reader is the leader). It returns nothing at the end. The caller owns the bytes.
	Read(tp kafka.TopicPartition, leaderEpoch int32, offset int64, maxBytes int) ([]byte, error)
	// CheckAppend returns nil, or the error with which an append would be refused now. That none is foreseen promises
	// nothing.
	CheckAppend(tp kafka.TopicPartition, leaderEpoch int32) error
	// Append appends batch (exactly one record batch; offsets and leader epoch are assigned in
	// place) to the leader's log without waiting for replication, subject to min.insync.replicas
	// as with acks=all, and returns the log end offset after it.
	Append(tp kafka.TopicPartition, leaderEpoch int32, batch []byte) (endOffset int64, err error)
	// AppendTransactional is Append for a batch within a transaction, or the marker that ends one.
	AppendTransactional(tp kafka.TopicPartition, leaderEpoch int32, batch []byte, o replica.TransactionalAppend) (endOffset int64, err error)
	// WhenCommitted calls done exactly once: with nil as soon as the high watermark is at least
	// endOffset, which may be before WhenCommitted returns, or with an error when this broker is
	// no longer the leader in leaderEpoch. done does not block.
	WhenCommitted(tp kafka.TopicPartition, leaderEpoch int32, endOffset int64, done func(error))
}
