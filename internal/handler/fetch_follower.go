package handler

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/replica/fetchsession"
	"github.com/moldau/moldau/internal/wire"
)

// findFollower returns who fetches to replicate, nil for a consumer. A request that names a replica counts as
// its broker's only on a connection on which that broker has said who it is, for this purpose: else whoever
// forges one would move high watermarks, and what is acknowledged would be on no other disk (CVE-2018-1288).
func (f *fetch) findFollower() (follower *replica.Follower, isForged bool) {
	id, epoch := f.req.ReplicaID, kafka.NoBrokerEpoch
	if f.r.Version() >= fetchReplicaStateFrom {
		id, epoch = f.req.ReplicaState.ID, f.req.ReplicaState.Epoch
	}
	if id < 0 {
		return nil, false
	}
	peer := f.r.Conn.Peer
	if peer == nil || peer.Purpose != wire.PurposeReplica || peer.NodeID != id || f.r.Version() < fetchReplicaStateFrom {
		return nil, true
	}
	return &replica.Follower{BrokerID: id, BrokerEpoch: epoch, Resumes: f.req.SessionEpoch > 0}, false
}

// extend adds what has changed for the follower meanwhile.
func (f *fetch) extend() {
	known := len(f.session.Partitions)
	if f.session.Extend() {
		f.resolve(known)
	}
}

// isCurrent reports whether the follower is registered in the epoch that it names. One that has started
// anew may have lost what it had before, and this broker may not have heard of it yet (KIP-903).
func (f *fetch) isCurrent() bool {
	b := f.image.Broker(f.follower.BrokerID)
	return b != nil && b.Epoch == f.follower.BrokerEpoch
}

// forgedReplicaCode is what Apache Kafka answers to a replica that is none of the partition's.
func forgedReplicaCode(p *fetchsession.Partition) kafka.ErrorCode {
	if p.CurrentLeaderEpoch == kafka.NoLeaderEpoch {
		return kafka.ErrNotLeaderOrFollower
	}
	return kafka.ErrUnknownLeaderEpoch
}

// sayStart tells a follower where the log begins that it has fallen behind, so that it need not ask again.
func (f *fetch) sayStart(out *kmsg.FetchResponseTopicPartition, tp kafka.TopicPartition) {
	if r, err := f.h.Replicas.Lookup(tp); err == nil {
		out.LogStartOffset = r.Log().LogStartOffset()
	}
}
