package balancer

import (
	"github.com/moldau/moldau/internal/balance"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/wire"
)

const (
	// idleReportMs and busyReportMs are the times between a broker's reports, without and with moves.
	idleReportMs = 10_000
	busyReportMs = 1_000
	// staleReportMs is when a report is too old to plan by.
	staleReportMs = 3 * idleReportMs
	// planMs is the time between plans, soonMs where a move has ended, idleMs where there was nothing to do.
	planMs = 1_000
	soonMs = 200
	idleMs = 10_000
	// awayMs is for how long a move waits for a broker that is away, as one that is restarted.
	awayMs = 30_000
	// cancelRetryMs is when it is tried again to take back a move: the only replica in sync may be the new one.
	cancelRetryMs = 10_000
)

// View is what the balancer sees of the cluster.
type View struct {
	Image    *metadata.Image
	Settings config.Balancer
	// MinISR is min.insync.replicas of a topic, 0 where it is not set.
	MinISR func(*metadata.Topic) int
}

// Step is what is to be done now.
type Step struct {
	// Cancel are reassignments of the balancer that can get no further.
	Cancel []Key
	// Start are moves to begin; those that copy nothing are made at once.
	Start []balance.Move
	// Elect are partitions that have their replicas: the preferred one is to lead.
	Elect []Key
	// Joining replaces the list of brokers that are being given their share, where IsJoiningChanged.
	Joining          []int32
	IsJoiningChanged bool
	// News is what has changed, for the log; "" for nothing.
	News string
}

// Key names a partition.
type Key = kafka.TopicPartition

type partitionKey struct {
	topic kafka.UUID
	id    int32
}

// Balancer is the core. Its zero value is not usable.
type Balancer struct {
	active      bool
	activatedMs int64
	loads       map[int32]*brokerLoad
	// absentMs is since when brokers are seen to be absent.
	absentMs   map[int32]int64
	moves      map[Key]*move
	plannedMs  int64
	nextPlanMs int64
	settings   config.Balancer // of the last plan
	followed   *metadata.Image // the last one in which moves were looked for
	// state and why are what it said last.
	state, why string
	blocked    []balance.Blocked
	pending    int
}

// move is one that is under way.
type move struct {
	balance.Move
	topic   kafka.UUID
	sinceMs int64
	// cancelMs is when it may be taken back at the earliest.
	cancelMs int64
}

// brokerLoad is what an incarnation of a broker has reported.
type brokerLoad struct {
	epoch      int64
	isComplete bool
	atMs       int64
	volumes    []wire.PeerVolume
	partitions map[partitionKey]partitionLoad
	pace       pace
}

type partitionLoad struct {
	volume         int8
	sizeBytes      int64
	bytesPerSecond int64
}

// New returns a balancer that is not active.
func New() *Balancer { return &Balancer{} }

// Activate begins anew: nothing is known of any broker.
func (b *Balancer) Activate(nowMs int64) {
	*b = Balancer{active: true, activatedMs: nowMs, plannedMs: nowMs, loads: map[int32]*brokerLoad{}, absentMs: map[int32]int64{}, moves: map[Key]*move{}}
}

// Deactivate forgets everything.
func (b *Balancer) Deactivate() { *b = Balancer{} }

// Report takes what a broker says of its load.
func (b *Balancer) Report(v View, req *wire.PeerLoadRequest, nowMs int64) *wire.PeerLoadResponse {
	resp := &wire.PeerLoadResponse{NextMs: idleReportMs}
	if !b.active {
		resp.ErrorCode = int16(kafka.ErrNotController)
		return resp
	}
	registered := v.Image.Broker(req.NodeID)
	if registered == nil || registered.Epoch != req.BrokerEpoch {
		resp.ErrorCode = int16(kafka.ErrStaleBrokerEpoch)
		return resp
	}
	load := b.loads[req.NodeID]
	if load == nil || load.epoch != req.BrokerEpoch {
		load = &brokerLoad{epoch: req.BrokerEpoch, pace: newPace(v.Settings.CopyBytesPerSecond)}
		b.loads[req.NodeID] = load
	}
	if req.IsFull {
		load.partitions, load.isComplete = map[partitionKey]partitionLoad{}, false
	} else if load.partitions == nil {
		resp.WantsFull = true
		return resp
	}
	for _, p := range req.Partitions {
		load.note(v.Image, req.NodeID, p)
	}
	if req.HasMore {
		return resp
	}
	load.isComplete, load.atMs = true, nowMs
	load.volumes = req.Volumes
	load.pace.latency(req.LatencyMicros, b.isCalm(v))
	if len(b.moves) > 0 {
		resp.NextMs = busyReportMs
		b.adjustPace(v, req.NodeID)
	}
	resp.CopyBytesPerSecond = load.pace.bytesPerSecond + b.incoming(req.NodeID)
	return resp
}

// note keeps what the metadata knows a replica for, so that reports cannot take any amount of memory.
func (l *brokerLoad) note(image *metadata.Image, broker int32, p wire.PeerPartitionLoad) {
	key := partitionKey{p.TopicID, p.Partition}
	if topic := image.TopicByID(key.topic); p.SizeBytes < 0 || topic == nil || topic.Partition(p.Partition) == nil {
		delete(l.partitions, key)
		return
	}
	l.partitions[key] = partitionLoad{p.Volume, p.SizeBytes, max(p.BytesPerSecond, 0)}
}

// forget drops what is known of brokers and partitions that are no more.
func (b *Balancer) forget(image *metadata.Image) {
	for id, load := range b.loads {
		if registered := image.Broker(id); registered == nil || registered.Epoch != load.epoch {
			delete(b.loads, id)
			continue
		}
		for key := range load.partitions {
			if topic := image.TopicByID(key.topic); topic == nil || topic.Partition(key.id) == nil {
				delete(load.partitions, key)
			}
		}
	}
}
