package storage

import (
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/producerstate"
	"github.com/moldau/moldau/internal/storage/segment"
)

// Append appends batches as the leader and returns where they went. Errors carry a code of
// the protocol (kafka.CodeOf); a *record.RecordErrors names the records that were refused.
// Where the topic asks for fsync, the records are not counted yet: see CountedOffset.
func (l *Log) Append(a AppendRequest) (AppendResult, error) {
	config := l.config.Load()
	p, err := prepareAppend(a, config)
	if err != nil {
		return AppendResult{LogStartOffset: l.startOffset.Load()}, err
	}
	l.dir.shared.foreground.Add(1)
	l.mu.Lock()
	r, err := l.append(a, p, config)
	need := l.need(a.NowMs)
	l.mu.Unlock()
	r.LogStartOffset = l.startOffset.Load()
	if err != nil {
		return r, err
	}
	l.ask(need)
	if config.LogAppendTime && !r.Duplicate {
		r.LogAppendTimeMs = a.NowMs
	}
	return r, nil
}

// preparedAppend is what could be found out about the batches without the lock.
type preparedAppend struct {
	records        []byte
	recordCount    int64 // offsets that the batches take
	maxTimestampMs int64
}

// prepareAppend checks the batches and brings everything but their offsets and leader epoch,
// which the CRC does not cover, into its final form.
func prepareAppend(a AppendRequest, config *LogConfig) (preparedAppend, error) {
	p := preparedAppend{records: a.Records, maxTimestampMs: kafka.NoTimestamp}
	if a.Origin == OriginClient {
		if err := p.prepareProduced(a, config); err != nil {
			return p, err
		}
	}
	for rest := p.records; len(rest) > 0; {
		b, next, err := record.Next(rest)
		if err != nil {
			return p, &kafka.Error{Code: kafka.ErrCorruptMessage, Message: "the records to append are not whole batches", Cause: err}
		}
		if len(b) > config.MaxMessageBytes && a.Origin != OriginInternal {
			return p, kafka.Errorf(kafka.ErrMessageTooLarge, "the record batch has %d bytes, more than the topic's max.message.bytes of %d", len(b), config.MaxMessageBytes)
		}
		if b.LastOffsetDelta() < 0 {
			return p, kafka.Errorf(kafka.ErrInvalidRecord, "the last offset delta of a batch to append is %d", b.LastOffsetDelta())
		}
		if config.LogAppendTime {
			b.StampLogAppendTime(a.NowMs)
		}
		p.maxTimestampMs = max(p.maxTimestampMs, b.MaxTimestamp())
		p.recordCount += int64(b.LastOffsetDelta()) + 1
		rest = next
	}
	if p.recordCount == 0 {
		return p, kafka.Errorf(kafka.ErrInvalidRecord, "there is no record batch to append")
	}
	if int64(len(p.records)) > config.SegmentBytes {
		return p, kafka.Errorf(kafka.ErrRecordListTooLarge, "the append has %d bytes, more than the topic's segment.bytes of %d", len(p.records), config.SegmentBytes)
	}
	return p, nil
}

// prepareProduced applies the rules for clients, who may be wrong or hostile.
func (p *preparedAppend) prepareProduced(a AppendRequest, config *LogConfig) error {
	b, err := record.Single(a.Records)
	if err != nil {
		return err
	}
	v, err := record.Validate(b, record.ValidateOptions{
		ProduceVersion: a.ProduceVersion, MaxBatchBytes: config.MaxMessageBytes, CompactedTopic: config.Compact,
		LogAppendTime: config.LogAppendTime, NowMs: a.NowMs,
		TimestampBeforeMaxMs: config.TimestampBeforeMs, TimestampAfterMaxMs: config.TimestampAfterMs,
	})
	if err != nil {
		return err
	}
	if !config.LogAppendTime {
		b.SetMaxTimestamp(v.MaxTimestamp)
	}
	if config.Recompress && b.Codec() != config.Codec {
		if b, err = record.Recompress(b, config.Codec, config.CodecLevel); err != nil {
			return &kafka.Error{Code: kafka.ErrInvalidRecord, Message: fmt.Sprintf("the batch cannot be compressed with %s", config.Codec), Cause: err}
		}
	}
	p.records = b
	return nil
}

// append gives the batches their offsets and writes them, under mu.
func (l *Log) append(a AppendRequest, p preparedAppend, config *LogConfig) (AppendResult, error) {
	r := AppendResult{BaseOffset: kafka.NoOffset, LastOffset: kafka.NoOffset, LogAppendTimeMs: kafka.NoTimestamp}
	if err := l.writable(); err != nil {
		return r, err
	}
	base := l.endOffset.Load()
	duplicate, found, err := l.place(a, p.records, base)
	if err != nil {
		return r, err
	}
	if found {
		// As Kafka does, the batch's timestamp is answered whatever the topic's timestamp type.
		return AppendResult{BaseOffset: duplicate.FirstOffset(), LastOffset: duplicate.LastOffset, LogAppendTimeMs: duplicate.TimestampMs, Duplicate: true}, nil
	}
	last := base + p.recordCount - 1
	if err := l.activeFor(a.NowMs, p, last, config); err != nil {
		return r, err
	}
	if err := l.dir.takeSpace(len(p.records), a.Origin); err != nil {
		return r, err
	}
	active := l.segments.Load().last()
	position, cuts := active.SizeBytes(), active.Cuts()
	l.markDirty(a.NowMs, len(p.records))
	reserved, err := l.reserveAborted(active, p.records)
	if err != nil {
		return r, l.mayFail("reserving space in the transaction index of", err)
	}
	if err := active.Append(p.records); err != nil {
		if reserved {
			err = errors.Join(err, active.UnreserveAborted())
		}
		if errors.Is(err, segment.ErrFailed) {
			return r, l.failed("appending to", err)
		}
		return r, l.mayFail("appending to", err)
	}
	active.NoteSound(position, len(p.records), last+1, a.NowMs, cuts)
	if position == 0 {
		l.firstTimestampMs = record.Batch(p.records).MaxTimestamp()
	}
	l.noteEpoch(a.LeaderEpoch, base)
	// Before the end offset: the high watermark may follow that at once, and the last stable
	// offset must not follow it into a transaction that has just begun.
	if r.EndedTransaction, err = l.applyProducers(p.records, active); err != nil {
		return r, l.failed("writing the transaction index of", err)
	}
	if reserved && !r.EndedTransaction { // the producer has written nothing here
		if err := active.UnreserveAborted(); err != nil {
			return r, l.failed("writing the transaction index of", err)
		}
	}
	l.snapshots.bytesSince += int64(len(p.records))
	l.endOffset.Store(last + 1)
	l.appendedBytes += int64(len(p.records))
	l.uncountedMarker = l.uncountedMarker || r.EndedTransaction
	c := l.count()
	r.CountedBytes, r.EndedTransaction = c.bytes, c.ended
	r.BaseOffset, r.LastOffset = base, last
	return r, nil
}

// noteEpoch records that a batch at base was written in epoch. The checkpoint file is due when
// it is the epoch's first batch, also if AssignEpochStart has announced the epoch.
func (l *Log) noteEpoch(epoch int32, base int64) {
	epochs := l.epochs.Load().With(epoch, base)
	if n := len(epochs.All()); n > 0 && epochs.All()[n-1].StartOffset == base {
		l.epochsChanged = true
	}
	l.epochs.Store(epochs)
}

// place writes offsets and leader epoch into the batches and checks them against what their
// producers wrote before. Nothing else has changed when it finds a duplicate or fails.
func (l *Log) place(a AppendRequest, records []byte, base int64) (producerstate.Batch, bool, error) {
	for rest := records; len(rest) > 0; {
		b, next, err := record.Next(rest)
		if err != nil {
			return producerstate.Batch{}, false, err
		}
		b.SetBaseOffset(base)
		b.SetPartitionLeaderEpoch(a.LeaderEpoch)
		base = b.NextOffset()
		rest = next
		if !b.HasProducerID() || a.Origin == OriginInternal {
			continue
		}
		if duplicate, found, err := l.checkProducer(a, b); found || err != nil {
			return duplicate, found, err
		}
	}
	return producerstate.Batch{}, false, nil
}

// checkProducer checks a batch against what its producer wrote before.
func (l *Log) checkProducer(a AppendRequest, b record.Batch) (duplicate producerstate.Batch, found bool, err error) {
	if b.IsControl() {
		if marker, _, ok := markerOf(b); ok {
			marker.TransactionVersion = a.TransactionVersion
			err = l.producers.CheckMarker(marker)
		}
		return duplicate, false, err
	}
	w := writeOf(b)
	if a.Origin == OriginClient {
		if duplicate, found := l.producers.FindDuplicate(w); found {
			return duplicate, true, nil
		}
	}
	if w.Transactional && !l.producers.HasOpenTransaction(w.ProducerID, w.Epoch) {
		if epoch := l.producers.EpochOf(w.ProducerID); w.Epoch < epoch {
			return duplicate, false, kafka.Errorf(kafka.ErrInvalidProducerEpoch, "producer %d wrote with epoch %d, but epoch %d was seen already", w.ProducerID, w.Epoch, epoch)
		}
		if !l.producers.CheckGuard(w.ProducerID, a.Guard) {
			return duplicate, false, kafka.Errorf(kafka.ErrInvalidTxnState, "producer %d has no open transaction on %s", w.ProducerID, l.tp)
		}
	}
	return duplicate, false, l.producers.Check(w, a.Origin == OriginClient)
}

func writeOf(b record.Batch) producerstate.Write {
	return producerstate.Write{
		ProducerID: b.ProducerID(), Epoch: b.ProducerEpoch(), FirstSequence: b.BaseSequence(), LastSequence: b.LastSequence(),
		FirstOffset: b.BaseOffset(), LastOffset: b.LastOffset(), TimestampMs: b.MaxTimestamp(), Transactional: b.IsTransactional(),
	}
}
