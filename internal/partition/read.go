package partition

import (
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage"
	"github.com/moldau/moldau/internal/storage/segment"
)

// ReadRequest asks for records as a consumer may see them.
type ReadRequest struct {
	Offset             int64
	MaxBytes           int
	MinOneBatch        bool // return the first batch even if it is larger than MaxBytes
	Isolation          kafka.IsolationLevel
	CurrentLeaderEpoch int32 // kafka.NoLeaderEpoch for a client that does not say
	// LastFetchedEpoch is the epoch of the last record the client has, from which a
	// truncated log is found out (KIP-595); kafka.NoLeaderEpoch for a client that does not say.
	LastFetchedEpoch int32
	// IsReplica lets the follower ReplicaID read what is not committed yet.
	IsReplica bool
	ReplicaID int32
	// AnyReplica lets a follower answer, too, for what it knows to be committed (KIP-392).
	AnyReplica bool
	Buffer     func(n int) []byte
	// Files and NowMs are those of storage.ReadRequest.
	Files bool
	NowMs int64
}

// ReadResult is records and the offsets as they were before the read.
type ReadResult struct {
	Records []byte
	// File is where the records lie if they are not in Records. The caller releases it.
	File             *segment.FileRange
	HighWatermark    int64
	LastStableOffset int64
	LogStartOffset   int64
	LogEndOffset     int64
	// Aborted are the aborted transactions with records in Records, by first offset; only for
	// kafka.ReadCommitted.
	Aborted []segment.AbortedTransaction
	// Diverging is set instead of records when the client's log has gone another way.
	Diverging *EpochEnd
}

// EpochEnd is a leader epoch and the offset after its last record.
type EpochEnd struct {
	LeaderEpoch int32
	EndOffset   int64
}

// Read reads up to the high watermark or the last stable offset.
func (p *Partition) Read(r ReadRequest) (ReadResult, error) {
	if err := p.mayRead(&r); err != nil {
		return ReadResult{}, err
	}
	result := p.Offsets()
	if r.LastFetchedEpoch != kafka.NoLeaderEpoch {
		diverging, err := p.divergence(r, result.LogStartOffset)
		if err != nil {
			return ReadResult{}, err
		}
		if diverging != nil {
			result.Diverging = diverging
			return result, nil
		}
	}
	upTo := result.HighWatermark
	switch {
	case r.IsReplica || r.Isolation == kafka.ReadToEnd:
		upTo = result.LogEndOffset
	case r.Isolation == kafka.ReadCommitted:
		upTo = result.LastStableOffset
	}
	var read storage.ReadResult
	err := p.WithLog(func(l *storage.Log) (err error) {
		read, err = l.Read(storage.ReadRequest{Offset: r.Offset, MaxBytes: r.MaxBytes, MinOneBatch: r.MinOneBatch, UpTo: upTo, Buffer: r.Buffer,
			Files: r.Files, IsReplica: r.IsReplica, NowMs: r.NowMs, Aborted: r.Isolation == kafka.ReadCommitted})
		return err
	})
	if err != nil {
		return ReadResult{}, err
	}
	result.Records, result.File, result.Aborted = read.Records, read.File, read.Aborted
	return result, nil
}

// Offsets is a read of no records.
func (p *Partition) Offsets() ReadResult {
	l := p.Log()
	return ReadResult{HighWatermark: l.HighWatermark(), LastStableOffset: l.LastStableOffset(), LogStartOffset: l.LogStartOffset(), LogEndOffset: l.LogEndOffset()}
}

// mayRead refuses readers that ask the wrong broker. A follower that the assignment does not name, yet or
// any more, is told that one of the two does not know the other's epoch, as in Kafka: it asks again.
func (p *Partition) mayRead(r *ReadRequest) error {
	role, err := p.serving(r.CurrentLeaderEpoch, r.AnyReplica)
	if err == nil && r.IsReplica && !slices.Contains(role.Replicas, r.ReplicaID) {
		err = kafka.Errorf(kafka.ErrUnknownLeaderEpoch, "broker %d is no replica of %s in leader epoch %d", r.ReplicaID, p.tp, role.LeaderEpoch)
	}
	return err
}

// SizeBytes is how many bytes of records were read.
func (r *ReadResult) SizeBytes() int {
	if r.File != nil {
		return r.File.SizeBytes
	}
	return len(r.Records)
}

// ReadAtEnd is Read for a reader that has everything already, as most partitions of a fetch have; false
// where there may be more to it.
func (p *Partition) ReadAtEnd(r *ReadRequest) (result ReadResult, ok bool) {
	if r.LastFetchedEpoch != kafka.NoLeaderEpoch && !r.IsReplica || p.mayRead(r) != nil {
		return result, false
	}
	result = p.Offsets()
	upTo := result.HighWatermark
	switch {
	case r.IsReplica:
		// Its last record is of the leader's last epoch, so that there is nothing to compare.
		return result, r.Offset == result.LogEndOffset && r.Offset > result.LogStartOffset && r.LastFetchedEpoch == p.Log().EpochForOffset(r.Offset-1)
	case r.Isolation == kafka.ReadCommitted:
		upTo = result.LastStableOffset
	case r.Isolation == kafka.ReadToEnd:
		upTo = result.LogEndOffset
	}
	return result, r.Offset == upTo && r.Offset >= result.LogStartOffset
}

// divergence compares the client's last epoch and position with the leader's history.
func (p *Partition) divergence(r ReadRequest, logStartOffset int64) (*EpochEnd, error) {
	epoch, endOffset := p.Log().EndOffsetForEpoch(r.LastFetchedEpoch)
	if epoch == kafka.NoLeaderEpoch || endOffset == kafka.NoOffset {
		return nil, kafka.Errorf(kafka.ErrOffsetOutOfRange, "the end of leader epoch %d of %s is not known", r.LastFetchedEpoch, p.tp)
	}
	if r.Offset < logStartOffset {
		return nil, kafka.Errorf(kafka.ErrOffsetOutOfRange, "offset %d of %s is below the log start offset %d", r.Offset, p.tp, logStartOffset)
	}
	if epoch < r.LastFetchedEpoch || endOffset < r.Offset {
		return &EpochEnd{LeaderEpoch: epoch, EndOffset: endOffset}, nil
	}
	return nil, nil
}

// EndOffsetForEpoch returns the largest leader epoch that is not above epoch and where it
// ends; -1 and -1 where there is none.
func (p *Partition) EndOffsetForEpoch(currentLeaderEpoch, epoch int32) (EpochEnd, error) {
	if _, err := p.leader(currentLeaderEpoch); err != nil {
		return EpochEnd{kafka.NoLeaderEpoch, kafka.NoOffset}, err
	}
	found, endOffset := p.Log().EndOffsetForEpoch(epoch)
	return EpochEnd{found, endOffset}, nil
}

// nothingFound is the answer to a lookup by timestamp that no record fits.
var nothingFound = storage.TimestampOffset{Offset: kafka.NoOffset, TimestampMs: kafka.NoTimestamp, LeaderEpoch: kafka.NoLeaderEpoch}

// ListOffset finds an offset by timestamp, which may be one of the special ones. Offsets in
// remote storage do not exist: those lookups find nothing, as for a topic without it.
func (p *Partition) ListOffset(timestampMs int64, isolation kafka.IsolationLevel, currentLeaderEpoch int32) (storage.TimestampOffset, error) {
	r, err := p.leader(currentLeaderEpoch)
	if err != nil {
		return nothingFound, err
	}
	highWatermark, upTo := p.Log().HighWatermark(), p.Log().HighWatermark()
	if isolation == kafka.ReadCommitted {
		upTo = p.Log().LastStableOffset()
	}
	var lagging error
	if r.epochStart > highWatermark {
		// Right after an election the high watermark may be below what consumers have seen.
		lagging = kafka.Errorf(kafka.ErrOffsetNotAvailable, "the high watermark %d of %s has not reached the start %d of leader epoch %d yet",
			highWatermark, p.tp, r.epochStart, r.LeaderEpoch)
	}
	switch timestampMs {
	case kafka.LatestTimestamp:
		if lagging != nil {
			return nothingFound, lagging
		}
		return storage.TimestampOffset{Offset: upTo, TimestampMs: kafka.NoTimestamp, LeaderEpoch: r.LeaderEpoch}, nil
	case kafka.EarliestTimestamp, kafka.EarliestLocalTimestamp:
		start := p.Log().LogStartOffset()
		return storage.TimestampOffset{Offset: start, TimestampMs: kafka.NoTimestamp, LeaderEpoch: p.Log().EpochForOffset(start)}, nil
	case kafka.LatestTieredTimestamp, kafka.EarliestPendingUploadTimestamp:
		return nothingFound, nil
	}
	var found storage.TimestampOffset
	var ok bool
	err = p.WithLog(func(l *storage.Log) (err error) {
		if timestampMs == kafka.MaxTimestamp {
			found, ok, err = l.MaxTimestampOffset(upTo)
		} else {
			found, ok, err = l.OffsetForTimestamp(timestampMs, upTo)
		}
		return err
	})
	switch {
	case err != nil:
		return nothingFound, err
	case !ok:
		return nothingFound, lagging
	}
	return found, nil
}
