package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

// QuorumState is what the metadata quorum says of itself.
type QuorumState struct {
	LeaderID      int32
	LeaderEpoch   int32
	HighWatermark int64
	Voters        []QuorumVoter
	// Observers are the other nodes that follow the metadata log.
	Observers []QuorumVoter
}

// QuorumVoter is a member of the metadata quorum, with the end of its log and the times of its last
// fetch and of when it last had all that the leader has; those of the leader are now.
type QuorumVoter struct {
	ID             int32
	DirectoryID    kafka.UUID
	LogEndOffset   int64
	LastFetchMs    int64
	LastCaughtUpMs int64
	// Endpoints are its controller listeners, by name.
	Endpoints []Endpoint
}

// Endpoint is the address of a listener.
type Endpoint struct {
	Name string
	Host string
	Port int32
}

// DescribeQuorum answers who votes on the metadata and how far they are (API key 55).
type DescribeQuorum struct {
	Quorum     func(ctx context.Context) (QuorumState, error)
	Authorizer security.Authorizer
}

// clusterMetadataTopic is the one topic that a quorum stands behind.
const clusterMetadataTopic = "__cluster_metadata"

// Handle answers for partition 0 of __cluster_metadata; a request for anything else is answered
// UNKNOWN_TOPIC_OR_PARTITION throughout.
func (h *DescribeQuorum) Handle(ctx context.Context, r *Request) Reply {
	req, resp := r.Body.(*kmsg.DescribeQuorumRequest), kmsg.NewPtrDescribeQuorumResponse()
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.Cluster) {
		resp.ErrorCode, resp.ErrorMessage = errorFields(kafka.Errorf(kafka.ErrClusterAuthorizationFailed, "not authorized to describe the cluster"))
		return Respond(resp)
	}
	resp.ErrorMessage = &noMessage
	if len(req.Topics) == 1 && req.Topics[0].Topic == clusterMetadataTopic && len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].Partition == 0 {
		state, err := h.Quorum(ctx)
		if err != nil {
			return Respond(failedQuorum(resp, err))
		}
		describeVoters(resp, state, r.Version())
		return Respond(resp)
	}
	for i := range req.Topics {
		topic := kmsg.NewDescribeQuorumResponseTopic()
		topic.Topic = req.Topics[i].Topic
		for j := range req.Topics[i].Partitions {
			partition := kmsg.NewDescribeQuorumResponseTopicPartition()
			partition.Partition = req.Topics[i].Partitions[j].Partition
			partition.ErrorCode, partition.ErrorMessage = errorFields(kafka.Errorf(kafka.ErrUnknownTopicOrPartition, "only partition 0 of %s has a quorum", clusterMetadataTopic))
			topic.Partitions = append(topic.Partitions, partition)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return Respond(resp)
}

// failedQuorum answers why the quorum cannot be described now.
func failedQuorum(resp *kmsg.DescribeQuorumResponse, err error) *kmsg.DescribeQuorumResponse {
	partition := kmsg.NewDescribeQuorumResponseTopicPartition()
	partition.ErrorCode, partition.ErrorMessage = errorFields(err)
	resp.Topics = []kmsg.DescribeQuorumResponseTopic{{Topic: clusterMetadataTopic, Partitions: []kmsg.DescribeQuorumResponseTopicPartition{partition}}}
	return resp
}

func (v QuorumVoter) state() kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
	s := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	s.ReplicaID, s.ReplicaDirectoryID, s.LogEndOffset = v.ID, v.DirectoryID, v.LogEndOffset
	s.LastFetchTimestamp, s.LastCaughtUpTimestamp = v.LastFetchMs, v.LastCaughtUpMs
	return s
}

// QuorumStateOf reads what another node has answered, in version 2.
func QuorumStateOf(resp *kmsg.DescribeQuorumResponse) (QuorumState, error) {
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return QuorumState{}, kafka.ErrUnknownServerError
	}
	p := &resp.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return QuorumState{}, kafka.ErrorCode(p.ErrorCode)
	}
	state := QuorumState{LeaderID: p.LeaderID, LeaderEpoch: p.LeaderEpoch, HighWatermark: p.HighWatermark}
	of := func(s *kmsg.DescribeQuorumResponseTopicPartitionReplicaState) QuorumVoter {
		v := QuorumVoter{ID: s.ReplicaID, DirectoryID: s.ReplicaDirectoryID, LogEndOffset: s.LogEndOffset, LastFetchMs: s.LastFetchTimestamp, LastCaughtUpMs: s.LastCaughtUpTimestamp}
		for _, node := range resp.Nodes {
			if node.NodeID == v.ID {
				for _, l := range node.Listeners {
					v.Endpoints = append(v.Endpoints, Endpoint{Name: l.Name, Host: l.Host, Port: int32(l.Port)})
				}
			}
		}
		return v
	}
	for i := range p.CurrentVoters {
		state.Voters = append(state.Voters, of(&p.CurrentVoters[i]))
	}
	for i := range p.Observers {
		state.Observers = append(state.Observers, of(&p.Observers[i]))
	}
	return state, nil
}

func describeVoters(resp *kmsg.DescribeQuorumResponse, state QuorumState, version int16) {
	partition := kmsg.NewDescribeQuorumResponseTopicPartition()
	partition.ErrorMessage = &noMessage
	partition.LeaderID, partition.LeaderEpoch, partition.HighWatermark = state.LeaderID, state.LeaderEpoch, state.HighWatermark
	for _, o := range state.Observers {
		partition.Observers = append(partition.Observers, o.state())
	}
	for _, v := range state.Voters {
		partition.CurrentVoters = append(partition.CurrentVoters, v.state())
		if version >= 2 {
			node := kmsg.NewDescribeQuorumResponseNode()
			node.NodeID = v.ID
			for _, endpoint := range v.Endpoints {
				listener := kmsg.NewDescribeQuorumResponseNodeListener()
				listener.Name, listener.Host, listener.Port = endpoint.Name, endpoint.Host, uint16(endpoint.Port)
				node.Listeners = append(node.Listeners, listener)
			}
			resp.Nodes = append(resp.Nodes, node)
		}
	}
	topic := kmsg.NewDescribeQuorumResponseTopic()
	topic.Topic, topic.Partitions = clusterMetadataTopic, append(topic.Partitions, partition)
	resp.Topics = append(resp.Topics, topic)
}
