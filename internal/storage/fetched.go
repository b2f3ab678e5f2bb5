package storage

import (
	"fmt"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// Fetched are batches that a follower has got of its leader.
type Fetched struct {
	Records []byte
	// LeaderEpoch is the epoch in which they were fetched: none of them is of a later one.
	LeaderEpoch int32
	NowMs       int64
}

// AppendFetched appends batches as they are, at their offsets, between which compaction may have left
// holes. Each is checked: what a leader's disk or the network has damaged must not spread.
func (l *Log) AppendFetched(f Fetched) error {
	if err := l.checkFetched(f); err != nil {
		return err
	}
	l.dir.shared.foreground.Add(1)
	l.mu.Lock()
	end := l.endOffset.Load()
	var err error
	if base := record.Batch(f.Records).BaseOffset(); base < end {
		err = &kafka.Error{Code: kafka.ErrInvalidRecord, Message: fmt.Sprintf("the leader of %s answers with a batch at offset %d, the log ends at offset %d", l.tp, base, end)}
	} else {
		err = l.appendAsTheyAre(f.Records, f.NowMs)
		l.count() // nobody waits for a follower
	}
	need := l.need(f.NowMs)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	l.ask(need)
	return nil
}

func (l *Log) checkFetched(f Fetched) error {
	refuse := func(problem string, err error) error {
		return &kafka.Error{Code: kafka.ErrCorruptMessage, Message: fmt.Sprintf("fetched for %s: %s", l.tp, problem), Cause: err}
	}
	if len(f.Records) == 0 {
		return refuse("no record batch", nil)
	}
	next := int64(0)
	for rest := f.Records; len(rest) > 0; {
		b, after, err := record.Next(rest)
		if err != nil {
			return refuse("not whole batches", err)
		}
		if err := b.CheckCRC(); err != nil {
			return refuse(fmt.Sprintf("the batch at offset %d", b.BaseOffset()), err)
		}
		if b.BaseOffset() < next || b.LastOffsetDelta() < 0 {
			return refuse(fmt.Sprintf("a batch from offset %d to %d follows offset %d", b.BaseOffset(), b.LastOffset(), next-1), nil)
		}
		if b.PartitionLeaderEpoch() > f.LeaderEpoch {
			return refuse(fmt.Sprintf("the batch at offset %d is of leader epoch %d, it was fetched in epoch %d", b.BaseOffset(), b.PartitionLeaderEpoch(), f.LeaderEpoch), nil)
		}
		next, rest = b.NextOffset(), after
	}
	return nil
}

// appendAsTheyAre appends batches that have their offsets, under mu.
func (l *Log) appendAsTheyAre(records []byte, nowMs int64) error {
	if err := l.writable(); err != nil {
		return err
	}
	for len(records) > 0 {
		part, err := copyable(records)
		if err != nil {
			return l.readError(err)
		}
		if err := l.copyPart(part, nowMs); err != nil {
			return err
		}
		records = records[len(part.records):]
	}
	return nil
}
