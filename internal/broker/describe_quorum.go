package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/quorum"
	quorumhost "github.com/moldau/moldau/internal/quorum/host"
)

// describeQuorum says what DescribeQuorum answers. Only the leader knows how far the others are, so that it
// is asked.
func (b *broker) describeQuorum(ctx context.Context) (handler.QuorumState, error) {
	if b.cluster != nil && !b.quorum.Leadership().IsSelf {
		return b.askLeaderOfQuorum(ctx)
	}
	s, err := b.quorum.State(ctx)
	if err != nil {
		return handler.QuorumState{}, err
	}
	state := handler.QuorumState{LeaderID: s.Leadership.LeaderID, LeaderEpoch: s.Leadership.Epoch, HighWatermark: s.HighWatermark}
	for _, v := range s.Voters {
		state.Voters = append(state.Voters, b.quorumVoter(v))
	}
	for _, o := range s.Observers {
		state.Observers = append(state.Observers, b.quorumVoter(o))
	}
	return state, nil
}

func (b *broker) quorumVoter(s quorumhost.ReplicaState) handler.QuorumVoter {
	v := handler.QuorumVoter{ID: s.NodeID, DirectoryID: s.DirectoryID, LogEndOffset: s.LogEndOffset, LastFetchMs: s.LastFetchMs, LastCaughtUpMs: s.LastCaughtUpMs, Endpoints: endpointsOf(s.VoterSpec)}
	if len(v.Endpoints) == 0 && s.NodeID == b.config.NodeID {
		v.Endpoints = b.controllerEndpoints
	}
	return v
}

func endpointsOf(v quorum.VoterSpec) (endpoints []handler.Endpoint) {
	for _, l := range v.Listeners {
		endpoints = append(endpoints, handler.Endpoint{Name: l.Name, Host: l.Host, Port: int32(l.Port)})
	}
	return endpoints
}

// knownQuorum is who votes and leads as this node knows it, without how far they are.
func (b *broker) knownQuorum() handler.QuorumState {
	l := b.quorum.Leadership()
	state := handler.QuorumState{LeaderID: l.LeaderID, LeaderEpoch: l.Epoch, HighWatermark: b.quorum.HighWatermark()}
	for _, v := range b.quorum.Voters() {
		state.Voters = append(state.Voters, b.quorumVoter(quorumhost.ReplicaState{VoterSpec: v, LogEndOffset: -1, LastFetchMs: -1, LastCaughtUpMs: -1}))
	}
	return state
}

// askLeaderOfQuorum has the leader describe the quorum.
func (b *broker) askLeaderOfQuorum(ctx context.Context) (handler.QuorumState, error) {
	leader := b.quorum.Leadership().LeaderID
	for _, v := range b.quorum.Voters() {
		if v.NodeID != leader {
			continue
		}
		req := kmsg.NewPtrDescribeQuorumRequest()
		req.SetVersion(2)
		req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: kafka.ClusterMetadataTopic, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
		resp, err := b.callVoter(ctx, v, req)
		if err != nil {
			return handler.QuorumState{}, &kafka.Error{Code: kafka.ErrNotLeaderOrFollower, Message: "the leader of the metadata quorum does not answer", Cause: err}
		}
		return handler.QuorumStateOf(resp.(*kmsg.DescribeQuorumResponse))
	}
	return handler.QuorumState{}, kafka.Errorf(kafka.ErrNotLeaderOrFollower, "the metadata quorum has no leader at the moment")
}
