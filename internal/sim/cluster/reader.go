package cluster

import (
	"context"
	"fmt"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/replica"
)

// reader is a consumer without a group: it reads one partition forwards, and detects truncated logs as consumers do, by
// the leader epoch of the last record it has.
type reader struct {
	client
	tp        kafka.TopicPartition
	position  int64
	lastEpoch int32
	buffers   replica.Buffers
}

// fetched is an answer to a reader, as it leaves the broker.
type fetched struct {
	result  replica.FetchResult
	records []byte
	topicID kafka.UUID
}

func (w *World) addReader(tp kafka.TopicPartition) {
	r := &reader{client: newClient(w, fmt.Sprintf("reader-%d", len(w.readers))), tp: tp, lastEpoch: kafka.NoLeaderEpoch}
	w.readers = append(w.readers, r)
	w.after(w.between(0, 100), r.step)
}

func (r *reader) step() {
	w := r.w
	if len(w.budget.flipped) > 0 && w.oneIn(8) { // as a consumer that is new
		r.position, r.lastEpoch = 0, kafka.NoLeaderEpoch
	}
	leader := r.leader(r.tp)
	if leader == kafka.NoLeader || w.oneIn(20) {
		r.refresh(func() { w.after(w.between(5, 60), r.fetch) })
		return
	}
	r.fetch()
}

func (r *reader) fetch() {
	w, node := r.w, r.leader(r.tp)
	p := r.image.Partition(r.tp.Topic, r.tp.Partition)
	if p == nil || node == kafka.NoLeader {
		w.after(w.between(20, 100), r.step)
		return
	}
	leads := true
	if w.oneIn(5) { // from any replica (KIP-392), which may not have as much
		leads = false
		node = p.Replicas[w.random.IntN(len(p.Replicas))]
	}
	r.ask(node, func(at *process, answer func(any)) {
		request := &replica.FetchRequest{MinBytes: 1, MaxBytes: int(w.between(1, 4000)), AnyReplica: true, Partitions: []replica.FetchPartition{{
			TopicPartition: r.tp, Offset: r.position, MaxBytes: 1 << 20, CurrentLeaderEpoch: p.LeaderEpoch, LastFetchedEpoch: r.lastEpoch,
		}}}
		result := at.replicas.Fetch(context.Background(), request, &r.buffers)[0]
		f := fetched{result: result, records: append([]byte(nil), result.Records...)}
		if log, err := at.replicas.Lookup(r.tp); err == nil {
			f.topicID = log.TopicID()
		}
		r.buffers.Release()
		if len(f.records) > 0 {
			w.demand(w.check.served(at, r.tp, f.records))
		}
		answer(f)
	}, func(answer any, err error) {
		if f, ok := answer.(fetched); ok && err == nil {
			r.take(f, leads)
		} else {
			r.refresh(func() {})
		}
		w.after(w.between(10, 150), r.step)
	})
}

func (r *reader) take(f fetched, leads bool) {
	w := r.w
	switch code := kafka.CodeOf(f.result.Err); {
	case !leads && (f.result.Diverging != nil || f.result.Err != nil): // the leader is to be asked
	case f.result.Diverging != nil:
		if !w.mayForget(r.tp.Topic) {
			w.fail("%s: %s is told at %d that its log diverges at %d, although nothing was lost", r.name, r.tp, r.position, f.result.Diverging.EndOffset)
		}
		r.position, r.lastEpoch = f.result.Diverging.EndOffset, kafka.NoLeaderEpoch
	case code == kafka.ErrOffsetOutOfRange:
		if !w.mayForget(r.tp.Topic) {
			w.fail("%s: offset %d of %s is out of range: %w", r.name, r.position, r.tp, f.result.Err)
		}
		r.position, r.lastEpoch = f.result.LogStartOffset, kafka.NoLeaderEpoch
	case code != kafka.ErrNone:
		r.refresh(func() {})
	case len(f.records) > 0:
		next, epoch, err := w.check.history(kafka.TopicIDPartition{TopicID: f.topicID, TopicPartition: r.tp}).read(r.position, f.records, f.result.HighWatermark)
		if w.demand(err) {
			r.position, r.lastEpoch = next, epoch
		}
	}
}
