package quota

import (
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/kafka"
)

// NoLimit is the rate of a Replication that holds nothing back.
const NoLimit = math.MaxInt64

// Replication holds the copying of some replicas to a rate, as Kafka's replication quotas do: all that is copied
// of them counts, but only those that are not in sync are held back, or a low rate would take replicas
// out of sync. A leader has one, a follower another one. The zero value of its rate is none at all: use
// NewReplication.
type Replication struct {
	window   Window
	limit    atomic.Int64 // bytes per second
	replicas atomic.Pointer[map[string]ThrottledReplicas]

	mu   sync.Mutex
	rate rate
}

// ThrottledReplicas are the partitions of a topic whose replicas on this broker are throttled.
type ThrottledReplicas struct {
	All        bool
	Partitions []int32
}

func (r ThrottledReplicas) none() bool { return !r.All && len(r.Partitions) == 0 }

// NewReplication returns a Replication without replicas and without a limit.
func NewReplication(w Window) *Replication {
	r := &Replication{window: w}
	r.limit.Store(NoLimit)
	r.replicas.Store(&map[string]ThrottledReplicas{})
	return r
}

// SetLimit sets how many bytes may be copied in a second.
func (r *Replication) SetLimit(bytesPerSecond int64) { r.limit.Store(bytesPerSecond) }

// SetReplicas says which replicas of a topic are throttled from now on. There is one caller at a time.
func (r *Replication) SetReplicas(topic string, replicas ThrottledReplicas) {
	old := *r.replicas.Load()
	if was, ok := old[topic]; !ok && replicas.none() || ok && was.All == replicas.All && slices.Equal(was.Partitions, replicas.Partitions) {
		return
	}
	now := maps.Clone(old)
	if replicas.none() {
		delete(now, topic)
	} else {
		now[topic] = replicas
	}
	r.replicas.Store(&now)
}

// Covers reports whether a replica is throttled. A nil Replication covers none.
func (r *Replication) Covers(tp kafka.TopicPartition) bool {
	if r == nil {
		return false
	}
	topics := *r.replicas.Load()
	if len(topics) == 0 {
		return false
	}
	replicas := topics[tp.Topic]
	return replicas.All || slices.Contains(replicas.Partitions, tp.Partition)
}

// Record counts bytes of a replica that is covered, whether it is in sync or not.
func (r *Replication) Record(bytes int, nowMs int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rate.record(r.window, float64(bytes), nowMs)
}

// IsExceeded reports whether more was copied than may be.
func (r *Replication) IsExceeded(nowMs int64) bool {
	limit := r.limit.Load()
	return limit != NoLimit && r.BytesPerSecond(nowMs) > float64(limit)
}

// BytesPerSecond is the rate of the latest window.
func (r *Replication) BytesPerSecond(nowMs int64) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rate.simple(r.window, nowMs)
}
