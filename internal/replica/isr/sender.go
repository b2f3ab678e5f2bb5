package isr

import (
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
)

const (
	// mostPerRequest bounds a request, so that the controller does not work long on one.
	mostPerRequest = 1000
	alterVersion   = 3

	firstRetryMs int64 = 10
	mostRetryMs  int64 = 1000
)

// Proposal is a change that the leader of a partition wants.
type Proposal struct {
	Partition *partition.Partition
	Change    *partition.ISRChange
}

type key struct {
	topicID   kafka.UUID
	partition int32
}

func (p Proposal) key() key {
	return key{p.Partition.TopicID(), p.Partition.TopicPartition().Partition}
}

// Sender queues proposals. There is one per partition, since a partition has one pending at a time.
type Sender struct {
	nodeID   int32
	queue    []Proposal
	place    map[key]int // in queue
	sent     []Proposal  // under way
	failures int
	retryMs  int64

	shrinks, expands, failed *metrics.Counter
}

// New returns a Sender of the broker nodeID without proposals.
func New(nodeID int32, r *metrics.Registry) *Sender {
	return &Sender{
		nodeID: nodeID, place: map[key]int{},
		shrinks: r.Counter("kafka_server_replicamanager_isrshrinks_total", "Changes that took replicas out of the in-sync replicas."),
		expands: r.Counter("kafka_server_replicamanager_isrexpands_total", "Changes that took replicas into the in-sync replicas."),
		failed:  r.Counter("kafka_server_replicamanager_failedisrupdates_total", "Changes of in-sync replicas that the controller did not make."),
	}
}

// Len is the number of proposals that are not answered.
func (s *Sender) Len() int { return len(s.queue) + len(s.sent) }

// Add queues a proposal in the place of an older one of the partition.
func (s *Sender) Add(p Proposal) {
	if at, ok := s.place[p.key()]; ok {
		s.queue[at] = p
		return
	}
	s.place[p.key()] = len(s.queue)
	s.queue = append(s.queue, p)
}

// Next returns the request to send now, or nil and when to ask again: 0 if there is nothing to do until
// a proposal or an answer comes.
func (s *Sender) Next(nowMs, brokerEpoch int64) (r *kmsg.AlterPartitionRequest, againMs int64) {
	if len(s.sent) > 0 || len(s.queue) == 0 {
		return nil, 0
	}
	if nowMs < s.retryMs && s.retryMs-nowMs <= mostRetryMs { // else the wall clock was set back
		return nil, s.retryMs
	}
	queue := s.queue
	s.queue, s.place = nil, map[key]int{}
	r = kmsg.NewPtrAlterPartitionRequest()
	r.Version, r.BrokerID, r.BrokerEpoch = alterVersion, s.nodeID, brokerEpoch
	places := map[kafka.UUID]int{}
	for _, p := range queue {
		switch {
		case !p.Partition.IsPending(p.Change): // the metadata has overtaken it
		case len(s.sent) >= mostPerRequest:
			s.Add(p)
		default:
			s.sent = append(s.sent, p)
			add(r, places, p)
		}
	}
	if len(s.sent) == 0 {
		return nil, 0
	}
	return r, 0
}

func add(r *kmsg.AlterPartitionRequest, places map[kafka.UUID]int, p Proposal) {
	k := p.key()
	at, ok := places[k.topicID]
	if !ok {
		at = len(r.Topics)
		places[k.topicID] = at
		topic := kmsg.NewAlterPartitionRequestTopic()
		topic.TopicID = k.topicID
		r.Topics = append(r.Topics, topic)
	}
	change := kmsg.NewAlterPartitionRequestTopicPartition()
	change.Partition, change.LeaderEpoch, change.PartitionEpoch = k.partition, p.Change.LeaderEpoch, p.Change.PartitionEpoch
	if p.Change.Damaged {
		change.LeaderRecoveryState = metadata.DamagedReplica
	}
	for _, m := range p.Change.ISR {
		change.NewEpochISR = append(change.NewEpochISR, kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: m.BrokerID, BrokerEpoch: m.BrokerEpoch})
	}
	r.Topics[at].Partitions = append(r.Topics[at].Partitions, change)
}

// Failed says that nobody knows what became of the request: it is sent again.
func (s *Sender) Failed(nowMs int64) {
	s.pause(nowMs)
	s.again(func(Proposal) bool { return true })
}

// again queues those of the sent proposals that want it, unless there is a newer one.
func (s *Sender) again(wants func(p Proposal) bool) {
	for _, p := range s.sent {
		if _, newer := s.place[p.key()]; wants(p) && !newer {
			s.Add(p)
		}
	}
	s.sent = nil
}

// Take takes the answer.
func (s *Sender) Take(r *kmsg.AlterPartitionResponse, nowMs int64) {
	if code := kafka.ErrorCode(r.ErrorCode); code != kafka.ErrNone {
		if s.failures == 0 {
			slog.Warn("the controller does not take changes of in-sync replicas from this broker; trying again", "error", code)
		}
		s.Failed(nowMs)
		return
	}
	answers := map[key]kafka.ErrorCode{}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			answers[key{t.TopidID, p.Partition}] = kafka.ErrorCode(p.ErrorCode)
		}
	}
	retry := false
	s.again(func(p Proposal) bool {
		code, ok := answers[p.key()]
		again := !ok || s.takeOne(p, code)
		retry = retry || again
		return again
	})
	if !retry {
		s.failures, s.retryMs = 0, 0
		return
	}
	s.pause(nowMs)
}

func (s *Sender) pause(nowMs int64) {
	s.retryMs = nowMs + min(firstRetryMs<<min(s.failures, 20), mostRetryMs)
	s.failures++
}

// takeOne takes the answer for a partition, and reports whether it is to be asked again. Only two answers say that the change was
// not made and never will be by an earlier try of the same: all the others leave it to the metadata.
func (s *Sender) takeOne(p Proposal, code kafka.ErrorCode) (again bool) {
	switch code {
	case kafka.ErrNone:
		if p.Change.Expands {
			s.expands.Inc()
		} else {
			s.shrinks.Inc()
		}
		return false
	case kafka.ErrIneligibleReplica, kafka.ErrOperationNotAttempted:
		s.failed.Inc()
		p.Partition.Refused(p.Change)
		return false
	case kafka.ErrInvalidUpdateVersion, kafka.ErrFencedLeaderEpoch, kafka.ErrNewLeaderElected, kafka.ErrUnknownTopicID, kafka.ErrUnknownTopicOrPartition, kafka.ErrInvalidRequest:
		s.failed.Inc()
		return false
	}
	s.failed.Inc()
	slog.Warn("the controller did not change the in-sync replicas of a partition; trying again", "partition", p.Partition.TopicPartition().String(), "error", code)
	return true
}
