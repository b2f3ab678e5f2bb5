package coordinator

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// markerCallTimeout is how long a broker may take to write markers and have them replicated.
const markerCallTimeout = markerTimeout + 5*time.Second

// MarkerLanes is how many requests with markers for one broker may be under way at a time: a partition there that cannot
// replicate holds up the rest of its request, and not those after it.
const MarkerLanes = 4

// movedCheck is how often it is looked whether a broker that takes long to write markers still leads the partitions.
const movedCheck = 100 * time.Millisecond

// markerRouter has markers written by the leaders of their partitions, wherever those are.
type markerRouter struct {
	nodeID int32
	image  *atomic.Pointer[metadata.Image]
	local  *Markers
	call   Call
	remote *outbox[*remoteMarkers]
}

// remoteMarkers are the markers of one transaction for one broker.
type remoteMarkers struct {
	MarkerWork
	codes []kafka.ErrorCode
	done  chan struct{} // closed when codes are there
	moved atomic.Bool   // nobody waits any more, and it need not be sent
}

func newMarkerRouter(o *TransactionsOptions, image *atomic.Pointer[metadata.Image]) *markerRouter {
	r := &markerRouter{nodeID: o.NodeID, image: image, local: o.Markers, call: o.Call}
	r.remote = newOutbox("transaction-markers", MarkerLanes, o.Spawner, o.Metrics, r.send)
	return r
}

// share is a part of a transaction's partitions, and where each stands in the whole.
type share struct {
	partitions []kafka.TopicPartition
	places     []int
}

func (s *share) add(tp kafka.TopicPartition, place int) {
	s.partitions, s.places = append(s.partitions, tp), append(s.places, place)
}

// write returns a code for every partition. UNKNOWN_TOPIC_OR_PARTITION says that the partition was
// deleted: this broker's metadata had it when it was added to the transaction, and does not any
// more. Another broker that does not know it may just be behind.
func (r *markerRouter) write(ctx context.Context, w MarkerWork) []kafka.ErrorCode {
	codes := make([]kafka.ErrorCode, len(w.Partitions))
	image := r.image.Load()
	var local share
	var brokers []int32 // in the order of the partitions
	remote := map[int32]*share{}
	for i, tp := range w.Partitions {
		switch p := image.Partition(tp.Topic, tp.Partition); {
		case p == nil:
			codes[i] = kafka.ErrUnknownTopicOrPartition
		case p.Leader == kafka.NoLeader:
			codes[i] = kafka.ErrLeaderNotAvailable
		case p.Leader == r.nodeID:
			local.add(tp, i)
		default:
			if remote[p.Leader] == nil {
				brokers, remote[p.Leader] = append(brokers, p.Leader), &share{}
			}
			remote[p.Leader].add(tp, i)
		}
	}
	sent := make([]*remoteMarkers, len(brokers))
	for i, broker := range brokers {
		work := &remoteMarkers{MarkerWork: MarkerWork{Marker: w.Marker, Partitions: remote[broker].partitions}, done: make(chan struct{})}
		if r.remote.add(broker, work) {
			sent[i] = work
		} else {
			setAll(codes, remote[broker].places, kafka.ErrNotLeaderOrFollower)
		}
	}
	if len(local.partitions) > 0 {
		for i, code := range r.local.Write(ctx, MarkerWork{Marker: w.Marker, Partitions: local.partitions}) {
			codes[local.places[i]] = code
		}
	}
	for i, work := range sent {
		if work == nil {
			continue
		}
		places := remote[brokers[i]].places
		if code := r.await(ctx, brokers[i], work); code != kafka.ErrNone {
			setAll(codes, places, code)
			continue
		}
		for j, code := range work.codes {
			codes[places[j]] = code
		}
	}
	return codes
}

// await waits for a broker's answer. A broker that hangs may not give one for long, and must not hold up who waits when others
// have become the leaders.
func (r *markerRouter) await(ctx context.Context, broker int32, work *remoteMarkers) kafka.ErrorCode {
	ticker := time.NewTicker(movedCheck)
	defer ticker.Stop()
	for {
		select {
		case <-work.done:
			return kafka.ErrNone
		case <-ticker.C:
			if !r.leadsAny(broker, work.Partitions) {
				work.moved.Store(true)
				return kafka.ErrNotLeaderOrFollower
			}
		case <-ctx.Done():
			return kafka.ErrRequestTimedOut
		}
	}
}

func (r *markerRouter) leadsAny(broker int32, partitions []kafka.TopicPartition) bool {
	image := r.image.Load()
	return slices.ContainsFunc(partitions, func(tp kafka.TopicPartition) bool {
		p := image.Partition(tp.Topic, tp.Partition)
		return p != nil && p.Leader == broker
	})
}

func setAll(codes []kafka.ErrorCode, places []int, code kafka.ErrorCode) {
	for _, place := range places {
		codes[place] = code
	}
}

// send has a broker write the markers of several transactions. A leader that has changed, a broker
// that does not answer and one that is behind with the metadata are tried again by the marker
// sender: a marker may be written twice.
func (r *markerRouter) send(ctx context.Context, broker int32, batch []*remoteMarkers) {
	batch = slices.DeleteFunc(batch, func(work *remoteMarkers) bool { return work.moved.Load() })
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, markerCallTimeout)
	defer cancel()
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.SetVersion(req.MaxVersion())
	for _, work := range batch {
		m := kmsg.NewWriteTxnMarkersRequestMarker()
		m.ProducerID, m.ProducerEpoch, m.Committed = work.Marker.ProducerID, work.Marker.Epoch, work.Marker.Committed
		m.CoordinatorEpoch, m.TransactionVersion = work.Marker.CoordinatorEpoch, int8(work.Marker.TransactionVersion)
		for _, tp := range work.Partitions {
			if n := len(m.Topics); n == 0 || m.Topics[n-1].Topic != tp.Topic {
				m.Topics = append(m.Topics, kmsg.WriteTxnMarkersRequestMarkerTopic{Topic: tp.Topic})
			}
			topic := &m.Topics[len(m.Topics)-1]
			topic.Partitions = append(topic.Partitions, tp.Partition)
		}
		req.Markers = append(req.Markers, m)
	}
	resp, err := r.call(ctx, broker, req)
	answers, _ := resp.(*kmsg.WriteTxnMarkersResponse)
	if err != nil {
		slog.Debug("a broker did not answer whether it wrote markers", "broker", broker, "transactions", len(batch), "error", err)
		answers = nil
	}
	for i, work := range batch {
		work.codes = make([]kafka.ErrorCode, len(work.Partitions))
		if answers == nil || len(answers.Markers) != len(batch) || !work.take(&answers.Markers[i]) {
			for j := range work.codes {
				work.codes[j] = kafka.ErrNetworkException
			}
		}
		close(work.done)
	}
}

// take reads the codes out of an answer; false says that it is none to this work.
func (w *remoteMarkers) take(m *kmsg.WriteTxnMarkersResponseMarker) bool {
	if m.ProducerID != w.Marker.ProducerID {
		return false
	}
	i := 0
	for _, topic := range m.Topics {
		for _, p := range topic.Partitions {
			if i == len(w.Partitions) || w.Partitions[i] != (kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}) {
				return false
			}
			if w.codes[i] = kafka.ErrorCode(p.ErrorCode); w.codes[i] == kafka.ErrUnknownTopicOrPartition {
				w.codes[i] = kafka.ErrNotLeaderOrFollower
			}
			i++
		}
	}
	return i == len(w.Partitions)
}
