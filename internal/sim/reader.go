package sim

import (
	"context"
	"fmt"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/storage"
)

// reader is a consumer without a group: it reads one partition forwards and detects truncated
// logs as consumers do, by the leader epoch of the last record it has.
type reader struct {
	w         *World
	conn      *connection
	tp        kafka.TopicPartition
	isolation kafka.IsolationLevel
	position  int64
	lastEpoch int32
	// lost says that power loss took records which this reader has: it must be told before it
	// gets others in their place.
	lost    bool
	buffers replica.Buffers
	waiting bool
}

func (w *World) addReader(tp kafka.TopicPartition) {
	r := &reader{w: w, tp: tp, lastEpoch: kafka.NoLeaderEpoch, isolation: kafka.IsolationLevel(w.random.IntN(2))}
	r.conn = w.connect(fmt.Sprintf("reader-%d", len(w.readers)), false, func() { r.plan(w.Between(10, 300)) })
	w.readers = append(w.readers, r)
	r.plan(w.Between(0, 300))
}

func (r *reader) plan(delayMs int64) {
	if r.waiting {
		return
	}
	r.waiting = true
	r.w.After(delayMs, func() {
		r.waiting = false
		if r.conn.inFlight == 0 {
			r.fetch()
		}
	})
}

func (r *reader) fetch() {
	w := r.w
	r.conn.send("fetch", func(p *process, answer func()) {
		request := &replica.FetchRequest{MinBytes: 1, MaxBytes: int(w.Between(1, 4000)), Isolation: r.isolation, Partitions: []replica.FetchPartition{{
			TopicPartition: r.tp, Offset: r.position, MaxBytes: 1 << 20, CurrentLeaderEpoch: kafka.NoLeaderEpoch, LastFetchedEpoch: r.lastEpoch,
		}}}
		result := p.replicas.Fetch(context.Background(), request, &r.buffers)[0]
		if p.alive() {
			r.take(p, result)
		}
		r.buffers.Release()
		answer()
	}, func() { r.plan(w.Between(1, 120)) })
}

// take checks an answer where it leaves the broker. Being lost on the way would only have it
// asked for again.
func (r *reader) take(p *process, result replica.FetchResult) {
	w := r.w
	replica, err := p.replicas.Lookup(r.tp)
	if err != nil {
		return
	}
	log := replica.Log()
	switch code := kafka.CodeOf(result.Err); {
	case result.Diverging != nil:
		w.Note("%s at %d of %s: diverging at %d", r.conn.name, r.position, r.tp, result.Diverging.EndOffset)
		if !r.lost || result.Diverging.EndOffset >= r.position {
			w.Fail("%s: %s is told at %d that its log diverges at %d, which it does not (lost %v)", r.conn.name, r.tp, r.position, result.Diverging.EndOffset, r.lost)
		}
		w.stats.Diverged++
		r.position, r.lastEpoch, r.lost = max(result.Diverging.EndOffset, result.LogStartOffset), kafka.NoLeaderEpoch, false
	case code == kafka.ErrOffsetOutOfRange:
		start, end := log.LogStartOffset(), log.LogEndOffset()
		w.Note("%s at %d of %s: out of range %d to %d", r.conn.name, r.position, r.tp, start, end)
		if r.position >= start && r.position <= end && !r.lost {
			w.Fail("%s: offset %d of %s is out of range, although the log goes from %d to %d: %w", r.conn.name, r.position, r.tp, start, end, result.Err)
		}
		if r.position > end && !r.lost {
			w.Fail("%s: offset %d of %s lies behind the log end offset %d, although nothing was lost", r.conn.name, r.position, r.tp, end)
		}
		r.position, r.lastEpoch, r.lost = max(start, min(r.position, end)), kafka.NoLeaderEpoch, false
	case code == kafka.ErrKafkaStorageError && p.disk.Failed, code == kafka.ErrNotLeaderOrFollower:
	case result.Err != nil:
		w.Fail("%s: fetch of %s at %d: %w", r.conn.name, r.tp, r.position, result.Err)
	default:
		r.read(p, log, result)
	}
}

func (r *reader) read(p *process, log *storage.Log, result replica.FetchResult) {
	w := r.w
	seen, err := RecordsOf(result.Records, r.position)
	if !w.Check(err) || len(seen) == 0 {
		return
	}
	if r.lost {
		w.Fail("%s: reads on at %d of %s over records that power loss has replaced", r.conn.name, r.position, r.tp)
		return
	}
	last := seen[len(seen)-1]
	if last.Offset >= result.HighWatermark {
		w.Fail("%s: read offset %d of %s, at or above the high watermark %d", r.conn.name, last.Offset, r.tp, result.HighWatermark)
	}
	w.Check(w.history(topicIDPartition(log)).Read(r.position, seen))
	w.stats.ReadRecords += len(seen)
	r.position, r.lastEpoch = last.Offset+1, last.Epoch
}

// RecordsOf decodes what was read, from an offset on.
func RecordsOf(data []byte, from int64) (seen []Seen, err error) {
	for len(data) > 0 {
		b, rest, err := record.Next(data)
		if err == nil {
			err = b.CheckCRC()
		}
		if err != nil {
			return nil, err
		}
		data = rest
		for rec, err := range b.Records(record.UncompressedLimit(b.SizeBytes())) {
			if err != nil {
				return nil, err
			}
			s := Seen{Offset: b.BaseOffset() + int64(rec.OffsetDelta), Epoch: b.PartitionLeaderEpoch()}
			if s.Offset < from {
				continue
			}
			if s.ID, err = DecodeID(rec.Value); err != nil {
				return nil, fmt.Errorf("offset %d: %w", s.Offset, err)
			}
			seen = append(seen, s)
		}
	}
	return seen, nil
}
